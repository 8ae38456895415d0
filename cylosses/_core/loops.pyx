"""ALL the loops: elementwise results and exact sums, block by block, one pass over the data.

Decisions, with their reasons:

(a) Work goes in blocks of up to 1024 elements whose intermediate arrays (differences' losses, gradients, weights) stay in the L1 cache.
    The loops over a block are short and plain, so that compilers vectorise them; only the first of them depends on the loss. It goes
    in whole units, without code for what is left over, which `fill` pads: that keeps the loops small, and inlining in its budget.
(b) The loss is picked once a block, by one row of a table (`fill`), never per element.
(c) Results are elementwise or exact sums, so they do not depend on where blocks end: neither on threads nor on layout.
(d) Layouts and dtypes other than the direct one are staged through buffers of one block; runs that are contiguous are read in place.
(e) A serial branch stands beside each parallel one: entering the OpenMP runtime costs more than a small call.
(f) Worker threads may have inherited a floating-point mode that flushes subnormals or rounds otherwise; each pass sets the
    default mode and puts the old one back.
"""
from cython cimport floating
from cython.parallel cimport prange
from libc.math cimport fabs, fma
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from cylosses._core.bits cimport Bits32, power_of_two
from cylosses._core.error_free cimport float_to_odd, product_to_odd
from cylosses._core.summation.bins cimport BLOCK, QUARTER, Bins, add_to_bins, clear_bins, close_bins
from cylosses._core.summation.block cimport add_block, add_quarter
from cylosses._core.summation.columns cimport ColumnSums, clear_column_sums, deposit_column_sums
from cylosses._core.summation.exponent_range cimport ExponentRange, measure
from cylosses._core.summation.lanes cimport LANES
from cylosses._core.summation.rounding cimport round_quotient
from cylosses._core.summation.superaccumulator cimport Superaccumulator, add_count, clear, deposit_product, merge
from cylosses._core.factor cimport (
    MODERATE, Factor, factor_over, factor_over_count, significand_of, times_factor, times_weight,
)
from cylosses._core.formulas cimport (
    CHARBONNIER, EPSILON_INSENSITIVE, HUBER, L1, MSE, PSEUDO_HUBER, QUANTILE, SMOOTH_L1, TUKEY, derivative, irls_weight,
    second_derivative, value,
)
from cylosses._core.job cimport (
    BFLOAT16, DERIVATIVE, FLOAT16, FLOAT32, GRADIENTS, HESSIANS, INT16, INT8, IRLS_WEIGHT, MM_CURVATURE, SCALED_DERIVATIVE,
    SECOND_DERIVATIVE, SUM_OF_VALUES, UINT16, UINT8, UNIT_CURVATURE, VALUE, VALUES, WEIGHTS, Job, Operand, Quantity,
)
from cylosses._core.mode cimport cylosses_mode, restore_mode, set_default_mode
from cylosses._core.parameters cimport (
    Loss, has_exact_inverse, make_charbonnier, make_epsilon_insensitive, make_huber, make_l1, make_mse, make_pseudo_huber, make_quantile,
    make_smooth_l1, make_smooth_l1_power_of_two, make_tukey,
)
from cylosses._core.memory.gather cimport gather, gather_differences, has_wide_integers
from cylosses._core.memory.half cimport narrowed
from cylosses._core.memory.position cimport (
    SHORT_ROW, Position, copy_position, has_contiguous_rows, has_distant_rows, has_transposed_rows, left_in_row, locate, seek, skip,
    slice_start,
)
from cylosses._core.memory.scatter cimport scatter
from cylosses._core.memory.storage cimport format_of, size_of
from cylosses._core.memory.streaming cimport CACHE_LINE, copy_lines_past_cache, fence_stores, prefetch
from cylosses._core.memory.strided cimport read_strided, write_strided

cdef extern from *:
    """
    #ifdef __FAST_MATH__
    #error "cylosses cannot be exact under -ffast-math: build it without"
    #endif
    #include <float.h>
    #if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16   /* 16: as 0, for more types */
    #error "cylosses cannot be exact where float and double are computed wider than they are, as on an x87: use SSE2"
    #endif
    #ifdef _MSC_VER                 /* before 2022, /fp:precise alone contracts to fused multiply-add */
    #pragma fp_contract (off)
    #endif
    #ifdef _OPENMP
    #include <omp.h>
    #define CYLOSSES_OPENMP _OPENMP
    /* LLVM's runtime answers a negative number for OMP_NUM_THREADS=-1. */
    #define CYLOSSES_ALLOWED_THREADS() (omp_get_max_threads() > 0 ? omp_get_max_threads() : 1)
    #if (defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 9) || _OPENMP >= 201811    /* libgomp had it early */
    #define CYLOSSES_RELEASE_THREADS() omp_pause_resource_all(omp_pause_hard)
    #else
    #define CYLOSSES_RELEASE_THREADS() ((void)0)
    #endif
    #else
    #define CYLOSSES_OPENMP 0
    #define CYLOSSES_ALLOWED_THREADS() 1
    #define CYLOSSES_RELEASE_THREADS() ((void)0)
    #endif
    #ifndef CYLOSSES_FLAGS
    #define CYLOSSES_FLAGS "unknown"
    #endif
    #if defined(__AVX512F__)
    #define CYLOSSES_ISA "x86-64-v4"
    #elif defined(__AVX2__)
    #define CYLOSSES_ISA "x86-64-v3"
    #elif defined(__SSE4_2__)
    #define CYLOSSES_ISA "x86-64-v2"
    #else
    #define CYLOSSES_ISA "baseline"
    #endif
    #if defined(__VERSION__)
    #if defined(__clang__)
    #define CYLOSSES_COMPILER __VERSION__
    #else
    #define CYLOSSES_COMPILER "gcc " __VERSION__
    #endif
    #elif defined(_MSC_VER)
    #define CYLOSSES_COMPILER "msvc"
    #else
    #define CYLOSSES_COMPILER "unknown"
    #endif
    """
    const long OPENMP "CYLOSSES_OPENMP"
    int CYLOSSES_ALLOWED_THREADS() noexcept nogil
    void CYLOSSES_RELEASE_THREADS() noexcept nogil
    const char* ISA "CYLOSSES_ISA"
    const char* COMPILER "CYLOSSES_COMPILER"
    const char* FLAGS "CYLOSSES_FLAGS"


# ---- what a thread has summed ----------------------------------------------------------------------------------------------------

cdef struct Part:
    Superaccumulator total
    Superaccumulator weights
    ColumnSums tally             # what total still lacks, as the next two
    Bins of_total
    Bins of_rests           # the last places of products, which have a grid of their own
    ColumnSums tally_of_weights
    Bins of_weights
    uint64_t count
    bint bad_weight


cdef inline void clear_part(Part* part, const Job* job) noexcept nogil:
    clear(&part.total)
    clear_column_sums(&part.tally)
    clear_bins(&part.of_total)
    clear_bins(&part.of_rests)
    clear_bins(&part.of_weights)
    if job.weight.data is not NULL:
        clear(&part.weights)
        clear_column_sums(&part.tally_of_weights)
    part.count = 0
    part.bad_weight = False


# ---- the only loops that depend on the loss --------------------------------------------------------------------------------------

cdef enum:
    WORTH_ALIGNING = 8192   # elements
    # Bytes by which contiguous operands that are only summed are prefetched, beyond the caches. Within, and where results are stored,
    # hardware prefetchers do better alone; half the distance is slower than none.
    AHEAD = 4096
    UNIT = 32               # elements; gcc unrolls loops of 16 early, and then they stay scalar
    PIECE = 128             # elements that are computed before they are stored past the cache

cdef struct Pair:
    # A block of both inputs in the working type, and how many bytes ahead of each element to prefetch; 0: not at all.
    const void* input
    const void* target
    Py_ssize_t input_ahead
    Py_ssize_t target_ahead
    bint past_cache         # whether to store results, which begin where a cache line does, past the cache
    double scale            # of a scaled derivative, not used for anything else


cdef inline void fill_units(
    Loss loss, Quantity quantity, const floating* input, const floating* target, double scale, floating* out, Py_ssize_t n
) noexcept nogil:
    """Whole units, so that there is no code for what is left over."""
    cdef Py_ssize_t i, k
    if quantity == VALUE:
        for k in range(n // UNIT):
            for i in range(UNIT):
                out[k * UNIT + i] = value(loss, input[k * UNIT + i] - target[k * UNIT + i])
    elif quantity == DERIVATIVE:
        for k in range(n // UNIT):
            for i in range(UNIT):
                out[k * UNIT + i] = derivative(loss, input[k * UNIT + i] - target[k * UNIT + i])
    elif quantity == SCALED_DERIVATIVE:
        for k in range(n // UNIT):
            for i in range(UNIT):
                out[k * UNIT + i] = <floating> (derivative(loss, input[k * UNIT + i] - target[k * UNIT + i]) * scale)
    elif quantity == SECOND_DERIVATIVE:
        for k in range(n // UNIT):
            for i in range(UNIT):
                out[k * UNIT + i] = second_derivative(loss, input[k * UNIT + i] - target[k * UNIT + i])
    else:
        for k in range(n // UNIT):
            for i in range(UNIT):
                out[k * UNIT + i] = irls_weight(loss, input[k * UNIT + i] - target[k * UNIT + i])


cdef void fill_loss(Loss loss, Quantity quantity, const Pair* pair, floating* out, Py_ssize_t n) noexcept nogil:
    """Whole units. What is stored past the cache is first computed in a small buffer, whose lines seldom are in the way of loads: in
    a large one, each load would wait for a store to an address that looks the same in its last 12 bits.
    """
    cdef const floating* input = <const floating*> pair.input
    cdef const floating* target = <const floating*> pair.target
    cdef floating piece[PIECE]
    cdef Py_ssize_t step
    while n:
        step = n if n < PIECE else PIECE
        if pair.input_ahead or pair.target_ahead:       # hardware prefetchers do not know where the next run is
            prefetch(<const char*> input + pair.input_ahead, step * sizeof(floating))
            prefetch(<const char*> target + pair.target_ahead, step * sizeof(floating))
        fill_units(loss, quantity, input, target, pair.scale, <floating*> piece if pair.past_cache else out, step)
        if pair.past_cache:
            copy_lines_past_cache(<char*> out, piece, step * sizeof(floating))
        input += step
        target += step
        out += step
        n -= step


cdef void sum_loss(Loss loss, const Pair* pair, Py_ssize_t n, Part* part, const floating* working_type) noexcept nogil:
    """Whole parts."""
    cdef const floating* input = <const floating*> pair.input
    cdef const floating* target = <const floating*> pair.target
    cdef floating terms[QUARTER]
    cdef Py_ssize_t _
    for _ in range(n // QUARTER):
        if pair.input_ahead or pair.target_ahead:
            prefetch(<const char*> input + pair.input_ahead, QUARTER * sizeof(floating))
            prefetch(<const char*> target + pair.target_ahead, QUARTER * sizeof(floating))
        fill_units(loss, VALUE, input, target, 1, <floating*> terms, QUARTER)
        if not add_quarter(&part.total, &part.of_total, &part.tally, <floating*> terms):
            add_to_bins(&part.total, &part.of_total, <floating*> terms, QUARTER)
        input += QUARTER
        target += QUARTER


cdef void loop_over(Loss loss, Quantity quantity, const Pair* pair, floating* out, Py_ssize_t n, Part* part) noexcept nogil:
    if quantity == SUM_OF_VALUES:
        sum_loss(loss, pair, n, part, <const floating*> NULL)
    else:
        fill_loss(loss, quantity, pair, out, n)


cdef void for_loss(
    const Job* job, Quantity quantity, const Pair* pair, floating* out, Py_ssize_t n, Part* part
) noexcept nogil:
    """The dispatch table: one row a loss."""
    cdef double parameter = job.parameter
    if job.loss == SMOOTH_L1 and has_exact_inverse(parameter, floating is float):
        loop_over(make_smooth_l1_power_of_two(parameter), quantity, pair, out, n, part)
    elif job.loss == SMOOTH_L1 and parameter > 0:
        loop_over(make_smooth_l1(parameter), quantity, pair, out, n, part)
    elif job.loss == L1 or job.loss == SMOOTH_L1:
        loop_over(make_l1(), quantity, pair, out, n, part)
    elif job.loss == MSE:
        loop_over(make_mse(), quantity, pair, out, n, part)
    elif job.loss == HUBER:
        loop_over(make_huber(parameter, floating is float), quantity, pair, out, n, part)
    elif job.loss == TUKEY:
        loop_over(make_tukey(parameter), quantity, pair, out, n, part)
    elif job.loss == QUANTILE:
        loop_over(make_quantile(parameter), quantity, pair, out, n, part)
    elif job.loss == EPSILON_INSENSITIVE:
        loop_over(make_epsilon_insensitive(parameter), quantity, pair, out, n, part)
    elif job.loss == PSEUDO_HUBER:
        loop_over(make_pseudo_huber(parameter), quantity, pair, out, n, part)
    elif job.loss == CHARBONNIER:
        loop_over(make_charbonnier(parameter), quantity, pair, out, n, part)


cdef void fill(const Job* job, Quantity quantity, const Pair* pair, floating* out, Py_ssize_t n) noexcept nogil:
    """Have out[:n] computed; what is less than a unit together with elements to spare."""
    cdef floating input[UNIT]
    cdef floating target[UNIT]
    cdef floating unit[UNIT]
    cdef Pair rest
    cdef Py_ssize_t whole = n // UNIT * UNIT
    if whole:
        for_loss(job, quantity, pair, out, whole, NULL)
    if whole < n:
        rest.input, rest.target = input, target
        rest.input_ahead = rest.target_ahead = 0
        rest.past_cache = False
        rest.scale = pair.scale
        memset(input, 0, sizeof(input))
        memset(target, 0, sizeof(target))
        memcpy(input, <const floating*> pair.input + whole, (n - whole) * sizeof(floating))
        memcpy(target, <const floating*> pair.target + whole, (n - whole) * sizeof(floating))
        for_loss(job, quantity, &rest, <floating*> unit, UNIT, NULL)
        memcpy(out + whole, unit, (n - whole) * sizeof(floating))


# ---- one block -------------------------------------------------------------------------------------------------------------------

ctypedef fused Weight:          # of a type of their own beside values of type `floating`
    float
    double


cdef inline Py_ssize_t pad(floating* terms, Py_ssize_t n) noexcept nogil:
    """Fill up with zeros to a multiple of LANES."""
    cdef Py_ssize_t padded = (n + LANES - 1) // LANES * LANES
    memset(terms + n, 0, (padded - n) * sizeof(floating))
    return padded


cdef inline const floating* stage(
    const Job* job, const Operand* operand, char* data, Py_ssize_t start, const Position* here, const Position* next, Py_ssize_t n,
    floating* buffer, Py_ssize_t* ahead
) noexcept nogil:
    """Elements start .. start + n, the first of which lies at the place `here`, as a contiguous array: in place if possible."""
    cdef const floating* found
    ahead[0] = 0
    if operand.direct:
        return <const floating*> data + start
    if has_contiguous_rows(job, operand) and left_in_row(here, job, n) == n:
        found = <const floating*> locate(here, job, operand, data)
        if next is not NULL:
            ahead[0] = locate(next, job, operand, data) - <const char*> found
        return found
    gather(job, operand, data, here, next, n, buffer)
    return buffer


cdef inline Py_ssize_t line_of(const Job* job) noexcept nogil:
    """Elements of a cache line."""
    return CACHE_LINE // 4 if job.single else CACHE_LINE // 8


cdef inline bint stores_past_cache(const Job* job) noexcept nogil:
    """Whether there are outputs that are stored past the cache: then parts of cache lines cost more than whole ones."""
    return job.bypass_cache and (job.value.data is not NULL or job.gradient.data is not NULL or job.hessian.data is not NULL)


cdef inline Py_ssize_t step_of(const Job* job) noexcept nogil:
    """Elements of a block: whole periods of a broadcast operand, which then is staged only once, or else whole short runs, which
    come to whole cache lines if possible.
    """
    cdef Py_ssize_t unit = 0, limit = BLOCK, columns = job.shape[job.ndim - 1], line = line_of(job)
    if 0 < job.input.period <= BLOCK:
        unit = job.input.period
    if 0 < job.target.period <= BLOCK and (unit == 0 or job.target.period < unit):
        unit = job.target.period
    if job.prefetch and unit == 0 and not (has_transposed_rows(job, &job.input) or has_transposed_rows(job, &job.target)):
        # From memory, staging and computing alternate quickly, so that reading does not pause; the more so where lines hold gaps.
        limit = QUARTER if has_gaps(job, &job.input) or has_gaps(job, &job.target) else 2 * QUARTER
    if unit == 0 and 0 < columns <= SHORT_ROW:
        unit = columns
        while unit % line and 2 * unit <= limit:
            unit *= 2
        if unit % line and stores_past_cache(job):
            unit = 0
    return limit // unit * unit if unit else limit


cdef inline bint has_gaps(const Job* job, const Operand* operand) noexcept nogil:
    """Whether no more than half of what is read are elements of the operand, which needs no conversion."""
    cdef Py_ssize_t stride = operand.strides[job.ndim - 1]
    return operand.readable and (stride if stride > 0 else -stride) >= (8 if job.single else 16)


cdef inline bint stop_at_runs(const Job* job) noexcept nogil:
    """Whether blocks are to end where runs of the last dimension do: then they need no staging, and what follows is near."""
    cdef Py_ssize_t run = job.shape[job.ndim - 1]
    if run < QUARTER or (run % line_of(job) and stores_past_cache(job)):
        return False
    return (
        (has_contiguous_rows(job, &job.input) and has_distant_rows(job, &job.input))
        or (has_contiguous_rows(job, &job.target) and has_distant_rows(job, &job.target))
    )


cdef inline bint repeats(const Operand* operand, Py_ssize_t step) noexcept nogil:
    """Whether every block of `step` elements is the same as the one before."""
    return operand.period > 0 and step % operand.period == 0


cdef inline bint fits_24_bits(int storage) noexcept nogil:
    """Products of such weights with float32 are exact in float64."""
    return storage in (FLOAT32, FLOAT16, BFLOAT16, INT8, INT16, UINT8, UINT16)


cdef inline void keep_selected(const floating* selected, floating* values, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        values[i] = values[i] if selected[i] != 0 else <floating> 0


cdef inline bint are_valid(const floating* weights, Py_ssize_t n, Py_ssize_t* positive) noexcept nogil:
    """Whether all weights are finite and not negative; counts those above 0."""
    cdef floating most
    cdef Bits32 bits
    cdef uint32_t greatest = 0
    cdef Py_ssize_t i
    cdef int bad = 0, count = 0
    if floating is float:
        for i in range(n):
            bits.f = weights[i]
            greatest = bits.u if bits.u > greatest else greatest
            count += bits.u != 0
        if greatest < 0x7f800000u:          # of the rest, -0.0 is valid
            positive[0] = count
            return True
        count = 0
        most = 3.4028234663852886e38
    else:
        most = 1.7976931348623157e308
    for i in range(n):
        bad |= not 0 <= weights[i] <= most
        count += weights[i] > 0
    positive[0] = count
    return not bad


cdef void add_products(
    const Job* job, Part* part, const floating* terms, const Weight* weights, Py_ssize_t n
) noexcept nogil:
    """Add terms * weights exactly, but for terms of weight 0, whatever they are; both are padded."""
    cdef double product[BLOCK]
    cdef double rest[BLOCK]
    cdef ExponentRange spread
    cdef double term
    cdef Py_ssize_t i
    cdef int lost = 0
    if floating is float:
        if fits_24_bits(job.weight.storage):
            for i in range(n):
                term = terms[i] if weights[i] != 0 else <floating> 0
                product[i] = term * <double> weights[i]
            add_block(&part.total, &part.of_total, NULL, <double*> product, n)
            return
    for i in range(n):
        term = terms[i] if weights[i] != 0 else <floating> 0
        product[i] = term * <double> weights[i]
        rest[i] = fma(term, <double> weights[i], -product[i])
        lost |= (product[i] == 0) & (term != 0)
    spread = measure(<double*> product, n)
    # Where a product, or its last place, may have left float64's range, integers do it.
    if lost or not (spread.empty or (spread.binnable and spread.bottom > -900)):
        for i in range(n):
            if weights[i] != 0:
                deposit_product(&part.total, terms[i], weights[i])
    else:
        add_block(&part.total, &part.of_total, NULL, <double*> product, n)
        add_block(&part.total, &part.of_rests, NULL, <double*> rest, n)


cdef void add_values(const Job* job, Part* part, const Pair* pair, Py_ssize_t n, const floating* working_type) noexcept nogil:
    """Add the values of a pair."""
    cdef floating values[QUARTER]
    cdef Pair rest = pair[0]
    cdef Py_ssize_t whole = n // QUARTER * QUARTER
    rest.past_cache = False
    if whole:
        for_loss(job, SUM_OF_VALUES, pair, <floating*> NULL, whole, part)
    if whole < n:
        rest.input = <const floating*> pair.input + whole
        rest.target = <const floating*> pair.target + whole
        fill(job, VALUE, &rest, <floating*> values, n - whole)
        add_to_bins(&part.total, &part.of_total, <floating*> values, pad(<floating*> values, n - whole))


cdef inline bint wants_weights(const Job* job) noexcept nogil:
    """Whether the sum of the weights is wanted."""
    return job.weight.data is not NULL and (job.divide or job.weights is not NULL)


cdef inline void add_weighted(
    const Job* job, Part* part, const floating* terms, const floating* weights, Py_ssize_t n
) noexcept nogil:
    """Add terms * weights, and the weights if they are wanted; both are padded."""
    if n:
        add_products(job, part, terms, weights, n)
        if wants_weights(job):
            add_block(&part.weights, &part.of_weights, &part.tally_of_weights, weights, n)


cdef inline void weigh_values(const Job* job, floating* values, const double* weights, Py_ssize_t n) noexcept nogil:
    """values * weights, rounded once to the type of the result."""
    cdef Py_ssize_t i
    if floating is float:
        if job.narrow >= 0:
            for i in range(n):
                values[i] = narrowed(float_to_odd(product_to_odd(values[i], weights[i])), job.narrow)
        elif not fits_24_bits(job.weight.storage):
            for i in range(n):
                values[i] = <float> product_to_odd(values[i], weights[i])
        else:
            for i in range(n):
                values[i] = <float> (values[i] * weights[i])
    else:
        for i in range(n):
            values[i] = values[i] * weights[i]


cdef inline bint set_factors(
    const Job* job, const double* weights, const double* lows, double* factors, Py_ssize_t n, const floating* working_type
) noexcept nogil:
    """Make factors[:n], those of grad_output if there are any, what each derivative is multiplied with. False, and factors are then
    undefined, if one of the numbers is not moderate. `weights` and `lows` may be NULL.
    """
    cdef double least = power_of_two(-MODERATE), most = power_of_two(MODERATE), scale = job.scale, low = job.scale_low, size
    cdef bint each = job.grad_output.data is not NULL
    cdef Py_ssize_t i
    cdef int extreme = 0
    if job.scale_exponent != 0 or not scale - scale == 0:
        return False
    if each:
        for i in range(n):
            size = fabs(factors[i])
            extreme |= (size > most) | ((size < least) & (size != 0)) | (size != size)
            factors[i] = factors[i] * scale
    elif weights is NULL:
        for i in range(n):
            factors[i] = scale
    elif scale == 1 and low == 0:
        memcpy(factors, weights, n * sizeof(double))
        return True
    if weights is not NULL:
        for i in range(n):
            extreme |= (weights[i] > most) | ((weights[i] < least) & (weights[i] != 0))
        if floating is float:
            for i in range(n):
                factors[i] = (factors[i] if each else scale) * weights[i]
        elif lows is not NULL:
            for i in range(n):
                factors[i] = times_weight(factors[i], lows[i] * scale, weights[i])
        else:
            for i in range(n):
                factors[i] = times_weight(factors[i] if each else scale, low, weights[i])
    return not extreme


cdef void set_extreme_factors(
    const Job* job, const double* weights, const double* lows, const double* exponents, double* factors, double* shifts, Py_ssize_t n,
    const floating* working_type
) noexcept nogil:
    """set_factors() of any numbers: the factors are factors * 2**shifts."""
    cdef bint each = job.grad_output.data is not NULL
    cdef double factor, weight, low
    cdef Py_ssize_t i
    cdef int exponent, shift
    for i in range(n):
        factor = significand_of(factors[i] * job.scale if each else job.scale, &exponent)
        low = lows[i] * job.scale if lows is not NULL else job.scale_low
        if exponent != 0 and low != 0:
            low = low * power_of_two(-exponent)     # it is of a moderate number, or the exponent is 0
        exponent += job.scale_exponent
        if exponents is not NULL:
            exponent += <int> exponents[i]
        if weights is not NULL:
            weight = significand_of(weights[i], &shift)
            exponent += shift
            if floating is float or not factor - factor == 0:
                factor = factor * weight
            else:
                factor = times_weight(factor, low, weight)
        factors[i] = factor
        shifts[i] = exponent


cdef inline void scale_by(const Job* job, floating* values, const double* factors, const double* shifts, Py_ssize_t n) noexcept nogil:
    """values * scale, or values * factors if there are any, or values * factors * 2**shifts; float32 values are multiplied in float64
    and rounded once.
    """
    cdef Py_ssize_t i
    cdef double scale = job.scale
    if shifts is not NULL:
        for i in range(n):
            values[i] = <floating> times_factor(values[i], factors[i], <int> shifts[i])
    elif factors is not NULL:
        for i in range(n):
            values[i] = <floating> (values[i] * factors[i])
    elif scale != 1:
        for i in range(n):
            values[i] = <floating> (values[i] * scale)


cdef inline void narrow_block(const Job* job, floating* values, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    if job.narrow >= 0:
        for i in range(n):
            values[i] = narrowed(<float> values[i], job.narrow)


cdef inline bint can_fill(const Job* job, const Operand* output) noexcept nogil:
    """Whether results can be computed in the output itself: it is contiguous, is no operand too, and holds results as computed."""
    return (
        output.data is not NULL and output.direct and job.narrow < 0
        and not (job.bypass_cache and is_selective(job))        # past the cache, nothing is mended afterwards
        and output.data != job.input.data and output.data != job.target.data and output.data != job.weight.data
        and output.data != job.where.data and output.data != job.grad_output.data
    )


cdef inline bint is_selective(const Job* job) noexcept nogil:
    """Whether elements have factors of their own, or are left out."""
    return job.weight.data is not NULL or job.where.data is not NULL or job.grad_output.data is not NULL or job.scale_exponent != 0


cdef inline floating* place_of(
    const Job* job, bint straight, char* output, Py_ssize_t start, Py_ssize_t n, floating* buffer
) noexcept nogil:
    """Where to compute n results: in the output, if that is possible as such and, past the cache, this block has whole units there."""
    cdef char* there
    if straight:
        there = output + start * <Py_ssize_t> sizeof(floating)
        if not (job.bypass_cache and (<size_t> there % CACHE_LINE or n % UNIT)):
            return <floating*> there
    return buffer


cdef inline Py_ssize_t elements_past_line(const Job* job) noexcept nogil:
    """By how many elements an output, or without outputs the input, begins after a line of the cache: blocks then end where lines do.

    Past the cache, parts of lines cost more than whole ones; within, what lies across two lines takes as long as two. Large arrays
    have one alignment as a rule.
    """
    cdef const Operand* operand = &job.gradient
    if operand.data is NULL:
        operand = &job.value if job.value.data is not NULL else &job.hessian
    if operand.data is NULL:
        operand = &job.input
    if job.size < WORTH_ALIGNING or not (job.input.direct and job.target.direct and operand.direct):
        return 0
    return <Py_ssize_t> (<size_t> operand.data % CACHE_LINE) * line_of(job) // CACHE_LINE


cdef inline Py_ssize_t first_step(const Job* job, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t step) noexcept nogil:
    """How many of the elements start .. stop come before a line of the cache begins; if none do, up to a whole step."""
    cdef Py_ssize_t line = line_of(job), n = (start + elements_past_line(job)) % line
    n = line - n if n else step
    return n if n < stop - start else stop - start


cdef void walk(
    Job* job, Py_ssize_t number, Py_ssize_t start, Py_ssize_t stop, Part* part, const floating* working_type
) noexcept nogil:
    """Elements start .. stop of slice `number`; of working_type only the type is used."""
    cdef floating input_buffer[BLOCK]
    cdef floating target_buffer[BLOCK]
    cdef floating selected[BLOCK]
    cdef floating value_buffer[BLOCK]
    cdef floating gradient_buffer[BLOCK]
    cdef floating hessian_buffer[BLOCK]
    cdef double weights[BLOCK]
    cdef double factors[BLOCK]
    cdef double lows[BLOCK]
    cdef double shifts[BLOCK]
    cdef floating* values
    cdef floating* gradients
    cdef floating* hessians
    cdef Pair pair
    cdef const double* factor
    cdef const double* weight
    cdef const double* low
    cdef const double* shift
    cdef bint weighted = job.weight.data is not NULL, masked = job.where.data is not NULL
    cdef bint scaled_each = weighted or job.grad_output.data is not NULL or job.scale_exponent != 0
    cdef bint scaled_at_once = not scaled_each and job.scale != 1
    cdef bint want_gradient = job.gradient.data is not NULL or job.term == GRADIENTS
    cdef bint want_hessian = job.hessian.data is not NULL or job.term == HESSIANS
    cdef bint want_weights = wants_weights(job)
    cdef bint want_value = job.value.data is not NULL or job.term == VALUES
    # Values that are only summed need not be stored.
    cdef bint sum_apart = job.term == VALUES and job.value.data is NULL and job.narrow < 0 and not weighted and not masked
    cdef Py_ssize_t n, i, padded, count, step = step_of(job), first = start, run = job.shape[job.ndim - 1]
    cdef bint end_with_runs = stop_at_runs(job), whole_numbers = has_wide_integers(job)
    cdef Position here, next
    cdef const Position* following
    cdef char* input_data = slice_start(job, &job.input, number)
    cdef char* target_data = slice_start(job, &job.target, number)
    cdef char* weight_data = slice_start(job, &job.weight, number) if weighted else NULL
    cdef char* where_data = slice_start(job, &job.where, number) if masked else NULL
    cdef char* grad_output_data = slice_start(job, &job.grad_output, number) if job.grad_output.data is not NULL else NULL
    cdef char* low_data = slice_start(job, &job.grad_low, number) if job.grad_low.data is not NULL else NULL
    cdef char* exponent_data = slice_start(job, &job.grad_exponent, number) if job.grad_exponent.data is not NULL else NULL
    cdef char* value_data = slice_start(job, &job.value, number) if job.value.data is not NULL else NULL
    cdef char* gradient_data = slice_start(job, &job.gradient, number) if job.gradient.data is not NULL else NULL
    cdef char* hessian_data = slice_start(job, &job.hessian, number) if job.hessian.data is not NULL else NULL
    cdef Quantity quantity
    cdef Py_ssize_t lead = elements_past_line(job)
    cdef bint straight_value = job.term != VALUES and can_fill(job, &job.value)
    cdef bint straight_gradient = job.term != GRADIENTS and can_fill(job, &job.gradient)
    cdef bint straight_hessian = (
        job.term != HESSIANS and job.curvature != UNIT_CURVATURE and job.scale == 1 and can_fill(job, &job.hessian)
    )
    pair.scale = job.scale
    pair.past_cache = False
    if start < stop:
        seek(&here, job, start)
    while start < stop:
        n = step - (start + lead) % step
        if stop - start < n:
            n = stop - start
        if end_with_runs and run - start % run < n:
            n = run - start % run
        values = place_of(job, straight_value, value_data, start, n, <floating*> value_buffer)
        gradients = place_of(job, straight_gradient, gradient_data, start, n, <floating*> gradient_buffer)
        hessians = place_of(job, straight_hessian, hessian_data, start, n, <floating*> hessian_buffer)
        copy_position(&here, job, &next)
        skip(&next, job, n)
        following = &next if job.prefetch and start + n < job.size else NULL
        if want_value or want_gradient or want_hessian:
            if whole_numbers:
                gather_differences(job, input_data, target_data, &here, following, n, <floating*> input_buffer, <floating*> target_buffer)
                pair.input, pair.target = <floating*> input_buffer, <floating*> target_buffer
                pair.input_ahead = pair.target_ahead = 0
            elif start < first + step or end_with_runs or not repeats(&job.input, step):
                pair.input = stage(
                    job, &job.input, input_data, start, &here, following, n, <floating*> input_buffer, &pair.input_ahead
                )
            if not whole_numbers and (start < first + step or end_with_runs or not repeats(&job.target, step)):
                pair.target = stage(
                    job, &job.target, target_data, start, &here, following, n, <floating*> target_buffer, &pair.target_ahead
                )
            # All results are in buffers before the first is stored where an output may be the memory of an input.
            if sum_apart:
                add_values(job, part, &pair, n, <const floating*> NULL)
            elif want_value:
                pair.past_cache = job.bypass_cache and values is not <floating*> value_buffer
                fill(job, VALUE, &pair, values, n)
                narrow_block(job, values, n)
            if want_value:
                pair.input_ahead = pair.target_ahead = 0        # asking once is enough
            if want_gradient:
                pair.past_cache = job.bypass_cache and gradients is not <floating*> gradient_buffer
                fill(job, SCALED_DERIVATIVE if scaled_at_once else DERIVATIVE, &pair, gradients, n)
                pair.input_ahead = pair.target_ahead = 0
            if want_hessian:
                if job.curvature == UNIT_CURVATURE:
                    for i in range(n):
                        hessians[i] = 1
                else:
                    quantity = IRLS_WEIGHT if job.curvature == MM_CURVATURE else SECOND_DERIVATIVE
                    pair.past_cache = job.bypass_cache and hessians is not <floating*> hessian_buffer
                    fill(job, quantity, &pair, hessians, n)

        count = n
        if masked:
            gather(job, &job.where, where_data, &here, following, n, <floating*> selected)
            count = 0
            for i in range(n):
                count += selected[i] != 0
        if weighted:
            gather(job, &job.weight, weight_data, &here, following, n, <double*> weights)
            if masked:
                for i in range(n):
                    weights[i] = weights[i] if selected[i] != 0 else 0
            if not are_valid(<double*> weights, n, &count):
                part.bad_weight = True
                return
            for i in range(n):      # weight 0 is removal
                selected[i] = weights[i] != 0
        part.count += count

        factor = shift = NULL
        if scaled_each and (want_gradient or want_hessian):
            factor = <const double*> factors
            weight = <const double*> weights if weighted else NULL
            low = NULL
            if grad_output_data is not NULL:
                gather(job, &job.grad_output, grad_output_data, &here, following, n, <double*> factors)
            if low_data is not NULL:
                low = <const double*> lows
                gather(job, &job.grad_low, low_data, &here, NULL, n, <double*> lows)
            if exponent_data is not NULL or not set_factors(job, weight, low, <double*> factors, n, <const floating*> NULL):
                shift = <const double*> shifts
                if grad_output_data is not NULL:
                    gather(job, &job.grad_output, grad_output_data, &here, NULL, n, <double*> factors)
                if exponent_data is not NULL:
                    gather(job, &job.grad_exponent, exponent_data, &here, NULL, n, <double*> shifts)
                set_extreme_factors(
                    job, weight, low, <const double*> shifts if exponent_data is not NULL else NULL, <double*> factors, <double*> shifts,
                    n, <const floating*> NULL
                )
        if want_gradient:
            if not scaled_at_once:
                scale_by(job, gradients, factor, shift, n)
            narrow_block(job, gradients, n)
        if want_hessian:
            scale_by(job, hessians, factor, shift, n)
            narrow_block(job, hessians, n)
        if masked or weighted:
            if want_value:
                keep_selected(<floating*> selected, values, n)
            if want_gradient:
                keep_selected(<floating*> selected, gradients, n)
            if want_hessian:
                keep_selected(<floating*> selected, hessians, n)

        if job.term == VALUES and not sum_apart:
            padded = pad(values, n)
            if weighted:
                pad(<double*> weights, n)
                add_products(job, part, values, <double*> weights, padded)
            else:
                add_block(&part.total, &part.of_total, &part.tally, values, padded)
        elif job.term == GRADIENTS:
            padded = pad(gradients, n)
            add_block(&part.total, &part.of_total, NULL, gradients, padded)
        elif job.term == HESSIANS:
            padded = pad(hessians, n)
            add_block(&part.total, &part.of_total, NULL, hessians, padded)
        elif job.term == WEIGHTS:
            if weighted:
                padded = pad(<double*> weights, n)
                add_block(&part.total, &part.of_total, NULL, <double*> weights, padded)
            else:
                add_count(&part.total, count)
        if want_weights:
            padded = pad(<double*> weights, n)
            add_block(&part.weights, &part.of_weights, NULL, <double*> weights, padded)

        if value_data is not NULL:
            if weighted:
                weigh_values(job, values, <double*> weights, n)
            if values is <floating*> value_buffer:
                scatter(job, &job.value, value_data, start, &here, n, values)
        if gradient_data is not NULL and gradients is <floating*> gradient_buffer:
            scatter(job, &job.gradient, gradient_data, start, &here, n, gradients)
        if hessian_data is not NULL and hessians is <floating*> hessian_buffer:
            scatter(job, &job.hessian, hessian_data, start, &here, n, <floating*> hessians)
        start += n
        copy_position(&next, job, &here)


cdef void sum_values(
    Job* job, Py_ssize_t number, Py_ssize_t start, Py_ssize_t stop, Part* part, const floating* working_type
) noexcept nogil:
    """walk() where it comes to no more than this: the sum of values of direct operands."""
    cdef const floating* input = <const floating*> slice_start(job, &job.input, number)
    cdef const floating* target = <const floating*> slice_start(job, &job.target, number)
    cdef Pair pair
    cdef Py_ssize_t n = first_step(job, start, stop, stop - start)
    pair.past_cache = False
    pair.input_ahead = pair.target_ahead = AHEAD if job.bypass_cache else 0
    part.count += stop - start
    while start < stop:
        pair.input, pair.target = input + start, target + start
        add_values(job, part, &pair, n, <const floating*> NULL)
        start += n
        n = stop - start


cdef void sum_weighted_values(
    Job* job, Py_ssize_t number, Py_ssize_t start, Py_ssize_t stop, Part* part, const floating* working_type
) noexcept nogil:
    """walk() where it comes to no more than this: the sum of weighted values, all operands direct."""
    cdef floating values[QUARTER]
    cdef floating padded_weights[LANES]
    cdef const floating* input = <const floating*> slice_start(job, &job.input, number)
    cdef const floating* target = <const floating*> slice_start(job, &job.target, number)
    cdef const floating* first_weight = <const floating*> slice_start(job, &job.weight, number)
    cdef const floating* weights
    cdef Pair pair
    cdef Py_ssize_t n = first_step(job, start, stop, QUARTER), whole, count = 0
    pair.past_cache = False
    pair.input_ahead = pair.target_ahead = AHEAD if job.bypass_cache else 0
    while start < stop:
        pair.input, pair.target, weights = input + start, target + start, first_weight + start
        if not are_valid(weights, n, &count):
            part.bad_weight = True
            return
        part.count += count
        fill(job, VALUE, &pair, <floating*> values, n)
        whole = n // LANES * LANES
        add_weighted(job, part, <floating*> values, weights, whole)
        if whole < n:
            memcpy(padded_weights, weights + whole, (n - whole) * sizeof(floating))
            pad(<floating*> padded_weights, n - whole)
            pad(<floating*> values + whole, n - whole)
            add_weighted(job, part, <floating*> values + whole, <floating*> padded_weights, LANES)
        start += n
        n = stop - start if stop - start < QUARTER else QUARTER


# ---- slices and threads ----------------------------------------------------------------------------------------------------------

cdef inline bint is_plain_sum(const Job* job) noexcept nogil:
    """Whether nothing is wanted but the sum of values, perhaps weighted, of direct operands."""
    return (
        job.term == VALUES and job.narrow < 0 and job.input.direct and job.target.direct and job.where.data is NULL
        and (job.weight.data is NULL or job.weight.direct) and job.value.data is NULL and job.gradient.data is NULL
        and job.hessian.data is NULL
    )


cdef void walk_as(
    Job* job, Py_ssize_t number, Py_ssize_t start, Py_ssize_t stop, Part* part, const floating* working_type
) noexcept nogil:
    """Elements start .. stop of slice `number`, in the loop that does no more than it must."""
    if not is_plain_sum(job):
        walk(job, number, start, stop, part, working_type)
    elif job.weight.data is NULL:
        sum_values(job, number, start, stop, part, working_type)
    else:
        sum_weighted_values(job, number, start, stop, part, working_type)


cdef void walk_range(Job* job, Py_ssize_t number, Py_ssize_t start, Py_ssize_t stop, Part* part) noexcept nogil:
    if job.single:
        walk_as(job, number, start, stop, part, <const float*> NULL)
    else:
        walk_as(job, number, start, stop, part, <const double*> NULL)
    deposit_column_sums(&part.total, &part.tally)
    close_bins(&part.total, &part.of_total)
    close_bins(&part.total, &part.of_rests)
    close_bins(&part.weights, &part.of_weights)
    if job.weight.data is not NULL:
        deposit_column_sums(&part.weights, &part.tally_of_weights)
    if job.bypass_cache:
        fence_stores()             # before another thread reads the outputs


cdef void finish_factor(Job* job, Py_ssize_t number, Part* part) noexcept nogil:
    """Write the factor that a slice's incoming gradient makes with its sum of weights."""
    cdef double dividend = 1
    cdef Factor factor
    if job.dividend.data is not NULL:
        read_strided(job.dividend.storage, slice_start(job, &job.dividend, number), 0, job.dividend.swapped, 1, &dividend)
    if job.weight.data is NULL and part.count and part.count >> 53 == 0:
        factor = factor_over_count(dividend, part.count)
    else:
        factor = factor_over(dividend, &part.total)
    job.factors[number] = factor.high
    job.factors[job.slices + number] = factor.low
    job.factors[2 * job.slices + number] = factor.exponent


cdef void finish_slice(Job* job, Py_ssize_t number, Part* part) noexcept nogil:
    """Round the sum of a slice into its place of the result."""
    cdef double v
    cdef Superaccumulator* divisor = &part.weights if job.divide and job.weight.data is not NULL else NULL
    if job.factors is not NULL:
        finish_factor(job, number, part)
    if job.result is NULL:          # then run() hands the sums over unrounded
        return
    v = round_quotient(&part.total, part.count if job.divide else 1, divisor, format_of(job.result_storage))
    write_strided(job.result_storage, job.result + number * size_of(job.result_storage), 0, False, 1, &v)


cdef uint64_t run_slices(Job* job, Py_ssize_t first, Py_ssize_t last, int* bad_weight) noexcept nogil:
    """Whole slices, one after the other; the number of elements that were selected."""
    cdef cylosses_mode mode = set_default_mode()
    cdef Part part
    cdef uint64_t count = 0
    cdef Py_ssize_t number
    for number in range(first, last):
        clear_part(&part, job)
        walk_range(job, number, 0, job.size, &part)
        if job.rest is not NULL:
            walk_range(job.rest, number, 0, job.rest.size, &part)
        if part.bad_weight:
            bad_weight[0] = 1
            break
        count += part.count
        finish_slice(job, number, &part)
    restore_mode(mode)
    return count


cdef void run_part(Job* job, Py_ssize_t number, int share, Part* part) noexcept nogil:
    """One thread's share of a slice, cut between blocks, in a thread that may have any floating-point mode."""
    cdef cylosses_mode mode = set_default_mode()
    cdef Py_ssize_t blocks = (job.size + BLOCK - 1) // BLOCK
    cdef Py_ssize_t stop = blocks * (share + 1) // job.threads * BLOCK
    clear_part(part, job)
    walk_range(job, number, blocks * share // job.threads * BLOCK, stop if stop < job.size else job.size, part)
    restore_mode(mode)


cdef void merge_part(Job* job, Part* part, Part* other) noexcept nogil:
    merge(&part.total, &other.total)
    if job.weight.data is not NULL:
        merge(&part.weights, &other.weights)
    part.count += other.count
    part.bad_weight = part.bad_weight or other.bad_weight


cdef void run_slice(Job* job, Py_ssize_t number, Part* parts) noexcept nogil:
    """One slice, cut between the threads; parts has room for each of them."""
    cdef int threads = job.threads, t
    if threads == 1:
        clear_part(parts, job)
        walk_range(job, number, 0, job.size, parts)
    else:
        for t in prange(threads, num_threads=threads, schedule="static", chunksize=1):
            run_part(job, number, t, &parts[t])
        for t in range(1, threads):
            merge_part(job, parts, &parts[t])
    if job.rest is not NULL:
        walk_range(job.rest, number, 0, job.rest.size, parts)
    job.count += parts.count
    job.bad_weight = job.bad_weight or parts.bad_weight
    if not parts.bad_weight:
        finish_slice(job, number, parts)


cdef void run_in_default_mode(Job* job) noexcept nogil:
    cdef Part single
    cdef Part* parts = &single
    cdef Py_ssize_t number, chunk
    cdef uint64_t count = 0
    cdef int bad_weight = 0, threads = job.threads
    job.bad_weight = False
    job.count = 0
    if job.slices > 1 and (threads == 1 or job.slices >= 4 * threads):
        if threads == 1:
            count = run_slices(job, 0, job.slices, &bad_weight)
        else:
            chunk = job.slices // (threads * 8) + 1
            for number in prange(0, job.slices, chunk, num_threads=threads, schedule="dynamic"):
                count += run_slices(job, number, number + chunk if number + chunk < job.slices else job.slices, &bad_weight)
        job.bad_weight = bad_weight
        job.count = count
        return
    if threads > 1:
        parts = <Part*> malloc(threads * sizeof(Part))
        if parts is NULL:
            parts = &single
            job.threads = 1
    for number in range(job.slices):
        run_slice(job, number, parts)
        if job.bad_weight:
            break
    if not job.bad_weight and job.slices:       # without slices, there are no sums either
        if job.total is not NULL:
            merge(job.total, &parts.total)
        if job.weights is not NULL and job.weight.data is not NULL:
            merge(job.weights, &parts.weights)
    if parts is not &single:
        free(parts)


cdef api void run(Job* job) noexcept nogil:
    cdef cylosses_mode mode = set_default_mode()
    run_in_default_mode(job)
    restore_mode(mode)


cdef inline floating evaluate_as(const Job* job, Quantity quantity, floating residual) noexcept nogil:
    cdef floating zero = 0, found = 0
    cdef Pair pair
    pair.input, pair.target = &residual, &zero
    pair.input_ahead = pair.target_ahead = 0
    pair.past_cache = False
    pair.scale = 1
    fill(job, quantity, &pair, &found, 1)
    return found


cdef api double evaluate(const Job* job, int quantity, double residual) noexcept nogil:
    """One number of one residual, in the floating-point mode of the caller. Of the job, the loss, its parameter as rounded to the
    working type, and that type are read.
    """
    if job.single:
        return evaluate_as(job, <Quantity> quantity, <float> residual)
    return evaluate_as(job, <Quantity> quantity, residual)


cdef api int allowed_threads() noexcept nogil:
    """What OpenMP allows the calling thread: the number that omp_set_num_threads() sets, and with it threadpoolctl."""
    return CYLOSSES_ALLOWED_THREADS()


def release_threads():
    """End the OpenMP worker threads: called before a fork, since the child would wait for threads that it does not have."""
    CYLOSSES_RELEASE_THREADS()


def build_info():
    """How this module was compiled."""
    return {"isa": ISA.decode(), "openmp": OPENMP, "compiler": COMPILER.decode(), "flags": FLAGS.decode()}
