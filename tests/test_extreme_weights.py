"""Gradients and Hessians of means with weights, sums of weights and incoming gradients that float64 hardly holds, or does not.

derivative * weight * grad_output / divisor is right whenever it can be represented, whatever lies beyond the range on the way.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from cylosses import LOSSES, HuberLoss, L1Loss, MSELoss, capi, mse_loss_backward

from .generators import DTYPES, spread
from .reference import divisors, is_scaled, round_fraction, same_bits
from .test_capi import call

every_loss = pytest.mark.parametrize("name", LOSSES)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
# Exponents of weights: all tiny, all huge with a sum beyond float64, both, and ordinary ones.
RANGES = {"tiny": (-1074, -1000), "huge": (1000, 1022), "all": (-1074, 1022), "ordinary": (-3, 3)}


def some_weights(rng, size, kind):
    weights = abs(spread(rng, size, np.float64, *RANGES[kind]))
    weights[rng.random(size) < 0.2] = 0
    return weights


def test_the_smallest_cases():
    loss, x, t = MSELoss(), np.array([1.0, 2.0]), np.zeros(2)
    # Weights that are subnormal are no longer 3 and 8 to each other.
    a, b = Fraction(3e-311), Fraction(8e-311)
    expected = [float(2 * a / (a + b)), float(4 * b / (a + b))]
    for operands in ((x, t), (x.tolist(), t.tolist())):
        assert loss.grad(*operands, weight=np.array([3e-311, 8e-311])).tolist() == expected
        assert loss.grad(*operands, weight=[1e308, 1e308]).tolist() == [1, 2]
    first, second = loss.grad([1e150, 1.0], t, weight=[1e-200, 1e200]).tolist()
    assert second == 2
    assert abs(first - 2e-250) <= np.spacing(2e-250)
    assert mse_loss_backward(3e-308, x, t, weight=[1e-310, 0]).tolist() == [6e-308, 0]
    far = np.full(1000, 1e300)
    assert is_scaled(HuberLoss(delta=1e300).grad(far, np.zeros(1000), grad_output=3e-308), far, 3e-308, Fraction(1000))


@every_loss
@every_dtype
@pytest.mark.parametrize("kind", RANGES)
def test_weights_of_any_size(name, dtype, kind, rng):
    element = LOSSES[name](reduction="none")
    x, t = rng.standard_normal((2, 1300)).astype(dtype) * dtype(2) ** rng.integers(-40, 40, 1300).astype(dtype)
    slope, curved = element.grad_and_hess(x, t, curvature="mm")
    weight, where = some_weights(rng, 1300, kind), rng.random(1300) < 0.8
    for reduction, mask in itertools.product(("none", "mean", "sum"), (None, where)):
        loss = LOSSES[name](reduction=reduction)
        divisor = divisors(x.shape, weight, mask) if reduction == "mean" else 1
        for grad_output in (1.0, 3e-308, -1e300):
            got = loss.grad(x, t, weight=weight, where=mask, grad_output=grad_output)
            assert is_scaled(got, slope, grad_output, divisor, weight, mask)
        gradient, hessian = loss.grad_and_hess(x, t, weight=weight, where=mask, curvature="mm")
        assert is_scaled(gradient, slope, 1.0, divisor, weight, mask)
        assert is_scaled(hessian, curved, 1.0, divisor, weight, mask)
        assert same_bits(loss.value_and_grad(x, t, weight=weight, where=mask)[1], gradient)
        strided = (np.repeat(array, 2)[::2] for array in (x, t, weight))
        x2, t2, weight2 = strided
        assert same_bits(loss.grad(x2, t2, weight=weight2, where=mask, n_threads=2), gradient)


@every_dtype
@pytest.mark.parametrize("kind", RANGES)
@pytest.mark.parametrize("axis", [0, 1, (0, 2), -1])
def test_each_slice_has_its_own_divisor(dtype, kind, axis, rng):
    x, t = rng.standard_normal((2, 7, 6, 5)).astype(dtype)
    weight = some_weights(rng, 210, kind).reshape(7, 6, 5)
    weight[0] *= 2.0**-30  # among ordinary ones
    slope = MSELoss(reduction="none").grad(x, t)
    divisor = divisors(x.shape, weight, None, axis)
    incoming = rng.standard_normal(divisor.shape)
    for grad_output in (1.0, incoming, incoming * 1e-300, (incoming * 1e30).astype(np.float32)):
        got = MSELoss().grad(x, t, weight=weight, axis=axis, grad_output=grad_output)
        assert is_scaled(got, slope, grad_output, divisor, weight)
        # Not weighted: the number of elements.
        got = MSELoss().grad(x, t, axis=axis, grad_output=grad_output, wrt="target")
        assert is_scaled(got, slope, grad_output, divisors(x.shape, None, None, axis), wrt="target")


@every_dtype
@pytest.mark.parametrize("kind", RANGES)
def test_incoming_gradients_for_each_element(dtype, kind, rng):
    x, t = rng.standard_normal((2, 1100)).astype(dtype)
    incoming = some_weights(rng, 1100, "all") * rng.choice([-1, 1], 1100)
    weight = some_weights(rng, 1100, kind)
    slope = L1Loss(reduction="none").grad(x, t)
    assert is_scaled(L1Loss(reduction="none").grad(x, t, grad_output=incoming), slope, incoming)
    assert is_scaled(L1Loss(reduction="none").grad(x, t, grad_output=incoming, weight=weight), slope, incoming, 1, weight)


@every_dtype
@pytest.mark.parametrize("kind", ["tiny", "huge", "all"])
def test_the_c_level(dtype, kind, rng):
    low, high = (-149, 126) if dtype == np.float32 else (-1074, 1022)
    limits = {"tiny": (low, low + 20), "huge": (high - 3, high), "all": (low, high)}[kind]
    x, t = rng.standard_normal((2, 600)).astype(dtype)
    weight = abs(spread(rng, 600, dtype, *limits))
    gradient, hessian = np.empty((2, 600), dtype)
    codes = capi.LossCode.HUBER, 1.0, capi.Reduction.MEAN, capi.Curvature.MM_CURVATURE
    call("gradient_and_hessian", dtype, *codes, x, t, weight, 600, 1, gradient, hessian)
    slope, curved = HuberLoss("none").grad_and_hess(x, t, curvature="mm")
    assert is_scaled(gradient, slope, 1.0, divisors(x.shape, weight), weight)
    assert is_scaled(hessian, curved, 1.0, divisors(x.shape, weight), weight)
    assert same_bits(gradient, HuberLoss().grad(x, t, weight=weight))


# Fractions as incoming gradients --------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["none", "sum"])
@pytest.mark.parametrize("exponent", [-2000, -1100, -400, 0, 400, 1000])
def test_a_fraction_counts_exactly(reduction, exponent, rng):
    x = spread(rng, 50, np.float64, -1000, 1000)
    factor = Fraction(-2, 3) * Fraction(2) ** exponent
    got = MSELoss(reduction=reduction).grad(x, np.zeros(50), grad_output=factor)
    assert is_scaled(got, 2 * x, np.array([factor], object))


def test_fractions_that_are_floats_change_nothing(rng):
    x, t, weight = rng.standard_normal((3, 200))
    weight = abs(weight)
    for reduction in ("none", "sum", "mean"):
        loss = HuberLoss(reduction)
        for number in (0.375, -2.0, 0.0):
            got = loss.grad(x, t, weight=weight, grad_output=Fraction(number))
            assert same_bits(got, loss.grad(x, t, weight=weight, grad_output=number))


@pytest.mark.parametrize("kind", RANGES)
def test_the_mean_in_pieces(kind, rng):
    """Gradients of sums with one over the exact divisor are those of the mean, bit for bit."""
    x, t = rng.standard_normal((2, 999))
    weight = some_weights(rng, 999, kind)
    total = L1Loss("sum").streaming()
    total.update(np.ones(999), np.zeros(999), weight)
    pieces = [
        HuberLoss("sum").grad(x[piece], t[piece], weight=weight[piece], grad_output=1 / total.exact())
        for piece in np.array_split(np.arange(999), 5)
    ]
    assert same_bits(np.concatenate(pieces), HuberLoss().grad(x, t, weight=weight))


# What a total holds, not rounded ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("kind", RANGES)
def test_exact_is_the_total_before_it_is_rounded(reduction, kind, rng):
    x, weight = rng.standard_normal(300), some_weights(rng, 300, kind)
    total = L1Loss(reduction).streaming()
    for piece in np.array_split(np.arange(300), 4):
        total.update(x[piece], np.zeros(piece.size), weight[piece])
    expected = sum(Fraction(w) * abs(Fraction(d)) for w, d in zip(weight.tolist(), x.tolist(), strict=True))
    if reduction == "mean":
        expected /= sum(map(Fraction, weight.tolist()))
    assert total.exact() == expected
    assert same_bits(total.compute(), round_fraction(expected, np.float64))


@pytest.mark.parametrize("values", [[np.nan], [np.inf], [np.inf, np.nan]])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_what_is_no_fraction(values, reduction):
    total = L1Loss(reduction).streaming()
    total.update(values, np.zeros(len(values)))
    with pytest.raises(ValueError, match=f"the {reduction} is (nan|inf), which is no fraction"):
        total.exact()


def test_the_exact_mean_and_sum_of_nothing():
    with pytest.raises(ValueError, match="the mean is nan, which is no fraction"):
        L1Loss().streaming().exact()
    assert L1Loss("sum").streaming().exact() == 0
