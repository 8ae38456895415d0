"""The benchmark suite: ``python -m benchmarks.suite``. See README.md for what the figures mean."""

import argparse
import gc
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import cylosses
from benchmarks.measure import growth, import_time, public_calls, rows, slice_rows
from benchmarks.measure.bandwidth import bandwidth
from benchmarks.measure.harness import ATTEMPTS
from benchmarks.measure.machine import describe
from benchmarks.measure.record import OtherRunError, Record
from benchmarks.peers import PEERS, Peer, find_peers
from benchmarks.report import headline
from benchmarks.report.tables import seconds_text, size_text
from benchmarks.report.verdict import disturbed, fastest_peer, ratio_text

SCHEMA = 3
SECONDS_PER_ROW, QUICK_SECONDS_PER_ROW = 1.5, 0.4  # 1.5 s make a whole run of about 40 minutes


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suite", description="Time cylosses beside its peers and floors.")
    parser.add_argument("--quick", action="store_true", help="under two minutes: fewer sizes and works, no torch.compile")
    parser.add_argument("--headline", action="store_true", help="only the short table of four sizes")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="PATTERN",
        help="rows whose name LOSS/WORK/DTYPE/PLACE/THREADS matches one of them, or contains it; PLACE is a size, or a layout",
    )
    parser.add_argument("--sizes", type=int, nargs="+", metavar="N", help="instead of the planned sizes; no rows along an axis")
    parser.add_argument("--threads", type=int, metavar="N", help="what 'all threads' means; by default what cylosses uses")
    parser.add_argument("--seconds-per-row", type=float, metavar="S", help="to spend on timing (default 1.5; 0.4 with --quick)")
    parser.add_argument("--without", nargs="+", default=[], metavar="PEER", help="peers to leave out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all figures there, row by row, for benchmarks.report")
    parser.add_argument("--resume", action="store_true", help="take over the rows that the JSON has, of a run that was interrupted")
    parser.add_argument("--redo-disturbed", action="store_true", help="as --resume, but time the disturbed rows again")
    return parser.parse_args(argv)


def say(text: str) -> None:
    """Print a line at once, so that a long run shows where it is."""
    print(text, flush=True)


def print_row(row: dict[str, Any]) -> None:
    """Print a row: time, ratio to the floor, ratio to the fastest peer."""
    if "missing" in row:
        say(f"{row['name']:<56} missing: {row['missing']}")
        return
    ours, peer = row["subjects"]["cylosses"], fastest_peer(row)
    versus = f"{ratio_text(row, peer):>6} x {peer}" if peer else "no peer"
    say(f"{row['name']:<56} {seconds_text(ours['best']):>8}  {ratio_text(row, row['floor']):>6} x {row['floor']:<34} {versus}")


def print_public(row: dict[str, Any]) -> None:
    """Print a row of small public calls, a line per subject."""
    say(f"{row['name']}:")
    for name, subject in row["subjects"].items():
        say(f"    {name:<46} {seconds_text(subject['best']):>8}")


def report_disturbed(found: list[dict[str, Any]]) -> None:
    """Print how many rows other programs disturbed: many of them make a run worthless."""
    timed = [row for row in found if "missing" not in row]
    hit = [row for row in timed if disturbed(row, row["floor"], "cylosses")]
    if hit:
        worst = max(subject["elsewhere"] for row in hit for subject in row["subjects"].values())
        say(f"{len(hit)} of {len(timed)} rows were disturbed (marked ~); other programs used up to {worst:.1f} CPUs")


def drop_disturbed(record: Record) -> None:
    """Forget the rows that other programs disturbed, so that they are timed again."""
    for part in ("rows", "slices", "public", "growth"):
        found = record.rows(part)
        kept = [row for row in found if "missing" in row or not disturbed(row, *list(row["subjects"])[:2])]
        if len(kept) < len(found):
            say(f"{len(found) - len(kept)} of {len(found)} rows of {part!r} are timed again")
            found[:] = kept


def run(options: argparse.Namespace, peers: list[Peer], threads: int, seconds: float, attempts: int, record: Record) -> None:
    """Run all parts that the options ask for, but what the record already has."""

    def note(text: str) -> None:
        record.rows("notes").append(text)
        say(f"note: {text}")

    def wanted(part: str) -> Callable[..., bool]:
        return lambda **values: record.find(part, **values) is None

    planned = [("rows", row) for row in rows.plan(threads, quick=options.quick, sizes=options.sizes, only=options.only)]
    if not options.sizes:
        planned += [("slices", row) for row in slice_rows.plan(threads, quick=options.quick, only=options.only)]
    for part, row in planned:
        if wanted(part)(name=row.name):
            result = rows.run(row, peers, seconds, attempts, note)
            print_row(result)
            record.add(part, result)
    if options.only or options.sizes:
        return
    for result in public_calls.run(peers, min(seconds, 1.0), wanted("public")):
        print_public(result)
        record.add("public", result)
    if "import" not in record.figures:
        record.set("import", import_time.run(5 if options.quick else 11))
        say(f"import cylosses after numpy: {seconds_text(record.figures['import']['cylosses'])}")
    for result in growth.run(threads, peers, seconds / 2, attempts, quick=options.quick, wanted=wanted("growth")):
        record.add("growth", result)
        ours = result["subjects"]["cylosses"]["best"] / result["size"]
        text = f"growth: {result['work']}, {result['threads']} thread(s), {size_text(result['size'])} elements"
        say(f"{text:<56} {seconds_text(ours)} per element, {result['extra_bytes']} bytes more")


def main(argv: list[str] | None = None) -> int:
    """Run the suite."""
    start = time.perf_counter()
    options = arguments(argv)
    without = set(options.without)
    if options.quick:
        without.add("torch.compile")
    if options.headline:
        without |= {cls.name for cls in PEERS} - headline.PEER_NAMES
    peers, skipped = find_peers(frozenset(without))
    for name, reason in skipped.items():
        say(f"skipped: {name} ({reason})")
    threads = options.threads or cylosses.get_num_threads()
    seconds = options.seconds_per_row or (QUICK_SECONDS_PER_ROW if options.quick else SECONDS_PER_ROW)
    attempts = 1 if options.quick else ATTEMPTS
    common = {
        "schema": SCHEMA,
        "quick": options.quick,
        "seconds_per_row": seconds,
        "machine": describe(threads),
        "skipped": skipped,
    }
    try:
        record = Record(options.json, common, resume=options.resume or options.redo_disturbed)
    except OtherRunError as error:
        say(f"error: {error}")
        return 2
    if options.redo_disturbed:
        drop_disturbed(record)
    # The peers' modules are very many objects: to look through them before each row would take a tenth of a second.
    gc.collect()
    gc.freeze()
    try:
        if options.headline:
            record.set("headline", headline.run(peers, threads, seconds, attempts))
            say(headline.table(record.figures["headline"]))
        else:
            if options.json and "bandwidth" not in record.figures:
                record.set("bandwidth", bandwidth(threads, peers, quick=options.quick))
            run(options, peers, threads, seconds, attempts, record)
            report_disturbed(record.rows("rows") + record.rows("slices"))
    finally:
        gc.unfreeze()
    record.set("date", date.today().isoformat())
    say(f"{time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
