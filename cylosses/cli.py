"""The command line: `cylosses score`, `cylosses demo`, `cylosses info`.

Conventions, the same for every command:

- Results go to stdout, everything else to stderr. A progress bar appears only if stderr is a terminal.
- Bad input is one line on stderr and exit code 2, Ctrl-C is exit code 130, a stdout that nobody reads any more is 1.
- Output files appear complete or not at all.
"""

import json
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cylosses import __version__, show_versions
from cylosses._readers import Array, InputError
from cylosses._score import Request, Score, score


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cylosses")
@click.pass_context
def command(context: click.Context) -> None:
    """Exact regression losses for NumPy."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@command.command("score")
@click.argument("predictions")
@click.argument("targets")
@click.option("--beta", type=float, default=1.0, show_default=True, help="Where the loss turns from square to linear.")
@click.option("--reduction", type=click.Choice(["mean", "sum", "none"]), default="mean", show_default=True)
@click.option("--out", metavar="FILE.npy", help="Write the result: the losses, or with a reduction a 0-d array.")
@click.option("--grad", metavar="FILE.npy", help="Write the gradient with respect to the predictions.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Number of threads; default: all there are.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the bare value.")
def score_command(predictions: str, targets: str, beta: float, as_json: bool, **options: Any) -> None:
    """Print the smooth L1 loss of PREDICTIONS against TARGETS.

    Each is FILE.npy, FILE.npz:NAME, FILE.csv:COLUMN, FILE.tsv:COLUMN or FILE.parquet:COLUMN (with pyarrow). The name
    may be left off if the file holds one array or column. Both must have the same shape; nothing is broadcast.

    .npy and .parquet files stream in constant memory, so they may be larger than memory. From .csv, .tsv and .npz the
    one column or array is loaded. The result has the bits of a call on the whole arrays, whatever the number of
    threads.

    Without --out, --reduction none prints one loss per line. In JSON, values that are not finite are the strings
    "NaN", "Infinity" and "-Infinity"; value_hex is the value without any rounding.

    \b
    Examples:
      cylosses score predictions.npy targets.npy
      cylosses score results.csv:predicted results.csv:observed --beta 0.5 --json
      cylosses score predictions.npy targets.npy --reduction sum --grad gradient.npy
    """
    request = Request(predictions, targets, parameters={"beta": beta}, **options)
    listed: list[Any] = []
    on_losses = None
    if request.reduction == "none" and request.out is None:
        on_losses = _collect(listed) if as_json else _print_losses
    with _progress() as on_progress:
        result = score(request, on_losses, on_progress)
    if as_json:
        click.echo(json.dumps(_as_json(request, result, listed if on_losses else None), allow_nan=False))
    elif result.value is not None:
        click.echo(str(result.value))


@command.command("demo")
@click.option(
    "--output",
    default="cylosses-demo.png",
    show_default=True,
    metavar="PATH.png",
    help="Where the picture goes; the fitted values go beside it.",
)
def demo_command(output: str) -> None:
    """Fit real data with outliers by least squares and by smooth L1, and compare.

    The stack loss data (Brownlee 1965): 21 days of a chemical plant, four of them known outliers. Prints tables and
    writes a picture, and the fitted values as a CSV file beside it.
    """
    # Imported here: SciPy and matplotlib are slow to load and big, and scoring needs neither.
    from cylosses.demo import run_demo

    run_demo(output)


@command.command("info")
def info_command() -> None:
    """Print versions, instruction set, threads and compiler: what a bug report needs."""
    show_versions()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        The arguments; by default those of the process.

    Returns
    -------
    int
        The exit code.
    """
    _end_by_exception(signal.SIGTERM)
    if hasattr(signal, "SIGHUP"):
        _end_by_exception(signal.SIGHUP)
    try:
        command.main(arguments, prog_name="cylosses", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.Abort:  # Ctrl-C, as click reports it
        return 130
    except click.ClickException as error:
        return _fail(error.format_message())
    except InputError as error:
        return _fail(str(error))
    except MemoryError:
        return _fail("not enough memory")
    except OSError as error:  # of files it comes as InputError, so this is stdout
        _drop_stdout()
        if isinstance(error, BrokenPipeError):
            return 1
        return _fail(f"cannot write to stdout: {error.strerror or error}")
    return 0


def _fail(message: str) -> int:
    print(f"cylosses: error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _end_by_exception(number: signal.Signals) -> None:
    """Let a signal unwind the stack, so that temporary files are removed; the exit code is the shell's for it."""

    def leave(received: int, frame: object) -> None:
        raise SystemExit(128 + received)

    if signal.getsignal(number) is signal.SIG_DFL:  # under nohup it is ignored, and stays so
        signal.signal(number, leave)


def _drop_stdout() -> None:
    """Send what is still buffered nowhere: the interpreter would try to write it once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    columns = TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("score", total=None)  # pulses while text is being loaded
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print_losses(losses: Array) -> None:
    # str of a NumPy scalar has the fewest digits that read back as the same number of its dtype.
    if losses.size:
        click.echo("\n".join(map(str, losses)))


def _collect(listed: list[Any]) -> Callable[[Array], None]:
    return lambda losses: listed.extend(map(_json_number, losses.tolist()))


def _as_json(request: Request, result: Score, listed: list[Any] | None) -> dict[str, Any]:
    fields: dict[str, Any] = {"loss": request.loss, "reduction": request.reduction}
    fields |= {name: _json_number(value) for name, value in request.parameters.items()}
    fields["value"] = listed
    if result.value is not None:
        value = float(result.value)
        fields |= {"value": _json_number(value), "value_hex": value.hex()}
    fields |= {"dtype": result.dtype, "count": result.count, "shape": list(result.shape)}
    fields |= {"predictions": request.predictions, "targets": request.targets}
    fields |= {name: _absolute(path) for name, path in (("out", request.out), ("grad", request.grad)) if path}
    return fields


def _json_number(value: float) -> float | str:
    """Return what JSON can hold: it has no NaN and no infinity, but Python and JavaScript read these strings back."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _absolute(path: str) -> str:
    return str(Path(path).absolute())
