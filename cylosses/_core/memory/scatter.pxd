# One block of results, from a contiguous buffer of the working type, to an output of any memory layout: the inverse of gather.pxd.

from cython cimport floating
from libc.string cimport memcpy

from cylosses._core.job cimport Job, Operand
from cylosses._core.memory.position cimport (
    Cursor, Position, advance, advance_rows, copy_position, left_in_row, locate, whole_rows,
)
from cylosses._core.memory.rows cimport write_rows
from cylosses._core.memory.streaming cimport copy_past_cache
from cylosses._core.memory.strided cimport write_strided


cdef inline void scatter(
    const Job* job, const Operand* operand, char* data, Py_ssize_t start, const Position* here, Py_ssize_t n, const floating* source
) noexcept nogil:
    """Copy n elements to element `start` of the slice that begins at data, which has the position `here`, and those behind it."""
    cdef Cursor cursor
    cdef Py_ssize_t step, rows
    cdef int last = job.ndim - 1
    if operand.direct:
        if job.bypass_cache:
            copy_past_cache(data + start * <Py_ssize_t> sizeof(floating), source, n * sizeof(floating))
        else:
            memcpy(data + start * <Py_ssize_t> sizeof(floating), source, n * sizeof(floating))
        return
    copy_position(here, job, &cursor.position)
    cursor.data = locate(here, job, operand, data)
    while n:
        rows = whole_rows(&cursor.position, job, n)
        if rows > 1:
            step = rows * job.shape[last]
            write_rows(operand, cursor.data, operand.strides[last - 1], rows, operand.strides[last], job.shape[last], source)
            advance_rows(&cursor, job, operand, rows)
        else:
            step = left_in_row(&cursor.position, job, n)
            write_strided(operand.storage, cursor.data, operand.strides[last], operand.swapped, step, source)
            advance(&cursor, job, operand, step)
        source += step
        n -= step
