"""Criteria and their gradients against torch and against plain sums."""

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from minima_volume.networks.losses import CRITERIA, Criterion, loss_gradient, zero_one_loss

# Float64 sums of a few products.
assert_close = partial(torch.testing.assert_close, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("outputs", [1, 4])
def test_criteria_against_torch(outputs: int) -> None:
    rng = torch.Generator().manual_seed(0)
    values = 5 * torch.randn(3, 11, outputs, generator=rng, dtype=torch.float64)
    targets = torch.randint(max(2, outputs), (11,), generator=rng)
    for ray in range(3):
        if outputs == 1:
            found = CRITERIA["binary_cross_entropy"](values, targets)[ray]
            wanted = functional.binary_cross_entropy_with_logits(values[ray, :, 0], targets.double(), reduction="none")
            assert_close(found, wanted)
            wrong = zero_one_loss(values, targets)[ray]
            assert wrong.tolist() == [
                float((v > 0) != bool(t)) for v, t in zip(values[ray, :, 0], targets, strict=True)
            ]
        else:
            wanted = functional.cross_entropy(values[ray], targets, reduction="none")
            assert_close(CRITERIA["cross_entropy"](values, targets)[ray], wanted)
            squares = [
                sum((float(v) - (k == int(t))) ** 2 for k, v in enumerate(row)) / outputs
                for row, t in zip(values[ray], targets, strict=True)
            ]
            assert_close(
                CRITERIA["one_hot_squared_error"](values, targets)[ray], torch.tensor(squares, dtype=torch.float64)
            )


def absolute_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return |outputs − targets|, a criterion that the package does not know."""
    return (outputs.squeeze(-1) - targets).abs()


@pytest.mark.parametrize("criterion", [*CRITERIA.values(), absolute_error], ids=lambda criterion: criterion.__name__)
def test_gradients_against_autograd(criterion: Criterion) -> None:
    draw = torch.Generator().manual_seed(1)
    width = 4 if criterion in (CRITERIA["cross_entropy"], CRITERIA["one_hot_squared_error"]) else 1
    outputs = (5 * torch.randn(9, width, generator=draw, dtype=torch.float64)).requires_grad_()
    targets = torch.randint(max(2, width), (9,), generator=draw)
    (expected,) = torch.autograd.grad(criterion(outputs, targets).sum(), outputs)
    assert_close(loss_gradient(criterion, outputs.detach(), targets), expected)
