"""The loops over slices that numba compiles: what a careful user writes by hand, with plain float64 accumulators.

Operands have three axes here, of which the second is reduced (`Layout.blocks`). Which loop suits them:

- rows: the innermost axis is reduced, and there are rows enough for all threads;
- whole: one long row, which is shared among the threads;
- chunks: many rows of few columns; a thread has a chunk of the rows, with accumulators of its own for all columns;
- strips: else; a thread has a strip of columns of one block.
"""

from typing import Any

import numpy as np

from benchmarks.measure.slices import SliceData
from benchmarks.measure.works import Work

STRIP = 1024  # columns, whose accumulators stay in the innermost cache


def slice_call(work: Work, data: SliceData, threads: int) -> tuple[str, tuple[Any, ...]] | None:
    """Return the name of the loop for a work, and its arguments but the parameter of the loss; None if there is no loop."""
    if work.name == "target_grad":
        return "target_grad", (data.input, data.target, *data.outputs)
    arrays = [array for array in (data.input, data.target, data.weight) if array is not None]
    blocks = [data.layout.blocks(array) for array in arrays]
    outputs = [data.layout.blocks(array)[:, :, 0] for array in data.outputs]
    outer, length, inner = blocks[0].shape
    if inner == 1 and outer >= threads:
        shape = (data.layout.result_shape,) if data.valued else ()
        return f"rows_{work.name}", (*(block[:, :, 0] for block in blocks), *outputs, *shape)
    if work.name == "mean" and inner == outer == 1:
        return "whole_mean", (*(block.ravel() for block in blocks), data.layout.result_shape)
    if outer == 1 and length >= inner and not outputs:
        return f"chunks_{work.name}", (*(block[0] for block in blocks), threads, data.layout.result_shape)
    if work.name == "mean":
        return "strips_mean", (*blocks, data.layout.result_shape)
    return None


def slice_loop(name: str, prange: Any, value: Any, gradient: Any) -> Any:
    """Return the Python source of a loop, as numba wants to see it."""

    def rows_mean(x, y, shape, p):
        rows, length = x.shape
        out = np.empty(rows, x.dtype)
        for i in prange(rows):
            total = 0.0
            for j in range(length):
                total += value(x[i, j] - y[i, j], p)
            out[i] = total / length
        return out.reshape(shape)

    def rows_weighted_mean(x, y, w, shape, p):
        rows, length = x.shape
        out = np.empty(rows, x.dtype)
        for i in prange(rows):
            total = 0.0
            weights = 0.0
            for j in range(length):
                total += w[i, j] * value(x[i, j] - y[i, j], p)
                weights += w[i, j]
            out[i] = total / weights
        return out.reshape(shape)

    def rows_grad(x, y, out, p):
        rows, length = x.shape
        scale = p / (p * length)
        for i in prange(rows):
            for j in range(length):
                out[i, j] = gradient(x[i, j] - y[i, j], p) * scale
        return out

    def rows_weighted_grad(x, y, w, out, p):
        rows, length = x.shape
        for i in prange(rows):
            weights = 0.0
            for j in range(length):
                weights += w[i, j]
            scale = 1.0 / weights
            for j in range(length):
                out[i, j] = gradient(x[i, j] - y[i, j], p) * w[i, j] * scale
        return out

    def rows_value_and_grad(x, y, out, shape, p):
        rows, length = x.shape
        values = np.empty(rows, x.dtype)
        scale = p / (p * length)
        for i in prange(rows):
            total = 0.0
            for j in range(length):
                d = x[i, j] - y[i, j]
                total += value(d, p)
                out[i, j] = gradient(d, p) * scale
            values[i] = total / length
        return values.reshape(shape), out

    def target_grad(x, y, out, p):
        rows, length = x.shape
        for i in prange(rows):
            total = 0.0
            for j in range(length):
                total -= gradient(x[i, j] - y[i, 0], p)
            out[i, 0] = total / x.size
        return out

    def whole_mean(x, y, shape, p):
        total = 0.0
        for i in prange(x.size):
            total += value(x[i] - y[i], p)
        out = np.empty(1, x.dtype)
        out[0] = total / x.size
        return out.reshape(shape)

    def chunks_mean(x, y, chunks, shape, p):
        rows, columns = x.shape
        totals = np.zeros((chunks, columns))
        step = (rows + chunks - 1) // chunks
        for c in prange(chunks):
            for i in range(c * step, min(rows, (c + 1) * step)):
                for j in range(columns):
                    totals[c, j] += value(x[i, j] - y[i, j], p)
        return (totals.sum(0) / rows).astype(x.dtype).reshape(shape)

    def chunks_weighted_mean(x, y, w, chunks, shape, p):
        rows, columns = x.shape
        totals = np.zeros((chunks, columns))
        weights = np.zeros((chunks, columns))
        step = (rows + chunks - 1) // chunks
        for c in prange(chunks):
            for i in range(c * step, min(rows, (c + 1) * step)):
                for j in range(columns):
                    totals[c, j] += w[i, j] * value(x[i, j] - y[i, j], p)
                    weights[c, j] += w[i, j]
        return (totals.sum(0) / weights.sum(0)).astype(x.dtype).reshape(shape)

    def strips_mean(x, y, shape, p):
        blocks, rows, columns = x.shape
        strips = (columns + STRIP - 1) // STRIP
        out = np.empty((blocks, columns), x.dtype)
        for t in prange(blocks * strips):
            b, first = t // strips, t % strips * STRIP
            last = min(columns, first + STRIP)
            totals = np.zeros(last - first)
            for i in range(rows):
                for j in range(first, last):
                    totals[j - first] += value(x[b, i, j] - y[b, i, j], p)
            for j in range(first, last):
                out[b, j] = totals[j - first] / rows
        return out.reshape(shape)

    return locals()[name]
