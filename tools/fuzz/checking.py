"""What the results of a call must be, by the oracle of the tests.

Elements: a few are compared with the formulas in exact arithmetic, and all of them in bits with what the library gives for the
same elements as small contiguous arrays. Everything that follows from the elements is compared with exact rationals.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cylosses.losses import LOSSES
from tests import reference
from tests.reference import GRADIENT_ULPS, ORACLE, same_bits

from .calls import Case, Operand, Outcome, perform

SAMPLED = 4  # elements of a case that are compared with 60 digits
SLIGHT = 8  # ulp
MOST_EXACT = 40  # products of a case that are computed in fractions
MOST_SLICES = 60
MOST_SUMS = 200  # of gradients that belong to one element of an operand
SMALL = 1000  # elements of the arrays that large ones are compared with


@dataclass(frozen=True)
class Mismatch:
    """One result that is wrong."""

    what: str  # the result, or "exception", "side effect", or "elementwise" and a quantity
    text: str
    at: tuple[int, ...] | None = None  # where it is
    got: Any = None
    expected: Any = None
    slight: bool = False  # a few units in the last place: a rounding too many, not another number


@dataclass
class Report:
    """What was done, and the largest error in ulp for each loss, working dtype and quantity of elements."""

    calls: int = 0
    comparisons: int = 0  # of a number with an exact one, or of an array in bits
    ulps: dict[tuple[str, str, str], float] = field(default_factory=lambda: defaultdict(float))


def plain(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Both operands as they are computed with: flat, contiguous, of the shape of the call, of the working dtype."""
    pair = [case.values(role) for role in ("input", "target")]
    with np.errstate(all="ignore"):
        if case.is_integer:
            errors = np.ascontiguousarray(np.broadcast_to(reference.exact_difference(*pair), case.shape)).ravel()
            return errors, np.zeros_like(errors)
        first, second = (np.ascontiguousarray(np.broadcast_to(a.astype(case.working), case.shape)).ravel() for a in pair)
    return first, second


def of_elements(case: Case, what: str, pair: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """One of reference.QUANTITIES of each element, by the library, from small contiguous arrays with one number as parameter each;
    of the working dtype.
    """
    results = np.empty(pair[0].size, case.working)
    for number, places in _by_parameter(case):
        loss = LOSSES[case.name](reduction="none", **ORACLE[case.name].setting(number))
        for k in range(0, places.size, SMALL):
            at = places[k : k + SMALL]
            part = tuple(operand[at] for operand in pair)
            if what == "value":
                found = loss(*part, n_threads=1)
            elif what == "derivative":
                found = loss.grad(*part, n_threads=1)
            else:
                found = loss.grad_and_hess(*part, curvature="exact" if what == "second_derivative" else "mm", n_threads=1)[1]
            results[at] = found
    return results


def _by_parameter(case: Case) -> Iterator[tuple[float, np.ndarray]]:
    """Each number that is a parameter, and the flat places of the elements that it is for."""
    if not math.prod(case.shape):
        return
    if "parameter" not in case.operands:
        yield case.parameter, np.arange(math.prod(case.shape))
        return
    numbers, of_element = np.unique(case.parameters, return_inverse=True)
    order = np.argsort(of_element.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(of_element.ravel(), minlength=numbers.size))
    yield from zip(numbers.tolist(), np.split(order, ends[:-1]), strict=True)


def _difference(got: np.ndarray, expected: np.ndarray) -> int:
    """The flat place of the first element that differs in bits."""
    got, expected = got.ravel(), expected.ravel()
    equal = ((got == expected) & (np.signbit(got) == np.signbit(expected))) | (np.isnan(got) & np.isnan(expected))
    return int(np.flatnonzero(~equal)[0])


class Check:
    """One case on its way through the comparisons."""

    def __init__(self, case: Case, report: Report, sampled: int) -> None:
        self.case = case
        self.sampled = sampled
        self.report = report
        self.mismatches: list[Mismatch] = []
        self.pair = plain(case)
        self.weight, self.where = case.values("weight"), case.values("where")
        self.known: dict[str, np.ndarray] = {}

    def elements(self, what: str) -> np.ndarray:
        """Of the shape of the call; a sample is compared with 60 digits."""
        if what not in self.known:
            found = of_elements(self.case, what, self.pair)
            errors = reference.difference(*self.pair, self.case.working)
            # The sample is spread by a step that has nothing in common with lengths of rows, and is the same in every run.
            at = np.unique(np.arange(self.sampled) * 7919 % found.size) if found.size else np.zeros(0, int)
            parameters = self.case.parameters.ravel()[at]
            worst, place = reference.largest_error(self.case.name, what, found[at], errors[at], parameters)
            self.report.comparisons += at.size
            key = (self.case.name, self.case.working.name, what)
            self.report.ulps[key] = max(self.report.ulps[key], worst)
            if worst > ORACLE[self.case.name].ulps[reference.QUANTITIES.index(what)]:
                exact = reference.elementwise(self.case.name, what, errors[at][place], parameters[place], self.case.working)
                self.wrong(
                    f"elementwise {what}",
                    f"{worst:.4g} ulp from the formula",
                    int(at[place]),
                    found[at[place]],
                    float(exact[0]),
                    self.case.shape,
                )
            self.known[what] = found.reshape(self.case.shape)
        return self.known[what]

    def wrong(
        self, what: str, text: str, at: int | None = None, got: Any = None, expected: Any = None, shape: tuple[int, ...] = ()
    ) -> None:
        place = None if at is None else tuple(int(k) for k in np.unravel_index(at, shape)) if shape else ()
        self.mismatches.append(Mismatch(what, text, place, got, expected))

    def has_form(self, what: str, got: np.ndarray, shape: tuple[int, ...]) -> bool:
        """Whether dtype and shape are right."""
        if got.dtype == self.case.dtype and got.shape == shape:
            return True
        self.wrong(what, f"is {got.dtype} of shape {got.shape} instead of {self.case.dtype} of shape {shape}")
        return False

    def bits(self, what: str, got: np.ndarray, expected: np.ndarray, at: np.ndarray | None = None) -> None:
        """Of all elements, or of those at flat places, for which `expected` is."""
        some = got if at is None else got.ravel()[at]
        self.report.comparisons += 1 if at is None else at.size
        if not same_bits(some, expected):
            k = _difference(some, expected)
            place = k if at is None else int(at[k])
            self.wrong(what, "differs", place, some.ravel()[k], expected.ravel()[k], got.shape)

    # Results --------------------------------------------------------------------------------------------------------

    def value(self, got: np.ndarray) -> None:
        case = self.case
        if not self.has_form("value", got, case.shape_of("value")):
            return
        with np.errstate(all="ignore"):
            losses = self.elements("value").astype(case.dtype)
        if case.reduction != "none":
            expected = reference.reduced_slices(losses, case.reduction, self.weight, self.where, case.axis, MOST_SLICES)
            if expected:
                self.bits("value", got, np.array(list(expected.values()), case.dtype), np.array(list(expected)))
        elif self.weight is None:
            self.bits("value", got, reference.weighted(losses, None, self.where))
        else:
            keep = reference.selection(case.shape, self.weight, self.where)
            at = reference.suspects(got, (np.where(keep, losses, case.dtype.type(0)), self.weight), 1, MOST_EXACT)
            weights = np.broadcast_to(self.weight, case.shape).ravel()[at]
            self.bits("value", got, reference.weighted(losses.ravel()[at], weights, keep.ravel()[at]), at)

    def scaled(self, what: str, got: np.ndarray, case: Case) -> None:
        """A gradient or Hessian of a case in which nothing that it belongs to is broadcast."""
        if what == "gradient":
            of, wrt, incoming = self.elements("derivative"), case.wrt, self.incoming(case)
        else:
            of, wrt, incoming = self.curvature(), "input", None
        if case.reduction != "mean" and self.weight is None and incoming is None:
            keep = reference.selection(case.shape, None, self.where)
            with np.errstate(all="ignore"):
                self.bits(what, got, np.where(keep, -of if wrt == "target" else of, of.dtype.type(0)).astype(case.dtype))
            return
        divisor = 1
        if case.reduction == "mean":
            axis = None if case.quantity == "grad_and_hess" else case.axis
            divisor = reference.divisors(case.shape, self.weight, self.where, axis)
        factor = 1 if incoming is None else incoming
        worst, at, exact = reference.gradient_error(got, of, factor, divisor, self.weight, self.where, wrt)
        self.report.comparisons += min(got.size, MOST_EXACT)
        if worst > GRADIENT_ULPS[case.dtype.name]:
            expected = reference.round_fraction(exact, case.dtype)
            self.wrong(what, f"is {worst:.4g} ulp off", at, got.ravel()[at], expected, got.shape)
            self.mismatches[-1] = replace(self.mismatches[-1], slight=worst < SLIGHT)

    def incoming(self, case: Case) -> np.ndarray | None:
        """grad_output in a shape that broadcasts to that of the call."""
        given = case.values("grad_output")
        if given is None or given.size == 1:
            return None if given is None else given.reshape(())
        return given if case.reduction == "none" else given.reshape(case.with_ones())

    def curvature(self) -> np.ndarray:
        if self.case.curvature == "ones":
            return np.ones(self.case.shape, self.case.working)
        return self.elements({"exact": "second_derivative", "mm": "irls_weight"}[self.case.curvature])

    def derivative(self, what: str, got: np.ndarray) -> None:
        case = self.case
        shape = case.shape_of(what)
        if not self.has_form(what, got, shape):
            return
        if shape == case.shape:
            self.scaled(what, got, case)
            return
        # The exact sum of what the library gives for operands that are there in full, which is checked itself.
        full = dict(case.operands)
        for role in ("input", "target"):
            values = case.operands[role].values
            if case.operands[role].number and not case.is_integer:  # has no width of its own
                values = values.astype(case.working)
            full[role] = Operand(np.broadcast_to(values, case.shape).copy())
        whole = case.but(operands=full, outputs=(), n_threads=1, mode=0)
        if whole.dtype != case.dtype:  # a Python number beside a half precision: its width is no other operand's
            return
        results = perform(whole).results[what]
        self.scaled(what, results, whole)
        at = reference.suspected_sums(got, results, MOST_SUMS)
        self.bits(what, got, reference.summed_gradient(results, shape, at), at)


def check(case: Case, report: Report, sampled: int = SAMPLED) -> list[Mismatch]:
    """Make the call and compare all that it returns, and so many elements with the formulas; what is wrong."""
    report.calls += 1
    try:
        outcome: Outcome = perform(case)
    except Exception as error:
        return [Mismatch("exception", f"{type(error).__name__}: {error}")]
    comparison = Check(case, report, sampled)
    for complaint in outcome.complaints:
        comparison.wrong("side effect", complaint)
    for what, got in outcome.results.items():
        if what == "value":
            comparison.value(got)
        else:
            comparison.derivative(what, got)
    report.comparisons += 1  # that memory and mode are as they were
    return comparison.mismatches


def measure(case: Case, report: Report) -> list[Mismatch]:
    """Compare a sample of the case's elements with the formulas, all four quantities; what is wrong."""
    comparison = Check(case, report, SAMPLED)
    for what in reference.QUANTITIES:
        comparison.elements(what)
    return comparison.mismatches
