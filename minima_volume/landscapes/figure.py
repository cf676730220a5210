"""Lines, planes and surfaces in the look of the project."""

from typing import TYPE_CHECKING, Any

import numpy as np

from minima_volume.errors import extra
from minima_volume.landscapes.profile import LossProfile
from minima_volume.landscapes.surface import Mark, Surface

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 5.5  # inches, the text width of a one-column paper
LEVELS = 24
LOSS_NAMES = {"loss": "mean loss", "accuracy": "error rate", "kl": "mean divergence (nats)"}
MARKERS = "os^DvP*X"


def plot_plane(plane: Surface, index: int = -1) -> "Figure":
    """Draw contours of a plane with equal aspect.

    Args:
        plane: The plane.
        index: Which of its data sizes.

    Returns:
        A figure with one panel: log10 of the mean loss, the threshold as a white line, models, and tracks.

    Raises:
        UserError: If matplotlib is not installed.
    """
    with extra("plot", "plot()"):
        from matplotlib.figure import Figure

        from minima_volume.drawing import style
    with style.applied():
        figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
        axes = figure.subplots()
        low, high = np.log10(plane.range)
        heights = plane.drawn(index)
        filled = axes.contourf(plane.x, plane.y, heights, np.linspace(low, high, LEVELS), cmap=style.LEVEL_MAP)
        bar = figure.colorbar(filled, ax=axes, ticks=_decades(low, high))
        bar.set_label(LOSS_NAMES[plane.metric])
        bar.set_ticklabels([f"{10.0**tick:.3g}" for tick in _decades(low, high)])
        if plane.threshold is not None and low < np.log10(plane.threshold) < high:
            level = [np.log10(plane.threshold)]
            for color, width in (("black", 2.4), ("white", 1.4)):
                axes.contour(plane.x, plane.y, heights, level, colors=color, linewidths=width, linestyles="solid")
            bar.ax.axhline(level[0], color="white", lw=1.4)
        _draw_tracks(axes, plane)
        _draw_marks(axes, plane, index)
        figure.legend(loc="outside lower left", ncols=3, title=f"{LOSS_NAMES[plane.metric]} of the models")
        x, y = plane.axis_labels()
        axes.set(xlabel=x, ylabel=y, aspect="equal", xlim=plane.x[[0, -1]], ylim=plane.y[[0, -1]])
        axes.set_title(_title(plane, index))
    return figure


def plot_surface(plane: Surface, index: int = -1) -> "Figure":
    """Draw the surface over a plane.

    Args:
        plane: The plane.
        index: Which of its data sizes.

    Returns:
        A figure in three dimensions. Both axes of the plane have one scale; the height is log10 of the mean loss.

    Raises:
        UserError: If matplotlib is not installed.
    """
    with extra("plot", "plot_surface()"):
        from matplotlib.figure import Figure
        from mpl_toolkits.mplot3d import Axes3D

        from minima_volume.drawing import style
    with style.applied():
        figure = Figure(figsize=(WIDTH, 4.4))
        figure.set_layout_engine("none")  # which three-dimensional axes do not take part in
        axes = Axes3D(figure, (0.0, 0.04, 0.9, 0.9), computed_zorder=False)
        figure.add_axes(axes)
        x, y = np.meshgrid(plane.x, plane.y)
        low, high = np.log10(plane.range)
        heights = plane.drawn(index)
        axes.plot_surface(
            x, y, heights, cmap=style.LEVEL_MAP, vmin=low, vmax=high, rstride=1, cstride=1, linewidth=0.1,
            edgecolor="#00000030", antialiased=True,
        )  # fmt: skip
        if plane.threshold is not None and low < np.log10(plane.threshold) < high:
            axes.contour(
                x, y, heights, [np.log10(plane.threshold)], colors="white", linewidths=1.6, linestyles="solid", zorder=3
            )
        for mark, color, marker in _styled(plane):
            if _within(plane, mark):
                place = [np.log10(np.clip(mark.mean_loss[index], *plane.range))]
                label = _label(mark, plane, index)
                axes.plot([mark.x], [mark.y], place, marker, color=color, mec="white", ms=7, zorder=4, label=label)
        ticks = _decades(low, high)
        axes.set_zticks(ticks, [f"{10.0**tick:.3g}" for tick in ticks])
        spans = np.ptp(plane.x), np.ptp(plane.y)
        axes.set_box_aspect((spans[0] / max(spans), spans[1] / max(spans), 0.65))
        axes.set(xlabel=plane.axis_names[0], ylabel=plane.axis_names[1], zlabel=LOSS_NAMES[plane.metric])
        axes.view_init(elev=32, azim=-58)
        if len(plane.models) > 1:
            axes.legend(loc="upper left")
        figure.text(0.02, 0.97, _title(plane, index), va="top")
    return figure


def plot_line(line: LossProfile) -> "Figure":
    """Draw losses along a line, with the barrier, and accuracies if there are any.

    Args:
        line: The line.

    Returns:
        A figure with one or two panels.

    Raises:
        UserError: If matplotlib is not installed.
    """
    with extra("plot", "plot()"):
        from matplotlib.figure import Figure

        from minima_volume.drawing import style
    with style.applied():
        accuracies = not np.isnan(line.error_rate[-1]).all() and line.metric == "loss"
        figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
        panels = figure.subplots(1, 1 + accuracies, squeeze=False)[0]
        panels[0].plot(line.t, line.loss, color=style.BLUE, label="data")
        panels[0].fill_between(
            line.t, line.loss - line.loss_se, line.loss + line.loss_se, color=style.BLUE, alpha=0.2, lw=0
        )
        panels[0].set(xlabel="t (0: A, 1: B)", ylabel=LOSS_NAMES[line.metric], title=f"Barrier {line.barrier:.3g}")
        if line.test_loss is not None:
            panels[0].plot(line.t, line.test_loss, "--", color=style.VERMILION, label="test data")
        if accuracies:
            panels[1].plot(line.t, line.accuracy, color=style.BLUE, label="data")
            panels[1].set(xlabel="t (0: A, 1: B)", ylabel="accuracy")
            if line.test_error_rate is not None:
                panels[1].plot(line.t, 1 - line.test_error_rate, "--", color=style.VERMILION, label="test data")
        if line.test_loss is not None:
            panels[0].legend()
        if accuracies:
            style.label_panels(panels)
    return figure


def _title(plane: Surface, index: int) -> str:
    """Return the size of the data and the angle, so that nobody has to guess them."""
    parts = [f"{plane.sizes[index]:,} samples"]
    if not np.isnan(plane.angle):
        parts.append(f"angle at A {plane.angle:.1f}°")
    if plane.threshold is not None:
        parts.append(f"white: threshold {plane.threshold:g}")
    return ", ".join(parts)


def _decades(low: float, high: float) -> list[float]:
    """Return ticks at powers of ten, or even ones if there are fewer than two between the limits."""
    whole = np.arange(np.ceil(low - 1e-9), np.floor(high + 1e-9) + 1)
    return (whole if len(whole) > 1 else np.linspace(low, high, 5)).tolist()


def _styled(plane: Surface) -> list[tuple[Mark, str, str]]:
    """Return models with a colour and a marker each."""
    colors = _colors()
    return [(mark, colors[i % len(colors)], MARKERS[i % len(MARKERS)]) for i, mark in enumerate(plane.models)]


def _colors() -> tuple[str, ...]:
    """Return colours of models, and of the tracks that end in them."""
    from minima_volume.drawing import style

    return style.VERMILION, style.SKY, style.ORANGE, style.PURPLE, style.GREEN


def _within(plane: Surface, mark: Mark) -> bool:
    """Return whether a model lies within the limits of the axes."""
    return bool(plane.x[0] <= mark.x <= plane.x[-1] and plane.y[0] <= mark.y <= plane.y[-1])


def _label(mark: Mark, plane: Surface, index: int) -> str:
    """Return the name of a model, its loss, and its distance if it does not lie on the plane."""
    away = f", {mark.distance:.3g} off the plane" * (plane.is_off(mark))
    return f"{mark.name}: {mark.mean_loss[index]:.3g}{away}"


def _draw_marks(axes: "Axes", plane: Surface, index: int) -> None:
    """Draw the models; hollow ones do not lie on the plane."""
    shown: dict[str, Any] = {"ms": 7, "mew": 1.2, "ls": "none", "zorder": 5}
    for mark, color, marker in _styled(plane):
        off = plane.is_off(mark)
        axes.plot(
            mark.x, mark.y, marker, mfc="none" if off else color, mec=color if off else "white",
            label=_label(mark, plane, index), **shown,
        )  # fmt: skip


def _draw_tracks(axes: "Axes", plane: Surface) -> None:
    """Draw paths over the plane, each from a small dot on."""
    colors = _colors()
    for number, track in enumerate(plane.tracks):
        color = colors[number % len(colors)]
        axes.plot(track.x, track.y, "-", color="white", lw=2.2, zorder=3)
        axes.plot(track.x, track.y, "-", color=color, lw=1.2, marker=".", ms=3, zorder=4)
