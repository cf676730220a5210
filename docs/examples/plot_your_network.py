"""
Your own network
================

Train a small classifier, measure the basin around it, and read the result. Any PyTorch module can take its place.
"""

import torch
from torch import nn

from minima_volume import measure_volume

torch.manual_seed(0)
torch.set_num_threads(1)
inputs = torch.randn(64, 2)
targets = (inputs[:, 0] * inputs[:, 1] > 0).long()
model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
adam = torch.optim.Adam(model.parameters(), 0.01)
for _ in range(1000):
    adam.zero_grad()
    nn.functional.cross_entropy(model(inputs), targets).backward()
    adam.step()

# %%
# The basin is where the mean loss over the 64 samples stays at or below 0.1. The model is left exactly as it was.
loss = nn.CrossEntropyLoss()
found = measure_volume(model, loss, (inputs, targets), threshold=0.1, sigmas=(0.05, 0.1, 0.2))
print(found)

# %%
# Each line is explained in :doc:`/your-model`. Every number is also an attribute:
print(f"log volume {found.log_volume:.1f} nats, verdict {found.verdict.word}")
print(f"the largest ray holds {found.verdict.largest_share:.0%} of the mean")

# %%
# Left: one value of n·ln r per ray. The dashed line is their mean, the typical volume; ln E[rⁿ] lies at the far
# right end, because the largest radius decides it. Right: the Gaussian profile. It would be wrong if ln E[rⁿ] lay
# left of the typical volume.
figure = found.plot()

# %%
# ``per_layer=True`` measures each layer alone, with all other parameters fixed.
whole = measure_volume(model, loss, (inputs, targets), threshold=0.1, n_directions=200, per_layer=True)
for name, part in whole.layers.items():
    volume, error, word = part.log_volume, part.log_volume_se, part.verdict.word
    print(f"layer {name}: {volume:.1f} ± {error:.1f} nats, n = {part.n_params}, {word}")
