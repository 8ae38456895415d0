"""scikit-learn's own tests of what all of its metrics have in common, with the metrics of this package entered in its registries.

Which tests those are is read from scikit-learn: the ones that are run for each metric by name and for `mean_absolute_error` among
them. Its metric is as ours are: symmetric, for one output or several, with sample weights.
"""

from __future__ import annotations

import inspect
from importlib.util import find_spec

import numpy as np
import pytest
from sklearn.metrics.tests import test_common as common

from cylosses import LOSSES, sklearn

pytestmark = pytest.mark.thread_unsafe  # the registries belong to the process

METRICS = {f"mean_{name}_error": getattr(sklearn, f"mean_{name}_error") for name in LOSSES}
LIKE = "mean_absolute_error"
LIBRARIES = [name for name in ("pandas", "polars") if find_spec(name)]
OF_NAMES = ("name", "metric_name")


def found_tests():
    """Names of the tests that take the name of a metric and at most a library of data frames besides."""
    for test, function in inspect.getmembers(common, inspect.isfunction):
        marks = [mark for mark in getattr(function, "pytestmark", []) if mark.name == "parametrize"]
        values = {mark.args[0]: mark.args[1] for mark in marks}
        names = [argument for argument in values if argument in OF_NAMES]
        if test.startswith("test_") and names and LIKE in values[names[0]] and values.keys() <= {*OF_NAMES, "df_lib_name"}:
            yield test, names[0], "df_lib_name" in values


CASES = [
    pytest.param(
        test,
        {argument: metric} | ({"df_lib_name": library} if library else {}),
        id="-".join((test, metric, library)[: 2 + bool(library)]),
    )
    for test, argument, of_frames in found_tests()
    for metric in METRICS
    for library in (LIBRARIES if of_frames else [""])
]
TESTS_OF_ALL = ("test_symmetry_consistency", "test_sample_order_invariance_multilabel_and_multioutput")


@pytest.fixture
def entered(monkeypatch):
    """Our metrics in the registries, for the time of a test."""
    for registry in (common.ALL_METRICS, common.REGRESSION_METRICS):
        for name, metric in METRICS.items():
            monkeypatch.setitem(registry, name, metric)
    for names in ("SYMMETRIC_METRICS", "MULTIOUTPUT_METRICS"):
        monkeypatch.setattr(common, names, getattr(common, names) | METRICS.keys())


@pytest.mark.parametrize(("test", "arguments"), CASES)
def test_of_each_metric(test, arguments, entered):
    assert getattr(common, test)(**arguments) is None


@pytest.mark.parametrize("test", TESTS_OF_ALL)
def test_of_all_metrics_together(test, entered):
    assert getattr(common, test)() is None


def test_the_tests_are_those_that_matter(entered):
    """They see the metrics, and are as many as scikit-learn 1.6 has at least."""
    tests = {case.values[0] for case in CASES}
    assert len(tests) >= 11
    assert {"test_regression_sample_weight_invariance", "test_format_invariance_with_1d_vectors"} <= tests
    name = next(iter(METRICS))
    common.ALL_METRICS[name] = lambda y_true, y_pred: float(np.sum(y_true))
    with pytest.raises(AssertionError, match="symmetric"):
        common.test_symmetric_metric(name)


def test_the_registries_of_scikit_learn_are_left_as_they_were():
    for registry in (common.ALL_METRICS, common.REGRESSION_METRICS, common.SYMMETRIC_METRICS, common.MULTIOUTPUT_METRICS):
        assert not METRICS.keys() & set(registry)
