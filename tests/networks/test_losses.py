"""Criteria against torch's own and against sums written out."""

from functools import partial

import pytest
import torch
from torch.nn import functional

from minima_volume.networks.losses import CRITERIA, zero_one_loss

# Float64 sums of at most a few products.
agrees = partial(torch.testing.assert_close, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("outputs", [1, 4])
def test_criteria_against_torch(outputs: int) -> None:
    rng = torch.Generator().manual_seed(0)
    values = 5 * torch.randn(3, 11, outputs, generator=rng, dtype=torch.float64)
    targets = torch.randint(max(2, outputs), (11,), generator=rng)
    for ray in range(3):
        if outputs == 1:
            found = CRITERIA["binary_cross_entropy"](values, targets)[ray]
            wanted = functional.binary_cross_entropy_with_logits(values[ray, :, 0], targets.double(), reduction="none")
            agrees(found, wanted)
            wrong = zero_one_loss(values, targets)[ray]
            assert wrong.tolist() == [
                float((v > 0) != bool(t)) for v, t in zip(values[ray, :, 0], targets, strict=True)
            ]
        else:
            wanted = functional.cross_entropy(values[ray], targets, reduction="none")
            agrees(CRITERIA["cross_entropy"](values, targets)[ray], wanted)
            squares = [
                sum((float(v) - (k == int(t))) ** 2 for k, v in enumerate(row)) / outputs
                for row, t in zip(values[ray], targets, strict=True)
            ]
            agrees(CRITERIA["one_hot_squared_error"](values, targets)[ray], torch.tensor(squares, dtype=torch.float64))
