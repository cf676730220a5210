"""
Which of two minima is larger?
==============================

Two minima that are measured along the same directions have correlated estimates. The paired bootstrap resamples the
directions, the same ones for both, so the error of the difference takes the correlation into account.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from minima_volume import compare, measure_volume

torch.manual_seed(0)
torch.set_num_threads(1)
inputs = torch.randn(200, 2)
clean = (inputs[:, 0] * inputs[:, 1] > 0).long()
mislabelled = clean.clone()
mislabelled[40:80] = 1 - mislabelled[40:80]  # the first 40 samples keep their labels
start = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))


def train(n_samples: int, targets: torch.Tensor) -> nn.Module:
    """The same initial network trained on the first samples."""
    model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    model.load_state_dict(start.state_dict())
    adam = torch.optim.Adam(model.parameters(), 0.003)
    for _ in range(1500):
        adam.zero_grad()
        nn.functional.cross_entropy(model(inputs[:n_samples]), targets[:n_samples]).backward()
        adam.step()
    return model


# %%
# One network sees 40 clean samples, the other these and 40 mislabelled ones. Both are measured in the landscape of
# the 40 clean samples, along the same directions, because the seed is the same.
landscape = inputs[:40], clean[:40]
loss, options = nn.CrossEntropyLoss(), {"threshold": 0.1, "n_directions": 400, "sigmas": (0.02,)}
few = measure_volume(train(40, mislabelled), loss, landscape, **options)
poisoned = measure_volume(train(80, mislabelled), loss, landscape, **options)
for name, volume in (("clean", few.volume), ("mislabelled", poisoned.volume)):
    typical, error = volume.typical_log_volume, volume.typical_log_volume_se
    print(f"{name:12} typical volume {typical:8.1f} ± {error:.1f} nats")

# %%
# Resample the directions, the same ones for both minima, and look at the difference.
found = compare(few, poisoned, statistic="typical")
apart = np.hypot(few.volume.typical_log_volume_se, poisoned.volume.typical_log_volume_se)
print(f"clean − mislabelled: {found.difference:.1f} ± {found.error:.1f} nats")
print(f"if the two were independent, the error would be {apart:.1f} nats")
print(f"the clean minimum is larger in {found.probability:.1%} of the resamples")

# %%
# You should see the points below the diagonal: almost every direction finds a smaller radius around the minimum
# that was trained on mislabelled samples. It would be wrong if the cloud straddled the diagonal while the
# difference claims many errors.
n = few.n_params
figure, axes = plt.subplots(figsize=(4.2, 4), layout="constrained")
axes.plot(n * few.log_radii, n * poisoned.log_radii, "o", ms=3, alpha=0.4, color="#0072B2")
both = n * np.concatenate([few.log_radii, poisoned.log_radii])
ends = [both.min(), both.max()]
axes.plot(ends, ends, color="0.6", lw=1)
axes.set(xlabel="clean: n ln r (nats)", ylabel="mislabelled: n ln r (nats)", aspect="equal")
plt.show()
