"""Dask arrays and DataFrames: the bits of a call in memory, whatever the chunks, the tree, the scheduler and the workers."""

from __future__ import annotations

import inspect
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster

import cylosses
import cylosses.dask as lazily
from cylosses import LOSSES, BroadcastWarning, HuberLoss, L1Loss, MSELoss, QuantileLoss, SmoothL1Loss, StreamingLoss, TukeyLoss
from cylosses.boosting import Objective, robust_scale

ROOT = Path(__file__).parent.parent
every_loss = pytest.mark.parametrize("name", LOSSES)


@pytest.fixture(autouse=True)
def synchronous():
    """Tasks in this thread, in one order, unless a test says otherwise."""
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture
def pair(rng):
    """Predictions and targets, and weights with zeros among them."""
    return rng.normal(size=(30, 6)), rng.normal(size=(30, 6)), rng.integers(0, 3, (30, 1)) * rng.random((30, 1))


def assert_same(lazy, expected):
    """An array that computes to these bits and says so before; NaN is NaN."""
    found, expected = np.asarray(lazy.compute() if hasattr(lazy, "compute") else lazy), np.asarray(expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    if hasattr(lazy, "_meta"):
        assert (lazy.dtype, lazy._meta.dtype, lazy._meta.ndim) == (expected.dtype, expected.dtype, expected.ndim)
    known = ~np.isnan(expected)
    assert (np.isnan(found) == ~known).all()
    assert np.ascontiguousarray(found[known]).tobytes() == np.ascontiguousarray(expected[known]).tobytes()


# Any call, in memory and on Dask arrays ------------------------------------------------------------------------------


METHODS = {
    "loss": (
        lambda loss, *pair, **settings: (loss(*pair, **settings),),
        lambda *args, **settings: (lazily.loss(*args, **settings),),
    ),
    "grad": (
        lambda loss, *pair, **settings: (loss.grad(*pair, **settings),),
        lambda *args, **settings: (lazily.grad(*args, **settings),),
    ),
    "value_and_grad": (lambda loss, *pair, **settings: loss.value_and_grad(*pair, **settings), lazily.value_and_grad),
    "grad_and_hess": (lambda loss, *pair, **settings: loss.grad_and_hess(*pair, **settings), lazily.grad_and_hess),
}


class Draw:
    """One random call: operands, settings, and how they are cut."""

    def __init__(self, rng, method):
        self.rng = rng
        shape = tuple(int(n) for n in rng.integers(0 if rng.random() < 0.1 else 1, 8, rng.integers(0, 4)))
        self.pair = [self.operand(self.shape_within(shape, 0.3)) for _ in range(2)]
        self.shape = np.broadcast_shapes(*(np.shape(item) for item in self.pair))
        self.settings = {}
        if rng.random() < 0.4:
            self.settings["weight"] = self.weight(self.shape_within(self.shape, 0.4))
        if rng.random() < 0.4:
            self.settings["where"] = np.asarray(rng.random(self.shape_within(self.shape, 0.4)) < 0.6)
        cls = LOSSES[rng.choice(list(LOSSES))]
        chosen = {cls.parameter_name: 0.25} if cls.parameter_name and rng.random() < 0.5 else {}
        self.loss = cls(reduction=str(rng.choice(["mean", "mean", "sum", "none"])), **chosen)
        self.choose_axes(method)
        if method.startswith("grad"):
            self.choose_factor(method)

    def shape_within(self, shape, probability):
        """The shape, or one that broadcasts to it."""
        if self.rng.random() > probability:
            return shape
        stretched = tuple(1 if self.rng.random() < 0.3 else n for n in shape)
        return stretched[self.rng.integers(0, len(shape) + 1) if self.rng.random() < 0.3 else 0 :]

    def operand(self, shape):
        rng = self.rng
        if shape == () and rng.random() < 0.5:
            return float(rng.normal()) if rng.random() < 0.7 else int(rng.integers(5))
        dtype = str(rng.choice(["f4", "f8", "f4", "f8", "f2", "i4", "i8", "u1", "?"]))
        if dtype in ("i4", "i8", "u1", "?"):
            return np.asarray(rng.integers(0, 2 if dtype == "?" else 100, shape)).astype(dtype)
        scale = 10.0 ** rng.integers(-3, 3) if rng.random() < 0.7 else np.ldexp(1.0, rng.integers(-140, 120, shape))
        with np.errstate(over="ignore", under="ignore"):
            values = np.array(rng.normal(size=shape) * scale).astype(dtype)
        if rng.random() < 0.15 and values.size:
            values.flat[rng.integers(values.size)] = rng.choice([np.nan, np.inf, -np.inf])
        return values

    def weight(self, shape):
        if self.rng.random() < 0.4:
            return np.asarray(self.rng.integers(0, 4, shape)).astype(str(self.rng.choice(["i8", "f8", "f4"])))
        return np.asarray(np.ldexp(self.rng.random(shape), int(self.rng.choice([0, 0, 0, -1060, 1010]))))

    def choose_axes(self, method):
        rng, ndim = self.rng, len(self.shape)
        self.axes = tuple(range(ndim))
        if self.loss.reduction == "none" or method == "grad_and_hess":
            return
        if rng.random() < 0.6 and ndim:
            self.axes = tuple(int(k) for k in rng.permutation(ndim)[: rng.integers(0, ndim + 1)])
            given = tuple(k - ndim if rng.random() < 0.3 else k for k in self.axes)
            self.settings["axis"] = given[0] if len(given) == 1 else given
        if method == "loss":
            self.settings["keepdims"] = bool(rng.random() < 0.3)

    def choose_factor(self, method):
        rng = self.rng
        factors = [None, float(rng.normal()), Fraction(1, 3), 0.0, -0.0, np.inf, np.nan, 1e-310, 1e308]
        if self.loss.reduction == "none":
            factors += 9 * [np.asarray(rng.normal(size=self.shape_within(self.shape, 0.5)))]
        elif "axis" in self.settings:
            kept = tuple(n for k, n in enumerate(self.shape) if k not in self.axes)
            stretched = tuple(1 if k in self.axes else n for k, n in enumerate(self.shape))
            factors += 9 * [np.asarray(rng.normal(size=kept if rng.random() < 0.5 else stretched))]
        self.settings["grad_output"] = factors[rng.integers(len(factors))]
        if method == "grad":
            self.settings["wrt"] = str(rng.choice(["input", "target"]))
        else:
            self.settings["curvature"] = str(rng.choice(["exact", "mm", "ones"]))

    def cut(self, value):
        """An operand as a Dask array, mostly, in any chunks, of which some are empty."""
        if not isinstance(value, np.ndarray) or self.rng.random() < 0.2:
            return value
        chunks = []
        for length in value.shape:
            cuts = np.sort(self.rng.integers(0, length + 1, self.rng.integers(0, 4)))
            chunks.append(tuple(np.diff([0, *cuts, length]).tolist()))
        return da.from_array(value, chunks=tuple(chunks))

    def is_a_number_of_no_dtype(self, method):
        """Whether the operand to derive by is a Python number beside float16, which is refused."""
        operand = self.pair[self.settings.get("wrt") == "target"]
        halves = [getattr(item, "dtype", None) == np.float16 for item in self.pair]
        return method != "loss" and not isinstance(operand, np.ndarray) and any(halves)


@pytest.mark.filterwarnings("ignore::cylosses.BroadcastWarning", "ignore::dask.array.core.PerformanceWarning")
@pytest.mark.parametrize("method", METHODS)
def test_any_call_has_the_bits_of_memory(method, rng):
    in_memory, on_dask = METHODS[method]
    for _ in range(60):
        call = Draw(rng, method)
        expected = in_memory(call.loss, *call.pair, **call.settings)
        operands = [call.cut(item) for item in call.pair], {name: call.cut(item) for name, item in call.settings.items()}
        split_every = {} if rng.random() < 0.5 else {"split_every": int(rng.choice([2, 3, 8]))}
        if call.is_a_number_of_no_dtype(method):
            with pytest.raises(TypeError, match="to derive by it, pass a NumPy scalar"):
                on_dask(call.loss, *operands[0], **operands[1])
            continue
        found = on_dask(call.loss, *operands[0], **operands[1], **split_every)
        for lazy, part, of_memory in zip(found, dask.compute(*found), expected, strict=True):
            assert lazy.shape == np.shape(of_memory)
            assert lazy.dtype == lazy._meta.dtype
            assert_same(part, of_memory)


@every_loss
def test_functions(name, pair):
    x, y, weight = pair
    lazy = da.from_array(x, chunks=(7, 4)), da.from_array(y, chunks=(10, 3))
    function, backward = f"{name}_loss", f"{name}_loss_backward"
    settings = {"weight": weight, "axis": 0}
    assert_same(getattr(lazily, function)(*lazy, **settings), getattr(cylosses, function)(x, y, **settings))
    assert_same(getattr(lazily, function)(*lazy, "none"), getattr(cylosses, function)(x, y, "none"))
    assert_same(getattr(lazily, backward)(0.3, *lazy, **settings), getattr(cylosses, backward)(0.3, x, y, **settings))
    if LOSSES[name].parameter_name:
        assert_same(
            getattr(lazily, function)(*lazy, "sum", 0.75),
            getattr(cylosses, function)(x, y, reduction="sum", **{LOSSES[name].parameter_name: 0.75}),
        )


@every_loss
def test_signatures_are_those_of_memory_without_flags_and_out(name):
    dropped = {"size_average", "reduce", "options", "out"}
    for function in (f"{name}_loss", f"{name}_loss_backward"):
        found = inspect.signature(getattr(lazily, function)).parameters
        known = inspect.signature(getattr(cylosses, function)).parameters
        assert list(found) == [*(parameter for parameter in known if parameter not in dropped), "split_every"]
        assert found["n_threads"].default == 1
        assert function in lazily.__all__


def test_a_mean_in_float64_of_many_chunkings_has_one_bit_pattern(rng):
    x, y = rng.standard_t(1, 1000), rng.standard_t(1, 1000)
    found = set()
    for _ in range(20):
        cuts = [np.diff([0, *np.sort(rng.integers(0, 1001, rng.integers(1, 40))), 1000]).tolist() for _ in range(2)]
        lazy = [da.from_array(array, chunks=(tuple(chunks),)) for array, chunks in zip((x, y), cuts, strict=True)]
        found.add(lazily.loss(MSELoss(), *lazy, split_every=int(rng.integers(2, 9))).compute().tobytes())
    assert found == {MSELoss()(x, y).tobytes()}


# What is known before anything is computed ---------------------------------------------------------------------------


def refuse(block):
    raise AssertionError("data was read")


def test_nothing_is_computed_until_it_is_asked_for(pair):
    x, y, weight = (da.from_array(array, chunks=7).map_blocks(refuse, meta=np.empty((0, 0))) for array in pair)
    settings = {"weight": weight}
    lazily.loss(SmoothL1Loss(), x, y, **settings, axis=0)
    lazily.loss(SmoothL1Loss(reduction="none"), x, y, **settings)
    lazily.grad(SmoothL1Loss(), x, y, **settings)
    lazily.value_and_grad(SmoothL1Loss(), x, y, **settings, axis=1)
    lazily.grad_and_hess(SmoothL1Loss(), x, y, **settings)
    lazily.total(SmoothL1Loss(), x, y, **settings)
    with pytest.raises(AssertionError, match="data was read"):
        lazily.loss(SmoothL1Loss(), x, y).compute()


def test_chunks_are_kept(pair):
    x, y, _ = pair
    chunks = ((7, 3, 20), (2, 4))
    x, y = da.from_array(x, chunks=chunks), da.from_array(y, chunks=chunks)
    none = SmoothL1Loss(reduction="none")
    arrays = lazily.loss(none, x, y), lazily.grad(none, x, 0.0), *lazily.grad_and_hess(SmoothL1Loss(), x, y)
    assert {array.chunks for array in arrays} == {chunks}
    assert lazily.loss(SmoothL1Loss(), x, y, axis=0).chunks == ((2, 4),)
    assert lazily.loss(SmoothL1Loss(), x, y, axis=0, keepdims=True).chunks == ((1,), (2, 4))


def test_names_follow_from_the_call(pair):
    x, y, _ = pair
    lazy = da.from_array(x, chunks=7), da.from_array(y, chunks=7)
    calls = [lazily.loss(HuberLoss(delta=delta), *lazy, axis=axis).name for delta in (1.0, 2.0) for axis in (0, 1)]
    assert len(set(calls)) == 4
    assert lazily.loss(HuberLoss(), *lazy, axis=0).name == calls[0]


@pytest.mark.parametrize("settings", [{}, {"weight": True}])
def test_graphs_are_linear_in_the_chunks(settings):
    sizes = []
    for n in (64, 128, 256):
        x, y, w = (da.zeros(n, chunks=1) for _ in range(3))
        given = {"weight": w} if settings else {}
        parts = lazily.value_and_grad(SmoothL1Loss(), x, y, **given)
        sizes.append(len(dask.optimize(*parts)[0].__dask_graph__()) + len(lazily.loss(SmoothL1Loss(), x, y).__dask_graph__()))
    assert sizes[2] - sizes[1] == pytest.approx(2 * (sizes[1] - sizes[0]), rel=0.02)
    assert sizes[2] < 12 * 256


def counted(array, counts, name):
    """The array, whose blocks count how often they are made."""

    def count(block, block_info=None):
        if block_info:
            counts[name, tuple(block_info[0]["chunk-location"])] += 1
        return block

    return array.map_blocks(count, meta=np.empty((0,) * array.ndim, array.dtype))


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("method", ["value_and_grad", "grad_and_hess"])
@pytest.mark.parametrize("weighted", [False, True])
def test_blocks_are_read_once(method, weighted, scheduler, pair):
    counts: Counter = Counter()
    x, y, weight = (counted(da.from_array(array, chunks=7), counts, k) for k, array in enumerate(pair))
    parts = getattr(lazily, method)(SmoothL1Loss(), x, y, **({"weight": weight} if weighted else {}))
    found = dask.compute(*parts, scheduler=scheduler)
    assert set(counts.values()) == {1}
    assert len(counts) == (3 if weighted else 2) * 5
    expected = getattr(SmoothL1Loss(), method)(*pair[:2], **({"weight": pair[2]} if weighted else {}))
    for part, of_memory in zip(found, expected, strict=True):
        assert_same(part, of_memory)


def test_the_divisor_of_a_mean_is_read_from_the_weights_alone(pair):
    x, y, weight = pair
    lazy = da.from_array(x, chunks=7).map_blocks(refuse, meta=np.empty((0, 0)))
    gradient = lazily.grad(MSELoss(), lazy, y, weight=da.from_array(weight, chunks=7))
    divisors = [key for key in gradient.__dask_graph__() if str(key[0]).startswith("exact-aggregate")]
    assert len(divisors) == 1
    (divisor,) = dask.get(gradient.__dask_graph__(), divisors)
    assert divisor.item() == sum(map(Fraction, weight.ravel().tolist())) * x.shape[1]


# Operands ------------------------------------------------------------------------------------------------------------


def test_unknown_chunk_sizes(pair):
    x, y, weight = pair
    keep = x[:, 0] > 0
    some = [da.from_array(array, chunks=(7, -1))[da.from_array(keep, chunks=7)] for array in pair]
    x, y, weight = (array[keep] for array in pair)
    loss = SmoothL1Loss()
    assert_same(lazily.loss(loss, *some[:2]), loss(x, y))
    assert_same(lazily.loss(loss, some[0], 0.5, axis=1), loss(x, 0.5, axis=1))
    for settings, in_memory in (({}, {}), ({"weight": some[2]}, {"weight": weight}), ({"axis": 0}, {"axis": 0})):
        for part, expected in zip(
            dask.compute(*lazily.value_and_grad(loss, *some[:2], **settings)), loss.value_and_grad(x, y, **in_memory), strict=True
        ):
            assert_same(part, expected)


def test_chunks_of_unknown_sizes_that_differ_are_refused(pair):
    x, y, _ = (da.from_array(array, chunks=(7, -1)) for array in pair)
    some, others = x[x[:, 0] > 0], y[x[:, 0] > 0.5]
    with pytest.raises(ValueError, match=r"a chunk of (input|target) has the shape .* must be cut alike"):
        lazily.loss(SmoothL1Loss(), some, others).compute()
    one = da.from_array([5.0, 6.0], chunks=1)[da.from_array([True, True], chunks=1)]  # chunks of 1, which NumPy would broadcast
    with pytest.raises(ValueError, match="must be cut alike"):
        lazily.loss(
            SmoothL1Loss(), one, da.from_array(np.arange(8.0), chunks=4)[da.from_array(np.arange(8) > 0, chunks=4)]
        ).compute()
    with pytest.raises(ValueError, match="unknown"):
        lazily.loss(SmoothL1Loss(), some, y)


def test_columns_of_frames(pair):
    x, y, _ = pair
    frame = dd.from_pandas(pd.DataFrame({"x": x[:, 0], "y": y[:, 0]}), npartitions=4)
    assert_same(lazily.loss(SmoothL1Loss(), frame["x"], frame["y"]), SmoothL1Loss()(x[:, 0], y[:, 0]))
    assert_same(lazily.loss(SmoothL1Loss(), frame["x"], [0.5]), SmoothL1Loss()(x[:, 0], [0.5]))


def test_arrays_in_memory_and_numbers_only(pair):
    x, y, _ = pair
    assert_same(lazily.loss(SmoothL1Loss(), x, y.tolist()), SmoothL1Loss()(x, y))
    assert_same(lazily.loss(SmoothL1Loss(), 1.0, 3), SmoothL1Loss()(1.0, 3))


def test_broadcasting_warns_once_where_the_call_stands(rng):
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 1))
    with pytest.warns(BroadcastWarning) as in_memory:
        expected = SmoothL1Loss()(x, y)
    with pytest.warns(BroadcastWarning) as records:
        lazy = lazily.loss(SmoothL1Loss(), da.from_array(x, chunks=3), da.from_array(y, chunks=3))
    assert [str(record.message) for record in records] == [str(record.message) for record in in_memory]
    assert records[0].filename == __file__
    assert_same(lazy, expected)  # warnings are errors, so this has none
    with pytest.warns(BroadcastWarning):
        lazily.smooth_l1_loss(da.from_array(x, chunks=3), y)
    assert_same(lazily.loss(SmoothL1Loss(), da.from_array(x, chunks=3), y[:1]), SmoothL1Loss()(x, y[:1]))  # one element: none


WRONG = {
    "shapes": lambda call, x, y: call(SmoothL1Loss(), x, y[:, :5]),
    "dimensions": lambda call, x, y: call(SmoothL1Loss(), x, y, weight=x[None]),
    "weight": lambda call, x, y: call(SmoothL1Loss(), x, y, weight=y[:7]),
    "where": lambda call, x, y: call(SmoothL1Loss(), x, y, where=y[0, :4] > 0),
    "mask": lambda call, x, y: call(SmoothL1Loss(), x, y, where=y),
    "axis": lambda call, x, y: call(SmoothL1Loss(), x, y, axis=2),
    "axes": lambda call, x, y: call(SmoothL1Loss(), x, y, axis=(1, -1)),
    "axis list": lambda call, x, y: call(SmoothL1Loss(), x, y, axis=[0]),
    "axis of none": lambda call, x, y: call(SmoothL1Loss(reduction="none"), x, y, axis=0),
    "complex": lambda call, x, y: call(SmoothL1Loss(), x.astype(complex), y),
    "strings": lambda call, x, y: call(SmoothL1Loss(), x, np.full(x.shape, "a").tolist()),
    "none": lambda call, x, y: call(SmoothL1Loss(), x, None),
    "threads": lambda call, x, y: call(SmoothL1Loss(), x, y, n_threads=0),
    "parameter": lambda call, x, y: call(SmoothL1Loss(beta=1 / 3 * 1e300), x.astype("f4"), y.astype("f4")),
    "weights": lambda call, x, y: np.asarray(call(SmoothL1Loss(), x, y, weight=y)),
}


@pytest.mark.parametrize("case", WRONG)
def test_errors_are_those_of_memory(case, pair):
    x, y, _ = pair

    def message(call, *arrays):
        try:
            WRONG[case](call, *arrays)
        except (TypeError, ValueError) as error:
            return type(error), str(error)
        return None

    def in_memory(loss, *args, **settings):
        return loss(*args, **settings)

    assert message(lazily.loss, da.from_array(x, chunks=7), da.from_array(y, chunks=4)) == message(in_memory, x, y)


def test_other_errors(pair):
    x, y, _ = (da.from_array(array, chunks=7) for array in pair)
    with pytest.raises(TypeError, match="loss must be a loss object such as SmoothL1Loss\\(\\), got str"):
        lazily.loss("huber", x, y)
    with pytest.raises(TypeError, match="input is a masked array"):
        lazily.loss(L1Loss(), da.ma.masked_array(x, x > 0), y)
    with pytest.raises(ValueError, match="grad_output must be one number for reduction='mean', got shape"):
        lazily.grad(L1Loss(), x, y, grad_output=y)
    with pytest.raises(ValueError, match=r"grad_output of shape .* cannot be broadcast"):
        lazily.grad(L1Loss(reduction="none"), x, y, grad_output=y[:4])
    with pytest.raises(TypeError, match="grad_output has dtype"):
        lazily.grad(L1Loss(), x, y, grad_output="a")
    with pytest.raises(TypeError, match="grad_output must be a number or an array, got None"):
        lazily.l1_loss_backward(None, x, y)
    with pytest.raises(ValueError, match="wrt must be"):
        lazily.grad(L1Loss(), x, y, wrt="weight")
    with pytest.raises(ValueError, match="curvature must be"):
        lazily.grad_and_hess(L1Loss(), x, y, curvature="newton")
    with pytest.raises(ValueError, match="has no total"):
        lazily.total(L1Loss(reduction="none"), x, y)


def test_gradients_of_many_slices_with_factors_of_their_own(rng):
    """More slices than are summed at once where the operand was broadcast."""
    x, y = rng.normal(size=(3000, 4)), rng.normal(size=(3000, 1))
    with pytest.warns(BroadcastWarning):
        expected = TukeyLoss().grad(x, y, wrt="target", axis=1, weight=x * x)
    for chunks in ((1000, 4), (700, 3)):
        with pytest.warns(BroadcastWarning):
            lazy = lazily.grad(TukeyLoss(), da.from_array(x, chunks=chunks), y, wrt="target", axis=1, weight=x * x)
        assert_same(lazy, expected)


@pytest.mark.parametrize(
    "values", [[np.inf, 1.0], [-np.inf, 1.0], [np.inf, -np.inf], [np.nan, 1.0], [1.7e308, 1.7e308], [1.0, -1.0], [-1e308, -1e308]]
)
def test_sums_of_special_derivatives(values):
    loss, factors = L1Loss(reduction="none"), np.array(values)
    expected = loss.grad(0.0, np.full(2, -1.0), grad_output=factors)
    assert_same(lazily.grad(loss, 0.0, da.from_array(np.full(2, -1.0), chunks=1), grad_output=factors), expected)


def test_no_sum_of_derivatives_is_minus_zero():
    """An operand of fewer axes is broadcast along one of length 1: its gradient is a sum, if only of one."""
    loss, x, y = L1Loss(reduction="none"), np.array([-1.0, 1.0]), np.zeros((1, 2))
    with pytest.warns(BroadcastWarning):
        expected = loss.grad(x, y, grad_output=0.0)
    with pytest.warns(BroadcastWarning):
        lazy = lazily.grad(loss, da.from_array(x, chunks=1), y, grad_output=0.0)
    assert not np.signbit(expected).any()
    assert_same(lazy, expected)


# Totals and groups ---------------------------------------------------------------------------------------------------


def test_totals_are_merged_and_stored(pair):
    x, y, weight = pair
    loss = QuantileLoss(q=0.9)
    days = [
        lazily.total(loss, da.from_array(x[part], chunks=4), y[part], weight=weight[part]) for part in (slice(0, 12), slice(12, 30))
    ]
    first, second = dask.compute(*days)
    first.merge(StreamingLoss.from_bytes(second.to_bytes()))
    assert first.count == np.count_nonzero(np.broadcast_to(weight, x.shape))
    assert_same(first.compute(), loss(x, y, weight=weight))


@pytest.fixture
def table(rng):
    n = 500
    return pd.DataFrame(
        {
            "yhat": rng.normal(size=n).astype("f4"),
            "y": rng.normal(size=n).astype("f4"),
            "w": rng.integers(0, 3, n) * rng.random(n),
            "m": rng.random(n) > 0.3,
            "fold": rng.integers(0, 7, n),
            "site": rng.choice(["b", "a", None], n),
            "kind": pd.Categorical(rng.choice(list("xyz"), n), categories=list("zyxq")),
        }
    )


@pytest.mark.parametrize("by", ["fold", "site", "kind", ["site", "fold"], ["kind", "site"]])
@pytest.mark.parametrize("npartitions", [1, 7])
def test_scores_of_groups(by, npartitions, table):
    frame = dd.from_pandas(table, npartitions=npartitions)
    losses = {"huber": HuberLoss(delta=0.5), "total": L1Loss(reduction="sum")}
    lazy = lazily.score_by(frame, "yhat", "y", by=by, loss=losses, weight="w", where="m", split_every=2)
    found = lazy.compute()
    groups = list(table.groupby(by, dropna=False, observed=True))
    assert len(found) == len(groups)
    assert list(found.columns) == ["huber", "total", "count"]
    assert found.dtypes.to_dict() == lazy._meta.dtypes.to_dict()
    assert list(found.index.names) == (by if isinstance(by, list) else [by])
    for at, (key, part) in enumerate(groups):
        keys, expected = (
            [str(item).replace("<NA>", "nan") for item in np.atleast_1d(np.array(k, object))] for k in (found.index[at], key)
        )
        assert keys == expected
        for name, loss in losses.items():
            assert_same(found[name].to_numpy()[at], loss(part["yhat"], part["y"], weight=part["w"], where=part["m"]))
        assert found["count"].iloc[at] == ((part["w"] > 0) & part["m"]).sum()


def test_scores_of_no_groups(table):
    frame = dd.from_pandas(table, npartitions=3)
    found = lazily.score_by(frame[frame["fold"] > 100], "yhat", "y", by="fold", loss=L1Loss()).compute()
    assert (len(found), list(found.columns)) == (0, ["l1", "count"])


def test_errors_of_scores(table):
    frame = dd.from_pandas(table, npartitions=2)
    with pytest.raises(TypeError, match="frame must be a Dask DataFrame, got DataFrame"):
        lazily.score_by(table, "yhat", "y", by="fold", loss=L1Loss())
    with pytest.raises(ValueError, match="observed='z' is no column of the frame: it has 'yhat', 'y'"):
        lazily.score_by(frame, "yhat", "z", by="fold", loss=L1Loss())
    with pytest.raises(ValueError, match="by='z' is no column"):
        lazily.score_by(frame, "yhat", "y", by=["fold", "z"], loss=L1Loss())
    with pytest.raises(ValueError, match="by must name at least one column"):
        lazily.score_by(frame, "yhat", "y", by=[], loss=L1Loss())
    with pytest.raises(TypeError, match="loss must be a loss object"):
        lazily.score_by(frame, "yhat", "y", by="fold", loss="l1")
    with pytest.raises(ValueError, match="at least one loss"):
        lazily.score_by(frame, "yhat", "y", by="fold", loss=[])
    with pytest.raises(ValueError, match="losses of one name need columns of their own"):
        lazily.score_by(frame, "yhat", "y", by="fold", loss=[HuberLoss(), HuberLoss(delta=2.0)])
    with pytest.raises(ValueError, match="'count' is the column of the counts"):
        lazily.score_by(frame, "yhat", "y", by="fold", loss={"count": L1Loss()})
    with pytest.raises(ValueError, match="has no total"):
        lazily.score_by(frame, "yhat", "y", by="fold", loss=L1Loss(reduction="none"))
    with pytest.raises(TypeError, match="target has dtype object"):
        lazily.score_by(frame, "yhat", "site", by="fold", loss=L1Loss())
    with pytest.raises(TypeError, match="where has dtype float64"):
        lazily.score_by(frame, "yhat", "y", by="fold", loss=L1Loss(), where="w")
    with pytest.raises(ValueError, match="q must be one number here"):
        lazily.score_by(frame, "yhat", "y", by="fold", loss=QuantileLoss(q=[0.1, 0.9]))


# Boosters ------------------------------------------------------------------------------------------------------------


def test_the_robust_scale_is_that_of_memory(rng):
    for case in range(12):
        n = int(rng.integers(1, 60))
        targets = rng.normal(size=n) * 10.0 ** rng.integers(-300, 300) if case % 3 else rng.integers(-2, 3, n) * 1.0
        targets = targets if case % 7 else np.full(n, targets[0])
        weight = [None, rng.integers(0, 4, n) * 1.0, rng.random(n)][case % 3]
        if weight is not None:
            weight[0] = 1.0
            targets[weight == 0] = np.nan
        lazy = None if weight is None else da.from_array(weight, chunks=5)
        assert robust_scale(da.from_array(targets, chunks=7), lazy) == robust_scale(targets, weight)
    integers = rng.integers(-100, 100, 51)
    assert lazily.robust_scale(da.from_array(integers, chunks=7)) == robust_scale(integers)


def test_objectives_for_lazy_targets(rng):
    targets = rng.standard_t(2, 500)
    lazy = da.from_array(targets, chunks=77)
    assert Objective("huber").for_targets(lazy) == Objective("huber").for_targets(targets)
    assert lazily.robust_scale(lazy[lazy > 0]) == robust_scale(targets[targets > 0])


def test_errors_of_the_robust_scale():
    ones = da.ones(4, chunks=2)
    for call, message in (
        (lambda: lazily.robust_scale(da.ones((2, 2))), "targets must be a vector to have one scale, got shape"),
        (lambda: lazily.robust_scale(ones, [1.0, 2.0]), "sample_weight has shape"),
        (lambda: lazily.robust_scale(ones, [1.0, 2.0, np.nan, 1.0]), "sample_weight must be finite and not negative"),
        (lambda: lazily.robust_scale(ones, [1.0, 2.0, -1.0, 1.0]), "sample_weight must be finite and not negative"),
        (lambda: lazily.robust_scale(ones, np.zeros(4)), "at least one number with a weight"),
        (lambda: lazily.robust_scale(da.ones(0)), "at least one number with a weight"),
        (lambda: lazily.robust_scale(ones * np.nan), "targets must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


# A cluster -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster():
    """Two processes on loopback."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=":0", memory_limit=None) as processes,
        Client(processes, set_as_default=False) as client,
    ):
        yield client


def calls_of(pair, chunks):
    x, y, weight = (da.from_array(array, chunks=chunks) for array in pair)
    loss = SmoothL1Loss(beta=0.5)
    gradients = lazily.value_and_grad(loss, x, y, weight=weight)
    return [lazily.loss(loss, x, y, weight=weight), lazily.loss(loss, x, y, axis=0), *gradients]


def results_of(pair):
    x, y, weight = pair
    loss = SmoothL1Loss(beta=0.5)
    return [loss(x, y, weight=weight), loss(x, y, axis=0), *loss.value_and_grad(x, y, weight=weight)]


@pytest.mark.slow
def test_processes_have_the_same_bits(cluster, pair):
    for chunks in (4, (30, 1), 11):
        found = cluster.gather(cluster.compute(calls_of(pair, chunks)))
        for part, expected in zip(found, results_of(pair), strict=True):
            assert_same(part, expected)


@pytest.mark.slow
def test_groups_on_a_cluster(cluster, table):
    frame = dd.from_pandas(table, npartitions=5)
    found = cluster.compute(lazily.score_by(frame, "yhat", "y", by="fold", loss=MSELoss())).result()
    for key, part in table.groupby("fold"):
        assert_same(found["mse"].loc[key], MSELoss()(part["yhat"], part["y"]))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_a_worker_that_is_killed_changes_no_bit(cluster, pair, tmp_path):
    """One worker dies by its own hand in the middle of the work, once; its tasks run again."""
    x, y, weight = pair

    def die_once(block, marker):
        if block.size and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return block

    before = set(cluster.run(os.getpid).values())
    lazy = da.from_array(x, chunks=4).map_blocks(die_once, marker=tmp_path / "died", meta=np.empty((0, 0)))
    parts = lazily.value_and_grad(SmoothL1Loss(beta=0.5), lazy, da.from_array(y, chunks=4), weight=weight)
    found = cluster.gather(cluster.compute(list(parts)))
    cluster.wait_for_workers(2, timeout=60)
    assert set(cluster.run(os.getpid).values()) != before
    for part, expected in zip(found, results_of(pair)[2:], strict=True):
        assert_same(part, expected)


# The page, and Dask that is not there --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", range(5))
def test_the_page_works_as_printed(number, tmp_path):
    """Each line that prints has what it prints in a comment; bars are drawn before and between."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "dask.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 5
    script = tmp_path / "page.py"
    script.write_text(blocks[number], encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = [line.rpartition("  # ")[2] for line in blocks[number].splitlines() if re.match(r" *print\(.*\)  # ", line)]
    printed = [line for line in re.split(r"[\r\n]+", done.stdout) if line.strip("\x1b[2K ") and "Completed" not in line]
    assert printed == expected


def test_a_missing_dask_is_an_error_that_names_the_extra():
    script = "import sys; sys.modules['dask'] = None; import cylosses.dask"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("ImportError: cylosses.dask needs the package dask: pip install 'cylosses[dask]'")
