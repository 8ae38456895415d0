"""Times the compiled loops, and the public C level, without Python: ``python -m benchmarks.c_level``."""

import argparse
import itertools
import statistics
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import cylosses
from benchmarks.c_level.build import load
from benchmarks.c_level.builds import find_builds
from benchmarks.measure.harness import rounded
from benchmarks.measure.machine import describe
from benchmarks.measure.record import OtherRunError, Record
from benchmarks.measure.works import WORKS, Case, make_data
from benchmarks.report.tables import seconds_text

SIZES = (16, 256, 4096, 100_000, 1_000_000, 10_000_000, 50_000_000)
LARGEST_FLOAT64 = 25_000_000
WORK_NAMES = ("none", "mean", "sum", "grad", "value_and_grad")
REDUCTIONS = {"mean": "mean", "sum": "sum", "value_and_grad": "mean"}
PUBLIC = "capi"  # among the builds: the functions of cylosses.capi, which run the best one
WORTH_THREADS = 100_000  # elements; smaller rows are timed on one thread alone
SHORTEST_TIMING = 1e-3  # seconds
HEAD = ("build", "loss", "work", "dtype", "elements", "threads", "per call", "ns/elem", "cycles", "GB/s", "of read")
LINE = "{:<12} {:<20} {:<15} {:<8} {:>10} {:>7} {:>9} {:>8} {:>7} {:>7} {:>8}"


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.c_level", description="Time the compiled loops from C.")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="N")
    parser.add_argument("--losses", nargs="+", default=list(cylosses.LOSSES), choices=list(cylosses.LOSSES), metavar="LOSS")
    parser.add_argument("--works", nargs="+", default=["mean", "value_and_grad"], choices=WORK_NAMES, metavar="WORK")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float64"], choices=["float32", "float64"])
    parser.add_argument(
        "--builds", nargs="+", metavar="NAME", help=f"modules of cylosses._core, or {PUBLIC}; by default all that run here"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, cylosses.get_num_threads()], metavar="N")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="turns of each build")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures there, row by row, for benchmarks.report")
    parser.add_argument("--resume", action="store_true", help="take over the rows that the JSON has, of a run that was interrupted")
    return parser.parse_args(argv)


def repeats(subject: Any, threads: int) -> int:
    """Return how many runs take a millisecond."""
    repeat, seconds = 1, min(subject.time(1, threads) for _ in range(3))
    while repeat * seconds < SHORTEST_TIMING:
        repeat = min(10 * repeat, int(1.2 * SHORTEST_TIMING / max(seconds, 1e-10)) + 1)
        seconds = subject.time(repeat, threads)
    return repeat


def time_in_turns(subjects: dict[str, Any], threads: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each round for each subject; the subjects take turns."""
    counts = {name: repeats(subject, threads) for name, subject in subjects.items()}
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, subject in subjects.items():
            if counts[name] > 1:
                subject.time(counts[name] // 2, threads)
            times[name].append(subject.time(counts[name], threads))
    return times


def jobs(driver: ModuleType, builds: dict[str, Any], case: Case, work: str, dtype: str, size: int) -> tuple[dict[str, Any], int]:
    """Return the subjects of a row, the bare read first, and the bytes that the work moves."""
    data = make_data(WORKS["mean" if work == "sum" else work], dtype, size)
    output = {"none": "value", "grad": "gradient", "value_and_grad": "gradient"}.get(work)
    options = {output: data.outputs[0]} if output else {}
    options["reduction"] = REDUCTIONS.get(work, "")
    subjects: dict[str, Any] = {"read": driver.Read(data.input, data.target)}
    code, parameter = case.loss_class._code, case.parameter if case.loss_class.parameter_name else 0.0
    for name, capsule in builds.items():
        if name == PUBLIC:
            subjects[name] = driver.Call(code, parameter, data.input, data.target, **options)
        else:
            subjects[name] = driver.Pass(capsule, code, parameter, data.input, data.target, **options)
    return subjects, data.bytes_moved


def check(subjects: dict[str, Any], work: str) -> None:
    """Make sure that all builds return the same bits."""
    results = {np.float64(subject.result()).tobytes() for name, subject in subjects.items() if name != "read"}
    if work in REDUCTIONS and len(results) > 1:
        raise SystemExit(f"the builds {', '.join(subjects)} return different sums")


def measure(
    driver: ModuleType, builds: dict[str, Any], head: dict[str, Any], subjects: dict[str, Any], moved: int, rounds: int
) -> list[dict[str, Any]]:
    """Time the subjects of one row and return a row of figures for each build."""
    size, threads = head["size"], head["threads"]
    times = time_in_turns(subjects, threads, rounds)
    check(subjects, head["work"])
    hertz = driver.hertz()
    read_bytes = 2 * size * np.dtype(head["dtype"]).itemsize
    found = []
    for build in builds:
        best = min(times[build])
        # Bytes per second of the loop against those of the bare read, round by round.
        shares = [moved / a / (read_bytes / b) for a, b in zip(times[build], times["read"], strict=True)]
        figures = {
            "seconds": best,
            "ns_per_element": best / size * 1e9,
            "cycles_per_element": best / size * hertz,
            "bytes_per_second": moved / best,
            "read_bytes_per_second": read_bytes / min(times["read"]),
            "share_of_read": statistics.median(shares),
            "hertz": hertz,
        }
        found.append({"build": build, **head, **{name: rounded(value) for name, value in figures.items()}})
    return found


def print_row(row: dict[str, Any]) -> None:
    """Print the line of one build."""
    print(
        LINE.format(
            *(row[name] for name in ("build", "loss", "work", "dtype", "size", "threads")),
            seconds_text(row["seconds"]),
            f"{row['ns_per_element']:.3f}",
            f"{row['cycles_per_element']:.2f}",
            f"{row['bytes_per_second'] / 1e9:.1f}",
            f"{row['share_of_read']:.0%}",
        ),
        flush=True,
    )


def run(options: argparse.Namespace, driver: ModuleType, builds: dict[str, Any], record: Record) -> None:
    """Time every combination that the record does not have, and print a line for each build."""
    print(LINE.format(*HEAD))
    sizes = {dtype: LARGEST_FLOAT64 if dtype == "float64" else max(SIZES) for dtype in options.dtypes}
    for dtype, limit in sizes.items():
        # Outermost, since all rows of one size and dtype share their arrays.
        for size in dict.fromkeys(min(size, limit) for size in options.sizes):
            for loss, work in itertools.product(options.losses, options.works):
                heads = [
                    {"loss": loss, "work": work, "dtype": dtype, "size": size, "threads": threads}
                    for threads in dict.fromkeys(options.threads if size >= WORTH_THREADS else options.threads[:1])
                ]
                missing = [head for head in heads if record.find("rows", **head, build=next(iter(builds))) is None]
                if not missing:
                    continue
                subjects, moved = jobs(driver, builds, Case(loss), work, dtype, size)
                for head in missing:
                    for row in measure(driver, builds, head, subjects, moved, options.rounds):
                        print_row(row)
                        record.rows("rows").append(row)
                    record.save()


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    start = time.perf_counter()
    options = arguments(argv)
    driver = load()
    builds, skipped = find_builds()
    builds[PUBLIC] = None
    for name, reason in skipped.items():
        print(f"skipped: build {name} ({reason})")
    if options.builds:
        builds = {name: builds[name] for name in options.builds}
    print(
        f"core {driver.hertz() / 1e9:.2f} GHz by a chain of additions, time stamp counter {driver.ticks_per_second() / 1e9:.2f} GHz"
    )
    common = {
        "builds": list(builds),
        "skipped": skipped,
        "rounds": options.rounds,
        "machine": describe(cylosses.get_num_threads()),
    }
    try:
        record = Record(options.json, common, resume=options.resume)
    except OtherRunError as error:
        print(f"error: {error}")
        return 2
    run(options, driver, builds, record)
    print(f"{time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
