"""How a minimum is trained, and the perturbation of sharpness-aware minimisation (SAM).

References: Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", 2021; Kwon et al.,
"ASAM: Adaptive Sharpness-Aware Minimization for Scale-Invariant Learning of Deep Neural Networks", 2021.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Recipe:
    """How one minimum is trained: AdamW without a schedule, with or without SAM.

    Attributes:
        epochs: Passes over the training set.
        lr: Learning rate.
        weight_decay: AdamW's decoupled weight decay.
        batch_size: Samples per step, or None for the full batch.
        sam_rho: Length ρ of the SAM perturbation, or None to train without SAM.
        sam_adaptive: Whether SAM is the adaptive variant.
        stop_loss: Mean training loss at which training ends, after the first epoch that reaches it; None trains all epochs.
    """

    epochs: int
    lr: float = 1e-3
    weight_decay: float = 0.01
    batch_size: int | None = None
    sam_rho: float | None = None
    sam_adaptive: bool = False
    stop_loss: float | None = None

    def record(self) -> dict[str, Any]:
        """Return the fields by name, as fingerprints hold them: without `stop_loss` if there is none.

        Example:
            >>> Recipe(epochs=3).record() == Recipe(epochs=3, stop_loss=0.1).record()
            False
            >>> "stop_loss" in Recipe(epochs=3).record()
            False
        """
        # Minima that were stored before this field existed keep their fingerprints.
        return {name: value for name, value in asdict(self).items() if name != "stop_loss" or value is not None}


def sam_perturbation(parameters: Tensor, gradients: Tensor, rho: float, adaptive: bool) -> Tensor:
    """Return the parameters at which SAM takes its gradient.

    They are θ + ρ g/‖g‖, and for adaptive SAM, which measures the step in units of |θ|, θ + ρ θ²g/‖θg‖.

    Args:
        parameters: θ, one row per network (networks, n).
        gradients: g, the gradient of each network's loss at θ (networks, n).
        rho: Length ρ of the step.
        adaptive: Whether to take the adaptive variant.

    Returns:
        The moved parameters (networks, n). A network whose gradient is zero stays where it is.

    Example:
        >>> import torch
        >>> theta, gradient = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])
        >>> sam_perturbation(theta, gradient, rho=0.5, adaptive=False)
        tensor([[1.3000, 2.4000]])
    """
    sizes = parameters.abs() if adaptive else torch.ones_like(parameters)
    norm = (sizes * gradients).square().sum(dim=1).sqrt()
    # The smallest normal number keeps a zero gradient from dividing by zero.
    step = rho / norm.clamp_min(torch.finfo(norm.dtype).tiny)
    return parameters + step.unsqueeze(1) * sizes.square() * gradients
