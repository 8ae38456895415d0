"""Parameters that are arrays: the bits of calls one by one with their numbers, and exact sums across them."""

from __future__ import annotations

import hashlib
import itertools
import pickle
import re
import struct
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cylosses
from cylosses import BroadcastWarning, L1Loss, QuantileLoss, SmoothL1Loss, StreamingLoss, functional, quantile_loss, smooth_l1_loss
from cylosses.losses import LOSSES

from .generators import random_parameter
from .reference import BFLOAT16, accepts, divisors, reduced, same_bits, summed_gradient

WITH_PARAMETER = [name for name, cls in LOSSES.items() if cls.parameter_name]
DTYPES = (np.float32, np.float64, np.float16, BFLOAT16, np.int64)
# Of the operands, and of the parameter; `mean` and `sum` over any axes.
SHAPES = [
    ((5, 3), (5, 3), (3,)),
    ((5, 3), (5, 1), (3,)),
    ((5, 3), (5, 3), (5, 1)),
    ((5, 3), (5, 3), (5, 3)),
    ((5, 1), (5, 1), (3,)),
    ((4,), (4,), (3, 1)),
    ((), (), (3,)),
    ((6,), (), (2, 1)),
    ((2, 3, 4), (2, 3, 4), (3, 1)),
    ((2, 3, 4), (3, 1), (2, 1, 4)),
    ((2, 3, 4), (2, 3, 4), (2, 3, 4)),
    ((2, 1, 4), (4,), (3, 1)),
    ((4, 3), (4, 3), (1, 1)),
    ((4, 3), (4, 3), (1,)),
    ((3,), (3,), (1, 1, 1)),
    ((0, 3), (0, 3), (3,)),
    ((3, 0), (3, 0), (3, 1)),
    ((3, 1), (3, 1), (0,)),
    ((700, 3), (700, 3), (3,)),
]

every_loss = pytest.mark.parametrize("name", WITH_PARAMETER)
# Every loss, and all shapes twice: what is done with shapes knows nothing of losses.
SMALL = [shapes for shapes in SHAPES if np.prod(shapes[0]) < 1000]
every_case = pytest.mark.parametrize(
    ("name", "shapes"),
    [(WITH_PARAMETER[k % len(WITH_PARAMETER)], shapes) for k, shapes in enumerate([*SHAPES, *reversed(SMALL)])],
    ids=str,
)


@pytest.fixture(autouse=True)
def _broadcast_quietly():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BroadcastWarning)
        yield


# What calls one by one return -----------------------------------------------------------------------------------------------------


def loss_of(name: str, parameter: Any, reduction: str = "none") -> cylosses.Loss:
    return LOSSES[name](reduction=reduction, **{str(LOSSES[name].parameter_name): parameter})


def parts(parameter: Any, shape: tuple[int, ...]):
    """Each number of a parameter, with where in `shape` it is the parameter."""
    parameter = np.asarray(parameter, np.float64)
    for index in np.ndindex(parameter.shape):
        places = (slice(k, k + 1) if n > 1 else slice(None) for k, n in zip(index, parameter.shape, strict=True))
        yield float(parameter[index]), (..., *places) if parameter.ndim < len(shape) else tuple(places)


class OneByOne:
    """The results of a call, put together from calls whose parameter is one number."""

    def __init__(self, name: str, parameter: Any, x: np.ndarray, t: np.ndarray, weight: Any = None, where: Any = None) -> None:
        self.name, self.parameter = name, parameter
        self.shape = np.broadcast_shapes(np.shape(x), np.shape(t), np.shape(parameter))
        self.operands = [np.broadcast_to(operand, self.shape) for operand in (x, t)]
        self.options = {"weight": weight, "where": where}
        self.losses = self.elementwise(lambda loss, x, t, at: loss(x, t))

    def elementwise(self, call: Any) -> np.ndarray:
        """Call with the loss, the operands and the place of each part."""
        result = np.empty(self.shape, loss_of(self.name, 1.0)(*[operand.ravel()[:0] for operand in self.operands]).dtype)
        for number, at in parts(self.parameter, self.shape):
            if result[at].size:
                result[at] = call(loss_of(self.name, number), *[operand[at] for operand in self.operands], at)
        return result

    def part_of(self, at: Any) -> dict[str, Any]:
        return {name: None if values is None else np.broadcast_to(values, self.shape)[at] for name, values in self.options.items()}

    def values(self, reduction: str, axis: Any = None, keepdims: bool = False) -> Any:
        if reduction == "none":
            return self.elementwise(lambda loss, x, t, at: loss(x, t, **self.part_of(at)))
        return reduced(self.losses, reduction, *self.options.values(), axis, keepdims)

    def derivatives(self, reduction: str, axis: Any, grad_output: Any, method: Any) -> list[np.ndarray]:
        """Derivatives of each element: those of a sum, multiplied by grad_output over divisor as a fraction."""
        factors = np.broadcast_to(np.asarray(grad_output), self.shape)
        if reduction == "mean":
            whole = np.broadcast_to(divisors(self.shape, *self.options.values(), axis), self.shape)
        results: list[np.ndarray] = []
        # Slices of a mean have different divisors, and so a call each.
        sliced = reduction == "mean" and axis is not None
        for number, at in parts(self.parameter, self.shape):
            loss = loss_of(self.name, number, "none")
            found = [operand[at] for operand in self.operands]
            if found[0].size == 0:
                continue
            options = self.part_of(at)
            for index in np.ndindex(found[0].shape) if sliced else [...]:
                sub = tuple(slice(k, k + 1) for k in index) if sliced else ...
                factor: Any = factors[at][sub]
                if reduction == "mean":
                    divisor = whole[at][sub].ravel()[0]
                    factor = Fraction(float(factor.ravel()[0])) / divisor if divisor else 0.0
                given = {name: None if values is None else values[sub] for name, values in options.items()}
                got = method(loss, *[operand[sub] for operand in found], grad_output=factor, **given)
                if not results:
                    results = [np.zeros(self.shape, piece.dtype) for piece in got]
                for result, piece in zip(results, got, strict=True):
                    result[at][sub] = piece
        return results or [np.empty(self.shape, self.losses.dtype)] * 2


# Drawing --------------------------------------------------------------------------------------------------------------------------


def draw_values(rng, shape, dtype):
    values = rng.normal(size=shape) * rng.choice([0.01, 1.0, 100.0], shape)
    values = values.astype(dtype) if np.dtype(dtype).kind != "i" else rng.integers(-9, 9, shape)
    return np.asarray(values, order=str(rng.choice(["C", "F"])))


def draw_parameter(rng, name, shape, dtype):
    working = np.float64 if np.dtype(dtype).kind in "i" or np.dtype(dtype) == np.float64 else np.float32
    numbers = [random_parameter(rng, working, name) for _ in range(int(np.prod(shape)))]
    return np.array(numbers, np.float64).reshape(shape)


def draw(rng, name, shapes):
    of_input, of_target, of_parameter = shapes
    dtype = DTYPES[rng.integers(len(DTYPES))]
    x, t = draw_values(rng, of_input, dtype), draw_values(rng, of_target, dtype)
    parameter = draw_parameter(rng, name, of_parameter, dtype)
    shape = np.broadcast_shapes(of_input, of_target, of_parameter)
    weight = rng.choice([None, "row", "all"])
    if weight is not None:
        weight = rng.choice([0.0, 0.5, 1.0, 3.0, rng.uniform()], shape if weight == "all" else shape[-1:]).astype(np.float64)
    where = rng.random(shape) < 0.8 if rng.random() < 0.3 else None
    axes = [None, *range(-len(shape), len(shape)), *itertools.combinations(range(len(shape)), 2)]
    axis = axes[rng.integers(len(axes))]
    return x, t, parameter, {"weight": weight, "where": where}, axis


# Values ---------------------------------------------------------------------------------------------------------------------------


@every_case
def test_values_have_the_bits_of_calls_one_by_one(name, shapes, rng):
    function = getattr(functional, f"{name}_loss")
    own = LOSSES[name].parameter_name
    for _ in range(4):
        x, t, parameter, options, axis = draw(rng, name, shapes)
        oracle = OneByOne(name, parameter, x, t, **options)
        for reduction in ("none", "mean", "sum"):
            settings = {} if reduction == "none" else {"axis": axis, "keepdims": bool(rng.integers(2))}
            expected = oracle.values(reduction, **settings)
            calls = {**options, **settings, "n_threads": int(rng.integers(1, 4))}
            got = loss_of(name, parameter, reduction)(x, t, **calls)
            assert same_bits(got, expected)
            assert type(got) is type(expected)
            assert same_bits(function(x, t, reduction=reduction, **{own: parameter.tolist()}, **calls), expected)
            out = np.full(np.shape(expected), 77, np.asarray(expected).dtype, order="F")
            assert loss_of(name, parameter, reduction)(x, t, out=out, **calls) is out
            assert same_bits(out, np.asarray(expected))


@every_loss
def test_one_number_without_dimensions_is_that_number(name, rng):
    parameter = random_parameter(rng, np.float64, name)
    for given in (np.array(parameter), np.float64(parameter)):
        assert loss_of(name, given) == loss_of(name, parameter)
        assert loss_of(name, given)(1.5, 0.0).shape == ()
    assert loss_of(name, [parameter]) != loss_of(name, parameter)
    assert same_bits(loss_of(name, [parameter])(1.5, 0.0), np.array([loss_of(name, parameter)(1.5, 0.0)]))


def exact_reduction(losses, reduction, axis, weight=None):
    """The exact reduction of losses that are there: an absolute error of a number that is not negative is that number."""
    return L1Loss(reduction=reduction)(losses, np.zeros((), losses.dtype), weight=weight, axis=axis)


@pytest.mark.parametrize(
    ("shape", "of_parameter", "axes"),
    [
        ((100_000, 3), (3,), (None, 0, 1)),
        ((3, 100_000), (3, 1), (None, 0, 1)),
        ((3, 2, 5_000), (3, 1, 1), (0, 1, (0, 1), (0, 2))),
        ((2, 300, 530), (2, 1, 1), (0, (0, 1), (0, 2), None)),  # slices whose parts are long, more than are summed at once
        ((300, 2, 530), (2, 1), ((0, 1), (0, 2), 1)),
        ((4_096, 2), (4_096, 1), (None, 0, 1)),
        ((32, 20, 16), (32, 1, 16), (0, 1, 2, (0, 1), (1, 2))),
    ],
    ids=str,
)
def test_large_sums_are_exact(shape, of_parameter, axes, rng):
    dtype = (np.float32, np.float64, np.float16)[rng.integers(3)]
    x, t = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    q = rng.uniform(size=of_parameter)
    losses = np.empty(shape, dtype)
    for number, at in parts(q, shape):
        losses[at] = quantile_loss(x[at], t[at], "none", q=number)
    assert same_bits(quantile_loss(x, t, "none", q=q), losses)
    for axis in axes:
        weight = rng.uniform(0, 2, shape[-1:]) if rng.integers(2) else None
        for reduction in ("mean", "sum"):
            expected = exact_reduction(losses, reduction, axis, weight)
            assert same_bits(quantile_loss(x, t, reduction, q=q, axis=axis, weight=weight), expected)


# Derivatives ----------------------------------------------------------------------------------------------------------------------


def grad_of(wrt):
    return lambda loss, *operands, **options: [loss.grad(*operands, wrt=wrt, **options)]


def grad_and_hess(curvature):
    return lambda loss, *operands, **options: loss.grad_and_hess(*operands, curvature=curvature, **options)


def draw_incoming(rng, reduction, shape, axis):
    if reduction == "none":
        return rng.normal(size=shape[-1:])
    return 1.0 if rng.integers(2) else float(rng.normal())


@every_case
def test_gradients_have_the_bits_of_calls_one_by_one(name, shapes, rng):
    shapes = shapes if shapes in SMALL else SMALL[0]
    backward = getattr(functional, f"{name}_loss_backward")
    own = LOSSES[name].parameter_name
    for wrt, reduction in itertools.product(("input", "target"), ("none", "mean", "sum")):
        x, t, parameter, options, axis = draw(rng, name, shapes)
        oracle = OneByOne(name, parameter, x, t, **options)
        axis = None if reduction == "none" else axis
        incoming = draw_incoming(rng, reduction, oracle.shape, axis)
        each, *_ = oracle.derivatives(reduction, axis, incoming, grad_of(wrt))
        operand = x if wrt == "input" else t
        expected = each if operand.shape == oracle.shape else summed_gradient(each, operand.shape)
        loss = loss_of(name, parameter, reduction)
        calls = {"grad_output": incoming, "wrt": wrt, "axis": axis, "n_threads": int(rng.integers(1, 4)), **options}
        assert same_bits(loss.grad(x, t, **calls), expected)
        out = np.full(operand.shape, 77, expected.dtype, order="F")
        assert loss.grad(x, t, out=out, **calls) is out
        assert same_bits(out, expected)
        assert same_bits(backward(calls.pop("grad_output"), x, t, reduction, **{own: parameter}, **calls), expected)


@every_case
def test_pairs_have_the_bits_of_calls_one_by_one(name, shapes, rng):
    shapes = shapes if shapes in SMALL else SMALL[0]
    for curvature, reduction in itertools.product(("exact", "mm", "ones"), ("none", "mean", "sum")):
        x, t, parameter, options, axis = draw(rng, name, shapes)
        oracle = OneByOne(name, parameter, x, t, **options)
        loss = loss_of(name, parameter, reduction)

        def fitted(each, x=x, oracle=oracle):
            return each if x.shape == oracle.shape else summed_gradient(each, x.shape)

        expected = [fitted(each) for each in oracle.derivatives(reduction, None, 1.0, grad_and_hess(curvature))]
        for got, wanted in zip(loss.grad_and_hess(x, t, curvature=curvature, **options), expected, strict=True):
            assert same_bits(got, wanted)

        axis = None if reduction == "none" else axis
        value, gradient = loss.value_and_grad(x, t, axis=axis, **options)
        assert same_bits(value, oracle.values(reduction) if reduction == "none" else oracle.values(reduction, axis))
        assert same_bits(gradient, fitted(oracle.derivatives(reduction, axis, 1.0, grad_of("input"))[0]))
        out = np.empty_like(gradient)
        assert same_bits(loss.value_and_grad(x, t, axis=axis, out=out, **options)[0], value)
        assert same_bits(out, gradient)


@pytest.mark.parametrize(
    ("of_operand", "of_parameter"), [((100_000, 1), (3,)), ((90, 1, 40), (90, 3, 1)), ((1, 2_000, 60), (2, 1, 1)), ((), (4_096,))]
)
def test_large_gradients_of_broadcast_operands_are_exact(of_operand, of_parameter, rng):
    """An operand that many parameters share takes the sum of what it has with each."""
    dtype = (np.float32, np.float64, np.float16)[rng.integers(3)]
    shape = np.broadcast_shapes(of_operand, of_parameter)
    x, t = (rng.normal(size=of_operand).astype(dtype) for _ in range(2))
    q, incoming = rng.uniform(size=of_parameter), rng.normal(size=shape[-1:])
    each = np.empty(shape, dtype)
    for number, at in parts(q, shape):
        sliced = [np.broadcast_to(operand, shape)[at] for operand in (x, t)]
        each[at] = QuantileLoss("none", q=number).grad(*sliced, grad_output=np.broadcast_to(incoming, shape)[at])
    got = QuantileLoss("none", q=q).grad(x, t, grad_output=incoming)
    zeros, ones = np.zeros(of_operand, dtype), np.ones(shape, dtype)  # the exact sum of incoming gradients is that of L1
    assert same_bits(got, L1Loss(reduction="none").grad(zeros, -ones, grad_output=each))


def test_an_incoming_gradient_is_for_each_slice(rng):
    x, t, q = rng.normal(size=(50, 3)), rng.normal(size=(50, 3)), np.array([0.1, 0.5, 0.9])
    loss, weight = QuantileLoss(q=q), rng.uniform(0, 2, (50, 3))
    for axis, incoming in ((0, rng.normal(size=3)), (1, rng.normal(size=50))):
        got = loss.grad(x, t, grad_output=incoming, weight=weight, axis=axis)
        for k in range(3):
            if axis == 0:
                expected = QuantileLoss(q=q[k]).grad(x[:, k], t[:, k], grad_output=incoming[k], weight=weight[:, k])
                assert same_bits(got[:, k], expected)
        for row in range(50) if axis == 1 else ():
            assert same_bits(got[row], loss.grad(x[row], t[row], grad_output=incoming[row], weight=weight[row]))


# Outputs --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_outputs_may_overlap_operands(reduction, axis, rng):
    axis = None if reduction == "none" else axis
    host = rng.normal(size=(60, 3))
    t, beta = rng.normal(size=(60, 3)), np.array([0.1, 1.0, 2.0])
    loss = SmoothL1Loss(reduction=reduction, beta=beta)
    for shift in (0, 1):
        memory = np.concatenate([host.ravel(), np.zeros(3)])
        x, out = memory[:180].reshape(60, 3), memory[shift : shift + 180].reshape(60, 3)
        expected = loss.value_and_grad(x.copy(), t, axis=axis)
        value, gradient = loss.value_and_grad(x, t, axis=axis, out=out)
        assert gradient is out
        assert same_bits(out, expected[1])
        assert same_bits(value, expected[0])
    y = host[:, :1].copy()
    expected = loss.grad(y.copy(), t, axis=axis)
    assert same_bits(loss.grad(y, t, axis=axis, out=y), expected)


@pytest.mark.parametrize("axis", [(), 0, 1])
@pytest.mark.parametrize("wrt", ["input", "target"])
def test_outputs_may_overlap_operands_where_each_slice_has_an_incoming_gradient(wrt, axis, rng):
    x, t = rng.normal(size=(60, 3)), rng.normal(size=(60, 3))
    incoming = rng.normal(size={(): (60, 3), 0: (3,), 1: (60,)}[axis])
    for reduction, weight in itertools.product(("mean", "sum"), (None, rng.uniform(0, 2, (60, 3)))):
        loss = SmoothL1Loss(reduction=reduction, beta=[0.1, 1.0, 2.0])
        options = {"grad_output": incoming, "wrt": wrt, "axis": axis, "weight": weight}
        operands = {"input": x.copy(), "target": t.copy()}
        expected = loss.grad(**operands, **options)
        assert same_bits(loss.grad(**operands, **options, out=operands[wrt]), expected)


def test_bad_weights_leave_an_output_that_overlaps_as_it_was(rng):
    x, t = rng.normal(size=(60, 3)), rng.normal(size=(60, 3))
    weight = np.ones((60, 3))
    weight[-1, -1] = -1.0
    before = x.copy()
    for reduction, axis in (("none", None), ("sum", 1), ("mean", 1), ("mean", None)):
        loss = SmoothL1Loss(reduction=reduction, beta=[0.1, 1.0, 2.0])
        with pytest.raises(ValueError, match="weight must be finite and not negative"):
            loss.value_and_grad(x, t, weight=weight, axis=axis, out=x)
        assert same_bits(x, before)
        with pytest.raises(ValueError, match="weight must be finite and not negative"):
            loss(x, t, weight=weight, axis=axis)


# Losses as objects ----------------------------------------------------------------------------------------------------------------


@every_loss
def test_losses_are_what_their_parameters_are(name, rng):
    parameter = draw_parameter(rng, name, (2, 3), np.float64)
    loss = loss_of(name, parameter)
    own = getattr(loss, str(LOSSES[name].parameter_name))
    before = parameter.copy()
    parameter[...] = 0.25
    assert same_bits(own, before)
    assert not own.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        own[0] = 0.5
    same = [
        loss_of(name, before),
        loss_of(name, before.tolist()),
        pickle.loads(pickle.dumps(loss)),
        eval(repr(loss), {**LOSSES_BY_CLASS}),
    ]
    for other in same:
        assert other == loss
        assert hash(other) == hash(loss)
        assert repr(other) == repr(loss)
    for other in (loss_of(name, before, "sum"), loss_of(name, before[:1]), loss_of(name, before[None]), loss_of(name, 0.5)):
        assert other != loss
    assert len({loss, *same}) == 1


LOSSES_BY_CLASS = {cls.__name__: cls for cls in LOSSES.values()} | {"numpy": np}


def test_equal_parameters_are_equal_however_they_were_made():
    q = np.array([0.1, 0.5, 0.9])
    spread = QuantileLoss(q=np.broadcast_to(q, (10_000, 3)))
    assert (
        spread
        == QuantileLoss(q=np.tile(q, (10_000, 1)))
        == eval(repr(spread), LOSSES_BY_CLASS)
        == pickle.loads(pickle.dumps(spread))
    )
    assert hash(spread) == hash(QuantileLoss(q=np.tile(q, (10_000, 1))))
    assert spread != QuantileLoss(q=q)
    assert repr(spread) == "QuantileLoss(reduction='mean', q=numpy.broadcast_to([[0.1, 0.5, 0.9]], (10000, 3)))"
    assert repr(SmoothL1Loss(beta=[np.inf, -0.0])) == "SmoothL1Loss(reduction='mean', beta=[float('inf'), 0.0])"
    empty = SmoothL1Loss(beta=np.empty((0, 3)))
    assert empty == eval(repr(empty), LOSSES_BY_CLASS) == pickle.loads(pickle.dumps(empty))
    assert SmoothL1Loss(beta=[0.0]) == SmoothL1Loss(beta=[-0.0])


@pytest.mark.parametrize(
    "given",
    [[1, 2], (1.0, 2.0), np.array([1, 2], np.uint8), np.array([1, 2], np.float16), np.array([1.0, 2.0], ">f4"),
     np.array([1.0, 2.0], BFLOAT16), np.array([True, 2], object), [Fraction(1), Fraction(2)], np.array([1.0, 9.0, 2.0, 9.0])[::2]],
    ids=repr,
)  # fmt: skip
def test_arrays_of_any_real_dtype(given):
    assert SmoothL1Loss(beta=given) == SmoothL1Loss(beta=[1.0, 2.0])


def test_parameters_have_no_say_in_the_dtype(rng):
    x, t = rng.normal(size=(4, 2)).astype(np.float32), rng.normal(size=(4, 2)).astype(np.float32)
    beta = np.array([0.1, 1 / 3])
    expected = smooth_l1_loss(x, t, "none", beta=beta)
    assert expected.dtype == np.float32
    assert same_bits(smooth_l1_loss(x, t, "none", beta=beta.astype(np.float32)), expected)


def test_arrays_as_options_and_in_the_place_of_beta(rng):
    x, t, beta = rng.normal(size=(4, 2)), rng.normal(size=(4, 2)), np.array([0.1, 2.0])
    expected = smooth_l1_loss(x, t, reduction="none", beta=beta)
    assert same_bits(smooth_l1_loss(x, t, "none", beta), expected)
    assert same_bits(smooth_l1_loss(x, t, {"reduction": "none", "beta": beta}), expected)
    assert same_bits(smooth_l1_loss(x, t, None, None, "none", beta, {"beta": beta.tolist()}), expected)
    with pytest.raises(TypeError, match="beta is given twice with different values"):
        smooth_l1_loss(x, t, None, None, "none", beta, {"beta": [0.1, 3.0]})


# Errors and warnings --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "given", "message"),
    [
        (ValueError, [0.1, 1.5], r"q\[1\] must be between 0 and 1, got 1\.5"),
        (ValueError, [[0.1], [-1]], r"q\[1, 0\] must be between 0 and 1, got -1\.0"),
        (ValueError, [0.5, np.nan], r"q\[1\] must be between 0 and 1, got nan"),
        (TypeError, ["0.5"], r"q must be one real number, or an array of them, got an array of dtype <U3"),
        (TypeError, [None, 0.5], r"q\[0\] must be one real number, got None"),
        (TypeError, [0.5, 1j], r"got an array of dtype complex128"),
        (TypeError, [[0.5], [0.5, 0.1]], r"q cannot be turned into an array of numbers"),
        (TypeError, np.ma.array([0.5, 0.1], mask=[True, False]), r"q is a masked array"),
        (ValueError, [0.5, 10**400], r"q\[1\] lies beyond the range of float64"),
        (ValueError, np.linspace(0, 1, 4097), r"q of shape \(4097,\) has 4097 elements .* differ; at most 4096"),
        (ValueError, np.linspace(0, 1, 8192).reshape(2, 64, 64), r"q of shape \(2, 64, 64\) has 8192 elements"),
    ],
)  # fmt: skip
def test_bad_arrays(error, given, message):
    for call in (lambda: QuantileLoss(q=given), lambda: quantile_loss([1.0, 2.0], [2.0, 3.0], q=given)):
        with pytest.raises(error, match=message):
            call()


def test_what_equals_a_parameter_that_came_before_is_still_refused():
    for good, bad in (([0.5, 1.0], [0.5 + 0j, 1.0]), (np.array([0.5, 1.0]), np.array([0.5 + 0j, 1.0]))):
        loss = QuantileLoss(q=good)
        with pytest.raises(TypeError, match=r"^q must be one real number|^q\[0\] must be one real number"):
            QuantileLoss(q=bad)
        assert QuantileLoss(q=good) == QuantileLoss(q=tuple(np.float32(good))) == loss
    before = np.array([0.1, 0.2])
    first = QuantileLoss(q=before)
    before[0] = 0.3
    assert QuantileLoss(q=before) == QuantileLoss(q=[0.3, 0.2]) != first


def test_as_many_numbers_as_are_taken(rng):
    q = rng.uniform(size=(4096, 1))
    x, t = rng.normal(size=4096), rng.normal(size=(4096, 1))
    assert quantile_loss(x[:, None], t, q=np.broadcast_to(q, (4096, 1))) == quantile_loss(x[:, None], t, q=q)
    wide = np.broadcast_to(q, (4096, 500))
    assert same_bits(quantile_loss(x[:, None], t, q=wide, axis=1), quantile_loss(x[:, None], t, "none", q=q)[:, 0])


def test_numbers_that_float32_does_not_hold():
    x = np.ones((2, 2), np.float32)
    with pytest.raises(ValueError, match=r"eps\[0, 1\]=1e-300 rounds to 0\.0 in float32, the working dtype: eps must be positive"):
        cylosses.charbonnier_loss(x, x, eps=[[1.0, 1e-300]])
    assert accepts("charbonnier", 1e-300, np.float64)
    cylosses.charbonnier_loss(x.astype(np.float64), x, eps=[[1.0, 1e-300]])
    out = x.copy()
    with pytest.raises(ValueError, match="rounds to"):
        cylosses.charbonnier_loss(out, x, "none", eps=[[1.0, 1e-300]], out=out)
    assert same_bits(out, x)


def test_shapes_that_do_not_go_together():
    with pytest.raises(
        ValueError, match=r"q of shape \(3,\) cannot be broadcast with input of shape \(5, 2\) and target of shape \(2,\)"
    ):
        quantile_loss(np.zeros((5, 2)), np.zeros(2), q=[0.1, 0.5, 0.9])
    with pytest.raises(ValueError, match=r"axis 2 is out of bounds for the shape \(3, 4\)"):
        quantile_loss(np.zeros(4), np.zeros(4), q=[[0.1], [0.5], [0.9]], axis=2)
    with pytest.raises(ValueError, match=r"out has shape \(4,\); the result needs \(3, 4\)"):
        quantile_loss(np.zeros(4), np.zeros(4), "none", q=[[0.1], [0.5], [0.9]], out=np.zeros(4))


def test_a_parameter_that_is_broadcast_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quantile_loss(np.zeros(4), np.zeros(4), q=[[0.1], [0.5], [0.9]])
        quantile_loss(np.zeros((4, 3)), np.zeros((4, 3)), q=[0.1, 0.5, 0.9], axis=0)


Q3 = [0.1, 0.5, 0.9]


@pytest.mark.parametrize(
    ("of_input", "of_target", "q"),
    [
        ((4, 3), (4, 1), Q3),
        ((4, 1), (4, 3), Q3),
        ((4, 3), (4, 1), np.broadcast_to(Q3, (4, 3))),
        ((4, 3), (4, 1), np.broadcast_to(0.5, (4, 3))),
        ((4, 3), (4, 1), [[Q3], [Q3]]),
        ((3, 4), (4,), np.reshape(Q3, (3, 1))),
        ((5, 4, 3), (4, 1), np.full((5, 1, 3), 0.5)),
        ((3, 1), (1, 3), np.full((3, 3), 0.5)),
    ],
    ids=lambda given: str(given if isinstance(given, tuple) else np.shape(given)),
)
def test_operands_stretched_along_axes_of_the_parameter_warn_of_nothing(of_input, of_target, q):
    x, t, loss = np.ones(of_input), np.zeros(of_target), QuantileLoss(q=q)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = loss(x, t)
        assert loss.value_and_grad(x, t)[0] == value
        total = loss.streaming()
        total.update(x, t)
        assert total.compute() == value
        loss.grad(x, t, wrt="target")
        loss.grad_and_hess(x, t)


@pytest.mark.parametrize(
    ("of_input", "of_target", "q"),
    [
        ((3,), (3, 1), 0.5),
        ((3,), (3, 1), [0.5]),
        ((3,), (3, 1), Q3),  # the target may be stretched, the input may not
        ((3,), (3, 1), np.reshape(Q3, (3, 1))),
        ((3, 1), (3,), Q3),
        ((3, 3), (3,), Q3),
        ((4, 3), (4, 1), np.full((4, 1), 0.5)),
        ((4, 3), (1, 3), Q3),
        ((5, 4, 3), (4, 1), Q3),
        ((1, 3), (3,), Q3),  # nothing is stretched, but an axis is missing
    ],
    ids=lambda given: str(given if isinstance(given, tuple) else np.shape(given)),
)
def test_other_operands_are_warned_of_with_a_parameter_too(of_input, of_target, q):
    with pytest.warns(BroadcastWarning, match=re.escape(f"input has shape {of_input} and target has shape {of_target}")):
        quantile_loss(np.zeros(of_input), np.zeros(of_target), q=q)


# Streaming ------------------------------------------------------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("axis", [None, 0, 1, 2, (0, 1), (0, 2)], ids=str)
def test_streaming_has_the_bits_of_one_call(name, axis, rng):
    parameter = draw_parameter(rng, name, (3, 1), np.float32)
    x, t = rng.normal(size=(12, 3, 5)).astype(np.float32), rng.normal(size=(12, 3, 5))
    weight = rng.uniform(0, 2, (12, 3, 5)) if rng.integers(2) else None
    for reduction in ("mean", "sum"):
        loss = loss_of(name, parameter, reduction)
        total, other = loss.streaming(axis), loss.streaming(axis)
        summed = axis is None or 0 in np.atleast_1d(axis)
        for piece in (slice(0, 5), slice(5, 12)) if summed else (slice(None),):
            target = other if piece.start == 5 else total
            target.update(x[piece], t[piece], None if weight is None else weight[piece])
        total.merge(other)
        assert same_bits(total.compute(), loss(x, t, weight=weight, axis=axis))
        again = StreamingLoss.from_bytes(total.to_bytes())
        assert again == total == pickle.loads(pickle.dumps(total))
        assert again.loss == loss
        assert again.to_bytes() == total.to_bytes()
        assert same_bits(again.compute(), total.compute())
        with pytest.raises(ValueError, match="cannot be merged into"):
            total.merge(loss_of(name, 0.5, reduction).streaming(axis))


def test_states_before_the_first_piece_and_of_any_parameter():
    for q, axis in itertools.product(
        ([0.5], [[0.1, 0.2]], np.broadcast_to([[0.1], [0.2]], (2, 300)), np.empty((0, 2))), (None, -1, (0, -2))
    ):
        total = QuantileLoss(q=q).streaming(axis)
        assert StreamingLoss.from_bytes(total.to_bytes()) == total
        assert len(total.to_bytes()) < 120


def state(q, shape, kept, axes, lengths, slices, *, number=None, dtype=4):
    """A state of version 3, as docs/state-format.md has it, of a mean of quantile losses."""
    number = len(axes) if number is None else number
    content = struct.pack("<BBBBBB", 1, dtype, 8, len(lengths), number, len(shape)) + b"quantile"
    content += struct.pack(f"<{2 * len(shape)}Q{len(q)}d", *shape, *kept, *q)
    content += struct.pack(f"<{len(axes)}b{len(lengths)}Q", *axes, *lengths)
    for total, exponent, count in slices:  # one byte each for the odd significands of the losses and of the number of elements
        zeros = (count & -count).bit_length() - 1
        content += struct.pack("<BQhHhHbb", 0, count, exponent, 1, zeros, 1, total, count >> zeros)
    body = b"\x93CYLOSS\x03" + struct.pack("<Q", 16 + len(content) + 8) + content
    return body + hashlib.blake2b(body, digest_size=8).digest()


def test_the_bytes_are_as_documented():
    x, t = np.array([[3.0, 1.0], [5.0, 9.0]]), np.array([[1.0, 3.0], [5.0, 1.0]])
    q = [0.25, 0.5]  # losses 1.5, 1; 0, 4
    columns, whole = QuantileLoss(q=q).streaming(axis=0), QuantileLoss(q=q).streaming()
    columns.update(x, t)
    whole.update(x, t)
    assert columns.to_bytes() == state(q, (2,), (2,), (0,), (2,), [(3, -1, 2), (5, 0, 2)])
    assert whole.to_bytes() == state(q, (2,), (2,), (), (), [(13, -1, 4)], number=255)
    spread = QuantileLoss(q=[q, q]).streaming()
    spread.update(x, t)
    assert spread.to_bytes() == state(q, (2, 2), (1, 2), (), (), [(13, -1, 4)], number=255)


@pytest.mark.parametrize(
    ("words", "damaged"),
    [
        ("q[1] must be between 0 and 1, got 1.5", {"q": [0.25, 1.5]}),
        ("not in normal form", {"q": [0.25, 0.25]}),  # which are one number
        ("not in normal form", {"q": [-0.0, 0.5]}),
        ("no parameter of the shape (3,) has elements of the shape (2,)", {"shape": (3,)}),
        ("its parameter has 5000 elements, more than the 4096", {"shape": (5000,), "kept": (5000,), "q": [0.25, 0.5] * 2500}),
        ("its lengths do not add up", {"q": [0.25]}),
        ("a parameter of shape (2,) makes no data of shape (*, 3)", {"lengths": (3,), "slices": [(3, -1, 2)] * 3}),
        ("a parameter of shape (2, 1, 1) makes no data of shape (*, 2)", {"shape": (2, 1, 1), "kept": (2, 1, 1)}),
        ("its axes", {"axes": (1, 0)}),
        ("its lengths do not add up", {"number": 254}),
        ("its lengths do not add up", {"number": 255}),
        ("no array has the shape", {"shape": (2**40, 2**40, 2), "kept": (1, 1, 2)}),
    ],
)  # fmt: skip
def test_states_that_no_data_makes_are_refused(words, damaged):
    good = {"q": [0.25, 0.5], "shape": (2,), "kept": (2,), "axes": (0,), "lengths": (2,), "slices": [(3, -1, 2), (5, 0, 2)]}
    StreamingLoss.from_bytes(state(**good))
    with pytest.raises(ValueError, match=rf"not a valid state: .*{re.escape(words)}"):
        StreamingLoss.from_bytes(state(**(good | damaged)))


def test_a_state_of_float32_data_has_a_parameter_that_float32_holds():
    total = cylosses.CharbonnierLoss(eps=[1.0, 1e-300]).streaming()
    with pytest.raises(ValueError, match=r"eps\[1\]=1e-300 rounds to"):
        total.update(np.ones((3, 2), np.float32), np.ones((3, 2), np.float32))
    assert total.count == 0
    total.update(np.ones((3, 2)), np.ones((3, 2)))
    blob = bytearray(total.to_bytes()[:-8])
    blob[17] = 3
    with pytest.raises(ValueError, match=r"not a valid state: eps\[1\]=1e-300 rounds to"):
        StreamingLoss.from_bytes(bytes(blob) + hashlib.blake2b(blob, digest_size=8).digest())


# Metrics --------------------------------------------------------------------------------------------------------------------------


def test_metrics_take_a_parameter_for_each_output(rng):
    metrics = pytest.importorskip("cylosses.sklearn")
    y, prediction, q = rng.normal(size=(40, 3)), rng.normal(size=(40, 3)), [0.1, 0.5, 0.9]
    weight = rng.uniform(size=40)
    got = metrics.mean_quantile_error(y, prediction, q=q, multioutput="raw_values", sample_weight=weight)
    assert same_bits(got, quantile_loss(prediction, y, q=q, axis=0, weight=weight[:, None]))
    assert metrics.mean_quantile_error(y, prediction, q=q) == quantile_loss(prediction, y, q=q)
    # One target, predicted at several quantiles.
    one = metrics.mean_quantile_error(y[:, 0], prediction, q=q, multioutput="raw_values")
    assert same_bits(one, quantile_loss(prediction, y[:, [0, 0, 0]], q=q, axis=0))
    with pytest.raises(ValueError, match=r"q must broadcast to the shape \(40, 3\), got the shape \(2,\)"):
        metrics.mean_quantile_error(y, prediction, q=[0.1, 0.5])
    with pytest.raises(ValueError, match="as many outputs"):
        metrics.mean_quantile_error(y[:, 0], prediction)


# Documentation --------------------------------------------------------------------------------------------------------------------


@pytest.mark.source_tree
def test_the_page_runs():
    page = (Path(__file__).parents[1] / "docs" / "parameters.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile("\n".join(blocks), "docs/parameters.md", "exec"), {})
