"""The work of `cylosses score`: two to four files in, a loss and perhaps three files out, window by window; and of `merge`.

Why the result has the bits of one in-memory call: reductions are exact, so windows may be cut anywhere and come in any
order; elementwise results do not depend on their neighbours; and the divisor of a mean's gradient is known beforehand:
from the shape, or from a pass of its own over weights and mask.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cylosses import LOSSES, StreamingLoss
from cylosses._cli.readers import Array, InputError, Source, Window, one_line, open_source, read_state, with_floats
from cylosses._cli.writers import NpyWriter, output_path, replacing, write_whole

# Elements per window: 8 MB of float64, enough to keep every thread busy and little enough to stay constant memory.
WINDOW = 1 << 20
# Longest run of a block along either order. A block touches this many stretches of each file, and the kernel may map
# 64 KB around each: 32 MB at most.
_RUN = 512


@dataclass(frozen=True)
class Request:
    """What to score, and how.

    Parameters
    ----------
    predictions, targets : str
        The files, as `cylosses._cli.readers.open_source` takes them.
    loss : str
        A name of `cylosses.LOSSES`.
    parameters : dict
        The parameters of that loss, such as `{"beta": 1.0}`.
    reduction : {"mean", "sum", "none"}
        As in the functions of the library.
    out, grad : str or None
        `.npy` files for the result and for the gradient with respect to the predictions. With a reduction the result
        is one number, written as a 0-d array.
    weight, where : str or None
        Files of the same shape: weights, and which pairs count (bool, or the numbers 0 and 1).
    state : str or None
        `.state` file for the exact total, for `merge_states`.
    threads : int or None
        Threads per window; None for the library's default.
    """

    predictions: str
    targets: str
    loss: str = "smooth_l1"
    parameters: dict[str, float] = field(default_factory=dict)
    reduction: str = "mean"
    out: str | None = None
    grad: str | None = None
    weight: str | None = None
    where: str | None = None
    state: str | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Score:
    """The outcome of a request.

    Parameters
    ----------
    value : numpy.floating or None
        The reduced loss in the result's dtype; None for reduction "none".
    dtype : str
        Name of the result's dtype.
    shape : tuple of int
        Shape of both operands.
    count : int
        Number of pairs that count: selected, and with a weight other than 0.
    """

    value: Any
    dtype: str
    shape: tuple[int, ...]
    count: int


def score(
    request: Request,
    on_losses: Callable[[Array], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Score:
    """Score a file of predictions against a file of targets.

    Parameters
    ----------
    request : Request
        What to score.
    on_losses : callable, optional
        Receives the losses of reduction "none" in C order, a one-dimensional array at a time.
    on_progress : callable, optional
        Receives the number of pairs done and the number of all pairs.

    Returns
    -------
    Score
        The reduced value, its dtype and the shape.

    Raises
    ------
    InputError
        For every bad input, with a message of one line. No output file has then been touched.
    """
    settings: dict[str, Any] = {"reduction": request.reduction, **request.parameters}
    try:
        loss = LOSSES[request.loss](**settings)
    except (TypeError, ValueError) as error:
        raise InputError(one_line(error)) from None
    out, grad, state = _output_paths(request)
    with ExitStack() as stack:
        predictions = _open(stack, request.predictions)
        targets = _open(stack, request.targets)
        if not {predictions.dtype.kind, targets.dtype.kind} <= set("biu"):  # integers are subtracted as such beside integers only
            predictions, targets = with_floats(predictions), with_floats(targets)
        _check_shapes(predictions, targets)
        job = _Job(request, loss, predictions, targets, _open_selection(stack, request, predictions))
        windows, order = job.plan(in_c_order=on_losses is not None)
        if out is not None:
            job.open_out(stack, out, order)
        if grad is not None:
            job.open_grad(stack, grad, order)
        if state is not None:
            job.open_state(stack, state)
        done = 0
        for window in windows:
            losses, length = job.run(window)
            done += length
            if on_losses is not None and losses is not None:
                on_losses(losses.ravel())
            if on_progress is not None:
                on_progress(done, math.prod(predictions.shape))
        return job.finish()


def merge_states(files: Sequence[str], out: str | None = None) -> StreamingLoss:
    """Combine the states of several runs.

    Parameters
    ----------
    files : sequence of str
        What `score` wrote as `state`, of one loss; each at most once.
    out : str, optional
        `.state` file for the combined state.

    Returns
    -------
    StreamingLoss
        The total, equal to that of one run over all data.

    Raises
    ------
    InputError
        For every bad input, with a message of one line. The output file has then not been touched.
    """
    path = None if out is None else output_path("--out", out, ".state")
    seen: set[Path] = set()
    total: StreamingLoss | None = None
    for text in files:
        if Path(text).resolve() in seen:
            raise InputError(f"{text}: named twice; its data would count twice")
        seen.add(Path(text).resolve())
        state = read_state(text)
        if total is None:
            total = state
            continue
        try:
            total.merge(state)
        except (ValueError, OverflowError) as error:
            raise InputError(f"{text}: {one_line(error)}") from None
    if total is None:
        raise InputError("no state to merge")
    if path is not None:
        with replacing("--out", path) as file:
            write_whole("--out", path, file, total.to_bytes())
    return total


class _Selection:
    """Open weights and mask, as keywords of a call."""

    def __init__(self, sources: dict[str, Source]) -> None:
        self._sources = sources

    def __bool__(self) -> bool:
        return bool(self._sources)

    def orders(self) -> frozenset[str]:
        """Return the memory orders in which all of them are contiguous."""
        return frozenset("CF").intersection(*(source.orders for source in self._sources.values()))

    def nothing(self) -> dict[str, Array]:
        """Return empty arrays of the right dtypes."""
        return {name: np.empty(0, bool if name == "where" else source.dtype) for name, source in self._sources.items()}

    def read(self, window: Window) -> dict[str, Array]:
        """Return the elements of one window."""
        found = {name: source.read(window) for name, source in self._sources.items()}
        if "where" in found:
            found["where"] = _as_mask(self._sources["where"].label, found["where"])
        return found


def _open_selection(stack: ExitStack, request: Request, predictions: Source) -> _Selection:
    sources = {}
    for name, label in (("weight", request.weight), ("where", request.where)):
        if label is not None:
            sources[name] = with_floats(_open(stack, label))
            _check_shapes(predictions, sources[name])
    return _Selection(sources)


def _as_mask(label: str, values: Array) -> Array:
    """Return bools; text files have none, so 0 and 1 will do."""
    if values.dtype == np.bool_:
        return values
    mask: Array = values == 1
    other = values[~mask & (values != 0)]
    if other.size:
        raise InputError(f"{label}: a mask holds bool, or the numbers 0 and 1; it has {other.flat[0]}")
    return mask


def _total_weight(request: Request, predictions: Source) -> Fraction:
    """Return the divisor of a weighted or masked mean, in a pass over weights and mask alone."""
    # Each pair has the loss 1, so that the exact sum of the weighted losses is that of the weights.
    total = LOSSES["l1"](reduction="sum").streaming()
    with ExitStack() as stack:
        selection = _open_selection(stack, request, predictions)
        for window in _windows(selection.orders(), predictions.shape, in_c_order=False)[0]:
            found: dict[str, Any] = selection.read(window)
            ones = np.ones(next(iter(found.values())).shape)
            try:
                total.update(ones, np.zeros_like(ones), **found, n_threads=request.threads)
            except ValueError as error:
                raise InputError(one_line(error)) from None
    return total.exact()


class _Job:
    """One request on open sources."""

    def __init__(self, request: Request, loss: Any, predictions: Source, targets: Source, selection: _Selection) -> None:
        self.shape = predictions.shape
        self._predictions, self._targets, self._selection = predictions, targets, selection
        self._threads = request.threads
        self._elementwise = request.reduction == "none"
        self._loss = loss
        self._state = None if self._elementwise else loss.streaming()
        self._count = 0
        # The gradient of one window of a mean is that of its sum, with the divisor of the whole.
        self._summed = type(loss)(reduction="sum", **request.parameters)
        self._factor = Fraction(1)
        self._out: NpyWriter | None = None
        self._grad: NpyWriter | None = None
        self._write_state: Callable[[bytes], None] | None = None
        self.dtype = self._result_dtype()
        if request.reduction == "mean" and request.grad is not None:
            divisor = _total_weight(request, predictions) if selection else Fraction(math.prod(self.shape))
            self._factor = 1 / divisor if divisor else Fraction(0)  # if nothing counts, the gradient is 0 everywhere

    def _result_dtype(self) -> np.dtype[Any]:
        """Ask the library itself, on nothing: it also checks the number of threads before any file is written."""
        nothing = np.empty(0, self._predictions.dtype), np.empty(0, self._targets.dtype)
        settings: dict[str, Any] = self._selection.nothing() | {"n_threads": self._threads}
        try:
            if self._state is not None:
                self._state.update(*nothing, **settings)
            dtype: np.dtype[Any] = self._summed(*nothing, **settings).dtype
            return dtype
        except (TypeError, ValueError) as error:
            raise InputError(one_line(error)) from None

    def plan(self, in_c_order: bool) -> tuple[Iterator[Window], str]:
        """Return the windows, and the memory order of what is written."""
        return _windows(self._predictions.orders & self._targets.orders & self._selection.orders(), self.shape, in_c_order)

    def open_out(self, stack: ExitStack, path: Path, order: str) -> None:
        shape = self.shape if self._elementwise else ()
        file = stack.enter_context(replacing("--out", path))
        self._out = NpyWriter("--out", path, file, shape, self.dtype, order)

    def open_grad(self, stack: ExitStack, path: Path, order: str) -> None:
        file = stack.enter_context(replacing("--grad", path))
        self._grad = NpyWriter("--grad", path, file, self.shape, self.dtype, order)

    def open_state(self, stack: ExitStack, path: Path) -> None:
        file = stack.enter_context(replacing("--state", path))
        self._write_state = partial(write_whole, "--state", path, file)

    def run(self, window: Window) -> tuple[Array | None, int]:
        """Score one window; return its losses, if they are wanted, and its length."""
        predictions, targets = self._predictions.read(window), self._targets.read(window)
        selection = self._selection.read(window)
        settings: dict[str, Any] = selection | {"n_threads": self._threads}
        losses = None
        try:
            if self._state is not None:
                self._state.update(predictions, targets, **settings)
            else:
                losses = np.asarray(self._loss(predictions, targets, **settings))
                self._count += _counted(predictions.size, **selection)
        except ValueError as error:  # of the weights: everything else has been checked on nothing
            raise InputError(one_line(error)) from None
        if losses is not None and self._out is not None:
            self._out.write(window, losses)
        if self._grad is not None:
            grad = self._summed.grad(predictions, targets, grad_output=self._factor, **settings)
            self._grad.write(window, np.asarray(grad))
        return losses, predictions.size

    def finish(self) -> Score:
        if self._state is None:
            return Score(None, self.dtype.name, self.shape, self._count)
        value = self._state.compute()
        if self._out is not None:
            self._out.write(slice(0, 1), np.asarray(value))
        if self._write_state is not None:
            self._write_state(self._state.to_bytes())
        return Score(value, self.dtype.name, self.shape, self._state.count)


def _counted(size: int, weight: Array | None = None, where: Array | None = None) -> int:
    """Return the number of pairs that are selected and have a weight other than 0."""
    if weight is None:
        return size if where is None else int(np.count_nonzero(where))
    return int(np.count_nonzero(weight if where is None else weight[where]))


def _output_paths(request: Request) -> tuple[Path | None, Path | None, Path | None]:
    if request.state is not None and request.reduction == "none":
        raise InputError("--state needs --reduction mean or sum: without a reduction there is no total")
    state = None if request.state is None else output_path("--state", request.state, ".state")
    out = None if request.out is None else output_path("--out", request.out, ".npy")
    grad = None if request.grad is None else output_path("--grad", request.grad, ".npy")
    if out is not None and out == grad:
        raise InputError(f"--out and --grad both name {request.out!r}; they must be two files")
    return out, grad, state


def _open(stack: ExitStack, label: str) -> Source:
    source = open_source(label)
    stack.callback(source.close)
    return source


def _check_shapes(predictions: Source, other: Source) -> None:
    if predictions.shape != other.shape:
        raise InputError(
            f"shapes differ: {predictions.label} has {predictions.shape}, {other.label} has {other.shape}; "
            "they must be equal, nothing is broadcast"
        )


def _windows(orders: frozenset[str], shape: tuple[int, ...], in_c_order: bool) -> tuple[Iterator[Window], str]:
    """Return windows over files that share these orders, and the memory order of what is written."""
    if in_c_order:
        orders &= {"C"}
    if orders:
        return _runs(math.prod(shape)), "C" if "C" in orders else "F"
    return _blocks(shape, _block_shape(shape, both_ends=not in_c_order)), "C"


def _runs(size: int) -> Iterator[Window]:
    for start in range(0, size, WINDOW):
        yield slice(start, min(start + WINDOW, size))


def _blocks(shape: tuple[int, ...], block: tuple[int, ...]) -> Iterator[Window]:
    starts = (range(0, length, step) for length, step in zip(shape, block, strict=True))
    for corner in itertools.product(*starts):
        yield tuple(slice(i, min(i + step, end)) for i, step, end in zip(corner, block, shape, strict=True))


def _block_shape(shape: tuple[int, ...], both_ends: bool) -> tuple[int, ...]:
    """Return blocks for one file in C order and one in Fortran order.

    Blocks that are long along the last axes and along the first have long runs in both files. Blocks along the last
    axes alone come in C order, for losses that are printed as they come.
    """
    block = [1] * len(shape)
    last_axes, first_axes = list(reversed(range(len(shape)))), list(range(len(shape)))
    for axes in (last_axes, first_axes) if both_ends else (last_axes,):
        left = _RUN
        for axis in axes:
            block[axis] = max(block[axis], min(shape[axis], left))
            left //= shape[axis]
            if left == 0:
                break
    return tuple(block)
