"""The real LightGBM, XGBoost and CatBoost: objectives train, metrics report, in every interface, and the manual's examples run."""

from __future__ import annotations

import copy
import pickle
import re
import warnings
from pathlib import Path

import catboost
import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV, train_test_split

from cylosses.boosting import Metric, Objective, robust_scale
from cylosses.losses import LOSSES
from tools import booster_starts

MANUAL = Path(__file__).parents[2] / "docs" / "boosting.md"
ROUNDS = 60
FEATURES, TARGETS = load_diabetes(return_X_y=True)
TRAIN, TEST = train_test_split(np.arange(len(TARGETS)), random_state=0)
WEIGHTS = np.random.default_rng(0).integers(1, 4, len(TARGETS)).astype(float)
MIDDLE = np.abs(TARGETS[TEST] - np.median(TARGETS[TRAIN])).mean()  # the error of a model that learned nothing but the middle

LIGHTGBM = {"verbose": -1, "num_threads": 1}
XGBOOST = {"nthread": 1, "max_depth": 3, "learning_rate": 0.1}
CATBOOST = {"thread_count": 1, "verbose": False, "allow_writing_files": False, "iterations": 100, "learning_rate": 0.1}


def lightgbm_sklearn(objective, x, y, weight=None):
    model = lightgbm.LGBMRegressor(objective=objective, n_estimators=ROUNDS, n_jobs=1, verbose=-1)
    return model.fit(x, y, sample_weight=weight).predict


def lightgbm_native(objective, x, y, weight=None):
    return lightgbm.train({"objective": objective, **LIGHTGBM}, lightgbm.Dataset(x, y, weight=weight), ROUNDS).predict


def xgboost_sklearn(objective, x, y, weight=None):
    model = xgboost.XGBRegressor(objective=objective, n_estimators=ROUNDS, n_jobs=1, max_depth=3, learning_rate=0.1)
    return model.fit(x, y, sample_weight=weight).predict


def xgboost_native(objective, x, y, weight=None):
    model = xgboost.train(XGBOOST, xgboost.DMatrix(x, y, weight=weight), ROUNDS, obj=objective)
    return lambda features: model.predict(xgboost.DMatrix(features))


def catboost_sklearn(objective, x, y, weight=None):
    model = catboost.CatBoostRegressor(loss_function=objective.for_targets(y, weight), eval_metric="RMSE", **CATBOOST)
    return model.fit(x, y, sample_weight=weight).predict


def catboost_native(objective, x, y, weight=None):
    parameters = {"loss_function": objective.for_targets(y, weight), "eval_metric": "RMSE", **CATBOOST}
    return catboost.train(catboost.Pool(x, y, weight=weight), parameters).predict


FITS = {
    fit.__name__: fit
    for fit in (lightgbm_sklearn, lightgbm_native, xgboost_sklearn, xgboost_native, catboost_sklearn, catboost_native)
}
every_fit = pytest.mark.parametrize("fit", FITS.values(), ids=FITS)


@pytest.fixture(autouse=True)
def every_warning():
    """`filterwarnings` of pyproject.toml as it is, and CatBoost's ones through the logger too."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# Objectives -----------------------------------------------------------------------------------------------------------


@every_fit
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("unit", [1.0, 100.0])
@pytest.mark.parametrize("weight", [None, WEIGHTS], ids=["", "weights"])
def test_defaults_train_in_any_unit(fit, name, unit, weight):
    predict = fit(Objective(name), FEATURES[TRAIN], TARGETS[TRAIN] * unit, None if weight is None else weight[TRAIN])
    assert np.abs(predict(FEATURES[TEST]) / unit - TARGETS[TEST]).mean() < 0.9 * MIDDLE


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("unit", "offset"), [(1e-3, 0.0), (1.0, 1e5)])
def test_xgboost_trains_far_from_its_start_if_it_is_moved(name, unit, offset):
    y = (TARGETS + offset) * unit
    model = xgboost.XGBRegressor(
        objective=Objective(name),
        base_score=float(np.median(y[TRAIN])),
        n_estimators=ROUNDS,
        n_jobs=1,
        max_depth=3,
        learning_rate=0.1,
    )
    error = np.abs(model.fit(FEATURES[TRAIN], y[TRAIN]).predict(FEATURES[TEST]) - y[TEST]).mean()
    assert error / unit < 0.9 * MIDDLE


@every_fit
def test_the_unit_changes_nothing(fit):
    """A power of two: the boosters compute with other exponents only. XGBoost starts at 0.5 whatever the unit."""
    x, y = FEATURES[TRAIN], TARGETS[TRAIN].astype(np.float32)
    if fit in (xgboost_sklearn, xgboost_native):
        y = y + 0.5
        once, again = fit(Objective(), x, y), fit(Objective(), x, (y - 0.5) * 64 + 0.5)
        np.testing.assert_allclose((again(x) - 0.5) / 64, once(x) - 0.5, rtol=1e-3, atol=1)
    else:
        np.testing.assert_allclose(fit(Objective(), x, y * 64)(x) / 64, fit(Objective(), x, y)(x), rtol=1e-6)


@every_fit
def test_outliers_do_little_harm(fit):
    y = TARGETS[TRAIN].copy()
    y[::20] += 15 * TARGETS.std()
    assert np.abs(fit(Objective(), FEATURES[TRAIN], y)(FEATURES[TEST]) - TARGETS[TEST]).mean() < 0.95 * MIDDLE
    assert np.abs(fit(Objective("mse"), FEATURES[TRAIN], y)(FEATURES[TEST]) - TARGETS[TEST]).mean() > 1.1 * MIDDLE


@every_fit
@pytest.mark.parametrize("name", ["huber", "l1"])
def test_weight_zero_removes(fit, name):
    """Rows of nonsense without weight change little: bins of the features and row counts of leaves know them, gradients do not."""
    x, y = FEATURES[TRAIN], TARGETS[TRAIN]
    nonsense = np.concatenate([y, y[:100] + 1e6])
    weight = np.concatenate([np.ones(len(y)), np.zeros(100)])
    predict = fit(Objective(name), np.concatenate([x, x[:100]]), nonsense, weight)
    assert np.abs(predict(FEATURES[TEST]) - TARGETS[TEST]).mean() < 0.85 * MIDDLE


@every_fit
def test_weights_are_applied_once(fit):
    """A single binary feature and squared error: leaves tend to the weighted means, which weights applied twice would miss."""
    x = np.repeat([0.0, 1.0], 200)[:, None]
    y = np.tile([0.0, 10.0], 200) + 5 * x[:, 0]
    weight = np.where(y > 9, 3.0, 1.0) * 2
    got = fit(Objective("mse"), x, y, weight)(np.array([[0.0], [1.0]]))
    # 100 steps of a tenth or more; twice would give 9 and 14
    np.testing.assert_allclose(got, [7.5, 12.5], atol=0.15)


@pytest.mark.parametrize("strategy", ["one_output_per_tree", "multi_output_tree"])
@pytest.mark.parametrize("weight", [None, WEIGHTS[TRAIN]], ids=["", "weights"])
def test_xgboost_with_several_targets(strategy, weight):
    both = np.stack([TARGETS, TARGETS[::-1] * 100], 1)
    model = xgboost.XGBRegressor(
        objective=Objective(), n_estimators=ROUNDS, n_jobs=1, max_depth=3, learning_rate=0.1, multi_strategy=strategy
    )
    model.fit(FEATURES[TRAIN], both[TRAIN], sample_weight=weight)
    predicted = model.predict(FEATURES[TEST])
    assert np.abs(predicted[:, 0] - TARGETS[TEST]).mean() < (0.85 if strategy == "one_output_per_tree" else 1.1) * MIDDLE
    native = xgboost.train(
        XGBOOST | {"multi_strategy": strategy},
        xgboost.DMatrix(FEATURES[TRAIN], both[TRAIN], weight=weight),
        ROUNDS,
        obj=Objective(),
    )
    np.testing.assert_allclose(native.predict(xgboost.DMatrix(FEATURES[TEST])), predicted, rtol=1e-5)


@pytest.mark.parametrize("boosting_type", ["Plain", "Ordered"])
def test_catboost_in_blocks(boosting_type):
    """5000 rows come in blocks of at most 1000; ordered boosting begins with single rows. Threads change nothing."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5000, 4))
    y = 100 * x[:, 0] + 1000 * (rng.random(5000) < 0.02) + rng.standard_normal(5000)
    objective = Objective().for_targets(y)
    predicted = [
        catboost.CatBoostRegressor(
            loss_function=objective, eval_metric="MAE", boosting_type=boosting_type, **CATBOOST | {"thread_count": threads}
        )
        .fit(x, y)
        .predict(x)
        for threads in (1, 2)
    ]
    assert np.median(np.abs(predicted[0] - 100 * x[:, 0])) < 15
    np.testing.assert_allclose(predicted[0], predicted[1], rtol=1e-9)


def test_catboost_says_what_to_do_about_auto():
    with pytest.raises(catboost.CatBoostError, match="for_targets"):
        catboost.CatBoostRegressor(loss_function=Objective(), eval_metric="RMSE", **CATBOOST).fit(FEATURES, TARGETS)


# Metrics --------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[None, WEIGHTS], ids=["", "weights"])
def weights(request):
    return (None, None) if request.param is None else (WEIGHTS[TRAIN], WEIGHTS[TEST])


def wanted(name, objective, predicted, weight, unit=1.0):
    loss = LOSSES[name](**({} if objective.parameter is None else {LOSSES[name].parameter_name: objective.parameter}))
    single = (TARGETS[TEST] * unit).astype(np.float32)
    return float(loss(predicted, single, weight=None if weight is None else weight.astype(np.float32)))


every_name = pytest.mark.parametrize("name", ["smooth_l1", "l1", "tukey"])


@every_name
def test_lightgbm_metrics(name, weights):
    objective = Objective(name).for_targets(TARGETS[TRAIN], weights[0])
    metric = objective.metric("lightgbm")
    # Without metric="none", l2 is evaluated too and may stop the training.
    model = lightgbm.LGBMRegressor(objective=objective, n_estimators=ROUNDS, n_jobs=1, verbose=-1, metric="none")
    model.fit(
        FEATURES[TRAIN],
        TARGETS[TRAIN],
        sample_weight=weights[0],
        eval_X=FEATURES[TEST],
        eval_y=TARGETS[TEST],
        eval_sample_weight=None if weights[1] is None else [weights[1]],
        eval_metric=metric,
        callbacks=[lightgbm.early_stopping(5, verbose=False)],
    )
    curve = model.evals_result_["valid_0"][name]
    assert len(curve) > 10
    best = model.predict(FEATURES[TEST])
    assert curve[model.best_iteration_ - 1] == min(curve) == pytest.approx(wanted(name, objective, best, weights[1]), rel=1e-9)

    train = lightgbm.Dataset(FEATURES[TRAIN], TARGETS[TRAIN], weight=weights[0])
    test = train.create_valid(FEATURES[TEST], TARGETS[TEST], weight=weights[1])
    found = {}
    lightgbm.train(
        {"objective": objective, **LIGHTGBM},
        train,
        len(curve),
        valid_sets=[test],
        feval=metric,
        callbacks=[lightgbm.record_evaluation(found)],
    )
    np.testing.assert_allclose(found["valid_0"][name], curve, rtol=1e-9)
    scores = lightgbm.cv({"objective": objective, **LIGHTGBM}, train, 20, nfold=3, stratified=False, feval=metric)
    assert scores[f"valid {name}-mean"][-1] < scores[f"valid {name}-mean"][0]


@every_name
def test_xgboost_metrics(name, weights):
    objective = Objective(name).for_targets(TARGETS[TRAIN], weights[0])
    metric = objective.metric("xgboost")
    model = xgboost.XGBRegressor(
        objective=objective,
        n_estimators=ROUNDS,
        n_jobs=1,
        max_depth=3,
        learning_rate=0.1,
        eval_metric=metric,
        early_stopping_rounds=5,
    )
    model.fit(
        FEATURES[TRAIN],
        TARGETS[TRAIN],
        sample_weight=weights[0],
        eval_set=[(FEATURES[TEST], TARGETS[TEST])],
        sample_weight_eval_set=None if weights[1] is None else [weights[1]],
        verbose=False,
    )
    curve = model.evals_result()["validation_0"][name]
    assert model.best_iteration >= 5
    last = model.predict(FEATURES[TEST], iteration_range=(0, len(curve)))
    assert curve[-1] == pytest.approx(wanted(name, objective, last, weights[1]), rel=1e-5)

    train, test = (
        xgboost.DMatrix(FEATURES[rows], TARGETS[rows], weight=weight) for rows, weight in zip((TRAIN, TEST), weights, strict=True)
    )
    found = {}
    xgboost.train(
        XGBOOST,
        train,
        len(curve),
        evals=[(test, "test")],
        obj=objective,
        custom_metric=metric,
        evals_result=found,
        verbose_eval=False,
    )
    np.testing.assert_allclose(found["test"][name], curve, rtol=1e-5)
    scores = xgboost.cv(XGBOOST, train, 20, nfold=3, obj=objective, custom_metric=metric, as_pandas=False)
    assert scores[f"test-{name}-mean"][-1] < scores[f"test-{name}-mean"][0]


@every_name
def test_catboost_metrics(name, weights):
    objective = Objective(name).for_targets(TARGETS[TRAIN], weights[0])
    model = catboost.CatBoostRegressor(loss_function=objective, eval_metric=objective.metric("catboost"), **CATBOOST)
    test = catboost.Pool(FEATURES[TEST], TARGETS[TEST], weight=weights[1])
    model.fit(FEATURES[TRAIN], TARGETS[TRAIN], sample_weight=weights[0], eval_set=test, use_best_model=False)
    curve = next(iter(model.get_evals_result()["validation"].values()))
    assert curve[-1] == pytest.approx(wanted(name, objective, model.predict(FEATURES[TEST]), weights[1]), rel=1e-6)
    assert model.get_best_score()["validation"] == {next(iter(model.get_evals_result()["validation"])): min(curve)}


# Models as objects ----------------------------------------------------------------------------------------------------


def estimators(objective):
    return {
        "lightgbm": lightgbm.LGBMRegressor(objective=objective, n_estimators=20, n_jobs=1, verbose=-1),
        "xgboost": xgboost.XGBRegressor(
            objective=objective, n_estimators=20, n_jobs=1, max_depth=3, learning_rate=0.1, eval_metric=Metric("l1", "xgboost")
        ),
        "catboost": catboost.CatBoostRegressor(
            loss_function=objective.for_targets(TARGETS), eval_metric=Metric("l1", "catboost", scale=1.0), **CATBOOST
        ),
    }


@pytest.mark.parametrize("kind", ["lightgbm", "xgboost", "catboost"])
def test_models_are_copied_cloned_pickled_and_searched(kind, tmp_path):
    model = estimators(Objective())[kind].fit(FEATURES, TARGETS)
    key = "loss_function" if kind == "catboost" else "objective"
    predicted = model.predict(FEATURES)
    assert clone(model).get_params()[key] == model.get_params()[key]
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), clone(model).fit(FEATURES, TARGETS)):
        np.testing.assert_array_equal(other.predict(FEATURES), predicted)
    assert repr(model)
    if kind != "lightgbm":
        model.save_model(tmp_path / "model.json")
    # As far as the search is concerned the unit is new: copies must not remember the one of the first fit.
    choices = [Objective().for_targets(TARGETS * 1000) if kind == "catboost" else Objective(), Objective("mse", scale=1.0)]
    search = GridSearchCV(model, {key: choices}, cv=3, error_score="raise", n_jobs=2)
    search.fit(FEATURES, TARGETS * 1000)
    assert search.best_params_[key] in choices
    assert search.best_score_ > 0.1


# Where they start ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("booster", booster_starts.BOOSTERS)
@pytest.mark.parametrize("loss", ["l1", "huber"])
@pytest.mark.parametrize("targets", ["plain", "+ 1e6"])
def test_from_the_score_rounds_are_as_good_as_those_of_the_own_objective(booster, loss, targets):
    """Or of the own MAE, where the own Huber does not train; a new start does not harm the hundredth round either."""
    found = dict(booster_starts.errors(booster, loss, targets))
    own = found["own"] if loss == "l1" else dict(booster_starts.errors(booster, "l1", targets))["own"]
    assert found["from 0"][0] > 2 * found["score"][0]
    assert found["score"][0] < 1.1 * own[0]
    assert found["score"][1] < 1.1 * own[1]


@pytest.mark.parametrize("booster", booster_starts.BOOSTERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_equal_targets_are_predicted_as_they_are(booster, loss):
    found = dict(booster_starts.errors(booster, loss, "constant", own=False))
    assert found["score"] == [0.0, 0.0]


def test_xgboost_takes_a_score_for_each_target():
    both = np.stack([TARGETS + 1e4, TARGETS[::-1] * 1000], 1)
    start = Objective().initial_score(both[TRAIN])
    model = xgboost.XGBRegressor(objective=Objective(), base_score=start, n_estimators=ROUNDS, max_depth=3, learning_rate=0.1)
    errors = np.abs(model.fit(FEATURES[TRAIN], both[TRAIN]).predict(FEATURES[TEST]) - both[TEST]).mean(0)
    assert errors[0] < 0.9 * MIDDLE


# The manual -----------------------------------------------------------------------------------------------------------

BLOCKS = re.findall(r"^```python\n(.*?)^```", MANUAL.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_manual_works_as_printed(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(BLOCKS[number], names)
    error = names.get("error")
    assert error is not None
    assert error < 0.95 * np.abs(TARGETS - np.median(TARGETS)).mean()


def test_the_manual_has_a_block_for_each():
    assert all(
        any(f"import {booster}" in block or f"from {booster}" in block for block in BLOCKS)
        for booster in ("lightgbm", "xgboost", "catboost")
    )
    assert robust_scale(TARGETS) > 0
