"""The machine and the software that a result belongs to."""

import contextlib
import hashlib
import io
import os
import platform
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cylosses
from benchmarks.measure.neighbours import usable_cpus

DISTRIBUTIONS = ("numpy", "torch", "numba", "numexpr", "jax", "jaxlib", "scikit-learn", "threadpoolctl", "xsum")


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


def build_digest() -> str:
    """Return a number that changes with the compiled modules: figures before and after a change are not of one run."""
    digest = hashlib.sha256()
    for path in sorted(path for suffix in EXTENSION_SUFFIXES for path in Path(cylosses.__file__).parent.rglob(f"*{suffix}")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def library_versions() -> dict[str, str]:
    """Return what `cylosses.show_versions` prints but the threads, which `describe` has; and the digest of the compiled modules."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        cylosses.show_versions()
    names = {}
    for line in text.getvalue().splitlines():
        name, _, value = line.partition("  ")
        names[name.strip()] = value.strip() or line[len(name) :].strip()
    names.pop("threads", None)
    return {**names, "compiled modules": build_digest()}


def peer_versions() -> dict[str, str]:
    """Return the version of each distribution that is installed."""
    found = {}
    for name in DISTRIBUTIONS:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def describe(threads: int) -> dict[str, Any]:
    """Return everything about the machine and the software, but what is to be measured, that a reader wants to know."""
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
    }
