# The bits of floating-point numbers. Tricks with them stand for ldexp() and frexp(), which are SSE code in libm: calling that after
# AVX loops costs microseconds.

from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #define CYLOSSES_FRACTION INT64_C(0xfffffffffffff)
    #define CYLOSSES_IMPLICIT INT64_C(0x10000000000000)
    #define CYLOSSES_LOW_32 INT64_C(0xffffffff)
    """
    const int64_t FRACTION "CYLOSSES_FRACTION"      # bits of the significand that float64 stores
    const int64_t IMPLICIT "CYLOSSES_IMPLICIT"      # the leading one, which it does not
    const int64_t LOW_32 "CYLOSSES_LOW_32"


cdef union Bits32:
    float f
    uint32_t u

cdef union Bits64:
    double f
    int64_t i
    uint64_t u


cdef inline int exponent_of(double v) noexcept nogil:
    """floor(log2 |v|) of a normal number; -1023 for zero and subnormals."""
    cdef Bits64 b
    b.f = v
    return <int> ((b.i >> 52) & 2047) - 1023


cdef inline double power_of_two(int e) noexcept nogil:
    """2**e for -1022 <= e <= 1023."""
    cdef Bits64 b
    b.i = <int64_t> (e + 1023) << 52
    return b.f


cdef inline int64_t integer_significand(double v, int* exponent) noexcept nogil:
    """v = integer_significand * 2**exponent, for finite v."""
    cdef Bits64 b
    cdef int field
    cdef int64_t m
    b.f = v
    field = <int> ((b.i >> 52) & 2047)
    m = b.i & FRACTION
    if field:
        m |= IMPLICIT
    else:
        field = 1
    exponent[0] = field - 1075
    return -m if b.i < 0 else m
