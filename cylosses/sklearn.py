"""Linear models, metrics and scorers for scikit-learn: the extra `sklearn`.

`SmoothL1Regressor` is a linear model with any convex loss of `cylosses.LOSSES`; for every loss there are a metric
``mean_<name>_error`` and a scorer ``neg_mean_<name>_error_scorer``, all of which are in `SCORERS`.
"""

import math
import numbers
import warnings
from typing import Any, Self

import numpy as np

from cylosses import LOSSES, Loss, SmoothL1Loss, default_floating_point_mode, get_num_threads

try:
    from scipy.sparse import issparse
    from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils.extmath import safe_sparse_dot
    from sklearn.utils.validation import check_is_fitted, validate_data

    from cylosses import _sklearn_metrics
    from cylosses._fit.design import Design
    from cylosses._fit.objective import Objective
    from cylosses._fit.search import Fit, minimise
    from cylosses._sklearn_checks import checked_weight
    from cylosses._sklearn_metrics import *  # noqa: F403
    from cylosses._weights import ratios
except ModuleNotFoundError as error:
    package = (error.name or "").partition(".")[0]
    if package not in ("sklearn", "scipy"):
        raise
    raise ImportError(
        f"cylosses.sklearn needs the package {package.replace('sklearn', 'scikit-learn')}: pip install 'cylosses[sklearn]'"
    ) from error

__all__ = ["SmoothL1Regressor"]
__all__ += _sklearn_metrics.__all__


class SmoothL1Regressor(MultiOutputMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    r"""Linear regression that is robust to outliers: smooth L1 or another convex loss, with a ridge penalty.

    Parameters
    ----------
    loss : str or Loss
        A loss of `cylosses.LOSSES` by name, with the default of its parameter; or a loss object, as in
        ``loss=HuberLoss(delta=2.0)``, whose reduction must be ``"mean"``. Losses that are not convex, such as ``"tukey"``, are
        refused.
    beta : float
        The beta of ``loss="smooth_l1"``: the error at which the square turns into a line, in the units of y; at least 0. Other
        losses have their parameter in the loss object, and refuse a `beta` other than 1.
    alpha : float
        Weight of the penalty; at least 0. The intercept is not penalised.
    fit_intercept : bool
        Whether the model has an intercept.
    max_iter : int
        The most iterations of L-BFGS for one output; at least 1.
    tol : float
        Accuracy of the search: it ends when no component of the scaled gradient is larger. Neither has a unit: the predictions are
        then off by about `tol` times the spread of y.
    warm_start : bool
        Whether `fit` starts from the coefficients of the last one, which must be of the same shape.
    n_threads : int, optional
        The most threads to use; None leaves that to `cylosses.set_num_threads`. The result does not depend on it.

    Attributes
    ----------
    coef_ : numpy.ndarray
        Shape (n_features,), or (n_outputs, n_features) if y has two axes; of the dtype of X.
    intercept_ : float or numpy.ndarray
        A scalar, or of shape (n_outputs,). 0 without an intercept.
    n_iter_ : int or numpy.ndarray
        Iterations of L-BFGS; of shape (n_outputs,) if y has two axes. A fit of many rows starts from one of a sample, whose
        iterations do not count.
    n_evaluations_ : int or numpy.ndarray
        Evaluations of the objective and its gradient, each one pass over X; like `n_iter_`.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : numpy.ndarray
        Names of the features, if X has names that are all strings.

    Raises
    ------
    TypeError, ValueError
        By `fit`, if parameters or data are invalid.

    Notes
    -----
    For each output, the objective is

    .. math:: \frac{\sum_i s_i \, \ell(x_i \cdot w + b - y_i)}{\sum_i s_i} + \frac{\alpha}{2} \lVert w \rVert^2

    with the sample weights s: the *mean* of the losses, as in `SGDRegressor` and the generalised linear models of scikit-learn, so
    that alpha keeps its meaning when data are added. `HuberRegressor` and `Ridge` have the sum, and no 1/2: their alpha is
    n_samples / 2 times that of the same model here (and Huber's has a scale besides). Weight 0 removes a sample, weight k counts it
    k times.

    float32 data are neither copied nor converted as a whole; coefficients and predictions are float32. CSR arrays are used as they
    are, other sparse formats are converted to CSR. Features need no scaling: the search is preconditioned, which changes its path
    but not its end.

    The losses with a kink, ``"l1"``, ``"quantile"``, ``"epsilon_insensitive"`` and ``"smooth_l1"`` with ``beta=0``, are minimised
    with a parabola in place of the kink, 1e-4 mean absolute residuals to each side. So their objective ends within 5e-5 mean
    absolute residuals of the minimum, usually far closer. scikit-learn's `QuantileRegressor` finds one of the exact solutions, by
    linear programming.

    References
    ----------
    P. J. Huber, Robust regression: asymptotics, conjectures and Monte Carlo, Ann. Statist. 1, 1973. D. C. Liu and J. Nocedal, On
    the limited memory BFGS method for large scale optimization, Math. Program. 45, 1989.

    Examples
    --------
    >>> import numpy as np
    >>> from cylosses.sklearn import SmoothL1Regressor
    >>> X = np.arange(10.0)[:, None]
    >>> y = 2 * X[:, 0] + 1
    >>> y[3] = 1000  # an outlier
    >>> model = SmoothL1Regressor(beta=0.5, alpha=0).fit(X, y)
    >>> bool(abs(model.predict([[20.0]])[0] - 41) < 1)
    True
    """

    def __init__(
        self,
        loss: str | Loss = "smooth_l1",
        *,
        beta: float = 1.0,
        alpha: float = 1e-4,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-6,
        warm_start: bool = False,
        n_threads: int | None = None,
    ) -> None:
        self.loss = loss
        self.beta = beta
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.n_threads = n_threads

    @default_floating_point_mode()
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array_like or sparse array of shape (n_samples, n_features)
            Features; float32 and float64 are used as they are.
        y : array_like of shape (n_samples,) or (n_samples, n_outputs)
            Targets. Each output is fitted on its own.
        sample_weight : array_like of shape (n_samples,) or float, optional
            Not negative, not all 0. Only their ratios matter.

        Returns
        -------
        SmoothL1Regressor
            The estimator itself.
        """
        loss = self._checked_loss()
        alpha, tol = self._checked_number("alpha"), self._checked_number("tol")
        max_iter = self._checked_count("max_iter")
        n_threads = get_num_threads() if self.n_threads is None else self._checked_count("n_threads")
        if issparse(y):
            raise TypeError(f"y must be dense, got {type(y).__name__}: pass y.toarray()")
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], multi_output=True, y_numeric=True)
        if y.dtype not in (np.float64, np.float32):
            y = y.astype(np.float64)
        weight = _weight_of_fit(sample_weight, len(y))
        outputs = y[:, None] if y.ndim == 1 else y
        starts = self._starts(outputs.shape[1], X.shape[1])

        design, fits = Design(X, n_threads), []
        with design.threads():
            for target, start in zip(outputs.T, starts, strict=True):
                objective = Objective(design, np.ascontiguousarray(target), weight, alpha, bool(self.fit_intercept))
                fits.append(minimise(loss, objective, *start, max_iter, tol))
        self._warn_unless_converged(fits)

        coef, intercept = np.array([fit.coef for fit in fits], X.dtype), np.array([fit.intercept for fit in fits], X.dtype)
        n_iter, n_evaluations = np.array([(fit.n_iter, fit.n_evaluations) for fit in fits]).T
        one = y.ndim == 1
        self.coef_ = coef[0] if one else coef
        self.intercept_ = intercept[0] if one else intercept
        self.n_iter_ = int(n_iter[0]) if one else n_iter
        self.n_evaluations_ = int(n_evaluations[0]) if one else n_evaluations
        return self

    @default_floating_point_mode()
    def predict(self, X: Any) -> np.ndarray[Any, Any]:
        """Predict the targets.

        Parameters
        ----------
        X : array_like or sparse array of shape (n_samples, n_features)
            Features.

        Returns
        -------
        numpy.ndarray
            Shape (n_samples,) or (n_samples, n_outputs), as y had it.
        """
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=("csr", "csc", "coo"), dtype=[np.float64, np.float32], reset=False)
        return np.asarray(safe_sparse_dot(X, self.coef_.T, dense_output=True) + self.intercept_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _checked_loss(self) -> Loss:
        """Return the loss object that the parameters name."""
        loss = self.loss
        if isinstance(loss, str):
            if loss not in LOSSES:
                convex = ", ".join(sorted(name for name, cls in LOSSES.items() if cls.convex))
                raise ValueError(f"loss must be one of {convex}, or a loss object; got {loss!r}")
            cls: Any = LOSSES[loss]
            loss = cls(beta=self.beta) if cls is SmoothL1Loss else cls()
        if not isinstance(loss, Loss):
            raise TypeError(f"loss must be the name of a loss or a loss object, as HuberLoss(delta=2.0), got {loss!r}")
        if not loss.convex:
            raise ValueError(f"loss={loss.name!r} is not convex: a fit would depend on where it starts; take a convex loss")
        if loss.reduction != "mean":
            raise ValueError(f"loss must have reduction='mean', as the objective does, got {loss!r}")
        name = loss.parameter_name
        if name is not None and not isinstance(getattr(loss, name), float):
            raise ValueError(
                f"{name} of the loss must be one number, since all outputs are fitted with the same loss; got {loss!r}"
            )
        if self.beta != 1.0 and getattr(loss, "beta", None) != self.beta:
            raise ValueError(
                f"beta={self.beta!r} belongs to loss='smooth_l1', and loss is {loss!r}: set the parameter there and leave beta at 1"
            )
        return loss

    def _checked_number(self, name: str) -> float:
        """Return a parameter that is a number of at least 0."""
        value: Any = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"{name} must be a number of at least 0, got {value!r}")
        number = float(value)
        if not 0 <= number < math.inf:
            raise ValueError(f"{name} must be finite and at least 0, got {value!r}")
        return number

    def _checked_count(self, name: str) -> int:
        """Return a parameter that is an int of at least 1."""
        value: Any = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise TypeError(f"{name} must be an int of at least 1, got {value!r}")
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value!r}")
        return int(value)

    def _starts(self, n_outputs: int, n_features: int) -> list[tuple[Any, float]]:
        """Return where the fit of each output starts: coefficients, or None, and intercept."""
        if not (self.warm_start and hasattr(self, "coef_")):
            return [(None, 0.0)] * n_outputs
        coef, intercept = np.atleast_2d(self.coef_).astype(np.float64), np.atleast_1d(self.intercept_)
        if coef.shape != (n_outputs, n_features):
            raise ValueError(
                f"warm_start=True needs the shapes of the last fit: it had {coef.shape[0]} outputs and {coef.shape[1]} features, "
                f"this one has {n_outputs} and {n_features}"
            )
        return [(row, float(number) if self.fit_intercept else 0.0) for row, number in zip(coef, intercept, strict=True)]

    def _warn_unless_converged(self, fits: list[Fit]) -> None:
        failed = [fit for fit in fits if not fit.converged]
        if not failed:
            return
        worst = max(failed, key=lambda fit: fit.gradient)
        if worst.n_iter >= self.max_iter:
            advice = f"in max_iter={self.max_iter} iterations: increase max_iter, or tol if less accuracy will do"
        else:
            advice = f"to tol, rounding stops it after {worst.n_iter} iterations: increase tol, or alpha if features are collinear"
        warnings.warn(
            f"SmoothL1Regressor did not converge {advice} (scaled gradient {worst.gradient:.2g}, tol={self.tol:.2g})",
            ConvergenceWarning,
            stacklevel=4,  # beyond fit and its decorator
        )


def _weight_of_fit(sample_weight: Any, n_samples: int) -> Any:
    """Return the sample weights as an array whose largest is about 1, or None if there are none."""
    if sample_weight is None:
        return None
    if isinstance(sample_weight, numbers.Real):
        sample_weight = np.full(n_samples, sample_weight)
    return ratios(checked_weight(sample_weight, n_samples))
