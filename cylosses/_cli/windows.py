"""Windows: which elements of all files are read, scored and written at one time, and in which order they come."""

import itertools
import math
from collections.abc import Iterator

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
    last_axes, first_axes = list(reversed(range(len(shape)))), list(range(len(shape)))
    for axes in (last_axes, first_axes) if both_ends else (last_axes,):
        left = _RUN
        for axis in axes:
            block[axis] = max(block[axis], min(shape[axis], left))
            left //= shape[axis]
            if left == 0:
                break
    return tuple(block)
