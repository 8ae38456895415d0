# RN(sum / divisor) of many slices in one vector loop. Sums and divisors are unevaluated sums of float64 (sums.pxd).
#
# The quotient of the leading words is off by a few units in the last place of float64; the remainder corrects that. Where a result
# could round either way, since the quotient lies too near to halfway between two numbers of its format, the slice is reported as
# unsure, and goes the long way: the rounding test of Ziv 1991, Fast evaluation of elementary mathematical functions with correctly
# rounded last bit.

cimport cython
from libc.math cimport NAN, fabs
from libc.stdint cimport int64_t, uint8_t

from cylosses._core.bits cimport Bits64, power_of_two
from cylosses._core.error_free cimport product_low, two_sum

cdef extern from *:
    """
    #include <stdint.h>
    /* The bits of a float64 below the last place of float32, where it lies halfway between two float32 numbers. */
    #define CYLOSSES_HALFWAY INT64_C(0x10000000)
    #define CYLOSSES_NEAR INT64_C(3)                /* units in the last place */
    #define CYLOSSES_NOT_NEAR INT64_C(0x1ffffff8)   /* bits of which none is set from 0 to 7 */
    """
    const int64_t HALFWAY "CYLOSSES_HALFWAY"
    const int64_t NEAR "CYLOSSES_NEAR"
    const int64_t NOT_NEAR "CYLOSSES_NOT_NEAR"


cdef struct Quotients:
    # Sums high + low + rest of slices, and their divisors.
    const double* high
    const double* low           # NULL: all 0; so below
    const double* rest
    const double* divisor
    const double* divisor_low   # at most half a unit in the last place of the divisor
    double error                # what each sum may be off by
    bint exact                  # all divisors are powers of two: quotients are exact as long as they are normal


# ---- float32 ---------------------------------------------------------------------------------------------------------------------

cdef inline double quotient_of(const Quotients* of, Py_ssize_t i, double* sum) noexcept nogil:
    sum[0] = of.high[i] + of.low[i] if of.low is not NULL else of.high[i]
    return sum[0] / of.divisor[i]


@cython.overflowcheck(False)        # arithmetic on bits
cdef inline bint could_be_halfway(double quotient) noexcept nogil:
    """Whether the number lies near to halfway between two float32 numbers."""
    cdef Bits64 bits
    bits.f = quotient
    return ((bits.i + (NEAR - HALFWAY)) & NOT_NEAR) == 0


cdef inline bint is_quotient(const Quotients* of, Py_ssize_t i, double quotient) noexcept nogil:
    """Whether the exact quotient is this number: then rounding it again is right."""
    cdef double e = 0, s = of.high[i], p = quotient * of.divisor[i]
    if of.low is not NULL:
        s = two_sum(s, of.low[i], &e)
    return (
        e == 0 and (of.rest is NULL or of.rest[i] == 0) and of.error == 0 and (of.divisor_low is NULL or of.divisor_low[i] == 0)
        and p == s and product_low(quotient, of.divisor[i], p) == 0
    )


cdef inline bint divide_to_singles(const Quotients* of, Py_ssize_t n, float* to, uint8_t* unsure) noexcept nogil:
    """Write quotients rounded to float32, and mark those that must be done the long way; whether there are any.

    The sum without its low word, the quotient, and the divisor without its low word are each off by half a unit in the last place:
    together by less than NEAR. So rounding once more to float32 is right but near to halfway, and for subnormal results.
    """
    cdef double s, q, least = power_of_two(-126), doubtful = of.error * power_of_two(55)
    cdef int64_t found = 0
    cdef Py_ssize_t i
    for i in range(n):
        q = quotient_of(of, i, &s)
        to[i] = <float> q if of.divisor[i] != 0 else <float> NAN
        found |= could_be_halfway(q) | ((fabs(q) < least) & (s != 0)) | (fabs(s) < doubtful)
    if not found:
        return False
    for i in range(n):
        q = quotient_of(of, i, &s)
        if (could_be_halfway(q) and not is_quotient(of, i, q)) or (fabs(q) < least and s != 0) or fabs(s) < doubtful:
            unsure[i] = True
    return True


# ---- float64 ---------------------------------------------------------------------------------------------------------------------

cdef inline bint is_unsure(const Quotients* of, Py_ssize_t i, double* result) noexcept nogil:
    """Write a quotient rounded to float64, by its remainder; whether it could also round to another number."""
    cdef double s = of.high[i], d = of.divisor[i], e = 0, inexact, q, p, r, correction, doubt
    if of.low is not NULL:
        s = two_sum(s, of.low[i], &e)
    q = s / d
    p = q * d
    r = (s - p) - product_low(q, d, p)
    inexact = 0 if of.exact else fabs(r) + fabs(e)      # else r is 0, and what follows is exact, too
    r += e
    if of.rest is not NULL:
        r += of.rest[i]
        inexact += fabs(e) + fabs(of.rest[i]) if of.rest[i] != 0 else 0
    if of.divisor_low is not NULL:
        r -= q * of.divisor_low[i]
        inexact += fabs(e) + fabs(q * of.divisor_low[i])
    correction = r / d
    doubt = (inexact * power_of_two(-48) + of.error) / d
    result[0] = q + correction if d != 0 else NAN
    return ((q + (correction + doubt) != q + (correction - doubt)) & (d != 0)) | (
        ((fabs(q) < power_of_two(-900)) | (fabs(q) > power_of_two(900))) & ((s != 0) | (r != 0))
    )


cdef inline bint divide_to_doubles(const Quotients* of, Py_ssize_t n, double* to, uint8_t* unsure) noexcept nogil:
    """divide_to_singles() for float64."""
    cdef double found
    cdef int64_t any = 0
    cdef Py_ssize_t i
    for i in range(n):
        any |= is_unsure(of, i, &found)
        to[i] = found
    if not any:
        return False
    for i in range(n):
        if is_unsure(of, i, &found):
            unsure[i] = True
    return True
