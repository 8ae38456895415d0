"""The types of arguments that many functions have, for type checkers; nothing is checked against them at run time."""

import numbers
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np

from cylosses._core.convert import Array as Array
from cylosses._core.convert import Reduction as Reduction

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
else:
    ArrayLike = Any  # importing numpy.typing takes longer than checkers are worth at run time

Curvature: TypeAlias = Literal["exact", "mm", "ones"]
Operand: TypeAlias = Literal["input", "target"]
Axis: TypeAlias = int | tuple[int, ...] | None
Number: TypeAlias = float | np.floating[Any] | np.integer[Any]


class SupportsArray(Protocol):
    """What NumPy makes an array of."""

    def __array__(self) -> Any:
        """Return the array."""


class SupportsDLPack(Protocol):
    """What array libraries have whose arrays NumPy takes over without a copy."""

    def __dlpack__(self, *, stream: Any = ...) -> Any:
        """Return a capsule that holds the array."""

    def __dlpack_device__(self) -> tuple[Any, Any]:
        """Return the kind and the number of the device."""


Numbers: TypeAlias = ArrayLike | SupportsDLPack
Parameter: TypeAlias = Number | Array | list[Any] | tuple[Any, ...] | SupportsArray | SupportsDLPack
"""A parameter of a loss: a number, or an array of them. Not any `ArrayLike`: strings are one."""
Factors: TypeAlias = Numbers | numbers.Rational
"""Incoming gradients: fractions count exactly."""
