"""The bytes of a `StreamingLoss`: canonical, read back exactly, and refused when they cannot be right.

``python -m tests.test_state --partitions 1000 --blobs 10000`` runs the two counting checks at any size, for every loss and dtype.

The writer in this file follows docs/state-format.md and shares nothing with the library: it turns exact fractions into bytes.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import itertools
import pickle
import re
import secrets
import struct
import sys
import threading
from fractions import Fraction
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cylosses import L1Loss, MSELoss, SmoothL1Loss, StreamingLoss
from cylosses._core.totals import Total
from cylosses.losses import LOSSES

from .generators import SPREADS

DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64}
FORMAT_FILE = Path(__file__).parents[1] / "docs" / "state-format.md"
every_loss = pytest.mark.parametrize("name", LOSSES)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


# --- a writer of its own ----------------------------------------------------------------------------------------------------------


def with_checksum(body: bytes) -> bytes:
    return body + hashlib.blake2b(body, digest_size=8).digest()


def number(value: Fraction) -> tuple[int, bytes]:
    """Exponent and significand of a sum, as the format wants them."""
    if value == 0:
        return 0, b""
    exponent = 1 - value.denominator.bit_length()  # a denominator is a power of two
    significand = value.numerator
    while significand % 2 == 0:
        significand, exponent = significand // 2, exponent + 1
    length = 1
    while not -(1 << (8 * length - 1)) <= significand < 1 << (8 * length - 1):
        length += 1
    return exponent, significand.to_bytes(length, "little", signed=True)


def written(
    name: str = "smooth_l1",
    total: Fraction | int = 0,
    weights: Fraction | int = 0,
    count: int = 0,
    *,
    reduction: int = 1,
    dtype: int = 4,
    flags: int = 0,
    parameter: float = 1.0,
    version: int = 1,
    surplus: int = 0,
) -> bytes:
    """A state with the right length and checksum, whatever its content."""
    exponent, significand = number(Fraction(total))
    weight_exponent, weight_significand = number(Fraction(weights))
    content = name.encode() + significand + weight_significand
    return with_checksum(
        b"\x93CYLOSS"
        + struct.pack("<BH", version, 46 + len(content))
        + struct.pack("<BBBB", reduction, dtype, flags, len(name.encode()) + surplus)
        + struct.pack("<dQ", parameter, count)
        + struct.pack("<hHhH", exponent, len(significand), weight_exponent, len(weight_significand))
        + content
    )


# --- states to look at ------------------------------------------------------------------------------------------------------------


def sample(rng: np.random.Generator, length: int, dtype: str, *, special: bool = False):
    """Inputs, targets, weights with zeros, and a mask; infinities and NaN if `special`."""
    inputs, targets = (values.astype(DTYPES[dtype]) for values in SPREADS["gauss"](rng, length, np.float64))
    if special and length:
        inputs[rng.integers(length, size=1 + length // 100)] = [np.inf, np.nan][rng.integers(2)]
    weights = np.ldexp(rng.random(length), rng.integers(-60, 60, length)) * (rng.random(length) < 0.9)
    return inputs, targets, weights, rng.random(length) < 0.8


def partitioned(rng: np.random.Generator, loss, columns: tuple, axis=None) -> StreamingLoss:
    """Cut data into random pieces of rows, stream them in random order into several states, some of them through bytes, and merge
    those.
    """
    length = len(columns[0])
    order = rng.permutation(length)
    columns = tuple(None if column is None else column[order] for column in columns)
    cuts = [0, *np.sort(rng.integers(0, length + 1, int(rng.integers(0, 20)))).tolist(), length]
    states = [loss.streaming(axis=axis) for _ in range(rng.integers(1, 6))]
    for start, stop in itertools.pairwise(cuts):
        piece = (None if column is None else column[start:stop] for column in columns)
        states[rng.integers(len(states))].update(*piece, n_threads=int(rng.integers(1, 4)))
    while len(states) > 1:
        last = states.pop(int(rng.integers(len(states))))
        if rng.random() < 0.5:
            last = StreamingLoss.from_bytes(last.to_bytes())
        states[int(rng.integers(len(states)))].merge(last)
    return states[0]


def distinct(rng: np.random.Generator, loss, columns: tuple, partitions: int, axis=None) -> tuple[set[bytes], set[bytes]]:
    """The values and the states that random partitions of the data give, those of one call and of one update among them."""
    inputs, targets, weight, where = columns
    whole = loss.streaming(axis=axis)
    whole.update(inputs, targets, weight, where)
    value = np.asarray(loss(inputs, targets, weight=weight, where=where, axis=axis))
    values = {value.tobytes(), np.asarray(whole.compute()).tobytes()}
    states = {whole.to_bytes()}
    for _ in range(partitions):
        state = partitioned(rng, loss, columns, axis)
        values.add(np.asarray(state.compute()).tobytes())
        states.add(state.to_bytes())
    return values, states


@pytest.fixture(params=[None, (0, 2)], ids=["plain", "by slice"])
def blob(request, rng) -> bytes:
    """The bytes of ordinary data, of each version of the format."""
    shape = (1000,) if request.param is None else (20, 3, 2)
    state = SmoothL1Loss(beta=0.5).streaming(axis=request.param)
    state.update(*(values.reshape(shape) for values in SPREADS["gauss"](rng, int(np.prod(shape)), np.float32)))
    return state.to_bytes()


# --- the format -------------------------------------------------------------------------------------------------------------------


def test_the_example_of_the_documentation():
    example = FORMAT_FILE.read_text(encoding="utf-8").split("## Example")[1].split("```")[1]
    rows = (re.match(r"(?:[0-9A-F]{2} )*[0-9A-F]{2}", line) for line in example.strip().splitlines())
    documented = b"".join(bytes.fromhex(row.group()) for row in rows)
    state = SmoothL1Loss().streaming()
    state.update([1.5, 2.0, 0.5], [1.0, 10.0, 0.5])
    assert state.to_bytes() == documented
    assert StreamingLoss.from_bytes(documented) == state


# Derived from the format by hand. One case for each thing that a byte can say: the other reduction, each dtype, flags, weights,
# a parameter of none, a sum of 0, a negative exponent, a positive one, a top bit that needs another byte for the sign.
GOLDEN = [
    (
        "nothing yet",
        LOSSES["l1"](),
        [],
        "93 43594C4F5353 01 3000 01 00 00 02 0000000000000000 0000000000000000 0000 0000 0000 0000 6C31",
    ),
    (
        "float32, sum, huber with delta 2: losses 0.125 and 14",
        LOSSES["huber"](reduction="sum", delta=2.0),
        [(np.float32([1.5, 2]), np.float32([1, 10]))],
        "93 43594C4F5353 01 3500 02 03 00 05 0000000000000040 0200000000000000 FDFF 0100 0100 0100 6875626572 71 01",
    ),
    (
        "float16, weighted: 3 * 128 = 3 * 2**7, and 64 with weight 0",
        LOSSES["l1"](),
        [(np.float16([128, 64]), np.float16([0, 0]), [3.0, 0.0])],
        "93 43594C4F5353 01 3200 01 01 00 02 0000000000000000 0100000000000000 0700 0100 0000 0100 6C31 03 03",
    ),
    (
        "bfloat16: 129 has its top bit set, so it takes a second byte",
        LOSSES["l1"](),
        [(np.array([129.0], ml_dtypes.bfloat16), np.array([0.0], ml_dtypes.bfloat16))],
        "93 43594C4F5353 01 3300 01 02 00 02 0000000000000000 0100000000000000 0000 0200 0000 0100 6C31 8100 01",
    ),
    (
        "float64, squares: NaN and infinity beside 9, and what is not selected",
        LOSSES["mse"](),
        [([np.nan, 1.0], [0.0, 4.0]), ([np.inf, 7.0], [0.0, 0.0], None, [True, False])],
        "93 43594C4F5353 01 3300 01 04 03 03 0000000000000000 0300000000000000 0000 0100 0000 0100 6D7365 09 03",
    ),
    (
        "losses that are 0",
        LOSSES["quantile"](q=0.25),
        [([1.0] * 256, [1.0] * 256)],
        "93 43594C4F5353 01 3700 01 04 00 08 000000000000D03F 0001000000000000 0000 0000 0800 0100 7175616E74696C65 01",
    ),
    (
        "empty float32 data still says float32",
        LOSSES["l1"](),
        [(np.float32([]), np.float32([]))],
        "93 43594C4F5353 01 3000 01 03 00 02 0000000000000000 0000000000000000 0000 0000 0000 0000 6C31",
    ),
]


@pytest.mark.parametrize(("loss", "pieces", "body"), [case[1:] for case in GOLDEN], ids=[case[0] for case in GOLDEN])
def test_golden_bytes(loss, pieces, body):
    expected = with_checksum(bytes.fromhex(body))
    state = loss.streaming()
    for piece in pieces:
        state.update(*piece)
    assert state.to_bytes() == expected
    assert StreamingLoss.from_bytes(expected) == state


@every_loss
@every_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_bytes_are_those_of_exact_fractions(name, dtype, reduction, rng):
    inputs, targets, weights, where = sample(rng, 300, dtype)
    loss = LOSSES[name](reduction=reduction)
    state = loss.streaming()
    state.update(inputs, targets, weights, where)
    losses = LOSSES[name](reduction="none")(inputs, targets)
    counted = where & (weights != 0)
    expected = written(
        name,
        sum(Fraction(float(x)) * Fraction(w) for x, w in zip(losses[counted], weights[counted], strict=True)),
        sum(map(Fraction, weights[counted])),
        int(counted.sum()),
        reduction=1 if reduction == "mean" else 2,
        dtype=1 + list(DTYPES).index(dtype),
        parameter=loss.default,
    )
    assert state.to_bytes() == expected


def test_the_extremes_of_float64_stay_below_a_thousand_bytes():
    tiny, huge = 5e-324, float(np.finfo(np.float64).max)
    state = L1Loss().streaming()
    state.update([huge, tiny], [0.0, 0.0], [huge, tiny])
    for _ in range(61):  # as many of them as a total holds, almost
        state.merge(state)
    expected = written(
        "l1",
        (Fraction(huge) ** 2 + Fraction(tiny) ** 2) * 2**61,
        (Fraction(huge) + Fraction(tiny)) * 2**61,
        2**62,
        parameter=0.0,
    )
    assert state.to_bytes() == expected
    assert len(expected) < 1000
    assert state.compute() == huge
    assert StreamingLoss.from_bytes(expected) == state


# --- one state, however it was made -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("special", [False, True])
def test_a_thousand_partitions_and_merge_orders_give_one_value_and_one_byte_string(rng, special):
    values, states = distinct(rng, SmoothL1Loss(), sample(rng, 2000, "float32", special=special), 1000)
    assert (len(values), len(states)) == (1, 1)


@every_loss
@every_dtype
def test_partitions_of_every_loss_and_dtype(name, dtype, rng):
    values, states = distinct(rng, LOSSES[name](), sample(rng, 1000, dtype, special=bool(rng.integers(2))), 40)
    assert (len(values), len(states)) == (1, 1)


def test_partitions_of_the_whole_range_of_float64(rng):
    inputs, targets = SPREADS["whole range"](rng, 1000, np.float64)
    weights = abs(SPREADS["whole range"](rng, 1000, np.float64)[0])
    values, states = distinct(rng, L1Loss(), (inputs, targets, weights, rng.random(1000) < 0.9), 100)
    assert (len(values), len(states)) == (1, 1)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_the_dtype_of_mixed_pieces_does_not_depend_on_their_order(order):
    pieces = [np.float16([1.0]), np.array([2.0], ml_dtypes.bfloat16), np.float16([3.0])]
    state = L1Loss().streaming()
    for at in order:
        state.update(pieces[at], np.zeros_like(pieces[at]))
    assert state.to_bytes() == written("l1", 6, 3, 3, dtype=3, parameter=0.0)


@every_loss
@given(data=st.data())
def test_bytes_round_trip(name, data):
    dtype = data.draw(st.sampled_from(list(DTYPES)))
    width = 64 if dtype == "float64" else 32
    elements = st.tuples(st.floats(width=width), st.floats(width=width), st.floats(0, allow_infinity=False), st.booleans())
    rows = data.draw(st.lists(elements, max_size=12))
    loss = LOSSES[name](reduction=data.draw(st.sampled_from(["mean", "sum"])))
    state = loss.streaming()
    with np.errstate(all="ignore"):
        inputs, targets = (np.array([row[k] for row in rows], np.float64).astype(DTYPES[dtype]) for k in (0, 1))
    state.update(inputs, targets, np.array([row[2] for row in rows]), np.array([row[3] for row in rows], bool))
    stored = state.to_bytes()
    back = StreamingLoss.from_bytes(stored)
    assert back == state
    assert back.to_bytes() == stored
    assert back.loss == loss
    assert back.count == state.count
    assert np.asarray(back.compute()).tobytes() == np.asarray(state.compute()).tobytes()
    # And it goes on where the other stopped.
    for one in (state, back):
        one.update(inputs, targets)
    assert back.to_bytes() == state.to_bytes()


@given(
    st.integers(-(2**1500), 2**1500).map(lambda n: 2 * n + 1),
    st.integers(-2176, 500),
    st.integers(-(2**1000), 2**1000),
    st.integers(-2176, 1000),
)
def test_exact_sums_and_their_parts(n, exponent, m, other_exponent):
    nothing, dtype = (0, 0, 0), np.dtype(np.float64)
    total = Total.from_parts([((n, exponent, 0), nothing, 1)], dtype)
    assert total.parts() == [((n, exponent, 0), nothing, 1)]
    total = total.plus(Total.from_parts([((m, other_exponent, 5), nothing, 1)], dtype))
    exact = n * Fraction(2) ** exponent + m * Fraction(2) ** other_exponent
    (found, found_exponent, special), *_ = total.parts()[0]
    assert found * Fraction(2) ** found_exponent == exact
    assert (found % 2, special) == (1 if found else 0, 5)


def test_no_more_parts_than_slices():
    parts = [((1, 0, 0), (1, 0, 0), 1)] * 3
    assert Total.from_parts(parts, np.dtype(np.float64), (None, 3)).parts() == parts
    with pytest.raises(ValueError, match="2 slices"):
        Total.from_parts(parts, np.dtype(np.float64), (2, None))


@pytest.mark.parametrize(("n", "exponent"), [(1, -3000), (1, 3000), (1, 2**31 - 1), (1, -(2**31)), (2**5000, 0), (-(2**5000), 0)])
def test_sums_beyond_the_accumulator_are_refused(n, exponent):
    with pytest.raises(ValueError, match="range of exact sums"):
        Total.from_parts([((n, exponent, 0), (0, 0, 0), 1)], None)


# --- what is not a state ----------------------------------------------------------------------------------------------------------


START_OF_HEADER = {1: 10, 2: 16}  # by version: behind magic bytes, version and length


def damaged(rng: np.random.Generator, blob: bytes) -> bytes:
    """Something that is not the state, as accidents make it."""
    kind = rng.integers(6)
    if kind == 0:
        return blob[: rng.integers(len(blob))]
    if kind == 1:
        return blob + rng.bytes(int(rng.integers(1, 20)))
    if kind == 2:
        return rng.bytes(int(rng.integers(0, 200)))
    if kind == 3:  # a foreign version, its checksum right
        body = bytearray(blob[:-8])
        body[7] = rng.choice([0, *range(3, 256)])
        return with_checksum(bytes(body))
    changed = bytearray(blob)
    if kind == 4:  # a run of bytes that something else was written over
        start = int(rng.integers(len(blob)))
        changed[start : start + 8] = rng.bytes(len(changed[start : start + 8]))
    else:
        for at in rng.choice(8 * len(blob), int(rng.integers(1, 9)), replace=False).tolist():
            changed[at // 8] ^= 1 << at % 8
    return bytes(changed)


def accepted(rng: np.random.Generator, blob: bytes, count: int) -> int:
    """How many of so many damaged states are read without a ValueError; anything else that they raise comes out."""
    wrong = 0
    for _ in range(count):
        other = damaged(rng, blob)
        try:
            StreamingLoss.from_bytes(other)
        except ValueError:
            continue
        wrong += other != blob
    return wrong


def test_ten_thousand_damaged_states_are_refused(rng, blob):
    assert accepted(rng, blob, 10_000) == 0


def test_every_truncation_and_every_flipped_bit_is_refused(blob):
    for length in range(len(blob)):
        with pytest.raises(ValueError, match=r"truncated|magic"):
            StreamingLoss.from_bytes(blob[:length])
    for at in range(8 * len(blob)):
        changed = bytearray(blob)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(ValueError, match=r"damaged|truncated|magic|version"):
            StreamingLoss.from_bytes(changed)


def test_forged_content_with_a_right_checksum_is_never_a_crash(rng, blob):
    """Random changes that the checksum does not tell: a valid other state or a ValueError, and valid ones are canonical."""
    header = START_OF_HEADER[blob[7]]
    for _ in range(5000):
        body = bytearray(blob[:-8])
        for at in rng.integers(header, len(body), int(rng.integers(1, 4))).tolist():
            body[at] = rng.integers(256)
        forged = with_checksum(bytes(body))
        try:
            state = StreamingLoss.from_bytes(forged)
        except ValueError:
            continue
        assert state.to_bytes() == forged
        if np.max(state.count, initial=0) < 2**62:
            state.merge(state)
        assert repr(state)
        state.compute()


TINY = Fraction(5e-324)
HUGE = Fraction(float(np.finfo(np.float64).max))
# What has the right length and checksum, and what is said about it; a body is used as it is.
FORGED = {
    "unknown loss": (written("smoothie"), "loss 'smoothie' is unknown"),
    "name that is not ASCII": (written("smooth_ł1"), "loss .* is unknown"),
    "reduction none": (written(reduction=0), "reduction code 0"),
    "reduction 3": (written(reduction=3), "reduction code 3"),
    "negative parameter": (written(parameter=-1.0), "beta must be at least 0"),
    "NaN parameter": (written(parameter=float("nan")), "beta must be at least 0"),
    "parameter of another loss": (written("quantile", parameter=1.5), "q must .*between 0 and 1"),
    "negative zero": (written(parameter=-0.0), "normal form"),
    "parameter of a loss without": (written("l1", parameter=1.0), "normal form"),
    "parameter that float32 does not hold": (written("huber", 0, 1, 1, dtype=3, parameter=1e-300), "rounds to 0.0 in float32"),
    "unknown dtype": (written(dtype=5), "dtype code 5"),
    "data without a dtype": (written(total=1, weights=1, count=1, dtype=0), "no dtype"),
    "unknown flags": (written(total=1, weights=1, count=1, flags=8), "flags 8"),
    "minus infinity": (written(total=1, weights=1, count=1, flags=4), "minus infinity"),
    "nothing, with a sum": (written(total=1), "count is 0"),
    "nothing, with weights": (written(weights=1), "count is 0"),
    "nothing, with a NaN": (written(flags=1), "count is 0"),
    "no weights": (written(total=1, count=1), "sum of weights"),
    "negative weights": (written(total=1, weights=-1, count=1), "sum of weights"),
    "too little weight": (written(weights=TINY, count=2), "sum of weights"),
    "too much weight": (written(weights=2 * HUGE, count=1), "sum of weights"),
    "finer weights than there are": (written(weights=1 + TINY / 2, count=1), "exponent of the sum of weights is -1075"),
    "negative sum": (written(total=-1, weights=1, count=1), "negative"),
    "larger sum than float64 has": (written(total=2 * HUGE, weights=1, count=1), "larger than"),
    "larger sum than float16 has": (written(total=65520, weights=1, count=1, dtype=1), "larger than"),
    "finer sum than float64 has": (written(total=TINY**2 / 2, weights=1, count=1), "exponent of the sum is -2149"),
    "finer sum than float32 has": (written(total=TINY**2, weights=1, count=1, dtype=3), "exponent of the sum is -2148"),
    "exponent out of any range": (written(total=Fraction(2) ** 30_000, weights=1, count=1), "larger than"),
    "too large a count": (written(weights=2**63, count=2**63), "count 9223372036854775808"),
    "lengths that do not add up": (written(surplus=1), "lengths do not add up"),
}


@pytest.mark.parametrize("case", FORGED)
def test_numbers_that_cannot_come_from_data_are_refused(case):
    forged, message = FORGED[case]
    with pytest.raises(ValueError, match=message):
        StreamingLoss.from_bytes(forged)


def test_the_limits_themselves_are_accepted():
    for valid in (
        written(),
        written(dtype=0),
        written(weights=2 * TINY, count=2),
        written(weights=2 * HUGE, count=2),
        written(total=HUGE, weights=1, count=1),
        written(total=TINY**2, weights=TINY, count=1),
        written(total=65504, weights=1, count=1, dtype=1),
        written(weights=2**63 - 1, count=2**63 - 1),
        written(total=1, weights=2, count=2, flags=3),
    ):
        assert StreamingLoss.from_bytes(valid).to_bytes() == valid


def replaced(blob: bytes, start: int, content: bytes) -> bytes:
    body = bytearray(blob[:-8])
    body[start : start + len(content)] = content
    return with_checksum(bytes(body))


@pytest.mark.parametrize(
    ("total", "start", "content"),
    [
        (256 + 2, 30, struct.pack("<h", 0) + struct.pack("<H", 2)),  # a significand that is even: here a plain change of exponent
        (257, 47, b"\x02\x01"),
        (0, 30, struct.pack("<h", 3)),  # an exponent of nothing
    ],
)
def test_numbers_in_another_than_the_normal_form_are_refused(total, start, content):
    valid = written(total=total, weights=300, count=300)
    assert StreamingLoss.from_bytes(valid).to_bytes() == valid
    forged = replaced(valid, start, content)
    if start == 30 and total:
        forged = replaced(forged, 47, (total).to_bytes(2, "little"))
    with pytest.raises(ValueError, match="normal form"):
        StreamingLoss.from_bytes(forged)


def test_a_significand_with_a_byte_too_many_is_refused():
    body = bytearray(written(total=3, weights=3, count=3)[:-8])
    body[8:10] = struct.pack("<H", len(body) + 9)
    body[32:34] = struct.pack("<H", 2)
    body[48:48] = b"\0"
    with pytest.raises(ValueError, match="normal form"):
        StreamingLoss.from_bytes(with_checksum(bytes(body)))


@pytest.mark.parametrize("wrapped", [bytes, bytearray, memoryview])
def test_any_bytes_are_read(wrapped, blob):
    assert StreamingLoss.from_bytes(wrapped(blob)).to_bytes() == blob


@pytest.mark.parametrize("other", [None, "state", 3, [1, 2], np.zeros(3)])
def test_only_bytes_are_read(other):
    with pytest.raises(TypeError, match="a state is bytes"):
        StreamingLoss.from_bytes(other)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a state of a StreamingLoss: it does not begin with its magic bytes"),
        (b"PK\x03\x04", "not a state of a StreamingLoss: it does not begin with its magic bytes"),
        (b"\x93CYL", "truncated state: 4 bytes are there, fewer than its header has"),
        (b"\x93CYLOSS\x04", "state of version 4; this cylosses reads versions 1 to 3"),
        (b"\x93CYLOSS\x02", "truncated state: 8 bytes are there, fewer than its header has"),
        (written()[:40], "truncated state: 40 of 55 bytes are there"),
        (written() + b"\n", "damaged state: 56 bytes are there, it says that it has 55"),
        (written()[:-1] + b"\0", "damaged state: the checksum does not fit"),
    ],
)
def test_the_message_says_what_is_wrong(data, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        StreamingLoss.from_bytes(data)


def test_bfloat16_without_its_package(monkeypatch):
    stored = written("l1", 1, 1, 1, dtype=2, parameter=0.0)
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ValueError, match="pip install ml_dtypes"):
        StreamingLoss.from_bytes(stored)


# --- the object -------------------------------------------------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(name, protocol, rng):
    state = LOSSES[name](reduction="sum").streaming()
    state.update(*SPREADS["gauss"](rng, 100, np.float32))
    back = pickle.loads(pickle.dumps(state, protocol))
    assert back == state
    assert type(back) is StreamingLoss


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copies_are_independent(duplicate):
    state = L1Loss().streaming()
    state.update([3.0], [1.0])
    other = duplicate(state)
    other.update([9.0], [1.0])
    assert (state.count, other.count, state.compute(), other.compute()) == (1, 2, 2.0, 5.0)


def test_a_subclass_comes_back_as_itself(monkeypatch):
    class Named(StreamingLoss):
        __slots__ = ()

    monkeypatch.setitem(globals(), "Named", Named)
    Named.__qualname__ = "Named"
    back = pickle.loads(pickle.dumps(Named(L1Loss())))
    assert type(back) is Named


def test_equality_is_that_of_content():
    def state(loss, *pieces):
        made = loss.streaming()
        for piece in pieces:
            made.update(*piece)
        return made

    base = state(L1Loss(), ([3.0, 1.0], [1.0, 1.0]))
    assert base == state(L1Loss(), ([1.0], [1.0]), ([3.0], [1.0]))
    assert base == state(L1Loss(), ([5.0, 1.0, 1.0], [1.0, 1.0, 1.0], [0.5, 1.5, 0.0]))  # the same sums and count
    assert base != state(L1Loss(), ([3.0, 1.0], [1.0, 1.5]))  # another sum
    assert base != state(L1Loss(), ([3.0, 1.0], [1.0, 1.0], [1.0, 2.0]))  # another sum of weights
    assert base != state(L1Loss(), ([3.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 0.5, 0.5]))  # another count
    assert base != state(L1Loss(), (np.float32([3, 1]), np.float32([1, 1])))  # another dtype
    assert base != state(L1Loss(reduction="sum"), ([3.0, 1.0], [1.0, 1.0]))
    assert state(L1Loss()) != state(MSELoss())
    assert state(L1Loss(), ([np.nan], [0.0])) == state(L1Loss(), ([np.nan], [0.0]))
    assert base != "state"


def test_states_are_unhashable():
    with pytest.raises(TypeError, match="unhashable"):
        hash(L1Loss().streaming())


def test_the_representation_says_loss_count_and_value():
    state = SmoothL1Loss(beta=2.0, reduction="sum").streaming()
    state.update([3.0, 1.0], [1.0, 1.0])
    assert repr(state) == "<StreamingLoss of SmoothL1Loss(reduction='sum', beta=2.0): count 2, value 1.0>"
    state.reset()
    state.update(np.float32([0.1]), np.float32([0]))
    assert repr(state).endswith("count 1, value 0.0025000002>")


@pytest.mark.parametrize("attribute", ["loss", "count"])
def test_loss_and_count_are_read_only(attribute):
    with pytest.raises(AttributeError):
        setattr(L1Loss().streaming(), attribute, 3)


def test_a_loss_outside_the_registry_has_no_bytes():
    class Other(L1Loss):
        __slots__ = ()

    state = Other().streaming()
    state.update([3.0], [1.0])
    assert state.compute() == 2
    with pytest.raises(TypeError, match="only losses of LOSSES have bytes, got Other"):
        state.to_bytes()


def test_more_elements_than_a_total_holds_are_refused():
    state, one = L1Loss().streaming(), L1Loss().streaming()
    state.update([3.0], [1.0])
    one.update([3.0], [1.0])
    for _ in range(62):
        state.merge(state)
    before = state.to_bytes()
    with pytest.raises(OverflowError, match=r"2\*\*63 - 1"):
        state.merge(state)
    assert state.to_bytes() == before
    full = StreamingLoss.from_bytes(written("l1", 1, 2**63 - 1, 2**63 - 1, parameter=0.0))
    with pytest.raises(OverflowError, match=r"2\*\*63 - 1"):
        full.update([3.0], [1.0])
    with pytest.raises(OverflowError, match=r"2\*\*63 - 1"):
        full.merge(one)
    assert full.count == 2**63 - 1


@pytest.mark.parametrize("weight", [[1.0, -1.0], [np.nan, 1.0], [1.0, np.inf]])
def test_a_bad_weight_changes_nothing(weight):
    state = L1Loss().streaming()
    state.update([3.0], [1.0])
    before = state.to_bytes()
    with pytest.raises(ValueError, match="weight"):
        state.update([5.0, 6.0], [1.0, 1.0], weight)
    assert state.to_bytes() == before


def test_threads_may_update_and_merge_at_the_same_time(rng):
    inputs, targets, weights, where = sample(rng, 40_000, "float32")
    loss = SmoothL1Loss()
    expected = loss.streaming()
    expected.update(inputs, targets, weights, where)
    state = loss.streaming()

    def work(number: int) -> None:
        mine = loss.streaming()
        for start in range(number * 1000, 40_000, 4000):
            piece = slice(start, start + 1000)
            target = state if start % 8000 < 4000 else mine
            target.update(inputs[piece], targets[piece], weights[piece], where[piece])
        state.merge(mine)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state == expected


# --- the counting checks at any size ----------------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.test_state", description=__doc__.splitlines()[0])
    parser.add_argument("--partitions", type=int, default=1000, help="random partitions of the data of each loss and dtype")
    parser.add_argument("--blobs", type=int, default=10_000, help="damaged states of each loss and dtype")
    parser.add_argument("--length", type=int, default=5000, help="elements of the data")
    parser.add_argument("--seed", type=int, default=None, help="repeat a run; without it a new one is drawn")
    options = parser.parse_args()
    seed = secrets.randbits(32) if options.seed is None else options.seed
    rng = np.random.default_rng(seed)
    surplus = wrong = 0
    for name, cls in LOSSES.items():
        for dtype in DTYPES:
            columns = sample(rng, options.length, dtype)
            values, states = distinct(rng, cls(), columns, options.partitions)
            surplus += len(values) + len(states) - 2
            blob = next(iter(states))
            wrong += accepted(rng, blob, options.blobs)
            print(
                f"{name} {dtype}: {options.partitions} partitions: {len(values)} value(s), {len(states)} byte string(s)", end="; "
            )
            print(f"{options.blobs} damaged states of {len(blob)} bytes: {wrong} accepted")
    print(f"seed {seed}")
    return 1 if surplus or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
