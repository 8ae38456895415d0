"""Rules about shapes, in the core's words, for arrays whose elements are not here. A length may be NaN, not known yet."""

import math
from collections.abc import Iterable
from typing import TypeAlias

from cylosses._core import convert

Shape: TypeAlias = tuple[float, ...]  # ints, and NaN


def broadcast(of_input: Shape, of_target: Shape) -> Shape:
    """Return the shape that input and target broadcast to; warn unless one of them has a single element, as a call does."""
    ndim = max(len(of_input), len(of_target))
    first, second = ((1,) * (ndim - len(shape)) + shape for shape in (of_input, of_target))
    if any(1 not in (a, b) and not _may_be_equal(a, b) for a, b in zip(first, second, strict=True)):
        convert.refuse_shapes(of_input, of_target)  # type: ignore[arg-type]
    shape = tuple(b if a == 1 else a for a, b in zip(first, second, strict=True))
    differ = len(of_input) != len(of_target) or not all(map(_may_be_equal, first, second))
    if differ and math.prod(of_input) != 1 and math.prod(of_target) != 1:
        convert.warn_of_broadcast(of_input, of_target, shape)  # type: ignore[arg-type]
    return shape


def check_fit(name: str, own: Shape, shape: Shape) -> None:
    """Raise ValueError for an operand whose shape does not broadcast to that of the call."""
    missing = len(shape) - len(own)
    if missing < 0 or any(a != 1 and not _may_be_equal(a, b) for a, b in zip(own, shape[missing:], strict=True)):
        raise ValueError(f"{name} of shape {own} cannot be broadcast to {shape}")


def summed_axes(axis: Iterable[int] | None, shape: Shape) -> tuple[int, ...]:
    """Return the axes that are summed over, in ascending order and none of them negative."""
    if axis is None:
        return tuple(range(len(shape)))
    for index in axis:
        if not -len(shape) <= index < len(shape):
            raise ValueError(f"axis {index} is out of bounds for the shape {shape}")
    found = sorted({index % len(shape) for index in axis})
    if len(found) < len(tuple(axis)):
        convert.refuse_axis_twice(axis)
    return tuple(found)


def _may_be_equal(a: float, b: float) -> bool:
    return a == b or a != a or b != b
