"""What exceptions of `cylosses.views` say: which argument is wrong, what it was, and what is accepted.

The compiled module refuses: it knows a status, or that a buffer or a number is not what it takes. Here is found out why.
"""

import ctypes
import operator
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from cylosses.capi import Curvature, LossCode, Reduction, Status
from cylosses.losses import LOSSES

NAMES = ("input", "target", "weight", "value_out", "gradient_out", "hessian_out")
BAD_SHAPE, BAD_AXIS = -1, -2  # statuses beside those of the C level


class Request(NamedTuple):
    """What was asked for, and the number of the array that is refused, and of another one that it overlaps, or -1."""

    loss: int
    parameter: float
    reduction: int
    curvature: int
    axis: int
    n_threads: int
    itemsize: int
    planar: bool
    arrays: list[tuple[int, int, int]]  # address, rows (-1: None), columns
    expected: tuple[int, int]  # shape of the refused array
    which: int
    other: int


def explain(status: int, message: bytes, *fields: Any) -> ValueError:
    """Return the exception for a status, whose message in general words is given."""
    request = Request(*fields)
    said = {
        Status.BAD_LOSS: lambda: choice("loss", LossCode, request.loss),
        Status.BAD_PARAMETER: lambda: parameter(request),
        Status.BAD_REDUCTION: lambda: choice("reduction", Reduction, request.reduction),
        Status.BAD_CURVATURE: lambda: choice("curvature", Curvature, request.curvature),
        Status.BAD_THREADS: lambda: f"n_threads must be at least 0, got {request.n_threads}",
        Status.BAD_ARRAY: lambda: overlap(request),
        Status.BAD_WEIGHT: lambda: f"weight must be finite and not negative{bad_weight(request)}",
        BAD_SHAPE: lambda: shape(request),
        BAD_AXIS: lambda: f"axis must be 0, 1, -1 or -2, got {request.axis}",
    }.get(status)
    return ValueError(said() if said else message.decode())


def choice(name: str, accepted: type[IntEnum], got: int) -> str:
    return f"{name} must be one of {', '.join(f'{member.name} ({member.value})' for member in accepted)}, got {got}"


def parameter(request: Request) -> str:
    """What the Python function says: it knows the parameter's name, and what becomes of it in float32."""
    name = LossCode(request.loss).name.lower()
    parameter_name = LOSSES[name].parameter_name
    if not parameter_name:
        return f"parameter must be 0, since {name} has none, got {request.parameter}"
    nothing = np.empty(0, f"f{request.itemsize}")
    setting: dict[str, Any] = {parameter_name: request.parameter}
    try:
        LOSSES[name](**setting)(nothing, nothing)
    except ValueError as error:
        return f"parameter is not valid for {name}: {error}"
    return f"parameter is not valid for {name}, got {request.parameter}"


def shape(request: Request) -> str:
    array, dimensions = request.arrays[request.which], 2 if request.planar and NAMES[request.which] != "value_out" else 1
    if array[1] < 0:
        return f"{NAMES[request.which]} must be an array, got None"
    return f"{NAMES[request.which]} must have shape {request.expected[:dimensions]}, got {array[1 : 1 + dimensions]}"


def overlap(request: Request) -> str:
    name, array = NAMES[request.which], request.arrays[request.which]
    if request.other < 0:
        return f"{name} must be aligned to {request.itemsize} bytes"
    return f"{name} must not {'be' if array == request.arrays[request.other] else 'overlap'} {NAMES[request.other]}"


def bad_weight(request: Request) -> str:
    """The first bad weight, and where it is."""
    address, *dimensions = request.arrays[NAMES.index("weight")]
    memory = (ctypes.c_char * (dimensions[0] * dimensions[1] * request.itemsize)).from_address(address)
    weights = np.frombuffer(memoryview(memory), f"f{request.itemsize}").reshape(dimensions if request.planar else -1)
    found = np.argwhere(~((weights >= 0) & (weights < np.inf)))
    return f", got {weights[tuple(found[0])]} at {found[0].tolist()}" if len(found) else ""


def bad_number(**given: Any) -> Exception:
    """Return the exception for the first of the arguments that is no number of its kind."""
    for name, value in given.items():
        if name == "parameter":
            if not any(hasattr(value, special) for special in ("__float__", "__index__")):
                return TypeError(f"parameter must be a number, got {type(value).__name__}")
        elif not (name == "axis" and value is None):
            try:
                number = operator.index(value)
            except TypeError:
                return TypeError(f"{name} must be an integer, got {type(value).__name__}")
            if not -(2**31) <= number < 2**31:
                return ValueError(f"{name} is out of range, got {number}")
    return ValueError("parameter is out of range")


def bad_buffer(which: int, source: Any, itemsize: int, dimensions: int) -> Exception:
    """Return the exception for an argument that is no array as it must be; itemsize is 0 if any dtype will do."""
    name = NAMES[which]
    try:
        view = memoryview(source)
    except TypeError:
        return TypeError(f"{name} must have the buffer protocol, as NumPy arrays do, got {type(source).__name__}")
    except (BufferError, ValueError) as error:
        return ValueError(f"{name} does not offer its memory: {error}")
    dtypes = {4: "float32", 8: "float64"}
    if view.format not in {prefix + letter for prefix in ("", "@", "=", np.dtype(float).str[0]) for letter in "fd"}:
        return TypeError(f"{name} must be of float32 or float64 in native byte order, got a buffer of format {view.format!r}")
    if itemsize and view.itemsize != itemsize:
        return TypeError(f"{name} must be of {dtypes[itemsize]} like the other arrays, got {dtypes[view.itemsize]}")
    if view.ndim != dimensions:
        return ValueError(f"{name} must have {dimensions} dimension{'s' * (dimensions > 1)}, got {view.ndim}")
    if view.readonly and name.endswith("_out"):
        return ValueError(f"{name} must be writable, got a read-only buffer")
    if not view.c_contiguous:
        return ValueError(f"{name} must be C-contiguous, got strides {view.strides} for shape {view.shape}")
    return ValueError(f"{name} must be aligned to {view.itemsize} bytes")
