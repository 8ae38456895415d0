"""What is public, and what of it lacks a docstring, an example or a page: for the tests, which want nothing to lack any."""

from __future__ import annotations

import importlib
import inspect
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from cylosses import LOSSES

ROOT = Path(__file__).parents[1]
DATA = (str, dict)  # they carry no docstrings of their own; a page has to name them


def sections(item):
    """The numpydoc sections of a docstring by their titles, which are underlined with dashes."""
    lines = (inspect.getdoc(item) or "").splitlines()
    titles = [k for k, rule in enumerate(lines[1:]) if rule and set(rule) == {"-"}]
    return {lines[k]: "\n".join(lines[k + 2 : end]) for k, end in itertools.pairwise([*titles, len(lines)])}


def methods(cls) -> Iterator[tuple[str, object]]:
    """Public methods, what makes an object callable, and properties, of this class or of ours that it derives from."""
    for name in dir(cls):
        home = next(base for base in cls.__mro__ if name in vars(base))
        item = vars(home)[name]
        if isinstance(item, classmethod | staticmethod):
            item = item.__func__
        ours = home.__module__.startswith("cylosses") and type(item).__module__ in ("builtins", "_cython", "_cython_3_3_1")
        shown = inspect.isroutine(item) or isinstance(item, property)
        if ours and shown and (not name.startswith("_") or name == "__call__"):
            yield name, item


def has_example(cls, name, item) -> bool:
    """Whether a method is shown: by its own example, or one of its class or of a class that this derives from."""
    if "Examples" in sections(item):
        return True
    of_class = "\n".join(sections(base).get("Examples", "") for base in cls.__mro__)
    made = rf"\b{cls.__name__}\([^\n]*\)\(" if name == "__call__" else rf"\.{name}\b"
    return bool(re.search(made, of_class))


def lacks(module_name) -> list[str]:
    """The public names of a module, and methods of its classes, without a docstring or an example."""
    module = importlib.import_module(module_name)
    found = []
    for name in getattr(module, "__all__", ()):
        item = getattr(module, name)
        if isinstance(item, DATA):
            continue
        if not inspect.getdoc(item):
            found.append(f"{module_name}.{name}: docstring")
        elif (inspect.isroutine(item) or isinstance(item, type)) and ">>>" not in sections(item).get("Examples", ""):
            found.append(f"{module_name}.{name}: example")
        if isinstance(item, type):
            for method, function in methods(item):
                if not inspect.getdoc(function):
                    found.append(f"{module_name}.{name}.{method}: docstring")
                elif not isinstance(function, property) and not has_example(item, method, function):
                    found.append(f"{module_name}.{name}.{method}: example")
    return found


# Pages ------------------------------------------------------------------------------------------------------------------------

PAGES = [
    path for path in sorted((ROOT / "docs").rglob("*.md")) if path.parent.name != "losses"
]  # those of losses are written by Sphinx


def _listed(module_name) -> bool:
    """Whether the reference shows all public names of a module."""
    line = re.compile(rf"^\.\. automodule:: {re.escape(module_name)}$", re.MULTILINE)
    return any(line.search(path.read_text(encoding="utf-8")) for path in (ROOT / "docs" / "api").glob("*.md"))


def without_page(module_name) -> list[str]:
    """The public names of a module that no page has: neither in its text, nor because the reference shows the whole module.

    Of each loss of the registry, the reference has a page with its class and functions.
    """
    if _listed(module_name):
        return []
    words = set(re.findall(r"\w+", "\n".join(path.read_text(encoding="utf-8") for path in PAGES)))
    for name, cls in LOSSES.items():
        words |= {cls.__name__, f"{name}_loss", f"{name}_loss_backward"}
    names = getattr(importlib.import_module(module_name), "__all__", ())
    return [f"{module_name}.{name}: page" for name in names if name.strip("_") not in words]
