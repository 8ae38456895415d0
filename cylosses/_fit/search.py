"""The search for the minimum: L-BFGS in rounds, each in coordinates of its own, and kinks that sharpen from stage to stage."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from cylosses import Loss
from cylosses._fit import Vector
from cylosses._fit.coordinates import Coordinates, Point
from cylosses._fit.objective import Objective
from cylosses._fit.surrogates import Plain, Rounded, Surrogate, half_width

ROUND = 50
"""Most iterations of L-BFGS before the coordinates are computed again, at the point that it has reached."""
ROUNDING = 1e-4
HALF_WIDTHS = (1e-1, 1e-2, 1e-3, ROUNDING)
"""The half-widths of the parabolas in kinks, one after the other, as multiples of the mean absolute residual."""
SHARP = 1e-2
"""A loss whose own half-width is below this multiple of the mean absolute residual is approached by wider parabolas first."""
COARSE = 1e-3
"""The scaled gradient at which the next half-width is begun, and at which the fit of a sample ends."""
FINE = 1e-4
"""The scaled gradient that is good enough at the half-width `ROUNDING` if the line search finds no lower point."""
ATTEMPTS = 5
"""So many line searches may fail in a row, each in new coordinates."""
NOISE = 1e-6
"""The same for a loss as it is: what can still be gained, about the square of this, is near the rounding of the objective."""


@dataclass(frozen=True)
class Fit:
    """What came of a search."""

    coef: Vector
    intercept: float
    n_iter: int  # of L-BFGS over all rows
    n_evaluations: int  # of the objective and its gradient: passes over X
    gradient: float  # the largest component of the scaled gradient, which is compared with `tol`
    converged: bool


def minimise(loss: Loss, objective: Objective, coef: Vector | None, intercept: float, max_iter: int, tol: float) -> Fit:
    """Minimise the objective of a convex loss, from a constant if there is no `coef` to start from.

    `max_iter` bounds the iterations of L-BFGS in all, `tol` the largest component of the scaled gradient. A loss that overflows
    raises a ValueError.
    """
    sampled = objective.of_sample() if coef is None else None
    if sampled is not None:
        rough = minimise(loss, sampled, None, 0.0, max_iter, max(tol, COARSE))
        coef, intercept = rough.coef, rough.intercept
    if coef is None:
        point, error = objective.start()
    else:
        point, error = Point(coef, intercept + float(objective.centre @ coef)), 0.0  # near the end already
    width, n_iter = half_width(loss), 0
    gradient, converged, close = 0.0, True, False
    fractions = HALF_WIDTHS if width < SHARP * error else HALF_WIDTHS[-1:] if width == 0 else ()
    for fraction in fractions:
        beta = fraction * objective.mean_error(point)
        if beta <= max(width, fraction * objective.resolution):  # sharp no longer, or no error is left
            break
        last = fraction == ROUNDING
        stage_tol = tol if last else max(tol, COARSE)
        point, steps, gradient, converged = _descend(
            Rounded(loss, beta), objective, sampled, point, max_iter - n_iter, stage_tol, FINE
        )
        n_iter += steps
        close = converged and last
        if n_iter >= max_iter:
            converged = close and width == 0
            break
    if width > 0 and n_iter < max_iter:
        point, steps, gradient, converged = _descend(Plain(loss), objective, sampled, point, max_iter - n_iter, tol, NOISE)
        n_iter += steps
        converged = converged or close  # as good as a kink, and at least as near the optimum as such a loss comes
    return Fit(point.w, point.c - float(objective.centre @ point.w), n_iter, objective.n_evaluations, gradient, converged)


def _descend(
    surrogate: Surrogate, objective: Objective, sampled: Objective | None, point: Point, max_iter: int, tol: float, noise: float
) -> tuple[Point, int, float, bool]:
    """Return where rounds of L-BFGS from a point end, their iterations, the scaled gradient there, and whether it is small.

    It is small at `tol`, and where nothing lower can be found, at `noise`.
    """
    n_iter, gradient, stuck = 0, math.inf, 0
    while True:
        if sampled is None:
            local, point = objective.coordinates(surrogate, point)
        else:
            local, point = objective.coordinates_of_sample(sampled, surrogate, point)
            sampled = None  # other coordinates are only needed where this one was not good
        if local.unit == 0:  # no element has a derivative, and w is 0
            return point, n_iter, 0.0, True

        def scaled(u: Vector, local: Coordinates = local, start: Point = point) -> tuple[float, Vector]:
            at = local.at(start, u)
            value, by_w, by_c = objective.penalised(surrogate, at)
            return value / local.unit, local.gradient(by_w, by_c)

        limits = {"maxiter": min(ROUND, max_iter - n_iter), "maxfun": 10 * ROUND, "gtol": tol, "ftol": 0.0}
        result = minimize(scaled, np.zeros(len(point.w) + 1), jac=True, method="L-BFGS-B", options=limits)
        point = local.at(point, result.x)
        n_iter += int(result.nit)
        gradient = float(np.abs(result.jac).max())
        if gradient <= tol:
            return point, n_iter, gradient, True
        if n_iter >= max_iter:
            return point, n_iter, gradient, False
        # The line search fails where rounding hides the descent, or where the curvature has changed a lot: new coordinates help.
        stuck = stuck + 1 if result.nit < limits["maxiter"] else 0
        if stuck and (gradient <= noise or stuck == ATTEMPTS):
            return point, n_iter, gradient, gradient <= noise
