"""Compare two samplers on stored minima: results/paper/<study>/samplers.csv.

Subset simulation starts from the prior and uses losses only; tethered Hamiltonian Monte Carlo starts at the minimum and uses
gradients. They share the loss function and no random number. Both measure the stored minima in the base landscape, at the
widths where ln γ by subset simulation is neither close to 0 nor too deep. Minutes per minimum; runs of both are stored, so
that an interrupted command resumes.
"""

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch

from benchmarks.trust import SCALE, Row, stored_rows
from minima_volume.networks.precision import use_full_float32
from minima_volume.networks.reduction import reduce_first_layer
from minima_volume.pipeline.local_volumes import OWN, minimum_rows
from minima_volume.pipeline.minima import folder_of, load_minima, training_fingerprint
from minima_volume.pipeline.repeat import Repeat
from minima_volume.pipeline.settings import Settings
from minima_volume.pipeline.study import Study, find_study
from minima_volume.sampling.potential import NetworkPotential
from minima_volume.sampling.tethered import TetheredSettings, TetheredVolume, tethered_hmc
from minima_volume.storage import archives, layout, tables
from minima_volume.text import prepare_streams

# ln γ in nats between which both are compared.
DEEPEST, SHALLOWEST = -16.0, -0.3
SETTINGS = TetheredSettings(chains=2, burn=20, keep=40, rank=64)


def compare(study: Study, settings: Settings) -> None:
    """Write samplers.csv of a study from all repeats whose minima are stored."""
    torch.set_num_threads(1)
    numbers = layout.repeats_with(SCALE, study.name, layout.MINIMA_RECORD)
    if not numbers:
        sys.exit(f"error: Expected minima of {study.name} at paper scale, got none: run `make {study.name}` first.")
    rows = [row for number in numbers for row in _of_repeat(Repeat(study, number, settings))]
    tables.write_recorded_table(layout.study_folder(SCALE, study.name) / layout.SAMPLERS, layout.SAMPLER_COLUMNS, rows)


def _of_repeat(repeat: Repeat) -> Iterator[Row]:
    """Yield a row per minimum and width of one repeat."""
    minima = load_minima(repeat, SCALE)
    for level in minima:
        # Measured or read for these very minima: the committed table may hold those of another processor.
        known = [row for row in minimum_rows(repeat, SCALE, minima, level).rows() if row["status"] == "ok"]
        base = [row for row in known if row["landscape"] == 0 and row["norms"] == OWN]
        subset = [row for row in base if DEEPEST <= row["log_gamma"] <= SHALLOWEST]
        chains = _tethered(repeat, minima, level, [row["sigma"] for row in subset]) if subset else []
        for row, other in zip(subset, chains, strict=True):
            error = max(row["log_gamma_se"], row["log_gamma_within_se"])
            yield {
                "study": repeat.study.name, "repeat": repeat.number, "level": level, "sigma": row["sigma"],
                "subset": row["log_gamma"], "subset_error": error, "tethered": other["value"],
                "tethered_error": other["error"], "tethered_status": other["verdict"],
                "joint_errors": (row["log_gamma"] - other["value"]) / math.hypot(error, other["error"]),
            }  # fmt: skip
            print(f"level {level}, σ = {row['sigma']:g}: {row['log_gamma']:.2f} and {other['value']:.2f}", flush=True)


def _tethered(repeat: Repeat, minima: Any, level: int, sigmas: list[float]) -> list[Row]:
    """Return ln γ of one minimum at each width by Hamiltonian Monte Carlo, from its file if that is current."""
    path, threshold = layout.sampler_path(folder_of(repeat, SCALE), level), repeat.study.thresholds[0]
    wanted = archives.fingerprint(training_fingerprint(repeat, level), sigmas, threshold, asdict(SETTINGS))

    def run() -> TetheredVolume:
        network = repeat.model, minima[level][1], repeat.samples.part(0, repeat.study.base)
        potential = NetworkPotential(*reduce_first_layer(*network))
        return tethered_hmc(potential, threshold, sigmas, seed=0, settings=SETTINGS)

    return stored_rows(path, wanted, level, sigmas, run)


if __name__ == "__main__":
    prepare_streams()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.samplers", description=__doc__)
    parser.add_argument("study", help="name of a study, as in `make help`")
    given = parser.parse_args()
    settings = Settings.from_environment()
    use_full_float32()
    compare(find_study(given.study).at_scale(SCALE, settings.directions, settings.levels), settings)
