"""The files of one run: all of them appear, complete, or none.

Until the run ends its files have no name where the system has such files (Linux), so that a process that is killed leaves nothing.
Elsewhere, and for the moment between the first name and the last rename, they have a temporary name beside their own. Their writer
holds a lock on each, which ends with its process: a later run that finds such a file without a lock removes it.

What is left: a process that is killed, or a machine that loses power, between two renames leaves some files old. The renames follow
one another without anything between them, and signals that a process can hold back wait for the last one.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from cylosses._cli.abandoned import fcntl, lock, remove_abandoned
from cylosses._cli.signals import signals_held_back
from cylosses._cli.source import InputError, one_line

_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
# What file systems without unnamed files say, and kernels that do not know them.
_NO_UNNAMED_FILES = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL})
_DESCRIPTORS = Path("/proc/self/fd")  # the way from an unnamed file to its name


class OutputFile:
    """One file of a run: where it will be, and the file that takes its place, open for reading and writing."""

    def __init__(self, option: str, path: Path) -> None:
        self.option, self.path = option, path
        self._temporary: Path | None = None
        with self.errors():
            remove_abandoned(path.parent)
            self.file: IO[bytes] = os.fdopen(self._open(), "w+b")

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Report what the system says of writing as bad input that names option and file."""
        try:
            yield
        except OSError as error:
            raise InputError(f"{self.option}: cannot write {str(self.path)!r}: {error.strerror or one_line(error)}") from None

    def write(self, content: bytes) -> None:
        """Write a small file at once."""
        with self.errors():
            self.file.write(content)

    def _open(self) -> int:
        if hasattr(os, "O_TMPFILE") and _DESCRIPTORS.is_dir():
            try:
                descriptor = os.open(self.path.parent, os.O_TMPFILE | os.O_RDWR, 0o666)
            except OSError as error:
                if error.errno not in _NO_UNNAMED_FILES:
                    raise
            else:
                lock(descriptor)
                return descriptor
        return self._open_named()

    def _open_named(self) -> int:
        while True:
            self._temporary = self._new_name()
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            descriptor = os.open(self._temporary, flags, 0o666)
            lock(descriptor)
            with suppress(FileNotFoundError):
                if fcntl is None or os.path.samestat(os.fstat(descriptor), self._temporary.stat()):
                    return descriptor
            # Another run has taken it for abandoned, before the lock.
            os.close(descriptor)

    def _new_name(self) -> Path:
        return self.path.with_name(f".cylosses-{os.urandom(6).hex()}.tmp")

    def complete(self) -> None:
        """Bring all that was written onto the disk, and give it the permissions of the file that it replaces."""
        with self.errors():
            self.file.flush()
            with suppress(FileNotFoundError):
                mode = stat.S_IMODE(self.path.stat().st_mode)
                if hasattr(os, "fchmod"):
                    os.fchmod(self.file.fileno(), mode)
                else:
                    self._named().chmod(mode)
            os.fsync(self.file.fileno())

    def _named(self) -> Path:
        if self._temporary is None:
            self._temporary = self._new_name()
        return self._temporary

    def name(self) -> None:
        """Give an unnamed file its temporary name: a link cannot replace a file, a rename can."""
        if self._temporary is not None:
            return
        with self.errors():
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                # With a folder Python calls linkat, which follows the link that the system shows for a descriptor.
                os.link(_DESCRIPTORS / str(self.file.fileno()), self._named(), src_dir_fd=folder, follow_symlinks=True)
            finally:
                os.close(folder)

    def rename(self) -> None:
        """Let the file take its place."""
        with self.errors():
            if fcntl is None:
                self.file.close()  # Windows renames no open file
            self._named().replace(self.path)
            self._temporary = None

    def close(self) -> None:
        """Close the file; unless it has taken its place, it is gone."""
        with suppress(OSError):  # closing writes the last buffer once more, which has failed before
            self.file.close()
        if self._temporary is not None:
            with suppress(OSError):
                self._temporary.unlink()


class Outputs:
    """The files that one run writes, as a context: after any exception, Ctrl-C included, all is as it was before.

    Options are checked by `add` before any work is done. `open` gives the file for an option, and when the block ends
    without an exception all files are completed first, and then renamed in a row.
    """

    def __init__(self, inputs: Iterable[Path] = ()) -> None:
        self._inputs = tuple(inputs)
        self._paths: dict[str, Path] = {}
        self._texts: dict[str, str] = {}
        self._files: list[OutputFile] = []

    def add(self, option: str, text: str | None, suffix: str) -> Path | None:
        """Check the file that an option names, None for an option that is not given, and return its path, links followed.

        None of the inputs is replaced, under whatever name, nor a file that its owner has protected: a rename asks for neither.
        """
        if text is None:
            return None
        if Path(text).suffix.lower() != suffix:  # which also keeps a slip of the keyboard from replacing data
            raise InputError(f"{option}: {text!r} must end in {suffix}")
        # A link is followed here, so that the rename replaces the file and keeps the link.
        path = Path(os.path.realpath(text))
        try:
            found = path.stat()
        except FileNotFoundError:
            found = None
        except OSError as error:
            raise InputError(f"{option}: cannot write {str(path)!r}: {error.strerror or one_line(error)}") from None
        if found is not None:
            self._check_replaceable(option, text, path, found)
        for other, taken in self._paths.items():
            if path == taken or (found is not None and _is(found, taken)):
                raise InputError(f"{other} and {option} both name {self._texts[other]!r}; they must be two files")
        self._paths[option], self._texts[option] = path, text
        return path

    def _check_replaceable(self, option: str, text: str, path: Path, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise InputError(f"{option}: {text!r} is not a regular file")
        for other in self._inputs:
            if _is(found, other):
                raise InputError(f"{option}: {text!r} is the input file {str(other)!r}, which would be lost")
        # The superuser may write to everything; a file that nobody may write to is protected from him as well.
        if not os.access(path, os.W_OK) or not found.st_mode & _WRITABLE:
            raise InputError(f"{option}: {text!r} is write-protected")

    def __contains__(self, option: str) -> bool:
        return option in self._paths

    def __enter__(self) -> "Outputs":
        return self

    def open(self, option: str) -> OutputFile:
        """Open the file for an option that `add` has checked."""
        file = OutputFile(option, self._paths[option])
        self._files.append(file)
        return file

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        with ExitStack() as stack:
            for file in self._files:
                stack.callback(file.close)
            if kind is None:
                for file in self._files:
                    file.complete()
                with signals_held_back():
                    for file in self._files:
                        file.name()
                    with ExitStack() as replaced:
                        for file in self._files:
                            replaced.enter_context(_kept(file.path))
                        self._rename_all()

    def _rename_all(self) -> None:
        renamed: list[str] = []
        for file in self._files:
            try:
                file.rename()
            except InputError as error:  # the target has become a folder, say, since it was checked
                raise InputError(f"{error}{''.join(f'; {name} is written' for name in renamed)}") from None
            renamed.append(repr(str(file.path)))


@contextmanager
def _kept(path: Path) -> Iterator[None]:
    """Hold a file that is to be replaced until the block ends.

    To free a large one takes milliseconds, for which the next rename would wait: long enough to be killed between the two.
    """
    descriptor = None
    if hasattr(os, "O_PATH"):
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_PATH)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _is(found: os.stat_result, other: Path) -> bool:
    try:
        return os.path.samestat(found, other.stat())
    except OSError:  # an input that cannot be found is reported by its reader
        return False
