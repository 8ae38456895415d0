"""What the command line shows: values and JSON on stdout, a progress bar on stderr if that is a terminal."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click
import numpy as np

from cylosses import StreamingLoss
from cylosses._cli.score import Request, Score
from cylosses._types import Array


@contextmanager
def progress(beside_losses: bool = False) -> Iterator[Callable[[int, int], None] | None]:
    """Show a progress bar if stderr is a terminal, but not `beside_losses` that go to a terminal, most likely the same one."""
    if not _is_terminal(sys.stderr) or (beside_losses and _is_terminal(sys.stdout)):
        yield None
        return
    # Imported here: it takes a third of the time that the command needs to start.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("score", total=None)  # pulses while text is being loaded
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _is_terminal(stream: IO[str] | None) -> bool:
    return stream is not None and stream.isatty()


def print_values(values: Any) -> None:
    """Print a number, or those of an array of any shape, one a line."""
    print_losses(np.ravel(values))


def print_losses(losses: Array) -> None:
    # str of a NumPy scalar has the fewest digits that read back as the same number of its dtype.
    if losses.size:
        click.echo("\n".join(map(str, losses)))


def collect(listed: list[Any]) -> Callable[[Array], None]:
    return lambda losses: listed.extend(map(_json_number, losses.tolist()))


def score_as_json(request: Request, result: Score, listed: list[Any] | None) -> dict[str, Any]:
    fields: dict[str, Any] = {"loss": request.loss, "reduction": request.reduction}
    fields |= {name: _json_number(value) for name, value in request.parameters.items()}
    fields |= {"axis": list(request.axis)} if request.axis else {}
    fields |= {"value": listed} if result.value is None else _json_value(result.value)
    fields |= {"dtype": result.dtype, "count": np.asarray(result.count).tolist(), "shape": list(result.shape)}
    fields |= {"predictions": request.predictions, "targets": request.targets}
    fields |= {name: label for name, label in (("weight", request.weight), ("where", request.where)) if label}
    written = {"out": request.out, "grad": request.grad, "state": request.state}
    fields |= {name: _absolute(path) for name, path in written.items() if path}
    return fields


def merged_as_json(total: StreamingLoss, files: tuple[str, ...], out: str | None) -> dict[str, Any]:
    value, name = total.compute(), total.loss.parameter_name
    fields: dict[str, Any] = {"loss": total.loss.name, "reduction": total.loss.reduction}
    fields |= {} if name is None else {name: _json_number(getattr(total.loss, name))}
    fields |= {} if total.axis is None else {"axis": np.ravel(total.axis).tolist()}
    fields |= _json_value(value) | {"dtype": value.dtype.name, "count": np.asarray(total.count).tolist(), "files": list(files)}
    return fields | ({"out": _absolute(out)} if out else {})


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
