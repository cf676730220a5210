"""Models in some state: averaged, frozen, flattened, merged, counting their calls, or keeping what they computed."""

import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from tests.measure.zoo import CROSS_ENTROPY, ZOO, Built, classes, near, seeded
from tests.measure.zoo.forwards import Wrapped

KIND = "states"


def pair(model: nn.Module, **options: Any) -> Built:
    """Return a classifier of six numbers with its data."""
    return near(seeded(model), CROSS_ENTROPY, classes(), **options)


def small() -> nn.Sequential:
    """Return a small stack of layers."""
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


@ZOO.measured(KIND, "SWA's averaged model")
def averaged() -> Built:
    return pair(AveragedModel(small()))


@ZOO.measured(KIND, "a model after backward, with gradients")
def with_gradients() -> Built:
    model = seeded(small())
    CROSS_ENTROPY(model(classes()[0]), classes()[1]).backward()
    return near(model, CROSS_ENTROPY, classes())


@ZOO.measured(KIND, "a frozen model that was made in inference mode")
def inference_parameters() -> Built:
    model = seeded(small())
    with torch.inference_mode():
        model = copy.deepcopy(model).requires_grad_(False)
    return model, CROSS_ENTROPY, classes(), {"threshold": 3.0}


@ZOO.refused(KIND, "a decoder's parameter that is a transposed view of the encoder's", "in the same memory")
def transposed_tie() -> Built:
    model = seeded(nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 6)))
    model[2].weight = nn.Parameter(model[0].weight.data.t())
    return near(model, nn.MSELoss(), (classes()[0], classes()[0]))


@ZOO.measured(KIND, "parameters that are parts of one flat tensor")
def flattened() -> Built:
    model, place = seeded(small()), 0
    flat = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    for parameter in model.parameters():
        parameter.data = flat[place : place + parameter.numel()].view_as(parameter)
        place += parameter.numel()
    return near(model, CROSS_ENTROPY, classes())


class Counting(nn.Module):
    """Weakens its outputs with every call, as a schedule does that was never switched off."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.calls = small(), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.inner(x) / self.calls


class Seeding(nn.Module):
    """Adds noise from a seed that forward sets."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small()

    def forward(self, x: Tensor) -> Tensor:
        torch.manual_seed(0)
        return self.inner(x + torch.randn_like(x))


class Merged(nn.Module):
    """A low-rank step that was merged into the frozen weight for evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.merged = nn.Linear(6, 3), True
        self.lora_a, self.lora_b = nn.Parameter(torch.zeros(2, 6)), nn.Parameter(torch.zeros(3, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) if self.merged else self.base(x) + x @ self.lora_a.T @ self.lora_b.T


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a schedule that counts calls": (Counting, "same loss twice|earlier calls"),
    "noise from a seed that forward sets": (Seeding, "same loss twice"),
    "LoRA that was merged for evaluation": (Merged, r"'lora_[ab]'"),
}
for name, (build, sentence) in REFUSED.items():
    ZOO.refused(KIND, name, sentence)(
        functools.partial(lambda build: (seeded(build()), CROSS_ENTROPY, classes(), {"threshold": 9.0}), build)
    )


@functools.lru_cache(maxsize=1)
def _remembered(key: str) -> list[Tensor]:
    return []


class Remembers(Wrapped):
    """Keeps the first outputs in a cache of the module's file."""

    def forward(self, x: Tensor) -> Tensor:
        kept = _remembered("g")
        if not kept:
            kept.append(self.g.detach().clone())
        return self.inner(x * kept[0].to(x))


@ZOO.refused(KIND, "a cache outside the model", "losses depend on earlier calls|read every parameter that moves")
def remembers() -> Built:
    _remembered("g").clear()
    return seeded(Remembers()), CROSS_ENTROPY, classes(), {"threshold": 3.0}


class Memo(Wrapped):
    """Returns the outputs of a batch that it has seen again."""

    def __init__(self) -> None:
        super().__init__()
        self.memo: dict[float, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        return self.memo.setdefault(round(float(x.sum()), 3), super().forward(x)).to(x)


@ZOO.refused(KIND, "outputs that are kept for each batch", "losses depend on earlier calls")
def kept_outputs() -> Built:
    return seeded(Memo()), CROSS_ENTROPY, classes(), {"threshold": 3.0}


class FragileMemo(Memo):
    """The same, and it fails where `g` is too far from the minimum for the first comparison of copies."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("start", torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        if (self.g - self.start).abs().max() > 0.01:
            raise ValueError("g is too far away")
        return super().forward(x)


@ZOO.refused(KIND, "kept outputs in a model that fails nearby", "losses depend on earlier calls")
def fragile_kept_outputs() -> Built:
    model = seeded(FragileMemo())
    model.start.copy_(model.g.detach())
    return model, CROSS_ENTROPY, classes(), {"threshold": 3.0}
