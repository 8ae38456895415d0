"""The picture of `cylosses demo`: what the losses look like, and what they do to the fit."""

from typing import Any

import numpy as np
import numpy.typing as npt

from cylosses import SmoothL1Loss
from cylosses._cli.picture import BLUES, GREEN, GREY, ORANGE, as_png, default_settings, finish, new_figure

_BETAS = (0.5, 1.0, 2.0)


@default_settings()
def draw(residuals: dict[str, npt.NDArray[np.float64]], outliers: npt.NDArray[np.bool_], beta: float) -> bytes:
    """Return the picture as PNG; `residuals` of `least_squares` and `smooth_l1`, one an observation."""
    figure = new_figure(8.5)
    panels: Any = figure.subplot_mosaic([["loss", "gradient"], ["fit", "fit"]], height_ratios=[1, 1.1])
    _draw_curves(panels["loss"], panels["gradient"])
    _draw_residuals(panels["fit"], residuals, outliers, beta)
    for name, panel in panels.items():
        finish(panel, grid="y" if name == "fit" else "both")
    return as_png(figure)


def _draw_curves(loss_panel: Any, gradient_panel: Any) -> None:
    error = np.linspace(-3, 3, 1201)
    loss_panel.plot(error, error**2, color=GREY, linestyle="--", label="squared error (MSE)")
    gradient_panel.plot(error, 2 * error, color=GREY, linestyle="--", label="squared error (MSE)")
    for beta, colour in zip(_BETAS, BLUES, strict=True):
        _draw_loss(loss_panel, gradient_panel, error, beta, label=f"smooth L1, beta = {beta:g}", color=colour, lw=2)
    _draw_loss(loss_panel, gradient_panel, error, 0.0, label="absolute error (L1, beta = 0)", color=GREEN, ls=":", lw=2)
    loss_panel.set(title="Loss: square near zero, linear beyond beta", ylabel="loss", ylim=(0, 3.5))
    gradient_panel.set(title="Gradient: smooth L1 never pulls harder than 1", ylabel="gradient", ylim=(-2.2, 2.2))
    for panel in (loss_panel, gradient_panel):
        panel.set(xlabel="prediction - target", xlim=(-3, 3))
    loss_panel.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, 0.99))


def _draw_loss(loss_panel: Any, gradient_panel: Any, error: npt.NDArray[np.float64], beta: float, **style: Any) -> None:
    zero = np.zeros_like(error)
    loss_panel.plot(error, SmoothL1Loss(reduction="none", beta=beta)(error, zero), **style)
    gradient_panel.plot(error, SmoothL1Loss(reduction="sum", beta=beta).grad(error, zero), **style)


def _draw_residuals(
    panel: Any, residuals: dict[str, npt.NDArray[np.float64]], outliers: npt.NDArray[np.bool_], beta: float
) -> None:
    squares, robust = residuals["least_squares"], residuals["smooth_l1"]
    days = np.arange(1, len(robust) + 1)
    panel.axhspan(-beta, beta, color="#eef5fa", lw=0, label="within beta of the smooth L1 fit")
    panel.axhline(0, color="#555555", lw=0.8)
    panel.vlines(days, squares, robust, color="#bbbbbb", lw=1.5, zorder=1)
    panel.scatter(days, squares, s=46, facecolor="white", edgecolor=GREY, lw=1.6, label="least squares", zorder=2)
    panel.scatter(days[~outliers], robust[~outliers], s=52, color=BLUES[1], label="smooth L1", zorder=3)
    panel.scatter(days[outliers], robust[outliers], s=80, marker="D", color=ORANGE, label="smooth L1, known outlier", zorder=3)
    for day, value in zip(days[outliers], robust[outliers], strict=True):
        panel.annotate(f"{day}", (day, value), (8, -1), textcoords="offset points", va="center", color=ORANGE, weight="bold")
    title = f"Stack loss data: residuals of the two fits (smooth L1 with beta = {beta:.4f})"
    panel.set(xlabel="observation (day)", ylabel="observed - fitted", xticks=days, xlim=(0.3, days[-1] + 0.9))
    panel.set_title(title)
    panel.legend(frameon=False, fontsize=9, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.15))
