"""Calls of loss_plane: stopped and resumed, mistaken, with models that fail, of other layouts, and of other people."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minima_volume import loss_plane
from minima_volume.errors import ResultsError, UserError
from minima_volume.landscapes.plane import Plane
from tests.landscapes.problems import CROSS, DATA, INPUTS, TARGETS, Vector, mlp, plain_loop, three
from tests.measure.zoo import Case
from tests.measure.zoo.cases import ZOO
from tests.measure.zoo.outcome import difference, state_of


def test_a_stopped_plane_goes_on_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from minima_volume.landscapes.evaluation import Evaluation

    models, whole, calls = three(mlp), Evaluation.means, []

    def stop(self: Evaluation, points: Any) -> Any:
        calls.append(len(points))
        if len(calls) == 12:
            raise KeyboardInterrupt
        return whole(self, points)

    def run(keep: Path | None) -> Plane:
        return loss_plane(*models, loss=CROSS, data=DATA, nodes=7, keep=keep, progress=False)

    path = tmp_path / "plane.npz"
    monkeypatch.setattr(Evaluation, "means", stop)
    with pytest.raises(KeyboardInterrupt):
        run(path)
    first = len(calls)
    np.testing.assert_array_equal(run(path).loss, run(None).loss)
    assert first == 12 and path.exists()
    with pytest.raises(ResultsError, match="landscape points"):
        loss_plane(*models, loss=CROSS, data=DATA, nodes=8, keep=path, progress=False)


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0])),
                                  nn.CrossEntropyLoss(ignore_index=1)])  # fmt: skip
def test_nested_sizes_with_weights_are_refused(loss: nn.Module) -> None:
    with pytest.raises(UserError, match="without weights for nested sizes"):
        loss_plane(three(mlp)[0], loss=loss, data=DATA, nodes=3, sizes=[7], progress=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"c": None}, "one model or three"),
        ({"c": nn.Linear(3, 2)}, "parameters of the first model"),
        ({"c": 3}, "a module or a state dict"),
        ({"extent": (1, 0, 0, 1)}, "extent"),
        ({"sizes": (91,)}, "sizes up to 90"),
        ({"batch_norm": "hot"}, "batch_norm"),
        ({"nodes": 1}, "nodes"),
    ],
)
def test_mistakes_are_reported_in_a_sentence(change: dict[str, Any], words: str) -> None:
    models = three(mlp)
    given: dict[str, Any] = {"b": models[1], "c": models[2], "loss": CROSS, "data": DATA, "progress": False, "nodes": 3}
    with pytest.raises(UserError, match=words):
        loss_plane(models[0], **{**given, **change})


def test_models_on_one_line_span_no_plane() -> None:
    a, b, _ = three(mlp)
    middle = {name: (p + dict(b.named_parameters())[name]) / 2 for name, p in a.named_parameters()}
    with pytest.raises(UserError, match="on one line"):
        loss_plane(a, b, middle, loss=CROSS, data=DATA, nodes=3, progress=False)


def test_a_model_that_fails_at_points_has_nan_there_and_a_note() -> None:
    class Root(Vector):
        def forward(self, inputs: Tensor) -> Tensor:
            if float(self.w.detach().min()) < 0:
                raise ValueError("negative")
            return inputs + self.w.sqrt()

    model = Root(torch.ones(2))
    plane = loss_plane(
        model.eval(), loss=nn.MSELoss(), data=(torch.zeros(2, 2), torch.zeros(2, 2)), nodes=3, normalise=False,
        directions=torch.eye(2), extent=(-2, 2, -2, 2), progress=False,
    )  # fmt: skip
    assert np.isnan(plane.loss).sum() == 5 and plane.loss[1, 1] == pytest.approx(1.0)
    assert any("ValueError at 5 points" in note for note in plane.notes)


class Residual(nn.Module):
    """Convolutions with a shortcut, whose head reads maps by `view` or by `flatten`."""

    def __init__(self, *, view: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.head, self.view = nn.Linear(12, 2), view

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.first(inputs))
        maps = hidden + self.second(hidden)
        return self.head(maps.view(len(maps), -1) if self.view else maps.flatten(1))


@pytest.mark.parametrize("view", [False, True])
def test_convolutions_run_with_channels_last_unless_the_model_reads_its_layout(
    view: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minima_volume.landscapes import convolutions
    from minima_volume.landscapes.landscape import Landscape
    from minima_volume.rays.functional import FunctionalRays

    monkeypatch.setattr(FunctionalRays, "VMAP_PARAMS", 0)  # so that this small model is evaluated point by point
    monkeypatch.setattr(convolutions, "MAP_NUMBERS", 7 * 12)
    models, inputs = three(lambda: Residual(view=view)), INPUTS.view(-1, 2, 1, 3)
    landscape = Landscape(models[0], CROSS, (inputs, TARGETS))
    last = landscape.copy.module.second.weight.is_contiguous(memory_format=torch.channels_last)
    assert landscape.tile == 7 and last != view
    plane = loss_plane(*models, loss=CROSS, data=(inputs, TARGETS), nodes=4, progress=False)
    wanted = plain_loop(models, plane, lambda model: CROSS(model(inputs.double()), TARGETS))
    np.testing.assert_allclose(plane.loss, wanted, rtol=1e-6)


# --- other people's models --------------------------------------------------------------------------------------------


RAISING = [case for case in ZOO.cases if "Error for" in case.name]


@pytest.mark.parametrize("case", [*RAISING, *ZOO.cases[::6]], ids=lambda case: f"{case.kind}: {case.name}")
def test_models_of_other_people_have_a_plane_or_a_refusal_and_stay_as_they_are(case: Case) -> None:
    """The refusals are those of `measure_volume`, apart from options that planes do not have."""
    model, loss, data, options = case.build()
    kept = {key: value for key, value in options.items() if key in ("metric", "only", "memory", "threshold")}
    before = state_of(model)
    try:
        plane = loss_plane(model, loss=loss, data=data, nodes=3, progress=False, **kept)
    except UserError as refused:
        assert case.refusal or "on one line" in str(refused), str(refused)
    else:
        assert not case.refusal or options.keys() - kept.keys()
        assert plane.loss[1, 1] == pytest.approx(plane.models[0].loss, rel=1e-6)  # the model is the middle node
    assert not difference(before, state_of(model))


def test_an_accuracy_has_planes_of_error_rates() -> None:
    models = three(mlp)
    plane = loss_plane(*models, loss=CROSS, data=DATA, nodes=3, progress=False)
    rates = loss_plane(*models, loss=None, data=DATA, nodes=3, metric="accuracy", threshold=0.75, progress=False)
    np.testing.assert_array_equal(rates.loss, plane.error_rate[-1])
    assert rates.threshold == 0.25
