"""The robust scale of targets that are Dask arrays: exact medians, found digit by digit, with memory for the digits only.

Floats are read as integers of the same order. A pass over the blocks finds how much weight the numbers have whose first bits are
those found so far, for each value of the next eight bits. So eight passes find a median.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial, reduce
from typing import Any, TypeAlias

import dask.array as da
import numpy as np

from cylosses import L1Loss
from cylosses._dask import blocks
from cylosses._dask.operands import Operands, aligned, as_array
from cylosses._dask.totals import value
from cylosses._types import Array
from cylosses.boosting.scale import scale_from

_BITS = 8
_Weights: TypeAlias = dict[int, Fraction]  # of the numbers whose bits begin so


def robust_scale(targets: Any, sample_weight: Any) -> float:
    """Return the scale of targets as `cylosses.boosting.robust_scale` does."""
    values = as_array("targets", targets)
    weights = None if sample_weight is None else as_array("sample_weight", sample_weight)
    if values.ndim != 1:
        raise ValueError(f"targets must be a vector to have one scale, got shape {values.shape}")
    if weights is not None and weights.shape != values.shape and values.size == values.size:
        raise ValueError(f"sample_weight has shape {weights.shape}, targets have {values.shape}")
    values, weights = aligned(values, weights)
    largest = _over_blocks(_largest, max, values, weights)
    if largest < 0:
        raise ValueError("targets must hold at least one number with a weight to have a scale")
    if not np.isfinite(largest):
        raise ValueError("targets must be finite to have a scale, got NaN or inf")
    return scale_from(values.astype(np.float64), largest, partial(_median, weights=weights), partial(_mean, weights=weights))


def _mean(values: Any, weights: Any) -> float:
    loss = L1Loss()
    return float(value(loss, Operands.of(loss, values, 0.0, weights, None, 1), None, False, None).compute())


def _median(values: Any, weights: Any) -> float:
    """Return the median; with weights that of each value repeated so often."""
    ends = [_Search(reaches_half=True), _Search(reaches_half=False)]
    for known in range(0, 64, _BITS):
        prefixes = tuple({end.prefix for end in ends})
        found = _over_blocks(_weights_of_digits, _added, values, weights, known=known, prefixes=prefixes)
        for end in ends:
            end.narrow(found)
    low, high = (_number(end.prefix) for end in ends)
    return low if low == high else (low + high) / 2


@dataclass
class _Search:
    """The search for the first number up to which the weight reaches half of all, or exceeds it; found from its first bits on."""

    reaches_half: bool
    prefix: int = 0
    below: Fraction = Fraction(0)
    """Weight of what is smaller than all numbers that begin so."""
    half: Fraction | None = None

    def narrow(self, weights: _Weights) -> None:
        """Find the next bits."""
        if self.half is None:
            self.half = sum(weights.values(), Fraction(0)) / 2
        for digits in sorted(digits for digits in weights if digits >> _BITS == self.prefix):
            reached = self.below + weights[digits]
            if reached > self.half or (self.reaches_half and reached == self.half):
                self.prefix = digits
                return
            self.below = reached


def _over_blocks(function: Callable[..., Any], both: Callable[..., Any], values: Any, weights: Any, **settings: Any) -> Any:
    """Compute a function of each block, and what another makes of two results until one is left."""
    index = None if weights is None else "i"
    parts = da.blockwise(function, "i", values, "i", weights, index, dtype=object, meta=np.empty(0, object), **settings)
    combine = partial(_combined, both=both)
    result = da.reduction(
        parts, blocks.unchanged, combine, combine=combine, concatenate=False, dtype=object, meta=np.empty((), object)
    )
    return result.compute()


def _combined(nested: Any, axis: Any, keepdims: bool, both: Callable[..., Any]) -> Any:
    return reduce(both, blocks.flat(nested))


def _added(first: _Weights, second: _Weights) -> _Weights:
    return first | {digits: weight + first.get(digits, 0) for digits, weight in second.items()}


def _selected(values: Array, weights: Array | None) -> Array:
    """Return the numbers of a block that have a weight."""
    if weights is None:
        return values
    if np.shape(weights) != np.shape(values):
        raise ValueError(f"a chunk of sample_weight has shape {np.shape(weights)}, that of targets {np.shape(values)}")
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError("sample_weight must be finite and not negative")
    return values[weights > 0]


def _largest(values: Array, weights: Array | None) -> float:
    """Return the largest magnitude of numbers that have a weight, infinite if one is NaN; -1 if there are none."""
    magnitudes = abs(_selected(values, weights).astype(np.float64))
    return float(np.max(np.where(np.isnan(magnitudes), np.inf, magnitudes), initial=-1.0))


def _digits(values: Array) -> Array:
    """Return floats as unsigned integers of the same order."""
    bits = (values + 0.0).view(np.int64)  # 0.0 for -0.0
    return (bits ^ ((bits >> 63) & np.int64(2**63 - 1))).view(np.uint64) ^ np.uint64(2**63)


def _number(digits: int) -> float:
    """Return the float of an integer that `_digits` made."""
    bits = digits - 2**63
    return float(np.array(bits if bits >= 0 else bits ^ (2**63 - 1), np.int64).view(np.float64))


def _weights_of_digits(values: Array, weights: Array | None, known: int, prefixes: tuple[int, ...]) -> _Weights:
    """Return the weight of the numbers of a block that have each value of the first bits, of those that begin with known ones."""
    kept = _selected(np.ascontiguousarray(values, np.float64), weights)
    used = None if weights is None else weights[weights > 0]
    digits = _digits(kept) >> np.uint64(64 - known - _BITS)
    selected = np.isin(digits >> np.uint64(_BITS), np.array(prefixes, np.uint64))
    found, place, counts = np.unique(digits[selected], return_inverse=True, return_counts=True)
    if used is None:
        return {int(key): Fraction(int(count)) for key, count in zip(found, counts, strict=True)}
    order = np.argsort(place, kind="stable")
    parts = np.split(used[selected][order], np.cumsum(counts)[:-1])
    return {int(key): _sum(part) for key, part in zip(found, parts, strict=True)} if len(found) else {}


def _sum(weights: Array) -> Fraction:
    total = L1Loss(reduction="sum").streaming()
    total.update(np.broadcast_to(1.0, weights.shape), 0.0, weight=weights, n_threads=1)
    exact: Fraction = total.exact()
    return exact
