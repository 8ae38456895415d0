"""Peak memory of the mean over strided, mixed-dtype and broadcast pairs, above the inputs.

python -m benchmarks.studies.peak_memory [--elements 200000000]

Each case runs in a process of its own, which touches every page of its inputs, notes its resident peak, computes, and notes the
peak again.
"""

import argparse
import subprocess
import sys

CASES = {
    "strided": ("np.ones(2 * n, np.float32)[::2]", "np.full(2 * n, 3, np.float32)[::2]"),
    "negative strides": ("np.ones(n, np.float32)[::-1]", "np.full(n, 3, np.float32)"),
    "mixed dtypes": ("np.ones(n, np.float32)", "np.full(n, 3, np.int16)"),
    "float32 with float64": ("np.ones(n, np.float32)", "np.full(n, 3, np.float64)"),
    "byte-swapped": ("np.ones(n, '>f4')", "np.full(n, 3, np.float32)"),
    "broadcast": ("np.ones((n // 1000, 1000), np.float32)", "np.full(1000, 3, np.float32)"),
    "weighted": ("np.ones(n, np.float32)", "np.full(n, 3, np.float32)", "np.ones(n, np.float32)"),
}

CHILD = """
import resource, sys, warnings
import numpy as np
import cylosses
warnings.simplefilter("ignore", cylosses.BroadcastWarning)
n = int(sys.argv[1])
arrays = [eval(text) for text in sys.argv[2:]]
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
weight = arrays[2] if len(arrays) == 3 else None
before = peak()
value = cylosses.smooth_l1_loss(arrays[0], arrays[1], weight=weight)
print(peak() - before, before, repr(value))
"""


def main() -> None:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--elements", type=int, default=200_000_000)
    n = parser.parse_args().elements
    print(f"{'case':<22} {'inputs, MB':>12} {'above, MB':>12}   mean of {n:,} elements")
    for name, arrays in CASES.items():
        command = [sys.executable, "-c", CHILD, str(n), *arrays]
        above, before, value = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split(maxsplit=2)
        print(f"{name:<22} {int(before) / 1024:>12.1f} {int(above) / 1024:>12.2f}   {value.strip()}")


if __name__ == "__main__":
    main()
