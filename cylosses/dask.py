"""Losses, gradients and scores of Dask arrays and DataFrames, lazy: the extra `dask`.

Decisions, with their reasons (docs/dask.md shows the use):

a. Means and sums are exact totals of blocks (`cylosses.StreamingLoss`), merged along a tree and rounded once, at its root. So
   neither chunks, tree, scheduler nor workers, nor a worker that dies and whose tasks run again, can change a bit of a result.
b. The gradient of a mean needs its exact divisor before any block is derived. Where lengths are known and there is neither weight
   nor mask, it is their product, and nothing waits. Otherwise weights and mask are read first, and then input and target, once.
c. Workers run several tasks at a time, each on its own block, so a block has one thread.
d. What can be known before anything is computed is checked then, by the library itself: it gets one element of each dtype. So an
   error is raised where the call stands, and `meta` has the right dtype without a look at data.
"""

from typing import Any

from cylosses import Loss, default_floating_point_mode
from cylosses._types import Axis, Curvature, Operand

try:
    from cylosses._dask import blocks, derivatives, functions, groups, quantiles, totals
    from cylosses._dask.functions import *  # noqa: F403
    from cylosses._dask.operands import Operands
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "dask":
        raise
    raise ImportError("cylosses.dask needs the package dask: pip install 'cylosses[dask]'") from error

__all__ = ["grad", "grad_and_hess", "loss", "robust_scale", "score_by", "total", "value_and_grad"]
__all__ += functions.__all__


@default_floating_point_mode()
def loss(
    loss: Loss,
    input: Any,
    target: Any,
    *,
    weight: Any = None,
    where: Any = None,
    axis: Axis = None,
    keepdims: bool = False,
    n_threads: int | None = 1,
    split_every: int | dict[int, int] | None = None,
) -> Any:
    """Return the loss of Dask arrays, reduced as the loss object says.

    Parameters
    ----------
    loss : Loss
        Such as ``SmoothL1Loss(beta=0.5)``.
    input, target : dask.array.Array or array_like of real numbers
        Predictions and true values: Dask arrays, columns of Dask DataFrames, NumPy arrays, lists, numbers. They broadcast as in
        the call of a loss, with its `BroadcastWarning`, and are cut alike where their chunks differ. Chunks of unknown sizes must
        have the same sizes in all operands.
    weight, where : dask.array.Array or array_like, optional
        As in the call of a loss.
    axis : int or tuple of int, optional
        What ``mean`` and ``sum`` reduce over. Where these axes are cut, each block has an exact total, of 2 kB, for each element of
        the other axes: if there are many, take chunks with whole axes, as ``input.rechunk({axis: -1})`` does.
    keepdims : bool
        Whether reduced axes stay, with length 1.
    n_threads : int, optional
        Threads of one block; None leaves it to `cylosses.set_num_threads`.
    split_every : int or dict, optional
        How many totals are merged in a task, as in Dask's own reductions. Changes no bit of the result.

    Returns
    -------
    dask.array.Array
        Of the shape, dtype and bits of ``loss(input, target, ...)`` in memory. ``none`` keeps the chunks.

    Raises
    ------
    TypeError, ValueError
        As the call of a loss, and before anything is computed; except for invalid weights, and for chunks of unknown sizes that
        differ.

    Examples
    --------
    >>> import dask.array as da
    >>> import cylosses.dask
    >>> from cylosses import SmoothL1Loss
    >>> prediction, truth = da.arange(6, chunks=4, dtype=float), da.zeros(6, chunks=3)
    >>> cylosses.dask.loss(SmoothL1Loss(), prediction, truth).compute()
    np.float64(2.0833333333333335)
    >>> cylosses.dask.loss(SmoothL1Loss(reduction="none"), prediction, truth)
    dask.array<cylosses-value, shape=(6,), dtype=float64, chunksize=(3,), chunktype=numpy.ndarray>
    """
    operands = Operands.of(loss, input, target, weight, where, n_threads)
    return totals.value(loss, operands, axis, keepdims, split_every)


@default_floating_point_mode()
def total(
    loss: Loss,
    input: Any,
    target: Any,
    *,
    weight: Any = None,
    where: Any = None,
    n_threads: int | None = 1,
    split_every: int | dict[int, int] | None = None,
) -> Any:
    """Return the exact total of Dask arrays, to be stored, or merged with those of other data.

    Parameters
    ----------
    loss : Loss
        With reduction ``mean`` or ``sum``.
    input, target, weight, where, n_threads, split_every
        As in `loss`.

    Returns
    -------
    dask.delayed.Delayed
        Computes to a `cylosses.StreamingLoss`.

    Raises
    ------
    TypeError, ValueError
        As `loss`, and for the reduction ``none``.

    Examples
    --------
    >>> import dask.array as da
    >>> import cylosses.dask
    >>> from cylosses import L1Loss
    >>> cylosses.dask.total(L1Loss(), da.arange(6, chunks=4), 0).compute()
    <StreamingLoss of L1Loss(reduction='mean'): count 6, value 2.5>
    """
    operands = Operands.of(loss, input, target, weight, where, n_threads)
    axes = totals.axes_of(loss, None, operands)
    held = operands.blockwise(blocks.total, object, loss=loss, axes=axes)
    return totals.reduced(held, axes, False, object, split_every, blocks.merged).to_delayed().item()


@default_floating_point_mode()
def grad(
    loss: Loss,
    input: Any,
    target: Any,
    *,
    grad_output: Any = None,
    wrt: Operand = "input",
    weight: Any = None,
    where: Any = None,
    axis: Axis = None,
    n_threads: int | None = 1,
    split_every: int | dict[int, int] | None = None,
) -> Any:
    """Return the gradient of the reduced loss of Dask arrays with respect to input or target.

    Parameters
    ----------
    loss, input, target, weight, where, axis, n_threads, split_every
        As in `loss`.
    grad_output : dask.array.Array, array_like, number or fractions.Fraction, optional
        Factor of the gradient, as in `Loss.grad`. 1 by default.
    wrt : {'input', 'target'}
        The operand to differentiate with respect to.

    Returns
    -------
    dask.array.Array
        Of the shape of the operand, with the bits of ``loss.grad(...)`` in memory, in the chunks of `input` and `target`. Where the
        operand was broadcast, the exact sum, rounded once; if the axes along which it was broadcast are cut, that takes 4 kB for
        each element of the operand in a block.

    Raises
    ------
    TypeError, ValueError
        As `loss`; for a `grad_output` that does not fit; for a Python number as the operand beside float16, since it has no dtype.

    Notes
    -----
    ``mean`` divides by the exact sum of the weights, or by the number of elements that are selected, of all blocks. Without weight
    and mask, and with known lengths, that is known at once. Otherwise the blocks of weight and mask are read first, and stay until
    their gradients are computed; with unknown chunk sizes those of all operands do.

    Examples
    --------
    >>> import dask.array as da
    >>> import cylosses.dask
    >>> from cylosses import MSELoss
    >>> cylosses.dask.grad(MSELoss(), da.arange(4, chunks=2, dtype=float), 0.0).compute()
    array([0. , 0.5, 1. , 1.5])
    """
    operands = Operands.of(loss, input, target, weight, where, n_threads)
    return derivatives.gradient(loss, operands, grad_output, wrt, axis, split_every)


@default_floating_point_mode()
def value_and_grad(
    loss: Loss,
    input: Any,
    target: Any,
    *,
    weight: Any = None,
    where: Any = None,
    axis: Axis = None,
    n_threads: int | None = 1,
    split_every: int | dict[int, int] | None = None,
) -> tuple[Any, Any]:
    """Return the loss of Dask arrays and its gradient with respect to input; one task computes both of a block.

    Parameters
    ----------
    loss, input, target, weight, where, axis, n_threads, split_every
        As in `loss`.

    Returns
    -------
    tuple of (value, gradient)
        Dask arrays, with the bits of `loss` and of `grad`. Compute or store them together, as ``dask.compute(value, gradient)``
        does: then each block of input and target is read once.

    Raises
    ------
    TypeError, ValueError
        As `loss` and `grad`.

    Examples
    --------
    >>> import dask
    >>> import dask.array as da
    >>> import cylosses.dask
    >>> from cylosses import MSELoss
    >>> prediction = da.arange(4, chunks=2, dtype=float)
    >>> value, gradient = cylosses.dask.value_and_grad(MSELoss(), prediction, 0.0)
    >>> dask.compute(value, gradient)
    (np.float64(3.5), array([0. , 0.5, 1. , 1.5]))
    """
    operands = Operands.of(loss, input, target, weight, where, n_threads)
    return derivatives.value_and_gradient(loss, operands, axis, split_every)


@default_floating_point_mode()
def grad_and_hess(
    loss: Loss,
    input: Any,
    target: Any,
    *,
    grad_output: Any = None,
    curvature: Curvature = "exact",
    weight: Any = None,
    where: Any = None,
    n_threads: int | None = 1,
    split_every: int | dict[int, int] | None = None,
) -> tuple[Any, Any]:
    """Return gradient and diagonal Hessian of the reduced loss of Dask arrays with respect to input.

    Parameters
    ----------
    loss, input, target, weight, where, n_threads, split_every
        As in `loss`.
    grad_output
        Factor of both, as in `grad`.
    curvature : {'exact', 'mm', 'ones'}
        What stands for the Hessian, as in `Loss.grad_and_hess`.

    Returns
    -------
    tuple of (gradient, Hessian)
        Dask arrays of the shape of input, with the bits of ``loss.grad_and_hess(...)`` in memory. One task computes both of a
        block.

    Raises
    ------
    TypeError, ValueError
        As `loss` and `grad`; for an unknown curvature.

    Examples
    --------
    >>> import dask
    >>> import dask.array as da
    >>> import cylosses.dask
    >>> from cylosses import HuberLoss
    >>> prediction = da.arange(4, chunks=2, dtype=float)
    >>> parts = cylosses.dask.grad_and_hess(HuberLoss(reduction="sum"), prediction, 0.5)
    >>> dask.compute(*parts)
    (array([-0.5,  0.5,  1. ,  1. ]), array([1., 1., 0., 0.]))
    """
    operands = Operands.of(loss, input, target, weight, where, n_threads)
    return derivatives.gradient_and_hessian(loss, operands, grad_output, curvature, split_every)


@default_floating_point_mode()
def score_by(
    frame: Any,
    predicted: Any,
    observed: Any,
    *,
    by: Any,
    loss: Any,
    weight: Any = None,
    where: Any = None,
    n_threads: int | None = 1,
    split_every: int | None = None,
) -> Any:
    """Return the loss of each group of the rows of a Dask DataFrame.

    Parameters
    ----------
    frame : dask.dataframe.DataFrame
        Its index is not used.
    predicted, observed : hashable
        Names of the columns of predictions and true values.
    by : hashable, or list of them
        Names of the columns whose values make a group. Missing values are values like any other, and come last.
    loss : Loss, list of Loss, or dict
        Losses with reduction ``mean`` or ``sum``; each has a column, under its name (``"smooth_l1"``) or its key.
    weight, where : hashable, optional
        Names of the columns of weights, and of a mask.
    n_threads, split_every
        As in `loss`.

    Returns
    -------
    dask.dataframe.DataFrame
        Of one partition: a row for each group, in the order of the keys, which are the index; a column for each loss, and
        ``count``, the number of rows that count. A loss has the bits of a call for the rows of the group, whatever the partitions.

    Raises
    ------
    TypeError, ValueError
        If `frame` is not a Dask DataFrame, a loss not a loss, or a name not a column of the frame; and as the call of a loss.

    Examples
    --------
    >>> import dask.dataframe as dd
    >>> import pandas as pd
    >>> import cylosses.dask
    >>> from cylosses import L1Loss, MSELoss
    >>> predictions, observations = [1.0, 2.0, 3.0, 4.0], [1.5, 2.0, 1.0, 4.0]
    >>> frame = pd.DataFrame({"fold": [2, 1, 2, 1], "yhat": predictions, "y": observations})
    >>> frame = dd.from_pandas(frame, npartitions=2)
    >>> losses = [L1Loss(), MSELoss()]
    >>> lazy = cylosses.dask.score_by(frame, "yhat", "y", by="fold", loss=losses)
    >>> lazy.compute().reset_index().to_dict("list")
    {'fold': [1, 2], 'l1': [0.0, 1.25], 'mse': [0.0, 2.125], 'count': [2, 2]}
    """
    columns = {"predicted": predicted, "observed": observed, "weight": weight, "where": where}
    return groups.score(frame, columns, by, loss, n_threads, split_every)


@default_floating_point_mode()
def robust_scale(targets: Any, sample_weight: Any = None) -> float:
    """Return `cylosses.boosting.robust_scale` of a Dask array, from exact medians, which take sixteen passes over it.

    Parameters
    ----------
    targets : dask.array.Array or array_like of shape (n,)
        Finite real numbers. Persist what is costly to load: ``targets = targets.persist()``.
    sample_weight : dask.array.Array or array_like of shape (n,), optional
        Finite and not negative.

    Returns
    -------
    float
        The same number as for targets in memory, except with weights near the ends of float64, whose ratios are rounded there.

    Raises
    ------
    TypeError, ValueError
        As `cylosses.boosting.robust_scale`.

    Notes
    -----
    This computes at once, with the scheduler that is in use. `cylosses.boosting.Objective.for_targets` of a Dask array calls it.

    Examples
    --------
    >>> import dask.array as da
    >>> import cylosses.dask
    >>> cylosses.dask.robust_scale(da.from_array([1.0, 2.0, 3.0, 4.0, 1000.0], chunks=2))
    1.482602218505602
    """
    return quantiles.robust_scale(targets, sample_weight)
