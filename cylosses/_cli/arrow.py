"""Arrow files and streams, also Feather: nanoarrow reads and decompresses them batch by batch, and DuckDB takes them as tables.

A file is a stream between the word ARROW1 and a list of its parts, which nobody needs who reads all of it. Files with dictionaries
are refused: nanoarrow 0.9 does not decompress those, and a file does not tell beforehand whether it is compressed.
"""

import os
from pathlib import Path
from typing import Any

from cylosses._cli.source import InputError, one_line

_FILE, _STREAM_END, _OLD_STREAM_END = b"ARROW1", b"\xff\xff\xff\xff\0\0\0\0", b"\0\0\0\0"
ADVICE = "pyarrow.parquet.write_table(pyarrow.feather.read_table(FILE), 'FILE.parquet') makes a .parquet file of it"


class ArrowFile:
    """A file that can be read several times, each time from its beginning; `names` are those of its columns."""

    def __init__(self, path: Path, shown: str) -> None:
        self._path, self.shown = path, shown
        with path.open("rb") as file:
            first = file.read(8)
            end = file.seek(0, os.SEEK_END)
            file.seek(max(end - 8, 0))
            last = file.read(8)
        if first.startswith(b"FEA1"):
            raise InputError(f"{shown}: Feather version 1 is not read; {ADVICE}")
        self._start = 8 if first.startswith(_FILE) else 0
        whole = last.endswith(_FILE) if self._start else last == _STREAM_END or last.endswith(_OLD_STREAM_END)
        if not whole:
            raise InputError(f"{shown}: not an Arrow file, or truncated: it does not end as such files do")
        self.names = self._checked_names()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Return the batches, as the Arrow PyCapsule interface wants them."""
        from nanoarrow.ipc import InputStream

        descriptor = os.open(self._path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        os.lseek(descriptor, self._start, os.SEEK_SET)
        return InputStream.from_path(descriptor).__arrow_c_stream__(requested_schema)  # which closes it

    def _checked_names(self) -> list[str]:
        from nanoarrow import c_array_stream

        try:
            schema = c_array_stream(self).get_schema()
        except (RuntimeError, OSError, ValueError) as error:
            raise InputError(f"{self.shown}: cannot read: {one_line(error)}; {ADVICE}") from None
        for column in schema.children:
            if _has_dictionary(column):
                raise InputError(f"{self.shown}: column {column.name!r} has a dictionary, as of categories; {ADVICE}")
            if column.format == "e":
                raise InputError(f"{self.shown}: column {column.name!r} is float16, which DuckDB does not read here; {ADVICE}")
        return [column.name for column in schema.children]


def _has_dictionary(schema: Any) -> bool:
    return schema.dictionary is not None or any(map(_has_dictionary, schema.children))
