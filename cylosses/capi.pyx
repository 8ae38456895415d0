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
# What each function promises is in cylosses.h. Here, arguments are checked, a Job is made on the stack, and dispatch.pyx runs it. The
# scalar functions ask the loops for a single number, by the same table.

from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer, PyCapsule_New
from cython cimport floating
from libc.math cimport NAN
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc

from cylosses._core.dispatch cimport MAX_THREADS, evaluate_loss, factor_by_count, fits, is_loss, round_into, run_job
from cylosses._core.factor cimport set_factor
from cylosses._core.job cimport (
    DERIVATIVE, FLOAT32, FLOAT64, IRLS_WEIGHT, SECOND_DERIVATIVE, VALUE, VALUES, WEIGHTS, Operand, PlainJob, Quantity, enter,
    rounded_parameter, start_plain_job, want_sum,
)
from cylosses._core.mode cimport cylosses_mode, held, held_single, restore_mode, set_default_mode
from cylosses._core.summation.superaccumulator cimport Superaccumulator, add_count, clear, merge

cdef extern from *:
    """
    #include <stddef.h>
    #define CYLOSSES_LARGEST_SIZE PTRDIFF_MAX
    #define CYLOSSES_MOST_ELEMENTS (UINT64_MAX >> 1)
    """
    const ptrdiff_t LARGEST_SIZE "CYLOSSES_LARGEST_SIZE"
    const uint64_t MOST_ELEMENTS "CYLOSSES_MOST_ELEMENTS"


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


cdef inline bint overlap(const void* a, const void* b, size_t size) noexcept nogil:
    """Whether two arrays of so many bytes overlap without being the same."""
    cdef size_t first = <size_t> a, second = <size_t> b
    return first != second and first < second + size and second < first + size


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

cdef inline int start(
    PlainJob* plain, int loss, double parameter, int reduction, const floating* input, const floating* target,
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
    start_plain_job(plain, loss, parameter, floating is float, n)
    enter(plain, &plain.job.input, input)
    enter(plain, &plain.job.target, target)
    if weight is not NULL:
        enter(plain, &plain.job.weight, weight)
    plain.job.threads = n_threads if n_threads < MAX_THREADS else MAX_THREADS
    return OK


cdef inline int run(PlainJob* plain) noexcept nogil:
    run_job(&plain.job)
    return BAD_WEIGHT if plain.job.bad_weight else OK


cdef inline int run_over_weights(const PlainJob* plain, double* factors) noexcept nogil:
    """Check the weights of a job; if factors are not NULL, write the three numbers that 1 / sum of the weights consists of."""
    cdef PlainJob weights = plain[0]
    weights.job.gradient.data = NULL
    weights.job.term = WEIGHTS
    weights.job.factors = factors
    return run(&weights)


cdef inline int add_output(PlainJob* plain, Operand* operand, floating* data) noexcept nogil:
    """Enter an array for results. It may be an input, which stays as it is if a weight is bad, but no other output."""
    cdef size_t size = plain.size * sizeof(floating)
    cdef char* out = <char*> data
    cdef int status = OK
    if plain.size == 0:
        return OK
    if not is_array(data):
        return BAD_ARRAY
    if overlap(out, plain.job.input.data, size) or overlap(out, plain.job.target.data, size):
        return BAD_ARRAY
    if overlap(out, plain.job.weight.data, size) or overlap(out, plain.job.gradient.data, size) or out == plain.job.gradient.data:
        return BAD_ARRAY
    if plain.job.weight.data is not NULL and (
        out == plain.job.input.data or out == plain.job.target.data or out == plain.job.weight.data
    ):
        status = run_over_weights(plain, NULL)
    if status == OK:
        enter(plain, operand, data)
    return status


cdef inline int set_scale(PlainJob* plain, int reduction) noexcept nogil:
    """Have derivatives be those of the sum or mean, before there are outputs: the sum of the weights takes a pass of its own."""
    cdef double factors[3]
    cdef int status = OK
    if reduction == MEAN and plain.job.weight.data is not NULL:
        status = run_over_weights(plain, factors)
        if status == OK:
            plain.job.scale, plain.job.scale_low, plain.job.scale_exponent = factors[0], factors[1], <int> factors[2]
    elif reduction == MEAN:
        set_factor(&plain.job, factor_by_count(1, plain.size))
    return status


cdef int reduce_values(
    int loss, double parameter, int reduction, const floating* input, const floating* target, const floating* weight, ptrdiff_t n,
    int n_threads, floating* result,
) noexcept nogil:
    cdef PlainJob plain
    cdef int status = start(&plain, loss, parameter, reduction, input, target, weight, n, n_threads)
    if status != OK:
        return status
    if not is_array(result):
        return BAD_ARRAY
    want_sum(&plain.job, reduction == MEAN, result)
    return run(&plain)


cdef int each_value(
    int loss, double parameter, const floating* input, const floating* target, const floating* weight, ptrdiff_t n, int n_threads,
    floating* values,
) noexcept nogil:
    cdef PlainJob plain
    cdef int status = start(&plain, loss, parameter, SUM, input, target, weight, n, n_threads)
    if status == OK:
        status = add_output(&plain, &plain.job.value, values)
    return run(&plain) if status == OK else status


cdef int each_gradient(
    int loss, double parameter, int reduction, const floating* input, const floating* target, const floating* weight, ptrdiff_t n,
    int n_threads, floating* gradient,
) noexcept nogil:
    cdef PlainJob plain
    cdef int status = start(&plain, loss, parameter, reduction, input, target, weight, n, n_threads)
    if status == OK:
        status = set_scale(&plain, reduction)
    if status == OK:
        status = add_output(&plain, &plain.job.gradient, gradient)
    return run(&plain) if status == OK else status


cdef int value_and_each_gradient(
    int loss, double parameter, int reduction, const floating* input, const floating* target, const floating* weight, ptrdiff_t n,
    int n_threads, floating* result, floating* gradient,
) noexcept nogil:
    cdef PlainJob plain
    cdef int status = start(&plain, loss, parameter, reduction, input, target, weight, n, n_threads)
    if status == OK:
        status = set_scale(&plain, reduction)
    if status == OK:
        status = add_output(&plain, &plain.job.gradient, gradient)
    if status != OK:
        return status
    if not is_array(result):
        return BAD_ARRAY
    want_sum(&plain.job, reduction == MEAN, result)
    return run(&plain)


cdef int each_gradient_and_hessian(
    int loss, double parameter, int reduction, int curvature, const floating* input, const floating* target, const floating* weight,
    ptrdiff_t n, int n_threads, floating* gradient, floating* hessian,
) noexcept nogil:
    cdef PlainJob plain
    cdef int status = start(&plain, loss, parameter, reduction, input, target, weight, n, n_threads)
    if status == OK and curvature != EXACT_CURVATURE and curvature != MM_CURVATURE and curvature != UNIT_CURVATURE:
        status = BAD_CURVATURE
    if status == OK:
        status = set_scale(&plain, reduction)
    if status == OK:
        status = add_output(&plain, &plain.job.gradient, gradient)
    if status == OK:
        status = add_output(&plain, &plain.job.hessian, hessian)
    if status != OK:
        return status
    plain.job.curvature = curvature
    return run(&plain)


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

cdef struct State:
    # What an Accumulator really is.
    Superaccumulator total
    Superaccumulator weights           # of the elements that have one
    uint64_t unweighted     # elements that have none, which count as weight 1
    uint64_t count


cdef Accumulator* accumulator_new() noexcept nogil:
    cdef Accumulator* accumulator = <Accumulator*> malloc(sizeof(State))
    accumulator_clear(accumulator)
    return accumulator


cdef void accumulator_free(Accumulator* accumulator) noexcept nogil:
    free(accumulator)


cdef void accumulator_clear(Accumulator* accumulator) noexcept nogil:
    cdef State* state = <State*> accumulator
    if state is not NULL:
        clear(&state.total)
        clear(&state.weights)
        state.unweighted = state.count = 0


cdef uint64_t accumulator_count(const Accumulator* accumulator) noexcept nogil:
    return 0 if accumulator is NULL else (<const State*> accumulator).count


cdef int update(
    Accumulator* accumulator, int loss, double parameter, const floating* input, const floating* target, const floating* weight,
    ptrdiff_t n, int n_threads,
) noexcept nogil:
    cdef State* state = <State*> accumulator
    cdef PlainJob plain
    cdef int status = start(&plain, loss, parameter, SUM, input, target, weight, n, n_threads)
    if status == OK and state is NULL:
        status = BAD_ARRAY
    if status == OK and <uint64_t> n > MOST_ELEMENTS - state.count:
        status = TOO_MANY
    if status != OK:
        return status
    plain.job.term = VALUES
    plain.job.total = &state.total
    plain.job.weights = &state.weights
    status = run(&plain)
    if status == OK:
        state.count += plain.job.count
        if weight is NULL:
            state.unweighted += plain.job.count
    return status


cdef int accumulator_merge(Accumulator* accumulator, const Accumulator* other) noexcept nogil:
    cdef State* state = <State*> accumulator
    cdef State copy         # merging releases the carries of what is merged
    if state is NULL or other is NULL:
        return BAD_ARRAY
    copy = (<const State*> other)[0]
    if copy.count > MOST_ELEMENTS - state.count:
        return TOO_MANY
    merge(&state.total, &copy.total)
    merge(&state.weights, &copy.weights)
    state.unweighted += copy.unweighted
    state.count += copy.count
    return OK


cdef int finish(const Accumulator* accumulator, int reduction, floating* result) noexcept nogil:
    cdef const State* state = <const State*> accumulator
    cdef int storage = FLOAT32 if floating is float else FLOAT64
    cdef Superaccumulator divisor
    if reduction != SUM and reduction != MEAN:
        return BAD_REDUCTION
    if state is NULL or not is_array(result):
        return BAD_ARRAY
    if reduction == MEAN:
        divisor = state.weights
        add_count(&divisor, state.unweighted)
        round_into(&state.total, &divisor, storage, <char*> result)
    else:
        round_into(&state.total, NULL, storage, <char*> result)
    return OK


# ---- the functions of either type ------------------------------------------------------------------------------------------------

cdef int value_float32(
    int loss, double parameter, int reduction, const float* input, const float* target, const float* weight, ptrdiff_t n,
    int n_threads, float* result,
) noexcept nogil:
    return reduce_values(loss, parameter, reduction, input, target, weight, n, n_threads, result)


cdef int value_float64(
    int loss, double parameter, int reduction, const double* input, const double* target, const double* weight, ptrdiff_t n,
    int n_threads, double* result,
) noexcept nogil:
    return reduce_values(loss, parameter, reduction, input, target, weight, n, n_threads, result)


cdef int elementwise_value_float32(
    int loss, double parameter, const float* input, const float* target, const float* weight, ptrdiff_t n, int n_threads,
    float* values,
) noexcept nogil:
    return each_value(loss, parameter, input, target, weight, n, n_threads, values)


cdef int elementwise_value_float64(
    int loss, double parameter, const double* input, const double* target, const double* weight, ptrdiff_t n, int n_threads,
    double* values,
) noexcept nogil:
    return each_value(loss, parameter, input, target, weight, n, n_threads, values)


cdef int gradient_float32(
    int loss, double parameter, int reduction, const float* input, const float* target, const float* weight, ptrdiff_t n,
    int n_threads, float* gradient,
) noexcept nogil:
    return each_gradient(loss, parameter, reduction, input, target, weight, n, n_threads, gradient)


cdef int gradient_float64(
    int loss, double parameter, int reduction, const double* input, const double* target, const double* weight, ptrdiff_t n,
    int n_threads, double* gradient,
) noexcept nogil:
    return each_gradient(loss, parameter, reduction, input, target, weight, n, n_threads, gradient)


cdef int value_and_gradient_float32(
    int loss, double parameter, int reduction, const float* input, const float* target, const float* weight, ptrdiff_t n,
    int n_threads, float* result, float* gradient,
) noexcept nogil:
    return value_and_each_gradient(loss, parameter, reduction, input, target, weight, n, n_threads, result, gradient)


cdef int value_and_gradient_float64(
    int loss, double parameter, int reduction, const double* input, const double* target, const double* weight, ptrdiff_t n,
    int n_threads, double* result, double* gradient,
) noexcept nogil:
    return value_and_each_gradient(loss, parameter, reduction, input, target, weight, n, n_threads, result, gradient)


cdef int gradient_and_hessian_float32(
    int loss, double parameter, int reduction, int curvature, const float* input, const float* target, const float* weight,
    ptrdiff_t n, int n_threads, float* gradient, float* hessian,
) noexcept nogil:
    return each_gradient_and_hessian(
        loss, parameter, reduction, curvature, input, target, weight, n, n_threads, gradient, hessian
    )


cdef int gradient_and_hessian_float64(
    int loss, double parameter, int reduction, int curvature, const double* input, const double* target, const double* weight,
    ptrdiff_t n, int n_threads, double* gradient, double* hessian,
) noexcept nogil:
    return each_gradient_and_hessian(
        loss, parameter, reduction, curvature, input, target, weight, n, n_threads, gradient, hessian
    )


cdef float scalar_value_float32(int loss, double parameter, float residual) noexcept nogil:
    return scalar(loss, parameter, VALUE, residual)


cdef double scalar_value_float64(int loss, double parameter, double residual) noexcept nogil:
    return scalar(loss, parameter, VALUE, residual)


cdef float scalar_derivative_float32(int loss, double parameter, float residual) noexcept nogil:
    return scalar(loss, parameter, DERIVATIVE, residual)


cdef double scalar_derivative_float64(int loss, double parameter, double residual) noexcept nogil:
    return scalar(loss, parameter, DERIVATIVE, residual)


cdef float scalar_second_derivative_float32(int loss, double parameter, float residual) noexcept nogil:
    return scalar(loss, parameter, SECOND_DERIVATIVE, residual)


cdef double scalar_second_derivative_float64(int loss, double parameter, double residual) noexcept nogil:
    return scalar(loss, parameter, SECOND_DERIVATIVE, residual)


cdef float scalar_irls_weight_float32(int loss, double parameter, float residual) noexcept nogil:
    return scalar(loss, parameter, IRLS_WEIGHT, residual)


cdef double scalar_irls_weight_float64(int loss, double parameter, double residual) noexcept nogil:
    return scalar(loss, parameter, IRLS_WEIGHT, residual)


cdef int accumulator_update_float32(
    Accumulator* accumulator, int loss, double parameter, const float* input, const float* target, const float* weight,
    ptrdiff_t n, int n_threads,
) noexcept nogil:
    return update(accumulator, loss, parameter, input, target, weight, n, n_threads)


cdef int accumulator_update_float64(
    Accumulator* accumulator, int loss, double parameter, const double* input, const double* target, const double* weight,
    ptrdiff_t n, int n_threads,
) noexcept nogil:
    return update(accumulator, loss, parameter, input, target, weight, n, n_threads)


cdef int accumulator_finish_float32(const Accumulator* accumulator, int reduction, float* result) noexcept nogil:
    return finish(accumulator, reduction, result)


cdef int accumulator_finish_float64(const Accumulator* accumulator, int reduction, double* result) noexcept nogil:
    return finish(accumulator, reduction, result)


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
