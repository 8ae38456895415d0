"""Totals of slices, for `--axis`: all windows of some slices come before the next ones, so that few totals are in memory."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from cylosses import Loss
from cylosses._cli.source import InputError, Window
from cylosses._cli.windows import windows_of_slices
from cylosses._types import Array

# A total takes 2 kB, and there may be three of each slice for a moment: 27 MB.
_AT_ONCE = 4096


def summed_axes(axes: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes that `--axis` names, in ascending order and none of them negative."""
    for axis in axes:
        if not -len(shape) <= axis < len(shape):
            raise InputError(f"--axis {axis} is out of bounds for the shape {shape}")
    found = sorted(axis % len(shape) for axis in axes)
    if len(set(found)) < len(found):
        raise InputError(f"--axis names an axis of the shape {shape} twice: {', '.join(map(str, axes))}")
    return tuple(found)


class SliceTotals:
    """The totals of all slices of arrays of this shape; `values`, `counts` and, if they are wanted, `exact` have their results.

    With `keeps_total`, all slices are in memory at once, and `total` holds them at the end.
    """

    def __init__(
        self,
        loss: Loss,
        shape: tuple[int, ...],
        summed: tuple[int, ...],
        dtype: np.dtype[Any],
        *,
        keeps_total: bool = False,
        wants_exact: bool = False,
    ) -> None:
        self.total = loss.streaming(axis=summed)
        self._shape, self._summed, self._keeps_total = shape, summed, keeps_total
        self._kept = [k for k in range(len(shape)) if k not in summed]
        kept_shape = tuple(shape[k] for k in self._kept)
        self.values: Array = np.empty(kept_shape, dtype)
        self.counts: Array = np.empty(kept_shape, np.int64)
        self.exact: Array = np.empty(kept_shape if wants_exact else 0, object)
        self._wants_exact = wants_exact

    def windows(self) -> Iterator[Window]:
        """Return the windows, in the order in which `update` wants them."""
        every = math.prod(max(n, 1) for n in self.values.shape)  # also where an axis is empty, the others have their lengths
        return windows_of_slices(self._shape, self._summed, every if self._keeps_total else _AT_ONCE)

    def slices_of(self, window: Window) -> tuple[slice, ...]:
        """Return which slices a window belongs to."""
        axes = self._axes_of(window)
        return tuple(axes[k] for k in self._kept)

    def indices_in(self, window: Window) -> Iterator[tuple[tuple[int, ...], tuple[int | slice, ...]]]:
        """Return of each slice that a window belongs to its index there among the slices, and that of its elements."""
        slices = self.slices_of(window)
        for index in np.ndindex(*(part.stop - part.start for part in slices)):
            at: list[int | slice] = [slice(None)] * len(self._shape)
            for k, position in zip(self._kept, index, strict=True):
                at[k] = position
            yield index, tuple(at)

    def update(self, window: Window, *operands: Array, **settings: Any) -> None:
        """Add a window; it may be the last one of its slices."""
        self.total.update(*operands, **settings)
        axes, slices = self._axes_of(window), self.slices_of(window)
        if all(axes[k].stop == self._shape[k] for k in self._summed):
            self.values[slices] = self.total.compute()
            self.counts[slices] = self.total.count
            if self._wants_exact:
                self.exact[slices] = self.total.exact()
            if not self._keeps_total:
                self.total.reset()

    def _axes_of(self, window: Window) -> tuple[slice, ...]:
        return (window,) if isinstance(window, slice) else window
