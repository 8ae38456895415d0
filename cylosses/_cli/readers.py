"""Files that the command line reads: arrays and columns, and saved states of a `StreamingLoss`.

A source is a file, or one named column or array of it, with a shape, a dtype and a way to read one window at a time.

- `.npy` is memory-mapped, one window at a time. A map of the whole file would be simpler, but the pages that a
  process has touched count as its memory until they are unmapped.
- `.parquet` streams in batches of rows.
- `.csv`, `.tsv` and `.npz` load the one column or array that is asked for: the number of rows must be known before the
  first gradient of a mean is written, and text does not tell it without being read. A row of text takes 8 bytes, and 16
  for a moment if integers become floats.
"""

import csv
import math
import os
import zipfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NoReturn, Protocol

import numpy as np
import numpy.typing as npt

from cylosses import StreamingLoss

Array = npt.NDArray[Any]
# A run of elements in memory order, or a block given by one slice per axis.
Window = slice | tuple[slice, ...]

NAMED_SUFFIXES = (".npz", ".csv", ".tsv", ".parquet")
SUFFIXES = (".npy", *NAMED_SUFFIXES)
_FORMATS = "FILE.npy, FILE.npz:NAME, FILE.csv:COLUMN, FILE.tsv:COLUMN or FILE.parquet:COLUMN"
# No state is longer: the length is a field of two bytes.
_LONGEST_STATE = 65535
_NUMBERS = "bool, integers, float16, float32 and float64 are accepted"


class InputError(Exception):
    """Bad input; the message is the one line that the user sees."""


class Source(Protocol):
    """One operand of a loss, read window by window."""

    @property
    def label(self) -> str:
        """What the user typed."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole operand."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""

    @property
    def orders(self) -> frozenset[str]:
        """Memory orders, of "C" and "F", in which the elements are one contiguous run."""

    def read(self, window: Window) -> Array:
        """Return the elements of one window; a source of batches needs its windows in ascending order."""

    def close(self) -> None:
        """Release the file."""


class ArraySource:
    """A source that is already in memory."""

    def __init__(self, label: str, values: Array) -> None:
        self.label = label
        self.shape = values.shape
        self.dtype = values.dtype
        self.orders = _orders(values.shape, fortran=values.flags.f_contiguous)
        self._values = values
        self._flat = values.ravel(order="F" if self.orders == {"F"} else "C")

    def read(self, window: Window) -> Array:
        """Return a view of the window."""
        return self._flat[window] if isinstance(window, slice) else self._values[window]

    def close(self) -> None:
        """Do nothing: there is no file."""


class TextSource(ArraySource):
    """A column of a text file. Text has no width of its own: integers may as well be float64."""

    def make_floats(self) -> None:
        """Make the elements float64."""
        self.dtype = np.dtype(np.float64)
        self._flat = self._values = self._values.astype(np.float64)


class NpySource:
    """A `.npy` file of which only one window is mapped at any time."""

    def __init__(self, label: str, path: Path) -> None:
        self.label = label
        self._file = path.open("rb")
        try:
            self.shape, self._fortran, self.dtype = _npy_header(label, self._file)
            self._offset = self._file.tell()
            self._check_length(path)
        except BaseException:
            self._file.close()
            raise
        self.orders = _orders(self.shape, self._fortran)

    def _check_length(self, path: Path) -> None:
        needed = math.prod(self.shape) * self.dtype.itemsize
        present = path.stat().st_size - self._offset
        if present < needed:
            raise InputError(
                f"{self.label}: truncated: {needed} bytes of data follow from shape {self.shape} and dtype "
                f"{self.dtype}, {max(present, 0)} are there"
            )

    def read(self, window: Window) -> Array:
        """Map the window; it is unmapped when the last reference to the result goes."""
        if isinstance(window, slice):
            return self._map(self._offset + window.start * self.dtype.itemsize, (window.stop - window.start,))
        # Mapping everything costs address space only: just the pages of this block are ever touched.
        return self._map(self._offset, self.shape)[window]

    def _map(self, offset: int, shape: tuple[int, ...]) -> Array:
        if math.prod(shape) == 0:
            return np.empty(shape, self.dtype)  # an empty range cannot be mapped
        order: Any = "F" if self._fortran else "C"
        try:
            return np.memmap(self._file, self.dtype, "r", offset, shape, order).view(np.ndarray)
        except (OSError, ValueError) as error:  # no room to map it, or the file has shrunk since
            raise InputError(f"{self.label}: cannot map: {one_line(error)}") from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ParquetSource:
    """One column of a `.parquet` file, read in batches."""

    def __init__(self, label: str, path: Path, column: str | None, batch: int = 1 << 18) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ModuleNotFoundError:
            raise InputError(f"{label}: reading .parquet needs the package pyarrow: pip install pyarrow") from None
        self.label = label
        try:
            # By default pyarrow reads the whole column ahead, whatever the batch size.
            self._file = pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
        except pyarrow.ArrowException as error:
            raise InputError(f"{label}: not a readable .parquet file: {one_line(error)}") from None
        try:
            schema = self._file.schema_arrow
            name = _choose(label, column, schema.names, "column")
            self.dtype = _arrow_dtype(label, name, schema.field(name).type)
        except BaseException:
            self._file.close()
            raise
        self.shape: tuple[int, ...] = (self._file.metadata.num_rows,)
        self.orders = _orders(self.shape, fortran=False)
        self._name = name
        self._damage = pyarrow.ArrowException
        self._batches: Iterator[Any] = self._file.iter_batches(batch, columns=[name])
        self._pending = np.empty(0, self.dtype)
        self._row = 0

    def read(self, window: Window) -> Array:
        """Return the next rows; windows come in ascending order, without gaps."""
        if not isinstance(window, slice):
            raise TypeError("a column is read by runs of rows")
        wanted = window.stop - window.start
        parts, have = [self._pending], len(self._pending)
        while have < wanted:
            parts.append(self._next_batch())
            have += len(parts[-1])
        values = np.concatenate(parts)
        self._pending = values[wanted:].copy()
        return values[:wanted]

    def _next_batch(self) -> Array:
        try:
            column = next(self._batches).column(0)
        except (self._damage, OSError, StopIteration) as error:
            raise InputError(f"{self.label}: damaged .parquet file: {one_line(error) or 'rows are missing'}") from None
        if column.null_count:
            row = self._row + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
            raise InputError(f"{self.label}: row {row + 1}, column {self._name!r} is null; a number is needed")
        self._row += len(column)
        values: Array = column.to_numpy(zero_copy_only=False)
        return values

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def open_source(label: str) -> Source:
    """Open a file, or one named part of it, for reading.

    Parameters
    ----------
    label : str
        `FILE.npy`, `FILE.npz:NAME`, `FILE.csv:COLUMN`, `FILE.tsv:COLUMN` or `FILE.parquet:COLUMN`. The name may be
        left off where the file holds only one array or column.

    Returns
    -------
    Source
        The open source; the caller closes it.

    Raises
    ------
    InputError
        If the file cannot be read or does not hold real numbers; the message names the file and what is accepted.
    """
    path, name = split_label(label)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{label}: unknown kind of file; accepted: {_FORMATS}")
    if path.exists() and not path.is_file():
        raise InputError(f"{label}: not a regular file")
    try:
        if suffix == ".npy":
            return NpySource(label, path)
        if suffix == ".npz":
            return ArraySource(label, _read_npz(label, path, name))
        if suffix == ".parquet":
            return ParquetSource(label, path, name)
        return TextSource(label, _read_text(label, path, name, "\t" if suffix == ".tsv" else ","))
    except OSError as error:
        # By number, because pyarrow has words of its own for it.
        reason = os.strerror(error.errno) if error.errno else one_line(error)
        raise InputError(f"{label}: cannot read: {reason}") from None


def with_floats(source: Source) -> Source:
    """Return the source, whose elements, if they were text, are now float64."""
    if isinstance(source, TextSource):
        source.make_floats()
    return source


def read_state(text: str) -> StreamingLoss:
    """Read what `cylosses score --state` or `cylosses merge --out` wrote.

    Parameters
    ----------
    text : str
        The file, as the user typed it.

    Returns
    -------
    StreamingLoss
        The total that it holds.

    Raises
    ------
    InputError
        If it cannot be read or is not a valid state.
    """
    path = Path(text)
    if path.exists() and not path.is_file():
        raise InputError(f"{text}: not a regular file")
    try:
        with path.open("rb") as file:
            return StreamingLoss.from_bytes(file.read(_LONGEST_STATE + 1))
    except OSError as error:
        raise InputError(f"{text}: cannot read: {error.strerror or one_line(error)}") from None
    except ValueError as error:
        raise InputError(f"{text}: {one_line(error)}") from None


def split_label(label: str) -> tuple[Path, str | None]:
    """Split `FILE:NAME` into the file and the name.

    Parameters
    ----------
    label : str
        What the user typed.

    Returns
    -------
    path : pathlib.Path
        The file.
    name : str or None
        The column or array; None if the label has none. A colon separates only behind a suffix that takes a name,
        so that colons elsewhere in a path, and in the name, are left alone.
    """
    end = label.rfind(":")
    while end > 0:
        if Path(label[:end]).suffix.lower() in NAMED_SUFFIXES:
            return Path(label[:end]), label[end + 1 :]
        end = label.rfind(":", 0, end)
    return Path(label), None


def one_line(error: BaseException) -> str:
    """Return the message of an error as a single line.

    Parameters
    ----------
    error : BaseException
        Any exception, of this or of another package.

    Returns
    -------
    str
        Its text with every run of white space replaced by one space.
    """
    return " ".join(str(error).split())


def _orders(shape: tuple[int, ...], fortran: bool) -> frozenset[str]:
    """Return the orders of a contiguous array; with at most one axis longer than 1 they are the same."""
    if math.prod(shape) == 0 or sum(length > 1 for length in shape) <= 1:
        return frozenset("CF")
    return frozenset("F" if fortran else "C")


def _check_dtype(label: str, dtype: np.dtype[Any]) -> None:
    if dtype.hasobject:
        raise InputError(f"{label}: pickled (object) arrays are refused; {_NUMBERS}")
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise InputError(f"{label}: dtype {dtype} is not supported; {_NUMBERS}")


def _choose(label: str, name: str | None, names: list[str], kind: str) -> str:
    """Return the one array or column that the label means."""
    listed = ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")
    if name is None:
        if len(names) != 1:
            raise InputError(f"{label}: name one {kind} of the file as {label}:NAME; it has {listed or 'none'}")
        return names[0]
    if name not in names:
        raise InputError(f"{label}: no {kind} {name!r}; the file has {listed or 'none'}")
    if names.count(name) > 1:
        raise InputError(f"{label}: {names.count(name)} of the file's {kind}s are named {name!r}")
    return name


def _npy_header(label: str, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read and check the header of the `.npy` format; the file is left at the first byte of the data."""
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        elif version in {(2, 0), (3, 0)}:
            # Version 3 is version 2 in UTF-8, which matters to field names only, and those are refused.
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise ValueError(f"version {version} of the format is unknown")
    except OSError:
        raise
    except Exception as error:  # a damaged header takes NumPy's parser to many places
        raise InputError(f"{label}: not a readable .npy array: {one_line(error)}") from None
    _check_dtype(label, dtype)
    if any(length < 0 for length in shape):
        raise InputError(f"{label}: not a readable .npy array: negative shape {shape}")
    return shape, fortran, dtype


def _read_npz(label: str, path: Path, name: str | None) -> Array:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [member.removesuffix(".npy") for member in archive.namelist() if member.endswith(".npy")]
            member = _choose(label, name, names, "array") + ".npy"
            with archive.open(member) as file:
                _npy_header(label, file)
            with archive.open(member) as file:
                values: Array = np.lib.format.read_array(file, allow_pickle=False)
                return values
    except (OSError, InputError, MemoryError):
        raise
    except Exception as error:  # zipfile, zlib, lzma and NumPy each raise their own for damaged data
        raise InputError(f"{label}: not a readable .npz archive: {one_line(error)}") from None


def _read_text(label: str, path: Path, column: str | None, delimiter: str) -> Array:
    """Read one column of a text file that begins with a header line: int64 or uint64 if all of its cells are such, else float64."""
    values = _Numbers()
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=delimiter)
        try:
            header = next(rows, [])
            name = _choose(label, column, header, "column")
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


def _arrow_dtype(label: str, name: str, kind: Any) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
    except (NotImplementedError, TypeError):
        raise InputError(f"{label}: column {name!r} of type {one_line(kind)} is not supported; {_NUMBERS}") from None
    if dtype.kind not in "biuf":
        raise InputError(f"{label}: column {name!r} of type {one_line(kind)} is not supported; {_NUMBERS}")
    return dtype
