"""ALL the loops: elementwise results and exact sums, block by block, one pass over the data.

Decisions, with their reasons:

(a) Work goes in blocks of 1024 elements whose intermediate arrays (differences' losses, gradients, weights) stay in the L1 cache.
    The loops over a block are short and plain, so that compilers vectorise them; only the first of them depends on the loss.
(b) The loss is picked once a block, by one row of a table (`fill`), never per element.
(c) Blocks are fixed by element index and sums are exact, so results do not depend on threads, layout or instruction set.
(d) Layouts and dtypes other than the direct one are staged through buffers of one block.
(e) A serial branch stands beside each parallel one: entering the OpenMP runtime costs more than a small call.
(f) Worker threads may have inherited a floating-point mode that flushes subnormals or rounds otherwise; each pass sets the
    default mode and puts the old one back.
"""
from cython cimport floating
from cython.parallel cimport prange
from libc.math cimport fma
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from cylosses._kernels.exact cimport (
    BLOCK, LANES, PART, Bins, Exact, Spread, add_block, add_count, clear, clear_bins, close_bins, deposit_product, finish, measure, merge,
)
from cylosses._kernels.formulas cimport (
    CHARBONNIER, EPSILON_INSENSITIVE, HUBER, L1, MSE, PSEUDO_HUBER, QUANTILE, SMOOTH_L1, TUKEY, Loss, derivative, has_exact_inverse, irls_weight, make_charbonnier, make_epsilon_insensitive,
    make_huber, make_l1, make_mse, make_pseudo_huber, make_quantile, make_smooth_l1,
    make_smooth_l1_power_of_two, make_tukey, second_derivative, value,
)
from cylosses._kernels.job cimport (
    BFLOAT16, FLOAT16, FLOAT32, GRADIENTS, HESSIANS, INT8, INT16, MM_CURVATURE, UINT8, UINT16, UNIT_CURVATURE, VALUES, WEIGHTS,
    Job, Operand,
)
from cylosses._kernels.mode cimport cylosses_mode, restore_mode, set_default_mode
from cylosses._kernels.staging cimport (
    finish_stores, float_to_odd, format_of, gather, narrowed, product_to_odd, put_run, scatter, size_of, slice_start, within_run,
)

cdef extern from *:
    """
    #ifdef __FAST_MATH__
    #error "cylosses cannot be exact under -ffast-math: build it without"
    #endif
    #ifdef _OPENMP
    #include <omp.h>
    #define CYLOSSES_OPENMP _OPENMP
    #define CYLOSSES_ALLOWED_THREADS() omp_get_max_threads()
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
    #if defined(__GNUC__)
    #define CYLOSSES_PREFETCH(p) __builtin_prefetch((p), 0, 3)
    #else
    #define CYLOSSES_PREFETCH(p) ((void)0)
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
    void PREFETCH "CYLOSSES_PREFETCH"(const void* p) noexcept nogil
    const char* ISA "CYLOSSES_ISA"
    const char* COMPILER "CYLOSSES_COMPILER"
    const char* FLAGS "CYLOSSES_FLAGS"


# ---- the only loops that depend on the loss --------------------------------------------------------------------------------------

cdef enum:
    CACHE_LINE = 64         # bytes
    CHUNK = 64              # elements between two prefetches
    AHEAD = 4096            # bytes from an element to what is prefetched with it

cdef enum Quantity:
    VALUE
    DERIVATIVE
    SECOND_DERIVATIVE
    IRLS_WEIGHT


cdef inline void prefetch(const void* data, int ahead, int size) noexcept nogil:
    """Ask for `size` bytes that lie `ahead` bytes behind data."""
    cdef int k
    for k in range(size // CACHE_LINE):
        PREFETCH(<const char*> data + ahead + k * CACHE_LINE)


cdef void fill_loss(
    bint from_memory, Loss loss, Quantity quantity, const floating* input, const floating* target, floating* out, Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t i, _, first = 0
    if quantity == VALUE:
        if from_memory:             # hardware prefetchers stop at the end of each page
            for _ in range(n // CHUNK):
                prefetch(input + first, AHEAD, CHUNK * sizeof(floating))
                prefetch(target + first, AHEAD, CHUNK * sizeof(floating))
                for i in range(first, first + CHUNK):
                    out[i] = value(loss, input[i] - target[i])
                first += CHUNK
        for i in range(first, n):
            out[i] = value(loss, input[i] - target[i])
    elif quantity == DERIVATIVE:
        for i in range(n):
            out[i] = derivative(loss, input[i] - target[i])
    elif quantity == SECOND_DERIVATIVE:
        for i in range(n):
            out[i] = second_derivative(loss, input[i] - target[i])
    else:
        for i in range(n):
            out[i] = irls_weight(loss, input[i] - target[i])


cdef void fill(
    const Job* job, Quantity quantity, const floating* input, const floating* target, floating* out, Py_ssize_t n
) noexcept nogil:
    """The dispatch table: one row a loss."""
    cdef double parameter = job.parameter
    if job.loss == SMOOTH_L1 and has_exact_inverse(parameter, floating is float):
        fill_loss(job.prefetch, make_smooth_l1_power_of_two(parameter), quantity, input, target, out, n)
    elif job.loss == SMOOTH_L1 and parameter > 0:
        fill_loss(job.prefetch, make_smooth_l1(parameter), quantity, input, target, out, n)
    elif job.loss == L1 or job.loss == SMOOTH_L1:
        fill_loss(job.prefetch, make_l1(), quantity, input, target, out, n)
    elif job.loss == MSE:
        fill_loss(job.prefetch, make_mse(), quantity, input, target, out, n)
    elif job.loss == HUBER:
        fill_loss(job.prefetch, make_huber(parameter), quantity, input, target, out, n)
    elif job.loss == TUKEY:
        fill_loss(job.prefetch, make_tukey(parameter), quantity, input, target, out, n)
    elif job.loss == QUANTILE:
        fill_loss(job.prefetch, make_quantile(parameter), quantity, input, target, out, n)
    elif job.loss == EPSILON_INSENSITIVE:
        fill_loss(job.prefetch, make_epsilon_insensitive(parameter), quantity, input, target, out, n)
    elif job.loss == PSEUDO_HUBER:
        fill_loss(job.prefetch, make_pseudo_huber(parameter), quantity, input, target, out, n)
    elif job.loss == CHARBONNIER:
        fill_loss(job.prefetch, make_charbonnier(parameter), quantity, input, target, out, n)


# ---- one block -------------------------------------------------------------------------------------------------------------------

cdef struct Part:
    # What one thread has summed.
    Exact total
    Exact weights
    Bins of_total           # what total still lacks
    Bins of_rests           # the last places of products, which have a grid of their own
    Bins of_weights
    uint64_t count
    bint bad_weight


cdef inline void clear_part(Part* part, const Job* job) noexcept nogil:
    clear(&part.total)
    clear_bins(&part.of_total)
    clear_bins(&part.of_rests)
    clear_bins(&part.of_weights)
    if job.weight.data is not NULL:
        clear(&part.weights)
    part.count = 0
    part.bad_weight = False


cdef inline Py_ssize_t pad(floating* terms, Py_ssize_t n) noexcept nogil:
    """Fill up with zeros to a multiple of LANES."""
    cdef Py_ssize_t padded = (n + LANES - 1) // LANES * LANES
    memset(terms + n, 0, (padded - n) * sizeof(floating))
    return padded


cdef inline const floating* stage(
    const Job* job, const Operand* operand, char* data, Py_ssize_t start, Py_ssize_t n, floating* buffer
) noexcept nogil:
    """Elements start .. start + n as a contiguous array: in place if possible."""
    cdef const floating* found
    if operand.direct:
        return <const floating*> data + start
    found = within_run(job, operand, data, start, n, buffer)
    if found is not NULL:
        return found
    gather(job, operand, data, start, n, buffer)
    return buffer


cdef inline Py_ssize_t step_of(const Job* job) noexcept nogil:
    """Elements of a block: a multiple of the shortest period of a broadcast operand, which then is staged only once."""
    cdef Py_ssize_t period = 0
    if 0 < job.input.period <= BLOCK:
        period = job.input.period
    if 0 < job.target.period <= BLOCK and (period == 0 or job.target.period < period):
        period = job.target.period
    return BLOCK // period * period if period else BLOCK


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


cdef void add_products(
    const Job* job, Part* part, floating* terms, double* weights, Py_ssize_t n
) noexcept nogil:
    """Add terms * weights exactly."""
    cdef double product[BLOCK]
    cdef double rest[BLOCK]
    cdef Spread of_terms, of_weights
    cdef Py_ssize_t i, padded = pad(terms, n)
    pad(weights, n)
    if floating is float:
        if fits_24_bits(job.weight.storage):
            for i in range(padded):
                product[i] = <double> terms[i] * weights[i]
            add_block(&part.total, &part.of_total, product, padded)
            return
    of_terms = measure(terms, padded)
    of_weights = measure(weights, padded)
    if of_terms.empty:
        return
    if of_terms.binnable and of_terms.top + of_weights.top < 1000 and of_terms.bottom + of_weights.bottom > -900:
        for i in range(padded):
            product[i] = terms[i] * weights[i]
            rest[i] = fma(terms[i], weights[i], -product[i])
        add_block(&part.total, &part.of_total, product, padded)
        add_block(&part.total, &part.of_rests, rest, padded)
    else:                           # a product, or its last place, may leave float64's range
        for i in range(n):
            deposit_product(&part.total, terms[i], weights[i])


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


cdef inline void scale_by(const Job* job, floating* values, const double* factors, Py_ssize_t n) noexcept nogil:
    """values * scale, or values * factors if there are any; float32 values are multiplied in float64 and rounded once."""
    cdef Py_ssize_t i
    cdef double scale = job.scale
    if factors is not NULL:
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


cdef void walk(
    Job* job, Py_ssize_t number, Py_ssize_t start, Py_ssize_t stop, Part* part, const floating* working_type
) noexcept nogil:
    """Elements start .. stop of slice `number`; of working_type only the type is used."""
    cdef floating input_buffer[BLOCK]
    cdef floating target_buffer[BLOCK]
    cdef floating selected[BLOCK]
    cdef floating values[BLOCK]
    cdef floating gradients[BLOCK]
    cdef floating hessians[BLOCK]
    cdef double weights[BLOCK]
    cdef double factors[BLOCK]
    cdef const floating* input = NULL
    cdef const floating* target = NULL
    cdef const double* factor
    cdef bint weighted = job.weight.data is not NULL, masked = job.where.data is not NULL
    cdef bint scaled_each = weighted or job.grad_output.data is not NULL
    cdef bint want_gradient = job.gradient.data is not NULL or job.term == GRADIENTS
    cdef bint want_hessian = job.hessian.data is not NULL or job.term == HESSIANS
    cdef bint want_weights = weighted and (job.divide or job.weights is not NULL)
    cdef bint want_value = job.value.data is not NULL or job.term == VALUES
    cdef Py_ssize_t n, i, padded, count, step, first = start
    cdef char* input_data = slice_start(job, &job.input, number)
    cdef char* target_data = slice_start(job, &job.target, number)
    cdef char* weight_data = slice_start(job, &job.weight, number) if weighted else NULL
    cdef char* where_data = slice_start(job, &job.where, number) if masked else NULL
    cdef char* grad_output_data = slice_start(job, &job.grad_output, number) if job.grad_output.data is not NULL else NULL
    cdef int bad
    cdef Quantity quantity
    step = step_of(job)
    while start < stop:
        n = stop - start if stop - start < step else step
        if want_value or want_gradient or want_hessian:
            if start == first or not repeats(&job.input, step):
                input = stage(job, &job.input, input_data, start, n, <floating*> input_buffer)
            if start == first or not repeats(&job.target, step):
                target = stage(job, &job.target, target_data, start, n, <floating*> target_buffer)
            # All results are in buffers before the first is stored: an output may be the memory of an input.
            if want_value:
                fill(job, VALUE, input, target, <floating*> values, n)
                narrow_block(job, <floating*> values, n)
            if want_gradient:
                fill(job, DERIVATIVE, input, target, <floating*> gradients, n)
            if want_hessian:
                if job.curvature == UNIT_CURVATURE:
                    for i in range(n):
                        hessians[i] = 1
                else:
                    quantity = IRLS_WEIGHT if job.curvature == MM_CURVATURE else SECOND_DERIVATIVE
                    fill(job, quantity, input, target, <floating*> hessians, n)

        count = n
        if masked:
            gather(job, &job.where, where_data, start, n, <floating*> selected)
            count = 0
            for i in range(n):
                count += selected[i] != 0
        if weighted:
            gather(job, &job.weight, weight_data, start, n, <double*> weights)
            if masked:
                for i in range(n):
                    weights[i] = weights[i] if selected[i] != 0 else 0
            bad = 0
            for i in range(n):
                bad |= not 0 <= weights[i] <= 1.7976931348623157e308
            if bad:
                part.bad_weight = True
                return
            count = 0
            for i in range(n):      # weight 0 is removal
                selected[i] = weights[i] != 0
                count += weights[i] != 0
        part.count += count

        if scaled_each:
            if grad_output_data is not NULL:
                gather(job, &job.grad_output, grad_output_data, start, n, <double*> factors)
                for i in range(n):
                    factors[i] = factors[i] * job.scale
            else:
                for i in range(n):
                    factors[i] = job.scale
            if weighted:
                for i in range(n):
                    factors[i] = factors[i] * weights[i]
        factor = <const double*> factors if scaled_each else NULL
        if want_gradient:
            scale_by(job, <floating*> gradients, factor, n)
            narrow_block(job, <floating*> gradients, n)
        if want_hessian:
            scale_by(job, <floating*> hessians, factor, n)
            narrow_block(job, <floating*> hessians, n)
        if masked or weighted:
            if want_value:
                keep_selected(<floating*> selected, <floating*> values, n)
            if want_gradient:
                keep_selected(<floating*> selected, <floating*> gradients, n)
            if want_hessian:
                keep_selected(<floating*> selected, <floating*> hessians, n)

        if job.term == VALUES:
            if weighted:
                add_products(job, part, <floating*> values, <double*> weights, n)
            else:
                padded = pad(<floating*> values, n)
                add_block(&part.total, &part.of_total, <floating*> values, padded)
        elif job.term == GRADIENTS:
            padded = pad(<floating*> gradients, n)
            add_block(&part.total, &part.of_total, <floating*> gradients, padded)
        elif job.term == HESSIANS:
            padded = pad(<floating*> hessians, n)
            add_block(&part.total, &part.of_total, <floating*> hessians, padded)
        elif job.term == WEIGHTS:
            if weighted:
                padded = pad(<double*> weights, n)
                add_block(&part.total, &part.of_total, <double*> weights, padded)
            else:
                add_count(&part.total, count)
        if want_weights:
            padded = pad(<double*> weights, n)
            add_block(&part.weights, &part.of_weights, <double*> weights, padded)

        if job.value.data is not NULL:
            if weighted:
                weigh_values(job, <floating*> values, <double*> weights, n)
            scatter(job, &job.value, slice_start(job, &job.value, number), start, n, <floating*> values)
        if job.gradient.data is not NULL:
            scatter(job, &job.gradient, slice_start(job, &job.gradient, number), start, n, <floating*> gradients)
        if job.hessian.data is not NULL:
            scatter(job, &job.hessian, slice_start(job, &job.hessian, number), start, n, <floating*> hessians)
        start += n


cdef void sum_values(
    Job* job, Py_ssize_t number, Py_ssize_t start, Py_ssize_t stop, Part* part, const floating* working_type
) noexcept nogil:
    """walk() where it comes to no more than this: the sum of values of direct operands."""
    cdef floating values[BLOCK]
    cdef const floating* input = <const floating*> slice_start(job, &job.input, number)
    cdef const floating* target = <const floating*> slice_start(job, &job.target, number)
    # From memory, computing and summing alternate quickly, so that prefetching does not pause; from a cache, larger steps cost less.
    cdef Py_ssize_t n, step = PART if job.prefetch else BLOCK
    part.count += stop - start
    while start < stop:
        n = stop - start if stop - start < step else step
        fill(job, VALUE, input + start, target + start, <floating*> values, n)
        add_block(&part.total, &part.of_total, <floating*> values, pad(<floating*> values, n))
        start += n


# ---- slices and threads ----------------------------------------------------------------------------------------------------------

cdef inline bint is_plain_sum(const Job* job) noexcept nogil:
    return (
        job.term == VALUES and job.narrow < 0 and job.input.direct and job.target.direct and job.weight.data is NULL
        and job.where.data is NULL and job.value.data is NULL and job.gradient.data is NULL and job.hessian.data is NULL
    )


cdef void walk_range(Job* job, Py_ssize_t number, Py_ssize_t start, Py_ssize_t stop, Part* part) noexcept nogil:
    if is_plain_sum(job):
        if job.single:
            sum_values(job, number, start, stop, part, <const float*> NULL)
        else:
            sum_values(job, number, start, stop, part, <const double*> NULL)
    elif job.single:
        walk(job, number, start, stop, part, <const float*> NULL)
    else:
        walk(job, number, start, stop, part, <const double*> NULL)
    close_bins(&part.total, &part.of_total)
    close_bins(&part.total, &part.of_rests)
    close_bins(&part.weights, &part.of_weights)
    if job.bypass_cache:
        finish_stores()             # before another thread reads the outputs


cdef void finish_slice(Job* job, Py_ssize_t number, Part* part) noexcept nogil:
    """Round the sum of a slice into its place of the result."""
    cdef double v
    cdef Exact* divisor = &part.weights if job.divide and job.weight.data is not NULL else NULL
    if job.result is NULL:          # then run() hands the sums over unrounded
        return
    v = finish(&part.total, part.count if job.divide else 1, divisor, format_of(job.result_storage))
    put_run(job.result_storage, job.result + number * size_of(job.result_storage), 0, False, 1, &v)


cdef void run_slices(Job* job, Py_ssize_t first, Py_ssize_t last, int* bad_weight) noexcept nogil:
    """Whole slices, one after the other."""
    cdef cylosses_mode mode = set_default_mode()
    cdef Part part
    cdef Py_ssize_t number
    for number in range(first, last):
        clear_part(&part, job)
        walk_range(job, number, 0, job.size, &part)
        if part.bad_weight:
            bad_weight[0] = 1
            break
        finish_slice(job, number, &part)
    restore_mode(mode)


cdef void run_part(Job* job, Py_ssize_t number, int share, Part* part) noexcept nogil:
    """One thread's share of a slice, cut between blocks."""
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
        run_part(job, number, 0, parts)
    else:
        for t in prange(threads, num_threads=threads, schedule="static", chunksize=1):
            run_part(job, number, t, &parts[t])
        for t in range(1, threads):
            merge_part(job, parts, &parts[t])
    job.bad_weight = job.bad_weight or parts.bad_weight
    if not parts.bad_weight:
        finish_slice(job, number, parts)


cdef void run_in_default_mode(Job* job) noexcept nogil:
    cdef Part single
    cdef Part* parts = &single
    cdef Py_ssize_t number, chunk
    cdef int bad_weight = 0, threads = job.threads
    if job.single:
        job.parameter = <float> job.parameter
    job.bad_weight = False
    job.count = 0
    if job.slices > 1 and (threads == 1 or job.slices >= 4 * threads):
        if threads == 1:
            run_slices(job, 0, job.slices, &bad_weight)
        else:
            chunk = job.slices // (threads * 8) + 1
            for number in prange(0, job.slices, chunk, num_threads=threads, schedule="dynamic"):
                run_slices(job, number, number + chunk if number + chunk < job.slices else job.slices, &bad_weight)
        job.bad_weight = bad_weight
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
    job.count = parts.count
    if not job.bad_weight:
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


cdef api int allowed_threads() noexcept nogil:
    """What OpenMP allows the calling thread: the number that omp_set_num_threads() sets, and with it threadpoolctl."""
    return CYLOSSES_ALLOWED_THREADS()


def release_threads():
    """End the OpenMP worker threads: called before a fork, since the child would wait for threads that it does not have."""
    CYLOSSES_RELEASE_THREADS()


def build_info():
    """How this module was compiled."""
    return {"isa": ISA.decode(), "openmp": OPENMP, "compiler": COMPILER.decode(), "flags": FLAGS.decode()}
