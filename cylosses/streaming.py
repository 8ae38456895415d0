"""Exact totals of data that comes in pieces. Decisions, with their reasons:

a. Integers, not floats: a state holds the exact sum of weight times loss and the exact sum of weights, so that neither the cutting
   into pieces nor the order of merging can change a bit.
b. The content of a total never changes. An update makes a new one and puts it in the place of the old one, in a single compiled
   step, which does nothing if another thread was faster: then the update begins again. So there is no half of an update, whatever a
   signal handler raises, and no lock that a forked child could find taken for ever.
c. The slices of sliced data are one content, an array of sums, so that a piece is added to all of them or to none. The price is
   that an update copies the array, some 2 kB a slice.
d. Which axes negative numbers mean is told by the number of dimensions that data has. So the content knows it, once there is data,
   and not the object, which keeps the axes as they were given: equal data has equal content.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from cylosses import _state
from cylosses._core import call
from cylosses._core.convert import text_of_layout
from cylosses._core.totals import Cell, Total
from cylosses._mode import in_default_mode
from cylosses._types import Axis, Numbers
from cylosses.losses import LOSSES, Loss

if TYPE_CHECKING:
    from fractions import Fraction

__all__ = ["StreamingLoss"]

_NOTHING = Total()


def _go_together(axes: tuple[int, ...] | None, others: tuple[int, ...] | None, layout: tuple[int | None, ...] | None) -> bool:
    """Whether a total over these axes may take what another total over other ones holds, data of this layout."""
    if axes is None or others is None:
        return axes is others
    if layout is None:  # nothing, and only data tells which axes negative ones are
        return True
    return sorted(k + len(layout) if k < 0 else k for k in axes) == _state.axes_of(layout)


class StreamingLoss:
    """A mean or sum that is built up from pieces, with the bits of a single call over all of them.

    Parameters
    ----------
    loss : Loss
        With reduction ``mean`` or ``sum``.
    axis : int or tuple of int, optional
        The axes that are summed over, as in the call of a loss; the elements of the others have a total each. By default all axes
        are summed over, whatever their number.

    Raises
    ------
    TypeError
        If `loss` is not a loss object, or `axis` neither an int nor a tuple of them.
    ValueError
        If the reduction is ``none``, or `axis` names an axis twice.

    Notes
    -----
    The state is the exact sum, as an integer. So neither the cutting into pieces nor the order of merging can change a bit. The
    result has the widest dtype that any piece had; float64 before the first.

    With `axis`, pieces have the same number of dimensions, and the same lengths along the axes that are kept. Along the others
    they may have any length, even 0. Negative axes count from the end of the first piece's shape. A total takes some 2 kB of
    memory for each element of the kept axes, and `update` and `merge` copy them, so a few large pieces are faster than many small
    ones.

    Totals are equal (``==``) if they hold the same: loss, exact sums, counts, dtype, and with `axis` the axes and lengths of the
    data. They can be pickled, and `to_bytes` returns some sixty bytes, the same wherever the same data was summed. Threads may
    update one total at the same time, and processes may fork meanwhile. If a signal handler raises an exception during `update`
    or `merge`, the piece has been added as a whole or not at all.

    Examples
    --------
    >>> from cylosses import SmoothL1Loss
    >>> total = SmoothL1Loss().streaming()
    >>> total.update([1.5, 2.0], [1.0, 10.0])
    >>> total.update([0.5], [0.5])
    >>> float(total.compute()), total.count
    (2.5416666666666665, 3)
    >>> total
    <StreamingLoss of SmoothL1Loss(reduction='mean', beta=1.0): count 3, value 2.5416666666666665>

    The mean of each column:

    >>> columns = SmoothL1Loss().streaming(axis=0)
    >>> columns.update([[1.5, 2.0], [0.5, 2.0]], [[1.0, 10.0], [0.5, 2.0]])
    >>> columns.update([[2.0, 2.0]], [[2.0, 2.0]])
    >>> columns.compute(), columns.count
    (array([0.04166667, 2.5       ]), array([3, 3]))
    >>> columns
    <StreamingLoss of SmoothL1Loss(reduction='mean', beta=1.0) over axis 0: data of shape (*, 2), count 6>
    """

    __slots__ = ("_axes", "_cell", "_loss")

    def __init__(self, loss: Loss, axis: Axis = None) -> None:
        if not isinstance(loss, Loss):
            raise TypeError(f"loss must be a loss object such as SmoothL1Loss(), got {type(loss).__name__}")
        if loss.reduction == "none":
            raise ValueError("a loss with reduction='none' has no total: use 'mean' or 'sum'")
        self._loss = loss
        axes = call.axes(axis)
        self._axes = None if axes is None else tuple(sorted(axes))
        self._cell = Cell(_NOTHING)

    @property
    def loss(self) -> Loss:
        """The loss that is summed."""
        return self._loss

    @property
    def axis(self) -> Axis:
        """The axes that are summed over, as they were given: None, an int if it is one, or a tuple."""
        axes = self._axes
        return axes[0] if axes is not None and len(axes) == 1 else axes

    @property
    def count(self) -> Any:
        """How many elements have counted so far: those that `where` selects and whose weight is not 0.

        With `axis`, an int64 array of the kept shape; 0 before the first piece.
        """
        return self._content.count

    def reset(self) -> None:
        """Forget all data.

        Examples
        --------
        >>> from cylosses import L1Loss
        >>> total = L1Loss().streaming()
        >>> total.update([1.0], [4.0])
        >>> total.reset()
        >>> total.count
        0
        """
        while not self._cell.replace(self._content, _NOTHING):
            pass

    def update(
        self,
        input: Numbers,
        target: Numbers,
        weight: Numbers | None = None,
        where: Numbers | None = None,
        *,
        n_threads: int | None = None,
    ) -> None:
        """Add the losses of one piece. If it raises, nothing was added.

        Parameters
        ----------
        input, target, weight, where : array_like
            As in the call of a loss.
        n_threads : int, optional
            The most threads to use.

        Raises
        ------
        TypeError, ValueError
            As in the call of a loss; with `axis`, also if an axis that is kept is not as long as before.
        OverflowError
            If there are more than 2**63 - 1 elements in all.

        Examples
        --------
        >>> from cylosses import L1Loss
        >>> total = L1Loss().streaming()
        >>> total.update([1.0, 2.0], [4.0, 9.0], weight=[3.0, 1.0])
        >>> float(total.compute())
        4.0
        """
        loss = self._loss
        self._add(call.total(loss._code, loss._parameter, input, target, weight, where, self._axes, n_threads))

    def merge(self, other: "StreamingLoss") -> None:
        """Add what another total of the same loss holds; the other is not changed.

        Parameters
        ----------
        other : StreamingLoss
            Of an equal loss (same class, parameter and reduction) and over the same axes. It may be this total itself: then
            everything counts twice.

        Raises
        ------
        TypeError
            If `other` is not a StreamingLoss.
        ValueError
            If it is of another loss, over other axes, or of data whose kept axes have other lengths.
        OverflowError
            If there are more than 2**63 - 1 elements in all.

        Examples
        --------
        >>> from cylosses import L1Loss
        >>> first, second = L1Loss().streaming(), L1Loss().streaming()
        >>> first.update([1.0], [4.0])
        >>> second.update([1.0], [6.0])
        >>> first.merge(second)
        >>> float(first.compute())
        4.0
        """
        if not isinstance(other, StreamingLoss):
            raise TypeError(f"other must be a StreamingLoss, got {type(other).__name__}")
        if other._loss != self._loss:
            raise ValueError(f"a total of {other._loss!r} cannot be merged into one of {self._loss!r}")
        content = other._content
        if not _go_together(self._axes, other._axes, content.layout):
            raise ValueError(f"a total with axis={other.axis} cannot be merged into one with axis={self.axis}")
        self._add(content)

    @in_default_mode
    def compute(self) -> Any:
        """Return the mean or sum of all data so far.

        Returns
        -------
        numpy scalar or ndarray
            NaN for the mean of nothing, 0 for its sum. With `axis`, an array of the kept shape; a scalar if all axes are summed
            over, and before the first piece, which tells the shape.

        Examples
        --------
        >>> from cylosses import MSELoss
        >>> total = MSELoss(reduction="sum").streaming()
        >>> total.update([1.0, 2.0], [4.0, 4.0])
        >>> float(total.compute())
        13.0
        """
        return self._content.rounded(self._is_mean)

    @in_default_mode
    def exact(self) -> Any:
        """Return the mean or sum of all data so far, exactly.

        Returns
        -------
        fractions.Fraction
            What `compute` rounds to the dtype of the data. With `axis`, an object array of fractions, with floats where the total
            is infinite or NaN.

        Raises
        ------
        ValueError
            Without `axis`, for a total that is infinite or NaN, and for the mean of nothing.

        Examples
        --------
        >>> from cylosses import L1Loss
        >>> total = L1Loss().streaming()
        >>> total.update([1.0, 2.0, 4.0], [2.0, 2.0, 2.0])
        >>> total.exact()
        Fraction(1, 1)
        >>> total.update([0.0], [0.0])
        >>> total.exact(), float(total.compute())
        (Fraction(3, 4), 0.75)
        """
        content = self._content
        rounded = content.rounded(self._is_mean)
        exact = [self._fraction_of(losses, weights) for losses, weights, _ in content.parts()]
        if content.layout is not None:
            listed = np.empty(len(exact), object)
            listed[:] = [float(value) if found is None else found for found, value in zip(exact, np.ravel(rounded), strict=True)]
            return listed.reshape(content.shape)[()]
        if exact[0] is None:
            raise ValueError(f"the {self._loss.reduction} is {rounded}, which is no fraction")
        return exact[0]

    @in_default_mode
    def to_bytes(self) -> bytes:
        """Return the state as bytes, to be stored or sent, and read by `from_bytes` on any machine.

        Returns
        -------
        bytes
            Some sixty for ordinary data, and always fewer than a thousand; with `axis`, about as many for each element of the
            kept axes. Totals that are equal have equal bytes. docs/state-format.md describes the format.

        Raises
        ------
        TypeError
            If the loss is of a class that is not in `LOSSES`: nobody could read it back.

        Examples
        --------
        >>> from cylosses import L1Loss, StreamingLoss
        >>> total = L1Loss().streaming()
        >>> total.update([1.0, 2.0], [4.0, 9.0])
        >>> blob = total.to_bytes()
        >>> len(blob)
        50
        >>> StreamingLoss.from_bytes(blob) == total
        True
        """
        if LOSSES.get(self._loss.name) is not type(self._loss):
            raise TypeError(f"only losses of LOSSES have bytes, got {type(self._loss).__name__}")
        return _state.encode(self._loss, self._axes, self._content)

    @classmethod
    @in_default_mode
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> "StreamingLoss":
        """Return the total that `to_bytes` stored.

        Parameters
        ----------
        data : bytes-like
            The result of `to_bytes`.

        Returns
        -------
        StreamingLoss
            If it holds data, its `axis` has no negative numbers.

        Raises
        ------
        TypeError
            If `data` is not bytes-like.
        ValueError
            If it is not a state, is damaged or incomplete, is of an unknown version or loss, or cannot have come from data. The
            message says which.

        Examples
        --------
        >>> from cylosses import L1Loss, StreamingLoss
        >>> blob = L1Loss().streaming().to_bytes()
        >>> StreamingLoss.from_bytes(blob)
        <StreamingLoss of L1Loss(reduction='mean'): count 0, value nan>
        >>> StreamingLoss.from_bytes(blob[:-1])
        Traceback (most recent call last):
        ValueError: truncated state: 47 of 48 bytes are there
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"a state is bytes, got {type(data).__name__}")
        loss, axes, content = _state.decode(bytes(data))
        state = cls(loss, axes)
        state._add(content)
        return state

    @property
    def _content(self) -> Total:
        content: Total = self._cell.content
        return content

    @property
    def _is_mean(self) -> bool:
        return self._loss.reduction == "mean"

    def _add(self, piece: Total) -> None:
        cell = self._cell
        held = cell.content
        while not cell.replace(held, held.plus(piece)):
            held = cell.content

    def _fraction_of(self, losses: tuple[int, int, int], weights: tuple[int, int, int]) -> "Fraction | None":
        """Return the mean or sum that has these parts; None if it is no fraction."""
        from fractions import Fraction  # here, because its import takes longer than that of all of this package

        (n, exponent, special), (m, exponent_of_weights, _) = losses, weights
        if special or (m == 0 and self._is_mean):
            return None
        value = n * Fraction(2) ** exponent
        return value / (m * Fraction(2) ** exponent_of_weights) if self._is_mean else value

    @in_default_mode
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StreamingLoss):
            return NotImplemented
        mine, others = self._content, other._content
        if (self._loss, mine.dtype, mine.layout) != (other._loss, others.dtype, others.layout):
            return False
        # Before the first piece, axes are what was given; afterwards, what the layout says.
        return (mine.layout is not None or self._axes == other._axes) and mine.parts() == others.parts()

    __hash__ = None  # type: ignore[assignment]  # it changes with every update

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_bytes, (self.to_bytes(),)

    @in_default_mode
    def __repr__(self) -> str:
        content = self._content
        if self._axes is None:
            return f"<{type(self).__name__} of {self._loss!r}: count {content.count}, value {content.rounded(self._is_mean)!s}>"
        held = "no data yet"
        if content.layout is not None:
            held = f"data of shape {text_of_layout(content.layout)}, count {sum(np.ravel(content.count).tolist())}"
        return f"<{type(self).__name__} of {self._loss!r} over axis {self.axis}: {held}>"
