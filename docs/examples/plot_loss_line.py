"""
loss_line: from one network to another
======================================

The loss and the accuracy along the straight line between two networks, on training and test data, and the height of the
barrier between them.
"""

from copy import deepcopy

import torch
from torch import nn

from minima_volume import loss_line

torch.set_num_threads(1)
draw = torch.Generator().manual_seed(0)
inputs = torch.randn(256, 2, generator=draw)
targets = (inputs[:, 0] * inputs[:, 1] > 0).long()
data, test = (inputs[:128], targets[:128]), (inputs[128:], targets[128:])


def train(seed: int) -> nn.Module:
    """A network with an initialisation of its own."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
    adam = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(300):
        adam.zero_grad()
        nn.functional.cross_entropy(model(data[0]), data[1]).backward()
        adam.step()
    return model.eval()


# %%
# *The loss is low at both ends and has a barrier between them. It would be wrong if the ends had other losses than the
# networks themselves.*
a, b, loss = train(0), train(1), nn.CrossEntropyLoss()
line = loss_line(a, b, loss, data, test=test, progress=False)
print(f"barrier {line.barrier:.3f}, on test data {line.test_barrier:.3f}")
figure = line.plot()

# %%
# Hidden units can be permuted without changing a network. ``align=True`` permutes those of the second network to match the
# first. A shuffled copy is the same function, so its barrier becomes zero.
shuffled, order = deepcopy(a), torch.randperm(16, generator=draw)
with torch.no_grad():
    shuffled[0].weight.copy_(a[0].weight[order])
    shuffled[0].bias.copy_(a[0].bias[order])
    shuffled[2].weight.copy_(a[2].weight[:, order])
for align in (False, True):
    print(f"align={align}: barrier {loss_line(a, shuffled, loss, data, align=align, progress=False).barrier:.2g}")
