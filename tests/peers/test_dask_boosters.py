"""Objectives on the workers of a Dask cluster, in the Dask interfaces of XGBoost and LightGBM."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster

from cylosses.boosting import Objective


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
        Client(cluster) as connected,
    ):
        yield connected


def train_xgboost(client, objective, X, y):
    booster = pytest.importorskip("xgboost.dask")
    matrix = booster.DaskDMatrix(client, X, y)
    settings = {"min_child_weight": 0, "base_score": 0.0, "tree_method": "hist"}
    trained = booster.train(client, settings, matrix, num_boost_round=50, obj=objective)
    return booster.predict(client, trained, matrix).compute()


def train_lightgbm(client, objective, X, y):
    booster = pytest.importorskip("lightgbm")
    model = booster.DaskLGBMRegressor(client=client, objective=objective, n_estimators=50, verbose=-1)
    return model.fit(X, y).predict(X).compute()


@pytest.mark.filterwarnings("default")  # what the boosters and their clusters warn of is theirs
@pytest.mark.parametrize("train", [train_xgboost, train_lightgbm])
def test_distributed_training(train, client):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 5))
    y = X @ [1.0, 2.0, 3.0, 0.0, 0.0] + rng.standard_t(2, 4000)
    lazy = da.from_array(X, chunks=(1000, 5)), da.from_array(y, chunks=1000)
    objective = Objective("huber").for_targets(lazy[1])
    assert objective == Objective("huber").for_targets(y)
    assert np.abs(train(client, objective, *lazy) - y).mean() < 0.5 * np.abs(y - np.median(y)).mean()
