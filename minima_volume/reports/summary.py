"""Measurements as text: what was measured, whether to trust it, and what to report."""

from collections.abc import Sequence

from minima_volume.estimators.diagnostics import TRUST, Verdict
from minima_volume.estimators.gaussian import ProfilePoint
from minima_volume.estimators.measured import Measured
from minima_volume.reports.numbers import aligned, with_error


def summary(found: Measured) -> str:
    """Summarise a measurement.

    Args:
        found: The measurement.

    Returns:
        Volumes, minimum, verdict, notes, what to report, profile and layers, one per line.
    """
    volume = found.volume
    typical = with_error(volume.typical_log_volume, volume.typical_log_volume_se)
    lines = [
        ("log volume", f"{with_error(found.log_volume, found.log_volume_se)} nats  (ln E[rⁿ], n = {found.n_params:,})"),
        ("typical", f"{typical} nats  (n·E[ln r])"),
        (
            "minimum",
            f"{found.metric} {found.value_at_minimum:.4g} over {found.n_samples:,} samples; threshold {found.threshold:g}",
        ),
        ("verdict", f"{label(found.verdict)}: {found.verdict.sentence}"),
        *(("note", sentence) for sentence in found.notes),
        *(("report", sentence) for sentence in advice(found)),
        *(("profile", line) for line in aligned([point_cells(point) for point in points_of(found)])),
        *(("layer", line) for line in aligned([layer_cells(name, part) for name, part in found.layers.items()])),
    ]
    return "\n".join(f"{name:<12}{line}" for name, line in lines)


def advice(found: Measured) -> Sequence[str]:
    """Say what to report instead of a volume that did not converge.

    Args:
        found: The measurement.

    Returns:
        One sentence; none if the volume converged or the minimum has no basin.
    """
    if found.verdict.trusted or not points_of(found):
        return ()
    why = f"ln E[rⁿ] is {label(found.verdict)}: see the verdict"
    point = best_point(found)
    if point is None:
        return (
            f"n·E[ln r] only, because no width of the profile converged: use more directions or smaller sigmas ({why})",
        )
    value = with_error(point.log_gamma, point.log_gamma_se)
    return (f"ln γ = {value} nats at σ = {point.sigma:.3g}, the largest width that converged ({why})",)


def best_point(found: Measured) -> ProfilePoint | None:
    """Return the point of the profile with the largest width that converged; None if none did."""
    return max((point for point in points_of(found) if point.trusted), key=lambda point: point.sigma, default=None)


def points_of(found: Measured) -> Sequence[ProfilePoint]:
    """Return the points of the profile; none for an unconverged minimum."""
    return found.profile.points if found.profile else ()


def label(verdict: Verdict) -> str:
    """Return the label that a reader sees for a verdict."""
    return TRUST["verdict"][verdict.word].label


def point_cells(point: ProfilePoint) -> tuple[str, str, str]:
    """Return width, estimate and verdict of one point of the profile as text."""
    upper = f" to {point.log_gamma_upper:,.2f}" if point.verdict.word == "censored" else ""
    value, error = with_error(point.log_gamma, point.log_gamma_se).split(" ± ")
    return f"σ = {point.sigma:.3g}", f"ln γ = {value}{upper} ± {error} nats", label(point.verdict)


def layer_cells(name: str, part: Measured) -> tuple[str, str, str, str]:
    """Return name, size, volume and verdict of one layer as text."""
    volume = with_error(part.log_volume, part.log_volume_se)
    return name, f"n = {part.n_params:,}", f"{volume} nats", label(part.verdict)
