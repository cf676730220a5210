"""Rows whose mean outer product is the Gauss–Newton curvature of the mean loss."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vjp, vmap

from minima_volume.errors import UserError
from minima_volume.networks.directions import generator
from minima_volume.networks.float64 import evaluation
from minima_volume.networks.losses import Criterion
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.precision import device_for
from minima_volume.networks.private_copy import PrivateCopy

# Outputs of one sample; the loss's curvature in them is a square matrix of that size.
MAX_OUTPUTS = 256
# Numbers in all rows together; larger models use fewer samples.
MAX_ROW_ELEMENTS = 2**26
# Numbers in the gradients that are formed at once.
MAX_GRADIENT_ELEMENTS = 2**24


def gauss_newton_row(
    model: nn.Module, minimum: Minimum, criterion: Criterion, u: Tensor, inputs: Tensor, target: Tensor, signs: Tensor
) -> Tensor:
    """Return the row Jᵀ·H^½·ξ of one sample at θ* + s∘u.

    J = ∂f/∂u is the Jacobian of the sample's outputs f and H ≥ 0 the Hessian of its loss with respect to them. For random
    signs ξ the expected outer product of the row with itself is the Gauss–Newton matrix JᵀHJ (Hutchinson 1990).

    Args:
        model: Network with the parameters of `minimum`, in the precision of `u`.
        minimum: Origin and scales of the coordinates u.
        criterion: Loss of one sample.
        u: Point (n,) in filter-normalised coordinates.
        inputs: Inputs of the sample, without the sample axis.
        target: Target of the sample.
        signs: ξ, one per output.

    Returns:
        The row (n,).
    """

    def outputs(at: Tensor) -> Tensor:
        out: Tensor = functional_call(model, minimum.moved(at), (inputs[None],))
        return out

    linear = vjp(outputs, u)
    out, pull = linear[0], linear[1]
    # Forward mode would compile helpers with a part of torch that is deprecated.
    hessian = jacrev(jacrev(lambda flat: criterion(flat.view_as(out)[None], target[None])[0, 0]))(out.flatten())
    values, vectors = torch.linalg.eigh(hessian)
    root = vectors @ (values.clamp(min=0).sqrt() * (vectors.T @ signs))
    row: Tensor = pull(root.view_as(out))[0]
    return row


def gauss_newton_rows(
    model: nn.Module, minimum: Minimum, samples: Samples, *, n_samples: int = 512, draws: int = 4, seed: int = 0
) -> Tensor:
    """Return rows R whose RᵀR/m estimates the Gauss–Newton curvature of the mean loss at a minimum.

    Each row belongs to one sample; see `gauss_newton_row`. A sample with one output needs no signs, so its row is exact.
    The samples are evenly spaced and of even number, and all of them come once for each set of signs. So R[::2] and
    R[1::2] contain different samples.

    Args:
        model: Network with at most 256 outputs per sample.
        minimum: Trained parameters and their scales, n perturbed coordinates.
        samples: Data set and loss.
        n_samples: Largest number of samples. Large models use fewer, so that the rows fit into 512 MiB.
        draws: Rows per sample.
        seed: Seed of the signs.

    Returns:
        R (m, n), float64 on the CPU.

    Raises:
        UserError: A sample has more than 256 outputs.
    """
    fits = max(2, MAX_ROW_ELEMENTS // (draws * minimum.layout.n_params))
    kept = torch.linspace(0, len(samples) - 1, min(n_samples, len(samples), fits)).round().long().unique()
    kept = kept[: max(1, len(kept) // 2 * 2)]
    device = device_for(torch.float64, samples.inputs.device)
    exact, data = minimum.to(device, torch.float64), samples.to(device, torch.float64)
    inputs, targets = data.inputs[kept.to(device)], data.targets[kept.to(device)]
    copy = PrivateCopy(model, device, torch.float64)
    copy.move(exact, torch.zeros_like(exact.scales), 0.0)
    with torch.no_grad(), evaluation(torch.float64):
        n_outputs = int(copy.module(inputs[:1].clone()).numel())
    if n_outputs > MAX_OUTPUTS:
        raise UserError(
            f"Expected at most {MAX_OUTPUTS} outputs per sample, got {n_outputs}: measure without preconditioner."
        )
    row = vmap(partial(gauss_newton_row, copy.module, exact, samples.criterion, torch.zeros_like(exact.scales)))
    chunk = max(1, MAX_GRADIENT_ELEMENTS // minimum.layout.n_params)
    draw = generator("curvature", seed)
    rows = []
    for _ in range(1 if n_outputs == 1 else draws):
        signs = (torch.randint(0, 2, (len(kept), n_outputs), generator=draw) * 2 - 1).to(device, torch.float64)
        for i in range(0, len(kept), chunk):
            part = inputs[i : i + chunk], targets[i : i + chunk], signs[i : i + chunk]
            try:
                with evaluation(torch.float64):
                    rows.append(row(*part))
            except RuntimeError:  # a model that the transformations of torch.func do not take: one sample at a time
                copy.renew(model)  # they may have left their tensors in it
                copy.move(exact, torch.zeros_like(exact.scales), 0.0)
                rows.append(
                    torch.stack(
                        [_row_by_autograd(copy, exact, samples.criterion, *one) for one in zip(*part, strict=True)]
                    )
                )
    return torch.cat(rows).cpu()


def _row_by_autograd(
    copy: PrivateCopy, minimum: Minimum, criterion: Criterion, inputs: Tensor, target: Tensor, signs: Tensor
) -> Tensor:
    """Return `gauss_newton_row` of one sample at a minimum, from a backward pass instead of transformations."""
    named = dict(copy.module.named_parameters())
    moving = [named[name].requires_grad_() for name, _ in minimum.layout.shapes]
    with evaluation(torch.float64, grad=True):
        out = copy.module(inputs[None].clone())

        def loss(flat: Tensor) -> Tensor:
            return criterion(flat.view_as(out)[None], target[None])[0, 0]

        hessian = torch.autograd.functional.hessian(loss, out.detach().flatten())
        values, vectors = torch.linalg.eigh(hessian)
        root = vectors @ (values.clamp(min=0).sqrt() * (vectors.T @ signs))
        found = torch.autograd.grad(out, moving, root.view_as(out), allow_unused=True)
    parts = [torch.zeros_like(value) if part is None else part for value, part in zip(moving, found, strict=True)]
    copy.module.requires_grad_(False)
    row: Tensor = torch.cat([part.flatten() for part in parts]) * minimum.scales
    return row.detach()
