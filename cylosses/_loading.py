"""While the command line is loaded, Ctrl-C ends its process without a traceback.

NumPy and the package take a quarter of a second, before there is anything that catches an exception; and one that is raised within
an import may come out as another error. No file has been opened by then, so the process may end at once.
"""

import os
import signal
import sys
import threading
from types import FrameType


def begin() -> None:
    """From here on, Ctrl-C ends the process, unless it is ignored or somebody else handles it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler and _may_set_handlers():
        signal.signal(signal.SIGINT, _leave)


def end() -> None:
    """From here on, Ctrl-C is KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _leave and _may_set_handlers():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


def _may_set_handlers() -> bool:
    return threading.current_thread() is threading.main_thread()


def _is_command() -> bool:
    """Whether this process was started as `cylosses` or `python -m cylosses`, rather than that a program imports the package."""
    name = sys.argv[0].replace(os.sep, "/").rpartition("/")[2] if sys.argv else ""
    if name == "-m":  # as long as Python looks for the module; its name stands behind
        return "cylosses" in sys.orig_argv or "-mcylosses" in sys.orig_argv
    return name in {"cylosses", "cylosses.exe"}


if _is_command():
    begin()
