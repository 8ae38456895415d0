"""What docs/coming-from-torch.md says of torch, and the booster of docs/start.md."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

import cylosses

DOCS = Path(__file__).parents[2] / "docs"
PREDICTION, TRUTH = torch.tensor([1.5, 2.0, 0.5]), torch.tensor([1.0, 10.0, 0.5])


def test_the_page_names_the_torch_that_is_tested():
    page = (DOCS / "coming-from-torch.md").read_text(encoding="utf-8")
    (version,) = re.findall(r"tried with torch (\d+\.\d+)", page)
    assert torch.__version__.startswith(f"{version}.")


def test_a_sum_depends_on_the_number_of_threads():
    rng = torch.Generator().manual_seed(0)
    inputs, targets = (torch.randn(1_000_003, generator=rng) for _ in range(2))
    before, theirs = torch.get_num_threads(), set()
    try:
        for threads in (1, 2, 3, 4):
            torch.set_num_threads(threads)
            theirs.add(functional.smooth_l1_loss(inputs, targets, reduction="sum").item())
    finally:
        torch.set_num_threads(before)
    ours = {cylosses.smooth_l1_loss(inputs.numpy(), targets.numpy(), "sum", n_threads=threads).item() for threads in (1, 2, 3, 4)}
    assert len(theirs) > 1
    assert len(ours) == 1


def test_a_mean_overflows_on_its_way():
    assert functional.smooth_l1_loss(torch.full((4,), 3e38), torch.zeros(4)).isinf()
    assert cylosses.smooth_l1_loss(np.full(4, 3e38, np.float32), 0.0) == np.float32(3e38)


@pytest.mark.filterwarnings("ignore")
def test_a_text_in_third_place_is_a_true_flag():
    assert functional.smooth_l1_loss(PREDICTION, TRUTH, "none").shape == ()


@pytest.mark.filterwarnings("ignore")
def test_a_reduction_beside_a_flag_goes_unnoticed():
    assert functional.smooth_l1_loss(PREDICTION, TRUTH, reduce=False, reduction="median").shape == (3,)


def test_weights():
    weight = torch.tensor([1.0, 0.0, 1.0])
    with pytest.raises(TypeError, match="weight"):
        functional.smooth_l1_loss(PREDICTION, TRUTH, weight=weight)
    assert functional.l1_loss(PREDICTION, TRUTH, weight=weight).item() == 0.25
    assert round(functional.huber_loss(PREDICTION, TRUTH, weight=weight).item(), 4) == 0.0417
    assert functional.l1_loss(PREDICTION, TRUTH, weight=-weight).item() == 0.25
    for function in (functional.l1_loss, functional.mse_loss, functional.huber_loss):
        with pytest.raises(ValueError, match="same size"):
            function(PREDICTION[:, None], TRUTH[:, None], weight=weight)


def test_a_broadcast_warns_even_of_one_element():
    with pytest.warns(UserWarning, match="broadcast"):
        functional.smooth_l1_loss(PREDICTION, torch.zeros(1))


def test_dtypes():
    with pytest.raises(NotImplementedError):
        functional.smooth_l1_loss(PREDICTION.int(), TRUTH.int())
    inputs = PREDICTION.clone().requires_grad_()
    functional.smooth_l1_loss(inputs, TRUTH.double()).backward()
    with pytest.raises(RuntimeError, match="dtype"):
        functional.huber_loss(inputs, TRUTH.double()).backward()
    half = torch.tensor([300.0, 0.0], dtype=torch.float16)
    assert functional.mse_loss(half, torch.zeros_like(half)).isinf()
    assert np.isinf(cylosses.mse_loss(half.numpy(), np.zeros(2, np.float16)))


def test_the_gradient_of_nan_at_beta_0():
    inputs = torch.tensor([np.nan, 3.0, 0.0], requires_grad=True)
    functional.smooth_l1_loss(inputs, torch.zeros(3), reduction="sum", beta=0.0).backward()
    assert inputs.grad.tolist() == [0.0, 1.0, 0.0]


def test_errors():
    with pytest.raises(RuntimeError, match="negative"):
        functional.smooth_l1_loss(PREDICTION, TRUTH, beta=-1.0)
    with pytest.raises(RuntimeError, match="non-positive"):
        functional.huber_loss(PREDICTION, TRUTH, delta=0.0)
    assert functional.smooth_l1_loss(torch.zeros(0), torch.zeros(0)).isnan()


def test_the_booster_of_the_start_page():
    pytest.importorskip("lightgbm")
    (code,) = re.findall(r"^```python\n(.*?)^```", (DOCS / "start.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(code, "start.md", "exec"), {})
    assert printed.getvalue().splitlines() == re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)
