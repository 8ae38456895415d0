"""What is asked of targets and their weights before a number is worked out from all of them."""

from typing import Any

import numpy as np

from cylosses._numbers import real_numbers
from cylosses._types import Array


def checked_targets(name: str, targets: Any, sample_weight: Any, result: str) -> tuple[Array, Array | None]:
    """Return the targets that have a weight, and these weights, in float64; `name` and `result` are for the messages."""
    values = real_numbers(name, targets)
    weights = None if sample_weight is None else real_numbers("sample_weight", sample_weight)
    if values.ndim != 1:
        raise ValueError(f"{name} must be a vector to have one {result}, got shape {values.shape}")
    if weights is not None:
        if weights.shape != values.shape:
            raise ValueError(f"sample_weight has shape {weights.shape}, {name} have {values.shape}")
        if not (np.isfinite(weights) & (weights >= 0)).all():
            raise ValueError("sample_weight must be finite and not negative")
        values, weights = values[weights > 0], weights[weights > 0]
    if values.size == 0:
        raise ValueError(f"{name} must hold at least one number with a weight to have {_article(result)} {result}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite to have {_article(result)} {result}, got NaN or inf")
    return values, weights


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"
