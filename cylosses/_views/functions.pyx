"""The compiled module of `cylosses.views`: what its functions for Cython call, and its functions for Python."""
# The Python functions take buffers by the protocol itself, not as arguments of a fused type, which would be compiled once for each
# dtype, take longer (some 100 ns each, and as much to find the dtype), and raise errors that name no argument.

cimport cython
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_IsContiguous, PyBuffer_Release
from cpython.exc cimport PyErr_Clear
from cpython.pythread cimport (
    WAIT_LOCK, PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock, PyThread_release_lock,
)
from libc.stdint cimport uint64_t
from libc.string cimport memset

from cylosses._views.requests cimport (
    ARRAYS, BAD_SHAPE, ELEMENTWISE_VALUE, GRADIENT, GRADIENT_AND_HESSIAN, OUT_OF_MEMORY, UPDATE, VALUE, VALUE_AND_GRADIENT,
    VALUE_OUT, Array, Request, add_line, check_shapes, expected_shape, find_clash, find_misaligned, find_wrong_shape, new_request,
    run_line, run_slices, widened,
)
from cylosses.capi cimport (
    BAD_ARRAY, MEAN, OK, Accumulator, accumulator_clear, accumulator_count, accumulator_finish_float32, accumulator_finish_float64,
    accumulator_free, accumulator_merge, accumulator_new, status_message,
)

cdef extern from "Python.h":
    int get_buffer "PyObject_GetBuffer"(object source, Py_buffer* buffer, int flags) noexcept

cdef extern from * nogil:
    """
    static int little_endian(void) { int one = 1; return *(char *)&one; }
    """
    bint little_endian()


cdef int run_request(Request* request) except -1 nogil:
    cdef int status = check_shapes(request)
    if status == OK:
        status = run_slices(request) if request.planar else run_line(request)
    return OK if status == OK else refuse(request, status)


cdef int refuse(const Request* request, int status) except -1 with gil:
    """Raise what a status means."""
    cdef Array expected
    cdef int which = 0, other = -1, i
    if status == OUT_OF_MEMORY:
        raise MemoryError("a column has no room")
    if status == BAD_SHAPE:
        which = find_wrong_shape(request)
    elif status == BAD_ARRAY and not find_clash(request, &which, &other):
        which, other = find_misaligned(request), -1
    expected = expected_shape(request, which)

    from cylosses._views.refusals import Array as Described, explain
    raise explain(
        status, (<bytes> status_message(status)).decode(), request.loss, request.parameter, request.reduction, request.curvature,
        request.axis, request.n_threads, request.itemsize, request.planar,
        tuple([Described(<size_t> request.arrays[i].data, request.arrays[i].rows, request.arrays[i].columns) for i in range(ARRAYS)]),
        (expected.rows, expected.columns), which, other,
    )


# ---- the functions, for Python ---------------------------------------------------------------------------------------------------

cdef bint take(Request* request, Py_buffer* buffer, int which, source):
    """Enter an argument that is an array; whether it is as it must be."""
    cdef Array* array = &request.arrays[which]
    cdef bint planar = request.planar and which != VALUE_OUT
    cdef const char* kind
    if get_buffer(source, buffer, PyBUF_STRIDES | PyBUF_FORMAT | (PyBUF_WRITABLE if which >= VALUE_OUT else 0)) < 0:
        PyErr_Clear()
        return False
    kind = buffer.format
    if kind is NULL:        # bytes
        return False
    if kind[0] == c"@" or kind[0] == c"=" or kind[0] == (c"<" if little_endian() else c">"):
        kind += 1
    if not (kind[0] == c"f" or kind[0] == c"d") or kind[1] != 0 or (request.itemsize and request.itemsize != buffer.itemsize):
        return False
    if buffer.ndim != 1 + planar or not PyBuffer_IsContiguous(buffer, c"C"):
        return False
    request.itemsize = <int> buffer.itemsize
    array.data, array.rows, array.columns = buffer.buf, buffer.shape[0], buffer.shape[1] if planar else 1
    return True


cdef double run(
    int quantity, loss, parameter, reduction, curvature, axis, n_threads, input, target, weight, value, gradient, hessian,
    LossAccumulator total,
) except? -1:
    """Do what a Python function is asked for; return the value, if it is a single number."""
    cdef Request request
    cdef Py_buffer buffers[6]
    cdef int which = 0
    try:
        request = new_request(quantity, loss, parameter, reduction, curvature, n_threads, 0)
        if axis is not None:
            request.planar, request.axis = True, axis
    except (TypeError, OverflowError):
        from cylosses._views.refusals import bad_number
        raise bad_number(
            loss=loss, parameter=parameter, reduction=reduction, curvature=curvature, axis=axis, n_threads=n_threads
        ) from None
    memset(buffers, 0, sizeof(buffers))     # a buffer without an object need not be released
    try:
        for source in (input, target, weight, value, gradient, hessian):
            if source is not None and not take(&request, &buffers[which], which, source):
                from cylosses._views.refusals import bad_buffer
                raise bad_buffer(which, source, request.itemsize, 2 if request.planar and which != VALUE_OUT else 1)
            which += 1
        with nogil:
            if total is None:
                run_request(&request)
            else:
                total.add(&request)
    finally:
        for which in range(ARRAYS):
            PyBuffer_Release(&buffers[which])
    return request.result


def value(loss, parameter, reduction, input, target, weight=None, n_threads=1):
    """Return the exact sum or mean of a loss, rounded once.

    Parameters
    ----------
    loss : LossCode
        A loss, as `cylosses.capi.LossCode` numbers them.
    parameter : float
        Its parameter; 0 for a loss without one.
    reduction : Reduction
        `cylosses.capi.Reduction.MEAN` or ``SUM``.
    input, target : buffer of shape (n,)
        C-contiguous, of float32 or float64, the same for both.
    weight : buffer of shape (n,), optional
        Finite, not negative. Weight 0 removes an element, even a NaN; weight k counts it k times.
    n_threads : int, optional
        At most so many threads; 0: as many as `cylosses.set_num_threads` allows.

    Returns
    -------
    float
        Rounded to the dtype of the arrays. The sum of nothing is 0, its mean NaN.

    Raises
    ------
    TypeError
        If an argument is of the wrong type or an array of the wrong dtype.
    ValueError
        If a loss, a parameter or another number is not one of those above, an array has the wrong shape or layout, a weight is
        negative, infinite or NaN, or an output overlaps another array without being the same as an input.

    Notes
    -----
    With the differences :math:`d_i` of input and target, the sum is :math:`\\sum_i w_i L(d_i)`, the mean that over
    :math:`\\sum_i w_i`. The formulas :math:`L` and their sources are in the docstrings of the functions of `cylosses`, such as
    `cylosses.huber_loss`, which give the same bits.

    Examples
    --------
    >>> import numpy as np
    >>> from cylosses import views
    >>> from cylosses.capi import LossCode, Reduction
    >>> input, target = np.array([1.5, 2.0, 0.5]), np.array([1.0, 10.0, 0.5])
    >>> views.value(LossCode.SMOOTH_L1, 1.0, Reduction.MEAN, input, target)
    2.5416666666666665
    >>> views.value(LossCode.SMOOTH_L1, 1.0, Reduction.SUM, input, target, weight=np.array([2.0, 0.0, 1.0]))
    0.25
    """
    return run(VALUE, loss, parameter, reduction, 0, None, n_threads, input, target, weight, None, None, None, None)


def elementwise_value(loss, parameter, input, target, value_out, weight=None, n_threads=1):
    """Write weight times loss of each element.

    Parameters
    ----------
    value_out : buffer of shape (n,)
        Takes the losses. May be one of the inputs itself.
    loss, parameter, input, target, weight, n_threads
        As of `value`.

    Raises
    ------
    TypeError, ValueError
        As `value`.

    Examples
    --------
    >>> import numpy as np
    >>> from cylosses import views
    >>> from cylosses.capi import LossCode
    >>> input, target = np.array([1.5, 2.0, 0.5]), np.array([1.0, 10.0, 0.5])
    >>> views.elementwise_value(LossCode.SMOOTH_L1, 1.0, input, target, input)
    >>> input
    array([0.125, 7.5  , 0.   ])
    """
    run(ELEMENTWISE_VALUE, loss, parameter, MEAN, 0, None, n_threads, input, target, weight, value_out, None, None, None)


def gradient(loss, parameter, reduction, input, target, gradient_out, weight=None, n_threads=1):
    """Write the gradient of the sum or mean with respect to the input.

    Parameters
    ----------
    gradient_out : buffer of shape (n,)
        Takes the gradient with respect to `input`. May be one of the inputs itself.
    loss, parameter, reduction, input, target, weight, n_threads
        As of `value`.

    Raises
    ------
    TypeError, ValueError
        As `value`.

    Examples
    --------
    >>> import numpy as np
    >>> from cylosses import views
    >>> from cylosses.capi import LossCode, Reduction
    >>> input, target = np.array([1.5, 2.0, 0.5]), np.array([1.0, 10.0, 0.5])
    >>> gradient_out = np.empty(3)
    >>> views.gradient(LossCode.SMOOTH_L1, 1.0, Reduction.SUM, input, target, gradient_out)
    >>> gradient_out
    array([ 0.5, -1. ,  0. ])
    """
    run(GRADIENT, loss, parameter, reduction, 0, None, n_threads, input, target, weight, None, gradient_out, None, None)


def value_and_gradient(loss, parameter, reduction, input, target, gradient_out, weight=None, n_threads=1):
    """Return the sum or mean and write its gradient, from one pass over the arrays.

    Parameters
    ----------
    gradient_out : buffer of shape (n,)
        Takes the gradient with respect to `input`. May be one of the inputs itself.
    loss, parameter, reduction, input, target, weight, n_threads
        As of `value`.

    Returns
    -------
    float
        As `value`.

    Raises
    ------
    TypeError, ValueError
        As `value`.

    Examples
    --------
    >>> import numpy as np
    >>> from cylosses import views
    >>> from cylosses.capi import LossCode, Reduction
    >>> input, target = np.array([1.5, 2.0, 0.5]), np.array([1.0, 10.0, 0.5])
    >>> gradient_out = np.empty(3)
    >>> views.value_and_gradient(LossCode.SMOOTH_L1, 1.0, Reduction.SUM, input, target, gradient_out)
    7.625
    >>> gradient_out
    array([ 0.5, -1. ,  0. ])
    """
    return run(VALUE_AND_GRADIENT, loss, parameter, reduction, 0, None, n_threads, input, target, weight, None, gradient_out, None, None)


def gradient_and_hessian(
    loss, parameter, reduction, curvature, input, target, gradient_out, hessian_out, weight=None, n_threads=1
):
    """Write gradient and diagonal of the Hessian of the sum or mean, from one pass over the arrays.

    Parameters
    ----------
    curvature : Curvature
        `cylosses.capi.Curvature`: the second derivative itself, the bound of IRLS, or ones.
    gradient_out : buffer of shape (n,)
        Takes the gradient with respect to `input`. May be one of the inputs itself.
    hessian_out : buffer of shape (n,)
        Takes the diagonal of the Hessian. May be another of the inputs.
    loss, parameter, reduction, input, target, weight, n_threads
        As of `value`.

    Raises
    ------
    TypeError, ValueError
        As `value`.

    Examples
    --------
    >>> import numpy as np
    >>> from cylosses import views
    >>> from cylosses.capi import Curvature, LossCode, Reduction
    >>> input, target = np.array([1.5, 2.0, 0.5]), np.array([1.0, 10.0, 0.5])
    >>> gradient_out, hessian_out = np.empty((2, 3))
    >>> codes = LossCode.SMOOTH_L1, 1.0, Reduction.SUM, Curvature.MM_CURVATURE
    >>> views.gradient_and_hessian(*codes, input, target, gradient_out, hessian_out)
    >>> hessian_out
    array([1.   , 0.125, 1.   ])
    """
    run(GRADIENT_AND_HESSIAN, loss, parameter, reduction, curvature, None, n_threads, input, target, weight, None, gradient_out, hessian_out, None)


def value_along_axis(loss, parameter, reduction, axis, input, target, value_out, weight=None, n_threads=1):
    """Write the exact sum or mean of each row or column.

    Each has the bits of `value` on that row or column alone.

    Parameters
    ----------
    axis : int
        The axis that is summed over: 1 or -1 for a result for each row, 0 or -2 for one for each column.
    value_out : buffer of shape (rows,) or (columns,)
        Takes a value for each row or column. Overlaps no other array.
    loss, parameter, reduction, input, target, weight, n_threads
        As of `value`, but arrays have the shape (rows, columns).

    Raises
    ------
    TypeError, ValueError
        As `value`; also if `axis` is none of those.

    Examples
    --------
    >>> import numpy as np
    >>> from cylosses import views
    >>> from cylosses.capi import LossCode, Reduction
    >>> input, target = np.array([[3.0, 1.0], [1.0, 5.0]]), np.zeros((2, 2))
    >>> value_out = np.empty(2)
    >>> views.value_along_axis(LossCode.L1, 0.0, Reduction.MEAN, 1, input, target, value_out)
    >>> value_out
    array([2., 3.])
    """
    run(VALUE, loss, parameter, reduction, 0, axis, n_threads, input, target, weight, value_out, None, None, None)


def gradient_along_axis(loss, parameter, reduction, axis, input, target, gradient_out, weight=None, n_threads=1):
    """Write the gradients of the sums or means of rows or columns.

    Each row or column has the bits of `gradient` on it alone.

    Parameters
    ----------
    gradient_out : buffer of shape (rows, columns)
        Takes the gradient with respect to `input`. May be one of the inputs itself.
    loss, parameter, reduction, axis, input, target, weight, n_threads
        As of `value_along_axis`.

    Raises
    ------
    TypeError, ValueError
        As `value_along_axis`.

    Examples
    --------
    >>> import numpy as np
    >>> from cylosses import views
    >>> from cylosses.capi import LossCode, Reduction
    >>> input, target = np.array([[3.0, 1.0], [1.0, 5.0]]), np.zeros((2, 2))
    >>> gradient_out = np.empty((2, 2))
    >>> views.gradient_along_axis(LossCode.L1, 0.0, Reduction.MEAN, 1, input, target, gradient_out)
    >>> gradient_out
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """
    run(GRADIENT, loss, parameter, reduction, 0, axis, n_threads, input, target, weight, None, gradient_out, None, None)


def value_and_gradient_along_axis(
    loss, parameter, reduction, axis, input, target, value_out, gradient_out, weight=None, n_threads=1
):
    """Write sum or mean and its gradient for each row or column, from one pass over the arrays.

    Each has the bits of `value_and_gradient` on that row or column alone.

    Parameters
    ----------
    value_out : buffer of shape (rows,) or (columns,)
        Takes a value for each row or column. Overlaps no other array.
    gradient_out : buffer of shape (rows, columns)
        Takes the gradient with respect to `input`. May be one of the inputs itself.
    loss, parameter, reduction, axis, input, target, weight, n_threads
        As of `value_along_axis`.

    Raises
    ------
    TypeError, ValueError
        As `value_along_axis`.

    Examples
    --------
    >>> import numpy as np
    >>> from cylosses import views
    >>> from cylosses.capi import LossCode, Reduction
    >>> input, target = np.array([[3.0, 1.0], [1.0, 5.0]]), np.zeros((2, 2))
    >>> value_out = np.empty(2)
    >>> views.value_and_gradient_along_axis(LossCode.L1, 0.0, Reduction.SUM, 0, input, target, value_out, input)
    >>> value_out, input
    (array([4., 6.]), array([[1., 1.],
           [1., 1.]]))
    """
    run(VALUE_AND_GRADIENT, loss, parameter, reduction, 0, axis, n_threads, input, target, weight, value_out, gradient_out, None, None)


def gradient_and_hessian_along_axis(
    loss, parameter, reduction, curvature, axis, input, target, gradient_out, hessian_out, weight=None, n_threads=1
):
    """Write gradient and diagonal of the Hessian of the sum or mean of each row or column.

    Each has the bits of `gradient_and_hessian` on that row or column alone.

    Parameters
    ----------
    curvature : Curvature
        `cylosses.capi.Curvature`: the second derivative itself, the bound of IRLS, or ones.
    gradient_out : buffer of shape (rows, columns)
        Takes the gradient with respect to `input`. May be one of the inputs itself.
    hessian_out : buffer of shape (rows, columns)
        Takes the diagonal of the Hessian. May be another of the inputs.
    loss, parameter, reduction, axis, input, target, weight, n_threads
        As of `value_along_axis`.

    Raises
    ------
    TypeError, ValueError
        As `value_along_axis`.

    Examples
    --------
    >>> import numpy as np
    >>> from cylosses import views
    >>> from cylosses.capi import Curvature, LossCode, Reduction
    >>> input, target = np.array([[3.0, 1.0], [1.0, 5.0]]), np.zeros((2, 2))
    >>> gradient_out, hessian_out = np.empty((2, 2, 2))
    >>> codes = LossCode.MSE, 0.0, Reduction.MEAN, Curvature.EXACT_CURVATURE, 0
    >>> views.gradient_and_hessian_along_axis(*codes, input, target, gradient_out, hessian_out)
    >>> gradient_out
    array([[3., 1.],
           [1., 5.]])
    """
    run(GRADIENT_AND_HESSIAN, loss, parameter, reduction, curvature, axis, n_threads, input, target, weight, None, gradient_out, hessian_out, None)


include "accumulator.pxi"
