"""The pieces of code of docs/c-api.md, which are run as they are printed."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

GUIDE = Path(__file__).parents[1] / "docs" / "c-api.md"


def blocks(section: str, language: str) -> list[str]:
    """The blocks of code of a section in a language."""
    text = re.search(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert text, section
    return re.findall(rf"```{language}\n(.*?)```", text[1], re.DOTALL)


def run_python(section: str) -> tuple[list[str], list[str]]:
    """Run the Python of a section; what it printed, and what comments behind its calls of print say that it prints."""
    (code,) = blocks(section, "python")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, f"{GUIDE.name}, {section}", "exec"), {"__name__": "__main__"})
    return printed.getvalue().splitlines(), re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)
