"""The work of `cylosses score`: files in, one value of each loss out, and perhaps files, window by window.

Why the result has the bits of one in-memory call: reductions are exact, so windows may be cut anywhere and come in any
order; elementwise results do not depend on their neighbours; and the divisor of a mean's gradient is known beforehand:
from the shape, or from a pass of its own over weights and mask.

Values alone come from one pass, in which tables stream: see totals.py. Losses of each pair, gradients and slices need the
number of pairs beforehand, and columns of tables are loaded for them.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from cylosses import StreamingLoss
from cylosses._cli.columns import Reading
from cylosses._cli.groups import Groups
from cylosses._cli.operands import Operands, input_files, open_operands
from cylosses._cli.output_files import Outputs
from cylosses._cli.pairs import Batch, Pairs, WantsIntegersError
from cylosses._cli.residuals import Residuals
from cylosses._cli.selection import Selection, check_shapes, counted, nan_pairs, total_weight
from cylosses._cli.signals import signals_held_back
from cylosses._cli.slices import SliceTotals, summed_axes
from cylosses._cli.source import ArraySource, InputError, OnProgress, Source, Window, bytes_of_pair, one_line
from cylosses._cli.specs import LossSpec
from cylosses._cli.totals import Totals
from cylosses._cli.windows import windows_of
from cylosses._cli.writers import NpyWriter
from cylosses._types import Array


@dataclass(frozen=True)
class Request:
    """What to score, and how: files as the user named them, and the options of `cylosses score`.

    With `table`, predictions and targets are columns of these files, and the other operands may be.
    """

    predictions: str
    targets: str
    losses: tuple[LossSpec, ...] = (LossSpec("smooth_l1", {"beta": 1.0}),)
    reduction: str = "mean"
    axis: tuple[int, ...] = ()
    out: str | None = None
    grad: str | None = None
    weight: str | None = None
    where: str | None = None
    state: str | None = None
    plot: str | None = None
    threads: int | None = None
    table: tuple[str, ...] = ()
    reading: Reading = field(default_factory=Reading)
    missing: str = "error"
    on: tuple[str, ...] = ()
    how: str | None = None
    filter: str | None = None
    by: tuple[str, ...] = ()
    dtype: str | None = None
    memory: str | None = None


@dataclass(frozen=True)
class Score:
    """The outcome of a request."""

    values: list[Any]  # of each loss, in the dtype of the result, arrays if there are axes that are kept; none for "none"
    dtype: str
    shape: tuple[int, ...]
    count: Any  # of the pairs that are selected and have a weight other than 0; an array beside one of values
    missing: int = 0  # pairs that were left out because a value was missing
    nan: int = 0  # pairs that count in which one is NaN
    groups: Groups | None = None
    has_tables: bool = False
    overflowed: bool = False  # whether a loss of a pair, or a gradient, is infinite

    @property
    def value(self) -> Any:
        """The value of the first loss; None for the reduction "none"."""
        return self.values[0] if self.values else None

    def notes(self, request: Request) -> list[str]:
        """Return lines about what a reader of the value should know."""
        lines = []
        if self.missing:
            lines.append(f"{self.missing} of {math.prod(self.shape)} rows have a missing value and were left out")
        if self.nan:
            lines.append(f"{self.nan} of {math.prod(self.shape)} pairs have NaN in them")
        if self.has_tables and self.shape == (0,):
            lines.append(f"{request.table[0] if request.table else request.predictions}: no rows")
        if self.dtype == "float16" and (self.overflowed or any(np.isinf(value).any() for value in self.values)):
            lines.append("float16 has no number beyond 65504: --dtype float32 or float64 converts first")
        return lines


def score(
    request: Request,
    on_losses: Callable[[Array], None] | None = None,
    on_progress: OnProgress | None = None,
    on_guess: Callable[[str], None] | None = None,
) -> Score:
    """Score a file of predictions against a file of targets.

    `on_guess` receives lines that tell how tables are read, before they are; `on_losses` the losses of reduction "none" in C order,
    a one-dimensional array at a time; `on_progress` what is being done, and bytes of the input done and in all. After an
    InputError, which every bad input raises, no output file has been touched.
    """
    for spec in request.losses:
        spec.make(request.reduction)
    outputs = _outputs(request)
    _check_options(request)
    residuals = None
    if "--plot" in outputs:
        # Imported here: matplotlib is large, and where it is not installed, that is said before any work.
        with signals_held_back():
            from cylosses._cli.residual_picture import draw

        residuals = Residuals(request.losses)
    with outputs, ExitStack() as stack:
        plot = outputs.open("--plot") if residuals is not None else None
        operands = open_operands(stack, request, on_progress)
        for line in (line for table in operands.tables for line in table.describe()):
            if on_guess is not None:
                on_guess(line)
        if request.reduction == "none" or request.grad is not None or request.axis:
            found = _score_elements(request, operands, outputs, residuals, on_losses, on_progress)
        else:
            found = _score_totals(request, operands, outputs, residuals, on_progress)
        found = replace(found, has_tables=bool(operands.tables))
        if plot is not None and residuals is not None:
            plot.write(draw(residuals, request, found))
        return found


def _score_totals(
    request: Request,
    operands: Operands,
    outputs: Outputs,
    residuals: Residuals | None,
    on_progress: OnProgress | None,
) -> Score:
    totals = Totals(
        request.losses,
        request.reduction,
        operands,
        missing=request.missing,
        dtype=None if request.dtype is None else np.dtype(request.dtype),
        threads=request.threads,
        by=request.by,
        keeps_states=request.state is not None,
        residuals=residuals,
    )
    # Opened before the work, so that a place that cannot be written to is found at once.
    out = outputs.open("--out") if "--out" in outputs else None
    state = outputs.open("--state") if "--state" in outputs else None
    totals.run(on_progress)
    values = [total.compute() for total in totals.totals]
    dtype: np.dtype[Any] = values[0].dtype
    if out is not None:
        NpyWriter(out, (), dtype, "C").write(slice(0, 1), np.asarray(values[0]))
    if state is not None:
        state.write(totals.bundle().to_bytes())
    return Score(values, dtype.name, totals.shape, totals.totals[0].count, totals.missing, totals.nan, totals.groups)


def _score_elements(
    request: Request,
    operands: Operands,
    outputs: Outputs,
    residuals: Residuals | None,
    on_losses: Callable[[Array], None] | None,
    on_progress: OnProgress | None,
) -> Score:
    sources, missing = (operands.arrays, 0) if not operands.scans else _loaded(operands, request)
    predictions, targets = sources["predictions"], sources["targets"]
    for source in sources.values():
        check_shapes(predictions, source)
    selection = Selection({role: sources[role] for role in ("weight", "where") if role in sources})
    scoring = _Scoring(request, predictions, targets, selection, residuals)
    windows, order = scoring.plan(in_c_order=on_losses is not None)
    scoring.open_outputs(outputs, order)
    done = 0
    row = bytes_of_pair(sources.values())
    for window in windows:
        losses, length = scoring.run(window)
        done += length
        if on_losses is not None and losses is not None:
            on_losses(losses.ravel())
        if on_progress is not None:
            on_progress("scoring", done * row, math.prod(predictions.shape) * row)
    for source in sources.values():
        source.check_unchanged()
    return scoring.finish(missing)


def _loaded(operands: Operands, request: Request) -> tuple[dict[str, Source], int]:
    """Load all operands, some of which are columns of tables; return also how many pairs had a missing value and do not count."""
    pairs = Pairs(operands.scans, operands.arrays, request.missing, None if request.dtype is None else np.dtype(request.dtype))
    try:
        batches = [_copied(batch) for batch in pairs.read()]
    except WantsIntegersError:
        pairs.settle_integers()
        batches = [_copied(batch) for batch in pairs.read()]
    sources: dict[str, Source] = {}
    for role in ("predictions", "targets"):
        values: list[Array] = [getattr(batch, role) for batch in batches] or [np.empty(0)]
        sources[role] = ArraySource(pairs.labels[role], np.concatenate(values))
    for role in ("weight", "where"):
        if any(role in batch.selection for batch in batches):
            everything = [batch.selection.get(role, np.ones(batch.rows, bool)) for batch in batches]
            sources[role] = ArraySource(pairs.labels.get(role, role), np.concatenate(everything))
    return sources, pairs.missing


def _copied(batch: Batch) -> Batch:
    """Return a batch that stays when the next one comes."""
    selection = {name: values.copy() for name, values in batch.selection.items()}
    return Batch(batch.predictions.copy(), batch.targets.copy(), selection, batch.rows)


class _Scoring:
    """One request on open sources."""

    def __init__(
        self, request: Request, predictions: Source, targets: Source, selection: Selection, residuals: Residuals | None
    ) -> None:
        loss: Any = request.losses[0].make(request.reduction)
        self.shape = predictions.shape
        self._predictions, self._targets, self._selection, self._residuals = predictions, targets, selection, residuals
        self._threads = request.threads
        self._elementwise = request.reduction == "none"
        self._loss = loss
        self._state: StreamingLoss | None = None if self._elementwise else loss.streaming()
        self._slices: SliceTotals | None = None
        axes = summed_axes(request.axis, self.shape) if request.axis else None
        self._count = self._nan = 0
        self._overflowed = False
        # The gradient of one window of a mean is that of its sum, with the divisor of the whole.
        self._summed = request.losses[0].make("sum")
        self._factor: Any = Fraction(1)  # or an array of one for each slice
        self._out: NpyWriter | None = None
        self._grad: NpyWriter | None = None
        self._write_state: Callable[[bytes], None] | None = None
        self.dtype = self._result_dtype()
        if request.reduction == "mean" and request.grad is not None:
            self._factor = _inverse(total_weight(selection, self.shape, request.threads, axes))
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
        if self._residuals is not None:
            self._residuals.add(predictions, targets, **selection)
        self._nan += nan_pairs(predictions, targets, selection)
        if losses is not None:
            self._overflowed |= bool(np.isinf(losses).any())
            if self._out is not None:
                self._out.write(window, losses)
        if self._grad is not None:
            gradient = self._gradient(window, predictions, targets, selection)
            self._overflowed |= bool(np.isinf(gradient).any())
            self._grad.write(window, gradient)
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

    def finish(self, missing: int) -> Score:
        if self._state is None:
            return Score([], self.dtype.name, self.shape, self._count, missing, self._nan, overflowed=self._overflowed)
        if self._slices is not None:
            total, value, count = self._slices.total, self._slices.values[()], self._slices.counts[()]
        else:
            total, value, count = self._state, self._state.compute(), self._state.count
        if self._out is not None:
            self._out.write(slice(0, np.size(value)), np.asarray(value))
        if self._write_state is not None:
            self._write_state(total.to_bytes())
        return Score([value], self.dtype.name, self.shape, count, missing, self._nan, overflowed=self._overflowed)


def _inverse(divisor: Any) -> Any:
    """Return 1 / divisor, or that of each; 0 for 0: if nothing counts, the gradient is 0 everywhere."""
    if isinstance(divisor, np.ndarray):
        inverses = np.empty(divisor.shape, object)
        for index in np.ndindex(divisor.shape):
            inverses[index] = _inverse(divisor[index])
        return inverses
    return 1 / divisor if divisor else Fraction(0)


def _check_options(request: Request) -> None:
    """Refuse options that do not go together."""
    elements = [f"--{name}" for name in ("grad", "axis") if getattr(request, name)]
    elements += ["--reduction none"] if request.reduction == "none" else []
    if len(request.losses) > 1 and (elements or request.out):
        raise InputError(f"{(elements or ['--out'])[0]} takes one --loss, not {len(request.losses)}")
    if request.by and (elements or request.out):
        raise InputError(f"{(elements or ['--out'])[0]} and --by do not go together")


def _outputs(request: Request) -> Outputs:
    if request.axis and request.reduction == "none":
        raise InputError("--axis needs --reduction mean or sum: without a reduction nothing is summed over")
    if request.state is not None and request.reduction == "none":
        raise InputError("--state needs --reduction mean or sum: without a reduction there is no total")
    outputs = Outputs(input_files(request) if request.out or request.grad or request.state or request.plot else ())
    outputs.add("--state", request.state, ".state")
    outputs.add("--out", request.out, ".npy")
    outputs.add("--grad", request.grad, ".npy")
    outputs.add("--plot", request.plot, ".png")
    return outputs
