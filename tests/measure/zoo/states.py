"""Models in some state: averaged, frozen, flattened, merged, or counting their calls."""

import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from tests.measure.zoo import CROSS_ENTROPY, ZOO, Built, classes, near, seeded

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
