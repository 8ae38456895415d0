"""The losses as functions of Dask arrays; public as part of `cylosses.dask`.

As in `cylosses.functional`, the functions are written out from one template for each class of the registry. They have no deprecated
flags.
"""

from typing import Any

from cylosses import LOSSES, Loss, default_floating_point_mode
from cylosses._dask import derivatives, totals
from cylosses._dask.operands import Operands

__all__: list[str] = []  # the functions are added below


def _reduced(
    loss: Loss, input: Any, target: Any, weight: Any, where: Any, axis: Any, keepdims: bool, n_threads: int | None, split_every: Any
) -> Any:
    operands = Operands.of(loss, input, target, weight, where, n_threads)
    return totals.value(loss, operands, axis, keepdims, split_every)


def _derived(
    loss: Loss,
    grad_output: Any,
    input: Any,
    target: Any,
    wrt: Any,
    weight: Any,
    where: Any,
    axis: Any,
    n_threads: Any,
    split_every: Any,
) -> Any:
    operands = Operands.of(loss, input, target, weight, where, n_threads)
    return derivatives.gradient(loss, operands, grad_output, wrt, axis, split_every)


_FUNCTION = """
def {name}_loss(
    input, target, reduction="mean"{declared}, *,
    weight=None, where=None, axis=None, keepdims=False, n_threads=1, split_every=None,
):
    loss = {cls}(reduction=reduction{setting})
    return _reduced(loss, input, target, weight, where, axis, keepdims, n_threads, split_every)
"""

_BACKWARD = """
def {name}_loss_backward(
    grad_output, input, target, reduction="mean"{declared}, *,
    wrt="input", weight=None, where=None, axis=None, n_threads=1, split_every=None,
):
    if grad_output is None:
        raise TypeError("grad_output must be a number or an array, got None")
    loss = {cls}(reduction=reduction{setting})
    return _derived(loss, grad_output, input, target, wrt, weight, where, axis, n_threads, split_every)
"""

_FUNCTION_DOC = """`cylosses.{name}_loss` of Dask arrays, lazy, with the bits of a call in memory.

Parameters
----------
input, target : dask.array.Array or array_like of real numbers
    Predictions and true values, as in `cylosses.dask.loss`.
reduction : {{'mean', 'sum', 'none'}}
    What is returned: the mean or the sum over all elements, or the loss of each.
{parameter_doc}weight, where, axis, keepdims, n_threads, split_every
    As in `cylosses.dask.loss`.

Returns
-------
dask.array.Array
    Of the shape and dtype that `cylosses.{name}_loss` gives.

Raises
------
TypeError, ValueError
    As `cylosses.{name}_loss`, and before anything is computed, but for weights and chunks that are not valid.

Examples
--------
>>> import dask.array as da
>>> import cylosses.dask
>>> prediction = da.arange(10, chunks=4, dtype=float)
>>> truth = da.zeros(10, chunks=3)
>>> loss = cylosses.dask.{name}_loss(prediction, truth)
>>> loss.compute() == cylosses.{name}_loss(range(10), [0.0] * 10)
np.True_
"""

_BACKWARD_DOC = """`cylosses.{name}_loss_backward` of Dask arrays, lazy, with the bits of a call in memory.

Parameters
----------
grad_output : dask.array.Array, array_like, or number
    Gradient with respect to the loss, as in `cylosses.dask.grad`.
input, target : dask.array.Array or array_like of real numbers
    As in `{name}_loss`.
reduction : {{'mean', 'sum', 'none'}}
    That of the loss. ``mean`` has the divisor of the whole.
{parameter_doc}wrt, weight, where, axis, n_threads, split_every
    As in `cylosses.dask.grad`.

Returns
-------
dask.array.Array
    Of the shape of the operand, and the dtype of the loss.

Raises
------
TypeError, ValueError
    As `cylosses.{name}_loss_backward`.

Examples
--------
>>> import dask.array as da
>>> import cylosses.dask
>>> prediction = da.arange(10, chunks=4, dtype=float)
>>> truth = da.zeros(10, chunks=3)
>>> gradient = cylosses.dask.{name}_loss_backward(0.5, prediction, truth)
>>> in_memory = cylosses.{name}_loss_backward(0.5, range(10), [0.0] * 10)
>>> bool((gradient.compute() == in_memory).all())
True
"""


def _define(cls: type[Loss]) -> None:
    """Put <name>_loss and <name>_loss_backward of a loss into this module."""
    parameter = cls.parameter_name
    meaning = getattr(cls, parameter).__doc__ if parameter else ""
    words = {
        "name": cls.name,
        "cls": cls.__name__,
        "declared": f", {parameter}={cls.default!r}" if parameter else "",
        "setting": f", {parameter}={parameter}" if parameter else "",
        "parameter_doc": f"{parameter} : float\n    {meaning}\n" if parameter else "",
    }
    for name, source, doc in (
        (f"{cls.name}_loss", _FUNCTION, _FUNCTION_DOC),
        (f"{cls.name}_loss_backward", _BACKWARD, _BACKWARD_DOC),
    ):
        exec(compile(source.format(**words), f"{__file__} (template)", "exec"), globals())
        globals()[name] = default_floating_point_mode()(globals()[name])  # numbers are read in it, too
        globals()[name].__doc__ = doc.format(**words)
        __all__.append(name)


for _cls in LOSSES.values():
    globals()[_cls.__name__] = _cls
    _define(_cls)
