"""DuckDB, which reads the tables: a connection with its limits, the stream of a query as NumPy arrays, and names in SQL.

DuckDB parses, decompresses, filters, joins and sorts; nothing of it sums. Its batches are read by nanoarrow, so that pyarrow is not
needed. Both are imported here alone, and only when a table is read.
"""

import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cylosses._cli.source import InputError, one_line
from cylosses._types import Array

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

BAD_LINE_ENDS = "lines end differently"
_LONGEST = 400  # characters of a message that are shown: some of DuckDB's quote a whole line of the file


class Values(NamedTuple):
    """One column of a batch."""

    values: Array
    missing: Array | None  # bool, or None if no value is missing; what `values` has there means nothing


class EngineError(Exception):
    """DuckDB refused a query or gave up on it; the message is one line without advice that is about SQL."""


@contextmanager
def connection(threads: int | None, memory: str | None) -> "Iterator[DuckDBPyConnection]":
    """Open a database in memory, which spills to a folder for temporary files that is gone at the end."""
    try:
        import duckdb
    except ModuleNotFoundError:
        raise InputError("reading tables needs the package duckdb: pip install 'cylosses[cli]'") from None
    # Without a path of ours DuckDB would spill into the current folder. It makes this one when it is needed.
    spill = Path(tempfile.gettempdir()) / f"cylosses-{os.getpid()}-{os.urandom(4).hex()}"
    config: dict[str, Any] = {
        "temp_directory": str(spill),
        "autoinstall_known_extensions": False,  # nothing is downloaded
        "python_enable_replacements": False,  # a name in SQL is a column or a table, never a variable of this program
    }
    config |= {} if threads is None else {"threads": threads}
    config |= {} if memory is None else {"memory_limit": memory}
    try:
        database = duckdb.connect(":memory:", config=config)
    except duckdb.Error as error:
        raise InputError(f"cannot set up DuckDB: {_shortened(error)}") from None
    try:
        database.execute("SET enable_progress_bar = false")
        database.execute("SET preserve_insertion_order = true")
        yield database
    finally:
        database.close()
        shutil.rmtree(spill, ignore_errors=True)


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def rows(database: "DuckDBPyConnection", query: str) -> list[tuple[Any, ...]]:
    """Return all rows of a small result."""
    import duckdb

    try:
        with _signals_passed_on():
            found: list[tuple[Any, ...]] = database.execute(query).fetchall()
        return found
    except duckdb.Error as error:
        raise EngineError(_shortened(error)) from None


def batches(database: "DuckDBPyConnection", query: str, streams: Mapping[str, object] | None = None) -> Iterator[list[Values]]:
    """Return the columns of a result, all of them numbers, in batches of rows; a batch lasts until the next one is asked for.

    `streams` are Arrow streams that the query knows by these names, also registered with the database.
    """
    import duckdb
    from nanoarrow import c_array_stream

    try:
        # A cursor of its own, since a connection has one open result at a time.
        with _signals_passed_on():
            cursor = database.cursor()
            for name, registered in (streams or {}).items():
                cursor.register(name, registered)
            stream = iter(c_array_stream(cursor.sql(query)))
        while True:
            with _signals_passed_on():
                batch = next(stream, None)
            if batch is None:
                return
            view = batch.view()
            yield [_as_values(view.child(k), np.dtype(_DTYPES[view.child(k).storage_type])) for k in range(view.n_children)]
    except duckdb.Error as error:
        raise EngineError(_shortened(error)) from None
    except RuntimeError as error:  # how nanoarrow passes on what happens in the middle of the stream
        if type(error).__module__.partition(".")[0] != "nanoarrow":
            raise
        rows(database, f"SELECT count(COLUMNS(*)) FROM ({query})")  # which fails with the whole message: this one is cut
        raise EngineError(_shortened(error)) from None


@contextmanager
def _signals_passed_on() -> Iterator[None]:
    """Raise what the handler of a signal raises: DuckDB calls it during a query, and says only that it is interrupted."""
    raised: list[BaseException] = []
    handlers: dict[int, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        try:
            handlers[number](number, frame)
        except BaseException as error:
            raised.append(error)
            raise

    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and callable(found := signal.getsignal(number)):
                handlers[number] = found
                signal.signal(number, handle)
    try:
        yield
    except Exception:
        if raised:
            raise raised[0] from None
        raise
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


_DTYPES = {"double": "<f8", "float": "<f4", "int64": "<i8", "uint64": "<u8", "uint8": "u1"}


def _as_values(column: Any, dtype: np.dtype[Any]) -> Values:
    start, length = column.offset, column.length
    values = np.frombuffer(column.buffer(1), dtype, length, start * dtype.itemsize) if length else np.empty(0, dtype)
    if column.null_count == 0 or not length:
        return Values(values, None)
    bits = np.frombuffer(column.buffer(0), np.uint8)
    if not len(bits):
        return Values(values, None)
    return Values(values, ~np.unpackbits(bits, count=start + length, bitorder="little")[start:].view(bool))


# What may be wrong with a line of a text file, in DuckDB's words and in ours.
_BAD_LINES = (
    (r"Expected Number of Columns: (\d+) Found: (\d+)", r"line {line}: \1 columns expected, \2 found"),
    (r"Value with unterminated quote found", "line {line}: a quote is not closed, or text follows its end"),
    (r"Invalid unicode", "line {line}: not UTF-8; --encoding says what it is"),
    (r"Maximum line size of (\d+) bytes exceeded", r"a line is longer than \1 bytes"),
    (r"The CSV Parser state machine reached an invalid state", BAD_LINE_ENDS),
)


def _line_of_text(text: str) -> str | None:
    """Return an error that is about a line of a text file as `FILE: line N: what`, without the line, which may be long."""
    file, line = re.search(r"\n  file = (.*)", text), re.search(r"CSV Error on Line: (\d+)", text)
    for pattern, words in _BAD_LINES:
        if found := re.search(pattern, text):
            what = found.expand(words).replace("{line}", line[1] if line else "?")
            return f"{file[1]}: {what}" if file else what
    return None


def _shortened(error: Exception) -> str:
    """Return what happened, without the query and without advice on the parameters of SQL functions."""
    text = str(error).partition(" failed (")[2].partition("): ")[2] or str(error)
    text = _line_of_text(text) or text
    for end in (
        "\n\nLINE ",
        "\nLINE ",
        "Possible fixes:",
        "Possible Solution:",
        "Try ",
        "Potential Fixes",
        "\n  file = ",
        "This type was",
    ):
        text = text.partition(end)[0]
    text = one_line(ValueError(text))
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " ..."
