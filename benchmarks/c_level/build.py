"""Compiles the driver into ``build/`` beside this file, when it or the kernels' headers are newer than what is there."""

import importlib.util
import os
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
BUILD = HERE / "build"
ROOT = HERE.parents[1]
INCLUDE = ROOT / "cylosses" / "include"
NAME = "driver"
FLAGS = ["-O3", "-march=native", "-fopenmp"]


def target() -> Path:
    """Return the path of the compiled driver."""
    return BUILD / f"{NAME}{sysconfig.get_config_var('EXT_SUFFIX')}"


def is_current() -> bool:
    """Whether the compiled driver is newer than all that it is made of: a changed Job would be read at wrong places."""
    headers = [*(ROOT / "cylosses").rglob("*.pxd"), *INCLUDE.glob("*.h")]
    sources = [HERE / "driver.pyx", HERE / "native.h", Path(__file__), *headers]
    return target().exists() and all(source.stat().st_mtime < target().stat().st_mtime for source in sources)


def compile_driver() -> None:
    """Translate and compile the driver."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    BUILD.mkdir(exist_ok=True)
    extension = Extension(
        NAME,
        [str(HERE / "driver.pyx")],
        include_dirs=[str(HERE), str(INCLUDE)],
        extra_compile_args=FLAGS if os.name == "posix" else [],
        extra_link_args=["-fopenmp"] if os.name == "posix" else [],
    )
    directives = {"language_level": 3, "boundscheck": False, "wraparound": False, "cdivision": True}
    modules = cythonize(
        [extension],
        build_dir=str(BUILD),
        include_path=[str(ROOT)],
        compiler_directives=directives,
        force=True,
        quiet=True,
    )
    command = build_ext(Distribution({"ext_modules": modules}))
    command.build_lib = str(BUILD)
    command.build_temp = str(BUILD / "temp")
    command.ensure_finalized()
    command.run()


def load() -> ModuleType:
    """Return the driver, compiled if need be."""
    if not is_current():
        print("compiling the driver", file=sys.stderr, flush=True)
        compile_driver()
    spec = importlib.util.spec_from_file_location(NAME, target())
    if spec is None or spec.loader is None:
        raise ImportError(f"{target()} is no extension module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
