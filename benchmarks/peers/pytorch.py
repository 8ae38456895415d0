"""torch: its losses, its kernels with ``out=``, and the formula through its compiler."""

import warnings
from typing import Any

from benchmarks.measure.formulas import CONSTANTS, bind
from benchmarks.measure.harness import Subject
from benchmarks.measure.slices import SliceData
from benchmarks.measure.works import Case, Data, Work
from benchmarks.peers.base import Peer

FUNCTIONAL = {"smooth_l1": "smooth_l1_loss", "huber": "huber_loss", "l1": "l1_loss", "mse": "mse_loss"}
PARAMETER = {"smooth_l1": "beta", "huber": "delta"}
KERNELS = {"smooth_l1": "smooth_l1_loss", "huber": "huber_loss", "mse": "mse_loss"}  # with a backward kernel of the same name
REDUCE_NONE, REDUCE_SUM = 0, 2  # torch's codes


class Torch(Peer):
    """torch's own losses; its elementwise operations for those that it does not have."""

    name = "torch"
    what = (
        "`torch.nn.functional`, or the formula in its operations for losses that it lacks; its kernels with `out=` for "
        "`none` and `grad`, autograd for `value_and_grad`; sums in the working dtype. Along an axis `none`, then `mean(dim)`, and "
        "autograd through both; with weights `(w * none).sum(dim) / w.sum(dim)`"
    )

    def __init__(self) -> None:
        import torch

        self.torch = torch

    def set_threads(self, threads: int) -> None:
        """Set the threads of torch and of its BLAS."""
        self.torch.set_num_threads(threads)

    def functions(self) -> dict[str, Any]:
        """Return the functions of the formulas."""
        return {"where": self.torch.where, "abs": self.torch.abs, "sqrt": self.torch.sqrt}

    def forward(self, case: Case) -> Any:
        """Return a function of (x, y, reduction=...), and its keywords."""
        if case.name in FUNCTIONAL:
            function = getattr(self.torch.nn.functional, FUNCTIONAL[case.name])
            return function, ({PARAMETER[case.name]: case.parameter} if case.name in PARAMETER else {})
        if case.formula is None:
            return None
        value = bind(case.formula.value, self.functions(), CONSTANTS)

        def composed(x: Any, y: Any, reduction: str = "mean") -> Any:
            loss = value(x - y, p)
            return loss if reduction == "none" else loss.mean()

        p = self.torch.tensor(case.parameter)  # where() wants tensors or numbers, and a 0-d tensor keeps the dtype of the other
        return composed, {}

    def subjects(self, case: Case, work: Work, data: Data, threads: int) -> list[Subject]:
        """Return the public call, and the bare kernel that takes ``out=`` where torch has one."""
        torch, found = self.torch, self.forward(case)
        if found is None:
            return []
        loss, keywords = found
        x, y = torch.from_numpy(data.input), torch.from_numpy(data.target)
        if work.name in ("mean", "strided_mean", "broadcast_mean", "mixed_mean"):
            warnings.filterwarnings("ignore", message="Using a target size")
            return [Subject(self.name, loss, (x, y), keywords)]
        if work.name == "weighted_mean":
            return [Subject(self.name, _weighted(loss, keywords), (x, y, torch.from_numpy(data.weight)))]
        if work.name == "masked_mean":
            return [Subject(self.name, _masked(loss, keywords), (x, y, torch.from_numpy(data.where)))]
        if work.name == "value_and_grad":
            leaf = x.detach().requires_grad_()
            return [Subject("torch forward+backward", _forward_backward(loss, keywords), (leaf, y))]
        if work.name in ("none", "grad") and case.name in KERNELS:
            return [self.kernel(case, work, x, y, torch.from_numpy(data.outputs[0]))]
        if work.name == "none":
            return [Subject(self.name, loss, (x, y), {"reduction": "none", **keywords})]
        return []

    def slice_subjects(self, case: Case, work: Work, data: SliceData, threads: int) -> list[Subject]:
        """Return `none` and its mean, in two passes, and autograd through both."""
        torch, found = self.torch, self.forward(case)
        if found is None:
            return []
        loss, keywords = found
        dims = data.layout.axis
        x, y, *weights = (torch.from_numpy(array) for array in (data.input, data.target, data.weight) if array is not None)

        def mean(x: Any, y: Any) -> Any:
            return loss(x, y, reduction="none", **keywords).mean(dims)

        def weighted_mean(x: Any, y: Any, w: Any) -> Any:
            return (w * loss(x, y, reduction="none", **keywords)).sum(dims) / w.sum(dims)

        if work.name in ("mean", "weighted_mean"):
            return [Subject(self.name, weighted_mean if weights else mean, (x, y, *weights))]
        name = "torch forward+backward"
        if work.name == "target_grad":
            warnings.filterwarnings("ignore", message="Using a target size")
            leaf = y.detach().requires_grad_()

            def target_grad(x: Any, leaf: Any) -> Any:
                leaf.grad = None
                loss(x, leaf, **keywords).backward()
                return leaf.grad

            return [Subject(name, target_grad, (x, leaf))]
        leaf = x.detach().requires_grad_()
        ones = torch.ones(data.layout.result_shape, dtype=x.dtype)

        def forward_backward(leaf: Any, y: Any, *weights: Any) -> Any:
            leaf.grad = None
            value = weighted_mean(leaf, y, *weights) if weights else mean(leaf, y)
            value.backward(ones)
            return (value.detach(), leaf.grad) if data.valued else leaf.grad

        return [Subject(name, forward_backward, (leaf, y, *weights))]

    def kernel(self, case: Case, work: Work, x: Any, y: Any, out: Any) -> Subject:
        """Return torch's kernel for one elementwise work, which autograd would call with fresh memory."""
        parameters = (case.parameter,) if case.name in PARAMETER else ()
        operators = self.torch.ops.aten
        if work.name == "none":
            function = getattr(operators, KERNELS[case.name]).out
            return Subject("torch kernel(out=)", function, (x, y, REDUCE_NONE, *parameters), {"out": out})
        operator = getattr(operators, f"{KERNELS[case.name]}_backward")
        one = self.torch.ones((), dtype=x.dtype)
        if "grad_input" in operator.overloads():
            return Subject("torch kernel(out=)", operator.grad_input, (one, x, y, REDUCE_SUM, *parameters), {"grad_input": out})
        return Subject("torch kernel(out=)", operator.out, (one, x, y, REDUCE_SUM, *parameters), {"out": out})


def _weighted(loss: Any, keywords: dict[str, Any]) -> Any:
    def weighted_mean(x: Any, y: Any, w: Any) -> Any:
        return (loss(x, y, reduction="none", **keywords) * w).sum() / w.sum()

    return weighted_mean


def _masked(loss: Any, keywords: dict[str, Any]) -> Any:
    def masked_mean(x: Any, y: Any, where: Any) -> Any:
        return loss(x[where], y[where], **keywords)

    return masked_mean


def _forward_backward(loss: Any, keywords: dict[str, Any]) -> Any:
    def forward_backward(leaf: Any, y: Any) -> Any:
        leaf.grad = None
        value = loss(leaf, y, **keywords)
        value.backward()
        return value.detach(), leaf.grad

    return forward_backward


class TorchCompile(Torch):
    """The formula through ``torch.compile``, which fuses it into one loop: tried once, on a small call."""

    name = "torch.compile"
    what = "the formula of smooth L1 compiled into one loop; results are fresh memory; sums in the working dtype"

    def __init__(self) -> None:
        super().__init__()
        self.compiled: dict[tuple[str, str], Any] = {}
        x = self.torch.ones(8)
        self.torch.compile(lambda a: (a * 2).sum())(x)  # fails here if there is no compiler

    def subjects(self, case: Case, work: Work, data: Data, threads: int) -> list[Subject]:
        """Return the compiled formula for the four plain works of smooth L1; each costs seconds to compile."""
        if case.name != "smooth_l1" or work.name not in ("none", "mean", "grad", "value_and_grad"):
            return []
        torch = self.torch
        x, y = torch.from_numpy(data.input), torch.from_numpy(data.target)
        key = (case.name, work.name)
        if key not in self.compiled:
            # Sizes, dtypes and threads are all new code to the compiler: more of them than it puts up with by default.
            torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
            self.compiled[key] = torch.compile(self.python_function(case, work), dynamic=True)
        return [Subject(self.name, self.compiled[key], (x, y))]

    def slice_subjects(self, case: Case, work: Work, data: SliceData, threads: int) -> list[Subject]:
        """Return nothing: each layout would be seconds of compiling."""
        return []

    def python_function(self, case: Case, work: Work) -> Any:
        """Return what is compiled."""
        value = bind(case.formula.value, self.functions(), CONSTANTS)
        gradient = bind(case.formula.gradient, self.functions(), CONSTANTS)
        p = case.parameter
        return {
            "none": lambda x, y: value(x - y, p),
            "mean": lambda x, y: value(x - y, p).mean(),
            "grad": lambda x, y: gradient(x - y, p),
            "value_and_grad": lambda x, y: (value(x - y, p).mean(), gradient(x - y, p) / x.numel()),
        }[work.name]
