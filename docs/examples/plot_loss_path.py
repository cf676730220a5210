"""
loss_path: a curve around a barrier
===================================

Two networks with initialisations of their own have a barrier on the straight line between them. A curve whose bend is
trained goes around it, and the volume of the basin can be measured at every point.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

from minima_volume import loss_line, loss_path, measure_volume

torch.set_num_threads(1)
draw = torch.Generator().manual_seed(0)
inputs = torch.randn(128, 2, generator=draw)
data = (inputs, (inputs[:, 0] * inputs[:, 1] > 0).long())


def train(seed: int) -> nn.Module:
    """A network with an initialisation of its own."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))
    adam = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(300):
        adam.zero_grad()
        nn.functional.cross_entropy(model(data[0]), data[1]).backward()
        adam.step()
    return model.eval()


a, b, loss = train(0), train(1), nn.CrossEntropyLoss()
line = loss_line(a, b, loss, data, progress=False)
curve = loss_path(a, b, loss, data, bend="bezier", steps=300, progress=False)
print(f"barrier {line.barrier:.3f} along the line, {curve.barrier:.3f} along the curve")
print(f"inside the basin at loss 0.2 all the way: {curve.inside(0.2)}")

# %%
# *The curve stays lower than the line. It would be wrong if they had other losses at the ends.*
drawing, (left, right) = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained")
left.plot(line.t, line.loss, color="0.6", label="line")
left.plot(curve.t, curve.loss, color="#0072B2", label="curve")
left.set(xlabel="t (0: A, 1: B)", ylabel="mean loss")
left.legend()
# The typical volume of the basin at loss 0.5, seen from five networks on the curve.
places = (0.0, 0.25, 0.5, 0.75, 1.0)
found = [
    measure_volume(curve.model_at(t), loss, data, threshold=0.5, n_directions=50, sigmas=(0.05,)).volume for t in places
]
right.errorbar(places, [v.typical_log_volume for v in found], [v.typical_log_volume_se for v in found], fmt="o-")
right.set(xlabel="t (0: A, 1: B)", ylabel="typical log volume (nats)")
plt.show()
