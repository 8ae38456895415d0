"""The floors: what memory itself allows, as the fastest common routines show it.

Reading is measured by BLAS dot products over the same arrays, writing by an addition with ``out=``. torch's routines are taken
where torch is installed: they use all threads, which NumPy's addition does not.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.measure.harness import Subject
from benchmarks.measure.works import Data, Work

try:
    import torch
except ImportError:  # a row's floor says which routine it was
    torch = None

READS = {
    "mixed_mean": ("read both arrays", [(0, 0), (1, 1)]),
    "broadcast_mean": ("read one array", [(0, 0)]),
    "weighted_mean": ("read three arrays", [(0, 1), (2, 2)]),
    "exact_sum": ("read one array", [(0, 0)]),
    "target_grad": ("read one array", [(0, 0)]),
}
"""The dot products that read what a work reads, as indices into its arrays, where one product of the operands would not."""


def _as_operand(array: np.ndarray) -> Any:
    return array if torch is None else torch.from_numpy(array)


def _dot() -> tuple[str, Callable[[Any, Any], Any]]:
    return ("np.dot", np.dot) if torch is None else ("torch.dot", torch.dot)


def dot_subject(x: np.ndarray, y: np.ndarray) -> Subject:
    """Return the BLAS dot product of two arrays."""
    name, dot = _dot()
    return Subject(name, dot, (_as_operand(x), _as_operand(y)), kind="floor")


def add_subject(x: np.ndarray, y: np.ndarray, out: np.ndarray) -> Subject:
    """Return the addition of two arrays into a third."""
    if torch is None:
        return Subject("np.add(out=)", np.add, (x, y), {"out": out}, "floor")
    return Subject("torch.add(out=)", torch.add, (_as_operand(x), _as_operand(y)), {"out": _as_operand(out)}, "floor")


def copy_subject(x: np.ndarray, out: np.ndarray) -> Subject:
    """Return the copy of an array into another."""
    if torch is None:
        return Subject("np.copyto", np.copyto, (out, x), kind="floor")
    return Subject("torch copy_", _as_operand(out).copy_, (_as_operand(x),), kind="floor")


def copy_reference(x: np.ndarray, out: np.ndarray) -> Subject:
    """Return the copy as a subject that is shown beside the floor: it reads one array less."""
    copy = copy_subject(x, out)
    return Subject(f"memory copy ({copy.name})", copy.function, copy.args, kind="reference")


def floor(work: Work, data: Data) -> Subject:
    """Return the floor of a row: a read of all that the work reads, or an addition that also writes what it writes."""
    name, dot = _dot()
    operands = [_as_operand(array) for array in data.memory]
    if work.name in READS:
        # A dot product of an array with itself reads it once.
        text, indices = READS[work.name]
        pairs = [(operands[i], operands[k]) for i, k in indices]

        def read_all() -> None:
            for x, y in pairs:
                dot(x, y)

        return Subject(f"{text} ({name})", read_all, kind="floor")
    if work.outputs:
        add = add_subject(*data.memory[:2], data.outputs[0].ravel(order="K"))  # a view, like `memory`
        if work.outputs == 1:
            return add
        second = _as_operand(data.outputs[1])
        fill = second.fill if torch is None else second.fill_

        def add_and_fill() -> None:
            add.call()
            fill(1.0)

        return Subject(f"{add.name} + fill", add_and_fill, kind="floor")
    return Subject(name, dot, tuple(operands), kind="floor")  # the mask is not read here: a floor a little too low
