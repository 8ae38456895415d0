"""What the tests know of each loss: its exact formulas, and what to test it with."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mpmath

from .formats import Exact, working_parameter

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
    kinks: Callable[[Exact], list[Exact]]  # the errors where the first or second derivative jumps
    # By hand, from a parameter in the working dtype: at 0 and at the kinks, derivative, second derivative (that of the outer side)
    # and IRLS weight, to the bit; None where nothing is promised to the bit.
    at_kinks: Callable[[Any], dict[Any, tuple[Any, Any, Any]]]
    parameter: str | None  # None for a loss without; p is then 0 and means nothing
    default: float
    valid: Callable[[Exact], bool]
    parameters: tuple[float, ...]  # sensible values to test with; float32 may not accept the most extreme
    rejected: tuple[float, ...]  # values that must be refused
    ulps: tuple[float, float, float, float]  # largest errors allowed; 0.5 is correctly rounded, and tested bit for bit
    examples: tuple[tuple[str, ...], ...]  # by hand: d, p, value, derivative, second derivative, IRLS weight; infinite errors too
    majorises: bool = True  # whether the parabola of the IRLS weight lies above the loss everywhere
    form_changes: tuple[float, ...] = (1.0,)  # |d| / p at which the library takes another form of a formula
    inflection: int | None = None  # n, where the second derivative passes through 0 at |d| = p / sqrt(n)

    def setting(self, parameter: Any) -> dict[str, Any]:
        """The parameter, whatever it is, as a keyword argument; none for a loss without."""
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
        at_kinks=lambda p: {p: (1, 0, 1 / p), -p: (-1, 0, 1 / p), 0 * p: (0, 1 / p, 1 / p)},
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
            ("inf", "1/4", "inf", "1", "0", "0"),
            ("-inf", "1/4", "inf", "-1", "0", "0"),
        ),
    ),
    "l1": Oracle(
        value=lambda d, _: abs(d),
        derivative=lambda d, _: d * 0 + _sign(d),
        second_derivative=lambda d, _: d * 0,
        irls_weight=lambda d, _: 1 / _capped(d),
        at_infinity=lambda _, sign: (math.inf, sign, 0, 0),
        kinks=lambda _: [0],
        at_kinks=lambda p: {0 * p: (0, 0, IRLS_CAP)},
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
            ("inf", "0", "inf", "1", "0", "0"),
            ("-inf", "0", "inf", "-1", "0", "0"),
        ),
    ),
    "mse": Oracle(
        value=lambda d, _: d * d,
        derivative=lambda d, _: 2 * d,
        second_derivative=lambda d, _: d * 0 + 2,
        irls_weight=lambda d, _: d * 0 + 2,
        at_infinity=lambda _, sign: (math.inf, sign * math.inf, 2, 2),
        kinks=lambda _: [],
        at_kinks=lambda p: {0 * p: (0, 2, 2)},
        parameter=None,
        default=0.0,
        valid=lambda _: True,
        parameters=(0.0,),
        rejected=(),
        ulps=(0.5, 0.5, 0.5, 0.5),
        examples=(
            ("0", "0", "0", "0", "2", "2"),
            ("-3", "0", "9", "-6", "2", "2"),
            ("1/4", "0", "1/16", "1/2", "2", "2"),
            ("inf", "0", "inf", "inf", "2", "2"),
            ("-inf", "0", "inf", "-inf", "2", "2"),
        ),
    ),
    "huber": Oracle(
        value=_huber,
        derivative=lambda d, delta: d if abs(d) < delta else delta * _sign(d),
        second_derivative=lambda d, delta: d * 0 + (abs(d) < delta),
        irls_weight=_huber_irls_weight,
        at_infinity=lambda delta, sign: (math.inf, sign * delta, *((None, None) if delta == math.inf else (0, 0))),
        kinks=lambda delta: [delta, -delta],
        at_kinks=lambda p: {p: (p, 0, 1), -p: (-p, 0, 1), 0 * p: (0, 1, 1)},
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
            ("inf", "1/4", "inf", "1/4", "0", "0"),
            ("-inf", "1/4", "inf", "-1/4", "0", "0"),
        ),
    ),
    "tukey": Oracle(
        value=_tukey,
        derivative=lambda d, c: d * _tukey_taper(d, c) ** 2,
        second_derivative=lambda d, c: _tukey_taper(d, c) * (1 - 5 * (d / c) ** 2),
        irls_weight=lambda d, c: _tukey_taper(d, c) ** 2,
        at_infinity=lambda c, sign: (c * c / 6, 0, 0, 0),
        kinks=lambda c: [c, -c],
        at_kinks=lambda p: {p: (0, 0, 0), -p: (0, 0, 0), 0 * p: (0, 1, 1)},
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
            ("inf", "1/4", "1/96", "0", "0", "0"),
            ("-inf", "1/4", "1/96", "0", "0", "0"),
        ),
        form_changes=(0.645,),
        inflection=5,
    ),
    "quantile": Oracle(
        value=lambda d, q: _quantile_slope(d, q) * abs(d),
        derivative=lambda d, q: d * 0 + _quantile_slope(d, q) * _sign(d),
        second_derivative=lambda d, q: d * 0,
        irls_weight=lambda d, q: _quantile_slope(d, q) / _capped(d),
        at_infinity=lambda q, sign: (math.inf if _quantile_slope(sign, q) else 0, 1 - q if sign > 0 else -q, 0, 0),
        kinks=lambda q: [0],
        at_kinks=lambda p: {0 * p: (0, 0, (1 - p) * IRLS_CAP)},
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
            ("inf", "1/4", "inf", "3/4", "0", "0"),
            ("-inf", "1/4", "inf", "-1/4", "0", "0"),
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
        at_kinks=lambda p: {p: (0, 0, 0), -p: (0, 0, 0), 0 * p: (0, 0, 0)},
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
            ("inf", "1/4", "inf", "1", "0", "0"),
            ("-inf", "1/4", "inf", "-1", "0", "0"),
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
        at_kinks=lambda p: {0 * p: (0, None, None)},
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
            ("inf", "1/4", "inf", "1/4", "0", "0"),
            ("-inf", "1/4", "inf", "-1/4", "0", "0"),
        ),
        form_changes=(2.0**12, 2.0**26),
    ),
    "charbonnier": Oracle(
        value=_in_60_digits(_charbonnier_root),
        derivative=_in_60_digits(lambda d, eps: _mpf(d) / _charbonnier_root(d, eps)),
        second_derivative=_in_60_digits(lambda d, eps: _mpf(eps * eps) / _charbonnier_root(d, eps) ** 3),
        irls_weight=_in_60_digits(lambda d, eps: 1 / _charbonnier_root(d, eps)),
        at_infinity=lambda eps, sign: (math.inf, sign, 0, 0),
        kinks=lambda eps: [],
        at_kinks=lambda p: {0 * p: (0, None, None)},
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
            ("inf", "1/4", "inf", "1", "0", "0"),
            ("-inf", "1/4", "inf", "-1", "0", "0"),
        ),
        form_changes=(1.0, 2.0**30),
    ),
    "geman_mcclure": Oracle(
        value=lambda d, c: d * d * c * c / (2 * (c * c + d * d)),
        derivative=lambda d, c: d * (c * c / (c * c + d * d)) ** 2,
        second_derivative=lambda d, c: (c * c / (c * c + d * d)) ** 2 * (c * c - 3 * d * d) / (c * c + d * d),
        irls_weight=lambda d, c: (c * c / (c * c + d * d)) ** 2,
        at_infinity=lambda c, sign: (c * c / 2, 0, 0, 0),
        kinks=lambda c: [],
        at_kinks=lambda p: {0 * p: (0, 1, 1)},
        parameter="c",
        default=1.0,
        valid=lambda c: 0 < c < math.inf,
        parameters=(*_POSITIVE, 1e19, 1e300),
        rejected=(*_NOT_POSITIVE, math.inf),
        ulps=(4, 4, 4, 4),
        examples=(
            ("0", "2", "0", "0", "1", "1"),
            ("1", "1", "1/4", "1/4", "-1/4", "1/4"),
            ("-1", "2", "2/5", "-16/25", "16/125", "16/25"),
            ("3", "4", "72/25", "768/625", "-2816/15625", "256/625"),
            ("inf", "1/4", "1/32", "0", "0", "0"),
            ("-inf", "1/4", "1/32", "0", "0", "0"),
        ),
        inflection=3,
    ),
}
