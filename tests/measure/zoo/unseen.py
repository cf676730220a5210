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


# Torch does not show this read, so the sentence names the vector as one that nobody reads.
ZOO.refused(KIND, "a vector read as a list of numbers", "'gain'")(lambda: near(seeded(ByList()), CROSS_ENTROPY, (X, Y)))


def _penalties() -> dict[str, Callable[[nn.Sequential], float]]:
    return {
        "through .data and numpy": lambda m: float(np.square(m[0].weight.data.numpy()).sum()),
        "through item": lambda m: m[0].weight.detach().square().sum().item(),
        "through the state dict": lambda m: sum(float(v.square().sum()) for v in m.state_dict().values()),
    }


for name, penalty in _penalties().items():

    @ZOO.refused(KIND, f"a penalty of the caller's weights {name}", "only through its arguments")
    def penalised(penalty: Callable[[nn.Sequential], float] = penalty) -> Built:
        model = seeded(small())
        return model, lambda o, t: single(o, t) + 0.05 * penalty(model), (X, Y), {"threshold": 4.0}
