"""`Objective.initial_score`: no float near it has a lower total loss, in exact arithmetic or with 80 digits.

tests/peers/test_boosters.py hands it over to the real boosters.
"""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest

import cylosses
from cylosses.boosting import Objective, robust_scale
from cylosses.boosting.pairs import Pairs
from cylosses.losses import LOSSES, squares

from .reference import ORACLE, same_bits

CONVEX = [name for name in LOSSES if LOSSES[name].convex]
BENT = [name for name in LOSSES if not LOSSES[name].convex]
every_loss = pytest.mark.parametrize("name", LOSSES)
every_convex = pytest.mark.parametrize("name", CONVEX)
GREATEST = np.finfo(np.float64).max


def some_targets(rng):
    """Few and many, near and far from 0, with ties, equal ones, with a group far away."""
    n = int(rng.integers(1, 30))
    unit = 10.0 ** rng.integers(-3, 4)
    return [
        rng.standard_normal(n) * unit,
        rng.standard_normal(n) * unit + 1e6,
        rng.integers(-3, 4, n) * unit,
        np.where(rng.random(n) < 0.5, 0.0, unit) + rng.standard_normal(n) * unit * 1e-4,
        np.round(rng.standard_cauchy(n), 1),
    ]


def some_weights(n, rng):
    weights = [None, rng.integers(0, 4, n).astype(float), rng.random(n), 2.0 ** rng.integers(-600, 600, n)]
    return [weight for weight in weights if weight is None or weight.any()]


def some_parameters(name, rng):
    cls = LOSSES[name]
    if cls.parameter_name is None:
        return [0.0]
    if not cls.parameter_is_length:
        return [0.0, 1.0, 0.5, 0.25, 0.1, 1 / 3]
    return [*(10.0 ** rng.uniform(-8, 5, 3)), 1.0, *(p for p in (0.0, math.inf) if cls.accepted[0] <= p <= cls.accepted[1])]


def total(name, parameter, targets, weights):
    """The total loss of a constant as a function: a fraction, or with 80 digits if it has roots."""
    curved = LOSSES[name].hyperbolic
    exact = (lambda number: mpmath.mpf(float(number))) if curved else (lambda number: Fraction(float(number)))
    p = exact(parameter) if parameter < math.inf else math.inf
    pairs = [
        (exact(y), 1 if weights is None else exact(w))
        for y, w in zip(targets, targets if weights is None else weights, strict=True)
    ]
    value = ORACLE[name].value
    return lambda c: sum(w * value(exact(c) - y, p) for y, w in pairs if w)


# No neighbour is better -----------------------------------------------------------------------------------------------


@every_convex
@pytest.mark.parametrize("round_", range(2))
def test_no_float_near_it_has_a_lower_total_loss(name, round_, rng):
    with mpmath.workdps(80):
        for targets in some_targets(rng):
            for weights in some_weights(len(targets), rng):
                for parameter in some_parameters(name, rng):
                    c = Objective(name, **ORACLE[name].setting(parameter)).initial_score(targets, weights)
                    loss_of = total(name, parameter, targets, weights)
                    others = [np.nextafter(c, -np.inf), np.nextafter(c, np.inf), c + 1e-6, c - 1e-6, *targets[:3]]
                    least = loss_of(c)
                    assert type(c) is float
                    assert all(least <= loss_of(other) for other in others), (targets.tolist(), weights, parameter)


@every_convex
def test_no_constant_at_all_is_better_for_ordinary_targets(name, rng):
    """`auto` parameters, and a library that sums exactly: the score is between all other targets."""
    targets, weights = rng.standard_normal(500) * 30 + 100, rng.random(500)
    for used in (None, weights):
        objective = Objective(name).for_targets(targets, used)
        score = objective.initial_score(targets, used)
        assert score == Objective(name).initial_score(targets, used)
        metric = objective.metric("xgboost")
        losses = [metric(targets, np.full(500, c), used) for c in (score, *np.linspace(80, 120, 201))]
        assert losses[0] == min(losses)


# Numbers that are known -----------------------------------------------------------------------------------------------


def test_the_median_and_quantiles(rng):
    for n in (1, 2, 5, 10, 101, 1000):
        targets = np.round(rng.standard_normal(n) * 10, 1)
        assert Objective("l1").initial_score(targets) == np.median(targets)
        assert Objective("smooth_l1", beta=0.0).initial_score(targets) == np.median(targets)
        for q in (0.0, 0.125, 0.25, 0.5, 0.75, 1.0):
            last = n * q  # so many targets lie below, if it is an integer
            around = np.sort(targets)[[max(math.ceil(last) - 1, 0), min(math.floor(last), n - 1)]]
            assert Objective("quantile", q=q).initial_score(targets) == around.mean()


def test_the_mean_is_rounded_once(rng):
    for targets in (*some_targets(rng), [1e308, 1e308, -1e308], [1e16, 1.0, 1.0], [5e-324, 0.0], [1.7e308, 1.6e308]):
        wanted = float(sum(map(Fraction, map(float, targets))) / len(targets))
        assert Objective("mse").initial_score(targets) == wanted
        assert Objective("huber", delta=np.inf).initial_score(targets) == wanted
        assert Objective("smooth_l1", beta=np.inf).initial_score(targets) == wanted


def test_weighted_means_are_rounded_once(rng):
    targets, weights = rng.standard_normal(50) * 10.0 ** rng.integers(-5, 5, 50), 2.0 ** rng.uniform(-1000, 1000, 50)
    exact = [(Fraction(w), Fraction(y)) for w, y in zip(weights.tolist(), targets.tolist(), strict=True)]
    assert Objective("mse").initial_score(targets, weights) == float(sum(w * y for w, y in exact) / sum(w for w, _ in exact))


@pytest.mark.parametrize(
    ("name", "parameter", "targets", "wanted"),
    [
        ("huber", 1.0, [1, 2, 3, 10], 2.5),  # 1 and 10 pull alike, and 2 and 3
        ("huber", 2.0, [1, 2, 3, 10], 8 / 3),  # (c - 1) + (c - 2) + (c - 3) = 2
        ("huber", 1.0, [0, 10], 5.0),  # flat from 1 to 9
        ("smooth_l1", 1.0, [0, 10], 5.0),
        ("huber", 100.0, [1, 2, 3, 10], 4.0),
        ("huber", 1e-3, [1, 2, 3, 10], 2.5),
        ("epsilon_insensitive", 100.0, [1, 2, 3, 10], 5.5),  # nothing counts from -90 to 101
        ("epsilon_insensitive", np.inf, [1, 2, 3, 10], 5.5),
        ("epsilon_insensitive", 0.25, [1, 2, 4], 2.0),
        ("epsilon_insensitive", 0.0, [1, 2, 4, 5], 3.0),
        ("l1", 0.0, [1, 2, 3, 10], 2.5),
        ("pseudo_huber", 1.0, [-3, 3], 0.0),
        ("charbonnier", 1.0, [-1, 5], 2.0),
        ("charbonnier", 1e-12, [-1, 0.5, 100], 0.5),
        ("pseudo_huber", np.inf, [1, 2, 3, 10], 4.0),
        ("pseudo_huber", 1e300, [1, 2, 3, 10], 4.0),
    ],
)
def test_by_hand(name, parameter, targets, wanted):
    assert Objective(name, **ORACLE[name].setting(parameter)).initial_score(targets) == pytest.approx(wanted, rel=1e-12)


def test_a_kink_that_is_no_float():
    """Between two floats the total loss has its kink at 1 + 0.1, and rises faster on one side."""
    for weights, targets in (([3.0, 1.0], [1.0, 5.0]), ([1.0, 3.0], [1.0, 5.0]), ([3.0, 1.0, 1.0], [1.0, 5.0, 6.0])):
        c = Objective("epsilon_insensitive", epsilon=0.1).initial_score(targets, weights)
        loss_of = total("epsilon_insensitive", 0.1, targets, weights)
        assert loss_of(c) == min(loss_of(c), loss_of(np.nextafter(c, -np.inf)), loss_of(np.nextafter(c, np.inf)))


# Targets and weights of all kinds -------------------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("constant", [0.0, -0.0, 152.25, -1e6, 1 / 3, 1e308, GREATEST, 5e-324, -1e-310])
def test_equal_targets_are_returned(name, constant):
    for n in (1, 2, 7):
        assert same_bits(np.array(Objective(name).initial_score(np.full(n, constant))), np.array(constant))
        assert Objective(name).initial_score(np.full(n, constant), np.arange(1.0, n + 1)) == constant
    assert Objective(name).initial_score([np.nan, constant], [0.0, 2.0]) == constant


@every_loss
def test_weight_k_is_k_targets_and_weight_zero_none(name, rng):
    targets, weights = rng.standard_normal(60) * 30, rng.integers(0, 4, 60)
    objective = Objective(name, scale=20.0)
    repeated = objective.initial_score(np.repeat(targets, weights))
    targets[weights == 0] = np.nan
    weighted = objective.initial_score(targets, weights)
    if LOSSES[name].convex:
        assert weighted == repeated
        assert weighted == objective.initial_score(targets, weights * 2.0**-1060)
    else:
        assert weighted == pytest.approx(repeated, rel=1e-9)


@every_loss
def test_the_order_of_targets_and_the_threads_do_not_matter(name, rng, keep_num_threads):
    targets, weights = rng.standard_normal(10_000) * 30, rng.random(10_000)
    order = rng.permutation(10_000)
    wanted = Objective(name, scale=20.0).initial_score(targets, weights)
    assert Objective(name, scale=20.0).initial_score(targets[order], weights[order]) == wanted
    cylosses.set_num_threads(1)
    assert Objective(name, scale=20.0).initial_score(targets, weights) == wanted


@every_loss
@pytest.mark.parametrize("exponent", [-960, -60, 40, 1000])
def test_it_follows_the_unit(name, exponent, rng):
    targets = rng.standard_normal(40)
    score = Objective(name).initial_score(targets)
    assert Objective(name).initial_score(np.ldexp(targets, exponent)) == math.ldexp(score, exponent)


@every_loss
def test_it_follows_an_offset(name, rng):
    targets = rng.integers(-100, 100, 50) / 4
    for offset in (1e6, -(2.0**40)):
        score = Objective(name).initial_score(targets)
        assert Objective(name).initial_score(targets + offset) - offset == pytest.approx(score, abs=2e-3)


@every_loss
def test_huge_targets(name):
    """Whose sums and differences leave the range of float64."""
    score = Objective(name).initial_score([1.7e308, 1.6e308, 1.5e308, -1.7e308, 1.55e308])
    assert -1.7e308 <= score <= 1.7e308
    assert score > 0


@every_loss
def test_several_targets_have_a_score_each(name, rng):
    targets, weights = rng.standard_normal((50, 3)) * [1e-3, 1, 1e3], rng.random(50)
    scores = Objective(name).initial_score(targets, weights)
    assert scores.shape == (3,)
    assert scores.tolist() == [Objective(name).initial_score(targets[:, k], weights) for k in range(3)]


def test_dtypes_and_lists():
    for targets in ([1, 2, 4], np.array([1, 2, 4], np.int8), np.array([1, 2, 4], np.float32)):
        assert Objective("l1").initial_score(targets) == 2.0
        assert type(Objective("l1").initial_score(targets)) is float


def test_curvature_and_scale_do_not_matter(rng):
    targets = rng.standard_normal(30)
    scores = {
        Objective("huber", curvature, scale, delta=0.5).initial_score(targets)
        for curvature in ("mm", "exact", "ones")
        for scale in ("auto", 3.0)
    }
    assert len(scores) == 1
    assert Objective("huber", scale=5.0).initial_score(targets) == Objective("huber", delta=1.0).initial_score(targets)


@pytest.mark.parametrize(
    ("targets", "weights", "named"),
    [
        ([], None, "y must hold at least one number with a weight to have an initial score"),
        (3.0, None, r"y must be a vector.*\(\)"),
        (np.zeros((2, 2, 2)), None, r"y must be a vector.*\(2, 2, 2\)"),
        ([1.0, np.nan], None, "y must be finite.*NaN"),
        ([1.0, np.inf], [1, 1], "y must be finite"),
        ([1.0, 2.0], [0, 0], "y must hold at least one number with a weight"),
        ([1.0, 2.0], [1, -1], "sample_weight must be finite and not negative"),
        ([1.0, 2.0], [1, np.nan], "sample_weight must be finite and not negative"),
        ([1.0, 2.0], [1], r"sample_weight has shape \(1,\), y have \(2,\)"),
    ],
)
def test_targets_that_have_no_score(targets, weights, named):
    for name in ("l1", "huber"):
        with pytest.raises(ValueError, match=named):
            Objective(name).initial_score(targets, weights)


NO_NUMBERS = {
    "masked": np.ma.masked_array([1.0, 2.0, 100.0], [0, 0, 1]),
    "complex": np.array([1.0, 2.0, 1j]),
    "dates": np.array(["2020", "2021", "2022"], "M8[s]"),
    "texts": ["1", "2", "3"],
    "objects": np.array(["1", 2, 3], object),
    "wide": np.arange(3, dtype=np.longdouble),
    "none": [None, 1.0, 2.0],
}


@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_what_is_no_real_number_is_refused_by_name(kind):
    """As the core refuses it; NumPy would drop a mask or an imaginary part, and count dates in seconds."""
    if kind == "wide" and np.dtype(np.longdouble).itemsize == 8:
        pytest.skip("long double is float64 here")
    values = NO_NUMBERS[kind]
    for call, name in (
        (Objective("l1").initial_score, "y"),
        (Objective("l1").for_targets, "targets"),
        (robust_scale, "targets"),
    ):
        with pytest.raises(TypeError, match=rf"^{name} (is a masked array|must be an array of real numbers)"):
            call(values)
    with pytest.raises(TypeError, match=r"^sample_weight "):
        robust_scale([1.0, 2.0, 3.0], values)


# Losses that are not convex -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BENT)
def test_redescending_losses_end_in_the_minimum_below_the_median(name, rng):
    targets = np.concatenate([rng.standard_normal(300), rng.standard_normal(100) + 40])
    parameter = 4.0
    score = Objective(name, **ORACLE[name].setting(parameter)).initial_score(targets)
    loss = LOSSES[name](**ORACLE[name].setting(parameter))

    def at(c):
        return float(loss(np.float64(c), targets))

    assert abs(score) < 0.3  # the outliers do not count
    assert at(score) <= min(at(np.median(targets)), at(score - 1e-5), at(score + 1e-5))
    gradient, curvature = loss.grad_and_hess(np.array([score]), targets)
    assert abs(gradient[0]) < 1e-11
    assert curvature[0] > 0


@pytest.mark.parametrize("name", BENT)
def test_redescending_losses_that_see_no_target_from_the_median_stay_there(name):
    c = Objective(name, **ORACLE[name].setting(1e-3)).initial_score([0.0, 100.0])
    assert c == 50.0 if name == "tukey" else 0.0 <= c <= 100.0


# What it is worked out with -------------------------------------------------------------------------------------------


@every_loss
def test_pieces_are_the_derivative(name, rng):
    """Up to a positive factor; away from the knots, where floats are exact."""
    for parameter in ORACLE[name].parameters:
        if not 1e-30 <= parameter <= 1e30 and parameter not in (0.0, 1.0):
            continue
        loss = LOSSES[name](**{"reduction": "none"} | ORACLE[name].setting(parameter))
        if (pieces := loss.pieces) is None:
            continue
        unit = parameter if LOSSES[name].parameter_is_length and parameter else 1.0
        d = rng.standard_normal(50) * 3 * unit
        lines = [Fraction(pieces.level) + Fraction(pieces.slope) * Fraction(each) for each in d.tolist()]
        for at, jump, turn in pieces.knots:
            lines = [
                line + (Fraction(jump) + Fraction(turn) * (Fraction(each) - Fraction(at))) * (each > at)
                for line, each in zip(lines, d.tolist(), strict=True)
            ]
        factor = {"smooth_l1": 1 / unit, "mse": 2.0}.get(name, 1.0)
        np.testing.assert_allclose(loss.grad(d, 0.0), [float(line) * factor for line in lines], rtol=1e-14)


@every_loss
def test_a_hyperbolic_derivative_is_one(name, rng):
    cls = LOSSES[name]
    loss = cls(**{"reduction": "none"} | ORACLE[name].setting(0.75))
    d = rng.standard_normal(50)
    multiple = loss.grad(d, 0.0) / (d / np.hypot(d, 0.75))
    assert cls.hyperbolic == bool(np.allclose(multiple, multiple[0], rtol=1e-12))


@pytest.mark.parametrize("name", CONVEX)
def test_each_convex_loss_has_a_way_to_its_score(name):
    assert (LOSSES[name]().pieces is not None) != LOSSES[name].hyperbolic


def exact(pairs):
    return [Fraction(float(u)) + Fraction(float(v)) for u, v in np.broadcast(pairs.upper, pairs.lower)]


def test_pairs_have_a_hundred_bits(rng):
    def some():
        upper = rng.standard_normal(200) * 2.0 ** rng.integers(-100, 100, 200)
        return Pairs._sum(upper, upper * rng.uniform(-1, 1, 200) * 2.0**-54, 0.0)

    a, b = some(), some()
    x, y = exact(a), exact(b)
    bound = Fraction(1, 2**100)
    for got, wanted in ((a * b, [p * q for p, q in zip(x, y, strict=True)]), (a / b, [p / q for p, q in zip(x, y, strict=True)])):
        assert all(abs(g - w) <= bound * abs(w) for g, w in zip(exact(got), wanted, strict=True))
    for got, wanted in ((a + b, [p + q for p, q in zip(x, y, strict=True)]), (a - b, [p - q for p, q in zip(x, y, strict=True)])):
        assert all(abs(g - w) <= bound * (abs(p) + abs(q)) for g, w, p, q in zip(exact(got), wanted, x, y, strict=True))
    root = (a * a).root()
    assert all(abs(g**2 - p**2) <= 4 * bound * p**2 for g, p in zip(exact(root), x, strict=True))


def test_root_and_rest(rng):
    z = np.concatenate([2.0 ** rng.uniform(-900, 1020, 1000), [0.0, np.inf]])
    root, rest = squares.root_and_rest(z)
    assert all(
        Fraction(r) ** 2 + Fraction(t) == Fraction(s)
        for s, r, t in zip(z[:-1].tolist(), root[:-1].tolist(), rest[:-1].tolist(), strict=True)
    )
    assert (root[-1], rest[-1]) == (np.inf, 0.0)
