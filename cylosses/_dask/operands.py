"""The operands of a call as Dask arrays that are cut alike, and what is known of its result before anything is computed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import dask.array as da
import numpy as np

from cylosses import Loss
from cylosses._shapes import Shape, broadcast, check_fit

_NUMBERS = (bool, int, float)  # take no part in the choice of the dtype, and so stay what they are


def with_reduction(loss: Loss, reduction: str) -> Loss:
    """Return the same loss with another reduction."""
    name = loss.parameter_name
    settings: dict[str, Any] = {"reduction": reduction} if name is None else {"reduction": reduction, name: getattr(loss, name)}
    return type(loss)(**settings)


@dataclass(frozen=True)
class Operands:
    """Input, target, weight and where of a call: Dask arrays whose chunks agree, Python numbers, or None."""

    values: tuple[Any, Any, Any, Any]
    shape: Shape
    chunks: tuple[tuple[float, ...], ...]
    dtype: np.dtype[Any]
    """Of the result."""
    n_threads: int | None

    @classmethod
    def of(cls, loss: Loss, input: Any, target: Any, weight: Any, where: Any, n_threads: int | None) -> Self:
        """Check what a call was given, as far as it can be known, and align it."""
        if not isinstance(loss, Loss):
            raise TypeError(f"loss must be a loss object such as SmoothL1Loss(), got {type(loss).__name__}")
        loss.check_one_parameter()  # an array of them would have to be cut as the operands are
        named = {"input": input, "target": target, "weight": weight, "where": where}
        arrays = {name: as_array(name, value) for name, value in named.items()}
        if not any(hasattr(arrays[name], "shape") for name in ("input", "target")):
            arrays["input"] = np.asarray(arrays["input"])
        shape = broadcast(shape_of(arrays["input"]), shape_of(arrays["target"]))
        for name in ("weight", "where"):
            if arrays[name] is not None:
                check_fit(name, shape_of(arrays[name]), shape)
        stand_ins = [stand_in(value) for value in arrays.values()]
        # The library itself looks at dtypes, parameter and threads: it gets one element of each operand, and says what is wrong.
        probe = with_reduction(loss, "none")(*stand_ins[:2], weight=stand_ins[2], where=stand_ins[3], n_threads=n_threads)
        values = aligned(*arrays.values())
        return cls(values, shape, _chunks_of(values, len(shape)), np.asarray(probe).dtype, n_threads)

    @property
    def ndim(self) -> int:
        """Number of dimensions of the call."""
        return len(self.shape)

    @property
    def selects(self) -> bool:
        """Whether there are weights or a mask."""
        return self.values[2] is not None or self.values[3] is not None

    @property
    def size(self) -> float:
        """Number of elements; NaN if it is not known."""
        size: float = 1
        for length in self.shape:  # integers of any size
            size = size * length
        return size

    def is_whole(self, axes: tuple[int, ...]) -> bool:
        """Whether no axis of these is cut, so that a block has whole slices along them."""
        return all(len(self.chunks[k]) == 1 for k in axes)

    def without_data(self) -> Self:
        """Return the same with nothing to read but weights and mask, if all lengths are known."""
        if self.size != self.size:
            return self
        return replace(self, values=(da.zeros(self.shape, chunks=self.chunks), 0.0, *self.values[2:]))

    def by_array(self, number: int) -> Self:
        """Return the same with an array instead of a Python number as one of the first operands, so that it can be derived by."""
        value, other = self.values[number], self.values[1 - number]
        if hasattr(value, "shape"):
            return self
        of_integers = other.dtype.kind in "biu" and not isinstance(value, float)
        if self.dtype.itemsize < 4 and not of_integers:
            raise TypeError(
                f"{('input', 'target')[number]} is a Python number beside {self.dtype} data: to derive by it, pass a NumPy scalar"
            )
        array = da.from_array(np.asarray(value, None if of_integers else self.dtype))
        return replace(self, values=tuple(array if k == number else kept for k, kept in enumerate(self.values)))

    def joined(self, other: Any) -> tuple[Self, Any]:
        """Return the operands and one more array, cut alike."""
        if not hasattr(other, "shape"):
            return self, other
        *values, other = aligned(*self.values, other)
        return replace(self, values=tuple(values), chunks=_chunks_of(values, self.ndim)), other

    def stretched(self, number: int) -> tuple[int, ...]:
        """Return the axes along which an operand is broadcast."""
        own = _padded(shape_of(self.values[number]), self.ndim)
        return tuple(k for k in range(self.ndim) if own[k] == 1 and self.shape[k] != 1)

    def blockwise(
        self, function: Callable[..., Any], dtype: Any, *others: Any, kept: tuple[int, ...] | None = None, **settings: Any
    ) -> Any:
        """Return the array whose blocks are what a function of `blocks` makes of those of the operands.

        It gets the blocks of the four operands and then those of other arrays, which broadcast to the shape of the call. Axes that
        are not kept, which must be whole, are dropped.
        """
        index = tuple(range(self.ndim)) if kept is None else kept
        arguments: list[Any] = []
        for value in (*self.values, *others):
            arguments += [value, _index_of(value, self.ndim) if isinstance(value, da.Array) else None]
        agreeing = tuple(
            None if value is None else tuple(length != 1 for length in _padded(shape_of(value), self.ndim)) for value in self.values
        )
        return da.blockwise(
            function,
            index,
            *arguments,
            token=f"cylosses-{function.__name__}",
            dtype=dtype,
            meta=np.empty((0,) * len(index), dtype),
            agreeing=agreeing,
            n_threads=self.n_threads,
            **settings,
        )


def shape_of(value: Any) -> Shape:
    """Return the shape of an operand; () for Python numbers, and for None."""
    shape: Shape = getattr(value, "shape", ())
    return shape


def aligned(*values: Any) -> tuple[Any, ...]:
    """Return arrays that broadcast together as Dask arrays that are cut alike; what is no array stays as it is."""
    ndim = max(len(shape_of(value)) for value in values)
    lazy = [_simply_cut(value) if isinstance(value, da.Array) else value for value in values]
    pattern = _chunks_of(lazy, ndim)
    lazy = [
        da.from_array(value, chunks=_cut_like(value.shape, pattern)) if isinstance(value, np.ndarray) else value for value in lazy
    ]
    arguments: list[Any] = []
    for value in lazy:
        if isinstance(value, da.Array):
            arguments += [value, _index_of(value, ndim)]
    unified = iter(da.unify_chunks(*arguments)[1])
    return tuple(next(unified) if isinstance(value, da.Array) else value for value in lazy)


def as_array(name: str, value: Any) -> Any:
    """Return an operand as a Dask array, a NumPy array, a Python number or None."""
    if value is None and name in ("weight", "where"):
        return None
    if isinstance(value, da.Array) or type(value) in _NUMBERS:
        return value
    if hasattr(value, "to_dask_array"):  # a column of a Dask DataFrame
        return value.to_dask_array()
    try:
        return np.asanyarray(value)  # masked arrays stay what they are: the library refuses them
    except Exception as error:  # the conversion is code of the object's class
        raise TypeError(f"{name} cannot be turned into an array of numbers: {error}") from error


def stand_in(value: Any) -> Any:
    """Return an array of one element with the dtype and the kind of an operand."""
    if not hasattr(value, "dtype"):
        return value
    meta = getattr(value, "_meta", value)
    dtype = value.dtype if isinstance(value.dtype, np.dtype) else np.dtype(object)
    one = np.zeros((1,) * len(shape_of(value)), dtype)
    if isinstance(meta, np.ma.MaskedArray):
        return np.ma.masked_array(one)
    return one if isinstance(meta, np.ndarray | np.generic) else meta


def _simply_cut(array: Any) -> Any:
    """Return an array whose axes of length 0 or 1 have one chunk: Dask neither broadcasts nor reduces others."""
    if 0 in array.shape and array.size == array.size:
        return da.zeros(array.shape, dtype=array.dtype, chunks=array.shape)
    return array.rechunk({k: 1 for k, length in enumerate(array.shape) if length == 1})


def _padded(shape: Shape, ndim: int) -> Shape:
    return (1,) * (ndim - len(shape)) + tuple(shape)


def _index_of(value: Any, ndim: int) -> tuple[int, ...]:
    """Return the axes of the call that those of an operand are."""
    return tuple(range(ndim - value.ndim, ndim))


def _chunks_of(values: Any, ndim: int) -> tuple[tuple[float, ...], ...]:
    """Return the chunks that arrays broadcast to."""
    chunks: list[tuple[float, ...]] = [(1,)] * ndim
    for value in values:
        if isinstance(value, da.Array):
            for k, own in zip(_index_of(value, ndim), value.chunks, strict=True):
                chunks[k] = own if chunks[k] == (1,) else chunks[k]
    return tuple(chunks)


def _cut_like(shape: tuple[int, ...], pattern: tuple[tuple[float, ...], ...]) -> tuple[Any, ...]:
    """Return chunks for an array in memory: those of the pattern where they fit, else a single one."""
    own = pattern[len(pattern) - len(shape) :]
    return tuple(chunks if sum(chunks) == length else (length,) for length, chunks in zip(shape, own, strict=True))
