"""`cylosses score --plot`: the bins that residuals are counted in, the picture that is drawn of them, and the option."""

from __future__ import annotations

import itertools
import json
import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from cylosses import LOSSES
from cylosses._cli import residual_picture, residuals
from cylosses._cli.residuals import EDGES, Residuals, bins_of
from cylosses._cli.score import Request, Score, score
from cylosses._cli.specs import LossSpec, parse_losses

from .cli_runs import error_of, output_of, refusal, run, run_after

L1, MSE, HUBER = LossSpec("l1"), LossSpec("mse"), LossSpec("huber", {"delta": 2.0})


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    """Let names be short: every test works in its own folder."""
    monkeypatch.chdir(tmp_path)


# --- bins -----------------------------------------------------------------------------------------------------------


def test_edges_begin_bins():
    assert EDGES[0] == 0
    assert np.isinf(EDGES[-1])
    assert (np.diff(EDGES[:-1]) > 0).all()
    assert np.array_equal(bins_of(EDGES), np.arange(len(EDGES)))
    assert np.array_equal(bins_of(np.nextafter(EDGES[1:], 0)), np.arange(len(EDGES) - 1))


def test_bins_are_fine():
    normal = EDGES[:-1][EDGES[:-1] >= np.finfo(float).tiny]
    assert (normal[1:] / normal[:-1]).max() <= 1 + 1 / 64


def wide(rng, n):
    """Numbers of all sizes, whose sums are exact nevertheless: integers times powers of two."""
    return rng.integers(-(2**20), 2**20, n) * 2.0 ** rng.integers(-10, 10, n)


@pytest.mark.parametrize("cuts", [1, 7])
@pytest.mark.parametrize("with_weight", [False, True])
@pytest.mark.parametrize("with_where", [False, True])
def test_bins_against_histograms_of_numpy(rng, cuts, with_weight, with_where):
    """On edges of bins the histogram of NumPy is the same, number for number; so are all sums, which are exact here."""
    n = 20_000
    d = wide(rng, n)
    weight = rng.integers(0, 4, n) if with_weight else None
    where = rng.random(n) < 0.7 if with_where else None
    found = Residuals([L1])
    for part in np.array_split(np.arange(n), cuts):
        selection = {name: values[part] for name, values in (("weight", weight), ("where", where)) if values is not None}
        found.add(d[part], np.zeros(len(part)), **selection)
    w = np.ones(n) if weight is None else weight * 1.0
    counts = (w != 0) & (True if where is None else where)
    d, w = d[counts], w[counts]
    edges = np.sort(rng.choice(EDGES[(EDGES > 1e-4) & (EDGES < 1e11)], 50, replace=False))
    amounts = [np.ones(len(d)), w, w * np.abs(d)]
    for spread, values in zip((found.pairs, found.weights, found.losses[0]), amounts, strict=True):
        positive, _ = np.histogram(d, [*edges, np.inf], weights=values)
        negative, _ = np.histogram(-d, [*edges, np.inf], weights=values)
        inner = values[np.abs(d) < edges[0]].sum()
        assert spread.between(edges).tolist() == [*negative[::-1], inner, *positive]
        assert spread.zero == values[d == 0].sum()
        assert spread.finite() == values.sum()
        assert (spread.nan, spread.infinite) == (0, 0)


def test_what_is_not_finite_is_counted_apart():
    found = Residuals([MSE])
    found.add(np.array([np.nan, np.inf, -np.inf, np.inf, 1, 0, -0.0, -np.nan, 5e-324]), np.array([0, 0, 0, np.inf, 3, 0, 0, 1, 0]))
    pairs = found.pairs
    assert (pairs.nan, pairs.infinite, pairs.zero, pairs.finite()) == (3, 2, 3, 4)
    assert found.losses[0].finite() == 4


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.uint8, np.float16, np.float32, np.bool_])
def test_every_dtype(dtype):
    found = Residuals([L1])
    found.add(np.array([1, 0, 1], dtype), np.array([0, 1, 1], dtype))
    assert found.pairs.between([0.5, 1, 2]).tolist() == [0, 1, 0, 1, 0, 1, 0]


def test_integers_are_subtracted_as_integers():
    found = Residuals([L1])
    found.add(np.array([2**60 + 1, 2**60, 2**60]), np.array([2**60, 2**60 + 1, 2**60]))
    assert found.pairs.between([1, 2]).tolist() == [0, 1, 1, 1, 0]


def test_what_does_not_count_is_not_looked_at():
    found = Residuals([MSE])
    values = np.array([np.nan, np.inf, 1.0])
    found.add(values, np.zeros(3), weight=np.array([0.0, 5, 2]), where=np.array([True, False, True]))
    assert (found.pairs.finite(), found.weights.finite(), found.losses[0].finite()) == (1, 2, 2)
    assert (found.pairs.nan, found.pairs.infinite) == (0, 0)


def test_many_chunks(rng, monkeypatch):
    monkeypatch.setattr(residuals, "_CHUNK", 100)
    d = wide(rng, 1001).reshape(7, 143)
    found, whole = Residuals([L1]), Residuals([L1])
    found.add(np.asfortranarray(d), np.zeros_like(d), weight=np.abs(d))
    monkeypatch.setattr(residuals, "_CHUNK", 10_000)
    whole.add(d, np.zeros_like(d), weight=np.abs(d))
    assert found.weights.by_size().tolist() == whole.weights.by_size().tolist()
    found.clear()
    assert found.pairs.finite() == 0


# --- the option -----------------------------------------------------------------------------------------------------


@pytest.fixture
def data(rng):
    """3000 rows as a table, as two tables with keys, and as arrays."""
    import pandas

    n = 3000
    x, y = rng.normal(size=(2, n))
    w, m = rng.random(n) * (rng.random(n) < 0.9), rng.random(n) < 0.7
    frame = pandas.DataFrame({"id": np.arange(n), "x": x, "y": y, "w": w, "m": m, "g": rng.integers(0, 3, n)})
    frame.to_csv("t.csv", index=False)
    frame[["id", "y"]][::-1].to_csv("u.csv", index=False)
    for name, values in {"x": x, "y": np.asfortranarray(y.reshape(60, 50)).reshape(60, 50), "w": w, "m": m}.items():
        np.save(f"{name}.npy", values.reshape(60, 50))
    return frame


TABLE = {"predictions": "x", "targets": "y", "table": ("t.csv",)}
ARRAYS = {"predictions": "x.npy", "targets": "y.npy"}
MODES = {
    "table": TABLE,
    "table, losses": TABLE | {"losses": (L1, MSE, HUBER)},
    "table, sum": TABLE | {"reduction": "sum"},
    "table, groups": TABLE | {"by": ("g",), "weight": "w", "where": "m"},
    "table, condition": TABLE | {"filter": "g > 0"},
    "table, float32": TABLE | {"dtype": "float32"},
    "table, losses of each pair": TABLE | {"reduction": "none", "weight": "w"},
    "table, gradient": TABLE | {"grad": "grad.npy", "where": "m"},
    "table, axis": TABLE | {"axis": (0,)},
    "columns": {"predictions": "t.csv:x", "targets": "u.csv:y"},
    "column and array": {"predictions": "t.csv:x", "targets": "flat.npy", "weight": "t.csv:w"},
    "keys": {"predictions": "t.csv:x", "targets": "u.csv:y", "on": ("id",)},
    "arrays": ARRAYS,
    "arrays, losses": ARRAYS | {"losses": (L1, MSE), "weight": "w.npy", "where": "m.npy"},
    "arrays, state": ARRAYS | {"state": "s.state", "out": "out.npy"},
    "arrays, axis": ARRAYS | {"axis": (0,), "weight": "w.npy"},
    "arrays, losses of each pair": ARRAYS | {"reduction": "none", "out": "out.npy", "grad": "grad.npy", "where": "m.npy"},
}


@pytest.mark.parametrize("mode", MODES)
def test_all_modes(data, monkeypatch, mode):
    """The picture is drawn of what is scored, and changes nothing about the result."""
    np.save("flat.npy", data.y)
    seen, draw = [], residual_picture.draw

    def note(*arguments):
        seen.extend(arguments)
        return draw(*arguments)

    monkeypatch.setattr(residual_picture, "draw", note)
    request = Request(plot="p.png", **MODES[mode])
    result, expected = score(request), score(Request(**MODES[mode]))
    assert [np.asarray(value).tobytes() for value in result.values] == [np.asarray(value).tobytes() for value in expected.values]
    assert Path("p.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")

    found, drawn_request, drawn_result = seen
    assert drawn_request is request
    assert drawn_result == result
    options = MODES[mode]
    x, y = data.x.to_numpy(), data.y.to_numpy()
    if mode == "columns":
        y = y[::-1]
    kept = data.g > 0 if "filter" in options else np.ones(len(x), bool)
    selection = {
        name: data[name[0] if name == "weight" else "m"].to_numpy()[kept] for name in ("weight", "where") if name in options
    }
    if "dtype" in options:
        x, y = x.astype(np.float32), y.astype(np.float32)
    direct = Residuals(options.get("losses", (LossSpec("smooth_l1", {"beta": 1.0}),)))
    direct.add(x[kept], y[kept], **selection)
    assert found.pairs.finite() == np.sum(result.count)
    assert found.is_weighted == ("weight" in options)
    for a, b in zip((found.pairs, *found.losses), (direct.pairs, *direct.losses), strict=True):
        np.testing.assert_allclose(a.by_size(), b.by_size(), rtol=1e-12)
        assert np.array_equal(a.by_size() != 0, b.by_size() != 0)
    np.testing.assert_allclose(found.weights.by_size(), direct.weights.by_size(), rtol=1e-12)


@pytest.mark.parametrize("policy", ["skip", "nan"])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_missing_values(monkeypatch, policy, reduction):
    Path("t.csv").write_text("x,y\n1,2\n,3\n4,NA\n5,5\n")
    seen = []
    monkeypatch.setattr(residual_picture, "draw", lambda *arguments: seen.extend(arguments) or b"")
    score(Request("x", "y", table=("t.csv",), missing=policy, reduction=reduction, plot="p.png"))
    assert (seen[0].pairs.finite(), seen[0].pairs.nan) == (2, {"skip": 0, "nan": 2}[policy])


def test_rows_that_are_read_again_count_once(monkeypatch):
    """Large integers are found out in the middle of a pass, which begins again."""
    Path("t.csv").write_text("x,y\n" + "1,2\n" * 500_000 + f"{2**60 + 1},{2**60}\n")
    seen = []
    monkeypatch.setattr(residual_picture, "draw", lambda *arguments: seen.extend(arguments) or b"")
    score(Request("x", "y", table=("t.csv",), plot="p.png"))
    assert seen[0].pairs.between([1, 2]).tolist() == [0, 500_000, 0, 1, 0]


@pytest.mark.parametrize("options", [{}, {"reduction": "none", "out": "out.npy"}])
def test_memory_does_not_grow_with_the_data(options):
    peaks = []
    for size in (3_000_000, 9_000_000):
        np.save("a.npy", np.zeros(size, np.float32))
        tracemalloc.start()
        score(Request("a.npy", "a.npy", (L1,), plot="p.png", **options))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert abs(peaks[1] - peaks[0]) < 3e6


def test_it_prints_what_is_printed_without_it(data):
    options = ["--reduction", "none", "--weight", "w"]
    printed = output_of("score", "t.csv", "x", "y", *options, cwd=Path())
    assert output_of("score", "t.csv", "x", "y", *options, "--plot", "p.png", cwd=Path()) == printed


def test_json_names_it(data):
    found = json.loads(output_of("score", "t.csv", "x", "y", "--json", "--plot", "p.png", cwd=Path()))
    assert found["plot"] == str(Path("p.png").absolute())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("p.pdf", "--plot: 'p.pdf' must end in .png"),
        ("no/p.png", "--plot: cannot write '{here}/no/p.png': No such file or directory"),
        ("link.png", "--plot: 'link.png' is the input file 't.csv', which would be lost"),
    ],
)
def test_refusals(data, tmp_path, name, message):
    Path("link.png").hardlink_to("t.csv")
    before = Path("t.csv").read_bytes()
    assert error_of("score", "t.csv", "x", "y", "--plot", name, cwd=tmp_path) == message.format(here=tmp_path.resolve())
    assert Path("t.csv").read_bytes() == before


def test_an_error_leaves_the_old_picture(data, tmp_path):
    Path("p.png").write_bytes(b"old")
    Path("bad.csv").write_text("x,y\n1,2\n3,word\n")
    assert "word" in error_of("score", "bad.csv", "x", "y", "--plot", "p.png", cwd=tmp_path)
    assert Path("p.png").read_bytes() == b"old"


def test_without_matplotlib_it_is_refused_before_any_work(tmp_path):
    missing = "sys.modules['matplotlib'] = None"
    said = refusal(run_after(missing, "score", "no-such.csv", "x", "y", "--plot", "p.png", cwd=tmp_path))
    assert said == "the command line needs the package matplotlib: pip install 'cylosses[plot]'"
    assert not Path("p.png").exists()


# --- the picture ----------------------------------------------------------------------------------------------------


def figure_of(d, *losses, weight=None, table=(), values=None, monkeypatch):
    """The figure that is drawn for residuals."""
    d = np.asarray(d, float)
    losses = losses or (L1, MSE, HUBER)
    found = Residuals(losses)
    found.add(d, np.zeros_like(d), weight=weight)
    request = Request("predictions.npy", "targets.npy", losses, table=table)
    values = [np.float64(0.1)] * len(losses) if values is None else values
    monkeypatch.setattr(residual_picture, "as_png", lambda figure: figure)
    return residual_picture.draw(found, request, Score(values, "float64", d.shape, len(d)))


def texts_of(figure):
    return [text.get_text() for panel in figure.axes for text in panel.texts]


def legend_of(figure):
    return [text.get_text() for panel in figure.axes if panel.get_legend() for text in panel.get_legend().get_texts()]


def bars_of(figure):
    return [bar for bar in figure.axes[0].patches if bar.get_height() > 0]


def cases():
    rng = np.random.default_rng(5)
    normal, sign = rng.normal(size=5000), rng.choice([-1.0, 1.0], 5000)
    yield "normal", normal
    yield "outliers", np.where(rng.random(5000) < 0.005, 1e4, 1) * normal
    yield "many outliers", np.where(rng.random(5000) < 0.1, 1e4, 1) * normal
    for power in range(5):  # each with other ticks beside 0
        yield f"outliers of 1e{power + 3}", np.where(rng.random(5000) < 0.1, 10.0 ** (power + 3), 1) * normal
    yield "heavy tails", rng.standard_t(2, 5000)
    yield "all sizes", normal * 10.0 ** rng.integers(-300, 300, 5000)
    yield "biased", 1e6 + normal
    yield "integers", np.round(3 * normal)
    yield "small", 1e-7 * normal
    yield "large", 3e9 * normal
    yield "largest", sign * np.finfo(float).max * rng.random(5000)
    yield "the largest", [np.finfo(float).max]
    yield "least", sign * 1e-306 * rng.random(5000)
    yield "subnormal", sign * 1e-310 * rng.random(5000)
    yield "zeros", np.zeros(10)
    yield "mostly zeros", np.where(rng.random(5000) < 0.95, 0, normal)
    yield "one", [0.5]
    yield "one negative", [-3e20]
    yield "equal", np.full(100, 7.0)
    yield "two", [1e-300, 1e300]
    yield "none", []
    yield "NaN alone", [np.nan]
    yield "infinite alone", [np.inf, -np.inf]
    yield "not finite", [np.nan, np.inf, *normal]


CASES = dict(cases())


@pytest.mark.parametrize("case", CASES)
def test_pictures(monkeypatch, case):
    """Pictures of all kinds of data: all of it is in them, and no text covers another one."""
    d = np.asarray(CASES[case], float)
    assert_picture_is_right(figure_of(d, monkeypatch=monkeypatch), d)


@pytest.mark.parametrize("weight", [1e-313, 1e308])
def test_pictures_with_extreme_weights(monkeypatch, weight):
    d = CASES["mostly zeros"]
    assert_picture_is_right(figure_of(d, weight=np.full(len(d), weight), monkeypatch=monkeypatch), d)


def assert_picture_is_right(figure, d):
    figure.draw_without_rendering()
    if np.isfinite(d).any():
        assert sum(bar.get_height() for bar in bars_of(figure)) == pytest.approx(100)
        low, high = figure.axes[0].get_xlim()
        assert all(low <= bar.get_x() and bar.get_x() + bar.get_width() <= high for bar in bars_of(figure))
    for curve in figure.axes[1].get_lines():
        heights = curve.get_ydata()
        assert not len(heights) or ((np.diff(heights) >= 0).all() and heights[-1] == pytest.approx(100))
    assert_texts_are_apart(figure)


def assert_texts_are_apart(figure):
    """Check that no two texts of a figure overlap, and none leaves it."""
    texts = [figure._suptitle, *itertools.chain.from_iterable(texts_in(panel) for panel in figure.axes)]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    for text, box in boxes:
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text
    for (first, a), (second, b) in itertools.combinations(boxes, 2):
        assert not a.overlaps(b), (first, second)


def texts_in(panel):
    yield from (panel.title, panel.xaxis.label, panel.yaxis.label, *panel.texts)
    for axis, (low, high) in ((panel.xaxis, panel.get_xlim()), (panel.yaxis, panel.get_ylim())):
        yield from (label for place, label in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True) if low <= place <= high)
    if panel.get_legend() is not None:
        yield from panel.get_legend().get_texts()


def test_bars_are_the_data(monkeypatch):
    """Integers are in the middle of bars, one a number, negative and positive alike."""
    d = np.repeat(np.arange(-20.0, 21), 100 * np.arange(1, 42))
    bars = {bar.get_x() + bar.get_width() / 2: bar.get_height() for bar in bars_of(figure_of(d, monkeypatch=monkeypatch))}
    assert {round(x) for x in bars} >= {-20, 20}
    for k in range(-20, 21):
        at = [height for x, height in bars.items() if abs(x - k) < 0.5]
        assert sum(at) == pytest.approx(100 * 100 * (k + 21) / len(d))


def test_few_outliers_are_counted_at_the_ends(monkeypatch, rng):
    d = np.concatenate([rng.uniform(-1, 1, 10_000), [50.0, 60.0, 70.0, -1000.0]])
    figure = figure_of(d, monkeypatch=monkeypatch)
    assert figure.axes[0].get_xlim()[1] < 4
    bars = bars_of(figure)
    ends = sorted(bars, key=lambda bar: bar.get_x())
    assert [bar.get_height() for bar in (ends[0], ends[-1])] == pytest.approx([100 / len(d), 300 / len(d)])
    assert "beyond the axis: 0.04 %" in texts_of(figure)
    assert any(text.startswith("negative: ") and text.endswith("to −1,000") for text in texts_of(figure))


def test_many_outliers_get_a_logarithmic_axis(monkeypatch):
    figure = figure_of(CASES["many outliers"], monkeypatch=monkeypatch)
    assert "logarithmic" in figure.axes[0].get_xlabel()
    assert "logarithmic" not in figure_of(CASES["heavy tails"], monkeypatch=monkeypatch).axes[0].get_xlabel()


def test_shares_of_losses(monkeypatch):
    """Of 9 residuals of 1 and one of 3, half of the pairs' squares are from the one: 9 of 18."""
    figure = figure_of([1, -1] * 4 + [1, -3], L1, MSE, monkeypatch=monkeypatch)
    curves = {line.get_label().partition("\n")[0]: line for line in figure.axes[1].get_lines()}
    shares = {name: float(np.interp(2, line.get_xdata(), line.get_ydata())) for name, line in curves.items()}
    assert shares == pytest.approx({"pairs": 90, "l1": 75, "mse": 50})
    assert legend_of(figure)[1] == "l1\nhalf of it from 1 on: 100 % of pairs"
    figure = figure_of([1, -1] * 4 + [1, -4], MSE, monkeypatch=monkeypatch)
    assert legend_of(figure) == ["pairs", "mse\nhalf of it from 4 on: 10 % of pairs"]


def test_weights_are_shares(monkeypatch):
    figure = figure_of([1.0, -2.0], L1, weight=np.array([3.0, 1.0]), monkeypatch=monkeypatch)
    assert sorted(bar.get_height() for bar in bars_of(figure)) == [25, 75]
    assert figure.axes[0].get_ylabel() == "% of weight"
    assert legend_of(figure) == ["weight", "l1\nhalf of it from 1 on: 100 % of weight"]


def test_what_has_no_bar_is_said(monkeypatch):
    texts = texts_of(figure_of([np.nan, np.nan, np.inf, 0, 1], monkeypatch=monkeypatch))
    assert {"NaN: 2 pairs", "infinite: 1 pair", "exactly 0: 1 pair", "half within ±0", "99 % within ±1"} <= set(texts)
    assert texts_of(figure_of([], monkeypatch=monkeypatch)) == ["no pairs"] * 2
    assert texts_of(figure_of([np.nan], monkeypatch=monkeypatch)) == ["no finite residuals", "NaN: 1 pair", "no finite residuals"]
    assert texts_of(figure_of([0, 0], monkeypatch=monkeypatch)) == ["exactly 0: 2 pairs", "all residuals are 0"]
    shown = next(text for text in texts_of(figure_of([0.0] * 19 + [1], monkeypatch=monkeypatch)) if text.startswith("0: "))
    assert shown == "0: 95 %"


def test_losses_without_shares_are_said(monkeypatch):
    (spec,) = parse_losses(["epsilon_insensitive:epsilon=10"], {})
    figure = figure_of([1e200, 2e200], MSE, spec, monkeypatch=monkeypatch)
    assert legend_of(figure)[1] == "mse: beyond float64"
    figure = figure_of([1, 2], MSE, spec, monkeypatch=monkeypatch)
    assert legend_of(figure)[2] == "epsilon_insensitive:epsilon=10: all 0"


def test_the_heading(monkeypatch):
    figure = figure_of([1.0, 2], MSE, L1, values=[np.float64(2.5), np.float64(1.5)], monkeypatch=monkeypatch)
    first, second, third = figure.get_suptitle().splitlines()
    assert (first, second) == ("predictions.npy against targets.npy", "2 pairs")
    assert third.replace("\N{NO-BREAK SPACE}", " ") == "mean loss: mse 2.5; l1 1.5"
    figure = figure_of([1.0], table=("part-1.csv", "part-2.csv"), monkeypatch=monkeypatch)
    assert figure.get_suptitle().splitlines()[:2] == ["part-1.csv and 1 more: predictions.npy against targets.npy", "1 pair"]


@pytest.mark.parametrize("name", ["$x_1$ _{^ \\frac.csv", "数据.csv", "a\nb\tc.csv", "x" * 300 + ".csv", "bad\udcff.csv"])
def test_any_name_of_a_file(monkeypatch, name):
    figure = figure_of([1.0, 2.0], table=(name,), monkeypatch=monkeypatch)
    monkeypatch.undo()
    assert len(figure.get_suptitle().splitlines()[0]) < 120
    assert residual_picture.as_png(figure).startswith(b"\x89PNG")


def test_every_loss_and_many_of_them(monkeypatch, rng):
    losses = parse_losses([*LOSSES, *(f"huber:delta={k}" for k in range(2, 12))], {})
    figure = figure_of(rng.normal(size=1000), *losses, monkeypatch=monkeypatch)
    assert legend_of(figure) == ["pairs", *(spec.text for spec in losses)]
    figure.draw_without_rendering()
    assert_texts_are_apart(figure)
    styles = {(line.get_color(), line.get_linestyle()) for line in figure.axes[1].get_lines()}
    assert len(styles) == len(losses) + 1


@pytest.mark.parametrize("values", [[np.array([1.0, 3.0, math.nan])], [np.array([])], [np.array([[1.0, 2.0]])]])
def test_values_of_slices(monkeypatch, values):
    assert "mean" in figure_of([1.0], L1, values=values, monkeypatch=monkeypatch).get_suptitle()


def test_settings_of_the_user_do_not_matter(tmp_path):
    Path("t.csv").write_text("x,y\n1,2\n")
    Path("matplotlibrc").write_text("text.usetex: True\nfigure.dpi: 7\n")
    assert output_of("score", "t.csv", "x", "y", "--plot", "p.png", cwd=tmp_path) == "0.5\n"
    mine = Path("p.png").read_bytes()
    Path("matplotlibrc").unlink()
    run("score", "t.csv", "x", "y", "--plot", "p.png", cwd=tmp_path)
    assert Path("p.png").read_bytes() == mine
