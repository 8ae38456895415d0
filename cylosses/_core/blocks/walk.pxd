# One pass over the elements of a slice, block by block: each block is staged, computed, weighted and masked, summed, and stored.
#
# All that a block needs lies in one struct on the stack of walk(), so that intermediate arrays stay in the L1 cache. Operands that
# are contiguous are read in place, and results are computed in their output where that is possible; all others go through a buffer.

from cython cimport floating

from cylosses._core.blocks.computing cimport GROUP, Pair, add_values, fill
from cylosses._core.blocks.scaling cimport (
    clear_weights, count_selected, has_factors, keep_selected, narrow_block, scale_by, select_weighted, set_extreme_factors, set_factors,
    weigh_values,
)
from cylosses._core.blocks.steps cimport elements_past_line, repeats, step_of, stop_at_rows
from cylosses._core.blocks.sums cimport Sums, add_products, are_valid, pad, wants_weights
from cylosses._core.job cimport (
    DERIVATIVE, GRADIENTS, HESSIANS, IRLS_WEIGHT, MM_CURVATURE, NOTHING, SCALED_DERIVATIVE, SECOND_DERIVATIVE, UNIT_CURVATURE,
    VALUE, VALUES, WEIGHTS, Job, Operand, Quantity,
)
from cylosses._core.memory.gather cimport gather, gather_differences, has_wide_integers
from cylosses._core.memory.position cimport (
    Position, copy_position, has_contiguous_rows, left_in_row, locate, seek, skip, slice_start,
)
from cylosses._core.memory.scatter cimport scatter
from cylosses._core.memory.storage cimport size_of
from cylosses._core.memory.streaming cimport CACHE_LINE
from cylosses._core.memory.strided cimport read_strided
from cylosses._core.slices.slices cimport SliceSums, add_slices, find_factors, spread
from cylosses._core.summation.bins cimport BLOCK
from cylosses._core.summation.block cimport add_block
from cylosses._core.summation.superaccumulator cimport add_count


cdef union Buffer:
    float singles[BLOCK]
    double doubles[BLOCK]

cdef struct Starts:
    # Where the operands and outputs of a slice begin; NULL: not there.
    char* input
    char* target
    char* weight
    char* where
    char* grad_output
    char* grad_low
    char* grad_exponent
    char* value
    char* gradient
    char* hessian

cdef struct Wants:
    # What the job asks of every block.
    bint weighted
    bint masked
    bint value
    bint gradient
    bint hessian
    bint selects                # elements that do not count are set to 0, rather than left out of sums by their weight
    bint weights                # their sum
    bint only_sums_values       # which then need not be stored
    bint scales_each            # derivatives have factors of their own
    bint scales_at_once         # derivatives have one factor, in the same loop
    bint value_in_output        # results can be computed in the output itself
    bint gradient_in_output
    bint hessian_in_output
    bint wide_integers          # inputs are subtracted as integers
    bint stops_at_rows

cdef struct Block:
    Starts starts
    Wants wants
    Py_ssize_t step             # elements of a block as a rule
    Py_ssize_t lead             # elements that an output begins after the start of a cache line
    Py_ssize_t first_stop       # where the first block ends at the latest

    Py_ssize_t start            # this block: elements start .. start + n of the slice
    Py_ssize_t n
    Position here               # of element `start`
    Position next               # of element `start + n`
    const Position* following   # &next if it is worth prefetching what lies there, else NULL
    Pair pair
    void* values                # where results are computed
    void* gradients
    void* hessians
    bint selects                # elements that do not count must be set to 0
    const double* factors       # of derivatives; NULL: none
    const double* shifts        # of the factors; NULL: none

    Buffer input_buffer
    Buffer target_buffer
    Buffer selected
    Buffer value_buffer
    Buffer gradient_buffer
    Buffer hessian_buffer
    double weight_buffer[BLOCK]
    double factor_buffer[BLOCK]
    double low_buffer[BLOCK]
    double shift_buffer[BLOCK]


# ---- before the first block ------------------------------------------------------------------------------------------------------

cdef inline char* start_of(const Job* job, const Operand* operand, Py_ssize_t number) noexcept nogil:
    return slice_start(job, operand, number) if operand.data is not NULL else NULL


cdef inline bint is_selective(const Job* job) noexcept nogil:
    """Whether elements have factors of their own, or are left out."""
    return job.weight.data is not NULL or job.where.data is not NULL or has_factors(job) or job.scale_exponent != 0


cdef inline bint can_fill(const Job* job, const Operand* output) noexcept nogil:
    """Whether results can be computed in the output itself: it is contiguous, is no operand too, and holds results as computed."""
    return (
        output.data is not NULL and output.direct and job.narrow < 0
        and not (job.bypass_cache and is_selective(job))    # what is stored past the cache is not scaled or masked afterwards
        and output.data != job.input.data and output.data != job.target.data and output.data != job.weight.data
        and output.data != job.where.data and output.data != job.grad_output.data and output.data != job.dividend.data
    )


cdef inline void set_starts(const Job* job, Py_ssize_t number, Starts* starts) noexcept nogil:
    starts.input = slice_start(job, &job.input, number)
    starts.target = slice_start(job, &job.target, number)
    starts.weight = start_of(job, &job.weight, number)
    starts.where = start_of(job, &job.where, number)
    starts.grad_output = start_of(job, &job.grad_output, number)
    starts.grad_low = start_of(job, &job.grad_low, number)
    starts.grad_exponent = start_of(job, &job.grad_exponent, number)
    starts.value = start_of(job, &job.value, number)
    starts.gradient = start_of(job, &job.gradient, number)
    starts.hessian = start_of(job, &job.hessian, number)


cdef inline void set_wants(const Job* job, Wants* wants) noexcept nogil:
    wants.weighted = job.weight.data is not NULL
    wants.masked = job.where.data is not NULL
    wants.value = job.value.data is not NULL or job.term == VALUES
    wants.gradient = job.gradient.data is not NULL or job.term == GRADIENTS
    wants.hessian = job.hessian.data is not NULL or job.term == HESSIANS
    wants.weights = wants_weights(job)
    wants.only_sums_values = (
        job.term == VALUES and job.value.data is NULL and job.narrow < 0 and not wants.weighted and not wants.masked
        and not job.columns
    )
    wants.selects = (wants.masked or wants.weighted) and not (
        wants.weighted and job.term == VALUES and job.value.data is NULL and not wants.gradient and not wants.hessian
    )
    wants.scales_each = wants.weighted or has_factors(job) or job.scale_exponent != 0
    wants.scales_at_once = not wants.scales_each and job.scale != 1
    wants.value_in_output = job.term != VALUES and can_fill(job, &job.value)
    wants.gradient_in_output = job.term != GRADIENTS and can_fill(job, &job.gradient)
    wants.hessian_in_output = (
        job.term != HESSIANS and job.curvature != UNIT_CURVATURE and job.scale == 1 and can_fill(job, &job.hessian)
    )
    wants.wide_integers = has_wide_integers(job)
    wants.stops_at_rows = stop_at_rows(job)


# ---- one block -------------------------------------------------------------------------------------------------------------------

cdef inline floating* destination(
    const Job* job, bint in_output, char* output, Py_ssize_t start, Py_ssize_t n, floating* buffer
) noexcept nogil:
    """Where to compute n results: in the output if possible; past the cache, only if the block has whole groups and lines there."""
    cdef char* there
    if in_output:
        there = output + start * <Py_ssize_t> sizeof(floating)
        if not (job.bypass_cache and (<size_t> there % CACHE_LINE or n % GROUP)):
            return <floating*> there
    return buffer


cdef inline void set_extent(const Job* job, Block* block, Py_ssize_t stop, const floating* working_type) noexcept nogil:
    """Which elements the block has, and where its results go."""
    cdef Py_ssize_t start = block.start, n = block.step - (start + block.lead) % block.step, row = job.shape[job.ndim - 1]
    if stop - start < n:
        n = stop - start
    if block.wants.stops_at_rows and row - start % row < n:
        n = row - start % row
    block.n = n
    copy_position(&block.here, job, &block.next)
    skip(&block.next, job, n)
    block.following = &block.next if job.prefetch and start + n < job.size else NULL
    block.values = destination(
        job, block.wants.value_in_output, block.starts.value, start, n, <floating*> &block.value_buffer
    )
    block.gradients = destination(
        job, block.wants.gradient_in_output, block.starts.gradient, start, n, <floating*> &block.gradient_buffer
    )
    block.hessians = destination(
        job, block.wants.hessian_in_output, block.starts.hessian, start, n, <floating*> &block.hessian_buffer
    )


cdef inline const floating* stage(
    const Job* job, const Operand* operand, char* data, const Block* block, floating* buffer, Py_ssize_t* ahead
) noexcept nogil:
    """The block's elements of an operand as a contiguous array: in place if possible."""
    cdef const floating* found
    ahead[0] = 0
    if operand.direct:
        return <const floating*> data + block.start
    if has_contiguous_rows(job, operand) and left_in_row(&block.here, job, block.n) == block.n:
        found = <const floating*> locate(&block.here, job, operand, data)
        if block.following is not NULL:
            ahead[0] = locate(block.following, job, operand, data) - <const char*> found
        return found
    gather(job, operand, data, &block.here, block.following, block.n, buffer)
    return buffer


cdef inline void stage_pair(const Job* job, Block* block, const floating* working_type) noexcept nogil:
    cdef floating* input = <floating*> &block.input_buffer
    cdef floating* target = <floating*> &block.target_buffer
    cdef Pair* pair = &block.pair
    cdef bint anew = block.start < block.first_stop or block.wants.stops_at_rows
    if block.wants.wide_integers:
        gather_differences(job, block.starts.input, block.starts.target, &block.here, block.following, block.n, input, target)
        pair.input, pair.target = input, target
        pair.input_ahead = pair.target_ahead = 0
        return
    if anew or not repeats(&job.input, block.step):
        pair.input = stage(job, &job.input, block.starts.input, block, input, &pair.input_ahead)
    if anew or not repeats(&job.target, block.step):
        pair.target = stage(job, &job.target, block.starts.target, block, target, &pair.target_ahead)


cdef inline void take(const Job* job, const Operand* operand, char* data, const Block* block, floating* to) noexcept nogil:
    """The block's elements of any other operand, converted."""
    cdef Py_ssize_t size = size_of(operand.storage)
    if operand.contiguous:
        read_strided(operand.storage, data + block.start * size, size, operand.swapped, block.n, to)
    else:
        gather(job, operand, data, &block.here, block.following, block.n, to)


cdef inline void compute_one(
    const Job* job, Block* block, Quantity quantity, floating* results, const void* buffer
) noexcept nogil:
    """One number of each element. Only the first of several loops over a block prefetches."""
    block.pair.past_cache = job.bypass_cache and results is not <const floating*> buffer
    fill(job, quantity, &block.pair, results, block.n)
    block.pair.input_ahead = block.pair.target_ahead = 0


cdef inline void set_ones(floating* values, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        values[i] = 1


cdef inline void compute(const Job* job, Block* block, Sums* sums, const floating* working_type) noexcept nogil:
    """All results of the block, before the first is stored: an output may be the memory of an input."""
    cdef Quantity quantity
    if block.wants.only_sums_values:
        add_values(job, sums, &block.pair, block.n, working_type)
        block.pair.input_ahead = block.pair.target_ahead = 0
    elif block.wants.value:
        compute_one(job, block, VALUE, <floating*> block.values, &block.value_buffer)
        narrow_block(job, <floating*> block.values, block.n)
    if block.wants.gradient:
        quantity = SCALED_DERIVATIVE if block.wants.scales_at_once else DERIVATIVE
        compute_one(job, block, quantity, <floating*> block.gradients, &block.gradient_buffer)
    if block.wants.hessian:
        if job.curvature == UNIT_CURVATURE:
            set_ones(<floating*> block.hessians, block.n)
        else:
            quantity = IRLS_WEIGHT if job.curvature == MM_CURVATURE else SECOND_DERIVATIVE
            compute_one(job, block, quantity, <floating*> block.hessians, &block.hessian_buffer)


cdef inline bint select(const Job* job, Block* block, Sums* sums, const floating* working_type) noexcept nogil:
    """Get mask and weights, and count the elements that are selected; False for a weight that is not valid."""
    cdef floating* selected = <floating*> &block.selected
    cdef double* weights = block.weight_buffer
    cdef Py_ssize_t count = block.n
    if block.wants.masked:
        take(job, &job.where, block.starts.where, block, selected)
        count = count_selected(selected, block.n)
    if block.wants.weighted:
        take(job, &job.weight, block.starts.weight, block, weights)
        if block.wants.masked:
            clear_weights(selected, weights, block.n)
        if not are_valid(weights, block.n, &count):
            sums.bad_weight = True
            return False
        if block.wants.selects and count < block.n:
            select_weighted(weights, selected, block.n)
    block.selects = block.wants.selects and count < block.n
    sums.count += count
    if job.term == WEIGHTS and not block.wants.weighted:
        add_count(&sums.total, count)
    return True


cdef inline void take_block_factors(const Job* job, Block* block, Sums* sums) noexcept nogil:
    """The factors of elements that have each its own, or its slice's; the shifts, too, if there are any."""
    cdef SliceSums* slices = <SliceSums*> sums.slices
    if job.finds_factors:
        if block.wants.weighted:
            pad(block.weight_buffer, block.n)
        if job.single:
            find_factors(job, slices, block.start, block.weight_buffer, <const float*> &block.selected, block.n)
        else:
            find_factors(job, slices, block.start, block.weight_buffer, <const double*> &block.selected, block.n)
        spread(job, slices.factor, block.n, block.factor_buffer)
        if slices.weighed and not job.single:
            spread(job, slices.factor_low, block.n, block.low_buffer)
        if slices.has_exponents:
            spread(job, slices.factor_exponent, block.n, block.shift_buffer)
            block.shifts = block.shift_buffer
        return
    take(job, &job.grad_output, block.starts.grad_output, block, <double*> block.factor_buffer)
    if block.starts.grad_low is not NULL:
        take(job, &job.grad_low, block.starts.grad_low, block, <double*> block.low_buffer)
    if block.starts.grad_exponent is not NULL:
        take(job, &job.grad_exponent, block.starts.grad_exponent, block, <double*> block.shift_buffer)
        block.shifts = block.shift_buffer


cdef inline void set_block_factors(const Job* job, Block* block, Sums* sums, const floating* working_type) noexcept nogil:
    """What each derivative of the block is multiplied with."""
    cdef const double* weights = block.weight_buffer if block.wants.weighted else NULL
    cdef const double* lows = NULL
    cdef double* factors = block.factor_buffer
    block.factors = factors
    if block.starts.grad_low is not NULL or (job.finds_factors and block.wants.weighted and not job.single):
        lows = block.low_buffer
    if has_factors(job):
        take_block_factors(job, block, sums)
    if block.shifts is NULL:
        if set_factors(job, weights, lows, factors, block.n, working_type):
            return
        if has_factors(job):                # which set_factors() may have changed
            take_block_factors(job, block, sums)
    set_extreme_factors(job, weights, lows, block.shifts, factors, block.shift_buffer, block.n, working_type)
    block.shifts = block.shift_buffer


cdef inline void scale_and_mask(const Job* job, Block* block, Sums* sums, const floating* working_type) noexcept nogil:
    """Multiply derivatives with their factors, and set what is not selected to 0."""
    cdef floating* selected = <floating*> &block.selected
    cdef floating* gradients = <floating*> block.gradients
    cdef floating* hessians = <floating*> block.hessians
    block.factors = block.shifts = NULL
    if block.wants.scales_each and (block.wants.gradient or block.wants.hessian):
        set_block_factors(job, block, sums, working_type)
    if block.wants.gradient:
        if not block.wants.scales_at_once:
            scale_by(job, gradients, block.factors, block.shifts, block.n)
        narrow_block(job, gradients, block.n)
    if block.wants.hessian:
        scale_by(job, hessians, block.factors, block.shifts, block.n)
        narrow_block(job, hessians, block.n)
    if block.selects:
        if block.wants.value:
            keep_selected(selected, <floating*> block.values, block.n)
        if block.wants.gradient:
            keep_selected(selected, gradients, block.n)
        if block.wants.hessian:
            keep_selected(selected, hessians, block.n)


cdef inline void add_terms(const Job* job, Block* block, Sums* sums, const floating* working_type) noexcept nogil:
    """Add to the sums what the job asks for."""
    cdef floating* values = <floating*> block.values
    cdef floating* derivatives = <floating*> (block.gradients if job.term == GRADIENTS else block.hessians)
    cdef floating* terms = NULL
    cdef double* weights = block.weight_buffer
    cdef Py_ssize_t padded = 0
    if block.wants.weighted:
        padded = pad(weights, block.n)
    if job.columns:
        if job.term == NOTHING:
            return
        if job.term != WEIGHTS:
            terms = values if job.term == VALUES else derivatives
            pad(terms, block.n)
        add_slices(job, <SliceSums*> sums.slices, block.start, terms, weights, <const floating*> &block.selected, block.n)
        return
    if job.term == VALUES and not block.wants.only_sums_values:
        padded = pad(values, block.n)
        if block.wants.weighted:
            add_products(job, sums, values, weights, padded)
        else:
            add_block(&sums.total, &sums.bins, &sums.columns, values, padded)
    elif job.term == GRADIENTS or job.term == HESSIANS:
        padded = pad(derivatives, block.n)
        add_block(&sums.total, &sums.bins, NULL, derivatives, padded)
    elif job.term == WEIGHTS and block.wants.weighted:
        add_block(&sums.total, &sums.bins, &sums.columns, weights, padded)
    if block.wants.weights:
        add_block(&sums.weights, &sums.weight_bins, &sums.weight_columns, weights, padded)


cdef inline void store(const Job* job, Block* block, const floating* working_type) noexcept nogil:
    """Write to the outputs what was not computed there."""
    cdef floating* values = <floating*> block.values
    cdef floating* gradients = <floating*> block.gradients
    cdef floating* hessians = <floating*> block.hessians
    if block.starts.value is not NULL:
        if block.wants.weighted:
            weigh_values(job, values, block.weight_buffer, block.n)
        if values is <floating*> &block.value_buffer:
            scatter(job, &job.value, block.starts.value, block.start, &block.here, block.n, values)
    if block.starts.gradient is not NULL and gradients is <floating*> &block.gradient_buffer:
        scatter(job, &job.gradient, block.starts.gradient, block.start, &block.here, block.n, gradients)
    if block.starts.hessian is not NULL and hessians is <floating*> &block.hessian_buffer:
        scatter(job, &job.hessian, block.starts.hessian, block.start, &block.here, block.n, hessians)


cdef inline void walk(
    const Job* job, Py_ssize_t number, Py_ssize_t start, Py_ssize_t stop, Sums* sums, const floating* working_type
) noexcept nogil:
    """Elements start .. stop of slice `number`; here and above, of working_type only the type is used."""
    cdef Block block
    if start >= stop:
        return
    set_starts(job, number, &block.starts)
    set_wants(job, &block.wants)
    block.step = step_of(job)
    block.lead = -start if job.columns else elements_past_line(job)
    block.first_stop = start + block.step
    block.start = start
    block.pair.scale = job.scale
    block.pair.past_cache = False
    seek(&block.here, job, start)
    while block.start < stop:
        set_extent(job, &block, stop, working_type)
        if block.wants.value or block.wants.gradient or block.wants.hessian:
            stage_pair(job, &block, working_type)
            compute(job, &block, sums, working_type)
        if not select(job, &block, sums, working_type):
            return
        scale_and_mask(job, &block, sums, working_type)
        add_terms(job, &block, sums, working_type)
        store(job, &block, working_type)
        block.start += block.n
        copy_position(&block.next, job, &block.here)
