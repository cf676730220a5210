"""Measure ln γ of small MNIST minima by four methods that share only the loss: benchmarks/local_volumes.md and .csv.

Reads the minima and rays of `make mnist_data mnist_poison SCALE=quick`. Independent steps move all parameters, subset
simulation and tethered Hamiltonian Monte Carlo those that the samples can see, and rays are those of the study; no two
methods share a random number. About an hour on one core.
"""

import argparse
import csv
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, fields
from itertools import combinations
from pathlib import Path

import torch

from minima_volume.estimators.gaussian import gaussian_profile
from minima_volume.estimators.radial import Floats
from minima_volume.estimators.volume import log_radii
from minima_volume.networks.precision import use_full_float32
from minima_volume.networks.reduction import reduce_first_layer
from minima_volume.pipeline.minima import load_minima
from minima_volume.pipeline.random_perturbs import load_crossings
from minima_volume.pipeline.repeat import Repeat
from minima_volume.pipeline.settings import Settings
from minima_volume.pipeline.study import find_study
from minima_volume.sampling.potential import NetworkPotential, Potential
from minima_volume.sampling.subset import SubsetSettings, subset_simulation
from minima_volume.sampling.tethered import TetheredSettings, tethered_hmc
from minima_volume.storage.atomic import atomic_write

HERE = Path(__file__).resolve().parent
SCALE = "quick"
# Studies, and widths that span ln γ from about −0.3 to −15 on their minima.
WIDTHS = {"mnist_data": (0.05, 0.07, 0.1), "mnist_poison": (0.02, 0.03, 0.05)}
DRAWS, CHUNK = 6000, 100
# Draws inside below which their logarithm is no estimate.
FEWEST_INSIDE = 10
CHAINS = TetheredSettings(chains=2, burn=20, keep=40, rank=64)
SUBSET, CHAIN = "subset simulation", "tethered HMC"
Found = tuple[float, float, str]  # ln γ, its error, the verdict


@dataclass(frozen=True)
class Row:
    """ln γ of one minimum at one width by one method.

    Attributes:
        study: Name of the study.
        level: The level of the minimum.
        sigma: The width σ.
        method: The method.
        value: ln γ in nats; NaN if too few draws are inside.
        error: Its standard error in nats.
        verdict: The method's own verdict.
        seconds: Seconds on one core; those of a run over all widths are shared by them.
    """

    study: str
    level: int
    sigma: float
    method: str
    value: float
    error: float
    verdict: str
    seconds: float


@dataclass(frozen=True)
class Basin:
    """One minimum in the base landscape.

    Attributes:
        potential: Its loss over all parameters.
        reduced: The same in the coordinates that the samples can see.
        threshold: The loss at which the basin ends.
        sigmas: The widths.
        logs: ln r along the rays of the study (directions,).
    """

    potential: Potential
    reduced: Potential
    threshold: float
    sigmas: tuple[float, ...]
    logs: Floats


def draws(basin: Basin) -> list[Found]:
    """Return ln γ from independent steps: the share that stays inside, with its binomial error."""
    found = []
    for sigma in basin.sigmas:
        random, inside = torch.Generator().manual_seed(round(1e5 * sigma)), 0
        for _ in range(DRAWS // CHUNK):
            steps = sigma * torch.randn(CHUNK, basin.potential.n_params, generator=random)
            inside += int((basin.potential.values(steps) <= basin.threshold).sum())
        if inside < FEWEST_INSIDE:
            found.append((math.nan, math.nan, f"{inside} of {DRAWS:,} inside"))
        else:
            found.append((math.log(inside / DRAWS), math.sqrt((1 - inside / DRAWS) / inside), "ok"))
    return found


def subset(basin: Basin) -> list[Found]:
    """Return ln γ by subset simulation, each width on its own."""
    runs = [
        subset_simulation(
            basin.reduced, basin.threshold, [s], seed=round(1e5 * s), settings=SubsetSettings(floor=-30.0)
        )
        for s in basin.sigmas
    ]
    return [(float(run.log_gamma[0]), float(run.error()[0]), run.status[0]) for run in runs]


def chains(basin: Basin) -> list[Found]:
    """Return ln γ by tethered Hamiltonian Monte Carlo, all widths in one run."""
    found = tethered_hmc(basin.reduced, basin.threshold, basin.sigmas, seed=0, settings=CHAINS)
    places = [found.at(sigma) for sigma in basin.sigmas]
    return [(float(found.log_gamma[i]), float(found.error()[i]), found.status[i]) for i in places]


def rays(basin: Basin) -> list[Found]:
    """Return ln γ from the rays of the study."""
    points = gaussian_profile(basin.logs, basin.potential.n_params, sigmas=basin.sigmas).points
    return [(point.log_gamma, point.log_gamma_se, point.verdict.word) for point in points]


METHODS: dict[str, Callable[[Basin], list[Found]]] = {
    "independent steps": draws, SUBSET: subset, CHAIN: chains, "rays": rays,
}  # fmt: skip


def basins(repeat: Repeat) -> Iterator[tuple[int, Basin]]:
    """Yield level and basin of every minimum of a repeat."""
    minima, threshold, base = load_minima(repeat, SCALE), repeat.study.thresholds[0], repeat.study.base
    crossings, norms = load_crossings(repeat, minima, SCALE)
    samples = repeat.samples.part(0, base)
    for level, (_, minimum) in minima.items():
        columns = [(target.size, target.threshold, target.metric) for target in repeat.study.targets(level)]
        radii = crossings[level]["coefficients"][:, columns.index((base, threshold, "loss"))]
        potential = NetworkPotential(repeat.model, minimum, samples)
        reduced = NetworkPotential(*reduce_first_layer(repeat.model, minimum, samples), nonnegative=True)
        yield level, Basin(potential, reduced, threshold, WIDTHS[repeat.study.name], log_radii(radii, norms))


def measure(repeat: Repeat) -> Iterator[Row]:
    """Yield the rows of all minima of a repeat."""
    for level, basin in basins(repeat):
        for name, method in METHODS.items():
            started = time.process_time()
            found = method(basin)
            seconds = (time.process_time() - started) / len(found)
            for sigma, one in zip(basin.sigmas, found, strict=True):
                yield Row(repeat.study.name, level, sigma, name, *one, round(seconds, 1))
            print(f"{repeat.study.name}, level {level}: {name} took {seconds * len(found):.0f} s", flush=True)


def worst(rows: list[Row]) -> float:
    """Return the largest difference between two methods that say `ok`, in joint errors; NaN if fewer than two do."""
    good = [row for row in rows if row.verdict == "ok"]
    apart = [abs(a.value - b.value) / math.hypot(a.error, b.error) for a, b in combinations(good, 2)]
    return max(apart, default=math.nan)


def page(rows: list[Row]) -> str:
    """Return the table as Markdown: a line for each minimum and width."""
    names = " | ".join(METHODS)
    head = (
        "# ln γ of small MNIST minima by four methods\n\n"
        "`python -m benchmarks.local_volumes` writes this page from the minima of\n"
        "`make mnist_data mnist_poison SCALE=quick`, in the landscape of the base samples at the first threshold. Values\n"
        f"are in nats; ± is the method's own standard error. Each width has {DRAWS:,} independent steps. *Apart* is the\n"
        "largest difference between two methods that say `ok`, in joint standard errors. *Seconds* are those of subset\n"
        "simulation and of the chain, on one core.\n\n"
        f"| study | level | σ | {names} | apart | seconds |\n|---|---|---|{'---|' * len(METHODS)}---|---|\n"
    )
    lines = []
    for study, level, sigma in dict.fromkeys((row.study, row.level, row.sigma) for row in rows):
        here = {row.method: row for row in rows if (row.study, row.level, row.sigma) == (study, level, sigma)}
        cells = [_cell(here[name]) for name in METHODS]
        seconds = f"{here[SUBSET].seconds:.0f} and {here[CHAIN].seconds:.0f}"
        apart = worst(list(here.values()))
        shown = "—" if math.isnan(apart) else f"{apart:.1f}"
        lines.append(f"| `{study}` | {level:,} | {sigma:g} | {' | '.join(cells)} | {shown} | {seconds} |\n")
    return head + "".join(lines)


def _cell(row: Row) -> str:
    """Return one estimate, or why there is none."""
    if math.isnan(row.value):
        return row.verdict
    doubt = "" if row.verdict in ("ok", "converged") else f" ({row.verdict})"
    return f"{row.value:,.2f} ± {row.error:.2g}{doubt}"


def main() -> None:
    """Measure the minima of both studies and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.local_volumes", description=__doc__)
    parser.add_argument("--folder", type=Path, default=HERE, help="folder of the results")
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    use_full_float32()
    settings = Settings.from_environment()
    studies = [find_study(name).at_scale(SCALE, settings.directions, settings.levels) for name in WIDTHS]
    rows = [row for study in studies for row in measure(Repeat(study, 0, settings))]
    with atomic_write(folder / "local_volumes.md") as scratch:
        scratch.write_text(page(rows))
    with atomic_write(folder / "local_volumes.csv") as scratch, scratch.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(field.name for field in fields(Row))
        table.writerows(astuple(row) for row in rows)


if __name__ == "__main__":
    main()
