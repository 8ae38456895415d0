"""Curves of a loss: value, derivative and IRLS weight, for some values of its parameter."""

from typing import Any

import numpy as np
from pictures import COLOURS, caption, legend, panels

from cylosses import Loss


def parameters_of(cls: type[Loss]) -> list[Any]:
    """Return three parameters that show what it does: none where the loss has none."""
    if cls.parameter_name is None:
        return [None]
    if not cls.parameter_is_length:
        return [0.1, 0.5, 0.9]
    return [0.5, 1.0, 2.0] if cls.default == 1 else [cls.default / 2, cls.default, cls.default * 2]


def reach_of(cls: type[Loss]) -> float:
    """Return the error up to which there is something to see."""
    return 3 * cls.default if cls.parameter_is_length else 3.0


def draw(cls: type[Loss]) -> Any:
    """Return a figure of three panels."""
    reach = reach_of(cls)
    errors = np.linspace(-reach, reach, 1201)
    figure, axes = panels(1, 3, size=(7.5, 2.2))
    for parameter, colour in zip(parameters_of(cls), COLOURS, strict=False):
        loss = cls("none") if parameter is None else cls("none", **{str(cls.parameter_name): parameter})
        label = None if parameter is None else f"{cls.parameter_name} = {parameter:g}"
        axes[0].plot(errors, loss(errors, 0.0), color=colour, label=label)
        derivative, weight = loss.grad_and_hess(errors, 0.0, curvature="mm")
        axes[1].plot(errors, derivative, color=colour)
        axes[2].plot(errors, weight, color=colour)
    # The weights of losses with a kink grow without limit beside it.
    axes[2].set_ylim(0, min(axes[2].get_ylim()[1], max(12 / reach, 1.05)))
    for panel, title in zip(axes, ("loss", "derivative", "IRLS weight"), strict=True):
        caption(panel, title, x="input − target")
    if cls.parameter_name:
        legend(axes[0])
    return figure
