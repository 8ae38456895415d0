"""The search for wrong results finds what is wrong, makes it small, and finds nothing in the library."""

from __future__ import annotations

import itertools
import math
import secrets
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cylosses.losses import LOSSES, Loss
from tools.fuzz.calls import QUANTITIES, Case, Operand, Output, Place, Stream, lay_out, perform
from tools.fuzz.checking import Report, check
from tools.fuzz.drawing import SUBJECTS, draw
from tools.fuzz.modes import AVAILABLE, DAZ, FTZ, MODES, ROUNDING, current, floating_point_mode
from tools.fuzz.printing import snippet
from tools.fuzz.searching import one, search
from tools.fuzz.shrinking import shrink

from .reference import FLOATS, INTEGERS, ORACLE, difference

ROOT = Path(__file__).parents[1]


def some(number, seed=0, only=None):
    return [one(seed, k, only) for k in range(number)]


# Drawing ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("only", [None, *SUBJECTS])
def test_a_seed_brings_a_case_back(only, rng):
    seed = int(rng.integers(2**32))
    for k in range(30):
        first, again = one(seed, k, only), one(seed, k, only)
        assert snippet(first, check_nothing) == snippet(again, check_nothing)
        assert list(first.operands) == list(again.operands)
        for role, operand in first.operands.items():
            assert operand.values.tobytes() == again.operands[role].values.tobytes()


class _Nothing:
    what, at = "", None


check_nothing = _Nothing()


def test_everything_is_drawn(rng):
    """A search over calls that never come proves nothing."""
    cases = some(3000, int(rng.integers(2**32)))
    operands = [(role, operand) for case in cases for role, operand in case.operands.items()]
    assert {case.name for case in cases} == set(ORACLE)
    assert {operand.values.dtype for role, operand in operands if role in ("input", "target")} >= {*FLOATS, *INTEGERS}
    assert {case.mode for case in cases} == {0, *MODES}
    assert {case.n_threads for case in cases} == {None, 1, 2, 3, 4}
    assert {case.curvature for case in cases} == {"exact", "mm", "ones"}
    assert {case.wrt for case in cases} == {"input", "target"}
    for what in ("quantity", "reduction", "function", "keepdims"):
        expected = {
            (a, b) for a, b in itertools.product({getattr(case, what) for case in cases}, {case.working.name for case in cases})
        }
        assert {(getattr(case, what), case.working.name) for case in cases} == expected
    assert any(case.axis == () for case in cases)
    assert any(isinstance(case.axis, int) and case.axis < 0 for case in cases)
    assert any(0 in case.shape for case in cases)
    assert any(case.shape == () for case in cases)
    assert any(np.prod(case.shape) > 65_536 for case in cases)
    turned = [case for case in cases if len([n for n in case.shape if n > 64 and n % 64]) > 1]
    assert any(len({operand.place.order for operand in case.operands.values()}) > 1 for case in turned)
    assert any(operand.number for _, operand in operands)
    assert any(operand.place.swapped for _, operand in operands)
    assert any(operand.place.unaligned for _, operand in operands)
    assert any(min(operand.place.steps or (1,), default=1) < 0 for _, operand in operands)
    assert any(np.isnan(operand.values.astype(float)).any() for role, operand in operands if role == "input")
    hosts = {output.host for case in cases for output in case.outputs if output is not None}
    assert hosts >= {None, "input", "target", "parameter", "weight", "where", "grad_output"}
    weights = np.concatenate([operand.values.astype(np.float64).ravel() for role, operand in operands if role == "weight"])
    assert weights[weights > 0].min() < 1e-310
    assert weights.max() > 1e307
    for role in ("parameter", "weight", "where", "grad_output"):
        assert 0 < sum(role in case.operands for case in cases) < len(cases)
    streams = [case.stream for case in cases if case.stream is not None]
    assert any(stream.stored for stream in streams)
    assert any(len(stream.merged) > 2 for stream in streams)


def test_every_kind_of_array_of_parameters_is_drawn(rng):
    cases = some(1500, int(rng.integers(2**32)), "parameters")
    arrays = [case.operands["parameter"] for case in cases]
    assert {case.name for case in cases} == {name for name in ORACLE if ORACLE[name].parameter}
    assert {(case.quantity, case.reduction, case.working.name) for case in cases} == {
        (quantity, reduction, dtype)
        for quantity, reduction, dtype in itertools.product(QUANTITIES, ("none", "mean", "sum"), ("float32", "float64"))
        if (quantity, reduction) != ("streaming", "none")
    }
    assert {case.mode for case in cases} == {0, *MODES}
    assert {operand.values.dtype for operand in arrays} >= {*FLOATS, *INTEGERS}
    shapes = [(case.values("parameter").shape, case.values("input").shape, case.shape) for case in cases]
    assert {own for own, _, _ in shapes} >= {(), (1,), (1, 1)}
    assert any(math.prod(own) > 1000 for own, _, _ in shapes)
    assert any(0 in own for own, _, _ in shapes)
    assert any(own == whole and len(own) > 1 for own, _, whole in shapes)
    assert any(len(own) > len(of_input) for own, of_input, _ in shapes)
    assert any(0 < math.prod(of_input) < math.prod(whole) for _, of_input, whole in shapes)
    numbers = np.concatenate([operand.values.astype(np.float64).ravel() for operand in arrays])
    assert set(numbers.tolist()) >= {0.0, 1.0, np.inf}
    assert np.signbit(numbers[numbers == 0]).any()
    assert numbers[numbers > 0].min() < 1e-310
    assert numbers[numbers < np.inf].max() > 1e300
    several = [operand for operand in arrays if len(set(operand.values.ravel().tolist())) > 1]
    assert any(0 in (operand.place.steps or ()) for operand in several)
    assert any(operand.number and operand.values.ndim > 1 for operand in several)
    assert any(operand.place.swapped for operand in several)
    for role in ("weight", "where", "grad_output"):
        assert any(role in case.operands for case in cases)
    assert any(output is not None and output.host == "parameter" for case in cases for output in case.outputs)
    assert any(case.stream is not None and len(case.stream.pieces) > 2 for case in cases)


def kinds(case):
    """What a case stands for: its combination of options in a working dtype, and the ends of the range that it reaches."""
    x, t = case.values("input"), case.values("target")
    dtype = case.working
    info = np.finfo(dtype)
    axis = case.axis is not None
    yield (dtype.name, case.reduction, "weight" in case.operands, "where" in case.operands, axis)
    with np.errstate(all="ignore"):
        parameters = case.parameters.astype(dtype)
        errors = abs(difference(x, t, dtype)).ravel() if x.shape == t.shape else np.zeros(0, dtype)
    ends = {
        "subnormal errors": ((errors > 0) & (errors < info.smallest_normal)).any(),
        "huge errors": ((errors > info.max / 8) & (errors < np.inf)).any(),
        "tiny parameter": ((parameters > 0) & (parameters < info.smallest_normal**0.75)).any(),
        "huge parameter": ((parameters > info.max**0.75) & (parameters < np.inf)).any(),
        "threads": (case.n_threads or 1) > 1 and errors.size > 2048,  # one block is for one thread
    }
    yield from ((dtype.name, end) for end, reached in ends.items() if reached)


@pytest.mark.parametrize("name", ORACLE)
def test_each_loss_meets_every_kind_of_call(name, rng):
    """Reduction, weight, mask and axis in all combinations, in both working dtypes, and the ends of the exponent range."""
    missing = set(itertools.product(("float32", "float64"), ("none", "mean", "sum"), *[(True, False)] * 3))
    missing -= {kind for kind in missing if kind[1] == "none" and kind[4]}  # nothing is reduced
    ends = {"subnormal errors", "huge errors", "threads"} | ({"tiny parameter"} if ORACLE[name].parameter else set())
    ends |= {"huge parameter"} if LOSSES[name].parameter_is_length else set()  # a probability is not
    missing |= set(itertools.product(("float32", "float64"), ends))
    for _ in range(20_000 // len(ORACLE)):  # as many as a property run has of each loss
        missing -= set(kinds(draw(rng, name=name)))
        if not missing:
            break
    assert not missing


# Calls --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("only", [None, "layouts"])
def test_operands_hold_their_values_wherever_they_lie(only, rng):
    for case in some(200, int(rng.integers(2**32)), only):
        hosts, passed, outs = lay_out(case)
        for role, operand in case.operands.items():
            assert np.asarray(passed[role]).astype(operand.values.dtype).tobytes() == operand.values.tobytes()
        for number, output in enumerate(case.outputs):
            if output is not None:
                outs[number][...] = 0  # lies within its memory, or NumPy would have refused it
                assert output.host is None or np.may_share_memory(outs[number], hosts[output.host]) or not outs[number].size


@pytest.mark.skipif(not AVAILABLE, reason="modes are set through x86-64's registers")
@pytest.mark.parametrize("bits", MODES)
def test_modes_are_what_they_say(bits):
    tiny, one_ = np.float64(2.0**-1074), np.float64(1.0)
    small = np.full(4, 2.0**-1022)
    assert current() == 0
    with floating_point_mode(bits):
        inside = current()
        upward = (one_ + tiny > 1, -one_ - tiny < -1)
        flushed, as_zero = (small / 2)[0], (np.full(4, tiny) * 2.0**1000)[0]
    assert inside == bits
    assert current() == 0
    rounding = bits & ROUNDING["towards zero"]
    if not bits & DAZ:
        assert upward == (rounding == ROUNDING["up"], rounding == ROUNDING["down"])
    assert (as_zero == 0) == bool(bits & DAZ)
    if not bits & DAZ:
        assert (flushed == 0) == bool(bits & FTZ)


def test_a_call_that_changes_other_memory_is_seen(monkeypatch):
    def careless(self, input, target, out, **options):
        np.lib.stride_tricks.as_strided(out, (7,), (8,))[6] = 0  # behind its memory
        out[...] = 1.0
        input[0] = 5
        return np.empty(3)

    monkeypatch.setattr(Loss, "__call__", careless)
    case = Case("l1", 0.0, {"input": Operand(np.ones(3)), "target": Operand(np.zeros(3))}, outputs=(Output(Place(steps=(2,))),))
    complaints = perform(case).complaints
    assert any("not returned" in text for text in complaints)
    assert any("memory of input" in text for text in complaints)
    assert any("memory of output" in text for text in complaints)


# Shrinking and printing ---------------------------------------------------------------------------------------------


def run_snippet(text, capsys):
    exec(compile(text, "snippet", "exec"), {})
    return capsys.readouterr().out


def test_snippets_make_the_call(rng, capsys, recwarn):
    """Each gives the bits that the case gives: they are made twice, once as data and once as text."""
    for case in some(150, int(rng.integers(2**32))):
        if np.prod(case.shape) < 500:
            text = snippet(case, check_nothing)
            namespace = {}
            with np.errstate(all="ignore"):
                exec(compile(text, "snippet", "exec"), namespace)
                results = perform(case).results
            for name, result in results.items():
                assert np.asarray(namespace[name]).tobytes() == result.tobytes(), text


def plant(monkeypatch, method, sabotage):
    """Have a method of all losses return what `sabotage` makes of its result and options."""
    right = getattr(Loss, method)

    def wrong(self, input, target, **options):
        return sabotage(right(self, input, target, **options), input, options)

    monkeypatch.setattr(Loss, method, wrong)


@pytest.mark.filterwarnings("ignore::cylosses.BroadcastWarning")
def test_a_planted_fault_is_found_and_shrunk(monkeypatch, capsys):
    """One element that is off by a unit in the last place, where there are weights."""

    def sabotage(result, input, options):
        if "weight" in options and np.ndim(result) and np.size(result) > 2 and "out" not in options:
            result = result.copy()
            result.flat[-1] = np.nextafter(result.flat[-1], result.dtype.type(np.inf))
        return result

    plant(monkeypatch, "__call__", sabotage)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((5, 4, 7))
    operands = {
        "input": Operand(x, Place(order=(2, 0, 1), steps=(1, -2, 1))),
        "target": Operand(x[:1] * 1.5),
        "weight": Operand(rng.uniform(0.1, 1, (4, 1))),
        "where": Operand(rng.random((5, 4, 7)) < 2),
    }
    case = Case("huber", 0.37, operands, n_threads=3, mode=MODES[-1])
    mismatches = check(case, Report())
    assert [mismatch.at for mismatch in mismatches] == [(4, 3, 6)]
    small, mismatch = shrink(case, mismatches[0], lambda case: check(case, Report(), 0), seconds=60)
    assert small.shape == (3,)
    assert sorted(small.operands) == ["input", "target", "weight"]
    assert {operand.place for operand in small.operands.values()} == {Place()}
    assert small.n_threads is None
    assert small.mode == 0
    text = snippet(small, mismatch)
    assert len(text.splitlines()) <= 10
    assert "should be" in run_snippet(text, capsys)


def test_a_fault_of_layouts_keeps_its_layout(monkeypatch):
    """Rows left over from tiles, in a sum: both sides must stay beyond a tile."""

    def sabotage(result, input, options):
        beyond = input.ndim > 1 and min(input.shape) > 64 and not input.flags.c_contiguous
        return np.nextafter(result, result.dtype.type(np.inf)) if beyond else result

    plant(monkeypatch, "__call__", sabotage)
    values = np.random.default_rng(1).standard_normal((2, 67, 130)).astype(np.float32)
    operands = {"input": Operand(values[0], Place(order=(1, 0))), "target": Operand(values[1])}
    case = Case("quantile", 1 / 3, operands, reduction="sum")
    mismatch, *_ = check(case, Report())
    small, mismatch = shrink(case, mismatch, lambda case: check(case, Report(), 0), seconds=60)
    assert small.shape == (65, 65)
    assert small.operands["input"].place == Place(order=(1, 0))
    text = snippet(small, mismatch)
    assert "np.asfortranarray(x)" in text
    assert len(text) < 600


def plant_in_parameters(monkeypatch, method, sabotage):
    """Have a method of all losses use other parameters wherever they are an array."""
    right = getattr(Loss, method)

    def wrong(self, input, target, **options):
        given = getattr(self, self.parameter_name)
        if isinstance(given, np.ndarray):
            self = type(self)(reduction=self.reduction, **{self.parameter_name: sabotage(given, np.shape(input))})
        return right(self, input, target, **options)

    monkeypatch.setattr(Loss, method, wrong)


def with_its_last_as_its_first(given, shape):
    """What a wrong step along the last axis would do."""
    wrong = given.copy()
    if given.ndim and given.size:
        wrong[..., -1] = given[..., 0]
    return wrong


def random_case(**changes):
    """A call with an array of parameters for 4 rows and 7 columns, which stretches the target."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((5, 4, 7))
    operands = {
        "input": Operand(x, Place(order=(2, 0, 1))),
        "target": Operand(x[:1, :1] * 1.5),
        "parameter": Operand(rng.uniform(0.1, 1, (4, 7)), Place(order=(1, 0), steps=(-1, 2))),
        "weight": Operand(rng.uniform(0.1, 1, (4, 1))),
    }
    return Case("huber", 0.37, operands, n_threads=3, mode=MODES[-1]).but(**changes)


def shrunk(case):
    mismatch, *_ = check(case, Report())
    return shrink(case, mismatch, lambda case: check(case, Report(), 0), seconds=60)


@pytest.mark.filterwarnings("ignore::cylosses.BroadcastWarning")
@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("__call__", {}),
        ("__call__", {"reduction": "mean", "axis": (0, 2)}),
        ("grad", {"quantity": "grad", "wrt": "target", "reduction": "sum"}),
        ("grad_and_hess", {"quantity": "grad_and_hess", "reduction": "mean"}),
        ("value_and_grad", {"quantity": "value_and_grad", "reduction": "mean", "axis": 1}),
    ],
    ids=str,
)
def test_a_wrong_parameter_is_found_and_shrunk(monkeypatch, capsys, method, changes):
    plant_in_parameters(monkeypatch, method, with_its_last_as_its_first)
    small, mismatch = shrunk(random_case(**changes))
    assert small.shape == (2,)
    assert sorted(small.operands) == ["input", "parameter", "target"]
    assert small.values("parameter").shape == (2,)
    assert {operand.place for operand in small.operands.values()} == {Place()}
    assert (small.n_threads, small.mode, small.axis) == (None, 0, None)
    text = snippet(small, mismatch)
    assert "delta=parameter" in text
    assert len(text.splitlines()) <= 8
    assert "should be" in run_snippet(text, capsys)


def test_operands_that_a_parameter_stretches_stay_so(monkeypatch):
    """A fault that needs parameters beyond the axes of the operands keeps them."""

    def sabotage(given, shape):
        return given[::-1] if given.ndim > len(shape) else given

    plant_in_parameters(monkeypatch, "__call__", sabotage)
    rng = np.random.default_rng(1)
    operands = {"input": Operand(rng.standard_normal(9)), "target": Operand(rng.standard_normal(9))}
    operands["parameter"] = Operand(rng.uniform(0.1, 1, (3, 2, 9)))
    small, _ = shrunk(Case("tukey", 1.0, operands))
    assert small.values("parameter").shape == (2,)
    assert small.values("input").shape == ()


@pytest.mark.filterwarnings("ignore::cylosses.BroadcastWarning")
def test_a_fault_without_need_of_an_array_of_parameters_loses_it(monkeypatch):
    plant(monkeypatch, "__call__", lambda result, *_: result + 1 if np.ndim(result) > 1 and np.size(result) > 1 else result)
    small, _ = shrunk(random_case())
    assert "parameter" not in small.operands
    # Without the parameter, the input has the shape that it was stretched to.
    operands = {role: Operand(np.zeros(())) for role in ("input", "target")}
    small, _ = shrunk(Case("huber", 1.0, {**operands, "parameter": Operand(np.array([[0.1, 2.0]]))}))
    assert sorted(small.operands) == ["input", "target"]
    assert small.values("input").shape == (1, 2)


def test_shrinking_draws_no_parameter_that_is_refused(monkeypatch):
    def broken(self, *args, **options):
        raise ValueError("broken")

    monkeypatch.setattr(Loss, "__call__", broken)
    small, mismatch = shrunk(random_case())
    assert mismatch.text == "ValueError: broken"
    assert small.parameter > 0


def test_exceptions_and_elements_are_found(monkeypatch):
    def broken(self, *args, **options):
        raise RuntimeError("broken")

    case = Case("mse", 0.0, {"input": Operand(np.ones(3)), "target": Operand(np.zeros(3))})
    monkeypatch.setattr(Loss, "__call__", broken)
    assert [mismatch.what for mismatch in check(case, Report())] == ["exception"]
    monkeypatch.undo()
    plant(monkeypatch, "__call__", lambda result, *_: result * 1.001)
    assert "elementwise value" in [mismatch.what for mismatch in check(case, Report())]


def test_streams_are_put_together():
    x = np.arange(1.0, 8)
    stream = Stream(((4, 7, 1), (0, 0, 0), (0, 4, 0)), (1, 0, 2), (0, 2))
    case = Case("l1", 0.0, {"input": Operand(x), "target": Operand(0 * x)}, "streaming", "sum", stream=stream)
    assert perform(case).results["value"] == 28
    assert check(case, Report()) == []
    lost = case.but(stream=replace(stream, pieces=stream.pieces[1:]))
    assert [mismatch.got for mismatch in check(lost, Report())] == [10]


# The search ---------------------------------------------------------------------------------------------------------


def test_a_search_finds_wrong_parameters(monkeypatch):
    plant_in_parameters(monkeypatch, "grad", with_its_last_as_its_first)
    found = search(int(np.random.default_rng(2).integers(2**32)), cases=200, only="parameters", most=1)
    assert "parameter" in found.failures[0].case.operands  # how small it is depends on the time there was


def test_a_search_reports_each_kind_once(monkeypatch):
    plant(monkeypatch, "grad", lambda result, *_: result + 1)
    said = []
    found = search(5, cases=60, most=2, say=said.append)
    assert 0 < len(found.failures) <= 2
    assert len(said) == len(found.failures)
    assert found.wrong >= len(found.failures)
    assert all(f"seed 5, case {failure.number}" in text for failure, text in zip(found.failures, said, strict=True))


@pytest.mark.parametrize("arguments", [["--case", "3"], ["--seconds", "1", "--only", "integers"]])
def test_the_command(arguments):
    command = [sys.executable, "-m", "tools.fuzz", "--seed", "1", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    last = done.stdout.splitlines()[-1]
    assert last.startswith("seed 1: ")
    assert "comparisons" in last
    assert (done.returncode == 1) == (", 0 mismatches" not in last)


@pytest.mark.parametrize("only", [None, *SUBJECTS])
def test_nothing_is_found(only):
    seed = secrets.randbits(32)
    found = search(seed, cases=200 if only is None else 60, only=only, most=1)
    assert found.report.calls > 0
    assert not found.failures, f"seed {seed}: {found.failures[0]}"
