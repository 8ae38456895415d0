"""Arrays in `.npy` and `.npz` files, and `.npy.gz`.

A `.npy` file is read window by window. It is not memory-mapped: a map of a file that somebody makes shorter kills the process.
Of an archive or a compressed file, the array is loaded.
"""

import gzip
import math
import os
import zipfile
import zlib
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from cylosses._cli.source import NUMBERS, InputError, Window, choose, one_line, orders_of
from cylosses._types import Array


class NpySource:
    """A `.npy` file of which only one window is in memory at any time."""

    def __init__(self, label: str, path: Path) -> None:
        self.label, self._path = label, path
        self._file = path.open("rb", buffering=0)
        try:
            self.shape, self._fortran, self.dtype = _npy_header(label, self._file)
            self._offset = self._file.tell()
            self._identity = _identity(os.fstat(self._file.fileno()))
            self._check_length()
        except BaseException:
            self._file.close()
            raise
        self.orders = orders_of(self.shape, self._fortran)

    def _check_length(self) -> None:
        needed = math.prod(self.shape) * self.dtype.itemsize
        present = os.fstat(self._file.fileno()).st_size - self._offset
        if present < needed:
            raise InputError(
                f"{self.label}: truncated: {needed} bytes of data follow from shape {self.shape} and dtype "
                f"{self.dtype}, {max(present, 0)} are there"
            )

    def read(self, window: Window) -> Array:
        """Return the elements of the window."""
        if isinstance(window, slice):
            values = np.empty(window.stop - window.start, self.dtype)
            self._fill(values, window.start)
            return values
        return self._block(window, self.shape) if not self._fortran else self._block(window[::-1], self.shape[::-1]).T

    def _block(self, window: tuple[slice, ...], shape: tuple[int, ...]) -> Array:
        """Return a block of an array in C order, which has a run of elements for each index of the axes that are cut."""
        values = np.empty([part.stop - part.start for part in window], self.dtype)
        axis = len(shape)  # of the innermost axes that are there as a whole, the first
        while axis > 0 and values.shape[axis - 1] == shape[axis - 1]:
            axis -= 1
        axis = max(axis - 1, 0)
        strides = [math.prod(shape[k + 1 :]) for k in range(len(shape))]
        start = sum(part.start * stride for part, stride in zip(window, strides, strict=True))
        if values.size:
            for index in product(*map(range, values.shape[:axis])):
                self._fill(values[index], start + sum(i * stride for i, stride in zip(index, strides, strict=False)))
        return values

    def _fill(self, values: Array, start: int) -> None:
        """Read consecutive elements."""
        if not values.size:
            return
        left = values.reshape(-1).view(np.uint8).data
        self._file.seek(self._offset + start * self.dtype.itemsize)
        while left:
            try:
                length = self._file.readinto(left)
            except OSError as error:
                raise InputError(f"{self.label}: cannot read: {error.strerror or one_line(error)}") from None
            if not length:
                raise InputError(f"{self.label}: truncated: the file has become shorter while it was read")
            left = left[length:]

    def check_unchanged(self) -> None:
        """Refuse a file that has changed since it was opened."""
        try:
            found = _identity(self._path.stat())
        except OSError:
            found = ()
        if found != self._identity:
            raise InputError(f"{self.label}: the file has changed while it was read")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_npy_gz(label: str, path: Path) -> Array:
    try:
        with gzip.open(path) as file:
            _npy_header(label, file)
        with gzip.open(path) as file:
            values: Array = np.lib.format.read_array(file, allow_pickle=False)
            while file.read(1 << 20):  # the check sum is behind all data
                pass
            return values
    except (gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
        raise InputError(f"{label}: not a readable .npy.gz array: {one_line(error)}") from None


def read_npz(label: str, path: Path, name: str | None) -> Array:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [member.removesuffix(".npy") for member in archive.namelist() if member.endswith(".npy")]
            member = choose(label, name, names, "array") + ".npy"
            with archive.open(member) as file:
                _npy_header(label, file)
            with archive.open(member) as file:
                values: Array = np.lib.format.read_array(file, allow_pickle=False)
                return values
    except (OSError, InputError, MemoryError):
        raise
    except Exception as error:  # zipfile, zlib, lzma and NumPy each raise their own for damaged data
        raise InputError(f"{label}: not a readable .npz archive: {one_line(error)}") from None


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _npy_header(label: str, file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
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
    check_dtype(label, dtype)
    if any(length < 0 or isinstance(length, bool) for length in shape):  # True passes for an integer in NumPy's parser
        kind = "negative" if any(length < 0 for length in shape) else "impossible"
        raise InputError(f"{label}: not a readable .npy array: {kind} shape {shape}")
    return shape, fortran, dtype


def check_dtype(label: str, dtype: np.dtype[Any]) -> None:
    """Refuse a dtype that the library does not take."""
    if dtype.hasobject:
        raise InputError(f"{label}: pickled (object) arrays are refused; {NUMBERS}")
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise InputError(f"{label}: dtype {dtype} is not supported; {NUMBERS}")
