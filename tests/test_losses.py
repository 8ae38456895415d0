"""Loss objects: what they say about themselves, equality, immutability, copies, and the registry that lists them."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest

import cylosses
from cylosses import functional, losses
from cylosses.losses import LOSSES

from .generators import SPREADS
from .reference import ORACLE, same_bits

every_loss = pytest.mark.parametrize("name", LOSSES)


def variants(name):
    """One object for each reduction and sensible parameter."""
    for reduction, parameter in itertools.product(("none", "mean", "sum"), ORACLE[name].parameters):
        yield LOSSES[name](reduction=reduction, **{ORACLE[name].parameter: parameter})


# The registry -------------------------------------------------------------------------------------------------------


def test_registry_oracle_functions_and_classes_name_the_same_losses():
    names = set(ORACLE)
    assert set(LOSSES) == names
    assert {name for name in dir(functional) if name.endswith("_loss") and name[0] != "_"} == {f"{name}_loss" for name in names}
    assert {name for name in dir(functional) if name.endswith("_backward") and name[0] != "_"} == {
        f"{name}_loss_backward" for name in names
    }
    public = {cls.__name__ for cls in vars(losses).values() if isinstance(cls, type) and cls.__name__.endswith("Loss")}
    assert {cls.__name__ for cls in LOSSES.values()} == {name for name in public if hasattr(cylosses, name)} - {"StreamingLoss"}


@every_loss
def test_everything_about_a_loss_is_public_at_the_top(name):
    for public in (LOSSES[name].__name__, f"{name}_loss", f"{name}_loss_backward"):
        assert public in cylosses.__all__
        assert getattr(cylosses, public) is getattr(functional if public[0].islower() else losses, public)


# Settings -----------------------------------------------------------------------------------------------------------


@every_loss
def test_defaults(name):
    loss = LOSSES[name]()
    assert loss.reduction == "mean"
    assert getattr(loss, ORACLE[name].parameter) == ORACLE[name].default


@every_loss
def test_settings_are_attributes(name):
    parameter = ORACLE[name].parameter
    loss = LOSSES[name](reduction="sum", **{parameter: 0.25})
    assert loss.reduction == "sum"
    assert getattr(loss, parameter) == 0.25
    assert type(getattr(loss, parameter)) is float


@every_loss
def test_settings_are_checked_by_the_constructor(name):
    parameter = ORACLE[name].parameter
    for value in ORACLE[name].rejected:
        with pytest.raises(ValueError, match=parameter):
            LOSSES[name](**{parameter: value})
    with pytest.raises(TypeError, match=parameter):
        LOSSES[name](**{parameter: "1"})
    with pytest.raises(ValueError, match=r"reduction.*'median'"):
        LOSSES[name](reduction="median")


def test_positions_of_smooth_l1():
    assert cylosses.SmoothL1Loss(None, None, "sum", 0.5) == cylosses.SmoothL1Loss(reduction="sum", beta=0.5)


@pytest.mark.parametrize(("size_average", "reduce", "meaning"), [(False, None, "sum"), (True, None, "mean"), (None, False, "none")])
def test_legacy_flags_of_smooth_l1(size_average, reduce, meaning):
    with pytest.warns(DeprecationWarning, match=f"reduction=.{meaning}") as caught:
        loss = cylosses.SmoothL1Loss(size_average=size_average, reduce=reduce)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert loss == cylosses.SmoothL1Loss(reduction=meaning)


# The object is its settings -----------------------------------------------------------------------------------------


@every_loss
def test_repr_evaluates_back(name):
    for loss in variants(name):
        assert eval(repr(loss), dict(vars(cylosses))) == loss, repr(loss)
        assert repr(loss).startswith(type(loss).__name__)


@every_loss
def test_equality_and_hash(name):
    for first, second in itertools.product(variants(name), variants(name)):
        settings = [(loss.reduction, getattr(loss, ORACLE[name].parameter)) for loss in (first, second)]
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
    for attribute in ("reduction", ORACLE[name].parameter, "anything_else"):
        with pytest.raises((AttributeError, TypeError)):
            setattr(loss, attribute, "sum")
    for attribute in ("reduction", ORACLE[name].parameter):
        with pytest.raises((AttributeError, TypeError)):
            delattr(loss, attribute)
    assert loss == LOSSES[name]()
    assert hash(loss) == before


# Calls --------------------------------------------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_objects_and_functions_agree(name, dtype, rng):
    inputs, targets = SPREADS["gauss"](rng, 1500, dtype)
    function = getattr(functional, f"{name}_loss")
    backward = getattr(functional, f"{name}_loss_backward")
    for loss in variants(name):
        setting = {ORACLE[name].parameter: getattr(loss, ORACLE[name].parameter)}
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
