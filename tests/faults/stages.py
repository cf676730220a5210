"""A study whose stages run in this process, so that many faults take seconds; results in a folder of their own."""

import contextlib
import io
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from minima_volume.pipeline import random_perturbs, train_models, volume_cutoff, volume_estimation
from minima_volume.pipeline.study import find_study
from minima_volume.storage import archives, layout
from tests.faults.sandbox import Done, Tables, is_intact
from tests.project import STAGES
from tests.study_runs import run_stage

STUDY = find_study("swiss_data_x5").at_scale("quick", levels=2, directions=60)
WORK = {
    "train_models": train_models.train_models,
    "random_perturbs": random_perturbs.random_perturbs,
    "volume_cutoff": volume_cutoff.volume_cutoff,
    "volume_estimation": volume_estimation.volume_estimation,
}
GATHER = "gather"


class Results:
    """Results of the study in a folder, which a fault may damage and stages make again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.study = folder / "paper" / STUDY.name

    def copy(self, name: str) -> "Results":
        """Copy the results with their file times to a neighbouring folder."""
        target = self.folder.parent / name
        shutil.copytree(self.folder, target)
        return Results(target)

    def run(self, *stages: str, repeats: Sequence[int] = (0, 1)) -> Done:
        """Run stages, by default all; return exit code and output as of a command."""
        said, code = io.StringIO(), 0
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), pytest.MonkeyPatch.context() as patch:
            patch.setenv("THREADS", "1")
            for stage in stages or (*STAGES, GATHER):
                work, options = (WORK[STAGES[-1]], ["--gather"]) if stage == GATHER else (WORK[stage], [])
                try:
                    run_stage(work, self.folder, STUDY, repeats, options)
                except SystemExit as error:
                    code = 1
                    print(error.code)
                    break
        return Done(code, said.getvalue())

    def tables(self) -> Tables:
        """Return the tables of the study by file name."""
        paths = [self.study / name for name in (layout.VOLUMES, layout.CUTOFFS)]
        return {path.name: path.read_bytes() for path in paths if path.exists()}

    def stored(self) -> dict[str, int]:
        """Return the file time of every minimum and every block of rays."""
        paths = [path for path in self.study.rglob("*") if path.suffix in (".safetensors", ".npz")]
        return {str(path.relative_to(self.study)): path.stat().st_mtime_ns for path in paths}

    def files(self) -> list[Path]:
        """Return all stored files."""
        return sorted(path for path in self.study.rglob("[!.]*") if path.is_file())

    def damaged(self) -> list[str]:
        """Return the files that cannot be read to their end."""
        return [str(path) for path in self.files() if not is_intact(path)]


def undisturbed(folder: Path) -> Results:
    """Run the study once."""
    results = Results(folder / "undisturbed")
    done = results.run()
    if done.code:
        sys.exit(f"error: Expected the undisturbed study to run, got:\n{done.text}")
    return results


def as_of_an_older_run(path: Path) -> None:
    """Write a block of rays anew without its place, as older runs did."""
    info, arrays = archives.read_arrays(path)
    header = {**info, "sha256": archives._checksum(info, arrays)}
    with path.open("wb") as stream:
        np.savez_compressed(stream, info=np.array(json.dumps(header, sort_keys=True)), **arrays)
