"""How many threads a call may use: set by the program, else by the environment, else by what the process may run on.

The default is not copied into OpenMP, whose other users it would change. It only follows OpenMP downwards, since that is where
`threadpoolctl` and with it joblib and scikit-learn set their limits.
"""

import os

from cylosses._core import builds
from cylosses._core.convert import check_threads

CGROUP_QUOTA = "/sys/fs/cgroup/cpu.max"


def set_num_threads(n: int | None) -> None:
    """Set the number of threads of calls that do not say ``n_threads``.

    Parameters
    ----------
    n : int or None
        At least 1. None restores the default: ``OMP_NUM_THREADS`` if it is set, else the number of CPUs that this process may use
        (its affinity mask and, on Linux, its cgroup quota); and not more than `threadpoolctl` or ``omp_set_num_threads`` allow the
        calling thread. A number set here wins over all of these.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an int of at least 1 or None.

    Notes
    -----
    Threads change the time of a call, never a bit of its result. Small calls use one thread whatever is set here.

    Examples
    --------
    >>> import cylosses
    >>> cylosses.set_num_threads(1)
    >>> cylosses.get_num_threads()
    1
    >>> cylosses.set_num_threads(None)
    """
    builds.set_threads(default_threads() if n is None else min(check_threads("n", n), builds.max_threads), follow=n is None)


def get_num_threads() -> int:
    """Return the number of threads that a large call uses at most.

    Returns
    -------
    int
        What `set_num_threads` set, or the default described there.

    Examples
    --------
    >>> import cylosses
    >>> cylosses.get_num_threads() >= 1
    True
    """
    return int(builds.get_threads())


def default_threads() -> int:
    """Return ``OMP_NUM_THREADS``, else the CPUs of the affinity mask capped by the cgroup's quota."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if asked.isdecimal() and int(asked) > 0:
        return min(int(asked), builds.max_threads)
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cpus, cgroup_cpus() or cpus))


def cgroup_cpus() -> int | None:
    """Return the CPUs that the cgroup's quota pays for, rounded up; None without a quota."""
    try:
        with open(CGROUP_QUOTA) as file:  # noqa: PTH123  # importing pathlib takes as long as importing this package
            quota, period = file.read().split()
        return -(-int(quota) // int(period))
    except (OSError, ValueError):  # no cgroup v2 here, or "max": no quota
        return None


set_num_threads(None)
