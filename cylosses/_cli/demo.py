"""`cylosses demo`: what a robust loss does to real data with outliers.

The stack loss data are fitted twice, by least squares and by smooth L1. The fitted values go into a CSV file and are
scored by the code of `cylosses score`, so that the figures of the demo are those that the command prints.
"""

import csv
import io
import shlex
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cylosses._cli.demo_picture import draw
from cylosses._cli.output_files import Outputs
from cylosses._cli.score import Request, score
from cylosses._cli.source import InputError
from cylosses._cli.specs import LossSpec
from cylosses._cli.stackloss import (
    BETA,
    PREDICTORS,
    RESPONSE,
    StackLoss,
    Vector,
    fit_least_squares,
    fit_smooth_l1,
    load_stackloss,
    ordinary_error,
    predict,
)

SWEEP = (0.1, 1.0, BETA, 10.0, 100.0)
_FIRST_COLUMNS = ("observation", RESPONSE)


def run_demo(output: str, fits: str | None = None) -> None:
    """Fit, score, print the tables and write the picture to `output`, PATH.png, and the fitted values to `fits`.

    By default, they go to PATH-fits.csv.
    """
    shown = fits or str(Path(output).with_suffix("")) + "-fits.csv"
    outputs = Outputs()
    outputs.add("--output", output, ".png")
    table = outputs.add("--fits", shown, ".csv")
    if fits is None:
        _check_neighbour(shown)
    data = load_stackloss()
    coefficients = {"least_squares": fit_least_squares(data), "smooth_l1": fit_smooth_l1(data)}
    fitted = {name: predict(values, data) for name, values in coefficients.items()}
    # First of all the files: a folder that cannot be written to is reported before any table.
    with outputs:
        picture, values = outputs.open("--output"), outputs.open("--fits")
        picture.write(draw({name: data.response - found for name, found in fitted.items()}, data.outliers, BETA))
        values.write(_as_csv(data, fitted))

    console = Console(highlight=False)
    ordinary = {name: ordinary_error(data, values) for name, values in fitted.items()}
    _say(console, _INTRODUCTION)
    console.print(_coefficient_table(coefficients))
    _say(console, _ON_COEFFICIENTS)
    console.print(_observation_table(data, fitted, {name: _losses(str(table), name) for name in fitted}))
    _say(console, _ON_OBSERVATIONS.format(robust=ordinary["smooth_l1"], squares=ordinary["least_squares"]))
    console.print(_sweep_table(data))
    _say(console, _ON_SWEEP)
    _say(console, "The mean losses, as the command line finds them in the fitted values:")
    for name in fitted:
        _print_command(console, str(table), shown, name)
    console.print(f"\nPicture: {escape(output)}\nFitted values: {escape(shown)}", soft_wrap=True)


_INTRODUCTION = (
    "Stack loss data (Brownlee 1965): on 21 days of a chemical plant, the ammonia lost through the stack, explained "
    "by air flow, water temperature and acid concentration. Observations 1, 3, 4 and 21 are known outliers.\n"
    f"One linear model, fitted twice: by least squares, and by smooth L1 with beta {BETA:.4f}, which counts errors "
    "beyond beta by their size and no longer by their square.\n"
)
_ON_COEFFICIENTS = "The smooth L1 column is the published Huber M-estimate.\n"
_ON_OBSERVATIONS = (
    "On the 17 ordinary days smooth L1 is off by {robust:.2f} on average, least squares by {squares:.2f}: days 4 and 21 "
    "pull the plane towards themselves less, and stand out further.\n"
)
_ON_SWEEP = (
    "A small beta is close to least absolute deviations and hardly hears the outliers; from beta 10 on no residual "
    "is beyond beta, and the fit is least squares.\n"
)


def _say(console: Console, text: str) -> None:
    console.print(text, width=min(console.width, 80))


def _check_neighbour(path: str) -> None:
    """Refuse to replace a file that nobody has named, unless it is a table of fitted values, as an earlier demo wrote it."""
    start = ",".join(_FIRST_COLUMNS).encode()
    try:
        with Path(path).open("rb") as file:
            ours = file.read(len(start)) == start
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"--fits: cannot read {path!r}: {error.strerror}") from None
    if not ours:
        raise InputError(f"--fits: {path!r} exists, and is not from an earlier demo; name the file for the fitted values")


def _as_csv(data: StackLoss, fitted: dict[str, Vector]) -> bytes:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*_FIRST_COLUMNS, *fitted])
    for number, values in enumerate(zip(data.response, *fitted.values(), strict=True), start=1):
        rows.writerow([number, *(str(value) for value in values)])
    return text.getvalue().encode()


def _losses(path: str, name: str) -> Vector:
    """Score each observation of one fit."""
    losses: list[Vector] = []
    request = Request(f"{path}:{name}", f"{path}:{RESPONSE}", losses=(LossSpec("smooth_l1", {"beta": BETA}),), reduction="none")
    score(request, on_losses=losses.append)
    return np.concatenate(losses)


def _print_command(console: Console, path: str, shown: str, name: str) -> None:
    request = Request(f"{path}:{name}", f"{path}:{RESPONSE}", losses=(LossSpec("smooth_l1", {"beta": BETA}),))
    line = ["cylosses", "score", f"{shown}:{name}", f"{shown}:{RESPONSE}", "--beta", str(BETA)]
    console.print(f"  $ {escape(shlex.join(line))}\n  {score(request).value}", soft_wrap=True)


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _coefficient_table(coefficients: dict[str, Vector]) -> Table:
    table = _table("Coefficients", "term", "least squares", "smooth L1")
    table.columns[0].justify = "left"
    for term, *values in zip(("intercept", *PREDICTORS), *coefficients.values(), strict=True):
        table.add_row(term.replace("_", " "), *(f"{value:.5f}" for value in values))
    return table


def _observation_table(data: StackLoss, fitted: dict[str, Vector], losses: dict[str, Vector]) -> Table:
    title = "Residuals and smooth L1 losses, as `cylosses score` finds them"
    headings = (f"{what}\n{fit}" for what in ("residual", "loss") for fit in ("least sq.", "smooth L1"))
    table = _table(title, "day", "observed", *headings, "")
    residuals = [data.response - values for values in fitted.values()]
    for i, outlier in enumerate(data.outliers):
        cells: list[Any] = [str(i + 1), f"{data.response[i]:.0f}"]
        cells += [f"{values[i]:.2f}" for values in residuals] + [f"{values[i]:.3f}" for values in losses.values()]
        table.add_row(*cells, "outlier" if outlier else "", style="bold red" if outlier else None)
    return table


def _sweep_table(data: StackLoss) -> Table:
    headings = ("beta", "intercept", "air flow", "water", "acid", "beyond\nbeta", "mean |residual|\nordinary days")
    table = _table("Smooth L1 fits for other betas, and least squares (LS)", *headings)
    for beta in SWEEP:
        table.add_row(*_sweep_row(data, f"{beta:.4g}", fit_smooth_l1(data, beta), beta))
    table.add_row(*_sweep_row(data, "LS", fit_least_squares(data), None))
    return table


def _sweep_row(data: StackLoss, heading: str, coefficients: Vector, beta: float | None) -> list[str]:
    fitted = predict(coefficients, data)
    residuals = np.abs(data.response - fitted)
    beyond = "" if beta is None else f"{np.count_nonzero(residuals > beta)} of {len(residuals)}"
    return [heading, *(f"{value:.4f}" for value in coefficients), beyond, f"{ordinary_error(data, fitted):.3f}"]
