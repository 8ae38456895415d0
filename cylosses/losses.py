"""The losses as objects, and `LOSSES`, the registry that tests, benchmarks, command line and adapters enumerate."""

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from cylosses._call import Call, as_float, check_reduction, reduction_of
from cylosses._kernels import dispatch

if TYPE_CHECKING:
    from cylosses.streaming import StreamingLoss

__all__ = ["LOSSES", "Loss", "SmoothL1Loss"]


class Loss:
    """Common behaviour of the losses: an immutable, hashable, picklable pair of a reduction and a parameter."""

    __slots__ = ("_parameter", "reduction")

    name: ClassVar[str]
    """Name in the registry."""
    parameter_name: ClassVar[str]
    """Name of the parameter, an attribute and keyword of the class."""
    _code: ClassVar[int]
    """Row of the kernels' dispatch table (LossCode in formulas.pxd)."""

    reduction: str
    _parameter: float

    def __init__(self, reduction: str, parameter: float) -> None:
        object.__setattr__(self, "reduction", check_reduction(reduction))
        object.__setattr__(self, "_parameter", self._check_parameter(parameter))

    @classmethod
    def _check_parameter(cls, value: object) -> float:
        raise NotImplementedError

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: make a new one instead of setting {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: {name} cannot be deleted")

    def _settings(self) -> dict[str, Any]:
        return {"reduction": self.reduction, self.parameter_name: self._parameter}

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={_literal(value)}" for name, value in self._settings().items())
        return f"{type(self).__name__}({settings})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._settings() == other._settings()

    def __hash__(self) -> int:
        return hash((type(self), *self._settings().values()))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._settings())

    def __call__(
        self,
        input: Any,
        target: Any,
        *,
        weight: Any = None,
        where: Any = None,
        axis: int | tuple[int, ...] | None = None,
        keepdims: bool = False,
        out: Any = None,
        n_threads: int | None = None,
    ) -> Any:
        """Return the loss between input and target, reduced as the object says.

        Parameters
        ----------
        input, target : array_like of real numbers
            Of one shape, or of shapes that broadcast (with a `BroadcastWarning`).
        weight : array_like, optional
            Finite and not negative, broadcastable to the result. ``mean`` divides by the sum of the weights, ``none`` returns
            weight times loss. Weight 0 removes an element, even a NaN; weight k counts it k times, bit for bit.
        where : array_like of bool, optional
            Broadcastable to the result. Elements that are not selected are skipped, whatever they hold; ``none`` has 0 there.
        axis : int or tuple of int, optional
            What ``mean`` and ``sum`` reduce over; None reduces over all axes.
        keepdims : bool
            Whether reduced axes stay, with length 1.
        out : numpy.ndarray, optional
            Takes the result: of its exact shape and dtype. It may overlap the inputs.
        n_threads : int, optional
            At most so many threads; None leaves it to `set_num_threads`.

        Returns
        -------
        numpy scalar or numpy.ndarray
            A scalar for ``mean`` and ``sum`` over all axes, else an array; `out` if it was given.
        """
        if (
            weight is None
            and where is None
            and axis is None
            and not keepdims
            and out is None
            and n_threads is None
            and self.reduction != "none"
        ):
            value = dispatch.plain_value(self._code, self._parameter, input, target, self.reduction == "mean")
            if value is not None:
                return value
        call = Call(self, input, target, weight=weight, where=where, n_threads=n_threads)
        if self.reduction == "none":
            if axis is not None or keepdims:
                raise ValueError("axis and keepdims need reduction='mean' or 'sum', got 'none'")
            return call.values(out)
        return call.reduced(self.reduction, axis, keepdims, out)

    def grad(
        self,
        input: Any,
        target: Any,
        *,
        grad_output: Any = None,
        wrt: str = "input",
        weight: Any = None,
        where: Any = None,
        axis: int | tuple[int, ...] | None = None,
        out: Any = None,
        n_threads: int | None = None,
    ) -> np.ndarray[Any, Any]:
        """Return the gradient of the reduced loss with respect to input or target.

        Parameters
        ----------
        input, target, weight, where, axis, n_threads
            As in the call.
        grad_output : array_like, optional
            Factor of the gradient: one number, or an array that broadcasts to the result of the call. 1 by default.
        wrt : {'input', 'target'}
            The operand to derive by.
        out : numpy.ndarray, optional
            Takes the gradient: of the shape of that operand and the dtype of the loss.

        Returns
        -------
        numpy.ndarray
            Of the shape of the operand; where it was broadcast, exactly summed and rounded once.
        """
        call = Call(self, input, target, weight=weight, where=where, n_threads=n_threads)
        return call.derivatives(self.reduction, axis=axis, grad_output=grad_output, wrt=wrt, outs=(None, out, None))[1]

    def value_and_grad(
        self,
        input: Any,
        target: Any,
        *,
        weight: Any = None,
        where: Any = None,
        axis: int | tuple[int, ...] | None = None,
        out: Any = None,
        n_threads: int | None = None,
    ) -> tuple[Any, np.ndarray[Any, Any]]:
        """Return the loss and its gradient with respect to input, from one pass over the data.

        Parameters
        ----------
        input, target, weight, where, axis, n_threads
            As in the call.
        out : numpy.ndarray or tuple of two numpy.ndarray, optional
            Takes the gradient; a tuple takes value and gradient.

        Returns
        -------
        tuple of (value, gradient)
            With the bits of the call and of `grad`.
        """
        outs = out if isinstance(out, tuple) else (None, out)
        if len(outs) != 2:
            raise ValueError(f"out must be an array or a tuple of two, for value and gradient, got {len(outs)}")
        call = Call(self, input, target, weight=weight, where=where, n_threads=n_threads)
        return call.derivatives(self.reduction, axis=axis, value=True, outs=(*outs, None))[:2]

    def streaming(self) -> "StreamingLoss":
        """Return an exact total that takes the data piece by piece.

        Returns
        -------
        StreamingLoss
        """
        from cylosses.streaming import StreamingLoss

        return StreamingLoss(self)


def _rebuild(cls: type[Loss], settings: dict[str, Any]) -> Loss:
    return cls(**settings)


def _literal(value: object) -> str:
    return f"float({str(value)!r})" if value == float("inf") else repr(value)


def _at_least_zero(name: str, value: object) -> float:
    number = as_float(name, value)
    if not number >= 0:
        raise ValueError(f"{name} must be at least 0, got {number!r}")
    return number + 0.0  # -0.0 is 0


class SmoothL1Loss(Loss):
    r"""Smooth L1 loss: squared for errors below `beta`, absolute beyond.

    Parameters
    ----------
    size_average, reduce : bool, optional
        Deprecated flags that replace `reduction` if one is given: ``reduce=False`` means ``none``, else ``size_average=False``
        means ``sum``, else ``mean``.
    reduction : {'mean', 'sum', 'none'}
        What the call returns.
    beta : float
        Error at which the square turns into a line, in the units of the data; at least 0. 0 gives the absolute error. A smaller
        beta is more robust against outliers. Rounded to the working dtype of the call.

    Raises
    ------
    ValueError
        If `beta` is negative or NaN, or `reduction` is none of the three.

    Notes
    -----
    With d = input - target rounded once in the working dtype,

    .. math:: \ell(d) = d^2 / (2 \beta) \text{ if } |d| < \beta \text{ else } |d| - \beta / 2

    (R. Girshick, Fast R-CNN, ICCV 2015, with beta = 1), which is the loss of P. J. Huber, Robust estimation of a location
    parameter, Ann. Math. Stat. 35, 1964, divided by beta. ``mean`` and ``sum`` are the exact sum of the elements' losses,
    rounded once.

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
    _code = 0

    def __init__(
        self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean", beta: float = 1.0
    ) -> None:
        super().__init__(reduction_of(size_average, reduce, reduction), beta)

    @classmethod
    def _check_parameter(cls, value: object) -> float:
        return _at_least_zero("beta", value)

    @property
    def beta(self) -> float:
        """Error at which the square turns into a line."""
        return self._parameter


LOSSES: dict[str, type[Loss]] = {cls.name: cls for cls in (SmoothL1Loss,)}
"""Name of each loss to its class."""
