"""`smooth_l1_loss` as it is documented: every call shape, the worked examples, the legacy flags, what is returned."""

from __future__ import annotations

import inspect
import sys
import warnings
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

import cylosses
from cylosses import smooth_l1_loss, smooth_l1_loss_backward

from .reference import exact_mean, exact_sum, round_fraction, same_bits

# Errors 0.5, 8 and about 0.1 against beta 1: one in the squared part, one far in the linear part, one small.
PREDICTIONS = np.array([1.5, 2.0, 0.5], np.float32)
TARGETS = np.array([1.0, 10.0, 0.4], np.float32)
SMALL = (np.float32(0.5) - np.float32(0.4)) ** 2 / 2  # float32 throughout

NONE_1 = np.array([0.125, 7.5, SMALL], np.float32)


def expected(reduction, beta):
    """Written out: |d| = 0.5, 8, e with e about 0.1; beta is a power of two, so that only e*e/2 is rounded."""
    losses = {0.5: [0.25, 7.75, SMALL * 2], 1.0: NONE_1.tolist(), 2.0: [0.0625, 7.0, SMALL / 2]}[beta]
    losses = np.array(losses, np.float32)
    if reduction == "none":
        return losses
    total = sum(map(float, losses))  # exact in float64: few bits apart
    return np.float32(total) if reduction == "sum" else np.float32(total / 3)


# Call shapes --------------------------------------------------------------------------------------------------------

CALLS = {
    "two arrays": ((), {}, "mean", 1.0),
    "reduction by keyword": ((), {"reduction": "sum"}, "sum", 1.0),
    "beta by keyword": ((), {"beta": 0.5}, "mean", 0.5),
    "all by keyword": ((), {"size_average": None, "reduce": None, "reduction": "none", "beta": 2}, "none", 2.0),
    "options third": (({"reduction": "sum", "beta": 0.5},), {}, "sum", 0.5),
    "options third, empty": (({},), {}, "mean", 1.0),
    "options third, any mapping": ((MappingProxyType({"beta": 2.0}),), {}, "mean", 2.0),
    "options third, flags None": (({"size_average": None, "reduce": None, "reduction": "sum"},), {}, "sum", 1.0),
    "options by keyword": ((), {"options": {"reduction": "none"}}, "none", 1.0),
    "options by keyword, None": ((), {"options": None}, "mean", 1.0),
    "options and keyword": (({"beta": 0.5},), {"reduction": "sum"}, "sum", 0.5),
    "options and keyword agree": (({"beta": 0.5},), {"beta": 0.5}, "mean", 0.5),
    "six positions": ((None, None, "sum", 2.0), {}, "sum", 2.0),
    "seven positions": ((None, None, "sum", 2.0, None), {}, "sum", 2.0),
    "seven positions, options": ((None, None, "mean", 1.0, {"beta": 1.0, "reduction": "mean"}), {}, "mean", 1.0),
    "seven positions, options alone": ((None, None, "mean", 1.0, {}), {}, "mean", 1.0),
    "positions then keyword": ((None, None, "sum"), {"beta": 0.5}, "sum", 0.5),
    "string third": (("sum",), {}, "sum", 1.0),
    "string third, beta fourth": (("mean", 0.5), {}, "mean", 0.5),
    "string third, beta by keyword": (("none",), {"beta": 0.5}, "none", 0.5),
    "string third, agrees with the keyword": (("sum", 2.0), {"reduction": "sum", "beta": 2.0}, "sum", 2.0),
}


@pytest.mark.parametrize("call", CALLS)
def test_call_shapes(call):
    args, options, reduction, beta = CALLS[call]
    assert same_bits(smooth_l1_loss(PREDICTIONS, TARGETS, *args, **options), expected(reduction, beta))


def test_operands_by_keyword():
    assert same_bits(smooth_l1_loss(input=PREDICTIONS, target=TARGETS), expected("mean", 1.0))
    assert same_bits(smooth_l1_loss(target=TARGETS, input=PREDICTIONS, beta=0.5), expected("mean", 0.5))


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_every_spelling_gives_the_same_bits(reduction, beta):
    want = expected(reduction, beta)
    for args, options in (
        ((), {"reduction": reduction, "beta": beta}),
        (({"reduction": reduction, "beta": beta},), {}),
        ((), {"options": {"reduction": reduction, "beta": beta}}),
        ((None, None, reduction, beta), {}),
        ((None, None, reduction, beta, {"beta": beta}), {}),
        ((reduction, beta), {}),
        ((reduction,), {"beta": beta}),
    ):
        assert same_bits(smooth_l1_loss(PREDICTIONS, TARGETS, *args, **options), want)


@pytest.mark.parametrize("beta", [2, 2.0, np.float32(2), np.float64(2), np.int8(2), np.array(2.0), np.array([2.0])])
def test_beta_may_be_any_single_number(beta):
    assert same_bits(smooth_l1_loss(PREDICTIONS, TARGETS, beta=beta), expected("mean", 2.0))
    assert same_bits(smooth_l1_loss(PREDICTIONS, TARGETS, "mean", beta), expected("mean", 2.0))
    assert same_bits(smooth_l1_loss(PREDICTIONS, TARGETS, {"beta": beta}), expected("mean", 2.0))


def test_a_boolean_beta_is_a_number():
    assert same_bits(smooth_l1_loss(PREDICTIONS, TARGETS, beta=True), expected("mean", 1.0))
    assert smooth_l1_loss([3.0], [0.0], beta=False) == 3


# The five worked examples -------------------------------------------------------------------------------------------


def test_example_of_boxes(rng):
    """Predicted and true box coordinates, [N, 4]: one number."""
    boxes, truth = rng.standard_normal((2, 50, 4)).astype(np.float32)
    loss = smooth_l1_loss(boxes, truth)
    assert type(loss) is np.float32
    assert loss == pytest.approx(np.mean(plain(boxes - truth, 1.0)), rel=1e-6)


def test_example_of_outliers(rng):
    """A few wild targets raise the smooth loss far less than the squared one."""
    predictions, targets = rng.standard_normal((2, 1000))
    before, squares_before = (smooth_l1_loss(predictions, targets), np.mean((predictions - targets) ** 2) / 2)
    targets[:10] += 100 * rng.standard_normal(10)
    after, squares_after = (smooth_l1_loss(predictions, targets), np.mean((predictions - targets) ** 2) / 2)
    assert after - before < (squares_after - squares_before) / 5
    assert after == pytest.approx(np.mean(plain(predictions - targets, 1.0)), rel=1e-12)


def test_example_of_three_betas(rng):
    """The shorthand with the reduction third and beta fourth; a larger beta is a smaller loss, squared further out."""
    predictions, targets = rng.standard_normal((2, 1000))
    losses = [smooth_l1_loss(predictions, targets, "mean", beta) for beta in (0.5, 1.0, 2.0)]
    assert losses == sorted(losses, reverse=True)
    for beta, loss in zip((0.5, 1.0, 2.0), losses, strict=True):
        assert loss == pytest.approx(np.mean(plain(predictions - targets, beta)), rel=1e-12)


def test_example_of_losses_per_element():
    """The outlier costs 8 - 0.5 = 7.5, not the 9.5 that circulates."""
    losses = smooth_l1_loss([1.5, 2.0, 0.5], [1.0, 10.0, 0.4], "none", 1.0)
    assert losses[:2].tolist() == [0.125, 7.5]
    assert losses[2] == pytest.approx(0.005, rel=1e-14)


def test_example_of_a_depth_map(rng):
    """Two images, [H, W]: the mean over all pixels."""
    depth, lidar = rng.gamma(2.0, 5.0, (2, 48, 64)).astype(np.float32)
    loss = smooth_l1_loss(depth, lidar)
    assert loss == smooth_l1_loss(depth.ravel(), lidar.ravel())
    assert loss == pytest.approx(np.mean(plain(depth - lidar, 1.0)), rel=1e-6)


def plain(errors, beta):
    """The textbook formula in float64: for comparison with a tolerance where bits are not the point."""
    magnitude = abs(np.asarray(errors, np.float64))
    return np.where(magnitude < beta, magnitude**2 / (2 * beta), magnitude - beta / 2)


# Legacy flags -------------------------------------------------------------------------------------------------------

LEGACY = [
    # size_average, reduce, the reduction that they mean
    (None, False, "none"),
    (True, False, "none"),
    (False, False, "none"),
    (False, None, "sum"),
    (False, True, "sum"),
    (True, None, "mean"),
    (True, True, "mean"),
    (None, True, "mean"),
    (np.True_, np.False_, "none"),
]


@pytest.mark.parametrize(("size_average", "reduce", "meaning"), LEGACY)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_legacy_flags_replace_the_reduction(size_average, reduce, meaning, reduction):
    for args, options in (
        ((size_average, reduce, reduction), {}),
        ((), {"size_average": size_average, "reduce": reduce, "reduction": reduction}),
        (({"size_average": size_average, "reduce": reduce, "reduction": reduction},), {}),
    ):
        with pytest.warns(DeprecationWarning, match=f"reduction=.{meaning}") as caught:
            got = smooth_l1_loss(PREDICTIONS, TARGETS, *args, **options)
        assert same_bits(got, expected(meaning, 1.0))
        assert len(caught) == 1


@pytest.mark.parametrize("flag", [0, 1, 0.5, "true", [True]])
def test_a_flag_that_is_no_bool_is_refused(flag):
    """A number in third place is more likely a beta that went astray than a truth value."""
    for name in ("size_average", "reduce"):
        with pytest.raises(TypeError, match=name):
            smooth_l1_loss(PREDICTIONS, TARGETS, options={name: flag})
        if (name, flag) != ("size_average", "true"):  # a string in third place is the reduction
            with pytest.raises(TypeError, match=name):
                cylosses.SmoothL1Loss(**{name: flag})
    if not isinstance(flag, str):  # a string in third place is the reduction
        with pytest.raises(TypeError, match="size_average"):
            smooth_l1_loss(PREDICTIONS, TARGETS, flag)


def here():
    """The line number of the caller."""
    return inspect.currentframe().f_back.f_lineno


def test_a_warning_points_at_the_line_of_the_call():
    calls = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        calls.append((here(), smooth_l1_loss(PREDICTIONS, TARGETS, size_average=False)))
        calls.append((here(), smooth_l1_loss(PREDICTIONS, TARGETS, {"reduce": False})))
        calls.append((here(), smooth_l1_loss(PREDICTIONS, TARGETS, None, False)))
        calls.append((here(), cylosses.SmoothL1Loss(size_average=False)))
        calls.append((here(), smooth_l1_loss(PREDICTIONS, TARGETS[:, None])))
        calls.append((here(), smooth_l1_loss(PREDICTIONS, TARGETS[:, None], "none", 0.5)))
        calls.append((here(), smooth_l1_loss_backward(1.0, PREDICTIONS, TARGETS[:, None])))
        calls.append((here(), cylosses.SmoothL1Loss()(PREDICTIONS, TARGETS[:, None])))
        calls.append((here(), cylosses.SmoothL1Loss().grad(PREDICTIONS, TARGETS[:, None])))
        calls.append((here(), cylosses.SmoothL1Loss().value_and_grad(PREDICTIONS, TARGETS[:, None])))
    assert [warning.lineno for warning in caught] == [line for line, _ in calls]
    assert {warning.filename for warning in caught} == {__file__}
    assert [warning.category for warning in caught] == [DeprecationWarning] * 4 + [cylosses.BroadcastWarning] * 6


def test_a_caller_whose_folder_has_a_similar_name_is_outside_of_the_package():
    script = Path(cylosses.__file__).parent.with_name("cylosses_tools") / "script.py"
    with pytest.warns(DeprecationWarning, match="reduction") as caught:
        exec(compile("smooth_l1_loss([1.0], [0.0], None, False)", script, "exec"), {"smooth_l1_loss": smooth_l1_loss})
    assert caught[0].filename == str(script)


def test_no_warning_without_legacy_flags_or_broadcasting():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        smooth_l1_loss(PREDICTIONS, TARGETS, None, None, "mean", 1.0, None)
        smooth_l1_loss(PREDICTIONS, TARGETS, {"size_average": None, "reduce": None})
        value = smooth_l1_loss(PREDICTIONS.reshape(1, 3), TARGETS.reshape(1, 3))
    assert value == expected("mean", 1.0)


# What comes back ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3)])
def test_types_of_results(dtype, shape):
    x, t = np.full(shape, 2, dtype), np.ones(shape, dtype)
    for reduction in ("mean", "sum"):
        assert type(smooth_l1_loss(x, t, reduction)) is dtype
    losses = smooth_l1_loss(x, t, "none")
    assert np.shape(losses) == shape
    assert losses.dtype == dtype
    gradient = smooth_l1_loss_backward(1.0, x, t)
    assert np.shape(gradient) == shape
    assert gradient.dtype == dtype


def test_scalars_are_accepted():
    assert smooth_l1_loss(3.0, 1.0) == 1.5
    assert smooth_l1_loss(3, 1) == 1.5
    assert type(smooth_l1_loss(3, 1)) is np.float64
    assert smooth_l1_loss(np.float32(3), np.float32(1), "none") == 1.5


@pytest.mark.parametrize("number", [3, 3.0, True])
def test_numbers_of_python_take_the_dtype_of_the_array(number):
    """As in NumPy 2; lists of numbers are float64 arrays."""
    for dtype in (np.float16, np.float32, np.float64):
        x = np.full(5, number, dtype)
        for first, second in ((x, number), (number, x)):
            assert same_bits(smooth_l1_loss(first, second, "none"), np.zeros(5, dtype))
    assert type(smooth_l1_loss(np.float32(5), number)) is np.float32
    assert type(smooth_l1_loss(np.float32([5]), [float(number)])) is np.float64


def test_results_are_new_arrays():
    x = np.array([1.0, 2.0])
    for result in (smooth_l1_loss(x, x, "none"), smooth_l1_loss_backward(1.0, x, x)):
        assert result.flags.owndata
        assert result.flags.writeable
        assert result.flags.c_contiguous
        assert not np.shares_memory(result, x)


def test_inputs_are_not_changed(rng):
    for dtype in (np.float16, np.float32, np.float64, np.int32):
        x, t = (100 * rng.standard_normal((2, 3000))).astype(dtype)
        before = x.copy(), t.copy()
        for reduction in ("none", "mean", "sum"):
            smooth_l1_loss(x, t, reduction)
            smooth_l1_loss_backward(1.0, x, t, reduction)
            cylosses.SmoothL1Loss(reduction=reduction).value_and_grad(x, t)
        assert same_bits(x, before[0])
        assert same_bits(t, before[1])


def test_options_are_not_changed():
    options = {"reduction": "sum", "beta": 0.5}
    smooth_l1_loss(PREDICTIONS, TARGETS, options)
    assert options == {"reduction": "sum", "beta": 0.5}


# Nothing else happens -----------------------------------------------------------------------------------------------


def test_numpy_error_state_is_neither_used_nor_changed(rng):
    """Overflow, underflow, 0/0 and NaN are documented results here, not floating-point errors."""
    extreme = np.array([3e38, -3e38, 1e-45, 0.0, np.inf, np.nan, 1e-30], np.float32)
    partner = np.array([-3e38, 3e38, 0.0, 0.0, np.inf, 1.0, 1.0], np.float32)
    with np.errstate(all="raise"):
        state = np.geterr()
        for beta in (0.0, 1.0, 1e-60, 1e60, np.inf):
            for reduction in ("none", "mean", "sum"):
                smooth_l1_loss(extreme, partner, reduction, beta)
                smooth_l1_loss(extreme[:0], partner[:0], reduction, beta)
                smooth_l1_loss_backward(1e300, extreme, partner, reduction, beta)
                smooth_l1_loss(np.float16([6e4]), np.float16([-6e4]), reduction, beta)
        assert np.geterr() == state
        with pytest.raises(FloatingPointError):  # not even a flag of the processor is left behind that NumPy would see
            np.float32(3e38) * np.float32(10)
        assert np.float32(1) + np.float32(1) == 2


def test_no_references_are_kept():
    x, t, out = np.ones(100), np.zeros(100), np.empty(100)
    scalar_out, beta, options = np.empty(()), float("0.123"), {"beta": 0.25}
    loss = cylosses.SmoothL1Loss()

    def everything():
        for reduction in ("none", "mean", "sum"):
            smooth_l1_loss(x, t, reduction, beta)
            smooth_l1_loss(x, t, options)
            smooth_l1_loss_backward(beta, x, t, reduction)
        smooth_l1_loss(x, t, "none", out=out)
        smooth_l1_loss(x, t, out=scalar_out)
        loss.value_and_grad(x, t)
        for wrong in ({"beta": -1.0}, {"reduction": "bad"}, {"out": x}, {"n_threads": 0}):
            with pytest.raises(ValueError, match=next(iter(wrong))):
                smooth_l1_loss(x, t, **wrong)

    held = (x, t, out, scalar_out, beta, options, loss)
    everything()
    before = [sys.getrefcount(item) for item in held]
    for _ in range(50):
        everything()
    assert [sys.getrefcount(item) for item in held] == before


def test_no_memory_is_kept(rng):
    x, t = rng.standard_normal((2, 5000)).astype(np.float32)
    swapped = x.astype(">f4")

    def everything():
        for reduction in ("none", "mean", "sum"):
            smooth_l1_loss(x, t, reduction, 0.5)
            smooth_l1_loss(swapped[::-1], t, reduction, n_threads=2)
            smooth_l1_loss_backward(2.0, x, t, reduction)

    for _ in range(20):
        everything()
    before = sys.getallocatedblocks()
    for _ in range(300):
        everything()
    assert sys.getallocatedblocks() - before < 300


# dtypes -------------------------------------------------------------------------------------------------------------

RESULT_DTYPES = [
    ("float32", "float32", "float32"),
    ("float64", "float64", "float64"),
    ("float16", "float16", "float16"),
    ("float32", "float64", "float64"),
    ("float16", "float32", "float32"),
    ("float16", "float64", "float64"),
    *[("float32", other, "float32") for other in ("int8", "uint8", "int16", "int32", "int64", "uint64", "bool")],
    *[("float16", other, "float16") for other in ("int8", "int64", "bool")],
    *[("float64", other, "float64") for other in ("int8", "uint64", "bool")],
    *[(integer, integer, "float64") for integer in ("int8", "uint8", "int16", "int32", "int64", "uint64", "bool")],
    ("int8", "uint64", "float64"),
    ("bool", "int16", "float64"),
]


@pytest.mark.parametrize(("first", "second", "result"), RESULT_DTYPES)
@pytest.mark.parametrize("length", [3, 3000])
def test_dtype_of_the_result(first, second, result, length, rng):
    a, b = rng.integers(0, 2 if "bool" in (first, second) else 100, (2, length))
    for x, t in ((a.astype(first), b.astype(second)), (b.astype(second), a.astype(first))):
        working = np.float32 if result != "float64" else np.float64
        plain_x, plain_t = x.astype(working), t.astype(working)
        losses = smooth_l1_loss(plain_x, plain_t, "none").astype(result)
        assert same_bits(smooth_l1_loss(x, t, "none"), losses)
        for reduction in ("mean", "sum"):
            total = sum(map(float, losses))  # small multiples of 1/2: exact
            got = smooth_l1_loss(x, t, reduction)
            assert got.dtype == result
            if reduction == "sum":
                with np.errstate(over="ignore"):
                    assert same_bits(got, np.dtype(result).type(total))
        gradient = smooth_l1_loss_backward(1.0, plain_x, plain_t)
        assert same_bits(smooth_l1_loss_backward(1.0, x, t), gradient.astype(result))


def test_integers_convert_to_the_working_dtype():
    big = 2**53
    assert smooth_l1_loss(np.array([big]), np.array([1])) == big - 1.5
    assert smooth_l1_loss(np.array([2**63], np.uint64), np.array([-(2**62)])) == 2**63 + 2**62
    assert smooth_l1_loss(np.array([0], np.uint8), np.array([255], np.uint8)) == 254.5  # no wrap-around
    assert smooth_l1_loss(np.array([True]), np.array([False])) == 0.5


def test_float16_results_are_reductions_of_rounded_losses(rng):
    """Computed in float32, each loss rounded to float16; sum and mean are exact over those and rounded once."""
    x, t = rng.standard_normal((2, 3001)).astype(np.float16)
    losses = smooth_l1_loss(x, t, "none", 0.3)
    assert same_bits(losses, smooth_l1_loss(x.astype(np.float32), t.astype(np.float32), "none", 0.3).astype(np.float16))
    assert same_bits(smooth_l1_loss(x, t, "mean", 0.3), round_fraction(exact_mean(losses), np.float16))
    assert same_bits(smooth_l1_loss(x, t, "sum", 0.3), round_fraction(exact_sum(losses), np.float16))


def test_float16_sums_overflow_and_means_do_not():
    x, t = np.full(100, 6e4, np.float16), np.zeros(100, np.float16)
    assert smooth_l1_loss(x, t, "sum") == np.inf
    assert smooth_l1_loss(x, t, "mean") == x[0]  # the half does not show
