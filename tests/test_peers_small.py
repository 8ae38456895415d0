"""Against losses that others wrote, those that install quickly: scikit-learn's, SciPy's and statsmodels'.

``pytest tests/test_peers_small.py -s`` prints the largest difference of each quantity in ulp of float64, over errors
of ordinary size (2**-6 to 2**6 times the parameter). Deliberate divergences: scikit-learn's squared error is halved
(`mse` is not); its gradient is that with respect to the prediction, as here; its pinball gradient at 0 is -q, here 0;
SciPy's losses are of |r|; statsmodels' `rho` of Huber at 0 and Tukey at c agree; its Huber `psi_deriv` counts the kink
|d| = delta as inside (1), here it is 0. Their formulas cancel (pseudo-Huber for small errors, Tukey's rho near 0): the
limits in the table are the peers' own inaccuracy there.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
from sklearn._loss import loss as sklearn_losses
from sklearn.metrics import mean_pinball_loss
from statsmodels.robust import norms

from cylosses.losses import LOSSES

DELTA, C, Q = 1.3, 4.685, 0.3
_EPS = np.finfo(np.float64).eps


def ours(name, x, t, what, **setting):
    loss = LOSSES[name](reduction="none", **setting)
    if what == "value":
        return loss(x, t)
    gradient, hessian = loss.grad_and_hess(x, t, curvature="mm" if what == "weights" else "exact")
    return gradient if what == "psi" else hessian


def sklearn_(cls, what, **options):
    loss = cls(**options)

    def call(x, t):
        if isinstance(loss, sklearn_losses.HuberLoss):
            loss.closs = type(loss.closs)(DELTA)
        value, gradient = loss.loss_gradient(y_true=t, raw_prediction=x)
        return value if what == "value" else gradient

    return call


HUBER, TUKEY = norms.HuberT(t=DELTA), norms.TukeyBiweight(c=C)
#: peer and quantity: (theirs, our loss, our quantity, our setting, factor of theirs, largest difference in ulp)
PEERS = {
    "sklearn HalfSquaredError value": (sklearn_(sklearn_losses.HalfSquaredError, "value"), "mse", "value", {}, 2, 1),
    "sklearn HalfSquaredError gradient": (sklearn_(sklearn_losses.HalfSquaredError, "psi"), "mse", "psi", {}, 2, 0),
    "sklearn AbsoluteError value": (sklearn_(sklearn_losses.AbsoluteError, "value"), "l1", "value", {}, 1, 0),
    "sklearn AbsoluteError gradient": (sklearn_(sklearn_losses.AbsoluteError, "psi"), "l1", "psi", {}, 1, 0),
    "sklearn PinballLoss value": (sklearn_(sklearn_losses.PinballLoss, "value", quantile=Q), "quantile", "value", {"q": Q}, 1, 1),
    "sklearn PinballLoss gradient": (sklearn_(sklearn_losses.PinballLoss, "psi", quantile=Q), "quantile", "psi", {"q": Q}, 1, 0),
    "sklearn HuberLoss value": (sklearn_(sklearn_losses.HuberLoss, "value", delta=DELTA), "huber", "value", {"delta": DELTA}, 1, 2),
    "sklearn HuberLoss gradient": (sklearn_(sklearn_losses.HuberLoss, "psi", delta=DELTA), "huber", "psi", {"delta": DELTA}, 1, 0),
    "scipy huber": (lambda x, t: scipy.special.huber(DELTA, x - t), "huber", "value", {"delta": DELTA}, 1, 2),
    "scipy pseudo_huber": (lambda x, t: scipy.special.pseudo_huber(DELTA, x - t), "pseudo_huber", "value", {"delta": DELTA}, 1, 8),
    "statsmodels HuberT rho": (lambda x, t: HUBER.rho(x - t), "huber", "value", {"delta": DELTA}, 1, 4),
    "statsmodels HuberT psi": (lambda x, t: HUBER.psi(x - t), "huber", "psi", {"delta": DELTA}, 1, 0),
    "statsmodels HuberT weights": (lambda x, t: HUBER.weights(x - t), "huber", "weights", {"delta": DELTA}, 1, 1),
    "statsmodels HuberT psi_deriv": (lambda x, t: HUBER.psi_deriv(x - t), "huber", "second", {"delta": DELTA}, 1, 0),
    "statsmodels TukeyBiweight rho": (lambda x, t: TUKEY.rho(x - t), "tukey", "value", {"c": C}, 1, 2**16),
    "statsmodels TukeyBiweight psi": (lambda x, t: TUKEY.psi(x - t), "tukey", "psi", {"c": C}, 1, 2**16),
    "statsmodels TukeyBiweight weights": (lambda x, t: TUKEY.weights(x - t), "tukey", "weights", {"c": C}, 1, 2**16),
    "statsmodels TukeyBiweight psi_deriv": (lambda x, t: TUKEY.psi_deriv(x - t), "tukey", "second", {"c": C}, 1, 2**20),
}


@pytest.fixture
def errors(rng):
    x = rng.choice([-1, 1], 4000) * 2.0 ** rng.uniform(-6, 6, 4000)
    return x, np.zeros(4000)


@pytest.mark.parametrize("peer", PEERS)
def test_elementwise(peer, errors, capsys):
    theirs, name, what, setting, factor, limit = PEERS[peer]
    x, t = errors
    expected, got = factor * np.asarray(theirs(x, t)), ours(name, x, t, what, **setting)
    worst = float(np.max(abs(got - expected) / np.spacing(np.abs(expected)), initial=0, where=got != expected))
    with capsys.disabled():
        print(f"\n  {peer:<38} {worst:12.2f} ulp", end="")
    assert worst <= limit


@pytest.mark.parametrize("weighted", [False, True])
def test_mean_pinball_loss(weighted, rng):
    x, t = rng.standard_normal((2, 1000))
    weight = rng.uniform(0, 2, 1000) if weighted else None
    expected = mean_pinball_loss(t, x, sample_weight=weight, alpha=Q)
    assert LOSSES["quantile"](q=Q)(x, t, weight=weight) == pytest.approx(expected, rel=1000 * _EPS)


def test_divergences_at_kinks():
    zero, kink = np.zeros(1), np.array([DELTA])
    assert HUBER.psi_deriv(kink)[0] == 1
    assert ours("huber", kink, zero, "second", delta=DELTA)[0] == 0
    assert sklearn_(sklearn_losses.PinballLoss, "psi", quantile=Q)(zero, zero)[0] != 0
    assert ours("quantile", zero, zero, "psi", q=Q)[0] == 0
