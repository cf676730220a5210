"""Several thresholds, closures, kept rays and the divergence from the minimum, against single measurements."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from minima_volume import Measurement, ThresholdCurve, loss_plane, measure_volume
from minima_volume.crossings import model_problem, model_sweep
from minima_volume.errors import ResultsError
from minima_volume.rays.preconditioner import Preconditioner
from tests.measure.zoo import CROSS_ENTROPY, classes, near, seeded

# A threshold's crossing does not depend on the others, to the promise of the solver.
SAME = 0.01


def small() -> Any:
    return seeded(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)))


def asked(**changes: Any) -> Any:
    model, loss, data, options = near(small(), CROSS_ENTROPY, classes())
    return measure_volume(model, loss, data, **{**options, "n_directions": 12, "progress": False, **changes})


def test_several_thresholds_give_what_each_gives_alone() -> None:
    start = asked().value_at_minimum
    thresholds = [1.1 * start, 1.5 * start, 1.3 * start]
    curve = asked(threshold=thresholds)
    assert isinstance(curve, ThresholdCurve)
    assert [found.threshold for found in curve] == sorted(thresholds, reverse=True)
    for found in curve:
        alone = asked(threshold=found.threshold)
        np.testing.assert_allclose(found.n_params * found.log_radii, alone.n_params * alone.log_radii, atol=SAME)
    assert isinstance(asked(threshold=thresholds[:1]), ThresholdCurve)


def test_layers_of_a_curve_belong_to_their_thresholds() -> None:
    start = asked().value_at_minimum
    curve = asked(threshold=[1.2 * start, 1.4 * start], per_layer=True)
    for found in curve:
        assert set(found.layers) == {"0", "2"}
        assert {part.threshold for part in found.layers.values()} == {found.threshold}


def test_an_accuracy_at_several_thresholds_is_sorted_by_threshold() -> None:
    x = classes()[0]
    model = small()
    curve = measure_volume(
        model,
        None,
        (x, model(x).argmax(dim=1)),
        threshold=[0.8, 0.9],
        metric="accuracy",
        n_directions=8,
        progress=False,
    )
    assert [found.threshold for found in curve] == [0.9, 0.8]
    assert (curve[0].log_radii <= curve[1].log_radii + 1e-12).all()  # 90 % is left before 80 %


def closure(model: nn.Module, batch: Any) -> Tensor:
    return functional.cross_entropy(model(batch["x"]), batch["y"], reduction="none")


def test_a_closure_measures_what_the_pair_measures() -> None:
    x, y = classes()
    batches = [{"x": x[i : i + 30], "y": y[i : i + 30]} for i in range(0, 64, 30)]
    model, _, _, options = near(small(), CROSS_ENTROPY, classes())
    found = measure_volume(model, closure, batches, **options, n_directions=12, progress=False)
    wanted = asked()
    assert found.n_samples == 64
    np.testing.assert_allclose(found.n_params * found.log_radii, wanted.n_params * wanted.log_radii, atol=SAME)


def test_an_interrupted_measurement_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, file = asked(n_directions=60), tmp_path / "run.npz"
    blocks, real = [], model_sweep.cross_block

    def interrupted(*call: Any) -> Any:
        blocks.append(1)
        if len(blocks) == 2:
            raise KeyboardInterrupt
        return real(*call)

    monkeypatch.setattr(model_problem, "FEWEST_NUMBERS", 1)
    monkeypatch.setattr(model_sweep, "cross_block", interrupted)
    with pytest.raises(KeyboardInterrupt):
        asked(n_directions=60, keep=file)
    assert file.exists()
    blocks.clear()
    blocks += [1, 1]  # no further interruption
    found = asked(n_directions=60, keep=file)
    assert len(blocks) == 2 + 2, "the first block is not followed again"
    np.testing.assert_allclose(found.log_radii, whole.log_radii, rtol=1e-12)
    blocks.clear()
    assert isinstance(asked(n_directions=40, keep=file), Measurement) and not blocks
    with pytest.raises(ResultsError, match="this model, data and settings"):
        asked(n_directions=60, keep=file, seed=1)


def other_data(metric: Any) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    """A network, and two data sets with the same divergence or accuracy at its minimum."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    inputs = [torch.randn(60, 4), 3 * torch.randn(60, 4)]
    return network, [(each, network(each).argmax(dim=1)) for each in inputs]


@pytest.mark.parametrize(("metric", "threshold"), [("kl", 0.1), ("accuracy", 0.9)])
def test_kept_rays_of_data_that_are_alike_at_the_minimum_are_refused(
    metric: Any, threshold: float, tmp_path: Path
) -> None:
    network, (first, second) = other_data(metric)
    given: dict[str, Any] = {"threshold": threshold, "metric": metric, "n_directions": 8}
    kept = measure_volume(network, None, first, **given, keep=tmp_path / "rays.npz")
    assert kept == measure_volume(network, None, first, **given, keep=tmp_path / "rays.npz", memory=10**7)
    assert kept.log_volume != measure_volume(network, None, second, **given).log_volume
    with pytest.raises(ResultsError, match="this model, data and settings"):
        measure_volume(network, None, second, **given, keep=tmp_path / "rays.npz")
    plane: dict[str, Any] = {"loss": None, "metric": metric, "nodes": 3, "progress": False}
    loss_plane(network, data=first, **plane, keep=tmp_path / "plane.npz")
    with pytest.raises(ResultsError, match="this model, data and settings"):
        loss_plane(network, data=second, **plane, keep=tmp_path / "plane.npz")


def test_kept_rays_of_another_loss_or_preconditioner_are_refused(tmp_path: Path) -> None:
    x = torch.randn(30, 4)
    model = nn.Linear(4, 1).eval()
    exact = x, model(x).detach()  # every loss is 0
    given: dict[str, Any] = {"threshold": 0.1, "n_directions": 4, "keep": tmp_path / "rays.npz"}
    measure_volume(model, nn.MSELoss(), exact, **given)
    with pytest.raises(ResultsError, match="this model, data and settings"):
        measure_volume(model, nn.L1Loss(), exact, **given)

    def clamped(outputs: Tensor, targets: Tensor) -> Tensor:  # differs far away only
        return (outputs - targets).square().mean(dim=1).clamp(max=0.5)

    with pytest.raises(ResultsError, match="this model, data and settings"):
        measure_volume(model, clamped, exact, **given)
    scales = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    given["keep"] = tmp_path / "shaped.npz"
    measure_volume(model, nn.MSELoss(), exact, **given, preconditioner=Preconditioner.diagonal(scales))
    with pytest.raises(ResultsError, match="this model, data and settings"):  # of the same determinant
        measure_volume(model, nn.MSELoss(), exact, **given, preconditioner=Preconditioner.diagonal(scales.flip(0)))


def test_a_measurement_that_was_kept_whole_has_the_error_and_the_notes_of_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_sweep, "rounding_error", lambda *_: 5.0)
    fresh, kept, again = (asked(keep=file) for file in (None, tmp_path / "rays.npz", tmp_path / "rays.npz"))
    assert "which moves n ln r by about 5 nats" in "".join(fresh.notes)
    assert fresh == kept == again and fresh.notes == again.notes


def test_the_divergence_is_zero_at_the_minimum_and_needs_no_loss() -> None:
    model = small()
    found = measure_volume(model, None, classes(), threshold=0.05, metric="kl", n_directions=6, progress=False)
    assert found.value_at_minimum == pytest.approx(0, abs=1e-12) and found.metric == "kl"


def test_the_model_of_a_closure_is_left_unchanged() -> None:
    model = small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen: list[int] = []

    def spying(own: nn.Module, batch: Any) -> Tensor:
        seen.append(id(own))
        return functional.cross_entropy(own(batch[0]), batch[1], reduction="none")

    measure_volume(model, spying, classes(), threshold=3.0, n_directions=3, progress=False)
    assert id(model) not in seen and all(torch.equal(before[name], value) for name, value in model.state_dict().items())
