"""The readers of the command line: every kind of file, every message."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cylosses._cli.readers import open_source, split_label
from cylosses._cli.source import InputError

NUMBERS = "bool, integers, float16, float32 and float64 are accepted"
FORMATS = "FILE.npy, FILE.npz:NAME, FILE.csv:COLUMN, FILE.tsv:COLUMN or FILE.parquet:COLUMN"


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    """Let labels be short: every test works in its own folder."""
    monkeypatch.chdir(tmp_path)


def read(label: str) -> np.ndarray:
    """Read a whole source in memory order."""
    source = open_source(label)
    try:
        return np.array(source.read(slice(0, int(np.prod(source.shape)))))
    finally:
        source.close()


def message(label: str) -> str:
    """Return the message with which a label is refused."""
    with pytest.raises(InputError) as caught:
        read(label)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{label}: ")
    return text.removeprefix(f"{label}: ")


# --- labels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "path", "name"),
    [
        ("a.csv:x", "a.csv", "x"),
        ("a.csv", "a.csv", None),
        ("a.csv:", "a.csv", ""),
        ("a.CSV:x", "a.CSV", "x"),
        ("a.csv:x:y", "a.csv", "x:y"),
        ("a.csv:1/b.csv:x", "a.csv:1/b.csv", "x"),
        ("run:1.csv", "run:1.csv", None),
        ("run:1.csv:x", "run:1.csv", "x"),
        ("run:1.npy", "run:1.npy", None),
        ("a.npy:x", "a.npy:x", None),
        ("C:/a.parquet:x", "C:/a.parquet", "x"),
        (":x", ":x", None),
    ],
)
def test_a_colon_separates_only_behind_a_suffix_that_takes_a_name(label, path, name):
    assert split_label(label) == (Path(path), name)


@pytest.mark.parametrize("label", ["a.txt", "a", "-", "", "a.npy:x"])
def test_an_unknown_suffix_lists_what_is_accepted(label):
    assert message(label) == f"unknown kind of file; accepted: {FORMATS}"


@pytest.mark.parametrize("label", ["a.npy", "a.npz:x", "a.csv:x", "a.tsv:x"])
def test_missing_files(label):
    assert message(label) == "cannot read: No such file or directory"


@pytest.mark.parametrize("label", ["a.npy", "a.npz:x", "a.csv:x", "a.tsv:x", "a.parquet:x"])
def test_folders(label):
    split_label(label)[0].mkdir()
    assert message(label) == "not a regular file"


# --- .npy -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("dtype", ["?", "i1", "<u2", ">i8", "<f2", "<f4", ">f4", "<f8", ">f8"])
def test_npy_versions_and_dtypes(version, dtype, rng):
    values = rng.integers(0, 2, 10).astype(dtype)
    with Path("a.npy").open("wb") as file:
        np.lib.format.write_array(file, values, version=version)
    found = read("a.npy")
    assert found.dtype == values.dtype
    assert found.tolist() == values.tolist()


def test_npy_windows_need_not_begin_at_a_page():
    values = np.arange(100_000, dtype=np.float32)
    np.save("a.npy", values)
    source = open_source("a.npy")
    assert source.read(slice(12_345, 12_347)).tolist() == [12345.0, 12346.0]
    source.close()


def test_npy_blocks_of_either_order(rng):
    values = rng.normal(size=(4, 5, 6))
    for order in "CF":
        np.save("a.npy", np.asarray(values, order=order))
        source = open_source("a.npy")
        assert source.orders == {order}
        assert (source.read((slice(1, 3), slice(0, 2), slice(4, 6))) == values[1:3, 0:2, 4:6]).all()
        source.close()


@pytest.mark.parametrize("shape", [(), (7,), (1, 7), (0, 3), (7, 1, 1)])
def test_with_one_long_axis_both_orders_are_the_same(shape):
    np.save("a.npy", np.zeros(shape))
    source = open_source("a.npy")
    assert source.orders == {"C", "F"}
    source.close()


def test_npy_truncated():
    np.save("a.npy", np.zeros((3, 4), np.float32))
    content = Path("a.npy").read_bytes()
    Path("a.npy").write_bytes(content[:-1])
    assert message("a.npy") == "truncated: 48 bytes of data follow from shape (3, 4) and dtype float32, 47 are there"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "EOF: reading magic string, expected 8 bytes got 0"),
        (b"not a file of numbers", "the magic string is not correct"),
        (b"\x93NUMPY\x01\x00\x05\x00hello", "malformed"),
        (b"\x93NUMPY\x09\x00\x05\x00hello", "(9, 0)"),
        (b"\x93NUMPY\x01\x00\x09\x00((((((((\n", ""),
    ],
)
def test_npy_damaged(content, reason):
    Path("a.npy").write_bytes(content)
    text = message("a.npy")
    assert text.startswith("not a readable .npy array: ")
    assert reason in text


def test_npy_negative_shape():
    with Path("a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (-1,)})
    assert message("a.npy") == "not a readable .npy array: negative shape (-1,)"


@pytest.mark.parametrize("label", ["a.npy", "a.npz"])
def test_pickled_arrays_are_refused(label):
    values = np.array([None, 1.0])
    np.save(label, values, allow_pickle=True) if label == "a.npy" else np.savez(label, values)
    assert message(label) == f"pickled (object) arrays are refused; {NUMBERS}"


@pytest.mark.parametrize("label", ["a.npy", "a.npz"])
@pytest.mark.parametrize("dtype", ["c8", "c16", "U3", "S3", "M8[s]", "m8[s]", [("x", "f4")], "V2"])
def test_dtypes_that_are_not_real_numbers_are_refused(label, dtype):
    values = np.zeros(3, dtype)
    np.save(label, values) if label == "a.npy" else np.savez(label, values)
    assert message(label) == f"dtype {values.dtype} is not supported; {NUMBERS}"


def test_longdouble_is_refused():
    if np.dtype(np.longdouble).itemsize == 8:
        pytest.skip("longdouble is float64 here")
    np.save("a.npy", np.zeros(3, np.longdouble))
    assert message("a.npy") == f"dtype {np.dtype(np.longdouble)} is not supported; {NUMBERS}"


# --- .npz -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz_arrays(rng, save, order):
    values = np.asarray(rng.normal(size=(3, 4)), order=order)
    save("a.npz", x=values, y=np.zeros(2))
    assert read("a.npz:x").tolist() == values.ravel(order=order).tolist()
    source = open_source("a.npz:x")
    assert source.read((slice(1, 3), slice(2, 4))).tolist() == values[1:3, 2:4].tolist()
    assert source.orders == {order}


def test_npz_with_one_array_needs_no_name():
    np.savez("a.npz", x=np.arange(3.0))
    assert read("a.npz").tolist() == [0, 1, 2]


def test_npz_names():
    np.savez("a.npz", x=np.zeros(2), y=np.zeros(2))
    assert message("a.npz") == "name one array of the file as a.npz:NAME; it has 'x', 'y'"
    assert message("a.npz:z") == "no array 'z'; the file has 'x', 'y'"
    np.savez("a.npz")
    assert message("a.npz") == "name one array of the file as a.npz:NAME; it has none"
    assert message("a.npz:z") == "no array 'z'; the file has none"


def test_npz_damaged():
    Path("a.npz").write_bytes(b"not an archive")
    assert message("a.npz:x") == "not a readable .npz archive: File is not a zip file"
    np.savez("a.npz", x=np.arange(1000.0))
    content = bytearray(Path("a.npz").read_bytes())
    content[4000] ^= 1
    Path("a.npz").write_bytes(content)
    assert message("a.npz:x").startswith("not a readable .npz archive: Bad CRC-32")


def test_npz_with_a_damaged_member():
    with zipfile.ZipFile("a.npz", "w") as archive:
        archive.writestr("x.npy", b"hello")
    assert message("a.npz:x").startswith("not a readable .npy array: EOF")


# --- text -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "mark"), [("csv", ","), ("tsv", "\t")])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", ["", "\n", "\n\n"])
def test_text_columns(suffix, mark, ending, last):
    lines = [mark.join(row) for row in (["x", "y"], ["1", "0.1"], ["-2e3", " nan "], ['"3"', "inf"])]
    Path(f"a.{suffix}").write_bytes(("\n".join(lines) + last).replace("\n", ending).encode())
    assert read(f"a.{suffix}:x").tolist() == [1.0, -2000.0, 3.0]
    assert repr(read(f"a.{suffix}:y").tolist()) == "[0.1, nan, inf]"


def test_text_with_one_column_needs_no_name():
    Path("a.csv").write_text("x\n1\n2\n")
    assert read("a.csv").tolist() == [1, 2]


def test_text_without_rows_is_empty():
    Path("a.csv").write_text("x,y\n")
    assert read("a.csv:y").tolist() == []


def test_text_with_a_byte_order_mark_and_quoted_names():
    Path("a.csv").write_bytes(b'\xef\xbb\xbf"x, y:z",b\n1,2\n')
    assert read("a.csv:x, y:z").tolist() == [1]


def test_text_reads_every_double_exactly(rng):
    values = rng.normal(size=1000) * 10.0 ** rng.integers(-300, 300, 1000)
    Path("a.csv").write_text("x\n" + "\n".join(map(repr, values.tolist())))
    assert read("a.csv").tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("content", "label", "expected"),
    [
        ("x,y\n1,2\n", "a.csv:z", "no column 'z'; the file has 'x', 'y'"),
        ("x,y\n1,2\n", "a.csv:", "no column ''; the file has 'x', 'y'"),
        (
            "x,y\n1,2\n",
            "a.csv",
            "name one column of the file as a.csv:NAME; it has 'x', 'y'",
        ),
        ("x,x\n1,2\n", "a.csv:x", "2 of the file's columns are named 'x'"),
        ("", "a.csv:x", "no column 'x'; the file has none"),
        ("", "a.csv", "name one column of the file as a.csv:NAME; it has none"),
        (
            "1.5\n2.5\n",
            "a.csv",
            "line 1 is the number '1.5'; a header line with column names is needed",
        ),
        (
            "x,y\n1,2\n3,abc\n",
            "a.csv:y",
            "line 3, column 'y': 'abc' is not a number; numbers, nan and inf are accepted",
        ),
        (
            "x,y\n1,2\n3,\n",
            "a.csv:y",
            "line 3, column 'y': the cell is empty; numbers, nan and inf are accepted",
        ),
        (
            "x,y\n1,2\n3,  \n",
            "a.csv:y",
            "line 3, column 'y': the cell is empty; numbers, nan and inf are accepted",
        ),
        (
            "x\n1\n\n2\n",
            "a.csv",
            "line 3, column 'x': the cell is empty; numbers, nan and inf are accepted",
        ),
        (
            "x\n1_000\n",
            "a.csv",
            "line 2, column 'x': '1_000' is not a number; numbers, nan and inf are accepted",
        ),
        (
            'x,y\n"1\n",2\nb,3\n',
            "a.csv:x",
            "line 4, column 'x': 'b' is not a number; numbers, nan and inf are accepted",
        ),
        ("x,y\n1\n", "a.csv:x", "line 2 has 1 cells; the header has 2"),
        ("x,y\n1,2,3\n", "a.csv:x", "line 2 has 3 cells; the header has 2"),
        (
            "x\n" + "1" * 200_000,
            "a.csv",
            "line 2: field larger than field limit (131072)",
        ),
    ],
)
def test_bad_text(content, label, expected):
    Path("a.csv").write_text(content)
    assert message(label) == expected


def test_text_that_is_not_utf8():
    Path("a.csv").write_bytes(b"x\n1\n\xff\n")
    assert message("a.csv").startswith("not UTF-8 text after line ")


def test_many_columns_are_not_all_listed():
    Path("a.csv").write_text(",".join(f"c{i}" for i in range(50)) + "\n")
    assert message("a.csv:x").endswith("'c18', 'c19', ...")


# --- .parquet -------------------------------------------------------------------------------------------------------


def test_parquet_without_pyarrow_names_the_package():
    Path("a.parquet").touch()
    script = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from cylosses._cli.readers import open_source\n"
        "from cylosses._cli.source import InputError\n"
        "try: open_source('a.parquet:x')\n"
        "except InputError as error: print(error)"
    )
    root = str(Path(sys.modules["cylosses"].__file__).parents[1])
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {root!r})\n{script}",
    ]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == "a.parquet:x: reading .parquet needs the package pyarrow: pip install pyarrow\n"


@pytest.fixture
def parquet():
    """A function that writes a .parquet file from columns, in row groups of 1000."""
    import pyarrow
    from pyarrow import parquet

    def write(**columns) -> None:
        parquet.write_table(pyarrow.table(columns), "a.parquet", row_group_size=1000)

    return write


@pytest.mark.parametrize("dtype", ["?", "i1", "u8", "f2", "f4", "f8"])
def test_parquet_columns(parquet, rng, dtype):
    values = (rng.normal(size=5003) * 100).clip(0).astype(dtype)
    parquet(x=values, y=np.zeros(5003))
    found = read("a.parquet:x")
    assert found.dtype == values.dtype
    assert found.tobytes() == values.tobytes()


def test_parquet_windows_do_not_depend_on_row_groups(parquet, rng):
    values = rng.normal(size=5003)
    parquet(x=values)
    source = open_source("a.parquet")
    parts = [source.read(slice(i, min(i + 700, 5003))) for i in range(0, 5003, 700)]
    source.close()
    assert np.concatenate(parts).tobytes() == values.tobytes()


def test_parquet_without_rows_is_empty(parquet):
    parquet(x=np.zeros(0, np.float32))
    assert (read("a.parquet").tolist(), read("a.parquet").dtype) == ([], np.float32)


def test_parquet_names(parquet):
    parquet(x=[1.0], y=[2.0])
    assert message("a.parquet") == "name one column of the file as a.parquet:NAME; it has 'x', 'y'"
    assert message("a.parquet:z") == "no column 'z'; the file has 'x', 'y'"


def test_parquet_nulls_are_refused_with_their_row(parquet):
    parquet(x=[1.0] * 1500 + [None, 2.0])
    assert message("a.parquet:x") == "row 1501, column 'x' is null; a number is needed"


@pytest.mark.parametrize(("values", "kind"), [(["a"], "string"), ([[1.0]], "list"), ([b"a"], "binary")])
def test_parquet_types_that_are_not_real_numbers_are_refused(parquet, values, kind):
    parquet(x=values)
    text = message("a.parquet:x")
    assert text.startswith(f"column 'x' of type {kind}")
    assert text.endswith(f" is not supported; {NUMBERS}")


def test_parquet_damaged(parquet):
    Path("a.parquet").write_bytes(b"not a table")
    assert message("a.parquet:x").startswith("not a readable .parquet file: ")


def test_parquet_missing(parquet):
    assert message("a.parquet:x") == "cannot read: No such file or directory"
