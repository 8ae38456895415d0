"""Objectives and metrics without a booster: what LightGBM, XGBoost and CatBoost pass is recorded here; numbers are the oracle's.

tests/peers/test_boosters.py trains the real ones.
"""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV

import cylosses
from cylosses.boosting import Metric, Objective, robust_scale
from cylosses.losses import LOSSES

from .generators import DTYPES
from .reference import ORACLE, elementwise, same_bits

every_loss = pytest.mark.parametrize("name", LOSSES)
every_curvature = pytest.mark.parametrize("curvature", ["mm", "exact", "ones"])
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
both = pytest.mark.parametrize("make", [Objective, Metric])
WITH_UNIT = [name for name, cls in LOSSES.items() if cls.parameter_is_length]


class Dataset:
    """As LightGBM passes it: float32 labels, float32 weights or None."""

    def __init__(self, label, weight=None):
        self.label = np.asarray(label, np.float32)
        self.weight = None if weight is None else np.asarray(weight, np.float32)

    def get_label(self):
        return self.label

    def get_weight(self):
        return self.weight


class DMatrix(Dataset):
    """As XGBoost passes it: new float32 arrays at every call; without weights an empty one."""

    def get_label(self):
        return self.label.copy()

    def get_weight(self):
        return np.empty(0, np.float32) if self.weight is None else self.weight.copy()


@pytest.fixture
def sample(rng):
    """Targets far from 0, predictions, weights; some rows without weight."""
    target = rng.standard_normal(60) * 30 + 100
    return target, target + rng.standard_normal(60) * 40, rng.integers(0, 4, 60).astype(float)


def expected(name, curvature, errors, parameter, scale, weight):
    """Gradient and Hessian by the oracle, in exact arithmetic or 60 digits until the end."""

    def quantity(what, at):
        exact = elementwise(name, what, at, parameter, np.float64)
        return [mpmath.mpf(e.numerator) / e.denominator if isinstance(e, Fraction) else mpmath.mpf(e) for e in exact]

    with mpmath.workdps(40):
        psi, irls = quantity("derivative", errors), quantity("irls_weight", errors)
        near, far = [scale / 10, -scale / 10], [scale, -scale]
        cap = max(quantity("irls_weight", near))
        if max(quantity("derivative", near)) > max(quantity("derivative", far)):  # Tukey's, with a small parameter
            cap = 0
        at_scale = next(h for at in (far, [0.0], [2 * parameter]) if (h := max(quantity("irls_weight", at))) > 0)
        hessians = {
            "mm": [(min(h, cap) if cap else h) / at_scale for h in irls],
            "exact": [h / at_scale for h in quantity("second_derivative", errors)],
            "ones": [1] * len(errors),
        }[curvature]
        gradient = np.array([float(g / at_scale) for g in psi])
        return gradient * weight, np.array([float(h) for h in hessians]) * weight


# Signatures -----------------------------------------------------------------------------------------------------------


@both
def test_the_parameters_are_those_that_lightgbm_counts_and_xgboost_names(make):
    assert list(inspect.signature(make()).parameters) == ["y_true", "y_pred", "sample_weight"]
    assert inspect.signature(make()).parameters["sample_weight"].default is None


def test_the_parameters_are_those_of_catboost():
    assert list(inspect.signature(Objective().calc_ders_range).parameters) == ["approxes", "targets", "weights"]
    assert list(inspect.signature(Metric().evaluate).parameters) == ["approxes", "target", "weight"]
    assert list(inspect.signature(Metric().get_final_error).parameters) == ["error", "weight"]
    assert Metric().is_max_optimal() is False


@both
@every_loss
def test_each_has_a_name(make, name):
    assert make(name).__name__ == make(name).loss == name


@both
def test_catboost_is_told_to_leave_the_methods_alone(make):
    """It asks for this attribute before it marks the object, replaces its methods and warns."""
    assert hasattr(make(), "no_jit")
    with pytest.raises(AttributeError, match="immutable"):
        make()._jited = True


def test_importing_takes_no_booster():
    script = (
        "import sys, numpy; before = set(sys.modules); import cylosses.boosting; "
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    root = Path(cylosses.__file__).parents[1]
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root, timeout=60)
    assert [name for name in result.stdout.split() if "cython" not in name] == ["cylosses"]


# Numbers --------------------------------------------------------------------------------------------------------------


@every_loss
@every_curvature
@every_dtype
@pytest.mark.parametrize("scale", [0.25, 3.0, 700.0])
def test_numbers(name, curvature, dtype, scale, rng):
    errors = np.concatenate([rng.standard_normal(40) * s for s in (scale / 100, scale, 10 * scale)] + [[0.0, scale, -scale]])
    errors = errors.astype(dtype)
    weight = rng.integers(0, 4, errors.size).astype(dtype)
    oracle = ORACLE[name]
    for parameter in [p for p in (0.25, 0.75, 8.0, 1024.0) if oracle.parameter is None or oracle.valid(p)]:
        objective = Objective(name, curvature, scale, **oracle.setting(parameter))
        for used in (None, weight):
            got = objective(np.zeros_like(errors), errors, used)
            wanted = expected(name, curvature, errors, parameter, scale, 1.0 if used is None else weight)
            for array, numbers in zip(got, wanted, strict=True):
                assert array.dtype == dtype
                # 1 - 5 u of Tukey's second derivative passes through 0.
                np.testing.assert_allclose(array, numbers, rtol=24 * np.finfo(dtype).eps, atol=24 * np.finfo(dtype).eps)


@every_loss
def test_an_error_of_one_scale_has_curvature_one(name):
    for scale in (1e-8, 1e-4, 1.0, 77.0, 1e6, 1e12):
        _, hessian = Objective(name, scale=scale)([0.0, 0.0], [scale, -scale])
        assert hessian.max() == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "setting", "factor"),
    [("tukey", {"c": 2.0}, 1.0), ("epsilon_insensitive", {"epsilon": 5.0}, 10.0), ("smooth_l1", {"beta": np.inf}, 1.0)],
)
def test_losses_that_are_flat_at_the_scale(name, setting, factor):
    errors = np.array([0.0, 1.0, 1.5, 6.0, 20.0])
    gradient, hessian = Objective(name, scale=4.0, **setting)(np.zeros(5), errors)
    plain, curvature = LOSSES[name](reduction="sum", **setting).grad_and_hess(errors, np.zeros(5), curvature="mm")
    np.testing.assert_allclose(gradient, factor * plain, rtol=1e-15)
    np.testing.assert_allclose(hessian, factor * curvature, rtol=1e-15)


@every_loss
@every_curvature
@every_dtype
@pytest.mark.parametrize("exponent", [-60, -23, -3, 7, 40])
def test_gradients_follow_the_unit_of_the_targets_and_hessians_do_not(name, curvature, dtype, exponent, sample):
    target, prediction, weight = (array.astype(dtype) for array in sample)
    unit = dtype(2.0**exponent)
    for used in (None, weight):
        gradient, hessian = Objective(name, curvature)(target, prediction, used)
        assert hessian.any() or curvature == "exact"
        other = Objective(name, curvature)(target * unit, prediction * unit, used)
        np.testing.assert_allclose(other[0], gradient * unit, rtol=4 * np.finfo(dtype).eps)
        np.testing.assert_allclose(other[1], hessian, rtol=4 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).eps)


@every_loss
@pytest.mark.parametrize("unit", [1e-9, 1.0, 100.0, 1e9])
@pytest.mark.parametrize("offset", [0, 30])
def test_a_regularised_booster_that_cannot_split_reaches_the_middle(name, unit, offset):
    """One leaf, XGBoost's lambda of 1 and step of 0.3, from 0: whatever the unit of the targets."""
    target = (load_diabetes().target + offset) * unit
    objective, leaf = Objective(name), np.zeros_like(target)
    for _ in range(300):
        gradient, hessian = objective(target, leaf)
        assert hessian.sum() > 1  # min_child_weight
        leaf -= 0.3 * gradient.sum() / (hessian.sum() + 1)
    if name == "mse":
        assert abs(leaf[0] - np.mean(target)) < 0.02 * unit * target.size**0.5
    else:  # the median, or near it; what is not convex stays on the side where most targets are
        low, high = (0.45, 0.6) if LOSSES[name].convex else (0.3, 0.7)
        assert low <= np.mean(target < leaf) <= high


# Weights --------------------------------------------------------------------------------------------------------------


@every_loss
@every_curvature
def test_weights_multiply_and_weight_zero_removes(name, curvature, sample):
    target, prediction, weight = sample
    objective = Objective(name, curvature).for_targets(target, weight)
    gradient, hessian = objective(target, prediction)
    target[weight == 0], prediction[weight == 0] = np.nan, np.inf
    assert (weight == 0).any()
    weighted = objective(target, prediction, weight)
    for got, plain in zip(weighted, (gradient, hessian), strict=True):
        np.testing.assert_allclose(got, plain * weight, rtol=1e-14, atol=1e-14)
        assert same_bits(got[weight == 0], np.zeros(np.sum(weight == 0)))


@every_loss
def test_the_automatic_scale_counts_weights(name, sample):
    """Weight k is k rows, 0 is none, even of a NaN."""
    target, prediction, weight = sample
    repeated = np.repeat(np.arange(60), weight.astype(int))
    target[weight == 0] = np.nan
    assert robust_scale(target, weight) == pytest.approx(robust_scale(target[repeated]), rel=1e-14)
    weighted = Objective(name)(target, prediction, weight)
    rows = Objective(name)(target[repeated], prediction[repeated])
    for got, each in zip(weighted, rows, strict=True):
        sums = np.bincount(repeated, each, minlength=60)
        np.testing.assert_allclose(got, sums, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_invalid_weights(bad, sample):
    target, prediction, weight = sample
    weight[3] = bad
    for objective in (Objective(), Objective(scale=1.0)):
        with pytest.raises(ValueError, match="weight"):
            objective(target, prediction, weight)


# What boosters pass ---------------------------------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("data", [Dataset, DMatrix])
@pytest.mark.parametrize("dtype", DTYPES)
def test_native_calls_are_the_others(name, data, dtype, sample):
    """Predictions of LightGBM are float64, those of XGBoost float32; labels and weights float32 with both."""
    target, prediction, weight = (array.astype(np.float32) for array in sample)
    prediction = prediction.astype(dtype)
    objective = Objective(name)
    for used in (None, weight):
        native = objective(prediction, data(target, used))
        assert all(map(same_bits, native, objective(target, prediction, sample_weight=used)))
        assert all(type(array) is np.ndarray and array.dtype == dtype and array.flags.c_contiguous for array in native)


def test_arrays_of_the_booster_are_left_alone(sample):
    arrays = [array.copy() for array in sample]
    for array in arrays:
        array.flags.writeable = False
    Objective()(*arrays)
    Objective("l1", scale=1.0).calc_ders_range(arrays[1], arrays[0], arrays[2])
    assert all(map(same_bits, arrays, sample))


@every_loss
def test_several_targets_have_a_scale_each(name, rng):
    target = rng.standard_normal((50, 3)) * [1e-3, 1, 1e3]
    prediction, weight = target + rng.standard_normal((50, 3)) * [1e-3, 1, 1e3], rng.random(50)
    for used in (None, weight):
        together = Objective(name)(prediction, DMatrix(target, used))
        for column in range(3):
            alone = Objective(name)(prediction[:, column], DMatrix(target[:, column], used))
            assert all(same_bits(np.ascontiguousarray(all_of[:, column]), one) for all_of, one in zip(together, alone, strict=True))
        assert together[0].shape == together[1].shape == (50, 3)
        value = Metric(name, "xgboost")(target, prediction, used)
        assert value == float(sum(Fraction(Metric(name, "xgboost")(target[:, k], prediction[:, k], used)) for k in range(3)) / 3)


def test_one_column_is_a_vector(sample):
    target, prediction, weight = sample
    plain = Objective()(target, prediction, weight)
    for t, p in ((target[:, None], prediction), (target, prediction[:, None]), (target[:, None], prediction[:, None])):
        got = Objective()(t, p, weight)
        assert all(array.shape == p.shape for array in got)
        assert all(map(same_bits, map(np.ravel, got), plain))


@pytest.mark.parametrize(
    ("shapes", "named"),
    [
        (((5,), (6,), None), r"\(5,\).*\(6,\)"),
        (((5,), (5, 2), None), r"\(5,\).*\(5, 2\)"),
        (((5, 1), (5, 2), None), r"\(5, 1\).*\(5, 2\)"),
        (((2, 1), (1, 2), None), r"\(2, 1\).*\(1, 2\)"),
        (((), (), None), r"\(n,\)"),
        (((5,), (5,), (4,)), r"sample_weight.*\(4,\).*5 rows"),
        (((5,), (5,), (1,)), r"sample_weight.*\(1,\).*5 rows"),
        (((5,), (5,), (5, 1)), r"sample_weight.*\(5, 1\).*5 rows"),
        (((5, 2), (5, 2), (2,)), r"sample_weight.*\(2,\).*5 rows"),
    ],
)
@both
def test_shapes_that_do_not_fit(make, shapes, named):
    arrays = [None if shape is None else np.ones(shape) for shape in shapes]
    with pytest.raises(ValueError, match=named):
        make()(*arrays)


@every_loss
@every_curvature
def test_catboost_gets_minus_both_in_blocks(name, curvature, sample):
    target, prediction, weight = sample
    objective = Objective(name, curvature).for_targets(target, weight)
    for used in (None, weight.astype(np.float32)):
        gradient, hessian = objective(target.astype(np.float32), prediction, used)
        blocks = [slice(0, 0), slice(0, 1), slice(1, 30), slice(30, 60)]
        pairs = [
            objective.calc_ders_range(prediction[b], target[b].astype(np.float32), None if used is None else used[b])
            for b in blocks
        ]
        # CatBoost reads this type, shape and dtype fast, others slowly.
        assert all(type(pair) is np.ndarray and pair.dtype == np.float64 and pair.shape[1:] == (2,) for pair in pairs)
        assert same_bits(np.concatenate(pairs), np.stack([-gradient, -hessian], 1))


def test_catboost_is_refused_what_needs_all_targets(sample):
    target, prediction, weight = sample
    for call in (
        lambda: Objective().calc_ders_range(prediction, target, weight),
        lambda: Objective(beta=1.0).calc_ders_range(prediction, target, None),
        lambda: Metric(booster="catboost").evaluate([prediction], target, weight),
    ):
        with pytest.raises(ValueError, match=r"for_targets\(y, sample_weight\)"):
            call()
    for metric in (Metric("l1", "catboost"), Metric("quantile", "catboost"), Metric("huber", "catboost", delta=2.0)):
        assert metric.evaluate([prediction], target, None)[0] == pytest.approx(60 * metric(target, prediction), rel=1e-14)


# Automatic scale ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WITH_UNIT)
def test_the_automatic_parameter_is_a_fraction_of_the_scale(name, sample):
    target, _, weight = sample
    scale = robust_scale(target, weight)
    fraction = LOSSES[name].boosting_default
    own = ORACLE[name].parameter
    assert Objective(name).for_targets(target, weight) == Objective(name, scale=scale, **{own: fraction * scale})
    assert Objective(name, scale=2.0).for_targets(target) == Objective(name, scale=2.0, **{own: 2.0 * fraction})
    assert Objective(name, **{own: 0.5}).for_targets(target) == Objective(name, scale=robust_scale(target), **{own: 0.5})
    assert Metric(name, "catboost").for_targets(target) == Objective(name).for_targets(target).metric("catboost")


def test_robust_scale():
    normal = np.random.default_rng(0).standard_normal(100_001) * 7 + 1000
    assert robust_scale(normal) == pytest.approx(7, rel=0.02)
    normal[:30_000] = 1e9
    assert robust_scale(normal) < 14
    assert robust_scale([1, 2, 3, 4, 1000]) == pytest.approx(1.4826, rel=1e-4)
    assert robust_scale([1, 2, 3, 4, 1000], [1, 1, 0, 1, 1]) == robust_scale([1, 2, 4, 1000])
    assert robust_scale(np.array([1, 3], np.float32)) == robust_scale([1, 3])


def test_robust_scale_of_targets_without_spread():
    counts = np.array([0.0] * 90 + [1.0] * 10)
    assert robust_scale(counts) == pytest.approx(1.2533 * 0.1, rel=1e-4)
    assert robust_scale(counts, np.where(counts, 2, 1)) == pytest.approx(1.2533 * 20 / 110, rel=1e-4)
    for constant in ([5.0], [5.0, 5.0, 5.0], [0.0] * 4):
        assert robust_scale(constant) == 1
        gradient, hessian = Objective("l1")(constant, np.zeros(len(constant)))
        assert np.isfinite(gradient).all()
        assert np.isfinite(hessian).all()


def test_robust_scale_of_extreme_targets():
    assert robust_scale([-1.5e308, 0, 1.5e308]) == 1  # the median deviation has no finite multiple by 1.48
    assert 1e307 < robust_scale([-1e307, 0, 1e307]) < 2e307
    assert 0 < robust_scale([0, 1e-300, 2e-300]) < 2e-300


@pytest.mark.parametrize("unit", [2.0**1020, 2.0**1023, 2.0**-1074, 2.0**-1060, 2.0**-100])
def test_robust_scale_needs_only_the_ratios_of_weights(unit, sample):
    target, _, weight = sample
    for targets, weights in (
        ([1.0, 5.0, 9.0, 20.0, 50.0], np.ones(5)),
        ([0.0] * 9 + [1.0], np.ones(10)),
        (target, np.minimum(weight, 1)),
    ):
        assert robust_scale(targets, weights * unit) == robust_scale(targets, weights)
    objective = Objective("huber")
    assert objective.for_targets(target, weight * 2.0**-1074) == objective.for_targets(target, weight)
    assert robust_scale([1.0, 5.0, 9.0, 20.0, 50.0], [1e308] * 5) == robust_scale([1.0, 5.0, 9.0, 20.0, 50.0])


@pytest.mark.parametrize("count", [2, 3, 10, 11, 100])
@pytest.mark.parametrize("weight", [0.1, 1 / 3, 1e-300, 1.7e308, 5e-324])
def test_equal_weights_change_nothing_whatever_they_round_to(count, weight, rng):
    """Their rounded sums reach a half too early or too late: ten times 0.1 is less than 1."""
    for targets in (np.arange(count) ** 2.0, rng.standard_normal(count), rng.integers(0, 2, count)):
        assert robust_scale(targets, np.full(count, weight)) == pytest.approx(robust_scale(targets), rel=1e-15)


def test_sums_of_huge_numbers_stay_finite():
    """Of targets, of their deviations, of the metrics of several targets, and of weights that make a cap needless."""
    assert robust_scale([1.5e308, 1.6e308]) == pytest.approx(1.482602218505602 * 0.05e308)
    assert robust_scale([0.0] * 6 + [1e308] * 4) == pytest.approx(1.2533141373155003 * 0.4e308)
    assert Metric("l1", "xgboost")(np.zeros((2, 2)), np.full((2, 2), 1e308)) == 1e308
    _, hessian = Objective("l1", scale=1.0)([0.0, 0.0], [2.0, -4.0], [1e308, 1e308])
    assert hessian.tolist() == [0.5e308, 0.25e308]
    metric = Metric("l1", "catboost")
    assert metric.evaluate([np.zeros(2)], np.ones(2), np.array([3e38, 3e38], np.float32))[1] == 2 * float(np.float32(3e38))
    assert metric.evaluate([np.zeros(2)], np.ones(2), np.array([1e308, 1e308])) == (np.inf, np.inf)


@pytest.mark.parametrize("name", WITH_UNIT)
def test_automatic_parameters_of_the_least_targets_are_valid(name):
    targets = np.array([0.0, 5e-324, 1e-323])
    assert Objective(name).for_targets(targets).parameter >= 5e-324
    assert np.isfinite(Objective(name)(targets, np.zeros(3))).all()


@pytest.mark.parametrize(
    ("targets", "weights", "named"),
    [
        ([], None, "targets"),
        ([[1.0, 2.0]], None, r"targets.*\(1, 2\)"),
        ([1.0, np.nan], None, "targets.*NaN"),
        ([1.0, np.inf], [1, 1], "targets.*inf"),
        ([1.0, 2.0], [0, 0], "weight"),
        ([1.0, 2.0], [1, -1], "sample_weight"),
        ([1.0, 2.0], [1, np.nan], "sample_weight"),
        ([1.0, 2.0], [1], r"sample_weight.*\(1,\)"),
    ],
)
def test_targets_that_have_no_scale(targets, weights, named):
    with pytest.raises(ValueError, match=named):
        robust_scale(targets, weights)


def test_nothing_of_earlier_targets_stays(sample, rng):
    """More datasets than are remembered, in turns; weights, and changes in place, count too."""
    prediction = sample[1]
    datasets = [(rng.standard_normal(60) * 10.0**k, weight) for k in range(5) for weight in (None, sample[2])]
    used = Objective()
    for target, weight in datasets + datasets[::-1]:
        assert all(map(same_bits, used(target, prediction, weight), Objective()(target, prediction, weight)))
        target *= 3
        assert all(map(same_bits, used(target, prediction, weight), Objective()(target, prediction, weight)))


def test_threads_may_share_one(rng):
    objective, barrier, wrong = Objective(), threading.Barrier(8), []
    data = [(rng.standard_normal(500) * 10.0**k, rng.standard_normal(500)) for k in range(8)]
    wanted = [Objective()(*pair) for pair in data]

    def work(k):
        barrier.wait()
        for _ in range(100):
            if not all(map(same_bits, objective(*data[k]), wanted[k])):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# Objects --------------------------------------------------------------------------------------------------------------


def variants(make):
    own = [{"curvature": c} for c in ("mm", "exact")] if make is Objective else [{"booster": b} for b in ("xgboost", "catboost")]
    for name in LOSSES:
        for setting in own:
            for scale in ("auto", 2.5):
                yield make(name, scale=scale, **setting)
                yield make(name, scale=scale, **setting, **ORACLE[name].setting(0.75))
    yield make("huber", delta=np.inf)


@both
def test_copies_are_equal_and_different_ones_are_not(make, sample):
    items = list(dict.fromkeys(variants(make)))
    assert len(items) == len({repr(item) for item in items}) > 4 * len(LOSSES)
    for item in items:
        used = pickle.loads(pickle.dumps(item))
        used(*sample)
        # CatBoost's get_params copies, and scikit-learn's clone wants the very object back.
        assert copy.copy(used) is copy.deepcopy(used) is used
        for other in (eval(repr(item), {make.__name__: make}), pickle.loads(pickle.dumps(used)), used):
            assert other == item
            assert hash(other) == hash(item)
            assert repr(other) == repr(item)
            assert [each for each in items if each == other] == [item]
        # Nothing of the data is pickled.
        assert pickle.dumps(used) == pickle.dumps(pickle.loads(pickle.dumps(item)))
    assert Objective() != Metric()
    assert Objective() != "smooth_l1"


@both
def test_immutable(make):
    item = make("huber")
    for name in ("loss", "scale", "parameter", "delta", "booster" if make is Metric else "curvature"):
        with pytest.raises(AttributeError):
            setattr(item, name, 1)
    with pytest.raises(AttributeError):
        del item.loss
    assert (item.loss, item.scale, item.parameter) == ("huber", "auto", "auto")
    assert make("quantile").parameter == 0.5
    assert make("l1", scale=3).parameter is None


class Leaf(RegressorMixin, BaseEstimator):
    """An estimator with an objective among its parameters, as the boosters' are: it fits one number."""

    def __init__(self, objective=None, rounds=50):
        self.objective = objective
        self.rounds = rounds

    def fit(self, X, y, sample_weight=None):
        self.leaf_ = 0.0
        for _ in range(self.rounds):
            gradient, hessian = self.objective(y, np.full(len(y), self.leaf_), sample_weight)
            self.leaf_ -= gradient.sum() / hessian.sum()
        return self

    def predict(self, X):
        return np.full(len(X), self.leaf_)


def test_scikit_learn_clones_and_searches(sample):
    target, _, _ = sample
    features = np.zeros((60, 1))
    model = Leaf(Objective()).fit(features, target * 1000)
    assert clone(model).objective == model.objective
    grid = {"objective": [Objective(name) for name in LOSSES]}
    search = GridSearchCV(model, grid, cv=3, error_score="raise").fit(features, target)
    assert search.best_params_["objective"] in grid["objective"]
    middle = np.median(target)
    for name in ("huber", "l1", "tukey"):
        # The model was fitted to others before: nothing of their scale is in the copy.
        fitted = clone(model).set_params(objective=Objective(name)).fit(features, target)
        assert fitted.leaf_ == pytest.approx(middle, abs=0.3 * robust_scale(target))


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ({"loss": "hubber"}, ValueError, "'smooth_l1', 'l1'.*'hubber'"),
        ({"loss": cylosses.HuberLoss()}, ValueError, "loss must be"),
        ({"loss": ["huber"]}, ValueError, "loss must be"),
        ({"delta": 1.0}, TypeError, "smooth_l1 has the parameter 'beta', got 'delta'"),
        ({"loss": "l1", "beta": 1.0}, TypeError, "l1 has no parameter, got 'beta'"),
        ({"beta": -1.0}, ValueError, "beta.*-1"),
        ({"beta": "big"}, ValueError, "beta must be a number or 'auto', got 'big'"),
        ({"beta": None}, TypeError, "beta"),
        ({"loss": "huber", "delta": 0}, ValueError, "delta"),
        ({"loss": "quantile", "q": "auto"}, ValueError, "q has no unit"),
        ({"loss": "quantile", "q": 1.5}, ValueError, "q"),
        *(({"scale": bad}, ValueError, "scale must be") for bad in (0, -1.0, np.nan, np.inf, "2", "Auto", None, True, [1.0])),
    ],
)
@both
def test_bad_settings(make, arguments, error, named):
    with pytest.raises(error, match=named):
        make(**arguments)


@both
def test_masked_arrays_are_refused(make):
    masked = np.ma.masked_array([1.0, 2.0, 4.0], [False, True, False])
    for arrays in ((masked, np.ones(3)), (np.ones(3), masked)):
        with pytest.raises(TypeError, match="where="):
            make(scale=1.0)(*arrays)


def test_settings_of_one_kind():
    for bad in ("MM", "", None, 1):
        with pytest.raises(ValueError, match="curvature must be 'exact', 'mm' or 'ones'"):
            Objective(curvature=bad)
    for bad in ("sklearn", "LightGBM", None):
        with pytest.raises(ValueError, match="booster must be 'lightgbm', 'xgboost' or 'catboost'"):
            Metric(booster=bad)


# Metrics --------------------------------------------------------------------------------------------------------------


@every_loss
def test_metrics_are_the_exact_mean(name, sample):
    target, prediction, weight = sample
    setting = ORACLE[name].setting(0.75)
    objective = Objective(name, "ones", 5.0, **setting)
    for used in (None, weight):
        value = float(LOSSES[name](**setting)(prediction, target, weight=used))
        assert objective.metric("lightgbm")(target, prediction, used) == (name, value, False)
        assert objective.metric("xgboost")(target, prediction, sample_weight=used) == value
        assert objective.metric("catboost")(target, prediction, used) == value
        catboost = objective.metric("catboost")
        total, weights = catboost.evaluate((prediction,), target, used)
        assert weights == (60 if used is None else weight.sum())
        assert catboost.get_final_error(total, weights) == pytest.approx(value, rel=1e-14)
        single = [None if array is None else array.astype(np.float32) for array in (target, used)]
        assert objective.metric("lightgbm")(prediction, Dataset(target, used)) == objective.metric("lightgbm")(
            single[0], prediction, single[1]
        )
        assert objective.metric("xgboost")(prediction, DMatrix(target, used)) == (
            name,
            objective.metric("xgboost")(single[0], prediction, single[1]),
        )
        assert all(type(v) is float for v in (total, weights, objective.metric("xgboost")(target, prediction)))


@pytest.mark.parametrize("name", WITH_UNIT)
@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_metrics_have_the_automatic_parameter_and_are_not_rescaled(name, unit, sample):
    target, prediction, weight = sample
    target, prediction = target * unit, prediction * unit
    parameter = Objective(name).for_targets(target, weight).parameter
    loss = LOSSES[name](**{ORACLE[name].parameter: parameter})
    assert Metric(name, "xgboost")(target, prediction, weight) == loss(prediction, target, weight=weight)
    total, weights = Metric(name, "catboost").for_targets(target, weight).evaluate([prediction], target, weight)
    assert total / weights == pytest.approx(float(loss(prediction, target, weight=weight)), rel=1e-14)


def test_metrics_of_no_weight_and_of_several_predictions():
    assert np.isnan(Metric().get_final_error(0.0, 0.0))
    with pytest.raises(ValueError, match="one prediction a row, got 2"):
        Metric(scale=1.0).evaluate([np.ones(3), np.ones(3)], np.ones(3), None)
