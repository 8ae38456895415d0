"""
Depth maps with holes
=====================

A network predicts a depth for each pixel; a laser scanner knows it for some of them. Where it got no echo, the
target is NaN: ``where=`` leaves these pixels out of value and gradient, and of the number that the mean divides by.
"""

import matplotlib.pyplot as plt
import numpy as np

from cylosses import SmoothL1Loss

# %%
# A street of 30 m, with two boxes on it: depth in metres for 96 x 160 pixels.

rng = np.random.default_rng(1)
rows, columns = np.mgrid[0:96, 0:160]
depth = 30.0 - 26.0 * np.clip((rows - 25) / 70, 0, 1)
depth[35:75, 30:65] = 11.0
depth[45:60, 105:130] = 17.0

# %%
# The prediction is smooth, as predictions are: wrong along the edges of the boxes, by up to 8 m. The scanner is
# right to 5 cm where it has an echo, in two thirds of the pixels and nowhere beyond 28 m.

windows = np.lib.stride_tricks.sliding_window_view(np.pad(depth, 3, "edge"), (7, 7))
prediction = windows.mean(axis=(2, 3))
prediction += rng.normal(0, 0.2, depth.shape)
scanned = depth + rng.normal(0, 0.05, depth.shape)
scanned[(rng.random(depth.shape) < 1 / 3) | (depth > 28)] = np.nan

# %%
# The mean over all pixels that have a target, and the gradient, which is 0 at the others.

known = ~np.isnan(scanned)
loss = SmoothL1Loss(beta=1.0)
value, gradient = loss.value_and_grad(prediction, scanned, where=known)
print(f"{100 * known.mean():.0f} % of the pixels are known; mean loss {value:.3f} m")
largest, unknown = np.abs(gradient).max() * known.sum(), np.abs(gradient[~known]).max()
print(f"largest gradient {largest:.2f}, where nothing is known {unknown}")

# %%
# The map of the losses shows the edges. Unknown pixels are grey.

pixels = np.where(known, SmoothL1Loss(reduction="none", beta=1.0)(prediction, scanned, where=known), np.nan)
figure, panels = plt.subplots(3, 1, figsize=(6, 9), sharex=True, sharey=True, layout="constrained")
for panel, image, title, unit, colours, top in [
    (panels[0], scanned, "Depth from the scanner", "depth in m", "viridis", 30),
    (panels[1], prediction, "Predicted depth", "depth in m", "viridis", 30),
    (panels[2], pixels, "Smooth L1 loss of each pixel, beta = 1 m", "loss in m", "Reds", 4),
]:
    shown = panel.imshow(image, cmap=plt.get_cmap(colours).with_extremes(bad="0.85"), vmin=0, vmax=top)
    panel.set(title=title, ylabel="row in pixels")
    figure.colorbar(shown, ax=panel, label=unit, extend="max" if top == 4 else "neither")
panels[2].set_xlabel("column in pixels")
