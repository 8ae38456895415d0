"""One exact score for each group of rows with equal keys. DuckDB sorts the rows by their keys, also more than memory holds, so that
the groups come one after the other and only one total of each loss is in memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cylosses import Loss, StreamingLoss
from cylosses._cli.columns import Column
from cylosses._cli.engine import EngineError, Step, identifier
from cylosses._cli.join import JoinScan
from cylosses._cli.pairs import Batch, TableScan
from cylosses._cli.source import InputError
from cylosses._types import Array

# What keys hold, whatever its width.
_KINDS = {"VARCHAR": "text", "BOOLEAN": "bool", "FLOAT": "float", "DOUBLE": "float"}


class GroupedScan(TableScan):
    """The operands of another scan, sorted by keys. Once reading has begun, `keys`, their `kinds` and `sizes` tell the groups."""

    def __init__(self, scan: TableScan, by: Sequence[Column]) -> None:
        super().__init__(scan.database, scan.table, scan.operands, scan.condition)
        self._scan = scan
        self._by = {f"cylosses by {k}": column for k, column in enumerate(by)}
        self.keys: list[tuple[Any, ...]] = []
        self.kinds: list[str] = []
        self.sizes: Array = np.empty(0, np.int64)

    def select(self, keys: object = None) -> str:
        names = ", ".join(map(identifier, self._by))
        query = self._scan.select(self._by)
        try:
            self.database.rows(f"CREATE OR REPLACE TABLE grouped AS {query}", self._scan.step)
        except EngineError as error:
            raise self.explain(error) from None
        # Sorted by the same keys, so that the groups are runs of these lengths.
        found = self.database.rows(f"SELECT {names}, count(*) FROM grouped GROUP BY ALL ORDER BY {names}")
        self.keys = [row[:-1] for row in found]
        self.sizes = np.array([row[-1] for row in found], np.int64)
        types = self.database.rows(f"DESCRIBE SELECT {names} FROM grouped")
        self.kinds = [_KINDS.get(kind, "integer") for _, kind, *_ in types]
        if isinstance(self._scan, JoinScan):
            self._scan.count(int(self.sizes.sum()))
        return f"SELECT {', '.join(map(identifier, self.operands))} FROM grouped ORDER BY {names}"

    @property
    def step(self) -> Step:
        return Step("sorting", self._scan.step.size)

    def explain(self, error: EngineError) -> InputError:
        return self._scan.explain(error)

    def missing(self, roles: list[str]) -> InputError:
        return self._scan.missing(roles)

    def check(self) -> None:
        self._scan.check()

    def settle_integers(self, roles: list[str]) -> None:
        self._scan.settle_integers(roles)


@dataclass
class Groups:
    """The scores of groups: their keys, and of each the number of pairs that count, a value and perhaps a state of each loss."""

    names: list[str]
    keys: list[tuple[Any, ...]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    values: list[list[Any]] = field(default_factory=list)
    states: list[list[bytes]] = field(default_factory=list)


class GroupScores:
    """Adds sorted batches up to scores of groups."""

    def __init__(
        self, losses: Sequence[Loss], scan: GroupedScan, names: list[str], keeps_states: bool, threads: int | None
    ) -> None:
        self._losses, self._scan, self._keeps_states, self._threads = losses, scan, keeps_states, threads
        self.groups = Groups(names, values=[[] for _ in losses])
        self._group = self._filled = 0
        self._totals: list[StreamingLoss] | None = None

    def add(self, batch: Batch) -> None:
        """Take the next rows, which may end in the middle of a group."""
        sizes, start = self._scan.sizes, 0
        while start < batch.rows:
            if self._filled == 0 and not self._keeps_states:
                # All groups that are in this batch from their first row to their last.
                ends = start + np.cumsum(sizes[self._group : self._group + batch.rows - start])
                whole = int(np.searchsorted(ends, batch.rows, side="right"))
                if whole:
                    self._add_whole(batch, start, sizes[self._group : self._group + whole])
                    start = int(ends[whole - 1])
                    continue
            stop = min(start + int(sizes[self._group]) - self._filled, batch.rows)
            self._add_part(batch, slice(start, stop))
            start = stop

    def _add_whole(self, batch: Batch, start: int, sizes: Array) -> None:
        """Score groups that follow each other; those of one size are rows of a matrix."""
        starts = start + np.cumsum(sizes) - sizes
        counts = _counts(batch, starts, sizes)
        values: list[Array] = [np.empty(0)] * len(self._losses)
        for size in np.unique(sizes):
            those = np.flatnonzero(sizes == size)
            rows_of = starts[those][:, np.newaxis] + np.arange(size)
            operands = batch.predictions[rows_of], batch.targets[rows_of]
            selection: dict[str, Any] = {name: listed[rows_of] for name, listed in batch.selection.items()}
            for k, loss in enumerate(self._losses):
                found = loss(*operands, axis=1, n_threads=self._threads, **selection)
                if not values[k].size:
                    values[k] = np.empty(len(sizes), found.dtype)
                values[k][those] = found
        self._finish(counts, values)

    def _add_part(self, batch: Batch, part: slice) -> None:
        """Add rows of one group to its totals."""
        if self._totals is None:
            self._totals = [loss.streaming() for loss in self._losses]
        selection: dict[str, Any] = {name: values[part] for name, values in batch.selection.items()}
        for total in self._totals:
            total.update(batch.predictions[part], batch.targets[part], n_threads=self._threads, **selection)
        self._filled += part.stop - part.start
        if self._filled == self._scan.sizes[self._group]:
            if self._keeps_states:
                self.groups.states.append([total.to_bytes() for total in self._totals])
            self._finish([self._totals[0].count], [[total.compute()] for total in self._totals])
            self._totals, self._filled = None, 0

    def _finish(self, counts: Any, values: Sequence[Any]) -> None:
        self.groups.keys.extend(self._scan.keys[self._group : self._group + len(counts)])
        self.groups.counts.extend(map(int, counts))
        for listed, found in zip(self.groups.values, values, strict=True):
            listed.extend(found)
        self._group += len(counts)


def _counts(batch: Batch, starts: Array, sizes: Array) -> Array:
    """Return of each group the number of rows that are selected and have a weight other than 0."""
    if not batch.selection:
        return sizes
    counted = np.ones(batch.rows, bool)
    for values in batch.selection.values():
        counted &= values != 0
    counted[int(starts[-1] + sizes[-1]) :] = False
    counts: Array = np.add.reduceat(counted, starts, dtype=np.int64)
    return counts
