"""What the operators compute: a loss of the library on tensors that lie in the CPU's memory, without a record for autograd."""

import contextlib
import warnings
from typing import Any

import numpy as np
from torch import Tensor, get_num_threads

from cylosses import BroadcastWarning, Loss
from cylosses._types import Array, Axis, Operand
from cylosses.torch._arrays import array_of, tensor_of


def _options(weight: Tensor | None, where: Tensor | None, axis: Axis) -> dict[str, Any]:
    """Return the keywords of a call: as many threads as torch has, and those that are given."""
    options: dict[str, Any] = {"n_threads": get_num_threads()}
    if weight is not None:
        options["weight"] = array_of(weight)
    if where is not None:
        options["where"] = array_of(where)
    if axis is not None:
        options["axis"] = axis
    return options


def value(loss: Loss, input: Tensor, target: Tensor, weight: Tensor | None, where: Tensor | None, axis: Axis) -> Tensor:
    """Return the loss."""
    if weight is None and where is None and axis is None:
        return tensor_of(loss(array_of(input), array_of(target), n_threads=get_num_threads()))
    return tensor_of(loss(array_of(input), array_of(target), **_options(weight, where, axis)))


def value_and_gradient(
    loss: Loss, input: Tensor, target: Tensor, weight: Tensor | None, where: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Return the loss, and its gradient with respect to input, from one pass over the data; None if it is of another dtype."""
    if weight is None and where is None:
        found, gradient = loss.value_and_grad(array_of(input), array_of(target), n_threads=get_num_threads())
    else:
        found, gradient = loss.value_and_grad(array_of(input), array_of(target), **_options(weight, where, None))
    result = tensor_of(found)
    return result, tensor_of(gradient) if result.dtype is input.dtype else None


def gradient(
    loss: Loss,
    grad_output: Tensor,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    where: Tensor | None,
    axis: Axis,
    wrt: Operand,
    out: Tensor | None = None,
) -> Tensor:
    """Return the gradient with respect to an operand, times `grad_output`: of its shape and dtype, in `out` if that is given.

    The forward pass has warned of operands of two shapes.
    """
    arrays, options = (array_of(input), array_of(target)), _options(weight, where, axis)
    with _without_broadcast_warning(*arrays):
        found = loss.grad(
            *arrays, grad_output=array_of(grad_output), wrt=wrt, out=None if out is None else array_of(out), **options
        )
    return tensor_of(found).to((input if wrt == "input" else target).dtype)


def hessian(
    loss: Loss, grad_output: Tensor, input: Tensor, target: Tensor, weight: Tensor | None, where: Tensor | None, axis: Axis
) -> Tensor:
    """Return the second derivative of each element, times `grad_output`, for operands of one shape."""
    factor = array_of(grad_output)
    options = _options(weight, where, None)
    if axis is not None:  # the library has Hessians of whole reductions: those of slices are made of the elements'
        factor = np.expand_dims(factor, axis)
        if loss.reduction == "mean":
            selected = options.get("where", np.bool_(True)) * options.get("weight", np.float64(1))
            with np.errstate(divide="ignore", invalid="ignore"):  # of a slice of which nothing is selected
                factor = factor / np.broadcast_to(selected, input.shape).sum(axis, dtype=np.float64, keepdims=True)
        factor = np.broadcast_to(factor, input.shape)
        settings = {loss.parameter_name: getattr(loss, loss.parameter_name)} if loss.parameter_name else {}
        loss = type(loss)(reduction="none", **settings)
    return tensor_of(loss.grad_and_hess(array_of(input), array_of(target), grad_output=factor, **options)[1])


@contextlib.contextmanager
def _ignored() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BroadcastWarning)
        yield


def _without_broadcast_warning(input: Array, target: Array) -> Any:
    """Return a context in which operands of two shapes are no news: the forward pass has warned."""
    return contextlib.nullcontext() if input.shape == target.shape else _ignored()
