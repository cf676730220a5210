"""ln γ of users' models by draws and chains against closed forms."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch import Tensor, nn

from minima_volume import local_volume
from minima_volume.errors import UserError


def quadratic(n: int) -> tuple[nn.Module, Any, Any]:
    """Return a model whose loss is ‖w‖²/n, with its loss and data."""
    model = nn.Linear(n, 1, bias=False).eval()
    nn.init.zeros_(model.weight)
    return model, nn.MSELoss(), (torch.eye(n), torch.zeros(n, 1))


def closure(model: nn.Module, batch: Any) -> Tensor:
    return (model(batch[0]) - batch[1]).square()[:, 0]


@pytest.mark.parametrize("form", ["pairs", "closure"])
def test_draws_against_chi_squared(form: str) -> None:
    model, loss, data = quadratic(10)
    widths = [0.1, 0.15, 0.2]
    found = local_volume(
        model, loss if form == "pairs" else closure, data, threshold=0.02, sigmas=widths, normalise=False
    )
    wanted = [math.log(chi2.cdf(10 * 0.02 / width**2, 10)) for width in widths]
    assert set(found.status) == {"ok"}
    assert (np.abs(found.log_gamma - wanted) < 4 * found.error()).all()
    # 2,000 draws tell a share of a half to 2.2 %.
    assert (found.error() < 0.2).all()
    assert "ln γ" in str(found)


def test_a_width_that_draws_do_not_reach_is_sampled_by_a_chain() -> None:
    model, loss, data = quadratic(20)
    found = local_volume(model, loss, data, threshold=0.02, sigmas=[0.1, 0.3], n_draws=400, normalise=False)
    wanted = [math.log(chi2.cdf(20 * 0.02 / width**2, 20)) for width in (0.1, 0.3)]
    assert wanted[1] < -9, "no draw lies inside"
    assert found.status == ("ok", "ok")
    assert (np.abs(found.log_gamma - wanted) < 4 * found.error()).all()


def test_a_closure_beyond_the_reach_of_draws_says_so() -> None:
    model, _, data = quadratic(20)
    found = local_volume(model, closure, data, threshold=0.02, sigmas=[0.3], n_draws=400, normalise=False)
    assert found.status == ("thin",) and found.log_gamma[0] == -math.inf


def test_a_minimum_above_the_threshold_is_refused() -> None:
    model, loss, data = quadratic(3)
    with pytest.raises(UserError, match="within the threshold"):
        local_volume(model, loss, (data[0], data[1] + 9), threshold=0.02, sigmas=[0.3])
    with pytest.raises(UserError, match="sigmas as a sequence of widths above 0, got None"):
        local_volume(model, loss, data, threshold=0.02, sigmas=None)


def test_a_width_at_which_no_draw_is_lost_has_a_bound_and_no_error_of_zero() -> None:
    model, loss, data = quadratic(10)
    found = local_volume(model, loss, data, threshold=0.02, sigmas=[0.01], n_draws=400, normalise=False)
    assert found.log_gamma[0] == 0
    # None of 400 lost: the share lost may be 3/400 at 95 %, two errors.
    assert 2 * found.error()[0] == pytest.approx(3 / 400)
