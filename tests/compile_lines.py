"""The compile line of each module, as setup.py gives it to the compiler: recorded by a compiler that only takes notes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# What would change the flags.
LEFT_OUT = ("CFLAGS", "CPPFLAGS", "LDFLAGS", "LDSHARED", "CYLOSSES_DEBUG")

# Stands for the compiler: notes its arguments and makes the file that it was asked for.
NOTE_TAKER = """#!{python}
import json, pathlib, sys
with open({log!r}, "a") as log:
    print(json.dumps(sys.argv[1:]), file=log)
pathlib.Path(sys.argv[sys.argv.index("-o") + 1]).touch()
"""


def copy_sources(folder: Path, empty: tuple[str, ...]) -> None:
    """Copy what setup.py reads to an empty folder; the modules named in `empty` get no contents."""
    (folder / "cylosses" / "_kernels").mkdir(parents=True)
    shutil.copy(ROOT / "setup.py", folder)
    shutil.copytree(ROOT / "cylosses" / "include", folder / "cylosses" / "include")
    for source in (ROOT / "cylosses").rglob("*.p[xy][dx]"):
        copied = folder / source.relative_to(ROOT)
        if source.stem not in empty:
            shutil.copy(source, copied)
        elif source.suffix == ".pyx":
            copied.touch()


def recorded(folder: Path) -> dict[str, list[str]]:
    """Run setup.py on the sources in a folder, compiling nothing; name of the source file to the arguments of the compiler.

    Paths among the arguments are relative to the folder, where the C files then lie. Flags of the environment are left out.
    """
    log = folder / "log"
    compiler = folder / "note-taker"
    compiler.write_text(NOTE_TAKER.format(python=sys.executable, log=str(log)))
    compiler.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    done = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--build-lib", "lib", "--build-temp", "temp"],
        cwd=folder,
        env=environment | {"CC": str(compiler)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    lines: dict[str, list[str]] = {}
    for line in log.read_text().splitlines():
        arguments = json.loads(line)
        if "-c" in arguments:
            name = Path(arguments[arguments.index("-c") + 1]).stem
            if name in lines:
                raise RuntimeError(f"{name} is compiled twice")
            lines[name] = arguments
    del lines["probe"]  # setup.py asks whether OpenMP is there
    return lines
