"""Measurements as web pages of one file, with pictures inside."""

from collections.abc import Sequence
from html import escape

from minima_volume.estimators.measured import Measured
from minima_volume.reports.pictures import as_svg, plot_measurement
from minima_volume.reports.summary import label, layer_cells, point_cells, points_of, summary

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
pre { background: #f6f6f6; padding: 0.8rem; white-space: pre-wrap; }
table { border-collapse: collapse; } th, td { padding: 0.25rem 0.9rem 0.25rem 0; text-align: left; }
th { border-bottom: 1px solid #888; font-weight: 600; } td { font-variant-numeric: tabular-nums; }
svg { max-width: 100%; height: auto; }
"""


def page(found: Measured) -> str:
    """Return a measurement as a web page that needs no other file.

    Args:
        found: The measurement.

    Returns:
        HTML with the summary, the figure, and tables of the profile and the layers.

    Raises:
        UserError: If matplotlib is not installed.
    """
    title = f"Volume of a minimum: {label(found.verdict)}"
    # Profile and layers follow as tables.
    lines = [line for line in summary(found).splitlines() if not line.startswith(("profile ", "layer "))]
    text = escape("\n".join(lines))
    parts = [f"<h1>{escape(title)}</h1>", f"<pre>{text}</pre>", as_svg(plot_measurement(found))]
    if points_of(found):
        rows = [point_cells(point) for point in points_of(found)]
        parts += ["<h2>Gaussian profile</h2>", _table(("width", "estimate", "verdict"), rows)]
    if found.layers:
        rows_of_layers = [layer_cells(name, part) for name, part in found.layers.items()]
        parts += ["<h2>Layers</h2>", _table(("layer", "parameters", "ln E[rⁿ]", "verdict"), rows_of_layers)]
    body = "\n".join(parts)
    head = f'<meta charset="utf-8">\n<title>{escape(title)}</title>\n<style>{STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in HTML."""
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in header)]
    lines += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    return "<table>\n" + "\n".join(f"<tr>{line}</tr>" for line in lines) + "\n</table>"
