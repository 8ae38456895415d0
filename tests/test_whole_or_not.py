"""Operations happen whole or not at all: exceptions of signal handlers, forks beside threads, bad weights that are found late."""

from __future__ import annotations

import random
import signal

import numpy as np
import pytest

from cylosses import LOSSES, L1Loss, StreamingLoss
from cylosses.losses import Loss

from .test_threads import needs_fork, run

has_timers = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="about signals of timers, as POSIX has them")
INTERRUPTS = 10_000


class InterruptedCallError(Exception):
    """What the handler raises."""


@pytest.fixture
def interrupts(request):
    """Run a function again and again until a signal's handler raises, so many times."""

    def handler(number, frame):
        raise InterruptedCallError

    def run_interrupted(function, times):
        for _ in range(times):
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 6e-5))
                while True:
                    function()
            except InterruptedCallError:
                pass

    before = signal.signal(signal.SIGALRM, handler)
    yield run_interrupted
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@has_timers
@pytest.mark.parametrize("operation", ["update", "merge"])
@pytest.mark.parametrize(("axis", "columns"), [(None, ()), (0, (2,))])  # so few that updates end between two signals
def test_a_handler_that_raises_finds_whole_updates(operation, axis, columns, interrupts):
    total, piece = L1Loss("sum").streaming(axis), L1Loss("sum").streaming(axis)
    x, t = np.full((3, *columns), 2.0), np.zeros((3, *columns))
    weight = np.array([1.0, 1.0, 4.0]).reshape(3, *(1 for _ in columns))
    piece.update(x, t, weight)
    step = {"update": lambda: total.update(x, t, weight), "merge": lambda: total.merge(piece)}[operation]
    torn = 0
    for _ in range(INTERRUPTS // 100):
        interrupts(step, 100)
        # Each step adds 3 elements, 6 of weight and 12 of weighted loss, to each slice.
        mean = StreamingLoss(L1Loss(), axis)
        mean._add(total._content)
        torn += len(set(np.ravel(total.count).tolist())) > 1 or bool(np.any(total.exact() != 4 * total.count))
        torn += bool(np.any(mean.exact() != 2))
    assert np.min(total.count) > INTERRUPTS // 10
    assert torn == 0


total_or_slices = pytest.mark.parametrize(("axis", "shape"), [(None, (3,)), (0, (3, 2)), (0, (3, 70))])  # 70 merge without the GIL


@needs_fork
@total_or_slices
def test_children_that_are_forked_beside_updating_threads(axis, shape):
    script = """
        import os, signal, threading, warnings
        import numpy as np
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of a fork beside threads
        from cylosses import L1Loss
        total = L1Loss().streaming(AXIS)
        x, t = np.ones(SHAPE), np.zeros(SHAPE)  # so few that threads are nearly always where totals are added
        total.update(x, t)
        stop = threading.Event()

        def keep_updating():
            while not stop.is_set():
                total.update(x, t)

        threads = [threading.Thread(target=keep_updating) for _ in range(3)]
        for thread in threads:
            thread.start()
        failed = 0
        for _ in range(50):
            child = os.fork()
            if child == 0:
                signal.alarm(5)  # ends a child that hangs
                total.update(x, t)
                counts = set(np.ravel(total.count).tolist())
                os._exit(0 if np.all(total.compute() == 1) and len(counts) == 1 and counts.pop() % 3 == 0 else 1)
            _, status = os.waitpid(child, 0)
            failed += status != 0
        stop.set()
        for thread in threads:
            thread.join()
        print("failed:", failed)
        """
    assert run(script.replace("AXIS", repr(axis)).replace("SHAPE", repr(shape))) == "failed: 0"


@total_or_slices
def test_threads_lose_no_update(axis, shape):
    script = """
        import sys, threading
        import numpy as np
        from cylosses import L1Loss
        sys.setswitchinterval(1e-6)
        total, x, t = L1Loss("sum").streaming(AXIS), np.ones(SHAPE), np.zeros(SHAPE)

        def update():
            for _ in range(3000):
                total.update(x, t)

        threads = [threading.Thread(target=update) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(*set(np.ravel(total.count).tolist()), *set(np.ravel(total.compute()).tolist()))
        """
    assert run(script.replace("AXIS", repr(axis)).replace("SHAPE", repr(shape))) == "36000 36000.0"


# An output that overlaps an input, and a weight that is bad at the end ----------------------------------------------------


def _calls(loss: Loss) -> dict[str, object]:
    """What writes elementwise results: each takes input, target, weight and where to write."""
    calls = {
        "grad": lambda x, t, w, out: loss.grad(x, t, weight=w, out=out),
        "grad of target": lambda x, t, w, out: loss.grad(x, t, weight=w, wrt="target", out=out),
        "gradient of grad_and_hess": lambda x, t, w, out: loss.grad_and_hess(x, t, weight=w, out=(out, None)),
        "Hessian": lambda x, t, w, out: loss.grad_and_hess(x, t, weight=w, out=(None, out)),
        "gradient of value_and_grad": lambda x, t, w, out: loss.value_and_grad(x, t, weight=w, out=out),
    }
    if loss.reduction == "none":
        calls["value"] = lambda x, t, w, out: loss(x, t, weight=w, out=out)
        calls["value of value_and_grad"] = lambda x, t, w, out: loss.value_and_grad(x, t, weight=w, out=(out, None))
    return calls


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("size", [5, 5000])
@pytest.mark.parametrize("layout", ["contiguous", "strided", "shifted", "weight too", "lists"])
def test_an_output_that_overlaps_an_input_stays_as_it_was(reduction, size, layout, rng):
    loss = LOSSES["huber"](reduction=reduction)
    for name, call in _calls(loss).items():
        host = rng.standard_normal(2 * size + 2)
        weight = rng.uniform(1, 2, size)
        weight[-1] = -1
        x = out = host[:size]
        if layout == "strided":
            x = out = host[: 2 * size : 2]
        elif layout == "shifted":
            out = host[1 : size + 1]
        elif layout == "weight too":
            x, out = rng.standard_normal(size), weight
        t = rng.standard_normal(size).tolist() if layout == "lists" else rng.standard_normal(size)
        before = host.copy(), weight.copy()
        with pytest.raises(ValueError, match="weight"):
            call(x, t, weight, out)
        assert np.array_equal(host, before[0]), name
        assert np.array_equal(weight, before[1]), name


def test_an_output_that_overlaps_grad_output_stays_as_it_was(rng):
    x, t, out = rng.standard_normal((3, 2000))
    weight = np.r_[np.ones(1999), np.nan]
    before = out.copy()
    with pytest.raises(ValueError, match="weight"):
        LOSSES["mse"](reduction="none").grad(x, t, grad_output=out, weight=weight, out=out)
    assert np.array_equal(out, before)


@pytest.mark.filterwarnings("ignore::cylosses.BroadcastWarning")
def test_broadcast_operands_too(rng):
    x, t = rng.standard_normal((40, 30)), rng.standard_normal((40, 1))
    weight = np.ones((40, 30))
    weight[-1, -1] = np.inf
    before = x.copy()
    with pytest.raises(ValueError, match="weight"):
        LOSSES["tukey"](reduction="sum").grad(x, t, weight=weight, out=x)
    assert np.array_equal(x, before)
