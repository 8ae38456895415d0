"""Turns the figures of a run into a Markdown report with pictures: ``python -m benchmarks.report SUITE.json --to RESULTS.md``."""

import argparse
import json
import sys
from pathlib import Path

from benchmarks.report.document import report
from benchmarks.report.short_table import readme_text, update


def main(argv: list[str] | None = None) -> int:
    """Write the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description="Write the report of a benchmark run.")
    parser.add_argument("suite", type=Path, help="written by benchmarks.suite --json")
    parser.add_argument("--c-level", type=Path, metavar="FILE", help="written by benchmarks.c_level --json")
    parser.add_argument("--to", type=Path, required=True, metavar="FILE", help="the Markdown file; pictures go to plots/ beside it")
    parser.add_argument("--short", type=Path, metavar="FILE", help="put the short table between the marks of this file: README.md")
    options = parser.parse_args(argv)
    figures = json.loads(options.suite.read_text())
    c_level = json.loads(options.c_level.read_text()) if options.c_level else None
    options.to.write_text(report(figures, c_level, options.to.parent / "plots"))
    print(f"wrote {options.to}")
    if options.short:
        update(options.short, readme_text(figures, figures["run"]["machine"]["threads"]))
        print(f"updated {options.short}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
