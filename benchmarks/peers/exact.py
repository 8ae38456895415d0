"""What else sums exactly: Python's ``math.fsum``, and the superaccumulators of the package xsum. Both sum arrays, on one thread."""

import math
from typing import Any

from benchmarks.measure.harness import Subject
from benchmarks.measure.works import Case, Data, Work
from benchmarks.peers.base import Peer

MOST_FSUM = 100_000  # elements: beyond them a list, and a call, are so large that nobody would


class MathFsum(Peer):
    """Python's own exact sum."""

    name = "math.fsum"
    what = "the exact sum of a list that is made before, and of no loss; one thread"
    exact = True

    def subjects(self, case: Case, work: Work, data: Data, threads: int) -> list[Subject]:
        """Return the sum of a list."""
        if not work.exact or data.size > MOST_FSUM:
            return []
        return [Subject(self.name, math.fsum, (data.input.tolist(),))]


class Xsum(Peer):
    """Radford Neal's large superaccumulator, in the C++ of the package xsum."""

    name = "xsum"
    what = "the exact sum of an array by a large superaccumulator, and of no loss; one thread"
    exact = True

    def __init__(self) -> None:
        from xsum import xsum_large

        self.accumulator = xsum_large

    def subjects(self, case: Case, work: Work, data: Data, threads: int) -> list[Subject]:
        """Return the sum of an array by a fresh accumulator."""
        if not work.exact:
            return []

        def exact_sum(array: Any) -> float:
            accumulator = self.accumulator()
            accumulator.add(array)
            return accumulator.round()

        return [Subject(self.name, exact_sum, (data.input,))]
