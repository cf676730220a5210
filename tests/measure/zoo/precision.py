"""Numbers that float32 does not resolve, and code that asks for less or more precision."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.measure.zoo import CROSS_ENTROPY, ZOO, Built, classes, near, seeded
from tests.measure.zoo.forwards import Wrapped

KIND = "precision"


def fitted(offset: float, noise: float, dtype: torch.dtype = torch.float32) -> tuple[nn.Module, Any]:
    """Return a stack whose outputs are its targets up to noise, both near an offset."""
    model = seeded(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))).to(dtype)
    x = classes()[0].to(dtype)
    with torch.no_grad():
        model[2].bias += offset
        y = model(x) + noise * torch.randn(64, 1, generator=torch.Generator().manual_seed(3)).to(dtype)
    return model, (x, y)


@ZOO.measured(KIND, "a float64 model with targets near 1,000 and an error of 1e-12")
def float64_model() -> Built:
    model, data = fitted(1e3, 1e-6, torch.float64)
    return near(model, nn.MSELoss(), data, factor=3.0)


@ZOO.measured(KIND, "a threshold of 1e-6 in a Sequential")
def tiny_threshold() -> Built:
    model, data = fitted(0.0, 3e-4)
    return model, nn.MSELoss(), data, {"threshold": 1e-6}


@ZOO.measured(KIND, "a threshold of 1e-6 in a module")
def tiny_threshold_in_a_module() -> Built:
    model, data = fitted(0.0, 3e-4)
    return nn.Sequential(nn.Sequential(*model)).eval(), nn.MSELoss(), data, {"threshold": 1e-6}


for size in (1e3, 1e4):

    @ZOO.measured(KIND, f"float32 with targets near {size:,.0f}")
    def offset(size: float = size) -> Built:
        model, data = fitted(size, 0.1)
        return near(model, nn.MSELoss(), data, factor=2.0)


class Casts(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).to(torch.float32)


class FromBytes(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float() / 255)


class Upcasts(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return torch.log_softmax(super().forward(x), dim=-1, dtype=torch.float32)


class Buffered(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        out = torch.zeros(len(x), 3)
        out[:] = super().forward(x)
        return out + torch.full((3,), 0.1)


class InAutocast(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x).float()


class ToNumpy(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.as_tensor(x.numpy()[:, :3].astype("float32"))


for made in (Casts, Upcasts, Buffered, ToNumpy):
    ZOO.measured(KIND, f"casts to float32: {made.__name__}", height=None)(
        lambda made=made: near(seeded(made()), CROSS_ENTROPY, classes())
    )


def _plain(model: nn.Module) -> Tensor:
    inner = Wrapped.forward
    x, y = classes()
    return CROSS_ENTROPY(inner(model, x.double()), y)


ZOO.cases = [
    type(case)(case.kind, case.name, case.build, height=_plain)
    if case.name in ("casts to float32: Casts", "casts to float32: Upcasts")
    else case
    for case in ZOO.cases
]


def _offset(model: nn.Module) -> Tensor:
    x, y = classes()
    return CROSS_ENTROPY(Wrapped.forward(model, x.double()) + 0.1, y)


def _bytes(model: nn.Module) -> Tensor:
    return CROSS_ENTROPY(Wrapped.forward(model, _images().double() / 255), classes()[1])


def _images() -> Tensor:
    return (classes()[0] * 60 + 128).clamp(0, 255).to(torch.uint8)


@ZOO.measured(KIND, "bytes that forward divides by 255", height=_bytes)
def from_bytes() -> Built:
    at_minimum = float(_bytes(seeded(FromBytes()).double()).detach())
    return seeded(FromBytes()), CROSS_ENTROPY, (_images(), classes()[1]), {"threshold": 1.03 * at_minimum}


@ZOO.measured(
    KIND, "a bfloat16 model", height=lambda model: CROSS_ENTROPY(model(classes()[0].bfloat16().double()), classes()[1])
)
def bfloat16() -> Built:
    x, y = classes()
    model = seeded(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))).bfloat16()
    return model, CROSS_ENTROPY, (x.bfloat16(), y), {"threshold": 3.0}


@ZOO.measured(KIND, "autocast in forward", height=_plain)
def in_autocast() -> Built:
    return seeded(InAutocast()), CROSS_ENTROPY, classes(), {"threshold": 2.5}


@ZOO.measured(KIND, "a rotary embedding, which is complex")
def complex_buffer() -> Built:
    class Turning(Wrapped):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("turn", torch.polar(torch.ones(3), torch.tensor([0.3, 1.1, 2.0])))

        def forward(self, x: Tensor) -> Tensor:
            z = torch.view_as_complex(x.unflatten(1, (3, 2)).contiguous()) * self.turn
            return super().forward(torch.view_as_real(z).flatten(1).to(x))

    return near(seeded(Turning()), CROSS_ENTROPY, classes())


def _kl(model: nn.Module) -> Tensor:
    x = classes()[0].double()
    start = seeded(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))).double()
    return functional.kl_div(model(x).log_softmax(1), start(x).log_softmax(1), reduction="batchmean", log_target=True)


@ZOO.measured(KIND, "metric='kl'", height=_kl)
def kl() -> Built:
    model = seeded(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)))
    return model, None, classes(), {"threshold": 0.1, "metric": "kl"}
