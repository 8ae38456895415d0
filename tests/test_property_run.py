"""A small `tests.property_run`: every loss on random calls of every kind against the exact oracle."""

from __future__ import annotations

import numpy as np
import pytest

from . import property_run
from .reference import ORACLE


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
