"""Kinds of files, and what becomes of each: it is scored with the bits of the call on the true numbers, or refused in one line.

The lists are tables to be read: a name, what is in the file, and either the true numbers of x and y or the message, in which "..."
stands for words that are not ours. Every kind goes both ways: in one pass for a sum, and loaded for the losses of each pair.
"""

from __future__ import annotations

import bz2
import datetime
import decimal
import gzip
import io
import json
import lzma
import re
import shlex
import signal
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from cylosses import L1Loss
from cylosses.cli import main

Content = str | bytes | Callable[[Path], object]
Outcome = str | tuple[Any, Any]

ROWS = [1.0, -2000.0, 3.25], [0.5, 4.0, -1.0]  # most files hold these
TEXT = "x,y\n1,0.5\n-2e3,4\n3.25,-1\n"
NO_NUMBER = "is not a number; numbers, nan and inf are accepted"
MISSING = "the value is missing; --missing skip leaves such rows out, --missing nan takes NaN"
NUMBERS = "bool, integers, float16, float32 and float64 are accepted"
NO_ROWS = np.empty(0), np.empty(0)


class Kind(NamedTuple):
    """A file, how it is asked for, and what is to happen."""

    name: str
    content: Content
    outcome: Outcome
    arguments: str
    file: str


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    """Let names be short: every test works in its own folder. The signals are as before afterwards."""
    monkeypatch.chdir(tmp_path)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def csv(name: str, content: Content, outcome: Outcome = ROWS, options: str = "", *, file: str = "a.csv", columns: str = "x y"):
    return Kind(f"csv: {name}", content, outcome, f"{file} {columns} {options}", file)


def late(row: str, ending: str = "\n", header: str = "x,y", usual: str = "2,2") -> str:
    """A text whose last row but one is beyond the rows that tell the dialect."""
    return header + ending + (usual + ending) * 30_000 + row + ending + usual + ending


# --- text -------------------------------------------------------------------------------------------------------------

DIALECTS = [
    csv("commas", TEXT),
    csv("semicolons", TEXT.replace(",", ";")),
    csv("tabs", TEXT.replace(",", "\t")),
    csv("vertical bars", TEXT.replace(",", "|")),
    csv("tabs in .tsv", TEXT.replace(",", "\t"), file="a.tsv"),
    csv(
        "commas in .tsv",
        TEXT,
        "a.tsv: no column 'x'; the file has 'x,y' (delimiter '\\t': --delimiter says which; ...",
        file="a.tsv",
    ),
    csv("spaces", TEXT.replace(",", " "), options="--delimiter ' '"),
    csv("two characters between columns", TEXT.replace(",", "||"), options="--delimiter '||'"),
    csv("decimal comma", "x;y\n1,0;0,5\n-2000;4\n3,25;-1\n", options="--decimal ,"),
    csv(
        "decimal comma that is not told",
        "x;y\n1,5;2\n3;4\n",
        f"a.csv: row 1, column 'x': '1,5' {NO_NUMBER}; --decimal , reads a decimal comma",
    ),
    csv("suffix in capitals", TEXT, file="A.CSV"),
    csv("one column", "x\n1\n-3\n", ([1.0, -3.0], [1.0, -3.0]), columns="x x"),
    csv("a wide table", ",".join(f"c{k}" for k in range(5000)) + ",x,y\n" + "0," * 5000 + "1,2\n", ([1.0], [2.0])),
    # line ends
    csv("line ends of Windows", TEXT.replace("\n", "\r\n")),
    csv("line ends of old Macs", TEXT.replace("\n", "\r")),
    csv("no line end at the end", TEXT.rstrip()),
    csv("several line ends at the end", TEXT + "\n\n"),
    csv("blank lines between rows", TEXT.replace("\n-", "\n\n\n-")),
    csv("mixed line ends", "x,y\r\n1,2\r\n3,4\n5,6\r\n", r"a.csv: line 3 ends in \n, those before it in \r\n"),
    csv("mixed line ends, late", late("3,4\r"), r"a.csv: line 30002 ends in \r\n, those before it in \n"),
    csv("line feeds in cells, line ends of Windows", 'x,s,y\r\n1,"a\nb",2\r\n3,c,4\r\n', ([1.0, 3.0], [2.0, 4.0])),
    # quotes
    csv("quoted numbers", '"x","y"\n"1","0.5"\n-2e3,4\n"3.25",-1\n'),
    csv("delimiters, line ends and quotes in cells", 'x,s,y\n1,"a,b",0.5\n-2e3,"a ""quoted""\nword",4\n3.25,c,-1\n'),
    csv("quotes that quote nothing", "x,s,y\n1,a,0.5\n-2e3,it's 5\" wide,4\n3.25,c,-1\n"),
    csv("single quotes", "x,s,y\n1,'a,b',2\n", "a.csv: line 2: 3 columns expected, 4 found (delimiter ',')"),
    csv("backslashes before quotes", 'x,s,y\n1,"a\\"b",2\n', "a.csv: line 2: a quote is not closed, or text follows its end"),
    csv("a quote that is not closed", 'x,y\n1,2\n"3,4\n5,6\n', "a.csv: line 3: a quote is not closed, or text follows its end"),
    csv(
        "a quote that is not closed, late",
        "x,y,s\n" + "1,2,a\n" * 100_000 + '1,2,"b\n' + "1,2,c\n" * 1000,
        "a.csv: line 100002: a quote is not closed, or text follows its end",
    ),
    # rows that do not fit
    csv("a row too short", "x,y\n1,2\n3\n", "a.csv: line 3: 2 columns expected, 1 found (delimiter ',')"),
    csv("a row too short, late", late("3"), "a.csv: line 30002: 2 columns expected, 1 found (delimiter ',')"),
    csv("a row too long", "x,y\n1,2\n3,4,5\n", "a.csv: line 3: 2 columns expected, 3 found (delimiter ',')"),
    csv("a row too long, late", late("3,4,5"), "a.csv: line 30002: 2 columns expected, 3 found (delimiter ',')"),
    csv("one name too few", '"x","y"\n"1",1,2\n"2",3,4\n', "a.csv: line 2: 2 columns expected, 3 found (delimiter ',')"),
    csv("one name too many", "x,y,z\n1,2\n3,4\n", "a.csv: line 2: 3 columns expected, 2 found (delimiter ',')"),
    csv("a delimiter at the end of lines", TEXT.replace("\n", ",\n")),
    csv("a delimiter at the end of rows", "x,y\n1,0.5,\n-2e3,4,\n3.25,-1,\n"),
    csv("a line of spaces", "x,y\n1,2\n   \n", "a.csv: line 3: 2 columns expected, 1 found (delimiter ',')"),
    # what is above and between
    csv("a title", "Report of\nx,y\n1,2\n", "a.csv: no column 'x'; the file has 'Report of' (no delimiter in the first line: ..."),
    csv(
        "a comment above",
        "# by me\nx,y\n1,2\n",
        "a.csv: no column 'x'; the file has '# by me' (no delimiter in the first line: ...",
    ),
    csv("a comment between", "x,y\n1,2\n# by me\n3,4\n", "a.csv: line 3: 2 columns expected, 1 found (delimiter ',')"),
    csv("a row that is commented out", "x,y\n1,2\n#3,4\n", f"a.csv: row 2, column 'x': '#3' {NO_NUMBER}"),
    csv("a line that tells the delimiter", "sep=;\nx;y\n1;2\n", "a.csv: no column 'x'; the file has 'sep=', 'column1'"),
    csv("a row of totals", "x,y\n1,2\nTotal,6\n", f"a.csv: row 2, column 'x': 'Total' {NO_NUMBER}"),
    csv(
        "a header that comes again",
        "x,y\n1,2\nx,y\n3,4\n",
        f"a.csv: row 2, column 'x': 'x' {NO_NUMBER}; a header that is not in the first line, or comes again?",
    ),
    csv(
        "blank lines above the header",
        "\n\nx,y\n1,2\n3,4\n",
        f"a.csv: row 1, column 'x': 'x' {NO_NUMBER}; a header that is not in the first line, or comes again?",
    ),
]

HEADERS = [
    csv("no header", "1,7,0.5\n-2e3,7,4\n3.25,7,-1\n", columns="1 3"),
    csv("no header, and a name", "1,2\n3,4\n", "a.csv: no column 'x'; the file has '1', '2'"),
    csv("no header, and told so", TEXT.removeprefix("x,y\n"), options="--no-header", columns="1 2"),
    csv("a header of numbers is a row", "2024,2025\n3,4\n", ([2024.0, 3.0], [2025.0, 4.0]), columns="1 2"),
    csv("a header of numbers that is told", "2024,2025\n3,4\n", ([3.0], [4.0]), "--header", columns="2024 2025"),
    csv(
        "a header of numbers that is not told",
        "2024,2025\n3,4\n",
        "a.csv: no column '2024'; the file has 'column0', 'column1' (no header line: --header says that there is one)",
        columns="2024 2025",
    ),
    csv("columns by number", TEXT, columns="1 2"),
    csv("a name that is a number comes first", "3,x,y\n3,1,0.5\n", ([3.0], [0.5]), columns="3 y"),
    csv("a header above missing cells", "x,y\nNA,1\nNA,2\n", f"a.csv: row 1, column 'x': {MISSING}"),
    csv("a header alone", "x,y\n", NO_ROWS),
    csv("a header without a line end", "x,y", NO_ROWS),
    csv("nothing", "", "a.csv: the file is empty"),
    csv("blank lines alone", "\n\n", "a.csv: the file is empty"),
    csv("spaces around names and cells", " x , y\n 1 , 0.5 \n-2e3,  4\n3.25,-1\n"),
    csv(
        "names in quotes, with delimiters",
        '"a.b","it\'s ""x"", y:z",y\n1,5,7\n',
        ([1.0], [5.0]),
        columns="a.b 'it'\"'\"'s \"x\", y:z'",
    ),
    csv("names that differ in case", "x,X,y\n1,5,7\n", ([5.0], [7.0]), columns="X y"),
    csv("a name that comes twice", "x,x,y\n1,7,8\n", "a.csv: 2 of the file's columns are named 'x'"),
    csv("a name that comes twice, by number", "x,x,y\n1,7,8\n", ([7.0], [8.0]), columns="2 3"),
    csv("other names that come twice", "x,a,a,y\n1,7,8,2\n", ([1.0], [2.0])),
    csv("a column without a name", ",x,y\n0,1,2\n1,3,4\n", ([1.0, 3.0], [2.0, 4.0])),
    csv("no such name", "x,z\n1,2\n", "a.csv: no column 'y'; the file has 'x', 'z'"),
    csv(
        "no such name of many",
        ",".join(f"c{k}" for k in range(50)) + "\n",
        "a.csv: no column 'x'; the file has 'c0', ..., 'c19', ...",
    ),
]

CELLS = [
    csv("scientific", "x,y\n1E5,2e-3\n+1.5,.5\n5.,-.5e+1\n", ([1e5, 1.5, 5.0], [2e-3, 0.5, -5.0])),
    csv("not finite", "x,y\ninf,0\nInfinity,0\n-INF,0\nNaN,0\n-nan,0\n", ([np.inf, np.inf, -np.inf, np.nan, np.nan], [0.0] * 5)),
    csv("-0", "x,y\n-0,0\n-0.0,-0.0\n", ([-0.0, -0.0], [0.0, -0.0])),
    csv("too large for float64", "x,y\n1e400,0\n-1e400,1\n", ([np.inf, -np.inf], [0.0, 1.0])),
    csv("too small for float64", "x,y\n1e-400,0\n2.4703282292062327e-324,0\n", ([0.0, 0.0], [0.0, 0.0])),
    csv("subnormal", "x,y\n5e-324,0\n2.2250738585072011e-308,0\n", ([5e-324, 2.2250738585072011e-308], [0.0, 0.0])),
    csv(
        "more digits than float64 has",
        "x,y\n0.1000000000000000055511151231257827021181583404541015625,0\n9007199254740993.00000000001,0\n",
        ([0.1, 9007199254740994.0], [0.0, 0.0]),
    ),
    csv("digits grouped by _", "x,y\n1_000,2\n", ([1000.0], [2.0])),
    csv("hexadecimal", "x,y\n1,2\n3,0x10\n", f"a.csv: row 2, column 'y': '0x10' {NO_NUMBER}"),
    csv("exponents with d", "x,y\n1d5,2\n", f"a.csv: row 1, column 'x': '1d5' {NO_NUMBER}"),
    csv("half a number, late", late("5,1e"), f"a.csv: row 30001, column 'y': '1e' {NO_NUMBER}"),
    csv(
        "thousands with commas",
        'x,y\n"1,234",0\n',
        f"a.csv: row 1, column 'x': '1,234' {NO_NUMBER}; separators of thousands are not read, a decimal comma is with --decimal ,",
    ),
    csv(
        "thousands with points",
        "x;y\n1.234,5;0\n",
        f"a.csv: row 1, column 'x': '1.234,5' {NO_NUMBER}; separators of thousands are not read",
        "--decimal ,",
    ),
    csv("percent", "x,y\n50%,1\n", f"a.csv: row 1, column 'x': '50%' {NO_NUMBER}"),
    csv("currency", "x,y\n$5,1\n", f"a.csv: row 1, column 'x': '$5' {NO_NUMBER}"),
    csv("dates", "x,y\n2026-01-01,1\n", f"a.csv: row 1, column 'x': '2026-01-01' {NO_NUMBER}"),
    csv("true and false", "x,y\ntrue,1\nfalse,1\n", f"a.csv: row 1, column 'x': 'true' {NO_NUMBER}"),
    csv("errors of a spreadsheet", "x,y\n1,2\n#DIV/0!,4\n", f"a.csv: row 2, column 'x': '#DIV/0!' {NO_NUMBER}"),
    csv("no-break spaces", "x,y\n1,2\n\u00a03,4\n", f"a.csv: row 2, column 'x': '\\xa03' {NO_NUMBER}"),
    csv("text, late", late("5,abc"), f"a.csv: row 30001, column 'y': 'abc' {NO_NUMBER}"),
    # missing
    csv("empty cells", "x,y\n1,2\n3,\n", f"a.csv: row 2, column 'y': {MISSING}"),
    csv("empty cells in quotes", 'x,y\n1,2\n"",4\n', f"a.csv: row 2, column 'x': {MISSING}"),
    csv("NA", "x,y\n1,2\nNA,4\n", f"a.csv: row 2, column 'x': {MISSING}"),
    csv("null", "x,y\n1,2\nnull,4\n", f"a.csv: row 2, column 'x': {MISSING}"),
    csv("NA that is left out", "x,y\n1,2\n3,NA\n", ([1.0, 0.0], [2.0, 0.0]), "--missing skip"),
    csv("NA taken for NaN", "x,y\n1,2\n3,NA\n", ([1.0, 3.0], [2.0, np.nan]), "--missing nan"),
    csv("a point for missing", "x,y\n1,2\n.,4\n", f"a.csv: row 2, column 'x': '.' {NO_NUMBER}"),
    csv("a point for missing that is told", "x,y\n1,2\n.,4\n", ([1.0, 0.0], [2.0, 0.0]), "--na . --missing skip"),
    csv(
        "cells of spaces",
        "x,y\n1,2\n  ,4\n",
        "a.csv: row 2, column 'x': the cell holds spaces; numbers, nan and inf are accepted; --na takes them for missing",
    ),
    # integers
    csv("fractions after integers", late("1.5,1"), ([2.0] * 30_000 + [1.5, 2.0], [2.0] * 30_000 + [1.0, 2.0])),
    csv("integers beyond 2**53", "x,y\n9007199254740993,9007199254740992\n", (np.array([2**53 + 1]), np.array([2**53]))),
    csv(
        "integers beyond 2**53, late",
        late("9007199254740993,9007199254740992"),
        (np.array([2] * 30_000 + [2**53 + 1, 2]), np.array([2] * 30_000 + [2**53, 2])),
    ),
    csv(
        "integers beyond 2**53, late, beside a point",
        late("9007199254740993,9007199254740992.0"),
        ([2.0] * 30_000 + [2.0**53, 2.0], [2.0] * 30_000 + [2.0**53, 2.0]),
    ),
    csv("integers beyond 2**53 beside floats", "x,y\n9007199254740993,0.5\n", ([9007199254740992.0], [0.5])),
    csv(
        "integers beyond 2**63",
        "x,y\n18446744073709551615,18446744073709551614\n",
        (np.array([2**64 - 1], np.uint64), np.array([2**64 - 2], np.uint64)),
    ),
    csv("integers beyond 2**64", "x,y\n18446744073709551616,1\n", ([2.0**64], [1.0])),
    # long ones
    csv("a long cell in another column", "x,s,y\n1," + "a" * 500_000 + ",2\n", ([1.0], [2.0])),
    csv("a very long cell", lambda path: path.write_text("x,s,y\n1," + "a" * 5_000_000 + ",2\n3,b,4\n"), ([1.0, 3.0], [2.0, 4.0])),
    csv(
        "a cell without end",
        lambda path: path.write_text("x,s,y\n1," + "a" * 33_000_000 + ",2\n"),
        "a.csv: a line is longer than 32000000 bytes",
    ),
]

ENCODINGS = [
    csv("UTF-8 with a mark", "\ufeff" + TEXT),
    csv("UTF-8 with a mark before a quote", '\ufeff"x",y\n1,2\n', ([1.0], [2.0])),
    csv("UTF-8 with a mark that is told", "\ufeff" + TEXT, options="--encoding utf-8-sig"),
    csv("UTF-16 with a mark", TEXT.encode("utf-16")),
    csv("UTF-16 with a mark, big-endian", b"\xfe\xff" + TEXT.encode("utf-16-be")),
    csv(
        "UTF-16 with a mark, told and compressed",
        gzip.compress(TEXT.encode("utf-16")),
        options="--encoding utf-16",
        file="a.csv.gz",
    ),
    csv("UTF-16 without a mark", TEXT.encode("utf-16-le"), options="--encoding utf-16-le"),
    csv("UTF-16 that is cut", TEXT.encode("utf-16")[:-1], "a.csv: not text in the encoding utf-16: ... truncated data"),
    csv("UTF-32", TEXT.encode("utf-32"), options="--encoding utf-32"),
    csv("Latin-1", "é" + TEXT, "", "", columns="éx y")._replace(
        content=("é" + TEXT).encode("latin-1"), outcome="a.csv: line 1: not UTF-8; --encoding says what it is"
    ),
    *(
        csv(f"{encoding} that is told", ("é" + TEXT).encode(encoding), ROWS, f"--encoding {encoding}", columns="éx y")
        for encoding in ("latin-1", "cp1252", "iso8859-15", "utf-8", "utf-16")
    ),
    csv("an encoding that nobody knows", TEXT, "--encoding: 'klingon' is unknown; utf-8, ...", "--encoding klingon"),
    csv(
        "another encoding in another column, late",
        late("3,é,5", header="x,s,y", usual="2,a,2").encode("latin-1"),
        ([2.0] * 30_000 + [3.0, 2.0], [2.0] * 30_000 + [5.0, 2.0]),
    ),
    csv("NUL bytes between lines", "x,y\n1,2\n\0\0\n3,4\n", "a.csv: line 3: 2 columns expected, 1 found (delimiter ',')"),
    csv("NUL bytes at the end", "x,y\n1,2\n" + "\0" * 1000, "a.csv: line 3: 2 columns expected, 1 found (delimiter ',')"),
    csv("a NUL byte in a cell", "x,y\n1,2\n3\0,4\n", f"a.csv: row 2, column 'x': '3\\x00' {NO_NUMBER}"),
]

ZIPPED = gzip.compress(TEXT.encode())


def changed(content: bytes, at: int) -> bytes:
    """The content with one other bit."""
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] if at >= 0 else changed(content, len(content) + at)


def zstd(path: Path) -> None:
    import duckdb

    duckdb.sql("SELECT * FROM (VALUES (1, 0.5), (-2e3, 4), (3.25, -1)) AS t(x, y)").query("t", f"COPY t TO '{path}' (HEADER)")


COMPRESSED = [
    csv("gzip", ZIPPED, file="a.csv.gz"),
    csv("gzip of two members", gzip.compress(b"x,y\n1,0.5\n") + gzip.compress(b"-2e3,4\n3.25,-1\n"), file="a.csv.gz"),
    csv("gzip of tabs", gzip.compress(TEXT.replace(",", "\t").encode()), file="a.tsv.gz"),
    csv("zstd", zstd, file="a.csv.zst"),
    csv(
        "zstd in another encoding",
        zstd,
        ROWS
        if sys.version_info >= (3, 14)
        else "a.csv.zst: --encoding cp1252 of a .zst file is read with Python 3.14 and later; ...",
        "--encoding cp1252",
        file="a.csv.zst",
    ),
    csv("gzip that is cut", ZIPPED[:-9], "a.csv.gz: cannot read: ...GZIP stream...", file="a.csv.gz"),
    csv(
        "gzip that is cut, late",
        lambda path: path.write_bytes(gzip.compress(np.random.default_rng(1).bytes(300_000).hex(",", 4).encode())[:-1000]),
        "a.csv.gz: cannot read: ...GZIP stream...",
        file="a.csv.gz",
    ),
    csv("gzip whose check sum is cut", ZIPPED[:-4], "a.csv.gz: cannot read: ...GZIP stream...", file="a.csv.gz"),
    csv("gzip whose check sum is wrong", changed(ZIPPED, -6), "a.csv.gz: damaged: CRC check failed ...", file="a.csv.gz"),
    csv("gzip with something behind it", ZIPPED + b"garbage", "a.csv.gz: cannot read: ...GZIP stream...", file="a.csv.gz"),
    csv("gzip of nothing", gzip.compress(b""), "a.csv.gz: the file is empty", file="a.csv.gz"),
    csv("nothing that is called .gz", b"", "a.csv.gz: not gzip data; it is empty", file="a.csv.gz"),
    csv("text that is called .gz", TEXT, "a.csv.gz: not gzip data", file="a.csv.gz"),
    csv("text that is called .zst", TEXT, "a.csv.zst: not zstd data", file="a.csv.zst"),
    csv("zstd that is damaged", b"\x28\xb5\x2f\xfd" + b"\xff" * 40, "a.csv.zst: cannot read: ...", file="a.csv.zst"),
    csv("gzip without .gz", ZIPPED, "a.csv: no text but gzip data: add .gz to its name"),
    csv(
        "bzip2",
        bz2.compress(TEXT.encode()),
        "a.csv.bz2: unknown kind of file; decompress it first; accepted: ...",
        file="a.csv.bz2",
    ),
    csv("bzip2 without .bz2", bz2.compress(TEXT.encode()), "a.csv: no text but bzip2 data: decompress it first"),
    csv("xz", lzma.compress(TEXT.encode()), "a.csv.xz: unknown kind of file; decompress it first; accepted: ...", file="a.csv.xz"),
    csv("zip", b"PK\x03\x04", "a.zip: unknown kind of file; unpack it first; accepted: ...", file="a.zip"),
]

MISNAMED = [
    csv("Excel", b"PK\x03\x04", "a.xlsx: unknown kind of file; save it as CSV; accepted: ...", file="a.xlsx"),
    csv(
        "Excel called .csv", b"PK\x03\x04" + bytes(100), "a.csv: no text but a ZIP archive or an Excel file: save the table as CSV"
    ),
    csv("HDF5", b"\x89HDF", "a.h5: unknown kind of file; numpy.save(...) makes a .npy file of it; accepted: ...", file="a.h5"),
    csv("a pickle", b"\x80\x04", "a.pkl: unknown kind of file; pickles run code when they are read; ...", file="a.pkl"),
    csv("a text file", TEXT, "a.txt: unknown kind of file; if it is a table, call it .csv or .tsv; ...", file="a.txt"),
    csv("no suffix", TEXT, "a: unknown kind of file; accepted: ...", file="a"),
    csv(
        "Parquet called .csv",
        lambda path: parquet_file(path, {"x": [1.0], "y": [2.0]}),
        "a.csv: no text but Parquet: call it .parquet",
    ),
    csv("NumPy called .csv", b"\x93NUMPY\x01\0", "a.csv: no text but a NumPy array: call it .npy"),
    csv("JSON called .csv", '{"x": 1, "y": 2}\n', "a.csv: line 1: a quote is not closed, or text follows its end"),
    csv("an array as a table", b"", "a.npy: not a table, so that it has no columns 'x' and 'y'", file="a.npy"),
]

# --- Parquet ----------------------------------------------------------------------------------------------------------


def parquet_file(path: Path, columns: Any, **options: Any) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = columns if isinstance(columns, pyarrow.Table) else pyarrow.table(columns)
    pytest.importorskip("pyarrow.parquet").write_table(table, path, **options)


def parquet(name: str, columns: Any, outcome: Outcome = ROWS, asked: str = "x y", *, file: str = "a.parquet", **options: Any):
    """A Parquet file of these columns, or of what a function of pyarrow makes of them."""

    def write(path: Path) -> None:
        pyarrow = pytest.importorskip("pyarrow")
        parquet_file(path, columns(pyarrow) if callable(columns) else columns, **options)

    return Kind(f"parquet: {name}", write, outcome, f"{file} {asked}", file)


def unsupported(kind: str) -> str:
    return f"a.parquet: column 'x' of type {kind} is not supported; {NUMBERS}"


def of_dtype(dtype: str, file: str = "a.parquet") -> Kind:
    values = np.array([1, 0, 3]).astype(dtype), np.array([0, 1, 1]).astype(dtype)
    expected = tuple(value.astype(np.float32) for value in values) if dtype == "f2" else values
    return parquet(np.dtype(dtype).name, dict(zip("xy", values, strict=True)), expected, file=file)


def cut(length: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        parquet_file(path, {"x": ROWS[0], "y": ROWS[1]})
        path.write_bytes(path.read_bytes()[:length])

    return write


def renamed(names: str, *values: float) -> Callable[[Any], Any]:
    return lambda pyarrow: pyarrow.Table.from_arrays([pyarrow.array([value]) for value in values], names.split())


XY = dict(zip("xy", ROWS, strict=True))
PARQUET = [
    *(of_dtype(dtype) for dtype in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")),
    *(parquet(f"compressed by {name}", XY, compression=name) for name in ("none", "snappy", "zstd", "gzip", "brotli", "lz4")),
    parquet("called .pq", XY, file="a.pq"),
    parquet(
        "several row groups",
        {"x": np.arange(10.0), "y": np.arange(10.0) / 2},
        (np.arange(10.0), np.arange(10.0) / 2),
        row_group_size=3,
    ),
    parquet(
        "other encodings",
        XY,
        data_page_version="2.0",
        use_dictionary=False,
        column_encoding={"x": "BYTE_STREAM_SPLIT", "y": "PLAIN"},
    ),
    parquet("a dictionary", lambda pyarrow: {name: pyarrow.array(values).dictionary_encode() for name, values in XY.items()}),
    parquet(
        "integers beyond 2**63",
        {"x": np.array([2**64 - 1], "u8"), "y": np.array([2**64 - 2], "u8")},
        (np.array([2**64 - 1], "u8"), np.array([2**64 - 2], "u8")),
    ),
    parquet("float32 beside float64", {"x": np.array([0.1], "f4"), "y": np.array([0.1])}, (np.array([0.1], "f4"), np.array([0.1]))),
    parquet("decimals", {"x": [decimal.Decimal("0.1234567890123456789")], "y": [0.0]}, ([0.1234567890123456789], [0.0])),
    parquet(
        "decimals of 38 digits",
        lambda pyarrow: {"x": pyarrow.array([decimal.Decimal(10**37)], pyarrow.decimal128(38, 0)), "y": [0.0]},
        ([1e37], [0.0]),
    ),
    parquet(
        "nullable, with no null",
        lambda pyarrow: {"x": pyarrow.array([1, 2], pyarrow.int64()), "y": [0, 0]},
        (np.array([1, 2]), np.array([0, 0])),
    ),
    parquet("nulls", {"x": [1.0, None], "y": [0.0, 0.0]}, f"a.parquet: row 2, column 'x': {MISSING}"),
    parquet(
        "nulls after several row groups",
        {"x": [1.0] * 1500 + [None], "y": [2.0] * 1501},
        f"a.parquet: row 1501, column 'x': {MISSING}",
        row_group_size=100,
    ),
    parquet("nulls alone", lambda pyarrow: {"x": pyarrow.nulls(2), "y": [0.0, 0.0]}, unsupported('"NULL"')),
    parquet("not finite", {"x": [np.nan, np.inf], "y": [0.0, 0.0]}, ([np.nan, np.inf], [0.0, 0.0])),
    parquet("no rows", {"x": np.empty(0), "y": np.empty(0)}, NO_ROWS),
    parquet("text", {"x": ["1.5"], "y": [0.0]}, unsupported("VARCHAR")),
    parquet("dates", {"x": [datetime.date(2026, 1, 1)], "y": [0.0]}, unsupported("DATE")),
    parquet("time stamps", {"x": [datetime.datetime(2026, 1, 1)], "y": [0.0]}, unsupported("TIMESTAMP")),
    parquet("lists", {"x": [[1.0]], "y": [0.0]}, unsupported("DOUBLE[]")),
    parquet("nested", {"x": [{"b": 1.0}], "y": [0.0]}, unsupported("STRUCT(b DOUBLE)")),
    parquet(
        "nested, by a dotted name", {"x": [{"b": 1.0}], "y": [0.0]}, "a.parquet: no column 'x.b'; the file has 'x', 'y'", "x.b y"
    ),
    parquet("a name with a dot", {"x.b": [1.0], "y": [0.0]}, ([1.0], [0.0]), "x.b y"),
    parquet("names that differ in case", renamed("x X y", 1, 5, 0), (np.array([5]), np.array([0])), "X y"),
    parquet("a name that comes twice", renamed("x x y", 1, 5, 0), "a.parquet: 2 of the file's columns are named 'x'"),
    parquet(
        "names that differ in case, beside nested ones",
        lambda pyarrow: pyarrow.Table.from_arrays(
            [pyarrow.array([{"p": 1, "q": {"r": 2}}]), pyarrow.array([5]), pyarrow.array([0])], ["x", "X", "y"]
        ),
        (np.array([5]), np.array([0])),
        "X y",
    ),
    Kind(
        "parquet: without its end",
        cut(-3),
        "a.parquet: cannot read: ...No magic bytes found at end of file 'a.parquet'",
        "a.parquet x y",
        "a.parquet",
    ),
    Kind(
        "parquet: its beginning alone",
        cut(60),
        "a.parquet: cannot read: ...No magic bytes found at end of file 'a.parquet'",
        "a.parquet x y",
        "a.parquet",
    ),
    Kind("parquet: nothing", b"", "a.parquet: not Parquet data; it is empty", "a.parquet x y", "a.parquet"),
    Kind("parquet: text called .parquet", TEXT, "a.parquet: not Parquet data", "a.parquet x y", "a.parquet"),
    parquet(
        "compressed once more",
        XY,
        "a.parquet.gz: Parquet has a compression of its own; decompress the file first",
        file="a.parquet.gz",
    ),
]

# --- Arrow ------------------------------------------------------------------------------------------------------------


def arrow(
    name: str, columns: Any, outcome: Outcome = ROWS, *, file: str = "a.arrow", rows: int = 1000, asked: str = "x y", **options: Any
):
    """An Arrow file of these columns, or of what a function of pyarrow makes of them, in batches of so many rows."""

    def write(path: Path) -> None:
        pyarrow, ipc = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.ipc")
        made = columns(pyarrow) if callable(columns) else columns
        table = made if isinstance(made, pyarrow.Table) else pyarrow.table(made)
        new = ipc.new_stream if file.endswith("arrows") else ipc.new_file
        with new(path, table.schema, options=ipc.IpcWriteOptions(**options)) as writer:
            writer.write_table(table, max_chunksize=rows)

    return Kind(f"arrow: {name}", write, outcome, f"{file} {asked}", file)


def feather(path: Path, **options: Any) -> None:
    import pandas

    pandas.DataFrame(XY).to_feather(path, **options)


def cut_arrow(path: Path) -> None:
    feather(path)
    path.write_bytes(path.read_bytes()[:-100])


MANY = np.arange(50_000.0)
ARROW = [
    *(arrow(f"a file, compressed by {name}", XY, compression=None if name == "none" else name) for name in ("none", "lz4", "zstd")),
    *(
        arrow(f"a stream, compressed by {name}", XY, compression=None if name == "none" else name, file="a.arrows")
        for name in ("none", "lz4", "zstd")
    ),
    arrow("many batches", {"x": MANY, "y": MANY / 3}, (MANY, MANY / 3), rows=300, compression="lz4"),
    Kind("arrow: feather", feather, ROWS, "a.feather x y", "a.feather"),
    Kind(
        "arrow: feather, not compressed", lambda path: feather(path, compression="uncompressed"), ROWS, "a.feather x y", "a.feather"
    ),
    Kind(
        "arrow: feather, version 1",
        b"FEA1" + bytes(20) + b"FEA1",
        "a.feather: Feather version 1 is not read; ...",
        "a.feather x y",
        "a.feather",
    ),
    *(
        arrow(
            np.dtype(dtype).name,
            {"x": np.array([1, 0], dtype), "y": np.array([1, 1], dtype)},
            (np.array([1, 0], dtype), np.array([1, 1], dtype)),
        )
        for dtype in ("?", "i1", "u4", "i8", "u8", "f4", "f8")
    ),
    arrow("decimals", {"x": [decimal.Decimal("0.1234567890123456789")], "y": [0.0]}, ([0.1234567890123456789], [0.0])),
    arrow("nulls", {"x": [1.0] * 1500 + [None], "y": [2.0] * 1501}, f"a.arrow: row 1501, column 'x': {MISSING}"),
    arrow("no rows", {"x": np.empty(0), "y": np.empty(0)}, NO_ROWS),
    arrow("names that differ in case", renamed("x X y", 1, 5, 0), (np.array([5]), np.array([0])), asked="X y"),
    arrow("text", {"x": ["1.5"], "y": [0.0]}, unsupported("VARCHAR").replace("parquet", "arrow")),
    arrow(
        "float16",
        {"x": np.zeros(2, np.float16), "y": np.zeros(2)},
        "a.arrow: column 'x' is float16, which DuckDB does not read here; ...",
    ),
    arrow(
        "categories",
        lambda pyarrow: XY | {"g": pyarrow.array(["a", "b", "a"]).dictionary_encode()},
        "a.arrow: column 'g' has a dictionary, as of categories; ...",
    ),
    arrow(
        "views of texts",
        lambda pyarrow: XY | {"g": pyarrow.array(["a", "b", "a"], pyarrow.string_view())},
        "a.arrow: cannot read: ...Utf8View...; ...",
    ),
    Kind(
        "arrow: cut",
        cut_arrow,
        "a.arrow: not an Arrow file, or truncated: it does not end as such files do",
        "a.arrow x y",
        "a.arrow",
    ),
    Kind(
        "arrow: text called .arrow",
        TEXT,
        "a.arrow: not an Arrow file, or truncated: it does not end as such files do",
        "a.arrow x y",
        "a.arrow",
    ),
    Kind(
        "arrow: nothing",
        b"",
        "a.arrow: not an Arrow file, or truncated: it does not end as such files do",
        "a.arrow x y",
        "a.arrow",
    ),
    arrow(
        "compressed once more", XY, "a.arrow.gz: Arrow has a compression of its own; decompress the file first", file="a.arrow.gz"
    ),
    Kind("arrow: called .csv", feather, "a.csv: no text but Arrow: call it .arrow", "a.csv x y", "a.csv"),
]

# --- JSON -------------------------------------------------------------------------------------------------------------


def of_json(name: str, content: Content, outcome: Outcome, asked: str = "x y", *, file: str = "a.json"):
    return Kind(f"json: {name}", content, outcome, f"{file} {asked}", file)


LINES = '{"x": 1, "y": 0.5}\n{"x": -2e3, "y": 4}\n{"y": -1, "x": 3.25}\n'
ARRAY = "[" + LINES.strip().replace("\n", ",\n") + "]"
TWO = '{"x": 2, "y": 2}\n'
JSON = [
    of_json("lines", LINES, ROWS, file="a.jsonl"),
    of_json("lines called .json", LINES, ROWS),
    of_json("lines called .ndjson", LINES, ROWS, file="a.ndjson"),
    of_json("an array", ARRAY, ROWS),
    of_json("an array over many lines", json.dumps(json.loads(ARRAY), indent=2), ROWS),
    of_json("gzip", gzip.compress(LINES.encode()), ROWS, file="a.jsonl.gz"),
    of_json("a mark", "\ufeff" + LINES, ROWS),
    of_json("UTF-16 with a mark", LINES.encode("utf-16"), ROWS),
    of_json("numbers as texts", '{"x": "1.5", "y": "0.5"}\n', ([1.5], [0.5])),
    of_json("numbers as texts, late", TWO * 30_000 + '{"x": "1.5", "y": 1}\n', ([2.0] * 30_000 + [1.5], [2.0] * 30_000 + [1.0])),
    of_json("fractions after integers", TWO * 30_000 + '{"x": 1.5, "y": 1}\n', ([2.0] * 30_000 + [1.5], [2.0] * 30_000 + [1.0])),
    of_json("texts", '{"x": 1, "y": 2}\n{"x": "abc", "y": 2}\n', f"a.json: row 2, column 'x': 'abc' {NO_NUMBER}"),
    of_json(
        "decimal commas",
        '{"x": "1,5", "y": 0}\n',
        f"a.json: row 1, column 'x': '1,5' {NO_NUMBER}; --decimal , reads a decimal comma",
    ),
    of_json("true and false", '{"x": true, "y": 0}\n{"x": false, "y": 0}\n', ([1.0, 0.0], [0.0, 0.0])),
    of_json(
        "NaN and Infinity as Python writes them",
        json.dumps([{"x": np.nan, "y": 0}, {"x": -np.inf, "y": 0}]),
        ([np.nan, -np.inf], [0.0, 0.0]),
    ),
    of_json("NaN, late", TWO * 30_000 + '{"x": NaN, "y": 0}\n', ([2.0] * 30_000 + [np.nan], [2.0] * 30_000 + [0.0])),
    of_json("too large for float64", '{"x": 1e400, "y": 1}\n', ([np.inf], [1.0])),
    of_json(
        "integers beyond 2**53", '[{"x": 9007199254740993, "y": 9007199254740992}]', (np.array([2**53 + 1]), np.array([2**53]))
    ),
    of_json("null", '{"x": null, "y": 0.5}\n', f"a.json: row 1, column 'x': {MISSING}"),
    of_json("a key that is not there", '{"x": 1, "y": 1}\n{"y": 0.5}\n', f"a.json: row 2, column 'x': {MISSING}"),
    of_json(
        "an empty text",
        '{"x": "", "y": 1}\n',
        "a.json: row 1, column 'x': the cell holds nothing; numbers, nan and inf are accepted",
    ),
    of_json("nested", '{"x": {"v": 1}, "y": 0.5}\n', f"a.json: row 1, column 'x': '{{\"v\":1}}' {NO_NUMBER}"),
    of_json("nested, by a dotted name", '{"p": {"x": 1}, "y": 0.5}\n', "a.json: no column 'p.x'; the file has 'p', 'y'", "p.x y"),
    of_json("lists, late", TWO * 30_000 + '{"x": [1], "y": 0}\n', f"a.json: row 30001, column 'x': '[1]' {NO_NUMBER}"),
    of_json("an object of columns", '{"x": [1, 2], "y": [3, 4]}', f"a.json: row 1, column 'x': '[1,2]' {NO_NUMBER}"),
    of_json("a key that comes twice", '{"x": 1, "x": 2, "y": 0}\n', "a.json: cannot read: ...duplicate key..."),
    of_json("arrays in lines", "[1, 2]\n[3, 4]\n", "a.json: no objects; read are an array of objects, or an object a line"),
    of_json("an empty array", "[]", "a.json: the file is empty"),
    of_json("nothing", "", "a.json: the file is empty"),
    of_json(
        "broken",
        '{"x": 1, "y": 0.5}\n{"x": 2, "y":\n',
        'a.json: cannot read: ...Malformed JSON in file "a.json", at byte ... in line 3: ...',
    ),
    of_json(
        "broken, late",
        TWO * 30_000 + '{"x": 2, "y":\n',
        'a.json: cannot read: ...Malformed JSON in file "a.json", at byte ... in line 30002: ...',
    ),
    of_json("an array that is cut", ARRAY[:-10], "a.json: cannot read: ...Malformed JSON..."),
    of_json("single quotes", "{'x': 1, 'y': 0.5}\n", "a.json: cannot read: ...Malformed JSON..."),
    of_json("text called .json", TEXT, "a.json: cannot read: ...Malformed JSON..."),
]

# --- arrays -----------------------------------------------------------------------------------------------------------


def array(name: str, content: Content | np.ndarray, outcome: Outcome | None = None, *, file: str = "a.npy", member: str = ""):
    """An array as predictions; the targets are the true ones, in the same shape."""
    if isinstance(content, np.ndarray):
        values = content
        outcome = (values, np.zeros_like(values)) if outcome is None else outcome
        content = lambda path: np.save(path, values, allow_pickle=True)  # noqa: E731
    assert outcome is not None
    return Kind(f"array: {name}", content, outcome, f"{file}{member} targets.npy", file)


def of_header(shape: tuple[Any, ...], version: tuple[int, int] = (1, 0), data: bytes = bytes(8 * 12)) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            header = {"descr": "<f8", "fortran_order": False, "shape": shape}
            (np.lib.format.write_array_header_1_0 if version == (1, 0) else np.lib.format.write_array_header_2_0)(file, header)
            file.write(data)

    return write


def npy(values: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, values, version=version)
    return file.getvalue()


def unread(dtype: Any) -> str:
    return f"a.npy: dtype {np.dtype(dtype)} is not supported; {NUMBERS}"


def damaged_archive(path: Path) -> None:
    np.savez(path, x=np.arange(1000.0))
    path.write_bytes(changed(path.read_bytes(), 4000))


def archive_of_text(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"hello")


A = np.array(ROWS[0])
GRID = np.arange(12.0).reshape(3, 4)
ARRAYS = [
    *(
        array(np.dtype(dtype).str, np.array([1, 0, 1]).astype(dtype))
        for dtype in ("?", "i1", "<i2", ">i4", "<i8", ">i8", "u1", "<u8", "<f2", "<f4", ">f4", "<f8", ">f8")
    ),
    *(array(f"version {version[0]} of the format", npy(A, version), (A, A * 0)) for version in ((1, 0), (2, 0), (3, 0))),
    array("no axes", np.array(3.0)),
    array("Fortran order", np.asfortranarray(GRID)),
    array("no elements", np.empty((0, 3))),
    array("gzip", gzip.compress(npy(GRID)), (GRID, GRID * 0), file="a.npy.gz"),
    array("complex", np.zeros(3, complex), unread(complex)),
    array("texts", np.zeros(3, "U3"), unread("U3")),
    array("dates", np.zeros(3, "M8[s]"), unread("M8[s]")),
    array("durations", np.zeros(3, "m8[s]"), unread("m8[s]")),
    array("structures", np.zeros(3, [("x", "f4")]), unread([("x", "f4")])),
    array("objects", np.array([None, 1.0]), f"a.npy: pickled (object) arrays are refused; {NUMBERS}"),
    array("long double", np.zeros(3, np.longdouble), unread(np.longdouble) if np.dtype(np.longdouble).itemsize > 8 else None),
    array(
        "cut",
        npy(np.zeros((3, 4), np.float32))[:-1],
        "a.npy: truncated: 48 bytes of data follow from shape (3, 4) and dtype float32, 47 are there",
    ),
    array("bytes behind the data", npy(A) + b"garbage", (A, A * 0)),
    array("nothing", b"", "a.npy: not a readable .npy array: EOF: reading magic string, expected 8 bytes got 0"),
    array("text", TEXT, "a.npy: not a readable .npy array: the magic string is not correct; ..."),
    array("a version that is unknown", b"\x93NUMPY\x09\x00\x05\x00hello", "a.npy: not a readable .npy array: ...(9, 0)..."),
    array("a header that is damaged", b"\x93NUMPY\x01\x00\x05\x00hello", "a.npy: not a readable .npy array: ..."),
    array("a header of brackets", b"\x93NUMPY\x01\x00\x09\x00((((((((\n", "a.npy: not a readable .npy array: ..."),
    array("a shape of bools", of_header((True, 3, 4)), "a.npy: not a readable .npy array: impossible shape (True, 3, 4)"),
    array("a shape of bools, one False", of_header((3, False)), "a.npy: not a readable .npy array: impossible shape (3, False)"),
    array("a negative shape", of_header((-1,)), "a.npy: not a readable .npy array: negative shape (-1,)"),
    array("a shape larger than the file", of_header((10**15,)), "a.npy: truncated: 8000000000000000 bytes of data follow ..."),
    array("gzip that is cut", gzip.compress(npy(GRID))[:-20], "a.npy.gz: not a readable .npy.gz array: ...", file="a.npy.gz"),
    array(
        "gzip whose check sum is wrong",
        changed(gzip.compress(npy(GRID)), -6),
        "a.npy.gz: not a readable .npy.gz array: CRC check failed ...",
        file="a.npy.gz",
    ),
    array("text called .gz", TEXT, "a.npy.gz: not a readable .npy.gz array: ...", file="a.npy.gz"),
    array("an array of an archive", lambda path: np.savez(path, x=GRID, y=A), (GRID, GRID * 0), file="a.npz", member=":x"),
    array("an archive of one", lambda path: np.savez(path, GRID), (GRID, GRID * 0), file="a.npz"),
    array("an archive, compressed", lambda path: np.savez_compressed(path, x=GRID), (GRID, GRID * 0), file="a.npz", member=":x"),
    array(
        "an archive, in Fortran order",
        lambda path: np.savez(path, np.asfortranarray(GRID)),
        (np.asfortranarray(GRID), GRID * 0),
        file="a.npz",
    ),
    array(
        "an archive of several without a name",
        lambda path: np.savez(path, x=GRID, y=A),
        "a.npz: name one array of the file as a.npz:NAME; it has 'x', 'y'",
        file="a.npz",
    ),
    array(
        "an archive without this name",
        lambda path: np.savez(path, x=GRID, y=A),
        "a.npz:z: no array 'z'; the file has 'x', 'y'",
        file="a.npz",
        member=":z",
    ),
    array(
        "an archive of nothing",
        lambda path: np.savez(path),
        "a.npz: name one array of the file as a.npz:NAME; it has none",
        file="a.npz",
    ),
    array(
        "an archive of objects",
        lambda path: np.savez(path, np.array([None])),
        f"a.npz: pickled (object) arrays are refused; {NUMBERS}",
        file="a.npz",
    ),
    array(
        "an archive whose check sum is wrong",
        damaged_archive,
        "a.npz: not a readable .npz archive: Bad CRC-32 for file 'x.npy'",
        file="a.npz",
    ),
    array("an archive of text", archive_of_text, "a.npz: not a readable .npy array: EOF...", file="a.npz"),
    array("text called .npz", TEXT, "a.npz: not a readable .npz archive: File is not a zip file", file="a.npz"),
    array("an archive, compressed once more", b"", "a.npz.gz: unknown kind of file; accepted: ...", file="a.npz.gz"),
    array("a file that is not there", lambda path: None, "a.npy: cannot read: No such file or directory"),
    array("a folder", lambda path: path.mkdir(), "a.npy: not a regular file"),
]

# --- Zarr -------------------------------------------------------------------------------------------------------------


def zarr(name: str, content: Content, outcome: Outcome, *, file: str = "a.zarr", asked: str = "a.zarr targets.npy"):
    return Kind(f"zarr: {name}", content, outcome, asked, file)


def of_zarr(
    name: str, values: np.ndarray, outcome: Outcome | None = None, *, file: str = "a.zarr", asked: str = "", **options: Any
):
    def save(path: Path) -> None:
        import zarr

        chunks = {"chunks": tuple(max(length // 2, 1) for length in values.shape)}
        zarr.create_array(path, shape=values.shape, dtype=values.dtype, **(chunks | options))[...] = values

    expected = (values, np.zeros_like(values)) if outcome is None else outcome
    return zarr(name, save, expected, file=file, asked=asked or f"{file} targets.npy")


def group(path: Path) -> None:
    import zarr

    found = zarr.open_group(path, mode="w")
    found.create_array("x", shape=A.shape, dtype=A.dtype)[:] = A
    found.create_group("inner").create_array("y", shape=GRID.shape, dtype=GRID.dtype)[:] = GRID


def damaged_zarr(path: Path) -> None:
    import zarr

    zarr.create_array(path, shape=(1000,), chunks=(500,), dtype="f8")[:] = np.arange(1000.0)
    chunk = path / "c" / "1"
    chunk.write_bytes(chunk.read_bytes()[:-9])


def zarr_of_pickles(path: Path) -> None:
    import zarr

    zarr.create_array(path, shape=(3,), dtype="f8", zarr_format=2)[:] = 1
    description = path / ".zarray"
    description.write_text(json.dumps(json.loads(description.read_text()) | {"compressor": {"id": "pickle", "protocol": 5}}))


ZARR = [
    zarr("chunks that are pickles", zarr_of_pickles, "a.zarr: not a readable Zarr array: ..."),
    *(of_zarr(np.dtype(dtype).name, np.array([1, 0, 1, 1, 0]).astype(dtype)) for dtype in ("?", "i1", "u8", "f2", "f4", "f8")),
    of_zarr("big-endian, version 2", np.array([1, 0, 2], ">f4"), zarr_format=2),
    of_zarr("three axes, chunks that do not fit", np.arange(60.0).reshape(5, 4, 3), chunks=(2, 3, 2)),
    of_zarr("no axes", np.array(3.0)),
    of_zarr("no elements", np.empty((0, 3)), chunks=(1, 3)),
    of_zarr("a folder that is called otherwise", GRID, file="folder"),
    of_zarr("version 2 in a folder that is called otherwise", GRID, file="folder", zarr_format=2),
    of_zarr("complex", np.zeros(3, complex), f"a.zarr: dtype complex128 is not supported; {NUMBERS}"),
    of_zarr("texts", np.zeros(3, "U3"), f"a.zarr: dtype <U3 is not supported; {NUMBERS}", zarr_format=2),
    zarr("an array of a group", group, (A, A * 0), asked="a.zarr:x targets.npy"),
    zarr("an array of a group in a group", group, (GRID, GRID * 0), asked="a.zarr:inner/y targets.npy"),
    zarr("a group without a name", group, "a.zarr: name one array of the file as a.zarr:NAME; it has 'inner/y', 'x'"),
    zarr("no such array", group, "a.zarr:z: no array 'z'; the file has 'inner/y', 'x'", asked="a.zarr:z targets.npy"),
    of_zarr(
        "a name in a single array", GRID, "a.zarr:x: the file is one array, and has none with a name", asked="a.zarr:x targets.npy"
    ),
    of_zarr("an array as a table", GRID, "a.zarr: not a table, so that it has no columns 'x' and 'y'", asked="a.zarr x y"),
    zarr("a damaged chunk", damaged_zarr, "a.zarr: cannot read: ...", asked="a.zarr a.zarr"),
    zarr("an empty folder", lambda path: path.mkdir(), "a.zarr: not a readable Zarr array: ..."),
    zarr("a file", b"", "a.zarr: not a folder"),
    zarr("nothing", lambda path: None, "a.zarr: cannot read: No such file or directory"),
]

# --- the test ---------------------------------------------------------------------------------------------------------

KINDS = [*DIALECTS, *HEADERS, *CELLS, *ENCODINGS, *COMPRESSED, *MISNAMED, *PARQUET, *ARROW, *JSON, *ARRAYS, *ZARR]


def test_every_name_comes_once():
    names = [kind.name for kind in KINDS]
    assert [name for name in names if names.count(name) > 1] == []


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_kind(kind, capfd):
    write(kind)
    for options in ("--reduction sum --json", "--reduction none --out losses.npy"):
        code = main(["score", *shlex.split(kind.arguments), "--loss", "l1", *options.split()])
        said = capfd.readouterr()
        if isinstance(kind.outcome, str):
            pattern = re.escape(f"cylosses: error: {kind.outcome}\n").replace(re.escape("..."), ".*")
            assert re.fullmatch(pattern, said.err), f"said is {said.err[:500]!r}"
            assert (code, said.out) == (2, "")
        else:
            assert code == 0, said.err
            x, y = map(np.asarray, kind.outcome)
            if "--json" in options:
                found = json.loads(said.out)
                value = L1Loss(reduction="sum")(x, y)
                assert (found["value_hex"], found["dtype"], found["shape"]) == (float(value).hex(), value.dtype.name, list(x.shape))
            else:
                losses, expected = np.load("losses.npy"), np.asarray(L1Loss(reduction="none")(x, y))
                assert (losses.dtype, losses.shape, losses.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())


def write(kind: Kind) -> None:
    path = Path(kind.file)
    if callable(kind.content):
        kind.content(path)
    else:
        path.write_bytes(kind.content if isinstance(kind.content, bytes) else kind.content.encode())
    if kind.arguments.endswith("targets.npy"):
        np.save("targets.npy", np.zeros(3) if isinstance(kind.outcome, str) else kind.outcome[1])
