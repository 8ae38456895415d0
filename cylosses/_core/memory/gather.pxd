# One block of elements of any memory layout, into a contiguous buffer of the working type. Every layout and dtype that is not the
# direct one comes through here, block by block, so that no temporary grows with the input.

from cython cimport floating
from libc.stdint cimport int64_t, uint64_t

from cylosses._core.bits cimport LOW_32, Bits64
from cylosses._core.job cimport FLOAT64, UINT64, Job, Operand
from cylosses._core.memory.position cimport (
    Cursor, Position, advance, advance_rows, copy_position, has_distant_rows, left_in_row, locate, skip, whole_rows,
)
from cylosses._core.memory.rows cimport read_rows
from cylosses._core.memory.storage cimport is_integer, is_wide_integer
from cylosses._core.memory.streaming cimport prefetch
from cylosses._core.memory.strided cimport read_strided

cdef enum:
    PREFETCH_STEP = 64      # elements between two prefetches


cdef inline void gather(
    const Job* job, const Operand* operand, char* data, const Position* here, const Position* next, Py_ssize_t n, floating* to
) noexcept nogil:
    """Copy n elements from the position `here` of the slice that begins at data, and prefetch as many at the position `next` (NULL:
    none) where that helps.
    """
    cdef Cursor cursor
    cdef Position there
    cdef Py_ssize_t step, rows, ahead = 0
    cdef int last = job.ndim - 1
    cdef bint far = next is not NULL and has_distant_rows(job, operand)
    copy_position(here, job, &cursor.position)
    cursor.data = locate(here, job, operand, data)
    if next is not NULL:
        copy_position(next, job, &there)
        ahead = locate(next, job, operand, data) - cursor.data
    while n:
        rows = whole_rows(&cursor.position, job, n)
        if rows > 1 and not far:
            step = rows * job.shape[last]
            read_rows(
                operand, cursor.data, operand.strides[last - 1], rows, operand.strides[last], job.shape[last], ahead, to
            )
            advance_rows(&cursor, job, operand, rows)
        else:
            step = left_in_row(&cursor.position, job, n)
            if far:
                step = left_in_row(&there, job, PREFETCH_STEP if PREFETCH_STEP < step else step)
                prefetch(locate(&there, job, operand, data), step * operand.strides[last])
                skip(&there, job, step)
            read_strided(operand.storage, cursor.data, operand.strides[last], operand.swapped, step, to)
            advance(&cursor, job, operand, step)
        to += step
        n -= step


# ---- differences of integers -----------------------------------------------------------------------------------------------------

cdef inline bint has_wide_integers(const Job* job) noexcept nogil:
    """Whether both inputs are integers and one of them may be rounded as float64: then they are subtracted as integers."""
    return (
        is_integer(job.input.storage) and is_integer(job.target.storage)
        and (is_wide_integer(job.input.storage) or is_wide_integer(job.target.storage))
    )


cdef inline void gather_words(
    const Job* job, const Operand* operand, char* data, const Position* here, const Position* next, Py_ssize_t n, double* to
) noexcept nogil:
    """gather() of integers as words of 64 bits, which lie in `to` as if they were float64."""
    cdef Operand words = operand[0]
    cdef Bits64 word
    cdef Py_ssize_t i
    if is_wide_integer(operand.storage):
        words.storage = FLOAT64         # moved, not converted
        gather(job, &words, data, here, next, n, to)
    else:
        gather(job, operand, data, here, next, n, to)
        for i in range(n):
            word.i = <int64_t> to[i]
            to[i] = word.f


cdef inline double high_half(double bits, bint is_signed) noexcept nogil:
    cdef Bits64 word
    word.f = bits
    return <double> (word.i >> 32) if is_signed else <double> <int64_t> (<uint64_t> word.i >> 32)


cdef inline double low_half(double bits) noexcept nogil:
    cdef Bits64 word
    word.f = bits
    return <double> (word.i & LOW_32)


cdef inline void gather_differences(
    const Job* job, char* input_data, char* target_data, const Position* here, const Position* next, Py_ssize_t n,
    floating* differences, floating* zeros
) noexcept nogil:
    """Input - target of integers, rounded once, and zeros: loops over a loss subtract those from the differences, and so keep them.

    The differences of the upper and of the lower halves of two words are exact, and so is 2**32 times the former.
    """
    cdef Py_ssize_t i
    cdef bint input_signed = job.input.storage != UINT64, target_signed = job.target.storage != UINT64
    cdef double high
    if floating is double:              # integers alone are never computed in float32
        gather_words(job, &job.input, input_data, here, next, n, differences)
        gather_words(job, &job.target, target_data, here, next, n, zeros)
        for i in range(n):
            high = high_half(differences[i], input_signed) - high_half(zeros[i], target_signed)
            differences[i] = high * 4294967296.0 + (low_half(differences[i]) - low_half(zeros[i]))
            zeros[i] = 0
