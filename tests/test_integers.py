"""Integers with integers: the difference is exact and rounded once, also where float64 does not hold the integers themselves."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cylosses import LOSSES, L1Loss, l1_loss, mse_loss
from cylosses.losses import Loss

from .generators import LAYOUTS
from .reference import ORACLE, same_bits

WIDTHS = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
pairs_of_widths = pytest.mark.parametrize(("first", "second"), list(itertools.product(WIDTHS, WIDTHS)))


def some_integers(rng: np.random.Generator, dtype: str, size: int) -> np.ndarray:
    """Integers of all sizes, among them the ends of the range and neighbours of powers of two."""
    if dtype == "bool":
        return rng.integers(0, 2, size).astype(bool)
    info = np.iinfo(dtype)
    exact = [info.min, info.max, info.min + 1, info.max - 1, 0, 1]
    exact += [sign * (1 << bits) + near for bits in range(info.bits) for sign in (1, -1) for near in (-1, 0, 1)]
    exact += [int(n) >> int(shift) for n, shift in zip(rng.integers(2**62, size=size), rng.integers(62, size=size), strict=True)]
    fitting = np.array([n for n in exact if info.min <= n <= info.max], dtype)
    return rng.choice(fitting, size)


def differences(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """In integers of Python, rounded once: division by 1 rounds correctly."""
    return np.array([(int(a) - int(b)) / 1 for a, b in zip(first.ravel(), second.ravel(), strict=True)]).reshape(first.shape)


def test_time_stamps_in_nanoseconds():
    assert l1_loss(np.array([1_750_000_000_000_000_100]), np.array([1_750_000_000_000_000_000])) == 100.0
    assert l1_loss([1_750_000_000_000_000_100], [1_750_000_000_000_000_000]) == 100.0
    assert mse_loss(np.array([2**64 - 1], np.uint64), np.array([2**64 - 4], np.uint64)) == 9.0


@pairs_of_widths
def test_every_pair_of_widths(first, second, rng):
    a, b = some_integers(rng, first, 2500), some_integers(rng, second, 2500)
    assert same_bits(l1_loss(a, b, "none"), abs(differences(a, b)))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("types", [("int64", "int64"), ("uint64", "int64"), ("int32", "uint64")])
def test_every_quantity_is_that_of_the_exact_difference(name, types, rng):
    a, b = (some_integers(rng, dtype, 1100) for dtype in types)
    errors, zeros = differences(a, b), np.zeros(1100)
    weight = rng.integers(0, 3, 1100)
    for reduction in ("none", "mean", "sum"):
        loss: Loss = LOSSES[name](reduction=reduction, **ORACLE[name].setting(ORACLE[name].default))
        assert same_bits(loss(a, b, weight=weight), loss(errors, zeros, weight=weight))
        assert same_bits(loss.grad(a, b), loss.grad(errors, zeros))
        assert all(map(same_bits, loss.value_and_grad(a, b, weight=weight), loss.value_and_grad(errors, zeros, weight=weight)))
        for curvature in ("exact", "mm"):
            pairs = (loss.grad_and_hess(*operands, curvature=curvature) for operands in ((a, b), (errors, zeros)))
            assert all(map(same_bits, *pairs))
    total = LOSSES[name](reduction="sum").streaming()
    for piece in np.array_split(np.arange(1100), 7):
        total.update(a[piece], b[piece])
    assert same_bits(total.compute(), total.loss(errors, zeros))


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "strided"])  # which fills its gaps with NaN
@pytest.mark.parametrize("other", ["C", "Fortran", "byte-swapped"])
def test_every_layout(layout, other, rng, tmp_path):
    a, b = some_integers(rng, "int64", 67 * 130).reshape(67, 130), some_integers(rng, "uint64", 67 * 130).reshape(67, 130)
    expected = abs(differences(a, b))
    got = l1_loss(LAYOUTS[layout](a, tmp_path), LAYOUTS[other](b, tmp_path), "none")
    assert same_bits(got, expected)
    assert same_bits(l1_loss(LAYOUTS[layout](a, tmp_path)[::3, 5::2], b[::3, 5::2], "none"), expected[::3, 5::2])


@pytest.mark.filterwarnings("ignore::cylosses.BroadcastWarning")
def test_broadcast_and_python_integers(rng):
    a = some_integers(rng, "int64", 3000).reshape(1000, 3)
    row, number = a[0], 2**63 - 1
    assert same_bits(l1_loss(a, row, "none"), abs(differences(a, np.broadcast_to(row, a.shape))))
    assert same_bits(l1_loss(a, number, "none"), abs(differences(a, np.full(a.shape, number))))
    assert same_bits(l1_loss(2**64 - 1, np.array([2**64 - 2], np.uint64), "none"), np.array([1.0]))
    assert same_bits(l1_loss(2**62 + 1, 2**62), np.float64(1))


def test_an_integer_with_a_float_is_converted_first():
    stamp = np.array([2**53 + 1])
    assert l1_loss(stamp, np.array([2.0**53]), "none") == 0
    assert l1_loss(np.array([2**24 + 1]), np.array([2.0**24], np.float32), "none") == 0
    assert l1_loss(2**24 + 1, np.array([2.0**24], np.float32), "none") == 0


@pytest.mark.parametrize("axis", [0, 1, (0, 1)])
def test_axis_and_threads(axis, rng):
    a, b = some_integers(rng, "int64", 90_000).reshape(300, 300), some_integers(rng, "int64", 90_000).reshape(300, 300)
    errors = differences(a, b)
    assert same_bits(L1Loss()(a, b, axis=axis, n_threads=2), L1Loss()(errors, np.zeros_like(errors), axis=axis))
