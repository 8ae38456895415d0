"""The reference shows what a module is for. The decisions behind it, the rest of its docstring, are for who reads the source."""

from sphinx.application import Sphinx


def shorten(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Cut the docstring of a module where its decisions begin."""
    if what != "module":
        return
    for number, line in enumerate(lines):
        if line.startswith("Decisions, with their reasons"):
            del lines[number:]
            lines.append("")
            return


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", shorten, priority=100)  # before numpydoc, which lays lines out anew
    return {"parallel_read_safe": True}
