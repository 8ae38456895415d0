# Sums of many slices side by side: unevaluated sums of two or three float64 each, every addition exact.
#
# A superaccumulator for each short slice would take a hundred times as long as its additions. Which way is exact depends on the
# range of exponents of the terms, which is measured block by block:
#   - One float64 holds the sum of k float32 terms whose range is narrow, as the rows of most blocks are.
#   - Terms that are split on a common grid, as in summation/bins.pxd, have two exact sums: on the grid, and of what is left.
#   - Sums that go on over many blocks take each term by two_sum, whose low words are summed apart, and the low words of that sum too.
#     All of these are multiples of the last place of the smallest term, so the last sums are exact as long as they stay below 2**53
#     of it: for float32 two sums suffice, else three.
# A slice whose terms are too wide for that, or not finite, is marked, and summed once more by a superaccumulator.

from cython cimport floating
from libc.stdint cimport uint8_t
from libc.string cimport memset

from cylosses._core.bits cimport power_of_two
from cylosses._core.error_free cimport two_sum
from cylosses._core.summation.bins cimport BLOCK, on_grid
from cylosses._core.summation.exponent_range cimport ExponentRange, measure
from cylosses._core.summation.lanes cimport LANES

cdef enum:
    SIDE_BY_SIDE = 8        # partial sums of a row that is long enough for vectors
    ROOM_ABOVE = 6          # binades by which later terms may be larger than the first, and the sums still be exact

cdef struct Grid:
    # How one number after the other of a slice lies in a block: `groups` of `terms` rows of `columns`, each column a slice.
    Py_ssize_t groups
    Py_ssize_t terms
    Py_ssize_t columns

cdef struct Span:
    # The exponents of all terms so far but zeros.
    bint empty
    int top
    int bottom


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


cdef inline void add_up(const floating* terms, const Grid* grid, double* sums) noexcept nogil:
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


cdef inline bint sum_one(const floating* terms, Py_ssize_t k, Py_ssize_t stride, int bits, double* high, double* low) noexcept nogil:
    """Sums of one slice of its own range; False for terms that two grids do not hold."""
    cdef ExponentRange exponents
    cdef floating slice[BLOCK]
    cdef double t, h, grid
    cdef Py_ssize_t i, padded = (k + LANES - 1) // LANES * LANES
    cdef int b = max(bits_of_count(k), 2)
    for i in range(k):
        slice[i] = terms[i * stride]
    memset(slice + k, 0, (padded - k) * sizeof(floating))
    exponents = measure(<const floating*> slice, padded)
    high[0] = low[0] = 0
    if exponents.empty:
        return True
    if not exponents.binnable or exponents.top - exponents.bottom > 107 - bits - 2 * b:
        return False
    grid = 1.5 * power_of_two(exponents.top + b)
    for i in range(k):
        t = slice[i]
        h = on_grid(t, grid)
        high[0] += h
        low[0] += t - h
    return True


cdef inline bint sum_slices(
    const floating* terms, const Grid* grid, int bits, double* high, double* low, uint8_t* wide
) noexcept nogil:
    """Exact sums high + low of whole slices, whose terms of so many bits are padded with zeros to a multiple of LANES. A slice that has
    none is marked in `wide`. False: all of `low` would be 0, and is not written.

    With k <= 2**b terms from 2**bottom on and below 2**(top + 1), one float64 holds the sums if top - bottom <= 53 - bits - b. The
    grid of multiples of 2**(top + 1 + b - 53) leaves at most half of that of each term; and so for the two sums.
    """
    cdef double highs[BLOCK]
    cdef double lows[BLOCK]
    cdef Py_ssize_t n = grid.groups * grid.terms * grid.columns, g, c
    cdef ExponentRange exponents = measure(terms, (n + LANES - 1) // LANES * LANES)
    cdef int b = max(bits_of_count(grid.terms), 2), width = exponents.top - exponents.bottom
    if exponents.empty or (exponents.binnable and (width <= 53 - bits - b or grid.terms == 1)):
        add_up(terms, grid, high)
        return False
    if exponents.binnable and width <= 107 - bits - 2 * b:
        split(terms, n, 1.5 * power_of_two(exponents.top + b), <double*> highs, <double*> lows)
        add_up(<const double*> highs, grid, high)
        add_up(<const double*> lows, grid, low)
        return True
    for g in range(grid.groups):
        for c in range(grid.columns):
            if not sum_one(
                terms + g * grid.terms * grid.columns + c, grid.terms, grid.columns, bits, high + g * grid.columns + c,
                low + g * grid.columns + c,
            ):
                wide[g * grid.columns + c] = True
    return True


# ---- slices over many blocks: one term of each column after the other ------------------------------------------------------------

cdef inline int narrowest(Py_ssize_t k, int bits, bint has_rest) noexcept nogil:
    """How many binades k terms of each column may span, so that the sums of columns are exact.

    The high sum is below 2**(top + 1 + b), each low word at most 2**-53 of it, so the low sum below 2**(top + 1 + 2 b - 53); the same
    once more with a third sum. The last sum is a multiple of 2**(bottom - bits + 1), of which float64 holds 2**53.
    """
    cdef int b = bits_of_count(k) + 1           # one more: partial sums are added, too
    return 158 - bits - 3 * b if has_rest else 105 - bits - 2 * b


cdef inline void accumulate(
    const floating* terms, Py_ssize_t n, double* high, double* low, double* rest
) noexcept nogil:
    """Add a term to each column; `rest` may be NULL."""
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


cdef inline void fold_columns(
    const double* high_in, const double* low_in, const double* rest_in, Py_ssize_t n, double* high, double* low, double* rest
) noexcept nogil:
    """Add other sums of the same columns."""
    cdef double of_high, of_low, more
    cdef Py_ssize_t i
    if rest is NULL:
        for i in range(n):
            high[i] = two_sum(high[i], high_in[i], &of_high)
            low[i] += low_in[i] + of_high
    else:
        for i in range(n):
            high[i] = two_sum(high[i], high_in[i], &of_high)
            low[i] = two_sum(low[i], of_high, &of_low)
            low[i] = two_sum(low[i], low_in[i], &more)
            rest[i] += (of_low + more) + rest_in[i]


cdef inline void take_out(
    floating* terms, Py_ssize_t n, double least, uint8_t* wide
) noexcept nogil:
    """Mark the columns of terms that are not finite, or smaller than `least` but not 0, and take those terms out."""
    cdef double size
    cdef Py_ssize_t i
    for i in range(n):
        size = terms[i] if terms[i] >= 0 else -terms[i]
        if not (size - size == 0 and (size >= least or size == 0)):
            wide[i] = True
            terms[i] = 0


cdef inline void add_to_columns(
    floating* terms, Py_ssize_t n, Span* span, int limit, double* high, double* low, double* rest, uint8_t* wide
) noexcept nogil:
    """Add a term to each of n columns; `terms` are padded with zeros. The exponents of all terms span at most `limit` binades: what is
    smaller is taken out, and its column marked, as are columns of terms that are not finite.
    """
    cdef Py_ssize_t padded = (n + LANES - 1) // LANES * LANES
    cdef ExponentRange exponents = measure(<const floating*> terms, padded)
    if not exponents.empty and not exponents.binnable:
        take_out(terms, n, 0, wide)
        exponents = measure(<const floating*> terms, padded)
    if exponents.empty:
        return
    if span.empty:
        span.empty, span.top, span.bottom = False, exponents.top, exponents.top
    span.top = max(span.top, exponents.top)
    if exponents.bottom < span.top - limit + ROOM_ABOVE:
        take_out(terms, n, power_of_two(max(span.top - limit + ROOM_ABOVE, -1022)), wide)
        exponents = measure(<const floating*> terms, padded)
    if not exponents.empty:
        span.bottom = min(span.bottom, exponents.bottom)
    accumulate(<const floating*> terms, n, high, low, rest)
