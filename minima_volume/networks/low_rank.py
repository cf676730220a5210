"""Matrices with few eigenvalues other than 1, and the eigenvectors that define them."""

from dataclasses import dataclass

import torch
from torch import Tensor


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
        rows: R (m, n).
        rank: Number r of eigenvectors.

    Returns:
        The `rank` largest eigenvalues in ascending order, their eigenvectors (n, r) in the precision of `rows`, and the
        smaller of the min(m, n) eigenvalues that were computed.
    """
    wide = len(rows) < rows.shape[1]
    values, vectors = torch.linalg.eigh((rows @ rows.T if wide else rows.T @ rows).double())
    values = values.clamp_min(1e-300)
    top = vectors[:, -rank:]
    basis = (rows.T.double() @ top) / values[-rank:].sqrt() if wide else top
    return values[-rank:], basis.to(rows.dtype), values[:-rank]
