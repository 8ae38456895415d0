# The exact accumulator: sums of float32 and float64 terms, and of products of two float64, without any rounding until the end.
#
# Decisions, with their reasons:
# (a) The total is one long fixed-point integer in units of 2**-BIAS: 32-bit digits in 64-bit limbs, so that deposits need no carry
#     propagation; carries are released once in RELEASE deposits. It reaches below 2**-2148, the last place of a product of two
#     float64, and above the sum of 2**63 of the largest products. Integers add in any order: threads, chunks and machines merge.
# (b) Depositing each term would cost nanoseconds. A block of BLOCK terms is summed in float64 first, in one or two "bins" (grids of
#     2**g): h = (t + C) - C with C = 1.5 * 2**(g + 52) is t rounded to the grid, t - h the exact rest; both are summed over the block.
#     Every addition is exact in any order, because all partial sums are multiples of the grid (of the smallest term's last place)
#     below 2**53 of them. That needs a bound on the spread between the largest and the smallest nonzero term, which is measured
#     first: without this guard results would be silently inexact.
# (c) The block is in cache (a buffer of the caller), so measuring and summing are two short loops. Parts of a block with so narrow a
#     spread that float64 holds the sums of 8 float32 terms, as most have, are split only after such sums: a third of the additions.
#     Bins stay open over a batch of blocks as long as the blocks fit their grid, so that folding and depositing cost next to nothing.
#     Faster still are whole parts, with a guess of the grid that is verified afterwards: columns of float64 terms are split on the
#     grid of the open bins and measured in one loop, and columns of float32 terms that are not negative are plain sums, whose window
#     is checked with integers. See "whole parts".
# (d) Bit tricks instead of ldexp and frexp: those are SSE code in libm, and calling them after AVX loops costs microseconds.
# (e) One rounding, at the end, of the quotient of two integers, straight to the precision of the result: going to float32 through
#     float64 would round twice.

cimport cython
from cython cimport floating
from libc.math cimport INFINITY, NAN, fabs
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #include <stdint.h>
    #define CYLOSSES_LOW_32 INT64_C(0xffffffff)
    #define CYLOSSES_FRACTION INT64_C(0xfffffffffffff)
    #define CYLOSSES_IMPLICIT INT64_C(0x10000000000000)
    #define CYLOSSES_TOP_BIT (UINT64_C(1) << 63)
    """
    const int64_t LOW_32 "CYLOSSES_LOW_32"
    const int64_t FRACTION "CYLOSSES_FRACTION"
    const int64_t IMPLICIT "CYLOSSES_IMPLICIT"
    const uint64_t TOP_BIT "CYLOSSES_TOP_BIT"


cdef extern from *:
    """
    #include <math.h>
    /* a + b, where there is a fused multiply-add on the multipliers' ports, since loops over blocks lack adders. `one` is 1.0, in a
       variable: of a constant compilers would make an addition again. */
    #if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    #define CYLOSSES_ADD(a, one, b) fma(a, one, b)
    #else
    #define CYLOSSES_ADD(a, one, b) ((a) + (b))
    #endif
    static const volatile double cylosses_one = 1;
    /* The value of the double that has the bits of a float shifted to its place, since the exponents are biased differently. */
    #define CYLOSSES_FLOAT_SCALE 0x1p896
    #define CYLOSSES_FLOAT_FIELD UINT64_C(0x0fffffffe0000000)
    """
    double added "CYLOSSES_ADD"(double a, double one, double b) noexcept nogil
    const double ONE "cylosses_one"
    const double FLOAT_SCALE "CYLOSSES_FLOAT_SCALE"
    const uint64_t FLOAT_FIELD "CYLOSSES_FLOAT_FIELD"


cdef enum:
    BLOCK = 1024            # terms whose sums stay exact in one float64 bin
    BLOCK_BITS = 10
    LANES = 32              # independent partial sums, enough for compilers to vectorise the loops over them
    PARTS = 4               # of a block; each has its own spread
    PART = 256              # terms of a part
    # Sums of 8 terms each that a part of float32 terms is first reduced to. gcc unrolls loops of 16 early, and then they stay scalar.
    COLUMNS = 32
    MOST_TINY = 16          # terms of a part that are deposited one by one so that the others fit a tally
    WINDOW_SLACK = 2        # by which a tally's window may be higher than a part needs
    MOST_PARTS = 32         # that a tally takes: the sum of COLUMNS * MOST_PARTS integers below 2**52 is below 2**63
    LIMBS = 136             # 32-bit digits
    BIAS = 2176             # digit k weighs 2**(32 k - BIAS); a multiple of 32, above 2148
    RELEASE = 1048576       # deposits between two releases of carries; each adds less than 2**33 to a limb, which holds 2**63
    # Terms that open bins take before they are deposited, as a power of two: more would leave less room for the spread.
    BATCH_BITS_24 = 15
    BATCH_BITS_53 = 12
    # Binades between the largest and the smallest nonzero term that fit, for terms of 24 and of 53 bits: K bins of 2**b terms hold
    # K (54 - b) - 1 - 24 and K (54 - b) - 1 - 53.
    SPREAD_PART_24 = 26     # without a split: 53 - 24 - 3, for 2**3 terms in a lane
    SPREAD_BATCH_24 = 53    # two bins, a batch of blocks
    SPREAD_TWO_24 = 63      # two bins, one block
    SPREAD_THREE_24 = 107   # three bins, one block
    SPREAD_BATCH_53 = 30
    SPREAD_TWO_53 = 34
    SPREAD_THREE_53 = 78

cdef enum Special:
    NOT_A_NUMBER = 1
    PLUS_INFINITY = 2
    MINUS_INFINITY = 4


cdef union Bits32:
    float f
    uint32_t u

cdef union Bits64:
    double f
    int64_t i
    uint64_t u


cdef struct Exact:
    int64_t limb[LIMBS]     # those outside [low, high] count as zero and are not even initialised: a small sum touches a few
    int low
    int high
    int pending             # deposits since carries were released
    int special             # which of NaN and the infinities were met


cdef inline int exponent(double v) noexcept nogil:
    """floor(log2 |v|) of a normal number; -1023 for zero and subnormals."""
    cdef Bits64 b
    b.f = v
    return <int> ((b.i >> 52) & 2047) - 1023


cdef inline double power_of_two(int e) noexcept nogil:
    """2**e for -1022 <= e <= 1023."""
    cdef Bits64 b
    b.i = <int64_t> (e + 1023) << 52
    return b.f


cdef inline void clear(Exact* total) noexcept nogil:
    total.low = 0
    total.high = -1
    total.pending = 0
    total.special = 0


cdef inline void cover(Exact* total, int low, int high) noexcept nogil:
    """Make the limbs from low to high part of the total."""
    if total.low > total.high:
        total.low = low
        total.high = low - 1
    while total.low > low:
        total.low -= 1
        total.limb[total.low] = 0
    while total.high < high:
        total.high += 1
        total.limb[total.high] = 0


# ---- depositing ------------------------------------------------------------------------------------------------------------------

cdef inline void release_carries(Exact* total) noexcept nogil:
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


cdef inline void count_deposits(Exact* total, int n) noexcept nogil:
    total.pending += n
    if total.pending >= RELEASE:
        release_carries(total)


cdef inline void place(Exact* total, int64_t m, int position) noexcept nogil:
    """Add m * 2**(position - BIAS), |m| < 2**54: in two halves, so that a shift by up to 31 fits in 64 bits."""
    cdef int k = position >> 5
    cdef int64_t part = (m & 0x7ffffff) * (<int64_t> 1 << (position & 31))
    if k < total.low or k + 2 > total.high:
        cover(total, k, k + 2)
    total.limb[k] += part & LOW_32
    total.limb[k + 1] += part >> 32
    position += 27
    k = position >> 5
    part = (m >> 27) * (<int64_t> 1 << (position & 31))
    total.limb[k] += part & LOW_32
    total.limb[k + 1] += part >> 32
    count_deposits(total, 1)


cdef inline bint note_special(Exact* total, double v) noexcept nogil:
    """Remember a NaN or an infinity; false for finite values."""
    if v - v == 0:
        return False
    total.special |= NOT_A_NUMBER if v != v else (PLUS_INFINITY if v > 0 else MINUS_INFINITY)
    return True


cdef inline int64_t significand(double v, int* place_of_unit) noexcept nogil:
    """v = significand * 2**place_of_unit, for finite v."""
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
    place_of_unit[0] = field - 1075
    return -m if b.i < 0 else m


cdef inline void deposit(Exact* total, double v) noexcept nogil:
    """Add v exactly, whatever it is."""
    cdef int unit
    cdef int64_t m
    if v == 0 or note_special(total, v):
        return
    m = significand(v, &unit)
    place(total, m, unit + BIAS)


cdef inline void deposit_product(Exact* total, double a, double b) noexcept nogil:
    """Add a * b exactly, as integers: no underflow, no overflow."""
    cdef int unit_a, unit_b, unit
    cdef int64_t m_a, m_b, high_a, high_b, low_a, low_b
    if not (a - a == 0 and b - b == 0):
        note_special(total, a * b)
        return
    if a == 0 or b == 0:
        return
    m_a = significand(a, &unit_a)
    m_b = significand(b, &unit_b)
    unit = unit_a + unit_b + BIAS
    high_a, low_a = m_a >> 27, m_a & 0x7ffffff
    high_b, low_b = m_b >> 27, m_b & 0x7ffffff
    place(total, low_a * low_b, unit)
    place(total, high_a * low_b, unit + 27)
    place(total, low_a * high_b, unit + 27)
    place(total, high_a * high_b, unit + 54)


# ---- blocks ----------------------------------------------------------------------------------------------------------------------

cdef inline double greater(double a, double b) noexcept nogil:
    return a if a > b else b


cdef inline double lesser(double a, double b) noexcept nogil:
    return a if a < b else b


cdef inline void fold(double* lanes) noexcept nogil:
    """Leave the sum of all lanes in the first."""
    cdef int j
    for j in range(4):
        lanes[j] = (
            ((lanes[j] + lanes[j + 4]) + (lanes[j + 8] + lanes[j + 12]))
            + ((lanes[j + 16] + lanes[j + 20]) + (lanes[j + 24] + lanes[j + 28]))
        )
    lanes[0] = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])


cdef inline double greatest(double* lanes) noexcept nogil:
    """The greatest of all lanes, which are spent."""
    cdef int j
    for j in range(4):
        lanes[j] = greater(
            greater(greater(lanes[j], lanes[j + 4]), greater(lanes[j + 8], lanes[j + 12])),
            greater(greater(lanes[j + 16], lanes[j + 20]), greater(lanes[j + 24], lanes[j + 28])),
        )
    return greater(greater(lanes[0], lanes[1]), greater(lanes[2], lanes[3]))


cdef inline double least_of(double* lanes) noexcept nogil:
    """The least of all lanes, which are spent."""
    cdef int j
    for j in range(4):
        lanes[j] = lesser(
            lesser(lesser(lanes[j], lanes[j + 4]), lesser(lanes[j + 8], lanes[j + 12])),
            lesser(lesser(lanes[j + 16], lanes[j + 20]), lesser(lanes[j + 24], lanes[j + 28])),
        )
    return lesser(lesser(lanes[0], lanes[1]), lesser(lanes[2], lanes[3]))


cdef struct Spread:
    int top                 # exponent of the largest term
    int bottom              # exponent of the smallest nonzero term, at least that of the smallest normal number
    bint empty              # all terms are zero
    bint binnable           # false: something is there that only single deposits handle


cdef inline double smallest_nonzero(const floating* terms, Py_ssize_t n) noexcept nogil:
    """The smallest magnitude of n terms but zero; n is a multiple of LANES. Apart from measure(), since zeros are rare."""
    cdef double smallest[LANES]
    cdef double size, bottom = 1.7976931348623157e308
    cdef Py_ssize_t i
    cdef int j
    for j in range(LANES):
        smallest[j] = bottom
    for i in range(n // LANES):
        for j in range(LANES):
            size = fabs(terms[i * LANES + j])
            size = size if size != 0 else 1.7976931348623157e308
            smallest[j] = size if size < smallest[j] else smallest[j]
    return least_of(smallest)


cdef inline Spread spread_of(double top, double bottom) noexcept nogil:
    """The exponents from those of the smallest nonzero term to those of the largest."""
    cdef Spread spread
    spread.top = exponent(top)
    spread.bottom = exponent(bottom) if bottom >= 2.2250738585072014e-308 else -1022
    spread.empty = top == 0
    # Outside these bounds the grids leave float64's range.
    spread.binnable = -960 < spread.top < 1000
    return spread


@cython.overflowcheck(False)        # zero wraps to the top
cdef inline Spread measure(const floating* terms, Py_ssize_t n) noexcept nogil:
    """The exponents that n terms span; n is a multiple of LANES, at least one."""
    cdef Spread spread
    cdef Bits32 bits
    cdef uint32_t word, most = 0, least = 0x7fffffff
    cdef double largest[LANES]
    cdef double smallest[LANES]
    cdef double poison[LANES]
    cdef double size, bottom
    cdef Py_ssize_t i
    cdef int j
    if floating is float:
        for i in range(n):
            bits.f = terms[i]
            word = bits.u & 0x7fffffffu
            most = word if word > most else most
            word = word - 1                 # zero wraps to the top
            least = word if word < least else least
        spread.empty = most == 0
        spread.binnable = most < 0x7f800000u
        most >>= 23
        least = (least + 1) >> 23
        spread.top = <int> (most if most > 1 else 1) - 127
        spread.bottom = <int> (least if least > 1 else 1) - 127
    else:
        for j in range(LANES):
            largest[j] = smallest[j] = poison[j] = fabs(terms[j])
        for i in range(1, n // LANES):
            for j in range(LANES):
                size = fabs(terms[i * LANES + j])
                largest[j] = size if size > largest[j] else largest[j]
                smallest[j] = size if size < smallest[j] else smallest[j]
                poison[j] += size           # NaN, which comparisons do not see
        fold(poison)
        bottom = least_of(smallest)
        if bottom == 0:
            bottom = smallest_nonzero(terms, n)
        spread = spread_of(greatest(largest), bottom)
        spread.empty = poison[0] == 0
        spread.binnable = spread.binnable and poison[0] == poison[0]
    return spread


cdef struct Bins:
    # Sums on two grids, LANES of each, for a batch of blocks. Terms below 2**(window + 1) fit.
    double high[LANES]
    double low[LANES]
    double grid             # 1.5 * 2**(52 + g): adding and subtracting it rounds to a multiple of 2**g
    int window
    Py_ssize_t room         # terms that may still be added
    bint is_open            # else all of the above is undefined


cdef inline void clear_bins(Bins* bins) noexcept nogil:
    bins.is_open = False


cdef inline void open_bins(Bins* bins, int window, int batch_bits) noexcept nogil:
    cdef int j
    for j in range(LANES):
        bins.high[j] = bins.low[j] = 0
    bins.grid = 1.5 * power_of_two(window + batch_bits)
    bins.window = window
    bins.room = <Py_ssize_t> 1 << batch_bits
    bins.is_open = True


cdef inline double on_grid(double t, double grid) noexcept nogil:
    """t rounded to the grid; the difference from t is exact."""
    return (t + grid) - grid


cdef inline void add_narrow_part(Bins* bins, const floating* terms) noexcept nogil:
    """Add PART float32 terms of narrow spread: sums of 8 terms in each lane are exact before they are split."""
    cdef double t, h
    cdef int j
    for j in range(LANES):
        t = (
            ((<double> terms[j] + <double> terms[j + LANES]) + (<double> terms[j + 2 * LANES] + <double> terms[j + 3 * LANES]))
            + ((<double> terms[j + 4 * LANES] + <double> terms[j + 5 * LANES])
               + (<double> terms[j + 6 * LANES] + <double> terms[j + 7 * LANES]))
        )
        h = on_grid(t, bins.grid)
        bins.high[j] += h
        bins.low[j] += t - h


cdef inline void add_to_two_bins(Bins* bins, const floating* terms, Py_ssize_t n) noexcept nogil:
    cdef double s, t, u, v, a, b, c, d
    cdef Py_ssize_t i = 0
    cdef int j
    while i + 4 * LANES <= n:
        for j in range(LANES):
            s = terms[i + j]
            t = terms[i + j + LANES]
            u = terms[i + j + 2 * LANES]
            v = terms[i + j + 3 * LANES]
            a = on_grid(s, bins.grid)
            b = on_grid(t, bins.grid)
            c = on_grid(u, bins.grid)
            d = on_grid(v, bins.grid)
            bins.high[j] += (a + b) + (c + d)
            bins.low[j] += ((s - a) + (t - b)) + ((u - c) + (v - d))
        i += 4 * LANES
    while i < n:
        for j in range(LANES):
            t = terms[i + j]
            a = on_grid(t, bins.grid)
            bins.high[j] += a
            bins.low[j] += t - a
        i += LANES


cdef inline void deposit_each(Exact* total, const floating* terms, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        deposit(total, terms[i])


cdef inline void close_bins(Exact* total, Bins* bins) noexcept nogil:
    """Deposit what open bins hold."""
    if bins.is_open:
        fold(bins.high)
        fold(bins.low)
        deposit(total, bins.high[0])
        deposit(total, bins.low[0])
        bins.is_open = False


cdef inline void add_wide_block(Exact* total, const floating* terms, Py_ssize_t n, Spread spread) noexcept nogil:
    """Add a block whose spread open bins cannot hold: in two or three bins of its own, or else term by term."""
    cdef double high[LANES]
    cdef double middle[LANES]
    cdef double low[LANES]
    cdef double t, h, grid, finer_grid
    cdef int two, three, j, width = spread.top - spread.bottom
    cdef Py_ssize_t i
    if floating is float:
        two, three = SPREAD_TWO_24, SPREAD_THREE_24
    else:
        two, three = SPREAD_TWO_53, SPREAD_THREE_53
    if not spread.binnable or width > three:
        deposit_each(total, terms, n)
        return
    for j in range(LANES):
        high[j] = middle[j] = low[j] = 0
    grid = 1.5 * power_of_two(spread.top + BLOCK_BITS)
    finer_grid = 1.5 * power_of_two(spread.top + 2 * BLOCK_BITS - 54) if width > two else 0
    for i in range(n // LANES):
        for j in range(LANES):
            t = terms[i * LANES + j]
            h = on_grid(t, grid)
            high[j] += h
            t -= h
            h = on_grid(t, finer_grid)      # with two bins: t itself
            middle[j] += h
            low[j] += t - h
    fold(high)
    fold(middle)
    fold(low)
    deposit(total, high[0])
    deposit(total, middle[0])
    deposit(total, low[0])


cdef inline void make_room(Exact* total, Bins* bins, Spread spread, Py_ssize_t n, int limit, int batch_bits) noexcept nogil:
    """Have the bins take n terms of the spread, which is at most limit."""
    cdef int window = bins.window if bins.is_open else spread.top
    if not spread.top <= window <= spread.bottom + limit:
        window = spread.top
    if not (bins.is_open and window == bins.window and bins.room >= n):
        close_bins(total, bins)
        open_bins(bins, window, batch_bits)
    bins.room -= n


cdef inline void add_to_bins(Exact* total, Bins* bins, const floating* terms, Py_ssize_t n) noexcept nogil:
    """add_block() for what is less than a part, or no part takes."""
    cdef Spread parts[PARTS]
    cdef Spread spread, part
    cdef int k, count = <int> ((n + PART - 1) // PART)
    cdef Py_ssize_t left
    if floating is double:
        spread = measure(terms, n)
        if spread.empty:
            return
        if spread.binnable and spread.top - spread.bottom <= SPREAD_BATCH_53:
            make_room(total, bins, spread, n, SPREAD_BATCH_53, BATCH_BITS_53)
            add_to_two_bins(bins, terms, n)
        else:
            add_wide_block(total, terms, n, spread)
        return
    spread.top, spread.bottom, spread.empty, spread.binnable = -1023, 1023, True, True
    for k in range(count):
        part = measure(terms + k * PART, n - k * PART if n - k * PART < PART else PART)
        parts[k] = part
        if not part.empty:
            spread.top = part.top if part.top > spread.top else spread.top
            spread.bottom = part.bottom if part.bottom < spread.bottom else spread.bottom
            spread.empty = False
            spread.binnable = spread.binnable and part.binnable
    if spread.empty:
        return
    if not spread.binnable or spread.top - spread.bottom > SPREAD_BATCH_24:
        add_wide_block(total, terms, n, spread)
        return
    make_room(total, bins, spread, n, SPREAD_BATCH_24, BATCH_BITS_24)
    for k in range(count):
        left = n - k * PART
        if left >= PART and (parts[k].empty or parts[k].top - parts[k].bottom <= SPREAD_PART_24):
            add_narrow_part(bins, terms + k * PART)
        else:
            add_to_two_bins(bins, terms + k * PART, left if left < PART else PART)


# ---- whole parts of float32 terms that are not negative --------------------------------------------------------------------------
#
# A part becomes 32 columns, sums of 8 terms each in float64. With a window w such that every column is below 2**w, and every nonzero
# term at least 2**(w - 29), all terms are multiples of the unit 2**(w - 52) and all columns are less than 2**52 of them: so every
# addition was exact. Adding 2**w to a column leaves the number of units in the low 52 bits, to be summed as an integer, and an exponent
# that tells whether the column was below 2**w; infinities and NaN are not, either. So only the smallest term is sought beforehand.

cdef struct Tally:
    uint64_t units[COLUMNS]     # sums of the bits of 2**window + column, modulo 2**64
    double magic            # 2**window
    int window
    uint32_t least          # bits of the smallest term that the window takes, but for zero
    int parts               # that were added


cdef inline void clear_tally(Tally* tally) noexcept nogil:
    tally.magic = 0
    tally.window = -2000        # nobody's
    tally.parts = 0


@cython.overflowcheck(False)        # sums of bits wrap around, and back
cdef inline void close_tally(Exact* total, Tally* tally) noexcept nogil:
    """Deposit what the tally holds; it keeps its window."""
    cdef uint64_t units = 0
    cdef Bits64 bits
    cdef int j
    if tally.parts == 0:
        return
    bits.f = tally.magic
    for j in range(COLUMNS):
        units += tally.units[j] - <uint64_t> tally.parts * bits.u
        tally.units[j] = 0
    tally.parts = 0
    place(total, <int64_t> (units & 0xffffffffu), tally.window - 52 + BIAS)
    place(total, <int64_t> (units >> 32), tally.window - 20 + BIAS)


cdef inline void set_window(Exact* total, Tally* tally, int window) noexcept nogil:
    cdef int bottom = window - 29, j
    close_tally(total, tally)
    for j in range(COLUMNS):
        tally.units[j] = 0
    tally.window = window
    tally.magic = power_of_two(window)
    # Where the unit is 2**-149 or less, all float32 numbers are multiples of it.
    tally.least = <uint32_t> (bottom + 127) << 23 if bottom > -126 else 0


@cython.overflowcheck(False)        # zero wraps to the top
cdef inline uint32_t least_word(const float* terms, uint32_t offset) noexcept nogil:
    """The bits of the smallest term, or with an offset of 1 of the smallest nonzero term, minus the offset."""
    cdef uint32_t least = 0xffffffffu, word
    cdef Bits32 bits
    cdef int i
    for i in range(PART):
        bits.f = terms[i]
        word = bits.u - offset
        least = word if word < least else least
    return least


@cython.overflowcheck(False)        # bits leave on the left
cdef inline void sum_columns(const float* terms, double* columns) noexcept nogil:
    """Sums of every 32nd term, divided by FLOAT_SCALE. Taking two terms from 64 bits costs less than converting them."""
    cdef Bits64 even, odd
    cdef uint64_t pair
    cdef double sum_even, sum_odd, one = ONE
    cdef int j, k
    for j in range(COLUMNS // 2):
        sum_even = sum_odd = 0
        for k in range(PART // COLUMNS):
            memcpy(&pair, terms + k * COLUMNS + 2 * j, sizeof(pair))
            even.u = (pair << 29) & FLOAT_FIELD
            odd.u = (pair >> 3) & FLOAT_FIELD
            sum_even = added(even.f, one, sum_even)
            sum_odd = added(odd.f, one, sum_odd)
        columns[j] = sum_even
        columns[j + COLUMNS // 2] = sum_odd


@cython.overflowcheck(False)        # sums of bits wrap around
cdef inline bint tally_columns(Tally* tally, const double* columns, uint32_t least) noexcept nogil:
    """Add columns of terms of which `least` is the smallest, if the window takes them."""
    cdef Bits64 bits[COLUMNS]
    cdef uint64_t fields = 0
    cdef int j
    for j in range(COLUMNS):
        bits[j].f = columns[j] * FLOAT_SCALE + tally.magic
    for j in range(COLUMNS):
        fields |= bits[j].u
    if <int> (fields >> 52) != tally.window + 1023 or least < tally.least:
        return False
    for j in range(COLUMNS):
        tally.units[j] += bits[j].u
    tally.parts += 1
    return True


@cython.overflowcheck(False)        # zero wraps to the top
cdef inline bint tally_without_tiny(Exact* total, Tally* tally, const float* terms) noexcept nogil:
    """Add a part, whose columns the window takes, but of which a few terms are too small: those are deposited one by one."""
    cdef float others[PART]
    cdef double columns[COLUMNS]
    cdef Bits32 bits
    cdef uint32_t least = tally.least
    cdef int i, k, count = 0, found
    for i in range(PART):
        bits.f = terms[i]
        found = bits.u - 1 < least - 1
        count += found
        bits.u = 0 if found else bits.u
        others[i] = bits.f
    if count > MOST_TINY:
        return False
    sum_columns(<float*> others, columns)
    if not tally_columns(tally, columns, least):
        return False
    for k in range(PART // LANES):
        found = 0
        for i in range(LANES):
            found |= others[k * LANES + i] != terms[k * LANES + i]
        if found:
            for i in range(LANES):
                deposit(total, terms[k * LANES + i] - others[k * LANES + i])
    return True


@cython.overflowcheck(False)        # zero wraps to the top
cdef inline bint tally_anew(Exact* total, Tally* tally, const float* terms, const double* columns, uint32_t least) noexcept nogil:
    """Add a part that the window refused; false, and nothing done, if that cannot be mended."""
    cdef double most = 0
    cdef int j, window
    if least == 0:                  # zeros have no last place
        least = least_word(terms, 1)
        least += least != 0xffffffffu
        if tally_columns(tally, columns, least):
            return True
    for j in range(COLUMNS):
        most = columns[j] if columns[j] > most else most
    window = exponent(most * FLOAT_SCALE) + 1 if most > 0 else 0
    if window > 126:
        return False
    # As a rule a few terms are too small. The lowest window would soon be left again, for the next large column.
    if tally.window - WINDOW_SLACK <= window <= tally.window and tally_without_tiny(total, tally, terms):
        return True
    if window != tally.window:
        set_window(total, tally, window)
        if tally_columns(tally, columns, least):
            return True
    return tally_without_tiny(total, tally, terms)


cdef inline bint add_part_of_floats(Exact* total, Tally* tally, const float* terms) noexcept nogil:
    """Add PART terms, none of them negative; false, and nothing done, if they do not fit a tally."""
    cdef double columns[COLUMNS]
    cdef uint32_t least = least_word(terms, 0)
    sum_columns(terms, columns)
    if not (tally_columns(tally, columns, least) or tally_anew(total, tally, terms, columns, least)):
        return False
    if tally.parts == MOST_PARTS:
        close_tally(total, tally)
    return True


# ---- whole parts of float64 terms ------------------------------------------------------------------------------------------------

cdef struct Split:
    # Per column of a part: sums on the grid and of what is left, the largest and the smallest magnitude.
    double high[LANES]
    double low[LANES]
    double most[LANES]
    double least[LANES]


cdef inline void split_columns(const double* terms, double grid, Split* split) noexcept nogil:
    cdef double t, h, size, high, low, most, least, one = ONE
    cdef int j, k
    for j in range(LANES):
        high = low = most = 0
        least = 1.7976931348623157e308
        for k in range(PART // LANES):
            t = terms[k * LANES + j]
            h = added(t, one, grid) - grid
            high = added(h, one, high)
            low += t - h
            size = fabs(t)
            most = greater(size, most)
            least = lesser(size, least)
        split.high[j] = high
        split.low[j] = low
        split.most[j] = most
        split.least[j] = least


cdef inline bint add_part_of_doubles(Exact* total, Bins* bins, const double* terms) noexcept nogil:
    """Add PART terms, split on the grid of the open bins before it is known whether they fit it; false, and nothing done, if their
    spread is too wide for open bins.
    """
    cdef Split split
    cdef Spread spread
    cdef double poison[LANES]
    cdef double bottom, grid = bins.grid if bins.is_open else 0
    cdef int j
    split_columns(terms, grid, &split)
    for j in range(LANES):
        poison[j] = split.high[j] - split.high[j]       # NaN for NaN and infinities, which comparisons do not see
    fold(poison)
    bottom = least_of(split.least)
    if bottom == 0:
        bottom = smallest_nonzero(terms, PART)
    spread = spread_of(greatest(split.most), bottom)
    if spread.empty and poison[0] == 0:
        return True
    if poison[0] != 0 or not spread.binnable or spread.top - spread.bottom > SPREAD_BATCH_53:
        return False
    make_room(total, bins, spread, PART, SPREAD_BATCH_53, BATCH_BITS_53)
    if bins.grid != grid:
        split_columns(terms, bins.grid, &split)
    for j in range(LANES):
        bins.high[j] += split.high[j]
        bins.low[j] += split.low[j]
    return True


cdef inline bint add_part(Exact* total, Bins* bins, Tally* tally, const floating* terms) noexcept nogil:
    """Add PART terms, if floats none of them negative; false, and nothing done, if they fit neither the bins nor the tally."""
    if floating is float:
        return add_part_of_floats(total, tally, terms)
    else:
        return add_part_of_doubles(total, bins, terms)


cdef inline void add_block(Exact* total, Bins* bins, Tally* tally, const floating* terms, Py_ssize_t n) noexcept nogil:
    """Add n <= BLOCK terms exactly; n is a multiple of LANES (the caller pads with zeros).

    They may stay in the bins, which take terms of one type only, until close_bins(), and in the tally until close_tally(). `tally` is
    NULL where float32 terms may be negative.
    """
    while n >= PART and (tally is not NULL or floating is double) and add_part(total, bins, tally, terms):
        terms += PART
        n -= PART
    if n:
        add_to_bins(total, bins, terms, n)


# ---- merging and finishing -------------------------------------------------------------------------------------------------------

cdef inline void merge(Exact* total, Exact* other) noexcept nogil:
    """Add other to total; releases the carries of both."""
    cdef int k
    total.special |= other.special
    if other.low > other.high:
        return
    release_carries(total)
    release_carries(other)
    cover(total, other.low, other.high)
    for k in range(other.low, other.high + 1):
        total.limb[k] += other.limb[k]


cdef inline void add_count(Exact* total, uint64_t n) noexcept nogil:
    """Add the integer n."""
    place(total, <int64_t> (n & 0xffffffffu), BIAS)
    place(total, <int64_t> (n >> 32), BIAS + 32)


cdef inline bint make_magnitude(Exact* total) noexcept nogil:
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


cdef struct Format:
    # A binary floating-point format.
    int precision           # bits of the significand
    int least               # exponent of the smallest normal number
    int greatest            # exponent of the largest number


cdef inline double round_to(uint64_t q, int unit, bint sticky, Format target) noexcept nogil:
    """q * 2**unit, plus a little if sticky, rounded to nearest-even in the target format; the top bit of q is set."""
    cdef int keep = target.precision, drop
    cdef uint64_t kept, rest, half
    cdef double v
    if unit + 63 < target.least:
        keep -= target.least - (unit + 63)
    if keep < 0:
        return 0
    drop = 64 - keep
    kept = q >> drop if drop < 64 else 0
    rest = q - (kept << drop) if drop < 64 else q
    half = <uint64_t> 1 << (drop - 1)
    if rest > half or (rest == half and (sticky or (kept & 1))):
        kept += 1
    unit += drop
    v = <double> kept
    if v >= power_of_two(keep):     # rounded up into the next binade
        v *= 0.5
        unit += 1
    if unit + keep - 1 > target.greatest:
        return INFINITY
    if unit < -1000:                # in two exact steps: 2**unit itself may be too small for a normal number
        return v * power_of_two(-500) * power_of_two(unit + 500)
    return v * power_of_two(unit)


cdef inline uint64_t divide_small(const Exact* total, uint64_t divisor, int* unit, bint* sticky) noexcept nogil:
    """The leading 64 bits of |total| / divisor, 0 < divisor < 2**32, by schoolbook division."""
    cdef uint64_t remainder = 0, q = 0, part, digit
    cdef int k = total.high + 1, found = 0, shift = 0
    while found < 3:                # three digits from the first nonzero one on hold 64 bits
        k -= 1
        part = (remainder << 32) | (<uint64_t> total.limb[k] if k >= total.low else 0)
        digit = part // divisor
        remainder = part - digit * divisor
        if found == 0 and digit == 0:
            continue
        found += 1
        if found < 3:
            q = (q << 32) | digit
    while not (q << shift) & TOP_BIT:
        shift += 1
    unit[0] = 32 * (k + 1) - BIAS - shift
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


cdef inline int align(const Exact* total, int64_t* digits, int n) noexcept nogil:
    """Write |total| into n digits, the top bit of digits[n - 1] set; return the shift that this took."""
    cdef int shift = leading_zeros(total.limb[total.high]), source = total.high - n + 1, k
    cdef int64_t wide, above = 0
    for k in range(n):
        wide = (total.limb[source + k] if source + k >= total.low else 0) << shift
        digits[k] = (wide & LOW_32) | above
        above = wide >> 32
    return shift


cdef inline bint take_away(int64_t* a, const int64_t* b, int n) noexcept nogil:
    """Whether a >= b, both of n digits; then b is taken away from a."""
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

    Knuth, The Art of Computer Programming, volume 2, 4.3.1, algorithm D: what the leading digits promise is at most 2 too much.
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


cdef inline uint64_t divide_large(const Exact* total, const Exact* divisor, int* unit, bint* sticky) noexcept nogil:
    """The leading 64 bits of |total| / |divisor|; both as make_magnitude leaves them, not zero."""
    cdef int64_t a[LIMBS + 1]
    cdef int64_t b[LIMBS + 1]
    cdef int n = max(total.high - total.low + 1, divisor.high - divisor.low + 1, 2), k
    cdef uint64_t high, low
    cdef bint whole
    unit[0] = 32 * (total.high - divisor.high) - align(total, a, n)
    unit[0] += align(divisor, b, n)
    whole = take_away(a, b, n)          # the quotient lies between 1/2 and 2, in units of 2**unit
    high = next_digit(a, b, n)
    low = next_digit(a, b, n)
    sticky[0] = whole and low & 1
    for k in range(n):
        if a[k]:
            sticky[0] = True
    if whole:
        unit[0] -= 63
        return TOP_BIT | (high << 31) | (low >> 1)
    unit[0] -= 64
    return (high << 32) | low


cdef inline double finish(Exact* total, uint64_t count, Exact* weights, Format target) noexcept nogil:
    """RN(total / count), or RN(total / weights) if weights is not NULL. Leaves total and weights as magnitudes: call it once."""
    cdef Exact divisor
    cdef uint64_t q
    cdef int unit = 0
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
        q = divide_large(total, weights, &unit, &sticky)
    elif count <= 0xffffffffu:
        q = divide_small(total, count, &unit, &sticky)
    else:
        clear(&divisor)
        add_count(&divisor, count)
        make_magnitude(&divisor)
        q = divide_large(total, &divisor, &unit, &sticky)
    v = round_to(q, unit, sticky, target)
    return -v if negative else v
