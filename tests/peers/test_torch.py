"""Against torch on random cases: forward and gradient within 4 ulp of the same formula computed another way.

``pytest tests/peers -s`` prints the largest differences. Torch's scalar and vector paths differ by a few ulp from each
other. Two divergences are meant, and asserted as such: reductions here are exact, so they are compared with the exact
reduction of torch's own elementwise losses; and NaN errors stay NaN in the gradient at beta 0, where torch says 0.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import cylosses
from cylosses import smooth_l1_loss, smooth_l1_loss_backward
from tests.generators import DTYPES, SPREADS
from tests.reference import difference, reduced, same_bits, ulp_error

CASES = 500  # for each of the two dtypes
LIMIT = 4


def ulps(got, expected):
    """The largest difference of two arrays in units in the last place of the second."""
    got, expected = np.ravel(got), np.ravel(expected)
    assert got.dtype == expected.dtype
    assert np.array_equal(np.isfinite(got), np.isfinite(expected))
    finite = np.isfinite(expected)
    assert np.array_equal(got[~finite], expected[~finite], equal_nan=True)
    # Most elements are equal; exact fractions are for the others.
    pairs = [(g, e) for g, e in zip(got[finite], expected[finite], strict=True) if g != e]
    return max((ulp_error(g, Fraction(float(e)), expected.dtype) for g, e in pairs), default=0.0)


def ordinary(rng, length, dtype):
    """Errors of ordinary size, where torch neither overflows nor underflows: a few binades, some errors zero."""
    inputs, targets = SPREADS["gauss"](rng, length, dtype)
    scale = dtype(2.0 ** rng.integers(-20, 20))
    inputs, targets = inputs * scale, targets * scale
    targets[rng.random(length) < 0.05] = 0
    inputs[rng.random(length) < 0.05] = 0
    return (inputs, targets, float(scale * dtype(rng.choice([0.1, 0.5, 1.0, 2.0, rng.uniform(0.01, 4)]))))


@pytest.mark.parametrize("dtype", DTYPES)
def test_forward_and_gradient(dtype, rng, capsys):
    largest = dict.fromkeys(("none", "mean", "sum", "gradient of none", "gradient of mean", "gradient of sum"), 0.0)
    for _ in range(CASES):
        inputs, targets, beta = ordinary(rng, int(rng.integers(1, 300)), dtype)
        tensor = torch.from_numpy(inputs.copy()).requires_grad_()
        partner = torch.from_numpy(targets)
        incoming = rng.standard_normal(inputs.size).astype(dtype)
        for reduction in ("none", "mean", "sum"):
            tensor.grad = None
            theirs = torch.nn.functional.smooth_l1_loss(tensor, partner, reduction=reduction, beta=beta)
            ours = smooth_l1_loss(inputs, targets, reduction, beta)
            if reduction == "none":
                losses = theirs.detach().numpy()
                theirs.backward(torch.from_numpy(incoming))
                gradient = smooth_l1_loss_backward(incoming, inputs, targets, reduction, beta)
                expected = losses
            else:
                theirs.backward()
                gradient = smooth_l1_loss_backward(1.0, inputs, targets, reduction, beta)
                expected = reduced(losses, reduction)
                # Their own reduction is what floating point makes of it: near, but no more.
                assert theirs.item() == pytest.approx(float(ours), rel=300 * float(np.finfo(dtype).eps))
            largest[reduction] = max(largest[reduction], ulps(ours, expected))
            name = f"gradient of {reduction}"
            largest[name] = max(largest[name], ulps(gradient, tensor.grad.numpy()))
    with capsys.disabled():
        print(f"\nlargest difference from torch {torch.__version__} in ulp, {CASES} cases of {np.dtype(dtype)}:")
        for what, worst in largest.items():
            print(f"  {what:<17} {worst:.2f}")
    assert max(largest.values()) <= LIMIT, largest


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_special_values(dtype, beta):
    inputs = np.array([np.inf, -np.inf, np.inf, 0.0, 1.0, -1.0, 0.5, -0.5], dtype)
    targets = np.array([0.0, 0.0, np.inf, 0.0, 0.0, 0.0, 0.0, 0.0], dtype)
    tensor = torch.from_numpy(inputs.copy()).requires_grad_()
    theirs = torch.nn.functional.smooth_l1_loss(tensor, torch.from_numpy(targets), reduction="none", beta=beta)
    theirs.sum().backward()
    assert ulps(smooth_l1_loss(inputs, targets, "none", beta), theirs.detach().numpy()) <= LIMIT
    keep = ~np.isnan(difference(inputs, targets, dtype))
    gradient = smooth_l1_loss_backward(1.0, inputs, targets, "none", beta)
    assert np.array_equal(gradient[keep], tensor.grad.numpy()[keep])
    assert np.isnan(gradient[~keep]).all()  # the divergence that is meant: NaN propagates at every beta


@pytest.mark.parametrize("size_average", [None, True, False])
@pytest.mark.parametrize("reduce", [None, True, False])
@pytest.mark.filterwarnings("ignore")
def test_legacy_flags(size_average, reduce):
    inputs, targets = np.array([1.5, 2.0, 0.5]), np.array([1.0, 10.0, 0.5])
    theirs = torch.nn.functional.smooth_l1_loss(
        torch.from_numpy(inputs), torch.from_numpy(targets), size_average=size_average, reduce=reduce
    )
    assert same_bits(smooth_l1_loss(inputs, targets, size_average, reduce), theirs.numpy()[()])


def test_tensors_that_torch_does_not_hand_over_say_what_to_do():
    targets = np.array([1.0, 10.0, 0.5], np.float32)
    negative = torch.complex(torch.zeros(3), torch.tensor([1.5, 2.0, -0.5])).conj().imag
    assert negative.is_neg()
    brain = torch.tensor([1.5, 2.0, 0.5], dtype=torch.bfloat16)
    for tensor, advice, mended in (
        (negative, r"negative bit.*{}\.resolve_neg\(\)", negative.resolve_neg()),
        (brain, r"bfloat16.*{}\.float\(\)", brain.float()),
    ):
        with pytest.raises(TypeError, match="^input .*" + advice.format("input")):
            smooth_l1_loss(tensor, targets)
        with pytest.raises(TypeError, match="^target .*" + advice.format("target")):
            smooth_l1_loss(targets, tensor)
        with pytest.raises(TypeError, match="^weight .*" + advice.format("weight")):
            smooth_l1_loss(targets, targets, weight=tensor)
        with pytest.raises(TypeError, match="^grad_output .*" + advice.format("grad_output")):
            smooth_l1_loss_backward(tensor, targets, targets, "none")
        assert same_bits(smooth_l1_loss(mended, targets), smooth_l1_loss(mended.numpy(), targets))


def test_a_parameter_may_be_a_tensor_of_one_element():
    assert smooth_l1_loss([1.5], [1.0], beta=torch.tensor(0.25)) == smooth_l1_loss([1.5], [1.0], beta=0.25)
    with pytest.raises(TypeError, match=r"^beta is a tensor that requires grad"):
        smooth_l1_loss([1.5], [1.0], beta=torch.tensor(0.25, requires_grad=True))


def test_denormals_flushed_by_another_package_change_nothing():
    """Torch can set flush-to-zero and denormals-are-zero in this thread; threads started later inherit them."""
    script = """
        import numpy as np, torch
        import cylosses
        from cylosses import SmoothL1Loss, smooth_l1_loss

        def results():
            for dtype in (np.float32, np.float64):
                for beta in (0.0, 1e-43, 1.0, 2e-322):  # the last one and, in float32, the second one are subnormal
                    for view in (slice(None), slice(None, None, -1), slice(0, 5)):
                        x, t = arrays[dtype][0][view], arrays[dtype][1]
                        t = t[: x.size]
                        for n_threads in (1, 2, 3):
                            loss = SmoothL1Loss(beta=beta)
                            value, gradient = loss.value_and_grad(x, t, n_threads=n_threads)
                            yield "both", dtype, beta, view, n_threads, value.tobytes() + gradient.tobytes()
                            for reduction in ("none", "sum"):
                                result = smooth_l1_loss(x, t, reduction, beta, n_threads=n_threads)
                                yield reduction, dtype, beta, view, n_threads, result.tobytes()
                    state = SmoothL1Loss(beta=beta).streaming()
                    state.update(x, t)
                    yield "streaming", dtype, beta, state.compute().tobytes()

        # Subnormal numbers by their bits: arithmetic could not make them once they are flushed.
        rng = np.random.default_rng(0)
        arrays = {
            np.float32: rng.integers(0, 1000, (2, 300_000)).astype(np.uint32).view(np.float32),
            np.float64: rng.integers(0, 1000, (2, 300_000)).astype(np.uint64).view(np.float64),
        }
        BEFORE
        assert torch.set_flush_denormal(True)
        tiny = arrays[np.float32][0][:1000]
        assert not (tiny * np.float32(1)).view(np.uint32).any()
        flushed = list(results())
        assert not (tiny * np.float32(1)).view(np.uint32).any()  # the setting is the caller's: it is still there
        torch.set_flush_denormal(False)
        assert (tiny * np.float32(1)).view(np.uint32).any()
        kept = list(results())
        assert len(kept) > 100
        assert any(any(result[-1]) for result in kept)
        different = [a[:-1] for a, b in zip(flushed, kept, strict=True) if a[-1] != b[-1]]
        assert not different, f"{len(different)} of {len(kept)}: {different[:50]}"
        print("done")
        """
    # Threads of the pool are started before the setting in one run, after it in the other.
    for before in ("warm = list(results())", "pass"):
        result = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script).replace("BEFORE", before)],
            cwd=Path(cylosses.__file__).parent.parent,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        assert result.stdout.strip() == "done"
