"""What all losses have in common: settings, and the calls for value, gradient and Hessian."""

import sys
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np

from cylosses._core import builds, call
from cylosses._core.convert import check_reduction
from cylosses._core.parameter_arrays import ParameterArray, parameter_of
from cylosses._mode import in_default_mode
from cylosses._types import Array, Axis, Curvature, Factors, Numbers, Operand, Parameter, Reduction
from cylosses.losses.squares import Pieces, weight_slope_of_hyperbola, weight_slope_of_pieces

if TYPE_CHECKING:
    from cylosses.streaming import StreamingLoss

_set = object.__setattr__  # for the constructor; there is no other way into an immutable object
LEAST = 5e-324  # the least positive float64
GREATEST = sys.float_info.max
_OF_A_ROW = (
    "_code",
    "accepted",
    "parameter_name",
    "convex",
    "kinked",
    "hyperbolic",
    "parameter_is_length",
    "max_ulp_error",
    "costly",
)


class Loss:
    """Common behaviour of the losses: an immutable, hashable, picklable pair of a reduction and a parameter.

    Use one of the subclasses, which `LOSSES` lists. Each gives its name, its parameter and its row of the kernels' table, and
    inherits everything else.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none'}
        What the call returns.
    parameter : float or array_like
        The parameter of the subclass. An array broadcasts with the operands; the loss keeps a copy.

    Examples
    --------
    >>> from cylosses import LOSSES, Loss
    >>> all(issubclass(cls, Loss) for cls in LOSSES.values())
    True
    """

    __slots__ = ("_parameter", "reduction")

    name: ClassVar[str]
    """Name in the registry; the functions are called after it."""
    parameter_name: ClassVar[str | None] = None
    """Name of the parameter, an attribute and keyword of the class; None for losses without."""
    default: ClassVar[float] = 0.0
    """Default of the parameter."""
    accepted: ClassVar[tuple[float, float]] = (0.0, 0.0)
    """Least and greatest valid parameter."""
    rule: ClassVar[str] = ""
    """What a valid parameter is, in words."""
    legacy: ClassVar[bool] = False
    """Whether the deprecated flags size_average and reduce are documented for this loss."""
    convex: ClassVar[bool]
    """Whether it is convex in the error, so that a linear fit ends in the same place wherever it starts."""
    kinked: ClassVar[bool]
    """Whether its derivative jumps at some error, with the default of the parameter."""
    hyperbolic: ClassVar[bool] = False
    """Whether the derivative is a multiple of d / sqrt(d² + parameter²)."""
    parameter_is_length: ClassVar[bool] = False
    """Whether the parameter is an error, in the units of the targets, so that it has to grow with them."""
    boosting_default: ClassVar[float | None] = None
    """What ``"auto"`` in `cylosses.boosting` makes of a parameter that is a length, in units of the targets' robust scale."""
    max_ulp_error: ClassVar[int] = 2
    """How far value, derivatives and IRLS weight of an element may be from the exact ones, in units in the last place."""
    costly: ClassVar[bool] = False
    """Whether divisions or roots make an element take twice as long as others do, so that fewer elements are worth a thread."""
    _code: ClassVar[int]
    """Row of the kernels' dispatch table (enum cylosses_loss in cylosses.h)."""

    reduction: Reduction
    _parameter: float | ParameterArray

    @in_default_mode
    def __init__(self, reduction: Reduction, parameter: Parameter = 0.0) -> None:
        _set(self, "reduction", check_reduction(reduction))
        _set(self, "_parameter", parameter_of(self._code, parameter))

    def __init_subclass__(cls) -> None:
        """Give the class its row of the kernels' table. A subclass of a loss has the row of that loss."""
        parent = next(base for base in cls.__mro__[1:] if issubclass(base, Loss))
        for name in _OF_A_ROW:
            if parent is not Loss and getattr(cls, name) != getattr(parent, name):
                raise TypeError(f"{cls.__name__} cannot have {name} of its own: a subclass of {parent.__name__} inherits it")
        if parent is Loss:
            try:
                builds.register_loss(
                    cls._code,
                    *cls.accepted,
                    cls.costly,
                    f"{cls.__module__}.{cls.__qualname__}",
                    cls.parameter_name,
                    cls.rule,
                )
            except (AttributeError, TypeError, ValueError, OverflowError) as error:
                raise TypeError(
                    f"{cls.__name__} is no loss that the kernels know, and none can be added from Python: derive from one of the "
                    f"classes of cylosses.LOSSES instead ({error})"
                ) from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: make a new one instead of setting {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: {name} cannot be deleted")

    @property
    def is_symmetric(self) -> bool:
        """Whether an error costs the same in either direction, so that the loss is a function of the squared error."""
        return True

    @property
    def pieces(self) -> Pieces | None:
        """The derivative, up to a positive factor, as straight lines; None if it is curved."""
        return None

    @in_default_mode
    def weight_slope(self, squares: Numbers) -> Array:
        """Return the derivative of the IRLS weight psi(d) / d by the squared error.

        It is that of the weight that ``curvature="mm"`` gives, and for symmetric losses half of the second derivative of the loss
        by the squared error.

        Parameters
        ----------
        squares : array_like
            Squared errors d², at least 0; computed with in float64.

        Returns
        -------
        numpy.ndarray
            Of the shape of `squares` and float64. Where the derivative jumps, at the end of a parabola, it is that of the parabola;
            where the weight of a loss with a kink is capped, 0.

        Raises
        ------
        NotImplementedError
            If the loss has no formula for it.

        Examples
        --------
        >>> from cylosses import HuberLoss
        >>> HuberLoss(delta=1.0).weight_slope([0.25, 1.0, 4.0])
        array([ 0.    ,  0.    , -0.0625])
        """
        z, pieces = np.asarray(squares, np.float64), self.pieces
        with np.errstate(all="ignore"):
            if pieces is not None:
                weight = self._elements().grad_and_hess(np.sqrt(z), 0.0, curvature="mm")[1]
                return weight_slope_of_pieces(pieces, weight, z)
            if self.hyperbolic:
                return weight_slope_of_hyperbola(min(float(self._elements().grad(np.inf, 0.0)), GREATEST), self._number, z)
        raise NotImplementedError(f"{type(self).__name__} has no formula for the slope of its weight")

    def _elements(self) -> Self:
        """Return the same loss with reduction ``none``."""
        return type(self)(**self._settings() | {"reduction": "none"})

    def _settings(self) -> dict[str, Any]:
        parameter = {self.parameter_name: self._setting} if self.parameter_name else {}
        return {"reduction": self.reduction} | parameter

    def check_one_parameter(self) -> None:
        """Refuse a parameter that is an array, on behalf of what takes one number only.

        Raises
        ------
        ValueError
            If the parameter is an array.

        Examples
        --------
        >>> from cylosses import HuberLoss
        >>> HuberLoss(delta=[1.0, 2.0]).check_one_parameter()
        Traceback (most recent call last):
            ...
        ValueError: delta must be one number here, got HuberLoss(reduction='mean', delta=[1.0, 2.0])
        """
        if isinstance(self._parameter, ParameterArray):
            raise ValueError(f"{self.parameter_name} must be one number here, got {self!r}")

    @property
    def _number(self) -> float:
        """The parameter, which must be one number."""
        self.check_one_parameter()
        return cast("float", self._parameter)

    @property
    def _setting(self) -> Any:
        """The parameter as a float, or as an array that cannot be written to."""
        parameter = self._parameter
        return parameter.as_array() if isinstance(parameter, ParameterArray) else parameter

    @property
    def _bits(self) -> object:
        """What two parameters have in common if they are equal, in any floating-point mode."""
        parameter = self._parameter
        return parameter if isinstance(parameter, ParameterArray) else builds.bits_of(parameter)

    @in_default_mode
    def __repr__(self) -> str:
        parameter = f", {self.parameter_name}={_literal(self._parameter)}" if self.parameter_name else ""
        return f"{type(self).__name__}(reduction={self.reduction!r}{parameter})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.reduction == other.reduction and self._bits == other._bits

    def __hash__(self) -> int:
        return hash((type(self), self.reduction, self._bits))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._settings())

    def __call__(
        self,
        input: Numbers,
        target: Numbers,
        *,
        weight: Numbers | None = None,
        where: Numbers | None = None,
        axis: Axis = None,
        keepdims: bool = False,
        out: Array | None = None,
        n_threads: int | None = None,
    ) -> Any:
        """Return the loss between input and target, reduced as the object says.

        Parameters
        ----------
        input, target : array_like of real numbers
            Of one shape, or of shapes that broadcast (with a `BroadcastWarning` if both have more than one element, unless all
            axes along which they are stretched are axes of an array of parameters).
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
            Takes the result: of its exact shape and dtype. It may overlap the inputs. After an error, an `out` that overlaps an
            input is as it was; another one may be partly written.
        n_threads : int, optional
            The most threads to use; None leaves that to `set_num_threads`.

        Returns
        -------
        numpy scalar or numpy.ndarray
            A scalar for ``mean`` and ``sum`` over all axes, else an array; `out` if it was given.

        Examples
        --------
        >>> from cylosses import HuberLoss
        >>> loss = HuberLoss(delta=1.0)
        >>> float(loss([1.5, 2.0, 0.5], [1.0, 10.0, 0.5]))
        2.5416666666666665
        >>> float(loss([1.5, 2.0, 0.5], [1.0, 10.0, 0.5], weight=[1.0, 0.0, 2.0]))
        0.041666666666666664
        >>> loss([[1.5, 2.0], [0.5, 0.5]], [[1.0, 10.0], [0.5, 0.5]], axis=1)
        array([3.8125, 0.    ])
        """
        return call.value(self._code, self._parameter, self.reduction, input, target, weight, where, axis, keepdims, out, n_threads)

    def grad(
        self,
        input: Numbers,
        target: Numbers,
        *,
        grad_output: Factors | None = None,
        wrt: Operand = "input",
        weight: Numbers | None = None,
        where: Numbers | None = None,
        axis: Axis = None,
        out: Array | None = None,
        n_threads: int | None = None,
    ) -> Array:
        """Return the gradient of the reduced loss with respect to input or target.

        The derivative of an element is that of its loss, as ``none`` has it without weights. Its factor, weight · grad_output /
        divisor, is rounded once, and the product once more. The range of neither is limited: gradients are right even where the
        weights, or their sum, are tiny or huge.

        Parameters
        ----------
        input, target, weight, where, axis, n_threads
            As in the call.
        grad_output : array_like, optional
            Factor of the gradient: one number, or an array that broadcasts to the result of the call. 1 by default. For the
            reductions ``sum`` and ``none``, a `fractions.Fraction` counts exactly, even if it is too small or too large for a
            float.
        wrt : {'input', 'target'}
            The operand to differentiate with respect to.
        out : numpy.ndarray, optional
            Takes the gradient: of the shape of that operand and the dtype of the loss. Overlaps and errors are handled as in the
            call, in all methods.

        Returns
        -------
        numpy.ndarray
            Of the shape of the operand; where it was broadcast, exactly summed and rounded once.

        Examples
        --------
        >>> from cylosses import HuberLoss
        >>> loss = HuberLoss(reduction="sum", delta=1.0)
        >>> loss.grad([1.5, 2.0, 0.5], [1.0, 10.0, 0.5])
        array([ 0.5, -1. ,  0. ])
        >>> loss.grad([1.5, 2.0, 0.5], [1.0, 10.0, 0.5], wrt="target", grad_output=2.0)
        array([-1.,  2., -0.])
        """
        return call.gradient(
            self._code, self._parameter, self.reduction, input, target, grad_output, wrt, weight, where, axis, out, n_threads
        )

    def value_and_grad(
        self,
        input: Numbers,
        target: Numbers,
        *,
        weight: Numbers | None = None,
        where: Numbers | None = None,
        axis: Axis = None,
        out: Array | tuple[Array | None, Array | None] | None = None,
        n_threads: int | None = None,
    ) -> tuple[Any, Array]:
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

        Examples
        --------
        >>> from cylosses import HuberLoss
        >>> value, gradient = HuberLoss(delta=1.0).value_and_grad([1.5, 2.0], [1.0, 10.0])
        >>> float(value), gradient
        (3.8125, array([ 0.25, -0.5 ]))
        """
        return call.value_and_gradient(
            self._code, self._parameter, self.reduction, input, target, weight, where, axis, out, n_threads
        )

    def grad_and_hess(
        self,
        input: Numbers,
        target: Numbers,
        *,
        grad_output: Factors | None = None,
        curvature: Curvature = "exact",
        weight: Numbers | None = None,
        where: Numbers | None = None,
        out: tuple[Array | None, Array | None] | None = None,
        n_threads: int | None = None,
    ) -> tuple[Array, Array]:
        """Return gradient and diagonal Hessian of the reduced loss with respect to input, from one pass over the data.

        Parameters
        ----------
        input, target, weight, where, n_threads
            As in the call.
        grad_output : array_like, optional
            Factor of both, as in `grad`.
        curvature : {'exact', 'mm', 'ones'}
            ``exact`` is the second derivative as it is: 0 where the loss is linear, negative where it is not convex. ``mm`` is the
            IRLS weight psi(d) / d. For losses that are symmetric and smooth or absolute at 0, that is the curvature of the
            parabola that touches the loss at d and bounds it from above (majorise-minimise). Where it is unbounded, at the kink of
            L1, quantile and epsilon-insensitive, it is capped at 2**20 (times the slope). ``ones`` is 1.
        out : tuple of two numpy.ndarray, optional
            Takes gradient and Hessian.

        Returns
        -------
        tuple of (gradient, Hessian)
            Both of the shape of input, with the divisor of ``mean`` and with the weights.

        Examples
        --------
        >>> from cylosses import HuberLoss
        >>> loss = HuberLoss(reduction="sum", delta=1.0)
        >>> loss.grad_and_hess([0.5, 2.0], [0.0, 0.0])
        (array([0.5, 1. ]), array([1., 0.]))
        >>> loss.grad_and_hess([0.5, 2.0], [0.0, 0.0], curvature="mm")[1]
        array([1. , 0.5])
        """
        return call.gradient_and_hessian(
            self._code, self._parameter, self.reduction, input, target, grad_output, curvature, weight, where, out, n_threads
        )

    def streaming(self, axis: Axis = None) -> "StreamingLoss":
        """Return an exact total that takes the data piece by piece.

        Parameters
        ----------
        axis : int or tuple of int, optional
            Which axes are summed over; the elements of the others have a total each.

        Returns
        -------
        StreamingLoss

        Examples
        --------
        >>> from cylosses import L1Loss
        >>> columns = L1Loss().streaming(axis=0)
        >>> columns.update([[1.0, 2.0]], [[4.0, 4.0]])
        >>> columns.update([[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [5.0, 5.0]])
        >>> columns.compute()
        array([2.        , 1.66666667])
        """
        from cylosses.streaming import StreamingLoss

        return StreamingLoss(self, axis)


def _rebuild(cls: type[Loss], settings: dict[str, Any]) -> Loss:
    return cls(**settings)


def _literal(value: float | ParameterArray) -> str:
    return f"float({str(value)!r})" if value == float("inf") else repr(value)
