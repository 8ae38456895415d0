"""``python -m tools.generate``: write what follows from the classes of the losses; ``--check`` only says which files are stale."""

from __future__ import annotations

import argparse
import sys

from . import ROOT, outdated


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; name the stale files, and fail if there are any")
    options = parser.parse_args(arguments)
    stale = outdated()
    for path, text in stale.items():
        if not options.check:
            path.write_text(text, encoding="utf-8")
        print(f"{'stale' if options.check else 'written'}: {path.relative_to(ROOT)}")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
