# Error-free transformations: sums and products of two float64 as a high word, which is the rounded result, and a low word, which is
# what the rounding lost. Sources: Møller 1965 and Knuth (two_sum), Dekker 1971 (fast_two_sum, two_product), Veltkamp (the
# splitting), Boldo and Melquiond 2008 (rounding to odd).

cimport cython
from libc.math cimport fma
from libc.stdint cimport uint32_t

from cylosses._core.bits cimport Bits32, Bits64

cdef extern from *:
    """
    #include <math.h>
    /* The low word of a * b, whose high word is p: exact either way if it is no subnormal, a and b are below 2**996 in magnitude,
       and p is finite. */
    #if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    #define CYLOSSES_PRODUCT_LOW(a, b, p) fma(a, b, -(p))
    #else
    /* The leading 26 bits; the others fit in 26 as well, with their sign. The factor is 2**27 + 1. */
    static inline double cylosses_leading_half(double v) {
        double shifted = 134217729.0 * v;
        return shifted - (shifted - v);
    }
    static inline double cylosses_product_low(double a, double b, double p) {
        double a_high = cylosses_leading_half(a), b_high = cylosses_leading_half(b), a_low = a - a_high, b_low = b - b_high;
        return ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low;
    }
    #define CYLOSSES_PRODUCT_LOW(a, b, p) cylosses_product_low(a, b, p)
    #endif
    """
    double product_low "CYLOSSES_PRODUCT_LOW"(double a, double b, double p) noexcept nogil


cdef inline double two_sum(double a, double b, double* low) noexcept nogil:
    """a + b = high + low."""
    cdef double high = a + b
    cdef double b_kept = high - a
    low[0] = (a - (high - b_kept)) + (b - b_kept)
    return high


cdef inline double fast_two_sum(double a, double b, double* low) noexcept nogil:
    """a + b = high + low, for |a| >= |b|, or a sum that is exact."""
    cdef double high = a + b
    low[0] = b - (high - a)
    return high


cdef inline double two_product(double a, double b, double* low) noexcept nogil:
    """a * b = high + low, if low is no subnormal, a and b are below 2**996 in magnitude, and high is finite."""
    cdef double high = a * b
    low[0] = product_low(a, b, high)
    return high


cdef inline double two_product_fma(double a, double b, double* low) noexcept nogil:
    """two_product() of any numbers: a low word in the subnormal range is rounded correctly. A call of libm below x86-64-v3."""
    cdef double high = a * b
    low[0] = fma(a, b, -high)
    return high


@cython.overflowcheck(False)        # arithmetic on the bits wraps
cdef inline double product_to_odd(double a, double b) noexcept nogil:
    """a * b rounded to odd: a second rounding to 51 bits or fewer then gives the correctly rounded product."""
    cdef Bits64 p
    cdef double low
    p.f = two_product_fma(a, b, &low)
    if low - low == 0 and low != 0 and not p.i & 1:
        p.i += 1 if (low > 0) == (p.f > 0) else -1
    return p.f


@cython.overflowcheck(False)        # arithmetic on the bits wraps
cdef inline float float_to_odd(double v) noexcept nogil:
    """v rounded to odd in float32, on the way to a still shorter format."""
    cdef Bits32 f
    f.f = <float> v
    if f.f - f.f == 0 and <double> f.f != v and not f.u & 1:
        f.u += 1 if (v > <double> f.f) == (v > 0) else <uint32_t> -1
    return f.f
