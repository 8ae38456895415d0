"""How the pictures of the site look: no background of their own, and colours that are seen on white and on black."""

from typing import Any

from matplotlib import pyplot

# Okabe and Ito's colours, dark enough for white and light enough for black.
COLOURS = ("#0072b2", "#d55e00", "#009e73")
NEUTRAL = "#888888"


def panels(rows: int = 1, columns: int = 1, size: tuple[float, float] = (6.4, 2.5), **options: Any) -> tuple[Any, Any]:
    """Return a figure without a background, and its panels as `pyplot.subplots` does."""
    figure, axes = pyplot.subplots(rows, columns, figsize=size, layout="constrained", facecolor="none", dpi=144, **options)
    for panel in figure.axes:
        style(panel)
    return figure, axes


def style(panel: Any) -> None:
    """Draw the frame of a panel in grey."""
    panel.set_facecolor("none")
    panel.tick_params(colors=NEUTRAL, labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["bottom", "left"]].set_color(NEUTRAL)
    panel.grid(color=NEUTRAL, alpha=0.2, lw=0.6)


def caption(panel: Any, title: str = "", x: str = "", y: str = "") -> None:
    """Write title and axes of a panel in grey."""
    panel.set_title(title, fontsize=10, color=NEUTRAL)
    panel.set_xlabel(x, fontsize=9, color=NEUTRAL)
    panel.set_ylabel(y, fontsize=9, color=NEUTRAL)


def legend(panel: Any, **options: Any) -> None:
    """Name the curves of a panel in grey, without a frame."""
    panel.legend(**{"frameon": False, "fontsize": 8, "labelcolor": NEUTRAL} | options)
