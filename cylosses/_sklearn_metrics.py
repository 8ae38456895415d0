"""The losses as metrics and scorers of scikit-learn; public as part of `cylosses.sklearn`.

As in `cylosses.functional`, the functions are written out from one template for each class of the registry.
"""

from typing import Any

import numpy as np
from sklearn.metrics import make_scorer
from sklearn.utils import check_array, check_consistent_length

from cylosses import LOSSES, L1Loss, Loss, default_floating_point_mode
from cylosses._sklearn_checks import checked_weight

__all__ = ["SCORERS"]  # the functions and scorers are added below

SCORERS: dict[str, Any] = {}
"""Scorers by name, as ``scoring=`` takes them: one for each loss, with the default of its parameter."""


def _as_columns(name: str, values: Any) -> Any:
    array = check_array(values, ensure_2d=False, dtype=[np.float64, np.float32], input_name=name)
    return array[:, None] if array.ndim == 1 else array


def _for_each_output(loss: Loss, y_true: Any, y_pred: Any) -> Any:
    """Return the true values, one column of them for each prediction of the same if these have a parameter each."""
    name = loss.parameter_name
    shape = np.shape(getattr(loss, name)) if name else ()
    if not shape:
        return y_true
    try:
        fits = np.broadcast_shapes(shape, y_pred.shape) == y_pred.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name} must broadcast to the shape {y_pred.shape}, got the shape {shape}")
    return np.broadcast_to(y_true, y_pred.shape) if y_true.shape[1] == 1 and shape[-1] == y_pred.shape[1] else y_true


def _mean_error(loss: Loss, y_true: Any, y_pred: Any, sample_weight: Any, multioutput: Any) -> Any:
    """Return the mean loss of each output, or their average."""
    y_true, y_pred = _as_columns("y_true", y_true), _as_columns("y_pred", y_pred)
    check_consistent_length(y_true, y_pred, sample_weight)
    y_true = _for_each_output(loss, y_true, y_pred)
    if y_true.shape != y_pred.shape:
        raise ValueError(f"y_true and y_pred must have as many outputs, got {y_true.shape[1]} and {y_pred.shape[1]}")
    weight = None if sample_weight is None else checked_weight(sample_weight, len(y_true))[:, None]
    if isinstance(multioutput, str):
        if multioutput == "uniform_average":
            return float(loss(y_pred, y_true, weight=weight))
        if multioutput == "raw_values":
            return loss(y_pred, y_true, weight=weight, axis=0)
        raise ValueError(f"multioutput must be 'raw_values', 'uniform_average' or an array, got {multioutput!r}")
    shares = check_array(multioutput, ensure_2d=False, dtype=np.float64, input_name="multioutput")
    if shares.shape != (y_true.shape[1],):
        raise ValueError(f"multioutput must have the shape ({y_true.shape[1]},), one weight an output, got {shares.shape}")
    if shares.min() < 0 or not shares.any():
        raise ValueError(f"multioutput must hold weights that are not negative and not all 0, got {multioutput!r}")
    errors = loss(y_pred, y_true, weight=weight, axis=0)
    return float(L1Loss()(errors.astype(np.float64), np.zeros(len(errors)), weight=shares))  # an exact mean, for none is negative


_METRIC = """
def mean_{name}_error(y_true, y_pred, *, sample_weight=None, multioutput="uniform_average"{declared}):
    return _mean_error({cls}({setting}), y_true, y_pred, sample_weight, multioutput)
"""

_METRIC_DOC = """Mean {name} loss of predictions, exactly summed: `cylosses.{name}_loss` with the signature of scikit-learn.

Parameters
----------
y_true : array_like of shape (n_samples,) or (n_samples, n_outputs)
    True values.
y_pred : array_like of the same shape
    Predictions.
sample_weight : array_like of shape (n_samples,), optional
    Not negative. The mean divides by their sum.
multioutput : {{'uniform_average', 'raw_values'}} or array_like of shape (n_outputs,)
    Whether the errors of all outputs are averaged, returned, or averaged with these weights.
{parameter_doc}
Returns
-------
float or numpy.ndarray
    The mean loss, at least 0 (the best); of shape (n_outputs,) for ``multioutput='raw_values'``.

Raises
------
ValueError
    For shapes that differ, NaN and infinity, negative weights, and an invalid parameter.

Examples
--------
>>> from cylosses import {name}_loss
>>> from cylosses.sklearn import mean_{name}_error
>>> truth, prediction = [1.0, 10.0, 0.5], [1.5, 2.0, 0.5]
>>> mean_{name}_error(truth, prediction) == {name}_loss(prediction, truth)
np.True_
"""


_ONE_EACH = """An array broadcasts with `y_pred`, so that outputs can have one each. `y_true` may then be the one
    target of them all."""


def _define(cls: type[Loss]) -> None:
    """Put the metric and the scorer of a loss into this module."""
    parameter = cls.parameter_name
    meaning = getattr(cls, parameter).__doc__ if parameter else ""
    words = {
        "name": cls.name,
        "cls": cls.__name__,
        "declared": f", {parameter}={cls.default!r}" if parameter else "",
        "setting": f"{parameter}={parameter}" if parameter else "",
        "parameter_doc": f"{parameter} : float or array_like\n    {meaning} {_ONE_EACH}\n" if parameter else "",
    }
    metric, scorer = f"mean_{cls.name}_error", f"neg_mean_{cls.name}_error_scorer"
    exec(compile(_METRIC.format(**words), f"{__file__} (template)", "exec"), globals())
    globals()[metric] = default_floating_point_mode()(globals()[metric])  # the parameter is read in it, too
    globals()[metric].__doc__ = _METRIC_DOC.format(**words)
    globals()[scorer] = SCORERS[scorer.removesuffix("_scorer")] = make_scorer(globals()[metric], greater_is_better=False)
    globals()[scorer].__doc__ = f"Scorer that is minus `{metric}`, so that greater is better, with the default of its parameter."
    __all__.extend((metric, scorer))


for _cls in LOSSES.values():
    globals()[_cls.__name__] = _cls
    _define(_cls)
