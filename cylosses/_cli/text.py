"""Columns of `.csv` and `.tsv` files.

The column is loaded: the number of rows must be known before the first gradient of a mean is written, and text does not tell it
without being read. A row takes 8 bytes, and 16 for a moment if integers become floats.
"""

import csv
from array import array
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from cylosses._cli.source import ArraySource, InputError, Source, choose, one_line
from cylosses._types import Array


class TextSource(ArraySource):
    """A column of a text file. Text has no width of its own: integers may as well be float64."""

    def make_floats(self) -> None:
        """Make the elements float64."""
        self.dtype = np.dtype(np.float64)
        self._flat = self._values = self._values.astype(np.float64)


def with_floats(source: Source) -> Source:
    """Return the source, whose elements, if they were text, are now float64."""
    if isinstance(source, TextSource):
        source.make_floats()
    return source


def read_text(label: str, path: Path, column: str | None, delimiter: str) -> Array:
    """Read one column of a text file that begins with a header line: int64 or uint64 if all of its cells are such, else float64."""
    values = _Numbers()
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=delimiter)
        try:
            header = next(rows, [])
            name = choose(label, column, header, "column")
            if column is None and _number(name) is not None:
                raise InputError(f"{label}: line 1 is the number {name!r}; a header line with column names is needed")
            _append_column(label, rows, header, header.index(name), values)
        except UnicodeDecodeError as error:
            raise InputError(f"{label}: not UTF-8 text after line {rows.line_num}: {one_line(error)}") from None
        except csv.Error as error:
            raise InputError(f"{label}: line {rows.line_num}: {one_line(error)}") from None
    return values.as_array()


class _Numbers:
    """Numbers of a column, which are kept as integers as long as all of them are."""

    def __init__(self) -> None:
        self._values: array[Any] = array("q")

    def append(self, number: float) -> None:
        while True:
            try:
                self._values.append(number)
                return
            except OverflowError:
                unsigned = self._values.typecode == "q" and number > 0 and min(self._values, default=0) >= 0
                self._values = array("Q" if unsigned else "d", self._values)
            except TypeError:
                self._values = array("d", self._values)

    def as_array(self) -> Array:
        return np.frombuffer(self._values, self._values.typecode) if self._values else np.empty(0)


def _append_column(label: str, rows: Any, header: list[str], position: int, values: _Numbers) -> None:
    blank = 0
    for row in rows:
        if not row:  # blank lines may end a file; anywhere else one is a missing observation
            blank = blank or rows.line_num
            continue
        if blank:
            _bad_cell(label, blank, header[position], "")
        if len(row) != len(header):
            raise InputError(f"{label}: line {rows.line_num} has {len(row)} cells; the header has {len(header)}")
        value = _number(row[position])
        if value is None:
            _bad_cell(label, rows.line_num, header[position], row[position])
        values.append(value)


def _bad_cell(label: str, line: int, column: str, cell: str) -> NoReturn:
    what = f"{cell!r} is not a number" if cell.strip() else "the cell is empty"
    raise InputError(f"{label}: line {line}, column {column!r}: {what}; numbers, nan and inf are accepted")


def _number(cell: str) -> float | None:
    """Return the number that a cell holds, an int if it is written with digits alone and may fit 64 bits; None if it holds none."""
    if "_" in cell:  # digit grouping is Python source, not data
        return None
    try:
        number = float(cell)
    except ValueError:
        return None
    if "." in cell:  # most cells, and soon told
        return number
    digits = cell.strip().lstrip("+-").lstrip("0")
    return int(cell) if (digits or "0").isdecimal() and len(digits) <= 20 and number - number == 0 else number
