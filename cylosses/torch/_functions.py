"""The losses as functions with the signatures of `torch.nn.functional`.

As in `cylosses.functional`, the functions are written out from one template for each class of the registry.
"""

from typing import Any

import torch

from cylosses import LOSSES, Loss
from cylosses.torch._call import call  # noqa: F401  # by the template

__all__: list[str] = []  # the functions are added below


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _reduction_of(name: str, size_average: Any, reduce: Any, reduction: Any) -> str:
    """Return the reduction that the legacy flags mean: the library's classes know, and warn."""
    return LOSSES[name](size_average, reduce, reduction).reduction


_FUNCTION = """
def {name}_loss(
    input, target, {flags}reduction="mean"{declared}, weight=None, *, where=None, axis=None, keepdims=False
):
{replace_flags}\
    return call("{name}", {name}_loss, input, target, reduction, {parameter}, weight, where, axis, keepdims)
"""

_REPLACE_FLAGS = """\
    if not (size_average is None and reduce is None):
        reduction = _reduction_of("{name}", size_average, reduce, reduction)
"""

_FUNCTION_DOC = """{summary}

Parameters
----------
input, target : torch.Tensor
    Predictions and true values: floats, integers or bool, of shapes that broadcast (with a `cylosses.BroadcastWarning` if both have
    more than one element).
{flags_doc}\
reduction : {{'mean', 'sum', 'none'}}
    What is returned: the mean or the sum over all elements, or the loss of each.
{parameter_doc}\
weight : torch.Tensor, optional
    Finite and not negative, broadcastable to the result. ``mean`` divides by the sum of the weights. Weight 0 removes an element,
    even a NaN. No gradient is computed for weights.
where : torch.Tensor of bool, optional
    Broadcastable to the result. Elements that are not selected are skipped, whatever they hold; ``none`` has 0 there.
axis : int or tuple of int, optional
    What ``mean`` and ``sum`` reduce over; None reduces over all axes.
keepdims : bool
    Whether reduced axes stay, with length 1.

Returns
-------
torch.Tensor
    Of the wider of the floating dtypes of input and target, float64 if there is none.

Raises
------
TypeError
    For what is no tensor, and for tensors elsewhere than on the CPU, sparse or complex ones, unless `torch.nn.functional` has a
    function of this name, which is called then.
ValueError
    For an invalid parameter or reduction, and shapes that do not broadcast.

See Also
--------
{cls} : the same as a module. cylosses.{name}_loss : the formula, and the same for arrays.

Notes
-----
Differentiable twice by input and target, in reverse and forward mode. ``mean`` and ``sum`` are exact sums, rounded once: the same
bits for any number of threads.

Examples
--------
>>> import torch
>>> from cylosses.torch import {name}_loss
>>> prediction = torch.tensor([1.5, 2.0, 0.5], requires_grad=True)
>>> {name}_loss(prediction, torch.tensor([1.0, 10.0, 0.25])).backward()
>>> prediction.grad.shape
torch.Size([3])
"""

_FLAGS_DOC = """\
size_average, reduce : bool, optional
    Deprecated flags that replace `reduction`, as in `cylosses.{name}_loss`.
"""


def _define(cls: type[Loss]) -> None:
    """Put the function of a loss into this module."""
    parameter = cls.parameter_name
    words = {
        "name": cls.name,
        "cls": cls.__name__,
        "parameter": parameter or "0.0",
        "declared": f", {parameter}={cls.default!r}" if parameter else "",
        "flags": "size_average=None, reduce=None, " if cls.legacy else "",
        "replace_flags": _REPLACE_FLAGS.format(name=cls.name) if cls.legacy else "",
        "flags_doc": _FLAGS_DOC.format(name=cls.name) if cls.legacy else "",
        "parameter_doc": f"{parameter} : float\n    {getattr(cls, parameter).__doc__}\n" if parameter else "",
        "summary": (cls.__doc__ or "").partition("\n")[0],
    }
    name = f"{cls.name}_loss"
    exec(compile(_FUNCTION.format(**words), f"{__file__} (template)", "exec"), globals())
    globals()[name].__doc__ = _FUNCTION_DOC.format(**words)
    __all__.append(name)


for _cls in LOSSES.values():
    _define(_cls)
