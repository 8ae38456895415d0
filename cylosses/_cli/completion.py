"""Names of columns for completion in a shell."""

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import click
from click.shell_completion import CompletionItem

from cylosses._cli.columns import Reading
from cylosses._cli.engine import database
from cylosses._cli.readers import split_label
from cylosses._cli.source import InputError
from cylosses._cli.table_files import is_table
from cylosses._cli.tables import open_table


def columns_and_files(context: click.Context, begun: str, files: bool) -> list[CompletionItem]:
    """Return the columns of the tables on the line that begin so, behind the last comma, and perhaps a request for files."""
    first, comma, last = begun.rpartition(",") if not files else ("", "", begun)
    found = [CompletionItem(first + comma + name) for name in _columns(context) if name.startswith(last)]
    return [*found, CompletionItem(begun, type="file")] if files else found


def _columns(context: click.Context) -> list[str]:
    options: dict[str, Any] = context.params
    words: Iterable[str] = options.get("files") or context.args  # where they are left if the last word is an option without a value
    given = {name: options[name] for name in ("delimiter", "encoding", "header") if options.get(name) is not None}
    tables = [path for path, _ in map(split_label, words) if path != "-" and is_table(path)]
    names: dict[str, None] = {}  # in their order, each once
    if tables:
        try:
            with database(1, None) as opened, ExitStack() as stack:
                for table in tables:
                    names |= dict.fromkeys(open_table(opened, stack, [table], Reading(**given)).names)
        except (InputError, OSError):
            pass  # whatever is wrong is said when the command runs
    return list(names)
