"""A loss as a function of the squared error, and its derivative as straight lines: what solvers elsewhere want to know of it."""

from typing import Any, NamedTuple

import numpy as np

from cylosses._types import Array

LEAST_ERROR = 2.0**-20
"""Below this error, the IRLS weight of a loss whose derivative jumps stays what it is there."""
_SPLIT = 2.0**27 + 1  # takes the upper half of a float's digits (Veltkamp)


class Knot(NamedTuple):
    """An error beyond which a derivative is `jump` higher, and steeper by `turn`."""

    at: float
    jump: float
    turn: float


class Pieces(NamedTuple):
    """A derivative made of straight lines: level + slope d, and for each knot with d > at, jump + turn (d - at) more."""

    level: float
    slope: float
    knots: tuple[Knot, ...] = ()


def root_and_rest(squares: Array) -> tuple[Array, Array]:
    """Return r = sqrt(z), rounded, and z - r²: exact but for rests below the normal numbers, and 0 where z is not finite."""
    root = np.sqrt(squares)
    with np.errstate(invalid="ignore"):
        upper = root * _SPLIT
        upper -= upper - root
        lower = root - upper
        rest = squares - upper * upper - 2 * upper * lower - lower * lower
    return root, np.where(np.isfinite(squares), rest, 0.0)


def weight_slope_of_pieces(pieces: Pieces, weight: Array, squares: Array) -> Array:
    """Return the derivative by z of the IRLS weight psi(r) / r at r = sqrt(z), where that weight is known.

    On a line psi = a + b r the weight is a / r + b, so that the derivative is -a / (2 r³): its share a / psi of -weight / (2 z).
    """
    root, rest = root_and_rest(squares)
    intercept, slope = np.full(squares.shape, pieces.level), np.full(squares.shape, pieces.slope)
    for at, jump, turn in pieces.knots:
        beyond = at < 0 or (root - at) * (root + at) + rest > 0  # z > at²
        intercept += beyond * (jump - turn * at)
        slope += beyond * turn
    line = intercept + slope * root
    flat = (intercept == 0) | (squares == 0) | np.isinf(squares)
    if any(jump for _, jump, _ in pieces.knots):
        flat |= squares < LEAST_ERROR**2
    slopes = np.where(np.isnan(squares), squares, 0.0)
    np.divide(intercept, line, out=slopes, where=~flat)
    slopes *= weight
    return np.asarray(np.divide(slopes, -2 * squares, out=slopes, where=~flat))


def weight_slope_of_hyperbola(height: float, length: float, squares: Array) -> Array:
    """Return the derivative by z of height / sqrt(z + length²)."""
    hypotenuse = squares + np.square(np.float64(length))
    return np.asarray(-0.5 * (height / hypotenuse) / np.sqrt(hypotenuse))


def remaining(squares: Array, length: float) -> Any:
    """Return 1 - z / length², 0 from z = length² on, without cancellation."""
    root, rest = root_and_rest(squares)
    share = (length - root) / length * ((length + root) / length) - rest / length / length
    return np.where(root < 2 * length, np.maximum(share, 0.0), np.where(np.isnan(squares), squares, 0.0))
