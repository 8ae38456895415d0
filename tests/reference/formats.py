"""Floating-point formats: exact values, one rounding, distances in units in the last place, bits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import ml_dtypes
import mpmath
import numpy as np

Exact = Any  # Fraction, mpf, or the floats inf, -inf and nan


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


def format_of(dtype: Any) -> Format:
    return FORMATS[dtype if isinstance(dtype, str) and dtype == "bfloat16" else np.dtype(dtype).name]


def as_fraction(number: Any) -> Fraction:
    """The exact value of a finite float, NumPy scalar, integer, mpf or fraction."""
    if isinstance(number, mpmath.mpf):
        return Fraction(*mpmath.libmp.to_rational(number._mpf_))
    if isinstance(number, np.generic):
        number = number.item()
    return Fraction(number)


def floor_log2(value: Fraction) -> int:
    """The exponent of the binade that holds a positive fraction."""
    top, bottom = value.numerator, value.denominator
    exponent = top.bit_length() - bottom.bit_length()
    reaches = bottom << exponent <= top if exponent >= 0 else bottom <= top << -exponent
    return exponent if reaches else exponent - 1


def power_of_two(exponent: int) -> Fraction:
    return Fraction(1 << exponent) if exponent >= 0 else Fraction(1, 1 << -exponent)


def ulp(value: Exact, dtype: Any) -> Fraction:
    """The distance between neighbouring numbers of the format around `value`: constant below the smallest normal."""
    form = format_of(dtype)
    if value == 0:
        return power_of_two(form.lowest)
    return power_of_two(max(floor_log2(abs(as_fraction(value))) - form.precision + 1, form.lowest))


def round_fraction(value: Exact, dtype: Any) -> np.floating:
    """Round an exact number to the nearest float of `dtype`, ties to even, in one step.

    The result is a NumPy scalar of that dtype (float32 for the string "bfloat16", which NumPy lacks without
    ml_dtypes). No other format lies between: half-way cases of float32 that float64 would hide come out right.
    """
    form = format_of(dtype)
    scalar = np.float32 if isinstance(dtype, str) and dtype == "bfloat16" else np.dtype(dtype).type
    if isinstance(value, float) and not math.isfinite(value):
        return scalar(value)
    value = as_fraction(value)
    unit = ulp(value, dtype)
    steps = round(value / unit)  # Python rounds a fraction to the nearest integer, ties to even
    if abs(steps * unit) >= power_of_two(form.overflow):
        return scalar(math.copysign(math.inf, steps))
    # At most 53 bits times a power of two that the format has: both conversions are exact.
    return scalar(math.ldexp(steps, floor_log2(unit)))


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
    limit = power_of_two(format_of(dtype).overflow)
    unit = ulp(exact, dtype)
    if math.isinf(got):
        if abs(exact) >= limit and (exact > 0) == (got > 0):
            return 0.0
        got = limit if got > 0 else -limit
    return float(
        min(abs(Fraction(got) - exact) / unit, Fraction(2) ** 1000)
    )  # of a wrong infinity, it may be more than floats hold


def working_parameter(parameter: float, dtype: Any) -> Exact:
    """The parameter as the kernels see it: rounded to the working dtype, where it may become 0 or infinite."""
    with np.errstate(all="ignore"):
        rounded = float(np.dtype(dtype).type(parameter))
    return Fraction(rounded) if math.isfinite(rounded) else rounded


def same_bits(got: Any, expected: Any) -> bool:
    """Equal dtype, shape and bits; zeros must agree in sign. Any NaN equals any other: their bits mean nothing."""
    got, expected = np.asarray(got), np.asarray(expected)
    if got.dtype != expected.dtype or got.shape != expected.shape:
        return False
    equal = (got == expected) & (np.signbit(got) == np.signbit(expected))
    return bool(np.all(equal | (np.isnan(got) & np.isnan(expected))))
