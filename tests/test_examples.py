"""The scripts of examples/ run without a warning, print what they should, and are as short and as laid out as the gallery wants."""

from __future__ import annotations

import ast
import re

import pytest

from .scripts import EXAMPLES, PEERS, ROOT, SCRIPTS, run

# Pages of docs/ with no script of their own, and why.
WITHOUT = {
    "adding-a-loss": "for maintainers",
    "changelog": "a file of the repository",
    "choosing-a-loss": "a notebook",
    "coming-from-scikit-learn": "a notebook",
    "coming-from-torch": "a notebook",
    "contributing": "a file of the repository",
    "conventions": "a notebook",
    "design": "reasons",
    "guides": "a list",
    "install": "nothing to run",
    "losses": "a list, and code that test_readme.py runs",
    "performance": "measured by benchmarks/",
    "project": "a list",
    "releasing": "for maintainers",
    "security": "a file of the repository",
    "start": "a notebook",
    "versioning": "promises",
    "why-exact": "a notebook",
}
FOLDERS = {
    "c-api": ["compiled/c_api", "compiled/irls_package"]
}  # examples that are compiled; test_capi.py and test_views.py build them


def source(name):
    return (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")


def test_the_table_has_every_script():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SCRIPTS)


def test_each_guide_has_a_script_or_a_folder():
    """A new page of docs/ gets a script, or a reason in `WITHOUT`."""
    served = {script.page for script in SCRIPTS.values()} - {None}
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"}
    assert served | set(FOLDERS) <= pages
    assert pages - served - set(FOLDERS) - set(WITHOUT) == set()
    assert [folder for folders in FOLDERS.values() for folder in folders if not (EXAMPLES / folder).is_dir()] == []


@pytest.mark.parametrize("name", [name for name, script in SCRIPTS.items() if not PEERS & set(script.packages)])
def test_a_script_runs_prints_a_result_and_draws_one_picture_with_titles_and_labels(name):
    for package in ("matplotlib",) * ("pyplot" in source(name)) + SCRIPTS[name].packages:
        pytest.importorskip(package)
    printed, pictures = run(name)
    assert re.search(SCRIPTS[name].output, printed)
    assert len(pictures) == ("pyplot" in source(name))
    for panels in pictures:
        assert all(panel.is_bar or panel.title for panel in panels)
        assert all(panel.y for panel in panels)
        assert any(panel.x for panel in panels)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_at_most_sixty_lines(name):
    lines = source(name).splitlines()
    assert len(lines) <= 60
    assert [line for line in lines if len(line) > 120] == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_begins_as_the_gallery_wants_it(name):
    """A docstring of a title, underlined to its length, and a paragraph; then parts, each with its words in comments."""
    title, rule, empty, *paragraph = ast.get_docstring(ast.parse(source(name))).splitlines()
    assert rule == "=" * len(title)
    assert empty == ""
    assert any(paragraph)
    assert len(re.findall(r"^# %%$", source(name), re.MULTILINE)) >= 2


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_gallery_runs_what_it_can(name):
    """It runs plot_*.py; what needs a booster or torch is shown only."""
    assert not (name.startswith("plot_") and PEERS & set(SCRIPTS[name].packages))


def test_the_documented_examples_of_smooth_l1_draw():
    documented = ["plot_boxes", "plot_outliers", "plot_beta", "plot_per_element", "plot_depth_maps"]
    assert [name for name in documented if "import matplotlib.pyplot as plt" not in source(name)] == []
