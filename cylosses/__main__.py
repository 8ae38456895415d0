"""Entry point of the `cylosses` command and of `python -m cylosses`."""

import atexit
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
    atexit.register(_loading.begin)  # as little can be caught while the interpreter ends
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


if __name__ == "__main__":
    sys.exit(main())
