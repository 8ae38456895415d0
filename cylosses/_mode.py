"""The floating-point mode of a thread: what rounding, and whether tiny numbers are flushed to zero."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from cylosses._core import builds

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class DefaultMode(builds.DefaultMode):
    """The default floating-point mode as a context manager and decorator."""

    def __call__(self, function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        """Return the function with each of its calls in this mode."""

        @wraps(function)
        def call(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
            with builds.DefaultMode():  # one of its own for each call: threads and nested calls remember different modes
                return function(*args, **kwargs)

        return call


in_default_mode = DefaultMode()


def default_floating_point_mode() -> DefaultMode:
    """Compute in the default floating-point mode: round to nearest, keep subnormal numbers, trap nothing.

    Another library may have set another mode in the calling thread: a rounding direction, or that subnormal numbers are flushed to
    zero (FTZ, DAZ), as compilers' ``-ffast-math`` does when a module is loaded. The calls of this package have the same bits in
    every mode; this is for arithmetic beside them, with NumPy or in Python, that must have them too. It sets the mode of the
    calling thread only. At the end, the caller's mode and status flags are those from before.

    Returns
    -------
    context manager
        Which is a decorator of functions, too.

    Examples
    --------
    >>> import cylosses
    >>> with cylosses.default_floating_point_mode():
    ...     smallest = 2.0**-1074
    >>> smallest
    5e-324
    """
    return DefaultMode()
