"""Tables of text, CSV and its relatives. How they are read so that no row and no digit is lost without a word:

a. The first rows tell the dialect, and what they told is fixed for the whole scan. Quotes are always `"`, nothing is a comment and
   no line is skipped: what does not fit is an error with its line.
b. Numbers are read as float64 whatever the first rows hold: a column that looks like integers there may have 1.5 later, which
   DuckDB would round. Integers beyond 2**53 are read once more, as such, when all of a column are.
c. Columns are read by name in every file, so that files whose columns have another order go together. The first rows of each file
   are looked at on their own, and the scan is told what they hold: DuckDB keeps 32 MB of each file that it looks at itself.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby

from cylosses._cli.columns import Column, Reading, common_type
from cylosses._cli.engine import BAD_LINE_ENDS, Database, EngineError, identifier, literal
from cylosses._cli.source import InputError
from cylosses._cli.table import Table, is_number
from cylosses._cli.table_files import TableFile, encoding_for_duckdb, other_line_end

DELIMITERS = ",;\t|"
_LONGEST_LINE = 32_000_000
_Layout = tuple[str, ...]  # the columns of a file in its order, by the names that DuckDB has for them in the first file


class TextTable(Table):
    """Files of text, of one dialect."""

    def __init__(self, database: Database, label: str, files: list[TableFile], reading: Reading) -> None:
        self._delimiter = reading.delimiter or ("\t" if files[0].suffix == ".tsv" else None)
        self._only_column = ","  # the delimiter where there is one column
        self._header = reading.header
        self._formats: list[str] = []
        super().__init__(database, label, files, reading)
        self._layouts = self._lay_out()

    def column(self, name: str | None, label: str | None = None) -> Column:
        if self._reading.header is None and not self._header and name is not None and not is_number(name):
            self._expect_header()
        try:
            return super().column(name, label)
        except InputError as error:
            if self.names == ["column0"] and self._is_empty():
                raise InputError(f"{self.label}: the file is empty") from None
            if name is None:
                raise
            if len(self.names) == 1:
                marks = f"delimiter {self._delimiter!r}" if self._delimiter else "no delimiter in the first line"
                raise InputError(f"{error} ({marks}: --delimiter says which; no line above the header is skipped)") from None
            raise InputError(f"{error}{'' if self._header else ' (no header line: --header says that there is one)'}") from None

    def describe(self) -> list[str]:
        header = "a header line" if self._header else "no header line"
        *first, columns = super().describe()
        return [*first, f"{self.label}: delimiter {self._delimiter!r}, decimal {self._reading.decimal!r}, {header}", columns]

    # --- what DuckDB is told ------------------------------------------------------------------------------------------

    def source(self, uses: Iterable[tuple[Column, str]] = (), only: TableFile | None = None) -> str:
        """Return the SQL of the table, of which files with the same columns in the same order are read together."""
        options = ["auto_detect = false", self._partitioning(), *self._options(), *self._formats]
        if self._delimiter is None:
            options.append(f"delim = {literal(self._only_column)}")
        types = {column.identifier: column.type for column in self._columns} | self._types_of(uses)
        scans = []
        for layout, together in groupby(zip(self._layouts, self.files, strict=True), lambda pair: pair[0]):
            files = ", ".join(file.literal() for _, file in together if only is None or file is only)
            if files:
                listed = ", ".join(f"{name}: {literal(types.get(name, 'VARCHAR'))}" for name in layout)
                scans.append(f"read_csv({', '.join([f'[{files}]', f'columns = {{{listed}}}', *options])})")
        if len(scans) == 1:
            return scans[0]
        names = ", ".join(column.identifier for column in self._columns)
        return f"({' UNION ALL '.join(f'SELECT {names} FROM {scan}' for scan in scans)})"

    def _lay_out(self) -> list[_Layout]:
        """Return the columns of each file, in its order, with the names that they have in the first one; types fit all of them."""
        first = [column for column in self._columns if column.name not in self.partitions]
        return [tuple(column.identifier for column in first), *(self._layout(file, first) for file in self.files[1:])]

    def _layout(self, file: TableFile, first: list[Column]) -> _Layout:
        try:
            described = self._describe(
                file, "hive_partitioning = false", "sample_size = 2048", "max_line_size = 4000000", "buffer_size = 4000000"
            )
        except EngineError:  # perhaps a line is longer
            try:
                described = self._describe(file, "hive_partitioning = false")
            except EngineError as error:
                raise self._unreadable(error) from None
        names = self._names_as_written(file, [name for name, *_ in described])
        waiting = list(first)
        layout = []
        for k, name in enumerate(names):
            column = next((column for column in waiting if column.name == name), None)
            if column is None:
                layout.append(identifier(f"cylosses column {k}"))
                continue
            waiting.remove(column)
            layout.append(column.identifier)
            column.type = common_type(column.type, described[k][1])
        if waiting:
            raise InputError(self._lacks(file, waiting[0], names))
        return tuple(layout)

    def _lacks(self, file: TableFile, column: Column, names: list[str]) -> str:
        if names == ["column0"]:
            return f"{file.shown}: the file is empty"
        listed = ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")
        hint = f" (delimiter {self._delimiter!r}: --delimiter says which)" if len(names) == 1 else ""
        return f"{file.shown}: no column {column.name!r}, which {self.files[0].shown} has; the file has {listed}{hint}"

    def _options(self) -> list[str]:
        reading = self._reading
        options = [self._compression(), "quote = '\"'", "escape = '\"'", "comment = ''", "skip = 0", "strict_mode = true"]
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

    def _sniff(self) -> list[Column]:
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
            self._layouts = self._lay_out()
        except EngineError:  # there are no lines
            self._header, self._columns = False, before

    def _first_rows(self) -> list[Column]:
        options = ", ".join(self._options())
        query = f"SELECT Delimiter, HasHeader, DateFormat, TimestampFormat FROM sniff_csv({self.files[0].literal()}, {options})"
        self._only_column, header, date, timestamp = self._database.rows(query)[0]
        self._formats = [f"dateformat = {literal(date)}"] if date else []
        self._formats += [f"timestampformat = {literal(timestamp)}"] if timestamp else []
        described = self._describe(self.files[0], self._partitioning())
        if len(described) > 1:
            self._delimiter = self._only_column
        names = [name for name, _ in described]
        if self._header is None:
            # Numbers are data, also where DuckDB takes 0.5 above integers for a header.
            self._header = bool(header) and not all(map(_is_float, names))
            if self._header != header:
                return self._first_rows()
        written = self._names_as_written(self.files[0], names)
        return [Column(self, name, identifier(row[0]), row[1]) for name, row in zip(written, described, strict=True)]

    def _describe(self, file: TableFile, *more: str) -> list[tuple[str, str]]:
        """Return names and types of the columns of one file, as its first rows tell."""
        told = {text.partition(" = ")[0] for text in more}
        options = [text for text in self._options() if text.partition(" = ")[0] not in told]
        found = self._database.rows(f"DESCRIBE SELECT * FROM read_csv({', '.join([file.literal(), *options, *more])})")
        return [(name, kind) for name, kind, *_ in found]

    def _names_as_written(self, file: TableFile, names: list[str]) -> list[str]:
        """Return the names of the header line itself: DuckDB numbers names that come twice, also in upper and lower case."""
        if not self._header or not any(re.search(r"_\d+$", name) for name in names):
            return names
        options = [text for text in self._options() if not text.startswith("header")]
        options += ["header = false", "all_varchar = true"]
        query = f"SELECT * FROM read_csv({file.literal()}, {', '.join(options)}) LIMIT 1"
        written = ["" if name is None else str(name) for name in self._database.rows(query)[0]]
        return [*written, *names[len(written) :]]  # those of partitions are in no line

    def _bad_line(self, error: EngineError) -> InputError:
        """Return what is wrong with a text file whose rows fit no dialect: DuckDB tells only where it is given the columns."""
        delimiter = self._delimiter or ","
        path = self.files[0].literal()
        options = [text for text in self._options() if not text.startswith(("delim", "header"))]
        common = f"delim = {literal(delimiter)}, auto_detect = false, {', '.join(options)}"
        try:
            if "sniffing" in str(error):
                columns = self._count_of_first_line(path, delimiter)
                types = ", ".join(f"'c{k}': 'VARCHAR'" for k in range(columns))
                self._database.rows(f"SELECT count(*) FROM read_csv({path}, {common}, header = false, columns = {{{types}}})")
        except EngineError as line:
            return self._unreadable(line)
        return self._unreadable(error)

    def _count_of_first_line(self, path: str, delimiter: str) -> int:
        options = "quote = '', escape = '', auto_detect = false, header = false, strict_mode = false, columns = {'line': 'VARCHAR'}"
        lines = f"read_csv({path}, delim = '\\x01', {self._compression()}, {options})"
        found = self._database.rows(f"SELECT len(string_split(line, {literal(delimiter)})) FROM {lines} LIMIT 1")
        return int(found[0][0] or 1) if found else 1

    def _unreadable(self, error: Exception, columns: Iterable[Column] = ()) -> InputError:
        if "for the Header options" in str(error):
            error = EngineError("there is no header line")
        return super()._unreadable(error, columns)

    def _of_a_line(self, file: TableFile, what: str) -> str:
        if BAD_LINE_ENDS in what:
            return other_line_end(file)
        return f"{what} (delimiter {self._delimiter or ','!r})" if "columns expected" in what else what

    def _settled(self) -> Reading:
        return replace(self._reading, delimiter=self._delimiter, header=self._header)

    def _advice_on_blanks(self) -> str:
        return "; --na takes them for missing"


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
