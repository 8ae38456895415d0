"""Cases at random: everything that a call may be, with a liking for what is rare elsewhere.

All comes from one `numpy.random.Generator`, so that the seed of a case brings it back. `only` narrows what is drawn to one subject:
layouts (mixed memory orders with rows left over from tiles), modes (of floating point), weights (of any exponent), integers, slices
(reductions over some axes: rows, groups of columns, and columns over many blocks), parameters (that are arrays; the rest of such a
call is of any subject).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np

from cylosses.losses import LOSSES
from tests import generators
from tests.reference import BFLOAT16, FLOATS, INTEGERS, accepts, result_dtype, working_dtype

from .calls import OUTPUTS, QUANTITIES, Case, Operand, Output, Place, Stream
from .modes import MODES

SUBJECTS = ("layouts", "modes", "weights", "integers", "slices", "parameters")
WITH_PARAMETER = [name for name, cls in LOSSES.items() if cls.parameter_name]
MOST_NUMBERS = 4096  # of a parameter, along the axes where they differ
MOST_SLICES = 1200
Generator = np.random.Generator

# Incoming gradients, beside ordinary ones.
EXTREME = (
    0.0,
    -0.0,
    1e-320,
    3e-308,
    -5e-324,
    2.0**-1022,
    3e300,
    -1.7e308,
    1e-160,
    1e160,
    1e-45,
    1e38,
    math.inf,
    -math.inf,
    math.nan,
)


def chance(rng: Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


def pick(rng: Generator, *choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


# Shapes -------------------------------------------------------------------------------------------------------------


def _beyond_tiles(rng: Generator) -> int:
    """More than a tile's 64 rows, and seldom whole tiles."""
    return int(pick(rng, 65, 67, 70, 97, 127, 130, 131, 200, int(rng.integers(65, 260))))


def draw_slices(rng: Generator) -> tuple[int, ...]:
    """Shapes whose slices are summed side by side in each of the ways, over some axis, and some that are just too long for that."""
    kind, few, some = rng.integers(5), int(rng.integers(1, 9)), int(pick(rng, 7, 8, 9, 16, 31, 40, 63, 64, 65, 100))
    if kind == 0:
        shape = (int(rng.integers(2, MOST_SLICES)), few)
    elif kind == 1:
        shape = (int(rng.integers(2, 100)), some)
    elif kind == 2:
        shape = (int(rng.integers(2, 6)), int(pick(rng, 255, 256, 511, 512, 513, 1000, 1023, 1024, 1025, 1100, 3000)))
    elif kind == 3:
        shape = (few, some, int(rng.integers(1, 12)))
    else:
        shape = (int(rng.integers(1, 4)), few, int(rng.integers(2, 20)), int(rng.integers(2, 20)))
    return shape if chance(rng, 0.5) else tuple(int(n) for n in rng.permutation(shape))


def draw_shape(rng: Generator, only: str | None) -> tuple[int, ...]:
    if only == "slices" or (only is None and chance(rng, 0.04)):
        return draw_slices(rng)
    kind = rng.random()
    if only == "layouts":
        kind = 0.9 if kind < 0.8 else kind
    if kind < 0.45:
        return tuple(int(n) for n in rng.integers(0 if chance(rng, 0.1) else 1, 8, rng.integers(0, 5)))
    if kind < 0.75:
        return (int(pick(rng, *generators.SMALL_LENGTHS, int(rng.integers(200)))),)
    if kind < 0.87:
        length = int(pick(rng, 255, 257, 1023, 1024, 1025, int(rng.integers(1000, 5000))))
        return (length,) if chance(rng, 0.6) else (max(length // 9, 1), 9)[:: pick(rng, 1, -1)]
    if kind < 0.994:
        sides = (_beyond_tiles(rng), _beyond_tiles(rng))
        if sides[0] * sides[1] > 20_000:
            sides = (sides[0], 66)
        return sides if chance(rng, 0.8) else tuple(int(n) for n in rng.permutation([*sides, int(rng.integers(1, 4))]))
    return pick(rng, (65_537,), (257, 259), (70_003,), (3, 150, 151), (131_073,))


def part_of(rng: Generator, shape: tuple[int, ...], whole: float = 0.5) -> tuple[int, ...]:
    """A shape that broadcasts to `shape`, often that itself."""
    if chance(rng, whole):
        return shape
    part = tuple(1 if chance(rng, 0.4) else n for n in shape)
    return part[rng.integers(len(part) + 1) :] if chance(rng, 0.3) else part


def beside_parameter(rng: Generator, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of operands and of a parameter that together broadcast to `shape`, or to more axes.

    Along some axes the parameter alone is long: it stretches the operands.
    """
    if chance(rng, 0.15):
        return shape, pick(rng, (), (1,), (1, 1), (1,) * (len(shape) + 1))
    if chance(rng, 0.15):
        shape = (int(rng.integers(1, 5)), *shape)
    own = [chance(rng, 0.4) for _ in shape]
    alone = [chance(rng, 0.2) for _ in shape]
    of_operands = tuple(1 if far else n for n, far in zip(shape, alone, strict=True))
    of_parameter = tuple(n if far or here else 1 for n, far, here in zip(shape, alone, own, strict=True))
    return _without_leading_ones(rng, of_operands), _without_leading_ones(rng, of_parameter)


def _without_leading_ones(rng: Generator, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Perhaps without some of them."""
    ones = next((k for k, n in enumerate(shape) if n != 1), len(shape))
    return shape[rng.integers(ones + 1) :] if chance(rng, 0.7) else shape


# Values -------------------------------------------------------------------------------------------------------------


def draw_integers(rng: Generator, size: int, dtype: np.dtype) -> np.ndarray:
    """Small ones, of all lengths in bits, at the ends of the range and around 2**24 and 2**53, where floats end to be exact."""
    if dtype == np.bool_:
        return rng.random(size) < 0.5
    info = np.iinfo(dtype)
    least, most = int(info.min), int(info.max)
    kind = rng.integers(4)
    if kind == 0:
        numbers = rng.integers(-1000, 1000, size).tolist()
    elif kind == 1:
        magnitudes = (rng.integers(2**63, size=size, dtype=np.uint64) >> rng.integers(63, size=size, dtype=np.uint64)).tolist()
        numbers = [-n if negative else n for n, negative in zip(magnitudes, (rng.random(size) < 0.5).tolist(), strict=True)]
    elif kind == 2:
        middle = pick(rng, 2**53, 2**24, 2**62, 1_750_000_000_000_000_000, most, least, 0)
        numbers = [middle + k for k in rng.integers(-300, 300, size).tolist()]
    else:
        ends = (most, least, 0, 1, most - 1, least + 1)
        numbers = [ends[k] for k in rng.integers(len(ends), size=size).tolist()]
    return np.array([min(max(n, least), most) for n in numbers], dtype)


def draw_floats(rng: Generator, size: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """A pair that may be related: near to each other, within one window of exponents."""
    spread = str(rng.choice(list(generators.SPREADS)))
    with np.errstate(all="ignore"):
        pair = generators.SPREADS[spread](rng, size, dtype)
        pair = tuple(np.array(a, dtype) for a in pair)
    if size and chance(rng, 0.1):
        for a in pair:
            a[rng.integers(0, size, 1 + size // 20)] = pick(rng, math.inf, -math.inf, math.nan, -0.0)
    return pair


def draw_numbers(rng: Generator, name: str, shape: tuple[int, ...], dtype: np.dtype) -> tuple[np.ndarray, tuple[int, ...]]:
    """Valid numbers for a parameter, often some of them alike, and the axes along which they repeat."""
    lengths, most = [min(n, 1) for n in shape], pick(rng, 4, 40, 40, 40, 400, MOST_NUMBERS)
    for k in rng.permutation(len(shape)).tolist():
        if math.prod(lengths) * shape[k] <= most and chance(rng, 0.9):
            lengths[k] = shape[k]
    size = math.prod(lengths)
    pool = np.array([generators.random_parameter(rng, dtype, name) for _ in range(pick(rng, size, min(size, 3)))])
    numbers = pool if len(pool) == size else rng.choice(pool, size)
    numbers = np.where((numbers == 0) & (rng.random(size) < 0.5), -0.0, numbers)  # which is 0
    kind = pick(rng, *[np.dtype(np.float64)] * 8, *FLOATS, *INTEGERS)
    with np.errstate(all="ignore"):
        narrow = (np.clip(numbers, 0, 100).round() if kind in INTEGERS else numbers).astype(kind)
    if all(accepts(name, number, dtype) for number in set(narrow.astype(np.float64).tolist())):
        numbers = narrow
    repeated = tuple(k for k, (n, length) in enumerate(zip(shape, lengths, strict=True)) if n != length)
    return np.broadcast_to(numbers.reshape(lengths), shape).copy(), repeated


def draw_weights(rng: Generator, shape: tuple[int, ...], only: str | None) -> np.ndarray:
    size = math.prod(shape)
    kind = rng.integers(4, 8) if only == "weights" else rng.integers(8)
    if kind == 0:
        weights = rng.integers(0, 4, size).astype(pick(rng, *INTEGERS))
    elif kind == 1:
        weights = rng.uniform(0, 3, size).astype(pick(rng, *FLOATS))
    elif kind == 2:
        weights = rng.integers(0, 2**53, size, endpoint=True).astype(pick(rng, np.int64, np.uint64, np.float64))
    elif kind == 3:
        weights = rng.uniform(0, 1, size)
    elif kind == 4:
        weights = abs(generators.SPREADS["whole range"](rng, size, pick(rng, np.float32, np.float64))[0])
    elif kind == 5:
        weights = abs(generators.SPREADS["any window"](rng, size, pick(rng, np.float32, np.float64))[0])
    elif kind == 6:  # all of them tiny or all huge: then so is their sum
        with np.errstate(under="ignore"):
            weights = rng.uniform(0.1, 1.7, size) * pick(rng, 1e-320, 1e-311, 1e-308, 1e-200, 1e200, 1e307, 1e308)
    else:
        weights = rng.choice([1e-320, 5e-324, 1e-200, 1.0, 1 / 3, 1e200, 1e308, 1.7976931348623157e308], size)
    weights[rng.random(size) < rng.choice([0.0, 0.3, 1.0], p=[0.6, 0.37, 0.03])] = 0
    return weights.reshape(shape)


def draw_dtypes(rng: Generator, only: str | None) -> tuple[np.dtype, np.dtype]:
    if only == "integers":
        return pick(rng, *INTEGERS), pick(rng, *INTEGERS)
    first = FLOATS[rng.choice(4, p=[0.1, 0.1, 0.4, 0.4])]
    if only not in (None, "slices") or (only == "slices" and chance(rng, 0.7)):
        return (FLOATS[rng.choice([2, 3])],) * 2
    second = first if chance(rng, 0.6) else pick(rng, *FLOATS, *INTEGERS)
    if chance(rng, 0.12):
        first, second = pick(rng, *INTEGERS), pick(rng, *INTEGERS)
    return (first, second) if chance(rng, 0.5) else (second, first)


# Memory -------------------------------------------------------------------------------------------------------------


def draw_place(rng: Generator, shape: tuple[int, ...], dtype: np.dtype, only: str | None, writable: bool = False) -> Place:
    """Any order, strides, offset, alignment and byte order; plain in half of the cases."""
    if chance(rng, 0.1 if only == "layouts" else 0.5):
        return Place()
    axes = tuple(range(len(shape)))
    order = pick(rng, None, axes[::-1], axes[::-1], tuple(int(k) for k in rng.permutation(len(shape))))
    steps = None
    if chance(rng, 0.4):
        steps = tuple(int(pick(rng, 1, 1, 1, -1, 2, -2, 3)) for _ in axes)
    elif not writable and chance(rng, 0.1):
        steps = tuple(0 if n == 1 else 1 for n in shape)
    return Place(
        order=order,
        steps=steps,
        offset=int(rng.integers(6)) if chance(rng, 0.4) else 0,
        unaligned=chance(rng, 0.1),
        swapped=not writable and dtype != BFLOAT16 and chance(rng, 0.15),
    )


def _output(rng: Generator, case: Case, name: str, hosts: list[str]) -> Output:
    """An array for a result: by itself, or in the memory of an operand, exactly there, shifted, or anyhow."""
    shape, dtype = case.shape_of(name), case.dtype
    if not hosts or chance(rng, 0.4):
        return Output(draw_place(rng, shape, dtype, None, writable=True))
    host = hosts.pop(int(rng.integers(len(hosts))))
    operand = case.operands[host]
    place = operand.place
    matching = (
        operand.values.shape == shape and operand.values.dtype == dtype and not place.swapped and 0 not in (place.steps or ())
    )
    if not matching or chance(rng, 0.3):
        return Output(draw_place(rng, shape, dtype, None, writable=True), host)
    shift = 0 if chance(rng, 0.5) else int(rng.integers(0, 70))
    return Output(Place(place.order, place.steps, place.offset + shift, place.unaligned), host)


# The rest of a call -------------------------------------------------------------------------------------------------


def _axis(rng: Generator, shape: tuple[int, ...], only: str | None) -> Any:
    axes = rng.permutation(len(shape))[: rng.integers(len(shape) + 1)].tolist()
    if only == "slices" and chance(rng, 0.8):  # neighbours
        begin, end = (int(k) for k in np.sort(rng.choice(len(shape) + 1, 2, replace=False)))
        axes = list(range(begin, end))
    if math.prod(n for k, n in enumerate(shape) if k not in axes) > MOST_SLICES:  # each is summed exactly, which takes time
        return None
    axes = [k - len(shape) if chance(rng, 0.5) else k for k in axes]
    return axes[0] if len(axes) == 1 and chance(rng, 0.5) else tuple(axes)


def _incoming(rng: Generator, case: Case) -> Operand:
    """grad_output: ordinary or at the end of the range, one number or an array."""

    def numbers(size: int) -> np.ndarray:
        found = rng.standard_normal(size) * 10.0 ** pick(rng, 0, 0, -300, -150, 150, 300, -320, -30, 30)
        if chance(rng, 0.4):
            found = rng.choice(np.array(EXTREME), size)
        return rng.integers(-3, 4, size) if chance(rng, 0.1) else found

    shape = ()
    if chance(rng, 0.5):
        shape = part_of(rng, case.shape) if case.reduction == "none" else case.with_ones()
    values = numbers(math.prod(shape)).reshape(shape)
    if values.dtype.kind == "f" and chance(rng, 0.4):
        with np.errstate(all="ignore"):
            values = values.astype(pick(rng, np.float16, np.float32))
    if shape and case.reduction != "none" and chance(rng, 0.5):  # the other form that is accepted
        values = values.reshape([n for k, n in enumerate(case.shape) if k not in case.summed])
    if not shape and chance(rng, 0.6):
        return Operand(values.astype(np.float64 if values.dtype.kind == "f" else np.int64), number=True)
    return Operand(values, draw_place(rng, values.shape, values.dtype, None))


def _may_be_cut(case: Case) -> bool:
    """Whether the first axis is that of operands: with a parameter that has it, each piece must have it in full."""
    parameters = case.values("parameter")
    return parameters is None or parameters.ndim < len(case.shape) or parameters.shape[0] == 1


def _stream(rng: Generator, case: Case) -> Stream:
    length = case.shape[0] if case.shape else 1
    cuts = np.sort(rng.integers(0, length + 1, rng.integers(6))) if length > 1 and 0 in case.summed and _may_be_cut(case) else []
    bounds = [0, *(int(cut) for cut in cuts), length]
    totals = int(rng.integers(1, 5))
    pieces = [(a, b, int(rng.integers(totals))) for a, b in itertools.pairwise(bounds)]
    return Stream(
        pieces=tuple(pieces[k] for k in rng.permutation(len(pieces))),
        merged=tuple(int(k) for k in rng.permutation(totals)),
        stored=tuple(k for k in range(totals) if chance(rng, 0.3)),
    )


def _array_of_parameters(rng: Generator, name: str, shape: tuple[int, ...], dtype: np.dtype) -> Operand:
    values, repeated = draw_numbers(rng, name, shape, dtype)
    if 0 < values.size <= 64 and chance(rng, 0.3):
        return Operand(values, number=True)
    place = draw_place(rng, shape, values.dtype, None)
    if repeated and chance(rng, 0.5):
        place = replace(place, steps=tuple(0 if k in repeated else 1 for k in range(len(shape))))
    return Operand(values, place)


def _operands(rng: Generator, name: str, only: str | None, array: bool) -> tuple[float, dict[str, Operand]]:
    """The parameter as a number, input and target, and for `array` an array of parameters."""
    first, second = draw_dtypes(rng, only)
    shape, of_parameter = beside_parameter(rng, draw_shape(rng, only)) if array else (draw_shape(rng, only), None)
    shapes = (
        (shape, shape) if chance(rng, 0.65 if only == "slices" else 0.8) else (shape, part_of(rng, shape, 0))[:: pick(rng, 1, -1)]
    )
    working = working_dtype(result_dtype(first, second))
    parameter, parameters = generators.random_parameter(rng, working, name), None
    if of_parameter is not None:
        parameters = _array_of_parameters(rng, name, of_parameter, working)
    values = [
        draw_integers(rng, math.prod(part), dtype) if dtype in INTEGERS else draw_floats(rng, math.prod(part), dtype)[k]
        for k, (part, dtype) in enumerate(zip(shapes, (first, second), strict=True))
    ]
    if first == second and first in FLOATS and shapes[0] == shapes[1]:
        values = list(draw_floats(rng, math.prod(shape), first))
        if first.itemsize >= 4 and chance(rng, 0.3):
            near = parameter if parameters is None else _beside(parameters.values, shape)
            values = [generators.of_the_size_of(rng, near, values[0].size, first), np.zeros_like(values[0])]
    elif first.kind in "iu" and first == second and shapes[0] == shapes[1] and chance(rng, 0.5):
        values[1] = values[0] + rng.integers(-3, 4, values[0].size).astype(first)  # near each other, perhaps around the end
    values = [a.reshape(part) for a, part in zip(values, shapes, strict=True)]
    found = {role: Operand(a, draw_place(rng, a.shape, a.dtype, only)) for role, a in zip(("input", "target"), values, strict=True)}
    if chance(rng, 0.2 if only == "modes" else 0.06):  # a Python number
        role = pick(rng, "input", "target")
        integer = found[role].values.dtype.kind in "iub"
        number = draw_integers(rng, 1, np.dtype(np.int64)) if integer else draw_floats(rng, 1, pick(rng, *FLOATS[2:]))[0]
        found[role] = Operand(number.astype(np.int64 if integer else np.float64).reshape(()), number=True)
        # It has no width, so a narrower dtype may be computed in: the parameter must be valid there.
        widths = [operand.values.dtype for operand in found.values() if not operand.number]
        working = working_dtype(result_dtype(*widths))
        parameter = generators.random_parameter(rng, working, name)
        if of_parameter is not None:
            parameters = _array_of_parameters(rng, name, of_parameter, working)
    return parameter, found if parameters is None else {**found, "parameter": parameters}


def _beside(parameters: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter for each element of operands of a shape: of several, the first. Flat."""
    whole = np.broadcast_to(parameters.astype(np.float64), np.broadcast_shapes(parameters.shape, shape))
    if not whole.size:
        return np.ones(math.prod(shape))
    extra = whole.ndim - len(shape)
    return whole[(*(0,) * extra, *(slice(n) for n in shape))].ravel()


def draw(rng: Generator, only: str | None = None, name: str | None = None) -> Case:
    """One case with everything drawn at random."""
    array = only == "parameters" or (only is None and chance(rng, 0.15))
    if only == "parameters":
        only = pick(rng, None, None, "slices", *SUBJECTS[:-1])
    name = name or str(rng.choice(WITH_PARAMETER if array else list(LOSSES)))
    parameter, operands = _operands(rng, name, only, array and name in WITH_PARAMETER)
    quantity = QUANTITIES[rng.choice(5, p=[0.4, 0.25, 0.2, 0.0, 0.15] if only == "slices" else [0.35, 0.25, 0.15, 0.15, 0.1])]
    if only in ("weights", "modes") and quantity in ("value", "streaming") and chance(rng, 0.7):
        quantity = "grad"
    reduction = str(rng.choice(["mean", "sum"] if quantity == "streaming" or only == "slices" else ["none", "mean", "sum"]))
    case = Case(
        name=name,
        parameter=parameter,
        operands=operands,
        quantity=quantity,
        reduction=reduction,
        function=quantity in ("value", "grad") and chance(rng, 0.3),
        wrt=pick(rng, "input", "target") if quantity == "grad" else "input",
        curvature=pick(rng, "exact", "mm", "ones") if quantity == "grad_and_hess" else "exact",
        n_threads=pick(rng, None, None, 1, 2, 3, 4),
        mode=pick(rng, *MODES[1:]) if MODES[1:] and (only == "modes" or (only in (None, "slices") and chance(rng, 0.35))) else 0,
    )
    shape, likely = case.shape, 0.95 if only == "slices" else 0.5
    if quantity == "streaming":
        case = case.but(axis=_axis(rng, shape, only) if shape and chance(rng, likely) else None)
        case = case.but(stream=_stream(rng, case))
    elif quantity != "grad_and_hess" and reduction != "none" and shape and chance(rng, likely):
        case = case.but(axis=_axis(rng, shape, only))
    if quantity == "value" and reduction != "none":
        case = case.but(keepdims=chance(rng, 0.3))
    operands = dict(operands)
    if only == "weights" or (only in (None, "slices") and chance(rng, 0.5)):
        values = draw_weights(rng, part_of(rng, shape), only)
        operands["weight"] = Operand(values, draw_place(rng, values.shape, values.dtype, only))
    if chance(rng, 0.3):
        values = rng.random(part_of(rng, shape)) < rng.choice([0.0, 0.3, 0.9, 1.0], p=[0.05, 0.4, 0.5, 0.05])
        values = np.asarray(values)
        operands["where"] = Operand(values, draw_place(rng, values.shape, values.dtype, only))
    if quantity == "grad" and only != "integers" and chance(rng, 0.6):
        operands["grad_output"] = _incoming(rng, case)
    case = case.but(operands=operands)
    if quantity != "streaming" and chance(rng, 0.5):
        hosts = [role for role, operand in operands.items() if not operand.number]
        case = case.but(outputs=tuple(_output(rng, case, output, hosts) for output in OUTPUTS[quantity]))
    return case
