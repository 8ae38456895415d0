"""Exact totals of data that comes in pieces."""

from typing import Any

import numpy as np

from cylosses._call import Call, result_dtype
from cylosses._kernels.dispatch import ExactSum
from cylosses.losses import Loss

__all__ = ["StreamingLoss"]


class StreamingLoss:
    """A mean or sum that is built up from pieces, with the bits of a single call over all of them.

    Parameters
    ----------
    loss : Loss
        With reduction ``mean`` or ``sum``.

    Raises
    ------
    TypeError
        If `loss` is not a loss object.
    ValueError
        If its reduction is ``none``.

    Notes ----- The state is the exact sum as an integer, so neither the cutting into pieces nor the order of merging can change
    a bit. The result has the widest dtype that any piece had; float64 before the first.

    Examples
    --------
    >>> from cylosses import SmoothL1Loss
    >>> total = SmoothL1Loss().streaming()
    >>> total.update([1.5, 2.0], [1.0, 10.0])
    >>> total.update([0.5], [0.5])
    >>> float(total.compute()), total.count
    (2.5416666666666665, 3)
    """

    __slots__ = ("_dtype", "_total", "_weights", "count", "loss")

    def __init__(self, loss: Loss) -> None:
        if not isinstance(loss, Loss):
            raise TypeError(f"loss must be a loss object such as SmoothL1Loss(), got {type(loss).__name__}")
        if loss.reduction == "none":
            raise ValueError("a loss with reduction='none' has no total: use 'mean' or 'sum'")
        self.loss = loss
        self.reset()

    def reset(self) -> None:
        """Forget all data."""
        self._total = ExactSum()
        self._weights = ExactSum()
        self._dtype: np.dtype[Any] | None = None
        self.count = 0

    def _widen(self, dtype: np.dtype[Any] | None) -> None:
        if dtype is not None and self._dtype is not None:
            dtype = result_dtype((np.empty(0, known), False) for known in (self._dtype, dtype))
        self._dtype = dtype or self._dtype

    def update(self, input: Any, target: Any, weight: Any = None, where: Any = None, *, n_threads: int | None = None) -> None:
        """Add the losses of one piece.

        Parameters
        ----------
        input, target, weight, where : array_like
            As in the call of a loss.
        n_threads : int, optional
            At most so many threads.
        """
        call = Call(self.loss, input, target, weight=weight, where=where, n_threads=n_threads)
        self.count += call.add_to(self._total, self._weights)
        self._widen(call.dtype)

    def merge(self, other: "StreamingLoss") -> None:
        """Add what another total of the same loss holds; it stays as it is.

        Parameters
        ----------
        other : StreamingLoss
            Of an equal loss.
        """
        if not isinstance(other, StreamingLoss):
            raise TypeError(f"other must be a StreamingLoss, got {type(other).__name__}")
        if other.loss != self.loss:
            raise ValueError(f"a total of {other.loss!r} cannot be merged into one of {self.loss!r}")
        self._total.merge(other._total)
        self._weights.merge(other._weights)
        self.count += other.count
        self._widen(other._dtype)

    def compute(self) -> Any:
        """Return the mean or sum of all data so far.

        Returns
        -------
        numpy scalar
            NaN for the mean of nothing, 0 for its sum.
        """
        dtype = self._dtype or np.dtype(np.float64)
        return self._total.round_quotient(self._weights if self.loss.reduction == "mean" else None, dtype)
