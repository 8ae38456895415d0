"""`show_versions` says what a bug report needs: how this build was made and how it runs."""

from __future__ import annotations

import platform
import re

import numpy as np
import pytest

import cylosses


@pytest.fixture
def shown(capsys):
    cylosses.show_versions()
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


@pytest.mark.parametrize("subject", ["instruction set", "openmp", "threads", "compiler", "flags"])
def test_every_subject_has_a_value(shown, subject):
    lines = [line for line in shown.lower().splitlines() if subject in line]
    assert lines, shown
    assert re.match(rf"\W*{subject}[:\s]+\S", lines[0]), lines


@pytest.mark.parametrize("version", [cylosses.__version__, np.__version__, platform.python_version()])
def test_versions(shown, version):
    assert version in shown


def test_threads_are_those_of_now(capsys, keep_num_threads):
    for count in (1, 3):
        cylosses.set_num_threads(count)
        cylosses.show_versions()
        line = next(line for line in capsys.readouterr().out.lower().splitlines() if "threads" in line)
        assert re.search(rf"\b{count}\b", line), line


def test_flags_that_the_bits_depend_on(shown):
    flags = next(line for line in shown.splitlines() if "flags" in line.lower())
    assert "-ffp-contract=off" in flags or "/fp:" in flags
    assert "fast-math" not in flags.replace("no-fast-math", "")


def test_the_version_is_the_installed_one():
    assert re.fullmatch(r"\d+(\.\d+)+.*", cylosses.__version__)
