"""What is refused, with messages that name the argument and what came."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import cylosses
from cylosses import LOSSES, BroadcastWarning, SmoothL1Loss, smooth_l1_loss, smooth_l1_loss_backward

X, T = np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.0, 0.0])


def every_entry(x, t, **setting):
    """The same call through each public door, as functions without arguments."""
    options = {key: setting.pop(key) for key in ("out", "n_threads") if key in setting}
    return {
        "smooth_l1_loss": lambda: smooth_l1_loss(x, t, **setting, **options),
        "smooth_l1_loss_backward": lambda: smooth_l1_loss_backward(1.0, x, t, **setting, **options),
        "SmoothL1Loss": lambda: SmoothL1Loss(**setting)(x, t, **options),
        "grad": lambda: SmoothL1Loss(**setting).grad(x, t, **options),
        "value_and_grad": lambda: SmoothL1Loss(**setting).value_and_grad(x, t, **options),
    }


def refused(error, match, x=X, t=T, **setting):
    for entry, call in every_entry(x, t, **setting).items():
        with pytest.raises(error) as caught:
            call()
        assert re.search(match, str(caught.value)), entry


# Settings -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["median", "Mean", "", "batchmean", "mean ", None, 1, True, ["mean"]])
def test_unknown_reductions(reduction):
    refused(ValueError, rf"(?s)reduction.*{re.escape(repr(reduction))}", reduction=reduction)


def test_a_message_about_the_reduction_lists_what_is_accepted():
    with pytest.raises(ValueError, match=r"none.*mean.*sum"):
        smooth_l1_loss(X, T, "median")


@pytest.mark.parametrize("reduction", ["median", None])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_reduction_is_checked_even_if_a_flag_replaces_it(reduction):
    with pytest.raises(ValueError, match="reduction"):
        smooth_l1_loss(X, T, size_average=False, reduction=reduction)
    with pytest.raises(ValueError, match="reduction"):
        SmoothL1Loss(reduce=False, reduction=reduction)


@pytest.mark.parametrize("beta", [-1.0, -1e-60, -5e-324, -np.inf, np.nan, np.float32(-2), np.array([-3.0])])
def test_betas_out_of_range(beta):
    refused(ValueError, rf"beta.*{re.escape(f'{float(np.ravel(beta)[0])}'.rstrip('0').rstrip('.'))}", beta=beta)


@pytest.mark.parametrize("beta", ["1", None, ["1.0", "2.0"], [1.0, None], 1j, [1.0, 1j], object(), {}, b"1"])
def test_betas_that_are_no_number(beta):
    refused(TypeError, "beta", beta=beta)


HUGE = {
    "10**400": (10**400, "integer of 401 digits"),
    "-10**400": (-(10**400), "negative integer of 401 digits"),
    "10**5000": (10**5000, "integer of 5001 digits"),  # whose repr is an error
    "Fraction": (Fraction(10**400), r"Fraction\(1000"),
    "Fraction without repr": (Fraction(-(10**5000)), "object of type Fraction"),
    "array": (np.array(10**400), r"array\(1000"),
}


@pytest.mark.parametrize("what", HUGE)
@pytest.mark.parametrize("name", [name for name, cls in LOSSES.items() if cls.parameter_name])
def test_parameters_beyond_float64(what, name):
    value, words = HUGE[what]
    cls = LOSSES[name]
    setting = {cls.parameter_name: value}
    for call in (
        lambda: cls(**setting),
        lambda: getattr(cylosses, f"{name}_loss")(X, T, **setting),
        lambda: getattr(cylosses, f"{name}_loss_backward")(1.0, X, T, **setting),
    ):
        with pytest.raises(ValueError, match=rf"^{cls.parameter_name} .*{words}") as caught:
            call()
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize("third", [Fraction(1, 3), Decimal(1) / 3, np.longdouble(1) / 3, np.array(1 / 3)])
def test_parameters_that_are_numbers_of_other_kinds(third):
    assert SmoothL1Loss(beta=third) == SmoothL1Loss(beta=1 / 3)
    assert smooth_l1_loss(X, T, beta=third) == smooth_l1_loss(X, T, beta=1 / 3)


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no words")


class Unconvertible:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("not today")


@pytest.mark.parametrize(
    "beta",
    [
        Unprintable(),
        Unconvertible(),
        ["1"],
        np.array("1"),
        np.timedelta64(3, "ns"),
        np.datetime64(3, "ns"),
        "x" * 10**6,
        Decimal("sNaN"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_betas_that_only_look_like_numbers(beta):
    refused(TypeError, "^beta (must be one real number, .*got|cannot be turned into an array of numbers:) .{1,300}$", beta=beta)


def test_other_settings_that_are_huge():
    for huge, words in ((-(10**400), "401 digits"), (-(10**5000), "5001 digits")):
        refused(ValueError, rf"^n_threads .*{words}", n_threads=huge)
        refused(ValueError, rf"^reduction .*{words}", reduction=huge)
        with pytest.raises(ValueError, match=rf"^axis .*{words}"):
            smooth_l1_loss(X, T, axis=huge)
        with pytest.raises(TypeError, match=rf"^beta is given twice.*{words}"):
            smooth_l1_loss(X, T, {"beta": 1.0}, beta=huge)
        for operand in (abs(huge), [huge]):
            refused(TypeError, "^input .*object", x=operand)


@pytest.mark.parametrize("n_threads", [0, -1, -(2**40)])
def test_thread_counts_out_of_range(n_threads):
    refused(ValueError, rf"n_threads.*{n_threads}", n_threads=n_threads)


@pytest.mark.parametrize("n_threads", [1.0, True, "2", [2], np.float64(2)])
def test_thread_counts_that_are_no_integer(n_threads):
    refused(TypeError, "n_threads", n_threads=n_threads)


# Settings given twice -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "options", "name"),
    [
        (({"beta": 0.5},), {"beta": 2.0}, "beta"),
        (({"reduction": "sum"},), {"reduction": "none"}, "reduction"),
        ((None, None, "sum", 0.5, {"beta": 2.0}), {}, "beta"),
        ((None, None, "sum", 0.5, {"reduction": "none"}), {}, "reduction"),
        (("sum",), {"reduction": "none"}, "reduction"),
        (("sum", 0.5), {"beta": 2.0}, "beta"),
        (("sum", 0.5), {"options": {"beta": 2.0}}, "beta"),
        (("sum",), {"options": {"reduction": "none"}}, "reduction"),
        (({"beta": 0.5},), {"options": {"beta": 2.0}}, "beta|options"),
        ((True,), {"options": {"size_average": False}}, "size_average"),
        ((True, None, "mean", 1.0, {"size_average": False}), {}, "size_average"),
        ((None, False, "mean", 1.0, {"reduce": True}), {}, "reduce"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_settings_given_twice_with_different_values(args, options, name):
    with pytest.raises(TypeError, match=rf"({name}).*given twice with different values"):
        smooth_l1_loss(X, T, *args, **options)


def test_too_many_or_too_few_arguments():
    with pytest.raises(TypeError):
        smooth_l1_loss(X)
    with pytest.raises(TypeError):
        smooth_l1_loss(X, T, None, None, "mean", 1.0, None, None)
    with pytest.raises(TypeError, match="gamma"):
        smooth_l1_loss(X, T, gamma=1.0)
    with pytest.raises(TypeError, match="gamma"):
        SmoothL1Loss(gamma=1.0)


@pytest.mark.parametrize("key", ["delta", "size-average", "Beta", "input", 3])
def test_unknown_options(key):
    for args, options in (
        (({key: 1.0},), {}),
        ((None, None, "mean", 1.0, {key: 1.0}), {}),
        ((), {"options": {key: 1.0}}),
    ):
        with pytest.raises(TypeError, match=re.escape(str(key))):
            smooth_l1_loss(X, T, *args, **options)


@pytest.mark.parametrize("options", [[("beta", 1.0)], 3, "beta", ("beta",)])
def test_options_that_are_no_mapping(options):
    with pytest.raises(TypeError, match="options"):
        smooth_l1_loss(X, T, options=options)
    with pytest.raises(TypeError, match="options"):
        smooth_l1_loss(X, T, None, None, "mean", 1.0, options)


def test_options_are_checked_like_arguments():
    with pytest.raises(ValueError, match=r"reduction.*'median'"):
        smooth_l1_loss(X, T, {"reduction": "median"})
    with pytest.raises(ValueError, match=r"beta.*-1"):
        smooth_l1_loss(X, T, {"beta": -1.0})
    with pytest.raises(TypeError, match="beta"):
        smooth_l1_loss(X, T, {"beta": "1"})


# Operands -----------------------------------------------------------------------------------------------------------

WRONG_DTYPES = {
    "complex128": np.array([1j, 2, 3]),
    "complex64": np.array([1j, 2, 3], np.complex64),
    "object": np.array([1, 2, 3], object),
    "<U1": np.array(["1", "2", "3"]),
    "|S1": np.array([b"1", b"2", b"3"]),
    "datetime64": np.array(["2020-01-01"] * 3, "datetime64[D]"),
    "timedelta64": np.array([1, 2, 3], "timedelta64[s]"),
    "longdouble": np.array([1, 2, 3], np.longdouble),
    "void": np.zeros(3, [("a", "f4")]),
}


@pytest.mark.parametrize("dtype", WRONG_DTYPES)
def test_dtypes_that_have_no_loss(dtype):
    wrong = WRONG_DTYPES[dtype]
    # The message names the dtype as NumPy does; for the long double both of its names are clear.
    names = {str(wrong.dtype), wrong.dtype.name, dtype, wrong.dtype.str.lstrip("<>|=")}
    match = "|".join(map(re.escape, sorted(names)))
    refused(TypeError, rf"input.*({match})|({match}).*input", wrong, T)
    refused(TypeError, rf"target.*({match})|({match}).*target", X, wrong)


@pytest.mark.parametrize("wrong", ["1.5", ["1", "2", "3"], None, object(), {"a": 1}, [datetime.date.today()] * 3, 2j])
def test_operands_that_are_no_numbers(wrong):
    refused(TypeError, "input", wrong, T)
    refused(TypeError, "target", X, wrong)


def test_ragged_lists():
    refused((TypeError, ValueError), "input|inhomogeneous", [[1.0], [1.0, 2.0]], T)


def test_masked_arrays_point_at_where():
    refused(TypeError, r"input.*where=|where=.*input", np.ma.masked_array(X, [0, 1, 0]), T)
    refused(TypeError, r"target.*where=|where=.*target", X, np.ma.masked_array(T))


# Shapes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), [((3,), (2,)), ((2, 3), (3, 2)), ((0,), (2,)), ((4, 1, 2), (3, 3)), ((2,), (2, 3))])
def test_shapes_that_do_not_broadcast(first, second):
    match = rf"{re.escape(str(first))}.*{re.escape(str(second))}"
    refused(ValueError, match, np.zeros(first), np.zeros(second))


@pytest.mark.parametrize(
    ("first", "second"), [((3,), (3, 1)), ((3, 1), (3,)), ((2, 3), (3,)), ((1, 3), (3,)), ((3,), (2, 1)), ((2, 3), (0, 1, 1))]
)
def test_shapes_that_broadcast_are_both_named_in_a_warning(first, second):
    match = rf"{re.escape(str(first))}.*{re.escape(str(second))}"
    for call in every_entry(np.zeros(first), np.zeros(second)).values():
        with pytest.warns(BroadcastWarning, match=match) as caught:
            call()
        assert len(caught) == 1
        assert caught[0].filename == __file__
    assert issubclass(BroadcastWarning, UserWarning)


@pytest.mark.parametrize("one", [0.0, 0, np.float64(0), np.zeros(()), np.zeros(1), np.zeros((1, 1)), [[0.0]]])
@pytest.mark.parametrize("shape", [(3,), (0,), (2, 3), (1, 3, 1), (1,), ()])
def test_an_operand_of_one_element_is_no_mistake_of_shapes(one, shape):
    """No BroadcastWarning, which is an error in these tests; NaN is the mean of the empty one."""
    other = np.arange(float(np.prod(shape, dtype=int))).reshape(shape)
    for x, t in ((other, one), (one, other)):
        results = [call() for call in every_entry(x, t).values()]
        expected = SmoothL1Loss()(*np.broadcast_arrays(x, t))
        assert np.array_equal(results[0], expected, equal_nan=True)
        assert np.array_equal(results[2], expected, equal_nan=True)


def test_an_error_in_the_settings_comes_before_the_broadcast_warning():
    """`filterwarnings = error` would turn the warning into the exception seen here."""
    with pytest.raises(ValueError, match="beta"):
        smooth_l1_loss(np.zeros((3, 1)), np.zeros(3), beta=-1.0)


# Threads ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, -3])
def test_default_thread_counts_out_of_range(count, keep_num_threads):
    with pytest.raises(ValueError, match=str(count)):
        cylosses.set_num_threads(count)
    assert cylosses.get_num_threads() == keep_num_threads


@pytest.mark.parametrize("count", [1.5, True, "2"])
def test_default_thread_counts_that_are_no_integer(count, keep_num_threads):
    with pytest.raises(TypeError):
        cylosses.set_num_threads(count)
    assert cylosses.get_num_threads() == keep_num_threads
