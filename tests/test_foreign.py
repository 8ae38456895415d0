"""Arrays of others: what is read in place, and errors that say what to do with the rest."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from cylosses import StreamingLoss
from cylosses.losses import LOSSES

from .reference import same_bits

X, T = np.array([3.0, -1.0, 0.25, 8.0]), np.array([1.0, 1.0, 0.0, -4.0])
EXPECTED = LOSSES["smooth_l1"](reduction="none")(X, T)


class WithArray:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype=dtype)


class OnlyDLPack:
    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class ArrayInterface:
    def __init__(self, array):
        self.array, self.__array_interface__ = array, array.__array_interface__


class Subclass(np.ndarray):
    pass


PRODUCERS = {
    "__array__": WithArray,
    "__dlpack__ alone": OnlyDLPack,
    "__array_interface__": ArrayInterface,
    "pandas Series": pd.Series,
    "pandas Series with an index": lambda a: pd.Series(a, index=np.arange(len(a))[::-1]),
    "pandas column": lambda a: pd.DataFrame({"a": a, "b": a})["a"],
    "pandas Index": pd.Index,
    "pandas nullable": lambda a: pd.Series(a, dtype="Float64" if a.dtype == np.float64 else None),
    "array API": array_api_strict.asarray,
    "subclass": lambda a: a.view(Subclass),
    "matrix row": lambda a: np.asarray(a)[None][0].view(Subclass),
    "memoryview": memoryview,
}


@pytest.mark.parametrize("producer", PRODUCERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_producers(producer, dtype):
    make = PRODUCERS[producer]
    x, t = make(X.astype(dtype)), make(T.astype(dtype))
    expected = EXPECTED.astype(dtype)
    for pair in ((x, t), (x, T.astype(dtype)), (X.astype(dtype), t)):
        got = LOSSES["smooth_l1"](reduction="none")(*pair)
        assert type(got) is np.ndarray
        assert same_bits(got, expected)
        loss = LOSSES["smooth_l1"]()
        assert same_bits(loss(*pair), loss(X.astype(dtype), T.astype(dtype)))
        assert type(loss.grad(*pair)) is np.ndarray
        state = StreamingLoss(loss)
        state.update(*pair)
        assert same_bits(state.compute(), loss(*pair))


@pytest.mark.parametrize("producer", PRODUCERS)
def test_producers_of_weights_masks_and_gradients(producer):
    weight, where = np.array([1.0, 2.0, 0.0, 0.5]), np.array([True, True, False, True])
    foreign = PRODUCERS[producer]
    loss = LOSSES["smooth_l1"]()
    assert same_bits(loss(X, T, weight=foreign(weight), where=foreign(where)), loss(X, T, weight=weight, where=where))
    element = LOSSES["smooth_l1"](reduction="none")
    assert same_bits(element.grad(X, T, grad_output=foreign(weight)), element.grad(X, T, grad_output=weight))


@pytest.mark.parametrize("producer", ["__array__", "__dlpack__ alone", "array API", "pandas Series", "subclass", "memoryview"])
def test_producers_are_read_in_place(producer):
    """Nothing that grows with the array is allocated."""
    import tracemalloc

    x, t = (PRODUCERS[producer](a) for a in np.ones((2, 1_000_000)))
    loss = LOSSES["smooth_l1"]()
    loss(x, t)
    tracemalloc.start()
    loss(x, t)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


def test_frames_are_arrays_of_two_dimensions():
    frame = pd.DataFrame({"a": X, "b": T, "c": X - T})
    assert same_bits(
        LOSSES["l1"]()(frame, frame.to_numpy()[::-1], axis=0), LOSSES["l1"]()(frame.to_numpy(), frame.to_numpy()[::-1], axis=0)
    )


def test_integer_and_bool_columns():
    frame = pd.DataFrame({"i": [1, 2, 3], "b": [True, False, True]})
    assert LOSSES["l1"]()(frame["i"], frame["b"]) == 4 / 3
    assert LOSSES["l1"]()(pd.Series([1, 2, 3], dtype="Int64"), frame["i"]) == 0


REFUSED = {
    "object array": (np.array([1.0, 2, 3, 4], object), r"object.*astype"),
    "pandas NA": (pd.Series([1.0, None, 3, 4], dtype="Float64").astype(object), r"object|NA"),
    "pandas integer NA": (pd.Series([1, None, 3, 4], dtype="Int64").astype(object), r"object|NA"),
    "pandas strings": (pd.Series(["a", "b", "c", "d"]), r"object|str"),
    "pandas dates": (pd.Series(pd.date_range("2020-01-01", periods=4)), r"datetime64"),
    "pandas categories": (pd.Series(["a", "b", "a", "b"], dtype="category"), r"object|str"),
    "masked array": (np.ma.masked_array(X, [0, 1, 0, 0]), r"where="),
    "sets": ({1.0, 2.0}, r"object"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_array_of_numbers_is_refused_by_name(what):
    wrong, message = REFUSED[what]
    with pytest.raises(TypeError, match=rf"input.*({message})"):
        LOSSES["huber"]()(wrong, T)
    with pytest.raises(TypeError, match="target"):
        LOSSES["huber"]()(X, wrong)
    with pytest.raises(TypeError, match="weight"):
        LOSSES["huber"]()(X, T, weight=wrong)


@pytest.mark.parametrize("dtype", ["float64", "Int64", "Float64"])
def test_missing_values_of_pandas_are_nan(dtype):
    """Pandas converts a nullable column with gaps to NaN or to objects, which are an error: never to a number."""
    column = pd.Series([1, None, 3], dtype=dtype)
    if np.asarray(column).dtype == object:
        with pytest.raises(TypeError, match=r"input.*object"):
            LOSSES["l1"](reduction="none")(column, np.zeros(3))
    else:
        assert same_bits(LOSSES["l1"](reduction="none")(column, np.zeros(3)), np.array([1, np.nan, 3]))


class OnTheGPU:
    __cuda_array_interface__ = {"shape": (4,), "typestr": "<f8", "data": (1234, False), "version": 3}  # noqa: RUF012
    shape = (4,)

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("the library tried to copy from a GPU behind the user's back")

    def __dlpack__(self, **options):
        raise AssertionError("the library tried to copy from a GPU behind the user's back")


class Device:
    type = "cuda"


class TensorOnTheGPU:
    device = Device()

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("the library tried to copy from a GPU behind the user's back")


class RequiresGrad:
    requires_grad = True

    def __array__(self, dtype=None, copy=None):
        return X


@pytest.mark.parametrize("make", [OnTheGPU, TensorOnTheGPU])
def test_arrays_of_a_gpu_say_what_to_do(make):
    for call in (LOSSES["huber"](), LOSSES["huber"]().grad):
        with pytest.raises(TypeError, match=r"input.*CPU.*copy"):
            call(make(), T)
        with pytest.raises(TypeError, match=r"target.*CPU.*copy"):
            call(X, make())
        with pytest.raises(TypeError, match=r"weight.*CPU.*copy"):
            call(X, T, weight=make())


def test_tensors_that_require_grad_say_what_to_do():
    with pytest.raises(TypeError, match=r"input.*requires grad.*detach"):
        LOSSES["huber"]()(RequiresGrad(), T)


class TorchTensor:
    """What a torch tensor shows of itself, with the errors that torch raises; tests/peers/test_torch.py has the real ones."""

    device = type("Device", (), {"type": "cpu"})()
    requires_grad = False

    def __init__(self, dtype="torch.float32", negative=False):
        self.dtype, self.negative = type("Dtype", (), {"__str__": lambda self: dtype})(), negative

    def is_neg(self):
        return self.negative

    def __array__(self, dtype=None, copy=None):
        if self.negative:
            raise RuntimeError("Can't call numpy() on Tensor that has negative bit set. Use tensor.resolve_neg().numpy() instead.")
        if str(self.dtype) == "torch.bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return X.astype(str(self.dtype).removeprefix("torch."))


@pytest.mark.parametrize(
    ("tensor", "advice"),
    [
        (TorchTensor(negative=True), r"negative bit.*{}\.resolve_neg\(\)"),
        (TorchTensor("torch.bfloat16"), r"bfloat16.*{}\.float\(\)"),
    ],
    ids=["negative bit", "bfloat16"],
)
def test_tensors_that_torch_does_not_hand_over_say_what_to_do(tensor, advice):
    assert same_bits(LOSSES["huber"]()(TorchTensor(), T), LOSSES["huber"]()(X.astype(np.float32), T))
    for loss in (LOSSES["huber"](), LOSSES["huber"]().grad, LOSSES["huber"]().streaming().update):
        for name, call in {
            "input": lambda loss=loss: loss(tensor, T),
            "target": lambda loss=loss: loss(X, tensor),
            "weight": lambda loss=loss: loss(X, T, weight=tensor),
            "where": lambda loss=loss: loss(X, T, where=tensor),
        }.items():
            with pytest.raises(TypeError, match=rf"^{name} .*{advice.format(name)}"):
                call()
    with pytest.raises(TypeError, match=rf"^grad_output .*{advice.format('grad_output')}"):
        LOSSES["huber"]().grad(X, T, grad_output=tensor)


@pytest.mark.parametrize("column", ["requires_grad", "is_neg", "device", "dtype", "type"])
def test_columns_may_have_any_name(column):
    frame = pd.DataFrame({column: X})
    assert same_bits(LOSSES["huber"]()(frame, T[:, None]), LOSSES["huber"]()(X, T))


class Broken:
    def __init__(self, error):
        self.error = error

    def __array__(self, dtype=None, copy=None):
        raise self.error


@pytest.mark.parametrize("error", [ValueError, RuntimeError, NotImplementedError, OverflowError, AttributeError, OSError])
def test_errors_of_a_producer_are_named(error):
    for name, call in {
        "input": lambda broken: LOSSES["huber"]()(broken, T),
        "target": lambda broken: LOSSES["huber"]()(X, broken),
        "weight": lambda broken: LOSSES["huber"]()(X, T, weight=broken),
        "where": lambda broken: LOSSES["huber"]()(X, T, where=broken),
    }.items():
        with pytest.raises(TypeError, match=rf"^{name} .*out of order") as caught:
            call(Broken(error("out of order")))
        assert isinstance(caught.value.__cause__, error)


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_errors_that_are_not_the_argument_s_fault_stay_what_they_are(error):
    with pytest.raises(error):
        LOSSES["huber"]()(Broken(error()), T)


NULLABLE = {
    "pandas boolean": pd.Series([True, None, False, True], dtype="boolean"),
    "pandas objects": pd.Series([True, pd.NA, False, True], dtype=object),
    "pandas frame": pd.DataFrame({"a": pd.Series([True, None, False, True], dtype="boolean")})["a"],
    "times": np.array([True, pd.NaT, False, True], object),
    "pyarrow": pa.array([True, None, False, True]),
    "list": [True, None, False, True],
}


@pytest.mark.parametrize("what", NULLABLE)
def test_missing_values_of_a_mask_are_named_as_the_cause(what):
    for call in (LOSSES["huber"](), LOSSES["huber"]().grad, LOSSES["huber"]().streaming().update):
        with pytest.raises(TypeError, match=r"^where has missing values \(NA\).*fillna\(False\)"):
            call(X, T, where=NULLABLE[what])


MISSING = {
    "Float64 objects": pd.Series([1.0, None, 3.0, 4.0], dtype="Float64").astype(object),
    "Int64 objects": pd.Series([1, None, 3, 4], dtype="Int64").astype(object).to_numpy(),
    "list": [1.0, None, 3.0, 4.0],
    "booleans": pd.Series([True, None, False, True], dtype="boolean"),
    "pyarrow booleans": pa.array([True, None, False, True]),
    "mixed frame": pd.DataFrame({"a": pd.Series([1, None], dtype="Int64"), "b": pd.Series([True, None], dtype="boolean")}),
}


@pytest.mark.parametrize("what", MISSING)
def test_missing_values_of_operands_are_named_as_the_cause(what):
    wrong = MISSING[what]
    advice = r"has missing values \(NA\).*dtype object.*fillna.*dropna.*where="
    with pytest.raises(TypeError, match=f"^input {advice}"):
        LOSSES["huber"]()(wrong, np.zeros(np.shape(wrong)))
    with pytest.raises(TypeError, match=f"^target {advice}"):
        LOSSES["huber"]().grad(np.zeros(np.shape(wrong)), wrong)
    with pytest.raises(TypeError, match=f"^weight {advice}"):
        LOSSES["huber"]()(np.zeros(np.shape(wrong)), np.zeros(np.shape(wrong)), weight=wrong)


def test_the_advice_about_missing_values_works():
    column = pd.Series([3.0, None, 0.25, 8.0], dtype="Float64").astype(object)
    with pytest.raises(TypeError, match="missing"):
        LOSSES["huber"]()(column, T)
    filled = pd.Series([3.0, None, 0.25, 8.0], dtype="Float64").to_numpy(dtype=float, na_value=np.nan)
    expected = LOSSES["huber"]()(X[[0, 2, 3]], T[[0, 2, 3]])
    assert same_bits(LOSSES["huber"]()(filled, T, where=~np.isnan(filled)), expected)
    mask = NULLABLE["pandas boolean"].fillna(False)
    assert same_bits(LOSSES["huber"]()(X, T, where=mask), LOSSES["huber"]()(X, T, where=np.array([True, False, False, True])))


def test_an_out_of_another_kind_is_refused():
    for out in (pd.Series(X), array_api_strict.asarray(X), list(X), np.ma.masked_array(X), WithArray(X)):
        with pytest.raises(TypeError, match="out"):
            LOSSES["huber"](reduction="none")(X, T, out=out)
    out = np.empty(4).view(Subclass)
    assert LOSSES["huber"](reduction="none")(X, T, out=out) is out
