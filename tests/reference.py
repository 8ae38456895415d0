"""The oracle: every loss, sum and rounding of cylosses in exact arithmetic, slow and plain.

Decisions and their reasons:

a. Exact means `fractions.Fraction`. Floats convert to fractions without error, so that nothing here rounds until
   `round_fraction` does, once, straight into the format asked for.
b. A formula uses nothing but arithmetic and comparisons, so it accepts `mpmath.mpf` too: that is how its derivatives
   are checked by central differences, and what a loss with a square root returns (60 digits).
c. Formulas see finite errors only. Infinite and NaN errors are one rule for all losses, in `elementwise`.
d. Sums are taken of the *elementwise results of the library* (DESIGN 2.5): whether those are right is a question of
   ulps, whether the sum of them is right is a question of bits, and the two are asked separately.
e. `ORACLE` has the keys of `cylosses.losses.LOSSES`. Adding a loss to the tests is adding one entry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

Exact = Any  # Fraction, mpf, or the floats inf, -inf and nan


# Formats ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Format:
    """A binary floating-point format."""

    precision: int  # bits of the significand, the implicit one included
    lowest: int  # the smallest subnormal is 2**lowest
    overflow: int  # the first power of two that is too large is 2**overflow


FORMATS = {
    "float16": Format(11, -24, 16),
    "bfloat16": Format(8, -133, 128),
    "float32": Format(24, -149, 128),
    "float64": Format(53, -1074, 1024),
}


def _format(dtype: Any) -> Format:
    return FORMATS[dtype if dtype == "bfloat16" else np.dtype(dtype).name]


def as_fraction(number: Any) -> Fraction:
    """The exact value of a finite float, NumPy scalar, integer, mpf or fraction."""
    if isinstance(number, mpmath.mpf):
        return Fraction(*mpmath.libmp.to_rational(number._mpf_))
    if isinstance(number, np.generic):
        number = number.item()
    return Fraction(number)


def _floor_log2(value: Fraction) -> int:
    """The exponent of the binade that holds a positive fraction."""
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    return exponent if Fraction(2) ** exponent <= value else exponent - 1


def ulp(value: Exact, dtype: Any) -> Fraction:
    """The distance between neighbouring numbers of the format around `value`: constant below the smallest normal."""
    form = _format(dtype)
    if value == 0:
        return Fraction(2) ** form.lowest
    return Fraction(2) ** max(_floor_log2(abs(as_fraction(value))) - form.precision + 1, form.lowest)


def round_fraction(value: Exact, dtype: Any) -> np.floating:
    """Round an exact number to the nearest float of `dtype`, ties to even, in one step.

    The result is a NumPy scalar of that dtype (float32 for "bfloat16", which NumPy lacks). No other format lies
    between: half-way cases of float32 that float64 would hide come out right.
    """
    form = _format(dtype)
    scalar = np.float32 if dtype == "bfloat16" else np.dtype(dtype).type
    if isinstance(value, float) and not math.isfinite(value):
        return scalar(value)
    value = as_fraction(value)
    unit = ulp(value, dtype)
    steps = round(value / unit)  # Python rounds a fraction to the nearest integer, ties to even
    if abs(steps * unit) >= Fraction(2) ** form.overflow:
        return scalar(math.copysign(math.inf, steps))
    # At most 53 bits times a power of two that the format has: both conversions are exact.
    return scalar(math.ldexp(steps, _floor_log2(unit)))


def ulp_error(got: Any, exact: Exact, dtype: Any) -> float:
    """How far a computed number is from the exact one, in units in the last place of the exact one.

    An infinity counts as the first power of two beyond the format: it is wrong by less than one ulp just above the
    largest number, and by a lot below. NaN is right only where NaN is expected.
    """
    got = float(got)
    if isinstance(exact, float) and not math.isfinite(exact):
        return 0.0 if got == exact or (math.isnan(got) and math.isnan(exact)) else math.inf
    if math.isnan(got):
        return math.inf
    exact = as_fraction(exact)
    limit = Fraction(2) ** _format(dtype).overflow
    if math.isinf(got):
        if abs(exact) >= limit and (exact > 0) == (got > 0):
            return 0.0
        return float(abs(math.copysign(1, got) * limit - exact) / ulp(exact, dtype))
    return float(abs(Fraction(got) - exact) / ulp(exact, dtype))


# Sums ---------------------------------------------------------------------------------------------------------------


def _select(terms: Any, weights: Any, where: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Flat float64 copies of the terms and weights that take part: selected, and with a weight other than zero."""
    terms = np.asarray(terms)
    keep = np.broadcast_to(True if where is None else np.asarray(where), terms.shape)
    if weights is None:
        return terms[keep].astype(np.float64), None
    weights = np.broadcast_to(np.asarray(weights), terms.shape)
    keep = keep & (weights != 0)
    return terms[keep].astype(np.float64), weights[keep].astype(np.float64)


def _significands(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finite float64 values as int64 significands and exponents: value = significand * 2**exponent, exactly."""
    significand, exponent = np.frexp(values)
    return np.ldexp(significand, 53).astype(np.int64), exponent.astype(np.int64) - 53


def _sum_finite(values: np.ndarray) -> Fraction:
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
    return _sum_finite(terms) if factors is None else _sum_products(terms, factors)


def exact_mean(losses: Any, weights: Any = None, where: Any = None) -> Exact:
    """The exact sum divided by the number of selected elements, or by the sum of their weights; NaN without any."""
    terms, factors = _select(losses, weights, where)
    divisor = Fraction(terms.size) if factors is None else _sum_finite(factors)
    if divisor == 0:
        return math.nan
    total = exact_sum(losses, weights, where)
    return total / divisor if isinstance(total, Fraction) else total


def reduced(losses: np.ndarray, reduction: str) -> np.floating:
    """What `sum` or `mean` must return for these elementwise losses: exact, then rounded once to their dtype."""
    exact = {"sum": exact_sum, "mean": exact_mean}[reduction](losses)
    return round_fraction(exact, losses.dtype)


# Gradients ----------------------------------------------------------------------------------------------------------


def scaled_gradient(derivative: np.ndarray, grad_output: Any, divisor: int = 1) -> np.ndarray:
    """The elementwise gradient that follows from the derivative: scaled in float64, rounded once to its dtype."""
    with np.errstate(all="ignore"):
        scale = np.asarray(grad_output, np.float64) / np.float64(divisor)
        return (derivative.astype(np.float64) * scale).astype(derivative.dtype)


def summed_gradient(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of an operand of `shape` that was broadcast: elementwise gradients summed exactly, rounded once."""
    padded = (1,) * (gradient.ndim - len(shape)) + tuple(shape)
    result = np.empty(padded, gradient.dtype)
    for index in np.ndindex(*padded):
        block = tuple(slice(None) if size == 1 else at for at, size in zip(index, padded, strict=True))
        result[index] = round_fraction(exact_sum(gradient[block]), gradient.dtype)
    return result.reshape(shape)


# Losses -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Oracle:
    """One loss: its exact formulas as functions of the error d and the parameter p, and what to test it with."""

    value: Callable[[Exact, Exact], Exact]
    derivative: Callable[[Exact, Exact], Exact]
    second_derivative: Callable[[Exact, Exact], Exact]
    at_infinity: Callable[[Exact], tuple[float, float, float]]  # value and derivatives at d = +inf; even, odd, even
    kinks: Callable[[Exact], list[Exact]]  # the errors where a derivative jumps
    parameter: str
    default: float
    parameters: tuple[float, ...]  # sensible values to test with
    rejected: tuple[float, ...]  # values that must be refused
    value_ulps: float  # largest error allowed
    derivative_ulps: float  # 0.5 means correctly rounded, and is tested bit for bit
    examples: tuple[tuple[str, str, str, str, str], ...]  # by hand: d, p, value, derivative, second derivative


def _sign(d: Exact) -> int:
    return (d > 0) - (d < 0)


def _smooth_l1(d: Exact, beta: Exact) -> Exact:
    #  |d| <  beta   d**2 / (2 beta)
    #  |d| >= beta   |d| - beta / 2
    if beta == math.inf:
        return d * 0
    return d * d / (2 * beta) if abs(d) < beta else abs(d) - beta / 2


def _smooth_l1_derivative(d: Exact, beta: Exact) -> Exact:
    if beta == math.inf:
        return d * 0
    return d / beta if abs(d) < beta else d * 0 + _sign(d)


def _smooth_l1_second_derivative(d: Exact, beta: Exact) -> Exact:
    return 1 / beta if abs(d) < beta < math.inf else d * 0


ORACLE: dict[str, Oracle] = {
    "smooth_l1": Oracle(
        value=_smooth_l1,
        derivative=_smooth_l1_derivative,
        second_derivative=_smooth_l1_second_derivative,
        at_infinity=lambda beta: (math.inf, 1.0, 0.0),
        kinks=lambda beta: [beta, -beta],
        parameter="beta",
        default=1.0,
        parameters=(1.0, 0.5, 0.1, 3.2825210439, 0.0, 1e-30, 1e-42, 1e-60, 1e30, math.inf),
        rejected=(-1.0, -1e-60, -math.inf, math.nan),
        value_ulps=2,
        derivative_ulps=0.5,
        examples=(
            ("0", "1", "0", "0", "1"),
            ("1/2", "1", "1/8", "1/2", "1"),
            ("-1/2", "1", "1/8", "-1/2", "1"),
            ("1", "1", "1/2", "1", "0"),
            ("8", "1", "15/2", "1", "0"),
            ("-8", "1", "15/2", "-1", "0"),
            ("1/10", "1/2", "1/100", "1/5", "2"),
            ("3", "4", "9/8", "3/4", "1/4"),
            ("-3", "0", "3", "-1", "0"),
            ("0", "0", "0", "0", "0"),
        ),
    )
}


def difference(inputs: Any, targets: Any, dtype: Any) -> np.ndarray:
    """The error d = input - target: both operands in the working dtype, one rounding."""
    with np.errstate(all="ignore"):
        return np.subtract(np.asarray(inputs).astype(dtype), np.asarray(targets).astype(dtype))


def working_parameter(parameter: float, dtype: Any) -> Exact:
    """The parameter as the kernels see it: rounded to the working dtype, where it may become 0 or infinite."""
    with np.errstate(all="ignore"):
        rounded = float(np.dtype(dtype).type(parameter))
    return Fraction(rounded) if math.isfinite(rounded) else rounded


def elementwise(name: str, what: str, errors: Iterable[Any], parameter: float, dtype: Any) -> list[Exact]:
    """The exact "value", "derivative" or "second_derivative" of a loss at errors that are floats of `dtype`."""
    oracle = ORACLE[name]
    formula = getattr(oracle, what)
    p = working_parameter(parameter, dtype)
    order = ["value", "derivative", "second_derivative"].index(what)
    results = []
    for error in np.ravel(errors).tolist():
        if math.isnan(error):
            results.append(math.nan)
        elif math.isinf(error):
            limit = oracle.at_infinity(p)[order]
            results.append(math.copysign(limit, error) if what == "derivative" else limit)
        else:
            results.append(formula(Fraction(error), p))
    return results


# Comparison ---------------------------------------------------------------------------------------------------------


def same_bits(got: Any, expected: Any) -> bool:
    """Equal dtype, shape and bits; zeros must agree in sign. Any NaN equals any other: their bits mean nothing."""
    got, expected = np.asarray(got), np.asarray(expected)
    if got.dtype != expected.dtype or got.shape != expected.shape:
        return False
    equal = (got == expected) & (np.signbit(got) == np.signbit(expected))
    return bool(np.all(equal | (np.isnan(got) & np.isnan(expected))))
