"""
Regression with occasional outliers
===================================

A thousand measurements of one quantity, some of which are wrong by a hundred times the usual error. The
constant that fits best depends on the loss: that of squared errors, the mean, follows the wrong ones.
"""

import matplotlib.pyplot as plt
import numpy as np

from cylosses import L1Loss, MSELoss, SmoothL1Loss
from cylosses.boosting import Objective

rng = np.random.default_rng(0)
measured = rng.normal(20.0, 1.0, 1000)  # metres
errors = rng.uniform(50, 150, 1000)  # of those that are wrong; all to one side, which is the harder case

# %%
# How large the losses of ten outliers are, beside those of all thousand measurements:

wrong = measured.copy()
wrong[:10] += errors[:10]
for loss in (MSELoss(reduction="sum"), SmoothL1Loss(reduction="sum", beta=1.0), L1Loss(reduction="sum")):
    print(f"{loss.name:>9}: {loss(wrong[:10], 20.0) / loss(wrong, 20.0):.2f} of the loss from 0.01 of the data")

# %%
# `initial_score` finds the constant with the least total loss. With more and more outliers:

objectives = {
    "squared error": Objective("mse"),
    "smooth L1, beta = 1 m": Objective("smooth_l1", beta=1.0),
    "Tukey, c = 4.685 m": Objective("tukey", c=4.685),
}
counts = np.arange(0, 401, 20)
found = {name: [] for name in objectives}
for count in counts:
    wrong = measured.copy()
    wrong[:count] += errors[:count]
    for name, objective in objectives.items():
        found[name].append(objective.initial_score(wrong))
for name, centres in found.items():
    print(f"{name}: {centres[0]:.2f} m without outliers, {centres[5]:.2f} m with 100, {centres[-1]:.2f} m with 400")

# %%
# The mean leaves the picture with five outliers in a hundred. Smooth L1 goes slowly, as the median does; Tukey's
# loss does not see them at all, since what is beyond ``c`` costs all the same.

figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
for (name, centres), marker in zip(found.items(), "os^", strict=True):
    axes.plot(counts / 10, centres, marker=marker, label=name)
axes.set(ylim=(19.7, 24), xlabel="outliers in % of the measurements", ylabel="best constant in m")
axes.set_title("The constant that fits best, with outliers to one side of 20 m")
axes.grid(alpha=0.3)
axes.legend()
