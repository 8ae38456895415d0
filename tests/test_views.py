"""The Cython face: typed memoryviews and buffers, the bits of the Python functions, an exception that names what is wrong, and a
package of its own that is built on it. Tests of functions run on those for Python and on those for Cython.
"""

from __future__ import annotations

import array
import copy
import ctypes
import doctest
import inspect
import itertools
import pickle
import re
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import cylosses
from cylosses import LOSSES, capi, views
from cylosses._views import functions

from .generators import DTYPES, SPREADS
from .guide import GUIDE, blocks
from .reference import same_bits
from .test_capi import CURVATURES, FLOATS, PACKAGE, ROOT, build, code, lacks_compiler, load, needs_compiler, parameters, python_loss

HUBER, MEAN, SUM = capi.LossCode.HUBER, capi.Reduction.MEAN, capi.Reduction.SUM
EXAMPLE = ROOT / "examples" / "compiled" / "irls_package"
SETUP = f"""
import cylosses
from Cython.Build import cythonize
from setuptools import Extension, setup
flags = ["-fopenmp"] if {sys.platform == "linux"} else []
extension = Extension("NAME", ["NAME.pyx"], include_dirs=[cylosses.get_include()], extra_compile_args=flags, extra_link_args=flags)
setup(ext_modules=cythonize([extension], include_path=[{str(PACKAGE.parent)!r}], compiler_directives={{"language_level": 3}}))
"""


def build_module(source, folder):
    """Build a module from a file and load it."""
    shutil.copy(source, folder)
    (folder / "setup.py").write_text(SETUP.replace("NAME", source.stem))
    build([sys.executable, "setup.py", "build_ext", "--inplace"], folder)
    return load(source.stem, folder)


@pytest.fixture(scope="module")
def caller(tmp_path_factory):
    """The functions for Cython."""
    return build_module(Path(__file__).with_name("views_caller.pyx"), tmp_path_factory.mktemp("views_caller"))


@pytest.fixture(params=["Python", pytest.param("Cython", marks=[pytest.mark.compiler, lacks_compiler])])
def face(request):
    """A module with the functions."""
    return views if request.param == "Python" else request.getfixturevalue("caller")


@pytest.fixture(params=DTYPES, ids=FLOATS.get)
def dtype(request):
    return request.param


# The bits of the Python functions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_functions(name, weighted, face, dtype, rng):
    for n, kind, parameter in itertools.product((0, 1, 16, 2049), ("gauss", "any window"), parameters(name, dtype)):
        inputs, targets = SPREADS[kind](rng, n, dtype)
        weights = rng.choice([0, 0.25, 1, 1 / 3], n).astype(dtype) if weighted else None
        loss, arrays, options = (code(name), parameter), (inputs, targets), (weights, int(rng.integers(0, 4)))
        inputs.flags.writeable = targets.flags.writeable = False
        first, second = np.empty((2, n), dtype)
        face.elementwise_value(*loss, *arrays, first, *options)
        assert same_bits(first, python_loss(name, parameter, "none")(*arrays, weight=weights))
        for reduction in capi.Reduction:
            python = python_loss(name, parameter, reduction.name.lower())
            expected, gradient = python.value_and_grad(*arrays, weight=weights)
            assert same_bits(dtype(face.value(*loss, reduction, *arrays, *options)), expected)
            face.gradient(*loss, reduction, *arrays, first, *options)
            assert same_bits(first, gradient)
            first[:] = -1
            assert same_bits(dtype(face.value_and_gradient(*loss, reduction, *arrays, first, *options)), expected)
            assert same_bits(first, gradient)
            for curvature, member in CURVATURES.items():
                _, hessian = python.grad_and_hess(*arrays, weight=weights, curvature=curvature)
                first[:] = -1
                face.gradient_and_hessian(*loss, reduction, capi.Curvature[member], *arrays, first, second, *options)
                assert same_bits(first, gradient)
                assert same_bits(second, hessian)


@pytest.mark.parametrize("axis", [0, 1, -1, -2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_functions_along_an_axis(name, weighted, axis, face, dtype, rng):
    """Each row or column has the bits of the call on it alone."""
    parameter = parameters(name, dtype)[0]
    for shape, reduction in itertools.product([(7, 33), (1, 5), (5, 1), (0, 3), (3, 0)], capi.Reduction):
        inputs, targets = (a.reshape(shape) for a in SPREADS["any window"](rng, shape[0] * shape[1], dtype))
        weights = rng.choice([0, 0.25, 1, 1 / 3], shape).astype(dtype) if weighted else None
        loss, tail = (code(name), parameter, reduction), (inputs, targets)
        count, summed = shape[1 - axis % 2], axis % 2
        values, (gradients, hessians) = np.empty((2, count), dtype), np.empty((2, *shape), dtype)
        curvature = capi.Curvature.MM_CURVATURE
        face.value_along_axis(*loss, axis, *tail, values[0], weights)
        face.value_and_gradient_along_axis(*loss, axis, *tail, values[1], gradients, weights, 2)
        other = np.empty_like(gradients)
        face.gradient_along_axis(*loss, axis, *tail, other, weights)
        assert same_bits(other, gradients)
        face.gradient_and_hessian_along_axis(*loss, curvature, axis, *tail, other, hessians, weights)
        assert same_bits(other, gradients)
        assert same_bits(values[0], values[1])
        python = python_loss(name, parameter, reduction.name.lower())
        assert same_bits(values[0], python(inputs, targets, weight=weights, axis=summed))
        for k in range(count):
            line = [None if a is None else np.ascontiguousarray(np.moveaxis(a, summed, 1)[k]) for a in (*tail, weights)]
            gradient, hessian = python.grad_and_hess(*line[:2], weight=line[2], curvature="mm")
            assert same_bits(np.moveaxis(gradients, summed, 1)[k], gradient)
            assert same_bits(np.moveaxis(hessians, summed, 1)[k], hessian)


def test_nan_goes_through_but_not_with_weight_zero(face, dtype):
    inputs, targets, gradient = np.array([1.5, np.nan], dtype), np.zeros(2, dtype), np.empty(2, dtype)
    assert np.isnan(face.value_and_gradient(HUBER, 1.0, MEAN, inputs, targets, gradient))
    assert gradient[0] == 0.5
    assert np.isnan(gradient[1])
    assert face.value_and_gradient(HUBER, 1.0, MEAN, inputs, targets, gradient, np.array([1, 0], dtype)) == 1.0
    assert gradient.tolist() == [1, 0]


def test_the_smallest_numbers(face, dtype):
    least = np.finfo(dtype).smallest_subnormal
    assert dtype(face.value(capi.LossCode.L1, 0.0, SUM, np.array([3 * least]), np.zeros(1, dtype))) == 3 * least


def test_outputs_may_be_inputs(face, dtype, rng):
    inputs, targets = SPREADS["gauss"](rng, 300, dtype)
    weights = rng.random(300).astype(dtype)
    gradient, hessian = cylosses.HuberLoss().grad_and_hess(inputs, targets, weight=weights, curvature="mm")
    for first, second in itertools.permutations(range(3), 2):
        arrays = [inputs.copy(), targets.copy(), weights.copy()]
        outputs = arrays[first], arrays[second]
        codes = HUBER, 1.0, MEAN, capi.Curvature.MM_CURVATURE
        face.gradient_and_hessian(*codes, *arrays[:2], *outputs, arrays[2])
        assert same_bits(outputs[0], gradient)
        assert same_bits(outputs[1], hessian)
    for axis in (0, 1):
        planes = [a.reshape(20, 15).copy() for a in (inputs, targets, weights)]
        expected = np.empty((2, 20, 15), dtype)
        codes = HUBER, 1.0, MEAN, capi.Curvature.MM_CURVATURE, axis
        face.gradient_and_hessian_along_axis(*codes, *planes[:2], *expected, planes[2])
        face.gradient_and_hessian_along_axis(*codes, *planes[:2], *planes[1:], planes[2])
        assert same_bits(np.stack(planes[1:]), expected)


@needs_compiler
def test_defaults(caller, dtype, rng):
    inputs, targets = SPREADS["gauss"](rng, 100, dtype)
    expected = cylosses.huber_loss(inputs, targets)
    assert caller.defaults(inputs, targets) == (expected, expected, 200)


@needs_compiler
def test_in_threads_of_the_caller(caller, dtype, rng):
    inputs, targets = (a.reshape(64, 100) for a in SPREADS["any window"](rng, 6400, dtype))
    found = np.empty(64)
    total = caller.each_row(0.3, inputs, targets, found, 4)
    loss = cylosses.HuberLoss(delta=0.3)
    assert same_bits(found.astype(dtype), loss(inputs, targets, axis=1))
    assert same_bits(dtype(total.compute()), loss(inputs, targets))
    assert total.count == 6400
    with pytest.raises(ValueError, match=r"parameter is not valid for huber: delta must be positive, got -1.0"):
        caller.each_row(-1.0, inputs, targets, found, 4)


def test_any_buffer_is_an_array():
    inputs, targets = [1.5, 2.0, 0.5], [1.0, 10.0, 0.5]
    for kind in ("f", "d"):
        made = array.array(kind, inputs)
        c_type = ctypes.c_float if kind == "f" else ctypes.c_double
        big = np.zeros(30, kind)
        big[::3][:3] = inputs
        for given in (made, memoryview(made), (c_type * 3)(*inputs), np.array(inputs, kind), np.array(inputs, "=" + kind)):
            assert views.value(HUBER, 1.0, SUM, given, array.array(kind, targets)) == 7.625
        with pytest.raises(ValueError, match="input must be C-contiguous"):
            views.value(HUBER, 1.0, SUM, big[::3][:3], array.array(kind, targets))


# Errors ----------------------------------------------------------------------------------------------------------------------


def arguments(dtype, planar=False, **changes):
    """Valid arguments of all functions by name, some changed."""
    shape = (2, 4) if planar else (8,)
    good = {"loss": HUBER, "parameter": 1.0, "reduction": MEAN, "curvature": capi.Curvature.MM_CURVATURE, "axis": 1, "n_threads": 1}
    good |= {name: np.ones(shape, dtype) for name in ("input", "target", "weight", "value_out", "gradient_out", "hessian_out")}
    if planar:
        good["value_out"] = np.ones(2, dtype)
    return good | changes


NAMES = [name for name in views.__all__ if name != "LossAccumulator"]
SIGNATURES = {name: list(inspect.signature(getattr(views, name)).parameters) for name in NAMES}


def refusals(face, name, dtype, exception, match, **changes):
    """Change an argument that the function has, and expect an exception."""
    if changes.keys() <= set(SIGNATURES[name]):
        given = arguments(dtype, name.endswith("axis"), **changes)
        with pytest.raises(exception, match=match):
            getattr(face, name)(*(given[key] for key in SIGNATURES[name]))


@pytest.mark.parametrize("name", NAMES)
def test_numbers_that_are_refused(name, face, dtype):
    given = arguments(dtype, name.endswith("axis"))
    getattr(face, name)(*(given[key] for key in SIGNATURES[name]))
    for bad in (-1, len(LOSSES), 1000):
        refusals(face, name, dtype, ValueError, rf"loss must be one of SMOOTH_L1 \(0\), .*, got {bad}", loss=bad)
    for bad in (-1, 2):
        refusals(face, name, dtype, ValueError, rf"reduction must be one of SUM \(0\), MEAN \(1\), got {bad}", reduction=bad)
    refusals(face, name, dtype, ValueError, r"curvature must be one of EXACT_CURVATURE \(0\), .*, got 3", curvature=3)
    refusals(face, name, dtype, ValueError, "n_threads must be at least 0, got -1", n_threads=-1)
    for bad in (2, -3):
        refusals(face, name, dtype, ValueError, f"axis must be 0, 1, -1 or -2, got {bad}", axis=bad)
    for bad in (0.0, -1.0, float("nan")):
        refusals(face, name, dtype, ValueError, f"huber: delta must be positive, got {bad}", parameter=bad)
    refusals(face, name, dtype, ValueError, "parameter must be 0, since l1 has none, got 1.0", loss=capi.LossCode.L1, parameter=1.0)
    if dtype is np.float32:
        refusals(face, name, dtype, ValueError, "delta=1e-50 rounds to 0.0 in float32", parameter=1e-50)


@pytest.mark.parametrize("name", NAMES)
def test_arrays_that_are_refused(name, face, dtype):
    planar = name.endswith("axis")
    shape, bad_shape = ("(2, 4)", (2, 3)) if planar else ("(8,)", (7,))
    for key in ("target", "weight", "gradient_out", "hessian_out"):
        got = str(bad_shape).replace("(", r"\(").replace(")", r"\)")
        expected = shape.replace("(", r"\(").replace(")", r"\)")
        bad = np.ones(bad_shape, dtype)
        refusals(face, name, dtype, ValueError, f"{key} must have shape {expected}, got {got}", **{key: bad})
    expected = r"\(2,\)" if planar else r"\(8,\)"
    refusals(face, name, dtype, ValueError, rf"value_out must have shape {expected}, got \(3,\)", value_out=np.ones(3, dtype))
    for bad, text in ((-1.0, "-1.0"), (np.inf, "inf"), (np.nan, "nan")):
        weight = arguments(dtype, planar)["weight"]
        weight.flat[5] = bad
        at = r"\[1, 1\]" if planar else r"\[5\]"
        refusals(face, name, dtype, ValueError, f"weight must be finite and not negative, got {text} at {at}", weight=weight)
    # Cython finds the dtype of a fused function by its first array.
    for key in ("input", "target", "gradient_out", "hessian_out", "value_out")[face is not views :]:
        refusals(face, name, dtype, ValueError, f"{key} must be an array, got None", **{key: None})


@pytest.mark.parametrize("output", ["value_out", "gradient_out", "hessian_out"])
@pytest.mark.parametrize("other", ["input", "target", "weight", "value_out", "gradient_out"])
def test_outputs_that_overlap(output, other, face, dtype):
    for name in NAMES:
        planar = name.endswith("axis")
        if (
            output in SIGNATURES[name]
            and other in SIGNATURES[name]
            and (output, other) not in {("value_out", "value_out"), ("gradient_out", "gradient_out"), ("value_out", "gradient_out")}
        ):
            for first, second in ((1, 0), (0, 1)):
                memory = np.ones(20, dtype)
                good = arguments(dtype, planar)
                step = good[output].shape[-1] if planar else 1
                changes = {}
                for key, start in ((output, first * step), (other, second * step)):
                    changes[key] = memory[start : start + good[key].size].reshape(good[key].shape)
                if not np.shares_memory(changes[output], changes[other]):
                    continue
                refusals(face, name, dtype, ValueError, "(must not overlap|must not be) ", **changes)
                assert memory.tolist() == [1] * 20


def test_values_of_an_axis_cannot_be_an_input(face, dtype):
    plane = np.ones((1, 3), dtype)
    with pytest.raises(ValueError, match="value_out must not overlap input"):
        face.value_along_axis(HUBER, 1.0, MEAN, 1, plane, np.zeros((1, 3), dtype), plane[0, :1])


@pytest.mark.parametrize("axis", [0, 1])
def test_what_is_changed_in_place_stays_as_it_was_if_a_weight_is_bad(axis, face, dtype, rng):
    planes = rng.random((3, 4, 5)).astype(dtype)
    planes[2, 3, 4] = -1
    before = planes.copy()
    with pytest.raises(ValueError, match=r"got -1.0 at \[3, 4\]"):
        face.gradient_along_axis(HUBER, 1.0, SUM, axis, planes[0], planes[1], planes[0], planes[2])
    assert same_bits(planes, before)


def test_numbers_and_buffers_that_python_refuses():
    ones = np.ones(3)
    good = {"loss": HUBER, "parameter": 1.0, "reduction": MEAN, "input": ones, "target": ones, "gradient_out": ones.copy()}
    read_only = np.ones(3)
    read_only.flags.writeable = False
    for changes, exception, text in (
        ({"loss": "huber"}, TypeError, "loss must be an integer, got str"),
        ({"loss": 2**40}, ValueError, "loss is out of range"),
        ({"parameter": "1"}, TypeError, "parameter must be a number, got str"),
        ({"parameter": None}, TypeError, "parameter must be a number, got NoneType"),
        ({"parameter": 10**400}, ValueError, "parameter is out of range"),
        ({"reduction": "mean"}, TypeError, "reduction must be an integer, got str"),
        ({"n_threads": 1.5}, TypeError, "n_threads must be an integer, got float"),
        ({"input": [1.0]}, TypeError, "input must have the buffer protocol, as NumPy arrays do, got list"),
        ({"target": np.ones(3, int)}, TypeError, "target must be of float32 or float64 in native byte order, got .* 'l'"),
        ({"target": np.ones(3, ">f8")}, TypeError, "target must be of float32 or float64 in native byte order"),
        ({"target": b"123"}, TypeError, "target must be of float32 or float64"),
        ({"target": np.ones(3, "f4")}, TypeError, "target must be of float64 like the other arrays, got float32"),
        ({"input": np.ones((3, 1))}, ValueError, "input must have 1 dimension, got 2"),
        ({"input": np.float64(1)}, (TypeError, ValueError), "input "),
        ({"weight": ones[::-1]}, ValueError, "weight must be C-contiguous, got strides"),
        ({"weight": np.zeros(3, "M8[s]")}, ValueError, "weight does not offer its memory"),
        ({"gradient_out": read_only}, ValueError, "gradient_out must be writable, got a read-only buffer"),
        ({"gradient_out": bytes(24)}, (TypeError, ValueError), "gradient_out must be"),
    ):
        with pytest.raises(exception, match=text):
            views.gradient(**{**good, **changes})
    with pytest.raises(ValueError, match="input must have 2 dimensions, got 1"):
        views.value_along_axis(HUBER, 1.0, MEAN, 1, ones, ones, np.ones(1))
    with pytest.raises(TypeError, match="axis must be an integer, got tuple"):
        views.value_along_axis(HUBER, 1.0, MEAN, (1,), ones, ones, np.ones(1))
    unaligned = np.frombuffer(bytearray(25), "u1")[1:].view("f8")
    with pytest.raises((TypeError, ValueError), match="input must be "):
        views.value(HUBER, 1.0, MEAN, unaligned, ones)


def test_a_refused_call_keeps_no_buffer():
    memory = bytearray(24)
    with pytest.raises(TypeError):
        views.value(HUBER, 1.0, MEAN, memoryview(memory).cast("d"), [1.0])
    memory.append(0)  # a BufferError if somebody had it


# Accumulators ----------------------------------------------------------------------------------------------------------------


def updates(face):
    return (lambda total, *given: total.update(*given)) if face is views else face.accumulate


def test_pieces_give_the_bits_of_a_single_call(face, dtype, rng):
    inputs, targets = SPREADS["any window"](rng, 5000, dtype)
    weights = rng.random(5000).astype(dtype)
    for given in (None, weights):
        total, others = views.LossAccumulator(), [views.LossAccumulator() for _ in range(3)]
        for piece in np.split(np.arange(5000), np.sort(rng.integers(0, 5000, 20))):
            weight = None if given is None else given[piece]
            updates(face)(others[rng.integers(3)], HUBER, 1.0, inputs[piece], targets[piece], weight, 2)
        for other in others:
            total.merge(other)
        assert total.count == 5000
        for reduction in capi.Reduction:
            expected = cylosses.HuberLoss(reduction.name.lower())(inputs, targets, weight=given)
            assert same_bits(dtype(total.compute(reduction)), expected)
        assert total.compute() == total.compute(MEAN)
        before = total.compute()
        for bad in (
            {"loss": 99},
            {"parameter": -1.0},
            {"target": targets[1:]},
            {"weight": np.full(5000, -1, dtype)},
            {"n_threads": -1},
        ):
            changed = {"loss": HUBER, "parameter": 1.0, "input": inputs, "target": targets, "weight": given, "n_threads": 1, **bad}
            with pytest.raises(ValueError, match=next(iter(bad))):
                updates(face)(total, *changed.values())
            assert (total.compute(), total.count) == (before, 5000)
        total.reset()
        assert (total.compute(SUM), total.count) == (0, 0)
        assert np.isnan(total.compute())


def test_a_total_is_rounded_to_the_widest_dtype():
    total, zero = views.LossAccumulator(), np.zeros(1)
    total.update(capi.LossCode.L1, 0.0, np.full(3, 0.1, "f4"), np.zeros(3, "f4"))
    assert total.compute() == np.float32(0.1)
    assert np.float32(total.compute(SUM)) == total.compute(SUM)
    other = views.LossAccumulator()
    other.update(capi.LossCode.L1, 0.0, zero + 0.1, zero)
    total.merge(other)
    assert total.compute(SUM) == 0.1 + 3 * float(np.float32(0.1))


def test_what_an_accumulator_refuses():
    total = views.LossAccumulator()
    for bad in (None, 3):
        with pytest.raises(TypeError, match="LossAccumulator"):
            total.merge(bad)
    with pytest.raises(ValueError, match="reduction must be one of"):
        total.compute(2)
    total.update(HUBER, 1.0, np.ones(1), np.zeros(1))
    for _ in range(62):
        total.merge(total)
    with pytest.raises(ValueError, match="more than"):
        total.merge(total)
    assert (total.compute(), total.count) == (0.5, 2**62)
    for operation in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="cannot pickle"):
            operation(total)


def test_threads_may_share_an_accumulator():
    total, ones, zeros = views.LossAccumulator(), np.ones(1000), np.zeros(1000)
    start = threading.Barrier(4)

    def work():
        start.wait(timeout=60)
        for _ in range(200):
            total.update(HUBER, 1.0, ones, zeros)
            total.compute()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
        assert not thread.is_alive()
    assert (total.compute(SUM), total.count) == (400_000, 800_000)


# Documentation, and programs built on it ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [views, functions], ids=["views", "accumulator"])
def test_examples(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("name", NAMES)
def test_docstrings(name):
    text = inspect.getdoc(getattr(views, name))
    for word in (*SIGNATURES[name], "Parameters\n", "Examples\n", "shape ("):
        assert word in text
    assert ("Returns\n" in text) == (name in ("value", "value_and_gradient"))
    assert "Raises\n" in text or "errors are the same" in text


def test_every_function_is_in_the_guide():
    guide = GUIDE.read_text(encoding="utf-8")
    assert [name for name in (*views.__all__, "accumulate") if not re.search(rf"`{name}[`(]", guide)] == []


@needs_compiler
def test_the_cython_of_the_guide(tmp_path, rng):
    (cython, *_), (setup, *_) = blocks("Cython: typed memoryviews", "cython"), blocks("Cython: typed memoryviews", "python")
    (tmp_path / "score.pyx").write_text(cython)
    (tmp_path / "setup.py").write_text(setup)
    build([sys.executable, "setup.py", "build_ext", "--inplace"], tmp_path)
    score = load("score", tmp_path)
    for dtype in DTYPES:
        inputs, targets = SPREADS["gauss"](rng, 1000, dtype)
        assert score.mean_huber(inputs, targets, 0.3) == cylosses.HuberLoss(delta=0.3)(inputs, targets)
    with pytest.raises(ValueError, match=r"delta must be positive, got -1.0"):
        score.mean_huber(inputs, targets, -1.0)
    with pytest.raises(ValueError, match=r"target must have shape \(1000,\), got \(999,\)"):
        score.mean_huber(inputs, targets[1:])


@pytest.fixture(scope="module")
def irls(tmp_path_factory):
    """The example package, built from a copy of its sources."""
    folder = tmp_path_factory.mktemp("irls")
    for source in EXAMPLE.iterdir():
        if source.is_file() and source.suffix in (".pyx", ".py", ".toml"):
            shutil.copy(source, folder)
    offline = ["--no-build-isolation", "--no-deps", "--no-index"]
    build([sys.executable, "-m", "pip", "install", *offline, "--target", "lib", "."], folder)
    return load("irls", folder / "lib")


@needs_compiler
@pytest.mark.parametrize("weighted", [False, True])
def test_the_package_gives_the_bits_of_the_library_in_any_number_of_threads(weighted, irls, rng):
    x = rng.normal(size=(150, 4))
    y = rng.normal(size=(6, 4)) @ x.T + 0.1 * rng.normal(size=(6, 150))
    y[rng.random((6, 150)) < 0.1] += 20
    weight = rng.integers(0, 3, 150).astype(float) if weighted else None
    serial, threaded = (irls.fit(x, y, 0.2, weight, n_threads=n) for n in (1, 4))
    assert all(same_bits(serial[key], threaded[key]) for key in serial)
    loss = cylosses.HuberLoss(delta=0.2)
    for fitted, target, found in zip(serial["fitted"], y, serial["loss"], strict=True):
        assert same_bits(loss(fitted, target, weight=weight), found)
        # At the minimum, the gradient is orthogonal to the features.
        np.testing.assert_allclose(x.T @ loss.grad(fitted, target, weight=weight), 0, atol=1e-9)


@needs_compiler
def test_the_package_passes_errors_on_from_its_threads(irls, rng):
    x, y = rng.normal(size=(50, 2)), rng.normal(size=(8, 50))
    with pytest.raises(ValueError, match=r"delta must be positive, got -1.0"):
        irls.fit(x, y, -1.0, n_threads=4)
    with pytest.raises(ValueError, match=r"weight must be finite and not negative, got -1.0 at \[0\]"):
        irls.fit(x, y, weight=-np.ones(50), n_threads=4)
