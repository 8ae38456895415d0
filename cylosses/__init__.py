"""Exact regression losses for NumPy, at the speed of memory."""

from cylosses._call import BroadcastWarning
from cylosses._threads import get_num_threads, set_num_threads
from cylosses._versions import __version__, show_versions
from cylosses.functional import SmoothL1LossOptions, smooth_l1_loss, smooth_l1_loss_backward
from cylosses.losses import LOSSES, SmoothL1Loss
from cylosses.streaming import StreamingLoss

__all__ = [
    "LOSSES",
    "BroadcastWarning",
    "SmoothL1Loss",
    "SmoothL1LossOptions",
    "StreamingLoss",
    "__version__",
    "get_num_threads",
    "set_num_threads",
    "show_versions",
    "smooth_l1_loss",
    "smooth_l1_loss_backward",
]
