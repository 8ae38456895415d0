"""The tests in a folder without the package's sources, against a package that is installed or built elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
READ_BY_TESTS = ("tests", "tools", "docs", "examples", "README.md", "pyproject.toml")


def clean_variables() -> dict[str, str]:
    """This process's variables, but for those that point to compilers, to the sources or to settings of the package."""
    left_out = ("CC", "CXX", "CFLAGS", "LDFLAGS", "PYTHONPATH", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in left_out and not name.startswith("CYLOSSES_")}


def copy_tests(folder: Path) -> None:
    """Bring the tests and what they need, as it is now, to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in READ_BY_TESTS:
        if (ROOT / name).is_dir():
            shutil.rmtree(folder / name, ignore_errors=True)
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "build", "*.so"))
        else:
            shutil.copy(ROOT / name, folder)


def run_tests(python: Path, folder: Path, arguments: Sequence[str], variables: Mapping[str, str]) -> tuple[str, int]:
    """Run pytest; the last line of its report, and its exit code."""
    command = [str(python), "-m", "pytest", "-q", *arguments]
    print("$", *command, flush=True)
    last = ""
    with subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    return last, process.returncode
