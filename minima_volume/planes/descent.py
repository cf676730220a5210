"""One network's training on its own plane: the run is repeated with a recorder, and its checkpoints span the plane."""

from pathlib import Path

from minima_volume.landscapes.trajectory import Trajectory
from minima_volume.pipeline.repeat import Repeat
from minima_volume.planes import sources, study_plane, through_minima
from minima_volume.planes.networks import torch_threads, with_parameters
from minima_volume.storage import archives
from minima_volume.training.models import initial_parameters
from minima_volume.training.trainer import Job, evaluate, train

NODES = {"quick": 61, "paper": 101}  # along each axis


def descent_plane(name: str, scale: str, folder: Path) -> Path:
    """Return the archive of the plane of the training of a study's last level, computed now if it is missing.

    The run is that of the study's first repeat with the level's samples, on the full batch, recorded before the first epoch
    and after each. No stored minimum is needed.

    Args:
        name: A study whose networks train on the full batch.
        scale: `quick` or `paper`.
        folder: Where the plane is stored.
    """
    study, settings = sources.open_study(name, scale)
    repeat, level, path = Repeat(study, 0, settings), study.levels[-1], folder / "descent_plane.npz"
    recipe, n_train = study.recipe_at(level), study.n_train(level)
    about = (
        study.data,
        repeat.dataset.checksums,
        study.model,
        recipe.record(),
        n_train,
        study.thresholds[0],
        NODES[scale],
    )
    wanted = archives.fingerprint(*about, repeat.model_seed, repeat.data_seed)
    if study_plane.is_current(path, wanted):
        return path
    samples, start = repeat.samples.part(0, n_train), initial_parameters(study.model, repeat.model_seed)
    trajectory, rows = Trajectory(), []
    job = Job(
        {name: p.to(repeat.device) for name, p in start.items()}, samples.inputs, samples.targets, repeat.model_seed
    )
    every = [
        (0, [job.parameters]),
        *train(repeat.model, [job], recipe, samples.criterion, checkpoints=range(recipe.epochs)),
    ]
    test = repeat.dataset.test_inputs.to(repeat.device), repeat.dataset.test_targets.to(repeat.device)
    for epoch, (parameters,) in every:
        trajectory.record(with_parameters(repeat.model, parameters))
        row: dict[str, float] = {"epoch": epoch}
        for kind, (inputs, targets) in {"train": (samples.inputs, samples.targets), "test": test}.items():
            losses, _ = evaluate(repeat.model, parameters, inputs, targets, samples.criterion)
            row[f"{kind}_loss"] = losses.double().mean().item()
        rows.append(row)
    with torch_threads(settings.workers):
        plane = trajectory.pca_plane(
            samples.criterion, (samples.inputs, samples.targets), name="training", nodes=NODES[scale],
            threshold=study.thresholds[0], keep=through_minima.points_of(path),
        )  # fmt: skip
    (track,) = plane.tracks
    places = zip(track.x.tolist(), track.y.tolist(), track.distance.tolist(), strict=True)
    checkpoints = [row | {"x": x, "y": y, "distance": away} for row, (x, y, away) in zip(rows, places, strict=True)]
    info = through_minima.describe(repeat, scale, []) | {"n_train": n_train, "checkpoints": checkpoints}
    return through_minima.store(path, info | {"name": "descent", "fingerprint": wanted}, plane)
