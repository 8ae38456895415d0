"""What is the same for all calls of a process: the build of the loops, the number of threads, and the losses that are registered.

A job (job.pxd) runs here, whoever made it: call.pyx for Python, capi.pyx for compiled code.
"""
import os
from importlib import import_module
from importlib.util import find_spec

from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from libc.math cimport fabs
from libc.stdint cimport uint64_t

from cylosses._core.bits cimport Bits64
from cylosses._core.job cimport GRADIENTS, HESSIANS, Evaluate, Job, Run, rounded_parameter, settle_memory
from cylosses._core.mode cimport cylosses_mode, restore_mode, set_default_mode
from cylosses._core.parameters cimport is_known

from cylosses._core import convert

cdef enum:
    WORTH_THREADS = 65536       # units of work, about 20 µs; below, waking a thread costs about what it saves
    MAX_LOSSES = 64


# ---- the build -------------------------------------------------------------------------------------------------------------------

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


loops = choose_build()
_capsule = loops.__pyx_capi__["run"]
run = <Run> PyCapsule_GetPointer(_capsule, PyCapsule_GetName(_capsule))
_capsule = loops.__pyx_capi__["evaluate"]
evaluate = <Evaluate> PyCapsule_GetPointer(_capsule, PyCapsule_GetName(_capsule))
_capsule = loops.__pyx_capi__["allowed_threads"]
allowed_threads = <AllowedThreads> PyCapsule_GetPointer(_capsule, PyCapsule_GetName(_capsule))
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=loops.release_threads)


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
    return loops.build_info()


# ---- the losses ------------------------------------------------------------------------------------------------------------------

cdef struct Row:
    # What Python has registered for a row of the loops' table: the least and the greatest valid parameter as bits. Of numbers that are
    # not negative, bits have the order of the numbers, and their comparison depends on no floating-point mode.
    bint known
    uint64_t least
    uint64_t greatest
    int cost                # of a pass over the data, in passes of a loss that neither divides nor takes roots

cdef Row rows[MAX_LOSSES]
cdef dict registered = {}               # number of the row: what register_loss() was given


def register_loss(int loss, double least, double greatest, bint costly, str name, str parameter_name, str rule):
    """Give a row of the loops' table to the class of this full name, with what is valid for its parameter, also in words.

    ValueError if there is no such row, or it is another class's.
    """
    cdef tuple row = (name, least, greatest, costly, parameter_name, rule)
    if not is_known(loss) or registered.setdefault(loss, row) != row:       # the same once more: its module is loaded again
        raise ValueError(f"row {loss} of the kernels' table is not free: {registered.get(loss, ('no loss',))[0]} has it")
    rows[loss].least, rows[loss].greatest = order_of(least), order_of(greatest)
    rows[loss].cost = 2 if costly else 1
    rows[loss].known = True


cdef inline uint64_t order_of(double parameter) noexcept nogil:
    """Bits that grow with the parameter; negative numbers and NaN come last, but -0.0 is 0."""
    cdef Bits64 bits
    bits.f = parameter
    return 0 if bits.u << 1 == 0 else bits.u


cdef bint is_loss(int loss) noexcept nogil:
    """Whether a loss has this number."""
    return 0 <= loss < MAX_LOSSES and rows[loss].known


cdef inline bint lies_within(int loss, double parameter) noexcept nogil:
    return rows[loss].least <= order_of(parameter) <= rows[loss].greatest


cpdef bint fits(int loss, double parameter, bint single) noexcept nogil:
    """Whether there is such a loss and the parameter is valid for it, also in the working type; NaN never is."""
    return is_loss(loss) and lies_within(loss, parameter) and (
        not single or lies_within(loss, rounded_parameter(parameter, True))
    )


cdef double take_parameter(int loss, object given, bint* fits_float32) except -1:
    """The parameter of a loss as a number, and whether it is valid as a float32 number, too."""
    cdef double parameter = given if type(given) is float and is_loss(loss) else convert_parameter(loss, given)
    if not lies_within(loss, parameter):
        refuse_parameter(loss, parameter, "")
    fits_float32[0] = lies_within(loss, rounded_parameter(parameter, True))
    return fabs(parameter)              # -0.0 is 0


cdef double convert_parameter(int loss, object given) except? -1:
    if not is_loss(loss):
        raise ValueError(f"row {loss} of the kernels' table does not take the parameter {given!r}")
    return convert.as_float(registered[loss][4] or "parameter", given)


def parameter_name(int loss):
    """The name of the parameter of a loss."""
    return registered[loss][4] or "parameter"


def check_parameter(int loss, given):
    """The parameter of a loss as a number: TypeError for what is none, ValueError for one that is not valid."""
    cdef bint fits_float32
    return take_parameter(loss, given, &fits_float32)


def first_unfit(int loss, list parameters, bint single):
    """The place of the first of these numbers that is not valid for the loss, in the working type; -1 if all are."""
    cdef Py_ssize_t place
    for place in range(len(parameters)):
        if not fits(loss, parameters[place], single):
            return place
    return -1


cdef int refuse_parameter(int loss, double parameter, str place) except -1:
    name, rule = registered[loss][4:]
    raise ValueError(f"{name}{place} must be {rule}, got {parameter!r}")


def check_element(int loss, double parameter, str place):
    """Raise ValueError if an element of an array of parameters is not valid; `place` is its index in brackets."""
    if not lies_within(loss, parameter):
        refuse_parameter(loss, parameter, place)


cpdef int check_rounded(int loss, double parameter, str place="") except -1:
    """Raise ValueError if the parameter, rounded to float32, is not valid any more."""
    cdef double rounded = rounded_parameter(parameter, True)
    if not fits(loss, parameter, True):
        name, rule = registered[loss][4:]
        raise ValueError(
            f"{name}{place}={parameter!r} rounds to {rounded!r} in float32, the working dtype: {name} must be {rule}, got {rounded!r}"
        )
    return 0


def bits_of(double parameter):
    """The bits of a parameter as an int: comparisons of floats depend on the floating-point mode."""
    cdef Bits64 bits
    bits.f = parameter
    return bits.i


# ---- running a job ---------------------------------------------------------------------------------------------------------------

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
    return job.slices * job.size * passes * rows[job.loss].cost


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


# ---- the floating-point mode -----------------------------------------------------------------------------------------------------

cdef class DefaultMode:
    """A context manager for the default mode, compiled so that no signal handler runs between setting it and its being remembered."""
    cdef cylosses_mode callers
    cdef int depth          # one object may be entered again before it is left

    def __enter__(self):
        if self.depth == 0:
            self.callers = set_default_mode()
        self.depth += 1

    def __exit__(self, *_):
        self.depth -= 1
        if self.depth == 0:
            restore_mode(self.callers)
