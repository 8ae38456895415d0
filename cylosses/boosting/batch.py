"""What a booster passes in one call, as arrays."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cylosses._types import Array


@dataclass(frozen=True)
class Batch:
    """The arrays of one call: predictions and targets of one shape, weights that broadcast to it or None."""

    target: Array
    prediction: Array
    weight: Array | None

    @classmethod
    def of(cls, y_true: Any, y_pred: Any, sample_weight: Any) -> "Batch":
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

    def same(self, other: "Batch") -> bool:
        """Whether targets and weights are those of another batch."""
        pairs = ((self.target, other.target), (self.weight, other.weight))
        return all(a is b if a is None or b is None else np.array_equal(a, b) for a, b in pairs)

    def columns(self) -> Iterator["Batch"]:
        """Yield the batch, or one for each column of several targets."""
        if self.target.ndim == 1:
            yield self
        else:
            for column in range(self.target.shape[1]):
                yield Batch(self.target[:, column], self.prediction[:, column], self.weight)
