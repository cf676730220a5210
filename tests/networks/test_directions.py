"""Random directions: independent of the order of work, and Gaussian."""

import math

import pytest
import torch

from minima_volume.networks.directions import direction_norms, draw_directions, generator


def test_rows_do_not_depend_on_their_block() -> None:
    whole = draw_directions(3, range(12), 500)
    for indices in ([7], [11, 0, 5], range(4, 9), [5, 5]):
        assert torch.equal(draw_directions(3, indices, 500), whole[list(indices)])


def test_rows_and_seeds_differ() -> None:
    block = torch.cat([draw_directions(seed, range(20), 50) for seed in (0, 1)])
    assert len({tuple(row.tolist()) for row in block}) == 40
    # Keys are separated: seed 1, row 12 is not seed 11, row 2.
    assert not torch.equal(draw_directions(1, [12], 8), draw_directions(11, [2], 8))


def test_the_global_generator_is_neither_used_nor_changed() -> None:
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = draw_directions(0, [4], 100)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(draw_directions(0, [4], 100), first)


def test_directions_do_not_depend_on_the_default_precision() -> None:
    first = draw_directions(0, [4], 100)
    torch.set_default_dtype(torch.float64)
    try:
        again = draw_directions(0, [4], 100)
    finally:
        torch.set_default_dtype(torch.float32)
    assert again.dtype == torch.float32 and torch.equal(again, first)


def test_moments_of_a_standard_gaussian() -> None:
    g = draw_directions(0, range(100), 10_000).double()
    n = g.numel()
    # Standard errors of the first four moments of N(0, 1): √(1/N), √(2/N), √(15/N), √(96/N); four of each.
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert g.pow(power).mean().item() == pytest.approx(expected, abs=4 * math.sqrt(variance / n))
    # Neighbouring rows are independent: correlations of 10⁴ products, 99 of them, largest below four errors.
    assert ((g[1:] * g[:-1]).mean(dim=1).abs() < 4 / math.sqrt(10_000)).all()


def test_norms_in_double_precision() -> None:
    block = draw_directions(0, range(3), 300_000)
    expected = [math.sqrt(math.fsum(x * x for x in row.double().tolist())) for row in block]
    assert direction_norms(block).dtype == torch.float64
    # Float32 sums of 3·10⁵ squares would be off by 10⁻⁶; n·ln r needs 10⁻³/n = 3·10⁻⁹.
    assert direction_norms(block).tolist() == pytest.approx(expected, rel=1e-12)


def test_generator_is_a_function_of_its_key() -> None:
    assert torch.equal(
        torch.randn(5, generator=generator("order", 1, 2)), torch.randn(5, generator=generator("order", 1, 2))
    )
    assert not torch.equal(
        torch.randn(5, generator=generator("order", 1, 2)), torch.randn(5, generator=generator("order", 2, 1))
    )
