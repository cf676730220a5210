"""Compare two samplers on stored minima: results/paper/<study>/samplers.csv.

Subset simulation starts from the prior and uses losses only; tethered Hamiltonian Monte Carlo starts at the minimum and uses
gradients. They share the loss function and no random number. Reads the minima of a study and its local_volumes.csv, at the
widths where ln γ is neither close to 0 nor too deep, in the base landscape. Minutes per minimum; runs are stored, so that an
interrupted command resumes.
"""

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pandas as pd
import torch

from minima_volume.analysis import tables as analysis_tables
from minima_volume.networks.precision import use_full_float32
from minima_volume.networks.reduction import reduce_first_layer
from minima_volume.pipeline.minima import folder_of, load_minima, training_fingerprint
from minima_volume.pipeline.settings import Settings
from minima_volume.pipeline.study import Repeat, Study, find_study
from minima_volume.sampling.potential import NetworkPotential
from minima_volume.sampling.tethered import TetheredSettings, tethered_hmc
from minima_volume.storage import archives, layout, tables

SCALE = "paper"
# ln γ in nats between which both are compared.
DEEPEST, SHALLOWEST = -16.0, -0.3
SETTINGS = TetheredSettings(chains=2, burn=20, keep=40, rank=64)


def compare(study: Study, settings: Settings) -> None:
    """Write samplers.csv of a study for all minima with local volumes."""
    torch.set_num_threads(1)
    frame = analysis_tables.local_volumes(SCALE, study.name)
    if frame is None:
        sys.exit(f"error: Expected local volumes of {study.name}, got none: run `make {study.name}.local` first.")
    known = (frame["landscape"] == 0) & (frame["norms"] == "own") & (frame["status"] == "ok")
    frame = frame[known & frame["log_gamma"].between(DEEPEST, SHALLOWEST)]
    rows = [
        row
        for number in sorted(set(frame["repeat"]))
        for row in _of_repeat(Repeat(study, int(number), settings), frame)
    ]
    path = layout.study_folder(SCALE, study.name) / layout.SAMPLERS
    tables.write_table(path, layout.SAMPLER_COLUMNS, rows)


def _of_repeat(repeat: Repeat, frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield a row per minimum and width of one repeat."""
    minima = load_minima(repeat, SCALE)
    for level, subset in frame[frame["repeat"] == repeat.number].groupby("level"):
        for row, other in zip(subset.to_dict("records"), _tethered(repeat, minima, int(level), subset["sigma"].tolist()),
                              strict=True):  # fmt: skip
            joint = math.hypot(row["error"], other["error"])
            yield {
                "study": repeat.study.name, "repeat": repeat.number, "level": int(level), "sigma": row["sigma"],
                "subset": row["log_gamma"], "subset_error": row["error"], "tethered": other["value"],
                "tethered_error": other["error"], "tethered_status": other["status"],
                "joint_errors": (row["log_gamma"] - other["value"]) / joint,
            }  # fmt: skip
            print(f"level {level:g}, σ = {row['sigma']:g}: {row['log_gamma']:.2f} and {other['value']:.2f}", flush=True)


def _tethered(repeat: Repeat, minima: Any, level: int, sigmas: list[float]) -> list[dict[str, Any]]:
    """Return ln γ with error and status at each width by Hamiltonian Monte Carlo, from its file if that is current."""
    path = layout.sampler_path(folder_of(repeat, SCALE), level)
    threshold = repeat.study.thresholds[0]
    wanted = archives.fingerprint(training_fingerprint(repeat, level), sigmas, threshold, asdict(SETTINGS))
    stored = archives.read_if_current(archives.read_json, path, wanted)
    if not stored:
        network = repeat.model, minima[level][1], repeat.samples.part(0, repeat.study.base)
        found = tethered_hmc(
            NetworkPotential(*reduce_first_layer(*network)), threshold, sigmas, seed=0, settings=SETTINGS
        )
        places = [found.at(sigma) for sigma in sigmas]
        rows = [
            {"value": float(found.log_gamma[i]), "error": float(found.error()[i]), "status": found.status[i]}
            for i in places
        ]
        stored = {"fingerprint": wanted, "rows": rows, "values": found.n_values, "gradients": found.n_gradients}
        archives.write_json(path, stored)
    return list(stored["rows"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.samplers", description=__doc__)
    parser.add_argument("study", help="name of a study, as in `make help`")
    given = parser.parse_args()
    settings = Settings.from_environment()
    use_full_float32()
    compare(find_study(given.study).at_scale(SCALE, settings.directions, settings.levels), settings)
