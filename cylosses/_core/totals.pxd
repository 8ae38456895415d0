# Exact sums of weighted losses and of weights, of data that comes in pieces: those of StreamingLoss and of the C level's
# accumulators.

from libc.stdint cimport uint64_t

from cylosses._core.job cimport VALUES, Job
from cylosses._core.memory.storage cimport format_of
from cylosses._core.memory.strided cimport write_strided
from cylosses._core.mode cimport cylosses_mode, restore_mode, set_default_mode
from cylosses._core.summation.rounding cimport round_quotient
from cylosses._core.summation.superaccumulator cimport Superaccumulator, add_count, clear, merge

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


cdef inline void want_sums(Job* job, ExactSums* sums) noexcept nogil:
    """Have the values of a job and its weights added to the sums, if no weight is bad; then count_elements() does the rest."""
    job.term = VALUES
    job.total = &sums.losses
    job.weights = &sums.weights


cdef inline void count_elements(const Job* job, ExactSums* sums) noexcept nogil:
    """Count the elements of a job that want_sums() prepared and that has run."""
    sums.count += job.count
    if job.weight.data is NULL:
        add_count(&sums.weights, job.count)


cdef inline bint have_room(const ExactSums* sums, uint64_t count) noexcept nogil:
    """Whether so many more elements may be added."""
    return count >> MOST_BITS == 0 and (sums.count + count) >> MOST_BITS == 0


cdef inline void merge_exact_sums(ExactSums* sums, const ExactSums* other) noexcept nogil:
    cdef ExactSums copy = other[0]           # merging releases the carries of what is merged
    merge(&sums.losses, &copy.losses)
    merge(&sums.weights, &copy.weights)
    sums.count += copy.count


cdef inline void round_exact_sums(const ExactSums* sums, bint mean, int storage, char* result) noexcept nogil:
    """Write RN(losses / weights) or RN(losses) to memory of this storage; the sums keep their values."""
    cdef ExactSums copy = sums[0]            # rounding spends what it rounds
    cdef cylosses_mode mode = set_default_mode()        # subnormal results too
    cdef double v = round_quotient(&copy.losses, 1, &copy.weights if mean else NULL, format_of(storage))
    write_strided(storage, result, 0, False, 1, &v)
    restore_mode(mode)


cdef class Total:
    cdef ExactSums sums
    cdef readonly object dtype          # of results; None before the first element
