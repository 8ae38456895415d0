"""Parameters of losses that are arrays: taken from what users give, checked, and kept as they were.

A parameter that is one number is a float, and comes here only to be told from an array. Numbers of an array are copied, one alone
for axes along which they are the same: equal parameters are equal, however they were made.
"""

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from cylosses._core import builds
from cylosses._core.convert import Array, as_array, as_float

MOST_NUMBERS = 4096  # each is a pass over its share of the data
# Up to so many elements, an array is looked up among those that came before: making one takes longer than a small call.
_REMEMBERED = 64
_PLAIN = frozenset({float, int})  # equal numbers of these types are the same parameter
_REAL = "biuf"  # kinds of dtypes


class ParameterArray:
    """Numbers that are valid for the parameter of a loss, and the shape that they are seen at. It never changes."""

    __slots__ = ("_loss", "fits_float32", "shape", "values")

    def __init__(self, loss: int, shape: tuple[int, ...], values: Array) -> None:
        """Take float64 numbers for the loss of this number, in as many dimensions as `shape`: 1 where they are all the same."""
        listed = values.ravel().tolist()
        place = builds.first_unfit(loss, listed, False)
        if place >= 0:
            builds.check_element(loss, listed[place], _index(values, place))
        self._loss = loss
        self.shape = shape
        self.values = np.abs(values)  # -0.0 is 0
        self.values.flags.writeable = False
        self.fits_float32 = builds.first_unfit(loss, listed, True) < 0

    def check_in_float32(self) -> None:
        """Raise ValueError for the first number that, rounded to float32, is not valid any more."""
        listed = self.values.ravel().tolist()
        place = builds.first_unfit(self._loss, listed, True)
        if place >= 0:
            builds.check_rounded(self._loss, listed[place], _index(self.values, place))

    def as_array(self) -> Array:
        """Return an array of the shape, which cannot be written to."""
        return np.broadcast_to(self.values, self.shape)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ParameterArray):
            return NotImplemented
        return self.shape == other.shape and self.values.tobytes() == other.values.tobytes()

    def __hash__(self) -> int:
        return hash((self.shape, self.values.tobytes()))

    def __repr__(self) -> str:
        """Return what makes such an array again: lists, or where elements repeat, the way to spread them."""
        if 0 in self.shape:
            return f"numpy.empty({self.shape})"
        text = repr(self.values.tolist()).replace("inf", "float('inf')")
        return text if self.values.shape == self.shape else f"numpy.broadcast_to({text}, {self.shape})"


Parameter: TypeAlias = float | ParameterArray


def parameter_of(loss: int, given: object) -> Parameter:
    """Return the parameter of the loss of this number: TypeError for what is none, ValueError for one that is not valid.

    What has no dimensions is a number, everything else an array, also of one element.
    """
    if isinstance(given, ParameterArray):
        return given
    if isinstance(given, list | tuple) and len(given) <= _REMEMBERED and set(map(type, given)) <= _PLAIN:
        return _of_numbers(loss, tuple(given))
    if type(given) is np.ndarray and given.ndim and given.size <= _REMEMBERED and given.dtype.kind in _REAL:
        return _of_memory(loss, given.dtype, given.shape, given.tobytes())
    return _taken(loss, given)


@lru_cache(maxsize=256)
def _of_numbers(loss: int, numbers: tuple[Any, ...]) -> Parameter:
    return _taken(loss, numbers)


@lru_cache(maxsize=256)
def _of_memory(loss: int, dtype: np.dtype[Any], shape: tuple[int, ...], memory: bytes) -> Parameter:
    return _taken(loss, np.frombuffer(memory, dtype).reshape(shape))


def _taken(loss: int, given: object) -> Parameter:
    if not _may_be_array(given):
        return builds.check_parameter(loss, given)
    name = builds.parameter_name(loss)
    array = as_array(name, given)
    if array.ndim == 0:
        return builds.check_parameter(loss, given)
    return ParameterArray(loss, array.shape, _distinct(name, array))


def _may_be_array(given: object) -> bool:
    if isinstance(given, float | int | np.generic):
        return False
    return isinstance(given, list | tuple) or hasattr(given, "__array__") or hasattr(given, "__dlpack__")


def _distinct(name: str, array: Array) -> Array:
    """Return the elements as float64, with the first alone along axes where they are all the same."""
    several = [slice(None if step or not length else 1) for length, step in zip(array.shape, array.strides, strict=True)]
    values = _as_float64(name, array[tuple(several)])
    for axis in range(values.ndim):
        if values.shape[axis] > 1:
            first = values[(slice(None),) * axis + (slice(1),)]
            values = first if bool((values == first).all()) else values
    if values.size > MOST_NUMBERS:
        raise ValueError(
            f"{name} of shape {array.shape} has {values.size} elements along the axes where they differ; at most {MOST_NUMBERS} "
            "are taken, for each needs a pass of its own"
        )
    return values


def _as_float64(name: str, array: Array) -> Array:
    if array.dtype.kind in _REAL or array.dtype.name == "bfloat16":
        return array.astype(np.float64)
    if array.dtype.kind != "O":
        raise TypeError(f"{name} must be one real number, or an array of them, got an array of dtype {array.dtype}")
    values = np.empty(array.shape)
    for index, value in np.ndenumerate(array):
        values[index] = as_float(f"{name}{list(index)}", value)
    return values


def _index(values: Array, place: int) -> str:
    """Return the index of an element, counted in C order, as it stands in brackets."""
    return str([int(k) for k in np.unravel_index(place, values.shape)])
