"""Objectives and evaluation metrics for LightGBM, XGBoost and CatBoost: any loss of the registry.

Decisions, with their reasons (docs/boosting.md has the figures):

a. Nothing of a booster is imported: all three take any object with the right methods. A native call is known by its second
   argument, which holds labels and weights; the scikit-learn interfaces pass three plain arrays.
b. Rows are independent. CatBoost hands over blocks of 1 to 1000 rows in any order, and distributed training a share of them, so
   that gradients must not depend on which other rows are in the call. What depends on all targets is one number, their `scale`.
c. That number rescales gradient and Hessian, both by the same factor: leaf values stay, but ``lambda`` and ``min_child_weight``
   act as they do for squared errors, whatever the unit of the targets.
d. No state that shows. ``"auto"`` is a function of the targets that come with the call; what was worked out is kept, and worked
   out again for other targets, so that copies, folds and second fits see nothing of earlier ones.
e. A booster, or a library beside it, may have left another floating-point mode in the thread that calls. Each public method
   computes in the default one, comparisons included: where subnormal numbers count as 0, different parameters are equal.
f. Plain Python: CatBoost would compile with numba what does not use ``self``, and warns where it cannot; ``no_jit`` says so.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, TypeAlias

import numpy as np

from cylosses import default_floating_point_mode
from cylosses._weights import ratios
from cylosses.losses import LOSSES, L1Loss, Loss

__all__ = ["Metric", "Objective", "robust_scale"]

_Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_BOOSTERS = ("lightgbm", "xgboost", "catboost")

# The parameter "auto" in units of the scale of the targets, where it is not the default of the loss: errors of a fitted model are
# smaller than the spread of the targets, and 1.0 would square most outliers (docs/boosting.md).
_AUTO = {"smooth_l1": 0.2, "huber": 0.2, "pseudo_huber": 0.2}
# Losses whose parameter is no length.
_WITHOUT_UNIT = ("quantile",)
# Majorise-minimise curvature stays at its value for errors of this many scales: below, 1 / |d| would let single rows that fit rule.
_FLOOR = 0.1
# A normal distribution's standard deviation, in units of its median and mean absolute deviations.
_PER_MEDIAN_DEVIATION = 1.482602218505602
_PER_MEAN_DEVIATION = 1.2533141373155003
# Scales above need no other unit.
_LEAST_PLAIN_SCALE = 2.0**-10
# Targets from here on are halved: so their differences, and sums of two, are finite.
_HUGE = 2.0**1022
_LEAST = 5e-324  # the least positive float64
# Datasets whose scales are remembered: training and evaluation sets take turns.
_REMEMBERED = 4


@default_floating_point_mode()
def robust_scale(targets: Any, sample_weight: Any = None) -> float:
    """Return a robust standard deviation of targets, in their units: 1.4826 times the median absolute deviation.

    Parameters
    ----------
    targets : array_like of shape (n,)
        Finite real numbers.
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
    P. J. Rousseeuw and C. Croux, Alternatives to the median absolute deviation, J. Am. Stat. Assoc. 88, 1993.

    Examples
    --------
    >>> from cylosses.boosting import robust_scale
    >>> robust_scale([1.0, 2.0, 3.0, 4.0, 1000.0])
    1.482602218505602
    >>> robust_scale([1.0, 2.0, 3.0], sample_weight=[1, 0, 1]) == robust_scale([1.0, 3.0])
    True
    """
    values = np.asarray(targets, np.float64)
    weights = None if sample_weight is None else np.asarray(sample_weight, np.float64)
    if values.ndim != 1:
        raise ValueError(f"targets must be a vector to have one scale, got shape {values.shape}")
    if weights is not None:
        if weights.shape != values.shape:
            raise ValueError(f"sample_weight has shape {weights.shape}, targets have {values.shape}")
        if not (np.isfinite(weights) & (weights >= 0)).all():
            raise ValueError("sample_weight must be finite and not negative")
        values, weights = values[weights > 0], ratios(weights[weights > 0])
    if values.size == 0:
        raise ValueError("targets must hold at least one number with a weight to have a scale")
    if not np.isfinite(values).all():
        raise ValueError("targets must be finite to have a scale, got NaN or inf")
    unit = 1.0 if np.max(abs(values)) < _HUGE else 2.0
    values = values / unit
    median = _median(values, weights)
    deviations = abs(values - median)
    scale = _PER_MEDIAN_DEVIATION * _median(deviations, weights)
    if scale == 0:
        scale = _PER_MEAN_DEVIATION * _mean(deviations, weights)
    scale *= unit
    return scale if 0 < scale < np.inf else 1.0


def _mean(values: _Array, weights: _Array | None = None) -> float:
    """Return the mean of numbers that are not negative: an exact sum, which does not overflow."""
    return float(L1Loss()(values, np.zeros_like(values), weight=weights))


def _median(values: _Array, weights: _Array | None) -> float:
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


@dataclass(frozen=True)
class _Terms:
    """What a scale makes of a loss."""

    scale: float
    loss: Loss
    unit: float  # of the errors that the loss is given; 1 but for tiny scales
    factor: float  # of the gradient for those errors and of the Hessian
    cap: float  # of the majorise-minimise curvature before that; infinite if it stays below by itself

    @classmethod
    def of(cls, name: str, parameter: float | None, scale: float) -> "_Terms":
        """Return the terms with which an error of `scale` has a majorise-minimise curvature of 1, as half the square has anywhere.

        Where the loss is flat at that error, as Tukey's far out and epsilon-insensitive inside, the curvature at 0 or beyond the
        flat part has to do. A loss that is flat everywhere stays as it is.
        """
        # The core caps 1 / |d| at 2**20, which tiny errors need more of. A power of two rescales them without rounding.
        unit = 1.0 if scale > _LEAST_PLAIN_SCALE else math.ldexp(0.5, math.frexp(scale)[1])
        loss = _loss(name, "sum", None if parameter is None else parameter if name in _WITHOUT_UNIT else parameter / unit)
        twice = 2 * (parameter or 0.0) / unit
        errors = np.array([scale / unit, 0.0, twice if twice < np.inf else 0.0, _FLOOR * scale / unit])
        both_sides = np.stack([errors, -errors])
        slopes, curvatures = loss.grad_and_hess(both_sides, np.zeros_like(both_sides), curvature="mm")
        slope, *_, slope_at_floor = abs(slopes).max(0).tolist()
        *candidates, at_floor = curvatures.max(0).tolist()
        # Nothing to cap where the loss is flat at the floor, for its curvature is bounded then, or flattens out beyond, as Tukey's
        # with a small c, or has no more curvature at 0.
        bounded = at_floor in (0, candidates[1]) or slope_at_floor > slope
        return cls(scale, loss, unit, next((1 / value for value in candidates if value > 0), 1.0), np.inf if bounded else at_floor)


def _loss(name: str, reduction: Literal["none", "mean", "sum"], parameter: float | None) -> Loss:
    cls = LOSSES[name]
    setting: dict[str, Any] = {} if cls.parameter_name is None else {cls.parameter_name: parameter}
    return cls(reduction=reduction, **setting)


@dataclass(frozen=True)
class _Batch:
    """The arrays of one call: predictions and targets of one shape, weights that broadcast to it or None."""

    target: _Array
    prediction: _Array
    weight: _Array | None

    @classmethod
    def of(cls, y_true: Any, y_pred: Any, sample_weight: Any) -> "_Batch":
        """Return the arrays of a call, of the scikit-learn kind or of the native one: predictions, then the data they are for."""
        if hasattr(y_pred, "get_label") and hasattr(y_pred, "get_weight"):
            y_true, y_pred, sample_weight = y_pred.get_label(), y_true, y_pred.get_weight()
            if sample_weight is not None and len(sample_weight) == 0:  # so XGBoost says that there are none
                sample_weight = None
        target, prediction = np.asanyarray(y_true), np.asanyarray(y_pred)  # masked ones are the core's to refuse
        if target.shape != prediction.shape and {target.shape, prediction.shape} == {(target.size,), (target.size, 1)}:
            target = target.reshape(prediction.shape)
        if target.shape != prediction.shape or target.ndim not in (1, 2):
            raise ValueError(
                f"targets of shape {target.shape} and predictions of shape {prediction.shape} must have one shape, (n,) or (n, k)"
            )
        weight = None if sample_weight is None else np.asarray(sample_weight)
        if weight is not None and weight.shape != target.shape[:1]:
            raise ValueError(f"sample_weight of shape {weight.shape} must have one weight for each of {len(target)} rows")
        return cls(target, prediction, weight)

    def same(self, other: "_Batch") -> bool:
        """Whether targets and weights are those of another batch."""
        pairs = ((self.target, other.target), (self.weight, other.weight))
        return all(a is b if a is None or b is None else np.array_equal(a, b) for a, b in pairs)

    def columns(self) -> Iterator["_Batch"]:
        """Yield the batch, or one for each column of several targets."""
        if self.target.ndim == 1:
            yield self
        else:
            for column in range(self.target.shape[1]):
                yield _Batch(self.target[:, column], self.prediction[:, column], self.weight)


class _Adapter:
    """What objectives and metrics share: a loss with a parameter and a scale, each a number or ``"auto"``."""

    __slots__ = ("_fixed", "_parameter", "_remembered", "_scale", "loss")

    no_jit: ClassVar[bool] = True
    """Tells CatBoost to leave the methods as they are."""
    _own: ClassVar[str]  # the attribute and keyword that only this kind has
    loss: str
    """Name of the loss in `LOSSES`."""
    _scale: float | Literal["auto"]
    _parameter: float | Literal["auto"] | None
    _fixed: _Terms | None
    _remembered: tuple[tuple[_Batch, tuple[_Terms, ...]], ...]

    def __init__(self, loss: str, scale: float | Literal["auto"], parameter: dict[str, Any]) -> None:
        asked: object = loss
        if not isinstance(asked, str) or asked not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(map(repr, LOSSES))}, got {loss!r}")
        cls = LOSSES[loss]
        own = cls.parameter_name
        for name in parameter:
            if name != own:
                raise TypeError(f"{loss} has {'no parameter' if own is None else f'the parameter {own!r}'}, got {name!r}")
        given = None
        if own is not None:
            given = parameter.get(own, cls.default if loss in _WITHOUT_UNIT else "auto")
            if not isinstance(given, str):
                given = getattr(_loss(loss, "sum", given), own)  # checked by the loss
            elif given != "auto":
                raise ValueError(f"{own} must be a number or 'auto', got {given!r}")
            elif loss in _WITHOUT_UNIT:
                raise ValueError(f"{own} has no unit that targets could set: it must be a number, got 'auto'")
        put = object.__setattr__
        put(self, "loss", loss)
        put(self, "_scale", _checked_scale(scale))
        put(self, "_parameter", given)
        put(self, "_remembered", ())
        put(self, "_fixed", None if self._scale == "auto" else self._terms(self._scale))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: make a new one instead of setting {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: {name} cannot be deleted")

    @property
    def __name__(self) -> str:
        """Name of the loss, which XGBoost prints."""
        return self.loss

    @property
    def scale(self) -> float | Literal["auto"]:
        """Scale of the targets, in their units, or ``"auto"``."""
        return self._scale

    @property
    def parameter(self) -> float | Literal["auto"] | None:
        """Parameter of the loss, or ``"auto"``; None for a loss without."""
        return self._parameter

    def _settings(self) -> dict[str, Any]:
        parameter = {} if self._parameter is None else {str(LOSSES[self.loss].parameter_name): self._parameter}
        return {"loss": self.loss, self._own: getattr(self, self._own), "scale": self._scale} | parameter

    @default_floating_point_mode()
    def __repr__(self) -> str:
        settings = self._settings()
        first = settings.pop("loss")
        texts = (f"{name}={'float(' + repr('inf') + ')' if value == np.inf else repr(value)}" for name, value in settings.items())
        return f"{type(self).__name__}({', '.join((repr(first), *texts))})"

    @default_floating_point_mode()
    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._settings() == other._settings()

    @default_floating_point_mode()
    def __hash__(self) -> int:
        return hash((type(self), *self._settings().values()))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._settings())

    # Copies of what cannot change are the same, as those of strings are. CatBoost's get_params copies its parameters, and
    # sklearn.base.clone insists on getting those that it set.
    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def _parameter_at(self, scale: float) -> float | None:
        """Return the parameter as a number."""
        if self._parameter != "auto":
            return self._parameter
        return max(_AUTO.get(self.loss, LOSSES[self.loss].default) * scale, _LEAST)  # 0 is no length

    def _terms(self, scale: float) -> _Terms:
        return _Terms.of(self.loss, self._parameter_at(scale), scale)

    def _columns(self, batch: _Batch) -> Iterator[tuple[_Batch, _Terms]]:
        """Yield the targets of a dataset one by one, with their terms, from memory if they were seen before."""
        columns = tuple(batch.columns())
        if self._fixed is not None:
            yield from ((column, self._fixed) for column in columns)
            return
        remembered = self._remembered
        terms = next((known for seen, known in remembered if batch.same(seen)), None)
        if terms is None:
            terms = tuple(self._terms(robust_scale(column.target, column.weight)) for column in columns)
            # A copy, since the caller's arrays may change. One assignment, so that threads see all of it or nothing.
            target, weight = batch.target.copy(), None if batch.weight is None else batch.weight.copy()
            latest = ((_Batch(target, target, weight), terms), *remembered[: _REMEMBERED - 1])
            object.__setattr__(self, "_remembered", latest)
        yield from zip(columns, terms, strict=True)

    def _terms_of_block(self) -> _Terms:
        """Return the terms for a part of a dataset."""
        if self._fixed is None:
            raise ValueError(
                "scale='auto' needs all targets at once, but CatBoost passes them in blocks: "
                f"give {type(self).__name__}(...).for_targets(y, sample_weight) to CatBoost, or scale=<number>"
            )
        return self._fixed

    @default_floating_point_mode()
    def for_targets(self, targets: Any, sample_weight: Any = None) -> Self:
        """Return the same with numbers in place of ``"auto"``, worked out of targets. CatBoost needs them.

        Parameters
        ----------
        targets : array_like of shape (n,)
            The targets of the training.
        sample_weight : array_like of shape (n,), optional
            Their weights.

        Returns
        -------
        Objective or Metric
            Of the class of this one; this one itself is not changed.
        """
        settings = self._settings()
        scale = settings["scale"] = robust_scale(targets, sample_weight) if self._scale == "auto" else self._scale
        if self._parameter is not None:
            settings[str(LOSSES[self.loss].parameter_name)] = self._parameter_at(scale)
        return type(self)(**settings)


def _checked_scale(scale: Any) -> float | Literal["auto"]:
    if isinstance(scale, str) and scale == "auto":
        return "auto"
    try:
        number = float("nan") if isinstance(scale, str | bool) else float(scale)
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 < number < np.inf:
        raise ValueError(f"scale must be a positive number or 'auto', got {scale!r}")
    return number


def _rebuild(cls: type[_Adapter], settings: dict[str, Any]) -> Any:
    return cls(**settings)


class Objective(_Adapter):
    r"""Objective of a loss for LightGBM, XGBoost and CatBoost, in their scikit-learn and native interfaces.

    Parameters
    ----------
    loss : str
        Name of the loss, a key of `cylosses.LOSSES`.
    curvature : {'mm', 'exact', 'ones'}
        What stands for the Hessian: the majorise-minimise bound, the second derivative, or 1. ``mm`` trains for every loss;
        ``exact`` stalls or runs away where a loss is linear, because its second derivative is 0 there.
    scale : float or 'auto'
        Spread of the targets, in their units. ``auto`` is `robust_scale` of the targets, and of the weights, of each call. It is
        not known to CatBoost, which passes parts of the targets only: see `for_targets`.
    **parameter : float or 'auto'
        The parameter of the loss under its name, such as ``beta`` of smooth L1, in units of the targets. ``auto``, the default, is
        0.2 scales for ``smooth_l1``, ``huber`` and ``pseudo_huber``, and the loss's own default times the scale for the others;
        ``q`` of the quantile loss is a number, 0.5 by default.

    Raises
    ------
    ValueError
        If a name is unknown or a number invalid.
    TypeError
        If the loss does not have that parameter.

    Notes
    -----
    With the derivative psi of the loss, the weight w of a row and its error d = prediction - target, gradient and Hessian are

    .. math:: w f \psi(d), \qquad w f \min(\psi(d) / d,\ \psi(s / 10) / (s / 10)) \text{ for mm}

    where s is the scale and f = s / psi(s), so that an error of one scale has the curvature 1 that half a square has everywhere.
    The factor f changes no leaf by itself: gradient and Hessian have it alike. It makes ``lambda``, ``min_child_weight`` and
    ``min_sum_hessian_in_leaf`` mean what they mean for squared errors, in whatever unit the targets are. The bound keeps 1 / \|d\|
    of rows that fit by chance from ruling a leaf. For ``exact`` the Hessian is w f psi'(d), for ``ones`` w.

    Targets that multiply by 1000 give gradients that do, and the same Hessians, if scale and parameter are ``auto``.

    The boosters start far from the targets: LightGBM and CatBoost at 0, XGBoost at 0.5. That is made up for unless the targets lie
    many scales away (CatBoost: ten); then start at their median, as docs/boosting.md shows. For ``tukey`` it is
    advisable anyway, because it ignores errors beyond c.

    An objective has no state: it may serve several models and threads. It is immutable, comparable, hashable and picklable, and
    survives `sklearn.base.clone`.

    References
    ----------
    D. R. Hunter and K. Lange, Quantile regression via an MM algorithm, J. Comput. Graph. Stat. 9, 2000.

    Examples
    --------
    >>> from cylosses.boosting import Objective
    >>> objective = Objective("huber", scale=2.0, delta=1.0)
    >>> gradient, hessian = objective(np.array([0.0, 0.0, 0.0]), np.array([0.5, -2.0, 8.0]))
    >>> gradient
    array([ 1., -2.,  2.])
    >>> hessian
    array([2.  , 1.  , 0.25])
    >>> Objective("smooth_l1").for_targets([1.0, 2.0, 3.0, 4.0, 1000.0])
    Objective('smooth_l1', curvature='mm', scale=1.482602218505602, beta=0.2965204437011204)
    """

    __slots__ = ("curvature",)

    _own = "curvature"
    curvature: Literal["exact", "mm", "ones"]
    """What stands for the Hessian."""

    @default_floating_point_mode()
    def __init__(
        self,
        loss: str = "smooth_l1",
        curvature: Literal["exact", "mm", "ones"] = "mm",
        scale: float | Literal["auto"] = "auto",
        **parameter: float | Literal["auto"],
    ) -> None:
        _loss("l1", "sum", None).grad_and_hess(0.0, 0.0, curvature=curvature)  # refuses what it does not know
        object.__setattr__(self, "curvature", curvature)
        super().__init__(loss, scale, parameter)

    # LightGBM counts the parameters, XGBoost looks for the name of the third: no fewer, no more, no other name.
    @default_floating_point_mode()
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tuple[_Array, _Array]:
        """Return gradient and Hessian: LightGBM and XGBoost call this.

        Parameters
        ----------
        y_true : array_like of shape (n,) or (n, k)
            Targets. In the native interfaces: predictions.
        y_pred : array_like of the same shape
            Predictions. In the native interfaces: the ``Dataset`` or ``DMatrix`` that holds targets and weights.
        sample_weight : array_like of shape (n,), optional
            Weights of the rows.

        Returns
        -------
        tuple of (gradient, Hessian)
            Of that shape, in the wider dtype of targets and predictions. Each of k columns has its own ``auto``.
        """
        batch = _Batch.of(y_true, y_pred, sample_weight)
        derivatives = [self._derivatives(column, terms) for column, terms in self._columns(batch)]
        if batch.target.ndim == 1:
            return derivatives[0]
        gradients, hessians = zip(*derivatives, strict=True)
        return np.stack(gradients, 1), np.stack(hessians, 1)

    @default_floating_point_mode()
    def calc_ders_range(self, approxes: Any, targets: Any, weights: Any) -> _Array:
        """Return minus gradient and minus Hessian as an array of shape (n, 2): CatBoost, which maximises, calls this.

        Parameters
        ----------
        approxes, targets : array_like of shape (n,)
            Predictions and targets of some rows.
        weights : array_like of shape (n,) or None
            Their weights.

        Returns
        -------
        numpy.ndarray
        """
        batch = _Batch.of(targets, approxes, weights)
        pairs = np.empty((len(batch.target), 2))
        for column, derivative in enumerate(self._derivatives(batch, self._terms_of_block())):
            np.negative(derivative, out=pairs[:, column])
        return pairs

    def _derivatives(self, batch: _Batch, terms: _Terms) -> tuple[_Array, _Array]:
        """Return gradient and Hessian for one target."""
        prediction, target = batch.prediction, batch.target
        if terms.unit != 1:
            prediction, target = prediction / terms.unit, target / terms.unit
        gradient, hessian = terms.loss.grad_and_hess(prediction, target, curvature=self.curvature, weight=batch.weight)
        gradient *= terms.factor * terms.unit
        if self.curvature == "mm" and terms.cap < np.inf:
            with np.errstate(over="ignore"):  # no cap is needed then
                cap = terms.cap if batch.weight is None else terms.cap * batch.weight
            np.minimum(hessian, cap, out=hessian)
        if self.curvature != "ones":
            hessian *= terms.factor
        return gradient, hessian

    @default_floating_point_mode()
    def metric(self, booster: str) -> "Metric":
        """Return the metric of the same loss, parameter and scale.

        Parameters
        ----------
        booster : {'lightgbm', 'xgboost', 'catboost'}
            Whose conventions it follows.

        Returns
        -------
        Metric
        """
        settings = self._settings()
        del settings[self._own]
        return Metric(booster=booster, **settings)


class Metric(_Adapter):
    """Weighted mean of a loss as an evaluation metric; less is better.

    Parameters
    ----------
    loss : str
        Name of the loss, a key of `cylosses.LOSSES`.
    booster : {'lightgbm', 'xgboost', 'catboost'}
        Whose conventions the results follow.
    scale, **parameter
        As of `Objective`. With ``auto`` the parameter is worked out of the targets of each evaluation set by itself; to judge
        several sets by one loss, use `for_targets` or give a number. CatBoost needs that. Losses without a parameter, and given
        ones, need no scale.

    Raises
    ------
    ValueError
        If a name is unknown or a number invalid.
    TypeError
        If the loss does not have that parameter.

    Notes
    -----
    The mean is exact, with the sum of the weights as divisor, and in units of the loss: nothing is rescaled. CatBoost adds up
    blocks in its own way. XGBoost rounds every metric to six digits after the point.

    Examples
    --------
    >>> from cylosses.boosting import Metric
    >>> Metric("huber", "xgboost", delta=1.0)([0.0, 0.0], [0.5, 2.0])
    0.8125
    >>> Metric("huber", "lightgbm", delta=1.0)([0.0, 0.0], [0.5, 2.0])
    ('huber', 0.8125, False)
    """

    __slots__ = ("booster",)

    _own = "booster"
    booster: str
    """Whose conventions the results follow."""

    @default_floating_point_mode()
    def __init__(
        self,
        loss: str = "smooth_l1",
        booster: str = "lightgbm",
        scale: float | Literal["auto"] = "auto",
        **parameter: float | Literal["auto"],
    ) -> None:
        if booster not in _BOOSTERS:
            raise ValueError(f"booster must be 'lightgbm', 'xgboost' or 'catboost', got {booster!r}")
        object.__setattr__(self, "booster", booster)
        super().__init__(loss, scale, parameter)
        if self._fixed is None and self._parameter != "auto":  # the scale is for the parameter alone, here
            object.__setattr__(self, "_fixed", self._terms(1.0))

    @default_floating_point_mode()
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float | tuple[str, float] | tuple[str, float, bool]:
        """Return the mean loss in the form that the booster wants.

        Parameters
        ----------
        y_true, y_pred, sample_weight
            As of `Objective`.

        Returns
        -------
        float or tuple
            For LightGBM (name, value, False); for XGBoost and CatBoost the value, in XGBoost's native interface (name, value). The
            mean over k columns is that of their values.
        """
        native = hasattr(y_pred, "get_label")
        batch = _Batch.of(y_true, y_pred, sample_weight)
        values = [self._reduced("mean", column, terms) for column, terms in self._columns(batch)]
        value = values[0] if len(values) == 1 else _mean(np.array(values))
        if self.booster == "lightgbm":
            return self.loss, value, False
        return (self.loss, value) if native else value

    @default_floating_point_mode()
    def evaluate(self, approxes: Any, target: Any, weight: Any) -> tuple[float, float]:
        """Return the sums of weight times loss and of the weights, of some rows: CatBoost calls this.

        Parameters
        ----------
        approxes : sequence of one array_like of shape (n,)
            Predictions.
        target : array_like of shape (n,)
            Targets.
        weight : array_like of shape (n,) or None
            Weights.

        Returns
        -------
        tuple of (float, float)
            Both are correctly rounded; infinite beyond the range of float64, where float32 weights, as CatBoost's are, do not get.
        """
        if len(approxes) != 1:
            raise ValueError(f"the metric is for one prediction a row, got {len(approxes)}")
        batch = _Batch.of(target, approxes[0], weight)
        total = self._reduced("sum", batch, self._terms_of_block())
        if batch.weight is None:
            return total, float(len(batch.target))
        return total, float(L1Loss(reduction="sum")(batch.weight, np.zeros(len(batch.weight))))

    def _reduced(self, reduction: Literal["none", "mean", "sum"], batch: _Batch, terms: _Terms) -> float:
        loss = _loss(self.loss, reduction, self._parameter_at(terms.scale))  # in the units of the data, whatever that of the terms
        return float(loss(batch.prediction, batch.target, weight=batch.weight))

    @default_floating_point_mode()
    def get_final_error(self, error: float, weight: float) -> float:
        """Return the mean of the sums: CatBoost calls this.

        Parameters
        ----------
        error, weight : float
            Sums over all rows of what `evaluate` returned.

        Returns
        -------
        float
            NaN if nothing has a weight.
        """
        return error / weight if weight else float("nan")

    def is_max_optimal(self) -> bool:
        """Return False, less is better: CatBoost calls this.

        Returns
        -------
        bool
        """
        return False
