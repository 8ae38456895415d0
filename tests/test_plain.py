"""The direct way of plain calls and the general way of all others: the same bits and the same errors, whichever a call takes."""

from __future__ import annotations

import numpy as np
import pytest

import cylosses
from cylosses import LOSSES, SmoothL1Loss, smooth_l1_loss, smooth_l1_loss_backward
from cylosses._kernels import dispatch

from .reference import same_bits


@pytest.fixture
def general(monkeypatch):
    """Switch that closes the direct way."""

    def close():
        monkeypatch.setattr(dispatch, "plain_loss", lambda *arguments: None)
        monkeypatch.setattr(dispatch, "plain_gradient", lambda *arguments: None)
        monkeypatch.setattr(dispatch, "plain_gradient_and_hessian", lambda *arguments: None)

    return close


@pytest.fixture
def direct(monkeypatch):
    """Make the general way fail."""

    def closed(*arguments, **options):
        raise AssertionError("this call went the general way")

    monkeypatch.setattr(cylosses.losses, "Call", closed)


def outcome(call):
    """What a call returns, or its error."""
    try:
        return call()
    except (TypeError, ValueError) as error:
        return type(error), str(error)


def alike(a, b):
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, np.generic | np.ndarray):
        return type(a) is type(b) and same_bits(a, b)
    return a == b


def pairs(dtype, rng):
    for shape in ((), (0,), (1,), (17,), (3, 5), (2, 0, 3), (3001,)):
        yield rng.standard_normal(shape).astype(dtype) + dtype(0), rng.standard_normal(shape).astype(dtype) + dtype(0)


# The same whichever way -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_both_ways_give_the_same_bits(name, dtype, rng, general):
    function, backward = getattr(cylosses, f"{name}_loss"), getattr(cylosses, f"{name}_loss_backward")
    calls = []
    for x, t in ((np.asarray(x), np.asarray(t)) for x, t in pairs(dtype, rng)):
        for reduction in ("none", "mean", "sum"):
            loss = LOSSES[name](reduction=reduction)
            result = np.empty(x.shape if reduction == "none" else (), dtype)
            calls += [
                lambda x=x, t=t, r=reduction: function(x, t, reduction=r),
                lambda x=x, t=t, r=reduction: function(x, t, reduction=r, n_threads=2),
                lambda x=x, t=t, r=reduction, out=result: function(x, t, reduction=r, out=out).copy(),
                lambda x=x, t=t, r=reduction: backward(0.3, x, t, r),
                lambda x=x, t=t, r=reduction: backward(np.float64(1e300), x, t, r),
                lambda x=x, t=t, r=reduction: backward(-3, x, t, r, wrt="target", n_threads=1),
                lambda x=x, t=t, loss=loss: loss(x, t),
                lambda x=x, t=t, loss=loss: loss.grad(x, t, out=np.empty(x.shape, dtype)),
                lambda x=x, t=t, loss=loss: loss.value_and_grad(x, t),
            ]
    quick = [call() for call in calls]
    general()
    assert all(alike(call(), before) for call, before in zip(calls, quick, strict=True))


X, T = np.array([1.0, 2.0, 3.0], np.float32), np.array([1.0, 0.0, 0.0], np.float32)
READ_ONLY = np.zeros(3, np.float32)
READ_ONLY.flags.writeable = False
OPTIONS = [
    *({"reduction": value} for value in ("Mean", "", None, 1, ["mean"], np.str_("sum"))),
    *({"beta": value} for value in (2, True, -1, -1.0, -0.0, np.nan, 1e-60, 10**30, "1", None, np.float32(2), np.float64(2))),
    *({"n_threads": value} for value in (0, -1, 1.0, True, 2000, 10**30, np.int64(2), "2")),
    *({"out": value} for value in (np.zeros(3), np.zeros((), np.float64), np.zeros(4, np.float32), READ_ONLY, [0.0] * 3, X)),
    *({"axis": value} for value in (0, (), (0,), 1, "0")),
]
CALL_OPTIONS = [
    *OPTIONS,
    *({"keepdims": value} for value in (True, 1, 0, np.True_)),
    *({"size_average": value} for value in ("sum", "median", 3)),
]

GRADIENT_OPTIONS = [
    *OPTIONS,
    *({"wrt": value} for value in ("target", "both", None, 0)),
    *({"grad": value} for value in (None, np.nan, "1")),
]


@pytest.mark.parametrize("options", CALL_OPTIONS, ids=str)
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_both_ways_take_and_refuse_the_same_options(options, reduction, general):
    def call():
        return outcome(lambda: smooth_l1_loss(X.copy(), T, **{"reduction": reduction, **options}))

    before = call()
    general()
    assert alike(call(), before)


@pytest.mark.parametrize("options", GRADIENT_OPTIONS, ids=str)
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_both_ways_take_and_refuse_the_same_options_of_gradients(options, reduction, general):
    settings = {"reduction": reduction, **options}
    grad_output = settings.pop("grad", 2.0)

    def call():
        return outcome(lambda: smooth_l1_loss_backward(grad_output, X.copy(), T, **settings))

    before = call()
    general()
    assert alike(call(), before)


# What is plain ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_plain_calls_take_the_direct_way(dtype, direct):
    x, t, out, number = X.astype(dtype), T.astype(dtype), np.empty(3, dtype), np.empty((), dtype)
    loss, losses = SmoothL1Loss(), SmoothL1Loss(reduction="none")
    for reduction in ("none", "mean", "sum"):
        smooth_l1_loss(x, t, reduction=reduction)
        smooth_l1_loss(x, t, reduction)
        smooth_l1_loss(x, t, reduction, 2)
        smooth_l1_loss(x, t, {"reduction": reduction})
        smooth_l1_loss(x, t, reduction=reduction, n_threads=3)
        smooth_l1_loss_backward(1.0, x, t, reduction, wrt="target")
        cylosses.l1_loss(x, t, reduction)
        cylosses.huber_loss(x, t, reduction, 2.0)
    assert smooth_l1_loss(x, t, out=number) is number
    assert losses(x, t, out=out) is out
    assert losses(x, t, out=x) is x  # element upon element
    assert loss.grad(x, t, out=out, n_threads=1) is out
    assert loss.value_and_grad(x, t, out=out)[1] is out


def test_an_output_across_an_operand_does_not():
    shared = np.arange(8.0)
    expected = smooth_l1_loss(shared[1:].copy(), shared[:-1].copy(), "none")
    assert same_bits(smooth_l1_loss(shared[1:], shared[:-1].copy(), "none", out=shared[:-1]), expected)


def test_a_sum_may_be_written_to_its_operand():
    x = np.array(3.0)
    assert smooth_l1_loss(x, np.array(1.0), out=x) is x
    assert x == 1.5
