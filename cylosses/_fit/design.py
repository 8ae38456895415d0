"""The rows of X in blocks, and threads that walk them."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import issparse

from cylosses._fit import Vector

BLOCK_BYTES = 1 << 20
"""The size of the rows of a block in float64: they stay in the second-level cache."""
FEWEST_ROWS = 32
GRAM_FEATURES = 512
"""With more features, second moments of all pairs would take longer than the iterations that they save."""
GRAM_COST = 2000
"""Squares of features that may be computed for an element of X; only sparse rows have few enough elements to reach it."""
SAMPLE_BLOCKS = 4
SAMPLE_ROWS = 20
"""A fit of many rows starts from one of a sample of them: so many blocks at least, and so many rows for each feature."""


@dataclass
class Block:
    """Some rows of X, and buffers that belong to the thread that works on them."""

    number: int
    rows: slice
    X: Any
    transposed: Any
    pred: Vector
    grad: Vector


class Design:
    """The rows of X in blocks: an array or a CSR array or matrix, float32 or float64, walked by at most `n_threads` threads."""

    def __init__(self, X: Any, n_threads: int) -> None:
        self.n_samples, self.n_features = int(X.shape[0]), int(X.shape[1])
        self.sparse = bool(issparse(X))
        step = self._rows_of_a_block(X)
        self.slices = [slice(start, min(start + step, self.n_samples)) for start in range(0, self.n_samples, step)]
        self._X = [_csr_rows(X, rows) if self.sparse else X[rows] for rows in self.slices]
        # A transpose is a view, but making that of a sparse array that is a view itself copies it.
        self._transposed = [_transpose_of_csr(X) if self.sparse else X.T for X in self._X]
        elements = X.nnz if self.sparse else X.size
        self.pairs = self.n_features <= GRAM_FEATURES and self.n_features**2 * self.n_samples <= GRAM_COST * elements
        """Whether second moments are of all pairs of features."""
        self.centred = self.pairs or not self.sparse
        """Whether moments are free of cancellation in features far from 0."""
        self._staged = not self.sparse and (X.dtype != np.float64 or not (X.flags.c_contiguous or X.flags.f_contiguous))
        self._spans = _spans(len(self.slices), n_threads)
        self._threads: ThreadPoolExecutor | None = None

    def _rows_of_a_block(self, X: Any) -> int:
        elements = BLOCK_BYTES // 8
        if not self.sparse:
            return max(FEWEST_ROWS, elements // self.n_features)
        # The product of a block with the gradient is dense: a block holds more elements than that.
        return max(FEWEST_ROWS, int(max(elements, 4 * self.n_features) * self.n_samples / max(X.nnz, self.n_samples)))

    def sample(self) -> "Design | None":
        """Return a design of evenly spaced blocks on the same threads, None where it would not be much smaller."""
        rows = self.slices[0].stop
        step = len(self.slices) // max(SAMPLE_BLOCKS, -(-SAMPLE_ROWS * self.n_features // rows))
        if step < 4:
            return None
        thinned = copy(self)
        thinned.slices, thinned._X, thinned._transposed = self.slices[::step], self._X[::step], self._transposed[::step]
        thinned._spans = _spans(len(thinned.slices), len(self._spans))
        return thinned

    def some_mean(self, weight: Any) -> Vector:
        """Return the means of the features over the first block that has a weight; 0 for sparse rows, mostly of zeros."""
        if not self.sparse:
            for rows, X in zip(self.slices, self._X, strict=True):
                of_rows = np.ones(rows.stop - rows.start) if weight is None else weight[rows].astype(np.float64)
                if of_rows.any():
                    return np.asarray((of_rows / of_rows.sum()) @ X, np.float64)
        return np.zeros(self.n_features)

    def moments(self, block: Block, centre: Vector, d: Vector) -> tuple[Vector, Vector]:
        """Return Σ d x and Σ d x xᵀ, or Σ d x² without pairs, over the rows x of a block minus the centre."""
        if not self.centred:
            first, total = block.transposed @ d, d.sum()
            return first - total * centre, block.transposed.power(2) @ d - 2 * centre * first + total * centre**2
        step = max(FEWEST_ROWS, BLOCK_BYTES // 8 // self.n_features) if self.sparse else len(d)
        first, second = np.zeros(self.n_features), np.zeros((self.n_features,) * (1 + self.pairs))
        for start in range(0, len(d), step):
            rows, of_rows = block.X[start : start + step], d[start : start + step]
            x = (rows.toarray() if self.sparse else rows) - centre
            first += of_rows @ x
            x *= np.sqrt(of_rows)[:, None]
            second += x.T @ x if self.pairs else np.einsum("ij,ij->j", x, x)
        return first, second

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Have threads for `walk` while the context lasts.

        A thread begins in the floating-point mode of the one that starts it, or in the system's, which is the default one: that of
        `fit`. They are started in `walk`, and end here.
        """
        if len(self._spans) == 1:
            yield
            return
        with ThreadPoolExecutor(len(self._spans)) as self._threads:
            yield
        self._threads = None

    def walk(self, work: Callable[[Block], None]) -> None:
        """Call `work` for each block, whose X is in float64 if it is dense."""
        if self._threads is None:
            for span in self._spans:
                self._walk_span(work, span)
        else:
            list(self._threads.map(self._walk_span, [work] * len(self._spans), self._spans))

    def _walk_span(self, work: Callable[[Block], None], span: range) -> None:
        longest = self.slices[0].stop
        buffer = np.empty((longest, self.n_features)) if self._staged else None
        pred, grad = np.empty((2, longest))
        for number in span:
            rows, X, transposed = self.slices[number], self._X[number], self._transposed[number]
            length = rows.stop - rows.start
            if buffer is not None:
                np.copyto(buffer[:length], X)
                X, transposed = buffer[:length], buffer[:length].T
            work(Block(number, rows, X, transposed, pred[:length], grad[:length]))


def _spans(n_blocks: int, n_threads: int) -> list[range]:
    """Return runs of blocks, one for each thread that is worth waking."""
    n_spans = max(1, min(n_threads, n_blocks // 2))
    bounds = [n_blocks * k // n_spans for k in range(n_spans + 1)]
    return [range(bounds[k], bounds[k + 1]) for k in range(n_spans)]


def _csr_rows(X: Any, rows: slice) -> Any:
    """Return some rows of a CSR array, whose data are not copied."""
    start, stop = X.indptr[rows.start], X.indptr[rows.stop]
    view = type(X)((rows.stop - rows.start, X.shape[1]), dtype=X.dtype)
    # The constructor would copy what is a small part of a large array.
    view.data, view.indices = X.data[start:stop], X.indices[start:stop]
    view.indptr = X.indptr[rows.start : rows.stop + 1] - start
    return view


def _transpose_of_csr(X: Any) -> Any:
    """Return the transpose of a CSR array, whose data are not copied."""
    view = type(X)(X.shape, dtype=X.dtype).T
    view.data, view.indices, view.indptr = X.data, X.indices, X.indptr
    return view
