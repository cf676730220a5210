"""Criteria: losses per sample, whose mean over a data set is the height of a landscape."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from minima_volume.networks.precision import device_for

# What the boundary of a basin is a value of. "kl" is the mean divergence from the outputs at the minimum.
Metric = Literal["loss", "accuracy", "kl"]
# What is averaged over samples: the criterion's loss, or 1 where the predicted class is wrong.
Kind = Literal["loss", "error_rate"]
# (outputs (rays, N, C), targets (N,)) -> values (rays, N). The criteria of this module take any number of leading axes.
Criterion = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return −ln softmax(outputs)[target] in nats.

    Args:
        outputs: Logits (…, N, C).
        targets: Class numbers (N,).

    Returns:
        Losses (…, N).
    """
    labels = targets.expand(outputs.shape[:-1])
    return functional.cross_entropy(outputs.movedim(-1, min(1, outputs.ndim - 1)), labels, reduction="none")


def binary_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of logits against classes 0 and 1 in nats.

    Args:
        outputs: Logits (…, N, 1) of class 1.
        targets: Classes 0 and 1 (N,).

    Returns:
        Losses (…, N).
    """
    logits = outputs.squeeze(-1)
    # Sign +1 for class 1 and −1 for class 0 turns both cases into softplus of one margin.
    return functional.softplus(logits * (1 - 2 * targets.to(logits.dtype)))


def one_hot_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean over classes of (outputs − one_hot(target))², the loss of the modular-arithmetic studies.

    Args:
        outputs: Scores (…, N, C).
        targets: Class numbers (N,).

    Returns:
        Losses (…, N).
    """
    wanted = functional.one_hot(targets.long(), outputs.shape[-1]).to(outputs.dtype)
    return (outputs - wanted).square().mean(dim=-1)


def zero_one_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return 1 where the predicted class is wrong and 0 elsewhere.

    Args:
        outputs: Scores (…, N, C), or logits (…, N, 1) of class 1.
        targets: Class numbers (N,).

    Returns:
        Zeros and ones (…, N) in the precision of the outputs.
    """
    predicted = (outputs.squeeze(-1) > 0).long() if outputs.shape[-1] == 1 else outputs.argmax(dim=-1)
    return (predicted != targets.long()).to(outputs.dtype)


def kl_divergence(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return KL(p‖q) = Σ p (ln p − ln q) of class probabilities q = softmax(outputs) from p = softmax(targets), in nats.

    Args:
        outputs: Logits (…, N, C).
        targets: Logits (N, C) of p.

    Returns:
        Divergences (…, N).

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 100.0]])
        >>> kl_divergence(logits[0], logits[1])  # ln 2
        tensor([0.6931])
    """
    wanted = targets.to(outputs.dtype).log_softmax(dim=-1)
    return (wanted.exp() * (wanted - outputs.log_softmax(dim=-1))).sum(dim=-1)


CRITERIA: dict[str, Criterion] = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "one_hot_squared_error": one_hot_squared_error,
}


def loss_gradient(criterion: Criterion, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return ∂ criterion/∂ outputs of every sample.

    The closed forms are softmax(z) − one_hot(y) for cross-entropy, σ(z) − y for binary cross-entropy, and
    2(z − one_hot(y))/C for the squared error. Other criteria are differentiated by autograd.

    Args:
        criterion: Loss per sample.
        outputs: z (N, C).
        targets: y (N,).

    Returns:
        Gradients (N, C).
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
    """Return how strongly losses of given values depend on their outputs, up to a factor of two.

    This is 1 − exp(−loss), the probability of the wrong classes, for both cross-entropies, √loss for the squared error,
    and 1 for any other criterion.

    Args:
        criterion: Loss per sample.
        losses: Values of any shape.

    Returns:
        Sensitivities of the same shape.
    """
    if criterion in (cross_entropy, binary_cross_entropy):
        return -torch.expm1(-losses)
    return losses.clamp_min(0).sqrt() if criterion is one_hot_squared_error else torch.ones_like(losses)


def sum_float64(values: Tensor) -> Tensor:
    """Sum over samples (…, N) -> (…) in float64."""
    return values.to(device_for(torch.float64, values.device)).sum(dim=-1, dtype=torch.float64)
