"""Rows whose mean outer product is the Gauss–Newton curvature of the mean loss at a minimum."""

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vjp, vmap

from minima_volume.errors import UserError
from minima_volume.networks.directions import generator
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.precision import copy_model, device_for

# Outputs of one sample, whose curvature is a matrix of that size.
MOST_OUTPUTS = 256
# Numbers that all rows together may hold; larger models take fewer samples.
ROW_ELEMENTS = 2**26
# Samples whose gradients are formed at once hold about this many numbers.
GRADIENT_ELEMENTS = 2**24


def gauss_newton_rows(
    model: nn.Module, minimum: Minimum, samples: Samples, *, n_samples: int = 512, draws: int = 4, seed: int = 0
) -> Tensor:
    """Rows R (m, n), float64, with RᵀR/m the Gauss–Newton curvature of the mean loss over u, on average over the signs.

    A row is (∂f/∂u)ᵀ·F·ξ for one sample: f its outputs, F·Fᵀ the loss's curvature in the outputs, ξ random signs
    (Hutchinson). One output needs no signs and one row is exact. At most `n_samples` samples, evenly spaced and of even
    number, with `draws` rows each: first all with the first signs, so that every other row has every other sample.
    """
    fits = max(2, ROW_ELEMENTS // (draws * minimum.layout.n_params))
    kept = torch.linspace(0, len(samples) - 1, min(n_samples, len(samples), fits)).round().long().unique()
    kept = kept[: max(1, len(kept) // 2 * 2)]
    device = device_for(torch.float64, samples.inputs.device)
    exact, data = minimum.to(device, torch.float64), samples.to(device, torch.float64)
    inputs, targets = data.inputs[kept.to(device)], data.targets[kept.to(device)]
    copy = copy_model(model, device, torch.float64)
    width = _width(copy, inputs[:1])
    draws = 1 if width == 1 else draws
    chunk = max(1, GRADIENT_ELEMENTS // minimum.layout.n_params)
    draw = generator("curvature", seed)
    rows = []
    for _ in range(draws):
        signs = (torch.randint(0, 2, (len(kept), width), generator=draw) * 2 - 1).to(device, torch.float64)
        rows += [
            _rows(copy, exact, samples, inputs[i : i + chunk], targets[i : i + chunk], signs[i : i + chunk])
            for i in range(0, len(kept), chunk)
        ]
    return torch.cat(rows).cpu()


def _width(model: nn.Module, inputs: Tensor) -> int:
    with torch.no_grad():
        width = int(model(inputs).numel())
    if width > MOST_OUTPUTS:
        raise UserError(
            f"Expected at most {MOST_OUTPUTS} outputs per sample, got {width}: measure without preconditioner."
        )
    return width


def _rows(
    model: nn.Module, minimum: Minimum, samples: Samples, inputs: Tensor, targets: Tensor, signs: Tensor
) -> Tensor:
    """Rows (samples, n) of one chunk."""

    def row(x: Tensor, target: Tensor, sign: Tensor) -> Tensor:
        def outputs(u: Tensor) -> Tensor:
            out: Tensor = functional_call(model, minimum.moved(u), (x[None],))
            return out.flatten()

        shape = outputs_shape
        linear = vjp(outputs, torch.zeros_like(minimum.scales))
        out, pull = linear[0], linear[1]
        # Reverse over reverse: forward mode compiles helpers with a part of torch that is on its way out.
        curvature = jacrev(jacrev(lambda o: samples.criterion(o.reshape(1, *shape), target[None])[0, 0]))(out)
        values, vectors = torch.linalg.eigh(curvature)
        return pull(vectors @ (values.clamp(min=0).sqrt() * (vectors.T @ sign)))[0]

    with torch.no_grad():
        outputs_shape = model(inputs[:1]).shape
    return vmap(row)(inputs, targets, signs)
