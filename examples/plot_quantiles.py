"""
Several quantiles in one call
=============================

A parameter may be an array that broadcasts with the data. Each quantile of a forecast then has its own loss, from one
call with the bits of calls one by one.
"""

import matplotlib.pyplot as plt
import numpy as np

from cylosses import QuantileLoss

# %%
# A year of daily demand, skewed as demand is, and three constant forecasts for each of the quantiles 0.1, 0.5, 0.9.

rng = np.random.default_rng(3)
demand = rng.gamma(4.0, 25.0, 365)
q = np.array([0.1, 0.5, 0.9])
loss = QuantileLoss(q=q)
forecast = np.array([55.0, 90.0, 170.0])
days = np.broadcast_to(demand[:, None], (365, 3))
print("loss of each quantile:", loss(np.broadcast_to(forecast, days.shape), days, axis=0).round(3))
print("of all together:      ", loss(np.broadcast_to(forecast, days.shape), days).round(3))

# %%
# Of all constants, the sample's quantile has the least loss. All of them at once: candidates x days x quantiles,
# reduced along the days.

candidates = np.linspace(20, 260, 241)
shape = (len(candidates), len(demand), len(q))
curves = loss(np.broadcast_to(candidates[:, None, None], shape), np.broadcast_to(demand[:, None], shape), axis=1)
best = candidates[curves.argmin(axis=0)]
print("best constants:", best, " sample quantiles:", np.quantile(demand, q).round(1))

# %%
# Dots are where the losses are least.

figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
for k, level in enumerate(q):
    axes.plot(candidates, curves[:, k], label=f"q = {level:g}")
    axes.plot(best[k], curves[:, k].min(), "o", color=f"C{k}", markersize=8)
axes.set(xlabel="forecast in pieces a day", ylabel="mean quantile loss in pieces")
axes.set(xlim=(20, 260), ylim=(0, 80), title="The best forecast for each quantile of demand")
axes.grid(alpha=0.3)
axes.legend()
