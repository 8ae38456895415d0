"""Exact sums and means, with weights and masks, over all elements or slices."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from .formats import Exact, round_fraction


def doubles(numbers: np.ndarray) -> list[np.ndarray]:
    """Float64 arrays whose exact sum is `numbers`: two halves for integers of 64 bits, else one array."""
    if numbers.dtype.kind in "iu" and numbers.dtype.itemsize == 8:
        low = numbers & numbers.dtype.type(0xFFFFFFFF)
        return [(numbers - low).astype(np.float64), low.astype(np.float64)]
    return [numbers.astype(np.float64)]


def selection(shape: tuple[int, ...], weights: Any, where: Any) -> np.ndarray:
    """Which elements take part: selected, and with a weight other than zero."""
    keep = np.broadcast_to(True if where is None else np.asarray(where), shape)
    return keep if weights is None else keep & (np.broadcast_to(np.asarray(weights), shape) != 0)


def _select(terms: Any, weights: Any, where: Any) -> tuple[np.ndarray, list[np.ndarray] | None]:
    """Flat float64 copies of the terms and weights that take part."""
    terms = np.asarray(terms)
    keep = selection(terms.shape, weights, where)
    if weights is None:
        return terms[keep].astype(np.float64), None
    return terms[keep].astype(np.float64), doubles(np.broadcast_to(np.asarray(weights), terms.shape)[keep])


def _significands(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finite float64 values as int64 significands and exponents: value = significand * 2**exponent, exactly."""
    significand, exponent = np.frexp(values)
    return np.ldexp(significand, 53).astype(np.int64), exponent.astype(np.int64) - 53


def sum_finite(values: np.ndarray) -> Fraction:
    """The exact sum of finite float64 values, in integers: one sum for each exponent, then one large integer.

    Significands are split in two halves, so that an int64 holds the sum of 2**31 of them.
    """
    if values.size == 0:
        return Fraction(0)
    significand, exponent = _significands(values)
    lowest = int(exponent.min())
    bins = np.zeros((2, int(exponent.max()) - lowest + 1), np.int64)
    np.add.at(bins[0], exponent - lowest, significand & 0xFFFFFFFF)
    np.add.at(bins[1], exponent - lowest, significand >> 32)
    total = 0
    for place in np.flatnonzero(bins.any(axis=0)).tolist():
        total += (int(bins[0, place]) + (int(bins[1, place]) << 32)) << place
    return total * Fraction(2) ** lowest


def _sum_products(values: np.ndarray, weights: np.ndarray) -> Fraction:
    """The exact sum of products of finite float64 values, in integers."""
    (significand, exponent), (factor, shift) = (_significands(values), _significands(weights))
    total: dict[int, int] = {}
    for place, product in zip((exponent + shift).tolist(), significand.astype(object) * factor.astype(object), strict=True):
        total[place] = total.get(place, 0) + product
    return sum((part * Fraction(2) ** place for place, part in total.items()), Fraction(0))


def exact_sum(losses: Any, weights: Any = None, where: Any = None) -> Exact:
    """The exact sum of `losses`, or of `weights * losses`, over the selected elements.

    NaN if a selected term is NaN or if both infinities occur, otherwise the infinity that occurs.
    """
    terms, factors = _select(losses, weights, where)
    special = terms[~np.isfinite(terms)]
    if special.size:
        infinities = set(special.tolist())
        return infinities.pop() if len(infinities) == 1 and not np.isnan(special).any() else math.nan
    return sum_finite(terms) if factors is None else sum(_sum_products(terms, part) for part in factors)


def exact_mean(losses: Any, weights: Any = None, where: Any = None) -> Exact:
    """The exact sum divided by the number of selected elements, or by the sum of their weights; NaN without any."""
    terms, factors = _select(losses, weights, where)
    divisor = Fraction(terms.size) if factors is None else sum(map(sum_finite, factors))
    if divisor == 0:
        return math.nan
    total = exact_sum(losses, weights, where)
    return total / divisor if isinstance(total, Fraction) else total


def slices_of(shape: tuple[int, ...], axis: Any) -> tuple[set[int], list[tuple[Any, ...]]]:
    """The axes that are summed over (all of them for None), and the index of each slice that is summed."""
    every = set(range(len(shape)))
    axes = every if axis is None else {k % len(shape) for k in ((axis,) if isinstance(axis, int) else axis)}
    left = tuple(1 if k in axes else n for k, n in enumerate(shape))
    return axes, [tuple(slice(None) if k in axes else index[k] for k in sorted(every)) for index in np.ndindex(*left)]


def reduced_slices(
    losses: np.ndarray, reduction: str, weights: Any = None, where: Any = None, axis: Any = None, most: int | None = None
) -> dict[int, np.floating]:
    """What `sum` or `mean` must return for each slice, by its number, exact and then rounded once: of all, or at `most` of some."""
    exact = {"sum": exact_sum, "mean": exact_mean}[reduction]
    _, slices = slices_of(losses.shape, axis)
    full = [None if operand is None else np.broadcast_to(np.asarray(operand), losses.shape) for operand in (weights, where)]
    some = range(len(slices)) if most is None or len(slices) <= most else np.linspace(0, len(slices) - 1, most, dtype=int).tolist()
    return {
        k: round_fraction(exact(losses[slices[k]], *(None if part is None else part[slices[k]] for part in full)), losses.dtype)
        for k in some
    }


def reduced(
    losses: np.ndarray, reduction: str, weights: Any = None, where: Any = None, axis: Any = None, keepdims: bool = False
) -> Any:
    """What `sum` or `mean` must return for these elementwise losses: exact per slice, then rounded once to their dtype."""
    axes, _ = slices_of(losses.shape, axis)
    results = list(reduced_slices(losses, reduction, weights, where, axis).values())
    left = (1 if k in axes else n for k, n in enumerate(losses.shape) if keepdims or k not in axes)
    return np.array(results, losses.dtype).reshape(tuple(left))[()]


def weighted(losses: np.ndarray, weights: Any, where: Any) -> np.ndarray:
    """What `none` must return: weight times loss rounded once, and 0 for what is removed."""
    result = np.zeros(losses.shape, losses.dtype)
    keep = selection(losses.shape, weights, where)
    if weights is None:
        result[keep] = losses[keep]
        return result
    factors = np.broadcast_to(np.asarray(weights), losses.shape)[keep]
    factors = factors if factors.dtype.kind in "iu" else factors.astype(np.float64)
    pairs = zip(losses[keep].astype(np.float64).tolist(), factors.tolist(), strict=True)
    result[keep] = [round_fraction(Fraction(a) * Fraction(w) if math.isfinite(a) else a, losses.dtype) for a, w in pairs]
    return result
