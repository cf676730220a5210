"""The outputs of a network along a random filter-normalised direction, from a minimum to the loss threshold."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from minima_volume.crossings.scan import Target
from minima_volume.crossings.sweep import sweep_crossings
from minima_volume.errors import ResultsError
from minima_volume.networks import directions
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.precision import to_float64
from minima_volume.planes import sources
from minima_volume.storage import archives

STEPS, SIDE = 121, 141  # points along the ray; points along a side of the square of inputs
TRIES = 20  # directions to try


def crossing(model: nn.Module, minimum: Minimum, samples: Samples, threshold: float, seed: int) -> tuple[int, float]:
    """Find the first direction along which the mean loss reaches the threshold.

    Returns:
        The number of the direction and the coefficient c of the crossing.

    Raises:
        ResultsError: None of the first `TRIES` directions of the seed reaches the threshold.
    """
    wanted = [[Target(len(samples), threshold)]]
    for number in range(TRIES):
        found = (
            sweep_crossings(model, [minimum], wanted, samples, seed=seed, indices=[number])
            .crossings[0]
            .coefficients[0, 0]
        )
        if found > 0:
            return number, float(found)
    raise ResultsError(
        f"Expected a direction among {TRIES} that reaches loss {threshold:g}, got none: choose a lower threshold."
    )


@torch.no_grad()
def logits_along(model: nn.Module, minimum: Minimum, direction: Tensor, coefficients: Tensor, inputs: Tensor) -> Tensor:
    """Return the logits of the networks θ* + c·(s∘g), with s the filter norms.

    Args:
        model: The network.
        minimum: θ* and s.
        direction: g, shape (n,).
        coefficients: c, shape (steps,).
        inputs: Inputs, N of them.

    Returns:
        The first output of the network, shape (steps, N).
    """
    model, steps = deepcopy(model), minimum.layout.split(minimum.scales * direction)
    rows = []
    for c in coefficients.to(direction.dtype):
        moved = {name: tensor + c * steps[name] for name, tensor in minimum.parameters.items()}
        rows.append(functional_call(model, moved, (inputs,))[:, 0])
    return torch.stack(rows)


def deform(
    model: nn.Module, minimum: Minimum, samples: Samples, *, threshold: float, seed: int
) -> tuple[int, dict[str, NDArray[Any]]]:
    """Return the outputs of a network at even steps along a direction, the last step at the threshold.

    Args:
        model: A network with two inputs and one logit.
        minimum: Its minimum.
        samples: The training samples.
        threshold: Mean loss at which to stop.
        seed: Seed of the directions.

    Returns:
        The number of the direction, and arrays: `side` (SIDE,), coordinates along a square of inputs; `logits`
        (STEPS, SIDE, SIDE) on it; `points` (N, 2) and `targets` (N,) of the samples; `wrong` (STEPS, N), which samples are
        misclassified; `radii` c·‖g‖ and mean `losses`, both (STEPS,).
    """
    number, last = crossing(model, minimum, samples, threshold, seed)
    block = directions.draw_directions(seed, [number], minimum.layout.n_params)
    direction = block[0].to(samples.inputs)
    coefficients = torch.linspace(0, last, STEPS, dtype=torch.float64)
    reach = 1.08 * float(samples.inputs.abs().max())
    side = torch.linspace(-reach, reach, SIDE)
    square = torch.cartesian_prod(side, side).flip(1).to(samples.inputs)  # x varies along rows
    at_points = logits_along(model, minimum, direction, coefficients, samples.inputs)
    at_square = logits_along(model, minimum, direction, coefficients, square).view(STEPS, SIDE, SIDE)
    precise = to_float64(at_points).unsqueeze(-1)
    losses = samples.criterion(precise, samples.targets.to(precise.device)).mean(dim=1)
    tensors = {
        "side": side, "logits": at_square.clamp(-1e4, 1e4).half(), "points": samples.inputs, "targets": samples.targets,
        "wrong": (at_points > 0) != (samples.targets > 0), "radii": coefficients * directions.direction_norms(block),
        "losses": losses,
    }  # fmt: skip
    return number, {name: tensor.cpu().numpy() for name, tensor in tensors.items()}


def deformation_file(name: str, scale: str, folder: Path) -> Path:
    """Return the stored deformation of the minimum of a study's last level, computed now if it is missing or out of date.

    Raises:
        ResultsError: The minimum is missing. The message names the command that trains it.
    """
    study, settings = sources.open_study(name, scale)
    level, threshold = study.levels[-1], study.thresholds[0]
    repeat, found = sources.load_trained(study, scale, [level], settings)
    header, minimum = found[level]
    wanted = archives.fingerprint(header["fingerprint"], threshold, study.direction_seed, STEPS, SIDE)
    path = folder / "swiss_boundary.npz"
    if archives.read_if_current(archives.read_arrays, path, wanted) is None:
        samples = repeat.samples.part(0, header["n_train"])
        number, arrays = deform(repeat.model, minimum, samples, threshold=threshold, seed=study.direction_seed)
        info = {"fingerprint": wanted, "scale": scale, "data": repeat.dataset.name, "model": study.model,
                "n_train": header["n_train"], "threshold": threshold, "direction": number}  # fmt: skip
        archives.write_arrays(path, info, arrays)
    return path
