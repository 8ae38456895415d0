"""The files that the command line writes: what they may replace, and that a run leaves all of them or none."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from cylosses import SmoothL1Loss
from cylosses._cli import abandoned, output_files
from cylosses._cli.score import Request, score
from cylosses._cli.source import InputError

from .cli_runs import ENVIRONMENT, PYTHON, error_of, output_of, refusal, run, run_after

on_posix = pytest.mark.skipif(os.name != "posix", reason="about permissions, links, signals and limits as POSIX has them")


@pytest.fixture
def inputs(tmp_path, rng):
    """Files of all kinds that `score` and `merge` read, each with content of its own."""
    a, b = rng.normal(size=(2, 50))
    for name, values in {"a": a, "b": b, "w": np.abs(a), "m": a > 0}.items():
        np.save(tmp_path / f"{name}.npy", values)
    state = SmoothL1Loss().streaming()
    for name in ("one", "two"):
        state.update(a, b)
        (tmp_path / f"{name}.state").write_bytes(state.to_bytes())
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- what an output may not replace ---------------------------------------------------------------------------------

SCORE = ["score", "a.npy", "b.npy", "--weight", "w.npy", "--where", "m.npy"]


@pytest.mark.parametrize(
    ("arguments", "option", "name"),
    [
        *((SCORE, "--out", f"{name}.npy") for name in "abwm"),
        (SCORE, "--grad", "b.npy"),
        (["merge", "one.state", "two.state"], "--out", "one.state"),
        (["merge", "one.state", "two.state"], "--out", "two.state"),
    ],
)
@pytest.mark.parametrize("kind", ["itself", "symbolic", "hard"])
def test_an_output_that_is_an_input_is_refused(inputs, arguments, option, name, kind):
    named = name if kind == "itself" else f"link{Path(name).suffix}"
    if kind == "symbolic":
        (inputs / named).symlink_to(name)
    elif kind == "hard":
        (inputs / named).hardlink_to(inputs / name)
    before = contents(inputs)
    message = f"{option}: {named!r} is the input file {name!r}, which would be lost"
    assert error_of(*arguments, option, named, cwd=inputs) == message
    assert contents(inputs) == before


@pytest.mark.parametrize(("option", "name"), [("--state", "link.state"), ("--plot", "link.png")])
def test_what_no_input_is_called_may_not_replace_one_either(inputs, option, name):
    """Inputs never end in .state or .png, so only a link can name one."""
    (inputs / name).hardlink_to(inputs / "b.npy")
    message = f"{option}: {name!r} is the input file 'b.npy', which would be lost"
    assert error_of(*SCORE, option, name, cwd=inputs) == message


def test_an_input_with_a_column_behind_it(tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n1,2\n")
    (tmp_path / "link.npy").symlink_to("t.csv")
    said = error_of("score", "t.csv:x", "t.csv:y", "--grad", "link.npy", cwd=tmp_path)
    assert said == "--grad: 'link.npy' is the input file 't.csv', which would be lost"


@on_posix
@pytest.mark.parametrize(
    ("named", "table"),
    [
        (["t.csv"], "t.csv"),
        (["t.csv", "u.csv"], "u.csv"),
        (["*.csv"], "u.csv"),
        (["folder"], "folder/year=1/v.csv"),
        (["-"], "/dev/stdin"),
    ],
)
def test_every_file_of_a_table_is_an_input(tmp_path, named, table):
    (tmp_path / "folder" / "year=1").mkdir(parents=True)
    for name in ("t.csv", "u.csv", "folder/year=1/v.csv"):
        (tmp_path / name).write_text("x,y\n1,2\n")
    (tmp_path / "link.npy").symlink_to("t.csv" if table == "/dev/stdin" else table)
    with (tmp_path / "t.csv").open() as stdin:
        done = run("score", *named, "x", "y", "--grad", "link.npy", cwd=tmp_path, stdin=stdin)
    assert refusal(done) == f"--grad: 'link.npy' is the input file {table!r}, which would be lost"


def test_a_file_called_as_a_column_is_no_input(tmp_path):
    (tmp_path / "t.csv").write_text("x,y.npy\n1,2\n")
    (tmp_path / "y.npy").write_bytes(b"old")
    assert output_of("score", "t.csv", "x", "y.npy", "--grad", "y.npy", cwd=tmp_path) == "0.5\n"
    assert np.load(tmp_path / "y.npy").tolist() == [-1.0]


@on_posix
@pytest.mark.parametrize(
    ("arguments", "option", "name"),
    [
        (SCORE, "--out", "old.npy"),
        (SCORE, "--grad", "old.npy"),
        (SCORE, "--state", "old.state"),
        (SCORE, "--plot", "old.png"),
        (["merge", "one.state"], "--out", "old.state"),
        (["demo"], "--output", "old.png"),
    ],
)
def test_a_write_protected_file_is_not_replaced(inputs, arguments, option, name):
    (inputs / name).write_bytes(b"old")
    (inputs / name).chmod(0o444)
    before = contents(inputs)
    assert error_of(*arguments, option, name, cwd=inputs) == f"{option}: {name!r} is write-protected"
    assert contents(inputs) == before


# --- all files of a run or none -------------------------------------------------------------------------------------

OUTPUTS = {"out": "out.npy", "grad": "grad.npy", "state": "s.state", "plot": "p.png"}


@pytest.fixture(params=["unnamed", "named"])
def temporary(request, monkeypatch):
    """Both kinds of temporary files, of which a system may have only the second."""
    if request.param == "named":
        monkeypatch.setattr(output_files, "_DESCRIPTORS", Path("/no/such/folder"))
    elif not hasattr(os, "O_TMPFILE"):
        pytest.skip("this system has no unnamed files")
    return request.param


def request(folder: Path, **options) -> Request:
    paths = {name: str(folder / file) for name, file in OUTPUTS.items()}
    return Request(str(folder / "a.npy"), str(folder / "b.npy"), **(paths | options))


@pytest.mark.parametrize("options", [["--grad", "old.npy"], ["--out", "old.npy"], ["--state", "old.state"]])
@pytest.mark.parametrize("table", [False, True])
def test_an_input_that_changes_meanwhile_leaves_the_old_files(tmp_path, monkeypatch, options, table):
    pair = ("t.csv", "x", "y") if table else ("a.npy", "b.npy")
    (tmp_path / "t.csv").write_text("x,y\n1,2\n")
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", np.ones(3))
    (tmp_path / "old.npy").write_bytes(b"old")
    (tmp_path / "old.state").write_bytes(b"old")
    change = (
        "import os, cylosses._cli.output_files as files\nopen_it = files.Outputs.open\n"
        f"files.Outputs.open = lambda self, option: (os.utime({pair[0]!r}, (1, 1)), open_it(self, option))[1]"
    )
    if table and options[0] == "--grad":  # whose columns are read before its file is opened
        change = (
            "import os, cylosses._cli.pairs as pairs\nread = pairs.TableScan.read\n"
            "pairs.TableScan.read = lambda self: (os.utime('t.csv', (1, 1)), read(self))[1]"
        )
    said = refusal(run_after(change, "score", *pair, *options, cwd=tmp_path))
    assert said == f"{pair[0]}: the file has changed while it was read"
    assert {(tmp_path / name).read_bytes() for name in ("old.npy", "old.state")} == {b"old"}
    assert len(contents(tmp_path)) == 5


def test_a_threshold_is_no_failure_of_the_run(inputs):
    done = run("score", "a.npy", "b.npy", "--fail-above", "-1", "--grad", "grad.npy", cwd=inputs)
    assert done.returncode == 1
    assert (inputs / "grad.npy").exists()


@pytest.mark.parametrize("threshold", ["x", "mse=1"])
def test_a_threshold_that_is_none_leaves_the_merged_state(inputs, threshold):
    (inputs / "old.state").write_bytes(b"old")
    assert error_of("merge", "one.state", "--out", "old.state", "--fail-above", threshold, cwd=inputs).startswith("--fail-above")
    assert (inputs / "old.state").read_bytes() == b"old"


def test_files_appear_at_the_end(inputs, temporary, monkeypatch):
    before = contents(inputs)
    seen = []
    real = output_files.OutputFile.complete
    monkeypatch.setattr(output_files.OutputFile, "complete", lambda file: (seen.append(set(contents(inputs))), real(file))[1])
    score(request(inputs))
    extra = [{name.rpartition("-")[0] for name in names - set(before)} for names in seen]
    assert extra == [{"unnamed": set(), "named": {".cylosses"}}[temporary]] * len(OUTPUTS)
    assert set(contents(inputs)) - set(before) == set(OUTPUTS.values())
    assert {name: (inputs / name).stat().st_mode & 0o777 for name in OUTPUTS.values()} == dict.fromkeys(
        OUTPUTS.values(), (inputs / "a.npy").stat().st_mode & 0o777
    )


@pytest.mark.parametrize(
    ("call", "failing"), [(call, failing) for call in ("fsync", "link") for failing in (1, 2, 3)] + [("replace", 1)]
)
def test_a_failure_before_the_first_rename_leaves_everything_as_it_was(inputs, temporary, monkeypatch, call, failing):
    if (call, temporary) == ("link", "named"):
        call = "fsync"  # named files are not linked
    for name in OUTPUTS.values():
        (inputs / name).write_bytes(b"old")
    before = contents(inputs)
    owner = Path if call == "replace" else os
    real, calls = getattr(owner, call), []

    def fail(*arguments, **options):
        calls.append(arguments)
        if len(calls) == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **options)

    monkeypatch.setattr(owner, call, fail)
    with pytest.raises(InputError, match=r"cannot write .*: No space left on device"):
        score(request(inputs))
    assert len(calls) == failing
    assert contents(inputs) == before


def test_a_failure_after_it_says_what_is_written(inputs, temporary):
    """A folder may come to stand in the way between the check and the rename."""
    (inputs / "old").mkdir()

    def block(step, done, total):
        (inputs / "grad.npy").mkdir(exist_ok=True)

    with pytest.raises(InputError, match=r"--grad: cannot write '.*grad.npy': .*; '.*out.npy' is written$"):
        score(request(inputs), on_progress=block)
    assert not [path for path in inputs.iterdir() if path.name.startswith(".cylosses")]


@on_posix
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_between_the_renames_waits(inputs, name, code):
    for file in OUTPUTS.values():
        (inputs / file).write_bytes(b"old")
    hook = f"""
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
def on_event(event, arguments, done=[]):
    if event == "os.rename" and not done:
        done.append(event)
        os.kill(os.getpid(), signal.{name})
sys.addaudithook(on_event)
"""
    options = [text for option, file in OUTPUTS.items() for text in (f"--{option}", file)]
    result = run_after(hook, "score", "a.npy", "b.npy", *options, cwd=inputs)
    assert (result.returncode, result.stderr.strip()) == (code, "")
    assert b"old" not in contents(inputs).values()


# --- what killed runs leave -----------------------------------------------------------------------------------------


def test_files_of_killed_runs_are_removed_and_no_others(inputs, temporary):
    abandoned, others = [".cylosses-0123456789ab.tmp"], [".cylosses-notes.tmp", "cylosses-0123456789ab.tmp"]
    for name in abandoned + others:
        (inputs / name).write_bytes(b"half")
    with output_files.Outputs() as outputs:  # a run that is alive, and its files have names
        outputs.add("--out", str(inputs / "alive.npy"), ".npy")
        alive = outputs.open("--out")
        alive.write(b"alive")
        alive.name()
        score(request(inputs))
        assert [name for name in abandoned + others if (inputs / name).exists()] == others
    assert (inputs / "alive.npy").read_bytes() == b"alive"
    assert sorted(path.name for path in inputs.glob(".cylosses*")) == [".cylosses-notes.tmp"]


def test_folders_of_killed_runs_are_removed(tmp_path, monkeypatch):
    """A table that does not fit into memory is sorted in a folder, and a run that is killed leaves it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("cylosses-0123456789ab.spill", "cylosses-notes.spill"):
        (tmp_path / name / "inner").mkdir(parents=True)
    with abandoned.spill_folder() as alive, abandoned.spill_folder() as other:
        (alive / "file").write_bytes(b"alive")
        found = {path.name for path in tmp_path.iterdir()} - {"cylosses-0123456789ab.spill"}
        assert found == {alive.name, other.name, "cylosses-notes.spill"}
        assert (tmp_path / "cylosses-0123456789ab.spill").exists() == (os.name != "posix")
        assert (alive / "file").exists()
    assert not alive.exists()


def test_a_name_that_is_taken_before_its_lock_is_drawn_again(inputs, monkeypatch):
    """Another run may see the file between its creation and its lock."""
    monkeypatch.setattr(output_files, "_DESCRIPTORS", Path("/no/such/folder"))
    real, removed = output_files.lock, []

    def lock(descriptor):
        if not removed:
            removed.extend(inputs.glob(".cylosses-*"))
            output_files.remove_abandoned(inputs)
        real(descriptor)

    if output_files.fcntl is None:
        pytest.skip("no file that is open can be removed here")
    monkeypatch.setattr(output_files, "lock", lock)
    score(request(inputs))
    assert len(removed) == 1
    assert (inputs / "out.npy").exists()


# All that a run is made of, but with temporary files that have names: a module of its own, so that it may be killed from its start.
NAMED = "from cylosses._cli import output_files; output_files._DESCRIPTORS = output_files.Path('/no/such/folder')"
KILLED_RUNS = 18  # 60, by hand, take a minute


@pytest.mark.slow
@on_posix
def test_killed_runs_leave_whole_sets_of_files(tmp_path):
    """Runs are killed at random moments, by turns with all signals, and with both kinds of temporary files."""
    a, b = np.random.default_rng(1).normal(size=(2, 8_000_000))
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "b.npy", b)
    options = [text for option, file in OUTPUTS.items() for text in (f"--{option}", file)]

    def start(beta, named):
        script = f"import sys\n{NAMED if named else ''}\nfrom cylosses.__main__ import main\nsys.exit(main())"
        command = [*PYTHON, "-c", script, "score", "a.npy", "b.npy", *options, "--beta", str(beta)]
        return subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def found(names):
        return tuple(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in names)

    sets = {}
    for beta in (1, 2):
        began = time.monotonic()
        assert start(beta, False).wait() == 0
        duration = time.monotonic() - began
        sets[beta] = found(OUTPUTS.values())
    untouched, now, ended = found(["a.npy", "b.npy"]), sets[2], []
    draw = random.Random(int.from_bytes(os.urandom(4), "big"))
    for number in range(KILLED_RUNS):
        process = start(beta := 1 + (now == sets[1]), named=number % 2 == 1)
        time.sleep(draw.uniform(0, 1.1 * duration))
        process.send_signal((signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[number % 3])
        ended.append(process.wait())
        duration *= 0.8 if ended[-1] == 0 else 1.0  # it ended before the signal: the machine has less to do than when it was timed
        assert found(OUTPUTS.values()) in (now, sets[beta]), "a mixed set, or half a file"
        assert ended[-1] != 0 or found(OUTPUTS.values()) == sets[beta]
        now = found(OUTPUTS.values())
    assert start(1, False).wait() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "b.npy", *sorted(OUTPUTS.values())]
    assert found(["a.npy", "b.npy"]) == untouched
    assert len({code for code in ended if code}) >= 3, "no run was caught alive"
    print(f"{KILLED_RUNS} runs, exit codes", {code: ended.count(code) for code in sorted(set(ended))}, file=sys.stderr)
