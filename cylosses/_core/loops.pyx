"""ALL the loops: elementwise results and exact sums, block by block, one pass over the data. Built once per instruction set.

Decisions, with their reasons:

(a) Work goes in blocks of up to 1024 elements whose intermediate arrays (losses, gradients, weights) stay in the L1 cache. The
    loops over a block are short and plain, so that compilers vectorise them; only the first of them depends on the loss.
(b) The loss is picked once a block, by one row of a table, never per element.
(c) Results are elementwise or exact sums, so they do not depend on where blocks end: neither on threads nor on layout.
(d) Layouts and dtypes other than the direct one are staged through buffers of one block; contiguous rows are read in place.
(e) A serial branch stands beside each parallel one: entering the OpenMP runtime costs more than a small call.
(f) Worker threads may have inherited a floating-point mode that flushes subnormals or rounds otherwise: each sets the default mode
    for its share and puts the old one back. The calling thread has the default mode already.

Here are slices and threads. One pass over a slice is blocks/walk.pxd, loops over a loss are blocks/computing.pxd; sums are
summation/, those of short slices slices/, layouts memory/. All of these are inline functions, and so compiled with this module.
"""
from cython cimport floating
from cython.parallel cimport prange
from libc.stdlib cimport free, malloc

from cylosses._core.blocks.computing cimport Pair, fill, set_pair
from cylosses._core.blocks.plain cimport add_plain, is_plain
from cylosses._core.blocks.sums cimport Sums, add_to_total, clear_sums, deposit_sums, merge_sums
from cylosses._core.blocks.walk cimport walk
from cylosses._core.compiler cimport outlined
from cylosses._core.factor cimport Factor, factor_over, factor_over_count
from cylosses._core.job cimport Job, Quantity
from cylosses._core.layout cimport lies_in_blocks
from cylosses._core.memory.position cimport slice_start
from cylosses._core.memory.storage cimport format_of, size_of
from cylosses._core.memory.streaming cimport fence_stores
from cylosses._core.memory.strided cimport read_strided, write_strided
from cylosses._core.mode cimport cylosses_mode, restore_mode, set_default_mode
from cylosses._core.slices.slices cimport (
    ARRAYS, SliceSums, add_others, begin_rows, end_rows, set_slices, write_columns,
)
from cylosses._core.summation.bins cimport BLOCK
from cylosses._core.summation.rounding cimport round_quotient
from cylosses._core.summation.superaccumulator cimport Superaccumulator

cdef enum:
    STRIP = 4096            # columns, whose sums stay in the L2 cache
    FEW_TERMS = 8           # of a column: what is read of them and written then is most of the work, and stays in the L1 cache of
    NARROW_STRIP = 1024     # so many
    NARROWEST_STRIP = 256   # columns: narrower strips read memory badly

cdef extern from "compiler.h":
    const long OPENMP "CYLOSSES_OPENMP"
    int CYLOSSES_ALLOWED_THREADS() noexcept nogil
    void CYLOSSES_RELEASE_THREADS() noexcept nogil
    const char* ISA "CYLOSSES_ISA"
    const char* COMPILER "CYLOSSES_COMPILER"
    const char* FLAGS "CYLOSSES_FLAGS"


# ---- slices and threads ----------------------------------------------------------------------------------------------------------

cdef void walk_as(
    Job* job, Py_ssize_t number, Py_ssize_t start, Py_ssize_t stop, Sums* sums, const floating* working_type
) noexcept nogil:
    """Elements start .. stop of slice `number`: at once where that is possible, else by walk()."""
    if is_plain(job) and not job.columns:
        add_plain(job, number, start, stop, sums, working_type)
    else:
        walk(job, number, start, stop, sums, working_type)


cdef inline outlined walk_any(Job* job, Py_ssize_t number, Py_ssize_t start, Py_ssize_t stop, Sums* sums) noexcept nogil:
    if job.single:
        walk_as(job, number, start, stop, sums, <const float*> NULL)
    else:
        walk_as(job, number, start, stop, sums, <const double*> NULL)
    if job.bypass_cache:
        fence_stores()              # before another thread reads the outputs


cdef void walk_range(Job* job, Py_ssize_t number, Py_ssize_t start, Py_ssize_t stop, Sums* sums) noexcept nogil:
    walk_any(job, number, start, stop, sums)
    deposit_sums(sums, job)


cdef void write_factor(Job* job, Py_ssize_t number, Sums* sums) noexcept nogil:
    """Write the factor that a slice's incoming gradient makes with its sum of weights."""
    cdef double dividend = 1
    cdef Factor factor
    if job.dividend.data is not NULL:
        read_strided(job.dividend.storage, slice_start(job, &job.dividend, number), 0, job.dividend.swapped, 1, &dividend)
    if job.weight.data is NULL and sums.count and sums.count >> 53 == 0:
        factor = factor_over_count(dividend, sums.count)
    else:
        factor = factor_over(dividend, &sums.total)
    job.factors[number] = factor.high
    job.factors[job.slices + number] = factor.low
    job.factors[2 * job.slices + number] = factor.exponent


cdef void write_result(Job* job, Py_ssize_t number, Sums* sums) noexcept nogil:
    """Round the sum of a slice and write it to the result, or add it to the slice's total."""
    cdef double v
    cdef Superaccumulator* divisor = &sums.weights if job.divide and job.weight.data is not NULL else NULL
    if job.factors is not NULL:
        write_factor(job, number, sums)
    if job.totals is not NULL:
        add_to_total(&job.totals[number], sums, job)
    if job.result is NULL:
        return
    v = round_quotient(&sums.total, sums.count if job.divide else 1, divisor, format_of(job.result_storage))
    write_strided(job.result_storage, job.result + number * size_of(job.result_storage), 0, False, 1, &v)


cdef bint run_slices(Job* job, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """Whole slices, one after the other; False if a weight is bad."""
    cdef cylosses_mode mode = set_default_mode()
    cdef Sums sums
    cdef bint good = True
    cdef Py_ssize_t number
    for number in range(first, last):
        clear_sums(&sums, job)
        walk_range(job, number, 0, job.size, &sums)
        if job.leftover is not NULL:
            walk_range(job.leftover, number, 0, job.leftover.size, &sums)
        if sums.bad_weight:
            good = False
            break
        write_result(job, number, &sums)
    restore_mode(mode)
    return good


cdef void run_share(Job* job, Py_ssize_t number, int share, Sums* sums) noexcept nogil:
    """One thread's share of a slice, cut between blocks, in a thread that may have any floating-point mode."""
    cdef cylosses_mode mode = set_default_mode()
    cdef Py_ssize_t blocks = (job.size + BLOCK - 1) // BLOCK
    cdef Py_ssize_t stop = blocks * (share + 1) // job.threads * BLOCK
    clear_sums(sums, job)
    walk_range(job, number, blocks * share // job.threads * BLOCK, stop if stop < job.size else job.size, sums)
    restore_mode(mode)


cdef void run_slice(Job* job, Py_ssize_t number, Sums* sums) noexcept nogil:
    """One slice, cut between the threads, each of which has one of the sums."""
    cdef int threads = job.threads, t
    if threads == 1:
        clear_sums(sums, job)
        walk_range(job, number, 0, job.size, sums)
    else:
        for t in prange(threads, num_threads=threads, schedule="static", chunksize=1):
            run_share(job, number, t, &sums[t])
        for t in range(1, threads):
            merge_sums(sums, &sums[t], job)
    if job.leftover is not NULL:
        walk_range(job.leftover, number, 0, job.leftover.size, sums)
    job.bad_weight = job.bad_weight or sums.bad_weight
    if not sums.bad_weight:
        write_result(job, number, sums)


# ---- slices side by side ---------------------------------------------------------------------------------------------------------

cdef void sum_alone(Job* job, Py_ssize_t number) noexcept nogil:
    """Sum one slice by a superaccumulator; weights have been found to be valid."""
    run_slices(job, number, number + 1)


cdef void leave_outputs(Job* job) noexcept nogil:
    """Have the job compute no elementwise results."""
    job.value.data = job.gradient.data = job.hessian.data = NULL


cdef bint run_groups(Job* job, Job* one, int share) noexcept nogil:
    """One thread's share of whole slices, of which each block has some; False if a weight is bad."""
    cdef double memory[(ARRAYS + 1) * BLOCK]
    cdef cylosses_mode mode = set_default_mode()
    cdef Py_ssize_t group = job.terms * job.columns, groups = job.size // group
    cdef SliceSums slices
    cdef Sums sums
    set_slices(&slices, one, job, sum_alone, <char*> memory, BLOCK, 1)
    clear_sums(&sums, job)
    sums.slices = &slices
    walk_any(job, 0, groups * share // job.threads * group, groups * (share + 1) // job.threads * group, &sums)
    restore_mode(mode)
    return not sums.bad_weight


cdef bint run_columns(Job* job, SliceSums* slices, Py_ssize_t strips, int share) noexcept nogil:
    """One thread's share of columns, whose rows are cut into strips: each strip is walked from its first row to the last."""
    cdef cylosses_mode mode = set_default_mode()
    cdef Py_ssize_t group = job.terms * job.columns, tasks = job.size // group * strips, task, row, start, n, at, _
    cdef Sums sums
    clear_sums(&sums, job)
    sums.slices = slices
    task = share - job.threads
    for _ in range((tasks - share + job.threads - 1) // job.threads):
        task += job.threads
        slices.column = task % strips * slices.width if strips > 1 else 0
        n = min(job.columns - slices.column, slices.width)
        at = task // strips
        slices.first = at * job.columns + slices.column
        begin_rows(slices)
        if strips == 1 and job.columns <= BLOCK:
            walk_any(job, 0, at * group, (at + 1) * group, &sums)
        else:
            for row in range(job.terms):
                start = at * group + row * job.columns + slices.column
                walk_any(job, 0, start, start + n, &sums)
        if sums.bad_weight:
            break
        end_rows(slices)
        write_columns(job, slices, n)
    restore_mode(mode)
    return not sums.bad_weight


cdef bint add_rows(Job* job, SliceSums* slices, Py_ssize_t group, int share) noexcept nogil:
    """One thread's share of the rows of columns."""
    cdef cylosses_mode mode = set_default_mode()
    cdef Py_ssize_t start = group * job.terms * job.columns
    cdef Sums sums
    clear_sums(&sums, job)
    sums.slices = slices
    begin_rows(slices)
    walk_any(
        job, 0, start + job.terms * share // job.threads * job.columns, start + job.terms * (share + 1) // job.threads * job.columns, &sums
    )
    end_rows(slices)
    restore_mode(mode)
    return not sums.bad_weight


cdef void run_groups_on_threads(Job* job, Job* one) noexcept nogil:
    cdef int t, good = 0
    if job.threads == 1:
        good = run_groups(job, one, 0)
    else:
        for t in prange(job.threads, num_threads=job.threads, schedule="static", chunksize=1):
            good += run_groups(job, one, t)
    job.bad_weight = good < job.threads


cdef bint run_columns_on_threads(Job* job, Job* one) noexcept nogil:
    """False, and nothing done, without memory."""
    cdef Py_ssize_t n = job.columns, groups = job.size // (job.terms * n), width, strips, size, group, parts
    cdef bint share_rows
    cdef int t, good = 0, threads = job.threads
    cdef char* memory
    cdef SliceSums* slices
    width = STRIP if job.terms > FEW_TERMS else NARROW_STRIP
    strips = max((n + width - 1) // width, min((threads + groups - 1) // groups, n // NARROWEST_STRIP), 1) if n > BLOCK else 1
    width = BLOCK // n * n if n <= BLOCK else (n + strips - 1) // strips
    width = (width + 15) // 16 * 16 if strips > 1 else width    # whole cache lines
    strips = (n + width - 1) // width if n > BLOCK else 1
    size = (width * <Py_ssize_t> (ARRAYS * sizeof(double) + 1) + 63) // 64 * 64
    memory = <char*> malloc(threads * (size + <Py_ssize_t> sizeof(SliceSums)))
    if memory is NULL:
        return False
    slices = <SliceSums*> (memory + threads * size)
    share_rows = n <= BLOCK and groups < threads
    parts = (width // n if n <= BLOCK else 1) * (threads if share_rows else 1)
    for t in range(threads):
        set_slices(slices + t, one, job, sum_alone, memory + t * size, width, parts)
    if threads == 1:
        good = run_columns(job, slices, strips, 0)
    elif not share_rows:
        for t in prange(threads, num_threads=threads, schedule="static", chunksize=1):
            good += run_columns(job, slices + t, strips, t)
    else:
        for group in range(groups):
            good = 0
            for t in prange(threads, num_threads=threads, schedule="static", chunksize=1):
                good += add_rows(job, slices + t, group, t)
            if good < threads:
                break
            for t in range(1, threads):
                add_others(slices, slices + t)
            slices.first = group * n
            write_columns(job, slices, n)
    job.bad_weight = good < threads
    free(memory)
    return True


cdef bint run_side_by_side(Job* job) noexcept nogil:
    """Sum slices side by side, if they lie so and memory suffices."""
    cdef Job one = job[0]           # sums slices that are wide: when their neighbours have been computed
    cdef Job leftover
    cdef Job* side_by_side = job.side_by_side
    if side_by_side is NULL:
        return False
    leave_outputs(&one)
    if one.leftover is not NULL:
        leftover = one.leftover[0]
        leave_outputs(&leftover)
        one.leftover = &leftover
    side_by_side.threads = job.threads
    if lies_in_blocks(side_by_side):
        run_groups_on_threads(side_by_side, &one)
    elif not run_columns_on_threads(side_by_side, &one):
        return False
    job.bad_weight = side_by_side.bad_weight
    return True


cdef void run_in_default_mode(Job* job) noexcept nogil:
    cdef Sums single
    cdef Sums* sums = &single
    cdef Py_ssize_t number, chunk
    cdef int bad_weight = 0, threads = job.threads
    job.bad_weight = False
    if run_side_by_side(job):
        return
    if job.slices > 1 and (threads == 1 or job.slices >= 4 * threads):
        if threads == 1:
            bad_weight = not run_slices(job, 0, job.slices)
        else:
            chunk = job.slices // (threads * 8) + 1
            for number in prange(0, job.slices, chunk, num_threads=threads, schedule="dynamic"):
                bad_weight += not run_slices(job, number, number + chunk if number + chunk < job.slices else job.slices)
        job.bad_weight = bad_weight != 0
        return
    if threads > 1:
        sums = <Sums*> malloc(threads * sizeof(Sums))
        if sums is NULL:
            sums = &single
            job.threads = 1
    for number in range(job.slices):
        run_slice(job, number, sums)
        if job.bad_weight:
            break
    if sums is not &single:
        free(sums)


cdef api void run(Job* job) noexcept nogil:
    """Run a job, in the default floating-point mode that the caller has set; worker threads set it themselves."""
    run_in_default_mode(job)


cdef inline floating evaluate_as(const Job* job, Quantity quantity, floating residual) noexcept nogil:
    cdef floating zero = 0, found = 0
    cdef Pair pair
    set_pair(&pair, &residual, &zero, 0, 1)
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
