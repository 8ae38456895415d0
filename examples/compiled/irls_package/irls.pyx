"""Huber regression by iteratively reweighted least squares, many targets at a time, on `cylosses.views`.

For each target y, a row of Y, it looks for the coefficients w that minimise mean(huber(X w, y)). A step minimises the parabola that
lies above the loss and touches it at the present fit: its curvatures are the IRLS weights, and its minimum solves linear equations.
Targets are independent: they are shared out among threads, which need no GIL.
"""
import numpy as np

from cython.parallel cimport prange
from libc.math cimport NAN, fabs, sqrt

from cylosses.capi cimport HUBER, MEAN, MM_CURVATURE
from cylosses.views cimport gradient_and_hessian, value


cdef void multiply(const double[:, ::1] x, const double[::1] w, double[::1] fitted) noexcept nogil:
    cdef Py_ssize_t i, j
    for i in range(x.shape[0]):
        fitted[i] = 0
        for j in range(x.shape[1]):
            fitted[i] += x[i, j] * w[j]


cdef bint factorise(double[:, ::1] a) noexcept nogil:
    """Make a positive definite matrix its Cholesky factor, in the lower triangle; whether there is one."""
    cdef Py_ssize_t i, j, k
    for j in range(a.shape[0]):
        for i in range(j, a.shape[0]):
            for k in range(j):
                a[i, j] -= a[i, k] * a[j, k]
            if i == j:
                if not a[j, j] > 0:
                    return False
                a[j, j] = sqrt(a[j, j])
            else:
                a[i, j] /= a[j, j]
    return True


cdef void solve(const double[:, ::1] factor, double[::1] b) noexcept nogil:
    """Solve the equations of a Cholesky factor in place."""
    cdef Py_ssize_t i, k, n = b.shape[0]
    for i in range(n):
        for k in range(i):
            b[i] -= factor[i, k] * b[k]
        b[i] /= factor[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            b[i] -= factor[k, i] * b[k]
        b[i] /= factor[i, i]


cdef double step(
    const double[:, ::1] x, const double[::1] gradient, const double[::1] hessian, double[:, ::1] matrix, double[::1] change,
    double[::1] w,
) noexcept nogil:
    """Go to the minimum of the parabola; return the largest change of a coefficient, NaN if there is no minimum."""
    cdef Py_ssize_t i, j, k, features = x.shape[1]
    cdef double largest = 0
    matrix[:, :] = 0
    change[:] = 0
    for i in range(x.shape[0]):
        for j in range(features):
            change[j] -= gradient[i] * x[i, j]
            for k in range(j + 1):
                matrix[j, k] += hessian[i] * x[i, j] * x[i, k]
    if not factorise(matrix):
        return NAN
    solve(matrix, change)
    for j in range(features):
        w[j] += change[j]
        largest = max(largest, fabs(change[j]))
    return largest


cdef int fit_one(
    const double[:, ::1] x, const double[::1] y, const double[::1] weight, double delta, int max_iter, double tol, double[::1] w,
    double[::1] fitted, double[::1] gradient, double[::1] hessian, double[:, ::1] matrix, double[::1] change, double* loss,
) except -1 nogil:
    """Fit one target; return the number of steps. An error of cylosses is an exception, here and in whoever calls."""
    cdef int steps = 0
    while steps < max_iter:
        steps += 1
        multiply(x, w, fitted)
        gradient_and_hessian(HUBER, delta, MEAN, MM_CURVATURE, fitted, y, gradient, hessian, weight)
        if not step(x, gradient, hessian, matrix, change, w) > tol:
            break
    multiply(x, w, fitted)
    loss[0] = value(HUBER, delta, MEAN, fitted, y, weight)
    return steps


def fit(
    const double[:, ::1] x, const double[:, ::1] y, double delta=1.0, const double[::1] weight=None, int max_iter=100,
    double tol=1e-10, int n_threads=1,
):
    """Fit each row of y, of shape (targets, observations), to x, of shape (observations, features).

    `weight` is of shape (observations,). Returns a dict of arrays: `coef` of shape (targets, features), `fitted` of the shape of y,
    `loss` (the exact mean) and `steps` of shape (targets,).
    """
    cdef Py_ssize_t n = x.shape[0], features = x.shape[1], targets = y.shape[0], k
    if y.shape[1] != n or (weight is not None and weight.shape[0] != n) or n == 0 or features == 0 or max_iter < 1:
        raise ValueError("x, y and weight need as many observations, at least one, a feature, and at least one step")
    coef_, fitted_, loss_, steps_ = np.zeros((targets, features)), np.empty((targets, n)), np.empty(targets), np.zeros(targets, np.intc)
    cdef double[:, ::1] coef = coef_, fitted = fitted_, gradient = np.empty((targets, n)), hessian = np.empty((targets, n))
    cdef double[:, :, ::1] matrix = np.empty((targets, features, features))
    cdef double[:, ::1] change = np.empty((targets, features))
    cdef double[::1] loss = loss_
    cdef int[::1] steps = steps_
    for k in prange(targets, nogil=True, num_threads=n_threads, schedule="dynamic"):
        steps[k] = fit_one(
            x, y[k], weight, delta, max_iter, tol, coef[k], fitted[k], gradient[k], hessian[k], matrix[k], change[k], &loss[k]
        )
    return {"coef": coef_, "fitted": fitted_, "loss": loss_, "steps": steps_}
