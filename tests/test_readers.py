"""The readers of arrays, and labels: windows and messages. Kinds of files are in test_file_kinds.py."""

from __future__ import annotations

import json
import pickle
import sys
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


@pytest.mark.parametrize(("label", "hint"), [("a.xlsx", "save it as CSV"), ("a.H5", "h5py"), ("a.txt", "call it .csv")])
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


# --- Zarr -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "chunks"), [((70,), (9,)), ((12, 10), (5, 3)), ((4, 5, 6), (3, 2, 5)), ((3, 1, 7), (1, 1, 7))])
@pytest.mark.parametrize("largest", [1, 1 << 24])
def test_zarr_windows_of_every_place_and_size(rng, monkeypatch, shape, chunks, largest):
    import zarr

    monkeypatch.setattr("cylosses._cli.zarr._LARGEST_SLAB", largest)
    monkeypatch.setattr("cylosses._cli.zarr.WINDOW", 16)
    values = rng.normal(size=shape)
    zarr.create_array("a.zarr", shape=shape, chunks=chunks, dtype="f8")[...] = values
    source = open_source("a.zarr")
    assert source.orders == (frozenset() if largest == 1 and sum(length > 1 for length in shape) > 1 else {"C"} | source.orders)
    for _ in range(50):
        starts = [int(rng.integers(0, length + 1)) for length in shape]
        window = tuple(slice(start, int(rng.integers(start, length + 1))) for start, length in zip(starts, shape, strict=True))
        assert np.array_equal(source.read(window), values[window])
        start, stop = sorted(rng.integers(0, values.size + 1, 2).tolist())
        assert np.array_equal(source.read(slice(start, stop)), values.ravel()[start:stop])


def test_a_zarr_array_that_changes_is_an_error():
    import zarr

    array = zarr.create_array("a.zarr", shape=(10,), chunks=(5,), dtype="f8")
    array[:] = 1
    source = open_source("a.zarr")
    source.check_unchanged()
    array[7] = 2
    with pytest.raises(InputError, match=r"a\.zarr: the array has changed while it was read"):
        source.check_unchanged()


def test_zarr_that_is_not_installed_says_how_to_get_it(monkeypatch):
    Path("a.zarr").mkdir()
    monkeypatch.setitem(sys.modules, "zarr", None)
    assert message("a.zarr") == "reading Zarr needs the package zarr: pip install zarr"


@pytest.mark.parametrize("place", ["filters", "compressor"])
def test_pickles_in_zarr_arrays_are_refused(place):
    """A chunk that says that it is a pickle would run the code of whoever wrote it: SECURITY.md says that none is read."""
    import zarr

    zarr.create_array("a.zarr", shape=(3,), chunks=(3,), dtype="f8", zarr_format=2, compressors=None)[...] = [1.0, 2.0, 3.0]
    path = Path("a.zarr", ".zarray")
    codec = {"id": "pickle"}
    described = json.loads(path.read_text()) | {place: [codec] if place == "filters" else codec}
    path.write_text(json.dumps(described))
    Path("a.zarr", "0").write_bytes(pickle.dumps(_Harm()))
    with pytest.raises(InputError, match="not a readable Zarr array"):
        open_source("a.zarr").read(slice(0, 3))
    assert not Path("harm").exists()


class _Harm:
    def __reduce__(self):
        return Path.touch, (Path("harm"),)
