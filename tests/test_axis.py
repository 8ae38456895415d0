"""`axis` and `keepdims`: `mean` and `sum` of every slice are exact, and the divisors of gradients follow."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cylosses import functional
from cylosses.losses import LOSSES

from .generators import DTYPES, SPREADS
from .reference import divisors, is_scaled, reduced, same_bits, summed_gradient

SHAPE = (4, 5, 3)
AXES = [None, 0, 1, 2, -1, -3, (), (0,), (1, 2), (0, 2), (-1, 0), (2, 1, 0), np.int64(1)]
every_loss = pytest.mark.parametrize("name", LOSSES)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_axis = pytest.mark.parametrize("axis", AXES, ids=str)


def pair(rng, dtype, shape=SHAPE, spread="any window"):
    return (values.reshape(shape) for values in SPREADS[spread](rng, int(np.prod(shape)), dtype))


def plain(axis):
    """An axis as the oracle takes it."""
    return int(axis) if isinstance(axis, np.integer) else axis


@every_dtype
@every_axis
def test_every_slice_is_exact(dtype, axis, rng):
    name = str(rng.choice(list(LOSSES)))  # slices know nothing of losses: any stands for all
    x, t = pair(rng, dtype)
    losses = LOSSES[name](reduction="none")(x, t)
    weight, where = rng.uniform(0, 2, (5, 1)), rng.random(SHAPE) < 0.6
    for options in ({}, {"weight": weight}, {"where": where}, {"weight": weight, "where": where}):
        for reduction, keepdims in itertools.product(("mean", "sum"), (False, True)):
            loss = LOSSES[name](reduction=reduction)
            expected = reduced(losses, reduction, options.get("weight"), options.get("where"), plain(axis), keepdims)
            got = loss(x, t, axis=axis, keepdims=keepdims, **options)
            assert same_bits(got, expected)
            assert type(got) is type(expected)
            function = getattr(functional, f"{name}_loss")
            assert same_bits(function(x, t, reduction=reduction, axis=axis, keepdims=keepdims, **options), expected)
            out = np.full(np.shape(expected), 77, dtype)
            assert loss(x, t, axis=axis, keepdims=keepdims, out=out, **options) is out
            assert same_bits(out, np.asarray(expected))


@every_dtype
def test_shapes_are_those_of_numpy(dtype, rng):
    for shape in ((), (0,), (3,), (0, 4), (4, 0), (2, 0, 3), (1, 1), (2, 3, 4, 5)):
        x, t = pair(rng, dtype, shape)
        every = [()] + [c for k in range(1, len(shape) + 1) for c in itertools.combinations(range(len(shape)), k)]
        for axis, keepdims in itertools.product((None, *every), (False, True)):
            expected = np.sum(x, axis=axis, keepdims=keepdims)
            losses = LOSSES["huber"](reduction="none")(x, t)
            for reduction in ("mean", "sum"):
                got = LOSSES["huber"](reduction=reduction)(x, t, axis=axis, keepdims=keepdims)
                assert np.shape(got) == np.shape(expected)
                assert same_bits(got, reduced(losses, reduction, axis=axis, keepdims=keepdims))


def test_boxes_reduce_to_one_loss_for_each():
    boxes, truth = np.zeros((5, 4), np.float32), np.arange(20, dtype=np.float32).reshape(5, 4)
    got = LOSSES["l1"](reduction="sum")(boxes, truth, axis=1)
    assert same_bits(got, truth.sum(axis=1))
    assert LOSSES["l1"]()(boxes, truth, axis=-1).tolist() == [1.5, 5.5, 9.5, 13.5, 17.5]


@every_dtype
@every_axis
def test_divisors_of_gradients_follow(dtype, axis, rng):
    name = str(rng.choice(list(LOSSES)))
    x, t = pair(rng, dtype, spread="gauss")
    slope = LOSSES[name](reduction="none").grad(x, t)
    weight, where = rng.uniform(0, 2, SHAPE), rng.random((4, 1, 3)) < 0.6
    backward = getattr(functional, f"{name}_loss_backward")
    for options in ({}, {"weight": weight}, {"where": where}):
        for reduction in ("mean", "sum"):
            removed = options.get("weight"), options.get("where")
            divisor = divisors(SHAPE, *removed, plain(axis)) if reduction == "mean" else 1
            kept = np.shape(np.sum(x, axis=plain(axis), keepdims=True))
            dropped = np.shape(np.sum(x, axis=plain(axis)))
            full = rng.standard_normal(kept)
            for grad_output in (0.7, full, full.reshape(dropped)):
                for wrt in ("input", "target"):
                    incoming = full if np.size(grad_output) > 1 else float(np.reshape(grad_output, ()))
                    got = LOSSES[name](reduction=reduction).grad(x, t, grad_output=grad_output, axis=axis, wrt=wrt, **options)
                    assert is_scaled(got, slope, incoming, divisor, *removed, wrt=wrt)
                    assert same_bits(backward(grad_output, x, t, reduction, axis=axis, wrt=wrt, **options), got)
            value, gradient = LOSSES[name](reduction=reduction).value_and_grad(x, t, axis=axis, **options)
            assert same_bits(value, LOSSES[name](reduction=reduction)(x, t, axis=axis, **options))
            assert is_scaled(gradient, slope, 1.0, divisor, *removed)


@every_dtype
@pytest.mark.parametrize("input_shape", [(), (3,), (5, 1), (1, 5, 3), (4, 1, 1)])
@pytest.mark.parametrize("axis", [0, (1, 2), -1])
@pytest.mark.filterwarnings("ignore::cylosses.BroadcastWarning")
def test_broadcast_operands(dtype, input_shape, axis, rng):
    x, t = rng.standard_normal(input_shape).astype(dtype), rng.standard_normal(SHAPE).astype(dtype)
    full = np.ascontiguousarray(np.broadcast_to(x, SHAPE))
    for reduction, wrt in itertools.product(("mean", "sum"), ("input", "target")):
        loss = LOSSES["huber"](reduction=reduction)
        assert same_bits(loss(x, t, axis=axis), loss(full, t, axis=axis))
        grad_output = rng.standard_normal(np.shape(loss(full, t, axis=axis)))
        expected = loss.grad(full, t, axis=axis, grad_output=grad_output, wrt=wrt)
        got = loss.grad(x, t, axis=axis, grad_output=grad_output, wrt=wrt)
        assert same_bits(got, summed_gradient(expected, input_shape if wrt == "input" else SHAPE))


@pytest.mark.parametrize("axis", [3, -4, (0, 3), (0, 0), (0, -3), (1, 1, 1)])
def test_axes_out_of_range_or_twice(axis):
    x = np.zeros(SHAPE)
    for call in (LOSSES["huber"](), LOSSES["huber"]().grad, LOSSES["huber"]().value_and_grad, functional.huber_loss):
        with pytest.raises(ValueError, match="axis"):
            call(x, x, axis=axis)


@pytest.mark.parametrize("axis", [1.0, "0", (0, 1.0), [[0]], object()])
def test_axes_that_are_no_integers(axis):
    x = np.zeros(SHAPE)
    with pytest.raises(TypeError, match="axis"):
        LOSSES["huber"]()(x, x, axis=axis)


def test_axis_needs_a_reduction():
    x = np.zeros(SHAPE)
    for options in ({"axis": 0}, {"keepdims": True}, {"axis": (), "keepdims": True}):
        with pytest.raises(ValueError, match=r"axis.*'none'"):
            LOSSES["huber"](reduction="none")(x, x, **options)
        with pytest.raises(ValueError, match=r"axis.*'none'"):
            functional.huber_loss(x, x, "none", **options)


@pytest.mark.parametrize("wrong", [np.empty((4, 5, 3)), np.empty(3), np.empty((4, 3)), np.empty((1, 3)), np.empty(5, np.float32)])
def test_outs_that_do_not_fit(wrong):
    x = np.zeros((4, 5))
    with pytest.raises((TypeError, ValueError), match="out"):
        LOSSES["huber"]()(x, x, axis=0, out=wrong)


@pytest.mark.parametrize("grad_output", [np.ones(3), np.ones((4, 5)), np.ones((1, 4)), np.ones((4, 1, 1))])
def test_incoming_gradients_that_do_not_fit(grad_output):
    x = np.zeros((4, 5))
    with pytest.raises(ValueError, match="grad_output"):
        LOSSES["huber"]().grad(x, x, axis=1, grad_output=grad_output)


@every_dtype
def test_layouts_of_operands_and_of_out(dtype, rng):
    x, t = pair(rng, dtype, (6, 40, 7))
    host = np.full((12, 7, 80), 77, dtype)
    moved = host[::2, ::-1, ::2].transpose(0, 2, 1)
    moved[...] = x
    swapped = np.asfortranarray(t).astype(np.dtype(dtype).newbyteorder())
    losses = LOSSES["smooth_l1"](reduction="none")(x, t)
    for axis in (0, 1, 2, (0, 1), (1, 2), (0, 2)):
        expected = reduced(losses, "mean", axis=axis)
        assert same_bits(LOSSES["smooth_l1"]()(moved, swapped, axis=axis), expected)
        out = np.full([2 * n for n in expected.shape], 77, dtype)
        view = out[tuple(slice(None, None, -2) for _ in expected.shape)]
        assert LOSSES["smooth_l1"]()(moved, t, axis=axis, out=view) is view
        assert same_bits(np.ascontiguousarray(view), expected)
        assert (out == 77).sum() >= out.size - view.size
    # out may be the memory of an operand
    expected = reduced(losses, "sum", axis=2)
    LOSSES["smooth_l1"](reduction="sum")(moved, t, axis=2, out=moved[:, :, 0])
    assert same_bits(np.ascontiguousarray(moved[:, :, 0]), expected)


@every_dtype
@pytest.mark.parametrize("shape", [(2, 150_000), (20_000, 2), (3, 70_001)])
def test_threads_do_not_matter(dtype, shape, rng):
    """Few long slices are cut between the threads, many short ones are dealt out."""
    x, t = pair(rng, dtype, shape, "gauss")
    weight = rng.uniform(0, 2, shape[-1])
    for axis in (0, -1):
        value, gradient = LOSSES["huber"]().value_and_grad(x, t, axis=axis, weight=weight, n_threads=1)
        for n_threads in (2, 3, None):
            got = LOSSES["huber"]().value_and_grad(x, t, axis=axis, weight=weight, n_threads=n_threads)
            assert same_bits(got[0], value)
            assert same_bits(got[1], gradient)
            assert same_bits(LOSSES["huber"]()(x, t, axis=axis, weight=weight, n_threads=n_threads), value)
    losses = LOSSES["huber"](reduction="none")(x[..., :3], t[..., :3])
    if shape[0] < 10:
        assert same_bits(LOSSES["huber"]()(x[..., :3], t[..., :3], axis=0), reduced(losses, "mean", axis=0))


def test_a_bad_weight_in_any_slice(rng):
    x = np.zeros((50, 2000))
    weight = np.ones((50, 2000))
    weight[int(rng.integers(50)), int(rng.integers(2000))] = -1
    for axis, n_threads in itertools.product((0, 1), (1, 3)):
        with pytest.raises(ValueError, match="weight"):
            LOSSES["huber"]()(x, x, axis=axis, weight=weight, n_threads=n_threads)
