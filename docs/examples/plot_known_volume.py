"""
A body of known volume
======================

A module whose loss is :math:`\\tfrac{1}{2} \\sum_i h_i u_i^2` has an ellipsoid as basin, so the volume is known exactly.
This example measures ellipsoids of growing dimension through the public function and shows where rays stop being
reliable.

With threshold τ the semi-axes are :math:`a_i = \\sqrt{2τ/h_i}`. A uniformly random direction gives :math:`E[r^n] =
\\prod_i a_i`, so the exact value of :math:`\\ln E[r^n]` is :math:`\\sum_i \\ln a_i`.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

from minima_volume import measure_volume


class Ellipsoid(nn.Module):
    """A "network" whose output is the height of a quadratic bowl, whatever the input is."""

    def __init__(self, curvatures: torch.Tensor) -> None:
        super().__init__()
        self.u = nn.Parameter(torch.zeros(len(curvatures)))
        self.register_buffer("curvatures", curvatures)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return (0.5 * (self.curvatures * self.u**2).sum()).expand(len(inputs), 1)


def height(outputs: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """One loss per sample: the output itself."""
    return outputs[:, 0]


# %%
# The curvatures are lognormal with a spread of 0.5. The threshold keeps every ray inside the cap :math:`c \le 1`,
# the largest step along a ray. ``normalise=False`` measures in raw coordinates, in which the exact value is known.
threshold = 0.005
data = torch.zeros(1, 1), torch.zeros(1, 1)
dimensions, errors, standard_errors, words = (3, 10, 30, 100, 300, 1000), [], [], []
for n in dimensions:
    curvatures = torch.exp(0.5 * torch.randn(n, generator=torch.Generator().manual_seed(n)))
    # Divided by n, so that the average ray crosses at the same c in every dimension.
    body = Ellipsoid(curvatures / n)
    found = measure_volume(body, height, data, threshold=threshold, normalise=False, sigmas=(0.05,))
    exact = float(0.5 * (2 * threshold * n / curvatures).log().sum())
    errors.append(found.log_volume - exact)
    standard_errors.append(found.log_volume_se)
    words.append(found.verdict.word)
    print(f"n = {n:5}: {errors[-1]:+8.2f} ± {found.log_volume_se:.2f} nats, {words[-1]}")

# %%
# You should see filled points on the line of zero error, and hollow points, which call themselves
# ``max-dominated``, below it: 500 directions miss the rare long axes of a body in many dimensions. It would be
# wrong if a filled point left the line by more than three of its errors.
figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
axes.axhline(0, color="0.6", lw=1)
for n, error, se, word in zip(dimensions, errors, standard_errors, words, strict=True):
    axes.errorbar(n, error, se, fmt="o", color="#0072B2", mfc="#0072B2" if word == "converged" else "white")
axes.set(xscale="log", xlabel="dimension n", ylabel="measured − exact ln E[rⁿ] (nats)")
plt.show()
