"""The flat vector and filter norms against plain loops over rows."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from minima_volume.errors import UserError
from minima_volume.networks.parameters import filter_norms, filter_scales, layout_of, parameters_of


class Mixed(nn.Module):
    """Every kind of parameter: embedding, convolution, linear, biases, gains, a scalar, and one tied matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.convolution = nn.Conv2d(2, 3, (2, 3))
        self.norm = nn.LayerNorm(4)
        self.temperature = nn.Parameter(torch.tensor(0.7))
        self.head = nn.Linear(4, 5)
        self.head.weight = self.embedding.weight


def loop_scales(name: str, tensor: Tensor) -> list[float]:
    """Return the norm of the row or output filter of each coordinate, and 1 for tensors with fewer than two axes."""
    if name in ("norm.weight", "norm.bias", "temperature", "convolution.bias", "head.bias"):
        return [1.0] * tensor.numel()
    found = []
    for filter_ in tensor:
        numbers = [float(x) for x in filter_.flatten()]
        found += [math.sqrt(sum(x * x for x in numbers))] * len(numbers)
    return found


@pytest.fixture
def mixed(seeded: Callable[..., nn.Module]) -> nn.Module:
    return seeded(Mixed)


def test_filter_scales_against_loops(mixed: nn.Module) -> None:
    parameters = parameters_of(mixed)
    layout = layout_of(parameters)
    expected = [value for name, _ in layout.shapes for value in loop_scales(name, parameters[name])]
    # At most 12 squares are summed, in another order.
    torch.testing.assert_close(
        filter_scales(parameters, layout), torch.tensor(expected, dtype=torch.float64), rtol=1e-14, atol=0
    )


def test_raw_coordinates_have_scale_one(mixed: nn.Module) -> None:
    parameters = parameters_of(mixed)
    assert (filter_scales(parameters, layout_of(parameters), normalise=False) == 1).all()


def test_filter_norms_broadcast_over_their_filter() -> None:
    weight = torch.tensor([[[[3.0, 4.0]]], [[[0.0, 0.0]]]])
    assert filter_norms(weight).tolist() == [[[[5.0]]], [[[0.0]]]]
    assert filter_norms(torch.tensor([2.0, -3.0])).tolist() == [1.0, 1.0]


def test_tied_parameters_count_once(mixed: nn.Module) -> None:
    parameters = parameters_of(mixed)
    assert "head.weight" not in parameters and "embedding.weight" in parameters
    assert layout_of(parameters).n_params == 5 * 4 + (2 * 3 * 2 * 3 + 3) + 2 * 4 + 1 + 5


def test_buffers_are_not_parameters() -> None:
    assert set(parameters_of(nn.BatchNorm1d(3))) == {"weight", "bias"}


def test_parameters_are_copies(mixed: nn.Module) -> None:
    parameters = parameters_of(mixed)
    before = {name: tensor.clone() for name, tensor in mixed.named_parameters()}
    for tensor in parameters.values():
        assert not tensor.requires_grad
        tensor.add_(1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in mixed.named_parameters())


def test_split_inverts_flatten(mixed: nn.Module) -> None:
    parameters = parameters_of(mixed)
    layout = layout_of(parameters)
    flat = layout.flatten(parameters)
    assert flat.tolist() == [float(x) for name, _ in layout.shapes for x in parameters[name].flatten()]
    parts = layout.split(flat)
    assert set(parts) == set(parameters)
    assert all(torch.equal(parts[name], tensor) for name, tensor in parameters.items())
    rows = torch.stack([flat, 2 * flat])
    for name, part in layout.split(rows).items():
        assert part.shape == (2, *parameters[name].shape) and torch.equal(part[1], 2 * parameters[name])


def test_name_filter(mixed: nn.Module) -> None:
    parameters = parameters_of(mixed)
    layout = layout_of(parameters, only=lambda name: name.endswith("bias"))
    assert {name for name, _ in layout.shapes} == {"convolution.bias", "norm.bias", "head.bias"}
    assert layout.n_params == 3 + 4 + 5 == len(filter_scales(parameters, layout))


def test_integer_parameters_are_refused() -> None:
    parameters = {"weight": torch.ones(2, 2), "counts": torch.ones(3, dtype=torch.int64)}
    with pytest.raises(UserError, match=r"(?s)Expected floating-point.*got torch.int64 in 'counts'"):
        layout_of(parameters)
    assert layout_of(parameters, only=lambda name: name != "counts").n_params == 4  # as the message advises


def test_no_parameters_are_refused() -> None:
    for parameters in ({}, {"weight": torch.ones(2)}):
        with pytest.raises(UserError, match=r"Expected at least one parameter.*got none: check"):
            layout_of(parameters, only=lambda name: name == "elsewhere")
