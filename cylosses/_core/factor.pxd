# What derivatives are multiplied with: incoming gradient over divisor. The quotient is taken of the exact sum of the weights, and has
# an exponent of its own, since weights that are all tiny or all huge take it beyond float64's range though the gradients lie within.
#
# A gradient is derivative * (weight * factor): one rounding of the product in brackets, whose factor is known to 64 bits, and one
# rounding of the result. Where all numbers are moderate, loops over float64 do that. Where they may not be, numbers are taken apart
# into significands between 1 and 2, and exponents: the same operations, and so the same bits, without a limit of range.

from libc.stdint cimport int64_t, uint64_t

from cylosses._core.bits cimport Bits64, power_of_two
from cylosses._core.error_free cimport two_product
from cylosses._core.job cimport Job
from cylosses._core.summation.division cimport divide_large
from cylosses._core.summation.superaccumulator cimport Superaccumulator, clear, deposit, make_magnitude

cdef enum:
    # Factors and weights whose exponents are no further from 0 are moderate: products of two, and their last places, are normal numbers.
    MODERATE = 450
    # Further from 0, products of two significands are 0 or infinite in any format.
    FAR_OUT = 1100

cdef struct Factor:
    # (high + low) * 2**exponent; high is the value rounded to 53 bits. Moderate values have the exponent 0.
    double high
    double low
    int exponent


cdef inline double significand_of(double v, int* exponent) noexcept nogil:
    """v = significand * 2**exponent with a significand from 1 on and below 2; 0, infinities and NaN stay as they are."""
    cdef Bits64 b
    cdef int field
    b.f = v
    field = <int> ((b.i >> 52) & 2047)
    exponent[0] = 0
    if field == 2047 or v == 0:
        return v
    if field == 0:
        b.f = v * 18014398509481984.0           # 2**54
        field = <int> ((b.i >> 52) & 2047) - 54
    exponent[0] = field - 1023
    b.i = (b.i & ~(<int64_t> 2047 << 52)) | (<int64_t> 1023 << 52)
    return b.f


cdef inline Factor moderated(double high, double low, int exponent) noexcept nogil:
    """The factor that these numbers make, with high between 1 and 2, or what significand_of() leaves as it is."""
    cdef Factor factor
    if -MODERATE <= exponent <= MODERATE:
        high, low, exponent = high * power_of_two(exponent), low * power_of_two(exponent), 0
    factor.high, factor.low, factor.exponent = high, low, exponent
    return factor


cdef inline Factor factor_over_count(double dividend, uint64_t count) noexcept nogil:
    """dividend / count, rounded to 53 bits, for 0 < count < 2**53."""
    cdef int exponent
    cdef double high = significand_of(dividend, &exponent) / <double> count
    cdef int shift
    high = significand_of(high, &shift)
    return moderated(high, 0, exponent + shift)


cdef inline Factor factor_of_digits(uint64_t digits, int unit, bint sticky, bint negative) noexcept nogil:
    """digits * 2**unit, the top bit of digits set, and a little more if sticky."""
    cdef uint64_t kept = digits >> 11, rest = digits & 2047
    cdef double high, low
    if rest > 1024 or (rest == 1024 and (sticky or kept & 1)):
        kept += 1
    high = <double> kept * power_of_two(-52)
    low = <double> (<int64_t> rest - (2048 if kept != digits >> 11 else 0)) * power_of_two(-63)
    return moderated(-high if negative else high, -low if negative else low, unit + 63)


cdef inline Factor factor_over(double dividend, Superaccumulator* divisor) noexcept nogil:
    """dividend / divisor, to 64 bits; 0 for the divisor 0, which has no elements to be multiplied. Leaves the divisor's magnitude."""
    cdef Superaccumulator numerator
    cdef uint64_t digits
    cdef int unit = 0
    cdef bint sticky = False, negative
    make_magnitude(divisor)
    if divisor.high < divisor.low:
        return moderated(0, 0, 0)
    if dividend == 0 or not dividend - dividend == 0:
        return moderated(dividend, 0, 0)
    clear(&numerator)
    deposit(&numerator, dividend)
    negative = make_magnitude(&numerator)
    digits = divide_large(&numerator, divisor, &unit, &sticky)
    return factor_of_digits(digits, unit, sticky, negative)


cdef inline void set_factor(Job* job, Factor factor) noexcept nogil:
    job.scale, job.scale_low, job.scale_exponent = factor.high, factor.low, factor.exponent


cdef inline double times_weight(double factor, double low, double weight) noexcept nogil:
    """(factor + low) * weight, rounded once, of moderate numbers."""
    cdef double product_low
    cdef double product = two_product(factor, weight, &product_low)
    return product + (product_low + low * weight)


cdef inline double times_factor(double derivative, double factor, int exponent) noexcept nogil:
    """derivative * factor * 2**exponent, rounded once, for any derivative and a factor below 4."""
    cdef int shift, half
    derivative = significand_of(derivative, &shift)
    exponent += shift
    exponent = FAR_OUT if exponent > FAR_OUT else (-FAR_OUT if exponent < -FAR_OUT else exponent)
    half = exponent // 2
    return (derivative * power_of_two(half)) * (factor * power_of_two(exponent - half))
