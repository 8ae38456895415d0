"""Every loss that others wrote too, beside ours: ``python -m tools.peer_table``, printed by ``make test-peers`` as well.

A row is a function of a peer and a quantity of a loss: on errors from 2**-6 to 2**6 times the parameter, the largest
difference in ulp (of ours), and how far ours and theirs are from the exact formula of `tests.reference` where they differ
most. So each large difference is explained by arithmetic: where the note says that theirs cancels, the last column shows
it. Differences that are meant and are no question of rounding (factors, kinks, divisors) are named in the notes, and each is
proved by a function of `DIVERGENCES`. Rows of packages that are not installed (torch, optax: group `peers`) are left out, and
a line says so. Exit code 1 if a row is not explained.
"""

from __future__ import annotations

import importlib.util
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from cylosses.losses import LOSSES
from tests.reference import ORACLE, QUANTITIES, as_fraction, elementwise, exact_mean, ulp_error

LENGTH = 4000
DELTA, C, Q = 1.3, 4.685, 0.3  # the parameters of Huber and pseudo-Huber, Tukey and the quantile
NEAR = 4.0  # ulp; what differs by more is inaccurate on one side, and the row must say why
SMALL, LARGE = ("scikit-learn", "scipy", "statsmodels"), ("torch", "optax")
MODULES = {"scikit-learn": "sklearn"}

Call = Callable[[np.ndarray, np.ndarray, np.ndarray | None], Any]


@dataclass(frozen=True)
class Row:
    """What is compared: a function of a peer with a quantity of one of our losses, elementwise or (`mean`) reduced."""

    peer: str
    what: str  # the peer's name of it
    theirs: Call
    name: str
    quantity: str
    parameter: float = 0.0
    dtype: type = np.float64
    weighted: bool = False
    why: str = ""  # why they differ by more than NEAR, where they do
    note: str = ""  # a difference that is meant and taken account of here

    def __str__(self) -> str:
        return f"{self.peer} {self.what} {self.quantity}{' weighted' if self.weighted else ''} {np.dtype(self.dtype)}"


@dataclass(frozen=True)
class Comparison:
    """The largest difference in ulp of ours, and the errors of both in ulp of the exact value where it is."""

    difference: float
    ours: float
    theirs: float
    at: float  # the error d; NaN for a mean

    def is_explained(self, row: Row) -> bool:
        """Near, or the peer's error is what makes the difference and the row says why; ours is right in either case."""
        allowed = 0.5 if row.quantity == "mean" else ORACLE[row.name].ulps[QUANTITIES.index(row.quantity)]
        allowed = 2 * allowed + 0.5 if row.weighted and row.quantity != "mean" else allowed  # a factor takes it to another binade
        if self.ours > allowed:
            return False
        return self.difference <= NEAR or (bool(row.why) and self.theirs >= self.difference / 2 - allowed)


# The peers ------------------------------------------------------------------------------------------------------------------


def _scikit_learn() -> Iterator[Row]:
    from sklearn._loss import loss as losses
    from sklearn.metrics import mean_pinball_loss

    def both(loss: Any, part: int, factor: float = 1) -> Call:
        return lambda x, t, weight: factor * loss.loss_gradient(y_true=t, raw_prediction=x, sample_weight=weight)[part]

    huber = losses.HuberLoss(delta=DELTA)
    halved = "theirs is halved, and doubled for this"
    for loss, name, parameter, factor, note in (
        (losses.HalfSquaredError(), "mse", 0.0, 2, halved),
        (losses.AbsoluteError(), "l1", 0.0, 1, ""),
        (losses.PinballLoss(quantile=Q), "quantile", Q, 1, ""),
        (huber, "huber", DELTA, 1, ""),
    ):
        for weighted in (False, True):
            yield Row(
                "scikit-learn", type(loss).__name__, both(loss, 0, factor), name, "value", parameter, weighted=weighted, note=note
            )
        yield Row("scikit-learn", type(loss).__name__, both(loss, 1, factor), name, "derivative", parameter, note=note)
    for weighted in (False, True):
        yield Row(
            "scikit-learn",
            "mean_pinball_loss",
            lambda x, t, weight: mean_pinball_loss(t, x, sample_weight=weight, alpha=Q),
            "quantile",
            "mean",
            Q,
            weighted=weighted,
            why="theirs sums in floating point",
        )


def of_the_difference(function: Callable[[np.ndarray], Any]) -> Call:
    return lambda x, t, _: function(x - t)


def _scipy() -> Iterator[Row]:
    from scipy import special

    yield Row("scipy", "special.huber", of_the_difference(lambda d: special.huber(DELTA, d)), "huber", "value", DELTA)
    yield Row(
        "scipy",
        "special.pseudo_huber",
        of_the_difference(lambda d: special.pseudo_huber(DELTA, d)),
        "pseudo_huber",
        "value",
        DELTA,
        why="theirs multiplies expm1(log1p(t²)/2), each of which rounds, by delta²",
    )


def _statsmodels() -> Iterator[Row]:
    from statsmodels.robust import norms

    methods = {"rho": "value", "psi": "derivative", "psi_deriv": "second_derivative", "weights": "irls_weight"}
    why = {
        ("TukeyBiweight", "rho"): "theirs cancels for small errors: 1 - (1 - (z/c)²)³",
        ("TukeyBiweight", "psi"): "theirs cancels near c: 1 - (z/c)², squared",
        ("TukeyBiweight", "weights"): "theirs cancels near c: 1 - (z/c)², squared",
        ("TukeyBiweight", "psi_deriv"): "theirs cancels near c / sqrt(5) and c",
    }
    for norm, name, parameter in ((norms.HuberT(t=DELTA), "huber", DELTA), (norms.TukeyBiweight(c=C), "tukey", C)):
        for method, quantity in methods.items():
            peer = type(norm).__name__
            call = of_the_difference(getattr(norm, method))
            yield Row("statsmodels", f"{peer}.{method}", call, name, quantity, parameter, why=why.get((peer, method), ""))


def _torch() -> Iterator[Row]:
    import torch

    functions = torch.nn.functional

    def value(function: Any, options: dict[str, float], reduction: str) -> Call:
        def call(x: np.ndarray, t: np.ndarray, weight: np.ndarray | None) -> Any:
            extra = {} if weight is None else {"weight": torch.from_numpy(weight)}
            result = function(torch.from_numpy(x), torch.from_numpy(t), reduction=reduction, **options, **extra).numpy()
            if reduction == "mean" and weight is not None and function is functions.huber_loss:
                result = result * (weight.size / weight.astype(np.float64).sum())  # see divided_by_n
            return result

        return call

    def gradient(function: Any, options: dict[str, float]) -> Call:
        def call(x: np.ndarray, t: np.ndarray, weight: np.ndarray | None) -> Any:
            tensor = torch.from_numpy(x.copy()).requires_grad_()
            extra = {} if weight is None else {"weight": torch.from_numpy(weight)}
            function(tensor, torch.from_numpy(t), reduction="none", **options, **extra).sum().backward()
            return tensor.grad.numpy()

        return call

    sums = "theirs sums in floating point"
    for name, parameter, options in (
        ("smooth_l1", DELTA, {"beta": DELTA}),
        ("l1", 0.0, {}),
        ("mse", 0.0, {}),
        ("huber", DELTA, {"delta": DELTA}),
    ):
        function = getattr(functions, f"{name}_loss")
        for dtype in (np.float32, np.float64):
            for weighted in (False, True) if name != "smooth_l1" else (False,):  # there, torch has no weight
                note = "theirs divides by N, and is scaled for this" if weighted and name == "huber" else ""
                row = Row("torch", function.__name__, value(function, options, "none"), name, "value", parameter, dtype, weighted)
                yield row
                yield Row("torch", function.__name__, gradient(function, options), name, "derivative", parameter, dtype, weighted)
                mean = value(function, options, "mean")
                yield Row("torch", function.__name__, mean, name, "mean", parameter, dtype, weighted, why=sums, note=note)


def _optax() -> Iterator[Row]:
    import jax
    import jax.numpy as jnp
    import optax

    def of(function: Any) -> Call:
        def call(x: np.ndarray, t: np.ndarray, _: np.ndarray | None) -> Any:
            with jax.enable_x64(True):
                return np.asarray(function(jnp.asarray(x), jnp.asarray(t)))

        return call

    def huber(x: Any, t: Any) -> Any:
        return optax.losses.huber_loss(x, t, delta=DELTA)

    for dtype in (np.float32, np.float64):
        for function, what, name, parameter in (
            (optax.losses.squared_error, "squared_error", "mse", 0.0),
            (huber, "huber_loss", "huber", DELTA),
        ):
            why = "its automatic derivative adds delta and z - delta" if name == "huber" else ""
            yield Row("optax", what, of(function), name, "value", parameter, dtype)
            yield Row("optax", what, of(jax.vmap(jax.grad(function))), name, "derivative", parameter, dtype, why=why)


ROWS: dict[str, Callable[[], Iterator[Row]]] = {
    "scikit-learn": _scikit_learn,
    "scipy": _scipy,
    "statsmodels": _statsmodels,
    "torch": _torch,
    "optax": _optax,
}


def is_installed(peer: str) -> bool:
    return importlib.util.find_spec(MODULES.get(peer, peer)) is not None


def rows(peers: tuple[str, ...]) -> list[Row]:
    return [row for peer in peers if is_installed(peer) for row in ROWS[peer]()]


# Comparison -----------------------------------------------------------------------------------------------------------------


def ours(row: Row, x: np.ndarray, t: np.ndarray, weight: np.ndarray | None) -> Any:
    loss = LOSSES[row.name](reduction="mean" if row.quantity == "mean" else "none", **ORACLE[row.name].setting(row.parameter))
    if row.quantity in ("value", "mean"):
        return loss(x, t, weight=weight)
    if row.quantity == "derivative":
        return loss.grad(x, t, weight=weight)
    return loss.grad_and_hess(x, t, weight=weight, curvature="mm" if row.quantity == "irls_weight" else "exact")[1]


def compare(row: Row, rng: np.random.Generator) -> Comparison:
    """On errors of ordinary size; their exact values are asked for where the difference is largest."""
    scale = row.parameter if row.parameter and row.name != "quantile" else 1.0
    x = (scale * rng.choice([-1, 1], LENGTH) * 2.0 ** rng.uniform(-6, 6, LENGTH)).astype(row.dtype)
    t = np.zeros_like(x)
    weight = rng.uniform(0.1, 2, LENGTH).astype(row.dtype) if row.weighted else None
    got, expected = np.asarray(ours(row, x, t, weight)), np.asarray(row.theirs(x, t, weight))
    if row.quantity == "mean":
        losses = LOSSES[row.name](reduction="none", **ORACLE[row.name].setting(row.parameter))(x, t)
        at, exact = None, exact_mean(losses, weight)
    else:
        spacing = np.spacing(np.maximum(abs(got), np.finfo(row.dtype).smallest_subnormal)).astype(np.float64)
        at = int(np.argmax(abs(got.astype(np.float64) - expected) / spacing))
        got, expected = got[at], expected[at]
        exact = as_fraction(elementwise(row.name, row.quantity, x[at : at + 1], row.parameter, row.dtype)[0])
        exact *= 1 if weight is None else Fraction(float(weight[at]))
    return Comparison(
        difference=ulp_error(expected, as_fraction(got.item()), row.dtype),
        ours=ulp_error(got, exact, row.dtype),
        theirs=ulp_error(expected, exact, row.dtype),
        at=math.nan if at is None else float(x[at]),
    )


# Differences that are meant -------------------------------------------------------------------------------------------------


def halved() -> bool:
    """scikit-learn's HalfSquaredError is half of mse."""
    from sklearn._loss.loss import HalfSquaredError

    x, t = np.array([3.0]), np.zeros(1)
    return bool(2 * HalfSquaredError().loss(y_true=t, raw_prediction=x)[0] == LOSSES["mse"]("none")(x, t)[0] == 9)


def pinball_slope_at_0() -> bool:
    """scikit-learn's pinball gradient is that of one side (1 - q) where the error is 0; here it is 0, in its subdifferential."""
    from sklearn._loss.loss import PinballLoss

    zero = np.zeros(1)
    theirs = PinballLoss(quantile=Q).gradient(y_true=zero, raw_prediction=zero)[0]
    return theirs in (1 - Q, -Q) and LOSSES["quantile"]("none", q=Q).grad(zero, zero)[0] == 0


def huber_curvature_at_delta() -> bool:
    """statsmodels' Huber psi_deriv is 1 at the kink |d| = delta, here 0: there is no second derivative, only sides."""
    from statsmodels.robust.norms import HuberT

    kink = np.array([DELTA])
    mine = LOSSES["huber"]("none", delta=DELTA).grad_and_hess(kink, np.zeros(1))[1][0]
    return bool(HuberT(t=DELTA).psi_deriv(kink)[0] == 1 and mine == 0)


def tukey_rho_cancels() -> bool:
    """statsmodels' Tukey rho is 0 for z = 1e-9 c, where z²/2 (1 - u + u²/3) with u = (z/c)² is z²/2 to 17 digits, as here."""
    from statsmodels.robust.norms import TukeyBiweight

    z = np.array([C * 1e-9])
    theirs, mine = TukeyBiweight(c=C).rho(z)[0], LOSSES["tukey"]("none", c=C)(z, np.zeros(1))[0]
    exact = elementwise("tukey", "value", z, C, np.float64)[0]
    return ulp_error(mine, exact, np.float64) <= 4 and abs(Fraction(float(theirs)) / exact - 1) > Fraction(1, 100)


def divided_by_n() -> bool:
    """torch divides a weighted Huber mean by N, all its other weighted means and ours by the sum of the weights."""
    import torch

    x, weight = torch.tensor([4.0, 4.0], dtype=torch.float64), torch.tensor([1.0, 2.0], dtype=torch.float64)
    zero = torch.zeros_like(x)
    functions = torch.nn.functional
    l1, huber = (of(x, zero, weight=weight).item() for of in (functions.l1_loss, functions.huber_loss))
    mine = [float(LOSSES[name]()(x.numpy(), zero.numpy(), weight=weight.numpy())) for name in ("l1", "huber")]
    return (l1, huber) == (4.0, 3.5 * 3 / 2) and mine == [4.0, 3.5]


def nan_gradient_at_beta_0() -> bool:
    """torch's smooth L1 gradient of a NaN error is 0 at beta 0; here it is NaN at every beta."""
    import torch

    x = torch.tensor([math.nan], requires_grad=True)
    torch.nn.functional.smooth_l1_loss(x, torch.zeros(1), beta=0.0).backward()
    mine = LOSSES["smooth_l1"](beta=0.0).grad(np.array([math.nan], np.float32), np.zeros(1, np.float32))
    return x.grad.item() == 0 and bool(np.isnan(mine).all())


DIVERGENCES: dict[str, tuple[Callable[[], bool], ...]] = {
    "scikit-learn": (halved, pinball_slope_at_0),
    "statsmodels": (huber_curvature_at_delta, tukey_rho_cancels),
    "torch": (divided_by_n, nan_gradient_at_beta_0),
}


# The table ------------------------------------------------------------------------------------------------------------------


def main() -> int:
    rng = np.random.default_rng(0)
    unexplained = 0
    print(f"{'':62}{'difference':>12}{'ours':>9}{'theirs':>12}   (ulp; the errors against exact values)")
    for peer in SMALL + LARGE:
        if not is_installed(peer):
            print(f"{peer} is not installed: left out (pip install --group peers)")
            continue
        for row in ROWS[peer]():
            found = compare(row, rng)
            unexplained += not found.is_explained(row)
            notes = [row.note] + ([row.why or "NOT EXPLAINED"] if found.difference > NEAR else [])
            cells = f"{found.difference:12.2f}{found.ours:9.2f}{found.theirs:12.2f}"
            print(f"{row!s:62}{cells}   {'; '.join(filter(None, notes))}")
    print("\ndifferences that are meant:")
    for peer, proofs in DIVERGENCES.items():
        for proof in proofs if is_installed(peer) else ():
            shown = proof()
            unexplained += not shown
            print(f"  {'shown' if shown else 'NOT SHOWN'}: {' '.join((proof.__doc__ or '').split())}")
    return 1 if unexplained else 0


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys.exit(main())
