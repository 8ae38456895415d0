"""The one way in: a call from Python is checked, given its dtype, shape, axes, outputs and factor, and run here, and only here.

a. A Call is a struct on the stack, filled step by step. A step succeeds or raises: there is no second, slower way for what a quick one
   does not take. What needs Python to be converted or refused goes through convert.py, once, and comes back an array or a number.
b. Arrays are held from begin() to end(), so that they stay where they are while the GIL is released.
c. Arrays that are C-contiguous, of the working type and of the shape of the call make a job that runs at once. Any others get a plan
   (layout.pxd) first. The loops see the difference, the rules do not.
d. All numbers of a call are computed in the default floating-point mode, set in begin() and given back in end().
e. Buffers are pointers here. A typed memoryview of one array takes some 100 ns and the GIL; a whole call takes 400.
"""
import operator

cimport cython
cimport numpy as cnp
from cpython.float cimport PyFloat_AS_DOUBLE
from cpython.long cimport PyLong_AsLongAndOverflow
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.math cimport fabs
from libc.string cimport memcpy

from cylosses._core.builds cimport MAX_THREADS, check_rounded, run_job, take_parameter
from cylosses._core.dtypes cimport WEAK, dtype_of, scalar_of, storage_in, wider
from cylosses._core.factor cimport factor_by_count, factor_of_digits, set_factor, set_scale, take_factors, want_factors
from cylosses._core.job cimport (
    BFLOAT16, DIVIDEND, EXACT_CURVATURE, FLOAT16, FLOAT32, FLOAT64, GRAD_EXPONENT, GRAD_LOW, GRAD_OUTPUT, GRADIENTS, HESSIANS, INPUT, INT64, MAX_DIMS,
    NOTHING, OUT_GRADIENT, OUT_HESSIAN, OUT_VALUE, SLOTS, TARGET, UINT8, UINT64, VALUES, WEIGHT, WEIGHTS, WHERE, ContiguousJob, Job, Operand,
    enter, start_contiguous_job,
)
from cylosses._core.layout cimport Plan, add_operand, settle_plan, start_plan
from cylosses._core.mode cimport cylosses_mode, restore_mode, set_default_mode
from cylosses._core.memory.strided cimport read_strided
from cylosses._core.totals cimport Total, count_elements, want_sums

import numpy as np

from cylosses._core import convert
from cylosses._core.totals import Total as new_total

cnp.import_array()

cdef enum:
    RELEASE_GIL = 4096          # elements; below, releasing the GIL costs more than a waiting thread loses

cdef tuple OPERANDS = ("input", "target")       # that derivatives are taken by
cdef type SINGLE = np.float32

cdef enum Reduction:
    # In the order of convert.REDUCTIONS.
    NONE
    MEAN
    SUM

cdef struct Call:
    ContiguousJob contiguous        # the job: complete where all arrays are contiguous, else what a plan begins with
    bint is_contiguous
    cylosses_mode callers_mode
    int storage                     # of the results
    int ndim                        # the shape of input with target
    const Py_ssize_t* shape
    Py_ssize_t broadcast[MAX_DIMS]  # room for it where they differ
    int n_kept                      # axes that a reduction leaves
    bint kept[MAX_DIMS]
    PyObject* array[SLOTS]      # the operands and outputs that are there
    unsigned int present            # which are, a bit each
    PyObject* held[SLOTS + 1]   # what the call has a reference of
    int n_held
    const double* factors           # of each slice three numbers, as the loops write them; or NULL
    bint has_low_factors
    bint has_exponents


# ---- beginning and end -----------------------------------------------------------------------------------------------------------

cdef inline void begin(Call* call) noexcept:
    call.present, call.n_held, call.n_kept = 0, 0, 0
    call.factors = NULL
    call.callers_mode = set_default_mode()


cdef inline void end(Call* call) noexcept:
    """Let go of what the call held, and give the caller's floating-point mode back."""
    while call.n_held:
        call.n_held -= 1
        Py_DECREF(<object> call.held[call.n_held])
    restore_mode(call.callers_mode)


cdef inline void hold(Call* call, object x) noexcept:
    Py_INCREF(x)
    call.held[call.n_held] = <PyObject*> x
    call.n_held += 1


cdef inline void hold_as(Call* call, int slot, cnp.ndarray array) noexcept:
    """Make an array an operand or output of the call."""
    hold(call, array)
    call.array[slot] = <PyObject*> array
    call.present |= 1u << slot


cdef inline bint has(const Call* call, int slot) noexcept:
    return call.present >> slot & 1


cdef inline const Py_ssize_t* shape_of(cnp.ndarray array) noexcept:
    return <const Py_ssize_t*> cnp.PyArray_DIMS(array)


cdef inline cnp.ndarray array_in(const Call* call, int slot):
    return <cnp.ndarray> call.array[slot]


# ---- operands --------------------------------------------------------------------------------------------------------------------

cdef inline cnp.ndarray as_array(str name, object given):
    return <cnp.ndarray> given if type(given) is cnp.ndarray else convert.as_array(name, given)


cdef inline int read_storage(str name, cnp.ndarray array) except -1:
    """How the elements lie in memory; TypeError for those that no loop reads."""
    cdef int storage = storage_in(array)
    if storage < 0:
        convert.refuse_dtype(name, array)
    return storage


cdef inline bint is_number(object given) noexcept:
    return type(given) is not cnp.ndarray and (type(given) is float or type(given) is int or type(given) is bool)


cdef inline bint have_shape(cnp.ndarray array, int ndim, const Py_ssize_t* shape) noexcept:
    cdef int k
    if cnp.PyArray_NDIM(array) != ndim:
        return False
    for k in range(ndim):
        if cnp.PyArray_DIM(array, k) != shape[k]:
            return False
    return True


cdef inline tuple as_tuple(int ndim, const Py_ssize_t* shape):
    return tuple([shape[k] for k in range(ndim)])


cdef int take_operands(
    Call* call, int loss, object parameter, object input, object target, object weight, object where, object n_threads
) except -1:
    """Check what all calls have, and begin a job of it without outputs."""
    cdef bint fits_float32
    cdef double number = take_parameter(loss, parameter, &fits_float32)
    cdef cnp.ndarray first = as_array("input", input), second
    cdef int of_input = read_storage("input", first), of_target
    cdef bint single, have_one_shape
    hold_as(call, INPUT, first)
    second = as_array("target", target)
    of_target = read_storage("target", second)
    hold_as(call, TARGET, second)
    call.storage = wider(WEAK if is_number(input) else of_input, WEAK if is_number(target) else of_target)
    single = call.storage != FLOAT64
    if single and not fits_float32:
        check_rounded(loss, number)
    call.ndim, call.shape = cnp.PyArray_NDIM(first), shape_of(first)
    start_contiguous_job(&call.contiguous, loss, number, single, cnp.PyArray_SIZE(first))
    have_one_shape = have_shape(second, call.ndim, call.shape)
    if not have_one_shape:
        broadcast(call, first, second)
    if call.storage == FLOAT16 or call.storage == BFLOAT16:
        call.contiguous.job.narrow = call.storage
    call.is_contiguous = True
    place(call, INPUT, first, of_input, have_one_shape)
    place(call, TARGET, second, of_target, have_one_shape)
    if weight is not None:
        take_weight(call, as_array("weight", weight))
    if where is not None:
        take_mask(call, as_array("where", where))
    if n_threads is not None:
        call.contiguous.job.threads = number_of_threads(n_threads)
    return 0


cdef int broadcast(Call* call, cnp.ndarray first, cnp.ndarray second) except -1:
    """Enter the shape that operands of different shapes are broadcast to, with a warning but for one that has a single element: a
    number that is meant for all is no mistake.
    """
    cdef int n_first = cnp.PyArray_NDIM(first), n_second = cnp.PyArray_NDIM(second), k
    cdef Py_ssize_t a, b, size = 1, addresses = 1
    cdef bint too_many = False
    call.ndim = max(n_first, n_second)
    call.shape = call.broadcast
    for k in range(call.ndim):
        a = cnp.PyArray_DIM(first, k - (call.ndim - n_first)) if k >= call.ndim - n_first else 1
        b = cnp.PyArray_DIM(second, k - (call.ndim - n_second)) if k >= call.ndim - n_second else 1
        if a != b and a != 1 and b != 1:
            convert.refuse_shapes((<object> first).shape, (<object> second).shape)
        call.broadcast[k] = b if a == 1 else a
        # As NumPy counts: an empty array, too, has an address for each index.
        if call.broadcast[k] and not too_many:
            too_many = addresses > <Py_ssize_t> (<size_t> -1 // 2) // call.broadcast[k]
            addresses *= 1 if too_many else call.broadcast[k]
    if too_many:
        convert.refuse_shapes((<object> first).shape, (<object> second).shape, as_tuple(call.ndim, call.shape))
    for k in range(call.ndim):
        size *= call.broadcast[k]
    call.contiguous.size = call.contiguous.job.size = size
    if cnp.PyArray_SIZE(first) != 1 and cnp.PyArray_SIZE(second) != 1:
        convert.warn_of_broadcast((<object> first).shape, (<object> second).shape, as_tuple(call.ndim, call.shape))
    return 0


cdef inline void place(Call* call, int slot, cnp.ndarray array, int storage, bint has_shape) noexcept:
    """Make an array that is held an operand of the job if it is contiguous; else the call gets a plan. `has_shape` says whether it has
    the shape of the call.
    """
    call.is_contiguous = (
        call.is_contiguous and has_shape and cnp.PyArray_ISCARRAY_RO(array)
        and storage == (UINT8 if slot == WHERE else FLOAT32 if call.contiguous.job.single else FLOAT64)
    )
    if call.is_contiguous:
        enter(&call.contiguous, slot, cnp.PyArray_DATA(array))


cdef int check_fit(const Call* call, str name, cnp.ndarray array, const Py_ssize_t* shape) except -1:
    """Raise ValueError for an array that does not broadcast to a shape of the call's dimensions."""
    cdef int k, missing = call.ndim - cnp.PyArray_NDIM(array)
    cdef bint fitting = missing >= 0
    if fitting:
        for k in range(cnp.PyArray_NDIM(array)):
            fitting = fitting and (cnp.PyArray_DIM(array, k) == 1 or cnp.PyArray_DIM(array, k) == shape[k + missing])
    if not fitting:
        raise ValueError(f"{name} of shape {(<object> array).shape} cannot be broadcast to {as_tuple(call.ndim, shape)}")
    return 0


cdef int take_weight(Call* call, cnp.ndarray array) except -1:
    cdef int storage
    check_fit(call, "weight", array, call.shape)
    storage = read_storage("weight", array)
    if storage == INT64 or storage == UINT64:
        convert.check_wide_weights(array)
    hold_as(call, WEIGHT, array)
    place(call, WEIGHT, array, storage, have_shape(array, call.ndim, call.shape))
    call.contiguous.job.weight.data = <char*> cnp.PyArray_DATA(array)       # also before there is a plan: set_scale() looks
    return 0


cdef int take_mask(Call* call, cnp.ndarray array) except -1:
    check_fit(call, "where", array, call.shape)
    if cnp.PyArray_TYPE(array) != cnp.NPY_BOOL:
        convert.refuse_mask(array)
    hold_as(call, WHERE, array)
    place(call, WHERE, array, UINT8, have_shape(array, call.ndim, call.shape))
    call.contiguous.job.where.data = <char*> cnp.PyArray_DATA(array)
    return 0


cdef int number_of_threads(object given) except -1:
    cdef long threads
    cdef int overflow = 0
    if type(given) is not int:
        given = convert.check_threads("n_threads", given)
    threads = PyLong_AsLongAndOverflow(given, &overflow)
    if overflow < 0 or (threads < 1 and not overflow):
        convert.check_threads("n_threads", given)
    return <int> threads if not overflow and threads < MAX_THREADS else MAX_THREADS


cdef inline int reduction_named(object reduction) except -1:
    if type(reduction) is str:
        if <str> reduction == "mean":
            return MEAN
        if <str> reduction == "none":
            return NONE
        if <str> reduction == "sum":
            return SUM
    return convert.check_name("reduction", reduction, convert.REDUCTIONS)


cdef inline int operand_named(object wrt) except -1:
    if type(wrt) is str and <str> wrt == "input":
        return INPUT
    return TARGET if convert.check_name("wrt", wrt, OPERANDS) else INPUT


cdef inline int curvature_named(object curvature) except -1:
    if type(curvature) is str and <str> curvature == "exact":
        return EXACT_CURVATURE
    return convert.check_name("curvature", curvature, convert.CURVATURES)


# ---- axes ------------------------------------------------------------------------------------------------------------------------

cdef inline int take_axes(Call* call, object axis) except -1:
    """Note which axes a reduction over `axis` leaves: none by default."""
    return 0 if axis is None else take_given_axes(call, axis)


cdef int take_given_axes(Call* call, object axis) except -1:
    cdef int k
    for k in range(call.ndim):
        call.kept[k] = True
    call.n_kept = call.ndim
    for item in axis if isinstance(axis, tuple) else (axis,):
        try:
            index = operator.index(item)
        except TypeError:
            raise TypeError(f"axis must be an int, a tuple of int or None, got {convert.shown(axis)}") from None
        if not -call.ndim <= index < call.ndim:
            raise ValueError(f"axis {convert.shown(index)} is out of bounds for the shape {as_tuple(call.ndim, call.shape)}")
        k = index % call.ndim
        if not call.kept[k]:
            raise ValueError(f"axis {axis!r} names an axis twice")
        call.kept[k] = False
        call.n_kept -= 1
    return 0


cdef int shape_left(const Call* call, bint keepdims, Py_ssize_t* shape) noexcept:
    """Write the shape of what a reduction leaves, with 1 for axes that are summed over if keepdims; return its dimensions."""
    cdef int k, n = 0
    for k in range(call.ndim):
        if call.n_kept and call.kept[k]:
            shape[n] = call.shape[k]
            n += 1
        elif keepdims:
            shape[n] = 1
            n += 1
    return n


# ---- outputs ---------------------------------------------------------------------------------------------------------------------

cdef inline cnp.ndarray take_output(const Call* call, str name, object out, int ndim, const Py_ssize_t* shape):
    """`out`, if it is an array of exactly this shape and the dtype of the results, or a new array if it is None."""
    if out is not None:
        return check_output(call, name, out, ndim, shape)
    if call.storage == FLOAT32 or call.storage == FLOAT64:
        return cnp.PyArray_EMPTY(ndim, <cnp.npy_intp*> shape, cnp.NPY_FLOAT32 if call.storage == FLOAT32 else cnp.NPY_FLOAT64, 0)
    return np.empty(as_tuple(ndim, shape), dtype_of(call.storage))


cdef cnp.ndarray check_output(const Call* call, str name, object out, int ndim, const Py_ssize_t* shape):
    cdef cnp.dtype dtype
    if type(out) is not cnp.ndarray:
        convert.check_output_type(name, out)
    if storage_in(out) != call.storage or not cnp.PyArray_ISNOTSWAPPED(out):
        dtype = dtype_of(call.storage)
        raise TypeError(f"{name} has dtype {out.dtype.str} ({out.dtype}); the result needs {dtype.str} ({dtype})")
    if not have_shape(out, ndim, shape):
        raise ValueError(f"{name} has shape {out.shape}; the result needs {as_tuple(ndim, shape)}")
    if not cnp.PyArray_ISWRITEABLE(out):
        raise ValueError(f"{name} is read-only")
    return out


cdef struct Extent:
    # The memory from the first to behind the last element of an array; nothing of an empty one.
    char* first
    char* end


cdef Extent extent_of(cnp.ndarray array) noexcept:
    cdef Extent extent
    cdef Py_ssize_t reach
    cdef int k
    extent.first = <char*> cnp.PyArray_DATA(array)
    extent.end = extent.first + cnp.PyArray_ITEMSIZE(array)
    for k in range(cnp.PyArray_NDIM(array)):
        reach = cnp.PyArray_STRIDE(array, k) * (cnp.PyArray_DIM(array, k) - 1)
        if cnp.PyArray_DIM(array, k) == 0:
            extent.end = extent.first
            break
        elif reach < 0:
            extent.first += reach
        else:
            extent.end += reach
    return extent


cdef inline bint overlap(Extent a, Extent b) noexcept:
    """Whether two extents meet. If not, writing to one array leaves the other as it is."""
    return a.first < b.end and b.first < a.end and a.first < a.end and b.first < b.end


cdef bint are_same_elements(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether each element of one array lies exactly where that of the other lies."""
    cdef int k
    if cnp.PyArray_DATA(a) != cnp.PyArray_DATA(b) or cnp.PyArray_TYPE(a) != cnp.PyArray_TYPE(b) or not (
        have_shape(a, cnp.PyArray_NDIM(b), shape_of(b)) and cnp.PyArray_ISBYTESWAPPED(a) == cnp.PyArray_ISBYTESWAPPED(b)
    ):
        return False
    for k in range(cnp.PyArray_NDIM(a)):
        if cnp.PyArray_STRIDE(a, k) != cnp.PyArray_STRIDE(b, k):
            return False
    return True


cdef bint overlaps_operands(const Call* call, cnp.ndarray out, bint unless_same) noexcept:
    """Whether an output overlaps an operand; with unless_same, only if elements could be overwritten before they are read."""
    cdef Extent extent = extent_of(out)
    cdef int slot
    for slot in range(SLOTS):
        if has(call, slot) and overlap(extent_of(array_in(call, slot)), extent):
            if not (unless_same and are_same_elements(array_in(call, slot), out)):
                return True
    return False


cdef cnp.ndarray apart(const Call* call, cnp.ndarray out, bint given):
    """`out`, or if outputs were given and writing to it could change elements that are still to be read, an array to write to first."""
    if given and overlaps_operands(call, out, True):
        return take_output(call, "", None, cnp.PyArray_NDIM(out), shape_of(out))
    return out


cdef int place_output(Call* call, int slot, cnp.ndarray out) except -1:
    """Have elementwise results written to an array that apart() returned."""
    hold_as(call, slot, out)
    place(call, slot, out, call.storage, True)
    return 0


cdef inline cnp.ndarray moved(cnp.ndarray written, cnp.ndarray final):
    """`final` with the contents of `written`."""
    if written is not final:
        cnp.PyArray_CopyInto(final, written)
    return final


# ---- running ---------------------------------------------------------------------------------------------------------------------

cdef int run(Call* call) except -1:
    """Run the job on what the call holds; ValueError for a bad weight."""
    cdef Job* job = &call.contiguous.job
    if not call.is_contiguous:
        run_planned(call, call.n_kept if job.term != NOTHING else 0, call.kept)
    elif job.size < RELEASE_GIL:
        run_job(job)
    else:
        with nogil:
            run_job(job)
    return check_weight(job)


cdef inline int check_weight(const Job* job) except -1:
    if job.bad_weight:
        raise ValueError("weight must be finite and not negative where it is selected")
    return 0


cdef int run_planned(Call* call, int n_kept, const bint* kept) except -1:
    """Run the job on arrays of any layout; the elements of the kept axes, if there are any, have a sum each."""
    cdef Plan plan, leftover
    cdef Job* job = &plan.job
    cdef Operand* operand
    cdef cnp.ndarray array
    cdef int slot
    start_plan(&plan, &call.contiguous.job, call.ndim, call.shape, kept, n_kept)
    for slot in range(SLOTS):
        if has(call, slot):
            array = array_in(call, slot)
            operand = add_operand(
                &plan, slot, <char*> cnp.PyArray_DATA(array), storage_in(array), cnp.PyArray_NDIM(array),
                shape_of(array), <const Py_ssize_t*> cnp.PyArray_STRIDES(array),
            )
            operand.swapped = cnp.PyArray_ISBYTESWAPPED(array)
            operand.readable = cnp.PyArray_ISALIGNED(array) and not operand.swapped
    if call.factors is not NULL:
        add_factors(call, &plan)
    settle_plan(&plan, &leftover)
    if job.slices * job.size < RELEASE_GIL:
        run_job(job)
    else:
        with nogil:
            run_job(job)
    call.contiguous.job.count, call.contiguous.job.bad_weight = job.count, job.bad_weight
    return 0


cdef void add_factors(const Call* call, Plan* plan) noexcept:
    """Enter the factors of the slices, one for each element of the axes that the call keeps, as operands."""
    cdef Py_ssize_t shape[MAX_DIMS]
    cdef Py_ssize_t strides[MAX_DIMS]
    cdef Py_ssize_t slices = 1
    cdef char* data = <char*> call.factors
    cdef int k
    for k in range(call.ndim - 1, -1, -1):
        shape[k] = call.shape[k] if call.kept[k] else 1
        strides[k] = slices * <Py_ssize_t> sizeof(double)
        slices *= shape[k]
    add_operand(plan, GRAD_OUTPUT, data, FLOAT64, call.ndim, shape, strides).readable = True
    if call.has_low_factors:
        add_operand(plan, GRAD_LOW, data + slices * sizeof(double), FLOAT64, call.ndim, shape, strides).readable = True
    if call.has_exponents:
        add_operand(plan, GRAD_EXPONENT, data + 2 * slices * sizeof(double), FLOAT64, call.ndim, shape, strides).readable = True


cdef int check_weights_first(Call* call, cnp.ndarray first, cnp.ndarray second) except -1:
    """Refuse bad weights before anything is written to an output that overlaps an operand, which then stays as it is."""
    cdef Job* job = &call.contiguous.job
    if has(call, WEIGHT) and (
        overlaps_operands(call, first, False) or (second is not None and overlaps_operands(call, second, False))
    ):
        job.term = WEIGHTS
        run(call)
        job.term = NOTHING
    return 0


# ---- sums ------------------------------------------------------------------------------------------------------------------------

cdef object sum_into(Call* call, str name, bint mean, object out, bint keepdims):
    """Run the job for the exact sum or mean of the whole, or of each slice: a scalar, an array, or `out`."""
    cdef Job* job = &call.contiguous.job
    cdef Py_ssize_t shape[MAX_DIMS]
    cdef char number[8]
    cdef int ndim = shape_left(call, keepdims, shape) if keepdims or call.n_kept else 0
    cdef cnp.ndarray final = None, written = None
    if out is not None or ndim:
        final = take_output(call, name, out, ndim, shape)
    job.term, job.divide, job.result_storage, job.result = VALUES, mean, call.storage, number
    if call.n_kept:
        written = final if out is None else take_output(call, name, None, ndim, shape)
        job.result = <char*> cnp.PyArray_DATA(written)
        call.is_contiguous = False
    run(call)
    if call.n_kept:
        return moved(written, final)
    if final is None:
        return scalar_of(call.storage, number)
    memcpy(cnp.PyArray_DATA(final), number, cnp.PyArray_ITEMSIZE(final))
    return final


cdef cnp.ndarray sum_over_broadcast(Call* call, int slot, int term, cnp.ndarray final, bint given):
    """Sum derivatives exactly over the axes along which this operand was broadcast, into `final`, or into an array of its shape that
    is to be moved there if outputs were given.
    """
    cdef Job* job = &call.contiguous.job
    cdef cnp.ndarray operand = array_in(call, slot), written = final
    cdef bint kept[MAX_DIMS]
    cdef int k, n_kept = 0, missing = call.ndim - cnp.PyArray_NDIM(operand)
    for k in range(call.ndim):
        kept[k] = (cnp.PyArray_DIM(operand, k - missing) if k >= missing else 1) == call.shape[k]
        n_kept += kept[k]
    if given:
        written = take_output(call, "", None, cnp.PyArray_NDIM(final), shape_of(final))
    job.term, job.divide, job.result_storage = term, False, call.storage
    job.result = <char*> cnp.PyArray_DATA(written)
    run_planned(call, n_kept, kept)
    job.term, job.result = NOTHING, NULL
    check_weight(job)
    return written


# ---- what derivatives are multiplied with ----------------------------------------------------------------------------------------

cdef int take_factor(Call* call, int reduction, object grad_output, bint negative) except -1:
    """Have derivatives multiplied by incoming gradient over divisor: one number for all, a number a slice, or one an element."""
    cdef Job* job = &call.contiguous.job
    cdef double dividend = 1
    cdef double factors[3]
    cdef cnp.ndarray incoming = None
    if grad_output is not None and not read_number(grad_output, &dividend):
        if not convert.is_fraction(grad_output):
            incoming = as_incoming(call, reduction, grad_output, &dividend)
        elif reduction == MEAN:
            dividend = convert.as_float("grad_output", grad_output)
        else:
            return take_fraction(job, int(grad_output.numerator), int(grad_output.denominator), negative)
    if call.n_kept and reduction == MEAN and (
        incoming is not None or has(call, WEIGHT) or has(call, WHERE)
    ):
        take_factors_of_slices(call, incoming, &dividend)
        job.scale = -1 if negative else 1
    elif incoming is not None:
        hold_as(call, GRAD_OUTPUT, incoming)
        call.is_contiguous = False
        job.scale = -1 if negative else 1
    elif call.n_kept and reduction == MEAN:
        set_factor(job, factor_by_count(-dividend if negative else dividend, job.size // max(count_slices(call), 1)))
    elif not set_scale(job, -dividend if negative else dividend, reduction == MEAN):
        dividend = -dividend if negative else dividend
        want_factors(job, &dividend, factors)
        run(call)
        take_factors(job, factors)
    return 0


cdef inline bint read_number(object given, double* number) except -1:
    """Whether this is a number that float64 holds, of the usual types."""
    cdef int overflow = 0
    if isinstance(given, float):
        number[0] = PyFloat_AS_DOUBLE(given)
        return True
    if type(given) is SINGLE:
        number[0] = given
        return True
    if type(given) is int:
        number[0] = <double> PyLong_AsLongAndOverflow(given, &overflow)
        return overflow == 0 and fabs(number[0]) < 9007199254740992.0       # 2**53
    return False


cdef int take_fraction(Job* job, object numerator, object denominator, bint negative) except -1:
    """Have derivatives multiplied by a fraction, whose denominator is positive: to 64 bits, as the quotients of exact sums."""
    cdef int exponent
    if numerator == 0:
        job.scale = 0
        return 0
    negative = negative != (numerator < 0)
    numerator = abs(numerator)
    shift = 64 - numerator.bit_length() + denominator.bit_length()
    digits, remainder = divmod(numerator << shift if shift > 0 else numerator, denominator << -shift if shift < 0 else denominator)
    if digits >> 64:                # the quotient has 64 or 65 digits
        digits, remainder, shift = digits >> 1, remainder or digits & 1, shift - 1
    exponent = max(-100000, min(100000, -shift))
    set_factor(job, factor_of_digits(digits, exponent, remainder != 0, negative))
    return 0


cdef cnp.ndarray as_incoming(Call* call, int reduction, object given, double* number):
    """An incoming gradient as an array that broadcasts to the shape of the call; None for one element, which goes to `number`."""
    cdef cnp.ndarray incoming = as_array("grad_output", given)
    cdef int storage = read_storage("grad_output", incoming)
    cdef Py_ssize_t shape[MAX_DIMS]
    if cnp.PyArray_SIZE(incoming) == 1:
        read_strided(storage, <char*> cnp.PyArray_DATA(incoming), 0, cnp.PyArray_ISBYTESWAPPED(incoming), 1, number)
        return None
    if reduction == NONE:
        check_fit(call, "grad_output", incoming, call.shape)
        return incoming
    if not call.n_kept:
        raise ValueError(
            f"grad_output must be one number for reduction={convert.REDUCTIONS[reduction]!r}, got shape {(<object> incoming).shape}"
        )
    if have_shape(incoming, shape_left(call, False, shape), shape):
        incoming = incoming.reshape(as_tuple(shape_left(call, True, shape), shape))
    shape_left(call, True, shape)
    check_fit(call, "grad_output", incoming, shape)
    return incoming


cdef Py_ssize_t count_slices(const Call* call) noexcept:
    cdef Py_ssize_t slices = 1
    cdef int k
    for k in range(call.ndim):
        slices *= call.shape[k] if call.n_kept and call.kept[k] else 1
    return slices


cdef int take_factors_of_slices(Call* call, cnp.ndarray incoming, const double* dividend) except -1:
    """Have the derivatives of each slice multiplied by a factor of its own: incoming gradient over the sum of its weights."""
    cdef Job* job = &call.contiguous.job
    cdef Py_ssize_t shape[2]
    cdef Py_ssize_t k
    cdef cnp.ndarray buffer
    cdef double* factors
    shape[0], shape[1] = 3, count_slices(call)
    buffer = cnp.PyArray_EMPTY(2, <cnp.npy_intp*> shape, cnp.NPY_FLOAT64, 0)
    factors = <double*> cnp.PyArray_DATA(buffer)
    hold(call, buffer)
    if incoming is not None:
        hold_as(call, DIVIDEND, incoming)
    want_factors(job, dividend if incoming is None else NULL, factors)
    call.is_contiguous = False
    run(call)
    job.term, job.factors, job.dividend.data = NOTHING, NULL, NULL
    call.factors = factors
    call.has_low_factors = not job.single and has(call, WEIGHT)       # else too little to count
    call.has_exponents = False
    for k in range(2 * shape[1], 3 * shape[1]):
        call.has_exponents = call.has_exponents or factors[k] != 0
    return 0


# ---- elementwise results ---------------------------------------------------------------------------------------------------------

cdef cnp.ndarray values_into(Call* call, str name, object out):
    """Weight times loss of each element."""
    cdef cnp.ndarray final = take_output(call, name, out, call.ndim, call.shape), written = apart(call, final, out is not None)
    if out is not None:
        check_weights_first(call, written, None)
    place_output(call, OUT_VALUE, written)
    run(call)
    return moved(written, final)


cdef int check_distinct(str first, cnp.ndarray a, str second, cnp.ndarray b) except -1:
    if a is not None and b is not None and overlap(extent_of(a), extent_of(b)):
        raise ValueError(f"out for the {first} and out for the {second} share memory")
    return 0


cdef object derive(
    Call* call, int reduction, object axis, object grad_output, int by, bint with_value, int curvature, object out_value,
    object out_gradient, object out_hessian,
):
    """The gradient by an operand; or a pair of value and gradient, or of gradient and Hessian if a curvature is not negative.

    Outputs are checked before anything is written to them.
    """
    cdef cnp.ndarray operand = array_in(call, by), value = None, gradient, hessian = None
    cdef int ndim = cnp.PyArray_NDIM(operand)
    cdef const Py_ssize_t* shape = shape_of(operand)
    cdef Py_ssize_t left[MAX_DIMS]
    cdef bint given = out_value is not None or out_gradient is not None or out_hessian is not None
    take_axes(call, axis)
    take_factor(call, reduction, grad_output, by == TARGET)
    if with_value and reduction == NONE:
        value = take_output(call, "out for the value", out_value, call.ndim, call.shape)
    elif out_value is not None:
        value = take_output(call, "out for the value", out_value, shape_left(call, False, left), left)
    gradient = take_output(call, "out for the gradient", out_gradient, ndim, shape)
    if curvature >= 0:
        hessian = take_output(call, "out for the hessian", out_hessian, ndim, shape)
    if given:
        check_distinct("value", value, "gradient", gradient)
        check_distinct("gradient", gradient, "hessian", hessian)
    call.contiguous.job.curvature = curvature if curvature > 0 else 0
    if not have_shape(operand, call.ndim, call.shape):
        return derive_over_broadcast(call, reduction, by, with_value, gradient, hessian, out_value, given)
    return derive_each(call, reduction, with_value, value, gradient, hessian, out_value, given)


cdef object derive_each(
    Call* call, int reduction, bint with_value, cnp.ndarray value, cnp.ndarray gradient, cnp.ndarray hessian, object out_value,
    bint given,
):
    """derive() where each element has a derivative: one pass for all that is wanted, written to these arrays or `out_value`."""
    cdef cnp.ndarray of_gradient = apart(call, gradient, given), of_hessian = None, of_value = None
    cdef object reduced = None
    if hessian is not None:
        of_hessian = apart(call, hessian, given)
    if with_value and reduction == NONE:
        of_value = apart(call, value, given)
    if given and reduction != MEAN:             # whose weights have been summed
        check_weights_first(call, of_gradient, of_hessian if of_value is None else of_value)
    place_output(call, OUT_GRADIENT, of_gradient)
    if hessian is not None:
        place_output(call, OUT_HESSIAN, of_hessian)
    if of_value is not None:
        place_output(call, OUT_VALUE, of_value)
    if with_value and reduction != NONE:
        reduced = sum_into(call, "out for the value", reduction == MEAN, out_value, False)
    else:
        run(call)
    moved(of_gradient, gradient)
    if hessian is not None:
        return gradient, moved(of_hessian, hessian)
    if with_value:
        return (reduced if of_value is None else moved(of_value, value)), gradient
    return gradient


cdef object derive_over_broadcast(
    Call* call, int reduction, int by, bint with_value, cnp.ndarray gradient, cnp.ndarray hessian, object out_value, bint given
):
    """derive() by an operand that was broadcast: derivatives are summed exactly, each in a pass of its own."""
    cdef cnp.ndarray of_gradient = sum_over_broadcast(call, by, GRADIENTS, gradient, given), of_hessian = None
    cdef object of_loss = None
    if hessian is not None:
        of_hessian = sum_over_broadcast(call, by, HESSIANS, hessian, given)
    if with_value and reduction == NONE:
        of_loss = values_into(call, "out for the value", out_value)
    elif with_value:
        of_loss = sum_into(call, "out for the value", reduction == MEAN, out_value, False)
    moved(of_gradient, gradient)            # when all passes are over: `gradient` may overlap an operand
    if hessian is not None:
        return gradient, moved(of_hessian, hessian)
    return (of_loss, gradient) if with_value else gradient


# ---- what Python calls -----------------------------------------------------------------------------------------------------------

@cython.binding(False)      # cheaper to call
def value(int loss, parameter, reduction, input, target, weight, where, axis, keepdims, out, n_threads, /):
    """The loss as a scalar, an array or `out`. Parameters are those of Loss.__call__, beside the loss's number and parameter."""
    cdef Call call
    cdef int named
    begin(&call)
    try:
        named = reduction_named(reduction)
        take_operands(&call, loss, parameter, input, target, weight, where, n_threads)
        if named != NONE:
            take_axes(&call, axis)
            return sum_into(&call, "out", named == MEAN, out, keepdims)
        if axis is not None or keepdims:
            raise ValueError("axis and keepdims need reduction='mean' or 'sum', got 'none'")
        return values_into(&call, "out", out)
    finally:
        end(&call)


@cython.binding(False)
def gradient(int loss, parameter, reduction, input, target, grad_output, wrt, weight, where, axis, out, n_threads, /):
    """The gradient. Parameters are those of Loss.grad, beside the loss's number, parameter and reduction; so below."""
    cdef Call call
    cdef int named
    begin(&call)
    try:
        named = reduction_named(reduction)
        take_operands(&call, loss, parameter, input, target, weight, where, n_threads)
        return derive(&call, named, axis, grad_output, operand_named(wrt), False, -1, None, out, None)
    finally:
        end(&call)


@cython.binding(False)
def value_and_gradient(int loss, parameter, reduction, input, target, weight, where, axis, out, n_threads, /):
    """The pair of value and gradient."""
    cdef Call call
    cdef int named
    cdef object out_value = None
    begin(&call)
    try:
        named = reduction_named(reduction)
        if isinstance(out, tuple):
            if len(out) != 2:
                raise ValueError(f"out must be an array or a tuple of two, for value and gradient, got {len(out)}")
            out_value, out = out
        take_operands(&call, loss, parameter, input, target, weight, where, n_threads)
        return derive(&call, named, axis, None, INPUT, True, -1, out_value, out, None)
    finally:
        end(&call)


@cython.binding(False)
def gradient_and_hessian(int loss, parameter, reduction, input, target, grad_output, curvature, weight, where, out, n_threads, /):
    """The pair of gradient and Hessian."""
    cdef Call call
    cdef int named, curved
    cdef object out_hessian = None
    begin(&call)
    try:
        named, curved = reduction_named(reduction), curvature_named(curvature)
        if out is not None:
            if not isinstance(out, tuple) or len(out) != 2:
                raise TypeError("out must be a tuple of two arrays, for gradient and Hessian")
            out, out_hessian = out
        take_operands(&call, loss, parameter, input, target, weight, where, n_threads)
        return derive(&call, named, None, grad_output, INPUT, False, curved, None, out, out_hessian)
    finally:
        end(&call)


@cython.binding(False)
def total(int loss, parameter, input, target, weight, where, n_threads, /):
    """The exact Total of weighted losses and weights."""
    cdef Call call
    cdef Total sums = new_total()
    begin(&call)
    try:
        take_operands(&call, loss, parameter, input, target, weight, where, n_threads)
        want_sums(&call.contiguous.job, &sums.sums)
        run(&call)
        count_elements(&call.contiguous.job, &sums.sums)
        sums.dtype = dtype_of(call.storage)
        return sums
    finally:
        end(&call)
