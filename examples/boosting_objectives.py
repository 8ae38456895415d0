"""
Robust objectives for LightGBM, XGBoost and CatBoost
====================================================

One objective for all three. Its parameter comes from the targets' scale, its curvature makes steps of the right
length where the loss is linear, and `initial_score` is where the booster best starts.
"""

import numpy as np
from catboost import CatBoostRegressor
from lightgbm import LGBMRegressor
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from xgboost import XGBRegressor

from cylosses.boosting import Objective

# %%
# The diabetes data, with one training target in twenty far off.

X, X_test, y, y_test = train_test_split(*load_diabetes(return_X_y=True), random_state=0)
wrong = np.random.default_rng(0).random(len(y)) < 0.05
y[wrong] += 15 * y.std()

objective = Objective("smooth_l1").for_targets(y)
start = objective.initial_score(y)
print(f"beta {objective.parameter:.1f}, from {start:.1f}")

# %%
# A line for each booster, and the same with its default, squared errors.

lightgbm = LGBMRegressor(objective=objective, verbose=-1).fit(X, y, init_score=np.full(len(y), start))
xgboost = XGBRegressor(objective=objective, base_score=start, learning_rate=0.1).fit(X, y)
catboost = CatBoostRegressor(loss_function=objective, eval_metric="MAE", verbose=False, allow_writing_files=False)
catboost.fit(X, y, baseline=np.full(len(y), start))
robust = {
    "LightGBM": lightgbm.predict(X_test) + start,
    "XGBoost": xgboost.predict(X_test),
    "CatBoost": catboost.predict(X_test) + start,
}
squares = {
    "LightGBM": LGBMRegressor(verbose=-1).fit(X, y).predict(X_test),
    "XGBoost": XGBRegressor(learning_rate=0.1).fit(X, y).predict(X_test),
    "CatBoost": CatBoostRegressor(verbose=False, allow_writing_files=False).fit(X, y).predict(X_test),
}

# %%
# The mean absolute error of the test targets, which are right.

for name in robust:
    errors = [abs(predicted[name] - y_test).mean() for predicted in (robust, squares)]
    print(f"{name:>8}: smooth L1 {errors[0]:.1f}, squares {errors[1]:.1f}")
