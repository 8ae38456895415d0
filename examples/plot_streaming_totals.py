"""
Totals of data in pieces, on several machines
=============================================

A `StreamingLoss` is an exact total: pieces may be cut and merged in any way, and what comes out has the bits of one
call over all data. Some seventy bytes hold it, which can be sent from one machine to another.
"""

import numpy as np

from cylosses import SmoothL1Loss, StreamingLoss

rng = np.random.default_rng(0)
truth = rng.normal(size=1_000_000).astype(np.float32)
prediction = truth + rng.standard_t(2, truth.shape).astype(np.float32)
loss = SmoothL1Loss(beta=0.5)

# %%
# Batches as they come, of sizes that nobody knows before.

total = loss.streaming()
for piece in np.array_split(np.arange(truth.size), [10, 5000, 5001, 400_000]):
    total.update(prediction[piece], truth[piece])
print("one call:  ", loss(prediction, truth))
print("in pieces: ", total.compute(), "of", total.count, "elements")

# %%
# Four workers, each with its part, send bytes; whoever gets them merges them in the order in which they arrive.

states = []
for part in np.array_split(np.arange(truth.size), 4):
    worker = loss.streaming()
    worker.update(prediction[part], truth[part])
    states.append(worker.to_bytes())
print("bytes of each state:", [len(state) for state in states])

merged = loss.streaming()
for k in rng.permutation(len(states)):
    merged.merge(StreamingLoss.from_bytes(states[k]))
print("merged:    ", merged.compute(), "the same bytes:", merged.to_bytes() == total.to_bytes())

# %%
# Float32 sums that are added up piece by piece drift; how far depends on the pieces.

elements = SmoothL1Loss(reduction="none", beta=0.5)(prediction, truth)
for size in (100_000, 1000, 10):
    running = np.float32(0)
    for piece in np.split(elements, truth.size // size):
        running += piece.sum()
    print(f"float32 sums of {size:6d}: ", running / np.float32(truth.size))
