"""
A linear model that outliers do not bend
========================================

`SmoothL1Regressor` is an estimator for scikit-learn: it goes into pipelines, searches and cross-validation, and
fits any convex loss.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV

from cylosses import QuantileLoss
from cylosses.sklearn import SCORERS, SmoothL1Regressor

# %%
# Sixty springs under loads in kg: 2 mm of elongation per kg, and 1 mm before. Five were recorded in centimetres.

rng = np.random.default_rng(2)
x = np.sort(rng.uniform(0, 10, 60))
y = 2 * x + 1 + rng.normal(0, 1, 60)
y[-10::2] *= 0.1
X = x[:, None]

# %%
# Least squares, smooth L1 with the beta that cross-validation likes best, and the line below which nine tenths of
# the samples are.

betas = {"beta": [0.1, 0.3, 1.0, 3.0, 10.0]}
search = GridSearchCV(SmoothL1Regressor(), betas, scoring=SCORERS["neg_mean_l1_error"]).fit(X, y)
models = {
    "least squares": LinearRegression().fit(X, y),
    f"smooth L1, beta = {search.best_params_['beta']:g}": search.best_estimator_,
    "quantile 0.9": SmoothL1Regressor(QuantileLoss(q=0.9)).fit(X, y),
}
for name, model in models.items():
    print(f"{name}: slope {model.coef_[0]:.2f}, intercept {model.intercept_:.2f}")

# %%
# The true line is under that of smooth L1.

figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
axes.scatter(x, y, color="0.3", s=18, label="samples")
axes.axline((0, 1), slope=2, color="0.75", linewidth=6, label="true line")
for (name, model), style in zip(models.items(), ["--", "-", ":"], strict=True):
    axes.plot([0, 10], model.predict([[0.0], [10.0]]), style, linewidth=2, label=name)
axes.set(xlim=(0, 10), xlabel="load in kg", ylabel="elongation in mm")
axes.set_title("Five wrong samples of sixty, and three lines")
axes.legend()
