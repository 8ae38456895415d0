"""A small `tools.property_run`: every loss on random calls of every kind against the exact oracle."""

from __future__ import annotations

import pytest

from tools import property_run

from .reference import ORACLE


def test_random_calls(rng):
    found = property_run.run(int(rng.integers(2**32)), 200)
    assert found.mismatches == []
    assert {name for name, _, _ in found.report.ulps} == set(ORACLE)
    assert all(name in property_run.table(found.report) for name in ORACLE)


@pytest.mark.slow
def test_many_random_calls(rng):
    assert property_run.run(int(rng.integers(2**32)), 2000).mismatches == []
