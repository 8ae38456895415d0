"""What `python -m tools.generate` writes is what the files hold, and the generator sees what is wrong with a class."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cylosses.losses import LOSSES
from tools import generate
from tools.generate import marked, registry, stubs

pytestmark = pytest.mark.source_tree

LOSS = """
class {cls}Loss(Loss):
    name = "{name}"
    parameter_name = "gamma"
    default = 0.25
    rule = "positive"
    _code = {code}
"""


@pytest.fixture
def tree(tmp_path):
    """A copy of what the generator reads and writes."""
    wanted = {
        path for folder in generate.FOLDERS for path in (generate.ROOT / folder).rglob("*") if path.suffix in generate.SUFFIXES
    }
    for path in wanted:
        copy = tmp_path / path.relative_to(generate.ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return tmp_path


def test_nothing_is_stale():
    stale = [str(path.relative_to(generate.ROOT)) for path in generate.outdated()]
    assert stale == [], "run `make generate` (python -m tools.generate)"


def test_the_sources_say_what_the_classes_do():
    found = {loss.name: loss for loss in registry.read(generate.ROOT / "cylosses" / "losses")}
    assert list(found) == list(LOSSES)
    for name, cls in LOSSES.items():
        loss = found[name]
        assert f"cylosses.losses.{loss.module}.{loss.cls}" == f"{cls.__module__}.{cls.__qualname__}"
        assert (loss.code, loss.parameter, loss.default) == (cls._code, cls.parameter_name, cls.default)
        assert (loss.rule, loss.legacy) == (cls.rule, cls.legacy)


def test_every_kind_of_section_is_in_use():
    """A renamed comment would leave the text below it as it is."""
    texts = {
        path: path.read_text(encoding="utf-8")
        for path in (generate.ROOT / "cylosses").rglob("*.*")
        if path.suffix in generate.SUFFIXES
    }
    texts |= {path: path.read_text(encoding="utf-8") for path in (generate.ROOT / "tests").rglob("*.py")}
    found = {(match["what"], path.suffix) for path, text in texts.items() for match in marked.SECTION.finditer(text)}
    assert found >= set(marked.CONTENTS) - {("numbers of the losses", ".pyx")}


def test_a_new_loss_makes_files_stale_and_is_written_everywhere(tree):
    assert generate.outdated(tree) == {}
    path = tree / "cylosses" / "losses" / "redescending.py"
    path.write_text(path.read_text(encoding="utf-8") + LOSS.format(cls="Named", name="named", code=len(LOSSES)), encoding="utf-8")
    stale = generate.outdated(tree)
    names = {str(path.relative_to(tree)) for path in stale}
    assert names >= {
        *stubs.files([*registry.read(tree / "cylosses" / "losses")]),
        *("cylosses/capi.pxd", "cylosses/capi.pyi", "cylosses/include/cylosses.h"),
        *("tests/test_signatures.py", "tests/typing/user_code.py"),
    }
    for path, text in stale.items():
        assert "named" in text.lower(), path
        path.write_text(text, encoding="utf-8")
    assert generate.outdated(tree) == {}
    header = (tree / "cylosses" / "include" / "cylosses.h").read_text(encoding="utf-8")
    assert f"CYLOSSES_NAMED = {len(LOSSES)} " in header
    assert "/* gamma > 0 */" in header


@pytest.mark.parametrize("code", [0, len(LOSSES) + 1, -1])
def test_numbers_are_given_once_and_without_gaps(tree, code):
    path = tree / "cylosses" / "losses" / "convex.py"
    path.write_text(path.read_text(encoding="utf-8") + LOSS.format(cls="Named", name="named", code=code), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"numbers of the losses must be .*NamedLoss {code}"):
        generate.outdated(tree)


def test_a_class_without_a_number_is_named(tree):
    path = Path(tree / "cylosses" / "losses" / "convex.py")
    path.write_text(path.read_text(encoding="utf-8") + '\nclass NamedLoss(Loss):\n    name = "named"\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"convex\.NamedLoss lacks _code"):
        generate.outdated(tree)
