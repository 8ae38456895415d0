"""How `torch.vmap` batches the operators: the batch becomes the first axis of one call, over which nothing is summed."""

from collections.abc import Callable, Sequence
from typing import Any

from numpy.lib.array_utils import normalize_axis_tuple
from torch import Tensor


def rule(operator: Any, before: int) -> Callable[..., tuple[Tensor, int]]:
    """Return the rule of an operator with `before` tensors in front of input, target, weight and where."""

    def batched(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Tensor, int]:
        tensors, (reduction, parameter, axis, *others) = arguments[: before + 4], arguments[before + 4 :]
        dims = in_dims[: before + 4]
        shapes = [_shape_of_one(tensor, dim) for tensor, dim in zip(tensors, dims, strict=True)]
        ndim = max(len(shape) for shape in shapes[before : before + 2])
        # Whatever the operands are, each example has a result, and a gradient, of its own.
        aligned = [_aligned(tensor, dim, ndim, info.batch_size) for tensor, dim in zip(tensors, dims, strict=True)]
        if before:  # it has the axes of the result, which may be fewer
            aligned[0] = _aligned(tensors[0], dims[0], 0, info.batch_size)
        if reduction != "none":
            axis = [k + 1 for k in (range(ndim) if axis is None else normalize_axis_tuple(axis, ndim, "axis"))]
        result = operator(*aligned, reduction, parameter, axis, *others)
        if others:  # the gradient with respect to an operand, whose shape may have been padded
            result = result.reshape(info.batch_size, *shapes[before + ("input", "target").index(others[0])])
        return result, 0

    return batched


def _shape_of_one(tensor: Tensor | None, dim: int | None) -> Sequence[int]:
    """Return the shape that a tensor has for each example."""
    return () if tensor is None else [n for k, n in enumerate(tensor.shape) if k != dim]


def _aligned(tensor: Tensor | None, dim: int | None, ndim: int, batch_size: int) -> Tensor | None:
    """Return a tensor with the batch in front, repeated if it has none, and at least `ndim` axes behind it."""
    if tensor is None:
        return None
    moved = tensor.expand(batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
    missing = ndim - (moved.ndim - 1)
    return moved.reshape(batch_size, *(1,) * missing, *moved.shape[1:]) if missing > 0 else moved
