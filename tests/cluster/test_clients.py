"""A user's own model on the workers of a Dask client: the numbers of a call without it, also if a worker is killed."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minima_volume import local_volume, measure_volume
from minima_volume.crossings import model_problem
from minima_volume.errors import DataError, UserError
from minima_volume.pipeline import cluster as start
from tests.project import ROOT

distributed = pytest.importorskip("distributed")
# A worker that is killed leaves its connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

MLP = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 3))
CNN = nn.Sequential(
    nn.Unflatten(1, (1, 5)), nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.Tanh(), nn.Flatten(), nn.Linear(12, 3)
)


class Steps(nn.Module):
    """A model that is evaluated one point after another, and that raises an error at points far away."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        if float(self.layer.weight.abs().max()) > 1.5:
            raise ArithmeticError("too far")
        return self.layer(inputs)


@torch.no_grad()
def trained(model: nn.Module) -> tuple[nn.Module, tuple[Tensor, Tensor], float]:
    """A model on samples whose targets are its own classes, and a threshold above its loss."""
    torch.manual_seed(0)
    for part in model.modules():
        if isinstance(part, nn.Linear | nn.Conv1d):
            part.reset_parameters()
    inputs = torch.randn(40, 5)
    targets = model.eval()(inputs).argmax(dim=1)
    return model, (inputs, targets), 1.2 * float(nn.functional.cross_entropy(model(inputs), targets))


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A client of two workers on this machine."""
    with start.started("local", {"THREADS": "2"}) as cluster, distributed.Client(cluster.scheduler_address) as found:
        found.wait_for_workers(2, timeout=120)
        yield found


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a worker has; and batches of few rays, so that there are several."""
    monkeypatch.setattr(model_problem, "FEWEST_NUMBERS", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("model", [MLP, CNN, Steps()], ids=["stack", "batch", "module"])
@pytest.mark.usefixtures("one_thread")
def test_workers_find_the_radii_of_this_process(client: Any, model: nn.Module) -> None:
    network, data, threshold = trained(model)
    loss = nn.CrossEntropyLoss()
    here, there = (
        measure_volume(network, loss, data, threshold=threshold, n_directions=120, per_layer=True, client=each)
        for each in (None, client)
    )
    assert np.array_equal(here.log_radii, there.log_radii, equal_nan=True) and here.notes == there.notes
    assert here == there and {k: repr(v) for k, v in here.layers.items()} == {
        k: repr(v) for k, v in there.layers.items()
    }
    assert any("ArithmeticError" in note for note in here.notes) == isinstance(model, Steps)


@pytest.mark.usefixtures("one_thread")
def test_workers_find_the_draws_of_this_process(client: Any) -> None:
    network, data, threshold = trained(MLP)
    loss = nn.CrossEntropyLoss()
    here, there = (
        local_volume(network, loss, data, threshold=threshold, sigmas=[0.01, 0.1], n_draws=800, client=each)
        for each in (None, client)
    )
    assert np.array_equal(here.log_gamma, there.log_gamma) and here.status == there.status


@pytest.mark.usefixtures("one_thread")
def test_a_killed_worker_changes_nothing_and_kept_rays_are_not_followed_again(client: Any, tmp_path: Path) -> None:
    network, data, threshold = trained(Steps())
    ask: Any = {"threshold": threshold, "n_directions": 400, "keep": tmp_path / "rays.npz"}
    victim = next(iter(client.run(os.getpid).values()))
    threading.Timer(0.3, os.kill, (victim, signal.SIGKILL)).start()
    there = measure_volume(network, nn.CrossEntropyLoss(), data, client=client, **ask)
    assert victim not in client.run(os.getpid).values()
    again = measure_volume(network, nn.CrossEntropyLoss(), data, **ask)
    plain = measure_volume(network, nn.CrossEntropyLoss(), data, **{**ask, "keep": None})
    assert np.array_equal(there.log_radii, plain.log_radii, equal_nan=True) and again.volume == plain.volume


def test_a_model_of_a_script_is_sent_with_its_class(client: Any, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "import torch\n"
        "from distributed import Client\n"
        "from torch import nn\n"
        "from minima_volume import measure_volume\n"
        "class Mine(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.layer = nn.Linear(3, 1, bias=False)\n"
        "    def forward(self, inputs):\n"
        "        return self.layer(inputs)\n"
        "inputs, model = torch.eye(3), Mine().eval()\n"
        "nn.init.ones_(model.layer.weight)\n"
        "data = inputs, model(inputs).detach()\n"
        "found = measure_volume(\n"
        "    model, lambda a, b: (a - b).square()[:, 0], data, threshold=0.03, client=Client(sys.argv[1]), progress=False\n"
        ")\n"
        "print(round(found.log_volume, 2))\n"
    )
    done = subprocess.run(
        [sys.executable, script, client.scheduler.address], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    # A ball of radius √(3·0.03)/√3 in filter units: 3 ln(0.3/√3).
    assert (done.returncode, done.stdout.strip()) == (0, "-5.26"), done.stderr[-2000:]


def test_a_module_that_workers_lack_is_one_sentence(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text(
        "import torch\nclass Mine(torch.nn.Linear):\n    def forward(self, x):\n        return super().forward(x)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import only_here

    data = torch.eye(3), torch.zeros(3, 1)
    with pytest.raises(
        UserError, match=r"workers that can import .* got 'No module named 'only_here'': install it there"
    ):
        measure_volume(only_here.Mine(3, 1).eval(), nn.MSELoss(), data, threshold=9.0, client=client)


def test_what_cannot_be_sent_is_one_sentence(client: Any) -> None:
    network, data, threshold = trained(MLP)
    lock = threading.Lock()

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        with lock:
            return nn.functional.cross_entropy(outputs, targets, reduction="none")

    with pytest.raises(UserError, match=r"can be sent to workers, got 'TypeError: cannot pickle '_thread\.lock'"):
        measure_volume(network, loss, data, threshold=threshold, client=client)


class Elsewhere(nn.Linear):
    """Fails or computes something else in every process but its first one."""

    def __init__(self, what: str) -> None:
        super().__init__(5, 3)
        self.what, self.home = what, os.getpid()

    def forward(self, inputs: Tensor) -> Tensor:
        away = os.getpid() != self.home
        if away and self.what == "data":
            raise DataError("Expected data here.")
        if away and self.what == "memory":
            raise MemoryError
        if away and self.what == "error":
            raise FileNotFoundError("/only/here")
        if away and self.what == "far" and float(self.weight.detach().abs().max()) > 0.5:
            raise ArithmeticError("too far")
        outputs = super().forward(inputs)
        return 1.01 * outputs if away and self.what == "other" else outputs


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("data", r"Expected data here\."),
        ("error", r"run on the workers as they do here, got 'FileNotFoundError: /only/here' on "),
        ("other", "Expected the same function of the same data on the workers, got means "),
    ],
)
@pytest.mark.usefixtures("one_thread")
def test_a_model_that_is_another_one_on_workers_is_refused(client: Any, what: str, said: str) -> None:
    network, data, threshold = trained(Elsewhere(what))
    for measure in (measure_volume, local_volume):
        more: Any = {"n_directions": 100} if measure is measure_volume else {"sigmas": [0.1], "n_draws": 100}
        with pytest.raises(UserError, match=said):
            measure(network, nn.CrossEntropyLoss(), data, threshold=threshold, client=client, **more)
    assert len(client.nthreads()) == 2, "nobody's workers are sent away"


def test_a_lack_of_memory_is_not_told_as_a_fault_of_the_model(client: Any) -> None:
    network, data, threshold = trained(Elsewhere("memory"))
    with pytest.raises(MemoryError):
        measure_volume(network, nn.CrossEntropyLoss(), data, threshold=threshold, client=client)


@pytest.mark.usefixtures("one_thread")
def test_points_at_which_a_model_fails_on_workers_only_are_evaluated_here(client: Any) -> None:
    network, data, threshold = trained(Elsewhere("far"))
    loss = nn.CrossEntropyLoss()
    here, there = (
        measure_volume(network, loss, data, threshold=threshold, n_directions=60, client=each)
        for each in (None, client)
    )
    assert here == there and here.notes == there.notes


def test_a_client_that_ends_in_the_middle_is_one_sentence(tmp_path: Path) -> None:
    network, data, threshold = trained(Steps())
    with start.started("local", {"THREADS": "1"}) as cluster:
        own = distributed.Client(cluster.scheduler_address)
        threading.Timer(1.0, own.close).start()
        with pytest.raises(
            UserError, match=r"to stay, and the connection to it, .* what is in the file that `keep` names"
        ):
            measure_volume(network, nn.CrossEntropyLoss(), data, threshold=threshold, n_directions=20_000, client=own)


def test_workers_in_this_process_are_refused() -> None:
    network, data, threshold = trained(MLP)
    options: Any = {"n_workers": 1, "processes": False, "dashboard_address": None}
    with (
        distributed.LocalCluster(**options) as cluster,
        distributed.Client(cluster) as own,
        pytest.raises(UserError, match="Expected workers in processes of their own"),
    ):
        measure_volume(network, nn.CrossEntropyLoss(), data, threshold=threshold, client=own)


def test_anything_but_a_running_client_is_refused(client: Any) -> None:
    network, data, threshold = trained(MLP)
    closed = distributed.Client(client.scheduler.address)
    closed.close()
    for wrong, said in (("tcp://head:8786", "got str: pass"), (closed, "Expected a running client, got a closed one")):
        with pytest.raises(UserError, match=said):
            measure_volume(network, nn.CrossEntropyLoss(), data, threshold=threshold, client=wrong)
