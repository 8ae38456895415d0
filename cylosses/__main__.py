"""Entry point of the `cylosses` command and of `python -m cylosses`."""

import atexit
import sys

from cylosses import _loading
from cylosses._process import fail, replace_closed_streams

# Which extra installs what: each of these that is missing gets the same one-line answer.
_EXTRAS = {"click": "cli", "rich": "cli", "duckdb": "cli", "nanoarrow": "cli", "matplotlib": "plot", "scipy": "demo"}


def main() -> int:
    """Run the command line.

    Returns
    -------
    int
        The exit code, as `cylosses --help` lists them.
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
        if package not in _EXTRAS:
            raise
        return fail(f"the command line needs the package {package}: pip install 'cylosses[{_EXTRAS[package]}]'")
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
