"""
A ResNet and a transformer
==========================

Any module works, not only stacks of layers. This example measures a ResNet-18 with a few directions and a small
transformer with more, each fitted to random labels within seconds.
"""

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from minima_volume import measure_volume

torch.manual_seed(0)
torch.set_num_threads(1)


def fit(model: nn.Module, inputs: Tensor, targets: Tensor, steps: int) -> nn.Module:
    """Train a model and return it in evaluation mode: batch normalisation must not depend on the batch."""
    adam = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(steps):
        adam.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        adam.step()
    return model.eval()


# %%
# The ResNet has 11 million parameters, so that three directions take most of the time of this example. Three are far
# too few for ln E[rⁿ], and the verdict says so.
images, labels = torch.randn(16, 3, 32, 32), torch.randint(0, 4, (16,))
resnet = fit(resnet18(num_classes=4), images, labels, steps=8)
loss = nn.CrossEntropyLoss()
print(measure_volume(resnet, loss, (images, labels), threshold=2.0, n_directions=3, sigmas=(0.01,)))


# %%
# Two layers of attention over sequences of eight tokens, one class for each sequence.
class Transformer(nn.Module):
    """An encoder whose outputs are averaged over the sequence."""

    def __init__(self, tokens: int = 16, width: int = 16, classes: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        layer = nn.TransformerEncoderLayer(width, 2, 4 * width, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, classes) of tokens (N, T)."""
        return self.head(self.encoder(self.embedding(inputs)).mean(dim=1))


tokens, classes = torch.randint(0, 16, (32, 8)), torch.randint(0, 4, (32,))
model = fit(Transformer(), tokens, classes, steps=150)
options = {"threshold": 0.5, "n_directions": 100, "sigmas": (0.02, 0.05, 0.08)}
found = measure_volume(model, loss, (tokens, classes), **options)
print(found)

# %%
# Left: the radii of the transformer. It would be wrong if ln E[rⁿ] lay left of the typical volume.
figure = found.plot()
