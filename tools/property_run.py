"""The largest errors of every loss, in ulps against 60 digits: ``python -m tools.property_run --cases 20000``.

Takes its cases from the fuzzer (`tools.fuzz`), the losses in turn. Besides all that the fuzzer compares, it measures all four
quantities of a sample of each case's elements: value, derivative, second derivative and IRLS weight. Prints mismatches, the largest
ulp error of each loss, the seed that brings the run back, and the seconds; exit code 1 if anything is wrong.
"""

from __future__ import annotations

import sys
import time
import warnings
from dataclasses import dataclass, field

import numpy as np

from cylosses import BroadcastWarning
from cylosses.losses import LOSSES
from tests.reference import QUANTITIES
from tools.commands import parse_with_seed, parser_of
from tools.fuzz.checking import Report, check, measure
from tools.fuzz.drawing import draw
from tools.fuzz.printing import snippet


@dataclass
class Run:
    """What a run did, and the calls that were wrong, as Python."""

    report: Report = field(default_factory=Report)
    mismatches: list[str] = field(default_factory=list)


def run(seed: int, cases: int) -> Run:
    found = Run()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", BroadcastWarning)
        for number in range(cases):
            case = draw(np.random.default_rng([seed, number]), name=list(LOSSES)[number % len(LOSSES)])
            mismatches = measure(case, found.report) + check(case, found.report)
            found.mismatches += [f"{mismatch.what} {mismatch.text}\n{snippet(case, mismatch)}" for mismatch in mismatches]
    return found


def table(report: Report) -> str:
    """The largest ulp error of each loss, a line for each dtype."""
    lines = [f"{'loss':<21}{'dtype':<9}" + "".join(f"{what:>19}" for what in QUANTITIES)]
    for name in LOSSES:
        for dtype in ("float32", "float64"):
            cells = "".join(f"{report.ulps[name, dtype, what]:19.2f}" for what in QUANTITIES)
            lines.append(f"{name:<21}{dtype:<9}{cells}")
    return "\n".join(lines)


def main() -> int:
    parser = parser_of("tools.property_run", __doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    options = parse_with_seed(parser)
    start = time.perf_counter()
    found = run(options.seed, options.cases)
    for message in found.mismatches[:20]:
        print(message + "\n")
    print("largest error in ulp against 60 digits at the rounded difference")
    print(table(found.report))
    print(
        f"{options.cases} cases, {found.report.comparisons} comparisons: {len(found.mismatches)} mismatches "
        f"(seed {options.seed}, {time.perf_counter() - start:.1f} s)"
    )
    return 1 if found.mismatches else 0


if __name__ == "__main__":
    sys.exit(main())
