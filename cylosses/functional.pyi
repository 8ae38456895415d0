# Written by `python -m tools.generate`.

from collections.abc import Mapping
from typing import Any, TypedDict, overload

from cylosses._types import Array, Axis, Factors, Numbers, Operand, Parameter, Reduction

__all__ = [
    "SmoothL1LossOptions",
    "charbonnier_loss",
    "charbonnier_loss_backward",
    "epsilon_insensitive_loss",
    "epsilon_insensitive_loss_backward",
    "geman_mcclure_loss",
    "geman_mcclure_loss_backward",
    "huber_loss",
    "huber_loss_backward",
    "l1_loss",
    "l1_loss_backward",
    "mse_loss",
    "mse_loss_backward",
    "pseudo_huber_loss",
    "pseudo_huber_loss_backward",
    "quantile_loss",
    "quantile_loss_backward",
    "smooth_l1_loss",
    "smooth_l1_loss_backward",
    "tukey_loss",
    "tukey_loss_backward",
]

class SmoothL1LossOptions(TypedDict, total=False):
    size_average: bool | None
    reduce: bool | None
    reduction: Reduction
    beta: Parameter

# (input, target, size_average, reduce, reduction, beta[, options]), and every parameter by keyword
@overload
def smooth_l1_loss(
    input: Numbers,
    target: Numbers,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
    beta: Parameter = 1.0,
    options: SmoothL1LossOptions | Mapping[str, Any] | None = None,
    *,
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    keepdims: bool = False,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Any: ...

# (input, target, options)
@overload
def smooth_l1_loss(
    input: Numbers,
    target: Numbers,
    size_average: SmoothL1LossOptions | Mapping[str, Any],
    *,
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    keepdims: bool = False,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Any: ...

# (input, target, reduction[, beta])
@overload
def smooth_l1_loss(
    input: Numbers,
    target: Numbers,
    size_average: Reduction,
    reduce: Parameter | None = None,
    *,
    beta: Parameter = 1.0,
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    keepdims: bool = False,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Any: ...
def smooth_l1_loss_backward(
    grad_output: Factors,
    input: Numbers,
    target: Numbers,
    reduction: Reduction = "mean",
    beta: Parameter = 1.0,
    *,
    wrt: Operand = "input",
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Array: ...
def l1_loss(
    input: Numbers,
    target: Numbers,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
    *,
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    keepdims: bool = False,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Any: ...
def l1_loss_backward(
    grad_output: Factors,
    input: Numbers,
    target: Numbers,
    reduction: Reduction = "mean",
    *,
    wrt: Operand = "input",
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Array: ...
def mse_loss(
    input: Numbers,
    target: Numbers,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
    *,
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    keepdims: bool = False,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Any: ...
def mse_loss_backward(
    grad_output: Factors,
    input: Numbers,
    target: Numbers,
    reduction: Reduction = "mean",
    *,
    wrt: Operand = "input",
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Array: ...
def huber_loss(
    input: Numbers,
    target: Numbers,
    reduction: Reduction = "mean",
    delta: Parameter = 1.0,
    *,
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    keepdims: bool = False,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Any: ...
def huber_loss_backward(
    grad_output: Factors,
    input: Numbers,
    target: Numbers,
    reduction: Reduction = "mean",
    delta: Parameter = 1.0,
    *,
    wrt: Operand = "input",
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Array: ...
def tukey_loss(
    input: Numbers,
    target: Numbers,
    reduction: Reduction = "mean",
    c: Parameter = 4.685,
    *,
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    keepdims: bool = False,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Any: ...
def tukey_loss_backward(
    grad_output: Factors,
    input: Numbers,
    target: Numbers,
    reduction: Reduction = "mean",
    c: Parameter = 4.685,
    *,
    wrt: Operand = "input",
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Array: ...
def quantile_loss(
    input: Numbers,
    target: Numbers,
    reduction: Reduction = "mean",
    q: Parameter = 0.5,
    *,
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    keepdims: bool = False,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Any: ...
def quantile_loss_backward(
    grad_output: Factors,
    input: Numbers,
    target: Numbers,
    reduction: Reduction = "mean",
    q: Parameter = 0.5,
    *,
    wrt: Operand = "input",
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Array: ...
def epsilon_insensitive_loss(
    input: Numbers,
    target: Numbers,
    reduction: Reduction = "mean",
    epsilon: Parameter = 0.1,
    *,
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    keepdims: bool = False,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Any: ...
def epsilon_insensitive_loss_backward(
    grad_output: Factors,
    input: Numbers,
    target: Numbers,
    reduction: Reduction = "mean",
    epsilon: Parameter = 0.1,
    *,
    wrt: Operand = "input",
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Array: ...
def pseudo_huber_loss(
    input: Numbers,
    target: Numbers,
    reduction: Reduction = "mean",
    delta: Parameter = 1.0,
    *,
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    keepdims: bool = False,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Any: ...
def pseudo_huber_loss_backward(
    grad_output: Factors,
    input: Numbers,
    target: Numbers,
    reduction: Reduction = "mean",
    delta: Parameter = 1.0,
    *,
    wrt: Operand = "input",
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Array: ...
def charbonnier_loss(
    input: Numbers,
    target: Numbers,
    reduction: Reduction = "mean",
    eps: Parameter = 0.001,
    *,
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    keepdims: bool = False,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Any: ...
def charbonnier_loss_backward(
    grad_output: Factors,
    input: Numbers,
    target: Numbers,
    reduction: Reduction = "mean",
    eps: Parameter = 0.001,
    *,
    wrt: Operand = "input",
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Array: ...
def geman_mcclure_loss(
    input: Numbers,
    target: Numbers,
    reduction: Reduction = "mean",
    c: Parameter = 1.0,
    *,
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    keepdims: bool = False,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Any: ...
def geman_mcclure_loss_backward(
    grad_output: Factors,
    input: Numbers,
    target: Numbers,
    reduction: Reduction = "mean",
    c: Parameter = 1.0,
    *,
    wrt: Operand = "input",
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Array: ...
