# Sums of many slices side by side: unevaluated sums of two or three float64 each, every addition exact.
#
# A superaccumulator for each short slice would take a hundred times as long as its additions. Which way is exact depends on the
# range of exponents of the terms, which is measured block by block:
#   - One float64 holds the sum of k float32 terms whose range is narrow, as the rows of most blocks are.
#   - Terms that are split on a common grid, as in summation/bins.pxd, have two exact sums: on the grid, and of what is left.
#   - Sums that go on over many blocks are taken by two_sum, whose low words are summed apart, and the low words of that sum too. All
#     of these are multiples of the last place of the smallest term, so the last sums are exact as long as they stay below 2**53 of
#     it: for float32 two sums suffice, else three. That costs a dozen operations, so a few rows are summed in one of the first two ways
#     before.
# A slice whose terms are too wide for that, or not finite, is marked, and summed once more by a superaccumulator.

from cython cimport floating
from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from cylosses._core.bits cimport power_of_two
from cylosses._core.compiler cimport outlined, rare
from cylosses._core.error_free cimport two_sum
from cylosses._core.summation.bins cimport BLOCK, RANGE_BATCH_53, Bins, add_to_bins, clear_bins, on_grid
from cylosses._core.summation.exponent_range cimport ExponentRange, measure
from cylosses._core.summation.lanes cimport LANES, fold, whole_lanes
from cylosses._core.summation.superaccumulator cimport Superaccumulator, clear

cdef enum:
    SIDE_BY_SIDE = 8        # partial sums of a row that is long enough for vectors
    ROOM_ABOVE = 6          # binades by which later terms may be larger than the first, and the sums still be exact
    WINDOW_SLACK = 1        # by which the window of near sums is higher than the first terms need
    NO_WINDOW = -5000       # fits no term
    ROWS_IN_ONE = 8         # of 24 bits, in one near sum
    ROWS_IN_TWO = 64        # in two
    GROUPS = 32             # of LANES in a BLOCK
    MOST_SMALL = 4          # groups of LANES with small terms in a block, that are summed alone

cdef struct Grid:
    # How one number after the other of a slice lies in a block: `groups` of `terms` rows of `columns`, each column a slice.
    Py_ssize_t groups
    Py_ssize_t terms
    Py_ssize_t columns


cdef inline floating magnitude(floating t) noexcept nogil:
    return t if t >= 0 else -t


cdef inline int bits_of_count(Py_ssize_t n) noexcept nogil:
    """The least b with n <= 2**b."""
    cdef int b = 0
    while (<Py_ssize_t> 1 << b) < n:
        b += 1
    return b


# ---- whole slices in a block -----------------------------------------------------------------------------------------------------

cdef inline void add_up_rows(const floating* terms, Py_ssize_t rows, Py_ssize_t k, double* sums) noexcept nogil:
    """Plain sums of rows of k terms."""
    cdef double side[SIDE_BY_SIDE]
    cdef double sum
    cdef Py_ssize_t r, i
    cdef int j
    if k == 1:
        for r in range(rows):
            sums[r] = terms[r]
    elif k == 2:
        for r in range(rows):
            sums[r] = <double> terms[2 * r] + <double> terms[2 * r + 1]
    elif k == 3:
        for r in range(rows):
            sums[r] = (<double> terms[3 * r] + <double> terms[3 * r + 1]) + <double> terms[3 * r + 2]
    elif k == 4:
        for r in range(rows):
            sums[r] = (
                (<double> terms[4 * r] + <double> terms[4 * r + 1]) + (<double> terms[4 * r + 2] + <double> terms[4 * r + 3])
            )
    elif k < 2 * SIDE_BY_SIDE:
        for r in range(rows):
            sum = 0
            for i in range(k):
                sum += terms[r * k + i]
            sums[r] = sum
    else:
        for r in range(rows):
            for j in range(SIDE_BY_SIDE):
                side[j] = 0
            for i in range(k // SIDE_BY_SIDE):
                for j in range(SIDE_BY_SIDE):
                    side[j] += terms[r * k + i * SIDE_BY_SIDE + j]
            sum = ((side[0] + side[1]) + (side[2] + side[3])) + ((side[4] + side[5]) + (side[6] + side[7]))
            for i in range(k // SIDE_BY_SIDE * SIDE_BY_SIDE, k):
                sum += terms[r * k + i]
            sums[r] = sum


cdef inline outlined add_up(const floating* terms, const Grid* grid, double* sums) noexcept nogil:
    """Plain sums of each slice."""
    cdef Py_ssize_t k = grid.terms, n = grid.columns, g, i, c
    if n == 1:
        add_up_rows(terms, grid.groups, k, sums)
        return
    for g in range(grid.groups):
        for c in range(n):
            sums[g * n + c] = terms[g * k * n + c]
        for i in range(1, k):
            for c in range(n):
                sums[g * n + c] += terms[(g * k + i) * n + c]


cdef inline void split(const floating* terms, Py_ssize_t n, double grid, double* high, double* low) noexcept nogil:
    cdef double t, h
    cdef Py_ssize_t i
    for i in range(n):
        t = terms[i]
        h = on_grid(t, grid)
        high[i] = h
        low[i] = t - h


cdef inline void add_up_split_row(const floating* terms, Py_ssize_t k, double grid, double* high, double* low) noexcept nogil:
    """Sums on a grid of a row, and of what that leaves."""
    cdef double t, h, high_sum = 0, low_sum = 0
    cdef Py_ssize_t i
    for i in range(k):
        t = terms[i]
        h = on_grid(t, grid)
        high_sum += h
        low_sum += t - h
    high[0], low[0] = high_sum, low_sum


cdef inline outlined add_up_split(const floating* terms, const Grid* grid, double g, double* high, double* low) noexcept nogil:
    """Sums of each slice on the grid of g, and of what that leaves."""
    cdef double highs[BLOCK]
    cdef double lows[BLOCK]
    cdef Py_ssize_t k = grid.terms, r
    if grid.columns > 1 or k > 2 * SIDE_BY_SIDE:
        split(terms, grid.groups * k * grid.columns, g, <double*> highs, <double*> lows)
        add_up(<const double*> highs, grid, high)
        add_up(<const double*> lows, grid, low)
    elif k == 2:                    # compilers vectorise loops over rows of a length that they know
        for r in range(grid.groups):
            add_up_split_row(terms + 2 * r, 2, g, high + r, low + r)
    elif k == 3:
        for r in range(grid.groups):
            add_up_split_row(terms + 3 * r, 3, g, high + r, low + r)
    elif k == 4:
        for r in range(grid.groups):
            add_up_split_row(terms + 4 * r, 4, g, high + r, low + r)
    else:
        for r in range(grid.groups):
            add_up_split_row(terms + r * k, k, g, high + r, low + r)


cdef inline bint sum_one(const floating* terms, Py_ssize_t k, Py_ssize_t stride, double* high, double* low) noexcept nogil:
    """Sums of one slice by bins of its own; False for terms that bins do not hold."""
    cdef Superaccumulator others
    cdef Bins bins
    cdef floating slice[BLOCK]
    cdef Py_ssize_t i
    if stride == 1:
        memcpy(slice, terms, k * sizeof(floating))
    else:
        for i in range(k):
            slice[i] = terms[i * stride]
    memset(slice + k, 0, (whole_lanes(k) - k) * sizeof(floating))
    clear(&others)
    clear_bins(&bins, RANGE_BATCH_53)
    add_to_bins(&others, &bins, <const floating*> slice, whole_lanes(k))
    high[0] = low[0] = 0
    if bins.is_open:
        fold(bins.high)
        fold(bins.low)
        high[0], low[0] = bins.high[0], bins.low[0]
    return others.low > others.high and not others.special


cdef inline rare sum_one_by_one(const floating* terms, const Grid* grid, double* high, double* low, uint8_t* wide) noexcept nogil:
    cdef Py_ssize_t n = grid.columns, g, c
    for g in range(grid.groups):
        for c in range(n):
            if not sum_one(terms + g * grid.terms * n + c, grid.terms, n, high + g * n + c, low + g * n + c):
                wide[g * n + c] = True


cdef inline bint sum_slices(
    const floating* terms, const Grid* grid, int bits, double* high, double* low, uint8_t* wide
) noexcept nogil:
    """Exact sums high + low of whole slices, whose terms of so many bits are padded with zeros to a multiple of LANES. A slice that has
    none is marked in `wide`. False: all of `low` would be 0, and is not written.
    """
    cdef Py_ssize_t n = grid.groups * grid.terms * grid.columns
    return sum_measured(terms, grid, bits, measure(terms, whole_lanes(n)), high, low, wide)


cdef inline bint sum_measured(
    const floating* terms, const Grid* grid, int bits, ExponentRange exponents, double* high, double* low, uint8_t* wide
) noexcept nogil:
    """sum_slices() of terms whose exponents lie within this range.

    With k <= 2**b terms from 2**bottom on and below 2**(top + 1), one float64 holds the sums if top - bottom <= 53 - bits - b. The
    grid of multiples of 2**(top + 1 + b - 53) leaves at most half of that of each term; and so for the two sums.
    """
    cdef int b = max(bits_of_count(grid.terms), 2), width = exponents.top - exponents.bottom
    if exponents.empty or (exponents.binnable and (width <= 53 - bits - b or grid.terms == 1)):
        add_up(terms, grid, high)
        return False
    if exponents.binnable and width <= 107 - bits - 2 * b:
        add_up_split(terms, grid, 1.5 * power_of_two(exponents.top + b), high, low)
        return True
    sum_one_by_one(terms, grid, high, low, wide)
    return True


# ---- slices over many blocks: one term of each column after the other ------------------------------------------------------------

cdef struct Columns:
    # Sums high + low + rest, for each of `width` columns; and of a few rows more, which are not in these yet, near + near_low.
    Py_ssize_t width
    double* high
    double* low
    double* rest                # NULL: not needed
    double* near
    double* near_low            # NULL: not needed
    uint8_t* wide               # columns that must be summed alone
    bint empty                  # there are no terms but zeros
    int top                     # exponents of the largest and of the smallest term
    int bottom
    int limit                   # binades that they may span as a rule
    Py_ssize_t additions        # to the sums of a column
    int window                  # near sums are exact of terms below 2**(window + 1), and
    int floor                   # from 2**floor on
    double grid                 # of near and near_low
    int rows                    # that near sums have
    bint few_rows               # near sums take all of them
    bint begun                  # else high, low and rest are undefined, and stand for 0


cdef inline int spannable(Py_ssize_t k, Py_ssize_t parts, Py_ssize_t additions, int bits, bint has_rest) noexcept nogil:
    """How many binades k terms of each column may span, which are added up in so many parts of so many additions each, so that the
    sums are exact.

    The high sum of a part is below 2**(top + 1) * (k / parts + 2), and each addition has a low word of at most 2**-53 of that; adding
    the parts makes as many low words again of the whole. So the low sum is below 2**(top - 52) * (k + 2 parts) * (additions + parts);
    where it began as what a grid left, and there are so few parts that this is more, below 2**(top - 35). The same once more with a
    third sum. The last sum is a multiple of 2**(bottom - bits + 1), of which float64 holds 2**53.
    """
    cdef int b = bits_of_count(k + 2 * parts) + bits_of_count(additions + parts)
    if has_rest:
        return min(158 - bits - b, 141 - bits) - bits_of_count(additions + 2 * parts)
    return 105 - bits - b


cdef inline void begin_columns(Columns* columns) noexcept nogil:
    """Forget all terms."""
    clear_near_sums(columns)
    columns.empty, columns.begun = True, False
    columns.window = NO_WINDOW
    columns.additions = 0


cdef inline void clear_near_sums(Columns* columns) noexcept nogil:
    memset(columns.near, 0, columns.width * sizeof(double))
    if columns.near_low is not NULL:
        memset(columns.near_low, 0, columns.width * sizeof(double))
    columns.rows = 0


cdef inline outlined add_sums(
    const double* terms, Py_ssize_t n, double* high, double* low, double* rest
) noexcept nogil:
    """Add a term to the sums of each column."""
    cdef double of_high, of_low
    cdef Py_ssize_t i
    if rest is NULL:
        for i in range(n):
            high[i] = two_sum(high[i], terms[i], &of_high)
            low[i] += of_high
    else:
        for i in range(n):
            high[i] = two_sum(high[i], terms[i], &of_high)
            low[i] = two_sum(low[i], of_high, &of_low)
            rest[i] += of_low


cdef inline void make_sums_of_near_sums(Columns* columns) noexcept nogil:
    """Begin the sums with those of the first rows; the near sums are undefined then."""
    cdef size_t size = columns.width * sizeof(double)
    columns.high, columns.near = columns.near, columns.high
    if columns.near_low is not NULL:
        columns.low, columns.near_low = columns.near_low, columns.low
    else:
        memset(columns.low, 0, size)
    if columns.rest is not NULL:
        memset(columns.rest, 0, size)
    columns.begun = True


cdef inline void begin_sums(Columns* columns) noexcept nogil:
    """Have sums that more can be added to."""
    if not columns.begun:
        make_sums_of_near_sums(columns)
        clear_near_sums(columns)


cdef inline void add_near_sums(Columns* columns) noexcept nogil:
    """Add the sums of the last rows to the others."""
    if not columns.begun:
        make_sums_of_near_sums(columns)
    elif columns.rows:
        add_sums(columns.near, columns.width, columns.high, columns.low, columns.rest)
        if columns.near_low is not NULL:
            add_sums(columns.near_low, columns.width, columns.high, columns.low, columns.rest)
        columns.additions += 2


cdef inline int most_rows(const Columns* columns) noexcept nogil:
    """Of near sums."""
    return ROWS_IN_ONE if columns.near_low is NULL else ROWS_IN_TWO


cdef inline void set_window(Columns* columns, int top) noexcept nogil:
    """Have near sums that are exact of terms below 2**(top + 1): in one float64, or on a grid and of what it leaves."""
    if columns.rows:
        add_near_sums(columns)
        clear_near_sums(columns)
    columns.window = top
    if columns.near_low is NULL:
        columns.floor = top - 26                # 53 - 24 - 3: as in sum_slices(), for ROWS_IN_ONE
    else:
        columns.floor = top - 42                # 107 - 53 - 2 * 6
        columns.grid = 1.5 * power_of_two(top + 6)


cdef inline outlined take_out_small(Columns* columns, Py_ssize_t at, floating* terms, Py_ssize_t n) noexcept nogil:
    """Add terms that are too small for the window by themselves, and leave zeros. A few of them among few rows are not worth the other
    sums: their columns are marked instead. The terms are padded with zeros to a multiple of LANES.
    """
    cdef bint small[GROUPS]         # whether there are any in each group of LANES
    cdef floating least = <floating> power_of_two(columns.floor if columns.floor > -1022 else -1022), size
    cdef double term
    cdef Py_ssize_t groups = (n + LANES - 1) // LANES, k, i
    cdef int j, found, count = 0
    for k in range(groups):
        found = 0
        for j in range(LANES):
            size = magnitude(terms[k * LANES + j])
            found |= (size < least) & (size != 0)
        small[k] = found
        count += found
    if not (columns.few_rows and count <= MOST_SMALL):
        begin_sums(columns)
    columns.additions += columns.begun
    for k in range(groups):
        if small[k]:
            for i in range(k * LANES, (k + 1) * LANES):
                size = magnitude(terms[i])
                if size < least and size != 0:
                    term = terms[i]
                    terms[i] = 0
                    if columns.begun:
                        add_sums(
                            &term, 1, columns.high + at + i, columns.low + at + i, NULL if columns.rest is NULL else columns.rest + at + i
                        )
                    else:
                        columns.wide[at + i] = True


cdef inline rare take_out(floating* terms, Py_ssize_t n, double least, uint8_t* wide) noexcept nogil:
    """Mark the columns of terms that are not finite, too large for grids, or smaller than `least` but not 0, and leave zeros."""
    cdef double size, most = power_of_two(990)
    cdef Py_ssize_t i
    for i in range(n):
        size = magnitude(terms[i])
        if not (size <= most and (size >= least or size == 0)):
            wide[i] = True
            terms[i] = 0


cdef inline outlined add_row(Columns* columns, Py_ssize_t at, floating* terms, Py_ssize_t n) noexcept nogil:
    """Add a term to each of n columns from `at` on; terms are padded with zeros, and may be changed. The exponents of all terms span at
    most `limit` binades: what is smaller is taken out, and its column marked, as are columns of terms that are not finite.
    """
    cdef Py_ssize_t padded = whole_lanes(n), i
    cdef ExponentRange exponents = measure(<const floating*> terms, padded)
    cdef double* near
    cdef double* near_low
    cdef double t, h
    if at == 0 and columns.rows:        # a new row, also if this part of it is zeros
        if columns.rows == most_rows(columns):
            add_near_sums(columns)
            clear_near_sums(columns)
        else:
            columns.rows += 1
    if not exponents.empty and not exponents.binnable:
        take_out(terms, n, 0, columns.wide + at)
        exponents = measure(<const floating*> terms, padded)
    if exponents.empty:
        return
    if columns.empty:
        columns.empty, columns.top, columns.bottom = False, exponents.top, exponents.top
    columns.top = max(columns.top, exponents.top)
    if exponents.bottom < columns.top - columns.limit + ROOM_ABOVE:
        take_out(terms, n, power_of_two(max(columns.top - columns.limit + ROOM_ABOVE, -1022)), columns.wide + at)
        exponents = measure(<const floating*> terms, padded)
        if exponents.empty:
            return
    columns.bottom = min(columns.bottom, exponents.bottom)
    if exponents.top > columns.window:
        set_window(columns, exponents.top + WINDOW_SLACK)
    if exponents.bottom < columns.floor:
        take_out_small(columns, at, terms, n)
    columns.rows = max(columns.rows, 1)
    near = columns.near + at            # only now: the first near sums become the others
    if columns.near_low is NULL:
        for i in range(n):
            near[i] += terms[i]
    else:
        near_low = columns.near_low + at
        for i in range(n):
            t = terms[i]
            h = on_grid(t, columns.grid)
            near[i] += h
            near_low[i] += t - h


cdef inline outlined join_columns(Columns* columns, const Columns* others, Py_ssize_t at, Py_ssize_t n) noexcept nogil:
    """Add n other sums, which lie from `at` on, to the first ones here; both are without near sums."""
    cdef Py_ssize_t i
    add_sums(others.high + at, n, columns.high, columns.low, columns.rest)
    if columns.rest is NULL:
        for i in range(n):
            columns.low[i] += others.low[at + i]
    else:
        add_sums(others.low + at, n, columns.low, columns.rest, NULL)
        for i in range(n):
            columns.rest[i] += others.rest[at + i]
    for i in range(n):
        columns.wide[i] |= others.wide[at + i]


cdef inline void join_spans(Columns* columns, const Columns* others) noexcept nogil:
    """Note which exponents the terms of other sums have, and how many additions they took."""
    columns.additions = max(columns.additions, others.additions)
    if columns.empty:
        columns.empty, columns.top, columns.bottom = others.empty, others.top, others.bottom
    elif not others.empty:
        columns.top, columns.bottom = max(columns.top, others.top), min(columns.bottom, others.bottom)
