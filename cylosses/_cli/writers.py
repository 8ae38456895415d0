"""What the command line writes into its output files."""

import math
import os
from typing import Any

import numpy as np

from cylosses._cli.output_files import OutputFile
from cylosses._cli.source import Window
from cylosses._types import Array


class NpyWriter:
    """A `.npy` file, C or F in its memory order, that is written window by window into an output file.

    Windows that are plain slices come in ascending memory order, without gaps.
    """

    def __init__(self, output: OutputFile, shape: tuple[int, ...], dtype: np.dtype[Any], order: str) -> None:
        self._output, self._file = output, output.file
        self._shape, self._dtype, self._order = shape, dtype, order
        header = {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": order == "F" and len(shape) > 1,
            "shape": shape,
        }
        with output.errors():
            np.lib.format.write_array_header_1_0(self._file, header)
        self._offset = self._file.tell()
        self._reserved = False

    def write(self, window: Window, values: Array) -> None:
        """Write the elements of one window, in its shape."""
        with self._output.errors():
            if isinstance(window, slice):
                self._file.write(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
            elif values.size:  # no range that is empty can be reserved or mapped
                self._write_block(window, values)

    def _write_block(self, window: tuple[slice, ...], values: Array) -> None:
        if not self._reserved:
            self._reserve()
        order: Any = self._order
        np.memmap(self._file, self._dtype, "r+", self._offset, self._shape, order)[window] = values

    def _reserve(self) -> None:
        """Give the file its full length: a full disk is an error here, but kills a process that writes to a map."""
        self._file.flush()
        length = math.prod(self._shape) * self._dtype.itemsize
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._file.fileno(), self._offset, length)
        else:
            self._file.truncate(self._offset + length)
        self._reserved = True
