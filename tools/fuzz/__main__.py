"""Random calls of every kind against exact rationals, never with a tolerance for sums and means: ``make fuzz SECONDS=60``.

Draws loss, parameter, dtypes, memory orders, strides, broadcasting, axes, weights, masks, outputs that overlap the inputs, threads,
floating-point modes and streaming splits. What is wrong is shrunk to a few lines of Python and printed with the seed that brings
it back: ``python -m tools.fuzz --seed S --case N``. Exit code 1 if anything is wrong. With several builds, a process for each,
at the same time, each with a seed of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tools.commands import parse_with_seed, parser_of


def in_processes(builds: list[str], seed: int, arguments: list[str]) -> int:
    """The search once for each build (CYLOSSES_ISA); the greatest exit code."""
    command = [sys.executable, "-m", "tools.fuzz", *arguments]
    running = [
        subprocess.Popen(
            [*command, "--seed", str(seed + k)],
            env={**os.environ, "CYLOSSES_ISA": build},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for k, build in enumerate(builds)
    ]
    for build, process in zip(builds, running, strict=True):
        text, _ = process.communicate()
        print(f"{build}: {text.strip()}", flush=True)
    return max(process.returncode for process in running)


def main() -> int:
    # More threads than processors must not wait for one another by spinning. The OpenMP runtime reads this when it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from cylosses._core import builds

    from .drawing import SUBJECTS
    from .searching import search

    parser = parser_of("tools.fuzz", __doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--case", type=int, default=None, help="run the case of this number alone")
    parser.add_argument("--only", choices=SUBJECTS, default=None, help="draw calls of one subject; by default, all there are")
    parser.add_argument("--failures", type=int, default=10, help="stop after so many that differ in kind")
    parser.add_argument("--builds", nargs="*", choices=builds.available_builds(), default=[], help="by default, the one at hand")
    options = parse_with_seed(parser)
    seed = options.seed
    if options.builds:
        arguments = ["--seconds", str(options.seconds), "--failures", str(options.failures)]
        arguments += ["--only", options.only] if options.only else []
        arguments += [] if options.case is None else ["--case", str(options.case)]
        return in_processes(options.builds, seed, arguments)
    print(f"seed {seed}, {builds.build_info()['isa']}", flush=True)
    begin = time.monotonic()
    one_case = {} if options.case is None else {"first": options.case, "cases": 1}
    found = search(
        seed,
        seconds=options.seconds,
        only=options.only,
        most=options.failures,
        say=lambda text: print(text, flush=True),
        **one_case,
    )
    report = found.report
    print(
        f"seed {seed}: {report.calls} calls, {report.comparisons} comparisons, {time.monotonic() - begin:.0f} s, "
        f"{found.wrong} mismatches, {len(found.failures)} of them of different kinds"
    )
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
