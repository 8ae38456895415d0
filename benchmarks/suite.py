"""The benchmark suite: ``python -m benchmarks.suite``. See README.md for what the figures mean."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import cylosses
from benchmarks import growth, headline, import_time, public_calls, rows
from benchmarks.harness import ATTEMPTS
from benchmarks.machine import describe
from benchmarks.peers import Peer, find_peers
from benchmarks.tables import seconds_text, size_text
from benchmarks.verdict import disturbed, fastest_peer, ratio_text

SCHEMA = 1


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suite", description="Time cylosses beside its peers and floors.")
    parser.add_argument("--quick", action="store_true", help="under two minutes: fewer sizes and works, no torch.compile")
    parser.add_argument("--headline", action="store_true", help="only the short table of four sizes")
    parser.add_argument(
        "--only", default="", metavar="PATTERN", help="rows whose name LOSS/WORK/DTYPE/SIZE/THREADS matches, or contains it"
    )
    parser.add_argument("--sizes", type=int, nargs="+", metavar="N", help="instead of the planned sizes")
    parser.add_argument("--threads", type=int, metavar="N", help="what 'all threads' means; by default what cylosses uses")
    parser.add_argument("--seconds-per-row", type=float, metavar="S", help="to spend on timing (default 2; 0.4 with --quick)")
    parser.add_argument("--without", nargs="+", default=[], metavar="PEER", help="peers to leave out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, for benchmarks.report")
    return parser.parse_args(argv)


def say(text: str) -> None:
    """Print a line at once, so that a long run shows where it is."""
    print(text, flush=True)


def print_row(row: dict[str, Any]) -> None:
    """Print a row: time, ratio to the floor, ratio to the fastest peer."""
    if "missing" in row:
        say(f"{row['name']:<44} missing: {row['missing']}")
        return
    ours, peer = row["subjects"]["cylosses"], fastest_peer(row)
    versus = f"{ratio_text(row, peer):>6} x {peer}" if peer else "no peer"
    say(f"{row['name']:<44} {seconds_text(ours['best']):>8}  {ratio_text(row, row['floor']):>6} x {row['floor']:<34} {versus}")


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


def run(options: argparse.Namespace, peers: list[Peer], threads: int, seconds: float, attempts: int) -> dict[str, Any]:
    """Run all parts that the options ask for and return the figures."""
    found: dict[str, Any] = {"rows": [], "notes": []}

    def note(text: str) -> None:
        found["notes"].append(text)
        say(f"note: {text}")

    for row in rows.plan(threads, quick=options.quick, sizes=options.sizes, only=options.only):
        result = rows.run(row, peers, seconds, attempts, note)
        print_row(result)
        found["rows"].append(result)
    if options.only or options.sizes:
        return found
    found["public"] = []
    for result in public_calls.run(peers, min(seconds, 1.0)):
        print_public(result)
        found["public"].append(result)
    found["import"] = import_time.run(5 if options.quick else 11)
    say(f"import cylosses after numpy: {seconds_text(found['import']['cylosses'])}")
    found["growth"] = []
    for result in growth.run(threads, peers, seconds / 2, attempts, quick=options.quick):
        found["growth"].append(result)
        ours = result["subjects"]["cylosses"]["best"] / result["size"]
        text = f"growth: {result['work']}, {result['threads']} thread(s), {size_text(result['size'])} elements"
        say(f"{text:<56} {seconds_text(ours)} per element, {result['extra_bytes']} bytes more")
    return found


def main(argv: list[str] | None = None) -> int:
    """Run the suite."""
    start = time.perf_counter()
    options = arguments(argv)
    without = set(options.without)
    if options.quick:
        without.add("torch.compile")
    if options.headline:
        without |= {"torch.compile", "numba", "numexpr", "jax", "scikit-learn"}
    peers, skipped = find_peers(frozenset(without))
    for name, reason in skipped.items():
        say(f"skipped: {name} ({reason})")
    threads = options.threads or cylosses.get_num_threads()
    seconds = options.seconds_per_row or (0.4 if options.quick else 2.0)
    attempts = 1 if options.quick else ATTEMPTS
    if options.headline:
        figures = {"headline": headline.run(peers, threads, seconds, attempts)}
        say(headline.table(figures["headline"]))
    else:
        figures = run(options, peers, threads, seconds, attempts)
        report_disturbed(figures["rows"])
    if options.json:
        figures = {
            "schema": SCHEMA,
            "quick": options.quick,
            "seconds_per_row": seconds,
            "machine": describe(threads, peers, quick=options.quick),
            "skipped": skipped,
            **figures,
            "wall_seconds": round(time.perf_counter() - start),
        }
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    say(f"{time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
