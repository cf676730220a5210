"""Rays of a stack of linear, convolution, pooling, flatten and pointwise layers: the fast path.

A linear layer along a ray computes X·Wᵀ + c·(X·Dᵀ), and filter normalisation only scales the rows of D = s∘G. So for the
first layer X·Wᵀ is computed once per minimum and X·Gᵀ once per direction, and each further coefficient costs one
multiply-add per output. After the first layer the activations differ between rays. There the weights W + cD are formed:
one pass over the weights, which is cheaper than a second product h·Dᵀ if a data set has more than a few samples.
Convolutions evaluate one point after another, so that its maps stay in a core's cache.

A float32 mean loss is inaccurate mainly because logits near 20 are rounded and then subtracted. A float32 stack therefore
computes its criterion in float64, and also its last layer if that is a small part of the work. On MNIST this reduces the
error of n·ln r from 1 nat to 0.001 nats.
"""

from collections.abc import Callable
from functools import cached_property, partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import Layout
from minima_volume.networks.sequential import IMAGES, POOLING, ROW_MULTIPLE, THIN, to_channels_last
from minima_volume.rays.base import TiledRays

# The last layer runs in float64 if it has at most this share of the weights. A float64 product costs two in float32.
MAX_FLOAT64_SHARE = 0.1
Index = slice | Tensor


def _rows(rays: Tensor) -> Index:
    """Return consecutive rays as a slice, which selects rows without a copy, and other rays unchanged."""
    first, count = int(rays[0]), len(rays)
    if count == 1 or (int(rays[-1]) - first + 1 == count and bool((rays.diff() == 1).all())):
        return slice(first, first + count)
    return rays


def _along(base: Tensor, slope: Tensor, c: Tensor) -> Tensor:
    """Return base + c·slope with one coefficient c per point on the leading axis."""
    return torch.addcmul(base, slope, c.view(-1, *[1] * (slope.ndim - 1)))


class Stack:
    """A stack of layers with everything that all rays along a block of directions share on one data set.

    Args:
        model: A model for which `is_stack` holds.
        layout: The perturbed parameters, n coordinates.
        samples: Data set and criterion.
        block: Directions g (rays, n).

    Attributes:
        rest: Names and layers from the first one with weights on.
        inputs: Inputs of `rest[0]` for all samples.
        split: Directions by parameter name (rays, *shape).
        float64_layer: Name of the last layer if a float32 stack computes it in float64, else None.
        on_maps: Number of leading layers in `rest` that operate on images.
        product: X·Gᵀ (rays, N, out) of the first layer, or None unless that is a perturbed linear layer on vectors.
    """

    def __init__(self, model: nn.Sequential, layout: Layout, samples: Samples, block: Tensor) -> None:
        self.layers = list(model.named_children())
        self.layout, self.samples, self.block = layout, samples, block
        self.split = layout.split(block)
        first = next(i for i, (_, layer) in enumerate(self.layers) if isinstance(layer, nn.Linear | nn.Conv2d))
        inputs = samples.inputs
        for _, layer in self.layers[:first]:
            inputs = layer(inputs.clone() if getattr(layer, "inplace", False) else inputs)
        self.inputs, self.rest = inputs, self.layers[first:]
        self.float64_layer = self._float64_layer()
        flat = next((i for i, (_, layer) in enumerate(self.rest) if isinstance(layer, nn.Flatten)), len(self.rest))
        self.on_maps = flat if inputs.ndim == IMAGES else 0
        self.product: Tensor | None = None
        name, layer = self.rest[0]
        if isinstance(layer, nn.Linear) and f"{name}.weight" in self.split and inputs.ndim == 2:
            weights = self.split[f"{name}.weight"]
            self.product = torch.bmm(inputs.expand(len(block), *inputs.shape), weights.transpose(1, 2))

    @cached_property
    @torch.no_grad()
    def width(self) -> int:
        """Largest number of activations of one sample. Maps that are pooled next count a quarter, as few exist at a time."""
        hidden, widths = self.inputs[:1], []
        followers = [isinstance(layer, POOLING) for _, layer in self.rest[1:]]
        for (_, layer), pooled in zip(self.rest, [*followers, False], strict=True):
            hidden = layer(hidden)
            widths.append(hidden.numel() // (4 if pooled else 1))
        return max(widths)

    def _float64_layer(self) -> str | None:
        """Return the name of the last layer if a float32 stack computes it in float64."""
        name, last = self.rest[-1]
        weights = [layer.weight.numel() for _, layer in self.rest if isinstance(layer, nn.Linear | nn.Conv2d)]
        small = isinstance(last, nn.Linear) and len(weights) > 1 and weights[-1] <= MAX_FLOAT64_SHARE * sum(weights)
        return name if small and self.block.dtype == torch.float32 and self.block.device.type != "mps" else None


class StackedRays(TiledRays):
    """Rays of a stack of layers; all coefficients share the products of the first linear layer.

    Args:
        stack: The model, the data set and the directions.
        minimum: Origin of the rays.
        n_samples: Number of samples, from the first on, that the rays will be evaluated for. The default is all.
        shared: X·Wᵀ + b of the first layer, from the same minimum along another block; computed if None.
    """

    def __init__(
        self, stack: Stack, minimum: Minimum, n_samples: int | None = None, shared: Tensor | None = None
    ) -> None:
        super().__init__(stack.samples, len(stack.block))
        self.stack, self.minimum = stack, minimum
        self.float64_logits = stack.block.dtype == torch.float32 and stack.block.device.type != "mps"
        scales = minimum.layout.split(minimum.scales)
        name = stack.rest[0][0]
        ready = {f"{name}.weight"} if stack.product is not None else set()
        self.steps = {key: scales[key] * part for key, part in stack.split.items() if key not in ready}
        if stack.product is not None:
            weight, bias = minimum.parameters[f"{name}.weight"], minimum.parameters.get(f"{name}.bias")
            self.base = functional.linear(stack.inputs[:n_samples], weight, bias) if shared is None else shared
            self.shared = self.base
            self.row_scales = scales[f"{name}.weight"][:, 0]

    def width(self) -> int:
        """Return the number of values that are held per sample and ray; see `Stack.width`."""
        return self.stack.width

    def _moved(self, key: str, rows: Index, c: Tensor) -> Tensor:
        """Return a parameter at each point (k, *shape) in the precision of c; it is constant if it is not perturbed."""
        base = self.minimum.parameters[key].to(c.dtype)
        if key not in self.steps:
            return base.expand(len(c), *base.shape)
        return _along(base, self.steps[key][rows].to(c.dtype), c)

    def at(self, rays: Tensor, coefficients: Tensor) -> Callable[[int, int], Tensor]:
        """Return the networks at the points (rays[i], coefficients[i]); see `Rays.at`."""
        c, rows = coefficients.to(self.samples.inputs.device, self.minimum.scales.dtype), _rows(rays)
        product = self.stack.product
        first = self._maps(rows, c) if product is None else self._shared_layer(product, rows, c)
        own = self.stack.rest[self.stack.on_maps if product is None else 1 :]
        precise = coefficients.to(c.device) if self.float64_logits else c
        layers = [
            self._layer(name, layer, rows, precise if name == self.stack.float64_layer else c) for name, layer in own
        ]

        def outputs(start: int, stop: int) -> Tensor:
            hidden = first(start, stop)
            for layer in layers:
                hidden = layer(hidden)
            return hidden.double() if self.float64_logits else hidden

        return outputs

    def _maps(self, rows: Index, c: Tensor) -> Callable[[int, int], Tensor]:
        """Return the activations after the layers on images, at every point (k, samples, …)."""
        layers = [self._on_maps(name, layer, rows, c) for name, layer in self.stack.rest[: self.stack.on_maps]]
        inputs = self.stack.inputs

        def outputs(point: int, maps: Tensor) -> Tensor:
            for layer in layers:
                maps = layer(maps, point)
            return maps

        def stacked(start: int, stop: int) -> Tensor:
            tile = to_channels_last(inputs[start:stop]) if layers else inputs[start:stop]
            return torch.stack([outputs(point, tile) for point in range(len(c))])

        return stacked

    def _on_maps(self, name: str, layer: nn.Module, rows: Index, c: Tensor) -> Callable[[Tensor, int], Tensor]:
        """Return one layer as a function of the maps and the number of a point."""
        if not isinstance(layer, nn.Conv2d):
            pointwise = torch.relu_ if isinstance(layer, nn.ReLU) else layer
            return lambda maps, _: pointwise(maps)
        weight = self._moved(f"{name}.weight", rows, c)
        bias = [None] * len(c) if layer.bias is None else self._moved(f"{name}.bias", rows, c)
        convolved = partial(functional.conv2d, stride=layer.stride, padding=layer.padding, dilation=layer.dilation)
        return lambda maps, point: convolved(maps, weight[point], bias[point])

    def _shared_layer(self, product: Tensor, rows: Index, c: Tensor) -> Callable[[int, int], Tensor]:
        """Return the first layer's outputs X·Wᵀ + b + c·(s∘(X·Gᵀ) + g_b) at every point."""
        step = c.view(-1, 1, 1) * self.row_scales
        bias = self.steps.get(f"{self.stack.rest[0][0]}.bias")
        offset = None if bias is None else (c.view(-1, 1) * bias[rows]).unsqueeze(1)

        def outputs(start: int, stop: int) -> Tensor:
            hidden = torch.addcmul(self.base[start:stop], product[rows, start:stop], step)
            return hidden if offset is None else hidden.add_(offset)

        return outputs

    def _layer(self, name: str, layer: nn.Module, rows: Index, c: Tensor) -> Callable[[Tensor], Tensor]:
        """Return one layer of all points' networks; its weights are formed once for all samples."""
        if isinstance(layer, nn.ReLU):
            return torch.relu_
        if isinstance(layer, nn.Flatten):
            return lambda hidden: hidden.flatten(2)
        if not isinstance(layer, nn.Linear):
            return layer
        weight = self._moved(f"{name}.weight", rows, c)
        bias = None if layer.bias is None else self._moved(f"{name}.bias", rows, c)
        return _narrow(weight, bias) if layer.out_features <= THIN else _wide(weight, bias)


def _wide(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    """Return a batch of linear layers computed as X·Wᵀ + b."""
    turned, offset = weight.transpose(1, 2), None if bias is None else bias.unsqueeze(1)

    def linear(x: Tensor) -> Tensor:
        out = torch.bmm(x.to(turned.dtype), turned)
        return out if offset is None else out.add_(offset)

    return linear


def _narrow(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    """Return a batch of linear layers computed as (W·Xᵀ + b)ᵀ with padded rows."""
    offset, count = None if bias is None else bias.unsqueeze(2), weight.shape[1]
    padded = functional.pad(weight, (0, 0, 0, -count % ROW_MULTIPLE))

    def linear(x: Tensor) -> Tensor:
        out = torch.bmm(padded, x.to(weight.dtype).transpose(1, 2))[:, :count]
        return (out if offset is None else out.add_(offset)).transpose(1, 2)

    return linear
