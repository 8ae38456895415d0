"""
Tuning beta
===========

``beta`` is where the square turns into a line, in the units of the targets. A *larger* beta squares more of the
errors and is less robust; a smaller one comes closer to the absolute error, which wastes some of what good data
tell. What lies between depends on the size of the good errors.
"""

import matplotlib.pyplot as plt
import numpy as np

from cylosses import smooth_l1_loss
from cylosses.sklearn import SmoothL1Regressor

# %%
# The same errors with three betas in one call: a parameter may be an array.

errors = np.array([0.1, 1.0, 10.0])
betas = np.array([[0.5], [1.0], [2.0]])
print(smooth_l1_loss(errors, np.zeros(3), "none", beta=betas))

# %%
# A linear model with noise of standard deviation 1, and one sample in ten wrong by up to 60, is fitted with each
# beta on a hundred samples. What counts is how far predictions are from the truth without noise, which generated
# data tell; of real data take the median of the held-out errors, which outliers do not touch. A dozen data sets
# take away the chance of one.

betas = np.logspace(-1.5, 1, 11)
scores = np.empty((12, len(betas)))
for seed, row in enumerate(scores):
    rng = np.random.default_rng(seed)
    X, coefficients = rng.normal(size=(1100, 8)), np.linspace(-2, 2, 8)
    y = X[:100] @ coefficients + rng.normal(size=100)
    y += (rng.random(100) < 0.1) * rng.uniform(0, 60, 100)
    for k, beta in enumerate(betas):
        model = SmoothL1Regressor(beta=beta).fit(X[:100], y)
        row[k] = np.abs(model.predict(X[100:]) - X[100:] @ coefficients).mean()
mean = scores.mean(axis=0)
spread = scores.std(axis=0) / np.sqrt(len(scores))
for k in (0, mean.argmin(), -1):
    print(f"beta {betas[k]:5.2f}: error {mean[k]:.2f}")

# %%
# A wide valley: about one standard deviation of the good errors is right, and a factor of two either way does
# little harm. From three on, too much of the outliers is squared.

figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
axes.fill_between(betas, mean - spread, mean + spread, alpha=0.25, label="standard error")
axes.plot(betas, mean, marker="o", label="mean of 12 data sets")
axes.axvline(1.0, color="0.4", linestyle="--", label="standard deviation of good errors")
axes.set(xscale="log", ylim=(0.3, 0.6), xlabel="beta, in the units of the targets")
axes.set(title="Which beta predicts best", ylabel="mean error of predictions, in the units of the targets")
axes.grid(alpha=0.3)
axes.legend()
