"""Arguments that mean something else, or nothing, and the modes around a call."""

from typing import Any

import torch
from torch import nn

from tests.measure.zoo import CROSS_ENTROPY, ZOO, Built, classes, near, plain_height, seeded

KIND = "arguments"


def small() -> Any:
    """Return a small stack of layers."""
    return seeded(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)))


def asked(**options: Any) -> Built:
    """Return a measurement with some options."""
    return small(), CROSS_ENTROPY, classes(), {"threshold": 2.0, **options}


for name, options, sentence in [
    ("threshold=None", {"threshold": None}, "number above 0 as threshold, got None"),
    ("threshold='0.1'", {"threshold": "0.1"}, "as threshold, or a list of them, got '0.1'"),
    ("threshold=True", {"threshold": True}, "as threshold, got True"),
    ("threshold=0", {"threshold": 0}, "as threshold, got 0"),
    ("threshold=nan", {"threshold": float("nan")}, "as threshold, got nan"),
    ("threshold=[]", {"threshold": []}, r"or a list of them, got \[\]"),
    ("seed=None", {"seed": None}, "seed to be a whole number"),
    ("seed=0.5", {"seed": 0.5}, "seed to be a whole number"),
    ("n_directions=True", {"n_directions": True}, "n_directions to be a whole number of at least 1, got True"),
    ("n_directions=0", {"n_directions": 0}, "n_directions to be a whole number"),
    ("n_directions=100.0", {"n_directions": 100.0}, "n_directions to be a whole number"),
    ("memory='1G'", {"memory": "1G"}, "memory to be a whole number of at least 1, got '1G'"),
    ("memory=-5", {"memory": -5}, "memory to be a whole number of at least 1, got -5"),
    ("sigmas=0.1", {"sigmas": 0.1}, "sigmas as a sequence"),
    ("sigmas=[0.1, -1]", {"sigmas": [0.1, -1.0]}, "widths above 0"),
    ("metric='f1'", {"metric": "f1"}, "metric 'loss', 'accuracy' or 'kl'"),
    ("an accuracy above 1", {"metric": "accuracy", "threshold": 90.0}, "accuracy above 0 and up to 1"),
    ("preconditioner='hessian'", {"preconditioner": "hessian"}, "preconditioner 'curvature'"),
    ("only=''… no name passes", {"only": "head"}, "at least one parameter to perturb"),
    ("keep='run.json'", {"keep": "run.json"}, "ends in .npz"),
]:  # fmt: skip
    ZOO.refused(KIND, name, sentence)(lambda options=options: asked(**options))

for name, model, sentence in [
    ("model=None", None, "a torch module, got NoneType"),
    ("a state dict", small().state_dict(), "got OrderedDict: load it into a model"),
    ("a model's class", nn.Linear, "got the class Linear"),
    ("DataParallel", nn.DataParallel(small()), "got DataParallel: pass the original module"),
    ("a model without parameters", nn.Flatten(), "at least one parameter"),
    ("a lazy module that was never called", nn.LazyLinear(3), "never called|uninitialized"),
]:  # fmt: skip
    ZOO.refused(KIND, name, sentence)(lambda model=model: (model, CROSS_ENTROPY, classes(), {"threshold": 2.0}))

ZOO.refused(KIND, "loss=None", "a loss function, got None")(lambda: (small(), None, classes(), {"threshold": 2.0}))
ZOO.refused(KIND, "a number as loss", "a loss function, got float")(
    lambda: (small(), 0.3, classes(), {"threshold": 2.0})
)


class Within:
    """A measurement within a mode: the model and the data are made outside, the call is made inside."""

    def __init__(self, name: str, enter: Any) -> None:
        self.name, self.enter = name, enter


MODES = [
    Within("autocast", lambda: torch.autocast("cpu", torch.bfloat16)),
    Within("inference_mode", torch.inference_mode),
    Within("no_grad", torch.no_grad),
    Within("anomaly detection", torch.autograd.detect_anomaly),
    Within("a default device", lambda: torch.device("meta")),
    Within("float64 as default", lambda: DefaultType(torch.float64)),
    Within("deterministic algorithms", lambda: Deterministic()),
]


class DefaultType:
    """The default type of new tensors, as a context."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def __enter__(self) -> None:
        torch.set_default_dtype(self.dtype)

    def __exit__(self, *error: object) -> None:
        torch.set_default_dtype(torch.float32)


class Deterministic:
    """Deterministic algorithms, as a context."""

    def __enter__(self) -> None:
        torch.use_deterministic_algorithms(True)

    def __exit__(self, *error: object) -> None:
        torch.use_deterministic_algorithms(False)


HEIGHT = plain_height(CROSS_ENTROPY, classes())
for mode in MODES:
    for wrapped in (False, True):
        what = "a module" if wrapped else "a Sequential"

        @ZOO.measured("surroundings", f"{what} within {mode.name}", height=HEIGHT)
        def within(mode: Within = mode, wrapped: bool = wrapped) -> Built:
            model, *rest = near(small(), CROSS_ENTROPY, classes())
            rest[-1]["within"] = mode.enter
            return (nn.Sequential(model).eval() if wrapped else model), *rest
