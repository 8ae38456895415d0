"""Files of tables: what a name, a pattern, a folder or standard input stands for, their compression, encoding and identity."""

import codecs
import glob
import importlib
import io
import os
import re
import shutil
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import IO, NamedTuple

from cylosses._cli.engine import literal
from cylosses._cli.source import InputError, one_line
from cylosses._cli.zarr import is_zarr

KINDS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
TYPED = {"parquet", "arrow"}  # kinds whose columns have types; those of others are guessed
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
# First bytes of files that are no text, and what to do with those that are called .csv or .json.
_NO_TEXT = {
    b"\x1f\x8b": "gzip data: add .gz to its name",
    b"\x28\xb5\x2f\xfd": "zstd data: add .zst to its name",
    b"PAR1\x15": "Parquet: call it .parquet",
    b"ARROW1\0\0": "Arrow: call it .arrow",
    b"PK\x03\x04": "a ZIP archive or an Excel file: save the table as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel file: save the table as CSV",
    b"BZh91AY&SY": "bzip2 data: decompress it first",
    b"\xfd7zXZ\0": "xz data: decompress it first",
    b"\x89HDF": "HDF5: numpy.save('FILE.npy', h5py.File(FILE)[NAME][...]) makes a .npy file of it",
    b"\x93NUMPY": "a NumPy array: call it .npy",
}
# Encodings that DuckDB reads, by Python's names.
_READ_AS_THEY_ARE = {"utf-8": "utf-8", "iso8859-1": "latin-1"}


class TableFile(NamedTuple):
    """A file of a table: where it is read, its suffix and compression, how messages name it, and where it is if that is a copy."""

    path: Path
    suffix: str
    compression: str
    shown: str
    original: Path | None = None

    def literal(self) -> str:
        """Return the path in SQL, with no character of it taken for a pattern."""
        return literal(glob.escape(str(self.path)))

    def opened(self) -> IO[bytes]:
        """Open the file, decompressed."""
        modules = {"": "io", ".gz": "gzip", ".zst": "compression.zstd"}  # the last one since Python 3.14
        found: IO[bytes] = importlib.import_module(modules[self.compression]).open(self.path, "rb")
        return found


# --- from texts to files ----------------------------------------------------------------------------------------------


def is_table(text: str) -> bool:
    """Whether this is standard input, a folder, or has the suffix of a table."""
    path = Path(text)
    return (
        text == "-" or suffixes(text)[0] in KINDS or (path.is_dir() and path.suffix not in (".npy", ".npz") and not is_zarr(path))
    )


def suffixes(text: str) -> tuple[str, str]:
    """Return the suffix of the kind and that of the compression, in lower case."""
    path = Path(text.lower())
    return (Path(path.stem).suffix, path.suffix) if path.suffix in COMPRESSIONS else (path.suffix, "")


def files_behind(text: str) -> list[Path]:
    """Return the files that a text stands for, as far as they are there: several for a pattern or a folder."""
    if text == "-":
        return [Path("/dev/stdin")]
    try:
        return [file.path for file in _files_of(text)]
    except (InputError, OSError):
        return [Path(text)]


def table_files(stack: ExitStack, texts: list[str]) -> list[TableFile]:
    """Return all files that texts stand for; all must be of one kind, and not of another one than their names say."""
    files = [file for text in texts for file in ([_standard_input(stack)] if text == "-" else _files_of(text))]
    kinds = {(KINDS.get(file.suffix), file.suffix == ".tsv", file.compression) for file in files}
    if len(kinds) > 1:
        label = texts[0] if len(texts) == 1 else f"{texts[0]}, ..."
        raise InputError(
            f"{label}: files of several kinds: {', '.join(sorted({file.suffix + file.compression for file in files}))}"
        )
    for file in files:
        _check_signature(file)
    return files


def _files_of(text: str) -> list[TableFile]:
    path = Path(text)
    if path.is_dir():
        if suffixes(text)[0] in KINDS:
            raise InputError(f"{text}: not a regular file")
        inner = sorted(found for found in path.rglob("*") if suffixes(found.name)[0] in KINDS and _is_data(found, path))
        if not inner:
            raise InputError(f"{text}: no table in this folder; read are files that end in {', '.join(KINDS)}")
    elif not path.exists() and glob.has_magic(text):
        inner = sorted(Path(name) for name in glob.glob(text, recursive=True) if Path(name).is_file())  # noqa: PTH207
        if not inner:
            raise InputError(f"{text}: no file has such a name")
    elif path.exists() and not path.is_file():
        raise InputError(f"{text}: not a regular file")
    else:
        inner = [path]
    return [TableFile(found, *suffixes(found.name), str(found)) for found in inner]


def _is_data(path: Path, folder: Path) -> bool:
    """Whether a file of a folder is one that is meant to be read: _SUCCESS, .crc and the like are not."""
    return path.is_file() and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)


def _standard_input(stack: ExitStack) -> TableFile:
    """Return what comes from standard input as a file, since a column may be read twice."""
    if sys.stdin is None:
        raise InputError("-: cannot read: standard input is closed")
    copy, path = _unnamed_file(stack)
    try:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.flush()
    except OSError as error:
        raise InputError(f"-: cannot read: {error.strerror or one_line(error)}") from None
    copy.seek(0)
    first = copy.read(64)
    if first.startswith(b"PAR1"):
        return TableFile(path, ".parquet", "", "-")
    if first.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return TableFile(path, ".arrow", "", "-")
    compression = ".gz" if first.startswith(b"\x1f\x8b") else ".zst" if first.startswith(b"\x28\xb5\x2f\xfd") else ""
    return TableFile(path, ".json" if first.lstrip()[:1] in (b"{", b"[") else ".csv", compression, "-")


def _unnamed_file(stack: ExitStack) -> tuple[IO[bytes], Path]:
    """Return a temporary file, and a path under which it can be opened again."""
    file: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    path = Path(f"/proc/self/fd/{file.fileno()}")
    if path.exists():
        return file, path
    named = stack.enter_context(tempfile.NamedTemporaryFile(suffix=".table"))  # noqa: SIM115
    return named, Path(named.name)


# --- what is in them --------------------------------------------------------------------------------------------------


def identity(file: TableFile) -> tuple[int, ...]:
    """Return what tells a file from another one, and from a later state of itself."""
    try:
        with (file.original or file.path).open("rb") as opened:
            found = os.fstat(opened.fileno())
    except OSError as error:
        raise InputError(f"{file.shown}: cannot read: {error.strerror or one_line(error)}") from None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _check_signature(file: TableFile) -> None:
    """Refuse a file whose first bytes show that it is not what its name says."""
    try:
        with file.path.open("rb") as opened:
            first = opened.read(16)
    except OSError as error:
        raise InputError(f"{file.shown}: cannot read: {error.strerror or one_line(error)}") from None
    found = next((advice for signature, advice in _NO_TEXT.items() if first.startswith(signature)), None)
    wanted = {".gz": (b"\x1f\x8b", "gzip"), ".zst": (b"\x28\xb5\x2f\xfd", "zstd")}.get(file.compression)
    if (kind := KINDS[file.suffix]) in TYPED:
        if file.compression:
            raise InputError(f"{file.shown}: {kind.title()} has a compression of its own; decompress the file first")
        wanted = (b"PAR1", "Parquet") if kind == "parquet" else None
    if wanted is not None and not first.startswith(wanted[0]):
        raise InputError(f"{file.shown}: not {wanted[1]} data" + ("; it is empty" if not first else ""))
    if wanted is None and found is not None and kind not in TYPED:
        raise InputError(f"{file.shown}: no text but {found}")


def other_line_end(file: TableFile) -> str:
    """Return the first line that does not end as the first one does."""
    names = {b"\r\n": r"\r\n", b"\r": r"\r", b"\n": r"\n"}
    first, line, rest = b"", 0, b""
    try:
        with file.opened() as opened:
            while part := opened.read(1 << 20):
                ends = re.findall(rb"\r\n|\r(?!$)|\n", rest + part)
                rest = b"\r" if part.endswith(b"\r") else b""  # perhaps half of an end
                first = first or (ends[0] if ends else b"")
                for end in ends:
                    line += 1
                    if end != first:
                        return f"line {line} ends in {names[end]}, those before it in {names[first]}"
    except (ModuleNotFoundError, OSError, EOFError, zlib.error):
        pass
    return "lines end differently"


class CheckSums:
    """The check sums of gzip files, at which DuckDB does not look. A thread reads the files while DuckDB does: of such a file
    it can use one CPU only. The stack ends the thread.
    """

    def __init__(self, stack: ExitStack, files: Iterable[TableFile]) -> None:
        self._stop = threading.Event()
        thread = stack.enter_context(ThreadPoolExecutor(1))
        stack.callback(self._stop.set)
        self._work = [thread.submit(self._read, file) for file in files if file.compression == ".gz"]

    def check(self) -> None:
        """Refuse a file whose check sum does not fit."""
        for work in self._work:
            work.result()

    def _read(self, file: TableFile) -> None:
        try:
            with file.opened() as opened:
                while opened.read(1 << 20) and not self._stop.is_set():
                    pass
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{file.shown}: damaged: {one_line(error)}") from None


# --- encodings --------------------------------------------------------------------------------------------------------


def decoded(stack: ExitStack, file: TableFile, encoding: str | None) -> TableFile:
    """Return a copy in UTF-8 of a text file in an encoding that DuckDB does not read; without one, UTF-16 is known by its mark."""
    if encoding is None and not _begins_as_utf16(file):
        return file
    encoding = encoding or "utf-16"
    if known_encoding(encoding) in _READ_AS_THEY_ARE:
        return file
    copy, path = _unnamed_file(stack)
    try:
        with io.TextIOWrapper(file.opened(), encoding, newline="") as text:
            while part := text.read(1 << 20):
                copy.write(part.encode())
    except ModuleNotFoundError:
        raise InputError(
            f"{file.shown}: --encoding {encoding} of a .zst file is read with Python 3.14 and later; decompress it first"
        ) from None
    except UnicodeError as error:
        raise InputError(f"{file.shown}: not text in the encoding {encoding}: {one_line(error)}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{file.shown}: cannot read: {getattr(error, 'strerror', None) or one_line(error)}") from None
    copy.flush()
    return file._replace(path=path, compression="", original=file.path)


def _begins_as_utf16(file: TableFile) -> bool:
    try:
        with file.opened() as opened:
            return opened.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    except (ModuleNotFoundError, OSError, EOFError, zlib.error):
        return False  # what is wrong with it is said when it is read


def known_encoding(name: str) -> str:
    """Return Python's name of an encoding."""
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise InputError(f"--encoding: {name!r} is unknown; utf-8, utf-16, latin-1 and cp1252 are such names") from None


def encoding_for_duckdb(name: str) -> str:
    """Return the name under which DuckDB knows an encoding that it reads."""
    return _READ_AS_THEY_ARE[known_encoding(name)]
