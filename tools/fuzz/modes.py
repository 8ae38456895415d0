"""The floating-point mode of the calling thread: rounding direction, flush to zero (FTZ), denormals are zero (DAZ).

Set through the C library's fenv_t, whose last four bytes on x86-64 Linux are the processor's MXCSR register; elsewhere there is
the default mode only.
"""

from __future__ import annotations

import ctypes
import itertools
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

ROUNDING = {"nearest": 0, "down": 1 << 13, "up": 2 << 13, "towards zero": 3 << 13}
FTZ, DAZ = 1 << 15, 1 << 6
MASK = FTZ | DAZ | ROUNDING["towards zero"]

AVAILABLE = sys.platform == "linux" and platform.machine() == "x86_64"
MODES = [sum(bits) for bits in itertools.product(ROUNDING.values(), (0, FTZ), (0, DAZ))] if AVAILABLE else [0]


class _Environment(ctypes.Structure):
    _fields_ = [("x87", ctypes.c_uint8 * 28), ("mxcsr", ctypes.c_uint32)]


_library = ctypes.CDLL(None) if AVAILABLE else None


def current() -> int:
    """The bits of the mode that is set."""
    environment = _Environment()
    if _library is not None:
        _library.fegetenv(ctypes.byref(environment))
    return environment.mxcsr & MASK


@contextmanager
def floating_point_mode(bits: int) -> Iterator[None]:
    """Compute in a mode, one of MODES; the mode from before comes back."""
    if _library is None or bits == 0:
        yield
        return
    before, environment = _Environment(), _Environment()
    _library.fegetenv(ctypes.byref(before))
    _library.fegetenv(ctypes.byref(environment))
    environment.mxcsr = (environment.mxcsr & ~MASK) | bits
    _library.fesetenv(ctypes.byref(environment))
    try:
        yield
    finally:
        _library.fesetenv(ctypes.byref(before))


def words(bits: int) -> str:
    """A mode in words."""
    rounding = {value: name for name, value in ROUNDING.items()}[bits & ROUNDING["towards zero"]]
    return ", ".join([f"rounding {rounding}", *(name for name, bit in (("FTZ", FTZ), ("DAZ", DAZ)) if bits & bit)])
