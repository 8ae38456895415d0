"""The tests on a free-threaded Python: ``python -m tools.free_threaded``, which is ``make free-threaded``.

Debian packages no such interpreter, but its source: this fetches it through apt, from the mirror that the machine uses, with lists
in a folder of its own; builds it without the GIL, makes an environment, installs what there is of the tests' requirements, builds
the package, and sees that importing it leaves the GIL off. Then the whole suite runs, and the tests of what threads share once more
with each test in four threads at once (pytest-run-parallel). Interpreter and environment are made once; all lies in one folder. Any
other free-threaded interpreter is taken with `--python`; then apt is not needed. Arguments after ``--`` go to pytest.

The tests run in a folder without the package's sources, against the installed package: so those of the sources are left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from tools.commands import parse_with_pytest, parser_of
from tools.elsewhere import ROOT, clean_variables, copy_tests, run_tests

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

NEEDED = (
    "numpy>=2",
    "setuptools>=77",
    "Cython>=3.3.1,<3.4",
    "pytest>=9",
    "pytest-randomly>=3.15",
    "pytest-run-parallel>=0.4",
    "hypothesis==6.130.0",  # later ones have a compiled part, without a wheel for it
    "mpmath>=1.3",
    "joblib>=1.4",
    "threadpoolctl>=3.5",
)
# With compiled parts: used where they have wheels. Tests that do not skip by themselves without one, to what they need.
IF_THERE_IS_A_WHEEL = ("ml_dtypes", "pyarrow", "pandas", "array-api-strict", "scipy", "cffi", "scikit-learn", "statsmodels",
                       "click", "rich", "matplotlib")  # fmt: skip
NEEDS = {
    "test_peers_small": ("statsmodels", "scikit-learn"),
    "test_sklearn": ("pandas", "scikit-learn"),
    "test_boosting": ("scikit-learn",),
    "test_foreign": ("pandas", "pyarrow"),
    "test_readers": ("pyarrow",),
    "test_demo": ("matplotlib",),
    "test_cli": ("click", "rich", "matplotlib"),
    "test_public": ("click",),
    "test_capi.py::test_python_of_the_guide[cffi]": ("cffi",),
}

SHARED = ("threads", "streaming", "streaming_axis", "plain", "state", "weights", "axis")

CHECK = """
import sys, cylosses
assert not sys._is_gil_enabled(), "importing cylosses has switched the GIL on"
print(sys.version)
print("GIL off:", cylosses.__file__)
cylosses.show_versions()
"""


def run(*command: str | Path, cwd: Path = ROOT, **variables: str) -> None:
    print("$", *command, flush=True)
    subprocess.run([str(word) for word in command], cwd=cwd, env={**clean_variables(), **variables}, check=True)


def fetch_source(folder: Path, version: str, suite: str) -> Path:
    """The archive of CPython's source, as Debian has it."""
    lists, archives = folder / "apt" / "lists", folder / "apt" / "archives"
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    (folder / "apt" / "status").touch()
    targets = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    mirrors = subprocess.run(targets, capture_output=True, text=True, check=True).stdout.split()
    mirror = next((mirror for mirror in mirrors if mirror.rstrip("/").endswith("/debian")), None)
    if mirror is None:
        raise SystemExit("apt knows no mirror of Debian: name an interpreter with --python")
    option = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
    sources = folder / "apt" / "sources.list"
    sources.write_text(f"deb-src {option}{mirror} {suite} main\n")
    settings = folder / "apt" / "apt.conf"
    settings.write_text(
        f'Dir::Etc::SourceList "{sources}";\nDir::Etc::SourceParts "-";\nDir::State::Lists "{lists}";\n'
        f'Dir::State::Status "{folder / "apt" / "status"}";\nDir::Cache "{folder / "apt"}";\n'
    )
    run("apt-get", "update", APT_CONFIG=str(settings))
    run("apt-get", "source", "--download-only", f"python{version}", cwd=archives, APT_CONFIG=str(settings))
    (archive,) = archives.glob(f"python{version}_*.orig.tar.xz")
    return archive


def build_interpreter(folder: Path, version: str, suite: str) -> Path:
    """CPython without the GIL: 5 minutes on two cores."""
    python = folder / "python" / "bin" / f"python{version}t"
    if not (folder / "interpreter-is-complete").exists():
        archive = fetch_source(folder, version, suite)
        source = folder / "source"
        shutil.rmtree(source, ignore_errors=True)
        with tarfile.open(archive) as contents:
            contents.extractall(source, filter="tar")
        (source,) = source.iterdir()
        # Compiling Python's own tests takes as long as building the rest.
        run("./configure", "--quiet", "--disable-gil", "--disable-test-modules", f"--prefix={folder / 'python'}", cwd=source)
        run("make", "--silent", f"-j{os.cpu_count() or 1}", cwd=source)
        run("make", "--silent", "install", cwd=source)
        (folder / "interpreter-is-complete").touch()
    return python


def prepare(folder: Path, interpreter: Path) -> tuple[Path, list[str]]:
    """An environment with the package, built anew, and what there is of the rest; its Python and what is missing."""
    python = folder / "environment" / "bin" / "python"
    pip = (python, "-m", "pip", "--disable-pip-version-check", "--quiet")
    if not python.exists():
        run(interpreter, "-m", "venv", folder / "environment")
    # Wheels only: a later NumPy without one for this Python would be compiled.
    run(*pip, "install", "--no-compile", "--only-binary=:all:", *NEEDED)
    missing = []
    for name in IF_THERE_IS_A_WHEEL:
        try:
            run(*pip, "install", "--no-compile", "--only-binary=:all:", name)
        except subprocess.CalledProcessError:
            missing.append(name)
    run(*pip, "install", "--no-build-isolation", "--no-deps", "--force-reinstall", ROOT)
    return python, missing


def main() -> int:
    parser = parser_of("tools.free_threaded", __doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "free-threaded", help="default: %(default)s")
    parser.add_argument("--version", default="3.13", help="of Python; default: %(default)s")
    parser.add_argument("--suite", default="trixie", help="the release of Debian that has it; default: %(default)s")
    parser.add_argument("--python", type=Path, help="a free-threaded interpreter, instead of one that is built")
    parser.add_argument("--threads", type=int, default=4, help="at once in the second run; default: %(default)s")
    parser.add_argument("--files", nargs="+", metavar="NAME", help="threads streaming …: only these files of tests")
    parser.add_argument("--only", choices=("alone", "parallel"), help="one of the two runs")
    options, to_pytest = parse_with_pytest(parser)
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    interpreter = options.python or build_interpreter(folder, options.version, options.suite)
    python, missing = prepare(folder, interpreter)
    elsewhere = folder / "elsewhere"
    copy_tests(elsewhere)
    run(python, "-c", CHECK, cwd=elsewhere)

    without = [name for name, needed in NEEDS.items() if any(package in missing for package in needed)]
    left_out = [f"--deselect=tests/{name}" if "::" in name else f"--ignore=tests/{name}.py" for name in without]
    lines, failed = [], False
    if options.only != "parallel":
        alone = [
            "-p",
            "no:run_parallel",
            "-m",
            "not source_tree",
            *left_out,
            *(f"tests/test_{name}.py" for name in options.files or ()),
        ]
        last, code = run_tests(python, elsewhere, [*alone, *to_pytest], clean_variables())
        lines.append(f"the whole suite: {last}")
        failed |= code != 0
    if options.only != "alone":
        # What a plugin finds to be tests of the process (monkeypatch, captured output, hypothesis), it runs in one thread.
        at_once = [
            f"--parallel-threads={options.threads}",
            "-p",
            "no:randomly",
            "-m",
            "not source_tree and not compiler and not slow",
        ]
        files = [f"tests/test_{name}.py" for name in options.files or SHARED]
        last, code = run_tests(python, elsewhere, [*at_once, *files, *to_pytest], clean_variables())
        lines.append(f"{options.threads} threads at once: {last}")
        failed |= code != 0
    print("without a wheel there:", ", ".join(missing) or "nothing", f"(so without {', '.join(without)})" if without else "")
    print("\n".join(lines))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
