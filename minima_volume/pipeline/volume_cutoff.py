"""Stage 3: the data size at which each minimum stops being one."""

from collections.abc import Iterator

from minima_volume.estimators.cutoff import cumulative_means, cutoff
from minima_volume.pipeline import cli
from minima_volume.pipeline.minima import folder_of, load_minima
from minima_volume.pipeline.study import Repeat
from minima_volume.storage import layout, tables
from minima_volume.training.trainer import evaluate


def _cutoff_rows(repeat: Repeat, scale: str) -> Iterator[dict[str, object]]:
    """One row per minimum and threshold: the data size at which its cumulative mean loss first exceeds it."""
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


def write_cutoffs(repeat: Repeat, scale: str) -> None:
    """cutoffs.csv of one repeat."""
    path = folder_of(repeat, scale) / "cutoffs.csv"
    text = tables.table_text(layout.CUTOFF_COLUMNS, _cutoff_rows(repeat, scale))
    tables.write_tables(path.with_suffix(".json"), {path: text}, {})


def volume_cutoff(run: cli.StageRun) -> None:
    """Minima -> cutoffs.csv, where the cumulative mean loss over base and extras first exceeds each threshold."""
    for repeat in run.repeats:
        write_cutoffs(repeat, run.scale)
