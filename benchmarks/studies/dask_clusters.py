"""Losses of Dask arrays: one bit pattern whatever runs them, data larger than the workers, overhead of a chunk, throughput.

python -m benchmarks.studies.dask_clusters [bits] [large] [overhead] [throughput] [--gigabytes 20] [--chunkings 50]

Needs the extra `dask`, and distributed. Clusters are on this machine. `bits` draws chunkings and counts the different results of
each case; `large` makes random float32 arrays block by block in two workers whose memory is limited, and watches how much of it
they take; the other two compare with the same loss in operations of dask.array.
"""

import argparse
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import psutil
from distributed import Client, LocalCluster

import cylosses.dask as lazily
from benchmarks.measure.harness import Subject, measure
from benchmarks.report.tables import markdown_table, seconds_text
from cylosses import HuberLoss, MSELoss, SmoothL1Loss, TukeyLoss

SHAPE = (4000, 30)
LOSS = SmoothL1Loss()
PARTS = ("bits", "large", "overhead", "throughput")


@contextmanager
def cluster_of(workers: int, memory: str | None = None, processes: bool = True) -> Iterator[Client]:
    """A cluster on this machine whose workers have one thread each."""
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=processes,
            host="127.0.0.1" if processes else None,
            dashboard_address=":0",
            memory_limit=memory,
            silence_logs="ERROR",
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


# One bit pattern -----------------------------------------------------------------------------------------------------


def die_once(block: Any, marker: str) -> Any:
    """Return a block; the first time, the process that is to do so dies."""
    if block.size and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return block


class Bits:
    """The results of all runs, as bytes, by case."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        x, y = self.rng.standard_t(2, SHAPE), self.rng.standard_t(2, SHAPE)
        self.arrays = x, y, self.rng.random(SHAPE)
        self.runs = 0
        self.found = {name: {self._bytes(result)} for name, result in self._in_memory().items()}

    def _in_memory(self) -> dict[str, Any]:
        x, y, w = self.arrays
        value, gradient = HuberLoss().value_and_grad(x, y, weight=w)
        return {
            "mean": LOSS(x, y),
            "sum, float32": TukeyLoss(reduction="sum")(x.astype("f4"), y.astype("f4")),
            "weighted mean": value,
            "its gradient": gradient,
            "means of columns": MSELoss()(x, y, weight=w, axis=0),
        }

    def lazy(self, marker: str | None = None) -> dict[str, Any]:
        """Return the cases on arrays in random chunks; with a marker, a worker dies on the way."""
        x, y, w = (da.from_array(array, chunks=tuple(map(self._cut, SHAPE))) for array in self.arrays)
        if marker is not None:
            x = x.map_blocks(die_once, marker=marker, meta=np.empty((0, 0)))
        every = {"split_every": int(self.rng.integers(2, 9))}
        value, gradient = lazily.value_and_grad(HuberLoss(), x, y, weight=w, **every)
        return {
            "mean": lazily.loss(LOSS, x, y, **every),
            "sum, float32": lazily.loss(TukeyLoss(reduction="sum"), x.astype("f4"), y.astype("f4"), **every),
            "weighted mean": value,
            "its gradient": gradient,
            "means of columns": lazily.loss(MSELoss(), x, y, weight=w, axis=0, **every),
        }

    def _cut(self, length: int) -> tuple[int, ...]:
        cuts = np.sort(self.rng.integers(0, length + 1, self.rng.integers(0, 6)))
        return tuple(np.diff([0, *cuts.tolist(), length]).tolist())

    def add(self, compute: Callable[..., Any], marker: str | None = None) -> None:
        """Compute the cases once and note their bytes."""
        arrays = self.lazy(marker)
        for name, result in zip(arrays, compute(list(arrays.values())), strict=True):
            self.found[name].add(self._bytes(result))
        self.runs += 1

    def _bytes(self, result: Any) -> bytes:
        return np.ascontiguousarray(result).tobytes()


def bits(chunkings: int, kills: int) -> None:
    """Print how many bit patterns each case has."""
    results = Bits(0)
    deaths = 0
    for scheduler, workers, runs in (
        ("synchronous", 1, chunkings),
        *(("threads", workers, chunkings) for workers in (1, 2, 4)),
        ("processes", 2, min(chunkings, 5)),  # which start anew each time
    ):
        for _ in range(runs):
            results.add(lambda arrays, s=scheduler, n=workers: dask.compute(*arrays, scheduler=s, num_workers=n))
        print(f"{scheduler}, {workers}: {runs} chunkings", flush=True)
    for workers, processes in ((2, False), (1, True), (2, True), (4, True)):
        with cluster_of(workers, processes=processes) as client, tempfile.TemporaryDirectory() as folder:
            for _ in range(chunkings):
                results.add(lambda arrays: client.gather(client.compute(arrays)))
            for number in range(kills if processes else 0):
                results.add(lambda arrays: client.gather(client.compute(arrays)), marker=f"{folder}/{number}")
                deaths += Path(f"{folder}/{number}").exists()
        print(f"cluster of {workers} {'processes' if processes else 'threads'}: {chunkings} chunkings", flush=True)
    print(f"\n{results.runs} runs, {deaths} of them with a worker killed on the way\n")
    print(markdown_table(["case", "bit patterns"], [[name, str(len(found))] for name, found in results.found.items()]))


# Larger than the workers ---------------------------------------------------------------------------------------------


class Watch:
    """The largest resident memory of processes while it is entered."""

    def __init__(self, pids: list[int]) -> None:
        self.peaks = dict.fromkeys(pids, 0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._stop.wait(0.02):
            for pid in self.peaks:
                self.peaks[pid] = max(self.peaks[pid], psutil.Process(pid).memory_info().rss)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def large(gigabytes: float, chunk: int) -> None:
    """Print seconds and peaks of two workers of 1 GB that make and score so much."""
    n = int(gigabytes * 1e9 / 8)  # of both arrays, four bytes each
    lines = []
    with cluster_of(2, "1GB") as client:
        pids = list(client.run(os.getpid).values())
        prediction, truth = (da.random.default_rng(seed).random(n, chunks=chunk, dtype="f4") for seed in (1, 2))
        works = {
            "make them only: the sum of both": (prediction + truth).sum(dtype="f8"),
            "mean": lazily.loss(LOSS, prediction, truth),
            "value and sum of gradient": lazily.value_and_grad(LOSS, prediction, truth),
        }
        for name, work in works.items():
            parts = [work] if not isinstance(work, tuple) else [work[0], work[1].sum(dtype="f8")]
            with Watch(pids) as watch:
                start = time.perf_counter()
                client.gather(client.compute(parts))
                seconds = time.perf_counter() - start
            peaks = ", ".join(f"{peak / 1e6:.0f}" for peak in watch.peaks.values())
            lines.append([name, seconds_text(seconds), f"{gigabytes / seconds:.2f}", peaks])
    print(
        f"{gigabytes:g} GB of float32 through two workers of 1 GB, {n // chunk:,} chunks of {chunk * 4 / 1e6:g} MB in each array\n"
    )
    print(markdown_table(["work", "time", "GB/s", "peaks, MB"], lines))


# Beside operations of dask.array -------------------------------------------------------------------------------------


def plainly(x: Any, y: Any) -> Any:
    """Return the mean smooth L1 loss in operations of dask.array."""
    z = abs(x - y)
    return da.where(z < 1, z * z / 2, z - 0.5).mean()


def rounds(x: Any, y: Any, compute: Callable[[Any], Any], seconds: float, threads: int) -> list[float]:
    """Return the best seconds of cylosses and of dask.array."""
    subjects = [
        Subject("cylosses", lambda: compute(lazily.loss(LOSS, x, y)), kind="cylosses"),
        Subject("dask.array", lambda: compute(plainly(x, y))),
    ]
    return [timing.best for timing in measure(subjects, seconds, threads, attempts=1)]


def overhead(chunks: int, seconds: float) -> None:
    """Print microseconds a chunk, building the graph included."""
    lines = []

    def a_chunk(name: str, compute: Callable[[Any], Any]) -> None:
        few, many = (rounds(*(da.zeros(10 * n, chunks=10) for _ in range(2)), compute, seconds, 1) for n in (1, chunks + 1))
        lines.append([name, *(f"{1e6 * (b - a) / chunks:.0f}" for a, b in zip(few, many, strict=True))])

    a_chunk("synchronous", lambda array: array.compute(scheduler="synchronous"))
    a_chunk("threads", lambda array: array.compute(scheduler="threads"))
    with cluster_of(2):
        a_chunk("cluster of 2 processes", lambda array: array.compute())
    print(f"µs a chunk, of {chunks:,} chunks of ten elements\n")
    print(markdown_table(["scheduler", "cylosses", "dask.array"], lines))


def throughput(elements: int, chunk: int, seconds: float) -> None:
    """Print GB/s of arrays that are in memory."""
    lines = []
    for dtype in ("f4", "f8"):
        lazy = [da.random.default_rng(seed).random(elements, chunks=chunk).astype(dtype) for seed in (1, 2)]
        size = 2 * elements * np.dtype(dtype).itemsize / 1e9

        def row(name: str, arrays: list[Any], compute: Callable[[Any], Any], dtype: str = dtype, size: float = size) -> None:
            ours, plain = rounds(*arrays, compute, seconds, 2)
            lines.append([dtype, name, f"{size / ours:.1f}", f"{size / plain:.1f}", f"{plain / ours:.1f}"])

        row("threads", dask.persist(*lazy), lambda array: array.compute(scheduler="threads", num_workers=2))
        with cluster_of(2):
            row("cluster of 2 processes", dask.persist(*lazy), lambda array: array.compute())
    print(f"GB/s of {elements:,} pairs in chunks of {chunk:,}, in memory\n")
    print(markdown_table(["dtype", "scheduler", "cylosses", "dask.array", "times faster"], lines))


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; by default all")
    parser.add_argument("--gigabytes", type=float, default=20.0, help="of data for two workers of 1 GB")
    parser.add_argument("--chunkings", type=int, default=50, help="for each scheduler and number of workers")
    parser.add_argument("--kills", type=int, default=5, help="of a worker, in each cluster of processes")
    parser.add_argument("--seconds", type=float, default=10.0, help="to spend on each comparison, at least")
    chosen = parser.parse_args()
    for part in chosen.parts:
        if part not in PARTS:
            parser.error(f"{part!r} is none of {', '.join(PARTS)}")
    runs = {
        "bits": lambda: bits(chosen.chunkings, chosen.kills),
        "large": lambda: large(chosen.gigabytes, 4_000_000),
        "overhead": lambda: overhead(1000, chosen.seconds / 5),
        "throughput": lambda: throughput(80_000_000, 4_000_000, chosen.seconds),
    }
    for part in chosen.parts or PARTS:
        print(f"## {part}\n")
        runs[part]()
        print()


if __name__ == "__main__":
    main()
