"""
Boxes of detected objects
=========================

A detector predicts how far each box is from a reference box, the anchor: two shifts in units of the anchor's
size, and two logarithms of ratios. Smooth L1 with ``beta=1/9`` is what Faster R-CNN compares them with, so
that a box that is far off pulls no harder than one that is a little off.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from cylosses import MSELoss, SmoothL1Loss


def offsets(boxes, anchors):
    """Centre, width and height of boxes as offsets from anchors."""
    shift = (boxes[:, :2] - anchors[:, :2]) / anchors[:, 2:]
    return np.hstack([shift, np.log(boxes[:, 2:] / anchors[:, 2:])])


# %%
# Ten objects in a picture of 640 x 480 pixels: centre x and y, width, height. The predicted boxes are some
# pixels off, but for one that covers half an object and one that has the size of its neighbour.

rng = np.random.default_rng(4)
centres = np.array([(80 + 120 * (k % 5), 130 + 200 * (k // 5)) for k in range(10)]) + rng.uniform(-15, 15, (10, 2))
truth = np.hstack([centres, rng.uniform(60, 110, (10, 2))])
predicted = truth + rng.normal(0, 4, (10, 4))
predicted[3] += [30, 0, -50, 0]
predicted[6] += [0, -20, 70, 60]
anchors = np.hstack([truth[:, :2], np.full((10, 2), 80.0)])

# %%
# One loss per box: the exact mean of its four coordinates.

inputs, targets = offsets(predicted, anchors), offsets(truth, anchors)
per_box = SmoothL1Loss(beta=1 / 9)(inputs, targets, axis=1)
squares = MSELoss()(inputs, targets, axis=1)
print("smooth L1 of each box:", per_box.round(3))
print(f"share of the two bad boxes: smooth L1 {np.sort(per_box)[-2:].sum() / per_box.sum():.2f}, "
      f"squares {np.sort(squares)[-2:].sum() / squares.sum():.2f}")  # fmt: skip

# %%
# True boxes are grey, predicted ones have the colour of their loss.

figure, axes = plt.subplots(figsize=(7.5, 5), layout="constrained")
colour = plt.cm.ScalarMappable(plt.Normalize(0, per_box.max()), "coolwarm")
for boxes, colours, width in [(truth, ["0.6"] * 10, 4), (predicted, colour.to_rgba(per_box), 2)]:
    for (x, y, w, h), edge in zip(boxes, colours, strict=True):
        axes.add_patch(Rectangle((x - w / 2, y - h / 2), w, h, fill=False, edgecolor=edge, linewidth=width))
for (x, y, w, h), loss in zip(truth, per_box, strict=True):
    axes.text(x - w / 2, y - h / 2 - 8, f"{loss:.3f}", va="bottom")
axes.set(xlim=(0, 640), ylim=(480, 0), xlabel="x in pixels", ylabel="y in pixels", aspect="equal")
axes.set_title("Smooth L1 loss of ten predicted boxes")
figure.colorbar(colour, ax=axes, label="loss of a box, no unit", shrink=0.8)
