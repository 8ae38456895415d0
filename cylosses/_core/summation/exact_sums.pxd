# What is summed of data that comes in pieces, or of one slice of it.

from libc.stdint cimport uint64_t

from cylosses._core.summation.superaccumulator cimport Superaccumulator, clear, merge

cdef enum:
    MOST_BITS = 63              # of the number of elements: the accumulator has room for so many of the largest products

cdef struct ExactSums:
    Superaccumulator losses     # each times its weight
    Superaccumulator weights    # 1 for an element without
    uint64_t count              # elements that count


cdef inline void clear_exact_sums(ExactSums* sums) noexcept nogil:
    clear(&sums.losses)
    clear(&sums.weights)
    sums.count = 0


cdef inline bint have_room(const ExactSums* sums, uint64_t count) noexcept nogil:
    """Whether so many more elements may be added."""
    return count >> MOST_BITS == 0 and (sums.count + count) >> MOST_BITS == 0


cdef inline void merge_exact_sums(ExactSums* sums, const ExactSums* other) noexcept nogil:
    cdef ExactSums copy = other[0]           # merging releases the carries of what is merged
    merge(&sums.losses, &copy.losses)
    merge(&sums.weights, &copy.weights)
    sums.count += copy.count
