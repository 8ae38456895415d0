"""Nanoseconds of a call of cylosses.views beside the pointer functions: ``python -m benchmarks.c_level.views``."""

import argparse
import sys
import timeit
from types import ModuleType

import numpy as np

import cylosses
from benchmarks.c_level.build import load
from cylosses import views
from cylosses.capi import Curvature, LossCode, Reduction

FUNCTIONS = ("value", "value_and_gradient", "gradient_and_hessian")
HEAD = ("function", "weight", "pointers", "views", "views, Python", "functional")
LINE = "{:<22} {:<7} {:>9} {:>9} {:>14} {:>11}"


def row(driver: ModuleType, function: str, size: int, weighted: bool, rounds: int, repeat: int) -> list[float]:
    """Return the best nanoseconds of a call: of pointer function and views in Cython, of views and functional in Python."""
    generator = np.random.default_rng(0)
    x, y, weight = generator.random((3, size))
    given = weight if weighted else None
    gradient, hessian = np.empty((2, size))
    subject = driver.Views(x, y, given, gradient, hessian)
    code = LossCode.HUBER, 1.0, Reduction.MEAN
    loss = cylosses.HuberLoss()
    calls = {
        "value": (lambda: views.value(*code, x, y, given), lambda: loss(x, y, weight=given)),
        "value_and_gradient": (
            lambda: views.value_and_gradient(*code, x, y, gradient, given),
            lambda: loss.value_and_grad(x, y, weight=given, out=gradient),
        ),
        "gradient_and_hessian": (
            lambda: views.gradient_and_hessian(*code, Curvature.MM_CURVATURE, x, y, gradient, hessian, given),
            lambda: loss.grad_and_hess(x, y, weight=given, curvature="mm"),
        ),
    }[function]
    best = [np.inf] * 4
    for _ in range(rounds):
        times = [subject.time(function, with_views, LossCode.HUBER, 1.0, 10 * repeat) for with_views in (False, True)]
        times += [timeit.timeit(call, number=repeat) / repeat for call in calls]
        best = [min(pair) for pair in zip(best, times, strict=True)]
    return [1e9 * seconds for seconds in best]


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.c_level.views", description="Time calls on few elements.")
    parser.add_argument("--size", type=int, default=16, metavar="N")
    parser.add_argument("--rounds", type=int, default=15, metavar="N")
    parser.add_argument("--repeat", type=int, default=10_000, metavar="N", help="calls of a round")
    options = parser.parse_args(argv)
    driver = load()
    print(f"ns per call, {options.size} elements of float64, best of {options.rounds} rounds")
    print(LINE.format(*HEAD))
    for function in FUNCTIONS:
        for weighted in (False, True):
            figures = row(driver, function, options.size, weighted, options.rounds, options.repeat)
            print(LINE.format(function, "yes" if weighted else "no", *(f"{figure:.0f}" for figure in figures)), flush=True)
    array = np.ones(options.size)
    taking = min(driver.time_taking(array, options.repeat) for _ in range(options.rounds))
    print(f"a memoryview takes {1e9 * taking:.0f} ns to make of an array and to give back, with the GIL")
    return 0


if __name__ == "__main__":
    sys.exit(main())
