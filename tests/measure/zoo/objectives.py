"""Losses that people bring from other tasks: by name, by class, as a closure, or from numpy."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.measure.zoo import CROSS_ENTROPY, ZOO, Built, classes, near, seeded

KIND = "objectives"
X, Y = classes()
WAVE = torch.stack([X[:, 0].sin(), X[:, 1].cos(), X[:, 2]], dim=1)
W = torch.tensor([1.0, 2.0, 0.5])
PER_SAMPLE = torch.linspace(0.1, 2.0, 64)


def small(outputs: int = 3) -> Any:
    """Return a small stack of layers."""
    return seeded(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, outputs)))


def last(*layers: nn.Module) -> Any:
    """Return a small stack that ends in some layers."""
    return seeded(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3), *layers))


def single(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of each sample."""
    return functional.cross_entropy(outputs, targets, reduction="none")


MODULES: dict[str, tuple[Callable[[], Any], nn.Module, Tensor]] = {
    "NLLLoss with class weights": (lambda: last(nn.LogSoftmax(dim=1)), nn.NLLLoss(weight=W), Y),
    "L1Loss over three outputs": (small, nn.L1Loss(), WAVE),
    "SmoothL1Loss": (small, nn.SmoothL1Loss(beta=0.3), WAVE),
    "PoissonNLLLoss": (small, nn.PoissonNLLLoss(), WAVE.abs()),
    "MultiMarginLoss": (small, nn.MultiMarginLoss(), Y),
    "MultiLabelSoftMarginLoss": (small, nn.MultiLabelSoftMarginLoss(), (WAVE > 0).float()),
    "SoftMarginLoss with labels of -1 and 1": (small, nn.SoftMarginLoss(), WAVE.sign()),
    "BCELoss after a sigmoid": (lambda: last(nn.Sigmoid()), nn.BCELoss(), (WAVE > 0).float()),
    "BCEWithLogitsLoss with a weight for each output": (small, nn.BCEWithLogitsLoss(weight=W), (WAVE > 0).float()),
    "class weights, smoothing and an ignored class": (
        small, nn.CrossEntropyLoss(weight=W, label_smoothing=0.2, ignore_index=2), Y,
    ),
    "class weights with probabilities as targets": (small, nn.CrossEntropyLoss(weight=W), WAVE.softmax(dim=1)),
}  # fmt: skip
for name, (build, loss, targets) in MODULES.items():
    ZOO.measured(KIND, name)(lambda build=build, loss=loss, targets=targets: near(build(), loss, (X, targets)))


class Focal:
    """A focal loss as an object that is called."""

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma

    def __call__(self, input: Tensor, target: Tensor) -> Tensor:
        log_p = input.log_softmax(dim=1).gather(1, target[:, None])[:, 0]
        return -((1 - log_p.exp()) ** self.gamma) * log_p


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "a functools.partial of cross_entropy": functools.partial(functional.cross_entropy, reduction="none"),
    "a focal loss that is an object": Focal(2.0),
    "a loss of two heads": lambda o, t: single(o, t) + 0.1 * o.square().sum(dim=1),
    "a margin by boolean masks": lambda o, t: (
        o[functional.one_hot(t, 3) == 0].view(-1, 2).amax(1) - o.gather(1, t[:, None])[:, 0] + 1
    ).relu(),
    "losses of some samples below 0": lambda o, t: single(o, t) - 0.9,
    "losses of float64 from float32 outputs": lambda o, t: single(o.double(), t),
    "losses computed without gradients": torch.no_grad()(single),
    "one loss in a column for each sample": lambda o, t: single(o, t)[:, None],
}
for name, function in FUNCTIONS.items():
    ZOO.measured(KIND, name)(lambda function=function: near(small(), function, classes()))


REFUSED: dict[str, tuple[Callable[[], Any], Any, Tensor, str]] = {
    "a summed loss": (small, nn.CrossEntropyLoss(reduction="sum"), Y, "got 'sum'"),
    "a weight for each sample inside a loss module": (
        small, nn.BCEWithLogitsLoss(weight=PER_SAMPLE[:, None]), (WAVE > 0).float(),
        "mean of the samples|same loss twice|run on",
    ),
    "a weight for each sample inside a function": (
        small, lambda o, t: PER_SAMPLE[: len(o)] * single(o, t), Y, "same loss twice|run on|order",
    ),
    "a function of (N, 1) and (N,) that broadcasts": (
        functools.partial(small, 1), lambda o, t: (o - t) ** 2, WAVE[:, 0], "same loss twice|shape",
    ),
    "a contrastive loss among the samples of a batch": (
        small, lambda o, t: single(functional.normalize(o) @ functional.normalize(o).T, torch.arange(len(o))), Y,
        "same loss twice",
    ),
    "a loss in numpy": (small, lambda o, t: ((o.numpy() - 1) ** 2).mean(axis=1), Y, "one loss per sample"),
    "a list of losses": (small, lambda o, t: [float(v) for v in single(o, t)], Y, "one loss per sample"),
    "targets of float for cross-entropy": (small, CROSS_ENTROPY, Y.float(), "run on the data"),
    "targets of one column for cross-entropy": (small, CROSS_ENTROPY, Y[:, None], "run on the data"),
    "whole numbers of one row per class": (small, CROSS_ENTROPY, functional.one_hot(Y, 3), "run on the data"),
    "a loss that is infinite at the minimum": (small, lambda o, t: single(o, t) / 0, Y, "finite losses"),
    "a loss with a string for its reduction": (small, functools.partial(functional.cross_entropy, reduction="sum"), Y,
                                               "one loss per sample"),
    "a targetless loss": (small, lambda o: o.square().sum(1), Y, "run on the data"),
}  # fmt: skip
for name, (build, loss, targets, sentence) in REFUSED.items():
    ZOO.refused(KIND, name, sentence)(
        lambda build=build, loss=loss, targets=targets: (build(), loss, (X, targets), {"threshold": 9.0})
    )


# --- closures ---------------------------------------------------------------------------------------------------------


def _double(batch: Any) -> Any:
    """Return a batch with real numbers in float64."""
    return tuple(part.double() if part.is_floating_point() else part for part in batch)


def closure(
    name: str, build: Callable[[], Any], function: Callable[[Any, Any], Any], batch: Any, factor: float = 1.2
) -> None:
    """Register a closure that is measured right over one batch."""

    def height(model: nn.Module) -> Tensor:
        values: Tensor = function(model, _double(batch))
        return values.mean()

    @ZOO.measured(KIND, name, height=height)
    def made() -> Built:
        model = build()
        with torch.no_grad():
            at = float(height(build().double()))
        return model, function, batch, {"threshold": factor * at}


NOISE = torch.randn(64, 6, generator=torch.Generator().manual_seed(9))
OTHER = X.roll(1, dims=0)

closure("a closure of GaussianNLLLoss, which takes three arguments", functools.partial(small, 2), lambda m, b:
        nn.GaussianNLLLoss(reduction="none")(m(b[0])[:, 0], b[1], m(b[0])[:, 1].exp()) + 1.0, (X, WAVE[:, 0]))  # fmt: skip
closure("a closure of TripletMarginLoss", small, lambda m, b: nn.TripletMarginLoss(reduction="none")(*map(m, b)), (X, X + 0.1 * NOISE, OTHER))  # noqa: E501 # fmt: skip
closure("a closure of CosineEmbeddingLoss", small, lambda m, b: functional.cosine_embedding_loss(
    m(b[0]), m(b[1]), b[2], reduction="none"), (X, OTHER, Y.clamp_max(1) * 2 - 1))  # fmt: skip
closure("a closure of a contrastive loss over one batch", small, lambda m, b: single(
    functional.normalize(m(b[0])) @ functional.normalize(m(b[1])).T / 0.5, torch.arange(64)), (X, X + 0.1 * NOISE), 1.01,
)  # fmt: skip
closure("a closure of distillation from a frozen teacher", small, lambda m, b: functional.kl_div(
    m(b[0]).log_softmax(1), b[1].softmax(1), reduction="none").sum(dim=1), (X, WAVE))  # fmt: skip
closure("a closure of a denoiser with fixed noise", functools.partial(small, 6), lambda m, b:
        (m(b[0] + b[1]) - b[1]).square().mean(dim=1), (X, NOISE))  # fmt: skip
closure("a closure of two steps of a rollout", functools.partial(small, 6), lambda m, b:
        (m(m(b[0])) - b[1]).square().mean(dim=1), (X, OTHER))  # fmt: skip
closure("a closure with a penalty of the gradient in the inputs", functools.partial(small, 1), lambda m, b: (
    m(b[0])[:, 0].square() + torch.func.vmap(torch.func.grad(lambda x: m(x).sum()))(b[0]).square().sum(dim=1)), (X,),
)  # fmt: skip


def _ctc(model: Any, batch: Any) -> Tensor:
    inputs, targets, lengths = batch
    steps = model(inputs.unflatten(1, (6, 1)).expand(-1, -1, 6)).log_softmax(dim=2).transpose(0, 1)
    return functional.ctc_loss(steps, targets, torch.full((len(inputs),), 6), lengths, reduction="none")


closure("a closure of CTC", small, _ctc, (X, torch.stack([Y % 2 + 1, Y.flip(0) % 2 + 1], 1), 1 + Y % 2))


def _dice(model: Any, batch: Any) -> Tensor:
    p, wanted = model(batch[0]).sigmoid(), batch[1]
    return 1 - (2 * (p * wanted).sum(dim=1) + 1) / ((p + wanted).sum(dim=1) + 1)


closure("a closure of a dice loss of each sample", small, _dice, (X, (WAVE > 0).float()), 1.1)
