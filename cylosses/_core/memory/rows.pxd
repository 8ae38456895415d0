# Several short rows at once, to and from a contiguous buffer of the working type, without a call for each row: as they lie, or
# transposed where their columns are contiguous.

from cython cimport floating
from libc.string cimport memcpy

from cylosses._core.job cimport FLOAT32, FLOAT64, Operand
from cylosses._core.memory.storage cimport Element, load
from cylosses._core.memory.streaming cimport CACHE_LINE, prefetch_column, prefetch_line
from cylosses._core.memory.strided cimport read_strided, write_strided

cdef extern from "memory/rows.h":
    void copy_row "cylosses_copy_row"(char* to, const char* source, Py_ssize_t n) noexcept nogil
    void transpose_4_by_4 "cylosses_transpose_4_by_4"(const char** source, char* to, Py_ssize_t stride, size_t size) noexcept nogil


cdef inline bint is_transposed(Py_ssize_t row_stride, Py_ssize_t stride, size_t size) noexcept nogil:
    """Whether rows continue each other while the elements of a row lie in cache lines of their own: columns are contiguous."""
    return row_stride == <Py_ssize_t> size and (stride if stride > 0 else -stride) >= CACHE_LINE


cdef inline void read_transposed_elements(
    const char* source, Py_ssize_t row, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t columns, floating* to
) noexcept nogil:
    """Rows row .. rows, one element at a time."""
    cdef Py_ssize_t r, c
    for r in range(row, rows):
        for c in range(columns):
            memcpy(to + r * columns + c, source + c * stride + r * <Py_ssize_t> sizeof(floating), sizeof(floating))


cdef inline void read_few_transposed(
    const char* source, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t columns, Py_ssize_t ahead, floating* to
) noexcept nogil:
    """Two or three columns: the last one is taken twice, and the surplus at the end of each row overwritten by the next row."""
    cdef Py_ssize_t size = sizeof(floating), r = 0, k
    cdef const char* quads[4]           # four neighbouring elements each
    while r + 4 < rows:
        for k in range(4):
            quads[k] = source + (k if k < columns else columns - 1) * stride + r * size
        if ahead and r * size % CACHE_LINE == 0:
            for k in range(columns):
                prefetch_line(quads[k] + ahead)
        transpose_4_by_4(quads, <char*> (to + r * columns), columns * size, size)
        r += 4
    read_transposed_elements(source, r, rows, stride, columns, to)


cdef inline void read_transposed(
    const char* source, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t columns, Py_ssize_t ahead, floating* to
) noexcept nogil:
    """Transpose contiguous columns, in squares that fit registers; the last squares may overlap those before."""
    cdef Py_ssize_t size = sizeof(floating), r, c = 0, k
    cdef const char* quads[4]
    if columns < 4:
        if columns == 3:
            read_few_transposed(source, rows, stride, 3, ahead, to)
        else:
            read_few_transposed(source, rows, stride, columns, ahead, to)
        return
    if rows < 4:
        read_transposed_elements(source, 0, rows, stride, columns, to)
        return
    while c < columns:
        if ahead:
            for k in range(c, c + 4 if c + 4 < columns else columns):
                prefetch_column(source + k * stride + ahead, rows * size)
        if c > columns - 4:
            c = columns - 4
        r = 0
        while r < rows:
            if r > rows - 4:
                r = rows - 4
            for k in range(4):
                quads[k] = source + (c + k) * stride + r * size
            transpose_4_by_4(quads, <char*> (to + r * columns + c), columns * size, size)
            r += 4
        c += 4


cdef inline void copy_rows(
    const char* source, Py_ssize_t row_stride, Py_ssize_t rows, Py_ssize_t columns, floating* to
) noexcept nogil:
    """Contiguous rows of the working type."""
    cdef Py_ssize_t _, size = columns * sizeof(floating)
    if size >= 16:
        for _ in range(rows):
            copy_row(<char*> to, source, size)
            source += row_stride
            to += columns
    else:       # up to three elements
        for _ in range(rows):
            memcpy(to, source, size)
            source += row_stride
            to += columns


cdef inline void read_native_rows(
    Element element, const char* source, Py_ssize_t row_stride, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t columns, floating* to
) noexcept nogil:
    cdef Py_ssize_t _, i
    if stride == 0:
        for _ in range(rows):
            load(&element, source, False)
            for i in range(columns):
                to[i] = <floating> element
            source += row_stride
            to += columns
    else:
        for _ in range(rows):
            for i in range(columns):
                load(&element, source + i * stride, False)
                to[i] = <floating> element
            source += row_stride
            to += columns


cdef inline void read_rows(
    const Operand* operand, const char* source, Py_ssize_t row_stride, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t columns,
    Py_ssize_t ahead, floating* to
) noexcept nogil:
    """Rows of an operand. Native float32 and float64, by far the most frequent, take no call for each row.

    Where rows are transposed, what lies `ahead` bytes further on is prefetched (0: nothing is).
    """
    cdef Py_ssize_t _
    cdef int wanted = FLOAT32 if sizeof(floating) == 4 else FLOAT64
    cdef bint native = not operand.swapped, working = native and operand.storage == wanted
    if working and is_transposed(row_stride, stride, sizeof(floating)):
        read_transposed(source, rows, stride, columns, ahead, to)
    elif working and stride == sizeof(floating):
        if columns == 4:                # boxes, quaternions, pixels: loops of a length that compilers know
            copy_rows(source, row_stride, rows, 4, to)
        elif columns == 3:
            copy_rows(source, row_stride, rows, 3, to)
        elif columns == 2:
            copy_rows(source, row_stride, rows, 2, to)
        else:
            copy_rows(source, row_stride, rows, columns, to)
    elif working and stride == 0 and columns == 4:
        read_native_rows(<floating> 0, source, row_stride, rows, 0, 4, to)
    elif native and operand.storage == FLOAT32:
        read_native_rows(<float> 0, source, row_stride, rows, stride, columns, to)
    elif native and operand.storage == FLOAT64:
        read_native_rows(<double> 0, source, row_stride, rows, stride, columns, to)
    else:
        for _ in range(rows):
            read_strided(operand.storage, source, stride, operand.swapped, columns, to)
            source += row_stride
            to += columns


cdef inline void write_transposed(
    char* target, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t columns, const floating* source
) noexcept nogil:
    """The inverse of read_transposed()."""
    cdef Py_ssize_t size = sizeof(floating), r, c = 0, k
    cdef const char* quads[4]
    if rows < 4 or columns < 4:
        for r in range(rows):
            for c in range(columns):
                memcpy(target + c * stride + r * size, source + r * columns + c, size)
        return
    while c < columns:
        if c > columns - 4:
            c = columns - 4
        r = 0
        while r < rows:
            if r > rows - 4:
                r = rows - 4
            for k in range(4):
                quads[k] = <const char*> (source + (r + k) * columns + c)
            transpose_4_by_4(quads, target + c * stride + r * size, stride, size)
            r += 4
        c += 4


cdef inline void write_rows(
    const Operand* operand, char* target, Py_ssize_t row_stride, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t columns,
    const floating* source
) noexcept nogil:
    """Rows of an operand."""
    cdef Py_ssize_t _, i
    if operand.readable and is_transposed(row_stride, stride, sizeof(floating)):
        write_transposed(target, rows, stride, columns, source)
    elif operand.readable:
        for _ in range(rows):
            for i in range(columns):
                memcpy(target + i * stride, source + i, sizeof(floating))
            target += row_stride
            source += columns
    else:
        for _ in range(rows):
            write_strided(operand.storage, target, stride, operand.swapped, columns, source)
            target += row_stride
            source += columns
