"""The files that the command line writes: what they may replace, and that a run leaves all of them or none."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from cylosses import SmoothL1Loss

from .cli_runs import error_of

on_posix = pytest.mark.skipif(os.name != "posix", reason="about permissions, links, signals and limits as POSIX has them")


@pytest.fixture
def inputs(tmp_path, rng):
    """Files of all kinds that `score` and `merge` read, each with content of its own."""
    a, b = rng.normal(size=(2, 50))
    for name, values in {"a": a, "b": b, "w": np.abs(a), "m": a > 0}.items():
        np.save(tmp_path / f"{name}.npy", values)
    state = SmoothL1Loss().streaming()
    for name in ("one", "two"):
        state.update(a, b)
        (tmp_path / f"{name}.state").write_bytes(state.to_bytes())
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- what an output may not replace ---------------------------------------------------------------------------------

SCORE = ["score", "a.npy", "b.npy", "--weight", "w.npy", "--where", "m.npy"]


@pytest.mark.parametrize(
    ("arguments", "option", "name"),
    [
        *((SCORE, "--out", f"{name}.npy") for name in "abwm"),
        (SCORE, "--grad", "b.npy"),
        (["merge", "one.state", "two.state"], "--out", "one.state"),
        (["merge", "one.state", "two.state"], "--out", "two.state"),
    ],
)
@pytest.mark.parametrize("kind", ["itself", "symbolic", "hard"])
def test_an_output_that_is_an_input_is_refused(inputs, arguments, option, name, kind):
    named = name if kind == "itself" else f"link{Path(name).suffix}"
    if kind == "symbolic":
        (inputs / named).symlink_to(name)
    elif kind == "hard":
        (inputs / named).hardlink_to(inputs / name)
    before = contents(inputs)
    message = f"{option}: {named!r} is the input file {name!r}, which would be lost"
    assert error_of(*arguments, option, named, cwd=inputs) == message
    assert contents(inputs) == before


def test_a_state_may_not_replace_an_input_either(inputs):
    """Inputs never end in .state, so only a link can name one."""
    (inputs / "link.state").hardlink_to(inputs / "b.npy")
    message = "--state: 'link.state' is the input file 'b.npy', which would be lost"
    assert error_of(*SCORE, "--state", "link.state", cwd=inputs) == message


def test_an_input_with_a_column_behind_it(tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n1,2\n")
    (tmp_path / "link.npy").symlink_to("t.csv")
    said = error_of("score", "t.csv:x", "t.csv:y", "--grad", "link.npy", cwd=tmp_path)
    assert said == "--grad: 'link.npy' is the input file 't.csv', which would be lost"


@on_posix
@pytest.mark.parametrize(
    ("arguments", "option", "name"),
    [
        (SCORE, "--out", "old.npy"),
        (SCORE, "--grad", "old.npy"),
        (SCORE, "--state", "old.state"),
        (["merge", "one.state"], "--out", "old.state"),
        (["demo"], "--output", "old.png"),
    ],
)
def test_a_write_protected_file_is_not_replaced(inputs, arguments, option, name):
    (inputs / name).write_bytes(b"old")
    (inputs / name).chmod(0o444)
    before = contents(inputs)
    assert error_of(*arguments, option, name, cwd=inputs) == f"{option}: {name!r} is write-protected"
    assert contents(inputs) == before
