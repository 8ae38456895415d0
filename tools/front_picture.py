"""The pictures of README.md and of the site's first page, in docs/_static: ``python -m tools.front_picture``.

demo.png is what ``cylosses demo`` draws, smaller. why.svg has two panels: what a robust loss does to a fit, and what an exact mean
is for. It is written as text, without a plotting library, so that the file has the same bytes wherever it is made (a test makes it
again), and in colours that can be read on white and on black.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cylosses import Loss, MSELoss, SmoothL1Loss

Vector = npt.NDArray[np.float64]

PICTURE = Path(__file__).parents[1] / "docs" / "_static" / "why.svg"
DEMO = PICTURE.with_name("demo.png")
BLUE, ORANGE, GREY = "#1f83c9", "#d9660a", "#7a7a7a"
WIDTH, HEIGHT = 820, 300
TOP, BOTTOM = 52, 250
ROWS, TIMES = 1_000_000, 32
"""Of the second panel: how many rows there are, and how often they are seen."""


# The two facts --------------------------------------------------------------------------------------------------------------


def points() -> tuple[Vector, Vector]:
    """Return thirty points about a line, the last six of which are wrong."""
    x = np.linspace(0.0, 10.0, 30)
    y = 1.0 + 0.8 * x + 0.4 * np.random.default_rng(3).standard_normal(30)
    y[-6:] -= 7.0
    return x, y


def fit(loss: Loss, x: Vector, y: Vector) -> Vector:
    """Return intercept and slope with the least mean loss, found by iteratively reweighted least squares."""
    design = np.column_stack([np.ones_like(x), x])
    line = np.zeros(2)
    for _ in range(200):
        gradient, weight = loss.grad_and_hess(design @ line, y, curvature="mm")
        line -= np.linalg.solve(design.T * weight @ design, design.T @ gradient)
    return line


def means() -> tuple[list[float], list[float]]:
    """Return the mean over axis 0 of the same rows seen 1, 2, 3, … times: NumPy's in float32, and the exact one.

    NumPy adds one row after the other, so that its sum can be taken up where it stopped.
    """
    prediction, target = np.random.default_rng(0).standard_normal((2, ROWS, 2), dtype=np.float32)
    losses = SmoothL1Loss(reduction="none")(prediction, target)
    running, total = np.zeros(2, np.float32), SmoothL1Loss().streaming(axis=0)
    by_numpy, by_cylosses = [], []
    for seen in range(1, TIMES + 1):
        running = np.concatenate([running[None], losses]).sum(axis=0)
        total.update(prediction, target)
        by_numpy.append(float(running[0] / np.float32(seen * ROWS)))
        by_cylosses.append(float(total.compute()[0]))
    return by_numpy, by_cylosses


# The drawing ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Panel:
    """A rectangle of the picture, and the coordinates of the data in it."""

    left: float
    right: float
    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point of the data lies in the picture, to a tenth of its unit."""
        (x_low, x_high), (y_low, y_high) = self.x, self.y
        across = self.left + (x - x_low) / (x_high - x_low) * (self.right - self.left)
        down = BOTTOM - (y - y_low) / (y_high - y_low) * (BOTTOM - TOP)
        return round(across, 1), round(down, 1)

    def line(self, points: Iterable[tuple[float, float]], colour: str, width: float = 2.5) -> str:
        path = " ".join(f"{x:g},{y:g}" for x, y in (self.at(*point) for point in points))
        return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}" stroke-linejoin="round"/>'

    def dot(self, x: float, y: float, colour: str) -> str:
        across, down = self.at(x, y)
        return f'<circle cx="{across:g}" cy="{down:g}" r="4" fill="{colour}"/>'

    def text(self, x: float, y: float, words: str, colour: str, anchor: str = "start") -> str:
        return _text(*self.at(x, y), words, colour, anchor)

    def axes(self) -> str:
        return f'<path d="M{self.left:g} {TOP} V{BOTTOM} H{self.right:g}" fill="none" stroke="{GREY}"/>'


def _text(x: float, y: float, words: str, colour: str = GREY, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:g}" y="{y:g}" fill="{colour}" text-anchor="{anchor}" font-weight="{weight}">{words}</text>'


def draw_fits() -> list[str]:
    """Return the first panel: points, and the lines that two losses put through them."""
    x, y = points()
    panel = Panel(20, 380, (-0.3, 10.3), (-1, 10))
    robust, squares = (fit(loss, x, y) for loss in (SmoothL1Loss(beta=0.1), MSELoss()))
    ends = np.array([0.0, 10.0])
    wrong = x > x[-7]
    return [
        _text(20, 24, "Wrong points do not tilt the line", weight="bold"),
        panel.axes(),
        *(panel.dot(across, up, ORANGE if is_wrong else GREY) for across, up, is_wrong in zip(x, y, wrong, strict=True)),
        panel.line(zip(ends, squares[0] + squares[1] * ends, strict=True), GREY),
        panel.line(zip(ends, robust[0] + robust[1] * ends, strict=True), BLUE),
        panel.text(6.9, 8.0, "smooth L1", BLUE, "end"),
        panel.text(9.4, 2.95, "squared error", GREY, "end"),
        panel.text(7.6, 0.1, "wrong", ORANGE, "end"),
    ]


def draw_means() -> list[str]:
    """Return the second panel: a mean that drifts as the same rows come again, and one that does not."""
    by_numpy, by_cylosses = means()
    seen = range(1, TIMES + 1)
    exact = by_cylosses[-1]
    panel = Panel(440, 800, (0, TIMES), (0.925 * exact, 1.015 * exact))
    drift = (1 - by_numpy[-1] / exact) * 100
    return [
        _text(440, 24, "The mean does not drift", weight="bold"),
        panel.axes(),
        panel.line(zip(seen, by_numpy, strict=True), ORANGE),
        panel.line(zip(seen, by_cylosses, strict=True), BLUE),
        panel.text(TIMES, 1.004 * exact, "cylosses: the same bits throughout", BLUE, "end"),
        panel.text(TIMES - 10, 0.950 * exact, "NumPy in float32, axis=0:", ORANGE, "end"),
        panel.text(TIMES - 10, 0.941 * exact, f"{drift:.1f} % too small at last", ORANGE, "end"),
        _text(440, BOTTOM + 24, "a million rows, seen once"),
        _text(800, BOTTOM + 24, f"{TIMES} times", anchor="end"),
    ]


def picture() -> str:
    """Return the whole picture as SVG."""
    title = "Left: six wrong points of thirty tilt the line of squared errors, and leave that of smooth L1 where it was. "
    title += "Right: NumPy's float32 mean of the same rows falls the more often they are seen; the exact mean does not change."
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img"'
    style = 'font-family="system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif" font-size="17">'
    return "\n".join([f"{head} {style}", f"<title>{title}</title>", *draw_fits(), *draw_means(), "</svg>", ""])


def write_demo(path: Path) -> None:
    """Run the demo and write its picture, two thirds as wide and in as few colours as it needs."""
    from PIL import Image  # comes with matplotlib, which the demo draws with

    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "cylosses", "demo"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        with Image.open(Path(folder) / "cylosses-demo.png") as drawn:
            small = drawn.convert("RGB").resize((drawn.width * 2 // 3, drawn.height * 2 // 3), Image.Resampling.LANCZOS)
    small.quantize(48).save(path, optimize=True)


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
    write_demo(DEMO)
    print(f"wrote {PICTURE} and {DEMO}")
    sys.exit(0)
