"""The public face: documented, typed and shown by examples that run; names agree everywhere."""

from __future__ import annotations

import ast
import doctest
import importlib.util
import inspect
import itertools
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest

import cylosses
from cylosses import functional
from cylosses.losses import LOSSES

from .described import lacks, without_page
from .reference import ORACLE

PACKAGE = Path(cylosses.__file__).parent


def can_be_had(name):
    """Whether a module can be imported; an adapter whose neighbour is missing names its extra."""
    try:
        importlib.import_module(name)
    except ImportError as error:
        if "pip install 'cylosses[" not in str(error):
            raise
        return False
    return True


MODULES = ["cylosses"] + [
    f"cylosses.{module.name}"
    for module in pkgutil.iter_modules(cylosses.__path__)
    if not module.name.startswith("_") and can_be_had(f"cylosses.{module.name}")
]
PUBLIC = {name: getattr(cylosses, name) for name in cylosses.__all__}
FUNCTIONS = {name: item for name, item in PUBLIC.items() if callable(item) and not isinstance(item, type)}
CLASSES = {
    name: item for name, item in PUBLIC.items() if isinstance(item, type) and not issubclass(item, (dict, Warning, Exception))
}


def methods(cls):
    """Public methods and what makes an object callable."""
    return {
        name: getattr(cls, name)
        for name in dir(cls)
        if (not name.startswith("_") or name == "__call__") and callable(getattr(cls, name))
    }


METHODS = {f"{name}.{method}": item for name, cls in CLASSES.items() for method, item in methods(cls).items()}


def sections(item):
    """The numpydoc sections of a docstring: titles that are underlined with dashes."""
    lines = inspect.getdoc(item).splitlines()
    return [title for title, rule in itertools.pairwise(lines) if rule and set(rule) == {"-"}]


def parameters(item):
    """Names of the parameters of a callable as its signature or its documentation's first line has them."""
    found = list(inspect.signature(item).parameters)
    return [name for name in found if name not in ("self", "args", "kwargs")]


def test_all_is_complete_and_sorted_out():
    assert len(set(cylosses.__all__)) == len(cylosses.__all__)
    for name in cylosses.__all__:
        assert hasattr(cylosses, name), name
    unlisted = {
        name
        for name, item in vars(cylosses).items()
        if not name.startswith("_") and name not in cylosses.__all__ and not inspect.ismodule(item)
    } - {"annotations"}
    assert unlisted == set()
    for name in ("StreamingLoss", "BroadcastWarning", "LOSSES", "set_num_threads", "get_num_threads", "show_versions"):
        assert name in cylosses.__all__


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_class_and_function_has_a_docstring(name):
    if callable(PUBLIC[name]):
        assert inspect.getdoc(PUBLIC[name])
        summary = inspect.getdoc(PUBLIC[name]).splitlines()[0]
        assert summary.endswith(".")


@pytest.mark.parametrize("name", [*FUNCTIONS, *METHODS])
def test_docstrings_of_functions_and_methods(name):
    item = {**FUNCTIONS, **METHODS}[name]
    found = sections(item)
    if parameters(item):
        assert "Parameters" in found
    assert ("Returns" in found) == (inspect.signature(item).return_annotation not in (None, "None"))
    if name in FUNCTIONS:
        assert "Examples" in found


@pytest.mark.parametrize("name", CLASSES)
def test_docstrings_of_classes(name):
    found = sections(CLASSES[name])
    assert "Parameters" in found
    assert "Examples" in found


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_every_parameter_is_documented(name):
    text = inspect.getdoc(PUBLIC[name])
    missing = [parameter for parameter in parameters(PUBLIC[name]) if parameter not in text]
    assert missing == []


@pytest.mark.parametrize("loss", LOSSES)
def test_docstrings_of_losses_say_what_they_compute(loss):
    """The formula, its source, shapes, dtypes and errors are in the documentation of the function."""
    text = inspect.getdoc(getattr(cylosses, f"{loss}_loss"))
    for word in ("Raises", "shape", "float32", "float64", ".. math::"):
        assert word in text, word
    assert re.search(r"\b(18|19|20)\d\d\b", text), "the year of a source"


def homes():
    """Public modules, and the modules below them that define something public."""
    modules = [importlib.import_module(name) for name in MODULES]
    public = [getattr(module, name) for module in modules for name in getattr(module, "__all__", ())]
    defining = {item.__module__ for item in public if getattr(item, "__module__", "").startswith("cylosses")}
    return sorted({*MODULES, *defining})


def examples(module_name):
    """The doctests of a module: of its own docstring and of everything that it defines."""
    module = importlib.import_module(module_name)
    found = doctest.DocTestFinder().find(module, module_name, module=module, extraglobs={"np": np})
    return [test for test in found if test.examples]


@pytest.mark.parametrize("module_name", homes())
def test_doctests(module_name):
    runner = doctest.DocTestRunner()
    report: list[str] = []
    for test in examples(module_name):
        runner.run(test, out=report.append)
    assert "".join(report) == ""


def test_examples_of_everything_public_are_among_the_doctests():
    """A function that doctest cannot find, as happens to compiled ones, would have examples that never run."""
    run = {test.name.rsplit(".", 1)[-1] for module_name in homes() for test in examples(module_name)}
    shown = {name for name, item in {**FUNCTIONS, **CLASSES}.items() if ">>>" in inspect.getdoc(item)}
    assert shown == {*FUNCTIONS, *CLASSES}
    assert shown - run == set()


@pytest.mark.parametrize("module", MODULES)
def test_nothing_public_lacks_a_docstring_or_an_example(module):
    assert lacks(module) == []


@pytest.mark.source_tree
@pytest.mark.parametrize("module", MODULES)
def test_nothing_public_lacks_a_page(module):
    assert without_page(module) == []


def test_what_lacks_something_is_found(monkeypatch):
    """A class without examples, a method of it without a docstring, and a function without any."""

    class Bare:
        """A class."""

        def method(self): ...

    Bare.__module__ = "cylosses.scipy"
    module = importlib.import_module("cylosses.scipy")
    monkeypatch.setattr(module, "Bare", Bare, raising=False)
    monkeypatch.setattr(module, "naked", lambda: None, raising=False)
    monkeypatch.setattr(module, "__all__", ["Bare", "naked", "rho"])
    assert lacks("cylosses.scipy") == [
        "cylosses.scipy.Bare: example",
        "cylosses.scipy.Bare.method: docstring",
        "cylosses.scipy.naked: docstring",
    ]


# One set of names ---------------------------------------------------------------------------------------------------


def test_core_registry_oracle_stubs_functions_command_line_and_manual_name_the_same_losses():
    names = set(LOSSES)
    parameters = (PACKAGE / "_core" / "parameters.pxd").read_text(encoding="utf-8")
    header = (PACKAGE / "include" / "cylosses.h").read_text(encoding="utf-8")
    codes = dict(re.findall(r"CYLOSSES_([A-Z0-9_]+) = (\d+)", header.split("enum cylosses_loss {")[1].split("}")[0]))
    assert {code.lower(): int(number) for code, number in codes.items()} == {name: cls._code for name, cls in LOSSES.items()}
    rows = re.findall(r'^        ([A-Z0-9_]+) "CYLOSSES_([A-Z0-9_]+)"$', parameters, re.MULTILINE)
    assert rows == [(code, code) for code in codes]
    assert set(ORACLE) == names
    functions = {f"{name}_loss{suffix}" for name in names for suffix in ("", "_backward")}
    stub = ast.parse((PACKAGE / "functional.pyi").read_text(encoding="utf-8"))
    assert {node.name for node in stub.body if isinstance(node, ast.FunctionDef)} == functions
    assert {name for name in functional.__all__ if name.islower()} == functions
    assert functions | {cls.__name__ for cls in LOSSES.values()} <= set(cylosses.__all__)
    from cylosses import cli

    (option,) = (parameter for parameter in cli.score_command.params if parameter.name == "losses")
    completed = option.shell_complete(click.Context(cli.score_command), "")
    assert {item.value for item in completed} == names
    page = (Path(__file__).parents[1] / "docs" / "losses.md").read_text(encoding="utf-8")
    assert [name for name in names if f"{name}_loss" not in page] == []


@pytest.mark.parametrize("name", LOSSES)
def test_the_page_of_losses_has_a_row_for_each(name):
    cls, page = LOSSES[name], (Path(__file__).parents[1] / "docs" / "losses.md").read_text(encoding="utf-8")
    function, title, parameter = re.search(rf"^\| `({name}_loss)` \| `(\w+)` \|(.*?)\|", page, re.MULTILINE).groups()
    assert (function, title) == (f"{name}_loss", cls.__name__)
    if cls.parameter_name is None:
        assert parameter.strip() == ""
    else:
        own, default = parameter.strip("` ").split("=")
        assert (own, float(default)) == (cls.parameter_name, cls.default)


def quoted(text):
    """The names in backquotes."""
    return set(re.findall(r"`(\w+)`", text))


def test_the_manuals_name_the_losses_that_differ():
    """What a class says of its accuracy, and of its default for boosters, the prose says too."""
    root = Path(__file__).parents[1]
    accuracy = re.search(r"\(4\s+for ([^)]*)\)", (root / "docs" / "conventions.md").read_text(encoding="utf-8"))[1]
    assert quoted(accuracy) == {name for name, cls in LOSSES.items() if cls.max_ulp_error == 4}
    manual = (root / "docs" / "boosting.md").read_text(encoding="utf-8")
    listed = manual[manual.index("The fraction is ") : manual.index("is no length.")]
    found = {
        name: float(number)
        for number, names in re.findall(r"(\d[\d.]*) for ((?:`\w+`(?:, |,\n| and )?)+)", listed)
        for name in quoted(names)
    }
    assert found == {name: cls.boosting_default for name, cls in LOSSES.items() if cls.parameter_is_length}


# Types --------------------------------------------------------------------------------------------------------------


def descriptions():
    """The functions and classes at the top of every module as a type checker sees them: the stub where there is one.

    Those of the adapters that have the same names are of their own kind.
    """
    for path in sorted(PACKAGE.rglob("*.py*")):
        if {"_dask", "torch"} & set(path.relative_to(PACKAGE).parts):
            continue
        if path.suffix == ".pyi" or (path.suffix == ".py" and not path.with_suffix(".pyi").exists()):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    yield node


def test_types_are_shipped():
    assert (PACKAGE / "py.typed").exists()
    assert list(PACKAGE.glob("*.pyi"))


def test_everything_public_is_described():
    assert {*FUNCTIONS, *CLASSES} - {node.name for node in descriptions()} == set()


def test_the_documented_call_shapes_are_overloads():
    nodes = [node for node in descriptions() if node.name == "smooth_l1_loss"]
    assert len([node for node in nodes if "overload" in map(ast.unparse, node.decorator_list)]) >= 3


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_types_have_the_parameters_of_the_functions(name):
    """Of all overloads together; `inspect` sees what is really there."""
    described: set[str] = set()
    for node in descriptions():
        if isinstance(node, ast.FunctionDef) and node.name == name:
            described |= {a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
    assert set(parameters(FUNCTIONS[name])) <= described


# Import -------------------------------------------------------------------------------------------------------------


def test_importing_takes_numpy_and_nothing_else():
    script = (
        "import sys, numpy; before = set(sys.modules); import cylosses; "
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=PACKAGE.parent, timeout=60
    )
    # Cython registers its own types under these names; they are not packages.
    assert [name for name in result.stdout.split() if "cython" not in name] == ["cylosses"]
