"""What an adapter offers."""

from typing import ClassVar

from benchmarks.measure.harness import Subject
from benchmarks.measure.slices import SliceData
from benchmarks.measure.works import Case, Data, Work


class Peer:
    """A library that computes losses. Making one imports it; an ImportError means that it is skipped."""

    name: ClassVar[str]
    what: ClassVar[str]  # it does, and how it sums, in a line of the report
    exact: ClassVar[bool] = False  # whether it returns exact sums: of arrays alone, since none knows a loss

    def set_threads(self, threads: int) -> None:
        """Use so many threads in the calls that follow."""

    def subjects(self, case: Case, work: Work, data: Data, threads: int) -> list[Subject]:
        """Return the calls that do a work, the best ways that this library has; none if it has no way.

        Each returns what the library's own call returns: a number, an array, or a tuple of these, so that results can be compared.
        """
        raise NotImplementedError

    def slice_subjects(self, case: Case, work: Work, data: SliceData, threads: int) -> list[Subject]:
        """Return the calls that do a work slice by slice, as `subjects` does; by default none."""
        return []
