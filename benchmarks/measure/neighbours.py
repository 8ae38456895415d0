"""How busy other programs keep the machine while something is timed.

With as many threads as cores, one busy neighbour is enough to make two threads of ours share a core and wait for each other by
whole time slices, so a timing without this figure can be off by a factor of a hundred and look perfectly steady.
"""

import contextlib
import os
import time
from pathlib import Path

STAT = Path("/proc/stat")
BUSY = (0, 1, 2, 5, 6, 7)  # user, nice, system, irq, softirq, steal: fields of /proc/stat in ticks


def _machine_seconds() -> float | None:
    """Return the seconds that all CPUs have worked since the start of the machine; None where the system does not say."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = STAT.read_text().splitlines()[0].split()[1:]
        return sum(int(fields[k]) for k in BUSY) / os.sysconf("SC_CLK_TCK")
    return None


def usable_cpus() -> int:
    """Return the CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system


class Watch:
    """Counts the CPUs that others use, from its making on."""

    def __init__(self) -> None:
        self.start = time.perf_counter(), _machine_seconds(), _own_seconds()

    def busy_elsewhere(self) -> float:
        """Return how many CPUs other programs used on average; 0 where that cannot be known."""
        began, machine, own = self.start
        now = _machine_seconds()
        elapsed = time.perf_counter() - began
        if machine is None or now is None or elapsed <= 0:
            return 0.0
        return max(0.0, (now - machine - (_own_seconds() - own)) / elapsed)
