"""Stage 3: find the data size at which the loss of each minimum exceeds a threshold."""

from collections.abc import Iterator

from minima_volume.estimators.cutoff import cumulative_means, cutoff
from minima_volume.pipeline import cli
from minima_volume.pipeline.minima import folder_of, load_minima
from minima_volume.pipeline.repeat import Repeat
from minima_volume.storage import layout, tables
from minima_volume.training.trainer import evaluate


def volume_cutoff(run: cli.StageRun) -> None:
    """Run stage 3: write cutoffs.csv of every repeat."""
    for repeat in run.repeats:
        write_cutoffs(repeat, run.scale)


def write_cutoffs(repeat: Repeat, scale: str) -> None:
    """Write cutoffs.csv of one repeat and its record.

    A cutoff is the number of samples, base first, then extras, from which on the mean loss of a minimum exceeds a
    threshold for the first time.
    """
    path = folder_of(repeat, scale) / layout.CUTOFFS
    text = tables.table_text(layout.CUTOFF_COLUMNS, _cutoff_rows(repeat, scale))
    tables.write_tables(path.with_suffix(".json"), {path: text}, {})


def _cutoff_rows(repeat: Repeat, scale: str) -> Iterator[dict[str, object]]:
    """Yield one row per minimum and threshold."""
    study = repeat.study
    for level, (info, minimum) in load_minima(repeat, scale).items():
        losses, _ = evaluate(
            repeat.model, minimum.parameters, repeat.samples.inputs, repeat.samples.targets, repeat.criterion
        )
        values = losses.double().numpy()
        for threshold in study.thresholds:
            yield {
                "study": study.name, "data": info["data"], "model": study.model, "repeat": repeat.number, "level": level,
                "threshold": threshold, "cutoff": cutoff(values, threshold, start=study.base), "n_samples": len(values),
                "final_mean_loss": float(cumulative_means(values)[-1]),
            }  # fmt: skip
