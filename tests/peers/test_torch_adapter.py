"""`cylosses.torch`: the bits of the library, the derivatives that torch checks, and what compilers, transforms and users see."""

from __future__ import annotations

import contextlib
import copy
import doctest
import importlib
import inspect
import io
import pickle
import re
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import grad, hessian, jacrev, jvp, vmap
from torch.nn import functional
from torch.testing._internal.common_methods_invocations import op_db

import cylosses
import cylosses.torch as adapter
from cylosses import LOSSES, BroadcastWarning
from cylosses.torch._arrays import array_of, tensor_of
from cylosses.torch._modules import LossModule
from cylosses.torch._operators import FAMILIES
from tests.described import lacks
from tests.reference import ulp_error

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's forward mode calls it

ROOT = Path(__file__).parents[2]
SHARED = [name for name in LOSSES if hasattr(functional, f"{name}_loss")]
REDUCTIONS = ("mean", "sum", "none")
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
# Errors away from every kink of the losses with the defaults of their parameters, and beyond the largest of them.
ERRORS = torch.tensor([-3.3, -1.7, -0.62, -0.23, 0.31, 0.77, 1.45, 5.2], dtype=torch.float64).reshape(2, 4)


def function(name):
    return getattr(adapter, f"{name}_loss")


def bits(tensor):
    """The shape, dtype and bytes of a result, of torch or of the library."""
    array = array_of(tensor) if isinstance(tensor, torch.Tensor) else np.asarray(tensor)
    return array.shape, array.dtype.name, array.tobytes()


def drawn(rng, *shape, dtype=torch.float64, scale=3.0):
    return torch.from_numpy(np.asarray(scale * rng.standard_normal(shape))).to(dtype)


def operands(dtype=torch.float64):
    """A pair whose errors are smooth, both requiring grad."""
    target = torch.linspace(-1, 1, 8, dtype=torch.float64).reshape(2, 4)
    return [tensor.to(dtype).requires_grad_() for tensor in (target + ERRORS, target)]


# Names and signatures -------------------------------------------------------------------------------------------------------------


def test_every_loss_has_a_function_and_a_module():
    assert {*adapter.__all__} == {f"{name}_loss" for name in LOSSES} | {cls.__name__ for cls in LOSSES.values()}
    assert {"smooth_l1", "huber", "l1", "mse"} <= {*SHARED}


def defaults(item):
    return [(p.name, p.default) for p in inspect.signature(item).parameters.values()]


@pytest.mark.parametrize("name", SHARED)
def test_signatures_are_those_of_torch(name):
    theirs = defaults(getattr(functional, f"{name}_loss"))
    assert defaults(function(name))[: len(theirs)] == theirs
    module = LOSSES[name].__name__
    assert defaults(getattr(adapter, module)) == defaults(getattr(torch.nn, module))


@pytest.mark.parametrize("module", ["cylosses.torch._functions", "cylosses.torch._modules"])
def test_doctests(module):
    item = importlib.import_module(module)
    for name in item.__all__:
        (test,) = doctest.DocTestFinder(recurse=False).find(getattr(item, name), name, module=item)
        report: list[str] = []
        doctest.DocTestRunner().run(test, out=report.append)
        assert "".join(report) == ""
        assert {*inspect.signature(getattr(item, name)).parameters} <= {*re.findall(r"\w+", test.docstring)}


@pytest.mark.parametrize("method", ["forward", "extra_repr"])
def test_doctests_of_methods(method):
    (test,) = doctest.DocTestFinder(recurse=False).find(getattr(LossModule, method), method, module=inspect.getmodule(LossModule))
    report: list[str] = []
    doctest.DocTestRunner().run(test, out=report.append)
    assert "".join(report) == ""


def test_nothing_public_lacks_a_docstring_or_an_example():
    assert lacks("cylosses.torch") == []


# The bits of the library ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradients_have_the_bits_of_the_library(name, reduction, dtype, rng):
    x, y = (drawn(rng, 7, 5, dtype=dtype).requires_grad_() for _ in range(2))
    loss = LOSSES[name](reduction=reduction)
    result = function(name)(x, y, reduction=reduction)
    assert bits(result) == bits(loss(array_of(x), array_of(y)))
    assert bits(function(name)(x.detach(), y, reduction=reduction)) == bits(result)
    for incoming in (torch.ones_like(result), drawn(rng, *result.shape, dtype=dtype)):
        gradients = torch.autograd.grad(result, (x, y), incoming, retain_graph=True)
        for wrt, gradient in zip(("input", "target"), gradients, strict=True):
            expected = loss.grad(array_of(x), array_of(y), grad_output=array_of(incoming), wrt=wrt)
            assert torch.equal(gradient, tensor_of(expected))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("axis", [0, -1, (0, 2), None])
@pytest.mark.parametrize("keepdims", [False, True])
def test_weights_masks_and_axes(axis, keepdims, reduction, rng):
    x, y = drawn(rng, 4, 3, 5).requires_grad_(), drawn(rng, 4, 3, 5)
    weight, where = torch.from_numpy(rng.random((3, 1))), torch.from_numpy(rng.random((4, 3, 5)) < 0.7)
    y[~where] = torch.nan
    result = adapter.huber_loss(x, y, reduction, 0.7, weight, where=where, axis=axis, keepdims=keepdims)
    loss = cylosses.HuberLoss(reduction=reduction, delta=0.7)
    arrays, options = (x.detach().numpy(), y.numpy()), {"weight": weight.numpy(), "where": where.numpy(), "axis": axis}
    assert bits(result) == bits(loss(*arrays, keepdims=keepdims, **options))
    incoming = drawn(rng, *result.shape)
    (gradient,) = torch.autograd.grad(result, x, incoming)
    plain = loss(*arrays, **options)
    assert bits(gradient) == bits(loss.grad(*arrays, grad_output=incoming.numpy().reshape(np.shape(plain)), **options))


@pytest.mark.parametrize(
    ("one", "other"), [((4, 3), (3,)), ((4, 1), (1, 3)), ((4, 3), ()), ((2, 1, 3), (4, 1)), ((3,), (4, 3)), ((0, 3), (3,))]
)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_broadcasting_sums_gradients_exactly(one, other, reduction, rng):
    x, y = (drawn(rng, *shape, dtype=torch.float32, scale=1e3).requires_grad_() for shape in (one, other))
    warned = contextlib.nullcontext() if 1 in (x.numel(), y.numel()) else pytest.warns(BroadcastWarning, match="broadcast to")
    with warned as record:
        result = adapter.smooth_l1_loss(x, y, reduction=reduction, beta=2.0)
    if record:
        assert [entry.filename for entry in record] == [__file__]
    loss = cylosses.SmoothL1Loss(reduction=reduction, beta=2.0)
    incoming = drawn(rng, *result.shape, dtype=torch.float32)
    with warnings.catch_warnings():  # none comes from the backward pass
        warnings.simplefilter("error", BroadcastWarning)
        gradients = torch.autograd.grad(result, (x, y), incoming)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BroadcastWarning)
        assert bits(result) == bits(loss(array_of(x), array_of(y)))
        for wrt, gradient in zip(("input", "target"), gradients, strict=True):
            assert bits(gradient) == bits(loss.grad(array_of(x), array_of(y), grad_output=incoming.numpy(), wrt=wrt))


def test_layouts_and_views_are_not_copied(rng):
    x, y = drawn(rng, 6, 8), drawn(rng, 8, 6)
    for a, b in ((x[::2, 1::3], y[:3, :3]), (x.T, y), (x.mT[1:, :3], y[1:, 3:]), (x.expand(2, 6, 8), y.T.expand(2, 6, 8))):
        assert np.shares_memory(array_of(a), array_of(x))
        result = adapter.smooth_l1_loss(a.detach().requires_grad_(), b)
        assert bits(result) == bits(cylosses.smooth_l1_loss(a.numpy(), b.numpy()))
    half = x.to(torch.bfloat16)
    half_array = array_of(half)
    half_array[0, 0] = 7
    assert half[0, 0] == 7
    assert bits(adapter.l1_loss(torch.complex(x, x).conj().imag, x)) == bits(cylosses.l1_loss(-x.numpy(), x.numpy()))


@pytest.mark.parametrize(
    ("one", "other", "result"),
    [
        (torch.int64, torch.int64, torch.float64),
        (torch.uint8, torch.float32, torch.float32),
        (torch.float32, torch.float64, torch.float64),
        (torch.float16, torch.bfloat16, torch.float32),
        (torch.bool, torch.float16, torch.float16),
    ],
)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_dtypes_mix_as_in_the_library(one, other, result, reduction, rng):
    x, y = drawn(rng, 50).abs().to(one), drawn(rng, 50).to(other)
    found = adapter.huber_loss(x, y, reduction=reduction)
    assert found.dtype is result
    assert bits(found) == bits(cylosses.huber_loss(array_of(x), array_of(y), reduction=reduction))
    for wrt, tensor in (("input", x), ("target", y)):
        if tensor.is_floating_point():
            leaf = tensor.clone().requires_grad_()
            pair = (leaf, y) if wrt == "input" else (x, leaf)
            adapter.huber_loss(*pair, reduction=reduction).sum().backward()
            assert leaf.grad.dtype is tensor.dtype
            expected = cylosses.huber_loss_backward(1.0, array_of(x), array_of(y), reduction, wrt=wrt)
            assert torch.equal(leaf.grad, tensor_of(expected).to(tensor.dtype))


def test_bits_do_not_depend_on_threads(rng):
    before, found = torch.get_num_threads(), set()
    x, y = drawn(rng, 300_000, dtype=torch.float32), drawn(rng, 300_000, dtype=torch.float32)
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            leaf = x.clone().requires_grad_()
            result = adapter.smooth_l1_loss(leaf, y)
            (0.3 * result).backward()
            found.add((bits(result), bits(leaf.grad)))
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1


def test_deterministic_mode(rng):
    torch.use_deterministic_algorithms(True)
    try:
        x, y = operands()
        adapter.tukey_loss(x, y).backward()
    finally:
        torch.use_deterministic_algorithms(False)


# The graph of autograd ------------------------------------------------------------------------------------------------------------


def test_a_graph_can_be_walked_twice_and_gives_the_same_gradient(rng):
    x, y = drawn(rng, 1000).requires_grad_(), drawn(rng, 1000)
    result = adapter.smooth_l1_loss(x, y)
    gradients = [torch.autograd.grad(result, x, incoming, retain_graph=True)[0] for incoming in map(torch.tensor, (1.0, 3.0, 1.0))]
    assert bits(gradients[0]) == bits(gradients[2]) == bits(cylosses.smooth_l1_loss_backward(1.0, x.detach().numpy(), y.numpy()))
    assert bits(gradients[1]) == bits(cylosses.smooth_l1_loss_backward(3.0, x.detach().numpy(), y.numpy()))
    assert gradients[0].data_ptr() != gradients[2].data_ptr()
    result.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        result.backward()


def test_operands_that_were_changed_are_noticed(rng):
    x, y = drawn(rng, 10).requires_grad_(), drawn(rng, 10)
    for change in (y, weight := torch.ones(10, dtype=torch.float64)):
        result = adapter.smooth_l1_loss(x, y, weight=weight)
        change += 1
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            (2 * result).backward()


def test_gradients_accumulate_and_no_grad_is_respected(rng):
    x, y = operands()
    adapter.mse_loss(x, y).backward()
    first = x.grad.clone()
    adapter.mse_loss(x, y).backward()
    assert torch.equal(x.grad, 2 * first)
    assert torch.equal(y.grad, -2 * first)
    with torch.no_grad():
        assert not adapter.mse_loss(x, y).requires_grad
    with torch.inference_mode():
        assert adapter.mse_loss(x, y).is_inference()


def test_a_model_is_fitted(rng):
    X = drawn(rng, 200, 3, dtype=torch.float32)
    y = X @ torch.tensor([1.0, -2.0, 0.5]) + 1
    y[::20] += 100
    model, loss = torch.nn.Linear(3, 1), adapter.SmoothL1Loss(beta=0.1)
    optimiser = torch.optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe", max_iter=200)

    def closure():
        optimiser.zero_grad()
        value = loss(model(X)[:, 0], y)
        value.backward()
        return value

    optimiser.step(closure)
    assert model.weight.detach().numpy()[0] == pytest.approx([1, -2, 0.5], abs=0.02)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", LOSSES)
def test_derivatives_by_differences(name, reduction):
    x, y = operands()
    f, weight = function(name), torch.tensor([0.5, 0.0, 2.0, 1.0], dtype=torch.float64)
    where = torch.tensor([[True, True, False, True], [True, False, True, True]])
    row = torch.full((1, 4), 0.1, dtype=torch.float64, requires_grad=True)
    settings = {"reduction": reduction}
    calls = [
        (lambda a, b: f(a, b, **settings), (x, y)),
        (lambda a, b: f(a, b, weight=weight, where=where, **settings), (x, y)),
        (lambda a, b: f(a, b, weight=weight, **settings), (x, row)),
    ]
    if reduction != "none":
        calls.append((lambda a, b: f(a, b, weight=weight, where=where, axis=1, **settings), (x, y)))
        calls.append((lambda a, b: f(a, b, axis=-2, keepdims=True, **settings), (x, row)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BroadcastWarning)
        for call, pair in calls:
            assert gradcheck(call, pair, check_forward_ad=True)
            assert gradgradcheck(call, pair, check_fwd_over_rev=True)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # torch's batching calls the operator in a loop
def test_batched_gradients(reduction):
    def call(a, b):
        return adapter.tukey_loss(a, b, reduction=reduction)

    assert gradcheck(call, operands(), check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True)
    assert gradgradcheck(call, operands(), check_batched_grad=True)


def test_there_is_no_third_derivative():
    x, y = operands()
    (first,) = torch.autograd.grad(adapter.tukey_loss(x, y), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="tukey_loss has two derivatives: it cannot be differentiated a third time"):
        second.sum().backward()


# Compilers and transforms ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_opcheck(name):
    x, y = operands(torch.float32)
    family, parameter = FAMILIES[name], LOSSES[name].default
    weight, where = torch.rand(4), torch.rand(2, 4) < 0.7
    where[:, 0] = True  # the mean of nothing is NaN, which opcheck takes for a difference
    for pair, factors, settings in (
        ((x, y), (None, None), ("mean", parameter, None)),
        ((x, y.detach().double()), (weight, where), ("mean", parameter, [-1])),
        ((x.detach().mT, y.detach()[0, :1]), (None, where.mT), ("none", parameter, None)),
        ((x.detach()[:, :0], y.detach()[:, :0]), (None, None), ("sum", parameter, None)),
    ):
        arguments = (*pair, *factors, *settings)
        torch.library.opcheck(family.value.overload, arguments)
        incoming = torch.rand_like(family.value(*arguments).detach()).requires_grad_()
        for wrt in ("input", "target"):
            torch.library.opcheck(family.gradient.overload, (incoming, *arguments, wrt))
        expanded = [tensor.detach() for tensor in torch.broadcast_tensors(*pair)]
        torch.library.opcheck(family.hessian.overload, (incoming, *expanded, *factors, *settings))


def compiled(function, **options):
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, **options)


@pytest.mark.parametrize(("name", "backend"), [*((name, "aot_eager") for name in LOSSES), ("smooth_l1", "inductor")])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_compiled_without_a_break(name, backend):
    f = function(name)

    def step(x, y, weight):
        return (f(2 * x, y, weight=weight) + f(x, y, reduction="none").mean() + f(x, y, axis=0, keepdims=True).sum()).tanh()

    x, y = operands()
    weight = torch.rand(2, 4, dtype=torch.float64)
    call = compiled(step, backend=backend, dynamic=True)
    for columns in (4, 3):
        pair = x[:, :columns].detach().requires_grad_(), y[:, :columns].detach().requires_grad_()
        expected, got = step(*pair, weight[:, :columns]), call(*pair, weight[:, :columns])
        assert got.item() == pytest.approx(expected.item(), rel=1e-14)
        theirs, ours = (torch.autograd.grad(value, pair) for value in (expected, got))
        for a, b in zip(theirs, ours, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-16)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_compiled_modules_and_flags():
    x, y = operands(torch.float32)
    for module in (adapter.SmoothL1Loss(beta=0.3), adapter.L1Loss(reduction="sum"), adapter.QuantileLoss(q=0.9)):
        assert bits(compiled(module, backend="aot_eager")(x, y)) == bits(module(x, y))
    with pytest.warns(DeprecationWarning, match="use reduction='sum'"):
        found = compiled(lambda a, b: adapter.mse_loss(a, b, size_average=False), backend="aot_eager")(x, y)
    assert bits(found) == bits(adapter.mse_loss(x, y, reduction="sum"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_exported_and_traced_programs_have_the_operator():
    x, y = (tensor.detach() for tensor in operands(torch.float32))
    program = torch.export.export(adapter.HuberLoss(delta=2.0), (x, y))
    assert "torch.ops.cylosses.huber_loss.default" in program.graph_module.code
    assert bits(program.module()(y, x)) == bits(adapter.huber_loss(y, x, delta=2.0))
    traced = torch.jit.trace(lambda a, b: adapter.huber_loss(a, b), (x, y))
    assert bits(traced(3 * x, y)) == bits(adapter.huber_loss(3 * x, y))


def test_transforms(rng):
    x, y = drawn(rng, 6, 4), drawn(rng, 6, 4)
    f = adapter.tukey_loss
    rows = torch.stack([f(a, b) for a, b in zip(x, y, strict=True)])
    assert torch.equal(vmap(f)(x, y), rows)
    assert torch.equal(vmap(f, in_dims=(1, 0))(x.T, y), rows)
    assert torch.equal(vmap(lambda a: f(a, y[0]))(x), torch.stack([f(a, y[0]) for a in x]))
    assert torch.equal(vmap(lambda b: f(x, y, weight=b))(y.abs()), torch.stack([f(x, y, weight=b) for b in y.abs()]))
    assert torch.equal(vmap(lambda a, b: f(a, b, reduction="none"))(x, y), f(x, y, reduction="none"))
    assert torch.equal(vmap(vmap(f))(x[None], y[None])[0], rows)
    assert torch.equal(vmap(lambda a, b: f(a, b, axis=np.int64(0)))(x, y), rows)
    assert f(x, y, axis=np.int64(1), keepdims=True).shape == (len(x), 1)
    for axis in (1, -2, 7):
        with pytest.raises(ValueError, match="axis"):
            vmap(lambda a, b, axis=axis: f(a, b, axis=axis))(x, y)
    with pytest.raises(ValueError, match="axis"):
        vmap(lambda a, b: f(a, b, axis=0))(x[:, 0], y[:, 0])
    each = torch.stack([grad(f)(a, b) for a, b in zip(x, y, strict=True)])
    assert torch.equal(vmap(grad(f))(x, y), each)
    assert bits(grad(f)(x, y)) == bits(cylosses.tukey_loss_backward(1.0, x.numpy(), y.numpy()))
    of_target = vmap(lambda a: grad(f, argnums=1)(a, y[0]))(x)
    assert torch.equal(of_target, torch.stack([grad(f, argnums=1)(a, y[0]) for a in x]))
    assert torch.equal(jacrev(jacrev(f))(x[0], y[0]), hessian(f)(x[0], y[0]))
    value, tangent = jvp(lambda a: f(a, y), (x,), (torch.ones_like(x),))
    assert torch.equal(value, f(x, y))
    assert tangent.item() == pytest.approx(grad(f)(x, y).sum().item(), rel=1e-14)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        assert torch.equal(forward_ad.unpack_dual(f(dual, y)).tangent, tangent)


def test_classes_and_modes_that_override_functions_are_asked(rng):
    seen = []

    class Watching(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append(func)
            return func(*args, **(kwargs or {}))

    class Own(torch.Tensor):
        pass

    x, y = operands()
    with Watching():
        expected = adapter.quantile_loss(x, y, q=0.3)
    assert seen[0] is adapter.quantile_loss
    own = adapter.quantile_loss(x.detach().as_subclass(Own), y, q=0.3)
    assert type(own) is Own
    assert bits(own.as_subclass(torch.Tensor)) == bits(expected)


def test_autocast_computes_in_float32(rng):
    x, y = drawn(rng, 20, dtype=torch.bfloat16).requires_grad_(), drawn(rng, 20, dtype=torch.bfloat16)
    for name in SHARED:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            ours, theirs = function(name)(x, y), getattr(functional, f"{name}_loss")(x, y)
        assert ours.dtype is theirs.dtype is torch.float32
        assert bits(ours) == bits(function(name)(x.float(), y.float()))
        assert torch.autograd.grad(ours, x)[0].dtype is torch.bfloat16


# torch's own samples --------------------------------------------------------------------------------------------------------------


def ulps(got, expected):
    """The difference of two numbers in units in the last place of the second; 0 for the same infinity or NaN."""
    if got == expected or (np.isnan(got) and np.isnan(expected)):
        return 0.0
    if not (np.isfinite(got) and np.isfinite(expected)):
        return np.inf
    return float(ulp_error(got, Fraction(float(expected)), got.dtype))


def farthest(got, theirs, wide):
    """The largest difference in ulp from torch, or from torch in float64 where that is nearer: then torch is the one that errs."""
    pairs = zip(*(array_of(tensor).ravel() for tensor in (got, theirs)), array_of(wide).ravel(), strict=True)
    return max((min(ulps(a, b), ulps(a, c)) for a, b, c in pairs), default=0.0)


def samples(name, dtype):
    """The arguments of torch's own tests of a loss."""
    (info,) = [info for info in op_db if info.name == f"nn.functional.{name}_loss"]
    assert dtype in info.dtypes
    for sample in info.sample_inputs("cpu", dtype, requires_grad=True):
        yield sample.input, sample.args[0], sample.kwargs


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SHARED)
def test_samples_of_torch(name, dtype, capsys):
    """Losses and gradients are within 4 ulp of torch's: of the one in the same dtype, or of the one in float64."""
    count, largest = 0, 0.0
    for x, y, options in samples(name, dtype):
        results = []
        ours, theirs = function(name), getattr(functional, f"{name}_loss")
        for f, to in ((ours, dtype), (theirs, dtype), (theirs, torch.float64)):
            a, b = (tensor.detach().to(to).requires_grad_() for tensor in (x, y))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of shapes that broadcast
                result = f(a, b, **options)
                gradients = torch.autograd.grad(result, (a, b), torch.ones_like(result))
            results.append((result, *gradients))
        for triple in zip(*results, strict=True):
            assert triple[0].shape == triple[1].shape
            assert triple[0].dtype is triple[1].dtype
            largest = max(largest, farthest(*triple))
        count += 1
    assert count >= 6
    assert largest <= 4
    with capsys.disabled():
        print(f"\n{name}, {dtype}: {count} samples of torch {torch.__version__}, largest difference {largest:.2f} ulp")


def test_where_torch_gives_something_else():
    """NaN errors stay NaN in the gradient at beta 0, and a mean whose sum overflows is still right."""
    x, y = torch.tensor([torch.nan, 1.0], requires_grad=True), torch.zeros(2)
    assert torch.isnan(torch.autograd.grad(adapter.smooth_l1_loss(x, y, beta=0.0), x)[0][0])
    assert torch.autograd.grad(functional.smooth_l1_loss(x, y, beta=0.0), x)[0][0] == 0
    large = torch.full((4,), 3e38)
    assert adapter.l1_loss(large, torch.zeros(4)) == 3e38
    assert functional.l1_loss(large, torch.zeros(4)) == torch.inf
    weight = torch.tensor([1.0, 3.0])
    assert adapter.huber_loss(y + 1, y, weight=weight) == 0.5
    assert functional.huber_loss(y + 1, y, weight=weight) == 1.0


# Modules --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_modules(name):
    cls = getattr(adapter, LOSSES[name].__name__)
    parameter, value = LOSSES[name].parameter_name, 0.25
    settings = {"reduction": "sum"} | ({parameter: value} if parameter else {})
    module = cls(**settings)
    expected = repr(LOSSES[name](**settings))
    assert isinstance(module, torch.nn.Module)
    x, y = operands()
    weight, where = torch.rand(4, dtype=torch.float64), torch.rand(2, 4) < 0.7
    options = {"weight": weight, "where": where, "axis": 1, "keepdims": True}
    for other in (module, pickle.loads(pickle.dumps(module)), copy.deepcopy(module), torch.nn.Sequential(module)[0].train()):
        assert type(other) is cls
        assert repr(other) == expected
        assert other.state_dict() == {}
        assert bits(other(x, y)) == bits(function(name)(x, y, **settings))
        assert bits(other(x, y, **options)) == bits(function(name)(x, y, **settings, **options))
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    assert repr(torch.load(buffer, weights_only=False)) == expected
    assert repr(cls()) == repr(LOSSES[name]())


def test_settings_of_modules():
    module = adapter.SmoothL1Loss(beta=0.5)
    module.beta = 2.0  # as those of torch, they are attributes
    x, y = operands()
    assert bits(module(x, y)) == bits(adapter.smooth_l1_loss(x, y, beta=2.0))
    with pytest.warns(DeprecationWarning, match="use reduction='none'"):
        assert adapter.MSELoss(reduce=False).reduction == "none"
    with pytest.warns(DeprecationWarning, match="use reduction='sum'"):
        assert bits(adapter.l1_loss(x, y, False)) == bits(adapter.l1_loss(x, y, reduction="sum"))
    for bad in (lambda: adapter.HuberLoss(delta=0.0), lambda: adapter.HuberLoss("average")):
        with pytest.raises(ValueError, match=r"delta must be positive, got 0\.0|reduction must be 'none', 'mean' or 'sum'"):
            bad()


# Other tensors, and errors --------------------------------------------------------------------------------------------------------


def test_tensors_of_shapes_only():
    x, y = torch.empty(3, 4, device="meta", requires_grad=True), torch.empty(3, 4, device="meta")
    result = adapter.tukey_loss(x, y, axis=0)
    assert (result.device.type, tuple(result.shape)) == ("meta", (4,))
    result.sum().backward()
    assert x.grad.shape == x.shape
    with torch._subclasses.FakeTensorMode():
        assert adapter.tukey_loss(torch.empty(3), torch.empty(3)).shape == ()


def test_what_only_torch_takes_is_left_to_it():
    x = torch.tensor([3 + 4j, 1j], requires_grad=True)
    y = torch.zeros(2, dtype=torch.complex64)
    assert adapter.l1_loss(x, y) == functional.l1_loss(x, y) == 3
    for call, message in (
        (
            lambda: adapter.tukey_loss(x, y),
            "computes on dense CPU tensors of real numbers, and input is strided, of complex64",
        ),
        (lambda: adapter.l1_loss(x, y, where=torch.ones(2) > 0), "but has no where of this kind"),
        (lambda: adapter.tukey_loss(torch.eye(2).to_sparse(), torch.eye(2)), "input is sparse_coo, of float32, on the device cpu"),
        (lambda: adapter.quantile_loss(torch.ones(2), torch.ones(2).to(torch.float8_e5m2)), "target is strided, of float8_e5m2"),
    ):
        with pytest.raises(TypeError, match=message):
            call()


ONES = torch.ones(2, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda f: f(ONES, 1.0), TypeError, r"target must be a torch\.Tensor, got float"),
        (lambda f: f([1.0], ONES), TypeError, r"input must be a torch\.Tensor, got list"),
        (lambda f: f(ONES, ONES, weight=[1.0]), TypeError, r"weight must be a torch\.Tensor, got list"),
        (lambda f: f(ONES, ONES, weight=torch.ones(3, requires_grad=True)), TypeError, r"no derivative .* pass weight\.detach\(\)"),
        (lambda f: f(ONES, torch.ones(4)), ValueError, r"input of shape \(2, 3\) and target of shape \(4,\) cannot be broadcast"),
        (lambda f: f(ONES, ONES, weight=torch.ones(4)), ValueError, r"weight of shape \(4,\) cannot be broadcast to \(2, 3\)"),
        (lambda f: f(ONES, ONES, weight=-ONES), ValueError, "weight"),
        (lambda f: f(ONES, ONES, where=ONES), TypeError, "where has dtype float32; it must be bool"),
        (lambda f: f(ONES, ONES, reduction="average"), ValueError, "reduction must be 'none', 'mean' or 'sum', got 'average'"),
        (lambda f: f(ONES, ONES, reduction=None), ValueError, "reduction must be 'none', 'mean' or 'sum', got None"),
        (lambda f: f(ONES, ONES, beta=-1.0), ValueError, r"beta must be at least 0, got -1\.0"),
        (lambda f: f(ONES, ONES, beta="one"), TypeError, "beta must be one real number, got 'one'"),
        (lambda f: f(ONES, ONES, "sum", 0.5), TypeError, r"reduce must be a bool or None, got 0\.5"),
        (lambda f: f(ONES, ONES, reduction="none", axis=0), ValueError, "axis and keepdims need reduction='mean' or 'sum'"),
        (lambda f: f(ONES, ONES, reduction="none", keepdims=True), ValueError, "axis and keepdims need reduction='mean' or 'sum'"),
        (lambda f: f(ONES, ONES, axis=2), ValueError, "axis 2 is out of bounds"),
    ],
)
@pytest.mark.parametrize("recorded", [False, True])
def test_errors(call, error, message, recorded):
    def f(input, target, *arguments, **options):
        if recorded and isinstance(input, torch.Tensor):
            input = input.clone().requires_grad_()  # noqa: A001
        return adapter.smooth_l1_loss(input, target, *arguments, **options)

    with pytest.raises(error, match=message):
        call(f)


def test_parameters_may_be_numbers_of_any_kind(rng):
    x, y = operands()
    expected = bits(adapter.smooth_l1_loss(x, y, beta=2.0))
    for beta in (2, np.float32(2), torch.tensor(2.0), torch.tensor(2)):
        assert bits(adapter.smooth_l1_loss(x, y, beta=beta)) == expected
        assert bits(vmap(lambda a, b, beta=beta: adapter.smooth_l1_loss(a, b, beta=beta))(x[None], y[None])[0]) == expected
    assert bits(adapter.smooth_l1_loss(x, y, beta=True)) == bits(adapter.smooth_l1_loss(x, y))
    with pytest.raises(ValueError, match=r"beta must be one number here"):
        adapter.smooth_l1_loss(x, y, beta=torch.tensor([2.0]))
    for call in (adapter.smooth_l1_loss, grad(adapter.smooth_l1_loss)):  # no derivative is lost in silence
        with pytest.raises(TypeError, match=r"beta (is a tensor that requires grad.*pass beta\.detach\(\)|cannot be turned into)"):
            call(x, y, beta=torch.tensor(2.0, requires_grad=True))


# The page -------------------------------------------------------------------------------------------------------------------------


def test_the_page_works_as_printed():
    """Each line that prints has what it prints in a comment."""
    source = "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "torch.md").read_text(encoding="utf-8"), re.DOTALL))
    assert source.count("print(") >= 8
    with contextlib.redirect_stdout(io.StringIO()) as printed, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of compilers
        exec(compile(source, "docs/torch.md", "exec"), {})
    expected = [line.rpartition("  # ")[2] for line in source.splitlines() if line.startswith("print(")]
    assert printed.getvalue().splitlines() == expected
