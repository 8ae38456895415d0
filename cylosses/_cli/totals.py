"""Totals of one pass: one value of each loss, of all pairs and perhaps of each group of rows."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from cylosses import StreamingLoss
from cylosses._cli.bundle import Bundle
from cylosses._cli.groups import Groups, GroupScores
from cylosses._cli.operands import Operands
from cylosses._cli.pairs import Batch, Pairs, WantsIntegersError
from cylosses._cli.residuals import Residuals
from cylosses._cli.selection import Selection, check_shapes, nan_pairs
from cylosses._cli.source import InputError, OnProgress, bytes_of_pair, one_line
from cylosses._cli.specs import LossSpec
from cylosses._cli.windows import windows_of


class Totals:
    """The totals of all losses over all pairs of a request; `rows`, `missing` and `nan` tell what came, `groups` their scores."""

    def __init__(
        self,
        specs: tuple[LossSpec, ...],
        reduction: str,
        operands: Operands,
        *,
        missing: str = "error",
        dtype: np.dtype[Any] | None = None,
        threads: int | None = None,
        by: tuple[str, ...] = (),
        keeps_states: bool = False,
        residuals: Residuals | None = None,
    ) -> None:
        self._losses = [spec.make(reduction) for spec in specs]
        # DuckDB's threads keep the CPUs busy with what takes a hundred times as long: more threads would wait for each other.
        self._operands, self._threads = operands, 1 if operands.scans else threads
        self._by, self._keeps_states, self._residuals = list(by), keeps_states, residuals
        self.pairs = Pairs(operands.scans, operands.arrays, missing, dtype) if operands.scans else None
        self.shape: tuple[int, ...] = ()
        self._begin()

    def _begin(self) -> None:
        self.totals: list[StreamingLoss] = [loss.streaming() for loss in self._losses]
        self.rows = self.nan = 0
        if self._residuals is not None:
            self._residuals.clear()
        self._scores: GroupScores | None = None
        if (scan := self._operands.groups) is not None:
            self._scores = GroupScores(self._losses, scan, self._by, self._keeps_states, self._threads)

    @property
    def missing(self) -> int:
        return 0 if self.pairs is None else self.pairs.missing

    @property
    def groups(self) -> Groups | None:
        return None if self._scores is None else self._scores.groups

    def bundle(self) -> Bundle:
        """Return everything that another run may be merged with."""
        if (scan := self._operands.groups) is None or self.groups is None:
            return Bundle(self.totals)
        bundle = Bundle(self.totals, list(zip(self._by, scan.kinds, strict=True)))
        for key, states in zip(self.groups.keys, self.groups.states, strict=True):
            bundle.add_group(key, states)
        return bundle

    def run(self, on_progress: OnProgress | None = None) -> None:
        """Read everything. `on_progress` is told how far arrays are; tables tell it themselves."""
        if self.pairs is None:
            arrays = self._operands.arrays
            self.shape = arrays["predictions"].shape
            self._add_all(self._told(self._windows(), on_progress))
            for source in arrays.values():
                source.check_unchanged()
            return
        try:
            self._add_all(self.pairs.read())
        except WantsIntegersError:
            self.pairs.settle_integers()
            self._begin()
            self._add_all(self.pairs.read())
        self.shape = (self.rows,)

    def _windows(self) -> Iterator[Batch]:
        arrays = self._operands.arrays
        predictions, targets = arrays["predictions"], arrays["targets"]
        for other in arrays.values():
            check_shapes(predictions, other)
        selection = Selection({role: arrays[role] for role in ("weight", "where") if role in arrays})
        windows, _ = windows_of(predictions.orders & targets.orders & selection.orders(), predictions.shape, in_c_order=False)
        nothing = np.empty(0, predictions.dtype), np.empty(0, targets.dtype)
        yield Batch(*nothing, selection.nothing(), 0)  # which tells the dtype of results if nothing follows
        for window in windows:
            values = predictions.read(window)
            yield Batch(values, targets.read(window), selection.read(window), values.size)

    def _told(self, batches: Iterator[Batch], on_progress: OnProgress | None) -> Iterator[Batch]:
        """Tell how far the batches of arrays are."""
        row = bytes_of_pair(self._operands.arrays.values())
        size = int(np.prod(self.shape)) * row
        for batch in batches:
            yield batch
            if on_progress is not None:
                on_progress("reading", self.rows * row, size)

    def _add_all(self, batches: Iterator[Batch]) -> None:
        for batch in batches:
            selection: dict[str, Any] = batch.selection
            try:
                for total in self.totals:
                    total.update(batch.predictions, batch.targets, n_threads=self._threads, **selection)
                if self._scores is not None:
                    self._scores.add(batch)
            except (TypeError, ValueError) as error:
                found = self.pairs.bad_weight() if self.pairs is not None and "weight" in str(error) else None
                raise found or InputError(one_line(error)) from None
            # As long as no total is NaN, nothing that counts was.
            if np.isnan(self.totals[0].compute()):
                self.nan += nan_pairs(batch.predictions, batch.targets, selection)
            if self._residuals is not None:
                self._residuals.add(batch.predictions, batch.targets, **selection)
            self.rows += batch.rows
