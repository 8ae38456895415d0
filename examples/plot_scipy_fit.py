"""
Nonlinear least squares with a robust loss
==========================================

`scipy.optimize.least_squares` takes a loss as a function of the squared residual. `cylosses.scipy.rho` makes that
function of any symmetric loss, Tukey's and Geman and McClure's among them, which SciPy does not have.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import least_squares

from cylosses import HuberLoss, TukeyLoss
from cylosses.scipy import rho

# %%
# A damped oscillation, measured eighty times; every seventh time the instrument was off.

rng = np.random.default_rng(0)
t = np.linspace(0, 10, 80)


def model(x, t):
    """Amplitude, damping and frequency are the parameters."""
    return x[0] * np.exp(-x[1] * t) * np.sin(x[2] * t)


true = np.array([2.0, 0.15, 3.0])
y = model(true, t) + rng.normal(0, 0.1, t.size)
y[::7] += rng.uniform(1, 4, y[::7].size)

# %%
# The loss's parameter is in the units of y. A redescending loss starts where a convex one ended.

start = [1.5, 0.2, 2.9]
squares = least_squares(lambda x: model(x, t) - y, start).x
huber = least_squares(lambda x: model(x, t) - y, start, loss=rho(HuberLoss(delta=0.15))).x
tukey = least_squares(lambda x: model(x, t) - y, huber, loss=rho(TukeyLoss(c=0.5))).x
for name, x in [("true", true), ("squares", squares), ("Huber", huber), ("Tukey", tukey)]:
    print(f"{name:>8}: amplitude {x[0]:.2f}, damping {x[1]:.3f}, frequency {x[2]:.3f}")

# %%

fine = np.linspace(0, 10, 500)
figure, axes = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
axes.scatter(t, y, s=14, color="0.4", label="measured")
axes.plot(fine, model(true, fine), color="0.75", linewidth=6, label="true")
axes.plot(fine, model(squares, fine), "--", label="least squares")
axes.plot(fine, model(tukey, fine), label="Tukey, c = 0.5")
axes.set(xlabel="time in s", ylabel="elongation in mm", ylim=(-2.2, 6))
axes.set_title("A damped oscillation, every seventh measurement wrong")
axes.legend(ncols=2)
