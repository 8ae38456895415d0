"""Reductions over some axes: the layouts, the works, the arrays, and the calls that do them with this library.

All means, and the gradients of them, are those of the slices, one for each row or column; only the gradient by a broadcast target
is that of the one mean over all elements, and summed over the axis that the target was broadcast along.
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

import cylosses
from benchmarks.measure.harness import Subject
from benchmarks.measure.works import Case, Data, Work, normal
from benchmarks.report.tables import size_text

SLICE_WORKS = {
    work.name: work
    for work in (
        Work("mean", "`mean` over `axis`"),
        Work("weighted_mean", "`mean` over `axis` with `weight`"),
        Work("grad", "`grad` of `mean` over `axis`, `out=`", 1),
        Work("weighted_grad", "`grad` of `mean` over `axis` with `weight`, `out=`", 1),
        Work("value_and_grad", "`value_and_grad` of `mean` over `axis`, `out=`", 1),
        Work("target_grad", "`grad` by a target that is broadcast, `out=`", 1),
    )
}


def _shape_text(shape: tuple[int, ...]) -> str:
    return f"({','.join(size_text(length).replace(' ', '') for length in shape)})"


@dataclass(frozen=True)
class Layout:
    """The shape of the operands, and the axes that are reduced.

    Attributes
    ----------
    shape, axis : tuple of int
        The axes lie side by side.
    order : {'C', 'F'}
        Of the elements in memory.
    target_shape : tuple of int or None
        Of a target that is broadcast along `axis`.
    """

    shape: tuple[int, ...]
    axis: tuple[int, ...]
    order: str = "C"
    target_shape: tuple[int, ...] | None = None

    @property
    def name(self) -> str:
        """As in row names: ``(1M,4) axis 1``."""
        text = _shape_text(self.shape) + (" Fortran" if self.order == "F" else "")
        if self.target_shape is not None:
            return f"{text} target {_shape_text(self.target_shape)}"
        axes = ",".join(map(str, self.axis))
        return f"{text} axis {axes if len(self.axis) == 1 else f'({axes})'}"

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def length(self) -> int:
        """The number of elements of a slice."""
        return math.prod(self.shape[k] for k in self.axis)

    @property
    def result_shape(self) -> tuple[int, ...]:
        """The shape of the results."""
        return tuple(length for k, length in enumerate(self.shape) if k not in self.axis)

    def blocks(self, array: np.ndarray) -> np.ndarray:
        """Return an operand in C order with three axes, the second of which is reduced: what hand-written loops go over."""
        axis = self.axis
        if self.order == "F":
            array, axis = array.T, tuple(sorted(array.ndim - 1 - k for k in axis))
        before, after = array.shape[: axis[0]], array.shape[axis[-1] + 1 :]
        return array.reshape(math.prod(before), self.length, math.prod(after))


@dataclass
class SliceData(Data):
    """The arrays of one row.

    Attributes
    ----------
    layout : Layout
        Theirs.
    valued : bool
        Whether the work returns values, one for each slice.
    """

    layout: Layout
    valued: bool

    @property
    def summed(self) -> int:
        """The number of elements in one sum."""
        return self.layout.length

    @property
    def axis(self) -> int | tuple[int, ...]:
        """The axes as most people pass them."""
        return self.layout.axis[0] if len(self.layout.axis) == 1 else self.layout.axis

    @property
    def bytes_moved(self) -> int:
        """The bytes that must be read and written once, results of the slices included."""
        results = self.size // self.layout.length if self.valued else 0
        return super().bytes_moved + results * self.input.itemsize


def make_slices(work: Work, dtype: str, layout: Layout) -> SliceData:
    """Return the arrays of a work in a layout."""
    target_shape = layout.target_shape or layout.shape
    memory = [normal(0, dtype, layout.size), normal(1, dtype, math.prod(target_shape))]
    shapes = [layout.shape, target_shape]
    if work.name.startswith("weighted"):
        memory.append(np.abs(normal(2, dtype, layout.size)))
        shapes.append(layout.shape)
    first, second, *weights = (flat.reshape(shape, order=layout.order) for flat, shape in zip(memory, shapes, strict=True))
    written = target_shape if work.name == "target_grad" else layout.shape
    outputs = [np.ones(written, dtype, layout.order) for _ in range(work.outputs)]
    valued = work.name in ("mean", "weighted_mean", "value_and_grad")
    return SliceData(first, second, weights[0] if weights else None, None, outputs, memory, layout, valued)


def slices_subject(case: Case, work: Work, data: SliceData) -> Subject:
    """Return the work as a call of this library; means are fresh memory, as they are for all peers."""
    loss = case.loss("mean")
    if work.name == "target_grad":
        # Asked for here; outside, the warning is the point of the call.
        warnings.simplefilter("ignore", cylosses.BroadcastWarning)
        keywords: dict[str, Any] = {"wrt": "target"}
    else:
        keywords = {"axis": data.axis}
    if data.weight is not None:
        keywords["weight"] = data.weight
    if data.outputs:
        keywords["out"] = data.outputs[0]
    method = {"mean": loss, "weighted_mean": loss, "value_and_grad": loss.value_and_grad}.get(work.name, loss.grad)
    return Subject("cylosses", method, (data.input, data.target), keywords, "cylosses")
