"""The loss on a plane for other programs: a CSV table, meshes, and an interactive page with a slider."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import minima_volume
from minima_volume.planes import grid
from minima_volume.planes.grid import Grid
from minima_volume.planes.triples import TRIPLES, Triple
from minima_volume.storage import tables
from videos import build
from videos.encode import Quality
from videos.render import FramePool

COLUMNS = ("training_samples", "from_a_to_b", "from_a_to_c", "mean_loss")


@dataclass(frozen=True)
class Export:
    """All exports of one grid file."""

    name: str
    path: Path
    fingerprint: str

    def files(self, folder: Path) -> tuple[Path, ...]:
        """Return the table, the page, the mesh with all sizes, and a mesh for the data size of each minimum."""
        endings = (".csv", ".html", ".vtp", "_A.obj", "_B.obj", "_C.obj")
        return tuple(folder / f"{self.path.stem}{ending}" for ending in endings)

    def code(self) -> tuple[str, ...]:
        """Return the source files that determine what is written."""
        here, wing = Path(__file__), Path(minima_volume.__file__).with_name("landscapes")
        own = [here.with_name(name) for name in ("export.py", "meshes.py", "html_page.py")]
        return tuple(map(str, (*own, wing / "exports.py", wing / "html.py")))

    def make(self, folder: Path, size: Quality, pool: FramePool) -> None:
        """Write all files; the quality of films does not matter here."""
        from videos import (  # here, because drawing processes import this file too, without torch or plotly
            html_page,
            meshes,
        )

        data = grid.read(self.path)
        table, html, mesh, *own = self.files(folder)
        write_csv(table, data)
        html_page.write_html(html, data)
        meshes.write_vtp(mesh, data)
        for path, corner in zip(own, data.info["corners"], strict=True):
            meshes.write_obj(path, data, data.size_index(corner["n_train"]))


def write_csv(path: Path, data: Grid) -> None:
    """Write one row per data size and point of the plane; a loss that is not finite is an empty cell."""
    rows = (
        dict(zip(COLUMNS, (data.sizes[index], x, y, data.mean_loss[index, j, i]), strict=True))
        for index in data.few_sizes()
        for j, y in enumerate(data.y)
        for i, x in enumerate(data.x)
    )
    tables.write_table(path, COLUMNS, rows)


def export(triple: Triple, scale: str, folder: Path, fps: int) -> Export:
    """Return the exports of a triple; its plane is computed if necessary."""
    from minima_volume.planes import plane  # here, because it imports torch

    path = plane.triple_grid(triple, scale, folder)
    return Export(f"{triple.name}_export", path, grid.read(path).info["fingerprint"])


EXPORTS: dict[str, build.Entry] = {f"{triple.name}_export": partial(export, triple) for triple in TRIPLES}

if __name__ == "__main__":
    build.main(EXPORTS)
