"""The robust scale of targets, from which boosters get the length of an ordinary error."""

import math
from bisect import bisect_left
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from cylosses import default_floating_point_mode
from cylosses._types import Array
from cylosses._weights import ratios
from cylosses.boosting.targets import checked_targets
from cylosses.losses import L1Loss

# A normal distribution's standard deviation, in units of its median and mean absolute deviations.
_PER_MEDIAN_DEVIATION = 1.482602218505602
_PER_MEAN_DEVIATION = 1.2533141373155003
# Targets from here on are halved: so their differences, and sums of two, are finite.
_HUGE = 2.0**1022


@default_floating_point_mode()
def robust_scale(targets: Any, sample_weight: Any = None) -> float:
    """Return a robust standard deviation of targets, in their units: 1.4826 times the median absolute deviation.

    Parameters
    ----------
    targets : array_like of shape (n,)
        Finite real numbers; a Dask array goes to `cylosses.dask.robust_scale`.
    sample_weight : array_like of shape (n,), optional
        Finite and not negative. Weight 0 removes a target, weight k counts it k times; only the ratios of weights matter.

    Returns
    -------
    float
        If more than half of the targets are equal, so that the median deviation is 0: 1.2533 times their mean absolute deviation
        from the median; if all are equal: 1.0. Always positive.

    Raises
    ------
    ValueError
        If shapes do not fit, a target or weight is not finite, a weight is negative, or nothing has a weight.

    Notes
    -----
    For normal targets both factors give the standard deviation.

    References
    ----------
    .. [1] P. J. Rousseeuw and C. Croux, Alternatives to the median absolute deviation, J. Am. Stat. Assoc. 88, 1993.

    Examples
    --------
    >>> from cylosses.boosting import robust_scale
    >>> robust_scale([1.0, 2.0, 3.0, 4.0, 1000.0])
    1.482602218505602
    >>> robust_scale([1.0, 2.0, 3.0], sample_weight=[1, 0, 1]) == robust_scale([1.0, 3.0])
    True
    """
    if hasattr(targets, "__dask_graph__"):
        from cylosses import dask

        return dask.robust_scale(targets, sample_weight)
    values, weights = checked_targets("targets", targets, sample_weight, "scale")
    weights = None if weights is None else ratios(weights)
    return scale_from(values, float(np.max(abs(values))), partial(median, weights=weights), partial(mean, weights=weights))


def scale_from(values: Any, largest: float, median: Callable[[Any], float], mean: Callable[[Any], float]) -> float:
    """Return the scale of numbers, in memory or lazy, whose largest magnitude is given, by the means to take medians and means."""
    unit = 1.0 if largest < _HUGE else 2.0
    values = values / unit
    deviations = abs(values - median(values))
    scale = _PER_MEDIAN_DEVIATION * median(deviations)
    if scale == 0:
        scale = _PER_MEAN_DEVIATION * mean(deviations)
    scale *= unit
    return scale if 0 < scale < np.inf else 1.0


def mean(values: Array, weights: Array | None = None) -> float:
    """Return the mean of numbers that are not negative: an exact sum, which does not overflow."""
    return float(L1Loss()(values, np.zeros_like(values), weight=weights))


def median(values: Array, weights: Array | None) -> float:
    """Return the median; with weights that of each value repeated so often."""
    if weights is None:
        return float(np.median(values))
    order = np.argsort(values, kind="stable")
    order = order[weights[order] > 0]
    ordered = weights[order]

    def balance(last: int) -> float:
        """Return the weight of the values up to one minus that of the others, of the sign of the exact difference."""
        return math.fsum((*ordered[: last + 1].tolist(), *(-ordered[last + 1 :]).tolist()))

    # Half of the weight is reached where the rounded sums reach it, within their error.
    below = np.cumsum(ordered)
    error = 2 * len(ordered) * np.finfo(np.float64).eps
    near, beyond = np.searchsorted(below, below[-1] / 2 * np.array([1 - error, 1 + error])).tolist()
    first = near + bisect_left(range(near, beyond), 0.0, key=balance)
    last = first + 1 if first < beyond and balance(first) == 0 else first
    return float(values[order[first]] if first == last else (values[order[first]] + values[order[last]]) / 2)
