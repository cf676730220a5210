"""The loss on a plane for other programs: a table, meshes, and a web page with sliders."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import minima_volume
from minima_volume.planes import study_plane
from minima_volume.planes.triples import TRIPLES, Triple
from videos import build
from videos.encode import Quality
from videos.render import FramePool


@dataclass(frozen=True)
class Export:
    """All exports of one plane."""

    name: str
    path: Path
    fingerprint: str

    def files(self, folder: Path) -> tuple[Path, ...]:
        """Return the table, the page, the mesh with all sizes, and a mesh for the data size of each minimum."""
        endings = (".csv", ".html", ".vtp", "_A.obj", "_B.obj", "_C.obj")
        return tuple(folder / f"{self.path.stem}{ending}" for ending in endings)

    def code(self) -> tuple[str, ...]:
        """Return the source files that determine what is written."""
        wing = Path(minima_volume.__file__).with_name("landscapes")
        return __file__, *(str(wing / name) for name in ("exports.py", "html.py", "surface.py"))

    def make(self, folder: Path, size: Quality, pool: FramePool) -> None:
        """Write all files; the quality of films does not matter here."""
        data = study_plane.read(self.path)
        table, html, mesh, *own = self.files(folder)
        few = data.plane.at_sizes(data.few_sizes())
        few.save(table)
        few.to_mesh(mesh)
        few.to_html(html, title=f"Loss on the plane through three minima: {data.info['data']}", text=data.about())
        for path, corner in zip(own, data.info["corners"], strict=True):
            data.plane.at_sizes([data.sizes[data.size_index(corner["n_train"])]]).to_mesh(path)


def export(triple: Triple, scale: str, folder: Path, fps: int) -> Export:
    """Return the exports of a triple; its plane is computed if necessary."""
    from minima_volume.planes import through_minima  # here, because it imports torch

    path = through_minima.triple_plane(triple, scale, folder)
    return Export(f"{triple.name}_export", path, study_plane.read(path).info["fingerprint"])


EXPORTS: dict[str, build.Entry] = {f"{triple.name}_export": partial(export, triple) for triple in TRIPLES}

if __name__ == "__main__":
    build.main(EXPORTS)
