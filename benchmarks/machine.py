"""The machine and the software that a result belongs to."""

import contextlib
import io
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cylosses
from benchmarks.floors import copy_subject, dot_subject
from benchmarks.harness import measure, rounded
from benchmarks.neighbours import usable_cpus
from benchmarks.peers import Peer
from benchmarks.rows import set_threads
from benchmarks.works import normal

DISTRIBUTIONS = ("numpy", "torch", "numba", "numexpr", "jax", "jaxlib", "scikit-learn", "threadpoolctl")
BANDWIDTH_ELEMENTS = 50_000_000  # float32: 200 MB an array, beyond any cache
QUICK_BANDWIDTH_ELEMENTS = 20_000_000


def cpu_model() -> str:
    """Return the name of the CPU."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def instruction_sets() -> list[str]:
    """Return the instruction sets that matter to the builds and that the CPU has."""
    wanted = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "asimd", "sve")
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                present = set(line.partition(":")[2].split())
                return [name for name in wanted if name in present]
    return []


def caches() -> dict[str, str]:
    """Return the size of each cache that the first CPU sees."""
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        with contextlib.suppress(OSError):
            level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
            if kind != "Instruction":
                found[f"L{level}"] = size
    return found


def memory_bytes() -> int | None:
    """Return the size of the main memory."""
    with contextlib.suppress(AttributeError, ValueError, OSError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def library_versions() -> dict[str, str]:
    """Return what `cylosses.show_versions` prints."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        cylosses.show_versions()
    names = {}
    for line in text.getvalue().splitlines():
        name, _, value = line.partition("  ")
        names[name.strip()] = value.strip() or line[len(name) :].strip()
    return names


def peer_versions() -> dict[str, str]:
    """Return the version of each distribution that is installed."""
    found = {}
    for name in DISTRIBUTIONS:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def bandwidth(threads: int, peers: list[Peer], *, quick: bool = False) -> dict[str, dict[str, float]]:
    """Measure the memory bandwidth in bytes per second, for one and for all threads: reading, and copying (both ways counted)."""
    size = QUICK_BANDWIDTH_ELEMENTS if quick else BANDWIDTH_ELEMENTS
    x, y = normal(0, "float32", size), normal(1, "float32", size)
    found = {}
    for count in dict.fromkeys((1, threads)):
        set_threads(count, peers)
        read, copy = measure([dot_subject(x, y), copy_subject(x, y)], 0.3 if quick else 2.0, count, 1 if quick else 3)
        found[str(count)] = {
            "read": rounded((x.nbytes + y.nbytes) / read.best),
            "copy": rounded((x.nbytes + y.nbytes) / copy.best),
        }
    return found


def describe(threads: int, peers: list[Peer], *, quick: bool = False) -> dict[str, Any]:
    """Return everything about the machine that a reader of the figures wants to know."""
    return {
        "cpu": cpu_model(),
        "architecture": platform.machine(),
        "instruction_sets": instruction_sets(),
        "cpus": usable_cpus(),
        "threads": threads,
        "caches": caches(),
        "memory_bytes": memory_bytes(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": peer_versions(),
        "cylosses": library_versions(),
        "bandwidth": bandwidth(threads, peers, quick=quick),
    }
