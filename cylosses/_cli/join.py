"""Predictions and targets of two tables that belong together where keys are equal. DuckDB joins, also what is larger than memory.

Each table is scanned once, into a table of the database that has the keys and what is wanted. The full outer join of both raises an
error at the first row without a partner. Keys that come twice show in its length: if every row has a partner, as many rows as each
table has are only left if every key comes once.
"""

from collections.abc import Iterator, Mapping

from cylosses._cli.columns import Column
from cylosses._cli.engine import Database, EngineError, Step, Values, identifier, literal
from cylosses._cli.pairs import TableScan
from cylosses._cli.source import MISSING, InputError
from cylosses._cli.table import Table

_NAMES = ("predictions", "targets")  # of the tables, which a condition may use, too
_UNMATCHED = "a row has no partner"
_PRESENT = identifier("cylosses present")


class JoinScan(TableScan):
    """The operands of all pairs of rows of two tables that have equal keys."""

    def __init__(
        self,
        database: Database,
        tables: tuple[Table, Table],
        operands: Mapping[str, Column],
        keys: list[str],
        *,
        condition: str | None = None,
        inner: bool = False,
        ordered: bool = False,
    ) -> None:
        super().__init__(database, tables[0], operands, condition)
        self._tables, self._names, self._inner, self._ordered = tables, keys, inner, ordered
        self._keys = [[table.column(key) for key in keys] for table in tables]
        self._carried: dict[str, Column] = {}

    def select(self, keys: Mapping[str, Column] | None = None) -> str:
        self._carried = dict(keys or {})
        self._load()
        unmatched = f"(predictions.{_PRESENT} IS NULL OR targets.{_PRESENT} IS NULL)"
        wanted = list(map(identifier, self._carried))
        for role in self.operands:
            cell = identifier(f"cylosses {role}")
            checked = cell if self._inner else f"CASE WHEN {unmatched} THEN error({literal(_UNMATCHED)}) ELSE {cell} END"
            wanted.append(f"{checked} AS {identifier(role)}")
        query = f"SELECT {', '.join(wanted)} FROM {self._joined('JOIN' if self._inner else 'FULL OUTER JOIN')}"
        if self.condition:
            kept = f"coalesce(({self.condition}), false)"
            query += f" WHERE CASE WHEN {unmatched} THEN error({literal(_UNMATCHED)}) ELSE {kept} END"
        return query + (" ORDER BY predictions.rowid" if self._ordered else "")

    @property
    def step(self) -> Step:
        return Step("joining", sum(table.reading.size for table in self._tables))

    def read(self) -> Iterator[dict[str, Values]]:
        for batch in super().read():
            self.count(len(next(iter(batch.values())).values))
            yield batch

    def count(self, length: int) -> None:
        """Tell how many more rows of the join there were."""
        self._rows += length

    def explain(self, error: EngineError) -> InputError:
        if _UNMATCHED in str(error):
            for mine, other in (_NAMES, _NAMES[::-1]):
                if found := self.database.rows(
                    f"{self._keys_of(mine)} WHERE NOT EXISTS (FROM {other} WHERE {self._equal()}) LIMIT 1"
                ):
                    table = self._tables[_NAMES.index(mine)]
                    return InputError(
                        f"{table.label}: no row of the {other} has {self._shown(found[0])}; --how inner leaves such rows out"
                    )
        return InputError(f"{self._tables[0].label} joined with {self._tables[1].label}: {error}")

    def missing(self, roles: list[str]) -> InputError:
        gaps = " OR ".join(f"{identifier(f'cylosses {role}')} IS NULL" for role in roles)
        keys = ", ".join(f"predictions.{identifier(f'cylosses key {k}')}" for k in range(len(self._names)))
        cells = ", ".join(f"{identifier(f'cylosses {role}')} IS NULL" for role in roles)
        found = self.database.rows(f"SELECT {cells}, {keys} FROM {self._joined('JOIN')} WHERE {gaps} LIMIT 1")[0]
        column = self.operands[roles[found.index(True)]]
        return InputError(
            f"{column.table.label}: {self._shown(found[len(roles) :])}, column {column.name!r}: the value is missing; {MISSING}"
        )

    def check(self) -> None:
        for table in self._tables:
            table.check_unchanged()
        if self._inner:
            return
        lengths = [self.database.rows(f"SELECT count(*) FROM {name}")[0][0] for name in _NAMES]
        if self.condition or any(length != self._rows for length in lengths):
            for name, table in zip(_NAMES, self._tables, strict=True):
                twice = f"{self._keys_of(name, 'count(*)')} GROUP BY ALL HAVING count(*) > 1 LIMIT 1"
                if found := self.database.rows(twice):
                    *key, times = found[0]
                    raise InputError(f"{table.label}: {times} rows have {self._shown(tuple(key))}; --how inner pairs all with all")

    def settle_integers(self, roles: list[str]) -> None:
        for role in roles:
            if self.operands[role].is_text:
                self.operands[role].table.settle_integers(self.operands[role])

    # --- SQL ----------------------------------------------------------------------------------------------------------

    def _load(self) -> None:
        """Read both tables into the database."""
        self._rows = 0
        for name, table, keys in zip(_NAMES, self._tables, self._keys, strict=True):
            operands = {role: column for role, column in self.operands.items() if column.table is table}
            carried = {alias: column for alias, column in self._carried.items() if column.table is table}
            uses = table.uses_in_conditions() if self.condition else []
            uses += [(column, "key") for column in [*keys, *carried.values()]]
            uses += [(column, "mask" if role == "where" else "number") for role, column in operands.items()]
            wanted = [f"true AS {_PRESENT}"]
            wanted += [f"{column.key()} AS {identifier(f'cylosses key {k}')}" for k, column in enumerate(keys)]
            wanted += [f"{column.key()} AS {identifier(alias)}" for alias, column in carried.items()]
            for role, column in operands.items():
                wanted.append(f"{column.mask() if role == 'where' else column.number()} AS {identifier(f'cylosses {role}')}")
            wanted += ["*"] if self.condition else []
            try:
                query = f"CREATE OR REPLACE TABLE {name} AS SELECT {', '.join(wanted)} FROM {table.source(uses)}"
                self.database.rows(query, table.reading)
            except EngineError as error:
                numbers = [column for role, column in operands.items() if role != "where"]
                raise table.explain(error, numbers) from None

    def _joined(self, how: str) -> str:
        return f"predictions {how} targets ON {self._equal()}"

    def _equal(self) -> str:
        types = [{row[0]: row[1] for row in self.database.rows(f"DESCRIBE {name}")} for name in _NAMES]
        conditions = []
        for k in range(len(self._names)):
            name = f"cylosses key {k}"
            sides = [f"{table}.{identifier(name)}" for table in _NAMES]
            if (types[0][name] == "VARCHAR") != (types[1][name] == "VARCHAR"):  # text beside numbers is compared as text
                sides = [f"CAST({side} AS VARCHAR)" for side in sides]
            conditions.append(" = ".join(sides))
        return " AND ".join(conditions)

    def _keys_of(self, table: str, *more: str) -> str:
        keys = (f"{table}.{identifier(f'cylosses key {k}')}" for k in range(len(self._names)))
        return f"SELECT {', '.join([*keys, *more])} FROM {table}"

    def _shown(self, key: tuple[object, ...]) -> str:
        return ", ".join(
            f"{name} {value!r}" if value is not None else f"no {name}" for name, value in zip(self._names, key, strict=True)
        )
