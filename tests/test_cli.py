"""The command line as a process: values, files, messages, exit codes, memory."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cylosses
from cylosses import LOSSES, SmoothL1Loss, StreamingLoss, smooth_l1_loss, smooth_l1_loss_backward

from .cli_runs import ENVIRONMENT, PYTHON, error_of, output_of, refusal, run_after

REDUCTIONS = ["mean", "sum", "none"]
on_posix = pytest.mark.skipif(os.name != "posix", reason="about permissions, links, signals and limits as POSIX has them")


@pytest.fixture
def pair(tmp_path, rng):
    """Two small float32 files, a.npy and b.npy, and their contents."""
    a, b = (rng.normal(size=(5, 7)).astype(np.float32) * 3 for _ in range(2))
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "b.npy", b)
    return a, b


def same_bits(a, b) -> bool:
    """Compare two arrays or scalars by dtype, shape and bytes."""
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# --- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_plain_output_reads_back_as_the_value(tmp_path, rng, reduction, dtype):
    a, b = rng.normal(size=(2, 100)).astype(dtype)
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "b.npy", b)
    printed = output_of(
        "score",
        "a.npy",
        "b.npy",
        "--reduction",
        reduction,
        "--beta",
        "0.3",
        cwd=tmp_path,
    )
    assert same_bits(dtype(printed), smooth_l1_loss(a, b, reduction=reduction, beta=0.3))


def test_the_default_is_the_mean_with_beta_one(tmp_path, pair):
    assert same_bits(
        np.float32(output_of("score", "a.npy", "b.npy", cwd=tmp_path)),
        smooth_l1_loss(*pair),
    )


def test_reduction_none_prints_one_loss_per_line_in_c_order(tmp_path, pair):
    lines = output_of("score", "a.npy", "b.npy", "--reduction", "none", cwd=tmp_path).splitlines()
    assert same_bits(np.array(lines, np.float32), smooth_l1_loss(*pair, reduction="none").ravel())


def test_integers_are_scored_as_float64(tmp_path):
    np.save(tmp_path / "a.npy", np.array([1, 2, 9]))
    np.save(tmp_path / "b.npy", np.array([True, True, False]))
    assert output_of("score", "a.npy", "b.npy", "--reduction", "sum", cwd=tmp_path) == "9.0\n"


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_many_windows_give_the_bits_of_one_call(tmp_path, rng, reduction):
    size = 2_500_003  # more than two windows, the last one odd
    a, b = rng.normal(size=(2, size)) * 10.0 ** rng.integers(-30, 30, size)
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "b.npy", b)
    options = [
        "--reduction",
        reduction,
        "--beta",
        "2.5",
        "--out",
        "out.npy",
        "--grad",
        "grad.npy",
        "--threads",
        "2",
    ]
    output_of("score", "a.npy", "b.npy", *options, cwd=tmp_path)
    assert same_bits(
        np.load(tmp_path / "out.npy"),
        smooth_l1_loss(a, b, reduction=reduction, beta=2.5),
    )
    grad = SmoothL1Loss(reduction="sum" if reduction == "none" else reduction, beta=2.5).grad(a, b)
    assert same_bits(np.load(tmp_path / "grad.npy"), grad)


def test_threads_do_not_change_the_bits(tmp_path, rng):
    a, b = rng.normal(size=(2, 300_000)).astype(np.float32)
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "b.npy", b)
    printed = {output_of("score", "a.npy", "b.npy", "--threads", str(n), cwd=tmp_path) for n in (1, 2, 3)}
    assert len(printed) == 1


# --- losses ---------------------------------------------------------------------------------------------------------

# A valid parameter that is nobody's default.
UNUSUAL = 0.375


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_and_its_parameter(tmp_path, pair, name):
    parameter = LOSSES[name].parameter_name
    settings = {} if parameter is None else {parameter: UNUSUAL}
    options = [] if parameter is None else [f"--{parameter}", str(UNUSUAL)]
    found = json.loads(output_of("score", "a.npy", "b.npy", "--loss", name, *options, "--json", cwd=tmp_path))
    assert found["value_hex"] == float(LOSSES[name](**settings)(*pair)).hex()
    assert (found["loss"], {key: found[key] for key in settings}) == (name, settings)
    plain = output_of("score", "a.npy", "b.npy", "--loss", name, cwd=tmp_path)
    assert same_bits(np.float32(plain), LOSSES[name]()(*pair))


def test_the_help_lists_every_loss_and_parameter(tmp_path):
    words = " ".join(output_of("score", "--help", cwd=tmp_path).split())
    for name, loss in LOSSES.items():
        assert name in words
        assert loss.parameter_name is None or f"--{loss.parameter_name} FLOAT" in words


def owners_of(parameter):
    """The losses with a parameter of this name, as messages list them."""
    return " and ".join(name for name, cls in LOSSES.items() if cls.parameter_name == parameter)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--delta", "2"], f"--delta belongs to {owners_of('delta')}; smooth_l1 takes --beta"),
        (["--loss", "huber", "--beta", "1"], f"--beta belongs to {owners_of('beta')}; huber takes --delta"),
        (["--loss", "mse", "--q", "0.5"], f"--q belongs to {owners_of('q')}; mse has no parameter"),
        (["--loss", "huber", "--delta", "2", "--c", "1"], f"--c belongs to {owners_of('c')}; huber takes --delta"),
        (["--loss", "quantile", "--q", "x"], "Invalid value for '--q': 'x' is not a valid float."),
    ],
)
def test_an_option_of_another_loss_is_one_line(tmp_path, pair, options, message):
    assert error_of("score", "a.npy", "b.npy", *options, cwd=tmp_path) == message


def test_an_unknown_loss_is_one_line(tmp_path, pair):
    message = error_of("score", "a.npy", "b.npy", "--loss", "hubble", cwd=tmp_path)
    assert message.startswith("Invalid value for '--loss': 'hubble' is not one of 'smooth_l1', ")


# --- weights and masks ----------------------------------------------------------------------------------------------


@pytest.fixture
def selection(tmp_path, rng, pair):
    """Files of weights, some of them 0, and of a mask, and their contents."""
    weight = rng.random((5, 7)) * (rng.random((5, 7)) < 0.8)
    where = rng.random((5, 7)) < 0.8
    where[0, :2] = weight[0, :2] = True
    np.save(tmp_path / "w.npy", weight)
    np.save(tmp_path / "m.npy", where)
    return {"weight": weight, "where": where}


FILES = {"weight": ["--weight", "w.npy"], "where": ["--where", "m.npy"]}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("names", [["weight"], ["where"], ["weight", "where"]])
def test_weights_and_masks(tmp_path, pair, selection, names, reduction):
    chosen = {name: selection[name] for name in names}
    options = [text for name in names for text in FILES[name]] + [
        "--reduction",
        reduction,
        "--out",
        "out.npy",
        "--grad",
        "grad.npy",
    ]
    found = json.loads(output_of("score", "a.npy", "b.npy", *options, "--json", cwd=tmp_path))
    loss = SmoothL1Loss(reduction=reduction)
    assert same_bits(np.load(tmp_path / "out.npy"), loss(*pair, **chosen))
    assert same_bits(np.load(tmp_path / "grad.npy"), loss.grad(*pair, **chosen))
    counted = np.ones((5, 7), bool)
    for values in chosen.values():
        counted &= values != 0
    assert found["count"] == np.count_nonzero(counted)
    assert [found[name] for name in names] == [FILES[name][1] for name in names]


@pytest.mark.parametrize("order", ["C", "F"])
def test_weights_and_masks_of_many_windows_and_any_order(tmp_path, rng, order):
    shape = (1100, 1000)  # more than one window
    a, b, weight = rng.normal(size=shape), rng.normal(size=shape), rng.random(shape)
    where = rng.random(shape) < 0.5
    for name, values in {"a": a, "b": b, "w": np.asarray(weight, order=order), "m": where}.items():
        np.save(tmp_path / f"{name}.npy", values)
    options = [*FILES["weight"], *FILES["where"], "--grad", "grad.npy"]
    printed = output_of("score", "a.npy", "b.npy", *options, cwd=tmp_path)
    loss = SmoothL1Loss()
    assert same_bits(np.float64(printed), loss(a, b, weight=weight, where=where))
    assert same_bits(np.load(tmp_path / "grad.npy"), loss.grad(a, b, weight=weight, where=where))


@pytest.mark.parametrize("weights", [[3e-311, 8e-311, 0], [1e308, 1.5e308, 1e308], [1e-200, 1e200, 5e-324]])
def test_gradients_with_weights_whose_sum_float64_does_not_hold(tmp_path, weights):
    a, b, weight = np.array([1e150, -2.0, 3.0]), np.zeros(3), np.array(weights)
    for name, values in {"a": a, "b": b, "w": weight}.items():
        np.save(tmp_path / f"{name}.npy", values)
    output_of("score", "a.npy", "b.npy", "--loss", "mse", *FILES["weight"], "--grad", "grad.npy", cwd=tmp_path)
    assert same_bits(np.load(tmp_path / "grad.npy"), cylosses.MSELoss().grad(a, b, weight=weight))


STAMPS = [1_750_000_000_000_000_100, 1_750_000_000_000_000_203, 5, -7], [1_750_000_000_000_000_000, 1_750_000_000_000_000_200, 2, 3]


@pytest.mark.parametrize("kind", ["npy", "csv", "tsv", "npz", "parquet"])
def test_integers_are_subtracted_as_integers(tmp_path, kind):
    a, b = (np.array(stamps) for stamps in STAMPS)
    files = [f"t.{kind}:a", f"t.{kind}:b"]
    if kind == "npy":
        np.save(tmp_path / "a.npy", a)
        np.save(tmp_path / "b.npy", b)
        files = ["a.npy", "b.npy"]
    elif kind == "npz":
        np.savez(tmp_path / "t.npz", a=a, b=b)
    elif kind == "parquet":
        table = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(table.table({"a": a, "b": b}), tmp_path / "t.parquet")
    else:
        rows = ("a", "b"), *zip(*STAMPS, strict=True)
        (tmp_path / f"t.{kind}").write_text("".join({"csv": ",", "tsv": "\t"}[kind].join(map(str, row)) + "\n" for row in rows))
    assert output_of("score", *files, "--loss", "l1", "--grad", "grad.npy", cwd=tmp_path) == "29.0\n"
    assert np.load(tmp_path / "grad.npy").tolist() == [0.25, 0.25, 0.25, -0.25]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (["18446744073709551615"], ["18446744073709551614"], "1.0"),
        (["18446744073709551615", "-1"], ["18446744073709551614", "0"], "0.5"),  # float64, since no integers hold both
        (["1750000000000000100", "0.5"], ["1750000000000000000", "0"], "0.25"),  # a column with a point is float64
        (["36893488147419103232"], ["0"], f"{2.0**65}"),
        ([" 7 ", "-0", "+3"], ["1", "0", "3"], "2.0"),
        (["       1750000000000000100", "+00000000000000000000001"], ["1750000000000000000", "1"], "50.0"),
        (["inf", "3"], ["0", "3"], "inf"),
    ],
)
def test_columns_of_text_are_integers_if_all_cells_are(tmp_path, first, second, expected):
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{x},{y}\n" for x, y in zip(first, second, strict=True)))
    assert output_of("score", "t.csv:a", "t.csv:b", "--loss", "l1", cwd=tmp_path) == expected + "\n"


def test_integers_in_text_beside_floats_are_float64(tmp_path):
    """Text has no width of its own: float32 beside it would lose digits."""
    (tmp_path / "t.csv").write_text("a\n16777217\n")
    np.save(tmp_path / "b.npy", np.zeros(1, np.float32))
    assert output_of("score", "t.csv:a", "b.npy", "--loss", "l1", cwd=tmp_path) == "16777217.0\n"


def test_a_mask_in_a_text_file_is_0_and_1(tmp_path):
    (tmp_path / "t.csv").write_text("x,y,w,m\n3,1,2,1\nnan,1,1,0\n5,1,0,1\n2,1,1,1.0\n")
    options = ["--weight", "t.csv:w", "--where", "t.csv:m", "--loss", "l1", "--grad", "grad.npy"]
    assert output_of("score", "t.csv:x", "t.csv:y", *options, cwd=tmp_path) == f"{5 / 3}\n"
    assert np.load(tmp_path / "grad.npy").tolist() == [2 / 3, 0, 0, 1 / 3]


def test_a_mask_that_selects_nothing(tmp_path, pair):
    np.save(tmp_path / "m.npy", np.zeros((5, 7), bool))
    assert output_of("score", "a.npy", "b.npy", *FILES["where"], "--grad", "grad.npy", cwd=tmp_path) == "nan\n"
    assert same_bits(np.load(tmp_path / "grad.npy"), np.zeros((5, 7), np.float32))


@pytest.mark.parametrize(
    ("option", "values", "message"),
    [
        ("--weight", np.ones(7), "shapes differ: a.npy has (5, 7), x.npy has (7,); they must be equal, nothing is broadcast"),
        (
            "--where",
            np.ones((7, 5), bool),
            "shapes differ: a.npy has (5, 7), x.npy has (7, 5); they must be equal, nothing is broadcast",
        ),
        ("--where", np.full((5, 7), 2), "x.npy: a mask holds bool, or the numbers 0 and 1; it has 2"),
        ("--where", np.full((5, 7), np.nan), "x.npy: a mask holds bool, or the numbers 0 and 1; it has nan"),
        ("--weight", np.full((5, 7), -1.0), None),
        ("--weight", np.full((5, 7), np.nan), None),
        ("--weight", np.full((5, 7), np.inf), None),
    ],
)
def test_bad_weights_and_masks_are_one_line(tmp_path, pair, option, values, message):
    np.save(tmp_path / "x.npy", values)
    before = sorted(tmp_path.iterdir())
    said = error_of("score", "a.npy", "b.npy", option, "x.npy", "--grad", "grad.npy", "--state", "s.state", cwd=tmp_path)
    assert said == message or (message is None and said.startswith("weight must be finite and not negative"))
    assert sorted(tmp_path.iterdir()) == before


# --- states ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def runs(tmp_path, rng):
    """Three runs over parts of the data and their states; the data."""
    a, b, weight = rng.normal(size=(3, 3000))
    weight = np.abs(weight)
    for number, part in enumerate((slice(0, 10), slice(10, 2000), slice(2000, 3000)), start=1):
        for name, values in {"a": a, "b": b, "w": weight}.items():
            np.save(tmp_path / f"{name}.npy", values[part])
        options = ["--loss", "huber", "--delta", "0.5", *FILES["weight"], "--state", f"run-{number}.state"]
        output_of("score", "a.npy", "b.npy", *options, cwd=tmp_path)
    return a, b, weight


def test_a_state_holds_what_the_library_writes(tmp_path, pair):
    printed = output_of("score", "a.npy", "b.npy", "--state", "a.state", cwd=tmp_path)
    state = SmoothL1Loss().streaming()
    state.update(*pair)
    assert (tmp_path / "a.state").read_bytes() == state.to_bytes()
    assert printed == str(state.compute()) + "\n"


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_merged_runs_have_the_bits_of_one(tmp_path, runs, order):
    a, b, weight = runs
    files = [f"run-{number}.state" for number in order]
    printed = output_of("merge", *files, "--out", "total.state", cwd=tmp_path)
    whole = LOSSES["huber"](delta=0.5).streaming()
    whole.update(a, b, weight)
    assert same_bits(np.float64(printed), whole.compute())
    assert (tmp_path / "total.state").read_bytes() == whole.to_bytes()
    # Grouped: what was merged merges on.
    output_of("merge", *files[:2], "--out", "two.state", cwd=tmp_path)
    assert output_of("merge", "two.state", files[2], "--out", "total.state", cwd=tmp_path) == printed
    assert StreamingLoss.from_bytes((tmp_path / "total.state").read_bytes()) == whole


def test_merge_in_json(tmp_path, runs):
    a, b, weight = runs
    found = json.loads(output_of("merge", "run-1.state", "run-2.state", "run-3.state", "--json", "--out", "t.state", cwd=tmp_path))
    value = float(LOSSES["huber"](delta=0.5)(a, b, weight=weight))
    assert found == {
        "loss": "huber",
        "reduction": "mean",
        "delta": 0.5,
        "value": value,
        "value_hex": value.hex(),
        "dtype": "float64",
        "count": 3000,
        "files": ["run-1.state", "run-2.state", "run-3.state"],
        "out": str(tmp_path.resolve() / "t.state"),
    }


def test_merging_one_state_prints_its_value(tmp_path, pair):
    printed = output_of("score", "a.npy", "b.npy", "--reduction", "sum", "--state", "a.state", cwd=tmp_path)
    assert output_of("merge", "a.state", cwd=tmp_path) == printed


def test_an_empty_state_merges(tmp_path, pair):
    np.save(tmp_path / "e.npy", np.empty(0, np.float32))
    assert output_of("score", "e.npy", "e.npy", "--state", "e.state", cwd=tmp_path) == "nan\n"
    printed = output_of("score", "a.npy", "b.npy", "--state", "a.state", cwd=tmp_path)
    assert output_of("merge", "e.state", "a.state", cwd=tmp_path) == printed
    assert json.loads(output_of("merge", "e.state", "--json", cwd=tmp_path))["value"] == "NaN"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'FILE...'."),
        (["no.state"], "no.state: cannot read: No such file or directory"),
        (["folder"], "folder: not a regular file"),
        (["a.npy"], "a.npy: not a state of a StreamingLoss: it does not begin with its magic bytes"),
        (["cut.state"], "cut.state: truncated state: 50 of 60 bytes are there"),
        (["flipped.state"], "flipped.state: damaged state: the checksum does not fit"),
        (["newer.state"], "newer.state: state of version 9; this cylosses reads versions 1 to 3"),
        (["s.state", "./s.state"], "./s.state: named twice; its data would count twice"),
        (
            ["s.state", "other.state"],
            "other.state: a total of L1Loss(reduction='mean') cannot be merged into one of "
            "SmoothL1Loss(reduction='mean', beta=1.0)",
        ),
        (["s.state", "--out", "x.npy"], "--out: 'x.npy' must end in .state"),
        (["s.state", "--out", "no/x.state"], "--out: cannot write '{here}/no/x.state': No such file or directory"),
    ],
)
def test_bad_states_are_one_line(tmp_path, arguments, message):
    state = SmoothL1Loss().streaming()
    state.update(np.float32([1.25]), np.float32([0]))
    blob = state.to_bytes()
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "s.state").write_bytes(blob)
    (tmp_path / "cut.state").write_bytes(blob[:50])
    (tmp_path / "other.state").write_bytes(LOSSES["l1"]().streaming().to_bytes())
    for name, at in (("flipped", 20), ("newer", 7)):
        changed = bytearray(blob)
        changed[at] = 9
        (tmp_path / f"{name}.state").write_bytes(changed)
    expected = message.format(here=tmp_path.resolve()).replace("of 60 bytes", f"of {len(blob)} bytes")
    before = sorted(tmp_path.iterdir())
    assert error_of("merge", *arguments, cwd=tmp_path) == expected
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--state", "s.npy"], "--state: 's.npy' must end in .state"),
        (["--state", "no/s.state"], "--state: cannot write '{here}/no/s.state': No such file or directory"),
        (["--state", "folder.state"], "--state: 'folder.state' is not a regular file"),
        (
            ["--state", "s.state", "--reduction", "none"],
            "--state needs --reduction mean or sum: without a reduction there is no total",
        ),
    ],
)
def test_bad_places_for_a_state_are_one_line(tmp_path, pair, options, message):
    (tmp_path / "folder.state").mkdir()
    assert error_of("score", "a.npy", "b.npy", *options, cwd=tmp_path) == message.format(here=tmp_path.resolve())


def test_json_names_the_state(tmp_path, pair):
    found = json.loads(output_of("score", "a.npy", "b.npy", "--json", "--state", "s.state", cwd=tmp_path))
    assert found["state"] == str(tmp_path.resolve() / "s.state")
    assert found["count"] == StreamingLoss.from_bytes(Path(found["state"]).read_bytes()).count == 35


# --- axes -----------------------------------------------------------------------------------------------------------


def options_of(axis):
    """The options that name these axes."""
    return [text for k in axis for text in ("--axis", str(k))]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("orders", ["CC", "FC"])
@pytest.mark.parametrize("axis", [(0,), (1,), (-1,), (2, 0), (0, 1, 2)])
@pytest.mark.parametrize("names", [[], ["weight", "where"]])
def test_axes(tmp_path, rng, axis, orders, reduction, names):
    a, b = (np.asarray(rng.normal(size=(6, 4, 3)).astype(np.float32), order=order) for order in orders)
    weight, where = rng.random((6, 4, 3)) * (rng.random((6, 4, 3)) < 0.9), rng.random((6, 4, 3)) < 0.9
    where[:, 1] = False  # slices of which nothing counts
    selected = {name: {"weight": weight, "where": where}[name] for name in names}
    for name, values in {"a": a, "b": b, "w": weight, "m": where}.items():
        np.save(tmp_path / f"{name}.npy", values)
    loss = SmoothL1Loss(reduction=reduction)
    files = ["--out", "out.npy", "--grad", "grad.npy", "--state", "s.state"]
    options = ["--reduction", reduction, *options_of(axis), *(text for name in names for text in FILES[name]), *files]
    printed = output_of("score", "a.npy", "b.npy", *options, cwd=tmp_path)
    expected = loss(a, b, axis=axis, **selected)
    assert printed == "".join(f"{value!s}\n" for value in np.ravel(expected))
    assert same_bits(np.load(tmp_path / "out.npy"), expected)
    assert same_bits(np.load(tmp_path / "grad.npy"), loss.grad(a, b, axis=axis, **selected))
    total = loss.streaming(axis=axis)
    total.update(a, b, **selected)
    assert (tmp_path / "s.state").read_bytes() == total.to_bytes()
    assert output_of("merge", "s.state", cwd=tmp_path) == printed


@pytest.mark.parametrize(("shape", "axis"), [((9001, 150), (0,)), ((9001, 150), (1,)), ((300_001, 5), (0,)), ((300_001, 5), (-1,))])
def test_axes_of_many_windows(tmp_path, rng, shape, axis):
    a, b, weight = rng.normal(size=shape), rng.normal(size=shape), rng.random(shape).astype(np.float32)
    for name, values in {"a": a, "b": b, "w": weight}.items():
        np.save(tmp_path / f"{name}.npy", values)
    weighted = [] if shape[1] == 5 and axis == (-1,) else FILES["weight"]  # a gradient of each of so many takes long
    options = [*options_of(axis), *weighted, "--out", "out.npy", "--grad", "grad.npy"]
    output_of("score", "a.npy", "b.npy", *options, cwd=tmp_path)
    selected = {"weight": weight} if weighted else {}
    assert same_bits(np.load(tmp_path / "out.npy"), SmoothL1Loss()(a, b, axis=axis, **selected))
    assert same_bits(np.load(tmp_path / "grad.npy"), SmoothL1Loss().grad(a, b, axis=axis, **selected))


def test_axes_in_json(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1.0, np.nan, 1e308], [2.0, 0.0, np.inf]]))
    np.save(tmp_path / "b.npy", np.zeros((2, 3)))
    found = json.loads(
        output_of("score", "a.npy", "b.npy", "--loss", "l1", "--axis", "0", "--json", "--state", "s.state", cwd=tmp_path)
    )
    expected = {
        "axis": [0],
        "value": [1.5, "NaN", "Infinity"],
        "value_hex": ["0x1.8000000000000p+0", "nan", "inf"],
        "count": [2, 2, 2],
    }
    assert {name: found[name] for name in expected} == expected
    assert (found["shape"], found["dtype"]) == ([2, 3], "float64")
    merged = json.loads(output_of("merge", "s.state", "--json", cwd=tmp_path))
    assert {name: merged[name] for name in expected} == expected


def test_merged_states_of_axes_have_the_bits_of_one(tmp_path, rng):
    a, b = rng.normal(size=(2, 900, 40))
    for number, rows in enumerate((slice(0, 10), slice(10, 800), slice(800, 800), slice(800, 900))):
        np.save(tmp_path / "a.npy", a[rows])
        np.save(tmp_path / "b.npy", b[rows])
        output_of("score", "a.npy", "b.npy", "--axis", "0", "--state", f"{number}.state", cwd=tmp_path)
    printed = output_of("merge", "2.state", "3.state", "0.state", "1.state", "--out", "t.state", cwd=tmp_path)
    assert printed == "".join(f"{value!s}\n" for value in SmoothL1Loss()(a, b, axis=0))
    whole = SmoothL1Loss().streaming(axis=0)
    whole.update(a, b)
    assert (tmp_path / "t.state").read_bytes() == whole.to_bytes()


def test_a_state_longer_than_64_kib_merges(tmp_path, rng):
    a, b = rng.normal(size=(2, 3, 3000))
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "b.npy", b)
    printed = output_of("score", "a.npy", "b.npy", "--axis", "0", "--state", "s.state", cwd=tmp_path)
    assert (tmp_path / "s.state").stat().st_size > 1 << 16
    assert output_of("merge", "s.state", cwd=tmp_path) == printed


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_column_has_one_axis(tmp_path, kind):
    if kind == "csv":
        (tmp_path / "t.csv").write_text("x,y\n1,2\n3,7\n")
    else:
        table = pytest.importorskip("pyarrow").table({"x": [1, 3], "y": [2, 7]})
        pytest.importorskip("pyarrow.parquet").write_table(table, tmp_path / "t.parquet")
    files = [f"t.{kind}:x", f"t.{kind}:y"]
    for axis in ("0", "-1"):
        assert output_of("score", *files, "--axis", axis, "--grad", "grad.npy", cwd=tmp_path) == "2.0\n"
        assert np.load(tmp_path / "grad.npy").tolist() == [-0.5, -0.5]
    assert error_of("score", *files, "--axis", "1", cwd=tmp_path) == "--axis 1 is out of bounds for the shape (2,)"


@pytest.mark.parametrize(
    ("shape", "axis", "expected"),
    [
        ((0, 3), "0", "nan\nnan\nnan\n"),
        ((0, 3), "1", ""),
        ((3, 0), "0", ""),
        ((3, 0), "1", "nan\nnan\nnan\n"),
        ((0,), "0", "nan\n"),
    ],
)
def test_axes_of_nothing(tmp_path, shape, axis, expected):
    np.save(tmp_path / "a.npy", np.empty(shape, np.float32))
    options = ["--axis", axis, "--out", "out.npy", "--grad", "grad.npy", "--state", "s.state"]
    assert output_of("score", "a.npy", "a.npy", *options, cwd=tmp_path) == expected
    assert np.load(tmp_path / "out.npy").dtype == np.float32
    assert np.load(tmp_path / "out.npy").shape == np.empty(shape).sum(axis=int(axis)).shape
    assert np.load(tmp_path / "grad.npy").shape == shape
    assert output_of("merge", "s.state", cwd=tmp_path) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--axis", "2"], "--axis 2 is out of bounds for the shape (5, 7)"),
        (["--axis", "-3"], "--axis -3 is out of bounds for the shape (5, 7)"),
        (["--axis", "1", "--axis", "-1"], "--axis names an axis of the shape (5, 7) twice: 1, -1"),
        (["--axis", "0,1"], "Invalid value for '--axis': '0,1' is not a valid integer."),
        (
            ["--axis", "0", "--reduction", "none"],
            "--axis needs --reduction mean or sum: without a reduction nothing is summed over",
        ),
    ],
)
def test_bad_axes_are_one_line(tmp_path, pair, options, message):
    before = sorted(tmp_path.iterdir())
    assert error_of("score", "a.npy", "b.npy", *options, "--grad", "g.npy", "--state", "s.state", cwd=tmp_path) == message
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("axis", ["0", "1"])
def test_a_bad_weight_of_any_slice_is_one_line(tmp_path, pair, rng, axis):
    weight = np.ones((5, 7))
    weight[rng.integers(5), rng.integers(7)] = -1
    np.save(tmp_path / "w.npy", weight)
    message = error_of("score", "a.npy", "b.npy", *FILES["weight"], "--axis", axis, cwd=tmp_path)
    assert message == "weight must be finite and not negative where it is selected"


def test_totals_over_other_axes_do_not_merge(tmp_path, pair):
    for axis in ("0", "1"):
        output_of("score", "a.npy", "b.npy", "--axis", axis, "--state", f"{axis}.state", cwd=tmp_path)
    output_of("score", "a.npy", "b.npy", "--state", "all.state", cwd=tmp_path)
    assert error_of("merge", "0.state", "1.state", cwd=tmp_path) == (
        "1.state: a total with axis=1 cannot be merged into one with axis=0"
    )
    assert error_of("merge", "0.state", "all.state", cwd=tmp_path) == (
        "all.state: a total with axis=None cannot be merged into one with axis=0"
    )


# --- layouts of .npy ------------------------------------------------------------------------------------------------

SHAPES = [(3, 5), (40, 700), (700, 40), (3, 600, 2), (2, 3, 4, 5), (1, 8), (1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("orders", ["CC", "FF", "CF", "FC"])
def test_memory_orders(tmp_path, rng, shape, orders):
    a, b = (np.asarray(rng.normal(size=shape), order=order) for order in orders)
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "b.npy", b)
    options = ["--reduction", "none", "--out", "out.npy", "--grad", "grad.npy"]
    output_of("score", "a.npy", "b.npy", *options, cwd=tmp_path)
    assert same_bits(np.load(tmp_path / "out.npy"), smooth_l1_loss(a, b, reduction="none"))
    assert same_bits(np.load(tmp_path / "grad.npy"), SmoothL1Loss(reduction="sum").grad(a, b))
    assert same_bits(
        np.float64(output_of("score", "a.npy", "b.npy", "--reduction", "sum", cwd=tmp_path)),
        smooth_l1_loss(a, b, reduction="sum"),
    )


@pytest.mark.parametrize("orders", ["FF", "CF"])
def test_printed_losses_come_in_c_order_from_any_layout(tmp_path, rng, orders):
    a, b = (np.asarray(rng.normal(size=(3, 700)), order=order) for order in orders)
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "b.npy", b)
    options = ["--reduction", "none", "--grad", "grad.npy"]
    lines = output_of("score", "a.npy", "b.npy", *options, cwd=tmp_path).splitlines()
    assert same_bits(np.array(lines, float), smooth_l1_loss(a, b, reduction="none").ravel())
    assert same_bits(np.load(tmp_path / "grad.npy"), SmoothL1Loss(reduction="sum").grad(a, b))


def test_zero_dimensional_arrays(tmp_path):
    np.save(tmp_path / "a.npy", np.float64(3))
    np.save(tmp_path / "b.npy", np.float64(1))
    assert output_of("score", "a.npy", "b.npy", "--reduction", "none", cwd=tmp_path) == "1.5\n"
    output_of(
        "score",
        "a.npy",
        "b.npy",
        "--reduction",
        "none",
        "--out",
        "out.npy",
        cwd=tmp_path,
    )
    assert same_bits(np.load(tmp_path / "out.npy"), np.float64(1.5))


@pytest.mark.parametrize(("reduction", "printed"), [("mean", "nan\n"), ("sum", "0.0\n"), ("none", "")])
def test_empty_arrays(tmp_path, reduction, printed):
    np.save(tmp_path / "a.npy", np.empty((0, 3), np.float32))
    options = ["--reduction", reduction, "--grad", "grad.npy"]
    assert output_of("score", "a.npy", "a.npy", *options, cwd=tmp_path) == printed
    assert same_bits(np.load(tmp_path / "grad.npy"), np.empty((0, 3), np.float32))


# --- JSON -----------------------------------------------------------------------------------------------------------


def test_json_has_the_whole_story(tmp_path, pair):
    found = json.loads(output_of("score", "a.npy", "b.npy", "--json", "--beta", "0.5", cwd=tmp_path))
    value = float(smooth_l1_loss(*pair, beta=0.5))
    assert found == {
        "loss": "smooth_l1",
        "reduction": "mean",
        "beta": 0.5,
        "value": value,
        "value_hex": value.hex(),
        "dtype": "float32",
        "count": 35,
        "shape": [5, 7],
        "predictions": "a.npy",
        "targets": "b.npy",
    }


def test_json_lists_the_losses_of_reduction_none(tmp_path, pair):
    found = json.loads(output_of("score", "a.npy", "b.npy", "--json", "--reduction", "none", cwd=tmp_path))
    assert found["value"] == smooth_l1_loss(*pair, reduction="none").ravel().tolist()
    assert "value_hex" not in found


def test_json_names_the_files_that_were_written(tmp_path, pair):
    options = [
        "--json",
        "--reduction",
        "none",
        "--out",
        "out.npy",
        "--grad",
        "grad.npy",
    ]
    found = json.loads(output_of("score", "a.npy", "b.npy", *options, cwd=tmp_path))
    assert found["value"] is None
    assert same_bits(np.load(found["out"]), smooth_l1_loss(*pair, reduction="none"))
    assert same_bits(np.load(found["grad"]), smooth_l1_loss_backward(1.0, *pair, reduction="sum"))


@pytest.mark.parametrize(
    ("value", "text", "hexadecimal"),
    [(np.nan, "NaN", "nan"), (np.inf, "Infinity", "inf")],
)
def test_json_stays_valid_for_values_that_are_not_finite(tmp_path, value, text, hexadecimal):
    np.save(tmp_path / "a.npy", np.array([0.0, value]))
    np.save(tmp_path / "b.npy", np.zeros(2))
    scalar = json.loads(
        output_of("score", "a.npy", "b.npy", "--json", cwd=tmp_path),
        parse_constant=pytest.fail,
    )
    assert (scalar["value"], scalar["value_hex"]) == (text, hexadecimal)
    options = ["--json", "--reduction", "none", "--beta", "inf"]
    listed = json.loads(
        output_of("score", "b.npy", "b.npy", *options, cwd=tmp_path),
        parse_constant=pytest.fail,
    )
    assert (listed["value"], listed["beta"]) == ([0.0, 0.0], "Infinity")
    options = ["--json", "--reduction", "none"]
    listed = json.loads(
        output_of("score", "a.npy", "b.npy", *options, cwd=tmp_path),
        parse_constant=pytest.fail,
    )
    assert listed["value"] == [0.0, text]


# --- output files ---------------------------------------------------------------------------------------------------


def test_out_of_a_reduction_is_a_0d_array_and_the_value_is_still_printed(tmp_path, pair):
    printed = output_of("score", "a.npy", "b.npy", "--out", "out.npy", cwd=tmp_path)
    assert same_bits(np.load(tmp_path / "out.npy"), np.float32(printed))


@on_posix
def test_a_replaced_file_keeps_its_permissions_and_its_link(tmp_path, pair):
    real = tmp_path / "real.npy"
    real.write_bytes(b"old")
    real.chmod(0o640)
    (tmp_path / "link.npy").symlink_to(real)
    output_of("score", "a.npy", "b.npy", "--out", "link.npy", cwd=tmp_path)
    assert (tmp_path / "link.npy").is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert np.load(real).shape == ()


def test_an_input_found_bad_late_leaves_old_outputs_alone(tmp_path, pair):
    (tmp_path / "grad.npy").write_bytes(b"old")
    np.save(tmp_path / "c.npy", np.zeros(3))
    before = sorted(tmp_path.iterdir())
    assert "shapes differ" in error_of("score", "a.npy", "c.npy", "--grad", "grad.npy", cwd=tmp_path)
    assert (tmp_path / "grad.npy").read_bytes() == b"old"
    assert sorted(tmp_path.iterdir()) == before


# A real signal at a known place: before the second window is read.
SIGNAL_IN_WINDOW_TWO = """
import os, signal
from cylosses._cli import windows as work
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background jobs with SIGINT ignored
def runs(size, real=work._runs):
    windows = real(size)
    yield next(windows)
    os.kill(os.getpid(), signal.{name})
    yield from windows
work._runs = runs
"""


@on_posix
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_an_interrupted_run_leaves_no_half_file(tmp_path, name, code):
    np.save(tmp_path / "a.npy", np.zeros(3_000_000, np.float32))
    (tmp_path / "grad.npy").write_bytes(b"old")
    before = sorted(tmp_path.iterdir())
    arguments = [
        "score",
        "a.npy",
        "a.npy",
        "--reduction",
        "none",
        "--out",
        "out.npy",
        "--grad",
        "grad.npy",
    ]
    as_usual = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)"  # nohup, too, ignores a signal
    result = run_after(as_usual + SIGNAL_IN_WINDOW_TWO.format(name=name), *arguments, cwd=tmp_path)
    assert result.returncode == code
    assert "Traceback" not in result.stderr
    assert (tmp_path / "grad.npy").read_bytes() == b"old"
    assert sorted(tmp_path.iterdir()) == before


@on_posix
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_full_disk_is_one_line(tmp_path, order):
    np.save(tmp_path / "a.npy", np.zeros((300, 200)))
    np.save(tmp_path / "b.npy", np.zeros((300, 200), order=order))
    before = sorted(tmp_path.iterdir())
    # A limit on the length of files fails in the same way, and needs no disk of its own.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    message = refusal(run_after(limit, "score", "a.npy", "b.npy", "--grad", "grad.npy", cwd=tmp_path))
    assert message.startswith("--grad: cannot write ")
    assert sorted(tmp_path.iterdir()) == before


# --- messages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.npy"], "Missing argument 'TARGETS'."),
        (["a.npy", "b.npy", "c.npy"], "a.npy: not a table, so that it has no columns 'b.npy' and 'c.npy'"),
        (["a.npy", "b.npy", "--gamma", "1"], "No such option '--gamma'. Did you mean '--grad'?"),
        (
            ["a.npy", "b.npy", "--beta", "x"],
            "Invalid value for '--beta': 'x' is not a valid float.",
        ),
        (
            ["a.npy", "b.npy", "--threads", "0"],
            "Invalid value for '--threads': 0 is not in the range x>=1.",
        ),
        (
            ["a.npy", "b.npy", "--reduction", "max"],
            "Invalid value for '--reduction': 'max' is not one of 'mean', 'sum', 'none'.",
        ),
        (["a.npy", "b.npy", "--out", "x.txt"], "--out: 'x.txt' must end in .npy"),
        (
            ["a.npy", "b.npy", "--grad", "folder.npy"],
            "--grad: 'folder.npy' is not a regular file",
        ),
        (
            ["a.npy", "b.npy", "--grad", "no/x.npy"],
            "--grad: cannot write '{here}/no/x.npy': No such file or directory",
        ),
        (
            ["a.npy", "b.npy", "--out", "x.npy", "--grad", "./x.npy"],
            "--out and --grad both name 'x.npy'; they must be two files",
        ),
        (
            ["a.npy", "row.npy"],
            "shapes differ: a.npy has (5, 7), row.npy has (7,); they must be equal, nothing is broadcast",
        ),
    ],
)
def test_bad_arguments_are_one_line(tmp_path, pair, arguments, message):
    (tmp_path / "folder.npy").mkdir()
    np.save(tmp_path / "row.npy", np.zeros(7, np.float32))
    assert error_of("score", *arguments, cwd=tmp_path) == message.format(here=tmp_path.resolve())


@pytest.mark.parametrize("beta", ["-1", "nan", "-inf"])
def test_a_bad_beta_gets_the_words_of_the_library(tmp_path, pair, beta):
    with pytest.raises(ValueError, match="beta") as caught:
        SmoothL1Loss(beta=float(beta))
    assert error_of("score", "a.npy", "b.npy", "--beta", beta, cwd=tmp_path) == str(caught.value)


def test_an_unknown_command_is_one_line(tmp_path):
    assert error_of("sore", cwd=tmp_path).startswith("No such command 'sore'.")


def test_a_missing_extra_says_how_to_get_it(tmp_path):
    message = refusal(run_after("sys.modules['click'] = None", "info", cwd=tmp_path))
    assert message == "the command line needs the package click: pip install 'cylosses[cli]'"


def test_another_missing_module_is_not_blamed_on_the_extra(tmp_path):
    result = run_after("sys.modules['json'] = None", "info", cwd=tmp_path)
    assert "pip install" not in result.stderr
    assert "json" in result.stderr


# --- streams --------------------------------------------------------------------------------------------------------


def test_a_reader_that_stops_early_is_no_traceback(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(200_000))
    reading, writing = os.pipe()
    os.close(reading)
    arguments = [
        *PYTHON,
        "-m",
        "cylosses",
        "score",
        "a.npy",
        "a.npy",
        "--reduction",
        "none",
    ]
    with os.fdopen(writing, "wb") as closed:
        result = subprocess.run(
            arguments,
            cwd=tmp_path,
            env=ENVIRONMENT,
            stdout=closed,
            stderr=subprocess.PIPE,
        )
    assert (result.returncode, result.stderr) == (1, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "arguments",
    [["a.npy", "a.npy"], ["a.npy", "a.npy", "--reduction", "none"], ["--help"]],
)
def test_a_stdout_that_cannot_be_written_is_one_line(tmp_path, arguments):
    np.save(tmp_path / "a.npy", np.zeros(200_000))
    command = [*PYTHON, "-m", "cylosses", "score", *arguments]
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            command,
            cwd=tmp_path,
            env=ENVIRONMENT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert result.returncode == 2
    assert result.stderr == "cylosses: error: cannot write to stdout: No space left on device\n"


def on_a_terminal(*arguments: str, cwd: Path, **streams) -> tuple[str, bytes]:
    """Run the command with stderr, and what `streams` says, on a terminal; return what stdout got and what the terminal did."""
    pty = pytest.importorskip("pty")
    command = [*PYTHON, "-m", "cylosses", *arguments]
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            streams = {"stdout": subprocess.PIPE} | dict.fromkeys([*streams, "stderr"], theirs)
            process = subprocess.Popen(command, cwd=cwd, env=ENVIRONMENT | {"TERM": "xterm"}, text=True, **streams)
        finally:
            os.close(theirs)
        drawn = _read_until_closed(terminal)
        return process.communicate()[0], drawn


def test_the_progress_bar_appears_on_a_terminal_only(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3_000_000, np.float32))
    printed, drawn = on_a_terminal("score", "a.npy", "a.npy", cwd=tmp_path)
    assert b"24.0/24.0 MB" in drawn
    assert printed == "0.0\n"  # and nothing of the bar
    assert output_of("score", "a.npy", "a.npy", cwd=tmp_path) == "0.0\n"  # stderr a pipe: nothing on it


def test_the_progress_bar_of_a_table_tells_bytes(tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n" + "1,2\n" * 250_000)
    printed, drawn = on_a_terminal("score", "t.csv", "x", "y", cwd=tmp_path)
    assert b"reading" in drawn
    assert b"/1.0 MB" in drawn
    assert printed == "0.5\n"


def test_the_progress_bar_is_gone_before_the_value(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    _, drawn = on_a_terminal("score", "a.npy", "a.npy", cwd=tmp_path, stdout=True)
    assert drawn.endswith(b"\x1b[2K0.0\r\n")  # the line is erased


def test_no_progress_bar_stands_between_losses(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    none = ["score", "a.npy", "a.npy", "--reduction", "none"]
    _, drawn = on_a_terminal(*none, cwd=tmp_path, stdout=True)
    assert drawn == b"0.0\r\n" * 3
    printed, drawn = on_a_terminal(*none, cwd=tmp_path)
    assert printed == "0.0\n" * 3
    assert b"48/48 bytes" in drawn


def _read_until_closed(terminal: io.RawIOBase) -> bytes:
    parts = []
    try:
        while part := terminal.read(65536):
            parts.append(part)
    except OSError:  # how Linux reports that the other side of a terminal is closed
        pass
    return b"".join(parts)


# --- the other commands ---------------------------------------------------------------------------------------------


def test_version(tmp_path):
    assert output_of("--version", cwd=tmp_path) == f"cylosses, version {cylosses.__version__}\n"


def test_no_command_prints_the_help(tmp_path):
    assert output_of(cwd=tmp_path) == output_of("--help", cwd=tmp_path)
    assert "score" in output_of(cwd=tmp_path)


@pytest.mark.parametrize("command", ["score", "merge"])
def test_completion_offers_files(tmp_path, command):
    asked = {"_CYLOSSES_COMPLETE": "bash_complete", "COMP_WORDS": f"cylosses {command} re", "COMP_CWORD": "2"}
    entry = [sys.executable, "-c", "import sys; from cylosses.cli import command; command(prog_name='cylosses')"]
    result = subprocess.run(entry, env=ENVIRONMENT | asked, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.stdout.startswith("file,")


def test_info_prints_what_show_versions_says(tmp_path):
    """In a process of its own, as the command is: in this one, another test may have limited OpenMP's threads."""
    script = [*PYTHON, "-c", "import cylosses; cylosses.show_versions()"]
    said = subprocess.run(script, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout
    assert output_of("info", cwd=tmp_path) == said


def test_help_of_score_names_every_kind_of_file(tmp_path):
    text = output_of("score", "--help", cwd=tmp_path)
    assert all(suffix in text for suffix in (".npy", ".npz", ".csv", ".tsv", ".parquet"))


# --- memory ---------------------------------------------------------------------------------------------------------

# A process inherits the peak of the one it was forked from, so a small one stands between it and the test session.
MEASURE = """
import os, subprocess, sys
child = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(child.pid, 0)
print(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024), file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def measured(*arguments: str, cwd: Path) -> tuple[str, int]:
    """Return the output of a successful command and the peak of its resident memory in bytes, mapped pages included."""
    command = [sys.executable, "-c", MEASURE, *PYTHON, "-m", "cylosses", *arguments]
    result = subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert result.returncode == 0
    return result.stdout, int(result.stderr)


def sparse(path: Path, shape: tuple[int, ...], fortran: bool = False) -> None:
    """Make a float32 .npy file of zeros that takes no room on the disk."""
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": fortran, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 4 * int(np.prod(shape)))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "wait4"), reason="needs wait4")
def test_files_larger_than_memory_stream_in_constant_memory(tmp_path):
    size = 375_000_000  # 1.5 GB each
    for name in ("a.npy", "b.npy"):
        sparse(tmp_path / name, (size,))
    with (tmp_path / "a.npy").open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(np.float32(10).tobytes())
    printed, peak = measured("score", "a.npy", "b.npy", "--reduction", "sum", cwd=tmp_path)
    assert printed == "9.5\n"
    assert peak < 200e6


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="needs wait4")
def test_mixed_memory_orders_and_outputs_stay_within_the_same_memory(tmp_path):
    sparse(tmp_path / "a.npy", (5_000, 6_000))  # 120 MB each, and the gradient as much again
    sparse(tmp_path / "b.npy", (5_000, 6_000), fortran=True)
    printed, peak = measured("score", "a.npy", "b.npy", "--grad", "grad.npy", cwd=tmp_path)
    assert printed == "0.0\n"
    assert peak < 200e6
    grad = np.load(tmp_path / "grad.npy", mmap_mode="r")
    assert (grad.shape, grad.dtype, float(np.abs(grad[::100]).max())) == (
        (5_000, 6_000),
        np.float32,
        0.0,
    )


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="needs wait4")
def test_parquet_streams_in_constant_memory(tmp_path, rng):
    import pyarrow
    from pyarrow import parquet

    values = rng.normal(size=500_000)
    group = pyarrow.table({"x": values, "y": values + 2})
    peaks = {}
    for groups in (10, 60):  # 60 groups are 30 million rows, 480 MB in the two columns
        with parquet.ParquetWriter(tmp_path / "a.parquet", group.schema) as file:
            for _ in range(groups):
                file.write_table(group)
        printed, peaks[groups] = measured("score", "a.parquet:x", "a.parquet:y", "--reduction", "sum", cwd=tmp_path)
        assert float(printed) == pytest.approx(1.5 * 500_000 * groups)
    assert peaks[60] - peaks[10] < 60e6


@on_posix
def test_signals_that_are_ignored_stay_ignored(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3_000_000, np.float32))
    ignore = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)" + SIGNAL_IN_WINDOW_TWO.format(name="SIGHUP")
    assert run_after(ignore, "score", "a.npy", "a.npy", cwd=tmp_path).stdout == "0.0\n"
