"""The command line: `cylosses score`, `merge`, `demo`, `info`, `completion`.

Conventions, the same for every command:

- Results go to stdout, everything else to stderr. A progress bar appears only if stderr is a terminal.
- Bad input is one line on stderr; the help of the command lists the exit codes.
- Output files appear complete or not at all.
- Losses and their options come from the registry: a new loss needs no change here.
- Each command imports what it needs: help and completion shall come at once, and the demo's SciPy and matplotlib are slow and big.
"""

import errno
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click
from click.shell_completion import get_completion_class

import cylosses
from cylosses import LOSSES
from cylosses._cli.source import InputError
from cylosses._process import drop, fail

# Which losses each parameter belongs to.
_OWNERS: dict[str, list[str]] = {}
for _name, _loss in LOSSES.items():
    if _loss.parameter_name is not None:
        _OWNERS.setdefault(_loss.parameter_name, []).append(_name)


def _parameter_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each parameter of a loss, described by the docstring of its attribute."""
    for name, owners in reversed(_OWNERS.items()):
        meaning = (getattr(LOSSES[owners[0]], name).__doc__ or "").strip().splitlines()
        defaults = ", ".join(f"{owner} (default {LOSSES[owner].default:g})" for owner in owners)
        text = f"{meaning[0] if meaning else 'A number.'} For {defaults}."
        function = click.option(f"--{name}", name, type=float, help=text)(function)
    return function


def _parameters_of(loss: str, given: dict[str, float]) -> dict[str, float]:
    """Return the parameters of the loss, by default its own; refuse those of other losses."""
    own = LOSSES[loss].parameter_name
    for name in given:
        if name != own:
            takes = f"takes --{own}" if own is not None else "has no parameter"
            raise InputError(f"--{name} belongs to {' and '.join(_OWNERS[name])}; {loss} {takes}")
    return {} if own is None else {own: given.get(own, LOSSES[loss].default)}


def _print_version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted:  # asked for here and nowhere else: looking it up takes a while
        click.echo(f"cylosses, version {cylosses.__version__}")
        context.exit()


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version and exit."
)
@click.pass_context
def command(context: click.Context) -> None:
    """Exact regression losses for NumPy.

    \b
    Exit codes:
      0    success
      1    stdout is closed
      2    bad input, a file that cannot be read or written, a missing package
      130  Ctrl-C; likewise 143 after the signal TERM, and 129 after HUP
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@command.command("score")
@click.argument("predictions")
@click.argument("targets")
@click.option("--loss", type=click.Choice(list(LOSSES)), default="smooth_l1", show_default=True)
@_parameter_options
@click.option("--reduction", type=click.Choice(["mean", "sum", "none"]), default="mean", show_default=True)
@click.option("--axis", type=int, multiple=True, metavar="N", help="Sum over this axis alone; may be given several times.")
@click.option("--out", metavar="FILE.npy", help="Write the result: the losses, or with a reduction its values, if one a 0-d array.")
@click.option("--grad", metavar="FILE.npy", help="Write the gradient with respect to the predictions.")
@click.option("--weight", metavar="FILE", help="Weights: finite, not negative; a mean divides by their sum.")
@click.option("--where", metavar="FILE", help="Which pairs count: bool, or 0 and 1. What the others hold is never looked at.")
@click.option("--state", metavar="FILE.state", help="Write the exact total, for cylosses merge.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Number of threads; default: all there are.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the bare value.")
def score_command(predictions: str, targets: str, loss: str, as_json: bool, **options: Any) -> None:
    """Print the loss of PREDICTIONS against TARGETS, by default the mean smooth L1 loss.

    Each file is FILE.npy, FILE.npz:NAME, FILE.csv:COLUMN, FILE.tsv:COLUMN or FILE.parquet:COLUMN (with pyarrow). The name
    may be left off if the file holds one array or column. All must have the same shape; nothing is broadcast.

    .npy and .parquet files stream in constant memory, so they may be larger than memory. From .csv, .tsv and .npz the
    one column or array is loaded. The result has the bits of a call on the whole arrays, whatever the number of
    threads.

    With --axis, there is one result for each element of the axes that are kept, as of a call with axis: printed one per
    line in C order, in JSON as nested lists. So --axis 0 scores the columns of a matrix, and --axis 1 its rows. A column
    of a table has only axis 0. Results are held in memory; with --state as exact totals, of some 2 kB each.

    Without --out, --reduction none prints one loss per line. In JSON, values that are not finite are the strings
    "NaN", "Infinity" and "-Infinity"; value_hex is the value without any rounding.

    \b
    Examples:
      cylosses score predictions.npy targets.npy
      cylosses score results.csv:predicted results.csv:observed --beta 0.5 --json
      cylosses score predictions.npy targets.npy --loss huber --delta 2 --weight weights.npy
      cylosses score predictions.npy targets.npy --reduction sum --grad gradient.npy
      cylosses score outputs.npy targets.npy --axis 0
      cylosses score part-1.npy targets-1.npy --state run-1.state
    """
    from cylosses._cli.output import collect, print_losses, print_values, progress, score_as_json
    from cylosses._cli.score import Request, score

    parameters = {name: options.pop(name) for name in _OWNERS}
    given = {name: value for name, value in parameters.items() if value is not None}
    request = Request(predictions, targets, loss, _parameters_of(loss, given), **options)
    listed: list[Any] = []
    on_losses = None
    if request.reduction == "none" and request.out is None:
        on_losses = collect(listed) if as_json else print_losses
    with progress(beside_losses=on_losses is print_losses) as on_progress:
        result = score(request, on_losses, on_progress)
    if as_json:
        click.echo(json.dumps(score_as_json(request, result, listed if on_losses else None), allow_nan=False))
    elif result.value is not None:
        print_values(result.value)


@command.command("merge")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--out", metavar="FILE.state", help="Write the combined state.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the bare value.")
def merge_command(files: tuple[str, ...], out: str | None, as_json: bool) -> None:
    """Print the loss of all data behind several states, each a FILE that score --state or merge --out wrote.

    All must be of one loss, parameter, reduction and axes. The value has the bits of one run over all data, in whatever
    parts, order and grouping they come.

    \b
    Examples:
      cylosses merge run-1.state run-2.state
      cylosses merge run-*.state --out total.state --json
    """
    from cylosses._cli.merge import merge_states
    from cylosses._cli.output import merged_as_json, print_values

    total = merge_states(files, out)
    if as_json:
        click.echo(json.dumps(merged_as_json(total, files, out), allow_nan=False))
    else:
        print_values(total.compute())


@command.command("demo")
@click.option(
    "--output",
    default="cylosses-demo.png",
    show_default=True,
    metavar="PATH.png",
    help="Where the picture goes.",
)
@click.option("--fits", metavar="PATH.csv", help="Where the fitted values go; by default beside the picture, into PATH-fits.csv.")
def demo_command(output: str, fits: str | None) -> None:
    """Fit real data with outliers by least squares and by smooth L1, and compare.

    The stack loss data (Brownlee 1965): 21 days of a chemical plant, four of them known outliers. Prints tables and
    writes a picture, and the fitted values as a CSV file. Needs the extra demo (SciPy and matplotlib).
    """
    from cylosses._cli.demo import run_demo

    run_demo(output, fits)


@command.command("info")
def info_command() -> None:
    """Print versions, instruction set, threads and compiler: what a bug report needs."""
    cylosses.show_versions()


@command.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the script with which a SHELL completes commands, options and names of files.

    \b
    Once and for all:
      cylosses completion bash >> ~/.bashrc
      cylosses completion zsh >> ~/.zshrc       # behind compinit
      cylosses completion fish > ~/.config/fish/completions/cylosses.fish
    """
    script = get_completion_class(shell)
    assert script is not None  # for the shells of the choice
    click.echo(script(command, {}, "cylosses", "_CYLOSSES_COMPLETE").source())


def _complete_files() -> None:
    """Let shells complete names of files wherever one is wanted; otherwise they complete nothing there."""
    for subcommand in command.commands.values():
        for parameter in subcommand.params:
            wanted = isinstance(parameter, click.Argument) or (parameter.metavar or "").startswith(("FILE", "PATH"))
            if wanted and parameter.type is click.STRING:
                parameter.type = click.Path(readable=False)  # whether it can be read, and why not, is said by its reader


_complete_files()


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
        return fail(error.format_message())
    except InputError as error:
        return fail(str(error))
    except MemoryError:
        return fail("not enough memory")
    except OSError as error:
        if error.filename is not None:  # what cannot even be looked for: a name too long, a folder that may not be entered
            return fail(f"cannot access {os.fsdecode(error.filename)!r}: {error.strerror or error}")
        # Of a file that is open errors come as InputError, so this is stdout.
        drop(1)
        if isinstance(error, BrokenPipeError):
            return 1
        if error.errno == errno.EBADF:
            return fail("cannot write to stdout: it is closed", 1)
        return fail(f"cannot write to stdout: {error.strerror or error}")
    return 0


def _end_by_exception(number: signal.Signals) -> None:
    """Let a signal unwind the stack, so that temporary files are removed; the exit code is the shell's for it."""

    def leave(received: int, frame: object) -> None:
        raise SystemExit(128 + received)

    if signal.getsignal(number) is signal.SIG_DFL:  # under nohup it is ignored, and stays so
        signal.signal(number, leave)
