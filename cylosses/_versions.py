"""What is installed, where, and how it was built."""

import os
import platform
import sys

import numpy

from cylosses._core import builds
from cylosses._threads import get_num_threads

OPENMP_VERSIONS = {
    200203: "2.0",
    201107: "3.1",
    201307: "4.0",
    201511: "4.5",
    201811: "5.0",
    202011: "5.1",
    202111: "5.2",
    202411: "6.0",
}


def version() -> str:
    """Return the installed version of this package."""
    # Imported here: reading metadata takes longer to import than all of this package.
    from importlib import metadata

    try:
        return metadata.version("cylosses")
    except metadata.PackageNotFoundError:  # imported from a source tree that was never installed
        return "0+unknown"


def versions() -> dict[str, str]:
    """Return what `show_versions` prints, by name."""
    loops = builds.build_info()
    openmp = loops["openmp"]
    return {
        "cylosses": version(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "platform": platform.platform(),
        "instruction set": loops["isa"],
        "OpenMP": OPENMP_VERSIONS.get(openmp, str(openmp)) if openmp else "none: one thread",
        "threads": str(get_num_threads()),
        "compiler": loops["compiler"],
        "flags": loops["flags"],
    }


def show_versions() -> None:
    """Print the versions, the instruction set, the OpenMP runtime, the threads, the compiler and its flags.

    Examples
    --------
    >>> import cylosses
    >>> cylosses.show_versions()  # doctest: +ELLIPSIS
    cylosses         ...
    """
    for name, text in versions().items():
        sys.stdout.write(f"{name:<16} {text}\n")


def get_include() -> str:
    """Return the folder of ``cylosses.h``, for the compilers of C, C++ and Cython code that uses `cylosses.capi`.

    Returns
    -------
    str
        Its path.

    Examples
    --------
    >>> import os, cylosses
    >>> os.listdir(cylosses.get_include())
    ['cylosses.h']
    """
    return os.path.join(os.path.dirname(__file__), "include")  # noqa: PTH118, PTH120  # importing pathlib takes as long as the package
