"""Tensors of torch and arrays of JAX as operands, and torch's and optax's losses as peers, with weights.

`tools.peer_table` has the rows and the differences that are meant.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from cylosses.losses import LOSSES
from tests.reference import same_bits
from tools import peer_table

ROWS = peer_table.rows(peer_table.LARGE)
PROOFS = [proof for peer in peer_table.LARGE for proof in peer_table.DIVERGENCES.get(peer, ())]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row, rng):
    found = peer_table.compare(row, rng)
    assert found.is_explained(row), found


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.__name__)
def test_divergence(proof):
    assert proof()


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
