# Exact sums of products, none of them negative: a quarter of a block of terms times their weights, added to open bins.
#
# A product of float64 is the sum of its rounded value and a rest, which has bins of its own. With p the exponent of the smallest
# product, every rest is a multiple of 2**(p - 105), and the rests sum to at most 2**-53 of the products: so the rests fit their bins
# if the products fit theirs, and need no measurement.

from cylosses._core.error_free cimport product_low
from cylosses._core.summation.bins cimport BATCH_BITS_53, QUARTER, QUARTER_BITS, RANGE_BATCH_53, Bins, add_quarter_of_doubles, prepare_bins
from cylosses._core.summation.exponent_range cimport ExponentRange, exponent_range
from cylosses._core.summation.lanes cimport LANES, ONE, add_by_fma, fold, least_of, lesser
from cylosses._core.summation.superaccumulator cimport Superaccumulator

cdef enum:
    LOWEST_WITH_REST = -900     # exponent of a product whose rest surely is no subnormal


cdef struct SplitProducts:
    # Per column of a quarter: the sums on the grids and those of what is left, and the smallest product.
    double high[LANES]
    double low[LANES]
    double rest_high[LANES]
    double rest_low[LANES]
    double least[LANES]


cdef inline void split_products(
    const double* terms, const double* weights, double grid, double rest_grid, SplitProducts* split
) noexcept nogil:
    cdef double product, h, rest, high, low, rest_high, rest_low, least, one = ONE
    cdef int j, k
    for j in range(LANES):
        high = low = rest_high = rest_low = 0
        least = 1.7976931348623157e308
        for k in range(QUARTER // LANES):
            product = terms[k * LANES + j] * weights[k * LANES + j]
            rest = product_low(terms[k * LANES + j], weights[k * LANES + j], product)
            h = add_by_fma(product, one, grid) - grid
            high = add_by_fma(h, one, high)
            low += product - h
            h = add_by_fma(rest, one, rest_grid) - rest_grid
            rest_high = add_by_fma(h, one, rest_high)
            rest_low += rest - h
            least = lesser(product, least)
        split.high[j] = high
        split.low[j] = low
        split.rest_high[j] = rest_high
        split.rest_low[j] = rest_low
        split.least[j] = least


cdef inline double smallest_product(const double* terms, const double* weights) noexcept nogil:
    """The smallest of products that are not exactly zero; a loop of its own, since zeros are rare."""
    cdef double smallest[LANES]
    cdef double size
    cdef int j, k
    for j in range(LANES):
        smallest[j] = 1.7976931348623157e308
    for k in range(QUARTER // LANES):
        for j in range(LANES):
            size = terms[k * LANES + j] * weights[k * LANES + j]
            size = size if terms[k * LANES + j] != 0 else 1.7976931348623157e308
            size = size if weights[k * LANES + j] != 0 else 1.7976931348623157e308
            smallest[j] = lesser(size, smallest[j])
    return least_of(smallest)


cdef inline bint add_quarter_of_products(
    Superaccumulator* total, Bins* bins, Bins* rest_bins, const double* terms, const double* weights
) noexcept nogil:
    """Add QUARTER products, split on the grids of the open bins before it is known whether they fit them.

    Returns False, and has done nothing, if one of them is negative or not finite, or they do not fit open bins.
    """
    cdef SplitProducts split
    cdef ExponentRange exponents
    cdef double sums[LANES]
    cdef double bottom, grid = bins.grid if bins.is_open else 0, rest_grid = rest_bins.grid if rest_bins.is_open else 0
    cdef int j
    split_products(terms, weights, grid, rest_grid, &split)
    for j in range(LANES):
        sums[j] = (split.high[j] + split.low[j]) + (split.rest_high[j] + split.rest_low[j])
    fold(sums)
    bottom = least_of(split.least)
    if bottom == 0:
        bottom = smallest_product(terms, weights)
    exponents = exponent_range(sums[0], bottom)
    exponents.top -= QUARTER_BITS
    if exponents.bottom <= LOWEST_WITH_REST:        # so are negative ones
        return False
    if exponents.empty:
        return True
    if not exponents.binnable or exponents.top - exponents.bottom + 1 > RANGE_BATCH_53:
        return False
    prepare_bins(total, bins, exponents, QUARTER, RANGE_BATCH_53, BATCH_BITS_53)
    exponents.top -= 52                     # one more than above, for what rounding to the grid adds
    exponents.bottom -= 53
    prepare_bins(total, rest_bins, exponents, QUARTER, RANGE_BATCH_53, BATCH_BITS_53)
    if bins.grid != grid or rest_bins.grid != rest_grid:
        split_products(terms, weights, bins.grid, rest_bins.grid, &split)
    for j in range(LANES):
        bins.high[j] += split.high[j]
        bins.low[j] += split.low[j]
        rest_bins.high[j] += split.rest_high[j]
        rest_bins.low[j] += split.rest_low[j]
    return True


cdef inline bint add_quarter_of_float_products(
    Superaccumulator* total, Bins* bins, const float* terms, const float* weights
) noexcept nogil:
    """Add QUARTER products of float32, which have no rests; False, and nothing done, if they do not fit open bins."""
    cdef double product[QUARTER]
    cdef int i
    for i in range(QUARTER):
        product[i] = <double> terms[i] * <double> weights[i]
    return add_quarter_of_doubles(total, bins, <double*> product)
