"""The losses as functions with the documented calls of PyTorch's: overloads, legacy flags, reductions."""

from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np

from cylosses._call import check_reduction, reduction_of
from cylosses._kernels import dispatch
from cylosses.losses import SmoothL1Loss

__all__ = ["SmoothL1LossOptions", "smooth_l1_loss", "smooth_l1_loss_backward"]

# Defaults that a call can be told from the same value given explicitly: objects of their own, compared by identity.
_REDUCTION = "".join(("me", "an"))
_BETA = float("1.0")

_SMOOTH_L1 = SmoothL1Loss._code


class SmoothL1LossOptions(TypedDict, total=False):
    """The `options` of `smooth_l1_loss`: any of its settings by name."""

    size_average: bool | None
    reduce: bool | None
    reduction: str
    beta: float


def _differ(a: object, b: object) -> bool:
    return not (a is b or np.array_equal(a, b))  # type: ignore[arg-type]


def _documented_settings(
    size_average: object, reduce: object, reduction: object, beta: object, options: object
) -> tuple[str, object]:
    """Return (reduction, beta) from any of the documented call shapes of smooth_l1_loss."""
    given: dict[str, list[object]] = {"size_average": [], "reduce": [], "reduction": [], "beta": []}
    mappings = [] if options is None else [options]
    if isinstance(size_average, str):  # (input, target, reduction, beta)
        given["reduction"].append(size_average)
        if reduce is not None:
            given["beta"].append(reduce)
    elif isinstance(size_average, Mapping):  # (input, target, options)
        mappings.append(size_average)
        given["reduce"].append(reduce)
    else:
        given["size_average"].append(size_average)
        given["reduce"].append(reduce)
    if reduction is not _REDUCTION:
        given["reduction"].append(reduction)
    if beta is not _BETA:
        given["beta"].append(beta)
    for mapping in mappings:
        if not isinstance(mapping, Mapping):
            raise TypeError(f"options must be a mapping, got {type(mapping).__name__}")
        for key, value in mapping.items():
            if key not in given:
                raise TypeError(f"options has an unknown key {key!r}; {', '.join(given)} are known")
            given[key].append(value)
    settings: dict[str, object] = {"size_average": None, "reduce": None, "reduction": "mean", "beta": 1.0}
    for name, values in given.items():
        values = [value for value in values if value is not None or name in ("reduction", "beta")]
        if any(_differ(value, values[0]) for value in values[1:]):
            raise TypeError(f"{name} is given twice with different values: {' and '.join(map(repr, values))}")
        if values:
            settings[name] = values[0]
    return reduction_of(settings["size_average"], settings["reduce"], settings["reduction"]), settings["beta"]


def smooth_l1_loss(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: Any = _REDUCTION,
    beta: Any = _BETA,
    options: Any = None,
    *,
    out: Any = None,
    n_threads: int | None = None,
) -> Any:
    r"""Smooth L1 loss: squared for errors below `beta`, absolute beyond.

    Parameters
    ----------
    input, target : array_like of real numbers
        Predictions and true values, of one shape, or of shapes that broadcast (with a `BroadcastWarning`). Any layout; arrays
        are not copied.
    size_average, reduce : bool, optional
        Deprecated flags that replace `reduction` if one is given: ``reduce=False`` means ``none``, else ``size_average=False``
        means ``sum``, else ``mean``. In third place, `size_average` may also be a string, then it is the reduction and a number
        in fourth place is beta; or a mapping, then it is `options`.
    reduction : {'mean', 'sum', 'none'}
        What is returned: the mean or the sum over all elements, or the loss of each.
    beta : float
        Error at which the square turns into a line, in the units of the data; at least 0. 0 gives the absolute error. A smaller
        beta is more robust against outliers. Rounded to the working dtype.
    options : mapping, optional
        Any of ``size_average``, ``reduce``, ``reduction``, ``beta`` by name.
    out : numpy.ndarray, optional
        Takes the result: of its exact shape (``()`` for ``mean`` and ``sum``) and dtype. It may overlap the inputs.
    n_threads : int, optional
        At most so many threads; None leaves it to `set_num_threads`. The bits do not depend on it.

    Returns
    -------
    numpy scalar or numpy.ndarray
        A scalar for ``mean`` and ``sum``, an array of the broadcast shape for ``none``; `out` if it was given. Its dtype is the
        wider of the floating dtypes of input and target, float64 if there is none.

    Raises
    ------
    TypeError
        For dtypes that are not real numbers of at most 64 bits, masked arrays, arrays outside the CPU's memory, unknown
        options, and a setting given twice with different values.
    ValueError
        For a negative or NaN `beta`, an unknown `reduction`, shapes that do not broadcast, and an `out` that does not fit.

    See Also
    --------
    smooth_l1_loss_backward : its gradient.
    SmoothL1Loss : the same as an object, with gradient and fused passes.

    Notes
    -----
    With d = input - target rounded once in the working dtype (float32, or float64 if an operand has it or both are integers),

    .. math:: \ell(d) = d^2 / (2 \beta) \text{ if } |d| < \beta \text{ else } |d| - \beta / 2

    (R. Girshick, Fast R-CNN, ICCV 2015, with beta = 1), which is the loss of P. J. Huber, Robust estimation of a location
    parameter, Ann. Math. Stat. 35, 1964, divided by beta. Each element is within 2 ulp of that formula. ``mean`` and ``sum``
    are the exact sum of the elements' losses, divided by their number for the mean, and rounded once: they do not depend on the
    order of summation, the threads or the machine. The mean of nothing is NaN, its sum 0. NaN propagates.

    Examples
    --------
    >>> from cylosses import smooth_l1_loss
    >>> prediction = [1.5, 2.0, 0.5]
    >>> truth = [1.0, 10.0, 0.25]
    >>> smooth_l1_loss(prediction, truth, "none", 1.0)
    array([0.125  , 7.5    , 0.03125])
    >>> float(smooth_l1_loss(prediction, truth, {"reduction": "sum"}))
    7.65625
    """
    if (
        size_average is None
        and reduce is None
        and options is None
        and out is None
        and n_threads is None
        and type(beta) is float
        and (reduction == "mean" or reduction == "sum")
    ):
        value = dispatch.plain_value(_SMOOTH_L1, beta, input, target, reduction == "mean")
        if value is not None:
            return value
    reduction, beta = _documented_settings(size_average, reduce, reduction, beta, options)
    return SmoothL1Loss(reduction=reduction, beta=beta)(input, target, out=out, n_threads=n_threads)


def smooth_l1_loss_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    reduction: Any = "mean",
    beta: Any = 1.0,
    *,
    out: Any = None,
    n_threads: int | None = None,
) -> np.ndarray[Any, Any]:
    r"""Gradient of `smooth_l1_loss` with respect to input, times `grad_output`.

    Parameters
    ----------
    grad_output : array_like
        Gradient with respect to the loss: one number, or for reduction ``none`` an array that broadcasts to the shape of the loss.
    input, target : array_like of real numbers
        As in `smooth_l1_loss`.
    reduction : {'mean', 'sum', 'none'}
        Of the loss. ``mean`` divides the gradient by the number of elements.
    beta : float
        As in `smooth_l1_loss`.
    out : numpy.ndarray, optional
        Takes the gradient.
    n_threads : int, optional
        At most so many threads.

    Returns
    -------
    numpy.ndarray
        Of the shape of input; where input was broadcast, the exact sum of the elements' gradients, rounded once.

    Raises
    ------
    TypeError, ValueError
        As `smooth_l1_loss`; ValueError also for a `grad_output` that does not fit the reduction.

    Notes
    -----
    The derivative is d / beta clipped to [-1, 1]: exactly ±1 from \|d\| = beta on, 0 at d = 0, and sign(d) for beta = 0.

    Examples
    --------
    >>> from cylosses import smooth_l1_loss_backward
    >>> smooth_l1_loss_backward(1.0, [1.5, 2.0, 0.5], [1.0, 10.0, 0.5], "sum")
    array([ 0.5, -1. ,  0. ])
    """
    if grad_output is None:
        raise TypeError("grad_output must be a number or an array, got None")
    loss = SmoothL1Loss(reduction=check_reduction(reduction), beta=beta)
    return loss.grad(input, target, grad_output=grad_output, out=out, n_threads=n_threads)
