"""Every error and warning has the words that messages.json records, whichever way a call takes through the library."""

from __future__ import annotations

import json

import pytest

from tools.messages import ADVICE, MESSAGES

from .message_cases import CASES, FAULTS, NEEDED, PAIRS, names, outcome, said, smooth_l1

RECORDED = json.loads(MESSAGES.read_text())


@pytest.mark.parametrize(("section", "name"), names())
def test_words_are_those_of_the_table(section, name):
    for package in NEEDED.get(section, ()):
        pytest.importorskip(package)
    assert said(section, name) == RECORDED.get(section, {}).get(name), ADVICE


def test_the_table_holds_every_case_and_no_other():
    assert sorted((section, name) for section, cases in RECORDED.items() for name in cases) == sorted(names()), ADVICE
    assert len(set(names())) == len(names()) == len(FAULTS) + len(PAIRS) + sum(map(len, CASES.values()))


def test_a_warning_that_points_elsewhere_is_told():
    words = "size_average and reduce are deprecated; use reduction='sum'\nno error"
    assert outcome(lambda: smooth_l1([1.0], [0.0], False)) == f"DeprecationWarning in test_messages.py: {words}"
