"""The published numbers beside ours, minimum by minimum, as one table."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import tables

from minima_volume import results
from minima_volume.errors import ResultsError

PUBLISHED = Path(__file__).parent / "published.csv"  # facts of github.com/rfangit/minima-volume-project
PUBLISHED_COLUMNS = (
    "study", "repeat_name", "level", "landscape", "threshold", "log_volume_grid", "test_loss", "test_accuracy", "source",
)  # fmt: skip
COLUMNS = (
    "study", "level", "landscape", "threshold", "ours_repeats", "ours_without_volume", "ours_log_volume_grid",
    "ours_spread", "published_repeats", "published_without_volume", "published_log_volume_grid", "relative_difference",
    "grid_steps", "ours_test_loss", "published_test_loss", "ours_test_accuracy", "published_test_accuracy",
)  # fmt: skip
KEY = ["level", "landscape", "threshold"]


def published(study: str) -> pd.DataFrame:
    """Published rows of a study; `log_volume_grid` −∞ means above the threshold, NaN that only test results are known."""
    rows = [row for row in results.read_table(PUBLISHED, PUBLISHED_COLUMNS) if row["study"] == study]
    frame = pd.DataFrame(rows, columns=list(PUBLISHED_COLUMNS))
    for name in ("level", "landscape", "threshold", "log_volume_grid", "test_loss", "test_accuracy"):
        frame[name] = pd.Series(tables.numbers(frame[name].tolist()), dtype=float)
    return frame


def grid_step(log_volume: float, n_params: int) -> float:
    """Nats between neighbouring points of the published grid c = (k/99)² at a volume: 2n/k, from r = c √n."""
    k = 99 * np.exp(log_volume / n_params / 2) / n_params**0.25
    return float(2 * n_params / k)


def comparison(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """A row for each level, landscape and threshold that both have: means over repeats that have a volume.

    `relative_difference` is (ours − published)/|published|; `grid_steps` the same difference in steps of the published
    grid. Test results are means over repeats of the level, whatever the landscape.
    """
    loss = ours[ours["metric"] == "loss"]
    mine = _volumes(loss, "ours").assign(
        ours_spread=loss.groupby(KEY)["log_volume_grid"].std(ddof=1), n_params=loss.groupby(KEY)["n_params"].first()
    )
    measured = theirs[theirs["log_volume_grid"].notna()]
    both = mine.join(_volumes(measured.replace(-np.inf, np.nan), "published"), how="inner").reset_index()
    difference = both["ours_log_volume_grid"] - both["published_log_volume_grid"]
    both["relative_difference"] = difference / both["published_log_volume_grid"].abs()
    steps = [grid_step(v, n) for v, n in zip(both["published_log_volume_grid"], both["n_params"], strict=True)]
    both["grid_steps"] = difference / np.array(steps)
    both["study"] = ours["study"].iloc[0]
    for name in ("test_loss", "test_accuracy"):
        both[f"ours_{name}"] = both["level"].map(
            loss.groupby(["level", "repeat"])[name].first().groupby("level").mean()
        )
        # A repeat that is stored in several folders or landscapes counts once: its name without the folder.
        names = theirs["repeat_name"].str.split().str[0].rename("name")
        means = theirs.groupby([theirs["level"], names])[name].mean().groupby("level").mean()
        both[f"published_{name}"] = both["level"].map(means)
    return both.sort_values(["threshold", "landscape", "level"], ascending=[False, True, True])[list(COLUMNS)]


def _volumes(frame: pd.DataFrame, who: str) -> pd.DataFrame:
    groups = frame.groupby(KEY)["log_volume_grid"]
    counted = {f"{who}_repeats": groups.size(), f"{who}_without_volume": groups.size() - groups.count()}
    return pd.DataFrame({**counted, f"{who}_log_volume_grid": groups.mean()})


def main() -> Path:
    """Write the comparison of all studies that both have; raises ResultsError if there is none."""
    parts = []
    for study in tables.studies("paper"):
        theirs = published(study)
        if not theirs.empty:
            parts.append(comparison(tables.volumes("paper", study), theirs))
    rows = [dict(zip(COLUMNS, row, strict=True)) for part in parts for row in part.itertuples(index=False)]
    if not rows:
        raise ResultsError("Expected paper results of a published study, got none: run `make mnist_poison` or another.")
    path = results.ROOT / "paper" / "comparison.csv"
    results.write_table(path, COLUMNS, rows)
    return path


if __name__ == "__main__":
    try:
        print(tables.shown(main()))
    except ResultsError as error:
        sys.exit(f"error: {error}")
