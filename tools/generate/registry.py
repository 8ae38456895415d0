"""The classes of the losses, as their sources state them."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """One class: what `cylosses.losses.Loss` documents under these names, and where it is."""

    module: str
    cls: str
    name: str
    code: int
    parameter: str | None = None
    default: float = 0.0
    rule: str = ""
    legacy: bool = False

    @property
    def declared(self) -> str:
        """The parameter with its default, as in a signature; empty without one."""
        return f", {self.parameter}={self.default!r}" if self.parameter else ""


# The attribute of the class behind each field.
ATTRIBUTES = {
    "name": "name",
    "code": "_code",
    "parameter": "parameter_name",
    "default": "default",
    "rule": "rule",
    "legacy": "legacy",
}


def _source(module: str, node: ast.ClassDef) -> Source:
    """Return what a class says of itself, in literals."""
    values: dict[str, ast.expr] = {}
    for statement in node.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            values[statement.targets[0].id] = statement.value
    found = {field: ast.literal_eval(values[name]) for field, name in ATTRIBUTES.items() if name in values}
    missing = {"name", "code"} - set(found)
    if missing:
        raise ValueError(f"{module}.{node.name} lacks {', '.join(ATTRIBUTES[field] for field in sorted(missing))}")
    return Source(module, node.name, **found)


def read(folder: Path) -> list[Source]:
    """Return the losses of all modules of a folder, in the order of their numbers."""
    found = []
    for path in sorted(folder.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and [base.id for base in node.bases if isinstance(base, ast.Name)] == ["Loss"]:
                found.append(_source(path.stem, node))
    found.sort(key=lambda loss: loss.code)
    if [loss.code for loss in found] != list(range(len(found))):
        numbers = ", ".join(f"{loss.cls} {loss.code}" for loss in found)
        raise ValueError(f"the numbers of the losses must be 0, 1, 2, ..., each of them once; got {numbers}")
    return found
