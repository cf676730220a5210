"""AdamW and SAM, against both written by hand."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minima_volume.networks.parameters import parameters_of
from minima_volume.training.recipe import Recipe, sam_perturbation
from minima_volume.training.trainer import Job, train

Seeded = Callable[..., nn.Module]


class AdamW:
    """Loshchilov and Hutter's update, written out for one vector."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.m, self.v, self.t = recipe, np.zeros(2), np.zeros(2), 0

    def step(self, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        self.t += 1
        self.m, self.v = 0.9 * self.m + 0.1 * g, 0.999 * self.v + 0.001 * g**2
        m, v = self.m / (1 - 0.9**self.t), self.v / (1 - 0.999**self.t)
        w = w * (1 - self.recipe.lr * self.recipe.weight_decay)
        return w - self.recipe.lr * m / (np.sqrt(v) + 1e-8)


@pytest.mark.parametrize("sam", [{}, {"sam_rho": 0.3}, {"sam_rho": 0.3, "sam_adaptive": True}])
def test_steps_on_a_parabola_by_hand(sam: dict[str, Any], seeded: Seeded) -> None:
    x, y = np.array([[1.0, 2.0], [3.0, -1.0]]), np.array([0.5, -1.0])  # L(w) = mean (x·w − y)²
    recipe = Recipe(epochs=6, lr=0.1, weight_decay=0.02, **sam)
    model = seeded(lambda: nn.Linear(2, 1, bias=False))

    def gradient(w: np.ndarray) -> np.ndarray:
        return 2 * x.T @ (x @ w - y) / 2

    w, optimiser = parameters_of(model)["weight"][0].numpy().copy(), AdamW(recipe)
    for _ in range(recipe.epochs):
        g = gradient(w)
        if recipe.sam_rho is not None:
            size = np.abs(w) if recipe.sam_adaptive else np.ones(2)
            scaled = size * g
            g = gradient(w + recipe.sam_rho * size * scaled / math.sqrt((scaled**2).sum()))
        w = optimiser.step(w, g)

    def squares(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.squeeze(-1) - targets).square()

    job = Job(parameters_of(model), torch.from_numpy(x), torch.from_numpy(y), 0)
    ((_, (found,)),) = train(model, [job], recipe, squares)
    # Six steps of a handful of operations; 1/2 is exact.
    np.testing.assert_allclose(found["weight"][0].numpy(), w, rtol=1e-10)


def test_ascent_is_as_long_as_said() -> None:
    rng = torch.Generator().manual_seed(0)
    shapes = {"weight": (3, 4, 2), "bias": (3, 4)}
    theta, g = ({k: torch.randn(s, generator=rng, dtype=torch.float64) for k, s in shapes.items()} for _ in range(2))
    moved = sam_perturbation(theta, g, 0.05, adaptive=False)
    scaled = sam_perturbation(theta, g, 0.05, adaptive=True)
    for i in range(3):  # each network by its own norm
        step = torch.cat([(moved[k] - theta[k])[i].flatten() for k in shapes])
        flat = torch.cat([g[k][i].flatten() for k in shapes])
        # A dozen numbers: rounding only.
        assert step.norm().item() == pytest.approx(0.05, rel=1e-12)
        assert (step @ flat).item() == pytest.approx((step.norm() * flat.norm()).item(), rel=1e-12)
        size = torch.cat([theta[k][i].abs().flatten() for k in shapes])
        step = torch.cat([(scaled[k] - theta[k])[i].flatten() for k in shapes])
        assert (step / size).norm().item() == pytest.approx(0.05, rel=1e-12)  # ‖ε/|θ|‖ = ρ


def test_ascent_at_a_stationary_point_stays() -> None:
    theta, zero = {"w": torch.ones(1, 3)}, {"w": torch.zeros(1, 3)}
    assert torch.equal(sam_perturbation(theta, zero, 0.05, adaptive=False)["w"], theta["w"])
