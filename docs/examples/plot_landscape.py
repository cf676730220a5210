"""
The landscape of my network
===========================

From a saved state dict to a figure for a paper: the loss around a trained network, on the plane through three networks, and
along the line between two of them. Any PyTorch module can take the place of this one.
"""

import io

import torch
from torch import nn

from minima_volume import loss_line, loss_path, loss_plane

torch.set_num_threads(1)
draw = torch.Generator().manual_seed(0)
inputs = torch.randn(128, 2, generator=draw)
targets = (inputs[:, 0] * inputs[:, 1] > 0).long()


def build() -> nn.Module:
    """The architecture; a state dict holds only its numbers."""
    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))


def train(seed: int) -> nn.Module:
    """A network with an initialisation of its own."""
    torch.manual_seed(seed)
    model = build()
    adam = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(300):
        adam.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        adam.step()
    return model.eval()


# %%
# A training script usually ends with a file. Load it into the architecture, and switch to evaluation mode.
file = io.BytesIO()
torch.save(train(0).state_dict(), file)
file.seek(0)
model = build()
model.load_state_dict(torch.load(file, weights_only=True))
model.eval()

# %%
# Around one network: two random directions, in units of the filters' norms. *The network lies at the bottom of a funnel, and
# the white line bounds the basin at loss 0.1. It would be wrong if the mark lay above the surface.*
loss, data = nn.CrossEntropyLoss(), (inputs, targets)
around = loss_plane(model, loss=loss, data=data, threshold=0.1, progress=False)
figure = around.plot_surface()

# %%
# Through three networks: lengths and angles are those of parameter space. The networks are about equally far from each
# other, so the angle is near 60°. *Each mark lies inside a white line of its own. It would be wrong if another order of the
# networks did more than turn or mirror the picture.*
other, third = train(1), train(2)
plane = loss_plane(model, other, third, loss=loss, data=data, threshold=0.1, progress=False)
print(plane.about())
figure = plane.plot()

# %%
# Along the straight line between two of them the loss rises: they lie in different basins. A curve with a trained bend goes
# round the barrier. *It would be wrong if the curve's barrier were higher than that of the straight line.*
line = loss_line(model, other, loss, data, progress=False)
curve = loss_path(model, other, loss, data, steps=500, progress=False)
print(f"barrier {line.barrier:.3f} along the line, {curve.barrier:.3f} along the curve")
print(f"the curve stays in the basin at loss 0.1: {curve.inside(0.1)}")
figure = line.plot()

# %%
# The two leading eigenvectors of the Hessian, with their eigenvalues on the axes.
curved = loss_plane(model, loss=loss, data=data, directions="curvature", threshold=0.1, progress=False)
print(curved.axis_names)
figure = curved.plot()

# %%
# For a paper, save the figure as PDF, 5.5 inches wide, and the numbers beside it:
#
# .. code-block:: python
#
#     plane.plot().savefig("plane.pdf")
#     plane.save("plane.npz")  # read it with Plane.load, or with numpy.load
#     plane.to_html("plane.html")  # turns with the mouse, works offline
#     plane.to_mesh("plane.vtp")  # ParaView
