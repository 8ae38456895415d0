"""Tables of the command line: kinds of files, dialects, what is refused and with which words."""

from __future__ import annotations

import gzip
import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cylosses import LOSSES, SmoothL1Loss
from cylosses._cli.engine import database
from cylosses._cli.score import Request, score
from cylosses._cli.source import NUMBERS, InputError
from cylosses._cli.specs import LossSpec
from cylosses._cli.tables import Reading, open_table

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


# --- dialects -------------------------------------------------------------------------------------------------------

ROWS = [["x", "y"], ["1", "0.5"], ["-2e3", "4"], ["3.25", "-1"]]
SUM = 0.5 + 2004 + 4.25


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", ["", "\n", "\n\n"])
def test_delimiters_and_line_ends(mark, ending, last):
    text = "\n".join(mark.join(row) for row in ROWS) + last
    Path("a.csv").write_bytes(text.replace("\n", ending).encode())
    assert value("a.csv") == SUM


@pytest.mark.parametrize(
    ("content", "reading"),
    [
        ("x;y\n1,0;0,5\n-2000;4\n3,25;-1\n", Reading(decimal=",")),
        ("x;y\n1,0;0,5\n-2000;4\n3,25;-1\n", Reading(delimiter=";", decimal=",")),
        ("x y\n1 0.5\n-2e3 4\n3.25 -1\n", Reading(delimiter=" ")),
        ("x||y\n1||0.5\n-2e3||4\n3.25||-1\n", Reading(delimiter="||")),
        ('"x","y"\n"1","0.5"\n-2e3,4\n"3.25",-1\n', Reading()),
        ("x, y\n1, 0.5\n-2e3, 4\n 3.25 ,-1\n", Reading()),
        ("\ufeffx,y\n1,0.5\n-2e3,4\n3.25,-1\n", Reading()),
        ("x,y,\n1,0.5,\n-2e3,4,\n3.25,-1,\n", Reading()),
        ("x,y\n1,0.5\n\n-2e3,4\n3.25,-1\n", Reading()),
        ('x,s,y\n1,"a,b",0.5\n-2e3,"a ""quoted""\nword",4\n3.25,c,-1\n', Reading()),
        ("x,s,y\n1,a,0.5\n-2e3,it's 5\" wide,4\n3.25,c,-1\n", Reading()),
        ("x,s,y\n1," + "a" * 500_000 + ",0.5\n-2e3,b,4\n3.25,c,-1\n", Reading()),
        ("x,y\n1,0.5\n-2e3,4\n3.25,-1\n", Reading(header=True)),
    ],
)
def test_dialects(content, reading):
    Path("a.csv").write_text(content)
    assert value("a.csv", reading=reading) == SUM


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "cp1252", "iso8859-15", "utf-8"])
def test_encodings(encoding):
    Path("a.csv").write_text("é,y\n1,0.5\n-2e3,4\n3.25,-1\n", encoding=encoding)
    assert value("a.csv", predictions="é", reading=Reading(encoding=encoding)) == SUM


def test_columns_by_number_and_without_a_header():
    Path("a.csv").write_text("1,7,0.5\n-2e3,7,4\n3.25,7,-1\n")
    for reading in (Reading(), Reading(header=False)):
        assert value("a.csv", predictions="1", targets="3", reading=reading) == SUM
    assert refusal("a.csv", predictions="z", reading=Reading(header=False)).endswith(
        "(no header line: --header says that there is one)"
    )
    Path("b.csv").write_text("3,x,y\n3,1,0.5\n")
    assert value("b.csv", predictions="3", targets="3") == 0
    assert value("b.csv", predictions="2", targets="3") == 2.0  # the second column, and the one whose name is 3


def test_a_header_above_text_is_found_by_the_names():
    Path("a.csv").write_text("x,y\nNA,1\nNA,2\n")
    assert value("a.csv", missing="skip") == 0


def test_every_double_is_read_exactly(rng):
    values = rng.normal(size=3000) * 10.0 ** rng.integers(-300, 300, 3000)
    Path("a.csv").write_text("x,y\n" + "".join(f"{v!r},0\n" for v in values.tolist()))
    found = []
    score(Request("x", "y", losses_of("l1"), "none", table=("a.csv",)), on_losses=found.append)
    assert np.concatenate(found).tobytes() == np.abs(values).tobytes()


def test_a_column_that_looks_like_integers_may_have_fractions_later():
    Path("a.csv").write_text("x,y\n" + "2,2\n" * 100_000 + "1.5,1\n")
    assert value("a.csv") == 0.5


def test_integers_beyond_the_first_rows_are_exact():
    Path("a.csv").write_text("x,y\n" + "2,2\n" * 200_000 + "9007199254740993,9007199254740992\n")
    assert value("a.csv") == 1.0
    Path("a.csv").write_text("x,y\n" + "2,2\n" * 200_000 + "9007199254740993,9007199254740992.0\n")
    assert value("a.csv") == 0.0  # a point makes floats of both columns


# --- text that is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("x,y\n1,2\n3,abc\n", f"a.csv: row 2, column 'y': 'abc' is not a number; {ACCEPTED}"),
        ("x,y\n1,2\n" * 1 + "3,4\n" * 100_000 + "5,1e\n", f"a.csv: row 100002, column 'y': '1e' is not a number; {ACCEPTED}"),
        ("x,y\n1,2\n3,0x10\n", f"a.csv: row 2, column 'y': '0x10' is not a number; {ACCEPTED}"),
        ('x,y\n1,2\n3,"1,000"\n', f"a.csv: row 2, column 'y': '1,000' is not a number; {ACCEPTED}; --decimal , reads it"),
        ("x;y\n1,5;2\n3;4\n", f"a.csv: row 1, column 'x': '1,5' is not a number; {ACCEPTED}; --decimal , reads it"),
        ("x,y\n1,2\n#3,4\n", f"a.csv: row 2, column 'x': '#3' is not a number; {ACCEPTED}"),
        ("x,y\n1,2\nTotal,6\n", f"a.csv: row 2, column 'x': 'Total' is not a number; {ACCEPTED}"),
        ("x,y\n1,2\n3,\n", f"a.csv: row 2, column 'y': the value is missing; {ADVICE}"),
        ("x,y\n1,2\nNA,4\n", f"a.csv: row 2, column 'x': the value is missing; {ADVICE}"),
        ("x,z\n1,2\n", "a.csv: no column 'y'; the file has 'x', 'z'"),
        ("x,x\n1,2\n", "a.csv: 2 of the file's columns are named 'x'"),
        ("", "a.csv: no column 'x'; the file has 'column0' (delimiter 'not found': --delimiter says which)"),
    ],
)
def test_bad_text(content, expected):
    Path("a.csv").write_text(content)
    assert refusal("a.csv") == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('x,y\n1,2\n"3,4\n5,6\n', "quote"),
        ("x,y,s\n" + "1,2,a\n" * 100_000 + '1,2,"b\n' + "1,2,c\n" * 10, "Line: 100002"),
        ("x,y\n1,2\n3\n", "Line: 3"),
        ("x,y\n1,2\n3,4,5\n", "Line: 3"),
        ("x,y\n1,2,3\n" + "1,2\n" * 50, "Line: 2"),
        ("x,y\n" + "1,2\n" * 50_000 + "3\n", "Line: 50002"),
        ("title of the file\n\nx,y\n1,2\n3,4\n", "no column 'x'; the file has 'title of the file'"),
        ("# a comment\nx,y\n1,2\n3,4\n", "no column 'x'; the file has '# a comment'"),
        ("x,y\n1,2\n\0\0\n3,4\n", "Line:"),
    ],
)
def test_rows_that_do_not_fit_are_refused_with_their_line(content, words):
    Path("a.csv").write_text(content)
    text = refusal("a.csv")
    assert text.startswith("a.csv: ")
    assert words in text


def test_text_in_another_encoding_says_so():
    Path("a.csv").write_bytes("é,x,y\n1,2,3\n".encode("latin-1"))
    assert refusal("a.csv").endswith("--encoding says which it is")
    assert "no-such" in refusal("a.csv", reading=Reading(encoding="no-such"))


def test_names_that_differ_in_case_alone():
    Path("a.csv").write_text("x,X,y\n1,5,7\n")
    assert (value("a.csv"), value("a.csv", predictions="X")) == (6.0, 2.0)


def test_names_with_quotes_and_dots():
    Path("a.csv").write_text('"a.b","it\'s ""x"", y:z",y\n1,5,7\n')
    assert (value("a.csv", predictions="a.b"), value("a.csv", predictions='it\'s "x", y:z')) == (6.0, 2.0)


def test_many_columns_are_not_all_listed():
    Path("a.csv").write_text(",".join(f"c{i}" for i in range(50)) + "\n")
    assert refusal("a.csv").endswith("'c18', 'c19', ...")


# --- kinds of files -------------------------------------------------------------------------------------------------


@pytest.fixture
def write():
    """A function that writes columns x, y and more as a file of the kind of its suffix, and returns their names."""
    duckdb = pytest.importorskip("duckdb")

    def write(path: str, rows: str = "(1.0, 0.5), (-2e3, 4), (3.25, -1)", names: str = "x, y", options: str = "") -> None:
        duckdb.sql(f"SELECT * FROM (VALUES {rows}) AS t({names})").query("t", f"COPY t TO '{path}' {options}")

    return write


@pytest.mark.parametrize(
    "path",
    [
        "a.csv",
        "a.csv.gz",
        "a.tsv",
        "a.tsv.gz",
        "a.csv.zst",
        "a.parquet",
        "a.pq",
        "a.json",
        "a.jsonl",
        "a.ndjson",
        "a.jsonl.gz",
        "A.CSV",
    ],
)
def test_kinds(write, path):
    plain = path.lower().replace(".pq", ".parquet").replace(".ndjson", ".json").replace(".jsonl", ".json")
    kind = plain.split(".")[1]
    options = {
        "csv": "(FORMAT csv, HEADER)",
        "tsv": "(FORMAT csv, HEADER, DELIMITER '\t')",
        "json": "(FORMAT json)",
        "parquet": "(FORMAT parquet)",
    }[kind]
    compression = {".gz": ", COMPRESSION gzip)", ".zst": ", COMPRESSION zstd)"}.get(Path(plain).suffix, ")")
    write(path, options=options[:-1] + compression)
    assert value(path) == SUM


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


def test_files_that_do_not_go_together(write):
    write("a.csv", options="(HEADER)")
    write("b.csv", "(1, 2)", "x, z", "(HEADER)")
    write("c.parquet")
    assert '"y"' in refusal("a.csv", "b.csv")
    assert refusal("a.csv", "c.parquet") == "a.csv, ...: files of several kinds: .csv, .parquet"


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.json"])
def test_missing_files_and_folders(name):
    assert refusal(name) == f"{name}: cannot read: No such file or directory"
    Path(name).mkdir()
    assert refusal(name) == f"{name}: not a regular file"


@pytest.mark.parametrize("name", ["a.parquet", "a.csv.gz", "a.json", "a.csv.zst"])
def test_damaged_files(name):
    Path(name).write_bytes(b"\x00\x01not a table" * 10)
    assert refusal(name).startswith(f"{name}: ")


def test_a_compressed_file_that_is_cut(rng):
    Path("a.csv.gz").write_bytes(gzip.compress(("x,y\n" + "".join(f"{v},0\n" for v in rng.normal(size=200_000))).encode())[:-1000])
    assert "GZIP" in refusal("a.csv.gz")


# --- Parquet and JSON -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["?", "i1", "i8", "u1", "u8", "f4", "f8"])
def test_parquet_types(rng, dtype):
    pyarrow = pytest.importorskip("pyarrow")
    values, others = (np.abs(rng.normal(size=5003) * 100).astype(dtype) for _ in range(2))
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table({"x": values, "y": others}), "a.parquet", row_group_size=1000)
    found = score(Request("x", "y", losses_of("smooth_l1"), table=("a.parquet",)))
    expected = SmoothL1Loss()(values, others)
    assert (found.value.dtype, found.value.tobytes()) == (expected.dtype, expected.tobytes())


@pytest.mark.parametrize(
    ("sql", "kind"),
    [("'a'", "VARCHAR"), ("[1.0::DOUBLE]", "DOUBLE[]"), ("DATE '2026-01-01'", "DATE"), ("{'b': 1}", "STRUCT(b INTEGER)")],
)
def test_parquet_types_that_are_no_numbers(write, sql, kind):
    write("a.parquet", f"({sql}, 1)")
    text = refusal("a.parquet")
    assert text.startswith(f"a.parquet: column 'x' of type {kind}")
    assert text.endswith(f" is not supported; {NUMBERS}")
    assert refusal("a.parquet", predictions="x.b").startswith("a.parquet: no column 'x.b'; the file has 'x', 'y'")


def test_decimals_are_rounded_once(write):
    write("a.parquet", "(0.1234567890123456789::DECIMAL(38, 19), 0::DECIMAL(38, 19))")
    assert value("a.parquet") == 0.1234567890123456789


def test_missing_values_in_parquet_have_their_row(write):
    write("a.parquet", ", ".join(["(1.0, 2.0)"] * 1500 + ["(NULL, 2.0)"]))
    assert refusal("a.parquet") == f"a.parquet: row 1501, column 'x': the value is missing; {ADVICE}"
    assert value("a.parquet", missing="skip") == 1500.0


def test_json_lines():
    Path("a.jsonl").write_text('{"x": 1, "y": 2}\n' * 30_000 + '{"y": 1, "x": 1.5}\n')
    assert value("a.jsonl") == 30_000.5
    Path("a.jsonl").write_text('{"x": 1, "y": 2}\n{"y": 3}\n')
    assert refusal("a.jsonl") == f"a.jsonl: row 2, column 'x': the value is missing; {ADVICE}"
    Path("a.jsonl").write_text('{"x": 1, "y": 2}\n{"x": "abc", "y": 2}\n')
    assert refusal("a.jsonl") == f"a.jsonl: row 2, column 'x': 'abc' is not a number; {ACCEPTED}"
    Path("a.json").write_text('[{"x": 9007199254740993, "y": 9007199254740992}]')
    assert value("a.json") == 1.0


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


# --- what is said of guesses ----------------------------------------------------------------------------------------


def test_guesses_are_told():
    Path("a.csv").write_text("x;y\n1;a\n")
    with database(None, None) as opened, ExitStack() as stack:
        lines = open_table(opened, stack, ["a.csv"], Reading()).describe()
    assert lines == ["a.csv: delimiter ';', decimal '.', a header line", "a.csv: columns x (BIGINT), y (VARCHAR)"]
