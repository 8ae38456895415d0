"""
Every documented call of smooth_l1_loss
=======================================

The calls that PyTorch documents for `smooth_l1_loss`, with what they return, and wrong ones with what they say.
"""

import warnings

import numpy as np

import cylosses
from cylosses import smooth_l1_loss

p, t = np.array([1.5, 2.0, 0.5], np.float32), np.array([1.0, 10.0, 0.4], np.float32)
print("p =", p, " t =", t)


def show(calls):
    """Print calls with their results, their warnings or their errors."""
    names = {"p": p, "t": t, "cylosses": cylosses, "smooth_l1_loss": smooth_l1_loss}
    for call in calls.strip().splitlines():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                result = repr(eval(call, names))
            except (TypeError, ValueError) as error:
                result = f"{type(error).__name__}: {error}"
        print(call, f"    {result}", *(f"    {w.category.__name__}: {w.message}" for w in caught), sep="\n")


# %%
# Settings by place, by keyword, in a mapping, or short.

show("""
smooth_l1_loss(p, t)
smooth_l1_loss(p, t, {"reduction": "sum", "beta": 0.5})
smooth_l1_loss(p, t, None, None, "sum", 0.5)
smooth_l1_loss(p, t, "none", 1.0)
smooth_l1_loss(input=p, target=t, reduction="sum", beta=0.0)
smooth_l1_loss(p, t, size_average=False)
smooth_l1_loss(p, t, weight=[1, 0, 2])
smooth_l1_loss(p, t, where=[True, False, True])
cylosses.smooth_l1_loss_backward(1.0, p, t)
cylosses.SmoothL1Loss(beta=0.5).value_and_grad(p, t)
""")

# %%
# What is wrong is named, with what is accepted.

show("""
smooth_l1_loss(p, t, "median")
smooth_l1_loss(p, t, {"betta": 1.0})
smooth_l1_loss(p, t, beta=-1.0)
smooth_l1_loss(p, t[:2])
smooth_l1_loss(p, ["a", "b", "c"])
smooth_l1_loss(p, t[:, None])
""")
