"""Exact totals of data that comes in pieces. Decisions, with their reasons:

a. Integers, not floats: a state holds the exact sum of weight times loss and the exact sum of weights, so that neither the cutting
   into pieces nor the order of merging can change a bit.
b. The content of a total never changes. An update makes a new one and puts it in the place of the old one, in a single compiled
   step, which does nothing if another thread was faster: then the update begins again. So there is no half of an update, whatever a
   signal handler raises, and no lock that a forked child could find taken for ever.
"""

from typing import TYPE_CHECKING, Any

from cylosses import _state
from cylosses._core import call
from cylosses._core.totals import Cell, Total
from cylosses._mode import in_default_mode
from cylosses._types import Numbers
from cylosses.losses import LOSSES, Loss

if TYPE_CHECKING:
    from fractions import Fraction

__all__ = ["StreamingLoss"]

_NOTHING = Total()


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

    Notes
    -----
    The state is the exact sum as an integer, so neither the cutting into pieces nor the order of merging can change a bit. The
    result has the widest dtype that any piece had; float64 before the first.

    Totals are equal (``==``) if they hold the same: loss, exact sums, count and dtype. They can be pickled, and `to_bytes` gives
    some sixty bytes that are the same wherever the same data was summed. Threads may update one total at the same time, and
    processes may fork meanwhile. If a signal handler raises an exception during `update` or `merge`, the piece has been added whole
    or not at all.

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
    """

    __slots__ = ("_cell", "_loss")

    def __init__(self, loss: Loss) -> None:
        if not isinstance(loss, Loss):
            raise TypeError(f"loss must be a loss object such as SmoothL1Loss(), got {type(loss).__name__}")
        if loss.reduction == "none":
            raise ValueError("a loss with reduction='none' has no total: use 'mean' or 'sum'")
        self._loss = loss
        self._cell = Cell(_NOTHING)

    @property
    def loss(self) -> Loss:
        """The loss that is summed."""
        return self._loss

    @property
    def count(self) -> int:
        """Number of elements so far that count: selected by `where`, and with a weight other than 0."""
        return int(self._content.count)

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
            At most so many threads.

        Raises
        ------
        TypeError, ValueError
            As in the call of a loss.
        OverflowError
            If more than 2**63 - 1 elements came together.

        Examples
        --------
        >>> from cylosses import L1Loss
        >>> total = L1Loss().streaming()
        >>> total.update([1.0, 2.0], [4.0, 9.0], weight=[3.0, 1.0])
        >>> float(total.compute())
        4.0
        """
        loss = self._loss
        self._add(call.total(loss._code, loss._parameter, input, target, weight, where, n_threads))

    def merge(self, other: "StreamingLoss") -> None:
        """Add what another total of the same loss holds; it stays as it is.

        Parameters
        ----------
        other : StreamingLoss
            Of an equal loss: same class, parameter and reduction. May be this total itself, which counts everything twice.

        Raises
        ------
        TypeError
            If `other` is not a StreamingLoss.
        ValueError
            If it is of another loss.
        OverflowError
            If more than 2**63 - 1 elements came together.

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
        self._add(other._content)

    @in_default_mode
    def compute(self) -> Any:
        """Return the mean or sum of all data so far.

        Returns
        -------
        numpy scalar
            NaN for the mean of nothing, 0 for its sum.

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
    def exact(self) -> "Fraction":
        """Return the mean or sum of all data so far as it is, not rounded.

        Returns
        -------
        fractions.Fraction
            Which `compute` rounds to the dtype of the data.

        Raises
        ------
        ValueError
            For a total that is infinite or NaN, and for the mean of nothing.

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
        from fractions import Fraction  # here, because its import takes longer than that of all of this package

        content = self._content
        (n, exponent, special), (m, exponent_of_weights, _) = content.parts()
        if special or (m == 0 and self._is_mean):
            raise ValueError(f"the {self._loss.reduction} is {content.rounded(self._is_mean)}, which is no fraction")
        value = n * Fraction(2) ** exponent
        return value / (m * Fraction(2) ** exponent_of_weights) if self._is_mean else value

    @in_default_mode
    def to_bytes(self) -> bytes:
        """Return the state as bytes, to be stored or sent, and read by `from_bytes` on any machine.

        Returns
        -------
        bytes
            Some sixty for ordinary data, fewer than a thousand for any. Totals that are equal have equal bytes. The format is
            described in docs/state-format.md.

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
        return _state.encode(self._loss, self._content)

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

        Raises
        ------
        TypeError
            If `data` is not bytes-like.
        ValueError
            If it is something else than a state, damaged, incomplete, of an unknown version or loss, or cannot have come from data;
            the message says which.

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
        loss, content = _state.decode(bytes(data))
        state = cls(loss)
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

    @in_default_mode
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StreamingLoss):
            return NotImplemented
        mine, others = self._content, other._content
        return (self._loss, mine.parts(), mine.count, mine.dtype) == (other._loss, others.parts(), others.count, others.dtype)

    __hash__ = None  # type: ignore[assignment]  # it changes with every update

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_bytes, (self.to_bytes(),)

    @in_default_mode
    def __repr__(self) -> str:
        content = self._content
        return f"<{type(self).__name__} of {self._loss!r}: count {content.count}, value {content.rounded(self._is_mean)!s}>"
