"""The short table: smooth L1 in float32 on all threads, beside the floor, the fastest peer and torch."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure.rows import MAIN_LOSS, SIZES
from benchmarks.report.tables import markdown_table, seconds_text, size_text
from benchmarks.report.verdict import fastest_peer, ratio_text

SHORT_WORKS = ("mean", "value_and_grad", "none", "grad")
KEYS = tuple((work, size) for work in SHORT_WORKS for size in SIZES)
README_KEYS = (
    ("mean", 16),
    ("mean", 100_000),
    ("mean", 1_000_000),
    ("mean", 50_000_000),
    ("value_and_grad", 16),
    ("value_and_grad", 50_000_000),
    ("none", 50_000_000),
    ("grad", 50_000_000),
)
"""Work and elements of each line in README.md, where a screen must hold the table."""

BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"


def short_table(figures: dict[str, Any], threads: int, keys: Sequence[tuple[str, int]] = KEYS) -> str:
    """Return the lines that the run has as Markdown; all ratios are time of the library over time of the other."""
    head = ["work", "elements", "cylosses", "× floor", "fastest peer", "× peer", "× torch"]
    return markdown_table(head, _lines(figures, threads, keys))


def _lines(figures: dict[str, Any], threads: int, keys: Sequence[tuple[str, int]]) -> Iterator[Sequence[str]]:
    rows = {row["name"]: row for row in figures.get("rows", ()) if "missing" not in row}
    for work, size in keys:
        row = rows.get(f"{MAIN_LOSS}/{work}/float32/{size}/{threads}")
        if row is None:
            continue
        peer = fastest_peer(row)
        torch = next((name for name in row["subjects"] if name == "torch" or name.startswith("torch ")), None)
        torch = torch if torch and row["subjects"][torch]["kind"] == "peer" else None
        yield (
            f"`{work}`",
            size_text(size),
            seconds_text(row["subjects"]["cylosses"]["best"]),
            ratio_text(row, row["floor"]),
            peer or "-",
            ratio_text(row, peer) if peer else "-",
            ratio_text(row, torch) if torch else "-",
        )


def readme_text(figures: dict[str, Any], threads: int) -> str:
    """Return what stands between the marks in README.md: the machine, and the table."""
    machine = figures["run"]["machine"]
    date = f", {figures['date']}" if "date" in figures else ""
    software = ", ".join(
        f"{name} {machine['versions'][name]}" for name in ("numpy", "torch", "numba") if name in machine["versions"]
    )
    return f"{machine['cpu']}, {threads} threads; {software}{date}:\n\n{short_table(figures, threads, README_KEYS)}"


def update(path: Path, text: str) -> None:
    """Replace what stands between the two marks of a file."""
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{path} has no lines {BEGIN} and {END}, between which the table is to go")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
