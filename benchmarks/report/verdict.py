"""Ratios between the subjects of a row, and whether the library is never slower than its peers."""

from typing import Any

from benchmarks.measure.harness import ratios


def fastest_peer(row: dict[str, Any]) -> str | None:
    """Return the name of the peer with the shortest best time; None if the row has no peer."""
    peers = {name: subject["best"] for name, subject in row["subjects"].items() if subject["kind"] == "peer"}
    return min(peers, key=peers.__getitem__) if peers else None


def timed_rows(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a run that have times, those along an axis at the end."""
    return [row for part in ("rows", "slices") for row in figures.get(part, ()) if "missing" not in row]


def subject_of(row: dict[str, Any], library: str) -> str | None:
    """Return the name of the subject with which a peer takes part in a row, as ``torch forward+backward``; None without one."""
    peers = (name for name, subject in row["subjects"].items() if subject["kind"] == "peer")
    return next((name for name in peers if name == library or name.startswith(f"{library} ")), None)


def disturbed(row: dict[str, Any], *names: str) -> bool:
    """Whether one of the subjects lost most of its rounds to other programs."""
    return any(row["subjects"][name]["disturbed"] for name in names)


def ratio_to(row: dict[str, Any], name: str, of: str = "cylosses") -> dict[str, float]:
    """Return the median and the quartiles of the per-round ratios of two subjects.

    Where one of them was disturbed, all three are the ratio of the best times instead.
    """
    subjects = row["subjects"]
    if disturbed(row, of, name):
        best = subjects[of]["best"] / subjects[name]["best"]
        return {"median": best, "low": best, "high": best}
    return ratios(subjects[of]["times"], subjects[name]["times"])


def ratio_text(row: dict[str, Any], name: str, of: str = "cylosses") -> str:
    """Return the ratio as text, with a tilde where it is that of the best times of a disturbed row."""
    return f"{'~' if disturbed(row, of, name) else ''}{ratio_to(row, name, of)['median']:.2f}"


def verdict(row: dict[str, Any], peer: str | None = None) -> str:
    """Return whether the library is never slower in a row.

    Parameters
    ----------
    row : dict
        Of the JSON.
    peer : str, optional
        The subject to compare with; the fastest peer by default.

    Returns
    -------
    str
        ``yes`` if the ratio to the peer is at most 1; ``level`` if it is above, but the middle half of the rounds includes
        1, so that the order changes from round to round; else ``no``; ``-`` without a peer.
    """
    peer = peer or fastest_peer(row)
    if peer is None:
        return "-"
    found = ratio_to(row, peer)
    if found["median"] <= 1:
        return "yes"
    return "level" if found["low"] <= 1 else "no"
