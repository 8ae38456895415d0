"""The same bits on every build, with any number of threads, at any alignment: ``python -m tools.build_hashes``.

Runs every loss on seeded data, once a build in a process of its own (CYLOSSES_ISA), and compares SHA-256 hashes of the results,
NaN counted as one NaN. Prints one row a loss, dtype and work with one hash and the number of combinations that gave it, or
all hashes that differ and what gave them; exit code 1 if any do. `tests/test_build_hashes.py` runs a small selection.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cylosses._core import builds
from cylosses.losses import LOSSES, Loss
from tests.generators import SPREADS, exponents
from tools.commands import parser_of, variables_of

# Around vectors, lanes, blocks (1024) and parts (256), with tails; and enough for four threads and for prefetching.
SIZES = (1, 31, 1025, 300_003)
BEYOND_CACHE = 4_200_003  # outputs of so many elements are stored past the caches
THREADS = (1, 2, 3, 4)
ROW = 31
OTHER_PARAMETER = 0.3  # valid for every loss that has one, and no power of two, for which smooth L1 has a formula of its own


# Data -----------------------------------------------------------------------------------------------------------------------


def alignments(dtype: np.dtype) -> tuple[int, ...]:
    """Bytes from a 64-byte boundary to an array: aligned for its dtype, for vectors, and for neither 32 nor 64 bytes."""
    return 0, dtype.itemsize, 16, 32 + dtype.itemsize


def at(offset: int, array: np.ndarray) -> np.ndarray:
    """A copy that begins `offset` bytes behind a 64-byte boundary."""
    room = np.empty(array.nbytes + 64 + offset, np.uint8)
    start = -room.ctypes.data % 64 + offset
    view = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def ordinary(size: int, dtype: np.dtype, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return SPREADS["gauss"](np.random.default_rng(seed), size, dtype)


def whole_range(size: int, dtype: np.dtype, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """All exponents, subnormals included."""
    return SPREADS["whole range"](np.random.default_rng(seed), size, dtype)


def special(size: int, dtype: np.dtype, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """All exponents with infinities and NaN here and there: whatever the sums are, elementwise results are their own."""
    rng = np.random.default_rng(seed)
    pair = SPREADS["whole range"](rng, size, dtype)
    for array in pair:
        places = rng.random(size) < 0.02
        array[places] = rng.choice(
            np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, *np.ldexp(1.0, exponents(dtype))], dtype), places.sum()
        )
    return pair


DATA = {"ordinary": ordinary, "whole range": whole_range, "special": special}


# Work -----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One pair of arrays at their places, and what a work may need besides; `place` gives an output at its offset."""

    input: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    where: np.ndarray
    output_offset: int

    def place(self) -> np.ndarray:
        return at(self.output_offset, np.empty_like(self.input))

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        end = self.input.size // ROW * ROW
        return self.input[:end].reshape(-1, ROW), self.target[:end].reshape(-1, ROW)


Work = Callable[[type[Loss], dict[str, Any], Case, int], tuple[Any, ...]]


def derivatives(curvature: str) -> Work:
    return lambda cls, setting, case, n_threads: cls("sum", **setting).grad_and_hess(
        case.input, case.target, curvature=curvature, out=(case.place(), case.place()), n_threads=n_threads
    )


def strided(cls: type[Loss], setting: dict[str, Any], case: Case, n_threads: int) -> tuple[Any, ...]:
    pair = case.input[::2], case.target[::-2]
    return cls("mean", **setting)(*pair, n_threads=n_threads), cls("none", **setting)(*pair, n_threads=n_threads)


def half_precision(cls: type[Loss], setting: dict[str, Any], case: Case, n_threads: int) -> tuple[Any, ...]:
    """A float16 input against a target of the dtype, and against one of its own."""
    with np.errstate(over="ignore"):
        half = at(case.output_offset, case.input.astype(np.float16))
        other = case.target.astype(np.float16)
    return tuple(
        cls(reduction, **setting)(half, target, n_threads=n_threads)
        for target in (case.target, other)
        for reduction in ("mean", "none")
    )


WORKS: dict[str, Work] = {
    "value": lambda cls, setting, case, n: (cls("none", **setting)(case.input, case.target, out=case.place(), n_threads=n),),
    "mean": lambda cls, setting, case, n: (cls("mean", **setting)(case.input, case.target, n_threads=n),),
    "sum": lambda cls, setting, case, n: (cls("sum", **setting)(case.input, case.target, n_threads=n),),
    "gradient": lambda cls, setting, case, n: (
        cls("mean", **setting).grad(case.input, case.target, out=case.place(), n_threads=n),
    ),
    "value and gradient": lambda cls, setting, case, n: cls("mean", **setting).value_and_grad(
        case.input, case.target, out=case.place(), n_threads=n
    ),
    "exact Hessian": derivatives("exact"),
    "mm Hessian": derivatives("mm"),
    "weighted mean": lambda cls, setting, case, n: (
        cls("mean", **setting)(case.input, case.target, weight=case.weight, n_threads=n),
    ),
    "where": lambda cls, setting, case, n: cls("mean", **setting).value_and_grad(
        case.input, case.target, where=case.where, n_threads=n
    ),
    "axis": lambda cls, setting, case, n: tuple(cls("mean", **setting)(*case.rows(), axis=axis, n_threads=n) for axis in (0, 1)),
    "strided": strided,
    "float16": half_precision,
}
LARGE_WORKS = ("value", "gradient", "value and gradient")  # what has outputs


@dataclass(frozen=True)
class Selection:
    """What is run; by default, everything."""

    losses: tuple[str, ...] = tuple(LOSSES)
    dtypes: tuple[str, ...] = ("float32", "float64")
    works: tuple[str, ...] = tuple(WORKS)
    data: tuple[str, ...] = tuple(DATA)
    sizes: tuple[int, ...] = (*SIZES, BEYOND_CACHE)
    threads: tuple[int, ...] = THREADS


# One build ------------------------------------------------------------------------------------------------------------------


def digest(results: tuple[Any, ...]) -> str:
    """The hash of arrays and scalars: dtype, shape and bits, with one NaN for all."""
    sha = hashlib.sha256()
    for result in results:
        array = np.ascontiguousarray(result)
        nan = np.isnan(array)
        if nan.any():
            array = np.where(nan, np.array(np.nan, array.dtype), array)
        sha.update(f"{array.dtype} {array.shape}".encode())
        sha.update(array.data.cast("B"))
    return sha.hexdigest()


def settings(cls: type[Loss]) -> list[dict[str, float]]:
    return [{}] if cls.parameter_name is None else [{}, {cls.parameter_name: OTHER_PARAMETER}]


def cases(dtype: np.dtype, kind: str, size: int) -> Iterator[tuple[int, Case]]:
    """The same data at every alignment, input, target and output each at another one."""
    inputs, targets = DATA[kind](size, dtype, size)
    rng = np.random.default_rng(size)
    weight = rng.integers(0, 4, size) * rng.random(size)
    where = rng.random(size) < 0.7
    offsets = alignments(dtype)
    for k, offset in enumerate(offsets):
        others = [offsets[(k + step) % len(offsets)] for step in (1, 2, 3)]
        yield offset, Case(at(offset, inputs), at(others[0], targets), at(others[1], weight.astype(dtype)), where, others[2])


def hashes(selection: Selection) -> Iterator[tuple[list[str], str, str]]:
    """Run the selection on the build of this process: what was computed, with which threads and alignment, and its hash."""
    for dtype_name in selection.dtypes:
        dtype = np.dtype(dtype_name)
        for size in selection.sizes:
            large = size >= BEYOND_CACHE
            for kind in selection.data[:1] if large else selection.data:
                for offset, case in cases(dtype, kind, size):
                    for name in selection.losses:
                        for work in selection.works:
                            if large and work not in LARGE_WORKS:
                                continue
                            for setting in settings(LOSSES[name])[: 1 if large else None]:
                                for n_threads in selection.threads:
                                    done = WORKS[work](LOSSES[name], setting, case, n_threads)
                                    yield (
                                        [name, dtype_name, work, f"{kind}, {size} elements, {setting or 'default'}"],
                                        f"{n_threads} threads, {offset} bytes",
                                        digest(done),
                                    )


def run_build(build: str, selection: Selection, emulator: tuple[str, ...] = ()) -> list[tuple[list[str], str, str]]:
    """`hashes` in a new process that uses that build, perhaps through an emulator of another CPU."""
    done = subprocess.run(
        [*emulator, sys.executable, "-m", "tools.build_hashes", "--worker"],
        env=variables_of(build),
        input=json.dumps(asdict(selection)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def work_for_parent() -> None:
    received = {name: tuple(value) for name, value in json.load(sys.stdin).items()}
    for line in hashes(Selection(**received)):
        print(json.dumps(line))


# All builds -----------------------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """What is known of one loss, dtype and work."""

    digest: str
    combinations: int
    differing: list[str]


def compare(results: dict[str, list[tuple[list[str], str, str]]]) -> dict[tuple[str, str, str], Row]:
    """Put the results of all builds together: for the same data there must be one hash."""
    found: defaultdict[tuple[str, ...], defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for build, lines in results.items():
        for key, circumstances, digest_of_result in lines:
            found[tuple(key)][digest_of_result].append(f"{build}, {circumstances}")
    rows: dict[tuple[str, str, str], Row] = {}
    for (name, dtype, work, data), by_digest in found.items():
        row = rows.setdefault((name, dtype, work), Row("", 0, []))
        row.combinations += sum(map(len, by_digest.values()))
        row.digest = hashlib.sha256((row.digest + "".join(sorted(by_digest))).encode()).hexdigest()
        if len(by_digest) > 1:
            row.differing.append(data + ":")
            row.differing += [f"  {one[:16]} {len(places)} times: {'; '.join(places[:4])}" for one, places in by_digest.items()]
    return rows


def installed_builds() -> dict[str, str]:
    """Instruction set to module name of all builds, also those that this CPU cannot run."""
    modules = {path.name.split(".")[0] for path in Path(builds.__file__).parent.glob("loops_v*.*") if path.suffix != ".pyx"}
    return {"x86-64-" + module.removeprefix("loops_"): module for module in sorted(modules)} | builds.available_builds()


def run(selection: Selection, emulator: tuple[str, ...]) -> int:
    results = {}
    missing = []
    for build in installed_builds():
        runs_here = build in builds.available_builds()
        if runs_here or emulator:
            results[build] = run_build(build, selection, () if runs_here else emulator)
            print(f"{build}: {len(results[build])} results" + ("" if runs_here else f", run by {shlex.join(emulator)}"), flush=True)
        else:
            missing.append(build)
    rows = compare(results)
    for (name, dtype, work), row in rows.items():
        outcome = "DIFFERS" if row.differing else row.digest[:16]
        print(f"{name:20} {dtype:8} {work:14} {outcome}  {row.combinations} combinations")
        for line in row.differing:
            print("    " + line)
    for build in missing:
        print(f"not run here: {build} (this CPU lacks its instructions, and there is no --emulator)")
    wrong = sum(bool(row.differing) for row in rows.values())
    print(f"{len(rows)} rows, {sum(row.combinations for row in rows.values())} results: {wrong} rows differ")
    return 1 if wrong else 0


def main() -> int:
    parser = parser_of("tools.build_hashes", __doc__)
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=list(LOSSES))
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(Selection.sizes), help="elements")
    parser.add_argument(
        "--emulator",
        type=shlex.split,
        default=["sde64", "-future", "--"] if shutil.which("sde64") else [],
        help="command in front of Python that emulates a CPU with all instructions, for the builds that this one cannot run",
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work_for_parent()
        return 0
    selection = Selection(losses=tuple(options.losses), works=tuple(options.works), sizes=tuple(options.sizes))
    return run(selection, tuple(options.emulator))


if __name__ == "__main__":
    sys.exit(main())
