"""The one place that turns arguments into a checked call: arrays, dtypes, broadcasting, weights, masks, axes, outputs, threads.

Everything public comes through `Call`; what a row of the semantics table says is written here once. The kernels below
(`cylosses._core.dispatch`) trust what they get from here.
"""

import functools
import itertools
import math
import numbers
import operator
import sys
import warnings
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, cast

import numpy as np

from cylosses._core import dispatch
from cylosses._threads import check_threads
from cylosses._types import Array, Reduction

Arrays: TypeAlias = dict[str, Array]
Scale: TypeAlias = tuple[float, float, int]  # what derivatives are multiplied with: (high + low) * 2**exponent

REDUCTIONS = ("none", "mean", "sum")
ONE: Scale = (1.0, 0.0, 0)
CURVATURES = ("exact", "mm", "ones")  # in the order of Curvature in job.pxd
PACKAGE = __file__[: __file__.rindex("_call")]  # without pathlib, whose import takes as long as that of this package
NUMBERS = frozenset({bool, int, float})
ORDINARY = NUMBERS | {list, tuple, np.float32, np.float64}  # numpy.asarray does the right thing with these
ACCEPTED = "bool, integers, float16, bfloat16, float32 and float64 are accepted"
MISSING = frozenset({"NAType", "NaTType", "NoneType"})  # of pandas, which is not imported for this, and of Python
ACCEPTED_NUMBERS = frozenset([np.dtype(char).num for char in "?bBhHiIlLqQefd"])  # without long double, whatever its size


class BroadcastWarning(UserWarning):
    """Warns that input and target of different shapes were broadcast, often a mistake: ``(n,)`` against ``(n, 1)``."""


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


def check_reduction(reduction: object) -> Reduction:
    """Return a reduction that is one of the three."""
    if not isinstance(reduction, str) or reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be 'none', 'mean' or 'sum', got {shown(reduction)}")
    return cast(Reduction, str(reduction))


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
    except Exception:  # what the conversion of an object of others raises is its own affair
        pass
    raise TypeError(f"{name} must be one real number, got {shown(value)}")


def as_array(name: str, value: object) -> Array:
    """Return an array-like as an ndarray, without a copy where its producer allows."""
    if type(value) is np.ndarray:
        return value
    convert: Callable[[Any], Array] = np.asarray
    if type(value) not in ORDINARY:
        _check_memory(name, value)
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            convert = np.from_dlpack
    try:
        return convert(value)
    except MemoryError:
        raise
    except Exception as error:  # producers raise what they like: torch, for one, RuntimeError
        raise TypeError(f"{name} cannot be turned into an array of numbers: {error}") from error


def _check_memory(name: str, value: object) -> None:
    """Raise TypeError for objects that look like arrays and whose elements cannot be read as they are."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array: pass its data, and where=~numpy.ma.getmaskarray({name}) for the elements that count"
        )
    # A data frame has its columns as attributes, whatever they are called; hence `is True` and `callable`.
    if getattr(value, "requires_grad", False) is True:
        raise TypeError(f"{name} is a tensor that requires grad, which cylosses cannot record: pass {name}.detach()")
    if hasattr(value, "__cuda_array_interface__") or getattr(getattr(value, "device", "cpu"), "type", "cpu") not in ("cpu",):
        raise TypeError(f"{name} is not in the CPU's memory: copy it there first, e.g. {name}.cpu() or {name}.get()")
    is_neg = getattr(value, "is_neg", None)
    if callable(is_neg) and is_neg() is True:
        raise TypeError(f"{name} is a tensor whose negative bit is set, with other numbers in memory: pass {name}.resolve_neg()")
    if str(getattr(value, "dtype", "")) == "torch.bfloat16":
        raise TypeError(f"{name} is a bfloat16 tensor, which torch does not hand to NumPy: pass {name}.float()")


def as_operand(name: str, value: object) -> Array:
    """Return an array-like of elements that the kernels read as an ndarray."""
    array = value if type(value) is np.ndarray else as_array(name, value)
    check_dtype(name, array)
    return array


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether elements of an accepted dtype are floating-point numbers."""
    return dtype.kind == "f" or dtype.name == "bfloat16"


def check_dtype(name: str, array: Array) -> None:
    """Raise TypeError for elements that no kernel reads."""
    dtype = array.dtype
    if dtype.num in ACCEPTED_NUMBERS or dtype.name == "bfloat16":
        return
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
    raise TypeError(f"{name} has dtype {dtype}, which is not supported{hint.get(dtype.kind, '')}: {ACCEPTED}")


def lacks_values(array: Array) -> bool:
    """Whether elements of an array of objects are missing: NA, NaT or None."""
    return array.dtype.kind == "O" and array.ndim > 0 and any(type(item).__name__ in MISSING for item in array.flat)


def check_mask(array: Array) -> None:
    """Raise TypeError for a `where` that is not of bool."""
    if lacks_values(array):
        raise TypeError(
            "where has missing values (NA), and so dtype object: say whether such elements count, e.g. with where.fillna(False)"
        )
    if array.dtype.kind != "b":
        raise TypeError(f"where has dtype {array.dtype}; it must be bool, True where an element counts")


@functools.lru_cache(maxsize=256)
def broadcast(of_input: tuple[int, ...], of_target: tuple[int, ...]) -> tuple[tuple[int, ...], str]:
    """Return the shape that operands of different shapes are broadcast to, and the warning that says so.

    The warning is empty where an operand has one element: a number that is meant for all is no mistake.
    """
    # Not numpy.broadcast_shapes, which takes 32 dimensions at most, while arrays have up to 64.
    pairs = list(itertools.zip_longest(reversed(of_input), reversed(of_target), fillvalue=1))
    shape = tuple([m if n == 1 else n for n, m in reversed(pairs)])
    if any(n != m and 1 not in (n, m) for n, m in pairs):
        raise ValueError(f"input of shape {of_input} and target of shape {of_target} cannot be broadcast together")
    if math.prod([n for n in shape if n]) > sys.maxsize:  # as NumPy counts: an empty array, too, has an address for each index
        raise ValueError(f"input of shape {of_input} and target of shape {of_target} broadcast to too many elements: {shape}")
    if math.prod(of_input) == 1 or math.prod(of_target) == 1:
        return shape, ""
    return shape, (
        f"input has shape {of_input} and target has shape {of_target}; they are broadcast to {shape}. "
        "Reshape one of them if that is not what you mean."
    )


@functools.cache
def result_dtype(*dtypes: np.dtype[Any] | None) -> np.dtype[Any]:
    """Return the dtype of results: the widest float among accepted dtypes; float64 for integers alone.

    None stands for a Python number.
    """
    floats = [np.dtype(dtype.type) for dtype in dtypes if dtype is not None and is_float(dtype)]  # in the machine's byte order
    if not floats:
        return np.dtype(np.float64)
    widest: np.dtype[Any] = max(floats, key=lambda dtype: dtype.itemsize)
    if any(dtype.itemsize == widest.itemsize and dtype != widest for dtype in floats):
        return np.dtype(np.float32)  # float16 with bfloat16: neither holds the other
    return widest


# ---- a call ----------------------------------------------------------------------------------------------------------------------


class Call:
    """The checked operands of one call, and what can be computed from them.

    Parameters
    ----------
    loss : Loss
        Gives the row of the kernels' table and its parameter.
    input, target : array_like
        Of shapes that broadcast.
    weight, where : array_like, optional
        Of shapes that broadcast to that of input with target.
    n_threads : int, optional
        At most so many threads.

    Attributes
    ----------
    shape : tuple of int
        The broadcast shape of input and target.
    dtype : numpy.dtype
        Of the results.
    """

    __slots__ = ("dtype", "loss", "n_threads", "operands", "shape")

    def __init__(
        self, loss: Any, input: object, target: object, weight: object = None, where: object = None, n_threads: object = None
    ) -> None:
        self.loss = loss
        first, second = as_operand("input", input), as_operand("target", target)
        # A Python number has no width of its own, as in NumPy 2; the kernels round it as they read it.
        self.dtype = result_dtype(
            None if type(input) in NUMBERS else first.dtype, None if type(target) in NUMBERS else second.dtype
        )
        if self.dtype.itemsize < 8:
            loss._check_rounded()
        self.operands: Arrays = {"input": first, "target": second}
        self.shape = first.shape
        if self.shape != second.shape:
            self.shape, message = broadcast(self.shape, second.shape)
            if message:
                warn(message, BroadcastWarning)
        if weight is not None:
            self.operands["weight"] = self._weight(weight)
        if where is not None:
            array = self._fitting("where", as_array("where", where))
            check_mask(array)
            self.operands["where"] = array
        self.n_threads = 0 if n_threads is None else check_threads("n_threads", n_threads)

    def _fitting(self, name: str, array: Array, shape: tuple[int, ...] | None = None) -> Array:
        """Return the array if it broadcasts to `shape`, by default that of the call."""
        shape = self.shape if shape is None else shape
        of_array = array.shape
        if of_array != shape and (
            len(of_array) > len(shape) or any(n not in (1, m) for n, m in zip(reversed(of_array), reversed(shape)))  # noqa: B905  # those it has
        ):
            raise ValueError(f"{name} of shape {of_array} cannot be broadcast to {shape}")
        return array

    def _weight(self, weight: object) -> Array:
        array = self._fitting("weight", as_array("weight", weight))
        check_dtype("weight", array)
        if array.dtype.kind in "iu" and array.dtype.itemsize == 8 and array.max(initial=0) > 2**53:
            raise ValueError(f"weight holds {array.max()}: integers above 2**53 are not exact in float64")
        return array

    # -- axes --

    def kept_axes(self, axis: object) -> list[int] | None:
        """Return the axes that a reduction over `axis` leaves; None if it leaves none, as by default."""
        if axis is None:
            return None
        ndim = len(self.shape)
        kept = list(range(ndim))
        for item in axis if isinstance(axis, tuple) else (axis,):
            try:
                k = operator.index(item)
            except TypeError:
                raise TypeError(f"axis must be an int, a tuple of int or None, got {shown(axis)}") from None
            if not -ndim <= k < ndim:
                raise ValueError(f"axis {shown(k)} is out of bounds for the shape {self.shape}")
            if k % ndim not in kept:
                raise ValueError(f"axis {axis!r} names an axis twice")
            kept.remove(k % ndim)
        return kept

    def _kept_of(self, shape: tuple[int, ...]) -> list[int]:
        """Return the axes of the call that an operand of this shape has, and was not broadcast along."""
        padded = (1,) * (len(self.shape) - len(shape)) + shape
        return [k for k, n in enumerate(self.shape) if padded[k] == n]

    def _with_ones(self, kept: list[int] | None) -> tuple[int, ...]:
        """Return the shape of the call with 1 where it is summed over."""
        return tuple([n if k in kept else 1 for k, n in enumerate(self.shape)]) if kept else (1,) * len(self.shape)

    def _left(self, kept: list[int] | None) -> tuple[int, ...]:
        """Return the shape of what is left of the call."""
        return tuple([self.shape[k] for k in kept]) if kept else ()

    # -- outputs --

    def output(self, name: str, out: object, shape: tuple[int, ...]) -> Array:
        """Return `out` if it is an array of exactly this shape and the result's dtype, or a new array if it is None."""
        if out is None:
            return np.empty(shape, self.dtype)
        if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
            raise TypeError(f"{name} must be a numpy.ndarray, got {type(out).__name__}")
        if out.dtype != self.dtype:
            raise TypeError(f"{name} has dtype {out.dtype.str} ({out.dtype}); the result needs {self.dtype.str} ({self.dtype})")
        if out.shape != shape:
            raise ValueError(f"{name} has shape {out.shape}; the result needs {shape}")
        if not out.flags.writeable:
            raise ValueError(f"{name} is read-only")
        return out

    def _apart(self, out: Array, extra: Arrays) -> Array:
        """Return `out`, or a fresh array to write to first if writing to `out` could change an operand that is still to be read."""
        for operand in (*self.operands.values(), *extra.values()):
            if np.may_share_memory(operand, out) and not _same_elements(operand, out):
                return np.empty(out.shape, self.dtype)
        return out

    def _check_weight_first(self, outputs: Iterable[Array], extra: Arrays) -> None:
        """Refuse bad weights before anything is written to an output that overlaps an operand, which then stays as it is."""
        if "weight" in self.operands:
            operands = (*self.operands.values(), *extra.values())
            if any(np.may_share_memory(operand, out) for out in outputs for operand in operands):
                self._run(self.operands, summed="weight")

    # -- jobs --

    def _run(
        self,
        operands: Arrays,
        kept: list[int] | None = None,
        *,
        summed: str = "",
        divide: bool = False,
        result: Array | None = None,
        factors: Array | None = None,
        curvature: int = 0,
        scale: Scale = ONE,
        totals: tuple[dispatch.ExactSum, dispatch.ExactSum] | None = None,
    ) -> int:
        """Run one job on operands and outputs that broadcast to the call's shape; the elements of `kept` axes have a sum each."""
        loss = self.loss
        # By position: passing on keywords takes as long as a small job.
        return dispatch.execute(
            loss._code,
            loss._parameter,
            self.dtype,
            self.n_threads,
            self.shape,
            kept,
            operands,
            summed,
            divide,
            result,
            factors,
            curvature,
            scale,
            totals,
        )

    def values(self, out: object = None) -> Array:
        """Return weight times loss of each element."""
        final = self.output("out", out, self.shape)
        written = final if out is None else self._apart(final, {})
        self._check_weight_first(() if out is None else (written,), {})
        self._run(self.operands | {"value": written})
        return _moved(written, final)

    def reduced(self, reduction: str, axis: object = None, keepdims: bool = False, out: object = None) -> Any:
        """Return the exact mean or sum, rounded once: a scalar, an array for the axes that are left, or `out`."""
        kept = self.kept_axes(axis)
        shape = self._with_ones(kept) if keepdims else self._left(kept)
        final = self.output("out", out, shape)
        result = final if out is None else np.empty(shape, self.dtype)
        self._run(self.operands, kept, summed="value", divide=reduction == "mean", result=result)
        if out is None:
            return result if shape else result[()]
        return _moved(result, final)

    def add_to(self, total: dispatch.ExactSum, weights: dispatch.ExactSum) -> int:
        """Add weighted losses and weights to exact totals; return the number of elements that count."""
        count = self._run(self.operands, summed="value", totals=(total, weights))
        if "weight" not in self.operands:
            weights.add_count(count)
        return count

    def _factor(self, reduction: str, kept: list[int] | None, grad_output: object, wrt: str) -> tuple[Scale, Arrays]:
        """Return what each derivative is multiplied with, incoming gradient over divisor: a number for all, and operands."""
        if isinstance(grad_output, numbers.Rational) and not isinstance(grad_output, numbers.Integral):
            if reduction != "mean":
                fraction = int(grad_output.numerator), int(grad_output.denominator)
                return _signed(dispatch.factor_of_fraction(*fraction), wrt), {}
            grad_output = as_float("grad_output", grad_output)
        incoming = None if grad_output is None else self._incoming(reduction, kept, as_operand("grad_output", grad_output))
        for_each = incoming is not None and incoming.size != 1
        selective = "weight" in self.operands or "where" in self.operands
        if reduction != "mean" or not (selective or for_each):
            count = 1
            if reduction == "mean":
                count = math.prod([n for k, n in enumerate(self.shape) if k not in kept] if kept else self.shape)
            if for_each:
                return _signed(ONE, wrt), {"grad_output": cast(Array, incoming)}
            return _signed(dispatch.factor(incoming, count), wrt), {}
        factors = np.empty((3, math.prod(self._left(kept))))
        dividend = {} if incoming is None else {"dividend": incoming}
        self._run(self.operands | dividend, kept, summed="weight", factors=factors)
        if not kept:
            high, low, exponent = factors[:, 0].tolist()
            return _signed((high, low, int(exponent)), wrt), {}
        names = ("grad_output", "grad_low", "grad_exponent")
        operands = {name: factor.reshape(self._with_ones(kept)) for name, factor in zip(names, factors, strict=True)}
        if not operands["grad_exponent"].any():
            del operands["grad_exponent"]
        if self.dtype.itemsize < 8 or "weight" not in self.operands:
            del operands["grad_low"]  # too little to count
        return _signed(ONE, wrt), operands

    def _incoming(self, reduction: str, kept: list[int] | None, incoming: Array) -> Array:
        """Return an incoming gradient that broadcasts to the shape of the call."""
        if incoming.size == 1:
            return incoming.reshape(())
        if reduction == "none":
            return self._fitting("grad_output", incoming)
        if not kept:
            raise ValueError(f"grad_output must be one number for reduction={reduction!r}, got shape {incoming.shape}")
        incoming = incoming.reshape(self._with_ones(kept)) if incoming.shape == self._left(kept) else incoming
        return self._fitting("grad_output", incoming, self._with_ones(kept))

    def derivatives(
        self,
        reduction: str,
        *,
        axis: object = None,
        grad_output: object = None,
        wrt: str = "input",
        value: bool = False,
        hessian: str = "",
        outs: tuple[object, object, object] = (None, None, None),
    ) -> tuple[Any, Array, Any]:
        """Return (value or None, gradient, Hessian or None) from one pass over the data.

        Parameters
        ----------
        wrt : {'input', 'target'}
            The operand that the gradient belongs to and whose shape it has; what was broadcast is summed exactly,
            in further passes.
        value : bool
            Whether the reduced loss is wanted.
        hessian : str
            The curvature that is wanted; empty for none.
        outs : tuple
            What was passed to take value, gradient and Hessian.
        """
        if wrt not in ("input", "target"):
            raise ValueError(f"wrt must be 'input' or 'target', got {shown(wrt)}")
        kept = self.kept_axes(axis)
        scale, extra = self._factor(reduction, kept, grad_output, wrt)
        shape: tuple[int, ...] = self.operands[wrt].shape
        # What is summed is rounded into arrays of its own: the value, and derivatives over what was broadcast.
        value_summed, derivatives_summed = reduction != "none", shape != self.shape
        of_value = self._left(kept) if value_summed else self.shape
        final = {"value": self.output("out for the value", outs[0], of_value)} if value else {}
        final["gradient"] = self.output("out for the gradient", outs[1], shape)
        if hessian:
            final["hessian"] = self.output("out for the hessian", outs[2], shape)
        written, given = final, outs[0] is not None or outs[1] is not None or outs[2] is not None
        if given:
            _check_distinct(final)
            written = {
                name: np.empty(array.shape, self.dtype)
                if (value_summed if name == "value" else derivatives_summed)
                else self._apart(array, extra)
                for name, array in final.items()
            }
            if reduction != "mean":  # whose divisor is the sum of the weights
                self._check_weight_first(written.values(), extra)
        operands = self.operands | extra
        curvature = CURVATURES.index(hessian) if hessian else 0
        if derivatives_summed:
            axes = self._kept_of(shape)
            for name in ("gradient", "hessian") if hessian else ("gradient",):
                self._run(operands, axes, summed=name, result=written[name], curvature=curvature, scale=scale)
        else:
            operands["gradient"] = written["gradient"]
            if hessian:
                operands["hessian"] = written["hessian"]
        if value and value_summed:
            divide = reduction == "mean"
            self._run(operands, kept, summed="value", divide=divide, result=written["value"], curvature=curvature, scale=scale)
        elif value or not derivatives_summed:
            if value:
                operands["value"] = written["value"]
            self._run(operands, curvature=curvature, scale=scale)
        if given:
            for name, array in written.items():
                _moved(array, final[name])
        of_loss = final.get("value")
        if of_loss is not None and value_summed and not of_value and outs[0] is None:
            of_loss = of_loss[()]
        return of_loss, final["gradient"], final.get("hessian")


def _moved(written: Array, final: Array) -> Array:
    """Return `final` with the contents of `written`."""
    if written is not final:
        final[...] = written
    return final


def _signed(scale: Scale, wrt: str) -> Scale:
    """Return the scale of derivatives by input or target."""
    high, low, exponent = scale
    return (-high, -low, exponent) if wrt == "target" else scale


def _same_elements(a: Array, b: Array) -> bool:
    """Whether each element of one array lies exactly where that of the other lies."""
    return a.ctypes.data == b.ctypes.data and a.strides == b.strides and a.shape == b.shape and a.dtype == b.dtype


def _check_distinct(outputs: Arrays) -> None:
    for (first, a), (second, b) in itertools.combinations(outputs.items(), 2):
        if np.may_share_memory(a, b):
            raise ValueError(f"out for the {first} and out for the {second} share memory")
