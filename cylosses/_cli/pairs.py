"""Pairs of predictions and targets, with their weights and masks, a batch at a time, from tables and one-dimensional arrays.

Operands of one table come from one scan. What several files hold is paired by the order of rows, and all must have as many.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from cylosses._cli.columns import Column
from cylosses._cli.engine import Database, EngineError, Step, Values
from cylosses._cli.source import MISSING, InputError, Source, as_mask
from cylosses._cli.table import Table
from cylosses._types import Array

_BATCH = 1 << 18  # elements of arrays that are paired with each other
_LARGEST_EXACT = 2.0**53  # integers below it are the same as float64


class Batch(NamedTuple):
    """Operands of some rows, as a call of a loss wants them."""

    predictions: Array
    targets: Array
    selection: dict[str, Array]  # weight and where, as far as there are any
    rows: int


class WantsIntegersError(Exception):
    """Two columns of integers too large for float64: they have to be read as integers."""


class TableScan:
    """The operands that one table has, in the order of its rows."""

    def __init__(self, database: Database, table: Table, operands: Mapping[str, Column], condition: str | None = None) -> None:
        self.table, self.operands, self.condition = table, dict(operands), condition
        self.database = database

    def select(self, keys: Mapping[str, Column] | None = None) -> str:
        """Return the query of the operands, each under its role, and of columns that are compared, each under its name here."""
        keys = keys or {}
        conditioned = self.table.uses_in_conditions() if self.condition else []
        source = self.table.source([*conditioned, *((column, "key") for column in keys.values()), *self.uses()])
        wanted = [f'{column.key()} AS "{name}"' for name, column in keys.items()]
        wanted += [f'{column.mask() if role == "where" else column.number()} AS "{role}"' for role, column in self.operands.items()]
        return f"SELECT {', '.join(wanted)} FROM {source}" + (f" WHERE ({self.condition})" if self.condition else "")

    @property
    def step(self) -> Step:
        """What the query of the operands does."""
        return self.table.reading

    def uses(self) -> list[tuple[Column, str]]:
        return [(column, "mask" if role == "where" else "number") for role, column in self.operands.items()]

    def read(self) -> Iterator[dict[str, Values]]:
        """Return batches of all operands."""
        try:
            for columns in self.database.batches(self.select(), self.step, self.table.streams):
                yield dict(zip(self.operands, columns, strict=True))
        except EngineError as error:
            raise self.explain(error) from None

    def explain(self, error: EngineError) -> InputError:
        if self.condition and re.match("(Binder|Parser) Error", str(error)):
            return InputError(f"--filter {self.condition!r}: {error}")
        return self.table.explain(error, [column for role, column in self.operands.items() if role != "where"], self.condition)

    def missing(self, roles: list[str]) -> InputError:
        """Return the error that names the first missing value of a row that counts."""
        conditions = [self.condition] if self.condition else []
        if (column := self.operands.get("where")) and "where" not in roles:
            text = column.identifier
            conditions.append(f"coalesce(TRY_CAST({text} AS BOOLEAN), TRY_CAST({text} AS DOUBLE) = 1, true)")
        if (column := self.operands.get("weight")) and "weight" not in roles:
            conditions.append(f"coalesce(TRY_CAST({column.identifier} AS DOUBLE) <> 0, true)")
        keep = " AND ".join(f"({condition})" for condition in conditions)
        try:
            return self.table.missing([self.operands[role] for role in roles], keep or None)
        except EngineError:
            return InputError(f"{self.table.label}: a value is missing; {MISSING}")

    def bad_weight(self) -> InputError | None:
        """Return the error that names the first weight that is none."""
        column = self.operands.get("weight")
        return None if column is None else self.table.bad_weight(column, self.condition)

    def check(self) -> None:
        """Check what is known only at the end."""
        self.table.check_unchanged()

    def settle_integers(self, roles: list[str]) -> None:
        for role in roles:
            if self.operands[role].is_text:
                self.table.settle_integers(self.operands[role])


class Pairs:
    """All pairs of a request. After the last batch, `rows` and `missing` tell how many there were and how many were left out."""

    def __init__(
        self, scans: list[TableScan], arrays: Mapping[str, Source], missing: str = "error", dtype: np.dtype[Any] | None = None
    ) -> None:
        self._scans, self._arrays, self._policy, self._dtype = scans, dict(arrays), missing, dtype
        self.labels = {role: source.label for role, source in arrays.items()}
        self.labels |= {
            role: f"{column.table.label}, column {column.name!r}" for scan in scans for role, column in scan.operands.items()
        }
        self.rows = self.missing = 0
        self._watches = self._may_be_large_integers()

    def read(self) -> Iterator[Batch]:
        """Return the batches; a second call begins again."""
        self.rows = self.missing = 0
        for found in self._in_step():
            batch = self._cleaned(found)
            self.rows += batch.rows
            yield batch
        for scan in self._scans:
            scan.check()
        for source in self._arrays.values():
            source.check_unchanged()

    def settle_integers(self) -> None:
        """Find out whether both columns are of integers; then they are read as such, else both as float64."""
        columns = {role: column for scan in self._scans for role, column in scan.operands.items() if role in _PAIR}
        for scan in self._scans:
            scan.settle_integers([role for role in scan.operands if role in _PAIR])
        if any(column.exact == "DOUBLE" for column in columns.values()):
            for column in columns.values():
                column.exact = "DOUBLE"
        self._watches = False

    def bad_weight(self) -> InputError | None:
        """Return the error that names the first weight that is none, if it is in a table."""
        for scan in self._scans:
            if "weight" in scan.operands:
                return scan.bad_weight()
        return None

    def _may_be_large_integers(self) -> bool:
        columns = {role: column for scan in self._scans for role, column in scan.operands.items()}
        kinds = [columns[role].maybe_integer if role in columns else self._arrays[role].dtype.kind in "iu" for role in _PAIR]
        return all(kinds) and any(role in columns and columns[role].is_text for role in _PAIR)

    # --- rows of several files ----------------------------------------------------------------------------------------

    def _in_step(self) -> Iterator[dict[str, Values]]:
        """Return batches of all operands, as many rows of each."""
        if len(self._scans) == 1 and not self._arrays:
            yield from self._scans[0].read()
            return
        streams = [scan.read() for scan in self._scans]
        held: list[dict[str, Values] | None] = [None] * len(streams)
        lengths = {role: source.shape[0] for role, source in self._arrays.items()}
        at = 0
        while True:
            for k, stream in enumerate(streams):
                while (waiting := held[k]) is None or not _length(waiting):
                    held[k] = next(stream, None)
                    if held[k] is None:
                        break
            parts = [part for part in held if part is not None]
            available = [0 if part is None else _length(part) for part in held] + [length - at for length in lengths.values()]
            length = min(*available, _BATCH) if len(available) > 1 else available[0]
            if length == 0:
                self._check_lengths(at, held, streams, lengths)
                return
            found: dict[str, Values] = {}
            for k, part in enumerate(parts):
                found |= {role: _cut(values, 0, length) for role, values in part.items()}
                held[k] = {role: _cut(values, length, None) for role, values in part.items()}
            found |= {role: Values(source.read(slice(at, at + length)), None) for role, source in self._arrays.items()}
            at += length
            yield {role: found[role] for role in ROLES if role in found}

    def _check_lengths(
        self, at: int, held: list[dict[str, Values] | None], streams: list[Iterator[dict[str, Values]]], lengths: dict[str, int]
    ) -> None:
        """Refuse files of which one has more rows than another; the first to end had `at`."""
        found = {self._arrays[role].label: length for role, length in lengths.items()}
        for scan, part, stream in zip(self._scans, held, streams, strict=True):
            length = at + (0 if part is None else _length(part))
            found[scan.table.label] = length + sum(_length(rest) for rest in stream)
        if len(set(found.values())) > 1:
            (first, rows), (second, others) = sorted(found.items(), key=lambda item: item[1])[:: len(found) - 1]
            raise InputError(
                f"shapes differ: {first} has {rows} rows, {second} has {others}; rows are paired by their order: "
                "--on KEY pairs them by a column"
            )

    # --- missing values -----------------------------------------------------------------------------------------------

    def _cleaned(self, found: dict[str, Values]) -> Batch:
        """Return a batch of which no value is missing, or only values that do not count."""
        rows = _length(found)
        values = {role: part.values for role, part in found.items()}
        counts = np.ones(rows, bool)
        selection: dict[str, Array] = {}
        if "where" in found:
            blank = found["where"].missing
            chosen = as_mask(self.labels["where"], values["where"] if blank is None else np.where(blank, 0, values["where"]))
            counts = chosen if blank is None else chosen & self._without(("where",), blank, counts, found)
            selection["where"] = counts
        if "weight" in found:
            blank = found["weight"].missing
            selection["weight"] = values["weight"]
            if blank is not None:
                selection["where"] = counts = self._without(("weight",), blank, counts, found)
                selection["weight"] = np.where(blank, 0, values["weight"])
            counts = counts & (selection["weight"] != 0)
        if self._watches:
            self._look_for_large_integers(found)
        blanks = [blank for role in _PAIR if (blank := found[role].missing) is not None]
        if blanks:
            blank = np.logical_or.reduce(blanks)
            if (blank & counts).any():
                if self._policy == "nan":
                    for role in _PAIR:
                        if (gaps := found[role].missing) is not None:
                            values[role] = np.where(gaps, np.nan, values[role])
                else:
                    self._without(_PAIR, blank, counts, found)
            if self._policy != "nan":
                selection["where"] = selection.get("where", np.ones(rows, bool)) & ~blank
        if self._dtype is not None:
            values |= {role: values[role].astype(self._dtype, copy=False) for role in _PAIR}
        return Batch(values["predictions"], values["targets"], selection, rows)

    def _without(self, roles: tuple[str, ...], blank: Array, counts: Array, found: dict[str, Values]) -> Array:
        """Return which rows count if those are left out where something is missing; refuse them if that was not asked for."""
        lost = blank & counts
        if lost.any():
            if self._policy != "skip":
                raise self._missing_error(roles, int(np.argmax(lost)), found)
            self.missing += int(np.count_nonzero(lost))
        kept: Array = counts & ~blank
        return kept

    def _missing_error(self, roles: tuple[str, ...], index: int, found: dict[str, Values]) -> InputError:
        """Return the error that names the place of the row with this index in the batch."""
        gaps = [role for role in roles if (blank := found[role].missing) is not None and blank[index]]
        scan = next(scan for scan in self._scans if gaps[0] in scan.operands)
        if len(self._scans) == 1 and not self._arrays:  # whose rows are perhaps not those of the file
            return scan.missing([role for role in roles if role in scan.operands])
        place = scan.table.place_of(self.rows + index)
        return InputError(f"{place}, column {scan.operands[gaps[0]].name!r}: the value is missing; {MISSING}")

    def _look_for_large_integers(self, found: dict[str, Values]) -> None:
        """Raise WantsIntegersError if both columns hold integers alone, and some that float64 may have rounded."""
        for role in _PAIR:
            values, missing = found[role]
            whole = np.floor(values) == values
            if not (whole if missing is None else whole | missing).all() or np.isinf(values).any():
                self._watches = False
                return
        if any(((found[role].values >= _LARGEST_EXACT) | (found[role].values <= -_LARGEST_EXACT)).any() for role in _PAIR):
            raise WantsIntegersError


ROLES = ("predictions", "targets", "weight", "where")
_PAIR = ROLES[:2]


def _length(found: Mapping[str, Values]) -> int:
    return len(next(iter(found.values())).values)


def _cut(found: Values, start: int, stop: int | None) -> Values:
    return Values(found.values[start:stop], None if found.missing is None else found.missing[start:stop])
