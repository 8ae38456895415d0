"""Zarr arrays, read window by window with the package zarr, which is no part of any extra."""

import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from cylosses._cli.npy import check_dtype
from cylosses._cli.source import InputError, Window, choose, one_line, orders_of
from cylosses._cli.windows import WINDOW
from cylosses._types import Array

# Elements of a slab: all chunks that share their place on the first axis. Larger ones are read block by block.
_LARGEST_SLAB = 1 << 24
_METADATA = ("zarr.json", ".zarray", ".zgroup")


def is_zarr(path: Path) -> bool:
    """Whether this is a folder that holds a Zarr array or group, whatever its name, or is called so."""
    return path.is_dir() and (path.suffix.lower() == ".zarr" or any((path / name).is_file() for name in _METADATA))


class ZarrSource:
    """A Zarr array of which only one window is in memory at any time, and the chunks that it touches."""

    def __init__(self, label: str, path: Path, name: str | None) -> None:
        self.label, self._path = label, path
        self._identity = _identity(path)
        self._array: Any = _open(label, path, name)
        self.shape: tuple[int, ...] = tuple(self._array.shape)
        self.dtype: np.dtype[Any] = np.dtype(self._array.dtype)
        check_dtype(label, self.dtype)
        length = self._array.chunks[0] if self.shape else 1
        row = math.prod(self.shape[1:])
        # Whole chunks, and as many as make a window.
        self._length = length * max(WINDOW // max(length * row, 1), 1)
        self._slab_at, self._slab = -1, np.empty(0, self.dtype)
        self.orders = orders_of(self.shape, fortran=False)
        if len(self.shape) > 1 and length * row > _LARGEST_SLAB:
            self.orders = frozenset()

    def read(self, window: Window) -> Array:
        """Return the elements of the window."""
        if not isinstance(window, slice):
            return self._part(window)
        values = np.empty(window.stop - window.start, self.dtype)
        size = self._length * math.prod(self.shape[1:])
        at = window.start
        while at < window.stop:
            number, start = divmod(at, size)
            if number != self._slab_at:
                rows = (slice(number * self._length, (number + 1) * self._length),) if self.shape else ()
                self._slab_at, self._slab = number, self._part(rows).reshape(-1)
            part = self._slab[start : start + window.stop - at]
            values[at - window.start : at - window.start + part.size] = part
            at += part.size
        return values

    def _part(self, window: tuple[slice, ...]) -> Array:
        try:
            return np.asarray(self._array[window], self.dtype)
        except Exception as error:  # storage, codecs and zarr each raise their own for damaged data
            raise InputError(f"{self.label}: cannot read: {one_line(error)}") from None

    def check_unchanged(self) -> None:
        """Refuse an array of which a file has changed since it was opened."""
        if _identity(self._path) != self._identity:
            raise InputError(f"{self.label}: the array has changed while it was read")

    def close(self) -> None:
        """Do nothing: files are open only while they are read."""


def _open(label: str, path: Path, name: str | None) -> Any:
    try:
        import zarr
    except ModuleNotFoundError:
        raise InputError(f"{label}: reading Zarr needs the package zarr: pip install zarr") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about types without a specification, which are refused
            found: Any = zarr.open(path, mode="r")
            if not isinstance(found, zarr.Group):
                if name is not None:
                    raise InputError(f"{label}: the file is one array, and has none with a name")
                return found
            arrays = {key: member for key, member in found.members(max_depth=None) if isinstance(member, zarr.Array)}
        return arrays[choose(label, name, sorted(arrays), "array")]
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{label}: not a readable Zarr array: {one_line(error)}") from None


def _identity(path: Path) -> tuple[int, int, int]:
    """Return the number of files, the sum of their sizes, and the time of the latest change."""
    found = [Path(folder, name).stat() for folder, _, names in os.walk(path) for name in names]
    return len(found), sum(file.st_size for file in found), max((file.st_mtime_ns for file in found), default=0)
