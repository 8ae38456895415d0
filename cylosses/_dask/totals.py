"""Means and sums: exact totals of blocks, merged along a tree and rounded once at its root."""

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np

from cylosses import Loss
from cylosses._dask import blocks
from cylosses._dask.operands import Operands
from cylosses._shapes import summed_axes


def axes_of(loss: Loss, axis: Any, operands: Operands) -> tuple[int, ...]:
    """Return the axes that a mean or sum is taken over; TypeError and ValueError for what names none."""
    loss.streaming(axis)  # refuses what are no axes, and the reduction none
    return summed_axes(axis if axis is None or isinstance(axis, tuple) else (axis,), operands.shape)


def reduced(
    totals: Any, axes: tuple[int, ...], keepdims: bool, dtype: Any, split_every: Any, finish: Callable[..., Any] = blocks.computed
) -> Any:
    """Return what totals, those of the blocks of an array, amount to when they are merged along axes."""
    ndim = totals.ndim if keepdims else totals.ndim - len(axes)
    return da.reduction(
        totals,
        chunk=blocks.unchanged,
        combine=blocks.merged,
        aggregate=finish,
        axis=axes,
        keepdims=keepdims,
        dtype=dtype,
        split_every=split_every,
        concatenate=False,
        meta=np.empty((0,) * ndim, dtype),
    )


def value(loss: Loss, operands: Operands, axis: Any, keepdims: bool, split_every: Any) -> Any:
    """Return the losses, or their mean or sum along axes."""
    if loss.reduction == "none":
        loss(0.0, 0.0, axis=axis, keepdims=keepdims)  # which says that these need a reduction
        return operands.blockwise(blocks.value, operands.dtype, loss=loss)
    axes = axes_of(loss, axis, operands)
    if not operands.is_whole(axes):
        totals = operands.blockwise(blocks.total, object, loss=loss, axes=axes)
        return reduced(totals, axes, keepdims, operands.dtype, split_every)
    if keepdims:
        adjusted = dict.fromkeys(axes, 1)
        return operands.blockwise(blocks.value, operands.dtype, loss=loss, axis=axes, keepdims=True, adjust_chunks=adjusted)
    kept = tuple(k for k in range(operands.ndim) if k not in axes)
    return operands.blockwise(blocks.value, operands.dtype, kept=kept, loss=loss, axis=axes)


def weights(operands: Operands, axes: tuple[int, ...], split_every: Any) -> Any:
    """Return the sums of the weights as fractions; the axes stay, with length 1."""
    totals = operands.without_data().blockwise(blocks.weights, object, axes=axes)
    return reduced(totals, axes, True, object, split_every, blocks.exact)


def exact_sums(derivatives: Any, axes: tuple[int, ...], split_every: Any) -> Any:
    """Return the exact sums of an array along axes, rounded once; the axes stay, with length 1."""
    index, dtype = tuple(range(derivatives.ndim)), derivatives.dtype
    whole = all(derivatives.numblocks[k] == 1 for k in axes)
    function, meta = (blocks.signed_sums, dtype) if whole else (blocks.signed_total, object)
    totals = da.blockwise(
        function,
        index,
        derivatives,
        index,
        axes=axes,
        adjust_chunks=dict.fromkeys(axes, 1) if whole else None,
        dtype=meta,
        meta=np.empty((0,) * len(index), meta),
    )
    return totals if whole else reduced(totals, axes, True, dtype, split_every)
