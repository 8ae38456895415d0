"""The work of `cylosses merge`: several states in, their total out."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cylosses import StreamingLoss
from cylosses._cli.bundle import MAGIC, Bundle
from cylosses._cli.groups import Groups
from cylosses._cli.output_files import Outputs
from cylosses._cli.score import Score
from cylosses._cli.source import InputError, one_line

# No state of unsliced data is longer. More is read of no file that does not begin as a state does.
_FIRST_PART = 65535
_MAGICS = (b"\x93CYLOSS", MAGIC)


def merge_states(files: Sequence[str], out: str | None = None) -> Bundle:
    """Return the total of several states of the same losses and groups, each named once; write it to the `.state` file `out`.

    After an InputError, which every bad input raises, `out` has not been touched.
    """
    with merged(files, out) as total:
        return total


@contextmanager
def merged(files: Sequence[str], out: str | None = None) -> Iterator[Bundle]:
    """Do what `merge_states` does, but let `out` appear at the end of the block, unless that raises an exception."""
    outputs = Outputs(map(Path, files))
    outputs.add("--out", out, ".state")
    seen: set[Path] = set()
    total: Bundle | None = None
    for text in files:
        path = Path(os.path.realpath(text))  # unlike resolve, it leaves a loop of links to whoever opens it
        if path in seen:
            raise InputError(f"{text}: named twice; its data would count twice")
        seen.add(path)
        state = _read_state(text)
        if total is None:
            total = state
            continue
        try:
            total.merge(state)
        except (ValueError, OverflowError) as error:
            raise InputError(f"{text}: {one_line(error)}") from None
    if total is None:
        raise InputError("no state to merge")
    with outputs:
        if out is not None:
            outputs.open("--out").write(total.to_bytes())
        yield total


def score_of(bundle: Bundle) -> Score:
    """Return the scores that totals hold."""
    values = [total.compute() for total in bundle.totals]
    groups = None
    if bundle.by:
        groups = Groups([name for name, _ in bundle.by], values=[[] for _ in values])
        for key, states in bundle.groups():
            try:
                totals = [StreamingLoss.from_bytes(state) for state in states]
            except ValueError as error:
                raise InputError(f"the state of group {key}: {one_line(error)}") from None
            groups.keys.append(key)
            groups.counts.append(totals[0].count)
            for listed, total in zip(groups.values, totals, strict=True):
                listed.append(total.compute())
    return Score(values, values[0].dtype.name, (), bundle.totals[0].count, groups=groups)


def _read_state(text: str) -> Bundle:
    """Return the totals in a file that `cylosses score --state` or `cylosses merge --out` wrote."""
    path = Path(text)
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{text}: not a regular file")
        with path.open("rb") as file:
            state = file.read(_FIRST_PART + 1)
            return Bundle.from_bytes(state + (file.read() if state.startswith(_MAGICS) else b""))
    except OSError as error:
        raise InputError(f"{text}: cannot read: {error.strerror or one_line(error)}") from None
    except ValueError as error:
        raise InputError(f"{text}: {one_line(error)}") from None
