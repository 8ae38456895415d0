"""The extensions and their flags; everything else about the project is in pyproject.toml."""

import os
import platform
import shlex
import sys
import tempfile
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

DEBUG = os.environ.get("CYLOSSES_DEBUG", "0") not in ("", "0")

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
}
EXACT_FLAGS = {
    # One fixed order of operations and roundings on every machine: no contraction to fused multiply-add, and never fast-math.
    "unix": ["-O3", "-g0", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"],
    "msvc": ["/O2", "/fp:precise"],
}
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


def baseline_flags() -> list[str]:
    """The instruction set of a portable build: NumPy itself needs x86-64-v2."""
    if platform.machine().lower() in ("x86_64", "amd64") and os.name == "posix":
        return ["-march=x86-64-v2"]
    return []


class BuildExtensions(build_ext):
    """Adds the flags of the compiler at hand, with OpenMP if a probe compiles and links."""

    def build_extensions(self) -> None:
        kind = "msvc" if self.compiler.compiler_type == "msvc" else "unix"
        compile_flags = EXACT_FLAGS[kind] + (baseline_flags() if kind == "unix" else [])
        link_flags = ["-Wl,--strip-all"] if sys.platform == "linux" and not DEBUG else []
        openmp_compile, openmp_link = self.openmp_flags(kind)
        for extension in self.extensions:
            extension.extra_compile_args = compile_flags + extension.extra_compile_args
            extension.extra_link_args = link_flags + extension.extra_link_args
            if extension.name.endswith(".passes"):
                extension.extra_compile_args += openmp_compile
                extension.extra_link_args += openmp_link
                flags = shlex.join(extension.extra_compile_args)
                extension.define_macros.append(("CYLOSSES_FLAGS", f'"{flags}"'))
        super().build_extensions()

    def openmp_flags(self, kind: str) -> tuple[list[str], list[str]]:
        """Compile and link flags for OpenMP; none if no candidate builds a program."""
        for compile_flags, link_flags in OPENMP_FLAGS[kind]:
            with tempfile.TemporaryDirectory() as folder:
                source = Path(folder, "probe.c")
                source.write_text(OPENMP_PROBE)
                try:
                    objects = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=compile_flags)
                    self.compiler.link_executable(objects, str(Path(folder, "probe")), extra_postargs=link_flags)
                except Exception as error:  # any failure means: not available
                    print(f"OpenMP with {compile_flags}: {error}", file=sys.stderr)
                    continue
                return compile_flags, link_flags
        print("building without OpenMP: everything works, on one thread", file=sys.stderr)
        return [], []


def extension(name: str) -> Extension:
    """One module of cylosses._kernels."""
    return Extension(
        f"cylosses._kernels.{name}",
        [f"cylosses/_kernels/{name}.pyx"],
        include_dirs=[numpy.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
    )


setup(
    ext_modules=cythonize(
        [extension("passes"), extension("dispatch")],
        compiler_directives=DIRECTIVES,
        build_dir="build",
    ),
    cmdclass={"build_ext": BuildExtensions},
)
