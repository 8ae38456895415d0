"""numba: the formula fused into one loop, with ``fastmath`` and on all threads: what a careful user writes by hand.

Sums are accumulated in the working dtype, in whatever order is fastest, so they are not exact.
"""

from math import sqrt
from typing import Any

import numpy as np

from benchmarks.measure.formulas import bind, typed_constants
from benchmarks.measure.harness import Subject
from benchmarks.measure.slices import SliceData
from benchmarks.measure.works import WORTH_THREADS, Case, Data, Work
from benchmarks.peers.base import Peer
from benchmarks.peers.numba_slices import slice_call, slice_loop


class NumbaFused(Peer):
    """Fused loops, compiled in a serial and a parallel form."""

    name = "numba"
    what = (
        "a hand-written loop that fuses everything, with `fastmath`, serial or `prange`; sums in the working dtype, along an axis "
        "in float64"
    )

    def __init__(self) -> None:
        import numba

        self.numba = numba
        self.most_threads = numba.config.NUMBA_NUM_THREADS
        self.where = numba.njit(inline="always")(lambda c, a, b: a if c else b)
        self.compiled: dict[tuple[Any, ...], Any] = {}

    def set_threads(self, threads: int) -> None:
        """Set the threads of parallel loops."""
        self.numba.set_num_threads(min(threads, self.most_threads))

    def subjects(self, case: Case, work: Work, data: Data, threads: int) -> list[Subject]:
        """Return the loop, in the form that suits the size."""
        if case.formula is None or work.name == "broadcast_mean":
            return []
        dtype = np.result_type(data.input, data.target)
        parallel = threads > 1 and data.size >= WORTH_THREADS
        key = (case.name, work.name, dtype.name, parallel)
        if key not in self.compiled:
            self.compiled[key] = self.compile(case, work, dtype, parallel)
        extra = [array for array in (data.weight, data.where) if array is not None]
        arguments = (data.input, data.target, *data.outputs, *extra, dtype.type(case.parameter))
        return [Subject(self.name, self.compiled[key], arguments)]

    def slice_subjects(self, case: Case, work: Work, data: SliceData, threads: int) -> list[Subject]:
        """Return the loop that suits the layout."""
        found = slice_call(work, data, threads)
        if case.formula is None or found is None:
            return []
        name, arguments = found
        dtype = data.input.dtype
        key = (case.name, name, dtype.name, threads > 1)
        if key not in self.compiled:
            loop = slice_loop(name, self.numba.prange, *self.scalars(case, dtype)[:2])
            self.compiled[key] = self.numba.njit(fastmath=True, parallel=threads > 1)(loop)
        return [Subject(self.name, self.compiled[key], (*arguments, dtype.type(case.parameter)))]

    def scalars(self, case: Case, dtype: np.dtype) -> list[Any]:
        """Return value, gradient and Hessian of an element as compiled functions."""
        functions = {"where": self.where, "abs": abs, "sqrt": sqrt}
        constants = typed_constants(dtype)

        expressions = (case.formula.value, case.formula.gradient, case.formula.hessian or "zero")
        return [self.numba.njit(fastmath=True)(bind(expression, functions, constants)) for expression in expressions]

    def compile(self, case: Case, work: Work, dtype: np.dtype, parallel: bool) -> Any:
        """Return the loop of one work."""
        loop = _loop(work.name, self.numba.prange, *self.scalars(case, dtype))
        return self.numba.njit(fastmath=True, parallel=parallel)(loop)


def _loop(work: str, prange: Any, value: Any, gradient: Any, hessian: Any) -> Any:
    """Return the Python source of a work's loop, as numba wants to see it."""

    def none(x, y, out, p):
        for i in prange(x.size):
            out[i] = value(x[i] - y[i], p)
        return out

    def mean(x, y, p):
        total = p - p
        for i in prange(x.size):
            total += value(x[i] - y[i], p)
        return total / x.size

    def grad(x, y, out, p):
        for i in prange(x.size):
            out[i] = gradient(x[i] - y[i], p)
        return out

    def value_and_grad(x, y, out, p):
        total = p - p
        scale = p / (p * x.size)
        for i in prange(x.size):
            d = x[i] - y[i]
            total += value(d, p)
            out[i] = gradient(d, p) * scale
        return total / x.size, out

    def grad_and_hess(x, y, out, hess, p):
        for i in prange(x.size):
            d = x[i] - y[i]
            out[i] = gradient(d, p)
            hess[i] = hessian(d, p)
        return out, hess

    def weighted_mean(x, y, w, p):
        total = p - p
        weights = p - p
        for i in prange(x.size):
            total += w[i] * value(x[i] - y[i], p)
            weights += w[i]
        return total / weights

    def masked_mean(x, y, where, p):
        total = p - p
        count = 0
        for i in prange(x.size):
            total += value(x[i] - y[i], p) if where[i] else p - p
            count += where[i]
        return total / count

    return locals().get(work, mean)
