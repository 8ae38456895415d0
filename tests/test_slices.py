"""Short slices, which are summed side by side: rows, groups and columns of every size, each with the bits that it has alone.

Slices are told apart by what could mix them up or round them twice: sums exactly halfway between two results and next to that,
one poisoned slice among others, exponents that move from row to row, and every place where another way of summing begins.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from cylosses import L1Loss, MSELoss, StreamingLoss
from cylosses.losses import LOSSES

from .generators import DTYPES, LAYOUTS, exponents, spread, terms_of
from .reference import (
    FORMATS,
    divisors,
    exact_sum,
    is_scaled,
    reduced,
    reduced_slices,
    round_fraction,
    same_bits,
    summed_gradient,
    weighted,
)

REDUCTIONS = ("mean", "sum")
every_dtype = pytest.mark.parametrize("dtype", DTYPES)

# Around the widths of vectors, half a block, a block.
ROWS = (*range(1, 41), 100, 256, 511, 512, 513, 1000, 1024, 1025)
# Numbers of columns around a block and strips of them, numbers of their rows around those that are summed plainly.
COLUMNS = (1, 2, 4, 5, 100, 1000, 1024, 1025, 4096, 4097, 5000)
HEIGHTS = (1, 2, 3, 8, 9, 63, 64, 65, 200, 3000)
WIDE = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e300, -1e300, 1e-300, 5e-324, 1e-45, 3e38, 1.7e308, 1e-39, 2.0**-1022]


def oracle(losses, reduction, axis, weight=None, where=None, most=6):
    """The exact results of some slices, and their flat places."""
    found = reduced_slices(losses, reduction, weight, where, axis, most)
    return np.array(list(found), int), np.array(list(found.values()), losses.dtype)


def alone(call, axis, *arrays):
    """What a call gives for each slice by itself, copied to the front of a new array: there, nothing lies side by side."""
    moved = [array if array is None else np.moveaxis(array, axis, -1) for array in arrays]
    kept = moved[0].shape[:-1]
    results = [call(*(None if a is None else a[index].copy() for a in moved)) for index in np.ndindex(kept)]
    return np.array(results).reshape(*kept, *np.shape(results[0]))


def agree(x, t, axis, *, weight=None, where=None, name="l1", most=6, n_threads=(None,), slices_alone=True):
    """Every slice of mean and sum has the bits that it has alone, and some are compared with fractions."""
    losses = LOSSES[name](reduction="none")(x, t)
    weights, masks = (None if a is None else np.broadcast_to(a, x.shape) for a in (weight, where))
    for reduction in REDUCTIONS:
        loss = LOSSES[name](reduction=reduction)
        places, expected = oracle(losses, reduction, axis, weight, where, most)
        for threads in n_threads:
            got = loss(x, t, axis=axis, weight=weight, where=where, n_threads=threads)
            assert same_bits(got.ravel()[places], expected)
            if threads == n_threads[0]:
                first = got
            assert same_bits(got, first)
        if slices_alone:
            each = alone(lambda a, b, w, m, loss=loss: loss(a, b, weight=w, where=m), axis, x, t, weights, masks)
            assert same_bits(first, each)


# Sums that are halfway ----------------------------------------------------------------------------------------------


def halfway(rng, dtype, units):
    """An odd multiple of half a unit in the last place, as an integer: between two neighbours of so many units and more bits."""
    precision = FORMATS[np.dtype(dtype).name].precision
    return units * (2 * int(rng.integers(2 ** (precision - 1), 2**precision)) + 1)


def nudged(rng, dtype, k, divisor, j, sign):
    """k terms, whose sum over the divisor is halfway between two numbers, or off by 2**-j of half a unit in the last place."""
    target = (halfway(rng, dtype, divisor) << j) + sign
    return terms_of(rng, target, k, dtype), target


MADE = 60  # slices that are made one by one, which takes time


def repeated(rng, slices, count):
    """So many slices, each of these times powers of two."""
    found = np.resize(slices, (count, slices.shape[1]))
    if rng is not None:
        found[len(slices) :] = np.ldexp(found[len(slices) :], rng.integers(-5, 6, (max(count - len(slices), 0), 1)))
    return found


def near_halfway(rng, dtype, k, divisor, count):
    """Slices of k terms: halfway, above and below, by everything that few terms can hold."""
    deepest = 18 if k == 2 else 40 if k < 5 else 110
    slices = []
    while len(slices) < min(count, MADE):
        j = int(rng.integers(0, deepest))
        terms, target = nudged(rng, dtype, k, divisor, j, int(rng.integers(-1, 2)))
        if terms is None:
            continue
        scale = int(rng.integers(-60, 61)) - j
        values = np.ldexp(np.array(terms, np.float64), scale)
        assert sum(map(Fraction, values.tolist())) == Fraction(target) * Fraction(2) ** scale
        slices.append(values.astype(dtype))
    return repeated(rng, np.array(slices), count)


@every_dtype
@pytest.mark.parametrize("k", [2, 3, 4, 5, 7, 8, 16, 17, 100])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_rows_next_to_halfway(dtype, k, reduction, rng):
    """Alone of their kind in a block, and among others, whose range of exponents is larger."""
    rows = near_halfway(rng, dtype, k, k if reduction == "mean" else 1, 120)
    loss, zeros = L1Loss(reduction=reduction), np.zeros_like(rows)
    expected = reduced(rows, reduction, axis=1)
    assert same_bits(loss(rows, zeros, axis=1), expected)
    assert same_bits(loss(np.asfortranarray(rows), zeros, axis=1), expected)
    for row, of_row in zip(rows, expected, strict=True):  # with the exponents of one row, or of it and one more
        for others in (np.zeros(k), np.ones(k), np.ldexp(row, 30)):
            pair = np.array([row, others], dtype)
            for axis, both in ((1, pair), (0, np.ascontiguousarray(pair.T))):
                assert loss(both, np.zeros_like(both), axis=axis)[0] == of_row


@every_dtype
@pytest.mark.parametrize(("k", "columns"), [(2, 1030), (3, 700), (4, 7), (5, 1100), (7, 100), (100, 9), (100, 1030), (3000, 12)])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_columns_next_to_halfway(dtype, k, columns, reduction, rng):
    """Rows of one exponent each would be too easy: the terms of each column are of any exponents, in any order."""
    slices = near_halfway(rng, dtype, k, k if reduction == "mean" else 1, columns)
    losses = np.ascontiguousarray(slices.T)
    loss, zeros = L1Loss(reduction=reduction), np.zeros_like(losses)
    expected = reduced(slices, reduction, axis=1)
    for n_threads in (1, 2, 5):
        assert same_bits(loss(losses, zeros, axis=0, n_threads=n_threads), expected)
    scaled = np.ldexp(losses, -2 * np.frexp(losses.max(axis=0))[1]).astype(dtype)  # of one size
    assert same_bits(loss(scaled, zeros, axis=0), reduced(scaled, reduction, axis=0))


def weighted_halfway(rng, dtype, k, count, bits):
    """Losses and weights of so many bits, whose weighted mean is halfway between two numbers or next to that."""
    losses, weights = [], []
    while len(losses) < min(count, MADE):
        chunks = min(k, 2 + bits // 8)
        of_weights = [int(w) for w in rng.integers(1, 2**bits, k - chunks)] + [1] * chunks
        j = int(rng.integers(0, 8 if k < 8 else 60))
        target = (halfway(rng, dtype, sum(of_weights)) << j) + int(rng.integers(-1, 2))
        others = [
            terms_of(rng, int(rng.random() * float(target)) // (k * w), 1, dtype, exact=False)[0] for w in of_weights[:-chunks]
        ]
        rest = target - sum(w * v for w, v in zip(of_weights, others, strict=False))
        ends = terms_of(rng, rest, chunks, dtype)
        if ends is None:
            continue
        values = [*others, *ends]
        assert sum(w * v for w, v in zip(of_weights, values, strict=True)) == target
        order = rng.permutation(k)
        losses.append(np.ldexp(np.array(values, np.float64), int(rng.integers(-40, 40)) - j)[order].astype(dtype))
        weights.append(np.ldexp(np.array(of_weights, np.float64), int(rng.integers(-40, 40)))[order])
    return repeated(rng, np.array(losses), count), repeated(None, np.array(weights), count)


@every_dtype
@pytest.mark.parametrize(("k", "count"), [(3, 90), (4, 300), (5, 1100), (8, 40), (40, 40), (100, 1030)])
@pytest.mark.parametrize("bits", [3, 12, 24, 50])
def test_weighted_means_next_to_halfway(dtype, k, count, bits, rng):
    if bits > 8 and k < 8:
        bits = 8
    losses, weights = weighted_halfway(rng, dtype, k, count, bits)
    types = [np.float64] + ([np.float32] if bits <= 24 else []) + ([np.float16, np.int32] if bits == 3 else [])
    expected = reduced(losses, "mean", weights, axis=1)
    for axis, a, w in ((1, losses, weights), (0, losses.T.copy(), weights.T.copy())):
        for of_weights in types[:2]:
            got = L1Loss()(a, np.zeros_like(a), axis=axis, weight=w.astype(of_weights))
            assert same_bits(got, expected)
    for of_weights in types[2:]:  # without the scale, which these do not hold
        small = np.ldexp(weights, -np.round(np.log2(weights.min(axis=1, keepdims=True))).astype(int)).astype(of_weights)
        got = L1Loss()(losses, np.zeros_like(losses), axis=1, weight=small)
        assert same_bits(got, reduced(losses, "mean", small, axis=1))
    assert same_bits(
        L1Loss(reduction="sum")(losses, np.zeros_like(losses), axis=1, weight=weights), reduced(losses, "sum", weights, axis=1)
    )


@every_dtype
@pytest.mark.parametrize("k", [2, 4, 6, 10, 40])
def test_weighted_means_of_neighbours(dtype, k, rng):
    """Neighbours with equal weights have means that are halfway, while neither the sum nor its divisor is one float64."""
    first = rng.uniform(1, 2, (200, 1)).astype(dtype)
    pair = np.concatenate([first, np.nextafter(first, dtype(4))], axis=1)
    losses, weights = np.tile(pair, (1, k // 2)), np.repeat(rng.uniform(1, 2, (200, k // 2)), 2, axis=1)
    weights[::4, 0] = np.nextafter(weights[::4, 0], 4)
    weights[1::4, 0] = np.nextafter(weights[1::4, 0], 0)
    expected = reduced(losses, "mean", weights, axis=1)
    assert same_bits(L1Loss()(losses, np.zeros_like(losses), axis=1, weight=weights), expected)
    columns, of_columns = (np.ascontiguousarray(np.tile(a.T, (1, 5))) for a in (losses, weights))
    assert same_bits(L1Loss()(columns, np.zeros_like(columns), axis=0, weight=of_columns), np.tile(expected, 5))


@every_dtype
@pytest.mark.parametrize("shape", [(200, 2), (300, 3), (200, 4), (60, 17), (7, 300), (3, 1030), (3000, 5)])
@pytest.mark.filterwarnings("ignore::cylosses.BroadcastWarning")
def test_signed_sums(dtype, shape, rng):
    """The gradient of a broadcast operand: signed terms, which cancel, and sums that are halfway."""
    x = spread(rng, shape[0] * shape[1], dtype, -20, 4).reshape(shape)
    x[:, 1:] = np.where(rng.random((shape[0], shape[1] - 1)) < 0.5, -x[:, :1], x[:, 1:])
    for axis in (0, 1):
        k = shape[axis]
        if k <= 17:
            slices = near_halfway(rng, dtype, k, 1, shape[1 - axis])
            at = rng.integers(0, k, len(slices))
            slices[np.arange(len(slices)), at] *= -1
            x = np.ascontiguousarray(slices if axis == 1 else slices.T)
        t = np.zeros([1 if j == axis else n for j, n in enumerate(shape)], dtype)
        full = MSELoss(reduction="sum").grad(x, np.zeros_like(x), wrt="target")
        for n_threads in (1, 3):
            got = MSELoss(reduction="sum").grad(x, t, wrt="target", n_threads=n_threads)
            assert same_bits(got, summed_gradient(full, t.shape))


# Neighbours ---------------------------------------------------------------------------------------------------------

PLACES = [((300, 2), 1), ((70, 4), 1), ((40, 9), 1), ((9, 40), 1), ((5, 300), 1), ((3, 511), 1)]
PLACES += [((4, 300), 0), ((9, 70), 0), ((300, 3), 0), ((70, 40), 0), ((600, 7), 0), ((20, 1100), 0), ((130, 1030), 0)]
PLACES += [((6, 5, 7), 1), ((3, 200, 4), 1), ((2, 70, 40), 1)]


@every_dtype
@pytest.mark.parametrize(("shape", "axis"), PLACES)
@pytest.mark.parametrize("poisoned", ["loss", "weight"])
def test_a_poisoned_slice_leaves_its_neighbours_alone(dtype, shape, axis, poisoned, rng):
    x = rng.standard_normal(shape).astype(dtype)
    t = np.zeros_like(x)
    weight = rng.uniform(0.5, 2, shape)
    where = rng.random(shape) < 0.8
    kept = tuple(n for k, n in enumerate(shape) if k != axis)
    values = [value for value in WIDE if poisoned == "loss" or 0 <= value < np.inf]
    combinations = [{}, {"weight": weight}, {"where": where}, {"weight": weight, "where": where}]
    for options in combinations if poisoned == "loss" else combinations[1::2]:
        for reduction in REDUCTIONS:
            loss = L1Loss(reduction=reduction)
            before = loss(x, t, axis=axis, **options)
            for value in values:
                chosen = tuple(int(rng.integers(n)) for n in kept)
                index = (*chosen[:axis], int(rng.integers(shape[axis])), *chosen[axis:])
                changed, options_now = x, options
                with np.errstate(over="ignore", under="ignore"):
                    if poisoned == "loss":
                        changed = x.copy()
                        changed[index] = value
                    else:
                        options_now = options | {"weight": weight.copy()}
                        options_now["weight"][index] = value
                got = loss(changed, t, axis=axis, n_threads=int(rng.integers(1, 4)), **options_now)
                others = np.ones(kept, bool)
                others[chosen] = False
                assert same_bits(got[others], before[others])
                of_slice = (*chosen[:axis], slice(None), *chosen[axis:])
                pair = (options_now.get(name) for name in ("weight", "where"))
                pair = [None if a is None else a[of_slice] for a in pair]
                assert same_bits(got[chosen], reduced(abs(changed[of_slice]), reduction, *pair))


@every_dtype
@pytest.mark.parametrize(("shape", "axis"), [((300, 2), 1), ((40, 9), 1), ((9, 70), 0), ((600, 7), 0), ((130, 1030), 0)])
def test_a_poisoned_slice_leaves_other_gradients_alone(dtype, shape, axis, rng):
    x, t = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    weight = rng.uniform(0.5, 2, shape)
    before = MSELoss().value_and_grad(x, t, axis=axis, weight=weight)
    for value in (0.0, 5e-324, 1e-300, 1e300, 1e308):
        chosen = int(rng.integers(shape[1 - axis]))
        index = (slice(None), chosen) if axis == 0 else (chosen, slice(None))
        changed = weight.copy()
        changed[index] = np.where(rng.random(shape[axis]) < 0.5, value, changed[index])
        got = MSELoss().value_and_grad(x, t, axis=axis, weight=changed)
        assert same_bits(np.delete(got[0], chosen), np.delete(before[0], chosen))
        assert same_bits(np.delete(got[1], chosen, 1 - axis), np.delete(before[1], chosen, 1 - axis))
        of_slice = MSELoss().value_and_grad(x[index].copy(), t[index].copy(), weight=changed[index].copy())
        assert same_bits(got[0][chosen], of_slice[0])
        assert same_bits(got[1][index], of_slice[1])


# Shapes -------------------------------------------------------------------------------------------------------------


def options_of(rng, shape):
    """Every combination of weights of some dtype and a mask."""
    kind = rng.choice(["float64", "float32", "float16", "int32", "uint8", "int64"])
    weight = rng.uniform(0, 4, shape).astype(kind)
    if rng.random() < 0.3:
        weight = np.ldexp(rng.uniform(1, 2, shape), rng.integers(-40, 40, shape))
    where = rng.random(shape) < 0.7
    return [{}, {"weight": weight}, {"where": where}, {"weight": weight, "where": where}]


@every_dtype
@pytest.mark.parametrize("k", ROWS)
def test_rows_of_every_length(dtype, k, rng):
    n = max(3, min(2500 // k, 300)) + int(rng.integers(3))
    x, t = (rng.standard_normal((n, k)).astype(dtype) for _ in range(2))
    if rng.random() < 0.5:
        x = spread(rng, n * k, dtype, -30, 30).reshape(n, k)
    for options in options_of(rng, (n, k)):
        agree(x, t, 1, name="huber", n_threads=(1, 2, 5), **options)


@every_dtype
@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("k", HEIGHTS)
def test_columns_of_every_height(dtype, columns, k, rng):
    if k * columns > 700_000:
        columns, k = (columns, 200) if rng.random() < 0.5 else (columns % 1000 + 3, k)
    shape = (k, columns)
    x, t = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    if rng.random() < 0.5:
        x = spread(rng, k * columns, dtype, -30, 30).reshape(shape)
    for options in options_of(rng, shape):
        for reduction in REDUCTIONS:
            loss = LOSSES["huber"](reduction=reduction)
            first = loss(x, t, axis=0, n_threads=1, **options)
            for n_threads in (2, 3, 4, 5):
                assert same_bits(loss(x, t, axis=0, n_threads=n_threads, **options), first)
        some = np.unique(rng.integers(0, columns, 40))  # each by itself
        parts = {name: operand[:, some] for name, operand in options.items()}
        each = alone(
            lambda a, b, w, m, loss=loss: loss(a, b, weight=w, where=m),
            0, x[:, some], t[:, some], parts.get("weight"), parts.get("where"),
        )  # fmt: skip
        assert same_bits(first[some], each)
        agree(x[:, some[:5]], t[:, some[:5]], 0, name="huber", **{name: part[:, :5] for name, part in parts.items()})


@every_dtype
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((5, 3, 4), 1), ((40, 7, 3), 1), ((3, 40, 8), 1), ((2, 300, 3), 1), ((2, 512, 2), 1), ((2, 513, 2), 1), ((1, 1024, 1), 1),
        ((4, 1025, 1), 1), ((3, 5, 1100), 1), ((2, 1, 2000), 1), ((3, 2, 4, 5), 2), ((7, 300, 7), 1), ((700, 2, 2), 1),
        ((2, 5, 3, 4), (1, 2)), ((6, 5, 4, 3), (0, 1)), ((6, 5, 4, 3), (2, 3)), ((3, 1, 40, 1), 2), ((2, 3, 2, 3), (1, 3)),
        ((2, 3, 2, 3), (0, 2)), ((65, 70, 5), (0, 1)), ((3, 70, 65), (1, 2)), ((10, 4, 1030), (0, 1)),
    ],
)  # fmt: skip
def test_axes_in_the_middle(dtype, shape, axis, rng):
    x, t = (spread(rng, int(np.prod(shape)), dtype, -9, 9).reshape(shape) for _ in range(2))
    for options in options_of(rng, shape):
        for reduction, keepdims in itertools.product(REDUCTIONS, (False, True)):
            loss = LOSSES["smooth_l1"](reduction=reduction)
            losses = LOSSES["smooth_l1"](reduction="none")(x, t)
            first = loss(x, t, axis=axis, keepdims=keepdims, n_threads=1, **options)
            assert first.shape == np.sum(x, axis=axis, keepdims=keepdims).shape
            places, expected = oracle(losses, reduction, axis, options.get("weight"), options.get("where"), 12)
            assert same_bits(first.ravel()[places], expected)
            out = np.full(first.shape, 77, dtype)
            assert loss(x, t, axis=axis, keepdims=keepdims, out=out, n_threads=3, **options) is out
            assert same_bits(out, first)
            host = np.full([2 * n for n in first.shape], 77, dtype)
            view = host[(slice(None, None, -2),) * first.ndim]
            loss(x, t, axis=axis, keepdims=keepdims, out=view, **options)
            assert same_bits(np.ascontiguousarray(view), first)


def placed(kind, array, folder):
    if kind == "broadcast":
        return np.broadcast_to(array[:1], array.shape)
    if kind == "broadcast along the slice":
        return np.broadcast_to(array[..., :1], array.shape)
    return LAYOUTS[kind](array, folder)


KINDS = [kind for kind in LAYOUTS if kind not in ("memmap", "subclass")] + ["broadcast", "broadcast along the slice"]


@every_dtype
@pytest.mark.parametrize("kind", KINDS)
def test_operands_anywhere(dtype, kind, rng, tmp_path):
    for shape in ((300, 4), (70, 40), (5, 600), (3000, 7), (20, 1100), (6, 50, 7)):
        x, t = (spread(rng, int(np.prod(shape)), dtype, -12, 12).reshape(shape) for _ in range(2))
        weight = rng.uniform(0, 2, shape)
        where = rng.random(shape) < 0.7
        for places in ((kind, "C", "C", "C"), (kind,) * 4, ("C", "C", kind, "Fortran"), ("Fortran", kind, "strided", kind)):
            operands = [placed(place, array, tmp_path) for place, array in zip(places, (x, t, weight, where), strict=True)]
            plain = [np.array(array.astype(array.dtype.newbyteorder("=")), order="C") for array in operands]
            for axis in range(len(shape)):
                for w, m in ((False, False), (True, False), (False, True), (True, True)):
                    given, copies = (
                        {"weight": a[2] if w else None, "where": a[3] if m else None} for a in (operands, plain)
                    )  # fmt: skip
                    reduction = str(rng.choice(REDUCTIONS))
                    loss = LOSSES["smooth_l1"](reduction=reduction)
                    got = loss(*operands[:2], axis=axis, n_threads=int(rng.integers(1, 4)), **given)
                    assert same_bits(got, loss(*plain[:2], axis=axis, n_threads=1, **copies))
                    losses = LOSSES["smooth_l1"](reduction="none")(*plain[:2])
                    places_, expected = oracle(losses, reduction, axis, *copies.values(), 2)
                    assert same_bits(got.ravel()[places_], expected)


@every_dtype
@pytest.mark.parametrize("shape", [(600, 4), (40, 300), (3000, 5)])
def test_out_is_the_memory_of_an_operand(dtype, shape, rng):
    """Results that are written over the inputs of slices that come later, or that must be summed again."""
    for axis, lay in itertools.product((0, 1), (np.ascontiguousarray, np.asfortranarray)):
        x = lay(spread(rng, shape[0] * shape[1], dtype, -40, 20).reshape(shape))
        x[rng.integers(shape[0], size=3), rng.integers(shape[1], size=3)] = [np.inf, 1e30, 1e-30]
        t = np.zeros_like(x)
        for reduction in REDUCTIONS:
            expected = reduced(abs(x), reduction, axis=axis)
            for host in ("input", "target", "weight"):
                operands = {"input": x.copy(order="A"), "target": t.copy(order="A"), "weight": np.ones_like(x)}
                out = operands[host].ravel(order="A")[: expected.size]
                out = out if np.shares_memory(out, operands[host]) else operands[host][:, 0][: expected.size]
                if out.size == expected.size:
                    L1Loss(reduction=reduction)(**operands, axis=axis, out=out, n_threads=2)
                    assert same_bits(np.ascontiguousarray(out), expected)


# Gradients ----------------------------------------------------------------------------------------------------------

GRADIENT_SHAPES = [((300, 4), 1), ((300, 3), 1), ((50, 41), 1), ((9, 300), 1), ((5, 512), 1), ((4, 513), 1), ((3, 1100), 1)]
GRADIENT_SHAPES += [
    ((4, 200), 0),
    ((40, 20), 0),
    ((300, 7), 0),
    ((3000, 3), 0),
    ((64, 64), 0),
    ((9, 1100), 0),
    ((5, 4, 6), 1),
    ((2, 200, 5), 1),
]


@every_dtype
@pytest.mark.parametrize(("shape", "axis"), GRADIENT_SHAPES)
def test_gradients_of_slices(dtype, shape, axis, rng):
    x, t = (spread(rng, int(np.prod(shape)), dtype, -9, 9).reshape(shape) for _ in range(2))
    kept = np.sum(x, axis=axis, keepdims=True).shape
    slope = LOSSES["huber"](reduction="none").grad(x, t)
    for options in options_of(rng, shape):
        pair = options.get("weight"), options.get("where")
        for reduction in REDUCTIONS:
            loss = LOSSES["huber"](reduction=reduction)
            divisor = divisors(shape, *pair, axis) if reduction == "mean" else 1
            value = loss(x, t, axis=axis, **options)
            got = loss.value_and_grad(x, t, axis=axis, n_threads=1, **options)
            assert same_bits(got[0], value)
            assert is_scaled(got[1], slope, 1.0, divisor, *pair)
            full = [None if a is None else np.broadcast_to(a, shape) for a in (x, t, *pair)]
            each = alone(lambda a, b, w, m, loss=loss: loss.grad(a, b, weight=w, where=m), axis, *full)
            assert same_bits(got[1], np.ascontiguousarray(np.moveaxis(each, -1, axis)))
            for n_threads in (2, 5):
                more = loss.value_and_grad(x, t, axis=axis, n_threads=n_threads, **options)
                assert same_bits(more[0], value)
                assert same_bits(more[1], got[1])
            # in place: the gradient is written over the input, or over the target
            for host in (0, 1):
                operands = [x.copy(), t.copy()]
                back = loss.value_and_grad(*operands, axis=axis, out=(None, operands[host]), n_threads=2, **options)
                assert back[1] is operands[host]
                assert same_bits(back[0], value)
                assert same_bits(back[1], got[1])
            incoming = spread(rng, int(np.prod(kept)), np.float64, -40, 40).reshape(kept)
            for wrt in ("input", "target"):
                of_each = loss.grad(x, t, axis=axis, grad_output=incoming, wrt=wrt, **options)
                assert is_scaled(of_each, slope, incoming, divisor, *pair, wrt=wrt)
                operand = x.copy()
                loss.grad(operand, t, axis=axis, grad_output=incoming, wrt=wrt, out=operand, n_threads=3, **options)
                assert same_bits(operand, of_each)


@every_dtype
def test_in_place_gradients_of_wide_slices(dtype, rng):
    """A slice that is summed once more would find its inputs overwritten."""
    for shape, axis in (((300, 4), 1), ((9, 70), 0), ((600, 7), 0), ((20, 1100), 0), ((5, 300), 1)):
        x = spread(rng, int(np.prod(shape)), dtype, -100, 30).reshape(shape)
        x[tuple(rng.integers(0, shape, 2))] = np.inf
        t = np.zeros_like(x)
        weight = spread(rng, x.size, np.float64, -300, 300).reshape(shape) ** 2
        for options in ({}, {"weight": weight}):
            expected = L1Loss().value_and_grad(x, t, axis=axis, **options)
            assert same_bits(expected[0], reduced(abs(x), "mean", options.get("weight"), axis=axis))
            operand = x.copy()
            got = L1Loss().value_and_grad(operand, t, axis=axis, out=(None, operand), n_threads=2, **options)
            assert same_bits(got[0], expected[0])
            assert same_bits(got[1], expected[1])


@every_dtype
@pytest.mark.parametrize(("shape", "axis"), [((40, 1), 1), ((40, 3), 1), ((5, 300), 1), ((9, 70), 0), ((600, 7), 0)])
def test_incoming_gradients_of_any_size(dtype, shape, axis, rng):
    """One for all, and one for each slice: infinite, NaN, and so large or small that they go another way than their neighbours."""
    x, t = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    weight, where = rng.uniform(0.5, 2, shape), rng.random(shape) < 0.8
    kept = shape[1 - axis]
    numbers = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 1.0, 1e308, 5e-324, -1e-300, 2.0**-1022, 3.0])
    loss = MSELoss()
    for options in ({}, {"weight": weight}, {"where": where}, {"weight": weight.astype(np.float32), "where": where}):
        for incoming in (*numbers, rng.choice(numbers, kept)):
            got = loss.grad(x, t, axis=axis, grad_output=incoming, **options)
            for k in range(kept):
                at = (slice(None), k) if axis == 0 else k
                own = {name: operand[at].copy() for name, operand in options.items()}
                of_slice = loss.grad(x[at].copy(), t[at].copy(), grad_output=np.broadcast_to(incoming, kept)[k], **own)
                assert same_bits(got[at], of_slice)


@every_dtype
@pytest.mark.parametrize("shape", [(300, 4), (70, 40), (3000, 5), (9, 1100)])
def test_weights_that_are_all_zero(dtype, shape, rng):
    """Means of nothing are NaN, sums of nothing 0; gradients of nothing are 0."""
    x, t = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    for axis in (0, 1):
        weight = rng.uniform(0.1, 1, shape)
        empty = rng.random(shape[1 - axis]) < 0.4
        weight[(slice(None), empty) if axis == 0 else empty] = 0
        for options in ({"weight": weight}, {"where": weight > 0}, {"weight": weight, "where": rng.random(shape) < 0.9}):
            losses = L1Loss(reduction="none")(x, t)
            for reduction in REDUCTIONS:
                value, gradient = L1Loss(reduction=reduction).value_and_grad(x, t, axis=axis, **options)
                assert same_bits(value, L1Loss(reduction=reduction)(x, t, axis=axis, **options))
                assert np.isnan(value[empty]).all() if reduction == "mean" else (value[empty] == 0).all()
                assert (gradient[(slice(None), empty) if axis == 0 else empty] == 0).all()
                places, expected = oracle(losses, reduction, axis, options.get("weight"), options.get("where"), 12)
                assert same_bits(value[places], expected)


# Exponents that are far apart ---------------------------------------------------------------------------------------


def widths(dtype):
    lowest, highest = exponents(dtype)
    return [(-30, -1), (-45, 5), (-60, 0), (-90, 5), (-125, 2), (lowest, lowest + 60), (max(lowest, -400), min(highest, 400))]


@every_dtype
@pytest.mark.parametrize("order", ["any", "rising", "falling", "waves", "one row", "one column"])
@pytest.mark.parametrize(("k", "columns"), [(70, 30), (700, 5), (200, 700), (40, 1100), (3000, 2)])
def test_columns_of_any_exponents(dtype, order, k, columns, rng):
    """Windows move up and down, single terms are taken out, and some columns are beyond the limit."""
    for low, high in widths(dtype):
        middle = rng.integers(low, high, k)
        if order == "rising":
            middle.sort()
        elif order == "falling":
            middle = np.sort(middle)[::-1]
        elif order == "waves":
            middle = np.round(low + (high - low) * (0.5 + 0.5 * np.sin(np.arange(k) / rng.uniform(1, 30)))).astype(int)
        elif order != "any":
            middle[:] = high - 3
        found = np.broadcast_to(middle[:, np.newaxis], (k, columns)).copy()
        if order == "one row":
            found[rng.integers(k)] = low
        elif order == "one column":
            found[:, rng.integers(columns)] = rng.integers(low, high, k)
        found += rng.integers(0, 2, found.shape)
        with np.errstate(under="ignore"):
            x = np.ldexp(rng.uniform(1, 2, found.shape), found).astype(dtype)
        agree(x, np.zeros_like(x), 0, n_threads=(1, 2, 3, 5), most=4, slices_alone=columns < 100)
        weight = np.ldexp(rng.uniform(1, 2, x.shape), rng.permutation(found.ravel()).reshape(x.shape) // 2)
        agree(x, np.zeros_like(x), 0, weight=weight, n_threads=(1, 3), most=4, slices_alone=columns < 100)


@every_dtype
@pytest.mark.parametrize(("k", "columns"), [(70, 30), (700, 5), (40, 1100)])
def test_columns_whose_last_bit_decides(dtype, k, columns, rng):
    """Sums that are halfway but for one unit at the end of a run of ones: all bits between must be held, or it is a tie."""
    precision = FORMATS[np.dtype(dtype).name].precision
    loss = L1Loss(reduction="sum")
    for depth in [*range(precision + 1, 4 * precision, 3), 5 * precision, 6 * precision]:
        last = min(depth, 148) if dtype == np.float32 else depth
        cuts = [*range(precision, last, precision), last]
        terms = [1 + 2.0 ** (1 - precision), *(2.0**-a - 2.0**-b for a, b in itertools.pairwise(cuts))]
        x = np.zeros((k, columns), dtype)
        for column in x.T:
            column[rng.choice(k, len(terms), replace=False)] = terms
        assert (loss(x, np.zeros_like(x), axis=0, n_threads=int(rng.integers(1, 4))) == terms[0]).all()


@every_dtype
@pytest.mark.parametrize(("shape", "axis"), [((300, 4), 1), ((60, 40), 1), ((4, 512), 1), ((12, 80), 0), ((6, 9, 8), 1)])
def test_whole_slices_of_any_exponents(dtype, shape, axis, rng):
    """The range of a block is what one slice of it makes of it: near to every threshold of it, one bit wider each time."""
    precision = FORMATS[np.dtype(dtype).name].precision
    k = shape[axis]
    for width in [
        *range(53 - precision + 2),
        *range(90 - precision - 2 * k.bit_length(), 110 - precision - k.bit_length(), 3),
        200,
    ]:
        with np.errstate(under="ignore"):
            x = np.ldexp(rng.uniform(1, 2, shape), rng.integers(-width // 2, width - width // 2 + 1, shape)).astype(dtype)
        x[rng.random(shape) < 0.3] = np.ldexp(2 - 2.0 ** (1 - precision), width - width // 2)
        x[rng.random(shape) < 0.1] = np.ldexp(1 + 2.0 ** (1 - precision), -width // 2)
        agree(x, np.zeros_like(x), axis, most=8)


# Streaming ----------------------------------------------------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize(
    ("shape", "axis"), [((300, 4), 1), ((300, 4), 0), ((40, 300), 0), ((20, 1100), 0), ((6, 50, 7), 1), ((6, 50, 7), (0, 2))]
)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_totals_of_slices(dtype, shape, axis, reduction, rng):
    low, high = [(-20, 20), exponents(dtype)][int(rng.integers(2))]
    x, t = (spread(rng, int(np.prod(shape)), dtype, low, high - 1).reshape(shape) for _ in range(2))
    if rng.random() < 0.3:
        x[tuple(rng.integers(0, shape))] = np.nan
    loss = L1Loss(reduction=reduction)
    cut = (axis if isinstance(axis, int) else axis[0],)
    for options in options_of(rng, shape):
        where = [np.sort(rng.integers(0, shape[cut[0]] + 1, 3))]
        pieces = [np.split(a, where[0], cut[0]) for a in (x, t, *options.values())]
        totals = [StreamingLoss(loss, axis) for _ in range(2)]
        for piece in zip(*pieces, strict=True):
            which = int(rng.integers(2))
            totals[which].update(*piece[:2], **dict(zip(options, piece[2:], strict=True)), n_threads=int(rng.integers(1, 4)))
        totals[0].merge(totals[1])
        assert same_bits(totals[0].compute(), loss(x, t, axis=axis, **options))


# Memory -------------------------------------------------------------------------------------------------------------

CHILD = """
import sys
from pathlib import Path
import numpy as np
import cylosses
def peak():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
x, t, weight = (eval(text) for text in sys.argv[1:4])
axis, n_threads, gradient = eval(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6])
few = tuple(slice(None, 9) for _ in range(x.ndim))
loss = cylosses.HuberLoss()
loss.value_and_grad(x[few], t[few], weight=None if weight is None else weight[few], axis=axis)     # the code is in memory
x.sum(), t.sum()                                    # every page is
before = peak()
result = loss.value_and_grad(x, t, weight=weight, axis=axis, n_threads=n_threads) if gradient else (
    loss(x, t, weight=weight, axis=axis, n_threads=n_threads),
)
print(peak() - before - sum(found.nbytes for found in result) // 1024)
"""
WHOLE, STRIDED = "np.full((1_000_000, 4), {}, np.float32)", "np.full((8_000_000, 8), {}, np.float32)[:, ::2]"
LARGE = [
    (WHOLE, "None", "1", 0), (WHOLE, "None", "0", 0), (WHOLE, "np.ones((1_000_000, 4))", "1", 0),
    (WHOLE, "np.ones((1_000_000, 4), np.float32)", "0", 0), (WHOLE, "np.ones((1_000_000, 4))", "1", 1),
    (STRIDED, "None", "1", 0), (STRIDED, "None", "0", 0), (STRIDED, "np.broadcast_to(1.5, (8_000_000, 4))", "1", 0),
    ("np.full((1000, 5000), {}, np.float32)", "None", "0", 0), ("np.full((4, 1_000_000), {}, np.float32).T", "None", "1", 0),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak of a process")
@pytest.mark.parametrize(("operand", "weight", "axis", "gradient"), LARGE)
@pytest.mark.parametrize("n_threads", [1, 2])
def test_memory_beyond_inputs_and_results(operand, weight, axis, gradient, n_threads):
    arguments = [operand.format(1), operand.format(3), weight, axis, str(n_threads), str(gradient)]
    done = subprocess.run([sys.executable, "-c", CHILD, *arguments], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 5 * 1024


# Results that are written -------------------------------------------------------------------------------------------


def written(name, what):
    """A call that writes a result for each element, and what it gives for one element at a time."""
    loss = LOSSES[name](reduction="none" if what == "value" else "sum")
    if what == "value":
        return loss, lambda a, b: loss(a, b)
    if what == "gradient":
        return loss.grad, lambda a, b: loss.grad(a, b)
    return (lambda a, b, **more: loss.grad_and_hess(a, b, **more)[1]), lambda a, b: loss.grad_and_hess(a, b)[1]


def shifted(size, dtype, elements, bytes_):
    itemsize = np.dtype(dtype).itemsize
    room = np.full((size + elements) * itemsize + 64 + bytes_, 0xFF, np.uint8)
    start = -room.ctypes.data % 64 + elements * itemsize + bytes_
    return room[start : start + size * itemsize].view(dtype)


SIZES = [1, 2, 7, 15, 16, 17, 63, 255, 256, 257, 1023, 1024, 1025, 2047, 2049, 3000, 5121]


@every_dtype
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("what", ["value", "gradient"])
def test_written_results_are_those_of_each_element(dtype, name, what, rng):
    x, t = (spread(rng, max(SIZES), dtype, -12, 12) for _ in range(2))
    call, one = written(name, what)
    expected = np.array([one(a, b)[0] for a, b in zip(x.reshape(-1, 1), t.reshape(-1, 1), strict=True)], dtype)
    for n in SIZES:
        assert same_bits(call(x[:n], t[:n]), expected[:n])
        for elements, bytes_ in ((0, 0), (1, 0), (3, 0), (15, 0), (0, 1), (5, 3)):
            out = shifted(n, dtype, elements, bytes_)
            a, b = (shifted(n, dtype, int(rng.integers(16)), int(rng.integers(2))) for _ in range(2))
            a[:], b[:] = x[:n], t[:n]
            call(a, b, out=out)
            assert same_bits(np.array(out), expected[:n])
            host = [a, b][int(rng.integers(2))]  # in place
            call(a, b, out=host)
            assert same_bits(np.array(host), expected[:n])


@every_dtype
@pytest.mark.parametrize("what", ["value", "gradient"])
@pytest.mark.parametrize("shift", [-1025, -1024, -257, -16, -3, -1, 1, 2, 8, 100, 256, 1000, 1024, 1025])
def test_written_results_over_shifted_operands(dtype, what, shift, rng):
    for name in rng.choice(list(LOSSES), 3):
        call, _ = written(str(name), what)
        for n in (1, 257, 1025, 4097, 9000):
            for host in (0, 1):
                memory = np.full(n + 2 * abs(shift), 7, dtype)
                operands = [spread(rng, n, dtype, -5, 5) for _ in range(2)]
                expected = call(*(a.copy() for a in operands))
                inside = memory[abs(shift) : abs(shift) + n]
                inside[:] = operands[host]
                operands[host] = inside
                out = memory[abs(shift) + shift : abs(shift) + shift + n]
                call(*operands, out=out, n_threads=int(rng.integers(1, 4)))
                assert same_bits(out, expected)


@every_dtype
@pytest.mark.parametrize("n", [70_001, 300_017])
def test_written_results_of_threads(dtype, n, rng):
    x, t = (spread(rng, n, dtype, -12, 12) for _ in range(2))
    for name, what in itertools.product(rng.choice(list(LOSSES), 3), ("value", "gradient")):
        call, _ = written(str(name), what)
        parts = [call(x[k : k + 999].copy(), t[k : k + 999].copy(), n_threads=1) for k in range(0, n, 999)]
        for n_threads in (1, 2, 3, 5):
            assert same_bits(call(x, t, n_threads=n_threads), np.concatenate(parts))
            out = shifted(n, dtype, int(rng.integers(16)), int(rng.integers(2)))
            assert same_bits(np.array(call(x, t, out=out, n_threads=n_threads)), np.concatenate(parts))
        value, gradient = LOSSES[str(name)](reduction="sum").value_and_grad(x, t, n_threads=2)
        assert value == round_fraction(exact_sum(LOSSES[str(name)](reduction="none")(x, t)), dtype)
        assert same_bits(gradient, LOSSES[str(name)](reduction="sum").grad(x, t))


@every_dtype
def test_written_means_and_weights(dtype, rng):
    """Scaled gradients, and weighted values, over blocks of odd sizes and in place."""
    for n in (1, 17, 1023, 1025, 2500):
        x, t = (spread(rng, n, dtype, -12, 12) for _ in range(2))
        weight = rng.uniform(0, 2, n)
        losses = L1Loss(reduction="none")(x, t)
        assert same_bits(L1Loss(reduction="none")(x, t, weight=weight), weighted(losses, weight, None))
        gradient = LOSSES["huber"]().grad(x, t)
        assert is_scaled(gradient, LOSSES["huber"](reduction="none").grad(x, t), 1.0, n)
        operand = x.copy()
        value, in_place = LOSSES["huber"]().value_and_grad(operand, t, out=(None, operand))
        assert same_bits(in_place, gradient)
        assert same_bits(value, LOSSES["huber"]()(x, t))


# ---- what readers of the code found ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_that_begin_with_zeros_count_as_rows(dtype, rng):
    x = np.zeros((200, 2048), dtype)
    x[:, 1024:] = rng.random((200, 1024))
    if dtype == np.float32:
        x[:34, 2047] = [2**20 - 1022, *[2**20] * 31, 1024 - 2**-5, 2**-5 + 2**-28]
        x[34:, 2047] = 0
    t = np.zeros_like(x)
    loss = LOSSES["l1"](reduction="sum")
    expected = reduced(LOSSES["l1"](reduction="none")(x, t), "sum", axis=0)
    for threads in (1, 2):
        assert same_bits(loss(x, t, axis=0, n_threads=threads), expected)


def test_out_may_be_any_operand_of_a_gradient_by_slice(rng):
    x, t = rng.standard_normal((300, 3)), rng.standard_normal((300, 3))
    weight, incoming = rng.random((300, 3)), rng.standard_normal((300, 1))
    for axis in (0, 1):
        given = incoming if axis == 1 else incoming[:1, :]
        expected = LOSSES["mse"]().grad(x, t, weight=weight, axis=axis, grad_output=given)
        for name in ("input", "target", "weight"):
            operands = {"input": x.copy(), "target": t.copy(), "weight": weight.copy()}
            got = LOSSES["mse"]().grad(**operands, axis=axis, grad_output=given, out=operands[name])
            assert same_bits(got, expected)
    column = np.array([[10.0], [20.0], [30.0]])
    got = LOSSES["mse"]().grad(np.array([[1.0], [2.0], [3.0]]), np.zeros((3, 1)), grad_output=column, axis=1, out=column)
    assert got.ravel().tolist() == [20.0, 80.0, 180.0]


def test_columns_that_are_summed_again_find_their_weights(rng):
    x = rng.standard_normal((2000, 3))
    x[5, 0] = np.inf
    t, weight = np.zeros_like(x), np.ones_like(x)
    loss = LOSSES["mse"](reduction="sum")
    value, gradient = loss.value_and_grad(x, t, weight=weight.copy(), axis=0)
    got = loss.value_and_grad(x, t, weight=weight, axis=0, out=(None, weight))
    assert same_bits(got[0], value)
    assert same_bits(got[1], gradient)


@pytest.mark.filterwarnings("ignore::cylosses.BroadcastWarning")
def test_signed_sums_that_cancel_to_their_last_words():
    t = np.zeros((1024, 600), np.float32)
    t[:6, 0] = -0.5 * np.array([2.0**60, 2**6, 2**-25 + 2**-48, -(2.0**60), -(2**6), -(2**-25)])
    got = LOSSES["mse"](reduction="sum").grad(np.zeros(600, np.float32), t)
    assert got[0] == 2**-48
    assert not got[1:].any()


def test_tiny_dividends_over_tiny_weights(rng):
    x, weight = rng.standard_normal((50, 3)), rng.random((50, 3)) * 1e-200
    t = np.zeros_like(x)
    loss = LOSSES["smooth_l1"]()
    for incoming in (1e-290, 1e-306):
        alone = [loss.grad(x[i], t[i], weight=weight[i], grad_output=incoming) for i in range(50)]
        assert same_bits(loss.grad(x, t, weight=weight, axis=1, grad_output=incoming), np.stack(alone))
