"""What the pictures of the command line have in common."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can tell apart.
BLUES = ("#56b4e9", "#0072b2", "#00395a")
GREY, ORANGE, GREEN, PURPLE = "#8c8c8c", "#d55e00", "#009e73", "#cc79a7"


@contextmanager
def default_settings() -> Iterator[None]:
    """Let pictures look the same whatever the user's settings of matplotlib are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


def new_figure(height: float) -> Figure:
    """Return an empty figure, 11 inches wide."""
    # Figure without pyplot: no window system, no global state.
    figure = Figure(figsize=(11, height), dpi=130, layout="constrained")
    figure.get_layout_engine().set(h_pad=0.12, w_pad=0.08)  # type: ignore[union-attr,call-arg]
    return figure


def finish(panel: Any, grid: str = "both") -> None:
    """Give a panel the look of all panels."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.set_axisbelow(True)
    panel.grid(axis=grid, color="#e6e6e6", lw=0.8)
    panel.title.set_fontweight("bold")


def as_png(figure: Figure) -> bytes:
    """Draw a figure."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # of names of files in other scripts
        figure.savefig(file, format="png")
    return file.getvalue()
