"""
A training run in its own plane
===============================

A recorder keeps checkpoints of a run, and the plane in which they differ most shows its path over the loss.
"""

import torch
from torch import nn

from minima_volume import Trajectory

torch.set_num_threads(1)
draw = torch.Generator().manual_seed(0)
inputs = torch.randn(128, 2, generator=draw)
targets = (inputs[:, 0] * inputs[:, 1] > 0).long()


def run(optimiser: type[torch.optim.Optimizer], rate: float) -> Trajectory:
    """Train from the same initialisation, and record every tenth step."""
    torch.manual_seed(0)
    model, trajectory = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2)), Trajectory()
    steps = optimiser(model.parameters(), lr=rate)
    for step in range(300):
        if step % 10 == 0:
            trajectory.record(model)
        steps.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        steps.step()
    trajectory.record(model)
    return trajectory


# %%
# Two optimisers start at the same point. The axes count the differences of both from the end of the first run.
adam, sgd = run(torch.optim.Adam, 0.02), run(torch.optim.SGD, 0.5)
plane = adam.pca_plane(
    nn.CrossEntropyLoss(), (inputs, targets), name="Adam", others={"SGD": sgd}, threshold=0.1, progress=False
)
print(f"shares of the squared distances along the axes: {plane.explained[0]:.0%}, {plane.explained[1]:.0%}")
for track in plane.tracks:
    print(f"{track.name}: {len(track.x)} checkpoints, at most {track.distance.max():.2f} off the plane")

# %%
# *Both paths start at one point and descend. A high share alone shows nothing: in many dimensions a random walk lies in
# such a plane almost as well. It would be wrong if the paths started at different points.*
figure = plane.plot()
