"""Mass matrices: the identity plus a diagonal or a matrix of low rank."""

from dataclasses import dataclass

from torch import Tensor

from minima_volume.networks.low_rank import IdentityPlusLowRank, leading_eigenvectors


@dataclass(frozen=True)
class MassMatrix:
    """The symmetric positive matrix I + V·diag(d)·Vᵀ, or I + diag(d) if there is no basis.

    Attributes:
        strengths: d (r,) > −1, or (n,) without a basis.
        basis: V (n, r) with orthonormal columns.
    """

    strengths: Tensor
    basis: Tensor | None = None

    def power(self, vectors: Tensor, exponent: float) -> Tensor:
        """Return the matrix to the given power times each row of `vectors` (k, n)."""
        return IdentityPlusLowRank((1 + self.strengths) ** exponent, self.basis).apply(vectors)

    def scaled(self, factor: float) -> "MassMatrix":
        """Return I + factor·V·diag(d)·Vᵀ."""
        return MassMatrix(factor * self.strengths, self.basis)

    @classmethod
    def of_gradients(cls, gradients: Tensor, rank: int | None) -> "MassMatrix":
        """Estimate the precision of a density relative to a standard Gaussian from gradients of the remaining energy.

        Along an axis on which the density is Gaussian with precision 1 + d, the gradient g = d·z has E[g²] = d²/(1 + d).
        This is solved for d along the coordinates, or along the leading principal axes of the gradients. With axes, the
        mean of E[g²] over the other axes counts as noise and is subtracted.

        Args:
            gradients: g (m, n) at draws of the density.
            rank: Number of principal axes; None for the coordinates.
        """
        if rank is None:
            return cls(_strength(gradients.square().mean(dim=0)))
        values, basis, rest = leading_eigenvectors(gradients, rank)
        noise = rest.mean() if len(rest) else 0.0
        squares = ((values - noise) / len(gradients)).clamp_min(0)
        return cls(_strength(squares).to(gradients.dtype), basis)


def _strength(squares: Tensor) -> Tensor:
    """Return the d ≥ 0 with d²/(1 + d) = E[g²]."""
    return (squares + (squares.square() + 4 * squares).sqrt()) / 2
