"""Every dtype: the working dtype, one conversion in, one rounding out, and what mixtures give."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest

from cylosses.losses import LOSSES

from .reference import BFLOAT16, FLOATS, INTEGERS, is_scaled, reduced, result_dtype, same_bits, working_dtype

every_loss = pytest.mark.parametrize("name", LOSSES)
HALVES = (np.dtype(np.float16), BFLOAT16)


def values(rng, length, dtype):
    if dtype in INTEGERS:
        return rng.integers(0, 2 if dtype == np.bool_ else 100, length).astype(dtype)
    return (rng.standard_normal(length) * 2.0 ** rng.integers(-10, 8, length)).astype(dtype)


def check(name, x, t, expected_dtype):
    """All results against those of operands that NumPy converted, and sums against the oracle."""
    working = working_dtype(expected_dtype)
    wide = x.astype(working), t.astype(working)
    element = LOSSES[name](reduction="none")
    with np.errstate(all="ignore"):
        losses = element(*wide).astype(expected_dtype)
    assert same_bits(element(x, t), losses)
    for reduction in ("mean", "sum"):
        loss = LOSSES[name](reduction=reduction)
        got = loss(x, t)
        assert got.dtype == expected_dtype
        assert same_bits(got, reduced(losses, reduction))
        state = loss.streaming()
        state.update(x, t)
        assert same_bits(state.compute(), got)
        divisor = x.size if reduction == "mean" else 1
        for got, of in zip(loss.grad_and_hess(x, t), element.grad_and_hess(*wide), strict=True):
            assert got.dtype == expected_dtype
            assert is_scaled(got, of, 1.0, divisor)


@every_loss
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS], ids=str)
@pytest.mark.parametrize("length", [1, 33, 1500])
def test_one_dtype(name, dtype, length, rng):
    check(name, values(rng, length, dtype), values(rng, length, dtype), result_dtype(dtype))


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations([*FLOATS, *INTEGERS], 2)), ids=str)
def test_mixed_dtypes(first, second, rng):
    check("smooth_l1", values(rng, 120, first), values(rng, 120, second), result_dtype(first, second))


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        ("f4", "f8", "f8"),
        ("f2", "f4", "f4"),
        ("f4", "i8", "f4"),
        ("f2", "i8", "f2"),
        ("i8", "u1", "f8"),
        ("?", "?", "f8"),
        ("f2", ml_dtypes.bfloat16, "f4"),
        (ml_dtypes.bfloat16, "i4", ml_dtypes.bfloat16),
        (ml_dtypes.bfloat16, "f4", "f4"),
        (ml_dtypes.bfloat16, "f8", "f8"),
    ],
)
def test_the_dtype_of_the_result_by_hand(first, second, result):
    for one, other in ((first, second), (second, first)):
        assert LOSSES["huber"]()(np.ones(3, one), np.ones(3, other)).dtype == np.dtype(result)
    assert result_dtype(np.dtype(first), np.dtype(second)) == np.dtype(result)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i2", "i4", "i8", "u2", "u4", "u8"])
@every_loss
def test_byte_swapped(name, dtype, rng):
    x, t = values(rng, 1200, np.dtype(dtype)), values(rng, 1200, np.dtype(dtype))
    swapped = x.astype(x.dtype.newbyteorder()), t.astype(t.dtype.newbyteorder())
    for pair in (swapped, (swapped[0], t), (x, swapped[1][::-1][::-1])):
        check(name, *pair, result_dtype(np.dtype(dtype)))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_every_half_precision_number(dtype):
    """Each of the 65 536 against 0: converted without error, and the loss rounded once."""
    x = np.arange(2**16, dtype=np.uint16).view(dtype)
    zero = np.zeros(2**16, dtype)
    assert same_bits(LOSSES["l1"](reduction="none")(x, zero).astype(np.float32), abs(x.astype(np.float32)))
    with np.errstate(all="ignore"):
        for name in LOSSES:
            expected = LOSSES[name](reduction="none")(x.astype(np.float32), zero.astype(np.float32)).astype(dtype)
            assert same_bits(LOSSES[name](reduction="none")(x, zero), expected)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_results_of_half_precision_round_at_ties_and_ends(dtype, rng):
    """Float32 errors between all neighbours of the half precision, subnormal and overflowing ones included."""
    finite = np.arange(2**15, dtype=np.uint16).view(dtype)
    finite = finite[np.isfinite(finite.astype(np.float32))].astype(np.float32)
    x = rng.choice(finite, 20_000).astype(dtype)
    weight = rng.choice([0.5, 0.75, 1.0, 1.25, 1 + 2.0**-8, 1 + 2.0**-11, 1.5, 3.0], 20_000).astype(np.float32)
    with np.errstate(all="ignore"):
        expected = (x.astype(np.float64) * weight).astype(np.float32).astype(dtype)
        exact = x.astype(np.float32) * weight  # 24 bits hold 11 and 12, so that float32 is no first rounding
        assert same_bits(expected, exact.astype(dtype))
    assert same_bits(LOSSES["l1"](reduction="none")(x, np.zeros_like(x), weight=weight), expected)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_out_of_half_precision(dtype, rng):
    x, t = values(rng, 900, dtype), values(rng, 900, dtype)
    expected = LOSSES["huber"](reduction="none")(x, t)
    for out in (np.empty(900, dtype), np.empty(1800, dtype)[::-2], x):
        assert LOSSES["huber"](reduction="none")(x.copy(), t, out=out) is out
        assert same_bits(out, expected)
    with pytest.raises(TypeError, match=r"out.*float32"):
        LOSSES["huber"](reduction="none")(x, t, out=np.empty(900, np.float32))
    scalar = np.empty((), dtype)
    assert LOSSES["huber"]()(x, t, out=scalar) is scalar


def test_integers_are_converted_once_to_the_working_dtype():
    big = np.array([2**63 - 1, -(2**63), 2**53 + 1, 2**24 + 1, -1])
    for other in (np.zeros(5, np.float32), np.zeros(5)):
        got = LOSSES["l1"](reduction="none")(big, other)
        assert same_bits(got, abs(big.astype(other.dtype)))
    unsigned = np.array([2**64 - 1, 2**63 + 1, 0], np.uint64)
    assert same_bits(LOSSES["l1"](reduction="none")(unsigned, np.zeros(3, np.float32)), unsigned.astype(np.float32))
    assert same_bits(
        LOSSES["l1"](reduction="none")(unsigned, unsigned[::-1]), abs(unsigned.astype(float) - unsigned[::-1].astype(float))
    )


@pytest.mark.parametrize("dtype", [ml_dtypes.float8_e4m3fn, ml_dtypes.int4, np.longdouble, np.complex64], ids=str)
def test_other_dtypes_are_refused_by_name(dtype):
    x = np.ones(3).astype(dtype)
    for first, second in ((x, np.ones(3)), (np.ones(3), x)):
        with pytest.raises(TypeError, match=np.dtype(dtype).name):
            LOSSES["huber"]()(first, second)


def test_a_state_of_half_precision_pieces_rounds_once(rng):
    pieces = [values(rng, 500, BFLOAT16) for _ in range(4)]
    loss = LOSSES["huber"](reduction="sum")
    state = loss.streaming()
    for piece in pieces:
        state.update(piece, np.zeros_like(piece))
    whole = np.concatenate(pieces)
    assert same_bits(state.compute(), loss(whole, np.zeros_like(whole)))
