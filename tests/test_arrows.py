"""Who imports whom: the core nothing of the package above it; adapters and the command line no private module but their own."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.source_tree

PACKAGE = Path(__file__).parents[1] / "cylosses"
# Private modules that belong to an adapter, to the command line or to the solver. The types of arguments are everybody's.
OWN = {
    "_cli": {"_cli", "_fit"},  # the demo fits linear models
    "__main__": {"_loading", "_process"},
    "cli": {"_cli", "_process"},
    "_fit": {"_fit", "_weights"},
    "sklearn": {"_fit", "_sklearn_checks", "_sklearn_metrics", "_weights"},
    "_sklearn_checks": set(),
    "_sklearn_metrics": {"_sklearn_checks"},
    "boosting": {"_numbers", "_weights"},
    "scipy": {"_numbers"},
    "torch": {"torch"},
    "_numbers": set(),
    "_weights": set(),
    "dask": {"_dask"},
    "_dask": {"_dask", "_shapes"},
}
CYTHON = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import\s+(\S+)|c?import\s+([\w.]+))", re.MULTILINE)


def sources(name):
    """The files of a module or of a package."""
    module, package = PACKAGE / f"{name}.py", PACKAGE / name
    return [module] if module.exists() else sorted(package.rglob("*.p*"))


def imported(path):
    """The names that a file imports, with the modules that they come from: cylosses._core.builds, cylosses.Loss, …"""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return {f"{module}.{name}" if module else whole for module, name, whole in CYTHON.findall(text)}
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "modules are imported by their full names"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def of_the_package(path):
    """The parts of what a file imports of the package: ("_core", "builds"), …"""
    return {tuple(name.split(".")[1:]) for name in imported(path) if name.split(".")[0] == "cylosses"}


def test_imports_are_found():
    assert ("_core", "job") in {parts[:2] for parts in of_the_package(PACKAGE / "_core" / "factor.pxd")}
    assert ("_core", "builds") in of_the_package(PACKAGE / "_threads.py")
    assert ("LOSSES",) in of_the_package(PACKAGE / "cli.py")


def test_the_core_imports_nothing_above_it():
    files = [path for path in sources("_core") if path.suffix in (".py", ".pyx", ".pxd", ".pyi")]
    assert files
    assert {(path.name, parts) for path in files for parts in of_the_package(path) if parts[0] != "_core"} == set()


@pytest.mark.parametrize("name", OWN)
def test_no_private_module_of_others_is_imported(name):
    allowed = OWN[name] | {"_types", "__version__"}
    found = {
        (path.name, ".".join(parts))
        for path in sources(name)
        for parts in of_the_package(path)
        if any(part.startswith("_") for part in parts) and parts[0] not in allowed
    }
    assert found == set()


def test_importing_the_package_loads_none_of_them():
    script = "import sys, cylosses; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert not {f"cylosses.{name}" for name in OWN} & set(done.stdout.split())
