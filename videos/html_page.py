"""The loss surface as an interactive page without network access, with a slider over data sizes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from plotly import graph_objects as go
from plotly.utils import PlotlyJSONEncoder

from minima_volume.drawing import style
from minima_volume.landscapes import html
from minima_volume.planes.grid import Grid
from videos import elements

PIN, LIFT = 0.6, 0.03  # decades of the marks of minima, and of the threshold's line, above the surface
CONFIG = '{"responsive": true, "displaylogo": false}'
SYMBOLS = ("circle", "square", "diamond")
FRAME = {"frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}, "mode": "immediate"}
PLAY = {**FRAME, "frame": {"duration": 150, "redraw": True}, "fromcurrent": True}


def write_html(path: Path, data: Grid) -> None:
    """Write the page with plotly inside."""
    figure = page(data)
    parts = {"data": figure.data, "layout": figure.layout, "frames": figure.frames}
    words = {name: json.dumps(part, cls=PlotlyJSONEncoder).replace("</", "<\\/") for name, part in parts.items()}
    script = f'await Plotly.newPlot("surface", {words["data"]}, {words["layout"]}, {CONFIG});\n'
    script += f'await Plotly.addFrames("surface", {words["frames"]});\n'
    title = f"Loss on the plane through three minima: {data.info['data']}"
    html.write_page(path, html.page(title, '<div id="surface" style="height: 95vh"></div>', script))


def page(data: Grid) -> go.Figure:
    """Return the interactive figure, with one frame per data size."""
    indices = data.few_sizes()
    frames = [
        go.Frame(name=str(data.sizes[i]), data=_moving(data, i), traces=[0, 1, 2], layout=_words(data, i))
        for i in indices
    ]
    still = zip((_still_surface(data), _still_minima(data), _still_line()), _moving(data, indices[0]), strict=True)
    figure = go.Figure(data=[{**parts, **moved} for parts, moved in still], frames=frames)
    lowest, highest = np.log10([data.floor, data.ceiling])
    x, y, z = data.axis_names()
    figure.update_layout(_words(data, indices[0]))
    figure.update_layout(
        title={"x": 0.02, "xanchor": "left"}, template="plotly_white",
        margin={"l": 10, "r": 120, "t": 80, "b": 90, "autoexpand": False},
        sliders=[_slider(data, indices)], updatemenus=[_buttons()],
        scene={"xaxis_title": x, "yaxis_title": y, "zaxis": {"title": z, "range": [lowest, highest + PIN]},
               "aspectratio": {"x": 1, "y": 1, "z": 0.7},
               "camera": {"eye": {"x": 0.85, "y": -1.45, "z": 1.1}, "center": {"x": 0, "y": 0, "z": -0.1}}},
    )  # fmt: skip
    return figure


def _words(data: Grid, index: int) -> dict[str, Any]:
    """Return the two lines above the page and the names of the minima."""
    title = (
        f"<b>Loss on the plane through three minima: {data.sizes[index]:,} training samples in the landscape</b><br>"
        f"<sup>{data.about()}; white line: loss threshold {data.info['threshold']:g}; "
        f"A, B, C: minima and the number of samples that they were trained on</sup>"
    )
    look = {"showarrow": False, "yshift": 20, "bgcolor": "rgba(0,0,0,0.6)", "font": {"color": "white", "size": 14}}
    names = [
        {"x": x, "y": y, "z": z, "text": f"<b>{elements.short_name(corner)}</b>", **look}
        for (x, y), z, corner in zip(elements.PLACES, _heads(data, index), data.info["corners"], strict=True)
    ]
    return {"title": {"text": title}, "scene": {"annotations": names}}


def _heads(data: Grid, index: int) -> list[float]:
    """Return the heights of the marks of the minima."""
    heads: list[float] = (np.log10(data.at_corners()[:, index].clip(data.floor, data.ceiling)) + PIN).tolist()
    return heads


def _moving(data: Grid, index: int) -> list[dict[str, Any]]:
    """Return what a frame changes: the surface, the heights of the minima, and the threshold's contour."""
    heights = data.drawn(index).astype(np.float32)
    x, y = _contour(data, index)
    return [
        {"type": "surface", "z": heights, "surfacecolor": heights},
        {"type": "scatter3d", "z": _heads(data, index)},
        {"type": "scatter3d", "x": x, "y": y, "z": [np.log10(data.info["threshold"]) + LIFT] * len(x)},
    ]


def _contour(data: Grid, index: int) -> tuple[list[float | None], list[float | None]]:
    """Return the lines on which the mean loss is the threshold, joined with gaps between them."""
    lines = data.outline(index)
    x, y = ([v for line in lines for v in (*line[:, axis].round(4).tolist(), None)] for axis in (0, 1))
    return x or [None], y or [None]


def _still_surface(data: Grid) -> dict[str, Any]:
    lowest, highest = np.log10([data.floor, data.ceiling])
    decades = data.decades()
    names = [name.replace("$10^{", "10<sup>").replace("}$", "</sup>") for name in decades.values()]
    return {
        "type": "surface", "x": data.x, "y": data.y, "cmin": lowest, "cmax": highest, "colorscale": "Viridis",
        "colorbar": {"title": {"text": data.loss_name, "side": "right"}, "tickvals": [*decades], "ticktext": names},
        "hovertemplate": "A → B %{x:.2f}<br>A → C %{y:.2f}<br>log10 loss %{z:.2f}<extra></extra>",
    }  # fmt: skip


def _still_minima(data: Grid) -> dict[str, Any]:
    x, y = zip(*elements.PLACES, strict=True)
    pin = {"array": [0] * 3, "arrayminus": [PIN] * 3}
    stem = {"type": "data", **pin, "color": style.BLACK, "thickness": 3, "width": 0}
    return {
        "type": "scatter3d", "x": x, "y": y, "mode": "markers", "error_z": stem,
        "hovertext": [elements.corner_label(corner) for corner in data.info["corners"]], "hoverinfo": "text",
        "marker": {"size": 8, "color": elements.COLORS, "symbol": SYMBOLS, "line": {"color": "white", "width": 2}},
        "showlegend": False,
    }  # fmt: skip


def _still_line() -> dict[str, Any]:
    line = {"color": "white", "width": 7}
    return {"type": "scatter3d", "mode": "lines", "line": line, "hoverinfo": "skip", "showlegend": False}


def _slider(data: Grid, indices: list[int]) -> dict[str, Any]:
    steps = [
        {"label": elements.count(data.sizes[i]), "method": "animate", "args": [[str(data.sizes[i])], FRAME]}
        for i in indices
    ]
    now = {"prefix": "training samples in the landscape: ", "font": {"size": 14}}
    return {"active": 0, "steps": steps, "currentvalue": now, "x": 0.12, "len": 0.86, "pad": {"t": 10, "b": 10}}


def _buttons() -> dict[str, Any]:
    play = {"label": "play", "method": "animate", "args": [None, PLAY]}
    stop = {"label": "stop", "method": "animate", "args": [[None], FRAME]}
    place = {"x": 0.02, "y": 0, "xanchor": "left", "yanchor": "top", "pad": {"t": 30}}
    return {"type": "buttons", "buttons": [play, stop], "showactive": False, "direction": "left", **place}
