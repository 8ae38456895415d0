"""JAX: the formula under ``jit``, its gradient by ``value_and_grad``; arrays are moved to JAX before, and results awaited."""

from typing import Any

from benchmarks.measure.formulas import CONSTANTS, bind
from benchmarks.measure.harness import Subject
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
        self.compiled: dict[tuple[str, str], Any] = {}

    def subjects(self, case: Case, work: Work, data: Data, threads: int) -> list[Subject]:
        """Return the compiled function; none where one thread was asked for and JAX would use more."""
        if case.formula is None or work.name == "strided_mean" or (threads == 1 and data.size >= WORTH_THREADS):
            return []
        jax = self.jax
        key = (case.name, work.name)
        if key not in self.compiled:
            self.compiled[key] = jax.jit(self.python_function(case, work))
        function = self.compiled[key]
        extra = [array for array in (data.weight, data.where) if array is not None]
        arguments = tuple(jax.numpy.asarray(array) for array in (data.input, data.target, *extra))
        if work.name in ("value_and_grad", "grad_and_hess"):

            def awaited(*arrays: Any) -> Any:
                return jax.block_until_ready(function(*arrays))
        else:

            def awaited(*arrays: Any) -> Any:
                return function(*arrays).block_until_ready()

        return [Subject(self.name, awaited, arguments)]

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
