"""The one place that turns arguments into a checked call: arrays, dtypes, broadcasting, weights, masks, axes, outputs, threads.

Everything public comes through `Call`; what a row of the semantics table says is written here once. The kernels below
(`cylosses._kernels.dispatch`) trust what they get from here.
"""

import itertools
import operator
import os
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from cylosses._kernels import dispatch
from cylosses._threads import check_threads

Array: TypeAlias = np.ndarray[Any, Any]
Arrays: TypeAlias = dict[str, Array]

REDUCTIONS = ("none", "mean", "sum")
CURVATURES = ("exact", "mm", "ones")  # in the order of Curvature in job.pxd
PACKAGE = str(Path(__file__).parent) + os.sep
ACCEPTED = "bool, integers, float16, bfloat16, float32 and float64 are accepted"


class BroadcastWarning(UserWarning):
    """Warns that input and target of different shapes were broadcast, often a mistake: ``(n,)`` against ``(n, 1)``."""


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the line of the caller outside this package."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


# ---- single arguments ------------------------------------------------------------------------------------------------------------


def check_reduction(reduction: object) -> str:
    """Return a reduction that is one of the three."""
    if not isinstance(reduction, str) or reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be 'none', 'mean' or 'sum', got {reduction!r}")
    return str(reduction)


def reduction_of(size_average: object, reduce: object, reduction: object) -> str:
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
        if not isinstance(value, str | bytes):
            return float(np.asarray(value).item())
    except (TypeError, ValueError):
        pass
    raise TypeError(f"{name} must be one real number, got {value!r}")


def as_array(name: str, value: object) -> Array:
    """Return an array-like as an ndarray, without a copy where its producer allows."""
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array: pass its data, and where=~numpy.ma.getmaskarray({name}) for the elements that count"
        )
    if getattr(value, "requires_grad", False):
        raise TypeError(f"{name} is a tensor that requires grad, which cylosses cannot record: pass {name}.detach()")
    if hasattr(value, "__cuda_array_interface__") or getattr(getattr(value, "device", "cpu"), "type", "cpu") not in ("cpu",):
        raise TypeError(f"{name} is not in the CPU's memory: copy it there first, e.g. {name}.cpu() or {name}.get()")
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except (TypeError, ValueError, BufferError) as error:
        raise TypeError(f"{name} cannot be turned into an array of numbers: {error}") from error


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether elements of an accepted dtype are floating-point numbers."""
    return dtype.kind == "f" or dtype.name == "bfloat16"


def check_dtype(name: str, dtype: np.dtype[Any]) -> None:
    """Raise TypeError for elements that no kernel reads."""
    if dtype.kind in "biu" or (dtype.kind == "f" and dtype.itemsize <= 8) or dtype.name == "bfloat16":
        return
    hint = {
        "c": "; take the real part or the absolute value first",
        "O": "; convert it, e.g. with astype(float)",
        "f": "; convert it to float64",
    }
    raise TypeError(f"{name} has dtype {dtype}, which is not supported{hint.get(dtype.kind, '')}: {ACCEPTED}")


def result_dtype(arrays: Iterable[tuple[Array, bool]]) -> np.dtype[Any]:
    """Return the dtype of results: the widest float among the (array, is a Python number) pairs; float64 for integers alone.

    As in NumPy 2, Python numbers have no width of their own.
    """
    pairs = list(arrays)
    floats = [array.dtype.newbyteorder("=") for array, weak in pairs if not weak and is_float(array.dtype)]
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

    __slots__ = ("dtype", "loss", "n_threads", "operands", "shape", "single")

    def __init__(
        self, loss: Any, input: object, target: object, *, weight: object = None, where: object = None, n_threads: object = None
    ) -> None:
        self.loss = loss
        pairs = []
        for name, value in (("input", input), ("target", target)):
            array = as_array(name, value)
            check_dtype(name, array.dtype)
            pairs.append((array, type(value) in (bool, int, float)))
        self.dtype = result_dtype(pairs)
        self.single = self.dtype != np.float64
        if self.single:
            loss._check_rounded(dispatch.round_to_single(loss._parameter))
        working = np.dtype(np.float32 if self.single else np.float64)
        with np.errstate(over="ignore"):
            first, second = (array.astype(working) if weak else array for array, weak in pairs)
        self.operands: Arrays = {"input": first, "target": second}
        self.shape = self._broadcast(first.shape, second.shape)
        if weight is not None:
            array = self._fitting("weight", as_array("weight", weight))
            check_dtype("weight", array.dtype)
            if array.dtype.kind in "iu" and array.dtype.itemsize == 8 and array.max(initial=0) > 2**53:
                raise ValueError(f"weight holds {array.max()}: integers above 2**53 are not exact in float64")
            self.operands["weight"] = array
        if where is not None:
            array = self._fitting("where", as_array("where", where))
            if array.dtype != np.bool_:
                raise TypeError(f"where has dtype {array.dtype}; it must be bool, True where an element counts")
            self.operands["where"] = array.view(np.uint8)
        self.n_threads = 0 if n_threads is None else check_threads("n_threads", n_threads)

    @staticmethod
    def _broadcast(of_input: tuple[int, ...], of_target: tuple[int, ...]) -> tuple[int, ...]:
        if of_input == of_target:
            return of_input
        try:
            shape = np.broadcast_shapes(of_input, of_target)
        except ValueError:
            raise ValueError(f"input of shape {of_input} and target of shape {of_target} cannot be broadcast together") from None
        warn(
            f"input has shape {of_input} and target has shape {of_target}; they are broadcast to {shape}. "
            "Reshape one of them if that is not what you mean.",
            BroadcastWarning,
        )
        return shape

    def _fitting(self, name: str, array: Array, shape: tuple[int, ...] | None = None) -> Array:
        """Return the array if it broadcasts to `shape`, by default that of the call."""
        shape = self.shape if shape is None else shape
        try:
            if np.broadcast_shapes(array.shape, shape) == shape:
                return array
        except ValueError:
            pass
        raise ValueError(f"{name} of shape {array.shape} cannot be broadcast to {shape}")

    # -- axes --

    def kept_axes(self, axis: object) -> list[int] | None:
        """Return the axes that a reduction over `axis` leaves; None if it leaves none, as by default."""
        ndim = len(self.shape)
        if axis is None:
            return None
        axes = axis if isinstance(axis, tuple) else (axis,)
        reduced = set()
        for item in axes:
            try:
                k = operator.index(item)
            except TypeError:
                raise TypeError(f"axis must be an int, a tuple of int or None, got {axis!r}") from None
            if not -ndim <= k < ndim:
                raise ValueError(f"axis {k} is out of bounds for the shape {self.shape}")
            if k % ndim in reduced:
                raise ValueError(f"axis {axis!r} names an axis twice")
            reduced.add(k % ndim)
        return [k for k in range(ndim) if k not in reduced]

    def _kept_of(self, shape: tuple[int, ...]) -> list[int]:
        """Return the axes of the call that an operand of this shape has, and was not broadcast along."""
        padded = (1,) * (len(self.shape) - len(shape)) + shape
        return [k for k, n in enumerate(self.shape) if padded[k] == n]

    def _with_ones(self, kept: list[int] | None) -> tuple[int, ...]:
        """Return the shape of the call with 1 where it is summed over."""
        return tuple(n if k in (kept or ()) else 1 for k, n in enumerate(self.shape))

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
            same = (
                operand.ctypes.data == out.ctypes.data
                and operand.strides == out.strides
                and operand.shape == out.shape
                and operand.dtype == out.dtype
            )
            if not same and np.may_share_memory(operand, out):
                return np.empty(out.shape, self.dtype)
        return out

    # -- jobs --

    def _run(self, kept: list[int] | None = None, arrays: Arrays | None = None, **settings: Any) -> int:
        """Run one job; `arrays` are operands and outputs of the call's shape beside input, target, weight and where.

        With `kept` axes, everything is seen with those first, and each of their elements has a sum of its own.
        """
        operands: dict[str, Any] = self.operands | (arrays or {})
        shape, outer = self.shape, 0
        if kept:
            outer = len(kept)
            order = kept + [k for k in range(len(shape)) if k not in kept]
            operands = {name: np.broadcast_to(array, shape).transpose(order) for name, array in operands.items()}
            shape = tuple(shape[k] for k in order)
        return dispatch.execute(
            self.loss._code,
            self.loss._parameter,
            shape=shape,
            outer=outer,
            single=self.single,
            dtype=self.dtype,
            n_threads=self.n_threads,
            **operands,
            **settings,
        )

    def values(self, out: object = None) -> Array:
        """Return weight times loss of each element."""
        final = self.output("out", out, self.shape)
        written = self._apart(final, {})
        self._run(arrays={"value": written})
        return _moved(written, final)

    def reduced(self, reduction: str, axis: object = None, keepdims: bool = False, out: object = None) -> Any:
        """Return the exact mean or sum, rounded once: a scalar, an array for the axes that are left, or `out`."""
        kept = self.kept_axes(axis)
        shape = self._with_ones(kept) if keepdims else tuple(self.shape[k] for k in kept or ())
        final = self.output("out", out, shape)
        result = np.empty(shape, self.dtype)
        self._run(kept, summed="value", divide=reduction == "mean", result=result)
        if out is None:
            return result[()] if not shape else result
        return _moved(result, final)

    def add_to(self, total: dispatch.ExactSum, weights: dispatch.ExactSum) -> int:
        """Add weighted losses and weights to exact totals; return the number of elements that count."""
        count = self._run(summed="value", total=total, weights=weights)
        if "weight" not in self.operands:
            weights.add_count(count)
        return count

    def _divisor(self, kept: list[int] | None) -> Array:
        """Return what a mean divides by, in float64 and with ones for the axes that are summed over."""
        if not {"weight", "where"} & self.operands.keys():
            return np.asarray(np.prod([n for k, n in enumerate(self.shape) if k not in (kept or ())], dtype=np.float64))
        divisor = np.empty(self._with_ones(kept))
        self._run(kept, summed="weight", result=divisor, result_dtype=divisor.dtype)
        return divisor

    def _factor(self, reduction: str, kept: list[int] | None, grad_output: object, wrt: str) -> dict[str, Any]:
        """Return the settings for what each derivative is multiplied with: incoming gradient over divisor, with its sign."""
        factor: Any = 1.0
        if grad_output is not None:
            factor = as_array("grad_output", grad_output)
            check_dtype("grad_output", factor.dtype)
            if factor.size == 1:
                factor = float(factor.item())
            elif reduction == "none":
                factor = self._fitting("grad_output", factor)
            elif kept:
                left = tuple(self.shape[k] for k in kept)
                factor = factor.reshape(self._with_ones(kept)) if factor.shape == left else factor
                factor = self._fitting("grad_output", factor, self._with_ones(kept))
            else:
                raise ValueError(f"grad_output must be one number for reduction={reduction!r}, got shape {factor.shape}")
        if reduction == "mean":
            with np.errstate(all="ignore"):
                factor = np.asarray(factor, np.float64) / self._divisor(kept)
        scale = -1.0 if wrt == "target" else 1.0
        if np.size(factor) == 1:
            return {"scale": scale * float(np.asarray(factor).item())}
        return {"scale": scale, "arrays": {"grad_output": np.asarray(factor)}}

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
            raise ValueError(f"wrt must be 'input' or 'target', got {wrt!r}")
        kept = self.kept_axes(axis)
        settings = self._factor(reduction, kept, grad_output, wrt)
        extra: Arrays = settings.pop("arrays", {})
        shape: tuple[int, ...] = self.operands[wrt].shape
        of_value = self.shape if reduction == "none" else tuple(self.shape[k] for k in kept or ())
        wanted = {"value": value, "gradient": True, "hessian": bool(hessian)}
        shapes = {"value": of_value, "gradient": shape, "hessian": shape}
        given = dict(zip(wanted, outs, strict=True))
        final = {name: self.output(f"out for the {name}", given[name], shapes[name]) for name in wanted if wanted[name]}
        _check_distinct(final)
        if hessian:
            settings["curvature"] = CURVATURES.index(hessian)
        written = {name: self._apart(array, extra) for name, array in final.items()}
        elementwise = {name: array for name, array in written.items() if array.shape == self.shape}
        sums: dict[str, Any] = {}
        if value and reduction != "none":
            elementwise.pop("value", None)
            written["value"] = np.empty(of_value, self.dtype)
            sums = {"summed": "value", "divide": reduction == "mean", "result": written["value"]}
        if shape != self.shape:
            elementwise = {name: array for name, array in elementwise.items() if name == "value"}
            for name in written.keys() - {"value"}:
                written[name] = np.empty(shape, self.dtype)
                self._run(self._kept_of(shape), extra, summed=name, result=written[name], **settings)
        if elementwise or sums:
            self._run(kept if sums else None, extra | elementwise, **sums, **settings)
        done = {name: _moved(array, final[name]) for name, array in written.items()}
        of_loss = done.get("value")
        if value and reduction != "none" and not of_value and outs[0] is None:
            of_loss = done["value"][()]
        return of_loss, done["gradient"], done.get("hessian")


def _moved(written: Array, final: Array) -> Array:
    """Return `final` with the contents of `written`."""
    if written is not final:
        final[...] = written
    return final


def _check_distinct(outputs: Arrays) -> None:
    for (first, a), (second, b) in itertools.combinations(outputs.items(), 2):
        if np.may_share_memory(a, b):
            raise ValueError(f"out for the {first} and out for the {second} share memory")
