"""The Fisher–Rao norm of a network, which no change of coordinates alters (Liang et al. 2019)."""

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.private_copy import copy_model
from minima_volume.sharpness.forward_mode import ONE_AT_A_TIME

# Samples in one pass.
BATCH = 2048


def fisher_rao_norm(model: nn.Module, minimum: Minimum, samples: Samples) -> float:
    """Return ‖θ‖ = √E[⟨θ, ∇ℓ⟩²] over the samples, with the gradient ∇ℓ of each sample's loss.

    ⟨θ, ∇ℓ⟩ is the derivative of a sample's loss at θ·(1 + t) with respect to t, so no gradient is formed.

    Args:
        model: Network; it is copied.
        minimum: Trained parameters; the perturbed ones count.
        samples: Data set and per-sample loss.

    Returns:
        The norm, in units of the loss.

    Example:
        The loss ½w²x² of one weight w = 3 has w·∇ℓ = w²x² = 9 at x = 1.

        >>> import torch
        >>> from minima_volume.networks.parameters import layout_of, parameters_of
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.constant_(model.weight, 3.0)
        >>> minimum = Minimum.of(parameters_of(model), layout_of(parameters_of(model)))
        >>> samples = Samples(torch.ones(2, 1), torch.zeros(2), lambda outputs, _: outputs[..., 0].square() / 2)
        >>> fisher_rao_norm(model, minimum, samples)
        9.0
    """
    network = copy_model(model, samples.inputs.device, minimum.scales.dtype).eval()
    moving = {name for name, _ in minimum.layout.shapes}
    total = 0.0
    for inputs, targets in zip(samples.inputs.split(BATCH), samples.targets.split(BATCH), strict=True):

        def losses(t: Tensor, inputs: Tensor = inputs, targets: Tensor = targets) -> Tensor:
            scaled = {name: p * (1 + t) if name in moving else p for name, p in minimum.parameters.items()}
            return samples.criterion(functional_call(network, scaled, (inputs,)), targets)

        zero = torch.zeros((), dtype=minimum.scales.dtype, device=inputs.device)
        with ONE_AT_A_TIME:
            slopes: Tensor = jvp(losses, (zero,), (torch.ones_like(zero),))[1]
        total += float(slopes.detach().double().square().sum())
    return float((total / len(samples)) ** 0.5)
