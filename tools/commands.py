"""What the commands of several tools share: parsers, seeds, arguments for pytest, the variables of a build."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path


def parser_of(module: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser that describes the tool by the first line of its docstring."""
    return argparse.ArgumentParser(prog=f"python -m {module}", description=(doc or "").partition("\n")[0])


def parse_with_seed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options; among them a seed, which is drawn unless it is given."""
    parser.add_argument("--seed", type=int, default=None, help="repeat a run; without it a new one is drawn, and printed")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = secrets.randbits(32)
    return options


def parse_with_pytest(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, list[str]]:
    """The options, and the arguments after ``--``, which go to pytest."""
    arguments = sys.argv[1:]
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return parser.parse_args(arguments[:at]), arguments[at + 1 :]


def variables_of(build: str) -> dict[str, str]:
    """The variables of a process that uses this build of the loops, and the modules of this one."""
    import cylosses  # here, because the tools that build the package do without it

    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "CYLOSSES_"))}
    # The package is imported from where this process found it, installed or not; tests and tools beside this file's folder.
    path = os.pathsep.join([str(Path(cylosses.__file__).parents[1]), str(Path(__file__).parents[1])])
    # More threads than processors must not wait for one another by spinning.
    return {**inherited, "CYLOSSES_ISA": build, "PYTHONPATH": path, "OMP_WAIT_POLICY": "passive"}
