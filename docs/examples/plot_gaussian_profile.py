"""
A Gaussian profile
==================

The volume of a basin in many dimensions depends on a few long rays that a sample of directions misses. The Gaussian
local volume :math:`γ_σ`, the probability that a Gaussian step of width σ stays in the basin, has no such problem
while σ is small. This example compares the two as functions of the number of directions.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.special import gammainc
from torch import nn

from minima_volume import measure_volume

torch.manual_seed(0)
torch.set_num_threads(1)
inputs = torch.randn(100, 4)
targets = (inputs.square().sum(dim=1) > 3.4).long()
model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
adam = torch.optim.Adam(model.parameters(), 0.003)
for _ in range(600):
    adam.zero_grad()
    nn.functional.cross_entropy(model(inputs), targets).backward()
    adam.step()

# %%
# ``sigmas`` takes widths in units of filter norms. Without it, 13 widths around the typical radius divided by √n
# are used.
sigmas = np.geomspace(0.01, 0.3, 15)
loss = nn.CrossEntropyLoss()
found = measure_volume(model, loss, (inputs, targets), threshold=0.1, n_directions=800, sigmas=sigmas)
points = found.profile.points
for p in points[::2]:
    print(f"σ = {p.sigma:.3f}: ln γ = {p.log_gamma:9.3f} ± {p.log_gamma_se:.3f} nats, {p.verdict.word}")

# %%
# Both estimates from the first k directions, in random order, twenty times. ln E[rⁿ] keeps rising with k; at the
# widest σ that calls itself ``converged`` ln γ settles. The radii are in ``found.log_radii``, so this costs no
# further ray.
sigma = max(point.sigma for point in points if point.verdict.word == "converged")
log_powers = found.n_params * found.log_radii
inside = gammainc(0.5 * found.n_params, 0.5 * (np.exp(found.log_radii) / sigma) ** 2)
counts, draw = np.array([10, 25, 50, 100, 200, 400, 800]), np.random.default_rng(0)
orders = [draw.permutation(len(log_powers)) for _ in range(20)]


def log_mean_exp(values: np.ndarray) -> float:
    """ln of the mean of exp(values) without overflow."""
    return float(values.max() + np.log(np.exp(values - values.max()).mean()))


volumes = np.array([[log_mean_exp(log_powers[order[:k]]) for k in counts] for order in orders])
gammas = np.array([[np.log(inside[order[:k]].mean()) for k in counts] for order in orders])

# %%
# Left: you should see the curves rise without an end. Middle: beyond some hundred directions they narrow around one
# value. It would be wrong if they went on rising there. Right: the whole profile.
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(9, 3.1), layout="constrained")
for axes, values in ((left, volumes), (middle, gammas)):
    axes.plot(counts, values.T, color="0.75", lw=0.8)
    axes.plot(counts, values.mean(axis=0), color="#0072B2", lw=2)
    axes.set(xscale="log", xlabel="directions")
left.set_ylabel("ln E[rⁿ] (nats)")
middle.set_ylabel(f"ln γ at σ = {sigma:.3f} (nats)")
for point in points:
    face = "#0072B2" if point.verdict.word == "converged" else "white"
    right.errorbar(point.sigma, point.log_gamma, point.log_gamma_se, fmt="o", color="#0072B2", mfc=face)
right.set_yscale("symlog", linthresh=0.1)
right.set(xscale="log", xlabel="σ (filter norms)", ylabel="ln γ (nats)", title="filled: converged")
plt.show()
