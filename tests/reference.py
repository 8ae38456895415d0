"""The oracle: every loss, sum and rounding of cylosses in exact arithmetic, slow and plain.

Decisions and their reasons:

a. Exact means `fractions.Fraction`. Floats convert to fractions without error, so that nothing here rounds until
   `round_fraction` does, once, straight into the format asked for.
b. A formula uses nothing but arithmetic and comparisons, so it accepts `mpmath.mpf` too: that is how its derivatives
   are checked by central differences, and what a loss with a square root returns (60 digits).
c. Formulas see finite errors only. Infinite and NaN errors are one rule for all losses, in `elementwise`.
d. Sums are taken of the *elementwise results of the library* (DESIGN 2.5): whether those are right is a question of
   ulps, whether the sum of them is right is a question of bits, and the two are asked separately.
e. Weights and masks remove first: an element that is not selected, or has weight 0, is in no sum and no result.
f. `ORACLE` has the keys of `cylosses.losses.LOSSES`. Adding a loss to the tests is adding one entry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import ml_dtypes
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


BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = (np.dtype(np.float16), BFLOAT16, np.dtype(np.float32), np.dtype(np.float64))
INTEGERS = tuple(np.dtype(name) for name in ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"))


def result_dtype(*dtypes: np.dtype) -> np.dtype:
    """What DESIGN 2.4 says: the widest float, float32 for the two half precisions together, float64 without floats."""
    floats = {dtype for dtype in dtypes if dtype in FLOATS}
    if floats == {np.dtype(np.float16), BFLOAT16}:
        return np.dtype(np.float32)
    return max(floats, key=lambda dtype: dtype.itemsize, default=np.dtype(np.float64))


def working_dtype(result: np.dtype) -> np.dtype:
    return np.dtype(np.float64) if result == np.float64 else np.dtype(np.float32)


def _format(dtype: Any) -> Format:
    return FORMATS[dtype if isinstance(dtype, str) and dtype == "bfloat16" else np.dtype(dtype).name]


def as_fraction(number: Any) -> Fraction:
    """The exact value of a finite float, NumPy scalar, integer, mpf or fraction."""
    if isinstance(number, mpmath.mpf):
        return Fraction(*mpmath.libmp.to_rational(number._mpf_))
    if isinstance(number, np.generic):
        number = number.item()
    return Fraction(number)


def _floor_log2(value: Fraction) -> int:
    """The exponent of the binade that holds a positive fraction."""
    top, bottom = value.numerator, value.denominator
    exponent = top.bit_length() - bottom.bit_length()
    reaches = bottom << exponent <= top if exponent >= 0 else bottom <= top << -exponent
    return exponent if reaches else exponent - 1


def _power_of_two(exponent: int) -> Fraction:
    return Fraction(1 << exponent) if exponent >= 0 else Fraction(1, 1 << -exponent)


def ulp(value: Exact, dtype: Any) -> Fraction:
    """The distance between neighbouring numbers of the format around `value`: constant below the smallest normal."""
    form = _format(dtype)
    if value == 0:
        return _power_of_two(form.lowest)
    return _power_of_two(max(_floor_log2(abs(as_fraction(value))) - form.precision + 1, form.lowest))


def round_fraction(value: Exact, dtype: Any) -> np.floating:
    """Round an exact number to the nearest float of `dtype`, ties to even, in one step.

    The result is a NumPy scalar of that dtype (float32 for the string "bfloat16", which NumPy lacks without
    ml_dtypes). No other format lies between: half-way cases of float32 that float64 would hide come out right.
    """
    form = _format(dtype)
    scalar = np.float32 if isinstance(dtype, str) and dtype == "bfloat16" else np.dtype(dtype).type
    if isinstance(value, float) and not math.isfinite(value):
        return scalar(value)
    value = as_fraction(value)
    unit = ulp(value, dtype)
    steps = round(value / unit)  # Python rounds a fraction to the nearest integer, ties to even
    if abs(steps * unit) >= _power_of_two(form.overflow):
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
    limit = _power_of_two(_format(dtype).overflow)
    unit = ulp(exact, dtype)
    if math.isinf(got):
        if abs(exact) >= limit and (exact > 0) == (got > 0):
            return 0.0
        got = limit if got > 0 else -limit
    return float(
        min(abs(Fraction(got) - exact) / unit, Fraction(2) ** 1000)
    )  # of a wrong infinity, it may be more than floats hold


# Sums ---------------------------------------------------------------------------------------------------------------


def _doubles(numbers: np.ndarray) -> list[np.ndarray]:
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
    return terms[keep].astype(np.float64), _doubles(np.broadcast_to(np.asarray(weights), terms.shape)[keep])


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
    return _sum_finite(terms) if factors is None else sum(_sum_products(terms, part) for part in factors)


def exact_mean(losses: Any, weights: Any = None, where: Any = None) -> Exact:
    """The exact sum divided by the number of selected elements, or by the sum of their weights; NaN without any."""
    terms, factors = _select(losses, weights, where)
    divisor = Fraction(terms.size) if factors is None else sum(map(_sum_finite, factors))
    if divisor == 0:
        return math.nan
    total = exact_sum(losses, weights, where)
    return total / divisor if isinstance(total, Fraction) else total


def _slices(shape: tuple[int, ...], axis: Any) -> tuple[set[int], list[tuple[Any, ...]]]:
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
    _, slices = _slices(losses.shape, axis)
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
    axes, _ = _slices(losses.shape, axis)
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


# Gradients ----------------------------------------------------------------------------------------------------------


# How far gradients and Hessians may be from derivative * weight * grad_output / divisor, in ulp of the result's dtype. In float64
# the factor of a mean, weight * grad_output / divisor, is rounded to a float64 before the derivative is multiplied with it, and
# the product once more: each costs up to half an ulp of its own, the first up to a whole one of the result, whose significand
# may be the smaller one. The narrower dtypes round a float64 to which neither adds more than a few millionths of their ulp;
# the half precisions round a float32 on the way, which adds up to 2**-13 ulp in float16.
GRADIENT_ULPS = {"float16": 0.52, "bfloat16": 0.52, "float32": 0.51, "float64": 1.5}


def divisors(shape: tuple[int, ...], weights: Any = None, where: Any = None, axis: Any = None) -> np.ndarray:
    """What `mean` divides by, as fractions, for each slice: of the shape of the call, with ones for what is summed."""
    axes, slices = _slices(shape, axis)
    ones = np.broadcast_to(np.float64(1) if weights is None else np.asarray(weights), shape)
    keep = selection(shape, weights, where)
    results = np.empty(len(slices), object)
    results[:] = [sum(map(_sum_finite, _doubles(ones[index][keep[index]])), Fraction(0)) for index in slices]
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
        scaled = [(n / _power_of_two(e), e) for n, e in ((n, _floor_log2(n) if n else 0) for n in map(Fraction, numbers.flat))]
        numbers = np.array([np.ldexp(np.longdouble(float(n)), e) for n, e in scaled], np.longdouble).reshape(numbers.shape)
    return np.broadcast_to(numbers.astype(np.longdouble), shape).ravel()


def suspects(got: np.ndarray, factors: Iterable[Any], divisor: Any, most: int) -> np.ndarray:
    """Flat places of a result that are worth exact arithmetic: all of a few, else those that are farthest off, and others.

    Far off from the product of the factors over the divisor in long doubles, which choose, and decide nothing.
    """
    if got.size <= most:
        return np.arange(got.size)
    form = _format(got.dtype)
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


def summed_gradient(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of an operand of `shape` that was broadcast: elementwise gradients summed exactly, rounded once."""
    padded = (1,) * (gradient.ndim - len(shape)) + tuple(shape)
    result = np.empty(padded, gradient.dtype)
    for index in np.ndindex(*padded):
        block = tuple(slice(None) if size == 1 else at for at, size in zip(index, padded, strict=True))
        result[index] = round_fraction(exact_sum(gradient[block]), gradient.dtype)
    return result.reshape(shape)


# Losses -------------------------------------------------------------------------------------------------------------


QUANTITIES = ("value", "derivative", "second_derivative", "irls_weight")
IRLS_CAP = 2**20  # the IRLS weight psi(d) / d of losses with a kink is that of the error 1 / IRLS_CAP nearer to it


@dataclass(frozen=True)
class Oracle:
    """One loss: its exact formulas as functions of the error d and the parameter p, and what to test it with."""

    value: Callable[[Exact, Exact], Exact]
    derivative: Callable[[Exact, Exact], Exact]
    second_derivative: Callable[[Exact, Exact], Exact]
    irls_weight: Callable[[Exact, Exact], Exact]
    at_infinity: Callable[[Exact, int], tuple[Exact, ...]]  # the four at d = sign * inf; None where nothing is promised
    kinks: Callable[[Exact], list[Exact]]  # the errors where a derivative jumps
    parameter: str | None  # None for a loss without; p is then 0 and means nothing
    default: float
    valid: Callable[[Exact], bool]
    parameters: tuple[float, ...]  # sensible values to test with; float32 may not accept the most extreme
    rejected: tuple[float, ...]  # values that must be refused
    ulps: tuple[float, float, float, float]  # largest errors allowed; 0.5 is correctly rounded, and tested bit for bit
    examples: tuple[tuple[str, ...], ...]  # by hand: d, p, value, derivative, second derivative, IRLS weight
    majorises: bool = True  # whether the parabola of the IRLS weight lies above the loss everywhere

    def setting(self, parameter: float) -> dict[str, float]:
        """The parameter as a keyword argument; none for a loss without."""
        return {} if self.parameter is None else {self.parameter: parameter}

    def some_parameters(self, dtype: Any) -> list[float]:
        """The default, and a small and a zero parameter if they are valid in the working dtype."""
        return [p for p in (self.default, 1e-3, 0.0) if self.parameter is None or self.valid(working_parameter(p, dtype))]


def _sign(d: Exact) -> int:
    return (d > 0) - (d < 0)


def _capped(d: Exact) -> Exact:
    least = d * 0 + Fraction(1, IRLS_CAP) if isinstance(d, Fraction) else d * 0 + mpmath.mpf(1) / IRLS_CAP
    return max(abs(d), least)


def _mpf(number: Exact) -> mpmath.mpf:
    return number if isinstance(number, mpmath.mpf) else mpmath.mpf(number.numerator) / number.denominator


def _in_60_digits(formula: Callable[[Exact, Exact], Exact]) -> Callable[[Exact, Exact], Exact]:
    """For formulas with a square root."""

    def evaluated(d: Exact, p: Exact) -> Exact:
        with mpmath.workdps(max(60, mpmath.mp.dps)):
            return formula(d, p)

    return evaluated


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


def _smooth_l1_irls_weight(d: Exact, beta: Exact) -> Exact:
    if beta == math.inf:
        return d * 0
    return 1 / _capped(d) if beta == 0 else 1 / max(abs(d), beta)


def _huber(d: Exact, delta: Exact) -> Exact:
    return d * d / 2 if abs(d) < delta else delta * (abs(d) - delta / 2)


def _huber_irls_weight(d: Exact, delta: Exact) -> Exact:
    return d * 0 + 1 if abs(d) <= delta else delta / abs(d)


def _tukey(d: Exact, c: Exact) -> Exact:
    # c**2 / 6 * (1 - (1 - u)**3), multiplied out: the digits of mpmath do not cancel
    u = (d / c) ** 2
    return d * d / 6 * (3 - 3 * u + u * u) if abs(d) < c else d * 0 + c * c / 6


def _tukey_taper(d: Exact, c: Exact) -> Exact:
    return (1 - abs(d) / c) * (1 + abs(d) / c) if abs(d) < c else d * 0


def _quantile_slope(d: Exact, q: Exact) -> Exact:
    return q if d < 0 else 1 - q


def _pseudo_huber_root(d: Exact, delta: Exact) -> mpmath.mpf:
    return mpmath.sqrt(_mpf(1 + (d / delta) ** 2)) if delta != math.inf else mpmath.mpf(1)


@_in_60_digits
def _charbonnier_root(d: Exact, eps: Exact) -> mpmath.mpf:
    return mpmath.sqrt(_mpf(d * d + eps * eps))


@_in_60_digits
def _pseudo_huber(d: Exact, delta: Exact) -> mpmath.mpf:
    # delta**2 * (root - 1), without cancellation
    return _mpf(d * d) / (1 + _pseudo_huber_root(d, delta))


_POSITIVE = (1.0, 0.5, 0.1, 3.2825210439, 1e-30, 1e-42, 1e-60, 1e30)
_NOT_POSITIVE = (0.0, -0.0, -1.0, -1e-60, -math.inf, math.nan)
_NOT_AT_LEAST_ZERO = (-1.0, -1e-60, -math.inf, math.nan)

ORACLE: dict[str, Oracle] = {
    "smooth_l1": Oracle(
        value=_smooth_l1,
        derivative=_smooth_l1_derivative,
        second_derivative=_smooth_l1_second_derivative,
        irls_weight=_smooth_l1_irls_weight,
        at_infinity=lambda beta, sign: (math.inf, sign, 0, 0),
        kinks=lambda beta: [beta, -beta],
        parameter="beta",
        default=1.0,
        valid=lambda beta: beta >= 0,
        parameters=(*_POSITIVE, 0.0, math.inf),
        rejected=_NOT_AT_LEAST_ZERO,
        ulps=(2, 0.5, 0.5, 0.5),
        examples=(
            ("0", "1", "0", "0", "1", "1"),
            ("1/2", "1", "1/8", "1/2", "1", "1"),
            ("-1/2", "1", "1/8", "-1/2", "1", "1"),
            ("1", "1", "1/2", "1", "0", "1"),
            ("8", "1", "15/2", "1", "0", "1/8"),
            ("-8", "1", "15/2", "-1", "0", "1/8"),
            ("1/10", "1/2", "1/100", "1/5", "2", "2"),
            ("3", "4", "9/8", "3/4", "1/4", "1/4"),
            ("-3", "0", "3", "-1", "0", "1/3"),
            ("0", "0", "0", "0", "0", "1048576"),
        ),
    ),
    "l1": Oracle(
        value=lambda d, _: abs(d),
        derivative=lambda d, _: d * 0 + _sign(d),
        second_derivative=lambda d, _: d * 0,
        irls_weight=lambda d, _: 1 / _capped(d),
        at_infinity=lambda _, sign: (math.inf, sign, 0, 0),
        kinks=lambda _: [0],
        parameter=None,
        default=0.0,
        valid=lambda _: True,
        parameters=(0.0,),
        rejected=(),
        ulps=(0.5, 0.5, 0.5, 0.5),
        examples=(
            ("0", "0", "0", "0", "0", "1048576"),
            ("-3", "0", "3", "-1", "0", "1/3"),
            ("1/4", "0", "1/4", "1", "0", "4"),
            ("-1/2000000", "0", "1/2000000", "-1", "0", "1048576"),
        ),
    ),
    "mse": Oracle(
        value=lambda d, _: d * d,
        derivative=lambda d, _: 2 * d,
        second_derivative=lambda d, _: d * 0 + 2,
        irls_weight=lambda d, _: d * 0 + 2,
        at_infinity=lambda _, sign: (math.inf, sign * math.inf, 2, 2),
        kinks=lambda _: [],
        parameter=None,
        default=0.0,
        valid=lambda _: True,
        parameters=(0.0,),
        rejected=(),
        ulps=(0.5, 0.5, 0.5, 0.5),
        examples=(("0", "0", "0", "0", "2", "2"), ("-3", "0", "9", "-6", "2", "2"), ("1/4", "0", "1/16", "1/2", "2", "2")),
    ),
    "huber": Oracle(
        value=_huber,
        derivative=lambda d, delta: d if abs(d) < delta else delta * _sign(d),
        second_derivative=lambda d, delta: d * 0 + (abs(d) < delta),
        irls_weight=_huber_irls_weight,
        at_infinity=lambda delta, sign: (math.inf, sign * delta, *((None, None) if delta == math.inf else (0, 0))),
        kinks=lambda delta: [delta, -delta],
        parameter="delta",
        default=1.0,
        valid=lambda delta: delta > 0,
        parameters=(*_POSITIVE, 1.345, math.inf),
        rejected=_NOT_POSITIVE,
        ulps=(2, 0.5, 0.5, 0.5),
        examples=(
            ("0", "2", "0", "0", "1", "1"),
            ("3/2", "2", "9/8", "3/2", "1", "1"),
            ("2", "2", "2", "2", "0", "1"),
            ("-8", "2", "14", "-2", "0", "1/4"),
            ("1/4", "1/8", "3/128", "1/8", "0", "1/2"),
        ),
    ),
    "tukey": Oracle(
        value=_tukey,
        derivative=lambda d, c: d * _tukey_taper(d, c) ** 2,
        second_derivative=lambda d, c: _tukey_taper(d, c) * (1 - 5 * (d / c) ** 2),
        irls_weight=lambda d, c: _tukey_taper(d, c) ** 2,
        at_infinity=lambda c, sign: (c * c / 6, 0, 0, 0),
        kinks=lambda c: [c, -c],
        parameter="c",
        default=4.685,
        valid=lambda c: 0 < c < math.inf,
        parameters=(4.685, *_POSITIVE, 1e19, 1e300),
        rejected=(*_NOT_POSITIVE, math.inf),
        ulps=(4, 4, 4, 4),
        examples=(
            ("0", "2", "0", "0", "1", "1"),
            ("1", "2", "37/96", "9/16", "-3/16", "9/16"),
            ("-1", "2", "37/96", "-9/16", "-3/16", "9/16"),
            ("2", "2", "2/3", "0", "0", "0"),
            ("-50", "2", "2/3", "0", "0", "0"),
        ),
    ),
    "quantile": Oracle(
        value=lambda d, q: _quantile_slope(d, q) * abs(d),
        derivative=lambda d, q: d * 0 + _quantile_slope(d, q) * _sign(d),
        second_derivative=lambda d, q: d * 0,
        irls_weight=lambda d, q: _quantile_slope(d, q) / _capped(d),
        at_infinity=lambda q, sign: (math.inf if _quantile_slope(sign, q) else 0, 1 - q if sign > 0 else -q, 0, 0),
        kinks=lambda q: [0],
        parameter="q",
        default=0.5,
        valid=lambda q: 0 <= q <= 1,
        parameters=(0.5, 0.1, 0.9, 0.75, 1e-3, 1e-30, 1e-42, 1e-60, 1 - 2.0**-24, 1 - 2.0**-50, 0.0, 1.0),
        rejected=(*_NOT_AT_LEAST_ZERO, 1 + 2.0**-52, 1.5, math.inf),
        ulps=(2, 0.5, 0.5, 2),
        examples=(
            ("0", "3/4", "0", "0", "0", "262144"),
            ("-2", "3/4", "3/2", "-3/4", "0", "3/8"),
            ("2", "3/4", "1/2", "1/4", "0", "1/8"),
        ),
        majorises=False,
    ),
    "epsilon_insensitive": Oracle(
        value=lambda d, epsilon: max(abs(d) - epsilon, d * 0) if epsilon < math.inf else d * 0,
        derivative=lambda d, epsilon: d * 0 + (_sign(d) if abs(d) > epsilon else 0),
        second_derivative=lambda d, epsilon: d * 0,
        irls_weight=lambda d, epsilon: 1 / _capped(d) if abs(d) > epsilon else d * 0,
        at_infinity=lambda epsilon, sign: (math.inf, sign, 0, 0),
        kinks=lambda epsilon: [epsilon, -epsilon],
        parameter="epsilon",
        default=0.1,
        valid=lambda epsilon: epsilon >= 0,
        parameters=(*_POSITIVE, 0.0, math.inf),
        rejected=_NOT_AT_LEAST_ZERO,
        ulps=(0.5, 0.5, 0.5, 0.5),
        examples=(
            ("0", "1/4", "0", "0", "0", "0"),
            ("1/4", "1/4", "0", "0", "0", "0"),
            ("1/2", "1/4", "1/4", "1", "0", "2"),
            ("-8", "1/4", "31/4", "-1", "0", "1/8"),
            ("-8", "0", "8", "-1", "0", "1/8"),
            ("0", "0", "0", "0", "0", "0"),
        ),
        majorises=False,
    ),
    "pseudo_huber": Oracle(
        value=_pseudo_huber,
        derivative=_in_60_digits(lambda d, delta: _mpf(d) / _pseudo_huber_root(d, delta)),
        second_derivative=_in_60_digits(lambda d, delta: 1 / _pseudo_huber_root(d, delta) ** 3),
        irls_weight=_in_60_digits(lambda d, delta: 1 / _pseudo_huber_root(d, delta)),
        at_infinity=lambda delta, sign: (math.inf, sign * delta, *((None, None) if delta == math.inf else (0, 0))),
        kinks=lambda delta: [],
        parameter="delta",
        default=1.0,
        valid=lambda delta: delta > 0,
        parameters=(*_POSITIVE, 1e300, math.inf),
        rejected=_NOT_POSITIVE,
        ulps=(4, 4, 4, 4),
        examples=(
            ("0", "4", "0", "0", "1", "1"),
            ("3", "4", "4", "12/5", "64/125", "4/5"),
            ("-3", "4", "4", "-12/5", "64/125", "4/5"),
            ("24", "7", "126", "168/25", "343/15625", "7/25"),
        ),
    ),
    "charbonnier": Oracle(
        value=_in_60_digits(_charbonnier_root),
        derivative=_in_60_digits(lambda d, eps: _mpf(d) / _charbonnier_root(d, eps)),
        second_derivative=_in_60_digits(lambda d, eps: _mpf(eps * eps) / _charbonnier_root(d, eps) ** 3),
        irls_weight=_in_60_digits(lambda d, eps: 1 / _charbonnier_root(d, eps)),
        at_infinity=lambda eps, sign: (math.inf, sign, 0, 0),
        kinks=lambda eps: [],
        parameter="eps",
        default=1e-3,
        valid=lambda eps: 0 < eps < math.inf,
        parameters=(1e-3, *_POSITIVE, 1e300),
        rejected=(*_NOT_POSITIVE, math.inf),
        ulps=(4, 4, 4, 4),
        examples=(
            ("0", "4", "4", "0", "1/4", "1/4"),
            ("3", "4", "5", "3/5", "16/125", "1/5"),
            ("-3", "4", "5", "-3/5", "16/125", "1/5"),
        ),
    ),
}


def exact_difference(inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The error d = input - target of integers or bools: exact, and rounded once to float64."""
    pairs = zip(*(operand.ravel().tolist() for operand in np.broadcast_arrays(inputs, targets)), strict=True)
    errors = [float(int(a) - int(b)) for a, b in pairs]  # Python rounds an integer to the nearest float, ties to even
    return np.array(errors, np.float64).reshape(np.broadcast_shapes(inputs.shape, targets.shape))


def difference(inputs: Any, targets: Any, dtype: Any) -> np.ndarray:
    """The error d = input - target: both operands in the working dtype, one rounding."""
    with np.errstate(all="ignore"):
        return np.subtract(np.asarray(inputs).astype(dtype), np.asarray(targets).astype(dtype))


def working_parameter(parameter: float, dtype: Any) -> Exact:
    """The parameter as the kernels see it: rounded to the working dtype, where it may become 0 or infinite."""
    with np.errstate(all="ignore"):
        rounded = float(np.dtype(dtype).type(parameter))
    return Fraction(rounded) if math.isfinite(rounded) else rounded


def accepts(name: str, parameter: float, dtype: Any) -> bool:
    """Whether a call in the working dtype accepts a parameter: it must be valid as given and as rounded."""
    oracle = ORACLE[name]
    return oracle.parameter is None or all(oracle.valid(working_parameter(parameter, d)) for d in (np.float64, dtype))


def elementwise(name: str, what: str, errors: Iterable[Any], parameter: float, dtype: Any) -> list[Exact]:
    """One of the exact QUANTITIES of a loss at errors that are floats of `dtype`; None where nothing is promised."""
    oracle = ORACLE[name]
    formula = getattr(oracle, what)
    p = working_parameter(parameter, dtype)
    results = []
    for error in np.ravel(errors).tolist():
        if math.isnan(error):
            results.append(math.nan)
        elif math.isinf(error):
            results.append(oracle.at_infinity(p, 1 if error > 0 else -1)[QUANTITIES.index(what)])
        else:
            results.append(formula(Fraction(error), p))
    return results


def central_difference(name: str, error: Any, parameter: float, order: int = 1) -> mpmath.mpf:
    """The first or second derivative at an error by differences of the value alone, right to 45 digits or more.

    The step is 2**-83 of the error. Curvature is as little as 2**-6000 of the value in float64: hence the 12000 bits.
    """
    p = working_parameter(parameter, error.dtype)
    with mpmath.workprec(12_000):
        p = p if isinstance(p, float) else _mpf(p)
        d = mpmath.mpf(float(error))
        step = mpmath.ldexp(abs(d), -83)
        below, at, above = (ORACLE[name].value(x, p) for x in (d - step, d, d + step))
        return (above - below) / (2 * step) if order == 1 else (above - 2 * at + below) / step**2


def largest_error(name: str, what: str, got: np.ndarray, errors: np.ndarray, parameter: float) -> tuple[float, int | None]:
    """The largest error of computed quantities in ulps, and where it is; None without any."""
    dtype = got.dtype
    expected = elementwise(name, what, errors, parameter, dtype)
    found = [0.0 if exact is None else ulp_error(g, exact, dtype) for g, exact in zip(got.tolist(), expected, strict=True)]
    worst = max(found, default=0.0)
    return worst, found.index(worst) if found else None


# Comparison ---------------------------------------------------------------------------------------------------------


def same_bits(got: Any, expected: Any) -> bool:
    """Equal dtype, shape and bits; zeros must agree in sign. Any NaN equals any other: their bits mean nothing."""
    got, expected = np.asarray(got), np.asarray(expected)
    if got.dtype != expected.dtype or got.shape != expected.shape:
        return False
    equal = (got == expected) & (np.signbit(got) == np.signbit(expected))
    return bool(np.all(equal | (np.isnan(got) & np.isnan(expected))))
