"""`StreamingLoss(loss, axis=...)`: each slice has the bits of one call with that axis; one total holds and stores all of them."""

from __future__ import annotations

import copy
import itertools
import pickle
import random
import re
import struct
import threading
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cylosses
from cylosses import HuberLoss, L1Loss, MSELoss, SmoothL1Loss, StreamingLoss
from cylosses.losses import LOSSES

from .generators import SPREADS
from .reference import reduced, same_bits
from .test_state import DTYPES, FORGED, FORMAT_FILE, distinct, number, with_checksum

SHAPE = (6, 4, 5)
AXES = [0, -1, (0, 2), (1, -3), (2, 1), (0, 1, 2), ()]
reductions = pytest.mark.parametrize("reduction", ["mean", "sum"])
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def sample(rng, shape, dtype):
    """Inputs, targets, weights with zeros, and a mask."""
    inputs, targets = (
        values.reshape(shape).astype(DTYPES[dtype]) for values in SPREADS["gauss"](rng, int(np.prod(shape)), np.float64)
    )
    weights = np.ldexp(rng.random(shape), rng.integers(-60, 60, shape)) * (rng.random(shape) < 0.9)
    return inputs, targets, weights, rng.random(shape) < 0.8


def total_of(loss, axis, *pieces):
    """A total of these pieces, each given as arguments of update."""
    total = loss.streaming(axis=axis)
    for piece in pieces:
        total.update(*piece)
    return total


# --- one value, one byte string ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_thousand_partitions_and_merge_orders_of_columns(dtype, rng):
    """Half of them with weights and a mask, half without."""
    inputs, targets, _, where = sample(rng, (20_011, 5), dtype)
    inputs[rng.integers(20_011), 3] = np.nan
    inputs[rng.integers(20_011), 1] = np.inf
    for selection in ((None, None), (rng.random(inputs.shape), where)):
        values, states = distinct(rng, SmoothL1Loss(), (inputs, targets, *selection), 500, axis=0)
        assert (len(values), len(states)) == (1, 1)


@every_dtype
@pytest.mark.parametrize("axis", [0, (0, 1), (-1, 0), (0, 1, 2)], ids=str)
def test_partitions_over_any_axes(dtype, axis, rng):
    name = str(rng.choice(list(LOSSES)))
    values, states = distinct(rng, LOSSES[name](), sample(rng, (300, 4, 3), dtype), 30, axis=axis)
    assert (len(values), len(states)) == (1, 1)


@reductions
@every_dtype
@pytest.mark.parametrize("axis", AXES, ids=str)
def test_every_slice_is_that_of_one_call_and_of_fractions(reduction, dtype, axis, rng):
    inputs, targets, weights, where = sample(rng, SHAPE, dtype)
    name = str(rng.choice(list(LOSSES)))
    loss = LOSSES[name](reduction=reduction)
    losses = LOSSES[name](reduction="none")(inputs, targets)
    ones, full = np.ones(SHAPE), np.ones(SHAPE, bool)
    for weight, mask in itertools.product((None, weights), (None, where)):
        total = total_of(loss, axis, (inputs, targets, weight, mask))
        assert same_bits(total.compute(), loss(inputs, targets, weight=weight, where=mask, axis=axis))
        assert type(total.compute()) is type(loss(inputs, targets, axis=axis))
        counted = (full if mask is None else mask) & ((ones if weight is None else weight) != 0)
        assert same_bits(total.count, counted.sum(axis=axis, dtype=np.int64))
        exact = np.vectorize(lambda x: Fraction(float(x)), otypes=[object])
        share = np.where(counted, exact(ones if weight is None else weight), Fraction(0))
        expected, divisor = (share * exact(losses)).sum(axis=axis), share.sum(axis=axis)
        found = total.exact()
        assert np.shape(found) == np.shape(expected)
        for value, summed, by in zip(np.ravel(found), np.ravel(expected), np.ravel(divisor), strict=True):
            if reduction == "sum":
                assert value == summed
            elif by:
                assert value == summed / by
            else:
                assert np.isnan(value)
                assert isinstance(value, float)


@reductions
@given(data=st.data())
def test_any_cut_along_any_summed_axis(reduction, data):
    shape = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=3).map(tuple))
    summed = data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1).map(sorted))
    seed = data.draw(st.integers(0, 2**32 - 1))
    inputs, targets, weights, where = sample(np.random.default_rng(seed), shape, data.draw(st.sampled_from(["float32", "float64"])))
    along = data.draw(st.sampled_from(summed))
    cut = data.draw(st.integers(0, shape[along]))
    axis = tuple(k - len(shape) if data.draw(st.booleans()) else k for k in summed)
    loss = HuberLoss(reduction=reduction, delta=0.5)
    first, second = loss.streaming(axis=axis), loss.streaming(axis=tuple(summed))
    for total, parts in ((first, np.s_[:cut]), (second, np.s_[cut:])):
        at = tuple(parts if k == along else slice(None) for k in range(len(shape)))
        total.update(inputs[at], targets[at], weights[at], where[at])
    second.merge(first)
    whole = total_of(loss, axis, (inputs, targets, weights, where))
    assert same_bits(second.compute(), loss(inputs, targets, weight=weights, where=where, axis=axis))
    assert second == whole
    assert second.to_bytes() == whole.to_bytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("spread", SPREADS)
def test_slices_of_every_spread(dtype, spread, rng):
    """Many short slices, dealt out to threads, and few long ones, cut between them."""
    inputs, targets = (values.reshape(90, 100) for values in SPREADS[spread](rng, 9000, DTYPES[dtype]))
    loss = SmoothL1Loss(reduction="sum")
    losses = SmoothL1Loss(reduction="none")(inputs, targets)
    for axis, n_threads in itertools.product((0, 1), (1, 3)):
        total = loss.streaming(axis=axis)
        for at in (np.s_[:40, :], np.s_[40:, :]) if axis == 0 else (np.s_[:, :7], np.s_[:, 7:]):
            total.update(inputs[at], targets[at], n_threads=n_threads)
        assert same_bits(total.compute(), reduced(losses, "sum", axis=axis))


@pytest.mark.parametrize("shape", [(2, 150_000), (20_000, 2)])
@pytest.mark.parametrize("axis", [0, 1])
def test_threads_within_an_update(shape, axis, rng):
    inputs, targets, weights, where = sample(rng, shape, "float32")
    states = {total_of(MSELoss(), axis, (inputs, targets, weights, where)).to_bytes()}
    for n_threads in (1, 2, 3):
        total = MSELoss().streaming(axis=axis)
        total.update(inputs, targets, weights, where, n_threads=n_threads)
        states.add(total.to_bytes())
        assert same_bits(total.compute(), MSELoss()(inputs, targets, weight=weights, where=where, axis=axis))
    assert len(states) == 1


def test_bad_columns_leave_their_neighbours_alone(rng):
    inputs, targets, weights, _ = sample(rng, (50, 6), "float64")
    clean = total_of(L1Loss(), 0, (inputs, targets, weights + 1))
    inputs[7, 1], inputs[9, 2], inputs[10, 3], targets[10, 3] = np.nan, np.inf, 1e308, -1e308
    total = total_of(L1Loss(), 0, (inputs[:8], targets[:8], weights[:8] + 1), (inputs[8:], targets[8:], weights[8:] + 1))
    found, expected = total.compute(), clean.compute()
    assert np.isnan(found[1])
    assert found[2] == found[3] == np.inf
    assert same_bits(found[[0, 4, 5]], expected[[0, 4, 5]])
    assert [type(value) for value in total.exact()] == [Fraction, float, float, float, Fraction, Fraction]
    assert total.exact()[[0, 4, 5]].tolist() == clean.exact()[[0, 4, 5]].tolist()


def test_weight_0_and_masks_remove_what_they_hide():
    x = np.array([[1.0, np.nan], [np.inf, 4.0]])
    total = total_of(L1Loss(), 0, (x, 0.0, [[2.0, 0.0], [0.0, 3.0]]), (x, 0.0, None, [[True, False], [False, True]]))
    assert total.compute().tolist() == [1.0, 4.0]
    assert total.count.tolist() == [2, 2]


@pytest.mark.filterwarnings("ignore::cylosses.BroadcastWarning")
def test_broadcast_operands_have_the_shape_of_both(rng):
    x, t, weight = rng.normal(size=(30, 1)), rng.normal(size=(1, 4)), rng.random(4)
    total = total_of(HuberLoss(), 0, (x[:10], t, weight), (x[10:], t, weight))
    assert same_bits(total.compute(), HuberLoss()(x, t, weight=weight, axis=0))


def test_layouts_and_dtypes_of_pieces(rng):
    x, t = rng.integers(-9, 9, (2, 40, 3))
    total = total_of(
        L1Loss(),
        0,
        (x[:10], t[:10]),
        (np.asfortranarray(x[10:20]), t[10:20].astype(">i2")),
        (x[20:][::-1].astype(np.float32), t[20:][::-1].astype(np.float32)),
    )
    assert same_bits(total.compute(), L1Loss()(x, t, axis=0))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_the_widest_dtype_whatever_the_order(order, rng):
    pieces = [np.float16([[1, 5]]), np.float32([[2, 6]]), np.array([[3, 7]], DTYPES["bfloat16"])]
    total = total_of(L1Loss(reduction="sum"), 0, *((pieces[k], np.zeros_like(pieces[k])) for k in order))
    assert same_bits(total.compute(), np.float32([6, 18]))


def test_more_slices_than_merge_with_the_gil(rng):
    inputs, targets, weights, where = sample(rng, (9, 700), "float32")
    pieces = [tuple(values[k : k + 3] for values in (inputs, targets, weights, where)) for k in (0, 3, 6)]
    assert same_bits(total_of(L1Loss(), 0, *pieces).compute(), L1Loss()(inputs, targets, weight=weights, where=where, axis=0))


# --- shapes and axes --------------------------------------------------------------------------------------------------------------


def test_before_the_first_piece():
    mean, total = L1Loss().streaming(axis=0), L1Loss(reduction="sum").streaming(axis=(0, -1))
    assert same_bits(mean.compute(), np.float64("nan"))
    assert same_bits(total.compute(), np.float64(0))
    assert (mean.count, total.count, total.exact()) == (0, 0, 0)
    with pytest.raises(ValueError, match="no fraction"):
        mean.exact()


def test_empty_pieces_tell_shape_and_dtype():
    total = total_of(L1Loss(), 0, (np.empty((0, 3), np.float32), np.empty((0, 3), np.float32)))
    assert same_bits(total.compute(), np.full(3, np.nan, np.float32))
    assert same_bits(total.count, np.zeros(3, np.int64))
    total.update(np.float32([[1, 2, 3]]), np.float32([[0, 0, 0]]))
    assert same_bits(total.compute(), np.float32([1, 2, 3]))
    nothing = total_of(L1Loss(), 0, (np.empty((5, 0)), np.empty((5, 0))))
    assert nothing.compute().shape == nothing.count.shape == nothing.exact().shape == (0,)
    assert StreamingLoss.from_bytes(nothing.to_bytes()) == nothing


def test_reset_forgets_the_shape():
    total = total_of(L1Loss(), -1, ([[1.0], [3.0]], 0.0))
    total.reset()
    assert total == L1Loss().streaming(axis=-1)
    total.update(np.ones((2, 3, 4)), 0.0)
    assert total.compute().shape == (2, 3)


@pytest.mark.parametrize(
    ("axis", "first", "second", "shown"),
    [
        (0, (4, 3), (4, 2), ["(*, 2)", "(*, 3)"]),
        (1, (4, 3), (5, 3), ["(5, *)", "(4, *)"]),
        (-1, (4, 3), (4, 3, 1), ["(4, 3, *)", "(4, *)"]),
        (0, (4, 3), (4, 3, 1), ["(*, 3, 1)", "(*, 3)"]),
        (0, (4, 3), (3,), ["(*,)", "(*, 3)"]),
        ((0, 2), (4, 1, 3), (4, 0, 3), ["(*, 0, *)", "(*, 1, *)"]),
        (0, (4, 1), (4, 3), ["(*, 3)", "(*, 1)"]),  # nothing is broadcast from piece to piece
    ],
)
def test_other_kept_shapes_change_nothing(axis, first, second, shown):
    total = total_of(L1Loss(), axis, (np.ones(first), np.zeros(first)))
    before = total.to_bytes()
    other = total_of(L1Loss(), axis, (np.ones(second), np.zeros(second)))
    for call in (lambda: total.update(np.ones(second), np.zeros(second)), lambda: total.merge(other)):
        with pytest.raises(
            ValueError, match=f"data of shape {re.escape(shown[0])} cannot be added to that of shape {re.escape(shown[1])}"
        ):
            call()
    assert total.to_bytes() == before


@pytest.mark.parametrize(
    ("axis", "error", "message"),
    [
        ("0", TypeError, "axis must be an int, a tuple of int or None, got '0'"),
        (0.0, TypeError, "axis must be an int, a tuple of int or None, got 0.0"),
        ((0, None), TypeError, "axis must be an int, a tuple of int or None, got \\(0, None\\)"),
        ([0, 1], TypeError, "axis must be an int, a tuple of int or None, got \\[0, 1\\]"),
        ((1, 1), ValueError, "names an axis twice"),
        (64, ValueError, "axis 64 is out of bounds: an array has at most 64 dimensions"),
        (-65, ValueError, "axis -65 is out of bounds"),
        (10**30, ValueError, "is out of bounds"),
    ],
)
def test_bad_axes(axis, error, message):
    for make in (L1Loss().streaming, lambda axis: StreamingLoss(L1Loss(), axis)):
        with pytest.raises(error, match=message):
            make(axis)


@pytest.mark.parametrize("axis", [2, -3, (0, 2)])
def test_axes_that_a_piece_does_not_have(axis):
    total = L1Loss().streaming(axis=axis)
    with pytest.raises(ValueError, match=r"out of bounds for the shape \(2, 3\)"):
        total.update(np.ones((2, 3)), np.ones((2, 3)))
    assert total == L1Loss().streaming(axis=axis)


def test_axes_that_are_one_in_a_piece():
    with pytest.raises(ValueError, match="twice"):
        L1Loss().streaming(axis=(1, -1)).update(np.ones((2, 3)), np.ones((2, 3)))


@pytest.mark.parametrize(("given", "expected"), [(None, None), (0, 0), (np.int64(-1), -1), ((2,), 2), ((1, 0), (0, 1)), ((), ())])
def test_the_axes_can_be_asked(given, expected):
    total = L1Loss().streaming(axis=given)
    assert total.axis == expected
    assert type(total.axis) is type(expected)
    with pytest.raises(AttributeError):
        total.axis = 0


def test_totals_over_other_axes_do_not_merge():
    x = np.ones((3, 3))
    totals = {axis: total_of(L1Loss(), axis, (x, 0.0)) for axis in (None, 0, 1, (0, 1), ())}
    for first, second in itertools.permutations(totals, 2):
        for held in (copy.copy(totals[first]), L1Loss().streaming(axis=first)):
            before = held.to_bytes()
            with pytest.raises(ValueError, match=re.escape(f"axis={second} cannot be merged into one with axis={first}")):
                held.merge(totals[second])
            assert held.to_bytes() == before
    with pytest.raises(ValueError, match="axis=None cannot be merged into one with axis=0"):
        totals[0].merge(L1Loss().streaming())


def test_negative_axes_are_those_that_the_data_says():
    x = np.arange(6.0).reshape(2, 3)
    negative, positive = (total_of(L1Loss(), axis, (x, 0.0)) for axis in (-1, 1))
    assert negative == positive
    assert negative.to_bytes() == positive.to_bytes()
    empty = L1Loss().streaming(axis=-1)
    assert empty != L1Loss().streaming(axis=1)
    empty.merge(positive)
    assert empty == positive
    empty.merge(L1Loss().streaming(axis=0))  # which holds nothing
    assert empty == positive
    assert StreamingLoss.from_bytes(negative.to_bytes()).axis == 1
    with pytest.raises(ValueError, match="cannot be merged"):
        L1Loss().streaming(axis=-2).merge(positive)


def test_merging_with_itself_counts_everything_twice():
    total = total_of(L1Loss(reduction="sum"), 1, (np.arange(6.0).reshape(2, 3), 0.0))
    total.merge(total)
    assert total.compute().tolist() == [6, 24]
    assert total.count.tolist() == [6, 6]


def test_results_are_not_shared():
    total = total_of(L1Loss(), 0, (np.ones((2, 3)), 0.0))
    for result in (total.compute(), total.count, total.exact()):
        result[...] = 77
    assert total.compute().tolist() == [1, 1, 1]
    assert total.count.tolist() == [2, 2, 2]
    assert total.exact().tolist() == [1, 1, 1]


def test_more_slices_than_fit_into_memory():
    total = L1Loss().streaming(axis=0)
    for shape in ((0, 2**58), (0, 2**52, 0), (0, 2**40, 2**12)):
        with pytest.raises(MemoryError):
            total.update(np.empty(shape, np.int8), np.empty(shape, np.int8))
    assert total == L1Loss().streaming(axis=0)


def test_the_representation():
    total = L1Loss().streaming(axis=(0, 2))
    assert repr(total) == "<StreamingLoss of L1Loss(reduction='mean') over axis (0, 2): no data yet>"
    total.update(np.ones((3, 4, 5)), 0.0)
    assert repr(total) == "<StreamingLoss of L1Loss(reduction='mean') over axis (0, 2): data of shape (*, 4, *), count 60>"


# --- whole or not at all ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_bad_weight_in_one_slice_changes_no_slice(axis, n_threads, rng):
    inputs, targets, weights, _ = sample(rng, (300, 200), "float64")
    total = total_of(L1Loss(), axis, (inputs, targets, weights))
    before = total.to_bytes()
    weights[rng.integers(300), rng.integers(200)] = rng.choice([-1, np.nan, np.inf])
    with pytest.raises(ValueError, match="weight"):
        total.update(inputs, targets, weights, n_threads=n_threads)
    assert total.to_bytes() == before


def test_a_slice_without_room_leaves_the_others():
    total, one = total_of(L1Loss(), 0, ([[1.0, 2.0]], 0.0, [[1.0, 0.0]])), total_of(L1Loss(), 0, ([[1.0, 2.0]], 0.0))
    for _ in range(62):
        total.merge(total)
    assert total.count.tolist() == [2**62, 0]
    before = total.to_bytes()
    with pytest.raises(OverflowError, match=r"2\*\*63 - 1"):
        total.merge(total)
    assert total.to_bytes() == before
    total.merge(one)
    assert total.count.tolist() == [2**62 + 1, 1]
    assert repr(total).endswith(f"count {2**62 + 2}>")


@pytest.mark.parametrize("columns", [3, 100])
def test_threads_lose_no_update(columns, rng):
    inputs, targets, weights, where = sample(rng, (4000, columns), "float32")
    expected = total_of(SmoothL1Loss(), 0, (inputs, targets, weights, where))
    total = SmoothL1Loss().streaming(axis=0)

    def work(first: int) -> None:
        mine = SmoothL1Loss().streaming(axis=0)
        for start in range(first * 10, 4000, 40):
            piece = slice(start, start + 10)
            random.choice([total, mine]).update(inputs[piece], targets[piece], weights[piece], where[piece])
        total.merge(mine)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert total == expected


# --- bytes ------------------------------------------------------------------------------------------------------------------------


def packed(total: Fraction | int = 0, weights: Fraction | int = 0, count: int = 0, flags: int = 0) -> bytes:
    """A slice, as docs/state-format.md has it."""
    (exponent, significand), (weight_exponent, weight_significand) = number(Fraction(total)), number(Fraction(weights))
    fields = struct.pack("<BQhHhH", flags, count, exponent, len(significand), weight_exponent, len(weight_significand))
    return fields + significand + weight_significand


def written(
    *slices: bytes,
    axes: tuple[int, ...] = (0,),
    shape: tuple[int, ...] = (2,),
    name: str = "smooth_l1",
    reduction: int = 1,
    dtype: int = 4,
    parameter: float = 1.0,
    surplus: int = 0,
) -> bytes:
    """A state with the right length and checksum, whatever its content."""
    content = struct.pack("<BBBBBd", reduction, dtype, len(name) + surplus, len(shape), len(axes), parameter)
    content += name.encode() + struct.pack(f"<{len(axes)}b{len(shape)}Q", *axes, *shape) + b"".join(slices)
    return with_checksum(b"\x93CYLOSS\x02" + struct.pack("<Q", 8 + 8 + len(content) + 8) + content)


ONE = packed(1, 1, 1)
VALID = {
    "two slices": written(ONE, packed()),
    "nothing yet": written(dtype=0, shape=()),
    "nothing yet, axes as given": written(dtype=0, shape=(), axes=(-64, -1, 0, 63)),
    "nothing yet, no axis": written(dtype=0, shape=(), axes=()),
    "no slices": written(shape=(0, 3)),
    "no axis": written(ONE, ONE, axes=()),
    "no axis, none kept": written(ONE, axes=(), shape=()),
    "all axes": written(ONE, axes=(0, 1, 2), shape=()),
    "specials": written(packed(0, 1, 1, 3), packed(0, 1, 1, 2)),
    "64 dimensions": written(ONE, shape=(1,) * 63),
}


def test_the_example_of_the_documentation():
    example = FORMAT_FILE.read_text(encoding="utf-8").split("## Example")[1].split("```")[3]
    rows = (re.match(r"(?:[0-9A-F]{2} )*[0-9A-F]{2}", line) for line in example.strip().splitlines())
    documented = b"".join(bytes.fromhex(row.group()) for row in rows)
    assert total_of(L1Loss(), 0, ([[1.0, 2.0], [4.0, 2.0]], 0.0)).to_bytes() == documented
    assert documented == written(packed(5, 2, 2), packed(4, 2, 2), name="l1", parameter=0.0)


@pytest.mark.parametrize("case", VALID)
def test_states_that_are_read(case):
    assert StreamingLoss.from_bytes(VALID[case]).to_bytes() == VALID[case]


@every_dtype
@reductions
@pytest.mark.parametrize("axis", AXES, ids=str)
def test_the_bytes_are_those_of_exact_fractions(dtype, reduction, axis, rng):
    inputs, targets, weights, where = sample(rng, SHAPE, dtype)
    losses = HuberLoss(reduction="none", delta=0.5)(inputs, targets)
    counted = where & (weights != 0)
    summed = sorted(k % 3 for k in (axis if isinstance(axis, tuple) else (axis,)))
    kept = [k for k in range(3) if k not in summed]
    rows = [
        np.moveaxis(values, kept, range(len(kept))).reshape(int(np.prod([SHAPE[k] for k in kept])), -1)
        for values in (losses, weights, counted)
    ]
    slices = [
        packed(
            sum(Fraction(float(x)) * Fraction(w) for x, w in zip(value[count], weight[count], strict=True)),
            sum(map(Fraction, weight[count])),
            int(count.sum()),
        )
        for value, weight, count in zip(*rows, strict=True)
    ]
    expected = written(
        *slices,
        axes=tuple(summed),
        shape=tuple(SHAPE[k] for k in kept),
        name="huber",
        reduction=1 if reduction == "mean" else 2,
        dtype=1 + list(DTYPES).index(dtype),
        parameter=0.5,
    )
    total = total_of(HuberLoss(reduction=reduction, delta=0.5), axis, (inputs, targets, weights, where))
    assert total.to_bytes() == expected
    assert StreamingLoss.from_bytes(expected) == total


# What has the right length and checksum, and what is said about it.
FORGED_SLICES = {
    "too few slices": (written(ONE), "lengths do not add up"),
    "too many slices": (written(ONE, ONE, ONE), "lengths do not add up"),
    "more slices than bytes": (written(ONE, ONE, shape=(2**50,)), "lengths do not add up"),
    "a name beyond the end": (written(surplus=200), "lengths do not add up"),
    "slices before there is data": (written(ONE, dtype=0, shape=()), "lengths do not add up"),
    "lengths before there is data": (written(dtype=0, shape=(0,)), "lengths, but the data had no dtype"),
    "an axis twice": (written(ONE, ONE, axes=(0, 0)), "twice"),
    "axes in disorder": (written(ONE, ONE, axes=(1, 0)), "ascending order"),
    "axes in disorder before there is data": (written(dtype=0, shape=(), axes=(0, -1)), "ascending order"),
    "a negative axis of data": (written(ONE, ONE, axes=(-1,)), r"data of 2 dimensions has not the axes \(-1,\)"),
    "an axis out of bounds": (written(ONE, ONE, axes=(2,)), r"data of 2 dimensions has not the axes \(2,\)"),
    "an axis that no array has": (written(dtype=0, shape=(), axes=(64,)), "axis 64 is out of bounds"),
    "65 dimensions": (written(ONE, shape=(1,) * 64), "of 65 dimensions"),
    "lengths that no array has": (written(shape=(0, 2**60)), "no array keeps the shape"),
    "another number in the second slice": (written(ONE, packed(-1, 1, 1)), "negative"),
    "unknown flags in the second slice": (written(ONE, packed(1, 1, 1, 8)), "flags 8"),
    "a sum of nothing": (written(ONE, packed(1)), "count is 0"),
    "another form": (written(ONE, struct.pack("<BQhHhH", 0, 0, 3, 0, 0, 0)), "normal form"),
    "unknown loss": (written(ONE, ONE, name="smoothie"), "loss 'smoothie' is unknown"),
    "unknown dtype": (written(ONE, ONE, dtype=5), "dtype code 5"),
    "reduction none": (written(ONE, ONE, reduction=0), "reduction code 0"),
    "parameter": (written(ONE, ONE, parameter=-1.0), "beta must be at least 0"),
    "a plain state of this version": (
        with_checksum(FORGED["unknown loss"][0][:7] + b"\x02" + FORGED["unknown loss"][0][8:-8]),
        "state",
    ),
}


@pytest.mark.parametrize("case", FORGED_SLICES)
def test_states_that_cannot_come_from_data_are_refused(case):
    forged, message = FORGED_SLICES[case]
    with pytest.raises(ValueError, match=message):
        StreamingLoss.from_bytes(forged)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_and_copies(protocol, rng):
    for total in (total_of(MSELoss(reduction="sum"), -1, sample(rng, (4, 3), "float64")), MSELoss().streaming(axis=(0, -1))):
        for other in (pickle.loads(pickle.dumps(total, protocol)), copy.copy(total), copy.deepcopy(total)):
            assert other == total
            assert other.to_bytes() == total.to_bytes()
            before = total.to_bytes()
            other.update(np.ones((4, 3)), 0.0)
            assert other != total
            assert total.to_bytes() == before


def test_equality_is_that_of_content():
    x = np.ones((2, 2))
    base = total_of(L1Loss(), 0, (x, 0.0))
    assert base == total_of(L1Loss(), -2, (x[:1], 0.0), (x[1:], 0.0))
    assert base != total_of(L1Loss(), 1, (x, 0.0))
    assert base != total_of(L1Loss(), None, (x, 0.0))
    assert base != total_of(L1Loss(), 0, (x, [[0.0, 0.5], [0.0, 0.0]]))
    assert base != total_of(L1Loss(), 0, (x[:, :1], 0.0))
    assert base != total_of(L1Loss(), 0, (x[None], 0.0))
    assert base != total_of(MSELoss(), 0, (x, 0.0))
    assert L1Loss().streaming(axis=0) != L1Loss().streaming()
    assert L1Loss().streaming(axis=(1, 0)) == L1Loss().streaming(axis=(0, 1))
    assert total_of(L1Loss(), (), (1.0, 0.0)) != total_of(L1Loss(), None, (1.0, 0.0))


def test_the_example_of_the_class_for_groups():
    """Clusters: a mask for each, along a kept axis."""
    x, labels = np.array([1.0, 2.0, 30.0, 40.0]), np.array([0, 0, 1, 1])
    total = cylosses.L1Loss().streaming(axis=1)
    for part in (np.s_[:3], np.s_[3:]):
        total.update(np.broadcast_to(x[part], (3, x[part].size)), 0.0, where=labels[part] == np.arange(3)[:, None])
    assert same_bits(total.compute(), np.array([1.5, 35.0, np.nan]))
    assert total.count.tolist() == [2, 2, 0]
