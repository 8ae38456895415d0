"""Whether the compiler turns every hot loop into vector code: ``python -m tools.vectorisation``, a step of ``make lint``.

Compiles each build of the loops with its own compile line, and reads gcc's report of what it vectorised. The report names
lines of the generated C; every loop there lies in a function of the source's name and specialisation (loss, dtype), so each
loop of each loss is looked up by itself: float32 does not speak for float64. Where a function is inlined several times, one
copy that stays scalar is enough to fail. Prints one row a loss and one a summing or converting function; exit code 1 if a
hot loop stays scalar and has no reason below. Other compilers than gcc have other reports, and are skipped.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tools.commands import parser_of
from tools.compile_lines import copy_sources, recorded

DTYPES = ("float", "double")
QUANTITIES = ("value", "derivative", "second_derivative", "irls_weight")
LOSSES_SOURCE = Path(__file__).parents[1] / "cylosses" / "_core" / "parameters.pxd"

# The hot loops that do not depend on the loss: function, its specialisations, and what tells its hot loops from others in C.
ELEMENTS = ("float", "double", "int8_t", "int16_t", "int32_t", "int64_t", "uint8_t", "uint16_t", "uint32_t", "uint64_t")
HOT = {
    "measure": (DTYPES, ""),
    "smallest_nonzero": (("double",), r"\bfabs\("),  # the rest is once a block
    "add_narrow_quarter": (("float",), ""),
    "add_to_two_bins": (DTYPES, ""),
    "add_wide_block": (DTYPES, ""),
    "fold": (("",), ""),
    "least_word": (("",), ""),
    "sum_columns": (("",), ""),
    "split_columns": (("",), ""),
    "split_products": (("",), ""),
    "smallest_product": (("",), ""),
    "add_quarter_of_float_products": (("",), ""),
    "add_columns": (("",), ""),
    "multiply": (DTYPES, r"__pyx_v_product\["),
    "split": (DTYPES, ""),
    "add_up_rows": (DTYPES, r"__pyx_v_terms\[\(*4\b"),  # of boxes
    "add_row": (DTYPES, r"__pyx_v_near\["),
    "add_sums": (("",), ""),
    "multiply_each": (("",), ""),
    "divide_each": (("",), ""),
    "scale_each": (("",), ""),
    "divide_each_exactly": (("",), ""),
    "divide_each_double": (("",), ""),
    "divide_by_all": (("",), ""),
    "are_valid": (DTYPES, ""),
    "weigh_values": (DTYPES, ""),
    "scale_by": (DTYPES, ""),
    "keep_selected": (DTYPES, ""),
    "narrow_block": (("float",), ""),  # half precision is computed in float32
    "count_selected": (DTYPES, ""),
    "clear_weights": (DTYPES, ""),
    "select_weighted": (DTYPES, ""),
    "set_ones": (DTYPES, ""),
    "read_elements": (tuple(f"{element} to {dtype}" for element in ELEMENTS for dtype in DTYPES), r"\(sizeof\("),  # the unit stride
    "read_half": (DTYPES, r"__pyx_v_i \* 2\b"),  # float16 at the unit stride
}


class Loop(NamedTuple):
    """A loop and its place in the tables: function or loss, specialisation, and quantity of a loss."""

    function: str
    variant: str
    quantity: str = ""


# Loops that are known to stay scalar: build, loop, reason. Whoever mends one takes it out.
V2, V3, V4 = "loops_v2", "loops_v3", "loops_v4"
NO_FMA = "fma() is a call of libm below x86-64-v3, which has the instruction"
NO_CHOICE = "gcc makes branches, not masks, of the choices in this loop below AVX"
NO_LONG = "no instruction converts 64-bit integers below AVX-512"
KNOWN: dict[tuple[str, Loop], str] = {
    **{(V2, Loop("multiply", dtype)): NO_FMA for dtype in DTYPES},
    **{(V2, Loop(name, "")): NO_CHOICE for name in ("divide_each_double", "divide_by_all")},
    (V2, Loop("weigh_values", "float")): NO_FMA,
    **{
        (build, Loop("read_elements", f"{element} to {dtype}")): NO_LONG
        for build in (V2, V3)
        for element in ("int64_t", "uint64_t")
        for dtype in DTYPES
    },
}


# The generated C ------------------------------------------------------------------------------------------------------------


@dataclass
class CLoop:
    """A `for` statement of the generated C."""

    line: int
    enclosing: CLoop | None
    innermost: bool = True
    body: list[str] = field(default_factory=list)


@dataclass
class CFunction:
    """A function of the generated C: the name in the source, and its signature, which tells the specialisation."""

    name: str
    signature: str
    line: int
    last_line: int = 0
    loops: list[CLoop] = field(default_factory=list)

    @property
    def loss(self) -> str:
        found = re.search(r"parameters_(\w+) __pyx_v_loss\b", self.signature)
        return found[1] if found else ""

    @property
    def variant(self) -> str:
        """The dtype of the specialisation; for conversions, both."""
        number = re.search(r"\b__pyx_fuse_(?:\d+_)?([01])__pyx_f_", self.signature)
        dtype = DTYPES[int(number[1])] if number else ""
        element = re.search(r"\b(\w+) __pyx_v_element\b", self.signature)
        return f"{element[1]} to {dtype}" if element else dtype


def name_of(mangled: str) -> str:
    """The name of a function, from the name of its module, with the length before each component, and its own."""
    while length := re.match(r"\d+", mangled):
        mangled = mangled[length.end() + int(length[0]) + 1 :]
    return mangled


def functions(source: Path) -> Iterator[CFunction]:
    """The functions of the generated C that come from Cython functions."""
    head = re.compile(r"static .*\b(?:__pyx_fuse_[\d_]*\d)?__pyx_f_(\w+)\(.*\) \{$")
    function: CFunction | None = None
    open_loops: list[tuple[str, CLoop]] = []  # with their indentation
    for number, line in enumerate(source.read_text().splitlines(), 1):
        if found := head.match(line):
            function = CFunction(name_of(found[1]), line, number)
        elif function and line == "}":
            function.last_line = number
            yield function
            function = None
        elif function and not re.match(r"\s*/?\*", line):  # comments quote the source
            indentation = line[: len(line) - len(line.lstrip())]
            for _, loop in open_loops:
                loop.body.append(line)
            if re.match(r"\s*for \(.*\{$", line):
                enclosing = open_loops[-1][1] if open_loops else None
                if enclosing:
                    enclosing.innermost = False
                loop = CLoop(number, enclosing)
                open_loops.append((indentation, loop))
                function.loops.append(loop)
            elif open_loops and line == open_loops[-1][0] + "}":
                open_loops.pop()


# gcc's report ---------------------------------------------------------------------------------------------------------------


class Report:
    """What gcc says about the loop at each line."""

    def __init__(self, path: Path) -> None:
        self._lines: set[int] = set()
        self._vectorised: Counter[int] = Counter()
        self._library_call: Counter[int] = Counter()
        self._scalar: Counter[int] = Counter()
        self._in_vectors: Counter[int] = Counter()
        self._reasons: defaultdict[int, set[str]] = defaultdict(set)
        for text in path.read_text(errors="replace").splitlines():
            found = re.match(r".*?:(\d+):\d+: \w+: +(.*)", text)
            if not found:
                continue
            line, message = int(found[1]), found[2]
            self._lines.add(line)
            if message.startswith("loop vectorized"):
                self._vectorised[line] += 1
            elif re.search(r"split to 0 loops and \d+ library calls", message):
                self._library_call[line] += 1
            elif message.startswith("outer-loop already vectorized"):  # followed by the next message
                self._in_vectors[line] += 1
            elif message.startswith("couldn't vectorize loop"):
                self._scalar[line] += 1
            elif message.startswith("not vectorized"):
                self._reasons[line].add(message)

    def compiled(self, function: CFunction) -> bool:
        """False for an inline function that nothing calls, as some specialisations are: gcc has nothing to say of it."""
        return not self._lines.isdisjoint(range(function.line, function.last_line))

    def is_vector_code(self, loop: CLoop) -> bool:
        """Every copy vectorised, turned into memset or memcpy, or within an enclosing loop that is vectorised."""
        if self._scalar[loop.line] > self._in_vectors[loop.line]:
            return False
        if self._vectorised[loop.line] or self._library_call[loop.line]:
            return True
        return loop.enclosing is not None and self.is_vector_code(loop.enclosing)

    def reason(self, loop: CLoop) -> str:
        return "; ".join(sorted(self._reasons[loop.line])) or "gcc names no reason at this line"


# One build ------------------------------------------------------------------------------------------------------------------


def loss_structs() -> list[str]:
    """The members of the fused type Loss."""
    members = re.search(r"ctypedef fused Loss:\n((?:    \w+\n)+)", LOSSES_SOURCE.read_text())
    assert members
    return members[1].split()


def expected() -> list[Loop]:
    """Every hot loop that must be found."""
    of_losses = [Loop(loss, dtype, quantity) for loss in loss_structs() for quantity in QUANTITIES for dtype in DTYPES]
    return of_losses + [Loop(function, variant) for function, (variants, _) in HOT.items() for variant in variants]


def hot_loops(function: CFunction) -> Iterator[tuple[Loop, CLoop]]:
    """The hot loops of one function."""
    for loop in function.loops:
        if not loop.innermost:
            continue
        body = "\n".join(loop.body)
        if function.name == "fill_groups":
            quantity = re.search(rf"formulas_({'|'.join(QUANTITIES)})\(", body)
            if quantity:
                yield Loop(function.loss, function.variant, quantity[1]), loop
        elif function.name in HOT and re.search(HOT[function.name][1], body):
            yield Loop(function.name, function.variant), loop


def check(source: Path, report: Report) -> dict[Loop, list[str]]:
    """Each hot loop to the reasons why it is not vectorised; none if it is."""
    found: defaultdict[Loop, list[CLoop]] = defaultdict(list)
    for function in filter(report.compiled, functions(source)):
        for name, loop in hot_loops(function):
            found[name].append(loop)
    result = {}
    for name in expected():
        scalar = [loop for loop in found[name] if not report.is_vector_code(loop)]
        result[name] = [f"line {loop.line} of the C: {report.reason(loop)}" for loop in scalar]
        if not found[name]:
            result[name] = ["there is no such loop"]
    return result


def compile_with_report(compiler: list[str], arguments: list[str], folder: Path) -> Report:
    """Run the recorded compile line with a report."""
    output = arguments[arguments.index("-o") + 1]
    (folder / output).parent.mkdir(parents=True, exist_ok=True)
    report = folder / "report"
    report.unlink(missing_ok=True)
    subprocess.run([*compiler, *arguments, f"-fopt-info-loop-vec-all={report}"], cwd=folder, check=True)
    return Report(report)


def print_tables(build: str, result: dict[Loop, list[str]]) -> None:
    def cell(name: Loop) -> str:
        if not result[name]:
            return "yes"
        return "known" if (build, name) in KNOWN else "NO"

    print(f"\n{build:20}" + "".join(f"{quantity:>20}" for quantity in QUANTITIES) + "    (float32 float64)")
    for loss in loss_structs():
        cells = ("  ".join(f"{cell(Loop(loss, dtype, quantity)):>5}" for dtype in DTYPES) for quantity in QUANTITIES)
        print(f"{loss:20}" + "".join(f"{cell:>20}" for cell in cells))
    for function, (variants, _) in HOT.items():
        by_answer: dict[str, list[str]] = {}
        for variant in variants:
            by_answer.setdefault(cell(Loop(function, variant)), []).append(variant)
        print(f"{function:20}  " + "; ".join(answer + ": " + ", ".join(names) for answer, names in by_answer.items()).rstrip(": "))


def gcc_version(compiler: list[str]) -> str | None:
    """The version of gcc; None if the compiler is another."""
    macros = subprocess.run([*compiler, "-dM", "-E", "-x", "c", os.devnull], capture_output=True, text=True, check=False).stdout
    found = re.search(r'#define __VERSION__ "(.*)"', macros)
    return found[1] if found and "__GNUC__" in macros and "__clang__" not in macros else None


def main() -> int:
    parser = parser_of("tools.vectorisation", __doc__)
    parser.add_argument("builds", nargs="*", metavar="BUILD", help="loops_v3 …; without it, all")
    options = parser.parse_args()
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    version = gcc_version(compiler)
    if version is None:
        print(f"vectorisation: skipped, {compiler[0]} is not gcc")
        return 0
    print(f"gcc {version}")
    wrong = excused = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_sources(folder, empty=("builds", "totals", "call", "capi", "functions"))
        lines = {build: arguments for build, arguments in recorded(folder).items() if build.startswith("loops")}
        for build in options.builds or lines:
            source = folder / lines[build][lines[build].index("-c") + 1]
            result = check(source, compile_with_report(compiler, lines[build], folder))
            print_tables(build, result)
            for loop, reasons in result.items():
                known = KNOWN.get((build, loop))
                if known is None:
                    wrong += bool(reasons)
                    for reason in reasons:
                        print(f"  NO: {' '.join(loop)}: {reason}")
                elif reasons:
                    excused += 1
                else:
                    print(f"  no longer an exception: {' '.join(loop)} ({known})")
    print(f"\n{wrong} hot loops stay scalar without a reason, {excused} with one")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
