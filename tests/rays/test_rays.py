"""Mean losses along rays against plain loops that write θ* + c·s∘g into a copy of the model."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from minima_volume.crossings.scan import Target
from minima_volume.crossings.sweep import sweep_crossings
from minima_volume.networks import sequential
from minima_volume.networks.directions import draw_directions
from minima_volume.networks.losses import CRITERIA
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import layout_of, parameters_of
from minima_volume.networks.sequential import is_stack
from minima_volume.rays import bundle as rays_bundle
from minima_volume.rays.bundle import RayBundle
from minima_volume.rays.functional import FunctionalRays
from minima_volume.rays.stacked import StackedRays
from minima_volume.training.models import cnn
from minima_volume.training.recipe import Recipe
from minima_volume.training.trainer import Job, evaluate, train
from tests import reference

Seeded = Callable[..., nn.Module]
N, RAYS = 23, 5
POINTS = [(0, 0.0), (3, 0.02), (0, 0.1), (4, 0.3), (1, 1.0), (2, 0.07), (3, 0.5)]
SIZES = [1, 4, 17, 23]


def dense() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 4))


def dense_without_biases() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Tanh(), nn.Linear(16, 9, bias=False), nn.Softplus(), nn.Identity(), nn.Linear(9, 4, bias=False)
    )


def one_layer() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 4))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.GELU(),
        nn.AvgPool2d((2, 2)), nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 4),
    )  # fmt: skip


def pooled_first() -> nn.Module:
    return cnn((1, 2, 3), 1, (4,))


def convolution_behind_pooling() -> nn.Module:
    return nn.Sequential(
        nn.AvgPool2d(2), nn.Conv2d(1, 4, (2, 2), stride=2, dilation=1, padding="valid"), nn.Flatten(), nn.Linear(4, 4)
    )


def shared_layer() -> nn.Module:
    twice = nn.Linear(16, 16)
    return nn.Sequential(nn.Flatten(), twice, nn.ReLU(), twice, nn.Linear(16, 4))


def shared_matrix() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16), nn.Linear(16, 4))
    model[3].weight = model[1].weight
    return model


def grouped_convolution() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, (2, 1), groups=2), nn.Flatten(), nn.Linear(8, 4)
    )


def reflecting_convolution() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect"), nn.Flatten(), nn.Linear(32, 4))


def linear_on_maps() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(20, 4))


def nested() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(16, 6), nn.ReLU()), nn.Linear(6, 4))


def batch_normalised() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 4))
    model[2].running_mean.normal_()
    model[2].running_var.uniform_(0.5, 2)
    return model


class TiedLanguageModel(nn.Module):
    """Token embedding, layer norm, a linear layer, and a head that shares the matrix of the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(4, 6)
        self.norm = nn.LayerNorm(6)
        self.mix = nn.Linear(6, 6)
        self.head = nn.Linear(6, 4, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.tanh(self.mix(self.norm(self.embedding(tokens).mean(dim=1)))))


STACKED = [dense, dense_without_biases, one_layer, convolutional, convolution_behind_pooling, pooled_first]
REFUSED = [
    shared_layer, shared_matrix, grouped_convolution, reflecting_convolution, linear_on_maps, nested, batch_normalised,
    TiedLanguageModel,
]  # fmt: skip


def samples_for(make: Callable[[], nn.Module]) -> Samples:
    rng = torch.Generator().manual_seed(5)
    inputs = torch.randn(N, 1, 4, 4, generator=rng, dtype=torch.float64)
    if make is TiedLanguageModel:
        inputs = torch.randint(4, (N, 7), generator=rng)
    return Samples(inputs, torch.randint(4, (N,), generator=rng), CRITERIA["cross_entropy"])


def measured(model: nn.Module, samples: Samples, sizes: list[int], metric: str = "loss", **options: bool) -> Tensor:
    """Return the mean losses at POINTS (points, sizes) from the package."""
    parameters = parameters_of(model)
    layout = layout_of(parameters)
    block = draw_directions(7, range(RAYS), layout.n_params).double()
    rays = RayBundle(model, layout, samples, block, torch.float64).rays(Minimum.of(parameters, layout, **options))
    index, c = zip(*POINTS, strict=True)
    return rays.means(
        torch.tensor(index), torch.tensor(c, dtype=torch.float64), sizes, "loss" if metric == "loss" else "error_rate"
    )


def expected(model: nn.Module, samples: Samples, sizes: list[int], metric: str = "loss", **options: bool) -> Tensor:
    """Return the same numbers from plain loops."""
    table = []
    layout = layout_of(parameters_of(model))
    for index, c in POINTS:
        g = draw_directions(7, [index], layout.n_params)[0]
        steps = reference.step(model, g, [name for name, _ in layout.shapes], **options)
        outputs = reference.outputs(model, steps, c, samples.inputs)
        if metric == "accuracy":
            per_sample = [float(row.argmax() != wanted) for row, wanted in zip(outputs, samples.targets, strict=True)]
        else:
            per_sample = functional.cross_entropy(outputs, samples.targets, reduction="none").tolist()
        table.append([sum(per_sample[:size]) / size for size in sizes])
    return torch.tensor(table, dtype=torch.float64)


def assert_close(found: Tensor, wanted: Tensor) -> None:
    # Float64 sums of a few dozen products in another order; losses reach 10³ at c = 1.
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", STACKED + REFUSED)
def test_losses_against_plain_loops(make: Callable[[], nn.Module], seeded: Seeded) -> None:
    model, samples = seeded(make), samples_for(make)
    assert is_stack(model, samples.inputs.ndim) == (make in STACKED)
    assert_close(measured(model, samples, SIZES), expected(model, samples, SIZES))


@pytest.mark.parametrize("make", [dense, convolutional, batch_normalised])
def test_any_tile_size_gives_the_same_losses(
    make: Callable[[], nn.Module], seeded: Seeded, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, samples = seeded(make), samples_for(make)
    for elements in (1, 200, 1500):
        monkeypatch.setitem(sequential.TILE_ELEMENTS, "cpu", elements)
        assert_close(measured(model, samples, SIZES), expected(model, samples, SIZES))


@pytest.mark.parametrize("make", [dense, convolutional, TiedLanguageModel])
def test_the_general_path_agrees_on_stacks(
    make: Callable[[], nn.Module], seeded: Seeded, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, samples = seeded(make), samples_for(make)
    wanted = expected(model, samples, SIZES)
    monkeypatch.setattr(rays_bundle, "is_stack", lambda *_: False)
    for limit in (10**9, 0):  # all points at once, one by one
        monkeypatch.setattr(FunctionalRays, "VMAP_PARAMS", limit)
        assert_close(measured(model, samples, SIZES), wanted)


def test_the_fast_path_is_taken(seeded: Seeded) -> None:
    for make, kind in ((dense, StackedRays), (convolutional, StackedRays), (batch_normalised, FunctionalRays)):
        model, parameters = seeded(make), parameters_of(seeded(make))
        layout = layout_of(parameters)
        bundle = RayBundle(model, layout, samples_for(make), torch.ones(1, layout.n_params).double(), torch.float64)
        assert isinstance(bundle.rays(Minimum.of(parameters, layout)), kind)


@pytest.mark.parametrize(("make", "width"), [(dense, 9), (convolutional, 48), (pooled_first, 8)])
def test_pooled_maps_count_a_quarter_of_the_width(make: Callable[[], nn.Module], width: int, seeded: Seeded) -> None:
    model, samples = seeded(make), samples_for(make)
    layout = layout_of(parameters_of(model))
    block = draw_directions(7, range(RAYS), layout.n_params)
    rays = RayBundle(model, layout, samples, block, torch.float32).rays(Minimum.of(parameters_of(model), layout))
    assert rays.width() == width


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_are_last_in_memory(channels: int) -> None:
    images = torch.randn(5, 2, channels, 4, 4)
    last = sequential.to_channels_last(images)
    assert torch.equal(last, images) and last.stride()[-3:] == (1, 4 * channels, channels)


@pytest.mark.parametrize("make", [dense, convolutional, TiedLanguageModel])
def test_raw_coordinates(make: Callable[[], nn.Module], seeded: Seeded) -> None:
    model, samples = seeded(make), samples_for(make)
    assert_close(measured(model, samples, SIZES, normalise=False), expected(model, samples, SIZES, normalise=False))


@pytest.mark.parametrize("make", [dense, TiedLanguageModel])
def test_nested_sizes_equal_separate_evaluations(make: Callable[[], nn.Module], seeded: Seeded) -> None:
    model, samples = seeded(make), samples_for(make)
    together = measured(model, samples, SIZES)
    for column, size in enumerate(SIZES):
        assert_close(measured(model, samples.part(0, size), [size])[:, 0], together[:, column])


@pytest.mark.parametrize("make", [dense, convolutional, nested])
def test_accuracy_counts_misclassified_samples(make: Callable[[], nn.Module], seeded: Seeded) -> None:
    model, samples = seeded(make), samples_for(make)
    # Counts that are divided once: no rounding.
    assert torch.equal(measured(model, samples, SIZES, "accuracy"), expected(model, samples, SIZES, "accuracy"))


@pytest.mark.parametrize("make", [dense, convolutional, batch_normalised])
@pytest.mark.parametrize("kept", ["first weight left out", "biases only", "last layer only"])
def test_perturbing_part_of_the_parameters(make: Callable[[], nn.Module], kept: str, seeded: Seeded) -> None:
    model, samples = seeded(make), samples_for(make)
    parameters, names = parameters_of(model), [name for name, _ in model.named_parameters()]
    assert list(parameters) == names
    chosen = {
        "first weight left out": names[1:],
        "biases only": [name for name in names if name.endswith("bias")],
        "last layer only": names[-2:],
    }[kept]
    layout = layout_of(parameters, only=lambda name: name in chosen)
    block = draw_directions(7, range(2), layout.n_params).double()
    rays = RayBundle(model, layout, samples, block, torch.float64).rays(Minimum.of(parameters, layout))
    found = rays.means(torch.tensor([0, 1]), torch.tensor([0.2, 0.4], dtype=torch.float64), [N])[:, 0]
    for row, c, height in zip(block, (0.2, 0.4), found, strict=True):
        # Zeros in the direction keep the other parameters fixed.
        places, full = layout.split(row), []
        for name, tensor in sorted(parameters.items()):
            full.append(places[name].flatten() if name in chosen else torch.zeros(tensor.numel()).double())
        outputs = reference.outputs(model, reference.step(model, torch.cat(full)), float(c), samples.inputs)
        assert_close(height, functional.cross_entropy(outputs, samples.targets))


def test_a_first_layer_that_works_in_place(seeded: Seeded) -> None:
    model = seeded(lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16, 4)))
    samples = samples_for(dense)
    before = samples.inputs.clone()
    measured(model, samples, SIZES)
    assert torch.equal(samples.inputs, before)


@pytest.mark.parametrize(
    ("make", "training"),
    [(dense, False), (dense, True), (convolutional, True), (batch_normalised, False), (TiedLanguageModel, True)],
)
def test_the_callers_model_is_unchanged(make: Callable[[], nn.Module], training: bool, seeded: Seeded) -> None:
    model, samples = seeded(make).train(training), samples_for(make)
    for tensor in model.parameters():
        tensor.grad = torch.full_like(tensor, 0.25)
    identities = {name: (id(tensor), tensor.data_ptr()) for name, tensor in model.state_dict(keep_vars=True).items()}
    before, inputs = deepcopy(model.state_dict()), samples.inputs.clone()
    parameters = {name: tensor.detach() for name, tensor in model.named_parameters()}  # shared with the model
    layout = layout_of(parameters)
    target = Target(N, 3.0)
    found = sweep_crossings(model, [Minimum.of(parameters, layout)], [[target]], samples, seed=0, indices=range(3))
    assert found.crossings[0].coefficients.shape == (3, 1)
    evaluate(model, parameters, samples.inputs, samples.targets, samples.criterion)
    job = Job(parameters, samples.inputs, samples.targets, 0)
    *_, (_, trained) = train(model, [job], Recipe(epochs=2, sam_rho=0.05), samples.criterion)
    assert any(not torch.equal(tensor, parameters[name]) for name, tensor in trained[0].items())
    after = model.state_dict(keep_vars=True)
    assert {name: (id(tensor), tensor.data_ptr()) for name, tensor in after.items()} == identities
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all(bool((tensor.grad == 0.25).all()) and tensor.requires_grad for tensor in model.parameters())
    assert model.training == training and all(part.training == training for part in model.modules())
    assert torch.equal(samples.inputs, inputs)
