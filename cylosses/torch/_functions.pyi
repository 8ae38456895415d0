# Written by `python -m tools.generate`.

from torch import Tensor

from cylosses._types import Axis, Number, Reduction

__all__ = [
    "charbonnier_loss",
    "epsilon_insensitive_loss",
    "geman_mcclure_loss",
    "huber_loss",
    "l1_loss",
    "mse_loss",
    "pseudo_huber_loss",
    "quantile_loss",
    "smooth_l1_loss",
    "tukey_loss",
]

def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
    beta: Number = 1.0,
    weight: Tensor | None = None,
    *,
    where: Tensor | None = None,
    axis: Axis = None,
    keepdims: bool = False,
) -> Tensor: ...
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
    weight: Tensor | None = None,
    *,
    where: Tensor | None = None,
    axis: Axis = None,
    keepdims: bool = False,
) -> Tensor: ...
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
    weight: Tensor | None = None,
    *,
    where: Tensor | None = None,
    axis: Axis = None,
    keepdims: bool = False,
) -> Tensor: ...
def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: Reduction = "mean",
    delta: Number = 1.0,
    weight: Tensor | None = None,
    *,
    where: Tensor | None = None,
    axis: Axis = None,
    keepdims: bool = False,
) -> Tensor: ...
def tukey_loss(
    input: Tensor,
    target: Tensor,
    reduction: Reduction = "mean",
    c: Number = 4.685,
    weight: Tensor | None = None,
    *,
    where: Tensor | None = None,
    axis: Axis = None,
    keepdims: bool = False,
) -> Tensor: ...
def quantile_loss(
    input: Tensor,
    target: Tensor,
    reduction: Reduction = "mean",
    q: Number = 0.5,
    weight: Tensor | None = None,
    *,
    where: Tensor | None = None,
    axis: Axis = None,
    keepdims: bool = False,
) -> Tensor: ...
def epsilon_insensitive_loss(
    input: Tensor,
    target: Tensor,
    reduction: Reduction = "mean",
    epsilon: Number = 0.1,
    weight: Tensor | None = None,
    *,
    where: Tensor | None = None,
    axis: Axis = None,
    keepdims: bool = False,
) -> Tensor: ...
def pseudo_huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: Reduction = "mean",
    delta: Number = 1.0,
    weight: Tensor | None = None,
    *,
    where: Tensor | None = None,
    axis: Axis = None,
    keepdims: bool = False,
) -> Tensor: ...
def charbonnier_loss(
    input: Tensor,
    target: Tensor,
    reduction: Reduction = "mean",
    eps: Number = 0.001,
    weight: Tensor | None = None,
    *,
    where: Tensor | None = None,
    axis: Axis = None,
    keepdims: bool = False,
) -> Tensor: ...
def geman_mcclure_loss(
    input: Tensor,
    target: Tensor,
    reduction: Reduction = "mean",
    c: Number = 1.0,
    weight: Tensor | None = None,
    *,
    where: Tensor | None = None,
    axis: Axis = None,
    keepdims: bool = False,
) -> Tensor: ...
