"""The kinds of tables, and opening one of what the user typed."""

import re
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace

from cylosses._cli.arrow import ArrowFile
from cylosses._cli.columns import Column, Reading
from cylosses._cli.engine import Database, identifier, literal
from cylosses._cli.source import InputError
from cylosses._cli.table import Table
from cylosses._cli.table_files import KINDS, TYPED, CheckSums, TableFile, decoded, table_files
from cylosses._cli.text import TextTable


def open_table(database: Database, stack: ExitStack, texts: list[str], reading: Reading) -> Table:
    """Open a table of files, globs, folders, or `-` for standard input."""
    label = texts[0] if len(texts) == 1 else f"{texts[0]}, ..."
    files = table_files(stack, texts)
    kind = KINDS[files[0].suffix]
    if kind not in TYPED:
        files = [decoded(stack, file, reading.encoding) for file in files]
        if any(file.original for file in files):
            reading = replace(reading, encoding=None)
    table = _CLASSES[kind](database, label, files, reading)
    table.check_sums = CheckSums(stack, files)
    return table


class JsonTable(Table):
    """An array of objects, or an object a line."""

    def column(self, name: str | None, label: str | None = None) -> Column:
        try:
            return super().column(name, label)
        except InputError:
            if self.names != ["json"]:
                raise
            reason = "the file is empty" if self._is_empty() else "no objects; read are an array of objects, or an object a line"
            raise InputError(f"{self.label}: {reason}") from None

    def source(self, uses: Iterable[tuple[Column, str]] = (), only: TableFile | None = None) -> str:
        options = [self._partitioning(), self._compression(), "maximum_object_size = 134217728"]
        if types := self._types_of(uses):
            listed = (f"{c.identifier}: {literal(types.get(c.identifier, c.type))}" for c in self._columns)
            options.append(f"columns = {{{', '.join(listed)}}}")
        return f"read_json({', '.join([self._files_in_sql(only), *options])})"


class ParquetTable(Table):
    """Parquet files."""

    def source(self, uses: Iterable[tuple[Column, str]] = (), only: TableFile | None = None) -> str:
        return f"read_parquet({self._files_in_sql(only)}, {self._partitioning()})"

    def _names_in_file(self, names: list[str]) -> list[str]:
        """Return the names in the schema: DuckDB numbers names that come twice, also in upper and lower case."""
        if not any(re.search(r"_\d+$", name) for name in names):
            return names
        query = f"SELECT name, coalesce(num_children, 0) FROM parquet_schema({self.files[0].literal()})"
        nodes = iter(self._database.rows(query))

        def skip(children: int) -> None:
            for _ in range(children):
                skip(next(nodes)[1])

        written = []
        for _ in range(next(nodes)[1]):  # the first node is the table
            name, children = next(nodes)
            written.append(name)
            skip(children)
        return [*written, *names[len(written) :]]  # those of partitions are in no file


class ArrowTable(Table):
    """Arrow files, which nanoarrow reads."""

    def source(self, uses: Iterable[tuple[Column, str]] = (), only: TableFile | None = None) -> str:
        streams = self.streams if only is None else [_name_of_stream(only)]
        return f"({' UNION ALL BY NAME '.join(f'FROM {identifier(name)}' for name in streams)})"

    def _sniff(self) -> list[Column]:
        self.streams = {_name_of_stream(file): ArrowFile(file.path, file.shown) for file in self.files}
        first = next(iter(self.streams.values()))
        for name, stream in self.streams.items():
            if sorted(stream.names) != sorted(first.names):  # those of one file alone would be missing values of the other one
                raise InputError(f"{stream.shown}: other columns than {first.shown} has")
            self._database.register(name, stream)
        return super()._sniff()

    def _names_in_file(self, names: list[str]) -> list[str]:
        return next(iter(self.streams.values())).names


def _name_of_stream(file: TableFile) -> str:
    return f"cylosses stream {file.path}"


_CLASSES: dict[str, type[Table]] = {"csv": TextTable, "json": JsonTable, "parquet": ParquetTable, "arrow": ArrowTable}
