"""Training of one minimum, or of many small networks of one architecture at once.

Many networks are stacked along a leading axis. AdamW works element by element and the losses of different networks
share no parameter, so every network takes exactly the steps it would take alone, up to the order of float additions.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from minima_volume.directions import generator
from minima_volume.losses import Criterion, misclassified
from minima_volume.optim import Recipe, sam_ascent
from minima_volume.parameters import Parameters


@dataclass(frozen=True)
class Job:
    """One network to train: initial weights, its own training set, and the seed of its batch order."""

    parameters: Parameters
    inputs: Tensor
    targets: Tensor
    seed: int


def _padded(tensors: Sequence[Tensor], length: int) -> Tensor:
    """Stack data sets of different lengths, zeros behind the shorter ones."""
    out = tensors[0].new_zeros(len(tensors), length, *tensors[0].shape[1:])
    for row, tensor in zip(out, tensors, strict=True):
        row[: len(tensor)] = tensor
    return out


def _batches(jobs: Sequence[Job], recipe: Recipe, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """(inputs, targets, weights) of one epoch, stacked over networks; weights sum to 1 over each network's batch."""
    size = recipe.batch_size
    if size is None or all(len(job.inputs) <= size for job in jobs):
        longest = max(len(job.inputs) for job in jobs)
        weights = [torch.full((len(job.inputs),), 1 / len(job.inputs), device=job.inputs.device) for job in jobs]
        yield (
            _padded([j.inputs for j in jobs], longest),
            _padded([j.targets for j in jobs], longest),
            _padded(weights, longest),
        )
        return
    for job in jobs:
        order = torch.randperm(len(job.inputs), generator=generator("order", job.seed, epoch))
        for batch in order.to(job.inputs.device).split(size):
            weight = torch.full((1, len(batch)), 1 / len(batch), device=job.inputs.device)
            yield job.inputs[batch].unsqueeze(0), job.targets[batch].unsqueeze(0), weight


def train(
    model: nn.Module, jobs: Sequence[Job], recipe: Recipe, criterion: Criterion, *, checkpoints: Sequence[int] = ()
) -> Iterator[tuple[int, list[Parameters]]]:
    """Train every job for `recipe.epochs` epochs; yield (epoch, parameters of each job) after each checkpoint epoch.

    The last epoch is always yielded. Mini-batches need one job at a time, because batch orders differ.
    """
    if len(jobs) > 1 and recipe.batch_size is not None and any(len(job.inputs) > recipe.batch_size for job in jobs):
        raise ValueError("expected one job at a time with mini-batches; train full-batch or call once per job")
    model = deepcopy(
        model
    )  # a functional call swaps the module's tensors for a moment, which other threads must not see
    wanted = {*checkpoints, recipe.epochs}
    stacked = {
        name: torch.stack([job.parameters[name] for job in jobs]).requires_grad_() for name in jobs[0].parameters
    }
    optimiser = torch.optim.AdamW(stacked.values(), lr=recipe.lr, weight_decay=recipe.weight_decay)

    def network_losses(parameters: Parameters, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        inputs, targets, weights = batch

        def one(own: Parameters, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
            return (criterion(functional_call(model, own, (x,)), y) * w).sum()

        if len(jobs) == 1:
            return one({name: tensor[0] for name, tensor in parameters.items()}, inputs[0], targets[0], weights[0])
        losses: Tensor = vmap(one)(parameters, inputs, targets, weights)
        return losses.sum()

    full_batch = list(_batches(jobs, recipe, 0)) if len(jobs) > 1 or recipe.batch_size is None else None
    for epoch in range(1, recipe.epochs + 1):
        for batch in full_batch or _batches(jobs, recipe, epoch):
            gradients = torch.autograd.grad(network_losses(stacked, batch), list(stacked.values()))
            if recipe.sam_rho is not None:
                named = dict(zip(stacked, gradients, strict=True))
                with torch.no_grad():
                    worst = sam_ascent(stacked, named, recipe.sam_rho, recipe.sam_adaptive)
                worst = {name: tensor.requires_grad_() for name, tensor in worst.items()}
                gradients = torch.autograd.grad(network_losses(worst, batch), list(worst.values()))
            for tensor, gradient in zip(stacked.values(), gradients, strict=True):
                tensor.grad = gradient
            optimiser.step()
        if epoch in wanted:
            yield (
                epoch,
                [{name: tensor[i].detach().clone() for name, tensor in stacked.items()} for i in range(len(jobs))],
            )


@torch.no_grad()
def evaluate(
    model: nn.Module,
    parameters: Parameters,
    inputs: Tensor,
    targets: Tensor,
    criterion: Criterion,
    *,
    chunk: int = 4096,
) -> tuple[Tensor, Tensor]:
    """Per-sample losses and 0/1 errors (N,) of one network, on the CPU."""
    model, losses, errors = deepcopy(model), [], []
    for x, y in zip(inputs.split(chunk), targets.split(chunk), strict=True):
        outputs = functional_call(model, parameters, (x,))
        losses.append(criterion(outputs, y).cpu())
        errors.append(misclassified(outputs, y).cpu())
    return torch.cat(losses), torch.cat(errors)
