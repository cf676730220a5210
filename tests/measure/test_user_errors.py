"""Every error message that a user can meet with what was done to get it; none lacks a trigger."""

import ast
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import minima_volume
import minima_volume as __init__
from minima_volume import measurement
from minima_volume.errors import UserError
from minima_volume.estimators import comparison, diagnostics, gaussian
from minima_volume.networks import parameters
from minima_volume.pipeline import scaffold
from minima_volume.pipeline.settings import device, positive
from minima_volume.rays import preconditioner
from minima_volume.sampling import bennett, tethered
from minima_volume.storage import archives, tables
from minima_volume.testing import bodies
from minima_volume.training import interventions, models
from tests.project import ROOT, sources
from tests.user_errors import (
    DATA,
    DIGITS,
    TINY,
    Keeping,
    Pair,
    Trigger,
    above,
    at,
    command,
    data_in_a_file,
    diverged,
    falling,
    few_trials,
    flipped_arrays,
    gathered_too_early,
    into_a_file,
    measured,
    no_connection,
    of_other_settings,
    switched,
    table_of_a_damaged_record,
    table_of_another_record,
    too_many_samples,
    two_batched_jobs,
    unmeasured,
    untrained,
    wide,
    without_a_gpu,
    written,
    wrong_archives,
)

# What the user did; a part of what is said; how to do it here. First what users of `make` can do.
TABLE: tuple[tuple[str, str, Trigger], ...] = (
    ("ran a misspelt study", "Expected a study among tiny, got 'tony'", command("tony", "--repeats", "0")),
    ("asked for repeat -1", "counted from 0, got '-1'", command("tiny", "--repeats=-1")),
    ("misspelt the scale", "SCALE to be one of quick, paper, got 'papr'",
     command("tiny", "--repeats", "0", "--scale", "papr")),
    ("asked for more samples than there are", "got 5048 for base and extra data: lower the levels. (tiny, repeat 0)",
     command("tiny", "--repeats", "0", work=too_many_samples)),
    ("set THREADS=0", "THREADS to be a whole number above 0, got '0'", lambda *_: positive("THREADS", "0")),
    ("set DEVICE=tpu", "DEVICE to be one of cpu, cuda, mps, got 'tpu'", at("DEVICE", "tpu", device)),
    ("set DEVICE=mps without one", "a device that this machine has, got DEVICE=mps", without_a_gpu),
    ("wrote a threshold of 0 into a row", "thresholds above 0 in study tiny, got (0.0,): mend its row",
     lambda *_: replace(TINY, thresholds=(0.0,)).validate()),
    ("misspelt a column of quick", "quick of study tiny, got n_direction",
     lambda *_: replace(TINY, quick={"n_direction": 3}).at_scale("quick")),
    ("misspelt a model", "a model among", lambda *_: models.build_model("digits_mpl")),
    ("had a damaged archive in DATA_DIR", "Expected md5", wrong_archives),
    ("had no archives and no connection", "point DATA_DIR at them", no_connection),
    ("let DATA_DIR be a file", "DATA_DIR to be a folder to write to", data_in_a_file),
    ("asked for too many extras", "training samples of digits 8×8, got 5048",
     lambda *_: interventions.more_data(DIGITS, 48, 5000, 0)),
    ("asked for more of class 0 than there are", "samples of class 0 and",
     lambda *_: interventions.imbalanced_base(DIGITS, 1000, 0, 0)),
    ("asked for more balanced extras than are left", "extra samples of digits 8×8, got 1290",
     lambda *_: interventions.imbalanced_base(DIGITS, 50, 1290, 0)),
    ("measured a model without parameters", "at least one parameter to perturb", lambda *_: parameters.layout_of({})),
    ("measured whole-number parameters", "floating-point parameters, got torch.int64",
     lambda *_: parameters.layout_of({"a": torch.zeros(2, dtype=torch.int64)})),
    ("measured before training", "levels 0, 16, got none: run train_models.py first", untrained),
    ("made volumes before rays", "Expected crossings of study tiny", unmeasured),
    ("trained with lr=1e3", "Expected a finite training loss in study tiny, level 16, model seed 0", diverged),
    ("gathered before measuring", "Expected a JSON object in", gathered_too_early),
    ("kept records of other settings", "present settings", of_other_settings),
    ("trained two networks in batches at once", "expected one job at a time", two_batched_jobs),
    ("let a file stand where a folder belongs", "Expected to write", into_a_file),
    ("deleted a record", "Expected a JSON object in", written("run.json", None, archives.read_json)),
    ("put a list into a record", "a.json, got list", written("a.json", b"[1]", archives.read_json)),
    ("cut an archive short", "Expected arrays in", written("a.npz", b"PK\x03\x04", archives.read_arrays)),
    ("cut a minimum short", "Expected a minimum in", written("a.safetensors", b"\x08", archives.read_tensors)),
    ("changed a number in an archive", "Expected the checksum written with", flipped_arrays),
    ("deleted a table", "Expected a table in", written("a.csv", None, lambda path: tables.read_table(path, ["study"]))),
    ("kept a table of an older version", "Expected the columns level in",
     written("a.csv", b"study\ntiny\n", lambda path: tables.read_table(path, ["level"]))),
    ("changed a number in a table", "got another. Delete", table_of_another_record),
    ("damaged the record beside a table", "got a damaged one. Delete", table_of_a_damaged_record),
    ("started an experiment from a misspelt one", "Expected FROM to be an experiment folder",
     lambda *_: scaffold.new_experiment(ROOT, "new", "MNITS")),
    ("named an experiment 8x8", "Expected NAME to be letters", lambda *_: scaffold.new_experiment(ROOT, "8x8", "MNIST")),
    ("named an experiment as one that is there", "not there yet, got 'sam'",
     lambda *_: scaffold.new_experiment(ROOT, "sam", "MNIST")),
    # And what users of the package can do.
    ("asked for no directions", "at least one direction", measured(n_directions=0)),
    ("gave one width instead of several", "sigmas as a sequence of widths above 0, got 0.1", measured(sigmas=0.1)),
    ("misspelt the preconditioner", "got 'curvatur'", measured(preconditioner="curvatur")),
    ("gave the preconditioner of another model", "Expected a preconditioner of 6 parameters, got one of 9",
     measured(preconditioner=preconditioner.Preconditioner.diagonal(torch.ones(9)))),
    ("gave a data set instead of a loader", "got TensorDataset: use a DataLoader",
     measured(data=torch.utils.data.TensorDataset(*DATA))),
    ("gave a wrapped model", "got DataParallel: pass the model", measured(nn.DataParallel(nn.Linear(2, 2)))),
    ("asked for the accuracy of one number per sample", "Expected scores (N, classes)",
     measured(nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)), loss=None, metric="accuracy", threshold=0.5)),
    ("asked for the accuracy of probabilities", "leave the sigmoid away",
     measured(nn.Sequential(nn.Linear(2, 1), nn.Sigmoid()), loss=None, metric="accuracy", threshold=0.5)),
    ("measured a model that keeps an activation", "Expected a model that can be copied", measured(Keeping(2, 2))),
    ("measured a model with a switch that copies lose", "Expected the model's own mean loss", switched),
    ("gave a loss that falls below 0 along a ray", "at least 0 everywhere along a ray",
     falling),
    ("misspelt the metric", "metric 'loss' or 'accuracy', got 'acuracy'", measured(metric="acuracy")),
    ("gave no loss", "a loss function, got None", measured(loss=None)),
    ("gave a threshold below 0", "a finite threshold above 0, got -1", measured(threshold=-1)),
    ("gave an accuracy of 2", "an accuracy above 0 and up to 1", measured(metric="accuracy", threshold=2)),
    ("asked for the curvature of an accuracy", "its steps have no curvature",
     measured(metric="accuracy", threshold=0.1, preconditioner="curvature")),
    ("gave a loss that sums", "reduction 'mean' or 'none', got 'sum'", measured(loss=nn.CrossEntropyLoss(reduction="sum"))),
    ("gave a loss that returns one number", "one loss per sample", measured(loss=functional.cross_entropy)),
    ("gave an empty loader", "got an empty loader", measured(data=[])),
    ("gave a loader of numbers", "(inputs, targets) as two tensors, got int", measured(data=[3])),
    ("gave fewer targets than inputs", "as many targets as inputs", measured(data=(DATA[0], DATA[1][:2]))),
    ("measured in training mode", "a model in evaluation mode", measured(nn.Sequential(nn.BatchNorm1d(2)))),
    ("gave inputs that are not finite", "finite losses at the minimum", measured(data=(DATA[0] / 0, DATA[1]))),
    ("measured with dropout", "Expected the same loss twice", measured(nn.Sequential(nn.Linear(2, 2), nn.Dropout()))),
    ("gave a model that returns a pair", "to return a tensor, got tuple", measured(Pair(2, 2))),
    ("gave a loss that weighs classes", "to be the mean of the samples' losses",
     measured(loss=nn.CrossEntropyLoss(weight=torch.tensor([1.0, 9.0])), data=(DATA[0], torch.tensor([0, 0, 0, 1])))),
    ("loaded a file that is not there", "got no file: check the path",
     written("a.json", None, measurement.Measurement.load)),
    ("loaded another JSON file", "got another JSON file", written("a.json", b"{}", measurement.Measurement.load)),
    ("loaded half a measurement", "Measure and save again",
     written("a.json", json.dumps({"kind": measurement.KIND}).encode(), measurement.Measurement.load)),
    ("compared unconverged minima", "finite log radii shaped", lambda *_: comparison.compare(np.full((2, 9), np.nan), 3)),
    ("gave an order that names one twice", "an order of the minima 0 to 1, got [0, 0]",
     lambda *_: comparison.rank(np.eye(2), 3, order=[0, 0])),
    ("left out the width", "a width σ > 0", lambda *_: comparison.compare(np.eye(2), 3, statistic="gamma")),
    ("bounded a flat coordinate by nothing", "got a flat coordinate without bound",
     lambda *_: preconditioner.diagonal_preconditioner(torch.zeros(3), 0.1)),
    ("asked for the curvature of many outputs", "outputs per sample, got 257", wide),
    ("asked for P(-1, x)", "expected a > 0 and x ≥ 0", lambda *_: gaussian.log_lower_gamma(-1.0, np.ones(2))),
    ("asked for a profile without rays", "at least one ray",
     lambda *_: gaussian.gaussian_profile(np.ones(0), 3, sigmas=[1.0])),
    ("asked for a verdict on nothing", "at least one log weight", lambda *_: diagnostics.diagnose(np.ones(0))),
    ("gave a loss below 0", "a mean loss of at least 0", measured(loss=lambda outputs, targets: -1 - outputs[:, 0] ** 2)),
    ("asked for gold above the threshold", "a minimum below the threshold 0.1, got the loss",
     lambda *_: tethered.tethered_hmc(above, 0.1, [1.0], seed=0)),
    ("drew too few points to start from", "draws of the fitted Gaussian inside the basin", few_trials),
    ("built a ladder of one rung", "at least two rungs", lambda *_: bennett.join_ladder([], [])),
    ("asked for two wells in 3 dimensions", "an even number of dimensions, got 3", lambda *_: bodies.two_wells(3)),
    ("fitted more parameters than samples", "more than 9 samples", lambda *_: bodies.linear_model(9, n_samples=9)),
    ("misspelt a name of the package", "has no attribute 'measure_volumes'",
     lambda *_: getattr(__init__, "measure_volumes")),  # noqa: B009 - a type checker would see the mistake
)  # fmt: skip


def messages(folder: Path) -> Iterator[tuple[str, str, BaseException]]:
    """What the user did, the part of the message that is promised, and the error."""
    for i, (did, said, trigger) in enumerate(TABLE):
        place = folder / str(i)
        place.mkdir()
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Exception) as caught:
            trigger(place, patch)
        yield did, said, caught.value


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, BaseException]]:
    return list(messages(tmp_path_factory.mktemp("messages")))


@pytest.mark.parametrize("i", range(len(TABLE)), ids=[did for did, _, _ in TABLE])
def test_what_the_user_did_is_told(i: int, told: list[tuple[str, str, BaseException]]) -> None:
    _, said, error = told[i]
    assert said in str(error)
    # The others are for programmers, who call a function with arguments that it cannot take.
    assert isinstance(error, UserError) or type(error) in (ValueError, AttributeError)


# Their errors are triggered in tests/analysis, tests/figures, tests/planes and tests/videos.
TESTED_BESIDE_PICTURES = [["analysis"], ["drawing"], ["planes"]]


def modules() -> dict[str, str]:
    """Source of every module of the package by its dotted name."""
    paths = [path for path in sources() if path.relative_to(ROOT).parts[0] == "minima_volume"]
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    return {name.removesuffix(".__init__"): path.read_text() for name, path in names.items()}


def reached() -> set[str]:
    """Modules that a user comes to: by a script that make runs, by a public name, and by what these import."""
    package = modules()
    scripts = [
        path
        for path in sources()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] not in ("minima_volume", "tests")
    ]
    left = ["minima_volume", *re.findall(r"-m (minima_volume\.[\w.]+)", (ROOT / "Makefile").read_text())]
    left += list(minima_volume._HOMES.values())
    left += [name for path in scripts for name in _imported(path.read_text(), package)]
    found: set[str] = set()
    while left:
        if (name := left.pop()) not in found:
            found.add(name)
            left += _imported(package[name], package)
    return found


def _imported(source: str, package: Collection[str]) -> list[str]:
    """Modules of the package that a source imports."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom) and node.module]
    names = [
        name for node in nodes for alias in node.names for name in (str(node.module), f"{node.module}.{alias.name}")
    ]
    return [name for name in names if name in package]


def sites() -> Iterator[tuple[str, str]]:
    """(place, pattern of the whole message) of every error that a user can meet and that has a text of its own."""
    package = modules()
    for name in sorted(name for name in reached() if name.split(".")[1:2] not in TESTED_BESIDE_PICTURES):
        for node in ast.walk(ast.parse(package[name])):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("Error"):
                pattern = _pattern(node.args[0]) if node.args else ""
                if re.search(r"\w", pattern.replace(".*", "")):
                    yield f"{name}:{node.lineno}", pattern


def _pattern(text: ast.expr) -> str:
    """A regular expression for a literal or formatted string; what is filled in matches anything."""
    if isinstance(text, ast.Constant):
        return re.escape(str(text.value))
    if isinstance(text, ast.JoinedStr):
        return "".join(_pattern(part) if isinstance(part, ast.Constant) else ".*" for part in text.values)
    return ".*"


def test_every_error_of_the_package_has_a_trigger(told: list[tuple[str, str, BaseException]]) -> None:
    texts = [str(error) for _, _, error in told]
    silent = [place for place, pattern in sites() if not any(re.fullmatch(pattern, text, re.DOTALL) for text in texts)]
    core = {"pipeline.cli", "storage.archives", "training.datasets", "training.trainer", "measure"}
    assert {f"minima_volume.{name}" for name in core} <= reached(), "the imports are not followed any more"
    assert len(list(sites())) > 30, "the errors are not found any more"
    assert not silent, f"errors without a line in TABLE: {', '.join(silent)}"
