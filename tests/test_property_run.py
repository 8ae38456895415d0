"""A small `tests.property_run`: every loss on random calls of every kind against the exact oracle."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from . import property_run
from .reference import ORACLE, difference


def test_random_calls(rng):
    report = property_run.run(int(rng.integers(2**32)), 320)
    assert report.mismatches == []
    assert {name for name, _, _ in report.ulps} == set(ORACLE)


@pytest.mark.slow
def test_many_random_calls(rng):
    assert property_run.run(int(rng.integers(2**32)), 4000).mismatches == []


def test_cases_are_what_the_oracle_and_the_table_speak_of(rng):
    """Everything occurs: a run over cases that never come proves nothing."""
    cases = [property_run.draw(rng) for _ in range(1500)]
    assert {case.name for case in cases} == set(ORACLE)
    dtypes = {operand.dtype.newbyteorder("=") for case in cases for role, operand in case.operands.items() if role != "where"}
    assert dtypes >= {*property_run.FLOATS, *property_run.INTEGERS}
    assert any(not operand.dtype.isnative for case in cases for operand in case.operands.values())
    assert any(min(operand.strides, default=0) < 0 for case in cases for operand in case.operands.values())
    assert {case.reduction for case in cases} == {"none", "mean", "sum"}
    assert {case.curvature for case in cases} == {"exact", "mm", "ones"}
    assert {case.n_threads for case in cases} == {None, 1, 2, 3, 4}
    assert any(case.axis == () for case in cases)
    assert any(isinstance(case.axis, int) and case.axis < 0 for case in cases)
    for role in ("weight", "where"):
        assert 0 < sum(role in case.operands for case in cases) < len(cases)
    shapes = [(case.operands["input"].shape, case.operands["target"].shape) for case in cases]
    assert any(first != second for first, second in shapes)
    assert any(0 in first for first, _ in shapes)
    assert any(np.isnan(case.operands["input"].astype(float)).any() for case in cases)


def kinds(case):
    """What a case stands for: its combination of options in a working dtype, and the ends of the range that it reaches."""
    x, t = case.operands["input"], case.operands["target"]
    dtype = property_run.working_dtype(property_run.result_dtype(x.dtype.newbyteorder("="), t.dtype.newbyteorder("=")))
    info = np.finfo(dtype)
    yield (dtype.name, case.reduction, "weight" in case.operands, "where" in case.operands, case.axis is not None)
    with np.errstate(all="ignore"):
        parameter = float(dtype.type(case.parameter))
        errors = abs(difference(x, t, dtype)).ravel() if x.shape == t.shape else np.zeros(0, dtype)
    ends = {
        "subnormal errors": ((errors > 0) & (errors < info.smallest_normal)).any(),
        "huge errors": ((errors > info.max / 8) & (errors < np.inf)).any(),
        "tiny parameter": 0 < parameter < info.smallest_normal**0.75,
        "huge parameter": info.max**0.75 < parameter < np.inf,
        "threads": (case.n_threads or 1) > 1 and errors.size > 2048,  # one block is for one thread
    }
    yield from ((dtype.name, end) for end, reached in ends.items() if reached)


@pytest.mark.parametrize("name", ORACLE)
def test_each_loss_meets_every_kind_of_call(name, rng):
    """Reduction, weight, mask and axis in all combinations, in both working dtypes, and the ends of the exponent range."""
    missing = set(itertools.product(("float32", "float64"), ("none", "mean", "sum"), *[(True, False)] * 3))
    missing -= {kind for kind in missing if kind[1] == "none" and kind[4]}  # nothing is reduced
    ends = {"subnormal errors", "huge errors", "threads"} | ({"tiny parameter"} if ORACLE[name].parameter else set())
    ends |= {"huge parameter"} if ORACLE[name].parameter and name != "quantile" else set()  # a probability
    missing |= set(itertools.product(("float32", "float64"), ends))
    for _ in range(20_000 // len(ORACLE)):  # as many as a run has of each loss
        missing -= set(kinds(property_run.draw(rng, name)))
        if not missing:
            break
    assert not missing
