"""Code as users write it, for type checkers: `make lint` reads it with mypy and pyright, and test_typing.py runs it.

`right` has every documented call. Each line of `wrong` is one that a type checker must refuse (the ignores are needed, or they
are errors themselves), and that raises when it runs.
"""

import pickle
from collections.abc import Mapping
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

import cylosses
from cylosses import (
    LOSSES,
    BroadcastWarning,
    CharbonnierLoss,
    EpsilonInsensitiveLoss,
    HuberLoss,
    L1Loss,
    Loss,
    MSELoss,
    PseudoHuberLoss,
    QuantileLoss,
    SmoothL1Loss,
    SmoothL1LossOptions,
    StreamingLoss,
    TukeyLoss,
    smooth_l1_loss,
    smooth_l1_loss_backward,
)

x: npt.NDArray[np.float32] = np.array([1.5, 2.0, 0.5], np.float32)
y: npt.NDArray[np.float32] = np.array([1.0, 10.0, 0.25], np.float32)


def calls_of_smooth_l1() -> None:
    options: SmoothL1LossOptions = {"reduction": "sum", "beta": 0.5}
    mapping: Mapping[str, Any] = {"reduction": "none"}
    settings = {"beta": 2.0}

    smooth_l1_loss(x, y)
    smooth_l1_loss(x, y, options)
    smooth_l1_loss(x, y, SmoothL1LossOptions(reduction="none"))
    smooth_l1_loss(x, y, {"reduction": "sum", "beta": np.float32(0.5)})
    smooth_l1_loss(x, y, mapping)
    smooth_l1_loss(x, y, settings)
    smooth_l1_loss(x, y, options, weight=y)
    smooth_l1_loss(x, y, None, None, "sum", 0.5)
    smooth_l1_loss(x, y, None, None, "sum", 0.5, options)
    smooth_l1_loss(x, y, options=options)
    smooth_l1_loss(x, y, options=mapping)
    smooth_l1_loss(x, y, "none", 1.0)
    smooth_l1_loss(x, y, "mean")
    smooth_l1_loss(x, y, "mean", beta=2)
    smooth_l1_loss(x, y, "none", [0.5, 1.0, 2.0])
    smooth_l1_loss(x, y, beta=[[0.5], [1.0]])
    smooth_l1_loss(x, y, beta=np.array([[0.5], [1.0]]), axis=1)
    smooth_l1_loss(x, y, {"beta": (0.5, 1.0, 2.0)})
    smooth_l1_loss(input=x, target=y, reduction="sum", beta=0.0)
    smooth_l1_loss(x, y, reduction="mean", where=y > 0, axis=0, keepdims=True, n_threads=1)
    smooth_l1_loss(x, y, "none", out=np.empty(3, np.float32))
    smooth_l1_loss([1.5, 2.0], [1, 2])
    smooth_l1_loss(3.0, 1)
    smooth_l1_loss([[True]], np.ones((1, 1)), axis=(0, 1))

    gradient = smooth_l1_loss_backward(1.0, x, y, "mean", 0.5, wrt="target", weight=y)
    assert_type(gradient, np.ndarray[Any, Any])
    smooth_l1_loss_backward(x, x, y, reduction="none", out=np.empty_like(x))


def legacy_flags() -> None:
    smooth_l1_loss(x, y, True, True)
    smooth_l1_loss(x, y, size_average=False)
    smooth_l1_loss(x, y, {"reduce": False})
    cylosses.l1_loss(x, y, reduce=False)
    cylosses.mse_loss(x, y, False)
    SmoothL1Loss(size_average=False, beta=0.5)
    L1Loss(None, False)
    MSELoss(reduce=True)


def other_functions() -> None:
    cylosses.l1_loss(x, y, reduction="sum", weight=[1, 0, 2])
    cylosses.mse_loss(x, y, reduction="none", where=[True, False, True])
    cylosses.huber_loss(x, y, "sum", 2.0)
    cylosses.tukey_loss(x, y, c=np.float64(3.0))
    cylosses.quantile_loss(x, y, "mean", q=0.9)
    cylosses.epsilon_insensitive_loss(x, y, epsilon=0)
    cylosses.pseudo_huber_loss(x, y, delta=0.5, axis=-1)
    cylosses.charbonnier_loss(x, y, eps=1e-6, n_threads=None)

    cylosses.l1_loss_backward(1, x, y)
    cylosses.mse_loss_backward(1.0, x, y, "sum", wrt="input")
    cylosses.huber_loss_backward(1.0, x, y, delta=2.0)
    cylosses.tukey_loss_backward(1.0, x, y, "sum", 3.0)
    cylosses.quantile_loss_backward(1.0, x, y, "sum", 0.9)
    cylosses.epsilon_insensitive_loss_backward(1.0, x, y, epsilon=0.5)
    cylosses.pseudo_huber_loss_backward(np.float32(1), x, y, axis=0)
    cylosses.charbonnier_loss_backward(1.0, x, y, where=x > 0)


def objects() -> None:
    losses: list[Loss] = [
        SmoothL1Loss(),
        SmoothL1Loss(reduction="sum", beta=0.5),
        L1Loss(reduction="none"),
        MSELoss(),
        HuberLoss("sum", 2),
        TukeyLoss(c=3.0),
        QuantileLoss(q=np.float32(0.25)),
        EpsilonInsensitiveLoss("mean", 0.2),
        PseudoHuberLoss(delta=2.0),
        CharbonnierLoss(eps=1e-4),
    ]
    for loss in losses:
        loss(x, y, weight=y, where=None, n_threads=2)
        assert_type(loss.grad(x, y, wrt="target"), np.ndarray[Any, Any])
        value, gradient = loss.value_and_grad(x, y, out=np.empty_like(x))
        assert_type(gradient, np.ndarray[Any, Any])
        loss.value_and_grad(x, y, out=(None, gradient))
        gradient, hessian = loss.grad_and_hess(x, y, curvature="mm", weight=[1, 2, 3])
        assert_type(hessian, np.ndarray[Any, Any])
        loss.grad_and_hess(x, y, out=(gradient, hessian))
        assert_type(loss.name, str)
        assert pickle.loads(pickle.dumps(loss)) == loss
        del value

    assert_type(SmoothL1Loss().beta, Any)
    assert_type(HuberLoss().delta, Any)
    assert_type(TukeyLoss().c, Any)
    assert_type(QuantileLoss().q, Any)
    assert_type(EpsilonInsensitiveLoss().epsilon, Any)
    assert_type(PseudoHuberLoss().delta, Any)
    assert_type(CharbonnierLoss().eps, Any)
    classes: dict[str, type[Loss]] = LOSSES
    assert classes["huber"] is HuberLoss


def every_loss() -> None:
    # generated: calls of the losses (python -m tools.generate)
    cylosses.smooth_l1_loss(x, y, reduction="sum", beta=1.0, weight=y)
    assert_type(cylosses.smooth_l1_loss_backward(1.0, x, y, "sum", 1.0), np.ndarray[Any, Any])
    assert_type(cylosses.SmoothL1Loss(reduction="none", beta=1.0).grad(x, y), np.ndarray[Any, Any])
    cylosses.smooth_l1_loss(x, y, beta=[1.0, 1.0, 1.0], axis=0)
    assert_type(cylosses.SmoothL1Loss(beta=np.array([[1.0], [1.0]])).beta, Any)
    cylosses.l1_loss(x, y, reduction="sum", weight=y)
    assert_type(cylosses.l1_loss_backward(1.0, x, y, "sum"), np.ndarray[Any, Any])
    assert_type(cylosses.L1Loss(reduction="none").grad(x, y), np.ndarray[Any, Any])
    cylosses.mse_loss(x, y, reduction="sum", weight=y)
    assert_type(cylosses.mse_loss_backward(1.0, x, y, "sum"), np.ndarray[Any, Any])
    assert_type(cylosses.MSELoss(reduction="none").grad(x, y), np.ndarray[Any, Any])
    cylosses.huber_loss(x, y, reduction="sum", delta=1.0, weight=y)
    assert_type(cylosses.huber_loss_backward(1.0, x, y, "sum", 1.0), np.ndarray[Any, Any])
    assert_type(cylosses.HuberLoss(reduction="none", delta=1.0).grad(x, y), np.ndarray[Any, Any])
    cylosses.huber_loss(x, y, delta=[1.0, 1.0, 1.0], axis=0)
    assert_type(cylosses.HuberLoss(delta=np.array([[1.0], [1.0]])).delta, Any)
    cylosses.tukey_loss(x, y, reduction="sum", c=4.685, weight=y)
    assert_type(cylosses.tukey_loss_backward(1.0, x, y, "sum", 4.685), np.ndarray[Any, Any])
    assert_type(cylosses.TukeyLoss(reduction="none", c=4.685).grad(x, y), np.ndarray[Any, Any])
    cylosses.tukey_loss(x, y, c=[4.685, 4.685, 1.0], axis=0)
    assert_type(cylosses.TukeyLoss(c=np.array([[1.0], [4.685]])).c, Any)
    cylosses.quantile_loss(x, y, reduction="sum", q=0.5, weight=y)
    assert_type(cylosses.quantile_loss_backward(1.0, x, y, "sum", 0.5), np.ndarray[Any, Any])
    assert_type(cylosses.QuantileLoss(reduction="none", q=0.5).grad(x, y), np.ndarray[Any, Any])
    cylosses.quantile_loss(x, y, q=[0.5, 0.5, 1.0], axis=0)
    assert_type(cylosses.QuantileLoss(q=np.array([[1.0], [0.5]])).q, Any)
    cylosses.epsilon_insensitive_loss(x, y, reduction="sum", epsilon=0.1, weight=y)
    assert_type(cylosses.epsilon_insensitive_loss_backward(1.0, x, y, "sum", 0.1), np.ndarray[Any, Any])
    assert_type(cylosses.EpsilonInsensitiveLoss(reduction="none", epsilon=0.1).grad(x, y), np.ndarray[Any, Any])
    cylosses.epsilon_insensitive_loss(x, y, epsilon=[0.1, 0.1, 1.0], axis=0)
    assert_type(cylosses.EpsilonInsensitiveLoss(epsilon=np.array([[1.0], [0.1]])).epsilon, Any)
    cylosses.pseudo_huber_loss(x, y, reduction="sum", delta=1.0, weight=y)
    assert_type(cylosses.pseudo_huber_loss_backward(1.0, x, y, "sum", 1.0), np.ndarray[Any, Any])
    assert_type(cylosses.PseudoHuberLoss(reduction="none", delta=1.0).grad(x, y), np.ndarray[Any, Any])
    cylosses.pseudo_huber_loss(x, y, delta=[1.0, 1.0, 1.0], axis=0)
    assert_type(cylosses.PseudoHuberLoss(delta=np.array([[1.0], [1.0]])).delta, Any)
    cylosses.charbonnier_loss(x, y, reduction="sum", eps=0.001, weight=y)
    assert_type(cylosses.charbonnier_loss_backward(1.0, x, y, "sum", 0.001), np.ndarray[Any, Any])
    assert_type(cylosses.CharbonnierLoss(reduction="none", eps=0.001).grad(x, y), np.ndarray[Any, Any])
    cylosses.charbonnier_loss(x, y, eps=[0.001, 0.001, 1.0], axis=0)
    assert_type(cylosses.CharbonnierLoss(eps=np.array([[1.0], [0.001]])).eps, Any)
    cylosses.geman_mcclure_loss(x, y, reduction="sum", c=1.0, weight=y)
    assert_type(cylosses.geman_mcclure_loss_backward(1.0, x, y, "sum", 1.0), np.ndarray[Any, Any])
    assert_type(cylosses.GemanMcClureLoss(reduction="none", c=1.0).grad(x, y), np.ndarray[Any, Any])
    cylosses.geman_mcclure_loss(x, y, c=[1.0, 1.0, 1.0], axis=0)
    assert_type(cylosses.GemanMcClureLoss(c=np.array([[1.0], [1.0]])).c, Any)
    # generated: end


def totals() -> None:
    total = HuberLoss(delta=0.5).streaming()
    assert_type(total, StreamingLoss)
    total.update(x, y)
    total.update([1.0], [2.0], weight=[0.5], where=[True], n_threads=1)
    other = StreamingLoss.from_bytes(total.to_bytes())
    assert_type(other, StreamingLoss)
    total.merge(other)
    total.compute()
    assert_type(total.exact(), Any)
    SmoothL1Loss(reduction="sum").grad(x, y, grad_output=1 / total.exact())
    assert_type(total.count, Any)
    assert_type(total.loss, Loss)
    total.reset()
    assert_type(HuberLoss().streaming(axis=(0, -1)), StreamingLoss)
    columns = StreamingLoss(HuberLoss(), 0)
    columns.update([[1.0, 2.0]], 0.0)
    assert_type(columns.compute()[0] * columns.count[0] * columns.exact()[0], Any)


def the_rest() -> None:
    cylosses.set_num_threads(2)
    assert_type(cylosses.get_num_threads(), int)
    cylosses.set_num_threads(None)
    with cylosses.default_floating_point_mode():
        x.sum()

    @cylosses.default_floating_point_mode()
    def in_default_mode(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return values * 2

    assert_type(in_default_mode(x), npt.NDArray[np.float32])
    cylosses.show_versions()
    assert_type(cylosses.get_include(), str)
    assert_type(cylosses.__version__, str)
    assert issubclass(BroadcastWarning, UserWarning)


def wrong() -> None:
    smooth_l1_loss(x)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    smooth_l1_loss(x, y, "median")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    smooth_l1_loss(x, y, reduction=None)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    smooth_l1_loss(x, y, 3.5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    smooth_l1_loss(x, y, beta="1")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    smooth_l1_loss(x, y, delta=1.0)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    smooth_l1_loss(x, y, None, None, "sum", 1.0, None, y)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    smooth_l1_loss(x, y, options=["reduction"])  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    smooth_l1_loss(x, y, out=[0.0])  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    smooth_l1_loss(x, y, axis="0")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    smooth_l1_loss(x, y, n_threads=1.5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    smooth_l1_loss(object(), y)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    smooth_l1_loss_backward(None, x, y)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    smooth_l1_loss_backward(1.0, x, y, wrt="weight")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cylosses.huber_loss(x, y, beta=1.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    cylosses.huber_loss(x, y, True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cylosses.mse_loss(x, y, delta=1.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    cylosses.tukey_loss(x, y, c=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    SmoothL1Loss(reduction="average")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    HuberLoss(size_average=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    QuantileLoss(q={0.5, 0.1})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    QuantileLoss(q="0.5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    TukeyLoss().c = 3.0  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    SmoothL1Loss()(x, y, 0.5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    SmoothL1Loss().grad(x, y, wrt="both")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    SmoothL1Loss().grad_and_hess(x, y, curvature="irls")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    SmoothL1Loss().grad_and_hess(x, y, out=x)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    StreamingLoss(HuberLoss(), "0")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    StreamingLoss("huber")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    StreamingLoss(SmoothL1Loss()).merge(SmoothL1Loss())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    StreamingLoss.from_bytes("bytes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    StreamingLoss(SmoothL1Loss()).count = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    cylosses.set_num_threads("2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cylosses.hinge_loss(x, y)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
