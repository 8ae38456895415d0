"""Columns of `.parquet` files, which stream in batches of rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cylosses._cli.source import NUMBERS, InputError, Window, choose, one_line, orders_of
from cylosses._types import Array


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
            name = choose(label, column, schema.names, "column")
            self.dtype = _arrow_dtype(label, name, schema.field(name).type)
        except BaseException:
            self._file.close()
            raise
        self.shape: tuple[int, ...] = (self._file.metadata.num_rows,)
        self.orders = orders_of(self.shape, fortran=False)
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
        batches, rows = [self._pending], len(self._pending)
        while rows < wanted:
            batches.append(self._next_batch())
            rows += len(batches[-1])
        values = np.concatenate(batches)
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


def _arrow_dtype(label: str, name: str, kind: Any) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
    except (NotImplementedError, TypeError):
        raise InputError(f"{label}: column {name!r} of type {one_line(kind)} is not supported; {NUMBERS}") from None
    if dtype.kind not in "biuf":
        raise InputError(f"{label}: column {name!r} of type {one_line(kind)} is not supported; {NUMBERS}")
    return dtype
