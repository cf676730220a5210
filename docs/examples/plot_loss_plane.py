"""
loss_plane: a plane through three networks
==========================================

Three networks were trained from one initialisation on 16, 64 and 256 samples. The plane through them has the losses of every
data size from one pass over the data.
"""

import torch
from torch import nn

from minima_volume import loss_plane

torch.set_num_threads(1)
draw = torch.Generator().manual_seed(0)
inputs = torch.randn(256, 2, generator=draw)
targets = (inputs[:, 0] * inputs[:, 1] > 0).long()


def train(n_samples: int) -> nn.Module:
    """A network that has seen the first samples."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    adam = torch.optim.Adam(model.parameters(), 0.005)
    for _ in range(300):
        adam.zero_grad()
        nn.functional.cross_entropy(model(inputs[:n_samples]), targets[:n_samples]).backward()
        adam.step()
    return model.eval()


a, b, c = (train(n_samples) for n_samples in (16, 64, 256))
plane = loss_plane(
    a, b, c, loss=nn.CrossEntropyLoss(), data=(inputs, targets), sizes=(16, 64), threshold=0.1, progress=False
)
print(plane.about())

# %%
# The landscape of the first 16 samples. *All three networks lie inside the white line. It would be wrong if A, which was
# trained on these samples, lay outside.*
figure = plane.plot(0)

# %%
# The landscape of all 256 samples. *The basin is smaller, and only the network that saw them all is inside.*
figure = plane.plot()

# %%
# The same as a surface. ``plane.to_html("plane.html")`` writes it as a page with a slider over the data sizes.
figure = plane.plot_surface()
