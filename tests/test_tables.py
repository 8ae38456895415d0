"""Tables of the command line: several files, files that change, what is told. Kinds of files are in test_file_kinds.py."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cylosses import LOSSES
from cylosses._cli.columns import Reading
from cylosses._cli.engine import Database, database
from cylosses._cli.score import Request, score
from cylosses._cli.source import InputError
from cylosses._cli.specs import LossSpec
from cylosses._cli.tables import open_table

ACCEPTED = "numbers, nan and inf are accepted"
ADVICE = "--missing skip leaves such rows out, --missing nan takes NaN"


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    """Let names be short: every test works in its own folder."""
    monkeypatch.chdir(tmp_path)


def losses_of(*names: str) -> tuple[LossSpec, ...]:
    return tuple(
        LossSpec(name, {} if LOSSES[name].parameter_name is None else {LOSSES[name].parameter_name: 1.0}) for name in names
    )


def value(*table: str, predictions: str = "x", targets: str = "y", reading: Reading | None = None, **options):
    """Return the sum of absolute errors of two columns, or with names of losses their scores."""
    request = Request(predictions, targets, losses_of("l1"), "sum", table=table, reading=reading or Reading())
    return score(replace(request, **options)).value


def refusal(*table: str, **options) -> str:
    with pytest.raises(InputError) as caught:
        value(*table, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 700
    return text


# --- numbers --------------------------------------------------------------------------------------------------------


def test_every_double_is_read_exactly(rng):
    values = rng.normal(size=3000) * 10.0 ** rng.integers(-300, 300, 3000)
    Path("a.csv").write_text("x,y\n" + "".join(f"{v!r},0\n" for v in values.tolist()))
    found = []
    score(Request("x", "y", losses_of("l1"), "none", table=("a.csv",)), on_losses=found.append)
    assert np.concatenate(found).tobytes() == np.abs(values).tobytes()


# --- several files -------------------------------------------------------------------------------------------------


SUM = 0.5 + 2004 + 4.25


@pytest.fixture
def write():
    """A function that writes columns x, y and more as a file of the kind of its suffix, and returns their names."""
    duckdb = pytest.importorskip("duckdb")

    def write(path: str, rows: str = "(1.0, 0.5), (-2e3, 4), (3.25, -1)", names: str = "x, y", options: str = "") -> None:
        duckdb.sql(f"SELECT * FROM (VALUES {rows}) AS t({names})").query("t", f"COPY t TO '{path}' {options}")

    return write


def test_several_files_globs_and_folders(write):
    for k in range(3):
        write(f"part-{k}.csv", options="(HEADER)")
    write("part-3.csv", "(4, 1.0)", "y, x", "(HEADER)")  # read by name
    assert value("part-0.csv", "part-1.csv") == 2 * SUM
    assert value("part-*.csv") == 3 * SUM + 3
    Path("data/year=2025").mkdir(parents=True)
    Path("data/year=2026").mkdir()
    write("data/year=2025/a.parquet")
    write("data/year=2026/a.parquet")
    Path("data/_SUCCESS").touch()
    assert value("data") == 2 * SUM
    assert value("data", filter="year = 2026") == SUM
    assert refusal("no-*.csv") == "no-*.csv: no file has such a name"
    Path("empty").mkdir()
    assert refusal("empty").startswith("empty: no table in this folder; read are files that end in .csv, ")


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_folders_tell_columns(write, suffix):
    for year in (2025, 2026):
        Path(f"data/year={year}").mkdir(parents=True)
        write(f"data/year={year}/a.{suffix}", options="(HEADER)" if suffix == "csv" else "")
    assert value("data", filter="year = 2026") == SUM
    groups = score(Request("x", "y", losses_of("l1"), "sum", table=("data",), by=("year",))).groups
    assert (groups.keys, groups.values) == ([(2025,), (2026,)], [[SUM, SUM]])


def test_conditions_on_columns_that_look_like_integers():
    Path("a.csv").write_text("x,y,k\n" + "2,1,1\n" * 30_000 + "3,1,1.5\n")
    assert value("a.csv", filter="k > 1.4 AND k < 1.6") == 2.0


def test_names_with_characters_of_patterns(write):
    write("[a]*?.csv", options="(HEADER)")
    write("a.csv", "(7, 7)", options="(HEADER)")
    assert value("[a]*?.csv") == SUM


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x,z\n1,2\n", "no column 'y', which a.csv has; the file has 'x', 'z'"),
        ("x;y\n1;2\n", "no column 'x', which a.csv has; the file has 'x;y' (delimiter ',': --delimiter says which)"),
        ("3,4\n5,6\n", "no column 'x', which a.csv has; the file has '3', '4'"),
        ("x,y\n1,2,3\n", "line 2: 2 columns expected, 3 found (delimiter ',')"),
        ("x,y\n" + "1,2\n" * 40_000 + "1\n", "line 40002: 2 columns expected, 1 found (delimiter ',')"),
        ('x,y\n1,2\n3,"4\n', "line 3: a quote is not closed"),
        ("x,y\n1,2\n3,a\n", f"row 2, column 'y': 'a' is not a number; {ACCEPTED}"),
        ("x,y\n1,2\n3,\n", f"row 2, column 'y': the value is missing; {ADVICE}"),
        ("", "the file is empty"),
    ],
)
def test_of_several_files_the_bad_one_is_named(content, message):
    Path("a.csv").write_text("x,y\n1,2\n")
    Path("b.csv").write_text(content)
    assert refusal("a.csv", "b.csv").startswith(f"b.csv: {message}")


def test_files_that_go_together():
    Path("a.csv").write_text("x,y\n1,2\n")
    for content, expected in {"x,y\n": 1.0, "x,y\r\n1,3\r\n": 3.0, "z,y,x\n7,3,1\n": 3.0}.items():
        Path("b.csv").write_bytes(content.encode())
        assert value("a.csv", "b.csv") == expected
    assert refusal("b.csv", "a.csv") == "a.csv: no column 'z', which b.csv has; the file has 'x', 'y'"


def test_files_of_several_kinds(write):
    write("a.csv", options="(HEADER)")
    write("b.parquet", "(1, 2)", "x, z")
    write("c.parquet")
    assert refusal("a.csv", "c.parquet") == "a.csv, ...: files of several kinds: .csv, .parquet"
    assert refusal("c.parquet", "b.parquet").startswith("b.parquet: no column 'y'; the file has 'x', 'z'")


def test_arrow_files_are_tables_as_others_are():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"id": [1, 2, 3], "x": [1.0, -2e3, 3.25], "y": [0.5, 4, -1], "g": ["a", "b", "a"]})
    for name in ("a.feather", "b.feather"):
        frame.to_feather(name)
    assert value("a.feather", "b.feather") == value("*.feather") == 2 * SUM
    assert value("a.feather", filter="g = 'a'") == 4.75
    assert score(Request("x", "y", losses_of("l1"), "sum", table=("a.feather",), by=("g",))).groups.values == [[4.75, 2004.0]]
    joined = Request("a.feather:x", "b.feather:y", losses_of("l1"), "sum", on=("id",))
    assert score(joined).value == SUM
    assert score(replace(joined, on=())).value == SUM
    frame[["x", "y"]].to_feather("b.feather")
    assert refusal("a.feather", "b.feather") == "b.feather: other columns than a.feather has"


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.json", "a.arrow"])
def test_missing_files_and_folders(name):
    assert refusal(name) == f"{name}: cannot read: No such file or directory"
    Path(name).mkdir()
    assert refusal(name) == f"{name}: not a regular file"


# --- files that change ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["replace", "append", "touch"])
def test_a_file_that_changes_while_it_is_read_is_refused(write, change):
    write("a.csv", options="(HEADER)")

    def alter(step, done, total):
        if change == "replace":
            write("b.csv", "(0, 0)", options="(HEADER)")
            Path("b.csv").replace("a.csv")
        elif change == "append":
            with Path("a.csv").open("a") as file:
                file.write("1,2\n")
        else:
            os.utime("a.csv", ns=(1, 1))

    with pytest.raises(InputError, match=r"a\.csv: the file has changed while it was read"):
        score(Request("x", "y", table=("a.csv",)), on_progress=alter)


@pytest.mark.parametrize(
    "request_",
    [
        Request("x", "y", weight="w", where="m", table=("a.csv",)),
        Request("a.csv:x", "a.csv:y", weight="a.csv:w", where="a.csv:m"),
        Request("a.csv:x", "a.csv:y", weight="w", where="m", by=("g",)),
        Request("a.csv:x", "a.csv:y", weight="w", where="m", grad="g.npy"),
    ],
    ids=["table", "files", "groups", "gradient"],
)
def test_all_columns_of_a_file_come_from_one_scan(monkeypatch, request_):
    Path("a.csv").write_text("x,y,w,m,g\n1,0.5,1,1,a\n3,1,1,1,b\n")
    queries = []
    for name in ("batches", "rows"):
        real = getattr(Database, name)
        monkeypatch.setattr(Database, name, lambda *given, real=real: (queries.append(given[1]), real(*given))[1])
    score(request_)
    scans = [query for query in queries if "read_csv" in query and not query.startswith("DESCRIBE")]
    assert len(scans) == 1
    assert all(f'"{role}"' in scans[0] for role in ("predictions", "targets", "weight", "where"))


# --- what is said of guesses ----------------------------------------------------------------------------------------


def test_guesses_are_told():
    Path("a.csv").write_text("x;y\n1;a\n")
    with database(None, None) as opened, ExitStack() as stack:
        lines = open_table(opened, stack, ["a.csv"], Reading()).describe()
    assert lines == ["a.csv: delimiter ';', decimal '.', a header line", "a.csv: columns x (BIGINT), y (VARCHAR)"]
