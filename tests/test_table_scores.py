"""Scores of tables: groups, keys, conditions, weights, missing values, several losses, thresholds, states."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cylosses import LOSSES, SmoothL1Loss, StreamingLoss
from cylosses._cli.bundle import MAGIC, Bundle
from cylosses._cli.merge import merge_states, score_of
from cylosses._cli.output import JsonLosses
from cylosses._cli.score import Request, Score, score
from cylosses._cli.source import InputError
from cylosses._cli.specs import LossSpec, parse_losses

from .cli_runs import error_of, output_of, run

MSE, L1, HUBER = LossSpec("mse"), LossSpec("l1"), LossSpec("huber", {"delta": 2.0})


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    """Let names be short: every test works in its own folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def data(rng):
    """Columns of 3000 rows, and the same as data.csv and data.parquet."""
    import pandas

    n = 3000
    frame = pandas.DataFrame(
        {
            "id": rng.permutation(n),
            "x": rng.normal(size=n) * 10.0 ** rng.integers(-9, 9, n),
            "y": rng.normal(size=n),
            "w": rng.random(n) * (rng.random(n) < 0.9),
            "m": rng.random(n) < 0.7,
            "g": rng.choice(["a", "b c", "d,e", "ü"], n),
            "k": rng.integers(-5, 30, n),
        }
    )
    frame.to_csv("data.csv", index=False)
    frame.to_parquet("data.parquet")
    return frame


def scored(*losses: LossSpec, table="data.csv", predictions="x", targets="y", on_losses=None, **options) -> Score:
    add = None if on_losses is None else on_losses.append
    return score(Request(predictions, targets, losses or (L1,), table=(table,), **options), add)


def refusal(*losses: LossSpec, **options) -> str:
    with pytest.raises(InputError) as caught:
        scored(*losses, **options)
    return str(caught.value)


def same_bits(a, b) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def call(spec: LossSpec, part, reduction="mean", **selection):
    return spec.make(reduction)(part.x.to_numpy(), part.y.to_numpy(), **{name: part[c].to_numpy() for name, c in selection.items()})


# --- weights, masks, conditions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["data.csv", "data.parquet"])
@pytest.mark.parametrize("selection", [{}, {"weight": "w"}, {"where": "m"}, {"weight": "w", "where": "m"}])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_several_losses_in_one_pass(data, table, selection, reduction):
    found = scored(MSE, L1, HUBER, table=table, reduction=reduction, **selection)
    for spec, value in zip((MSE, L1, HUBER), found.values, strict=True):
        assert same_bits(value, call(spec, data, reduction, **selection))
    counted = (data.w != 0 if "weight" in selection else True) & (data.m if "where" in selection else np.ones(3000, bool))
    assert found.count == np.count_nonzero(counted)
    assert found.shape == (3000,)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss(data, name):
    (spec,) = parse_losses([name], {})
    assert same_bits(scored(spec).value, call(spec, data))


@pytest.mark.parametrize("table", ["data.csv", "data.parquet"])
def test_conditions(data, table):
    assert same_bits(scored(table=table, filter="k > 10 AND g <> 'ü'").value, call(L1, data[(data.k > 10) & (data.g != "ü")]))
    assert np.isnan(scored(table=table, filter="k > 1000").value)
    assert refusal(table=table, filter="k2 > 1000").startswith("--filter 'k2 > 1000': Binder Error: ")
    assert refusal(table=table, filter="k >").startswith("--filter 'k >': Parser Error: ")


def test_elements_of_conditions(data):
    part = data[data.k > 10]
    scored(filter="k > 10", weight="w", grad="grad.npy")
    expected = L1.make("mean").grad(part.x.to_numpy(), part.y.to_numpy(), weight=part.w.to_numpy())
    assert same_bits(np.load("grad.npy"), expected)


def test_several_losses_of_arrays(tmp_path, rng):
    a, b, w = rng.normal(size=(3, 40, 50))
    for name, values in {"a": a, "b": np.asfortranarray(b), "w": np.abs(w)}.items():
        np.save(f"{name}.npy", values)
    found = score(Request("a.npy", "b.npy", (MSE, HUBER), weight="w.npy"))
    assert [same_bits(v, s.make("mean")(a, b, weight=np.abs(w))) for v, s in zip(found.values, (MSE, HUBER), strict=True)] == [
        True
    ] * 2
    assert found.shape == (40, 50)


@pytest.mark.parametrize("kinds", ["csv npy csv", "npy parquet csv", "csv csv npy", "parquet csv parquet"])
def test_columns_of_several_files_are_paired_by_their_order(data, kinds):
    labels = []
    for name, kind in zip("xyw", kinds.split(), strict=True):
        np.save(f"{name}.npy", data[name].to_numpy())
        data[[name]].to_csv(f"{name}.csv", index=False)
        data[[name]].to_parquet(f"{name}.parquet")
        labels.append(f"{name}.{kind}")
    found = score(Request(*labels[:2], (L1, MSE), weight=labels[2]))
    assert same_bits(found.values[1], call(MSE, data, weight="w"))
    score(Request(*labels[:2], (L1,), weight=labels[2], grad="grad.npy"))
    expected = L1.make("mean").grad(data.x.to_numpy(), data.y.to_numpy(), weight=data.w.to_numpy())
    assert same_bits(np.load("grad.npy"), expected)


@pytest.mark.parametrize("other", ["y.csv", "y.npy"])
def test_columns_of_other_lengths(data, other):
    data[["y"]][:-1].to_csv("y.csv", index=False)
    np.save("y.npy", data.y.to_numpy()[:-1])
    with pytest.raises(InputError, match=r"has 2999 rows, data\.csv has 3000; rows are paired by their order: --on KEY") as caught:
        score(Request("data.csv:x", other))
    assert str(caught.value).startswith("shapes differ: y.")


# --- groups ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["data.csv", "data.parquet"])
@pytest.mark.parametrize("by", [("g",), ("k",), ("g", "k"), ("m",), ("k", "m", "g")])
@pytest.mark.parametrize("selection", [{}, {"weight": "w", "where": "m"}])
def test_groups(data, table, by, selection):
    found = scored(MSE, HUBER, table=table, by=by, **selection)
    grouped = data.groupby(list(by), sort=True)
    keys = [key for key, _ in grouped]
    assert [tuple(key) for key in found.groups.keys] == keys
    for k, (_, part) in enumerate(grouped):
        for spec, values in zip((MSE, HUBER), found.groups.values, strict=True):
            assert same_bits(values[k], call(spec, part, **selection))
        counted = np.ones(len(part), bool) if not selection else (part.w != 0) & part.m
        assert found.groups.counts[k] == np.count_nonzero(counted)
    assert same_bits(found.values[0], call(MSE, data, **selection))


def test_groups_that_span_batches(rng):
    import pandas

    n = 400_000
    frame = pandas.DataFrame({"x": rng.normal(size=n), "y": rng.normal(size=n), "g": rng.integers(0, 3, n)})
    frame.to_parquet("data.parquet")
    found = scored(table="data.parquet", by=("g",))
    for k, (_, part) in enumerate(frame.groupby("g")):
        assert same_bits(found.groups.values[0][k], call(L1, part))


def test_missing_keys_are_a_group():
    Path("data.csv").write_text("x,y,g\n1,0,b\n2,0,\n4,0,a\n8,0,\n")
    found = scored(by=("g",), reduction="sum")
    assert found.groups.keys == [("a",), ("b",), (None,)]
    assert found.groups.values == [[4.0, 1.0, 10.0]]


def test_a_terminal_is_not_told_what_to_do_by_keys(monkeypatch, capsys):
    from cylosses._cli import output

    Path("data.csv").write_text("x,y,g\n1,0,\x1b]0;title\x07 [bold]\n", encoding="utf-8")
    monkeypatch.setattr(output, "_is_terminal", lambda stream: True)
    output.print_score(["l1"], scored(by=("g",)))
    printed = capsys.readouterr().out
    assert r"\x1b]0;title\x07 [bold]" in printed
    assert "\x1b" not in printed


def test_keys_that_are_no_integers_after_all():
    Path("data.csv").write_text("x,y,g\n" + "1,0,1\n" * 30_000 + "1,0,1.5\n")
    assert "column 'g': the first rows hold integers, and a later one 1.5" in refusal(by=("g",))


# --- keys -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def two_tables(data, rng):
    """Predictions and targets of the same ids in other orders."""
    data[["id", "g", "x", "w"]].to_csv("p.csv", index=False)
    data[["k", "y", "id", "m"]].sample(frac=1, random_state=1).to_parquet("t.parquet")
    return data


def joined(*losses, predictions="p.csv:x", targets="t.parquet:y", on=("id",), **options):
    return score(Request(predictions, targets, losses or (L1,), on=on, **options))


def test_rows_with_equal_keys(two_tables):
    found = joined(MSE, HUBER, weight="w", where="m")
    assert same_bits(found.values[1], call(HUBER, two_tables, weight="w", where="m"))
    found = joined(by=("g", "k"), filter="targets.k > 3")
    part = two_tables[two_tables.k > 3]
    assert same_bits(found.value, call(L1, part))
    assert [same_bits(v, call(L1, p)) for v, (_, p) in zip(found.groups.values[0], part.groupby(["g", "k"]), strict=True)].count(
        False
    ) == 0
    joined(grad="grad.npy")
    expected = L1.make("mean").grad(two_tables.x.to_numpy(), two_tables.y.to_numpy())
    assert same_bits(np.load("grad.npy"), expected)  # in the order of the predictions


def test_rows_without_a_partner_and_keys_that_come_twice(two_tables):
    two_tables[["id", "x"]][:-1].to_csv("p.csv", index=False)
    last = int(two_tables.id.iloc[-1])
    with pytest.raises(InputError, match=rf"^t\.parquet: no row of the predictions has id {last}; --how inner leaves"):
        joined()
    with pytest.raises(InputError, match=rf"^t\.parquet: no row of the predictions has id {last}; --how inner leaves"):
        joined(filter="targets.k > 100")
    assert same_bits(joined(how="inner").value, call(L1, two_tables[:-1]))
    twice = two_tables[["id", "x"]].copy()
    twice.loc[7, "id"] = twice.id[8]
    lost = int(two_tables.id[7])
    twice.to_csv("p.csv", index=False)
    with pytest.raises(InputError, match=f"no row of the predictions has id {lost}"):
        joined()
    two_tables[two_tables.id != lost].to_parquet("t.parquet")
    for options in ({}, {"filter": "x > 100"}, {"by": ("id",)}):
        with pytest.raises(InputError, match=rf"^p\.csv: 2 rows have id {twice.id[8]}; --how inner pairs all with all"):
            joined(**({"filter": "predictions.x > 100"} if "filter" in options else options))
    assert joined(how="inner").count == 3000


def test_text_beside_numbers_as_keys():
    for name, rows in {"p": "k,x\n1,5\nb,6\n", "t": "k,y\n1,4\n"}.items():
        Path(f"{name}.csv").write_text(rows)
    assert joined(targets="t.csv:y", on=("k",), how="inner").value == 1.0


# --- missing values -------------------------------------------------------------------------------------------------

GAPS = "x,y,w,m,g\n1,0.5,1,1,a\n,1,1,1,a\n3,NA,2,1,b\n4,nan,1,1,b\n,,0,1,b\n,5,1,0,b\n7,8,2,True,a\n"


def test_missing_values(capfd):
    Path("data.csv").write_text(GAPS.replace("True", "1"))
    assert refusal().startswith("data.csv: row 2, column 'x': the value is missing; --missing skip")
    assert refusal(filter="x IS NOT NULL").startswith("data.csv: row 3, column 'y': the value is missing")
    assert refusal(by=("g",)).startswith("data.csv: row 2, column 'x'")
    assert refusal(filter="w > 1").startswith("data.csv: row 3, column 'y'")
    found = scored(missing="skip", reduction="sum", filter="y IS NULL OR NOT isnan(y)")
    assert (found.value, found.missing, found.count) == (1.5, 4, 2)
    found = scored(missing="skip", weight="w", where="m")
    assert np.isnan(found.value)
    assert (found.missing, found.nan, found.count) == (2, 1, 3)  # a missing value with weight 0 or left out does not count
    found = scored(missing="nan", weight="w", where="m")
    assert (found.missing, found.nan, found.count) == (0, 3, 5)
    found = scored(missing="skip", by=("g",), reduction="sum", filter="y IS NULL OR NOT isnan(y)")
    assert (found.groups.values, found.groups.counts) == ([[1.5, 0.0]], [2, 0])


def test_missing_weights_and_masks():
    Path("data.csv").write_text("x,y,w,m\n1,0,1,1\n2,0,,1\n4,0,1,\n")
    assert refusal(weight="w").startswith("data.csv: row 2, column 'w': the value is missing")
    assert refusal(where="m").startswith("data.csv: row 3, column 'm': the value is missing")
    assert refusal(where="m", missing="nan").startswith("data.csv: row 3, column 'm'")
    found = scored(weight="w", where="m", missing="skip", reduction="sum")
    assert (found.value, found.missing, found.count) == (1.0, 2, 1)


def test_missing_values_of_several_files_have_their_rows():
    for name, rows in {"p": "x\n1\n2\n", "q": "x\n3\nNA\n", "t": "y\n0\n0\n0\n0\n"}.items():
        Path(f"{name}.csv").write_text(rows)
    with pytest.raises(InputError, match=r"^q\.csv: row 2, column 'x': the value is missing"):
        score(Request("[pq].csv:x", "t.csv:y"))
    found = score(Request("[pq].csv:x", "t.csv:y", (L1,), missing="skip", reduction="sum"))
    assert (found.value, found.missing) == (6.0, 1)
    listed = []
    score(Request("[pq].csv:x", "t.csv:y", (L1,), "none", missing="skip"), on_losses=listed.append)
    assert np.concatenate(listed).tolist() == [1.0, 2.0, 3.0, 0.0]


@pytest.mark.parametrize("selection", [[], ["--weight", "w"], ["--where", "m"], ["--weight", "w", "--where", "m"]])
@pytest.mark.parametrize("missing", ["skip", "nan"])
def test_missing_values_and_nan_count_alike_in_all_modes(tmp_path, selection, missing):
    (tmp_path / "data.csv").write_text(GAPS.replace("True", "1"))
    common = ["score", "data.csv", "x", "y", "--json", "--missing", missing, *selection]
    modes = [[], ["--axis", "0"], ["--grad", "g.npy"], ["--reduction", "none", "--out", "losses.npy"], ["--reduction", "none"]]
    found = [json.loads(output_of(*common, *mode, cwd=tmp_path)) for mode in modes]
    assert [{name: entry[name] for name in ("missing", "nan", "count", "shape")} for entry in found[1:]] == [
        {name: found[0][name] for name in ("missing", "nan", "count", "shape")}
    ] * 4
    notes = [run(*[word for word in common if word != "--json"], *mode, cwd=tmp_path).stderr for mode in modes]
    assert notes[1:] == notes[:1] * 4
    assert "NaN in them" in notes[0]
    assert ("left out" in notes[0]) == (missing == "skip")


def test_rows_that_are_left_out_have_loss_and_gradient_0():
    Path("data.csv").write_text("x,y\n1,0.5\n,1\n3,NA\n7,4\n")
    x, y, here = np.array([1, 0, 0, 7.0]), np.array([0.5, 0, 0, 4]), np.array([True, False, False, True])
    listed = []
    scored(HUBER, missing="skip", reduction="none", on_losses=listed)
    assert same_bits(np.concatenate(listed), HUBER.make("none")(x, y, where=here))
    scored(HUBER, missing="skip", grad="g.npy")
    assert same_bits(np.load("g.npy"), HUBER.make("mean").grad(x, y, where=here))
    assert same_bits(scored(HUBER, missing="skip", axis=(0,)).value, HUBER.make("mean")(x, y, where=here, axis=0))


def test_what_is_said_of_missing_values_and_nan(tmp_path):
    (tmp_path / "data.csv").write_text(GAPS)
    result = run("score", "data.csv", "x", "y", "--missing", "skip", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "nan\n")
    assert result.stderr == (
        "cylosses: 4 of 7 rows have a missing value and were left out\ncylosses: 1 of 7 pairs have NaN in them\n"
    )
    found = json.loads(output_of("score", "data.csv", "x", "y", "--missing", "skip", "--json", cwd=tmp_path))
    assert (found["missing"], found["nan"], found["count"], found["shape"]) == (4, 1, 3, [7])
    (tmp_path / "empty.csv").write_text("x,y\n")
    result = run("score", "empty.csv", "x", "y", cwd=tmp_path)
    assert (result.stdout, result.stderr) == ("nan\n", "cylosses: empty.csv: no rows\n")


@pytest.mark.parametrize("options", [{}, {"axis": (0,)}, {"grad": "g.npy"}, {"by": ("k",)}])
def test_a_mask_of_true_and_false_hides_missing_values(options):
    Path("data.csv").write_text("x,y,m,k\n3,1,True,1\n,1,False,1\n5,1,True,1\n")
    assert scored(where="m", **options).value == 3.0
    Path("data.csv").write_text("x,y,m,k\n3,1,True,1\n,1,True,1\n5,1,False,1\n")
    assert refusal(where="m", **options).startswith("data.csv: row 2, column 'x': the value is missing")


@pytest.mark.parametrize("cell", ["-1", "nan", "inf"])
def test_bad_weights_have_their_row(cell):
    Path("data.csv").write_text(f"x,y,w,g\n1,0,1,a\n2,0,{cell},a\n")
    for options in ({}, {"by": ("g",)}):
        assert (
            refusal(weight="w", **options) == f"data.csv: row 2, column 'w': the weight {cell}; weights are finite and not negative"
        )
    assert scored(weight="w", filter="x < 2").value == 1.0


def test_bad_masks():
    Path("data.csv").write_text("x,y,m\n1,0,1\n2,0,2\n")
    assert refusal(where="m") == "data.csv, column 'm': a mask holds bool, or the numbers 0 and 1; it has 2.0"


# --- float16 --------------------------------------------------------------------------------------------------------


def test_float16_that_overflows(tmp_path):
    np.save("a.npy", np.full(3, 60000, np.float16))
    np.save("b.npy", np.full(3, -60000, np.float16))
    result = run("score", "a.npy", "b.npy", "--loss", "l1", cwd=tmp_path)
    assert (result.stdout, result.stderr) == (
        "inf\n",
        "cylosses: float16 has no number beyond 65504: --dtype float32 or float64 converts first\n",
    )
    for options in (["--reduction", "none"], ["--reduction", "none", "--out", "l.npy"], ["--axis", "0"], ["--grad", "g.npy"]):
        assert "--dtype float32 or float64" in run("score", "a.npy", "b.npy", "--loss", "l1", *options, cwd=tmp_path).stderr
    assert output_of("score", "a.npy", "b.npy", "--loss", "l1", "--dtype", "float32", cwd=tmp_path) == "120000.0\n"
    output_of("score", "a.npy", "b.npy", "--loss", "mse", "--dtype", "float64", "--grad", "g.npy", cwd=tmp_path)
    assert np.load("g.npy").tolist() == [80000.0] * 3


# --- output ---------------------------------------------------------------------------------------------------------

ROWS = "x,y,g\n1,0.5,a\n2,4,b\n3,1,a\n"
TWO = ["--loss", "mse", "--loss", "huber:delta=2"]


@pytest.fixture
def small(tmp_path):
    (tmp_path / "s.csv").write_text(ROWS)
    return tmp_path


def test_values_of_several_losses_come_one_a_line(small):
    assert output_of("score", "s.csv", "x", "y", *TWO, cwd=small) == "2.75\n1.375\n"
    assert (
        output_of("score", "s.csv", "x", "y", *TWO, "--csv", cwd=small) == "loss,value,count\nmse,2.75,3\nhuber:delta=2,1.375,3\n"
    )
    found = json.loads(output_of("score", "s.csv", "x", "y", *TWO, "--json", cwd=small))
    assert [(entry["loss"], entry["value"], entry["value_hex"]) for entry in found["losses"]] == [
        ("mse", 2.75, (2.75).hex()),
        ("huber", 1.375, (1.375).hex()),
    ]
    assert found["losses"][1]["delta"] == 2.0


def test_groups_as_text_csv_and_json(small):
    arguments = ["score", "s.csv", "x", "y", *TWO, "--by", "g"]
    table = "g,mse,huber:delta=2,count\na,2.125,1.0625,2\nb,4.0,2.0,1\ntotal,2.75,1.375,3\n"
    assert output_of(*arguments, "--csv", cwd=small) == table
    assert output_of(*arguments, cwd=small) == table.replace(",", "\t")
    found = json.loads(output_of(*arguments, "--json", cwd=small))
    assert found["by"] == ["g"]
    assert found["groups"] == [
        {"key": ["a"], "count": 2, "value": [2.125, 1.0625], "value_hex": [(2.125).hex(), (1.0625).hex()]},
        {"key": ["b"], "count": 1, "value": [4.0, 2.0], "value_hex": [(4.0).hex(), (2.0).hex()]},
    ]


def test_losses_of_none_are_one_json_object(small):
    found = json.loads(output_of("score", "s.csv", "x", "y", "--reduction", "none", "--json", cwd=small))
    assert found["value"] == [0.125, 1.5, 1.5]
    assert found["count"] == 3
    (small / "e.csv").write_text("x,y\n")
    assert json.loads(output_of("score", "e.csv", "x", "y", "--reduction", "none", "--json", cwd=small))["value"] == []


def test_json_of_none_is_written_as_the_losses_come(capfd):
    stream = JsonLosses(Request("a.npy", "b.npy", reduction="none"))
    pieces = []
    for losses in ([1.5, 0.1], [np.inf], [], [2.0]):
        stream.add(np.array(losses))
        pieces.append(capfd.readouterr().out)
    assert pieces[0].endswith('"value": [1.5, 0.1')
    assert pieces[1:] == [', "Infinity"', "", ", 2.0"]


def test_verbose_tells_what_was_guessed(small):
    result = run("score", "s.csv", "1", "2", "--verbose", cwd=small)
    assert result.stdout == "1.0416666666666667\n"
    assert result.stderr.splitlines() == [
        "cylosses: s.csv: delimiter ',', decimal '.', a header line",
        "cylosses: s.csv: columns x (BIGINT), y (DOUBLE), g (VARCHAR)",
    ]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".jsonl", ".feather"])
def test_standard_input(small, suffix):
    import subprocess

    import pandas

    from .cli_runs import ENVIRONMENT, PYTHON

    frame, path = pandas.read_csv("s.csv").assign(one=1.0), small / f"t{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(path)
    elif suffix == ".feather":
        frame.to_feather(path)
    elif suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False)
    for arguments in (
        ["-", "x", "y"],
        ["-:x", "-:y"],
        ["-:x", "-:y", "--weight", "-:one"],
        ["--weight", "-:one", "--", "-:x", "-:y"],
    ):
        command = [*PYTHON, "-m", "cylosses", "score", "--loss", "mse", *arguments]
        result = subprocess.run(command, input=path.read_bytes(), env=ENVIRONMENT, cwd=small, capture_output=True, check=True)
        assert result.stdout == b"2.75\n"


# --- thresholds -----------------------------------------------------------------------------------------------------


def test_thresholds_need_a_value(small):
    told = "--fail-above needs --reduction mean or sum: without a reduction there is no value to compare"
    assert error_of("score", "s.csv", "x", "y", "--reduction", "none", "--fail-above", "1", cwd=small) == told


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (["--fail-above", "2.75", "--loss", "mse"], []),
        (["--fail-above", "2.7", "--loss", "mse"], ["mse is 2.75, above 2.7"]),
        ([*TWO, "--fail-above", "mse=3", "--fail-above", "huber=1"], ["huber:delta=2 is 1.375, above 1"]),
        ([*TWO, "--fail-above", "huber:delta=2=1.5"], []),
        (["--loss", "mse", "--by", "g", "--fail-above", "3"], ["mse is 4.0 for g b, above 3"]),
        (["--loss", "mse", "--filter", "x > 5", "--fail-above", "3"], ["s.csv: no rows", "mse is nan, above 3"]),
    ],
)
def test_thresholds(small, options, lines):
    result = run("score", "s.csv", "x", "y", *options, cwd=small)
    assert result.stderr == "".join(f"cylosses: {line}\n" for line in lines)
    assert result.returncode == (1 if any("above" in line for line in lines) else 0)
    assert result.stdout


# --- states ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [(), ("g",), ("k", "g"), ("m",)])
@pytest.mark.parametrize("losses", [(L1,), (MSE, HUBER)])
def test_parts_on_several_machines_have_the_bits_of_one_run(data, by, losses):
    whole = scored(*losses, by=by, weight="w", state="whole.state")
    for number, part in enumerate((slice(0, 10), slice(10, 2500), slice(2500, 3000))):
        data[part].to_csv("part.csv", index=False)
        scored(*losses, table="part.csv", by=by, weight="w", state=f"{number}.state")
    for order in ("012", "201"):
        bundle = merge_states([f"{number}.state" for number in order], "total.state")
        assert Path("total.state").read_bytes() == Path("whole.state").read_bytes()
        found = score_of(bundle)
        assert [same_bits(*pair) for pair in zip(found.values, whole.values, strict=True)] == [True] * len(losses)
        if by:
            assert found.groups.keys == whole.groups.keys
            assert found.groups.counts == whole.groups.counts
            for mine, theirs in zip(found.groups.values, whole.groups.values, strict=True):
                assert same_bits(np.array(mine), np.array(theirs))


def test_the_state_of_one_loss_is_that_of_the_library(data):
    scored(HUBER, state="s.state")
    state = HUBER.make("mean").streaming()
    state.update(data.x.to_numpy(), data.y.to_numpy())
    assert Path("s.state").read_bytes() == state.to_bytes()


def test_merge_prints_groups_and_tests_thresholds(small):
    output = output_of("score", "s.csv", "x", "y", *TWO, "--by", "g", "--csv", "--state", "s.state", cwd=small)
    assert output_of("merge", "s.state", "--csv", cwd=small) == output
    found = json.loads(output_of("merge", "s.state", "--json", cwd=small))
    assert (found["by"], len(found["groups"]), found["count"]) == (["g"], 2, 3)
    assert run("merge", "s.state", "--fail-above", "mse=1", cwd=small).returncode == 1


def test_states_that_do_not_go_together(small):
    output_of("score", "s.csv", "x", "y", "--by", "g", "--state", "g.state", cwd=small)
    output_of("score", "s.csv", "x", "y", "--by", "x", "--state", "x.state", cwd=small)
    output_of("score", "s.csv", "x", "y", *TWO, "--by", "g", "--state", "two.state", cwd=small)
    output_of("score", "s.csv", "x", "y", "--state", "plain.state", cwd=small)
    assert error_of("merge", "g.state", "x.state", cwd=small) == (
        "x.state: groups by x (integer) cannot be merged into groups by g (text)"
    )
    assert error_of("merge", "g.state", "two.state", cwd=small) == (
        "two.state: totals of 2 losses cannot be merged into those of 1"
    )
    assert error_of("merge", "plain.state", "g.state", cwd=small) == (
        "g.state: groups by g (text) cannot be merged into groups by nothing"
    )


def test_damaged_states_of_groups(data):
    scored(MSE, L1, by=("g",), state="s.state")
    content = Path("s.state").read_bytes()
    assert content.startswith(MAGIC)
    for cut in range(len(MAGIC), len(content), 7):
        with pytest.raises(ValueError, match="state"):
            Bundle.from_bytes(content[:cut])
    for at in range(len(MAGIC), len(content), 11):
        changed = bytearray(content)
        changed[at] ^= 1
        with pytest.raises(ValueError, match="damaged or truncated state: the checksum does not fit"):
            Bundle.from_bytes(bytes(changed))


@pytest.mark.parametrize(
    "keys", [[(2,), (10,), (None,)], [("10",), ("2",), ("ü",)], [(0.5,), (float("inf"),), (float("nan"),), (None,)]]
)
def test_groups_are_sorted_as_tables_are(keys):
    state = StreamingLoss(SmoothL1Loss()).to_bytes()
    bundle = Bundle([SmoothL1Loss().streaming()], [("k", "any")])
    for key in reversed(keys):
        bundle.add_group(key, [state])
        bundle.add_group(key, [state])
    assert repr([key for key, _ in bundle.groups()]) == repr(keys)
    assert Bundle.from_bytes(bundle.to_bytes()).to_bytes() == bundle.to_bytes()


# --- losses as they are written -------------------------------------------------------------------------------------


def test_losses_are_written_with_their_parameters():
    specs = parse_losses(["huber:delta=0.1", "quantile:q=0.9", "mse", "quantile"], {})
    assert [spec.text for spec in specs] == ["huber:delta=0.1", "quantile:q=0.9", "mse", "quantile:q=0.5"]
    assert parse_losses(["mse", "huber"], {"delta": 3.0})[1] == LossSpec("huber", {"delta": 3.0})
    assert replace(specs[0], parameters={"delta": 1 / 3}).text == f"huber:delta={1 / 3}"
