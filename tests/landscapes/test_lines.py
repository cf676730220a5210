"""loss_line: a known barrier, a plain loop, test data, and what the weights say about an initialisation."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minima_volume import loss_line
from minima_volume.landscapes.profile import barrier_height
from tests.landscapes.problems import Vector, flat, with_weights

DRAW = torch.Generator().manual_seed(0)
INPUTS = torch.randn(60, 5, generator=DRAW)
TARGETS = (INPUTS[:, 0] > 0).long()
CROSS = nn.CrossEntropyLoss()


def test_the_barrier_of_a_double_well_is_its_height() -> None:
    """(w² − 1)² has minima at w = ±1 and the barrier 1 between them, at the middle."""

    def double_well(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.square() - targets).square()[:, 0]

    a, b = (Vector(torch.tensor([w])).eval() for w in (-1.0, 1.0))
    data, other = (torch.zeros(2, 1), torch.ones(2, 1)), (torch.zeros(2, 1), 2 * torch.ones(2, 1))
    line = loss_line(a, b, double_well, data, test=other, nodes=21, start=-0.5, stop=1.5)
    np.testing.assert_allclose(line.loss, ((2 * line.t - 1) ** 2 - 1) ** 2, rtol=1e-6, atol=1e-12)
    assert line.barrier == pytest.approx(1.0, rel=1e-9) and line.length == pytest.approx(2.0)
    assert line.inside(1.0) and not line.inside(0.99)
    assert line.test_barrier == pytest.approx(3.0, rel=1e-9)  # (w² − 2)² is 1 at both ends and 4 in the middle
    alone = loss_line(a, b, double_well, data, nodes=3)
    assert np.isnan(alone.test_barrier) and alone.barrier == pytest.approx(1.0, rel=1e-9)


def test_the_barrier_is_measured_from_the_mean_of_both_ends() -> None:
    t = np.linspace(0, 1, 5)
    assert barrier_height(t, np.array([0.0, 0.25, 0.5, 0.75, 1.0])) == 0.5
    assert barrier_height(t, np.array([1.0, 0.5, 0.0, 0.5, 1.0])) == 0
    assert barrier_height(t, np.array([0.0, np.nan, 0.0, 0.0, 0.0])) == np.inf


def test_lines_agree_with_a_plain_loop_on_both_data_sets() -> None:
    a, b = (with_weights(nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 2)), seed) for seed in (0, 1))
    test = INPUTS[40:], TARGETS[40:]
    line = loss_line(a, b, CROSS, (INPUTS[:40], TARGETS[:40]), test=test, nodes=6, progress=False)
    model, start, end = deepcopy(a).double(), flat(a), flat(b)
    named = sorted(model.named_parameters())
    for i, t in enumerate(line.t):
        parts = (start + t * (end - start)).split([p.numel() for _, p in named])
        with torch.no_grad():
            for (_, p), part in zip(named, parts, strict=True):
                p.copy_(part.view_as(p))
            for (x, y), loss, wrong in (
                ((INPUTS[:40], TARGETS[:40]), line.loss, 1 - line.accuracy),
                (test, line.test_loss, line.test_error_rate),
            ):
                assert loss is not None and wrong is not None
                outputs = model(x.double())
                assert loss[i] == pytest.approx(float(CROSS(outputs, y)), rel=1e-6)
                assert wrong[i] == pytest.approx(float((outputs.argmax(1) != y).double().mean()))


def test_weights_tell_whether_models_share_an_initialisation() -> None:
    def mlp() -> nn.Module:
        return nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))

    a, other = with_weights(mlp(), 0), with_weights(mlp(), 1)
    near = deepcopy(a)
    with torch.no_grad():
        for p in near.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=DRAW))
    lines = [loss_line(a, b, CROSS, (INPUTS, TARGETS), nodes=2, progress=False) for b in (near, other)]
    assert "share an initialisation" in lines[0].notes[-1] and "nothing shows" in lines[1].notes[-1]
