"""`cylosses.scipy`: rho beside SciPy's own and beside differences of exact values, published fits, and the manual."""

from __future__ import annotations

import contextlib
import importlib
import io
import math
import pickle
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np
import pytest
from scipy.optimize import check_grad, least_squares, minimize
from scipy.sparse import csr_array
from scipy.sparse.linalg import aslinearoperator

import cylosses
from cylosses import (
    LOSSES,
    CharbonnierLoss,
    EpsilonInsensitiveLoss,
    HuberLoss,
    L1Loss,
    MSELoss,
    PseudoHuberLoss,
    QuantileLoss,
    SmoothL1Loss,
    TukeyLoss,
)
from cylosses._cli.stackloss import BETA, load_stackloss
from cylosses.scipy import objective, rho

from .reference import ORACLE, as_fraction, exact_sum, same_bits

ROOT = Path(__file__).parents[1]
# The published M-estimates of the stack loss data: Huber's with k = 1.345 (scale 2.4405), Tukey's with c = 4.685 (scale 2.2819).
PUBLISHED = {
    HuberLoss(delta=BETA): [-41.0265, 0.8294, 0.9261, -0.1278],
    TukeyLoss(c=4.685 * 2.2818813349510534): [-42.2854, 0.9276, 0.6507, -0.1123],
}
CAP = 2.0**20
SMALLEST = 5e-324


def symmetric():
    """Each loss that rho takes, with its parameters that are neither infinite nor so far out that squares of them do."""
    for name, cls in LOSSES.items():
        for parameter in ORACLE[name].parameters:
            loss = cls(**ORACLE[name].setting(parameter))
            if loss.is_symmetric and (parameter == 0 or 1e-60 <= parameter <= 1e30):
                yield pytest.param(name, parameter, id=f"{name}-{parameter}")


every_loss = pytest.mark.parametrize(("name", "parameter"), list(symmetric()))


def squares(rng, unit=1.0, count=3000):
    """Of errors of all magnitudes, of those near the unit, and the ends of the range."""
    near, far = unit**2 * 2.0 ** rng.uniform(-8, 8, count), 2.0 ** rng.uniform(-1060, 1020, count)
    ends = [0.0, SMALLEST, 2.0**-1022, 1e308, 1.0, math.nextafter(1.0, 2.0), math.nextafter(1.0, 0.0)]
    return np.concatenate([near, far, ends])


def ulps(got, wanted, largest=None):
    """Differences in units in the last place of what is wanted, or of the largest term of it."""
    return abs(got - wanted) / np.spacing(np.maximum(abs(wanted) if largest is None else largest, SMALLEST))


# rho ------------------------------------------------------------------------------------------------------------------


def scipys_own(name, z):
    rows = np.empty((3, z.size))
    importlib.import_module("scipy.optimize._lsq.least_squares").IMPLEMENTED_LOSSES[name](z, rows, False)
    return rows


def test_scipys_huber_is_ours(rng):
    z = squares(rng)
    assert ulps(rho(HuberLoss(delta=1.0))(z), scipys_own("huber", z)).max() <= 2
    assert ulps(rho(SmoothL1Loss(beta=1.0))(z), scipys_own("huber", z)).max() <= 2


def test_scipys_soft_l1_is_ours(rng):
    """Its first row is 2 (sqrt(1 + z) - 1), where small z cancel: the difference is of the size of the root's rounding.

    That row of ours has the 4 ulp of `PseudoHuberLoss`, and needs 3 in one case of a million.
    """
    z = squares(rng)
    ours, theirs = rho(PseudoHuberLoss(delta=1.0))(z), scipys_own("soft_l1", z)
    assert ulps(ours[0], theirs[0], 2 * np.sqrt(1 + z)).max() <= 3
    assert ulps(ours[1:], theirs[1:]).max() <= 2


def test_scipys_linear_is_half_of_mse(rng):
    z = squares(rng)
    z = z[z < 1e307]
    rows = rho("mse")(z)
    assert ulps(rows[0], 2 * z).max() <= 2
    assert (rows[1] == 2).all()
    assert (rows[2] == 0).all()


def knots(name, parameter):
    """The squares where rho or a derivative jumps, and where the weight of a kink is capped."""
    with mpmath.workdps(60):
        at = [mpmath.mpf(float(kink)) ** 2 for kink in ORACLE[name].kinks(as_fraction(parameter))]
    return [square for square in at if square > 0]


def capped(name, parameter, z):
    """Whether the derivative of a loss with a kink is not followed: below the error 2**-20."""
    kinked = LOSSES[name].kinked or (name == "smooth_l1" and parameter == 0)
    return kinked and z < 2.0**-40


def by_differences(name, parameter, z):
    """The first and the second derivative of 2 loss(sqrt(z)) by z, from exact values."""
    oracle = ORACLE[name]
    unit = float(parameter) ** 2 if LOSSES[name].parameter_is_length and parameter else 1.0
    digits = 100 + 6 * int(abs(mpmath.log10(mpmath.mpf(z) / unit)))  # far from the unit, small differences of large numbers
    with mpmath.workdps(digits):
        z, p = mpmath.mpf(z), mpmath.mpf(parameter)
        step = z * mpmath.mpf(10) ** -25
        below, at, above = (2 * oracle.value(mpmath.sqrt(z + k * step), p) for k in (-1, 0, 1))
        return at, (above - below) / (2 * step), (above - 2 * at + below) / step**2


@every_loss
def test_rows_are_rho_and_its_derivatives(name, parameter, rng):
    unit = parameter if LOSSES[name].parameter_is_length and parameter else 1.0
    loss = LOSSES[name](**ORACLE[name].setting(parameter))
    z = squares(rng, unit, 12)
    z = z[(z > 1e-300) & (z < 1e300)]
    rows = rho(loss)(z)
    assert rows.shape == (3, z.size)
    assert rows.dtype == np.float64
    jumps = knots(name, parameter)
    for square, row in zip(z.tolist(), rows.T.tolist(), strict=True):
        wanted = by_differences(name, parameter, square)
        at_jump = any(abs(square / jump - 1) < 2.0**-50 for jump in jumps)
        assert abs(row[0] - wanted[0]) <= 4 * np.spacing(square if at_jump else float(wanted[0]))
        if at_jump or capped(name, parameter, square):
            continue
        noise = abs(wanted[1]) * mpmath.mpf(10) ** -20  # of the differences
        for got, exact, error in ((row[1], wanted[1], noise), (row[2], wanted[2], noise / square)):
            if abs(exact) < np.finfo(np.float64).max:
                assert abs(got - exact) <= (4 if got == row[1] else 8) * np.spacing(float(abs(exact))) + error


@every_loss
def test_rows_at_zero_are_limits(name, parameter):
    loss = LOSSES[name](**ORACLE[name].setting(parameter))
    rows = rho(loss)(np.zeros(3))
    assert np.isfinite(rows).all()
    value, weight, slope = rows[:, 0].tolist()
    assert value == 2 * loss(0.0, 0.0)
    if capped(name, parameter, 0.0):
        assert (weight, slope) == ({"l1": CAP, "smooth_l1": CAP, "quantile": CAP / 2, "epsilon_insensitive": 0.0}[name], 0.0)
        return
    with mpmath.workdps(400):
        near = mpmath.mpf(10) ** -200 * (mpmath.mpf(parameter) ** 2 if LOSSES[name].parameter_is_length else 1)
        _, first, second = by_differences(name, parameter, near)
        noise = abs(first) * mpmath.mpf(10) ** -20 / (near * mpmath.mpf(10) ** 200)
    for got, exact in ((weight, first), (slope, second)):
        assert abs(got - exact) <= 4 * np.spacing(float(abs(exact))) + noise


@pytest.mark.parametrize("loss", [L1Loss(), SmoothL1Loss(beta=0.0), QuantileLoss(q=0.5), EpsilonInsensitiveLoss(epsilon=2.0**-30)])
def test_a_kink_is_a_parabola_up_to_its_cap(loss):
    slope = float(loss.grad(1.0, 0.0))
    inside, outside = math.nextafter(2.0**-40, 0.0), math.nextafter(2.0**-40, 1.0)
    rows = rho(loss)(np.array([inside, outside, 2.0**-46]))
    assert rows[1].tolist() == pytest.approx([slope * CAP] * 3, rel=1e-12)
    assert rows[2, [0, 2]].tolist() == [0.0, 0.0]
    assert rows[2, 1] == pytest.approx(-slope * CAP**3 / 2, rel=1e-12)


@pytest.mark.parametrize(("loss", "end"), [(HuberLoss(delta=0.3), 0.3), (TukeyLoss(c=1.7), 1.7), (SmoothL1Loss(beta=7e-9), 7e-9)])
def test_on_which_side_of_its_end_a_parabola_is(loss, end):
    """As the exact square of the parameter has it, which is no float."""
    square = end * end
    z = np.array([math.nextafter(square, 0.0), square, math.nextafter(square, math.inf)])
    inside = np.array([Fraction(each) <= Fraction(end) ** 2 for each in z.tolist()])
    assert inside.any()
    assert not inside.all()
    slopes = rho(loss)(z)[2]
    if isinstance(loss, TukeyLoss):
        exact = [max(Fraction(0), 1 - Fraction(each) / Fraction(end) ** 2) * -2 / Fraction(end) ** 2 for each in z.tolist()]
        np.testing.assert_allclose(slopes, [float(number) for number in exact], rtol=1e-15)
    else:
        assert ((slopes == 0) == inside).all()


@pytest.mark.parametrize("name", LOSSES)
def test_rows_of_extreme_numbers(name):
    """Derivatives are finite for all z, rho up to its overflow; NaN stays NaN."""
    for parameter in ORACLE[name].parameters:
        loss = LOSSES[name](**ORACLE[name].setting(parameter))
        if not loss.is_symmetric:
            continue
        z = np.array([0.0, SMALLEST, 1e-300, 1.0, 1e300, 1.7e308, math.inf])
        rows = rho(loss)(z[:-1] if parameter == math.inf else z)
        assert np.isfinite(rows[1:]).all(), parameter
        assert (rows[:2] >= 0).all(), parameter
        assert (rows[2] <= 0).all(), parameter
        assert np.isnan(rho(loss)(np.array([math.nan]))).all(), parameter


def test_shapes_and_fresh_arrays():
    """SciPy multiplies the rows in place."""
    of_huber, z = rho("huber"), np.array([0.5, 4.0])
    z.flags.writeable = False
    first = of_huber(z)
    first *= 3
    assert same_bits(of_huber(z) * 3, first)
    assert of_huber(2.0).tolist() == of_huber([2.0])[:, 0].tolist()
    assert of_huber(np.zeros((0,))).shape == (3, 0)
    assert of_huber(np.zeros((4, 5))).shape == (3, 4, 5)
    assert same_bits(of_huber(np.array([4], np.int32)), of_huber(np.array([4.0])))


def test_rho_is_an_object():
    assert rho("huber") == rho(HuberLoss()) == rho(HuberLoss("sum")) != rho(HuberLoss(delta=2.0))
    assert pickle.loads(pickle.dumps(rho(TukeyLoss(c=2.0)))) == rho(TukeyLoss(c=2.0))
    assert len({rho("huber"), rho(HuberLoss("none")), rho("mse")}) == 2


@pytest.mark.parametrize(
    ("loss", "error", "named"),
    [
        ("hubber", ValueError, "'smooth_l1', 'l1'.*'hubber'"),
        (HuberLoss, TypeError, "loss must be a loss object"),
        (None, TypeError, "loss must be a loss object.*None"),
        (QuantileLoss(q=0.75), ValueError, r"QuantileLoss\(reduction='mean', q=0.75\) is not: it is not symmetric"),
    ],
)
def test_losses_that_rho_refuses(loss, error, named):
    with pytest.raises(error, match=named):
        rho(loss)


def test_rho_refuses_what_is_no_square():
    with pytest.raises(ValueError, match=r"z must hold squares.*-1\.0"):
        rho("huber")(np.array([1.0, np.nan, -1.0]))


@pytest.mark.parametrize("wrong", [np.ma.masked_array([1.0, 2.0], [0, 1]), [1.0, 2j], np.array(["2020"], "M8[s]"), ["1"], None])
def test_what_is_no_real_number_is_refused_by_name(wrong):
    if wrong is not None:
        with pytest.raises(TypeError, match=r"^weight (is a masked array|must be an array of real numbers)"):
            objective("huber", lambda x: x, weight=wrong)
    with pytest.raises(TypeError, match=r"^z (is a masked array|must be an array of real numbers)"):
        rho("huber")(wrong)


@pytest.mark.parametrize("name", LOSSES)
def test_is_symmetric(name):
    d = np.array([1e-9, 0.03, 0.7, 5.0, 1e4])
    for parameter in ORACLE[name].parameters:
        loss = LOSSES[name]("none", **ORACLE[name].setting(parameter)) if ORACLE[name].parameter else LOSSES[name](reduction="none")
        assert loss.is_symmetric == same_bits(loss(d, 0.0), loss(-d, 0.0))


# Fits -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stackloss():
    data = load_stackloss()
    design = np.column_stack([np.ones(21), data.predictors])
    return design, data.response, np.linalg.lstsq(design, data.response, rcond=None)[0]


@pytest.mark.parametrize("loss", list(PUBLISHED), ids=lambda loss: loss.name)
@pytest.mark.parametrize("method", ["trf", "dogbox"])
def test_least_squares_gives_the_published_estimate(loss, method, stackloss):
    X, y, start = stackloss
    tight = {"xtol": 1e-14, "ftol": 1e-14, "gtol": 1e-11}
    fit = least_squares(lambda b: X @ b - y, start, lambda b: X, loss=rho(loss), x_scale="jac", method=method, **tight)
    assert np.round(fit.x, 4).tolist() == PUBLISHED[loss]
    assert fit.cost == pytest.approx(float(type(loss)("sum", loss._parameter)(X @ fit.x, y)), rel=1e-13)
    unit = getattr(loss, loss.parameter_name)
    scaled = rho(type(loss)(**{loss.parameter_name: 1.0}))
    again = least_squares(lambda b: X @ b - y, start, lambda b: X, loss=scaled, f_scale=unit, x_scale="jac", method=method, **tight)
    np.testing.assert_allclose(again.x, fit.x, rtol=1e-6)


@pytest.mark.parametrize("loss", list(PUBLISHED), ids=lambda loss: loss.name)
@pytest.mark.parametrize("with_jacobian", [True, False])
def test_minimize_gives_the_published_estimate(loss, with_jacobian, stackloss):
    X, y, start = stackloss
    fun = objective(loss, lambda b: X @ b - y, (lambda b: X) if with_jacobian else None)
    fit = minimize(fun, start, jac=True if with_jacobian else "3-point", method="BFGS", options={"gtol": 1e-7})
    np.testing.assert_allclose(fit.x, PUBLISHED[loss], atol=1e-4)


def test_the_estimates_are_those_of_statsmodels(stackloss):
    sm = pytest.importorskip("statsmodels.api")
    X, y, start = stackloss
    for norm, loss in ((sm.robust.norms.HuberT(1.345), HuberLoss(delta=1.345)), (sm.robust.norms.TukeyBiweight(), TukeyLoss())):
        theirs = sm.RLM(y, X, M=norm).fit(maxiter=500, tol=1e-12)
        tight = {"xtol": 1e-14, "ftol": 1e-14, "gtol": 1e-11}
        ours = least_squares(lambda b: X @ b - y, start, lambda b: X, loss=rho(loss), f_scale=theirs.scale, x_scale="jac", **tight)
        np.testing.assert_allclose(ours.x, theirs.params, rtol=1e-6)


@pytest.mark.parametrize(("ours", "theirs"), [(HuberLoss(delta=1.0), "huber"), (PseudoHuberLoss(delta=1.0), "soft_l1")])
def test_fits_are_those_with_scipys_own_losses(ours, theirs, rng):
    """A damped sinus with outliers, as in SciPy's cookbook."""
    t = np.linspace(0, 10, 100)

    def curve(x):
        return x[0] * np.exp(-x[1] * t) * np.sin(x[2] * t)

    y = curve([2.0, 0.1, 3.0]) + 0.1 * rng.standard_normal(100)
    y[rng.integers(0, 100, 20)] += 3 * rng.standard_normal(20)
    fits = [least_squares(lambda x: curve(x) - y, [1.5, 0.2, 2.9], loss=loss, f_scale=0.1) for loss in (rho(ours), theirs)]
    np.testing.assert_allclose(fits[0].x, fits[1].x, rtol=1e-6)
    assert fits[0].cost == pytest.approx(fits[1].cost, rel=1e-10)
    np.testing.assert_allclose(fits[0].x, [2.0, 0.1, 3.0], atol=0.2)


@pytest.mark.parametrize("name", [name for name in LOSSES if LOSSES[name]().is_symmetric])
def test_each_loss_fits(name, rng):
    """The location of normal data with outliers; squares see these, the others do not."""
    y = rng.standard_normal(101) * 0.1 + 5
    y[::10] = 1000
    fit = least_squares(lambda x: x - y, [np.median(y) + 0.3], loss=rho(LOSSES[name]()), method="dogbox", max_nfev=2000)
    assert abs(fit.x[0] - (y.mean() if name == "mse" else 5)) < 0.2


# objective ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def problem(rng):
    """A curved model of three parameters: its residuals and their Jacobian."""
    t, y = rng.standard_normal(40), rng.standard_normal(40)

    def residual(x):
        return x[0] * np.exp(x[1] * t) + x[2] - y

    def jacobian(x):
        return np.stack([np.exp(x[1] * t), x[0] * t * np.exp(x[1] * t), np.ones_like(t)], axis=1)

    return residual, jacobian, np.array([0.7, -0.4, 0.2])


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_values_are_exact_and_gradients_those_of_differences(name, reduction, problem, rng):
    residual, jacobian, x = problem
    loss = LOSSES[name](reduction=reduction)
    for weight in (None, rng.integers(0, 4, 40)):
        fun = objective(loss, residual, jacobian, weight=weight)
        value, gradient = fun(x)
        assert type(value) is float
        assert value == float(loss(residual(x), np.zeros(40), weight=weight))
        assert gradient.shape == (3,)
        assert objective(loss, residual, weight=weight)(x) == value
        assert check_grad(lambda x, f=fun: f(x)[0], lambda x, f=fun: f(x)[1], x) < 1e-4 * (1 + abs(gradient).max())
    losses = LOSSES[name](reduction="none")(residual(x), 0.0)
    assert objective(LOSSES[name](reduction="sum"), residual)(x) == float(exact_sum(losses))


def test_weight_counts_residuals(problem):
    residual, jacobian, x = problem
    weight = np.arange(40) % 3
    rows = np.repeat(np.arange(40), weight)
    value, gradient = objective("huber", residual, jacobian, weight=weight)(x)
    repeated = objective("huber", lambda x: residual(x)[rows], lambda x: jacobian(x)[rows])(x)
    assert value == repeated[0]
    np.testing.assert_allclose(gradient, repeated[1], rtol=1e-13)


def test_jacobians_of_any_kind(problem):
    residual, jacobian, x = problem
    gradient = objective("huber", residual, jacobian)(x)[1]
    for kind in (csr_array, aslinearoperator, np.ndarray.tolist, np.asfortranarray):
        got = objective("huber", residual, lambda x, kind=kind: kind(jacobian(x)))(x)[1]
        assert type(got) is np.ndarray
        np.testing.assert_allclose(got, gradient, rtol=1e-13)


def test_float32_residuals_are_computed_with_in_float64(problem):
    residual, _, x = problem
    single = residual(x).astype(np.float32)
    assert objective("huber", lambda x: single)(x) == float(HuberLoss()(single.astype(np.float64), 0.0))
    assert objective("huber", lambda x: 3)(x) == objective("huber", lambda x: [3])(x) == 2.5


def test_args_reach_both_functions():
    t = np.arange(4.0)
    fun = objective("mse", lambda x, a, b: x * t + a - b, lambda x, a, b: t[:, None] * (b / b))
    assert minimize(fun, [1.0], args=(2.0, 5.0), jac=True).x == pytest.approx([9 / 7], rel=1e-6)


def residual_of_pickle(x):
    return np.asarray(x) - 1.0


def test_objectives_are_pickled(problem):
    fun = pickle.loads(pickle.dumps(objective(CharbonnierLoss(eps=1.0), residual_of_pickle, weight=[1.0, 2.0])))
    assert fun([1.0, 1.0]) == 1.0


def test_a_weight_is_copied():
    weight = np.ones(2)
    fun = objective("l1", residual_of_pickle, weight=weight)
    weight[0] = -1
    assert fun([2.0, 4.0]) == 2.0


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        (("hubber", len), ValueError, "'smooth_l1'.*'hubber'"),
        ((MSELoss(reduction="none"), len), ValueError, "reduction='mean' or 'sum'"),
        (("mse", np.zeros(3)), TypeError, "residual must be a function.*ndarray"),
        (("mse", len, "3-point"), TypeError, "jacobian must be a function.*'3-point'.*minimize"),
    ],
)
def test_bad_arguments_of_objective(arguments, error, named):
    with pytest.raises(error, match=named):
        objective(*arguments)


@pytest.mark.parametrize(
    ("residual", "jacobian", "weight", "error", "named"),
    [
        (np.zeros((2, 2)), None, None, ValueError, r"residual must return a vector.*\(2, 2\)"),
        (np.zeros(2, complex), None, None, TypeError, "complex"),
        (np.zeros(2), None, [1.0], ValueError, r"weight of shape \(1,\).*2 residuals"),
        (np.zeros(2), None, [1.0, -1.0], ValueError, "weight"),
        (np.zeros(2), np.zeros((3, 2)), None, ValueError, r"jacobian must return an array of shape \(2, 3\).*\(3, 2\)"),
        (np.zeros(2), np.zeros(3), None, ValueError, r"jacobian must return an array of shape \(2, 3\).*\(3,\)"),
        (np.zeros(2), np.zeros((2, 3), complex), None, TypeError, "jacobian must return real numbers.*complex"),
    ],
)
def test_what_functions_return_is_checked(residual, jacobian, weight, error, named):
    fun = objective("huber", lambda x: residual, None if jacobian is None else lambda x: jacobian, weight=weight)
    with pytest.raises(error, match=named):
        fun(np.zeros(3))


# The module and the page ----------------------------------------------------------------------------------------------


def test_without_scipy_the_error_names_the_extra():
    script = (
        "import sys; sys.modules['scipy'] = None\ntry:\n    import cylosses.scipy\nexcept ImportError as error:\n    print(error)"
    )
    root = Path(cylosses.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root, timeout=60)
    assert done.stdout == "cylosses.scipy needs the package scipy: pip install 'cylosses[scipy]'\n"


def test_the_page_works_as_printed():
    """Each line that prints has what it prints in a comment."""
    source = "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "scipy.md").read_text(encoding="utf-8"), re.DOTALL))
    assert "least_squares" in source
    assert "minimize" in source
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(source, "docs/scipy.md", "exec"), {})
    expected = [line.rpartition("  # ")[2] for line in source.splitlines() if line.startswith("print(")]
    assert expected
    assert printed.getvalue().splitlines() == expected
