"""The slow conversions of a call, and the texts of its errors and warnings.

call.pyx takes arrays of a known dtype, numbers and names as they are. Anything else comes here once: it is converted, or refused
with a text that names the argument, what came and what is accepted.
"""

import math
import numbers
import operator
import sys
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, NoReturn, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]

Reduction: TypeAlias = Literal["none", "mean", "sum"]
REDUCTIONS: tuple[Reduction, ...] = ("none", "mean", "sum")
CURVATURES = ("exact", "mm", "ones")
PACKAGE = __file__[: __file__.rindex("_core")]  # without pathlib, whose import takes as long as that of this package
ORDINARY = frozenset({bool, int, float, list, tuple, np.float32, np.float64})  # numpy.asarray does the right thing with these
ACCEPTED = "bool, integers, float16, bfloat16, float32 and float64 are accepted"
MISSING = frozenset({"NAType", "NaTType", "NoneType"})  # of pandas, which is not imported for this, and of Python


class BroadcastWarning(UserWarning):
    """Warns that input and target of different shapes were broadcast, often a mistake: ``(n,)`` against ``(n, 1)``.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from cylosses import BroadcastWarning, l1_loss
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always", BroadcastWarning)
    ...     l1_loss(np.zeros(2), np.ones((2, 1)), "none").shape
    (2, 2)
    >>> caught[0].category
    <class 'cylosses._core.convert.BroadcastWarning'>
    """


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the line of the caller outside this package."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


# ---- single arguments ------------------------------------------------------------------------------------------------------------


def shown(value: object) -> str:
    """Return how a message shows a value: its repr, shortened; the number of digits of an integer that has many."""
    if isinstance(value, int) and value.bit_length() > 256:  # beyond 4300 digits, its repr is an error of its own
        return f"{'a negative' if value < 0 else 'an'} integer of {int(math.log10(abs(value))) + 1} digits"
    try:
        text = repr(value)
    except Exception:
        return f"an object of type {type(value).__name__}"
    return text if len(text) <= 200 else f"{text[:200]}..."


def check_name(name: str, value: object, accepted: tuple[str, ...]) -> int:
    """Return the place of a string among those that an argument accepts."""
    if isinstance(value, str) and value in accepted:
        return accepted.index(value)
    *others, last = map(repr, accepted)
    raise ValueError(f"{name} must be {', '.join(others)} or {last}, got {shown(value)}")


def check_reduction(reduction: object) -> Reduction:
    """Return a reduction that is one of the three."""
    return REDUCTIONS[check_name("reduction", reduction, REDUCTIONS)]


def reduction_of(size_average: object, reduce: object, reduction: object) -> Reduction:
    """Return the reduction that the legacy flags mean, if one is given; else `reduction`.

    A string in the place of the first flag is the reduction: the documented calls pass it third.
    """
    if isinstance(size_average, str):
        if reduction not in ("mean", size_average):
            raise TypeError(f"reduction is given twice with different values: {size_average!r} and {reduction!r}")
        reduction, size_average = size_average, None
    checked = check_reduction(reduction)
    if size_average is None and reduce is None:
        return checked
    for name, flag in (("size_average", size_average), ("reduce", reduce)):
        if flag is not None and not isinstance(flag, bool | np.bool_):
            raise TypeError(f"{name} must be a bool or None, got {flag!r}")
    meant: Reduction
    if reduce is not None and not reduce:
        meant = "none"
    elif size_average is not None and not size_average:
        meant = "sum"
    else:
        meant = "mean"
    warn(f"size_average and reduce are deprecated; use reduction={meant!r}", DeprecationWarning)
    return meant


def as_float(name: str, value: object) -> float:
    """Return a parameter given as a number, a NumPy scalar or an array of one element."""
    if type(value) is float:
        return value
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "SUMm":  # strings and times, which Python would make numbers of
            return float(array.item())
    except OverflowError:
        raise ValueError(f"{name} lies beyond the range of float64: {shown(value)}") from None
    except Exception:  # the conversion is code of the object's class, and may raise anything
        pass
    raise TypeError(f"{name} must be one real number, got {shown(value)}")


def is_fraction(value: object) -> bool:
    """Whether a value is a fraction that counts exactly; integers are numbers like others."""
    return isinstance(value, numbers.Rational) and not isinstance(value, numbers.Integral)


def check_threads(name: str, value: object) -> int:
    """Return a number of threads as an int >= 1."""
    try:
        if isinstance(value, bool):
            raise TypeError
        n = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an int of at least 1 or None, got {value!r}") from None
    if n < 1:
        raise ValueError(f"{name} must be at least 1, got {shown(n)}")
    return n


# ---- arrays ----------------------------------------------------------------------------------------------------------------------


def as_array(name: str, value: Any) -> Array:
    """Return an array-like as an ndarray, without a copy where its producer allows."""
    convert: Callable[[Any], Array] = np.asarray
    if type(value) not in ORDINARY:
        if _check_memory(name, value):
            convert = _numpy_of_tensor
        elif hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            convert = np.from_dlpack
    try:
        return convert(value)
    except MemoryError:
        raise
    except Exception as error:  # producers raise what they like: torch, for one, RuntimeError
        raise TypeError(f"{name} cannot be turned into an array of numbers: {error}") from error


def _numpy_of_tensor(tensor: Any) -> Array:
    return np.asarray(tensor.numpy())  # without NumPy's search for a protocol, which takes half as long again


def _check_memory(name: str, value: Any) -> bool:
    """Raise TypeError for objects whose elements cannot be read as they are; return whether it is a tensor of torch's."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array: pass its data, and where=~numpy.ma.getmaskarray({name}) for the elements that count"
        )
    # A data frame has its columns as attributes, whatever they are called; hence `is True` and `callable`.
    requires_grad = getattr(value, "requires_grad", None)
    if requires_grad is True:
        raise TypeError(f"{name} is a tensor that requires grad, which cylosses cannot record: pass {name}.detach()")
    # Torch takes longer to answer the questions that others are asked.
    is_tensor = requires_grad is False and getattr(value, "is_cpu", False) is True
    if not is_tensor and (
        hasattr(value, "__cuda_array_interface__") or getattr(getattr(value, "device", "cpu"), "type", "cpu") not in ("cpu",)
    ):
        raise TypeError(f"{name} is not in the CPU's memory: copy it there first, e.g. {name}.cpu() or {name}.get()")
    is_neg = getattr(value, "is_neg", None)
    if callable(is_neg) and is_neg() is True:
        raise TypeError(f"{name} is a tensor whose negative bit is set, with other numbers in memory: pass {name}.resolve_neg()")
    if str(getattr(value, "dtype", "")) == "torch.bfloat16":
        raise TypeError(f"{name} is a bfloat16 tensor, which torch does not hand to NumPy: pass {name}.float()")
    return is_tensor


def refuse_dtype(name: str, array: Array) -> NoReturn:
    """Raise TypeError for elements that no kernel reads."""
    if lacks_values(array):
        raise TypeError(
            f"{name} has missing values (NA), and so dtype object: fill them (fillna), drop them (dropna), or make them NaN "
            f"(e.g. {name}.to_numpy(dtype=float, na_value=numpy.nan)) and leave them out with where="
        )
    hint = {
        "c": "; take the real part or the absolute value first",
        "O": "; convert it, e.g. with astype(float)",
        "f": "; convert it to float64",
    }
    raise TypeError(f"{name} has dtype {array.dtype}, which is not supported{hint.get(array.dtype.kind, '')}: {ACCEPTED}")


def lacks_values(array: Array) -> bool:
    """Whether elements of an array of objects are missing: NA, NaT or None."""
    return array.dtype.kind == "O" and array.ndim > 0 and any(type(item).__name__ in MISSING for item in array.flat)


def refuse_mask(array: Array) -> NoReturn:
    """Raise TypeError for a `where` that is not of bool."""
    if lacks_values(array):
        raise TypeError(
            "where has missing values (NA), and so dtype object: say whether such elements count, e.g. with where.fillna(False)"
        )
    raise TypeError(f"where has dtype {array.dtype}; it must be bool, True where an element counts")


def check_wide_weights(array: Array) -> None:
    """Raise ValueError for integer weights that float64 does not hold."""
    if array.max(initial=0) > 2**53:
        raise ValueError(f"weight holds {array.max()}: integers above 2**53 are not exact in float64")


def check_output_type(name: str, out: object) -> None:
    """Raise TypeError for what is no plain array."""
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a numpy.ndarray, got {type(out).__name__}")


def refuse_shapes(of_input: tuple[int, ...], of_target: tuple[int, ...], shape: tuple[int, ...] | None = None) -> NoReturn:
    """Raise ValueError for shapes that do not broadcast, or to `shape`, which has too many elements."""
    shapes = f"input of shape {of_input} and target of shape {of_target}"
    if shape is None:
        raise ValueError(f"{shapes} cannot be broadcast together")
    raise ValueError(f"{shapes} broadcast to too many elements: {shape}")


def refuse_parameters(name: str, shape: tuple[int, ...], of_input: tuple[int, ...], of_target: tuple[int, ...]) -> NoReturn:
    """Raise ValueError for an array of parameters that does not broadcast with the operands, or to too many elements."""
    raise ValueError(f"{name} of shape {shape} cannot be broadcast with input of shape {of_input} and target of shape {of_target}")


def refuse_axis(axis: object) -> NoReturn:
    """Raise TypeError for what is no axis."""
    raise TypeError(f"axis must be an int, a tuple of int or None, got {shown(axis)}")


def refuse_axis_twice(axis: object) -> NoReturn:
    """Raise ValueError for axes of which two are the same."""
    raise ValueError(f"axis {axis!r} names an axis twice")


def refuse_layouts(held: tuple[int | None, ...] | None, given: tuple[int | None, ...] | None) -> NoReturn:
    """Raise ValueError for data whose slices are not those that are summed."""
    raise ValueError(
        f"data of shape {text_of_layout(given)} cannot be added to that of shape {text_of_layout(held)}: only axes that are summed "
        "over, which are shown as *, may differ in length"
    )


def text_of_layout(layout: tuple[int | None, ...] | None) -> str:
    """Return how a message shows the lengths of axes, with * for those that are summed over."""
    lengths = ["*" if length is None else str(length) for length in layout or ()]
    return f"({', '.join(lengths)}{',' if len(lengths) == 1 else ''})"


def warn_of_broadcast(of_input: tuple[int, ...], of_target: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Warn that both operands, of more than one element each, were broadcast."""
    warn(_text_of_broadcast(of_input, of_target, shape), BroadcastWarning)


@lru_cache(maxsize=256)
def _text_of_broadcast(of_input: tuple[int, ...], of_target: tuple[int, ...], shape: tuple[int, ...]) -> str:
    return (
        f"input has shape {of_input} and target has shape {of_target}; they are broadcast to {shape}. "
        "Reshape one of them if that is not what you mean."
    )
