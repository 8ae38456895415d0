"""The logic of the benchmarks, on figures that are made up or of tiny runs: what is kept, compared and printed, never times."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import cylosses
from benchmarks import suite
from benchmarks.c_level import __main__ as c_level
from benchmarks.measure import bandwidth, growth, harness, import_time, public_calls, rows
from benchmarks.measure.harness import Subject, Timing
from benchmarks.measure.record import OtherRunError, Record
from benchmarks.measure.works import WORKS, Case, make_data, normal
from benchmarks.peers import PEERS
from benchmarks.peers.plain_numpy import PlainNumPy
from benchmarks.report import goals, short_table
from benchmarks.report.document import report

pytestmark = pytest.mark.source_tree

ROOT = Path(__file__).parents[1]
OTHER_PEERS = [cls.name for cls in PEERS if cls is not PlainNumPy]


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


@pytest.fixture
def tiny(monkeypatch, keep_num_threads, recwarn):
    """Sizes and times of a run of a second or two."""
    monkeypatch.setattr(rows, "SIZES", (16, 40_000))
    monkeypatch.setattr(rows, "OTHER_SIZES", (16,))
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
    path, only = tmp_path / "suite.json", ("--only", "smooth_l1/*/float32/*")
    planned = [row.name for row in rows.plan(2, only=only[1])]
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
    assert not [row for row in figures["rows"] if "missing" in row]
    assert {(row["work"], row["threads"], row["size"]) for row in figures["growth"]} == {
        (work, threads, size) for work in growth.WORK_NAMES for threads in (1, 2) for size in growth.SIZES
    }
    text = report(figures, None, tmp_path / "plots")
    sections = [line for line in text.splitlines() if line.startswith("## ")]
    assert sections == [f"## {title}" for title in (
        "Goals", "Machine", "Peers", "Against floors and peers", "Roofline", "Small public calls", "Import", "Growth",
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
    assert {row.work for row in main} == set(WORKS)
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
    loss, work, dtype, size, threads = name.split("/")

    def subject(kind, seconds):
        return {"kind": kind, "best": seconds, "times": [seconds] * 3, "disturbed": False, **more}

    subjects = {floor: subject("floor", 1.0), "cylosses": subject("cylosses", ours)}
    subjects |= {peer: subject("peer", seconds) for peer, seconds in others.items()}
    return {
        "name": name, "loss": loss, "work": work, "dtype": dtype, "size": int(size), "threads": int(threads),
        "floor": floor, "subjects": subjects,
    }  # fmt: skip


def cells(table):
    """The cells of a Markdown table, without its head."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_goals_are_about_what_a_whole_run_times():
    names = {row.name for row in rows.plan(2)}
    assert {f"{goal.loss}/{goal.work}/{goal.dtype}/{goal.size}/2" for goal in goals.RATIO_GOALS} <= names
    assert {goal.row for goal in goals.CALL_GOALS} == {f"{work} of {size}" for work, size in public_calls.PEER_ROWS}
    assert {goal.loss for goal in goals.RATIO_GOALS} == set(cylosses.LOSSES)


def test_goals_not_measured_are_neither_met_nor_missed():
    found = cells(goals.goals_table({}, 2))
    assert len(found) == len(goals.RATIO_GOALS) + len(goals.CALL_GOALS) + 2
    assert {line[2] for line in found} == {goals.NOT_MEASURED}
    assert {line[4] for line in found} == {"-"}


@pytest.mark.parametrize(("factor", "word"), [(0.99, "met"), (1.0, "met"), (1.01, "missed")])
def test_goals_met_and_missed(factor, word):
    figures = {
        "rows": [
            made_up_row(f"{goal.loss}/{goal.work}/{goal.dtype}/{goal.size}/2", factor * goal.most, {"peer": 100.0})
            for goal in goals.RATIO_GOALS
        ],
        "public": [{"name": goal.row, "subjects": {"cylosses": {"best": factor * goal.most}}} for goal in goals.CALL_GOALS],
        "import": {"cylosses": factor * goals.MOST_SECONDS_TO_IMPORT},
    }
    *lines, peers = cells(goals.goals_table(figures, 2))
    assert [line[4] for line in lines] == [word] * len(lines)
    assert lines[0][1] == "≤ 1.05 × dot"
    assert peers[2:] == [f"0 of {len(goals.RATIO_GOALS)} (0 level)", "-", "met"]


def test_a_faster_peer_is_a_goal_missed():
    times = {"l1/mean/float32/16/2": 1.0, "l1/mean/float32/99/2": 3.0}
    figures = {"rows": [made_up_row(name, 2.0, {"peer": seconds}) for name, seconds in times.items()]}
    assert cells(goals.goals_table(figures, 2))[-1][2:] == ["1 of 2 (0 level)", "-", "missed"]


# ---- the short table -------------------------------------------------------------------------------------------------------------


def test_short_table_divides_by_the_others():
    row = made_up_row("smooth_l1/mean/float32/100000/2", 0.5, {"torch.compile": 4.0, "torch": 2.0, "numba": 0.25})
    assert cells(short_table.short_table({"rows": [row]}, 2)) == [["`mean`", "100 k", "500 ms", "0.50", "numba", "2.00", "0.25"]]


def test_short_table_without_torch_or_peers():
    row = made_up_row("smooth_l1/grad/float32/16/2", 0.5, {}, floor="torch.add(out=)")
    assert cells(short_table.short_table({"rows": [row]}, 2)) == [["`grad`", "16", "500 ms", "0.50", "-", "-", "-"]]


def test_table_of_the_readme_is_short_and_planned():
    assert len(short_table.README_KEYS) <= 8
    names = {row.name for row in rows.plan(2)}
    assert {f"smooth_l1/{work}/float32/{size}/2" for work, size in (*short_table.KEYS, *short_table.README_KEYS)} <= names


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
