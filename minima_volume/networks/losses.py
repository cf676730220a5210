"""Per-sample criteria: what is averaged over a data set to give a landscape's height."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from minima_volume.networks.precision import device_for

Metric = Literal["loss", "accuracy"]
# (outputs (rays, N, C), targets (N,)) -> values (rays, N); those of this module take any leading axes, or none.
Criterion = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """−ln softmax(outputs)[target] in nats; targets are class numbers (N,)."""
    labels = targets.expand(outputs.shape[:-1])
    return functional.cross_entropy(outputs.movedim(-1, min(1, outputs.ndim - 1)), labels, reduction="none")


def binary_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the logit outputs (…, N, 1) against classes 0 and 1, in nats."""
    logits = outputs.squeeze(-1)
    # Sign +1 for class 1 and −1 for class 0 turns both cases into softplus of one margin.
    return functional.softplus(logits * (1 - 2 * targets.to(logits.dtype)))


def one_hot_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean over classes of (outputs − one_hot(target))², the MSE of the modular-arithmetic studies."""
    wanted = functional.one_hot(targets.long(), outputs.shape[-1]).to(outputs.dtype)
    return (outputs - wanted).square().mean(dim=-1)


def zero_one_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """1 where the predicted class is wrong, else 0; a single output column is a logit."""
    predicted = (outputs.squeeze(-1) > 0).long() if outputs.shape[-1] == 1 else outputs.argmax(dim=-1)
    return (predicted != targets.long()).to(outputs.dtype)


CRITERIA: dict[str, Criterion] = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "one_hot_squared_error": one_hot_squared_error,
}


def loss_gradient(criterion: Criterion, outputs: Tensor, targets: Tensor) -> Tensor:
    """∂ criterion/∂ outputs (N, C), sample by sample: closed forms for this module's criteria, autograd for any other.

    softmax(z) − one_hot(y) for cross-entropy, σ(z) − y for the binary one, 2(z − one_hot(y))/C for the squared error.
    """
    if criterion is binary_cross_entropy:
        return torch.sigmoid(outputs).sub_(targets.to(outputs.dtype).unsqueeze(-1))
    if criterion is cross_entropy:
        return outputs.softmax(dim=-1).sub_(functional.one_hot(targets.long(), outputs.shape[-1]))
    if criterion is one_hot_squared_error:
        wanted = functional.one_hot(targets.long(), outputs.shape[-1])
        return (outputs - wanted).mul_(2 / outputs.shape[-1])
    with torch.enable_grad():
        free = outputs.detach().requires_grad_()
        return torch.autograd.grad(criterion(free, targets).sum(), free)[0]


def sensitivity(criterion: Criterion, losses: Tensor) -> Tensor:
    """How fast a loss of this height moves with its sample's outputs, up to a factor of two; 1 for unknown criteria.

    1 − e^(−loss), the probability of the wrong classes, for both cross-entropies, and √loss for the squared error.
    """
    if criterion in (cross_entropy, binary_cross_entropy):
        return -torch.expm1(-losses)
    return losses.clamp_min(0).sqrt() if criterion is one_hot_squared_error else torch.ones_like(losses)


def sum_float64(values: Tensor) -> Tensor:
    """Sum over samples, accumulated in float64: (…, N) -> (…)."""
    return values.to(device_for(torch.float64, values.device)).sum(dim=-1, dtype=torch.float64)
