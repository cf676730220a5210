"""The volume of any model in five lines: a ResNet-18 and a small transformer, each fitted to random data in seconds."""

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from minima_volume import measure_volume


class Transformer(nn.Module):
    """Two layers of attention over tokens (N, T), one class per sequence."""

    def __init__(self, tokens: int = 16, width: int = 16, classes: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        layer = nn.TransformerEncoderLayer(width, 2, 4 * width, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, classes)."""
        return self.head(self.encoder(self.embedding(inputs)).mean(dim=1))


def fitted(model: nn.Module, inputs: Tensor, targets: Tensor, steps: int) -> nn.Module:
    """The model, trained until it knows its random labels, in evaluation mode."""
    adam = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(steps):
        adam.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        adam.step()
    return model.eval()


def main() -> None:
    """Fit and measure both."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    images, labels = torch.randn(16, 3, 32, 32), torch.randint(0, 4, (16,))
    resnet = fitted(resnet18(num_classes=4), images, labels, steps=8)
    print(
        "ResNet-18\n",
        measure_volume(resnet, nn.CrossEntropyLoss(), (images, labels), threshold=2.0, n_directions=3),
        sep="",
    )

    tokens, classes = torch.randint(0, 16, (32, 8)), torch.randint(0, 4, (32,))
    model = fitted(Transformer(), tokens, classes, steps=150)
    found = measure_volume(
        model, nn.CrossEntropyLoss(), (tokens, classes), threshold=0.5, n_directions=30, per_layer=False
    )
    print("\nTransformer\n", found, sep="")


if __name__ == "__main__":
    main()
