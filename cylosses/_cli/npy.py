"""Arrays in `.npy` and `.npz` files.

A `.npy` file is memory-mapped, one window at a time. A map of the whole file would be simpler, but the pages that a process has
touched count as its memory until they are unmapped. Of an `.npz` archive, the array is loaded.
"""

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from cylosses._cli.source import NUMBERS, InputError, Window, choose, one_line, orders_of
from cylosses._types import Array


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
        self.orders = orders_of(self.shape, self._fortran)

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
        except (OSError, ValueError) as error:  # too few addresses are free, or the file has shrunk since
            raise InputError(f"{self.label}: cannot map: {one_line(error)}") from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


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


def _check_dtype(label: str, dtype: np.dtype[Any]) -> None:
    if dtype.hasobject:
        raise InputError(f"{label}: pickled (object) arrays are refused; {NUMBERS}")
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise InputError(f"{label}: dtype {dtype} is not supported; {NUMBERS}")
