"""What is public, and what of it lacks a docstring, an example or a page: for the tests, which want nothing to lack any."""

from __future__ import annotations

import importlib
import inspect
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

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

PAGES = [path for path in sorted((ROOT / "docs").rglob("*")) if path.suffix in (".md", ".rst") and "_build" not in path.parts]


REFERENCE = [path for path in PAGES if "api" in (path.stem, *path.relative_to(ROOT / "docs").parts)]  # docs/api.md, or docs/api/


def _listed(module_name) -> bool:
    """Whether the API reference lists a module: alone in a line, as in the block of a directive, or behind a directive's name."""
    line = re.compile(rf"^\s*(?:.*::\s*|.*}}\s*)?{re.escape(module_name)}\s*$", re.MULTILINE)
    return any(line.search(path.read_text(encoding="utf-8")) for path in REFERENCE)


def without_page(module_name) -> list[str]:
    """The public names of a module that no page has: neither in its text, nor because the API reference lists the module.

    The reference makes a page of each module that it lists, with all of its `__all__`; that of `cylosses` has what is in other
    modules, too.
    """
    module = importlib.import_module(module_name)
    if _listed(module_name):
        return []
    words = set(re.findall(r"\w+", "\n".join(path.read_text(encoding="utf-8") for path in PAGES)))
    top = vars(importlib.import_module("cylosses")) if _listed("cylosses") else {}
    names = [name for name in getattr(module, "__all__", ()) if name not in top or top[name] is not getattr(module, name)]
    return [f"{module_name}.{name}: page" for name in names if name not in words]
