"""Files that the command line writes: complete under their own name, or not there at all."""

import math
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from cylosses._cli.source import InputError, Window, one_line
from cylosses._types import Array

_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def output_path(option: str, text: str, suffix: str, inputs: Iterable[Path] = ()) -> Path:
    """Return the file that an option names, symbolic links followed; checked before any work is done for it.

    None of `inputs` is replaced, under whatever name, nor a file that its owner has protected: a rename asks for neither.
    """
    if Path(text).suffix.lower() != suffix:  # which also keeps a slip of the keyboard from replacing data
        raise InputError(f"{option}: {text!r} must end in {suffix}")
    # A link is followed here, so that the rename replaces the file and keeps the link.
    path = Path(os.path.realpath(text))
    with _write_errors(option, path):
        try:
            found = path.stat()
        except FileNotFoundError:
            return path
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{option}: {text!r} is not a regular file")
    for other in inputs:
        with suppress(OSError):  # an input that cannot be found is reported by its reader
            if os.path.samestat(found, other.stat()):
                raise InputError(f"{option}: {text!r} is the input file {str(other)!r}, which would be lost")
    # The superuser may write to everything; a file that nobody may write to is protected from him as well.
    if not os.access(path, os.W_OK) or not found.st_mode & _WRITABLE:
        raise InputError(f"{option}: {text!r} is write-protected")
    return path


@contextmanager
def replacing(option: str, path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file in the same folder that takes the place of `path` when the block ends without an error.

    After any exception, Ctrl-C included, the temporary file is gone and an older `path` is as it was.
    """
    temporary = path.with_name(f".cylosses-{secrets.token_hex(6)}.tmp")
    try:
        with _write_errors(option, path):
            file = temporary.open("xb+")
        try:
            yield file
        finally:
            # Closing writes out the last buffer, which may fail as any other write.
            with _write_errors(option, path):
                file.close()
        with _write_errors(option, path):
            if path.exists():
                temporary.chmod(stat.S_IMODE(path.stat().st_mode))
            temporary.replace(path)
    finally:
        _remove(temporary)


def write_whole(option: str, path: Path, file: IO[bytes], content: bytes) -> None:
    """Write a small file at once: `file` is the temporary one of `replacing`, `path` the one that messages name."""
    with _write_errors(option, path):
        file.write(content)


class NpyWriter:
    """A `.npy` file, C or F in its memory order, that is written window by window into the temporary file of `replacing`.

    Windows that are plain slices come in ascending memory order, without gaps.
    """

    def __init__(self, option: str, path: Path, file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], order: str) -> None:
        self._option, self._path, self._file = option, path, file
        self._shape, self._dtype, self._order = shape, dtype, order
        header = {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": order == "F" and len(shape) > 1,
            "shape": shape,
        }
        with _write_errors(option, path):
            np.lib.format.write_array_header_1_0(file, header)
        self._offset = file.tell()
        self._reserved = False

    def write(self, window: Window, values: Array) -> None:
        """Write the elements of one window, in its shape."""
        with _write_errors(self._option, self._path):
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


@contextmanager
def _write_errors(option: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{option}: cannot write {str(path)!r}: {error.strerror or one_line(error)}") from None


def _remove(temporary: Path) -> None:
    with suppress(OSError):  # renamed, or never created
        temporary.unlink()
