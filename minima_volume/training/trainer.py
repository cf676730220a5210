"""Training of one minimum, or of many small networks of one architecture at once.

Many networks are stacked along a leading axis. AdamW works element by element and the losses of different networks
share no parameter, so every network takes exactly the steps it would take alone, up to the order of float additions.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from minima_volume.networks.directions import generator
from minima_volume.networks.losses import Criterion, zero_one_loss
from minima_volume.networks.parameters import Layout, Parameters, layout_of
from minima_volume.networks.sequential import IMAGES, is_dense, is_stack, to_channels_last
from minima_volume.training.dense import Batch, Gradient, dense_gradient
from minima_volume.training.recipe import Recipe, sam_perturbation

# Samples of one tile: of 32 to 256, convolutions of the paper's size ran fastest on a CPU with this many.
TILE = 64


@dataclass(frozen=True)
class Job:
    """One network to train: initial weights, its own training set, and the seed of its batch order."""

    parameters: Parameters
    inputs: Tensor
    targets: Tensor
    seed: int


@dataclass(frozen=True)
class TrainingState:
    """Where a training stands after an epoch: all that its next step depends on, beside its jobs and its recipe."""

    epoch: int
    flat: Tensor  # parameters (networks, n)
    moments: Mapping[str, Tensor]  # AdamW's step, exp_avg and exp_avg_sq


def _padded(tensors: Sequence[Tensor], length: int) -> Tensor:
    """Stack data sets of different lengths, zeros behind the shorter ones."""
    out = tensors[0].new_zeros(len(tensors), length, *tensors[0].shape[1:])
    for row, tensor in zip(out, tensors, strict=True):
        row[: len(tensor)] = tensor
    return out


def _one_batch(jobs: Sequence[Job], recipe: Recipe) -> bool:
    """Whether every epoch is one step on all samples."""
    return recipe.batch_size is None or all(len(job.inputs) <= recipe.batch_size for job in jobs)


def _full_batch(jobs: Sequence[Job]) -> Batch:
    """All samples of all networks, stacked; weights sum to 1 over each network's own."""
    longest = max(len(job.inputs) for job in jobs)
    weights = [torch.full((len(job.inputs),), 1 / len(job.inputs), device=job.inputs.device) for job in jobs]
    return (
        _padded([j.inputs for j in jobs], longest),
        _padded([j.targets for j in jobs], longest),
        _padded(weights, longest),
    )


def _mini_batches(job: Job, size: int, epoch: int) -> Iterator[Batch]:
    """The batches of one epoch of one network, in the order that its seed gives them."""
    order = torch.randperm(len(job.inputs), generator=generator("order", job.seed, epoch))
    for batch in order.to(job.inputs.device).split(size):
        weight = torch.full((1, len(batch)), 1 / len(batch), device=job.inputs.device)
        yield job.inputs[batch].unsqueeze(0), job.targets[batch].unsqueeze(0), weight


def train(
    model: nn.Module,
    jobs: Sequence[Job],
    recipe: Recipe,
    criterion: Criterion,
    *,
    checkpoints: Sequence[int] = (),
    start: TrainingState | None = None,
    keep: Callable[[TrainingState], None] = lambda _: None,
) -> Iterator[tuple[int, list[Parameters]]]:
    """Train every job for `recipe.epochs` epochs; yield (epoch, parameters of each job) after each checkpoint epoch.

    The last epoch is always yielded. Mini-batches need one job at a time, because batch orders differ. `keep` sees the
    progress after every epoch, in memory that the next one writes over; from it as `start` the same steps follow.
    """
    if len(jobs) > 1 and not _one_batch(jobs, recipe):
        raise ValueError("expected one job at a time with mini-batches; train full-batch or call once per job")
    model = deepcopy(model)  # a functional call swaps the module's tensors, which other threads must not see
    wanted = {*checkpoints, recipe.epochs}
    layout = layout_of(jobs[0].parameters)
    # One flat tensor for all networks: an optimiser's step is one pass over it.
    flat = torch.stack([layout.flatten(job.parameters) for job in jobs]).requires_grad_()
    optimiser = torch.optim.AdamW([flat], lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    if start is not None:
        _restore(flat, optimiser, start)
    dense = is_dense(model, jobs[0].inputs.ndim)
    gradient_of = dense_gradient(model, layout, criterion) if dense else _autograd(model, layout, criterion)
    bind = partial(_bound, gradient_of, flat, recipe)
    whole = bind(_full_batch(jobs)) if _one_batch(jobs, recipe) else None
    for epoch in range(start.epoch + 1 if start else 1, recipe.epochs + 1):
        for gradient in [whole] if whole else map(bind, _mini_batches(jobs[0], recipe.batch_size or 0, epoch)):
            flat.grad = gradient()
            optimiser.step()
        if epoch in wanted:
            parts = [layout.split(own) for own in flat.detach().unbind()]
            yield epoch, [{name: part[name].clone() for name in jobs[0].parameters} for part in parts]
        keep(TrainingState(epoch, flat.detach(), optimiser.state[flat]))


@torch.no_grad()
def _restore(flat: Tensor, optimiser: torch.optim.Optimizer, progress: TrainingState) -> None:
    """Put parameters and the optimiser's moments where they stood."""
    flat.copy_(progress.flat)
    optimiser.load_state_dict({**optimiser.state_dict(), "state": {0: dict(progress.moments)}})


def _bound(gradient_of: Callable[[Tensor, Batch], Gradient], flat: Tensor, recipe: Recipe, batch: Batch) -> Gradient:
    """The gradient that the optimiser follows at `flat`: the plain one, or the one at SAM's worst point nearby."""
    plain = gradient_of(flat, batch)
    if recipe.sam_rho is None:
        return plain
    worst, rho = flat.detach().clone().requires_grad_(), recipe.sam_rho
    there = gradient_of(worst, batch)

    def at_worst() -> Tensor:
        gradient = plain()
        with torch.no_grad():
            worst.copy_(sam_perturbation({"flat": flat}, {"flat": gradient}, rho, recipe.sam_adaptive)["flat"])
        return there()

    return at_worst


def _autograd(model: nn.Module, layout: Layout, criterion: Criterion) -> Callable[[Tensor, Batch], Gradient]:
    """As `dense_gradient`, for any module."""

    def gradient(at: Tensor, tiles: Sequence[Batch]) -> Tensor:
        total = torch.zeros_like(at, requires_grad=False)
        for inputs, targets, weights in tiles:
            outputs = _outputs(model, layout.split(at), inputs)
            # A criterion needs to know nothing about networks side by side.
            alone = len(inputs) == 1
            losses = criterion(outputs[0], targets[0]).unsqueeze(0) if alone else vmap(criterion)(outputs, targets)
            total += torch.autograd.grad((losses * weights).sum(), at)[0]
        return total

    return lambda at, batch: partial(gradient, at, _tiles(model, batch))


def _tiles(model: nn.Module, batch: Batch) -> list[Batch]:
    """Images on a CPU in small parts if the model is known to bear it; a small network would spend its time on them.

    Any other module may look at all samples of a batch, or at how they lie in memory.
    """
    inputs, targets, weights = batch
    images = inputs.ndim - 1 == IMAGES and is_stack(model, IMAGES)
    if inputs.device.type != "cpu" or not images:
        return [batch]
    parts = (to_channels_last(inputs), targets, weights)
    return list(zip(*(part.split(TILE, dim=1) for part in parts), strict=True))


def _outputs(model: nn.Module, stacked: Parameters, inputs: Tensor) -> Tensor:
    """Outputs (networks, N, …) of every network on its own inputs (networks, N, …)."""
    if len(inputs) > 1:
        called: Tensor = vmap(lambda own, x: functional_call(model, own, (x,)))(stacked, inputs)
        return called
    alone: Tensor = functional_call(model, {name: tensor[0] for name, tensor in stacked.items()}, (inputs[0],))
    return alone.unsqueeze(0)


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
        losses.append(criterion(outputs[None], y)[0].cpu())
        errors.append(zero_one_loss(outputs, y).cpu())
    return torch.cat(losses), torch.cat(errors)
