"""Exact regression losses for NumPy, at the speed of memory."""

from cylosses import functional, losses
from cylosses._call import BroadcastWarning
from cylosses._threads import get_num_threads, set_num_threads
from cylosses._versions import __version__, show_versions
from cylosses.functional import *  # noqa: F403
from cylosses.losses import *  # noqa: F403
from cylosses.streaming import StreamingLoss

__all__ = [
    "BroadcastWarning",
    "StreamingLoss",
    "__version__",
    "get_num_threads",
    "set_num_threads",
    "show_versions",
]
__all__ += functional.__all__
__all__ += losses.__all__
