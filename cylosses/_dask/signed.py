"""Exact sums of numbers with signs: a total of the positive ones and one of the negative ones, whose difference is rounded."""

import math
from fractions import Fraction
from typing import Any, Self

import numpy as np

from cylosses import L1Loss, default_floating_point_mode
from cylosses._types import Array

_SLICES_AT_ONCE = 1024  # of which totals take some megabytes


class SignedTotal:
    """Exact sums of numbers along some axes, mergeable."""

    __slots__ = ("_axes", "_dtype", "_negative", "_positive")

    def __init__(self, axes: tuple[int, ...]) -> None:
        self._axes = axes
        self._positive, self._negative = (L1Loss(reduction="sum").streaming(axes) for _ in range(2))

    @classmethod
    def sums(cls, numbers: Array, axes: tuple[int, ...]) -> Array:
        """Return the exact sums of numbers along these axes, which stay with length 1; few totals are in memory at once."""
        kept = [k for k in range(numbers.ndim) if k not in axes]
        shape = tuple(1 if k in axes else length for k, length in enumerate(numbers.shape))
        rows = numbers.transpose(*kept, *axes).reshape(math.prod(shape), math.prod(numbers.shape[k] for k in axes))
        result = np.empty(len(rows), numbers.dtype)
        for start in range(0, len(rows), _SLICES_AT_ONCE):
            part = cls((1,))
            part.update(rows[start : start + _SLICES_AT_ONCE])
            result[start : start + _SLICES_AT_ONCE] = part.compute()
        return result.reshape(shape)

    def empty(self) -> Self:
        """Return a total over the same axes, of nothing."""
        return type(self)(self._axes)

    @default_floating_point_mode()  # where subnormal numbers count as 0, they have no sign
    def update(self, numbers: Array) -> None:
        """Add numbers; NaN counts as positive."""
        negative = np.less(numbers, 0)
        self._positive.update(numbers, 0.0, where=~negative, n_threads=1)
        self._negative.update(numbers, 0.0, where=negative, n_threads=1)

    def merge(self, other: "SignedTotal") -> None:
        """Add what another total holds."""
        self._positive.merge(other._positive)
        self._negative.merge(other._negative)

    @default_floating_point_mode()
    def compute(self) -> Any:
        """Return the sums, each rounded once."""
        dtype = np.asarray(self._positive.compute()).dtype
        with np.errstate(invalid="ignore"):  # infinity minus infinity
            found = _differences(self._positive.exact(), self._negative.exact())
        differences = np.asarray(found, object)
        rounded = [_rounded(difference, dtype) for difference in differences.flat]
        return np.array(rounded, dtype).reshape(differences.shape)[()]


def _difference(positive: Fraction | float, negative: Fraction | float) -> Fraction | float:
    """Return the difference; infinite and NaN sums are floats."""
    if isinstance(positive, Fraction) and isinstance(negative, Fraction):
        return positive - negative
    return (0.0 if isinstance(positive, Fraction) else positive) - (0.0 if isinstance(negative, Fraction) else negative)


_differences = np.frompyfunc(_difference, 2, 1)


def _rounded(exact: Fraction | float, dtype: np.dtype[Any]) -> Any:
    """Return a sum of floats rounded once to a dtype: the library rounds it, as the weight of losses that are 1."""
    if isinstance(exact, float):
        return dtype.type(exact)
    rest, pieces = abs(exact), [0.0]
    while rest:
        try:
            piece = float(rest)
        except OverflowError:
            return dtype.type(math.inf if exact > 0 else -math.inf)
        if Fraction(piece) > rest:
            piece = math.nextafter(piece, 0.0)
        pieces.append(piece)
        rest -= Fraction(piece)
    size = L1Loss(reduction="sum")(np.ones(len(pieces), dtype), np.zeros(len(pieces), dtype), weight=pieces)
    return -size if exact < 0 else size
