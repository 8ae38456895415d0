"""What the process of the command line needs before anything else is loaded."""

import os
import sys


def replace_closed_streams() -> None:
    """Give a process that was started without stdin, stdout or stderr what fails in the same way, and cannot be mistaken.

    Python has None in place of such streams: what is printed to a stderr of None goes to stdout, and what is printed to a stdout of
    None is lost without an error. Their numbers are free, and the next file that is opened would get them.
    """
    if sys.stdin is None:
        _occupy(0, os.O_WRONLY)  # reading fails
    if sys.stdout is None:
        _occupy(1, os.O_RDONLY)  # writing fails
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        _occupy(2, os.O_WRONLY)  # messages are lost, the exit code is not
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)


def drop(descriptor: int) -> None:
    """Send what is still buffered for a stream nowhere: the interpreter would try to write it once more when it ends."""
    _occupy(descriptor, os.O_WRONLY)


def fail(message: str, code: int = 2) -> int:
    """Say in one line on stderr what is wrong, and return the exit code."""
    note(f"error: {' '.join(message.split())}")
    return code


def note(line: str) -> None:
    """Say something on stderr that is not a result."""
    try:
        print(f"cylosses: {line}", file=sys.stderr, flush=True)
    except OSError:  # nobody can be told but by the exit code
        drop(2)


def _occupy(descriptor: int, flags: int) -> None:
    nowhere = os.open(os.devnull, flags)
    if nowhere != descriptor:
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
