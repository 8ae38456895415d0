"""The derivative by differences of the loss, and what surrounds it: the incoming gradient, the divisor of the mean,
broadcast operands, one pass for both.

That the derivative is right to the last places everywhere is the subject of test_formulas.
"""

from __future__ import annotations

import numpy as np
import pytest

from cylosses import functional
from cylosses.losses import LOSSES

from .generators import DTYPES, SPREADS, away_from_kinks
from .reference import (
    ORACLE,
    QUANTITIES,
    accepts,
    central_difference,
    is_scaled,
    reduced,
    same_bits,
    summed_gradient,
    ulp_error,
    working_parameter,
)

pytestmark = pytest.mark.parametrize("name", LOSSES)


def derivative(name, inputs, targets, **setting):
    return LOSSES[name](reduction="none", **setting).grad(inputs, targets)


def backward(name, *args, **options):
    return getattr(functional, f"{name}_loss_backward")(*args, **options)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_gradient_is_a_central_difference_of_the_loss(name, dtype, rng):
    """Of the value alone, in far more than 60 digits, away from kinks, for errors and parameters of any size."""
    allowed = ORACLE[name].ulps[QUANTITIES.index("derivative")]
    points = list(away_from_kinks(rng, name, dtype, 40))
    assert len(points) > 30
    for error, parameter in points:
        got = derivative(name, np.array([error]), np.zeros(1, dtype), **ORACLE[name].setting(parameter))[0]
        assert ulp_error(got, central_difference(name, error, parameter), dtype) <= allowed + 1e-9, (error, parameter)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_gradient_at_kinks(name, dtype):
    """The exact value, at the kink itself."""
    for parameter in (p for p in (1.0, 0.75, 0.1, 1e-3, 1e-30) if accepts(name, p, dtype)):
        p = dtype(parameter)
        expected = {error: slope for error, (slope, _, _) in ORACLE[name].at_kinks(p).items() if slope is not None}
        assert set(expected) >= {dtype(float(kink)) for kink in ORACLE[name].kinks(working_parameter(parameter, dtype))}
        errors = np.array(list(expected), dtype)
        got = derivative(name, errors, np.zeros_like(errors), **ORACLE[name].setting(parameter))
        assert same_bits(got, np.array(list(expected.values()), dtype)), parameter


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [1, 3, 7, 1000, 4097])
@pytest.mark.parametrize("grad_output", [1.0, -2.5, 0.1, 1e-320, 3e300, 0.0, np.inf, np.nan])
def test_scalar_grad_output(name, dtype, length, grad_output, rng):
    inputs, targets = SPREADS["gauss"](rng, length, dtype)
    slope = derivative(name, inputs, targets)
    for reduction, divisor in (("sum", 1), ("mean", length), ("none", 1)):
        expected = backward(name, grad_output, inputs, targets, reduction)
        assert is_scaled(expected, slope, grad_output, divisor)
        loss = LOSSES[name](reduction=reduction)
        assert same_bits(loss.grad(inputs, targets, grad_output=grad_output), expected)
        assert same_bits(backward(name, np.array(grad_output), inputs, targets, reduction), expected)
        assert same_bits(backward(name, [grad_output], inputs, targets, reduction), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_grad_output_is_one_by_default(name, dtype, rng):
    inputs, targets = SPREADS["gauss"](rng, 999, dtype)
    slope = derivative(name, inputs, targets)
    assert same_bits(LOSSES[name](reduction="sum").grad(inputs, targets), slope)
    assert is_scaled(LOSSES[name](reduction="mean").grad(inputs, targets), slope, 1, 999)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("grad_dtype", DTYPES)
def test_array_grad_output(name, dtype, grad_dtype, rng):
    inputs, targets = (values.reshape(30, 7) for values in SPREADS["gauss"](rng, 210, dtype))
    slope = derivative(name, inputs, targets)
    for shape in ((30, 7), (7,), (30, 1), (1, 7), (), (1, 1)):
        grad_output = rng.standard_normal(shape).astype(grad_dtype)
        assert is_scaled(backward(name, grad_output, inputs, targets, "none"), slope, grad_output)
    reversed_gradient = rng.standard_normal((30, 7)).astype(grad_dtype)[::-1, ::-1]
    expected = backward(name, reversed_gradient, inputs, targets, "none")
    assert is_scaled(expected, slope, reversed_gradient)
    assert same_bits(LOSSES[name](reduction="none").grad(inputs, targets, grad_output=reversed_gradient), expected)


def test_integer_grad_output(name):
    x, t = np.array([0.5, 4.0], np.float32), np.zeros(2, np.float32)
    assert is_scaled(backward(name, [3, -2], x, t, "none"), derivative(name, x, t), [3, -2])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (1, 1, 1, 1)])
def test_one_element_of_any_shape_is_one_number(name, reduction, shape):
    for x in (np.full(3, 4.0), np.array(4.0)):
        expected = backward(name, 0.3, x, x / 2, reduction)
        assert same_bits(backward(name, np.full(shape, 0.3), x, x / 2, reduction), expected)


@pytest.mark.parametrize("grad_output", [[1.0, 2.0, 3.0], [], np.ones((1, 2, 2)), np.ones((2, 2, 2))])
def test_a_grad_output_of_another_shape_is_refused(name, grad_output):
    x = np.zeros((2, 2))
    with pytest.raises(ValueError, match="grad_output"):
        backward(name, grad_output, x, x, "none")


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("grad_output", [[1.0, 2.0], [[1.0], [2.0]], np.ones((2, 2)), []])
def test_a_reduced_loss_has_one_grad_output(name, reduction, grad_output):
    x = np.zeros((2, 2))
    with pytest.raises(ValueError, match="grad_output"):
        backward(name, grad_output, x, x, reduction)


@pytest.mark.parametrize("grad_output", ["1", 1j, [object()]])
def test_a_grad_output_that_is_no_number_is_refused(name, grad_output):
    x = np.zeros(2)
    with pytest.raises(TypeError, match="grad_output"):
        backward(name, grad_output, x, x, "sum")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("input_shape", "target_shape"),
    [((1,), (5000,)), ((), (40,)), ((1, 7), (30, 7)), ((30, 1), (30, 7)), ((7,), (3, 30, 7)), ((30, 1), (1, 7))],
)
@pytest.mark.parametrize("spread", ["gauss", "whole range"])
@pytest.mark.filterwarnings("ignore::cylosses.BroadcastWarning")
def test_a_broadcast_input_gets_the_exact_sum(name, dtype, input_shape, target_shape, spread, rng):
    inputs = SPREADS[spread](rng, int(np.prod(input_shape)), dtype)[0].reshape(input_shape)
    targets = SPREADS[spread](rng, int(np.prod(target_shape)), dtype)[0].reshape(target_shape)
    full_inputs, full_targets = (np.ascontiguousarray(full) for full in np.broadcast_arrays(inputs, targets))
    for reduction, grad_output in (("sum", 1.0), ("mean", -0.7), ("none", 0.3)):
        full = backward(name, grad_output, full_inputs, full_targets, reduction)
        got = backward(name, grad_output, inputs, targets, reduction)
        assert same_bits(got, summed_gradient(full, input_shape))


@pytest.mark.parametrize("input_shape", [(), (7,), (1, 7), (30, 1), (4, 1, 1), (1, 30, 1), (4, 1, 7)])
@pytest.mark.filterwarnings("ignore::cylosses.BroadcastWarning")
def test_a_broadcast_input_with_an_array_of_incoming_gradients(name, input_shape, rng):
    inputs, targets = rng.standard_normal(input_shape), rng.standard_normal((4, 30, 7))
    full_inputs = np.ascontiguousarray(np.broadcast_to(inputs, (4, 30, 7)))
    for shape in ((4, 30, 7), (7,), (30, 1), (4, 1, 1), ()):
        grad_output = rng.standard_normal(shape)
        full = backward(name, grad_output, full_inputs, targets, "none")
        got = backward(name, grad_output, inputs, targets, "none")
        assert same_bits(got, summed_gradient(full, input_shape)), shape


@pytest.mark.filterwarnings("ignore::cylosses.BroadcastWarning")
def test_a_broadcast_input_without_elements_gets_zero(name):
    got = backward(name, 1.0, np.zeros((1, 3), np.float32), np.zeros((0, 3), np.float32), "sum")
    assert same_bits(got, np.zeros((1, 3), np.float32))


@pytest.mark.filterwarnings("ignore::cylosses.BroadcastWarning")
def test_a_broadcast_target_leaves_the_shape_of_the_input(name, rng):
    inputs, target = rng.standard_normal((4, 5)), rng.standard_normal((1, 5))
    full = np.ascontiguousarray(np.broadcast_to(target, (4, 5)))
    assert same_bits(backward(name, 2.0, inputs, target), backward(name, 2.0, inputs, full))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("length", [0, 1, 97, 1025, 5000])
def test_one_pass_gives_the_bits_of_two(name, dtype, spread, length, rng):
    inputs, targets = SPREADS[spread](rng, length, dtype)
    for parameter in ORACLE[name].some_parameters(dtype):
        for reduction in ("none", "sum", "mean"):
            loss = LOSSES[name](reduction=reduction, **ORACLE[name].setting(parameter))
            value, gradient = loss.value_and_grad(inputs, targets, n_threads=int(rng.integers(1, 5)))
            assert type(value) is type(loss(inputs, targets))
            assert same_bits(value, loss(inputs, targets))
            assert same_bits(gradient, loss.grad(inputs, targets))
            if reduction != "none":
                plain = LOSSES[name](reduction="none", **ORACLE[name].setting(parameter))
                assert same_bits(value, reduced(plain(inputs, targets), reduction))


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_do_not_depend_on_threads(name, dtype, rng):
    inputs, targets = SPREADS["gauss"](rng, 700_001, dtype)
    loss = LOSSES[name]()
    value, gradient = loss.value_and_grad(inputs, targets, n_threads=1)
    assert is_scaled(gradient, derivative(name, inputs, targets), 1, inputs.size)
    for n_threads in (2, 3, 4):
        assert same_bits(loss.grad(inputs, targets, n_threads=n_threads), gradient)
        again, gradient_again = loss.value_and_grad(inputs, targets, n_threads=n_threads)
        assert same_bits(again, value)
        assert same_bits(gradient_again, gradient)


def test_the_parameter_of_backward_by_position_and_by_keyword(name, rng):
    inputs, targets = SPREADS["gauss"](rng, 50, np.float64)
    for parameter in (0.3, 0.75):
        setting = ORACLE[name].setting(parameter)
        expected = LOSSES[name](reduction="sum", **setting).grad(inputs, targets)
        assert same_bits(backward(name, 1.0, inputs, targets, "sum", *setting.values()), expected)
        assert same_bits(backward(name, 1.0, inputs, targets, reduction="sum", **setting), expected)
        options = {"grad_output": 1.0, "input": inputs, "target": targets, "reduction": "sum", **setting}
        assert same_bits(backward(name, **options), expected)
    if not setting:
        with pytest.raises(TypeError):
            backward(name, 1.0, inputs, targets, "sum", 0.3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_out_of_gradients(name, dtype, rng):
    inputs, targets = SPREADS["gauss"](rng, 5000, dtype)
    expected = LOSSES[name]().grad(inputs, targets)
    for out in (np.empty(5000, dtype), np.empty(10000, dtype)[::2], np.empty(5000, dtype)[::-1]):
        assert backward(name, 1.0, inputs, targets, out=out) is out
        assert same_bits(out, expected)
        out[:] = 7
        assert LOSSES[name]().grad(inputs, targets, out=out) is out
        assert same_bits(out, expected)
    for wrong in (np.empty(4999, dtype), np.empty((5000, 1), dtype), np.empty(5000, np.float16)):
        with pytest.raises((TypeError, ValueError), match="out"):
            backward(name, 1.0, inputs, targets, out=wrong)
    # In place of an operand, or overlapping the incoming gradient.
    again = inputs.copy()
    assert same_bits(backward(name, 1.0, again, targets, out=again), expected)
    incoming = rng.standard_normal(5007).astype(dtype)
    for place in (slice(0, 5000), slice(7, 5007), slice(4999, None, -1)):
        host = incoming.copy()
        expected = backward(name, host[:5000].copy(), inputs, targets, "none")
        assert same_bits(backward(name, host[:5000], inputs, targets, "none", out=host[place]), expected)
