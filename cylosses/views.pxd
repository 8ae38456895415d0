# The Cython face: exact regression losses on typed memoryviews of float32 or float64, without the GIL, with exceptions.
#
#     from cylosses.capi cimport HUBER, MEAN, MM_CURVATURE
#     from cylosses.views cimport gradient_and_hessian, value
#
#     with nogil:
#         mean = value(HUBER, 1.0, MEAN, input, target, weight)
#         gradient_and_hessian(HUBER, 1.0, MEAN, MM_CURVATURE, input, target, gradient_out, hessian_out, weight)
#
# Compile with `include_dirs=[cylosses.get_include()]`. The guide is docs/c-api.md; the functions have the same names and arguments
# in Python, with docstrings, in views.py. What all of them have in common:
#
# - input, target and weight are contiguous, may be read-only, and have one shape and one dtype; outputs (*_out) have that dtype
#   too. An output may be one of the inputs; apart from that, outputs overlap nothing. A weight that is None counts each element
#   once.
# - n_threads is 1 by default: the calling thread does everything, as is right inside a prange. 0: as many as Python functions use.
# - Whatever is wrong is a ValueError, for which the GIL is taken. Outputs are then undefined, but those that are inputs are as they
#   were.
# - Cython cannot convert a literal None without the GIL. To give n_threads and no weight, pass a variable:
#   `cdef const double[::1] no_weight = None`.
#
# Decisions, with their reasons:
#
# a. The functions are inline, and so compiled into the module that calls them: no memoryview is passed from one module to another,
#    which would tie both to one version of Cython, and no module of cylosses has one, for which Cython would add 100 kB of code. So
#    this file has views.py beside it, and no compiled module of its own. The functions only note pointers and lengths in a Request
#    on the stack. `run_request`, compiled once in _views/functions.pyx, checks it, calls the function of capi that it asks for and
#    raises exceptions. That takes some 10 ns, and callers stay small.
# b. Callers have the layout of a Request compiled in. Whoever changes it renames `run_request`, so that a module that was compiled
#    with the old one fails at import, not in a call.
# c. Values are returned as double, which holds each float32: of a function that returns a fused type, Cython cannot tell an error
#    by the value that it returns, and takes the GIL after each call.

cimport cython
from cython cimport floating

from cylosses._views.functions cimport LossAccumulator, run_request
from cylosses._views.requests cimport (
    ELEMENTWISE_VALUE, GRADIENT, GRADIENT_AND_HESSIAN, GRADIENT_OUT, HESSIAN_OUT, INPUT, TARGET, UPDATE, VALUE, VALUE_AND_GRADIENT,
    VALUE_OUT, WEIGHT, Request, new_request,
)
from cylosses.capi cimport MEAN


cdef inline void enter(Request* request, int which, const floating[::1] view) noexcept nogil:
    if view is not None:
        with cython.boundscheck(False):     # there may be no element; as a decorator, this is not heeded in a pxd
            request.arrays[which].data = <void*> &view[0]
        request.arrays[which].rows = view.shape[0]


cdef inline void enter_plane(Request* request, int which, const floating[:, ::1] view) noexcept nogil:
    if view is not None:
        with cython.boundscheck(False):
            request.arrays[which].data = <void*> &view[0, 0]
        request.arrays[which].rows = view.shape[0]
        request.arrays[which].columns = view.shape[1]


# ---- one dimension ---------------------------------------------------------------------------------------------------------------

cdef inline double value(
    int loss, double parameter, int reduction, const floating[::1] input, const floating[::1] target,
    const floating[::1] weight=None, int n_threads=1,
) except? -1 nogil:
    """The exact sum or mean, rounded once to the dtype of the arrays."""
    cdef Request request = new_request(VALUE, loss, parameter, reduction, 0, n_threads, sizeof(floating))
    enter(&request, INPUT, input)
    enter(&request, TARGET, target)
    enter(&request, WEIGHT, weight)
    run_request(&request)
    return request.result


cdef inline int elementwise_value(
    int loss, double parameter, const floating[::1] input, const floating[::1] target, floating[::1] value_out,
    const floating[::1] weight=None, int n_threads=1,
) except -1 nogil:
    """Weight times loss of each element."""
    cdef Request request = new_request(ELEMENTWISE_VALUE, loss, parameter, MEAN, 0, n_threads, sizeof(floating))
    enter(&request, INPUT, input)
    enter(&request, TARGET, target)
    enter(&request, WEIGHT, weight)
    enter(&request, VALUE_OUT, value_out)
    return run_request(&request)


cdef inline int gradient(
    int loss, double parameter, int reduction, const floating[::1] input, const floating[::1] target, floating[::1] gradient_out,
    const floating[::1] weight=None, int n_threads=1,
) except -1 nogil:
    """The gradient of the sum or mean with respect to the input."""
    cdef Request request = new_request(GRADIENT, loss, parameter, reduction, 0, n_threads, sizeof(floating))
    enter(&request, INPUT, input)
    enter(&request, TARGET, target)
    enter(&request, WEIGHT, weight)
    enter(&request, GRADIENT_OUT, gradient_out)
    return run_request(&request)


cdef inline double value_and_gradient(
    int loss, double parameter, int reduction, const floating[::1] input, const floating[::1] target, floating[::1] gradient_out,
    const floating[::1] weight=None, int n_threads=1,
) except? -1 nogil:
    """Return the sum or mean, and write its gradient, from one pass over the arrays."""
    cdef Request request = new_request(
        VALUE_AND_GRADIENT, loss, parameter, reduction, 0, n_threads, sizeof(floating)
    )
    enter(&request, INPUT, input)
    enter(&request, TARGET, target)
    enter(&request, WEIGHT, weight)
    enter(&request, GRADIENT_OUT, gradient_out)
    run_request(&request)
    return request.result


cdef inline int gradient_and_hessian(
    int loss, double parameter, int reduction, int curvature, const floating[::1] input, const floating[::1] target,
    floating[::1] gradient_out, floating[::1] hessian_out, const floating[::1] weight=None, int n_threads=1,
) except -1 nogil:
    """Gradient and diagonal of the Hessian of the sum or mean, with a curvature of capi, from one pass over the arrays."""
    cdef Request request = new_request(
        GRADIENT_AND_HESSIAN, loss, parameter, reduction, curvature, n_threads, sizeof(floating)
    )
    enter(&request, INPUT, input)
    enter(&request, TARGET, target)
    enter(&request, WEIGHT, weight)
    enter(&request, GRADIENT_OUT, gradient_out)
    enter(&request, HESSIAN_OUT, hessian_out)
    return run_request(&request)


# ---- one result for each row or column -------------------------------------------------------------------------------------------
# `axis` is that which is summed over, as in NumPy: 1 (or -1) for a result for each row, 0 (or -2) for one for each column. Each
# result, and each row or column of derivatives, has the bits of the function above on that row or column alone.

cdef inline int value_along_axis(
    int loss, double parameter, int reduction, int axis, const floating[:, ::1] input, const floating[:, ::1] target,
    floating[::1] value_out, const floating[:, ::1] weight=None, int n_threads=1,
) except -1 nogil:
    cdef Request request = new_request(VALUE, loss, parameter, reduction, 0, n_threads, sizeof(floating))
    request.planar, request.axis = True, axis
    enter_plane(&request, INPUT, input)
    enter_plane(&request, TARGET, target)
    enter_plane(&request, WEIGHT, weight)
    enter(&request, VALUE_OUT, value_out)
    return run_request(&request)


cdef inline int gradient_along_axis(
    int loss, double parameter, int reduction, int axis, const floating[:, ::1] input, const floating[:, ::1] target,
    floating[:, ::1] gradient_out, const floating[:, ::1] weight=None, int n_threads=1,
) except -1 nogil:
    cdef Request request = new_request(GRADIENT, loss, parameter, reduction, 0, n_threads, sizeof(floating))
    request.planar, request.axis = True, axis
    enter_plane(&request, INPUT, input)
    enter_plane(&request, TARGET, target)
    enter_plane(&request, WEIGHT, weight)
    enter_plane(&request, GRADIENT_OUT, gradient_out)
    return run_request(&request)


cdef inline int value_and_gradient_along_axis(
    int loss, double parameter, int reduction, int axis, const floating[:, ::1] input, const floating[:, ::1] target,
    floating[::1] value_out, floating[:, ::1] gradient_out, const floating[:, ::1] weight=None, int n_threads=1,
) except -1 nogil:
    cdef Request request = new_request(VALUE_AND_GRADIENT, loss, parameter, reduction, 0, n_threads, sizeof(floating))
    request.planar, request.axis = True, axis
    enter_plane(&request, INPUT, input)
    enter_plane(&request, TARGET, target)
    enter_plane(&request, WEIGHT, weight)
    enter(&request, VALUE_OUT, value_out)
    enter_plane(&request, GRADIENT_OUT, gradient_out)
    return run_request(&request)


cdef inline int gradient_and_hessian_along_axis(
    int loss, double parameter, int reduction, int curvature, int axis, const floating[:, ::1] input,
    const floating[:, ::1] target, floating[:, ::1] gradient_out, floating[:, ::1] hessian_out,
    const floating[:, ::1] weight=None, int n_threads=1,
) except -1 nogil:
    cdef Request request = new_request(
        GRADIENT_AND_HESSIAN, loss, parameter, reduction, curvature, n_threads, sizeof(floating)
    )
    request.planar, request.axis = True, axis
    enter_plane(&request, INPUT, input)
    enter_plane(&request, TARGET, target)
    enter_plane(&request, WEIGHT, weight)
    enter_plane(&request, GRADIENT_OUT, gradient_out)
    enter_plane(&request, HESSIAN_OUT, hessian_out)
    return run_request(&request)


# ---- sums that grow --------------------------------------------------------------------------------------------------------------
# Methods of a LossAccumulator, all without the GIL: merge(other), compute(reduction=MEAN), reset(), elements(). Its Python method
# `update` is this function here:

cdef inline int accumulate(
    LossAccumulator total, int loss, double parameter, const floating[::1] input, const floating[::1] target,
    const floating[::1] weight=None, int n_threads=1,
) except -1 nogil:
    """Add the losses of one piece; if it fails, none is added."""
    cdef Request request = new_request(UPDATE, loss, parameter, MEAN, 0, n_threads, sizeof(floating))
    enter(&request, INPUT, input)
    enter(&request, TARGET, target)
    enter(&request, WEIGHT, weight)
    return total.add(&request)
