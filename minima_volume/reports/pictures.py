"""Measurements as figures in the look of the project."""

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from minima_volume.errors import extra
from minima_volume.estimators.diagnostics import TRUST
from minima_volume.estimators.measured import Measured
from minima_volume.reports.summary import label, points_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_measurement(found: Measured) -> "Figure":
    """Plot the radii and the profile of a measurement.

    Args:
        found: The measurement.

    Returns:
        A figure with two panels.

    Raises:
        UserError: If matplotlib is not installed.
    """
    with extra("plot", "plot()"):
        from matplotlib.figure import Figure

        from minima_volume.drawing import style
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE_COLUMN, 2.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_radii(left, found)
        _draw_profile(right, found)
        style.label_panels((left, right))
    return figure


def plot_curve(found: Sequence[Measured]) -> "Figure":
    """Plot the volumes of one minimum against the threshold.

    Args:
        found: Measurements at several thresholds.

    Returns:
        A figure with one panel.

    Raises:
        UserError: If matplotlib is not installed.
    """
    with extra("plot", "plot()"):
        from matplotlib.figure import Figure

        from minima_volume.drawing import style
    with style.applied():
        figure = Figure(figsize=(style.SINGLE_COLUMN, 2.6), layout="constrained")
        axes = figure.subplots()
        thresholds = [each.threshold for each in found]
        typical = [each.volume.typical_log_volume for each in found]
        errors = [each.volume.typical_log_volume_se for each in found]
        axes.errorbar(thresholds, typical, errors, fmt="s--", color=style.BLUE, label="n E[ln r]")
        axes.plot(thresholds, [each.log_volume for each in found], color=style.VERMILION)
        for trusted, face, name in (
            (True, style.VERMILION, "ln E[rⁿ]"),
            (False, "white", "ln E[rⁿ], not to be trusted"),
        ):
            chosen = [each for each in found if each.verdict.trusted == trusted]
            if chosen:
                axes.errorbar(
                    [each.threshold for each in chosen], [each.log_volume for each in chosen],
                    [each.log_volume_se for each in chosen], fmt="o", color=style.VERMILION, mfc=face, label=name,
                )  # fmt: skip
        axes.set(xscale="log", xlabel=f"threshold τ ({found[0].metric})", ylabel="log volume (nats)")
        axes.legend()
    return figure


def as_svg(figure: "Figure") -> str:
    """Return a figure as SVG that a web page can hold, the same on every run."""
    with extra("plot", "to_html()"):
        import matplotlib
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "minima_volume"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def _draw_radii(axes: "Axes", found: Measured) -> None:
    """Draw the distribution of n·ln r with both volumes."""
    from minima_volume.drawing import style

    terms = found.n_params * found.log_radii + found.log_determinant
    axes.hist(terms[np.isfinite(terms)], bins=30, color=style.PALE, edgecolor=style.GREY)
    axes.set(xlabel="n ln r of a ray (nats)", ylabel="rays", title=f"Radii: ln E[rⁿ] is {label(found.verdict)}")
    if math.isfinite(found.log_volume):
        axes.axvline(found.log_volume, color=style.VERMILION, label="ln E[rⁿ]")
        axes.axvline(found.volume.typical_log_volume, color=style.BLUE, linestyle="--", label="n E[ln r]")
        axes.legend()


def _draw_profile(axes: "Axes", found: Measured) -> None:
    """Draw ln γ with its standard error, each point marked by its verdict."""
    from minima_volume.drawing import style

    points = points_of(found)
    colors = {"converged": style.BLUE, "max-dominated": style.VERMILION, "censored": style.ORANGE}
    for word in dict.fromkeys(point.verdict.word for point in points):
        chosen, trust = [point for point in points if point.verdict.word == word], TRUST["verdict"][word]
        axes.errorbar(
            [point.sigma for point in chosen], [point.log_gamma for point in chosen],
            [point.log_gamma_se for point in chosen], fmt="o" if trust.trusted else "x",
            color=colors.get(word, style.GREY), label=trust.label,
        )  # fmt: skip
    axes.set(xlabel="σ (filter units)", ylabel="ln γ (nats)", title="Gaussian profile")
    if points:
        axes.set_xscale("log")
        axes.legend()
