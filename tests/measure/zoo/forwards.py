"""What people do inside forward."""

import functools
import threading
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from tests.measure.zoo import CROSS_ENTROPY, ZOO, Built, classes, near, seeded

KIND = "forward"


def pair(model: nn.Module, n: int = 64, **options: Any) -> Built:
    """Return a classifier with its data."""
    return near(seeded(model), CROSS_ENTROPY, classes(n), **options)


class Wrapped(nn.Module):
    """A small stack inside a module; subclasses change its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
        self.g = nn.Parameter(torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x * self.g)


class WritesProduct(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        x *= self.g
        return self.inner(x)


class WritesSum(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        x += self.g
        return self.inner(x)


class WritesConstant(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        x.div_(2)
        return self.inner(x * self.g)


class Squeezes(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.inner((x * self.g).unsqueeze(0).squeeze())


class Branches(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.g.sum().item() > -1e9 else x[:, :3]


class NoGrad(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().forward(x)


class Checkpointed(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.inner, x * self.g, use_reentrant=False)


class InNumpy(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.from_numpy(x.numpy() * 2.0))


class Random(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(super().forward(x), training=True)


class Locked(Wrapped):
    def __init__(self) -> None:
        super().__init__()
        self.lock, self.draw = threading.Lock(), torch.Generator()

    def forward(self, x: Tensor) -> Tensor:
        with self.lock:
            return super().forward(x)


class Centred(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(dim=0))


class InPlace(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return functional.relu_(super().forward(x))


class Positive(Wrapped):
    """Draws nothing, but builds a distribution that refuses a negative scale."""

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.distributions.Normal(0.0, self.g.abs().sum() + self.g[0] + 0.5).scale
        return super().forward(x) * scale


class Factorised(Wrapped):
    """Needs a positive definite matrix."""

    def forward(self, x: Tensor) -> Tensor:
        matrix = torch.eye(3, dtype=x.dtype) + torch.diag(self.g[:3])
        return super().forward(x) @ torch.linalg.cholesky(matrix)


class Doubling(torch.autograd.Function):
    """A function with a backward of its own, in the style without `setup_context`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 2 * grad


class OldFunction(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return Doubling.apply(super().forward(x))


class Recurrent(nn.Module):
    """A recurrent layer with a first state of float32."""

    def __init__(self, cell: type[nn.RNNBase] = nn.GRU) -> None:
        super().__init__()
        self.cell, self.head = cell(2, 5, batch_first=True), nn.Linear(5, 3)
        self.exact = False

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(1, len(x), 5, dtype=x.dtype if self.exact else None)
        first = state if isinstance(self.cell, nn.GRU) else (state, state)
        return self.head(self.cell(x.unflatten(1, (3, 2)), first)[0][:, -1])


class Attention(nn.Module):
    """A transformer's encoder layer over three tokens."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.embed, self.encoder, self.head = nn.Linear(2, 8), nn.TransformerEncoder(layer, 1), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(x.unflatten(1, (3, 2)))).mean(dim=1))


for name, make in {
    "forward multiplies its input in place": WritesProduct, "forward adds to its input in place": WritesSum,
    "forward divides its input in place": WritesConstant, "a branch on .item()": Branches, "no_grad in forward": NoGrad,
    "checkpointing": Checkpointed, "a lock and a generator in the module": Locked, "an activation in place": InPlace,
    "a transformer's encoder": Attention, "an autograd Function of the old style": OldFunction,
    "a scale that may become negative": Positive, "a Cholesky factor that may fail": Factorised,
    "numpy in forward": InNumpy,
}.items():  # fmt: skip
    ZOO.measured(KIND, name)(functools.partial(lambda build: pair(build()), make))


def _exact_state(model: nn.Module) -> Tensor:
    model.exact = True
    return CROSS_ENTROPY(model(classes()[0].double()), classes()[1])


for kind in (nn.GRU, nn.LSTM):
    ZOO.measured(KIND, f"a {kind.__name__} with a state of float32", height=_exact_state)(
        functools.partial(lambda kind: (seeded(Recurrent(kind)), CROSS_ENTROPY, classes(), {"threshold": 2.5}), kind)
    )

for count in (1, 2, 257):
    ZOO.measured(KIND, f"squeeze() in forward with {count} samples")(
        functools.partial(lambda n: pair(Squeezes(), n), count)
    )

ZOO.refused(KIND, "dropout that is always on", "same loss twice")(lambda: pair(Random()))
ZOO.refused(KIND, "outputs that depend on the batch", "mixes the samples")(lambda: pair(Centred()))
ZOO.refused(KIND, "batch normalisation in training mode", "evaluation mode")(
    lambda: (nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3)), CROSS_ENTROPY, classes(), {"threshold": 2.0})
)
ZOO.measured(KIND, "batch normalisation in evaluation mode")(
    lambda: pair(nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)))
)
ZOO.measured(KIND, "group normalisation and dropout")(
    lambda: pair(nn.Sequential(nn.Linear(6, 8), nn.GroupNorm(2, 8), nn.Dropout(), nn.Linear(8, 3)))
)
for name, make in {"an LSTM": lambda: Recurrent(nn.LSTM), "checkpointing": Checkpointed, "a branch": Branches,
                   "an autograd Function of the old style": OldFunction}.items():  # fmt: skip
    ZOO.runs(KIND, f"preconditioner='curvature' with {name}")(
        functools.partial(lambda build: pair(build(), preconditioner="curvature"), make)
    )


class PINN(nn.Module):
    """Returns the residual of u'' + u = 0 from derivatives with respect to its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, x: Tensor) -> Tensor:
        x.requires_grad_()
        u = self.inner(x)
        (first,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
        return second + u


def _residual(model: nn.Module) -> Tensor:
    with torch.enable_grad():
        return model(torch.linspace(0, 3, 20).double()[:, None]).square().mean()


@ZOO.measured(KIND, "a PINN, which differentiates with respect to its inputs", height=_residual)
def pinn() -> Built:
    x = torch.linspace(0, 3, 20)[:, None]
    model = seeded(PINN())
    return model, nn.MSELoss(), (x, torch.zeros_like(x)), {"threshold": 1.5 * float(_residual(seeded(PINN()).double()))}


class Compiled(Wrapped):
    pass


@ZOO.measured(KIND, "a model behind torch.compile")
def compiled() -> Built:
    model, *rest = pair(Compiled())
    return torch.compile(model), *rest


@ZOO.refused(KIND, "a scripted module", "got RecursiveScriptModule|got TopLevelTracedModule")
def scripted() -> Built:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its deprecation has another class in each version of torch
        traced = torch.jit.trace(seeded(nn.Sequential(nn.Linear(6, 3))), classes()[0])
    return traced, CROSS_ENTROPY, classes(), {"threshold": 2.0}
