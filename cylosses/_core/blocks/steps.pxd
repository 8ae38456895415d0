# Where blocks end. Results are elementwise or exact sums, so they do not depend on it; speed does.

from cylosses._core.job cimport Job, Operand
from cylosses._core.memory.position cimport SHORT_ROW, has_contiguous_rows, has_distant_rows, has_transposed_rows
from cylosses._core.memory.streaming cimport CACHE_LINE
from cylosses._core.summation.bins cimport BLOCK, QUARTER

cdef enum:
    WORTH_ALIGNING = 8192   # elements


cdef inline Py_ssize_t line_of(const Job* job) noexcept nogil:
    """Elements of a cache line."""
    return CACHE_LINE // 4 if job.single else CACHE_LINE // 8


cdef inline bint writes(const Job* job) noexcept nogil:
    """Whether there are elementwise results."""
    return job.value.data is not NULL or job.gradient.data is not NULL or job.hessian.data is not NULL


cdef inline bint stores_past_cache(const Job* job) noexcept nogil:
    """Whether there are outputs that are stored past the cache: then incomplete cache lines cost more than whole ones."""
    return job.bypass_cache and writes(job)


cdef inline bint has_gaps(const Job* job, const Operand* operand) noexcept nogil:
    """Whether the operand needs no conversion, and its elements are at most half of the memory that is read."""
    cdef Py_ssize_t stride = operand.strides[job.ndim - 1]
    return operand.readable and (stride if stride > 0 else -stride) >= (8 if job.single else 16)


cdef inline Py_ssize_t step_of(const Job* job) noexcept nogil:
    """Elements of a block: whole periods of a broadcast operand, which then is staged only once, or else whole short rows, which
    come to whole cache lines if possible.
    """
    cdef Py_ssize_t multiple = 0, limit = BLOCK, columns = job.shape[job.ndim - 1], line = line_of(job)
    if job.columns:                     # whole slices, or whole rows of columns, if a block holds them
        multiple = job.columns * job.terms if job.columns * job.terms <= BLOCK else job.columns
        return BLOCK // multiple * multiple if multiple <= BLOCK else BLOCK
    if 0 < job.input.period <= BLOCK:
        multiple = job.input.period
    if 0 < job.target.period <= BLOCK and (multiple == 0 or job.target.period < multiple):
        multiple = job.target.period
    if job.prefetch and multiple == 0 and not (has_transposed_rows(job, &job.input) or has_transposed_rows(job, &job.target)):
        # From memory, staging and computing alternate quickly, so that reading does not pause; the more so where lines hold gaps.
        limit = QUARTER if has_gaps(job, &job.input) or has_gaps(job, &job.target) else 2 * QUARTER
    if multiple == 0 and 0 < columns <= SHORT_ROW:
        multiple = columns
        while multiple % line and 2 * multiple <= limit:
            multiple *= 2
        if multiple % line and stores_past_cache(job):
            multiple = 0
    return limit // multiple * multiple if multiple else limit


cdef inline bint stop_at_rows(const Job* job) noexcept nogil:
    """Whether blocks are to end where rows do: then they need no staging, and what follows is near."""
    cdef Py_ssize_t row = job.shape[job.ndim - 1]
    if job.columns or row < QUARTER or (row % line_of(job) and stores_past_cache(job)):
        return False
    return (
        (has_contiguous_rows(job, &job.input) and has_distant_rows(job, &job.input))
        or (has_contiguous_rows(job, &job.target) and has_distant_rows(job, &job.target))
    )


cdef inline bint repeats(const Operand* operand, Py_ssize_t step) noexcept nogil:
    """Whether every block of `step` elements is the same as the one before."""
    return operand.period > 0 and step % operand.period == 0


cdef inline Py_ssize_t elements_past_line(const Job* job) noexcept nogil:
    """By how many elements an output, or without outputs the input, begins after the start of a cache line: blocks end where lines
    do.

    Past the cache, incomplete lines cost more than whole ones; within, what lies across two lines takes as long as two. Large
    arrays have one alignment as a rule.
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
    """How many of the elements start .. stop come before a cache line begins; if none do, up to a whole step."""
    cdef Py_ssize_t line = line_of(job), n = (start + elements_past_line(job)) % line
    n = line - n if n else step
    return n if n < stop - start else stop - start
