"""Penalised linear regression under any loss of cylosses, by coordinate descent on the C level of cylosses.

For each target y, a column of Y, it looks for the coefficients w and the intercept b that minimise

    mean(loss(X w + b, y)) + alpha (l1_ratio |w|_1 + (1 - l1_ratio) / 2 |w|_2^2)

by majorisation: the IRLS weights of the loss give a parabola above it that touches it at the present fit. A sweep of coordinate
descent lowers that, and so the objective. Targets are independent: they are shared out among threads, which need no GIL.
"""
import numpy as np

from cylosses.capi import LossCode

from cython.parallel cimport prange
from libc.math cimport fabs, sqrt
from libc.stdlib cimport free, malloc

from cylosses.capi cimport MEAN, MM_CURVATURE, OK, gradient_and_hessian_float64, import_cylosses, status_message, value_float64

import_cylosses()

cdef struct Problem:
    int loss
    double parameter
    double l1               # factors of the penalties
    double l2
    const double* x         # column after column
    Py_ssize_t n
    Py_ssize_t features
    int max_iter
    double tol

cdef struct Solution:
    double* coef            # one a feature
    double* intercept
    double* fitted          # X w + b, one an observation
    double* loss
    int* iterations
    double* gradient        # room for one an observation
    double* hessian


cdef inline double dot(const double* x, const double* y, Py_ssize_t n) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t i
    for i in range(n):
        total += x[i] * y[i]
    return total


cdef inline double weighted_square(const double* x, const double* weight, Py_ssize_t n) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t i
    for i in range(n):
        total += weight[i] * x[i] * x[i]
    return total


cdef inline double sum_of(const double* x, Py_ssize_t n) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t i
    for i in range(n):
        total += x[i]
    return total


cdef inline double shrink(double v, double by) noexcept nogil:
    return v - by if v > by else (v + by if v < -by else 0)


cdef double sweep(const Problem* problem, Solution* solution) noexcept nogil:
    """Minimise the parabola along one coordinate after the other; return the largest change of the fit, as its root mean square."""
    cdef Py_ssize_t i, j, n = problem.n
    cdef double* gradient = solution.gradient       # of the parabola, where the fit has come to
    cdef const double* hessian = solution.hessian
    cdef const double* x
    cdef double curvature, old, step, largest = 0
    for j in range(problem.features):
        x = problem.x + j * n
        curvature = weighted_square(x, hessian, n)
        if curvature == 0:
            continue
        old = solution.coef[j]
        solution.coef[j] = shrink(curvature * old - dot(x, gradient, n), problem.l1) / (curvature + problem.l2)
        step = solution.coef[j] - old
        if step != 0:
            for i in range(n):
                solution.fitted[i] += step * x[i]
                gradient[i] += hessian[i] * step * x[i]
            largest = max(largest, fabs(step) * sqrt(dot(x, x, n) / n))
    curvature = sum_of(hessian, n)
    if curvature > 0:
        step = -sum_of(gradient, n) / curvature
        solution.intercept[0] += step
        for i in range(n):
            solution.fitted[i] += step
        largest = max(largest, fabs(step))
    return largest


cdef int descend(const Problem* problem, const double* y, Solution solution) noexcept nogil:
    """Solve for one target, from where the solution is; return a status of cylosses."""
    cdef int status
    for solution.iterations[0] in range(1, problem.max_iter + 1):
        status = gradient_and_hessian_float64(
            problem.loss, problem.parameter, MEAN, MM_CURVATURE, solution.fitted, y, NULL, problem.n, 1,
            solution.gradient, solution.hessian,
        )
        if status != OK:
            return status
        if sweep(problem, &solution) <= problem.tol:
            break
    return value_float64(problem.loss, problem.parameter, MEAN, solution.fitted, y, NULL, problem.n, 1, solution.loss)


cdef int solve(
    const Problem* problem, const double* y, double* coef, double* intercept, double* fitted, double* loss, int* iterations
) noexcept nogil:
    """Solve for one target in memory of its own; -1 if there is none."""
    cdef double* room = <double*> malloc(2 * problem.n * sizeof(double))
    cdef Solution solution = Solution(coef, intercept, fitted, loss, iterations, room, room + problem.n)
    cdef int status = -1
    if room is not NULL:
        status = descend(problem, y, solution)
    free(room)
    return status


def fit(
    x, y, loss="smooth_l1", double parameter=1.0, double alpha=0.0, double l1_ratio=1.0, int max_iter=1000, double tol=1e-10,
    int n_threads=1,
):
    """Fit each column of y, of shape (observations, targets), to x, of shape (observations, features).

    `loss` and `parameter` are those of cylosses, 0 for a loss without one; `tol` is in units of y. Losses with a kink (l1, quantile,
    epsilon_insensitive) take many iterations. Returns a dict of arrays: `coef` of shape (targets, features), `intercept`, `loss`
    (the exact mean) and `iterations` of shape (targets,), `fitted` of the shape of y.
    """
    cdef double[::1, :] columns = np.asfortranarray(x, dtype=np.float64)
    cdef double[::1, :] targets = np.asfortranarray(y, dtype=np.float64)
    cdef Py_ssize_t n = columns.shape[0], features = columns.shape[1], outputs = targets.shape[1], k
    if loss.upper() not in LossCode.__members__:
        raise ValueError(f"loss must be one of {', '.join(LossCode.__members__).lower()}, got {loss!r}")
    if targets.shape[0] != n or n == 0 or features == 0:
        raise ValueError(f"x and y need as many observations, at least one, and a feature; got {n}, {targets.shape[0]}, {features}")
    cdef double[:, ::1] coef = np.zeros((outputs, features))
    cdef double[::1] intercept = np.zeros(outputs), losses = np.zeros(outputs)
    cdef double[::1, :] fitted = np.zeros((n, outputs), order="F")
    cdef int[::1] iterations = np.zeros(outputs, np.intc), status = np.zeros(outputs, np.intc)
    cdef Problem problem = Problem(
        LossCode[loss.upper()], parameter, alpha * l1_ratio, alpha * (1 - l1_ratio), &columns[0, 0], n, features, max_iter, tol
    )
    for k in prange(outputs, nogil=True, num_threads=n_threads, schedule="dynamic"):
        status[k] = solve(&problem, &targets[0, k], &coef[k, 0], &intercept[k], &fitted[0, k], &losses[k], &iterations[k])
    for k in range(outputs):
        if status[k] < 0:
            raise MemoryError
        if status[k] != OK:
            raise ValueError(status_message(status[k]).decode())
    return {
        "coef": np.asarray(coef), "intercept": np.asarray(intercept), "loss": np.asarray(losses),
        "iterations": np.asarray(iterations), "fitted": np.asarray(fitted),
    }
