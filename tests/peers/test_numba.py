"""The numba of the guide to the C level, as printed."""

from __future__ import annotations

from ..guide import run_python


def test_the_numba_of_the_guide():
    printed, promised = run_python("numba")
    assert promised
    assert printed == promised
