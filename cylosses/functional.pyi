from typing import Any, Literal, TypeAlias, TypedDict, overload

import numpy as np
from numpy.typing import ArrayLike

__all__ = [
    "SmoothL1LossOptions",
    "charbonnier_loss",
    "charbonnier_loss_backward",
    "epsilon_insensitive_loss",
    "epsilon_insensitive_loss_backward",
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

_Reduction: TypeAlias = Literal["none", "mean", "sum"]
_Array: TypeAlias = np.ndarray[Any, Any]
_Axis: TypeAlias = int | tuple[int, ...] | None

class SmoothL1LossOptions(TypedDict, total=False):
    size_average: bool | None
    reduce: bool | None
    reduction: str
    beta: float

# (input, target, size_average, reduce, reduction, beta[, options]), and every parameter by keyword
@overload
def smooth_l1_loss(
    input: ArrayLike,
    target: ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: _Reduction = ...,
    beta: float = ...,
    options: SmoothL1LossOptions | None = None,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    axis: _Axis = None,
    keepdims: bool = False,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> Any: ...

# (input, target, options)
@overload
def smooth_l1_loss(
    input: ArrayLike,
    target: ArrayLike,
    size_average: SmoothL1LossOptions,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    axis: _Axis = None,
    keepdims: bool = False,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> Any: ...

# (input, target, reduction[, beta])
@overload
def smooth_l1_loss(
    input: ArrayLike,
    target: ArrayLike,
    size_average: _Reduction,
    reduce: float | None = None,
    *,
    beta: float = ...,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    axis: _Axis = None,
    keepdims: bool = False,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> Any: ...
def smooth_l1_loss_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    target: ArrayLike,
    reduction: _Reduction = "mean",
    beta: float = 1.0,
    *,
    wrt: Literal["input", "target"] = "input",
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    axis: _Axis = None,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> _Array: ...
def l1_loss(
    input: ArrayLike,
    target: ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: _Reduction = "mean",
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    axis: _Axis = None,
    keepdims: bool = False,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> Any: ...
def l1_loss_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    target: ArrayLike,
    reduction: _Reduction = "mean",
    *,
    wrt: Literal["input", "target"] = "input",
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    axis: _Axis = None,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> _Array: ...
def mse_loss(
    input: ArrayLike,
    target: ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: _Reduction = "mean",
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    axis: _Axis = None,
    keepdims: bool = False,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> Any: ...
def mse_loss_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    target: ArrayLike,
    reduction: _Reduction = "mean",
    *,
    wrt: Literal["input", "target"] = "input",
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    axis: _Axis = None,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> _Array: ...
def huber_loss(
    input: ArrayLike,
    target: ArrayLike,
    reduction: _Reduction = "mean",
    delta: float = 1.0,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    axis: _Axis = None,
    keepdims: bool = False,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> Any: ...
def huber_loss_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    target: ArrayLike,
    reduction: _Reduction = "mean",
    delta: float = 1.0,
    *,
    wrt: Literal["input", "target"] = "input",
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    axis: _Axis = None,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> _Array: ...
def tukey_loss(
    input: ArrayLike,
    target: ArrayLike,
    reduction: _Reduction = "mean",
    c: float = 4.685,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    axis: _Axis = None,
    keepdims: bool = False,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> Any: ...
def tukey_loss_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    target: ArrayLike,
    reduction: _Reduction = "mean",
    c: float = 4.685,
    *,
    wrt: Literal["input", "target"] = "input",
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    axis: _Axis = None,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> _Array: ...
def quantile_loss(
    input: ArrayLike,
    target: ArrayLike,
    reduction: _Reduction = "mean",
    q: float = 0.5,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    axis: _Axis = None,
    keepdims: bool = False,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> Any: ...
def quantile_loss_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    target: ArrayLike,
    reduction: _Reduction = "mean",
    q: float = 0.5,
    *,
    wrt: Literal["input", "target"] = "input",
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    axis: _Axis = None,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> _Array: ...
def epsilon_insensitive_loss(
    input: ArrayLike,
    target: ArrayLike,
    reduction: _Reduction = "mean",
    epsilon: float = 0.1,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    axis: _Axis = None,
    keepdims: bool = False,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> Any: ...
def epsilon_insensitive_loss_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    target: ArrayLike,
    reduction: _Reduction = "mean",
    epsilon: float = 0.1,
    *,
    wrt: Literal["input", "target"] = "input",
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    axis: _Axis = None,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> _Array: ...
def pseudo_huber_loss(
    input: ArrayLike,
    target: ArrayLike,
    reduction: _Reduction = "mean",
    delta: float = 1.0,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    axis: _Axis = None,
    keepdims: bool = False,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> Any: ...
def pseudo_huber_loss_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    target: ArrayLike,
    reduction: _Reduction = "mean",
    delta: float = 1.0,
    *,
    wrt: Literal["input", "target"] = "input",
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    axis: _Axis = None,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> _Array: ...
def charbonnier_loss(
    input: ArrayLike,
    target: ArrayLike,
    reduction: _Reduction = "mean",
    eps: float = 1e-3,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    axis: _Axis = None,
    keepdims: bool = False,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> Any: ...
def charbonnier_loss_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    target: ArrayLike,
    reduction: _Reduction = "mean",
    eps: float = 1e-3,
    *,
    wrt: Literal["input", "target"] = "input",
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    axis: _Axis = None,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> _Array: ...
