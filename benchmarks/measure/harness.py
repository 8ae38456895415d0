"""The timing core: subjects take turns in one process, and what counts is the median of their per-round ratios.

Decisions, with their reasons:
(a) A B A B: on a shared machine the clock, the caches and the neighbours change from second to second. Two times taken a few
    milliseconds apart see the same machine, so a ratio within a round means something where the times themselves do not.
(b) The minimum says what the code can do, the median of the ratios what to expect; both are kept, with every single time.
(c) Calls of less than a millisecond are repeated in a loop until a timing takes about one. The loop is generated for the very call
    (`f(a, b, out=c)`), since a lambda in between would cost as much as the smallest calls do.
(d) The waiting threads of the previous subject's runtime spin on our cores for some milliseconds. So before each timing a short
    subject runs untimed for about as long, which also wakes its own threads and fills the cache; before a long one the process
    sleeps.
(e) A subject that takes far longer than the library and a good part of the row's time gets three rounds, which show that as well as
    thirty would. They come on top: the time of a row is what the others have, so that a slow peer takes no rounds from them.
(f) With a neighbour on one of the cores, threads that wait for each other lose whole time slices, and a row is off by a factor of
    ten or a hundred. So the load of other programs is watched, and so is the gap between best and median times: such a row is
    measured again, a second later, and marked as disturbed if that does not help: the suite's `--redo-disturbed` is for another
    hour. Calibration and warming up are done once.
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.measure.neighbours import Watch, usable_cpus

SHORTEST_TIMING = 1e-3  # seconds; a thousand times the clock's grain and a call's jitter
SETTLE = 4e-3  # seconds; libgomp spins for 300,000 pauses
DISTURBED = 2.5  # median time over best time
BUSY_ELSEWHERE = 0.25  # CPUs, on average, that other programs may take from ours
ATTEMPTS = 2
PAUSE = 1.0  # seconds before the next attempt
FEWEST_ROUNDS = 3
MOST_ROUNDS = 31
SLOW_ROUNDS = 3
SLOW_RATIO = 4  # over the time of the library: never the fastest peer
SLOW_SHARE = 1 / 32  # of the seconds of a row, for one timing


@dataclass(frozen=True)
class Subject:
    """One call to time.

    Attributes
    ----------
    name : str
        What it is called in tables; unique in its row.
    function, args, kwargs
        The call; its arguments are passed as they stand.
    kind : {'floor', 'cylosses', 'peer', 'reference'}
        The role in the row. A reference is shown, and compared with nothing.
    """

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    kind: str = "peer"

    def call(self) -> Any:
        """Make the call once and return its result."""
        return self.function(*self.args, **self.kwargs)

    def timer(self) -> Callable[[int], float]:
        """Return a function that makes the call n times and returns the seconds that took."""
        positional = [f"a{k}" for k in range(len(self.args))]
        keywords = [f"k{k}" for k in range(len(self.kwargs))]
        passed = positional + [f"{name}={local}" for name, local in zip(self.kwargs, keywords, strict=True)]
        source = (
            f"def timer(n, {', '.join(['call', 'clock', *positional, *keywords])}):\n"
            f"    start = clock()\n"
            f"    for _ in range(n):\n"
            f"        call({', '.join(passed)})\n"
            f"    return clock() - start\n"
        )
        names: dict[str, Any] = {}
        exec(source, names)
        timer = names["timer"]
        bound = (self.function, time.perf_counter, *self.args, *self.kwargs.values())
        return lambda n: timer(n, *bound)


@dataclass
class Timing:
    """The times of one subject: seconds per call, one for each round that it took part in."""

    subject: Subject
    repeat: int
    times: list[float] = field(default_factory=list)
    elsewhere: float = 0.0  # CPUs that other programs used meanwhile
    contended: float = 0.0  # CPUs that they used and our threads wanted

    @property
    def best(self) -> float:
        """The shortest time."""
        return min(self.times)

    @property
    def disturbed(self) -> bool:
        """Whether most rounds were far slower than the best one, or other programs kept a CPU busy."""
        return self.contended > BUSY_ELSEWHERE or statistics.median(self.times) > DISTURBED * self.best


def calibrate(timer: Callable[[int], float]) -> tuple[int, float]:
    """Warm up and find the repeats that make a timing long enough.

    Returns
    -------
    tuple of (repeats, seconds of one call)
    """
    timer(1)  # may compile, or touch fresh memory
    repeat, seconds = 1, timer(1)
    if seconds < 50 * SHORTEST_TIMING:  # a disturbed call must not pass for a long one
        seconds = min(seconds, *(timer(1) for _ in range(4)))
    while seconds < SHORTEST_TIMING:
        repeat = min(10 * repeat, int(repeat * 1.2 * SHORTEST_TIMING / max(seconds, 1e-9)) + 1)
        seconds = timer(repeat)
    return repeat, seconds / repeat


def measure(subjects: Sequence[Subject], seconds: float, threads: int = 1, attempts: int = ATTEMPTS) -> list[Timing]:
    """Time the subjects in turns for about so many seconds, again if the first or second of them was disturbed.

    Parameters
    ----------
    subjects : sequence of Subject
        The first is the one that the others are compared with.
    seconds : float
        To spend on timing, slow subjects not counted; at least `FEWEST_ROUNDS` rounds are made, however long they take.
    threads : int
        That the subjects use.
    attempts : int
        After which a disturbed result is kept.

    Returns
    -------
    list of Timing
        In the order of the subjects.
    """
    timers = [subject.timer() for subject in subjects]
    calibrated = [calibrate(timer) for timer in timers]
    found: list[list[Timing]] = []
    for number in range(attempts):
        if number:
            time.sleep(PAUSE)
        watch = Watch()
        timings = [Timing(subject, repeat) for subject, (repeat, _) in zip(subjects, calibrated, strict=True)]
        _take_turns(timings, timers, [once for _, once in calibrated], seconds)
        elsewhere = watch.busy_elsewhere()
        for timing in timings:
            timing.elsewhere = elsewhere
            timing.contended = elsewhere + threads - usable_cpus()
        found.append(timings)
        if not any(timing.disturbed for timing in timings[:2]):
            break
    else:  # no attempt was quiet: the best times of all of them are the best there is
        for timing, *others in zip(*found, strict=True):
            for other in others:
                timing.times += other.times
                timing.contended = max(timing.contended, other.contended)
        return found[0]
    return found[-1]


def _take_turns(timings: Sequence[Timing], timers: Sequence[Callable[[int], float]], once: Sequence[float], seconds: float) -> None:
    """Fill the timings; `once` are the seconds of one call of each subject."""
    library = max(timing.repeat * call for timing, call in zip(timings[:2], once, strict=False))
    least = max(SLOW_RATIO * library, SLOW_SHARE * seconds)
    slow = [timing.repeat * call > least for timing, call in zip(timings, once, strict=True)]
    spent = 0.0
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for number in range(MOST_ROUNDS):
            if number >= FEWEST_ROUNDS and spent > seconds:
                break
            for timing, timer, call, is_slow in zip(timings, timers, once, slow, strict=True):
                if is_slow and number >= SLOW_ROUNDS:
                    continue
                start = time.perf_counter()
                if call < SETTLE:
                    timer(int(SETTLE / 2 / call) + 1)
                else:
                    time.sleep(SETTLE)
                timing.times.append(timer(timing.repeat) / timing.repeat)
                if not is_slow:
                    spent += time.perf_counter() - start
    finally:
        if enabled:
            gc.enable()


def ratios(times: Iterable[float], of: Iterable[float]) -> dict[str, float]:
    """Return the median and the quartiles of the per-round ratios of two lists of times."""
    each = sorted(a / b for a, b in zip(times, of, strict=False))  # a subject that sat out has fewer rounds
    if len(each) < 2:
        return {"median": each[0], "low": each[0], "high": each[0]}
    low, _, high = statistics.quantiles(each, n=4, method="inclusive")
    return {"median": statistics.median(each), "low": low, "high": high}


def rounded(value: float) -> float:
    """Return a figure with four significant digits: more would be noise, and make the JSON long."""
    return float(f"{value:.4g}")


def summary(timings: Sequence[Timing]) -> dict[str, dict[str, Any]]:
    """Return what the JSON keeps of a row: per subject its role, times, and ratios to the first."""
    first = timings[0]
    return {
        timing.subject.name: {
            "kind": timing.subject.kind,
            "best": rounded(timing.best),
            "median": rounded(statistics.median(timing.times)),
            "ratio": rounded(ratios(timing.times, first.times)["median"]),
            "best_ratio": rounded(timing.best / first.best),
            "disturbed": timing.disturbed,
            "elsewhere": round(timing.elsewhere, 2),
            "repeat": timing.repeat,
            "times": [rounded(seconds) for seconds in timing.times],
        }
        for timing in timings
    }
