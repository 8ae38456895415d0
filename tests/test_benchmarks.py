"""The logic of the benchmarks, on figures that are made up or of tiny runs: what is kept, compared and printed, never times."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import cylosses
from benchmarks import suite
from benchmarks.c_level import __main__ as c_level
from benchmarks.measure import bandwidth, growth, harness, import_time, public_calls, rows, slice_rows
from benchmarks.measure.harness import Subject, Timing
from benchmarks.measure.record import OtherRunError, Record
from benchmarks.measure.slices import SLICE_WORKS, Layout, make_slices, slices_subject
from benchmarks.measure.works import WORKS, Case, make_data, normal
from benchmarks.peers import PEERS, Peer
from benchmarks.peers.exact import MathFsum
from benchmarks.peers.numba_slices import slice_call, slice_loop
from benchmarks.peers.plain_numpy import PlainNumPy
from benchmarks.report import document, goals, short_table
from benchmarks.report.document import report

pytestmark = pytest.mark.source_tree

ROOT = Path(__file__).parents[1]
OTHER_PEERS = [cls.name for cls in PEERS if cls not in (PlainNumPy, MathFsum)]


# ---- the record of a run ---------------------------------------------------------------------------------------------------------


def test_every_row_is_on_disk_at_once(tmp_path):
    path = tmp_path / "new" / "run.json"
    record = Record(path, {"machine": "a"})
    for k in range(3):
        record.add("rows", {"name": str(k)})
        assert [row["name"] for row in json.loads(path.read_text())["rows"]] == [str(j) for j in range(k + 1)]
    assert list(path.parent.iterdir()) == [path]


def test_an_interrupted_save_leaves_the_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    record = Record(path, {})
    record.add("rows", {"name": "first"})
    before = path.read_text()
    original = Path.write_text

    def half_written(self, text, *args, **kwargs):
        original(self, text[: len(text) // 2], *args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", half_written)
    with pytest.raises(KeyboardInterrupt):
        record.add("rows", {"name": "second"})
    assert path.read_text() == before


def test_resume_takes_rows_over(tmp_path):
    path = tmp_path / "run.json"
    Record(path, {"sizes": (1, 2)}).add("rows", {"name": "first", "size": 1})
    record = Record(path, {"sizes": (1, 2)}, resume=True)
    assert record.find("rows", name="first", size=1) == {"name": "first", "size": 1}
    assert record.find("rows", name="first", size=2) is None
    assert record.figures["pieces"] == 2


def test_without_resume_a_run_begins_anew(tmp_path):
    path = tmp_path / "run.json"
    Record(path, {}).add("rows", {"name": "first"})
    assert Record(path, {}).rows("rows") == []


def test_a_refusal_names_the_value_that_differs(tmp_path):
    path = tmp_path / "run.json"
    Record(path, {"machine": {"cpu": "a", "versions": {"numpy": "1", "torch": "2"}}}).save()
    with pytest.raises(OtherRunError, match=r"another run \(machine, versions, torch: '2' there, '3' here\)$"):
        Record(path, {"machine": {"cpu": "a", "versions": {"numpy": "1", "torch": "3"}}}, resume=True)


@pytest.mark.parametrize("other", [{"machine": "b", "seconds": 1}, {"machine": "a"}, {"machine": "a", "seconds": 2, "new": 1}])
def test_resume_refuses_another_run(tmp_path, other):
    path = tmp_path / "run.json"
    Record(path, {"machine": "a", "seconds": 2}).add("rows", {"name": "first"})
    before = path.read_text()
    with pytest.raises(OtherRunError, match="of another run") as caught:
        Record(path, other, resume=True)
    for key in other.keys() | {"machine", "seconds"}:
        assert (f"{key}: " in str(caught.value)) == (other.get(key) != {"machine": "a", "seconds": 2}.get(key))
    assert path.read_text() == before


# ---- the suite -------------------------------------------------------------------------------------------------------------------


def shrunk(layout):
    """A layout of a few elements; layouts that differ stay different."""

    def small(shape):
        return tuple(length if length <= 16 else 5 + length % 13 for length in shape)

    return replace(layout, shape=small(layout.shape), target_shape=layout.target_shape and small(layout.target_shape))


@pytest.fixture
def tiny(monkeypatch, keep_num_threads, recwarn):
    """Sizes and times of a run of a second or two."""
    monkeypatch.setattr(rows, "SIZES", (16, 40_000))
    monkeypatch.setattr(rows, "OTHER_SIZES", (16,))
    monkeypatch.setattr(rows, "CACHED_SIZES", (64, 40_000))
    monkeypatch.setattr(rows, "EXACT_SIZES", (64, 40_000))
    monkeypatch.setattr(
        slice_rows, "MAIN_PLAN", {work: tuple(map(shrunk, layouts)) for work, layouts in slice_rows.MAIN_PLAN.items()}
    )
    monkeypatch.setattr(slice_rows, "WIDELY_TIMED", ("huber",))
    for name in ("LAYOUTS", "OTHER_LAYOUTS"):
        monkeypatch.setattr(slice_rows, name, tuple(map(shrunk, getattr(slice_rows, name))))
    monkeypatch.setattr(growth, "SIZES", (16, 64))
    monkeypatch.setattr(bandwidth, "BANDWIDTH_ELEMENTS", 1000)
    monkeypatch.setattr(harness, "MOST_ROUNDS", 3)
    monkeypatch.setattr(harness, "SHORTEST_TIMING", 1e-5)
    monkeypatch.setattr(harness, "SETTLE", 1e-5)
    monkeypatch.setattr(harness, "PAUSE", 0)
    monkeypatch.setattr(
        import_time, "run", lambda rounds: {"rounds": rounds, "numpy": 0.1, "cylosses": 0.01, "cylosses_best": 0.01}
    )

    def run(path, *options):
        return suite.main(["--threads", "2", "--seconds-per-row", "1e-4", "--json", str(path), "--without", *OTHER_PEERS, *options])

    return run


def test_an_interrupted_suite_is_continued(tiny, tmp_path, monkeypatch, capsys):
    path, only = tmp_path / "suite.json", ("--only", "smooth_l1/*/float32/16/*", "l1/mean/float32/40000/")
    planned = [row.name for row in rows.plan(2, only=only[1:])]
    timed = []
    original = rows.run

    def stop_after_three(row, *args):
        if len(timed) == 3:
            raise KeyboardInterrupt
        timed.append(row.name)
        return original(row, *args)

    monkeypatch.setattr(rows, "run", stop_after_three)
    with pytest.raises(KeyboardInterrupt):
        tiny(path, *only)
    kept = json.loads(path.read_text())["rows"]
    assert [row["name"] for row in kept] == planned[:3]
    monkeypatch.setattr(rows, "run", lambda row, *args: timed.append(row.name) or original(row, *args))
    assert tiny(path, *only, "--resume") == 0
    figures = json.loads(path.read_text())
    assert timed == planned
    assert [row["name"] for row in figures["rows"]] == planned
    assert figures["rows"][:3] == kept
    assert tiny(path, *only, "--resume") == 0
    assert timed == planned
    assert tiny(path, *only, "--resume", "--quick") == 2
    assert "quick: False there, True here" in capsys.readouterr().out


def test_disturbed_rows_are_timed_again(tiny, tmp_path, monkeypatch):
    path, only = tmp_path / "suite.json", ("--only", "l1/mean/float32/16/2")
    monkeypatch.setattr(Timing, "disturbed", False)
    assert tiny(path, *only) == 0
    figures = json.loads(path.read_text())
    kept = [row["name"] for row in figures["rows"]]
    assert len(kept) == 2
    figures["rows"][0]["subjects"]["cylosses"]["disturbed"] = True
    figures["rows"][1]["subjects"]["numpy"]["disturbed"] = True  # a peer's alone is not what the row is about
    path.write_text(json.dumps(figures))
    assert tiny(path, *only, "--redo-disturbed") == 0
    again = json.loads(path.read_text())["rows"]
    assert [row["name"] for row in again] == kept[::-1]
    assert again[0] == figures["rows"][1]
    assert not again[1]["subjects"]["cylosses"]["disturbed"]


def test_a_whole_run_makes_a_report(tiny, tmp_path):
    path = tmp_path / "suite.json"
    assert tiny(path) == 0
    figures = json.loads(path.read_text())
    assert [row["name"] for row in figures["rows"]] == [row.name for row in rows.plan(2)]
    assert [row["name"] for row in figures["slices"]] == [row.name for row in slice_rows.plan(2)]
    assert not [row for part in ("rows", "slices") for row in figures[part] if "missing" in row]
    assert "notes" not in figures  # no peer was left out
    assert all(("numpy" in row["subjects"]) == (Case(row["loss"]).formula is not None) for row in figures["slices"])
    assert {(row["work"], row["threads"], row["size"]) for row in figures["growth"]} == {
        (work, threads, size) for work in growth.WORK_NAMES for threads in (1, 2) for size in growth.SIZES
    }
    text = report(figures, None, tmp_path / "plots")
    sections = [line for line in text.splitlines() if line.startswith("## ")]
    assert sections == [f"## {title}" for title in (
        "Goals", "Machine", "Peers", "Against floors and peers", "Slices", "Roofline", "Small public calls", "Import", "Growth",
    )]  # fmt: skip
    assert text.index("| work") < text.index("## Goals")
    pictures = {picture.name for picture in (tmp_path / "plots").iterdir()}
    assert pictures == {"growth.png", "roofline.png", *(f"smooth_l1_{work}.png" for work in short_table.SHORT_WORKS)}
    assert all(f"(plots/{name})" in text for name in pictures)


def test_an_interrupted_run_of_the_loops_is_continued(tmp_path, monkeypatch):
    path, timed = tmp_path / "c_level.json", []

    def measure(driver, builds, head, subjects, moved, rounds):
        if len(timed) == 3:
            raise KeyboardInterrupt
        timed.append(head)
        return [{"build": build, **head} for build in builds]

    monkeypatch.setattr(c_level, "jobs", lambda *args: ({}, 0))
    monkeypatch.setattr(c_level, "print_row", lambda row: None)
    options = c_level.arguments(["--losses", "l1", "mse", "--sizes", "16", "100000", "--dtypes", "float32", "--threads", "1", "2"])
    for resume in (False, True):
        monkeypatch.setattr(c_level, "measure", measure)
        with pytest.raises(KeyboardInterrupt):
            c_level.run(options, None, {"v2": None, "capi": None}, Record(path, {}, resume=resume))
        found = json.loads(path.read_text())["rows"]
        timed = timed[-1:]  # room for two more
    assert len(found) == 2 * (3 + 2)
    assert len({(row["build"], row["loss"], row["work"], row["size"], row["threads"]) for row in found}) == len(found)


def test_rows_of_one_size_and_dtype_stand_together():
    planned = list(rows.plan(2))
    assert len(set(planned)) == len(planned)
    main = [row for row in planned if row.loss == rows.MAIN_LOSS]
    assert {row.work for row in main} == {name for name, work in WORKS.items() if not work.exact}
    assert {row.work for row in planned} == set(WORKS)
    assert {row.loss for row in planned} == set(cylosses.LOSSES)
    keys = [(row.dtype, row.size) for row in main]
    assert keys == sorted(keys)
    assert {row.threads for row in main if row.size >= rows.WORTH_THREADS} == {1, 2}


def test_works_of_one_size_share_their_operands():
    mean, gradient = (make_data(WORKS[name], "float32", 1000) for name in ("mean", "grad"))
    assert mean.input is gradient.input
    assert mean.target is gradient.target
    assert normal(0, "float32", 1000) is mean.input
    assert not np.shares_memory(gradient.outputs[0], mean.input)


def test_a_copy_stands_beside_the_floor_of_what_writes():
    row = rows.run(rows.Row("smooth_l1", "none", "float32", 16, 1), [], 1e-4, 1, print)
    kinds = [subject["kind"] for subject in row["subjects"].values()]
    assert kinds == ["floor", "cylosses", "reference"]


class Clock:
    """Stands in for `time`: it only moves when something is timed or sleeps."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def test_slow_peers_take_no_rounds_from_the_others(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(harness, "time", clock)
    costs = {"floor": 0.1, "cylosses": 0.1, "close": 0.35, "slow": 5.0}

    def timer(cost):
        def run(n):
            clock.now += n * cost
            return n * cost

        return run

    def rounds(names, seconds):
        timings = [Timing(Subject(name, print), 1) for name in names]
        harness._take_turns(timings, [timer(costs[name]) for name in names], [costs[name] for name in names], seconds)
        return {timing.subject.name: len(timing.times) for timing in timings}

    without = rounds(["floor", "cylosses", "close"], 2.0)
    assert len(set(without.values())) == 1
    assert harness.FEWEST_ROUNDS < without["floor"] < harness.MOST_ROUNDS
    assert rounds(list(costs), 2.0) == {**without, "slow": harness.SLOW_ROUNDS}


# ---- reductions along an axis, and exact sums ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        (Layout((1_000_000, 4), (1,)), "(1M,4) axis 1"),
        (Layout((64, 64, 1000), (0, 1)), "(64,64,1k) axis (0,1)"),
        (Layout((4, 1_000_000), (0,), "F"), "(4,1M) Fortran axis 0"),
        (Layout((500_000, 4), (1,), target_shape=(500_000, 1)), "(500k,4) target (500k,1)"),
    ],
)
def test_names_of_layouts(layout, name):
    assert layout.name == name
    assert slice_rows.SliceRow("l1", "mean", "float64", layout.size, 2, layout).name == f"l1/mean/float64/{name}/2"


def test_rows_along_an_axis():
    planned = list(slice_rows.plan(2))
    names = [row.name for row in planned]
    assert len(set(names)) == len(names)
    assert {row.work for row in planned} == set(SLICE_WORKS)
    assert {row.loss for row in planned} == set(cylosses.LOSSES)
    quick = {row.name for row in slice_rows.plan(2, quick=True)}
    assert quick < set(names)
    assert {(row.loss, row.dtype) for row in slice_rows.plan(2, quick=True)} == {("smooth_l1", "float32")}
    assert not any(row.name in names for row in rows.plan(2))


def test_several_patterns():
    def asked(*only):
        return {row.work for row in slice_rows.plan(2, only=only)} | {row.work for row in rows.plan(2, only=only)}

    assert asked(" axis ", "target_grad") == set(SLICE_WORKS)
    assert asked(" axis ") == set(SLICE_WORKS) - {"target_grad"}
    assert asked("exact_sum") == {"exact_sum"}
    assert asked("nothing") == set()


def test_no_row_along_an_axis_has_a_size_of_the_command_line(tiny, tmp_path):
    path = tmp_path / "suite.json"
    assert tiny(path, "--only", "l1/mean/float32", "--sizes", "16") == 0
    figures = json.loads(path.read_text())
    assert figures["rows"]
    assert not figures["slices"]


def test_rows_along_an_axis_alone_make_a_report(tiny, tmp_path):
    path = tmp_path / "suite.json"
    assert tiny(path, "--only", "smooth_l1/*/float32/* axis *") == 0
    figures = json.loads(path.read_text())
    assert not figures["rows"]
    assert len(figures["slices"]) == len(list(slice_rows.plan(2, only=["smooth_l1/*/float32/* axis *"])))
    text = report(figures, None, tmp_path / "plots")
    table = text[text.index("### `mean` over `axis`\n") :].split("\n\n")[2]
    assert [cell[1] for cell in cells(table)] == [layout.name for layout in slice_rows.MAIN_PLAN["mean"]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", [*slice_rows.MAIN_PLAN["mean"], Layout((3, 4, 5), (0,), "F")], ids=lambda layout: layout.name)
def test_blocks_are_reduced_along_their_second_axis(layout, dtype):
    layout = shrunk(layout)
    data = make_slices(SLICE_WORKS["weighted_mean"], dtype, layout)
    blocks = [layout.blocks(array) for array in (data.input, data.target, data.weight)]
    assert all(block.flags.c_contiguous and np.shares_memory(block, data.memory[k]) for k, block in enumerate(blocks))
    assert {array.dtype.name for array in data.memory} == {dtype}
    expected = data.input.sum(data.axis)
    assert expected.shape == layout.result_shape
    np.testing.assert_allclose(np.sort(blocks[0].sum(1), axis=None), np.sort(expected, axis=None), rtol=1e-4, atol=1e-6)
    assert data.bytes_moved == (3 * layout.size + expected.size) * np.dtype(dtype).itemsize


@pytest.mark.filterwarnings("ignore::cylosses.BroadcastWarning")
@pytest.mark.parametrize("threads", [1, 2, 100])
@pytest.mark.parametrize(
    ("work", "layout"),
    [(work, layout) for work, layouts in slice_rows.MAIN_PLAN.items() for layout in layouts],
    ids=lambda value: getattr(value, "name", value),
)
def test_hand_written_loops_do_what_the_library_does(work, layout, threads):
    layout = shrunk(layout)
    data, case = make_slices(SLICE_WORKS[work], "float64", layout), Case("smooth_l1")
    ours = slices_subject(case, SLICE_WORKS[work], data).call()
    ours = [part.copy() for part in (ours if isinstance(ours, tuple) else (ours,))]
    found = slice_call(SLICE_WORKS[work], data, threads)
    if found is None:  # too few rows for so many threads
        assert threads > layout.result_shape[0]
        return
    for output in data.outputs:
        output.fill(np.nan)
    name, arguments = found
    value, gradient = (lambda d, p: min(abs(d), 1) * (abs(d) - min(abs(d), 1) / 2)), (lambda d, p: max(-1.0, min(d, 1.0)))
    theirs = slice_loop(name, range, value, gradient)(*arguments, 1.0)
    for mine, other in zip(ours, theirs if isinstance(theirs, tuple) else (theirs,), strict=True):
        assert mine.shape == other.shape
        np.testing.assert_allclose(other, mine, rtol=1e-12)


def test_every_loop_is_some_layouts():
    names = {
        slice_call(SLICE_WORKS[work], make_slices(SLICE_WORKS[work], "float32", shrunk(layout)), 2)[0]
        for work, layouts in slice_rows.MAIN_PLAN.items()
        for layout in layouts
    }
    assert names == {"rows_mean", "rows_weighted_mean", "rows_grad", "rows_weighted_grad", "rows_value_and_grad", "target_grad",
                     "whole_mean", "chunks_mean", "chunks_weighted_mean", "strips_mean"}  # fmt: skip


class Wrong(Peer):
    """A peer whose results are those of the library, but for what `change` makes of them."""

    name = "wrong"
    exact = True

    def __init__(self, change):
        self.change = change

    def set_threads(self, threads):
        pass

    def subjects(self, case, work, data, threads):
        ours = rows.cylosses_subject(case, work, data)
        return [Subject(self.name, lambda: self.change(ours.call()))]

    def slice_subjects(self, case, work, data, threads):
        ours = slices_subject(case, work, data)
        return [Subject(self.name, lambda: self.change(ours.call()))]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda means: means, None),
        (lambda means: means[:, None], r"the shape \(7, 1\) where the library returns \(7,\)"),
        (lambda means: np.concatenate([means[:-1], [9.0]]), "returns 9 where"),
    ],
)
def test_a_peer_that_does_other_work_along_an_axis_is_left_out(change, reason, keep_num_threads):
    row, notes = slice_rows.SliceRow("mse", "mean", "float32", 28, 1, Layout((7, 4), (1,))), []
    found = rows.run(row, [Wrong(change)], 1e-4, 1, notes.append)
    assert ("wrong" in found["subjects"]) == (reason is None)
    assert len(notes) == (reason is not None)
    assert not reason or re.search(reason, notes[0])


@pytest.mark.parametrize(("change", "notes"), [(lambda total: total, 0), (lambda total: np.nextafter(total, np.inf), 1)])
def test_exact_sums_have_the_same_bits(change, notes, keep_num_threads):
    row, found = rows.Row("l1", "exact_sum", "float64", 1000, 1), []
    subjects = rows.run(row, [Wrong(change), MathFsum(), PlainNumPy()], 1e-4, 1, found.append)["subjects"]
    assert len(found) == notes
    assert "math.fsum" in subjects
    assert "numpy" not in subjects  # its sums are not exact
    data = row.data()
    assert row.ours(Case("l1"), data).call() == math.fsum(data.input)


def test_peers_that_sum_exactly_do_nothing_else():
    data = make_data(WORKS["mean"], "float64", 16)
    assert all(not MathFsum().subjects(Case("l1"), work, data, 1) for work in WORKS.values() if not work.exact)


# ---- public calls ----------------------------------------------------------------------------------------------------------------


def test_peers_through_lists_and_strides_return_what_arrays_do(keep_num_threads):
    subjects = {subject.name: subject for subject in public_calls._door_row([PlainNumPy()])}
    value = float(subjects["arrays"].call())
    assert subjects["numpy, arrays"].call() == pytest.approx(value, rel=1e-6)
    assert subjects["numpy, list"].call() == pytest.approx(value, rel=1e-6)
    assert subjects["numpy, strided"].call() == pytest.approx(float(subjects["strided"].call()), rel=1e-6)
    assert not make_data(WORKS["strided_mean"], "float32", 16).input.flags.contiguous


@pytest.mark.filterwarnings("ignore::cylosses.BroadcastWarning")
def test_calls_of_one_row_differ_in_one_argument():
    subjects = {subject.name: subject for subject in public_calls._cost_row([])}
    value = subjects["plain mean"].call()
    assert subjects["value_and_grad"].call()[0] == value
    for name in ("keepdims=True", "n_threads=np.int64(1)", "two lists"):
        assert np.asarray(subjects[name].call()).item() == pytest.approx(value, rel=1e-6)
    assert len({subject.call().dtype for name, subject in subjects.items() if name.startswith("(4, 4)")}) == 1
    timings = harness.measure([subjects["plain mean"], *subjects.values()], 0.0)
    assert all(timing.times for timing in timings)


# ---- goals -----------------------------------------------------------------------------------------------------------------------


def made_up_row(name, ours, others, floor="dot", **more):
    """A row with steady times; `others` maps peers to seconds, the floor takes 1."""
    loss, work, dtype, place, threads = name.split("/")

    def subject(kind, seconds):
        return {"kind": kind, "best": seconds, "times": [seconds] * 3, "disturbed": False, **more}

    subjects = {floor: subject("floor", 1.0), "cylosses": subject("cylosses", ours)}
    subjects |= {peer: subject("peer", seconds) for peer, seconds in others.items()}
    return {
        "name": name, "loss": loss, "work": work, "dtype": dtype, "threads": int(threads), "floor": floor, "subjects": subjects,
        **({"size": int(place)} if place.isdigit() else {"size": 1, "layout": place}),
    }  # fmt: skip


def made_up_run(found, build="x86-64-v4", **parts):
    """The figures of a run with these rows."""
    return {
        "run": {"machine": {"cylosses": {"instruction set": build}}},
        "rows": [row for row in found if "layout" not in row],
        "slices": [row for row in found if "layout" in row],
        **parts,
    }


def cells(table):
    """The cells of a Markdown table, without its head."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_goals_are_about_what_a_whole_run_times():
    names = {row.name for row in (*rows.plan(2), *slice_rows.plan(2))}
    assert {goal.row_name(2) for goal in goals.RATIO_GOALS} <= names
    assert len({goal.row_name(2) for goal in goals.RATIO_GOALS}) == len(goals.RATIO_GOALS)
    assert {goal.row for goal in goals.CALL_GOALS} == {f"{work} of {size}" for work, size in public_calls.PEER_ROWS}
    assert {goal.loss for goal in goals.RATIO_GOALS} == set(cylosses.LOSSES)


def test_goals_not_measured_are_neither_met_nor_missed():
    found = cells(goals.goals_table({}, 2))
    assert len(found) == len(goals.RATIO_GOALS) + len(goals.CALL_GOALS) + len(goals.PEER_GOALS) + 1
    assert {line[2] for line in found} == {goals.NOT_MEASURED}
    assert {line[4] for line in found} == {"-"}


@pytest.mark.parametrize(("factor", "word"), [(0.99, "met"), (1.0, "met"), (1.01, "missed")])
def test_goals_met_and_missed(factor, word):
    figures = made_up_run(
        [
            made_up_row(
                goal.row_name(2),
                factor * goal.most * (10 if goal.against else 1),
                {f"{goal.against or 'numba'} by hand": 10.0, "numpy": 100.0},
            )
            for goal in goals.RATIO_GOALS
        ],
        public=[{"name": goal.row, "subjects": {"cylosses": {"best": factor * goal.most}}} for goal in goals.CALL_GOALS],
        **{"import": {"cylosses": factor * goals.MOST_SECONDS_TO_IMPORT}},
    )
    lines = cells(goals.goals_table(figures, 2))
    others = len(goals.PEER_GOALS)
    assert [line[4] for line in lines[:-others]] == [word] * (len(lines) - others)
    assert lines[0][1] == "≤ 1.10 × dot"
    assert lines[-others - len(goals.CALL_GOALS) - 2][1] == "≤ 0.33 × xsum by hand"


def test_a_build_may_be_allowed_more():
    row = made_up_row("smooth_l1/mean/float32/1000000/2", 2.1, {})
    for build, most, word in (("x86-64-v4", "1.90", "missed"), ("x86-64-v3", "2.20", "met")):
        line = cells(goals.goals_table(made_up_run([row], build), 2))[1]
        assert line[1:] == [f"≤ {most} × dot", "2.10", "2.10 – 2.10", word]


def test_a_goal_against_a_peer_that_is_not_there_is_not_measured():
    goal = next(goal for goal in goals.RATIO_GOALS if goal.against == "torch")
    figures = made_up_run([made_up_row(goal.row_name(2), 0.1, {"numpy": 1.0, "torch.compile": 1.0})])
    line = next(line for line in cells(goals.goals_table(figures, 2)) if goal.text in line)
    assert line[1:] == ["≤ 1.00 × torch", goals.NOT_MEASURED, "-", "-"]


def test_a_faster_peer_is_a_goal_missed():
    box = slice_rows.BOXES.name
    found = [
        made_up_row("l1/mean/float32/16/2", 2.0, {"numba": 1.0, "numpy": 1.0}),
        made_up_row("smooth_l1/grad/float32/65536/2", 2.0, {"numba": 1.0, "torch": 3.0}),
        made_up_row("smooth_l1/grad/float32/50000000/2", 2.0, {"numba": 3.0, "torch": 3.0}),
        made_up_row(f"l1/mean/float32/{box}/2", 2.0, {"numpy": 3.0, "torch": 1.0}),
        made_up_row(f"l1/mean/float64/{box}/2", 2.0, {"numpy": 1.0, "torch": 3.0}),
        made_up_row(f"l1/grad/float64/{box}/2", 2.0, {"numpy": 1.0}),
    ]
    by_numpy, by_numba, by_any = cells(goals.goals_table(made_up_run(found), 2))[-3:]
    assert by_numpy[2:] == ["1 of 2 (0 level)", "-", "missed"]
    assert by_numba[2:] == ["1 of 1 (0 level)", "-", "missed"]
    assert by_any[2:] == ["5 of 6 (0 level)", "-", "missed"]


def test_faster_peers_are_counted_by_what_limits_a_row():
    found = [
        made_up_row("l1/mean/float32/16/2", 2.0, {"numba": 1.0, "numpy": 4.0}),
        made_up_row("l1/mean/float32/256/2", 2.0, {"numba": 4.0, "numpy": 4.0}),
        made_up_row("l1/mean/float32/1000000/2", 2.0, {}),
        made_up_row("l1/mean/float32/50000000/2", 3.0, {"torch": 2.0}),
        made_up_row("l1/mean/float32/(1M,4) axis 1/2", 3.0, {"torch": 2.0, "numba": 1.0}),
        made_up_row("l1/mean/float64/(1M,4) axis 1/2", 3.0, {"torch": 1.5, "numba": 2.0}),
    ]
    assert cells(document.faster_peers_table(found)) == [
        ["`mean`", "< 32768", "2", "1", "0", "numba 1", "2.00"],
        ["`mean`", "≤ 4 M", "0", "0", "0", "-", "-"],
        ["`mean`", "> 4 M", "1", "1", "0", "torch 1", "1.50"],
        ["`mean` over `axis`", "any layout", "2", "2", "0", "numba 1, torch 1", "3.00"],
    ]


# ---- the short table -------------------------------------------------------------------------------------------------------------


def test_short_table_divides_by_the_others():
    row = made_up_row("smooth_l1/mean/float32/100000/2", 0.5, {"torch.compile": 4.0, "torch": 2.0, "numba": 0.25})
    assert cells(short_table.short_table({"rows": [row]}, 2)) == [["`mean`", "100 k", "500 ms", "0.50", "numba", "2.00", "0.25"]]


def test_short_table_without_torch_or_peers():
    row = made_up_row("smooth_l1/grad/float32/16/2", 0.5, {}, floor="torch.add(out=)")
    assert cells(short_table.short_table({"rows": [row]}, 2)) == [["`grad`", "16", "500 ms", "0.50", "-", "-", "-"]]


def test_table_of_the_readme_is_short_and_planned():
    assert len(short_table.README_CALLS) <= 5
    names = {row.name for row in (*rows.plan(2), *slice_rows.plan(2))}
    assert {
        f"smooth_l1/{work}/float32/{place}/2" for work, place in (*short_table.KEYS, *short_table.README_CALLS.values())
    } <= names
    assert ("mean", "(1M,4) axis 1") in short_table.README_CALLS.values()


def test_table_of_the_readme():
    found = [
        made_up_row("smooth_l1/mean/float32/50000000/2", 0.5, {"torch": 2.0, "numba": 0.25}),
        made_up_row("smooth_l1/mean/float32/(1M,4) axis 1/2", 0.5, {}),
    ]
    assert cells(short_table.readme_table({"rows": found}, 2)) == [
        ["a mean, `loss(x, y)`", "50 M", "500 ms", "0.25", "2.00 (numba)"],
        ["a mean per box, `loss(x, y, axis=1)`", "(1M,4)", "500 ms", "-", "-"],
    ]


def test_short_table_has_means_along_an_axis():
    row = made_up_row("smooth_l1/mean/float32/(1M,4) axis 1/2", 0.5, {"torch": 2.0})
    assert cells(short_table.short_table({"slices": [row]}, 2)) == [
        ["`mean`", "(1M,4) axis 1", "500 ms", "0.50", "torch", "0.25", "0.25"]
    ]


def test_update_replaces_what_is_between_the_marks(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"before\n{short_table.BEGIN}\nold\n{short_table.END}\nafter\n")
    for text in ("new", "newer\n\nstill"):
        short_table.update(path, text)
        assert path.read_text() == f"before\n{short_table.BEGIN}\n{text}\n{short_table.END}\nafter\n"


@pytest.mark.parametrize("text", ["no marks", f"{short_table.BEGIN} alone", f"{short_table.END} {short_table.BEGIN}"])
def test_update_wants_both_marks(tmp_path, text):
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(SystemExit, match="between which the table is to go"):
        short_table.update(path, "new")
    assert path.read_text() == text


def test_the_readme_has_the_marks():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count(short_table.BEGIN) == text.count(short_table.END) == 1
    assert text.index(short_table.BEGIN) < text.index(short_table.END)


def test_every_peer_says_what_it_does():
    assert all(cls.what for cls in PEERS)
    assert Case("smooth_l1").formula is not None
