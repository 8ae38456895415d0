"""The objective: gradient and Hessian as boosters want them."""

from typing import Any, Literal

import numpy as np

from cylosses import default_floating_point_mode
from cylosses._numbers import real_numbers
from cylosses._types import Array
from cylosses.boosting.adapter import Adapter
from cylosses.boosting.batch import Batch
from cylosses.boosting.location import location
from cylosses.boosting.metric import Metric
from cylosses.boosting.scale import robust_scale
from cylosses.boosting.targets import checked_targets
from cylosses.boosting.terms import Terms, loss_of


class Objective(Adapter):
    r"""Objective of a loss for LightGBM, XGBoost and CatBoost, in their scikit-learn and native interfaces.

    Parameters
    ----------
    loss : str
        Name of the loss, a key of `cylosses.LOSSES`.
    curvature : {'mm', 'exact', 'ones'}
        What stands for the Hessian: the majorise-minimise bound, the second derivative, or 1. ``mm`` trains for every loss;
        ``exact`` stalls or runs away where a loss is linear, because its second derivative is 0 there.
    scale : float or 'auto'
        Spread of the targets, in their units. ``auto`` is `robust_scale` of the targets and weights of each call. CatBoost passes
        only parts of the targets, so it needs a number: see `for_targets`.
    **parameter : float or 'auto'
        The parameter of the loss under its name, such as ``beta`` of smooth L1, in units of the targets. ``auto``, the default, is
        the scale times the ``boosting_default`` of the loss: 0.2 for ``smooth_l1``, ``huber`` and ``pseudo_huber``, and the
        ordinary default for the others. ``q`` of the quantile loss is not a length, but a number, 0.5 by default.

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

    where s is the scale and f = s / psi(s), so that an error of one scale has curvature 1, as half a square has everywhere. The
    factor f by itself changes no leaf, because gradient and Hessian both have it. It makes ``lambda``, ``min_child_weight`` and
    ``min_sum_hessian_in_leaf`` mean what they mean for squared errors, whatever the unit of the targets. The bound keeps rows that
    fit by chance, whose 1 / \|d\| is huge, from dominating a leaf. For ``exact`` the Hessian is w f psi'(d), for ``ones`` w.

    If scale and parameter are ``auto``, targets 1000 times as large give gradients 1000 times as large, and the same Hessians.

    The boosters start far from the targets: LightGBM and CatBoost at 0, XGBoost at 0.5. Give them the `initial_score` of the
    targets, as docs/boosting.md shows. Then no rounds are lost, and targets many scales away train like any others, even with
    ``tukey``, which ignores errors beyond c.

    An objective has no state: it may serve several models and threads. It is immutable, comparable, hashable and picklable, and
    survives `sklearn.base.clone`.

    References
    ----------
    .. [1] D. R. Hunter and K. Lange, Quantile regression via an MM algorithm, J. Comput. Graph. Stat. 9, 2000.

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
        loss_of("l1", "sum", None).grad_and_hess(0.0, 0.0, curvature=curvature)  # refuses what it does not know
        object.__setattr__(self, "curvature", curvature)
        super().__init__(loss, scale, parameter)

    # LightGBM counts the parameters, XGBoost looks for the name of the third: no fewer, no more, no other name.
    @default_floating_point_mode()
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tuple[Array, Array]:
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

        Examples
        --------
        >>> from cylosses.boosting import Objective
        >>> Objective("huber", scale=2.0, delta=1.0)([0.0, 0.0], [0.5, 8.0], [1.0, 3.0])
        (array([1., 6.]), array([2.  , 0.75]))
        """
        batch = Batch.of(y_true, y_pred, sample_weight)
        derivatives = [self._derivatives(column, terms) for column, terms in self._columns(batch)]
        if batch.target.ndim == 1:
            return derivatives[0]
        gradients, hessians = zip(*derivatives, strict=True)
        return np.stack(gradients, 1), np.stack(hessians, 1)

    @default_floating_point_mode()
    def calc_ders_range(self, approxes: Any, targets: Any, weights: Any) -> Array:
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

        Examples
        --------
        >>> from cylosses.boosting import Objective
        >>> Objective("mse", scale=1.0).calc_ders_range([0.5, 2.0], [0.0, 0.0], None)
        array([[-0.5, -1. ],
               [-2. , -1. ]])
        """
        batch = Batch.of(targets, approxes, weights)
        pairs = np.empty((len(batch.target), 2))
        for column, derivative in enumerate(self._derivatives(batch, self._terms_of_block())):
            np.negative(derivative, out=pairs[:, column])
        return pairs

    def _derivatives(self, batch: Batch, terms: Terms) -> tuple[Array, Array]:
        """Return gradient and Hessian for one target."""
        prediction, target = batch.prediction, batch.target
        if terms.unit != 1:
            prediction, target = prediction / terms.unit, target / terms.unit
        scaled = self.curvature != "ones"  # which are to stay 1
        gradient, hessian = terms.loss.grad_and_hess(
            prediction, target, grad_output=terms.factor if scaled else None, curvature=self.curvature, weight=batch.weight
        )
        remaining = terms.unit if scaled else terms.unit * terms.factor
        if remaining != 1:
            gradient *= remaining
        if self.curvature == "mm" and terms.cap < np.inf:
            with np.errstate(over="ignore"):  # no cap is needed then
                cap = terms.cap * terms.factor
                np.minimum(hessian, cap if batch.weight is None else cap * batch.weight, out=hessian)
        return gradient, hessian

    @default_floating_point_mode()
    def initial_score(self, y: Any, sample_weight: Any = None) -> Any:
        """Return the constant that minimises the loss of targets, from which a booster starts best.

        Parameters
        ----------
        y : array_like of shape (n,) or (n, k)
            The targets of the training, finite.
        sample_weight : array_like of shape (n,), optional
            Finite and not negative. Weight 0 removes a target, weight k counts it k times (for the losses that are curved or not
            convex, to an ulp or two).

        Returns
        -------
        float or numpy.ndarray of shape (k,)
            The float64 with the least total loss, for losses that are made of lines and parabolas in exact arithmetic: the median
            for ``l1``, the mean for ``mse``, a quantile for ``quantile``, Huber's location for ``huber`` and ``smooth_l1``. If
            several numbers are equally good, the middle of them, as for the median of an even number of targets; for a ``q`` of 0
            or 1, the least or the greatest target. For ``pseudo_huber`` and ``charbonnier``, the number where the gradient changes
            its sign, computed with twice the digits of float64. For the losses that are not convex, ``tukey`` and
            ``geman_mcclure``, about the local minimum that iteratively reweighted least squares reach from the median: to some 12
            digits. Equal targets are returned as they are.

        Raises
        ------
        ValueError
            If shapes do not fit, a target or weight is not finite, a weight is negative, or nothing has a weight.

        Notes
        -----
        The curvature and the scale of the objective do not matter, but an ``auto`` parameter is worked out from these targets, as
        `for_targets` does. docs/boosting.md shows how to give it to each booster.

        Examples
        --------
        >>> from cylosses.boosting import Objective
        >>> Objective("l1").initial_score([1.0, 2.0, 3.0, 10.0])
        2.5
        >>> Objective("huber", delta=2.0).initial_score([1.0, 2.0, 3.0, 10.0])
        2.6666666666666665
        >>> Objective("mse").initial_score([1.0, 2.0, 3.0], sample_weight=[1, 0, 3])
        2.5
        """
        targets = real_numbers("y", y)
        if targets.ndim == 2:
            return np.array([self.initial_score(column, sample_weight) for column in targets.T])
        values, weights = checked_targets("y", targets, sample_weight, "initial score")
        parameter = self._parameter
        if parameter == "auto":
            parameter = self._parameter_at(robust_scale(values, weights) if self._scale == "auto" else self._scale)
        return location(loss_of(self.loss, "sum", parameter), values, weights)

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

        Examples
        --------
        >>> from cylosses.boosting import Objective
        >>> Objective("huber", scale=2.0, delta=1.0).metric("xgboost")
        Metric('huber', booster='xgboost', scale=2.0, delta=1.0)
        """
        settings = self._settings()
        del settings[self._own]
        return Metric(booster=booster, **settings)
