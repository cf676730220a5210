"""The loss surface as meshes: Wavefront for one data size, VTK with all sizes as point data."""

from pathlib import Path

from minima_volume.landscapes import exports
from minima_volume.planes.grid import Grid


def write_obj(path: Path, data: Grid, index: int) -> None:
    """Write a Wavefront mesh of the surface at one data size; the height is log10 of the mean loss."""
    nodes, faces = exports.surface_nodes(data.x, data.y, data.drawn(index)), exports.triangles(len(data.x), len(data.y))
    comments = (
        f"{data.about()}; {data.sizes[index]} training samples",
        "x: {}; y: {}; z: {}".format(*data.axis_names()),
    )
    exports.write_lines(path, exports.obj_lines(nodes, faces, comments))


def write_vtp(path: Path, data: Grid) -> None:
    """Write a VTK mesh of the surface at the largest data size, with log10 of the mean loss at every size as point data."""
    last = len(data.sizes) - 1
    nodes, faces = exports.surface_nodes(data.x, data.y, data.drawn(last)), exports.triangles(len(data.x), len(data.y))
    values = {f"log10_loss_{data.sizes[index]:06d}": data.drawn(index).ravel() for index in data.few_sizes()}
    comment = "{}. x: {}; y: {}; z: {}".format(data.about(), *data.axis_names())
    exports.write_lines(path, exports.vtp_lines(nodes, faces, values, f"log10_loss_{data.sizes[last]:06d}", comment))
