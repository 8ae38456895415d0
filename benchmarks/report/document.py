"""The report in Markdown, with its pictures.

Every number in the report comes from the JSON; the sentences around them only say which is which.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure.rows import CACHED_SIZES
from benchmarks.measure.slices import SLICE_WORKS
from benchmarks.measure.works import WORKS, WORTH_THREADS
from benchmarks.peers import PEERS
from benchmarks.report import plots
from benchmarks.report.goals import goals_table
from benchmarks.report.short_table import short_table
from benchmarks.report.tables import markdown_table, seconds_text, size_text
from benchmarks.report.verdict import fastest_peer, ratio_text, ratio_to, subject_of, timed_rows, verdict

Rows = Sequence[dict[str, Any]]
MAIN = "smooth_l1"
SLICE_PEERS = ("torch", "numpy", "numba", "jax")  # with columns of their own
DRAWN = ("none", "mean", "grad", "value_and_grad")
C_LEVEL_SIZES = (4096, 100_000, 25_000_000, 50_000_000)  # of other losses than the main one, to keep the report readable
PUBLIC_BUILD = "capi"  # as `benchmarks.c_level` names the public functions among the builds


def giga(rate: float) -> str:
    """Return bytes per second in GB/s."""
    return f"{rate / 1e9:.1f}"


def bytes_text(size: int | None) -> str:
    """Return a number of bytes with its unit."""
    if size is None:
        return "not known"
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} B"


def short_section(figures: dict[str, Any]) -> Iterator[str]:
    """Yield what most readers come for."""
    threads = figures["run"]["machine"]["threads"]
    yield (
        f"`{MAIN}`, float32, {threads} threads. Times are the best of the run; the rest are ratios of the time of cylosses to that "
        "of the other, medians over rounds in which all take turns: below 1, cylosses is faster. The sums of cylosses are exact, "
        "those of every peer are not. A tilde marks what other programs disturbed."
    )
    yield short_table(figures, threads)


def goals_section(figures: dict[str, Any]) -> Iterator[str]:
    """Yield every goal for speed, and how it was met."""
    threads = figures["run"]["machine"]["threads"]
    yield "## Goals"
    yield (
        f"Set before the code that is to meet them, for {threads} threads. Ratios are medians over the rounds; those of the middle "
        "half of the rounds show how steady they were. Times are the best of the run."
    )
    yield goals_table(figures, threads)


def peers_section(figures: dict[str, Any]) -> Iterator[str]:
    """Yield what each peer does."""
    skipped = figures["run"]["skipped"]
    yield "## Peers"
    exact = " and ".join(cls.name for cls in PEERS if cls.exact)
    yield (
        f"All of them but {exact} sum in floating point, so that the last digits depend on the order; cylosses rounds the exact "
        "sum once."
    )
    yield "\n".join(f"- {cls.name}: {cls.what}." for cls in PEERS if cls.name not in skipped)
    if skipped:
        yield "\n".join(f"- Skipped: {name} ({reason})." for name, reason in skipped.items())


def machine_section(figures: dict[str, Any]) -> Iterator[str]:
    """Yield the description of the machine and the software."""
    machine = figures["run"]["machine"]
    build = machine["cylosses"]
    yield "## Machine"
    facts = {
        "CPU": f"{machine['cpu']} ({machine['architecture']}), {machine['cpus']} CPUs usable, {machine['threads']} threads used",
        "instruction sets": ", ".join(machine["instruction_sets"]) or "not known",
        "caches of a core": ", ".join(f"{name} {size}" for name, size in machine["caches"].items()) or "not known",
        "memory": bytes_text(machine["memory_bytes"]),
        "software": f"{machine['system']}, Python {machine['python']}, "
        + ", ".join(f"{name} {number}" for name, number in machine["versions"].items()),
        "cylosses": f"{build['cylosses']}, "
        + ", ".join(f"{name} {build[name]}" for name in build if name not in ("cylosses", "python", "numpy", "platform")),
    }
    yield "\n".join(f"- {name}: {text}" for name, text in facts.items())
    yield "Measured memory bandwidth, in GB/s: two arrays read by a dot product, and a copy with both directions counted."
    yield markdown_table(
        ["threads", "read", "copy"],
        [[count, giga(rates["read"]), giga(rates["copy"])] for count, rates in figures["bandwidth"].items()],
    )


def verdict_summary(rows: Rows) -> str:
    """Return the count of verdicts as a sentence."""
    given = [verdict(row) for row in rows]
    counts = ", ".join(f"{given.count(word)} {word}" for word in ("yes", "level", "no"))
    return f"Never slower than the fastest peer, over {len(given) - given.count('-')} rows with a peer: {counts}."


def comparison_table(rows: Rows) -> str:
    """Return the table of one loss and work."""
    lines = []
    for row in sorted(rows, key=lambda row: (row["dtype"], row["threads"], row["size"])):
        peer, best = fastest_peer(row), row["subjects"]["cylosses"]["best"]
        lines.append(
            [
                f"{row['dtype']}, {row['threads']} thread{'s' * (row['threads'] != 1)}",
                size_text(row["size"]),
                seconds_text(best),
                giga(row["bytes"] / best),
                seconds_text(row["subjects"][row["floor"]]["best"]),
                ratio_text(row, row["floor"]),
                peer or "-",
                ratio_text(row, peer) if peer else "-",
                verdict(row),
            ]
        )
    head = ["dtype, threads", "elements", "cylosses", "GB/s", "floor", "× floor", "fastest peer", "× peer", "never slower"]
    return markdown_table(head, lines)


def peers_table(rows: Rows) -> str:
    """Return the ratios of every peer's time to the library's, for one loss and work in float32 on all threads."""
    names = list(dict.fromkeys(name for row in rows for name, subject in row["subjects"].items() if subject["kind"] == "peer"))
    lines = []
    for name in names:
        cells = [ratio_text(row, "cylosses", name) if name in row["subjects"] else "-" for row in rows]
        lines.append([name, *cells])
    return markdown_table(["time over that of cylosses", *(size_text(row["size"]) for row in rows)], lines)


def faster_peers_table(rows: Rows) -> str:
    """Return how many rows of each work have a faster peer, and which peers these are.

    Rows of one work are split by what limits them: the call itself, arithmetic, or memory.
    """
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(_cause(row), []).append(row)
    lines = []
    for texts, members in groups.items():
        given = [verdict(row) for row in members]
        slower = [row for row, word in zip(members, given, strict=True) if word == "no"]
        peers = Counter(fastest_peer(row) for row in slower)
        lines.append(
            [
                *texts,
                str(len(given) - given.count("-")),
                str(len(slower)),
                str(given.count("level")),
                ", ".join(f"{name} {count}" for name, count in peers.most_common()) or "-",
                f"{max(ratio_to(row, fastest_peer(row))['median'] for row in slower):.2f}" if slower else "-",
            ]
        )
    head = ["work", "elements", "rows with a peer", "a peer is faster", "level", "which, in how many rows", "most × peer"]
    return markdown_table(head, lines)


def _cause(row: dict[str, Any]) -> tuple[str, str]:
    """Return the work of a row, and how many elements."""
    if "layout" in row:
        return SLICE_WORKS[row["work"]].text, "any layout"
    text, largest = WORKS[row["work"]].text, CACHED_SIZES[-1]
    if row["size"] < WORTH_THREADS:
        return text, f"< {size_text(WORTH_THREADS)}"
    return text, f"≤ {size_text(largest)}" if row["size"] <= largest else f"> {size_text(largest)}"


def slices_section(figures: dict[str, Any]) -> Iterator[str]:
    """Yield the tables of reductions along an axis: a table per work, a line per loss, dtype and layout."""
    rows = [row for row in figures["slices"] if "missing" not in row]
    threads = figures["run"]["machine"]["threads"]
    yield "## Slices"
    yield (
        f"Reductions along an axis, {threads} threads: an exact mean for each row or column. torch takes `none` and its mean, or "
        "autograd through both. Ratios as above."
    )
    yield verdict_summary(rows)
    for name in dict.fromkeys(row["work"] for row in rows):
        yield f"### {SLICE_WORKS[name].text}"
        members = [row for row in rows if row["work"] == name]
        yield f"Floor: {', '.join(dict.fromkeys(row['floor'] for row in members))}."
        lines = []
        for row in members:
            peer, best = fastest_peer(row), row["subjects"]["cylosses"]["best"]
            others = [subject_of(row, library) for library in SLICE_PEERS]
            lines.append(
                [
                    f"{row['loss']}, {row['dtype']}",
                    row["layout"],
                    seconds_text(best),
                    seconds_text(best / row["size"]),
                    ratio_text(row, row["floor"]),
                    *(ratio_text(row, other) if other else "-" for other in others),
                    peer or "-",
                    ratio_text(row, peer) if peer else "-",
                    verdict(row),
                ]
            )
        head = ["loss, dtype", "layout", "cylosses", "per element", "× floor", *(f"× {library}" for library in SLICE_PEERS)]
        yield markdown_table([*head, "fastest peer", "× peer", "never slower"], lines)


def comparison_section(figures: dict[str, Any], pictures: Path) -> Iterator[str]:
    """Yield the tables of all losses and works, with the pictures of the main ones."""
    rows = [row for row in figures["rows"] if "missing" not in row]
    threads = figures["run"]["machine"]["threads"]
    yield "## Against floors and peers"
    yield (
        "Times are the best of the run. Ratios are medians of the ratios of single rounds, in which all subjects take turns; a "
        "tilde marks a ratio of best times instead, where other programs disturbed the row. `level`: slower in the median, but not "
        "in all of the middle half of the rounds."
    )
    yield verdict_summary(rows)
    yield "Where peers are faster:"
    yield faster_peers_table(timed_rows(figures))
    for row in figures["rows"]:
        if "missing" in row:
            yield f"Not there yet: {row['name']} ({row['missing']})."
    for loss in dict.fromkeys(row["loss"] for row in rows):
        yield f"### {loss}"
        for work in dict.fromkeys(row["work"] for row in rows if row["loss"] == loss):
            members = [row for row in rows if (row["loss"], row["work"]) == (loss, work)]
            yield f"#### {WORKS[work].text}"
            yield f"Floor: {', '.join(dict.fromkeys(row['floor'] for row in members))}."
            yield comparison_table(members)
            drawn = sorted(
                (row for row in members if row["dtype"] == "float32" and row["threads"] == threads), key=lambda row: row["size"]
            )
            if loss == MAIN and any(subject["kind"] == "peer" for row in drawn for subject in row["subjects"].values()):
                yield f"All peers, float32, {threads} threads:"
                yield peers_table(drawn)
            if loss == MAIN and work in DRAWN and len(drawn) > 1:
                title = f"{loss} {work}, float32, {threads} threads"
                path = plots.time_against_size(drawn, title, pictures / f"{loss}_{work}.png")
                yield f"![{title}: time against size]({path.parent.name}/{path.name})"


def roofline_section(figures: dict[str, Any], pictures: Path) -> Iterator[str]:
    """Yield the picture of the works under the measured bandwidth, and its table."""
    threads = figures["run"]["machine"]["threads"]
    wanted = {"loss": MAIN, "dtype": "float32", "threads": threads}
    rows = [row for row in figures["rows"] if row.get("operations") and all(row[key] == value for key, value in wanted.items())]
    if not rows:
        return
    largest = max(row["size"] for row in rows)
    rows = [row for row in rows if row["size"] == largest]
    bandwidth = figures["bandwidth"]
    read = bandwidth[str(threads)]["read"]
    yield "## Roofline"
    yield f"{MAIN}, float32, {size_text(largest)} elements, {threads} threads, under a measured read of {giga(read)} GB/s."
    lines = [
        [
            row["work"],
            str(row["operations"]),
            f"{row['bytes'] / row['size']:.1f}",
            giga(row["bytes"] / row["subjects"]["cylosses"]["best"]),
            f"{row['bytes'] / row['subjects']['cylosses']['best'] / read:.0%}",
        ]
        for row in rows
    ]
    yield markdown_table(["work", "operations per element", "bytes per element", "GB/s", "of the read"], lines)
    path = plots.roofline(rows, bandwidth, f"{MAIN}, {size_text(largest)} elements", pictures / "roofline.png")
    yield f"![Operations per second against operations per byte]({path.parent.name}/{path.name})"


def public_section(figures: dict[str, Any]) -> Iterator[str]:
    """Yield the cost of small public calls and of the import."""
    yield "## Small public calls"
    for row in figures["public"]:
        yield f"### {row['name']}"
        ours = next(name for name, subject in row["subjects"].items() if subject["kind"] == "cylosses")
        lines = [
            [name, seconds_text(subject["best"]), seconds_text(subject["median"]), ratio_text(row, ours, name)]
            for name, subject in row["subjects"].items()
        ]
        yield markdown_table(["call", "best", "median", f"× {ours}"], lines)
    cost = figures["import"]
    yield "## Import"
    yield (
        f"Medians over {cost['rounds']} fresh interpreters: `import numpy` {seconds_text(cost['numpy'])}, "
        f"`import cylosses` after it {seconds_text(cost['cylosses'])}."
    )


def growth_section(figures: dict[str, Any], pictures: Path) -> Iterator[str]:
    """Yield time per element and memory against size, and what limits each regime."""
    rows = figures["growth"]
    yield "## Growth"
    yield "Extra memory is what the resident peak of the process rises by during a call, beyond the caller's arrays."
    for work in dict.fromkeys(row["work"] for row in rows):
        yield f"### {WORKS[work].text}, float32"
        members = [row for row in rows if row["work"] == work]
        counts = list(dict.fromkeys(row["threads"] for row in members))
        by_key = {(row["size"], row["threads"]): row for row in members}
        lines = []
        for size in dict.fromkeys(row["size"] for row in members):
            at = [by_key[size, count] for count in counts]
            lines.append(
                [
                    size_text(size),
                    *(seconds_text(row["subjects"]["cylosses"]["best"] / size) for row in at),
                    *(ratio_text(row, next(iter(row["subjects"]))) for row in at),
                    *(giga(row["bytes"] / row["subjects"]["cylosses"]["best"]) for row in at),
                    "not known" if at[0]["extra_bytes"] is None else bytes_text(max(row["extra_bytes"] for row in at)),
                ]
            )
        head = [f"{text}, {count} thr." for text in ("per element", "× floor", "GB/s") for count in counts]
        yield markdown_table(["elements", *head, "extra memory"], lines)
        yield limits(members, figures["bandwidth"])
    path = plots.growth(rows, pictures / "growth.png")
    yield f"![Time per element against size]({path.parent.name}/{path.name})"


def limits(rows: Rows, bandwidth: dict[str, dict[str, float]]) -> str:
    """Return the paragraph on what limits the smallest, the cheapest and the largest calls, in measured figures."""

    def each(row: dict[str, Any]) -> float:
        return row["subjects"]["cylosses"]["best"] / row["size"]

    def rate(row: dict[str, Any]) -> float:
        return row["bytes"] / row["subjects"]["cylosses"]["best"]

    one = sorted((row for row in rows if row["threads"] == 1), key=lambda row: row["size"])
    most = max(row["threads"] for row in rows)
    every = sorted((row for row in rows if row["threads"] == most), key=lambda row: row["size"])
    smallest, cheapest, largest = one[0], min(one, key=each), one[-1]
    overhead = smallest["subjects"]["cylosses"]["best"] - smallest["size"] * each(cheapest)
    read_one, read_all = bandwidth["1"]["read"], bandwidth[str(most)]["read"] if str(most) in bandwidth else bandwidth["1"]["read"]
    text = (
        f"A call on {size_text(smallest['size'])} elements takes {seconds_text(smallest['subjects']['cylosses']['best'])}, "
        f"of which {seconds_text(max(overhead, 0))} remain when its elements are charged the lowest price seen, "
        f"{seconds_text(each(cheapest))} at {size_text(cheapest['size'])}: that is the call itself. At that size, one thread moves "
        f"{giga(rate(cheapest))} GB/s, {rate(cheapest) / read_one:.2f} × what one thread reads from memory. "
        f"At {size_text(largest['size'])} one thread moves {giga(rate(largest))} GB/s, {rate(largest) / read_one:.0%} of its "
        f"measured read."
    )
    if most > 1:
        gain = rate(every[-1]) / rate(largest)
        headroom = read_all / rate(every[-1])
        text += (
            f" With {most} threads it moves {giga(rate(every[-1]))} GB/s, {gain:.2f} × as much, where the bare read gains "
            f"{read_all / read_one:.2f} ×. "
        )
        if headroom > 1:
            text += (
                f"The measured read of {giga(read_all)} GB/s is {headroom:.2f} × that: as much can be gained by more cores or "
                f"faster loops, and beyond it only by more bandwidth."
            )
        else:
            text += (
                f"That is all that the measured read of {giga(read_all)} GB/s gives: more cores would gain nothing without more "
                f"bandwidth."
            )
    return text


def c_level_section(figures: dict[str, Any]) -> Iterator[str]:
    """Yield the tables of the compiled loops: a line per job, the builds side by side."""
    yield "## The compiled loops alone"
    builds = figures["run"]["builds"]
    loops = [build for build in builds if build != PUBLIC_BUILD]
    yield (
        f"Called from C in a loop. ns per element for each build, and for `{PUBLIC_BUILD}`, the public C functions, which check "
        "their arguments and run the best build; the other columns are those of the fastest of the loops. The last one compares "
        "its bytes per second with those of a bare read of the same two arrays. Other losses than "
        f"`{MAIN}` at a few sizes; `python -m benchmarks.c_level` prints all."
    )
    for name, reason in figures["run"]["skipped"].items():
        yield f"Build {name} does not run here: {reason}."
    jobs: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for row in figures["rows"]:
        job = tuple(row[name] for name in ("loss", "work", "dtype", "threads", "size"))
        jobs.setdefault(job, {})[row["build"]] = row
    head = ["work, dtype", "elements", "threads", *builds, "fastest", "per call", "cycles/elem", "GB/s", "of read"]
    for loss in dict.fromkeys(job[0] for job in jobs):
        lines = []
        for (_, work, dtype, threads, size), found in sorted(job for job in jobs.items() if job[0][0] == loss):
            if loss != MAIN and size not in C_LEVEL_SIZES:
                continue
            best = min((found[build] for build in loops if build in found), key=lambda row: row["seconds"], default=None)
            best = best or found[PUBLIC_BUILD]
            lines.append(
                [
                    f"{work}, {dtype}",
                    size_text(size),
                    str(threads),
                    *(f"{found[build]['ns_per_element']:.3f}" if build in found else "-" for build in builds),
                    best["build"],
                    seconds_text(best["seconds"]),
                    f"{best['cycles_per_element']:.2f}",
                    giga(best["bytes_per_second"]),
                    f"{best['share_of_read']:.0%}",
                ]
            )
        if lines:
            yield f"### {loss}, loops"
            yield markdown_table(head, lines)


def report(figures: dict[str, Any], c_level: dict[str, Any] | None, pictures: Path) -> str:
    """Return the report; its pictures are written into a folder beside it."""
    minutes = (figures["wall_seconds"] + (c_level or {}).get("wall_seconds", 0)) / 60
    pieces = f" in {figures['pieces']} pieces" if figures["pieces"] > 1 else ""
    date = f" of {figures['date']}" if "date" in figures else ""
    parts = [
        "# Results",
        f"Written by `python -m benchmarks.report` from one run{date}, of {minutes:.0f} min{pieces}"
        f"{', a quick one' if figures['run']['quick'] else ''}. [README.md](README.md) says how to read the figures.",
        *short_section(figures),
        *goals_section(figures),
        *machine_section(figures),
        *peers_section(figures),
        *comparison_section(figures, pictures),
        *(slices_section(figures) if figures.get("slices") else ()),
        *roofline_section(figures, pictures),
    ]
    if figures.get("public"):
        parts += public_section(figures)
    if figures.get("growth"):
        parts += growth_section(figures, pictures)
    if c_level is not None:
        parts += c_level_section(c_level)
    return "\n\n".join(parts) + "\n"
