"""The readers of arrays, and labels: every kind of file, every message. Tables have tests of their own."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cylosses._cli.readers import open_array as open_source
from cylosses._cli.readers import split_label
from cylosses._cli.source import InputError

NUMBERS = "bool, integers, float16, float32 and float64 are accepted"


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
        ("a.csv.gz:x", "a.csv.gz", "x"),
        ("a.jsonl.zst:x:y", "a.jsonl.zst", "x:y"),
        ("part-*.csv:x", "part-*.csv", "x"),
        ("-:x", "-", "x"),
        ("-", "-", None),
    ],
)
def test_a_colon_separates_only_behind_a_suffix_that_takes_a_name(label, path, name):
    assert split_label(label) == (path, name)


@pytest.mark.parametrize("label", ["a", "", "a.npy:x", "a.npz.gz:x"])
def test_an_unknown_suffix_lists_what_is_accepted(label):
    text = message(label)
    assert text.startswith("unknown kind of file; accepted: FILE.npy, FILE.npz:NAME, ")
    assert all(suffix in text for suffix in (".csv", ".tsv", ".parquet", ".json", ".jsonl", ".gz", ".zst"))


@pytest.mark.parametrize(
    ("label", "hint"), [("a.xlsx", "save it as CSV"), ("a.feather", "write_table"), ("a.H5", "h5py"), ("a.txt", "call it .csv")]
)
def test_known_kinds_that_are_not_read_say_how_to_convert(label, hint):
    assert hint in message(label)


@pytest.mark.parametrize("label", ["a.npy", "a.npz:x", "a.npy.gz"])
def test_missing_files(label):
    assert message(label) == "cannot read: No such file or directory"


@pytest.mark.parametrize("label", ["a.npy", "a.npz:x"])
def test_folders(label):
    Path(split_label(label)[0]).mkdir()
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


@pytest.mark.parametrize("shape", [(4, 5, 6), (6, 1, 5), (3, 7), (5,), (1, 1), (2, 3, 4, 5)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_blocks_of_every_place_and_size(rng, shape, order):
    values = np.asarray(rng.normal(size=shape), order=order)
    np.save("a.npy", values)
    source = open_source("a.npy")
    for _ in range(50):
        starts = [int(rng.integers(0, length + 1)) for length in shape]
        window = tuple(slice(start, int(rng.integers(start, length + 1))) for start, length in zip(starts, shape, strict=True))
        assert np.array_equal(source.read(window), values[window])
    source.close()


@pytest.mark.parametrize("window", [slice(0, 100_000), (slice(0, 100_000),)])
def test_a_npy_that_becomes_shorter_is_an_error(window):
    np.save("a.npy", np.zeros(100_000))
    source = open_source("a.npy")
    with Path("a.npy").open("r+b") as file:
        file.truncate(4096)
    with pytest.raises(InputError, match=r"a\.npy: truncated: the file has become shorter while it was read"):
        source.read(window)
    source.close()


def test_a_npy_that_changes_is_an_error():
    np.save("a.npy", np.zeros(10))
    source = open_source("a.npy")
    source.check_unchanged()
    np.save("b.npy", np.ones(10))
    Path("b.npy").replace("a.npy")
    with pytest.raises(InputError, match=r"a\.npy: the file has changed while it was read"):
        source.check_unchanged()
    source.close()


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


@pytest.mark.parametrize("shape", [(True, 3, 4), (3, False)])
def test_npy_with_bools_in_its_shape(shape):
    with Path("a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
        file.write(bytes(8 * 12))
    assert message("a.npy") == f"not a readable .npy array: impossible shape {shape}"


def test_npy_gz(rng):
    values, content = rng.normal(size=(3, 4)), io.BytesIO()
    np.save(content, values)
    Path("a.npy.gz").write_bytes(gzip.compress(content.getvalue()))
    assert read("a.npy.gz").tolist() == values.ravel().tolist()
    Path("a.npy.gz").write_bytes(gzip.compress(content.getvalue())[:-20])
    assert message("a.npy.gz").startswith("not a readable .npy.gz array: ")
    Path("a.npy.gz").write_bytes(b"hello")
    assert message("a.npy.gz").startswith("not a readable .npy.gz array: ")


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
