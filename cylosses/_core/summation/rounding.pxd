# One rounding, at the end, of the quotient of two integers, straight to the precision of the result: going to float32 through
# float64 would round twice.

from libc.math cimport INFINITY, NAN
from libc.stdint cimport uint64_t

from cylosses._core.bits cimport power_of_two
from cylosses._core.summation.division cimport divide_large, divide_small
from cylosses._core.summation.superaccumulator cimport (
    MINUS_INFINITY, PLUS_INFINITY, Superaccumulator, add_count, clear, make_magnitude,
)


cdef struct Format:
    # A binary floating-point format.
    int precision           # bits of the significand
    int least               # exponent of the smallest normal number
    int greatest            # exponent of the largest number


cdef inline double round_to(uint64_t q, int exponent, bint sticky, Format target) noexcept nogil:
    """q * 2**exponent, plus a little if sticky, rounded to nearest-even in the target format; the top bit of q is set."""
    cdef int keep = target.precision, drop
    cdef uint64_t kept, dropped, half
    cdef double v
    if exponent + 63 < target.least:
        keep -= target.least - (exponent + 63)
    if keep < 0:
        return 0
    drop = 64 - keep
    kept = q >> drop if drop < 64 else 0
    dropped = q - (kept << drop) if drop < 64 else q
    half = <uint64_t> 1 << (drop - 1)
    if dropped > half or (dropped == half and (sticky or (kept & 1))):
        kept += 1
    exponent += drop
    v = <double> kept
    if v >= power_of_two(keep):     # rounded up into the next binade
        v *= 0.5
        exponent += 1
    if exponent + keep - 1 > target.greatest:
        return INFINITY
    if exponent < -1000:            # in two exact steps: 2**exponent itself may be too small for a normal number
        return v * power_of_two(-500) * power_of_two(exponent + 500)
    return v * power_of_two(exponent)


cdef inline double round_quotient(
    Superaccumulator* total, uint64_t count, Superaccumulator* weights, Format target
) noexcept nogil:
    """RN(total / count), or RN(total / weights) if weights is not NULL. Leaves magnitudes in total and weights: call it once."""
    cdef Superaccumulator divisor
    cdef uint64_t q
    cdef int exponent = 0
    cdef bint sticky = False, negative
    cdef double v
    if weights is not NULL:
        make_magnitude(weights)
    if count == 0 if weights is NULL else weights.high < weights.low:
        return NAN
    if total.special:
        if total.special == PLUS_INFINITY:
            return INFINITY
        return -INFINITY if total.special == MINUS_INFINITY else NAN
    negative = make_magnitude(total)
    if total.high < total.low:
        return 0
    if weights is not NULL:
        q = divide_large(total, weights, &exponent, &sticky)
    elif count <= 0xffffffffu:
        q = divide_small(total, count, &exponent, &sticky)
    else:
        clear(&divisor)
        add_count(&divisor, count)
        make_magnitude(&divisor)
        q = divide_large(total, &divisor, &exponent, &sticky)
    v = round_to(q, exponent, sticky, target)
    return -v if negative else v
