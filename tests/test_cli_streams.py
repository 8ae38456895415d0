"""What the command line says where, and how it ends: files out of reach, closed streams, interrupts, completion."""

from __future__ import annotations

import os

import numpy as np
import pytest

from .cli_runs import error_of, refusal, run_after

on_posix = pytest.mark.skipif(os.name != "posix", reason="about permissions, streams and signals as POSIX has them")


@pytest.fixture
def folder(tmp_path):
    """A folder with a.npy, three numbers."""
    np.save(tmp_path / "a.npy", np.array([0.0, 1.0, 4.0]))
    return tmp_path


# --- files that cannot be looked for --------------------------------------------------------------------------------

SCORE = ["score", "a.npy", "a.npy"]
LONG = "x" * 300


@on_posix
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["score", f"{LONG}.npy", "a.npy"], f"cannot access '{LONG}.npy': File name too long"),
        ([*SCORE, "--where", f"{LONG}.npz:m"], f"cannot access '{LONG}.npz': File name too long"),
        ([*SCORE, "--out", f"{LONG}.npy"], f"--out: cannot write '{{here}}/{LONG}.npy': File name too long"),
        ([*SCORE, "--grad", "loop.npy"], "--grad: cannot write '{here}/loop.npy': Too many levels of symbolic links"),
        ([*SCORE, "--state", "a.npy/s.state"], "--state: cannot write '{here}/a.npy/s.state': Not a directory"),
        (["merge", f"{LONG}.state"], f"{LONG}.state: cannot read: File name too long"),
        (["merge", "loop.state"], "loop.state: cannot read: Too many levels of symbolic links"),
        (["demo", "--output", f"{LONG}.png"], f"--output: cannot write '{{here}}/{LONG}.png': File name too long"),
    ],
)
def test_a_name_that_no_file_can_have_is_named(folder, arguments, message):
    for name in ("loop.npy", "loop.state"):
        (folder / name).symlink_to(name)
    assert error_of(*arguments, cwd=folder) == message.replace("{here}", str(folder.resolve()))


@on_posix
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["score", "closed/a.npy", "a.npy"], "cannot access 'closed/a.npy': Permission denied"),
        ([*SCORE, "--out", "closed/o.npy"], "--out: cannot write '{here}/closed/o.npy': Permission denied"),
        (["merge", "closed/s.state"], "closed/s.state: cannot read: Permission denied"),
    ],
)
def test_a_folder_that_may_not_be_entered_is_named(folder, arguments, message):
    (folder / "closed").mkdir(mode=0o000)
    # The superuser may enter every folder, so the command is run as nobody.
    unprivileged = "import os, cylosses.cli\nif os.geteuid() == 0:\n    os.seteuid(65534)"
    try:
        said = refusal(run_after(unprivileged, *arguments, cwd=folder))
    finally:
        (folder / "closed").chmod(0o700)
    assert said == message.replace("{here}", str(folder.resolve()))
