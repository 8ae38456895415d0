"""The functions of the C level, called through ctypes."""

from __future__ import annotations

import ctypes

import numpy as np

from cylosses import capi

TYPES = {
    "void": None,
    "int": ctypes.c_int,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
    "ptrdiff_t": ctypes.c_ssize_t,
    "uint64_t": ctypes.c_uint64,
    "char const *": ctypes.c_char_p,
}


def c_function(name):
    """A function of the C level; arrays may be passed as they are, and None for NULL."""
    returned, _, arguments = capi.signatures[name].removesuffix(")").partition("(*)(")
    types = [TYPES.get(text.strip(), ctypes.c_void_p) for text in (returned, *arguments.split(",")) if text.strip() != "void"]
    if returned.strip() == "void":
        types.insert(0, None)
    function = ctypes.CFUNCTYPE(*types)(capi.addresses[name])

    def call(*values):
        return function(*(value.ctypes.data if isinstance(value, np.ndarray) else value for value in values))

    return call


FUNCTIONS = {name: c_function(name) for name in capi.addresses}
