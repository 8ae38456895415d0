"""The rows of the suite: which loss, work, dtype, size and threads are timed, and how one row is made."""

import fnmatch
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import cylosses
from benchmarks.measure.floors import copy_reference, floor
from benchmarks.measure.harness import Subject, measure, summary
from benchmarks.measure.works import WORKS, WORTH_THREADS, Case, Data, cylosses_subject, make_data, reason_missing
from benchmarks.peers import Peer

SIZES = (16, 256, 4096, 100_000, 1_000_000, 10_000_000, 50_000_000)
LARGEST_FLOAT64 = 25_000_000  # the same bytes as the largest float32 row
MAIN_LOSS = "smooth_l1"
OTHER_SIZES = (16, 100_000, 50_000_000)
OTHER_WORKS = ("mean", "value_and_grad")
QUICK_SIZES = (16, 4096, 100_000, 1_000_000, 10_000_000)
QUICK_WORKS = ("none", "mean", "grad", "value_and_grad")
COMPARED = 1_000_000  # results of larger rows are not compared: float32 sums of peers drift too far


@dataclass(frozen=True)
class Row:
    """One line of the tables."""

    loss: str
    work: str
    dtype: str
    size: int
    threads: int

    @property
    def name(self) -> str:
        """What ``--only`` is matched with."""
        return f"{self.loss}/{self.work}/{self.dtype}/{self.size}/{self.threads}"


def plan(threads: int, *, quick: bool = False, sizes: Sequence[int] | None = None, only: str = "") -> Iterator[Row]:
    """Yield the rows, those of one size and dtype together, since they share arrays; small ones first, since peers compile then.

    Smooth L1 gets every work at every size, on one and on all threads; each other loss two works at three sizes on all threads.

    Parameters
    ----------
    threads : int
        All threads.
    quick : bool
        Plan for two minutes.
    sizes : sequence of int, optional
        In place of the planned ones.
    only : str
        A shell pattern, or a part, of row names.
    """
    for row in _all_rows(threads, quick, sizes):
        if not only or only in row.name or fnmatch.fnmatch(row.name, only):
            yield row


def _all_rows(threads: int, quick: bool, sizes: Sequence[int] | None) -> Iterator[Row]:
    order = list(WORKS)
    for loss in sorted(cylosses.LOSSES, key=lambda name: name != MAIN_LOSS):
        main = loss == MAIN_LOSS
        works = _works(main, quick)
        planned = sizes or ((QUICK_SIZES if main else QUICK_SIZES[2:3]) if quick else (SIZES if main else OTHER_SIZES))
        keys = set()
        for work in works:
            for dtype in _dtypes(work, main, quick):
                limit = LARGEST_FLOAT64 if dtype == "float64" or work == "mixed_mean" else max(SIZES)
                keys |= {(dtype, min(size, limit) if sizes is None else size, work) for size in planned}
        for dtype, size, work in sorted(keys, key=lambda key: (key[0], key[1], order.index(key[2]))):
            one = [1] if main and not quick and size >= WORTH_THREADS and threads > 1 else []
            for count in (*one, threads):
                yield Row(loss, work, dtype, size, count)


def _works(main: bool, quick: bool) -> Sequence[str]:
    if main:
        return QUICK_WORKS if quick else tuple(WORKS)
    return OTHER_WORKS[:1] if quick else OTHER_WORKS


def _dtypes(work: str, main: bool, quick: bool) -> Sequence[str]:
    if work == "mixed_mean" or (quick and not (main and work == "mean")):
        return ("float32",)
    return ("float32", "float64")


def set_threads(threads: int, peers: Sequence[Peer]) -> None:
    """Set the threads of everything that is timed."""
    cylosses.set_num_threads(threads)
    for peer in peers:
        peer.set_threads(threads)


def threads_used(size: int, threads: int) -> int:
    """Return the threads that anything here uses on so many elements."""
    return threads if size >= WORTH_THREADS else 1


def run(row: Row, peers: Sequence[Peer], seconds: float, attempts: int, note: Callable[[str], None]) -> dict[str, Any]:
    """Time a row.

    Parameters
    ----------
    row : Row
        What to time.
    peers : sequence of Peer
        Beside the library and its floor.
    seconds : float
        To spend on timing.
    attempts : int
        As in `measure`.
    note : callable
        Takes a line for each peer that is left out.

    Returns
    -------
    dict
        The row as the JSON holds it; with the key ``missing`` if the library cannot do the work yet.
    """
    work, case = WORKS[row.work], Case(row.loss)
    head: dict[str, Any] = {"name": row.name, **vars(row)}
    missing = reason_missing(case, work)
    if missing is not None:
        return {**head, "missing": missing}
    set_threads(row.threads, peers)
    data = make_data(work, row.dtype, row.size)
    ours = cylosses_subject(case, work, data)
    subjects = [floor(work, data), ours]
    if work.outputs == 1:
        subjects.append(copy_reference(data.input, data.outputs[0]))
    for peer in peers:
        try:
            offered = peer.subjects(case, work, data, row.threads)
            for subject in offered:
                disagreement = _disagreement(ours, subject, data)
                if disagreement:
                    note(f"{row.name}: {subject.name} left out, {disagreement}")
                else:
                    subjects.append(subject)
        except Exception as error:  # a peer that fails on a row is a note, not the end of the run
            note(f"{row.name}: {peer.name} left out, {type(error).__name__}: {str(error).splitlines()[:1]}")
    timings = measure(subjects, seconds, threads_used(row.size, row.threads), attempts)
    operations = case.formula.operations(work.name) if case.formula else None
    return {
        **head,
        "floor": subjects[0].name,
        "bytes": data.bytes_moved,
        "operations": operations,
        "subjects": summary(timings),
    }


def _disagreement(ours: Subject, theirs: Subject, data: Data) -> str:
    """Return how the results of two subjects differ, if they do: then they would be two different works."""
    if data.size > COMPARED:
        return ""
    results = []
    for subject in (ours, theirs):
        returned = subject.call()
        parts = returned if isinstance(returned, tuple) and data.outputs else (returned,)
        # scikit-learn's calls return the outputs and more; copies, because outputs are shared.
        results.append([np.array(part, dtype=np.float64) for part in parts if part is not None])
    for mine, other in zip(*results, strict=False):
        if mine.shape == other.shape and not np.allclose(mine, other, rtol=1e-2, atol=1e-6 / data.size):
            return f"it returns {other.flat[0]:.6g} where the library returns {mine.flat[0]:.6g}"
    return ""
