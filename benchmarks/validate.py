"""Test every estimator on bodies of known volume: its error, its own standard error, and its verdict."""

import argparse
import csv
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from minima_volume import Measurement, local_volume, measure_volume
from minima_volume.rays.preconditioner import Preconditioner, diagonal_preconditioner
from minima_volume.sampling.elliptical import elliptical_slice_path
from minima_volume.sampling.local_volume import LocalVolume
from minima_volume.sampling.tethered import tethered_hmc
from minima_volume.storage.atomic import atomic_write
from minima_volume.testing import bodies
from minima_volume.testing.bodies import CROSSING, Body
from minima_volume.testing.ellipsoid import Ellipsoid

HERE = Path(__file__).resolve().parent
DIRECTIONS = 500
# At the radius of a typical ray, and at twice that.
SIGMAS = (CROSSING, 2 * CROSSING)
MARKS = "osD^vPX*"
# Number of parameters up to which samplers run; 5,000 take a minute.
MAX_SAMPLER_PARAMS = 5000
BODIES: tuple[Callable[[], Body], ...] = (
    lambda: bodies.ball(1000),
    lambda: bodies.ellipsoid(10, 0.5),
    lambda: bodies.ellipsoid(1000, 0.5),
    lambda: bodies.ellipsoid(1000, 1.5),
    lambda: bodies.ellipsoid(1000, 3.0),
    lambda: bodies.ellipsoid(10_000, 1.5),
    lambda: bodies.cube(8),
    lambda: bodies.cube(1000),
    lambda: bodies.cross_polytope(15),
    lambda: bodies.cross_polytope(1000),
    lambda: bodies.two_wells(8),
    lambda: bodies.two_wells(100),
    lambda: bodies.linear_model(10),
    lambda: bodies.linear_model(200),
)


@dataclass(frozen=True)
class Row:
    """One estimate of one body in nats.

    Attributes:
        body: Name of the body.
        quantity: Estimated quantity.
        estimator: Name of the estimator.
        exact: Exact value.
        error: Estimate − exact.
        error_bar: The estimator's own standard error.
        verdict: The estimator's own verdict.
    """

    body: str
    quantity: str
    estimator: str
    exact: float
    error: float
    error_bar: float
    verdict: str


def measure(body: Body, preconditioner: Preconditioner | str | None) -> Measurement:
    """Measure a body with `measure_volume`."""
    sigmas = SIGMAS if body.log_gamma else None
    return measure_volume(
        body.model, body.loss_fn, body.data, threshold=body.threshold, n_directions=DIRECTIONS, sigmas=sigmas,
        preconditioner=preconditioner, progress=False,
    )  # fmt: skip


def from_rays(body: Body, name: str, found: Measurement) -> Iterator[Row]:
    """Compare ln E[rⁿ], the typical volume, and ln γ with their exact values, if these are known."""
    volume, exact = found.volume, body.log_volume
    yield Row(body.name, "ln E[rⁿ]", name, exact, volume.log_volume - exact, found.log_volume_se, found.verdict.word)
    if name == "rays":
        gap = volume.typical_log_volume - exact
        yield Row(body.name, "ln E[rⁿ]", "n·E[ln r]", exact, gap, volume.typical_log_volume_se, "lower bound")
    for point in found.profile.points if found.profile and body.log_gamma else ():
        truth = body.log_gamma(point.sigma)
        yield Row(
            body.name,
            f"ln γ, σ = {point.sigma:.2g}",
            name,
            truth,
            point.log_gamma - truth,
            point.log_gamma_se,
            point.verdict.word,
        )


def along_rays(body: Body) -> Iterator[Row]:
    """Measure with Gaussian directions, and with preconditioners that are exact, noisy, and fitted to the curvature."""
    yield from from_rays(body, "rays", measure(body, None))
    if body.curvatures is not None:
        h = torch.from_numpy(body.curvatures)
        noise = 0.3 * torch.randn(len(h), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        yield from from_rays(body, "preconditioned, exact", measure(body, diagonal_preconditioner(h, body.threshold)))
        noisy = diagonal_preconditioner(h * noise.exp(), body.threshold)
        yield from from_rays(body, "preconditioned, 30 % noise", measure(body, noisy))
    if body.name.startswith("linear"):
        yield from from_rays(body, "preconditioned, measured", measure(body, "curvature"))


def by_chains(body: Body) -> Iterator[Row]:
    """Compare ln γ on ellipsoids from tethered HMC ("gold") and the elliptical slice path ("annealed")."""
    if body.curvatures is None or body.log_gamma is None or body.n_params > MAX_SAMPLER_PARAMS:
        return
    potential = Ellipsoid(body.curvatures)
    samplers: dict[str, LocalVolume] = {
        "gold": tethered_hmc(potential, body.threshold, SIGMAS, seed=0),
        "annealed": elliptical_slice_path(potential, body.threshold, SIGMAS, seed=0),
    }
    for sigma in SIGMAS:
        exact, quantity = body.log_gamma(sigma), f"ln γ, σ = {sigma:.2g}"
        for name, found in samplers.items():
            i = found.at(sigma)
            yield Row(body.name, quantity, name, exact, found.log_gamma[i] - exact, found.error()[i], found.status[i])


def by_particles(body: Body) -> Iterator[Row]:
    """Compare ln γ from `local_volume`: draws, and subset simulation where too few of them lie inside."""
    if body.log_gamma is None:
        return
    found = local_volume(body.model, body.loss_fn, body.data, threshold=body.threshold, sigmas=SIGMAS)
    for sigma, value, error, word in zip(SIGMAS, found.log_gamma, found.error(), found.status, strict=True):
        exact = body.log_gamma(sigma)
        yield Row(body.name, f"ln γ, σ = {sigma:.2g}", "particles", exact, value - exact, error, word)


ESTIMATORS = (along_rays, by_chains, by_particles)


def page(rows: list[Row]) -> str:
    """Return the table as Markdown."""
    head = (
        "# Estimators on bodies of known volume\n\n"
        "`make validate` writes this page. Errors are estimates minus the exact value, in nats; ± is the estimator's own\n"
        f"standard error. Rays use {DIRECTIONS} directions and seed 0; `gold` is tethered Hamiltonian Monte Carlo and\n"
        "`annealed` the elliptical slice path; `particles` is `local_volume`, draws and then subset simulation.\n"
        "If the verdict is `converged` or `ok`, the error should be at most three\n"
        "standard errors or 0.01 nats, the tolerance of the solver. A `lower bound` is below the exact value by\n"
        "definition. With any other verdict the number is unreliable.\n\n"
        "| body | quantity | estimator | exact | error | ± | verdict |\n|---|---|---|---|---|---|---|\n"
    )
    return head + "".join(
        f"| {row.body} | {row.quantity} | {row.estimator} | {row.exact:,.2f} | {row.error:+,.3f} | {row.error_bar:.2g} "
        f"| {row.verdict} |\n"
        for row in rows
    )


def picture(rows: list[Row]) -> Figure:
    """Draw the errors with bars of three standard errors; markers are filled if the verdict is converged or ok."""
    lines = list(dict.fromkeys((row.body, row.quantity) for row in rows))
    names = list(dict.fromkeys(row.estimator for row in rows))
    figure = Figure(figsize=(9, 0.26 * len(lines) + 1), layout="constrained")
    axes = figure.subplots()
    for k, name in enumerate(names):
        axes.plot([], [], MARKS[k % len(MARKS)], color=f"C{k}", label=name)
        for row in (row for row in rows if row.estimator == name):
            y = lines.index((row.body, row.quantity)) + 0.7 * (k / len(names) - 0.5)
            filled = f"C{k}" if row.verdict in ("converged", "ok") else "white"
            axes.errorbar(
                row.error, y, xerr=3 * row.error_bar, fmt=MARKS[k % len(MARKS)], markersize=4, color=f"C{k}",
                markerfacecolor=filled, linewidth=0.8,
            )  # fmt: skip
    axes.axvline(0, color="0.7", zorder=0)
    axes.set_xscale("symlog", linthresh=0.1)
    axes.set_yticks(np.arange(len(lines)), [f"{body} · {quantity}" for body, quantity in lines], fontsize=7)
    axes.set(xlabel="estimate − exact (nats); bars: 3 standard errors; filled: converged or ok", ylim=(len(lines), -1))
    axes.legend(loc="lower right", fontsize=7)
    return figure


def write(rows: list[Row], folder: Path) -> None:
    """Write validation.md, .csv and .png."""
    with atomic_write(folder / "validation.md") as scratch:
        scratch.write_text(page(rows))
    with atomic_write(folder / "validation.csv") as scratch, scratch.open("w", newline="") as stream:
        table = csv.DictWriter(stream, [field.name for field in fields(Row)])
        table.writeheader()
        table.writerows(asdict(row) for row in rows)
    with atomic_write(folder / "validation.png") as scratch:
        picture(rows).savefig(scratch, format="png", dpi=150)


def main() -> None:
    """Measure every body with every estimator and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=HERE, help="folder of the results")
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    rows: list[Row] = []
    for make in BODIES:
        body, started = make(), time.perf_counter()
        rows += [row for estimator in ESTIMATORS for row in estimator(body)]
        print(f"{body.name}: {time.perf_counter() - started:.0f} s", flush=True)
    write(rows, folder)
    print(f"{len(rows)} estimates are in {folder / 'validation.md'}")


if __name__ == "__main__":
    main()
