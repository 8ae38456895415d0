"""Wheels that are compressed anew hold the same files as before."""

from __future__ import annotations

import random
import zipfile

import pytest

from tools.wheels import compress

pytest.importorskip("zopfli", reason="of the dependency group `package`")

TEXT = b"".join(b"%d squared is %d\n" % (n, n * n) for n in range(300))
FILES = {
    "package/module.so": (TEXT, 0o755),
    "package/__init__.py": (b"", 0o644),
    "package/noise": (random.Random(1).randbytes(500), 0o600),  # gets no smaller
    "package/größe.txt": (TEXT[:200], 0o644),
    "package.dist-info/RECORD": (b"package/module.so,sha256=abc,3\n" * 20, 0o664),
}


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "package-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for second, (name, (content, mode)) in enumerate(FILES.items()):
            entry = zipfile.ZipInfo(name, (2026, 11, 27, 23, 59, 2 * second))
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return path


def described(path):
    with zipfile.ZipFile(path) as archive:
        return [
            (entry.filename, entry.date_time, entry.external_attr, entry.create_system, archive.read(entry))
            for entry in archive.infolist()
        ]


def test_files_stay_the_same(wheel):
    before, size = described(wheel), wheel.stat().st_size
    compress(wheel)
    assert described(wheel) == before
    assert wheel.stat().st_size < size


def test_what_gets_no_smaller_is_stored(wheel):
    compress(wheel)
    with zipfile.ZipFile(wheel) as archive:
        stored = [entry.filename for entry in archive.infolist() if entry.compress_type == zipfile.ZIP_STORED]
    assert stored == ["package/__init__.py", "package/noise"]


def test_local_headers_say_what_the_directory_says(wheel):
    """Tools that read an archive from its beginning see the same."""
    compress(wheel)
    written = wheel.read_bytes()
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            local, name = written[entry.header_offset :], entry.filename.encode()
            assert local.startswith(b"PK\3\4")
            assert local[30 : 30 + len(name)] == name
            assert int.from_bytes(local[18:22], "little") == entry.compress_size
