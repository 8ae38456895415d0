"""From what the user typed, `FILE` or `FILE:NAME`, to its parts, and to an open array."""

import os
from pathlib import Path

from cylosses._cli.npy import NpySource, read_npy_gz, read_npz
from cylosses._cli.source import ArraySource, InputError, Source, one_line
from cylosses._cli.table_files import KINDS, is_table, suffixes
from cylosses._cli.zarr import ZarrSource, is_zarr

ARRAYS = (".npy", ".npz", ".zarr")
_FORMATS = (
    "FILE.npy, FILE.npz:NAME, FILE.zarr, and tables as FILE:COLUMN that end in .csv, .tsv, .json or .jsonl, with .gz or .zst, "
    ".parquet, .arrow or .feather, a folder of them, or -"
)
_CONVERSIONS = {
    ".xlsx": "save it as CSV",
    ".xls": "save it as CSV",
    ".ods": "save it as CSV",
    ".h5": "numpy.save('FILE.npy', h5py.File(FILE)[NAME][...]) makes a .npy file of it",
    ".hdf5": "numpy.save('FILE.npy', h5py.File(FILE)[NAME][...]) makes a .npy file of it",
    ".mat": "numpy.save('FILE.npy', scipy.io.loadmat(FILE)[NAME]) makes a .npy file of it",
    ".pt": "numpy.save('FILE.npy', torch.load(FILE).numpy()) makes a .npy file of it",
    ".pkl": "pickles run code when they are read; save it as .npy or .parquet",
    ".bz2": "decompress it first",
    ".xz": "decompress it first",
    ".zip": "unpack it first",
    ".txt": "if it is a table, call it .csv or .tsv; --delimiter says what separates columns",
    ".dat": "if it is a table, call it .csv or .tsv; --delimiter says what separates columns",
}


def open_array(label: str) -> Source:
    """Open a file of one array, or one array of it; the caller closes it.

    The name may be left off where the file holds only one. An InputError says that the file cannot be read or does not hold real
    numbers, and what is accepted.
    """
    text, name = split_label(label)
    path = Path(text)
    suffix, compression = suffixes(text)
    if is_zarr(path):
        return ZarrSource(label, path, name)
    if suffix not in ARRAYS or (compression and (suffix, compression) != (".npy", ".gz")):
        raise unknown_kind(label)
    if path.exists() and (not path.is_file() or suffix == ".zarr"):
        raise InputError(f"{label}: not a {'folder' if suffix == '.zarr' else 'regular file'}")
    try:
        if compression:
            return ArraySource(label, read_npy_gz(label, path))
        if suffix != ".npz":
            return NpySource(label, path)
        return ArraySource(label, read_npz(label, path, name))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else one_line(error)
        raise InputError(f"{label}: cannot read: {reason}") from None


def unknown_kind(label: str) -> InputError:
    """Return the error of a file that is neither an array nor a table, with what makes one of it if that is known."""
    suffix = Path(label.partition(":")[0]).suffix.lower()
    hint = f"{_CONVERSIONS[suffix]}; " if suffix in _CONVERSIONS else ""
    return InputError(f"{label}: unknown kind of file; {hint}accepted: {_FORMATS}")


def split_label(label: str) -> tuple[str, str | None]:
    """Split a label into the file and the name, None if it has none.

    A colon separates only behind what takes a name, so that colons elsewhere in a path, and in the name, are left alone.
    """
    end = label.rfind(":")
    while end > 0:
        if suffixes(label[:end])[0] in (".npz", ".zarr", *KINDS) or is_table(label[:end]) or is_zarr(Path(label[:end])):
            return label[:end], label[end + 1 :]
        end = label.rfind(":", 0, end)
    return label, None
