"""Lines and planes for other programs: NumPy archives, tables, meshes, and the archive that Landscaper reads.

A plane as .npz needs no pickle. `numpy.load` returns these arrays:

- `x` (nx,), `y` (ny,): coordinates of the nodes;
- `mean_loss`, `error_rate` (sizes, ny, nx), `loss_se` (ny, nx), `sizes` (sizes,);
- `model_x`, `model_y`, `model_distance`, `model_loss`, `model_error_rate` (models,);
- `track_0`, `track_1`, … (checkpoints, 3): x, y and distance of a path;
- `info`: JSON text with everything else, the names of models and tracks among it, and a checksum.

A line has `t`, `mean_loss`, `error_rate`, `loss_se`, `sizes`, `info` and, with test data, `test_loss` and
`test_error_rate`.
"""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minima_volume.errors import ResultsError
from minima_volume.landscapes.profile import LossProfile
from minima_volume.landscapes.surface import Mark, Surface, Track
from minima_volume.landscapes.totals import Floats
from minima_volume.storage import archives, atomic, tables

KIND, LINE_KIND = "minima_volume.plane/1", "minima_volume.line/1"
ADVICE = "Evaluate and save it again."
GRID = ("x", "y", "mean_loss", "error_rate", "loss_se")
NUMBERS = ("x", "y", "distance", "loss", "error_rate")
COLUMNS = ("samples", "x", "y", "mean_loss", "error_rate")
LINE_COLUMNS = ("samples", "t", "mean_loss", "error_rate", "test_loss", "test_error_rate")
LINE_ARRAYS = ("t", "mean_loss", "error_rate", "loss_se", "test_loss", "test_error_rate")


def save_plane(path: Path, plane: Surface) -> None:
    """Write a plane as .npz, or as .csv with one row for each data size and node.

    Args:
        path: The file to write.
        plane: The plane.

    Raises:
        ResultsError: The path ends in something else, or cannot be written.
    """
    if _ending(path, ".npz", ".csv") == ".csv":
        rows = (
            dict(zip(COLUMNS, (size, x, y, plane.mean_loss[k, j, i], plane.error_rate[k, j, i]), strict=True))
            for k, size in enumerate(plane.sizes)
            for j, y in enumerate(plane.y)
            for i, x in enumerate(plane.x)
        )
        tables.write_table(path, COLUMNS, rows)
        return
    arrays: dict[str, Any] = {name: getattr(plane, name) for name in GRID}
    arrays["sizes"] = np.array(plane.sizes)
    arrays |= {f"model_{name}": np.array([getattr(mark, name) for mark in plane.models]) for name in NUMBERS}
    for number, track in enumerate(plane.tracks):
        arrays[f"track_{number}"] = np.stack([track.x, track.y, track.distance], axis=1)
    held = {*GRID, "sizes", "models", "tracks"}
    info = {each.name: getattr(plane, each.name) for each in fields(Surface) if each.name not in held}
    names = {"models": [mark.name for mark in plane.models], "tracks": [track.name for track in plane.tracks]}
    archives.write_arrays(path, {"kind": KIND, **info, **names}, arrays, movable=True)


def read_plane(path: Path) -> dict[str, Any]:
    """Read the fields of a plane that `save_plane` wrote as .npz.

    Args:
        path: The file to read.

    Returns:
        Fields of `Surface` by name.

    Raises:
        ResultsError: The file is missing, damaged or holds something else.
    """
    info, arrays = archives.read_arrays(path, advice=ADVICE)
    if info.pop("kind", None) != KIND:
        raise ResultsError(f"Expected a plane in {path}, got another archive: check the path.")
    columns = zip(*(arrays[f"model_{name}"].tolist() for name in NUMBERS), strict=True)
    models = tuple(Mark(name, *numbers) for name, numbers in zip(info.pop("models"), columns, strict=True))
    tracks = tuple(Track(name, *arrays[f"track_{i}"].T) for i, name in enumerate(info.pop("tracks")))
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in info.items()}
    plain |= {name: arrays[name] for name in GRID} | {"sizes": tuple(arrays["sizes"].tolist())}
    return {**plain, "models": models, "tracks": tracks}


def save_line(path: Path, line: LossProfile) -> None:
    """Write a line as .npz, or as .csv with one row for each data size and node.

    Args:
        path: The file to write.
        line: The line.

    Raises:
        ResultsError: The path ends in something else, or cannot be written.
    """
    arrays = {name: getattr(line, name) for name in LINE_ARRAYS if getattr(line, name) is not None}
    if _ending(path, ".npz", ".csv") == ".csv":
        tests = [arrays.get(name, [None] * len(line.t)) for name in LINE_COLUMNS[-2:]]
        rows = (
            dict(zip(LINE_COLUMNS, (size, t, line.mean_loss[k, i], line.error_rate[k, i], *(each[i] for each in tests)),
                     strict=True))
            for k, size in enumerate(line.sizes)
            for i, t in enumerate(line.t)
        )  # fmt: skip
        tables.write_table(path, LINE_COLUMNS, rows)
        return
    held = {*LINE_ARRAYS, "sizes"}  # the models at the ends of a path are not saved
    info = {each.name: getattr(line, each.name) for each in fields(LossProfile) if each.name not in held}
    archives.write_arrays(path, {"kind": LINE_KIND, **info}, {**arrays, "sizes": np.array(line.sizes)}, movable=True)


def save_landscaper(path: Path, plane: Surface) -> None:
    """Write `loss` (ny, nx) and `coordinates` (2, nodes), the two arrays that Landscaper's `load_from_npz` reads.

    Args:
        path: The file to write.
        plane: The plane.

    Raises:
        ResultsError: The path ends in something else, or the axes have different numbers of nodes.
    """
    _ending(path, ".npz")
    if len(plane.x) != len(plane.y):
        raise ResultsError(
            f"Expected as many nodes along both axes, got {len(plane.x)} and {len(plane.y)}: evaluate it with equal numbers."
        )
    with atomic.atomic_write(path) as scratch, scratch.open("wb") as stream:
        np.savez(stream, loss=plane.loss, coordinates=np.stack([plane.x, plane.y]))


# --- meshes -----------------------------------------------------------------------------------------------------------


def triangles(nx: int, ny: int) -> NDArray[np.int64]:
    """Return two triangles (n, 3) for every cell of a grid, as numbers of nodes counted along rows from 0.

    Args:
        nx: Nodes in a row.
        ny: Rows.
    """
    node = np.arange(ny * nx).reshape(ny, nx)
    a, b, c, d = (part.ravel() for part in (node[:-1, :-1], node[:-1, 1:], node[1:, 1:], node[1:, :-1]))
    return np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])


def surface_nodes(x: Floats, y: Floats, heights: Floats) -> Floats:
    """Return the points (nodes, 3) of a surface with heights (ny, nx)."""
    across, along = np.meshgrid(x, y)
    return np.stack([across, along, heights], axis=-1).reshape(-1, 3)


def obj_lines(nodes: Floats, faces: NDArray[np.int64], comments: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines of a Wavefront mesh."""
    yield from (f"# {comment}" for comment in comments)
    yield from ("v " + " ".join(f"{value:.6g}" for value in node) for node in nodes)
    yield from ("f " + " ".join(str(number) for number in face) for face in faces + 1)


def vtp_lines(
    nodes: Floats, faces: NDArray[np.int64], values: dict[str, Floats], drawn: str, comment: str
) -> Iterator[str]:
    """Yield the lines of a VTK mesh in text form, with values (nodes,) by name, one of which is drawn first."""
    yield '<?xml version="1.0"?>'
    yield f"<!-- {comment} -->"
    yield '<VTKFile type="PolyData" version="1.0" byte_order="LittleEndian"><PolyData>'
    yield f'<Piece NumberOfPoints="{len(nodes)}" NumberOfPolys="{len(faces)}">'
    yield f"<Points>{_array('Float32', 'points', nodes, '%.6g')}</Points>"
    yield "<Polys>"
    yield _array("Int32", "connectivity", faces, "%d")
    yield _array("Int32", "offsets", 3 * np.arange(1, len(faces) + 1), "%d")
    yield "</Polys>"
    yield f'<PointData Scalars="{drawn}">'
    yield from (_array("Float32", name, each, "%.6g") for name, each in values.items())
    yield "</PointData></Piece></PolyData></VTKFile>"


def save_mesh(path: Path, plane: Surface) -> None:
    """Write the surface of all samples, its height log10 of the mean loss, as .vtp or .obj.

    Args:
        path: The file to write. A .vtp holds the heights at all data sizes and the error rate as point data.
        plane: The plane.

    Raises:
        ResultsError: The path ends in something else, or cannot be written.
    """
    ending = _ending(path, ".vtp", ".obj")
    nodes, faces = surface_nodes(plane.x, plane.y, plane.drawn()), triangles(len(plane.x), len(plane.y))
    x, y = plane.axis_labels()
    about = plane.about(), f"x: {x}; y: {y}; z: log10 of the mean loss"
    if ending == ".obj":
        lines = obj_lines(nodes, faces, about)
    else:
        names = [f"log10_loss_{size:06d}" for size in plane.sizes]
        values = {name: plane.drawn(k).ravel() for k, name in enumerate(names)}
        if not np.isnan(plane.error_rate).any():
            values["error_rate"] = plane.error_rate[-1].ravel()
        lines = vtp_lines(nodes, faces, values, names[-1], "; ".join(about).replace("--", "-"))
    write_lines(path, lines)


def write_lines(path: Path, lines: Iterator[str]) -> None:
    """Write lines of text as one whole file."""
    atomic.write_text(path, "\n".join(lines) + "\n")


def _array(kind: str, name: str, values: NDArray[Any], form: str) -> str:
    """Return a data array as text; points have three components."""
    components = ' NumberOfComponents="3"' * (values.ndim == 2 and name == "points")
    text = " ".join(form % value for value in values.ravel())
    return f'<DataArray type="{kind}" Name="{name}"{components} format="ascii">{text}</DataArray>'


def _ending(path: Path, *endings: str) -> str:
    """Return the ending of a path; raise ResultsError unless it is one of these."""
    if path.suffix.lower() not in endings:
        raise ResultsError(f"Expected a path that ends in {' or '.join(endings)}, got {path}: rename the file.")
    return path.suffix.lower()
