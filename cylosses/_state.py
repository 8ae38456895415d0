"""The bytes of an exact total, as docs/state-format.md describes them. Decisions, with their reasons:

a. Equal content has equal bytes: numbers are stored as odd significand and exponent, which says nothing about the accumulator that
   they came from. Reading ends with writing again: whatever would come out different is refused.
b. What cannot have come from data is refused even if the checksum fits: a checksum finds accidents, not the mistakes of whoever
   wrote it. The limits also keep every state inside the range of the accumulator.
"""

import math
import struct
from importlib import import_module
from typing import Any, NoReturn, TypeAlias

import numpy as np

from cylosses._core import builds, call
from cylosses._core.convert import text_of_layout
from cylosses._core.parameter_arrays import MOST_NUMBERS, ParameterArray
from cylosses._core.totals import Total
from cylosses._types import Array
from cylosses.losses import LOSSES, Loss

_Layout: TypeAlias = tuple[int | None, ...]
_Sum: TypeAlias = tuple[int, int, int]  # significand, exponent, flags

_MOST = 2**63 - 1  # elements of a total
_MOST_DIMENSIONS = 64
_MOST_SLICES = 2**51  # fit into no memory
_MAGIC = b"\x93CYLOSS"
_PLAIN, _SLICED, _ARRAYS = 1, 2, 3  # versions
# Length of the whole, behind magic and version.
_LENGTHS = {_PLAIN: struct.Struct("<H"), _SLICED: struct.Struct("<Q"), _ARRAYS: struct.Struct("<Q")}
# reduction, dtype, flags, length of the name, parameter, count, then exponent and length of two numbers
_PLAIN_HEADER = struct.Struct("<BBBBdQhHhH")
# reduction, dtype, length of the name, numbers of axes that are kept and that are summed over, parameter
_SLICED_HEADER = struct.Struct("<BBBBBd")
# reduction, dtype, length of the name, numbers of axes that are kept and that are summed over, dimensions of the parameter
_ARRAYS_HEADER = struct.Struct("<BBBBBB")
_HEADERS = {_PLAIN: _PLAIN_HEADER, _SLICED: _SLICED_HEADER, _ARRAYS: _ARRAYS_HEADER}
_ALL_AXES = 255  # instead of a number of axes: all are summed over, whatever their number
# flags, count, then exponent and length of two numbers
_SLICE = struct.Struct("<BQhHhH")
_CHECKSUM = 8
_REDUCTIONS = ("mean", "sum")  # codes 1 and 2
_DTYPES = ("float16", "bfloat16", "float32", "float64")  # codes 1 to 4; 0 is none yet
# Of each of these: bits of the significand, exponent of the smallest subnormal, exponent of the first power of two beyond.
_FORMATS = ((11, -24, 16), (8, -133, 128), (24, -149, 128), (53, -1074, 1024))
_NAN, _PLUS_INFINITY, _MINUS_INFINITY = 1, 2, 4  # as Special in summation/superaccumulator.pxd


def _checksum(body: bytes) -> bytes:
    from hashlib import blake2b  # here, because it loads OpenSSL, which takes longer than all of this package

    return blake2b(body, digest_size=_CHECKSUM).digest()


def axes_of(layout: _Layout) -> list[int]:
    """Return the axes that are summed over, in ascending order."""
    return [k for k, length in enumerate(layout) if length is None]


def encode(loss: Loss, axes: tuple[int, ...] | None, content: Total) -> bytes:
    """Return the bytes of a total of this loss over these axes."""
    name = loss.name.encode("ascii")
    reduction = 1 + _REDUCTIONS.index(loss.reduction)
    dtype_code = 0 if content.dtype is None else 1 + _DTYPES.index(content.dtype.name)
    slices = [_packed(*part) for part in content.parts()]
    parameter = loss._parameter
    if axes is None and not isinstance(parameter, ParameterArray):
        ((flags, *numbers), digits) = slices[0]
        header = _PLAIN_HEADER.pack(reduction, dtype_code, flags, len(name), parameter, *numbers)
        return _sealed(_PLAIN, header + name + digits)
    summed: tuple[int, ...] | list[int] = ()
    if axes is not None and content.layout is None:  # nothing yet: the axes are those that were given, and there are no slices
        summed, slices = axes, []
    elif content.layout is not None:
        summed = axes_of(content.layout)
    shape = struct.pack(f"<{len(summed)}b{len(content.shape)}Q", *summed, *content.shape)
    content_of_slices = [_SLICE.pack(*fields) + digits for fields, digits in slices]
    if not isinstance(parameter, ParameterArray):
        header = _SLICED_HEADER.pack(reduction, dtype_code, len(name), len(content.shape), len(summed), parameter)
        return _sealed(_SLICED, b"".join([header, name, shape, *content_of_slices]))
    number = _ALL_AXES if axes is None else len(summed)
    header = _ARRAYS_HEADER.pack(reduction, dtype_code, len(name), len(content.shape), number, len(parameter.shape))
    return _sealed(_ARRAYS, b"".join([header, name, _packed_parameter(parameter), shape, *content_of_slices]))


def decode(blob: bytes) -> tuple[Loss, tuple[int, ...] | None, Total]:
    """Return the loss, the axes and the total that have these bytes; ValueError for any others."""
    version = _check_envelope(blob)
    reader = _Reader(blob, _start_of_header(version))
    parameter: Any
    axes: tuple[int, ...] | None = None
    layout: _Layout | None = None
    if version == _PLAIN:
        reduction, dtype_code, flags, name_length, parameter, *numbers = reader.unpack(_PLAIN_HEADER)
        name = reader.take(name_length)
        slices = [reader.take_slice(flags, *numbers)]
    else:
        reduction, dtype_code, name_length, n_kept, n_summed, parameter = reader.unpack(_HEADERS[version])
        name = reader.take(name_length)
        if version == _ARRAYS:
            parameter = reader.take_parameter(parameter)
        if version == _ARRAYS and n_summed == _ALL_AXES and n_kept == 0:
            number = 1
        else:
            axes = reader.unpack(struct.Struct(f"<{n_summed}b"))
            shape = reader.unpack(struct.Struct(f"<{n_kept}Q"))
            layout = _read_layout(axes, shape, dtype_code)
            number = 0 if layout is None else math.prod(shape)
        if number * _SLICE.size > reader.left:  # before any memory is taken for them
            _refuse("its lengths do not add up")
        slices = [reader.take_slice(*reader.unpack(_SLICE)) for _ in range(number)]
    if reader.left:
        _refuse("its lengths do not add up")

    loss = _read_loss(name.decode("ascii", "replace"), reduction, parameter)
    if dtype_code > len(_DTYPES):
        _refuse(f"the dtype code {dtype_code} is unknown")
    for (n, exponent, flags), (n_weights, exponent_weights, _), count in slices:
        _check_numbers(dtype_code, flags, count, (n, exponent), (n_weights, exponent_weights))
    _check_parameter(loss, dtype_code, layout)
    content = Total.from_parts(slices, _read_dtype(dtype_code), layout)
    if encode(loss, axes, content) != blob:
        _refuse("it is not in normal form")
    return loss, axes, content


class _Reader:
    """What lies between the length and the checksum, taken from the front."""

    def __init__(self, blob: bytes, start: int) -> None:
        self._blob, self._at = blob, start

    @property
    def left(self) -> int:
        """Number of bytes that have not been taken yet."""
        return len(self._blob) - _CHECKSUM - self._at

    def take(self, length: int) -> bytes:
        if length > self.left:
            _refuse("its lengths do not add up")
        self._at += length
        return self._blob[self._at - length : self._at]

    def unpack(self, fields: struct.Struct) -> tuple[Any, ...]:
        return fields.unpack(self.take(fields.size))

    def take_parameter(self, dimensions: int) -> Array:
        """Return a parameter that is an array of so many dimensions."""
        lengths = struct.Struct(f"<{dimensions}Q")
        shape, kept = self.unpack(lengths), self.unpack(lengths)
        if dimensions > _MOST_DIMENSIONS or any(length not in (1, whole) for length, whole in zip(kept, shape, strict=True)):
            _refuse(f"no parameter of the shape {shape} has elements of the shape {kept}")
        if math.prod(kept) > MOST_NUMBERS:
            _refuse(f"its parameter has {math.prod(kept)} elements, more than the {MOST_NUMBERS} that are taken")
        elements = np.frombuffer(self.take(8 * math.prod(kept)), "<f8").astype(np.float64).reshape(kept)
        try:
            return np.broadcast_to(elements, shape)
        except ValueError:
            _refuse(f"no array has the shape {shape} of its parameter")

    def take_slice(
        self, flags: int, count: int, exponent: int, length: int, exponent_weights: int, length_weights: int
    ) -> tuple[_Sum, _Sum, int]:
        """Return the parts whose significands come next."""
        n, n_weights = (int.from_bytes(self.take(size), "little", signed=True) for size in (length, length_weights))
        return (n, exponent, flags), (n_weights, exponent_weights, 0), count


def _significand(n: int) -> bytes:
    """Return the fewest bytes that hold n in two's complement; none for 0."""
    return n.to_bytes(n.bit_length() // 8 + 1, "little", signed=True) if n else b""


def _packed(losses: _Sum, weights: _Sum, count: int) -> tuple[tuple[int, ...], bytes]:
    """Return the fields of _SLICE of these parts, and their significands."""
    (n, exponent, flags), (n_weights, exponent_weights, _) = losses, weights
    digits, weight_digits = _significand(n), _significand(n_weights)
    return (flags, count, exponent, len(digits), exponent_weights, len(weight_digits)), digits + weight_digits


def _packed_parameter(parameter: ParameterArray) -> bytes:
    """Return the shape, the lengths of the axes along which there are several elements, 1 for the others, and the elements."""
    shape, kept = parameter.shape, parameter.values.shape
    return struct.pack(f"<{2 * len(shape)}Q", *shape, *kept) + parameter.values.astype("<f8").tobytes()


def _start_of_header(version: int) -> int:
    return len(_MAGIC) + 1 + _LENGTHS[version].size


def _sealed(version: int, content: bytes) -> bytes:
    """Return what has this content, between magic bytes, version and length and the checksum."""
    length = _start_of_header(version) + len(content) + _CHECKSUM
    body = b"".join([_MAGIC, bytes([version]), _LENGTHS[version].pack(length), content])
    return body + _checksum(body)


def _refuse(reason: str) -> NoReturn:
    raise ValueError(f"not a valid state: {reason}")


def _check_envelope(blob: bytes) -> int:
    """Check everything that needs no look at the content: magic bytes, version, length, checksum. Return the version."""
    if not blob or blob[: len(_MAGIC)] != _MAGIC[: len(blob)]:
        raise ValueError("not a state of a StreamingLoss: it does not begin with its magic bytes")
    version = blob[len(_MAGIC)] if len(blob) > len(_MAGIC) else _PLAIN
    if version not in _LENGTHS:
        raise ValueError(f"state of version {version}; this cylosses reads versions {_PLAIN} to {_ARRAYS}")
    start = _start_of_header(version)
    if len(blob) < start + _HEADERS[version].size:
        raise ValueError(f"truncated state: {len(blob)} bytes are there, fewer than its header has")
    (length,) = _LENGTHS[version].unpack_from(blob, len(_MAGIC) + 1)
    if len(blob) < length:
        raise ValueError(f"truncated state: {len(blob)} of {length} bytes are there")
    if len(blob) > length:
        raise ValueError(f"damaged state: {len(blob)} bytes are there, it says that it has {length}")
    if _checksum(blob[:-_CHECKSUM]) != blob[-_CHECKSUM:]:
        raise ValueError("damaged state: the checksum does not fit")
    return version


def _read_layout(axes: tuple[int, ...], shape: tuple[int, ...], dtype_code: int) -> _Layout | None:
    """Return the layout of data that has these axes summed over and the others of these lengths; None before there is data."""
    try:
        call.axes(axes)
    except ValueError as error:
        _refuse(str(error))
    if list(axes) != sorted(axes):
        _refuse(f"its axes {axes} are not in ascending order")
    if dtype_code == 0:
        if shape:
            _refuse("it has lengths, but the data had no dtype")
        return None
    dimensions = len(axes) + len(shape)
    if not all(0 <= axis < dimensions for axis in axes):
        _refuse(f"data of {dimensions} dimensions has not the axes {axes}")
    if dimensions > _MOST_DIMENSIONS or math.prod(max(length, 1) for length in shape) > _MOST_SLICES:
        _refuse(f"no array keeps the shape {shape} of {dimensions} dimensions")
    kept = iter(shape)
    return tuple(None if k in axes else next(kept) for k in range(dimensions))


def _read_loss(name: str, reduction: int, parameter: "float | Array") -> Loss:
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


def _check_parameter(loss: Loss, dtype_code: int, layout: _Layout | None) -> None:
    """Refuse data that no update of this loss would have taken: float32 data, of a parameter that float32 does not hold, and of a
    shape that the parameter does not broadcast to.
    """
    parameter = loss._parameter
    if 0 < dtype_code < len(_DTYPES):
        try:
            if isinstance(parameter, ParameterArray):
                parameter.check_in_float32()
            else:
                builds.check_rounded(loss._code, parameter)
        except ValueError as error:
            _refuse(str(error))
    if isinstance(parameter, ParameterArray) and layout is not None:
        dimensions = len(parameter.shape)
        pairs = zip(
            layout[-dimensions:], parameter.shape, strict=False
        )  # 1 goes with any length, and what is summed over is not known
        if len(layout) < dimensions or any(length not in (None, own) and own != 1 for length, own in pairs):
            _refuse(f"a parameter of shape {parameter.shape} makes no data of shape {text_of_layout(layout)}")


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
