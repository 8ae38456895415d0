"""scikit-learn: the private compiled losses of its estimators, called directly with preallocated arrays.

Its Huber loss is smooth L1 times delta; with the default parameters of 1 the two are equal.
"""

from typing import Any

import numpy as np

from benchmarks.measure.harness import Subject
from benchmarks.measure.works import WORTH_THREADS, Case, Data, Work
from benchmarks.peers.base import Peer

CLASSES = {
    "smooth_l1": ("CyHuberLoss", "delta"),
    "huber": ("CyHuberLoss", "delta"),
    "l1": ("CyAbsoluteError", None),
    "mse": ("CyHalfSquaredError", None),  # half of it; the factor of 2 is applied where numbers are scaled anyway
    "quantile": ("CyPinballLoss", "quantile"),
}


class SklearnPrivate(Peer):
    """Elementwise losses and gradients; means are taken by NumPy, as scikit-learn does."""

    name = "scikit-learn"
    what = (
        "the private compiled losses of its estimators, which compute each element in float64, with preallocated "
        "arrays; means by NumPy"
    )

    def __init__(self) -> None:
        from sklearn._loss import _loss

        self.module = _loss

    def subjects(self, case: Case, work: Work, data: Data, threads: int) -> list[Subject]:
        """Return the compiled loss; only contiguous arrays of one dtype have one."""
        plain = ("none", "mean", "grad", "value_and_grad", "grad_and_hess", "weighted_mean")
        if case.name not in CLASSES or work.name not in plain or (case.name == "mse" and work.name not in plain[1:4:2]):
            return []
        class_name, parameter = CLASSES[case.name]
        loss = getattr(self.module, class_name)(**({parameter: case.parameter} if parameter else {}))
        x, y, w = data.input, data.target, data.weight
        threads = threads if data.size >= WORTH_THREADS else 1
        values = np.zeros_like(x) if work.name != "none" and not work.name.startswith("grad") else None
        factor = 2 if case.name == "mse" else 1
        reciprocal = x.dtype.type(factor / x.size)

        def mean(y: Any, x: Any) -> Any:
            loss.loss(y, x, None, values, threads)
            return values.mean() * factor

        def weighted_mean(y: Any, x: Any) -> Any:
            loss.loss(y, x, w, values, threads)
            return values.sum() / w.sum()

        def value_and_grad(y: Any, x: Any, out: Any) -> Any:
            loss.loss_gradient(y, x, None, values, out, threads)
            out *= reciprocal
            return values.mean() * factor, out

        if work.name == "none":
            return [Subject(self.name, loss.loss, (y, x, None, data.outputs[0], threads))]
        if work.name == "grad":
            return [Subject(self.name, loss.gradient, (y, x, None, data.outputs[0], threads))]
        if work.name == "grad_and_hess":
            return [Subject(self.name, loss.gradient_hessian, (y, x, None, *data.outputs, threads))]
        return [Subject(self.name, locals()[work.name], (y, x, *data.outputs))]
