"""The evaluation metric: the mean of a loss as boosters want it."""

from typing import Any, Literal

import numpy as np

from cylosses import default_floating_point_mode
from cylosses.boosting.adapter import Adapter
from cylosses.boosting.batch import Batch
from cylosses.boosting.scale import mean
from cylosses.boosting.terms import Terms, loss_of
from cylosses.losses import L1Loss

_BOOSTERS = ("lightgbm", "xgboost", "catboost")


class Metric(Adapter):
    """Weighted mean of a loss as an evaluation metric; lower is better.

    Parameters
    ----------
    loss : str
        Name of the loss, a key of `cylosses.LOSSES`.
    booster : {'lightgbm', 'xgboost', 'catboost'}
        Whose conventions the results follow.
    scale, **parameter
        As of `Objective`. With ``auto`` the parameter is worked out from the targets of each evaluation set by itself; to judge
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
    The mean is exact, with the sum of the weights as divisor, and in the units of the loss: nothing is rescaled. CatBoost adds up
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

        Examples
        --------
        >>> from cylosses.boosting import Metric
        >>> Metric("huber", "xgboost", delta=1.0)([0.0, 0.0], [0.5, 2.0], [3.0, 1.0])
        0.46875
        """
        native = hasattr(y_pred, "get_label")
        batch = Batch.of(y_true, y_pred, sample_weight)
        values = [self._reduced("mean", column, terms) for column, terms in self._columns(batch)]
        value = values[0] if len(values) == 1 else mean(np.array(values))
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
            Both correctly rounded; infinite beyond the range of float64, which float32 weights such as CatBoost's do not reach.

        Examples
        --------
        >>> from cylosses.boosting import Metric
        >>> Metric("huber", "catboost", delta=1.0).evaluate([[0.5, 2.0]], [0.0, 0.0], [3.0, 1.0])
        (1.875, 4.0)
        """
        if len(approxes) != 1:
            raise ValueError(f"the metric is for one prediction a row, got {len(approxes)}")
        batch = Batch.of(target, approxes[0], weight)
        total = self._reduced("sum", batch, self._terms_of_block())
        if batch.weight is None:
            return total, float(len(batch.target))
        return total, float(L1Loss(reduction="sum")(batch.weight, np.zeros(len(batch.weight))))

    def _reduced(self, reduction: Literal["none", "mean", "sum"], batch: Batch, terms: Terms) -> float:
        # In the units of the data, whatever that of the terms.
        loss = loss_of(self.loss, reduction, self._parameter_at(terms.scale))
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

        Examples
        --------
        >>> from cylosses.boosting import Metric
        >>> Metric("huber", "catboost", delta=1.0).get_final_error(1.875, 4.0)
        0.46875
        """
        return error / weight if weight else float("nan")

    def is_max_optimal(self) -> bool:
        """Return False, because lower is better: CatBoost calls this.

        Returns
        -------
        bool

        Examples
        --------
        >>> from cylosses.boosting import Metric
        >>> Metric("huber", "catboost").is_max_optimal()
        False
        """
        return False
