"""The estimator, the metrics and the scorers for scikit-learn, the page about them, and the example of an own estimator."""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import io
import math
import pickle
import re
import runpy
import subprocess
import sys
import tracemalloc
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import scipy.sparse
from sklearn import metrics
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import HuberRegressor, QuantileRegressor, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from cylosses import (
    LOSSES,
    CharbonnierLoss,
    EpsilonInsensitiveLoss,
    HuberLoss,
    PseudoHuberLoss,
    QuantileLoss,
    SmoothL1Loss,
    sklearn,
)
from cylosses._cli import stackloss
from cylosses._fit import design, surrogates
from cylosses.sklearn import SCORERS, SmoothL1Regressor

ROOT = Path(__file__).parent.parent
PACKAGE = Path(sklearn.__file__).parent
CONVEX = sorted(name for name, cls in LOSSES.items() if cls.convex)
SMOOTH = [name for name in CONVEX if not LOSSES[name].kinked]
NOT_CONVEX = [name for name, cls in LOSSES.items() if not cls.convex]


@pytest.fixture
def data(rng):
    """A linear model with heavy-tailed errors: X, y, weights."""
    X = rng.normal(size=(200, 4)) * [1.0, 100.0, 0.01, 1.0] + [0.0, 3000.0, 1.0, -5.0]
    y = X @ [1.0, -0.02, 50.0, 0.0] + 7.0 + rng.standard_t(2, 200)
    return X, y, rng.uniform(0.5, 2, 200)


def objective(loss, model, X, y, alpha=0.0, weight=None):
    """The objective as the documentation has it, from the losses of the elements."""
    losses = type(loss)(**{**loss._settings(), "reduction": "none"})(X @ model.coef_ + model.intercept_, y)
    return np.average(losses, weights=weight) + alpha / 2 * model.coef_ @ model.coef_


# The estimator as scikit-learn wants it ------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"fit_intercept": False, "loss": "pseudo_huber"}])
def test_check_estimator(options):
    results = check_estimator(SmoothL1Regressor(**options), on_skip=None)
    # Skipped unless the environment variable SCIPY_ARRAY_API is set.
    # Which skips itself where the array API is not switched on; scikit-learn 1.8 does not have it.
    others = {r["check_name"]: r["status"] for r in results if r["status"] != "passed"}
    assert others in ({}, {"check_array_api_input": "skipped"})
    assert len(results) > 50
    assert not any(result["expected_to_fail"] for result in results)


def test_pipeline_grid_search_and_cross_validation(data):
    X, y, weight = data
    grid = {
        "smoothl1regressor__loss": [HuberLoss(delta=1.0), "l1", SmoothL1Loss(beta=0.5)],
        "smoothl1regressor__alpha": [0.0, 1e4],
    }
    model = make_pipeline(StandardScaler(), SmoothL1Regressor())
    search = GridSearchCV(model, grid, scoring=SCORERS, refit="neg_mean_l1_error", cv=3, n_jobs=2)
    search.fit(X, y, smoothl1regressor__sample_weight=weight)
    assert search.best_params_["smoothl1regressor__alpha"] == 0
    assert {f"mean_test_{name}" for name in SCORERS} <= search.cv_results_.keys()
    scores = cross_val_score(model, X, y, scoring=sklearn.neg_mean_huber_error_scorer, cv=3)
    assert scores.shape == (3,)
    assert (scores < 0).all()


def test_clone_pickle_and_joblib(data):
    X, y, _ = data
    model = SmoothL1Regressor(HuberLoss(delta=2.0), alpha=0.5, n_threads=1)
    assert clone(model).get_params() == model.get_params()
    assert clone(model).loss == HuberLoss(delta=2.0)
    model.fit(X, y)
    assert (pickle.loads(pickle.dumps(model)).predict(X) == model.predict(X)).all()
    with joblib.parallel_config(backend="threading", n_jobs=3):
        fits = joblib.Parallel()(joblib.delayed(clone(model).fit)(X, y) for _ in range(3))
    assert all((fit.coef_ == model.coef_).all() for fit in fits)


def test_feature_names(data):
    X, y, _ = data
    model = SmoothL1Regressor().fit(pd.DataFrame(X, columns=list("abcd")), y)
    assert model.feature_names_in_.tolist() == list("abcd")
    assert model.n_features_in_ == 4
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(pd.DataFrame(X, columns=list("abce")))


def test_not_fitted():
    with pytest.raises(NotFittedError):
        SmoothL1Regressor().predict([[1.0]])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        *(({"loss": name}, ValueError, f"loss={name!r} is not convex") for name in NOT_CONVEX),
        ({"loss": LOSSES["tukey"](c=2.0)}, ValueError, "loss='tukey' is not convex"),
        ({"loss": "hubert"}, ValueError, "loss must be one of charbonnier, .*smooth_l1, or a loss object; got 'hubert'"),
        ({"loss": HuberLoss}, TypeError, "loss must be the name of a loss or a loss object"),
        ({"loss": HuberLoss("sum")}, ValueError, "loss must have reduction='mean'"),
        ({"loss": "huber", "beta": 2.0}, ValueError, "beta=2.0 belongs to loss='smooth_l1'"),
        ({"loss": SmoothL1Loss(beta=2.0), "beta": 3.0}, ValueError, "beta=3.0 belongs to"),
        ({"beta": -1.0}, ValueError, "beta must be at least 0, got -1.0"),
        ({"alpha": -0.5}, ValueError, "alpha must be finite and at least 0, got -0.5"),
        ({"alpha": math.inf}, ValueError, "alpha must be finite"),
        ({"alpha": "1"}, TypeError, "alpha must be a number of at least 0, got '1'"),
        ({"tol": math.nan}, ValueError, "tol must be finite and at least 0, got nan"),
        ({"max_iter": 0}, ValueError, "max_iter must be at least 1, got 0"),
        ({"max_iter": 10.0}, TypeError, "max_iter must be an int of at least 1, got 10.0"),
        ({"n_threads": -1}, ValueError, "n_threads must be at least 1, got -1"),
    ],
)
def test_bad_parameters(options, error, message):
    with pytest.raises(error, match=message):
        SmoothL1Regressor(**options).fit([[1.0], [2.0]], [1.0, 2.0])


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1.0, -1.0], "sample_weight must not be negative, got .*-1.0"),
        ([0.0, 0.0], "every sample_weight is zero"),
        ([1.0, 1.0, 1.0], r"sample_weight must have the shape \(2,\), got \(3,\)"),
        ([1.0, math.nan], "sample_weight contains NaN"),
        ([[1.0], [2.0]], "Sample weights must be 1D array or scalar, got 2D array"),
    ],
)
def test_bad_weights(weight, message):
    with pytest.raises(ValueError, match=message):
        SmoothL1Regressor().fit([[1.0], [2.0]], [1.0, 2.0], weight)


@pytest.mark.parametrize("make", [scipy.sparse.csr_array, scipy.sparse.coo_matrix])
def test_sparse_targets_are_refused_with_advice(make):
    with pytest.raises(TypeError, match=rf"y must be dense, got {make.__name__}: pass y\.toarray\(\)"):
        SmoothL1Regressor().fit([[1.0], [2.0]], make([[1.0], [2.0]]))


@pytest.mark.parametrize("loss", ["mse", "l1", "huber"])
def test_targets_out_of_range_are_refused(loss):
    with pytest.raises(ValueError, match="the loss of y leaves the range of float64"):
        SmoothL1Regressor(loss).fit([[1.0], [2.0], [4.0]], [1e308, -1e308, 1e308])


@pytest.mark.parametrize("package", ["sklearn", "scipy"])
def test_a_missing_package_names_the_extra(package):
    script = f"import sys; sys.modules[{package!r}] = None; import cylosses; print('core'); import cylosses.sklearn"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=PACKAGE.parent, timeout=60
    )
    assert result.stdout == "core\n"
    name = {"sklearn": "scikit-learn"}.get(package, package)
    expected = f"ImportError: cylosses.sklearn needs the package {name}: pip install 'cylosses[sklearn]'"
    assert result.stderr.strip().splitlines()[-1] == expected


# The optimum ---------------------------------------------------------------------------------------------------------

STACKLOSS = stackloss.load_stackloss()


@pytest.mark.parametrize("form", [np.asarray, np.asfortranarray, scipy.sparse.csr_array, scipy.sparse.csc_matrix, np.float32])
def test_stack_loss_gives_the_published_estimate(form):
    model = SmoothL1Regressor(beta=stackloss.BETA, alpha=0).fit(form(STACKLOSS.predictors), STACKLOSS.response)
    assert round(float(model.intercept_), 4) == -41.0265
    assert np.round(model.coef_.astype(float), 5).tolist() == [0.82938, 0.92607, -0.12785]


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_squares_are_ridge_regression(alpha, fit_intercept, data):
    X, y, weight = data
    model = SmoothL1Regressor("mse", alpha=alpha, fit_intercept=fit_intercept).fit(X, y, weight)
    # Ridge has the sum of squares, and alpha without 1/2.
    ridge = Ridge(alpha=alpha * weight.sum() / 2, fit_intercept=fit_intercept, solver="cholesky").fit(X, y, weight)
    assert model.coef_ == pytest.approx(ridge.coef_, rel=1e-6)
    assert model.intercept_ == pytest.approx(ridge.intercept_, rel=1e-6)


@pytest.mark.parametrize("make", [np.asarray, scipy.sparse.csr_array])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_losses_end_in_a_stationary_point(name, alpha, make, data):
    X, y, weight = data
    model = SmoothL1Regressor(name, alpha=alpha).fit(make(X), y, weight)
    # From numerical derivatives of the losses.
    loss, step = LOSSES[name](reduction="none"), 1e-6
    pred = X @ model.coef_ + model.intercept_
    pulls = (loss(pred + step, y) - loss(pred - step, y)) / (2 * step) * weight / weight.sum()
    by_coef, scale = pulls @ X + alpha * model.coef_, np.abs(pulls) @ np.abs(X)
    assert np.abs(by_coef / scale).max() < 1e-5
    assert abs(pulls.sum()) < 1e-5 * np.abs(pulls).sum()


@pytest.mark.parametrize("q", [0.1, 0.5, 0.75])
def test_quantiles_are_near_the_linear_program(q, data):
    X, y, weight = data
    loss = QuantileLoss(q=q)
    model, exact = SmoothL1Regressor(loss, alpha=0).fit(X, y, weight), QuantileRegressor(quantile=q, alpha=0).fit(X, y, weight)
    gap = objective(loss, model, X, y, weight=weight) - objective(loss, exact, X, y, weight=weight)
    assert -1e-9 < gap < 5e-5 * np.average(np.abs(y - exact.predict(X)), weights=weight)
    if q == 0.5:
        assert SmoothL1Regressor("l1", alpha=0).fit(X, y, weight).coef_ == pytest.approx(model.coef_, rel=1e-4)
        assert SmoothL1Regressor(beta=0, alpha=0).fit(X, y, weight).coef_ == pytest.approx(model.coef_, rel=1e-4)


def test_epsilon_insensitive_is_near_the_linear_program(data):
    X, y, _ = data
    loss, n, p = EpsilonInsensitiveLoss(epsilon=0.7), *X.shape
    # Unknowns: w, b, and for each sample the loss, at least 0, y - x w - b - epsilon and its opposite.
    design = np.column_stack([X, np.ones(n)])
    above, below = np.hstack([-design, -np.eye(n)]), np.hstack([design, -np.eye(n)])
    limits = np.concatenate([-y + loss.epsilon, y + loss.epsilon])
    cost = np.concatenate([np.zeros(p + 1), np.full(n, 1 / n)])
    bounds = [(None, None)] * (p + 1) + [(0, None)] * n
    least = scipy.optimize.linprog(cost, np.vstack([above, below]), limits, bounds=bounds).fun
    model = SmoothL1Regressor(loss, alpha=0).fit(X, y)
    assert -1e-9 < objective(loss, model, X, y) - least < 5e-5 * np.abs(y - model.predict(X)).mean()


def test_a_loss_turns_where_its_parameter_says():
    found = {name: surrogates.half_width(cls()) for name, cls in LOSSES.items() if name in CONVEX}
    assert found == pytest.approx({name: 0.0 if LOSSES[name].kinked else LOSSES[name].default or math.inf for name in CONVEX})


@pytest.mark.parametrize(
    "loss", [SmoothL1Loss(beta=1e-4), HuberLoss(delta=1e-3), PseudoHuberLoss(delta=1e-3), CharbonnierLoss(eps=1e-4)]
)
def test_sharp_losses_converge(loss, data):
    X, y, _ = data
    model = SmoothL1Regressor(loss, alpha=0).fit(X, y)
    exact = QuantileRegressor(quantile=0.5, alpha=0).fit(X, y)
    assert model.coef_ == pytest.approx(exact.coef_, rel=0.02, abs=1e-2)
    assert objective(loss, model, X, y) <= objective(loss, exact, X, y) * (1 + 1e-9)


def test_huber_regressor_agrees_at_its_scale(data):
    X, y, _ = data
    X = StandardScaler().fit_transform(X)
    theirs = HuberRegressor(epsilon=1.5, alpha=0, tol=1e-9, max_iter=1000).fit(X, y)
    ours = SmoothL1Regressor(beta=1.5 * theirs.scale_, alpha=0).fit(X, y)
    assert ours.predict(X) == pytest.approx(theirs.predict(X), abs=1e-3)  # they stop short of their tol


@pytest.mark.parametrize("name", CONVEX)
def test_units_do_not_matter(name, data):
    X, y, _ = data
    default = LOSSES[name].default
    in_units = LOSSES[name].parameter_is_length
    plain = SmoothL1Regressor(LOSSES[name](), alpha=0).fit(X, y)
    scaled_loss = LOSSES[name](**{LOSSES[name].parameter_name: default * 1024.0}) if in_units else LOSSES[name]()
    scaled = SmoothL1Regressor(scaled_loss, alpha=0).fit(X * 2.0**-20, y * 1024.0)
    assert scaled.coef_ * 2.0**-30 == pytest.approx(plain.coef_, rel=1e-4, abs=1e-5)
    assert abs(scaled.n_iter_ - plain.n_iter_) <= 10


def test_collinear_constant_and_far_features_cost_no_iterations(rng):
    n = 500
    x, far, constant = rng.normal(size=(n, 3)), 1.6e9 + 1e5 * rng.normal(size=n), np.full(n, 7.1)
    X = np.column_stack([x, x.sum(axis=1) + 1e-3 * rng.normal(size=n), constant, far, x[:, 0]])
    y = X @ [1, 2, 3, 4, 0, 1e-5, 0] + rng.standard_t(2, n)
    model = SmoothL1Regressor(alpha=0).fit(X, y)
    assert model.n_iter_ < 30
    assert model.coef_[4] == 0
    # The same model without the features that add nothing, in units of their own.
    Z = np.column_stack([x, (X[:, 3] - x.sum(axis=1)) * 1e3, (far - 1.6e9) / 1e5])
    assert model.predict(X) == pytest.approx(SmoothL1Regressor(alpha=0).fit(Z, y).predict(Z), abs=1e-4)


@pytest.mark.parametrize("name", CONVEX)
def test_degenerate_data(name):
    X = np.array([[1.0, 2.0], [2.0, 1.0], [4.0, 4.0]])
    exact = SmoothL1Regressor(name, alpha=0).fit(X, X @ [1.0, 2.0] + 3.0)  # as many unknowns as samples
    assert exact.predict(X) == pytest.approx(X @ [1.0, 2.0] + 3.0, abs=0.11 if name == "epsilon_insensitive" else 1e-4)
    constant = SmoothL1Regressor(name).fit(X, [5.0, 5.0, 5.0])
    assert constant.predict(X) == pytest.approx([5.0] * 3, abs=1e-6)
    single = SmoothL1Regressor(name, n_threads=2).fit(X[:1], [2.0])
    assert single.predict(X[:1]) == pytest.approx([2.0], abs=0.11)


# Weights, dtypes, layouts, threads -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [np.asarray, scipy.sparse.csr_array])
@pytest.mark.parametrize("name", SMOOTH)
def test_weight_0_is_removal_and_weight_k_is_repetition(name, make, data, rng):
    X, y, _ = data
    weight = rng.integers(0, 4, len(y))
    y = np.where(weight == 0, 1e12, y)
    weighted = SmoothL1Regressor(name).fit(make(X), y, weight)
    repeated = SmoothL1Regressor(name).fit(make(np.repeat(X, weight, axis=0)), np.repeat(y, weight))
    assert weighted.predict(X) == pytest.approx(repeated.predict(X), abs=1e-4)
    scaled = SmoothL1Regressor(name).fit(make(X), y, weight * 0.125)
    assert scaled.predict(X) == pytest.approx(weighted.predict(X), abs=1e-4)


@pytest.mark.parametrize("unit", [2.0**1022, 2.0**-1074, 2.0**300])
@pytest.mark.parametrize("name", ["smooth_l1", "quantile"])
def test_only_the_ratios_of_weights_matter(name, unit, data, monkeypatch):
    """To the bit for powers of two, however large or small; also where a sample of the rows gives the start."""
    X, y, _ = data
    weight = np.arange(len(y)) % 3.0
    for block_bytes in (design.BLOCK_BYTES, 512):
        monkeypatch.setattr(design, "BLOCK_BYTES", block_bytes)
        expected = SmoothL1Regressor(name).fit(X, y, weight)
        scaled = SmoothL1Regressor(name).fit(X, y, weight * unit)
        assert scaled.coef_.tobytes() == expected.coef_.tobytes()
        assert scaled.intercept_ == expected.intercept_
    for equal in (1e308, 5e-324, np.float32(1e-45), np.float32(3e38)):
        alike = SmoothL1Regressor(name).fit(X, y, np.full(len(y), equal))
        assert alike.predict(X) == pytest.approx(SmoothL1Regressor(name).fit(X, y).predict(X), abs=1e-4)


def test_float32_stays_float32(data):
    X, y, weight = (array.astype(np.float32) for array in data)
    model = SmoothL1Regressor().fit(X, y, weight)
    assert (model.coef_.dtype, model.intercept_.dtype, model.predict(X).dtype) == (np.float32,) * 3
    double = SmoothL1Regressor().fit(X.astype(np.float64), y.astype(np.float64), weight.astype(np.float64))
    assert double.coef_.dtype == np.float64
    assert (model.coef_ == double.coef_.astype(np.float32)).all()
    assert model.n_iter_ == double.n_iter_
    sparse = SmoothL1Regressor().fit(scipy.sparse.csr_array(X), y, weight)
    assert sparse.coef_.dtype == np.float32
    assert sparse.coef_ == pytest.approx(model.coef_, rel=1e-5)


@pytest.mark.parametrize("make", [np.asarray, np.asfortranarray, lambda X: np.repeat(X, 2, axis=1)[:, ::2], scipy.sparse.csr_array])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_copy_of_the_features_is_made(dtype, make, rng):
    dense = rng.normal(size=(100_000, 16)).astype(dtype)
    y = dense @ np.ones(16, dtype)
    X = make(dense)
    tracemalloc.start()
    try:
        SmoothL1Regressor(n_threads=1, tol=1e-2).fit(X, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < dense.nbytes * 0.8
    assert peak < 5 * design.BLOCK_BYTES


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", [np.asarray, np.asfortranarray, scipy.sparse.csr_array])
@pytest.mark.parametrize("loss", ["smooth_l1", "quantile"])
def test_threads_change_no_bit_and_blocks_hardly_any(loss, make, dtype, data, monkeypatch):
    X, y, weight = data
    X = make(X.astype(dtype))
    whole = SmoothL1Regressor(loss).fit(X, y, weight)
    monkeypatch.setattr(design, "BLOCK_BYTES", 1024)
    fits = [SmoothL1Regressor(loss, n_threads=n).fit(X, y, weight) for n in (1, 2, 5)]
    assert len(design.Design(X, 5).slices) > 5
    for fit in fits[1:]:
        assert fit.coef_.tobytes() == fits[0].coef_.tobytes()
        assert fit.intercept_ == fits[0].intercept_
    assert fits[0].coef_ == pytest.approx(whole.coef_, rel=1e-4 if loss == "quantile" else 1e-5, abs=1e-6)


def test_a_sample_saves_evaluations(rng, monkeypatch):
    X = rng.normal(size=(20_000, 4))
    Y = (X @ [1.0, 50.0, 2.0, 3.0])[:, None] + rng.standard_t(2, (20_000, 5))
    whole = SmoothL1Regressor().fit(X, Y)
    monkeypatch.setattr(design, "BLOCK_BYTES", 16384)
    assert SmoothL1Regressor().fit(X, Y).n_evaluations_.sum() < whole.n_evaluations_.sum()


@pytest.mark.parametrize("make", [np.asarray, scipy.sparse.csr_array])
@pytest.mark.parametrize("loss", ["smooth_l1", "l1", "charbonnier", "mse"])
def test_a_fit_of_many_rows_starts_from_a_sample(loss, make, rng, monkeypatch):
    """What the sample does not show is found all the same: a rare feature, an outlier in a feature, rows without weight."""
    n = 4000
    X = rng.normal(size=(n, 4))
    X[:, 1] = np.arange(n) == 77
    X[123, 2] = 1e4
    y = X @ [1.0, 50.0, 2.0, 3.0] + rng.standard_t(2, n)
    weight = np.where(np.arange(n) < n // 2, 0.0, rng.uniform(1, 2, n))
    weight[77] = 1.0
    monkeypatch.setattr(design, "BLOCK_BYTES", 1024)
    for of_rows in (None, weight):
        assert design.Design(make(X), 1).sample() is not None
        sampled = SmoothL1Regressor(loss, alpha=0).fit(make(X), y, of_rows)
        with monkeypatch.context() as patch:
            patch.setattr(design, "SAMPLE_BLOCKS", n)
            assert design.Design(make(X), 1).sample() is None
            whole = SmoothL1Regressor(loss, alpha=0).fit(make(X), y, of_rows)
        assert sampled.coef_ == pytest.approx(whole.coef_, rel=1e-3, abs=1e-4)
    only = np.where(np.arange(n) == 40, 1.0, 0.0)
    assert SmoothL1Regressor(loss, alpha=1e-9).fit(make(X), y, only).predict(make(X[40:41])) == pytest.approx(y[40], abs=1e-3)


def test_many_and_sparse_features(rng, monkeypatch):
    """Beyond what second moments of all pairs are made for: their diagonal serves."""
    X = scipy.sparse.random_array((300, 40), density=0.2, rng=rng, format="csr")
    y = X @ rng.normal(size=40) + rng.standard_t(2, 300)
    for make in (scipy.sparse.csr_array, lambda X: X.toarray()):
        pairs = SmoothL1Regressor().fit(make(X), y)
        with monkeypatch.context() as patch:
            patch.setattr(design, "GRAM_FEATURES", 10)
            diagonal = SmoothL1Regressor(tol=1e-7).fit(make(X), y)
            assert not design.Design(make(X), 1).pairs
        assert diagonal.coef_ == pytest.approx(pairs.coef_, abs=1e-4)
        assert diagonal.intercept_ == pytest.approx(pairs.intercept_, abs=1e-4)


# Outputs, warm starts, convergence -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_each_output_is_fitted_on_its_own(fit_intercept, data):
    X, y, weight = data
    Y = np.column_stack([y, -2 * y, np.arange(len(y))])
    model = SmoothL1Regressor(fit_intercept=fit_intercept).fit(X, Y, weight)
    assert model.coef_.shape == (3, 4)
    assert model.intercept_.shape == model.n_iter_.shape == model.n_evaluations_.shape == (3,)
    assert model.predict(X).shape == Y.shape
    for k in range(3):
        alone = SmoothL1Regressor(fit_intercept=fit_intercept).fit(X, Y[:, k], weight)
        assert (alone.coef_ == model.coef_[k]).all()
        assert (alone.intercept_, alone.n_iter_) == (model.intercept_[k], model.n_iter_[k])
        assert isinstance(alone.n_iter_, int)
    column = SmoothL1Regressor(fit_intercept=fit_intercept).fit(X, y[:, None], weight)
    assert (column.coef_ == model.coef_[:1]).all()
    assert column.predict(X).shape == (len(y), 1)


@pytest.mark.parametrize("name", CONVEX)
def test_a_warm_start_starts_where_the_last_fit_ended(name, data):
    X, y, _ = data
    model = SmoothL1Regressor(name, warm_start=True).fit(X, y)
    cold, coef = model.n_iter_, model.coef_
    model.fit(X, y)
    assert model.n_iter_ < cold
    assert model.coef_ == pytest.approx(coef, rel=1e-3, abs=1e-4)
    with pytest.raises(ValueError, match="warm_start=True needs the shapes of the last fit: it had 1 outputs and 4 features"):
        model.fit(X[:, :2], y)


@pytest.mark.parametrize("loss", ["smooth_l1", "l1", "charbonnier"])
def test_too_few_iterations_are_a_warning_that_says_what_to_do(loss, data):
    X, y, _ = data
    for max_iter in (1, 2, 5):
        model = SmoothL1Regressor(loss, max_iter=max_iter)
        with pytest.warns(
            ConvergenceWarning, match=rf"in max_iter={max_iter} iterations: increase max_iter, or tol .*tol=1e-06"
        ) as caught:
            model.fit(X, y)
        assert Path(caught[0].filename) == Path(__file__)
        assert model.n_iter_ == max_iter


# Metrics and scorers -------------------------------------------------------------------------------------------------


def test_there_is_a_metric_and_a_scorer_for_each_loss():
    assert set(SCORERS) == {f"neg_mean_{name}_error" for name in LOSSES}
    names = {f"mean_{name}_error" for name in LOSSES} | {f"neg_mean_{name}_error_scorer" for name in LOSSES}
    assert set(sklearn.__all__) == names | {"SCORERS", "SmoothL1Regressor"}
    assert all(getattr(sklearn, f"{name}_scorer") is scorer for name, scorer in SCORERS.items())


def test_the_types_have_the_signatures_of_the_metrics():
    stub = ast.parse((PACKAGE / "_sklearn_metrics.pyi").read_text(encoding="utf-8"))
    described = {node.name: node for node in stub.body if isinstance(node, ast.FunctionDef)}
    assert set(described) == {f"mean_{name}_error" for name in LOSSES}
    for name, node in described.items():
        signature = inspect.signature(getattr(sklearn, name))
        arguments = node.args
        assert [a.arg for a in (*arguments.args, *arguments.kwonlyargs)] == list(signature.parameters)
        assert [ast.literal_eval(default) for default in arguments.kw_defaults] == [
            p.default for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY
        ]
    exported = [
        ast.literal_eval(node.value) for node in stub.body if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"
    ]
    assert set(exported[0]) == set(sklearn.__all__) - {"SmoothL1Regressor"}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_are_the_means_of_the_losses(name, weighted, rng):
    true, pred = rng.normal(size=(2, 50, 3))
    weight = rng.integers(0, 3, 50).astype(float) if weighted else None
    metric, cls = getattr(sklearn, f"mean_{name}_error"), LOSSES[name]
    losses = cls(reduction="none")(pred, true)
    raw = metric(true, pred, sample_weight=weight, multioutput="raw_values")
    assert raw == pytest.approx(np.average(losses, axis=0, weights=weight), rel=1e-13)
    assert metric(true, pred, sample_weight=weight) == pytest.approx(raw.mean(), rel=1e-13)
    assert metric(true, pred, sample_weight=weight, multioutput=[1, 0, 3]) == pytest.approx((raw[0] + 3 * raw[2]) / 4, rel=1e-13)
    assert isinstance(metric(true, pred), float)
    assert metric(true[:, 0], pred[:, :1]) == cls()(pred[:, 0], true[:, 0])
    if cls.parameter_name is not None:
        setting = {cls.parameter_name: 0.25}
        assert metric(true[:, 0], pred[:, 0], **setting) == cls(**setting)(pred[:, 0], true[:, 0])


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("l1", metrics.mean_absolute_error), ("mse", metrics.mean_squared_error), ("quantile", metrics.mean_pinball_loss)],
)
@pytest.mark.parametrize("multioutput", ["raw_values", "uniform_average", [0.2, 0.8]])
def test_metrics_agree_with_those_of_scikit_learn(name, theirs, multioutput, rng):
    true, pred = rng.normal(size=(2, 50, 2))
    ours = getattr(sklearn, f"mean_{name}_error")
    for weight in (None, rng.random(50)):
        options = {"sample_weight": weight, "multioutput": multioutput}
        assert ours(true, pred, **options) == pytest.approx(theirs(true, pred, **options), rel=1e-13)


def test_metrics_of_extreme_weights():
    for weight in (1e308, 5e-324, 2.0):
        for share in (1e308, 5e-324, 2.0):
            error = sklearn.mean_l1_error(
                [[0.0, 0.0], [0.0, 0.0]], [[1.0, 3.0], [2.0, 6.0]], sample_weight=[weight] * 2, multioutput=[share] * 2
            )
            assert error == 3.0
    assert sklearn.mean_l1_error([[0.0, 0.0]], [[1.5e308, 1.5e308]], multioutput=[1, 1]) == 1.5e308


@pytest.mark.parametrize("name", LOSSES)
def test_scorers(name, data):
    X, y, weight = data
    model = SmoothL1Regressor().fit(X, y)
    scorer, metric = SCORERS[f"neg_mean_{name}_error"], getattr(sklearn, f"mean_{name}_error")
    assert scorer(model, X, y) == -metric(y, model.predict(X))
    assert scorer(model, X, y, sample_weight=weight) == -metric(y, model.predict(X), sample_weight=weight)
    assert pickle.loads(pickle.dumps(scorer))(model, X, y) == scorer(model, X, y)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1.0, 2.0], [1.0]), {}, "inconsistent numbers of samples"),
        (([[1.0, 2.0]], [[1.0]]), {}, "must have as many outputs, got 2 and 1"),
        (([1.0, math.nan], [1.0, 2.0]), {}, "y_true contains NaN"),
        (([1.0, 2.0], [1.0, math.inf]), {}, "y_pred contains infinity"),
        (([1.0], [2.0]), {"multioutput": "all"}, "multioutput must be 'raw_values', 'uniform_average' or an array, got 'all'"),
        (([1.0], [2.0]), {"multioutput": [1.0, 2.0]}, r"multioutput must have the shape \(1,\)"),
        (([1.0], [2.0]), {"multioutput": [0.0]}, "multioutput must hold weights that are not negative and not all 0"),
        (([1.0], [2.0]), {"multioutput": [-1.0]}, "multioutput must hold weights that are not negative and not all 0"),
        (([1.0], [2.0]), {"sample_weight": [-1.0]}, "sample_weight must not be negative, got -1.0"),
        (([1.0], [2.0]), {"sample_weight": [math.nan]}, "sample_weight contains NaN"),
        (([1.0], [2.0]), {"sample_weight": [math.inf]}, "sample_weight contains infinity"),
        (([1.0], [2.0]), {"sample_weight": [1.0, 2.0]}, "inconsistent numbers of samples"),
        (([1.0], [2.0]), {"sample_weight": [[1.0]]}, "Sample weights must be 1D array or scalar, got 2D array"),
        (([1.0], [2.0]), {"sample_weight": [0.0]}, "every sample_weight is zero"),
        (([1.0], [2.0]), {"delta": -1.0}, "delta must be positive, got -1.0"),
    ],
)
def test_bad_arguments_of_metrics(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        sklearn.mean_huber_error(*arguments, **options)


# The page and the example --------------------------------------------------------------------------------------------


def test_the_page_works_as_printed():
    """Each line that prints has what it prints in a comment."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "scikit-learn.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    source = "\n".join(blocks)
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(source, "docs/scikit-learn.md", "exec"), names)
    expected = [line.rpartition("  # ")[2] for line in source.splitlines() if line.startswith("print(")]
    assert printed.getvalue().splitlines() == expected
    assert names["scorer"](names["model"], names["X"], names["y"]) < 0


def test_the_own_estimator(rng, capsys, monkeypatch):
    path = ROOT / "examples" / "own_estimator.py"
    monkeypatch.syspath_prepend(str(path.parent))
    estimator = importlib.import_module("own_estimator").NonNegativeRegressor
    results = check_estimator(estimator(), on_skip=None)
    assert {r["status"] for r in results if r["check_name"] != "check_array_api_input"} == {"passed"}
    X = rng.normal(size=(300, 3))
    y = X @ [2.0, -1.0, 1.0] + 3.0
    y[::50] = 1000.0
    model = estimator().fit(X, y)
    assert model.coef_[1] == 0
    assert model.coef_ == pytest.approx([2, 0, 1], abs=0.3)
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out == "[1.98 0.   1.01]\n"
