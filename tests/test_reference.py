"""The oracle is right: its roundings, sums and formulas against plainer definitions and numbers worked out by hand."""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from . import generators, reference
from .reference import ORACLE, exact_mean, exact_sum, round_fraction, same_bits, ulp_error

any_float = st.floats(allow_nan=False, allow_infinity=False)


# Rounding -----------------------------------------------------------------------------------------------------------


@given(any_float)
def test_rounding_a_float_is_the_conversion_of_the_processor(number):
    with np.errstate(all="ignore"):
        for dtype in (np.float16, np.float32, np.float64):
            assert round_fraction(Fraction(number), dtype) == dtype(number)


@given(st.fractions(), st.integers(-1100, 1100))
def test_rounding_to_float64_is_python_division(fraction, exponent):
    fraction *= Fraction(2) ** exponent
    try:
        expected = fraction.numerator / fraction.denominator
    except OverflowError:
        expected = math.inf if fraction > 0 else -math.inf
    assert round_fraction(fraction, np.float64) == expected


def test_bfloat16_is_the_upper_half_of_float32():
    for bits in range(0, 0x7F80, 7):
        number = struct.unpack("<f", struct.pack("<I", bits << 16))[0]
        assert round_fraction(Fraction(number), "bfloat16") == number
    tie = Fraction(1) + Fraction(1, 2**8)
    assert round_fraction(tie, "bfloat16") == 1
    assert round_fraction(tie + Fraction(1, 2**90), "bfloat16") == 1 + 2**-7


def test_rounding_takes_one_step():
    # Float64 cannot hold the last term, which decides between the two neighbours.
    almost_tie = 1 + Fraction(1, 2**24) + Fraction(1, 2**80)
    assert round_fraction(almost_tie, np.float32) == np.nextafter(np.float32(1), np.float32(2))
    assert np.float32(float(almost_tie)) == 1


def test_rounding_at_the_ends_of_float32():
    top = Fraction(float(np.finfo(np.float32).max))
    half = Fraction(2) ** 103
    assert round_fraction(top + half, np.float32) == np.inf
    assert round_fraction(-top - half, np.float32) == -np.inf
    assert round_fraction(top + half - 1, np.float32) == np.finfo(np.float32).max
    least = Fraction(2) ** -149
    assert round_fraction(least / 2, np.float32) == 0
    assert round_fraction(least / 2 + least / 2**90, np.float32) == float(least)
    assert round_fraction(least * 3 / 2, np.float32) == float(2 * least)


def test_rounding_passes_specials_and_returns_the_dtype():
    for dtype in (np.float16, np.float32, np.float64):
        assert type(round_fraction(Fraction(1, 3), dtype)) is dtype
        assert round_fraction(-math.inf, dtype) == -math.inf
        assert np.isnan(round_fraction(math.nan, dtype))


# Error in ulps ------------------------------------------------------------------------------------------------------


def test_ulp_error_by_hand():
    one_up = np.nextafter(np.float32(1), np.float32(2))
    assert ulp_error(one_up, Fraction(1), np.float32) == 1
    assert ulp_error(one_up, Fraction(1), np.float64) == 2**29
    assert ulp_error(0.0, Fraction(2) ** -1074 * 3, np.float64) == 3
    assert ulp_error(0.0, Fraction(2) ** -1080, np.float64) == 2**-6
    assert ulp_error(5e-324, Fraction(0), np.float64) == 1
    assert ulp_error(1.0, Fraction(-1), np.float64) == 2**53


def test_ulp_error_of_specials():
    top = Fraction(float(np.finfo(np.float32).max))
    assert ulp_error(np.inf, math.inf, np.float32) == 0
    assert ulp_error(np.nan, math.nan, np.float32) == 0
    assert ulp_error(np.nan, Fraction(1), np.float32) == math.inf
    assert ulp_error(1.0, math.nan, np.float32) == math.inf
    assert ulp_error(-np.inf, math.inf, np.float32) == math.inf
    assert ulp_error(np.inf, Fraction(2) ** 128, np.float32) == 0
    assert ulp_error(np.inf, top, np.float32) == 1
    assert ulp_error(np.inf, Fraction(1), np.float32) > 2**100
    assert ulp_error(-np.inf, -Fraction(float(np.finfo(np.float64).max)), np.float64) == 1


@given(any_float, st.sampled_from([np.float16, np.float32, np.float64]))
def test_a_rounded_number_is_half_an_ulp_away_at_most(number, dtype):
    exact = Fraction(number) * Fraction(1, 3)
    assert ulp_error(round_fraction(exact, dtype), exact, dtype) <= 0.5


# Sums ---------------------------------------------------------------------------------------------------------------


def plain_sum(values, weights=None):
    weights = np.ones(len(values)) if weights is None else weights
    return sum((Fraction(float(w)) * Fraction(float(v)) for v, w in zip(values, weights, strict=True)), Fraction(0))


@given(st.lists(any_float, max_size=30))
def test_the_fast_exact_sum_is_the_plain_one(numbers):
    assert exact_sum(np.array(numbers, np.float64)) == plain_sum(numbers)


@given(st.lists(st.tuples(any_float, any_float), max_size=30))
def test_the_exact_weighted_sum_is_the_plain_one(rows):
    values, weights = np.array(rows, np.float64).reshape(-1, 2).T
    assert exact_sum(values, weights) == plain_sum(values, weights)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_fast_exact_sum_of_long_arrays(rng, dtype):
    for length in (1, 1000, 20_000):
        values = generators.spread(rng, length, dtype, *generators.exponents(dtype))
        assert exact_sum(values) == plain_sum(values)
        assert exact_mean(values) == plain_sum(values) / length


def test_the_halves_of_many_equal_significands_do_not_overflow():
    value = np.nextafter(2.0, 0)  # all 53 bits set
    assert exact_sum(np.full(1 << 20, value)) == (1 << 20) * Fraction(value)


def test_sums_of_specials_and_of_nothing():
    inf, nan = np.inf, np.nan
    assert exact_sum(np.array([1.0, inf])) == inf
    assert exact_sum(np.array([1.0, -inf])) == -inf
    assert math.isnan(exact_sum(np.array([-inf, inf])))
    assert math.isnan(exact_sum(np.array([inf, nan])))
    assert exact_mean(np.array([1.0, inf])) == inf
    assert exact_sum(np.array([])) == 0
    assert math.isnan(exact_mean(np.array([])))


def test_weights_and_selection_remove_before_anything_else():
    values = np.array([1.0, np.nan, 4.0, np.inf])
    assert exact_sum(values, weights=np.array([2.0, 0.0, 0.5, 0.0])) == 4
    assert exact_mean(values, weights=np.array([2.0, 0.0, 0.5, 0.0])) == Fraction(8, 5)
    assert exact_mean(values, where=np.array([True, False, True, False])) == Fraction(5, 2)
    assert math.isnan(exact_mean(values, weights=np.zeros(4)))


def test_weights_count_with_their_exact_value():
    big = np.array([2**53 + 1, 1, 0], np.int64)
    assert exact_sum(np.array([1.0, 0.5, np.nan]), weights=big) == 2**53 + 1 + Fraction(1, 2)
    assert exact_mean(np.array([1.0, 1.0, np.nan]), weights=big.astype(np.uint64)) == 1


def test_the_gradient_of_a_broadcast_operand_is_summed_over_what_was_broadcast():
    gradient = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert same_bits(reference.summed_gradient(gradient, (3, 1)), gradient.sum(axis=(0, 2)).reshape(3, 1))
    assert same_bits(reference.summed_gradient(gradient, ()), np.array(276, np.float32))
    assert same_bits(reference.summed_gradient(gradient, (2, 3, 4)), gradient)
    places = np.array([2, 0])
    assert same_bits(reference.summed_gradient(gradient, (3, 1), places), gradient.sum(axis=(0, 2))[places])


def test_sums_that_are_wrong_are_suspected():
    gradient = np.random.default_rng(1).standard_normal((4, 1000)).astype(np.float32)
    right = reference.summed_gradient(gradient, (1000,))
    for place in (0, 123, 999):
        wrong = right.copy()
        wrong[place] = np.nextafter(wrong[place], np.float32(np.inf))
        assert place in reference.suspected_sums(wrong, gradient, 20)


@pytest.mark.parametrize("name", ORACLE)
def test_each_element_may_have_a_parameter(name):
    errors, parameters = np.array([-3.0, 0.25, 8.0, np.inf]), np.array([0.5, 1.0, 0.25, 1.0])
    for what in reference.QUANTITIES:
        each = [reference.elementwise(name, what, d, p, np.float32)[0] for d, p in zip(errors, parameters, strict=True)]
        assert reference.elementwise(name, what, errors, parameters, np.float32) == each
        both = reference.elementwise(name, what, errors[None] + np.zeros((2, 1)), [[0.5], [1.0]], np.float32)
        assert both == [exact for p in (0.5, 1.0) for exact in reference.elementwise(name, what, errors, p, np.float32)]


# Formulas -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ORACLE)
def test_formulas_at_points_worked_out_by_hand(name):
    oracle = ORACLE[name]
    for d, p, *expected in [map(Fraction, example) for example in oracle.examples if "inf" not in example[0]]:
        got = [reference.as_fraction(getattr(oracle, what)(d, p)) for what in reference.QUANTITIES]
        # Formulas with a root have 60 digits, the others are exact.
        assert all(abs(g - e) <= e * 0 + abs(e) / 10**55 for g, e in zip(got, expected, strict=True)), (d, p)


@pytest.mark.parametrize("name", ORACLE)
def test_derivatives_are_central_differences_of_the_formulas(name, rng):
    """In 60 digits, away from kinks, for errors and parameters of any size."""
    oracle = ORACLE[name]
    checked = 0
    with mpmath.workdps(60):
        for _ in range(300):
            d, p = (mpmath.mpf(float(x)) for x in generators.spread(rng, 2, np.float64, -300, 300))
            p = abs(p)
            if rng.random() < 0.7:  # on either side of the kinks, near them
                d = p * mpmath.mpf(float(rng.uniform(-3, 3)))
            step = abs(d) * mpmath.mpf(10) ** -18
            if any(abs(d - kink) <= 2 * step for kink in oracle.kinks(p)):
                continue
            for formula, slope in ((oracle.value, oracle.derivative), (oracle.derivative, oracle.second_derivative)):
                difference = (formula(d + step, p) - formula(d - step, p)) / (2 * step)
                size = max(abs(slope(d, p)), abs(formula(d, p) / d))
                assert abs(difference - slope(d, p)) <= size * mpmath.mpf(10) ** -30
            checked += 1
    assert checked > 200


@pytest.mark.parametrize("name", ORACLE)
def test_formulas_have_60_digits_whatever_the_working_precision(name, rng):
    """Also those with a root, that is: not only where the root is rational, as in the examples by hand."""
    for d, p in generators.spread(rng, 60, np.float64, -30, 30).reshape(30, 2).tolist():
        for what in reference.QUANTITIES:
            with mpmath.workdps(15):
                got = reference.as_fraction(getattr(ORACLE[name], what)(Fraction(d), Fraction(abs(p))))
            with mpmath.workdps(100):
                expected = reference.as_fraction(getattr(ORACLE[name], what)(Fraction(d), Fraction(abs(p))))
            assert abs(got - expected) <= abs(expected) / 10**58


@pytest.mark.parametrize("name", ORACLE)
def test_formulas_in_fractions_and_in_mpmath_agree(name, rng):
    oracle = ORACLE[name]
    with mpmath.workdps(60):
        for d, p in generators.spread(rng, 200, np.float64, -200, 200).reshape(100, 2).tolist():
            for formula in (oracle.value, oracle.derivative, oracle.second_derivative, oracle.irls_weight):
                exact = reference.as_fraction(formula(Fraction(d), Fraction(abs(p))))
                approximate = reference.as_fraction(formula(mpmath.mpf(d), mpmath.mpf(abs(p))))
                assert abs(approximate - exact) <= abs(exact) / 10**55


def test_the_parameter_is_rounded_to_the_working_dtype():
    assert reference.working_parameter(0.1, np.float32) == Fraction(float(np.float32(0.1)))
    assert reference.working_parameter(1e-60, np.float32) == 0
    assert reference.working_parameter(1e60, np.float32) == math.inf
    assert reference.working_parameter(math.inf, np.float64) == math.inf


@pytest.mark.parametrize("name", ORACLE)
def test_infinite_and_nan_errors(name):
    """Of every loss, examples by hand at both infinities."""
    found = {example[0]: example[1:] for example in ORACLE[name].examples if "inf" in example[0]}
    assert set(found) == {"inf", "-inf"}
    for d, (p, *expected) in found.items():
        for what, wanted in zip(reference.QUANTITIES, expected, strict=True):
            infinite, not_a_number = reference.elementwise(name, what, [float(d), math.nan], float(Fraction(p)), np.float64)
            assert infinite == (float(wanted) if "inf" in wanted else Fraction(wanted)), what
            assert math.isnan(not_a_number)


@pytest.mark.parametrize("name", [name for name in ORACLE if ORACLE[name].majorises])
def test_the_irls_weight_bounds_the_curvature(name, rng):
    """It is psi(d) / d, never below the second derivative, and its parabola through the loss at d lies above everywhere."""
    oracle = ORACLE[name]
    with mpmath.workdps(60):
        for _ in range(300):
            p = abs(Fraction(float(generators.spread(rng, 1, np.float64, -30, 30)[0])))
            d, e = (p * Fraction(ratio) for ratio in rng.uniform(-4, 4, 2).tolist())
            if abs(d) < Fraction(1, reference.IRLS_CAP):
                continue
            exact = {what: reference.as_fraction(getattr(oracle, what)(d, p)) for what in reference.QUANTITIES}
            tiny = exact["irls_weight"] / 10**50
            assert abs(exact["irls_weight"] - exact["derivative"] / d) <= tiny
            assert exact["irls_weight"] >= exact["second_derivative"] - tiny
            parabola = exact["value"] + exact["irls_weight"] / 2 * (e * e - d * d)
            assert parabola >= reference.as_fraction(oracle.value(e, p)) - tiny * p * p


@pytest.mark.parametrize("name", ORACLE)
def test_the_irls_weight_is_the_derivative_over_the_error(name, rng):
    """For errors that the cap does not concern."""
    oracle = ORACLE[name]
    for _ in range(100):
        d, p = Fraction(float(rng.normal())), Fraction(float(rng.uniform(0.01, 0.99)))
        got, expected = (reference.as_fraction(x) for x in (oracle.irls_weight(d, p), oracle.derivative(d, p)))
        assert abs(got - expected / d) <= abs(got) / 10**50


def test_reductions_by_hand():
    losses = np.arange(6, dtype=np.float32).reshape(2, 3)
    weights, where = np.array([1, 0, 2]), np.array([[True], [False]])
    assert same_bits(reference.reduced(losses, "sum"), np.float32(15))
    assert same_bits(reference.reduced(losses, "sum", axis=0), np.array([3, 5, 7], np.float32))
    assert same_bits(reference.reduced(losses, "mean", axis=-1, keepdims=True), np.array([[1], [4]], np.float32))
    assert same_bits(reference.reduced(losses, "mean", weights), np.float32((0 + 4 + 3 + 10) / 6))
    assert same_bits(reference.reduced(losses, "mean", weights, where), np.float32(4 / 3))
    assert same_bits(reference.reduced(losses, "mean", None, where, axis=1), np.array([1, np.nan], np.float32))
    assert same_bits(reference.reduced(losses, "sum", axis=()), losses)
    assert same_bits(reference.reduced(losses[:0], "sum", axis=0), np.zeros(3, np.float32))
    assert same_bits(reference.reduced(losses[:0], "sum", axis=1), np.zeros(0, np.float32))
    assert same_bits(reference.weighted(losses, weights, where), np.array([[0, 0, 4], [0, 0, 0]], np.float32))
    assert reference.divisors(losses.shape, weights, where).tolist() == [[3]]
    assert reference.divisors(losses.shape, None, where, axis=1).tolist() == [[3], [0]]
    assert reference.divisors(losses.shape, axis=1).tolist() == [[3], [3]]


def test_scaled_gradients_by_hand():
    """Beyond the range of float64 on the way, and not at its end."""
    slope = np.array([2.0, -4.0, np.nan, np.inf, 1e300])
    weights = np.array([3e-311, 8e-311, 0, 1e-320, 1e308])
    total = sum(map(Fraction, weights.tolist()))
    assert reference.divisors(slope.shape, weights).tolist() == [total]
    exact = reference.exact_scaled_gradient(slope, 3, total, weights, wrt="target")
    assert exact[:3] == [-6 * Fraction(3e-311) / total, 12 * Fraction(8e-311) / total, 0]
    assert exact[3] == -math.inf
    assert reference.exact_scaled_gradient(slope, 0.0, 7)[:2] == [0, 0]
    assert np.isnan(reference.exact_scaled_gradient(slope, 0.0, 7)[2:4]).all()
    assert np.isnan(reference.exact_scaled_gradient(slope, np.nan, where=[1, 0, 0, 0, 0])[0])
    assert reference.exact_scaled_gradient(slope, [1, 2, 3, 4, 5], at=np.array([1])) == [-8]


def test_a_gradient_that_is_off_is_found_wherever_it_is(rng):
    slope, weights = rng.standard_normal((2, 3000))
    weights = abs(weights) * 10.0 ** rng.integers(-100, 100, 3000)
    divisor = reference.divisors(slope.shape, weights)
    got = np.array([round_fraction(exact, np.float64) for exact in reference.exact_scaled_gradient(slope, 1, divisor, weights)])
    assert reference.gradient_error(got, slope, 1, divisor, weights)[0] <= 0.5
    place = int(rng.integers(3000))
    got[place] *= 1 + 2.0**-50
    worst, at, _ = reference.gradient_error(got, slope, 1, divisor, weights)
    assert at == place
    assert worst > 1.5
    assert not reference.is_scaled(got, slope, 1, divisor, weights)
    assert not reference.is_scaled(got[1:], slope, 1, divisor, weights)
    single = got.astype(np.float32)
    assert reference.gradient_error(single, slope, 1, divisor, weights)[0] <= 0.5 + 2.0**-20


def test_differences_of_integers_are_exact():
    a, b = np.array([2**63 - 1, -(2**63), 5]), np.array([2**64 - 1, 2**64 - 1, 2**63 + 1], np.uint64)
    assert reference.exact_difference(a, b).tolist() == [-(2.0**63), -(1.5 * 2.0**64), -(2.0**63)]
    assert reference.exact_difference(np.array([1_750_000_000_000_000_100]), np.array(1_750_000_000_000_000_000)).tolist() == [
        100.0
    ]
    assert reference.exact_difference(np.array([True, False]), np.array([[255]], np.uint8)).tolist() == [[-254.0, -255.0]]


def test_the_difference_is_rounded_once(rng):
    for dtype in generators.DTYPES:
        inputs, targets = generators.SPREADS["any window"](rng, 500, dtype)
        errors = reference.difference(inputs, targets, dtype)
        for a, b, d in zip(inputs.tolist(), targets.tolist(), errors, strict=True):
            assert d == round_fraction(Fraction(a) - Fraction(b), dtype)


# Comparison ---------------------------------------------------------------------------------------------------------


def test_same_bits_sees_what_differs():
    x = np.array([0.0, 1.0, np.nan])
    assert same_bits(x, x.copy())
    assert not same_bits(x, np.array([-0.0, 1.0, np.nan]))
    assert not same_bits(x, np.array([0.0, np.nextafter(1, 2), np.nan]))
    assert not same_bits(x, x.astype(np.float32))
    assert not same_bits(x, x.reshape(3, 1))
    assert not same_bits(x, np.array([0.0, 1.0, 2.0]))
