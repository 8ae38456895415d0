"""NumPy: the formula written down, with a temporary for each step."""

from typing import Any

import numpy as np

from benchmarks.measure.formulas import bind, typed_constants
from benchmarks.measure.harness import Subject
from benchmarks.measure.slices import SliceData
from benchmarks.measure.works import Case, Data, Work
from benchmarks.peers.base import Peer

try:
    from threadpoolctl import threadpool_limits
except ImportError:
    threadpool_limits = None

FUNCTIONS = {"where": np.where, "abs": np.abs, "sqrt": np.sqrt}


class PlainNumPy(Peer):
    """The formula in NumPy, the way most people write it."""

    name = "numpy"
    what = (
        "the formula as most people write it, with a temporary array for each step, on one thread; sums in pairs in the"
        " working dtype; along an axis the mean of the whole array of losses"
    )

    def set_threads(self, threads: int) -> None:
        """Limit BLAS, which is all of NumPy that uses threads."""
        if threadpool_limits is not None:
            threadpool_limits(threads, user_api="blas")

    def subjects(self, case: Case, work: Work, data: Data, threads: int) -> list[Subject]:
        """Return the formula as a call."""
        if case.formula is None:
            return []
        dtype = np.result_type(data.input, data.target)
        constants = typed_constants(dtype)
        value = bind(case.formula.value, FUNCTIONS, constants)
        gradient = bind(case.formula.gradient, FUNCTIONS, constants)
        p = dtype.type(case.parameter)

        def none(x: Any, y: Any, out: Any) -> Any:
            out[...] = value(x - y, p)
            return out

        def mean(x: Any, y: Any) -> Any:
            return value(x - y, p).mean()

        def grad(x: Any, y: Any, out: Any) -> Any:
            out[...] = gradient(x - y, p)
            return out

        def value_and_grad(x: Any, y: Any, out: Any) -> Any:
            d = x - y
            np.divide(gradient(d, p), dtype.type(d.size), out=out)
            return value(d, p).mean(), out

        def grad_and_hess(x: Any, y: Any, out: Any, hess: Any) -> Any:
            d = x - y
            out[...] = gradient(d, p)
            hess[...] = bind(case.formula.hessian, FUNCTIONS, constants)(d, p)
            return out, hess

        def weighted_mean(x: Any, y: Any, w: Any) -> Any:
            return np.average(value(x - y, p), weights=w)

        def masked_mean(x: Any, y: Any, where: Any) -> Any:
            return value(x - y, p).mean(where=where)

        function = locals().get(work.name, mean)
        extra = [array for array in (data.weight, data.where) if array is not None]
        return [Subject(self.name, function, (data.input, data.target, *data.outputs, *extra))]

    def slice_subjects(self, case: Case, work: Work, data: SliceData, threads: int) -> list[Subject]:
        """Return the formula, reduced over the axes."""
        if case.formula is None:
            return []
        constants, axis = typed_constants(data.input.dtype), data.axis
        value = bind(case.formula.value, FUNCTIONS, constants)
        gradient = bind(case.formula.gradient, FUNCTIONS, constants)
        p, length = data.input.dtype.type(case.parameter), data.input.dtype.type(data.layout.length)

        def mean(x: Any, y: Any) -> Any:
            return value(x - y, p).mean(axis)

        def weighted_mean(x: Any, y: Any, w: Any) -> Any:
            return np.average(value(x - y, p), axis, w)

        def grad(x: Any, y: Any, out: Any) -> Any:
            return np.divide(gradient(x - y, p), length, out=out)

        def weighted_grad(x: Any, y: Any, w: Any, out: Any) -> Any:
            return np.divide(w * gradient(x - y, p), w.sum(axis, keepdims=True), out=out)

        def value_and_grad(x: Any, y: Any, out: Any) -> Any:
            d = x - y
            return value(d, p).mean(axis), np.divide(gradient(d, p), length, out=out)

        def target_grad(x: Any, y: Any, out: Any) -> Any:
            return np.divide(gradient(x - y, p).sum(axis, keepdims=True), x.dtype.type(-x.size), out=out)

        weights = [] if data.weight is None else [data.weight]
        return [Subject(self.name, locals()[work.name], (data.input, data.target, *weights, *data.outputs))]
