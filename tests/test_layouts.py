"""Where the numbers lie in memory changes nothing: every layout gives the bits of the contiguous call."""

from __future__ import annotations

import numpy as np
import pytest

from cylosses import smooth_l1_loss_backward
from cylosses.losses import LOSSES, SmoothL1Loss

from .generators import DTYPES, LAYOUTS, SMALL_LENGTHS, SPREADS
from .reference import ORACLE, reduced, same_bits

SHAPES = [(1,), (7,), (1023,), (2500,), (33, 5), (4, 1, 6), (2, 600), (1, 1), (3, 4, 5, 6), (1, 1500), (1500, 1)]


def results(name, inputs, targets, **options):
    """Everything that a loss computes of one pair."""
    found = {}
    for reduction in ("none", "mean", "sum"):
        loss = LOSSES[name](reduction=reduction)
        found[reduction] = loss(inputs, targets, **options)
        found[f"gradient of {reduction}"] = loss.grad(inputs, targets, **options)
        value, gradient = loss.value_and_grad(inputs, targets, **options)
        found[f"value with gradient of {reduction}"] = value
        found[f"gradient with value of {reduction}"] = gradient
    return found


def assert_same(found, expected):
    different = [what for what in expected if not same_bits(found[what], expected[what])]
    assert different == []
    assert [type(result) for result in found.values()] == [type(result) for result in expected.values()]


def pair(rng, shape, dtype, spread="gauss"):
    return (values.reshape(shape) for values in SPREADS[spread](rng, int(np.prod(shape)), dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_layouts(dtype, layout, shape, rng, tmp_path):
    name = str(rng.choice(list(LOSSES)))  # loops over blocks know nothing of layouts: any loss stands for all
    inputs, targets = pair(rng, shape, dtype)
    expected = results(name, inputs, targets)
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    moved_inputs = LAYOUTS[layout](inputs, tmp_path / "first")
    moved_targets = LAYOUTS[layout](targets, tmp_path / "second")
    assert_same(results(name, moved_inputs, moved_targets), expected)
    assert_same(results(name, moved_inputs, targets), expected)
    assert_same(results(name, inputs, moved_targets, n_threads=2), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("first", LAYOUTS)
@pytest.mark.parametrize("second", LAYOUTS)
def test_two_different_layouts(dtype, first, second, rng, tmp_path):
    inputs, targets = pair(rng, (50, 43), dtype, "any window")
    expected = results("smooth_l1", inputs, targets)
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    moved = (LAYOUTS[first](inputs, tmp_path / "first"), LAYOUTS[second](targets, tmp_path / "second"))
    assert_same(results("smooth_l1", *moved), expected)


# Dimensions are cut into tiles of up to 128 rows: some left over (131, 257, 397), none (160, 256), a single tile (40).
@pytest.mark.parametrize(
    "shape", [(131, 200), (257, 397), (160, 256), (40, 1000), (5, 40, 331), (3, 131, 17, 19), (2, 3, 150, 151)], ids=str
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_fast_dimensions_that_differ(shape, dtype, rng):
    inputs, targets = pair(rng, shape, dtype, "any window")
    axes = [*range(2, len(shape)), 0, 1]
    moved = targets.transpose(axes).copy().transpose(np.argsort(axes))  # as channels last against channels first
    loss = LOSSES["smooth_l1"]()
    weights, selected = rng.integers(0, 3, shape).astype(dtype), rng.random(shape) < 0.9
    expected = results("smooth_l1", inputs, targets)
    for second in (moved, targets.copy("F")):
        assert_same(results("smooth_l1", inputs, second), expected)
        assert_same(results("smooth_l1", second, inputs, n_threads=3), results("smooth_l1", targets, inputs))
        for options in ({"weight": weights}, {"weight": weights.copy("F"), "where": selected}):
            same = {key: np.ascontiguousarray(array) for key, array in options.items()}
            assert_same(results("smooth_l1", inputs, second, **options), results("smooth_l1", inputs, targets, **same))
        for axis in (0, -1):
            assert same_bits(loss(inputs, second, axis=axis), loss(inputs, targets, axis=axis))
        out = np.empty(shape, dtype, order="F")
        loss.grad(inputs, second, out=out)
        assert same_bits(out, expected["gradient of mean"])


def cut(host, rows, columns, row_step, step):
    """A window of a larger array: every row_step-th row, every step-th column."""
    return host[: rows * abs(row_step)][::row_step, : columns * abs(step)][:, ::step]


# Short rows are copied in pieces and longer ones in runs, over narrow gaps and wide; steps 2 to 4 have loops of their own.
@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5, 7, 10, 16, 17, 33, 127, 129, 255, 256, 300, 600])
@pytest.mark.parametrize(
    ("row_step", "step"), [(1, 1), (3, 1), (-2, 1), (1, 2), (2, 3), (1, 4), (1, 5), (1, -1), (-1, -2), (2, -3)]
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_windows(columns, row_step, step, dtype, rng):
    rows = 140_000 // columns if step == 1 or columns in (1, 4, 300) else 5000 // columns  # from memory as from a cache
    inputs, targets = pair(rng, (rows, columns), dtype)
    loss = LOSSES["smooth_l1"]()
    value, gradient = loss.value_and_grad(inputs, targets)
    shape = (rows * abs(row_step), columns * abs(step) + 2)
    hosts = [np.full(shape, np.nan, dtype) for _ in range(3)]
    first, second, out = (cut(host, rows, columns, row_step, step) for host in hosts)
    first[...], second[...] = inputs, targets
    for arrays in ((first, second), (first, targets), (inputs, second)):
        for n_threads in (1, 2):
            assert same_bits(loss(*arrays, n_threads=n_threads), value)
        out[...] = 77
        loss.grad(*arrays, out=out)
        assert same_bits(np.ascontiguousarray(out), gradient)
    assert np.count_nonzero(np.isnan(hosts[2])) == hosts[2].size - out.size  # nothing else was written


# A transposition goes in squares of 4 by 4, the last of which overlap; fewer rows or columns have a loop of their own.
@pytest.mark.parametrize("columns", [2, 3, 4, 5, 6, 7, 50, 63, 64, 65, 67, 100, 130])
@pytest.mark.parametrize("rows", [2, 3, 5, 18, 4099])
@pytest.mark.parametrize("dtype", DTYPES)
def test_transpositions(columns, rows, dtype, rng):
    inputs, targets = pair(rng, (rows, columns), dtype)
    loss = LOSSES["smooth_l1"]()
    value, gradient = loss.value_and_grad(inputs, targets)
    for first, second in ((inputs.copy("F"), targets), (inputs, targets.copy("F")), (inputs.copy("F"), targets.copy("F"))):
        for order in "CF":
            for n_threads in (1, 2):
                host = np.full((rows + 2, columns + 2), 77, dtype, order)
                out = host[1:-1, 1:-1]
                found, _ = loss.value_and_grad(first, second, out=out, n_threads=n_threads)
                assert same_bits(found, value)
                assert same_bits(np.ascontiguousarray(out), gradient)
                out[...] = 77
                assert (host == 77).all()  # nothing around it was written
    spaced = np.full((2 * columns, rows + 1), np.nan, dtype)[::2, :-1].T
    spaced[...] = targets
    assert same_bits(loss(inputs, spaced), value)
    assert same_bits(loss(spaced[:, ::-1], inputs[:, ::-1]), loss(targets, inputs))
    for broadcast in (targets[:1], targets[:, :1]):
        full = np.ascontiguousarray(np.broadcast_to(broadcast, (rows, columns)))
        assert same_bits(loss(inputs.copy("F"), np.broadcast_to(broadcast, (rows, columns))), loss(inputs, full))
        assert same_bits(loss.grad(inputs.copy("F"), np.broadcast_to(broadcast, (rows, columns))), loss.grad(inputs, full))
    overwritten = inputs.copy("F")
    loss.grad(overwritten, targets, out=overwritten)
    assert same_bits(np.ascontiguousarray(overwritten), gradient)
    host = np.zeros(rows * columns + 1, dtype)
    shifted, out = (host[k : k + rows * columns].reshape(columns, rows).T for k in (0, 1))
    shifted[...] = inputs
    loss.grad(shifted, targets, out=out)  # each element of the one is the memory of a neighbour of the other
    assert same_bits(np.ascontiguousarray(out), gradient)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("length", SMALL_LENGTHS[1:])
def test_layouts_around_vector_widths(layout, length, rng, tmp_path):
    inputs, targets = pair(rng, (length,), np.float32)
    moved = LAYOUTS[layout](inputs, tmp_path)
    assert_same(results("smooth_l1", moved, targets), results("smooth_l1", inputs, targets))


@pytest.mark.parametrize("layout", ["strided", "negative strides", "transposed", "byte-swapped", "unaligned"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_that_are_worth_threads(layout, dtype, rng, tmp_path):
    inputs, targets = pair(rng, (600, 1001), dtype)
    expected = results("smooth_l1", inputs, targets)
    moved = LAYOUTS[layout](inputs, tmp_path)
    for n_threads in (1, 3):
        assert_same(results("smooth_l1", moved, targets, n_threads=n_threads), expected)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "memmap"])
@pytest.mark.parametrize("dtype", ["int8", "int64", "uint16", "bool", "float16"])
def test_layouts_of_other_dtypes(layout, dtype, rng, tmp_path):
    array = rng.integers(0, 2 if dtype == "bool" else 100, (40, 31)).astype(dtype)
    targets = rng.standard_normal((40, 31)).astype(np.float32)
    if layout == "strided" and dtype != "float16":  # that layout fills its gaps with NaN
        moved = np.repeat(np.repeat(array, 2, axis=0), 3, axis=1)[::2, 1::3]
    else:
        moved = LAYOUTS[layout](array, tmp_path)
    expected = results("smooth_l1", array.astype(np.float32), targets)
    assert_same(results("smooth_l1", moved, targets), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_mixed_dtypes_in_layouts(dtype, rng):
    inputs = rng.standard_normal((37, 41))
    targets = rng.standard_normal((41, 37)).astype(np.float32).T
    expected = results("smooth_l1", inputs, np.ascontiguousarray(targets, np.float64))
    assert_same(results("smooth_l1", inputs, targets), expected)
    assert_same(
        results("smooth_l1", inputs[::-1], targets[::-1]),
        {what: np.ascontiguousarray(result[::-1]) if np.ndim(result) else result for what, result in expected.items()},
    )


def test_lists_and_tuples(rng):
    inputs, targets = pair(rng, (30, 4), np.float64)
    expected = results("smooth_l1", inputs, targets)
    assert_same(results("smooth_l1", inputs.tolist(), targets.tolist()), expected)
    assert_same(results("smooth_l1", tuple(map(tuple, inputs.tolist())), targets), expected)
    assert_same(results("smooth_l1", list(inputs), targets), expected)


def test_objects_with_array(rng):
    class Column:
        def __init__(self, values):
            self.values = values

        def __array__(self, dtype=None, copy=None):
            return np.array(self.values, dtype=dtype, copy=copy)

    inputs, targets = pair(rng, (30,), np.float32)
    assert_same(results("smooth_l1", Column(inputs), Column(targets)), results("smooth_l1", inputs, targets))


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_dimension(dtype):
    x, t = np.array(3, dtype), np.array(1, dtype)
    for reduction in ("mean", "sum"):
        assert same_bits(LOSSES["smooth_l1"](reduction=reduction)(x, t), dtype(1.5))
    assert same_bits(np.asarray(LOSSES["smooth_l1"](reduction="none")(x, t)), np.array(1.5, dtype))
    assert same_bits(np.asarray(LOSSES["smooth_l1"]().grad(x, t)), np.array(1, dtype))


# Broadcasting -------------------------------------------------------------------------------------------------------

BROADCASTS = [
    ((7,), (5, 7)),
    ((5, 1), (5, 7)),
    ((5, 1), (1, 7)),
    ((5, 1), (7,)),
    ((1,), (1500,)),
    ((), (1500,)),
    ((), (3, 1)),
    ((1, 1), (1,)),
    ((2, 1, 3), (4, 1)),
    ((3, 1, 2, 1), (1, 5, 1, 400)),
    ((1, 2000), (3, 1)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shapes", BROADCASTS, ids=str)
@pytest.mark.filterwarnings("ignore::cylosses.BroadcastWarning")
def test_broadcasting(dtype, shapes, rng):
    x, t = (SPREADS["any window"](rng, int(np.prod(shape)), dtype)[0].reshape(shape) for shape in shapes)
    for first, second in ((x, t), (t, x)):
        full = [np.ascontiguousarray(whole) for whole in np.broadcast_arrays(first, second)]
        loss = LOSSES["smooth_l1"]
        losses = loss(reduction="none")(*full)
        assert same_bits(loss(reduction="none")(first, second), losses)
        for reduction in ("mean", "sum"):
            for n_threads in (1, 3):
                got = loss(reduction=reduction)(first, second, n_threads=n_threads)
                assert same_bits(got, reduced(losses, reduction))
            value, _ = loss(reduction=reduction).value_and_grad(first, second)
            assert same_bits(value, reduced(losses, reduction))


@pytest.mark.parametrize("dtype", DTYPES)
def test_broadcast_views_of_equal_shape_do_not_warn(dtype, rng):
    """`filterwarnings = error` would fail this test: the shapes are the same, only strides are zero."""
    row = rng.standard_normal((1, 300)).astype(dtype)
    view, other = (np.broadcast_to(row, (50, 300)), rng.standard_normal((50, 300)).astype(dtype))
    assert_same(results("smooth_l1", view, other), results("smooth_l1", np.ascontiguousarray(view), other))
    one = np.broadcast_to(dtype(0.3), (50, 300))
    assert_same(results("smooth_l1", one, other), results("smooth_l1", np.ascontiguousarray(one), other))
    assert_same(results("smooth_l1", one, one), results("smooth_l1", *[np.ascontiguousarray(one)] * 2))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shapes", [((0,), (1,)), ((3, 0), (3, 1)), ((0, 4), (4,)), ((), (0,)), ((1, 0), (5, 1))])
@pytest.mark.filterwarnings("ignore::cylosses.BroadcastWarning")
def test_broadcasting_to_nothing(dtype, shapes):
    x, t = (np.ones(shape, dtype) for shape in shapes)
    shape = np.broadcast_shapes(*shapes)
    for first, second in ((x, t), (t, x)):
        assert same_bits(LOSSES["smooth_l1"](reduction="none")(first, second), np.empty(shape, dtype))
        assert same_bits(LOSSES["smooth_l1"](reduction="sum")(first, second), dtype(0))
        assert np.isnan(LOSSES["smooth_l1"](reduction="mean")(first, second))


def test_the_same_array_twice(rng):
    x = rng.standard_normal((20, 30))
    assert LOSSES["smooth_l1"]()(x, x) == 0
    assert LOSSES["smooth_l1"]()(x[:10], x[10:]) == LOSSES["smooth_l1"]()(x[:10].copy(), x[10:].copy())


@pytest.mark.parametrize("ndim", [32, 63, 64])
def test_as_many_dimensions_as_numpy_has(ndim, rng):
    shape = [1] * ndim
    shape[0], shape[ndim // 2], shape[-1] = 3, 4, 5
    inputs, targets = pair(rng, shape, np.float32)
    expected = results("smooth_l1", inputs.ravel(), targets.ravel())
    for moved in (inputs, inputs.astype(">f4"), np.asfortranarray(inputs)):
        found = {what: np.reshape(result, -1) for what, result in results("smooth_l1", moved, targets).items()}
        assert all(same_bits(found[what], np.reshape(expected[what], -1)) for what in expected)


@pytest.mark.filterwarnings("ignore::cylosses.BroadcastWarning")
@pytest.mark.parametrize("of_target", [2, 32, 33, 64])
@pytest.mark.parametrize("of_input", [3, 33, 64])
def test_as_many_dimensions_as_numpy_has_with_unequal_shapes(of_input, of_target, rng):
    """Leading axes of length 1 change no bit, on either operand, whatever else the call says."""
    inputs, targets = rng.standard_normal((2, 1, 4)), rng.standard_normal((3, 1))
    weight, where = rng.integers(1, 4, (2, 3, 4)) * 0.5, rng.random((3, 4)) < 0.8
    where[:, 0] = True
    most = max(of_input, of_target)

    def padded(array, ndim):
        return array.reshape((1,) * (ndim - array.ndim) + array.shape)

    def flat(results):
        return [np.ravel(result) for result in results]

    def everything(x, t, w, m):
        for reduction in ("none", "mean", "sum"):
            loss = SmoothL1Loss(reduction=reduction, beta=0.3)
            for options in ({}, {"weight": w}, {"where": m}, {"weight": w, "where": m}):
                yield loss(x, t, **options)
                for wrt, operand in (("input", x), ("target", t)):
                    gradient = loss.grad(x, t, wrt=wrt, out=np.empty(operand.shape), **options)
                    assert gradient.shape == operand.shape
                    yield gradient
                    yield smooth_l1_loss_backward(0.7, x, t, reduction, 0.3, wrt=wrt, **options)
                yield from loss.value_and_grad(x, t, **options)
                yield from loss.grad_and_hess(x, t, **options)
                for axis in (-1, (-3, -2)) if reduction != "none" else ():
                    for keepdims in (False, True):
                        value = loss(x, t, axis=axis, keepdims=keepdims, **options)
                        assert loss(x, t, axis=axis, keepdims=keepdims, out=np.empty(value.shape), **options).shape == value.shape
                        yield value
                    yield loss.grad(x, t, axis=axis, grad_output=loss(x, t, axis=axis), **options)
            if reduction == "none":  # an output that lies across the input
                room = np.zeros((1,) * (max(x.ndim, t.ndim) - 3) + (2, 3, 4))
                room[...] = x
                yield loss(room, t, out=room[..., ::-1])
            else:
                total = loss.streaming()
                total.update(x, t, w, m)
                yield total.compute()

    expected = flat(everything(inputs, targets, weight, where))
    found = flat(everything(padded(inputs, of_input), padded(targets, of_target), padded(weight, most), padded(where, most)))
    assert len(found) > 100
    assert [k for k, (a, b) in enumerate(zip(found, expected, strict=True)) if not same_bits(a, b)] == []


def test_shapes_of_many_dimensions_that_do_not_broadcast():
    with pytest.raises(ValueError, match=r"input of shape .* and target of shape .* cannot be broadcast"):
        SmoothL1Loss()(np.zeros((2, *[1] * 40)), np.zeros((3, *[1] * 40)))


def test_more_elements_than_can_be_counted():
    side = np.broadcast_to(1.0, 2**40)
    with pytest.raises(ValueError, match=r"input of shape .* and target of shape .* too many elements"):
        SmoothL1Loss()(side[:, None], side)


def test_many_dimensions(rng):
    inputs, targets = pair(rng, (1, 2) * 8, np.float32)
    moved = inputs.transpose()[(slice(None, None, -1),) * 16].transpose()[(slice(None, None, -1),) * 16]
    assert_same(results("smooth_l1", moved, targets), results("smooth_l1", inputs, targets))
    assert_same(
        results("smooth_l1", inputs.T, targets.T),
        results("smooth_l1", np.ascontiguousarray(inputs.T), np.ascontiguousarray(targets.T)),
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("past_line", [0, 1, 5])
@pytest.mark.parametrize("layout", ["contiguous", "strided", "mixed"])
def test_outputs_that_are_stored_past_the_cache(dtype, past_line, layout, rng):
    """Large outputs go round the cache a line at a time, wherever they and the operands begin: as computed piece by piece."""
    n = (1 << 24) // np.dtype(dtype).itemsize + 1003
    step = 1 if layout == "contiguous" else 2
    inputs = np.resize(rng.standard_normal(100_003).astype(dtype), step * n)[::step]
    targets = np.resize(rng.standard_normal(50_021).astype(dtype), n)
    weight = np.resize(rng.random(7001).astype(dtype), n)
    if layout == "mixed":
        inputs = inputs.astype(np.float16 if dtype == np.float32 else np.float32)
    room = np.empty((2, n + 32), dtype)
    start = -room.ctypes.data % 64 // room.itemsize + past_line
    first, second = room[0, start : start + n], room[1, start : start + n]
    loss = SmoothL1Loss(reduction="sum", beta=0.7)
    each = SmoothL1Loss(reduction="none", beta=0.7)
    calls = {
        "none": lambda x, t, w, out: each(x, t, out=out[0]),
        "gradient": lambda x, t, w, out: loss.grad(x, t, grad_output=0.3, out=out[0]),
        "value and gradient": lambda x, t, w, out: loss.value_and_grad(x, t, out=out[0]),
        "gradient and Hessian": lambda x, t, w, out: loss.grad_and_hess(x, t, out=out),
        "weighted": lambda x, t, w, out: loss.grad(x, t, weight=w, out=out[0]),
        "masked": lambda x, t, w, out: each(x, t, where=w > 0.5, out=out[0]),
    }
    for name, call in calls.items():
        room[:] = 77
        call(inputs, targets, weight, (first, second))
        piece = np.empty((2, 200_003), dtype)
        for k in range(0, n, 200_003):
            chosen = slice(k, min(k + 200_003, n))
            parts = tuple(piece[:, : chosen.stop - k])
            call(inputs[chosen], targets[chosen], weight[chosen], parts)
            assert same_bits(first[chosen], parts[0]), name
            assert "Hessian" not in name or same_bits(second[chosen], parts[1])
        assert (room[:, :start] == 77).all()
        assert (room[:, start + n :] == 77).all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(67, 130), (130, 67), (97, 33, 65)])
def test_rows_left_over_from_tiles_use_the_parameter_as_it_is_rounded(name, dtype, shape, rng):
    """C order with Fortran order goes in tiles, and what does not fill one apart from the rest: the same bits."""
    inputs, targets = (array.reshape(shape) for array in SPREADS["gauss"](rng, int(np.prod(shape)), dtype))
    weight = rng.random(shape).astype(dtype)
    each, summed = (LOSSES[name](reduction=reduction, **ORACLE[name].setting(1 / 3)) for reduction in ("none", "mean"))
    fortran, contiguous = np.asfortranarray(inputs), np.ascontiguousarray(inputs)
    assert same_bits(each(fortran, targets), each(contiguous, targets))
    for loss in (each, summed):
        for curvature in ("exact", "mm"):
            pairs = (loss.grad_and_hess(x, targets, curvature=curvature, weight=weight) for x in (fortran, contiguous))
            assert all(map(same_bits, *pairs))
    assert same_bits(summed(fortran, targets), summed(contiguous, targets))
    total = summed.streaming()
    total.update(fortran, targets)
    assert same_bits(total.compute(), summed(contiguous, targets))
