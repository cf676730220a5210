"""Mass matrices: the identity plus a diagonal or a matrix of low rank."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class MassMatrix:
    """A symmetric positive matrix I + V diag(d) Vᵀ; without a basis V (n, r) its axes are the coordinates."""

    strengths: Tensor
    basis: Tensor | None = None

    def power(self, vectors: Tensor, exponent: float) -> Tensor:
        """The matrix to a power, applied to rows (k, n)."""
        factors = (1 + self.strengths) ** exponent
        if self.basis is None:
            return vectors * factors
        return vectors + ((vectors @ self.basis) * (factors - 1)) @ self.basis.T

    def scaled(self, factor: float) -> "MassMatrix":
        """I + factor · V diag(d) Vᵀ."""
        return MassMatrix(factor * self.strengths, self.basis)

    @classmethod
    def of_gradients(cls, gradients: Tensor, rank: int | None) -> "MassMatrix":
        """The mean precision of a density under a standard Gaussian from draws g (m, n) of the remaining gradient.

        For a Gaussian of precision 1 + d along an axis, E[g²] = d²/(1 + d); solved for d along the coordinates, or along
        the `rank` leading principal axes of the draws less the mean of what the axes left out hold of each draw.
        """
        if rank is None:
            return cls(_strength(gradients.square().mean(dim=0)))
        values, basis, rest = leading_eigenvectors(gradients, rank)
        noise = rest.mean() if len(rest) else 0.0
        squares = ((values - noise) / len(gradients)).clamp_min(0)
        return cls(_strength(squares).to(gradients.dtype), basis)


def leading_eigenvectors(rows: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `rank` largest eigenvalues of rowsᵀrows, their vectors (n, r), and the other eigenvalues that are not 0."""
    wide = len(rows) < rows.shape[1]
    values, vectors = torch.linalg.eigh((rows @ rows.T if wide else rows.T @ rows).double())
    values = values.clamp_min(1e-300)
    top = vectors[:, -rank:]
    basis = (rows.T.double() @ top) / values[-rank:].sqrt() if wide else top
    return values[-rank:], basis.to(rows.dtype), values[:-rank]


def _strength(squares: Tensor) -> Tensor:
    return (squares + (squares.square() + 4 * squares).sqrt()) / 2
