"""The losses as expressions, once for all peers that compute them from an expression.

The names in an expression: ``d`` is input - target, ``p`` the parameter of the loss; the constants and functions are bound by each
peer to its own (`CONSTANTS` say the values). Constants have names, because a bare 0.5 is float64 to numba and numexpr, and would
make them compute float32 data in float64. `where` stands for every branch, since all of the peers have it.
"""

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

CONSTANTS = {"zero": 0.0, "half": 0.5, "one": 1.0, "two": 2.0, "three": 3.0, "six": 6.0}

SIGN = "where(d < zero, -one, one)"
TUKEY = "(d / p) * (d / p)"
ROOT = "sqrt(one + (d / p) * (d / p))"


@dataclass(frozen=True)
class Formula:
    """Value, gradient and, where a benchmark needs it, Hessian of a loss at one element."""

    value: str
    gradient: str
    hessian: str | None = None

    def operations(self, work: str) -> int:
        """Count the operations per element that a work's formula asks for: arithmetic, comparisons, selections, roots.

        The subtraction of the inputs counts; summing up does not, because the formula does not say how.
        """
        expressions = {
            "grad": [self.gradient],
            "value_and_grad": [self.value, self.gradient],
            "grad_and_hess": [self.gradient, self.hessian or "zero"],
            "weighted_grad": [self.gradient],
            "target_grad": [self.gradient],
        }.get(work, [self.value])
        weighted = 1 if work.startswith("weighted") else 0
        kinds = (ast.BinOp, ast.Compare, ast.Call, ast.UnaryOp)
        return 1 + weighted + sum(isinstance(node, kinds) for text in expressions for node in ast.walk(ast.parse(text)))


FORMULAS = {
    "smooth_l1": Formula(
        "where(abs(d) < p, half * d * d / p, abs(d) - half * p)",
        f"where(abs(d) < p, d / p, {SIGN})",
        "where(abs(d) < p, one / p, zero)",
    ),
    "l1": Formula("abs(d)", "where(d > zero, one, where(d < zero, -one, zero))"),
    "mse": Formula("d * d", "two * d"),
    "huber": Formula(
        "where(abs(d) < p, half * d * d, p * (abs(d) - half * p))",
        "where(abs(d) < p, d, where(d < zero, -p, p))",
    ),
    "tukey": Formula(
        f"where(abs(d) < p, d * d / six * (three - {TUKEY} * (three - {TUKEY})), p * p / six)",
        f"where(abs(d) < p, d * (one - {TUKEY}) * (one - {TUKEY}), zero)",
    ),
    "quantile": Formula(
        "where(d > zero, (one - p) * d, -p * d)",
        "where(d > zero, one - p, where(d < zero, -p, zero))",
    ),
    "epsilon_insensitive": Formula(
        "where(abs(d) > p, abs(d) - p, zero)",
        f"where(abs(d) > p, {SIGN}, zero)",
    ),
    "pseudo_huber": Formula(f"d * d / (one + {ROOT})", f"d / {ROOT}"),
    "charbonnier": Formula("sqrt(d * d + p * p)", "d / sqrt(d * d + p * p)"),
}
"""Name of each loss, as in `cylosses.LOSSES`, to its formula. A loss that is not here is timed without these peers."""


def bind(expression: str, functions: Mapping[str, Any], constants: Mapping[str, Any]) -> Callable[[Any, Any], Any]:
    """Return an expression as a function of d and p."""
    names = {**functions, **constants}
    return eval(f"lambda d, p: {expression}", names)  # the expressions are the ones above


def typed_constants(dtype: Any) -> dict[str, Any]:
    """Return the constants as NumPy scalars of a dtype."""
    return {name: dtype.type(value) for name, value in CONSTANTS.items()}
