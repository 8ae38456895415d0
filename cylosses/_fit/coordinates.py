"""Points of the search, and coordinates around one in which the objective is of unit curvature and size."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from cylosses._fit import Vector

EPS = float(np.finfo(np.float64).eps)
JITTER = EPS ** (2 / 3)
"""Added to the diagonal of a correlation matrix: directions without curvature are stretched by at most 1 over its square root."""


@dataclass(frozen=True)
class Point:
    """A linear model that predicts (x - centre) · w + c."""

    w: Vector
    c: float


@dataclass(frozen=True)
class Coordinates:
    """Coordinates around a point: w = point.w + T u[:-1], c = point.c + t u[-1], and the unit of the objective."""

    T: Vector  # a square matrix, or the diagonal of one
    t: float
    unit: float  # what the objective is divided by
    complete: bool  # no feature was constant

    def at(self, point: Point, u: Vector) -> Point:
        return Point(point.w + (self.T * u[:-1] if self.T.ndim == 1 else self.T @ u[:-1]), point.c + self.t * float(u[-1]))

    def gradient(self, by_w: Vector, by_c: float) -> Vector:
        by_u = self.T * by_w if self.T.ndim == 1 else by_w @ self.T
        return np.append(by_u, self.t * by_c) / self.unit


def inverse_root(second: Vector, alpha: float, constant: npt.NDArray[np.bool_]) -> Vector:
    """Return T with T Tᵀ about the inverse of second + alpha: a matrix, or its diagonal if `second` is one.

    Directions without any curvature stay as they are: T is 0 there.
    """
    diagonal = np.array(np.diagonal(second) if second.ndim == 2 else second)
    diagonal[constant] = 0.0
    diagonal += alpha
    scale = np.zeros_like(diagonal)
    np.divide(1.0, np.sqrt(diagonal), out=scale, where=diagonal > 0)
    if second.ndim == 1:
        return scale
    correlation = second * scale * scale[:, None]
    correlation[constant] = correlation[:, constant] = 0.0
    np.fill_diagonal(correlation, 1.0 + len(scale) * JITTER)
    try:
        factor = cholesky(correlation, lower=True)
    except LinAlgError:
        return scale
    return np.asarray(solve_triangular(factor, np.eye(len(scale)), lower=True).T * scale[:, None], np.float64)
