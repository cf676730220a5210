"""Theme 10: files that a user of the library keeps: trajectories, rays, planes and results, without any study."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import nn

from minima_volume import Trajectory, loss_plane, measure_volume
from minima_volume.errors import UserError
from tests.faults.disks import mounted
from tests.faults.sandbox import Row
from tests.faults.stages import Results
from tests.faults.strange import deadline

THEME = "user's files"
LOSS = nn.MSELoss()
INPUTS = torch.linspace(-1, 1, 20).reshape(10, 2)
DATA = (INPUTS, INPUTS[:, :1] ** 2)
STEPS = 6


def model(seed: int = 0) -> nn.Module:
    """Return a small network."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))


def recorded(path: Path, seed: int, steps: int = STEPS) -> Trajectory:
    """Record a short training run."""
    trajectory, trained = Trajectory(path), model(seed)
    descent = torch.optim.SGD(trained.parameters(), 0.1)
    for _ in range(steps):
        descent.zero_grad()
        LOSS(trained(DATA[0]), DATA[1]).backward()
        descent.step()
        trajectory.record(trained)
    return trajectory


def refused(call: Callable[[], object], *parts: str) -> bool:
    """Whether a call ends with a sentence of the library that holds all parts, before it counts as hanging."""
    try:
        with deadline(20):
            call()
    except UserError as error:
        return all(part in str(error) for part in ("Expected", "got", *parts))
    except Exception:  # an error without a sentence is a loss
        return False
    return False


def flip(path: Path) -> None:
    """Flip a bit of an exponent in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 8 * 4 + 3] ^= 64
    path.write_bytes(content)


def headers() -> list[str]:
    """Return headers of trajectories that are damaged, or of nothing."""
    kind = "minima_volume.trajectory/1"
    shapes: Sequence[object] = (3, [], [["0.weight"]], [["0.weight", [4, 2]], ["x"]], [["0.weight", "ab"]], None)
    return ["[]", "{}", "3", "{", *(json.dumps({"kind": kind, "shapes": each}) for each in shapes)]


def trajectories(base: Results) -> Row:
    """Damage and exchange the files of recorded runs: they are refused; what an interruption left is passed over."""
    folder = base.folder.parent / "trajectories"
    folder.mkdir()
    path, other, names = folder / "run", folder / "other", ("run", "run.json", "run.sums")
    kept = np.array(recorded(path, 1).checkpoints)
    recorded(other, 2)
    whole = {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}
    lost, times = [], 0

    def attack(what: str, change: Callable[[], object], left: int | None = None) -> None:
        nonlocal times
        change()
        if left is None:
            fine = refused(lambda: Trajectory.open(path, model()))
        else:
            fine = np.array_equal(Trajectory.open(path, model()).checkpoints, kept[:left])
        times += 1
        if not fine:
            lost.append(what)
        for name in names:
            shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink(missing_ok=True)
        for name, content in whole.items():
            (folder / name).write_bytes(content)

    width = kept.shape[1]
    attack("a bit", lambda: flip(path))
    attack("the rows of another run", lambda: shutil.copy(other, path))
    attack("two rows exchanged", lambda: path.write_bytes(kept[[1, 0, *range(2, STEPS)]].tobytes()))
    attack("rows in part", lambda: path.write_bytes(whole["run"][: -4 * width - 7]), left=STEPS - 2)
    attack("a row without its checksum", lambda: path.write_bytes(whole["run"] + bytes(4 * width)), left=STEPS)
    attack("a pipe", lambda: (path.unlink(), os.mkfifo(path)))
    attack("a folder", lambda: (path.unlink(), path.mkdir()))
    attack("a pipe as header", lambda: ((folder / "run.json").unlink(), os.mkfifo(folder / "run.json")))
    for text in headers():
        attack(text, lambda text=text: (folder / "run.json").write_text(text))  # type: ignore[misc]
    return Row(THEME, "recorded runs damaged, exchanged, cut, with odd headers", times, len(lost), "; ".join(lost))


def full_disk(base: Results) -> Row:
    """Save to a full disk: a sentence, and what was there before stays as it was."""
    what, folder = "results, planes, rays and recorded runs saved to a full disk", base.folder.parent / "full"
    measured = measure_volume(model(), LOSS, DATA, threshold=1.0, n_directions=5, progress=False)
    plane = loss_plane(model(), loss=LOSS, data=DATA, nodes=5, progress=False)
    curve = measure_volume(model(), LOSS, DATA, threshold=[0.5, 1.0], n_directions=5, progress=False)
    calls: dict[str, Callable[[Path], object]] = {
        "measurement.json": measured.save, "curve.json": curve.save, "plane.npz": plane.save, "plane.csv": plane.save,
        "plane.html": plane.to_html, "plane.vtp": plane.to_mesh, "run": lambda path: recorded(path, 1, 400),
        "rays.npz": lambda path: measure_volume(
            model(), LOSS, DATA, threshold=1.0, n_directions=200, keep=path, progress=False
        ),
    }  # fmt: skip
    lost = []
    with mounted(folder, 16) as possible:
        if not possible:
            return Row(THEME, what, 0, 0, "not done: this user may not mount a disk")
        for name, save in calls.items():
            path, filler = folder / name, folder / "filler"
            before = b"" if name == "run" else b"kept"
            if before:
                path.write_bytes(before)
            with filler.open("wb", buffering=0) as stream, suppress(OSError):
                stream.write(bytes(2**14))  # as many as there is room for
            if name == "rays.npz":
                path.unlink()
                before = b""
            if not refused(lambda save=save, path=path: save(path), str(path), "No space"):  # type: ignore[misc]
                lost.append(name)
            if before and path.read_bytes() != before:
                lost.append(f"{name} before")
            for left in folder.iterdir():
                left.unlink()
    return Row(THEME, what, len(calls), len(lost), ", ".join(lost))


TOGETHER = """
import sys
from tests.faults import user_files
print(user_files.measured(sys.argv[1]))
"""


def measured(path: str | Path | None) -> str:
    """Measure the small network, with finished rays in a file, and return the volume."""
    torch.set_num_threads(1)
    found = measure_volume(model(), LOSS, DATA, threshold=1.0, n_directions=100, keep=path, progress=False)
    return repr(found.log_volume)


def together(base: Results) -> Row:
    """Measure from two processes into one file at once: each returns what one alone does, and the file is whole."""
    path, alone = base.folder.parent / "together.npz", measured(None)
    command = [sys.executable, "-c", TOGETHER, str(path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    lost = sum(process.communicate()[0].strip() != alone for process in running)
    lost += measured(path) != alone
    return Row(THEME, "two processes measure into one file", len(running), lost)
