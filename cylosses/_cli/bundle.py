"""The file of a run with groups or several losses: the exact totals of all of them, so that `cylosses merge` can add them up.

The format is described in docs/state-format.md. Groups are sorted by their keys, and states are those of StreamingLoss.to_bytes, so
that equal data has equal bytes, however it was cut. Of groups, states are kept, which take sixty bytes, and not totals, of 2 kB.
"""

import json
import math
import struct
from typing import Any

from cylosses import StreamingLoss

MAGIC = b"\x93CYGROUP"
_VERSION = 1
_LENGTH, _NUMBER = struct.Struct("<I"), struct.Struct("<Q")
_CHECKSUM = 8

Key = tuple[Any, ...]


class Bundle:
    """Totals of all data, one of each loss, and states of groups by their keys."""

    def __init__(self, totals: list[StreamingLoss], by: list[tuple[str, str]] | None = None) -> None:
        self.totals = totals
        self.by = by or []  # names of the columns of keys, and what they hold
        self._groups: dict[Key, list[bytes]] = {}

    @property
    def is_plain(self) -> bool:
        """Whether this is one loss without groups."""
        return len(self.totals) == 1 and not self.by

    def add_group(self, key: Key, states: list[bytes]) -> None:
        """Add a group, or to it if it is there."""
        key = tuple(_normal(part) for part in key)
        held = self._groups.get(key)
        self._groups[key] = states if held is None else [_merged(*pair) for pair in zip(held, states, strict=True)]

    def merge(self, other: "Bundle") -> None:
        """Add what another bundle holds; a ValueError says why it cannot be."""
        if len(self.totals) != len(other.totals):
            raise ValueError(f"totals of {len(other.totals)} losses cannot be merged into those of {len(self.totals)}")
        if self.by != other.by:
            raise ValueError(f"groups by {_listed(other.by)} cannot be merged into groups by {_listed(self.by)}")
        for mine, theirs in zip(self.totals, other.totals, strict=True):
            mine.merge(theirs)
        for key, states in other._groups.items():
            self.add_group(key, states)

    def groups(self) -> list[tuple[Key, list[bytes]]]:
        """Return the groups by ascending keys."""
        return sorted(self._groups.items(), key=lambda item: [_rank(part) for part in item[0]])

    def to_bytes(self) -> bytes:
        """Return the bytes of a file; of one loss without groups those of its state."""
        if self.is_plain:
            return self.totals[0].to_bytes()
        parts = [MAGIC, bytes([_VERSION]), _sized(json.dumps({"by": self.by, "losses": len(self.totals)}).encode())]
        parts += [_sized(total.to_bytes()) for total in self.totals]
        parts.append(_NUMBER.pack(len(self._groups)))
        for key, states in self.groups():
            parts += [_sized(json.dumps(key).encode()), *map(_sized, states)]
        body = b"".join(parts)
        return body + _checksum(body)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Bundle":
        """Return what `to_bytes` stored; a ValueError says what is wrong with anything else."""
        if not data.startswith(MAGIC):
            return cls([StreamingLoss.from_bytes(data)])
        if _checksum(data[:-_CHECKSUM]) != data[-_CHECKSUM:]:
            raise ValueError("damaged or truncated state: the checksum does not fit")
        reader = _Reader(data[:-_CHECKSUM], len(MAGIC))
        if (version := reader.take(1)[0]) != _VERSION:
            raise ValueError(f"state of groups of version {version}; this cylosses reads version {_VERSION}")
        try:
            header = json.loads(reader.sized())
            bundle = cls(
                [StreamingLoss.from_bytes(reader.sized()) for _ in range(header["losses"])], list(map(tuple, header["by"]))
            )
            for _ in range(reader.number()):
                key = json.loads(reader.sized())
                bundle.add_group(tuple(key), [reader.sized() for _ in bundle.totals])
        except (KeyError, TypeError, struct.error):
            raise ValueError("not a valid state: it does not hold what a state of groups does") from None
        if bundle.to_bytes() != data:
            raise ValueError("not a valid state: it is not in normal form")
        return bundle


class _Reader:
    """What lies between magic bytes and checksum, taken from the front."""

    def __init__(self, body: bytes, at: int) -> None:
        self._body, self._at = body, at

    def take(self, length: int) -> bytes:
        if self._at + length > len(self._body):
            raise ValueError("not a valid state: its lengths do not add up")
        self._at += length
        return self._body[self._at - length : self._at]

    def sized(self) -> bytes:
        return self.take(_LENGTH.unpack(self.take(_LENGTH.size))[0])

    def number(self) -> int:
        found: int = _NUMBER.unpack(self.take(_NUMBER.size))[0]
        return found


def _sized(content: bytes) -> bytes:
    return _LENGTH.pack(len(content)) + content


def _checksum(body: bytes) -> bytes:
    from hashlib import blake2b  # imported here: it is slow to load, and few runs need it

    return blake2b(body, digest_size=_CHECKSUM).digest()


def _merged(first: bytes, second: bytes) -> bytes:
    total = StreamingLoss.from_bytes(first)
    total.merge(StreamingLoss.from_bytes(second))
    return total.to_bytes()


def _normal(part: Any) -> Any:
    """Return the one object of a value that has several: numbers that are not numbers are equal as keys, and so are zeros."""
    if isinstance(part, float):
        return math.nan if math.isnan(part) else part + 0.0
    return part


def _rank(part: Any) -> tuple[int, Any]:
    """Return what sorts as DuckDB does: NaN behind all numbers, and what is missing behind everything."""
    if part is None:
        return 2, 0
    return (1, 0) if part is math.nan else (0, part)


def _listed(by: list[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in by) or "nothing"
