"""What `import cylosses` costs beyond `import numpy`, in fresh interpreters that take turns."""

import statistics
import subprocess
import sys
from typing import Any

from benchmarks.measure.harness import rounded

# Timed inside: starting the interpreter is not what is asked for, and varies more.
PROGRAM = """
import time
start = time.perf_counter()
import numpy
middle = time.perf_counter()
import cylosses
print(middle - start, time.perf_counter() - middle)
"""


def run(rounds: int = 11) -> dict[str, Any]:
    """Return the medians in seconds of importing numpy and, after it, cylosses."""
    of_numpy, of_library = [], []
    for number in range(rounds + 1):
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
        first, second = map(float, done.stdout.split())
        if number:  # the first reads the files from the disk
            of_numpy.append(first)
            of_library.append(second)
    return {
        "rounds": rounds,
        "numpy": rounded(statistics.median(of_numpy)),
        "cylosses": rounded(statistics.median(of_library)),
        "cylosses_best": rounded(min(of_library)),
    }
