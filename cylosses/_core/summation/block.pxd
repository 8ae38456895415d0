# The exact sum of a block of terms, by whichever way is quickest for its terms: column sums, bins, or deposits one by one.
#
# The block is in cache (a buffer of the caller), so measuring and summing are two short loops. Faster still are whole quarters,
# none of them negative, with a guess of the grid that is verified afterwards: columns of float64 terms are split on the grid of the
# open bins and measured in one loop, and columns of float32 terms are plain sums, whose window is checked with integers.

from cython cimport floating

from cylosses._core.summation.bins cimport QUARTER, Bins, add_quarter_of_doubles, add_to_bins
from cylosses._core.summation.columns cimport ColumnSums, add_quarter_of_floats
from cylosses._core.summation.superaccumulator cimport Superaccumulator


cdef inline bint add_quarter(Superaccumulator* total, Bins* bins, ColumnSums* columns, const floating* terms) noexcept nogil:
    """Add QUARTER terms, none of them negative; False, and nothing done, if they fit neither the bins nor the columns."""
    if floating is float:
        return add_quarter_of_floats(total, columns, terms)
    else:
        return add_quarter_of_doubles(total, bins, terms)


cdef inline void add_block(
    Superaccumulator* total, Bins* bins, ColumnSums* columns, const floating* terms, Py_ssize_t n
) noexcept nogil:
    """Add n <= BLOCK terms exactly; n is a multiple of LANES (the caller pads with zeros).

    They may stay in the bins, which take terms of one type only, until close_bins(), and in the column sums until
    deposit_column_sums(). `columns` is NULL where terms may be negative.
    """
    while n >= QUARTER and columns is not NULL and add_quarter(total, bins, columns, terms):
        terms += QUARTER
        n -= QUARTER
    if n:
        add_to_bins(total, bins, terms, n)
