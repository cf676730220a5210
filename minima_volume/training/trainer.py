"""Train one minimum, or many small networks of one architecture at once.

Many networks are stacked along a leading axis. AdamW works element by element, and networks share no parameters, so each
network takes the steps that it would take alone, up to the order of floating-point additions.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from minima_volume.networks.directions import generator
from minima_volume.networks.losses import Criterion, zero_one_loss
from minima_volume.networks.parameters import Layout, Parameters, layout_of
from minima_volume.training.dense import Batch
from minima_volume.training.gradients import followed_gradient, gradient_kind
from minima_volume.training.recipe import Recipe


@dataclass(frozen=True)
class Job:
    """One network to train.

    Attributes:
        parameters: Initial weights; they are not changed.
        inputs: Training inputs (N, …).
        targets: Training targets (N,).
        seed: Seed of the order of its batches.
    """

    parameters: Parameters
    inputs: Tensor
    targets: Tensor
    seed: int


@dataclass(frozen=True)
class TrainingState:
    """The state of training after an epoch. With jobs and recipe it determines all later steps.

    Attributes:
        epoch: Number of finished epochs.
        flat: Parameters (networks, n).
        moments: AdamW's `step`, `exp_avg` and `exp_avg_sq`.
    """

    epoch: int
    flat: Tensor
    moments: Mapping[str, Tensor]

    def to(self, device: torch.device) -> "TrainingState":
        """Return the state on a device."""
        moments = {name: tensor.to(device) for name, tensor in self.moments.items()}
        return replace(self, flat=self.flat.to(device), moments=moments)


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
    """Train all jobs with AdamW for `recipe.epochs` epochs.

    Args:
        model: The architecture; its own weights are not used.
        jobs: The networks to train together. With mini-batches there must be one, because batch orders differ.
        recipe: Epochs, learning rate, weight decay, batch size and SAM.
        criterion: The per-sample loss.
        checkpoints: Epochs after which the parameters are yielded; the last epoch always is one.
        start: The state to continue from; the same steps follow as without the stop.
        keep: Called with the state after every epoch. The state's tensors are overwritten by the next step: copy what must
            last.

    Yields:
        The epoch, and the parameters of each job. The last one may come early; see `Recipe.stop_loss`.

    Raises:
        ValueError: There are several jobs and mini-batches, or a loss to stop at.

    Example:
        >>> import torch
        >>> from minima_volume.networks.losses import CRITERIA
        >>> model = torch.nn.Linear(1, 2, bias=False)
        >>> inputs, targets = torch.tensor([[1.0], [-1.0]]), torch.tensor([0, 1])
        >>> job = Job({"weight": torch.zeros(2, 1)}, inputs, targets, seed=0)
        >>> for epoch, (parameters,) in train(
        ...     model, [job], Recipe(epochs=3, lr=0.1), CRITERIA["cross_entropy"], checkpoints=[1]
        ... ):
        ...     print(epoch, parameters["weight"].flatten())
        1 tensor([ 0.1000, -0.1000])
        3 tensor([ 0.2981, -0.2981])
    """
    if len(jobs) > 1 and (recipe.stop_loss is not None or not _full_batches(jobs, recipe)):
        raise ValueError("expected one job at a time with mini-batches or a loss to stop at; call once per job")
    model = deepcopy(model)  # a functional call swaps the module's tensors, which other threads must not see
    layout = layout_of(jobs[0].parameters)
    # One flat tensor for all networks: an optimiser's step is one pass over it.
    flat = torch.stack([layout.flatten(job.parameters) for job in jobs]).requires_grad_()
    optimiser = torch.optim.AdamW([flat], lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    if start is not None:
        _restore(flat, optimiser, start)
    # Looking at the layers takes as long as a few products of a small network: once, not at every mini-batch.
    kind = gradient_kind(model, jobs[0].inputs.ndim)
    gradient_on = partial(followed_gradient, kind, model, layout, criterion, recipe, flat)
    # The full batch stays the same, so its gradient is set up once.
    full = [gradient_on(_full_batch(jobs))] if _full_batches(jobs, recipe) else None
    yielded = {*checkpoints, recipe.epochs}
    for epoch in range(start.epoch + 1 if start else 1, recipe.epochs + 1):
        for gradient in full or map(gradient_on, _mini_batches(jobs[0], recipe.batch_size or 0, epoch)):
            flat.grad = gradient()
            optimiser.step()
        reached = (
            recipe.stop_loss is not None and _training_loss(model, layout, flat, jobs, criterion) <= recipe.stop_loss
        )
        if reached or epoch in yielded:
            parts = [layout.split(own) for own in flat.detach().unbind()]
            yield epoch, [{name: part[name].clone() for name in jobs[0].parameters} for part in parts]
        if reached:
            return
        keep(TrainingState(epoch, flat.detach(), optimiser.state[flat]))


def _training_loss(model: nn.Module, layout: Layout, flat: Tensor, jobs: Sequence[Job], criterion: Criterion) -> float:
    """Return the mean training loss of the only network."""
    (job,) = jobs
    losses, _ = evaluate(model, layout.split(flat.detach()[0]), job.inputs, job.targets, criterion)
    return losses.double().mean().item()


@torch.no_grad()
def _restore(flat: Tensor, optimiser: torch.optim.Optimizer, state: TrainingState) -> None:
    """Set parameters and the optimiser's moments to a state."""
    flat.copy_(state.flat)
    optimiser.load_state_dict({**optimiser.state_dict(), "state": {0: dict(state.moments)}})


def _padded(tensors: Sequence[Tensor], length: int) -> Tensor:
    """Stack data sets of different lengths; zeros fill the shorter ones."""
    out = tensors[0].new_zeros(len(tensors), length, *tensors[0].shape[1:])
    for row, tensor in zip(out, tensors, strict=True):
        row[: len(tensor)] = tensor
    return out


def _full_batches(jobs: Sequence[Job], recipe: Recipe) -> bool:
    """Whether every epoch is one step on all samples."""
    return recipe.batch_size is None or all(len(job.inputs) <= recipe.batch_size for job in jobs)


def _full_batch(jobs: Sequence[Job]) -> Batch:
    """Return all samples of all networks, stacked; the weights of each network's samples sum to 1."""
    longest = max(len(job.inputs) for job in jobs)
    weights = [torch.full((len(job.inputs),), 1 / len(job.inputs), device=job.inputs.device) for job in jobs]
    return (
        _padded([j.inputs for j in jobs], longest),
        _padded([j.targets for j in jobs], longest),
        _padded(weights, longest),
    )


def _mini_batches(job: Job, size: int, epoch: int) -> Iterator[Batch]:
    """Yield the batches of one epoch of one network; their order follows from the job's seed."""
    order = torch.randperm(len(job.inputs), generator=generator("order", job.seed, epoch))
    for batch in order.to(job.inputs.device).split(size):
        weight = torch.full((1, len(batch)), 1 / len(batch), device=job.inputs.device)
        yield job.inputs[batch].unsqueeze(0), job.targets[batch].unsqueeze(0), weight


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
    """Evaluate one network without gradients.

    Args:
        model: The architecture; its own weights are not used.
        parameters: The network's parameters by name.
        inputs: Inputs (N, …).
        targets: Targets (N,).
        criterion: The per-sample loss.
        chunk: Number of samples per forward pass.

    Returns:
        Losses (N,) and errors, 0 or 1 (N,), on the CPU.
    """
    model, losses, errors = deepcopy(model), [], []
    for x, y in zip(inputs.split(chunk), targets.split(chunk), strict=True):
        outputs = functional_call(model, parameters, (x,))
        losses.append(criterion(outputs[None], y)[0].cpu())
        errors.append(zero_one_loss(outputs, y).cpu())
    return torch.cat(losses), torch.cat(errors)
