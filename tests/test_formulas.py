"""Elementwise values, derivatives and IRLS weights of every loss against the exact formula at the rounded difference."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cylosses.losses import LOSSES

from . import generators
from .generators import DTYPES, SPREADS
from .reference import (
    FORMATS,
    ORACLE,
    QUANTITIES,
    accepts,
    difference,
    elementwise,
    largest_error,
    round_fraction,
    same_bits,
    ulp_error,
)

LENGTH = 60  # an exact fraction takes microseconds: many short arrays see more than one long array


def quantities(name, inputs, targets, parameter):
    """Everything elementwise that the library computes of one pair: value, both derivatives and the IRLS weight."""
    loss = LOSSES[name](reduction="none", **ORACLE[name].setting(parameter))
    found = (
        loss(inputs, targets),
        loss.grad(inputs, targets),
        loss.grad_and_hess(inputs, targets)[1],
        loss.grad_and_hess(inputs, targets, curvature="mm")[1],
    )
    return dict(zip(QUANTITIES, found, strict=True))


def check(name, inputs, targets, parameter):
    """All quantities of one pair are as near to the exact ones as the oracle's entry promises."""
    dtype = inputs.dtype
    errors = difference(inputs, targets, dtype)
    for (what, got), limit in zip(quantities(name, inputs, targets, parameter).items(), ORACLE[name].ulps, strict=True):
        assert got.dtype == dtype
        worst, at = largest_error(name, what, got, errors, parameter)
        context = (what, parameter, worst) if at is None else (what, parameter, worst, errors[at], got[at])
        assert worst <= limit, context
        if limit == 0.5:  # correctly rounded: also where half-way cases leave two candidates within half an ulp
            exact = elementwise(name, what, errors, parameter, dtype)
            rounded = np.array([g if e is None else round_fraction(e, dtype) for g, e in zip(got, exact, strict=True)], dtype)
            assert np.array_equal(got, rounded, equal_nan=True), context


@pytest.mark.parametrize("name", ORACLE)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spread", SPREADS)
def test_random_values(name, dtype, spread, rng):
    for _ in range(3):
        inputs, targets = SPREADS[spread](rng, LENGTH, dtype)
        check(name, inputs, targets, generators.random_parameter(rng, dtype, name))


@pytest.mark.parametrize("name", ORACLE)
@pytest.mark.parametrize("dtype", DTYPES)
def test_errors_of_the_size_of_the_parameter(name, dtype, rng):
    """Where formulas bend."""
    for _ in range(4):
        parameter = generators.random_parameter(rng, dtype, name)
        errors = generators.of_the_size_of(rng, parameter, LENGTH, dtype)
        check(name, errors, np.zeros_like(errors), parameter)


@pytest.mark.parametrize("name", ORACLE)
@pytest.mark.parametrize("dtype", DTYPES)
def test_parameters_of_every_size(name, dtype, rng):
    for parameter in ORACLE[name].parameters:
        if accepts(name, parameter, dtype):
            for spread in ("gauss", "whole range", "near equal"):
                check(name, *SPREADS[spread](rng, LENGTH // 2, dtype), parameter)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_any_values(dtype, data):
    name = data.draw(st.sampled_from(list(ORACLE)))
    inputs, targets = data.draw(generators.pairs(dtype, special=True, max_size=12))
    width = 8 * np.dtype(dtype).itemsize
    accepted = [p for p in ORACLE[name].parameters if accepts(name, p, dtype)]
    anything = st.floats(0, None if ORACLE[name].valid(2) else 1, width=width).filter(lambda p: accepts(name, p, dtype))
    check(name, inputs, targets, data.draw(anything | st.sampled_from(accepted)))


@pytest.mark.parametrize("name", ORACLE)
@pytest.mark.parametrize("dtype", DTYPES)
@np.errstate(all="ignore")
def test_errors_around_the_kinks(name, dtype, rng):
    """At a kink, and up to three floats to either side of it, for parameters of any size."""
    for _ in range(15):
        parameter = dtype(generators.random_parameter(rng, dtype, name))
        points = []
        for sign in (1, -1):
            below = above = dtype(sign) * parameter
            points.append(below)
            for _ in range(3):
                below, above = (np.nextafter(below, dtype(0)), np.nextafter(above, dtype(sign * np.inf)))
                points += [below, above]
        errors = np.array(points, dtype)
        check(name, errors, np.zeros_like(errors), float(parameter))


def near_the_inflection(rng, dtype, n):
    """Pairs z, c of integers with z / c near 1 / sqrt(n), where a second derivative passes through 0.

    For the first, c² - n z² stays small while z and c grow: c + z sqrt(n) is multiplied by 2 + sqrt(n), whose norm 4 - n is 1 or -1
    for an n of 3 or 5. For the others, z is among the numbers of the type next to the root.
    """
    most = 2 ** FORMATS[np.dtype(dtype).name].precision
    for c, z in rng.integers(0, 40, (30, 2)).tolist():
        while 0 < 2 * c + n * z < most:
            c, z = 2 * c + n * z, c + 2 * z
        if z:
            yield z, c
    for c in rng.integers(most // 2, most, 30).tolist():
        root = math.isqrt(c * c // n)
        spacing = int(np.spacing(dtype(root)))  # at least 1: the root has as many digits as the type, or one less
        for steps in range(-2, 3):
            yield int(dtype(root)) + steps * max(spacing, 1), c


@pytest.mark.parametrize("name", [name for name in ORACLE if ORACLE[name].inflection])
@pytest.mark.parametrize("dtype", DTYPES)
def test_near_the_inflection(name, dtype, rng):
    """Where the second derivative cancels, also in ulps of what is left."""
    low, high = FORMATS[np.dtype(dtype).name].lowest, FORMATS[np.dtype(dtype).name].overflow
    for z, c in near_the_inflection(rng, dtype, ORACLE[name].inflection):
        scale = 2.0 ** int(rng.choice([0, rng.integers(low + 60, high - 60)]))
        errors = np.array([z, -z], dtype) * dtype(scale)
        if float(errors[0]) == z * scale and float(dtype(c * scale)) == c * scale:
            check(name, errors, np.zeros_like(errors), c * scale)


@pytest.mark.parametrize("name", ORACLE)
def test_inflections_are_where_the_second_derivative_changes_its_sign(name):
    """Every loss whose second derivative is positive here and negative there says where it is 0."""
    at = [Fraction(k, 64) for k in range(1, 256)]
    for p in (Fraction(1), Fraction(3, 4)):
        signs = [np.sign(float(ORACLE[name].second_derivative(d * p, p))) for d in at]
        assert (ORACLE[name].inflection is not None) == (min(signs) < 0 < max(signs))
        if ORACLE[name].inflection:
            below = [d * d * ORACLE[name].inflection < 1 for d in at]
            assert all(sign > 0 for sign, is_below in zip(signs, below, strict=True) if is_below)
            assert all(sign <= 0 for sign, is_below in zip(signs, below, strict=True) if not is_below)


@pytest.mark.parametrize("name", ORACLE)
@pytest.mark.parametrize("dtype", DTYPES)
def test_ratios_at_which_formulas_change(name, dtype, rng):
    """Where one form of a formula gives way to another: at kinks, at Tukey's 0.645 c, and at the roots far out."""
    for ratio in ORACLE[name].form_changes:
        for _ in range(5):
            parameter = dtype(2.0 ** rng.uniform(-60, 60 if ORACLE[name].valid(2) else 0))
            errors = (parameter * dtype(ratio) * (1 + rng.uniform(-1e-3, 1e-3, LENGTH // 2))).astype(dtype)
            check(name, errors, np.zeros_like(errors), float(parameter))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ORACLE)
@np.errstate(all="ignore")
def test_parameters_at_the_ends_of_the_range(name, dtype, rng):
    """Squares of the parameter, of the error or of their ratio are far outside it."""
    info = np.finfo(dtype)
    least, top = float(info.smallest_subnormal), float(info.max)
    ends = [least, 3 * least, float(info.smallest_normal), top / 3, float(np.nextafter(info.max, dtype(0))), top]
    ends = [end for end in ends if accepts(name, end, dtype)]
    assert len(ends) >= 3
    for parameter in ends:
        ratio = 2.0 ** np.concatenate([rng.uniform(-60, 60, LENGTH // 2), rng.uniform(-2, 2, LENGTH // 2)])
        errors = np.concatenate([(parameter * ratio).astype(dtype), np.array([0, least, 1, top / 2, top], dtype)])
        errors = errors[np.isfinite(errors)]
        check(name, errors, np.zeros_like(errors), parameter)


def test_tukey_where_its_value_was_off_by_more_than_4_ulp():
    """The worst of a search over float32 parameters and residuals near 0.66 c, with the roundings of another form."""
    c = float(np.float32(1.9073076))
    errors = np.float32(1.2634337) * np.array([1, -1], np.float32)
    check("tukey", errors, np.zeros_like(errors), c)


@pytest.mark.parametrize("dtype", DTYPES)
def test_tukey_beyond_c_is_positive_zero(dtype):
    """Not the -0 of a product with the sign of the error or of a negative curvature."""
    errors = np.array([2.0, -2.0, 3.0, -3.0, np.inf, -np.inf], dtype)
    found = quantities("tukey", errors, np.zeros_like(errors), 2.0)
    for what in ("derivative", "second_derivative", "irls_weight"):
        assert same_bits(found[what], np.zeros_like(errors)), what


@pytest.mark.parametrize("name", ORACLE)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_error_is_the_rounded_difference(name, dtype):
    """Not the exact one: 1 - 2**-70 is 1, and both results are those of an error of 1."""
    x, t = np.array([1.0], dtype), np.array([2.0**-70], dtype)
    loss = LOSSES[name](reduction="none")
    zero = np.zeros(1, dtype)
    assert same_bits(loss(x, t), loss(x, zero))
    assert same_bits(loss.grad(x, t), loss.grad(x, zero))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_position_of_a_vector_computes_the_same(dtype, rng):
    """Vector bodies and scalar remainders: the value of an element does not depend on where it is."""
    inputs, targets = SPREADS["any window"](rng, 70, dtype)
    for name, cls in LOSSES.items():
        loss = cls(reduction="none", **ORACLE[name].setting(0.3))
        values, gradients = loss(inputs, targets), loss.grad(inputs, targets)
        for start in range(33):
            for stop in range(start, 70, 7):
                part = slice(start, stop)
                assert same_bits(loss(inputs[part], targets[part]), values[part])
                assert same_bits(loss.grad(inputs[part], targets[part]), gradients[part])


# Smooth L1: exact values --------------------------------------------------------------------------------------------


def smooth_l1(errors, beta, dtype):
    errors = np.array(errors, dtype)
    loss = LOSSES["smooth_l1"](reduction="none", beta=beta)
    return loss(errors, np.zeros_like(errors)), loss.grad(errors, np.zeros_like(errors))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("beta", [1.0, 0.5, 0.1, 3.0, 7e-39, 1e-45, 1e30])
def test_smooth_l1_at_its_kink_and_at_zero(beta, dtype):
    working = dtype(beta)
    value, gradient = smooth_l1([working, -working, 0.0, -0.0], beta, dtype)
    assert gradient.tolist() == [1, -1, 0, 0]
    half = Fraction(float(working)) / 2
    assert ulp_error(value[0], half, dtype) <= 2
    assert value.tolist() == [value[0], value[0], 0, 0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("beta", [0, 0.0, -0.0, False])
def test_smooth_l1_at_beta_zero_is_l1(beta, dtype):
    value, gradient = smooth_l1([2.5, -2.5, 0.0, -0.0, np.inf, -np.inf, np.nan], beta, dtype)
    assert same_bits(value, np.array([2.5, 2.5, 0, 0, np.inf, np.inf, np.nan], dtype))
    assert np.array_equal(gradient, np.array([1, -1, 0, 0, 1, -1, np.nan], dtype), equal_nan=True)


def test_a_beta_that_rounds_to_zero_is_zero():
    least = float(np.finfo(np.float32).smallest_subnormal)
    for beta in (1e-60, least / 2, math.nextafter(least / 2, 0)):
        value, gradient = smooth_l1([3.0, -least, 0.0], beta, np.float32)
        assert value.tolist() == [3.0, least, 0.0]
        assert gradient.tolist() == [1.0, -1.0, 0.0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_smooth_l1_at_beta_infinity_is_zero(dtype):
    top = float(np.finfo(dtype).max)
    value, gradient = smooth_l1([2.5, -top, 0.0, np.inf, -np.inf, np.nan], np.inf, dtype)
    assert np.array_equal(value, np.array([0, 0, 0, np.inf, np.inf, np.nan], dtype), equal_nan=True)
    assert np.array_equal(gradient, np.array([0, 0, 0, 1, -1, np.nan], dtype), equal_nan=True)


def test_a_beta_that_is_too_large_for_float32_is_infinite():
    value, gradient = smooth_l1([2.5, -3e38, np.inf], 1e300, np.float32)
    assert value.tolist() == [0, 0, np.inf]
    assert gradient.tolist() == [0, 0, 1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_intermediate_of_smooth_l1_overflows_or_underflows(dtype):
    """Where the square of the error, or twice beta, would."""
    top, least = np.finfo(dtype).max, np.finfo(dtype).smallest_normal
    value, gradient = smooth_l1([top / 2, top / 4], float(top), dtype)
    assert same_bits(value, np.array([top / 8, top / 32], dtype))
    assert same_bits(gradient, np.array([0.5, 0.25], dtype))
    value, gradient = smooth_l1([least, least / 2], float(2 * least), dtype)
    assert same_bits(value, np.array([least / 4, least / 16], dtype))
    assert same_bits(gradient, np.array([0.5, 0.25], dtype))
    # Without cancellation: beta is tiny next to the error, or just below it.
    value, _ = smooth_l1([top], float(least), dtype)
    assert value[0] == top


@pytest.mark.parametrize("name", ORACLE)
@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_is_kept(name, dtype):
    loss = LOSSES[name](reduction="none")
    x, t = (np.array([np.nan, 1, np.nan, np.inf], dtype), np.array([1, np.nan, np.nan, np.inf], dtype))
    assert np.isnan(loss(x, t)).all()
    for curvature in ("exact", "mm"):
        assert np.isnan(loss.grad_and_hess(x, t, curvature=curvature)).all()
    assert np.isnan(loss.grad(x, t)).all()
    assert np.isnan(loss.value_and_grad(x, t)).all()


@pytest.mark.parametrize("name", ORACLE)
@pytest.mark.parametrize("dtype", DTYPES)
def test_infinite_errors(name, dtype):
    for parameter in ORACLE[name].parameters:
        if accepts(name, parameter, dtype):
            check(name, np.array([np.inf, -np.inf, 1.0, 0.0], dtype), np.zeros(4, dtype), parameter)
            top = np.finfo(dtype).max
            check(name, np.array([top, -top], dtype), np.array([-top, top], dtype), parameter)
