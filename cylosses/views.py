"""The Cython face: exact regression losses on typed memoryviews, for ``cimport`` without the GIL, and for Python.

Functions write to arrays that the caller has, and allocate none. From Cython, ``from cylosses.views cimport ...`` takes contiguous
memoryviews of float32 or float64. From Python, the same functions take any object with the buffer protocol: NumPy arrays,
`array.array`, `memoryview`. The guide is ``docs/c-api.md``. For arrays of any shape, layout and dtype there is
`cylosses.functional`, whose results are the same bits.

Examples
--------
>>> from array import array
>>> from cylosses import views
>>> from cylosses.capi import LossCode, Reduction
>>> input, target = array("d", [1.5, 2.0, 0.5]), array("d", [1.0, 10.0, 0.5])
>>> views.value(LossCode.SMOOTH_L1, 1.0, Reduction.MEAN, input, target)
2.5416666666666665
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylosses._views.functions import LossAccumulator, quantities, run
from cylosses.capi import Reduction

if TYPE_CHECKING:
    from typing_extensions import Buffer
else:
    Buffer = Any

__all__ = [
    "LossAccumulator",
    "elementwise_value",
    "gradient",
    "gradient_along_axis",
    "gradient_and_hessian",
    "gradient_and_hessian_along_axis",
    "value",
    "value_along_axis",
    "value_and_gradient",
    "value_and_gradient_along_axis",
]

_VALUE, _ELEMENTWISE_VALUE, _GRADIENT, _VALUE_AND_GRADIENT, _GRADIENT_AND_HESSIAN = quantities


def value(
    loss: int, parameter: float, reduction: int, input: Buffer, target: Buffer, weight: Buffer | None = None, n_threads: int = 1
) -> float:
    """Return the exact sum or mean of a loss, rounded once.

    Parameters
    ----------
    loss : LossCode
        A loss, as `cylosses.capi.LossCode` numbers them.
    parameter : float
        Its parameter; 0 for a loss without one.
    reduction : Reduction
        `cylosses.capi.Reduction.MEAN` or ``SUM``.
    input, target : buffer of shape (n,)
        C-contiguous, of float32 or float64, the same for both.
    weight : buffer of shape (n,), optional
        Finite, not negative. Weight 0 removes an element, even a NaN; weight k counts it k times.
    n_threads : int, optional
        The most threads to use; 0 means as many as `cylosses.set_num_threads` allows.

    Returns
    -------
    float
        Rounded to the dtype of the arrays. The sum of nothing is 0, its mean NaN.

    Raises
    ------
    TypeError
        If an argument is of the wrong type or an array of the wrong dtype.
    ValueError
        If a loss, a parameter or another number is not one of those above, an array has the wrong shape or layout, a weight is
        negative, infinite or NaN, or an output overlaps another array without being the same as an input.

    Notes
    -----
    With the differences :math:`d_i` of input and target, the sum is :math:`\\sum_i w_i L(d_i)`, the mean that over
    :math:`\\sum_i w_i`. The formulas :math:`L` and their sources are in the docstrings of the functions of `cylosses`, such as
    `cylosses.huber_loss`, which give the same bits.

    Examples
    --------
    >>> import numpy as np
    >>> from cylosses import views
    >>> from cylosses.capi import LossCode, Reduction
    >>> input, target = np.array([1.5, 2.0, 0.5]), np.array([1.0, 10.0, 0.5])
    >>> views.value(LossCode.SMOOTH_L1, 1.0, Reduction.MEAN, input, target)
    2.5416666666666665
    >>> views.value(LossCode.SMOOTH_L1, 1.0, Reduction.SUM, input, target, weight=np.array([2.0, 0.0, 1.0]))
    0.25
    """
    return run(_VALUE, loss, parameter, reduction, 0, None, n_threads, input, target, weight)


def elementwise_value(
    loss: int, parameter: float, input: Buffer, target: Buffer, value_out: Buffer, weight: Buffer | None = None, n_threads: int = 1
) -> None:
    """Write weight times loss of each element.

    Parameters
    ----------
    value_out : buffer of shape (n,)
        Takes the losses. May be one of the inputs itself.
    loss, parameter, input, target, weight, n_threads
        As of `value`.

    Raises
    ------
    TypeError, ValueError
        As `value`.

    Examples
    --------
    >>> import numpy as np
    >>> from cylosses import views
    >>> from cylosses.capi import LossCode
    >>> input, target = np.array([1.5, 2.0, 0.5]), np.array([1.0, 10.0, 0.5])
    >>> views.elementwise_value(LossCode.SMOOTH_L1, 1.0, input, target, input)
    >>> input
    array([0.125, 7.5  , 0.   ])
    """
    run(_ELEMENTWISE_VALUE, loss, parameter, Reduction.MEAN, 0, None, n_threads, input, target, weight, value_out)


def gradient(
    loss: int,
    parameter: float,
    reduction: int,
    input: Buffer,
    target: Buffer,
    gradient_out: Buffer,
    weight: Buffer | None = None,
    n_threads: int = 1,
) -> None:
    """Write the gradient of the sum or mean with respect to the input.

    Parameters
    ----------
    gradient_out : buffer of shape (n,)
        Takes the gradient with respect to `input`. May be one of the inputs itself.
    loss, parameter, reduction, input, target, weight, n_threads
        As of `value`.

    Raises
    ------
    TypeError, ValueError
        As `value`.

    Examples
    --------
    >>> import numpy as np
    >>> from cylosses import views
    >>> from cylosses.capi import LossCode, Reduction
    >>> input, target = np.array([1.5, 2.0, 0.5]), np.array([1.0, 10.0, 0.5])
    >>> gradient_out = np.empty(3)
    >>> views.gradient(LossCode.SMOOTH_L1, 1.0, Reduction.SUM, input, target, gradient_out)
    >>> gradient_out
    array([ 0.5, -1. ,  0. ])
    """
    run(_GRADIENT, loss, parameter, reduction, 0, None, n_threads, input, target, weight, None, gradient_out)


def value_and_gradient(
    loss: int,
    parameter: float,
    reduction: int,
    input: Buffer,
    target: Buffer,
    gradient_out: Buffer,
    weight: Buffer | None = None,
    n_threads: int = 1,
) -> float:
    """Return the sum or mean and write its gradient, from one pass over the arrays.

    Parameters
    ----------
    gradient_out : buffer of shape (n,)
        Takes the gradient with respect to `input`. May be one of the inputs itself.
    loss, parameter, reduction, input, target, weight, n_threads
        As of `value`.

    Returns
    -------
    float
        As `value`.

    Raises
    ------
    TypeError, ValueError
        As `value`.

    Examples
    --------
    >>> import numpy as np
    >>> from cylosses import views
    >>> from cylosses.capi import LossCode, Reduction
    >>> input, target = np.array([1.5, 2.0, 0.5]), np.array([1.0, 10.0, 0.5])
    >>> gradient_out = np.empty(3)
    >>> views.value_and_gradient(LossCode.SMOOTH_L1, 1.0, Reduction.SUM, input, target, gradient_out)
    7.625
    >>> gradient_out
    array([ 0.5, -1. ,  0. ])
    """
    return run(_VALUE_AND_GRADIENT, loss, parameter, reduction, 0, None, n_threads, input, target, weight, None, gradient_out)


def gradient_and_hessian(
    loss: int,
    parameter: float,
    reduction: int,
    curvature: int,
    input: Buffer,
    target: Buffer,
    gradient_out: Buffer,
    hessian_out: Buffer,
    weight: Buffer | None = None,
    n_threads: int = 1,
) -> None:
    """Write gradient and diagonal of the Hessian of the sum or mean, from one pass over the arrays.

    Parameters
    ----------
    curvature : Curvature
        `cylosses.capi.Curvature`: the second derivative itself, the bound of IRLS, or ones.
    gradient_out : buffer of shape (n,)
        Takes the gradient with respect to `input`. May be one of the inputs itself.
    hessian_out : buffer of shape (n,)
        Takes the diagonal of the Hessian. May be another of the inputs.
    loss, parameter, reduction, input, target, weight, n_threads
        As of `value`.

    Raises
    ------
    TypeError, ValueError
        As `value`.

    Examples
    --------
    >>> import numpy as np
    >>> from cylosses import views
    >>> from cylosses.capi import Curvature, LossCode, Reduction
    >>> input, target = np.array([1.5, 2.0, 0.5]), np.array([1.0, 10.0, 0.5])
    >>> gradient_out, hessian_out = np.empty((2, 3))
    >>> codes = LossCode.SMOOTH_L1, 1.0, Reduction.SUM, Curvature.MM_CURVATURE
    >>> views.gradient_and_hessian(*codes, input, target, gradient_out, hessian_out)
    >>> hessian_out
    array([1.   , 0.125, 1.   ])
    """
    run(
        _GRADIENT_AND_HESSIAN,
        loss,
        parameter,
        reduction,
        curvature,
        None,
        n_threads,
        input,
        target,
        weight,
        None,
        gradient_out,
        hessian_out,
    )


def value_along_axis(
    loss: int,
    parameter: float,
    reduction: int,
    axis: int,
    input: Buffer,
    target: Buffer,
    value_out: Buffer,
    weight: Buffer | None = None,
    n_threads: int = 1,
) -> None:
    """Write the exact sum or mean of each row or column.

    Each has the bits of `value` on that row or column alone.

    Parameters
    ----------
    axis : int
        The axis that is summed over: 1 or -1 for a result for each row, 0 or -2 for one for each column.
    value_out : buffer of shape (rows,) or (columns,)
        Takes a value for each row or column. Overlaps no other array.
    loss, parameter, reduction, input, target, weight, n_threads
        As of `value`, but arrays have the shape (rows, columns).

    Raises
    ------
    TypeError, ValueError
        As `value`; also if `axis` is none of those.

    Examples
    --------
    >>> import numpy as np
    >>> from cylosses import views
    >>> from cylosses.capi import LossCode, Reduction
    >>> input, target = np.array([[3.0, 1.0], [1.0, 5.0]]), np.zeros((2, 2))
    >>> value_out = np.empty(2)
    >>> views.value_along_axis(LossCode.L1, 0.0, Reduction.MEAN, 1, input, target, value_out)
    >>> value_out
    array([2., 3.])
    """
    run(_VALUE, loss, parameter, reduction, 0, axis, n_threads, input, target, weight, value_out)


def gradient_along_axis(
    loss: int,
    parameter: float,
    reduction: int,
    axis: int,
    input: Buffer,
    target: Buffer,
    gradient_out: Buffer,
    weight: Buffer | None = None,
    n_threads: int = 1,
) -> None:
    """Write the gradients of the sums or means of rows or columns.

    Each row or column has the bits of `gradient` on it alone.

    Parameters
    ----------
    gradient_out : buffer of shape (rows, columns)
        Takes the gradient with respect to `input`. May be one of the inputs itself.
    loss, parameter, reduction, axis, input, target, weight, n_threads
        As of `value_along_axis`; errors are the same, too.

    Examples
    --------
    >>> import numpy as np
    >>> from cylosses import views
    >>> from cylosses.capi import LossCode, Reduction
    >>> input, target = np.array([[3.0, 1.0], [1.0, 5.0]]), np.zeros((2, 2))
    >>> gradient_out = np.empty((2, 2))
    >>> views.gradient_along_axis(LossCode.L1, 0.0, Reduction.MEAN, 1, input, target, gradient_out)
    >>> gradient_out
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """
    run(_GRADIENT, loss, parameter, reduction, 0, axis, n_threads, input, target, weight, None, gradient_out)


def value_and_gradient_along_axis(
    loss: int,
    parameter: float,
    reduction: int,
    axis: int,
    input: Buffer,
    target: Buffer,
    value_out: Buffer,
    gradient_out: Buffer,
    weight: Buffer | None = None,
    n_threads: int = 1,
) -> None:
    """Write sum or mean and its gradient for each row or column, from one pass over the arrays.

    Each has the bits of `value_and_gradient` on that row or column alone.

    Parameters
    ----------
    value_out : buffer of shape (rows,) or (columns,)
        Takes a value for each row or column. Overlaps no other array.
    gradient_out : buffer of shape (rows, columns)
        Takes the gradient with respect to `input`. May be one of the inputs itself.
    loss, parameter, reduction, axis, input, target, weight, n_threads
        As of `value_along_axis`; errors are the same, too.

    Examples
    --------
    >>> import numpy as np
    >>> from cylosses import views
    >>> from cylosses.capi import LossCode, Reduction
    >>> input, target = np.array([[3.0, 1.0], [1.0, 5.0]]), np.zeros((2, 2))
    >>> value_out = np.empty(2)
    >>> views.value_and_gradient_along_axis(LossCode.L1, 0.0, Reduction.SUM, 0, input, target, value_out, input)
    >>> value_out, input
    (array([4., 6.]), array([[1., 1.],
           [1., 1.]]))
    """
    run(_VALUE_AND_GRADIENT, loss, parameter, reduction, 0, axis, n_threads, input, target, weight, value_out, gradient_out)


def gradient_and_hessian_along_axis(
    loss: int,
    parameter: float,
    reduction: int,
    curvature: int,
    axis: int,
    input: Buffer,
    target: Buffer,
    gradient_out: Buffer,
    hessian_out: Buffer,
    weight: Buffer | None = None,
    n_threads: int = 1,
) -> None:
    """Write gradient and diagonal of the Hessian of the sum or mean of each row or column.

    Each has the bits of `gradient_and_hessian` on that row or column alone.

    Parameters
    ----------
    curvature : Curvature
        `cylosses.capi.Curvature`: the second derivative itself, the bound of IRLS, or ones.
    gradient_out : buffer of shape (rows, columns)
        Takes the gradient with respect to `input`. May be one of the inputs itself.
    hessian_out : buffer of shape (rows, columns)
        Takes the diagonal of the Hessian. May be another of the inputs.
    loss, parameter, reduction, axis, input, target, weight, n_threads
        As of `value_along_axis`; errors are the same, too.

    Examples
    --------
    >>> import numpy as np
    >>> from cylosses import views
    >>> from cylosses.capi import Curvature, LossCode, Reduction
    >>> input, target = np.array([[3.0, 1.0], [1.0, 5.0]]), np.zeros((2, 2))
    >>> gradient_out, hessian_out = np.empty((2, 2, 2))
    >>> codes = LossCode.MSE, 0.0, Reduction.MEAN, Curvature.EXACT_CURVATURE, 0
    >>> views.gradient_and_hessian_along_axis(*codes, input, target, gradient_out, hessian_out)
    >>> gradient_out
    array([[3., 1.],
           [1., 5.]])
    """
    run(
        _GRADIENT_AND_HESSIAN,
        loss,
        parameter,
        reduction,
        curvature,
        axis,
        n_threads,
        input,
        target,
        weight,
        None,
        gradient_out,
        hessian_out,
    )
