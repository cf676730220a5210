"""The paper's architectures by their numbers of parameters, and initial weights that follow from a seed alone."""

from pathlib import Path

import pytest
import torch

from minima_volume.errors import UserError
from minima_volume.networks.parameters import layout_of, parameters_of
from minima_volume.networks.sequential import is_stack
from minima_volume.training.datasets import load_digits, load_modulo, load_swiss_roll
from minima_volume.training.models import MODELS, build_model, initial_parameters

# Counts of the paper; digits_mlp is ours: 64·64 + 64 + 64·32 + 32 + 32·10 + 10.
SIZES = {
    "swiss_x5": 4353,
    "swiss_x6": 5409,
    "digits_mlp": 6570,
    "mnist_mlp": 235_146,
    "mnist_mlp_large": 300_938,
    "mnist_cnn": 421_642,
    "cifar_mlp": 1_707_274,
    "cifar_cnn": 1_276_234,
    "modulo_mlp": 73_097,
}
INPUTS = {"swiss": (2,), "digits": (1, 8, 8), "mnist": (1, 28, 28), "cifar": (3, 32, 32), "modulo": (194,)}


def test_every_model_is_counted() -> None:
    assert set(MODELS) == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_parameter_counts(name: str) -> None:
    assert layout_of(parameters_of(build_model(name))).n_params == SIZES[name]


@pytest.mark.parametrize("name", SIZES)
def test_outputs_and_fast_path(name: str) -> None:
    family = name.split("_")[0]
    inputs = torch.zeros(2, *INPUTS[family])
    outputs = {"swiss": 1, "modulo": 97}.get(family, 10)
    model = build_model(name)
    assert model(inputs).shape == (2, outputs)
    assert is_stack(model, inputs.ndim)  # all of the paper's networks take the fast path


def test_shapes_fit_their_data() -> None:
    for loader, name in ((load_digits, "digits_mlp"), (load_swiss_roll, "swiss_x5"), (load_modulo, "modulo_mlp")):
        data = loader(Path(), 0)  # these read no folder
        outputs = build_model(name)(data.inputs[:3])
        assert outputs.shape == (3, 1 if data.loss == "binary_cross_entropy" else data.n_classes)


def test_same_seed_same_weights() -> None:
    first, again, other = (initial_parameters("digits_mlp", seed) for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_initial_weights_are_torchs_own() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        expected = parameters_of(build_model("swiss_x5"))
    found = initial_parameters("swiss_x5", 5)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_global_generator_is_left_alone() -> None:
    torch.manual_seed(11)
    state = torch.random.get_rng_state()
    initial_parameters("digits_mlp", 3)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_unknown_model() -> None:
    with pytest.raises(UserError, match=r"Expected a model among .*mnist_mlp.*got 'mnist_mpl'"):
        build_model("mnist_mpl")
