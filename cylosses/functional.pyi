from typing import Any, Literal, TypeAlias, TypedDict, overload

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["SmoothL1LossOptions", "smooth_l1_loss", "smooth_l1_loss_backward"]

_Reduction: TypeAlias = Literal["none", "mean", "sum"]
_Array: TypeAlias = np.ndarray[Any, Any]

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
    out: _Array | None = None,
    n_threads: int | None = None,
) -> _Array: ...
