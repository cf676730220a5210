"""Matrices with few eigenvalues other than 1, and the eigenvectors that define them."""

from dataclasses import dataclass

import torch
from torch import Tensor

# Eigenvalues below this part of the largest one are rounding: their vectors would be noise.
NEGLIGIBLE = {torch.float32: 1e-6, torch.float64: 1e-10}


@dataclass(frozen=True)
class IdentityPlusLowRank:
    """The symmetric matrix I + Q·diag(f − 1)·Qᵀ, or diag(f) if there is no basis.

    Attributes:
        eigenvalues: f (r,), or (n,) without a basis.
        basis: Q (n, r) with orthonormal columns. All vectors orthogonal to them have the eigenvalue 1.
    """

    eigenvalues: Tensor
    basis: Tensor | None = None

    def apply(self, vectors: Tensor) -> Tensor:
        """Return the product of the matrix with each row of `vectors` (k, n)."""
        if self.basis is None:
            return vectors * self.eigenvalues
        if not self.basis.shape[1]:
            return vectors
        return vectors + ((vectors @ self.basis) * (self.eigenvalues - 1)) @ self.basis.T


def leading_eigenvectors(rows: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the leading eigenvalues and eigenvectors of RᵀR.

    The decomposition runs in float64 on the smaller of RᵀR and RRᵀ.

    Args:
        rows: R (m, n), in float32 or float64.
        rank: Number r of eigenvectors; fewer are returned if RᵀR has fewer eigenvalues above rounding.

    Returns:
        The largest eigenvalues in ascending order, their eigenvectors (n, r) in the precision of `rows`, and the smaller of
        the min(m, n) eigenvalues that were computed.

    Example:
        Rows that repeat each other have one eigenvector:

        >>> import torch
        >>> leading_eigenvectors(torch.ones(5, 8), 3)[1].shape
        torch.Size([8, 1])
    """
    wide = len(rows) < rows.shape[1]
    values, vectors = torch.linalg.eigh((rows @ rows.T if wide else rows.T @ rows).double())
    largest = float(values[-1]) if len(values) else 0.0
    rank = min(rank, int((values > NEGLIGIBLE[rows.dtype] * max(largest, 0.0)).sum()) if largest > 0 else 0)
    values, top, rest = (
        values[len(values) - rank :],
        vectors[:, vectors.shape[1] - rank :],
        values[: len(values) - rank],
    )
    basis = (rows.T.double() @ top) / values.sqrt() if wide else top
    return values, basis.to(rows.dtype), rest.clamp_min(0)
