"""The C level: one set of names and numbers, the bits of the Python functions, an error for every bad argument, and programs in
Cython, C and C++ that are built against the installed library.
"""

from __future__ import annotations

import ast
import ctypes
import importlib.util
import itertools
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import cylosses
from cylosses import LOSSES, capi

from .c_level import FUNCTIONS
from .generators import DTYPES, SPREADS, spread
from .guide import GUIDE, blocks, run_python
from .reference import ORACLE, accepts, exact_mean, reduced, round_fraction, same_bits

PACKAGE = Path(cylosses.__file__).parent
ROOT = Path(__file__).parents[1]
HEADER = Path(cylosses.get_include(), "cylosses.h").read_text(encoding="utf-8")
FLOATS = {np.float32: "float32", np.float64: "float64"}
ENUMERATIONS = {"loss": capi.LossCode, "reduction": capi.Reduction, "curvature": capi.Curvature, "status": capi.Status}
CURVATURES = {"exact": "EXACT_CURVATURE", "mm": "MM_CURVATURE", "ones": "UNIT_CURVATURE"}


# Calling from ctypes ---------------------------------------------------------------------------------------------------------


def call(name, dtype, *values):
    """Call the function for a dtype, which must succeed."""
    status = FUNCTIONS[f"{name}_{FLOATS[dtype]}"](*values)
    assert capi.Status(status) == capi.Status.OK


def code(name):
    return capi.LossCode[name.upper()]


def python_loss(name, parameter, reduction):
    return LOSSES[name](reduction=reduction, **ORACLE[name].setting(parameter))


def parameters(name, dtype):
    """Parameters of the C level: 0 for a loss without."""
    if ORACLE[name].parameter is None:
        return [0.0]
    return [parameter for parameter in {*ORACLE[name].parameters, ORACLE[name].default, 0.3} if accepts(name, parameter, dtype)]


# One set of names and numbers ------------------------------------------------------------------------------------------------


def header_enumeration(name):
    body = re.search(rf"enum cylosses_{name} \{{(.*?)\}};", HEADER, re.DOTALL)[1]
    return {member: int(number) for member, number in re.findall(r"CYLOSSES_(\w+) = (\d+)", body)}


def header_functions():
    """The members of the struct of functions, in order: name to type, written as Cython writes it."""
    body = re.search(r"typedef struct cylosses_functions \{(.*?)\} cylosses_functions;", HEADER, re.DOTALL)[1]
    body = re.sub(r"/\*.*?\*/", "", body, flags=re.DOTALL)

    def written(text):
        text = re.sub(r"^const (\w+)", r"\1 const", " ".join(text.split()))
        return re.sub(r" ?\* ?", " *", text)

    found = {}
    for returned, name, arguments in re.findall(r"([\w\s]+\**)\(\*(\w+)\)\((.*?)\);", body, re.DOTALL):
        types = [re.sub(r"\b(?!void)\w+$", "", argument.strip()) for argument in arguments.split(",")]
        found[name] = f"{written(returned)} (*)({', '.join(written(text).strip() for text in types)})"
    return found


def test_the_losses_of_the_header_are_the_registry():
    assert header_enumeration("loss") == {name.upper(): cls._code for name, cls in LOSSES.items()}


@pytest.mark.parametrize("name", ENUMERATIONS)
def test_header_module_stub_and_pxd_have_the_same_numbers(name):
    expected = header_enumeration(name)
    cls = ENUMERATIONS[name]
    assert {member.name: member.value for member in cls} == expected
    stub = ast.parse((PACKAGE / "capi.pyi").read_text(encoding="utf-8"))
    described = next(node for node in stub.body if isinstance(node, ast.ClassDef) and node.name == cls.__name__)
    assert {node.targets[0].id: node.value.value for node in described.body} == expected
    pxd = (PACKAGE / "capi.pxd").read_text(encoding="utf-8")
    body = re.search(rf'"cylosses_{name}":\n(.*?)\n\n', pxd, re.DOTALL)[1]
    assert re.findall(r'(\w+) "CYLOSSES_(\w+)"', body) == [(member, member) for member in expected]


def test_functions_have_the_types_of_the_header():
    # Cython puts no space before the star of a returned pointer's parentheses.
    assert {name: re.sub(r"\* ?\(\*\)", "* (*)", text) for name, text in capi.signatures.items()} == header_functions()


def test_the_capsule_holds_the_functions_in_the_order_of_the_header():
    names = list(header_functions())
    fields = [("abi_version", ctypes.c_int), ("size", ctypes.c_size_t), *((name, ctypes.c_size_t) for name in names)]
    table_type = type("Table", (ctypes.Structure,), {"_fields_": fields})
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = table_type.from_address(pointer(capi._C_API, b"cylosses.capi._C_API"))
    assert table.abi_version == capi.abi_version == int(re.search(r"ABI_VERSION (\d+)", HEADER)[1])
    assert table.size == ctypes.sizeof(table_type)
    assert {name: getattr(table, name) for name in names} == capi.addresses


def test_every_function_exists_for_both_dtypes():
    for name in capi.addresses:
        for first, second in itertools.permutations(FLOATS.values()):
            assert name.replace(first, second) in capi.addresses


def test_every_function_is_in_the_guide():
    guide = GUIDE.read_text(encoding="utf-8")
    names = {re.sub(r"_float(32|64)$", "", name) for name in capi.addresses}
    assert [name for name in names if f"`{name}`" not in guide] == []


# The bits of the Python functions, and the exact sums ------------------------------------------------------------------------


@pytest.fixture(params=DTYPES, ids=FLOATS.get)
def dtype(request):
    return request.param


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_array_functions(name, weighted, dtype, rng):
    for n, kind, parameter in itertools.product((0, 1, 16, 2049), ("gauss", "any window"), parameters(name, dtype)):
        inputs, targets = SPREADS[kind](rng, n, dtype)
        weights = rng.choice([0, 0.25, 1, 1 / 3], n).astype(dtype) if weighted else None
        loss, options = (code(name), parameter), (n, int(rng.integers(0, 4)))
        arrays = inputs, targets, weights
        unweighted = python_loss(name, parameter, "none")(inputs, targets)
        first, second, value = np.empty(n, dtype), np.empty(n, dtype), np.empty((), dtype)

        call("elementwise_value", dtype, *loss, *arrays, *options, first)
        assert same_bits(first, python_loss(name, parameter, "none")(inputs, targets, weight=weights))
        for reduction in ("sum", "mean"):
            python = python_loss(name, parameter, reduction)
            reduction_code = capi.Reduction[reduction.upper()]
            expected = python(inputs, targets, weight=weights)
            gradient = python.grad(inputs, targets, weight=weights)

            call("value", dtype, *loss, reduction_code, *arrays, *options, value)
            assert same_bits(value[()], expected)
            assert same_bits(value[()], reduced(unweighted, reduction, weights))

            call("gradient", dtype, *loss, reduction_code, *arrays, *options, first)
            assert same_bits(first, gradient)

            value[()], first[:] = -1, -1
            call("value_and_gradient", dtype, *loss, reduction_code, *arrays, *options, value, first)
            assert same_bits(value[()], expected)
            assert same_bits(first, gradient)

            for curvature, curvature_name in CURVATURES.items():
                _, hessian = python.grad_and_hess(inputs, targets, weight=weights, curvature=curvature)
                curvature_code = capi.Curvature[curvature_name]
                first[:] = -1
                call("gradient_and_hessian", dtype, *loss, reduction_code, curvature_code, *arrays, *options, first, second)
                assert same_bits(first, gradient)
                assert same_bits(second, hessian)


def test_large_arrays_on_any_number_of_threads(dtype, rng):
    inputs, targets = SPREADS["gauss"](rng, 1_234_567, dtype)
    expected = cylosses.HuberLoss(reduction="sum")(inputs, targets)
    value, gradient = np.empty((), dtype), np.empty(inputs.size, dtype)
    for n_threads in (0, 1, 2, 3, 100_000):
        arguments = (code("huber"), 1.0, capi.Reduction.SUM, inputs, targets, None, inputs.size, n_threads)
        call("value_and_gradient", dtype, *arguments, value, gradient)
        assert same_bits(value[()], expected)
        assert same_bits(gradient, cylosses.HuberLoss(reduction="sum").grad(inputs, targets))


def test_outputs_may_be_inputs(dtype, rng):
    inputs, targets = SPREADS["gauss"](rng, 3000, dtype)
    weights = rng.random(3000).astype(dtype)
    loss = cylosses.SmoothL1Loss()
    gradient, hessian = loss.grad_and_hess(inputs, targets, weight=weights, curvature="mm")
    for first, second in itertools.permutations(range(3), 2):
        arrays = [inputs.copy(), targets.copy(), weights.copy()]
        outputs = arrays[first], arrays[second]
        codes = capi.LossCode.SMOOTH_L1, 1.0, capi.Reduction.MEAN, capi.Curvature.MM_CURVATURE
        call("gradient_and_hessian", dtype, *codes, *arrays, 3000, 1, *outputs)
        assert same_bits(outputs[0], gradient)
        assert same_bits(outputs[1], hessian)


@pytest.mark.parametrize("reduction", ["SUM", "MEAN"])
@pytest.mark.parametrize("size", [5, 5000])
def test_outputs_that_are_inputs_stay_as_they_were_if_a_weight_is_bad(reduction, size, dtype, rng):
    codes = code("huber"), 1.0, capi.Reduction[reduction]
    for at, function in itertools.product(
        range(3), ("elementwise_value", "gradient", "value_and_gradient", "gradient_and_hessian")
    ):
        arrays = [*rng.standard_normal((2, size)).astype(dtype), rng.random(size).astype(dtype)]
        arrays[2][-1] = -1
        before = [array.copy() for array in arrays]
        other, value = np.empty(size, dtype), np.full((), 7, dtype)
        outputs = {
            "elementwise_value": (arrays[at],),
            "gradient": (arrays[at],),
            "value_and_gradient": (value, arrays[at]),
            "gradient_and_hessian": (other, arrays[at]),
        }[function]
        own = {"elementwise_value": codes[:2], "gradient_and_hessian": (*codes, capi.Curvature.MM_CURVATURE)}.get(function, codes)
        status = FUNCTIONS[f"{function}_{FLOATS[dtype]}"](*own, *arrays, size, 1, *outputs)
        assert status == capi.Status.BAD_WEIGHT
        assert all(map(same_bits, arrays, before)), (function, at)
        assert value == 7


def test_weight_zero_removes_nan(dtype):
    inputs, weights = np.array([1.5, np.nan], dtype), np.array([1, 0], dtype)
    value, gradient = np.empty((), dtype), np.empty(2, dtype)
    arguments = (code("mse"), 0.0, capi.Reduction.MEAN, inputs, np.zeros(2, dtype), weights, 2, 1)
    call("value_and_gradient", dtype, *arguments, value, gradient)
    assert value == 2.25
    assert gradient.tolist() == [3, 0]


def test_many_callers_at_once(rng):
    inputs, targets = SPREADS["gauss"](rng, 5000, np.float64)
    expected = cylosses.TukeyLoss(reduction="mean").value_and_grad(inputs, targets)
    wrong = []

    def work():
        value, gradient = np.empty(()), np.empty(5000)
        for n_threads in (1, 2) * 50:
            arguments = (code("tukey"), 4.685, capi.Reduction.MEAN, inputs, targets, None, 5000, n_threads)
            status = FUNCTIONS["value_and_gradient_float64"](*arguments, value, gradient)
            if status or not (same_bits(value[()], expected[0]) and same_bits(gradient, expected[1])):
                wrong.append((status, n_threads))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
        assert not thread.is_alive()
    assert wrong == []


# One residual ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_scalar_functions(name, dtype, rng):
    low, high = (-149, 126) if dtype is np.float32 else (-1074, 1022)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, np.finfo(dtype).max, -np.finfo(dtype).smallest_subnormal]
    for parameter in parameters(name, dtype):
        with np.errstate(over="ignore"):
            kinks = np.array([-parameter, parameter], dtype)
        around = [kinks, np.nextafter(kinks, dtype(-np.inf)), np.nextafter(kinks, dtype(np.inf))]
        errors = np.concatenate([special, *around, rng.normal(size=30), spread(rng, 30, dtype, low, high)]).astype(dtype)
        zeros, each = np.zeros_like(errors), python_loss(name, parameter, "none")
        gradient, second = each.grad_and_hess(errors, zeros)
        expected = {
            "value": each(errors, zeros),
            "derivative": gradient,
            "second_derivative": second,
            "irls_weight": each.grad_and_hess(errors, zeros, curvature="mm")[1],
        }
        for quantity, wanted in expected.items():
            function = FUNCTIONS[f"scalar_{quantity}_{FLOATS[dtype]}"]
            got = np.array([function(code(name), parameter, error) for error in errors.tolist()], dtype)
            assert same_bits(got, wanted), (quantity, parameter)


@pytest.mark.parametrize("quantity", ["value", "derivative", "second_derivative", "irls_weight"])
def test_scalar_functions_of_no_loss_are_nan(quantity, dtype):
    function = FUNCTIONS[f"scalar_{quantity}_{FLOATS[dtype]}"]
    nobody = [(-1, 0.0), (len(LOSSES), 0.0), (code("huber"), 0.0), (code("smooth_l1"), -1.0), (code("tukey"), np.nan)]
    for loss, parameter in nobody:
        assert np.isnan(function(loss, parameter, 1.0))


# Errors ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_check(name, dtype):
    check = FUNCTIONS[f"check_{FLOATS[dtype]}"]
    rejected = ORACLE[name].rejected if ORACLE[name].parameter else (1.0, -1.0, np.nan)
    assert {check(code(name), parameter) for parameter in parameters(name, dtype)} == {capi.Status.OK}
    assert {check(code(name), parameter) for parameter in rejected} == {capi.Status.BAD_PARAMETER}


@pytest.mark.parametrize("loss", [-1, len(LOSSES), 63, 64, 2**31 - 1, -(2**31)])
def test_check_of_no_loss(loss, dtype):
    assert FUNCTIONS[f"check_{FLOATS[dtype]}"](loss, 1.0) == capi.Status.BAD_LOSS


def test_a_parameter_that_is_valid_in_float64_alone():
    assert FUNCTIONS["check_float64"](capi.LossCode.HUBER, 1e-50) == capi.Status.OK
    assert FUNCTIONS["check_float32"](capi.LossCode.HUBER, 1e-50) == capi.Status.BAD_PARAMETER


def arguments(dtype, **changes):
    """Valid arguments of all array functions by name, some changed."""
    good = {
        "loss": capi.LossCode.HUBER,
        "parameter": 1.0,
        "reduction": capi.Reduction.MEAN,
        "curvature": capi.Curvature.MM_CURVATURE,
        "input": np.zeros(9, dtype),
        "target": np.ones(9, dtype),
        "weight": np.ones(9, dtype),
        "n": 8,
        "n_threads": 1,
        "value": np.full((), -5, dtype),
        "values": np.zeros(9, dtype),
        "gradient": np.zeros(9, dtype),
        "hessian": np.zeros(9, dtype),
    }
    return good | changes


SHARED = ("loss", "parameter", "reduction", "input", "target", "weight", "n", "n_threads")
ARGUMENTS = {
    "value": (*SHARED, "value"),
    "elementwise_value": (*(name for name in SHARED if name != "reduction"), "values"),
    "gradient": (*SHARED, "gradient"),
    "value_and_gradient": (*SHARED, "value", "gradient"),
    "gradient_and_hessian": (*SHARED[:3], "curvature", *SHARED[3:], "gradient", "hessian"),
}
BAD = {
    "BAD_LOSS": {"loss": (-1, len(LOSSES), 1000)},
    "BAD_PARAMETER": {"parameter": (-1.0, 0.0, float("nan"))},
    "BAD_REDUCTION": {"reduction": (-1, 2)},
    "BAD_CURVATURE": {"curvature": (-1, 3)},
    "BAD_SIZE": {"n": (-1, 2**61, -(2**63))},
    "BAD_THREADS": {"n_threads": (-1,)},
    "BAD_ARRAY": {
        **dict.fromkeys(("input", "target", "value", "values", "gradient", "hessian"), (None, "misaligned")),
        "weight": ("misaligned",),
    },
    "BAD_WEIGHT": {"weight": (-1.0, np.inf, np.nan)},
}


@pytest.mark.parametrize("status", BAD)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_bad_arguments(name, status, dtype):
    function = FUNCTIONS[f"{name}_{FLOATS[dtype]}"]
    assert function(*(arguments(dtype)[key] for key in ARGUMENTS[name])) == capi.Status.OK
    for changed in BAD[status].keys() & set(ARGUMENTS[name]):
        for bad in BAD[status][changed]:
            values = arguments(dtype)
            if bad == "misaligned":
                values[changed] = values[changed].ctypes.data + 1
            elif status == "BAD_WEIGHT":
                values[changed][5] = bad
            else:
                values[changed] = bad
            assert capi.Status(function(*(values[key] for key in ARGUMENTS[name]))).name == status, (changed, bad)
            if changed != "value":
                assert values["value"] == -5


@pytest.mark.parametrize("output", ["values", "gradient", "hessian"])
@pytest.mark.parametrize("other", ["input", "target", "weight", "gradient"])
def test_outputs_that_overlap(output, other, dtype):
    for name, keys in ARGUMENTS.items():
        if output in keys and other in keys and output != other:
            for first, second in ((1, 0), (0, 1)):
                memory = np.ones(9, dtype)
                changes = {output: memory[first:], other: memory[second:]}
                values = arguments(dtype, **changes)
                status = FUNCTIONS[f"{name}_{FLOATS[dtype]}"](*(values[key] for key in keys))
                assert status == capi.Status.BAD_ARRAY, name
                assert memory.tolist() == [1] * 9


def test_gradient_and_hessian_cannot_be_one_array(dtype):
    memory = np.ones(9, dtype)
    values = arguments(dtype, gradient=memory, hessian=memory)
    status = FUNCTIONS[f"gradient_and_hessian_{FLOATS[dtype]}"](*(values[key] for key in ARGUMENTS["gradient_and_hessian"]))
    assert status == capi.Status.BAD_ARRAY


def test_arrays_of_nothing_may_be_null(dtype):
    changes = dict.fromkeys(("input", "target", "weight", "values", "gradient", "hessian"))
    for name, keys in ARGUMENTS.items():
        for reduction, expected in ((capi.Reduction.SUM, 0), (capi.Reduction.MEAN, np.nan)):
            values = arguments(dtype, n=0, reduction=reduction, **changes)
            call(name, dtype, *(values[key] for key in keys))
            if "value" in keys:
                assert same_bits(values["value"][()], dtype(expected))


def test_status_messages():
    messages = [FUNCTIONS["status_message"](status).decode() for status in capi.Status]
    assert len(set(messages)) == len(messages)
    assert FUNCTIONS["status_message"](-1) == FUNCTIONS["status_message"](len(messages))
    assert FUNCTIONS["status_message"](-1).decode() not in messages


# Accumulators ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def accumulators():
    """A function that makes accumulators, which are freed after the test."""
    made = []

    def new():
        made.append(FUNCTIONS["accumulator_new"]())
        assert made[-1] is not None
        return made[-1]

    yield new
    for accumulator in made:
        FUNCTIONS["accumulator_free"](accumulator)


def finished(accumulator, reduction, dtype):
    value = np.empty((), dtype)
    call("accumulator_finish", dtype, accumulator, capi.Reduction[reduction.upper()], value)
    return value[()]


@pytest.mark.parametrize("kind", ["gauss", "whole range"])
def test_pieces_give_the_bits_of_a_single_call(kind, dtype, accumulators, rng):
    inputs, targets = SPREADS[kind](rng, 5000, dtype)
    weights = rng.random(5000).astype(dtype)
    losses = cylosses.HuberLoss("none")(inputs, targets)
    for given in (None, weights):
        total, others = accumulators(), [accumulators() for _ in range(3)]
        for piece in np.split(np.arange(5000), np.sort(rng.integers(0, 5000, 20))):
            weight = None if given is None else given[piece]
            arguments = (code("huber"), 1.0, inputs[piece], targets[piece], weight, piece.size, int(rng.integers(0, 3)))
            call("accumulator_update", dtype, others[rng.integers(3)], *arguments)
        for other in others:
            assert FUNCTIONS["accumulator_merge"](total, other) == capi.Status.OK
        assert FUNCTIONS["accumulator_count"](total) == 5000
        for reduction in ("sum", "mean", "sum"):
            assert same_bits(finished(total, reduction, dtype), reduced(losses, reduction, given))


def test_one_accumulator_of_several_losses_and_dtypes(accumulators):
    """Weighted and unweighted pieces, float32 and float64: the exact sum of all, rounded to either."""
    total, terms, weights = accumulators(), [], []
    pieces = [("mse", 0.0, np.float32, None), ("huber", 0.1, np.float64, 1 / 3), ("charbonnier", 1e-3, np.float32, 0.1)]
    for name, parameter, dtype, weight in pieces:
        inputs, targets = np.array([0.1, 7, -3e5], dtype), np.zeros(3, dtype)
        given = None if weight is None else np.full(3, weight, dtype)
        call("accumulator_update", dtype, total, code(name), parameter, inputs, targets, given, 3, 1)
        terms += map(Fraction, python_loss(name, parameter, "none")(inputs, targets).tolist())
        weights += [Fraction(1)] * 3 if given is None else map(Fraction, given.tolist())
    exact = sum(a * b for a, b in zip(terms, weights, strict=True))
    for dtype in DTYPES:
        assert same_bits(finished(total, "sum", dtype), round_fraction(exact, dtype))
        assert same_bits(finished(total, "mean", dtype), round_fraction(exact / sum(weights), dtype))


def test_an_accumulator_of_nothing(dtype, accumulators):
    total = accumulators()
    for _ in range(2):
        assert FUNCTIONS["accumulator_count"](total) == 0
        assert same_bits(finished(total, "sum", dtype), dtype(0))
        assert np.isnan(finished(total, "mean", dtype))
        call("accumulator_update", dtype, total, code("l1"), 0.0, np.ones(3, dtype), np.zeros(3, dtype), None, 3, 1)
        assert finished(total, "sum", dtype) == 3
        FUNCTIONS["accumulator_clear"](total)


def test_elements_of_weight_zero_do_not_count(dtype, accumulators):
    total, weights = accumulators(), np.array([0, 2, 0], dtype)
    call("accumulator_update", dtype, total, code("l1"), 0.0, np.array([np.nan, 3, 4], dtype), np.zeros(3, dtype), weights, 3, 1)
    assert FUNCTIONS["accumulator_count"](total) == 1
    assert finished(total, "mean", dtype) == 3


def test_a_failed_update_changes_nothing(dtype, accumulators):
    total = accumulators()
    update = FUNCTIONS[f"accumulator_update_{FLOATS[dtype]}"]
    data, zeros = np.arange(3000, dtype=dtype), np.zeros(3000, dtype)
    bad_last = np.append(np.ones(2999, dtype), dtype(-1))
    good = (total, code("l1"), 0.0, data, zeros, None, 3000, 1)
    assert update(*good) == capi.Status.OK
    before = finished(total, "sum", dtype)
    for place, bad, status in (
        (0, None, "BAD_ARRAY"),
        (1, 99, "BAD_LOSS"),
        (2, 1.0, "BAD_PARAMETER"),
        (3, None, "BAD_ARRAY"),
        (5, bad_last, "BAD_WEIGHT"),
        (6, -1, "BAD_SIZE"),
        (7, -1, "BAD_THREADS"),
    ):
        assert capi.Status(update(*good[:place], bad, *good[place + 1 :])).name == status
        assert finished(total, "sum", dtype) == before
        assert FUNCTIONS["accumulator_count"](total) == 3000


def test_merging_with_itself_until_it_is_full(dtype, accumulators):
    total, one = accumulators(), accumulators()
    for accumulator in (total, one):
        call("accumulator_update", dtype, accumulator, code("l1"), 0.0, np.full(1, 3, dtype), np.zeros(1, dtype), None, 1, 1)
    merge = FUNCTIONS["accumulator_merge"]
    for doubling in range(62):
        assert merge(total, total) == capi.Status.OK
        assert finished(total, "sum", dtype) == 3 * 2.0 ** (doubling + 1)
    assert merge(total, total) == capi.Status.TOO_MANY
    assert finished(total, "sum", dtype) == 3 * 2.0**62
    assert finished(total, "mean", dtype) == 3
    assert FUNCTIONS["accumulator_count"](total) == 2**62


def test_bad_arguments_of_accumulators(dtype, accumulators):
    total, value = accumulators(), np.full((), -5, dtype)
    finish, merge = FUNCTIONS[f"accumulator_finish_{FLOATS[dtype]}"], FUNCTIONS["accumulator_merge"]
    assert merge(None, total) == merge(total, None) == capi.Status.BAD_ARRAY
    assert finish(None, 0, value) == finish(total, 0, None) == finish(total, 0, value.ctypes.data + 1) == capi.Status.BAD_ARRAY
    assert finish(total, 2, value) == finish(total, -1, value) == capi.Status.BAD_REDUCTION
    assert value == -5
    assert FUNCTIONS["accumulator_count"](None) == 0
    FUNCTIONS["accumulator_clear"](None)
    FUNCTIONS["accumulator_free"](None)


# The guide -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("section", ["ctypes", "cffi"])
def test_python_of_the_guide(section):
    printed, promised = run_python(section)
    assert promised
    assert printed == promised


# Programs that are built against the installed library -----------------------------------------------------------------------

C_COMPILER = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
CXX_COMPILER = shlex.split(os.environ.get("CXX") or sysconfig.get_config_var("CXX") or "c++")
EXAMPLES = ROOT / "examples" / "compiled" / "c_api"
STRICT = ["-pedantic", "-Wall", "-Wextra", "-Werror"]
LANGUAGES = {"C": [*C_COMPILER, "-std=c99"], "C++": [*CXX_COMPILER, "-std=c++11", "-x", "c++"]}

lacks_compiler = pytest.mark.skipif(
    sys.platform == "win32" or not all(shutil.which(command[0]) for command in (C_COMPILER, CXX_COMPILER)),
    reason="needs a C and a C++ compiler with the options of gcc",
)
needs_python_library = pytest.mark.skipif(
    not (sysconfig.get_config_var("Py_ENABLE_SHARED") or Path(sysconfig.get_config_var("LIBPL") or "", "libpython.a").exists()),
    reason="this Python comes without a library to embed",
)


def needs_compiler(test):
    """Mark a test that builds something."""
    return pytest.mark.compiler(lacks_compiler(test))


def run(command, **options):
    """Run a command that finds the package where this process found it, and nothing else of its folder."""
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent), "CFLAGS": "-O1 -g0"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300, **options)


def build(command, folder):
    done = run(command, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr


def load(name, folder):
    """An extension module out of a folder."""
    spec = importlib.util.spec_from_file_location(name, folder / (name + sysconfig.get_config_var("EXT_SUFFIX")))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def embedding():
    """What links a program with Python, as python3-config --embed --ldflags has it."""
    variables = sysconfig.get_config_vars()
    folder = variables["LIBDIR" if variables["Py_ENABLE_SHARED"] else "LIBPL"]
    flags = f"-L{folder} -lpython{variables['LDVERSION']} {variables['LIBS']} {variables['SYSLIBS']} {variables['LINKFORSHARED']}"
    return [*shlex.split(flags), f"-Wl,-rpath,{folder}"]


def build_program(source, folder, language, *, header=None):
    """Compile a C program, with another header than the installed one if it is given; return its path."""
    include = cylosses.get_include()
    if header is not None:
        (folder / "cylosses.h").write_text(header)
        include = folder
    program = folder / "program"
    python = f"-isystem{sysconfig.get_path('include')}"
    build([*LANGUAGES[language], *STRICT, source, "-x", "none", f"-I{include}", python, *embedding(), "-o", program], folder)
    return program


@pytest.fixture(scope="module")
def robust_descent(tmp_path_factory):
    """The example package, built from a copy of its sources."""
    folder = tmp_path_factory.mktemp("robust_descent")
    for source in EXAMPLES.iterdir():
        if source.is_file() and source.suffix in (".pyx", ".py", ".toml"):
            shutil.copy(source, folder)
    offline = ["--no-build-isolation", "--no-deps", "--no-index"]
    build([sys.executable, "-m", "pip", "install", *offline, "--target", "lib", "."], folder)
    return load("robust_descent", folder / "lib")


@pytest.fixture
def regression(rng):
    """Features, and targets that depend on the first two, with some gross errors."""
    x = rng.normal(size=(150, 4))
    y = x[:, :2] @ rng.normal(size=(2, 5)) + 0.1 * rng.normal(size=(150, 5)) + 3
    y[rng.random((150, 5)) < 0.1] += 20
    return x, y


@needs_compiler
@pytest.mark.parametrize("name", LOSSES)
def test_the_example_solver_gives_the_bits_of_the_library(name, robust_descent, regression):
    x, y = regression
    parameter = ORACLE[name].default if ORACLE[name].parameter else 0.0
    serial, threaded = (robust_descent.fit(x, y, name, parameter, 0.05, 0.5, max_iter=50, n_threads=n) for n in (1, 4))
    assert all(same_bits(serial[key], threaded[key]) for key in serial)
    loss = python_loss(name, parameter, "mean")
    for fitted, target, found in zip(serial["fitted"].T, y.T, serial["loss"], strict=True):
        assert same_bits(loss(fitted, target.copy()), found)
        assert same_bits(round_fraction(exact_mean(python_loss(name, parameter, "none")(fitted, target.copy())), np.float64), found)


@needs_compiler
@pytest.mark.parametrize("name", ["smooth_l1", "mse", "huber", "pseudo_huber", "tukey"])
def test_the_example_solver_finds_the_minimum(name, robust_descent, regression):
    x, y = regression
    l1, l2, parameter = 0.03, 0.02, ORACLE[name].default if ORACLE[name].parameter else 0.0
    found = robust_descent.fit(x, y, name, parameter, l1 + l2, l1 / (l1 + l2), max_iter=100_000, tol=1e-13)
    np.testing.assert_allclose(found["fitted"], x @ found["coef"].T + found["intercept"], atol=1e-9)
    for coef, fitted, target in zip(found["coef"], found["fitted"].T, y.T, strict=True):
        gradient = python_loss(name, parameter, "mean").grad(fitted, target.copy())
        slopes = x.T @ gradient + l2 * coef
        # Where a coefficient is not 0, its slope balances the L1 penalty; where it is, the penalty is the stronger.
        assert abs(gradient.sum()) < 1e-9
        np.testing.assert_allclose(slopes[coef != 0], -l1 * np.sign(coef[coef != 0]), atol=1e-9)
        assert np.all(abs(slopes[coef == 0]) <= l1 + 1e-9)


@needs_compiler
def test_the_example_solver_passes_errors_on(robust_descent, regression):
    with pytest.raises(ValueError, match="parameter is not valid"):
        robust_descent.fit(*regression, "huber", -1.0)
    with pytest.raises(ValueError, match=r"smooth_l1, .*, got 'l2'"):
        robust_descent.fit(*regression, "l2")


@needs_compiler
@needs_python_library
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_example_program(language, tmp_path, rng):
    program = build_program(EXAMPLES / "program.c", tmp_path, language)
    inputs, targets = SPREADS["any window"](rng, 2345, np.float64)
    for n in (0, 1, 1000, 2345):
        pairs = "".join(f"{a!r} {b!r}\n" for a, b in zip(inputs[:n].tolist(), targets[:n].tolist(), strict=True))
        done = run([program, sys.executable, "0.5"], input=pairs)
        assert done.returncode == 0, done.stderr
        count, mean = done.stdout.split()
        assert int(count) == n
        losses = cylosses.HuberLoss("none", delta=0.5)(inputs[:n], targets[:n])
        assert same_bits(np.float64(mean), cylosses.HuberLoss(delta=0.5)(inputs[:n], targets[:n]))
        assert same_bits(np.float64(mean), reduced(losses, "mean"))
    done = run([program, sys.executable, "-0.5"], input="1 2\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert "parameter is not valid" in done.stderr


@needs_compiler
@needs_python_library
def test_programs_compiled_for_another_version_say_so(tmp_path):
    another = HEADER.replace("#define CYLOSSES_ABI_VERSION 1", "#define CYLOSSES_ABI_VERSION 999")
    newer = HEADER.replace("} cylosses_functions;", "int (*more)(void); } cylosses_functions;")
    for header, message in ((another, "for version 999 .* has version 1: compile it again"), (newer, "upgrade cylosses")):
        assert header != HEADER
        program = build_program(EXAMPLES / "program.c", tmp_path, "C", header=header)
        done = run([program, sys.executable, "1"], input="")
        assert done.returncode == 1
        assert re.search(f"ImportError: .*{message}", done.stderr)


@needs_compiler
@needs_python_library
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_c_of_the_guide(language, tmp_path):
    (code,) = blocks("C and C++", "c")
    (tmp_path / "guide.c").write_text(code)
    program = build_program(tmp_path / "guide.c", tmp_path, language)
    done = run([program], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"This prints {done.stdout.strip()}." in GUIDE.read_text(encoding="utf-8")


@needs_compiler
def test_the_cython_of_the_guide(tmp_path, rng):
    (cython,), (setup,) = blocks("Cython: pointers", "cython"), blocks("Cython: pointers", "python")
    (tmp_path / "score.pyx").write_text(cython)
    (tmp_path / "setup.py").write_text(setup)
    build([sys.executable, "setup.py", "build_ext", "--inplace"], tmp_path)
    score = load("score", tmp_path)
    inputs, targets = SPREADS["gauss"](rng, 1000, np.float64)
    assert score.mean_huber(inputs, targets, 0.3) == cylosses.HuberLoss(delta=0.3)(inputs, targets)
    with pytest.raises(ValueError, match="parameter is not valid"):
        score.mean_huber(inputs, targets, -1.0)


# Another floating-point mode --------------------------------------------------------------------------------------------------

SET_MODE = """
#include <xmmintrin.h>
unsigned set_mode(unsigned mode) { unsigned old = _mm_getcsr(); _mm_setcsr(mode); return old; }
"""
FLUSHING = 0x9FC0  # results that are subnormal become 0, and so do operands


@needs_compiler
@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="this register is that of x86-64")
def test_the_floating_point_mode_of_the_caller_does_not_matter(tmp_path, accumulators):
    (tmp_path / "mode.c").write_text(SET_MODE)
    build([*C_COMPILER, "-shared", "-fPIC", "mode.c", "-o", "mode.so"], tmp_path)
    set_mode = ctypes.CDLL(str(tmp_path / "mode.so")).set_mode
    least, residual = 5e-324, 15e-324
    inputs, targets, value, gradient = np.array([least, residual]), np.zeros(2), np.empty(()), np.empty(2)
    huge = 1.7e308
    losses, total = [(code("smooth_l1"), 7 * least), (code("huber"), least), (code("l1"), 0.0)], accumulators()

    def results():
        found = [FUNCTIONS["check_float64"](code("huber"), parameter) for parameter in (0.0, least)]
        found += [FUNCTIONS["check_float32"](code("huber"), parameter) for parameter in (1e-46, 1e-45)]
        for loss, quantity in itertools.product(losses, ("value", "derivative", "second_derivative", "irls_weight")):
            found.append(FUNCTIONS[f"scalar_{quantity}_float64"](*loss, residual))
        found.append(FUNCTIONS["scalar_irls_weight_float32"](code("huber"), 1e-40, 2e-38))
        FUNCTIONS["accumulator_clear"](total)
        for loss in losses:
            call("value", np.float64, *loss, capi.Reduction.SUM, inputs, targets, None, 2, 1, value)
            found.append(value.tobytes())
            call("accumulator_update", np.float64, total, *loss, inputs, targets, None, 2, 1)
            call("accumulator_finish", np.float64, total, capi.Reduction.SUM, value)
            found.append(value.tobytes())
        # The mean of derivatives 1: their factor is the inverse of the sum of weights, a subnormal number.
        arguments = (code("l1"), 0.0, capi.Reduction.MEAN, np.ones(2), targets, np.array([huge, 0.0]), 2, 1)
        call("gradient", np.float64, *arguments, gradient)
        found.append(gradient.tobytes())
        return found

    expected = results()
    assert expected[:4] == [capi.Status.BAD_PARAMETER, capi.Status.OK] * 2
    assert expected[12] == residual
    before = set_mode(FLUSHING)
    try:
        flushed = results()
    finally:
        mode = set_mode(before)
    assert mode & ~0x3F == FLUSHING & ~0x3F  # but for the flags
    assert flushed == expected
