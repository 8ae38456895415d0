# Positions in a slice, whose elements are numbered in the order of the job's shape, and where each operand's elements lie there. A
# row is what the last dimension of the shape spans.

from cylosses._core.job cimport MAX_DIMS, Job, Operand
from cylosses._core.memory.rows cimport is_transposed
from cylosses._core.memory.streaming cimport CACHE_LINE

cdef enum:
    SHORT_ROW = 128         # elements; longer rows are worth a call each
    FAR_APART = 512         # bytes between two rows that the hardware does not read ahead over


cdef struct Position:
    # The index of an element of a slice along each inner dimension.
    Py_ssize_t index[MAX_DIMS]

cdef struct Cursor:
    # A position, and where an operand's element lies there.
    char* data
    Position position


cdef inline char* slice_start(const Job* job, const Operand* operand, Py_ssize_t number) noexcept nogil:
    """The operand's first element in slice `number`."""
    cdef char* data = operand.data
    cdef int k
    for k in range(job.outer - 1, -1, -1):
        data += (number % job.shape[k]) * operand.strides[k]
        number = number // job.shape[k]
    return data


cdef inline void seek(Position* position, const Job* job, Py_ssize_t start) noexcept nogil:
    """Set the position to element `start` of the slice."""
    cdef int k
    for k in range(job.ndim - 1, job.outer - 1, -1):
        position.index[k] = start % job.shape[k]
        start = start // job.shape[k]


cdef inline void copy_position(const Position* position, const Job* job, Position* to) noexcept nogil:
    cdef int k
    for k in range(job.outer, job.ndim):
        to.index[k] = position.index[k]


cdef inline void skip(Position* position, const Job* job, Py_ssize_t n) noexcept nogil:
    """The position n elements further on. Divides only where a row ends."""
    cdef int k = job.ndim - 1
    position.index[k] += n
    while position.index[k] >= job.shape[k] and k > job.outer:
        n = position.index[k] // job.shape[k]
        position.index[k] -= n * job.shape[k]
        k -= 1
        position.index[k] += n


cdef inline char* locate(const Position* position, const Job* job, const Operand* operand, char* data) noexcept nogil:
    """The operand's element at a position of the slice that begins at data."""
    cdef int k
    for k in range(job.outer, job.ndim):
        data += position.index[k] * operand.strides[k]
    return data


cdef inline void advance(Cursor* cursor, const Job* job, const Operand* operand, Py_ssize_t n) noexcept nogil:
    """Step by n elements, no further than to the end of the row."""
    cdef int k = job.ndim - 1
    cursor.position.index[k] += n
    cursor.data += n * operand.strides[k]
    while cursor.position.index[k] == job.shape[k] and k > job.outer:
        cursor.data -= job.shape[k] * operand.strides[k]
        cursor.position.index[k] = 0
        k -= 1
        cursor.position.index[k] += 1
        cursor.data += operand.strides[k]


cdef inline Py_ssize_t left_in_row(const Position* position, const Job* job, Py_ssize_t n) noexcept nogil:
    """How many of the next n elements belong to the same row."""
    cdef Py_ssize_t left = job.shape[job.ndim - 1] - position.index[job.ndim - 1]
    return n if n < left else left


cdef inline Py_ssize_t whole_rows(const Position* position, const Job* job, Py_ssize_t n) noexcept nogil:
    """How many whole rows follow one another at one stride within n elements; 0 for rows that are not short."""
    cdef Py_ssize_t rows, left, columns = job.shape[job.ndim - 1]
    if columns > SHORT_ROW or job.ndim - job.outer < 2 or position.index[job.ndim - 1] != 0:
        return 0
    left = job.shape[job.ndim - 2] - position.index[job.ndim - 2]
    rows = n // columns
    return rows if rows < left else left


cdef inline void advance_rows(Cursor* cursor, const Job* job, const Operand* operand, Py_ssize_t rows) noexcept nogil:
    """Step by whole rows, no further than to the end of the dimension before the last."""
    cursor.position.index[job.ndim - 2] += rows - 1
    cursor.data += (rows - 1) * operand.strides[job.ndim - 2]
    advance(cursor, job, operand, job.shape[job.ndim - 1])


cdef inline bint has_distant_rows(const Job* job, const Operand* operand) noexcept nogil:
    """Whether rows fill several cache lines, with gaps too wide for the hardware to read on by itself."""
    cdef Py_ssize_t stride = operand.strides[job.ndim - 1], size = job.shape[job.ndim - 1] * stride, row_stride
    if job.ndim - job.outer < 2 or size < FAR_APART or stride >= CACHE_LINE:
        return False
    row_stride = operand.strides[job.ndim - 2]
    return (row_stride if row_stride > 0 else -row_stride) >= size + FAR_APART


cdef inline bint has_contiguous_rows(const Job* job, const Operand* operand) noexcept nogil:
    """Whether each row can be read in place."""
    return operand.readable and operand.strides[job.ndim - 1] == (4 if job.single else 8)


cdef inline bint has_transposed_rows(const Job* job, const Operand* operand) noexcept nogil:
    """Whether blocks of the operand are transposed."""
    return job.ndim - job.outer >= 2 and job.shape[job.ndim - 1] <= SHORT_ROW and is_transposed(
        operand.strides[job.ndim - 2], operand.strides[job.ndim - 1], 4 if job.single else 8
    )
