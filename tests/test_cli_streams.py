"""What the command line says where, and how it ends: files out of reach, closed streams, interrupts, completion."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import duckdb
import numpy as np
import pytest

from .cli_runs import ENVIRONMENT, PYTHON, error_of, output_of, refusal, run_after

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
    # The superuser may enter every folder, so the command is run as nobody, who perhaps may not read the modules of Python either.
    unprivileged = (
        "import os, cylosses.cli, cylosses._cli.merge, cylosses._cli.output, cylosses._cli.score\n"
        "if os.geteuid() == 0:\n    os.seteuid(65534)"
    )
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
        ("score - x y", "<&-", (2, "", "cylosses: error: -: cannot read: standard input is closed\n")),
        ("score - x y", "0>empty.csv", (2, "", "cylosses: error: -: cannot read: Bad file descriptor\n")),
        (GOOD + " --fail-above -1", "2>&-", (1, "0.0\n", "")),
        (GOOD + " --fail-above -1", ">&- 2>&-", (1, "", "")),
    ],
)
def test_closed_streams(folder, arguments, redirection, expected):
    assert redirected(arguments, redirection, folder) == expected


@on_posix
def test_files_do_not_take_the_place_of_closed_streams(folder):
    assert redirected(GOOD + " --grad grad.npy", "<&- >&- 2>&-", folder) == (1, "", "")
    assert np.load(folder / "grad.npy").tolist() == [0, 0, 0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_note_that_cannot_be_written_leaves_value_and_exit_code(folder):
    assert redirected(GOOD + " --fail-above -1", "2>/dev/full", folder) == (1, "0.0\n", "")
    assert redirected("score t.csv x x --verbose", "2>/dev/full", folder) == (2, "", "")
    (folder / "t.csv").write_text("x\n1\n")
    assert redirected("score t.csv x x --verbose", "2>/dev/full", folder) == (0, "0.0\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_stderr_that_cannot_be_written_leaves_the_exit_code(folder):
    assert redirected(BAD, "2>/dev/full", folder) == (2, "", "")


@on_posix
def test_a_missing_extra_is_not_said_on_stdout(folder):
    script = "import os, sys; sys.modules['click'] = None; from cylosses.__main__ import main; sys.exit(main())"
    line = f"exec {shlex.join([*PYTHON, '-c', script])} 2>&-"
    done = subprocess.run(line, shell=True, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")


# --- Ctrl-C while the command is loaded -----------------------------------------------------------------------------

# Python runs it before anything of the command, and it runs at the import of a given module, wherever that is.
INTERRUPT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.{handler})
def on_event(event, arguments, done=[]):
    if event == "import" and arguments[0] == os.environ["INTERRUPTED_IMPORT"] and not done:
        done.append(event)
        os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(on_event)
"""
MODULES = [
    "numpy",
    "numpy._core._multiarray_umath",
    "numpy.linalg",
    "cylosses.functional",
    "cylosses._core.call",
    "cylosses.cli",
    "click",
]


def interrupted(module: str, handler: str, cwd: Path, start: list[str], arguments: list[str] = SCORE) -> tuple[int, str, str]:
    (cwd / "sitecustomize.py").write_text(INTERRUPT.format(handler=handler))
    path = os.pathsep.join([str(cwd), ENVIRONMENT["PYTHONPATH"]])
    environment = ENVIRONMENT | {"PYTHONPATH": path, "INTERRUPTED_IMPORT": module}
    command = [*PYTHON, *start, *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@on_posix
@pytest.mark.parametrize("kind", ["module", "script"])
@pytest.mark.parametrize("module", MODULES)
def test_an_interrupt_during_imports_is_no_traceback(folder, module, kind):
    (folder / "bin").mkdir()
    script = folder / "bin" / "cylosses"  # what an installer writes
    script.write_text("import sys\nfrom cylosses.__main__ import main\nsys.exit(main())\n")
    start = ["-m", "cylosses"] if kind == "module" else [str(script)]
    assert interrupted(module, "default_int_handler", folder, start) == (130, "", "")


@on_posix
@pytest.mark.parametrize("module", ["_duckdb", "duckdb._relation", "nanoarrow", "matplotlib._path", "matplotlib.figure"])
def test_an_interrupt_while_packages_in_cpp_are_loaded(folder, module):
    """An exception may abort the process there: it is raised when they are loaded."""
    (folder / "t.csv").write_text("x,y\n1,2\n")
    arguments = ["score", "t.csv", "x", "y", "--plot", "p.png", "--state", "s.state"]
    assert interrupted(module, "default_int_handler", folder, ["-m", "cylosses"], arguments) == (130, "", "\n")
    assert not {"p.png", "s.state"} & {path.name for path in folder.iterdir()}


@on_posix
def test_an_interrupt_that_is_ignored_stays_ignored(folder):
    assert interrupted("cylosses.functional", "SIG_IGN", folder, ["-m", "cylosses"]) == (0, "0.0\n", "")


@on_posix
def test_importing_the_package_leaves_interrupts_alone(folder):
    script = folder / "program.py"
    script.write_text("try:\n    import cylosses\nexcept KeyboardInterrupt:\n    print('interrupted')\n")
    assert interrupted("cylosses.functional", "default_int_handler", folder, [str(script)]) == (0, "interrupted\n", "")
    check = "import signal, cylosses; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    named = folder / "cylosses"
    named.write_text(check)
    assert interrupted("no", "default_int_handler", folder, [str(named)]) == (0, "True\n", "")


# --- a signal during a query ----------------------------------------------------------------------------------------

# A condition that takes hours, and that DuckDB does not leave of its own accord.
SLOW = "(SELECT count(*) FROM range(1000000000000) AS a WHERE a.range % 7 <> 3) > 0"
# Test runners may ignore Ctrl-C, and their children with them.
HEEDING = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from cylosses.__main__ import main; exit(main())"
)


@on_posix
@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
@pytest.mark.parametrize("operands", ["t.csv x y", "t.csv x y --by x", "t.csv:x u.csv:y --on x"])
def test_a_signal_ends_a_query(folder, number, code, operands):
    for name in ("t.csv", "u.csv"):
        (folder / name).write_text("x,y\n1,2\n")
    command = [*PYTHON, "-c", HEEDING, "score", *operands.split(), "--filter", SLOW, "--verbose", "--state", "s.state"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, text=True, **streams) as process:
        assert process.stderr is not None
        while "columns" not in process.stderr.readline():  # what --verbose says last, before the query
            assert process.poll() is None
        time.sleep(0.3)
        process.send_signal(getattr(signal, number))
        try:
            printed, said = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, printed, [line for line in said.splitlines() if line and "u.csv: " not in line]) == (code, "", [])
    assert sorted(path.name for path in folder.iterdir()) == ["a.npy", "t.csv", "u.csv"]


# --- completion -----------------------------------------------------------------------------------------------------


def completed(*words: str, cwd: Path) -> list[str]:
    """What bash would be told of the last word: type and value, as the script of `completion bash` reads them."""
    variables = {
        "_CYLOSSES_COMPLETE": "bash_complete",
        "COMP_WORDS": shlex.join(["cylosses", *words]),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        [*PYTHON, "-m", "cylosses"], cwd=cwd, env=ENVIRONMENT | variables, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "before",
    [
        ["score"],
        ["score", "a.npy"],
        *(["score", "a.npy", "a.npy", option] for option in ("--out", "--grad", "--weight", "--where", "--state", "--plot")),
        ["score", "a.csv", "b.csv", "c.csv"],
        ["merge"],
        ["merge", "one.state"],
        ["merge", "one.state", "--out"],
        ["demo", "--output"],
        ["demo", "--fits"],
    ],
)
def test_names_of_files_are_completed(folder, before):
    assert completed(*before, "no", cwd=folder) == ["file,no"]


@pytest.mark.parametrize(
    ("before", "begun", "expected"),
    [
        (["t.csv"], "", ["plain,id", "plain,region", "plain,residual", "plain,y z", "file,"]),
        (["t.csv"], "r", ["plain,region", "plain,residual", "file,r"]),
        (["t.csv", "residual"], "y", ["plain,y z", "file,y"]),
        (["t.csv:residual"], "i", ["plain,id", "file,i"]),
        (["t.csv", "u.parquet"], "", ["plain,id", "plain,region", "plain,residual", "plain,y z", "plain,k", "file,"]),
        (["t.csv", "residual", "y z", "--weight"], "re", ["plain,region", "plain,residual", "file,re"]),
        (["t.csv", "residual", "y z", "--by"], "re", ["plain,region", "plain,residual"]),
        (["t.csv", "residual", "y z", "--by"], "id,re", ["plain,id,region", "plain,id,residual"]),
        (["t.csv:residual", "u.parquet:k", "--on"], "i", ["plain,id"]),
        (["t.csv", "--by"], "x", [""]),
        (["broken.csv"], "b", ["file,b"]),
        (["-"], "b", ["file,b"]),
        (["--by"], "b", [""]),
    ],
)
def test_columns_are_completed(folder, before, begun, expected):
    (folder / "t.csv").write_text("id;region;residual;y z\n1;a;2;3\n")
    (folder / "broken.csv").write_text('x,y\n"1,2\n')
    duckdb.sql(f"COPY (SELECT 1 AS id, 2.0 AS k) TO '{folder / 'u.parquet'}'")
    assert completed("score", *before, begun, cwd=folder) == expected


def test_commands_options_and_choices_are_completed(folder):
    assert completed("s", cwd=folder) == ["plain,score"]
    assert completed("score", "--wh", cwd=folder) == ["plain,--where"]
    assert completed("score", "--loss", "smo", cwd=folder) == ["plain,smooth_l1"]
    assert completed("score", "--missing", "s", cwd=folder) == ["plain,skip"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(folder, shell):
    script = output_of("completion", shell, cwd=folder)
    assert f"_CYLOSSES_COMPLETE={shell}_complete" in script
    if shutil.which(shell) is not None:
        subprocess.run([shell, "-n"], input=script, text=True, check=True)  # it is read without an error


def test_the_help_lists_the_exit_codes(folder):
    text = output_of("--help", cwd=folder)
    assert [code for code in ("0", "1", "2", "130") if f"\n    {code:<3}  " in text] == ["0", "1", "2", "130"]
    assert "143 after the signal TERM" in text


# --- start ----------------------------------------------------------------------------------------------------------

UNNEEDED = {"rich", "matplotlib", "scipy", "hashlib"}  # each takes as long to load as all of the command
OF_SCORING = {"cylosses._cli.score", "cylosses._cli.output"}


@pytest.mark.parametrize(
    ("arguments", "unneeded"), [(["--help"], UNNEEDED | OF_SCORING), (["score", "-h"], UNNEEDED | OF_SCORING), (SCORE, UNNEEDED)]
)
def test_commands_load_what_they_need(folder, arguments, unneeded):
    script = "import sys; from cylosses.__main__ import main; main(); print(*sys.modules, file=sys.stderr)"
    command = [*PYTHON, "-c", script, *arguments]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert "cylosses.cli" in done.stderr.split()
    assert unneeded & set(done.stderr.split()) == set()
