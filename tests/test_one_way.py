"""A call has the same meaning in whatever form its arguments come: each unusual call beside a plain one with the same bits."""

from __future__ import annotations

import decimal
import warnings
from collections import namedtuple
from fractions import Fraction
from types import MappingProxyType

import ml_dtypes
import numpy as np
import pytest

from cylosses import BroadcastWarning, HuberLoss, L1Loss, MSELoss, SmoothL1Loss, huber_loss, smooth_l1_loss, smooth_l1_loss_backward

from .reference import same_bits

SINGLE, DOUBLE = np.float32, np.float64
X = np.array([[0.1, 2.5, -3.0, 0.7], [9.0, -0.2, 1e-3, 4.0], [5.5, 1.5, -7.25, 0.0]], SINGLE)
T = np.array([[1.0, 2.0, -2.5, 0.7], [0.0, -0.1, 3.0, 4.5], [5.0, -1.0, 7.25, 1.0]], SINGLE)
W = np.array([[0.5, 2.0, 1.0, 0.0], [3.0, 0.25, 1.0, 1.0], [1.0, 7.0, 0.125, 2.0]], SINGLE)
M = W > 0.5
mean, total, each = SmoothL1Loss(), SmoothL1Loss(reduction="sum"), SmoothL1Loss(reduction="none")
Pair = namedtuple("Pair", "first second")


class Str(str):
    """A str of another class."""

    __slots__ = ()


class Number(float):
    """A float of another class."""


class Index:
    """An integer by its protocol."""

    def __init__(self, n):
        self.n = n

    def __index__(self):
        return self.n


class Subclass(np.ndarray):
    """An array of another class."""


class HalfTensor:
    """A tensor as some libraries have it: on the CPU, requiring no gradient, with a flag that is true but not True."""

    device, requires_grad = "cpu", 0

    def is_neg(self):
        return 1

    def __array__(self, dtype=None, copy=None):
        return X


def misaligned(array):
    moved = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


def read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def swapped(array):
    return array.astype(array.dtype.newbyteorder())


def tagged(array):
    return array.astype(np.dtype(array.dtype, metadata={"unit": "m"}))


def alike(a, b):
    if isinstance(a, tuple):
        return type(b) is tuple and len(a) == len(b) and all(map(alike, a, b))
    return type(a) is type(b) and same_bits(a, b)


# The same as a plain call -----------------------------------------------------------------------------------------------

SAME = {
    # operands: what they are, not what holds them
    "matrix": (lambda: mean(X.view(np.matrix), T, axis=0), lambda: mean(X, T, axis=0)),
    "matrix, losses": (lambda: each(X.view(np.matrix), T.view(np.matrix)), lambda: each(X, T)),
    "subclass, gradient": (lambda: mean.grad(X.view(Subclass), T.view(Subclass)), lambda: mean.grad(X, T)),
    "dtype with metadata": (lambda: each(tagged(X), T), lambda: each(X, T)),
    "operands of two byte orders": (lambda: mean.grad(swapped(X), misaligned(T)), lambda: mean.grad(X, T)),
    "read-only operands": (lambda: mean.value_and_grad(read_only(X), read_only(T)), lambda: mean.value_and_grad(X, T)),
    "flags that are not True": (lambda: mean(HalfTensor(), T), lambda: mean(X, T)),
    "longlong": (lambda: total(X.astype("q"), T.astype("l")), lambda: total(X.astype(np.int64), T.astype(np.int64))),
    "int beside float32": (lambda: each(X, 2**24 + 1), lambda: each(X, SINGLE(2**24))),
    "int beside integers": (lambda: each(np.array([2**60 + 1]), 2**60), lambda: np.array([0.5])),
    "int beyond int64": (lambda: each(np.array([2**64 - 1], np.uint64), 2**64 - 3), lambda: np.array([1.5])),
    "float beyond float32": (lambda: total(X, 1e300), lambda: SINGLE(np.inf)),
    "float beside integers": (lambda: each(np.array([3, 4]), 0.5), lambda: each(np.array([3.0, 4.0]), np.full(2, 0.5))),
    "bool beside float16": (lambda: each(X.astype(np.float16), True), lambda: each(X.astype(np.float16), np.float16(1))),
    "a float of another class": (lambda: each(X, Number(1.5)), lambda: each(X.astype(DOUBLE), DOUBLE(1.5))),
    "NumPy scalar beside float32": (lambda: each(X, DOUBLE(0.1)), lambda: each(X.astype(DOUBLE), np.full(X.shape, 0.1))),
    "no dimension beside float32": (lambda: each(X, np.array(0.1)), lambda: each(X.astype(DOUBLE), np.full(X.shape, 0.1))),
    "float16 with bfloat16": (
        lambda: each(X.astype(np.float16), T.astype(ml_dtypes.bfloat16)),
        lambda: each(X.astype(np.float16).astype(SINGLE), T.astype(ml_dtypes.bfloat16).astype(SINGLE)),
    ),
    "an empty list": (lambda: total([], []), lambda: DOUBLE(0)),
    "one element against more axes": (lambda: each(X[0], [[[1.0]]]), lambda: each(X[0].astype(DOUBLE), np.ones(4))[None, None]),
    # settings
    "reduction of another class": (lambda: smooth_l1_loss(X, T, Str("sum")), lambda: total(X, T)),
    "reduction of another class, by name": (lambda: huber_loss(X, T, reduction=np.str_("none")), lambda: each(X, T)),
    "options of other classes": (
        lambda: smooth_l1_loss(X, T, MappingProxyType({Str("reduction"): Str("sum"), "beta": np.array([[1]])})),
        lambda: total(X, T),
    ),
    "third a str of another class": (lambda: smooth_l1_loss(X, T, Str("none"), Number(1.0)), lambda: each(X, T)),
    "beta -0.0": (lambda: smooth_l1_loss(X, T, beta=-0.0), lambda: L1Loss()(X, T)),
    "beta that float32 rounds to 0": (lambda: smooth_l1_loss(X, T, beta=1e-60), lambda: L1Loss()(X, T)),
    "beta a huge int": (lambda: smooth_l1_loss(X, T, beta=10**30), lambda: smooth_l1_loss(X, T, beta=1e30)),
    "beta an int beyond 2**53": (lambda: SmoothL1Loss(beta=2**53 + 1).beta, lambda: 2.0**53),
    "beta a Decimal": (lambda: smooth_l1_loss(X, T, beta=decimal.Decimal("0.1")), lambda: smooth_l1_loss(X, T, beta=0.1)),
    "beta a float of another class": (lambda: smooth_l1_loss(X, T, beta=Number(0.1)), lambda: smooth_l1_loss(X, T, beta=0.1)),
    "delta float32": (lambda: huber_loss(X, T, delta=SINGLE(0.1)), lambda: huber_loss(X, T, delta=float(SINGLE(0.1)))),
    "n_threads an index": (lambda: mean(X, T, n_threads=Index(2)), lambda: mean(X, T)),
    "n_threads without dimension": (lambda: mean(X, T, n_threads=np.array(2, np.uint8)), lambda: mean(X, T)),
    "n_threads huge": (lambda: mean.grad(X, T, n_threads=10**30), lambda: mean.grad(X, T)),
    "wrt of another class": (lambda: mean.grad(X, T, wrt=np.str_("target")), lambda: mean.grad(X, T, wrt="target")),
    "curvature of another class": (
        lambda: mean.grad_and_hess(X, T, curvature=Str("mm")), lambda: mean.grad_and_hess(X, T, curvature="mm")
    ),
    # axis and keepdims
    "axis of NumPy": (lambda: mean(X, T, axis=np.int8(-1)), lambda: mean(X, T, axis=1)),
    "axis an index": (lambda: mean.grad(X, T, axis=Index(0)), lambda: mean.grad(X, T, axis=0)),
    "axis without dimension": (lambda: mean(X, T, axis=np.array(0)), lambda: mean(X, T, axis=0)),
    "axis True": (lambda: mean(X, T, axis=True), lambda: mean(X, T, axis=1)),
    "axes in another order": (lambda: mean(X, T, axis=(1, np.int64(0))), lambda: mean(X, T)),
    "axes in a named tuple": (lambda: mean(X, T, axis=Pair(0, -1)), lambda: mean(X, T)),
    "the only axis": (lambda: mean(X[0], T[0], axis=0), lambda: mean(X[0], T[0])),
    "no axes": (lambda: mean(X, T, axis=()), lambda: each(X, T)),
    "no axes, kept": (lambda: total(X, T, axis=(), keepdims=True), lambda: each(X, T)),
    "no axes, weighted mean": (lambda: mean(X, T, axis=(), weight=2.5), lambda: each(X, T)),
    "no axes, gradient": (lambda: mean.grad(X, T, axis=()), lambda: each.grad(X, T)),
    "no axes of no dimension": (lambda: mean(X[0, 0], T[0, 0], axis=()), lambda: mean(X[:1, :1], T[:1, :1])),
    "keepdims of NumPy": (lambda: mean(X, T, keepdims=np.True_), lambda: mean(X, T, axis=(0, 1), keepdims=True)),
    "keepdims a number": (lambda: total(X, T, axis=0, keepdims=1), lambda: total(X, T, axis=0)[None]),
    "keepdims true as such": (lambda: total(X, T, keepdims="no"), lambda: np.full((1, 1), total(X, T))),
    "keepdims false as such": (lambda: total(X, T, keepdims=None), lambda: total(X, T)),
    "keepdims 0 with none": (lambda: each(X, T, keepdims=0), lambda: each(X, T)),
    "keepdims of no dimension": (lambda: mean(X[0, 0], T[0, 0], keepdims=True), lambda: mean(X[:1, :1], T[:1, :1])),
    "axis of nothing": (lambda: mean(X[:0], T[:0], axis=0), lambda: np.full(4, np.nan, SINGLE)),
    "axis that leaves nothing": (lambda: mean(X[:0], T[:0], axis=1), lambda: np.empty(0, SINGLE)),
    "axis is nothing to gradients of none": (lambda: each.grad(X, T, axis=1), lambda: each.grad(X, T)),
    "axis is nothing to values and gradients of none": (
        lambda: each.value_and_grad(X, T, axis=(0, 1)), lambda: each.value_and_grad(X, T)
    ),
    # weight and where
    "weight a number": (lambda: mean.value_and_grad(X, T, weight=3), lambda: mean.value_and_grad(X, T)),
    "weight True": (lambda: each(X, T, weight=True), lambda: each(X, T)),
    "weight of bool": (lambda: mean.grad(X, T, weight=M), lambda: mean.grad(X, T, where=M)),
    "weight -0.0": (lambda: mean.grad(X, T, weight=-0.0), lambda: np.zeros_like(X)),
    "weight 2**53": (lambda: mean(X, T, weight=np.full(4, 2**53, np.uint64)), lambda: mean(X, T)),
    "weight float64 of float32": (lambda: total(X, T, weight=W.astype(DOUBLE)), lambda: total(X, T, weight=W)),
    "weight swapped": (lambda: mean.grad(X, T, weight=swapped(W)), lambda: mean.grad(X, T, weight=W)),
    "weight misaligned": (lambda: mean.grad(X, T, weight=misaligned(W)), lambda: mean.grad(X, T, weight=W)),
    "weight a matrix": (lambda: mean(X, T, weight=W[:1].view(np.matrix)), lambda: mean(X, T, weight=W[0])),
    "weight a row": (lambda: each.grad(X, T, weight=W[0].tolist()), lambda: each.grad(X, T, weight=np.tile(W[0], (3, 1)))),
    "bad weights where nothing is selected": (
        lambda: mean(X, T, weight=np.where(M, W, SINGLE("nan")), where=M), lambda: mean(X, T, weight=W, where=M)
    ),
    "negative integers where nothing is selected": (
        lambda: total(X, T, weight=np.where(M, 1, -5), where=M), lambda: total(X, T, where=M)
    ),
    "where True": (lambda: mean(X, T, where=True), lambda: mean(X, T)),
    "where False": (lambda: each.grad(X, T, where=False), lambda: np.zeros_like(X)),
    "where a column": (lambda: total(X, T, where=M[:, :1].tolist()), lambda: total(X, T, where=np.repeat(M[:, :1], 4, 1))),
    "where a matrix": (lambda: total(X, T, where=M.view(np.matrix)), lambda: total(X, T, where=M)),
    "where of large bytes": (
        lambda: total(X, T, where=np.where(M, 2, 0).astype(np.uint8).view(bool)), lambda: total(X, T, where=M)
    ),
    "an axis without weight": (
        lambda: mean(X, T, weight=[[1.0], [0.0], [2.0]], axis=1)[[1]], lambda: np.array([np.nan], SINGLE)
    ),
    "gradient of an axis without weight": (
        lambda: mean.grad(X, T, weight=[[1.0], [0.0], [2.0]], axis=1)[1], lambda: np.zeros(4, SINGLE)
    ),
    # grad_output
    **{
        f"grad_output {value!r}": (
            lambda value=value: mean.grad(X, T, grad_output=value), lambda value=value: mean.grad(X, T, grad_output=float(value))
        )
        for value in (2, True, SINGLE(0.1), np.float16(0.1), np.int8(-3), np.array(0.1), Number(0.1), 2**53 + 1, 2**63,
                      Fraction(1, 3))
    },
    "grad_output of one element and many axes": (
        lambda: mean.grad(X, T, grad_output=[[[[2.0]]]]), lambda: mean.grad(X, T, grad_output=2.0)
    ),
    "grad_output of one element, losses": (
        lambda: each.grad(X[0], T[0], grad_output=[[2]]), lambda: each.grad(X[0], T[0], grad_output=2.0)
    ),
    "grad_output -0.0": (lambda: each.grad(X, T, grad_output=SINGLE(-0.0)), lambda: each.grad(X, T, grad_output=-0.0)),
    "grad_output NaN": (lambda: mean.grad(X, T, grad_output=float("nan")), lambda: np.full_like(X, np.nan)),
    "grad_output beyond float64, exactly": (
        lambda: total.grad(X, T, grad_output=Fraction(10**400 + 1, 10**400), wrt="target"), lambda: total.grad(X, T, wrt="target")
    ),
    "grad_output a whole Fraction": (
        lambda: total.grad(X, T, grad_output=Fraction(-6, 2)), lambda: total.grad(X, T, grad_output=-3.0)
    ),
    "grad_output Fraction 0": (lambda: total.grad(X, T, grad_output=Fraction(0)), lambda: total.grad(X, T, grad_output=0.0)),
    "grad_output integers": (
        lambda: each.grad(X, T, grad_output=[[1], [2], [3]]),
        lambda: each.grad(X, T, grad_output=np.repeat([[1.0], [2.0], [3.0]], 4, 1)),
    ),
    "grad_output swapped": (lambda: each.grad(X, T, grad_output=swapped(W)), lambda: each.grad(X, T, grad_output=W)),
    "grad_output misaligned": (lambda: each.grad(X, T, grad_output=misaligned(W)), lambda: each.grad(X, T, grad_output=W)),
    "grad_output of what is left": (
        lambda: mean.grad(X[:, :3], T[:, :3], axis=1, grad_output=W[0, :3]),
        lambda: mean.grad(X[:, :3], T[:, :3], axis=1, grad_output=W[0, :3, None]),
    ),
    "grad_output that broadcasts to what is left": (
        lambda: mean.grad(X[None], T[None], axis=1, grad_output=W[0]), lambda: mean.grad(X, T, axis=0, grad_output=W[0])[None]
    ),
    "backward": (lambda: smooth_l1_loss_backward(np.array(2), X, T, Str("sum")), lambda: total.grad(X, T, grad_output=2.0)),
    # results
    "a loss is a NumPy scalar": (lambda: mean(X[0, 0], 1.0), lambda: SINGLE(mean(X[:1, :1], T[:1, :1]))),
    "losses of no dimension are an array": (lambda: each(X[0, 0], T[0, 0]), lambda: np.array(mean(X[0, 0], T[0, 0]))),
    "a gradient of no dimension is an array": (lambda: mean.grad(2.0, 1.5), lambda: np.array(0.5)),
    "the gradient of a number": (
        lambda: total.grad(X, 0.5, wrt="target"), lambda: np.array(-total.grad(X, 0.5).astype(DOUBLE).sum(), SINGLE)
    ),
    "value and gradient of no dimension": (lambda: each.value_and_grad(3.0, 1.0), lambda: (np.array(1.5), np.array(1.0))),
    "value along every axis": (lambda: mean.value_and_grad(X, T, axis=(0, 1)), lambda: mean.value_and_grad(X, T)),
    "the same output twice, of nothing": (
        lambda: each.grad_and_hess(X[:0], T[:0], out=(X[:0],) * 2), lambda: each.grad_and_hess(X[:0], T[:0])
    ),
    "weights of nothing": (lambda: total(X[:0], T[:0], weight=-1.0), lambda: SINGLE(0)),
    "integer weights of nothing": (lambda: total(X[:0], T[:0], weight=np.full((0, 4), 2**60)), lambda: SINGLE(0)),
    "outs of None": (lambda: mean.value_and_grad(X, T, out=(None, None)), lambda: mean.value_and_grad(X, T)),
    "gradient of nothing by a number": (lambda: mean.grad(X[:0], 1.0, wrt="target"), lambda: np.array(0, SINGLE)),
}  # fmt: skip


def test_plain_calls_that_others_are_compared_with():
    """Numbers by hand, so that not all of them can be wrong together."""
    assert each(X[:1, :2], T[:1, :2]).tolist() == [[float(SINGLE(SINGLE(0.1) - 1) ** 2 / 2), 0.125]]
    assert total(np.ones(3), np.zeros(3)) == 1.5


@pytest.mark.parametrize("case", SAME)
def test_an_unusual_call_is_a_plain_one(case):
    unusual, plain = SAME[case]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert alike(unusual(), plain())


# Outputs ----------------------------------------------------------------------------------------------------------------


def fresh(shape=X.shape, dtype=SINGLE):
    return np.full(shape, 7, dtype)


OUTS = {
    "subclass": lambda: fresh().view(Subclass),
    "matrix": lambda: fresh().view(np.matrix),
    "Fortran order": lambda: np.asfortranarray(fresh()),
    "every second": lambda: fresh((3, 8))[:, ::2],
    "backward": lambda: fresh()[::-1, ::-1],
    "misaligned": lambda: misaligned(fresh()),
    "dtype with metadata": lambda: tagged(fresh()),
}


@pytest.mark.parametrize("kind", OUTS)
@pytest.mark.parametrize("make", [lambda: X, lambda: swapped(X), lambda: X.astype(np.int64)], ids=["plain", "swapped", "mixed"])
def test_an_output_of_any_kind_is_filled_and_returned(kind, make):
    x, plain = make(), make().astype(SINGLE)
    out, gradient, hessian = OUTS[kind](), OUTS[kind](), OUTS[kind]()
    assert each(x, T, out=out) is out
    assert same_bits(out, each(plain, T))
    assert mean.grad(x, T, out=gradient) is gradient
    assert same_bits(gradient, mean.grad(plain, T))
    gradient[...] = 7
    found = mean.grad_and_hess(x, T, out=Pair(gradient, hessian))
    assert found[0] is gradient
    assert found[1] is hessian
    assert alike(tuple(map(np.array, found)), mean.grad_and_hess(plain, T))


def test_outputs_of_values_and_gradients():
    value, gradient, expected = fresh(()), fresh(), mean.value_and_grad(X, T)
    for out in ((value, gradient), Pair(value, gradient)):
        found = mean.value_and_grad(X, T, out=out)
        assert found[0] is value
        assert found[1] is gradient
    assert alike((value[()], gradient), expected)
    found = mean.value_and_grad(X, T, out=(None, gradient))
    assert type(found[0]) is SINGLE
    found = mean.value_and_grad(X, T, axis=0, out=(fresh(4), None))
    assert same_bits(found[0], mean(X, T, axis=0))
    assert mean(X, T, keepdims=True, out=(kept := fresh((1, 1)))) is kept
    assert kept == expected[0]


def test_interleaved_outputs_are_taken_for_ones_that_share_memory():
    """Only their first and last bytes are looked at, and nothing is written."""
    buffer = fresh((6, 4))
    for call in (
        lambda: mean.grad_and_hess(X, T, out=(buffer[::2], buffer[1::2])),
        lambda: each.value_and_grad(X, T, out=(buffer[::2], buffer[1::2])),
        lambda: mean.value_and_grad(X, T, out=(buffer[1, :1].reshape(()), buffer[::2])),
    ):
        with pytest.raises(ValueError, match="share memory"):
            call()
    assert (buffer == 7).all()


def test_outputs_between_the_elements_of_operands():
    buffer = np.empty((6, 4), SINGLE)
    buffer[::2], buffer[1::2] = X, 7
    assert same_bits(each(buffer[::2], T, out=buffer[1::2]), each(X, T))
    assert same_bits(buffer[::2], X)
    buffer[1::2] = W
    assert same_bits(mean.grad(X, T, weight=buffer[1::2], out=buffer[::2]), mean.grad(X, T, weight=W))
    assert same_bits(buffer[1::2], W)


def test_outputs_may_be_the_operands():
    x, t, weight = X.copy(), T.copy(), W.copy()
    expected = mean.grad_and_hess(X, T, weight=W, curvature="mm")
    found = mean.grad_and_hess(x, t, weight=weight, curvature="mm", out=(t, x))
    assert alike(found, expected)
    x, weight = X.copy(), W.copy()
    assert same_bits(each(x, T, weight=weight, out=weight), each(X, T, weight=W))
    value = x[1, 2:3].reshape(())
    assert mean(x, T, out=value) is value
    assert value == mean(X, T)
    scale = W.copy()
    assert same_bits(each.grad(X, T, grad_output=scale, out=scale), each.grad(X, T, grad_output=W))


@pytest.mark.parametrize("action", ["error", "ignore"])
def test_a_warning_that_is_an_error_comes_before_anything_is_written(action):
    out = fresh((4, 4))
    x, row = np.ones((4, 4), SINGLE), np.zeros(4, SINGLE)
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        if action == "error":
            with pytest.raises(BroadcastWarning):
                each(x, row, out=out)
            assert (out == 7).all()
        else:
            assert each(x, row, out=out) is out
            assert (out == 0.5).all()


# What is remembered and what is refused ---------------------------------------------------------------------------------


def test_settings_become_plain():
    loss = SmoothL1Loss(reduction=Str("sum"), beta=np.array(-0.0))
    assert type(loss.reduction) is str
    assert type(loss.beta) is float
    assert repr(loss) == "SmoothL1Loss(reduction='sum', beta=0.0)"
    assert loss == SmoothL1Loss(reduction="sum", beta=0)
    assert HuberLoss(delta=True) == HuberLoss(delta=1)


@pytest.mark.parametrize(
    ("piece", "dtype"),
    [
        (([], []), DOUBLE),
        ((X[:0], T[:0]), SINGLE),
        ((X, T, None, False), SINGLE),
        ((X, T, 0), SINGLE),
        ((X.astype(np.float16), 1), np.float16),
        ((3, 1), DOUBLE),
        ((X, T, W.astype(DOUBLE)), SINGLE),
    ],
)
def test_pieces_of_a_total_set_its_dtype_even_if_nothing_counts(piece, dtype):
    state = MSELoss(reduction="sum").streaming()
    state.update(*piece)
    assert type(state.compute()) is dtype
    before = state.to_bytes()
    for bad in ({"weight": -1.0}, {"weight": np.nan}, {"where": 1}, {"n_threads": 0}, {"weight": 2**60}):
        with pytest.raises((TypeError, ValueError)):
            state.update(X.astype(DOUBLE), T, **bad)
    assert state.to_bytes() == before


def test_counts_are_of_elements_with_a_weight():
    state = MSELoss().streaming()
    state.update(X, T, W, M)
    assert state.count == np.count_nonzero(M & (W > 0))
    state.update(X, 1.0, True)
    assert state.count == np.count_nonzero(M & (W > 0)) + X.size
    state.update(1.0, 2.0)
    assert state.count == np.count_nonzero(M & (W > 0)) + X.size + 1


# What looks like an argument and is none; tests/messages.json has the words.
REFUSED = {
    "weight of more axes, all of them 1": (ValueError, lambda: mean(X, T, weight=W[None])),
    "weight (1,) of no dimension": (ValueError, lambda: mean(1.0, 2.0, weight=[1.0])),
    "weights above 2**53 where nothing is selected": (ValueError, lambda: mean(X, T, weight=np.full(4, 2**60), where=False)),
    "where of more axes": (ValueError, lambda: each(X, T, where=M[None])),
    "grad_output of more axes": (ValueError, lambda: each.grad(X, T, grad_output=W[None])),
    "grad_output an int beyond uint64": (TypeError, lambda: mean.grad(X, T, grad_output=2**64)),
    "grad_output a Decimal": (TypeError, lambda: mean.grad(X, T, grad_output=decimal.Decimal(1))),
    "input an int beyond uint64": (TypeError, lambda: mean(2**64, T)),
    "input masked, with nothing masked": (TypeError, lambda: mean(np.ma.masked_array(X, False), T)),
    "input the masked constant": (TypeError, lambda: mean(np.ma.masked, T)),
    "grad_output masked": (TypeError, lambda: each.grad(X, T, grad_output=np.ma.masked_array(W))),
    "where masked": (TypeError, lambda: each(X, T, where=np.ma.masked_array(M))),
    "out masked": (TypeError, lambda: each(X, T, out=np.ma.masked_array(fresh()))),
    "out of another byte order": (TypeError, lambda: each(X, T, out=swapped(fresh()))),
    "out wider than the result": (TypeError, lambda: each(X, T, out=fresh(dtype=DOUBLE))),
    "out of one element for a sum": (ValueError, lambda: total(X, T, out=fresh(1))),
    "outs in a list": (TypeError, lambda: mean.value_and_grad(X, T, out=[None, None])),
    "n_threads np.True_": (TypeError, lambda: mean(X, T, n_threads=np.True_)),
    "n_threads of one element": (TypeError, lambda: mean(X, T, n_threads=np.array([2]))),
    "keepdims an array of two": (ValueError, lambda: mean(X, T, keepdims=np.array([True, True]))),
    "axis a list": (TypeError, lambda: mean(X, T, axis=[0])),
    "axis of no dimension": (ValueError, lambda: mean(1.0, 2.0, axis=0)),
    "axis of gradients of none is checked": (ValueError, lambda: each.grad(X, T, axis=2)),
    "reduction an array": (ValueError, lambda: smooth_l1_loss(X, T, reduction=np.array("sum"))),
    "beta a str of a number": (TypeError, lambda: smooth_l1_loss(X, T, beta=np.str_("1.0"))),
    "beta given as its default, and otherwise in options": (
        TypeError, lambda: smooth_l1_loss(X, T, {"beta": 2.0}, beta=float("1"))
    ),
    "mean given, and sum in options": (TypeError, lambda: smooth_l1_loss(X, T, {"reduction": "sum"}, reduction=Str("mean"))),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    error, call = REFUSED[case]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(error):
            call()


@pytest.mark.parametrize("ndim", [33, 64])
def test_axes_of_many_dimensions(ndim):
    x, t = (a.reshape(a.shape + (1,) * (ndim - 2)) for a in (X, T))
    axes = tuple(range(1, ndim))
    assert same_bits(mean(x, t, axis=axes), mean(X, T, axis=1))
    assert mean(x, t, keepdims=True).shape == (1,) * ndim
    assert same_bits(mean.grad(x, t, axis=axes, weight=W.reshape(x.shape)).ravel(), mean.grad(X, T, axis=1, weight=W).ravel())
    assert same_bits(total.grad(x, 0.5, wrt="target"), total.grad(X, 0.5, wrt="target"))
    assert same_bits(mean(x, t, axis=ndim - 1), mean(x, t, axis=-1))
