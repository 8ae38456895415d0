"""`--fail-above`: whether losses are as small as they should be, for scripts."""

import math
from collections.abc import Sequence

import numpy as np

from cylosses._cli.score import Score
from cylosses._cli.source import InputError
from cylosses._cli.specs import LossSpec


def parse_thresholds(texts: Sequence[str], specs: Sequence[LossSpec]) -> list[tuple[int, str, float]]:
    """Return of each threshold the position of its loss, its name, and the value."""
    found = []
    for text in texts:
        name, _, number = text.rpartition("=")
        if not name and len(specs) > 1:
            raise InputError(f"--fail-above {text}: which loss it is about must be told, as LOSS=VALUE")
        at = [k for k, spec in enumerate(specs) if not name or name in (spec.text, spec.name)]
        if not at:
            raise InputError(f"--fail-above {text}: {name!r} is no loss of this run; {', '.join(spec.text for spec in specs)} are")
        if len(at) > 1:
            raise InputError(f"--fail-above {text}: {' and '.join(specs[k].text for k in at)} are meant; write the parameter, too")
        try:
            value = float(number)
        except ValueError:
            raise InputError(f"--fail-above {text}: {number!r} is not a number") from None
        if math.isnan(value):
            raise InputError(f"--fail-above {text}: nothing is above NaN")
        found.append((at[0], specs[at[0]].text, value))
    return found


def exceeded(thresholds: Sequence[tuple[int, str, float]], result: Score) -> list[str]:
    """Return a line for each value that is larger than its threshold, or NaN."""
    lines = []
    for at, name, most in thresholds:
        for value in np.ravel(result.values[at]) if result.values else []:
            if not value <= most:
                lines.append(f"{name} is {value!s}, above {most:g}")
        if result.groups is not None:
            for key, value in zip(result.groups.keys, result.groups.values[at], strict=True):
                if not value <= most:
                    group = ", ".join(f"{column} {part}" for column, part in zip(result.groups.names, key, strict=True))
                    lines.append(f"{name} is {value!s} for {group}, above {most:g}")
    return lines
