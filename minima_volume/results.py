"""The only owner of file names and formats under `results/`: written whole, checked when read, never a pickle."""

import csv
import io
import json
import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minima_volume.errors import ResultsError
from minima_volume.files import unwritten, whole

FORMAT = 1  # raise when a stored number would mean something else
ROOT = Path(os.environ.get("RESULTS_DIR", "results"))
AGAIN = "Delete it and run the same make target."
# What numpy and zipfile raise on archives that are cut, flipped or foreign.
DAMAGE = (
    OSError, ValueError, TypeError, KeyError, EOFError, AttributeError, NotImplementedError, RuntimeError,
    SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error, MemoryError, OverflowError,
)  # fmt: skip
VOLUME_COLUMNS = (
    "study", "data", "model", "repeat", "level", "landscape", "threshold", "metric", "status", "n_params", "n_directions",
    "n_crossed", "n_recrossed", "log_volume", "log_volume_se", "verdict", "effective_size", "largest_share", "doubling",
    "pareto_k", "typical_log_volume", "typical_log_volume_se", "log_volume_grid", "grid_directions", "loss_at_zero",
    "train_loss", "test_loss", "test_accuracy", "train_accuracy", "unseen_accuracy",
)  # fmt: skip
SLICE_COLUMNS = ("repeat", "level", "n_train", "radius_1", "radius_2", "seen_loss", "unseen_loss")
CUTOFF_COLUMNS = ("study", "data", "model", "repeat", "level", "threshold", "cutoff", "n_samples", "final_mean_loss")


def fingerprint(*settings: object) -> str:
    """A short hash of everything that a stored number depends on."""
    return sha256(json.dumps([FORMAT, *settings], sort_keys=True, default=repr).encode()).hexdigest()[:16]


def study_folder(scale: str, study: str) -> Path:
    """Where a study's tables lie."""
    return ROOT / scale / study


def repeat_folder(scale: str, study: str, repeat: int) -> Path:
    """Where one repeat's minima and radii lie."""
    return study_folder(scale, study) / f"repeat_{repeat}"


def minimum_path(folder: Path, level: int) -> Path:
    """The trained parameters of one level."""
    return folder / "minima" / f"level_{level}.safetensors"


def unfinished_path(folder: Path, level: int) -> Path:
    """Where the training up to a level stands, until it is done."""
    return folder / "minima" / f"level_{level}.unfinished.safetensors"


def failure_path(folder: Path, level: int) -> Path:
    """Why the training of one level gave no minimum."""
    return folder / "minima" / f"level_{level}.failed.json"


def block_path(folder: Path, start: int, stop: int) -> Path:
    """The crossings along the directions start…stop−1."""
    return folder / "rays" / f"directions_{start:05d}_{stop:05d}.npz"


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """A JSON file with sorted keys."""
    with whole(path) as scratch:
        scratch.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; ResultsError names the file if it is missing or damaged."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ResultsError(f"Expected a JSON object in {path}, got: {error}. {AGAIN}") from error
    if not isinstance(content, dict):
        raise ResultsError(f"Expected a JSON object in {path}, got {type(content).__name__}. {AGAIN}")
    return content


def write_arrays(path: Path, info: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Named arrays and a JSON header in one compressed archive; the header carries a checksum of header and values."""
    header = {**info, "sha256": _checksum(info, arrays)}
    with whole(path) as scratch, scratch.open("wb") as stream:
        np.savez_compressed(stream, info=np.array(json.dumps(header, sort_keys=True)), **arrays)


def read_arrays(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and arrays of an archive, checksum verified; ResultsError if it is missing, damaged or holds objects.

    Nothing is ever unpickled.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        info = dict(json.loads(str(arrays.pop("info"))))
    except DAMAGE as error:
        raise ResultsError(f"Expected arrays in {path}, got: {error}. {AGAIN}") from error
    _verify(path, info, arrays)
    return info, arrays


def write_minimum(path: Path, info: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
    """Parameters and training set of one minimum as safetensors; the header carries a checksum of header and values."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    header = {**info, "sha256": _checksum(info, tensors)}
    with whole(path) as scratch:
        try:
            save_file(dict(tensors), scratch, metadata={"info": json.dumps(header, sort_keys=True)})
        except SafetensorError as error:
            raise unwritten(path, error) from error


def read_minimum(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and tensors of a minimum, checksum verified."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as archive:
            info = dict(json.loads((archive.metadata() or {})["info"]))
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118 - not a mapping
    except (*DAMAGE, SafetensorError) as error:
        raise ResultsError(f"Expected a minimum in {path}, got: {error}. {AGAIN}") from error
    _verify(path, info, tensors)
    return info, tensors


def _verify(path: Path, info: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Take the checksum out of a header and compare it with header and values."""
    if info.pop("sha256", None) != _checksum(info, values):
        raise ResultsError(f"Expected the checksum written with {path}, got another: it is damaged. {AGAIN}")


def _checksum(info: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """Of a header and of named arrays or tensors."""
    total = sha256(json.dumps(dict(info), sort_keys=True).encode())
    for name in sorted(values):
        array = np.ascontiguousarray(values[name])
        total.update(f"{name} {array.dtype} {array.shape}".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def stored(reader: Any, path: Path, wanted: str) -> Any:
    """What `reader` finds at `path` if it is whole and its header carries the fingerprint `wanted`, else None."""
    if not path.exists():
        return None
    try:
        content = reader(path)
    except ResultsError as error:
        print(f"{error} Recomputing it now.")
        return None
    info = content[0] if isinstance(content, tuple) else content
    return content if info.get("fingerprint") == wanted else None


def _cell(value: object) -> str:
    """A table cell: empty for what is not a number, so that no reader takes it for one.

    Eight digits resolve 0.01 nats in a volume of 10⁶, far below every error in the table, and hide what the last bits of
    another machine's arithmetic would change.
    """
    if isinstance(value, float | np.floating):
        return f"{value:.8g}" if np.isfinite(value) else ""
    return "" if value is None else str(value)


def table_text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """A CSV table with a header; what is missing or not a number is an empty cell."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(row.get(name)) for name in columns} for row in rows)
    return stream.getvalue()


def write_text(path: Path, text: str) -> None:
    """A text file."""
    with whole(path) as scratch:
        scratch.write_bytes(text.encode())


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """The CSV table `table_text` of the rows."""
    write_text(path, table_text(columns, rows))


def write_tables(record: Path, tables: Mapping[Path, str], content: Mapping[str, Any]) -> None:
    """Tables of one folder, and beside them a JSON record with their checksums, which `read_table` compares.

    The last table is what make waits for, so it is written last: a run killed before it is made again.
    """
    *others, (last, text) = tables.items()
    for path, other in others:
        write_text(path, other)
    sums = {path.name: sha256(table.encode()).hexdigest() for path, table in tables.items()}
    write_json(record, {**content, "tables": sums})
    write_text(last, text)


def _verify_table(path: Path) -> None:
    """Compare a table with the checksum in the record beside it, where there is one."""
    for record in (path.with_suffix(".json"), path.with_name("run.json")):
        try:
            sums = read_json(record).get("tables") if record.exists() else None
            wanted = sums.get(path.name) if isinstance(sums, dict) else None
        except ResultsError as error:
            raise ResultsError(
                f"Expected the record of {path} in {record}, got a damaged one. {_again(path)}"
            ) from error
        if wanted not in (None, sha256(path.read_bytes()).hexdigest()):
            raise ResultsError(
                f"Expected the table that {record} was written with in {path}, got another. {_again(path)}"
            )


def _again(path: Path) -> str:
    return f"Delete {path} and run the same make target."


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV table as text; ResultsError if the file or a column is missing, or its checksum is another."""
    try:
        with path.open(newline="") as stream:
            reader = csv.DictReader(stream)
            rows, found = list(reader), list(reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ResultsError(f"Expected a table in {path}, got: {error}. Run the make target of its study.") from error
    missing = [name for name in columns if name not in found]
    if missing:
        raise ResultsError(
            f"Expected the columns {', '.join(missing)} in {path}, got {found}: delete it and run again."
        )
    _verify_table(path)
    return rows
