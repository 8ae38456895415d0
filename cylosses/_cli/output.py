"""What the command line shows: values and JSON on stdout, a progress bar on stderr if that is a terminal."""

import csv
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click
import numpy as np

from cylosses import Loss, StreamingLoss
from cylosses._cli.groups import Groups
from cylosses._cli.score import Request, Score
from cylosses._cli.source import OnProgress
from cylosses._cli.specs import LossSpec
from cylosses._types import Array


@contextmanager
def progress(beside_losses: bool = False) -> Iterator[OnProgress | None]:
    """Show a progress bar if stderr is a terminal, but not `beside_losses` that go to a terminal, most likely the same one."""
    if not _is_terminal(sys.stderr) or (beside_losses and _is_terminal(sys.stdout)):
        yield None
        return
    # Imported here: it takes a third of the time that the command needs to start.
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)
        shown = ["reading"]

        def show(step: str, done: int, size: int) -> None:
            if step != shown[0]:  # the time left is told from how fast this step is
                bar.reset(task, description=step)
                shown[0] = step
            bar.update(task, completed=done, total=size)

        yield show


def _is_terminal(stream: IO[str] | None) -> bool:
    return stream is not None and stream.isatty()


def print_values(values: Any) -> None:
    """Print a number, or those of an array of any shape, one a line."""
    print_losses(np.ravel(values))


def print_losses(losses: Array) -> None:
    # str of a NumPy scalar has the fewest digits that read back as the same number of its dtype.
    if losses.size:
        click.echo("\n".join(map(str, losses)))


def print_score(losses: list[str], result: Score, as_csv: bool = False) -> None:
    """Print a bare value, or several: as a table on a terminal, or else one a line."""
    on_terminal = _is_terminal(sys.stdout)
    if result.groups is None and not as_csv and not (len(result.values) > 1 and on_terminal):
        for value in result.values:
            print_values(value)
        return
    if result.groups is None:
        headings = ["loss", "value", "count"]
        lines = [[loss, value, result.count] for loss, value in zip(losses, result.values, strict=True)]
    else:
        headings, lines = _group_table(losses, result, result.groups)
    if as_csv or not on_terminal:
        csv.writer(sys.stdout, delimiter="," if as_csv else "\t", lineterminator="\n").writerows([headings, *lines])
        return
    # Imported here, as for the progress bar.
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for k, heading in enumerate(headings):
        table.add_column(
            escape(_visible(heading)), justify="left" if k < (1 if result.groups is None else len(result.groups.names)) else "right"
        )
    for k, line in enumerate(lines):
        last = result.groups is not None and k == len(lines) - 1
        table.add_row(*(escape(_visible(str(cell))) for cell in line), style="bold" if last else None)
    Console(highlight=False).print(table)


def _visible(text: str) -> str:
    """Return text of a table with escapes for what a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _group_table(losses: list[str], result: Score, groups: Groups) -> tuple[list[str], list[list[Any]]]:
    """Return headings and lines: one a group, and the total."""
    headings = [*groups.names, *losses, "count"]
    lines = [
        [*("" if part is None else part for part in key), *(values[k] for values in groups.values), count]
        for k, (key, count) in enumerate(zip(groups.keys, groups.counts, strict=True))
    ]
    return headings, [*lines, ["total", *[""] * (len(groups.names) - 1), *result.values, result.count]]


class JsonLosses:
    """The JSON of the reduction "none", written as the losses come."""

    def __init__(self, request: Request) -> None:
        self._request, self._begun = request, False

    def add(self, losses: Array) -> None:
        if losses.size:
            numbers: list[Any] = losses.tolist()
            if not np.isfinite(losses).all():
                numbers = [_json_number(loss) for loss in numbers]
            click.echo(self._separator() + json.dumps(numbers)[1:-1], nl=False)

    def end(self, result: Score) -> None:
        rest = json.dumps(_rest_of_json(self._request, result), allow_nan=False)
        click.echo(f"{'' if self._begun else self._separator()}], {rest[1:]}")

    def _separator(self) -> str:
        if self._begun:
            return ", "
        self._begun = True
        return json.dumps(_loss_as_json(self._request), allow_nan=False)[:-1] + ', "value": ['


def score_as_json(request: Request, result: Score) -> dict[str, Any]:
    """Return the JSON of a score; with several losses, `losses` lists what else stands at the top."""
    if len(request.losses) == 1:
        value = {"value": None} if result.value is None else _json_value(result.value)
        return _loss_as_json(request) | value | _rest_of_json(request, result)
    listed = _losses_as_json(request.losses, result.values)
    return {"losses": listed, "reduction": request.reduction} | _rest_of_json(request, result)


def _loss_as_json(request: Request) -> dict[str, Any]:
    spec = request.losses[0]
    fields: dict[str, Any] = {"loss": spec.name, "reduction": request.reduction} | _loss_fields(spec)
    return fields | ({"axis": list(request.axis)} if request.axis else {})


def _rest_of_json(request: Request, result: Score) -> dict[str, Any]:
    fields: dict[str, Any] = {"dtype": result.dtype, "count": np.asarray(result.count).tolist(), "shape": list(result.shape)}
    fields |= {"missing": result.missing, "nan": result.nan} if result.has_tables or result.nan else {}
    fields |= {"table": list(request.table)} if request.table else {}
    fields |= {"predictions": request.predictions, "targets": request.targets}
    fields |= {name: label for name, label in (("weight", request.weight), ("where", request.where)) if label}
    fields |= {"filter": request.filter} if request.filter else {}
    fields |= {"on": list(request.on)} if request.on else {}
    fields |= _groups_as_json(result.groups) if result.groups is not None else {}
    written = {"out": request.out, "grad": request.grad, "state": request.state, "plot": request.plot}
    return fields | {name: _absolute(path) for name, path in written.items() if path}


def _groups_as_json(groups: Groups) -> dict[str, Any]:
    """Return the keys and values of groups; each has one value, or with several losses a list of them."""
    listed = []
    for k, (key, count) in enumerate(zip(groups.keys, groups.counts, strict=True)):
        values = [values[k] for values in groups.values]
        shown = _json_value(values[0] if len(values) == 1 else values)
        listed.append({"key": [_json_number(part) if isinstance(part, float) else part for part in key], "count": count} | shown)
    return {"by": groups.names, "groups": listed}


def merged_as_json(totals: Sequence[StreamingLoss], result: Score, files: tuple[str, ...], out: str | None) -> dict[str, Any]:
    losses = [spec_of(total.loss) for total in totals]
    fields: dict[str, Any] = {"loss": losses[0].name} if len(losses) == 1 else {"losses": _losses_as_json(losses, result.values)}
    fields |= {"reduction": totals[0].loss.reduction} | (_loss_fields(losses[0]) if len(losses) == 1 else {})
    fields |= {} if totals[0].axis is None else {"axis": np.ravel(totals[0].axis).tolist()}
    fields |= _json_value(result.value) if len(losses) == 1 else {}
    fields |= {"dtype": result.dtype, "count": np.asarray(result.count).tolist()}
    fields |= {} if result.groups is None else _groups_as_json(result.groups)
    return fields | {"files": list(files)} | ({"out": _absolute(out)} if out else {})


def spec_of(loss: Loss) -> LossSpec:
    return LossSpec(loss.name, {} if loss.parameter_name is None else {loss.parameter_name: getattr(loss, loss.parameter_name)})


def _loss_fields(spec: LossSpec) -> dict[str, Any]:
    return {"loss": spec.name} | {name: _json_number(value) for name, value in spec.parameters.items()}


def _losses_as_json(losses: Sequence[LossSpec], values: list[Any]) -> list[dict[str, Any]]:
    return [_loss_fields(spec) | _json_value(value) for spec, value in zip(losses, values, strict=True)]


def _json_value(value: Any) -> dict[str, Any]:
    """Return fields for a number, or for an array of them as nested lists."""
    numbers = np.asarray(value, np.float64).tolist()
    return {"value": _each(_json_number, numbers), "value_hex": _each(float.hex, numbers)}


def _each(function: Callable[[float], float | str], numbers: Any) -> Any:
    return [_each(function, part) for part in numbers] if isinstance(numbers, list) else function(numbers)


def _json_number(value: float) -> float | str:
    """Return what JSON can hold: it has no NaN and no infinity, but Python and JavaScript read these strings back."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _absolute(path: str) -> str:
    return str(Path(path).absolute())
