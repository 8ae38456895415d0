# What derivatives are multiplied with: incoming gradient over divisor. The divisor of a weighted mean is the exact sum of the
# weights. The quotient has an exponent of its own: where weights are all tiny or all huge, it leaves the range of float64, though
# the gradients do not.
#
# A gradient is derivative * (weight * factor): one rounding of the product in brackets, whose factor is known to 64 bits, and one
# rounding of the result. Where all numbers are moderate, loops over float64 do that. Where they may not be, numbers are taken apart
# into significands between 1 and 2, and exponents: the same operations, and so the same bits, without a limit of range.

from libc.math cimport fabs
from libc.stdint cimport int64_t, uint64_t

from cylosses._core.bits cimport Bits64, power_of_two
from cylosses._core.summation.division cimport divide_large
from cylosses._core.summation.superaccumulator cimport Superaccumulator, add_count, clear, deposit, make_magnitude
from cylosses._core.error_free cimport two_product
from cylosses._core.job cimport FLOAT64, NOTHING, WEIGHTS, Job
from cylosses._core.mode cimport held

cdef extern from *:
    """
    static const Py_ssize_t cylosses_no_strides[65] = {0};      /* of one number, seen at any shape */
    """
    const Py_ssize_t* NO_STRIDES "cylosses_no_strides"

cdef enum:
    # Factors and weights with exponents from -MODERATE to MODERATE are moderate: the product of two, and its low word, are normal.
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


cdef inline Factor factor_of_digits(uint64_t digits, int exponent, bint sticky, bint negative) noexcept nogil:
    """digits * 2**exponent, the top bit of digits set, and a little more if sticky."""
    cdef uint64_t kept = digits >> 11, dropped = digits & 2047
    cdef double high, low
    if dropped > 1024 or (dropped == 1024 and (sticky or kept & 1)):
        kept += 1
    high = <double> kept * power_of_two(-52)
    low = <double> (<int64_t> dropped - (2048 if kept != digits >> 11 else 0)) * power_of_two(-63)
    return moderated(-high if negative else high, -low if negative else low, exponent + 63)


cdef inline Factor factor_over(double dividend, Superaccumulator* divisor) noexcept nogil:
    """dividend / divisor, to 64 bits; 0 for the divisor 0: nothing is selected then. The divisor becomes its magnitude."""
    cdef Superaccumulator numerator
    cdef uint64_t digits
    cdef int exponent = 0
    cdef bint sticky = False, negative
    make_magnitude(divisor)
    if divisor.high < divisor.low:
        return moderated(0, 0, 0)
    if dividend == 0 or not dividend - dividend == 0:
        return moderated(dividend, 0, 0)
    clear(&numerator)
    deposit(&numerator, dividend)
    negative = make_magnitude(&numerator)
    digits = divide_large(&numerator, divisor, &exponent, &sticky)
    return factor_of_digits(digits, exponent, sticky, negative)


cdef inline Factor factor_by_count(double dividend, uint64_t count) noexcept nogil:
    """dividend / count, 0 for the count 0. The caller has set the default floating-point mode."""
    cdef Superaccumulator divisor
    cdef Factor factor
    cdef double quotient
    dividend = held(dividend)
    quotient = held(dividend / <double> count)
    if count >> 53 == 0 and power_of_two(-MODERATE) <= fabs(quotient) <= power_of_two(MODERATE):
        factor.high, factor.low, factor.exponent = quotient, 0, 0        # as nearly always
    elif count == 0:
        factor = moderated(0, 0, 0)
    elif count >> 53 == 0:          # a float64 number
        factor = factor_over_count(dividend, count)
    else:
        clear(&divisor)
        add_count(&divisor, count)
        factor = factor_over(dividend, &divisor)
    return factor


cdef inline void set_factor(Job* job, Factor factor) noexcept nogil:
    job.scale, job.scale_low, job.scale_exponent = factor.high, factor.low, factor.exponent


# The divisor of a mean is the number of its elements or, with weights or a mask, their sum: that takes a pass of its own, by a job
# that has no outputs yet. The public calls and the C level both ask for it here:
#     if not set_scale(&job, dividend, mean): want_factors(&job, &dividend, factors); run the job; take_factors(&job, factors)

cdef inline bint set_scale(Job* job, double dividend, bint mean) noexcept nogil:
    """Have derivatives multiplied by dividend, for a mean over its divisor; false, and nothing done, if that takes a pass."""
    if mean and (job.weight.data is not NULL or job.where.data is not NULL):
        return False
    set_factor(job, factor_by_count(dividend, job.size if mean else 1))
    return True


cdef inline void set_dividend(Job* job, const double* dividend) noexcept nogil:
    """Make a number the dividend of all slices."""
    job.dividend.data = <char*> dividend
    job.dividend.strides = <Py_ssize_t*> NO_STRIDES
    job.dividend.storage, job.dividend.swapped = FLOAT64, False


cdef inline void want_factors(Job* job, const double* dividend, double* factors) noexcept nogil:
    """Have the sum of the weights taken, and what dividend (NULL for 1 or an operand) over it is written to factors."""
    job.term = WEIGHTS
    job.factors = factors
    if dividend is not NULL:
        set_dividend(job, dividend)


cdef inline void take_factors(Job* job, const double* factors) noexcept nogil:
    """Have derivatives multiplied by the one factor that a pass over the weights has found."""
    job.term = NOTHING
    job.factors = NULL
    job.dividend.data = NULL
    job.scale, job.scale_low, job.scale_exponent = factors[0], factors[1], <int> factors[2]

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
