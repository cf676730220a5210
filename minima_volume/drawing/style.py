"""The look of every picture: column widths, type, colours that the colour-blind can tell apart, reproducible files."""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from cycler import cycler
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends import backend_pdf
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter

from minima_volume.errors import UserError
from minima_volume.storage import atomic

SINGLE_COLUMN, DOUBLE_COLUMN = 3.2, 5.5  # inches: the text of a page with one column, and a good half of it
PAGE = 7.0  # inches: two columns, for diagrams with sentences inside
# How much larger pictures are than in print, by STYLE: letters of 8 points become 18, and a whole width 13.3 inches.
STYLES = {"paper": 1.0, "talk": 2.25}
_SLIDE = 13.3  # inches

# Okabe and Ito (2008): readers with any common colour blindness can tell these colours apart.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY, PALE = "#6E6E6E", "#E6E6E6"
SERIES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)  # yellow is left out: it fades on white paper
LEVEL_MAP = "viridis"

# How often a figure is laid out: new sizes of axes may bring wider tick labels, which need room again.
_LAYOUTS = 3
_DPI = 200
_QUICK_STRIP = 0.16  # inches kept free below a quick figure for the note
_NO_DATES: dict[str, dict[str, Any]] = {
    ".pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    ".png": {"Software": None},
}


def chosen(environ: Mapping[str, str] = os.environ) -> str:
    """Return STYLE: `paper`, the default, for print at 5.5 inches, or `talk`, for slides 13.3 inches wide.

    Raises:
        UserError: STYLE is neither.
    """
    name = environ.get("STYLE") or "paper"
    if name not in STYLES:
        raise UserError(f"Expected STYLE to be {' or '.join(STYLES)}, got '{name}': correct it, or omit it.")
    return name


def use() -> None:
    """Apply the look to all figures made from now on, instead of the user's own settings. No display is needed."""
    matplotlib.use("Agg")
    logging.getLogger("fontTools").setLevel(logging.ERROR)  # it logs the dates of the embedded fonts
    matplotlib.rcdefaults()
    matplotlib.rcParams.update(_LOOK)


@contextmanager
def applied() -> Iterator[None]:
    """Apply the look inside this block only, for figures that belong to a user's own program."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_LOOK)
        yield


def save(figure: Figure, path_without_suffix: Path) -> list[Path]:
    """Write a figure as PDF and as PNG of 200 dpi in the chosen style, with the same bytes on every run, and close it."""
    factor = STYLES[chosen()]
    if factor > 1:
        width, height = figure.get_size_inches() * _SLIDE / factor / DOUBLE_COLUMN
        figure.set_size_inches(width, height)
    lay_out(figure)
    written = [_write(figure, path_without_suffix, suffix, factor) for suffix in (".pdf", ".png")]
    plt.close(figure)
    return written


def lay_out(figure: Figure) -> None:
    """Give axes and legends their final places; both files of a figure have the same ones."""
    for _ in range(_LAYOUTS):
        figure.draw_without_rendering()
    layout = figure.get_layout_engine()
    if isinstance(layout, ConstrainedLayoutEngine) and layout.get()["rect"][1]:
        # Now that there is room for them: a legend with a place of its own would be given none.
        for legend in figure.legends:
            legend.set_bbox_to_anchor(layout.get()["rect"], figure.transFigure)
    figure.set_layout_engine("none")


def level_colors(count: int) -> list[str]:
    """Return colours for `count` ordered levels, the darkest first. The palest end of the map is not used."""
    colormap = matplotlib.colormaps[LEVEL_MAP]
    return [to_hex(colormap(0.78 * index / max(count - 1, 1))) for index in range(count)]


def series_colors(count: int) -> list[str]:
    """Return colours for `count` unordered series.

    Raises:
        ValueError: There are more series than colours that can be told apart.
    """
    if count > len(SERIES):
        raise ValueError(f"Expected at most {len(SERIES)} series, got {count}: use level_colors or more panels.")
    return list(SERIES[:count])


def mark_quick(figure: Figure) -> None:
    """Write in the lower right corner that the numbers come from a quick run."""
    keep_free(figure, _QUICK_STRIP)
    tag = {"facecolor": VERMILION, "edgecolor": "none", "boxstyle": "square,pad=0.25"}
    note = "quick run – not paper scale"
    figure.text(0.995, 0.01, note, ha="right", va="bottom", size=6.5, color="white", weight="bold", bbox=tag)


def keep_free(figure: Figure, inches: float) -> None:
    """Keep a strip of the given height in inches free below everything, if the figure is laid out automatically."""
    layout, strip = figure.get_layout_engine(), inches / figure.get_figheight()
    if isinstance(layout, ConstrainedLayoutEngine):
        layout.set(rect=(0, strip, 1, 1 - strip))


def nats(axis: Axis) -> None:
    """Write the ticks of an axis in thousands or millions of nats: 600k, 1.2M."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: _readable(value)))


def label_panels(panels: Iterable[Axes]) -> None:
    """Put a bold a, b, c … before the title of each panel."""
    for letter, panel in zip("abcdefghijklmnopqrstuvwxyz", panels, strict=False):
        panel.set_title(rf"$\mathbf{{{letter}}}$   {panel.get_title(loc='left')}".rstrip(), loc="left")


def _write(figure: Figure, stem: Path, suffix: str, factor: float) -> Path:
    path = stem.with_name(stem.name + suffix)
    with atomic.atomic_write(path) as part:
        if suffix == ".pdf" and factor != 1:
            _write_larger_pdf(figure, part, factor)
        else:
            figure.savefig(part, format=suffix[1:], metadata=_NO_DATES[suffix], dpi=factor * _DPI)
    return path


def _write_larger_pdf(figure: Figure, path: Path, factor: float) -> None:
    """Write a figure on a larger page with everything on it enlarged, which `savefig` does not do for a PDF."""
    pdf: Any = backend_pdf  # its classes have no types
    file = pdf.PdfFile(path, metadata=_NO_DATES[".pdf"])
    figure.set_dpi(72)  # units of the page
    width, height = figure.get_size_inches()
    file.newPage(factor * width, factor * height)
    file.output(factor, 0, 0, factor, 0, 0, pdf.Op.concat_matrix)
    renderer = pdf.MixedModeRenderer(figure, width, height, _DPI, pdf.RendererPdf(file, _DPI, height, width))
    figure.draw(renderer)
    renderer.finalize()
    file.finalize()
    file.close()


def _readable(value: float) -> str:
    size, unit = next(((size, unit) for size, unit in ((1e6, "M"), (1e3, "k")) if abs(value) >= size), (1.0, ""))
    return f"{value / size:g}{unit}".replace("-", "\N{MINUS SIGN}")


_TICKS = {"labelsize": 7, "major.width": 0.6, "minor.width": 0.4, "major.size": 2.5, "minor.size": 1.5}
_LOOK: dict[Any, Any] = {f"{axis}tick.{key}": value for axis in "xy" for key, value in _TICKS.items()} | {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so that every machine draws the same glyphs
    "font.size": 8,
    "mathtext.fontset": "dejavusans",
    "figure.constrained_layout.use": True,
    "figure.figsize": (SINGLE_COLUMN, 2.4),
    "figure.titlesize": 9,
    "savefig.dpi": _DPI,
    "pdf.fonttype": 42,
    "axes.linewidth": 0.6,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=SERIES),
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "patch.linewidth": 0.6,
    "grid.linewidth": 0.4,
    "grid.color": PALE,
    "hatch.linewidth": 0.5,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "image.cmap": LEVEL_MAP,
}
