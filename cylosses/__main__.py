"""Entry point of the `cylosses` command and of `python -m cylosses`."""

import sys

# The extras that install what the command line needs: any of these missing gets the same one-line answer.
_EXTRAS = {"click": "cli", "rich": "cli", "duckdb": "cli", "nanoarrow": "cli", "matplotlib": "plot", "scipy": "demo"}


def main() -> int:
    """Run the command line.

    Returns
    -------
    int
        The exit code: 0 for success, 2 for bad input or a missing extra, 130 after Ctrl-C.
    """
    try:
        # Imported here, so that a missing extra ends in one line and not in a traceback.
        from cylosses.cli import main as run

        return run()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        message = f"the command line needs the package {package}: pip install 'cylosses[{_EXTRAS[package]}]'"
        print(f"cylosses: error: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
