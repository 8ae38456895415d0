"""Time of every memory layout and dtype against the contiguous call, beside what memory allows.

python -m benchmarks.studies.layouts [--elements 10000000] [--threads 1 2] [--dtypes float32 float64] [--works mean] [--only '*']

All layouts of a table are views of the same two arrays, and take turns with the contiguous call over as many elements. Memory
moves whole cache lines, so a layout that leaves gaps cannot be as fast as the contiguous call once it comes from memory: `lines` is
how many cache lines it touches, outputs included, over those of the contiguous call, and `floor` the time of a bare read of as many
(a BLAS dot product over that much contiguous memory; for `mean` only), again over the contiguous call's.
"""

import argparse
import fnmatch
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

import cylosses
from benchmarks.measure.floors import dot_subject
from benchmarks.measure.harness import Subject, measure, summary
from benchmarks.measure.rows import set_threads
from benchmarks.measure.works import normal

CACHE_LINE = 64
HOST = 4  # elements of the underlying arrays for one of a view
BOUND = 2.0  # times the contiguous call
DTYPE_BOUND = 3.0
Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Layout:
    """A pair of operands cut out of two one-dimensional arrays.

    Attributes
    ----------
    make : callable
        Takes the two arrays, of `HOST` * n elements, and n; returns operands that broadcast to about n elements.
    bound : float
        The time that it may take, over that of the contiguous call.
    """

    make: Callable[[np.ndarray, np.ndarray, int], Pair]
    bound: float = BOUND


def both(view: Callable[[np.ndarray, int], np.ndarray]) -> Callable[[np.ndarray, np.ndarray, int], Pair]:
    """Return the pair of the same view of both arrays."""
    return lambda x, y, n: (view(x, n), view(y, n))


def one(view: Callable[[np.ndarray, int], np.ndarray]) -> Callable[[np.ndarray, np.ndarray, int], Pair]:
    """Return the view of the first array, and a contiguous array of its shape."""

    def make(x: np.ndarray, y: np.ndarray, n: int) -> Pair:
        first = view(x, n)
        return first, y[: first.size].reshape(first.shape)

    return make


def rows(x: np.ndarray, n: int, columns: int, of: int) -> np.ndarray:
    """Return the first columns of a matrix of `of` columns."""
    return x[: n // columns * of].reshape(-1, of)[:, :columns]


def square(x: np.ndarray, n: int) -> np.ndarray:
    """Return a square matrix."""
    side = int(n**0.5)
    return x[: side * side].reshape(side, side)


def images(x: np.ndarray, n: int, channels: int) -> np.ndarray:
    """Return images of 224 * 224, channels last."""
    return x[: n // (224 * 224 * channels) * (224 * 224 * channels)].reshape(-1, 224, 224, channels)


def cast(dtype: str) -> Callable[[np.ndarray, np.ndarray, int], Pair]:
    """Return the first array in another dtype, and the second as it is."""
    return lambda x, y, n: ((8 * x[:n]).astype(dtype), y[:n])


LAYOUTS = {
    "contiguous": Layout(lambda x, y, n: (x[:n], y[:n])),
    "[::-1] both": Layout(both(lambda x, n: x[n - 1 :: -1])),
    "[::-1] one": Layout(one(lambda x, n: x[n - 1 :: -1])),
    "[::2] both": Layout(both(lambda x, n: x[: 2 * n : 2])),
    "[::2] one": Layout(one(lambda x, n: x[: 2 * n : 2])),
    "[::-2] with [::2]": Layout(lambda x, y, n: (x[2 * n - 2 :: -2], y[: 2 * n : 2])),
    "[::3] both": Layout(both(lambda x, n: x[: 3 * n : 3])),
    "[::3] one": Layout(one(lambda x, n: x[: 3 * n : 3])),
    "[::4] both": Layout(both(lambda x, n: x[: 4 * n : 4])),
    "(n, 3)[:, :2] both": Layout(both(lambda x, n: rows(x, n, 2, 3))),
    "(n, 4)[:, :3] both": Layout(both(lambda x, n: rows(x, n, 3, 4))),
    "(n, 5)[:, :4] both": Layout(both(lambda x, n: rows(x, n, 4, 5))),
    "(n, 6)[:, :4] both": Layout(both(lambda x, n: rows(x, n, 4, 6))),
    "(n, 8)[:, :4] both": Layout(both(lambda x, n: rows(x, n, 4, 8))),
    "(n, 8)[:, :4] one": Layout(one(lambda x, n: rows(x, n, 4, 8))),
    "(n, 12)[:, :10] both": Layout(both(lambda x, n: rows(x, n, 10, 12))),
    "(n, 40)[:, :32] both": Layout(both(lambda x, n: rows(x, n, 32, 40))),
    "(n, 120)[:, :100] both": Layout(both(lambda x, n: rows(x, n, 100, 120))),
    "(n, 240)[:, :200] both": Layout(both(lambda x, n: rows(x, n, 200, 240))),
    "(n, 800)[:, :600] both": Layout(both(lambda x, n: rows(x, n, 600, 800))),
    "(n, 2000)[:, :1600] both": Layout(both(lambda x, n: rows(x, n, 1600, 2000))),
    "C with F order": Layout(lambda x, y, n: (square(x, n), square(y, n).T)),
    "C with F order, 4096 rows": Layout(
        lambda x, y, n: (x[: n // 4096 * 4096].reshape(4096, -1), y[: n // 4096 * 4096].reshape(-1, 4096).T)
    ),
    "F order both": Layout(both(lambda x, n: square(x, n).T)),
    "NHWC with NCHW, 3 channels": Layout(
        lambda x, y, n: (images(x, n, 3), images(y, n, 3).reshape(-1, 3, 224, 224).transpose(0, 2, 3, 1))
    ),
    "NHWC with NCHW, 64 channels": Layout(
        lambda x, y, n: (images(x, n, 64), images(y, n, 64).reshape(-1, 64, 224, 224).transpose(0, 2, 3, 1))
    ),
    "(n, 1000) with (n, 1)": Layout(lambda x, y, n: (x[: n // 1000 * 1000].reshape(-1, 1000), y[: n // 1000, None])),
    "(n, 4) with (n, 1)": Layout(lambda x, y, n: (x[: n // 4 * 4].reshape(-1, 4), y[: n // 4, None])),
    "(n, 16) with (16,)": Layout(lambda x, y, n: (x[: n // 16 * 16].reshape(-1, 16), y[:16])),
    "(n,) with ()": Layout(lambda x, y, n: (x[:n], y[0])),
    "byte-swapped": Layout(lambda x, y, n: (x[:n].astype(x.dtype.newbyteorder()), y[:n]), DTYPE_BOUND),
    "the other float": Layout(lambda x, y, n: (x[:n].astype("f4" if x.dtype == "f8" else "f8"), y[:n]), DTYPE_BOUND),
    "float16": Layout(cast("float16"), DTYPE_BOUND),
    "int8": Layout(cast("int8"), DTYPE_BOUND),
    "int32": Layout(cast("int32"), DTYPE_BOUND),
    "int64": Layout(cast("int64"), DTYPE_BOUND),
    "bool": Layout(cast("bool"), DTYPE_BOUND),
}


def lines_of(array: np.ndarray) -> int:
    """Return the number of cache lines that the elements lie in."""
    axes = sorted(
        (stride, length) for stride, length in zip(map(abs, array.strides), array.shape, strict=True) if stride and length > 1
    )
    piece, count = array.itemsize, 1  # `count` pieces of so many bytes, each beginning in a line of its own
    for stride, length in axes:
        if stride < CACHE_LINE or stride <= piece + CACHE_LINE:
            piece += stride * (length - 1)
        else:
            count *= length
    return count * -(-piece // CACHE_LINE)


def subject(work: str, name: str, pair: Pair, out: np.ndarray) -> Subject:
    """Return a call: the mean, or the gradient with ``out=``."""
    if work == "mean":
        return Subject(name, cylosses.losses.SmoothL1Loss(), pair)
    shape = np.broadcast_shapes(*(array.shape for array in pair))
    working = cylosses.losses.SmoothL1Loss("sum")(*(array.flat[:1] for array in pair)).dtype
    gradient = out[: int(np.prod(shape)) * working.itemsize].view(working)
    turned = all(array.flags.f_contiguous for array in pair)  # then the gradient lies as they do
    gradient = gradient.reshape(shape[::-1]).T if turned else gradient.reshape(shape)
    return Subject(name, cylosses.losses.SmoothL1Loss("sum").grad, pair, {"out": gradient})


def table(work: str, dtype: str, threads: int, size: int, only: Sequence[str], seconds: float) -> None:
    """Time all layouts and print a line for each."""
    hosts = [normal(seed, dtype, HOST * size) for seed in (0, 1)]
    out = np.ones(8 * size, np.uint8)
    straight = subject(work, "contiguous", (hosts[0][:size], hosts[1][:size]), out)
    line = CACHE_LINE // np.dtype(dtype).itemsize
    print(f"\n{work}, {size:,} elements of {dtype}, {threads} threads")
    print(f"{'layout':28} {'× contiguous':>12} {'bound':>6} {'lines':>6} {'floor':>6} {'ns/element':>11} {'GB/s':>6}")
    for name, layout in LAYOUTS.items():
        if not any(fnmatch.fnmatch(name, pattern) for pattern in only):
            continue
        pair = layout.make(*hosts, size)
        if not all(array.size for array in pair):  # too few elements for one such image
            continue
        ours = subject(work, name, pair, out)
        lines = sum(lines_of(array) for array in pair)
        subjects = [straight, ours]
        if work == "mean":
            read = min(lines * line // 2, HOST * size)
            subjects.append(dot_subject(hosts[0][:read], hosts[1][:read]))
        found = summary(measure(subjects, seconds, threads, attempts=1))
        elements = max(array.size for array in pair)
        written = lines_of(ours.kwargs["out"]) if ours.kwargs else 0
        contiguous_lines = 2 * size // line + written
        ratio, best = found[name]["ratio"] * size / elements, found[name]["best"]
        floor = f"{found[subjects[2].name]['ratio']:6.2f}" if work == "mean" else f"{'':6}"
        print(
            f"{name:28} {ratio:12.2f} {layout.bound:6.1f} {(lines + written) / contiguous_lines:6.2f} {floor}"
            f" {best / elements * 1e9:11.3f} {(lines + written) * CACHE_LINE / best / 1e9:6.1f}"
            f"{' over' if ratio > layout.bound else ''}{' ~' if found[name]['disturbed'] else ''}",
            flush=True,
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--elements", type=int, default=10_000_000)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float64"])
    parser.add_argument("--works", nargs="+", default=["mean", "grad"], choices=["mean", "grad"])
    parser.add_argument("--only", nargs="+", default=["*"], metavar="PATTERN", help="shell patterns of layouts")
    parser.add_argument("--seconds", type=float, default=0.3, help="to spend on a line")
    options = parser.parse_args()
    warnings.simplefilter("ignore", cylosses.BroadcastWarning)
    for work in options.works:
        for dtype in options.dtypes:
            for threads in options.threads:
                set_threads(threads, [])
                table(work, dtype, threads, options.elements, options.only, options.seconds)


if __name__ == "__main__":
    main()
