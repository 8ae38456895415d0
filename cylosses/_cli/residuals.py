"""How residuals and losses are distributed, from one pass in constant memory: what the picture of `--plot` is drawn from.

The range of residuals is known at the end of the pass only, so they are counted in bins that need none: the exponent of the float64
|residual| and the first bits of its fraction, by sign. There are 64 bins between two powers of two, which is a resolution of 0.8 to
1.6 percent over the whole range. Sums are plain float64: this is for pictures, the exact results come from totals.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cylosses import L1Loss
from cylosses._cli.specs import LossSpec
from cylosses._types import Array

Vector = npt.NDArray[np.float64]

_FRACTION_BITS = 6
_DROPPED_BITS = 52 - _FRACTION_BITS
_CHUNK = 1 << 18  # pairs that are sorted into bins at one time


def bins_of(sizes: npt.ArrayLike) -> npt.NDArray[np.intp]:
    """Return the bin of each |residual|, infinity included: the bits of float64 from 0 on, read as integers, grow with it."""
    return (np.asarray(sizes, np.float64).view(np.uint64) >> np.uint64(_DROPPED_BITS)).astype(np.intp)


INFINITE = int(bins_of(np.inf))
"""The bin of infinity; those below it are of finite residuals."""
EDGES: Vector = (np.arange(INFINITE + 1, dtype=np.uint64) << np.uint64(_DROPPED_BITS)).view(np.float64)
"""The least |residual| of each bin."""

_OF_A_SIGN = INFINITE + 1
_ZERO, _NAN = 2 * _OF_A_SIGN, 2 * _OF_A_SIGN + 1


class Spread:
    """How much of something, pairs or weight or a loss, is in each bin of residuals."""

    def __init__(self, amounts: Vector) -> None:
        self.positive, self.negative = amounts[: INFINITE + 1], amounts[_OF_A_SIGN:_ZERO]
        self.zero, self.nan = float(amounts[_ZERO]), float(amounts[_NAN])

    @property
    def infinite(self) -> float:
        """What infinite residuals have."""
        return float(self.positive[INFINITE] + self.negative[INFINITE])

    def by_size(self) -> Vector:
        """Return what finite residuals other than 0 have, by the bin of |residual|."""
        with np.errstate(over="ignore"):
            return self.positive[:INFINITE] + self.negative[:INFINITE]

    def finite(self) -> float:
        """Return what finite residuals have."""
        with np.errstate(over="ignore"):
            return self.zero + float(self.by_size().sum())

    def between(self, sizes: npt.ArrayLike) -> Vector:
        """Return what finite residuals have between ascending sizes, that is between the bins that these are in.

        For n sizes, these are 2 n + 1 numbers: beyond the last one on the negative side, the n - 1 intervals there, all between
        the first one on both sides, and likewise the positive side.
        """
        at = bins_of(sizes)
        negative, positive = (_parts(of_sign[:INFINITE], at) for of_sign in (self.negative, self.positive))
        return np.concatenate([negative[:0:-1], [negative[0] + self.zero + positive[0]], positive[1:]])


def _parts(amounts: Vector, at: npt.NDArray[np.intp]) -> Vector:
    return np.array([part.sum() for part in np.split(amounts, at)])


class Residuals:
    """The residuals, predictions minus targets, of all pairs that are added, and their losses."""

    def __init__(self, losses: Sequence[LossSpec]) -> None:
        self._losses = [spec.make("none") for spec in losses]
        # The library's own difference: integers are subtracted as integers.
        self._size = L1Loss(reduction="none")
        self._amounts = np.zeros((2 + len(losses), _NAN + 1))
        self.is_weighted = False

    @property
    def pairs(self) -> Spread:
        """The number of pairs that are selected and have a weight other than 0."""
        return Spread(self._amounts[0])

    @property
    def weights(self) -> Spread:
        """Their weights, 1 each if there are none."""
        return Spread(self._amounts[1])

    @property
    def losses(self) -> list[Spread]:
        """Of each loss the sum, times weights."""
        return [Spread(amounts) for amounts in self._amounts[2:]]

    def clear(self) -> None:
        """Forget everything."""
        self._amounts[:] = 0

    def add(self, predictions: Array, targets: Array, weight: Array | None = None, where: Array | None = None) -> None:
        """Add pairs, whose weights have been checked."""
        self.is_weighted |= weight is not None
        for first, second, weights in _chunks(predictions, targets, weight, where):
            sizes = np.asarray(self._size(first, second, n_threads=1), np.float64)
            keys = bins_of(sizes) + _OF_A_SIGN * (first < second)
            keys[sizes < EDGES[1]] = _ZERO  # and what is below 1e-309
            keys[np.isnan(sizes)] = _NAN
            with np.errstate(over="ignore"):
                found: list[Any] = [None, weights]
                for loss in self._losses:
                    losses = np.asarray(loss(first, second, n_threads=1), np.float64)
                    found.append(losses if weights is None else losses * weights)
                for amounts, values in zip(self._amounts, found, strict=True):
                    amounts += np.bincount(keys, values, minlength=len(amounts))


def _chunks(
    predictions: Array, targets: Array, weight: Array | None, where: Array | None
) -> Iterator[tuple[Array, Array, Array | None]]:
    """Return pairs that count, with their weights."""
    first, second = predictions.ravel(), targets.ravel()
    for start in range(0, first.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        weights = None if weight is None else weight.ravel()[part].astype(np.float64)
        counts = None if where is None else where.ravel()[part]
        if weights is not None:
            counts = weights != 0 if counts is None else counts & (weights != 0)
        if counts is None:
            yield first[part], second[part], None
        else:
            yield first[part][counts], second[part][counts], None if weights is None else weights[counts]
