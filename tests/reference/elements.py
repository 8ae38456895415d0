"""Exact results for each element: the error, and the formulas of the losses at it."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

from .formats import Exact, ulp_error, working_parameter
from .losses import ORACLE, QUANTITIES, _mpf


def exact_difference(inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The error d = input - target of integers or bools: exact, and rounded once to float64."""
    pairs = zip(*(operand.ravel().tolist() for operand in np.broadcast_arrays(inputs, targets)), strict=True)
    errors = [float(int(a) - int(b)) for a, b in pairs]  # Python rounds an integer to the nearest float, ties to even
    return np.array(errors, np.float64).reshape(np.broadcast_shapes(inputs.shape, targets.shape))


def difference(inputs: Any, targets: Any, dtype: Any) -> np.ndarray:
    """The error d = input - target: both operands in the working dtype, one rounding."""
    with np.errstate(all="ignore"):
        return np.subtract(np.asarray(inputs).astype(dtype), np.asarray(targets).astype(dtype))


def accepts(name: str, parameter: float, dtype: Any) -> bool:
    """Whether a call in the working dtype accepts a parameter: it must be valid as given and as rounded."""
    oracle = ORACLE[name]
    return oracle.parameter is None or all(oracle.valid(working_parameter(parameter, d)) for d in (np.float64, dtype))


def elementwise(name: str, what: str, errors: Any, parameter: Any, dtype: Any) -> list[Exact]:
    """One of the exact QUANTITIES of a loss at errors that are floats of `dtype`; None where nothing is promised.

    The parameter is one for all, or an array that broadcasts to the errors.
    """
    oracle = ORACLE[name]
    formula = getattr(oracle, what)
    parameters = np.broadcast_to(np.asarray(parameter, np.float64), np.shape(errors)).ravel().tolist()
    working = {parameter: working_parameter(parameter, dtype) for parameter in set(parameters)}
    results = []
    for error, p in zip(np.ravel(errors).tolist(), map(working.__getitem__, parameters), strict=True):
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


def largest_error(name: str, what: str, got: np.ndarray, errors: np.ndarray, parameter: Any) -> tuple[float, int | None]:
    """The largest error of computed quantities in ulps, and where it is; None without any. The parameter as in `elementwise`."""
    dtype = got.dtype
    expected = elementwise(name, what, errors, parameter, dtype)
    found = [0.0 if exact is None else ulp_error(g, exact, dtype) for g, exact in zip(got.tolist(), expected, strict=True)]
    worst = max(found, default=0.0)
    return worst, found.index(worst) if found else None
