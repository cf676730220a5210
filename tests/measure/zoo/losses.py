"""Loss functions, weights, targets and closures as people write them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.measure.zoo import CROSS_ENTROPY, ZOO, Built, classes, near, seeded

KIND = "losses"
SINGLE: Callable[..., Tensor] = lambda outputs, targets: functional.cross_entropy(outputs, targets, reduction="none")  # noqa: E731


def small(outputs: int = 3) -> Any:
    """Return a small stack of layers."""
    return seeded(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, outputs)))


@ZOO.refused(
    KIND, "a loss that reads the model's parameters for a penalty", "depends on the model only through its arguments"
)
def penalty_outside() -> Built:
    model = small()
    return near(model, lambda o, t: SINGLE(o, t) + 0.05 * sum((p**2).sum() for p in model.parameters()), classes())


def _penalised(model: nn.Module, batch: Any) -> Tensor:
    return SINGLE(model(batch[0]), batch[1]) + 0.05 * sum((p**2).sum() for p in model.parameters())


@ZOO.measured(KIND, "the same penalty in a closure", height=lambda model: _penalised(model, double(classes())).mean())
def penalty_in_a_closure() -> Built:
    model = small()
    at = float(_penalised(model, classes()).mean().detach())
    return model, _penalised, classes(), {"threshold": 1.2 * at}


def double(data: Any) -> Any:
    """Return tensors with real numbers in float64."""
    return tuple(part.double() if part.is_floating_point() else part for part in data)


@ZOO.measured(KIND, "class weights in float32 and no reduction")
def weights_without_reduction() -> Built:
    w = torch.tensor([1.0, 2.0, 0.5])
    return near(small(), lambda o, t: functional.cross_entropy(o, t, weight=w.to(o.dtype), reduction="none"), classes())


W = torch.tensor([1.0, 2.0, 0.5])


@ZOO.measured(
    KIND,
    "class weights of float32 against float64 outputs",
    height=lambda m: functional.cross_entropy(
        m(double(classes())[0]), classes()[1], weight=W.double(), reduction="none"
    ).mean(),
)
def float32_weights() -> Built:
    return (
        small(),
        lambda o, t: functional.cross_entropy(o, t, weight=W, reduction="none"),
        classes(),
        {"threshold": 6.0},
    )


@ZOO.measured(KIND, "CrossEntropyLoss with class weights")
def weighing_module() -> Built:
    return near(small(), nn.CrossEntropyLoss(weight=W), classes())


@ZOO.measured(KIND, "CrossEntropyLoss that ignores targets")
def ignoring_module() -> Built:
    x, y = classes()
    return near(small(), CROSS_ENTROPY, (x, torch.where(torch.arange(64) % 3 == 0, -100, y)))


@ZOO.measured(KIND, "ignored targets that dilute a mean", note="targets are -100")
def diluted() -> Built:
    x, y = classes()
    return near(small(), SINGLE, (x, torch.where(torch.arange(64) % 3 == 0, -100, y)))


@ZOO.measured(KIND, "label smoothing")
def smoothing() -> Built:
    return near(small(), nn.CrossEntropyLoss(label_smoothing=0.1), classes())


@ZOO.measured(KIND, "class probabilities as targets")
def probabilities() -> Built:
    return near(small(), CROSS_ENTROPY, (classes()[0], functional.one_hot(classes()[1], 3).float()))


@ZOO.measured(KIND, "BCEWithLogitsLoss with pos_weight and a column of targets")
def binary() -> Built:
    x, y = classes()
    return near(small(1), nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0)), (x, (y > 1).float()[:, None]))


@ZOO.measured(KIND, "one_hot(...).float() in the loss")
def one_hot() -> Built:
    return near(small(), lambda o, t: (o - functional.one_hot(t, 3).float()).square().mean(dim=1), classes())


@ZOO.measured(KIND, "HuberLoss")
def huber() -> Built:
    x, _ = classes()
    return near(small(1), nn.HuberLoss(), (x, x[:, :1].sin()))


@ZOO.measured(KIND, "KLDivLoss with log targets")
def divergence() -> Built:
    x, _ = classes()
    model = seeded(nn.Sequential(nn.Linear(6, 3), nn.LogSoftmax(dim=1)))
    return near(model, nn.KLDivLoss(reduction="none", log_target=True), (x, (2 * x[:, :3]).log_softmax(dim=1)))


@ZOO.refused(KIND, "GaussianNLLLoss, which takes three arguments", "run on the data, got TypeError")
def three_arguments() -> Built:
    x, _ = classes()
    return small(1), nn.GaussianNLLLoss(), (x, x[:, :1]), {"threshold": 1.0}


@ZOO.refused(KIND, "reduction='batchmean'", "reduction 'mean' or 'none', got 'batchmean'")
def batchmean() -> Built:
    x, _ = classes()
    return small(), nn.KLDivLoss(reduction="batchmean"), (x, x[:, :3].softmax(1)), {"threshold": 1.0}


@ZOO.refused(KIND, "a loss class", r"got the class CrossEntropyLoss: pass CrossEntropyLoss\(\)")
def loss_class() -> Built:
    return small(), nn.CrossEntropyLoss, classes(), {"threshold": 1.0}


@ZOO.refused(KIND, "outputs (N, 1) against targets (N,)", "outputs and targets the same shape")
def broadcast() -> Built:
    x, _ = classes()
    return small(1), nn.MSELoss(), (x, x[:, 0].sin()), {"threshold": 1.0}


@ZOO.refused(KIND, "a loss that is averaged", "one loss per sample")
def averaged() -> Built:
    return small(), functional.cross_entropy, classes(), {"threshold": 1.0}


@ZOO.refused(KIND, "a closure that returns one number", "one loss per sample")
def averaged_closure() -> Built:
    return small(), lambda model, b: functional.cross_entropy(model(b[0]), b[1]), [*[classes()] * 2], {"threshold": 1.0}


@ZOO.refused(KIND, "weights of another shape in a closure", r"weights shaped \(64,\)")
def wrong_weights() -> Built:
    return small(), lambda model, b: (SINGLE(model(b[0]), b[1]), torch.ones(64, 1)), classes(), {"threshold": 1.0}


@ZOO.refused(KIND, "a closure whose weights are all 0", "a weight above 0")
def no_weights() -> Built:
    return small(), lambda model, b: (SINGLE(model(b[0]), b[1]), torch.zeros(64)), classes(), {"threshold": 1.0}


@ZOO.refused(KIND, "a closure with preconditioner='curvature'", "got a closure or ragged batches")
def curvature_of_a_closure() -> Built:
    return small(), _penalised, classes(), {"threshold": 9.0, "preconditioner": "curvature"}


class Doubled(nn.MSELoss):
    """Doubles what it averages."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return super().forward(outputs, targets) * (2 if self.reduction == "mean" else 1)


@ZOO.refused(KIND, "a loss module whose mean is not that of its losses", "to be the mean of the samples' losses")
def doubled() -> Built:
    return small(), Doubled(), (classes()[0], classes()[0][:, :3]), {"threshold": 9.0}


@ZOO.refused(KIND, "a loss below 0", "at least 0")
def negative() -> Built:
    return small(), lambda o, t: SINGLE(o, t) - 10, classes(), {"threshold": 1.0}


class VAE(nn.Module):
    """Keeps the mean and the log-variance of its code for the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(6, 4), nn.Linear(2, 6)

    def forward(self, x: Tensor) -> Tensor:
        self.mu, self.logvar = self.encode(x).chunk(2, dim=1)
        return self.decode(self.mu)


def _elbo(model: nn.Module, batch: Any) -> Tensor:
    out = model(batch[0])
    prior = 0.5 * (model.mu**2 + model.logvar.exp() - model.logvar - 1).sum(dim=1)
    return (out - batch[0]).square().sum(dim=1) + prior


@ZOO.refused(KIND, "a VAE's loss that reads model.mu", "depends on the model only through its arguments")
def vae_outside() -> Built:
    model = seeded(VAE())
    with torch.no_grad():
        model(classes()[0])
    x = classes()[0]
    return model, lambda o, t: (o - t).square().sum(dim=1) + model.mu.square().sum(dim=1), (x, x), {"threshold": 99.0}


@ZOO.measured(KIND, "a VAE in a closure", height=lambda model: _elbo(model, double(classes())).mean())
def vae_in_a_closure() -> Built:
    model = seeded(VAE())
    with torch.no_grad():
        at = float(_elbo(model, classes()).mean())
    return model, _elbo, classes(), {"threshold": 1.3 * at}


def _weighted(model: nn.Module, batch: Any) -> Any:
    return SINGLE(model(batch["x"]), batch["y"]), batch["weight"]


def _weighted_mean(model: nn.Module) -> Tensor:
    x, y = classes()
    weight = torch.linspace(0, 2, 64).double()
    return (SINGLE(model(x.double()), y) * weight).sum() / weight.sum()


@ZOO.measured(KIND, "a closure with weights over batches of dictionaries", height=_weighted_mean)
def weights_in_a_closure() -> Built:
    x, y = classes()
    whole = {"x": x, "y": y, "weight": torch.linspace(0, 2, 64)}
    batches = [{name: value[i : i + 24] for name, value in whole.items()} for i in range(0, 64, 24)]
    return small(), _weighted, batches, {"threshold": 3.0}


def _token_mean(model: nn.Module, batch: Any) -> Any:
    losses = functional.cross_entropy(model(batch[0]).transpose(1, 2), batch[1], reduction="none")
    return losses, (batch[1] != -100).float()


def _tokens() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(4)
    x, y = torch.randint(7, (20, 5), generator=draw), torch.randint(7, (20, 5), generator=draw)
    return x, torch.where(torch.arange(5) > torch.arange(20)[:, None] % 5, -100, y)


@ZOO.measured(
    KIND,
    "padded tokens with weights in a closure",
    height=lambda m: functional.cross_entropy(m(_tokens()[0]).transpose(1, 2), _tokens()[1]),
)
def padded_tokens() -> Built:
    return seeded(nn.Sequential(nn.Embedding(7, 6), nn.Linear(6, 7))), _token_mean, _tokens(), {"threshold": 3.5}


@ZOO.measured(
    KIND, "segmentation with ignored pixels", height=lambda m: CROSS_ENTROPY(m(_pixels()[0].double()), _pixels()[1])
)
def segmentation() -> Built:
    return seeded(nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1))), CROSS_ENTROPY, _pixels(), {
        "threshold": 3.0
    }  # fmt: skip


def _pixels() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    y = torch.randint(3, (6, 5, 5), generator=draw)
    return torch.randn(6, 2, 5, 5, generator=draw), torch.where(torch.arange(5) == 0, -100, y)
