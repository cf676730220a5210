"""Order a study's minima by every estimator: results/paper/<study>/orderings.csv and confidences.csv.

Reads the minima and radii of the study, at its first threshold in the base landscape. Each run of the sampler is stored,
so that an interrupted command resumes.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from minima_volume.estimators.comparison import Statistic, rank
from minima_volume.estimators.diagnostics import diagnose
from minima_volume.estimators.gaussian import gaussian_profile
from minima_volume.estimators.radial import Floats, typical_log_volume
from minima_volume.estimators.volume import estimate_volume, log_radii, volume_error
from minima_volume.networks.precision import use_full_float32
from minima_volume.pipeline.minima import folder_of, load_minima
from minima_volume.pipeline.random_perturbs import Minima, load_crossings, ray_fingerprint
from minima_volume.pipeline.repeat import Repeat
from minima_volume.pipeline.settings import Settings
from minima_volume.pipeline.study import Study, find_study
from minima_volume.sampling.potential import NetworkPotential
from minima_volume.sampling.tethered import TetheredSettings, TetheredVolume, tethered_hmc
from minima_volume.storage import archives, layout, tables
from minima_volume.text import prepare_streams

SCALE = "paper"
# Widths around the typical radius divided by √n, c = 0.03 to 0.3 for all networks of the paper.
SIGMAS = (0.01, 0.02, 0.03, 0.05, 0.1)
SAMPLING_SIGMAS = (0.02, 0.03, 0.05)
# Takes half a minute to two minutes per minimum of the spirals on one core, with errors near 0.1 nats.
SAMPLING = TetheredSettings(chains=2, burn=20, keep=40, rank=64)
Row = dict[str, Any]


def _radii(repeat: Repeat, minima: Minima) -> dict[int, tuple[Floats, Floats]]:
    """Return coefficients and log radii of every minimum below the first threshold in the base landscape."""
    crossings, norms = load_crossings(repeat, minima, SCALE)
    found = {}
    for level in minima:
        sizes = [(t.size, t.threshold, t.metric) for t in repeat.study.targets(level)]
        column = sizes.index((repeat.study.base, repeat.study.thresholds[0], "loss"))
        coefficients = crossings[level]["coefficients"][:, column]
        if (coefficients != 0).all():
            found[level] = coefficients, log_radii(coefficients, norms)
    return found


def by_rays(repeat: Repeat, minima: Minima) -> Iterator[Row]:
    """Yield every estimate from rays, minimum by minimum."""
    _, norms = load_crossings(repeat, minima, SCALE)
    for level, (coefficients, logs) in _radii(repeat, minima).items():
        n = minima[level][1].layout.n_params
        volume = estimate_volume(coefficients, norms, n, recrossed=np.zeros(len(logs), dtype=bool),
                          grid_directions=repeat.study.grid_directions)  # fmt: skip
        said = diagnose(n * logs, n_censored=int(np.isnan(coefficients).sum()))
        typical, typical_se = typical_log_volume(logs, n)
        yield {
            "level": level,
            "estimator": "grid",
            "value": volume.log_volume_grid,
            "error": None,
            "verdict": said.word,
        }
        yield {"level": level, "estimator": "log_volume", "value": volume.log_volume,
               "error": volume_error(volume, said, logs, n), "verdict": said.word}  # fmt: skip
        yield {"level": level, "estimator": "typical", "value": typical, "error": typical_se, "verdict": "converged"}
        for point in gaussian_profile(logs, n, sigmas=SIGMAS, censored=np.isnan(coefficients)).points:
            yield {"level": level, "estimator": "gamma", "sigma": point.sigma, "value": point.log_gamma,
                   "error": point.log_gamma_se, "verdict": point.verdict.word}  # fmt: skip


def by_sampling(repeat: Repeat, level: int, minima: Minima, *, sample: bool) -> list[Row]:
    """Return ln γ_σ of one minimum by tethered Hamiltonian Monte Carlo.

    Args:
        repeat: The repeat.
        level: The level of the minimum.
        minima: The minima of the repeat.
        sample: Run the sampler if no run is stored; otherwise only stored runs are returned.
    """
    path = layout.gold_path(folder_of(repeat, SCALE), level)
    wanted = archives.fingerprint(ray_fingerprint(repeat, level), list(SAMPLING_SIGMAS), asdict(SAMPLING))

    def run() -> TetheredVolume:
        potential = NetworkPotential(repeat.model, minima[level][1], repeat.samples.part(0, repeat.study.base))
        return tethered_hmc(potential, repeat.study.thresholds[0], SAMPLING_SIGMAS, seed=0, settings=SAMPLING)

    return stored_rows(path, wanted, level, SAMPLING_SIGMAS, run if sample else None)


def stored_rows(
    path: Path, wanted: str, level: int, sigmas: Sequence[float], run: Callable[[], TetheredVolume] | None
) -> list[Row]:
    """Return a row per width of a run of the sampler, from its file if that is current.

    Args:
        path: The file.
        wanted: Fingerprint of the run.
        level: The level of the minimum.
        sigmas: The widths.
        run: Runs the sampler; None if only stored runs are wanted.
    """
    stored = archives.read_if_current(archives.read_json, path, wanted)
    if not stored and run is None:
        return []
    if not stored and run is not None:
        found = run()
        places = [(sigma, found.at(sigma)) for sigma in sigmas]
        rows = [{"level": level, "estimator": "gold", "sigma": sigma, "value": float(found.log_gamma[i]),
                 "error": float(found.error()[i]), "verdict": found.status[i]} for sigma, i in places]  # fmt: skip
        stored = {"fingerprint": wanted, "rows": rows, "values": found.n_values, "gradients": found.n_gradients}
        archives.write_record(path, stored)
    return list(stored["rows"])


def confidences(repeat: Repeat, minima: Minima, rows: list[Row]) -> Iterator[Row]:
    """Yield the order by each estimator, the confidence of that order, and that of volumes that fall with the level."""
    radii = _radii(repeat, minima)
    if not radii:
        return
    levels, logs = list(radii), np.stack([logs for _, logs in radii.values()])
    n = next(iter(minima.values()))[1].layout.n_params
    falling = list(range(len(levels)))
    choices: list[tuple[str, Statistic, float | None]] = [
        ("log_volume", "log_volume", None),
        ("typical", "typical", None),
    ]
    for name, statistic, sigma in [*choices, *(("gamma", "gamma", s) for s in SIGMAS)]:
        judged = partial(rank, logs, n, statistic=statistic, sigma=sigma)
        own = judged()
        yield {"estimator": name, "sigma": sigma, "order": " ".join(str(levels[i]) for i in own.order),
               "confidence": own.confidence, "falling": judged(order=falling).confidence}  # fmt: skip
    for name, sigma in [("grid", None), *(("gold", s) for s in SAMPLING_SIGMAS)]:
        own_rows = [row for row in rows if row["estimator"] == name and row.get("sigma") == sigma]
        if len(own_rows) == len(levels):
            yield {"estimator": name, "sigma": sigma, **_independent(own_rows)}


def _independent(rows: list[Row]) -> Row:
    """Return order and confidences if each minimum has its own normal error; without errors only the order."""
    values = np.array([row["value"] for row in rows])
    order = " ".join(str(rows[i]["level"]) for i in np.argsort(-values))
    if rows[0]["error"] is None:
        return {"order": order, "falling": float((np.diff(values) < 0).all())}
    errors = np.array([row["error"] for row in rows])
    draws = np.random.default_rng(0).normal(values, errors, size=(10_000, len(rows)))
    ranked = draws[:, np.argsort(-values)]
    return {"order": order, "confidence": float((np.diff(ranked) < 0).all(axis=1).mean()),
            "falling": float((np.diff(draws) < 0).all(axis=1).mean())}  # fmt: skip


def measure(study: Study, sample: bool, settings: Settings | None = None) -> None:
    """Write both tables of a study from all repeats whose rays are stored."""
    torch.set_num_threads(1)
    folder, rows, sure = layout.study_folder(SCALE, study.name), [], []
    numbers = layout.repeats_with(SCALE, study.name, layout.RAYS_RECORD)
    if not numbers:
        sys.exit(
            f"error: Expected rays of {study.name} at paper scale, got none: run `make {study.name} REPEATS=3` first."
        )
    for number in numbers:
        repeat = Repeat(study, number, settings or Settings.from_environment({}))
        minima = load_minima(repeat, SCALE)
        own = list(by_rays(repeat, minima))
        for level in tqdm(_radii(repeat, minima), desc=f"{study.name}, repeat {number}, sampling", disable=not sample):
            own += by_sampling(repeat, level, minima, sample=sample)
        common = {"study": study.name, "repeat": number, "threshold": study.thresholds[0]}
        rows += [common | row for row in own]
        sure += [common | row for row in confidences(repeat, minima, own)]
    tables.write_recorded_table(folder / layout.ORDERINGS, layout.ORDERING_COLUMNS, rows)
    tables.write_recorded_table(folder / layout.CONFIDENCES, layout.CONFIDENCE_COLUMNS, sure)


if __name__ == "__main__":
    prepare_streams()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trust", description=__doc__)
    parser.add_argument("study", help="name of a study, as in `make help`")
    parser.add_argument(
        "--sample", action="store_true", help="also by tethered Hamiltonian Monte Carlo, minutes per minimum"
    )
    given = parser.parse_args()
    settings = Settings.from_environment()
    use_full_float32()
    measure(find_study(given.study).at_scale(SCALE, settings.directions, settings.levels), given.sample, settings)
