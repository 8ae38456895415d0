"""Errors of boosters that start from `Objective.initial_score`, beside those that start where they do by themselves.

``python -m tools.booster_starts`` prints the table, and so does ``make test-peers``: mean absolute errors on a test set of
scikit-learn's diabetes data after the first and the hundredth round, with the targets as they are, with 1,000,000 added to
them, and with equal ones. "own" is the booster's own objective (MAE, or Huber with the same delta), "from 0" ours where the
booster starts objectives of one's own, and "score" ours with the initial score handed over as docs/boosting.md shows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cylosses.boosting import Objective

ROUNDS = (1, 100)
CATBOOST = {"learning_rate": 0.1, "thread_count": 1, "verbose": False, "allow_writing_files": False}
CATBOOST |= {"allow_const_label": True, "bootstrap_type": "No"}  # equal targets are an error without
Model = Callable[[Any], np.ndarray]


def lightgbm(objective: Objective, x: Any, y: Any, rounds: int, start: float | None) -> Model:
    from lightgbm import Dataset, train

    data = Dataset(x, y, init_score=None if start is None else np.full(len(y), start))
    model = train({"objective": objective, "verbose": -1, "num_threads": 1}, data, rounds)
    return lambda at: model.predict(at) + (start or 0.0)


def lightgbm_own(objective: Objective, x: Any, y: Any, rounds: int) -> Model:
    from lightgbm import Dataset, train

    own = {"objective": "l1"} if objective.loss == "l1" else {"objective": "huber", "alpha": objective.parameter}
    return train(own | {"verbose": -1, "num_threads": 1}, Dataset(x, y), rounds).predict


def xgboost(objective: Objective, x: Any, y: Any, rounds: int, start: float | None) -> Model:
    from xgboost import XGBRegressor

    settings: dict[str, Any] = {} if start is None else {"base_score": start}
    return XGBRegressor(objective=objective, n_estimators=rounds, n_jobs=1, learning_rate=0.1, **settings).fit(x, y).predict


def xgboost_own(objective: Objective, x: Any, y: Any, rounds: int) -> Model:
    from xgboost import XGBRegressor

    own: dict[str, Any] = {"objective": "reg:absoluteerror"}
    if objective.loss != "l1":
        own = {"objective": "reg:pseudohubererror", "huber_slope": objective.parameter}
    return XGBRegressor(n_estimators=rounds, n_jobs=1, learning_rate=0.1, **own).fit(x, y).predict


def catboost(objective: Objective, x: Any, y: Any, rounds: int, start: float | None) -> Model:
    from catboost import Pool, train

    settings = {"loss_function": objective, "eval_metric": "MAE", **CATBOOST, "iterations": rounds}
    data = Pool(x, y, baseline=None if start is None else np.full(len(y), start))
    model = train(data, settings)
    return lambda at: model.predict(at) + (start or 0.0)


def catboost_own(objective: Objective, x: Any, y: Any, rounds: int) -> Model:
    from catboost import Pool, train

    own = "MAE" if objective.loss == "l1" else f"Huber:delta={objective.parameter}"
    settings = {"loss_function": own, **CATBOOST, "iterations": rounds}
    return train(Pool(x, y), settings).predict


BOOSTERS = {"LightGBM": (lightgbm, lightgbm_own), "XGBoost": (xgboost, xgboost_own), "CatBoost": (catboost, catboost_own)}


def data() -> tuple[Any, Any, dict[str, tuple[Any, Any]]]:
    """Return the features for training and test, and the targets of both, as they are, far away and without spread."""
    from sklearn.datasets import load_diabetes
    from sklearn.model_selection import train_test_split

    x, x_test, y, y_test = train_test_split(*load_diabetes(return_X_y=True), random_state=0)
    constants = np.full(len(y), 152.25), np.full(len(y_test), 152.25)
    return x, x_test, {"plain": (y, y_test), "+ 1e6": (y + 1e6, y_test + 1e6), "constant": constants}


def errors(booster: str, loss: str, targets: str, own: bool = True) -> Iterator[tuple[str, list[float]]]:
    """Yield the names of the starts, with or without the booster's own, and the test errors after each number of rounds."""
    x, x_test, of_targets = data()
    y, y_test = of_targets[targets]
    objective = Objective(loss).for_targets(y)
    fit_ours, fit_own = BOOSTERS[booster]
    fits: dict[str, Callable[[int], Model]] = {"own": lambda rounds: fit_own(objective, x, y, rounds)} if own else {}
    fits |= {
        "from 0": lambda rounds: fit_ours(objective, x, y, rounds, None),
        "score": lambda rounds: fit_ours(objective, x, y, rounds, objective.initial_score(y)),
    }
    for name, fit in fits.items():
        yield name, [float(np.abs(fit(rounds)(x_test) - y_test).mean()) for rounds in ROUNDS]


def main() -> None:
    print(f"| booster | loss | targets | {' | '.join(f'{n}, round {r}' for n in ('own', 'from 0', 'score') for r in ROUNDS)} |")
    print("|---|---|---|" + "--:|" * 3 * len(ROUNDS))
    for booster in BOOSTERS:
        for loss in ("l1", "huber"):
            for targets in ("plain", "+ 1e6", "constant"):
                cells = [f"{error:.1f}" for _, each in errors(booster, loss, targets) for error in each]
                print(f"| {booster} | {loss} | {targets} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
