"""The extensions and their flags; everything else about the project is in pyproject.toml."""

import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

DEBUG = os.environ.get("CYLOSSES_DEBUG", "0") not in ("", "0")
SANITIZE = os.environ.get("CYLOSSES_SANITIZE", "0") not in ("", "0")
# What surrounds the loops.
MODULES = ("_core.builds", "_core.totals", "_core.call", "capi", "_views.functions")
WANTED_BUILDS = os.environ.get("CYLOSSES_BUILDS", "").split()

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": DEBUG,
    "initializedcheck": DEBUG,
    "overflowcheck": DEBUG,
    "cdivision": True,
    "freethreading_compatible": True,
    "autotestdict": False,
    "embedsignature": False,
    # Plain built-in functions: Cython's own kind brings 10 kB of code into each module of the wheel, and takes longer to call.
    "binding": False,
}
EXACT_FLAGS = {
    # One fixed order of operations and roundings on every machine: no contraction to fused multiply-add, and never fast-math.
    # Nothing is ever thrown through C: tables for unwinding would be 3 kB of each module.
    "unix": ["-O3", "-g0", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fno-asynchronous-unwind-tables"],
    "msvc": ["/O2", "/fp:precise"],
}
# What clang does not know. gcc makes `rep stos` of loops that clear a small buffer, which takes longer to start than to run; and it
# inlines until a module has grown by two fifths, which makes the loops a twentieth larger than with 30 %, and no faster.
GCC_FLAGS = ["-fno-tree-loop-distribute-patterns", "--param=inline-unit-growth=30"]
# What surrounds the loops is small rather than fast, but for the call from Python.
SMALL_FLAGS = {"unix": ["-Os", "-fno-plt"], "msvc": []}
CALL_FLAGS = {"unix": ["-O2"], "msvc": []}
# For `make sanitize`: every access outside of an object and all undefined behaviour is reported while the modules run. They come
# last: Python's own flags often have -fwrapv, under which signed overflow is no finding, but is undefined as soon as CFLAGS is set,
# since setuptools drops them then. Conversions of floating-point numbers to integers that lack the room are apart from the rest.
SANITIZER_FLAGS = ["-fsanitize=address,undefined,float-cast-overflow"]
SANITIZED_FLAGS = ["-O1", "-g", "-fno-omit-frame-pointer", *SANITIZER_FLAGS, "-fno-wrapv"]
OPENMP_FLAGS = {
    "unix": [(["-fopenmp"], ["-fopenmp"]), (["-Xpreprocessor", "-fopenmp"], ["-lomp"])],
    "msvc": [(["/openmp"], [])],
}
OPENMP_PROBE = """
#include <omp.h>
int main(void) { int n = 0;
#pragma omp parallel reduction(+:n)
n += omp_get_num_threads(); return n < 1; }
"""


def levels() -> dict[str, list[str]]:
    """Builds of the loops: name of the module to the flags of its instruction set.

    On x86-64 the same source is built for several microarchitecture levels; the best that the CPU runs is picked at import. NumPy
    itself needs x86-64-v2. Elsewhere one build is enough: its vector instructions are part of the baseline. CYLOSSES_BUILDS names
    those to build, if not all are wanted.
    """
    if not (platform.machine().lower() in ("x86_64", "amd64") and sys.platform == "linux" and sys.maxsize > 2**32):
        return {"loops": []}
    all_levels = {
        "x86-64-v2": ["-march=x86-64-v2"],
        "x86-64-v3": ["-march=x86-64-v3"],
        "x86-64-v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    }
    unknown = set(WANTED_BUILDS) - set(all_levels)
    if unknown:
        raise SystemExit(f"CYLOSSES_BUILDS names builds among {', '.join(all_levels)}, not {', '.join(sorted(unknown))}")
    return {f"loops_{name.removeprefix('x86-64-')}": all_levels[name] for name in WANTED_BUILDS or all_levels}


class BuildExtensions(build_ext):
    """Adds the flags of the compiler at hand, with OpenMP if a probe compiles and links."""

    def build_extensions(self) -> None:
        kind = "msvc" if self.compiler.compiler_type == "msvc" else "unix"
        compile_flags = EXACT_FLAGS[kind]
        if kind == "unix" and self.builds("int main(void) { return 0; }", [*GCC_FLAGS, "-Werror"]):
            compile_flags = compile_flags + GCC_FLAGS
        link_flags = ["-Wl,--strip-all"] if sys.platform == "linux" and not (DEBUG or SANITIZE) else []
        openmp_compile, openmp_link = self.openmp_flags(kind)
        for extension in self.extensions:
            extension.extra_compile_args = compile_flags + extension.extra_compile_args
            extension.extra_link_args = link_flags + extension.extra_link_args
            if "._core.loops" in extension.name:
                extension.extra_compile_args += openmp_compile
                extension.extra_link_args += openmp_link
            else:
                extension.extra_compile_args += SMALL_FLAGS[kind] + (CALL_FLAGS[kind] if extension.name.endswith(".call") else [])
            if SANITIZE:
                extension.extra_compile_args += SANITIZED_FLAGS
                extension.extra_link_args += SANITIZER_FLAGS
            if "._core.loops" in extension.name:
                flags = shlex.join(extension.extra_compile_args)
                extension.define_macros.append(("CYLOSSES_FLAGS", f'"{flags}"'))
        self.parallel = self.parallel or os.cpu_count()
        super().build_extensions()

    def openmp_flags(self, kind: str) -> tuple[list[str], list[str]]:
        """Compile and link flags for OpenMP; none if no candidate builds a program."""
        for compile_flags, link_flags in OPENMP_FLAGS[kind]:
            if self.builds(OPENMP_PROBE, compile_flags, link_flags):
                return compile_flags, link_flags
        print("building without OpenMP: everything works, on one thread", file=sys.stderr)
        return [], []

    def builds(self, program: str, compile_flags: Sequence[str], link_flags: Sequence[str] = ()) -> bool:
        """Whether the compiler at hand makes a program of this source with these flags; it says why not."""
        # The environment's flags for the linker go to extensions by themselves, but not to programs.
        link_flags = [*shlex.split(os.environ.get("LDFLAGS", "")), *link_flags]
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(program)
            try:
                objects = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=list(compile_flags))
                self.compiler.link_executable(objects, str(Path(folder, "probe")), extra_postargs=link_flags)
            except Exception as error:  # any failure means: not available
                print(f"not with {shlex.join(compile_flags)}: {error}", file=sys.stderr)
                return False
        return True


def extension(name: str, source: str, flags: Sequence[str] = ()) -> Extension:
    """One module of the package."""
    return Extension(
        f"cylosses.{name}",
        [source],
        include_dirs=[numpy.get_include(), "cylosses/include", "cylosses/_core"],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
        extra_compile_args=list(flags),
    )


def build_of_the_loops(name: str, flags: Sequence[str]) -> Extension:
    """One build of loops.pyx.

    Where there are several, each has a source file of its own that includes it: extensions that share a source get their flags
    merged by cythonize.
    """
    if name == "loops":
        return extension(f"_core.{name}", "cylosses/_core/loops.pyx", flags)
    source = Path("build", "loops", f"{name}.pyx")
    source.parent.mkdir(parents=True, exist_ok=True)
    text = 'include "loops.pyx"\n'
    if not source.exists() or source.read_text() != text:
        source.write_text(text)
    return extension(f"_core.{name}", str(source), flags)


setup(
    ext_modules=cythonize(
        [build_of_the_loops(name, flags) for name, flags in levels().items()]
        + [extension(name, f"cylosses/{name.replace('.', '/')}.pyx") for name in MODULES],
        compiler_directives=DIRECTIVES,
        include_path=["cylosses/_core"],
        build_dir="build",
    ),
    cmdclass={"build_ext": BuildExtensions},
)
