"""Every loss on random calls of every kind against the exact oracle: ``python -m tests.property_run --cases 20000``.

A case draws loss, parameter, dtypes, layouts, shapes that broadcast or not, reduction, axis, weight, mask, incoming
gradient, curvature and threads. Losses of single elements are measured in ulps against 60 digits; everything that
follows from them (sums, means, weighting, scaling, broadcasting, masking) is compared in bits. Prints mismatches, the
largest ulp error of each loss, the seed that brings the run back, and the seconds; exit code 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from cylosses import BroadcastWarning
from cylosses.losses import LOSSES

from . import generators
from .reference import (
    ORACLE,
    QUANTITIES,
    difference,
    divisors,
    largest_error,
    reduced,
    same_bits,
    scaled_gradient,
    summed_gradient,
    weighted,
)

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = (np.dtype(np.float16), BFLOAT16, np.dtype(np.float32), np.dtype(np.float64))
INTEGERS = tuple(np.dtype(name) for name in ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"))
LAYOUTS = [name for name in generators.LAYOUTS if name != "memmap"]
SAMPLED = 6  # elements of a case that are compared with 60 digits
MOST_SLICES = 50  # exact sums take the time


def result_dtype(*dtypes: np.dtype) -> np.dtype:
    """What DESIGN 2.4 says: the widest float, float32 for the two half precisions together, float64 without floats."""
    floats = {dtype for dtype in dtypes if dtype in FLOATS}
    if floats == {np.dtype(np.float16), BFLOAT16}:
        return np.dtype(np.float32)
    return max(floats, key=lambda dtype: dtype.itemsize, default=np.dtype(np.float64))


def working_dtype(result: np.dtype) -> np.dtype:
    return np.dtype(np.float64) if result == np.float64 else np.dtype(np.float32)


@dataclass
class Case:
    """One drawn call: the operands as they are passed, and the settings."""

    name: str
    parameter: float
    operands: dict[str, np.ndarray]  # input, target and perhaps weight and where, in some layout
    reduction: str
    axis: Any
    keepdims: bool
    grad_output: Any
    wrt: str
    curvature: str
    n_threads: int | None

    def __str__(self) -> str:
        operands = ", ".join(f"{name} {a.dtype.str} {a.shape} strides {a.strides}" for name, a in self.operands.items())
        incoming = self.grad_output if np.ndim(self.grad_output) == 0 else f"shape {np.shape(self.grad_output)}"
        return (
            f"{self.name} {ORACLE[self.name].setting(self.parameter)} {self.reduction} axis={self.axis} keepdims={self.keepdims} "
            f"wrt={self.wrt} grad_output={incoming} {self.curvature} n_threads={self.n_threads}: {operands}"
        )


def _values(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype, spread: str) -> tuple[np.ndarray, np.ndarray]:
    """Values for input and target before broadcasting, exact in `dtype`."""
    size = int(np.prod(shape))
    if dtype in INTEGERS:
        info = np.iinfo(dtype) if dtype != np.bool_ else None
        low, high = (0, 1) if info is None else (max(info.min, -1000), min(info.max, 1000))
        first, second = rng.integers(low, high, (2, size), endpoint=True).astype(dtype)
        if info is not None and size and rng.random() < 0.3:
            first[rng.integers(size)] = info.max
            second[rng.integers(size)] = info.min
    elif dtype.itemsize == 2:
        first, second = (rng.standard_normal((2, size)) * 2.0 ** rng.integers(-14, 10, (2, size))).astype(dtype)
    else:
        first, second = generators.SPREADS[spread](rng, size, dtype.type)
        if size and rng.random() < 0.15:  # infinities and NaN
            first = first.copy()
            first[rng.integers(0, size, 1 + size // 20)] = rng.choice([np.inf, -np.inf, np.nan])
    return first.reshape(shape), second.reshape(shape)


def _weights(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    size = int(np.prod(shape))
    kind = rng.integers(5)
    if kind == 0:
        weights = rng.integers(0, 4, size).astype(INTEGERS[rng.integers(len(INTEGERS))])
    elif kind == 1:
        weights = rng.uniform(0, 3, size).astype(FLOATS[rng.integers(len(FLOATS))])
    elif kind == 2:
        weights = abs(generators.SPREADS["whole range"](rng, size, np.float64)[0])
    elif kind == 3:
        weights = abs(generators.SPREADS["any window"](rng, size, np.float32)[0])
    else:
        weights = rng.uniform(0, 1, size)
    weights[rng.random(size) < rng.choice([0.0, 0.3, 1.0], p=[0.4, 0.5, 0.1])] = 0
    return weights.reshape(shape)


def _part_of(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that broadcasts to `shape`, often that itself."""
    if rng.random() < 0.5:
        return shape
    part = tuple(1 if rng.random() < 0.4 else n for n in shape)
    return part[rng.integers(len(part) + 1) :] if rng.random() < 0.3 else part


def _shape(rng: np.random.Generator) -> tuple[int, ...]:
    kind = rng.integers(6)
    if kind == 0:
        return (int(rng.choice([0, 1, 2, 3, 7, 1024, 1025, 5000])),)
    if kind == 1:
        return (int(2000 ** rng.random()), int(rng.integers(0, 6)))
    if kind == 2:
        return ()
    return tuple(int(n) for n in rng.integers(1, 7, rng.integers(1, 5)))


def _laid_out(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    if array.ndim == 0 or array.size == 0 or rng.random() < 0.4:
        return array
    layout = str(rng.choice(LAYOUTS))
    if layout == "strided" and array.dtype not in FLOATS:  # that layout fills its gaps with NaN
        layout = "negative strides"
    if layout == "byte-swapped" and array.dtype == BFLOAT16:  # has no other byte order
        layout = "transposed"
    return generators.LAYOUTS[layout](array, Path(tempfile.gettempdir()))


def draw(rng: np.random.Generator, name: str | None = None) -> Case:
    """One case with everything drawn at random."""
    name = name or str(rng.choice(list(LOSSES)))
    spread = str(rng.choice(list(generators.SPREADS)))
    first = FLOATS[rng.choice(4, p=[0.1, 0.1, 0.4, 0.4])]
    second = first if rng.random() < 0.6 else (*FLOATS, *INTEGERS)[rng.integers(len(FLOATS) + len(INTEGERS))]
    if rng.random() < 0.05:
        first = INTEGERS[rng.integers(len(INTEGERS))]
    if rng.random() < 0.5:
        first, second = second, first
    shape = _shape(rng)
    shapes = (shape, shape) if rng.random() < 0.7 else (shape, _part_of(rng, shape))[:: rng.choice([1, -1])]
    operands = {
        "input": _values(rng, shapes[0], first, spread)[0],
        "target": _values(rng, shapes[1], second, spread)[1],
    }
    if first == second and shapes[0] == shapes[1]:  # spreads such as "near equal" concern pairs
        operands["input"], operands["target"] = _values(rng, shape, first, spread)
    parameter = generators.random_parameter(rng, working_dtype(result_dtype(first, second)), name)
    if first == second and first.itemsize >= 4 and first in FLOATS and shapes[0] == shapes[1] and rng.random() < 0.3:
        errors = generators.of_the_size_of(rng, parameter, int(np.prod(shape)), first)
        operands["input"], operands["target"] = errors.reshape(shape), np.zeros(shape, first)
    if rng.random() < 0.5:
        operands["weight"] = _weights(rng, _part_of(rng, shape))
    if rng.random() < 0.4:
        operands["where"] = rng.random(_part_of(rng, shape)) < rng.choice([0.0, 0.3, 0.9, 1.0])
    reduction = str(rng.choice(["none", "mean", "sum"]))
    axis = None
    if reduction != "none" and shape and rng.random() < 0.6:
        axes = rng.permutation(len(shape))[: rng.integers(len(shape) + 1)].tolist()
        axes = [k - len(shape) if rng.random() < 0.5 else k for k in axes]
        axis = axes[0] if len(axes) == 1 and rng.random() < 0.5 else tuple(axes)
        if np.prod([n for k, n in enumerate(shape) if not {k, k - len(shape)} & set(axes)]) > MOST_SLICES:
            axis = None
    grad_output = float(rng.standard_normal())
    if rng.random() < 0.4:
        left = shape
        if reduction != "none":
            reduced_axes = set(range(len(shape))) if axis is None else {k % len(shape) for k in np.ravel(axis).astype(int)}
            left = tuple(1 if k in reduced_axes else n for k, n in enumerate(shape))
        grad_output = rng.standard_normal(left)
    return Case(
        name=name,
        parameter=parameter,
        operands={role: _laid_out(rng, array) for role, array in operands.items()},
        reduction=reduction,
        axis=axis,
        keepdims=reduction != "none" and bool(rng.random() < 0.3),
        grad_output=grad_output,
        wrt=str(rng.choice(["input", "target"])),
        curvature=str(rng.choice(["exact", "mm", "ones"])),
        n_threads=None if rng.random() < 0.5 else int(rng.integers(1, 5)),
    )


@dataclass
class Report:
    """What a run found: mismatches, and the largest ulp error for each loss, dtype and quantity."""

    compared: int = 0
    mismatches: list[str] = field(default_factory=list)
    ulps: dict[tuple[str, str, str], float] = field(default_factory=lambda: defaultdict(float))

    def expect(self, case: Case, what: str, got: Any, expected: Any) -> None:
        self.compared += 1
        if not same_bits(got, expected):
            got, expected = np.asarray(got), np.asarray(expected)
            text = f"got {got.dtype} {got.shape}, expected {expected.dtype} {expected.shape}"
            if got.shape == expected.shape:
                equal = (got == expected) | (np.isnan(got) & np.isnan(expected))
                at = np.flatnonzero(~equal.ravel())[:1]
                text += f", first at {at}: {got.ravel()[at]!r} and {expected.ravel()[at]!r}" if at.size else ", zeros' signs"
            self.mismatches.append(f"{what} of {case}: {text}")

    def measure(self, case: Case, what: str, got: np.ndarray, errors: np.ndarray) -> None:
        worst, at = largest_error(case.name, what, got, errors, case.parameter)
        key = (case.name, got.dtype.name, what)
        self.ulps[key] = max(self.ulps[key], worst)
        if worst > ORACLE[case.name].ulps[QUANTITIES.index(what)]:
            self.mismatches.append(f"{what} of {case}: {worst:.2f} ulp at error {errors[at]!r}")


def check(case: Case, rng: np.random.Generator, report: Report) -> None:
    """Compare everything that a loss computes of one case with what the oracle says."""
    loss = LOSSES[case.name](reduction=case.reduction, **ORACLE[case.name].setting(case.parameter))
    x, t = case.operands["input"], case.operands["target"]
    weight, where = case.operands.get("weight"), case.operands.get("where")
    dtype = result_dtype(x.dtype.newbyteorder("="), t.dtype.newbyteorder("="))
    working = working_dtype(dtype)
    shape = np.broadcast_shapes(x.shape, t.shape)
    plain = [np.ascontiguousarray(np.broadcast_to(np.asarray(a).astype(working), shape)).reshape(shape) for a in (x, t)]

    # The elements: contiguous, of the working dtype, unweighted. A sample of them against 60 digits.
    element = LOSSES[case.name](reduction="none", **ORACLE[case.name].setting(case.parameter))
    slope, second = element.grad_and_hess(*plain)
    found = dict(zip(QUANTITIES, (element(*plain), slope, second, element.grad_and_hess(*plain, curvature="mm")[1]), strict=True))
    errors = difference(*plain, working).ravel()
    sample = rng.integers(0, errors.size, min(SAMPLED, errors.size)) if errors.size else []
    for what, got in found.items():
        report.measure(case, what, got.ravel()[sample], errors[sample])

    # What follows from the elements, in bits.
    with np.errstate(all="ignore"):
        losses = found["value"].astype(dtype)
    options = {name: case.operands[name] for name in ("weight", "where") if name in case.operands}
    options["n_threads"] = case.n_threads
    axis = {} if case.reduction == "none" else {"axis": case.axis}
    if case.reduction == "none":
        value = weighted(losses, weight, where)
        kept = value
    else:
        value = reduced(losses, case.reduction, weight, where, case.axis, case.keepdims)
        kept = reduced(losses, case.reduction, weight, where, case.axis)
    report.expect(case, "value", loss(x, t, **axis, **({"keepdims": case.keepdims} if axis else {}), **options), value)

    divisor = divisors(shape, weight, where, case.axis) if case.reduction == "mean" else 1

    def gradient(of: np.ndarray, incoming: Any, wrt: str, divisor: Any) -> np.ndarray:
        with np.errstate(all="ignore"):
            each = scaled_gradient(of, incoming, divisor, weight, where, wrt).astype(dtype)
        operand = {"input": x, "target": t}[wrt]
        return each if operand.shape == shape else summed_gradient(each, operand.shape)

    got = loss.grad(x, t, grad_output=case.grad_output, wrt=case.wrt, **axis, **options)
    report.expect(case, "gradient", got, gradient(slope, case.grad_output, case.wrt, divisor))

    got_value, got_gradient = loss.value_and_grad(x, t, **axis, **options)
    report.expect(case, "value with gradient", got_value, kept)
    report.expect(case, "gradient with value", got_gradient, gradient(slope, 1.0, "input", divisor))

    divisor = divisors(shape, weight, where) if case.reduction == "mean" else 1
    curved = {"exact": second, "mm": found["irls_weight"], "ones": np.ones_like(second)}[case.curvature]
    got_gradient, got_hessian = loss.grad_and_hess(x, t, curvature=case.curvature, **options)
    report.expect(case, "gradient with Hessian", got_gradient, gradient(slope, 1.0, "input", divisor))
    report.expect(case, "Hessian", got_hessian, gradient(curved, 1.0, "input", divisor))

    if case.reduction != "none":
        state = loss.streaming()
        state.update(x, t, weight, where, n_threads=case.n_threads)
        report.expect(case, "streaming", state.compute(), reduced(losses, case.reduction, weight, where))


def run(seed: int, cases: int) -> Report:
    rng = np.random.default_rng(seed)
    report = Report()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", BroadcastWarning)
        for number in range(cases):
            case = draw(rng, list(LOSSES)[number % len(LOSSES)])
            try:
                check(case, rng, report)
            except Exception as error:
                report.mismatches.append(f"{case}: {type(error).__name__}: {error}")
    return report


def table(report: Report) -> str:
    """The largest ulp error of each loss, a line for each dtype."""
    lines = [f"{'loss':<21}{'dtype':<9}" + "".join(f"{what:>19}" for what in QUANTITIES)]
    for name in LOSSES:
        for dtype in ("float32", "float64"):
            cells = "".join(f"{report.ulps[name, dtype, what]:19.2f}" for what in QUANTITIES)
            lines.append(f"{name:<21}{dtype:<9}{cells}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.property_run", description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=None, help="repeat a run; without it a new one is drawn")
    options = parser.parse_args()
    seed = secrets.randbits(32) if options.seed is None else options.seed
    start = time.perf_counter()
    report = run(seed, options.cases)
    for message in report.mismatches[:20]:
        print("  ", message)
    print("largest error in ulp against 60 digits at the rounded difference")
    print(table(report))
    print(
        f"{options.cases} cases, {report.compared} results compared in bits: {len(report.mismatches)} mismatches "
        f"(seed {seed}, {time.perf_counter() - start:.1f} s)"
    )
    return 1 if report.mismatches else 0


if __name__ == "__main__":
    sys.exit(main())
