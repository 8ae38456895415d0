"""Whatever floating-point mode the calling thread is in, each call has the bits that it has in the default mode.

A mode is a direction of rounding, and whether subnormal results (FTZ) and operands (DAZ) count as 0. Other libraries set it: those
that were built with -ffast-math when they are loaded, numerical ones for a while. Everything public is called here in all 16 modes,
in the main thread and in a new one that has the mode, with worker threads where the data are large enough for them. Mode and status
flags must be what they were after each call.

Between setting a mode and putting the default back, nothing but the call may run: Python's own arithmetic, NumPy's, and comparisons
of floats follow the mode too. So inputs are made before, and results become bytes after.

``pytest -s tests/test_modes.py`` prints how many calls were compared.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import itertools
import platform
import struct
import threading
from collections import defaultdict

import numpy as np
import pytest
import scipy.sparse

import cylosses
from cylosses import LOSSES, HuberLoss, L1Loss, MSELoss, QuantileLoss, SmoothL1Loss, StreamingLoss, TukeyLoss, capi, sklearn
from cylosses._fit import design
from cylosses.boosting import Metric, Objective, robust_scale
from cylosses.sklearn import SmoothL1Regressor

from .c_level import FUNCTIONS
from .reference import accepts

pytestmark = [
    pytest.mark.skipif(
        platform.machine().lower() not in ("x86_64", "amd64") or platform.system() != "Linux",
        reason="sets the register MXCSR of x86-64 through the fenv_t of Linux",
    ),
    pytest.mark.thread_unsafe,
    pytest.mark.filterwarnings("ignore::cylosses.BroadcastWarning"),
]

# Setting a mode --------------------------------------------------------------------------------------------------------------

DEFAULT = 0x1F80  # round to nearest, keep subnormals, trap nothing; no status flag
FLAGS = 0x3F
# Says that an operand was subnormal. It is none of IEEE 754's flags, and Python itself sets it when it hands such a number to a
# function in C: it compares it with -1, which would stand for an error.
SUBNORMAL_OPERAND = 0x02
ROUNDINGS = {"nearest": 0, "downward": 1, "upward": 2, "to zero": 3}
MODES = {
    (rounding, ftz, daz): DEFAULT | number << 13 | ftz << 15 | daz << 6
    for (rounding, number), ftz, daz in itertools.product(ROUNDINGS.items(), (0, 1), (0, 1))
}

ENVIRONMENT = 32  # bytes of fenv_t: the state of the x87, and in the last four MXCSR
MXCSR = 28


class Register:
    """The floating-point environment of a thread, which only integers pass through."""

    def __init__(self):
        libm = ctypes.CDLL(ctypes.util.find_library("m"))
        self._get, self._set = libm.fegetenv, libm.fesetenv
        self._get.argtypes = self._set.argtypes = [ctypes.c_void_p]
        self._seen = ctypes.create_string_buffer(ENVIRONMENT)
        self._wanted = ctypes.create_string_buffer(ENVIRONMENT)

    def run(self, mode, call):
        """Return what a call returns in a mode, and the mode after it; the mode of before is put back."""
        get, put, seen, wanted = self._get, self._set, self._seen, self._wanted
        before = ctypes.create_string_buffer(ENVIRONMENT)
        gc.disable()  # hypothesis has a callback that takes the time of collections
        get(before)
        wanted.raw = before.raw[:MXCSR] + struct.pack("<I", mode)
        put(wanted)
        try:
            result = call()
            get(seen)
        finally:
            put(before)
            gc.enable()
        return result, struct.unpack("<I", seen.raw[MXCSR:])[0]


def in_new_thread(function, *arguments):
    """Return what a function returns in a thread of its own."""
    results, errors = [], []

    def work():
        try:
            results.append(function(*arguments))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def as_bytes(result):
    """What a call returned, as bytes and such: for comparisons that see every bit."""
    if isinstance(result, np.ndarray | np.generic):
        return type(result).__name__, result.dtype.str, result.shape, result.tobytes()
    if isinstance(result, float):
        return "float", struct.pack("<d", result)
    if isinstance(result, tuple | list):
        return [as_bytes(part) for part in result]
    assert isinstance(result, bool | int | str | bytes | type(None)), type(result)
    return result


# The calls -------------------------------------------------------------------------------------------------------------------

CALLS = {}
"""By name: functions without arguments, which do no arithmetic of their own. Names begin with the part of the package."""


def add(name, call):
    assert name not in CALLS
    CALLS[name] = call


RNG = np.random.default_rng(20261127)
N = 37
LARGE = 400_000  # elements: two threads are woken for so many
LEAST32, LEAST64 = np.float32(1e-45), 5e-324
DTYPES = {"float32": np.float32, "float64": np.float64}
PARAMETERS = {"a third": 1 / 3, "subnormal in float32": 1e-40, "subnormal": 3e-310, "least": LEAST64, "huge": 1e300}


def data(n, dtype, scale=1.0):
    """Inputs and targets, subnormal numbers and weights among them."""
    x, t = (RNG.standard_normal((2, n)) * scale).astype(dtype)
    tiny = np.finfo(dtype).tiny
    x[:8] = np.array([0.1, 0.3, 0.7, 1.9, -0.4, 3.0, -2.7, 0.01], dtype) * tiny
    t[:8] = np.array([0.0, 0.1, 0.0, 0.6, 0.0, -0.2, 0.3, 0.0], dtype) * tiny
    w = RNG.uniform(0.1, 2, n).astype(dtype)
    w[2], w[9], w[10] = tiny / 8, 0, tiny / 2
    return x, t, w


def setting(name, value):
    parameter = LOSSES[name].parameter_name
    return {} if parameter is None else {parameter: value}


def settings(name, dtype):
    """Parameters that the loss accepts, by a name."""
    if LOSSES[name].parameter_name is None:
        return {"": {}}
    return {label: setting(name, value) for label, value in PARAMETERS.items() if accepts(name, value, dtype)}


def add_functions(name, dtype_name, dtype):
    function, backward = getattr(cylosses, f"{name}_loss"), getattr(cylosses, f"{name}_loss_backward")
    x, t, w = data(N, dtype)
    where = np.arange(N) % 5 != 3
    matrix, other, _ = (array.reshape(6, 6) for array in data(36, dtype))
    column = np.asfortranarray(matrix)
    grads = {"ordinary": 0.1, "tiny": 3e-308, "least": LEAST64, "huge": 1.7e308, "NumPy": np.float32(1e-40), "array": w}

    for label, own in settings(name, dtype).items():
        where_am_i = f"{name} {dtype_name}" + (f", parameter {label}" if label else "")

        def values(own=own):
            found = [
                function(x, t, reduction=r, weight=v, where=s, **own)
                for r in ("none", "mean", "sum")
                for v in (None, w)
                for s in (None, where)
            ]
            found += [
                function(matrix, other, reduction=r, axis=axis, keepdims=True, **own) for r in ("mean", "sum") for axis in (0, 1)
            ]
            return [*found, function(column, other, reduction="none", **own), function(x[::-2], t[::2], **own)]

        def outputs(own=own):
            single, many = np.empty((), dtype), np.empty(N, dtype)
            function(x, t, out=single, weight=w, **own)
            function(x, t, reduction="none", out=many, **own)
            return single, many

        def gradients(own=own):
            return [
                backward(g, x, t, reduction=r, weight=v, wrt=wrt, **own)
                for g in grads.values()
                if g is not w
                for r in ("none", "mean", "sum")
                for v in (None, w)
                for wrt in ("input", "target")
            ]

        def other_gradients(own=own):
            of_rows = [backward(g, matrix, other, axis=1, **own) for g in (0.1, 3e-308, w[:6])]
            return [*of_rows, backward(w, x, t, reduction="none", where=where, **own), backward(0.7, column, other, **own)]

        add(f"functions: values of {where_am_i}", values)
        add(f"functions: out of {where_am_i}", outputs)
        add(f"functions: gradients of {where_am_i}", gradients)
        add(f"functions: gradients of {where_am_i}, other shapes", other_gradients)


def add_classes(name, dtype_name, dtype):
    cls = LOSSES[name]
    x, t, w = data(N, dtype)
    where = np.arange(N) % 5 != 3
    column = np.asfortranarray(x[:36].reshape(6, 6))
    other = t[:36].reshape(6, 6)
    for label, own in settings(name, dtype).items():
        where_am_i = f"{name} {dtype_name}" + (f", parameter {label}" if label else "")

        def everything(own=own):
            found = []
            for reduction in ("none", "mean", "sum"):
                loss = cls(reduction=reduction, **own)
                for v, s in ((None, None), (w, None), (w, where)):
                    found += [loss(x, t, weight=v, where=s), *loss.value_and_grad(x, t, weight=v, where=s)]
                    found += [loss.grad(x, t, weight=v, where=s, grad_output=g) for g in (None, 0.1, 3e-308, 1.7e308)]
                    for curvature in ("exact", "mm", "ones"):
                        found += loss.grad_and_hess(x, t, curvature=curvature, weight=v, where=s)
                found += [loss(column, other), loss.grad(column, other, wrt="target"), *loss.value_and_grad(column, other)]
            return found

        add(f"classes: {where_am_i}", everything)


def add_totals(name, dtype_name, dtype):
    cls = LOSSES[name]
    x, t, w = data(N, dtype)
    where = np.arange(N)[::2] % 5 != 3
    for label, own in settings(name, dtype).items():
        where_am_i = f"{name} {dtype_name}" + (f", parameter {label}" if label else "")

        def total(own=own):
            found = []
            for reduction in ("mean", "sum"):
                first, second = cls(reduction=reduction, **own).streaming(), cls(reduction=reduction, **own).streaming()
                first.update(x, t)
                second.update(x, t, weight=w)
                second.update(x[::2], t[::2], where=where)
                first.merge(second)
                again = StreamingLoss.from_bytes(first.to_bytes())
                found += [
                    first.compute(),
                    second.compute(),
                    first.count,
                    first.to_bytes(),
                    repr(first),
                    again == first,
                    again == second,
                ]
            return found

        add(f"streaming: {where_am_i}", total)


def add_operands():
    """Python numbers, NumPy scalars, lists, narrow floats and integers as operands, parameters and factors."""
    zeros32, ones32 = np.zeros(5, np.float32), np.ones(5, np.float32)
    half, integers = np.array([0.1, 6e-8, 3.0], np.float16), np.array([1, 2, 2**62 + 1])
    quotients = np.array([1.0, 2.0, 4.0])
    tiny32, tiny64, zero32, tenth32 = np.float32(1e-40), np.float64(1e-40), np.float32(0.0), np.float32(0.1)
    cases = {
        "a Python number and float32": lambda: cylosses.l1_loss(1e-40, zeros32, "none"),
        "float32 and a Python number": lambda: cylosses.l1_loss(zeros32, 0.1, "none"),
        "a Python number that rounds": lambda: [
            cylosses.mse_loss(v, ones32, "none") for v in (1.1, 1 + 2.0**-24, 1e-45, 7e-46, 3.4e38)
        ],
        "a NumPy scalar and float32": lambda: cylosses.l1_loss(tiny64, zeros32, "none"),
        "two Python numbers": lambda: [cylosses.l1_loss(LEAST64, 0.0, "sum"), cylosses.huber_loss(1e-310, 0.1, "none")],
        "two NumPy scalars": lambda: cylosses.l1_loss(LEAST32, zero32, "sum"),
        "lists": lambda: [cylosses.l1_loss([LEAST64, 0.1, 1e-310], [0.0, 0.3, 0.0], r) for r in ("none", "mean")],
        "a list and float32": lambda: cylosses.l1_loss([1e-40] * 5, zeros32, "none"),
        "float16": lambda: [cylosses.smooth_l1_loss(half, half[::-1], r) for r in ("none", "mean")],
        "integers": lambda: [cylosses.mse_loss(integers, integers[::-1], r) for r in ("none", "mean")],
        "integers and float32": lambda: cylosses.l1_loss(integers, zeros32[:3], "none"),
        "a weight that is a number": lambda: [
            cylosses.l1_loss(quotients, quotients[::-1], "sum", weight=v) for v in (0.1, 3e-310, LEAST64)
        ],
        "a weight that is a list": lambda: MSELoss().grad(quotients, quotients[::-1], weight=[3e-311, 8e-311, LEAST64]),
        "float32 parameter": lambda: cylosses.huber_loss(quotients, quotients[::-1], "none", delta=tiny32),
        "integer parameter": lambda: cylosses.huber_loss(quotients, quotients[::-1], delta=3),
        "float32 parameters of classes": lambda: [repr(SmoothL1Loss(beta=b)) for b in (tiny32, LEAST32, tenth32)],
        "parameters of classes": lambda: [
            repr(SmoothL1Loss(beta=b)) for b in (LEAST64, 3e-310, 0.1, 1 / 3, 1e300, 2.2250738585072014e-308)
        ],
        "attributes": lambda: [HuberLoss(delta=d).delta for d in (LEAST64, 3e-310, tiny32, 0.1)],
        "options": lambda: cylosses.smooth_l1_loss(quotients, quotients[::-1], {"reduction": "none", "beta": LEAST64}),
        "comparisons": lambda: [
            HuberLoss(delta=LEAST64) == HuberLoss(delta=1e-323),
            hash(HuberLoss(delta=LEAST64)),
            L1Loss() == MSELoss(),
        ],
        "the setting given twice": lambda: cylosses.smooth_l1_loss(
            quotients, quotients[::-1], options={"beta": 1e-310}, beta=1e-310
        ),
    }
    for label, case in cases.items():
        add(f"operands: {label}", case)

    strided, thin = np.asfortranarray(RNG.standard_normal((4, 3))), RNG.standard_normal((4, 3))
    x, t = np.array([3 * LEAST64, 9 * LEAST64, 1.0]), np.zeros(3)
    pairs = {"least": (LEAST64, 1e-323), "subnormal": (2e-310, 3e-310), "with the least normal": (1e-310, 2.2250738585072014e-308)}
    for label, (a, b) in pairs.items():

        def in_turn(a=a, b=b):
            """A cache that compares parameters would take the second for the first, where both count as 0."""
            found = []
            for delta in (a, b, a):
                found += [cylosses.huber_loss(x, t, "none", delta=delta), cylosses.huber_loss([*x], [*t], "none", delta=delta)]
                found += [
                    cylosses.huber_loss(strided, thin, axis=0, delta=delta),
                    cylosses.huber_loss_backward(1.0, [*x], t, delta=delta),
                ]
            return found

        add(f"operands: two subnormal parameters in turn, {label}", in_turn)


def add_gradients():
    """Divisors and factors of gradients."""
    x, t, _ = data(N, np.float64)
    x[8:], t[8:] = x[8:] * 1e6, t[8:]
    three, zeros = np.array([1.0, 2.0, 4.0]), np.zeros(3)
    weights = {"tiny": np.array([3e-311, 8e-311, 1e-310]), "huge": np.array([1.7e308, 0.0, 0.5])}
    three32, zeros32, errors32 = three.astype("f4"), zeros.astype("f4"), (three / 64).astype("f4")
    wide = RNG.standard_normal((5, 7))
    cases = {
        "a huge delta and a tiny factor": lambda: HuberLoss(delta=1e300).grad(x, t, grad_output=3e-308),
        "the mean of three": lambda: [cls().grad(three, zeros) for cls in (MSELoss, L1Loss, HuberLoss, SmoothL1Loss)],
        "the mean of three with a factor": lambda: [
            MSELoss().grad(three, zeros, grad_output=g) for g in (0.1, 1 / 3, 1e308, LEAST64)
        ],
        "the mean of float32": lambda: [MSELoss().grad(three32, zeros32, grad_output=g) for g in (0.1, 1e-45, 1e38)],
        "a mean whose weights sum to a tiny number": lambda: MSELoss().grad(three, zeros, weight=weights["tiny"]),
        "a mean whose weights sum to a huge number": lambda: L1Loss().grad(three, zeros, weight=weights["huge"]),
        "a mean over an axis": lambda: [
            MSELoss().grad(wide, wide[::-1], axis=axis, grad_output=g) for axis in (0, 1) for g in (None, 3e-308)
        ],
        "a broadcast target": lambda: cylosses.mse_loss_backward(0.1, wide, wide[:1], wrt="target"),
        "Hessians of a mean": lambda: [
            HuberLoss(delta=1 / 3).grad_and_hess(three, zeros, curvature=c) for c in ("exact", "mm", "ones")
        ],
        "Tukey with a parameter that rounds": lambda: TukeyLoss("sum", c=0.1).grad(errors32, zeros32),
    }
    for label, case in cases.items():
        add(f"gradients: {label}", case)


def add_large(dtype_name, dtype):
    """Arrays for which two threads are woken; their outputs, and the time, are for several losses together."""
    x, t, w = data(LARGE, dtype)
    flat = {"a half": 0.3, "subnormal": float(np.finfo(dtype).tiny) / 4}
    matrix, other = x.reshape(-1, 4), t.reshape(-1, 4)
    for label, beta in flat.items():

        def whole(beta=beta):
            loss = SmoothL1Loss(beta=beta)
            found = [loss(x, t, n_threads=2), loss(x, t, weight=w, n_threads=2), loss(matrix, other, axis=0, n_threads=2)]
            found += [loss.grad(x, t, grad_output=0.1, n_threads=2), *loss.value_and_grad(x, t, weight=w, n_threads=2)]
            found += [*loss.grad_and_hess(x, t, curvature="mm", n_threads=2), loss(matrix, other, axis=1, n_threads=2)]
            return [*found, cylosses.smooth_l1_loss(x, t, "none", beta, n_threads=2)]

        def total(beta=beta):
            stream = SmoothL1Loss(beta=beta).streaming()
            stream.update(x, t, n_threads=2)
            stream.update(x, t, weight=w, n_threads=2)
            return stream.compute(), stream.to_bytes()

        add(f"threads: whole arrays, {dtype_name}, beta {label}", whole)
        add(f"threads: totals, {dtype_name}, beta {label}", total)


ACCUMULATOR = FUNCTIONS["accumulator_new"]()  # lives as long as the process


def add_c_level(name, dtype_name, dtype):
    x, t, w = data(N, dtype)
    loss = capi.LossCode[name.upper()].value
    pointers = [array.ctypes.data for array in (x, t, w)]
    value, first, second = np.empty((), dtype), np.empty(N, dtype), np.empty(N, dtype)
    into = [array.ctypes.data for array in (value, first, second)]
    # ctypes converts a float to and from Python's double in the caller's mode: only numbers that are normal and exact in both.
    scalars = [1.0, -2.5, 0.375, 2.0**20]
    quantities = ("scalar_value", "scalar_derivative", "scalar_second_derivative", "scalar_irls_weight")
    functions = {key.removesuffix(f"_{dtype_name}"): function for key, function in FUNCTIONS.items() if key.endswith(dtype_name)}
    edges = (0.0, LEAST64, 1e-46, 7e-46, 7.1e-46, 1e-45, 1e-40, 0.1, 1 - 2.0**-25, 1 - 2.0**-54, 1.0, 3.4028235677973366e38, 1e39)
    add(f"C level: checks of {name} {dtype_name}", lambda: [functions["check"](loss, edge) for edge in edges])
    for label, own in settings(name, dtype).items():
        where_am_i = f"{name} {dtype_name}" + (f", parameter {label}" if label else "")
        parameter = next(iter(own.values()), 0.0)

        def arrays(parameter=parameter):
            def taken(status, *outputs):
                return [status, *(output.tobytes() for output in outputs)]

            found = [functions["check"](loss, parameter)]
            for weights in (None, pointers[2]):
                data = (pointers[0], pointers[1], weights, N, 1)
                found.append(taken(functions["elementwise_value"](loss, parameter, *data, into[1]), first))
                for reduction in (0, 1):
                    found.append(taken(functions["value"](loss, parameter, reduction, *data, into[0]), value))
                    found.append(taken(functions["gradient"](loss, parameter, reduction, *data, into[1]), first))
                    found.append(taken(functions["value_and_gradient"](loss, parameter, reduction, *data, *into[:2]), value, first))
                    for curvature in (0, 1, 2):
                        status = functions["gradient_and_hessian"](loss, parameter, reduction, curvature, *data, *into[1:])
                        found.append(taken(status, first, second))
            return found

        def total(parameter=parameter):
            FUNCTIONS["accumulator_clear"](ACCUMULATOR)
            found = [functions["accumulator_update"](ACCUMULATOR, loss, parameter, *pointers, N, 1) for _ in range(2)]
            for reduction in (0, 1):
                found += [functions["accumulator_finish"](ACCUMULATOR, reduction, into[0]), value.tobytes()]
            return [*found, FUNCTIONS["accumulator_count"](ACCUMULATOR)]

        add(f"C level: arrays of {where_am_i}", arrays)
        add(f"C level: totals of {where_am_i}", total)
        if label in ("", "a third"):
            add(
                f"C level: scalars of {where_am_i}",
                lambda parameter=parameter: [functions[q](loss, parameter, d) for q in quantities for d in scalars],
            )


class Dataset:
    """What the native interfaces of the boosters pass."""

    def __init__(self, label, weight):
        self.label, self.weight = label, weight

    def get_label(self):
        return self.label

    def get_weight(self):
        return self.weight


def add_boosting(name):
    x, t, w = data(N, np.float64)
    far = {"ordinary": (x, t), "subnormal": (x * 1e-312, t * 1e-312), "huge": (x * 1e307, t * 1e307)}
    dataset = Dataset(t.astype(np.float32), w.astype(np.float32))
    several = np.stack([x, x * 1e-5], 1), np.stack([t, t * 1e-5], 1)
    own = setting(name, 1 / 3)
    least = setting(name, 1e-308)
    for label, (prediction, target) in far.items():

        def objectives(prediction=prediction, target=target):
            found = []
            for curvature in ("mm", "exact", "ones"):
                for weight in (None, w):
                    found += Objective(name, curvature)(target, prediction, weight)
                    found += Objective(name, curvature, 0.7, **own)(target, prediction, weight)
                    found.append(Objective(name, curvature, 0.7, **least).calc_ders_range(prediction, target, weight))
            fixed = Objective(name).for_targets(target, w)
            return [*found, fixed.scale, fixed.parameter, repr(fixed), *fixed(target, prediction)]

        def metrics(prediction=prediction, target=target):
            found = []
            for weight in (None, w):
                found += [Metric(name, booster)(target, prediction, weight) for booster in ("lightgbm", "xgboost", "catboost")]
                metric = Metric(name, "catboost", 1 / 3, **least)
                error, weights = metric.evaluate([prediction], target, weight)
                found += [error, weights, metric.get_final_error(error, weights)]
            return found

        add(f"boosting: objectives of {name}, {label}", objectives)
        add(f"boosting: metrics of {name}, {label}", metrics)

    def native():
        found = [
            *Objective(name)(x, dataset),
            Metric(name)(x, dataset),
            *Objective(name)(*several),
            Metric(name, "xgboost")(*several),
        ]
        a, b = Objective(name, scale=5e-324), Objective(name, scale=1e-323)
        return [
            *found,
            a == b,
            a == Objective(name, scale=5e-324),
            hash(a) == hash(b),
            repr(a),
            repr(a.metric("catboost")),
            a.scale,
        ]

    add(f"boosting: native calls and constructors of {name}", native)


def add_scales():
    x, _, w = data(N, np.float64)
    targets = {"ordinary": x, "subnormal": x * 1e-312, "huge": x * 1e307, "without spread": np.where(np.arange(N) < 30, 0.1, x)}
    weights = {"none": None, "ordinary": w, "tiny": w * 1e-312, "huge": w * 1e307, "alike": np.full(N, 0.1)}
    for (label, target), (of_weights, weight) in itertools.product(targets.items(), weights.items()):
        add(
            f"boosting: scale of {label} targets, weights {of_weights}",
            lambda target=target, weight=weight: robust_scale(target, weight),
        )
    metric = Metric("l1", "catboost")
    add("boosting: final errors", lambda: [metric.get_final_error(*pair) for pair in ((1e-310, 3.0), (1.0, 3.0), (1e-310, 1e-311))])


def add_estimators():
    X = RNG.standard_normal((60, 3)) * [1.0, 100.0, 0.01]
    y = X @ [1.0, -0.02, 50.0] + 7.0 + RNG.standard_t(2, 60)
    w, several = RNG.uniform(0.5, 2, 60), np.stack([y, -y], 1)
    kinds = {
        "plain": (SmoothL1Regressor(), X, y, None),
        "weights": (SmoothL1Regressor("huber"), X, y, w),
        "tiny weights": (SmoothL1Regressor(beta=1 / 3), X, y, w * 1e-312),
        "a kink": (SmoothL1Regressor(QuantileLoss(q=0.3)), X, y, w),
        "float32": (SmoothL1Regressor(), X.astype("f4"), y.astype("f4"), w.astype("f4")),
        "sparse": (SmoothL1Regressor(), scipy.sparse.csr_array(X), y, w),
        "several outputs": (SmoothL1Regressor(fit_intercept=False), X, several, None),
        "threads": (SmoothL1Regressor(n_threads=2), X, y, w),
        "tiny targets": (SmoothL1Regressor(beta=1e-160), X, y * 1e-160, None),
    }
    for label, (model, features, target, weight) in kinds.items():

        def fitted(model=model, features=features, target=target, weight=weight):
            model.fit(features, target, weight)
            return model.coef_, model.intercept_, model.n_iter_, model.n_evaluations_, model.predict(features)

        add(f"estimator: {label}", fitted)


def add_metrics(name):
    x, t, w = (array[:36] for array in data(N, np.float64))
    metric, scorer = getattr(sklearn, f"mean_{name}_error"), sklearn.SCORERS[f"neg_mean_{name}_error"]
    two = x.reshape(-1, 2), t.reshape(-1, 2)
    numbers = setting(name, 1 / 3), setting(name, 1e-310)
    model = SmoothL1Regressor().fit(two[0], t[::2])

    def values():
        found = []
        for own in numbers:
            found += [metric(t, x, sample_weight=weight, **own) for weight in (None, w)]
            for multioutput in ("raw_values", "uniform_average", (0.1, 0.7), (1e-310, 3e-310)):
                found.append(metric(two[1], two[0], sample_weight=w[:18], multioutput=multioutput, **own))
        return [*found, scorer(model, two[0], t[::2])]

    add(f"scikit-learn: metric and scorer of {name}", values)


for _name, (_dtype_name, _dtype) in itertools.product(LOSSES, DTYPES.items()):
    for _add in (add_functions, add_classes, add_totals, add_c_level):
        _add(_name, _dtype_name, _dtype)
for _name in LOSSES:
    add_boosting(_name)
    add_metrics(_name)
for _dtype_name, _dtype in DTYPES.items():
    add_large(_dtype_name, _dtype)
for _add in (add_operands, add_gradients, add_scales, add_estimators):
    _add()


# The tests -------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def register():
    return Register()


@pytest.fixture(scope="module")
def table():
    """Counts by part of the package: calls, comparisons, differences. Printed at the end."""
    counts = defaultdict(lambda: [0, 0, 0])
    yield counts
    print(f"\n{'part':<14}{'calls':>7}{'x modes x threads':>20}{'differences':>13}")
    total = [sum(column) for column in zip(*counts.values(), strict=True)]
    for part, row in (*sorted(counts.items()), ("all", total)):
        print(f"{part:<14}{row[0]:>7}{row[1]:>20}{row[2]:>13}")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """The solver shares rows among threads by the block."""
    monkeypatch.setattr(design, "BLOCK_BYTES", 256)


@pytest.mark.parametrize("name", CALLS)
def test_no_mode_changes_a_bit(name, register, table):
    call = CALLS[name]
    expected = as_bytes(call())
    different = []
    for number, (mode, control) in enumerate(MODES.items()):
        before = control | (number * 11 + 5) % (FLAGS + 1)  # some of the status flags
        for where in ("main thread", "new thread"):
            if where == "main thread":
                result, after = register.run(before, call)
            else:
                result, after = in_new_thread(register.run, before, call)
            if as_bytes(result) != expected:
                different.append((*mode, where, "other bits"))
            if (after ^ before) & ~SUBNORMAL_OPERAND:
                different.append((*mode, where, f"mode {after:#x} after {before:#x}"))
    if as_bytes(call()) != expected:
        different.append("the default mode, afterwards")
    row = table[name.partition(":")[0]]
    row[0] += 1
    row[1] += 2 * len(MODES)
    row[2] += len(different)
    assert different == []


@pytest.mark.parametrize("where", ["main thread", "new thread"])
def test_the_modes_do_what_they_say(where, register):
    """Without this package: sums round as told, subnormal results and operands become 0, status flags appear."""
    one, least_fraction, normal, subnormal, half, into = (np.array([v]) for v in (1.0, 2.0**-60, 2.0**-1022, 2.0**-1040, 0.5, 0.0))
    of_sum = {"nearest": (0, 0), "downward": (0, -1), "upward": (1, 0), "to zero": (0, -1)}

    def arithmetic():
        results = []
        for ufunc, a, b in (
            (np.add, one, least_fraction),
            (np.subtract, one, least_fraction),
            (np.multiply, normal, half),
            (np.add, subnormal, normal),
        ):
            ufunc(a, b, out=into)
            results.append(into.tobytes())
        return results

    for (rounding, ftz, daz), control in MODES.items():
        arguments = control, arithmetic
        results, after = register.run(*arguments) if where == "main thread" else in_new_thread(register.run, *arguments)
        above, below, product, total = (np.frombuffer(result, np.int64)[0] for result in results)
        unit = np.float64(1.0).view(np.int64)
        assert (above - unit, below - unit) == of_sum[rounding]
        assert (product == 0) == bool(ftz)
        assert (total == np.float64(2.0**-1022).view(np.int64)) == bool(daz)
        assert after & ~FLAGS == control
        assert as_bytes(np.add(one, least_fraction)) == as_bytes(one)  # the default mode is back


def test_every_public_name_is_called():
    """A new function, class or loss comes into the list by itself, or is missed here."""
    for name in LOSSES:
        for part in (
            "functions: values of",
            "functions: gradients of",
            "classes:",
            "streaming:",
            "C level: arrays of",
            "boosting: objectives of",
        ):
            assert any(call.startswith(f"{part} {name}") for call in CALLS), (part, name)
    functions = {f"{name}_loss{suffix}" for name in LOSSES for suffix in ("", "_backward")}
    assert functions == {name for name in cylosses.functional.__all__ if "_loss" in name}
    assert {function for function in FUNCTIONS if function.endswith("float64")} == {
        f"{name}_float64"
        for name in (
            "accumulator_finish",
            "accumulator_update",
            "check",
            "elementwise_value",
            "gradient",
            "gradient_and_hessian",
            "scalar_derivative",
            "scalar_irls_weight",
            "scalar_second_derivative",
            "scalar_value",
            "value",
            "value_and_gradient",
        )
    }


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("keyword", ["weight", "where", "grad_output"])
def test_a_mode_that_is_set_during_a_call_changes_no_bit(reduction, keyword, rng):
    """An argument's conversion may load a library that sets one."""
    register = Register()
    libm = ctypes.CDLL(ctypes.util.find_library("m"))

    class Setting:
        def __array__(self, dtype=None, copy=None):
            libm.fesetround(0x800)  # FE_UPWARD
            return array

    array = {"weight": rng.random(200), "where": rng.random(200) < 0.7, "grad_output": np.array([0.7])}[keyword]
    x, t = rng.standard_normal((2, 200))
    loss = cylosses.CharbonnierLoss(reduction=reduction)
    calls = [loss.grad] if keyword == "grad_output" else [loss, loss.grad, loss.value_and_grad, loss.grad_and_hess]
    for call in calls:
        expected = call(x, t, **{keyword: array})
        found, _ = register.run(DEFAULT, lambda call=call: call(x, t, **{keyword: Setting()}))
        assert as_bytes(found) == as_bytes(expected)


def test_one_context_may_be_entered_twice():
    register, mode = Register(), MODES["upward", 0, 0]
    context = cylosses.default_floating_point_mode()

    def nested():
        with context, context:
            pass
        return

    assert register.run(mode, nested)[1] & ~FLAGS == mode & ~FLAGS
