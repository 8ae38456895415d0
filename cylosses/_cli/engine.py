"""DuckDB, which reads the tables: a database with its limits, the stream of a query as NumPy arrays, and names in SQL.

DuckDB parses, decompresses, filters, joins and sorts; nothing of it sums. Its batches are read by nanoarrow, so that pyarrow is not
needed. Both are imported here alone, and only when a table is read.

Queries run in a thread of their own. Python calls the handlers of signals in the main thread only, between two of its instructions,
so a query there would keep Ctrl-C waiting until it ends; the main thread waits in short steps, tells how far the query is, and
interrupts it when a handler raises. Meanwhile the next batch is read while one is summed.
"""

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from cylosses._cli.abandoned import spill_folder
from cylosses._cli.signals import signals_held_back
from cylosses._cli.source import InputError, OnProgress, one_line
from cylosses._types import Array

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

T = TypeVar("T")

BAD_LINE_ENDS = "lines end differently"
_LONGEST = 400  # characters of a message that are shown: some of DuckDB's quote a whole line of the file
_STEP = 0.1  # seconds between two looks at a query that runs


class Values(NamedTuple):
    """One column of a batch."""

    values: Array
    missing: Array | None  # bool, or None if no value is missing; what `values` has there means nothing


class EngineError(Exception):
    """DuckDB refused a query or gave up on it; the message is one line without advice that is about SQL."""


class Step(NamedTuple):
    """What a query does, for people who wait for it, and the bytes of the files that it is about."""

    text: str
    size: int


class Database:
    """A database in memory, whose queries can be interrupted and tell how far they are."""

    def __init__(self, connection: "DuckDBPyConnection", on_progress: OnProgress | None) -> None:
        self._connection, self._on_progress = connection, on_progress
        self._running = {connection}
        self._shares: dict[Any, tuple[Step, float]] = {}
        self._thread = ThreadPoolExecutor(1, "cylosses DuckDB")

    def close(self) -> None:
        """Give up what still runs."""
        self._interrupt()
        self._thread.shutdown(wait=True, cancel_futures=True)
        for connection in self._running:
            connection.close()

    def register(self, name: str, stream: object) -> None:
        """Let queries know an Arrow stream by a name."""
        self._connection.register(name, stream)

    def rows(self, query: str, step: Step | None = None) -> list[tuple[Any, ...]]:
        """Return all rows of a small result."""
        with _engine_errors():
            work = self._thread.submit(lambda: self._connection.execute(query).fetchall())
            found: list[tuple[Any, ...]] = self._await(work, self._connection, step)
            self._shares.clear()
        return found

    def batches(self, query: str, step: Step, streams: Mapping[str, object] | None = None) -> Iterator[list[Values]]:
        """Return the columns of a result, all of them numbers, in batches of rows; a batch lasts until the next one is asked for.

        `streams` are Arrow streams that the query knows by these names, also registered with the database.
        """
        from nanoarrow import c_array_stream

        # A cursor of its own, since a connection has one open result at a time.
        cursor = self._connection.cursor()
        _let_progress_be_known(cursor)
        for name, registered in (streams or {}).items():
            cursor.register(name, registered)
        self._running.add(cursor)
        try:
            with _engine_errors():
                begun = self._thread.submit(lambda: iter(c_array_stream(cursor.sql(query))))
                stream: Iterator[Any] = self._await(begun, cursor, step)
                coming = self._thread.submit(next, stream, None)
                while (batch := self._await(coming, cursor, step)) is not None:
                    coming = self._thread.submit(next, stream, None)
                    # The arrays are views of the batch, which the name keeps alive.
                    view = batch.view()
                    yield [_as_values(view.child(k), np.dtype(_DTYPES[view.child(k).storage_type])) for k in range(view.n_children)]
        except RuntimeError as error:  # how nanoarrow passes on what happens in the middle of a stream
            if type(error).__module__.partition(".")[0] != "nanoarrow":
                raise
            self.rows(f"SELECT count(COLUMNS(*)) FROM ({query})")  # which fails with the whole message: this one is cut
            raise EngineError(_shortened(error)) from None
        self._shares.pop(cursor, None)

    def _await(self, work: "Future[T]", connection: "DuckDBPyConnection", step: Step | None) -> T:
        """Return the result of a query, or interrupt it if a handler of a signal raises."""
        try:
            while wait([work], _STEP).not_done:
                self._tell(connection, step)
            self._tell(connection, step)
            return work.result()
        except BaseException:
            if not work.done():
                self._interrupt()
                wait([work])
            raise

    def _tell(self, connection: "DuckDBPyConnection", step: Step | None) -> None:
        """Tell how far this query is, and others that do the same at the same time."""
        if self._on_progress is None or step is None:
            return
        share = connection.query_progress() / 100  # negative if nobody knows
        self._shares[connection] = step, max(share, self._shares.get(connection, (step, 0.0))[1])
        alike = [(part, done) for part, done in self._shares.values() if part.text == step.text]
        self._on_progress(step.text, round(sum(part.size * done for part, done in alike)), sum(part.size for part, _ in alike))

    def _interrupt(self) -> None:
        for connection in self._running:
            connection.interrupt()


@contextmanager
def database(threads: int | None, memory: str | None, on_progress: OnProgress | None = None) -> Iterator[Database]:
    """Open a database in memory, which spills to a folder for temporary files that is gone at the end."""
    try:
        with signals_held_back():
            import duckdb
            import nanoarrow  # noqa: F401  # which is needed later on
    except ModuleNotFoundError as error:
        raise InputError(f"reading tables needs the package {error.name}: pip install 'cylosses[cli]'") from None
    with spill_folder() as spill:  # without one DuckDB would spill into the current folder
        connection = _connected(duckdb, threads, memory, spill)
        _let_progress_be_known(connection)
        opened = Database(connection, on_progress)
        try:
            yield opened
        finally:
            opened.close()


def _connected(duckdb: Any, threads: int | None, memory: str | None, spill: Path) -> "DuckDBPyConnection":
    config: dict[str, Any] = {
        "temp_directory": str(spill),
        "autoinstall_known_extensions": False,  # nothing is downloaded
        "preserve_insertion_order": True,
        "python_enable_replacements": False,  # a name in SQL is a column or a table, never a variable of this program
    }
    config |= {} if threads is None else {"threads": threads}
    config |= {} if memory is None else {"memory_limit": memory}
    try:
        connection: DuckDBPyConnection = duckdb.connect(":memory:", config=config)
        return connection
    except duckdb.Error as error:
        raise InputError(f"cannot set up DuckDB: {_shortened(error)}") from None


def _let_progress_be_known(connection: "DuckDBPyConnection") -> None:
    connection.execute("SET enable_progress_bar = true")
    connection.execute("SET enable_progress_bar_print = false")


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def _engine_errors() -> Iterator[None]:
    """Turn errors of DuckDB into EngineError."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise EngineError(_shortened(error)) from None


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
