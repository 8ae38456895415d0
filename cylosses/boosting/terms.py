"""The loss with which boosters get gradients of one magnitude, whatever the unit of the targets."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cylosses.losses import LOSSES, Loss

# Majorise-minimise curvature stays at its value for errors of this many scales: below, 1 / |d| would let single rows that fit rule.
_FLOOR = 0.1
# Scales above need no other unit.
_LEAST_PLAIN_SCALE = 2.0**-10


def loss_of(name: str, reduction: Literal["none", "mean", "sum"], parameter: float | None) -> Loss:
    """Return the loss of a name, with its parameter if it has one."""
    cls = LOSSES[name]
    setting: dict[str, Any] = {} if cls.parameter_name is None else {cls.parameter_name: parameter}
    return cls(reduction=reduction, **setting)


@dataclass(frozen=True)
class Terms:
    """What a scale makes of a loss."""

    scale: float
    loss: Loss
    unit: float  # of the errors that the loss is given; 1 but for tiny scales
    factor: float  # of the gradient for those errors and of the Hessian
    cap: float  # of the majorise-minimise curvature before that; infinite if it stays below by itself

    @classmethod
    def of(cls, name: str, parameter: float | None, scale: float) -> "Terms":
        """Return the terms with which an error of `scale` has a majorise-minimise curvature of 1, as half the square has anywhere.

        Where the loss is flat at that error, as Tukey's far out and epsilon-insensitive inside, the curvature at 0 or beyond the
        flat part has to do. A loss that is flat everywhere stays as it is.
        """
        # The core caps 1 / |d| at 2**20, which tiny errors need more of. A power of two rescales them without rounding.
        unit = 1.0 if scale > _LEAST_PLAIN_SCALE else math.ldexp(0.5, math.frexp(scale)[1])
        in_unit = parameter / unit if parameter is not None and LOSSES[name].parameter_is_length else parameter
        loss = loss_of(name, "sum", in_unit)
        twice = 2 * (parameter or 0.0) / unit
        errors = np.array([scale / unit, 0.0, twice if twice < np.inf else 0.0, _FLOOR * scale / unit])
        both_sides = np.stack([errors, -errors])
        slopes, curvatures = loss.grad_and_hess(both_sides, np.zeros_like(both_sides), curvature="mm")
        slope, *_, slope_at_floor = abs(slopes).max(0).tolist()
        *candidates, at_floor = curvatures.max(0).tolist()
        # Nothing to cap where the loss is flat at the floor, for its curvature is bounded then, or flattens out beyond, as Tukey's
        # with a small c, or has no more curvature at 0.
        bounded = at_floor in (0, candidates[1]) or slope_at_floor > slope
        return cls(scale, loss, unit, next((1 / value for value in candidates if value > 0), 1.0), np.inf if bounded else at_floor)
