"""`StreamingLoss`: however the data is cut, ordered, threaded and merged, the bits are those of one call."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cylosses
from cylosses import StreamingLoss
from cylosses.losses import LOSSES
from tools import exactness

from .generators import DTYPES, LAYOUTS, SPREADS, pairs
from .reference import ORACLE, reduced, same_bits

every_loss = pytest.mark.parametrize("name", LOSSES)
reductions = pytest.mark.parametrize("reduction", ["mean", "sum"])


@every_loss
@pytest.mark.parametrize("dtype", DTYPES)
def test_random_splits_and_merges_give_one_bit_pattern(name, dtype, rng):
    assert len(exactness.distinct_patterns(rng, LOSSES[name](), dtype, 20_000, 40)) == 1


@pytest.mark.slow
@every_loss
@pytest.mark.parametrize("dtype", DTYPES)
def test_many_random_splits_of_a_long_array(name, dtype, rng):
    assert len(exactness.distinct_patterns(rng, LOSSES[name](), dtype, 1_000_000, 50)) == 1


@every_loss
@reductions
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spread", SPREADS)
def test_one_element_at_a_time(name, reduction, dtype, spread, rng):
    inputs, targets = SPREADS[spread](rng, 300, dtype)
    loss = LOSSES[name](reduction=reduction)
    state = loss.streaming()
    for x, t in zip(inputs, targets, strict=True):
        state.update(x, t)
    assert same_bits(state.compute(), loss(inputs, targets))
    assert state.count == 300


@reductions
@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_any_values_and_cut(reduction, dtype, data):
    name = data.draw(st.sampled_from(list(LOSSES)))
    inputs, targets = data.draw(pairs(dtype, special=True))
    parameter = data.draw(st.sampled_from(ORACLE[name].some_parameters(dtype)))
    loss = LOSSES[name](reduction=reduction, **ORACLE[name].setting(parameter))
    cut = data.draw(st.integers(0, inputs.size))
    first, second = loss.streaming(), loss.streaming()
    first.update(inputs[:cut], targets[:cut])
    second.update(inputs[cut:], targets[cut:])
    second.merge(first)
    whole = loss(inputs, targets)
    assert same_bits(second.compute(), whole)
    assert second.count == inputs.size
    first.update(inputs[cut:], targets[cut:])
    assert same_bits(first.compute(), whole)


@every_loss
def test_the_class_and_the_method_are_the_same(name, rng):
    loss = LOSSES[name](reduction="sum")
    inputs, targets = SPREADS["gauss"](rng, 100, np.float32)
    assert type(loss.streaming()) is StreamingLoss
    state = StreamingLoss(loss)
    state.update(inputs, targets)
    assert same_bits(state.compute(), loss(inputs, targets))


def test_nothing_yet():
    mean, total = (cylosses.SmoothL1Loss().streaming(), cylosses.SmoothL1Loss(reduction="sum").streaming())
    assert np.isnan(mean.compute())
    assert total.compute() == 0
    assert mean.count == total.count == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_empty_updates_count_nothing(dtype):
    state = cylosses.SmoothL1Loss().streaming()
    state.update(np.empty(0, dtype), np.empty(0, dtype))
    assert np.isnan(state.compute())
    state.update(np.array([3], dtype), np.array([1], dtype))
    state.update(np.empty((0, 4), dtype), np.empty((0, 4), dtype))
    assert same_bits(state.compute(), dtype(1.5))
    assert state.count == 1


def test_compute_may_be_asked_at_any_time(rng):
    inputs, targets = SPREADS["gauss"](rng, 5000, np.float32)
    loss = cylosses.SmoothL1Loss()
    state = loss.streaming()
    for stop in range(100, 5001, 100):
        state.update(inputs[stop - 100 : stop], targets[stop - 100 : stop])
        assert same_bits(state.compute(), loss(inputs[:stop], targets[:stop]))
        assert same_bits(state.compute(), state.compute())
        assert state.count == stop


def test_reset(rng):
    inputs, targets = SPREADS["gauss"](rng, 500, np.float32)
    loss = cylosses.SmoothL1Loss()
    state = loss.streaming()
    state.update(inputs * np.float32(np.nan), targets)
    state.reset()
    assert state.count == 0
    assert np.isnan(state.compute())
    state.update(inputs, targets)
    assert same_bits(state.compute(), loss(inputs, targets))


def test_merging_leaves_the_other_state_as_it_was(rng):
    inputs, targets = SPREADS["gauss"](rng, 500, np.float32)
    loss = cylosses.SmoothL1Loss(reduction="sum")
    first, second = loss.streaming(), loss.streaming()
    first.update(inputs[:200], targets[:200])
    second.update(inputs[200:], targets[200:])
    first.merge(second)
    assert same_bits(second.compute(), loss(inputs[200:], targets[200:]))
    assert second.count == 300
    first.update(inputs, targets)
    assert same_bits(second.compute(), loss(inputs[200:], targets[200:]))


def test_merging_a_state_with_itself_counts_everything_twice(rng):
    inputs, targets = SPREADS["gauss"](rng, 500, np.float32)
    loss = cylosses.SmoothL1Loss(reduction="sum")
    state = loss.streaming()
    state.update(inputs, targets)
    state.merge(state)
    assert same_bits(state.compute(), loss(np.tile(inputs, 2), np.tile(targets, 2)))
    assert state.count == 1000


@pytest.mark.parametrize(
    "other", [cylosses.SmoothL1Loss(beta=0.5), cylosses.SmoothL1Loss(reduction="sum"), cylosses.SmoothL1Loss(beta=0)]
)
def test_states_of_different_losses_do_not_merge(other):
    state, foreign = cylosses.SmoothL1Loss().streaming(), other.streaming()
    state.update([3.0], [1.0])
    foreign.update([4.0], [1.0])
    with pytest.raises(ValueError, match=r"SmoothL1Loss|loss"):
        state.merge(foreign)
    assert state.compute() == 1.5
    assert state.count == 1


@pytest.mark.parametrize("other", [None, 3, "state", cylosses.SmoothL1Loss()])
def test_only_states_merge(other):
    with pytest.raises(TypeError):
        cylosses.SmoothL1Loss().streaming().merge(other)


@pytest.mark.parametrize("loss", [None, "smooth_l1", cylosses.SmoothL1Loss, 1.0])
def test_only_losses_stream(loss):
    with pytest.raises(TypeError):
        StreamingLoss(loss)


def test_a_refused_update_changes_nothing():
    state = cylosses.SmoothL1Loss().streaming()
    state.update([3.0], [1.0])
    for x, t, options in (([1.0, 2.0], [1.0, 2.0, 3.0], {}), (["a"], [1.0], {}), ([9.0], [1.0], {"n_threads": 0})):
        with pytest.raises((TypeError, ValueError)):
            state.update(x, t, **options)
    assert state.compute() == 1.5
    assert state.count == 1


def test_updates_broadcast_with_a_warning_at_the_line_of_the_call():
    state = cylosses.SmoothL1Loss(reduction="sum").streaming()
    with pytest.warns(cylosses.BroadcastWarning, match=r"\(3,\).*\(2, 1\)") as caught:
        state.update(np.zeros(3), np.full((2, 1), 2.0))
    assert caught[0].filename == __file__
    assert state.count == 6
    assert state.compute() == 9


@pytest.mark.parametrize("layout", LAYOUTS)
def test_updates_of_any_layout(layout, rng, tmp_path):
    inputs, targets = (values.reshape(30, 50) for values in SPREADS["gauss"](rng, 1500, np.float32))
    loss = cylosses.SmoothL1Loss()
    state = loss.streaming()
    moved = LAYOUTS[layout](inputs, tmp_path)
    for row in range(30):
        state.update(moved[row], targets[row], n_threads=2)
    assert same_bits(state.compute(), loss(inputs, targets))


def test_a_sum_that_overflows_on_the_way_to_a_finite_mean():
    state = cylosses.SmoothL1Loss(beta=0).streaming()
    for _ in range(4):
        state.update(np.full(1000, 3e38, np.float32), np.zeros(1000, np.float32))
    assert state.compute() == np.float32(3e38)


def test_infinity_and_nan_stay():
    state = cylosses.SmoothL1Loss().streaming()
    state.update([np.inf], [0.0])
    state.update([1.0], [0.0])
    assert state.compute() == np.inf
    state.update([np.nan], [0.0])
    assert np.isnan(state.compute())


def test_more_updates_than_carries_can_wait(rng):
    """Limbs of the accumulator are released of their carries every thousand deposits or so: pass that many times."""
    inputs, targets = SPREADS["any window"](rng, 5, np.float64)
    loss = cylosses.SmoothL1Loss(reduction="sum")
    state = loss.streaming()
    for _ in range(10_000):
        state.update(inputs, targets)
    assert same_bits(state.compute(), loss(np.tile(inputs, 10_000), np.tile(targets, 10_000)))


def test_the_result_has_the_widest_dtype_of_the_updates(rng):
    inputs, targets = SPREADS["gauss"](rng, 700, np.float64)
    narrow_inputs, narrow_targets = inputs.astype(np.float32), targets.astype(np.float32)
    loss = cylosses.SmoothL1Loss()
    plain = cylosses.SmoothL1Loss(reduction="none")
    losses = np.concatenate([plain(inputs, targets), plain(narrow_inputs, narrow_targets)])
    for order in (1, -1):
        state, other = loss.streaming(), loss.streaming()
        for x, t in ((inputs, targets), (narrow_inputs, narrow_targets))[::order]:
            state.update(x, t)
        assert same_bits(state.compute(), reduced(losses, "mean"))
        other.update(narrow_inputs, narrow_targets)
        assert type(other.compute()) is np.float32
        other.merge(state)
        assert type(other.compute()) is np.float64
        other.reset()
        other.update(narrow_inputs, narrow_targets)
        assert same_bits(other.compute(), loss(narrow_inputs, narrow_targets))


def test_merging_many_states(rng):
    inputs, targets = SPREADS["whole range"](rng, 4000, np.float64)
    loss = cylosses.SmoothL1Loss(reduction="sum")
    total = loss.streaming()
    for at in rng.permutation(4000).tolist():
        part = loss.streaming()
        part.update(inputs[at : at + 1], targets[at : at + 1])
        total.merge(part)
    assert same_bits(total.compute(), loss(inputs, targets))


def test_states_are_independent():
    loss = cylosses.SmoothL1Loss()
    first, second = loss.streaming(), loss.streaming()
    first.update([3.0], [1.0])
    assert second.count == 0
    assert copy.copy(loss) == loss
