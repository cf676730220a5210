"""Reads of parameters that torch does not show, and layers outside the model."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from tests.measure.zoo import CROSS_ENTROPY, ZOO, Built, near, seeded
from tests.measure.zoo.adversaries import Extended, X, Y, single, small

KIND = "unseen reads"


class ByDataNumpy(Extended):
    """Reads its vector through .data and numpy."""

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x + torch.as_tensor(np.tanh(self.gain.data.numpy())))


ZOO.measured(KIND, "a vector read through .data and numpy")(lambda: near(seeded(ByDataNumpy()), CROSS_ENTROPY, (X, Y)))


def _from_lists(x: Tensor, gain: Tensor) -> Tensor:
    return x + torch.tensor(gain.tolist(), dtype=x.dtype)


class ByList(Extended):
    """Reads its vector as a list of numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(_from_lists(x, self.gain))


ZOO.measured(KIND, "a vector read as a list of numbers")(lambda: near(seeded(ByList()), CROSS_ENTROPY, (X, Y)))


def _penalties() -> dict[str, Callable[[nn.Sequential], float]]:
    return {
        "through .data and numpy": lambda m: float(np.square(m[0].weight.data.numpy()).sum()),
        "through a list": lambda m: sum(v * v for row in m[0].weight.tolist() for v in row),
        "through a list of .data": lambda m: sum(v * v for row in m[0].weight.data.tolist() for v in row),
        "through item": lambda m: m[0].weight.detach().square().sum().item(),
        "through the state dict": lambda m: sum(float(v.square().sum()) for v in m.state_dict().values()),
    }


for name, penalty in _penalties().items():

    @ZOO.refused(KIND, f"a penalty of the caller's weights {name}", "only through its arguments")
    def penalised(penalty: Callable[[nn.Sequential], float] = penalty) -> Built:
        model = seeded(small())
        return model, lambda o, t: single(o, t) + 0.05 * penalty(model), (X, Y), {"threshold": 4.0}


OUTSIDE = nn.Linear(6, 8)


class WithGlobal(nn.Module):
    """Uses a layer that is a global variable."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner[2](torch.tanh(self.inner[0](x) + OUTSIDE.to(x.dtype)(x)))


ZOO.measured(KIND, "a layer in a global variable", note="2 parameters with gradients that the model does not hold")(
    lambda: near(seeded(WithGlobal()), CROSS_ENTROPY, (X, Y))
)


class PowerIteration(nn.Module):
    """Divides its weight by a spectral norm, whose power iteration goes on in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.head = nn.Parameter(torch.zeros(8, 6)), nn.Linear(8, 3)
        self.register_buffer("u", torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        v = nn.functional.normalize(self.weight.T @ self.u, dim=0)
        self.u.copy_(nn.functional.normalize(self.weight @ v, dim=0))
        return self.head(torch.tanh(x @ (self.weight / (self.u @ self.weight @ v)).T))


@ZOO.refused(KIND, "a power iteration that has converged and goes on", "state that changes in evaluation mode")
def iterating() -> Built:
    model = seeded(PowerIteration())
    with torch.no_grad():
        for _ in range(500):
            model(X)
    return near(model, CROSS_ENTROPY, (X, Y))
