"""What the repository says of itself: the citation, the forms for issues, and what the source distribution holds."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from cylosses.losses import LOSSES

pytestmark = pytest.mark.source_tree

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FORMS = ROOT / ".github" / "ISSUE_TEMPLATE"

# Services' settings are no part of the source distribution.
needs_checkout = pytest.mark.skipif(not FORMS.is_dir(), reason="not a checkout: .github is missing")


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture
def citation():
    return yaml.safe_load(read("CITATION.cff"))


# The citation -----------------------------------------------------------------------------------------------------------------


def test_the_citation_has_what_the_format_asks_for(citation):
    """https://github.com/citation-file-format: four keys must be there; an author that is no person has a name."""
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert {"message", "title", "authors"} <= citation.keys()
    known = {"abstract", "date-released", "keywords", "license", "version", "url", "repository-code", "doi", "identifiers"}
    assert citation.keys() - {"cff-version", "type", "message", "title", "authors"} <= known


def test_the_citation_agrees_with_the_project(citation):
    project = PROJECT["project"]
    assert str(citation["version"]) == project["version"]
    assert citation["license"] == project["license"]
    assert citation["keywords"] == project["keywords"]
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in project["authors"]]


def test_the_date_of_the_version_is_the_changelog_s(citation):
    """A version that is not released has no date."""
    version, date = re.search(r"^## (\S+) \((.+)\)$", read("CHANGELOG.md"), re.MULTILINE).groups()
    assert version == PROJECT["project"]["version"]
    assert str(citation.get("date-released", "unreleased")) == date


# Forms ------------------------------------------------------------------------------------------------------------------------


@needs_checkout
@pytest.mark.parametrize("name", ["bug", "exactness", "feature"])
def test_forms_have_what_github_asks_for(name):
    """Of each field a type and, but for text that is only shown, a label and an id of its own; one field is required at least."""
    form = yaml.safe_load((FORMS / f"{name}.yml").read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= form.keys()
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in fields} <= {"textarea", "input", "dropdown", "checkboxes"}
    assert all(field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)
    assert any(field.get("validations", {}).get("required") for field in fields)


@needs_checkout
@pytest.mark.parametrize("name", ["bug", "exactness"])
def test_reports_ask_for_what_is_installed(name):
    assert "cylosses info" in (FORMS / f"{name}.yml").read_text(encoding="utf-8")


# Documents --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "SECURITY.md", "docs/versioning.md", "docs/releasing.md"]
)
def test_links_within_the_repository_lead_to_files(name):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", read(name))
    assert [link for link in links if not (ROOT / name).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize("name", ["docs/releasing.md", "CONTRIBUTING.md", ".github/PULL_REQUEST_TEMPLATE.md"])
def test_targets_of_make_exist(name):
    if not (ROOT / name).exists():
        pytest.skip("not a checkout")
    targets = set(re.findall(r"^([\w-]+):", read("Makefile"), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z][\w-]*)", read(name)))
    assert named
    assert named <= targets


def test_the_bits_promise_has_facts():
    """What docs/versioning.md says in numbers is what the code has."""
    from cylosses import _state

    text = read("docs/versioning.md")
    assert (_state._PLAIN, _state._SLICED, _state._ARRAYS) == (1, 2, 3)
    assert "1 for totals of everything, 2 for totals by slice, 3 for\nparameters that are arrays" in text
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert f"CPython {oldest} or newer" in text
    assert "NumPy 2.0 or newer" in text
    assert "numpy>=2" in PROJECT["project"]["dependencies"]
    adapters = re.search(r"`__all__` of (.*?): their", text, re.DOTALL)[1]
    listed = {name.removeprefix("cylosses.") for name in re.findall(r"`([\w.]+)`", adapters)}
    modules = {path.stem for path in (ROOT / "cylosses").glob("[a-z]*.py") if "__all__" in path.read_text(encoding="utf-8")}
    packages = {path.parent.name for path in (ROOT / "cylosses").glob("[a-z]*/__init__.py") if "__all__" in path.read_text()}
    assert listed == modules | packages


def test_numbers_of_losses_never_change():
    """They are compiled into other people's programs. Later losses take later numbers."""
    names = ["smooth_l1", "l1", "mse", "huber", "tukey", "quantile", "epsilon_insensitive", "pseudo_huber", "charbonnier"]
    assert {name: cls._code for name, cls in LOSSES.items()}.items() >= {name: code for code, name in enumerate(names)}.items()
