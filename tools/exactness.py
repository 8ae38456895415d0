"""The guarantee of exact reductions on many random arrays: ``python -m tools.exactness --arrays 10000 --splits 1000``.

Prints the number of mismatches, the seed that brings the run back, and the seconds; exit code 1 if anything differs.
`tests/test_exact.py` and `tests/test_streaming.py` run the same checks on fewer arrays.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from cylosses.losses import LOSSES
from tests import generators
from tests.reference import ORACLE, reduced, same_bits
from tools.commands import parse_with_seed, parser_of

LONGEST = 5000


def mismatches(rng: np.random.Generator, loss_name: str, length: int, spread: str, dtype: type) -> list[str]:
    """Compare `sum` and `mean` of one random pair with the exact value rounded once; describe what differs."""
    parameter = generators.random_parameter(rng, dtype, loss_name)
    n_threads = int(rng.integers(1, 5))
    inputs, targets = generators.SPREADS[spread](rng, length, dtype)
    setting = ORACLE[loss_name].setting(parameter)
    cls = LOSSES[loss_name]
    losses = cls(reduction="none", **setting)(inputs, targets)
    found = []
    for reduction in ("sum", "mean"):
        got = cls(reduction=reduction, **setting)(inputs, targets, n_threads=n_threads)
        expected = reduced(losses, reduction)
        if not same_bits(got, expected):
            found.append(
                f"{loss_name} {reduction} {np.dtype(dtype)} length {length} {spread!r} {setting} "
                f"threads {n_threads}: got {got!r}, exact {expected!r}"
            )
    return found


def random_mismatches(rng: np.random.Generator) -> list[str]:
    """`mismatches` of one array with everything drawn at random."""
    # Half of the lengths evenly up to the longest, half of them evenly in size: short arrays have their own paths.
    length = int(rng.integers(LONGEST + 1)) if rng.random() < 0.5 else int(LONGEST ** rng.random())
    return mismatches(
        rng,
        str(rng.choice(list(ORACLE))),
        length,
        str(rng.choice(list(generators.SPREADS))),
        generators.DTYPES[rng.integers(len(generators.DTYPES))],
    )


def streamed(rng: np.random.Generator, loss, inputs: np.ndarray, targets: np.ndarray) -> bytes:
    """Cut one pair into random chunks, stream them in random order through several states, merge those; the bits."""
    length = inputs.size
    cuts = np.sort(rng.integers(0, length + 1, int(rng.integers(0, 60))))
    chunks = list(zip([0, *cuts.tolist()], [*cuts.tolist(), length], strict=True))
    states = [loss.streaming() for _ in range(rng.integers(1, 6))]
    for at in rng.permutation(len(chunks)).tolist():
        chunk = slice(*chunks[at])
        state = states[rng.integers(len(states))]
        state.update(inputs[chunk], targets[chunk], n_threads=int(rng.integers(1, 5)))
    while len(states) > 1:
        last = states.pop(int(rng.integers(len(states))))
        states[int(rng.integers(len(states)))].merge(last)
    if states[0].count != length:
        raise AssertionError(f"count is {states[0].count}, not {length}")
    return np.asarray(states[0].compute()).tobytes()


def distinct_patterns(rng: np.random.Generator, loss, dtype: type, length: int, splits: int) -> set[bytes]:
    """The bit patterns that random splits of one array give; the plain call's among them. One, if all is well."""
    inputs, targets = generators.SPREADS["gauss"](rng, length, dtype)
    patterns = {np.asarray(loss(inputs, targets, n_threads=n)).tobytes() for n in (1, 2, 3, 4)}
    return patterns.union(streamed(rng, loss, inputs, targets) for _ in range(splits))


def run_arrays(seed: int, count: int) -> int:
    rng = np.random.default_rng(seed)
    start = time.perf_counter()
    found = [message for _ in range(count) for message in random_mismatches(rng)]
    for message in found[:20]:
        print("  ", message)
    print(
        f"{count} arrays, sum and mean against exact fractions: {len(found)} mismatches "
        f"(seed {seed}, {time.perf_counter() - start:.1f} s)"
    )
    return len(found)


def run_splits(seed: int, count: int, length: int) -> int:
    rng = np.random.default_rng(seed)
    surplus = 0
    for name, cls in LOSSES.items():
        for dtype in generators.DTYPES:
            start = time.perf_counter()
            patterns = distinct_patterns(rng, cls(reduction="mean"), dtype, length, count)
            surplus += len(patterns) - 1
            print(
                f"{name} {np.dtype(dtype)}: {count} random splits of {length} elements: {len(patterns)} bit pattern(s) "
                f"(seed {seed}, {time.perf_counter() - start:.1f} s)"
            )
    return surplus


def main() -> int:
    parser = parser_of("tools.exactness", __doc__)
    parser.add_argument("--arrays", type=int, default=0, help="random arrays whose sum and mean are compared")
    parser.add_argument("--splits", type=int, default=0, help="random splits of one array for each loss and dtype")
    parser.add_argument("--length", type=int, default=1_000_000, help="elements of the array that is split")
    options = parse_with_seed(parser)
    if not options.arrays and not options.splits:
        parser.error("give --arrays N, --splits N or both")
    wrong = 0
    with np.errstate(all="ignore"):
        if options.arrays:
            wrong += run_arrays(options.seed, options.arrays)
        if options.splits:
            wrong += run_splits(options.seed, options.splits, options.length)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
