"""The closing table of the first release: four sizes, the peers that people know, both works of this library, in one run."""

from collections.abc import Sequence
from typing import Any

from benchmarks.measure.floors import dot_subject
from benchmarks.measure.harness import Subject, measure, summary
from benchmarks.measure.rows import MAIN_LOSS, set_threads, threads_used
from benchmarks.measure.works import WORKS, Case, cylosses_subject, make_data
from benchmarks.peers import Peer
from benchmarks.report.tables import markdown_table, seconds_text
from benchmarks.report.verdict import ratio_text

SIZES = (50_000_000, 1_000_000, 100_000, 16)
PEER_NAMES = frozenset(("torch", "numpy"))


def _subjects(size: int, peers: Sequence[Peer], threads: int) -> list[Subject]:
    case, mean, both = Case(MAIN_LOSS), WORKS["mean"], WORKS["value_and_grad"]
    data = make_data(both, "float32", size)
    subjects = [dot_subject(data.input, data.target)]
    for work in (mean, both):
        ours = cylosses_subject(case, work, data)
        subjects.append(Subject(f"cylosses {work.name}", ours.function, ours.args, ours.kwargs, ours.kind))
        for peer in peers:
            for subject in peer.subjects(case, work, data if work is both else _without_outputs(data), threads):
                name = subject.name if subject.name.startswith("torch f") else f"{subject.name} {work.name}"
                subjects.append(Subject(name, subject.function, subject.args, subject.kwargs))
    return subjects


def _without_outputs(data: Any) -> Any:
    """Return the same operands without outputs."""
    return type(data)(data.input, data.target, None, None, [], data.memory)


def run(peers: Sequence[Peer], threads: int, seconds: float, attempts: int) -> list[dict[str, Any]]:
    """Return one row per size as the JSON holds them."""
    set_threads(threads, peers)
    rows = []
    for size in SIZES:
        subjects = _subjects(size, peers, threads)
        rows.append(
            {
                "size": size,
                "floor": subjects[0].name,
                "subjects": summary(measure(subjects, seconds, threads_used(size, threads), attempts)),
            }
        )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table as Markdown: best time, and ratio to the dot product."""
    names = list(rows[0]["subjects"])
    lines = []
    for name in names:
        cells = [name]
        for row in rows:
            subject = row["subjects"][name]
            cells.append(f"{seconds_text(subject['best'])} ({ratio_text(row, row['floor'], name)})")
        lines.append(cells)
    return markdown_table(["float32; best time (× dot)", *(f"{row['size']:,}" for row in rows)], lines)
