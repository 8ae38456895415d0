"""Nothing is left to chance: no undefined behaviour in the sums, no number that was never set. `make sanitize` looks further."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from cylosses._core import builds
from cylosses.losses import HuberLoss

PACKAGE = Path(builds.__file__).parents[1]
COMPILER = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")

# The sum of float32 terms by the package's own superaccumulator; a trap ends the process at the first undefined step.
MODULE = """
from cylosses._core.summation.bins cimport BLOCK, RANGE_BATCH_53, Bins, clear_bins, close_bins
from cylosses._core.summation.block cimport add_block
from cylosses._core.summation.columns cimport ColumnSums, clear_column_sums, deposit_column_sums
from cylosses._core.summation.rounding cimport Format, round_quotient
from cylosses._core.summation.superaccumulator cimport Superaccumulator, clear

def total_of(const float[::1] terms):
    cdef Superaccumulator total
    cdef Bins bins
    cdef ColumnSums columns
    cdef Format target
    cdef Py_ssize_t start
    target.precision, target.least, target.greatest = 53, -1022, 1023
    clear(&total)
    clear_bins(&bins, RANGE_BATCH_53)
    clear_column_sums(&columns)
    for start in range(0, terms.shape[0], BLOCK):
        add_block(&total, &bins, &columns, &terms[start], BLOCK)
    deposit_column_sums(&total, &columns)
    close_bins(&total, &bins)
    return round_quotient(&total, 1, NULL, target)
"""
SETUP = """
from Cython.Build import cythonize
from setuptools import Extension, setup
flags = {flags!r}
setup(ext_modules=cythonize([Extension("trapping", ["trapping.pyx"], extra_compile_args=flags)], language_level=3))
"""
PROGRAM = """
import math
import numpy as np
from trapping import total_of
rng = np.random.default_rng(0)
for scale in (0.0, 1e-44, 1e-20, 1.0, 3e30):
    for terms in (np.full(2**17, scale), rng.random(2**17) * scale, rng.random(2**17) ** 9 * scale, np.arange(2**17) * scale):
        terms = terms.astype(np.float32)
        assert total_of(terms) == math.fsum(terms), (scale, terms)
print("no trap")
"""


@pytest.mark.compiler
@pytest.mark.skipif(sys.platform == "win32" or not shutil.which(COMPILER[0]), reason="needs gcc, or a compiler with its options")
def test_sums_do_not_need_signed_numbers_to_wrap(tmp_path):
    """With CFLAGS set, setuptools drops Python's own -fwrapv: then the optimiser may take it that signed sums do not overflow."""
    # Of several options the last one holds, and a trap needs no run-time library.
    flags = ["-O1", "-g0", "-ffp-contract=off", "-fno-wrapv", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
    (tmp_path / "trapping.pyx").write_text(MODULE)
    (tmp_path / "setup.py").write_text(SETUP.format(flags=flags))
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    for command in (["setup.py", "-q", "build_ext", "--inplace"], ["-c", PROGRAM]):
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, f"{command[0]} ended with {done.returncode}\n{done.stdout}{done.stderr}"
    assert done.stdout == "no trap\n"


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("where", [False, True])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,), (5,), (2, 3), (40, 3), (4, 50)])
def test_a_job_counts_its_elements(shape, where, n_threads):
    """Also where there are none to be counted."""
    zeros, mask = np.zeros(shape), np.arange(np.prod(shape)).reshape(shape) % 3 == 0
    for layout in (zeros, zeros.T, zeros[::-1]):
        total = HuberLoss().streaming()
        selected = np.resize(mask, layout.shape) if where else None
        total.update(layout, layout, where=selected, n_threads=n_threads)
        assert total.count == (np.count_nonzero(selected) if where else zeros.size)
