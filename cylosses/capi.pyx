"""The C level: exact regression losses on plain pointers, without Python objects and without the GIL.

For Cython, ``from cylosses.capi cimport ...``; for C and C++, ``cylosses.h`` in the folder that `cylosses.get_include` returns; for
ctypes, cffi and numba, the addresses below. The functions are described in ``cylosses.h``, with a guide in ``docs/c-api.md``.

Attributes
----------
abi_version : int
    Version of the interface. Programs that were compiled for another one fail to import it, with an ImportError that says so.
addresses : dict of str to int
    Address of each function by name.
signatures : dict of str to str
    Type of each function as a C pointer, for `cffi` and for the eye.
LossCode, Reduction, Curvature, Status : enum.IntEnum
    The numbers that functions take and return.

Examples
--------
>>> import ctypes
>>> from cylosses import capi
>>> array, size = ctypes.POINTER(ctypes.c_double), ctypes.c_ssize_t
>>> types = ctypes.c_int, ctypes.c_double, ctypes.c_int, array, array, array, size, ctypes.c_int, array
>>> value = ctypes.CFUNCTYPE(ctypes.c_int, *types)(capi.addresses["value_float64"])
>>> input, target = (ctypes.c_double * 3)(1.5, 2.0, 0.5), (ctypes.c_double * 3)(1.0, 10.0, 0.5)
>>> mean = ctypes.c_double()
>>> capi.Status(value(capi.LossCode.SMOOTH_L1, 1.0, capi.Reduction.MEAN, input, target, None, 3, 1, mean)).name
'OK'
>>> mean.value
2.5416666666666665
"""
# What each function promises is in cylosses.h. Here, arguments are checked, a Job is made on the stack, and builds.pyx runs it.
# Divisors and exact totals are those of the Python calls (factor.pxd, totals.pxd). The scalar functions ask the loops for one
# number of one residual, with the same formulas.

from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer, PyCapsule_New
from cython cimport floating
from libc.math cimport NAN
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc

from cylosses._core.builds cimport MAX_THREADS, evaluate_loss, fits, is_loss, run_job
from cylosses._core.factor cimport set_scale, take_factors, want_factors
from cylosses._core.job cimport (
    DERIVATIVE, FLOAT32, FLOAT64, INPUT, IRLS_WEIGHT, NOTHING, OUT_GRADIENT, OUT_HESSIAN, OUT_VALUE, SECOND_DERIVATIVE, SLOTS,
    TARGET, VALUE, VALUES, WEIGHT, WEIGHTS, ContiguousJob, Quantity, enter, operand_in, rounded_parameter, start_contiguous_job,
)
from cylosses._core.mode cimport cylosses_mode, held, held_single, restore_mode, set_default_mode
from cylosses._core.overlap cimport extent_of_bytes, overlap
from cylosses._core.summation.exact_sums cimport ExactSums, clear_exact_sums, have_room, merge_exact_sums
from cylosses._core.totals cimport round_exact_sums, want_totals

cdef extern from *:
    """
    #include <stddef.h>
    #define CYLOSSES_LARGEST_SIZE PTRDIFF_MAX
    """
    const ptrdiff_t LARGEST_SIZE "CYLOSSES_LARGEST_SIZE"


# ---- checks ----------------------------------------------------------------------------------------------------------------------

cdef int check(int loss, double parameter, bint single) noexcept nogil:
    if not is_loss(loss):
        return BAD_LOSS
    return OK if fits(loss, parameter, single) else BAD_PARAMETER


cdef int check_float32(int loss, double parameter) noexcept nogil:
    return check(loss, parameter, True)


cdef int check_float64(int loss, double parameter) noexcept nogil:
    return check(loss, parameter, False)


cdef inline bint is_array(const floating* data) noexcept nogil:
    """Neither NULL nor misaligned."""
    return data is not NULL and <size_t> data % sizeof(floating) == 0


cdef inline bint clash(const void* out, const void* other, size_t size) noexcept nogil:
    """Whether an output overlaps another array of so many bytes without being the same."""
    return out != other and overlap(extent_of_bytes(out, size), extent_of_bytes(other, size))


cdef const char* status_message(int status) noexcept nogil:
    if status == OK:
        return "fine"
    if status == BAD_LOSS:
        return "loss is none of enum cylosses_loss"
    if status == BAD_PARAMETER:
        return "parameter is not valid for the loss in the dtype of the arrays"
    if status == BAD_REDUCTION:
        return "reduction is neither CYLOSSES_SUM nor CYLOSSES_MEAN"
    if status == BAD_CURVATURE:
        return "curvature is none of enum cylosses_curvature"
    if status == BAD_SIZE:
        return "n is negative, or larger than an array can be"
    if status == BAD_ARRAY:
        return "a pointer is NULL or not aligned, or an output overlaps another array without being the same as an input"
    if status == BAD_WEIGHT:
        return "a weight is negative, infinite or NaN"
    if status == BAD_THREADS:
        return "n_threads is negative"
    if status == TOO_MANY:
        return "an accumulator cannot take more than 2**63 - 1 elements"
    return "no status of this version of cylosses"


# ---- jobs ------------------------------------------------------------------------------------------------------------------------

cdef inline int make_job(
    ContiguousJob* contiguous, int loss, double parameter, int reduction, const floating* input, const floating* target,
    const floating* weight, ptrdiff_t n, int n_threads,
) noexcept nogil:
    """Check what all array functions take, and make it a job without outputs."""
    cdef int status = check(loss, parameter, floating is float)
    if status != OK:
        return status
    if reduction != SUM and reduction != MEAN:
        return BAD_REDUCTION
    if not 0 <= n <= LARGEST_SIZE // <ptrdiff_t> sizeof(floating):
        return BAD_SIZE
    if n_threads < 0:
        return BAD_THREADS
    if n > 0 and not (is_array(input) and is_array(target) and (weight is NULL or is_array(weight))):
        return BAD_ARRAY
    start_contiguous_job(contiguous, loss, parameter, floating is float, n)
    enter(contiguous, INPUT, input)
    enter(contiguous, TARGET, target)
    if weight is not NULL:
        enter(contiguous, WEIGHT, weight)
    contiguous.job.threads = n_threads if n_threads < MAX_THREADS else MAX_THREADS
    return OK


cdef inline int run(ContiguousJob* contiguous) noexcept nogil:
    cdef cylosses_mode mode = set_default_mode()
    run_job(&contiguous.job)
    restore_mode(mode)
    return BAD_WEIGHT if contiguous.job.bad_weight else OK


cdef inline int reduce_into(ContiguousJob* contiguous, int reduction, floating* result) noexcept nogil:
    """Run a job that also sums the values."""
    if not is_array(result):
        return BAD_ARRAY
    contiguous.job.term = VALUES
    contiguous.job.divide = reduction == MEAN
    contiguous.job.result_storage = FLOAT32 if floating is float else FLOAT64
    contiguous.job.result = <char*> result
    return run(contiguous)


cdef inline int add_outputs(
    ContiguousJob* contiguous, bint weights_are_good, int slot, floating* data, int second, floating* more
) noexcept nogil:
    """Enter an array for results in `slot`, and another, `more`, in `second`, unless that is SLOTS.

    They may be inputs, but not each other. If a weight is bad, nothing has been written yet: inputs are as they were.
    """
    cdef size_t size = contiguous.size * sizeof(floating)
    cdef bint replaces_input = False
    cdef int k, status = OK
    cdef char* operand
    if size == 0:
        return OK
    if not is_array(data) or (second != SLOTS and (not is_array(more) or more is data or clash(more, data, size))):
        return BAD_ARRAY
    for k in range(SLOTS):
        operand = operand_in(&contiguous.job, k).data
        if operand is not NULL:
            if clash(data, operand, size) or (second != SLOTS and clash(more, operand, size)):
                return BAD_ARRAY
            replaces_input = replaces_input or operand is <char*> data or (second != SLOTS and operand is <char*> more)
    if replaces_input and contiguous.job.weight.data is not NULL and not weights_are_good:
        contiguous.job.term = WEIGHTS
        status = run(contiguous)
        contiguous.job.term = NOTHING
    enter(contiguous, slot, data)
    if second != SLOTS:
        enter(contiguous, second, more)
    return status


cdef inline int scale(ContiguousJob* contiguous, int reduction) noexcept nogil:
    """Have derivatives be those of the sum or mean."""
    cdef cylosses_mode mode = set_default_mode()
    cdef double factors[3]
    cdef bint known = set_scale(&contiguous.job, 1, reduction == MEAN)
    cdef int status = OK
    restore_mode(mode)
    if not known:
        want_factors(&contiguous.job, NULL, factors)
        status = run(contiguous)
        if status == OK:
            take_factors(&contiguous.job, factors)
    return status


cdef int reduce_values(
    int loss, double parameter, int reduction, const floating* input, const floating* target, const floating* weight, ptrdiff_t n,
    int n_threads, floating* result,
) noexcept nogil:
    cdef ContiguousJob contiguous
    cdef int status = make_job(&contiguous, loss, parameter, reduction, input, target, weight, n, n_threads)
    return reduce_into(&contiguous, reduction, result) if status == OK else status


cdef int each_value(
    int loss, double parameter, const floating* input, const floating* target, const floating* weight, ptrdiff_t n, int n_threads,
    floating* values,
) noexcept nogil:
    cdef ContiguousJob contiguous
    cdef int status = make_job(&contiguous, loss, parameter, SUM, input, target, weight, n, n_threads)
    if status == OK:
        status = add_outputs(&contiguous, False, OUT_VALUE, values, SLOTS, <floating*> NULL)
    return run(&contiguous) if status == OK else status


cdef int derive(
    int loss, double parameter, int reduction, int curvature, const floating* input, const floating* target, const floating* weight,
    ptrdiff_t n, int n_threads, floating* gradient, bint with_hessian, floating* hessian, bint with_value, floating* result,
) noexcept nogil:
    """Gradients of each element, and perhaps Hessians or the reduced value."""
    cdef ContiguousJob contiguous
    cdef int status = make_job(&contiguous, loss, parameter, reduction, input, target, weight, n, n_threads)
    if status == OK and curvature != EXACT_CURVATURE and curvature != MM_CURVATURE and curvature != UNIT_CURVATURE:
        status = BAD_CURVATURE
    if status == OK:
        status = scale(&contiguous, reduction)
    if status == OK:
        status = add_outputs(
            &contiguous, reduction == MEAN, OUT_GRADIENT, gradient, OUT_HESSIAN if with_hessian else SLOTS, hessian
        )
    if status != OK:
        return status
    if with_value and overlap(extent_of_bytes(result, sizeof(floating)), extent_of_bytes(gradient, n * sizeof(floating))):
        return BAD_ARRAY
    contiguous.job.curvature = curvature
    return reduce_into(&contiguous, reduction, result) if with_value else run(&contiguous)


# ---- one residual ----------------------------------------------------------------------------------------------------------------

cdef inline floating held_as(floating v) noexcept nogil:
    if floating is float:
        return held_single(v)
    else:
        return held(v)


cdef floating scalar(int loss, double parameter, Quantity quantity, floating d) noexcept nogil:
    cdef cylosses_mode mode
    cdef floating rounded, found
    cdef int status = check(loss, parameter, floating is float)
    if status != OK:
        return <floating> NAN
    mode = set_default_mode()
    rounded = <floating> rounded_parameter(parameter, floating is float)
    found = held_as(<floating> evaluate_loss(loss, rounded, floating is float, quantity, held_as(d)))
    restore_mode(mode)
    return found


# ---- accumulators ----------------------------------------------------------------------------------------------------------------

# An Accumulator really is a struct ExactSums.

cdef Accumulator* accumulator_new() noexcept nogil:
    cdef Accumulator* accumulator = <Accumulator*> malloc(sizeof(ExactSums))
    accumulator_clear(accumulator)
    return accumulator


cdef void accumulator_free(Accumulator* accumulator) noexcept nogil:
    free(accumulator)


cdef void accumulator_clear(Accumulator* accumulator) noexcept nogil:
    if accumulator is not NULL:
        clear_exact_sums(<ExactSums*> accumulator)


cdef uint64_t accumulator_count(const Accumulator* accumulator) noexcept nogil:
    return 0 if accumulator is NULL else (<const ExactSums*> accumulator).count


cdef int update(
    Accumulator* accumulator, int loss, double parameter, const floating* input, const floating* target, const floating* weight,
    ptrdiff_t n, int n_threads,
) noexcept nogil:
    cdef ContiguousJob contiguous
    cdef int status = make_job(&contiguous, loss, parameter, SUM, input, target, weight, n, n_threads)
    if status == OK and accumulator is NULL:
        status = BAD_ARRAY
    if status == OK and not have_room(<ExactSums*> accumulator, n):
        status = TOO_MANY
    if status != OK:
        return status
    want_totals(&contiguous.job, <ExactSums*> accumulator)
    return run(&contiguous)


cdef int accumulator_merge(Accumulator* accumulator, const Accumulator* other) noexcept nogil:
    if accumulator is NULL or other is NULL:
        return BAD_ARRAY
    if not have_room(<ExactSums*> accumulator, (<const ExactSums*> other).count):
        return TOO_MANY
    merge_exact_sums(<ExactSums*> accumulator, <const ExactSums*> other)
    return OK


cdef int round_into(const Accumulator* accumulator, int reduction, floating* result) noexcept nogil:
    if reduction != SUM and reduction != MEAN:
        return BAD_REDUCTION
    if accumulator is NULL or not is_array(result):
        return BAD_ARRAY
    round_exact_sums(<const ExactSums*> accumulator, reduction == MEAN, FLOAT32 if floating is float else FLOAT64, <char*> result)
    return OK


# ---- the functions of either type ------------------------------------------------------------------------------------------------

include "capi_typed.pxi"


# ---- what other languages find ---------------------------------------------------------------------------------------------------

cdef extern from "cylosses.h":
    const int ABI_VERSION "CYLOSSES_ABI_VERSION"
    ctypedef struct Functions "cylosses_functions":
        int abi_version
        size_t size
        void* first "check_float32"

abi_version = ABI_VERSION
addresses = {}
signatures = {}
for _name, _capsule in sorted(globals()["__pyx_capi__"].items()):
    addresses[_name] = <size_t> PyCapsule_GetPointer(_capsule, PyCapsule_GetName(_capsule))
    signatures[_name] = PyCapsule_GetName(_capsule).decode().replace("(", "(*)(")

cdef Functions functions
cdef void** slot = <void**> <void*> &functions.first
functions.abi_version = ABI_VERSION
functions.size = sizeof(Functions)
for _name in (      # in the order of the struct
    "check_float32", "check_float64", "status_message", "value_float32", "value_float64", "elementwise_value_float32",
    "elementwise_value_float64", "gradient_float32", "gradient_float64", "value_and_gradient_float32", "value_and_gradient_float64",
    "gradient_and_hessian_float32", "gradient_and_hessian_float64", "scalar_value_float32", "scalar_value_float64",
    "scalar_derivative_float32", "scalar_derivative_float64", "scalar_second_derivative_float32",
    "scalar_second_derivative_float64", "scalar_irls_weight_float32", "scalar_irls_weight_float64", "accumulator_new",
    "accumulator_free", "accumulator_clear", "accumulator_count", "accumulator_update_float32", "accumulator_update_float64",
    "accumulator_merge", "accumulator_finish_float32", "accumulator_finish_float64",
):
    slot[0] = <void*> <size_t> addresses[_name]
    slot += 1
if <char*> slot != <char*> &functions + sizeof(Functions):
    raise SystemError("the functions of cylosses.capi are not those of cylosses.h")
_C_API = PyCapsule_New(&functions, "cylosses.capi._C_API", NULL)
