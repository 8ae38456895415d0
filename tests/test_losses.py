"""Loss objects: what they say about themselves, equality, immutability, copies, and the registry that lists them."""

from __future__ import annotations

import copy
import functools
import itertools
import pickle
import re
from fractions import Fraction

import numpy as np
import pytest

import cylosses
from cylosses import functional, losses
from cylosses.losses import LOSSES

from .generators import SPREADS
from .reference import ORACLE, accepts, as_fraction, same_bits

every_loss = pytest.mark.parametrize("name", LOSSES)


def variants(name):
    """One object for each reduction and sensible parameter."""
    for reduction, parameter in itertools.product(("none", "mean", "sum"), ORACLE[name].parameters):
        yield LOSSES[name](reduction=reduction, **ORACLE[name].setting(parameter))


def parameter_of(loss):
    """The parameter of an object; None for losses without."""
    return loss.parameter_name and getattr(loss, loss.parameter_name)


with_parameter = pytest.mark.parametrize("name", [name for name in LOSSES if ORACLE[name].parameter])


# The registry -------------------------------------------------------------------------------------------------------


def test_registry_oracle_functions_and_classes_name_the_same_losses():
    names = set(ORACLE)
    assert set(LOSSES) == names
    assert {name for name in dir(functional) if name.endswith("_loss") and name[0] != "_"} == {f"{name}_loss" for name in names}
    assert {name for name in dir(functional) if name.endswith("_backward") and name[0] != "_"} == {
        f"{name}_loss_backward" for name in names
    }
    public = {cls.__name__ for cls in vars(losses).values() if isinstance(cls, type) and cls.__name__.endswith("Loss")} - {"Loss"}
    assert {cls.__name__ for cls in LOSSES.values()} == {name for name in public if hasattr(cylosses, name)} - {"StreamingLoss"}


@every_loss
def test_everything_about_a_loss_is_public_at_the_top(name):
    for public in (LOSSES[name].__name__, f"{name}_loss", f"{name}_loss_backward"):
        assert public in cylosses.__all__
        assert getattr(cylosses, public) is getattr(functional if public[0].islower() else losses, public)


# What a class says of its loss --------------------------------------------------------------------------------------

RATIOS = [Fraction(k, 16) for k in range(-80, 81)]  # errors in units of the parameter


@every_loss
def test_a_loss_is_convex_or_not(name):
    """The second derivative is never negative, and the loss half-way between two errors never above the mean of both."""
    p, oracle = Fraction(1, 4), ORACLE[name]
    values = [as_fraction(oracle.value(ratio * p, p)) for ratio in RATIOS]
    tiny = Fraction(1, 10**50)  # where a root was taken
    below_chords = all(values[k - s] + values[k + s] >= 2 * values[k] - tiny for s in (1, 8, 40) for k in range(s, len(RATIOS) - s))
    bent_up = all(oracle.second_derivative(ratio * p, p) >= 0 for ratio in RATIOS)
    assert LOSSES[name].convex == below_chords == bent_up


@every_loss
def test_a_loss_has_a_kink_or_not(name):
    """The derivative jumps somewhere: across a kink, by more than the curvature beside it explains."""
    oracle, p = ORACLE[name], Fraction(ORACLE[name].default)
    step = (p or 1) * Fraction(1, 2**40)
    pairs = [(oracle.derivative(at - step, p), oracle.derivative(at + step, p)) for at in oracle.kinks(p)]
    assert LOSSES[name].kinked == any(abs(as_fraction(after) - as_fraction(before)) > 2.0**-20 for before, after in pairs)


@every_loss
def test_a_parameter_is_a_length_or_not(name):
    """Errors and parameter twice as large: the loss has then the same derivative, or one twice as large, at all errors."""
    oracle, p = ORACLE[name], Fraction(1, 4)
    once = [as_fraction(oracle.derivative(ratio * p, p)) for ratio in RATIOS]
    twice = [as_fraction(oracle.derivative(2 * ratio * p, 2 * p)) for ratio in RATIOS]
    tiny = Fraction(1, 10**50)  # where a root was taken
    scales = any(all(abs(b - factor * a) <= tiny for a, b in zip(once, twice, strict=True)) for factor in (1, 2))
    assert LOSSES[name].parameter_is_length == (oracle.parameter is not None and scales)
    assert (LOSSES[name].boosting_default is not None) == LOSSES[name].parameter_is_length
    if LOSSES[name].boosting_default is not None:
        assert oracle.valid(Fraction(LOSSES[name].boosting_default))


@every_loss
def test_the_accuracy_that_is_promised_is_the_one_that_is_tested(name):
    assert LOSSES[name].max_ulp_error == max(2, *ORACLE[name].ulps)


# Settings -----------------------------------------------------------------------------------------------------------


@every_loss
def test_defaults(name):
    loss = LOSSES[name]()
    assert loss.reduction == "mean"
    assert loss.parameter_name == ORACLE[name].parameter
    if loss.parameter_name:
        assert parameter_of(loss) == ORACLE[name].default == loss.default


@with_parameter
def test_settings_are_attributes(name):
    parameter = ORACLE[name].parameter
    loss = LOSSES[name](reduction="sum", **{parameter: 0.25})
    assert loss.reduction == "sum"
    assert getattr(loss, parameter) == 0.25
    assert type(getattr(loss, parameter)) is float


@with_parameter
def test_parameters_are_checked_by_constructor_and_functions(name):
    """By the constructor, and by the functions on two arrays of either dtype."""
    parameter, x = ORACLE[name].parameter, np.ones(3)
    function, backward = getattr(functional, f"{name}_loss"), getattr(functional, f"{name}_loss_backward")
    for value in ORACLE[name].rejected:
        for reduction in ("none", "mean", "sum"):
            for call in (
                LOSSES[name],
                functools.partial(function, x, x),
                functools.partial(function, x.astype("f4"), x.astype("f4")),
                functools.partial(backward, 1.0, x, x),
            ):
                with pytest.raises(ValueError, match=rf"{parameter}.*{re.escape(repr(value))}"):
                    call(reduction=reduction, **{parameter: value})
    for call in (LOSSES[name], functools.partial(function, x, x), functools.partial(backward, 1.0, x, x)):
        for value in ("1", None, ["1.0"], [1.0, None], 1j):
            with pytest.raises(TypeError, match=parameter):
                call(**{parameter: value})


@with_parameter
def test_parameters_that_leave_their_interval_in_float32_are_refused(name):
    x, t = np.array([3.0, 1.0]), np.array([1.0, 1.0])
    narrow = x.astype(np.float32), t.astype(np.float32)
    half = x.astype(np.float16), t.astype(np.float16)
    far = [p for p in (1e-60, 1e-46, 1e300, 1 - 2.0**-50, 1 - 2.0**-26) if accepts(name, p, np.float64)]
    assert far
    for value in far:
        setting = ORACLE[name].setting(value)
        for reduction in ("none", "mean", "sum"):
            loss = LOSSES[name](reduction=reduction, **setting)
            calls = {
                "call": loss,
                "grad": loss.grad,
                "both": loss.value_and_grad,
                "hessian": loss.grad_and_hess,
                "function": functools.partial(getattr(functional, f"{name}_loss"), reduction=reduction, **setting),
                "backward": functools.partial(getattr(functional, f"{name}_loss_backward"), 1.0, reduction=reduction, **setting),
            }
            if reduction != "none":
                calls["streaming"] = loss.streaming().update
            for call in calls.values():
                call(x, t)
                for pair in (narrow, half, (narrow[0], [1, 1])):
                    if accepts(name, value, np.float32):
                        call(*pair)
                        continue
                    with pytest.raises(ValueError, match=rf"{ORACLE[name].parameter}={re.escape(repr(value))} rounds to.*float32"):
                        call(*pair)


@every_loss
def test_reductions_are_checked_by_the_constructor(name):
    with pytest.raises(ValueError, match=r"reduction.*'median'"):
        LOSSES[name](reduction="median")


LEGACY = ("smooth_l1", "l1", "mse")  # PyTorch's losses that have the flags


@every_loss
def test_positions_of_the_settings(name):
    for loss in variants(name):
        parameter = () if parameter_of(loss) is None else (parameter_of(loss),)
        flags = (None, None) if name in LEGACY else ()
        assert LOSSES[name](*flags, loss.reduction, *parameter) == loss
        assert LOSSES[name].legacy == (name in LEGACY)


@pytest.mark.parametrize("name", LEGACY)
@pytest.mark.parametrize(
    ("size_average", "reduce", "meaning"),
    [(False, None, "sum"), (True, None, "mean"), (None, False, "none"), (False, True, "sum"), (False, False, "none")],
)
def test_legacy_flags(name, size_average, reduce, meaning):
    x, t = np.array([3.0, 1.0]), np.array([1.0, 1.0])
    function = getattr(functional, f"{name}_loss")
    expected = LOSSES[name](reduction=meaning)(x, t)
    for call in (
        lambda: LOSSES[name](size_average=size_average, reduce=reduce)(x, t),
        lambda: LOSSES[name](size_average, reduce)(x, t),
        lambda: function(x, t, size_average, reduce),
        lambda: function(x, t, size_average=size_average, reduce=reduce, reduction="sum"),
    ):
        with pytest.warns(DeprecationWarning, match=f"reduction=.{meaning}") as caught:
            assert same_bits(call(), expected)
        assert len(caught) == 1
        assert caught[0].filename == __file__


@pytest.mark.parametrize("name", LEGACY)
def test_a_string_in_third_place_is_the_reduction(name):
    x, t = np.array([3.0, 1.0]), np.array([1.0, 1.0])
    function = getattr(functional, f"{name}_loss")
    for reduction in ("none", "mean", "sum"):
        assert same_bits(function(x, t, reduction), LOSSES[name](reduction=reduction)(x, t))
        assert LOSSES[name](reduction) == LOSSES[name](reduction=reduction)
        assert same_bits(function(x, t, reduction, reduction=reduction), LOSSES[name](reduction=reduction)(x, t))
    with pytest.raises(ValueError, match=r"reduction.*'median'"):
        function(x, t, "median")
    with pytest.raises(TypeError, match="reduction"):
        function(x, t, "sum", reduction="none")


# The object is its settings -----------------------------------------------------------------------------------------


@every_loss
def test_repr_evaluates_back(name):
    for loss in variants(name):
        assert eval(repr(loss), dict(vars(cylosses))) == loss, repr(loss)
        assert repr(loss).startswith(type(loss).__name__)


@every_loss
def test_equality_and_hash(name):
    for first, second in itertools.product(variants(name), variants(name)):
        settings = [(loss.reduction, parameter_of(loss)) for loss in (first, second)]
        assert (first == second) == (settings[0] == settings[1])
        assert (first != second) == (settings[0] != settings[1])
        if first == second:
            assert hash(first) == hash(second)
    assert len({*variants(name), *variants(name)}) == len(list(variants(name)))
    assert LOSSES[name]() != name
    assert LOSSES[name]() is not None


@every_loss
def test_copies_and_pickles(name):
    for loss in variants(name):
        for twin in (
            copy.copy(loss),
            copy.deepcopy(loss),
            *(pickle.loads(pickle.dumps(loss, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)),
        ):
            assert twin == loss
            assert type(twin) is type(loss)
            assert hash(twin) == hash(loss)
            assert twin([3.0], [1.0]) == loss([3.0], [1.0])


@every_loss
def test_losses_cannot_be_changed(name):
    loss = LOSSES[name]()
    before = hash(loss)
    own = ["reduction", *ORACLE[name].setting(1.0)]
    for attribute in (*own, "anything_else"):
        with pytest.raises((AttributeError, TypeError)):
            setattr(loss, attribute, "sum")
    for attribute in own:
        with pytest.raises((AttributeError, TypeError)):
            delattr(loss, attribute)
    assert loss == LOSSES[name]()
    assert hash(loss) == before


# Subclasses ---------------------------------------------------------------------------------------------------------


@every_loss
def test_a_subclass_has_the_row_of_its_loss(name):
    class Named(LOSSES[name]):
        """One more name."""

        name = "named"

    assert same_bits(Named()([3.0], [1.0]), LOSSES[name]()([3.0], [1.0]))
    assert Named() != LOSSES[name]()
    assert Named() == Named()


@every_loss
@pytest.mark.parametrize(
    "own", [{"_code": 63}, {"accepted": (-1.0, 1.0)}, {"parameter_name": "gamma"}, {"convex": None}, {"costly": None}]
)
def test_a_subclass_changes_no_row(name, own):
    rejected = [*ORACLE[name].rejected, *ORACLE[name].parameters]
    before = [accepts_parameter(name, parameter) for parameter in rejected]
    with pytest.raises(TypeError, match=f"Own cannot have {next(iter(own))} of its own: a subclass of {LOSSES[name].__name__}"):
        type("Own", (LOSSES[name],), own)
    with pytest.raises(TypeError, match="Own cannot have"):
        type("Own", (type("Between", (LOSSES[name],), {}),), own)
    with pytest.raises(TypeError, match="Own cannot have"):
        type("Own", (type("Mixin", (), own), LOSSES[name]), {})
    assert [accepts_parameter(name, parameter) for parameter in rejected] == before


def accepts_parameter(name, parameter):
    try:
        getattr(functional, f"{name}_loss")([1.0], [0.0], **ORACLE[name].setting(parameter))
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    "own", [{}, {"_code": 3}, *({"_code": code} for code in (len(LOSSES), 63, 64, -1, 10**6, 2**40, "a", None))]
)
def test_a_class_that_the_kernels_do_not_know_is_refused(own):
    with pytest.raises(TypeError, match="Foreign is no loss that the kernels know"):
        type("Foreign", (losses.Loss,), {"name": "foreign", **own})


def test_a_class_of_the_same_name_has_not_the_row():
    with pytest.raises(TypeError, match=r"row 3 of the kernels' table is not free: cylosses\.losses\.convex\.HuberLoss has it"):
        type("HuberLoss", (losses.Loss,), {"__module__": "cylosses.losses.convex", "_code": 3, "accepted": (0.0, 9.0)})
    assert losses.HuberLoss(delta=10.0)([1.0], [0.0]) == 0.5


@pytest.mark.parametrize("code", [len(LOSSES), 64, -1, 10**6, 2**31 - 1])
def test_a_wrong_row_does_no_harm(code, monkeypatch):
    monkeypatch.setattr(losses.HuberLoss, "_code", code)
    loss = object.__new__(losses.HuberLoss)
    object.__setattr__(loss, "reduction", "mean")
    object.__setattr__(loss, "_parameter", 1.0)
    for call in (loss, loss.grad, loss.value_and_grad, loss.grad_and_hess):
        with pytest.raises(ValueError, match=f"row {code} of the kernels' table"):
            call(np.ones(3), np.zeros(3))
    with pytest.raises(ValueError, match=f"row {code} of the kernels' table"):
        loss.streaming().update([1.0], [0.0])


# Calls --------------------------------------------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_objects_and_functions_agree(name, dtype, rng):
    inputs, targets = SPREADS["gauss"](rng, 1500, dtype)
    function = getattr(functional, f"{name}_loss")
    backward = getattr(functional, f"{name}_loss_backward")
    for loss in variants(name):
        if not accepts(name, parameter_of(loss) or 0.0, dtype):
            continue
        setting = ORACLE[name].setting(parameter_of(loss))
        assert same_bits(loss(inputs, targets), function(inputs, targets, reduction=loss.reduction, **setting))
        gradient = backward(1.0, inputs, targets, loss.reduction, **setting)
        assert same_bits(loss.grad(inputs, targets), gradient)
        value, gradient_again = loss.value_and_grad(inputs, targets)
        assert same_bits(value, loss(inputs, targets))
        assert same_bits(gradient_again, gradient)


@every_loss
def test_operands_by_keyword(name):
    loss = LOSSES[name]()
    assert loss(target=[1.0], input=[3.0]) == loss([3.0], [1.0])
    assert loss.grad(target=[1.0], input=[3.0]) == loss.grad([3.0], [1.0])
    assert loss.value_and_grad(target=[1.0], input=[3.0]) == loss.value_and_grad([3.0], [1.0])
