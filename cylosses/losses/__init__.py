"""The losses as objects, and `LOSSES`, the registry that tests, benchmarks, command line and adapters enumerate."""

# Written by `python -m tools.generate`: the order is that of the numbers of the losses.

from cylosses.losses.base import Loss
from cylosses.losses.convex import (
    CharbonnierLoss,
    EpsilonInsensitiveLoss,
    HuberLoss,
    L1Loss,
    MSELoss,
    PseudoHuberLoss,
    QuantileLoss,
    SmoothL1Loss,
)
from cylosses.losses.redescending import GemanMcClureLoss, TukeyLoss

__all__ = [
    "LOSSES",
    "CharbonnierLoss",
    "EpsilonInsensitiveLoss",
    "GemanMcClureLoss",
    "HuberLoss",
    "L1Loss",
    "Loss",
    "MSELoss",
    "PseudoHuberLoss",
    "QuantileLoss",
    "SmoothL1Loss",
    "TukeyLoss",
]

LOSSES: dict[str, type[Loss]] = {
    cls.name: cls
    for cls in (
        SmoothL1Loss,
        L1Loss,
        MSELoss,
        HuberLoss,
        TukeyLoss,
        QuantileLoss,
        EpsilonInsensitiveLoss,
        PseudoHuberLoss,
        CharbonnierLoss,
        GemanMcClureLoss,
    )
}
"""Name of each loss to its class."""
