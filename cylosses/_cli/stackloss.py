"""The stack loss data and the linear models that `cylosses demo` fits to them."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from cylosses import SmoothL1Loss
from cylosses._fit.design import Design
from cylosses._fit.objective import Objective
from cylosses._fit.search import minimise

Vector = npt.NDArray[np.float64]

# Huber's tuning constant times the scale of the published M-estimate, so that the fit is that estimate.
BETA = 3.2825210439
OUTLIERS = (1, 3, 4, 21)
PREDICTORS = ("air_flow", "water_temperature", "acid_concentration")
RESPONSE = "stack_loss"


@dataclass(frozen=True)
class StackLoss:
    """The stack loss data: predictors of shape (21, 3) and the response of shape (21,)."""

    predictors: Vector
    response: Vector

    @property
    def outliers(self) -> npt.NDArray[np.bool_]:
        """Which observations are known outliers, shape (21,)."""
        return np.isin(np.arange(1, len(self.response) + 1), OUTLIERS)


def load_stackloss() -> StackLoss:
    """Read the data that come with the package."""
    text = (files("cylosses") / "data" / "stackloss.csv").read_text(encoding="utf-8")
    table: Any = np.genfromtxt(text.splitlines(), delimiter=",", names=True, dtype=np.float64)
    return StackLoss(np.column_stack([table[name] for name in PREDICTORS]), table[RESPONSE])


def fit_least_squares(data: StackLoss) -> Vector:
    """Return intercept and coefficients by least squares."""
    design = np.column_stack([np.ones(len(data.response)), data.predictors])
    return np.asarray(np.linalg.lstsq(design, data.response)[0], np.float64)


def fit_smooth_l1(data: StackLoss, beta: float = BETA) -> Vector:
    """Return intercept and coefficients by the smooth L1 loss: Huber's M-estimate with its scale held fixed."""
    objective = Objective(Design(data.predictors, n_threads=1), data.response, None, alpha=0.0, fit_intercept=True)
    fit = minimise(SmoothL1Loss(beta=beta), objective, None, 0.0, max_iter=10_000, tol=1e-12)
    return np.append(fit.intercept, fit.coef)


def predict(coefficients: Vector, data: StackLoss) -> Vector:
    """Return the fitted values."""
    return np.asarray(coefficients[0] + data.predictors @ coefficients[1:], np.float64)


def ordinary_error(data: StackLoss, fitted: Vector) -> float:
    """Return the mean absolute residual over the observations that are not known outliers."""
    return float(np.abs(data.response - fitted)[~data.outliers].mean())
