# RN(sum / divisor) of many slices in one vector loop. Sums and divisors are unevaluated sums of float64 (sums.pxd).
#
# The quotient of the leading words is off by a few units in the last place of float64; the remainder corrects that. Where a result
# could round either way, since the quotient lies too near to halfway between two numbers of its format, the slice is reported as
# unsure, and goes the long way: the rounding test of Ziv 1991, Fast evaluation of elementary mathematical functions with correctly
# rounded last bit.

cimport cython
from libc.math cimport NAN, fabs
from libc.stdint cimport int64_t, uint8_t

from cylosses._core.bits cimport FRACTION, Bits64, power_of_two
from cylosses._core.error_free cimport product_low, two_sum

cdef extern from *:
    """
    #include <stdint.h>
    /* The bits of a float64 below the last place of float32, and what they are halfway between two float32 numbers. */
    #define CYLOSSES_BELOW_FLOAT INT64_C(0x1fffffff)
    #define CYLOSSES_HALFWAY INT64_C(0x10000000)
    #define CYLOSSES_NEAR INT64_C(3)                /* units in the last place */
    #define CYLOSSES_NOT_NEAR INT64_C(0x1ffffff8)   /* bits of which none is set from 0 to 7 */
    #define CYLOSSES_MOST_KNOWN 0x1p28              /* divisors that are numbers of terms have so many bits, or go the general way */
    #define CYLOSSES_SMALLEST_NORMAL 1.1754943508222875e-38     /* of float32 */
    """
    const int64_t BELOW_FLOAT "CYLOSSES_BELOW_FLOAT"
    const double SMALLEST_NORMAL "CYLOSSES_SMALLEST_NORMAL"
    const int64_t HALFWAY "CYLOSSES_HALFWAY"
    const int64_t NEAR "CYLOSSES_NEAR"
    const double MOST_KNOWN "CYLOSSES_MOST_KNOWN"
    const int64_t NOT_NEAR "CYLOSSES_NOT_NEAR"


cdef struct Quotients:
    # Sums high + low + rest of slices, and their divisors.
    const double* high
    const double* low           # NULL: all 0; so below
    const double* rest
    const double* divisor
    const double* divisor_low   # at most half a unit in the last place of the divisor
    double error                # what each sum may be off by
    bint divisor_is_known       # all divisors are one number of terms


cdef inline bint is_power_of_two(double v) noexcept nogil:
    cdef Bits64 bits
    bits.f = v
    return bits.i & FRACTION == 0


# ---- float32 ---------------------------------------------------------------------------------------------------------------------

@cython.overflowcheck(False)        # arithmetic on bits
cdef inline bint could_round_either_way(double s, double e, double q, double divisor, bint known) noexcept nogil:
    """Whether a quotient q of the sum s + e lies too near to halfway between two float32 numbers, or has subnormal neighbours.

    Sums of a few float32 numbers, over a number of terms that is `known` and has at most 28 bits, are often exactly halfway. Then q
    has 25 bits, its product with the divisor is exact, and rounding q is right.
    """
    cdef Bits64 bits
    cdef double size = fabs(q)
    bits.f = q
    return (
        (((bits.i & BELOW_FLOAT) - (HALFWAY - NEAR) & NOT_NEAR) == 0)
        & ((not known) | ((bits.i & BELOW_FLOAT) != HALFWAY) | (e != 0) | (q * divisor != s))
    ) | ((size < SMALLEST_NORMAL) & (size != 0))


cdef inline double sum_of(const Quotients* of, Py_ssize_t i, int words, double* low) noexcept nogil:
    """The sum of a slice that has so many words, rounded, and what it lacks: at most half a unit, or a multiple where terms cancel."""
    cdef double s = of.high[i]
    low[0] = 0
    if words > 1:
        s = two_sum(s, of.low[i], low)
    if words > 2:
        low[0] += of.rest[i]
    return s


cdef inline bint cancels(double s, double low) noexcept nogil:
    """Whether what a sum lacks is more than a unit in its last place."""
    return fabs(low) * 9007199254740992.0 > fabs(s)        # 2**53


cdef inline int64_t multiply_each(const Quotients* of, Py_ssize_t n, int words, float* to) noexcept nogil:
    """Write sums of so many words, over the divisor that all have, rounded to float32; whether any could also round to another number.

    The reciprocal of a divisor is off by half a unit in its last place, and a product takes less time than a quotient.
    """
    cdef Quotients these = of[0]        # a copy, which the results cannot overwrite
    cdef double s, e, q, divisor = of.divisor[0], reciprocal = 1 / divisor
    cdef int64_t found = 0
    cdef Py_ssize_t i
    for i in range(n):
        s = sum_of(&these, i, words, &e)
        q = s * reciprocal
        to[i] = <float> q
        found |= could_round_either_way(s, e, q, divisor, True)
        if words > 2:
            found |= cancels(s, e)
    return found


cdef inline int64_t divide_each(const Quotients* of, Py_ssize_t n, int words, float* to) noexcept nogil:
    """multiply_each() by divisors of their own; NaN for those that are 0."""
    cdef Quotients these = of[0]
    cdef double s, e, q, d, doubtful = of.error * power_of_two(55)
    cdef int64_t found = 0
    cdef Py_ssize_t i
    for i in range(n):
        s = sum_of(&these, i, words, &e)
        d = these.divisor[i]
        q = s / d
        to[i] = <float> (q if d != 0 else NAN)
        found |= could_round_either_way(s, e, q, 1, False) | (fabs(s) < doubtful)
        if words > 2:
            found |= cancels(s, e)
    return found


cdef inline void scale_each(const Quotients* of, Py_ssize_t n, float* to) noexcept nogil:
    """Divide sums that are one float64 by a power of two, which is exact: so there is one rounding."""
    cdef const double* high = of.high
    cdef double reciprocal = 1 / of.divisor[0]
    cdef Py_ssize_t i
    for i in range(n):
        to[i] = <float> (high[i] * reciprocal + 0)          # never -0.0


cdef inline bint is_quotient(const Quotients* of, Py_ssize_t i, double s, double e, double q) noexcept nogil:
    """Whether the quotient of the sum s + e is exactly q: then rounding it again is right."""
    cdef double p = q * of.divisor[i]
    return (
        e == 0 and (of.rest is NULL or of.rest[i] == 0) and of.error == 0 and (of.divisor_low is NULL or of.divisor_low[i] == 0)
        and p == s and product_low(q, of.divisor[i], p) == 0
    )


cdef inline bint divide_to_singles(const Quotients* of, Py_ssize_t n, float* to, uint8_t* unsure) noexcept nogil:
    """Write quotients rounded to float32, and mark those that must be done the long way; whether there are any.

    The sum without its low words, the quotient, and the divisor without its low word or its reciprocal are each off by at most 2**-53
    of the value, and the error is below 2**-55 of it: together less than NEAR + 1 units in the last place of the quotient. So rounding
    once more to float32 is right but near to halfway, and for subnormal results.
    """
    cdef double s, e = 0, q
    cdef int64_t found
    cdef bint known = of.divisor_is_known and of.divisor[0] < MOST_KNOWN and of.error == 0
    cdef Py_ssize_t i
    if known and of.low is NULL and is_power_of_two(of.divisor[0]):
        scale_each(of, n, to)
        return False
    if of.low is NULL:
        found = multiply_each(of, n, 1, to) if known else divide_each(of, n, 1, to)
    elif of.rest is NULL:
        found = multiply_each(of, n, 2, to) if known else divide_each(of, n, 2, to)
    else:
        found = multiply_each(of, n, 3, to) if known else divide_each(of, n, 3, to)
    if not found:
        return False
    for i in range(n):
        s = sum_of(of, i, 1 if of.low is NULL else 2 if of.rest is NULL else 3, &e)
        q = s / of.divisor[i]
        if cancels(s, e) or fabs(s) < of.error * power_of_two(55) or (
            could_round_either_way(s, e, q, 1, False)
            and ((fabs(q) < SMALLEST_NORMAL and q != 0) or not is_quotient(of, i, s, e, q))
        ):
            unsure[i] = True
        elif of.divisor[i] != 0:
            to[i] = <float> q
    return True


# ---- float64 ---------------------------------------------------------------------------------------------------------------------

cdef inline bint is_unsure(const Quotients* of, Py_ssize_t i, bint known, double reciprocal, double* result) noexcept nogil:
    """Write a quotient rounded to float64, by its remainder; whether it could also round to another number.

    Sums of a few numbers are often exactly halfway between two results. Then the correction is a power of two, and its product with
    the divisor the remainder. Known divisors have few bits: the remainder of any number near to the quotient is a float64.
    """
    cdef double s = of.high[i], d = of.divisor[i], e = 0, lost = 0, inexact, q, p, r, correction, doubt
    if of.low is not NULL:
        s = two_sum(s, of.low[i], &e)
    q = s * reciprocal if known else s / d
    p = q * d
    r = two_sum((s - p) - product_low(q, d, p), e, &lost)
    inexact = fabs(lost)
    if of.rest is not NULL:
        inexact += fabs(of.rest[i])
        r += lost + of.rest[i]
    if of.divisor_low is not NULL:
        inexact += fabs(q * of.divisor_low[i])
        r -= q * of.divisor_low[i]
    correction = r * reciprocal if known else r / d
    inexact = 0 if (inexact == 0) & (correction * d == r) else inexact + fabs(r) + fabs(e)
    doubt = (inexact * power_of_two(-48) + of.error) * reciprocal if known else (inexact * power_of_two(-48) + of.error) / d
    result[0] = q + correction if d != 0 else NAN
    return ((q + (correction + doubt) != q + (correction - doubt)) & (d != 0)) | (
        ((fabs(q) < power_of_two(-900)) | (fabs(q) > power_of_two(900))) & ((s != 0) | (r != 0))
    )


cdef inline int64_t divide_each_double(const Quotients* of, Py_ssize_t n, bint known, double* to) noexcept nogil:
    cdef Quotients these = of[0]        # a copy, which the results cannot overwrite
    cdef double result, reciprocal = 1 / these.divisor[0]
    cdef int64_t found = 0
    cdef Py_ssize_t i
    for i in range(n):
        found |= is_unsure(&these, i, known, reciprocal, &result)
        to[i] = result
    return found


cdef inline int64_t divide_each_exactly(const Quotients* of, Py_ssize_t n, double* to) noexcept nogil:
    """Divide sums high + low by a power of two: rounding comes before, and is the only one as long as quotients are normal."""
    cdef const double* high = of.high
    cdef const double* low = of.low
    cdef double q, reciprocal = 1 / of.divisor[0]
    cdef int64_t found = 0
    cdef Py_ssize_t i
    for i in range(n):
        q = (high[i] + low[i] if low is not NULL else high[i] + 0) * reciprocal         # + 0: never -0.0
        to[i] = q
        found |= (fabs(q) < power_of_two(-900)) & (q != 0)
    return found


cdef inline bint divide_to_doubles(const Quotients* of, Py_ssize_t n, double* to, uint8_t* unsure) noexcept nogil:
    """divide_to_singles() for float64."""
    cdef double found
    cdef bint known = of.divisor_is_known and of.divisor[0] < MOST_KNOWN
    cdef int64_t any
    cdef Py_ssize_t i
    if known and of.rest is NULL and of.error == 0 and is_power_of_two(of.divisor[0]):
        any = divide_each_exactly(of, n, to)
    else:
        any = divide_each_double(of, n, True, to) if known else divide_each_double(of, n, False, to)
    if not any:
        return False
    for i in range(n):
        if is_unsure(of, i, False, 1, &found):
            unsure[i] = True
        else:
            to[i] = found
    return True
