"""Settings that all tests share: hypothesis profiles, a seeded random generator, the thread count put back.

``pytest --hypothesis-profile=thorough`` looks longer than the default, ``thin`` less long. Every run draws new examples; what
failed is printed with its seed (pytest-randomly) or as a blob (hypothesis), so that it can be drawn again.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import cylosses

# Tests of an installed package run in a folder that has neither its sources nor the benchmarks.
collect_ignore = [] if (Path(__file__).parents[1] / "benchmarks").is_dir() else ["test_benchmarks.py"]

# Building and checking exact fractions takes longer than hypothesis expects of a test, and its time varies.
SLOW_ORACLE = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile(
    "default", max_examples=60, deadline=None, print_blob=True, derandomize=False, suppress_health_check=SLOW_ORACLE
)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=2000)
settings.register_profile("thin", settings.get_profile("default"), max_examples=5)  # where everything is many times slower
settings.load_profile("default")


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator seeded from `random`, which pytest-randomly seeds with the number in the report's first lines."""
    return np.random.default_rng(random.getrandbits(64))


@pytest.fixture
def keep_num_threads():
    """Put the package's default thread count back after a test that changes it."""
    before = cylosses.get_num_threads()
    yield before
    cylosses.set_num_threads(None)
