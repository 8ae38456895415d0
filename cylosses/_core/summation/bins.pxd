# Bins: float64 sums of a block of terms on one, two or three grids, every addition exact.
#
# Depositing each term would cost nanoseconds. A block of BLOCK terms is summed in float64 first: with C = 1.5 * 2**(g + 52),
# h = (t + C) - C is t rounded to the grid of multiples of 2**g, and t - h is exact; both are summed over the block. Every addition
# is exact in any order, because all partial sums are multiples of the grid (of the smallest term's last place), and less than 2**53
# of them. That needs a bound on the range of exponents, which is measured first. Quarters of a block of float32 terms whose range
# is so narrow that float64 holds the sums of 8 of them, as most are, are split only after such sums: a third of the additions. Bins
# stay open over a batch of blocks as long as the blocks fit their grid, so that depositing them costs next to nothing.

from cython cimport floating

from cylosses._core.bits cimport power_of_two
from cylosses._core.summation.exponent_range cimport ExponentRange, exponent_range, measure, smallest_nonzero
from cylosses._core.summation.lanes cimport LANES, ONE, add_by_fma, fold, least_of, lesser
from cylosses._core.summation.superaccumulator cimport Superaccumulator, deposit

cdef enum:
    BLOCK = 1024            # terms whose sums stay exact in one float64 bin
    BLOCK_BITS = 10
    QUARTERS = 4            # of a block; each has its own range of exponents
    QUARTER = 256           # terms
    QUARTER_BITS = 8
    # Terms that open bins take before they are deposited, as a power of two: more would leave less room for the range of exponents.
    BATCH_BITS_24 = 15
    BATCH_BITS_53 = 12
    # Binades between the largest and the smallest nonzero term that fit, for terms of 24 and of 53 bits: K bins of 2**b terms hold
    # K (54 - b) - 1 - 24 and K (54 - b) - 1 - 53.
    RANGE_QUARTER_24 = 26   # without a split: 53 - 24 - 3, for 2**3 terms in a lane
    RANGE_BATCH_24 = 53     # two bins, a batch of blocks
    RANGE_TWO_24 = 63       # two bins, one block
    RANGE_THREE_24 = 107    # three bins, one block
    RANGE_BATCH_53 = 30
    RANGE_BATCH_48 = 35     # products of two numbers of 24 bits
    RANGE_TWO_53 = 34
    RANGE_THREE_53 = 78


cdef struct Bins:
    # Sums on two grids, LANES of each, for a batch of blocks.
    double high[LANES]
    double low[LANES]
    double grid             # 1.5 * 2**(52 + g): adding and subtracting it rounds to a multiple of 2**g
    int top                 # terms below 2**(top + 1) fit
    int limit               # binades that float64 terms may span
    Py_ssize_t capacity     # terms that may still be added
    bint is_open            # else all of the above but the limit is undefined


cdef inline void clear_bins(Bins* bins, int limit) noexcept nogil:
    bins.is_open = False
    bins.limit = limit


cdef inline void open_bins(Bins* bins, int top, int batch_bits) noexcept nogil:
    cdef int j
    for j in range(LANES):
        bins.high[j] = bins.low[j] = 0
    bins.grid = 1.5 * power_of_two(top + batch_bits)
    bins.top = top
    bins.capacity = (<Py_ssize_t> 1 << batch_bits) - QUARTER
    bins.is_open = True


cdef inline double on_grid(double t, double grid) noexcept nogil:
    """t rounded to the grid; the difference from t is exact."""
    return (t + grid) - grid


cdef inline void add_narrow_quarter(Bins* bins, const floating* terms) noexcept nogil:
    """Add QUARTER float32 terms of a narrow range: sums of 8 terms in each lane are exact before they are split."""
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


cdef inline void deposit_each(Superaccumulator* total, const floating* terms, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        deposit(total, terms[i])


cdef inline void close_bins(Superaccumulator* total, Bins* bins) noexcept nogil:
    """Deposit what open bins hold."""
    if bins.is_open:
        fold(bins.high)
        fold(bins.low)
        deposit(total, bins.high[0])
        deposit(total, bins.low[0])
        bins.is_open = False


cdef inline void add_wide_block(
    Superaccumulator* total, const floating* terms, Py_ssize_t n, ExponentRange exponents
) noexcept nogil:
    """Add a block whose range is too wide for open bins: in two or three bins of its own, or else term by term."""
    cdef double high[LANES]
    cdef double middle[LANES]
    cdef double low[LANES]
    cdef double t, h, grid, finer_grid
    cdef int two, three, j, width = exponents.top - exponents.bottom
    cdef Py_ssize_t i
    if floating is float:
        two, three = RANGE_TWO_24, RANGE_THREE_24
    else:
        two, three = RANGE_TWO_53, RANGE_THREE_53
    if not exponents.binnable or width > three:
        deposit_each(total, terms, n)
        return
    for j in range(LANES):
        high[j] = middle[j] = low[j] = 0
    grid = 1.5 * power_of_two(exponents.top + BLOCK_BITS)
    finer_grid = 1.5 * power_of_two(exponents.top + 2 * BLOCK_BITS - 54) if width > two else 0
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


cdef inline void prepare_bins(
    Superaccumulator* total, Bins* bins, ExponentRange exponents, Py_ssize_t n, int limit, int batch_bits
) noexcept nogil:
    """Have open bins that take n terms of a range of at most `limit` binades."""
    cdef int top = bins.top if bins.is_open else exponents.top
    if not exponents.top <= top <= exponents.bottom + limit:
        top = exponents.top
    if not (bins.is_open and top == bins.top and bins.capacity >= n):
        close_bins(total, bins)
        open_bins(bins, top, batch_bits)
    bins.capacity -= n


cdef inline void add_to_bins(Superaccumulator* total, Bins* bins, const floating* terms, Py_ssize_t n) noexcept nogil:
    """Add n <= BLOCK terms, a multiple of LANES, after their range has been measured; the last quarter may be incomplete."""
    cdef ExponentRange quarters[QUARTERS]
    cdef ExponentRange exponents, quarter
    cdef int k, count = <int> ((n + QUARTER - 1) // QUARTER)
    cdef Py_ssize_t left
    if floating is double:
        exponents = measure(terms, n)
        if exponents.empty:
            return
        if exponents.binnable and exponents.top - exponents.bottom <= bins.limit:
            prepare_bins(total, bins, exponents, n, bins.limit, BATCH_BITS_53)
            add_to_two_bins(bins, terms, n)
        else:
            add_wide_block(total, terms, n, exponents)
        return
    exponents.top, exponents.bottom, exponents.empty, exponents.binnable = -1023, 1023, True, True
    for k in range(count):
        quarter = measure(terms + k * QUARTER, n - k * QUARTER if n - k * QUARTER < QUARTER else QUARTER)
        quarters[k] = quarter
        if not quarter.empty:
            exponents.top = quarter.top if quarter.top > exponents.top else exponents.top
            exponents.bottom = quarter.bottom if quarter.bottom < exponents.bottom else exponents.bottom
            exponents.empty = False
            exponents.binnable = exponents.binnable and quarter.binnable
    if exponents.empty:
        return
    if not exponents.binnable or exponents.top - exponents.bottom > RANGE_BATCH_24:
        add_wide_block(total, terms, n, exponents)
        return
    prepare_bins(total, bins, exponents, n, RANGE_BATCH_24, BATCH_BITS_24)
    for k in range(count):
        left = n - k * QUARTER
        if left >= QUARTER and (quarters[k].empty or quarters[k].top - quarters[k].bottom <= RANGE_QUARTER_24):
            add_narrow_quarter(bins, terms + k * QUARTER)
        else:
            add_to_two_bins(bins, terms + k * QUARTER, left if left < QUARTER else QUARTER)


# ---- whole quarters of float64 terms, none of them negative: split on the grid of the open bins and measured in one loop ----------
#
# What bins hold of 256 terms is no more than of 256 times their mean. So the exponent of the sum stands for that of the largest term:
# it needs no measurement, and is lower, which leaves more room below. The sum is rounded, by far less than the QUARTER terms that
# bins have room for beyond their capacity.

cdef struct Split:
    # Per column of a quarter: the sum on the grid and that of what is left, and the smallest term.
    double high[LANES]
    double low[LANES]
    double least[LANES]


cdef inline void split_columns(const double* terms, double grid, Split* split) noexcept nogil:
    cdef double t, h, high, low, least, one = ONE
    cdef int j, k
    for j in range(LANES):
        high = low = 0
        least = 1.7976931348623157e308
        for k in range(QUARTER // LANES):
            t = terms[k * LANES + j]
            h = add_by_fma(t, one, grid) - grid
            high = add_by_fma(h, one, high)
            low += t - h
            least = lesser(t, least)
        split.high[j] = high
        split.low[j] = low
        split.least[j] = least


cdef inline bint add_quarter_of_doubles(Superaccumulator* total, Bins* bins, const double* terms) noexcept nogil:
    """Add QUARTER terms, split on the grid of the open bins before it is known whether they fit it.

    Returns False, and has done nothing, if one of them is negative or not finite, or their range is too wide for open bins.
    """
    cdef Split split
    cdef ExponentRange exponents
    cdef double sums[LANES]
    cdef double bottom, grid = bins.grid if bins.is_open else 0
    cdef int j
    split_columns(terms, grid, &split)
    for j in range(LANES):
        sums[j] = split.high[j] + split.low[j]
    fold(sums)
    bottom = least_of(split.least)
    if bottom == 0:
        bottom = smallest_nonzero(terms, QUARTER)
    exponents = exponent_range(sums[0], bottom)
    exponents.top -= QUARTER_BITS
    if exponents.empty:
        return True
    if not exponents.binnable or exponents.top - exponents.bottom > bins.limit:     # as it is if one is negative
        return False
    prepare_bins(total, bins, exponents, QUARTER, bins.limit, BATCH_BITS_53)
    if bins.grid != grid:
        split_columns(terms, bins.grid, &split)
    for j in range(LANES):
        bins.high[j] += split.high[j]
        bins.low[j] += split.low[j]
    return True
