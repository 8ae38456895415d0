"""Running the command line in a process of its own, as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cylosses

# The tree under test, also when it is built in place and not installed.
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(cylosses.__file__).parents[1])}
# Any warning in the command line becomes a traceback, which every test looks for.
PYTHON = [sys.executable, "-W", "error"]


def run(*arguments: str | os.PathLike[str], cwd: Path, **options) -> subprocess.CompletedProcess[str]:
    """Run `cylosses ARGUMENTS` in a folder."""
    command = [*PYTHON, "-m", "cylosses", *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def run_after(statements: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `cylosses ARGUMENTS` in a folder after some Python statements in the same process."""
    script = f"import sys\n{statements}\nfrom cylosses.__main__ import main\nsys.exit(main())"
    command = [*PYTHON, "-c", script, *arguments]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def output_of(*arguments: str | os.PathLike[str], cwd: Path) -> str:
    """Return what a successful command prints; it says nothing on stderr."""
    result = run(*arguments, cwd=cwd)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def error_of(*arguments: str | os.PathLike[str], cwd: Path) -> str:
    """Return the one line with which a command refuses bad input."""
    return refusal(run(*arguments, cwd=cwd))


def refusal(result: subprocess.CompletedProcess[str]) -> str:
    """Check that a command ended as for bad input, and return its one line without the prefix."""
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("cylosses: error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("cylosses: error: ").rstrip("\n")
