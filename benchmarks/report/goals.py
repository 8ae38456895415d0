"""The goals of the project for speed, as one table, and how a run met them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cylosses
from benchmarks.measure.rows import CACHED_SIZES, LARGEST_FLOAT64, MAIN_LOSS
from benchmarks.measure.slice_rows import BOXES, BROADCAST, LAYOUTS, MIDDLE, MORE_LAYOUTS, SQUARE_COLUMNS
from benchmarks.measure.slices import SLICE_WORKS
from benchmarks.measure.works import WORKS
from benchmarks.report.tables import markdown_table, place_text, seconds_text
from benchmarks.report.verdict import disturbed, fastest_peer, ratio_text, ratio_to, subject_of, timed_rows, verdict

NOT_MEASURED = "not measured"
MOST_SECONDS_TO_IMPORT = 20e-3  # beyond `import numpy`
BUILD = "x86-64-v3"  # whose widening to float64 costs more: a goal may allow it more


@dataclass(frozen=True)
class RatioGoal:
    """A work is to take at most so many times as long as another subject of its row, on all threads.

    Attributes
    ----------
    loss, work, dtype, place
        As in the name of the row.
    most : float
        The ratio.
    against : str or None
        A peer; None stands for the floor.
    most_of_build : float or None
        Instead of `most` where `BUILD` ran.
    """

    loss: str
    work: str
    dtype: str
    place: int | str
    most: float
    against: str | None = None
    most_of_build: float | None = None

    def row_name(self, threads: int) -> str:
        """Return the name of the row."""
        return f"{self.loss}/{self.work}/{self.dtype}/{self.place}/{threads}"

    @property
    def text(self) -> str:
        """What is to be fast."""
        work = (SLICE_WORKS if isinstance(self.place, str) else WORKS)[self.work]
        return f"`{self.loss}` {work.text}, {self.dtype}, {place_text(self.place)}"

    def limit(self, build: str) -> float:
        """Return the ratio that a build is to keep."""
        return self.most_of_build if self.most_of_build is not None and build == BUILD else self.most


@dataclass(frozen=True)
class CallGoal:
    """A public call is to take at most so many seconds; `row` as in `benchmarks.measure.public_calls`."""

    row: str
    most: float


@dataclass(frozen=True)
class PeerGoal:
    """In no row of a kind a peer is to be faster.

    Attributes
    ----------
    text : str
        Which rows.
    concerns : callable
        Takes a row, and says whether it is one of them.
    peer : str or None
        Which peer; None stands for the fastest.
    """

    text: str
    concerns: Callable[[dict[str, Any]], bool]
    peer: str | None = None


def _is_mean_of_slices(row: dict[str, Any]) -> bool:
    return "layout" in row and row["work"] == "mean"


def _is_written_in_cache(row: dict[str, Any]) -> bool:
    return "layout" not in row and row["work"] in ("none", "grad") and row["size"] in CACHED_SIZES


IN_CACHE = {SQUARE_COLUMNS, MIDDLE}  # arithmetic is the limit, and torch adds float32 where this library sums exactly
RATIO_GOALS = (
    RatioGoal(MAIN_LOSS, "mean", "float32", 50_000_000, 1.10),
    RatioGoal(MAIN_LOSS, "mean", "float32", 1_000_000, 1.9, most_of_build=2.2),
    RatioGoal(MAIN_LOSS, "mean", "float32", 100_000, 1.7),
    RatioGoal(MAIN_LOSS, "mean", "float64", LARGEST_FLOAT64, 1.15),
    RatioGoal(MAIN_LOSS, "mean", "float64", 1_000_000, 1.5),
    *(RatioGoal(loss, "mean", "float32", 50_000_000, 1.25) for loss in cylosses.LOSSES if loss != MAIN_LOSS),
    *(RatioGoal(MAIN_LOSS, work, "float32", size, 1.05) for work in ("none", "grad") for size in CACHED_SIZES),
    RatioGoal(MAIN_LOSS, "none", "float32", 50_000_000, 0.80),
    RatioGoal(MAIN_LOSS, "grad", "float32", 50_000_000, 0.80),
    RatioGoal(MAIN_LOSS, "value_and_grad", "float32", 50_000_000, 0.90),
    RatioGoal(MAIN_LOSS, "weighted_mean", "float32", 50_000_000, 1.3),
    *(RatioGoal(MAIN_LOSS, "mean", "float32", each.name, 1.5 if each in IN_CACHE else 1.0, "torch") for each in LAYOUTS),
    *(RatioGoal(MAIN_LOSS, "mean", "float32", each.name, 1.0, "torch") for each in MORE_LAYOUTS),
    *(
        RatioGoal(MAIN_LOSS, work, "float32", BOXES.name, 0.5, "torch")
        for work in ("grad", "weighted_grad", "value_and_grad", "weighted_mean")
    ),
    RatioGoal(MAIN_LOSS, "target_grad", "float32", BROADCAST.name, 0.5, "torch"),
    RatioGoal("l1", "exact_sum", "float64", 4_000_000, 1 / 3, "xsum"),
)
PEER_GOALS = (
    PeerGoal("rows of `mean` over `axis` in which NumPy is faster", _is_mean_of_slices, "numpy"),
    PeerGoal("rows of `none` and `grad`, 16 k … 4 M, in which numba is faster", _is_written_in_cache, "numba"),
    PeerGoal("rows in which the fastest peer is faster", lambda row: True),
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
    lines = [*_ratio_lines(figures, threads), *_call_lines(figures), _import_line(figures), *_peer_lines(figures)]
    return markdown_table(["what", "goal", "measured", "middle half of the rounds", ""], lines)


def _verdict(value: float, most: float) -> str:
    return "met" if value <= most else "missed"


def _ratio_lines(figures: dict[str, Any], threads: int) -> Iterator[Sequence[str]]:
    rows = {row["name"]: row for row in timed_rows(figures)}
    build = figures["run"]["machine"]["cylosses"]["instruction set"] if rows else ""
    for goal in RATIO_GOALS:
        row, most = rows.get(goal.row_name(threads)), goal.limit(build)
        other = row and (subject_of(row, goal.against) if goal.against else row["floor"])
        if not other:
            yield goal.text, f"≤ {most:.2f} × {goal.against or 'floor'}", NOT_MEASURED, "-", "-"
            continue
        found = ratio_to(row, other)
        yield (
            goal.text,
            f"≤ {most:.2f} × {other}",
            ratio_text(row, other),
            "-" if disturbed(row, "cylosses", other) else f"{found['low']:.2f} – {found['high']:.2f}",
            _verdict(found["median"], most),
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


def _peer_lines(figures: dict[str, Any]) -> Iterator[Sequence[str]]:
    for goal in PEER_GOALS:
        given = []
        for row in filter(goal.concerns, timed_rows(figures)):
            peer = subject_of(row, goal.peer) if goal.peer else fastest_peer(row)
            if peer:
                given.append(verdict(row, peer))
        if not given:
            yield goal.text, "0", NOT_MEASURED, "-", "-"
            continue
        slower = given.count("no")
        yield goal.text, "0", f"{slower} of {len(given)} ({given.count('level')} level)", "-", _verdict(slower, 0)
