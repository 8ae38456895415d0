"""A call as data: what is passed, how it lies in memory, which settings; and how it is made.

A `Case` holds values and descriptions, never the arrays themselves: those are laid out anew for each run, so that a call which
overwrites its inputs can be repeated, shrunk and printed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cylosses import StreamingLoss, functional
from cylosses.losses import LOSSES
from tests.reference import BFLOAT16, ORACLE, result_dtype, working_dtype

from .modes import current, floating_point_mode

ROLES = ("input", "target", "parameter", "weight", "where", "grad_output")
SHAPING = ROLES[:3]  # those that broadcast to the shape of the call
QUANTITIES = ("value", "grad", "value_and_grad", "grad_and_hess", "streaming")
OUTPUTS = {  # what each quantity returns
    "value": ("value",),
    "grad": ("gradient",),
    "value_and_grad": ("value", "gradient"),
    "grad_and_hess": ("gradient", "hessian"),
    "streaming": ("value",),
}


@dataclass(frozen=True)
class Place:
    """How an array lies in its memory."""

    order: tuple[int, ...] | None = None  # the axes from the slowest to the fastest; None: as they are, C order
    steps: tuple[int, ...] | None = None  # of each axis: 2 leaves gaps, -1 runs backwards, 0 repeats one element
    offset: int = 0  # elements before it
    unaligned: bool = False  # one byte more
    swapped: bool = False  # in the other byte order

    def layout(self, shape: tuple[int, ...], itemsize: int) -> tuple[int, tuple[int, ...], int]:
        """Bytes from the beginning of the memory to the first element, strides, and the bytes needed."""
        strides, run = [0] * len(shape), itemsize
        begin = first = self.offset * itemsize + self.unaligned
        for k in reversed(self.order or range(len(shape))):
            step, n = (self.steps or (1,) * len(shape))[k], max(shape[k], 1)
            strides[k] = run * step
            first -= min(run * step, 0) * (n - 1)
            run *= abs(step) * n if step else 1
        return first, tuple(strides), begin + run


@dataclass(frozen=True)
class Operand:
    """What is passed for one argument."""

    values: np.ndarray  # as they are meant: of the machine's byte order, C-contiguous
    place: Place = field(default_factory=Place)
    number: bool = False  # passed as a Python number, which has no width; a parameter also as a list of them


@dataclass(frozen=True)
class Output:
    """An array passed to take a result."""

    place: Place = field(default_factory=Place)
    host: str | None = None  # the operand in whose memory it lies; None: memory of its own


@dataclass(frozen=True)
class Stream:
    """How data comes to a streaming total: pieces of the first axis to several totals, which are merged."""

    pieces: tuple[tuple[int, int, int], ...]  # from, to, number of the total
    merged: tuple[int, ...]  # the totals in the order of merging
    stored: tuple[int, ...] = ()  # those that go through bytes before


@dataclass(frozen=True)
class Case:
    """One call."""

    name: str
    parameter: float  # unless there is an operand of that name: an array of parameters
    operands: dict[str, Operand]
    quantity: str = "value"
    reduction: str = "none"
    function: bool = False  # `<name>_loss`, `<name>_loss_backward`, instead of the class
    axis: Any = None
    keepdims: bool = False
    wrt: str = "input"
    curvature: str = "exact"
    outputs: tuple[Output | None, ...] = ()  # one for each result, or none at all
    n_threads: int | None = None
    mode: int = 0
    stream: Stream | None = None

    def but(self, **changes: Any) -> Case:
        return replace(self, **changes)

    def values(self, role: str) -> np.ndarray | None:
        return self.operands[role].values if role in self.operands else None

    @property
    def shape(self) -> tuple[int, ...]:
        return np.broadcast_shapes(*(self.operands[role].values.shape for role in SHAPING if role in self.operands))

    @property
    def parameters(self) -> np.ndarray:
        """The parameter of each element, in float64 and of the shape of the call."""
        given = self.values("parameter")
        return np.broadcast_to(np.float64(self.parameter) if given is None else given.astype(np.float64), self.shape)

    @property
    def dtype(self) -> np.dtype:
        """Of the result."""
        return result_dtype(*(self.operands[role].values.dtype for role in ("input", "target") if not self.operands[role].number))

    @property
    def is_integer(self) -> bool:
        return all(self.operands[role].values.dtype.kind in "biu" for role in ("input", "target"))

    @property
    def working(self) -> np.dtype:
        """The dtype that is computed in; a Python float against integers is in float64."""
        return working_dtype(self.dtype)

    @property
    def summed(self) -> set[int]:
        """The axes that the reduction sums over."""
        every = set(range(len(self.shape)))
        return every if self.axis is None else {k % len(self.shape) for k in np.ravel(self.axis).astype(int).tolist()}

    def with_ones(self) -> tuple[int, ...]:
        return tuple(1 if k in self.summed else n for k, n in enumerate(self.shape))

    def shape_of(self, output: str) -> tuple[int, ...]:
        if output != "value":
            return self.operands["input" if output == "hessian" else self.wrt].values.shape
        if self.reduction == "none":
            return self.shape
        if self.keepdims and self.quantity == "value":
            return self.with_ones()
        return tuple(n for k, n in enumerate(self.shape) if k not in self.summed)


@dataclass
class Outcome:
    """What a call did."""

    results: dict[str, Any]
    complaints: list[str]  # of what must not happen, whatever the results are


def memory(size: int) -> np.ndarray:
    """So many bytes, all ones, which floats read as NaN, behind a boundary of 64 bytes; and 64 more, which nobody may write to."""
    room = np.full(size + 128, 0xFF, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size + 64]


def view(host: np.ndarray, shape: tuple[int, ...], dtype: np.dtype, place: Place) -> np.ndarray:
    first, strides, _ = place.layout(shape, dtype.itemsize)
    return np.ndarray(shape, dtype.newbyteorder() if place.swapped and dtype != BFLOAT16 else dtype, host, first, strides)


def lay_out(case: Case) -> tuple[dict[str, np.ndarray], dict[str, Any], list[np.ndarray | None]]:
    """The memory of each operand, what is passed for it, and the arrays that take results."""
    outputs = list(zip(OUTPUTS[case.quantity], case.outputs, strict=False))
    hosts, passed = {}, {}
    for role, operand in case.operands.items():
        if operand.number:
            passed[role] = operand.values.tolist()
            continue
        sizes = [operand.place.layout(operand.values.shape, operand.values.dtype.itemsize)[2]]
        sizes += [o.place.layout(case.shape_of(name), case.dtype.itemsize)[2] for name, o in outputs if o and o.host == role]
        hosts[role] = memory(max(sizes))
        passed[role] = view(hosts[role], operand.values.shape, operand.values.dtype, operand.place)
        passed[role][...] = operand.values
    outs: list[np.ndarray | None] = []
    for number, (name, output) in enumerate(outputs):
        if output is not None:
            shape, host = case.shape_of(name), output.host
            if host is None:
                host = f"output {number}"
                hosts[host] = memory(output.place.layout(shape, case.dtype.itemsize)[2])
            outs.append(view(hosts[host], shape, case.dtype, output.place))
        else:
            outs.append(None)
    return hosts, passed, outs


def piece_of(operand: Any, shape: tuple[int, ...], begin: int, end: int) -> Any:
    """What belongs to a piece of the first axis of an operand that broadcasts to `shape`."""
    whole = np.ndim(operand) < len(shape) or np.shape(operand)[:1] != shape[:1] or not shape
    return operand if whole else operand[begin:end]


def _stream(case: Case, loss: Any, passed: dict[str, Any], options: dict[str, Any]) -> Any:
    totals = {number: loss.streaming(case.axis) for number in case.stream.merged}
    for begin, end, number in case.stream.pieces:
        pieces = {role: piece_of(operand, case.shape, begin, end) for role, operand in passed.items()}
        totals[number].update(**pieces, **options)
    for number in case.stream.stored:
        totals[number] = StreamingLoss.from_bytes(totals[number].to_bytes())
    first, *others = (totals[number] for number in case.stream.merged)
    for other in others:
        first.merge(other)
    return first.compute()


def setting_of(case: Case, passed: dict[str, Any]) -> dict[str, Any]:
    """The parameter as a keyword argument."""
    return ORACLE[case.name].setting(passed.get("parameter", case.parameter))


def _call(case: Case, loss: Any, passed: dict[str, Any], outs: list[Any]) -> tuple[Any, ...]:
    options: dict[str, Any] = {} if case.n_threads is None else {"n_threads": case.n_threads}
    operands = {role: passed[role] for role in ("input", "target")}
    extra = {role: passed[role] for role in ("weight", "where") if role in passed}
    if case.quantity == "streaming":
        return (_stream(case, loss, operands | extra, options),)
    options |= extra
    if case.quantity != "grad_and_hess" and case.axis is not None:
        options["axis"] = case.axis
    if any(out is not None for out in outs):
        options["out"] = outs[0] if len(outs) == 1 else tuple(outs)
    setting = setting_of(case, passed)
    if case.quantity == "value":
        options |= {"keepdims": True} if case.keepdims else {}
        if case.function:
            function = getattr(functional, f"{case.name}_loss")
            return (function(**operands, reduction=case.reduction, **setting, **options),)
        return (loss(**operands, **options),)
    if case.quantity == "grad":
        options["wrt"] = case.wrt
        if case.function:
            function = getattr(functional, f"{case.name}_loss_backward")
            return (function(passed.get("grad_output", 1.0), **operands, reduction=case.reduction, **setting, **options),)
        options |= {"grad_output": passed["grad_output"]} if "grad_output" in passed else {}
        return (loss.grad(**operands, **options),)
    if case.quantity == "value_and_grad":
        return loss.value_and_grad(**operands, **options)
    return loss.grad_and_hess(**operands, curvature=case.curvature, **options)


def perform(case: Case) -> Outcome:
    """Lay the operands out and make the call in its floating-point mode."""
    hosts, passed, outs = lay_out(case)
    before = {name: host.copy() for name, host in hosts.items()}
    loss = LOSSES[case.name](reduction=case.reduction, **setting_of(case, passed))
    with floating_point_mode(case.mode):
        returned = _call(case, loss, passed, outs)
        left = current()
    complaints = [] if left == case.mode else [f"the call left floating-point mode {left:#x} instead of {case.mode:#x}"]
    for number, (name, output) in enumerate(zip(OUTPUTS[case.quantity], case.outputs, strict=False)):
        if output is not None:
            if returned[number] is not outs[number]:
                complaints.append(f"out for {name} was not returned")
            # Nothing but the elements of the output may have changed.
            host = output.host or f"output {number}"
            view(before[host], outs[number].shape, case.dtype, output.place)[...] = outs[number]
    complaints += [f"memory of {name} changed" for name, host in hosts.items() if host.tobytes() != before[name].tobytes()]
    return Outcome(dict(zip(OUTPUTS[case.quantity], (np.array(result) for result in returned), strict=True)), complaints)
