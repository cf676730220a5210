"""The leading eigenvectors of the Hessian of the mean loss, by Lanczos iteration on Hessian-vector products."""

from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from minima_volume.errors import UserError
from minima_volume.landscapes.landscape import Landscape
from minima_volume.networks.directions import generator
from minima_volume.networks.float64 import evaluation
from minima_volume.networks.objective import SampleObjective, fresh_tensors

# Relative accuracy of the eigenvalues; Lanczos iteration on float64 products.
RTOL = 1e-6


def leading_curvature(landscape: Landscape, scales: Tensor, count: int = 2) -> tuple[list[float], Tensor]:
    """Return the eigenvalues of largest absolute value of ∂²L/∂u², and their eigenvectors, at a model θ* + s∘u, u = 0.

    Args:
        landscape: The model with its loss and data.
        scales: Scale s (n,) of the coordinates.
        count: Number of eigenvectors.

    Returns:
        Eigenvalues, the largest first, and eigenvectors (count, n) in float64.

    Raises:
        UserError: The data are not tensors, or the model has too few parameters.
    """
    objective, layout, copy = landscape.user.objective, landscape.minimum.layout, landscape.copy
    if not isinstance(objective, SampleObjective):
        raise UserError(
            "Expected (inputs, targets) of equal shapes with directions='curvature', got a closure or ragged batches: pass "
            "other directions."
        )
    if layout.n_params <= count + 1:
        raise UserError(
            f"Expected more than {count + 1} parameters with directions='curvature', got {layout.n_params}: pass two "
            "vectors."
        )
    copy.convert(landscape.user.final_dtype)
    copy.move(landscape.minimum, torch.zeros(layout.n_params), 0.0)
    named = dict(copy.module.named_parameters())
    moving = [named[name] for name, _ in layout.shapes]
    total = len(objective.samples)

    def product(vector: Any) -> Any:
        direction = torch.from_numpy(np.ascontiguousarray(vector, dtype=np.float64).ravel()).to(scales)
        steps = layout.split(scales * direction)
        parts = [steps[name].to(named[name]) for name, _ in layout.shapes]
        found = torch.zeros_like(scales)
        for start in range(0, total, objective.tile):
            part = objective.samples.part(start, min(start + objective.tile, total))
            with evaluation(copy.dtype, grad=True):
                outputs = copy.module(fresh_tensors(part.inputs, copy))
                loss = part.criterion(outputs[None], part.targets)[0].sum() / total
                slopes = torch.autograd.grad(loss, moving, create_graph=True, allow_unused=True)
                terms = [(slope * step).sum() for slope, step in zip(slopes, parts, strict=True) if slope is not None]
                inner = torch.stack(terms).sum()
                bent = inner.requires_grad  # not if the loss is linear in all parameters
                rows = torch.autograd.grad(inner, moving, allow_unused=True) if bent else [None] * len(moving)
            flat = [torch.zeros_like(p) if row is None else row for p, row in zip(moving, rows, strict=True)]
            found += torch.cat([row.detach().flatten() for row in flat]).to(found)
        return (scales * found).cpu().numpy()

    for parameter in moving:
        parameter.requires_grad_()
    try:
        n = layout.n_params
        start = torch.randn(n, generator=generator("curvature of a landscape", 0), dtype=torch.float64).numpy()
        values, vectors = eigsh(
            LinearOperator((n, n), matvec=product, dtype=np.float64), k=count, which="LM", tol=RTOL, v0=start
        )
    finally:
        copy.module.requires_grad_(False)
    order = np.argsort(-np.abs(values))
    return values[order].tolist(), torch.from_numpy(np.ascontiguousarray(vectors.T[order])).to(scales)
