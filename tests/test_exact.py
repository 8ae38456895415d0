"""`sum` and `mean` are the exact sum and mean of the elementwise losses, rounded once: bits, never a tolerance."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cylosses import L1Loss, smooth_l1_loss
from cylosses.losses import LOSSES
from tools import exactness

from . import generators
from .generators import DTYPES, LENGTHS, SPREADS
from .reference import ORACLE, accepts, exact_mean, exact_sum, reduced, round_fraction, same_bits

THREADS = (1, 2, 3, 4)


def l1(values, reduction, dtype=np.float32, **options):
    """Reduce magnitudes that are given as they are: at beta 0 the loss of `values` against 0 is `abs(values)`."""
    values = np.array(values, dtype)
    losses = smooth_l1_loss(values, np.zeros_like(values), reduction="none", beta=0.0)
    assert same_bits(losses, abs(values))
    result = smooth_l1_loss(values, np.zeros_like(values), reduction=reduction, beta=0.0, **options)
    assert same_bits(result, reduced(losses, reduction))
    return result


# Everything at once -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LOSSES)
def test_every_length_and_spread(name, dtype, length, rng):
    for spread in SPREADS:
        assert exactness.mismatches(rng, name, length, spread, dtype) == []


def test_random_arrays(rng):
    assert [message for _ in range(400) for message in exactness.random_mismatches(rng)] == []


@pytest.mark.slow
def test_many_random_arrays(rng):
    assert [message for _ in range(3000) for message in exactness.random_mismatches(rng)] == []


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_any_values(dtype, data):
    name = data.draw(st.sampled_from(list(LOSSES)))
    inputs, targets = data.draw(generators.pairs(dtype, special=True))
    parameter = data.draw(st.sampled_from([p for p in ORACLE[name].parameters if accepts(name, p, dtype)]))
    setting = ORACLE[name].setting(parameter)
    losses = LOSSES[name](reduction="none", **setting)(inputs, targets)
    for reduction in ("sum", "mean"):
        for n_threads in THREADS:
            got = LOSSES[name](reduction=reduction, **setting)(inputs, targets, n_threads=n_threads)
            assert same_bits(got, reduced(losses, reduction))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spread", ["gauss", "whole range"])
def test_arrays_that_are_worth_threads(dtype, spread, rng):
    """Long enough for every thread to get blocks, with a last block that is not full."""
    inputs, targets = SPREADS[spread](rng, 1_234_567, dtype)
    losses = smooth_l1_loss(inputs, targets, reduction="none")
    for reduction in ("sum", "mean"):
        expected = reduced(losses, reduction)
        for n_threads in (*THREADS, 7):
            assert same_bits(smooth_l1_loss(inputs, targets, reduction=reduction, n_threads=n_threads), expected)


@pytest.mark.parametrize("n_threads", THREADS)
def test_elementwise_results_do_not_depend_on_threads(n_threads, rng):
    inputs, targets = SPREADS["any window"](rng, 700_001, np.float32)
    expected = smooth_l1_loss(inputs, targets, reduction="none", n_threads=1)
    assert same_bits(smooth_l1_loss(inputs, targets, reduction="none", n_threads=n_threads), expected)


# The oracle's own definition, without the library's elementwise results ---------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_losses_that_are_exact_sum_to_the_formula(dtype, rng):
    """Small multiples of 1/8 have losses without rounding: here the formula alone says what the sum and mean are.

    Except for the losses whose formulas divide by other numbers than powers of two, or take roots.
    """
    inputs, targets = rng.integers(-80, 80, (2, 3001)) / 8
    compared = 0
    for name, oracle in ORACLE.items():
        parameter = 2.0 if oracle.valid(2) else 0.25
        losses = [oracle.value(Fraction(d), Fraction(parameter)) for d in (inputs - targets).tolist()]
        if all(isinstance(loss, Fraction) and float(round_fraction(loss, np.float32)) == loss for loss in losses):
            loss = LOSSES[name](reduction="sum", **oracle.setting(parameter))
            assert same_bits(loss(inputs.astype(dtype), targets.astype(dtype)), round_fraction(sum(losses), dtype)), name
            compared += 1
    assert compared >= 6


@given(st.lists(st.floats(0, 1e300), min_size=1, max_size=50))
def test_float64_sums_are_those_of_fsum(values):
    assert l1(values, "sum", np.float64) == math.fsum(values)


@pytest.mark.parametrize("spread", ["gauss", "any window", "whole range", "tiny"])
def test_long_float64_sums_are_those_of_fsum(spread, rng):
    inputs, targets = SPREADS[spread](rng, 30_011, np.float64)
    inputs, targets = (inputs / 2**20, targets / 2**20)  # fsum gives up where a partial sum overflows
    losses = smooth_l1_loss(inputs, targets, reduction="none")
    assert smooth_l1_loss(inputs, targets, reduction="sum") == math.fsum(losses)


def test_a_sum_that_adding_one_by_one_gets_wrong():
    # A large term and 2**20 small ones, each lost if it were added to the large one in float32.
    values = np.full(2**20 + 1, 2.0**-24, np.float32)
    values[12_345] = 2.0**18
    assert l1(values, "sum") == np.float32(2.0**18 + 2.0**-4)


# One rounding -------------------------------------------------------------------------------------------------------

EPS = 2.0**-23


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # Exactly half-way: to even, down from 1 + EPS/2 and up from 1 + 3 EPS/2.
        ([1, EPS / 2], 1),
        ([1 + EPS, EPS / 2], 1 + 2 * EPS),
        # A hair above or below half-way. Float64 rounds these to half-way itself, and then to the wrong neighbour.
        ([1, EPS / 2, 2.0**-70], 1 + EPS),
        ([1, EPS / 2, 2.0**-149], 1 + EPS),
        ([2.0**60, 2.0**36, 2.0**-100], 2.0**60 * (1 + EPS)),
        ([1 + EPS, EPS / 4, EPS / 8, EPS / 8 * (1 - EPS / 2), 2.0**-90], 1 + EPS),
        ([1 + EPS, EPS / 2 * (1 - EPS / 2), EPS**2 / 4 * (1 - EPS / 2), EPS**3 / 8 * (1 - EPS / 2)], 1 + EPS),
    ],
)
def test_ties_of_float32_sums(values, expected):
    assert l1(values, "sum") == np.float32(expected)
    # As many zeros, and everything twice as large but one power of two for the count: the same half-way cases.
    doubled = [2 * value for value in values]
    while len(doubled) & (len(doubled) - 1):
        doubled.append(0)
    assert l1(doubled, "mean") == np.float32(2 * expected / len(doubled))


def test_ties_of_float64_sums():
    eps = 2.0**-52
    assert l1([1, eps / 2], "sum", np.float64) == 1
    assert l1([1 + eps, eps / 2], "sum", np.float64) == 1 + 2 * eps
    assert l1([1, eps / 2, 5e-324], "sum", np.float64) == 1 + eps
    assert l1([1 + eps, np.nextafter(eps / 2, 0), eps / 2**55], "sum", np.float64) == 1 + eps


def test_ties_of_means():
    least = 2.0**-149
    assert l1([least, 0], "mean") == 0
    assert l1([least, 2 * least], "mean") == np.float32(2 * least)
    assert l1([least, least, least, 2 * least], "mean") == np.float32(least)
    # The mean of four is half-way between 1 and its neighbour, or above that by less than float64 can hold.
    assert l1([2, 2, 2 * EPS, 0], "mean") == 1
    assert l1([2, 2, 2 * EPS, 2.0**-120], "mean") == np.float32(1 + EPS)
    assert l1([5e-324, 0], "mean", np.float64) == 0
    assert l1([5e-324, 1e-323], "mean", np.float64) == 1e-323


@given(st.integers(2**23, 2**24 - 1), st.integers(-149, 100), st.integers(1, 40), st.booleans())
def test_constructed_ties(significand, exponent, distance, above):
    """A float32 plus half its last place, then moved off the tie by a term far too small for float64 to keep."""
    low = max(exponent - 24 - 30 - distance, -149)
    unit = 2.0 ** max(exponent - 23, -149)
    value = np.float32(significand * unit)
    half = np.float32(unit / 2)
    if half == 0:  # no float32 is half of the smallest one
        assert l1([value, value], "mean") == value
        return
    even = value if significand % 2 == 0 else np.float32((significand + 1) * unit)
    assert l1([value, half], "sum") == even
    nudge = np.float32(2.0**low)
    if nudge >= half:
        return
    if above:
        assert l1([half, nudge, value], "sum") == np.float32((significand + 1) * unit)
    else:
        below = np.nextafter(half, np.float32(0))
        assert l1([below, value], "sum") == value


# Ends of the range --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_threads", THREADS)
def test_a_sum_that_overflows_does_not_spoil_the_mean(n_threads):
    values = np.full(4, 3e38, np.float32)
    assert l1(values, "mean", n_threads=n_threads) == np.float32(3e38)
    assert l1(values, "sum", n_threads=n_threads) == np.inf
    assert l1(np.full(4, 1.7e308), "mean", np.float64) == 1.7e308
    assert l1(np.full(4, 1.7e308), "sum", np.float64) == np.inf
    many = np.full(200_000, 1.7e308)
    many[1::2] = 5e-324
    assert l1(many, "mean", np.float64) == 1.7e308 / 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_overflow_only_if_their_value_does(dtype):
    top = np.finfo(dtype).max
    half = dtype(2.0 ** (np.finfo(dtype).maxexp - np.finfo(dtype).nmant - 2))
    assert l1([top, np.nextafter(half, dtype(0))], "sum", dtype) == top
    assert l1([top, half], "sum", dtype) == np.inf
    assert l1([top, half / 2, half / 4, half / 4], "sum", dtype) == np.inf
    assert l1([top, top], "mean", dtype) == top
    assert l1([top, half / 2, half / 4], "sum", dtype) == top


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormal_results(dtype, rng):
    least = np.finfo(dtype).smallest_subnormal
    for length in (1, 2, 3, 1000, 5000):
        counts = rng.integers(0, 100, length)
        assert l1(counts * least, "sum", dtype) == dtype(counts.sum()) * least
        l1(counts * least, "mean", dtype)
    assert l1([np.finfo(dtype).smallest_normal, 0, 0, 0], "mean", dtype) == np.finfo(dtype).smallest_normal / 4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [2, 97, 1024, 5000])
def test_infinite_and_nan_losses(dtype, length, rng):
    inputs, targets = SPREADS["gauss"](rng, length, dtype)
    for special, expected in ((np.inf, np.inf), (-np.inf, np.inf), (np.nan, np.nan)):
        spoiled = inputs.copy()
        spoiled[rng.integers(length)] = special
        for reduction in ("sum", "mean"):
            got = smooth_l1_loss(spoiled, targets, reduction=reduction)
            assert same_bits(got, dtype(expected))
    both = inputs.copy()
    both[[0, -1]] = np.inf, np.nan
    assert np.isnan(smooth_l1_loss(both, targets, reduction="sum"))
    # inf - inf is NaN.
    spoiled = targets.copy()
    inputs[0] = spoiled[0] = np.inf
    assert np.isnan(smooth_l1_loss(inputs, spoiled))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [1, 2, 40, 255, 256, 257, 1300])
@pytest.mark.parametrize("special", [np.inf, np.nan])
def test_specials_among_zeros(dtype, length, special, rng):
    """Nothing but zeros beside it: no measure of size tells that the block is not empty."""
    inputs, targets, weight = np.zeros(length, dtype), np.zeros(length, dtype), np.ones(length, dtype)
    inputs[rng.integers(length)] = special
    for options in ({}, {"weight": weight}, {"where": weight > 0}):
        assert same_bits(smooth_l1_loss(inputs, targets, reduction="sum", **options), dtype(special))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_difference_of_finite_numbers_that_overflows_is_an_infinite_error(dtype):
    top = np.finfo(dtype).max
    x, t = np.array([top, 1], dtype), np.array([-top, 1], dtype)
    assert same_bits(smooth_l1_loss(x, t, reduction="none"), np.array([np.inf, 0], dtype))
    assert smooth_l1_loss(x, t) == np.inf


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0, 2)])
def test_nothing_to_reduce(dtype, shape):
    empty = np.empty(shape, dtype)
    assert same_bits(smooth_l1_loss(empty, empty, reduction="sum"), dtype(0))
    assert same_bits(smooth_l1_loss(empty, empty, reduction="mean"), dtype(np.nan))
    assert same_bits(smooth_l1_loss(empty, empty, reduction="none"), empty)


@pytest.mark.parametrize("length", [1, 5, 1025])
def test_zero_losses_sum_to_positive_zero(length):
    zeros = np.zeros(length, np.float32)
    for reduction in ("sum", "mean"):
        for x in (zeros, -zeros):
            assert same_bits(smooth_l1_loss(x, zeros, reduction=reduction), np.float32(0))


# Blocks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_order_of_elements_does_not_matter(dtype, rng):
    for spread in SPREADS:
        inputs, targets = SPREADS[spread](rng, 5000, dtype)
        first = smooth_l1_loss(inputs, targets, reduction="sum")
        for _ in range(5):
            order = rng.permutation(5000)
            assert same_bits(smooth_l1_loss(inputs[order], targets[order], reduction="sum"), first)


@pytest.mark.parametrize("dtype", DTYPES)
def test_blocks_at_every_spread(dtype, rng):
    """One block with exactly one large and one small term, a chosen number of binades apart: around each guard."""
    low, high = generators.exponents(dtype)
    for distance in range(min(high - low, 260)):
        for length in (2, 1024):
            values = np.zeros(length, dtype)
            small = int(rng.integers(low, high - distance + 1))
            bits = np.finfo(dtype).nmant
            full = dtype(2) - np.finfo(dtype).eps  # all bits of the significand set
            values[:] = np.ldexp(full, small) if low + bits <= small else np.ldexp(dtype(1), small)
            values[rng.integers(length)] = np.ldexp(full, small + distance)
            l1(values, "sum", dtype)


def test_specials_in_one_block_do_not_reach_the_next_call(rng):
    """State that outlives a call would show here."""
    inputs, targets = SPREADS["gauss"](rng, 5000, np.float32)
    before = smooth_l1_loss(inputs, targets)
    assert np.isnan(smooth_l1_loss(inputs * np.float32(np.nan), targets))
    assert smooth_l1_loss(inputs + np.float32(np.inf), targets) == np.inf
    assert same_bits(smooth_l1_loss(inputs, targets), before)


def test_exact_helpers_agree_with_each_other(rng):
    losses = abs(generators.spread(rng, 100, np.float32, -100, 100))
    assert exact_mean(losses) * 100 == exact_sum(losses)


# Bins stay open over a batch of blocks --------------------------------------------------------------------------------


def exact_total(values, weights=None):
    """The exact sum of magnitudes, and products with weights, before it is rounded: rounding would hide an inexact last place."""
    total = L1Loss("sum").streaming()
    total.update(values, np.zeros_like(values), weight=weights)
    return total.exact()


def wide_values(rng, dtype, spread, blocks):
    """Full significands, odd in the last place; the largest and the smallest exponent in each part, and all sizes between."""
    digits = np.finfo(dtype).nmant
    exponents = rng.integers(-spread, 1, (blocks, 1024))
    exponents[:, ::256], exponents[:, 255::256] = 0, -spread
    significands = rng.integers(2**digits, 2 ** (digits + 1), exponents.shape) | 1
    return np.ldexp(significands.astype(dtype), exponents - digits).astype(dtype).ravel()


def integers_of(values):
    """Each float as an exact integer of one unit, and the unit."""
    fractions = [Fraction(float(value)) for value in values]
    unit = max(fraction.denominator for fraction in fractions)
    return sum(int(fraction * unit) for fraction in fractions) / Fraction(unit)


# On both sides of what open bins, two bins and three bins hold, for 24 and for 53 bits.
@pytest.mark.parametrize(
    ("dtype", "spread"),
    [(np.float32, spread) for spread in (0, 25, 26, 27, 52, 53, 54, 62, 63, 64, 100)]
    + [(np.float64, spread) for spread in (0, 29, 30, 31, 33, 34, 35, 77, 78, 79, 200)],
)
def test_totals_of_many_blocks_are_exact_to_the_last_place(dtype, spread, rng):
    values = wide_values(rng, dtype, spread, 70)  # more blocks than bins take before they are emptied
    assert exact_total(values) == integers_of(values)
    rising = values * np.repeat(np.ldexp(dtype(1), np.arange(70) % 9).astype(dtype), 1024)  # the window moves from block to block
    assert exact_total(rising) == integers_of(rising)


@pytest.mark.parametrize("dtype", DTYPES)
def test_weighted_totals_of_many_blocks_are_exact_to_the_last_place(dtype, rng):
    values, weights = (wide_values(rng, dtype, spread, 9)[:9001] for spread in (20, 3))
    products = (Fraction(float(value)) * Fraction(float(weight)) for value, weight in zip(values, weights, strict=True))
    assert exact_total(values, weights) == sum(products)


# On both sides of what open bins hold of products with 48 and with 106 bits. Equal products have equal rests, of one sign.
@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize("spread", range(24, 50))
@pytest.mark.parametrize("dtype", DTYPES)
def test_weighted_totals_of_any_spread_are_exact_to_the_last_place(dtype, spread, equal, rng):
    digits = np.finfo(dtype).nmant
    values, weights = np.ldexp((rng.integers(2**digits, 2 ** (digits + 1), (2, 8192)) | 1).astype(dtype), -digits).astype(dtype)
    if equal:
        values[:], weights[:] = values[0], weights[0]
    values[5::256] = np.ldexp(1 + np.finfo(dtype).eps, -spread // 2).astype(dtype)  # one in each part
    weights[5::256] = np.ldexp(1 + np.finfo(dtype).eps, -spread - -spread // 2).astype(dtype)
    expected = sum(Fraction(float(value)) * Fraction(float(weight)) for value, weight in zip(values, weights, strict=True))
    assert exact_total(values, weights) == expected


@pytest.mark.parametrize("exponent", [-480, -474, -470, -465, -450, -440, -400, 480, 500, 511])
def test_weighted_totals_at_the_ends_of_float64_are_exact_to_the_last_place(exponent, rng):
    values, weights = np.ldexp(1 + rng.random((2, 2048)), exponent - rng.integers(0, 14, (2, 2048)))
    values[7::100] = 0
    expected = sum(Fraction(value) * Fraction(weight) for value, weight in zip(values, weights, strict=True))
    assert exact_total(values, weights) == expected
    weights[9::100] = np.ldexp(weights[9::100], exponent)  # products that underflow to zero, or overflow
    expected = sum(Fraction(value) * Fraction(weight) for value, weight in zip(values, weights, strict=True))
    assert exact_total(values, weights) == expected


@pytest.mark.parametrize("zeros", [0, 1000])
@pytest.mark.parametrize("least", [-28, -29, -30, -31, -32, -34])
def test_float64_rests_of_one_sign_stay_exact(least, zeros, rng):
    """What is left of each term is nearly half the grid, always upwards: the sum of rests is as large as it can be."""
    values = np.full(8192, 1 + 2.0**-41 - 2.0**-52)
    values[rng.choice(8192, zeros, replace=False)] = 0  # hide the least term
    values[rng.choice(8192, 40, replace=False)] = math.ldexp(1 + 2.0**-52, least)
    assert exact_total(values) == integers_of(values)
    assert exact_total(values, np.ones_like(values)) == integers_of(values)


# The first digit of the sum of weights says little about the rest: the estimates of a long division are too large, by 1 or 2.
@pytest.mark.parametrize("weights", [[2.0**95, 2.0**64 - 2.0**33], [2.0**63, 2.0**32 - 2.0**5], [2.0**31, 1 - 2.0**-53], [3.0]])
@pytest.mark.parametrize("dtype", DTYPES)
def test_weighted_means_are_quotients_rounded_once(weights, dtype, rng):
    weights = np.array([*weights, 1.0, 2.0**-40])
    for _ in range(200):
        values = np.zeros(len(weights), dtype)
        values[-2:] = np.ldexp(rng.random(2), rng.integers(-30, 30, 2))
        values[0] = rng.choice([0, rng.random()])
        exact = sum(Fraction(float(value)) * Fraction(weight) for value, weight in zip(values, weights, strict=True))
        expected = round_fraction(exact / sum(map(Fraction, weights)), dtype)
        assert same_bits(L1Loss()(values, np.zeros_like(values), weight=weights), expected)
