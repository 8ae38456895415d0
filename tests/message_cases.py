"""Calls that are refused or warned about, by name: tests/messages.json records what is said of each.

- `FAULTS` are wrong arguments of a call. Each goes through every entry that takes it (`ENTRIES`), with the other arguments in every
  form (`FORMS`): which way a call takes through the library must not show in what it says.
- `PAIRS` are two of them at once: which one is reported.
- `CASES` is everything else, one call each.

What is not here, with the reason: words of Python (too few arguments, attributes that cannot be set), of NumPy and scikit-learn
(which change with their versions; where the library passes them on, they are cut off), and what no public call reaches (a row of
the kernels' table that does not take its parameter, dtypes behind the checks, sums outside the range of states).
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import ctypes
import functools
import io
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

import cylosses
from cylosses import LOSSES, HuberLoss, L1Loss, Loss, MSELoss, QuantileLoss, SmoothL1Loss, StreamingLoss, l1_loss, l1_loss_backward
from cylosses import smooth_l1_loss as smooth_l1
from cylosses import smooth_l1_loss_backward as smooth_l1_backward

from .test_state import FORGED, written
from .test_streaming_axis import FORGED_SLICES

Options = dict[str, Any]

# What happens -----------------------------------------------------------------------------------------------------------


def outcome(call: Callable[[], object]) -> str:
    """The warnings and the error of a call, a line each; a warning that points elsewhere than here says where."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            call()
            end = "no error"
        except Exception as error:
            end = f"{type(error).__name__}: {error}"
    said = [
        f"{warning.category.__name__}{_place(warning.filename)}: {warning.message}"
        for warning in caught
        if warning.category.__name__ in OWN_WARNINGS
    ]
    return normalised("\n".join([*said, end]))


def _place(filename: str) -> str:
    return "" if filename == __file__ else f" in {Path(filename).name}"


OWN_WARNINGS = {"BroadcastWarning", "DeprecationWarning", "ConvergenceWarning"}
# What machines, versions of others and new losses may change, and what stands for it.
CHANGING = (
    (re.compile(r"(cannot be turned into an array of numbers: )(?!out of order).*", re.DOTALL), r"\1<words of NumPy>"),
    (re.compile(r"(not a readable \.np[yz] \w+: |not a readable \.parquet file: )(?!version|negative).*"), r"\1<words of others>"),
    (re.compile(r"(not UTF-8 text after line ).*"), r"\1<number and words of Python>"),
    (re.compile(r"\(type object .*\)"), "<words of Python>"),
    (re.compile(r"(is not available here; available: ).*"), r"\1<builds>"),
    (re.compile(r"[<|]V2 \(bfloat16\)"), "<str of bfloat16> (bfloat16)"),
    (re.compile(r"scaled gradient [^,]*"), "scaled gradient <number>"),
    (re.compile(r"stops it after \d+ iterations"), "stops it after <number> iterations"),
    (re.compile(re.escape(", ".join(map(repr, LOSSES)))), "<losses>"),
    (re.compile(r"loss must be one of [a-z0-9_, ]*, or"), "loss must be one of <losses>, or"),
    (re.compile(re.escape(f"{SmoothL1Loss.__module__}.")), "<module>."),
    (re.compile(re.escape(f"dtype {np.dtype(np.longdouble)},")), "dtype <long double>,"),
)


def normalised(text: str) -> str:
    """A text without what depends on machines and on versions of others."""
    for pattern, replacement in CHANGING:
        text = pattern.sub(replacement, text)
    return text


class Refused(Exception):  # noqa: N818
    """What a process says on stderr, after its exit code."""


# Wrong arguments of a call ----------------------------------------------------------------------------------------------

X = np.arange(6, dtype=np.float32).reshape(2, 3) + np.float32(0.5)
T = np.ones((2, 3), np.float32)
W = np.full((2, 3), 2, np.float32)
SETTINGS = {"reduction", "beta"}


def settings_of(options: Options) -> tuple[Options, Options]:
    """The settings of a loss among the options of a call, and the others."""
    setting = {name: value for name, value in options.items() if name in SETTINGS}
    return setting, {name: value for name, value in options.items() if name not in SETTINGS}


def _backward(function: Any, x: Any, t: Any, grad_output: Any = 1.0, **options: Any) -> Any:
    return function(grad_output, x, t, **options)


def _method(name: str, x: Any, t: Any, options: Options) -> Any:
    setting, others = settings_of(options)
    return getattr(SmoothL1Loss(**setting), name)(x, t, **others)


def _update(x: Any, t: Any, options: Options) -> Any:
    setting, others = settings_of(options)
    return SmoothL1Loss(**setting).streaming().update(x, t, **others)


SELECTION = {"weight", "where", "n_threads"}
OF_VALUES = SELECTION | {"axis", "keepdims", "out"}
OF_GRADIENTS = SELECTION | {"grad_output", "wrt", "axis", "out"}
# Each entry with the options that it takes.
ENTRIES: dict[str, tuple[Callable[[Any, Any, Options], Any], set[str]]] = {
    "smooth_l1_loss": (lambda x, t, options: smooth_l1(x, t, **options), OF_VALUES | SETTINGS),
    "smooth_l1_loss_backward": (lambda x, t, options: _backward(smooth_l1_backward, x, t, **options), OF_GRADIENTS | SETTINGS),
    "l1_loss": (lambda x, t, options: l1_loss(x, t, **options), OF_VALUES | {"reduction"}),
    "l1_loss_backward": (lambda x, t, options: _backward(l1_loss_backward, x, t, **options), OF_GRADIENTS | {"reduction"}),
    "call": (lambda x, t, options: _method("__call__", x, t, options), OF_VALUES | SETTINGS),
    "grad": (lambda x, t, options: _method("grad", x, t, options), OF_GRADIENTS | SETTINGS),
    "value_and_grad": (lambda x, t, options: _method("value_and_grad", x, t, options), SELECTION | SETTINGS | {"axis", "out"}),
    "grad_and_hess": (lambda x, t, options: _method("grad_and_hess", x, t, options), SELECTION | SETTINGS | {"out", "curvature"}),
    "update": (_update, SELECTION | SETTINGS),
}
RETURN_VALUES = ("smooth_l1_loss", "l1_loss", "call")


def _strided(array: np.ndarray) -> np.ndarray:
    return np.repeat(array, 2, axis=1)[:, ::2]


def _right_out(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    return np.zeros(shape, dtype)


# What the arguments that are right look like: operands, and options.
FORMS: dict[str, tuple[Any, Any, Options]] = {
    "float32": (X, T, {}),
    "float64": (X.astype(np.float64), T.astype(np.float64), {}),
    "float32 with float64": (X, T.astype(np.float64), {}),
    "float16": (X.astype(np.float16), T.astype(np.float16), {}),
    "integers": (X.astype(np.int32), T.astype(np.int32), {}),
    "lists": (X.tolist(), T.tolist(), {}),
    "strided": (_strided(X), _strided(T), {}),
    "Fortran order": (np.asfortranarray(X), np.asfortranarray(T), {}),
    "bytes swapped": (X.astype(X.dtype.newbyteorder()), T.astype(T.dtype.newbyteorder()), {}),
    "a number as target": (X, 1.0, {}),
    "weight given": (X, T, {"weight": W}),
    "where given": (X, T, {"where": W > 0}),
    "axis given": (X, T, {"axis": 0}),
    "keepdims given": (X, T, {"keepdims": True}),
    "out given": (X, T, {"out": _right_out}),
    "n_threads given": (X, T, {"n_threads": np.int64(1)}),
    "sum": (X, T, {"reduction": "sum"}),
    "none": (X, T, {"reduction": "none"}),
}
SINGLE = {"float32", "strided", "Fortran order", "bytes swapped"}
DOUBLE = {"float64", "float32 with float64", "integers", "lists"}


def _dtype_of(form: str) -> type:
    return np.float16 if form == "float16" else np.float64 if form in DOUBLE else np.float32


def _shape_of_out(entry: str, options: Options) -> tuple[int, ...]:
    if entry not in RETURN_VALUES or options.get("reduction") == "none":
        return X.shape
    along = type(options.get("axis")) is int and options["axis"] == 0
    if options.get("keepdims"):
        return (1, 3) if along else (1, 1)
    return (3,) if along else ()


def attempt(fault: Options, entry: str, form: str) -> Callable[[], object] | None:
    """A call with this fault through this entry in this form; None if there is no such call."""
    function, accepted = ENTRIES[entry]
    x, t, given = FORMS[form]
    wrong = {name: value for name, value in fault.items() if name not in ("input", "target", "whole")}
    options = given | wrong
    if given.keys() & wrong.keys() or not options.keys() <= accepted:
        return None
    if ("target" in fault and np.shape(t) != X.shape) or (entry == "update" and options.get("reduction") == "none"):
        return None
    out = options.get("out")
    if callable(out):
        out = out(_shape_of_out(entry, options), _dtype_of(form))
        options["out"] = out
    if entry == "grad_and_hess" and "out" in options and not (isinstance(out, tuple) or fault.get("whole")):
        options["out"] = (None, out)
    x, t = fault.get("input", x), fault.get("target", t)
    return lambda: function(x, t, options)


class Broken:
    """An array-like that cannot be read."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("out of order")

    def __repr__(self):
        return "<broken>"


class BrokenTensor:
    """One that speaks DLPack only."""

    def __dlpack__(self, **options):
        raise BufferError("out of order")

    def __dlpack_device__(self):
        return 1, 0


class RequiresGrad:
    requires_grad = True


class OnTheGPU:
    __cuda_array_interface__: dict[str, Any] = {}  # noqa: RUF012


class OfDevice:
    device = type("Device", (), {"type": "cuda"})()


class Negative:
    def is_neg(self):
        return True


class OfBfloat16:
    dtype = type("Dtype", (), {"__str__": lambda self: "torch.bfloat16"})()


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no words")


class Nothing:
    def __repr__(self):
        return "<object>"


NA = type("NAType", (), {"__repr__": lambda self: "<NA>"})()


def read_only(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    array = np.zeros(shape, dtype)
    array.flags.writeable = False
    return array


NO_ARRAYS: dict[str, Any] = {
    "complex128": X.astype(complex),
    "complex64": X.astype(np.complex64),
    "objects": X.astype(object),
    "str": X.astype("U4"),
    "bytes": X.astype("S4"),
    "datetime64": X.astype("int64").view("datetime64[s]"),
    "timedelta64": X.astype("int64").view("timedelta64[s]"),
    "long double": X.astype(np.longdouble),
    "float8": X.astype(ml_dtypes.float8_e4m3fn),
    "record": np.zeros((2, 3), [("a", "f4")]),
    "masked": np.ma.masked_array(X),
    "None": None,
    "a str": "1.5",
    "an object": Nothing(),
    "a dict": {"a": 1},
    "a set": {1.0},
    "a complex number": 2j,
    "an integer of 401 digits": 10**400,
    "a Fraction": Fraction(1, 3),
    "a generator": range(6).__iter__(),
    "a list of strings": [["1", "2", "3"]] * 2,
    "a ragged list": [[1.0], [1.0, 2.0]],
    "a list with None": [[1.0, None, 3.0]] * 2,
    "a list with NA": [[1.0, NA, 3.0]] * 2,
    "broken": Broken(),
    "broken DLPack": BrokenTensor(),
    "requires grad": RequiresGrad(),
    "on a GPU": OnTheGPU(),
    "of a device": OfDevice(),
    "negative bit": Negative(),
    "torch.bfloat16": OfBfloat16(),
}
SHARED = np.zeros((2, 3), np.float32)
FAULTS: dict[str, Options] = {
    # operands
    **{f"{name}: {what}": {name: value} for name in ("input", "target") for what, value in NO_ARRAYS.items()},
    "shapes: (2, 3) and (3, 2)": {"target": np.ones((3, 2), np.float32)},
    "shapes: (2, 3) and (2,)": {"target": np.ones(2, np.float32)},
    "shapes: (0,) and (2,)": {"input": np.ones(0, np.float32), "target": np.ones(2, np.float32)},
    "shapes: lists of 2 and 3": {"input": [1.0, 2.0], "target": [1.0, 2.0, 3.0]},
    "shapes: too many elements": {
        "input": np.broadcast_to(np.float32(0), (2**40, 1)),
        "target": np.broadcast_to(np.float32(0), (1, 2**40)),
    },
    "broadcast: (2, 3) and (3,)": {"target": np.ones(3, np.float32)},
    "broadcast: (2, 3) and (2, 1)": {"target": np.ones((2, 1), np.float32)},
    "broadcast: (3,) and (3, 1)": {"input": np.ones(3, np.float32), "target": np.ones((3, 1), np.float32)},
    "broadcast: lists": {"input": [1.0, 2.0], "target": [[1.0], [2.0], [3.0]]},
    "broadcast: (2, 1, 1) and (0, 1)": {"input": np.ones((2, 1, 1), np.float32), "target": np.ones((0, 1), np.float32)},
    # settings
    **{
        f"reduction: {value!r}": {"reduction": value} for value in ("median", "Mean", "", "none ", None, 1, True, b"mean", ["mean"])
    },
    "reduction: 1000 letters": {"reduction": "x" * 1000},
    "reduction: unprintable": {"reduction": Unprintable()},
    "reduction: array": {"reduction": np.array("mean")},
    **{f"beta: {value!r}": {"beta": value} for value in (-1.0, -1, float("nan"), -5e-324, "1", None, [1.0, 2.0], 2j, 10**400)},
    "beta: unprintable": {"beta": Unprintable()},
    "beta: broken": {"beta": Broken()},
    **{
        f"n_threads: {value!r}": {"n_threads": value}
        for value in (0, -1, -(2**70), True, 1.0, "2", [2], np.float64(2), np.bool_(True), np.array([1, 2]), np.int64(0))
    },
    "n_threads: -10**400": {"n_threads": -(10**400)},
    # weight and where
    **{f"weight: {what}": {"weight": value} for what, value in NO_ARRAYS.items() if value is not None},
    "weight: shape (2,)": {"weight": np.ones(2, np.float32)},
    "weight: shape (2, 4)": {"weight": np.ones((2, 4), np.float32)},
    "weight: shape (1, 2, 3)": {"weight": np.ones((1, 2, 3), np.float32)},
    "weight: shape (0,)": {"weight": np.ones(0, np.float32)},
    "weight: list of 2": {"weight": [1.0, 2.0]},
    "weight: negative": {"weight": -W},
    "weight: negative float64": {"weight": -W.astype(np.float64)},
    "weight: a negative number": {"weight": -1.0},
    "weight: NaN": {"weight": W * np.float32("nan")},
    "weight: infinite": {"weight": W * np.float32("inf")},
    "weight: negative integers": {"weight": [[1, 2, -3]] * 2},
    "weight: negative int64": {"weight": np.full((2, 3), -(2**62))},
    "weight: int64 above 2**53": {"weight": np.full((2, 3), 2**53 + 1)},
    "weight: uint64 above 2**53": {"weight": np.full(3, 2**64 - 1, np.uint64)},
    "weight: an int above 2**53": {"weight": 2**60},
    "weight: 2**53": {"weight": 2**53},
    "weight: negative where unselected": {"weight": -W, "where": W < 0},
    **{
        f"where: {what}": {"where": value}
        for what, value in NO_ARRAYS.items()
        if what
        in (
            "objects",
            "masked",
            "a str",
            "an object",
            "a ragged list",
            "a list with None",
            "a list with NA",
            "broken",
            "requires grad",
            "on a GPU",
            "negative bit",
            "torch.bfloat16",
            "complex64",
            "record",
        )
    },
    "where: float32": {"where": W},
    "where: uint8": {"where": W.astype(np.uint8)},
    "where: a number": {"where": 1},
    "where: list of int": {"where": [[1, 0, 1]] * 2},
    "where: shape (2,)": {"where": np.ones(2, bool)},
    "where: shape (1, 2, 3)": {"where": np.ones((1, 2, 3), bool)},
    "where: float32 of shape (2,)": {"where": np.ones(2, np.float32)},
    # axis and keepdims
    **{
        f"axis: {value!r}": {"axis": value}
        for value in (2, -3, 0.0, 1.5, "0", "", [0], (0, 0), (0, -2), (0, 2), (0, "1"), (0, None), np.float64(0), True, 2**70)
    },
    "axis: 10**400": {"axis": 10**400},
    "axis: array of two": {"axis": np.array([0, 1])},
    "axis: with none": {"axis": 0, "reduction": "none"},
    "axis: () with none": {"axis": (), "reduction": "none"},
    "axis: 5 with none": {"axis": 5, "reduction": "none"},
    "keepdims: with none": {"keepdims": True, "reduction": "none"},
    "keepdims: 1 with none": {"keepdims": 1, "reduction": "none"},
    # outputs
    "out: list": {"out": [[0.0] * 3] * 2},
    "out: number": {"out": 0.0},
    "out: NumPy scalar": {"out": np.float32(0)},
    "out: masked": {"out": lambda shape, dtype: np.ma.zeros(shape, dtype)},
    "out: complex": {"out": lambda shape, dtype: np.zeros(shape, complex)},
    "out: float32": {"out": lambda shape, dtype: np.zeros(shape, np.float32)},
    "out: float64": {"out": lambda shape, dtype: np.zeros(shape, np.float64)},
    "out: bfloat16": {"out": lambda shape, dtype: np.zeros(shape, ml_dtypes.bfloat16)},
    "out: bytes swapped": {"out": lambda shape, dtype: np.zeros(shape, np.dtype(dtype).newbyteorder())},
    "out: shape (5,)": {"out": lambda shape, dtype: np.zeros(5, dtype)},
    "out: shape (1,)": {"out": lambda shape, dtype: np.zeros(1, dtype)},
    "out: shape (3, 2)": {"out": lambda shape, dtype: np.zeros((3, 2), dtype)},
    "out: shape (1, 2, 3)": {"out": lambda shape, dtype: np.zeros((1, 2, 3), dtype)},
    "out: dtype and shape": {"out": np.zeros((5, 5), np.float16)},
    "out: read-only": {"out": read_only},
    "out: tuple": {"out": ()},
    "out: tuple of one": {"out": (None,)},
    "out: tuple of three": {"out": (None, None, None)},
    "out: tuple of lists": {"out": ([0.0], [0.0])},
    "out: tuple, first of a wrong shape": {"out": (np.zeros(7, np.float32), None)},
    "out: tuple, second of a wrong shape": {"out": (None, np.zeros(7, np.float32))},
    "out: tuple, both of a wrong shape": {"out": (np.zeros(7, np.float32), np.zeros(8, np.float32))},
    "out: the same twice": {"out": (SHARED, SHARED)},
    "out: value inside of the gradient": {"out": (SHARED[0, 0:1].reshape(()), SHARED)},
    "out: array in place of a tuple": {"out": SHARED, "whole": True},
    # gradients
    **{f"grad_output: {what}": {"grad_output": value} for what, value in NO_ARRAYS.items() if what not in ("a Fraction",)},
    "grad_output: Fraction beyond float64": {"grad_output": Fraction(10**400, 3)},
    "grad_output: shape (2,)": {"grad_output": np.ones(2, np.float32)},
    "grad_output: shape (3,)": {"grad_output": np.ones(3, np.float32)},
    "grad_output: shape (2, 3)": {"grad_output": np.ones((2, 3), np.float32)},
    "grad_output: shape (1, 3)": {"grad_output": np.ones((1, 3), np.float32)},
    "grad_output: shape (2, 2, 3)": {"grad_output": np.ones((2, 2, 3), np.float32)},
    "grad_output: shape (0,)": {"grad_output": np.ones(0, np.float32)},
    "grad_output: list of 3": {"grad_output": [1.0, 2.0, 3.0]},
    "grad_output: NaN": {"grad_output": float("nan")},
    **{f"wrt: {value!r}": {"wrt": value} for value in ("both", "Input", "", None, 1, b"input", ["input"])},
    "wrt: unprintable": {"wrt": Unprintable()},
    **{f"curvature: {value!r}": {"curvature": value} for value in ("hess", "Exact", "", None, 1, b"mm", ["mm"])},
    "curvature: unprintable": {"curvature": Unprintable()},
}

# One of each kind, for pairs of faults.
KINDS = (
    "input: complex64",
    "input: masked",
    "input: a ragged list",
    "target: objects",
    "target: on a GPU",
    "shapes: (2, 3) and (3, 2)",
    "broadcast: (2, 3) and (3,)",
    "reduction: 'median'",
    "beta: -1.0",
    "beta: '1'",
    "n_threads: 0",
    "n_threads: '2'",
    "weight: complex64",
    "weight: shape (2,)",
    "weight: negative",
    "weight: int64 above 2**53",
    "where: float32",
    "where: shape (2,)",
    "where: float32 of shape (2,)",
    "axis: 2",
    "axis: '0'",
    "axis: with none",
    "keepdims: with none",
    "out: list",
    "out: dtype and shape",
    "out: shape (5,)",
    "out: read-only",
    "out: tuple of three",
    "out: the same twice",
    "out: array in place of a tuple",
    "grad_output: a str",
    "grad_output: shape (2,)",
    "grad_output: Fraction beyond float64",
    "grad_output: None",
    "wrt: 'both'",
    "curvature: 'hess'",
)
FORMS_OF_PAIRS = ("float32", "lists", "float32 with float64")
PAIRS: dict[str, Options] = {
    f"{a} + {b}": FAULTS[a] | FAULTS[b]
    for a, b in itertools.combinations(KINDS, 2)
    if not FAULTS[a].keys() & FAULTS[b].keys() and any(attempt(FAULTS[a] | FAULTS[b], entry, "float32") for entry in ENTRIES)
}

Said = str | dict[str, list[str]]


def said_of(fault: Options, forms: Any) -> Said:
    """What is said of a fault whichever way it comes; or each text with the ways that have it, the most frequent one with none."""
    ways = {(entry, form): attempt(fault, entry, form) for entry in ENTRIES for form in forms}
    texts = {way: outcome(call) for way, call in ways.items() if call is not None}
    counts = collections.Counter(texts.values())
    usual = max(sorted(counts), key=counts.__getitem__)
    if len(counts) == 1:
        return usual
    found: dict[str, list[str]] = {usual: []}
    for text in sorted(counts.keys() - {usual}):
        left, patterns = {way for way in texts if texts[way] == text}, []
        for place in (0, 1):  # an entry in all of its forms, a form in all of its entries
            for name in dict.fromkeys(way[place] for way in texts):
                here = {way for way in texts if way[place] == name}
                if here <= left:
                    patterns.append(name)
                    left -= here
        found[text] = [*patterns, *(f"{entry}, {form}" for entry, form in ways if (entry, form) in left)]
    return found


# Everything else --------------------------------------------------------------------------------------------------------

Case = Callable[[], object]
CASES: dict[str, dict[str, Case]] = {}
# Packages without which a section cannot be had.
NEEDED = {
    "scikit-learn": ("scipy", "sklearn"),
    "command line": ("click", "rich", "duckdb", "nanoarrow", "matplotlib", "scipy", "pyarrow"),
    "processes": ("click", "scipy", "sklearn"),
}


# Settings ---------------------------------------------------------------------------------------------------------------

HUGE = {
    "10**400": 10**400,
    "-10**400": -(10**400),
    "10**5000": 10**5000,
    "a Fraction": Fraction(10**400),
    "a Fraction of 5001 digits": Fraction(10**5000),
    "an array": np.array([10**400]),
}
NO_PARAMETERS = {
    "'1'": "1",
    "b'1'": b"1",
    "None": None,
    "two": [1.0, 2.0],
    "an array of two": np.array([1.0, 2.0]),
    "an empty array": np.array([]),
    "an array with a bad element": np.array([[0.5, 0.25], [-1.0, 0.5]]),
    "a list with None": [1.0, None],
    "ragged": [[1.0], [1.0, 0.5]],
    "a masked array": np.ma.array([1.0, 0.5], mask=[True, False]),
    "too many": np.linspace(0.25, 0.75, 5000),
    "complex": 1j,
    "an object": Nothing(),
    "a dict": {},
    "a list of str": ["1"],
    "long": "x" * 1000,
    "unprintable": Unprintable(),
    "broken": Broken(),
}


def _settings() -> Iterator[tuple[str, Case]]:
    for name, cls in LOSSES.items():
        own = cls.parameter_name
        if own is None:
            continue
        function, backward = getattr(cylosses, f"{name}_loss"), getattr(cylosses, f"{name}_loss_backward")
        for value in (-1.0, -0.0, 0.0, 1.0, 1.5, float("inf"), float("nan"), np.float32(-2), np.array([-3.0]), True):
            yield f"{name}: {own}={value!r}", lambda cls=cls, own=own, value=value: cls(**{own: value})
        for what, value in (NO_PARAMETERS | HUGE).items():
            yield f"{name}: {own} is {what}", lambda cls=cls, own=own, value=value: cls(**{own: value})
        for value in (1e-300, 1e300):
            setting = {own: value}
            calls = {
                "function": lambda f=function, s=setting: f(X, T, **s),
                "function of float64": lambda f=function, s=setting: f(X.astype(np.float64), T, **s),
                "backward": lambda f=backward, s=setting: f(1.0, X, T, **s),
                "call of lists": lambda cls=cls, s=setting: cls(**s)(X.tolist(), T.tolist()),
                "call of float16": lambda cls=cls, s=setting: cls(**s)(X.astype(np.float16), T),
                "grad": lambda cls=cls, s=setting: cls(**s).grad(X, T, weight=W),
                "value_and_grad": lambda cls=cls, s=setting: cls(**s).value_and_grad(X, T[:1]),
                "grad_and_hess": lambda cls=cls, s=setting: cls(**s).grad_and_hess(X, T),
                "update": lambda cls=cls, s=setting: cls(**s).streaming().update(X, T),
            }
            for way, call in calls.items():
                yield f"{name}: {own}={value!r}, {way}", call
    yield "reduction: unknown", lambda: L1Loss(reduction="median")
    yield "reduction: unknown, of a loss without flags", lambda: HuberLoss("median")
    yield "reduction: 10**5000", lambda: HuberLoss(10**5000)
    yield "reduction and beta are wrong", lambda: SmoothL1Loss(reduction="median", beta=-1.0)
    for cls in (SmoothL1Loss, L1Loss, MSELoss):
        function = getattr(cylosses, f"{cls.name}_loss")
        for flags in itertools.product((None, True, False), repeat=2):
            if flags == (None, None):
                continue
            yield f"{cls.__name__}{flags}", lambda cls=cls, flags=flags: cls(*flags)
            yield f"{cls.name}_loss{flags}", lambda f=function, flags=flags: f(X, T, *flags)
        for name, flag in itertools.product(("size_average", "reduce"), (3, 0.0, "sum", np.bool_(False), np.array(True), [True])):
            if not (name == "size_average" and isinstance(flag, str)):
                yield f"{cls.__name__}: {name}={flag!r}", lambda cls=cls, s={name: flag}: cls(**s)
            yield f"{cls.name}_loss: {name}={flag!r}", lambda f=function, s={name: flag}: f(X, T, **s)
        yield f"{cls.__name__}: reduction twice", lambda cls=cls: cls("sum", reduction="none")
        yield f"{cls.__name__}: reduction twice, the same", lambda cls=cls: cls("sum", reduction="sum")
        yield f"{cls.__name__}: third is unknown", lambda cls=cls: cls("median")
        yield f"{cls.name}_loss: reduction twice", lambda f=function: f(X, T, "sum", reduction="none")
        yield f"{cls.name}_loss: third is unknown", lambda f=function: f(X, T, "median")
        yield f"{cls.name}_loss: flag with an unknown reduction", lambda f=function: f(X, T, True, reduction="median")
        yield f"{cls.__name__}: third and a flag", lambda cls=cls: cls("sum", False)
    given_twice: dict[str, tuple[tuple[Any, ...], Options]] = {
        "beta in options and by name": (({"beta": 0.5},), {"beta": 2.0}),
        "reduction in options and by name": (({"reduction": "sum"},), {"reduction": "none"}),
        "beta in place and in options": ((None, None, "sum", 0.5, {"beta": 2.0}), {}),
        "reduction in place and in options": ((None, None, "sum", 0.5, {"reduction": "none"}), {}),
        "reduction third and by name": (("sum",), {"reduction": "none"}),
        "beta fourth and by name": (("sum", 0.5), {"beta": 2.0}),
        "beta fourth and in options": (("sum", 0.5), {"options": {"beta": 2.0}}),
        "reduction third and in options": (("sum",), {"options": {"reduction": "none"}}),
        "beta in two options": (({"beta": 0.5},), {"options": {"beta": 2.0}}),
        "size_average in place and in options": ((True,), {"options": {"size_average": False}}),
        "reduce in place and in options": ((None, False, "mean", 1.0, {"reduce": True}), {}),
        "beta three times": (({"beta": 0.5},), {"beta": 2.0, "options": {"beta": 3.0}}),
        "beta that is huge": (({"beta": 1.0},), {"beta": -(10**5000)}),
        "beta that is unprintable": (({"beta": 1.0},), {"beta": Unprintable()}),
        "beta, the same": (({"beta": 0.5},), {"beta": np.float32(0.5)}),
    }
    for what, (args, options) in given_twice.items():
        yield f"given twice: {what}", lambda args=args, options=options: smooth_l1(X, T, *args, **options)
    for value in ([("beta", 1.0)], 3, "beta", ("beta",), np.float64(1)):
        yield f"options: {value!r}", lambda value=value: smooth_l1(X, T, options=value)
        yield f"options in place: {value!r}", lambda value=value: smooth_l1(X, T, None, None, "mean", 1.0, value)
    for key in ("delta", "size-average", "Beta", 3, None):
        yield f"options: key {key!r}", lambda key=key: smooth_l1(X, T, options={key: 1.0})
        yield f"options third: key {key!r}", lambda key=key: smooth_l1(X, T, {key: 1.0})
    for key, value in (("reduction", "median"), ("reduction", None), ("beta", -1.0), ("beta", "1"), ("beta", None),
                       ("size_average", "sum"), ("size_average", 3), ("reduce", "x"), ("size_average", False), ("reduce", False),
                       ("reduce", True)):  # fmt: skip
        yield f"options: {key}={value!r}", lambda s={key: value}: smooth_l1(X, T, options=s)
        yield f"options third: {key}={value!r}", lambda s={key: value}: smooth_l1(X, T, s)
    yield "options: everything wrong", lambda: smooth_l1(X, T, {"size_average": 3, "beta": -1.0, "reduction": "median"})
    yield "third a str, fourth no beta", lambda: smooth_l1(X, T, "sum", "x")
    yield "third a str, fourth a negative beta", lambda: smooth_l1(X, T, "sum", -1.0)
    yield "third a number", lambda: smooth_l1(X, T, 0.5)
    for value in (0, -3, 1.5, True, "2", np.float64(1), [1], -(10**5000)):
        text = "-10**5000" if type(value) is int and value < -(10**9) else repr(value)
        yield f"set_num_threads: {text}", lambda value=value: cylosses.set_num_threads(value)
    yield "attribute of the package", lambda: cylosses.smooth_l2_loss


CASES["settings"] = dict(_settings())


def _set(thing: object, name: str, value: object) -> None:
    setattr(thing, name, value)


class Derived(HuberLoss):
    __slots__ = ()


def _subclass(*bases: type, **body: Any) -> type:
    return type("New", bases, {"__slots__": (), **body})


CASES["losses"] = {
    "set the parameter": lambda: _set(SmoothL1Loss(), "beta", 2.0),
    "set the reduction": lambda: _set(L1Loss(), "reduction", "sum"),
    "set something": lambda: _set(Derived(), "anything", 1),
    "delete the parameter": lambda: delattr(SmoothL1Loss(), "beta"),
    "delete the reduction": lambda: delattr(Derived(), "reduction"),
    "subclass of Loss without a row": lambda: _subclass(Loss),
    "subclass of Loss with a row that there is not": lambda: _subclass(Loss, _code=63, accepted=(0.0, 1.0), name="new"),
    "subclass of Loss with a row out of range": lambda: _subclass(Loss, _code=-1, accepted=(0.0, 1.0), name="new"),
    "subclass of Loss with another's row": lambda: _subclass(Loss, _code=0, accepted=(0.0, 1.0), name="new"),
    "subclass of a loss with another row": lambda: _subclass(HuberLoss, _code=0),
    "subclass of a loss with another interval": lambda: _subclass(HuberLoss, accepted=(0.0, 1.0)),
    "subclass of a loss with another parameter": lambda: _subclass(HuberLoss, parameter_name="delta2"),
    "subclass of a subclass with another row": lambda: _subclass(Derived, _code=0),
}

# Totals -----------------------------------------------------------------------------------------------------------------


def _total(loss: Loss | None = None, x: Any = (1.0, 2.0), t: Any = (4.0, 4.0), **options: Any) -> StreamingLoss:
    total = (loss or L1Loss()).streaming()
    total.update(list(x), list(t), **options)
    return total


def _columns(axis: Any, *shapes: tuple[int, ...]) -> StreamingLoss:
    total = L1Loss().streaming(axis=axis)
    for shape in shapes:
        total.update(np.ones(shape), np.zeros(shape))
    return total


def _full() -> StreamingLoss:
    return StreamingLoss.from_bytes(written("l1", 1, 2**63 - 1, 2**63 - 1, parameter=0.0))


@contextlib.contextmanager
def without(module: str) -> Iterator[None]:
    """Make the import of a module fail."""
    before = sys.modules.get(module)
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if before is None:
            del sys.modules[module]
        else:
            sys.modules[module] = before


def _read_without_ml_dtypes() -> None:
    with without("ml_dtypes"):
        StreamingLoss.from_bytes(written("l1", 1, 1, 1, dtype=2, parameter=0.0))


CASES["totals"] = {
    "of no loss": lambda: StreamingLoss("l1"),
    "of a class": lambda: StreamingLoss(L1Loss),
    "of none": lambda: StreamingLoss(L1Loss(reduction="none")),
    "of none, by the method": lambda: SmoothL1Loss(reduction="none").streaming(),
    **{f"over axis {axis!r}": lambda axis=axis: L1Loss().streaming(axis=axis)
       for axis in ("0", 0.5, [0, 1], (0, None), (1, 1), 64, -65, 10**100)},
    "by slice: axis out of bounds": lambda: _columns(2, (2, 3)),
    "by slice: axes that are one": lambda: _columns((1, -1), (2, 3)),
    "by slice: another kept length": lambda: _columns(0, (4, 3), (4, 2)),
    "by slice: another number of dimensions": lambda: _columns(0, (4, 3), (4,)),
    "by slice: merge with another kept length": lambda: _columns((0, 2), (4, 3, 5)).merge(_columns((0, 2), (4, 2, 5))),
    "by slice: merge over another axis": lambda: _columns(0, (4, 3)).merge(_columns(1, (4, 3))),
    "by slice: merge of all elements": lambda: _columns(0, (4, 3)).merge(_total()),
    "by slice: merge into one of all elements": lambda: _total().merge(_columns((0, 1), (4, 3))),
    "by slice: exact mean of no piece": lambda: _columns(0).exact(),
    "merge with no total": lambda: _total().merge(3),
    "merge with another loss": lambda: _total().merge(_total(MSELoss())),
    "merge with another reduction": lambda: _total().merge(_total(L1Loss(reduction="sum"))),
    "merge with another parameter": lambda: _total(SmoothL1Loss()).merge(_total(SmoothL1Loss(beta=float("inf")))),
    "merge beyond 2**63 - 1": lambda: _full().merge(_full()),
    "update beyond 2**63 - 1": lambda: _full().update([1.0, 2.0], [4.0, 4.0]),
    "exact mean of nothing": lambda: L1Loss().streaming().exact(),
    "exact sum of nothing": lambda: L1Loss(reduction="sum").streaming().exact(),
    "exact mean of inf": lambda: _total(x=(np.inf, 1.0)).exact(),
    "exact mean of NaN": lambda: _total(x=(np.nan, 1.0)).exact(),
    "exact sum of inf": lambda: _total(L1Loss(reduction="sum"), x=(np.inf, 1.0)).exact(),
    "exact mean of weight 0": lambda: _total(weight=[0.0, 0.0]).exact(),
    "bytes of a loss outside of the registry": lambda: _total(Derived()).to_bytes(),
    **{f"from_bytes: {type(other).__name__}": lambda other=other: StreamingLoss.from_bytes(other)
       for other in (None, "state", 3, [1, 2], np.zeros(3))},
    "from_bytes: nothing": lambda: StreamingLoss.from_bytes(b""),
    "from_bytes: something else": lambda: StreamingLoss.from_bytes(b"PK\x03\x04"),
    "from_bytes: less than the magic bytes": lambda: StreamingLoss.from_bytes(b"\x93CYL"),
    "from_bytes: another version": lambda: StreamingLoss.from_bytes(b"\x93CYLOSS\x04"),
    "from_bytes: cut": lambda: StreamingLoss.from_bytes(written()[:40]),
    "from_bytes: cut by one": lambda: StreamingLoss.from_bytes(written()[:-1]),
    "from_bytes: too long": lambda: StreamingLoss.from_bytes(written() + b"\n"),
    "from_bytes: damaged": lambda: StreamingLoss.from_bytes(written()[:-1] + b"\0"),
    "from_bytes: bfloat16 without its package": _read_without_ml_dtypes,
    "from_bytes: header by slice is cut": lambda: StreamingLoss.from_bytes(b"\x93CYLOSS\x02"),
    **{f"from_bytes: {what}": lambda blob=blob: StreamingLoss.from_bytes(blob) for what, (blob, _) in FORGED.items()},
    **{f"from_bytes, by slice: {what}": lambda blob=blob: StreamingLoss.from_bytes(blob)
       for what, (blob, _) in FORGED_SLICES.items()},
}  # fmt: skip

# The C level ------------------------------------------------------------------------------------------------------------


def _status(number: int) -> None:
    from cylosses import capi

    message = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_int)(capi.addresses["status_message"])(number)
    raise Refused(message.decode())


CASES["C level"] = {f"status {number}": lambda number=number: _status(number) for number in range(-1, 11)}

# Boosting ---------------------------------------------------------------------------------------------------------------


class Dataset:
    """What a booster's own interface passes: labels and weights."""

    def __init__(self, label: Any, weight: Any = None) -> None:
        self.get_label, self.get_weight = lambda: label, lambda: weight


def _boosting() -> Iterator[tuple[str, Case]]:
    from cylosses.boosting import Metric, Objective, robust_scale

    scales: dict[str, tuple[Any, ...]] = {
        "matrix": ([[1.0, 2.0]],),
        "number": (1.0,),
        "nothing": ([],),
        "NaN": ([1.0, float("nan")],),
        "infinite": ([1.0, float("inf")],),
        "weight of another length": ([1.0, 2.0], [1.0]),
        "negative weight": ([1.0, 2.0], [1.0, -1.0]),
        "NaN as weight": ([1.0, 2.0], [1.0, float("nan")]),
        "weights of 0": ([1.0, 2.0], [0.0, 0.0]),
        "infinite of weight 0": ([1.0, float("inf")], [1.0, 0.0]),
    }
    for what, arguments in scales.items():
        yield f"robust_scale: {what}", lambda a=arguments: robust_scale(*a)
        if what != "matrix":
            yield f"initial_score: {what}", lambda a=arguments: Objective("l1").initial_score(*a)
    yield "initial_score: three axes", lambda: Objective("l1").initial_score(np.ones((1, 1, 1)))
    settings: dict[str, Options] = {
        "unknown loss": {"loss": "huber2"},
        "no name": {"loss": 3},
        "a loss object": {"loss": HuberLoss()},
        "parameter of another loss": {"loss": "huber", "beta": 1.0},
        "parameter of a loss without": {"loss": "l1", "beta": 1.0},
        "parameter that is a str": {"loss": "huber", "delta": "big"},
        "parameter out of range": {"loss": "huber", "delta": -1.0},
        "parameter that is None": {"loss": "huber", "delta": None},
        "q of auto": {"loss": "quantile", "q": "auto"},
        "q out of range": {"loss": "quantile", "q": 2.0},
        **{f"scale {value!r}": {"loss": "huber", "scale": value}
           for value in (0, -1.0, float("nan"), float("inf"), "big", True, None, [1.0, 2.0], 1j)},
    }  # fmt: skip
    for what, setting in settings.items():
        yield f"Objective: {what}", lambda s=setting: Objective(**s)
        yield f"Metric: {what}", lambda s=setting: Metric(**s)
    for value in ("hess", None, 1):
        yield f"Objective: curvature {value!r}", lambda value=value: Objective("huber", curvature=value)
        yield f"Metric: booster {value!r}", lambda value=value: Metric("huber", booster=value)
    yield "Objective: curvature and loss", lambda: Objective("huber2", curvature="hess")
    yield "metric of an unknown booster", lambda: Objective().metric("sklearn")
    batches: dict[str, tuple[Any, ...]] = {
        "shapes": ([1.0, 2.0], [1.0, 2.0, 3.0]),
        "column and row": (np.ones((3, 1)), np.ones((1, 3))),
        "three axes": (np.ones((1, 1, 1)), np.ones((1, 1, 1))),
        "numbers": (1.0, 2.0),
        "weight": ([1.0, 2.0], [1.0, 3.0], [1.0]),
        "weight matrix": ([1.0, 2.0], [1.0, 3.0], [[1.0, 2.0]]),
        "negative weight": ([1.0, 2.0], [1.0, 3.0], [1.0, -1.0]),
        "complex": (np.array([1.0, 2.0]), np.array([1j, 2.0])),
        "masked": (np.ma.masked_array([1.0, 2.0]), np.ones(2)),
        "native shapes": (np.ones(3), Dataset(np.ones(2))),
        "native weight": (np.ones(2), Dataset(np.ones(2), np.ones(3))),
        "infinite target": ([1.0, float("inf")], [1.0, 3.0]),
    }
    for what, batch in batches.items():
        for scale in ("auto", 1.0):
            yield f"Objective of scale {scale}: {what}", lambda b=batch, s=scale: Objective("huber", scale=s)(*b)
            yield f"Metric of scale {scale}: {what}", lambda b=batch, s=scale: Metric("huber", scale=s)(*b)
    yield "Objective for CatBoost without a scale", lambda: Objective("huber").calc_ders_range([1.0], [2.0], None)
    yield "Metric for CatBoost without a scale", lambda: Metric("huber", "catboost").evaluate([[1.0]], [2.0], None)
    yield "CatBoost: two predictions a row", lambda: Metric("l1", "catboost").evaluate([[1.0], [1.0]], [2.0], None)
    yield "CatBoost: shapes", lambda: Objective("huber", scale=1.0).calc_ders_range([1.0], [2.0, 3.0], None)
    yield "CatBoost: weights", lambda: Metric("l1", "catboost").evaluate([[1.0, 2.0]], [2.0, 3.0], [1.0])
    yield "for_targets", lambda: Objective("huber").for_targets([])
    yield "set", lambda: _set(Objective(), "loss", "l1")
    yield "set of a metric", lambda: _set(Metric(), "booster", "xgboost")
    yield "delete", lambda: delattr(Objective(), "loss")
    yield "delete of a metric", lambda: delattr(Metric(), "loss")


CASES["boosting"] = dict(_boosting())

# SciPy ------------------------------------------------------------------------------------------------------------------


def _scipy() -> Iterator[tuple[str, Case]]:
    from cylosses.scipy import objective, rho

    losses: dict[str, Any] = {"name": "huber2", "class": HuberLoss, "number": 3, "asymmetric": QuantileLoss(q=0.25)}
    for what, loss in losses.items():
        yield f"rho: {what}", lambda loss=loss: rho(loss)
        yield f"objective: {what}", lambda loss=loss: objective(loss, np.asarray)
    yield "rho: negative", lambda: rho("huber")([1.0, -1.0])
    yield "objective: reduction", lambda: objective(HuberLoss("none"), np.asarray)
    yield "objective: residuals", lambda: objective("huber", np.ones(2))
    yield "objective: Jacobian", lambda: objective("huber", np.asarray, np.ones((2, 2)))
    returned: dict[str, tuple[Any, ...]] = {
        "matrix": (np.ones((2, 2)), None, None),
        "complex": (np.ones(2, complex), None, None),
        "weight": (np.ones(2), None, [1.0]),
        "negative weight": (np.ones(2), None, [1.0, -1.0]),
        "Jacobian of another shape": (np.ones(2), np.ones((2, 2)), None),
        "complex Jacobian": (np.ones(2), np.ones((2, 3), complex), None),
    }
    for what, (errors, matrix, weight) in returned.items():
        jacobian = None if matrix is None else lambda x, matrix=matrix: matrix
        fun = objective("huber", lambda x, errors=errors: errors, jacobian, weight=weight)
        yield f"objective at a point: {what}", lambda fun=fun: fun(np.ones(3))


CASES["scipy"] = dict(_scipy())

# scikit-learn -----------------------------------------------------------------------------------------------------------

ROWS = np.arange(20.0).reshape(10, 2) % 7
TARGETS = np.arange(10.0) % 3


def _fit(*data: Any, **setting: Any) -> Any:
    from cylosses.sklearn import SmoothL1Regressor

    return SmoothL1Regressor(**setting).fit(*(data or (ROWS, TARGETS)))


def _fit_sparse_target() -> None:
    from scipy.sparse import csr_array

    _fit(ROWS, csr_array(TARGETS[:, None]))


def _fit_again() -> None:
    model = _fit(warm_start=True)
    model.fit(ROWS[:, :1], TARGETS)


def _error(*data: Any, **setting: Any) -> Any:
    from cylosses.sklearn import mean_huber_error

    return mean_huber_error(*data, **setting)


TWO = np.ones((3, 2))
CASES["scikit-learn"] = {
    **{f"fit: loss {value!r}": lambda value=value: _fit(loss=value)
       for value in ("huber2", "tukey", 3, None, L1Loss, L1Loss(reduction="sum"), LOSSES["tukey"]())},
    **{f"fit: {name}={value!r}": lambda s={name: value}: _fit(**s)
       for name in ("alpha", "tol") for value in (-1.0, float("nan"), float("inf"), "1", None, True, 1j)},
    **{f"fit: {name}={value!r}": lambda s={name: value}: _fit(**s)
       for name in ("max_iter", "n_threads") for value in (0, -3, 1.0, "1", True)},
    "fit: max_iter=None": lambda: _fit(max_iter=None),
    "fit: beta=-1.0": lambda: _fit(beta=-1.0),
    "fit: beta='1'": lambda: _fit(beta="1"),
    "fit: beta of another loss": lambda: _fit(loss="huber", beta=2.0),
    "fit: beta of a loss object": lambda: _fit(loss=SmoothL1Loss(beta=3.0), beta=2.0),
    "fit: sparse targets": _fit_sparse_target,
    "fit: weights of another length": lambda: _fit(ROWS, TARGETS, np.ones(9)),
    "fit: matrix of weights": lambda: _fit(ROWS, TARGETS, np.ones((10, 1))),
    "fit: negative weights": lambda: _fit(ROWS, TARGETS, -np.ones(10)),
    "fit: a negative weight": lambda: _fit(ROWS, TARGETS, -2),
    "fit: weights of 0": lambda: _fit(ROWS, TARGETS, np.zeros(10)),
    "fit: weight 0": lambda: _fit(ROWS, TARGETS, 0.0),
    "fit: huge targets": lambda: _fit(ROWS, TARGETS * 8e307),
    "fit: huge squares": lambda: _fit(ROWS, TARGETS * 1e200, loss="mse"),
    "fit: other shapes at a warm start": _fit_again,
    "fit: max_iter=1": lambda: _fit(max_iter=1),
    "fit: tol=0": lambda: _fit(loss="mse", tol=0),
    "metric: outputs": lambda: _error(TWO, np.ones((3, 1))),
    "metric: weights of another shape": lambda: _error(TWO, TWO, sample_weight=np.ones((3, 1))),
    "metric: negative weights": lambda: _error(TWO, TWO, sample_weight=-np.ones(3)),
    "metric: weights of 0": lambda: _error(TWO, TWO, sample_weight=np.zeros(3)),
    "metric: unknown multioutput": lambda: _error(TWO, TWO, multioutput="median"),
    "metric: multioutput of another shape": lambda: _error(TWO, TWO, multioutput=[1.0]),
    "metric: negative multioutput": lambda: _error(TWO, TWO, multioutput=[1.0, -1.0]),
    "metric: multioutput of 0": lambda: _error(TWO, TWO, multioutput=[0.0, 0.0]),
    "metric: parameter": lambda: _error(TWO, TWO, delta=-1.0),
}  # fmt: skip

# The command line -------------------------------------------------------------------------------------------------------


@functools.cache
def folder() -> Path:
    """A folder with all files that the command line is given."""
    here = Path(tempfile.mkdtemp()).resolve()
    atexit.register(shutil.rmtree, here, ignore_errors=True)

    def npy(name: str, array: Any, **options: Any) -> None:
        np.save(here / name, array, **options)

    npy("a.npy", X)
    npy("b.npy", T)
    npy("row.npy", T[0])
    npy("objects.npy", np.array([1, None]), allow_pickle=True)
    npy("complex.npy", X.astype(complex))
    npy("twos.npy", W)
    npy("negative.npy", -W)
    npy("integers.npy", np.full((2, 3), 2**53 + 1))
    (here / "cut.npy").write_bytes((here / "a.npy").read_bytes()[:-3])
    (here / "damaged.npy").write_bytes(b"\x93NUMPY\x07\x00v\x00")
    (here / "text.npy").write_text("1, 2, 3")
    header = (here / "a.npy").read_bytes()
    (here / "shape.npy").write_bytes(header.replace(b"(2, 3)", b"(-2,3)"))
    np.savez(here / "two.npz", x=X, y=T)
    np.savez(here / "objects.npz", x=np.array([1, None]))
    (here / "damaged.npz").write_bytes(b"no archive")
    for name, text in TEXTS.items():
        (here / f"{name}.csv").write_text(text, newline="")
    (here / "t.tsv").write_text("x\ty\n1\t2\n")
    for name in ("folder.npy", "folder.csv", "folder.state"):
        (here / name).mkdir()
    (here / "file.xyz").touch()
    state = _total(SmoothL1Loss(), np.float32([1.25]), np.float32([0]))
    (here / "s.state").write_bytes(state.to_bytes())
    (here / "other.state").write_bytes(L1Loss().streaming().to_bytes())
    for name, axis in (("columns", 0), ("rows", 1)):
        (here / f"{name}.state").write_bytes(_columns(axis, (2, 3)).to_bytes())
    for name in ("full", "full2"):
        (here / f"{name}.state").write_bytes(_full().to_bytes())
    (here / "cut.state").write_bytes(state.to_bytes()[:40])
    (here / "forged.state").write_bytes(FORGED["unknown loss"][0])
    columns = {"x": [1.0, None, 3.0], "word": ["a", "b", "c"]}
    import_module("pyarrow.parquet").write_table(import_module("pyarrow").table(columns), here / "p.parquet")
    return here


TEXTS = {
    "t": "x,y\n1,2\n3,4\n",
    "one": "x\n1\n2\n",
    "twice": "x,x\n1,2\n",
    "nothing": "",
    "word": "x,y\n1,2\n3,abc\n",
    "cell": "x,y\n1,2\n3, \n",
    "blank": "x\n1\n\n2\n",
    "many": ",".join(f"c{i}" for i in range(50)) + "\n",
    "masks": "x\n0\n2\n",
}


def _command(*arguments: str) -> None:
    """Run the command line in the folder; what it refuses is raised with its words."""
    from cylosses.__main__ import main

    here, before = Path.cwd(), sys.argv
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))}
    printed, said = io.StringIO(), io.StringIO()
    os.chdir(folder())
    sys.argv = ["cylosses", *arguments]
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
            code = main()
    finally:
        os.chdir(here)
        sys.argv = before
        for number, handler in kept.items():
            signal.signal(number, handler)
    if code:
        raise Refused(f"{code}, {said.getvalue().strip().replace(repr(str(folder()))[1:-1], '<folder>')}{printed.getvalue()}")


REFUSED: dict[str, tuple[str, ...]] = {
    "unknown kind": ("score", "file.xyz", "b.npy"),
    "no suffix": ("score", "b", "b.npy"),
    "missing": ("score", "no.npy", "b.npy"),
    "missing text": ("score", "no.csv:x", "b.npy"),
    "missing archive": ("score", "no.npz:x", "b.npy"),
    "folder": ("score", "folder.npy", "b.npy"),
    "folder as text": ("score", "folder.csv:x", "b.npy"),
    "npy: cut": ("score", "cut.npy", "b.npy"),
    "npy: version": ("score", "damaged.npy", "b.npy"),
    "npy: text": ("score", "text.npy", "b.npy"),
    "npy: negative shape": ("score", "shape.npy", "b.npy"),
    "npy: objects": ("score", "objects.npy", "b.npy"),
    "npy: complex": ("score", "complex.npy", "b.npy"),
    "npz: no name": ("score", "two.npz", "b.npy"),
    "npz: another name": ("score", "two.npz:z", "b.npy"),
    "npz: damaged": ("score", "damaged.npz:x", "b.npy"),
    "npz: objects": ("score", "objects.npz", "b.npy"),
    "table: another column": ("score", "t.csv", "x", "z"),
    "table: an array": ("score", "a.npy", "x", "y"),
    "table: word": ("score", "word.csv", "x", "y"),
    "table: empty cell": ("score", "cell.csv", "x", "y"),
    "table: no file": ("score", "no-*.csv", "x", "y"),
    "table: unknown encoding": ("score", "t.csv", "x", "y", "--encoding", "no-such"),
    "rows of two tables": ("score", "t.csv:x", "many.csv:c1"),
    "on one table": ("score", "t.csv", "x", "y", "--on", "x"),
    "on: unmatched": ("score", "t.csv:y", "one.csv:x", "--on", "x"),
    "by and arrays": ("score", "a.npy", "b.npy", "--by", "x"),
    "by and gradients": ("score", "t.csv", "x", "y", "--by", "x", "--grad", "g.npy"),
    "how without on": ("score", "t.csv", "x", "y", "--how", "inner"),
    "losses: unknown": ("score", "t.csv", "x", "y", "--loss", "hubble"),
    "losses: another parameter": ("score", "t.csv", "x", "y", "--loss", "huber:beta=1"),
    "losses: no number": ("score", "t.csv", "x", "y", "--loss", "huber:delta=x"),
    "losses: twice": ("score", "t.csv", "x", "y", "--loss", "mse", "--loss", "mse"),
    "losses: a gradient": ("score", "t.csv", "x", "y", "--loss", "mse", "--loss", "l1", "--grad", "g.npy"),
    "losses: a file of values": ("score", "t.csv", "x", "y", "--loss", "mse", "--loss", "l1", "--out", "g.npy"),
    "losses: an axis": ("score", "t.csv", "x", "y", "--loss", "mse", "--loss", "l1", "--axis", "0"),
    "losses: of each pair": ("score", "t.csv", "x", "y", "--loss", "mse", "--loss", "l1", "--reduction", "none"),
    "plot: another kind of file": ("score", "t.csv", "x", "y", "--plot", "plot.pdf"),
    "losses: whose parameter": ("score", "t.csv", "x", "y", "--loss", "huber", "--loss", "huber:delta=2", "--delta", "1"),
    "threshold: no number": ("score", "t.csv", "x", "y", "--fail-above", "x"),
    "threshold: another loss": ("score", "t.csv", "x", "y", "--fail-above", "mse=1"),
    "threshold: exceeded": ("score", "t.csv", "x", "y", "--fail-above", "0.1"),
    "csv: no name": ("score", "t.csv", "t.csv"),
    "csv: another name": ("score", "t.csv:z", "t.csv:x"),
    "csv: empty name": ("score", "t.csv:", "t.csv:x"),
    "csv: name twice": ("score", "twice.csv:x", "t.csv:x"),
    "csv: nothing": ("score", "nothing.csv", "t.csv:x"),
    "csv: nothing, with a name": ("score", "nothing.csv:x", "t.csv:x"),
    "csv: word": ("score", "word.csv:y", "t.csv:x"),
    "csv: empty cell": ("score", "cell.csv:y", "t.csv:x"),
    "csv: blank line": ("score", "blank.csv", "t.csv:x"),
    "csv: many columns": ("score", "many.csv:x", "t.csv:x"),
    "tsv: no name": ("score", "t.tsv", "t.csv:x"),
    "parquet: no name": ("score", "p.parquet", "t.csv:x"),
    "parquet: another name": ("score", "p.parquet:z", "t.csv:x"),
    "parquet: null": ("score", "p.parquet:x", "p.parquet:x"),
    "parquet: words": ("score", "p.parquet:word", "p.parquet:x"),
    "shapes": ("score", "a.npy", "row.npy"),
    "shape of weights": ("score", "a.npy", "b.npy", "--weight", "row.npy"),
    "shape of a mask": ("score", "a.npy", "b.npy", "--where", "row.npy"),
    "mask": ("score", "a.npy", "b.npy", "--where", "twos.npy"),
    "mask as text": ("score", "one.csv", "one.csv", "--where", "masks.csv"),
    "negative weights": ("score", "a.npy", "b.npy", "--weight", "negative.npy"),
    "negative weights, with a gradient": ("score", "a.npy", "b.npy", "--weight", "negative.npy", "--grad", "g.npy"),
    "negative weights, losses": ("score", "a.npy", "b.npy", "--weight", "negative.npy", "--reduction", "none", "--out", "o.npy"),
    "weights above 2**53": ("score", "a.npy", "b.npy", "--weight", "integers.npy"),
    "parameter of another loss": ("score", "a.npy", "b.npy", "--delta", "1"),
    "parameter of a loss without": ("score", "a.npy", "b.npy", "--loss", "mse", "--beta", "1"),
    "beta": ("score", "a.npy", "b.npy", "--beta", "-1"),
    "delta": ("score", "a.npy", "b.npy", "--loss", "huber", "--delta", "nan"),
    "delta that float32 does not hold": ("score", "a.npy", "b.npy", "--loss", "huber", "--delta", "1e-300"),
    "delta that float32 does not hold, losses":
        ("score", "a.npy", "b.npy", "--loss", "huber", "--delta", "1e-300", "--reduction", "none"),
    "state without a reduction": ("score", "a.npy", "b.npy", "--reduction", "none", "--state", "x.state"),
    "out: suffix": ("score", "a.npy", "b.npy", "--out", "x.txt"),
    "grad: suffix": ("score", "a.npy", "b.npy", "--grad", "x"),
    "state: suffix": ("score", "a.npy", "b.npy", "--state", "x.npy"),
    "out: folder": ("score", "a.npy", "b.npy", "--out", "folder.npy"),
    "state: folder": ("score", "a.npy", "b.npy", "--state", "folder.state"),
    "out: nowhere": ("score", "a.npy", "b.npy", "--out", "no/x.npy"),
    "grad: nowhere": ("score", "a.npy", "b.npy", "--grad", "no/x.npy"),
    "state: nowhere": ("score", "a.npy", "b.npy", "--state", "no/x.state"),
    "out and grad are one": ("score", "a.npy", "b.npy", "--out", "x.npy", "--grad", "./x.npy"),
    "out is an input": ("score", "a.npy", "b.npy", "--out", "./b.npy"),
    "grad is an input": ("score", "a.npy", "b.npy", "--grad", "a.npy"),
    "merge: out is an input": ("merge", "s.state", "--out", "s.state"),
    "merge: missing": ("merge", "no.state"),
    "merge: folder": ("merge", "folder.state"),
    "merge: no state": ("merge", "a.npy"),
    "merge: cut": ("merge", "cut.state"),
    "merge: forged": ("merge", "forged.state"),
    "merge: twice": ("merge", "s.state", "./s.state"),
    "merge: another loss": ("merge", "s.state", "other.state"),
    "merge: too many": ("merge", "full.state", "other.state", "full2.state"),
    "axis out of bounds": ("score", "a.npy", "b.npy", "--axis", "2"),
    "axis twice": ("score", "a.npy", "b.npy", "--axis", "1", "--axis", "-1"),
    "axis that is no number": ("score", "a.npy", "b.npy", "--axis", "0,1"),
    "axis without a reduction": ("score", "a.npy", "b.npy", "--axis", "0", "--reduction", "none"),
    "axis of a column": ("score", "t.csv:x", "t.csv:x", "--axis", "1"),
    "axis with negative weights": ("score", "a.npy", "b.npy", "--weight", "negative.npy", "--axis", "0", "--grad", "g.npy"),
    "merge: another axis": ("merge", "columns.state", "rows.state"),
    "merge: suffix": ("merge", "s.state", "--out", "x.npy"),
    "merge: nowhere": ("merge", "s.state", "--out", "no/x.state"),
    "demo: suffix": ("demo", "--output", "x.jpg"),
}  # fmt: skip


def _without_duckdb() -> None:
    with without("duckdb"):
        _command("score", "t.csv", "x", "y")


CASES["command line"] = {
    **{name: lambda arguments=arguments: _command(*arguments) for name, arguments in REFUSED.items()},
    "tables without DuckDB": _without_duckdb,
}

# Processes of their own -------------------------------------------------------------------------------------------------


def _process(statements: str, **variables: str) -> None:
    """Run statements; raise what they raise, or what they print to stderr."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CYLOSSES_")}
    path = {"PYTHONPATH": str(Path(cylosses.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", statements],
        env=environment | path | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Refused(f"{done.returncode}, {done.stderr.strip().splitlines()[-1]}")


def _blocked(module: str, statement: str) -> Case:
    return lambda: _process(f"import sys; sys.modules[{module!r}] = None\n{statement}")


RUN_COMMAND = "from cylosses.__main__ import main; sys.argv = ['cylosses', 'score', 'a.npy', 'b.npy']; sys.exit(main())"
CASES["processes"] = {
    "unknown instruction set": lambda: _process("import cylosses", CYLOSSES_ISA="avx9"),
    "scikit-learn is missing": _blocked("sklearn", "import cylosses.sklearn"),
    "SciPy is missing": _blocked("scipy", "import cylosses.sklearn"),
    "torch is missing": _blocked("torch", "import cylosses.torch"),
    "click is missing": _blocked("click", RUN_COMMAND),
}


# The table --------------------------------------------------------------------------------------------------------------

Table = dict[str, dict[str, Said]]


def names() -> list[tuple[str, str]]:
    """Section and name of every case."""
    calls = [*(("calls", name) for name in FAULTS), *(("two faults", name) for name in PAIRS)]
    return calls + [(section, name) for section, cases in CASES.items() for name in cases]


def said(section: str, name: str) -> Said:
    """What is said of a case."""
    if section == "calls":
        return said_of(FAULTS[name], FORMS)
    if section == "two faults":
        return said_of(PAIRS[name], FORMS_OF_PAIRS)
    return outcome(CASES[section][name])
