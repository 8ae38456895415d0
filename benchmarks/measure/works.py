"""What is timed: the works, the arrays that they need, and the calls that do them with this library."""

import inspect
import warnings
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np

import cylosses
from benchmarks.measure.formulas import FORMULAS, Formula
from benchmarks.measure.harness import Subject

ROW_LENGTH = 16  # of the second operand in the broadcast work
WORTH_THREADS = 32_768  # elements; below, one thread is the fastest way for every library here
KEPT_ARRAYS = 4  # the operands of all works of one size and dtype, or nearly: touching 200 MB takes longer than timing them
RANDOM_ELEMENTS = 1 << 22  # longer arrays repeat these: timing does not see it, and drawing takes longer than timing


@dataclass(frozen=True)
class Work:
    """A kind of call.

    Attributes
    ----------
    name, text : str
        As in row names, and as in tables.
    outputs : int
        Arrays written, with ``out=``.
    exact : bool
        Whether it is about exact sums as such: only peers that sum exactly do it, and they must return the same bits.
    """

    name: str
    text: str
    outputs: int = 0
    exact: bool = False


WORKS = {
    work.name: work
    for work in (
        Work("none", "`none`, `out=`", 1),
        Work("mean", "`mean`"),
        Work("grad", "`grad`, `out=`", 1),
        Work("value_and_grad", "`value_and_grad`, `out=`", 1),
        Work("grad_and_hess", "`grad_and_hess`, `out=`", 2),
        Work("weighted_mean", "`mean` with `weight`"),
        Work("masked_mean", "`mean` with `where`"),
        Work("strided_mean", "`mean` of every second element"),
        Work("mixed_mean", "`mean`, float32 with float64"),
        Work("broadcast_mean", f"`mean`, (n, {ROW_LENGTH}) with ({ROW_LENGTH},)"),
        Work("exact_sum", "exact sum of an array", exact=True),
    )
}


@dataclass
class Data:
    """The arrays of one row.

    Attributes
    ----------
    input, target : numpy.ndarray
        The operands; standard normal, so that smooth L1 with beta 1 takes either branch for about half of them.
    weight, where : numpy.ndarray or None
        If the work has them.
    outputs : list of numpy.ndarray
        As many as the work writes.
    memory : list of numpy.ndarray
        One-dimensional contiguous arrays that cover all that is read.
    """

    input: np.ndarray
    target: np.ndarray
    weight: np.ndarray | None
    where: np.ndarray | None
    outputs: list[np.ndarray]
    memory: list[np.ndarray]

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.input.size

    @property
    def summed(self) -> int:
        """The number of elements in one sum."""
        return self.size

    @property
    def bytes_moved(self) -> int:
        """The bytes that must be read and written once."""
        masks = [] if self.where is None else [self.where]
        return sum(array.nbytes for array in (*self.memory, *masks, *self.outputs))


@cache
def random_block(seed: int, dtype: str) -> np.ndarray:
    """Return the normal numbers that all arrays are made of."""
    return np.random.default_rng(seed).standard_normal(RANDOM_ELEMENTS, np.dtype(dtype).type)


@lru_cache(maxsize=KEPT_ARRAYS)
def normal(seed: int, dtype: str, size: int) -> np.ndarray:
    """Return an array of standard normal numbers: the same one as long as few others are asked for, and so not to be written to."""
    return np.resize(random_block(seed, dtype), size)


def make_data(work: Work, dtype: str, size: int) -> Data:
    """Return the arrays of a work for `size` elements of a working dtype."""
    length = 2 * size if work.name == "strided_mean" else size
    first = normal(0, "float32" if work.name == "mixed_mean" else dtype, length)
    second = normal(1, "float64" if work.name == "mixed_mean" else dtype, ROW_LENGTH if work.name == "broadcast_mean" else length)
    memory = [first, second]
    weight = where = None
    if work.name == "weighted_mean":
        weight = np.abs(normal(2, dtype, size))
        memory.append(weight)
    if work.name == "masked_mean":
        where = np.resize(random_block(2, "float32") > -1, size)
    if work.name == "strided_mean":
        first, second = first[::2], second[::2]
    if work.name == "broadcast_mean":
        first = first.reshape(-1, ROW_LENGTH)
    if work.exact:
        first, second = np.abs(first), np.zeros(1, dtype)
        memory = [first]
    # Written once here, so that no timing pays for the first touch of a page.
    outputs = [np.zeros(size, dtype) + 1 for _ in range(work.outputs)]
    return Data(first, second, weight, where, outputs, memory)


@dataclass(frozen=True)
class Case:
    """A loss with its default parameter, and its formula if the peers know one."""

    name: str

    @property
    def loss_class(self) -> type:
        """Its class."""
        return cylosses.LOSSES[self.name]

    def loss(self, reduction: str) -> Any:
        """Return the loss object."""
        return self.loss_class(reduction=reduction)

    @property
    def parameter(self) -> float:
        """Its parameter; 1 for a loss that has none."""
        name = getattr(self.loss_class, "parameter_name", "") or ""
        value = getattr(self.loss("mean"), name, None) if name else None
        return 1.0 if value is None else float(value)

    @property
    def formula(self) -> Formula | None:
        """Its formula."""
        return FORMULAS.get(self.name)


def reason_missing(case: Case, work: Work) -> str | None:
    """Return why the library cannot do a work yet; None if it can."""
    method = work.name if work.name in ("grad", "value_and_grad", "grad_and_hess") else "__call__"
    if not hasattr(case.loss_class, method):
        return f"{case.loss_class.__name__} has no {method}"
    keyword = {"weighted_mean": "weight", "masked_mean": "where"}.get(work.name, "out" if work.outputs else None)
    if keyword is not None and keyword not in inspect.signature(getattr(case.loss_class, method)).parameters:
        return f"{case.loss_class.__name__}.{method} takes no {keyword}"
    return None


def cylosses_subject(case: Case, work: Work, data: Data) -> Subject:
    """Return the work as a call of this library.

    Gradients alone are those of the sum, as all peers compute them; with a value they are those of the mean.
    """
    pair = (data.input, data.target)
    name, kind = "cylosses", "cylosses"
    if work.name == "none":
        return Subject(name, case.loss("none"), pair, {"out": data.outputs[0]}, kind)
    if work.name == "grad":
        return Subject(name, case.loss("sum").grad, pair, {"out": data.outputs[0]}, kind)
    if work.name == "value_and_grad":
        return Subject(name, case.loss("mean").value_and_grad, pair, {"out": data.outputs[0]}, kind)
    if work.name == "grad_and_hess":
        return Subject(name, case.loss("sum").grad_and_hess, pair, {"out": tuple(data.outputs)}, kind)
    if work.exact:
        # The sum of absolute differences from 0: of elements that are not negative, their own.
        return Subject(name, case.loss("sum"), pair, kind=kind)
    if work.name == "broadcast_mean":
        # Asked for here; outside, the warning is the point of the call.
        warnings.simplefilter("ignore", cylosses.BroadcastWarning)
    keywords = {key: value for key, value in (("weight", data.weight), ("where", data.where)) if value is not None}
    return Subject(name, case.loss("mean"), pair, keywords, kind)
