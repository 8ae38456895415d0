"""The bytes of an exact total, as docs/state-format.md describes them. Decisions, with their reasons:

a. Equal content has equal bytes: numbers are stored as odd significand and exponent, which says nothing about the accumulator that
   they came from. Reading ends with writing again: whatever would come out different is refused.
b. What cannot have come from data is refused even if the checksum fits: a checksum finds accidents, not the mistakes of whoever
   wrote it. The limits also keep every state inside the range of the accumulator.
"""

import struct
from importlib import import_module
from typing import Any, NoReturn

import numpy as np

from cylosses._core import builds
from cylosses._core.totals import Total
from cylosses.losses import LOSSES, Loss

_MOST = 2**63 - 1  # elements of a total
_MAGIC = b"\x93CYLOSS"
_VERSION = 1
# magic, version, length, reduction, dtype, flags, length of the name, parameter, count, then exponent and length of two numbers
_HEADER = struct.Struct("<7sBHBBBBdQhHhH")
_CHECKSUM = 8
_REDUCTIONS = ("mean", "sum")  # codes 1 and 2
_DTYPES = ("float16", "bfloat16", "float32", "float64")  # codes 1 to 4; 0 is none yet
# Of each of these: bits of the significand, exponent of the smallest subnormal, exponent of the first power of two beyond.
_FORMATS = ((11, -24, 16), (8, -133, 128), (24, -149, 128), (53, -1074, 1024))
_NAN, _PLUS_INFINITY, _MINUS_INFINITY = 1, 2, 4  # as Special in summation/superaccumulator.pxd


def _checksum(body: bytes) -> bytes:
    from hashlib import blake2b  # here, because it loads OpenSSL, which takes longer than all of this package

    return blake2b(body, digest_size=_CHECKSUM).digest()


def _significand(n: int) -> bytes:
    """Return the fewest bytes that hold n in two's complement; none for 0."""
    return n.to_bytes(n.bit_length() // 8 + 1, "little", signed=True) if n else b""


def encode(loss: Loss, content: Total) -> bytes:
    """Return the bytes of a total of this loss."""
    (n, exponent, flags), (n_weights, exponent_weights, _) = content.parts()
    name, digits, weight_digits = loss.name.encode("ascii"), _significand(n), _significand(n_weights)
    header = _HEADER.pack(
        _MAGIC,
        _VERSION,
        _HEADER.size + len(name) + len(digits) + len(weight_digits) + _CHECKSUM,
        1 + _REDUCTIONS.index(loss.reduction),
        0 if content.dtype is None else 1 + _DTYPES.index(content.dtype.name),
        flags,
        len(name),
        loss._parameter,
        content.count,
        exponent,
        len(digits),
        exponent_weights,
        len(weight_digits),
    )
    body = header + name + digits + weight_digits
    return body + _checksum(body)


def decode(blob: bytes) -> tuple[Loss, Total]:
    """Return the loss and the total that have these bytes; ValueError for any others."""
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
    content = Total.from_parts((n, exponent, flags), (n_weights, exponent_weights, 0), count, _read_dtype(dtype_code))
    if encode(loss, content) != blob:
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
            builds.check_rounded(loss._code, loss._parameter)
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
