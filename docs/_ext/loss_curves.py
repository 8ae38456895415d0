"""Curves of a loss: value, derivative and IRLS weight, for some values of its parameter."""

from typing import Any

import numpy as np
from matplotlib import pyplot

from cylosses import Loss

ERRORS = np.linspace(-4, 4, 801)
# Okabe and Ito's colours, dark enough for white and light enough for black.
COLOURS = ("#0072b2", "#d55e00", "#009e73")
NEUTRAL = "#888888"
HIGHEST_WEIGHT = 3.0  # those of losses with a kink grow without limit beside it


def parameters_of(cls: type[Loss]) -> list[Any]:
    """Return three parameters that show what it does: none where the loss has none."""
    if cls.parameter_name is None:
        return [None]
    if not cls.parameter_is_length:
        return [0.1, 0.5, 0.9]
    return [0.5, 1.0, 2.0] if cls.default == 1 else [cls.default / 2, cls.default, cls.default * 2]


def draw(cls: type[Loss], errors: np.ndarray = ERRORS) -> Any:
    """Return a figure of three panels."""
    figure, panels = pyplot.subplots(1, 3, figsize=(9, 2.6), layout="constrained")
    for parameter, colour in zip(parameters_of(cls), COLOURS, strict=False):
        loss = cls("none") if parameter is None else cls("none", **{str(cls.parameter_name): parameter})
        label = None if parameter is None else f"{cls.parameter_name} = {parameter:g}"
        panels[0].plot(errors, loss(errors, 0.0), color=colour, label=label)
        derivative, weight = loss.grad_and_hess(errors, 0.0, curvature="mm")
        panels[1].plot(errors, derivative, color=colour)
        panels[2].plot(errors, weight, color=colour)
    for panel, title in zip(panels, ("loss", "derivative", "IRLS weight"), strict=True):
        panel.set_title(title, fontsize=10, color=NEUTRAL)
        panel.set_xlabel("input − target", fontsize=9, color=NEUTRAL)
        panel.tick_params(colors=NEUTRAL, labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
        panel.spines[["bottom", "left"]].set_color(NEUTRAL)
        panel.grid(color=NEUTRAL, alpha=0.2, lw=0.6)
    panels[2].set_ylim(0, min(panels[2].get_ylim()[1], HIGHEST_WEIGHT))
    if cls.parameter_name:
        panels[0].legend(frameon=False, fontsize=8, labelcolor=NEUTRAL)
    return figure
