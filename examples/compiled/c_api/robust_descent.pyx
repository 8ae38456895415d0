"""Penalised linear regression under any loss of cylosses, by coordinate descent on `cylosses.views`.

For each target y, a column of Y, it looks for the coefficients w and the intercept b that minimise

    mean(loss(X w + b, y)) + alpha (l1_ratio |w|_1 + (1 - l1_ratio) / 2 |w|_2^2)

by majorisation: the IRLS weights of the loss give a parabola above it that touches it at the present fit. A sweep of coordinate
descent lowers that, and so the objective. Targets are independent: they are shared out among threads, which need no GIL.
"""
import numpy as np

from cylosses.capi import LossCode

from cython.parallel cimport prange
from libc.math cimport fabs, sqrt

from cylosses.capi cimport MEAN, MM_CURVATURE
from cylosses.views cimport gradient_and_hessian, value

cdef struct Problem:
    int loss
    double parameter
    double l1               # factors of the penalties
    double l2
    int max_iter
    double tol


cdef inline double dot(const double[::1] x, const double[::1] y) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t i
    for i in range(x.shape[0]):
        total += x[i] * y[i]
    return total


cdef inline double weighted_square(const double[::1] x, const double[::1] weight) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t i
    for i in range(x.shape[0]):
        total += weight[i] * x[i] * x[i]
    return total


cdef inline double sum_of(const double[::1] x) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t i
    for i in range(x.shape[0]):
        total += x[i]
    return total


cdef inline double shrink(double v, double by) noexcept nogil:
    return v - by if v > by else (v + by if v < -by else 0)


cdef double sweep(
    const Problem* problem, const double[:, ::1] x, const double[::1] hessian, double[::1] gradient, double[::1] coef,
    double* intercept, double[::1] fitted,
) noexcept nogil:
    """Minimise the parabola along one coordinate after the other; return the largest change of the fit, as its root mean square.

    `x` has a row for each feature. `gradient` is kept that of the parabola where the fit has come to.
    """
    cdef Py_ssize_t i, j, n = x.shape[1]
    cdef double curvature, old, step, largest = 0
    for j in range(x.shape[0]):
        curvature = weighted_square(x[j], hessian)
        if curvature == 0:
            continue
        old = coef[j]
        coef[j] = shrink(curvature * old - dot(x[j], gradient), problem.l1) / (curvature + problem.l2)
        step = coef[j] - old
        if step != 0:
            for i in range(n):
                fitted[i] += step * x[j, i]
                gradient[i] += hessian[i] * step * x[j, i]
            largest = max(largest, fabs(step) * sqrt(dot(x[j], x[j]) / n))
    curvature = sum_of(hessian)
    if curvature > 0:
        step = -sum_of(gradient) / curvature
        intercept[0] += step
        for i in range(n):
            fitted[i] += step
        largest = max(largest, fabs(step))
    return largest


cdef int descend(
    const Problem* problem, const double[:, ::1] x, const double[::1] y, double[::1] gradient, double[::1] hessian,
    double[::1] coef, double* intercept, double[::1] fitted, double* loss,
) except -1 nogil:
    """Solve for one target, from where the solution is; return the number of sweeps. What cylosses refuses is an exception."""
    cdef int sweeps = 0
    while sweeps < problem.max_iter:
        sweeps += 1
        gradient_and_hessian(problem.loss, problem.parameter, MEAN, MM_CURVATURE, fitted, y, gradient, hessian)
        if sweep(problem, x, hessian, gradient, coef, intercept, fitted) <= problem.tol:
            break
    loss[0] = value(problem.loss, problem.parameter, MEAN, fitted, y)
    return sweeps


def fit(
    x, y, loss="smooth_l1", double parameter=1.0, double alpha=0.0, double l1_ratio=1.0, int max_iter=1000, double tol=1e-10,
    int n_threads=1,
):
    """Fit each column of y, of shape (observations, targets), to x, of shape (observations, features).

    `loss` and `parameter` are those of cylosses, 0 for a loss without one; `tol` is in units of y. Losses with a kink (l1,
    quantile, epsilon_insensitive) take many iterations. Returns a dict of arrays: `coef` of shape (targets, features), `intercept`,
    `loss` (the exact mean) and `iterations` of shape (targets,), `fitted` of the shape of y.
    """
    cdef double[:, ::1] features = np.ascontiguousarray(np.transpose(x), dtype=np.float64)
    cdef double[:, ::1] targets = np.ascontiguousarray(np.transpose(y), dtype=np.float64)
    cdef Py_ssize_t n = features.shape[1], outputs = targets.shape[0], k
    if loss.upper() not in LossCode.__members__:
        raise ValueError(f"loss must be one of {', '.join(LossCode.__members__).lower()}, got {loss!r}")
    if targets.shape[1] != n or n == 0 or features.shape[0] == 0:
        raise ValueError(
            f"x and y need as many observations, at least one, and a feature; got {n}, {targets.shape[1]}, {features.shape[0]}"
        )
    cdef double[:, ::1] coef = np.zeros((outputs, features.shape[0])), fitted = np.zeros((outputs, n))
    cdef double[:, ::1] gradient = np.empty((outputs, n)), hessian = np.empty((outputs, n))
    cdef double[::1] intercept = np.zeros(outputs), losses = np.zeros(outputs)
    cdef int[::1] iterations = np.zeros(outputs, np.intc)
    cdef Problem problem = Problem(LossCode[loss.upper()], parameter, alpha * l1_ratio, alpha * (1 - l1_ratio), max_iter, tol)
    for k in prange(outputs, nogil=True, num_threads=n_threads, schedule="dynamic"):
        iterations[k] = descend(
            &problem, features, targets[k], gradient[k], hessian[k], coef[k], &intercept[k], fitted[k], &losses[k]
        )
    return {
        "coef": np.asarray(coef), "intercept": np.asarray(intercept), "loss": np.asarray(losses),
        "iterations": np.asarray(iterations), "fitted": np.asarray(fitted).T,
    }
