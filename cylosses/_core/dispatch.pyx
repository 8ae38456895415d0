"""From checked Python objects to the loops and back: the build that runs, the number of threads, plans for any layout, fork.

`plain_loss`, `plain_gradient` and `plain_gradient_and_hessian` are the fast path of a plain call: two arrays of one shape, each float32
or float64 in any layout, a weight and a mask that broadcast to it, settings of the plain types, no axis. They alone decide what a plain
call is, and return None for anything else, right or wrong, which then takes the general path: _call.py and `execute`.
"""
import os
from functools import wraps
from importlib import import_module
from importlib.util import find_spec

cimport cython
cimport numpy as cnp
from cpython.float cimport PyFloat_AS_DOUBLE
from cpython.long cimport PyLong_AsLongAndOverflow
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from libc.math cimport NAN, fabs
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from cylosses._core.bits cimport Bits64, power_of_two
from cylosses._core.factor cimport MODERATE, Factor, factor_of_digits, factor_over, factor_over_count, moderated, set_factor
from cylosses._core.formulas cimport is_costly, is_known
from cylosses._core.job cimport (
    BFLOAT16, EXACT_CURVATURE, FLOAT16, FLOAT32, FLOAT64, GRADIENTS, HESSIANS, INT8, INT16, INT32, INT64, MAX_DIMS, MM_CURVATURE, NOTHING,
    UINT8, UINT16, UINT32, UINT64, UNIT_CURVATURE, VALUES, WEIGHTS, Evaluate, Job, Operand, PlainJob, Run, enter,
    enter_mask, rounded_parameter, settle_memory, start_job, start_plain_job, want_sum,
)
from cylosses._core.memory.storage cimport format_of
from cylosses._core.memory.streaming cimport CACHE_LINE
from cylosses._core.memory.strided cimport read_strided, write_strided
from cylosses._core.mode cimport cylosses_mode, held, restore_mode, set_default_mode
from cylosses._core.summation.rounding cimport round_quotient
from cylosses._core.summation.superaccumulator cimport BIAS, LIMBS, Superaccumulator, add_count, clear, make_magnitude, merge

cdef extern from "numpy/arrayobject.h":
    object scalar_from "PyArray_Scalar"(void* data, cnp.PyArray_Descr* dtype, object base)

cnp.import_array()

cdef cnp.dtype SINGLE = cnp.PyArray_DescrFromType(cnp.NPY_FLOAT32)
cdef cnp.dtype DOUBLE = cnp.PyArray_DescrFromType(cnp.NPY_FLOAT64)

cdef enum:
    WORTH_THREADS = 65536       # units of work, about 20 µs; below, waking a thread costs about what it saves
    RELEASE_GIL = 4096          # elements; below, releasing the GIL costs more than a waiting thread loses
    OPERANDS = 11
    LEAST_ROWS = 32             # of a tile
    MOST_ROWS = 64              # more rows make longer pieces for the memory, but a block must hold whole cache lines of each
    MAX_LOSSES = 64


# ---- the build and its threads ---------------------------------------------------------------------------------------------------

cdef extern from *:
    """
    #if (defined(__x86_64__) || defined(__amd64__)) && defined(__GNUC__)
    static int cylosses_cpu_level(void) {
        __builtin_cpu_init();
        if (!(__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt"))) return 1;
        if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi")
              && __builtin_cpu_supports("bmi2"))) return 2;
        if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd")
              && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))) return 3;
        return 4;
    }
    #else
    static int cylosses_cpu_level(void) { return 0; }
    #endif
    """
    int cpu_level "cylosses_cpu_level"()

ctypedef int (*AllowedThreads)() noexcept nogil

max_threads = MAX_THREADS       # for _threads.py

cdef Run run
cdef Evaluate evaluate
cdef AllowedThreads allowed_threads
cdef int threads_in_use = 1
cdef bint follow_openmp = False


def available_builds():
    """Builds of the loops that are installed and that this CPU runs, best first: instruction set to module name."""
    found = {}
    for level in range(cpu_level(), 1, -1):
        if find_spec(f"cylosses._core.loops_v{level}"):
            found[f"x86-64-v{level}"] = f"loops_v{level}"
    if find_spec("cylosses._core.loops"):
        found["baseline"] = "loops"
    return found


def choose_build():
    """Import the best build, or the one that the environment variable CYLOSSES_ISA names."""
    builds = available_builds()
    asked = os.environ.get("CYLOSSES_ISA") or next(iter(builds), "")
    if asked not in builds:
        raise ImportError(f"CYLOSSES_ISA={asked!r} is not available here; available: {', '.join(builds) or 'none'}")
    return import_module(f"cylosses._core.{builds[asked]}")


passes = choose_build()
_capsule = passes.__pyx_capi__["run"]
run = <Run> PyCapsule_GetPointer(_capsule, PyCapsule_GetName(_capsule))
_capsule = passes.__pyx_capi__["evaluate"]
evaluate = <Evaluate> PyCapsule_GetPointer(_capsule, PyCapsule_GetName(_capsule))
_capsule = passes.__pyx_capi__["allowed_threads"]
allowed_threads = <AllowedThreads> PyCapsule_GetPointer(_capsule, PyCapsule_GetName(_capsule))
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=passes.release_threads)


def set_threads(int n, bint follow):
    """The number of threads for calls without `n_threads`; with `follow`, no more than OpenMP then allows the calling thread."""
    global threads_in_use, follow_openmp
    threads_in_use = n
    follow_openmp = follow


cpdef int get_threads() noexcept nogil:
    cdef int allowed
    if follow_openmp:
        allowed = allowed_threads()
        return allowed if allowed < threads_in_use else threads_in_use
    return threads_in_use


def build_info():
    """How the loops that run here were compiled."""
    return passes.build_info()


def in_default_mode(function):
    """A decorator: compute in the default floating-point mode, and give back the caller's mode and status flags."""
    @wraps(function)
    def call(*args, **kwargs):
        cdef cylosses_mode mode = set_default_mode()
        try:
            return function(*args, **kwargs)
        finally:
            restore_mode(mode)
    return call


cdef class DefaultMode:
    """The same as a context manager, compiled so that no signal handler runs between setting the mode and its being remembered."""
    cdef cylosses_mode callers

    def __enter__(self):
        self.callers = set_default_mode()

    def __exit__(self, *_):
        restore_mode(self.callers)

    def __call__(self, function):
        return in_default_mode(function)


cpdef double round_to_single(double parameter) noexcept nogil:
    """The parameter rounded to float32, subnormals included, whatever the floating-point mode of the caller."""
    return rounded_parameter(parameter, True)


# The valid parameters of each loss, from the least to the greatest, as bits: of numbers that are not negative, bits have the order of
# the numbers, and their comparison depends on no floating-point mode.
cdef uint64_t accepted[MAX_LOSSES][2]
cdef bint registered[MAX_LOSSES]
cdef dict owner = {}                    # of each row, the full name of its class and its valid parameters


def register_loss(int loss, double least, double greatest, str name):
    """Give a row of the kernels' table to the class of this full name, with the parameters that are valid for it.

    ValueError if there is no such row, or it is another class's.
    """
    cdef tuple row = (name, least, greatest)
    if not is_known(loss) or owner.setdefault(loss, row) != row:        # the same once more: its module is loaded again
        raise ValueError(f"row {loss} of the kernels' table is not free: {owner.get(loss, ('no loss',))[0]} has it")
    accepted[loss][0], accepted[loss][1] = order_of(least), order_of(greatest)
    registered[loss] = True


cdef inline uint64_t order_of(double parameter) noexcept nogil:
    """Bits that grow with the parameter; negative numbers and NaN come last, but -0.0 is 0."""
    cdef Bits64 bits
    bits.f = parameter
    return 0 if bits.u << 1 == 0 else bits.u


cdef bint is_loss(int loss) noexcept nogil:
    """Whether a loss has this code."""
    return 0 <= loss < MAX_LOSSES and registered[loss]


cpdef bint fits(int loss, double parameter, bint single) noexcept nogil:
    """Whether there is such a loss and the parameter is valid for it, also in the working type; NaN never is."""
    cdef uint64_t given = order_of(parameter), rounded = order_of(rounded_parameter(parameter, single))
    return (
        is_loss(loss) and accepted[loss][0] <= given <= accepted[loss][1] and accepted[loss][0] <= rounded <= accepted[loss][1]
    )


def bits_of(double parameter):
    """The bits of a parameter as an int: comparisons of floats depend on the floating-point mode."""
    cdef Bits64 bits
    bits.f = parameter
    return bits.i


def from_bits(int64_t bits):
    """The parameter that has these bits."""
    cdef Bits64 parameter
    parameter.i = bits
    return parameter.f


cdef Factor factor_by_count(double dividend, uint64_t count) noexcept nogil:
    """What derivatives are multiplied with: dividend / count, in the default floating-point mode; 0 for no elements."""
    cdef cylosses_mode mode = set_default_mode()
    cdef Factor factor
    cdef Superaccumulator divisor
    dividend = held(dividend)
    factor.high, factor.low, factor.exponent = dividend / <double> count, 0, 0
    if count >> 53 == 0 and power_of_two(-MODERATE) <= fabs(factor.high) <= power_of_two(MODERATE):
        pass                                # as nearly always
    elif count == 0:
        factor = moderated(0, 0, 0)
    elif count >> 53 == 0:          # a float64 number
        factor = factor_over_count(dividend, count)
    else:
        clear(&divisor)
        add_count(&divisor, count)
        factor = factor_over(dividend, &divisor)
    factor.high, factor.low = held(factor.high), held(factor.low)
    restore_mode(mode)
    return factor


cdef Py_ssize_t work_of(const Job* job) noexcept nogil:
    """What a job costs, in elements of a plain float32 sum (about 0.3 ns each)."""
    cdef Py_ssize_t passes = 1
    passes += job.gradient.data is not NULL or job.term == GRADIENTS
    passes += job.hessian.data is not NULL or job.term == HESSIANS
    if job.weight.data is not NULL:
        passes += 2
    if not (job.input.direct and job.target.direct):
        passes += 1
    if not job.single:
        passes *= 2
    if is_costly(job.loss):
        passes *= 2
    return job.slices * job.size * passes


cdef int choose_threads(const Job* job) noexcept nogil:
    """Those that the job asks for, or by default as many as may be where the work is worth waking them; at most one for each block."""
    cdef int threads = job.threads
    cdef Py_ssize_t blocks = job.slices * job.size // 1024 + 1
    if blocks == 1:
        return 1
    if threads <= 0:
        threads = get_threads() if work_of(job) >= WORTH_THREADS else 1
    return threads if threads < blocks else <int> blocks


cdef double evaluate_loss(int loss, double parameter, bint single, Quantity quantity, double residual) noexcept nogil:
    """One number of one residual; the parameter is valid and rounded to the working type."""
    cdef Job job
    job.loss = loss
    job.parameter = parameter
    job.single = single
    return evaluate(&job, quantity, residual)


cdef void run_job(Job* job) noexcept nogil:
    """Run a job whose number of threads may be 0, for the default."""
    job.threads = choose_threads(job)
    settle_memory(job)
    run(job)


cdef void run_from_python(Job* job):
    """Run a job, without the GIL if it is worth releasing."""
    if job.slices * job.size < RELEASE_GIL:
        run_job(job)
    else:
        with nogil:
            run_job(job)


# ---- exact totals ----------------------------------------------------------------------------------------------------------------

cdef void round_into(const Superaccumulator* total, const Superaccumulator* divisor, int storage, char* result) noexcept nogil:
    """Write RN(total / divisor), or RN(total) if divisor is NULL; both keep their values."""
    cdef Superaccumulator copy = total[0]              # rounding spends what it rounds
    cdef Superaccumulator divisor_copy
    cdef Superaccumulator* divisor_of_copy = NULL
    cdef cylosses_mode mode = set_default_mode()        # subnormal results too
    cdef double v
    if divisor is not NULL:
        divisor_copy = divisor[0]
        divisor_of_copy = &divisor_copy
    v = round_quotient(&copy, 1, divisor_of_copy, format_of(storage))
    write_strided(storage, result, 0, False, 1, &v)
    restore_mode(mode)


cdef class ExactSum:
    """An exact sum, the integer state behind `StreamingLoss`. Jobs add to it; who shares one with others changes it no more."""
    cdef Superaccumulator exact

    def __cinit__(self):
        clear(&self.exact)

    def plus(self, ExactSum other):
        """The sum of both, which keep their values."""
        cdef ExactSum total = ExactSum()
        cdef Superaccumulator copy = other.exact
        total.exact = self.exact
        merge(&total.exact, &copy)
        return total

    def add_count(self, unsigned long long n):
        """Add an integer."""
        add_count(&self.exact, n)

    def round_quotient(self, ExactSum divisor, cnp.dtype dtype):
        """RN(sum / divisor), or RN(sum) if divisor is None, as a scalar of the dtype."""
        cdef char room[8]
        round_into(&self.exact, NULL if divisor is None else &divisor.exact, storage_of(dtype), room)
        return scalar_from(room, <cnp.PyArray_Descr*> dtype, None)

    def parts(self):
        """(n, exponent, special): the sum is n * 2**exponent, n odd or both 0; special has the bits of Special in exact.pxd."""
        cdef Superaccumulator copy = self.exact
        cdef bint negative = make_magnitude(&copy)
        cdef int k
        n = 0
        for k in range(copy.high, copy.low - 1, -1):
            n = (n << 32) | copy.limb[k]
        if n == 0:
            return 0, 0, copy.special
        zeros = (n & -n).bit_length() - 1
        n >>= zeros
        return -n if negative else n, 32 * copy.low + zeros - BIAS, copy.special

    @staticmethod
    def from_parts(n, exponent, int special):
        """The sum that has these parts; ValueError if it lies outside what sums of data can reach."""
        cdef ExactSum total = ExactSum()
        cdef int k = 0, sign = -1 if n < 0 else 1
        total.exact.special = special
        if n == 0:
            return total
        if exponent < -BIAS or exponent + BIAS + n.bit_length() > 32 * (LIMBS - 1):
            raise ValueError(f"a sum with the exponent {exponent} lies outside the range of exact sums")
        magnitude = abs(n) << (exponent + BIAS)
        total.exact.low = 0
        while magnitude:
            total.exact.limb[k] = sign * <int64_t> (magnitude & 0xffffffff)
            total.exact.high = k
            magnitude >>= 32
            k += 1
        return total


cdef class Cell:
    """A place for one object that several threads replace, each by what it makes of the one before."""
    cdef readonly object content

    def __init__(self, content):
        self.content = content

    def replace(self, old, new):
        """Put `new` in the place of `old`; false, and nothing done, if that is not there any more. No signal handler runs meanwhile."""
        with cython.critical_section(self):     # nothing with a GIL, which suffices
            if self.content is not old:
                return False
            self.content = new
            return True


# ---- plans: jobs on arrays of any layout -----------------------------------------------------------------------------------------

cdef struct Plan:
    # A job with room for its shape and strides.
    Job job
    int operands
    Operand* operand[OPERANDS]      # those that are there
    int order[MAX_DIMS]             # the axis of each dimension at first
    Py_ssize_t shape[MAX_DIMS]
    Py_ssize_t strides[OPERANDS][MAX_DIMS]


cdef int storage_of(cnp.dtype dtype) except -1:
    cdef int number = dtype.type_num
    cdef Py_ssize_t size = dtype.itemsize
    if number == cnp.NPY_FLOAT32:
        return FLOAT32
    if number == cnp.NPY_FLOAT64:
        return FLOAT64
    if number == cnp.NPY_FLOAT16:
        return FLOAT16
    if number == cnp.NPY_BOOL:
        return UINT8
    if dtype.kind == c"u":
        return UINT8 if size == 1 else UINT16 if size == 2 else UINT32 if size == 4 else UINT64
    if dtype.kind == c"i":
        return INT8 if size == 1 else INT16 if size == 2 else INT32 if size == 4 else INT64
    if dtype.name == "bfloat16":
        return BFLOAT16
    raise TypeError(f"unexpected dtype {dtype}")        # _call.py lets none of these through


cdef int set_shape(Plan* plan, tuple shape, list kept) except -1:
    """Enter the shape with the kept axes first."""
    cdef int axis, k = 0
    plan.job.ndim = len(shape)
    plan.job.outer = 0 if kept is None else len(kept)
    if kept is not None:
        for axis in kept:
            plan.order[k] = axis
            k += 1
    for axis in range(plan.job.ndim):
        if kept is None or axis not in kept:
            plan.order[k] = axis
            k += 1
    for k in range(plan.job.ndim):
        plan.shape[k] = shape[plan.order[k]]
    return 0


cdef void set_shape_of(Plan* plan, cnp.ndarray array) noexcept:
    """Enter the shape of an array all of whose axes are summed over."""
    cdef int k
    plan.job.ndim = cnp.PyArray_NDIM(array)
    for k in range(plan.job.ndim):
        plan.order[k] = k
        plan.shape[k] = cnp.PyArray_DIM(array, k)


cdef int add_operand(Plan* plan, Operand* operand, object operand_or_none) except -1:
    """Enter an array that broadcasts to the plan's shape; None leaves the operand out."""
    cdef Py_ssize_t* strides = plan.strides[plan.operands]
    cdef cnp.ndarray array = operand_or_none
    cdef int k, axis, missing
    if array is None:
        return 0
    missing = plan.job.ndim - cnp.PyArray_NDIM(array)
    for k in range(plan.job.ndim):
        axis = plan.order[k] - missing
        strides[k] = 0
        if axis >= 0 and cnp.PyArray_DIM(array, axis) != 1:
            strides[k] = cnp.PyArray_STRIDE(array, axis)
    operand.data = <char*> cnp.PyArray_DATA(array)
    operand.strides = strides
    operand.storage = storage_of(array.dtype)
    operand.swapped = cnp.PyArray_ISBYTESWAPPED(array)
    operand.readable = cnp.PyArray_ISALIGNED(array) and not operand.swapped
    plan.operand[plan.operands] = operand
    plan.operands += 1
    return 0


cdef void move_dimension(Plan* plan, int source, int to) noexcept:
    """Take the dimension at source out and put it in at `to` <= source."""
    cdef Py_ssize_t moved = plan.shape[source]
    cdef int k, m
    for k in range(source, to, -1):
        plan.shape[k] = plan.shape[k - 1]
    plan.shape[to] = moved
    for m in range(plan.operands):
        moved = plan.strides[m][source]
        for k in range(source, to, -1):
            plan.strides[m][k] = plan.strides[m][k - 1]
        plan.strides[m][to] = moved


cdef void drop_dimension(Plan* plan, int at) noexcept:
    cdef int k, m
    plan.job.ndim -= 1
    for k in range(at, plan.job.ndim):
        plan.shape[k] = plan.shape[k + 1]
        for m in range(plan.operands):
            plan.strides[m][k] = plan.strides[m][k + 1]


cdef bint belongs_outside(Plan* plan, int a, int b) noexcept:
    """Whether dimension a should enclose b: the first operand that tells their strides apart decides."""
    cdef Py_ssize_t of_a, of_b
    cdef int m
    for m in range(plan.operands):
        of_a = abs(plan.strides[m][a])
        of_b = abs(plan.strides[m][b])
        if of_a and of_b and of_a != of_b:
            return of_a > of_b
    return a < b


cdef void flip_backward(Plan* plan, int k) noexcept:
    """Walk dimension k the other way if every operand does so backward: the order of elements does not matter."""
    cdef bint backward = False
    cdef int m
    for m in range(plan.operands):
        if plan.strides[m][k] > 0:
            return
        backward = backward or plan.strides[m][k] < 0
    if backward:
        for m in range(plan.operands):
            plan.operand[m].data += plan.strides[m][k] * (plan.shape[k] - 1)
            plan.strides[m][k] = -plan.strides[m][k]


cdef bint continues(Plan* plan, int k) noexcept:
    """Whether dimensions k and k + 1 are one for every operand."""
    cdef int m
    for m in range(plan.operands):
        if plan.strides[m][k] != plan.strides[m][k + 1] * plan.shape[k + 1]:
            return False
    return True


cdef int fastest_dimension(Plan* plan, int m) noexcept:
    """The inner dimension along which operand m has its shortest stride but 0; -1 if there is none."""
    cdef int k, found = -1
    for k in range(plan.job.outer, plan.job.ndim):
        if plan.strides[m][k] and (found < 0 or abs(plan.strides[m][k]) < abs(plan.strides[m][found])):
            found = k
    return found


cdef Py_ssize_t tile_height(Py_ssize_t n) noexcept:
    """Into how many rows a dimension of n is best cut for tiles: with the fewest left over, then as many as may be."""
    cdef Py_ssize_t t, best = n
    if n > MOST_ROWS:
        best = MOST_ROWS
        for t in range(MOST_ROWS - 1, LEAST_ROWS - 1, -1):
            if n % t < n % best:
                best = t
    return best


cdef void copy_plan(const Plan* plan, Plan* to) noexcept:
    cdef int m
    to[0] = plan[0]
    to.job.shape = to.shape
    for m in range(plan.operands):
        to.operand[m] = <Operand*> (<char*> &to.job + (<char*> plan.operand[m] - <char*> &plan.job))
        to.operand[m].strides = to.strides[m]


cdef void tile(Plan* plan, Plan* rest) noexcept:
    """Where operands run fastest along different dimensions, as C against Fortran order: walk in tiles, so that each cache line
    of either is read once. Rows that do not fill a tile become the plan `rest`.
    """
    cdef int last = plan.job.ndim - 1, k = -1, m, _
    cdef Py_ssize_t height, left
    if plan.job.slices * plan.job.size == 0 or plan.shape[last] <= MOST_ROWS:
        return
    for m in range(plan.operands):
        k = fastest_dimension(plan, m)
        if 0 <= k < last and abs(plan.strides[m][k]) < CACHE_LINE <= abs(plan.strides[m][last]):
            break
        k = -1
    if k < 0:
        return
    height = tile_height(plan.shape[k])
    left = plan.shape[k] % height
    if left:
        copy_plan(plan, rest)
        for m in range(plan.operands):
            rest.operand[m].data += (plan.shape[k] - left) * plan.strides[m][k]
        rest.job.size = plan.job.size // plan.shape[k] * left
        rest.shape[k] = left
        for _ in range(k, last):                # its rows go innermost
            move_dimension(rest, last, k)
        settle_access(rest)
        plan.job.rest = &rest.job
    plan.job.size = plan.job.size // plan.shape[k] * (plan.shape[k] - left)
    plan.shape[k] = plan.shape[k] // height
    plan.shape[last + 1] = height
    plan.job.ndim += 1
    for m in range(plan.operands):
        plan.strides[m][last + 1] = plan.strides[m][k]
        plan.strides[m][k] *= height
    if plan.shape[k] == 1:
        drop_dimension(plan, k)


cdef void settle_access(Plan* plan) noexcept:
    """Find the operands that need no staging, and those that repeat."""
    cdef Py_ssize_t expected
    cdef Operand* operand
    cdef int k, m, wanted = FLOAT32 if plan.job.single else FLOAT64
    for m in range(plan.operands):
        operand = plan.operand[m]
        expected = 4 if plan.job.single else 8
        operand.readable = operand.readable and operand.storage == wanted
        operand.direct = operand.readable
        for k in range(plan.job.ndim - 1, plan.job.outer - 1, -1):
            operand.direct = operand.direct and (operand.strides[k] == expected or plan.shape[k] == 1)
            expected *= plan.shape[k]
        operand.period = 0
        expected = 1
        for k in range(plan.job.ndim - 1, plan.job.outer - 1, -1):
            if operand.strides[k] == 0 and operand.period == 0:
                operand.period = expected
            elif operand.strides[k] != 0:
                operand.period = 0
            expected *= plan.shape[k]


cdef void simplify(Plan* plan) noexcept:
    """Order the inner dimensions by stride, turn backward ones round and join those that continue each other."""
    cdef int k, j
    cdef Py_ssize_t n
    plan.job.slices = 1
    plan.job.size = 1
    for k in range(plan.job.ndim):
        n = plan.shape[k]
        if k < plan.job.outer:
            plan.job.slices *= n
        else:
            plan.job.size *= n
    if plan.job.slices * plan.job.size > 0:
        for k in range(plan.job.ndim - 1, plan.job.outer - 1, -1):
            if plan.shape[k] == 1:
                drop_dimension(plan, k)
            else:
                flip_backward(plan, k)
        for k in range(plan.job.outer + 1, plan.job.ndim):
            j = k
            while j > plan.job.outer and belongs_outside(plan, k, j - 1):
                j -= 1
            move_dimension(plan, k, j)
        for k in range(plan.job.ndim - 2, plan.job.outer - 1, -1):
            if continues(plan, k):
                plan.shape[k + 1] *= plan.shape[k]
                drop_dimension(plan, k)
    if plan.job.ndim == plan.job.outer:         # there is always an inner dimension
        plan.shape[plan.job.ndim] = 1
        for j in range(plan.operands):
            plan.strides[j][plan.job.ndim] = 0
        plan.job.ndim += 1


cdef int run_plan(
    Plan* plan, object input, object target, object value, object gradient, object hessian, object weight, object where,
    object grad_output, object grad_low=None, object grad_exponent=None, object dividend=None
) except -1:
    """Run a plan that has its shape on these arrays, or None, which broadcast to it."""
    cdef Plan rest
    cdef Job* job = &plan.job
    job.shape = plan.shape
    plan.operands = 0
    add_operand(plan, &job.input, input)
    add_operand(plan, &job.target, target)
    add_operand(plan, &job.value, value)
    add_operand(plan, &job.gradient, gradient)
    add_operand(plan, &job.hessian, hessian)
    add_operand(plan, &job.weight, weight)
    add_operand(plan, &job.where, where)
    add_operand(plan, &job.grad_output, grad_output)
    add_operand(plan, &job.grad_low, grad_low)
    add_operand(plan, &job.grad_exponent, grad_exponent)
    add_operand(plan, &job.dividend, dividend)
    simplify(plan)
    tile(plan, &rest)
    settle_access(plan)
    run_from_python(job)
    return check_weight(job)


cdef inline int check_weight(const Job* job) except -1:
    if job.bad_weight:
        raise ValueError("weight must be finite and not negative where it is selected")
    return 0


# ---- the fast path ---------------------------------------------------------------------------------------------------------------

cdef inline bint is_plain(object x) noexcept:
    """An ndarray of a working type, in any layout."""
    return type(x) is cnp.ndarray and (
        cnp.PyArray_TYPE(<cnp.ndarray> x) == cnp.NPY_FLOAT32 or cnp.PyArray_TYPE(<cnp.ndarray> x) == cnp.NPY_FLOAT64
    )


cdef inline bint is_mask(object x) noexcept:
    return type(x) is cnp.ndarray and cnp.PyArray_TYPE(<cnp.ndarray> x) == cnp.NPY_BOOL


cdef inline bint have_one_shape(cnp.ndarray x, cnp.ndarray y) noexcept:
    cdef int k, ndim = cnp.PyArray_NDIM(x)
    if ndim != cnp.PyArray_NDIM(y):
        return False
    for k in range(ndim):
        if cnp.PyArray_DIM(x, k) != cnp.PyArray_DIM(y, k):
            return False
    return True


cdef bint broadcasts_to(cnp.ndarray x, cnp.ndarray like) noexcept:
    """Whether x broadcasts to the shape of the other array."""
    cdef int k, missing = cnp.PyArray_NDIM(like) - cnp.PyArray_NDIM(x)
    if missing < 0:
        return False
    for k in range(cnp.PyArray_NDIM(x)):
        if cnp.PyArray_DIM(x, k) != 1 and cnp.PyArray_DIM(x, k) != cnp.PyArray_DIM(like, k + missing):
            return False
    return True


cdef inline bint have_one_layout(cnp.ndarray x, cnp.ndarray y) noexcept:
    """Whether both are C-contiguous, aligned and native, and of one shape."""
    return cnp.PyArray_ISCARRAY_RO(x) and cnp.PyArray_ISCARRAY_RO(y) and have_one_shape(x, y)


cdef inline double number_of(object value) noexcept:
    """A float, or an int that is one exactly; NaN for anything else."""
    cdef double n
    cdef int overflow = 0
    if isinstance(value, float):
        return PyFloat_AS_DOUBLE(value)
    if type(value) is int:
        n = <double> PyLong_AsLongAndOverflow(value, &overflow)
        if overflow == 0 and fabs(n) < 9007199254740992.0:      # 2**53
            return n
    return NAN


cdef enum Reduction:
    UNKNOWN
    NONE
    MEAN
    SUM


cdef inline int reduction_named(object reduction):
    """The reduction of this name, the most usual first; UNKNOWN also for objects that only compare equal."""
    if type(reduction) is not str:
        return UNKNOWN
    if <str> reduction == "mean":
        return MEAN
    if <str> reduction == "none":
        return NONE
    return SUM if <str> reduction == "sum" else UNKNOWN


cdef inline int curvature_named(object curvature):
    """The curvature of this name; -1 also for objects that only compare equal."""
    if type(curvature) is not str:
        return -1
    if <str> curvature == "exact":
        return EXACT_CURVATURE
    if <str> curvature == "mm":
        return MM_CURVATURE
    return UNIT_CURVATURE if <str> curvature == "ones" else -1


cdef bint start_plain(
    PlainJob* plain, int loss, object parameter, object input, object target, object weight, object where, object axis,
    object n_threads
) noexcept:
    """Begin a job, if this is a plain call as far as the arguments tell that every plain function has. The operands are entered if
    all of them can be read as they are; else a plan is to be made of the job.
    """
    cdef double number = number_of(parameter), threads = 0 if n_threads is None else number_of(n_threads)
    cdef bint single, direct
    if axis is not None or not (is_plain(input) and is_plain(target)):
        return False
    direct = have_one_layout(<cnp.ndarray> input, <cnp.ndarray> target)
    if not (direct or have_one_shape(<cnp.ndarray> input, <cnp.ndarray> target)):
        return False
    if n_threads is not None and not (type(n_threads) is int and 1 <= threads <= MAX_THREADS):
        return False
    single = cnp.PyArray_TYPE(<cnp.ndarray> input) == cnp.NPY_FLOAT32 and cnp.PyArray_TYPE(<cnp.ndarray> target) == cnp.NPY_FLOAT32
    if not fits(loss, number, single):
        return False
    start_plain_job(plain, loss, fabs(number), single, cnp.PyArray_SIZE(<cnp.ndarray> input))       # -0.0 is 0
    plain.job.threads = <int> threads
    direct = direct and cnp.PyArray_TYPE(<cnp.ndarray> input) == cnp.PyArray_TYPE(<cnp.ndarray> target)
    if weight is not None:
        if not (is_plain(weight) and broadcasts_to(<cnp.ndarray> weight, <cnp.ndarray> input)):
            return False
        direct = direct and (
            cnp.PyArray_TYPE(<cnp.ndarray> weight) == type_of_results(plain)
            and have_one_layout(<cnp.ndarray> weight, <cnp.ndarray> input)
        )
    if where is not None:
        if not (is_mask(where) and broadcasts_to(<cnp.ndarray> where, <cnp.ndarray> input)):
            return False
        direct = direct and have_one_layout(<cnp.ndarray> where, <cnp.ndarray> input)
    if direct:
        enter(plain, &plain.job.input, cnp.PyArray_DATA(<cnp.ndarray> input))
        enter(plain, &plain.job.target, cnp.PyArray_DATA(<cnp.ndarray> target))
        if weight is not None:
            enter(plain, &plain.job.weight, cnp.PyArray_DATA(<cnp.ndarray> weight))
        if where is not None:
            enter_mask(plain, cnp.PyArray_DATA(<cnp.ndarray> where))
    return True


cdef inline int type_of_results(const PlainJob* plain) noexcept:
    return cnp.NPY_FLOAT32 if plain.job.single else cnp.NPY_FLOAT64


cdef int run_planned(
    const PlainJob* plain, object input, object target, object value, object gradient, object hessian, object weight, object where,
    object grad_output,
) except -1:
    """run_plain() where operands are not entered yet."""
    cdef Plan plan
    plan.job = plain.job
    set_shape_of(&plan, <cnp.ndarray> input)
    return run_plan(&plan, input, target, value, gradient, hessian, weight, where, grad_output)


cdef inline int run_plain(
    PlainJob* plain, object input, object target, object value, object gradient, object hessian, object weight, object where,
    object grad_output,
) except -1:
    """Run a job that start_plain() began, with its operands and the outputs of plain_output(), or None."""
    if plain.job.input.data is NULL or grad_output is not None:
        return run_planned(plain, input, target, value, gradient, hessian, weight, where, grad_output)
    if value is not None:
        enter(plain, &plain.job.value, cnp.PyArray_DATA(<cnp.ndarray> value))
    if gradient is not None:
        enter(plain, &plain.job.gradient, cnp.PyArray_DATA(<cnp.ndarray> gradient))
    if hessian is not None:
        enter(plain, &plain.job.hessian, cnp.PyArray_DATA(<cnp.ndarray> hessian))
    run_from_python(&plain.job)
    return check_weight(&plain.job)


cdef bint overlap(cnp.ndarray operand, cnp.ndarray out) noexcept:
    """Whether the memory from the first to the last element of the operand meets that of the C-contiguous `out`."""
    cdef char* start = <char*> cnp.PyArray_DATA(out)
    cdef char* first = <char*> cnp.PyArray_DATA(operand)
    cdef char* last = first
    cdef Py_ssize_t reach
    cdef int k
    for k in range(cnp.PyArray_NDIM(operand)):
        if cnp.PyArray_DIM(operand, k) == 0:
            return False
        reach = cnp.PyArray_STRIDE(operand, k) * (cnp.PyArray_DIM(operand, k) - 1)
        if reach < 0:
            first += reach
        else:
            last += reach
    return first < start + cnp.PyArray_NBYTES(out) and start < last + cnp.PyArray_ITEMSIZE(operand)


cdef bint lies_across(object operand, cnp.ndarray out) noexcept:
    """Whether writing to the C-contiguous `out` may change elements of the operand, if there is one, that are still to be read: they
    overlap, and not element upon element.
    """
    return operand is not None and overlap(<cnp.ndarray> operand, out) and not (
        cnp.PyArray_DATA(<cnp.ndarray> operand) == cnp.PyArray_DATA(out)
        and cnp.PyArray_TYPE(<cnp.ndarray> operand) == cnp.PyArray_TYPE(out)
        and have_one_layout(<cnp.ndarray> operand, out)
    )


cdef object plain_output(const PlainJob* plain, object out, object input, object target, object weight, object where, object grad_output):
    """A new array for results, or `out` if it takes them as they are written and lies across no operand; else None."""
    if out is None:
        return cnp.PyArray_EMPTY(
            cnp.PyArray_NDIM(<cnp.ndarray> input), cnp.PyArray_DIMS(<cnp.ndarray> input), type_of_results(plain), 0
        )
    if not (
        is_plain(out) and cnp.PyArray_TYPE(<cnp.ndarray> out) == type_of_results(plain) and cnp.PyArray_ISCARRAY(<cnp.ndarray> out)
        and have_one_shape(<cnp.ndarray> out, <cnp.ndarray> input)
    ):
        return None
    if lies_across(input, <cnp.ndarray> out) or lies_across(target, <cnp.ndarray> out) or lies_across(weight, <cnp.ndarray> out):
        return None
    return None if lies_across(where, <cnp.ndarray> out) or lies_across(grad_output, <cnp.ndarray> out) else out


cdef inline bint takes_sum(const PlainJob* plain, object out) noexcept:
    """Whether a sum can be written to `out` as it is: a writeable array of no dimensions and the dtype of the results."""
    return (
        type(out) is cnp.ndarray
        and cnp.PyArray_NDIM(<cnp.ndarray> out) == 0
        and cnp.PyArray_TYPE(<cnp.ndarray> out) == type_of_results(plain)
        and cnp.PyArray_ISCARRAY(<cnp.ndarray> out)
    )


cdef object sum_of(const PlainJob* plain, void* room, object out):
    """The sum in this room as a scalar; or `out`, if there is one, with the sum in it."""
    if out is None:
        return scalar_from(room, <cnp.PyArray_Descr*> (SINGLE if plain.job.single else DOUBLE), None)
    memcpy(cnp.PyArray_DATA(<cnp.ndarray> out), room, plain.stride)
    return out


cdef int set_plain_factor(
    PlainJob* plain, double factor, int reduction, object input, object target, object weight, object where
) except -1:
    """Multiply derivatives by the factor: for the mean, over the number of elements or the sum of the weights, which takes a run of
    its own.
    """
    cdef double factors[3]
    cdef PlainJob counting
    if reduction != MEAN:
        set_factor(&plain.job, factor_by_count(factor, 1))
    elif weight is None and where is None:
        set_factor(&plain.job, factor_by_count(factor, plain.size))
    else:
        counting = plain[0]
        counting.job.term = WEIGHTS
        counting.job.factors = factors
        counting.job.dividend.data = <char*> &factor
        counting.job.dividend.storage = FLOAT64
        run_plain(&counting, input, target, None, None, None, weight, where, None)
        plain.job.scale, plain.job.scale_low, plain.job.scale_exponent = factors[0], factors[1], <int> factors[2]
    return 0


cdef inline bint overlaps(object operand, cnp.ndarray out) noexcept:
    return operand is not None and overlap(<cnp.ndarray> operand, out)


cdef int check_weight_first(
    PlainJob* plain, cnp.ndarray out, object input, object target, object weight, object where, object grad_output
) except -1:
    """Refuse bad weights before anything is written to an output that overlaps an operand, which then stays as it is."""
    cdef PlainJob counting
    if weight is not None and (
        overlaps(input, out) or overlaps(target, out) or overlaps(weight, out) or overlaps(where, out) or overlaps(grad_output, out)
    ):
        counting = plain[0]
        counting.job.term = WEIGHTS
        run_plain(&counting, input, target, None, None, None, weight, where, None)
    return 0


@cython.binding(False)      # cheaper to call
def plain_loss(
    int loss, parameter, reduction, input, target, weight, where, axis, keepdims, out, n_threads
):
    """The loss of a plain call: a NumPy scalar, an array or `out`; None if this is no plain call."""
    cdef PlainJob plain
    cdef double room
    cdef int named = reduction_named(reduction)
    if named == UNKNOWN or keepdims is not False:
        return None
    if not start_plain(&plain, loss, parameter, input, target, weight, where, axis, n_threads):
        return None
    if named == NONE:
        out = plain_output(&plain, out, input, target, weight, where, None)
        if out is not None:
            check_weight_first(&plain, out, input, target, weight, where, None)
            run_plain(&plain, input, target, out, None, None, weight, where, None)
        return out
    if out is not None and not takes_sum(&plain, out):
        return None
    want_sum(&plain.job, named == MEAN, &room)
    run_plain(&plain, input, target, None, None, None, weight, where, None)
    return sum_of(&plain, &room, out)


@cython.binding(False)
def plain_gradient(
    int loss, parameter, reduction, input, target, grad_output, wrt, bint with_value, weight, where, axis, out, n_threads
):
    """The gradient of a plain call, with_value a pair of value and gradient; None if this is no plain call."""
    cdef PlainJob plain
    cdef double room, factor = 1
    cdef int named = reduction_named(reduction)
    value = factors = None
    if grad_output is not None:
        if named == NONE and is_plain(grad_output) and cnp.PyArray_SIZE(<cnp.ndarray> grad_output) != 1:
            factors = grad_output
        else:
            factor = number_of(grad_output)
    if named == UNKNOWN or factor != factor or type(wrt) is not str:
        return None
    if <str> wrt != "input":
        if <str> wrt != "target":
            return None
        factor = -factor
    if not start_plain(&plain, loss, parameter, input, target, weight, where, axis, n_threads):
        return None
    if factors is not None and not broadcasts_to(<cnp.ndarray> factors, <cnp.ndarray> input):
        return None
    if with_value and type(out) is tuple:
        if len(<tuple> out) != 2:
            return None
        value, out = <tuple> out
    if with_value and named != NONE and not (value is None or takes_sum(&plain, value)):
        return None
    out = plain_output(&plain, out, input, target, weight, where, factors)
    if out is None:
        return None
    if with_value and named == NONE:
        value = plain_output(&plain, value, input, target, weight, where, factors)
        if value is None:
            return None
    if value is not None and overlap(<cnp.ndarray> value, <cnp.ndarray> out):
        return None
    set_plain_factor(&plain, factor, named, input, target, weight, where)
    if named != MEAN:           # whose divisor has been summed
        check_weight_first(&plain, out, input, target, weight, where, factors)
        if with_value and named == NONE:
            check_weight_first(&plain, value, input, target, weight, where, factors)
    if with_value and named != NONE:
        want_sum(&plain.job, named == MEAN, &room)
        run_plain(&plain, input, target, None, out, None, weight, where, factors)
        return sum_of(&plain, &room, value), out
    run_plain(&plain, input, target, value, out, None, weight, where, factors)
    return (value, out) if with_value else out


@cython.binding(False)
def plain_gradient_and_hessian(
    int loss, parameter, reduction, input, target, curvature, weight, where, out, n_threads
):
    """The pair of gradient and Hessian of a plain call; None if this is no plain call."""
    cdef PlainJob plain
    cdef int named = reduction_named(reduction), curved = curvature_named(curvature)
    if named == UNKNOWN or curved < 0:
        return None
    if not start_plain(&plain, loss, parameter, input, target, weight, where, None, n_threads):
        return None
    gradient = hessian = None
    if out is not None:
        if type(out) is not tuple or len(<tuple> out) != 2:
            return None
        gradient, hessian = <tuple> out
    gradient = plain_output(&plain, gradient, input, target, weight, where, None)
    hessian = plain_output(&plain, hessian, input, target, weight, where, None)
    if gradient is None or hessian is None or overlap(<cnp.ndarray> gradient, <cnp.ndarray> hessian):
        return None
    plain.job.curvature = curved
    set_plain_factor(&plain, 1, named, input, target, weight, where)
    if named != MEAN:
        check_weight_first(&plain, gradient, input, target, weight, where, None)
        check_weight_first(&plain, hessian, input, target, weight, where, None)
    run_plain(&plain, input, target, None, gradient, hessian, weight, where, None)
    return gradient, hessian


# ---- the general path ------------------------------------------------------------------------------------------------------------

def factor(cnp.ndarray grad_output, unsigned long long count):
    """What derivatives are multiplied with, as a Job takes it: the one element of grad_output, None for 1, over the count."""
    cdef double dividend = 1
    cdef Factor found
    cdef cylosses_mode mode
    if grad_output is not None:
        mode = set_default_mode()
        read_strided(
            storage_of(grad_output.dtype), <char*> cnp.PyArray_DATA(grad_output), 0, cnp.PyArray_ISBYTESWAPPED(grad_output), 1, &dividend
        )
        dividend = held(dividend)
        restore_mode(mode)
    found = factor_by_count(dividend, count)
    return found.high, found.low, found.exponent


def factor_of_fraction(numerator, denominator):
    """factor() of a fraction, whose denominator is positive: to 64 bits, as the quotients of exact sums."""
    cdef Factor found
    cdef bint negative = numerator < 0
    cdef int unit
    if numerator == 0:
        return 0.0, 0.0, 0
    numerator = abs(numerator)
    shift = 64 - numerator.bit_length() + denominator.bit_length()
    digits, rest = divmod(numerator << shift if shift > 0 else numerator, denominator << -shift if shift < 0 else denominator)
    if digits >> 64:                # the quotient has 64 or 65 digits
        digits, rest, shift = digits >> 1, rest or digits & 1, shift - 1
    unit = max(-100000, min(100000, -shift))
    found = factor_of_digits(digits, unit, rest != 0, negative)
    return found.high, found.low, found.exponent


TERMS = {"": NOTHING, "value": VALUES, "gradient": GRADIENTS, "hessian": HESSIANS, "weight": WEIGHTS}


def execute(
    int loss, double parameter, cnp.dtype dtype, int n_threads, tuple shape, list kept, dict operands,
    str summed, bint divide, cnp.ndarray result, cnp.ndarray factors, int curvature, tuple scale, tuple totals,
):
    """Run one job on checked arrays that broadcast to `shape`, and return the number of selected elements.

    `operands` are the arrays of a Job by name. Each element of the `kept` axes, if there are any, has a sum of its own, of what
    `summed` names, which goes to `result`; or to `totals`, two ExactSum for it and for the weights; or to `factors`, of three rows of
    float64, the three numbers of the quotient of `dividend` and each sum. `dtype` is that of the results, and `scale` what factor() returns.
    A bad weight is a ValueError.
    """
    cdef Plan plan
    cdef Job* job = &plan.job
    cdef int storage = storage_of(dtype)
    if not fits(loss, parameter, storage != FLOAT64):
        raise ValueError(f"row {loss} of the kernels' table does not take the parameter {parameter!r}")     # losses.py has seen to it
    start_job(job, loss, parameter, storage != FLOAT64)
    job.narrow = storage if storage == FLOAT16 or storage == BFLOAT16 else -1
    set_shape(&plan, shape, kept)
    job.threads = n_threads
    job.curvature = curvature
    job.scale, job.scale_low, job.scale_exponent = scale
    job.term = TERMS[summed]
    job.divide = divide
    if result is not None:
        job.result = <char*> cnp.PyArray_DATA(result)
        job.result_storage = storage
    if factors is not None:
        job.factors = <double*> cnp.PyArray_DATA(factors)
    if totals is not None:
        job.total = &(<ExactSum?> totals[0]).exact
        job.weights = &(<ExactSum?> totals[1]).exact
    run_plan(
        &plan, operands["input"], operands["target"], operands.get("value"), operands.get("gradient"), operands.get("hessian"),
        operands.get("weight"), operands.get("where"), operands.get("grad_output"), operands.get("grad_low"),
        operands.get("grad_exponent"), operands.get("dividend"),
    )
    return job.count
