"""measure_volume: radii against a plain loop, the model is left unchanged, and mistakes are reported in a sentence."""

import math
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from minima_volume import Measurement, measure_volume
from minima_volume.errors import DataError, NumericsError, UserError
from minima_volume.estimators.radial import log_mean_power
from minima_volume.networks.directions import draw_directions
from tests import reference

DRAW = torch.Generator().manual_seed(0)
INPUTS = torch.randn(40, 4, generator=DRAW)
TARGETS = (INPUTS[:, 0] > 0).long()
DATA = (INPUTS, TARGETS)


class Odd(nn.Module):
    """A model that is not a stack of layers: a skip connection, a normalisation with buffers, a tied weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)
        self.again = self.first

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(inputs + self.again(torch.relu(self.norm(self.first(inputs)))))


def trained(model: nn.Module, steps: int = 150) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for module in model.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    adam = torch.optim.Adam(model.parameters(), 0.03)
    for _ in range(steps):
        adam.zero_grad()
        functional.cross_entropy(model(INPUTS), TARGETS).backward()
        adam.step()
    return model.eval()


@pytest.fixture(scope="module")
def mlp() -> nn.Module:
    return trained(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))


@pytest.fixture(scope="module")
def odd() -> nn.Module:
    return trained(Odd())


@pytest.mark.parametrize("name", ["mlp", "odd"])
def test_radii_against_a_plain_loop(name: str, request: pytest.FixtureRequest) -> None:
    model: nn.Module = request.getfixturevalue(name)
    found = measure_volume(model, nn.CrossEntropyLoss(), DATA, threshold=0.3, n_directions=12, seed=3)
    n = sum(weight.numel() for weight in model.parameters())
    assert found.n_params == n and found.verdict.n_directions == 12
    logs = []
    for g in draw_directions(3, range(12), n):
        height = reference.along(model, reference.step(model, g), *DATA)
        c, _ = reference.crossing(height, 0.3)
        logs.append(math.log(float(g.double().norm()) * (1.0 if math.isnan(c) else c)))
    # The solver's tolerance is 0.002 nats of n·ln r.
    np.testing.assert_allclose(n * found.log_radii, n * np.array(logs), atol=0.004)
    assert found.log_volume == pytest.approx(log_mean_power(np.array(logs), n), abs=0.004)
    with torch.no_grad():
        assert found.value_at_minimum == pytest.approx(
            float(functional.cross_entropy(model(INPUTS), TARGETS)), rel=1e-4
        )


def test_the_model_is_left_unchanged(odd: nn.Module) -> None:
    functional.cross_entropy(odd(INPUTS), TARGETS).backward()
    state = deepcopy(odd.state_dict())
    gradients = [weight.grad.clone() for weight in odd.parameters() if weight.grad is not None]
    modes, random = [part.training for part in odd.modules()], torch.random.get_rng_state()
    loader = DataLoader(TensorDataset(*DATA), batch_size=7, shuffle=True)
    measure_volume(odd, nn.CrossEntropyLoss(), loader, threshold=0.3, n_directions=5, per_layer=True)
    assert all(torch.equal(value, state[name]) for name, value in odd.state_dict().items())
    after = [weight.grad for weight in odd.parameters() if weight.grad is not None]
    assert gradients and all(torch.equal(a, b) for a, b in zip(gradients, after, strict=True))
    assert all(weight.requires_grad for weight in odd.parameters())
    assert modes == [part.training for part in odd.modules()]
    assert torch.equal(random, torch.random.get_rng_state())


def test_tensors_and_loaders_give_the_same_radii(mlp: nn.Module) -> None:
    loader = DataLoader(TensorDataset(*DATA), batch_size=16)
    one, two = (
        measure_volume(mlp, nn.CrossEntropyLoss(), data, threshold=0.3, n_directions=8) for data in (DATA, loader)
    )
    np.testing.assert_array_equal(one.log_radii, two.log_radii)


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(),
        nn.CrossEntropyLoss(reduction="none"),
        partial(functional.cross_entropy, reduction="none"),
        lambda out, target: -out.log_softmax(1).gather(1, target[:, None]),  # (N, 1): averaged over the second axis
    ],
    ids=["averaging", "unreduced", "function", "column"],
)
def test_forms_of_the_same_loss_give_the_same_radii(loss: Callable[[Tensor, Tensor], Tensor], mlp: nn.Module) -> None:
    one = measure_volume(mlp, loss, DATA, threshold=0.3, n_directions=8)
    two = measure_volume(mlp, nn.CrossEntropyLoss(), DATA, threshold=0.3, n_directions=8)
    np.testing.assert_allclose(one.log_radii, two.log_radii, rtol=1e-6)


def test_a_subset_of_the_parameters(mlp: nn.Module) -> None:
    whole = measure_volume(mlp, nn.CrossEntropyLoss(), DATA, threshold=0.3, n_directions=8, per_layer=True)
    assert set(whole.layers) == {"0", "2"}
    assert sum(part.n_params for part in whole.layers.values()) == whole.n_params
    only = measure_volume(
        mlp, nn.CrossEntropyLoss(), DATA, threshold=0.3, n_directions=8, only=lambda name: name[0] == "2"
    )
    np.testing.assert_array_equal(only.log_radii, whole.layers["2"].log_radii)
    weights = measure_volume(mlp, nn.CrossEntropyLoss(), DATA, threshold=0.3, n_directions=8, only="weight")
    assert weights.n_params == 48


def test_accuracy_radii_end_where_the_accuracy_falls(mlp: nn.Module) -> None:
    found = measure_volume(mlp, None, DATA, threshold=0.9, metric="accuracy", n_directions=6)
    assert found.value_at_minimum == 1.0 and found.metric == "accuracy" and not found.censored.all()
    steps = [reference.step(mlp, g) for g in draw_directions(0, range(6), found.n_params)]
    norms = [float(g.double().norm()) for g in draw_directions(0, range(6), found.n_params)]
    for step, log_r, norm, censored in zip(steps, found.log_radii, norms, found.censored, strict=True):
        c = math.exp(log_r) / norm
        right = [reference.outputs(mlp, step, c * factor, INPUTS).argmax(1) == TARGETS for factor in (0.999, 1.001)]
        inside, outside = (float(row.double().mean()) for row in right)
        assert inside >= 0.9 and (censored or outside < 0.9)


def test_a_minimum_above_the_threshold_is_unconverged(mlp: nn.Module) -> None:
    found = measure_volume(mlp, nn.CrossEntropyLoss(), DATA, threshold=1e-9, n_directions=4)
    assert found.verdict.word == found.volume.status == "unconverged"
    assert math.isnan(found.log_volume) and found.profile is None
    assert "unconverged" in str(found)
    with_curvature = measure_volume(
        mlp, nn.CrossEntropyLoss(), DATA, threshold=1e-9, n_directions=4, preconditioner="curvature"
    )
    assert with_curvature.verdict.word == "unconverged"


def test_rays_that_never_leave_are_censored(mlp: nn.Module) -> None:
    found = measure_volume(mlp, nn.CrossEntropyLoss(), DATA, threshold=1e6, n_directions=60)
    assert found.verdict.word == "censored" and found.censored.all() and found.verdict.n_censored == 60


def test_losses_that_turn_nan_along_a_ray_end_the_basin() -> None:
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.u = nn.Parameter(torch.zeros(3))

        def forward(self, inputs: Tensor) -> Tensor:
            return (0.04 - self.u.square().sum()).sqrt().expand(len(inputs), 1)  # NaN outside the ball of radius 0.2

    found = measure_volume(
        Root(), nn.MSELoss(), (torch.zeros(1, 1), torch.full((1, 1), 0.2)), threshold=1.0, n_directions=60
    )
    assert found.log_volume == pytest.approx(3 * math.log(0.2), abs=0.02)  # bisection of a jump in three dimensions


class Dropped(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return functional.dropout(inputs, 0.5)


class Mapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        return {"logits": self.inner(inputs)}


def whole_numbers() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 2))
    model.register_parameter("count", nn.Parameter(torch.zeros(3, dtype=torch.int64), requires_grad=False))
    return model


ONE = nn.Sequential(nn.Linear(4, 2)).eval()
MISTAKES: list[tuple[str, Callable[[], object], type[Exception], str]] = [
    ("scalar", lambda: ask(loss_fn=functional.cross_entropy), UserError, "reduction='none'"),
    ("sum", lambda: ask(loss_fn=nn.CrossEntropyLoss(reduction="sum")), UserError, "'sum'"),
    ("negative", lambda: ask(loss_fn=lambda out, target: out[:, 0] * 0 - 1), UserError, "add a constant"),
    ("no loss", lambda: ask(loss_fn=None), UserError, "loss function"),
    ("no threshold", lambda: ask(threshold=0.0), UserError, "above 0"),
    ("nan threshold", lambda: ask(threshold=math.nan), UserError, "finite number above 0 as threshold"),
    ("accuracy 2", lambda: ask(threshold=2.0, metric="accuracy"), UserError, "accuracy above 0"),
    ("metric", lambda: ask(metric="f1"), UserError, "metric"),
    ("directions", lambda: ask(n_directions=0), UserError, "n_directions to be a whole number of at least 1"),
    ("empty loader", lambda: ask(data=[]), DataError, "empty loader"),
    ("empty tensors", lambda: ask(data=(INPUTS[:0], TARGETS[:0])), DataError, "at least one"),
    ("lengths", lambda: ask(data=(INPUTS, TARGETS[:3])), DataError, "as many targets"),
    ("no targets", lambda: ask(data=[INPUTS, INPUTS, INPUTS]), DataError, "two tensors"),
    ("nan inputs", lambda: ask(data=(INPUTS * math.nan, TARGETS)), NumericsError, "finite losses"),
    ("infinite inputs", lambda: ask(data=(INPUTS * math.inf, TARGETS)), NumericsError, "finite losses"),
    ("no parameters", lambda: ask(model=nn.Flatten()), UserError, "at least one parameter"),
    ("nothing passes", lambda: ask(only="nothing"), UserError, "name filter"),
    ("integers", lambda: ask(model=whole_numbers()), UserError, "floating-point"),
    ("dropout", lambda: ask(model=nn.Sequential(nn.Linear(4, 2), nn.Dropout()).train()), UserError, r"model\.eval\(\)"),
    ("always random", lambda: ask(model=nn.Sequential(ONE, Dropped())), UserError, "random"),
    ("batch", lambda: ask(model=nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)).train()), UserError, r"model\.eval\(\)"),
    ("outputs", lambda: ask(model=Mapped()), UserError, "wrap it"),
    ("flat", lambda: ask(metric="accuracy", preconditioner="curvature"), UserError, "no curvature"),
]  # fmt: skip


def ask(**changes: object) -> Measurement:
    how: dict[str, object] = {
        "model": ONE,
        "loss_fn": nn.CrossEntropyLoss(),
        "data": DATA,
        "threshold": 0.9,
        "n_directions": 3,
    }
    how |= changes
    return measure_volume(how.pop("model"), how.pop("loss_fn"), how.pop("data"), **how)


@pytest.mark.parametrize(("make", "error", "message"), [pytest.param(*case[1:], id=case[0]) for case in MISTAKES])
def test_mistakes_are_reported_in_one_sentence(
    make: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        make()
    assert "Expected" in str(caught.value) and "got" in str(caught.value)


def test_batch_norm_and_dropout_in_evaluation_mode() -> None:
    model = nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2), nn.Dropout()).eval()
    assert ask(model=model).n_params == 14


def test_half_precision_models_are_measured_in_float32(mlp: nn.Module) -> None:
    found = measure_volume(deepcopy(mlp).bfloat16(), nn.CrossEntropyLoss(), DATA, threshold=0.3, n_directions=4)
    rounded = deepcopy(mlp).bfloat16().float()
    exact = measure_volume(rounded, nn.CrossEntropyLoss(), DATA, threshold=0.3, n_directions=4)
    np.testing.assert_allclose(found.log_radii, exact.log_radii, rtol=1e-9)


def test_attention_gives_no_warning() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(8, 2)).eval()  # warnings are errors
    before = torch.backends.mha.get_fastpath_enabled()
    found = measure_volume(
        model, nn.CrossEntropyLoss(), (torch.randn(5, 2, 4, generator=DRAW), TARGETS[:5]), threshold=3.0, n_directions=3
    )
    assert found.n_params > 100 and torch.backends.mha.get_fastpath_enabled() == before


def test_the_progress_bar_is_on_stderr(mlp: nn.Module, capsys: pytest.CaptureFixture[str]) -> None:
    measure_volume(mlp, nn.CrossEntropyLoss(), DATA, threshold=0.3, n_directions=4, progress=True)
    seen = capsys.readouterr()
    assert "4/4" in seen.err and not seen.out


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, minima_volume; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(ImportError, match="nothing_of_the_kind"):
        from minima_volume import nothing_of_the_kind  # noqa: F401 - the import is what fails
