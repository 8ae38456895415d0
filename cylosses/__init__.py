"""Exact regression losses for NumPy, at the speed of memory."""

import typing

# _loading comes first: what follows takes a while, and Ctrl-C may come at any time.
from cylosses import _loading, _versions, functional, losses
from cylosses._core.convert import BroadcastWarning
from cylosses._mode import default_floating_point_mode
from cylosses._threads import get_num_threads, set_num_threads
from cylosses._versions import get_include, show_versions
from cylosses.functional import *  # noqa: F403
from cylosses.losses import *  # noqa: F403
from cylosses.streaming import StreamingLoss

_loading.end()

__all__ = [
    "BroadcastWarning",
    "StreamingLoss",
    "__version__",
    "default_floating_point_mode",
    "get_include",
    "get_num_threads",
    "set_num_threads",
    "show_versions",
]
__all__ += functional.__all__
__all__ += losses.__all__


if typing.TYPE_CHECKING:  # a checker that saw __getattr__ would take every misspelt name for a str
    __version__: str
else:

    def __getattr__(name: str) -> str:
        if name == "__version__":  # read when asked for: it takes longer than the rest of the import
            return _versions.version()
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
