"""The floating-point mode of a thread: what rounding, and whether tiny numbers are flushed to zero."""

from contextlib import ContextDecorator

from cylosses._core import builds


class DefaultMode(builds.DefaultMode, ContextDecorator):
    """The default floating-point mode as a context manager and decorator."""

    def _recreate_cm(self) -> "DefaultMode":
        return DefaultMode()  # calls of a decorated function may be nested: each remembers a mode of its own


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
