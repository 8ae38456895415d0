"""The losses as functions, with every call that PyTorch documents: overloads, legacy flags, reductions."""

import textwrap
from collections.abc import Mapping
from typing import TypedDict

import numpy as np

from cylosses._core import call
from cylosses._core.convert import reduction_of, shown
from cylosses._mode import in_default_mode
from cylosses._types import Parameter, Reduction
from cylosses.losses import LOSSES, Loss, SmoothL1Loss

__all__ = ["SmoothL1LossOptions"]  # _define adds the functions

# Defaults that a call can be told from the same value given explicitly: objects of their own, compared by identity.
_REDUCTION = "".join(("me", "an"))
_BETA = float("1.0")

_SMOOTH_L1 = SmoothL1Loss._code
_SETTINGS = ("size_average", "reduce", "reduction", "beta")
_PLAIN = frozenset({"reduction", "beta"})  # those of them that are no flags


class SmoothL1LossOptions(TypedDict, total=False):
    """The `options` of `smooth_l1_loss`: any of its settings by name.

    Examples
    --------
    >>> from cylosses import SmoothL1LossOptions, smooth_l1_loss
    >>> options = SmoothL1LossOptions(reduction="sum", beta=0.5)
    >>> float(smooth_l1_loss([1.5, 2.0], [1.0, 10.0], options))
    8.0
    """

    size_average: bool | None
    reduce: bool | None
    reduction: Reduction
    beta: Parameter


@in_default_mode
def _differ(a: object, b: object) -> bool:
    return not (a is b or np.array_equal(a, b))  # type: ignore[arg-type]


def _documented_settings(
    size_average: object, reduce: object, reduction: object, beta: object, options: object
) -> tuple[str, object]:
    """Return (reduction, beta) from any of the documented call shapes of smooth_l1_loss."""
    if type(size_average) is str and reduction is _REDUCTION and beta is _BETA and options is None:
        return size_average, _BETA if reduce is None else reduce  # (input, target, reduction, beta), nothing given twice
    mapping = options if size_average is None else size_average
    if (
        type(mapping) is dict
        and mapping.keys() <= _PLAIN
        and (size_average is None or options is None)
        and (reduce is None and reduction is _REDUCTION and beta is _BETA)
    ):
        return mapping.get("reduction", _REDUCTION), mapping.get("beta", _BETA)  # (input, target, options), likewise
    given: list[tuple[str, object]] = []
    mappings = [] if options is None else [options]
    if isinstance(size_average, str):  # (input, target, reduction, beta)
        given.append(("reduction", size_average))
        if reduce is not None:
            given.append(("beta", reduce))
    else:
        if isinstance(size_average, Mapping):  # (input, target, options)
            mappings.append(size_average)
        else:
            given.append(("size_average", size_average))
        given.append(("reduce", reduce))
    if reduction is not _REDUCTION:
        given.append(("reduction", reduction))
    if beta is not _BETA:
        given.append(("beta", beta))
    for mapping in mappings:
        if not isinstance(mapping, Mapping):
            raise TypeError(f"options must be a mapping, got {type(mapping).__name__}")
        for key, value in mapping.items():
            if key not in _SETTINGS:
                raise TypeError(f"options has an unknown key {key!r}; {', '.join(_SETTINGS)} are known")
            given.append((key, value))
    given = [(name, value) for name, value in given if value is not None or name in ("reduction", "beta")]  # None is no flag
    settings: dict[str, object] = {}
    for name, value in given:
        if _differ(value, settings.setdefault(name, value)):
            values = " and ".join(shown(value) for other, value in given if other == name)
            raise TypeError(f"{name} is given twice with different values: {values}")
    flag = settings.get("size_average")
    if isinstance(flag, str):  # by name, and not third: no reduction
        raise TypeError(f"size_average must be a bool or None, got {flag!r}")
    return reduction_of(flag, settings.get("reduce"), settings.get("reduction", "mean")), settings.get("beta", 1.0)


def smooth_l1_loss(
    input, target, size_average=None, reduce=None, reduction=_REDUCTION, beta=_BETA, options=None, *,
    weight=None, where=None, axis=None, keepdims=False, out=None, n_threads=None
):  # fmt: skip  # functional.pyi has the types
    r"""Smooth L1 loss: squared for errors below `beta`, absolute beyond.

    Parameters
    ----------
    input, target : array_like of real numbers
        Predictions and true values, of shapes that broadcast (with a `BroadcastWarning` if both have more than one element, unless
        all axes along which they are stretched are axes of an array of betas).
    size_average, reduce : bool, optional
        Deprecated flags that replace `reduction` if one is given: ``reduce=False`` means ``none``, else ``size_average=False``
        means ``sum``, else ``mean``. The third positional argument may also be a string, which is the reduction, with beta as
        the fourth; or a mapping, which is `options`.
    reduction : {'mean', 'sum', 'none'}
        What is returned: the mean or the sum over all elements, or the loss of each.
    beta : float or array_like
        Error at which the square turns into a line, in the units of the data; at least 0. 0 gives the absolute error. A smaller
        beta is more robust against outliers. Rounded to the working dtype. An array broadcasts with input and target.
    options : mapping, optional
        Any of ``size_average``, ``reduce``, ``reduction``, ``beta`` by name.
    weight : array_like, optional
        Finite and not negative, broadcastable to the result. ``mean`` divides by the sum of the weights, ``none`` returns weight
        times loss. Weight 0 removes an element, even a NaN; weight k counts it k times, bit for bit.
    where : array_like of bool, optional
        Broadcastable to the result. Elements that are not selected are skipped, whatever they hold; ``none`` has 0 there.
    axis : int or tuple of int, optional
        What ``mean`` and ``sum`` reduce over; None reduces over all axes.
    keepdims : bool
        Whether reduced axes stay, with length 1.
    out : numpy.ndarray, optional
        Takes the result: of its exact shape and dtype. It may overlap the inputs. After an error, an `out` that overlaps an input
        is as it was; another one may be partly written.
    n_threads : int, optional
        The most threads to use; None leaves that to `set_num_threads`. The bits do not depend on it.

    Returns
    -------
    numpy scalar or numpy.ndarray
        A scalar for ``mean`` and ``sum`` over all axes, else an array; `out` if it was given. Its dtype is the wider float among
        those of input and target, float64 if there is none.

    Raises
    ------
    TypeError
        For dtypes other than real numbers of at most 64 bits, masked arrays, GPU arrays, unknown options, and a setting with two
        values.
    ValueError
        For a negative or NaN `beta`, an unknown `reduction`, shapes that do not broadcast, and an `out` that does not fit.

    See Also
    --------
    smooth_l1_loss_backward, SmoothL1Loss : its gradient; the same as an object, with gradient and fused passes.

    Notes
    -----
    With d = input - target rounded once in the working dtype (float32, or float64 if an operand has it or both are integers;
    integers are subtracted exactly, an integer beside a float is converted first),

    .. math:: \ell(d) = d^2 / (2 \beta) \text{ if } |d| < \beta \text{ else } |d| - \beta / 2

    which is the Huber loss divided by beta. Each element is within 2 ulp of that formula. ``sum`` is the exact
    sum of the elements' losses and ``mean`` that sum divided by their number (or the sum of the weights), each rounded once. They
    do not depend on the order of summation, the threads or the machine. The mean of nothing is NaN, its sum 0. NaN propagates.

    References
    ----------
    .. [1] R. Girshick, Fast R-CNN, ICCV 2015 (beta = 1).
    .. [2] P. J. Huber, Robust estimation of a location parameter, Ann. Math. Stat., 1964.

    Examples
    --------
    >>> from cylosses import smooth_l1_loss
    >>> prediction, truth = [1.5, 2.0, 0.5], [1.0, 10.0, 0.25]
    >>> smooth_l1_loss(prediction, truth, "none", 1.0)
    array([0.125  , 7.5    , 0.03125])
    >>> float(smooth_l1_loss(prediction, truth, {"reduction": "sum"}))
    7.65625
    """
    if not (size_average is None and reduce is None and options is None):
        reduction, beta = _documented_settings(size_average, reduce, reduction, beta, options)
    return call.value(_SMOOTH_L1, beta, reduction, input, target, weight, where, axis, keepdims, out, n_threads)


# ---- the functions of every loss -------------------------------------------------------------------------------------------------
#
# A function takes the name of its loss and of the loss's parameter. So that adding a loss means adding a class and nothing here,
# the functions are written out from one template for each class of the registry, as dataclasses does it.

_FUNCTION = """
def {name}_loss(
    input, target, {flags}reduction="mean"{declared}, *,
    weight=None, where=None, axis=None, keepdims=False, out=None, n_threads=None,
):
{replace_flags}\
    return call.value({code}, {parameter}, reduction, input, target, weight, where, axis, keepdims, out, n_threads)
"""

_REPLACE_FLAGS = """\
    if not (size_average is None and reduce is None):
        reduction = reduction_of(size_average, reduce, reduction)
"""

_BACKWARD = """
def {name}_loss_backward(
    grad_output, input, target, reduction="mean"{declared}, *,
    wrt="input", weight=None, where=None, axis=None, out=None, n_threads=None,
):
    if grad_output is None:
        raise TypeError("grad_output must be a number or an array, got None")
    return call.gradient(
        {code}, {parameter}, reduction, input, target, grad_output, wrt, weight, where, axis, out, n_threads
    )
"""

_BACKWARD_DOC = """Gradient of `{name}_loss` with respect to input or target, times `grad_output`.

Parameters
----------
grad_output : array_like
    Gradient with respect to the loss: one number, or an array that broadcasts to the result of `{name}_loss`.
input, target : array_like of real numbers
    As in `{name}_loss`.
{settings}
wrt : {{'input', 'target'}}
    The operand to differentiate with respect to.
weight, where, axis : optional
    As in `{name}_loss`. ``mean`` has the same divisor in the gradient.
out : numpy.ndarray, optional
    Takes the gradient: of the shape of that operand and the dtype of the loss. It may overlap the inputs. After an error, an `out`
    that overlaps an input is as it was; another one may be partly written.
n_threads : int, optional
    The most threads to use; None leaves that to `set_num_threads`. The bits do not depend on it.

Returns
-------
numpy.ndarray
    Of the shape of the operand; where it was broadcast, the exact sum of the elements' gradients, rounded once.

Raises
------
TypeError, ValueError
    As `{name}_loss`; ValueError also for a `grad_output` that does not fit the reduction.

Notes
-----
{notes}

References
----------
{references}

Examples
--------
>>> from cylosses import {cls}, {name}_loss_backward
>>> input, target = [1.5, 2.0, 0.5], [1.0, 10.0, 0.5]
>>> gradient = {name}_loss_backward(0.5, input, target, "none")
>>> bool((gradient == 0.5 * {cls}(reduction="none").grad(input, target)).all())
True
"""

_FUNCTION_DOC = """{summary}

Parameters
----------
input, target : array_like of real numbers
    Predictions and true values, of one shape, or of shapes that broadcast (with a `BroadcastWarning` if both have more than one
    element, unless all axes along which they are stretched are axes of an array of parameters). Any layout; arrays are not copied.
    The working dtype is float32, or float64 if an operand has it or both are integers; float16 and bfloat16 compute in float32.
    Integers with integers are subtracted exactly and rounded once.
{settings}
{operands}
Returns
-------
numpy scalar or numpy.ndarray
    A scalar for ``mean`` and ``sum`` over all axes, else an array; `out` if it was given. Its dtype is the wider of the floating
    dtypes of input and target, float64 if there is none.

Raises
------
TypeError
    For dtypes that are not real numbers of at most 64 bits, masked arrays, and arrays outside the CPU's memory.
ValueError
    For an invalid parameter or reduction, shapes that do not broadcast, and an `out` that does not fit.

See Also
--------
{name}_loss_backward : its gradient.
{cls} : the same as an object, with gradient and fused passes.

Notes
-----
{notes} ``sum`` is the exact sum of the elements' losses and ``mean`` that sum divided by their number (or the sum of the weights),
each rounded once. The mean of nothing is NaN, its sum 0. NaN propagates.

References
----------
{references}

Examples
--------
>>> import math
>>> from cylosses import {name}_loss
>>> input, target = [1.5, 2.0, 0.5], [1.0, 10.0, 0.25]
>>> losses = {name}_loss(input, target, "none")
>>> bool({name}_loss(input, target, "sum") == math.fsum(losses))
True
"""


def _sections(doc: str) -> dict[str, str]:
    """Return the parts of a numpydoc docstring by title; the first is called summary."""
    first, _, rest = doc.partition("\n")
    lines = [first, *textwrap.dedent(rest).splitlines()]
    starts = [k for k, line in enumerate(lines[:-1]) if line and set(lines[k + 1]) == {"-"}]
    parts = {"summary": "\n".join(lines[: starts[0]]).strip()}
    for start, stop in zip(starts, [*starts[1:], len(lines)], strict=True):
        parts[lines[start]] = "\n".join(lines[start + 2 : stop]).strip()
    return parts


def _define(cls: type[Loss], operands: str) -> None:
    """Put <name>_loss and <name>_loss_backward of a loss into this module; `operands` documents what all of them have."""
    parameter = cls.parameter_name
    sections = _sections(cls.__doc__ or "")
    settings = sections["Parameters"]
    words = {
        "name": cls.name,
        "cls": cls.__name__,
        "code": cls._code,
        "parameter": parameter or "0.0",
        "declared": f", {parameter}={cls.default!r}" if parameter else "",
        "flags": "size_average=None, reduce=None, " if cls.legacy else "",
        "replace_flags": _REPLACE_FLAGS if cls.legacy else "",
        "summary": sections["summary"],
        "notes": sections["Notes"],
        "references": sections["References"],
        "operands": operands,
    }
    for suffix, source, doc in (("", _FUNCTION, _FUNCTION_DOC), ("_backward", _BACKWARD, _BACKWARD_DOC)):
        name = f"{cls.name}_loss{suffix}"
        __all__.append(name)
        if name in globals():
            continue
        if suffix:  # gradients have no legacy flags
            settings = settings[settings.index("reduction : ") :]
        exec(compile(source.format(**words), f"{__file__} (template)", "exec"), globals())
        globals()[name].__doc__ = doc.format(settings=settings, **words)


_OPERANDS = _sections(smooth_l1_loss.__doc__ or "")["Parameters"].partition("\nweight : ")[2].join(("weight : ", "\n"))
for _cls in LOSSES.values():
    globals()[_cls.__name__] = _cls
    _define(_cls, _OPERANDS)
