"""Tables: one file or several of one kind, of which DuckDB reads the columns that are wanted in one scan.

How text is read so that no row and no digit is lost without a word:

a. The first rows tell the dialect, and what they told is fixed for the whole scan. Quotes are always `"`, nothing is a comment and
   no line is skipped: what does not fit is an error with its line.
b. Numbers are read as float64 whatever the first rows hold: a column that looks like integers there may have 1.5 later, which
   DuckDB would round. Integers beyond 2**53 are read once more, as such, when all of a column are.
c. Columns are read by name in every file, so that files whose columns have another order go together.
"""

import re
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cylosses._cli.arrow import ArrowFile
from cylosses._cli.engine import BAD_LINE_ENDS, EngineError, identifier, literal, rows
from cylosses._cli.source import MISSING, NA, NUMBERS, InputError, choose, one_line
from cylosses._cli.table_files import (
    COMPRESSIONS,
    KINDS,
    TYPED,
    TableFile,
    check_sum,
    decoded,
    encoding_for_duckdb,
    identity,
    other_line_end,
    table_files,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DELIMITERS = ",;\t|"
_INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT"}
_UNSIGNED = {"UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
_WIDE = {"HUGEINT", "UHUGEINT"}
_FLOATS = {"FLOAT", "DOUBLE"}
_LONGEST_LINE = 32_000_000
_ROW = identifier("cylosses row")


@dataclass(frozen=True)
class Reading:
    """How text files are read; None: as their first rows tell."""

    delimiter: str | None = None
    decimal: str = "."
    encoding: str | None = None
    na: tuple[str, ...] = NA
    header: bool | None = None


@dataclass
class Column:
    """A column of a table: its name in the file, its name for DuckDB, and its type as DuckDB found it."""

    table: "Table"
    name: str
    identifier: str
    type: str
    exact: str | None = field(default=None)  # the integer type that holds all of a text column, once that is known

    @property
    def is_text(self) -> bool:
        """Whether the type is a guess from the first rows; it is none for a column that names of folders tell."""
        return self.table.kind not in TYPED and self.name not in self.table.partitions

    @property
    def maybe_integer(self) -> bool:
        """Whether all numbers may be integers; of text, the numbers themselves tell."""
        if self.is_text:
            return self.exact is None
        return self.type in _INTEGERS | _UNSIGNED | {"BOOLEAN"}

    def number(self) -> str:
        """Return the SQL of the column as float64, float32, int64 or uint64."""
        kind = _plain(self.type)
        if self.is_text or kind in _FLOATS:
            return self.identifier
        if kind in _INTEGERS or kind == "BOOLEAN":
            return f"CAST({self.identifier} AS BIGINT)"
        if kind in _UNSIGNED:
            return f"CAST({self.identifier} AS UBIGINT)"
        if kind == "DECIMAL":  # by its digits: a quotient would be rounded twice
            return f"CAST(CAST({self.identifier} AS VARCHAR) AS DOUBLE)"
        raise InputError(f"{self.table.label}: column {self.name!r} of type {self.type} is not supported; {NUMBERS}")

    def mask(self) -> str:
        """Return the SQL of the column as bools, or as numbers that should be 0 and 1."""
        if self.type != "BOOLEAN":
            return self.number()
        # A plain cast would be handed on to the reader of CSV, which finds no number in True.
        return f"CASE WHEN {self.identifier} THEN 1::UTINYINT WHEN NOT {self.identifier} THEN 0::UTINYINT END"

    def key(self) -> str:
        """Return the SQL of the column as something that is compared: a number, a bool or a text."""
        kind = _plain(self.type)
        if self.is_text and kind in _INTEGERS | _UNSIGNED | _WIDE:
            # DuckDB would round the 1.5 that comes after many integers, and join it with 2.
            text = self.identifier
            problem = literal(f"column {self.name!r}: the first rows hold integers, and a later one ")
            return (
                f"CASE WHEN {text} IS NULL THEN NULL WHEN TRY_CAST({text} AS BIGINT) = TRY_CAST({text} AS DOUBLE) "
                f"THEN CAST({text} AS BIGINT) ELSE error({problem} || {text}) END"
            )
        if kind in _INTEGERS | _UNSIGNED | _WIDE | _FLOATS | {"BOOLEAN", "VARCHAR"}:
            return self.identifier
        return f"CAST({self.identifier} AS VARCHAR)"

    def read_as(self, use: str) -> str | None:
        """Return the type that the column of a text file is read as to be a number, a mask or a key; None: as it was found."""
        if not self.is_text:
            return None
        if use == "text":
            return "VARCHAR"
        if use == "key":
            return "VARCHAR" if self.type in _INTEGERS | _UNSIGNED | _WIDE else None
        if use == "mask" and self.type == "BOOLEAN":
            return None
        return self.exact or "DOUBLE"


class Table:
    """Files of one kind, read as one table."""

    def __init__(self, database: "DuckDBPyConnection", label: str, files: list[TableFile], reading: Reading) -> None:
        self.label, self.files = label, files
        self.kind = KINDS[files[0].suffix]
        self._database, self._reading = database, reading
        self._identities = [identity(file) for file in files]
        folders = [[part.partition("=")[0] for part in file.path.parts[:-1] if "=" in part] for file in files]
        self.partitions = set(folders[0]) if all(folders) else set()
        self._delimiter = reading.delimiter or ("\t" if files[0].suffix == ".tsv" else None)
        self._header = reading.header
        self.streams = self._open_streams()
        self._columns = self._sniff()

    # --- names --------------------------------------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        return [column.name for column in self._columns]

    def column(self, name: str | None, label: str | None = None) -> Column:
        """Return the column of this name, or of this number if there is no such name; without a name the only one."""
        if self.kind == "csv" and self._reading.header is None and not self._header and name is not None and not _is_number(name):
            self._expect_header()
        names = self.names
        if name is not None and name not in names and _is_number(name) and 1 <= int(name) <= len(names):
            return self._columns[int(name) - 1]
        try:
            return self._columns[names.index(choose(label or self.label, name, names, "column"))]
        except InputError as error:
            if names == [{"csv": "column0", "json": "json"}.get(self.kind)] and (reason := self._nothing()):
                raise InputError(f"{self.label}: {reason}") from None
            if self.kind != "csv" or name is None:
                raise
            if len(names) == 1:
                marks = f"delimiter {self._delimiter!r}" if self._delimiter else "no delimiter in the first line"
                raise InputError(f"{error} ({marks}: --delimiter says which; no line above the header is skipped)") from None
            raise InputError(f"{error}{'' if self._header else ' (no header line: --header says that there is one)'}") from None

    def _nothing(self) -> str | None:
        """Return why there are no columns with names, if that is so."""
        if not rows(self._database, f"SELECT 1 FROM {self.source()} WHERE {self._columns[0].identifier} IS NOT NULL LIMIT 1"):
            return "the file is empty"
        return "no objects; read are an array of objects, or an object a line" if self.kind == "json" else None

    def describe(self) -> list[str]:
        """Return lines that tell what was guessed."""
        lines = [f"{self.label}: {len(self.files)} files, the first is {self.files[0].shown}"] if len(self.files) > 1 else []
        if self.kind == "csv":
            header = "a header line" if self._header else "no header line"
            lines.append(f"{self.label}: delimiter {self._delimiter!r}, decimal {self._reading.decimal!r}, {header}")
        listed = ", ".join(f"{column.name} ({column.type})" for column in self._columns[:20])
        return [*lines, f"{self.label}: columns {listed}" + (", ..." if len(self._columns) > 20 else "")]

    def uses_in_conditions(self) -> list[tuple[Column, str]]:
        """Return all columns that look like integers, to be read as numbers: DuckDB would round the 1.5 among later ones."""
        return [(column, "number") for column in self._columns if column.is_text and column.type in _INTEGERS | _UNSIGNED | _WIDE]

    # --- what DuckDB is told ------------------------------------------------------------------------------------------

    def source(self, uses: Iterable[tuple[Column, str]] = (), only: TableFile | None = None) -> str:
        """Return the SQL of the table, or of one file of it, whose columns have the types that their uses want."""
        types = {column.identifier: kind for column, use in uses if (kind := column.read_as(use)) is not None}
        if self.kind == "arrow":
            streams = self.streams if only is None else [self._stream_of(only)]
            return f"({' UNION ALL BY NAME '.join(f'FROM {identifier(name)}' for name in streams)})"
        files = f"[{', '.join(file.literal() for file in (self.files if only is None else [only]))}]"
        options = [f"hive_partitioning = {str(bool(self.partitions)).lower()}"]
        if self.kind == "parquet":
            return f"read_parquet({', '.join([files, *options])})"
        options.append(self._compression())
        if self.kind == "json":
            if types:
                listed = (f"{c.identifier}: {literal(types.get(c.identifier, c.type))}" for c in self._columns)
                options.append(f"columns = {{{', '.join(listed)}}}")
            return f"read_json({', '.join([files, *options, 'maximum_object_size = 134217728'])})"
        options += self._text_options()
        if types:
            listed = (f"{literal(name[1:-1].replace(2 * chr(34), chr(34)))}: {literal(kind)}" for name, kind in types.items())
            options.append(f"types = {{{', '.join(listed)}}}")
        return f"read_csv({', '.join([files, *options])})"

    def _open_streams(self) -> dict[str, ArrowFile]:
        """Return what DuckDB reads as tables of these names."""
        if self.kind != "arrow":
            return {}
        streams = {self._stream_of(file): ArrowFile(file.path, file.shown) for file in self.files}
        first = next(iter(streams.values()))
        for name, stream in streams.items():
            if sorted(stream.names) != sorted(first.names):  # those of one file alone would be missing values of the other one
                raise InputError(f"{stream.shown}: other columns than {first.shown} has")
            self._database.register(name, stream)
        return streams

    def _stream_of(self, file: TableFile) -> str:
        return f"cylosses stream {file.path}"

    def _compression(self) -> str:
        return f"compression = {literal(COMPRESSIONS.get(self.files[0].compression, 'none'))}"

    def _text_options(self) -> list[str]:
        reading = self._reading
        options = ["quote = '\"'", "escape = '\"'", "comment = ''", "skip = 0", "strict_mode = true", "files_to_sniff = -1"]
        options += [f"max_line_size = {_LONGEST_LINE}", f"buffer_size = {_LONGEST_LINE}"]  # the buffer has its usual size
        options.append(f"nullstr = [{', '.join(map(literal, reading.na))}]")
        options.append(f"decimal_separator = {literal(reading.decimal)}")
        if self._delimiter is not None:
            options.append(f"delim = {literal(self._delimiter)}")
        if self._header is not None:
            options.append(f"header = {str(self._header).lower()}")
        if reading.encoding is not None:
            options.append(f"encoding = {literal(encoding_for_duckdb(reading.encoding))}")
        return options

    # --- sniffing -----------------------------------------------------------------------------------------------------

    def _sniff(self) -> list[Column]:
        if self.kind == "csv":
            return self._sniff_text()
        try:
            found = rows(self._database, f"DESCRIBE SELECT * FROM {self.source()}")
        except EngineError as error:
            raise self._unreadable(error) from None
        names = [name for name, *_ in found]
        if self.kind == "arrow":
            names = next(iter(self.streams.values())).names
        elif self.kind == "parquet" and any(re.search(r"_\d+$", name) for name in names):
            names = self._names_in_schema(names)
        return [Column(self, name, identifier(row[0]), row[1]) for name, row in zip(names, found, strict=True)]

    def _names_in_schema(self, names: list[str]) -> list[str]:
        """Return the names of a Parquet file itself: DuckDB numbers names that come twice, also in upper and lower case."""
        query = f"SELECT name, coalesce(num_children, 0) FROM parquet_schema({self.files[0].literal()})"
        nodes = iter(rows(self._database, query))

        def skip(children: int) -> None:
            for _ in range(children):
                skip(next(nodes)[1])

        written = []
        for _ in range(next(nodes)[1]):  # the first node is the table
            name, children = next(nodes)
            written.append(name)
            skip(children)
        return [*written, *names[len(written) :]]  # those of partitions are in no file

    def _sniff_text(self) -> list[Column]:
        try:
            found = self._first_rows()
            if len(found) == 1 and self._delimiter is None:
                # Rows of different lengths look like one column. With the delimiter of the header, they are an error.
                for mark in DELIMITERS:
                    if mark in found[0].name:
                        self._delimiter = mark
                        found = self._first_rows()
                        break
        except EngineError as error:
            raise self._bad_line(error) from None
        return found

    def _expect_header(self) -> None:
        """Take the first line for a header, which among text looks like any other row."""
        before = self._columns
        self._header = True
        try:
            self._columns = self._first_rows()
        except EngineError:  # there are no lines
            self._header, self._columns = False, before

    def _first_rows(self) -> list[Column]:
        options = ", ".join([*self._text_options(), self._compression()])
        query = f"SELECT Delimiter, HasHeader FROM sniff_csv({self.files[0].literal()}, {options})"
        delimiter, header = rows(self._database, query)[0]
        described = rows(self._database, f"DESCRIBE SELECT * FROM {self.source()}")
        if len(described) > 1:
            self._delimiter = delimiter
        names = [name for name, *_ in described]
        if self._header is None:
            # Numbers are data, also where DuckDB takes 0.5 above integers for a header.
            self._header = bool(header) and not all(map(_is_float, names))
            if self._header != header:
                return self._first_rows()
        if any(re.search(r"_\d+$", name) for name in names):
            names = self._names_as_written(names)
        return [Column(self, name, identifier(row[0]), row[1]) for name, row in zip(names, described, strict=True)]

    def _names_as_written(self, names: list[str]) -> list[str]:
        """Return the names of the header line itself: DuckDB numbers names that come twice, also in upper and lower case."""
        if not self._header:
            return names
        options = [text for text in [*self._text_options(), self._compression()] if not text.startswith("header")]
        options += ["header = false", "all_varchar = true"]
        query = f"SELECT * FROM read_csv({self.files[0].literal()}, {', '.join(options)}) LIMIT 1"
        written = ["" if name is None else str(name) for name in rows(self._database, query)[0]]
        return [*written, *names[len(written) :]]  # those of partitions are in no line

    def _bad_line(self, error: EngineError) -> InputError:
        """Return what is wrong with a text file whose rows fit no dialect: DuckDB tells only where it is given the columns."""
        delimiter = self._delimiter or ","
        path = self.files[0].literal()
        options = [text for text in [*self._text_options(), self._compression()] if not text.startswith(("delim", "header"))]
        common = f"delim = {literal(delimiter)}, auto_detect = false, {', '.join(options)}"
        try:
            if "sniffing" in str(error):
                columns = self._count_of_first_line(path, delimiter)
                types = ", ".join(f"'c{k}': 'VARCHAR'" for k in range(columns))
                rows(self._database, f"SELECT count(*) FROM read_csv({path}, {common}, header = false, columns = {{{types}}})")
        except EngineError as line:
            return self._unreadable(line)
        return self._unreadable(error)

    def _count_of_first_line(self, path: str, delimiter: str) -> int:
        options = "quote = '', escape = '', auto_detect = false, header = false, strict_mode = false, columns = {'line': 'VARCHAR'}"
        lines = f"read_csv({path}, delim = '\\x01', {self._compression()}, {options})"
        found = rows(self._database, f"SELECT len(string_split(line, {literal(delimiter)})) FROM {lines} LIMIT 1")
        return int(found[0][0] or 1) if found else 1

    def _unreadable(self, error: Exception, columns: Iterable[Column] = ()) -> InputError:
        text = one_line(error)
        for file in self.files:
            if text.startswith(f"{file.path}: "):  # it is about a line of this file
                what = text.removeprefix(f"{file.path}: ")
                if BAD_LINE_ENDS in what:
                    what = other_line_end(file)
                elif "columns expected" in what:
                    what += f" (delimiter {self._delimiter or ','!r})"
                return InputError(f"{file.shown}: {what}")
            text = text.replace(str(file.path), file.shown)
        if "for the Header options" in text:
            text = "there is no header line"
        return self._of_one_file(columns) or InputError(f"{self.label}: cannot read: {text}")

    def _of_one_file(self, columns: Iterable[Column]) -> InputError | None:
        """Return what is wrong with the first of several files that cannot be read, or has not these columns, if there is one."""
        reading = replace(self._reading, delimiter=self._delimiter, header=self._header)
        for file in self.files if len(self.files) > 1 else ():
            try:
                alone = Table(self._database, file.shown, [file], reading)
                for column in columns:
                    alone.column(column.name)
            except InputError as error:
                return error
        return None

    # --- errors -------------------------------------------------------------------------------------------------------

    def explain(self, error: EngineError, columns: list[Column], keep: str | None = None) -> InputError:
        """Return what an error of a scan means: the first cell that is no number, or else DuckDB's own words."""
        if self.kind not in TYPED and re.search("onver|cast|error when", str(error), re.IGNORECASE):
            numbers = [column for column in columns if column.is_text]
            try:
                found = self._find(numbers, "{0} IS NOT NULL AND {1} IS NULL", keep)
            except EngineError:
                found = None
            if found is not None:
                file, row, column, cell = found
                what = f"{cell[:60]!r} is not a number" if cell.strip() else f"the cell holds {'spaces' if cell else 'nothing'}"
                return InputError(
                    f"{self._place(file, row)}, column {column.name!r}: {what}; numbers, nan and inf are accepted"
                    f"{self._advice(column, cell)}"
                )
        return self._unreadable(error, columns)

    def _advice(self, column: Column, cell: str) -> str:
        """Return what may help with a cell that is no number."""
        thousands = bool(re.fullmatch(r"\s*[+-]?\d{1,3}(,\d{3})+(\.\d*)?\s*", cell))
        if thousands or re.fullmatch(r"\s*[+-]?\d{1,3}(\.\d{3})+(,\d*)?\s*", cell):
            advice = "; separators of thousands are not read"
            return f"{advice}, a decimal comma is with --decimal ," if thousands and self._reading.decimal == "." else advice
        if re.fullmatch(r"\s*[+-]?\d+,\d+\s*", cell) and self._reading.decimal == ".":
            return "; --decimal , reads a decimal comma"
        if not cell.strip() and self.kind == "csv":
            return "; --na takes them for missing"
        if cell.startswith('"'):
            return "; is a quote not closed?"
        if cell.strip() == column.name:
            return "; a header that is not in the first line, or comes again?"
        return ""

    def missing(self, columns: list[Column], keep: str | None = None) -> InputError:
        """Return the error that names the first missing cell."""
        found = self._find(columns, "{0} IS NULL", keep)
        if found is None:
            return InputError(f"{self.label}: a value is missing; {MISSING}")
        file, row, column, _ = found
        return InputError(f"{self._place(file, row)}, column {column.name!r}: the value is missing; {MISSING}")

    def bad_weight(self, column: Column, keep: str | None = None) -> InputError | None:
        """Return the error that names the first cell that is no weight."""
        try:
            found = self._find([column], "NOT ({1} >= 0 AND {1} < 'infinity'::DOUBLE)", keep)
        except EngineError:
            return None
        if found is None:
            return None
        file, row, _, cell = found
        return InputError(
            f"{self._place(file, row)}, column {column.name!r}: the weight {cell}; weights are finite and not negative"
        )

    def place_of(self, index: int) -> str:
        """Return file and row of the row that has this index in the whole table."""
        for file in self.files:
            if len(self.files) > 1:
                length = rows(self._database, f"SELECT count(*) FROM {self.source(only=file)}")[0][0]
                if index >= length:
                    index -= length
                    continue
            return self._place(file, index + 1)
        return self.label

    def _place(self, file: TableFile, row: int) -> str:
        return f"{file.shown}: row {row}"

    def _find(self, columns: list[Column], test: str, keep: str | None) -> tuple[TableFile, int, Column, str] | None:
        """Return file, row, column and text of the first cell that a test finds; {0} is the cell, {1} its number."""
        if not columns:
            return None
        tests = []
        for column in columns:
            cell = column.identifier
            digits = f"replace({cell}, {literal(self._reading.decimal)}, '.')" if column.is_text else cell
            tests.append(f"({test.format(cell, f'TRY_CAST({digits} AS DOUBLE)')})")
        for file in self.files:
            conditioned = self.uses_in_conditions() if keep else []
            source = self.source([*conditioned, *((column, "text") for column in columns)], file)
            numbered = f"SELECT row_number() OVER () AS {_ROW}, * FROM {source}"
            wanted = ", ".join([_ROW, *tests, *(f"CAST({column.identifier} AS VARCHAR)" for column in columns)])
            condition = f"({' OR '.join(tests)})" + (f" AND ({keep})" if keep else "")
            found = rows(self._database, f"SELECT {wanted} FROM ({numbered}) WHERE {condition} LIMIT 1")
            if found:
                row, *rest = found[0]
                at = rest[: len(columns)].index(True)
                return file, int(row), columns[at], rest[len(columns) + at] or ""
        return None

    # --- facts --------------------------------------------------------------------------------------------------------

    def settle_integers(self, column: Column) -> None:
        """Find the integer type that holds all of a text column, in a scan of its own, or that there is none."""
        cell, source = column.identifier, self.source([(column, "text")])
        digits = f"regexp_full_match(trim({cell}), '[+-]?[0-9]+')"
        tests = (f"bool_and({digits} AND TRY_CAST({cell} AS {kind}) IS NOT NULL)" for kind in ("BIGINT", "UBIGINT"))
        found = rows(self._database, f"SELECT {', '.join(tests)} FROM {source} WHERE {cell} IS NOT NULL")[0]
        column.exact = "BIGINT" if found[0] else "UBIGINT" if found[1] else "DOUBLE"

    def check_unchanged(self) -> None:
        """Refuse files that are not the ones that were opened, have changed while they were read, or are damaged."""
        for file, before in zip(self.files, self._identities, strict=True):
            if identity(file) != before:
                raise InputError(f"{file.shown}: the file has changed while it was read")
            check_sum(file)


def open_table(database: "DuckDBPyConnection", stack: ExitStack, texts: list[str], reading: Reading) -> Table:
    """Open a table of files, globs, folders, or `-` for standard input."""
    label = texts[0] if len(texts) == 1 else f"{texts[0]}, ..."
    files = table_files(stack, texts)
    if KINDS[files[0].suffix] not in TYPED:
        files = [decoded(stack, file, reading.encoding) for file in files]
        if any(file.original for file in files):
            reading = replace(reading, encoding=None)
    return Table(database, label, files, reading)


def _plain(kind: str) -> str:
    """Return a type without its precision; a list or struct of numbers is no number."""
    return "DECIMAL" if re.fullmatch(r"DECIMAL\(\d+,\d+\)", kind) else kind


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
