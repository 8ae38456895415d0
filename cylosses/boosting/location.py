"""The constant that minimises the total loss of targets: where a booster starts.

Decisions, with their reasons:

a. For losses that are made of lines and parabolas, the result is the float64 with the least total loss, in exact arithmetic; where
   several have it, the middle of them, as `numpy.median` does it. Equal targets are returned as they are.
b. Derivatives that are made of straight lines (`Loss.pieces`) are summed as fractions, from exact sums of the library. Their zero
   is a fraction too. The two floats around it are compared by the integral of the derivative between them.
c. Those that are multiples of d / sqrt(d² + length²) (`Loss.hyperbolic`) are computed with 106 bits and summed exactly: a Newton
   search ends between two floats, and the mean slope between them says which is the better one.
d. Any other loss, redescending ones above all, may have several minima. The one meant is what iteratively reweighted least squares
   reach from the median: downhill all the way, and on the side where most targets are. It is found to some 12 digits.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from cylosses._types import Array
from cylosses._weights import ratios
from cylosses.boosting.pairs import Pairs
from cylosses.boosting.scale import median
from cylosses.losses import CharbonnierLoss, L1Loss, Loss
from cylosses.losses.squares import Pieces

_GREATEST = float(np.finfo(np.float64).max)
# Lengths beyond are as good as infinite or 0, with the largest target at 1; their squares do not leave the range of float64.
_LONGEST, _SHORTEST = 2.0**400, 2.0**-400
_BLOCK = 1 << 13
_MOST_STEPS = 2000
_LEAST_STEP = 2.0**-45  # downhill, in units of the parameter of the loss


def location(loss: Loss, targets: Array, weights: Array | None) -> float:
    """Return the constant that minimises the total loss of targets, which are finite and have weights other than 0, or None."""
    least, greatest = float(targets.min()), float(targets.max())
    if least == greatest:
        return least
    if loss.pieces is not None:
        return _Straight(loss.pieces, targets, weights).minimum()
    relative = None if weights is None else ratios(weights)
    if loss.hyperbolic:
        exponent = math.frexp(max(-least, greatest))[1]
        length = math.ldexp(float(getattr(loss, str(loss.parameter_name))), -exponent)
        curve = _Hyperbolas(min(max(length, _SHORTEST), _LONGEST), np.ldexp(targets, -exponent), relative)
        return math.ldexp(curve.minimum(), exponent)
    return _downhill(loss, targets, relative)


def exact_sum(values: Array, weights: Array | None = None, n_threads: int | None = None) -> Fraction:
    """Return the sum of weights times values."""
    total = Fraction(0)
    for sign in (1, -1):
        of_sign = L1Loss(reduction="sum").streaming()
        of_sign.update(values, 0.0, weights, values * sign > 0, n_threads=n_threads)
        total += sign * of_sign.exact()
    return total


class _Straight:
    """The derivative of the total loss by the constant c, made of straight lines, in exact arithmetic.

    It is a sum over the targets y, and over each of the knots of theirs: y + at is where it jumps or turns.
    """

    def __init__(self, pieces: Pieces, targets: Array, weights: Array | None) -> None:
        order = np.argsort(targets, kind="stable")
        self._targets = targets[order]
        self._weights = None if weights is None else weights[order]
        self._level, self._slope = Fraction(pieces.level), Fraction(pieces.slope)
        self._knots = [(Fraction(knot.at), Fraction(knot.jump), Fraction(knot.turn)) for knot in pieces.knots]
        self._weight_below = _FirstSums(np.ones_like(targets) if self._weights is None else self._weights, None)
        self._moment_below = _FirstSums(self._targets, self._weights)

    def _line(self, counts: list[int]) -> tuple[Fraction, Fraction]:
        """Return intercept and slope where so many targets have passed each knot."""
        everything = len(self._targets)
        intercept, slope = self._level * self._weight_below(everything), self._slope * self._weight_below(everything)
        if self._slope:
            intercept -= self._slope * self._moment_below(everything)
        for (at, jump, turn), count in zip(self._knots, counts, strict=True):
            intercept += (jump - turn * at) * self._weight_below(count)
            if turn:
                intercept -= turn * self._moment_below(count)
                slope += turn * self._weight_below(count)
        return intercept, slope

    def _counts(self, c: Fraction, side: Literal["left", "right"]) -> list[int]:
        """Return how many targets have passed each knot just left or right of c."""
        return [_count(self._targets, c - at, side) for at, _, _ in self._knots]

    def _derivative(self, c: Fraction, side: Literal["left", "right"]) -> Fraction:
        intercept, slope = self._line(self._counts(c, side))
        return intercept + slope * c

    def _first(self, holds: Callable[[Fraction], bool]) -> tuple[list[int], list[Fraction], list[Fraction]]:
        """Return how many points of each knot come before its first that holds; the last ones before, and the first ones."""
        counts: list[int] = []
        before: list[Fraction] = []
        after: list[Fraction] = []
        everything = range(len(self._targets))
        for at, _, _ in self._knots:
            count = bisect_left(everything, True, key=partial(self._holds, holds, at))
            counts.append(count)
            before += [self._point(index, at) for index in everything[:count][-1:]]
            after += [self._point(index, at) for index in everything[count:][:1]]
        return counts, before, after

    def _holds(self, holds: Callable[[Fraction], bool], at: Fraction, index: int) -> bool:
        return holds(self._point(index, at))

    def _point(self, index: int, at: Fraction) -> Fraction:
        return Fraction(float(self._targets[index])) + at

    def _ends(self) -> tuple[Fraction | None, Fraction | None]:
        """Return the least and the greatest constant of the least total loss; None for an end that is infinite."""
        counts, _, after = self._first(lambda c: self._derivative(c, "right") >= 0)
        intercept, slope = self._line(counts)
        least = [*after, -intercept / slope] if slope else after if intercept < 0 else []
        counts, before, _ = self._first(lambda c: self._derivative(c, "left") > 0)
        intercept, slope = self._line(counts)
        greatest = [*before, -intercept / slope] if slope else before if intercept > 0 else []
        return min(least, default=None), max(greatest, default=None)

    def minimum(self) -> float:
        least, greatest = self._ends()
        if least is None or greatest is None:  # a quantile of 0 or 1: all beyond the targets is as good
            return float(next(end for end in (least, greatest) if end is not None))
        middle = (least + greatest) / 2
        nearest = float(middle)
        if least <= nearest <= greatest:
            return nearest
        other = math.nextafter(nearest, math.inf if nearest < middle else -math.inf)
        return other if self._rise(nearest, other) < 0 else nearest

    def _rise(self, start: float, end: float) -> Fraction:
        """Return how much more the total loss is at a float than at its neighbour, the integral of the derivative."""
        a, b = sorted((Fraction(start), Fraction(end)))
        points = {a, b}
        for (at, _, _), first, last in zip(self._knots, self._counts(a, "right"), self._counts(b, "left"), strict=True):
            points |= {Fraction(y) + at for y in np.unique(self._targets[first:last]).tolist()}
        ordered = sorted(points)
        integral = sum((q - p) * (self._derivative(p, "right") + self._derivative(q, "left")) / 2 for p, q in pairwise(ordered))
        return Fraction(integral if start < end else -integral)


class _FirstSums:
    """The exact sums of the first elements of an array, each worked out from the nearest one that is known."""

    def __init__(self, values: Array, weights: Array | None) -> None:
        self._values, self._weights = values, weights
        self._counts, self._sums = [0], [Fraction(0)]  # in rising order

    def __call__(self, count: int) -> Fraction:
        place = bisect_left(self._counts, count)
        if place < len(self._counts) and self._counts[place] == count:
            return self._sums[place]
        near = place - 1
        if place < len(self._counts) and self._counts[place] - count < count - self._counts[near]:
            near = place
        known = self._counts[near]
        between = slice(min(known, count), max(known, count))
        difference = exact_sum(self._values[between], None if self._weights is None else self._weights[between])
        found = self._sums[near] + (difference if count > known else -difference)
        self._counts.insert(place, count)
        self._sums.insert(place, found)
        return found


def _count(ordered: Array, bound: Fraction, side: Literal["left", "right"]) -> int:
    """Return how many ordered floats are less than a bound, or with ``right`` not greater."""
    if abs(bound) > _GREATEST:
        return len(ordered) if bound > 0 else 0
    rounded = float(bound)
    if rounded != bound:
        side = "right" if rounded < bound else "left"
    return int(np.searchsorted(ordered, rounded, side))


class _Hyperbolas:
    """The total of sqrt(d² + length²), d = c - y, of targets y between -1 and 1."""

    def __init__(self, length: float, targets: Array, weights: Array | None) -> None:
        self._targets, self._weights = targets, weights
        self._square = Pairs.of(length) * Pairs.of(length)
        self._loss = CharbonnierLoss(reduction="sum", eps=length)

    def _blocks(self) -> Iterator[tuple[Array, Array | None]]:
        """Yield targets and weights of a size at which what is computed of them stays in the cache."""
        for start in range(0, len(self._targets), _BLOCK):
            block = slice(start, start + _BLOCK)
            yield self._targets[block], None if self._weights is None else self._weights[block]

    def _slope_and_curvature(self, c: float) -> tuple[float, float]:
        """Return the derivatives of the total at c: sums that are exact, but of rounded numbers."""
        gradient, curvature = self._loss.grad_and_hess(np.array([c]), self._targets, weight=self._weights)
        return float(gradient[0]), float(curvature[0])

    def _mean_slope(self, a: float, b: float) -> Fraction:
        """Return the slope at a = b, or the mean slope between two floats next to each other: Σ w (d_a + d_b) / (h_a + h_b).

        Far targets count as ±1, exactly, and what is missing to that, 1 - |d| / h = length² / (h (h + |d|)), does not cancel.
        """
        slope = Fraction(0)
        for targets, weights in self._blocks():
            legs = [Pairs.of(c) - Pairs.of(targets) for c in (a, b)]
            roots = [(leg * leg + self._square).root() for leg in legs]
            leg, root = legs[0] + legs[1], roots[0] + roots[1]
            sign = np.sign(leg.upper)
            missing = (self._square / (roots[0] + legs[0] * sign) + self._square / (roots[1] + legs[1] * sign)) / root
            near = 2 * abs(leg.upper) < root.upper
            rest = (leg / root).where(near, missing * -sign)
            slope += exact_sum(np.where(near, 0.0, sign), weights, 1) + exact_sum(rest.upper, weights, 1)
            slope += Fraction(float(np.sum(rest.lower) if weights is None else np.dot(weights, rest.lower)))
        return slope

    def minimum(self) -> float:
        """Return the best float."""
        rough = self._zero(self._slope_and_curvature, median(self._targets, self._weights))[0]
        low, high = self._zero(lambda c: (self._mean_slope(c, c), self._slope_and_curvature(c)[1]), rough)
        return low if low == high or self._mean_slope(low, high) > 0 else high

    def _zero(self, derivatives: Callable[[float], tuple[Fraction | float, float]], c: float) -> tuple[float, float]:
        """Return two floats next to each other between which a rising slope is 0, or twice the one where it is.

        Newton steps go on inside a bracket, which every fourth step halves.
        """
        low, high = float(self._targets.min()), float(self._targets.max())
        for step in range(_MOST_STEPS):
            slope, curvature = derivatives(c)
            if slope == 0:
                return c, c
            low, high = (low, c) if slope > 0 else (c, high)
            if math.nextafter(low, high) == high:
                break
            aim = float(Fraction(c) - Fraction(slope) / Fraction(curvature)) if curvature > 0 else math.inf
            if aim == c:
                aim = math.nextafter(c, low if slope > 0 else high)
            c = aim if low < aim < high and step % 4 < 3 else low + (high - low) / 2
        return low, high


def _downhill(loss: Loss, targets: Array, weights: Array | None) -> float:
    """Return where iteratively reweighted least squares end that start at the median."""
    parameter: dict[str, Any] = {} if loss.parameter_name is None else {loss.parameter_name: getattr(loss, loss.parameter_name)}
    total: Loss = type(loss)(reduction="sum", **parameter)
    least_step = _LEAST_STEP * sum(parameter.values()) if loss.parameter_is_length else 0.0
    c = median(targets, weights)
    for _ in range(_MOST_STEPS):
        gradient, curvature = total.grad_and_hess(np.array([c]), targets, weight=weights, curvature="mm")
        step = float(gradient[0] / curvature[0]) if curvature[0] > 0 else 0.0
        if abs(step) <= least_step or c - step == c:
            break
        c -= step
    return c
