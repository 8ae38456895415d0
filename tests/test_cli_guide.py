"""The examples of docs/cli.md are what the command line prints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from .cli_runs import run

GUIDE = Path(__file__).parents[1] / "docs" / "cli.md"
FILES = {
    "results.csv": "id,region,predicted,observed,w\n1,north,1.5,1.0,1\n2,south,2.0,10.0,2\n3,north,6.5,7.0,1\n4,south,3.0,3.5,0\n",
    "truth.csv": "id,observed\n3,7.0\n1,1.0\n2,10.0\n",
    "model.csv": "id,predicted\n1,1.5\n2,2.0\n3,6.5\n",
}
BLOCKS = re.findall(r"^```console\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_there_are_examples():
    assert len(BLOCKS) > 8


@pytest.mark.parametrize("block", BLOCKS)
def test_examples(tmp_path, block):
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, expected = example.partition("\n")
        program, *arguments = shlex.split(command)
        assert program == "cylosses"
        result = run(*arguments, cwd=tmp_path)
        assert result.stdout + result.stderr == expected
