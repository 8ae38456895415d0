"""What tasks do to one block of each operand: NumPy arrays in, arrays or exact totals out.

Dask hands over the blocks of an axis that is dropped as a list, here always of one.
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from dask.sizeof import sizeof

from cylosses import L1Loss, Loss, StreamingLoss, default_floating_point_mode
from cylosses._dask.signed import SignedTotal
from cylosses._types import Array, Curvature, Operand

Agreeing: TypeAlias = tuple[tuple[bool, ...] | None, ...]

_NAMES = ("input", "target", "weight", "where")
_BYTES_OF_A_SLICE = 2048


def _size_of_total(total: StreamingLoss) -> int:
    """Return what a total takes in memory, for schedulers."""
    return _BYTES_OF_A_SLICE * int(np.size(total.count))


sizeof.register(StreamingLoss, _size_of_total)


class Blocks:
    """The blocks of a call: input and target of one shape, weight and where; lengths that were not known before are checked.

    `agreeing` says of each operand which axes have the length of the call; along the others it is broadcast.
    """

    def __init__(self, blocks: tuple[Any, ...], agreeing: Agreeing, n_threads: int | None) -> None:
        found = [only(block) for block in blocks[: len(_NAMES)]]
        ndim = len(agreeing[0] or ())
        lengths = [1] * ndim
        for block, agrees in zip(found, agreeing, strict=True):
            for k, length in enumerate(np.shape(block), ndim - np.ndim(block)):
                if agrees is not None and agrees[k]:
                    lengths[k] = length
        self.shape = tuple(lengths)
        for name, block, agrees in zip(_NAMES, found, agreeing, strict=True):
            for k, length in enumerate(np.shape(block), ndim - np.ndim(block)):
                if length != (lengths[k] if agrees is not None and agrees[k] else 1):
                    raise ValueError(
                        f"a chunk of {name} has the shape {np.shape(block)} where other operands have chunks of {self.shape}: "
                        "arrays whose chunk sizes are not known must be cut alike"
                    )
        # Of one shape, so that no task warns of what the call has warned of.
        self.pair = [self.stretched(block) for block in found[:2]]
        self.settings: dict[str, Any] = {"weight": found[2], "where": found[3], "n_threads": n_threads}

    def stretched(self, block: Any) -> Any:
        """Return an array of the shape of the call; Python numbers stay, because they say nothing about the dtype."""
        if type(block) in (bool, int, float) or np.shape(block) == self.shape:
            return block
        return np.broadcast_to(block, self.shape)

    def part(self, index: tuple[slice, ...]) -> tuple[list[Any], dict[str, Any]]:
        """Return a part of the pair, and the settings of a call for it."""
        pair = [block[index] if np.shape(block) else block for block in self.pair]
        selection = {
            name: block if not np.shape(block) else self.stretched(block)[index]
            for name, block in self.settings.items()
            if name in ("weight", "where")
        }
        return pair, self.settings | selection


def only(block: Any) -> Any:
    """Return the one block of axes that are dropped."""
    while isinstance(block, list):
        (block,) = block
    return block


def _axis(axes: tuple[int, ...], ndim: int) -> tuple[int, ...] | None:
    """Return axes as the library takes them: a total over all axes is one number, whatever their number is."""
    return None if len(axes) == ndim else axes


# ---- values and totals -----------------------------------------------------------------------------------------------------------


def value(*blocks: Any, loss: Loss, agreeing: Agreeing, n_threads: int | None, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the losses of a block, or their means or sums along axes that are whole."""
    call = Blocks(blocks, agreeing, n_threads)
    return loss(*call.pair, **call.settings, axis=axis, keepdims=keepdims)


def total(*blocks: Any, loss: Loss, axes: tuple[int, ...], agreeing: Agreeing, n_threads: int | None) -> StreamingLoss:
    """Return the exact total of a block."""
    return _total(Blocks(blocks, agreeing, n_threads), loss, axes)


def _total(call: Blocks, loss: Loss, axes: tuple[int, ...]) -> StreamingLoss:
    held = loss.streaming(_axis(axes, len(call.shape)))
    held.update(*call.pair, **call.settings)
    return held


def weights(*blocks: Any, axes: tuple[int, ...], agreeing: Agreeing, n_threads: int | None) -> StreamingLoss:
    """Return the exact total of the weights of a block, or of the number of its elements: that of losses which are all 1."""
    call = Blocks(blocks, agreeing, n_threads)
    held = L1Loss(reduction="sum").streaming(_axis(axes, len(call.shape)))
    held.update(np.broadcast_to(1.0, call.shape), 0.0, **call.settings)
    return held


def signed_total(block: Array, axes: tuple[int, ...]) -> SignedTotal:
    """Return the exact sums of a block of derivatives."""
    held = SignedTotal(axes)
    held.update(block)
    return held


def signed_sums(block: Array, axes: tuple[int, ...]) -> Array:
    """Return the exact sums of a block of derivatives along axes that are whole, rounded once; these axes stay, with length 1."""
    return SignedTotal.sums(block, axes)


@default_floating_point_mode()  # where subnormal numbers count as 0, they would be lost
def sums_of_one(block: Array) -> Array:
    """Return the sums of a block of derivatives along axes of length 1: themselves, but that no sum is -0.0."""
    return np.where(np.equal(block, 0), block.dtype.type(0), block)


def unchanged(held: Any, axis: Any, keepdims: bool) -> Any:
    """Return what a block holds: the first step of a reduction has nothing to do."""
    return held


def merged(nested: Any, axis: Any, keepdims: bool) -> Any:
    """Return the total of several, which stay as they are: other tasks may hold them."""
    parts = flat(nested)
    result = parts[0].empty() if isinstance(parts[0], SignedTotal) else parts[0].loss.streaming(parts[0].axis)
    for part in parts:
        result.merge(part)
    return result


def computed(nested: Any, axis: Any, keepdims: bool) -> Any:
    """Return what the total of several amounts to."""
    return _shaped(merged(nested, axis, keepdims).compute(), axis, keepdims)


def exact(nested: Any, axis: Any, keepdims: bool) -> Array:
    """Return what the total of several amounts to as fractions."""
    found = merged(nested, axis, keepdims).exact()
    fractions = np.empty(np.shape(found), object)
    fractions[...] = found
    return np.asarray(_shaped(fractions, axis, keepdims))


def flat(nested: Any) -> list[Any]:
    """Return the blocks of a list of lists."""
    return [item for part in nested for item in flat(part)] if isinstance(nested, list) else [nested]


def _shaped(result: Any, axis: Any, keepdims: bool) -> Any:
    return np.expand_dims(result, tuple(axis)) if keepdims else result


# ---- derivatives -----------------------------------------------------------------------------------------------------------------
#
# Behind the operands come the incoming gradient, and the divisor as fractions; None if there is none.


def gradient(*blocks: Any, loss: Loss, wrt: Operand, agreeing: Agreeing, n_threads: int | None, axis: Any = None) -> Array:
    """Return the derivative of each element of a block by one of the operands."""
    call = Blocks(blocks, agreeing, n_threads)
    (derivative,) = _derived(call, blocks, lambda *pair, **settings: [loss.grad(*pair, wrt=wrt, axis=axis, **settings)])
    return derivative


def gradient_and_hessian(
    *blocks: Any, loss: Loss, curvature: Curvature, agreeing: Agreeing, n_threads: int | None
) -> tuple[Array, ...]:
    """Return first and second derivatives of each element of a block."""
    call = Blocks(blocks, agreeing, n_threads)
    return tuple(_derived(call, blocks, lambda *pair, **settings: loss.grad_and_hess(*pair, curvature=curvature, **settings)))


def value_and_gradient(*blocks: Any, loss: Loss, agreeing: Agreeing, n_threads: int | None, axis: Any = None) -> tuple[Any, Array]:
    """Return the losses of a block, or their means or sums along axes that are whole, and the gradient."""
    call = Blocks(blocks, agreeing, n_threads)
    return loss.value_and_grad(*call.pair, **call.settings, axis=axis)


def total_and_gradient(
    *blocks: Any, loss: Loss, derived: Loss, axes: tuple[int, ...], agreeing: Agreeing, n_threads: int | None
) -> tuple[StreamingLoss, Array]:
    """Return the exact total of a block, and the gradient of another loss, whose factor is that of the whole."""
    call = Blocks(blocks, agreeing, n_threads)
    (derivative,) = _derived(call, blocks, lambda *pair, **settings: [derived.grad(*pair, **settings)])
    return _total(call, loss, axes), derivative


def item(block: Any, number: int) -> Any:
    """Return one of the results that a task had together."""
    return only(block)[number]


@default_floating_point_mode()  # quotients, and comparisons with 0
def _derived(call: Blocks, blocks: tuple[Any, ...], derive: Callable[..., Sequence[Array]]) -> Sequence[Array]:
    """Return derivatives times incoming gradient over divisor, of which each slice may have its own."""
    incoming, divisor = (only(block) for block in blocks[len(_NAMES) :])
    if divisor is None:
        return derive(*call.pair, grad_output=incoming, **call.settings)
    factors = np.asarray(_quotients(1.0 if incoming is None else incoming, divisor))
    if factors.size == 1:
        return derive(*call.pair, grad_output=factors.item(), **call.settings)
    first, *others = (np.empty(call.shape, part.dtype) for part in derive(*call.part((slice(0, 0),) * len(call.shape))[0]))
    results = first, *others
    for index in np.ndindex(factors.shape):
        at = tuple(slice(i, i + 1) if n > 1 else slice(None) for i, n in zip(index, factors.shape, strict=True))
        pair, settings = call.part(at)
        for result, part in zip(results, derive(*pair, grad_output=factors[index], **settings), strict=True):
            result[at] = part
    return results


def _quotient(incoming: Any, divisor: Fraction) -> Any:
    """Return what derivatives of a mean are multiplied with; 0 for the divisor 0: nothing counts then."""
    number = float(incoming)
    if not divisor:
        return Fraction(0)
    if number == 0 or not math.isfinite(number):  # signs of 0, infinities and NaN stay
        return number
    return Fraction(number) / divisor


_quotients = np.frompyfunc(_quotient, 2, 1)
