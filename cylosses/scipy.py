"""Losses for the optimisers of SciPy: the extra `scipy`.

`rho` makes a loss a `loss` of `scipy.optimize.least_squares`, `objective` makes it a function for `scipy.optimize.minimize`.
Decisions, with their reasons:

a. ``rho(z) = 2 loss(sqrt(z))``, because SciPy halves the sum of rho: its cost is then the sum of the losses. With this factor
   `HuberLoss(delta=1)` is SciPy's ``"huber"`` and `PseudoHuberLoss(delta=1)` its ``"soft_l1"``.
b. The root of z is rounded, and what that changes is put right to first order: rho and its derivatives are those of z.
c. The derivatives are finite everywhere. Where rho' is infinite at z = 0, because the loss has a kink there, it stays what it is at
   an error of 2**-20, as the majorise-minimise curvature of the loss does; what is beyond float64 is its largest number.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cylosses import LOSSES, Loss, default_floating_point_mode
from cylosses._numbers import real_numbers
from cylosses._types import Array, Numbers
from cylosses.losses.squares import root_and_rest

try:
    from scipy.sparse import issparse
    from scipy.sparse.linalg import LinearOperator, aslinearoperator
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "scipy":
        raise
    raise ImportError("cylosses.scipy needs the package scipy: pip install 'cylosses[scipy]'") from error

__all__ = ["objective", "rho"]

_GREATEST = float(np.finfo(np.float64).max)


def rho(loss: Loss | str) -> Callable[[Numbers], Array]:
    r"""Return a loss as a function of the squared residual: the `loss` of `scipy.optimize.least_squares`.

    Parameters
    ----------
    loss : Loss or str
        A loss that is the same in either direction (`Loss.is_symmetric`: all but the quantile loss with a `q` other than 0.5), as
        an object or by its name in `cylosses.LOSSES`. Its reduction does not matter: the cost of `least_squares` is a sum.

    Returns
    -------
    callable
        Takes z, an array of squared residuals, and returns a new float64 array of shape (3, \*z.shape) with rho, its derivative and
        its second derivative. It is picklable and comparable, and raises a `ValueError` if an element of z is negative.

    Raises
    ------
    TypeError
        If `loss` is neither a loss object nor a name.
    ValueError
        If the name is unknown, or the loss is not symmetric.

    Notes
    -----
    `least_squares` minimises

    .. math:: \tfrac12 \sum_i C^2 \rho\left((f_i / C)^2\right) = \sum_i C^2 \ell(f_i / C),
        \qquad \rho(z) = 2\, \ell(\sqrt z),\ \rho'(z) = \psi(r) / r,\ \rho''(z) = \frac{d}{dz} \frac{\psi(r)}{r}

    with the residuals f, C = `f_scale` and r = √z: with the default of 1 for `f_scale` its cost is the sum of the losses. A
    parameter that is a length, such as `delta`, is in units of `f_scale`: leave one of the two at 1. SciPy's ``"huber"`` is
    ``HuberLoss(delta=1)``, ``"soft_l1"`` is ``PseudoHuberLoss(delta=1)``, and ``"linear"`` is half of ``MSELoss()``. Losses are not
    for ``method="lm"``.

    The losses with a kink at 0 (``l1``, ``smooth_l1`` with ``beta=0``, ``quantile`` with ``q=0.5``) have an infinite rho' there. Up
    to z = 2**-40 it stays at 2**20 times the slope, and rho'' is 0. So `f_scale` should be about the size of residuals. Where rho'
    or rho'' jump, as rho'' of Huber does at delta, they are those of the side towards 0.

    References
    ----------
    .. [1] B. Triggs, P. McLauchlan, R. Hartley and A. Fitzgibbon, Bundle adjustment: a modern synthesis, 2000, section 4.3.

    Examples
    --------
    >>> import numpy as np
    >>> from cylosses import HuberLoss
    >>> from cylosses.scipy import rho
    >>> rho(HuberLoss(delta=1.0))(np.array([0.0, 0.25, 4.0]))
    array([[ 0.    ,  0.25  ,  3.    ],
           [ 1.    ,  1.    ,  0.5   ],
           [ 0.    ,  0.    , -0.0625]])
    >>> from scipy.optimize import least_squares
    >>> y = np.array([1.0, 2.0, 3.0, 1000.0])
    >>> fit = least_squares(lambda x: x - y, [0.0], loss=rho(HuberLoss(delta=1.0)))
    >>> fit.x.round(6)
    array([2.5])
    """
    loss = _checked(loss)
    loss.check_one_parameter()
    if not loss.is_symmetric:
        raise ValueError(f"loss must be a function of the squared residual, and {loss!r} is not: it is not symmetric")
    return _Rho(_elementwise(loss))


def objective(
    loss: Loss | str,
    residual: Callable[..., Any],
    jacobian: Callable[..., Any] | None = None,
    *,
    weight: Numbers | None = None,
) -> Callable[..., Any]:
    """Return the loss of residuals as a function of parameters: the `fun` of `scipy.optimize.minimize`.

    Parameters
    ----------
    loss : Loss or str
        Any loss, as an object or by its name in `cylosses.LOSSES`. With reduction ``mean``, the default, the function is the mean
        of the losses, with ``sum`` their sum.
    residual : callable
        ``residual(x, *args)`` returns the residuals at the parameters x, prediction minus target, of shape (m,); a number is one
        residual. The same function serves `scipy.optimize.least_squares`.
    jacobian : callable, optional
        ``jacobian(x, *args)`` returns their derivatives, of shape (m, n): a dense or sparse array, or a
        `scipy.sparse.linalg.LinearOperator`.
    weight : array_like of shape (m,), optional
        Finite and not negative. Weight 0 removes a residual; the mean divides by the sum of the weights.

    Returns
    -------
    callable
        ``fun(x, *args)``: without `jacobian` the value; with it the value and the gradient, of shape (n,), which `minimize` takes
        with ``jac=True``. It is picklable if `residual` and `jacobian` are, and raises a `TypeError` or `ValueError` if the arrays
        that they return are not real numbers or do not fit.

    Raises
    ------
    TypeError
        If `loss` is neither a loss object nor a name, or `residual` or `jacobian` cannot be called.
    ValueError
        If the name is unknown, or the reduction is ``none``.

    Notes
    -----
    The value is the exact mean or sum of the losses of the residuals, in float64: what noise it has is that of the residuals. The
    gradient is the transpose of the Jacobian times the derivatives of the losses by the residuals. For losses with a kink, and far
    from convex ones, take a method that does not rely on a second derivative, or a smooth loss near it.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.optimize import minimize
    >>> from cylosses import PseudoHuberLoss
    >>> from cylosses.scipy import objective
    >>> t, y = np.arange(5.0), np.array([1.0, 3.0, 5.0, 7.0, 900.0])
    >>> fun = objective(
    ...     PseudoHuberLoss(delta=0.1),
    ...     lambda x: x[0] + x[1] * t - y,
    ...     lambda x: np.stack([np.ones(5), t], axis=1),
    ... )
    >>> minimize(fun, [0.0, 0.0], jac=True).x.round(2)
    array([0.92, 2.08])
    """
    loss = _checked(loss)
    if loss.reduction == "none":
        raise ValueError("loss must have reduction='mean' or 'sum' to be minimised, got 'none'")
    if not callable(residual):
        raise TypeError(f"residual must be a function of the parameters, got {type(residual).__name__}")
    if jacobian is not None and not callable(jacobian):
        raise TypeError(
            f"jacobian must be a function of the parameters or None, got {jacobian!r}: "
            "for differences, leave it out here and give minimize jac='3-point'"
        )
    return _Objective(loss, residual, jacobian, None if weight is None else real_numbers("weight", weight).copy())


@dataclass(frozen=True)
class _Rho:
    """What `rho` returns, of a loss with reduction ``none``."""

    loss: Loss

    @default_floating_point_mode()
    def __call__(self, z: Numbers) -> Array:
        """Return the three rows for squared residuals."""
        squares = real_numbers("z", z)
        if (squares < 0).any():
            raise ValueError(f"z must hold squares, which are not negative, got {float(np.nanmin(squares))!r}")
        root, rest = root_and_rest(squares)
        rows = np.empty((3, *squares.shape))
        rows[0] = self.loss(root, 0.0)
        slope, rows[1] = self.loss.grad_and_hess(root, 0.0, curvature="mm")
        rows[2] = self.loss.weight_slope(squares)
        np.clip(rows[1:], -_GREATEST, _GREATEST, out=rows[1:])
        with np.errstate(over="ignore", under="ignore"):
            rows[0] = 2 * rows[0] + np.divide(slope, root, out=np.zeros_like(rest), where=rest != 0) * rest
            rows[1] += rows[2] * rest
        return rows


@dataclass(frozen=True, eq=False)
class _Objective:
    """What `objective` returns."""

    loss: Loss
    residual: Callable[..., Any]
    jacobian: Callable[..., Any] | None
    weight: Array | None

    def __call__(self, x: Any, *args: Any) -> Any:
        """Return the value at the parameters x, and the gradient if there is a Jacobian."""
        errors = np.atleast_1d(self.residual(x, *args))
        if errors.ndim != 1:
            raise ValueError(f"residual must return a vector of residuals, got an array of shape {errors.shape}")
        if np.can_cast(errors.dtype, np.float64):  # what it is not, the loss refuses
            errors = errors.astype(np.float64, copy=False)
        if self.weight is not None and self.weight.shape != errors.shape:
            raise ValueError(f"weight of shape {self.weight.shape} must have one weight for each of {len(errors)} residuals")
        if self.jacobian is None:
            return float(self.loss(errors, 0.0, weight=self.weight))
        value, slopes = self.loss.value_and_grad(errors, 0.0, weight=self.weight)
        return float(value), self._operator(x, *args, shape=(len(errors), np.size(x))).rmatvec(slopes)

    def _operator(self, x: Any, *args: Any, shape: tuple[int, int]) -> Any:
        """Return the Jacobian at x as a linear operator."""
        assert self.jacobian is not None
        matrix = self.jacobian(x, *args)
        if not (issparse(matrix) or isinstance(matrix, LinearOperator)):
            matrix = np.asarray(matrix)
        if tuple(matrix.shape) != shape:
            raise ValueError(f"jacobian must return an array of shape {shape}, residuals by parameters, got {tuple(matrix.shape)}")
        if matrix.dtype.kind not in "biuf":
            raise TypeError(f"jacobian must return real numbers, got dtype {matrix.dtype}")
        return aslinearoperator(matrix)


def _checked(loss: Any) -> Loss:
    """Return the loss object that is meant."""
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(map(repr, LOSSES))}, or a loss object; got {loss!r}")
        cls: Any = LOSSES[loss]
        return cls()  # type: ignore[no-any-return]
    if not isinstance(loss, Loss):
        raise TypeError(f"loss must be a loss object such as HuberLoss(delta=2.0), or the name of a loss, got {loss!r}")
    return loss


def _elementwise(loss: Loss) -> Loss:
    """Return the same loss with reduction ``none``."""
    cls: Any = type(loss)
    parameter = {} if loss.parameter_name is None else {loss.parameter_name: getattr(loss, loss.parameter_name)}
    return cls(reduction="none", **parameter)  # type: ignore[no-any-return]
