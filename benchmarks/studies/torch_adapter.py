"""`cylosses.torch` beside torch's own losses, forward and backward: ``python -m benchmarks.studies.torch_adapter``.

A row is one step of a training loop: the loss of a tensor that requires grad, ``loss.backward()``, and the gradient dropped, which
is new memory each time for both. "forward" is the loss alone, under ``no_grad``. "operator" is the same step through the operator
that compilers see. Ratios are times of `cylosses.torch` over those of torch in the same round: below 1 it is the faster.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import torch

import cylosses.torch
from benchmarks.measure.harness import Subject, measure, summary
from benchmarks.measure.works import normal
from benchmarks.report.tables import markdown_table, seconds_text, size_text
from cylosses import LOSSES

SIZES = (16, 4_096, 100_000, 1_000_000, 50_000_000)
SHARED = [name for name in LOSSES if hasattr(torch.nn.functional, f"{name}_loss")]
WORKS = ("mean", "sum", "none", "forward", "operator")


def step(loss: Callable[..., Any], reduction: str) -> Callable[..., None]:
    """Return a step of training: forward and backward."""

    def forward_backward(input: torch.Tensor, target: torch.Tensor, incoming: torch.Tensor | None) -> None:
        loss(input, target, reduction=reduction).backward(incoming)
        input.grad = None

    return forward_backward


def forward(loss: Callable[..., Any]) -> Callable[..., None]:
    """Return the loss alone."""

    def under_no_grad(input: torch.Tensor, target: torch.Tensor, incoming: None) -> None:
        with torch.no_grad():
            loss(input, target)

    return under_no_grad


def through_the_operator(name: str) -> Callable[..., Any]:
    """Return the loss as compiled code calls it."""
    operator = getattr(torch.ops.cylosses, f"{name}_loss").default
    parameter = LOSSES[name].default
    return lambda x, y, reduction: operator(x, y, None, None, reduction, parameter, None)


def subjects(name: str, work: str, size: int) -> list[Subject]:
    """Return what is timed: ours, and torch's own."""
    x, y = (torch.from_numpy(normal(seed, "float32", size)) for seed in (0, 1))
    reduction = work if work in ("mean", "sum", "none") else "mean"
    arguments = (x.requires_grad_(), y, torch.ones(size) if work == "none" else None)
    ours, theirs = getattr(cylosses.torch, f"{name}_loss"), getattr(torch.nn.functional, f"{name}_loss")
    if work == "forward":
        pair = forward(ours), forward(theirs)
    else:
        first = through_the_operator(name) if work == "operator" else ours
        pair = step(first, reduction), step(theirs, reduction)
    return [Subject(label, function, arguments) for label, function in zip(("cylosses", "torch"), pair, strict=True)]


def row(name: str, work: str, size: int, seconds: float) -> Sequence[str]:
    """Time one row."""
    found = summary(measure(subjects(name, work, size), seconds, torch.get_num_threads(), attempts=1))
    ours, theirs = found["cylosses"], found["torch"]
    mark = "~" if ours["disturbed"] or theirs["disturbed"] else ""
    ratio = f"{mark}{1 / theirs['ratio']:.2f}"
    return name, work, size_text(size), seconds_text(ours["best"]), seconds_text(theirs["best"]), ratio


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--losses", nargs="+", default=SHARED, choices=SHARED)
    parser.add_argument("--works", nargs="+", default=WORKS, choices=WORKS)
    parser.add_argument("--threads", type=int, help="as many as torch has by default")
    parser.add_argument("--seconds", type=float, default=0.5, help="to spend on a row")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    rows = [row(name, work, size, options.seconds) for name in options.losses for work in options.works for size in options.sizes]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32; ~ is disturbed by other programs\n")
    print(markdown_table(["loss", "work", "elements", "cylosses", "torch", "ratio"], rows))


if __name__ == "__main__":
    main()
