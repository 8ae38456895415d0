"""What the tests feed the library: lengths around block widths, values from subnormal to huge, memory layouts.

Everything drawn at random comes from a `numpy.random.Generator`, so that a seed brings it back; `pairs` is the same
for hypothesis, which shrinks what fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .reference import FORMATS, ORACLE, accepts, as_fraction, working_parameter

# Around the widths of vectors (2 to 16 elements), unrolled loops and blocks (1024), and far beyond.
SMALL_LENGTHS = (*range(6), 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97)
LENGTHS = (*SMALL_LENGTHS, 1023, 1024, 1025, 4097, 100_003)
DTYPES = (np.float32, np.float64)

# Second derivatives pass through 0 at the parameter over the roots of these.
INFLECTIONS = sorted({oracle.inflection for oracle in ORACLE.values() if oracle.inflection})

Pair = tuple[np.ndarray, np.ndarray]


# Values -------------------------------------------------------------------------------------------------------------


def exponents(dtype: Any) -> tuple[int, int]:
    """The exponents of the smallest subnormal and of the largest number whose double is still finite."""
    form = FORMATS[np.dtype(dtype).name]
    return form.lowest, form.overflow - 2


def spread(rng: np.random.Generator, length: int, dtype: Any, low: int, high: int) -> np.ndarray:
    """Signed values with random significands and exponents drawn evenly from `low` to `high`, both included."""
    magnitude = np.ldexp(rng.uniform(1, 2, length), rng.integers(low, high, length, endpoint=True))
    with np.errstate(under="ignore"):
        return (magnitude * rng.choice([-1.0, 1.0], length)).astype(dtype)


def terms_of(rng: np.random.Generator, total: int, k: int, dtype: Any, *, exact: bool = True) -> list[int] | None:
    """k integers that a significand of `dtype` holds, of any sizes, whose sum is `total`; None if these attempts find none.

    With `exact` off, the sum may be less.
    """
    precision = FORMATS[np.dtype(dtype).name].precision

    def cut(number: int) -> int:
        low = max(number.bit_length() - precision, 0)
        return number >> low << low

    for drawn in {int(n) for n in rng.integers(0, k, 3, endpoint=True)} | {0}:
        most = max(total // k, 1).bit_length()
        others = [cut(int(rng.random() * 2**53) * total // k >> 53 >> int(rng.integers(0, most))) for _ in range(min(drawn, k - 1))]
        rest, terms = total - sum(others), []
        while rest and len(terms) < k - len(others):
            terms.append(cut(rest))
            rest -= terms[-1]
        if rest and exact:
            continue
        if len(terms) > 1:  # both of the last two may be large
            low = (terms[-2] & -terms[-2]).bit_length() - 1
            bits = max(precision - 1 - max(terms[-1].bit_length() - low, 0), 0)
            moved = int(rng.integers(0, 2**bits)) >> int(rng.integers(precision))
            if cut(terms[-1] + (moved << low)) == terms[-1] + (moved << low) and moved << low < terms[-2]:
                terms[-2], terms[-1] = terms[-2] - (moved << low), terms[-1] + (moved << low)
        terms = [*others, *terms, *(0 for _ in range(k - len(others) - len(terms)))]
        return [terms[j] for j in rng.permutation(k)]
    return None


def _gauss(rng: np.random.Generator, length: int, dtype: Any) -> Pair:
    return rng.standard_normal(length).astype(dtype), rng.standard_normal(length).astype(dtype)


def _whole_range(rng: np.random.Generator, length: int, dtype: Any) -> Pair:
    low, high = exponents(dtype)
    return spread(rng, length, dtype, low, high), spread(rng, length, dtype, low, high)


def _any_window(rng: np.random.Generator, length: int, dtype: Any) -> Pair:
    """A window of exponents of random width and place: around every threshold of a spread guard sooner or later."""
    low, high = np.sort(rng.integers(*exponents(dtype), 2, endpoint=True))
    high = min(high, low + int(rng.integers(0, 200)))
    return spread(rng, length, dtype, low, high), spread(rng, length, dtype, low, high)


def _near_equal(rng: np.random.Generator, length: int, dtype: Any) -> Pair:
    """Targets that are equal to the input or a few units in the last place away."""
    inputs, _ = _any_window(rng, length, dtype)
    integers = inputs.view(f"i{inputs.itemsize}") + rng.integers(-3, 4, length)
    targets = integers.astype(f"i{inputs.itemsize}").view(inputs.dtype)
    return inputs, np.where(np.isfinite(targets), targets, inputs)


def _tiny(rng: np.random.Generator, length: int, dtype: Any) -> Pair:
    low, _ = exponents(dtype)
    return spread(rng, length, dtype, low - 1, low + 30), spread(rng, length, dtype, low - 1, low + 30)


def _huge(rng: np.random.Generator, length: int, dtype: Any) -> Pair:
    _, high = exponents(dtype)
    return spread(rng, length, dtype, high - 2, high), spread(rng, length, dtype, high - 2, high)


def _mostly_zero(rng: np.random.Generator, length: int, dtype: Any) -> Pair:
    inputs, targets = _whole_range(rng, length, dtype)
    return np.where(rng.random(length) < 0.9, targets, inputs), targets


SPREADS: dict[str, Callable[[np.random.Generator, int, Any], Pair]] = {
    "gauss": _gauss,
    "whole range": _whole_range,
    "any window": _any_window,
    "near equal": _near_equal,
    "tiny": _tiny,
    "huge": _huge,
    "mostly zero": _mostly_zero,
}


def random_parameter(rng: np.random.Generator, dtype: Any, name: str = "smooth_l1") -> float:
    """A parameter that the loss accepts: often ordinary, sometimes at the end of its range, often subnormal to huge."""
    while True:
        kind = rng.integers(4)
        if kind == 0:
            parameter = float(rng.choice([*ORACLE[name].parameters, 1.0, 0.5, 2.0, 0.0, 0.1, 10.0]))
        elif kind == 1:
            parameter = float(rng.uniform(0, 3))
        else:
            parameter = float(abs(spread(rng, 1, dtype, *exponents(dtype))[0]))
        if accepts(name, parameter, dtype):
            return parameter


def of_the_size_of(rng: np.random.Generator, parameter: Any, length: int, dtype: Any) -> np.ndarray:
    """Signed errors where formulas bend: 2**-12 to 2**12 times the parameter, below it, close to it or to an inflection.

    The parameter is one for all errors, or an array with one for each.
    """
    close = 2.0 ** -rng.uniform(1, FORMATS[np.dtype(dtype).name].precision, length)
    kinds = [
        2.0 ** rng.uniform(-12, 12, length),
        rng.uniform(0, 1.2, length),
        1 - close,
        (1 + rng.choice([-1, 1], length) * close) / rng.choice(INFLECTIONS, length) ** 0.5,
    ]
    ratio = np.choose(rng.integers(len(kinds), size=length), kinds)
    with np.errstate(all="ignore"):
        size = np.where((np.asarray(parameter) > 0) & (np.asarray(parameter) < np.inf), parameter, 1.0)
        return (ratio * rng.choice([-1, 1], length) * size).astype(dtype)


def away_from_kinks(rng: np.random.Generator, name: str, dtype: Any, number: int) -> Iterator[tuple[Any, float]]:
    """Up to `number` errors of `dtype`, each with a parameter, where central differences do not reach over a kink or 0."""
    for _ in range(number):
        with np.errstate(over="ignore"):
            parameter = float(dtype(random_parameter(rng, dtype, name)))
        error = spread(rng, 1, dtype, *exponents(dtype))[0]
        if rng.random() < 0.7 and 0 < parameter < np.inf:  # of the size of the parameter, on either side of the kinks
            with np.errstate(all="ignore"):
                error = dtype(parameter * rng.uniform(-3, 3))
        exact = working_parameter(parameter, dtype)
        kinks = [0, *(kink for kink in ORACLE[name].kinks(exact) if abs(kink) < np.inf)]
        if np.isfinite(error) and all(abs(as_fraction(error) - kink) > abs(as_fraction(error)) / 10**20 for kink in kinks):
            yield error, parameter


def pairs(dtype: Any, *, special: bool = False, max_size: int = 40) -> st.SearchStrategy[Pair]:
    """Hypothesis: input and target of one length, from any floats, with inf and NaN if `special`."""
    width = 8 * np.dtype(dtype).itemsize
    # Half the range, so that a difference of finite numbers is finite.
    limit = float(np.finfo(dtype).max) / 2
    number = st.floats(-limit, limit, width=width)
    number |= st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, limit, float(np.finfo(dtype).smallest_subnormal)])
    if special:
        number |= st.sampled_from([np.inf, -np.inf, np.nan])
    return st.lists(st.tuples(number, number), max_size=max_size).map(
        lambda rows: (np.array([a for a, _ in rows], dtype), np.array([b for _, b in rows], dtype))
    )


# Layouts ------------------------------------------------------------------------------------------------------------


def _strided(array: np.ndarray, folder: Path) -> np.ndarray:
    """Every second element of the first axis and every third of the last, of a larger array full of NaN."""
    if array.ndim == 1:
        host = np.full(2 * array.size + 1, np.nan, array.dtype)
        view = host[1::2]
    else:
        host = np.full((2 * array.shape[0], *array.shape[1:-1], 3 * array.shape[-1]), np.nan, array.dtype)
        view = host[::2, ..., 1::3]
    view[...] = array
    return view


def _reversed(array: np.ndarray, folder: Path) -> np.ndarray:
    flip = (slice(None, None, -1),) * array.ndim
    return np.ascontiguousarray(array[flip])[flip]


def _transposed(array: np.ndarray, folder: Path) -> np.ndarray:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 0, -1)), -1, 0)


def _byte_swapped(array: np.ndarray, folder: Path) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder())


def _read_only(array: np.ndarray, folder: Path) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


def _unaligned(array: np.ndarray, folder: Path) -> np.ndarray:
    view = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def _memmap(array: np.ndarray, folder: Path) -> np.ndarray:
    path = folder / "array.bin"
    path.write_bytes(b"0123456789abcdef" + array.tobytes())
    return np.memmap(path, array.dtype, "r", offset=16, shape=array.shape)


def _subclass(array: np.ndarray, folder: Path) -> np.ndarray:
    class Plain(np.ndarray):
        pass

    return array.view(Plain)


# Each puts the same values into another place: layout(array, folder), where the folder is for files.
LAYOUTS: dict[str, Callable[[np.ndarray, Path], np.ndarray]] = {
    "C": lambda array, folder: np.array(array, order="C"),
    "Fortran": lambda array, folder: np.array(array, order="F"),
    "strided": _strided,
    "negative strides": _reversed,
    "transposed": _transposed,
    "byte-swapped": _byte_swapped,
    "read-only": _read_only,
    "unaligned": _unaligned,
    "memmap": _memmap,
    "subclass": _subclass,
}
