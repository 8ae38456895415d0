"""The rows of reductions over some axes: which loss, work, dtype and layout are timed. `rows.run` makes each of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cylosses
from benchmarks.measure.harness import Subject
from benchmarks.measure.rows import MAIN_LOSS, Row, matches
from benchmarks.measure.slices import SLICE_WORKS, Layout, SliceData, make_slices, slices_subject
from benchmarks.measure.works import Case, Work
from benchmarks.peers import Peer

BOXES = Layout((1_000_000, 4), (1,))  # four coordinates each: what smooth L1 is most often asked for
COLUMNS = Layout((1_000_000, 4), (0,))
SQUARE_COLUMNS = Layout((1000, 1000), (0,))
MIDDLE = Layout((100, 100, 100), (1,))
LAYOUTS = (
    BOXES,
    COLUMNS,
    SQUARE_COLUMNS,
    Layout((1000, 1000), (1,)),
    MIDDLE,
    Layout((4_000_000, 2), (0,)),
    Layout((250_000, 16), (1,)),
    Layout((64, 64, 1000), (0, 1)),
    Layout((2, 2_000_000), (0,)),
)
MORE_LAYOUTS = (
    Layout((64, 3, 256, 256), (1,)),
    Layout((64, 3, 256, 256), (2, 3)),
    Layout((2_000_000, 1), (1,)),
    Layout((1, 4_000_000), (1,)),
    Layout((4, 1_000_000), (0,), "F"),
)
WEIGHTED_LAYOUTS = (BOXES, COLUMNS, SQUARE_COLUMNS)
BROADCAST = Layout((500_000, 4), (1,), target_shape=(500_000, 1))

MAIN_PLAN: dict[str, Sequence[Layout]] = {
    "mean": (*LAYOUTS, *MORE_LAYOUTS),
    "weighted_mean": WEIGHTED_LAYOUTS,
    "grad": (BOXES,),
    "weighted_grad": (BOXES,),
    "value_and_grad": (BOXES,),
    "target_grad": (BROADCAST,),
}
OTHER_LAYOUTS = (BOXES, COLUMNS)
QUICK_PLAN: dict[str, Sequence[Layout]] = {
    "mean": (BOXES, COLUMNS, SQUARE_COLUMNS, MIDDLE),
    "weighted_mean": (BOXES,),
    "weighted_grad": (BOXES,),
    "value_and_grad": (BOXES,),
    "target_grad": (BROADCAST,),
}
WIDELY_TIMED = ("l1", "mse", "huber", "tukey")  # at all of `LAYOUTS`, in both dtypes: a choice of rows, that the run takes minutes


@dataclass(frozen=True)
class SliceRow(Row):
    """One line of the tables; `size` is the number of elements of the input."""

    layout: Layout

    @property
    def place(self) -> str:
        """The layout."""
        return self.layout.name

    @property
    def spec(self) -> Work:
        """The work that `work` names."""
        return SLICE_WORKS[self.work]

    def head(self) -> dict[str, Any]:
        """Return what the JSON says of the row beside its times."""
        return {**super().head(), "layout": self.layout.name}

    def data(self) -> SliceData:
        """Return its arrays."""
        return make_slices(self.spec, self.dtype, self.layout)

    def ours(self, case: Case, data: SliceData) -> Subject:
        """Return the call of the library."""
        return slices_subject(case, self.spec, data)

    def offered(self, peer: Peer, case: Case, data: SliceData) -> list[Subject]:
        """Return the calls of a peer."""
        return peer.slice_subjects(case, self.spec, data, self.threads)


def plan(threads: int, *, quick: bool = False, only: Sequence[str] = ()) -> Iterator[SliceRow]:
    """Yield the rows, all of them on all threads: of a loss those of one dtype and work together.

    Smooth L1 gets every work; of the other losses some get the mean in all of `LAYOUTS`, the rest in `OTHER_LAYOUTS` and float32.

    Parameters
    ----------
    threads, quick, only
        As in `rows.plan`.
    """
    for loss in sorted(cylosses.LOSSES, key=lambda name: name != MAIN_LOSS):
        for dtype in ("float32",) if quick else ("float32", "float64"):
            for work, layouts in _works(loss, dtype, quick).items():
                for layout in layouts:
                    row = SliceRow(loss, work, dtype, layout.size, threads, layout)
                    if matches(row.name, only):
                        yield row


def _works(loss: str, dtype: str, quick: bool) -> dict[str, Sequence[Layout]]:
    """Return the layouts of each work that a loss is timed in."""
    if loss == MAIN_LOSS:
        return QUICK_PLAN if quick else MAIN_PLAN
    if quick:
        return {}
    if loss in WIDELY_TIMED:
        return {"mean": LAYOUTS}
    return {"mean": OTHER_LAYOUTS} if dtype == "float32" else {}
