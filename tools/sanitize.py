"""The tests under address and undefined-behaviour sanitizers: ``python -m tools.sanitize``, which is ``make sanitize``.

Builds all modules with CYLOSSES_SANITIZE=1 into build/sanitize, beside the usual ones, copies the tests there, and runs those that
reach the compiled code: all of the files below on the best build that the CPU runs, the first ones on the other builds too. Every
file is a process of its own, as many at once as there are CPUs. Code is many times slower so, and most cases of a test differ only
in numbers: of every test a few cases are run, others each time, and hypothesis draws few examples. `--cases 0` runs them all.

The first finding ends a process; its lines, with the places in the generated C, are printed, and the exit code is 1.
`--keep-going` goes on after undefined behaviour and lists every place. Needs gcc and its libasan, and Linux. Builds that the CPU
lacks instructions for are compiled, but not run. Arguments after ``--`` go to pytest.
"""

from __future__ import annotations

import os
import random
import re
import shlex
import subprocess
import sys
import sysconfig
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tools.commands import parse_with_pytest, parser_of
from tools.elsewhere import ROOT, copy_tests

FOLDER = ROOT / "build" / "sanitize"
RUN = FOLDER / "run"

# On every build; then on the best one only.
CORE = ("test_exact", "test_layouts", "test_capi", "test_weights", "test_streaming", "test_streaming_axis")
FURTHER = (
    "test_formulas", "test_slices", "test_extreme_weights", "test_integers", "test_out", "test_axis", "test_state", "test_dtypes",
    "test_gradients", "test_curvature", "test_functional", "test_losses", "test_errors", "test_generators",
)  # fmt: skip
# Without those that read sources, compile programs (their own flags differ), or go on for long at full speed already.
MARKS = "not source_tree and not compiler and not slow"
# Place and message; in front of it may stand what pytest has printed of that line.
FINDING = re.compile(r"(\w[\w./-]*:\d+:\d+): runtime error: (.*)|(SUMMARY: AddressSanitizer): (.*)")


class Job(NamedTuple):
    """The tests of one file on one build."""

    build: str
    file: str


class Outcome(NamedTuple):
    job: Job
    code: int
    last: str
    findings: dict[str, str]  # place to what is wrong there
    seconds: float


# As a plugin of pytest ----------------------------------------------------------------------------------------------------------


def pytest_addoption(parser) -> None:
    parser.addoption("--cases", type=int, default=0, help="run so many cases of each test, drawn at random; 0: all")


def pytest_collection_modifyitems(config, items) -> None:
    """Keep a few cases of every test."""
    most = config.getoption("--cases")
    cases = defaultdict(list)
    for item in items:
        cases[item.nodeid.partition("[")[0]].append(item)
    if most:
        kept = {item for of_test in cases.values() for item in random.sample(of_test, min(most, len(of_test)))}
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = [item for item in items if item in kept]


# Building and running -----------------------------------------------------------------------------------------------------------


def build() -> None:
    """Build what changed, and lay the tests beside it."""
    base = FOLDER / "build"
    command = [sys.executable, "setup.py", "-q", "build", "--build-base", str(base), "--build-lib", str(RUN), "-j", "2"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "CYLOSSES_SANITIZE": "1"}, check=True)
    copy_tests(RUN)


def sanitized(keep_going: bool) -> dict[str, str]:
    """The variables under which the modules load into an interpreter that is not sanitized itself."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]

    def library(name: str) -> str:
        path = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        if not Path(path).is_absolute():
            raise SystemExit(f"{compiler} has no {name}: the sanitizers need gcc and its libraries")
        return path

    return {name: value for name, value in os.environ.items() if not name.startswith("CYLOSSES_")} | {
        # libasan must come first. It replaces the C++ runtime's functions for exceptions, which must be there before.
        "LD_PRELOAD": f"{library('libasan.so')} {library('libstdc++.so')}",
        "PYTHONMALLOC": "malloc",  # Python's own allocator would hide whose memory is left
        "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter keeps much until it ends
        "UBSAN_OPTIONS": f"print_stacktrace=1:halt_on_error={0 if keep_going else 1}",
    }


def builds(variables: dict[str, str]) -> list[str]:
    """The builds that this CPU runs, the best one first."""
    script = "from cylosses._core import builds; print(*builds.available_builds())"
    done = subprocess.run([sys.executable, "-c", script], cwd=RUN, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the sanitized modules cannot be imported:\n{done.stderr}")
    return done.stdout.split()


def run(job: Job, variables: dict[str, str], cases: int, to_pytest: list[str]) -> Outcome:
    log = FOLDER / f"{job.build}-{job.file}.log"
    start = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tools.sanitize", f"--cases={cases}", "-m", MARKS]
    # What the sanitizers write to the standard error stream must get out of a process that they end.
    command += ["--capture=sys", "--hypothesis-profile=thin", *to_pytest, f"tests/{job.file}.py"]
    with log.open("w") as output:
        code = subprocess.run(
            command, cwd=RUN, env={**variables, "CYLOSSES_ISA": job.build}, stdout=output, stderr=output, check=False
        ).returncode
    lines = log.read_text(errors="replace").splitlines()
    found = {match[1] or match[4]: match[2] or match[3] for line in lines if (match := FINDING.search(line))}
    last = next((line for line in reversed(lines) if re.search(r"\d+ (passed|failed|error)", line)), "ended early")
    outcome = Outcome(job, code, last, found, time.monotonic() - start)
    print(f"{job.build}  {job.file:16} {outcome.seconds:4.0f} s  {last}", flush=True)
    if code:
        print("\n".join(lines[-60:]), flush=True)
    return outcome


def main() -> int:
    parser = parser_of("tools.sanitize", __doc__)
    parser.add_argument("--cases", type=int, default=6, help="of each test, drawn at random; 0: all")
    parser.add_argument("--files", nargs="+", default=None, metavar="FILE", help="test_exact …, on every build")
    parser.add_argument("--keep-going", action="store_true", help="list all undefined behaviour, not the first of each process")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="at once; by default, one for each CPU")
    options, to_pytest = parse_with_pytest(parser)
    if sys.platform != "linux":
        raise SystemExit("libasan is loaded before the interpreter by means of Linux")
    build()
    variables = sanitized(options.keep_going)
    best, *others = builds(variables)
    core, further = (options.files, []) if options.files else (CORE, FURTHER)
    jobs = [Job(best, file) for file in (*core, *further)] + [Job(other, file) for other in others for file in core]
    with ThreadPoolExecutor(options.processes) as pool:
        outcomes = list(pool.map(lambda job: run(job, variables, options.cases, to_pytest), jobs))
    findings = {place: what for outcome in outcomes for place, what in outcome.findings.items()}
    for place, what in sorted(findings.items()):
        print(f"{place}: {what}")
    failed = [f"{outcome.job.file} on {outcome.job.build}" for outcome in outcomes if outcome.code]
    tests = sum(int(number) for outcome in outcomes for number in re.findall(r"(\d+) passed", outcome.last))
    print(f"builds run: {', '.join([best, *others])}")
    print(f"{tests} passed, {len(failed)} files failed{': ' if failed else ''}{', '.join(failed)}; findings: {len(findings)}")
    return 1 if failed or findings else 0


if __name__ == "__main__":
    sys.exit(main())
