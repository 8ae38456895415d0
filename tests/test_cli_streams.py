"""What the command line says where, and how it ends: files out of reach, closed streams, interrupts, completion."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest

from .cli_runs import ENVIRONMENT, PYTHON, error_of, refusal, run_after

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


# --- closed streams -------------------------------------------------------------------------------------------------

GOOD, BAD = "score a.npy a.npy", "score a.npy no.npy"
CLOSED = "cylosses: error: cannot write to stdout: it is closed\n"
NO_FILE = "cylosses: error: no.npy: cannot read: No such file or directory\n"


def redirected(arguments: str, redirection: str, cwd: Path) -> tuple[int, str, str]:
    """Run the command in a shell with a redirection; return the exit code and what stdout and stderr get."""
    line = f"exec {shlex.join([*PYTHON, '-m', 'cylosses'])} {arguments} {redirection}"
    done = subprocess.run(line, shell=True, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@on_posix
@pytest.mark.parametrize(
    ("arguments", "redirection", "expected"),
    [
        (GOOD, ">&-", (1, "", CLOSED)),
        (GOOD + " --json", ">&-", (1, "", CLOSED)),
        (GOOD + " --reduction none", ">&-", (1, "", CLOSED)),
        (GOOD + " --reduction none --out out.npy", ">&-", (0, "", "")),  # nothing is printed
        ("info", ">&-", (1, "", CLOSED)),
        ("--help", ">&-", (1, "", CLOSED)),
        ("score --help", ">&-", (1, "", CLOSED)),
        (BAD, ">&-", (2, "", NO_FILE)),
        (GOOD, "2>&-", (0, "0.0\n", "")),
        (BAD, "2>&-", (2, "", "")),
        (GOOD, "<&- >&- 2>&-", (1, "", "")),
        (BAD, "<&- >&- 2>&-", (2, "", "")),
        (GOOD, "<&-", (0, "0.0\n", "")),
    ],
)
def test_closed_streams(folder, arguments, redirection, expected):
    assert redirected(arguments, redirection, folder) == expected


@on_posix
def test_files_do_not_take_the_place_of_closed_streams(folder):
    assert redirected(GOOD + " --grad grad.npy", "<&- >&- 2>&-", folder) == (1, "", "")
    assert np.load(folder / "grad.npy").tolist() == [0, 0, 0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_stderr_that_cannot_be_written_leaves_the_exit_code(folder):
    assert redirected(BAD, "2>/dev/full", folder) == (2, "", "")


@on_posix
def test_a_missing_extra_is_not_said_on_stdout(folder):
    script = "import os, sys; sys.modules['click'] = None; from cylosses.__main__ import main; sys.exit(main())"
    line = f"exec {shlex.join([*PYTHON, '-c', script])} 2>&-"
    done = subprocess.run(line, shell=True, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
