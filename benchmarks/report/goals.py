"""The goals of the project for speed, as one table, and how a run met them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cylosses
from benchmarks.measure.rows import LARGEST_FLOAT64, MAIN_LOSS
from benchmarks.measure.works import WORKS
from benchmarks.report.tables import markdown_table, seconds_text, size_text
from benchmarks.report.verdict import disturbed, fastest_peer, ratio_text, ratio_to, verdict

NOT_MEASURED = "not measured"
MOST_SECONDS_TO_IMPORT = 20e-3  # beyond `import numpy`


@dataclass(frozen=True)
class RatioGoal:
    """A work is to take at most so many times as long as the floor of its row, on all threads."""

    loss: str
    work: str
    dtype: str
    size: int
    most: float


@dataclass(frozen=True)
class CallGoal:
    """A public call is to take at most so many seconds; `row` as in `benchmarks.measure.public_calls`."""

    row: str
    most: float


RATIO_GOALS = (
    RatioGoal(MAIN_LOSS, "mean", "float32", 50_000_000, 1.05),
    RatioGoal(MAIN_LOSS, "mean", "float32", 1_000_000, 1.15),
    RatioGoal(MAIN_LOSS, "mean", "float32", 100_000, 3.0),
    RatioGoal(MAIN_LOSS, "mean", "float64", LARGEST_FLOAT64, 1.15),
    RatioGoal(MAIN_LOSS, "mean", "float64", 1_000_000, 1.15),
    *(RatioGoal(loss, "mean", "float32", 50_000_000, 1.25) for loss in cylosses.LOSSES if loss != MAIN_LOSS),
    RatioGoal(MAIN_LOSS, "none", "float32", 50_000_000, 0.80),
    RatioGoal(MAIN_LOSS, "grad", "float32", 50_000_000, 0.80),
    RatioGoal(MAIN_LOSS, "value_and_grad", "float32", 50_000_000, 0.85),
    RatioGoal(MAIN_LOSS, "weighted_mean", "float32", 50_000_000, 1.15),
)
CALL_GOALS = (
    CallGoal("mean of 16", 0.4e-6),
    CallGoal("mean of 1024", 1.2e-6),
    CallGoal("value_and_grad of 16", 0.8e-6),
)


def goals_table(figures: dict[str, Any], threads: int) -> str:
    """Return every goal beside what was measured.

    Parameters
    ----------
    figures : dict
        Of a run, as in its JSON; parts that are missing give goals that were not measured.
    threads : int
        All threads, in the rows' sense.
    """
    lines = [*_ratio_lines(figures, threads), *_call_lines(figures), _import_line(figures), _peers_line(figures)]
    return markdown_table(["what", "goal", "measured", "middle half of the rounds", ""], lines)


def _verdict(value: float, most: float) -> str:
    return "met" if value <= most else "missed"


def _ratio_lines(figures: dict[str, Any], threads: int) -> Iterator[Sequence[str]]:
    rows = {row["name"]: row for row in figures.get("rows", ()) if "missing" not in row}
    for goal in RATIO_GOALS:
        name = f"{goal.loss}/{goal.work}/{goal.dtype}/{goal.size}/{threads}"
        text = f"`{goal.loss}` {WORKS[goal.work].text}, {goal.dtype}, {size_text(goal.size)}"
        row = rows.get(name)
        if row is None:
            yield text, f"≤ {goal.most:.2f}", NOT_MEASURED, "-", "-"
            continue
        floor, found = row["floor"], ratio_to(row, row["floor"])
        yield (
            text,
            f"≤ {goal.most:.2f} × {floor}",
            ratio_text(row, floor),
            "-" if disturbed(row, "cylosses", floor) else f"{found['low']:.2f} – {found['high']:.2f}",
            _verdict(found["median"], goal.most),
        )


def _call_lines(figures: dict[str, Any]) -> Iterator[Sequence[str]]:
    rows = {row["name"]: row for row in figures.get("public", ())}
    for goal in CALL_GOALS:
        text, most = f"public call, {goal.row}, float32", f"≤ {seconds_text(goal.most)}"
        if goal.row not in rows:
            yield text, most, NOT_MEASURED, "-", "-"
            continue
        best = rows[goal.row]["subjects"]["cylosses"]["best"]
        yield text, most, seconds_text(best), "-", _verdict(best, goal.most)


def _import_line(figures: dict[str, Any]) -> Sequence[str]:
    text, most = "`import cylosses` after `import numpy`", f"≤ {seconds_text(MOST_SECONDS_TO_IMPORT)}"
    if "import" not in figures:
        return text, most, NOT_MEASURED, "-", "-"
    cost = figures["import"]["cylosses"]
    return text, most, seconds_text(cost), "-", _verdict(cost, MOST_SECONDS_TO_IMPORT)


def _peers_line(figures: dict[str, Any]) -> Sequence[str]:
    rows = [row for row in figures.get("rows", ()) if "missing" not in row and fastest_peer(row)]
    text, most = "rows in which the fastest peer is faster", "0"
    if not rows:
        return text, most, NOT_MEASURED, "-", "-"
    given = [verdict(row) for row in rows]
    slower = given.count("no")
    return text, most, f"{slower} of {len(rows)} ({given.count('level')} level)", "-", _verdict(slower, 0)
