"""Film: log volume of every minimum against the size of the landscape, drawn as the landscape grows."""

from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from minima_volume.drawing import style
from minima_volume.errors import ResultsError
from minima_volume.landscapes.node_losses import Floats
from minima_volume.storage import archives, layout
from minima_volume.storage import tables as storage_tables
from minima_volume.storage.atomic import read_bytes
from videos import build, elements
from videos.render import DrawFrame, Film, timeline

NESTED = ("digits_data", "mnist_data", "swiss_data_x5")
STEPS = 480  # landscape sizes from the smallest to the largest, in equal ratios
SECONDS = 10.0
STATISTICS = {
    "log_volume": "log volume ln E[$r^n$] (nats)",
    "typical_log_volume": "typical log volume n E[ln r] (nats)",
}
COLUMNS = ("data", "model", "repeat", "level", "landscape", "threshold", "metric", "status", *STATISTICS)
Row = dict[str, str]


@dataclass(frozen=True)
class Curve:
    """Volumes of one level by landscape size; the last size is the level's own.

    Attributes:
        n_train: Number of training samples of the level.
        sizes: Landscape sizes.
        means: Means over repeats, in nats.
        spreads: Standard deviations over repeats, in nats.
    """

    n_train: int
    sizes: Floats
    means: Floats
    spreads: Floats

    def until(self, size: float) -> tuple[Floats, Floats, Floats]:
        """Return the curve up to a landscape size, interpolated between the sizes that were measured."""
        size = min(size, self.sizes[-1])
        known = self.sizes[self.sizes < size]
        sizes = np.append(known, size)
        means, spreads = (np.interp(np.log(sizes), np.log(self.sizes), y) for y in (self.means, self.spreads))
        return sizes, means, spreads

    def reaches_own(self, size: float) -> bool:
        """Return whether the landscape has reached the minimum's own training set and the volume there is known."""
        return bool(size >= self.sizes[-1] == self.n_train)


def _finite(cell: str) -> bool:
    return bool(cell) and bool(np.isfinite(float(cell)))


@dataclass(frozen=True)
class Table:
    """The rows of a study's volumes that are drawn."""

    rows: list[Row]
    base: int
    threshold: float
    absent: int  # rows without a volume: the minimum lies above the threshold, or no ray crossed it

    @classmethod
    def read(cls, folder: Path) -> "Table":
        """Return the volumes at the study's largest loss threshold.

        Raises:
            ResultsError: The table has no volume.
        """
        rows = storage_tables.read_table(folder / "volumes.csv", COLUMNS)
        base = int(archives.read_json(folder / "run.json")["settings"]["base"])
        losses = [row for row in rows if row["metric"] == "loss"]
        threshold = max((float(row["threshold"]) for row in losses), default=0.0)
        here = [row for row in losses if float(row["threshold"]) == threshold]
        drawn = [
            row for row in here if row["status"] != "unconverged" and all(_finite(row[name]) for name in STATISTICS)
        ]
        if not drawn:
            raise ResultsError(f"Expected volumes in {folder / 'volumes.csv'}, got none that is finite.")
        return cls(drawn, base, threshold, len(here) - len(drawn))

    def curves(self, statistic: str) -> list[Curve]:
        """Return one curve per level."""
        found = []
        for level in sorted({int(row["level"]) for row in self.rows}):
            here = [row for row in self.rows if int(row["level"]) == level]
            landscapes = sorted({int(row["landscape"]) for row in here})
            values = [
                [float(r[statistic]) for r in here if int(r["landscape"]) == landscape] for landscape in landscapes
            ]
            means, spreads = (np.array([f(v) for v in values]) for f in (np.mean, np.std))
            found.append(Curve(self.base + level, self.base + np.array(landscapes, float), means, spreads))
        return found

    def sizes(self) -> Floats:
        """Return the landscape sizes of the film."""
        largest = max(int(row["landscape"]) for row in self.rows)
        return np.geomspace(self.base, self.base + largest, STEPS)

    def words(self) -> str:
        """Return threshold, repeats and what is missing."""
        repeats = len({row["repeat"] for row in self.rows})
        left = f"; {self.absent} values not drawn: minimum above threshold or no crossing" * bool(self.absent)
        spread = f"mean ± s.d. of {repeats} repeats" if repeats > 1 else "1 repeat"
        return f"loss threshold {self.threshold:g}; {spread}{left}"


@dataclass(frozen=True)
class Growth:
    """Both statistics side by side. The state is an index of landscape sizes."""

    folder: Path
    scale: str

    def prepare(self, figure: Figure) -> DrawFrame:
        """Lay out the page and draw what does not change."""
        table = Table.read(self.folder)
        elements.use()
        first = table.rows[0]
        elements.heading(figure, f"Volume of minima as the landscape grows: {first['data']}",
                       f"network {first['model']}; {table.words()}", self.scale)  # fmt: skip
        sizes = table.sizes()
        shows = [elements.counter(figure, sizes, 0.075, 0.775, "training samples in the landscape")]
        for place, (statistic, name) in zip((0.085, 0.585), STATISTICS.items(), strict=True):
            axes = figure.add_axes((place, 0.135, 0.395, 0.49))
            shows.append(_panel(axes, table.curves(statistic), name, sizes))
        axes.legend(loc="lower right", bbox_to_anchor=(1.02, 1.05), ncols=2, fontsize=10)
        return elements.combine(shows)


def _panel(axes: Axes, curves: list[Curve], name: str, sizes: Floats) -> DrawFrame:
    """Prepare the curves of one statistic; each ends at a dot where the landscape is the minimum's own training set."""
    bottom = min((curve.means - curve.spreads).min() for curve in curves)
    top = max((curve.means + curve.spreads).max() for curve in curves)
    margin = 0.06 * (top - bottom)
    axes.set(xscale="log", xlim=(sizes[0] * 0.88, sizes[-1] * 1.13), ylim=(bottom - margin, top + margin))
    axes.set_xticks([curve.n_train for curve in curves])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: elements.count(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel="training samples in the landscape", ylabel=name)
    style.nats(axes.yaxis)
    axes.grid(axis="y")
    parts = []
    for curve, color in zip(curves, style.level_colors(len(curves)), strict=True):
        line = axes.plot([], [], color=color, animated=True, label=f"trained on {elements.count(curve.n_train)}")[0]
        own = axes.plot([], [], "o", ms=9, color=color, mec=style.BLACK, mew=1.4, zorder=5, animated=True)[0]
        parts.append((curve, line, own, color))
    found = axes.plot(
        [], [], color=style.BLACK, ls="--", lw=1.4, zorder=4, animated=True, label="in its own landscape"
    )[0]
    bands: list[Artist] = []

    def show(state: int) -> None:
        while bands:
            bands.pop().remove()
        size = sizes[state] * (1 + 1e-9)
        for curve, line, own, color in parts:
            x, mean, spread = curve.until(size)
            line.set_data(x, mean)
            bands.append(
                axes.fill_between(x, mean - spread, mean + spread, color=color, alpha=0.18, lw=0, animated=True)
            )
            own.set_data(curve.sizes[-1:], curve.means[-1:])
            own.set_visible(curve.reaches_own(size))
        done = [curve for curve in curves if curve.reaches_own(size)]
        found.set_data([curve.n_train for curve in done], [curve.means[-1] for curve in done])

    return show


def film(study: str, scale: str, folder: Path, fps: int) -> Film:
    """Return the film of a nested study.

    Raises:
        ResultsError: Its table is missing. The message names the command that makes it.
    """
    tables = layout.study_folder(scale, study)
    if not (tables / "volumes.csv").exists():
        raise ResultsError(f"Expected {tables / 'volumes.csv'}, got none: `make {study} SCALE={scale}` makes it.")
    table = Table.read(tables)
    states = timeline(STEPS, SECONDS, fps, [(0, 0.5), (STEPS - 1, 2.0)])
    content = [sha256(read_bytes(tables / name)).hexdigest() for name in ("volumes.csv", "run.json")]
    return Film(
        f"{study}_volume", Growth(tables, scale), states, STEPS - 1, archives.fingerprint(content, len(table.rows))
    )


FILMS: dict[str, build.Entry] = {f"{study}_volume": partial(film, study) for study in NESTED}

if __name__ == "__main__":
    build.main(FILMS)
