"""Models, losses, data and arguments of other people, each with the right answer or the sentence that refuses it."""

import math
import pickle
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from minima_volume.networks.directions import draw_directions

# Rays of a case, and points of the plain scan for the first crossing.
RAYS, SCAN = 6, 400
CROSS_ENTROPY = nn.CrossEntropyLoss()


Built = tuple[Any, Any, Any, dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        kind: Group in the table.
        name: What somebody does.
        build: Returns the arguments of `measure_volume`: model, loss, data and options.
        refusal: Part of the sentence that refuses the case, as a regular expression; "" if it is measured.
        height: The mean loss of a float64 model, as the person computes it; by default from loss and data.
        note: Part of a note of the measurement.
        compared: Whether radii are compared with the plain solver, which knows no preconditioner.
        doubted: Whether the loss jumps so often along a ray that crossings may be missed, if the verdict says so.
    """

    kind: str
    name: str
    build: Callable[[], Built]
    refusal: str = ""
    height: Callable[[nn.Module], Tensor] | None = None
    note: str = ""
    compared: bool = True
    doubted: bool = False


@dataclass
class Zoo:
    """Cases in the order of their definition."""

    cases: list[Case] = field(default_factory=list)

    def measured(
        self, kind: str, name: str, *, height: Callable[[nn.Module], Tensor] | None = None, note: str = ""
    ) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
        """Register a function that builds a case which is measured right."""

        def register(build: Callable[[], Any]) -> Callable[[], Any]:
            self.cases.append(Case(kind, name, build, height=height, note=note))
            return build

        return register

    def runs(self, kind: str, name: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
        """Register a case whose volume is random, so that only its radii in other coordinates can be checked."""

        def register(build: Callable[[], Any]) -> Callable[[], Any]:
            self.cases.append(Case(kind, name, build, compared=False))
            return build

        return register

    def doubted(self, kind: str, name: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
        """Register a case that is measured right, or whose verdict says that radii may be too large."""

        def register(build: Callable[[], Any]) -> Callable[[], Any]:
            self.cases.append(Case(kind, name, build, doubted=True))
            return build

        return register

    def refused(self, kind: str, name: str, sentence: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
        """Register a function that builds a case which is refused."""

        def register(build: Callable[[], Any]) -> Callable[[], Any]:
            self.cases.append(Case(kind, name, build, refusal=sentence))
            return build

        return register


ZOO = Zoo()


def classes(n: int = 64, inputs: int = 6, outputs: int = 3) -> tuple[Tensor, Tensor]:
    """Return inputs whose class depends on the first column and some noise."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(n, inputs, generator=draw)
    noisy = x[:, 0] + 0.3 * torch.randn(n, generator=draw)
    return x, torch.bucketize(noisy, torch.linspace(-1, 1, outputs - 1)).clamp_max(outputs - 1)


def seeded(model: Any) -> Any:
    """Return a model in evaluation mode whose parameters are the same in every run."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _, value in sorted(model.named_parameters()):
            if value.is_floating_point():
                value.copy_(
                    torch.randn(value.shape, generator=draw).to(value) / max(1, math.prod(value.shape[1:])) ** 0.5
                )
    return model.eval()


def near(model: Any, loss_fn: Any, data: Any, factor: float = 1.2, **options: Any) -> Built:
    """Return the arguments of a measurement whose threshold lies above the loss at the minimum by a factor."""
    try:
        with torch.no_grad():
            at_minimum = float(plain_height(loss_fn, data)(deepcopy(model).double()))
    except (RuntimeError, TypeError):  # a model that cannot be copied, or that closes over itself
        at_minimum = 3.0
    return model, loss_fn, data, {"threshold": factor * at_minimum, **options}


# --- the plain solver -------------------------------------------------------------------------------------------------


def plain_height(loss_fn: Any, data: Any, metric: str = "loss") -> Callable[[nn.Module], Tensor]:
    """Return the mean loss of a float64 model over a pair of tensors."""
    inputs, targets = (part.double() if part.is_floating_point() else part for part in data)

    def height(model: nn.Module) -> Tensor:
        outputs = model(inputs.clone())
        own = deepcopy(loss_fn).double() if isinstance(loss_fn, nn.Module) else loss_fn
        values: Tensor = own(outputs, targets)
        return values.mean()

    return height


def plain_crossing(at: Callable[[float], float], threshold: float) -> float:
    """Return the first crossing in (0, 1] by a scan and bisection; NaN if there is none."""
    before = 0.0
    for k in range(1, SCAN + 1):
        here = (k / SCAN) ** 2
        if not at(here) <= threshold:
            low, high = before, here
            while high - low > 1e-14 * high:
                middle = (low + high) / 2
                if middle in (low, high):
                    break
                low, high = (middle, high) if at(middle) <= threshold else (low, middle)
            return high
        before = here
    return math.nan


def plain_radii(
    model: nn.Module,
    height: Callable[[nn.Module], Tensor],
    threshold: float,
    *,
    moves: Callable[[str], bool] = lambda name: True,
    normalise: bool = True,
    seed: int = 0,
    rays: int | None = None,
) -> tuple[int, list[float]]:
    """Return n and ln r along the first rays, with θ* + c·s∘g written into a float64 copy."""
    if any(value.is_inference() for value in model.parameters()):
        model = pickle.loads(pickle.dumps(model))  # nothing outside inference mode may write into its tensors
    copy = model.double()  # nobody needs the model afterwards
    start = {name: value.detach().clone() for name, value in sorted(copy.named_parameters()) if moves(name)}
    scales = {
        name: (value.flatten(1).norm(dim=1).view(-1, *[1] * (value.ndim - 1)) if value.ndim > 1 and normalise else 1.0)
        for name, value in start.items()
    }
    n = sum(value.numel() for value in start.values())
    named, found = dict(copy.named_parameters()), []
    for g in draw_directions(seed, range(rays or RAYS), n).double():
        steps, place = {}, 0
        for name, value in start.items():
            steps[name] = scales[name] * g[place : place + value.numel()].view_as(value)
            place += value.numel()

        def at(c: float, steps: dict[str, Tensor] = steps) -> float:
            # Only inference mode may write into tensors that were made in it.
            with torch.inference_mode():
                for name, value in start.items():
                    named[name].copy_(value + c * steps[name])
            try:
                with torch.no_grad():  # a model that needs gradients enables them
                    return float(height(copy))
            except (RuntimeError, ValueError):
                return math.inf

        c = plain_crossing(at, threshold)
        found.append(math.log(1.0 if math.isnan(c) else c) + math.log(float(g.norm())))
    return n, found
