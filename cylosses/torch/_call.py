"""The way of a call: to torch's own function, to an operator, or straight to the library."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.jit import is_tracing
from torch.overrides import handle_torch_function, has_torch_function

from cylosses import LOSSES, Loss
from cylosses._types import Axis
from cylosses.torch import _kernels
from cylosses.torch._operators import FAMILIES, is_transforming, made

STRIDED = torch.strided
PLAIN = (Tensor, torch.nn.Parameter)
NARROW = (torch.float16, torch.bfloat16)
_NAMES = ("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64")
WIDE = frozenset(getattr(torch, name) for name in _NAMES if hasattr(torch, name))


def _always(*tensors: Tensor) -> bool:
    return True


# torch has no public names for these. Should they disappear, every call takes the way of the operators, which is slower.
_dispatch_modes = getattr(torch._C, "_len_torch_dispatch_stack", _always)
_is_batched = getattr(torch._C._functorch, "is_legacy_batchedtensor", _always)


def _watched() -> bool:
    """Whether torch has to see an operator: it compiles, traces or transforms the call, or a dispatch mode is active."""
    return is_compiling() or is_transforming() or _dispatch_modes() or is_tracing()


class Recorded(torch.autograd.Function):  # type: ignore[misc]
    """A loss, already computed, in the graph of autograd: what the operator does, without the way through torch's dispatcher.

    The value of ``mean`` and ``sum`` came with the gradient of input, from one pass over the data. The first backward pass with
    an incoming gradient of 1, as ``loss.backward()`` has it, hands it out, and any other one computes it anew in its memory.
    """

    @staticmethod
    def forward(ctx: Any, input: Tensor, target: Tensor, others: tuple[Any, ...]) -> Tensor:
        """Keep what the derivatives need."""
        ctx.loss, ctx.axis, result, ctx.gradient, factors = others
        ctx.save_for_backward(input, target, *factors)
        return result

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
        """Return the gradients of input and target."""
        kept, ctx.gradient = ctx.gradient, None
        if torch.is_grad_enabled() or _watched() or _is_batched(grad_output):  # they are differentiated again, or batched
            loss, axis = ctx.loss, ctx.axis
            settings = (loss.reduction, parameter_of(loss), (axis,) if isinstance(axis, int) else axis)
            gradients = FAMILIES[loss.name].gradients(ctx.needs_input_grad[:2], grad_output, *_saved(ctx), *settings)
        elif kept is not None and not ctx.needs_input_grad[1] and grad_output.item() == 1:
            gradients = kept, None
        else:
            gradients = _gradients(ctx, grad_output, kept)
        return *gradients, None


# Function.apply asks for transforms, of which there are none here: that takes as long as all the rest.
_record = super(torch.autograd.Function, Recorded).apply


def _saved(ctx: Any) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Return input, target, weight and where."""
    input, target, *factors = ctx.saved_tensors  # noqa: A001
    weight, where = factors or (None, None)
    return input, target, weight, where


def _gradients(ctx: Any, grad_output: Tensor, kept: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients that are needed; `kept` is the gradient of input for an incoming gradient of 1, if it is known."""
    input, target, weight, where = _saved(ctx)  # noqa: A001
    of_input = of_target = None
    if ctx.needs_input_grad[0]:
        if kept is not None and grad_output.item() == 1:
            of_input = kept
        else:
            of_input = _kernels.gradient(ctx.loss, grad_output, input, target, weight, where, ctx.axis, "input", kept)
    if ctx.needs_input_grad[1]:
        if of_input is not None and input.shape == target.shape and input.dtype == target.dtype:
            of_target = -of_input
        else:
            of_target = _kernels.gradient(ctx.loss, grad_output, input, target, weight, where, ctx.axis, "target")
    return of_input, of_target


def parameter_of(loss: Loss) -> float:
    """Return the parameter of a loss, which must be one number; 0 for losses without."""
    loss.check_one_parameter()
    return getattr(loss, loss.parameter_name) if loss.parameter_name else 0.0


def call(
    name: str,
    function: Any,
    input: Tensor,
    target: Tensor,
    reduction: Any,
    parameter: Any,
    weight: Tensor | None,
    where: Tensor | None,
    axis: Any,
    keepdims: bool,
) -> Any:
    """Return the loss of tensors; `function` is the public one, which classes that override torch's functions are told."""
    if isinstance(axis, np.integer):
        axis = int(axis)
    tensors = (input, target, weight, where)
    if has_torch_function(tensors):
        settings = {} if (known := LOSSES[name].parameter_name) is None else {known: parameter}
        options = {"weight": weight, "where": where, "axis": axis, "keepdims": keepdims}
        return handle_torch_function(function, tensors, input, target, reduction=reduction, **settings, **options)
    if weight is None and where is None and not _watched() and _is_ordinary(input) and _is_ordinary(target):
        result = _computed(_loss(name, reduction, parameter), input, target, None, None, axis)
    else:
        result = _with_care(name, input, target, reduction, parameter, weight, where, axis, keepdims)
    return _with_all_axes(result, input, target, reduction, axis) if keepdims else result


def _is_plain(tensor: Tensor | None) -> bool:
    """Whether a tensor that the operators take is memory of the CPU, and nothing that torch has to unwrap."""
    return tensor is None or (type(tensor) in PLAIN and tensor.is_cpu)


def _is_ordinary(tensor: Any) -> bool:
    """Whether a tensor is memory of the CPU, of a dtype that autocast leaves alone."""
    return type(tensor) in PLAIN and tensor.is_cpu and tensor.layout is STRIDED and tensor.dtype in WIDE


def _with_care(
    name: str,
    input: Tensor,
    target: Tensor,
    reduction: Any,
    parameter: Any,
    weight: Tensor | None,
    where: Tensor | None,
    axis: Axis,
    keepdims: bool,
) -> Tensor:
    """Return the loss of tensors of any kind, without the axes of `keepdims`."""
    if not (_taken("input", input) and _taken("target", target) and _taken("weight", weight) and _taken("where", where)):
        return _elsewhere(name, input, target, reduction, parameter, weight, where, axis, keepdims)
    if weight is not None and weight.requires_grad and torch.is_grad_enabled():
        raise TypeError("weight requires grad, but there is no derivative with respect to weights: pass weight.detach()")
    if torch.is_autocast_enabled("cpu"):  # torch's losses compute in float32 then
        input, target = _widened(input), _widened(target)  # noqa: A001
    if not _watched() and all(map(_is_plain, (input, target, weight, where))):
        return _computed(_loss(name, reduction, parameter), input, target, weight, where, axis)
    axes = (axis,) if isinstance(axis, int) else axis
    number = float(parameter) if is_compiling() else parameter_of(_loss(name, reduction, parameter))
    return FAMILIES[name].value(input, target, weight, where, reduction, number, axes)


def _computed(loss: Loss, input: Tensor, target: Tensor, weight: Tensor | None, where: Tensor | None, axis: Axis) -> Tensor:
    """Return the loss of plain tensors, recorded if a gradient may be asked for."""
    if not (torch.is_grad_enabled() and (input.requires_grad or target.requires_grad)):
        return _kernels.value(loss, input, target, weight, where, axis)
    gradient = None
    if input.requires_grad and axis is None and loss.reduction != "none":
        result, gradient = _kernels.value_and_gradient(loss, input, target, weight, where)
    else:
        result = _kernels.value(loss, input, target, weight, where, axis)
    factors = () if weight is None and where is None else (weight, where)
    return _record(input, target, (loss, axis, result, gradient, factors))


def _loss(name: str, reduction: Any, parameter: Any) -> Loss:
    """Return the loss object of a call, which checks its settings."""
    if type(parameter) is not float:
        cls = LOSSES[name]
        parameter = parameter_of(cls(**{cls.parameter_name: parameter})) if cls.parameter_name else 0.0
    if type(reduction) is not str:
        reduction = LOSSES[name](reduction=reduction).reduction
    return made(name, reduction, parameter)


def _taken(name: str, tensor: Any) -> bool:
    """Whether the operators take a tensor: dense, of real numbers, on the CPU or of shapes only (meta)."""
    if tensor is None and name in ("weight", "where"):
        return True
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(tensor).__name__}")
    return (tensor.is_cpu or tensor.is_meta) and tensor.layout is STRIDED and (tensor.dtype in WIDE or tensor.dtype in NARROW)


def _widened(tensor: Tensor) -> Tensor:
    """Return a tensor as float32 if its floats are narrower."""
    return tensor.float() if tensor.dtype in NARROW else tensor


def _with_all_axes(result: Tensor, input: Tensor, target: Tensor, reduction: Any, axis: Axis) -> Tensor:
    """Return a reduced loss with axes of length 1 where it was reduced."""
    shape = list(torch.broadcast_shapes(input.shape, target.shape))
    if reduction == "none":
        raise ValueError("axis and keepdims need reduction='mean' or 'sum', got 'none'")
    for k in range(len(shape)) if axis is None else (axis,) if isinstance(axis, int) else axis:
        shape[k] = 1
    return result.reshape(shape)


def _elsewhere(
    name: str,
    input: Tensor,
    target: Tensor,
    reduction: Any,
    parameter: Any,
    weight: Tensor | None,
    where: Tensor | None,
    axis: Axis,
    keepdims: bool,
) -> Any:
    """Return what torch's own function of that name makes of tensors that the operators do not take."""
    theirs = getattr(torch.nn.functional, f"{name}_loss", None)
    extensions = {"weight": weight is not None, "where": where is not None, "axis": axis is not None, "keepdims": bool(keepdims)}
    given = [option for option, used in extensions.items() if used]
    if theirs is None or given:
        what = "; ".join(
            f"{label} is {_described(tensor)}"
            for label, tensor in zip(("input", "target", "weight", "where"), (input, target, weight, where), strict=True)
            if tensor is not None and not _taken(label, tensor)
        )
        why = f"torch's own {name}_loss would be called, but has no {given[0]} of this kind" if theirs else "torch has no such loss"
        raise TypeError(f"{name}_loss computes on dense CPU tensors of real numbers, and {what}: {why}")
    settings = {} if (known := LOSSES[name].parameter_name) is None else {known: parameter}
    return theirs(input, target, reduction=reduction, **settings)


def _described(tensor: Tensor) -> str:
    """Return where a tensor lies, and what it holds, in words."""
    layout = str(tensor.layout).removeprefix("torch.")
    return f"{layout}, of {str(tensor.dtype).removeprefix('torch.')}, on the device {tensor.device}"
