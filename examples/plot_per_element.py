"""
Which elements the loss comes from
==================================

With ``reduction="none"`` a loss has the shape of its inputs, so that single elements can be looked at.
"""

from importlib.resources import files

import matplotlib.pyplot as plt
import numpy as np

from cylosses import smooth_l1_loss
from cylosses.sklearn import SmoothL1Regressor

# %%
# Three predictions. The outlier in the middle costs 8 - 1/2, where half its square would cost 32.

prediction, truth = np.array([1.5, 2.0, 0.5]), np.array([1.0, 10.0, 0.4])
print(smooth_l1_loss(prediction, truth, "none", 1.0))

# %%
# Twenty-one days of a plant that oxidises ammonia (the stack loss data of Brownlee, 1965, which come with
# cylosses): how much ammonia escapes, by air flow, water temperature and acid concentration.

with (files("cylosses.data") / "stackloss.csv").open("rb") as file:
    table = np.loadtxt(file, delimiter=",", skiprows=1)
day, X, escaped = table[:, 0].astype(int), table[:, 1:4], table[:, 4]
model = SmoothL1Regressor(beta=1.0).fit(X, escaped)
loss = smooth_l1_loss(model.predict(X), escaped, "none", 1.0)

# %%
# Four days make most of it. They are the four that Daniel and Wood (1971) found to be outliers.

worst = np.sort(day[np.argsort(loss)[-4:]])
share = np.sort(loss)[-4:].sum() / loss.sum()
print(f"days {worst} make {100 * share:.0f} % of the loss")

figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
axes.bar(day, loss, color=np.where(np.isin(day, worst), "tab:orange", "tab:blue"))
axes.set(xlabel="day", xticks=range(1, 22))
axes.set_ylabel("smooth L1 loss in 0.1 % of the ammonia")
axes.set_title(f"Days {worst[0]}, {worst[1]}, {worst[2]} and {worst[3]} make {100 * share:.0f} % of the loss")
