"""From what the user typed, `FILE` or `FILE:NAME`, to an open source."""

import os
from pathlib import Path

from cylosses._cli.npy import NpySource, read_npz
from cylosses._cli.parquet import ParquetSource
from cylosses._cli.source import ArraySource, InputError, Source, one_line
from cylosses._cli.text import TextSource, read_text

NAMED_SUFFIXES = (".npz", ".csv", ".tsv", ".parquet")
SUFFIXES = (".npy", *NAMED_SUFFIXES)
_FORMATS = "FILE.npy, FILE.npz:NAME, FILE.csv:COLUMN, FILE.tsv:COLUMN or FILE.parquet:COLUMN"


def open_source(label: str) -> Source:
    """Open a file, or one array or column of it; the caller closes it.

    The name may be left off where the file holds only one. An InputError says that the file cannot be read or does not hold real
    numbers, and what is accepted.
    """
    path, name = split_label(label)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{label}: unknown kind of file; accepted: {_FORMATS}")
    if path.exists() and not path.is_file():
        raise InputError(f"{label}: not a regular file")
    try:
        if suffix == ".npy":
            return NpySource(label, path)
        if suffix == ".npz":
            return ArraySource(label, read_npz(label, path, name))
        if suffix == ".parquet":
            return ParquetSource(label, path, name)
        return TextSource(label, read_text(label, path, name, "\t" if suffix == ".tsv" else ","))
    except OSError as error:
        # By number, because pyarrow has words of its own for it.
        reason = os.strerror(error.errno) if error.errno else one_line(error)
        raise InputError(f"{label}: cannot read: {reason}") from None


def split_label(label: str) -> tuple[Path, str | None]:
    """Split a label into the file and the name, None if it has none.

    A colon separates only behind a suffix that takes a name, so that colons elsewhere in a path, and in the name, are left alone.
    """
    end = label.rfind(":")
    while end > 0:
        if Path(label[:end]).suffix.lower() in NAMED_SUFFIXES:
            return Path(label[:end]), label[end + 1 :]
        end = label.rfind(":", 0, end)
    return Path(label), None
