"""Every documented call shape of smooth_l1_loss with its result, and every bad input with its message.

python examples/documented_calls.py
"""

import warnings

import numpy as np

import cylosses
from cylosses import smooth_l1_loss

PREDICTION = np.array([1.5, 2.0, 0.5], np.float32)
TRUTH = np.array([1.0, 10.0, 0.4], np.float32)

CALLS = """
smooth_l1_loss(p, t)
smooth_l1_loss(p, t, {"reduction": "sum", "beta": 0.5})
smooth_l1_loss(p, t, cylosses.SmoothL1LossOptions(reduction="none"))
smooth_l1_loss(p, t, None, None, "sum", 0.5)
smooth_l1_loss(p, t, None, None, "sum", 2.0, {"beta": 2.0})
smooth_l1_loss(p, t, "none", 1.0)
smooth_l1_loss(p, t, "mean", 0.5)
smooth_l1_loss(p, t, "mean", 2.0)
smooth_l1_loss(input=p, target=t, reduction="sum", beta=0.0)
smooth_l1_loss(p, t, size_average=False)
smooth_l1_loss(p, t, reduce=False)
smooth_l1_loss(p, t, options={"size_average": True})
smooth_l1_loss(p, t, "mean", weight=[1, 0, 2])
smooth_l1_loss(p, t, where=[True, False, True])
smooth_l1_loss(p[:, None], t[:, None], axis=1)
smooth_l1_loss(p, t, n_threads=2)
smooth_l1_loss(p[:0], t[:0])
smooth_l1_loss(p, t, beta=float("inf"))
cylosses.smooth_l1_loss_backward(1.0, p, t)
cylosses.smooth_l1_loss_backward([1, 2, 3], p, t, "none", 0.5)
cylosses.SmoothL1Loss(beta=0.5).value_and_grad(p, t)
""".strip().splitlines()

BAD_CALLS = """
smooth_l1_loss(p, t, beta=-1.0)
smooth_l1_loss(p, t, beta=float("nan"))
smooth_l1_loss(p, t, beta="1")
smooth_l1_loss(p, t, "median")
smooth_l1_loss(p, t, 0.5)
smooth_l1_loss(p, t, {"betta": 1.0})
smooth_l1_loss(p, t, "sum", reduction="none")
smooth_l1_loss(p, t, None, None, "mean", 1.5, {"beta": 2.0})
smooth_l1_loss(p, t, options=[("beta", 1.0)])
smooth_l1_loss(p, t[:2])
smooth_l1_loss(p, t.astype(complex))
smooth_l1_loss(p, t.astype(object))
smooth_l1_loss(p, ["a", "b", "c"])
smooth_l1_loss(p, t.astype(np.longdouble))
smooth_l1_loss(p, np.array([1, 2, 3], "datetime64[D]"))
smooth_l1_loss(p, [[1.0], [2.0, 3.0]])
smooth_l1_loss(p, None)
smooth_l1_loss(np.ma.masked_array(p, [0, 1, 0]), t)
smooth_l1_loss(p, t, out=np.empty(3))
smooth_l1_loss(p, t, "none", out=np.empty(3))
smooth_l1_loss(p, t, "none", out=np.empty(2, np.float32))
smooth_l1_loss(p, t, "none", axis=0)
smooth_l1_loss(p, t, axis=1)
smooth_l1_loss(p, t, weight=[1, -1, 0])
smooth_l1_loss(p, t, weight=[1, 2])
smooth_l1_loss(p, t, where=[1, 0, 1])
smooth_l1_loss(p, t, n_threads=0)
cylosses.smooth_l1_loss_backward(None, p, t)
cylosses.smooth_l1_loss_backward([1, 2, 3], p, t, "mean")
cylosses.smooth_l1_loss_backward(1.0, p, t, wrt="beta")
cylosses.HuberLoss(delta=0)
cylosses.QuantileLoss(q=1)
cylosses.set_num_threads(-1)
""".strip().splitlines()


def show(call: str) -> None:
    """Print a call with its result, its warnings or its error."""
    names = {"p": PREDICTION, "t": TRUTH, "np": np, "cylosses": cylosses, "smooth_l1_loss": smooth_l1_loss}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = repr(eval(call, names))
        except (TypeError, ValueError) as error:
            result = f"{type(error).__name__}: {error}"
    print(f"{call}\n    {result}")
    for warning in caught:
        print(f"    {warning.category.__name__}: {warning.message}")


if __name__ == "__main__":
    print("p =", PREDICTION, " t =", TRUTH)
    for line in [*CALLS, "smooth_l1_loss(p, t[:, None])", *BAD_CALLS]:
        show(line)
