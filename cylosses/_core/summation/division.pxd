# The leading 64 bits of the quotient of two superaccumulators, or of one and a count, by schoolbook division.

from libc.stdint cimport int64_t, uint64_t

from cylosses._core.bits cimport LOW_32
from cylosses._core.summation.superaccumulator cimport BIAS, LIMBS, Superaccumulator

cdef extern from *:
    """
    #include <stdint.h>
    #define CYLOSSES_TOP_BIT (UINT64_C(1) << 63)
    """
    const uint64_t TOP_BIT "CYLOSSES_TOP_BIT"


cdef inline uint64_t divide_small(const Superaccumulator* total, uint64_t divisor, int* exponent, bint* sticky) noexcept nogil:
    """q of |total| / divisor = q * 2**exponent, plus a little if sticky; the top bit of q is set. 0 < divisor < 2**32."""
    cdef uint64_t remainder = 0, q = 0, dividend, digit
    cdef int k = total.high + 1, found = 0, shift = 0
    while found < 3:                # three digits from the first nonzero one on hold 64 bits
        k -= 1
        dividend = (remainder << 32) | (<uint64_t> total.limb[k] if k >= total.low else 0)
        digit = dividend // divisor
        remainder = dividend - digit * divisor
        if found == 0 and digit == 0:
            continue
        found += 1
        if found < 3:
            q = (q << 32) | digit
    while not (q << shift) & TOP_BIT:
        shift += 1
    exponent[0] = 32 * (k + 1) - BIAS - shift
    sticky[0] = remainder != 0
    if shift:
        q = (q << shift) | (digit >> (32 - shift))
        digit = (digit << shift) & 0xffffffffu
    if digit:
        sticky[0] = True
    while not sticky[0] and k > total.low:
        k -= 1
        sticky[0] = total.limb[k] != 0
    return q


cdef inline int leading_zeros(int64_t digit) noexcept nogil:
    """Zero bits above a nonzero 32-bit digit."""
    cdef int n = 0
    while not (digit << n) & 0x80000000u:
        n += 1
    return n


cdef inline int align(const Superaccumulator* total, int64_t* digits, int n) noexcept nogil:
    """Write |total| into n digits, the top bit of digits[n - 1] set; return the shift that this took."""
    cdef int shift = leading_zeros(total.limb[total.high]), source = total.high - n + 1, k
    cdef int64_t wide, above = 0
    for k in range(n):
        wide = (total.limb[source + k] if source + k >= total.low else 0) << shift
        digits[k] = (wide & LOW_32) | above
        above = wide >> 32
    return shift


cdef inline bint subtract_if_fits(int64_t* a, const int64_t* b, int n) noexcept nogil:
    """Whether a >= b, both of n digits; if so, b is subtracted from a."""
    cdef int64_t t, carry = 0
    cdef int k
    for k in range(n - 1, -1, -1):
        if a[k] != b[k]:
            if a[k] < b[k]:
                return False
            break
    for k in range(n):
        t = a[k] - b[k] + carry
        carry = t >> 32
        a[k] = t & LOW_32
    return True


cdef inline uint64_t next_digit(int64_t* a, const int64_t* b, int n) noexcept nogil:
    """The digit a * 2**32 // b of n >= 2 digits a < b, the top bit of b set; the remainder stays in a.

    Knuth, The Art of Computer Programming, volume 2, 4.3.1, algorithm D: the quotient of the leading digits is at most 2 too large.
    """
    cdef uint64_t digit = ((<uint64_t> a[n - 1] << 32) | <uint64_t> a[n - 2]) // <uint64_t> b[n - 1], product, above = 0
    cdef int64_t t, carry = 0, top = a[n - 1]
    cdef int k
    if digit > 0xffffffffu:
        digit = 0xffffffffu
    for k in range(n - 1, 0, -1):
        a[k] = a[k - 1]
    a[0] = 0
    for k in range(n):
        product = digit * <uint64_t> b[k] + above
        above = product >> 32
        t = a[k] - <int64_t> (product & 0xffffffffu) + carry
        carry = t >> 32
        a[k] = t & LOW_32
    top += carry - <int64_t> above
    while top < 0:
        digit -= 1
        carry = 0
        for k in range(n):
            t = a[k] + b[k] + carry
            carry = t >> 32
            a[k] = t & LOW_32
        top += carry
    return digit


cdef inline uint64_t divide_large(
    const Superaccumulator* total, const Superaccumulator* divisor, int* exponent, bint* sticky
) noexcept nogil:
    """q of |total| / |divisor| = q * 2**exponent, plus a little if sticky; the top bit of q is set.

    Both are as make_magnitude() leaves them, and not zero.
    """
    cdef int64_t a[LIMBS + 1]
    cdef int64_t b[LIMBS + 1]
    cdef int n = max(total.high - total.low + 1, divisor.high - divisor.low + 1, 2), k
    cdef uint64_t high, low
    cdef bint at_least_one
    exponent[0] = 32 * (total.high - divisor.high) - align(total, a, n)
    exponent[0] += align(divisor, b, n)
    at_least_one = subtract_if_fits(a, b, n)          # the quotient of the aligned digits lies between 1/2 and 2
    high = next_digit(a, b, n)
    low = next_digit(a, b, n)
    sticky[0] = at_least_one and low & 1
    for k in range(n):
        if a[k]:
            sticky[0] = True
    if at_least_one:
        exponent[0] -= 63
        return TOP_BIT | (high << 31) | (low >> 1)
    exponent[0] -= 64
    return (high << 32) | low
