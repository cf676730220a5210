"""The cost in front of the progress bar: operations as torch's own counter has them, and no change of the result."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from minima_volume import measure_volume
from minima_volume.crossings.cost import Cost, expected_cost
from minima_volume.crossings.model_problem import ModelProblem
from minima_volume.crossings.scan import Target
from minima_volume.networks.minimum import Minimum
from minima_volume.networks.parameters import layout_of, parameters_of
from minima_volume.networks.surroundings import plain_surroundings
from minima_volume.networks.user_model import check_user_model


class Attention(nn.Module):
    """Attention with a mean over the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.head = nn.Linear(16, 48), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        mixed = nn.functional.scaled_dot_product_attention(*self.mix(x).chunk(3, dim=-1))
        scores: Tensor = self.head(mixed.mean(dim=1))
        return scores


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "stack": (lambda: nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 3)), (50, 20)),
    "convolutions": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 3)), (9, 3, 8, 8)),
    "attention": (Attention, (9, 5, 16)),
}  # fmt: skip


def example(name: str) -> tuple[nn.Module, tuple[Tensor, Tensor], float]:
    """Return a model, its own predictions as data, and a threshold above their loss."""
    torch.manual_seed(0)
    build, shape = MODELS[name]
    model, inputs = build().eval(), torch.randn(shape)
    with torch.no_grad():
        outputs = model(inputs)
        targets = outputs.argmax(dim=1)
        return model, (inputs, targets), 1.3 * float(nn.functional.cross_entropy(outputs, targets))


@pytest.mark.parametrize("name", MODELS)
def test_operations_are_those_of_torchs_counter(name: str) -> None:
    model, data, threshold = example(name)
    parameters = parameters_of(model)
    minimum = Minimum.of(parameters, layout_of(parameters))
    # As measure_volume does: some torch has no batching rule for fused attention, and warns.
    with plain_surroundings(model):
        user = check_user_model(model, nn.CrossEntropyLoss(), data, minimum, threshold=threshold, memory=2**28)
        found = expected_cost(ModelProblem(user, minimum, [Target(len(data[0]), threshold)], 2**28), 100)
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        model(data[0])
    assert found.flops == counted.get_total_flops() > 0
    assert found.seconds > 0


@pytest.mark.parametrize("name", MODELS)
def test_a_visible_bar_names_the_cost_and_changes_nothing(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    model, data, threshold = example(name)
    shown, hidden = (
        measure_volume(model, nn.CrossEntropyLoss(), data, threshold=threshold, n_directions=4, progress=progress)
        for progress in (True, False)
    )
    assert "FLOP a loss)" in capsys.readouterr().err
    np.testing.assert_array_equal(shown.log_radii, hidden.log_radii)
    assert shown.notes == hidden.notes


def test_a_shape_without_a_formula_is_left_out_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*args: Any, **options: Any) -> int:
        raise AssertionError("a shape that the formula does not know")

    monkeypatch.setitem(flop_registry, torch.ops.aten.addmm, refuses)
    model, data, threshold = example("stack")
    found = measure_volume(model, nn.CrossEntropyLoss(), data, threshold=threshold, n_directions=4, progress=True)
    assert np.isfinite(found.log_radii).all()


QUICK = """
import sys, torch
from minima_volume import measure_volume
model = torch.nn.Linear(3, 2)
data = torch.eye(3), torch.tensor([0, 1, 0])
measure_volume(model, torch.nn.CrossEntropyLoss(), data, threshold=2.0, n_directions=2, progress=True)
print("torch._dynamo" in sys.modules or "sympy" in sys.modules)
"""


def test_the_estimate_loads_no_compiler() -> None:
    """It takes seconds, before every measurement in a terminal."""
    done = subprocess.run([sys.executable, "-c", QUICK], capture_output=True, text=True, check=True)
    assert "FLOP a loss" in done.stderr and done.stdout.strip() == "False"


def test_rays_are_timed_within_the_memory_of_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data, threshold = example("stack")
    parameters = parameters_of(model)
    minimum = Minimum.of(parameters, layout_of(parameters))
    user = check_user_model(model, nn.CrossEntropyLoss(), data, minimum, threshold=threshold, memory=2**28)
    problem = ModelProblem(user, minimum, [Target(len(data[0]), threshold)], 1)  # a byte: one ray at a time
    seen, bundle = [], problem.bundle

    def watched(block: Tensor, dtype: torch.dtype) -> Any:
        seen.append(len(block))
        return bundle(block, dtype)

    monkeypatch.setattr(problem, "bundle", watched)
    expected_cost(problem, 100)
    assert problem.path == "stack" and problem.batch_size == 1 and seen == [1]


def test_a_file_that_holds_all_rays_costs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data, threshold = example("stack")
    options: dict[str, Any] = {
        "threshold": threshold,
        "n_directions": 4,
        "keep": tmp_path / "run.npz",
        "progress": True,
    }
    first = measure_volume(model, nn.CrossEntropyLoss(), data, **options)
    assert "FLOP a loss" in capsys.readouterr().err
    again = measure_volume(model, nn.CrossEntropyLoss(), data, **options)
    np.testing.assert_array_equal(first.log_radii, again.log_radii)
    assert "FLOP a loss" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (Cost(0, 0.2), "about 1 s (0 FLOP a loss)"),
        (Cost(1_234_567, 80), "about 80 s (1.23 MFLOP a loss)"),
        (Cost(999, 5_000), "about 83 min (999 FLOP a loss)"),
        (Cost(3 * 10**12, 9 * 3600), "about 9 h (3 TFLOP a loss)"),
        (Cost(2 * 10**19, 86_400 * 12), "about 12 days (2e+04 PFLOP a loss)"),
    ],
)
def test_words(cost: Cost, text: str) -> None:
    assert str(cost) == text
