"""`weight` and `where`: weight 0 and an unselected element are removed, weight k is repetition, bit for bit.

The general rule against the oracle, over everything at random, is in test_property_run; here is each promise by itself.
"""

from __future__ import annotations

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from cylosses import functional
from cylosses.losses import LOSSES

from .generators import DTYPES, SPREADS
from .reference import ORACLE, divisors, is_scaled, reduced, round_fraction, same_bits, weighted

every_loss = pytest.mark.parametrize("name", LOSSES)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
REDUCTIONS = ("none", "mean", "sum")


def everything(name, x, t, reduction, **options):
    """All that a loss computes of one weighted pair."""
    loss = LOSSES[name](reduction=reduction)
    found = {"value": loss(x, t, **options), "gradient": loss.grad(x, t, **options)}
    found["of target"] = loss.grad(x, t, wrt="target", **options)
    found["value with gradient"], found["gradient with value"] = loss.value_and_grad(x, t, **options)
    for curvature in ("exact", "mm", "ones"):
        found[f"gradient with {curvature}"], found[curvature] = loss.grad_and_hess(x, t, curvature=curvature, **options)
    if reduction != "none":
        state = loss.streaming()
        state.update(x, t, options.get("weight"), options.get("where"))
        found["streaming"], found["count"] = state.compute(), state.count
    return found


def losses_of(name, x, t):
    return LOSSES[name](reduction="none")(x, t)


# Removal ------------------------------------------------------------------------------------------------------------


@every_loss
@every_dtype
@pytest.mark.parametrize("length", [17, 1025])
def test_weight_zero_and_unselected_elements_are_removed_bit_for_bit(name, dtype, length, rng):
    """Even if they hold NaN or inf: nothing is multiplied with them."""
    x, t = SPREADS["any window"](rng, length, dtype)
    keep = rng.random(length) < 0.6
    poisoned = x.copy()
    poisoned[~keep] = rng.choice([np.nan, np.inf, -np.inf, 1.0], (~keep).sum())
    weight = np.where(keep, rng.uniform(0.5, 2, length), 0.0)
    for reduction in REDUCTIONS:
        for options, plain in (
            ({"where": keep}, {}),
            ({"weight": weight}, {"weight": weight[keep]}),
            ({"weight": np.where(keep, weight, 3.0), "where": keep}, {"weight": weight[keep]}),
        ):
            found = everything(name, poisoned, t, reduction, **options, n_threads=int(rng.integers(1, 4)))
            expected = everything(name, x[keep], t[keep], reduction, **plain)
            for what, got in found.items():
                if np.ndim(got):
                    assert same_bits(got[keep], expected[what]), what
                    assert not got[~keep].any(), what
                else:
                    assert same_bits(got, expected[what]), what


@every_loss
@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_weights_are_not_looked_at_where_nothing_is_selected(name, bad, rng):
    x, t = rng.standard_normal((2, 50))
    where = np.arange(50) % 3 > 0
    weight = np.where(where, 2.0, bad)
    for reduction in REDUCTIONS:
        found = everything(name, x, t, reduction, weight=weight, where=where)
        expected = everything(name, x, t, reduction, weight=np.where(where, 2.0, 0.0))
        assert all(same_bits(found[what], expected[what]) for what in expected)


@every_loss
@every_dtype
def test_everything_removed(name, dtype):
    x, t = np.full((2, 2, 3), np.nan, dtype)
    for options in (
        {"weight": 0},
        {"where": False},
        {"weight": np.zeros(3), "where": True},
        {"weight": 5, "where": np.zeros((2, 1), bool)},
    ):
        assert same_bits(LOSSES[name](reduction="mean")(x, t, **options), dtype(np.nan))
        assert same_bits(LOSSES[name](reduction="sum")(x, t, **options), dtype(0))
        for reduction in REDUCTIONS:
            found = everything(name, x, t, reduction, **options)
            for what in ("gradient", "of target", "exact", "mm", "ones"):
                assert same_bits(found[what], np.zeros((2, 3), dtype))
        assert same_bits(LOSSES[name](reduction="none")(x, t, **options), np.zeros((2, 3), dtype))


# Repetition ---------------------------------------------------------------------------------------------------------


@every_loss
@every_dtype
@pytest.mark.parametrize("weight_dtype", ["u1", "i8", "f2", "f4", "f8"])
def test_weight_k_is_repetition(name, dtype, weight_dtype, rng):
    for spread in SPREADS:
        x, t = SPREADS[spread](rng, 300, dtype)
        counts = rng.integers(0, 6, 300)
        for reduction in ("mean", "sum"):
            loss = LOSSES[name](reduction=reduction)
            repeated = loss(np.repeat(x, counts), np.repeat(t, counts))
            assert same_bits(loss(x, t, weight=counts.astype(weight_dtype)), repeated)
            state = loss.streaming()
            state.update(x, t, counts.astype(weight_dtype))
            assert same_bits(state.compute(), repeated)


@every_loss
@every_dtype
def test_a_weight_of_one_is_no_weight(name, dtype, rng):
    x, t = SPREADS["whole range"](rng, 1500, dtype)
    for reduction in REDUCTIONS:
        expected = everything(name, x, t, reduction)
        for options in (
            {"weight": 1},
            {"weight": np.ones(1500, "f4")},
            {"where": True},
            {"weight": True, "where": np.ones(1, bool)},
        ):
            found = everything(name, x, t, reduction, **options)
            assert [what for what in expected if not same_bits(found[what], expected[what])] == []


# Values -------------------------------------------------------------------------------------------------------------

WEIGHT_DTYPES = [
    np.bool_,
    "i1",
    "u1",
    "i2",
    "u2",
    "i4",
    "u4",
    "i8",
    "u8",
    "f2",
    "f4",
    "f8",
    ">f4",
    ">f8",
    ">i4",
    ml_dtypes.bfloat16,
]


@every_dtype
@pytest.mark.parametrize("weight_dtype", WEIGHT_DTYPES, ids=str)
@pytest.mark.parametrize("result", ["float16", "bfloat16", "working"])
def test_weights_of_every_dtype_count_with_their_exact_value(dtype, weight_dtype, result, rng):
    dtype = dtype if result == "working" else {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}[result]
    x, t = (rng.standard_normal((2, 400)) * 4).astype(dtype)
    weight_dtype = np.dtype(weight_dtype)
    weight = rng.uniform(0, 1 if weight_dtype == np.bool_ else 100, 400).astype(weight_dtype)
    if weight_dtype.kind in "iu":
        weight[0] = min(np.iinfo(weight_dtype).max, 2**53 - 1)
    for name in ("smooth_l1", "quantile"):
        losses = losses_of(name, x, t)
        for reduction in ("mean", "sum"):
            assert same_bits(LOSSES[name](reduction=reduction)(x, t, weight=weight), reduced(losses, reduction, weight))
        assert same_bits(LOSSES[name](reduction="none")(x, t, weight=weight), weighted(losses, weight, None))


@every_loss
@every_dtype
@pytest.mark.parametrize("scale", [-1074, -1060, -1022, -600, -149, 0, 100, 600, 1000])
def test_products_that_leave_the_range_of_float64_are_summed_exactly(name, dtype, scale, rng):
    """Tiny weights with tiny losses, huge ones with huge ones: the sum is rounded once, its terms never."""
    for spread in ("tiny", "huge", "whole range"):
        x, t = SPREADS[spread](rng, 70, dtype)
        with np.errstate(over="ignore"):
            weight = np.ldexp(rng.uniform(1, 2, 70), rng.integers(max(scale - 3, -1074), scale + 3, 70))
        losses = losses_of(name, x, t)
        for reduction in ("mean", "sum"):
            loss = LOSSES[name](reduction=reduction)
            assert same_bits(loss(x, t, weight=weight), reduced(losses, reduction, weight)), spread
        assert same_bits(LOSSES[name](reduction="none")(x, t, weight=weight), weighted(losses, weight, None))


def test_a_mean_whose_products_and_weights_underflow_and_overflow():
    least = 5e-324
    x, zero = np.array([least, 3 * least]), np.zeros(2)
    assert LOSSES["l1"]()(x, zero, weight=np.array([least, least])) == 2 * least
    assert LOSSES["l1"]()(x, zero, weight=np.array([1e300, 1e300])) == 2 * least
    top = np.array([1.7e308, 1.7e308])
    assert LOSSES["l1"]()(top, zero, weight=top) == 1.7e308
    assert LOSSES["l1"](reduction="sum")(top, zero, weight=top) == np.inf
    assert LOSSES["l1"](reduction="sum")(top, zero, weight=np.array([least, 0])) == 1.7e308 * least


@every_loss
@every_dtype
@pytest.mark.parametrize("weight_dtype", ["u1", "i8", "f4", "f8"])
@pytest.mark.parametrize("scale", [1, 3, 1e-30])
def test_infinite_and_nan_losses_with_weights(name, dtype, weight_dtype, scale):
    """Weights make neither of them anything else."""
    t = np.zeros(3, dtype)
    weight = np.array([scale, scale, scale]).astype(weight_dtype)
    if not weight.all():
        weight[:] = 1
    for special in (np.inf, -np.inf, np.nan):
        x = np.array([1, special, 2], dtype)
        losses = losses_of(name, x, t)
        for reduction in ("mean", "sum"):
            loss = LOSSES[name](reduction=reduction)
            assert same_bits(loss(x, t, weight=weight), reduced(losses, reduction, weight))
            state = loss.streaming()
            state.update(x, t, weight)
            assert same_bits(state.compute(), reduced(losses, reduction, weight))
        assert same_bits(LOSSES[name](reduction="none")(x, t, weight=weight), weighted(losses, weight, None))


def test_a_half_way_case_of_a_weighted_float32_loss():
    """1 + 2**-23 times 1 + 2**-24 is above half-way by less than float64 can hold once a third factor is near."""
    x = np.array([1 + 2.0**-23], np.float32)
    for weight in (1 + 2.0**-24, 1 + 2.0**-24 + 2.0**-52, 1 - 2.0**-53, 2.0**-126 + 2.0**-150, 2.0**-149, 1.5 * 2.0**-149):
        got = LOSSES["l1"](reduction="none")(x, np.zeros(1, np.float32), weight=weight)
        assert got[0] == round_fraction(Fraction(float(x[0])) * Fraction(weight), np.float32)


# Divisors, gradients, Hessians --------------------------------------------------------------------------------------


@every_loss
@every_dtype
def test_gradients_and_hessians_have_the_divisor_of_the_mean(name, dtype, rng):
    x, t = SPREADS["gauss"](rng, 1200, dtype)
    weight, where = rng.uniform(0, 2, 1200), rng.random(1200) < 0.7
    element = LOSSES[name](reduction="none")
    for options in ({"weight": weight}, {"where": where}, {"weight": weight, "where": where}, {"weight": weight.astype("f4")}):
        for reduction in REDUCTIONS:
            divisor = divisors(x.shape, **rename(options)) if reduction == "mean" else 1
            found = everything(name, x, t, reduction, **options)
            slope = element.grad(x, t)
            assert is_scaled(found["gradient"], slope, 1.0, divisor, **rename(options))
            for what in ("gradient with value", "gradient with exact", "gradient with mm", "gradient with ones"):
                assert same_bits(found[what], found["gradient"]), what
            assert is_scaled(found["of target"], slope, 1.0, divisor, **rename(options), wrt="target")
            for curvature in ("exact", "mm"):
                curved = element.grad_and_hess(x, t, curvature=curvature)[1]
                assert is_scaled(found[curvature], curved, 1.0, divisor, **rename(options))
            assert is_scaled(found["ones"], np.ones_like(x), 1.0, divisor, **rename(options))


def rename(options):
    return {{"weight": "weights"}.get(name, name): operand for name, operand in options.items()}


@every_loss
def test_the_sum_of_the_gradient_of_a_weighted_mean_has_the_divisor_of_the_weights(name):
    """Not the number of elements, for any loss."""
    x, t = np.array([3.0, 3.0, 3.0]), np.zeros(3)
    gradient = LOSSES[name]().grad(x, t, weight=[1.0, 2.0, 5.0])
    single = LOSSES[name](reduction="none").grad(x, t)[0]
    assert gradient == pytest.approx(single * np.array([1, 2, 5]) / 8)
    assert LOSSES[name]()(x, t, weight=[1.0, 2.0, 5.0]) == losses_of(name, x, t)[0]


@every_loss
def test_functions_take_weights_and_masks(name, rng):
    x, t, weight = rng.standard_normal((3, 40))
    weight, where = abs(weight), rng.random(40) < 0.5
    for reduction in REDUCTIONS:
        options = {"weight": weight, "where": where}
        found = everything(name, x, t, reduction, **options)
        assert same_bits(getattr(functional, f"{name}_loss")(x, t, reduction=reduction, **options), found["value"])
        backward = getattr(functional, f"{name}_loss_backward")
        assert same_bits(backward(1.0, x, t, reduction, **options), found["gradient"])
        assert same_bits(backward(1.0, x, t, reduction, wrt="target", **options), found["of target"])


# Shapes -------------------------------------------------------------------------------------------------------------


@every_loss
@every_dtype
@pytest.mark.parametrize("shape", [(), (1,), (7,), (1, 7), (30, 1), (4, 1, 1), (1, 30, 1), (4, 30, 7)])
def test_weights_and_masks_broadcast_without_a_warning(name, dtype, shape, rng):
    """To the result, never the result to them. `filterwarnings = error` would fail this test."""
    x, t = rng.standard_normal((2, 4, 30, 7)).astype(dtype)
    weight = rng.integers(0, 3, shape) * rng.uniform(0, 1, shape)
    where = rng.random(shape) < 0.6
    for options in ({"weight": weight}, {"where": where}, {"weight": weight, "where": where[..., ::-1] if shape else where}):
        full = {key: np.ascontiguousarray(np.broadcast_to(operand, x.shape)) for key, operand in options.items()}
        for reduction in REDUCTIONS:
            found = everything(name, x, t, reduction, **options)
            expected = everything(name, x, t, reduction, **full)
            assert [what for what in expected if not same_bits(found[what], expected[what])] == []


@pytest.mark.parametrize("shape", [(2,), (3, 2), (4, 3), (1, 2, 3), (2, 3, 1)])
def test_weights_and_masks_that_do_not_fit(shape):
    x = np.zeros((2, 3))
    loss = LOSSES["huber"]()
    for call in (loss, loss.grad, loss.value_and_grad, loss.grad_and_hess, loss.streaming().update):
        with pytest.raises(ValueError, match=r"weight.*\(2, 3\)"):
            call(x, x, weight=np.ones(shape))
        with pytest.raises(ValueError, match=r"where.*\(2, 3\)"):
            call(x, x, where=np.ones(shape, bool))


# What is refused ----------------------------------------------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize("bad", [-1.0, -5e-324, -np.inf, np.inf, np.nan])
@pytest.mark.parametrize("length", [1, 40, 5000, 400_000])
def test_bad_weights(dtype, bad, length, rng):
    x, t = rng.standard_normal((2, length)).astype(dtype)
    weight = np.ones(length)
    weight[rng.integers(length)] = bad
    for reduction in REDUCTIONS:
        loss = LOSSES["huber"](reduction=reduction)
        calls = [loss, loss.grad, loss.value_and_grad, loss.grad_and_hess]
        if reduction != "none":
            calls.append(loss.streaming().update)
        for call in calls:
            for n_threads in (1, 3):
                with pytest.raises(ValueError, match="weight"):
                    call(x, t, weight=weight, n_threads=n_threads)


def test_a_bad_weight_leaves_a_streaming_state_as_it_was():
    state = LOSSES["huber"]().streaming()
    state.update([3.0], [1.0])
    with pytest.raises(ValueError, match="weight"):
        state.update([1.0, 2.0], [0.0, 0.0], weight=[1.0, -1.0])
    assert state.count == 1
    assert state.compute() == 1.5


@pytest.mark.parametrize("weight_dtype", ["i8", "u8"])
def test_integer_weights_that_float64_cannot_hold_are_refused(weight_dtype):
    """Below 2**53 they count exactly; beyond, they would silently be others."""
    x = np.ones(3)
    assert LOSSES["l1"](reduction="sum")(x, x - 1, weight=np.array([2**53 - 1] * 3, weight_dtype)) == float(3 * (2**53 - 1))
    with pytest.raises(ValueError, match="weight"):
        LOSSES["l1"](reduction="sum")(x, x - 1, weight=np.array([2**53 + 1] * 3, weight_dtype))


@pytest.mark.parametrize("weight", [[1j], ["1"], [None], np.ma.masked_array([1.0], [True]), np.array([1], "m8[s]"), object()])
def test_weights_that_are_no_numbers(weight):
    with pytest.raises(TypeError, match="weight"):
        LOSSES["huber"]()([1.0], [0.0], weight=weight)


@pytest.mark.parametrize("where", [[1], [1.0], ["yes"], [None], np.ma.masked_array([True], [True])])
def test_masks_that_are_not_bool(where):
    with pytest.raises(TypeError, match="where"):
        LOSSES["huber"]()([1.0], [0.0], where=where)


# Streaming ----------------------------------------------------------------------------------------------------------


@every_loss
@every_dtype
def test_weighted_pieces_in_any_order_give_the_bits_of_one_call(name, dtype, rng):
    x, t = SPREADS["any window"](rng, 3000, dtype)
    weight, where = rng.uniform(0, 2, 3000), rng.random(3000) < 0.8
    for reduction in ("mean", "sum"):
        loss = LOSSES[name](reduction=reduction)
        expected = loss(x, t, weight=weight, where=where)
        for _ in range(5):
            cuts = np.sort(rng.integers(0, 3001, 20))
            states = [loss.streaming() for _ in range(3)]
            for piece in rng.permutation(21):
                part = slice(cuts[piece - 1] if piece else 0, cuts[piece] if piece < 20 else 3000)
                states[rng.integers(3)].update(x[part], t[part], weight[part], where[part])
            states[0].merge(states[1])
            states[2].merge(states[0])
            assert same_bits(states[2].compute(), expected)
            assert states[2].count == (where & (weight > 0)).sum()


def test_pieces_with_and_without_weights(rng):
    """A piece without weights has weight 1, a masked one counts what is selected."""
    x, t = rng.standard_normal((2, 90))
    state = LOSSES["smooth_l1"]().streaming()
    state.update(x[:30], t[:30])
    state.update(x[30:60], t[30:60], weight=np.full(30, 2.5))
    state.update(x[60:], t[60:], where=np.arange(30) < 10)
    weight = np.repeat([1, 2.5, 1, 0], [30, 30, 10, 20])
    assert same_bits(state.compute(), LOSSES["smooth_l1"]()(x, t, weight=weight))
    assert state.count == 70


# Any loss, at last --------------------------------------------------------------------------------------------------


@every_loss
def test_the_example_of_a_weighted_mean_by_hand(name):
    """Two elements, weights 3 and 1: three quarters of one loss and a quarter of the other."""
    x, t = np.array([0.5, -4.0]), np.zeros(2)
    oracle = ORACLE[name]
    parameter = 0.25
    first, second = (float(oracle.value(Fraction(d), Fraction(parameter))) for d in (0.5, -4.0))
    got = LOSSES[name](**oracle.setting(parameter))(x, t, weight=[3, 1])
    assert math.isclose(got, 0.75 * first + 0.25 * second, rel_tol=1e-14)
