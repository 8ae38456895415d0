"""A package of its own: it needs nothing of cylosses but what is installed."""

import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

import cylosses

INCLUDE = cylosses.get_include()
OPENMP = {"linux": ["-fopenmp"], "win32": ["/openmp"]}.get(sys.platform, [])  # elsewhere prange runs on one thread

setup(
    ext_modules=cythonize(
        [
            Extension(
                "irls",
                ["irls.pyx"],
                include_dirs=[INCLUDE],
                extra_compile_args=OPENMP,
                extra_link_args=OPENMP if sys.platform == "linux" else [],
            )
        ],
        # Where views.pxd is. Cython looks in site-packages by itself; this finds editable installations, too.
        include_path=[str(Path(INCLUDE).parents[1])],
        build_dir="build",
        compiler_directives={"language_level": 3, "boundscheck": False, "wraparound": False, "cdivision": True},
    )
)
