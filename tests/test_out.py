"""`out=`: exact dtype and shape, any layout, any overlap with the inputs, and it is what comes back."""

from __future__ import annotations

import numpy as np
import pytest

from cylosses.losses import LOSSES

from .generators import DTYPES, SPREADS
from .reference import same_bits

pytestmark = pytest.mark.parametrize("name", LOSSES)


def calls(name, inputs, targets, out):
    """The elementwise value and the gradient of `sum`, each into `out`."""
    yield LOSSES[name](reduction="none"), lambda loss: loss(inputs, targets, out=out)
    yield (LOSSES[name](reduction="sum"), lambda loss: loss.grad(inputs, targets, out=out))


def expectations(name, inputs, targets):
    return LOSSES[name](reduction="none")(inputs, targets), LOSSES[name](reduction="sum").grad(inputs, targets)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [0, 1, 9, 1025, 5000])
def test_out_in_every_layout(name, dtype, length, rng):
    inputs, targets = SPREADS["any window"](rng, length, dtype)
    layouts = [
        np.empty(length, dtype),
        np.empty(3 * length, dtype)[1::3],
        np.empty(length, dtype)[::-1],
        np.empty(length * np.dtype(dtype).itemsize + 1, np.uint8)[1:].view(dtype),
    ]
    for out in layouts:
        for (loss, call), expected in zip(calls(name, inputs, targets, out), expectations(name, inputs, targets), strict=True):
            out[:] = 77
            assert call(loss) is out
            assert same_bits(out, expected)


def test_gaps_of_a_strided_out_are_not_touched(name, rng):
    inputs, targets = SPREADS["gauss"](rng, 3000, np.float32)
    host = np.full(6000, 77, np.float32)
    LOSSES[name](reduction="none")(inputs, targets, out=host[::2], n_threads=2)
    assert (host[1::2] == 77).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_out_of_more_dimensions(name, dtype, rng):
    inputs, targets = (values.reshape(20, 6, 15) for values in SPREADS["gauss"](rng, 1800, dtype))
    expected = LOSSES[name](reduction="none")(inputs, targets)
    for out in (np.empty((20, 6, 15), dtype, order="F"), np.empty((15, 20, 6), dtype).transpose(1, 2, 0)):
        assert LOSSES[name](reduction="none")(inputs, targets, out=out) is out
        assert same_bits(out, expected)


@pytest.mark.filterwarnings("ignore::cylosses.BroadcastWarning")
def test_out_has_the_broadcast_shape(name, rng):
    inputs, targets = rng.standard_normal((30, 1)), rng.standard_normal((1, 50))
    out = np.empty((30, 50))
    assert LOSSES[name](reduction="none")(inputs, targets, out=out) is out
    assert same_bits(out, LOSSES[name](reduction="none")(inputs, targets))
    with pytest.raises(ValueError, match=r"out.*\(30, 1\)"):
        LOSSES[name](reduction="none")(inputs, targets, out=np.empty((30, 1)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [50, 1500, 150_000])
def test_out_may_overlap_the_inputs_in_any_way(name, dtype, length, rng):
    """In place, shifted by one or by part of a block, reversed, interleaved: right as if it were new memory."""
    if length > 100_000 and name != "smooth_l1":
        length = 2500  # one loss stands for all where threads come in
    placements = {
        "in place": slice(0, length),
        "one ahead": slice(1, length + 1),
        "a few ahead": slice(7, length + 7),
        "half ahead": slice(length // 2, length // 2 + length),
        "reversed": slice(length - 1, None, -1),
        "every second": slice(0, 2 * length, 2),
    }
    for where, place in placements.items():
        for role in ("input", "target", "both"):
            host = np.zeros(2 * length + 8, dtype)
            host[: length + 8] = SPREADS["gauss"](rng, length + 8, dtype)[0]
            other = host[7 : length + 7] if role == "both" else SPREADS["gauss"](rng, length, dtype)[0]
            inputs, targets = (other, host[:length]) if role == "target" else (host[:length], other)
            expected = expectations(name, inputs.copy(), targets.copy())
            saved = host.copy()
            for (loss, call), value in zip(calls(name, inputs, targets, host[place]), expected, strict=True):
                host[:] = saved
                call(loss)
                assert same_bits(host[place], value), (where, role, loss)


def test_out_may_be_an_operand_that_needs_conversion(name, rng):
    """A float64 result over float32 or byte-swapped operands that lie in the same memory."""
    inputs, targets = rng.standard_normal((2, 3000))
    expected = LOSSES[name](reduction="none")(inputs, targets.astype(np.float32))
    host = np.empty(3000)
    host.view(np.float32)[:3000] = targets
    assert same_bits(LOSSES[name](reduction="none")(inputs, host.view(np.float32)[:3000], out=host), expected)
    swapped = host.view(host.dtype.newbyteorder())
    swapped[:] = inputs
    expected = LOSSES[name](reduction="none")(inputs, targets)
    assert same_bits(LOSSES[name](reduction="none")(swapped, targets, out=host), expected)


@pytest.mark.filterwarnings("ignore::cylosses.BroadcastWarning")
def test_out_may_overlap_a_broadcast_operand(name, rng):
    row = rng.standard_normal((1, 40))
    column = rng.standard_normal((60, 1))
    expected = LOSSES[name](reduction="none")(row, column)
    host = np.zeros((60, 40))
    host[0] = row
    assert same_bits(LOSSES[name](reduction="none")(host[:1], column, out=host), expected)
    host[:, 3] = column[:, 0]
    assert same_bits(LOSSES[name](reduction="none")(row, host[:, 3:4], out=host), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_out_of_a_reduction_is_an_array_without_dimension(name, dtype, reduction, rng):
    inputs, targets = SPREADS["gauss"](rng, 1000, dtype)
    loss = LOSSES[name](reduction=reduction)
    for out in (np.empty((), dtype), np.empty(3, dtype)[1:2].reshape(())):
        assert loss(inputs, targets, out=out) is out
        assert same_bits(out, np.asarray(loss(inputs, targets)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_out_of_float16(name, dtype, rng):
    inputs, targets = rng.standard_normal((2, 2000)).astype(np.float16)
    out = np.empty(2000, dtype)
    if dtype is np.float16:
        assert LOSSES[name](reduction="none")(inputs, targets, out=out) is out
        assert same_bits(out, LOSSES[name](reduction="none")(inputs, targets))
    else:
        with pytest.raises((TypeError, ValueError), match=r"out.*float16|float16.*out"):
            LOSSES[name](reduction="none")(inputs, targets, out=out)


WRONG = {
    "dtype": (np.empty(10, np.float32), np.empty((), np.float32)),
    "integers": (np.empty(10, np.int64), np.empty((), np.int64)),
    "byte order": (np.empty(10, np.dtype(float).newbyteorder()), np.empty((), np.dtype(float).newbyteorder())),
    "length": (np.empty(9), np.empty(2)),
    "dimensions": (np.empty((10, 1)), np.empty(1)),
    "longer first axis": (np.empty((2, 10)), np.empty((1, 1))),
    "list": ([0.0] * 10, [0.0]),
    "scalar": (np.float64(0), np.float64(0)),
    "masked": (np.ma.masked_array(np.empty(10)), np.ma.masked_array(np.empty(()))),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_outs_that_are_refused(name, wrong):
    full, single = WRONG[wrong]
    x = np.zeros(10)
    for call in (
        lambda: LOSSES[name](reduction="none")(x, x, out=full),
        lambda: LOSSES[name]().grad(x, x, out=full),
        lambda: LOSSES[name](reduction="mean")(x, x, out=single),
        lambda: LOSSES[name](reduction="sum")(x, x, out=single),
    ):
        with pytest.raises((TypeError, ValueError), match="out"):
            call()


def test_a_read_only_out_is_refused_and_not_changed(name):
    x = np.ones(10)
    for out, loss in ((np.full(10, 77.0), "none"), (np.full((), 77.0), "mean")):
        out.flags.writeable = False
        with pytest.raises((TypeError, ValueError), match="out"):
            LOSSES[name](reduction=loss)(x, x, out=out)
        assert (out == 77).all()


@pytest.mark.parametrize("which", range(3), ids=["input", "target", "weight"])
@pytest.mark.parametrize("length", [5, 1000, 5000])
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_out_may_be_an_operand_of_a_weighted_call(name, which, length, reduction, rng):
    arrays = [rng.random(length) for _ in range(3)]
    loss = LOSSES[name](reduction=reduction)
    value, gradient = loss.value_and_grad(arrays[0], arrays[1], weight=arrays[2])
    copies = [array.copy() for array in arrays]
    found, out = loss.value_and_grad(copies[0], copies[1], weight=copies[2], out=copies[which])
    assert out is copies[which]
    assert same_bits(found, value)
    assert same_bits(out, gradient)
