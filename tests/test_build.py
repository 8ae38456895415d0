"""The build: each module is compiled with its own flags and no other's, and what is installed says and shows so.

The builds of the loops differ by flags alone, and `cythonize` merges the flags of extensions that share a source file: a
module with another's flags still computes the right bits, until it meets a CPU that lacks the instructions.
"""

from __future__ import annotations

import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from cylosses._core import builds
from tools import sanitize
from tools.compile_lines import copy_sources, recorded

ON_X86_LINUX = platform.machine().lower() in ("x86_64", "amd64") and sys.platform == "linux"
# The modules around the loops, the first of which picks the build.
SMALL = ("builds", "totals", "call", "capi", "functions")
LEVELS = {name: "-O2" if name == "call" else "-Os" for name in SMALL}
# What sets each module apart: options that name an instruction set or a vector width. Those around the loops have none.
MACHINE_OPTIONS = {name: [] for name in SMALL} | (
    {
        "loops_v2": ["-march=x86-64-v2"],
        "loops_v3": ["-march=x86-64-v3"],
        "loops_v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    }
    if ON_X86_LINUX
    else {"loops": []}
)
BUILDS = [name for name in MACHINE_OPTIONS if name.startswith("loops")]
PACKAGE = Path(builds.__file__).parents[1]


def machine_options(options):
    return [option for option in options if re.match(r"-m(?!m?macosx)", option)]


def wrong_options(name, options):
    """What is wrong with the options that all modules share: the bits depend on them, or all of the speed."""
    found = [
        option for option in options if option in ("-ffast-math", "-Ofast", "-funsafe-math-optimizations", "-ffinite-math-only")
    ]
    contraction = [option for option in options if option.startswith("-ffp-contract")]
    if contraction[-1:] != ["-ffp-contract=off"]:
        found.append(f"contraction: {contraction}")
    levels = [option for option in options if re.fullmatch(r"-O.*", option)]
    if levels[-1:] != [LEVELS.get(name, "-O3")]:
        found.append(f"optimisation: {levels}")
    return found


def installed(name):
    """The shared object of a module, which need not run on this CPU; it is never imported."""
    paths = [path for suffix in EXTENSION_SUFFIXES for path in PACKAGE.rglob(name + suffix)]
    assert len(paths) == 1, f"{name} is not installed exactly once: {paths}"
    return paths[0]


# The compile lines -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compile_lines(tmp_path_factory):
    """Name of each module to its options that are not Python's own."""
    folder = tmp_path_factory.mktemp("build")
    copy_sources(folder, empty=("loops", *SMALL))
    inherited = set(shlex.split(" ".join(filter(None, sysconfig.get_config_vars("CC", "CFLAGS", "CCSHARED", "BASECFLAGS", "OPT")))))
    return {
        name: [option for option in options if option == "-O3" or option not in inherited]
        for name, options in recorded(folder).items()
    }


needs_unix_compiler = pytest.mark.skipif(sys.platform == "win32", reason="the compiler that takes notes is a script with a #! line")


@pytest.mark.source_tree
@needs_unix_compiler
def test_every_module_is_compiled(compile_lines):
    assert set(compile_lines) == set(MACHINE_OPTIONS)


@pytest.mark.source_tree
@needs_unix_compiler
@pytest.mark.parametrize("name", MACHINE_OPTIONS)
def test_each_module_has_its_own_machine_options_only(name, compile_lines):
    assert machine_options(compile_lines[name]) == MACHINE_OPTIONS[name]


@pytest.mark.source_tree
@needs_unix_compiler
@pytest.mark.parametrize("name", MACHINE_OPTIONS)
def test_no_module_has_inexact_options(name, compile_lines):
    assert wrong_options(name, compile_lines[name]) == []


@pytest.mark.source_tree
@needs_unix_compiler
@pytest.mark.parametrize("name", BUILDS)
def test_the_flags_that_a_build_reports_are_those_of_its_compile_line(name, compile_lines):
    macro = next(option for option in compile_lines[name] if option.startswith("-DCYLOSSES_FLAGS="))
    reported = shlex.split(macro.removeprefix("-DCYLOSSES_FLAGS=").strip('"'))
    assert machine_options(reported) == MACHINE_OPTIONS[name]
    assert reported == compile_lines[name][-len(reported) :]


@pytest.mark.source_tree
@needs_unix_compiler
def test_a_compiler_that_lacks_openmp_and_options_of_gcc_is_asked_for_neither(tmp_path):
    copy_sources(tmp_path, empty=("loops", *SMALL))
    refused = frozenset({"-fopenmp", "-fno-tree-loop-distribute-patterns"})
    lines = recorded(tmp_path, refused)
    assert set(lines) == set(MACHINE_OPTIONS)
    assert all(refused.isdisjoint(options) and wrong_options(name, options) == [] for name, options in lines.items())


@pytest.mark.source_tree
@needs_unix_compiler
def test_other_machines_have_one_build(tmp_path):
    copy_sources(tmp_path, empty=("loops", *SMALL))
    lines = recorded(tmp_path, machine="aarch64")
    assert set(lines) == {"loops", *SMALL}
    assert all(machine_options(options) == [] and wrong_options(name, options) == [] for name, options in lines.items())
    assert any(option.startswith("-DCYLOSSES_FLAGS=") for option in lines["loops"])


@pytest.mark.source_tree
@needs_unix_compiler
def test_signed_overflow_is_a_finding_of_a_sanitized_build(tmp_path):
    """Of -fwrapv, which Python's own flags may have, and -fno-wrapv the last one holds."""
    copy_sources(tmp_path, empty=("loops", *SMALL))
    lines = recorded(tmp_path, CYLOSSES_SANITIZE="1")
    assert set(lines) == set(MACHINE_OPTIONS)
    for options in lines.values():
        assert [option for option in options if option.endswith("wrapv")][-1] == "-fno-wrapv"
        assert any(re.fullmatch("-fsanitize=.*undefined.*", option) for option in options)


def test_the_sanitizer_runs_files_that_exist():
    assert [name for name in (*sanitize.CORE, *sanitize.FURTHER) if not Path(__file__).with_name(f"{name}.py").exists()] == []


@pytest.mark.source_tree
@needs_unix_compiler
@pytest.mark.skipif(not ON_X86_LINUX, reason="there is one build here")
def test_builds_that_are_not_wanted_are_left_out(tmp_path):
    copy_sources(tmp_path, empty=("loops", *SMALL))
    assert set(recorded(tmp_path, CYLOSSES_BUILDS="x86-64-v3 x86-64-v2")) == {"loops_v2", "loops_v3", *SMALL}
    with pytest.raises(RuntimeError, match="CYLOSSES_BUILDS names builds among x86-64-v2, x86-64-v3, x86-64-v4, not v3"):
        recorded(tmp_path, CYLOSSES_BUILDS="v3")


# What is installed -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="these are the flags of gcc and clang")
@pytest.mark.parametrize("name", BUILDS)
def test_an_installed_build_carries_its_own_flags(name):
    found = re.findall(rb"[ -~]*-ffp-contract[ -~]*", installed(name).read_bytes())
    assert len(found) == 1, found
    flags = shlex.split(found[0].decode())
    assert machine_options(flags) == MACHINE_OPTIONS[name]
    assert wrong_options("loops", flags) == []


@pytest.mark.skipif(not ON_X86_LINUX, reason="there is one build here")
@pytest.mark.parametrize("name", BUILDS)
def test_the_compiler_was_given_the_instruction_set_that_the_name_says(name):
    """The string comes from the compiler's own macros (__AVX2__ …), so it also sees flags of the environment."""
    found = re.findall(rb"\0(x86-64-v[234]|baseline)\0", installed(name).read_bytes())
    assert found == [b"x86-64-" + name.removeprefix("loops_").encode()]


@pytest.mark.skipif(not ON_X86_LINUX, reason="there is one build here")
@pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump (binutils) shows the instructions")
@pytest.mark.parametrize(
    ("name", "used", "unused"),
    [
        *((name, [], ["ymm", "zmm"]) for name in SMALL),  # they run on any CPU
        ("loops_v2", ["xmm"], ["ymm", "zmm"]),
        ("loops_v3", ["ymm"], ["zmm"]),
        ("loops_v4", ["zmm"], []),
    ],
)
def test_the_code_uses_the_vector_registers_of_its_level_and_no_wider_ones(name, used, unused):
    code = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", installed(name)], capture_output=True, text=True, check=True
    ).stdout
    found = {register for register in ("xmm", "ymm", "zmm") if f"%{register}" in code}
    assert set(used) <= found
    assert found.isdisjoint(unused)


def test_build_info_repeats_the_installed_flags():
    name = builds.loops.__name__.rpartition(".")[2]
    assert b"\0" + builds.build_info()["flags"].encode() + b"\0" in installed(name).read_bytes()


FORGOTTEN = """
from cylosses._core.formulas cimport derivative, irls_weight, second_derivative, value
from cylosses._core.parameters cimport Forgotten

cdef double all_of_them(Forgotten loss, double d):
    return value(loss, d) + derivative(loss, d) + second_derivative(loss, d) + irls_weight(loss, d)
"""


@pytest.mark.source_tree
def test_a_loss_without_its_branches_does_not_compile(tmp_path):
    """Nor does it take another loss's branch, or 0."""
    copy_sources(tmp_path, empty=("loops", *SMALL))
    parameters = tmp_path / "cylosses" / "_core" / "parameters.pxd"
    (tmp_path / "probe.pyx").write_text(FORGOTTEN)
    command = [sys.executable, "-m", "cython", "-3", "probe.pyx"]
    text = parameters.read_text()
    assert text.count("ctypedef fused Loss:\n") == 1
    parameters.write_text(
        text.replace("ctypedef fused Loss:\n", "cdef struct Forgotten:\n    double c\n\nctypedef fused Loss:\n    Forgotten\n")
    )
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode
    assert set(re.findall(r"return loss\.lacks_a_branch_in_(\w+)\n", done.stderr)) == {
        "value",
        "derivative",
        "second_derivative",
        "irls_weight",
    }
