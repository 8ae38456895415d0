"""The objective of one column of targets: its value, its derivatives, where a fit of it starts, and its coordinates."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cylosses import L1Loss
from cylosses._fit import Vector
from cylosses._fit.coordinates import EPS, Coordinates, Point, inverse_root
from cylosses._fit.design import Block, Design
from cylosses._fit.surrogates import Plain, Surrogate
from cylosses._weights import ratios

START_ROWS = 10_000
"""Rows from which the first intercept is found."""

_OUT_OF_RANGE = "the loss of y leaves the range of float64: scale y to moderate numbers"


class Objective:
    """Σ weight · loss / Σ weight + alpha / 2 ‖w‖² for one column of targets.

    Targets and weights are contiguous, float32 or float64; weights are not negative, and not all 0.
    """

    def __init__(self, design: Design, target: Any, weight: Any, alpha: float, fit_intercept: bool) -> None:
        self._design, self._target, self._weight = design, target, weight
        self._alpha, self._fit_intercept = alpha, fit_intercept
        sums = (rows.stop - rows.start if weight is None else weight[rows].sum(dtype=np.float64) for rows in design.slices)
        self._total = math.fsum(sums)
        self._values = np.empty(len(design.slices))
        self._gradients = np.empty((len(design.slices), design.n_features + 1))
        self.n_evaluations = 0
        self.resolution = 64 * EPS * max(float(target.max()), -float(target.min()))
        """Residuals of this size are rounding."""
        # Predictions are of X - centre. Near the data is near enough: `coordinates` moves it to where w and c are uncorrelated.
        self.centre = design.some_mean(weight) if fit_intercept else np.zeros(design.n_features)

    def of_sample(self) -> "Objective | None":
        """Return the objective over a sample of the rows; None if there are not many, or if they have no weight."""
        design = self._design.sample()
        if design is None:
            return None
        sampled = Objective(design, self._target, self._weight, self._alpha, self._fit_intercept)
        return sampled if sampled._total > 0 else None

    def _operands(self, rows: Any) -> tuple[Any, Any]:
        return self._target[rows], None if self._weight is None else self._weight[rows]

    def _walk(self, point: Point, work: Callable[[Block, Any, Any], None]) -> None:
        """Call work(block, target, weight) for each block, with the predictions in block.pred."""
        offset = point.c - float(self.centre @ point.w)

        def predict(block: Block) -> None:
            if self._design.sparse:
                block.pred[:] = block.X @ point.w
            else:
                np.matmul(block.X, point.w, out=block.pred)
            block.pred += offset
            work(block, *self._operands(block.rows))

        self._design.walk(predict)

    def loss(self, surrogate: Surrogate, point: Point) -> tuple[float, Vector, float]:
        """Return the mean loss and its derivatives by w and c."""
        self.n_evaluations += 1

        def work(block: Block, target: Any, weight: Any) -> None:
            self._values[block.number] = surrogate.value_and_grad(block.pred, target, weight, block.grad)
            slot = self._gradients[block.number]
            slot[:-1] = block.transposed @ block.grad
            slot[-1] = block.grad.sum()

        self._walk(point, work)
        sums = self._gradients.sum(axis=0) / self._total
        by_c = float(sums[-1])
        return math.fsum(self._values) / self._total, sums[:-1] - by_c * self.centre, by_c if self._fit_intercept else 0.0

    def penalised(self, surrogate: Surrogate, point: Point) -> tuple[float, Vector, float]:
        """Return the objective and its derivatives by w and c."""
        value, by_w, by_c = self.loss(surrogate, point)
        return value + 0.5 * self._alpha * float(point.w @ point.w), by_w + self._alpha * point.w, by_c

    def start(self) -> tuple[Point, float]:
        """Return the constant model of the median of some targets, 0 without an intercept, and their mean absolute residual."""
        counted = np.arange(self._design.n_samples) if self._weight is None else np.flatnonzero(self._weight)
        target, weight = self._operands(counted[:: max(1, len(counted) // START_ROWS)])
        weight = None if weight is None else ratios(weight)
        c = float(np.quantile(target, 0.5, weights=weight, method="inverted_cdf")) if self._fit_intercept else 0.0
        with np.errstate(over="ignore"):
            error = float(np.average(np.abs(target.astype(np.float64) - c), weights=weight))
        if not math.isfinite(error):
            raise ValueError(_OUT_OF_RANGE)
        return Point(np.zeros(self._design.n_features), c), error

    def mean_error(self, point: Point) -> float:
        """Return the weighted mean of the absolute residuals."""
        error = self.loss(Plain(L1Loss()), point)[0]
        if not math.isfinite(error):
            raise ValueError(_OUT_OF_RANGE)
        return error

    def coordinates(self, surrogate: Surrogate, point: Point) -> tuple[Coordinates, Point]:
        """Return coordinates in which the objective is of unit curvature and size, and the point, moved to a new centre.

        The majorise-minimise curvatures d of the elements make up the Hessian, Σ d x xᵀ / Σ weight + alpha. The unit is the square
        of the mean slope over the mean curvature: for errors of one size, what a step down to 0 gains. Outliers hardly change it.
        """
        design, pairs = self._design, self._design.pairs
        n_blocks, n_features = len(design.slices), design.n_features
        firsts, totals = np.zeros((n_blocks, n_features)), np.zeros((n_blocks, 2))
        seconds = [np.zeros(0)] * n_blocks
        centre = self.centre

        def work(block: Block, target: Any, weight: Any) -> None:
            d = surrogate.curvature(block.pred, target, weight, block.grad)
            totals[block.number] = d.sum(), np.abs(block.grad).sum()
            firsts[block.number], seconds[block.number] = design.moments(block, centre, d)

        self._walk(point, work)
        curvature, slope = (float(total) / self._total for total in totals.sum(axis=0))
        first, second = firsts.sum(axis=0) / self._total, np.sum(seconds, axis=0) / self._total
        unit = (slope * (slope / curvature) if curvature > 0 else 0.0) + self._alpha * float(point.w @ point.w)
        if slope != 0 and not 0 < unit < math.inf:
            raise ValueError(_OUT_OF_RANGE)
        if curvature > 0 and self._fit_intercept:
            shift = first / curvature
            second = second - (np.outer(first, shift) if pairs else first * shift)
            point = Point(point.w, point.c + float(shift @ point.w))
            self.centre = centre + shift
        # Of a constant feature, rounding is left.
        rounding = 8 * EPS * self.centre**2 * (8 * EPS if design.centred else 1) * curvature
        constant = (np.diagonal(second) if pairs else second) <= rounding
        root = math.sqrt(unit)
        T = root * inverse_root(second, self._alpha, constant)
        t = root / math.sqrt(curvature) if curvature > 0 and self._fit_intercept else 0.0
        return Coordinates(T, t, unit, not constant.any()), point

    def coordinates_of_sample(self, sampled: "Objective", surrogate: Surrogate, point: Point) -> tuple[Coordinates, Point]:
        """Return what `coordinates` does, from the rows of a sample where they will do.

        A moment of the sample is at most that of all rows, times the ratio of their numbers: `tol` is met up to the root of that.
        But a feature that is constant in the sample may not be so elsewhere.
        """
        found, moved = sampled.coordinates(surrogate, Point(point.w, point.c + float((sampled.centre - self.centre) @ point.w)))
        if found.unit == 0 or not found.complete:
            return self.coordinates(surrogate, point)
        self.centre = sampled.centre
        return found, moved
