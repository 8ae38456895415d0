"""The JSON file of a run: written after every row, so that an interrupted run can be continued."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class OtherRunError(Exception):
    """The file holds figures of another machine, version or set of options."""


def _differences(there: dict[str, Any], here: dict[str, Any]) -> Iterator[str]:
    """Yield each value, at any depth, in which two dictionaries differ."""
    for key in sorted({*there, *here}):
        one, other = there.get(key), here.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from (f"{key}, {text}" for text in _differences(one, other))
        elif one != other:
            yield f"{key}: {one!r} there, {other!r} here"


class Record:
    """Figures that are on disk as soon as they are added.

    Parameters
    ----------
    path : Path or None
        The file; None keeps the figures in memory alone.
    run : dict
        What all rows of a file must have in common: the machine, versions, options.
    resume : bool
        Take over the rows of an existing file, which must be of the same `run`; else an existing file is overwritten.

    Attributes
    ----------
    figures : dict
        As in the file; ``wall_seconds`` and ``pieces`` say how long and in how many pieces the rows were timed.
    """

    def __init__(self, path: Path | None, run: dict[str, Any], *, resume: bool = False) -> None:
        self.path = path
        self.start = time.perf_counter()
        run = json.loads(json.dumps(run))  # as it comes back: tuples are lists
        self.figures: dict[str, Any] = {"run": run}
        if resume and path is not None and path.exists():
            self.figures = json.loads(path.read_text())
            differing = "; ".join(_differences(self.figures.get("run", {}), run))
            if differing:
                raise OtherRunError(f"{path} cannot be continued, it is of another run ({differing})")
        self.seconds_before = self.figures.get("wall_seconds", 0)
        self.figures["pieces"] = self.figures.get("pieces", 0) + 1

    def rows(self, part: str) -> list[dict[str, Any]]:
        """Return the rows of a part, to which `add` appends."""
        return self.figures.setdefault(part, [])

    def find(self, part: str, **wanted: Any) -> dict[str, Any] | None:
        """Return the row of a part that has these values; None if it is still to be timed."""
        return next((row for row in self.rows(part) if all(row[key] == value for key, value in wanted.items())), None)

    def add(self, part: str, row: dict[str, Any]) -> None:
        """Append a row and save."""
        self.rows(part).append(row)
        self.save()

    def set(self, name: str, value: Any) -> None:
        """Store a single figure and save."""
        self.figures[name] = value
        self.save()

    def save(self) -> None:
        """Write the file in one step: whoever reads it, or kills this process, finds a whole one."""
        if self.path is None:
            return
        self.figures["wall_seconds"] = self.seconds_before + round(time.perf_counter() - self.start)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_name(f"{self.path.name}.new")
        fresh.write_text(json.dumps(self.figures) + "\n")  # on one line: json is written in C then, and after every row
        fresh.replace(self.path)
