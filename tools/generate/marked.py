"""Text between ``generated: <what>`` and ``generated: end`` in files that are otherwise written by hand."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from .registry import Source

SECTION = re.compile(r"^(?P<first>[^\n]*\bgenerated: (?P<what>(?!end\b)[^\n(]*?) \(python -m tools\.generate\)[^\n]*\n).*?"
                     r"^(?P<last>(?P<indent>[ ]*)[^\n]*\bgenerated: end\b[^\n]*\n)", re.MULTILINE | re.DOTALL)  # fmt: skip


# C ------------------------------------------------------------------------------------------------------------------


def _condition(loss: Source) -> str:
    """Return what a valid parameter is, as a C programmer writes it."""
    p = loss.parameter
    if p is None:
        return "no parameter: 0"
    known = {
        "at least 0": f"{p} >= 0",
        "positive": f"{p} > 0",
        "positive and finite": f"{p} > 0, finite",
        "between 0 and 1": f"0 <= {p} <= 1",
    }
    return known.get(loss.rule, f"{p} is {loss.rule}")


def header_numbers(losses: list[Source]) -> list[str]:
    """Members of the enumeration in C."""
    members = [f"CYLOSSES_{loss.name.upper()} = {loss.code}{',' if loss is not losses[-1] else ''}" for loss in losses]
    width = max(map(len, members)) + 3
    return [f"{member:{width}}/* {_condition(loss)} */" for member, loss in zip(members, losses, strict=True)]


def cython_numbers(losses: list[Source]) -> list[str]:
    """The same in Cython, from the header."""
    return [f'{loss.name.upper()} "CYLOSSES_{loss.name.upper()}"' for loss in losses]


def python_numbers(losses: list[Source]) -> list[str]:
    """The same in Python."""
    return [f"{loss.name.upper()} = {loss.code}" for loss in losses]


# Tests --------------------------------------------------------------------------------------------------------------


def signatures(losses: list[Source]) -> list[str]:
    """The rows of the table of documented signatures."""
    flags = {True: "{FLAGS}", False: "reduction='mean'"}
    rows = []
    for loss in losses:
        options = ", options=None" if loss.cls == "SmoothL1Loss" else ""
        rows.append(f'"{loss.name}_loss": f"(input, target, {flags[loss.legacy]}{loss.declared}{options}, {{OPTIONS}})",')
    for loss in losses:
        backward = f"(grad_output, input, target, reduction='mean'{loss.declared}, {{BACKWARD_OPTIONS}})"
        rows.append(f'"{loss.name}_loss_backward": f"{backward}",')
    for loss in losses:
        rows.append(f'"{loss.cls}": {"f" if loss.legacy else ""}"({flags[loss.legacy]}{loss.declared})",')
    return rows


def typed_calls(losses: list[Source]) -> list[str]:
    """A call of each function and class, for type checkers and to run."""
    lines = []
    for loss in losses:
        by_name = loss.declared
        by_place = f", {loss.default!r}" if loss.parameter else ""
        lines += [
            f'cylosses.{loss.name}_loss(x, y, reduction="sum"{by_name}, weight=y)',
            f'assert_type(cylosses.{loss.name}_loss_backward(1.0, x, y, "sum"{by_place}), np.ndarray[Any, Any])',
            f'assert_type(cylosses.{loss.cls}(reduction="none"{by_name}).grad(x, y), np.ndarray[Any, Any])',
        ]
        if loss.parameter:
            lines += [
                f"cylosses.{loss.name}_loss(x, y, {loss.parameter}=[{loss.default!r}, {loss.default!r}, 1.0], axis=0)",
                f"assert_type(cylosses.{loss.cls}({loss.parameter}=np.array([[1.0], [{loss.default!r}]])).{loss.parameter}, Any)",
            ]
    return lines


# What may stand between the comments, by its name and, where that differs, the kind of file.
CONTENTS: dict[tuple[str, str], Callable[[list[Source]], list[str]]] = {
    ("numbers of the losses", ".h"): header_numbers,
    ("numbers of the losses", ".pxd"): cython_numbers,
    ("numbers of the losses", ".pyx"): cython_numbers,
    ("numbers of the losses", ".pyi"): python_numbers,
    ("signatures of the losses", ".py"): signatures,
    ("calls of the losses", ".py"): typed_calls,
}


def filled(path: Path, losses: list[Source]) -> str:
    """Return the text of a file with what belongs between its comments."""

    def section(match: re.Match[str]) -> str:
        lines = CONTENTS[match["what"], path.suffix](losses)
        return match["first"] + "".join(f"{match['indent']}{line}\n" for line in lines) + match["last"]

    return SECTION.sub(section, path.read_text(encoding="utf-8"))
