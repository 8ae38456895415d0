"""The pictures of the report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from benchmarks.report.tables import seconds_text, size_text

STYLE = {
    "cylosses": {"color": "black", "linewidth": 2.2, "marker": "o"},
    "floor": {"color": "grey", "linestyle": "--"},
    "reference": {"color": "silver", "linestyle": ":"},
}


def _save(figure: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)
    return path


def _legend(axes: Any) -> None:
    """Put the legend beside the picture: there are too many lines for a place among them."""
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)


def _label_sizes(axes: Any, sizes: Sequence[int]) -> None:
    """Mark the measured sizes, as far as there is room, the largest first."""
    kept: list[int] = []
    for size in sorted(set(sizes), reverse=True):
        if not kept or kept[-1] >= 4 * size:
            kept.append(size)
    axes.set_xticks(kept, [size_text(size) for size in kept], fontsize=8)
    axes.xaxis.set_minor_locator(NullLocator())


def _label_seconds(axes: Any) -> None:
    axes.yaxis.set_major_locator(LogLocator(numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: seconds_text(seconds)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def time_against_size(rows: Sequence[dict[str, Any]], title: str, path: Path) -> Path:
    """Draw the best time of every subject against the size, both logarithmic, with the floor.

    Parameters
    ----------
    rows : sequence of dict
        Of one loss, work, dtype and number of threads.
    title : str
        Of the picture.
    path : Path
        Where to write it.
    """
    figure, axes = plt.subplots(figsize=(7.5, 5))
    lines: dict[str, list[tuple[int, float]]] = {}
    kinds: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: row["size"]):
        for name, subject in row["subjects"].items():
            label = f"floor: {name}" if subject["kind"] == "floor" else name
            lines.setdefault(label, []).append((row["size"], subject["best"]))
            kinds[label] = subject["kind"]
    for label, points in lines.items():
        style = STYLE.get(kinds[label], {"marker": ".", "linewidth": 1})
        axes.loglog(*zip(*points, strict=True), label=label, **style)
    _label_sizes(axes, [row["size"] for row in rows])
    _label_seconds(axes)
    axes.set(xlabel="elements", ylabel="time of a call", title=title)
    axes.grid(which="major", alpha=0.3)
    _legend(axes)
    return _save(figure, path)


def roofline(rows: Sequence[dict[str, Any]], bandwidth: dict[str, dict[str, float]], title: str, path: Path) -> Path:
    """Draw operations per second against operations per byte, under the measured bandwidth.

    Operations are those of the formula; the bytes are what must be read and written once. A point on a line moves its bytes as fast
    as the measured read or copy does.

    Parameters
    ----------
    rows : sequence of dict
        One per work; of one size, beyond the caches, and all threads.
    bandwidth : dict
        Of one and of all threads, as in the JSON.
    """
    figure, axes = plt.subplots(figsize=(7.5, 5))
    points = []
    for row in rows:
        operations = row["operations"] * row["size"]
        points.append((operations / row["bytes"], operations / row["subjects"]["cylosses"]["best"], row["work"]))
    low, high = min(point[0] for point in points) / 1.5, max(point[0] for point in points) * 1.5
    for threads, rates in bandwidth.items():
        for kind, style in (("read", "-"), ("copy", ":")):
            rate = rates[kind]
            axes.loglog(
                (low, high),
                (low * rate, high * rate),
                style,
                color="grey",
                alpha=0.5 if threads == "1" else 1,
                label=f"{kind}, {threads} thread{'s' * (threads != '1')}: {rate / 1e9:.1f} GB/s",
            )
    for k, (x, y, name) in enumerate(points):
        axes.loglog(x, y, marker="osD^vPX*<>"[k % 10], linestyle="none", markersize=8, label=name)
    ticks = [tick for tick in (0.125, 0.25, 0.5, 1, 2, 4, 8) if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate / 1e9:g} G"))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda rate, _: f"{rate / 1e9:g} G" if f"{rate:e}"[0] in "25" else ""))
    axes.tick_params(axis="y", which="minor", labelsize=7)
    axes.set(xlabel="operations per byte (of the formula)", ylabel="operations per second", title=title)
    axes.grid(which="both", alpha=0.2)
    _legend(axes)
    return _save(figure, path)


def growth(rows: Sequence[dict[str, Any]], path: Path) -> Path:
    """Draw time per element against size: a line per work and number of threads, the floors beside them."""
    figure, axes = plt.subplots(figsize=(7.5, 5))
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["work"], row["threads"]), []).append(row)
    for (work, threads), members in groups.items():
        sizes = [row["size"] for row in members]
        label = f"{work}, {threads} thread{'s' * (threads != 1)}"
        ours = [row["subjects"]["cylosses"]["best"] / row["size"] for row in members]
        floors = [next(iter(row["subjects"].values()))["best"] / row["size"] for row in members]
        (line,) = axes.loglog(sizes, ours, marker="o", markersize=4, label=label)
        axes.loglog(sizes, floors, linestyle="--", linewidth=1, color=line.get_color())
    axes.plot([], [], linestyle="--", linewidth=1, color="grey", label="dashed: the floor of each")
    largest = size_text(max(row["size"] for row in rows))
    _label_sizes(axes, [row["size"] for row in rows])
    _label_seconds(axes)
    axes.set(xlabel="elements", ylabel="time per element", title=f"smooth_l1, float32, up to {largest} elements")
    axes.grid(which="major", alpha=0.3)
    _legend(axes)
    return _save(figure, path)
