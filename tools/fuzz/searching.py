"""The search: draw, check, and shrink what is wrong, until the time is over."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from cylosses import BroadcastWarning

from .calls import Case
from .checking import SAMPLED, Mismatch, Report, check
from .drawing import draw
from .printing import snippet
from .shrinking import shrink, signature


@dataclass
class Failure:
    """One case that was wrong, and the smallest that was found for it."""

    number: int
    seconds: float  # from the beginning of the search
    case: Case
    mismatch: Mismatch

    def __str__(self) -> str:
        return f"# {self.mismatch.what} {self.mismatch.text}\n{snippet(self.case, self.mismatch)}"


@dataclass
class Found:
    """What a search did and found."""

    report: Report = field(default_factory=Report)
    failures: list[Failure] = field(default_factory=list)  # of different kinds
    wrong: int = 0  # cases, those of kinds that were known included


def one(seed: int, number: int, only: str | None = None) -> Case:
    """The case of that number: each has a seed of its own."""
    return draw(np.random.default_rng([seed, number]), only)


def search(
    seed: int,
    *,
    seconds: float = np.inf,
    cases: float = np.inf,
    first: int = 0,
    only: str | None = None,
    most: int = 10,
    say: Callable[[str], object] = lambda text: None,
) -> Found:
    """Run cases from number `first` on, until time or number are over, or `most` kinds of failures are known."""
    found, begin, number = Found(), time.monotonic(), first
    raw, known = set(), set()

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", BroadcastWarning)
        while time.monotonic() - begin < seconds and number - first < cases and len(found.failures) < most:
            case = one(seed, number, only)
            mismatches = check(case, found.report)
            if mismatches:
                found.wrong += 1
                key = signature(case, mismatches[0])
                if key not in raw:
                    raw.add(key)
                    at = time.monotonic() - begin
                    sampled = SAMPLED if mismatches[0].what.startswith("elementwise") else 0  # digits take time
                    small, mismatch = shrink(case, mismatches[0], lambda case, n=sampled: check(case, Report(), n))
                    if signature(small, mismatch) not in known:
                        known.add(signature(small, mismatch))
                        found.failures.append(Failure(number, at, small, mismatch))
                        say(f"\nseed {seed}, case {number}, after {at:.1f} s:\n{found.failures[-1]}\n")
            number += 1
    return found
