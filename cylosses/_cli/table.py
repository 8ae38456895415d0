"""Tables: one file or several of one kind, of which DuckDB reads the columns that are wanted in one scan. What all kinds have;
text.py has CSV, whose dialect is guessed, tables.py opens them.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable

from cylosses._cli.arrow import ArrowFile
from cylosses._cli.columns import INTEGERS, Column, Reading
from cylosses._cli.engine import Database, EngineError, Step, identifier, literal
from cylosses._cli.source import MISSING, InputError, choose, one_line
from cylosses._cli.table_files import COMPRESSIONS, KINDS, TYPED, CheckSums, TableFile, identity

_ROW = identifier("cylosses row")


class Table(ABC):
    """Files of one kind, read as one table."""

    def __init__(self, database: Database, label: str, files: list[TableFile], reading: Reading) -> None:
        self.label, self.files = label, files
        self._database, self._reading = database, reading
        self._identities = [identity(file) for file in files]
        self.reading = Step("reading", sum(size for _, _, size, _ in self._identities))
        folders = [[part.partition("=")[0] for part in file.path.parts[:-1] if "=" in part] for file in files]
        self.partitions = set(folders[0]) if all(folders) else set()
        self.streams: dict[str, ArrowFile] = {}
        self.check_sums: CheckSums | None = None
        self._columns = self._sniff()

    @property
    def has_types(self) -> bool:
        """Whether the files themselves tell the types of their columns."""
        return KINDS[self.files[0].suffix] in TYPED

    @abstractmethod
    def source(self, uses: Iterable[tuple[Column, str]] = (), only: TableFile | None = None) -> str:
        """Return the SQL of the table, or of one file of it, whose columns have the types that their uses want."""

    # --- names --------------------------------------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        return [column.name for column in self._columns]

    def column(self, name: str | None, label: str | None = None) -> Column:
        """Return the column of this name, or of this number if there is no such name; without a name the only one."""
        names = self.names
        if name is not None and name not in names and is_number(name) and 1 <= int(name) <= len(names):
            return self._columns[int(name) - 1]
        return self._columns[names.index(choose(label or self.label, name, names, "column"))]

    def _is_empty(self) -> bool:
        """Whether there is nothing in the first column."""
        return not self._database.rows(f"SELECT 1 FROM {self.source()} WHERE {self._columns[0].identifier} IS NOT NULL LIMIT 1")

    def describe(self) -> list[str]:
        """Return lines that tell what was guessed."""
        lines = [f"{self.label}: {len(self.files)} files, the first is {self.files[0].shown}"] if len(self.files) > 1 else []
        listed = ", ".join(f"{column.name} ({column.type})" for column in self._columns[:20])
        return [*lines, f"{self.label}: columns {listed}" + (", ..." if len(self._columns) > 20 else "")]

    def uses_in_conditions(self) -> list[tuple[Column, str]]:
        """Return all columns that look like integers, to be read as numbers: DuckDB would round the 1.5 among later ones."""
        return [(column, "number") for column in self._columns if column.is_text and column.type in INTEGERS]

    # --- what DuckDB is told ------------------------------------------------------------------------------------------

    def _types_of(self, uses: Iterable[tuple[Column, str]]) -> dict[str, str]:
        """Return the types that columns are read as for their uses."""
        return {column.identifier: kind for column, use in uses if (kind := column.read_as(use)) is not None}

    def _files_in_sql(self, only: TableFile | None) -> str:
        return f"[{', '.join(file.literal() for file in (self.files if only is None else [only]))}]"

    def _partitioning(self) -> str:
        return f"hive_partitioning = {str(bool(self.partitions)).lower()}"

    def _compression(self) -> str:
        return f"compression = {literal(COMPRESSIONS.get(self.files[0].compression, 'none'))}"

    def _sniff(self) -> list[Column]:
        try:
            found = self._database.rows(f"DESCRIBE SELECT * FROM {self.source()}")
        except EngineError as error:
            raise self._unreadable(error) from None
        names = self._names_in_file([name for name, *_ in found])
        return [Column(self, name, identifier(row[0]), row[1]) for name, row in zip(names, found, strict=True)]

    def _names_in_file(self, names: list[str]) -> list[str]:
        """Return the names of the columns in the file itself, of which DuckDB makes different ones."""
        return names

    # --- errors -------------------------------------------------------------------------------------------------------

    def _unreadable(self, error: Exception, columns: Iterable[Column] = ()) -> InputError:
        text = one_line(error)
        for file in self.files:
            if text.startswith(f"{file.path}: "):  # it is about a line of this file
                what = text.removeprefix(f"{file.path}: ")
                return InputError(f"{file.shown}: {self._of_a_line(file, what)}")
            text = text.replace(str(file.path), file.shown)
        return self._of_one_file(columns) or InputError(f"{self.label}: cannot read: {text}")

    def _of_a_line(self, file: TableFile, what: str) -> str:
        """Return what is wrong with a line of a file."""
        return what

    def _settled(self) -> Reading:
        """Return how files are read, with what was guessed."""
        return self._reading

    def _of_one_file(self, columns: Iterable[Column]) -> InputError | None:
        """Return what is wrong with the first of several files that cannot be read, or has not these columns, if there is one."""
        for file in self.files if len(self.files) > 1 else ():
            try:
                alone = type(self)(self._database, file.shown, [file], self._settled())
                for column in columns:
                    alone.column(column.name)
            except InputError as error:
                return error
        return None

    def explain(self, error: EngineError, columns: list[Column], keep: str | None = None) -> InputError:
        """Return what an error of a scan means: the first cell that is no number, or else DuckDB's own words."""
        if not self.has_types and re.search("onver|cast|error when", str(error), re.IGNORECASE):
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
        if not cell.strip():
            return self._advice_on_blanks()
        if cell.startswith('"'):
            return "; is a quote not closed?"
        if cell.strip() == column.name:
            return "; a header that is not in the first line, or comes again?"
        return ""

    def _advice_on_blanks(self) -> str:
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
                length = self._database.rows(f"SELECT count(*) FROM {self.source(only=file)}")[0][0]
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
            found = self._database.rows(f"SELECT {wanted} FROM ({numbered}) WHERE {condition} LIMIT 1")
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
        found = self._database.rows(f"SELECT {', '.join(tests)} FROM {source} WHERE {cell} IS NOT NULL")[0]
        column.exact = "BIGINT" if found[0] else "UBIGINT" if found[1] else "DOUBLE"

    def check_unchanged(self) -> None:
        """Refuse files that are not the ones that were opened, have changed while they were read, or are damaged."""
        for file, before in zip(self.files, self._identities, strict=True):
            if identity(file) != before:
                raise InputError(f"{file.shown}: the file has changed while it was read")
        if self.check_sums is not None:
            self.check_sums.check()


def is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()
