"""Models of real size: a GPT-like network of 30 or 124 million parameters, and a ResNet-18 for small images."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

TOKENS, SEQUENCES, IMAGES = 64, 8, 64


class Block(nn.Module):
    """Causal attention and a multilayer perceptron, each behind a layer norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm2, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the next activations (N, tokens, width)."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """A language model whose head is the matrix of its embedding."""

    def __init__(self, vocabulary: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(TOKENS, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, vocabulary, tokens), as the cross-entropy wants them."""
        hidden = self.blocks(self.tokens(x) + self.places(torch.arange(x.shape[1], device=x.device)))
        return functional.linear(self.norm(hidden), self.tokens.weight).transpose(1, 2)


class Residual(nn.Module):
    """Two convolutions with batch norm and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        plain = stride == 1 and inputs == outputs
        layers = [nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)]
        self.shortcut = nn.Identity() if plain else nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the next maps."""
        hidden = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(hidden)) + self.shortcut(x))


def resnet18() -> nn.Module:
    """Return a ResNet-18 for images of 32 × 32 pixels and ten classes, 11.2 million parameters."""
    widths = [64, 64, 128, 256, 512]
    blocks = [
        Residual(before if first else after, after, 2 if first and after > 64 else 1)
        for before, after in pairwise(widths)
        for first in (True, False)
    ]
    stem = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def _language(vocabulary: int, width: int, depth: int, heads: int) -> Any:
    """Return a language model with random tokens, whose targets are what it predicts itself."""
    torch.manual_seed(0)
    model = Transformer(vocabulary, width, depth, heads).eval()
    x = torch.randint(vocabulary, (SEQUENCES, TOKENS))
    with torch.no_grad():
        y = torch.cat([model(part).argmax(dim=1) for part in x.split(1)])
    return model, (x, y)


def _images() -> Any:
    """Return a ResNet-18 with random images, whose targets are what it predicts itself."""
    torch.manual_seed(0)
    model, x = resnet18().eval(), torch.randn(IMAGES, 3, 32, 32)
    with torch.no_grad():
        y = torch.cat([model(part).argmax(dim=1) for part in x.split(32)])
    return model, (x, y)


# Model and data by name; the loss is the cross-entropy, and the threshold 1.2 times its value at the minimum.
LARGE: dict[str, Callable[[], Any]] = {
    "ResNet-18": _images,
    "GPT-like, 30 million": lambda: _language(20_000, 512, 6, 8),
    "GPT-like, 124 million": lambda: _language(50_257, 768, 12, 12),
}
FACTOR = 1.2
