# What walk() does where operands are contiguous, and nothing is weighted, masked or scaled element by element, or values are only
# summed: whole ranges, with nothing else to ask for each block. Small arrays take half the time.

from cython cimport floating

from cylosses._core.blocks.computing cimport Pair, add_values, fill, set_pair
from cylosses._core.blocks.steps cimport first_step, writes
from cylosses._core.blocks.sums cimport Sums, add_products, are_valid, pad, wants_weights
from cylosses._core.blocks.walk cimport can_fill
from cylosses._core.job cimport (
    DERIVATIVE, IRLS_WEIGHT, MM_CURVATURE, NOTHING, SCALED_DERIVATIVE, SECOND_DERIVATIVE, UNIT_CURVATURE, VALUE, VALUES, Job, Operand,
    Quantity,
)
from cylosses._core.memory.position cimport slice_start
from cylosses._core.memory.streaming cimport CACHE_LINE
from cylosses._core.summation.bins cimport BLOCK, QUARTER
from cylosses._core.summation.block cimport add_block, add_quarter
from cylosses._core.summation.products cimport add_quarter_of_float_products, add_quarter_of_products

cdef enum:
    # Bytes by which contiguous operands that are only summed are prefetched, beyond the caches. Within, and where results are
    # stored, hardware prefetchers do better alone; half the distance is slower than none.
    AHEAD = 4096


cdef inline bint takes_results(const Job* job, const Operand* output) noexcept nogil:
    """Whether results can be computed in the output itself, or there is none."""
    return output.data is NULL or can_fill(job, output)


cdef inline bint is_plain(const Job* job) noexcept nogil:
    """Whether add_plain() does it all."""
    if job.narrow >= 0 or job.where.data is not NULL or not (job.input.direct and job.target.direct):
        return False
    if not writes(job):
        return job.term == VALUES and (job.weight.data is NULL or job.weight.direct)
    return (
        (job.term == NOTHING or (job.term == VALUES and job.value.data is NULL))
        and job.weight.data is NULL and job.grad_output.data is NULL and job.scale_exponent == 0
        and takes_results(job, &job.value) and takes_results(job, &job.gradient) and takes_results(job, &job.hessian)
        and (job.hessian.data is NULL or (job.curvature != UNIT_CURVATURE and job.scale == 1))
    )


cdef inline void write_quantity(
    const Job* job, Quantity quantity, Pair* pair, const Operand* output, Py_ssize_t number, Py_ssize_t start, Py_ssize_t n,
    const floating* working_type
) noexcept nogil:
    """Write one number of each element; past the cache if whole cache lines are."""
    cdef floating* to = <floating*> slice_start(job, output, number) + start
    pair.past_cache = job.bypass_cache and <size_t> to % CACHE_LINE == 0
    fill(job, quantity, pair, to, n)


cdef inline void write_results(
    const Job* job, Py_ssize_t number, Py_ssize_t start, Py_ssize_t stop, Sums* sums, const floating* working_type
) noexcept nogil:
    """Write results of elements start .. stop of slice `number`, and add values if they are wanted, too: of all elements at once, or
    where inputs are read more than once, block by block.
    """
    cdef const floating* input = <const floating*> slice_start(job, &job.input, number)
    cdef const floating* target = <const floating*> slice_start(job, &job.target, number)
    cdef int passes = (job.term == VALUES) + (job.value.data is not NULL) + (job.gradient.data is not NULL) + (job.hessian.data is not NULL)
    cdef Py_ssize_t step = stop - start if passes == 1 else BLOCK, n = first_step(job, start, stop, step)
    cdef Pair pair
    sums.count += stop - start
    while start < stop:
        set_pair(&pair, input + start, target + start, 0, job.scale)
        if job.term == VALUES:
            add_values(job, sums, &pair, n, working_type)
        if job.value.data is not NULL:
            write_quantity(job, VALUE, &pair, &job.value, number, start, n, working_type)
        if job.gradient.data is not NULL:
            write_quantity(
                job, DERIVATIVE if job.scale == 1 else SCALED_DERIVATIVE, &pair, &job.gradient, number, start, n, working_type
            )
        if job.hessian.data is not NULL:
            write_quantity(
                job, IRLS_WEIGHT if job.curvature == MM_CURVATURE else SECOND_DERIVATIVE, &pair, &job.hessian, number, start, n,
                working_type,
            )
        start += n
        n = stop - start if stop - start < step else step


cdef inline void sum_values(
    const Job* job, Py_ssize_t number, Py_ssize_t start, Py_ssize_t stop, Sums* sums, const floating* working_type
) noexcept nogil:
    """Add the values of elements start .. stop of slice `number`; of working_type only the type is used."""
    cdef const floating* input = <const floating*> slice_start(job, &job.input, number)
    cdef const floating* target = <const floating*> slice_start(job, &job.target, number)
    cdef Pair pair
    cdef Py_ssize_t n = first_step(job, start, stop, stop - start)
    sums.count += stop - start
    while start < stop:
        set_pair(&pair, input + start, target + start, AHEAD if job.bypass_cache else 0, 1)
        add_values(job, sums, &pair, n, working_type)
        start += n
        n = stop - start


cdef inline bint add_quarter_of_weighted(Sums* sums, const floating* terms, const floating* weights) noexcept nogil:
    """Add QUARTER products; False, and nothing done, if they do not fit open bins."""
    if floating is float:
        return add_quarter_of_float_products(&sums.total, &sums.bins, terms, weights)
    else:
        return add_quarter_of_products(&sums.total, &sums.bins, &sums.low_bins, terms, weights)


cdef inline void sum_weighted_values(
    const Job* job, Py_ssize_t number, Py_ssize_t start, Py_ssize_t stop, Sums* sums, const floating* working_type
) noexcept nogil:
    """Add the weighted values, and the weights if they are wanted, of elements start .. stop of slice `number`."""
    cdef floating values[QUARTER]
    cdef double wide_weights[QUARTER]
    cdef const floating* input = <const floating*> slice_start(job, &job.input, number)
    cdef const floating* target = <const floating*> slice_start(job, &job.target, number)
    cdef const floating* weights = <const floating*> slice_start(job, &job.weight, number) + start
    cdef Pair pair
    cdef Py_ssize_t n = first_step(job, start, stop, QUARTER), padded, count = 0, i
    while start < stop:
        set_pair(&pair, input + start, target + start, AHEAD if job.bypass_cache else 0, 1)
        if not are_valid(weights, n, &count):
            sums.bad_weight = True
            return
        sums.count += count
        fill(job, VALUE, &pair, <floating*> values, n)
        if not (n == QUARTER and add_quarter_of_weighted(sums, <floating*> values, weights)):
            for i in range(n):
                wide_weights[i] = weights[i]
            padded = pad(<double*> wide_weights, n)
            pad(<floating*> values, n)
            add_products(job, sums, <floating*> values, <double*> wide_weights, padded)
        if wants_weights(job) and not (
            n == QUARTER and add_quarter(&sums.weights, &sums.weight_bins, &sums.weight_columns, weights)
        ):
            for i in range(n):
                wide_weights[i] = weights[i]
            add_block(&sums.weights, &sums.weight_bins, &sums.weight_columns, <double*> wide_weights, pad(<double*> wide_weights, n))
        start += n
        weights += n
        n = stop - start if stop - start < QUARTER else QUARTER


cdef inline void add_plain(
    const Job* job, Py_ssize_t number, Py_ssize_t start, Py_ssize_t stop, Sums* sums, const floating* working_type
) noexcept nogil:
    """What is_plain() allows, of elements start .. stop of slice `number`."""
    if writes(job):
        write_results(job, number, start, stop, sums, working_type)
    elif job.weight.data is NULL:
        sum_values(job, number, start, stop, sums, working_type)
    else:
        sum_weighted_values(job, number, start, stop, sums, working_type)
