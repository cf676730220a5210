"""The identity plus a low-rank matrix against dense matrices, and eigenvectors of rows against their Gram matrix."""

import pytest
import torch

from minima_volume.networks.directions import generator
from minima_volume.networks.low_rank import IdentityPlusLowRank, leading_eigenvectors


def test_product_is_that_of_the_dense_matrix() -> None:
    draw = generator("low rank")
    basis = torch.linalg.qr(torch.randn(7, 3, generator=draw, dtype=torch.float64)).Q
    eigenvalues = torch.tensor([0.2, 1.0, 9.0], dtype=torch.float64)
    vectors = torch.randn(5, 7, generator=draw, dtype=torch.float64)
    dense = torch.eye(7).double() + basis @ torch.diag(eigenvalues - 1) @ basis.T
    torch.testing.assert_close(IdentityPlusLowRank(eigenvalues, basis).apply(vectors), vectors @ dense)
    assert torch.equal(IdentityPlusLowRank(eigenvalues[:0], basis[:, :0]).apply(vectors), vectors)
    torch.testing.assert_close(
        IdentityPlusLowRank(torch.arange(7).double()).apply(vectors), vectors @ torch.diag(torch.arange(7).double())
    )


@pytest.mark.parametrize("shape", [(4, 9), (9, 4)], ids=["wide", "tall"])
def test_leading_eigenvectors_of_rows(shape: tuple[int, int]) -> None:
    rows = torch.randn(shape, generator=generator("rows", *shape), dtype=torch.float64)
    values, basis, rest = leading_eigenvectors(rows, 2)
    gram = rows.T @ rows
    torch.testing.assert_close(gram @ basis, basis * values)
    torch.testing.assert_close(basis.T @ basis, torch.eye(2).double())
    assert rest.max() < values.min() and float(rest.sum() + values.sum()) == pytest.approx(float(gram.trace()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_repeated_rows_give_no_more_eigenvectors_than_there_are_different_rows(dtype: torch.dtype) -> None:
    rows = torch.randn(3, 400, generator=generator("repeated"), dtype=torch.float64).to(dtype).repeat(20, 1)
    values, basis, rest = leading_eigenvectors(rows, 10)
    assert basis.shape == (400, 3) and values.shape == (3,) and len(rest) == 57
    torch.testing.assert_close(basis.T @ basis, torch.eye(3, dtype=dtype), atol=1e-4, rtol=0)
    assert leading_eigenvectors(torch.zeros(4, 9, dtype=dtype), 2)[1].shape == (9, 0)
