# The superaccumulator: sums of float32 and float64 terms, and of products of two float64, without any rounding.
#
# Decisions, with their reasons:
# (a) The total is one long fixed-point integer in units of 2**-BIAS: 32-bit digits in 64-bit limbs, so that deposits need no carry
#     propagation; carries are released once in RELEASE deposits. It reaches below 2**-2148, the last place of a product of two
#     float64, and above the sum of 2**63 of the largest products. Integers add in any order: threads, chunks and machines merge.
# (b) Limbs outside of [low, high] count as zero and are not even initialised, since a small sum touches only a few of them.

from libc.stdint cimport int64_t, uint64_t

from cylosses._core.bits cimport LOW_32, integer_significand

cdef enum:
    LIMBS = 136             # 32-bit digits
    BIAS = 2176             # digit k weighs 2**(32 k - BIAS); a multiple of 32, above 2148
    RELEASE = 1048576       # deposits between two releases of carries; each adds less than 2**33 to a limb, which holds 2**63

cdef enum Special:
    NOT_A_NUMBER = 1
    PLUS_INFINITY = 2
    MINUS_INFINITY = 4


cdef struct Superaccumulator:
    int64_t limb[LIMBS]
    int low
    int high
    int pending             # deposits since carries were released
    int special             # which of NaN and the infinities were met, as Special


cdef inline void clear(Superaccumulator* total) noexcept nogil:
    total.low = 0
    total.high = -1
    total.pending = 0
    total.special = 0


cdef inline void extend_to(Superaccumulator* total, int low, int high) noexcept nogil:
    """Set the limbs from low to high that are not part of the total yet to zero, and make them part of it."""
    if total.low > total.high:
        total.low = low
        total.high = low - 1
    while total.low > low:
        total.low -= 1
        total.limb[total.low] = 0
    while total.high < high:
        total.high += 1
        total.limb[total.high] = 0


cdef inline void release_carries(Superaccumulator* total) noexcept nogil:
    """Make every limb below the highest a 32-bit digit; the highest keeps the sign and stays below 2**32 in magnitude."""
    cdef int64_t carry = 0, t
    cdef int k
    total.pending = 0
    for k in range(total.low, total.high):
        t = total.limb[k] + carry
        carry = t >> 32
        total.limb[k] = t & LOW_32
    if total.low <= total.high:
        t = total.limb[total.high] + carry
        while t > LOW_32 or t < -LOW_32:
            total.limb[total.high] = t & LOW_32
            total.high += 1
            t >>= 32
        total.limb[total.high] = t


cdef inline void count_deposits(Superaccumulator* total, int n) noexcept nogil:
    total.pending += n
    if total.pending >= RELEASE:
        release_carries(total)


cdef inline void add_at_bit(Superaccumulator* total, int64_t m, int bit) noexcept nogil:
    """Add m * 2**(bit - BIAS), |m| < 2**54: in two halves, so that a shift by up to 31 fits in 64 bits."""
    cdef int k = bit >> 5
    cdef int64_t half = (m & 0x7ffffff) * (<int64_t> 1 << (bit & 31))
    if k < total.low or k + 2 > total.high:
        extend_to(total, k, k + 2)
    total.limb[k] += half & LOW_32
    total.limb[k + 1] += half >> 32
    bit += 27
    k = bit >> 5
    half = (m >> 27) * (<int64_t> 1 << (bit & 31))
    total.limb[k] += half & LOW_32
    total.limb[k + 1] += half >> 32
    count_deposits(total, 1)


cdef inline bint note_special(Superaccumulator* total, double v) noexcept nogil:
    """Remember a NaN or an infinity; false for finite values."""
    if v - v == 0:
        return False
    total.special |= NOT_A_NUMBER if v != v else (PLUS_INFINITY if v > 0 else MINUS_INFINITY)
    return True


cdef inline void deposit(Superaccumulator* total, double v) noexcept nogil:
    """Add v exactly, whatever it is."""
    cdef int exponent
    cdef int64_t m
    if v == 0 or note_special(total, v):
        return
    m = integer_significand(v, &exponent)
    add_at_bit(total, m, exponent + BIAS)


cdef inline void deposit_product(Superaccumulator* total, double a, double b) noexcept nogil:
    """Add a * b exactly, as integers: no underflow, no overflow."""
    cdef int exponent_a, exponent_b, bit
    cdef int64_t m_a, m_b, high_a, high_b, low_a, low_b
    if not (a - a == 0 and b - b == 0):
        note_special(total, a * b)
        return
    if a == 0 or b == 0:
        return
    m_a = integer_significand(a, &exponent_a)
    m_b = integer_significand(b, &exponent_b)
    bit = exponent_a + exponent_b + BIAS
    high_a, low_a = m_a >> 27, m_a & 0x7ffffff
    high_b, low_b = m_b >> 27, m_b & 0x7ffffff
    add_at_bit(total, low_a * low_b, bit)
    add_at_bit(total, high_a * low_b, bit + 27)
    add_at_bit(total, low_a * high_b, bit + 27)
    add_at_bit(total, high_a * high_b, bit + 54)


cdef inline void merge(Superaccumulator* total, Superaccumulator* other) noexcept nogil:
    """Add other to total; releases the carries of both."""
    cdef int k
    total.special |= other.special
    if other.low > other.high:
        return
    release_carries(total)
    release_carries(other)
    extend_to(total, other.low, other.high)
    for k in range(other.low, other.high + 1):
        total.limb[k] += other.limb[k]


cdef inline void add_count(Superaccumulator* total, uint64_t n) noexcept nogil:
    """Add the integer n."""
    add_at_bit(total, <int64_t> (n & 0xffffffffu), BIAS)
    add_at_bit(total, <int64_t> (n >> 32), BIAS + 32)


cdef inline bint make_magnitude(Superaccumulator* total) noexcept nogil:
    """Leave |total| as 32-bit digits between total.low and a nonzero digit at total.high; return whether total was negative.

    A zero total gets high < low.
    """
    cdef bint negative = False
    cdef int k
    release_carries(total)
    while total.high >= total.low and total.limb[total.high] == 0:
        total.high -= 1
    if total.high >= total.low and total.limb[total.high] < 0:
        negative = True
        for k in range(total.low, total.high + 1):
            total.limb[k] = -total.limb[k]
        release_carries(total)
        while total.limb[total.high] == 0:
            total.high -= 1
    if total.high >= total.low and total.limb[total.high] > LOW_32:
        total.limb[total.high + 1] = total.limb[total.high] >> 32
        total.limb[total.high] &= LOW_32
        total.high += 1
    return negative
