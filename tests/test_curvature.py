"""`grad_and_hess`: one pass for gradient and diagonal Hessian, and the three kinds of curvature.

The Hessian by differences of the loss and at kinks is here; that second derivative and IRLS weight are right to the last
places everywhere is the subject of test_formulas; weights and divisors of test_weights.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from cylosses.losses import LOSSES

from .generators import DTYPES, LAYOUTS, SPREADS, away_from_kinks, random_parameter
from .reference import (
    IRLS_CAP,
    ORACLE,
    QUANTITIES,
    accepts,
    central_difference,
    is_scaled,
    same_bits,
    summed_gradient,
    ulp_error,
    working_parameter,
)

every_loss = pytest.mark.parametrize("name", LOSSES)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
CURVATURES = ("exact", "mm", "ones")


@every_loss
@every_dtype
@pytest.mark.parametrize("length", [0, 17, 1025])
def test_the_gradient_is_that_of_grad(name, dtype, length, rng):
    for spread in SPREADS:
        x, t = SPREADS[spread](rng, length, dtype)
        setting = ORACLE[name].setting(random_parameter(rng, dtype, name))
        for reduction, curvature in itertools.product(("none", "mean", "sum"), CURVATURES):
            loss = LOSSES[name](reduction=reduction, **setting)
            gradient, hessian = loss.grad_and_hess(x, t, curvature=curvature, n_threads=int(rng.integers(1, 4)))
            assert same_bits(gradient, loss.grad(x, t))
            assert hessian.shape == x.shape
            assert hessian.dtype == dtype


@every_loss
@every_dtype
def test_the_divisor_of_the_mean_is_in_both(name, dtype, rng):
    x, t = SPREADS["gauss"](rng, 999, dtype)
    for curvature in CURVATURES:
        each = LOSSES[name](reduction="none").grad_and_hess(x, t, curvature=curvature)
        assert all(map(same_bits, LOSSES[name](reduction="sum").grad_and_hess(x, t, curvature=curvature), each))
        mean = LOSSES[name](reduction="mean").grad_and_hess(x, t, curvature=curvature)
        assert all(is_scaled(got, of, 1.0, 999) for got, of in zip(mean, each, strict=True))


@every_loss
def test_exact_is_the_default_and_ones_are_ones(name, rng):
    x, t = rng.standard_normal((2, 100))
    loss = LOSSES[name](reduction="sum")
    assert all(map(same_bits, loss.grad_and_hess(x, t), loss.grad_and_hess(x, t, curvature="exact")))
    assert same_bits(loss.grad_and_hess(x, t, curvature="ones")[1], np.ones(100))
    assert same_bits(LOSSES[name]().grad_and_hess(x, t, curvature="ones")[1], np.full(100, 0.01))


@every_loss
@every_dtype
def test_the_hessian_is_a_second_difference_of_the_loss(name, dtype, rng):
    """Of the value alone, in far more than 60 digits, away from kinks, for errors and parameters of any size."""
    allowed = ORACLE[name].ulps[QUANTITIES.index("second_derivative")]
    points = list(away_from_kinks(rng, name, dtype, 40))
    assert len(points) > 30
    for error, parameter in points:
        loss = LOSSES[name](reduction="none", **ORACLE[name].setting(parameter))
        got = loss.grad_and_hess(np.array([error]), np.zeros(1, dtype))[1][0]
        exact = central_difference(name, error, parameter, order=2)
        assert ulp_error(got, exact, dtype) <= allowed + 1e-9, (error, parameter)


@every_loss
@every_dtype
def test_the_hessian_at_kinks(name, dtype):
    """The exact values at the kink itself and at 0: of the exact curvature that of the outer side, and of `mm` psi(d)/d."""
    for parameter in (p for p in (1.0, 0.75, 0.1, 1e-3, 1e-30) if accepts(name, p, dtype)):
        p = dtype(parameter)
        known = ORACLE[name].at_kinks(p)
        assert set(known) >= {dtype(float(kink)) for kink in ORACLE[name].kinks(working_parameter(parameter, dtype))}
        loss = LOSSES[name](reduction="none", **ORACLE[name].setting(parameter))
        for number, curvature in enumerate(("exact", "mm"), 1):
            expected = {error: values[number] for error, values in known.items() if values[number] is not None}
            errors = np.array(list(expected), dtype)
            got = loss.grad_and_hess(errors, np.zeros_like(errors), curvature=curvature)[1]
            assert same_bits(got, np.array(list(expected.values()), dtype)), (parameter, curvature)


@every_loss
@every_dtype
def test_mm_is_never_below_the_exact_curvature(name, dtype, rng):
    for spread in SPREADS:
        x, t = SPREADS[spread](rng, 2000, dtype)
        for _ in range(4):
            loss = LOSSES[name](reduction="none", **ORACLE[name].setting(random_parameter(rng, dtype, name)))
            _, exact = loss.grad_and_hess(x, t)
            _, bound = loss.grad_and_hess(x, t, curvature="mm")
            finite = np.isfinite(exact) & np.isfinite(bound)
            # Each is off by up to 4 ulp where the two are equal, subnormal ones by a unit and a half.
            slack = abs(exact[finite]) * dtype(8 * np.finfo(dtype).eps) + 3 * np.finfo(dtype).smallest_subnormal
            assert (bound[finite] >= exact[finite] - slack).all()
            assert (bound[finite] >= 0).all()


@every_dtype
def test_tukey_has_negative_curvature_as_it_is(dtype):
    errors = np.array([0.0, 0.5, 1.0, 1.9, 2.0, 5.0], dtype)
    _, exact = LOSSES["tukey"](reduction="sum", c=2.0).grad_and_hess(errors, np.zeros_like(errors))
    assert exact[0] == 1
    assert exact[1] > 0
    assert (exact[2:4] < 0).all()
    assert same_bits(exact[4:], np.zeros(2, dtype))


@every_dtype
def test_the_irls_weight_is_capped_at_kinks(dtype):
    errors = np.array([0.0, -0.0, 2.0**-20, -(2.0**-20), 2.0**-21, -(2.0**-40), 2.0**-19], dtype)

    def mm(name, **setting):
        return LOSSES[name](reduction="sum", **setting).grad_and_hess(errors, np.zeros_like(errors), curvature="mm")[1].tolist()

    cap = float(IRLS_CAP)
    assert cap >= 1e4
    assert mm("l1") == mm("smooth_l1", beta=0.0) == [cap] * 6 + [cap / 2]
    assert mm("epsilon_insensitive", epsilon=0.0) == [0.0, 0.0] + [cap] * 4 + [cap / 2]
    above, below = 0.75 * cap, 0.25 * cap
    assert mm("quantile", q=0.25) == [above, above, above, below, above, below, above / 2]
    assert mm("smooth_l1", beta=2.0**-19) == [cap / 2] * 7
    for name in (name for name in LOSSES if not LOSSES[name].kinked):
        at_zero = float(ORACLE[name].irls_weight(Fraction(0), Fraction(ORACLE[name].default)))
        assert max(mm(name)) <= at_zero * (1 + 4 * np.finfo(dtype).eps)


@every_loss
@pytest.mark.parametrize("curvature", ["Exact", "", "hessian", None, 1, ["mm"]])
def test_other_curvatures_are_refused(name, curvature):
    with pytest.raises(ValueError, match="curvature"):
        LOSSES[name]().grad_and_hess([1.0], [0.0], curvature=curvature)


@every_loss
@every_dtype
def test_out_takes_both(name, dtype, rng):
    x, t = SPREADS["gauss"](rng, 3000, dtype)
    for curvature in CURVATURES:
        expected = LOSSES[name]().grad_and_hess(x, t, curvature=curvature)
        outs = np.empty(3000, dtype), np.empty(6000, dtype)[::-2]
        got = LOSSES[name]().grad_and_hess(x, t, curvature=curvature, out=outs)
        assert got[0] is outs[0]
        assert got[1] is outs[1]
        assert all(map(same_bits, outs, expected))
        inplace = x.copy(), t.copy()  # the gradient over the input and the Hessian over the target
        LOSSES[name]().grad_and_hess(*inplace, curvature=curvature, out=inplace)
        assert all(map(same_bits, inplace, expected))


def test_outs_that_are_refused():
    x, loss = np.ones(10), LOSSES["huber"]()
    both = np.empty(20)
    for wrong in (
        both,
        [both, both],
        (both,),
        (both, both, both),
        (both[:9], both[:10]),
        (both[:10].astype("f4"), None),
        (both[:10], both[5:15]),
    ):
        with pytest.raises((TypeError, ValueError), match="out"):
            loss.grad_and_hess(x, x, out=wrong)
    loss.grad_and_hess(x, x, out=(None, both[:10]))


@every_loss
@pytest.mark.parametrize("layout", ["strided", "negative strides", "transposed", "byte-swapped", "unaligned"])
def test_layouts(name, layout, rng, tmp_path):
    x, t = rng.standard_normal((2, 40, 31)).astype(np.float32)
    moved = LAYOUTS[layout](x, tmp_path)
    for curvature in CURVATURES:
        expected = LOSSES[name]().grad_and_hess(x, t, curvature=curvature)
        assert all(map(same_bits, LOSSES[name]().grad_and_hess(moved, t, curvature=curvature, n_threads=2), expected))


@every_loss
@every_dtype
@pytest.mark.filterwarnings("ignore::cylosses.BroadcastWarning")
def test_a_broadcast_input_gets_the_exact_sums(name, dtype, rng):
    for shape in ((), (7,), (30, 1), (1, 7)):
        x, t = rng.standard_normal(shape).astype(dtype), rng.standard_normal((30, 7)).astype(dtype)
        full = np.ascontiguousarray(np.broadcast_to(x, (30, 7)))
        for curvature in CURVATURES:
            got = LOSSES[name]().grad_and_hess(x, t, curvature=curvature)
            expected = LOSSES[name]().grad_and_hess(full, t, curvature=curvature)
            assert all(same_bits(g, summed_gradient(e, shape)) for g, e in zip(got, expected, strict=True))


@every_dtype
def test_threads_do_not_matter(dtype, rng):
    x, t = SPREADS["gauss"](rng, 400_001, dtype)
    for name, curvature in (("tukey", "exact"), ("smooth_l1", "mm")):
        expected = LOSSES[name]().grad_and_hess(x, t, curvature=curvature, n_threads=1)
        for n_threads in (2, 3, None):
            assert all(map(same_bits, LOSSES[name]().grad_and_hess(x, t, curvature=curvature, n_threads=n_threads), expected))


# Factors ----------------------------------------------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("grad_output", [0.7, -3, np.float32(1e-30), Fraction(1, 4), 1e300], ids=str)
@pytest.mark.parametrize("selective", [False, True])
def test_gradient_and_hessian_have_one_factor(name, reduction, grad_output, selective, rng):
    x, t = rng.standard_normal((2, 37))
    weight = rng.integers(0, 3, 37).astype(float) if selective else None
    mask = rng.random(37) < 0.7 if selective else None
    divisor = 1 if reduction != "mean" else int(weight[mask].sum()) if selective else 37
    for curvature in CURVATURES:
        each = LOSSES[name](reduction="none").grad_and_hess(x, t, curvature=curvature)
        found = LOSSES[name](reduction=reduction).grad_and_hess(
            x, t, grad_output=grad_output, curvature=curvature, weight=weight, where=mask
        )
        assert all(is_scaled(got, of, float(grad_output), divisor, weight, mask) for got, of in zip(found, each, strict=True))


def test_a_factor_for_each_element():
    loss, x, t = LOSSES["huber"](reduction="none"), np.array([0.25, 3.0, -4.0]), np.zeros(3)
    gradient, hessian = loss.grad_and_hess(x, t, grad_output=[2.0, 3.0, -5.0], curvature="mm", weight=[1.0, 2.0, 0.0])
    assert gradient.tolist() == [0.5, 6.0, 0.0]
    assert hessian.tolist() == [2.0, 2.0, 0.0]
