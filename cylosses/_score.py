"""The work of `cylosses score`: two files in, a loss and perhaps two files out, window by window.

Why the result has the bits of one in-memory call: reductions are exact, so windows may be cut anywhere and come in any
order; elementwise results do not depend on their neighbours; and the divisor of a mean's gradient is known beforehand,
because both shapes are.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cylosses import LOSSES
from cylosses._readers import Array, InputError, Source, Window, one_line, open_source
from cylosses._writers import NpyWriter, output_path, replacing

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
        The files, as `cylosses._readers.open_source` takes them.
    loss : str
        A name of `cylosses.LOSSES`.
    parameters : dict
        The parameters of that loss, such as `{"beta": 1.0}`.
    reduction : {"mean", "sum", "none"}
        As in the functions of the library.
    out, grad : str or None
        `.npy` files for the result and for the gradient with respect to the predictions. With a reduction the result
        is one number, written as a 0-d array.
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
    """

    value: Any
    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of pairs."""
        return math.prod(self.shape)


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
    try:
        loss = LOSSES[request.loss](reduction=request.reduction, **request.parameters)
    except (TypeError, ValueError) as error:
        raise InputError(one_line(error)) from None
    out, grad = _output_paths(request)
    with ExitStack() as stack:
        predictions = _open(stack, request.predictions)
        targets = _open(stack, request.targets)
        _check_shapes(predictions, targets)
        job = _Job(request, loss, predictions, targets)
        windows, order = job.plan(in_c_order=on_losses is not None)
        if out is not None:
            job.open_out(stack, out, order)
        if grad is not None:
            job.open_grad(stack, grad, order)
        done = 0
        for window in windows:
            losses, length = job.run(window)
            done += length
            if on_losses is not None and losses is not None:
                on_losses(losses.ravel())
            if on_progress is not None:
                on_progress(done, math.prod(predictions.shape))
        return job.finish()


class _Job:
    """One request on open sources."""

    def __init__(self, request: Request, loss: Any, predictions: Source, targets: Source) -> None:
        self.shape = predictions.shape
        self._predictions, self._targets = predictions, targets
        self._threads = request.threads
        self._elementwise = request.reduction == "none"
        self._loss = loss
        # The gradient of one window of a mean is that of its sum, with the divisor of the whole.
        self._summed = type(loss)(reduction="sum", **request.parameters)
        self._factor = 1.0 / max(math.prod(self.shape), 1) if request.reduction == "mean" else 1.0
        self._state = None if self._elementwise else loss.streaming()
        self._out: NpyWriter | None = None
        self._grad: NpyWriter | None = None
        self.dtype = self._result_dtype()

    def _result_dtype(self) -> np.dtype[Any]:
        """Ask the library itself, on nothing: it also checks the number of threads before any file is written."""
        nothing = np.empty(0, self._predictions.dtype), np.empty(0, self._targets.dtype)
        try:
            if self._state is not None:
                self._state.update(*nothing, n_threads=self._threads)
            dtype: np.dtype[Any] = self._summed(*nothing, n_threads=self._threads).dtype
            return dtype
        except (TypeError, ValueError) as error:
            raise InputError(one_line(error)) from None

    def plan(self, in_c_order: bool) -> tuple[Iterator[Window], str]:
        """Return the windows, and the memory order of what is written."""
        orders = self._predictions.orders & self._targets.orders
        if in_c_order:
            orders &= {"C"}
        if orders:
            return _runs(math.prod(self.shape)), "C" if "C" in orders else "F"
        return _blocks(self.shape, _block_shape(self.shape, both_ends=not in_c_order)), "C"

    def open_out(self, stack: ExitStack, path: Path, order: str) -> None:
        shape = self.shape if self._elementwise else ()
        file = stack.enter_context(replacing("--out", path))
        self._out = NpyWriter("--out", path, file, shape, self.dtype, order)

    def open_grad(self, stack: ExitStack, path: Path, order: str) -> None:
        file = stack.enter_context(replacing("--grad", path))
        self._grad = NpyWriter("--grad", path, file, self.shape, self.dtype, order)

    def run(self, window: Window) -> tuple[Array | None, int]:
        """Score one window; return its losses, if they are wanted, and its length."""
        predictions, targets = self._predictions.read(window), self._targets.read(window)
        losses = None
        if self._state is not None:
            self._state.update(predictions, targets, n_threads=self._threads)
        else:
            losses = np.asarray(self._loss(predictions, targets, n_threads=self._threads))
            if self._out is not None:
                self._out.write(window, losses)
        if self._grad is not None:
            grad = self._summed.grad(predictions, targets, grad_output=self._factor, n_threads=self._threads)
            self._grad.write(window, np.asarray(grad))
        return losses, predictions.size

    def finish(self) -> Score:
        value = None
        if self._state is not None:
            value = self._state.compute()
            if self._out is not None:
                self._out.write(slice(0, 1), np.asarray(value))
        return Score(value, self.dtype.name, self.shape)


def _output_paths(request: Request) -> tuple[Path | None, Path | None]:
    out = None if request.out is None else output_path("--out", request.out, ".npy")
    grad = None if request.grad is None else output_path("--grad", request.grad, ".npy")
    if out is not None and out == grad:
        raise InputError(f"--out and --grad both name {request.out!r}; they must be two files")
    return out, grad


def _open(stack: ExitStack, label: str) -> Source:
    source = open_source(label)
    stack.callback(source.close)
    return source


def _check_shapes(predictions: Source, targets: Source) -> None:
    if predictions.shape != targets.shape:
        raise InputError(
            f"shapes differ: {predictions.label} has {predictions.shape}, {targets.label} has {targets.shape}; "
            "they must be equal, nothing is broadcast"
        )


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
