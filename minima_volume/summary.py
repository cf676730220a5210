"""The summary of a measurement in lines of text."""

import math
from collections.abc import Sequence
from typing import Any

from minima_volume.estimators.diagnostics import TRUST, Verdict
from minima_volume.estimators.gaussian import ProfilePoint


def label(verdict: Verdict) -> str:
    """Return the label that a reader sees for a verdict."""
    return TRUST["verdict"][verdict.word].label


def with_error(value: float, error: float) -> str:
    """Return a number with its error: two digits of the error, and as many of the number.

    Example:
        >>> with_error(-191.4725, 0.0234), with_error(118.7831, 61.2), with_error(3.0, float("nan"))
        ('-191.472 ± 0.023', '119 ± 61', '3.00 ± nan')
    """
    if not math.isfinite(value):
        return f"{value} ± {error:.2g}"
    if not math.isfinite(error):
        return f"{value:,.2f} ± {error}"
    places = max(0, min(6, 1 - math.floor(math.log10(error)))) if error > 0 else 6
    return f"{value:,.{places}f} ± {error:,.{places}f}"


def summary(found: Any) -> str:
    """Return volumes, minimum, verdict, what to report, notes, profile and layers, one per line.

    Args:
        found: A measurement; see `minima_volume.measurement`.
    """
    volume = found.volume
    lines = [
        f"log volume  {with_error(volume.log_volume, found.log_volume_se)} nats  (ln E[rⁿ], n = {found.n_params:,})",
        f"typical     {with_error(volume.typical_log_volume, volume.typical_log_volume_se)} nats  (n·E[ln r])",
        f"minimum     {found.metric} {found.value_at_minimum:.4g} over {found.n_samples:,} samples; "
        f"threshold {found.threshold:g}",
        f"verdict     {label(found.verdict)}: {found.verdict.sentence}",
        *([f"report      {_report(found)}"] if found.profile else []),
        *(f"note        {note}" for note in found.notes),
        *(f"profile     {_line(point)}" for point in (found.profile.points if found.profile else ())),
    ]
    return "\n".join([*lines, *_layers(found)])


def _report(found: Any) -> str:
    """Return the number that can be reported with its error, and why not another one."""
    points: Sequence[ProfilePoint] = found.profile.points if found.profile else ()
    trusted = [point for point in points if point.verdict.trusted]
    widest = max(trusted, key=lambda point: point.sigma, default=None)
    gamma = (
        f"ln γ = {with_error(widest.log_gamma, widest.log_gamma_se)} nats at σ = {widest.sigma:.3g}, the largest width that "
        "converged"
        if widest
        else "no width of the profile converged: pass smaller sigmas"
    )
    if found.verdict.trusted:
        return f"ln E[rⁿ] = {with_error(found.log_volume, found.log_volume_se)} nats; {gamma}"
    return f"{gamma}; not ln E[rⁿ], which is {label(found.verdict)}"


def _line(point: ProfilePoint) -> str:
    """Return one point of the profile."""
    upper = f", at most {point.log_gamma_upper:,.2f}" if point.verdict.word == "censored" else ""
    estimate = f"{with_error(point.log_gamma, point.log_gamma_se)} nats{upper}"
    return f"σ = {point.sigma:<8.3g} ln γ = {estimate}, {label(point.verdict)}"


def _layers(found: Any) -> list[str]:
    """Return a table of the layers, if there are any."""
    if not found.layers:
        return []
    rows = [
        (name, f"{part.n_params:,}", with_error(part.log_volume, part.log_volume_se), label(part.verdict))
        for name, part in found.layers.items()
    ]
    rows = [("layer", "n", "ln E[rⁿ] (nats)", "verdict"), *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d}".rstrip() for a, b, c, d in rows]
