"""The work of `cylosses score`: two to four files in, a loss and perhaps three files out, window by window.

Why the result has the bits of one in-memory call: reductions are exact, so windows may be cut anywhere and come in any
order; elementwise results do not depend on their neighbours; and the divisor of a mean's gradient is known beforehand:
from the shape, or from a pass of its own over weights and mask.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from cylosses import LOSSES
from cylosses._cli.output_files import Outputs
from cylosses._cli.readers import open_source, split_label
from cylosses._cli.selection import Selection, check_shapes, counted, open_selection, total_weight
from cylosses._cli.slices import SliceTotals, summed_axes
from cylosses._cli.source import InputError, Source, Window, one_line
from cylosses._cli.text import with_floats
from cylosses._cli.windows import windows_of
from cylosses._cli.writers import NpyWriter
from cylosses._types import Array


@dataclass(frozen=True)
class Request:
    """What to score, and how: files as the user named them, and the options of `cylosses score`."""

    predictions: str
    targets: str
    loss: str = "smooth_l1"
    parameters: dict[str, float] = field(default_factory=dict)
    reduction: str = "mean"
    axis: tuple[int, ...] = ()
    out: str | None = None
    grad: str | None = None
    weight: str | None = None
    where: str | None = None
    state: str | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Score:
    """The outcome of a request."""

    value: Any  # in the dtype of the result, an array if there are axes that it keeps; None for reduction "none"
    dtype: str
    shape: tuple[int, ...]
    count: Any  # of the pairs that are selected and have a weight other than 0; an array beside one of values


def score(
    request: Request,
    on_losses: Callable[[Array], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Score:
    """Score a file of predictions against a file of targets.

    `on_losses` receives the losses of reduction "none" in C order, a one-dimensional array at a time, `on_progress` the number of
    pairs done and of all pairs. After an InputError, which every bad input raises, no output file has been touched.
    """
    settings: dict[str, Any] = {"reduction": request.reduction, **request.parameters}
    try:
        loss = LOSSES[request.loss](**settings)
    except (TypeError, ValueError) as error:
        raise InputError(one_line(error)) from None
    outputs = _outputs(request)
    with outputs, ExitStack() as stack:
        predictions, targets = (
            stack.enter_context(closing(open_source(label))) for label in (request.predictions, request.targets)
        )
        if not {predictions.dtype.kind, targets.dtype.kind} <= set("biu"):  # integers are subtracted as such beside integers only
            predictions, targets = with_floats(predictions), with_floats(targets)
        check_shapes(predictions, targets)
        scoring = _Scoring(request, loss, predictions, targets, open_selection(stack, request.weight, request.where, predictions))
        windows, order = scoring.plan(in_c_order=on_losses is not None)
        scoring.open_outputs(outputs, order)
        done = 0
        for window in windows:
            losses, length = scoring.run(window)
            done += length
            if on_losses is not None and losses is not None:
                on_losses(losses.ravel())
            if on_progress is not None:
                on_progress(done, math.prod(predictions.shape))
        return scoring.finish()


class _Scoring:
    """One request on open sources."""

    def __init__(self, request: Request, loss: Any, predictions: Source, targets: Source, selection: Selection) -> None:
        self.shape = predictions.shape
        self._predictions, self._targets, self._selection = predictions, targets, selection
        self._threads = request.threads
        self._elementwise = request.reduction == "none"
        self._loss = loss
        self._state = None if self._elementwise else loss.streaming()
        self._slices: SliceTotals | None = None
        axes = summed_axes(request.axis, self.shape) if request.axis else None
        self._count = 0
        # The gradient of one window of a mean is that of its sum, with the divisor of the whole.
        self._summed = type(loss)(reduction="sum", **request.parameters)
        self._factor: Any = Fraction(1)  # or an array of one for each slice
        self._out: NpyWriter | None = None
        self._grad: NpyWriter | None = None
        self._write_state: Callable[[bytes], None] | None = None
        self.dtype = self._result_dtype()
        if request.reduction == "mean" and request.grad is not None:
            self._factor = _inverse(total_weight(request.weight, request.where, predictions, request.threads, axes))
        if axes is not None:
            self._slices = SliceTotals(loss, self.shape, axes, self.dtype, keeps_total=request.state is not None)

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
        if self._slices is not None:
            return self._slices.windows(), "C"
        return windows_of(self._predictions.orders & self._targets.orders & self._selection.orders(), self.shape, in_c_order)

    def open_outputs(self, outputs: Outputs, order: str) -> None:
        if "--out" in outputs:
            shape = self.shape if self._elementwise else () if self._slices is None else self._slices.values.shape
            self._out = NpyWriter(outputs.open("--out"), shape, self.dtype, order)
        if "--grad" in outputs:
            self._grad = NpyWriter(outputs.open("--grad"), self.shape, self.dtype, order)
        if "--state" in outputs:
            self._write_state = outputs.open("--state").write

    def run(self, window: Window) -> tuple[Array | None, int]:
        """Score one window; return its losses, if they are wanted, and its length."""
        predictions, targets = self._predictions.read(window), self._targets.read(window)
        selection = self._selection.read(window)
        settings: dict[str, Any] = selection | {"n_threads": self._threads}
        losses = None
        try:
            if self._slices is not None:
                self._slices.update(window, predictions, targets, **settings)
            elif self._state is not None:
                self._state.update(predictions, targets, **settings)
            else:
                losses = np.asarray(self._loss(predictions, targets, **settings))
                self._count += counted(predictions.size, **selection)
        except ValueError as error:  # of the weights: everything else has been checked on nothing
            raise InputError(one_line(error)) from None
        if losses is not None and self._out is not None:
            self._out.write(window, losses)
        if self._grad is not None:
            self._grad.write(window, self._gradient(window, predictions, targets, selection))
        return losses, predictions.size

    def _gradient(self, window: Window, predictions: Array, targets: Array, selection: dict[str, Array]) -> Array:
        if isinstance(self._factor, Fraction) or self._slices is None:
            return self._gradient_times(self._factor, predictions, targets, selection)
        factors = self._factor[self._slices.slices_of(window)]
        result = np.empty(predictions.shape, self.dtype)
        for index, at in self._slices.indices_in(window):
            of_slice = {name: values[at] for name, values in selection.items()}
            result[at] = self._gradient_times(factors[index], predictions[at], targets[at], of_slice)
        return result

    def _gradient_times(self, factor: Any, predictions: Array, targets: Array, selection: dict[str, Array]) -> Array:
        settings: dict[str, Any] = selection | {"n_threads": self._threads}
        return np.asarray(self._summed.grad(predictions, targets, grad_output=factor, **settings))

    def finish(self) -> Score:
        if self._state is None:
            return Score(None, self.dtype.name, self.shape, self._count)
        if self._slices is not None:
            total, value, count = self._slices.total, self._slices.values[()], self._slices.counts[()]
        else:
            total, value, count = self._state, self._state.compute(), self._state.count
        if self._out is not None:
            self._out.write(slice(0, np.size(value)), np.asarray(value))
        if self._write_state is not None:
            self._write_state(total.to_bytes())
        return Score(value, self.dtype.name, self.shape, count)


def _inverse(divisor: Any) -> Any:
    """Return 1 / divisor, or that of each; 0 for 0: if nothing counts, the gradient is 0 everywhere."""
    if isinstance(divisor, np.ndarray):
        inverses = np.empty(divisor.shape, object)
        for index in np.ndindex(divisor.shape):
            inverses[index] = _inverse(divisor[index])
        return inverses
    return 1 / divisor if divisor else Fraction(0)


def _outputs(request: Request) -> Outputs:
    if request.axis and request.reduction == "none":
        raise InputError("--axis needs --reduction mean or sum: without a reduction nothing is summed over")
    if request.state is not None and request.reduction == "none":
        raise InputError("--state needs --reduction mean or sum: without a reduction there is no total")
    labels = (request.predictions, request.targets, request.weight, request.where)
    outputs = Outputs(split_label(label)[0] for label in labels if label is not None)
    outputs.add("--state", request.state, ".state")
    outputs.add("--out", request.out, ".npy")
    outputs.add("--grad", request.grad, ".npy")
    return outputs
