"""Memory that runs out is the machine's fault: it ends a measurement, and never counts as a property of the model."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from minima_volume import measure_volume

LACKS = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"


class Starved(nn.Module):
    """A layer for which memory runs out where a condition on its weights holds."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.inner, self.where = nn.Linear(4, 3), where
        self.register_buffer("start", torch.zeros(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        moved = not torch.equal(self.inner.weight, self.start.to(self.inner.weight))
        wide = self.inner.weight.dtype == torch.float64
        if {"in float64": wide and not moved, "away from the minimum": moved}[self.where]:
            raise RuntimeError(LACKS)
        outputs: Tensor = self.inner(x)
        return outputs


class Uncopied:
    """An attribute for whose copy memory runs out."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise MemoryError("no room for a copy")


def measure(model: nn.Module, loss: Any = None) -> Any:
    torch.manual_seed(0)
    data = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    return measure_volume(model, loss or nn.CrossEntropyLoss(), data, threshold=5.0, n_directions=3, progress=False)


@pytest.mark.parametrize("where", ["in float64", "away from the minimum"])
def test_memory_that_runs_out_along_the_way_ends_the_measurement(where: str) -> None:
    torch.manual_seed(0)
    model = Starved(where).eval()
    model.start.copy_(model.inner.weight.detach())
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        measure(model)


def test_an_attribute_is_not_shared_because_memory_ran_out() -> None:
    model = nn.Linear(4, 3).eval()
    model.kept = Uncopied()
    with pytest.raises(MemoryError, match="no room for a copy"):
        measure(model)


def test_a_loss_is_not_taken_for_a_closure_because_memory_ran_out() -> None:
    def loss(outputs: Any, targets: Tensor) -> Tensor:
        raise MemoryError("no room for the loss")

    with pytest.raises(MemoryError, match="no room for the loss"):
        measure(nn.Linear(4, 3).eval(), loss)
