"""JAX: the formula under ``jit``, its gradient by ``value_and_grad``; arrays are moved to JAX before, and results awaited."""

from typing import Any

from benchmarks.measure.formulas import CONSTANTS, bind
from benchmarks.measure.harness import Subject
from benchmarks.measure.slices import SliceData
from benchmarks.measure.works import WORTH_THREADS, Case, Data, Work
from benchmarks.peers.base import Peer


class JaxJit(Peer):
    """The formula compiled by XLA. Its threads cannot be limited in a running process."""

    name = "jax"
    what = (
        "the formula compiled by XLA under `jit`, gradients by `value_and_grad`; arrays are moved to JAX before, "
        "results are fresh memory; sums in the working dtype"
    )

    def __init__(self) -> None:
        import jax

        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_enable_x64", True)  # else float64 arrays would silently become float32
        self.jax = jax
        self.compiled: dict[tuple[Any, ...], Any] = {}

    def subjects(self, case: Case, work: Work, data: Data, threads: int) -> list[Subject]:
        """Return the compiled function; none where one thread was asked for and JAX would use more."""
        if case.formula is None or work.name == "strided_mean" or (threads == 1 and data.size >= WORTH_THREADS):
            return []
        key = (case.name, work.name)
        if key not in self.compiled:
            self.compiled[key] = self.jax.jit(self.python_function(case, work))
        return [self.awaited(self.compiled[key], data, tuple_of_arrays=work.name in ("value_and_grad", "grad_and_hess"))]

    def slice_subjects(self, case: Case, work: Work, data: SliceData, threads: int) -> list[Subject]:
        """Return the compiled function; none for what JAX's own arrays, all of them in C order, would make another work."""
        if case.formula is None or threads == 1 or data.layout.order == "F":
            return []
        key = (case.name, work.name, data.layout.axis)
        if key not in self.compiled:
            self.compiled[key] = self.jax.jit(self.slice_function(case, work, data.layout.axis))
        return [self.awaited(self.compiled[key], data, tuple_of_arrays=work.name == "value_and_grad")]

    def awaited(self, function: Any, data: Data, *, tuple_of_arrays: bool) -> Subject:
        """Return a compiled function as a call that waits for its result."""
        jax = self.jax
        extra = [array for array in (data.weight, data.where) if array is not None]
        arguments = tuple(jax.numpy.asarray(array) for array in (data.input, data.target, *extra))
        if tuple_of_arrays:

            def awaited(*arrays: Any) -> Any:
                return jax.block_until_ready(function(*arrays))
        else:

            def awaited(*arrays: Any) -> Any:
                return function(*arrays).block_until_ready()

        return Subject(self.name, awaited, arguments)

    def python_function(self, case: Case, work: Work) -> Any:
        """Return what is compiled."""
        jnp, p = self.jax.numpy, case.parameter
        functions = {"where": jnp.where, "abs": jnp.abs, "sqrt": jnp.sqrt}
        value, gradient, hessian = (
            bind(text or "zero", functions, CONSTANTS) for text in (case.formula.value, case.formula.gradient, case.formula.hessian)
        )

        def mean(x: Any, y: Any) -> Any:
            return value(x - y, p).mean()

        return {
            "none": lambda x, y: value(x - y, p),
            "grad": lambda x, y: gradient(x - y, p),
            "value_and_grad": self.jax.value_and_grad(mean),
            "grad_and_hess": lambda x, y: (gradient(x - y, p), hessian(x - y, p)),
            "weighted_mean": lambda x, y, w: (w * value(x - y, p)).sum() / w.sum(),
            "masked_mean": lambda x, y, where: value(x - y, p).mean(where=where),
        }.get(work.name, mean)

    def slice_function(self, case: Case, work: Work, axis: tuple[int, ...]) -> Any:
        """Return what is compiled for slices."""
        jax = self.jax
        jnp, p = jax.numpy, case.parameter
        value = bind(case.formula.value, {"where": jnp.where, "abs": jnp.abs, "sqrt": jnp.sqrt}, CONSTANTS)

        def mean(x: Any, y: Any) -> Any:
            return value(x - y, p).mean(axis)

        def weighted_mean(x: Any, y: Any, w: Any) -> Any:
            return (w * value(x - y, p)).sum(axis) / w.sum(axis)

        def value_and_grad(x: Any, *others: Any) -> Any:
            means, pull_back = jax.vjp(lambda x: (weighted_mean if len(others) > 1 else mean)(x, *others), x)
            return means, pull_back(jnp.ones_like(means))[0]

        def grad(x: Any, *others: Any) -> Any:
            return value_and_grad(x, *others)[1]

        return {
            "mean": mean,
            "weighted_mean": weighted_mean,
            "grad": grad,
            "weighted_grad": grad,
            "value_and_grad": value_and_grad,
            "target_grad": jax.grad(lambda x, y: value(x - y, p).mean(), 1),
        }[work.name]
