"""Gradients and Hessians, block by block. Those of a mean have the divisor of the whole, which is exact.

A block whose axes are not all there cannot be derived as a mean: its elements are, with the factor grad_output / divisor as a
fraction, or as one for each slice. That gives the bits of a single call.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import dask.array as da
import numpy as np

from cylosses import Loss
from cylosses._dask import blocks, totals
from cylosses._dask.operands import Operands, as_array, shape_of, stand_in, with_reduction
from cylosses._shapes import check_fit
from cylosses._types import Curvature, Operand

_OPERANDS = ("input", "target")


@dataclass(frozen=True)
class _Derivation:
    """What blocks need to be derived by an operand."""

    operands: Operands
    others: tuple[Any, Any]
    """Incoming gradient and divisor."""
    loss: Loss
    axis: tuple[int, ...] | None
    """With which a block is derived: those of the call if they are whole, else none, and the loss has the reduction none."""
    number: int

    @classmethod
    def of(cls, loss: Loss, operands: Operands, grad_output: Any, wrt: Operand, axis: Any, split_every: Any) -> "_Derivation":
        with_reduction(loss, "none").grad(0.0, 0.0, wrt=wrt)  # refuses other names
        number = _OPERANDS.index(wrt)
        axes = () if loss.reduction == "none" else totals.axes_of(loss, axis, operands)
        operands, incoming = operands.by_array(number).joined(_incoming(loss, operands, grad_output, axes))
        if loss.reduction != "none" and operands.is_whole(axes):
            return cls(operands, (incoming, None), loss, axes, number)
        divisor = _divisor(operands, axes, split_every) if loss.reduction == "mean" else None
        return cls(operands, (incoming, divisor), with_reduction(loss, "none"), None, number)

    def in_shape_of_operand(self, derivatives: Any, split_every: Any) -> Any:
        """Return derivatives of the elements, summed over what the operand was broadcast along."""
        stretched = self.operands.stretched(self.number)
        missing = derivatives.ndim - self.operands.values[self.number].ndim
        if stretched:
            derivatives = totals.exact_sums(derivatives, stretched, split_every)
        elif missing:
            derivatives = derivatives.map_blocks(blocks.sums_of_one, dtype=derivatives.dtype, meta=derivatives._meta)
        return derivatives[(0,) * missing]


def gradient(loss: Loss, operands: Operands, grad_output: Any, wrt: Operand, axis: Any, split_every: Any) -> Any:
    """Return the gradient by one of the operands, in its shape."""
    call = _Derivation.of(loss, operands, grad_output, wrt, axis, split_every)
    derivatives = call.operands.blockwise(blocks.gradient, operands.dtype, *call.others, loss=call.loss, wrt=wrt, axis=call.axis)
    return call.in_shape_of_operand(derivatives, split_every)


def gradient_and_hessian(
    loss: Loss, operands: Operands, grad_output: Any, curvature: Curvature, split_every: Any
) -> tuple[Any, Any]:
    """Return gradient and diagonal Hessian by input, in its shape."""
    loss.grad_and_hess(0.0, 0.0, curvature=curvature)  # refuses other names
    call = _Derivation.of(loss, operands, grad_output, "input", None, split_every)
    pairs = call.operands.blockwise(blocks.gradient_and_hessian, object, *call.others, loss=call.loss, curvature=curvature)
    parts = [_item(pairs, number, operands.dtype, range(pairs.ndim)) for number in range(2)]
    of_input, hessian = (call.in_shape_of_operand(part, split_every) for part in parts)
    return of_input, hessian


def value_and_gradient(loss: Loss, operands: Operands, axis: Any, split_every: Any) -> tuple[Any, Any]:
    """Return what the loss returns and its gradient by input; each block is read once for both."""
    call = _Derivation.of(loss, operands, None, "input", axis, split_every)
    if call.operands is not operands or operands.values[0].ndim < operands.ndim or operands.stretched(0):
        return totals.value(loss, operands, axis, False, split_every), gradient(loss, operands, None, "input", axis, split_every)
    axes = () if loss.reduction == "none" else totals.axes_of(loss, axis, operands)
    kept = [k for k in range(operands.ndim) if k not in axes]
    if call.axis is not None or loss.reduction == "none":
        pairs = operands.blockwise(blocks.value_and_gradient, object, loss=loss, axis=call.axis)
        value = _item(pairs, 0, operands.dtype, kept)
    else:
        pairs = operands.blockwise(blocks.total_and_gradient, object, *call.others, loss=loss, derived=call.loss, axes=axes)
        value = totals.reduced(_item(pairs, 0, object, range(pairs.ndim)), axes, False, operands.dtype, split_every)
    return value, _item(pairs, 1, operands.dtype, range(pairs.ndim))


def _item(pairs: Any, number: int, dtype: Any, kept: Any) -> Any:
    """Return the array of one of the results that tasks had together, without the axes that are not kept, which must be whole."""
    index = tuple(kept)
    return da.blockwise(
        blocks.item, index, pairs, tuple(range(pairs.ndim)), number=number, dtype=dtype, meta=np.empty((0,) * len(index), dtype)
    )


def _divisor(operands: Operands, axes: tuple[int, ...], split_every: Any) -> Any:
    """Return the divisor of a mean: a fraction, or an array of them."""
    length: float = 1
    for k in axes:  # integers of any size
        length = length * operands.shape[k]
    if not operands.selects and length == length:
        return Fraction(int(length))
    return totals.weights(operands, axes, split_every)


def _incoming(loss: Loss, operands: Operands, grad_output: Any, axes: tuple[int, ...]) -> Any:
    """Return an incoming gradient that blocks can take: a number, None, or an array that broadcasts to the shape of the call."""
    given: Any = grad_output
    if given is not None and not isinstance(given, Fraction):
        given = as_array("grad_output", given)
    with_reduction(loss, "none").grad(0.0, 0.0, grad_output=stand_in(given))  # refuses dtypes
    shape = shape_of(given)
    if all(length == 1 for length in shape):
        return given[(0,) * len(shape)] if shape else given
    if loss.reduction == "none":
        check_fit("grad_output", shape, operands.shape)
        return given
    if len(axes) == operands.ndim:
        raise ValueError(f"grad_output must be one number for reduction={loss.reduction!r}, got shape {shape}")
    if len(shape) == operands.ndim - len(axes):
        given = given[tuple(None if k in axes else slice(None) for k in range(operands.ndim))]
    check_fit("grad_output", shape_of(given), tuple(1 if k in axes else n for k, n in enumerate(operands.shape)))
    return given
