# Written by `python -m tools.generate`.

from typing import Any, Literal, TypeAlias

from numpy.typing import ArrayLike

from cylosses._types import Parameter

__all__ = [
    "SCORERS",
    "mean_charbonnier_error",
    "mean_epsilon_insensitive_error",
    "mean_geman_mcclure_error",
    "mean_huber_error",
    "mean_l1_error",
    "mean_mse_error",
    "mean_pseudo_huber_error",
    "mean_quantile_error",
    "mean_smooth_l1_error",
    "mean_tukey_error",
    "neg_mean_charbonnier_error_scorer",
    "neg_mean_epsilon_insensitive_error_scorer",
    "neg_mean_geman_mcclure_error_scorer",
    "neg_mean_huber_error_scorer",
    "neg_mean_l1_error_scorer",
    "neg_mean_mse_error_scorer",
    "neg_mean_pseudo_huber_error_scorer",
    "neg_mean_quantile_error_scorer",
    "neg_mean_smooth_l1_error_scorer",
    "neg_mean_tukey_error_scorer",
]

_MultiOutput: TypeAlias = Literal["uniform_average", "raw_values"] | ArrayLike

SCORERS: dict[str, Any]
neg_mean_smooth_l1_error_scorer: Any
neg_mean_l1_error_scorer: Any
neg_mean_mse_error_scorer: Any
neg_mean_huber_error_scorer: Any
neg_mean_tukey_error_scorer: Any
neg_mean_quantile_error_scorer: Any
neg_mean_epsilon_insensitive_error_scorer: Any
neg_mean_pseudo_huber_error_scorer: Any
neg_mean_charbonnier_error_scorer: Any
neg_mean_geman_mcclure_error_scorer: Any

def mean_smooth_l1_error(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: _MultiOutput = "uniform_average",
    beta: Parameter = 1.0,
) -> Any: ...
def mean_l1_error(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: _MultiOutput = "uniform_average",
) -> Any: ...
def mean_mse_error(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: _MultiOutput = "uniform_average",
) -> Any: ...
def mean_huber_error(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: _MultiOutput = "uniform_average",
    delta: Parameter = 1.0,
) -> Any: ...
def mean_tukey_error(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: _MultiOutput = "uniform_average",
    c: Parameter = 4.685,
) -> Any: ...
def mean_quantile_error(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: _MultiOutput = "uniform_average",
    q: Parameter = 0.5,
) -> Any: ...
def mean_epsilon_insensitive_error(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: _MultiOutput = "uniform_average",
    epsilon: Parameter = 0.1,
) -> Any: ...
def mean_pseudo_huber_error(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: _MultiOutput = "uniform_average",
    delta: Parameter = 1.0,
) -> Any: ...
def mean_charbonnier_error(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: _MultiOutput = "uniform_average",
    eps: Parameter = 0.001,
) -> Any: ...
def mean_geman_mcclure_error(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: _MultiOutput = "uniform_average",
    c: Parameter = 1.0,
) -> Any: ...
