"""
A mean that does not depend on the chunks
=========================================

Dask cuts arrays into chunks, and a mean of float32 numbers elsewhere depends on how: each cut is another order of
roundings. The losses of `cylosses.dask` have the bits of the call in memory, whatever the chunks are.
"""

import dask.array as da
import matplotlib.pyplot as plt
import numpy as np

from cylosses import L1Loss
from cylosses.dask import l1_loss

# %%
# A million rows of four columns in float32, and the mean absolute error of each column, with nine sizes of chunks.

rng = np.random.default_rng(0)
truth = rng.gamma(2.0, 50.0, (1_024_000, 4)).astype(np.float32)
prediction = truth + rng.normal(0, 20, truth.shape).astype(np.float32)
sizes = [1_024_000 // 2**k for k in range(9)]
exact, plain = [], []
for size in sizes:
    x, y = da.from_array(prediction, chunks=(size, 4)), da.from_array(truth, chunks=(size, 4))
    exact.append(l1_loss(x, y, axis=0).compute())
    plain.append(abs(x - y).mean(axis=0, dtype=np.float32).compute())

# %%
# The last column is what Dask's own mean makes of the first column of the same data.

in_memory = L1Loss()(prediction, truth, axis=0)
print("rows a chunk  cylosses   mean of Dask")
for size, a, b in zip(sizes, exact, plain, strict=True):
    print(f"{size:12,d}  {a[0]:.6f}  {b[0]:.6f}")
print("cylosses has the bits of the call in memory:", all((values == in_memory).all() for values in exact))

# %%
# The largest relative error of the four columns. Those of cylosses are at most half a unit in the last place.

reference = np.abs(prediction - truth).mean(axis=0, dtype=np.float64)
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
for values, marker, label in [(plain, "s", "abs(x - y).mean(axis=0)"), (exact, "o", "l1_loss(x, y, axis=0)")]:
    axes.plot(sizes, np.abs(values / reference - 1).max(axis=1), marker=marker, label=label)
axes.set(xscale="log", yscale="log", xlabel="rows of a chunk", ylabel="largest relative error")
axes.set_title("Mean absolute error of four columns of float32 numbers")
axes.grid(alpha=0.3)
axes.legend()
