"""The losses as operators of torch's: what `torch.compile`, `torch.export`, `torch.func` and dispatch modes see.

Decisions, with their reasons:

a. Each loss has three operators, ``torch.ops.cylosses.<name>_loss``, its gradient ``…_backward`` and the second derivative
   ``…_hessian``, each with a kernel for the CPU, one that computes shapes only (also for tensors on the device meta), a derivative
   and a rule for vmap.
b. They are defined with `torch.library.Library`: what `torch.library.custom_op` makes of the same functions is as much checked, but
   a call takes twice as long.
c. The derivative of the gradient is put together from the two others, in operations of torch's. The one of the Hessian by the
   operands would be a third derivative, which the library does not have: asking for it is an error.
d. Outputs are contiguous and new: that is what the library returns, and what compilers must know.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from cylosses import LOSSES, Loss
from cylosses._types import Operand
from cylosses.torch import _kernels, _vmap
from cylosses.torch._arrays import numpy_dtype, torch_dtype

Axes = Sequence[int] | None

NAMESPACE = "cylosses"
OPERANDS = "Tensor input, Tensor target, Tensor? weight, Tensor? where, str reduction, float parameter, int[]? axis"
LIBRARY = torch.library.Library(NAMESPACE, "DEF")


@lru_cache(maxsize=256)
def made(name: str, reduction: Any, parameter: float) -> Loss:
    """Return a loss object, which takes longer to make than to look up."""
    cls = LOSSES[name]
    return cls(**{"reduction": reduction} | ({cls.parameter_name: parameter} if cls.parameter_name else {}))


def _always() -> bool:
    return True


# torch has no public name for it. Should it disappear, each call takes the way that transforms can follow, which is slower.
_transforms_are_active = getattr(torch._C, "_are_functorch_transforms_active", _always)


def is_transforming() -> bool:
    """Whether the call is within a transform of torch.func, or tensors may have a tangent."""
    return _transforms_are_active() or getattr(forward_ad, "_current_level", 0) >= 0


# ---- shapes ----------------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _probe(name: str, reduction: Any, ndim: int, dtypes: tuple[torch.dtype, ...], axis: tuple[int, ...] | None) -> Any:
    """Return the dtype of a result, and which axes it keeps: asked of the library, which refuses what it does not accept."""
    loss = made(name, reduction, LOSSES[name].default)
    ones = [np.ones((1,) * ndim, numpy_dtype(dtype)) for dtype in dtypes]
    dtype = torch_dtype(np.asarray(loss(*ones, axis=axis)).dtype)
    reduced = set(range(ndim) if axis is None else (k % ndim for k in axis))
    return dtype, [k for k in range(ndim) if reduction == "none" or k not in reduced]


def _shape(input: Tensor, target: Tensor, weight: Tensor | None, where: Tensor | None) -> torch.Size:
    """Return the shape of the elements' losses."""
    shape = torch.broadcast_shapes(input.shape, target.shape)
    for label, factors in (("weight", weight), ("where", where)):
        if factors is not None and torch.broadcast_shapes(shape, factors.shape) != shape:
            raise ValueError(f"{label} of shape {tuple(factors.shape)} cannot be broadcast to {tuple(shape)}")
    return shape


def _fakes(name: str) -> tuple[Callable[..., Tensor], ...]:
    """Return functions that compute the shape and dtype of the results of value, gradient and Hessian."""

    def value(
        input: Tensor, target: Tensor, weight: Tensor | None, where: Tensor | None, reduction: str, parameter: float, axis: Axes
    ) -> Tensor:
        shape = _shape(input, target, weight, where)
        axes = None if axis is None else tuple(axis)
        dtype, kept = _probe(name, reduction, len(shape), (input.dtype, target.dtype), axes)
        return input.new_empty([shape[k] for k in kept], dtype=dtype)

    def gradient(grad_output: Tensor, input: Tensor, target: Tensor, *others: Any) -> Tensor:
        return torch.empty_like(input if others[-1] == "input" else target, memory_format=torch.contiguous_format)

    def hessian(grad_output: Tensor, input: Tensor, target: Tensor, *others: Any) -> Tensor:
        dtype, _ = _probe(name, "none", 0, (input.dtype, target.dtype), None)
        return torch.empty_like(input, dtype=dtype, memory_format=torch.contiguous_format)

    return value, gradient, hessian


# ---- kernels ---------------------------------------------------------------------------------------------------------------------


def _on_the_cpu(name: str) -> tuple[Callable[..., Tensor], ...]:
    """Return the kernels for value, gradient and Hessian."""

    def value(
        input: Tensor, target: Tensor, weight: Tensor | None, where: Tensor | None, reduction: str, parameter: float, axis: Axes
    ) -> Tensor:
        axes = None if axis is None else tuple(axis)
        return _kernels.value(made(name, reduction, parameter), input, target, weight, where, axes)

    def gradient(
        grad_output: Tensor,
        input: Tensor,
        target: Tensor,
        weight: Tensor | None,
        where: Tensor | None,
        reduction: str,
        parameter: float,
        axis: Axes,
        wrt: Operand,
    ) -> Tensor:
        axes = None if axis is None else tuple(axis)
        return _kernels.gradient(made(name, reduction, parameter), grad_output, input, target, weight, where, axes, wrt)

    def hessian(
        grad_output: Tensor,
        input: Tensor,
        target: Tensor,
        weight: Tensor | None,
        where: Tensor | None,
        reduction: str,
        parameter: float,
        axis: Axes,
    ) -> Tensor:
        axes = None if axis is None else tuple(axis)
        return _kernels.hessian(made(name, reduction, parameter), grad_output, input, target, weight, where, axes)

    return value, gradient, hessian


# ---- derivatives -----------------------------------------------------------------------------------------------------------------


def _summed(tensor: Tensor, operand: Tensor) -> Tensor:
    """Return the sums over what was broadcast, in the shape and dtype of an operand."""
    return tensor.sum_to_size(operand.shape).to(operand.dtype)


def _over_slices(tensor: Tensor, reduction: str, axis: Axes) -> Tensor:
    """Return sums in the shape of the reduced loss."""
    if reduction == "none":
        return tensor
    axes = range(tensor.ndim) if axis is None else axis
    return tensor.sum(tuple(axes)) if len(axes) else tensor


class Operator:
    """An operator of torch's with its kernels, its derivative and its rule for vmap.

    Parameters
    ----------
    name, schema : str
        Name, and arguments with the result.
    kernel, fake : callable
        What computes the result on the CPU, and what computes its shape.
    backward, jvp : callable
        Its derivatives, for autograd in reverse and in forward mode.
    before : int
        Number of tensors in front of the operands.
    """

    def __init__(
        self,
        name: str,
        schema: str,
        kernel: Callable[..., Tensor],
        fake: Callable[..., Tensor],
        backward: Callable[..., tuple[Any, ...]],
        jvp: Callable[..., Tensor],
        before: int,
    ) -> None:
        LIBRARY.define(name + schema)
        LIBRARY.impl(name, kernel, "CPU")
        torch.library.register_fake(f"{NAMESPACE}::{name}", fake, lib=LIBRARY)
        self.overload = getattr(torch.ops.cylosses, name).default
        torch.library.register_autograd(self.overload, backward, setup_context=_save, lib=LIBRARY)
        rule = _vmap.rule(self, before)
        torch.library.register_vmap(self.overload, rule, lib=LIBRARY)
        # Derivatives that are registered are not for torch.func.grad and the like, nor are there any in forward mode.
        members = {"forward": self.overload, "setup_context": _save_for_both, "backward": backward, "jvp": jvp, "vmap": rule}
        methods = {member: staticmethod(function) for member, function in members.items()}
        self._function = type(name, (torch.autograd.Function,), methods)

    def __call__(self, *arguments: Any) -> Any:
        """Return the result for positional arguments, all of them."""
        if not torch.compiler.is_compiling() and is_transforming():
            return self._function.apply(*arguments)  # type: ignore[attr-defined]
        return self.overload(*arguments)


class Family:
    """The operators of a loss.

    Attributes
    ----------
    value, gradient, hessian : Operator
        They have the same arguments but for grad_output, in front, and wrt, at the end of those of the gradient.
    """

    def __init__(self, loss: str) -> None:
        self.name = name = f"{loss}_loss"
        kernels, fakes = _on_the_cpu(loss), _fakes(loss)
        arguments = f"(Tensor grad_output, {OPERANDS}"
        self.value = Operator(name, f"({OPERANDS}) -> Tensor", kernels[0], fakes[0], self._backward_of_value, self._jvp_of_value, 0)
        self.gradient = Operator(
            f"{name}_backward",
            f"{arguments}, str wrt) -> Tensor",
            kernels[1],
            fakes[1],
            self._backward_of_gradient,
            self._jvp_of_gradient,
            1,
        )
        self.hessian = Operator(
            f"{name}_hessian", f"{arguments}) -> Tensor", kernels[2], fakes[2], self._backward_of_hessian, self._jvp_of_hessian, 1
        )

    def gradients(self, needed: Sequence[bool], grad_output: Tensor, input: Tensor, target: Tensor, *others: Any) -> Any:
        """Return the gradients with respect to input and target, each if it is needed."""
        of_input = self.gradient(grad_output, input, target, *others, "input") if needed[0] else None
        if not needed[1]:
            return of_input, None
        if of_input is not None and input.shape == target.shape and input.dtype == target.dtype:
            return of_input, -of_input
        return of_input, self.gradient(grad_output, input, target, *others, "target")

    def _backward_of_value(self, ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
        gradients = self.gradients(ctx.needs_input_grad[:2], grad_output, *ctx.saved_tensors, *ctx.settings)
        return (*gradients, None, None, None, None, None)

    def _jvp_of_value(self, ctx: Any, *tangents: Any) -> Tensor:
        """Return the derivative along tangents of the operands."""
        (*operands, weight, where), (reduction, _, axis) = ctx.saved_tensors, ctx.settings
        expanded = torch.broadcast_tensors(*operands)
        unit = self.gradient(torch.ones_like(ctx.result), *expanded, weight, where, *ctx.settings, "input")
        return _over_slices(unit * _difference(*tangents[:2]), reduction, axis).to(ctx.result.dtype)

    def _backward_of_gradient(self, ctx: Any, incoming: Tensor) -> tuple[Any, ...]:
        """Return the derivatives of a gradient with respect to grad_output, input and target."""
        (grad_output, *operands, weight, where), (*settings, wrt) = ctx.saved_tensors, ctx.settings
        reduction, _, axis = settings
        expanded = torch.broadcast_tensors(*operands)
        incoming = incoming if wrt == "input" else -incoming
        of_grad_output = of_input = of_target = None
        if ctx.needs_input_grad[0]:
            unit = self.gradient(torch.ones_like(grad_output), *expanded, weight, where, *settings, "input")
            of_grad_output = _over_slices(incoming * unit, reduction, axis).to(grad_output.dtype)
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            product = incoming * self.hessian(grad_output, *expanded, weight, where, *settings)
            of_input = _summed(product, operands[0]) if ctx.needs_input_grad[1] else None
            of_target = _summed(-product, operands[1]) if ctx.needs_input_grad[2] else None
        return of_grad_output, of_input, of_target, None, None, None, None, None, None

    def _jvp_of_gradient(self, ctx: Any, of_grad_output: Any, *tangents: Any) -> Tensor:
        """Return the derivative along tangents of grad_output and the operands."""
        (grad_output, *operands, weight, where), (*settings, wrt) = ctx.saved_tensors, ctx.settings
        parts = []
        if of_grad_output is not None:
            parts.append(self.gradient(of_grad_output, *operands, weight, where, *settings, wrt))
        if any(tangent is not None for tangent in tangents[:2]):
            expanded = torch.broadcast_tensors(*operands)
            product = self.hessian(grad_output, *expanded, weight, where, *settings) * _difference(*tangents[:2])
            parts.append(_summed(product if wrt == "input" else -product, ctx.result))
        return sum(parts[1:], parts[0])

    def _backward_of_hessian(self, ctx: Any, incoming: Tensor) -> tuple[Any, ...]:
        """Return the derivative of a Hessian with respect to grad_output, in which it is linear."""
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            self._refuse_a_third()
        (grad_output, *operands), settings = ctx.saved_tensors, ctx.settings
        reduction, _, axis = settings
        unit = self.hessian(torch.ones_like(grad_output), *operands, *settings)
        of_grad_output = _over_slices(incoming * unit, reduction, axis).to(grad_output.dtype)
        return of_grad_output, None, None, None, None, None, None, None

    def _jvp_of_hessian(self, ctx: Any, of_grad_output: Any, *tangents: Any) -> Tensor:
        if any(tangent is not None for tangent in tangents[:2]):
            self._refuse_a_third()
        _, *operands = ctx.saved_tensors
        return self.hessian(of_grad_output, *operands, *ctx.settings)

    def _refuse_a_third(self) -> NoReturn:
        raise NotImplementedError(f"{self.name} has two derivatives: it cannot be differentiated a third time")


def _difference(of_input: Tensor | None, of_target: Tensor | None) -> Tensor:
    """Return the tangent of input - target; one of the two may be None, which is 0."""
    if of_input is None or of_target is None:
        return of_input if of_target is None else -of_target
    return of_input - of_target


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    """Keep what an operator was called with: tensors, and the settings behind them."""
    number = next(k for k, value in enumerate(inputs) if isinstance(value, str))
    ctx.save_for_backward(*inputs[:number])
    ctx.settings = inputs[number:]


def _save_for_both(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    """Keep it for the forward mode as well, which also asks for the form of the result."""
    _save(ctx, inputs, output)
    ctx.save_for_forward(*inputs[: len(inputs) - len(ctx.settings)])
    ctx.result = output.new_empty(()).expand(output.shape)


FAMILIES = {name: Family(name) for name in LOSSES}
"""The operators of each loss of the registry, by its name."""
