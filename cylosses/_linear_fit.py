"""The solver of `cylosses.sklearn` and of the demo: a linear model with a convex loss and a ridge penalty, on NumPy and SciPy.

Decisions, and why:

(a) One pass over X per evaluation. The rows are walked in blocks that stay in the cache from the product X @ w over the fused loss
    and gradient to the product gradient @ X. Two whole products would read X from memory twice.
(b) All arithmetic is in float64. A float32 X, or a layout that BLAS does not take, goes through a buffer of a block's size; it is
    never copied whole. So float32 data have the optimum of the same numbers in float64.
(c) Partial sums are kept per block and added in the order of the rows: the result does not depend on the number of threads.
(d) L-BFGS works on coordinates u in which the curvature is about 1 in every direction: w = start + T u, with T from the Cholesky
    factor of the majorise-minimise Hessian at the start (from its diagonal if X is sparse or has many features). The map is
    invertible, so the optimum stays what it is; collinear features and features of different units cost no iterations.
    Of many rows, an evenly spaced sample of blocks gives the start and T.
(e) The objective and u are scaled by what the data make of them, so that `tol` means the same in all units.
(f) The derivative of a loss with a kink does not vanish at the optimum. Such a loss is minimised with a parabola of half-width beta
    around the kink, for a falling sequence of beta that ends at `ROUNDING` times the mean absolute residual.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.sparse import issparse

from cylosses import EpsilonInsensitiveLoss, L1Loss, Loss, QuantileLoss, SmoothL1Loss
from cylosses._weights import ratios

Vector = npt.NDArray[np.float64]

BLOCK_BYTES = 1 << 20
"""Of the rows of a block in float64: they stay in the second-level cache."""
FEWEST_ROWS = 32
GRAM_FEATURES = 512
"""With more features, second moments of all pairs would take longer than the iterations that they save."""
GRAM_COST = 2000
"""Squares of features that may be computed for an element of X; only sparse rows have few enough elements to reach it."""
ROUND = 50
"""Iterations after which curvature and scale are found anew, where the search has come to."""
SAMPLE_BLOCKS = 4
SAMPLE_ROWS = 20
"""A fit of many rows starts from one of a sample of them: so many blocks at least, and so many rows for each feature."""
START_ROWS = 10_000
"""Rows from which the first intercept is found."""
ROUNDING = 1e-4
HALF_WIDTHS = (1e-1, 1e-2, 1e-3, ROUNDING)
"""Of the parabolas in kinks, in mean absolute residuals."""
SHARP = 1e-2
"""Half-width, in mean absolute residuals, below which a loss is approached by wider ones."""
COARSE = 1e-3
"""Scaled gradient that is small enough before the next, smaller half-width, and of a sample."""
FINE = 1e-4
"""The same with a half-width of `ROUNDING`, where the line search finds nothing lower."""
EPS = float(np.finfo(np.float64).eps)
ATTEMPTS = 5
"""Line searches that may fail in a row, each in a new frame."""
NOISE = 1e-6
"""Scaled gradient at which the descent that is left, about its square, is near the rounding of the objective."""
JITTER = EPS ** (2 / 3)
"""Least curvature of a direction in a correlation matrix; directions without any are stretched by no more than its root."""


_OUT_OF_RANGE = "the loss of y leaves the range of float64: scale y to moderate numbers"


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
            part, slopes = self._absolute.value_and_grad(pred, target + kink, weight=weight, n_threads=1)
            value += self._factor * float(part)
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


# ---- the rows --------------------------------------------------------------------------------------------------------------------


@dataclass
class _Block:
    """Some rows of X, and buffers that belong to the thread that works on them."""

    number: int
    rows: slice
    X: Any
    transposed: Any
    pred: Vector
    grad: Vector


class Design:
    """The rows of X in blocks.

    Parameters
    ----------
    X : numpy.ndarray or CSR array or matrix
        Shape (n_samples, n_features), float32 or float64.
    n_threads : int
        At most so many threads.
    """

    def __init__(self, X: Any, n_threads: int) -> None:
        self.n_samples, self.n_features = int(X.shape[0]), int(X.shape[1])
        self.sparse = bool(issparse(X))
        step = self._rows_of_a_block(X)
        self.slices = [slice(start, min(start + step, self.n_samples)) for start in range(0, self.n_samples, step)]
        self._parts = [_csr_rows(X, rows) if self.sparse else X[rows] for rows in self.slices]
        # A transpose is a view, but making that of a sparse array that is a view itself copies it.
        self._transposed = [_transpose_of_csr(part) if self.sparse else part.T for part in self._parts]
        elements = X.nnz if self.sparse else X.size
        self.pairs = self.n_features <= GRAM_FEATURES and self.n_features**2 * self.n_samples <= GRAM_COST * elements
        """Whether second moments are of all pairs of features."""
        self.centred = self.pairs or not self.sparse
        """Whether moments are free of cancellation in features far from 0."""
        self._staged = not self.sparse and (X.dtype != np.float64 or not (X.flags.c_contiguous or X.flags.f_contiguous))
        self._spans = _spans(len(self.slices), n_threads)
        self._threads: ThreadPoolExecutor | None = None

    def _rows_of_a_block(self, X: Any) -> int:
        elements = BLOCK_BYTES // 8
        if not self.sparse:
            return max(FEWEST_ROWS, elements // self.n_features)
        # The product of a block with the gradient is dense: a block holds more elements than that.
        return max(FEWEST_ROWS, int(max(elements, 4 * self.n_features) * self.n_samples / max(X.nnz, self.n_samples)))

    def sample(self) -> "Design | None":
        """Return a design of evenly spaced blocks on the same threads, None where it would not be much smaller."""
        rows = self.slices[0].stop
        step = len(self.slices) // max(SAMPLE_BLOCKS, -(-SAMPLE_ROWS * self.n_features // rows))
        if step < 4:
            return None
        thinned = copy(self)
        thinned.slices, thinned._parts, thinned._transposed = self.slices[::step], self._parts[::step], self._transposed[::step]
        thinned._spans = _spans(len(thinned.slices), len(self._spans))
        return thinned

    def some_mean(self, weight: Any) -> Vector:
        """Return the means of the features over the first block that has a weight; 0 for sparse rows, mostly of zeros."""
        if not self.sparse:
            for rows, X in zip(self.slices, self._parts, strict=True):
                of_rows = np.ones(rows.stop - rows.start) if weight is None else weight[rows].astype(np.float64)
                if of_rows.any():
                    return np.asarray((of_rows / of_rows.sum()) @ X, np.float64)
        return np.zeros(self.n_features)

    def moments(self, block: _Block, centre: Vector, d: Vector) -> tuple[Vector, Vector]:
        """Return Σ d x and Σ d x xᵀ, or Σ d x² without pairs, over the rows x of a block minus the centre."""
        if not self.centred:
            first, total = block.transposed @ d, d.sum()
            return first - total * centre, block.transposed.power(2) @ d - 2 * centre * first + total * centre**2
        step = max(FEWEST_ROWS, BLOCK_BYTES // 8 // self.n_features) if self.sparse else len(d)
        first, second = np.zeros(self.n_features), np.zeros((self.n_features,) * (1 + self.pairs))
        for start in range(0, len(d), step):
            rows, of_rows = block.X[start : start + step], d[start : start + step]
            x = (rows.toarray() if self.sparse else rows) - centre
            first += of_rows @ x
            x *= np.sqrt(of_rows)[:, None]
            second += x.T @ x if self.pairs else np.einsum("ij,ij->j", x, x)
        return first, second

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Have threads for `walk` while the context lasts.

        A thread begins in the floating-point mode of the one that starts it, or in the system's, which is the default one: that of
        `fit`. They are started in `walk`, and end here.
        """
        if len(self._spans) == 1:
            yield
            return
        with ThreadPoolExecutor(len(self._spans)) as self._threads:
            yield
        self._threads = None

    def walk(self, work: Callable[[_Block], None]) -> None:
        """Call `work` for each block, whose X is in float64 if it is dense."""
        if self._threads is None:
            for span in self._spans:
                self._walk_span(work, span)
        else:
            list(self._threads.map(self._walk_span, [work] * len(self._spans), self._spans))

    def _walk_span(self, work: Callable[[_Block], None], span: range) -> None:
        longest = self.slices[0].stop
        buffer = np.empty((longest, self.n_features)) if self._staged else None
        pred, grad = np.empty((2, longest))
        for number in span:
            rows, X, transposed = self.slices[number], self._parts[number], self._transposed[number]
            length = rows.stop - rows.start
            if buffer is not None:
                np.copyto(buffer[:length], X)
                X, transposed = buffer[:length], buffer[:length].T
            work(_Block(number, rows, X, transposed, pred[:length], grad[:length]))


def _spans(n_blocks: int, n_threads: int) -> list[range]:
    """Return runs of blocks, one for each thread that is worth waking."""
    n_spans = max(1, min(n_threads, n_blocks // 2))
    bounds = [n_blocks * k // n_spans for k in range(n_spans + 1)]
    return [range(bounds[k], bounds[k + 1]) for k in range(n_spans)]


def _csr_rows(X: Any, rows: slice) -> Any:
    """Return some rows of a CSR array, whose data are not copied."""
    start, stop = X.indptr[rows.start], X.indptr[rows.stop]
    view = type(X)((rows.stop - rows.start, X.shape[1]), dtype=X.dtype)
    # The constructor would copy what is a small part of a large array.
    view.data, view.indices = X.data[start:stop], X.indices[start:stop]
    view.indptr = X.indptr[rows.start : rows.stop + 1] - start
    return view


def _transpose_of_csr(X: Any) -> Any:
    """Return the transpose of a CSR array, whose data are not copied."""
    view = type(X)(X.shape, dtype=X.dtype).T
    view.data, view.indices, view.indptr = X.data, X.indices, X.indptr
    return view


# ---- the objective ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """A linear model that predicts (x - centre) · w + c."""

    w: Vector
    c: float


@dataclass(frozen=True)
class _Frame:
    """Coordinates around a point: w = point.w + T u[:-1], c = point.c + t u[-1], and the unit of the objective."""

    T: Vector  # a square matrix, or the diagonal of one
    t: float
    unit: float
    complete: bool  # no feature was constant

    def at(self, point: Point, u: Vector) -> Point:
        return Point(point.w + (self.T * u[:-1] if self.T.ndim == 1 else self.T @ u[:-1]), point.c + self.t * float(u[-1]))

    def gradient(self, by_w: Vector, by_c: float) -> Vector:
        by_u = self.T * by_w if self.T.ndim == 1 else by_w @ self.T
        return np.append(by_u, self.t * by_c) / self.unit


class Objective:
    """Σ weight · loss / Σ weight + alpha / 2 ‖w‖² for one column of targets.

    Parameters
    ----------
    design : Design
    target : numpy.ndarray
        Shape (n_samples,), contiguous, float32 or float64.
    weight : numpy.ndarray or None
        The same, not negative; not all 0.
    alpha : float
    fit_intercept : bool
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
        # Predictions are of X - centre. Near the data is near enough: `frame` moves it to where w and c are uncorrelated.
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

    def _walk(self, point: Point, work: Callable[[_Block, Any, Any], None]) -> None:
        """Call work(block, target, weight) for each block, with the predictions in block.pred."""
        offset = point.c - float(self.centre @ point.w)

        def predict(block: _Block) -> None:
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

        def work(block: _Block, target: Any, weight: Any) -> None:
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

    def frame(self, surrogate: Surrogate, point: Point) -> tuple[_Frame, Point]:
        """Return coordinates in which the objective is of unit curvature and size, and the point, moved to a new centre.

        The majorise-minimise curvatures d of the elements make up the Hessian, Σ d x xᵀ / Σ weight + alpha. The unit is the square
        of the mean slope over the mean curvature: for errors of one size, what a step down to 0 gains. Outliers hardly change it.
        """
        design, pairs = self._design, self._design.pairs
        n_blocks, n_features = len(design.slices), design.n_features
        firsts, totals = np.zeros((n_blocks, n_features)), np.zeros((n_blocks, 2))
        seconds = [np.zeros(0)] * n_blocks
        centre = self.centre

        def work(block: _Block, target: Any, weight: Any) -> None:
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
        T = root * _inverse_root(second, self._alpha, constant)
        t = root / math.sqrt(curvature) if curvature > 0 and self._fit_intercept else 0.0
        return _Frame(T, t, unit, not constant.any()), point

    def frame_of_sample(self, sampled: "Objective", surrogate: Surrogate, point: Point) -> tuple[_Frame, Point]:
        """Return what `frame` does, from the rows of a sample where they will do.

        A moment of the sample is at most that of all rows, times the ratio of their numbers: `tol` is met up to the root of that.
        But a feature that is constant in the sample may not be so elsewhere.
        """
        frame, moved = sampled.frame(surrogate, Point(point.w, point.c + float((sampled.centre - self.centre) @ point.w)))
        if frame.unit == 0 or not frame.complete:
            return self.frame(surrogate, point)
        self.centre = sampled.centre
        return frame, moved


def _inverse_root(second: Vector, alpha: float, constant: npt.NDArray[np.bool_]) -> Vector:
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


# ---- the search ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fit:
    """What came of a search.

    Attributes
    ----------
    coef : numpy.ndarray
        Shape (n_features,).
    intercept : float
    n_iter, n_evaluations : int
        Iterations of L-BFGS over all rows, and evaluations of objective and gradient: passes over X.
    gradient : float
        Largest component of the scaled gradient, which is compared with `tol`.
    converged : bool
    """

    coef: Vector
    intercept: float
    n_iter: int
    n_evaluations: int
    gradient: float
    converged: bool


def minimise(loss: Loss, objective: Objective, coef: Vector | None, intercept: float, max_iter: int, tol: float) -> Fit:
    """Minimise the objective of a convex loss.

    Parameters
    ----------
    loss : Loss
    objective : Objective
    coef, intercept
        Where to start; without `coef` at a constant.
    max_iter : int
        Of L-BFGS, in all.
    tol : float
        Bound of the largest component of the scaled gradient.

    Returns
    -------
    Fit

    Raises
    ------
    ValueError
        If the loss overflows.
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
            frame, point = objective.frame(surrogate, point)
        else:
            frame, point = objective.frame_of_sample(sampled, surrogate, point)
            sampled = None  # another frame is only needed where this one was not good
        if frame.unit == 0:  # no element has a derivative, and w is 0
            return point, n_iter, 0.0, True

        def scaled(u: Vector, frame: _Frame = frame, start: Point = point) -> tuple[float, Vector]:
            at = frame.at(start, u)
            value, by_w, by_c = objective.penalised(surrogate, at)
            return value / frame.unit, frame.gradient(by_w, by_c)

        limits = {"maxiter": min(ROUND, max_iter - n_iter), "maxfun": 10 * ROUND, "gtol": tol, "ftol": 0.0}
        result = minimize(scaled, np.zeros(len(point.w) + 1), jac=True, method="L-BFGS-B", options=limits)
        point = frame.at(point, result.x)
        n_iter += int(result.nit)
        gradient = float(np.abs(result.jac).max())
        if gradient <= tol:
            return point, n_iter, gradient, True
        if n_iter >= max_iter:
            return point, n_iter, gradient, False
        # The line search fails where rounding hides the descent, or where the curvature has changed a lot: then a new frame helps.
        stuck = stuck + 1 if result.nit < limits["maxiter"] else 0
        if stuck and (gradient <= noise or stuck == ATTEMPTS):
            return point, n_iter, gradient, gradient <= noise
