"""Finds the builds of the loops that this machine can run: every module of `cylosses._core` that offers `run`."""

import importlib
import pkgutil
import subprocess
import sys
from typing import Any

import cylosses._core as kernels

# A build for instructions that the CPU lacks dies with a signal, so each is tried in a process of its own.
PROBE = """
import sys
import numpy as np
from benchmarks.c_level.build import load
from benchmarks.c_level.builds import capsule_of
capsule = capsule_of(sys.argv[1])
if capsule is None:
    sys.exit(3)
driver = load()
for dtype in ("f4", "f8"):
    ones = np.ones(5000, dtype)
    job = driver.Pass(capsule, 0, 1.0, ones, 3 * ones, reduction="mean")
    job.time(1, 1)
    assert job.result() == 1.5, job.result()
"""
NO_LOOPS = 3


def capsule_of(name: str) -> Any:
    """Return the capsule of a module's function `run`; None if it has none."""
    module = importlib.import_module(f"{kernels.__name__}.{name}")
    return getattr(module, "__pyx_capi__", {}).get("run")


def find_builds() -> tuple[dict[str, Any], dict[str, str]]:
    """Return the capsule of each build that runs here, and the reason for each that does not."""
    found, skipped = {}, {}
    for info in pkgutil.iter_modules(kernels.__path__):
        done = subprocess.run([sys.executable, "-c", PROBE, info.name], capture_output=True, text=True, check=False)
        if done.returncode == NO_LOOPS:
            continue
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            skipped[info.name] = f"died with signal {-done.returncode}" if done.returncode < 0 else last
            continue
        found[info.name] = capsule_of(info.name)
    return found, skipped
