"""The rows of the suite: which loss, work, dtype, size and threads are timed, and how one row is made."""

import fnmatch
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import cylosses
from benchmarks.measure.floors import copy_reference, floor
from benchmarks.measure.harness import Subject, measure, summary
from benchmarks.measure.works import WORKS, WORTH_THREADS, Case, Data, Work, cylosses_subject, make_data, reason_missing
from benchmarks.peers import Peer

SIZES = (16, 256, 4096, 100_000, 1_000_000, 10_000_000, 50_000_000)
LARGEST_FLOAT64 = 25_000_000  # the same bytes as the largest float32 row
MAIN_LOSS = "smooth_l1"
OTHER_SIZES = (16, 100_000, 50_000_000)
OTHER_WORKS = ("mean", "value_and_grad")
QUICK_SIZES = (16, 4096, 100_000, 1_000_000, 10_000_000)
QUICK_WORKS = ("none", "mean", "grad", "value_and_grad")
WRITTEN_WORKS = ("none", "grad", "value_and_grad")
CACHED_SIZES = (16_384, 65_536, 100_000, 262_144, 1_000_000, 4_000_000)  # of these: in float32 they fit caches, or nearly
QUICK_CACHED_SIZES = (262_144,)
EXACT_LOSS = "l1"  # the sum of |x - 0| is that of x: what compares with libraries that only sum
EXACT_SIZES = (4096, 4_000_000)
COMPARED = 1_000_000  # elements of one sum; longer ones are not compared: float32 sums of peers drift too far


@dataclass(frozen=True)
class Row:
    """One line of the tables."""

    loss: str
    work: str
    dtype: str
    size: int
    threads: int

    @property
    def place(self) -> str:
        """The part of the name that says how many elements there are, and in which layout."""
        return str(self.size)

    @property
    def name(self) -> str:
        """What ``--only`` is matched with."""
        return f"{self.loss}/{self.work}/{self.dtype}/{self.place}/{self.threads}"

    @property
    def spec(self) -> Work:
        """The work that `work` names."""
        return WORKS[self.work]

    def head(self) -> dict[str, Any]:
        """Return what the JSON says of the row beside its times."""
        return {"name": self.name, **vars(self)}

    def data(self) -> Data:
        """Return its arrays."""
        return make_data(self.spec, self.dtype, self.size)

    def ours(self, case: Case, data: Data) -> Subject:
        """Return the call of the library."""
        return cylosses_subject(case, self.spec, data)

    def offered(self, peer: Peer, case: Case, data: Data) -> list[Subject]:
        """Return the calls of a peer."""
        if self.spec.exact and not peer.exact:
            return []
        return peer.subjects(case, self.spec, data, self.threads)


def matches(name: str, only: Sequence[str]) -> bool:
    """Whether a row is asked for by one of the patterns, or there are none."""
    return not only or any(pattern in name or fnmatch.fnmatch(name, pattern) for pattern in only)


def plan(threads: int, *, quick: bool = False, sizes: Sequence[int] | None = None, only: Sequence[str] = ()) -> Iterator[Row]:
    """Yield the rows, those of one size and dtype together, since they share arrays; small ones first, since peers compile then.

    Smooth L1 gets every work at every size, on one and on all threads, and what is written in float32 at more sizes that fit
    caches; each other loss two works at three sizes on all threads. Exact sums as such are those of one loss.

    Parameters
    ----------
    threads : int
        All threads.
    quick : bool
        Plan for two minutes.
    sizes : sequence of int, optional
        In place of the planned ones.
    only : sequence of str
        Shell patterns, or parts, of row names: one of them must match. All rows by default.
    """
    for row in _all_rows(threads, quick, sizes):
        if matches(row.name, only):
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
        if main and sizes is None:
            cached = QUICK_CACHED_SIZES if quick else CACHED_SIZES
            keys |= {("float32", size, work) for size in cached for work in WRITTEN_WORKS}
        if loss == EXACT_LOSS:
            keys |= {("float64", size, "exact_sum") for size in sizes or (EXACT_SIZES[-1:] if quick else EXACT_SIZES)}
        for dtype, size, work in sorted(keys, key=lambda key: (key[0], key[1], order.index(key[2]))):
            # Peers that sum exactly have one thread.
            alone = (main and not quick) or WORKS[work].exact
            one = [1] if alone and size >= WORTH_THREADS and threads > 1 else []
            for count in (*one, threads):
                yield Row(loss, work, dtype, size, count)


def _works(main: bool, quick: bool) -> Sequence[str]:
    if main:
        return QUICK_WORKS if quick else [name for name, work in WORKS.items() if not work.exact]
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
    work, case = row.spec, Case(row.loss)
    head = row.head()
    missing = reason_missing(case, work)
    if missing is not None:
        return {**head, "missing": missing}
    set_threads(row.threads, peers)
    data = row.data()
    ours = row.ours(case, data)
    subjects = [floor(work, data), ours]
    if work.outputs == 1 and data.outputs[0].shape == data.input.shape:
        subjects.append(copy_reference(data.input, data.outputs[0]))
    for peer in peers:
        try:
            for subject in row.offered(peer, case, data):
                disagreement = _disagreement(ours, subject, work, data)
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


def _disagreement(ours: Subject, theirs: Subject, work: Work, data: Data) -> str:
    """Return how the results of two subjects differ, if they do: then they would be two different works."""
    if data.summed > COMPARED and not work.exact:
        return ""
    tolerance = {"rtol": 0.0, "atol": 0.0} if work.exact else {"rtol": 1e-2, "atol": 1e-6 / data.size}
    results = []
    for subject in (ours, theirs):
        returned = subject.call()
        parts = returned if isinstance(returned, tuple) and data.outputs else (returned,)
        # scikit-learn's calls return the outputs and more; copies, because outputs are shared.
        results.append([np.array(part, dtype=np.float64) for part in parts if part is not None])
    for mine, other in zip(*results, strict=False):
        if mine.shape != other.shape:
            return f"it returns the shape {other.shape} where the library returns {mine.shape}"
        differ = ~np.isclose(other, mine, **tolerance)
        if differ.any():
            return f"it returns {other[differ][0]:.6g} where the library returns {mine[differ][0]:.6g}"
    return ""
