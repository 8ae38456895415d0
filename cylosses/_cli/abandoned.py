"""Temporary files and folders whose process was killed. It held a lock on each, which ended with it: what has the name of one and
no lock is removed by a later run.
"""

import importlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# Windows has none; there a file that is open cannot be removed, which does for a lock. A folder can, and is left alone.
fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None

_FILE = re.compile(r"\.cylosses-[0-9a-f]{12}\.tmp")
_FOLDER = re.compile(r"cylosses-[0-9a-f]{12}\.spill")


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files and folders in a folder whose writers were killed."""
    with os.scandir(folder) as entries:
        paths = [folder / entry.name for entry in entries if _FILE.fullmatch(entry.name) or _FOLDER.fullmatch(entry.name)]
    for path in paths:
        with suppress(OSError):  # someone else's, or just renamed or removed
            _remove_unless_locked(path)


def lock(descriptor: int) -> None:
    """Hold a lock until the file or folder is closed."""
    if fcntl is not None:
        with suppress(OSError):  # a file system without locks, where no lock can be taken by another run either
            fcntl.flock(descriptor, fcntl.LOCK_EX)


@contextmanager
def spill_folder() -> Iterator[Path]:
    """Make a folder for what does not fit into memory, which is gone at the end."""
    parent = Path(tempfile.gettempdir())
    remove_abandoned(parent)
    path, descriptor = _locked_folder(parent)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def _locked_folder(parent: Path) -> tuple[Path, int | None]:
    while True:
        path = parent / f"cylosses-{os.urandom(6).hex()}.spill"
        path.mkdir(mode=0o700)
        if fcntl is None:
            return path, None
        with suppress(FileNotFoundError):  # another run may take it for abandoned, before the lock
            descriptor = os.open(path, os.O_RDONLY)
            lock(descriptor)
            if path.exists():
                return path, descriptor
            os.close(descriptor)


def _remove_unless_locked(path: Path) -> None:
    is_folder = bool(_FOLDER.fullmatch(path.name))
    if fcntl is None:
        if not is_folder:
            path.unlink()
        return
    descriptor = os.open(path, (os.O_RDONLY if is_folder else os.O_RDWR) | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_folder:
            shutil.rmtree(path)
        else:
            path.unlink()
    finally:
        os.close(descriptor)
