"""Results for fixed inputs have the bits of golden.json, on every build that this CPU runs, with one and with two threads."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from cylosses._core import builds
from cylosses.losses import LOSSES
from tools.golden import ADVICE, DTYPES, GOLDEN, THREADS, canonical, differences, hashes_of_build, pair_of, splitmix64


@pytest.mark.parametrize("build", builds.available_builds())
def test_every_build_has_the_golden_bits(build):
    golden = json.loads(GOLDEN.read_text())
    found = hashes_of_build(build)
    assert len(found) == len(THREADS)
    lines = [
        f"{n} threads: {line}" for n, of_threads in zip(THREADS, found, strict=True) for line in differences(of_threads, golden)
    ]
    assert lines == [], "\n".join([f"{len(lines)} results of {build} differ from golden.json. {ADVICE}", *lines])


def test_the_file_holds_every_loss_and_dtype():
    golden = json.loads(GOLDEN.read_text())
    assert {loss: list(of_loss) for loss, of_loss in golden.items()} == {loss: list(DTYPES) for loss in LOSSES}, ADVICE
    every = {tuple(of_dtype) for of_loss in golden.values() for of_dtype in of_loss.values()}
    assert len(every) == 1, "each loss and dtype has the same quantities"
    assert {"value", "gradient of mean", "exact Hessian", "sum", "weighted mean", "axis", "state"} <= set(*every)


def test_a_result_that_differs_is_named():
    golden = json.loads(GOLDEN.read_text())
    changed = copy.deepcopy(golden)
    changed["huber"]["float32"]["sum"] = "0123456789abcdef"
    del changed["l1"]
    first, *others = differences(changed, golden)
    assert first == f"huber, float32, sum: 0123456789abcdef, golden {golden['huber']['float32']['sum']}"
    assert len(others) == sum(map(len, golden["l1"].values()))
    assert all(line.startswith("l1, ") and ": nothing, golden " in line for line in others)
    assert differences(golden, golden) == []


def test_the_inputs_are_what_they_were():
    """The first numbers of splitmix64 as published, and the first floats made of it."""
    assert [hex(n) for n in splitmix64(0, 3)] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4", "0x6c45d188009454f"]
    assert pair_of("float64", "ordinary", 0, 2)[0].tolist() == [-0.7955948670990397, 3.498299367747649]
    for name in DTYPES:
        for kind in ("ordinary", "near", "wide", "any"):
            x, t = pair_of(name, kind, 7, 1025)
            assert x.dtype == t.dtype == DTYPES[name]
            finite = np.isfinite(x) & np.isfinite(t)
            assert finite.all() == (kind != "any" or name == "int64")
            assert ((x == t)[finite]).any() or name == "int64"


def test_one_nan_is_as_good_as_another():
    nan = np.array([0x7FF8000000000000, 0xFFF8000000000001], np.uint64).view(np.float64)
    assert canonical(nan[0]) == canonical(nan[1])
    assert canonical(0.0) != canonical(-0.0)
    assert canonical(np.zeros(2)) != canonical(np.zeros((2, 1)))
