"""What the small public calls cost, through each door: arrays, a list, a strided array, the `options` mapping."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import cylosses
from benchmarks.floors import dot_subject
from benchmarks.harness import Subject, measure, summary
from benchmarks.peers import Peer
from benchmarks.rows import MAIN_LOSS, set_threads
from benchmarks.works import WORKS, Case, cylosses_subject, make_data

PEER_ROWS = (("mean", 16), ("mean", 1024), ("value_and_grad", 16))
DOORS = 16  # elements in the rows that compare the doors


def _peer_row(work_name: str, size: int, peers: Sequence[Peer]) -> list[Subject]:
    """Return the public call beside every peer."""
    work, case = WORKS[work_name], Case(MAIN_LOSS)
    data = make_data(work, "float32", size)
    subjects = [dot_subject(data.input, data.target)]
    if work_name == "mean":
        subjects.append(Subject("cylosses", cylosses.smooth_l1_loss, (data.input, data.target), kind="cylosses"))
        subjects.append(Subject("cylosses, loss object", case.loss("mean"), (data.input, data.target), kind="cylosses"))
    else:
        subjects.append(cylosses_subject(case, work, data))
        loss = case.loss("mean")
        subjects.append(Subject("cylosses, without out", loss.value_and_grad, (data.input, data.target), kind="cylosses"))
    for peer in peers:
        subjects += peer.subjects(case, work, data, 1)
    return subjects


def _door_row() -> list[Subject]:
    """Return the call on 16 elements through each door."""
    data = make_data(WORKS["mean"], "float32", DOORS)
    x, y = data.input, data.target
    wide_x, wide_y = np.repeat(x, 2)[::2], np.repeat(y, 2)[::2]
    function = cylosses.smooth_l1_loss

    def door(name: str, *args: Any, **kwargs: Any) -> Subject:
        return Subject(name, function, args, kwargs, "cylosses")

    return [
        dot_subject(x, y),
        door("arrays", x, y),
        door("arrays, beta by keyword", x, y, beta=0.5),
        door("reduction and beta in third and fourth place", x, y, "mean", 0.5),
        door("options mapping", x, y, {"reduction": "mean", "beta": 0.5}),
        door("list", x.tolist(), y.tolist()),
        door("strided", wide_x, wide_y),
        door("float32 with float64", x, y.astype(np.float64)),
        door("reduction none", x, y, reduction="none"),
        door("sum", x, y, reduction="sum"),
    ]


def run(peers: Sequence[Peer], seconds: float) -> Iterator[dict[str, Any]]:
    """Yield the rows as the JSON holds them; on one thread, which is all that these sizes use."""
    set_threads(1, peers)
    for work, size in PEER_ROWS:
        subjects = _peer_row(work, size, peers)
        yield {"name": f"{work} of {size}", "floor": subjects[0].name, "subjects": summary(measure(subjects, seconds))}
    subjects = _door_row()
    yield {"name": f"mean of {DOORS}, door by door", "floor": subjects[0].name, "subjects": summary(measure(subjects, seconds))}
