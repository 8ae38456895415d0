"""Columns of a table, and what of SQL reads them as numbers, masks and keys."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cylosses._cli.engine import literal
from cylosses._cli.source import NA, NUMBERS, InputError

if TYPE_CHECKING:
    from cylosses._cli.table import Table

_SIGNED = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT"}
_UNSIGNED = {"UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
INTEGERS = _SIGNED | _UNSIGNED | {"HUGEINT", "UHUGEINT"}
_FLOATS = {"FLOAT", "DOUBLE"}


@dataclass(frozen=True)
class Reading:
    """How text files are read; None: as their first rows tell."""

    delimiter: str | None = None
    decimal: str = "."
    encoding: str | None = None
    na: tuple[str, ...] = NA
    header: bool | None = None


@dataclass
class Column:
    """A column of a table: its name in the file, its name for DuckDB, and its type as DuckDB found it."""

    table: "Table"
    name: str
    identifier: str
    type: str
    exact: str | None = field(default=None)  # the integer type that holds all of a text column, once that is known

    @property
    def is_text(self) -> bool:
        """Whether the type is a guess from the first rows; it is none for a column that names of folders tell."""
        return not self.table.has_types and self.name not in self.table.partitions

    @property
    def maybe_integer(self) -> bool:
        """Whether all numbers may be integers; of text, the numbers themselves tell."""
        if self.is_text:
            return self.exact is None
        return self.type in _SIGNED | _UNSIGNED | {"BOOLEAN"}

    def number(self) -> str:
        """Return the SQL of the column as float64, float32, int64 or uint64."""
        kind = _plain(self.type)
        if self.is_text or kind in _FLOATS:
            return self.identifier
        if kind in _SIGNED or kind == "BOOLEAN":
            return f"CAST({self.identifier} AS BIGINT)"
        if kind in _UNSIGNED:
            return f"CAST({self.identifier} AS UBIGINT)"
        if kind == "DECIMAL":  # by its digits: a quotient would be rounded twice
            return f"CAST(CAST({self.identifier} AS VARCHAR) AS DOUBLE)"
        raise InputError(f"{self.table.label}: column {self.name!r} of type {self.type} is not supported; {NUMBERS}")

    def mask(self) -> str:
        """Return the SQL of the column as bools, or as numbers that should be 0 and 1."""
        if self.type != "BOOLEAN":
            return self.number()
        # A plain cast would be handed on to the reader of CSV, which finds no number in True.
        return f"CASE WHEN {self.identifier} THEN 1::UTINYINT WHEN NOT {self.identifier} THEN 0::UTINYINT END"

    def key(self) -> str:
        """Return the SQL of the column as something that is compared: a number, a bool or a text."""
        kind = _plain(self.type)
        if self.is_text and kind in INTEGERS:
            # DuckDB would round the 1.5 that comes after many integers, and join it with 2.
            text = self.identifier
            problem = literal(f"column {self.name!r}: the first rows hold integers, and a later one ")
            return (
                f"CASE WHEN {text} IS NULL THEN NULL WHEN TRY_CAST({text} AS BIGINT) = TRY_CAST({text} AS DOUBLE) "
                f"THEN CAST({text} AS BIGINT) ELSE error({problem} || {text}) END"
            )
        if kind in INTEGERS | _FLOATS | {"BOOLEAN", "VARCHAR"}:
            return self.identifier
        return f"CAST({self.identifier} AS VARCHAR)"

    def read_as(self, use: str) -> str | None:
        """Return the type that the column of a text file is read as to be a number, a mask or a key; None: as it was found."""
        if not self.is_text:
            return None
        if use == "text":
            return "VARCHAR"
        if use == "key":
            return "VARCHAR" if self.type in INTEGERS else None
        if use == "mask" and self.type == "BOOLEAN":
            return None
        return self.exact or "DOUBLE"


def common_type(one: str, other: str) -> str:
    """Return a type for a column that looks like one thing in one file and like another in the next."""
    if one == other:
        return one
    if {one, other} <= INTEGERS:
        return "HUGEINT"
    return "DOUBLE" if {one, other} <= INTEGERS | _FLOATS else "VARCHAR"


def _plain(kind: str) -> str:
    """Return a type without its precision; a list or struct of numbers is no number."""
    return "DECIMAL" if re.fullmatch(r"DECIMAL\(\d+,\d+\)", kind) else kind
