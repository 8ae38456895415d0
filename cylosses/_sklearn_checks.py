"""What `cylosses.sklearn` asks of sample weights, in estimator and metrics alike."""

from typing import Any

import numpy as np
from sklearn.utils import check_array


def checked_weight(sample_weight: Any, n_samples: int) -> Any:
    """Return sample weights as a contiguous vector of floats; the messages are scikit-learn's, or name the argument as it does."""
    weight = check_array(sample_weight, ensure_2d=False, dtype=[np.float64, np.float32], order="C", input_name="sample_weight")
    if weight.ndim != 1:
        raise ValueError(f"Sample weights must be 1D array or scalar, got {weight.ndim}D array for {n_samples} samples")
    if weight.shape != (n_samples,):
        raise ValueError(f"sample_weight must have the shape ({n_samples},), got {weight.shape}")
    if weight.min() < 0:
        raise ValueError(f"sample_weight must not be negative, got {float(weight.min())!r}")
    if not weight.any():
        raise ValueError("every sample_weight is zero: at least one must be positive")
    return weight
