"""`cylosses demo`: the published coefficients, the tables, the files."""

from __future__ import annotations

import csv
import shlex
import struct

import numpy as np
import pytest

from cylosses import smooth_l1_loss
from cylosses._cli import stackloss

from .cli_runs import error_of, output_of, refusal, run_after


@pytest.fixture(scope="module")
def data():
    return stackloss.load_stackloss()


def test_the_data_are_whole(data):
    assert data.predictors.shape == (21, 3)
    # Sums per column of the data frame in R.
    assert data.predictors.sum(axis=0).tolist() == [1269, 443, 1812]
    assert data.response.sum() == 368
    assert (np.flatnonzero(data.outliers) + 1).tolist() == [1, 3, 4, 21]


def test_least_squares_gives_the_published_coefficients(data):
    published = [-39.9197, 0.7156, 1.2953, -0.1521]
    assert np.round(stackloss.fit_least_squares(data), 4).tolist() == published


def test_smooth_l1_gives_the_published_huber_estimate(data):
    assert pytest.approx(1.345 * 2.4405360921, abs=5e-11) == stackloss.BETA
    intercept, *slopes = stackloss.fit_smooth_l1(data)
    assert round(intercept, 4) == -41.0265
    assert np.round(slopes, 5).tolist() == [0.82938, 0.92607, -0.12785]


def test_the_fit_is_a_stationary_point(data):
    # The estimating equations of Huber, from their definition rather than from the library's gradient.
    residuals = data.response - stackloss.predict(stackloss.fit_smooth_l1(data), data)
    pulls = np.clip(residuals / stackloss.BETA, -1, 1)
    design = np.column_stack([np.ones(21), data.predictors])
    assert np.abs(design.T @ pulls).max() < 1e-4


def test_a_large_beta_is_least_squares(data):
    assert stackloss.fit_smooth_l1(data, 100.0) == pytest.approx(stackloss.fit_least_squares(data), rel=1e-9)


def test_the_demo_prints_its_tables_and_writes_its_files(tmp_path, data):
    text = output_of("demo", cwd=tmp_path)
    assert "\x1b" not in text  # no colours in a pipe
    for figure in (
        "-41.02650",
        "0.82938",
        "0.92607",
        "-0.12785",
        "-39.91967",
        "0.71564",
        "1.29529",
        "-0.15212",
    ):
        assert figure in text
    rows = [line.split() for line in text.splitlines() if line.rstrip().endswith("outlier")]
    assert [row[0] for row in rows] == ["1", "3", "4", "21"]
    assert text.endswith("Picture: cylosses-demo.png\nFitted values: cylosses-demo-fits.csv\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cylosses-demo-fits.csv",
        "cylosses-demo.png",
    ]
    with (tmp_path / "cylosses-demo-fits.csv").open(newline="") as file:
        fits = list(csv.DictReader(file))
    assert [float(row["stack_loss"]) for row in fits] == data.response.tolist()


def test_tables_fit_80_columns(tmp_path):
    text = output_of("demo", cwd=tmp_path)
    assert {line for line in text.splitlines() if len(line) > 80} == set(commands(text))


def commands(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("  $ ")]


def test_the_command_lines_that_it_shows_print_the_values_that_it_shows(tmp_path, data):
    lines = output_of("demo", "--output", "with space.png", cwd=tmp_path).splitlines()
    shown = [(line, lines[i + 1].strip()) for i, line in enumerate(lines) if line.startswith("  $ ")]
    assert len(shown) == 2
    for line, value in shown:
        program, *arguments = shlex.split(line.removeprefix("  $ "))
        assert program == "cylosses"
        assert output_of(*arguments, cwd=tmp_path).strip() == value
    fitted = stackloss.predict(stackloss.fit_smooth_l1(data), data)
    assert float(shown[1][1]) == smooth_l1_loss(fitted, data.response, beta=stackloss.BETA)


def test_the_picture_is_a_png_of_some_size(tmp_path):
    output_of("demo", "--output", "picture.png", cwd=tmp_path)
    start = (tmp_path / "picture.png").read_bytes()[:24]
    assert start.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", start[16:24])
    assert width > 1000
    assert height > 800


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("picture.jpg", "--output: 'picture.jpg' must end in .png"),
        (
            "no/x.png",
            "--output: cannot write '{here}/no/x.png': No such file or directory",
        ),
        ("folder.png", "--output: 'folder.png' is not a regular file"),
    ],
)
def test_bad_outputs_are_one_line(tmp_path, output, message):
    (tmp_path / "folder.png").mkdir()
    assert error_of("demo", "--output", output, cwd=tmp_path) == message.format(here=tmp_path.resolve())


@pytest.mark.parametrize(("package", "extra"), [("scipy", "demo"), ("matplotlib", "plot")])
def test_a_missing_extra_says_how_to_get_it(tmp_path, package, extra):
    message = refusal(run_after(f"sys.modules[{package!r}] = None", "demo", cwd=tmp_path))
    assert message == f"the command line needs the package {package}: pip install 'cylosses[{extra}]'"


def test_scoring_needs_neither_scipy_nor_matplotlib(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    missing = "sys.modules['scipy'] = sys.modules['matplotlib'] = None"
    assert run_after(missing, "score", "a.npy", "a.npy", cwd=tmp_path).stdout == "0.0\n"


def test_a_file_beside_the_picture_that_is_not_of_the_demo_stays(tmp_path):
    fits = tmp_path / "cylosses-demo-fits.csv"
    fits.write_text("mine\n")
    assert "is there and not of this demo" in error_of("demo", cwd=tmp_path)
    assert fits.read_text() == "mine\n"
    assert not (tmp_path / "cylosses-demo.png").exists()
