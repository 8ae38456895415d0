# What a thread keeps of slices that are summed side by side, and how a block of a walk is added to it.
#
# Slices are short: either whole slices lie in each block, and are rounded with it, or each block has terms of many slices, the columns,
# whose sums go on from block to block.

from cython cimport floating
from libc.math cimport fabs
from libc.stdint cimport uint8_t
from libc.string cimport memset

from cylosses._core.bits cimport power_of_two
from cylosses._core.blocks.sums cimport LOST_PRODUCTS, EXACT_PRODUCTS, Products, fits_24_bits, multiply
from cylosses._core.error_free cimport two_sum
from cylosses._core.factor cimport MODERATE
from cylosses._core.job cimport VALUES, WEIGHTS, Job
from cylosses._core.memory.position cimport slice_start
from cylosses._core.memory.strided cimport read_strided
from cylosses._core.slices.quotients cimport Quotients, divide_to_doubles, divide_to_singles
from cylosses._core.slices.sums cimport (
    Grid, Span, add_to_columns, add_up, bits_of_count, fold_columns, narrowest, sum_slices,
)
from cylosses._core.summation.bins cimport BLOCK
from cylosses._core.summation.lanes cimport LANES

ctypedef void (*SumAlone)(Job* job, Py_ssize_t number) noexcept nogil

cdef enum:
    ARRAYS = 5              # of doubles

cdef struct SliceSums:
    Job* one                # the slices one by one: for those that a few float64 do not hold
    SumAlone sum_alone      # which sums such a slice, and writes what is wanted of it
    bint in_block           # each block has whole slices; else columns go on
    bint weighed            # divisors are sums of weights
    bint counted            # divisors are numbers of elements that a mask selects
    int bits                # of a term
    int weight_bits
    Py_ssize_t first        # the first slice of the columns
    Py_ssize_t column       # and where it lies in a row
    # Sums and divisors of `width` slices.
    Py_ssize_t width
    double* high
    double* low
    double* rest
    double* divisor
    double* divisor_low
    uint8_t* wide           # slices that must be summed alone
    bint has_low            # the low sums are not all 0
    bint has_rest
    bint exact              # divisors are powers of two
    double error            # of each sum
    Span span               # of the terms of columns
    Span weight_span
    int limit               # binades that they may span
    int weight_limit


cdef inline bint divides(const Job* job) noexcept nogil:
    return job.divide or job.factors is not NULL


cdef inline void set_slices(SliceSums* slices, Job* one, const Job* job, SumAlone sum_alone, char* memory, Py_ssize_t width) noexcept nogil:
    """Begin sums of `width` slices at once, in memory for ARRAYS doubles and a byte of each."""
    cdef Py_ssize_t k = job.terms, i
    cdef double divisor = <double> k if divides(job) else 1
    slices.one, slices.sum_alone = one, sum_alone
    slices.in_block = k * job.columns <= BLOCK
    slices.weighed = job.weight.data is not NULL and divides(job)
    slices.counted = job.weight.data is NULL and job.where.data is not NULL and divides(job)
    slices.bits = 24 if job.single and not (job.weight.data is not NULL and job.term == VALUES) else 53
    slices.weight_bits = 24 if job.weight.data is not NULL and fits_24_bits(job.weight.storage) else 53
    slices.first = slices.column = 0
    slices.width = width
    slices.high = <double*> memory
    slices.low, slices.rest = slices.high + width, slices.high + 2 * width
    slices.divisor, slices.divisor_low = slices.high + 3 * width, slices.high + 4 * width
    slices.wide = <uint8_t*> (slices.high + ARRAYS * width)
    slices.has_rest = not slices.in_block and slices.bits == 53
    slices.has_low = not slices.in_block
    slices.exact = not (slices.weighed or slices.counted) and (not divides(job) or k & (k - 1) == 0)
    slices.error = 0
    slices.limit = narrowest(k, slices.bits, slices.has_rest)
    slices.weight_limit = narrowest(k, slices.weight_bits, False)
    for i in range(width):
        slices.divisor[i] = divisor
    memset(slices.wide, 0, width)


cdef inline void clear_columns(SliceSums* slices) noexcept nogil:
    """Begin other columns."""
    cdef size_t size = slices.width * sizeof(double)
    memset(slices.high, 0, size)
    memset(slices.low, 0, size)
    if slices.has_rest:
        memset(slices.rest, 0, size)
    if slices.weighed or slices.counted:
        memset(slices.divisor, 0, size)
        memset(slices.divisor_low, 0, size)
    memset(slices.wide, 0, slices.width)
    slices.span.empty = slices.weight_span.empty = True
    slices.error = 0


cdef inline Quotients quotients_of(const SliceSums* slices) noexcept nogil:
    cdef Quotients of
    of.high = slices.high
    of.low = slices.low if slices.has_low else NULL
    of.rest = slices.rest if slices.has_rest else NULL
    of.divisor = slices.divisor
    of.divisor_low = slices.divisor_low if slices.weighed else NULL
    of.error, of.exact = slices.error, slices.exact
    return of


# ---- one block -------------------------------------------------------------------------------------------------------------------

cdef inline void add_slices(
    const Job* job, SliceSums* slices, Py_ssize_t start, floating* terms, double* weights, const floating* selected, Py_ssize_t n
) noexcept nogil:
    """Add n elements from `start` on: terms, their weights, and what a mask selects; those that the job lacks are NULL. All are padded
    with zeros to a multiple of LANES.
    """
    cdef Grid grid
    cdef Py_ssize_t at = 0
    grid.groups, grid.terms, grid.columns = n // (job.terms * job.columns), job.terms, job.columns
    if slices.in_block:
        slices.error, slices.has_rest, slices.has_low = 0, False, False
    elif job.columns > BLOCK:
        at = start % job.columns - slices.column
    if terms is not NULL and job.weight.data is not NULL and job.term == VALUES:
        add_weighted_terms(job, slices, &grid, at, terms, <const double*> weights, n)
    elif terms is not NULL:
        add_terms(slices, &grid, at, terms, n)
    if slices.weighed:
        add_divisors(slices, &grid, at, weights, n)
    elif slices.counted:
        add_counts(slices, &grid, at, selected, n)
    if slices.in_block:
        write_slices(job, slices, start // job.terms, grid.groups * grid.columns)


cdef inline void add_terms(SliceSums* slices, const Grid* grid, Py_ssize_t at, floating* terms, Py_ssize_t n) noexcept nogil:
    if slices.in_block:
        slices.has_low = sum_slices(<const floating*> terms, grid, slices.bits, slices.high, slices.low, slices.wide)
    else:
        add_to_columns(
            terms, n, &slices.span, slices.limit, slices.high + at, slices.low + at, slices.rest + at if slices.has_rest else NULL,
            slices.wide + at,
        )


cdef inline void add_weighted_terms(
    const Job* job, SliceSums* slices, const Grid* grid, Py_ssize_t at, const floating* terms, const double* weights, Py_ssize_t n
) noexcept nogil:
    """Add terms * weights. Low words of the products are summed plainly: they decide only where a result could round either way."""
    cdef double product[BLOCK]
    cdef double low[BLOCK]
    cdef double largest = 0
    cdef Py_ssize_t i, padded = (n + LANES - 1) // LANES * LANES
    cdef Products products = multiply(job, terms, weights, padded, <double*> product, <double*> low)
    if products == LOST_PRODUCTS:
        memset(slices.wide + at, True, grid.groups * grid.columns if slices.in_block else n)
        return
    add_terms(slices, grid, at, <double*> product, n)
    if products == EXACT_PRODUCTS:
        return
    for i in range(n):
        largest = fabs(low[i]) if fabs(low[i]) > largest else largest
    if largest == 0:
        return
    if slices.in_block:
        add_up(<const double*> low, grid, slices.rest)
        slices.has_rest = True
    else:
        for i in range(n):
            slices.rest[at + i] += low[i]
    # Each addition, of one term more than the last, is off by at most 2**-53 of it.
    slices.error = max(slices.error, largest * <double> grid.terms * <double> grid.terms * power_of_two(-50))


cdef inline void add_divisors(SliceSums* slices, const Grid* grid, Py_ssize_t at, double* weights, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t count = grid.groups * grid.columns
    if not slices.in_block:
        add_to_columns(
            weights, n, &slices.weight_span, slices.weight_limit, slices.divisor + at, slices.divisor_low + at, NULL, slices.wide + at
        )
    elif not sum_slices(
        <const double*> weights, grid, slices.weight_bits, slices.divisor, slices.divisor_low, slices.wide
    ):
        memset(slices.divisor_low, 0, count * sizeof(double))


cdef inline void add_counts(SliceSums* slices, const Grid* grid, Py_ssize_t at, const floating* selected, Py_ssize_t n) noexcept nogil:
    cdef double ones[BLOCK]
    cdef Py_ssize_t i
    for i in range(n):
        ones[i] = selected[i] != 0
    if slices.in_block:
        add_up(<const double*> ones, grid, slices.divisor)
    else:
        for i in range(n):
            slices.divisor[at + i] += ones[i]


# ---- results ---------------------------------------------------------------------------------------------------------------------

cdef inline void normalise_divisors(SliceSums* slices, Py_ssize_t n) noexcept nogil:
    """Make each divisor the rounded sum of both its words."""
    cdef Py_ssize_t i
    for i in range(n):
        slices.divisor[i] = two_sum(slices.divisor[i], slices.divisor_low[i], slices.divisor_low + i)


cdef inline void mark_infinite(SliceSums* slices, Py_ssize_t n) noexcept nogil:
    """Mark sums that have left the range of float64 on the way: that leaves no finite low word."""
    cdef Py_ssize_t i
    for i in range(n):
        slices.wide[i] |= not (slices.low[i] - slices.low[i] == 0 and slices.high[i] - slices.high[i] == 0)


cdef inline void write_slices(const Job* job, SliceSums* slices, Py_ssize_t first, Py_ssize_t n) noexcept nogil:
    """Round the sums of n slices from `first` on, and write what the job wants of them."""
    cdef Quotients of
    cdef Py_ssize_t i
    if slices.weighed:
        normalise_divisors(slices, n)
    if job.factors is not NULL:
        write_factors(job, slices, first, n)
    elif job.result is not NULL:
        of = quotients_of(slices)
        if job.single:
            divide_to_singles(&of, n, <float*> job.result + first, slices.wide)
        else:
            divide_to_doubles(&of, n, <double*> job.result + first, slices.wide)
    for i in range(n):
        if slices.wide[i]:
            slices.sum_alone(slices.one, first + i)
            slices.wide[i] = False


cdef inline void write_factors(const Job* job, SliceSums* slices, Py_ssize_t first, Py_ssize_t n) noexcept nogil:
    """Write the factors that the incoming gradients of n slices make with their divisors."""
    cdef const Job* one = slices.one
    cdef Quotients of = quotients_of(slices)
    cdef double* factors = job.factors + first
    cdef Py_ssize_t i
    cdef bint has_low = slices.weighed and not job.single
    for i in range(n):
        slices.high[i] = 1
        if one.dividend.data is not NULL:
            read_strided(
                one.dividend.storage, slice_start(one, &one.dividend, first + i), 0, one.dividend.swapped, 1, slices.high + i
            )
    of.low = of.rest = NULL
    of.error = 0
    divide_to_doubles(&of, n, factors, slices.wide)
    for i in range(n):
        factors[one.slices + i] = factors[2 * one.slices + i] = 0
        if slices.divisor[i] == 0:
            factors[i] = 0
        else:           # of float64 weights, and of any factor that is not moderate, the long way makes a second word or an exponent
            slices.wide[i] |= has_low or not power_of_two(-MODERATE) <= fabs(factors[i]) < power_of_two(MODERATE)


# ---- columns ---------------------------------------------------------------------------------------------------------------------

cdef inline void add_columns_of(SliceSums* slices, const SliceSums* others, Py_ssize_t at, Py_ssize_t n) noexcept nogil:
    """Add n sums of others, which lie from `at` on, to the first ones here."""
    cdef Py_ssize_t i
    fold_columns(
        others.high + at, others.low + at, others.rest + at, n, slices.high, slices.low, slices.rest if slices.has_rest else NULL
    )
    if slices.weighed:
        fold_columns(others.divisor + at, others.divisor_low + at, NULL, n, slices.divisor, slices.divisor_low, NULL)
    elif slices.counted:
        for i in range(n):
            slices.divisor[i] += others.divisor[at + i]
    for i in range(n):
        slices.wide[i] |= others.wide[at + i]


cdef inline void join_spans(Span* span, const Span* other) noexcept nogil:
    if span.empty:
        span[0] = other[0]
    elif not other.empty:
        span.top, span.bottom = max(span.top, other.top), min(span.bottom, other.bottom)


cdef inline void add_others(SliceSums* slices, const SliceSums* others) noexcept nogil:
    """Add the sums of another thread, of the same columns."""
    add_columns_of(slices, others, 0, slices.width)
    join_spans(&slices.span, &others.span)
    join_spans(&slices.weight_span, &others.weight_span)
    slices.error = max(slices.error, others.error)


cdef inline bint fits(const Span* span, int limit) noexcept nogil:
    return span.empty or span.top - span.bottom <= limit


cdef inline void write_columns(const Job* job, SliceSums* slices, Py_ssize_t n) noexcept nogil:
    """Round the sums of n columns, which may lie in several partial sums, and write what the job wants of them."""
    cdef Py_ssize_t k
    if job.columns <= BLOCK:
        for k in range(1, slices.width // n):
            add_columns_of(slices, slices, k * n, n)
    if slices.error:                # then the rest is not exact either
        slices.error += power_of_two(max(slices.span.top + 3 * bits_of_count(job.terms) - 140, -1022))
    mark_infinite(slices, n)
    if not (fits(&slices.span, slices.limit) and fits(&slices.weight_span, slices.weight_limit)):
        memset(slices.wide, True, n)
    write_slices(job, slices, slices.first, n)
