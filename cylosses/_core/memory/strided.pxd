# Elements at one stride, of any storage, to and from a contiguous buffer of the working type.
#
# Native float32 and float64 have loops for each stride that is frequent. All others have one loop each, over elements that are
# contiguous and native: those that are not are first copied, a piece at a time, by loops that know nothing but their size.

from cython cimport floating
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from cylosses._core.compiler cimport outlined
from cylosses._core.job cimport FLOAT16, FLOAT32, FLOAT64, INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64
from cylosses._core.memory.half cimport from_bfloat16, from_float16, to_bfloat16, to_float16
from cylosses._core.memory.storage cimport Element, load, size_of, store

cdef extern from "memory/strided.h":
    void copy_elements "cylosses_copy_elements"(
        const char* source, Py_ssize_t source_stride, char* target, Py_ssize_t target_stride, Py_ssize_t size, bint swapped,
        Py_ssize_t n
    ) noexcept nogil

cdef enum:
    PIECE = 128             # elements that are copied before they are converted


# ---- reading ---------------------------------------------------------------------------------------------------------------------

cdef inline void read_elements(Element element, const char* source, Py_ssize_t n, floating* to) noexcept nogil:
    """to[i] = source[i] of contiguous elements; of `element` only the type is used."""
    cdef Py_ssize_t i
    for i in range(n):
        load(&element, source + i * <Py_ssize_t> sizeof(Element), False)
        to[i] = <floating> element


cdef inline void read_half(bint is_float16, const char* source, Py_ssize_t n, floating* to) noexcept nogil:
    cdef uint16_t half = 0
    cdef Py_ssize_t i
    if is_float16:
        for i in range(n):
            load(&half, source + i * 2, False)
            to[i] = from_float16(half)
    else:
        for i in range(n):
            load(&half, source + i * 2, False)
            to[i] = from_bfloat16(half)


cdef inline outlined read_contiguous(int storage, const char* source, Py_ssize_t n, floating* to) noexcept nogil:
    """to[i] = source[i] of elements that are contiguous and native."""
    if storage == FLOAT32:
        read_elements(<float> 0, source, n, to)
    elif storage == FLOAT64:
        read_elements(<double> 0, source, n, to)
    elif storage == INT8:
        read_elements(<int8_t> 0, source, n, to)
    elif storage == INT16:
        read_elements(<int16_t> 0, source, n, to)
    elif storage == INT32:
        read_elements(<int32_t> 0, source, n, to)
    elif storage == INT64:
        read_elements(<int64_t> 0, source, n, to)
    elif storage == UINT8:
        read_elements(<uint8_t> 0, source, n, to)
    elif storage == UINT16:
        read_elements(<uint16_t> 0, source, n, to)
    elif storage == UINT32:
        read_elements(<uint32_t> 0, source, n, to)
    elif storage == UINT64:
        read_elements(<uint64_t> 0, source, n, to)
    else:
        read_half(storage == FLOAT16, source, n, to)


cdef inline void read_at_stride(Element element, const char* source, Py_ssize_t stride, Py_ssize_t n, floating* to) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        load(&element, source + i * stride, False)
        to[i] = <floating> element


cdef inline void read_spaced(Element element, const char* source, Py_ssize_t stride, Py_ssize_t n, floating* to) noexcept nogil:
    """Compilers vectorise the loop for a stride that they know."""
    if stride == 2 * sizeof(Element):
        read_at_stride(element, source, 2 * sizeof(Element), n, to)
    elif stride == 3 * sizeof(Element):
        read_at_stride(element, source, 3 * sizeof(Element), n, to)
    elif stride == 4 * sizeof(Element):
        read_at_stride(element, source, 4 * sizeof(Element), n, to)
    elif stride == -<Py_ssize_t> sizeof(Element):
        read_at_stride(element, source, -<Py_ssize_t> sizeof(Element), n, to)
    else:
        read_at_stride(element, source, stride, n, to)


cdef inline void read_in_pieces(
    int storage, const char* source, Py_ssize_t stride, bint swapped, Py_ssize_t n, floating* to
) noexcept nogil:
    cdef char piece[8 * PIECE]
    cdef Py_ssize_t size = size_of(storage), step
    while n:
        step = n if n < PIECE else PIECE
        copy_elements(source, stride, piece, size, size, swapped, step)
        read_contiguous(storage, piece, step, to)
        source += step * stride
        to += step
        n -= step


cdef inline outlined read_strided(
    int storage, const char* source, Py_ssize_t stride, bint swapped, Py_ssize_t n, floating* to
) noexcept nogil:
    cdef Py_ssize_t count = 1 if stride == 0 and n else n, i       # elements to read: one stands for all at stride 0
    if swapped:
        read_in_pieces(storage, source, stride, True, count, to)
    elif count == 1 or stride == size_of(storage):
        read_contiguous(storage, source, count, to)
    elif storage == FLOAT32:
        read_spaced(<float> 0, source, stride, n, to)
    elif storage == FLOAT64:
        read_spaced(<double> 0, source, stride, n, to)
    else:
        read_in_pieces(storage, source, stride, False, n, to)
    for i in range(count, n):
        to[i] = to[0]


# ---- writing ---------------------------------------------------------------------------------------------------------------------

cdef inline void write_elements(
    Element element, char* target, Py_ssize_t stride, Py_ssize_t n, const floating* source
) noexcept nogil:
    """target[i] = source[i]; of `element` only the type is used."""
    cdef Py_ssize_t i
    if stride == sizeof(Element):
        for i in range(n):
            element = <Element> source[i]
            store(&element, target + i * <Py_ssize_t> sizeof(Element), False)
    else:
        for i in range(n):
            element = <Element> source[i]
            store(&element, target + i * stride, False)


cdef inline outlined write_native(
    int storage, char* target, Py_ssize_t stride, Py_ssize_t n, const floating* source
) noexcept nogil:
    cdef uint16_t half
    cdef Py_ssize_t i
    if storage == FLOAT32:
        write_elements(<float> 0, target, stride, n, source)
    elif storage == FLOAT64:
        write_elements(<double> 0, target, stride, n, source)
    elif storage == FLOAT16:
        for i in range(n):
            half = to_float16(<float> source[i])
            store(&half, target + i * stride, False)
    else:
        for i in range(n):
            half = to_bfloat16(<float> source[i])
            store(&half, target + i * stride, False)


cdef inline outlined write_strided(
    int storage, char* target, Py_ssize_t stride, bint swapped, Py_ssize_t n, const floating* source
) noexcept nogil:
    cdef char piece[8 * PIECE]
    cdef Py_ssize_t size = size_of(storage), step
    if not swapped:
        write_native(storage, target, stride, n, source)
        return
    while n:
        step = n if n < PIECE else PIECE
        write_native(storage, piece, size, step, source)
        copy_elements(piece, size, target, stride, size, True, step)
        target += step * stride
        source += step
        n -= step
