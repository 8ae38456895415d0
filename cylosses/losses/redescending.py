"""The redescending losses: far enough from the target, an error no longer influences a fit. None is convex."""

from typing import Any

import numpy as np

from cylosses._mode import in_default_mode
from cylosses._types import Array, Numbers, Parameter, Reduction
from cylosses.losses.base import GREATEST, LEAST, Loss
from cylosses.losses.squares import remaining


class TukeyLoss(Loss):
    r"""Tukey's biweight: like half the square near zero, constant for errors beyond `c`.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none'}
        What the call returns.
    c : float or array_like
        Error beyond which the loss is constant, in the units of the data; positive and finite. The default has 95 % efficiency for
        normal errors of scale 1. Rounded to the working dtype of the call. An array broadcasts with input and target.

    Raises
    ------
    ValueError
        If `c` is not positive and finite, or `reduction` is not one of the three.

    Notes
    -----
    With d = input - target rounded once in the working dtype,

    .. math:: \ell(d) = \tfrac{c^2}{6} \left(1 - (1 - (d / c)^2)^3\right) \text{ if } |d| < c \text{ else } \tfrac{c^2}{6}

    The loss is not convex: the derivative d (1 - (d/c)²)² returns to 0 at c, and the second derivative is negative from
    \|d\| = c / √5 on.

    References
    ----------
    .. [1] A. E. Beaton and J. W. Tukey, The fitting of power series, meaning polynomials, illustrated on band-spectroscopic data,
       Technometrics 16, 1974.

    Examples
    --------
    >>> from cylosses import TukeyLoss
    >>> TukeyLoss("none", c=2.0)([1.0, 2.0, 0.5], [0.0, 10.0, 0.5])
    array([0.38541667, 0.66666667, 0.        ])
    """

    __slots__ = ()
    name = "tukey"
    parameter_name = "c"
    default = 4.685
    accepted = (LEAST, GREATEST)
    rule = "positive and finite"
    convex = False
    kinked = False
    parameter_is_length = True
    boosting_default = 4.685
    max_ulp_error = 4
    costly = True
    _code = 4

    def __init__(self, reduction: Reduction = "mean", c: Parameter = 4.685) -> None:
        super().__init__(reduction, c)

    @property
    def c(self) -> Any:
        """Error beyond which the loss is constant."""
        return self._setting

    @in_default_mode
    def weight_slope(self, squares: Numbers) -> Array:
        c = self._number
        with np.errstate(all="ignore"):
            return np.asarray(-2 * remaining(np.asarray(squares, np.float64), c) / c / c)


class GemanMcClureLoss(Loss):
    r"""Geman-McClure loss: like half the square near zero, level far out; an error of `c` costs half of the most.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none'}
        What the call returns.
    c : float or array_like
        Error at which the loss is half of what it approaches, in the units of the data; positive and finite. Rounded to the working
        dtype of the call. An array broadcasts with input and target.

    Raises
    ------
    ValueError
        If `c` is not positive and finite, or `reduction` is not one of the three.

    Notes
    -----
    With d = input - target rounded once in the working dtype,

    .. math:: \ell(d) = \tfrac{1}{2} \frac{c^2 d^2}{c^2 + d^2}

    which approaches c²/2. The loss is not convex: the derivative d c⁴/(c² + d²)² is largest at \|d\| = c / √3, where the second
    derivative becomes negative, and approaches 0 far out without reaching it: unlike Tukey's, the loss sees even the largest error.

    References
    ----------
    .. [1] S. Geman and D. E. McClure, Statistical methods for tomographic image reconstruction, Bull. Int. Stat. Inst. 52, 1987.

    Examples
    --------
    >>> from cylosses import GemanMcClureLoss
    >>> GemanMcClureLoss("none", c=2.0)([2.0, 6.0, 0.5], [0.0, 0.0, 0.5])
    array([1. , 1.8, 0. ])
    """

    __slots__ = ()
    name = "geman_mcclure"
    parameter_name = "c"
    default = 1.0
    accepted = (LEAST, GREATEST)
    rule = "positive and finite"
    convex = False
    kinked = False
    parameter_is_length = True
    boosting_default = 1.0
    max_ulp_error = 4
    costly = True
    _code = 9

    def __init__(self, reduction: Reduction = "mean", c: Parameter = 1.0) -> None:
        super().__init__(reduction, c)

    @property
    def c(self) -> Any:
        """Error at which the loss is half of what it approaches."""
        return self._setting

    @in_default_mode
    def weight_slope(self, squares: Numbers) -> Array:
        c = self._number
        with np.errstate(all="ignore"):
            share = 1 / (1 + np.asarray(squares, np.float64) / c / c)
            return np.asarray(-2 * (share / c / c) * share * share)
