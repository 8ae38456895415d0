"""Golden hashes: what every loss gives for fixed inputs, bit for bit, so that no change of results goes unnoticed.

``python -m tools.golden`` writes tests/golden.json: for each loss, dtype and quantity a hash of results. tests/test_golden.py holds
every build that a CPU runs to it, with one thread and with two. Where a change of results is meant, it is said in CHANGELOG.md, and
the file is written anew.

The inputs are made of integers alone, by splitmix64, and become floats as bit patterns: no generator of NumPy, whose streams may
change, and no function of a mathematical library has a part in them. A NaN is hashed as one NaN, whatever its bits.
"""

from __future__ import annotations

import functools
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from cylosses.losses import LOSSES, Loss
from tools.commands import parser_of, variables_of

GOLDEN = Path(__file__).parents[1] / "tests" / "golden.json"
ADVICE = "If this is meant, say in CHANGELOG.md which results change, and write the file anew: python -m tools.golden"

THREADS = (1, 2)
LENGTHS = (1, 33, 1025, 5003)  # below, around and above a block of 1024 elements
ROWS, COLUMNS = 67, 130  # neither fills tiles of rows
OTHER_PARAMETER = 0.3  # valid for every loss that has one, and no number of float32

# Bits of an element, of its exponent, and the bits of its NaN.
FORMATS = {
    "float16": (16, 5, 0x7E00),
    "bfloat16": (16, 8, 0x7FC0),
    "float32": (32, 8, 0x7FC00000),
    "float64": (64, 11, 0x7FF8 << 48),
}
DTYPES = {name: np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name) for name in (*FORMATS, "int64")}

Golden = dict[str, dict[str, dict[str, str]]]  # of loss, dtype and quantity


# Inputs ---------------------------------------------------------------------------------------------------------------------


def splitmix64(seed: int, length: int) -> np.ndarray:
    """The first numbers of splitmix64 from this seed, as uint64."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, length + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def as_float(name: str, signs: np.ndarray, exponents: np.ndarray, significands: np.ndarray) -> np.ndarray:
    """The floats of these biased exponents, which are the format's own; of the others, the bits that it has room for."""
    bits, of_exponent, _ = FORMATS[name]
    of_significand = bits - 1 - of_exponent
    pattern = (signs & np.uint64(1)) << np.uint64(bits - 1)
    pattern |= exponents.astype(np.uint64) << np.uint64(of_significand)
    pattern |= significands >> np.uint64(64 - of_significand)
    return pattern.astype(f"u{bits // 8}").view(DTYPES[name])


def float_pair(name: str, kind: str, seed: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Ordinary numbers; neighbours; a range of exponents whose squares are finite; or every exponent, with NaN and infinities."""
    _, of_exponent, nan = FORMATS[name]
    everything = (1 << of_exponent) - 1  # the exponent of infinity
    bias = everything // 2
    low, count = {"ordinary": (bias - 6, 12), "near": (bias - 6, 12), "wide": (bias - bias // 2 + 2, bias - 4)}.get(
        kind, (0, everything)
    )
    pair = []
    for k in range(2):
        draws = [splitmix64(seed + 16 * k + j, length) for j in range(3)]
        pair.append(as_float(name, draws[0], low + draws[1] % np.uint64(count), draws[2]))
    inputs, targets = pair
    chance = splitmix64(seed + 40, length)
    unsigned = f"u{inputs.itemsize}"
    if kind == "near":  # at most three units in the last place away
        steps = (chance % np.uint64(7)).astype(unsigned)
        targets = (inputs.view(unsigned) + steps - np.array(3, unsigned)).view(inputs.dtype)
    else:
        targets = np.where(chance % np.uint64(11) == 0, inputs, targets)
    if kind == "any":
        infinity = as_float(name, np.zeros(1, np.uint64), np.full(1, everything, np.uint64), np.zeros(1, np.uint64))
        special = np.concatenate([infinity, -infinity, np.array([nan], unsigned).view(inputs.dtype), np.zeros(1, inputs.dtype)])
        for k, array in enumerate((inputs, targets)):
            places = splitmix64(seed + 50 + k, length)
            chosen = places % np.uint64(37) == 0
            array[chosen] = special[(places[chosen] >> np.uint64(32)) % np.uint64(4)]
    return inputs, targets


def integer_pair(kind: str, seed: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Small numbers; neighbours beyond 2**53; numbers of 32 bits; or all sizes."""
    draws = [splitmix64(seed + k, length).view(np.int64) for k in range(2)]
    sizes = [splitmix64(seed + 2 + k, length) % np.uint64(63) for k in range(2)]
    if kind == "near":
        return draws[0] >> 2, (draws[0] >> 2) + (draws[1] >> 58)
    if kind == "any":
        return draws[0] >> sizes[0].astype(np.int64), draws[1] >> sizes[1].astype(np.int64)
    places = 58 if kind == "ordinary" else 32
    return draws[0] >> places, draws[1] >> places


@functools.cache
def pair_of(name: str, kind: str, seed: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    return integer_pair(kind, seed, length) if name == "int64" else float_pair(name, kind, seed, length)


@functools.cache
def weight_of(seed: int, length: int) -> np.ndarray:
    """Multiples of a quarter from 0 to 2."""
    return (splitmix64(seed, length) % np.uint64(9)).astype(np.float64) / 4


@functools.cache
def where_of(seed: int, length: int) -> np.ndarray:
    return splitmix64(seed, length) % np.uint64(5) != 0


# Results --------------------------------------------------------------------------------------------------------------------


def canonical(result: Any) -> bytes:
    """Dtype, shape and little-endian bits of an array or scalar, with one NaN for all."""
    array = np.array(result, order="C")
    nan = np.isnan(array)
    bits = array.reshape(-1).view(f"u{array.itemsize}")
    bits[nan.reshape(-1)] = FORMATS[array.dtype.name][2]
    return f"{array.dtype.name} {array.shape}".encode() + bits.astype(bits.dtype.newbyteorder("<")).tobytes()


def results(cls: type[Loss], setting: dict[str, float], name: str, n_threads: int) -> Iterator[tuple[str, bytes]]:
    """Results of a loss with one parameter for pairs of one dtype: their quantity and their bytes."""
    loss = {reduction: cls(reduction=reduction, **setting) for reduction in ("none", "mean", "sum")}
    option = {"n_threads": n_threads}
    kinds = ("ordinary", "wide") if setting else ("ordinary", "near", "wide", "any")
    for seed, (kind, length) in enumerate((kind, length) for kind in kinds for length in LENGTHS):
        x, t = pair_of(name, kind, 1000 * seed, length)
        weighted = {"weight": weight_of(1000 * seed + 100, length), "where": where_of(1000 * seed + 200, length)}
        yield "value", canonical(loss["none"](x, t, **option))
        yield "weighted value", canonical(loss["none"](x, t, **weighted, **option))
        for reduction, each in loss.items():
            yield f"gradient of {reduction}", canonical(each.grad(x, t, **option))
            yield f"weighted gradient of {reduction}", canonical(each.grad(x, t, wrt="target", **weighted, **option))
            if reduction != "none":
                yield reduction, canonical(each(x, t, **option))
                yield f"weighted {reduction}", canonical(each(x, t, **weighted, **option))
                total = each.streaming()
                total.update(x, t, **option)
                total.update(x, t, **weighted, **option)
                yield "state", total.to_bytes()
        for curvature in ("exact", "mm", "ones"):
            yield f"{curvature} Hessian", canonical(loss["sum"].grad_and_hess(x, t, curvature=curvature, **option)[1])
            hessian = loss["mean"].grad_and_hess(x, t, curvature=curvature, **weighted, **option)[1]
            yield f"weighted {curvature} Hessian", canonical(hessian)
    for seed, kind in enumerate(("ordinary", "wide")):
        x, t = (array.reshape(ROWS, COLUMNS) for array in pair_of(name, kind, 500_000 + 1000 * seed, ROWS * COLUMNS))
        weight = weight_of(600_000 + seed, COLUMNS)
        for first, second in ((x, t), (np.asfortranarray(x), t), (np.asfortranarray(x), np.asfortranarray(t))):
            yield "orders", canonical(loss["none"](first, second, weight=weight, **option))
            yield "orders", canonical(loss["mean"].grad(first, second, weight=weight, **option))
            yield "orders", canonical(loss["sum"](first, second, weight=weight, **option))
            for axis in (0, 1):
                yield "axis", canonical(loss["mean"](first, second, weight=weight, axis=axis, **option))
                yield "axis", canonical(loss["sum"](first, second, axis=axis, **option))
                yield "axis", canonical(loss["mean"].grad(first, second, weight=weight, axis=axis, **option))


def hashes(n_threads: int) -> Golden:
    """The hashes of the build of this process."""
    golden: Golden = {}
    for loss, cls in LOSSES.items():
        golden[loss] = {}
        for name in DTYPES:
            found: dict[str, Any] = {}
            for setting in [{}] if cls.parameter_name is None else [{}, {cls.parameter_name: OTHER_PARAMETER}]:
                for quantity, result in results(cls, setting, name, n_threads):
                    found.setdefault(quantity, hashlib.blake2b(digest_size=8)).update(result)
            golden[loss][name] = {quantity: digest.hexdigest() for quantity, digest in found.items()}
    return golden


def hashes_of_build(build: str) -> list[Golden]:
    """`hashes` of another build, in a process of its own, for each number of threads."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.golden", "--print"],
        env=variables_of(build),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: list[Golden] = json.loads(done.stdout)
    return found


def differences(found: Golden, golden: Golden) -> list[str]:
    """What differs, a line for each loss, dtype and quantity."""
    lines = []
    for loss in sorted(found.keys() | golden.keys()):
        of_loss, expected_of_loss = found.get(loss, {}), golden.get(loss, {})
        for dtype in sorted(of_loss.keys() | expected_of_loss.keys()):
            of_dtype, expected = of_loss.get(dtype, {}), expected_of_loss.get(dtype, {})
            lines += [
                f"{loss}, {dtype}, {quantity}: {of_dtype.get(quantity, 'nothing')}, golden {expected.get(quantity, 'nothing')}"
                for quantity in sorted(of_dtype.keys() | expected.keys())
                if of_dtype.get(quantity) != expected.get(quantity)
            ]
    return lines


def main() -> int:
    parser = parser_of("tools.golden", __doc__)
    parser.add_argument(
        "--print", action="store_true", help="print the hashes for each number of threads instead of writing the file"
    )
    if parser.parse_args().print:
        json.dump([hashes(n_threads) for n_threads in THREADS], sys.stdout)
        return 0
    before: Golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    golden = hashes(1)
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
    changed = differences(golden, before)
    print(*changed, f"{len(changed)} hashes changed", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
