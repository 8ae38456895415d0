# Calls each function of cylosses.views from compiled code without the GIL, under its own name, so that the tests of the Python
# functions run on it, too. It is compiled with Cython's usual directives: indices are checked.

from cython cimport floating
from cython.parallel cimport prange

from cylosses cimport views
from cylosses.capi cimport HUBER, MEAN


def value(
    int loss, double parameter, int reduction, const floating[::1] input, const floating[::1] target,
    const floating[::1] weight=None, int n_threads=1,
):
    cdef double found
    with nogil:
        found = views.value(loss, parameter, reduction, input, target, weight, n_threads)
    return found


def elementwise_value(
    int loss, double parameter, const floating[::1] input, const floating[::1] target, floating[::1] value_out,
    const floating[::1] weight=None, int n_threads=1,
):
    with nogil:
        views.elementwise_value(loss, parameter, input, target, value_out, weight, n_threads)


def gradient(
    int loss, double parameter, int reduction, const floating[::1] input, const floating[::1] target, floating[::1] gradient_out,
    const floating[::1] weight=None, int n_threads=1,
):
    with nogil:
        views.gradient(loss, parameter, reduction, input, target, gradient_out, weight, n_threads)


def value_and_gradient(
    int loss, double parameter, int reduction, const floating[::1] input, const floating[::1] target, floating[::1] gradient_out,
    const floating[::1] weight=None, int n_threads=1,
):
    cdef double found
    with nogil:
        found = views.value_and_gradient(loss, parameter, reduction, input, target, gradient_out, weight, n_threads)
    return found


def gradient_and_hessian(
    int loss, double parameter, int reduction, int curvature, const floating[::1] input, const floating[::1] target,
    floating[::1] gradient_out, floating[::1] hessian_out, const floating[::1] weight=None, int n_threads=1,
):
    with nogil:
        views.gradient_and_hessian(
            loss, parameter, reduction, curvature, input, target, gradient_out, hessian_out, weight, n_threads
        )


def value_along_axis(
    int loss, double parameter, int reduction, int axis, const floating[:, ::1] input, const floating[:, ::1] target,
    floating[::1] value_out, const floating[:, ::1] weight=None, int n_threads=1,
):
    with nogil:
        views.value_along_axis(loss, parameter, reduction, axis, input, target, value_out, weight, n_threads)


def gradient_along_axis(
    int loss, double parameter, int reduction, int axis, const floating[:, ::1] input, const floating[:, ::1] target,
    floating[:, ::1] gradient_out, const floating[:, ::1] weight=None, int n_threads=1,
):
    with nogil:
        views.gradient_along_axis(loss, parameter, reduction, axis, input, target, gradient_out, weight, n_threads)


def value_and_gradient_along_axis(
    int loss, double parameter, int reduction, int axis, const floating[:, ::1] input, const floating[:, ::1] target,
    floating[::1] value_out, floating[:, ::1] gradient_out, const floating[:, ::1] weight=None, int n_threads=1,
):
    with nogil:
        views.value_and_gradient_along_axis(
            loss, parameter, reduction, axis, input, target, value_out, gradient_out, weight, n_threads
        )


def gradient_and_hessian_along_axis(
    int loss, double parameter, int reduction, int curvature, int axis, const floating[:, ::1] input,
    const floating[:, ::1] target, floating[:, ::1] gradient_out, floating[:, ::1] hessian_out,
    const floating[:, ::1] weight=None, int n_threads=1,
):
    with nogil:
        views.gradient_and_hessian_along_axis(
            loss, parameter, reduction, curvature, axis, input, target, gradient_out, hessian_out, weight, n_threads
        )


def accumulate(
    views.LossAccumulator total, int loss, double parameter, const floating[::1] input, const floating[::1] target,
    const floating[::1] weight=None, int n_threads=1,
):
    with nogil:
        views.accumulate(total, loss, parameter, input, target, weight, n_threads)


def defaults(const floating[::1] input, const floating[::1] target):
    """Value, gradient and total, without weights, of read-only input; everything is left at its default."""
    cdef views.LossAccumulator total = views.LossAccumulator()
    cdef double found, mean
    with nogil:
        found = views.value(HUBER, 1.0, MEAN, input, target)
        views.accumulate(total, HUBER, 1.0, input, target)
        total.merge(total)
        mean = total.compute()
    return found, mean, total.elements()


def each_row(double parameter, const floating[:, ::1] input, const floating[:, ::1] target, double[::1] found, int n_threads):
    """One call for each row, in threads; all of them add to one total."""
    cdef views.LossAccumulator total = views.LossAccumulator()
    cdef Py_ssize_t k
    for k in prange(input.shape[0], nogil=True, num_threads=n_threads):
        views.accumulate(total, HUBER, parameter, input[k], target[k])
        found[k] = views.value(HUBER, parameter, MEAN, input[k], target[k])
    return total
