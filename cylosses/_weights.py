"""Sample weights of which only the ratios matter, brought to a range in which their sums and products are finite."""

from typing import Any

import numpy as np

from cylosses._types import Array


def ratios(weight: Any) -> Array:
    """Return weights times the power of two that brings the largest into [0.5, 1).

    That is exact but for weights below 2**-1022 of the largest. Ordinary weights keep every bit of what depends on their ratios
    only: their sums, products and quotients are the same numbers times powers of two.

    Parameters
    ----------
    weight : array_like
        Finite numbers.

    Returns
    -------
    numpy.ndarray
        A new array of float64; zeros if all weights are 0.
    """
    weights = np.asarray(weight, np.float64)
    _, exponent = np.frexp(np.max(np.abs(weights), initial=0.0))
    with np.errstate(under="ignore"):
        return np.asarray(np.ldexp(weights, -exponent))
