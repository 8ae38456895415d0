"""A call gives the same whatever its arrays look like: contiguous ones make a job at once, others are planned first."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest

import cylosses
from cylosses import LOSSES, MSELoss, SmoothL1Loss, smooth_l1_loss, smooth_l1_loss_backward

from .reference import same_bits


def outcome(call):
    """What a call returns, or its error."""
    try:
        return call()
    except (TypeError, ValueError, RuntimeError) as error:
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


def contiguous(x):
    """The same numbers in an array that is C-contiguous, aligned and native."""
    return np.array(x, np.asarray(x).dtype.newbyteorder("="), order="C")


def contiguous_as(shape, x):
    """The same numbers, broadcast to a shape, if they can be."""
    if np.ma.isMaskedArray(x):
        return x
    return contiguous(np.broadcast_to(x, shape) if x.ndim <= len(shape) else x)


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
def test_every_layout_and_selection_gives_what_contiguous_arrays_give(shape, dtype, reduction, rng):
    loss = SmoothL1Loss(reduction=reduction, beta=0.7)
    x, t = (np.asarray(rng.standard_normal(shape)).astype(dtype) for _ in range(2))
    if x.size > 2:
        x[(0,) * x.ndim], t[(-1,) * t.ndim] = np.nan, np.inf
    calls = [
        (name, a, b, {option: value.T if a.shape != shape else value for option, value in options.items()})
        for name, a, b in layouts(x, t)
        for options in selections(shape, dtype, rng)
    ]
    for name, a, b, options in random.sample(calls, min(len(calls), 15 if x.size > 1000 else 60)):
        plain = {option: contiguous_as(a.shape, value) for option, value in options.items()}
        expected = every_call(loss, contiguous(a), contiguous(b), plain)
        assert all(map(alike, every_call(loss, a, b, options), expected)), (name, options)


@pytest.mark.parametrize("name", LOSSES)
def test_strided_arrays_give_what_contiguous_ones_give(name, rng):
    x, t = rng.standard_normal((2, 40)).astype(np.float32)
    for reduction in ("none", "mean", "sum"):
        loss = LOSSES[name](reduction=reduction)
        for kind in (np.float32, np.float64):
            for options in ({}, {"weight": rng.random(20).astype(np.float32)}, {"where": rng.random(20) < 0.5}):
                a, b = x[::2], t[::2].astype(kind)
                assert all(map(alike, every_call(loss, a, b, options), every_call(loss, a.copy(), b.copy(), options)))


LONG = 2500  # elements, more than one block of the loops
# Where an output lies in a buffer of numbers that begins with an operand.
OVERLAPS = {
    "upon": slice(0, LONG),
    "one further": slice(1, LONG + 1),
    "backward": slice(LONG - 1, None, -1),
    "last of the operand": slice(LONG - 1, 2 * LONG - 1),
    "far": slice(2 * LONG, 3 * LONG),
}


@pytest.mark.parametrize("where_it_lies", OVERLAPS)
@pytest.mark.parametrize("which", ["input", "target", "weight", "row of weights", "where", "grad_output"])
@pytest.mark.parametrize("stride", [1, 2, -1])
def test_outputs_that_overlap_operands_get_what_others_get(where_it_lies, which, stride, rng):
    buffer = np.arange(5.0 * LONG) % 7 + 1
    numbers, mask = rng.random((4, LONG)), rng.random(LONG) < 0.7
    operands = {"input": numbers[0], "target": numbers[1], "weight": numbers[2], "grad_output": numbers[3], "where": mask}
    if which == "where":
        buffer[:LONG].view(bool)[...] = np.resize([True, False, True], 8 * LONG)
        operands["where"] = buffer.view(bool)[: LONG * abs(stride)][::stride]
    elif which == "row of weights":
        operands["weight"] = np.broadcast_to(buffer[:1], (LONG,))
    else:
        operands[which] = buffer[: LONG * abs(stride)][::stride]
    out, number, more = buffer[OVERLAPS[where_it_lies]], buffer[LONG : LONG + 1].reshape(()), buffer[LONG : 2 * LONG]

    def calls(out, number, more, input, target, weight, where, grad_output):
        loss, selection = SmoothL1Loss(), {"weight": weight, "where": where}
        return (
            lambda: smooth_l1_loss(input, target, "none", **selection, out=out),
            lambda: smooth_l1_loss_backward(grad_output, input, target, "none", **selection, out=out),
            lambda: loss.value_and_grad(input, target, **selection, out=out),
            lambda: loss.value_and_grad(input, target, where=where, out=(number, out)),
            lambda: loss.grad_and_hess(input, target, **selection, out=(out, more)),
            lambda: loss.grad_and_hess(input, target, **selection, out=(None, out)),
        )

    apart = {name: array.copy() for name, array in operands.items()}
    for overlapping, plain in zip(
        calls(out, number, more, **operands),
        calls(np.empty(LONG), np.empty(()), np.empty(LONG), **apart),
        strict=True,
    ):
        before = buffer.copy()
        found = copied(outcome(overlapping))
        buffer[...] = before
        if not (isinstance(found, tuple) and found[0] is ValueError):  # outputs that share memory with each other
            assert alike(found, outcome(plain))


def test_a_sum_may_be_written_to_its_operand():
    x = np.array(3.0)
    assert smooth_l1_loss(x, np.array(1.0), out=x) is x
    assert x == 1.5


# What runs inside a call ------------------------------------------------------------------------------------------------


class Hook:
    """An array-like that does something while it is converted."""

    def __init__(self, act, array):
        self.act, self.array = act, array

    def __array__(self, dtype=None, copy=None):
        self.act()
        return self.array


class Index(Hook):
    """A number that does something while it is converted."""

    def __index__(self):
        self.act()
        return self.array


@pytest.mark.parametrize("keyword", ["weight", "where", "n_threads", "grad_output", "axis"])
@pytest.mark.parametrize("shape", [(6400,), (1, 80, 80), (80, 80, 1)], ids=str)
@pytest.mark.parametrize("operand", ["input", "target"])
def test_an_operand_that_is_reshaped_during_the_call_does_no_harm(keyword, shape, operand):
    x, t, kept = np.zeros((80, 80)), np.ones((80, 80)), []

    def reshape():
        (x if operand == "input" else t).shape = shape
        kept.append([np.zeros(n) for n in range(1, 40)])  # takes the place of what was freed

    arguments = {
        "weight": Hook(reshape, np.ones((1, 1))),
        "where": Hook(reshape, np.ones((1, 1), bool)),
        "n_threads": Index(reshape, 1),
        "grad_output": Hook(reshape, np.ones(1)),
        "axis": Index(reshape, 0),
    }
    loss = SmoothL1Loss(reduction="sum")
    for call in (loss.grad, *([] if keyword == "grad_output" else [loss, loss.value_and_grad])):
        x.shape = t.shape = (80, 80)
        result = outcome(lambda call=call: call(x, t, **{keyword: arguments[keyword]}))
        if (
            not isinstance(result, tuple) or result[0] is not RuntimeError
        ):  # an array was given another shape while its call was prepared
            first = result[0] if isinstance(result, tuple) else result
            assert np.abs(np.sum(first)) == (6400.0 if call == loss.grad else 3200.0)


def test_a_fraction_of_zero_keeps_the_sign_of_what_it_multiplies():
    loss, x, t = MSELoss(reduction="sum"), [2.0, 0.0], [0.0, 2.0]
    for wrt in ("input", "target"):
        expected = loss.grad(x, t, wrt=wrt, grad_output=0.0)
        assert same_bits(loss.grad(x, t, wrt=wrt, grad_output=Fraction(0)), expected)
