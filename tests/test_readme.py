"""README.md and the first pages of the site: their code runs, their commands work, their picture is what its script draws."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest

import cylosses
from cylosses import LOSSES

from .cli_runs import run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
START = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")


def python_of(text):
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return code


def test_the_ten_lines_give_what_their_comments_say():
    names: dict[str, object] = {}
    compared = 0
    for line in python_of(README).splitlines():
        code, _, comment = line.partition("  # ")
        promised = re.search(r": (\[.*\]|[\d.]+)$", comment)
        if promised is None:
            exec(code, names)
            continue
        if " = " in code:
            exec(code, names)
            found = names["value"]
        else:
            found = eval(code, names)
        assert np.asarray(found).tolist() == eval(promised[1]), line
        compared += 1
    assert compared == 4


def test_the_ten_lines_are_about_ten():
    assert len([line for line in python_of(README).splitlines() if line]) <= 12


def test_the_readme_fits_on_a_screen():
    assert len(README.splitlines()) <= 85


@pytest.mark.parametrize("text", [README, START], ids=["README", "start"])
def test_extras_that_are_named_exist(text):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {extra for found in re.findall(r"(?:cylosses|\.)\[([\w,]+)\]'", text) for extra in found.split(",")}
    assert named
    assert named <= set(project["optional-dependencies"])
    (extras,) = re.findall(r"The extras (.*?) bring", README)
    assert set(re.findall(r"`(\w+)`", extras)) | {"cli"} == set(project["optional-dependencies"])


def test_the_python_that_is_needed_is_that_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert re.findall(r"Python (\d\.\d+) or newer", README) == [project["requires-python"].removeprefix(">=")]


def test_the_readme_calls_every_loss_by_its_name():
    """In words: of `epsilon_insensitive` the page says epsilon-insensitive."""
    text = re.sub(r"[ \n-]", "_", README.split("![")[0].lower())
    assert [name for name in LOSSES if name not in text] == []


@pytest.mark.source_tree
def test_links_of_the_readme_lead_to_files():
    links = re.findall(r"\]\(([\w./-]+)(?:#[\w-]+)?\)", README)
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.source_tree
def test_targets_that_the_readme_names_are_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"`make ([\w-]+)`", README)
    assert targets
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


@pytest.mark.source_tree
def test_the_command_of_the_readme_works(tmp_path):
    rows = "region,predicted,observed\nnorth,1.5,1\nsouth,2,10\n"
    (tmp_path / "data.csv").write_text(rows)
    (command,) = re.findall(r"^cylosses (score .*)$", README, re.MULTILINE)
    result = run(*shlex.split(command), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0].split("\t") == ["region", "mse", "huber:delta=2", "count"]


# The picture ------------------------------------------------------------------------------------------------------------------


def test_the_picture_is_what_its_script_draws():
    from tools.front_picture import PICTURE, picture

    assert PICTURE.read_text(encoding="utf-8") == picture(), "python -m tools.front_picture writes it anew"


def test_the_picture_of_the_demo_is_small():
    from tools.front_picture import DEMO

    image = pytest.importorskip("PIL.Image")
    with image.open(DEMO) as picture:
        assert (picture.format, picture.size) == ("PNG", (953, 736))
    assert DEMO.stat().st_size < 60_000


def test_the_running_sum_of_the_picture_is_numpys_mean():
    from tools import front_picture

    rng = np.random.default_rng(0)
    losses = cylosses.SmoothL1Loss("none")(*rng.standard_normal((2, front_picture.ROWS, 2), dtype=np.float32))
    by_numpy, by_cylosses = front_picture.means()
    assert by_numpy[2] == np.tile(losses, (3, 1)).mean(axis=0)[0]
    assert len(set(by_cylosses)) == 1
    assert by_numpy[-1] < 0.95 * by_cylosses[-1]


def test_wrong_points_do_not_tilt_the_robust_line_of_the_picture():
    from tools.front_picture import fit, points

    slope = fit(cylosses.SmoothL1Loss(beta=0.1), *points())[1]
    assert abs(slope - 0.8) < 0.2
    assert fit(cylosses.MSELoss(), *points())[1] < 0.3


# The start page ---------------------------------------------------------------------------------------------------------------


def test_the_score_of_the_start_page(tmp_path):
    (script,) = re.findall(r'^python -c "\n(.*?)^" > results.csv$', START, re.DOTALL | re.MULTILINE)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(script, "start.md", "exec"), {})
    assert '"' not in script
    (tmp_path / "results.csv").write_text(printed.getvalue())
    ((command, expected),) = re.findall(r"^```console\n\$ cylosses (.*?)\n(.*?)^```", START, re.DOTALL | re.MULTILINE)
    result = run(*shlex.split(command), cwd=tmp_path)
    assert result.stdout + result.stderr == expected


def test_what_is_drawn_from_the_score():
    rows = {line.split(",")[0]: line.split(",") for line in START.splitlines() if re.match(r"(north|south|west),[\d.]+,", line)}
    mse, smooth_l1, tukey = ({region: float(cells[column]) for region, cells in rows.items()} for column in (1, 2, 3))
    assert 400 < mse["west"] / mse["south"] < 420
    assert 3 < smooth_l1["west"] / smooth_l1["south"] < 3.2
    assert tukey["west"] < 1.1 * tukey["north"]


# The losses --------------------------------------------------------------------------------------------------------------------


def test_the_number_of_losses_that_pages_tell():
    numbers = {10: "ten", 11: "eleven", 12: "twelve"}
    for name in ("losses", "start", "own-estimator"):
        page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8").lower()
        assert f"{numbers[len(LOSSES)]} losses" in page, name


def test_the_first_page_counts_the_losses():
    page = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    (named, more) = re.findall(r"Smooth L1, (.*?) and (\w+) more", page)[0]
    assert len(named.split(", ")) + 1 + {"six": 6, "seven": 7, "eight": 8}[more] == len(LOSSES)


def test_what_the_page_of_losses_does():
    text = (ROOT / "docs" / "losses.md").read_text(encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cylosses.BroadcastWarning)
        exec(compile(python_of(text), "losses.md", "exec"), {})
