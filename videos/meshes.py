"""The loss surface as meshes: Wavefront for one data size, VTK with all sizes as point data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minima_volume.planes.grid import Floats, Grid
from minima_volume.storage import atomic


def _triangles(data: Grid) -> NDArray[np.int64]:
    """Return two triangles (n, 3) for every cell, as numbers of nodes counted along rows from 0."""
    node = np.arange(len(data.y) * len(data.x)).reshape(len(data.y), len(data.x))
    a, b, c, d = (part.ravel() for part in (node[:-1, :-1], node[:-1, 1:], node[1:, 1:], node[1:, :-1]))
    return np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])


def _nodes(data: Grid, index: int) -> Floats:
    """Return points (nodes, 3) of the surface at a data size; the height is log10 of the mean loss."""
    x, y = np.meshgrid(data.x, data.y)
    return np.stack([x, y, data.drawn(index)], axis=-1).reshape(-1, 3)


def write_obj(path: Path, data: Grid, index: int) -> None:
    """Write a Wavefront mesh of the surface at one data size."""
    x, y, z = data.axis_names()
    lines = [f"# {data.about()}; {data.sizes[index]} training samples", f"# x: {x}; y: {y}; z: {z}"]
    lines += ["v " + " ".join(f"{value:.6g}" for value in node) for node in _nodes(data, index)]
    lines += ["f " + " ".join(str(number) for number in triangle) for triangle in _triangles(data) + 1]
    with atomic.atomic_write(path) as scratch:
        scratch.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_vtp(path: Path, data: Grid) -> None:
    """Write a VTK mesh of the surface at the largest data size, with log10 of the mean loss at every size as point data."""
    with atomic.atomic_write(path) as scratch:
        scratch.write_text("\n".join(_vtp(data)) + "\n", encoding="utf-8")


def _vtp(data: Grid) -> Iterator[str]:
    """Yield the lines of the VTK file."""
    nodes, triangles = _nodes(data, len(data.sizes) - 1), _triangles(data)
    yield '<?xml version="1.0"?>'
    yield "<!-- {}. x: {}; y: {}; z: {} -->".format(data.about(), *data.axis_names())
    yield '<VTKFile type="PolyData" version="1.0" byte_order="LittleEndian"><PolyData>'
    yield f'<Piece NumberOfPoints="{len(nodes)}" NumberOfPolys="{len(triangles)}">'
    yield f"<Points>{_array('Float32', 'points', nodes, '%.6g')}</Points>"
    yield "<Polys>"
    yield _array("Int32", "connectivity", triangles, "%d")
    yield _array("Int32", "offsets", 3 * np.arange(1, len(triangles) + 1), "%d")
    yield "</Polys>"
    yield f'<PointData Scalars="log10_loss_{data.sizes[-1]:06d}">'
    for index in data.few_sizes():
        yield _array("Float32", f"log10_loss_{data.sizes[index]:06d}", data.drawn(index).ravel(), "%.6g")
    yield "</PointData></Piece></PolyData></VTKFile>"


def _array(kind: str, name: str, values: NDArray[Any], form: str) -> str:
    """Return a data array as text; points have three components."""
    components = ' NumberOfComponents="3"' * (values.ndim == 2 and name == "points")
    text = " ".join(form % value for value in values.ravel())
    return f'<DataArray type="{kind}" Name="{name}"{components} format="ascii">{text}</DataArray>'
