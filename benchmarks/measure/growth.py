"""Time per element and memory against size, from 16 to 200 million elements, on each number of threads.

The memory of a call is what the process's resident peak rises by while it runs, arrays of the caller excluded: the library should
need the same at every size.
"""

import contextlib
import ctypes
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure.floors import floor
from benchmarks.measure.harness import measure, summary
from benchmarks.measure.machine import memory_bytes
from benchmarks.measure.rows import MAIN_LOSS, set_threads, threads_used
from benchmarks.measure.works import WORKS, Case, cylosses_subject, make_data, normal
from benchmarks.peers import Peer

SIZES = (16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_000_000, 4_000_000, 16_000_000, 50_000_000, 100_000_000, 200_000_000)
QUICK_SIZES = (16, 1024, 65_536, 1_000_000, 8_000_000)
WORK_NAMES = ("mean", "value_and_grad")
BYTES_PER_ELEMENT = 12  # two operands and an output in float32
SHARE_OF_MEMORY = 0.4  # larger arrays are left out: the machine must not swap


def resident_peak() -> int | None:
    """Return the peak of resident memory in bytes since `forget_peak`; None where the system does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return None


def forget_peak() -> bool:
    """Start the peak afresh; false where the system does not allow it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # else a call could take freed memory that is still resident, and seem to need none
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def run(
    threads: int,
    peers: Sequence[Peer],
    seconds: float,
    attempts: int,
    *,
    quick: bool = False,
    wanted: Callable[..., bool] = lambda **_: True,
) -> Iterator[dict[str, Any]]:
    """Yield one row per size, work and number of threads, of those that `wanted` says are still to be timed."""
    case = Case(MAIN_LOSS)
    limit = (memory_bytes() or 1 << 33) * SHARE_OF_MEMORY
    for size in QUICK_SIZES if quick else SIZES:
        if size * BYTES_PER_ELEMENT > limit:
            continue
        normal.cache_clear()  # the arrays of the last size
        for name, count in itertools.product(WORK_NAMES, range(1, threads + 1)):
            if not wanted(work=name, threads=count, size=size):
                continue
            set_threads(count, peers)
            work = WORKS[name]
            data = make_data(work, "float32", size)
            ours = cylosses_subject(case, work, data)
            ours.call()
            extra = None
            if forget_peak():
                before = resident_peak()
                ours.call()
                extra = resident_peak() - before
            subjects = summary(measure([floor(work, data), ours], seconds, threads_used(size, count), attempts))
            yield {"work": name, "threads": count, "size": size, "extra_bytes": extra, "bytes": data.bytes_moved,
                   "subjects": subjects}  # fmt: skip
