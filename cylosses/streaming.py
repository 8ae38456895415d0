"""Exact totals of data that comes in pieces, and their bytes.

The byte format is described in docs/state-format.md. Decisions, with their reasons:

a. Integers, not floats: a state holds the exact sum of weight times loss and the exact sum of weights, so that neither the cutting
   into pieces nor the order of merging can change a bit.
b. Equal content has equal bytes: numbers are stored as odd significand and exponent, which says nothing about the accumulator that
   they came from. Reading ends with writing again: whatever would come out different is refused.
c. What cannot have come from data is refused even if the checksum fits: a checksum finds accidents, not the mistakes of whoever
   wrote it. The limits also keep every state inside the range of the accumulator.
d. The content of a total never changes. An update makes a new one and puts it in the place of the old one, in a single compiled
   step, which does nothing if another thread was faster: then the update begins again. So there is no half of an update, whatever a
   signal handler raises, and no lock that a forked child could find taken for ever.
"""

import struct
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

from cylosses._call import Call, result_dtype
from cylosses._core.dispatch import Cell, ExactSum, in_default_mode
from cylosses._types import Numbers
from cylosses.losses import LOSSES, Loss

if TYPE_CHECKING:
    from fractions import Fraction

__all__ = ["StreamingLoss"]

# The accumulator has room for so many of the largest products.
_MOST = 2**63 - 1


class _Content(NamedTuple):
    """What a total holds: neither the tuple nor its sums ever change."""

    total: ExactSum  # of weight times loss
    weights: ExactSum
    elements: int  # that count
    dtype: np.dtype[Any] | None  # of the result; None before the first element

    def plus(self, other: "_Content") -> "_Content":
        """Return the content of both together."""
        elements = self.elements + other.elements
        if elements > _MOST:
            raise OverflowError(f"a total holds at most 2**63 - 1 elements; {self.elements} and {other.elements} are more")
        dtype = self.dtype or other.dtype
        if dtype is not None and other.dtype is not None and dtype != other.dtype:
            dtype = result_dtype(dtype, other.dtype)
        return _Content(self.total.plus(other.total), self.weights.plus(other.weights), elements, dtype)


_NOTHING = _Content(ExactSum(), ExactSum(), 0, None)


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
        return self._content.elements

    @in_default_mode
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

    @in_default_mode
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
        call = Call(self._loss, input, target, weight, where, n_threads)
        total, weights = ExactSum(), ExactSum()
        count = call.add_to(total, weights)
        self._add(_Content(total, weights, count, call.dtype))

    @in_default_mode
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
        return self._rounded(self._content)

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
        total, weights, _, _ = content
        n, exponent, special = total.parts()
        m, exponent_of_weights, _ = weights.parts()
        if special or (m == 0 and self._loss.reduction == "mean"):
            raise ValueError(f"the {self._loss.reduction} is {self._rounded(content)}, which is no fraction")
        value = n * Fraction(2) ** exponent
        return value / (m * Fraction(2) ** exponent_of_weights) if self._loss.reduction == "mean" else value

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
        return _encode(self._loss, self._content)

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
        loss, content = _decode(bytes(data))
        state = cls(loss)
        state._add(content)
        return state

    @property
    def _content(self) -> _Content:
        content: _Content = self._cell.content
        return content

    def _rounded(self, content: _Content) -> Any:
        weights = content.weights if self._loss.reduction == "mean" else None
        return content.total.round_quotient(weights, content.dtype or np.dtype(np.float64))

    def _add(self, content: _Content) -> None:
        held = self._content
        while not self._cell.replace(held, held.plus(content)):
            held = self._content

    @in_default_mode
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StreamingLoss):
            return NotImplemented
        return self._loss == other._loss and _comparable(self._content) == _comparable(other._content)

    __hash__ = None  # type: ignore[assignment]  # it changes with every update

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_bytes, (self.to_bytes(),)

    @in_default_mode
    def __repr__(self) -> str:
        content = self._content
        return f"<{type(self).__name__} of {self._loss!r}: count {content.elements}, value {self._rounded(content)!s}>"


def _comparable(content: _Content) -> tuple[Any, ...]:
    total, weights, count, dtype = content
    return total.parts(), weights.parts(), count, dtype


# ---- the bytes -------------------------------------------------------------------------------------------------------------------

_MAGIC = b"\x93CYLOSS"
_VERSION = 1
# magic, version, length, reduction, dtype, flags, length of the name, parameter, count, then exponent and length of two numbers
_HEADER = struct.Struct("<7sBHBBBBdQhHhH")
_CHECKSUM = 8
_REDUCTIONS = ("mean", "sum")  # codes 1 and 2
_DTYPES = ("float16", "bfloat16", "float32", "float64")  # codes 1 to 4; 0 is none yet
# Of each of these: bits of the significand, exponent of the smallest subnormal, exponent of the first power of two beyond.
_FORMATS = ((11, -24, 16), (8, -133, 128), (24, -149, 128), (53, -1074, 1024))
_NAN, _PLUS_INFINITY, _MINUS_INFINITY = 1, 2, 4  # as Special in exact.pxd


def _checksum(body: bytes) -> bytes:
    from hashlib import blake2b  # here, because it loads OpenSSL, which takes longer than all of this package

    return blake2b(body, digest_size=_CHECKSUM).digest()


def _significand(n: int) -> bytes:
    """Return the fewest bytes that hold n in two's complement; none for 0."""
    return n.to_bytes(n.bit_length() // 8 + 1, "little", signed=True) if n else b""


def _encode(loss: Loss, content: _Content) -> bytes:
    total, weights, count, dtype = content
    n, exponent, flags = total.parts()
    n_weights, exponent_weights, _ = weights.parts()
    name, digits, weight_digits = loss.name.encode("ascii"), _significand(n), _significand(n_weights)
    header = _HEADER.pack(
        _MAGIC,
        _VERSION,
        _HEADER.size + len(name) + len(digits) + len(weight_digits) + _CHECKSUM,
        1 + _REDUCTIONS.index(loss.reduction),
        0 if dtype is None else 1 + _DTYPES.index(dtype.name),
        flags,
        len(name),
        loss._parameter,
        count,
        exponent,
        len(digits),
        exponent_weights,
        len(weight_digits),
    )
    body = header + name + digits + weight_digits
    return body + _checksum(body)


def _decode(blob: bytes) -> tuple[Loss, _Content]:
    _check_envelope(blob)
    fields = _HEADER.unpack_from(blob)
    reduction, dtype_code, flags, name_length, parameter, count = fields[3:9]
    exponent, length, exponent_weights, weights_length = fields[9:]
    end_of_name = _HEADER.size + name_length
    end_of_sum = end_of_name + length
    if end_of_sum + weights_length + _CHECKSUM != len(blob):
        _refuse("its lengths do not add up")
    name = blob[_HEADER.size : end_of_name].decode("ascii", "replace")
    n = int.from_bytes(blob[end_of_name:end_of_sum], "little", signed=True)
    n_weights = int.from_bytes(blob[end_of_sum:-_CHECKSUM], "little", signed=True)

    loss = _read_loss(name, reduction, parameter)
    if dtype_code > len(_DTYPES):
        _refuse(f"the dtype code {dtype_code} is unknown")
    _check_numbers(dtype_code, flags, count, (n, exponent), (n_weights, exponent_weights))
    _check_parameter(loss, dtype_code)
    dtype = _read_dtype(dtype_code)
    content = _Content(ExactSum.from_parts(n, exponent, flags), ExactSum.from_parts(n_weights, exponent_weights, 0), count, dtype)
    if _encode(loss, content) != blob:
        _refuse("it is not in normal form")
    return loss, content


def _refuse(reason: str) -> NoReturn:
    raise ValueError(f"not a valid state: {reason}")


def _check_envelope(blob: bytes) -> None:
    """Check everything that needs no look at the content: magic bytes, version, length, checksum."""
    if not blob or blob[: len(_MAGIC)] != _MAGIC[: len(blob)]:
        raise ValueError("not a state of a StreamingLoss: it does not begin with its magic bytes")
    if len(blob) > len(_MAGIC) and blob[len(_MAGIC)] != _VERSION:
        raise ValueError(f"state of version {blob[len(_MAGIC)]}; this cylosses reads version {_VERSION}")
    if len(blob) < _HEADER.size:
        raise ValueError(f"truncated state: {len(blob)} bytes are there, fewer than its header has")
    length = _HEADER.unpack_from(blob)[2]
    if len(blob) < length:
        raise ValueError(f"truncated state: {len(blob)} of {length} bytes are there")
    if len(blob) > length:
        raise ValueError(f"damaged state: {len(blob)} bytes are there, it says that it has {length}")
    if _checksum(blob[:-_CHECKSUM]) != blob[-_CHECKSUM:]:
        raise ValueError("damaged state: the checksum does not fit")


def _read_loss(name: str, reduction: int, parameter: float) -> Loss:
    if name not in LOSSES:
        _refuse(f"the loss {name!r} is unknown")
    if not 1 <= reduction <= len(_REDUCTIONS):
        _refuse(f"the reduction code {reduction} is unknown")
    cls = LOSSES[name]
    settings: dict[str, Any] = {"reduction": _REDUCTIONS[reduction - 1]}
    if cls.parameter_name is not None:
        settings[cls.parameter_name] = parameter
    try:
        return cls(**settings)
    except ValueError as error:
        _refuse(str(error))


def _read_dtype(code: int) -> np.dtype[Any] | None:
    if code == 0:
        return None
    name = _DTYPES[code - 1]
    if name == "bfloat16":  # a dtype that NumPy knows once this package is imported
        try:
            import_module("ml_dtypes")
        except ImportError:
            raise ValueError("state of bfloat16 data: reading it needs the package ml_dtypes: pip install ml_dtypes") from None
    return np.dtype(name)


def _check_parameter(loss: Loss, dtype_code: int) -> None:
    """Refuse float32 data of a parameter that float32 does not hold: no update would have taken it."""
    if 0 < dtype_code < len(_DTYPES):
        try:
            loss._check_rounded()
        except ValueError as error:
            _refuse(str(error))


def _in_units(number: tuple[int, int], unit: int, what: str) -> int:
    """Return n * 2**exponent in units of 2**unit; refuse what is finer than that."""
    n, exponent = number
    if n and exponent < unit:
        _refuse(f"the exponent of the {what} is {exponent}, less than the {unit} that the dtypes allow")
    return n << (exponent - unit) if n else 0


def _check_numbers(dtype_code: int, flags: int, count: int, total: tuple[int, int], weights: tuple[int, int]) -> None:
    """Refuse numbers that cannot have come from data.

    Each weight that counts is a positive float64, each loss a float of the dtype and not negative.
    """
    if flags & ~(_NAN | _PLUS_INFINITY):
        _refuse("no loss is minus infinity" if flags == _MINUS_INFINITY else f"the flags {flags} are unknown")
    if count > _MOST:
        _refuse(f"the count {count} is more than a total holds")
    if count == 0:
        if total[0] or weights[0] or flags:
            _refuse("the count is 0, but the sums are not")
        return
    if dtype_code == 0:
        _refuse(f"the count is {count}, but the data had no dtype")
    precision, lowest, overflow = _FORMATS[dtype_code - 1]
    weight_units = _in_units(weights, -1074, "sum of weights")
    if not count <= weight_units <= count * (((1 << 53) - 1) << (1024 - 53 + 1074)):
        _refuse(f"the sum of weights is not that of {count} positive numbers")
    units = _in_units(total, lowest - 1074, "sum")
    if units < 0:
        _refuse("the sum is negative, which no loss is")
    if units > weight_units * (((1 << precision) - 1) << (overflow - precision - lowest)):
        _refuse("the sum is larger than the weights and the dtype allow")
