"""The short table: smooth L1 in float32 on all threads, along an axis too, beside the floor, the fastest peer and torch."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure.rows import MAIN_LOSS, SIZES
from benchmarks.measure.slice_rows import BOXES, MAIN_PLAN
from benchmarks.report.tables import markdown_table, place_text, seconds_text
from benchmarks.report.verdict import fastest_peer, ratio_text, subject_of, timed_rows

SHORT_WORKS = ("mean", "value_and_grad", "none", "grad")
Key = tuple[str, int | str]  # work, and the number of elements or the name of a layout
KEYS: tuple[Key, ...] = (
    *((work, size) for work in SHORT_WORKS for size in SIZES),
    *((work, layout.name) for work in MAIN_PLAN for layout in MAIN_PLAN[work] if layout == BOXES),
)
README_CALLS: dict[str, Key] = {
    "a mean, `loss(x, y)`": ("mean", 50_000_000),
    "a mean per box, `loss(x, y, axis=1)`": ("mean", BOXES.name),
    "a gradient per box": ("grad", BOXES.name),
    "`loss.value_and_grad(x, y)`": ("value_and_grad", 50_000_000),
}
"""What the lines in README.md say, where a screen must hold everything, and the work and place of each."""

BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"


def short_table(figures: dict[str, Any], threads: int, keys: Sequence[Key] = KEYS) -> str:
    """Return the lines that the run has as Markdown; all ratios are time of the library over time of the other."""
    head = ["work", "elements", "cylosses", "× floor", "fastest peer", "× peer", "× torch"]
    return markdown_table(head, _lines(figures, threads, keys))


def _lines(figures: dict[str, Any], threads: int, keys: Sequence[Key]) -> Iterator[Sequence[str]]:
    for work, place in keys:
        row = _row(figures, threads, work, place)
        if row is None:
            continue
        peer = fastest_peer(row)
        yield (
            f"`{work}`",
            place_text(place),
            seconds_text(row["subjects"]["cylosses"]["best"]),
            ratio_text(row, row["floor"]),
            peer or "-",
            ratio_text(row, peer) if peer else "-",
            _over_torch(row),
        )


def _row(figures: dict[str, Any], threads: int, work: str, place: int | str) -> dict[str, Any] | None:
    name = f"{MAIN_LOSS}/{work}/float32/{place}/{threads}"
    return next((row for row in timed_rows(figures) if row["name"] == name), None)


def _over_torch(row: dict[str, Any]) -> str:
    torch = subject_of(row, "torch")
    return ratio_text(row, torch) if torch else "-"


def readme_table(figures: dict[str, Any], threads: int) -> str:
    """Return the few lines that a reader of README.md looks at: no floor, and no names of works."""
    lines = []
    for call, (work, place) in README_CALLS.items():
        row = _row(figures, threads, work, place)
        if row is not None:
            peer, time = fastest_peer(row), seconds_text(row["subjects"]["cylosses"]["best"])
            fastest = f"{ratio_text(row, peer)} ({peer})" if peer else "-"
            lines.append((call, place_text(place).split(" axis")[0], time, _over_torch(row), fastest))
    return markdown_table(["call", "elements", "cylosses", "× torch", "× fastest other"], lines)


def readme_text(figures: dict[str, Any], threads: int) -> str:
    """Return what stands between the marks in README.md: the machine, and the table."""
    machine = figures["run"]["machine"]
    date = f", {figures['date']}" if "date" in figures else ""
    software = ", ".join(
        f"{name} {machine['versions'][name]}" for name in ("numpy", "torch", "numba") if name in machine["versions"]
    )
    return f"{machine['cpu']}, {threads} threads; {software}{date}:\n\n{readme_table(figures, threads)}"


def update(path: Path, text: str) -> None:
    """Replace what stands between the two marks of a file."""
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{path} has no lines {BEGIN} and {END}, between which the table is to go")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
