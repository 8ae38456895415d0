# The only loops that depend on the loss: numbers of a block of residuals, or the sum of their values.
#
# The loops are short and plain, so that compilers vectorise them. They go over whole groups of elements, without code for what is
# left over, which fill() pads: that keeps them small, and inlining in its budget. The loss is picked once a block, by one row of a
# table (for_loss), never per element.

from cython cimport floating
from libc.math cimport NAN
from libc.string cimport memcpy, memset

from cylosses._core.blocks.sums cimport Sums, pad
from cylosses._core.formulas cimport derivative, irls_weight, second_derivative, value
from cylosses._core.job cimport DERIVATIVE, SCALED_DERIVATIVE, SECOND_DERIVATIVE, SUM_OF_VALUES, VALUE, Job, Quantity
from cylosses._core.memory.streaming cimport copy_lines_past_cache, prefetch
from cylosses._core.parameters cimport (
    CHARBONNIER, EPSILON_INSENSITIVE, GEMAN_MCCLURE, HUBER, L1, MSE, PSEUDO_HUBER, QUANTILE, SMOOTH_L1, TUKEY, Loss,
    has_exact_inverse, make_charbonnier, make_epsilon_insensitive, make_geman_mcclure, make_huber, make_l1, make_mse,
    make_pseudo_huber, make_quantile, make_smooth_l1, make_smooth_l1_power_of_two, make_tukey,
)
from cylosses._core.summation.bins cimport QUARTER, add_to_bins
from cylosses._core.summation.block cimport add_quarter
from cylosses._core.summation.superaccumulator cimport NOT_A_NUMBER

cdef enum:
    GROUP = 32              # elements; gcc unrolls loops of 16 early, and then they stay scalar
    STREAMED = 128          # elements that are computed before they are stored past the cache

cdef struct Pair:
    # A block of both inputs in the working type.
    const void* input
    const void* target
    Py_ssize_t input_ahead  # how many bytes ahead of each element to prefetch; 0: not at all
    Py_ssize_t target_ahead
    bint past_cache         # whether to store results, which begin where a cache line does, past the cache
    double scale            # of a scaled derivative, not used for anything else


cdef inline void set_pair(Pair* pair, const void* input, const void* target, Py_ssize_t ahead, double scale) noexcept nogil:
    pair.input = input
    pair.target = target
    pair.input_ahead = pair.target_ahead = ahead
    pair.past_cache = False
    pair.scale = scale


cdef inline void fill_groups(
    Loss loss, Quantity quantity, const floating* input, const floating* target, double scale, floating* out, Py_ssize_t n
) noexcept nogil:
    """Whole groups."""
    cdef Py_ssize_t i, k
    if quantity == VALUE:
        for k in range(n // GROUP):
            for i in range(GROUP):
                out[k * GROUP + i] = value(loss, input[k * GROUP + i] - target[k * GROUP + i])
    elif quantity == DERIVATIVE:
        for k in range(n // GROUP):
            for i in range(GROUP):
                out[k * GROUP + i] = derivative(loss, input[k * GROUP + i] - target[k * GROUP + i])
    elif quantity == SCALED_DERIVATIVE:
        for k in range(n // GROUP):
            for i in range(GROUP):
                out[k * GROUP + i] = <floating> (derivative(loss, input[k * GROUP + i] - target[k * GROUP + i]) * scale)
    elif quantity == SECOND_DERIVATIVE:
        for k in range(n // GROUP):
            for i in range(GROUP):
                out[k * GROUP + i] = second_derivative(loss, input[k * GROUP + i] - target[k * GROUP + i])
    else:
        for k in range(n // GROUP):
            for i in range(GROUP):
                out[k * GROUP + i] = irls_weight(loss, input[k * GROUP + i] - target[k * GROUP + i])


cdef inline void fill_loss(Loss loss, Quantity quantity, const Pair* pair, floating* out, Py_ssize_t n) noexcept nogil:
    """Whole groups.

    What is stored past the cache is first computed in a small buffer, whose lines seldom are in the way of loads: with a large one,
    each load would wait for a store to an address that has the same last 12 bits.
    """
    cdef const floating* input = <const floating*> pair.input
    cdef const floating* target = <const floating*> pair.target
    cdef floating buffer[STREAMED]
    cdef Py_ssize_t most = STREAMED if pair.past_cache or pair.input_ahead or pair.target_ahead else n, step
    while n:
        step = n if n < most else most
        if pair.input_ahead or pair.target_ahead:       # hardware prefetchers do not know where the next row is
            prefetch(<const char*> input + pair.input_ahead, step * sizeof(floating))
            prefetch(<const char*> target + pair.target_ahead, step * sizeof(floating))
        fill_groups(loss, quantity, input, target, pair.scale, <floating*> buffer if pair.past_cache else out, step)
        if pair.past_cache:
            copy_lines_past_cache(<char*> out, buffer, step * sizeof(floating))
        input += step
        target += step
        out += step
        n -= step


cdef inline void sum_loss(Loss loss, const Pair* pair, Py_ssize_t n, Sums* sums, const floating* working_type) noexcept nogil:
    """Whole quarters of a block; of working_type only the type is used."""
    cdef const floating* input = <const floating*> pair.input
    cdef const floating* target = <const floating*> pair.target
    cdef floating terms[QUARTER]
    cdef Py_ssize_t _
    for _ in range(n // QUARTER):
        if pair.input_ahead or pair.target_ahead:
            prefetch(<const char*> input + pair.input_ahead, QUARTER * sizeof(floating))
            prefetch(<const char*> target + pair.target_ahead, QUARTER * sizeof(floating))
        fill_groups(loss, VALUE, input, target, 1, <floating*> terms, QUARTER)
        if not add_quarter(&sums.total, &sums.bins, &sums.columns, <floating*> terms):
            add_to_bins(&sums.total, &sums.bins, <floating*> terms, QUARTER)
        input += QUARTER
        target += QUARTER


cdef inline void loop_over(
    Loss loss, Quantity quantity, const Pair* pair, floating* out, Py_ssize_t n, Sums* sums
) noexcept nogil:
    if quantity == SUM_OF_VALUES:
        sum_loss(loss, pair, n, sums, <const floating*> NULL)
    else:
        fill_loss(loss, quantity, pair, out, n)


cdef inline void without_row(Quantity quantity, floating* out, Py_ssize_t n, Sums* sums) noexcept nogil:
    """Results are NaN where the dispatch table has no row: the tests of any loss fail then."""
    cdef Py_ssize_t i
    if quantity == SUM_OF_VALUES:
        sums.total.special |= NOT_A_NUMBER
    else:
        for i in range(n):
            out[i] = NAN


cdef inline void for_loss(
    const Job* job, Quantity quantity, const Pair* pair, floating* out, Py_ssize_t n, Sums* sums
) noexcept nogil:
    """The dispatch table: one row a loss."""
    cdef double parameter = job.parameter
    if job.loss == SMOOTH_L1 and has_exact_inverse(parameter, floating is float):
        loop_over(make_smooth_l1_power_of_two(parameter), quantity, pair, out, n, sums)
    elif job.loss == SMOOTH_L1 and parameter > 0:
        loop_over(make_smooth_l1(parameter), quantity, pair, out, n, sums)
    elif job.loss == L1 or job.loss == SMOOTH_L1:
        loop_over(make_l1(), quantity, pair, out, n, sums)
    elif job.loss == MSE:
        loop_over(make_mse(), quantity, pair, out, n, sums)
    elif job.loss == HUBER:
        loop_over(make_huber(parameter, floating is float), quantity, pair, out, n, sums)
    elif job.loss == TUKEY:
        loop_over(make_tukey(parameter), quantity, pair, out, n, sums)
    elif job.loss == QUANTILE:
        loop_over(make_quantile(parameter), quantity, pair, out, n, sums)
    elif job.loss == EPSILON_INSENSITIVE:
        loop_over(make_epsilon_insensitive(parameter), quantity, pair, out, n, sums)
    elif job.loss == PSEUDO_HUBER:
        loop_over(make_pseudo_huber(parameter), quantity, pair, out, n, sums)
    elif job.loss == CHARBONNIER:
        loop_over(make_charbonnier(parameter), quantity, pair, out, n, sums)
    elif job.loss == GEMAN_MCCLURE:
        loop_over(make_geman_mcclure(parameter), quantity, pair, out, n, sums)
    else:
        without_row(quantity, out, n, sums)


cdef inline void fill(const Job* job, Quantity quantity, const Pair* pair, floating* out, Py_ssize_t n) noexcept nogil:
    """Compute out[:n]; what is left after whole groups is padded to one more."""
    cdef floating input[GROUP]
    cdef floating target[GROUP]
    cdef floating group[GROUP]
    cdef Pair padded
    cdef Py_ssize_t whole = n // GROUP * GROUP
    if whole:
        for_loss(job, quantity, pair, out, whole, NULL)
    if whole < n:
        memset(input, 0, sizeof(input))
        memset(target, 0, sizeof(target))
        memcpy(input, <const floating*> pair.input + whole, (n - whole) * sizeof(floating))
        memcpy(target, <const floating*> pair.target + whole, (n - whole) * sizeof(floating))
        set_pair(&padded, input, target, 0, pair.scale)
        for_loss(job, quantity, &padded, <floating*> group, GROUP, NULL)
        memcpy(out + whole, group, (n - whole) * sizeof(floating))


cdef inline void add_values(
    const Job* job, Sums* sums, const Pair* pair, Py_ssize_t n, const floating* working_type
) noexcept nogil:
    """Add the values of a pair, which are not stored; of working_type only the type is used."""
    cdef floating values[QUARTER]
    cdef Pair remainder = pair[0]
    cdef Py_ssize_t whole = n // QUARTER * QUARTER
    remainder.past_cache = False
    if whole:
        for_loss(job, SUM_OF_VALUES, pair, <floating*> NULL, whole, sums)
    if whole < n:
        remainder.input = <const floating*> pair.input + whole
        remainder.target = <const floating*> pair.target + whole
        fill(job, VALUE, &remainder, <floating*> values, n - whole)
        add_to_bins(&sums.total, &sums.bins, <floating*> values, pad(<floating*> values, n - whole))
