"""The memory bandwidth that the machine has: the measure of the roofline and of what more cores would give."""

from collections.abc import Sequence

from benchmarks.measure.floors import copy_subject, dot_subject
from benchmarks.measure.harness import measure, rounded
from benchmarks.measure.rows import set_threads
from benchmarks.measure.works import normal
from benchmarks.peers import Peer

BANDWIDTH_ELEMENTS = 50_000_000  # float32: 200 MB an array, beyond any cache
QUICK_BANDWIDTH_ELEMENTS = 20_000_000


def bandwidth(threads: int, peers: Sequence[Peer], *, quick: bool = False) -> dict[str, dict[str, float]]:
    """Measure the memory bandwidth in bytes per second, for one and for all threads: reading, and copying (both ways counted)."""
    size = QUICK_BANDWIDTH_ELEMENTS if quick else BANDWIDTH_ELEMENTS
    x, y = normal(0, "float32", size), normal(1, "float32", size).copy()  # written to
    found = {}
    for count in dict.fromkeys((1, threads)):
        set_threads(count, peers)
        read, copy = measure([dot_subject(x, y), copy_subject(x, y)], 0.3 if quick else 2.0, count, 1 if quick else 3)
        found[str(count)] = {
            "read": rounded((x.nbytes + y.nbytes) / read.best),
            "copy": rounded((x.nbytes + y.nbytes) / copy.best),
        }
    return found
