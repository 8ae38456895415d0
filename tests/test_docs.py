"""The pages of docs/ that are notebooks: their code runs, in order and in one namespace, as Sphinx runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cylosses import LOSSES

pytest.importorskip("matplotlib")

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
HEAD = re.compile(r"\A---\n(.*?)^---\n", re.DOTALL | re.MULTILINE)
CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
OPTIONS = re.compile(r"\A(?:---\n.*?^---\n|(?::[\w-]+:[^\n]*\n)+)", re.DOTALL | re.MULTILINE)


def is_notebook(page: Path) -> bool:
    head = HEAD.match(page.read_text(encoding="utf-8"))
    return head is not None and "file_format: mystnb" in head[1]


def code_of(page: Path) -> str:
    """The code of all cells, each at its line of the page, so that a traceback names that."""
    text = page.read_text(encoding="utf-8")
    code = ""
    for cell in CELL.finditer(text):
        options = OPTIONS.match(cell[1])
        begin = cell.start(1) + (options.end() if options else 0)
        code += "\n" * (text.count("\n", 0, begin) - code.count("\n")) + text[begin : cell.end(1)]
    return code


def skip_without_packages(code: str) -> None:
    """Skip if a package that the code imports is not installed. Modules of docs/_ext are here."""
    for module in re.findall(r"^(?:from|import) ([\w.]+)", code, re.MULTILINE):
        if not (DOCS / "_ext" / f"{module}.py").exists():
            pytest.importorskip(module, exc_type=ImportError)


NOTEBOOKS = sorted(page for page in DOCS.rglob("*.md") if is_notebook(page))


def test_notebooks_are_found():
    assert DOCS / "why-exact.md" in NOTEBOOKS


@pytest.mark.parametrize("page", NOTEBOOKS, ids=lambda page: page.relative_to(DOCS).with_suffix("").as_posix())
def test_notebook(page):
    """Every cell runs without an error or a warning; what the page claims of its numbers, hidden cells assert."""
    code = code_of(page)
    assert code.strip(), "a notebook without cells"
    skip_without_packages(code)
    paths = [DOCS / "_ext", ROOT, os.environ.get("PYTHONPATH")]
    environment = os.environ | {"MPLBACKEND": "agg", "PYTHONPATH": os.pathsep.join(str(path) for path in paths if path)}
    run = f"import sys; exec(compile(sys.stdin.read(), {str(page)!r}, 'exec'), {{'__name__': '__main__'}})"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", run], input=code, capture_output=True, encoding="utf-8", cwd=DOCS, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("name", LOSSES)
def test_the_guide_says_when_to_choose_a_loss(name):
    assert f"`{name}`" in (DOCS / "choosing-a-loss.md").read_text(encoding="utf-8")
