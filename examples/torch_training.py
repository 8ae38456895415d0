"""
Training a network of torch with exact losses
=============================================

`cylosses.torch` has the losses as functions and modules for torch's tensors on the CPU, with torch's names. Value and
gradient are the same bits for any number of threads.
"""

import torch

from cylosses.torch import SmoothL1Loss, TukeyLoss, smooth_l1_loss

# %%
# A sine with noise; one target in ten is wrong, and one in ten is missing.

generator = torch.Generator().manual_seed(0)
x = torch.linspace(-3, 3, 400)[:, None]
y = torch.sin(2 * x) + 0.1 * torch.randn(x.shape, generator=generator)
y[torch.rand(x.shape, generator=generator) < 0.1] += 5
y[torch.rand(x.shape, generator=generator) < 0.1] = torch.nan
known = ~y.isnan()


def train(loss):
    """A small network, trained with this loss from the same start; its mean distance from the sine."""
    torch.manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Linear(1, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(600):
        optimizer.zero_grad()
        loss(network(x), y).backward()
        optimizer.step()
    return (network(x) - torch.sin(2 * x)).abs().mean().item()


# %%
# Missing targets are left out by ``where=``; torch's own losses need a copy of what is known.

print(f"squares:          {train(lambda a, b: torch.nn.functional.mse_loss(a[known], b[known])):.2f}")
print(f"smooth L1:        {train(lambda a, b: SmoothL1Loss(beta=0.1)(a, b, where=known)):.2f}")
print(f"Tukey:            {train(lambda a, b: TukeyLoss(c=1.0)(a, b, where=known)):.2f}")

# %%
# Threads change nothing:

a, b = torch.randn(2, 1_000_000, generator=generator)
values = []
for threads in (1, 2):
    torch.set_num_threads(threads)
    values.append(smooth_l1_loss(a, b))
print("one thread and two give the same bits:", bool(values[0] == values[1]))
