"""Largest eigenvalue and trace of the Hessian and of the Gauss–Newton matrix, by products with vectors.

The matrices come from curvlinops, the largest eigenvalue from SciPy's Lanczos iteration, and the trace from random signs z:
E[zᵀAz] = tr A (Girard 1989, Hutchinson 1990).
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn

from minima_volume import errors
from minima_volume.networks.losses import Criterion
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.private_copy import copy_model
from minima_volume.sharpness.forward_mode import ONE_AT_A_TIME

Matrix = Literal["hessian", "gauss_newton"]
# Samples in one product, and the relative accuracy of an eigenvalue: ranks of minima need no more digits.
BATCH, TOLERANCE = 2048, 1e-3


@dataclass(frozen=True)
class Curvature:
    """What is known of a curvature matrix A (n, n) of the mean loss.

    Attributes:
        largest: Largest eigenvalue λ_max.
        trace: Estimate of tr A.
        trace_se: Standard error of the trace.
    """

    largest: float
    trace: float
    trace_se: float


class _MeanLoss(nn.Module):
    """The mean of a per-sample loss, in the form that curvlinops asks for."""

    reduction = "mean"

    def __init__(self, criterion: Criterion) -> None:
        super().__init__()
        self.criterion = criterion

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch."""
        return self.criterion(outputs, targets).mean()


def curvature_operator(model: nn.Module, minimum: Minimum, samples: Samples, matrix: Matrix) -> LinearOperator:
    """Return the products A·v of a curvature matrix in the coordinates of a minimum, θ = θ* + s∘u.

    Args:
        model: Network; it is copied.
        minimum: Where the matrix is taken, and the scales s of its coordinates.
        samples: Data set and criterion of the mean loss.
        matrix: "hessian" for ∇²L(u), "gauss_newton" for JᵀHJ with the Jacobian J of the outputs and the Hessian H of the
            loss with respect to the outputs.

    Returns:
        The operator (n, n).

    Raises:
        UserError: The package curvlinops is not installed.
    """
    with errors.extra("curvature", "sharpness by curvature"):
        from curvlinops import GGNLinearOperator, HessianLinearOperator
    network = copy_model(model, samples.inputs.device, minimum.scales.dtype).eval()
    network.load_state_dict(minimum.parameters, strict=False)
    named = dict(network.named_parameters())
    kind = HessianLinearOperator if matrix == "hessian" else GGNLinearOperator
    batches = list(zip(samples.inputs.split(BATCH), samples.targets.split(BATCH), strict=True))
    product: Any = kind(
        network,
        _MeanLoss(samples.criterion),
        [named[name] for name, _ in minimum.layout.shapes],
        batches,
        check_deterministic=False,
    ).to_scipy()
    scales: NDArray[np.floating[Any]] = minimum.scales.cpu().numpy()

    def multiply(v: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        with ONE_AT_A_TIME:
            return scales * (product @ (scales * v.ravel()))

    return LinearOperator(product.shape, matvec=multiply, dtype=scales.dtype)


def curvature(
    model: nn.Module,
    minimum: Minimum,
    samples: Samples,
    matrix: Matrix = "hessian",
    *,
    n_vectors: int = 32,
    seed: int = 0,
) -> Curvature:
    """Estimate the largest eigenvalue and the trace of a curvature matrix.

    Args:
        model: Network; it is copied.
        minimum: Where the matrix is taken, and the scales of its coordinates.
        samples: Data set and criterion of the mean loss.
        matrix: "hessian" or "gauss_newton"; see `curvature_operator`.
        n_vectors: Number of random vectors for the trace.
        seed: Seed of the vectors.

    Returns:
        λ_max to a relative accuracy of 10⁻³, and tr A with its standard error.

    Raises:
        UserError: The package curvlinops is not installed.

    Example:
        The loss u₁² + ½(u₂/10)² of a linear model has the Hessian diag(2, 0.01).

        >>> import torch
        >>> from minima_volume.networks.parameters import layout_of, parameters_of
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> minimum = Minimum.of(parameters_of(model), layout_of(parameters_of(model)), normalise=False)
        >>> inputs = torch.tensor([[2**0.5, 0.1], [2**0.5, -0.1]])
        >>> samples = Samples(inputs, torch.zeros(2), lambda outputs, _: outputs[..., 0].square() / 2)
        >>> found = curvature(model, minimum, samples)
        >>> round(found.largest, 3), round(found.trace, 2)
        (2.0, 2.01)
    """
    operator = curvature_operator(model, minimum, samples, matrix)
    draw, n = np.random.default_rng([seed, 0]), operator.shape[0]
    start = draw.standard_normal(n).astype(operator.dtype)
    if n > 2:
        largest = float(eigsh(operator, k=1, which="LA", v0=start, tol=TOLERANCE, return_eigenvectors=False)[0])
    else:  # Lanczos needs room for more than the eigenvectors that are wanted
        largest = float(np.linalg.eigvalsh(operator @ np.eye(n, dtype=operator.dtype))[-1])
    signs = draw.choice(np.array([-1, 1], dtype=operator.dtype), size=(n_vectors, n))
    traces = np.array([float(z @ (operator @ z)) for z in signs], dtype=np.float64)
    return Curvature(largest, float(traces.mean()), float(traces.std(ddof=1) / np.sqrt(n_vectors)))
