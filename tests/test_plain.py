"""The direct way of plain calls and the general way of all others: the same bits and the same errors, whichever a call takes."""

from __future__ import annotations

import random

import numpy as np
import pytest

import cylosses
from cylosses import LOSSES, SmoothL1Loss, smooth_l1_loss, smooth_l1_loss_backward
from cylosses._core import dispatch

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

    monkeypatch.setattr(cylosses.losses.base, "Call", closed)


def outcome(call):
    """What a call returns, or its error."""
    try:
        return call()
    except (TypeError, ValueError) as error:
        return type(error), str(error)


def copied(result):
    """The result, whose arrays may be written to again."""
    if isinstance(result, tuple):
        return tuple(map(copied, result))
    return result.copy() if isinstance(result, np.ndarray) else result


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


def layouts(x, t):
    """The same numbers in other arrays: by name, pairs of input and target."""
    yield "contiguous", x, t
    for step in (2, -1, -3):
        wide = [np.repeat(a, abs(step), axis=-1)[..., ::step] if a.ndim else a for a in (x, t)]
        yield f"every {step}", *wide
        yield f"every {step}, beside contiguous", x, wide[1]
    yield "Fortran", np.array(x, order="F"), np.array(t, order="F")
    yield "C and Fortran", x, np.array(t, order="F")
    yield "transposed", x.T, t.T
    if x.ndim:
        yield "one number everywhere", x, np.broadcast_to(t[(0,) * t.ndim], x.shape) if t.size else t
    yield "mixed", x, t.astype(np.float32 if t.dtype == np.float64 else np.float64)
    yield "mixed and strided", np.repeat(x, 2)[::2].reshape(x.shape).T, t.astype(np.float64).T
    yield "swapped bytes", x.astype(x.dtype.newbyteorder()), t
    buffer = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    buffer[...] = x
    yield "unaligned", buffer, t


def selections(shape, dtype, rng):
    """Weights and masks for operands of a shape, good and bad ones."""
    weight = np.asarray(rng.integers(0, 3, shape) * rng.random(shape)).astype(dtype)
    mask = np.asarray(rng.random(shape) < 0.6)
    yield {}
    yield {"weight": weight}
    yield {"weight": weight.astype(np.float64)}
    yield {"weight": weight.astype(np.float32)}
    yield {"weight": np.array(weight, order="F")}
    yield {"weight": np.zeros(shape, dtype)}
    yield {"weight": weight[..., :1] if shape else weight}
    yield {"weight": np.array(1.5, dtype)}
    yield {"where": mask}
    yield {"where": np.array(mask, order="F")}
    yield {"where": np.zeros(shape, bool)}
    yield {"where": mask[:1] if shape else mask}
    yield {"weight": weight, "where": mask}
    for bad in (-1.0, -np.inf, np.inf, np.nan) if weight.size else ():
        worse = weight.copy()
        worse[(-1,) * len(shape)] = bad
        yield {"weight": worse}
        yield {"weight": worse, "where": mask}
    yield {"weight": np.ones((2, *shape), dtype)}
    yield {"where": np.ones((7, *shape), bool)}
    yield {"weight": np.ones(shape, np.int32)}
    yield {"weight": np.ones(shape, np.complex64)}
    yield {"where": np.ones(shape, np.uint8)}
    yield {"where": np.ma.masked_array(mask)}


SHAPES = [(), (0,), (1,), (17,), (3, 5), (2, 0, 3), (2, 3, 4), (3001,), (70, 130)]


def every_call(loss, x, t, options):
    """What each public function makes of these operands."""
    name, reduction = loss.name, loss.reduction
    parameter = {loss.parameter_name: getattr(loss, loss.parameter_name)} if loss.parameter_name else {}
    function, backward = getattr(cylosses, f"{name}_loss"), getattr(cylosses, f"{name}_loss_backward")
    dtype, each = np.result_type(x.dtype.type, t.dtype.type), loss.reduction == "none"
    some = np.arange(x.size, dtype=dtype).reshape(x.shape)

    def room(shape=x.shape):
        return np.full(shape, 7, dtype)

    value, gradient, hessian = room(x.shape if each else ()), room(), room()
    found = [
        outcome(call)
        for call in (
            lambda: function(x, t, reduction=reduction, **parameter, **options),
            lambda: function(x, t, reduction=reduction, **parameter, **options, n_threads=2),
            lambda: loss(x, t, **options, out=value),
            lambda: backward(0.3, x, t, reduction, **parameter, **options, wrt="target"),
            lambda: backward(some, x, t, reduction, **parameter, **options, out=gradient),
            lambda: backward(some[:1] if x.ndim else some, x, t, reduction, **parameter, **options),
            lambda: backward(some.astype(np.float64).T, x, t, reduction, **parameter, **options),
            lambda: loss.value_and_grad(x, t, **options),
            lambda: loss.value_and_grad(x, t, **options, out=(value, None)),
            lambda: loss.value_and_grad(x, t, **options, out=(value, gradient)),
            lambda: loss.value_and_grad(x, t, **options, out=gradient, n_threads=2),
            lambda: loss.grad_and_hess(x, t, **options),
            lambda: loss.grad_and_hess(x, t, **options, curvature="mm", n_threads=2),
            lambda: loss.grad_and_hess(x, t, **options, curvature="ones", out=(None, hessian)),
            lambda: loss.grad_and_hess(x, t, **options, out=(gradient, hessian)),
        )
    ]
    # What an output holds after a bad weight is not said.
    return found if any("weight must be" in str(one) for one in found) else [*found, value, gradient, hessian]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_both_ways_give_the_same_of_every_layout_and_selection(shape, dtype, reduction, rng, general):
    loss = SmoothL1Loss(reduction=reduction, beta=0.7)
    x, t = (np.asarray(rng.standard_normal(shape)).astype(dtype) for _ in range(2))
    if x.size > 2:
        x[(0,) * x.ndim], t[(-1,) * t.ndim] = np.nan, np.inf
    calls = [
        (name, a, b, {option: value.T if a.shape != shape else value for option, value in options.items()})
        for name, a, b in layouts(x, t)
        for options in selections(shape, dtype, rng)
    ]
    calls = random.sample(calls, min(len(calls), 15 if x.size > 1000 else 60))
    quick = [every_call(loss, *operands) for _, *operands in calls]
    general()
    for (name, *operands), before in zip(calls, quick, strict=True):
        assert all(map(alike, every_call(loss, *operands), before)), (name, operands[2])


@pytest.mark.parametrize("name", LOSSES)
def test_both_ways_give_the_same_of_every_loss(name, rng, general):
    x, t = rng.standard_normal((2, 40)).astype(np.float32)
    calls = [
        (LOSSES[name](reduction=reduction), x[::2], t[::2].astype(kind), options)
        for reduction in ("none", "mean", "sum")
        for kind in (np.float32, np.float64)
        for options in ({}, {"weight": rng.random(20).astype(np.float32)}, {"where": rng.random(20) < 0.5})
    ]
    quick = [every_call(*call) for call in calls]
    general()
    assert all(all(map(alike, every_call(*call), before)) for call, before in zip(calls, quick, strict=True))


LONG = 2500  # elements, more than one block of the loops
# Where an output lies in a buffer of numbers that begins with an operand.
OVERLAPS = {
    "upon": slice(0, LONG),
    "one further": slice(1, LONG + 1),
    "backward": slice(LONG - 1, None, -1),
    "last of the operand": slice(LONG - 1, 2 * LONG - 1),
    "far": slice(2 * LONG, 3 * LONG),
}


@pytest.mark.parametrize("place", OVERLAPS)
@pytest.mark.parametrize("which", ["input", "target", "weight", "row of weights", "where", "grad_output"])
@pytest.mark.parametrize("stride", [1, 2, -1])
def test_both_ways_are_right_where_outputs_overlap_operands(place, which, stride, rng, general):
    def results():
        buffer = np.arange(5.0 * LONG) % 7 + 1
        operands = {"input": numbers[0], "target": numbers[1], "weight": numbers[2], "grad_output": numbers[3], "where": mask}
        out = buffer[OVERLAPS[place]]
        if which == "where":
            buffer[:LONG].view(bool)[...] = np.resize([True, False, True], 8 * LONG)
            operands["where"] = buffer.view(bool)[: LONG * abs(stride)][::stride]
        elif which == "row of weights":
            operands["weight"] = np.broadcast_to(buffer[:1], (LONG,))
        else:
            operands[which] = buffer[: LONG * abs(stride)][::stride]
        x, t, weight, where = (operands[name] for name in ("input", "target", "weight", "where"))
        calls = (
            lambda: smooth_l1_loss(x, t, "none", weight=weight, where=where, out=out),
            lambda: smooth_l1_loss_backward(operands["grad_output"], x, t, "none", weight=weight, where=where, out=out),
            lambda: SmoothL1Loss().value_and_grad(x, t, weight=weight, where=where, out=out),
            lambda: SmoothL1Loss().value_and_grad(x, t, where=where, out=(buffer[LONG : LONG + 1].reshape(()), out)),
            lambda: SmoothL1Loss().grad_and_hess(x, t, weight=weight, where=where, out=(out, buffer[LONG : 2 * LONG])),
            lambda: SmoothL1Loss().grad_and_hess(x, t, weight=weight, where=where, out=(None, out)),
        )
        found = []
        for call in calls:
            before = buffer.copy()
            result = outcome(call)
            found += [copied(result), buffer.copy()]
            buffer[...] = before
        return found

    numbers, mask = rng.random((4, LONG)), rng.random(LONG) < 0.7
    quick = results()
    general()
    assert all(map(alike, results(), quick))


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
    assert loss.value_and_grad(x, t, out=(number, out))[0] is number


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["contiguous", "every 2", "every -1", "Fortran", "C and Fortran", "transposed", "mixed"])
@pytest.mark.parametrize("selection", ["nothing", "weight", "row of weights", "where", "weight and where"])
def test_other_layouts_and_selections_take_it_too(dtype, layout, selection, rng, direct):
    x, t = {name: pair for name, *pair in layouts(*rng.random((2, 3, 3)).astype(dtype))}[layout]
    weight, where = rng.random((3, 3)).astype(dtype), np.eye(3, dtype=bool)
    options = {
        "nothing": {},
        "weight": {"weight": weight},
        "row of weights": {"weight": weight[0]},
        "where": {"where": where},
        "weight and where": {"weight": weight, "where": where},
    }[selection]
    first, second = np.empty((2, 3, 3), np.result_type(x, t))
    for reduction in ("none", "mean", "sum"):
        loss = SmoothL1Loss(reduction=reduction)
        loss(x, t, **options)
        loss.grad(x, t, **options, out=first)
        loss.value_and_grad(x, t, **options)
        for curvature in ("exact", "mm", "ones"):
            loss.grad_and_hess(x, t, curvature=curvature, **options)
            found = loss.grad_and_hess(x, t, curvature=curvature, **options, out=(first, second))
            assert found[0] is first
            assert found[1] is second
    smooth_l1_loss_backward(first, x, t, "none", **options)


def test_an_output_across_an_operand_does_not():
    shared = np.arange(8.0)
    expected = smooth_l1_loss(shared[1:].copy(), shared[:-1].copy(), "none")
    assert same_bits(smooth_l1_loss(shared[1:], shared[:-1].copy(), "none", out=shared[:-1]), expected)


def test_a_sum_may_be_written_to_its_operand():
    x = np.array(3.0)
    assert smooth_l1_loss(x, np.array(1.0), out=x) is x
    assert x == 1.5
