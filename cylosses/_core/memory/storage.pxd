# How elements lie in memory, as Storage in job.pxd, and single elements. They are read and written by memcpy, since arrays may be
# unaligned.

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from cylosses._core.job cimport BFLOAT16, FLOAT16, FLOAT32, FLOAT64, INT8, INT32, INT64, UINT8, UINT32, UINT64
from cylosses._core.summation.rounding cimport Format


ctypedef fused Element:
    float
    double
    int8_t
    int16_t
    int32_t
    int64_t
    uint8_t
    uint16_t
    uint32_t
    uint64_t


cdef inline Format format_of(int storage) noexcept nogil:
    cdef Format target
    target.precision, target.least, target.greatest = 53, -1022, 1023
    if storage == FLOAT32:
        target.precision, target.least, target.greatest = 24, -126, 127
    elif storage == FLOAT16:
        target.precision, target.least, target.greatest = 11, -14, 15
    elif storage == BFLOAT16:
        target.precision, target.least, target.greatest = 8, -126, 127
    return target


cdef inline int size_of(int storage) noexcept nogil:
    """Bytes of an element."""
    if storage in (FLOAT64, INT64, UINT64):
        return 8
    if storage in (FLOAT32, INT32, UINT32):
        return 4
    return 1 if storage in (INT8, UINT8) else 2


cdef inline bint is_integer(int storage) noexcept nogil:
    return storage not in (FLOAT32, FLOAT64, FLOAT16, BFLOAT16)


cdef inline bint is_wide_integer(int storage) noexcept nogil:
    """Whether not all such integers are float64 numbers."""
    return storage in (INT64, UINT64)


cdef inline void load(Element* element, const char* source, bint swapped) noexcept nogil:
    cdef char* to = <char*> element
    cdef int k
    if swapped:
        for k in range(<int> sizeof(Element)):
            to[k] = source[<int> sizeof(Element) - 1 - k]
    else:
        memcpy(element, source, sizeof(Element))


cdef inline void store(Element* element, char* target, bint swapped) noexcept nogil:
    cdef const char* source = <const char*> element
    cdef int k
    if swapped:
        for k in range(<int> sizeof(Element)):
            target[k] = source[<int> sizeof(Element) - 1 - k]
    else:
        memcpy(target, element, sizeof(Element))
