"""What is minimised: a loss as it is, or with parabolas in its kinks."""

import math
from typing import Any, Protocol

import numpy as np

from cylosses import EpsilonInsensitiveLoss, Loss, QuantileLoss, SmoothL1Loss
from cylosses._fit import Vector


class Surrogate(Protocol):
    """What is minimised: a loss as it is, or with parabolas in its kinks. Its methods write derivatives into `grad`."""

    def value_and_grad(self, pred: Vector, target: Any, weight: Any, grad: Vector) -> float:
        """Return the sum of the losses."""

    def curvature(self, pred: Vector, target: Any, weight: Any, grad: Vector) -> Vector:
        """Return the majorise-minimise curvature of each element."""


class Plain:
    """A loss as it is."""

    def __init__(self, loss: Loss) -> None:
        parameter = {} if loss.parameter_name is None else {loss.parameter_name: getattr(loss, loss.parameter_name)}
        self._loss = type(loss)(reduction="sum", **parameter)

    def value_and_grad(self, pred: Vector, target: Any, weight: Any, grad: Vector) -> float:
        return float(self._loss.value_and_grad(pred, target, weight=weight, out=grad, n_threads=1)[0])

    def curvature(self, pred: Vector, target: Any, weight: Any, grad: Vector) -> Vector:
        hess = np.empty_like(grad)
        self._loss.grad_and_hess(pred, target, weight=weight, curvature="mm", out=(grad, hess), n_threads=1)
        return hess


class Rounded:
    """A loss as absolute values and a line, with parabolas of half-width `beta` in place of the kinks.

    quantile is |d| / 2 + (1/2 - q) d, epsilon-insensitive is (|d - epsilon| + |d + epsilon|) / 2 - epsilon. Of the other losses, it
    is the asymptote: far out, all of them are slope · |d|.
    """

    def __init__(self, loss: Loss, beta: float) -> None:
        self._absolute = SmoothL1Loss(reduction="sum", beta=beta)
        self._factor, self._tilt = float(loss.grad(math.inf, 0.0)), 0.0
        self._kinks: tuple[float, ...] = (0.0,)
        if isinstance(loss, QuantileLoss):
            self._factor, self._tilt = 0.5, 0.5 - loss.q
        elif isinstance(loss, EpsilonInsensitiveLoss):
            self._factor, self._kinks = 0.5, (-loss.epsilon, loss.epsilon)

    def value_and_grad(self, pred: Vector, target: Any, weight: Any, grad: Vector) -> float:
        value = 0.0
        grad[:] = self._tilt if weight is None else self._tilt * weight
        if self._tilt:
            value += float(grad @ (pred - target))
        for kink in self._kinks:
            absolute, slopes = self._absolute.value_and_grad(pred, target + kink, weight=weight, n_threads=1)
            value += self._factor * float(absolute)
            grad += self._factor * slopes
        return value

    def curvature(self, pred: Vector, target: Any, weight: Any, grad: Vector) -> Vector:
        self.value_and_grad(pred, target, weight, grad)
        hess = np.zeros_like(grad)
        for kink in self._kinks:
            hess += self._absolute.grad_and_hess(pred, target + kink, weight=weight, curvature="mm", n_threads=1)[1]
        hess *= self._factor
        return hess


def half_width(loss: Loss) -> float:
    """Return the error at which a loss turns from a parabola into a line; 0 for a kink, infinite for the square."""
    if loss.kinked or (isinstance(loss, SmoothL1Loss) and loss.beta == 0):
        return 0.0
    slope, curvature = loss.grad(math.inf, 0.0), loss.grad_and_hess(0.0, 0.0)[1]
    return float(slope / curvature)
