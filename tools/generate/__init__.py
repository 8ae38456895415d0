"""What follows from the classes of the losses: stubs, the registry, numbers for C, documented signatures, calls for type checkers.

``python -m tools.generate`` writes it, ``python -m tools.generate --check`` says what is stale.

Decisions, with their reasons:

a. The classes are read from their sources, not imported: a new class cannot be imported before the core is compiled, and the core
   cannot be compiled before the header has the number of the new loss.
b. A file is generated as a whole, or between two comments, ``generated: <what>`` and ``generated: end``. Files with such
   comments are found, wherever they are.
c. What is written needs no formatter afterwards.
"""

from __future__ import annotations

from pathlib import Path

from . import marked, registry, stubs

ROOT = Path(__file__).parents[2]
FOLDERS = ("cylosses", "tests")
SUFFIXES = (".h", ".pxd", ".py", ".pyi", ".pyx")


def outdated(root: Path = ROOT) -> dict[Path, str]:
    """Return what files ought to hold, for those that hold something else."""
    losses = registry.read(root / "cylosses" / "losses")
    wanted = {root / path: text for path, text in stubs.files(losses).items()}
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in SUFFIXES and path not in wanted:
                wanted[path] = marked.filled(path, losses)
    return {path: text for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text}
