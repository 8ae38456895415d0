"""From checked Python objects to the loops and back: the build that runs, the number of threads, plans for any layout, fork.

`plain_value` and its sisters are the fast path of a plain call (two C-contiguous arrays of one shape and working dtype): they create
no array and return None for anything else, which then takes the general path, `execute`.
"""
import os
from importlib import import_module
from importlib.util import find_spec

cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from libc.stdint cimport int64_t
from libc.string cimport memset

from cylosses._kernels.exact cimport BIAS, LIMBS, Exact, add_count, clear, finish, make_magnitude, merge
from cylosses._kernels.job cimport (
    BEYOND_CACHE, BFLOAT16, FLOAT16, FLOAT32, FLOAT64, GRADIENTS, HESSIANS, INT8, INT16, INT32, INT64, MAX_DIMS, NOTHING, UINT8,
    UINT16, UINT32, UINT64, VALUES, WEIGHTS, WORTH_PREFETCH, Job, Operand, Run,
)
from cylosses._kernels.mode cimport cylosses_mode, restore_mode, set_default_mode
from cylosses._kernels.staging cimport CACHE_LINE, format_of, put_run

cdef extern from "numpy/arrayobject.h":
    object scalar_from "PyArray_Scalar"(void* data, cnp.PyArray_Descr* dtype, object base)

cnp.import_array()

cdef enum:
    WORTH_THREADS = 131072      # elements; below, waking a thread costs about what it saves
    RELEASE_GIL = 4096          # elements; below, releasing the GIL costs more than a waiting thread loses
    OPERANDS = 8
    LEAST_ROWS = 32             # of a tile
    MOST_ROWS = 128             # more rows make longer pieces for the memory, but their lines must stay in the L1 cache
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

cdef Run run
cdef AllowedThreads allowed_threads
cdef int threads_in_use = 1
cdef bint follow_openmp = False


def available_builds():
    """Builds of the loops that are installed and that this CPU runs, best first: instruction set to module name."""
    found = {}
    for level in range(cpu_level(), 1, -1):
        if find_spec(f"cylosses._kernels.passes_v{level}"):
            found[f"x86-64-v{level}"] = f"passes_v{level}"
    if find_spec("cylosses._kernels.passes"):
        found["baseline"] = "passes"
    return found


def choose_build():
    """Import the best build, or the one that the environment variable CYLOSSES_ISA names."""
    builds = available_builds()
    asked = os.environ.get("CYLOSSES_ISA") or next(iter(builds), "")
    if asked not in builds:
        raise ImportError(f"CYLOSSES_ISA={asked!r} is not available here; available: {', '.join(builds) or 'none'}")
    return import_module(f"cylosses._kernels.{builds[asked]}")


passes = choose_build()
_capsule = passes.__pyx_capi__["run"]
run = <Run> PyCapsule_GetPointer(_capsule, PyCapsule_GetName(_capsule))
_capsule = passes.__pyx_capi__["allowed_threads"]
allowed_threads = <AllowedThreads> PyCapsule_GetPointer(_capsule, PyCapsule_GetName(_capsule))
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=passes.release_threads)


def set_threads(int n, bint follow):
    """The number of threads for calls without `n_threads`; with `follow`, no more than OpenMP then allows the calling thread."""
    global threads_in_use, follow_openmp
    threads_in_use = n
    follow_openmp = follow


cpdef int get_threads() noexcept:
    cdef int allowed
    if follow_openmp:
        allowed = allowed_threads()
        return allowed if allowed < threads_in_use else threads_in_use
    return threads_in_use


def build_info():
    """How the loops that run here were compiled."""
    return passes.build_info()


cpdef double round_to_single(double parameter):
    """The parameter rounded to float32, subnormals included, whatever the floating-point mode of the caller."""
    cdef cylosses_mode mode = set_default_mode()
    cdef float rounded = <float> parameter
    restore_mode(mode)
    return rounded


cdef double accepted[MAX_LOSSES][2]


def set_accepted(int loss, double least, double greatest):
    """The valid parameters of a loss: what the fast path asks before it computes."""
    accepted[loss][0] = least
    accepted[loss][1] = greatest


cdef int choose_threads(int asked, Py_ssize_t elements) noexcept:
    """A thread for each block at most; by default, only where the work is worth waking them."""
    cdef int threads = asked
    cdef Py_ssize_t blocks = elements // 1024 + 1
    if asked <= 0:
        threads = get_threads() if elements >= WORTH_THREADS else 1
    return threads if threads < blocks else <int> blocks


cdef void run_job(Job* job):
    cdef Py_ssize_t elements = job.slices * job.size, size = elements * (4 if job.single else 8)
    job.prefetch = size >= WORTH_PREFETCH
    job.bypass_cache = size >= BEYOND_CACHE
    if job.rest is not NULL:
        job.rest.prefetch = job.prefetch
    if elements < RELEASE_GIL:
        run(job)
    else:
        with nogil:
            run(job)


# ---- exact totals ----------------------------------------------------------------------------------------------------------------

cdef class ExactSum:
    """An exact sum that grows by jobs and by merging: the integer state behind `StreamingLoss`."""
    cdef Exact exact

    def __cinit__(self):
        clear(&self.exact)

    def merge(self, ExactSum other):
        """Add the other sum; it keeps its value."""
        cdef Exact copy = other.exact
        merge(&self.exact, &copy)

    def add_count(self, unsigned long long n):
        """Add an integer."""
        add_count(&self.exact, n)

    def round_quotient(self, ExactSum divisor, cnp.dtype dtype):
        """RN(sum / divisor), or RN(sum) if divisor is None, as a scalar of the dtype."""
        cdef Exact copy = self.exact        # rounding spends what it rounds
        cdef Exact divisor_copy
        cdef Exact* divisor_of_copy = NULL
        cdef int storage = storage_of(dtype)
        cdef double v
        cdef char room[8]
        cdef cylosses_mode mode
        if divisor is not None:
            divisor_copy = divisor.exact
            divisor_of_copy = &divisor_copy
        mode = set_default_mode()           # subnormal results too
        v = finish(&copy, 1, divisor_of_copy, format_of(storage))
        put_run(storage, room, 0, False, 1, &v)
        restore_mode(mode)
        return scalar_from(room, <cnp.PyArray_Descr*> dtype, None)

    def parts(self):
        """(n, exponent, special): the sum is n * 2**exponent, n odd or both 0; special has the bits of Special in exact.pxd."""
        cdef Exact copy = self.exact
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


# ---- the fast path ---------------------------------------------------------------------------------------------------------------

cdef inline bint is_plain(object x, object y):
    """Two ndarrays of one shape and one working dtype, C-contiguous, aligned, native."""
    cdef int k
    if not (type(x) is cnp.ndarray and type(y) is cnp.ndarray):
        return False
    cdef int number = cnp.PyArray_TYPE(<cnp.ndarray> x), ndim = cnp.PyArray_NDIM(<cnp.ndarray> x)
    if not (
        (number == cnp.NPY_FLOAT32 or number == cnp.NPY_FLOAT64)
        and number == cnp.PyArray_TYPE(<cnp.ndarray> y)
        and ndim == cnp.PyArray_NDIM(<cnp.ndarray> y)
        and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray> x)
        and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray> y)
    ):
        return False
    for k in range(ndim):
        if cnp.PyArray_DIM(<cnp.ndarray> x, k) != cnp.PyArray_DIM(<cnp.ndarray> y, k):
            return False
    return True


cdef inline void set_direct(Operand* operand, cnp.ndarray array, Py_ssize_t* strides):
    operand.data = <char*> cnp.PyArray_DATA(array)
    operand.strides = strides
    operand.direct = True
    operand.readable = True


cdef struct PlainJob:
    Job job
    Py_ssize_t size
    Py_ssize_t stride
    double room             # for the sum, of either type


cdef bint start_plain(PlainJob* plain, int loss, double parameter, object input, object target):
    """Fill in a job without outputs; false if the pair is not plain or the parameter may not be valid."""
    cdef Job* job = &plain.job
    if not (accepted[loss][0] <= parameter <= accepted[loss][1] and is_plain(input, target)):
        return False
    memset(job, 0, sizeof(Job))
    job.single = cnp.PyArray_TYPE(<cnp.ndarray> input) == cnp.NPY_FLOAT32
    if job.single and not accepted[loss][0] <= round_to_single(parameter) <= accepted[loss][1]:
        return False
    plain.size = cnp.PyArray_SIZE(<cnp.ndarray> input)
    plain.stride = 4 if job.single else 8
    job.loss = loss
    job.parameter = parameter
    job.narrow = -1
    job.ndim = 1
    job.shape = &plain.size
    job.slices = 1
    job.size = plain.size
    job.scale = 1
    set_direct(&job.input, <cnp.ndarray> input, &plain.stride)
    set_direct(&job.target, <cnp.ndarray> target, &plain.stride)
    job.threads = choose_threads(0, plain.size)
    return True


cdef inline void want_sum(PlainJob* plain, bint divide):
    plain.job.term = VALUES
    plain.job.divide = divide
    plain.job.result_storage = FLOAT32 if plain.job.single else FLOAT64
    plain.job.result = <char*> &plain.room


cdef inline object sum_of(PlainJob* plain, object like):
    return scalar_from(&plain.room, cnp.PyArray_DESCR(<cnp.ndarray> like), None)


cdef object plain_output(object out, object input, object target):
    """A new array like input, or `out` if it is plain too and no operand lies across it; else None."""
    cdef char* start
    cdef char* other
    cdef Py_ssize_t size
    if out is None:
        return cnp.PyArray_EMPTY(
            cnp.PyArray_NDIM(<cnp.ndarray> input), cnp.PyArray_DIMS(<cnp.ndarray> input), cnp.PyArray_TYPE(<cnp.ndarray> input), 0
        )
    if not (is_plain(out, input) and cnp.PyArray_ISWRITEABLE(<cnp.ndarray> out)):
        return None
    start = <char*> cnp.PyArray_DATA(<cnp.ndarray> out)
    size = cnp.PyArray_NBYTES(<cnp.ndarray> out)
    for operand in (input, target):
        other = <char*> cnp.PyArray_DATA(<cnp.ndarray> operand)
        if other != start and other < start + size and start < other + size:
            return None
    return out


def plain_value(int loss, double parameter, object input, object target, bint divide):
    """Mean or sum of a plain pair as a NumPy scalar; None if this is no plain call."""
    cdef PlainJob plain
    if not start_plain(&plain, loss, parameter, input, target):
        return None
    want_sum(&plain, divide)
    run_job(&plain.job)
    return sum_of(&plain, input)


def plain_values(int loss, double parameter, object input, object target, object out):
    """The loss of each element of a plain pair; None if this is no plain call."""
    cdef PlainJob plain
    if not start_plain(&plain, loss, parameter, input, target):
        return None
    array = plain_output(out, input, target)
    if array is None:
        return None
    set_direct(&plain.job.value, <cnp.ndarray> array, &plain.stride)
    run_job(&plain.job)
    return array


def plain_gradient(int loss, double parameter, object input, object target, bint divide, bint with_value, object out):
    """The gradient of mean or sum of a plain pair, with_value a pair of value and gradient; None if this is no plain call."""
    cdef PlainJob plain
    if not start_plain(&plain, loss, parameter, input, target):
        return None
    array = plain_output(out, input, target)
    if array is None:
        return None
    set_direct(&plain.job.gradient, <cnp.ndarray> array, &plain.stride)
    if divide:
        plain.job.scale = 1 / <double> plain.size       # infinite for no elements, which have no gradient
    if with_value:
        want_sum(&plain, divide)
    run_job(&plain.job)
    if with_value:
        return sum_of(&plain, input), array
    return array


# ---- the general path ------------------------------------------------------------------------------------------------------------

TERMS = {"": NOTHING, "value": VALUES, "gradient": GRADIENTS, "hessian": HESSIANS, "weight": WEIGHTS}


cdef struct Plan:
    # A job with room for its shape and strides.
    Job job
    Py_ssize_t shape[MAX_DIMS]
    Py_ssize_t strides[OPERANDS][MAX_DIMS]
    Operand* operand[OPERANDS]      # those that are there
    int operands


cdef int storage_of(cnp.dtype dtype) except -1:
    cdef int number = dtype.type_num
    if number == cnp.NPY_FLOAT32:
        return FLOAT32
    if number == cnp.NPY_FLOAT64:
        return FLOAT64
    if number == cnp.NPY_FLOAT16:
        return FLOAT16
    if dtype.kind == c"b" or dtype.kind == c"u":
        return {1: UINT8, 2: UINT16, 4: UINT32, 8: UINT64}[dtype.itemsize]
    if dtype.kind == c"i":
        return {1: INT8, 2: INT16, 4: INT32, 8: INT64}[dtype.itemsize]
    if dtype.name == "bfloat16":
        return BFLOAT16
    raise TypeError(f"unexpected dtype {dtype}")        # _call.py lets none of these through


cdef int add_operand(Plan* plan, Operand* operand, object array) except -1:
    """Enter an array that broadcasts to the plan's shape; None leaves the operand out."""
    cdef cnp.ndarray x
    cdef Py_ssize_t* strides = plan.strides[plan.operands]
    cdef int k, missing
    if array is None:
        return 0
    x = array
    missing = plan.job.ndim - cnp.PyArray_NDIM(x)
    for k in range(plan.job.ndim):
        strides[k] = 0
        if k >= missing and cnp.PyArray_DIM(x, k - missing) != 1:
            strides[k] = cnp.PyArray_STRIDE(x, k - missing)
    operand.data = <char*> cnp.PyArray_DATA(x)
    operand.strides = strides
    operand.storage = storage_of(x.dtype)
    operand.swapped = cnp.PyArray_ISBYTESWAPPED(x)
    operand.readable = cnp.PyArray_ISALIGNED(x) and not operand.swapped
    plan.operand[plan.operands] = operand
    plan.operands += 1
    return 0


cdef void move_dimension(Plan* plan, int source, int to) noexcept:
    """Take the dimension at source out and put it in at `to` <= source."""
    cdef Py_ssize_t held = plan.shape[source]
    cdef int k, m
    for k in range(source, to, -1):
        plan.shape[k] = plan.shape[k - 1]
    plan.shape[to] = held
    for m in range(plan.operands):
        held = plan.strides[m][source]
        for k in range(source, to, -1):
            plan.strides[m][k] = plan.strides[m][k - 1]
        plan.strides[m][to] = held


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
    cdef int last = plan.job.ndim - 1, k = -1, m
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
        for m in range(k, last):                # its rows go innermost
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


def execute(
    int loss, double parameter, *, tuple shape, int outer, bint single, input, target, cnp.dtype dtype, int curvature=0,
    weight=None, where=None, grad_output=None, value=None, gradient=None, hessian=None, double scale=1.0,
    str summed="", bint divide=False, cnp.ndarray result=None, cnp.dtype result_dtype=None, ExactSum total=None, ExactSum weights=None, int n_threads=0,
):
    """Run one job on checked arrays that broadcast to `shape`, and return the number of selected elements.

    The first `outer` dimensions of the shape have a sum each, of what `summed` names, which goes to `result`. `dtype` is that of the
    results; result_dtype, if given, that of the sums. A bad weight is a ValueError.
    """
    cdef Plan plan, rest
    cdef Job* job = &plan.job
    cdef int k, storage = storage_of(dtype)
    memset(job, 0, sizeof(Job))
    plan.operands = 0
    job.ndim = len(shape)
    job.outer = outer
    job.shape = plan.shape
    for k in range(job.ndim):
        plan.shape[k] = shape[k]
    job.loss = loss
    job.single = single
    job.parameter = parameter
    job.narrow = storage if storage in (FLOAT16, BFLOAT16) else -1
    job.curvature = curvature
    add_operand(&plan, &job.input, input)
    add_operand(&plan, &job.target, target)
    add_operand(&plan, &job.value, value)
    add_operand(&plan, &job.gradient, gradient)
    add_operand(&plan, &job.hessian, hessian)
    add_operand(&plan, &job.weight, weight)
    add_operand(&plan, &job.where, where)
    add_operand(&plan, &job.grad_output, grad_output)
    simplify(&plan)
    job.scale = scale
    job.term = TERMS[summed]
    job.divide = divide
    if result is not None:
        job.result = <char*> cnp.PyArray_DATA(result)
        job.result_storage = storage if result_dtype is None else storage_of(result_dtype)
    if total is not None:
        job.total = &total.exact
    if weights is not None:
        job.weights = &weights.exact
    job.threads = choose_threads(n_threads, job.slices * job.size)
    tile(&plan, &rest)
    settle_access(&plan)
    run_job(job)
    if job.bad_weight:
        raise ValueError("weight must be finite and not negative where it is selected")
    return job.count
