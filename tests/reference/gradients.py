"""Exact gradients and Hessians of reduced losses, from the derivatives of elements."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np

from .formats import Exact, floor_log2, format_of, power_of_two, round_fraction, ulp_error
from .sums import doubles, exact_sum, selection, slices_of, sum_finite

# How far gradients and Hessians may be from derivative * weight * grad_output / divisor, in ulp of the result's dtype. In float64
# the factor of a mean, weight * grad_output / divisor, is rounded to a float64 before the derivative is multiplied with it, and
# the product once more: each costs up to half an ulp of its own, the first up to a whole one of the result, whose significand
# may be the smaller one. The narrower dtypes round a float64 to which neither adds more than a few millionths of their ulp;
# the half precisions round a float32 on the way, which adds up to 2**-13 ulp in float16.
GRADIENT_ULPS = {"float16": 0.52, "bfloat16": 0.52, "float32": 0.51, "float64": 1.5}


def divisors(shape: tuple[int, ...], weights: Any = None, where: Any = None, axis: Any = None) -> np.ndarray:
    """What `mean` divides by, as fractions, for each slice: of the shape of the call, with ones for what is summed."""
    axes, slices = slices_of(shape, axis)
    ones = np.broadcast_to(np.float64(1) if weights is None else np.asarray(weights), shape)
    keep = selection(shape, weights, where)
    results = np.empty(len(slices), object)
    results[:] = [sum(map(sum_finite, doubles(ones[index][keep[index]])), Fraction(0)) for index in slices]
    return results.reshape([1 if k in axes else n for k, n in enumerate(shape)])


def _product(slope: float, weight: Any, incoming: Any, divisor: Any) -> Exact:
    if math.isnan(slope) or math.isnan(incoming):
        return math.nan
    if math.isinf(slope) or math.isinf(incoming):
        return slope * incoming  # NaN for 0 times infinity; a weight and a divisor are positive
    return Fraction(slope) * Fraction(weight) * Fraction(incoming) / Fraction(divisor)


def _places(operand: Any, shape: tuple[int, ...], at: np.ndarray | None) -> np.ndarray:
    """The elements of an operand that broadcasts to `shape` at flat places, all by default: flat, and floats in float64."""
    operand = np.asarray(operand)
    full = np.broadcast_to(operand if operand.dtype.kind in "iuO" else operand.astype(np.float64), shape)
    return full.ravel() if at is None else full[np.unravel_index(at, shape)] if shape else full.ravel()[at]


def exact_scaled_gradient(
    derivative: np.ndarray,
    grad_output: Any = 1,
    divisor: Any = 1,
    weights: Any = None,
    where: Any = None,
    wrt: str = "input",
    at: np.ndarray | None = None,
) -> list[Exact]:
    """derivative * weight * grad_output / divisor of each element, or of those at flat places, without any rounding.

    The derivative is the library's, in the working dtype; the same holds for second derivatives and IRLS weights. What is removed
    is 0, whatever it holds. NaN stays NaN, and an infinite derivative or grad_output gives infinity, or NaN times 0.
    """
    shape = derivative.shape
    keep = selection(shape, weights, where).ravel()
    keep = keep if at is None else keep[at]
    sign = -1 if wrt == "target" else 1
    columns = [
        _places(operand, shape, at).tolist() for operand in (derivative, 1 if weights is None else weights, grad_output, divisor)
    ]
    return [sign * _product(*row) if kept else Fraction(0) for kept, *row in zip(keep.tolist(), *columns, strict=True)]


def worst_ulp(got: Any, exact: Iterable[Exact]) -> float:
    """The largest error of computed numbers, in units in the last place of their own dtype; 0 without any."""
    got = np.asarray(got)
    pairs = zip(got.astype(np.float64).ravel().tolist(), exact, strict=True)
    return max((ulp_error(number, value, got.dtype) for number, value in pairs), default=0.0)


def _long(numbers: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers or fractions as long doubles, whose exponents reach farther, of a shape that they broadcast to: flat."""
    numbers = np.asarray(numbers)
    if numbers.dtype == object:
        scaled = [(n / power_of_two(e), e) for n, e in ((n, floor_log2(n) if n else 0) for n in map(Fraction, numbers.flat))]
        numbers = np.array([np.ldexp(np.longdouble(float(n)), e) for n, e in scaled], np.longdouble).reshape(numbers.shape)
    return np.broadcast_to(numbers.astype(np.longdouble), shape).ravel()


def suspects(got: np.ndarray, factors: Iterable[Any], divisor: Any, most: int) -> np.ndarray:
    """Flat places of a result that are worth exact arithmetic: all of a few, else those that are farthest off, and others.

    Far off from the product of the factors over the divisor in long doubles, which choose, and decide nothing.
    """
    if got.size <= most:
        return np.arange(got.size)
    form = format_of(got.dtype)
    with np.errstate(all="ignore"):
        approximate = 1 / _long(divisor, got.shape)
        for factor in factors:
            approximate = approximate * _long(factor, got.shape)
        computed = got.astype(np.longdouble).ravel()
        unit = np.maximum(abs(approximate) * np.longdouble(2) ** (1 - form.precision), np.longdouble(2) ** form.lowest)
        distance = abs(computed - approximate) / unit
        distance = np.where((computed == approximate) | (np.isnan(computed) & np.isnan(approximate)), 0, distance)
        distance = np.where(np.isnan(distance), np.inf, distance)
    return np.unique(
        np.concatenate([np.argpartition(distance, -most // 2)[-most // 2 :], np.linspace(0, got.size - 1, most // 2, dtype=int)])
    )


def gradient_error(
    got: Any,
    derivative: np.ndarray,
    grad_output: Any = 1,
    divisor: Any = 1,
    weights: Any = None,
    where: Any = None,
    wrt: str = "input",
) -> tuple[float, int | None, Exact]:
    """The largest error of a gradient or Hessian in ulp, the flat place where it is, and what is exact there.

    Of large arrays, some forty elements are compared: see `suspects`.
    """
    got = np.asarray(got)
    if got.shape != derivative.shape:
        return math.inf, None, math.nan
    keep = selection(got.shape, weights, where)
    slopes = np.where(keep, derivative, derivative.dtype.type(0))
    sign = -1 if wrt == "target" else 1
    at = suspects(got, (slopes, sign, 1 if weights is None else weights, grad_output), divisor, 40)
    exact = exact_scaled_gradient(derivative, grad_output, divisor, weights, where, wrt, at)
    found = [worst_ulp(number, [value]) for number, value in zip(got.ravel()[at], exact, strict=True)]
    worst = int(np.argmax(found)) if found else None
    return (0.0, None, math.nan) if worst is None else (found[worst], int(at[worst]), exact[worst])


def is_scaled(got: Any, derivative: np.ndarray, *factors: Any, **more: Any) -> bool:
    """Whether a gradient or Hessian is the derivative times `gradient_error`'s factors, as near as GRADIENT_ULPS demands."""
    return gradient_error(got, derivative, *factors, **more)[0] <= GRADIENT_ULPS[np.asarray(got).dtype.name]


def summed_gradient(gradient: np.ndarray, shape: tuple[int, ...], at: np.ndarray | None = None) -> np.ndarray:
    """The gradient of an operand of `shape` that was broadcast: elementwise gradients summed exactly, rounded once.

    Of its elements at flat places, if they are given.
    """
    padded = (1,) * (gradient.ndim - len(shape)) + tuple(shape)
    places = np.arange(math.prod(padded)) if at is None else at
    result = np.empty(places.size, gradient.dtype)
    for k, place in enumerate(places.tolist()):
        index = np.unravel_index(place, padded)
        block = tuple(slice(None) if size == 1 else j for j, size in zip(index, padded, strict=True))
        result[k] = round_fraction(exact_sum(gradient[block]), gradient.dtype)
    return result.reshape(shape) if at is None else result


def suspected_sums(got: np.ndarray, gradient: np.ndarray, most: int) -> np.ndarray:
    """Flat places of the gradient of an operand that was broadcast, as `suspects`."""
    padded = (1,) * (gradient.ndim - got.ndim) + got.shape
    axes = tuple(k for k, n in enumerate(padded) if n == 1)
    with np.errstate(all="ignore"):
        return suspects(got, [gradient.astype(np.longdouble).sum(axes).reshape(got.shape)], 1, most)
