# What a thread keeps of slices that are summed side by side, and how a block of a walk is added to it.
#
# Slices are short: either whole slices lie in each block, and are rounded with it, or each block has terms of many slices, the columns,
# whose sums go on from block to block.

from cython cimport floating
from libc.math cimport fabs
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memchr, memset

from cylosses._core.bits cimport exponent_of, power_of_two
from cylosses._core.blocks.sums cimport EXACT_PRODUCTS, LOST_PRODUCTS, Products, fits_24_bits, multiply
from cylosses._core.compiler cimport outlined
from cylosses._core.error_free cimport product_low, two_sum
from cylosses._core.factor cimport MODERATE, Factor, factor_over, factor_over_count
from cylosses._core.job cimport VALUES, Job, Operand
from cylosses._core.layout cimport lies_in_blocks
from cylosses._core.memory.position cimport slice_start
from cylosses._core.memory.strided cimport read_strided
from cylosses._core.slices.quotients cimport Quotients, divide_to_doubles, divide_to_singles
from cylosses._core.slices.sums cimport (
    ROWS_IN_ONE, ROWS_IN_TWO, Columns, Grid, add_near_sums, add_row, add_up, begin_columns, begin_sums, bits_of_count, join_columns,
    join_spans, spannable, sum_measured, sum_slices,
)
from cylosses._core.summation.bins cimport BLOCK
from cylosses._core.summation.exact_sums cimport ExactSums
from cylosses._core.summation.exponent_range cimport ExponentRange, measure
from cylosses._core.summation.lanes cimport whole_lanes
from cylosses._core.summation.superaccumulator cimport Superaccumulator, add_count, clear, deposit

ctypedef void (*SumAlone)(Job* job, Py_ssize_t number) noexcept nogil

cdef enum:
    ARRAYS = 10             # of doubles
    PRODUCT_BITS = 48       # of two float32
    USUAL_SPAN = 64         # binades that squares of residuals may span, and ROOM_ABOVE

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
    Py_ssize_t parts        # of each column, which are summed apart
    # Sums high + low + rest and divisors of `width` slices.
    Py_ssize_t width
    double* high
    double* low
    double* rest
    double* divisor
    double* divisor_low
    double* divisor_rest
    uint8_t* wide           # slices that must be summed alone
    bint has_low            # else the low sums are 0
    bint has_rest
    double error            # what each sum may be off by
    ExponentRange weight_exponents      # of the weights of a block with whole slices
    Py_ssize_t divisors_of  # the start of the block that the divisors are of
    # (factor + factor_low) * 2**factor_exponent is the incoming gradient of a slice over its divisor.
    double* factor
    double* factor_low
    double* factor_exponent
    bint has_exponents      # they are not all 0, or some factors are not finite, which must go the same way
    Columns terms           # the same arrays, where columns go on
    Columns weights


cdef inline bint divides(const Job* job) noexcept nogil:
    return job.divide or job.factors is not NULL or job.finds_factors or job.totals is not NULL


cdef inline void set_columns(
    SliceSums* slices, Columns* columns, int bits, Py_ssize_t k, double* high, double* low, double* rest, double* near
) noexcept nogil:
    cdef Py_ssize_t usual = 2 + 2 * (k // slices.parts) // (ROWS_IN_ONE if bits == 24 else ROWS_IN_TWO)
    cdef bint has_rest = bits == 53 or spannable(k, slices.parts, usual, bits, False) < USUAL_SPAN
    columns.width, columns.high, columns.low, columns.near, columns.wide = slices.width, high, low, near, slices.wide
    columns.rest = rest if has_rest else NULL
    columns.near_low = near + slices.width if bits == 53 else NULL
    columns.limit = spannable(k, slices.parts, usual, bits, has_rest)
    columns.empty, columns.rows, columns.begun = True, 0, False
    columns.few_rows = bits == 24 and k <= ROWS_IN_ONE and slices.parts == 1 and not slices.weighed


cdef inline void set_slices(
    SliceSums* slices, Job* one, const Job* job, SumAlone sum_alone, char* memory, Py_ssize_t width, Py_ssize_t parts
) noexcept nogil:
    """Begin sums of `width` slices at once, in memory for ARRAYS doubles and a byte of each."""
    cdef Py_ssize_t k = job.terms, i
    cdef double divisor = <double> k if divides(job) else 1
    cdef bint has_weights = job.weight.data is not NULL
    slices.one, slices.sum_alone = one, sum_alone
    slices.in_block = lies_in_blocks(job)
    slices.weighed = has_weights and divides(job)
    slices.counted = not has_weights and job.where.data is not NULL and divides(job)
    slices.bits = 24 if job.single and not (has_weights and job.term == VALUES) else 53
    slices.weight_bits = 24 if has_weights and fits_24_bits(job.weight.storage) else 53
    slices.first = slices.column = 0
    slices.width, slices.parts = width, parts
    slices.high = <double*> memory
    slices.low, slices.rest = slices.high + width, slices.high + 2 * width
    slices.divisor, slices.divisor_low, slices.divisor_rest = slices.high + 3 * width, slices.high + 4 * width, slices.high + 5 * width
    slices.wide = <uint8_t*> (slices.high + ARRAYS * width)
    slices.has_rest = False
    slices.has_low = not slices.in_block
    slices.error = 0
    slices.divisors_of = -1
    slices.factor = slices.high + 6 * width
    slices.factor_low, slices.factor_exponent = slices.factor + width, slices.factor + 2 * width
    for i in range(width):
        slices.divisor[i] = divisor
    memset(slices.wide, 0, width)
    if not slices.in_block:
        set_columns(
            slices, &slices.terms, slices.bits, k, slices.high, slices.low, slices.rest, slices.high + 6 * width
        )
        slices.has_rest = slices.terms.rest is not NULL
        set_columns(
            slices, &slices.weights, slices.weight_bits, k, slices.divisor, slices.divisor_low, slices.divisor_rest,
            slices.high + 8 * width,
        )


cdef inline void begin_rows(SliceSums* slices) noexcept nogil:
    """Forget the sums of columns."""
    begin_columns(&slices.terms)
    if slices.weighed:
        begin_columns(&slices.weights)
    elif slices.counted:
        memset(slices.divisor, 0, slices.width * sizeof(double))
    memset(slices.wide, 0, slices.width)
    slices.error = 0


cdef inline Quotients quotients_of(const SliceSums* slices) noexcept nogil:
    cdef Quotients of
    of.high = slices.high
    of.low = slices.low if slices.has_low else NULL
    of.rest = slices.rest if slices.has_rest else NULL
    of.divisor = slices.divisor
    of.divisor_low = slices.divisor_low if slices.weighed else NULL
    of.error, of.divisor_is_known = slices.error, not (slices.weighed or slices.counted)
    return of


# ---- one block -------------------------------------------------------------------------------------------------------------------

cdef inline Grid grid_of(const Job* job, Py_ssize_t n) noexcept nogil:
    cdef Grid grid
    grid.groups, grid.terms, grid.columns = n // (job.terms * job.columns), job.terms, job.columns
    return grid


cdef inline void add_slices(
    const Job* job, SliceSums* slices, Py_ssize_t start, floating* terms, double* weights, const floating* selected, Py_ssize_t n
) noexcept nogil:
    """Add n elements from `start` on: terms, their weights, and what a mask selects; those that the job lacks are NULL. All are padded
    with zeros to a multiple of LANES. Sums of columns may set terms and weights to 0, so neither may be stored afterwards: terms are
    never an elementwise result as well.
    """
    cdef Grid grid = grid_of(job, n)
    cdef Py_ssize_t at = 0
    if slices.in_block:
        slices.error, slices.has_rest, slices.has_low = 0, False, False
    elif job.columns > BLOCK:
        at = start % job.columns - slices.column
    if slices.in_block and slices.divisors_of != start:
        add_divisors(slices, &grid, at, weights, selected, n)
    if terms is not NULL and job.weight.data is not NULL and job.term == VALUES:
        add_weighted_terms(job, slices, &grid, at, terms, <const double*> weights, n)
    elif terms is not NULL:
        add_terms(slices, &grid, at, terms, n)
    if not slices.in_block:         # changes the weights
        add_divisors(slices, &grid, at, weights, selected, n)
    else:
        write_slices(job, slices, start // job.terms, grid.groups * grid.columns)


cdef inline void add_terms(SliceSums* slices, const Grid* grid, Py_ssize_t at, floating* terms, Py_ssize_t n) noexcept nogil:
    if slices.in_block:
        slices.has_low = sum_slices(<const floating*> terms, grid, slices.bits, slices.high, slices.low, slices.wide)
    else:
        add_row(&slices.terms, at, terms, n)


cdef inline void add_weighted_terms(
    const Job* job, SliceSums* slices, const Grid* grid, Py_ssize_t at, const floating* terms, const double* weights, Py_ssize_t n
) noexcept nogil:
    """Add terms * weights. Low words of the products are summed plainly: they decide only where a result could round either way."""
    cdef double product[BLOCK]
    cdef double low[BLOCK]
    cdef double largest = 0
    cdef ExponentRange exponents
    cdef Py_ssize_t i, padded = whole_lanes(n)
    cdef Products products = multiply(job, terms, weights, padded, <double*> product, <double*> low)
    if products == LOST_PRODUCTS:
        memset(slices.wide + at, True, grid.groups * grid.columns if slices.in_block else n)
        return
    if products == EXACT_PRODUCTS and slices.in_block and slices.weighed:
        exponents = measure(terms, padded)          # takes less time than for the products
        if exponents.binnable and slices.weight_exponents.binnable and not (exponents.empty or slices.weight_exponents.empty):
            exponents.top += slices.weight_exponents.top + 1
            exponents.bottom += slices.weight_exponents.bottom
            slices.has_low = sum_measured(
                <const double*> product, grid, PRODUCT_BITS, exponents, slices.high, slices.low, slices.wide
            )
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
        begin_sums(&slices.terms)
        for i in range(n):
            slices.terms.rest[at + i] += low[i]
    # Each addition, of one term more than the last, is off by at most 2**-53 of it.
    slices.error = max(slices.error, largest * <double> grid.terms * <double> grid.terms * power_of_two(-50))


cdef inline void add_divisors(
    SliceSums* slices, const Grid* grid, Py_ssize_t at, double* weights, const floating* selected, Py_ssize_t n
) noexcept nogil:
    if slices.weighed:
        add_weights(slices, grid, at, weights, n)
    elif slices.counted:
        add_counts(slices, grid, at, selected, n)


cdef inline void add_weights(SliceSums* slices, const Grid* grid, Py_ssize_t at, double* weights, Py_ssize_t n) noexcept nogil:
    if not slices.in_block:
        add_row(&slices.weights, at, weights, n)
        return
    slices.weight_exponents = measure(<const double*> weights, whole_lanes(n))
    if not sum_measured(
        <const double*> weights, grid, slices.weight_bits, slices.weight_exponents, slices.divisor, slices.divisor_low, slices.wide
    ):
        memset(slices.divisor_low, 0, grid.groups * grid.columns * sizeof(double))


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
    """Make each sum of weights the rounded sum of its words, and the low word what that lacks."""
    cdef double low, lost
    cdef Py_ssize_t i
    if not slices.weighed:
        return
    for i in range(n):
        slices.divisor[i] = two_sum(slices.divisor[i], slices.divisor_low[i], &low)
        if not slices.in_block and slices.weights.rest is not NULL:
            low = two_sum(low, slices.divisor_rest[i], &lost)
            slices.wide[i] |= lost != 0
            slices.divisor[i] = two_sum(slices.divisor[i], low, &low)
        slices.divisor_low[i] = low


cdef inline outlined write_slices(const Job* job, SliceSums* slices, Py_ssize_t first, Py_ssize_t n) noexcept nogil:
    """Round the sums of n slices from `first` on, and write what the job wants of them."""
    cdef Quotients of
    cdef uint8_t* wide
    cdef Py_ssize_t i
    if job.factors is not NULL:
        write_factors(job, slices, first, n)
    elif job.totals is not NULL:
        add_to_totals(job, slices, first, n)
    elif job.result is not NULL:
        normalise_divisors(slices, n)
        of = quotients_of(slices)
        if job.single:
            divide_to_singles(&of, n, <float*> job.result + first, slices.wide)
        else:
            divide_to_doubles(&of, n, <double*> job.result + first, slices.wide)
    wide = <uint8_t*> memchr(slices.wide, True, n)
    while wide is not NULL:
        i = wide - slices.wide
        slices.sum_alone(slices.one, first + i)
        slices.wide[i] = False
        wide = <uint8_t*> memchr(slices.wide + i, True, n - i)


cdef inline outlined add_to_totals(const Job* job, const SliceSums* slices, Py_ssize_t first, Py_ssize_t n) noexcept nogil:
    """Add the sums, which have no weights, to what the caller has of each slice."""
    cdef ExactSums* total
    cdef uint64_t count
    cdef Py_ssize_t i
    for i in range(n):
        if not slices.wide[i]:
            total = &job.totals[first + i]
            deposit(&total.losses, slices.high[i])
            if slices.has_low:
                deposit(&total.losses, slices.low[i])
            if slices.has_rest:
                deposit(&total.losses, slices.rest[i])
            count = <uint64_t> slices.divisor[i]
            add_count(&total.weights, count)
            total.count += count


cdef inline bint set_low_word(const SliceSums* slices, Py_ssize_t i, double dividend, double factor, double* low) noexcept nogil:
    """Write what a factor lacks of the quotient, to 64 bits in all as in factor.pxd; False where that cannot be told from here."""
    cdef double d = slices.divisor[i], p = factor * d, size = fabs(factor), unit, lacks, units
    lacks = ((dividend - p) - product_low(factor, d, p)) - factor * slices.divisor_low[i]
    low[0] = 0
    if lacks == 0:
        return slices.divisor_low[i] == 0
    lacks = (lacks if factor > 0 else -lacks) / d
    unit = power_of_two(exponent_of(size) - 63)
    if lacks < 0 and size == power_of_two(exponent_of(size)):           # the quotient lies below the power of two that it is rounded to
        unit = unit / 2
    units = lacks / unit
    low[0] = (units + 6755399441055744.0) - 6755399441055744.0         # 1.5 * 2**52: to nearest
    if fabs(units - low[0]) < power_of_two(-20):
        return False
    low[0] = (low[0] if low[0] < units else low[0] - 1) * (unit if factor > 0 else -unit)
    return True


cdef inline bint divide(double dividend, double reciprocal, double d, double d_low, double* factor) noexcept nogil:
    """Write dividend / (d + d_low), rounded once; false if that could round to another number, or is not moderate.

    `reciprocal` is that of the dividend. A quotient of two float64 is never halfway between two others.
    """
    cdef double q = dividend / d, p = q * d, r = (dividend - p) - product_low(q, d, p), of_low = q * d_low
    cdef double correction = (r - of_low) * (q * reciprocal)
    cdef double doubt = (fabs(r) + fabs(of_low)) * fabs(q * reciprocal) * power_of_two(-48)
    factor[0] = q + correction
    return (
        (q + (correction + doubt) == q + (correction - doubt)) & (power_of_two(-MODERATE) <= fabs(q))
        & (fabs(q) < power_of_two(MODERATE)) & (fabs(dividend) >= power_of_two(-900))       # so that low words are normal
    )


cdef inline bint divide_by_all(
    const double* divisors, const double* lows, Py_ssize_t n, double dividend, double* factors
) noexcept nogil:
    """divide() one dividend by each divisor, whose low words are 0 if NULL; whether it did for all."""
    cdef double reciprocal = 1 / dividend
    cdef int64_t failed = 0
    cdef Py_ssize_t i
    for i in range(n):
        failed |= not divide(dividend, reciprocal, divisors[i], lows[i] if lows is not NULL else 0, factors + i)
    return failed == 0


cdef inline bint is_one_number(const Job* job, const Operand* operand) noexcept nogil:
    """Whether all slices have the same number."""
    cdef int k
    for k in range(job.outer):
        if operand.strides[k]:
            return False
    return True


cdef inline outlined make_factors(
    const Job* job, SliceSums* slices, Py_ssize_t first, Py_ssize_t n, double* factors, double* lows, double* exponents
) noexcept nogil:
    """Write the factors that the incoming gradients of n slices from `first` on make with their divisors. Slices whose factors must be
    made alone are marked, and have their incoming gradient in place of the sum.
    """
    cdef const Job* one = slices.one
    cdef double dividend
    cdef Py_ssize_t i
    cdef bint has_lows = slices.weighed and not job.single
    normalise_divisors(slices, n)
    memset(lows, 0, n * sizeof(double))
    memset(exponents, 0, n * sizeof(double))
    if is_one_number(one, &one.dividend) and not has_lows and memchr(slices.wide, True, n) is NULL:
        read_strided(one.dividend.storage, one.dividend.data, 0, one.dividend.swapped, 1, &dividend)
        if divide_by_all(slices.divisor, slices.divisor_low if slices.weighed else NULL, n, dividend, factors):
            return
    for i in range(n):
        read_strided(one.dividend.storage, slice_start(one, &one.dividend, first + i), 0, one.dividend.swapped, 1, &dividend)
        slices.high[i] = dividend
        if slices.wide[i]:
            continue
        if slices.divisor[i] == 0 or dividend == 0:
            factors[i] = dividend if slices.divisor[i] else 0
        elif not divide(
            dividend, 1 / dividend, slices.divisor[i], slices.divisor_low[i] if slices.weighed else 0, factors + i
        ) or (has_lows and not set_low_word(slices, i, dividend, factors[i], lows + i)):
            slices.wide[i] = True


cdef inline void write_factors(const Job* job, SliceSums* slices, Py_ssize_t first, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t all_slices = slices.one.slices
    cdef double* factors = job.factors + first
    make_factors(job, slices, first, n, factors, factors + all_slices, factors + 2 * all_slices)


cdef inline void find_factors(
    const Job* job, SliceSums* slices, Py_ssize_t start, double* weights, const floating* selected, Py_ssize_t n
) noexcept nogil:
    """Make the factors of the slices of a block. Weights are padded with zeros to a multiple of LANES."""
    cdef Grid grid = grid_of(job, n)
    cdef Py_ssize_t count = grid.groups * grid.columns, i, k
    cdef const double* of_slice
    cdef Superaccumulator total
    cdef Factor factor
    add_divisors(slices, &grid, 0, weights, selected, n)
    slices.divisors_of = start
    make_factors(job, slices, start // job.terms, count, slices.factor, slices.factor_low, slices.factor_exponent)
    slices.has_exponents = False
    if memchr(slices.wide, True, count) is NULL:
        return
    for i in range(count):
        if slices.wide[i]:
            slices.wide[i] = job.term == VALUES         # then the quotient is no more certain
            clear(&total)
            if slices.weighed:
                of_slice = weights + i // grid.columns * grid.terms * grid.columns + i % grid.columns
                for k in range(grid.terms):
                    deposit(&total, of_slice[k * grid.columns])
                factor = factor_over(slices.high[i], &total)
            else:
                factor = factor_over_count(slices.high[i], <uint64_t> slices.divisor[i])
            slices.factor[i], slices.factor_low[i], slices.factor_exponent[i] = factor.high, factor.low, factor.exponent
            slices.has_exponents = slices.has_exponents or factor.exponent != 0 or not factor.high - factor.high == 0


cdef inline void spread(const Job* job, const double* of_slices, Py_ssize_t n, double* to) noexcept nogil:
    """Write the number of each slice of a block to each of its elements."""
    cdef Grid grid = grid_of(job, n)
    cdef Py_ssize_t g, k, c
    if grid.columns == 1 and grid.terms == 4:           # boxes; compilers vectorise loops over rows of a length that they know
        for g in range(grid.groups):
            for k in range(4):
                to[4 * g + k] = of_slices[g]
    elif grid.columns == 1:
        for g in range(grid.groups):
            for k in range(grid.terms):
                to[g * grid.terms + k] = of_slices[g]
    else:
        for g in range(grid.groups):
            for k in range(grid.terms):
                for c in range(grid.columns):
                    to[(g * grid.terms + k) * grid.columns + c] = of_slices[g * grid.columns + c]


# ---- columns ---------------------------------------------------------------------------------------------------------------------

cdef inline void add_part(SliceSums* slices, const SliceSums* others, Py_ssize_t at, Py_ssize_t n) noexcept nogil:
    """Add n sums of others, which lie from `at` on, to the first ones here."""
    cdef Py_ssize_t i
    join_columns(&slices.terms, &others.terms, at, n)
    if slices.weighed:
        join_columns(&slices.weights, &others.weights, at, n)
    elif slices.counted:
        for i in range(n):
            slices.divisor[i] += others.divisor[at + i]


cdef inline void end_rows(SliceSums* slices) noexcept nogil:
    """No row comes any more: have all sums in the arrays of the slices."""
    if slices.parts == 1 and not slices.terms.begun and not slices.weighed:
        slices.high, slices.low = slices.terms.near, slices.terms.near_low
        slices.has_low, slices.has_rest = slices.low is not NULL, False
        return
    add_near_sums(&slices.terms)
    slices.high, slices.low, slices.rest = slices.terms.high, slices.terms.low, slices.terms.rest
    slices.has_low, slices.has_rest = True, slices.rest is not NULL
    if slices.weighed:
        add_near_sums(&slices.weights)
        slices.divisor, slices.divisor_low, slices.divisor_rest = slices.weights.high, slices.weights.low, slices.weights.rest


cdef inline void add_others(SliceSums* slices, const SliceSums* others) noexcept nogil:
    """Add the sums of another thread, of the same columns."""
    add_part(slices, others, 0, slices.width)
    join_spans(&slices.terms, &others.terms)
    if slices.weighed:
        join_spans(&slices.weights, &others.weights)
    slices.error = max(slices.error, others.error)


cdef inline bint is_exact(const Job* job, const SliceSums* slices, const Columns* columns, int bits) noexcept nogil:
    return columns.empty or columns.top - columns.bottom <= spannable(
        job.terms, slices.parts, columns.additions, bits, columns.rest is not NULL
    )


cdef inline outlined write_columns(const Job* job, SliceSums* slices, Py_ssize_t n) noexcept nogil:
    """Round the sums of n columns, which may lie in several parts, and write what the job wants of them."""
    cdef Py_ssize_t k
    if job.columns <= BLOCK:
        for k in range(1, slices.width // n):
            add_part(slices, slices, k * n, n)
    if slices.error:                # then the rest is not exact either
        slices.error += power_of_two(max(slices.terms.top + 3 * bits_of_count(job.terms) - 140, -1022))
    if not (
        is_exact(job, slices, &slices.terms, slices.bits)
        and (not slices.weighed or is_exact(job, slices, &slices.weights, slices.weight_bits))
    ):
        memset(slices.wide, True, n)
    write_slices(job, slices, slices.first, n)
