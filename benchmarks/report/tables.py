"""Figures and tables as text."""

from collections.abc import Iterable, Sequence


def seconds_text(seconds: float) -> str:
    """Return a time with its unit and three significant digits."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def size_text(size: int) -> str:
    """Return a number of elements, short: 16, 4096, 100 k, 50 M."""
    for unit, factor in (("M", 1_000_000), ("k", 1_000)):
        if size >= 10 * factor and size % (factor // 10 or 1) == 0:
            return f"{size / factor:g} {unit}"
        if size >= factor and size % factor == 0:
            return f"{size // factor} {unit}"
    return str(size)


def place_text(place: int | str) -> str:
    """Return a number of elements, or the name of a layout, as tables have it."""
    return place if isinstance(place, str) else size_text(place)


def markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table: the first column to the left, figures to the right."""
    rows = [list(map(str, line)) for line in (head, *lines)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [
        [cell.ljust(width) if not k else cell.rjust(width) for k, (cell, width) in enumerate(zip(row, widths, strict=True))]
        for row in (rows[0], rule, *rows[1:])
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)
