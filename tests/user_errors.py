"""Mistakes of users of `make`: what they did, a part of the message, and a trigger that repeats the mistake.

A trigger is called with an empty folder and a monkeypatch.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from minima_volume.networks import parameters
from minima_volume.networks.losses import cross_entropy
from minima_volume.pipeline import cli, minima, random_perturbs, scaffold, train_models, volume_estimation
from minima_volume.pipeline.cluster import started
from minima_volume.pipeline.repeat import Repeat
from minima_volume.pipeline.settings import Settings, cluster, positive, slurm_options
from minima_volume.pipeline.study import Study
from minima_volume.storage import archives, layout, tables
from minima_volume.training import datasets, interventions, models, trainer
from minima_volume.training.recipe import Recipe
from tests.project import ROOT

TINY = Study(
    name="tiny", title="Tiny", data="digits", model="digits_mlp", intervention="poison", base=48, levels=(0, 16),
    recipe=Recipe(epochs=2), thresholds=(0.1,), n_directions=4,
)  # fmt: skip
DIGITS = datasets.load_digits(Path(), 0)
HEADER = {"fingerprint": "0123456789abcdef"}
Trigger = Callable[[Path, pytest.MonkeyPatch], object]
Mistake = tuple[str, str, Trigger]


def command(*arguments: str, work: Callable[[cli.StageRun], None] = lambda run: None) -> Trigger:
    """Run a stage with these arguments, and let its error through."""

    def call(folder: Path, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(layout, "ROOT", folder)
        patch.setattr(sys, "argv", ["stage.py", *arguments])
        cli._run({"tiny": TINY}, work, Settings.from_environment())

    return call


def at(setting: str, value: str, call: Callable[[], object]) -> Trigger:
    """Call a function with one setting in the environment."""

    def trigger(folder: Path, patch: pytest.MonkeyPatch) -> object:
        patch.setenv(setting, value)
        return call()

    return trigger


def written(name: str, content: bytes | None, read: Callable[[Path], object]) -> Trigger:
    """Read a file with this content, or a missing file if there is none."""

    def trigger(folder: Path, patch: pytest.MonkeyPatch) -> object:
        if content is not None:
            (folder / name).write_bytes(content)
        return read(folder / name)

    return trigger


def without_a_gpu(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("torch.backends.mps.is_available", lambda: False)
    patch.setenv("DEVICE", "mps")
    Settings.from_environment()


def flipped_arrays(folder: Path, patch: pytest.MonkeyPatch) -> None:
    archives.write_arrays(folder / "a.npz", {}, {"x": np.zeros(3)})
    info, arrays = archives.read_arrays(folder / "a.npz")
    patch.setattr(archives, "_checksum", lambda *_: "another")
    archives.write_arrays(folder / "a.npz", info, arrays)
    patch.undo()
    archives.read_arrays(folder / "a.npz")


def into_a_file(folder: Path, patch: pytest.MonkeyPatch) -> None:
    (folder / "file").touch()
    archives.write_json(folder / "file" / "run.json", {})


def table_of_another_record(folder: Path, patch: pytest.MonkeyPatch) -> None:
    table = folder / "volumes.csv"
    tables.write_tables(folder / "run.json", {table: "study\ntiny\n"}, {})
    table.write_text("study\ntony\n")
    tables.read_table(table, ["study"])


def table_of_a_damaged_record(folder: Path, patch: pytest.MonkeyPatch) -> None:
    tables.write_tables(folder / "run.json", {folder / "volumes.csv": "study\ntiny\n"}, {})
    (folder / "run.json").write_text("{")
    tables.read_table(folder / "volumes.csv", ["study"])


def wrong_archives(folder: Path, patch: pytest.MonkeyPatch) -> None:
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in datasets.IDX_FILES:
        (raw / name).write_bytes(b"no digits")
    datasets.LOADERS["mnist"](folder, 0)


def no_connection(folder: Path, patch: pytest.MonkeyPatch) -> None:
    class Unreachable:
        mirrors = ("https://example.org/",)

        def download(self) -> None:
            raise RuntimeError

    patch.setattr("torchvision.datasets.MNIST", Unreachable)
    datasets.LOADERS["mnist"](folder, 0)


def wrong_server(folder: Path, patch: pytest.MonkeyPatch) -> None:
    class Server:
        mirrors = ("https://example.org/",)
        root: str

        def download(self) -> None:
            raw = Path(self.root) / "MNIST" / "raw"
            raw.mkdir(parents=True)
            for name in datasets.IDX_FILES:
                (raw / name).write_bytes(b"no digits")

    patch.setattr("torchvision.datasets.MNIST", Server)
    datasets.LOADERS["mnist"](folder, 0)


def untrained(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(layout, "ROOT", folder)
    minima.load_minima(Repeat(TINY, 0), "quick")


def unmeasured(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(layout, "ROOT", folder)
    repeat = Repeat(TINY, 0)
    for group in train_models.training_groups([repeat], "quick"):
        group.run()
    random_perturbs.load_crossings(repeat, minima.load_minima(repeat, "quick"), "quick")


def diverged(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(layout, "ROOT", folder)
    repeat = Repeat(replace(TINY, recipe=Recipe(epochs=200, lr=1e3)), 0)
    for group in train_models.training_groups([repeat], "quick"):
        group.run()
    train_models.finish_training([repeat], "quick")


def gathered_too_early(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(layout, "ROOT", folder)
    volume_estimation.gather_tables([Repeat(TINY, 0)], "quick")


def of_other_settings(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(layout, "ROOT", folder)
    for name in ("minima.json", "rays.json"):
        archives.write_json(layout.repeat_folder("quick", "tiny", 0) / name, {"0": HEADER, "16": HEADER})
    volume_estimation.gather_tables([Repeat(TINY, 0)], "quick")


def too_many_samples(run: cli.StageRun) -> None:
    interventions.more_data(DIGITS, 48, 5000, 0)


def two_batched_jobs(folder: Path, patch: pytest.MonkeyPatch) -> None:
    job = trainer.Job(models.initial_parameters("digits_mlp", 0), DIGITS.inputs[:4], DIGITS.targets[:4], 0)
    list(trainer.train(models.build_model("digits_mlp"), [job, job], Recipe(1, batch_size=2), cross_entropy))


def data_in_a_file(folder: Path, patch: pytest.MonkeyPatch) -> None:
    (folder / "data").touch()
    datasets.LOADERS["mnist"](folder / "data", 0)


def workers_that_end(folder: Path, patch: pytest.MonkeyPatch) -> None:
    def fails(**options: object) -> None:
        raise RuntimeError("Nanny failed to start.")

    patch.setattr("distributed.SpecCluster", fails)
    with started("local", {"THREADS": "1"}):
        pass


MAKE_MISTAKES: tuple[Mistake, ...] = (
    ("ran a misspelt study", "Expected a study among tiny, got 'tony'", command("tony", "--repeats", "0")),
    ("asked for repeat -1", "counted from 0, got '-1'", command("tiny", "--repeats=-1")),
    ("misspelt the scale", "SCALE to be one of quick, paper, got 'papr'",
     command("tiny", "--repeats", "0", "--scale", "papr")),
    ("asked for more samples than there are", "got 5048 for base and extra data: lower the levels. (tiny, repeat 0)",
     command("tiny", "--repeats", "0", work=too_many_samples)),
    ("set THREADS=0", "THREADS to be a whole number above 0, got '0'", lambda *_: positive("THREADS", "0")),
    ("set CLUSTER=head", "Expected CLUSTER to be local, slurm or an address such as tcp://head:8786, got 'head'",
     lambda *_: cluster({"CLUSTER": "head"})),
    ("started workers that end at once", "Expected 1 workers to start, got 'Nanny failed to start.' 3 times: lower THREADS",
     workers_that_end),
    ("gave SLURM a command", "Expected SLURM to be options of sbatch such as --partition=gpu --time=4:00:00, got '--x=a;'",
     lambda *_: slurm_options({"SLURM": "--x=a; ls"})),
    ("set CLUSTER=local for a stage", "Expected CLUSTER=local to be started by make, got it in a stage: run make",
     lambda *_: Settings.from_environment({"CLUSTER": "local"})),
    ("gave a worker other data", "the data set digits 8×8 with the driver's checksums, got another one",
     lambda *_: replace(Repeat(TINY, 0), checksums=(("file", "other"),)).dataset),
    ("set DIRECTIONS=10^20", "DIRECTIONS to be at most 1000000, got 100000000000000000...: lower it",
     lambda *_: positive("DIRECTIONS", "1" + 20 * "0")),
    ("asked for repeat 10000000", "REPEATS to be at most 10000, got 10000001", command("tiny", "--repeats", "10000000")),
    ("set DEVICE=tpu", "DEVICE to be one of cpu, cuda, mps, got 'tpu'", at("DEVICE", "tpu", Settings.from_environment)),
    ("set DEVICE=mps without one", "a device that this machine has, got DEVICE=mps", without_a_gpu),
    ("wrote a threshold of 0 into a row", "thresholds above 0 in study tiny, got (0.0,): correct its row",
     lambda *_: replace(TINY, thresholds=(0.0,)).validate()),
    ("misspelt a column of quick", "quick of study tiny, got n_direction",
     lambda *_: replace(TINY, quick={"n_direction": 3}).at_scale("quick")),
    ("misspelt a model", "a model among", lambda *_: models.build_model("digits_mpl")),
    ("had a damaged archive in DATA_DIR", "Expected md5", wrong_archives),
    ("had no archives and no connection", "set DATA_DIR to a folder that has them", no_connection),
    ("downloaded from a server with other files", "from the servers of MNIST", wrong_server),
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
    ("measured before training", "levels 0, 16, got none: run train_models.py first, or the same make", untrained),
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
    ("named an experiment by 300 letters", "Expected NAME of at most 100 letters, got 300",
     lambda *_: scaffold.new_experiment(ROOT, "a" * 300, "MNIST")),
    ("named an experiment 8x8", "Expected NAME to be letters", lambda *_: scaffold.new_experiment(ROOT, "8x8", "MNIST")),
    ("gave an experiment a title for make", "Expected TITLE to be one line without #",
     lambda *_: scaffold.new_experiment(ROOT, "new", "MNIST", "costs $1")),
    ("named an experiment as git ignores it", "Expected NAME to be a folder that git keeps, got 'data'",
     lambda *_: scaffold.new_experiment(ROOT, "data", "MNIST")),
    ("named an experiment as one that is there", "not there yet, got 'sam'",
     lambda *_: scaffold.new_experiment(ROOT, "sam", "MNIST")),
)  # fmt: skip
