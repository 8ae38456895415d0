"""The code that type checkers read (typing/user_code.py) does what they conclude from it: right calls run, wrong ones raise."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import cylosses

from .typing import user_code

SOURCE = Path(user_code.__file__).read_text(encoding="utf-8")
SECTIONS = {node.name: node for node in ast.parse(SOURCE).body if isinstance(node, ast.FunctionDef)}
WRONG = [ast.unparse(statement) for statement in SECTIONS["wrong"].body]


@pytest.mark.filterwarnings("ignore:size_average and reduce are deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", [name for name in SECTIONS if name != "wrong"])
def test_right_calls_run(name, keep_num_threads):
    getattr(user_code, name)()


@pytest.mark.parametrize("call", WRONG)
def test_wrong_calls_raise(call):
    with pytest.raises((TypeError, ValueError, AttributeError)):
        exec(call, vars(user_code).copy())


def test_checkers_must_refuse_every_wrong_call():
    lines = inspect.getsource(user_code.wrong).splitlines()[1:]
    assert len(lines) == len(WRONG)
    for line in lines:
        assert re.search(r"  # type: ignore\[[a-z-]+\]  # pyright: ignore\[\w+(, \w+)*\]$", line), line


def test_user_code_has_everything_public():
    missing = [name for name in cylosses.__all__ if not re.search(rf"\b{name}\b", SOURCE)]
    assert missing == []
