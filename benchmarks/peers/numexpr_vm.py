"""numexpr: the formula as a string, evaluated block by block on all threads."""

from typing import Any

import numpy as np

from benchmarks.measure.formulas import typed_constants
from benchmarks.measure.harness import Subject
from benchmarks.measure.works import Case, Data, Work
from benchmarks.peers.base import Peer


class NumExpr(Peer):
    """The formula with d written out; its sums run on one thread."""

    name = "numexpr"
    what = "the formula as a string, evaluated block by block on all threads; sums on one thread, in the working dtype"

    def __init__(self) -> None:
        import numexpr

        self.numexpr = numexpr

    def set_threads(self, threads: int) -> None:
        """Set the threads of evaluation."""
        self.numexpr.set_num_threads(threads)

    def subjects(self, case: Case, work: Work, data: Data, threads: int) -> list[Subject]:
        """Return the evaluation; two of them for a value with a gradient."""
        if case.formula is None or work.name == "grad_and_hess":
            return []
        evaluate = self.numexpr.evaluate
        dtype = np.result_type(data.input, data.target)
        names: dict[str, Any] = {
            "x": data.input,
            "y": data.target,
            "w": data.weight,
            "m": data.where,
            "p": dtype.type(case.parameter),
            "scale": dtype.type(1 / data.size),
            **typed_constants(dtype),
        }
        names = {name: array for name, array in names.items() if array is not None}
        value, gradient = (_written_out(text) for text in (case.formula.value, case.formula.gradient))
        count, out = data.size, data.outputs[0] if data.outputs else None

        def none() -> Any:
            return evaluate(value, names, {}, out=out)

        def mean() -> Any:
            return evaluate(f"sum({value})", names, {}) / count

        def grad() -> Any:
            return evaluate(gradient, names, {}, out=out)

        def value_and_grad() -> Any:
            return mean(), evaluate(f"({gradient}) * scale", names, {}, out=out)

        def weighted_mean() -> Any:
            return evaluate(f"sum(w * ({value}))", names, {}) / evaluate("sum(w)", names, {})

        def masked_mean() -> Any:
            return evaluate(f"sum(where(m, {value}, zero))", names, {}) / np.count_nonzero(data.where)

        return [Subject(self.name, locals().get(work.name, mean))]


def _written_out(expression: str) -> str:
    """Return the expression with input - target in place of d."""
    from ast import Name, NodeTransformer, parse, unparse

    difference = parse("(x - y)", mode="eval").body

    class Replace(NodeTransformer):
        def visit_Name(self, node: Name) -> Any:
            return difference if node.id == "d" else node

    return unparse(Replace().visit(parse(expression, mode="eval")))
