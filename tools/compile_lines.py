"""The compile line of each module, as setup.py gives it to the compiler: recorded by a compiler that only takes notes."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# What would change the flags.
LEFT_OUT = ("CFLAGS", "CPPFLAGS", "LDFLAGS", "LDSHARED", "CYLOSSES_BUILDS", "CYLOSSES_DEBUG", "CYLOSSES_SANITIZE")

# Stands for the compiler: refuses some options, notes its arguments and makes the file that it was asked for.
NOTE_TAKER = """#!{python}
import json, pathlib, sys
if not {refused!r}.isdisjoint(sys.argv):
    sys.exit(1)
with open({log!r}, "a") as log:
    print(json.dumps(sys.argv[1:]), file=log)
pathlib.Path(sys.argv[sys.argv.index("-o") + 1]).touch()
"""


def copy_sources(folder: Path, empty: tuple[str, ...]) -> None:
    """Copy what setup.py reads to an empty folder; the modules named in `empty` get no contents."""
    folder.joinpath("cylosses").mkdir()
    shutil.copy(ROOT / "setup.py", folder)
    shutil.copytree(ROOT / "cylosses" / "include", folder / "cylosses" / "include")
    for source in [*(ROOT / "cylosses").rglob("*.p[xy][dx]"), *(ROOT / "cylosses" / "_core").rglob("*.h")]:
        copied = folder / source.relative_to(ROOT)
        copied.parent.mkdir(parents=True, exist_ok=True)
        if source.stem not in empty:
            shutil.copy(source, copied)
        elif source.suffix == ".pyx":
            copied.touch()


# Stands for `python setup.py` on another machine.
ON_MACHINE = "import platform, runpy; platform.machine = lambda: {machine!r}; runpy.run_path('setup.py', run_name='__main__')"


def recorded(
    folder: Path, refused: frozenset[str] = frozenset(), machine: str = platform.machine(), **variables: str
) -> dict[str, list[str]]:
    """Run setup.py on the sources in a folder, compiling nothing; name of the source file to the arguments of the compiler.

    Paths among the arguments are relative to the folder, where the C files then lie. Flags of the environment are left out, but
    for the `variables` given. The compiler does not know the options in `refused`; the machine is what `platform.machine()` says.
    """
    log = folder / "log"
    compiler = folder / "note-taker"
    compiler.write_text(NOTE_TAKER.format(python=sys.executable, log=str(log), refused=refused))
    compiler.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    done = subprocess.run(
        [sys.executable, "-c", ON_MACHINE.format(machine=machine), "build_ext", "--build-lib", "lib", "--build-temp", "temp"],
        cwd=folder,
        env=environment | {"CC": str(compiler)} | variables,
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
            if name == "probe":  # setup.py asks what the compiler takes
                continue
            if name in lines:
                raise RuntimeError(f"{name} is compiled twice")
            lines[name] = arguments
    return lines
