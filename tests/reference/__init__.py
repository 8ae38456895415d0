"""The oracle: every loss, sum and rounding of cylosses in exact arithmetic, slow and plain.

Decisions and their reasons:

a. Exact means `fractions.Fraction`. Floats convert to fractions without error, so that nothing here rounds until
   `round_fraction` does, once, straight into the format asked for.
b. A formula uses nothing but arithmetic and comparisons, so it accepts `mpmath.mpf` too: that is how its derivatives
   are checked by central differences, and what a loss with a square root returns (60 digits).
c. Formulas see finite errors only. Infinite and NaN errors are one rule for all losses, in `elementwise`.
d. Sums are taken of the *elementwise results of the library* (DESIGN 2.5): whether those are right is a question of
   ulps, whether the sum of them is right is a question of bits, and the two are asked separately.
e. Weights and masks remove first: an element that is not selected, or has weight 0, is in no sum and no result.
f. `ORACLE` has the keys of `cylosses.losses.LOSSES`. What a test needs to know of a loss is a field of its entry, never a
   list of names in the test: adding a loss to the tests is adding one entry.
"""

from .elements import (
    accepts,
    central_difference,
    difference,
    elementwise,
    exact_difference,
    largest_error,
)
from .formats import (
    BFLOAT16,
    FLOATS,
    FORMATS,
    INTEGERS,
    Exact,
    Format,
    as_fraction,
    result_dtype,
    round_fraction,
    same_bits,
    ulp,
    ulp_error,
    working_dtype,
    working_parameter,
)
from .gradients import (
    GRADIENT_ULPS,
    divisors,
    exact_scaled_gradient,
    gradient_error,
    is_scaled,
    summed_gradient,
    suspected_sums,
    suspects,
    worst_ulp,
)
from .losses import (
    IRLS_CAP,
    ORACLE,
    QUANTITIES,
    Oracle,
)
from .sums import (
    exact_mean,
    exact_sum,
    reduced,
    reduced_slices,
    selection,
    weighted,
)

__all__ = [
    "BFLOAT16",
    "FLOATS",
    "FORMATS",
    "GRADIENT_ULPS",
    "INTEGERS",
    "IRLS_CAP",
    "ORACLE",
    "QUANTITIES",
    "Exact",
    "Format",
    "Oracle",
    "accepts",
    "as_fraction",
    "central_difference",
    "difference",
    "divisors",
    "elementwise",
    "exact_difference",
    "exact_mean",
    "exact_scaled_gradient",
    "exact_sum",
    "gradient_error",
    "is_scaled",
    "largest_error",
    "reduced",
    "reduced_slices",
    "result_dtype",
    "round_fraction",
    "same_bits",
    "selection",
    "summed_gradient",
    "suspected_sums",
    "suspects",
    "ulp",
    "ulp_error",
    "weighted",
    "working_dtype",
    "working_parameter",
    "worst_ulp",
]
