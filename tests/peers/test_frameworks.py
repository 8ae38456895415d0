"""Tensors of torch and arrays of JAX as operands, and torch's and optax's other losses as peers, with weights.

Divergences that are meant: torch divides a weighted Huber mean by N, here by the sum of the weights; reductions here are
exact, so that elements are compared, and means only nearly.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from cylosses.losses import LOSSES
from tests.generators import DTYPES
from tests.reference import same_bits

TORCH = {
    "smooth_l1": torch.nn.functional.smooth_l1_loss,
    "l1": torch.nn.functional.l1_loss,
    "mse": torch.nn.functional.mse_loss,
    "huber": torch.nn.functional.huber_loss,
}


def ulps(got, expected):
    worst = np.max(abs(got - expected) / np.spacing(np.abs(expected)), initial=0, where=got != expected)
    return float(worst)


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("dtype", DTYPES)
def test_torch(name, dtype, rng, capsys):
    x, t, weight = rng.standard_normal((3, 3000)).astype(dtype)
    weight = abs(weight)
    tensor = torch.from_numpy(x.copy()).requires_grad_()
    theirs = TORCH[name](tensor, torch.from_numpy(t), reduction="none")
    theirs.sum().backward()
    loss = LOSSES[name](reduction="none")
    value, gradient = ulps(loss(x, t), theirs.detach().numpy()), ulps(loss.grad(x, t), tensor.grad.numpy())
    with capsys.disabled():
        print(f"\n  torch {name:<10} {np.dtype(dtype)}: value {value:.1f}, gradient {gradient:.1f} ulp", end="")
    assert max(value, gradient) <= 4
    if name != "smooth_l1":  # torch has no weight there
        mean = TORCH[name](torch.from_numpy(x), torch.from_numpy(t), weight=torch.from_numpy(weight)).item()
        mean *= weight.size / float(weight.astype(float).sum()) if name == "huber" else 1
        assert LOSSES[name]()(x, t, weight=weight) == pytest.approx(mean, rel=1e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_optax_huber(dtype, rng, capsys):
    with jax.enable_x64(True):
        x, t = rng.standard_normal((2, 3000)).astype(dtype) * 2
        worst = ulps(LOSSES["huber"](reduction="none")(x, t), np.asarray(optax.losses.huber_loss(jnp.asarray(x), jnp.asarray(t))))
    with capsys.disabled():
        print(f"\n  optax huber {np.dtype(dtype)}: value {worst:.1f} ulp", end="")
    assert worst <= 4


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_tensors_are_operands(dtype, rng):
    x, t = rng.standard_normal((2, 30, 4)).astype(dtype)
    expected = LOSSES["tukey"](reduction="none")(x, t)
    for first, second in (
        (torch.from_numpy(x), torch.from_numpy(t)),
        (torch.from_numpy(x), t),
        (jnp.asarray(x), jnp.asarray(t)),
        (torch.from_numpy(np.ascontiguousarray(x.T)).T, torch.from_numpy(t)),
    ):
        assert same_bits(LOSSES["tukey"](reduction="none")(first, second), expected)


def test_bfloat16(rng):
    values = rng.standard_normal(50).astype(np.float32)
    of_jax = jnp.asarray(values, jnp.bfloat16)
    assert LOSSES["l1"]()(of_jax, of_jax).dtype.name == "bfloat16"
    with pytest.raises(TypeError, match="input"):  # torch's has no way to NumPy: .float() first
        LOSSES["l1"]()(torch.from_numpy(values).bfloat16(), values)


def test_tensors_that_require_grad_say_what_to_do():
    with pytest.raises(TypeError, match=r"input.*detach"):
        LOSSES["l1"]()(torch.ones(3, requires_grad=True), np.zeros(3))
