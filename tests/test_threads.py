"""Threads: how many, set where, and that neither forking nor calling from many threads at once does harm."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

import cylosses
from cylosses import _threads, smooth_l1_loss, smooth_l1_loss_backward
from cylosses._core import builds

from .generators import SPREADS
from .reference import same_bits

# In scripts: how many threads a call starts, which OpenMP then keeps. The main thread is not among them.
COUNT_WORKERS = """
import os
import numpy as np
from cylosses import get_num_threads, set_num_threads, smooth_l1_loss

data = np.ones(1_000_000)

def workers(**keywords):
    before = len(os.listdir("/proc/self/task"))
    smooth_l1_loss(data, 0 * data, **keywords)
    return len(os.listdir("/proc/self/task")) - before
"""

needs_openmp = pytest.mark.skipif(not builds.build_info()["openmp"], reason="built without OpenMP: one thread")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity masks here")
needs_tasks = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")


def run(script, timeout=60, **environment):
    """Run a script in a new interpreter, fail on errors and hangs, and return what it printed."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "CYLOSSES_"))}
    # The package is imported from where this process found it, installed or not.
    inherited["PYTHONPATH"] = str(Path(cylosses.__file__).parent.parent)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.strip()


# How many -----------------------------------------------------------------------------------------------------------


def test_set_and_get(keep_num_threads):
    for count in (1, 2, 3, 4):
        cylosses.set_num_threads(count)
        assert cylosses.get_num_threads() == count


def test_results_do_not_depend_on_the_default(keep_num_threads, rng):
    inputs, targets = SPREADS["any window"](rng, 500_001, np.float32)
    results = []
    for count in (1, 2, 3, 4):
        cylosses.set_num_threads(count)
        results.append(
            [smooth_l1_loss(inputs, targets, reduction) for reduction in ("none", "mean", "sum")]
            + [smooth_l1_loss_backward(1.0, inputs, targets)]
        )
    for other in results[1:]:
        assert all(map(same_bits, other, results[0]))


def test_the_argument_does_not_change_the_default(keep_num_threads):
    smooth_l1_loss(np.ones(300_000), np.zeros(300_000), n_threads=4)
    assert cylosses.get_num_threads() == keep_num_threads


def test_more_threads_than_elements_or_processors(rng):
    inputs, targets = SPREADS["gauss"](rng, 200_000, np.float32)
    for length in (0, 1, 3, 1025, 200_000):
        expected = smooth_l1_loss(inputs[:length], targets[:length], n_threads=1)
        assert same_bits(smooth_l1_loss(inputs[:length], targets[:length], n_threads=64), expected)


@pytest.mark.parametrize("count", [np.int64(2), np.uint8(2)])
def test_integers_of_numpy_are_integers(count, keep_num_threads):
    assert smooth_l1_loss([3.0], [1.0], n_threads=count) == 1.5
    cylosses.set_num_threads(count)
    assert cylosses.get_num_threads() == 2


@needs_openmp
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_environment_sets_the_default(count):
    script = "import cylosses; print(cylosses.get_num_threads())"
    assert run(script, OMP_NUM_THREADS=str(count)) == str(count)


@needs_affinity
def test_without_the_environment_it_is_what_this_process_may_use():
    counts = run("import os, cylosses; print(cylosses.get_num_threads(), len(os.sched_getaffinity(0)))").split()
    assert 1 <= int(counts[0]) <= int(counts[1])
    one = run("""
        import os
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
        import cylosses
        print(cylosses.get_num_threads())
        """)
    assert one == "1"


def test_setting_it_wins_over_the_environment():
    script = "import cylosses; cylosses.set_num_threads(3); print(cylosses.get_num_threads())"
    assert run(script, OMP_NUM_THREADS="1") == "3"


@pytest.mark.parametrize("value", ["", "abc", "0", "-1", "2,1"])
def test_an_odd_environment_does_not_break_the_import(value):
    count = run("import cylosses; print(cylosses.get_num_threads())", OMP_NUM_THREADS=value)
    assert int(count.splitlines()[-1]) >= 1


def default_with_quota(monkeypatch, tmp_path, text):
    """The default with eight CPUs and that cpu.max."""
    quota = tmp_path / "cpu.max"
    if text is not None:
        quota.write_text(text)
    monkeypatch.setattr(_threads, "CGROUP_QUOTA", quota)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    return _threads.default_threads()


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),  # one and a half
        ("10000 100000\n", 1),
        ("1600000 100000\n", 8),  # more than there are
        ("max 100000\n", 8),
        ("", 8),
        (None, 8),
    ],
)
def test_the_quota_of_the_cgroup_caps_the_default(quota, expected, monkeypatch, tmp_path):
    assert default_with_quota(monkeypatch, tmp_path, quota) == expected


def test_the_environment_wins_over_the_quota(monkeypatch, tmp_path):
    default_with_quota(monkeypatch, tmp_path, "200000 100000")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert _threads.default_threads() == 5


# Neighbours that set limits -----------------------------------------------------------------------------------------


@needs_openmp
def test_threadpoolctl_limits_the_default(keep_num_threads):
    cylosses.set_num_threads(None)
    default = cylosses.get_num_threads()
    with threadpool_limits(1):
        assert cylosses.get_num_threads() == 1
        with threadpool_limits(default + 1):
            assert cylosses.get_num_threads() == default  # it limits, it does not raise
    assert cylosses.get_num_threads() == default
    with threadpool_limits(1, user_api="blas"):
        assert cylosses.get_num_threads() == default
    with threadpool_limits(1, user_api="openmp"):
        assert cylosses.get_num_threads() == 1


@needs_openmp
def test_numbers_of_the_program_win_over_threadpoolctl(keep_num_threads):
    with threadpool_limits(1):
        cylosses.set_num_threads(3)
        assert cylosses.get_num_threads() == 3
        cylosses.set_num_threads(None)
        assert cylosses.get_num_threads() == 1


@needs_openmp
@needs_tasks
def test_calls_start_as_many_threads_as_they_may():
    """What is said is also done: a limit, the default and `n_threads` in turn, each above the one before."""
    script = """
        from threadpoolctl import threadpool_limits
        with threadpool_limits(1):
            print(workers(), end=" ")
        with threadpool_limits(2):
            print(workers(), end=" ")
        print(workers(), end=" ")
        with threadpool_limits(1):
            print(workers(), workers(n_threads=4), end=" ")
            set_num_threads(5)
            print(workers())
        """
    assert run(COUNT_WORKERS + textwrap.dedent(script), OMP_NUM_THREADS="3") == "0 1 1 0 1 1"


@needs_openmp
@needs_tasks
@pytest.mark.parametrize("inner", [1, 2])
def test_workers_of_loky_use_their_share(inner):
    """joblib tells its processes their share by OMP_NUM_THREADS; two processes do not take all CPUs twice."""
    script = """
        import sys
        from joblib import Parallel, delayed, parallel_config
        with parallel_config("loky", n_jobs=2, inner_max_num_threads=int(os.environ["INNER"])):
            found = Parallel()(delayed(lambda: (os.getpid(), get_num_threads(), workers()))() for _ in range(8))
        assert os.getpid() not in {pid for pid, _, _ in found}
        print({threads for _, threads, _ in found}, max(started for _, _, started in found))
        """
    assert run(COUNT_WORKERS + textwrap.dedent(script), INNER=str(inner)) == f"{{{inner}}} {inner - 1}"


@needs_openmp
def test_workers_of_loky_share_the_cpus_by_default():
    script = """
        from joblib import Parallel, cpu_count, delayed
        found = Parallel(n_jobs=2)(delayed(get_num_threads)() for _ in range(4))
        print(set(found) == {max(1, cpu_count() // 2)}, found)
        """
    assert run(COUNT_WORKERS + textwrap.dedent(script)).startswith("True")


def test_threads_of_joblib_may_nest(rng):
    """Calls from several Python threads have threads of their own each, and the same bits."""
    inputs, targets = SPREADS["gauss"](rng, 300_000, np.float32)
    expected = smooth_l1_loss(inputs, targets, n_threads=1)
    calls = (delayed(smooth_l1_loss)(inputs, targets, n_threads=count) for count in (1, 2, 3, 4) * 4)
    results = Parallel(n_jobs=4, backend="threading")(calls)
    assert len(results) == 16
    assert all(same_bits(result, expected) for result in results)


# Fork ---------------------------------------------------------------------------------------------------------------


@needs_fork
def test_a_forked_child_computes_after_a_threaded_call():
    """The usual trap of OpenMP: the child inherits a thread pool without the threads, and waits for them for ever."""
    output = run("""
        import os, sys
        import numpy as np
        from cylosses import smooth_l1_loss, smooth_l1_loss_backward
        x, t = np.random.default_rng(0).standard_normal((2, 2_000_000))
        before = smooth_l1_loss(x, t, n_threads=2)
        for _ in range(5):
            child = os.fork()
            if child == 0:
                same = smooth_l1_loss(x, t, n_threads=2) == before
                smooth_l1_loss_backward(1.0, x, t, n_threads=2)
                grandchild = os.fork()
                if grandchild == 0:
                    os._exit(0 if smooth_l1_loss(x, t, n_threads=2) == before else 1)
                _, status = os.waitpid(grandchild, 0)
                os._exit(0 if same and status == 0 else 1)
            _, status = os.waitpid(child, 0)
            assert status == 0, status
            assert smooth_l1_loss(x, t, n_threads=2) == before  # and the parent still can
        print("done")
        """)
    assert output == "done"


@needs_fork
def test_a_pool_of_forked_processes():
    output = run("""
        import multiprocessing
        import numpy as np
        from cylosses import smooth_l1_loss
        x, t = np.random.default_rng(0).standard_normal((2, 2_000_000))

        def work(_):
            return float(smooth_l1_loss(x, t, n_threads=2))

        before = work(0)
        with multiprocessing.get_context("fork").Pool(3) as pool:
            assert set(pool.map(work, range(12))) == {before}
        print("done")
        """)
    assert output == "done"


# Many callers -------------------------------------------------------------------------------------------------------


def test_calls_from_many_threads_at_once(rng):
    inputs, targets = SPREADS["gauss"](rng, 300_000, np.float32)
    loss = cylosses.SmoothL1Loss(beta=0.7)
    value, gradient = loss.value_and_grad(inputs, targets, n_threads=1)
    losses = smooth_l1_loss(inputs, targets, "none", 0.7)
    callers = 6
    barrier = threading.Barrier(callers)
    wrong = []

    def work(number):
        try:
            barrier.wait(timeout=60)
            for turn in range(8):
                n_threads = 1 + (number + turn) % 3
                got = loss.value_and_grad(inputs, targets, n_threads=n_threads)
                if not (same_bits(got[0], value) and same_bits(got[1], gradient)):
                    wrong.append((number, turn, "value and gradient"))
                if not same_bits(loss(inputs, targets, n_threads=n_threads), value):
                    wrong.append((number, turn, "value"))
                if not same_bits(smooth_l1_loss(inputs, targets, "none", 0.7, n_threads=n_threads), losses):
                    wrong.append((number, turn, "losses"))
        except BaseException as error:  # a thread's exception would be lost otherwise
            wrong.append((number, repr(error)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
        assert not thread.is_alive()
    assert wrong == []


def test_the_gil_is_released_during_a_long_call(rng):
    """With a switch interval of an hour, another thread gets its turn during the call only if the call gives it."""
    inputs, targets = SPREADS["whole range"](rng, 2_000_000, np.float64)

    def turn_came_before_the_end():
        go, turn = threading.Event(), []
        thread = threading.Thread(target=lambda: (go.wait(60), turn.append(time.perf_counter())))
        thread.start()
        interval = sys.getswitchinterval()
        sys.setswitchinterval(3600)
        try:
            go.set()
            smooth_l1_loss(inputs, targets, n_threads=1)
            end = time.perf_counter()
        finally:
            sys.setswitchinterval(interval)
        thread.join(timeout=60)
        return turn[0] < end

    # On a busy machine the other thread may wake too late; without a release it never comes in time.
    assert any(turn_came_before_the_end() for _ in range(10))


def test_one_streaming_state_for_each_thread(rng):
    inputs, targets = SPREADS["gauss"](rng, 400_000, np.float64)
    loss = cylosses.SmoothL1Loss()
    states = [loss.streaming() for _ in range(4)]

    def work(number):
        for start in range(number * 1000, 400_000, 4000):
            states[number].update(inputs[start : start + 1000], targets[start : start + 1000])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    for state in states[1:]:
        states[0].merge(state)
    assert same_bits(states[0].compute(), loss(inputs, targets))
