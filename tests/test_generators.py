"""The generators deliver what the tests rely on: a test over values that never occur proves nothing."""

from __future__ import annotations

import numpy as np
import pytest

from . import generators
from .generators import DTYPES, LAYOUTS, SPREADS
from .reference import ORACLE, accepts, same_bits


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_whole_range_reaches_from_subnormal_to_near_overflow(dtype, rng):
    inputs, targets = SPREADS["whole range"](rng, 5000, dtype)
    info = np.finfo(dtype)
    for values in (inputs, targets):
        assert np.isfinite(values).all()
        assert (np.abs(values[values != 0]) < info.smallest_normal).any()
        assert (np.abs(values) > info.max / 256).any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_near_equal_pairs_are_near_and_often_equal(dtype, rng):
    inputs, targets = SPREADS["near equal"](rng, 2000, dtype)
    assert (inputs == targets).any()
    assert (inputs != targets).any()
    assert (np.abs(inputs - targets) <= 4 * np.spacing(np.abs(inputs))).all()


@pytest.mark.parametrize("name", SPREADS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_spread_has_the_length_and_dtype_asked_for(name, dtype, rng):
    for length in (0, 1, 50):
        for values in SPREADS[name](rng, length, dtype):
            assert values.shape == (length,)
            assert values.dtype == dtype


def test_parameters_are_not_negative_and_sometimes_zero(rng):
    parameters = [generators.random_parameter(rng, np.float32) for _ in range(500)]
    assert min(parameters) == 0
    assert 0 < sorted(set(parameters))[1] < 1e-30
    assert max(parameters) > 1e30


@pytest.mark.parametrize("name", ORACLE)
@pytest.mark.parametrize("dtype", DTYPES)
def test_parameters_are_those_that_the_loss_accepts(name, dtype, rng):
    for _ in range(100):
        parameter = generators.random_parameter(rng, dtype, name)
        assert accepts(name, parameter, dtype)
        assert ORACLE[name].parameter is None or parameter not in ORACLE[name].rejected


@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_hold_the_same_values_in_the_layout_they_name(dtype, rng, tmp_path):
    array = rng.standard_normal((6, 5, 4)).astype(dtype)
    views = {name: make(array, tmp_path) for name, make in LAYOUTS.items()}
    for name, view in views.items():
        assert same_bits(np.asarray(view).astype(dtype), array), name
    assert views["Fortran"].flags.f_contiguous
    assert all(stride < 0 for stride in views["negative strides"].strides)
    assert not views["strided"].flags.c_contiguous
    assert not views["transposed"].flags.c_contiguous
    assert not views["byte-swapped"].dtype.isnative
    assert not views["read-only"].flags.writeable
    assert not views["unaligned"].flags.aligned
    assert isinstance(views["memmap"], np.memmap)
    assert type(views["subclass"]) is not np.ndarray
