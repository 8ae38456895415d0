"""Arrays of real numbers for what is computed in float64 outside the core, with its rule of what is refused."""

from types import NoneType
from typing import Any

import numpy as np

from cylosses._types import Array


def real_numbers(name: str, values: Any) -> Array:
    """Return numbers as float64; TypeError for what NumPy would convert in silence but is no real number, and for masked arrays."""
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array: pass the elements that count, {name}.compressed()")
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O" and any(isinstance(value, str | bytes | complex | NoneType) for value in array.flat):
            raise TypeError("it holds objects that are no real numbers")
        if array.dtype.kind in "cmMSU" or (array.dtype.kind == "f" and array.dtype.itemsize > 8):
            raise TypeError(f"it has the dtype {array.dtype}")
        return array.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be an array of real numbers of at most 64 bits: {error}") from error
