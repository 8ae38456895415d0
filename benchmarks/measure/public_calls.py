"""What small public calls cost through each door (arrays, a list, strides, weights, a mask, `options`), beside every peer."""

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

import cylosses
from benchmarks.measure.floors import dot_subject
from benchmarks.measure.harness import Subject, measure, summary
from benchmarks.measure.rows import MAIN_LOSS, set_threads
from benchmarks.measure.works import WORKS, Case, cylosses_subject, make_data
from benchmarks.peers import Peer

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


def _door_row(peers: Sequence[Peer]) -> list[Subject]:
    """Return the call on 16 elements through each door, and every peer through those that it has."""
    case, data = Case(MAIN_LOSS), make_data(WORKS["mean"], "float32", DOORS)
    strided_data = make_data(WORKS["strided_mean"], "float32", DOORS)
    x, y = data.input, data.target
    weight, where = np.abs(x), x > 0
    outs = np.empty_like(x), np.empty_like(x)
    function, loss = cylosses.smooth_l1_loss, cylosses.SmoothL1Loss()

    def door(name: str, *args: Any, **kwargs: Any) -> Subject:
        return Subject(name, function, args, kwargs, "cylosses")

    subjects = [
        dot_subject(x, y),
        door("arrays", x, y),
        door("arrays, beta by keyword", x, y, beta=0.5),
        door("reduction and beta in third and fourth place", x, y, "mean", 0.5),
        door("options mapping", x, y, {"reduction": "mean", "beta": 0.5}),
        door("list", x.tolist(), y.tolist()),
        door("strided", strided_data.input, strided_data.target),
        door("float32 with float64", x, y.astype(np.float64)),
        door("reduction none", x, y, reduction="none"),
        door("sum", x, y, reduction="sum"),
        door("weight", x, y, weight=weight),
        door("where", x, y, where=where),
        door("along an axis", x.reshape(4, 4), y.reshape(4, 4), axis=1),
        Subject("gradient, weight", loss.grad, (x, y), {"weight": weight}, "cylosses"),
        Subject("gradient and Hessian", loss.grad_and_hess, (x, y), kind="cylosses"),
        Subject("gradient and Hessian, out", loss.grad_and_hess, (x, y), {"out": outs}, "cylosses"),
    ]
    for peer in peers:
        for subject in peer.subjects(case, WORKS["mean"], data, 1):
            subjects.append(Subject(f"{subject.name}, arrays", subject.function, subject.args, subject.kwargs))
            if len(subject.args) >= 2:  # numexpr's arrays are not arguments
                subjects.append(_through_lists(subject))
        for subject in peer.subjects(case, WORKS["strided_mean"], strided_data, 1):
            subjects.append(Subject(f"{subject.name}, strided", subject.function, subject.args, subject.kwargs))
    return subjects


def _cost_row(peers: Sequence[Peer]) -> list[Subject]:
    """Return calls that differ from the plainest one in a single argument, beside it; torch takes and gets its own tensors."""
    data = make_data(WORKS["mean"], "float32", DOORS)
    x, y = data.input, data.target
    square, other = x.reshape(4, 4), y.reshape(4, 4)
    integers = (x * 10).astype(np.int64), (y * 10).astype(np.int64)
    function, loss = cylosses.smooth_l1_loss, cylosses.SmoothL1Loss()
    calls: dict[str, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = {
        "plain mean": (function, (x, y), {}),
        "value_and_grad": (loss.value_and_grad, (x, y), {}),
        "keepdims=True": (function, (x, y), {"keepdims": True}),
        "n_threads=np.int64(1)": (function, (x, y), {"n_threads": np.int64(1)}),
        "grad_output=np.float32(2)": (loss.grad, (x, y), {"grad_output": np.float32(2)}),
        "options mapping": (function, (x, y, {"reduction": "mean", "beta": 0.5}), {}),
        "axis of (4, 4)": (function, (square, other), {"axis": 1}),
        "integers": (function, integers, {}),
        "a number as target": (function, (x, 1.0), {}),
        "StreamingLoss.update": (loss.streaming().update, (x, y), {}),
        "two lists": (function, (x.tolist(), y.tolist()), {}),
        "(4, 4) with (4,), whose warning is ignored": (function, (square, y[:4]), {}),
        "(4, 4) with (1, 4), whose warning is repeated": (function, (square, other[:1]), {}),
    }
    subjects = [dot_subject(x, y), *(Subject(name, *call, "cylosses") for name, call in calls.items())]
    if "torch" in sys.modules:  # a peer has imported it
        tensors = tuple(map(sys.modules["torch"].from_numpy, (x, y)))
        subjects.append(Subject("torch tensors", function, tensors, kind="cylosses"))
    for peer in peers:
        if peer.name.startswith("torch"):
            subjects += peer.subjects(Case(MAIN_LOSS), WORKS["mean"], data, 1)
    return subjects


def _through_lists(subject: Subject) -> Subject:
    """Return a peer's call on two lists: the peer takes its own arrays, so they are made of the lists each time."""
    first, second, *rest = subject.args
    # NumPy's arrays and JAX's say where they come from; torch's do not.
    asarray = first.__array_namespace__().asarray if hasattr(first, "__array_namespace__") else sys.modules["torch"].asarray
    function, kwargs, dtype = subject.function, subject.kwargs, first.dtype

    def through_lists(x: list[float], y: list[float]) -> Any:
        return function(asarray(x, dtype=dtype), asarray(y, dtype=dtype), *rest, **kwargs)

    return Subject(f"{subject.name}, list", through_lists, (first.tolist(), second.tolist()))


def run(peers: Sequence[Peer], seconds: float, wanted: Callable[..., bool] = lambda **_: True) -> Iterator[dict[str, Any]]:
    """Yield the rows as the JSON holds them, of those that `wanted` says are still to be timed.

    They run on one thread, which is all that these sizes use.
    """
    set_threads(1, peers)
    makers: dict[str, Callable[[], list[Subject]]] = {
        f"{work} of {size}": partial(_peer_row, work, size, peers) for work, size in PEER_ROWS
    }
    makers[f"mean of {DOORS}, door by door"] = partial(_door_row, peers)
    makers[f"mean of {DOORS}, argument by argument"] = partial(_cost_row, peers)
    for name, make in makers.items():
        if wanted(name=name):
            subjects = make()
            with warnings.catch_warnings(record=True):
                warnings.filterwarnings("ignore", r".*target has shape \(4,\)", cylosses.BroadcastWarning)
                warnings.filterwarnings("default", r".*target has shape \(1, 4\)", cylosses.BroadcastWarning)
                found = summary(measure(subjects, seconds))
            yield {"name": name, "floor": subjects[0].name, "subjects": found}
