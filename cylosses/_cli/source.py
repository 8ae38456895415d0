"""What a source is: one operand of a loss, in a file, that is read window by window."""

import math
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np

from cylosses._types import Array

# A run of elements in memory order, or a block given by one slice per axis.
Window = slice | tuple[slice, ...]

# Told what is being done, how many bytes of the input are done, and how many there are.
OnProgress = Callable[[str, int, int], None]

NUMBERS = "bool, integers, float16, float32 and float64 are accepted"
# What an empty cell may be written as. NaN is no such text: it is a number.
NA = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NULL", "null", "None")
MISSING = "--missing skip leaves such rows out, --missing nan takes NaN"


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

    def check_unchanged(self) -> None:
        """Refuse a file that has changed since it was opened."""

    def close(self) -> None:
        """Close the file."""


def bytes_of_pair(sources: Iterable[Source]) -> int:
    """Return how many bytes of their files a pair takes, with its weight and mask."""
    return sum(source.dtype.itemsize for source in sources)


class ArraySource:
    """A source that is already in memory."""

    def __init__(self, label: str, values: Array) -> None:
        self.label = label
        self.shape = values.shape
        self.dtype = values.dtype
        self.orders = orders_of(values.shape, fortran=values.flags.f_contiguous)
        self._values = values
        self._flat = values.ravel(order="F" if self.orders == {"F"} else "C")

    def read(self, window: Window) -> Array:
        """Return a view of the window."""
        return self._flat[window] if isinstance(window, slice) else self._values[window]

    def check_unchanged(self) -> None:
        """Do nothing: what was read stays."""

    def close(self) -> None:
        """Do nothing: there is no file."""


class AsDtype:
    """A source whose elements are converted."""

    def __init__(self, source: Source, dtype: np.dtype[Any]) -> None:
        self.label, self.shape, self.orders, self.dtype = source.label, source.shape, source.orders, dtype
        self._source = source

    def read(self, window: Window) -> Array:
        """Return the elements of one window, converted."""
        return self._source.read(window).astype(self.dtype, copy=False)

    def check_unchanged(self) -> None:
        """Refuse a file that has changed since it was opened."""
        self._source.check_unchanged()

    def close(self) -> None:
        """Close the file."""
        self._source.close()


def as_mask(label: str, values: Array) -> Array:
    """Return bools; files that have none may hold 0 and 1."""
    if values.dtype == np.bool_:
        return values
    mask: Array = values == 1
    other = values[~mask & (values != 0)]
    if other.size:
        raise InputError(f"{label}: a mask holds bool, or the numbers 0 and 1; it has {other.flat[0]}")
    return mask


def one_line(error: BaseException) -> str:
    """Return the message of an error, of this or of another package, as a single line."""
    return " ".join(str(error).split())


def orders_of(shape: tuple[int, ...], fortran: bool) -> frozenset[str]:
    """Return the orders of a contiguous array; with at most one axis longer than 1 they are the same."""
    if math.prod(shape) == 0 or sum(length > 1 for length in shape) <= 1:
        return frozenset("CF")
    return frozenset("F" if fortran else "C")


def choose(label: str, name: str | None, names: list[str], kind: str) -> str:
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
