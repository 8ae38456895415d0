"""From a case that fails to the smallest one that still does, by trying simpler ones one after the other."""

from __future__ import annotations

import hashlib
import math
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from cylosses.losses import LOSSES
from tests.reference import accepts

from .calls import OUTPUTS, Case, Operand, Output, Place, Stream
from .checking import Mismatch

Wrong = Callable[[Case], list[Mismatch]]
MOST_ELEMENTS = 12  # of an array whose elements are simplified one by one


def complexity(number: Any) -> int:
    """How hard a number is to read."""
    number = float(number)
    if number in (0, 1):
        return int(number) + (math.copysign(1, number) < 0)
    return 3 + len(repr(number))


def simpler(number: Any) -> Iterator[float]:
    """Numbers that are easier to read, the easiest first."""
    value = float(number)
    candidates = [0.0, 1.0, 2.0, 0.5]
    if math.isfinite(value) and value:
        candidates += [abs(value), float(f"{value:.0e}"), math.copysign(float(f"1e{math.floor(math.log10(abs(value)))}"), value)]
        candidates += [float(f"{value:.{digits}e}") for digits in (1, 2)]
    for candidate in candidates:
        if complexity(candidate) < complexity(value):
            yield candidate


# Settings -----------------------------------------------------------------------------------------------------------


def _without(case: Case, role: str) -> Case:
    operands = {name: operand for name, operand in case.operands.items() if name != role}
    outputs = tuple(replace(o, host=None) if o is not None and o.host == role else o for o in case.outputs)
    return case.but(operands=operands, outputs=outputs)


def _as_quantity(case: Case, quantity: str) -> Case:
    case = case.but(quantity=quantity, outputs=(), stream=None, function=False, wrt="input", curvature="exact")
    return case if quantity == "value" else case.but(keepdims=False)


def settings(case: Case) -> Iterator[Case]:
    """Less of everything that is not data."""
    for role in ("grad_output", "weight", "where"):
        if role in case.operands:
            yield _without(case, role)
    if any(case.outputs):
        yield case.but(outputs=())
        for k, output in enumerate(case.outputs):
            if output is not None:
                for other in (None, Output(), Output(Place(), output.host), Output(output.place)):
                    if other != output:
                        yield case.but(outputs=(*case.outputs[:k], other, *case.outputs[k + 1 :]))
    if case.mode:
        yield case.but(mode=0)
        for bit in (1 << 15, 1 << 6, 1 << 13, 1 << 14):
            if case.mode & bit and case.mode != bit:
                yield case.but(mode=bit)
    if case.n_threads is not None:
        yield case.but(n_threads=None)
        if case.n_threads > 2:
            yield case.but(n_threads=2)
    if len(OUTPUTS[case.quantity]) > 1:
        for quantity in ("grad", "value"):
            yield _as_quantity(case, quantity)
    if case.stream is not None:
        yield _as_quantity(case, "value")
        whole = case.shape[0] if case.shape else 1
        plain = Stream(((0, whole, 0),), (0,))
        if case.stream != plain:
            yield case.but(stream=plain)
            if case.stream.stored:
                yield case.but(stream=replace(case.stream, stored=()))
    if case.function:
        yield case.but(function=False)
    if case.axis is not None:
        yield case.but(axis=None)
    if case.keepdims:
        yield case.but(keepdims=False)
    fewer = {"mean": ["none", "sum"], "sum": ["none"], "none": []}[case.reduction]
    for reduction in fewer if case.stream is None else set(fewer) - {"none"}:
        yield case.but(reduction=reduction, axis=None if reduction == "none" else case.axis, keepdims=False)
    if case.wrt != "input":
        yield case.but(wrt="input", outputs=())
    if case.curvature != "exact":
        yield case.but(curvature="exact")
    default = LOSSES[case.name].default
    for parameter in (default, *simpler(case.parameter)) if "parameter" not in case.operands else ():
        if parameter != case.parameter and (parameter == default or case.parameter != default):
            yield case.but(parameter=parameter)


# A parameter that is an array ---------------------------------------------------------------------------------------


def parameters(case: Case, at: tuple[int, ...] | None) -> Iterator[Case]:
    """One number instead of an array of them, fewer axes, and numbers of no special dtype."""
    operand = case.operands.get("parameter")
    if operand is None:
        return
    array = operand.values
    for number in dict.fromkeys([*_chosen(array, at), *array.ravel()[:1].tolist(), *array.ravel()[-1:].tolist()]):
        yield _in_shape(_without(case, "parameter").but(parameter=float(number)), case.shape)
    for axis, n in enumerate(array.shape):
        if n > 1:
            place = _place_in(array, at)
            for k in dict.fromkeys([0 if place is None else place[axis], 0, n - 1]):
                yield _in_shape(_with_parameters(case, array[(slice(None),) * axis + (slice(k, k + 1),)]), case.shape)
    if array.ndim > 1 and array.shape[0] == 1:
        yield _in_shape(_with_parameters(case, array[0]), case.shape)
    if array.dtype != np.float64:
        yield _with_parameters(case, array.astype(np.float64))


def _with_parameters(case: Case, array: np.ndarray) -> Case:
    """With these as parameters, in plain memory."""
    return with_operand(case, "parameter", Operand(np.ascontiguousarray(array), number=case.operands["parameter"].number))


def _in_shape(case: Case, shape: tuple[int, ...]) -> Case:
    """The same, with an input that has the shape, if the operands do not broadcast to it any more."""
    if case.shape == shape:
        return case
    outputs = tuple(None if output is None else Output(Place(), output.host) for output in case.outputs)
    values = np.broadcast_to(case.operands["input"].values, shape).copy()
    return with_operand(case.but(outputs=outputs), "input", Operand(values))


def _place_in(array: np.ndarray, at: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The element of an operand that belongs to an element of the call; None if it has more axes."""
    if at is None or len(at) < array.ndim or not array.size:
        return None
    return tuple(min(k, n - 1) for k, n in zip(at[len(at) - array.ndim :], array.shape, strict=True))


def _chosen(array: np.ndarray, at: tuple[int, ...] | None) -> list[float]:
    place = _place_in(array, at)
    return [] if place is None else [array[place].item()]


# Memory -------------------------------------------------------------------------------------------------------------


def places(case: Case) -> Iterator[Case]:
    """Plainer memory: C order, Fortran order, less of what is special."""
    for role, operand in case.operands.items():
        place, ndim = operand.place, operand.values.ndim
        backwards = Place(order=tuple(range(ndim))[::-1]) if ndim > 1 else Place()
        plainer = [Place()] if place == backwards else [Place(), backwards]
        if place not in plainer:
            plainer += [replace(place, **{name: getattr(Place(), name)}) for name in Place.__dataclass_fields__]
        for other in plainer if not operand.number else ():
            if other != place:
                yield with_operand(case, role, replace(operand, place=other))


def with_operand(case: Case, role: str, operand: Operand) -> Case:
    return case.but(operands={**case.operands, role: operand})


# Shapes -------------------------------------------------------------------------------------------------------------


def _of_axis(case: Case, role: str, values: np.ndarray, axis: int) -> int | None:
    """Which axis of an operand lies along an axis of the call; None if there is none."""
    k = axis - (len(case.shape) - values.ndim)
    return k if k >= 0 else None


def take(case: Case, axis: int, begin: int, end: int) -> Case:
    """The part from `begin` to `end` of one axis."""
    operands = {}
    for role, operand in case.operands.items():
        values = operand.values
        dropped = role == "grad_output" and case.reduction != "none" and values.size > 1 and values.ndim < len(case.shape)
        full = values.reshape(case.with_ones()) if dropped else values
        k = _of_axis(case, role, full, axis)
        if k is not None and full.shape[k] > 1:
            full = full[(slice(None),) * k + (slice(begin, end),)]
        if dropped:
            full = full.reshape([n for j, n in enumerate(full.shape) if j not in case.summed])
        operands[role] = replace(operand, values=np.ascontiguousarray(full).reshape(full.shape))
    stream = case.stream
    if stream is not None and axis == 0:
        pieces = tuple((*(min(max(k, begin), end) - begin for k in piece[:2]), piece[2]) for piece in stream.pieces)
        stream = replace(stream, pieces=pieces)
    return case.but(operands=operands, stream=stream)


def _drop_of_place(place: Place, k: int) -> Place:
    order = None if place.order is None else tuple(j - (j > k) for j in place.order if j != k)
    steps = None if place.steps is None else tuple(step for j, step in enumerate(place.steps) if j != k)
    return replace(place, order=order, steps=steps)


def drop(case: Case, axis: int) -> Case:
    """Without an axis of length 1."""
    operands = {}
    for role, operand in case.operands.items():
        k = _of_axis(case, role, operand.values, axis)
        if k is not None and not (role == "grad_output" and operand.values.ndim < len(case.shape)):
            operand = replace(operand, values=operand.values.squeeze(k), place=_drop_of_place(operand.place, k))
        operands[role] = operand
    outputs = tuple(None if output is None else Output(Place(), output.host) for output in case.outputs)
    axes = None if case.axis is None else tuple(k - (k > axis) for k in sorted(case.summed) if k != axis)
    stream = Stream(((0, 1 if len(case.shape) == 1 else case.shape[1], 0),), (0,)) if case.stream and axis == 0 else case.stream
    return case.but(operands=operands, outputs=outputs, axis=axes, stream=stream)


def shapes(case: Case, at: tuple[int, ...] | None) -> Iterator[Case]:
    """Fewer elements, at first only that which is wrong, then by large steps, and fewer axes."""
    if at is not None and len(at) == len(case.shape) and max(case.shape, default=0) > 1:
        alone = case
        for axis, k in enumerate(at):
            alone = take(alone, axis, k, k + 1)
        yield alone
    for axis, n in enumerate(case.shape):
        if n > 1:
            yield take(case, axis, 0, 1)
            yield take(case, axis, n - 1, n)
            for step in (n >> shift for shift in range(1, n.bit_length())):
                yield take(case, axis, 0, n - step)
                yield take(case, axis, step, n)
        elif n == 1:
            yield drop(case, axis)


# Values -------------------------------------------------------------------------------------------------------------


def values(case: Case, at: tuple[int, ...] | None) -> Iterator[Case]:
    """Rounder numbers: everywhere, everywhere but at the place that is wrong, and one by one in small arrays."""
    for role, operand in case.operands.items():
        array = operand.values

        def put(changed: np.ndarray, role: str = role, operand: Operand = operand) -> Case:
            return with_operand(case, role, replace(operand, values=changed))

        if not array.size:
            continue
        if role == "where":
            if not array.all():
                yield put(np.ones_like(array))
            continue
        varied = bool((array != array.flat[0]).any())
        place = _place_in(array, at)
        if varied:
            for constant in (0, 1, *([] if place is None else [array[place]])):
                yield put(np.full_like(array, constant))
            for constant in (0, 1) if place is not None else ():
                changed = np.full_like(array, constant)
                changed[place] = array[place]
                yield put(changed)
        if array.size <= MOST_ELEMENTS:
            for k in range(array.size):
                chosen = (np.arange(array.size) == k).reshape(array.shape)
                for candidate in simpler(array.flat[k]):
                    yield from _replaced(put, array, chosen, candidate)
        elif varied:
            different = np.unique(array[array == array].astype(np.float64))
            if different.size > 2:
                yield put(np.where(array < array.ravel()[array.size // 2], array.min(), array.max()).astype(array.dtype))
                yield put(np.sign(array).astype(array.dtype))
            elif not np.isin(different, (0, 1)).all():
                for number in different:
                    for candidate in simpler(number):
                        yield from _replaced(put, array, array == number, candidate)
        else:
            for candidate in simpler(array.flat[0]):
                yield from _replaced(put, array, np.ones(array.shape, bool), candidate)


def _replaced(put: Callable[[np.ndarray], Case], array: np.ndarray, chosen: np.ndarray, number: float) -> Iterator[Case]:
    limits = np.iinfo(array.dtype) if array.dtype.kind in "iu" else None
    if limits is not None and not (limits.min <= number <= limits.max and number == int(number)):
        return
    with np.errstate(all="ignore"):
        changed = array.copy()
        changed[chosen] = array.dtype.type(number)
    if not (changed.astype(np.float64) == array.astype(np.float64)).all():
        yield put(changed)


# All together -------------------------------------------------------------------------------------------------------


def makes_sense(case: Case) -> bool:
    """Whether the loss accepts each parameter, and each operand repeats where its memory does."""
    if not all(accepts(case.name, number, case.working) for number in np.unique(case.parameters).tolist()):
        return False
    return all(
        (operand.values == operand.values.take([0], k)).all()
        for operand in case.operands.values()
        for k, step in enumerate(operand.place.steps or ())
        if step == 0 and operand.values.size
    )


def _kind(mismatch: Mismatch) -> str:
    if mismatch.what == "exception":
        return mismatch.text.split(":")[0]
    if mismatch.what.split()[0] in ("side", "elementwise"):
        return mismatch.what
    return "rounding" if mismatch.slight else "result"


def shrink(case: Case, mismatch: Mismatch, wrong: Wrong, seconds: float = 10.0) -> tuple[Case, Mismatch]:
    """A smaller case that is wrong in the same way, or this one, and what is wrong with it."""
    end, kind = time.monotonic() + seconds, _kind(mismatch)
    seen: set[bytes] = set()  # nothing is tried twice, so that no two steps undo each other

    def first_wrong(candidates: Iterator[Case]) -> tuple[Case, Mismatch] | None:
        for candidate in candidates:
            if time.monotonic() > end:
                return None
            key = hashlib.blake2b(pickle.dumps(candidate)).digest()
            if key in seen:
                continue
            seen.add(key)
            try:
                found = [m for m in wrong(candidate) if _kind(m) == kind] if makes_sense(candidate) else []
            except (ValueError, TypeError, IndexError, OverflowError):
                continue  # the candidate itself makes no sense
            if found:
                return candidate, found[0]
        return None

    steps = [
        lambda: shapes(case, mismatch.at),  # first, since the rest is quick with few elements
        lambda: settings(case),
        lambda: parameters(case, mismatch.at),
        lambda: places(case),
        lambda: values(case, mismatch.at),
    ]
    progress = True
    while progress:
        progress = False
        for step in steps:
            while (found := first_wrong(step())) is not None:
                case, mismatch = found
                progress = True
    return case, mismatch


def signature(case: Case, mismatch: Mismatch) -> tuple[Any, ...]:
    """What failures that have one cause have in common, roughly."""
    roles = [role for role in ("parameter", "weight", "grad_output") if role in case.operands]
    large = len([n for n in case.shape if n > 64]) > 1
    numbers = any(operand.number for role, operand in case.operands.items() if role in ("input", "target"))
    return (
        _kind(mismatch),
        mismatch.what in ("gradient", "hessian"),
        case.working.name,
        *roles,
        bool(case.mode),
        case.is_integer,
        large,
        numbers,
        any(output is not None and output.host for output in case.outputs),
    )
