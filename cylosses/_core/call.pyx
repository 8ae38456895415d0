"""The one way in: a call from Python is checked, given its dtype, shape, axes, outputs and factor, and run here, and only here.

a. A Call is a struct on the stack, filled step by step. A step succeeds or raises: there is no second, slower way for what a quick one
   does not take. What needs Python to be converted or refused goes through convert.py, once, and comes back an array or a number.
b. Arrays are held from begin() to end(), so that they stay where they are while the GIL is released.
c. Arrays that are C-contiguous, of the working type and of the shape of the call make a job that runs at once. Any others get a plan
   (layout.pxd) first. The loops see the difference, the rules do not.
d. All numbers of a call are computed in the default floating-point mode. The caller's is remembered in begin() and comes back in end().
e. Buffers are pointers here. To make a typed memoryview of one array and give it back takes a third of a whole call, and the GIL.
"""
import operator

cimport numpy as cnp
from cpython.float cimport PyFloat_AS_DOUBLE
from cpython.long cimport PyLong_AsLongAndOverflow
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.math cimport fabs
from libc.string cimport memcpy

from cylosses._core.builds cimport MAX_THREADS, check_rounded, run_job, take_parameter
from cylosses._core.dtypes cimport WEAK, dtype_of, scalar_of, storage_in, wider
from cylosses._core.factor cimport factor_by_count, factor_of_digits, set_dividend, set_factor, set_scale, take_factors, want_factors
from cylosses._core.job cimport (
    BFLOAT16, DIVIDEND, EXACT_CURVATURE, FLOAT16, FLOAT32, FLOAT64, GRAD_EXPONENT, GRAD_LOW, GRAD_OUTPUT, GRADIENTS, HESSIANS, INPUT,
    INT64, MAX_DIMS, NOTHING, OUT_GRADIENT, OUT_HESSIAN, OUT_VALUE, SLOTS, TARGET, UINT8, UINT64, VALUES, WEIGHT, WEIGHTS, WHERE,
    ContiguousJob, Job, Operand, enter, rounded_parameter, start_contiguous_job,
)
from cylosses._core.layout cimport Plan, add_operand, lies_in_blocks, settle_plan, settle_side_by_side, start_plan
from cylosses._core.memory.storage cimport size_of
from cylosses._core.memory.strided cimport read_strided
from cylosses._core.mode cimport cylosses_mode, restore_mode, set_default_mode
from cylosses._core.overlap cimport Extent, extent_of_bytes, overlap
from cylosses._core.parameters cimport L1
from cylosses._core.summation.exact_sums cimport ExactSums, clear_exact_sums
from cylosses._core.totals cimport Total, round_exact_sums, want_totals

import numpy as np

from cylosses._core import builds, convert, parameter_arrays

cnp.import_array()

cdef enum:
    RELEASE_GIL = 4096          # elements; below, releasing the GIL costs more than a waiting thread loses
    OUTPUTS = 1 << OUT_VALUE | 1 << OUT_GRADIENT | 1 << OUT_HESSIAN         # as Call.present has them

cdef tuple OPERANDS = ("input", "target")       # that derivatives are taken by
cdef type SINGLE = np.float32

cdef enum Reduction:
    # In the order of convert.REDUCTIONS.
    NONE
    MEAN
    SUM

cdef struct Box:
    # Part of the shape of a call.
    Py_ssize_t start[MAX_DIMS]
    Py_ssize_t length[MAX_DIMS]

cdef struct Call:
    ContiguousJob contiguous        # the job: complete where all arrays are contiguous, else what a plan begins with
    bint is_contiguous
    cylosses_mode callers_mode
    int storage                     # of the results
    int ndim                        # the shape of input with target
    const Py_ssize_t* shape
    Py_ssize_t own_shape[MAX_DIMS]  # where it lies: arrays may be given another shape by what converts the next argument
    int n_kept                      # axes that a reduction leaves
    bint kept[MAX_DIMS]
    PyObject* array[SLOTS]          # the operands and outputs that are there
    unsigned int present            # which are, a bit each
    PyObject* held[SLOTS + 2]       # what the call has a reference of
    int n_held
    bint finds_factors              # of slices, from `dividend` or the operand of that name: before or while the job runs
    double dividend
    const double* factors           # of each slice three numbers, as the loops write them; or NULL
    bint has_low_factors
    bint has_exponents
    PyObject* parameters            # a ParameterArray, or NULL where the parameter is one number
    const double* parameter         # its elements, in C order
    Py_ssize_t parameter_step[MAX_DIMS]     # how far apart they are along each axis of the call: 0 where they are the same
    bint in_parts                   # there are several of them
    unsigned int box_only           # which arrays have the shape of a box rather than of the call, a bit each
    const Box* box


# ---- beginning and end -----------------------------------------------------------------------------------------------------------

cdef inline void begin(Call* call) noexcept:
    call.present, call.n_held, call.n_kept = 0, 0, 0
    call.factors = NULL
    call.parameters = NULL
    call.finds_factors = call.in_parts = False
    call.box_only = 0
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


cdef bint broadcasts_to(cnp.ndarray array, int ndim, const Py_ssize_t* shape) noexcept:
    cdef int k, missing = ndim - cnp.PyArray_NDIM(array)
    if missing < 0:
        return False
    for k in range(cnp.PyArray_NDIM(array)):
        if cnp.PyArray_DIM(array, k) != 1 and cnp.PyArray_DIM(array, k) != shape[k + missing]:
            return False
    return True


cdef inline cnp.ndarray array_in(const Call* call, int slot):
    return <cnp.ndarray> call.array[slot]


# ---- running ---------------------------------------------------------------------------------------------------------------------

cdef int run_from_python(Job* job) except -1:
    """Run a job, without the GIL if it is worth releasing; ValueError for a bad weight."""
    set_default_mode()              # again: what converted an argument may have set another
    if job.slices * job.size < RELEASE_GIL:
        run_job(job)
    else:
        with nogil:
            run_job(job)
    if job.bad_weight:
        raise ValueError("weight must be finite and not negative where it is selected")
    return 0


cdef int run(Call* call) except -1:
    """Run the job on what the call holds."""
    if call.is_contiguous:
        return run_from_python(&call.contiguous.job)
    return run_planned(call, call.n_kept if call.contiguous.job.term != NOTHING or call.finds_factors else 0, call.kept)


cdef int run_planned(Call* call, int n_kept, const bint* kept) except -1:
    """Run the job on arrays of any layout; the elements of the kept axes, if there are any, have a sum each."""
    if call.in_parts and call.contiguous.job.term != WEIGHTS:       # no parameter counts there
        return run_in_parts(call, n_kept, kept)
    return run_box(call, NULL, n_kept, kept)


cdef int run_box(Call* call, const Box* box, int n_kept, const bint* kept) except -1:
    """Run the job on part of the shape of the call, or all of it."""
    cdef const Py_ssize_t* shape = call.shape if box is NULL else box.length
    cdef Plan plan, leftover, side_by_side
    cdef Job* job = &call.contiguous.job
    cdef bint are_side_by_side = False
    if n_kept:
        start_plan(&side_by_side, job, call.ndim, shape, NULL, 0)
        add_operands(call, box, &side_by_side)
        are_side_by_side = settle_side_by_side(&side_by_side, kept)
        if call.finds_factors and job.term != WEIGHTS:
            if are_side_by_side and lies_in_blocks(&side_by_side.job):
                side_by_side.job.finds_factors = True
            else:
                find_factors_of_slices(call)
                return run(call)
    start_plan(&plan, job, call.ndim, shape, kept, n_kept)
    add_operands(call, box, &plan)
    if are_side_by_side and side_by_side.job.finds_factors and not has(call, DIVIDEND):
        set_dividend(&plan.job, &call.dividend)
    settle_plan(&plan, &leftover)
    if are_side_by_side:
        plan.job.side_by_side = &side_by_side.job
    run_from_python(&plan.job)
    return 0


cdef int add_operands(const Call* call, const Box* box, Plan* plan) except -1:
    """Enter what a box has of the arrays that the call holds, and of its factors; without a box, all of it."""
    cdef Operand* operand
    cdef cnp.ndarray array
    cdef int slot
    for slot in range(SLOTS):
        if has(call, slot):
            array = array_in(call, slot)
            if not (call.box_only >> slot & 1 or broadcasts_to(array, call.ndim, call.shape)):
                raise RuntimeError("an array was given another shape while its call was prepared")
            operand = add_part(
                call, box, plan, slot, <char*> cnp.PyArray_DATA(array), storage_in(array), cnp.PyArray_NDIM(array),
                shape_of(array), <const Py_ssize_t*> cnp.PyArray_STRIDES(array),
            )
            operand.swapped = cnp.PyArray_ISBYTESWAPPED(array)
            operand.readable = cnp.PyArray_ISALIGNED(array) and not operand.swapped
    if call.factors is not NULL:
        add_factors(call, box, plan)
    return 0


cdef Operand* add_part(
    const Call* call, const Box* box, Plan* plan, int slot, char* data, int storage, int ndim, const Py_ssize_t* shape,
    const Py_ssize_t* strides,
) noexcept:
    """Enter what a box has of an array."""
    cdef Py_ssize_t lengths[MAX_DIMS]
    cdef bint box_only = call.box_only >> slot & 1
    cdef int k, axis
    if box is NULL:
        return add_operand(plan, slot, data, storage, ndim, shape, strides)
    for k in range(ndim):
        axis = k + call.ndim - ndim
        lengths[k] = 1 if shape[k] == 1 else box.length[axis]
        if shape[k] != 1:
            data += (box.start[axis] - (call.box.start[axis] if box_only else 0)) * strides[k]
    return add_operand(plan, slot, data, storage, ndim, lengths, strides)


cdef void add_factors(const Call* call, const Box* box, Plan* plan) noexcept:
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
    add_part(call, box, plan, GRAD_OUTPUT, data, FLOAT64, call.ndim, shape, strides).readable = True
    if call.has_low_factors:
        data += slices * sizeof(double)
        add_part(call, box, plan, GRAD_LOW, data, FLOAT64, call.ndim, shape, strides).readable = True
    if call.has_exponents:
        data = <char*> (call.factors + 2 * slices)
        add_part(call, box, plan, GRAD_EXPONENT, data, FLOAT64, call.ndim, shape, strides).readable = True


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


# ---- the steps between -----------------------------------------------------------------------------------------------------------

include "operands.pxi"
include "outputs.pxi"
include "derivatives.pxi"
include "parts.pxi"


# ---- what Python calls -----------------------------------------------------------------------------------------------------------

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


def total(int loss, parameter, input, target, weight, where, axis, n_threads, /):
    """The exact Total of weighted losses and weights: of each slice unless `axis` is None."""
    cdef Call call
    cdef Total sums
    begin(&call)
    try:
        take_operands(&call, loss, parameter, input, target, weight, where, n_threads)
        take_axes(&call, axis)
        sums = Total(None if axis is None else layout_left(&call))
        want_totals(&call.contiguous.job, sums.sums)
        call.is_contiguous = call.is_contiguous and not call.n_kept
        run(&call)
        sums.dtype = dtype_of(call.storage)
        return sums
    finally:
        end(&call)


def axes(axis, /):
    """Axes as a tuple of int, before there is data to tell which they are; None if it is None."""
    if axis is None:
        return None
    found = tuple([axis_index(item, axis) for item in (axis if isinstance(axis, tuple) else (axis,))])
    for index in found:
        if not -MAX_DIMS < index < MAX_DIMS - 1:
            raise ValueError(f"axis {convert.shown(index)} is out of bounds: an array has at most {MAX_DIMS - 1} dimensions")
    if len(set(found)) < len(found):
        convert.refuse_axis_twice(axis)
    return found
