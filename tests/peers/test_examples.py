"""The scripts of examples/ that need a booster or torch."""

from __future__ import annotations

import re

import pytest

from ..scripts import PEERS, SCRIPTS, run


@pytest.mark.parametrize("name", [name for name, script in SCRIPTS.items() if PEERS & set(script.packages)])
def test_a_script_runs_and_prints_a_result(name):
    assert re.search(SCRIPTS[name].output, run(name).printed)
