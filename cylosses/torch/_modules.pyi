# Written by `python -m tools.generate`.

from typing import ClassVar

from torch import Tensor
from torch.nn import Module

from cylosses import Loss
from cylosses._types import Axis, Number, Reduction

__all__ = [
    "CharbonnierLoss",
    "EpsilonInsensitiveLoss",
    "GemanMcClureLoss",
    "HuberLoss",
    "L1Loss",
    "MSELoss",
    "PseudoHuberLoss",
    "QuantileLoss",
    "SmoothL1Loss",
    "TukeyLoss",
]

class LossModule(Module):  # type: ignore[misc]
    loss: ClassVar[type[Loss]]
    reduction: Reduction
    def forward(
        self,
        input: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        *,
        where: Tensor | None = None,
        axis: Axis = None,
        keepdims: bool = False,
    ) -> Tensor: ...
    def extra_repr(self) -> str: ...

class SmoothL1Loss(LossModule):
    beta: float
    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: Reduction = "mean",
        beta: Number = 1.0,
    ) -> None: ...

class L1Loss(LossModule):
    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: Reduction = "mean",
    ) -> None: ...

class MSELoss(LossModule):
    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: Reduction = "mean",
    ) -> None: ...

class HuberLoss(LossModule):
    delta: float
    def __init__(
        self,
        reduction: Reduction = "mean",
        delta: Number = 1.0,
    ) -> None: ...

class TukeyLoss(LossModule):
    c: float
    def __init__(
        self,
        reduction: Reduction = "mean",
        c: Number = 4.685,
    ) -> None: ...

class QuantileLoss(LossModule):
    q: float
    def __init__(
        self,
        reduction: Reduction = "mean",
        q: Number = 0.5,
    ) -> None: ...

class EpsilonInsensitiveLoss(LossModule):
    epsilon: float
    def __init__(
        self,
        reduction: Reduction = "mean",
        epsilon: Number = 0.1,
    ) -> None: ...

class PseudoHuberLoss(LossModule):
    delta: float
    def __init__(
        self,
        reduction: Reduction = "mean",
        delta: Number = 1.0,
    ) -> None: ...

class CharbonnierLoss(LossModule):
    eps: float
    def __init__(
        self,
        reduction: Reduction = "mean",
        eps: Number = 0.001,
    ) -> None: ...

class GemanMcClureLoss(LossModule):
    c: float
    def __init__(
        self,
        reduction: Reduction = "mean",
        c: Number = 1.0,
    ) -> None: ...
