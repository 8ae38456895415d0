"""The files that are generated as a whole: the registry, and the stubs of the functions, metrics and modules made from it."""

from __future__ import annotations

from .registry import Source

LONGEST_LINE = 132

REGISTRY = '''"""The losses as objects, and `LOSSES`, the registry that tests, benchmarks, command line and adapters enumerate."""

# Written by `python -m tools.generate`: the order is that of the numbers of the losses.

{imports}

__all__ = [
{names}
]

LOSSES: dict[str, type[Loss]] = {{
    cls.name: cls
    for cls in (
{classes}
    )
}}
"""Name of each loss to its class."""
'''

FUNCTIONAL = """# Written by `python -m tools.generate`.

from collections.abc import Mapping
from typing import Any, TypedDict, overload

from cylosses._types import Array, Axis, Factors, Numbers, Operand, Parameter, Reduction

__all__ = [
{names}
]

class SmoothL1LossOptions(TypedDict, total=False):
    size_average: bool | None
    reduce: bool | None
    reduction: Reduction
    beta: Parameter

# (input, target, size_average, reduce, reduction, beta[, options]), and every parameter by keyword
@overload
def smooth_l1_loss(
    input: Numbers,
    target: Numbers,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
    beta: Parameter = 1.0,
    options: SmoothL1LossOptions | Mapping[str, Any] | None = None,
    *,
{options}
) -> Any: ...

# (input, target, options)
@overload
def smooth_l1_loss(
    input: Numbers,
    target: Numbers,
    size_average: SmoothL1LossOptions | Mapping[str, Any],
    *,
{options}
) -> Any: ...

# (input, target, reduction[, beta])
@overload
def smooth_l1_loss(
    input: Numbers,
    target: Numbers,
    size_average: Reduction,
    reduce: Parameter | None = None,
    *,
    beta: Parameter = 1.0,
{options}
) -> Any: ...
{functions}
"""

OPTIONS = """\
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    keepdims: bool = False,
    out: Array | None = None,
    n_threads: int | None = None,"""

FLAGS = """
    size_average: bool | None = None,
    reduce: bool | None = None,"""

FUNCTION = """\
def {name}_loss(
    input: Numbers,
    target: Numbers,{flags}
    reduction: Reduction = "mean",{parameter}
    *,
{options}
) -> Any: ...
"""

BACKWARD = """\
def {name}_loss_backward(
    grad_output: Factors,
    input: Numbers,
    target: Numbers,
    reduction: Reduction = "mean",{parameter}
    *,
    wrt: Operand = "input",
    weight: Numbers | None = None,
    where: Numbers | None = None,
    axis: Axis = None,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Array: ...
"""

METRICS = """# Written by `python -m tools.generate`.

from typing import Any, Literal, TypeAlias

from numpy.typing import ArrayLike

from cylosses._types import Parameter

__all__ = [
{names}
]

_MultiOutput: TypeAlias = Literal["uniform_average", "raw_values"] | ArrayLike

SCORERS: dict[str, Any]
{scorers}

{metrics}
"""

METRIC = """\
def mean_{name}_error(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: _MultiOutput = "uniform_average",{parameter}
) -> Any: ...
"""

DASK = """# Written by `python -m tools.generate`.

from typing import Any

from cylosses._types import Axis, Number, Operand, Reduction

__all__ = [
{names}
]

{functions}
"""

DASK_FUNCTION = """\
def {name}_loss(
    input: Any,
    target: Any,
    reduction: Reduction = "mean",{parameter}
    *,
    weight: Any = None,
    where: Any = None,
    axis: Axis = None,
    keepdims: bool = False,
    n_threads: int | None = 1,
    split_every: int | dict[int, int] | None = None,
) -> Any: ...
def {name}_loss_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    reduction: Reduction = "mean",{parameter}
    *,
    wrt: Operand = "input",
    weight: Any = None,
    where: Any = None,
    axis: Axis = None,
    n_threads: int | None = 1,
    split_every: int | dict[int, int] | None = None,
) -> Any: ...
"""

TORCH_FUNCTIONS = """# Written by `python -m tools.generate`.

from torch import Tensor

from cylosses._types import Axis, Number, Reduction

__all__ = [
{names}
]

{functions}
"""

TORCH_FUNCTION = """\
def {name}_loss(
    input: Tensor,
    target: Tensor,{flags}
    reduction: Reduction = "mean",{parameter}
    weight: Tensor | None = None,
    *,
    where: Tensor | None = None,
    axis: Axis = None,
    keepdims: bool = False,
) -> Tensor: ...
"""

TORCH_MODULES = """# Written by `python -m tools.generate`.

from typing import ClassVar

from torch import Tensor
from torch.nn import Module

from cylosses import Loss
from cylosses._types import Axis, Number, Reduction

__all__ = [
{names}
]

class LossModule(Module):  # type: ignore[misc]
    loss: ClassVar[type[Loss]]
    reduction: Reduction
    def forward(
        self,
        input: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        *,
        where: Tensor | None = None,
        axis: Axis = None,
        keepdims: bool = False,
    ) -> Tensor: ...
    def extra_repr(self) -> str: ...

{classes}
"""

TORCH_MODULE = """\
class {cls}(LossModule):{attribute}
    def __init__(
        self,{flags}
        reduction: Reduction = "mean",{parameter}
    ) -> None: ...
"""


def _listed(names: list[str]) -> str:
    """Return names as the lines of a list: constants, classes, then the others, as ruff sorts them."""
    ordered = sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    return "\n".join(f'    "{name}",' for name in ordered)


def _imported(module: str, classes: list[str]) -> str:
    line = f"from cylosses.losses.{module} import {', '.join(sorted(classes))}"
    if len(line) <= LONGEST_LINE:
        return line
    lines = "".join(f"    {cls},\n" for cls in sorted(classes))
    return f"from cylosses.losses.{module} import (\n{lines})"


def _registry(losses: list[Source]) -> str:
    modules: dict[str, list[str]] = {"base": ["Loss"]}
    for loss in losses:
        modules.setdefault(loss.module, []).append(loss.cls)
    return REGISTRY.format(
        imports="\n".join(_imported(*item) for item in sorted(modules.items())),
        names=_listed(["LOSSES", "Loss", *(loss.cls for loss in losses)]),
        classes="\n".join(f"        {loss.cls}," for loss in losses),
    )


def _parameter(loss: Source, kind: str) -> str:
    return f"\n    {loss.parameter}: {kind} = {loss.default!r}," if loss.parameter else ""


def _functional(losses: list[Source]) -> str:
    functions = []
    for loss in losses:
        words = {"name": loss.name, "parameter": _parameter(loss, "Parameter"), "options": OPTIONS}
        if loss.cls != "SmoothL1Loss":  # whose overloads stand above
            functions.append(FUNCTION.format(flags=FLAGS if loss.legacy else "", **words))
        functions.append(BACKWARD.format(**words))
    names = [f"{loss.name}_loss{suffix}" for loss in losses for suffix in ("", "_backward")]
    return FUNCTIONAL.format(
        names=_listed(["SmoothL1LossOptions", *names]), options=OPTIONS, functions="".join(functions).removesuffix("\n")
    )


def _metrics(losses: list[Source]) -> str:
    metrics = [f"mean_{loss.name}_error" for loss in losses]
    scorers = [f"neg_{metric}_scorer" for metric in metrics]
    return METRICS.format(
        names=_listed(["SCORERS", *metrics, *scorers]),
        scorers="\n".join(f"{scorer}: Any" for scorer in scorers),
        metrics="".join(METRIC.format(name=loss.name, parameter=_parameter(loss, "Parameter")) for loss in losses).removesuffix(
            "\n"
        ),
    )


def _dask(losses: list[Source]) -> str:
    functions = "".join(DASK_FUNCTION.format(name=loss.name, parameter=_parameter(loss, "Number")) for loss in losses)
    return DASK.format(
        names=_listed([f"{loss.name}_loss{suffix}" for loss in losses for suffix in ("", "_backward")]),
        functions=functions.removesuffix("\n"),
    )


def _torch_functions(losses: list[Source]) -> str:
    functions = [
        TORCH_FUNCTION.format(name=loss.name, flags=FLAGS if loss.legacy else "", parameter=_parameter(loss, "Number"))
        for loss in losses
    ]
    return TORCH_FUNCTIONS.format(
        names=_listed([f"{loss.name}_loss" for loss in losses]), functions="".join(functions).removesuffix("\n")
    )


def _torch_modules(losses: list[Source]) -> str:
    classes = [
        TORCH_MODULE.format(
            cls=loss.cls,
            attribute=f"\n    {loss.parameter}: float" if loss.parameter else "",
            flags=FLAGS.replace("\n", "\n    ") if loss.legacy else "",
            parameter=_parameter(loss, "Number").replace("\n", "\n    "),
        )
        for loss in losses
    ]
    return TORCH_MODULES.format(names=_listed([loss.cls for loss in losses]), classes="\n".join(classes).removesuffix("\n"))


def files(losses: list[Source]) -> dict[str, str]:
    """Return the text of each file, by its path from the root of the repository."""
    return {
        "cylosses/losses/__init__.py": _registry(losses),
        "cylosses/functional.pyi": _functional(losses),
        "cylosses/_sklearn_metrics.pyi": _metrics(losses),
        "cylosses/_dask/functions.pyi": _dask(losses),
        "cylosses/torch/_functions.pyi": _torch_functions(losses),
        "cylosses/torch/_modules.pyi": _torch_modules(losses),
    }
