"""Numbers of 106 bits as unevaluated sums of two floats, for arrays.

T. J. Dekker, A floating-point technique for extending the available precision, Numerische Mathematik 18, 1971. Relative errors are
a few 2**-104 as long as nothing leaves the range of normal numbers.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from cylosses._types import Array

_SPLIT = 2.0**27 + 1


@dataclass(frozen=True)
class Pairs:
    """Arrays of numbers upper + lower, where lower is at most half a unit in the last place of upper."""

    upper: Array
    lower: Array

    @classmethod
    def of(cls, numbers: Any) -> Self:
        """Return floats as pairs."""
        upper = np.asarray(numbers, np.float64)
        return cls(upper, np.zeros_like(upper))

    @classmethod
    def _sum(cls, a: Any, b: Any, rest: Any) -> Self:
        """Return a + b + rest, where rest is small."""
        total = a + b
        part = total - a
        rest = (a - (total - part)) + (b - part) + rest
        upper = total + rest
        return cls(upper, rest - (upper - total))

    def __add__(self, other: "Pairs") -> "Pairs":
        return self._sum(self.upper, other.upper, self.lower + other.lower)

    def __sub__(self, other: "Pairs") -> "Pairs":
        return self._sum(self.upper, -other.upper, self.lower - other.lower)

    def __mul__(self, factor: Any) -> "Pairs":
        """Return the product with pairs, or with an array of ±1 and 0."""
        if not isinstance(factor, Pairs):
            return Pairs(self.upper * factor, self.lower * factor)
        product = self.upper * factor.upper
        rest = _rest_of_product(self.upper, factor.upper, product)
        return self._sum(product, rest, self.upper * factor.lower + self.lower * factor.upper)

    def __truediv__(self, other: "Pairs") -> "Pairs":
        quotient = self.upper / other.upper
        product = quotient * other.upper
        rest = (self.upper - product) - _rest_of_product(quotient, other.upper, product)
        return self._sum(quotient, (rest + self.lower - quotient * other.lower) / other.upper, 0.0)

    def root(self) -> "Pairs":
        """Return the square root of positive numbers."""
        root = np.sqrt(self.upper)
        square = root * root
        rest = (self.upper - square) - _rest_of_product(root, root, square)
        return self._sum(root, (rest + self.lower) / (2 * root), 0.0)

    def where(self, chosen: Array, other: "Pairs") -> "Pairs":
        """Return these where they are chosen, the others elsewhere."""
        return Pairs(np.where(chosen, self.upper, other.upper), np.where(chosen, self.lower, other.lower))


def _halves(numbers: Any) -> tuple[Any, Any]:
    scaled = numbers * _SPLIT
    upper = scaled - (scaled - numbers)
    return upper, numbers - upper


def _rest_of_product(a: Any, b: Any, product: Any) -> Any:
    """Return a b - product exactly."""
    (a_upper, a_lower), (b_upper, b_lower) = _halves(a), _halves(b)
    return a_lower * b_lower - (((product - a_upper * b_upper) - a_lower * b_upper) - a_upper * b_lower)
