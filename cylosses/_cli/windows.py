"""Windows: which elements of all files are read, scored and written at one time, and in which order they come."""

import itertools
import math
from collections.abc import Iterable, Iterator

from cylosses._cli.source import Window

# Elements per window: 8 MB of float64, enough to keep every thread busy and little enough to stay constant memory.
WINDOW = 1 << 20
# Longest run of a block along either order. A block touches this many stretches of each file, and the kernel may map
# 64 KB around each: 32 MB at most.
_RUN = 512


def windows_of(orders: frozenset[str], shape: tuple[int, ...], in_c_order: bool) -> tuple[Iterator[Window], str]:
    """Return windows over files that share these orders, and the memory order of what is written."""
    if in_c_order:
        orders &= {"C"}
    if orders:
        return _runs(math.prod(shape)), "C" if "C" in orders else "F"
    return _blocks(shape, _block_shape(shape, both_ends=not in_c_order)), "C"


def windows_of_slices(shape: tuple[int, ...], summed: tuple[int, ...], at_once: int) -> Iterator[Window]:
    """Return windows that cut slices along the axes that are summed over: all of up to `at_once` slices before the next ones.

    An axis of length 0 has one window, which is empty: it tells the other axes.
    """
    kept = [k for k in range(len(shape)) if k not in summed]
    block = [1] * len(shape)
    _stretch(block, shape, reversed(kept), at_once)
    _stretch(block, shape, reversed(summed), max(WINDOW // math.prod(block), 1))
    order = [*kept, *summed]
    for corner in itertools.product(*(range(0, max(shape[k], 1), block[k]) for k in order)):
        window = [slice(0)] * len(shape)
        for k, start in zip(order, corner, strict=True):
            window[k] = slice(start, min(start + block[k], shape[k]))
        yield tuple(window) if len(shape) > 1 else window[0]


def _runs(size: int) -> Iterator[Window]:
    for start in range(0, size, WINDOW):
        yield slice(start, min(start + WINDOW, size))


def _blocks(shape: tuple[int, ...], block: tuple[int, ...]) -> Iterator[Window]:
    starts = (range(0, length, step) for length, step in zip(shape, block, strict=True))
    for corner in itertools.product(*starts):
        yield tuple(slice(i, min(i + step, end)) for i, step, end in zip(corner, block, shape, strict=True))


def _block_shape(shape: tuple[int, ...], both_ends: bool) -> tuple[int, ...]:
    """Return blocks for one file in C order and one in Fortran order.

    Blocks that are long along the last axes and along the first have long runs in both files. Blocks along the last
    axes alone come in C order, for losses that are printed as they come.
    """
    block = [1] * len(shape)
    _stretch(block, shape, reversed(range(len(shape))), _RUN)
    if both_ends:
        _stretch(block, shape, range(len(shape)), _RUN)
    return tuple(block)


def _stretch(block: list[int], shape: tuple[int, ...], axes: Iterable[int], left: int) -> None:
    """Make a block so many elements long, along the first of the axes if that is long enough, else also along the next ones."""
    for axis in axes:
        block[axis] = max(block[axis], min(shape[axis], left))
        left //= max(shape[axis], 1)
        if left == 0:
            break
