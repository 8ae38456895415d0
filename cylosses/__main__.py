"""Entry point of the `cylosses` command and of `python -m cylosses`."""

import signal
import sys

from cylosses import _loading
from cylosses._process import fail, replace_closed_streams

# What the extra `cli` installs: any of these missing gets the same one-line answer.
_EXTRA = frozenset({"click", "rich", "scipy", "matplotlib"})


def main() -> int:
    """Run the command line.

    Returns
    -------
    int
        The exit code: 0 for success, 2 for bad input or a missing extra, 130 after Ctrl-C.
    """
    _loading.begin()
    replace_closed_streams()
    try:
        # Imported here, so that a missing extra ends in one line and not in a traceback.
        from cylosses.cli import main as run

        _loading.end()
        return run()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRA:
            raise
        return fail(f"the command line needs the package {package}: pip install 'cylosses[cli]'")
    except KeyboardInterrupt:
        return 130
    finally:
        # All is done; the interpreter, which still has to end, would report Ctrl-C by a traceback.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main())
