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
from dataclasses import replace
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

import cylosses
from cylosses import LOSSES
from cylosses._cli.source import NA, InputError
from cylosses._cli.specs import OWNERS, parse_losses
from cylosses._process import drop, fail, note


def _parameter_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each parameter of a loss, described by the docstring of its attribute."""
    for name, owners in reversed(OWNERS.items()):
        meaning = (getattr(LOSSES[owners[0]], name).__doc__ or "").strip().splitlines()
        defaults = ", ".join(f"{owner} (default {LOSSES[owner].default:g})" for owner in owners)
        text = f"{meaning[0] if meaning else 'A number.'} For {defaults}."
        function = click.option(f"--{name}", name, type=float, help=text)(function)
    return function


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


def _comma_separated(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for value in values for name in value.split(","))


def _complete_columns(files: bool = False) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Return what completes a column of a table on the line, or a file if that is possible, too."""

    def complete(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        from cylosses._cli.completion import columns_and_files

        return columns_and_files(context, begun, files)

    return complete


class _ScoreCommand(click.Command):
    """A command that takes `-:COLUMN`, of standard input, for what it is, and not for an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, [f" {text}" if text.startswith("-:") else text for text in args])
        for name, value in ctx.params.items():
            if isinstance(value, tuple):
                ctx.params[name] = tuple(map(_as_typed, value))
            else:
                ctx.params[name] = _as_typed(value)
        return rest


def _as_typed(value: Any) -> Any:
    return value[1:] if isinstance(value, str) and value.startswith(" -:") else value


@command.command("score", cls=_ScoreCommand)
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="PREDICTIONS TARGETS | TABLE... PREDICTED OBSERVED",
    shell_complete=_complete_columns(files=True),
)
@click.option(
    "--loss",
    "losses",
    multiple=True,
    default=("smooth_l1",),
    metavar="LOSS[:PARAMETER=VALUE]",
    shell_complete=lambda context, parameter, begun: [name for name in LOSSES if name.startswith(begun)],
    help=f"One of {', '.join(LOSSES)}; several in one pass by giving it several times. Default: smooth_l1.",
)
@_parameter_options
@click.option("--reduction", type=click.Choice(["mean", "sum", "none"]), default="mean", show_default=True)
@click.option("--axis", type=int, multiple=True, metavar="N", help="Sum over this axis alone; may be given several times.")
@click.option(
    "--weight",
    metavar="FILE|COLUMN",
    shell_complete=_complete_columns(files=True),
    help="Weights: finite, not negative; a mean divides by their sum.",
)
@click.option(
    "--where",
    metavar="FILE|COLUMN",
    shell_complete=_complete_columns(files=True),
    help="Which pairs count: bool, or 0 and 1. What the others hold is never looked at.",
)
@click.option("--filter", metavar="SQL", help="Score the rows for which this condition on columns of the table holds.")
@click.option(
    "--by",
    multiple=True,
    callback=_comma_separated,
    metavar="COLUMN[,COLUMN]",
    shell_complete=_complete_columns(),
    help="One score for each group of rows.",
)
@click.option(
    "--on",
    multiple=True,
    callback=_comma_separated,
    metavar="KEY[,KEY]",
    shell_complete=_complete_columns(),
    help="Pair rows of two tables with equal keys.",
)
@click.option(
    "--how", type=click.Choice(["inner"]), help="With --on: leave out rows without a partner, pair equal keys all with all."
)
@click.option(
    "--missing", type=click.Choice(["error", "skip", "nan"]), default="error", show_default=True, help="What a missing value is."
)
@click.option("--delimiter", metavar="TEXT", help="What separates the columns of text files; by default guessed.")
@click.option("--decimal", default=".", metavar="CHARACTER", show_default=True, help="The decimal separator of text files.")
@click.option("--encoding", metavar="NAME", help="The encoding of text files; default: UTF-8.")
@click.option(
    "--na",
    multiple=True,
    metavar="TEXT",
    help=f"What a missing cell is written as, beside the empty one. Default: {', '.join(NA[1:])}.",
)
@click.option("--header/--no-header", default=None, help="Whether the first line names the columns; by default guessed.")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), help="Convert predictions and targets first.")
@click.option("--out", metavar="FILE.npy", help="Write the result: the losses, or with a reduction its values, if one a 0-d array.")
@click.option("--grad", metavar="FILE.npy", help="Write the gradient with respect to the predictions.")
@click.option("--state", metavar="FILE.state", help="Write the exact total, for cylosses merge.")
@click.option(
    "--plot",
    metavar="FILE.png",
    help="Draw how residuals are distributed, and which of them the losses come from. Needs the extra plot (matplotlib).",
)
@click.option(
    "--fail-above", multiple=True, metavar="[LOSS=]VALUE", help="Exit with code 1 if the loss, of any group, is larger or NaN."
)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Number of threads; default: all there are.")
@click.option("--memory", metavar="SIZE", help="How much memory joins and sorts may take before they go to disk, such as 1GB.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the bare value.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a table as CSV.")
@click.option("--verbose", is_flag=True, help="Say how text files were read.")
def score_command(
    files: tuple[str, ...],
    losses: tuple[str, ...],
    fail_above: tuple[str, ...],
    as_json: bool,
    as_csv: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Print the loss of predictions against targets, by default the mean smooth L1 loss.

    Either two columns of one table, TABLE PREDICTED OBSERVED, or two files, PREDICTIONS TARGETS.

    A table is a file that ends in .csv, .tsv, .json or .jsonl, also with .gz or .zst, .parquet, .arrow or .feather, several of
    them, a pattern such as 'part-*.csv', a folder, also with partitions such as year=2026, or - for standard input. Columns have
    names, or numbers from 1. A file is FILE:COLUMN of a table, or an array: FILE.npy, FILE.npy.gz, FILE.npz:NAME or FILE.zarr. The
    name may be left off if there is only one. Rows of different files are paired by their order, or with --on by keys. All arrays
    must have the same shape; nothing is broadcast.

    Tables, .npy files and Zarr arrays stream in constant memory; for --grad, --axis and --reduction none, columns are loaded. The
    result has the bits of a call on the whole arrays, whatever the number of threads.

    With --axis, there is one result for each element of the axes that are kept, as of a call with axis: printed one per
    line in C order, in JSON as nested lists. So --axis 0 scores the columns of a matrix, and --axis 1 its rows. A column
    of a table has only axis 0. Results are held in memory; with --state as exact totals, of some 2 kB each.

    Without --out, --reduction none prints one loss per line. In JSON, values that are not finite are the strings
    "NaN", "Infinity" and "-Infinity"; value_hex is the value without any rounding.

    \b
    Examples:
      cylosses score predictions.npy targets.npy
      cylosses score results.csv predicted observed --beta 0.5 --json
      cylosses score results.csv predicted observed --by region --loss mse --loss huber:delta=2
      cylosses score model.parquet:yhat truth.csv.gz:y --on id --filter 'price > 0'
      cylosses score 'runs/*.csv' predicted observed --missing skip --fail-above 0.3
      cylosses score predictions.npy targets.npy --loss huber --delta 2 --weight weights.npy
      cylosses score predictions.npy targets.npy --reduction sum --grad gradient.npy
      cylosses score results.csv predicted observed --loss mse --loss l1 --plot residuals.png
      cylosses score part-1.npy targets-1.npy --state run-1.state
    """
    from cylosses._cli.columns import Reading
    from cylosses._cli.output import JsonLosses, print_losses, print_score, progress, score_as_json
    from cylosses._cli.score import Request, score
    from cylosses._cli.thresholds import exceeded, parse_thresholds

    if len(files) == 1:
        raise click.UsageError("Missing argument 'TARGETS'.")
    *table, predictions, targets = files
    parameters = {name: options.pop(name) for name in OWNERS}
    specs = parse_losses(losses, {name: value for name, value in parameters.items() if value is not None})
    thresholds = parse_thresholds(fail_above, specs)
    if thresholds and options["reduction"] == "none":
        raise InputError("--fail-above needs --reduction mean or sum: without a reduction there is no value to compare")
    reading = Reading(**{name: options.pop(name) for name in ("delimiter", "decimal", "encoding", "header")})
    reading = replace(reading, na=("", *given) if (given := options.pop("na")) else NA)
    request = Request(predictions, targets, specs, table=tuple(table), reading=reading, **options)
    prints_losses = request.reduction == "none" and request.out is None
    stream = JsonLosses(request) if prints_losses and as_json else None
    on_losses = (print_losses if stream is None else stream.add) if prints_losses else None
    with progress(beside_losses=prints_losses) as on_progress:
        result = score(request, on_losses, on_progress, note if verbose else None)
    if stream is not None:
        stream.end(result)
    elif as_json:
        click.echo(json.dumps(score_as_json(request, result), allow_nan=False))
    elif result.values:
        print_score([spec.text for spec in specs], result, as_csv)
    if not as_json:
        for line in result.notes(request):
            note(line)
    _end(exceeded(thresholds, result))


def _end(failures: list[str]) -> None:
    """Leave with code 1 if a threshold was exceeded."""
    for line in failures:
        note(line)
    if failures:
        raise click.exceptions.Exit(1)


@command.command("merge")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--out", metavar="FILE.state", help="Write the combined state.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the bare value.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a table as CSV.")
@click.option(
    "--fail-above", multiple=True, metavar="[LOSS=]VALUE", help="Exit with code 1 if the loss, of any group, is larger or NaN."
)
def merge_command(files: tuple[str, ...], out: str | None, as_json: bool, as_csv: bool, fail_above: tuple[str, ...]) -> None:
    """Print the loss of all data behind several states, each a FILE that score --state or merge --out wrote.

    All must be of the same losses, parameters, reduction, axes, and columns of --by. The values have the bits of one run over all
    data, in whatever parts, order and grouping they come.

    \b
    Examples:
      cylosses merge run-1.state run-2.state
      cylosses merge run-*.state --out total.state --json
    """
    from cylosses._cli.merge import merged, score_of
    from cylosses._cli.output import merged_as_json, print_score, spec_of
    from cylosses._cli.thresholds import exceeded, parse_thresholds

    with merged(files, out) as bundle:
        result = score_of(bundle)
        specs = [spec_of(total.loss) for total in bundle.totals]
        thresholds = parse_thresholds(fail_above, specs)
    if as_json:
        click.echo(json.dumps(merged_as_json(bundle.totals, result, files, out), allow_nan=False))
    else:
        print_score([spec.text for spec in specs], result, as_csv)
    _end(exceeded(thresholds, result))


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
    from cylosses._cli.signals import signals_held_back

    with signals_held_back():
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
        code = command.main(arguments, prog_name="cylosses", standalone_mode=False)  # of a command that ends by click's Exit
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
    return code if isinstance(code, int) else 0


def _end_by_exception(number: signal.Signals) -> None:
    """Let a signal unwind the stack, so that temporary files are removed; the exit code is the shell's for it."""

    def leave(received: int, frame: object) -> None:
        raise SystemExit(128 + received)

    if signal.getsignal(number) is signal.SIG_DFL:  # under nohup it is ignored, and stays so
        signal.signal(number, leave)
