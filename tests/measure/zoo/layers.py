"""Layers of torch and of other people that keep weights, states or shapes in their own way."""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tests.measure.zoo import CROSS_ENTROPY, ZOO, Built, classes, near, seeded

KIND = "layers"
PICTURE = (3, 2, 1)  # channels and sides of the pictures that six inputs make


def pair(model: nn.Module, **options: Any) -> Built:
    """Return a classifier of six numbers with its data."""
    return near(seeded(model), CROSS_ENTROPY, classes(), **options)


def words() -> tuple[Tensor, Tensor]:
    """Return sentences of five tokens, padded with 0, and their classes."""
    draw = torch.Generator().manual_seed(7)
    tokens = torch.randint(1, 7, (30, 5), generator=draw)
    lengths = torch.randint(1, 6, (30, 1), generator=draw)
    return tokens.where(torch.arange(5) < lengths, 0), torch.randint(3, (30,), generator=draw)


def old_norm(norm: Callable[..., Any], called: bool) -> nn.Module:
    """Return a stack whose first layer has one of the norms that hooks compute."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = seeded(nn.Sequential(norm(nn.Linear(6, 8)), nn.Tanh(), nn.Linear(8, 3)))
    if called:
        model(torch.zeros(1, 6)).sum().backward()
    return model


for called in (False, True):
    when = "that was called with gradients" if called else "that was never called"
    ZOO.measured(KIND, f"weight norm by hooks {when}")(
        lambda called=called: (old_norm(nn.utils.weight_norm, called), CROSS_ENTROPY, classes(), {"threshold": 2.0})
    )
    ZOO.measured(KIND, f"spectral norm by hooks {when}")(
        lambda called=called: near(old_norm(nn.utils.spectral_norm, called), CROSS_ENTROPY, classes())
    )


def on_pictures(*layers: nn.Module) -> nn.Module:
    """Return layers on pictures of the six inputs."""
    return nn.Sequential(nn.Unflatten(1, PICTURE), *layers)


def twice(layer: nn.Module) -> nn.Module:
    """Return a stack that applies one layer twice."""
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), nn.Linear(6, 3))


STACKS: dict[str, Callable[[], nn.Module]] = {
    "a transposed convolution": lambda: on_pictures(
        nn.ConvTranspose2d(3, 4, 2), nn.Tanh(), nn.Flatten(), nn.Linear(24, 3)
    ),
    "a convolution for each channel": lambda: on_pictures(
        nn.Conv2d(3, 6, 1, groups=3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)
    ),
    "instance normalisation with statistics": lambda: on_pictures(
        nn.InstanceNorm2d(3, affine=True, track_running_stats=True), nn.Flatten(), nn.Linear(6, 3)
    ),
    "instance normalisation without statistics": lambda: nn.Sequential(
        nn.Linear(6, 12), nn.Unflatten(1, (3, 4)), nn.InstanceNorm1d(3, affine=True), nn.Flatten(), nn.Linear(12, 3)
    ),
    "synchronised batch normalisation": lambda: nn.Sequential(nn.Linear(6, 8), nn.SyncBatchNorm(8), nn.Linear(8, 3)),
    "layer normalisation without weights": lambda: nn.Sequential(
        nn.Linear(6, 8), nn.LayerNorm(8, elementwise_affine=False), nn.Linear(8, 3)
    ),
    "RMSNorm and GELU": lambda: nn.Sequential(nn.Linear(6, 8), nn.RMSNorm(8), nn.GELU(), nn.Linear(8, 3)),
    "PReLU": lambda: nn.Sequential(nn.Linear(6, 8), nn.PReLU(8), nn.Linear(8, 3)),
    "RReLU, which is random in training only": lambda: nn.Sequential(nn.Linear(6, 8), nn.RReLU(), nn.Linear(8, 3)),
    "one layer twice in a Sequential": lambda: twice(nn.Linear(6, 6)),
    "ReLU in place after a skip connection": lambda: nn.Sequential(Skip(), nn.ReLU(inplace=True), nn.Linear(6, 3)),
    "weights in channels_last order": lambda: on_pictures(
        nn.Conv2d(3, 4, (2, 1)), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4, 3)
    ).to(memory_format=torch.channels_last),
}


class Skip(nn.Module):
    """Adds its input to a linear map of it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


for name, build in STACKS.items():
    ZOO.measured(KIND, name)(functools.partial(lambda build: pair(build()), build))

ZOO.refused(KIND, "batch normalisation without statistics", "evaluation mode|mixes the samples")(
    lambda: pair(nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, 3)))
)


class Packed(nn.Module):
    """A recurrent layer over packed sentences of different lengths."""

    def __init__(self, cell: type[nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4, padding_idx=0)
        self.cell = cell(4, 5, batch_first=True, **options)
        self.head = nn.Linear(5 * (2 if options.get("bidirectional") else 1), 3)

    def forward(self, tokens: Tensor) -> Tensor:
        lengths = (tokens != 0).sum(dim=1).cpu()
        packed = pack_padded_sequence(self.embedding(tokens), lengths, batch_first=True, enforce_sorted=False)
        out, _ = pad_packed_sequence(self.cell(packed)[0], batch_first=True, total_length=tokens.shape[1])
        return self.head(out.sum(dim=1))


for cell, options in (
    (nn.RNN, {"nonlinearity": "relu"}), (nn.GRU, {"bidirectional": True}), (nn.LSTM, {"num_layers": 2, "dropout": 0.5}),
):  # fmt: skip
    ZOO.measured(KIND, f"a packed {cell.__name__} with {next(iter(options))}")(
        lambda cell=cell, options=options: near(seeded(Packed(cell, **options)), CROSS_ENTROPY, words())
    )


class Attends(nn.Module):
    """Attention that ignores padded tokens."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=causal, activation="gelu")
        self.embedding, self.head, self.causal = nn.Embedding(7, 8), nn.Linear(8, 3), causal
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=not causal)

    def forward(self, tokens: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(5) if self.causal else None
        out = self.encoder(self.embedding(tokens), mask=mask, src_key_padding_mask=tokens == 0)
        return self.head(out[:, 0])


ZOO.measured(KIND, "an encoder with a mask of padding")(
    lambda: near(seeded(Attends(False)), CROSS_ENTROPY, words(), factor=1.1)
)


class CausalAttention(nn.Module):
    """Multi-head attention with a causal mask of -inf."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.mix, self.head = nn.Embedding(7, 8), nn.MultiheadAttention(8, 2), nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens).transpose(0, 1)
        mask = torch.full((5, 5), float("-inf")).triu(1)
        return self.head(self.mix(x, x, x, attn_mask=mask, need_weights=False)[0][-1])


ZOO.measured(KIND, "attention with a causal mask of -inf")(
    lambda: near(seeded(CausalAttention()), CROSS_ENTROPY, words(), factor=1.1)
)


def _renormalised(model: nn.Module) -> Tensor:
    # The layer shortens long rows before it reads them, and writes them back.
    embedding, head = model[0], model[2]
    rows = embedding.weight / (embedding.weight.norm(dim=1, keepdim=True) + 1e-7).clamp_min(1.0)
    return CROSS_ENTROPY(head(functional.embedding(words()[0], rows).flatten(1)), words()[1])


@ZOO.measured(KIND, "an embedding whose forward shortens its weights", height=_renormalised)
def shortening_embedding() -> Built:
    model = seeded(nn.Sequential(nn.Embedding(7, 4, max_norm=1.0), nn.Flatten(), nn.Linear(20, 3)))
    return model, CROSS_ENTROPY, words(), {"threshold": 2.0}


ZOO.measured(KIND, "EmbeddingBag with a mean")(
    lambda: near(seeded(nn.Sequential(nn.EmbeddingBag(7, 4, mode="mean"), nn.Linear(4, 3))), CROSS_ENTROPY, words())
)
ZOO.measured(KIND, "an embedding with sparse gradients")(
    lambda: near(
        seeded(nn.Sequential(nn.Embedding(7, 4, sparse=True), nn.Flatten(), nn.Linear(20, 3))), CROSS_ENTROPY, words()
    )
)


class Graph(nn.Module):
    """A graph convolution whose adjacency is a sparse buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.head = nn.Linear(2, 4), nn.Linear(12, 3)
        links = torch.tensor([[0, 1, 2, 2], [1, 2, 0, 2]])
        self.register_buffer("links", torch.sparse_coo_tensor(links, torch.tensor([1.0, 0.5, 2.0, 1.0]), (3, 3)))

    def forward(self, x: Tensor) -> Tensor:
        nodes = torch.relu(self.mix(x.unflatten(1, (3, 2)))).permute(1, 0, 2)
        return self.head(torch.sparse.mm(self.links, nodes.flatten(1)).view_as(nodes).permute(1, 0, 2).flatten(1))


ZOO.measured(KIND, "a graph whose links are a sparse buffer")(lambda: pair(Graph()))


class Cosine(nn.Module):
    """A classifier of directions: the length of its weights does not count."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.scale = nn.Parameter(torch.zeros(3, 6)), nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale.exp() * functional.normalize(x) @ functional.normalize(self.weight).T


ZOO.measured(KIND, "a classifier of directions with a temperature of no dimension")(lambda: pair(Cosine()))


class Flow(nn.Module):
    """An affine coupling layer, which returns the negative log-likelihood of each sample."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 6))

    def forward(self, x: Tensor) -> Tensor:
        fixed, moved = x.chunk(2, dim=1)
        shift, log_scale = self.net(fixed).chunk(2, dim=1)
        z = torch.cat([fixed, (moved - shift) * (-log_scale).exp()], dim=1)
        base = torch.distributions.Normal(0.0, 1.0)
        return log_scale.sum(dim=1) - base.log_prob(z).sum(dim=1)


ZOO.measured(KIND, "a normalising flow")(
    lambda: near(seeded(Flow()), lambda nll, _: nll, (classes()[0], torch.zeros(64)), factor=1.1)
)
