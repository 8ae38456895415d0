"""From what the user typed to open files: which columns of which tables, and which arrays, are the operands of a request."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cylosses._cli.columns import Column, Reading
from cylosses._cli.engine import Database, database
from cylosses._cli.groups import GroupedScan
from cylosses._cli.join import JoinScan
from cylosses._cli.pairs import ROLES, TableScan
from cylosses._cli.readers import ARRAYS, open_array, split_label, unknown_kind
from cylosses._cli.source import AsDtype, InputError, OnProgress, Source
from cylosses._cli.table import Table
from cylosses._cli.table_files import files_behind, is_table, suffixes
from cylosses._cli.tables import open_table
from cylosses._cli.zarr import is_zarr

if TYPE_CHECKING:
    from cylosses._cli.score import Request


@dataclass
class Operands:
    """Open operands: those of tables in as few scans as possible, and those of arrays."""

    scans: list[TableScan] = field(default_factory=list)
    arrays: dict[str, Source] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)

    @property
    def groups(self) -> GroupedScan | None:
        """The scan that is sorted by groups, if there is one."""
        found = self.scans[0] if self.scans else None
        return found if isinstance(found, GroupedScan) else None


def open_operands(stack: ExitStack, request: "Request", on_progress: OnProgress | None = None) -> Operands:
    """Open the files of a request; the stack closes them. `on_progress` is told how far tables are read."""
    return _Opener(stack, request, on_progress).open()


def input_files(request: "Request") -> Iterator[Path]:
    """Yield every file that a request reads, of patterns and folders each; what is not there is left to its reader to report."""
    roles = ("weight", "where") if request.table else ROLES
    labels = [label for role in roles if (label := getattr(request, role)) is not None]
    for text in [*request.table, *(split_label(label)[0] for label in labels)]:
        yield from files_behind(text)


class _Opener:
    def __init__(self, stack: ExitStack, request: "Request", on_progress: OnProgress | None) -> None:
        self._stack, self._request, self._on_progress = stack, request, on_progress
        self._database: Database | None = None
        self._tables: dict[str, Table] = {}
        self._columns: dict[str, Column] = {}
        self._arrays: dict[str, Source] = {}

    def open(self) -> Operands:
        request = self._request
        labels = {role: getattr(request, role) for role in ROLES if getattr(request, role) is not None}
        if request.table:
            label = request.table[0] if len(request.table) == 1 else ""
            for text in request.table:
                if not is_table(text):
                    if suffixes(text)[0] not in ARRAYS and not is_zarr(Path(text)):
                        raise unknown_kind(text)
                    raise InputError(
                        f"{text}: not a table, so that it has no columns {labels['predictions']!r} and {labels['targets']!r}"
                    )
            self._tables[label] = self._open_table(list(request.table))
            for role in ("predictions", "targets"):
                self._columns[role] = self._tables[label].column(labels.pop(role))
        for role, text in labels.items():
            self._open_operand(role, text)
        scans = self._scans()
        if request.by:
            scans = [GroupedScan(scans[0], [self._any_column(name) for name in request.by])]
        return Operands(scans, self._arrays, list(self._tables.values()))

    def _open_operand(self, role: str, text: str) -> None:
        path, name = split_label(text)
        if role in ("weight", "where") and any(text in table.names for table in self._tables.values()):
            self._columns[role] = self._any_column(text)
        elif is_table(path):
            if path not in self._tables:
                self._tables[path] = self._open_table([path])
            self._columns[role] = self._tables[path].column(name, text)
        elif role in ("weight", "where") and self._tables and Path(path).suffix.lower() not in ARRAYS:
            self._columns[role] = self._any_column(text)
        else:
            source = self._stack.enter_context(closing(open_array(text)))
            wide = self._request.dtype
            self._arrays[role] = (
                source if wide is None or role not in ("predictions", "targets") else AsDtype(source, np.dtype(wide))
            )

    def _open_table(self, texts: list[str]) -> Table:
        if self._database is None:
            self._database = self._stack.enter_context(database(self._request.threads, self._request.memory, self._on_progress))
        return open_table(self._database, self._stack, texts, self._request.reading)

    def _any_column(self, name: str) -> Column:
        """Return the column of this name of the only table, or of the first that has it."""
        tables = list(self._tables.values())
        return next((table for table in tables if name in table.names), tables[0]).column(name)

    def _scans(self) -> list[TableScan]:
        request, tables = self._request, list(self._tables.values())
        if request.on:
            if len(tables) != 2 or self._arrays or self._columns["predictions"].table is self._columns["targets"].table:
                raise InputError("--on joins two tables: PREDICTIONS and TARGETS as FILE:COLUMN of different files")
            assert self._database is not None
            ordered = request.reduction == "none" or request.grad is not None
            first, second = (self._columns[role].table for role in ("predictions", "targets"))
            settings: dict[str, Any] = {"condition": request.filter, "inner": request.how == "inner", "ordered": ordered}
            return [JoinScan(self._database, (first, second), self._columns, list(request.on), **settings)]
        for option, given in (("--filter", request.filter), ("--by", request.by)):
            if given and (len(tables) != 1 or self._arrays):
                raise InputError(f"{option} needs all columns in one table, or two tables that --on joins")
        if request.how is not None:
            raise InputError("--how is about --on, which is not given")
        scans = []
        for table in tables:
            operands: Mapping[str, Column] = {role: self._columns[role] for role in ROLES if self._is_of(role, table)}
            assert self._database is not None
            scans.append(TableScan(self._database, table, operands, request.filter))
        return scans

    def _is_of(self, role: str, table: Table) -> bool:
        return role in self._columns and self._columns[role].table is table


__all__ = ["Operands", "Reading", "input_files", "open_operands"]
