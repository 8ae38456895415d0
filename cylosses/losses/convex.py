"""The convex losses: the larger an error, the more it costs."""

import math
from typing import Any

from cylosses._core.convert import reduction_of
from cylosses._types import Parameter, Reduction
from cylosses.losses.base import GREATEST, LEAST, Loss
from cylosses.losses.squares import Knot, Pieces

_LINE = Pieces(0.0, 1.0)
_SIGN = Pieces(-1.0, 0.0, (Knot(0.0, 2.0, 0.0),))


def _clipped(length: float) -> Pieces:
    """Return d clipped to ±length."""
    return _LINE if length == math.inf else Pieces(-length, 0.0, (Knot(-length, 0.0, 1.0), Knot(length, 0.0, -1.0)))


class SmoothL1Loss(Loss):
    r"""Smooth L1 loss: squared for errors below `beta`, absolute beyond.

    Parameters
    ----------
    size_average, reduce : bool, optional
        Deprecated flags that replace `reduction` if one is given: ``reduce=False`` means ``none``, else ``size_average=False``
        means ``sum``, else ``mean``.
    reduction : {'mean', 'sum', 'none'}
        What the call returns.
    beta : float or array_like
        Error at which the square turns into a line, in the units of the data; at least 0. 0 gives the absolute error. A smaller
        beta is more robust against outliers. Rounded to the working dtype of the call. An array broadcasts with input and target.

    Raises
    ------
    ValueError
        If `beta` is negative or NaN, or `reduction` is not one of the three.

    Notes
    -----
    With d = input - target rounded once in the working dtype,

    .. math:: \ell(d) = d^2 / (2 \beta) \text{ if } |d| < \beta \text{ else } |d| - \beta / 2

    which is the Huber loss divided by beta. The derivative is d / beta clipped to [-1, 1]: exactly ±1 from \|d\| = beta on, 0 at
    d = 0, and sign(d) for beta = 0. ``mean`` and ``sum`` are the exact sum of the elements' losses, rounded once.

    References
    ----------
    .. [1] R. Girshick, Fast R-CNN, ICCV 2015, with beta = 1.
    .. [2] P. J. Huber, Robust estimation of a location parameter, Ann. Math. Stat. 35, 1964.

    Examples
    --------
    >>> from cylosses import SmoothL1Loss
    >>> loss = SmoothL1Loss(beta=0.5)
    >>> loss
    SmoothL1Loss(reduction='mean', beta=0.5)
    >>> float(loss([1.5, 2.0, 0.5], [1.0, 10.0, 0.5]))
    2.6666666666666665
    >>> loss.grad([1.5, 2.0, 0.5], [1.0, 10.0, 0.5])
    array([ 0.33333333, -0.33333333,  0.        ])
    """

    __slots__ = ()
    name = "smooth_l1"
    parameter_name = "beta"
    default = 1.0
    legacy = True
    accepted = (0.0, math.inf)
    rule = "at least 0"
    convex = True
    kinked = False
    parameter_is_length = True
    boosting_default = 0.2
    _code = 0

    def __init__(
        self, size_average: bool | None = None, reduce: bool | None = None, reduction: Reduction = "mean", beta: Parameter = 1.0
    ) -> None:
        super().__init__(reduction_of(size_average, reduce, reduction), beta)

    @property
    def beta(self) -> Any:
        """Error at which the square turns into a line."""
        return self._setting

    @property
    def pieces(self) -> Pieces:
        """The derivative, up to a positive factor, as straight lines; for an infinite beta what it tends to."""
        return _clipped(self._number) if self._number else _SIGN


class L1Loss(Loss):
    r"""Absolute error.

    Parameters
    ----------
    size_average, reduce : bool, optional
        Deprecated flags that replace `reduction`, as in `SmoothL1Loss`.
    reduction : {'mean', 'sum', 'none'}
        What the call returns.

    Notes
    -----
    With d = input - target rounded once in the working dtype,

    .. math:: \ell(d) = |d|

    The derivative is sign(d), 0 at d = 0.

    References
    ----------
    .. [1] F. Y. Edgeworth, On observations relating to several quantities, Hermathena 6, 1887.

    Examples
    --------
    >>> from cylosses import L1Loss
    >>> L1Loss(reduction="none")([1.5, 2.0, 0.5], [1.0, 10.0, 0.5])
    array([0.5, 8. , 0. ])
    """

    __slots__ = ()
    name = "l1"
    legacy = True
    convex = True
    kinked = True
    _code = 1

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: Reduction = "mean") -> None:
        super().__init__(reduction_of(size_average, reduce, reduction))

    @property
    def pieces(self) -> Pieces:
        """The derivative as straight lines."""
        return _SIGN


class MSELoss(Loss):
    r"""Squared error.

    Parameters
    ----------
    size_average, reduce : bool, optional
        Deprecated flags that replace `reduction`, as in `SmoothL1Loss`.
    reduction : {'mean', 'sum', 'none'}
        What the call returns.

    Notes
    -----
    With d = input - target rounded once in the working dtype,

    .. math:: \ell(d) = d^2

    without a factor 1/2: the derivative is 2 d, the second derivative 2.

    References
    ----------
    .. [1] C. F. Gauss, Theoria motus corporum coelestium, 1809.

    Examples
    --------
    >>> from cylosses import MSELoss
    >>> MSELoss(reduction="none")([1.5, 2.0, 0.5], [1.0, 10.0, 0.5])
    array([ 0.25, 64.  ,  0.  ])
    """

    __slots__ = ()
    name = "mse"
    legacy = True
    convex = True
    kinked = False
    _code = 2

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: Reduction = "mean") -> None:
        super().__init__(reduction_of(size_average, reduce, reduction))

    @property
    def pieces(self) -> Pieces:
        """The derivative, up to a positive factor, as straight lines."""
        return _LINE


class HuberLoss(Loss):
    r"""Huber loss: half the square for errors below `delta`, linear beyond.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none'}
        What the call returns.
    delta : float or array_like
        Error at which the square turns into a line, in the units of the data; positive. Rounded to the working dtype of the call.
        An array broadcasts with input and target.

    Raises
    ------
    ValueError
        If `delta` is not positive, or `reduction` is not one of the three.

    Notes
    -----
    With d = input - target rounded once in the working dtype,

    .. math:: \ell(d) = d^2 / 2 \text{ if } |d| < \delta \text{ else } \delta (|d| - \delta / 2)

    which is delta times the smooth L1 loss of beta = delta. The derivative is d clipped to [-delta, delta].

    References
    ----------
    .. [1] P. J. Huber, Robust estimation of a location parameter, Ann. Math. Stat. 35, 1964.

    Examples
    --------
    >>> from cylosses import HuberLoss
    >>> HuberLoss("none", delta=2.0)([1.5, 2.0, 0.5], [1.0, 10.0, 0.5])
    array([ 0.125, 14.   ,  0.   ])
    """

    __slots__ = ()
    name = "huber"
    parameter_name = "delta"
    default = 1.0
    accepted = (LEAST, math.inf)
    rule = "positive"
    convex = True
    kinked = False
    parameter_is_length = True
    boosting_default = 0.2
    _code = 3

    def __init__(self, reduction: Reduction = "mean", delta: Parameter = 1.0) -> None:
        super().__init__(reduction, delta)

    @property
    def delta(self) -> Any:
        """Error at which the square turns into a line."""
        return self._setting

    @property
    def pieces(self) -> Pieces:
        """The derivative as straight lines."""
        return _clipped(self._number)


class QuantileLoss(Loss):
    r"""Quantile (pinball) loss: its minimiser is the `q` quantile of the targets.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none'}
        What the call returns.
    q : float or array_like
        The quantile, from 0 to 1. Rounded to the working dtype of the call. An array broadcasts with input and target.

    Raises
    ------
    ValueError
        If `q` is less than 0 or greater than 1, or `reduction` is not one of the three.

    Notes
    -----
    With d = input - target rounded once in the working dtype,

    .. math:: \ell(d) = q |d| \text{ if } d < 0 \text{ else } (1 - q) |d|

    so that a prediction that is too low costs q. The derivative is -q below 0, 1 - q above, and 0 at d = 0.

    References
    ----------
    .. [1] R. Koenker and G. Bassett, Regression quantiles, Econometrica 46, 1978.

    Examples
    --------
    >>> from cylosses import QuantileLoss
    >>> QuantileLoss("none", q=0.75)([1.5, 2.0, 0.5], [1.0, 10.0, 0.5])
    array([0.125, 6.   , 0.   ])
    """

    __slots__ = ()
    name = "quantile"
    parameter_name = "q"
    default = 0.5
    accepted = (0.0, 1.0)
    rule = "between 0 and 1"
    convex = True
    kinked = True
    _code = 5

    def __init__(self, reduction: Reduction = "mean", q: Parameter = 0.5) -> None:
        super().__init__(reduction, q)

    @property
    def q(self) -> Any:
        """The quantile."""
        return self._setting

    @property
    def is_symmetric(self) -> bool:
        """Whether an error costs the same in either direction: for the median only."""
        return self._parameter == 0.5

    @property
    def pieces(self) -> Pieces:
        """The derivative as straight lines."""
        return Pieces(-self._number, 0.0, (Knot(0.0, 1.0, 0.0),))


class EpsilonInsensitiveLoss(Loss):
    r"""Epsilon-insensitive loss: 0 for errors up to `epsilon`, linear beyond.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none'}
        What the call returns.
    epsilon : float or array_like
        Error that is not counted, in the units of the data; at least 0. Rounded to the working dtype of the call. An array
        broadcasts with input and target.

    Raises
    ------
    ValueError
        If `epsilon` is negative or NaN, or `reduction` is not one of the three.

    Notes
    -----
    With d = input - target rounded once in the working dtype,

    .. math:: \ell(d) = \max(0, |d| - \epsilon)

    The derivative is 0 up to \|d\| = epsilon and sign(d) beyond.

    References
    ----------
    .. [1] V. Vapnik, The nature of statistical learning theory, 1995.

    Examples
    --------
    >>> from cylosses import EpsilonInsensitiveLoss
    >>> EpsilonInsensitiveLoss("none", epsilon=0.25)([1.5, 2.0, 0.5], [1.0, 10.0, 0.5])
    array([0.25, 7.75, 0.  ])
    """

    __slots__ = ()
    name = "epsilon_insensitive"
    parameter_name = "epsilon"
    default = 0.1
    accepted = (0.0, math.inf)
    rule = "at least 0"
    convex = True
    kinked = True
    parameter_is_length = True
    boosting_default = 0.1
    _code = 6

    def __init__(self, reduction: Reduction = "mean", epsilon: Parameter = 0.1) -> None:
        super().__init__(reduction, epsilon)

    @property
    def epsilon(self) -> Any:
        """Error that is not counted."""
        return self._setting

    @property
    def pieces(self) -> Pieces:
        """The derivative as straight lines; for an infinite epsilon that of the largest finite one."""
        epsilon = min(self._number, GREATEST)
        return Pieces(-1.0, 0.0, (Knot(-epsilon, 1.0, 0.0), Knot(epsilon, 1.0, 0.0)))


class PseudoHuberLoss(Loss):
    r"""Pseudo-Huber loss: half the square near zero, linear far out, smooth everywhere.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none'}
        What the call returns.
    delta : float or array_like
        Error around which the square turns into a line, in the units of the data; positive. Rounded to the working dtype of the
        call. An array broadcasts with input and target.

    Raises
    ------
    ValueError
        If `delta` is not positive, or `reduction` is not one of the three.

    Notes
    -----
    With d = input - target rounded once in the working dtype,

    .. math:: \ell(d) = \delta^2 \left(\sqrt{1 + (d / \delta)^2} - 1\right)

    computed as d² / (1 + √(1 + (d/delta)²)), which is accurate for tiny and huge errors.

    References
    ----------
    .. [1] P. Charbonnier, L. Blanc-Féraud, G. Aubert and M. Barlaud, Two deterministic half-quadratic regularization algorithms for
       computed imaging, ICIP 1994.

    Examples
    --------
    >>> from cylosses import PseudoHuberLoss
    >>> PseudoHuberLoss("none", delta=2.0)([1.5, 1.5, 0.5], [0.0, 3.0, 0.5])
    array([1., 1., 0.])
    """

    __slots__ = ()
    name = "pseudo_huber"
    parameter_name = "delta"
    default = 1.0
    accepted = (LEAST, math.inf)
    rule = "positive"
    convex = True
    kinked = False
    hyperbolic = True
    parameter_is_length = True
    boosting_default = 0.2
    max_ulp_error = 4
    costly = True
    _code = 7

    def __init__(self, reduction: Reduction = "mean", delta: Parameter = 1.0) -> None:
        super().__init__(reduction, delta)

    @property
    def delta(self) -> Any:
        """Error around which the square turns into a line."""
        return self._setting


class CharbonnierLoss(Loss):
    r"""Charbonnier loss: the absolute error, rounded off at zero.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none'}
        What the call returns.
    eps : float or array_like
        Radius of the rounding and loss at d = 0, in the units of the data; positive and finite. Rounded to the working dtype of the
        call. An array broadcasts with input and target.

    Raises
    ------
    ValueError
        If `eps` is not positive and finite, or `reduction` is not one of the three.

    Notes
    -----
    With d = input - target rounded once in the working dtype,

    .. math:: \ell(d) = \sqrt{d^2 + \epsilon^2}

    computed without squares of large or tiny numbers.

    References
    ----------
    .. [1] P. Charbonnier, L. Blanc-Féraud, G. Aubert and M. Barlaud, Two deterministic half-quadratic regularization algorithms for
       computed imaging, ICIP 1994.

    Examples
    --------
    >>> from cylosses import CharbonnierLoss
    >>> CharbonnierLoss("none", eps=2.0)([1.5, 1.5, 0.5], [0.0, 3.0, 0.5])
    array([2.5, 2.5, 2. ])
    """

    __slots__ = ()
    name = "charbonnier"
    parameter_name = "eps"
    default = 1e-3
    accepted = (LEAST, GREATEST)
    rule = "positive and finite"
    convex = True
    kinked = False
    hyperbolic = True
    parameter_is_length = True
    boosting_default = 1e-3
    max_ulp_error = 4
    costly = True
    _code = 8

    def __init__(self, reduction: Reduction = "mean", eps: Parameter = 1e-3) -> None:
        super().__init__(reduction, eps)

    @property
    def eps(self) -> Any:
        """Radius of the rounding at zero."""
        return self._setting
