"""The one place that turns arguments into a checked call: arrays, dtypes, broadcasting, weights, masks, axes, outputs, threads.

Everything public comes through `Call`; what a row of the semantics table says is written here once. The kernels below
(`cylosses._kernels.dispatch`) trust what they get from here.
"""

import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from cylosses._kernels import dispatch
from cylosses._threads import check_threads

REDUCTIONS = ("none", "mean", "sum")
PACKAGE = str(Path(__file__).parent)
ACCEPTED = "bool, integers, float16, bfloat16, float32 and float64 are accepted"


class BroadcastWarning(UserWarning):
    """Warns that input and target of different shapes were broadcast, often a mistake: ``(n,)`` against ``(n, 1)``."""


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the line of the caller outside this package."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level - 1)


# ---- single arguments ------------------------------------------------------------------------------------------------------------


def check_reduction(reduction: object) -> str:
    """Return a reduction that is one of the three."""
    if not isinstance(reduction, str) or reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be 'none', 'mean' or 'sum', got {reduction!r}")
    return str(reduction)


def reduction_of(size_average: object, reduce: object, reduction: object) -> str:
    """Return the reduction that the legacy flags mean, if one is given; else `reduction`."""
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


def as_array(name: str, value: object) -> np.ndarray[Any, Any]:
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


def result_dtype(arrays: Iterable[tuple[np.ndarray[Any, Any], bool]]) -> np.dtype[Any]:
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


def divided(numerator: float, denominator: float) -> float:
    """Return numerator / denominator in IEEE arithmetic, also for 0."""
    with np.errstate(all="ignore"):
        return float(np.float64(numerator) / np.float64(denominator))


# ---- a call ----------------------------------------------------------------------------------------------------------------------


class Call:
    """Checked operands of one call, and what can be computed from them.

    Parameters
    ----------
    input, target : array_like
        Of shapes that broadcast.
    n_threads : int, optional
        At most so many threads.

    Attributes
    ----------
    shape : tuple of int
        The broadcast shape.
    dtype : numpy.dtype
        Of the results.
    """

    __slots__ = ("dtype", "input", "n_threads", "shape", "single", "target")

    def __init__(self, input: object, target: object, *, n_threads: int | None = None) -> None:
        operands = []
        for name, value in (("input", input), ("target", target)):
            array = as_array(name, value)
            check_dtype(name, array.dtype)
            operands.append((array, type(value) in (bool, int, float)))
        self.dtype = result_dtype(operands)
        self.single = self.dtype != np.float64
        working = np.dtype(np.float32 if self.single else np.float64)
        with np.errstate(over="ignore"):
            self.input, self.target = (array.astype(working) if weak else array for array, weak in operands)
        self.shape = self._broadcast()
        self.n_threads = 0 if n_threads is None else check_threads("n_threads", n_threads)

    def _broadcast(self) -> tuple[int, ...]:
        of_input, of_target = self.input.shape, self.target.shape
        if of_input == of_target:
            return of_input
        try:
            shape: tuple[int, ...] = np.broadcast_shapes(of_input, of_target)
        except ValueError:
            raise ValueError(f"input of shape {of_input} and target of shape {of_target} cannot be broadcast together") from None
        warn(
            f"input has shape {of_input} and target has shape {of_target}; they are broadcast to {shape}. "
            "Reshape one of them if that is not what you mean.",
            BroadcastWarning,
        )
        return shape

    # -- outputs --

    def output(self, name: str, out: object, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        """Return `out` if it is an array of exactly this shape and the result's dtype, or a new array if it is None."""
        if out is None:
            return np.empty(shape, self.dtype)
        if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
            raise TypeError(f"{name} must be a numpy.ndarray, got {type(out).__name__}")
        if out.dtype.newbyteorder("=") != self.dtype:
            raise TypeError(f"{name} has dtype {out.dtype}; the result needs {self.dtype}")
        if out.shape != shape:
            raise ValueError(f"{name} has shape {out.shape}; the result needs {shape}")
        if not out.flags.writeable:
            raise ValueError(f"{name} is read-only")
        return out

    def _apart(self, out: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return `out`, or a fresh array to write to first if writing to `out` could change an operand that is still to be read."""
        for operand in (self.input, self.target):
            same = (
                operand.ctypes.data == out.ctypes.data
                and operand.strides == out.strides
                and operand.shape == out.shape
                and operand.dtype == out.dtype
            )
            if not same and np.may_share_memory(operand, out):
                return np.empty(out.shape, self.dtype)
        return out

    def _run(self, loss: Any, **job: Any) -> int:
        job = {"shape": self.shape, "outer": 0, "input": self.input, "target": self.target} | job
        return int(
            dispatch.execute(loss._code, loss._parameter, single=self.single, dtype=self.dtype, n_threads=self.n_threads, **job)
        )

    def _divisor(self, reduction: str) -> float:
        """What a mean divides by."""
        return float(np.prod(self.shape, dtype=np.float64)) if reduction == "mean" else 1.0

    # -- results --

    def values(self, loss: Any, out: object = None) -> np.ndarray[Any, Any]:
        """Return the loss of each element."""
        final = self.output("out", out, self.shape)
        written = self._apart(final)
        self._run(loss, value=written)
        if written is not final:
            final[...] = written
        return final

    def reduced(self, loss: Any, reduction: str, out: object = None) -> Any:
        """Return the exact mean or sum, rounded once: a scalar, or `out`."""
        result = np.empty((), self.dtype)
        final = None if out is None else self.output("out", out, ())
        self._run(loss, summed="value", divide=reduction == "mean", result=result)
        if final is None:
            return result[()]
        final[...] = result
        return final

    def add_to(self, total: dispatch.ExactSum, loss: Any) -> int:
        """Add the losses to an exact total; return their number."""
        return self._run(loss, summed="value", total=total)

    def gradient(
        self, loss: Any, reduction: str, grad_output: object = None, out: object = None, *, want_value: bool = False
    ) -> tuple[Any, Any]:
        """Return (value or None, gradient with respect to input), from one pass over the data.

        The gradient has the shape of input: what was broadcast is summed exactly.
        """
        job: dict[str, Any] = self._grad_output(reduction, grad_output)
        job["scale"] = divided(job.get("scale", 1.0), self._divisor(reduction))
        summed_axes = self.input.shape != self.shape
        final = self.output("out", out, self.input.shape)
        value: Any = None
        if want_value and reduction == "none":
            value = job["value"] = np.empty(self.shape, self.dtype)
        elif want_value and summed_axes:
            value = self.reduced(loss, reduction)
        elif want_value:
            value = job["result"] = np.empty((), self.dtype)
            job |= {"summed": "value", "divide": reduction == "mean"}
        if summed_axes:
            written = np.empty(self.input.shape, self.dtype)
            if "value" in job:
                self._run(loss, value=job.pop("value"))
            self._run(loss, **self._slices(self.input.shape), summed="gradient", result=written, **job)
        else:
            written = self._apart(final)
            self._run(loss, gradient=written, **job)
        if written is not final:
            final[...] = written
        return (value[()] if want_value and reduction != "none" else value), final

    def _grad_output(self, reduction: str, grad_output: object) -> dict[str, Any]:
        """Return the job's part for what is multiplied to each gradient."""
        if grad_output is None:
            return {}
        array = as_array("grad_output", grad_output)
        check_dtype("grad_output", array.dtype)
        if array.size == 1 and array.ndim <= len(self.shape):
            return {"scale": float(array.item())}
        if reduction != "none":
            raise ValueError(f"grad_output must be one number for reduction={reduction!r}, got shape {array.shape}")
        try:
            fits = np.broadcast_shapes(array.shape, self.shape) == self.shape
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(f"grad_output of shape {array.shape} cannot be broadcast to the shape of the loss, {self.shape}")
        return {"grad_output": array}

    def _slices(self, kept_shape: tuple[int, ...]) -> dict[str, Any]:
        """Return the job's part that sums over what is broadcast of `kept_shape`: views with the kept dimensions first."""
        ndim = len(self.shape)
        padded = (1,) * (ndim - len(kept_shape)) + kept_shape
        kept = [k for k in range(ndim) if padded[k] == self.shape[k]]
        order = kept + [k for k in range(ndim) if padded[k] != self.shape[k]]
        return {
            "shape": tuple(self.shape[k] for k in order),
            "outer": len(kept),
            "input": np.broadcast_to(self.input, self.shape).transpose(order),
            "target": np.broadcast_to(self.target, self.shape).transpose(order),
        }
