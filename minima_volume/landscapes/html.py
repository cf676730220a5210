"""A plane as a web page that turns with the mouse, has sliders and needs no other file.

The page holds plotly's library, compressed, so that it stays below 3 MB. Browsers since 2023 decompress it.
"""

import gzip
import json
from base64 import b64encode
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from minima_volume.errors import extra
from minima_volume.landscapes.figure import LOSS_NAMES
from minima_volume.landscapes.surface import Mark, Surface
from minima_volume.storage import atomic

# Okabe and Ito (2008), as in `minima_volume.drawing.style`, which needs matplotlib.
COLORS = ("#D55E00", "#56B4E9", "#E69F00", "#CC79A7", "#009E73")
SYMBOLS = ("circle", "square", "diamond", "cross", "x")
DIGITS = 3  # of heights, in decades
STEPS = 1000  # of the slider over levels
LIFT = 0.03  # of models over the surface, which would hide half of their marks, as a share of the range of heights
STYLE = """
* { box-sizing: border-box; }
body { font: 15px/1.45 system-ui, sans-serif; color: #222; margin: 0 auto; padding: 0.6rem 0.8rem; max-width: 90rem; }
h1 { font-size: 1.15rem; margin: 0.2rem 0; } p { margin: 0.2rem 0; color: #555; }
.views { display: grid; grid-template-columns: minmax(0, 1fr); gap: 0.5rem; }
@media (min-width: 56rem) { .views { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
.view { overflow: hidden; height: min(78vh, 40rem); min-height: 20rem; } #curves { grid-column: 1 / -1; height: 20rem; }
label { display: flex; flex-wrap: wrap; gap: 0.2rem 0.8rem; margin: 0.5rem 0; } input { flex: 1 1 12rem; min-width: 0; }
output { min-width: 8rem; font-variant-numeric: tabular-nums; }
"""
READ = "Both axes have one scale, so that shapes are true. Heights and colours are log10 of the loss. Drag to turn."
LOAD = """const packed = Uint8Array.from(atob(document.getElementById("library").textContent), c => c.charCodeAt(0));
const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
const library = document.createElement("script");
library.textContent = await new Response(unpacked).text();
document.head.append(library);
"""
SHOW = """const found = %s, text = value => Number(value.toPrecision(3)).toString();
const config = {responsive: true, displaylogo: false};
const eye = found.surfaceLayout.scene.camera.eye;
if (innerWidth < 600) for (const axis in eye) eye[axis] *= 1.35;
await Plotly.newPlot("surface", found.surface, found.surfaceLayout, config);
await Plotly.newPlot("map", found.map, found.mapLayout, config);
if (found.curves) await Plotly.newPlot("curves", found.curves, found.curvesLayout, config);
const size = document.getElementById("size"), level = document.getElementById("level");
function show() {
  const k = Number(size.value), at = found.low + (found.high - found.low) * Number(level.value) / found.steps;
  const heights = found.heights[k];
  document.getElementById("samples").textContent = found.sizes[k].toLocaleString("en");
  document.getElementById("height").textContent = text(10 ** at);
  const line = {"contours.z.start": [at], "contours.z.end": [at + 1e-6]};
  Plotly.restyle("surface", {z: [heights], surfacecolor: [heights], ...line}, [0]);
  Plotly.restyle("map", {z: [heights, heights], "contours.start": [null, at], "contours.end": [null, at]}, [0, 1]);
  const models = found.names[k].map((_, number) => number);
  Plotly.restyle("surface", {z: found.places[k].map(z => [z]), name: found.names[k]}, models.map(number => number + 1));
  Plotly.restyle("map", {name: found.names[k]}, models.map(number => number + 2));
  if (found.curves) Plotly.relayout("curves", {"shapes[0].x0": found.sizes[k], "shapes[0].x1": found.sizes[k]});
}
size.addEventListener("input", show);
level.addEventListener("input", show);
show();
"""


@cache
def _library() -> str:
    """Return plotly's library, compressed, as text."""
    with extra("videos", "to_html()"):
        from plotly.offline import get_plotlyjs
    return b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()


def page(title: str, body: str, script: str) -> str:
    """Return a page with plotly's library inside.

    Args:
        title: Title of the page, as plain text.
        body: What the page shows, in HTML.
        script: JavaScript that runs once `Plotly` is there.

    Returns:
        HTML in English, for screens from 390 pixels on.

    Raises:
        UserError: If plotly is not installed.
    """
    head = '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">'
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n'
        f'<body>\n{body}\n<script type="text/plain" id="library">{_library()}</script>\n'
        f'<script type="module">\n{LOAD}{script}</script>\n</body>\n</html>\n'
    )


def write_page(path: Path, text: str) -> None:
    """Write a page as one whole file."""
    atomic.write_text(path, text)


def write_plane(path: Path, plane: Surface, title: str = "", text: str = "") -> None:
    """Write the page of a plane: its surface, its contours, a slider over data sizes and one over levels of the loss.

    With several data sizes, a third chart has the losses of the models against the number of samples.

    Args:
        path: The file to write.
        plane: The plane.
        title: Title of the page.
        text: A paragraph about the models and the data.

    Raises:
        UserError: If plotly is not installed.
    """
    title, last = title or f"Loss on a plane of {plane.n_params:,} parameters", len(plane.sizes) - 1
    low, high = np.log10(plane.range)
    start = np.log10(plane.threshold) if plane.threshold is not None else (low + high) / 2
    step = round(float(np.clip((start - low) / (high - low), 0, 1)) * STEPS)
    hidden = "" if last else ' style="display: none"'
    curves = '<div id="curves" class="view"></div>' if last else ""
    words = "".join(f"<p>{escape(line)}</p>\n" for line in (text, f"{plane.about()}. {READ}") if line)
    body = (
        f"<h1>{escape(title)}</h1>\n{words}"
        f'<label{hidden}>samples <input type="range" id="size" min="0" max="{last}" value="{last}"> '
        f'<output id="samples"></output></label>\n'
        f'<label>level of the white line <input type="range" id="level" min="0" max="{STEPS}" value="{step}"> '
        f'<output id="height"></output></label>\n'
        f'<div class="views"><div id="surface" class="view"></div><div id="map" class="view"></div>{curves}</div>'
    )
    write_page(path, page(title, body, SHOW % _as_script(_content(plane))))


def _as_script(content: dict[str, Any]) -> str:
    """Return JSON that can stand inside a script."""
    return json.dumps(content, ensure_ascii=False).replace("</", "<\\/")


def _content(plane: Surface) -> dict[str, Any]:
    """Return everything that the page draws."""
    low, high = (float(value) for value in np.log10(plane.range))
    heights = [plane.drawn(k).round(DIGITS).tolist() for k in range(len(plane.sizes))]
    x, y, (name_x, name_y) = plane.x.tolist(), plane.y.tolist(), plane.axis_labels()
    ticks = np.arange(np.ceil(low), np.floor(high) + 1).tolist() or [low, high]
    words = [f"{10.0**tick:.3g}" for tick in ticks]
    scale = {"cmin": low, "cmax": high, "zmin": low, "zmax": high, "colorscale": "Viridis"}
    # Above the map, because beside it a phone would have no room.
    bar = {"title": {"text": LOSS_NAMES[plane.metric], "side": "top"}, "tickvals": ticks, "ticktext": words, "thickness": 10,
           "orientation": "h", "y": 1.01, "yanchor": "bottom", "len": 0.9}  # fmt: skip
    line = {"show": True, "start": low, "end": low + 1e-6, "size": 1, "color": "white", "width": 6}
    hover = "x %{x:.3g}<br>y %{y:.3g}<br>log10 loss %{z:.2f}<extra></extra>"
    spans = [float(np.ptp(values)) for values in (plane.x, plane.y)]
    surface = {"type": "surface", "x": x, "y": y, "z": heights[-1], "surfacecolor": heights[-1], "contours": {"z": line},
               "cmin": low, "cmax": high, "colorscale": "Viridis", "showscale": False, "hovertemplate": hover}  # fmt: skip
    filled = {"type": "contour", "x": x, "y": y, "z": heights[-1], "ncontours": 24, "colorbar": bar, "line": {"width": 0},
              **{key: scale[key] for key in ("zmin", "zmax", "colorscale")}, "hovertemplate": hover}  # fmt: skip
    level = {"type": "contour", "x": x, "y": y, "z": heights[-1], "showscale": False, "showlegend": False,
             "hoverinfo": "skip", "contours": {"coloring": "none", "start": low, "end": low, "size": 1},
             "autocontour": False, "line": {"width": 2.5, "color": "white"}}  # fmt: skip
    plain = {
        "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
        "legend": {"orientation": "h", "y": -0.18},
        "paper_bgcolor": "white",
    }
    aspect = {"x": spans[0] / max(spans), "y": spans[1] / max(spans), "z": 0.65}
    return {
        "surface": [surface, *_marks(plane, deep=True)],
        "map": [filled, level, *_marks(plane, deep=False), *_tracks(plane)],
        "surfaceLayout": {
            **plain, "showlegend": False,
            "scene": {
                "xaxis": {"title": {"text": plane.axis_names[0]}}, "yaxis": {"title": {"text": plane.axis_names[1]}},
                "zaxis": {"title": {"text": LOSS_NAMES[plane.metric]}, "tickvals": ticks, "ticktext": words},
                "aspectmode": "manual", "aspectratio": aspect, "camera": {"eye": {"x": 1.0, "y": -1.8, "z": 1.2}},
            },
        },
        "mapLayout": {
            **plain, "margin": {"l": 55, "r": 10, "t": 10, "b": 50},
            "xaxis": {"title": {"text": name_x}, "constrain": "domain"},
            "yaxis": {"title": {"text": name_y}, "scaleanchor": "x", "constrain": "domain"},
        },
        "heights": heights, "sizes": list(plane.sizes), "low": low, "high": high, "steps": STEPS,
        "names": [[_label(plane, mark, k) for mark in plane.models] for k in range(len(plane.sizes))],
        "places": [[_height(plane, mark, k) for mark in plane.models] for k in range(len(plane.sizes))],
        **(_curves(plane) if len(plane.sizes) > 1 else {}),
    }  # fmt: skip


def _label(plane: Surface, mark: Mark, index: int) -> str:
    """Return the name of a model, its loss at a data size, and its distance if it does not lie on the plane."""
    return f"{mark.name}: {mark.mean_loss[index]:.3g}" + f", {mark.distance:.3g} off the plane" * plane.is_off(mark)


def _height(plane: Surface, mark: Mark, index: int) -> float:
    """Return the height of a model's mark at a data size: log10 of its loss within the range that is drawn, and LIFT."""
    low, high = np.log10(plane.range)
    return float(np.log10(np.clip(mark.mean_loss[index], *plane.range)) + LIFT * (high - low))


def _look(number: int, size: float) -> dict[str, Any]:
    """Return the marker of a model."""
    line = {"color": "white", "width": 1.5}
    return {"size": size, "color": COLORS[number % 5], "symbol": SYMBOLS[number % 5], "line": line}


def _marks(plane: Surface, *, deep: bool) -> list[dict[str, Any]]:
    """Return the models as traces, in three dimensions if `deep`."""
    return [
        {"type": "scatter3d" if deep else "scatter", "mode": "markers", "name": _label(plane, mark, -1), "hoverinfo": "name",
         "marker": _look(number, 6 if deep else 11), "x": [mark.x], "y": [mark.y],
         **({"z": [_height(plane, mark, -1)]} if deep else {})}
        for number, mark in enumerate(plane.models)
    ]  # fmt: skip


def _tracks(plane: Surface) -> list[dict[str, Any]]:
    """Return paths over the map as traces. The losses of their checkpoints are not known, so that none has a height."""
    return [
        {"type": "scatter", "mode": "lines+markers", "name": track.name, "x": track.x.tolist(), "y": track.y.tolist(),
         "line": {"color": COLORS[number % 5], "width": 2}, "marker": {"size": 4}}
        for number, track in enumerate(plane.tracks)
    ]  # fmt: skip


def _curves(plane: Surface) -> dict[str, Any]:
    """Return the chart of the losses of the models against the number of samples, with a line at the present number."""
    traces = [
        {"type": "scatter", "mode": "lines+markers", "name": mark.name, "x": list(plane.sizes), "y": list(mark.mean_loss),
         "line": {"color": COLORS[number % 5]}, "marker": _look(number, 7)}
        for number, mark in enumerate(plane.models)
    ]  # fmt: skip
    now = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": plane.sizes[-1], "x1": plane.sizes[-1]}
    level = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": plane.threshold, "y1": plane.threshold}
    shapes = [{**now, "line": {"color": "#888", "width": 1}}]
    if plane.threshold is not None:
        shapes.append({**level, "line": {"color": "#222", "width": 1, "dash": "dash"}})
    layout = {
        "margin": {"l": 60, "r": 10, "t": 10, "b": 45}, "legend": {"orientation": "h", "y": 1.12}, "shapes": shapes,
        "xaxis": {"type": "log", "title": {"text": "samples"}, "dtick": 1, "automargin": True},
        "yaxis": {"type": "log", "title": {"text": LOSS_NAMES[plane.metric]}, "dtick": 1},
    }  # fmt: skip
    return {"curves": traces, "curvesLayout": layout}
