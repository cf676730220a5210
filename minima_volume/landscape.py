"""Mean losses along filter-normalised rays θ* + c·(s∘g), for many rays at once and any nested data sets.

Two paths with one interface, chosen by the model's structure:

`StackedRays` for `nn.Sequential` stacks of linear, convolution, pooling, flatten and pointwise layers. A linear map along
a ray is X·Wᵀ + c·(X·Dᵀ), and filter normalisation only scales the rows of D = s∘G. So for the first layer X·Wᵀ is computed
once per minimum, X·Gᵀ once per direction for all minima, and every coefficient costs one multiply-add. Behind the first
layer the activations differ from ray to ray; there forming W + cD costs one pass over the weights, which is cheaper than
a second product h·Dᵀ as soon as a data set has a handful of samples.

`ModuleRays` for any other `nn.Module`: one functional call per point, batched with vmap where the network is small.

Neither touches the caller's model. Data sets are nested: the landscape of size L is the first L samples, and one pass
over the largest gives all of them. Sums run in float64 and are divided once.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional

from minima_volume.losses import Criterion, Metric, misclassified, total
from minima_volume.parameters import Layout, Parameters, filter_scales

# Activations of one tile stay in a core's cache on a CPU; a GPU wants enough work per launch instead.
TILE_ELEMENTS = {"cpu": 2**18, "cuda": 2**26, "mps": 2**24}
POINTWISE = (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.ELU, nn.Identity)
POOLING = (nn.MaxPool2d, nn.AvgPool2d)


@dataclass(frozen=True)
class Samples:
    """A data set and the loss that its landscapes average."""

    inputs: Tensor
    targets: Tensor
    criterion: Criterion

    def __len__(self) -> int:
        return len(self.inputs)

    def part(self, start: int, stop: int) -> "Samples":
        """The samples start:stop as views."""
        return replace(self, inputs=self.inputs[start:stop], targets=self.targets[start:stop])

    def to(self, dtype: torch.dtype) -> "Samples":
        """The same samples with floating-point inputs in another precision."""
        return replace(self, inputs=self.inputs.to(dtype) if self.inputs.is_floating_point() else self.inputs)


@dataclass(frozen=True)
class Minimum:
    """Trained parameters, and the scale of every perturbed coordinate."""

    parameters: Parameters
    layout: Layout
    scales: Tensor

    @classmethod
    def of(cls, parameters: Parameters, layout: Layout, *, normalise: bool = True) -> "Minimum":
        """A minimum in filter-normalised coordinates, or in raw ones if not `normalise`."""
        return cls(parameters, layout, filter_scales(parameters, layout, normalise=normalise))

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Minimum":
        """Copy on another device or in another precision."""
        parameters = {
            name: tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)
            for name, tensor in self.parameters.items()
        }
        return Minimum(parameters, self.layout, self.scales.to(device, dtype))


class Rays(ABC):
    """The rays of one minimum along a block of directions, over one data set."""

    def __init__(self, samples: Samples, n_rays: int) -> None:
        self.samples, self.n_rays = samples, n_rays

    @abstractmethod
    def width(self) -> int:
        """Numbers held per sample and ray while a tile is evaluated."""

    @abstractmethod
    def tile(self, rays: Tensor, coefficients: Tensor, start: int, stop: int) -> Tensor:
        """Network outputs (k, stop − start, C) at the k points (rays[i], coefficients[i])."""

    @torch.no_grad()
    def sums(self, rays: Tensor, coefficients: Tensor, sizes: Sequence[int], metric: Metric = "loss") -> Tensor:
        """Summed losses (k, len(sizes)) over the first `size` samples, float64 on the CPU; sizes ascend.

        The metric "accuracy" sums misclassified samples instead, so that inside still means below a threshold.
        """
        criterion = self.samples.criterion if metric == "loss" else misclassified
        targets = self.samples.targets
        device = self.samples.inputs.device
        budget = TILE_ELEMENTS[device.type] // self.width()
        span = max(1, min(sizes[-1], budget))
        per_tile = max(1, budget // span)
        edges = sorted({*range(0, sizes[-1], span), *sizes, 0})
        result = torch.zeros(len(rays), len(sizes), dtype=torch.float64)
        for rows in torch.arange(len(rays)).split(per_tile):
            here, c = rays[rows].to(device), coefficients[rows]
            tiles = [total(criterion(self.tile(here, c, a, b), targets[a:b])) for a, b in pairwise(edges)]
            parts = torch.stack(tiles).cpu()
            cumulative = dict(zip(edges[1:], parts.cumsum(0), strict=True))
            result[rows] = torch.stack([cumulative[size] for size in sizes], dim=1)
        return result

    def means(self, rays: Tensor, coefficients: Tensor, sizes: Sequence[int], metric: Metric = "loss") -> Tensor:
        """Mean losses (k, len(sizes)) over the first `size` samples, float64 on the CPU."""
        return self.sums(rays, coefficients, sizes, metric) / torch.tensor(sizes, dtype=torch.float64)


def _take(tensor: Tensor, rays: Tensor) -> Tensor:
    """Rows of a tensor; a view where the rows follow each other, so that a lone ray is never copied."""
    first, count = int(rays[0]), len(rays)
    if count == 1 or (int(rays[-1]) - first + 1 == count and bool((rays.diff() == 1).all())):
        return tensor[first : first + count]
    return tensor[rays]


def _along(base: Tensor, slope: Tensor, c: Tensor) -> Tensor:
    """base + c·slope with one coefficient per ray on the leading axis."""
    return torch.addcmul(base, slope, c.view(-1, *[1] * (slope.ndim - 1)))


def _plain_linear(layer: nn.Module, dims: int) -> bool:
    """A linear layer on vectors, or an ungrouped convolution on zero-padded images."""
    if type(layer) is nn.Conv2d:
        return dims == 4 and layer.groups == 1 and layer.padding_mode == "zeros"
    return type(layer) is nn.Linear and dims == 2


def stackable(model: nn.Module, input_dims: int) -> bool:
    """Whether the fast path knows every layer, met by activations of `input_dims` axes, and no parameter is shared."""
    if not isinstance(model, nn.Sequential):
        return False
    dims, linear, names = input_dims, 0, [id(p) for layer in model for p in layer.parameters()]
    for layer in model:
        if isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) == (1, -1):
            dims = 2
        elif _plain_linear(layer, dims):
            linear += 1
        elif not (type(layer) in POINTWISE or (type(layer) in POOLING and dims == 4)):
            return False
    return linear > 0 and len(names) == len(set(names))


class Stack:
    """A stackable model with what its rays share on one data set: inputs of the first layer and their product with G."""

    def __init__(self, model: nn.Sequential, layout: Layout, samples: Samples, block: Tensor) -> None:
        self.layers = list(model.named_children())
        self.layout, self.samples, self.block = layout, samples, block
        self.split = layout.split(block)
        first = next(i for i, (_, layer) in enumerate(self.layers) if isinstance(layer, nn.Linear | nn.Conv2d))
        inputs = samples.inputs
        for _, layer in self.layers[:first]:
            inputs = layer(inputs)
        self.inputs, self.rest = inputs, self.layers[first:]
        self.product: Tensor | None = None
        name, layer = self.rest[0]
        if isinstance(layer, nn.Linear) and f"{name}.weight" in self.split and inputs.ndim == 2:
            weights = self.split[f"{name}.weight"]  # (rays, out, in)
            self.product = torch.bmm(inputs.expand(len(block), *inputs.shape), weights.transpose(1, 2))


class StackedRays(Rays):
    """Rays through a stack of layers; the products of the first linear layer are shared by every coefficient."""

    def __init__(self, stack: Stack, minimum: Minimum) -> None:
        super().__init__(stack.samples, len(stack.block))
        self.stack, self.minimum = stack, minimum
        scales = minimum.layout.split(minimum.scales)
        name = stack.rest[0][0]
        shared = {f"{name}.weight"} if stack.product is not None else set()
        self.steps = {key: scales[key] * part for key, part in stack.split.items() if key not in shared}
        if stack.product is not None:
            weight, bias = minimum.parameters[f"{name}.weight"], minimum.parameters.get(f"{name}.bias")
            self.base = functional.linear(stack.inputs, weight, bias)
            self.row_scales = scales[f"{name}.weight"][:, 0]

    def width(self) -> int:
        """The widest activation of a dense stack; convolutions hold whole maps."""
        widths = [layer.out_features for _, layer in self.stack.rest if isinstance(layer, nn.Linear)]
        maps = [layer.out_channels for _, layer in self.stack.rest if isinstance(layer, nn.Conv2d)]
        pixels = self.samples.inputs[0, 0].numel() if maps else 0
        return max(widths + [channels * pixels for channels in maps])

    def _moved(self, key: str, rays: Tensor, c: Tensor) -> Tensor:
        """The perturbed tensor of each point (k, *shape); unmoved where the layout leaves it out."""
        base = self.minimum.parameters[key]
        return (
            _along(base, _take(self.steps[key], rays), c) if key in self.steps else base.expand(len(rays), *base.shape)
        )

    def tile(self, rays: Tensor, coefficients: Tensor, start: int, stop: int) -> Tensor:
        c = coefficients.to(self.samples.inputs.device, self.minimum.scales.dtype)
        layers = self.stack.rest
        if self.stack.product is None:
            hidden = self.stack.inputs[start:stop].expand(len(rays), -1, *self.stack.inputs.shape[1:])
        else:
            slope = _take(self.stack.product, rays)[:, start:stop]
            hidden = torch.addcmul(self.base[start:stop], slope, c.view(-1, 1, 1) * self.row_scales)
            bias = self.steps.get(f"{layers[0][0]}.bias")
            if bias is not None:
                hidden += (c.view(-1, 1) * _take(bias, rays)).unsqueeze(1)
            layers = layers[1:]
        for name, layer in layers:
            hidden = self._layer(name, layer, hidden, rays, c)
        return hidden

    def _layer(self, name: str, layer: nn.Module, hidden: Tensor, rays: Tensor, c: Tensor) -> Tensor:
        if isinstance(layer, nn.ReLU):
            return hidden.relu_()
        if isinstance(layer, nn.Flatten):
            return hidden.flatten(2)
        if isinstance(layer, POOLING):
            return layer(hidden.flatten(0, 1)).unflatten(0, hidden.shape[:2])
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            return layer(hidden)
        weight = self._moved(f"{name}.weight", rays, c)
        bias = None if layer.bias is None else self._moved(f"{name}.bias", rays, c)
        if isinstance(layer, nn.Linear):
            product = torch.bmm(hidden, weight.transpose(1, 2))
            return product if bias is None else product.add_(bias.unsqueeze(1))
        maps = [
            functional.conv2d(x, w, None if bias is None else bias[i], layer.stride, layer.padding, layer.dilation)
            for i, (x, w) in enumerate(zip(hidden, weight, strict=True))
        ]
        return torch.stack(maps)


class ModuleRays(Rays):
    """Rays through any module: functional calls on θ* + c·(s∘g)."""

    VMAP_PARAMS = 20_000  # beyond this, copies of the weights no longer fit the cache and one call per point is faster

    def __init__(self, model: nn.Module, samples: Samples, block: Tensor, minimum: Minimum) -> None:
        super().__init__(samples, len(block))
        self.model, self.block, self.minimum = model, block, minimum

    def width(self) -> int:
        """A guess from the input's size; a module does not tell its activations beforehand."""
        return max(64, 4 * self.samples.inputs[0].numel())

    def _call(self, step: Tensor, start: int, stop: int) -> Tensor:
        """Outputs at θ* + s∘step, a flat vector in filter-normalised coordinates."""
        moved = self.minimum.layout.split(self.minimum.scales * step)
        parameters = {
            name: value + moved[name] if name in moved else value for name, value in self.minimum.parameters.items()
        }
        outputs: Tensor = functional_call(self.model, parameters, (self.samples.inputs[start:stop],))
        return outputs

    def tile(self, rays: Tensor, coefficients: Tensor, start: int, stop: int) -> Tensor:
        c = coefficients.to(self.block.device, self.block.dtype)
        steps = self.block[rays] * c.unsqueeze(1)
        if self.block.shape[1] <= self.VMAP_PARAMS and len(rays) > 1:
            values: Tensor = vmap(lambda step: self._call(step, start, stop))(steps)
            return values
        return torch.stack([self._call(step, start, stop) for step in steps])


class Bundle:
    """A block of directions over one data set in one precision; gives the rays of any minimum along them."""

    def __init__(self, model: nn.Module, layout: Layout, samples: Samples, block: Tensor, dtype: torch.dtype) -> None:
        # A functional call swaps the module's tensors for a moment, which neither the caller nor another thread must see.
        self.model, self.layout, self.dtype = deepcopy(model), layout, dtype
        self.samples = samples.to(dtype)
        self.block = block.to(samples.inputs.device, dtype)
        self.stack: Stack | None = None
        if isinstance(self.model, nn.Sequential) and stackable(model, samples.inputs.ndim):
            self.stack = Stack(self.model, layout, self.samples, self.block)

    def rays(self, minimum: Minimum) -> Rays:
        """The rays that start at `minimum`."""
        here = minimum.to(self.block.device, self.dtype)
        return StackedRays(self.stack, here) if self.stack else ModuleRays(self.model, self.samples, self.block, here)


def ray_bytes(model: nn.Module, layout: Layout, samples: Samples) -> int:
    """Bytes that one ray keeps in float32: its direction, its scaled copy, and its first-layer product where shared."""
    first = next((layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)), None)
    shared = stackable(model, samples.inputs.ndim) and isinstance(first, nn.Linear)
    product = len(samples) * first.out_features if shared and isinstance(first, nn.Linear) else 0
    return 4 * (2 * layout.n_params + product)
