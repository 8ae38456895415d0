"""Which pairs count, and how much: the files of weights and of the mask."""

import math
from fractions import Fraction
from typing import Any

import numpy as np

from cylosses import L1Loss
from cylosses._cli.slices import SliceTotals
from cylosses._cli.source import InputError, Source, Window, as_mask, one_line
from cylosses._cli.windows import windows_of
from cylosses._types import Array


class Selection:
    """Open weights and mask, as keywords of a call."""

    def __init__(self, sources: dict[str, Source]) -> None:
        self._sources = sources

    @property
    def is_empty(self) -> bool:
        """Whether there are neither weights nor a mask."""
        return not self._sources

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
            found["where"] = as_mask(self._sources["where"].label, found["where"])
        return found


def total_weight(selection: Selection, shape: tuple[int, ...], n_threads: int | None, summed: tuple[int, ...] | None = None) -> Any:
    """Return the divisor of a mean, in a pass over weights and mask alone; if slices differ in it, the array of theirs."""
    if selection.is_empty:
        return Fraction(math.prod(shape if summed is None else (shape[k] for k in summed)))
    # Each pair has the loss 1, so that the exact sum of the weighted losses is that of the weights.
    loss = L1Loss(reduction="sum")
    total = loss.streaming()
    slices = None if summed is None else SliceTotals(loss, shape, summed, np.dtype(np.float64), wants_exact=True)
    windows = windows_of(selection.orders(), shape, in_c_order=False)[0] if slices is None else slices.windows()
    for window in windows:
        found: dict[str, Any] = selection.read(window)
        ones = np.ones(next(iter(found.values())).shape)
        try:
            if slices is None:
                total.update(ones, np.zeros_like(ones), **found, n_threads=n_threads)
            else:
                slices.update(window, ones, np.zeros_like(ones), **found, n_threads=n_threads)
        except ValueError as error:
            raise InputError(one_line(error)) from None
    return total.exact() if slices is None else slices.exact[()]


def counted(size: int, weight: Array | None = None, where: Array | None = None) -> int:
    """Return the number of pairs that are selected and have a weight other than 0."""
    if weight is None:
        return size if where is None else int(np.count_nonzero(where))
    return int(np.count_nonzero(weight if where is None else weight[where]))


def nan_pairs(predictions: Array, targets: Array, selection: dict[str, Array]) -> int:
    """Return the number of pairs that count in which one is NaN."""
    nan = np.isnan(predictions) | np.isnan(targets)
    if "where" in selection:
        nan &= selection["where"]
    return counted(nan.size, selection.get("weight"), nan)


def check_shapes(predictions: Source, other: Source) -> None:
    if predictions.shape != other.shape:
        raise InputError(
            f"shapes differ: {predictions.label} has {predictions.shape}, {other.label} has {other.shape}; "
            "they must be equal, nothing is broadcast"
        )
