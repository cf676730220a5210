"""How each measure of flatness ranks minima by their test loss: volumes, curvature, worst case and the others side by side.

A concordance is the mean of sign(Δmeasure)·sign(Δtest loss) over pairs of minima, Kendall's τ over those pairs. Pairs are
formed `across` levels within one repeat, and at the `same` level between repeats or seeds, where no amount of data can
explain both.
The chance deviation is the standard deviation of the concordance when the test losses are shuffled within each group.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from minima_volume.analysis import tables
from minima_volume.analysis.local import widths_by_values
from minima_volume.analysis.markdown import MISSING, table, with_error

# Fewest pairs that a concordance is formed of, and shuffles behind a chance deviation.
FEWEST_PAIRS, SHUFFLES = 6, 2000
# Names of the measures, in the order in which they are shown. A volume counts with the opposite sign: large is flat.
NAMES = {
    ("log_gamma", "filter"): "−ln γ, filter norms",
    ("log_volume", "filter"): "−ln E[rⁿ], filter norms",
    ("typical_log_volume", "filter"): "−n·E[ln r], filter norms",
    ("raw_log_volume", "raw"): "−ln E[rⁿ] − Σ ln s, raw",
    ("hessian_max", "raw"): "λ_max of the Hessian, raw",
    ("hessian_max", "filter"): "λ_max of the Hessian, filter norms",
    ("hessian_trace", "raw"): "trace of the Hessian, raw",
    ("hessian_trace", "filter"): "trace of the Hessian, filter norms",
    ("gauss_newton_max", "raw"): "λ_max of Gauss–Newton, raw",
    ("gauss_newton_trace", "filter"): "trace of Gauss–Newton, filter norms",
    ("worst_case", "raw"): "SAM sharpness",
    ("worst_case", "filter"): "worst case, filter norms",
    ("worst_case", "elementwise"): "adaptive sharpness",
    ("fisher_rao", "any"): "Fisher–Rao norm",
    ("learning_coefficient", "raw"): "local learning coefficient",
}
PAIRINGS = {"across": "pairs across levels", "same": "pairs at the same level"}
Floats = NDArray[np.float64]


def concordance(measure: Floats, loss: Floats, groups: NDArray[np.int64]) -> tuple[float, float, int]:
    """Return the concordance of a measure with a loss over pairs in the same group, its chance deviation, and the pairs.

    Args:
        measure: The measure of each minimum (k,).
        loss: The test loss of each minimum (k,).
        groups: Which minima may form pairs (k,).

    Returns:
        The concordance from −1 to 1, the deviation that shuffled losses give, and the number of pairs.

    Example:
        Four minima in one order have the concordance 1; √(2·(2k + 5)/(9k(k − 1))) = 0.49 is chance for k = 4.

        >>> rising = np.array([1.0, 2.0, 3.0, 4.0])
        >>> value, chance, pairs = concordance(rising, rising, np.zeros(4, dtype=np.int64))
        >>> value, round(chance, 1), pairs
        (1.0, 0.5, 6)
    """
    first, second = np.triu_indices(len(measure), 1)
    same = groups[first] == groups[second]
    first, second = first[same], second[same]
    if not len(first):
        return float("nan"), float("nan"), 0
    signs = np.sign(measure[first] - measure[second])

    def mean(values: Floats) -> float:
        return float((signs * np.sign(values[first] - values[second])).mean())

    draw, places = np.random.default_rng(0), [np.flatnonzero(groups == group) for group in np.unique(groups)]
    shuffled = np.array(loss)
    chance = np.empty(SHUFFLES)
    for number in range(SHUFFLES):
        for place in places:
            shuffled[place] = draw.permutation(shuffled[place])
        chance[number] = mean(shuffled)
    return mean(loss), float(chance.std()), len(first)


def measures(scale: str, study: str) -> pd.DataFrame:
    """Return every measure of every minimum that a study's tables hold, larger for sharper minima.

    Columns: repeat, level, test_loss, measure, coordinates, value. Each measure comes with the test loss of its own table,
    because tables may belong to networks of different machines.
    """
    columns = ["repeat", "level", "test_loss", "measure", "coordinates", "value"]
    sharp = tables.sharpness(scale, study)
    parts = [*_volumes(scale, study, sharp), *_local(scale, study)]
    if sharp is not None:  # scales are no sharpness
        parts.append(sharp[(sharp["measure"] != "log_scales") & sharp["value"].notna()])
    frames = [part[columns] for part in parts]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def _volumes(scale: str, study: str, sharp: pd.DataFrame | None) -> Iterator[pd.DataFrame]:
    """Yield minus the ray volumes at the first threshold, each in its own landscape where it is measured there."""
    frame = tables.volumes(scale, study)
    frame = frame[(frame["metric"] == "loss") & (frame["threshold"] == frame["threshold"].iloc[0])]
    frame = frame.loc[frame.groupby(["repeat", "level"])["landscape"].idxmax()]
    for column in ("log_volume", "typical_log_volume"):
        known = frame[frame[column].notna()]
        yield known.assign(measure=column, coordinates="filter", value=-known[column])
    if sharp is not None:
        scales = sharp[sharp["measure"] == "log_scales"][["repeat", "level", "value"]]
        # The scales belong to the same networks only if their test losses agree.
        both = frame.merge(scales, on=["repeat", "level"]).merge(
            sharp[["repeat", "level", "test_loss"]].drop_duplicates(), on=["repeat", "level"], suffixes=("", "_sharp")
        )
        same = both[np.isclose(both["test_loss"], both["test_loss_sharp"], rtol=1e-6) & both["log_volume"].notna()]
        yield same.assign(measure="raw_log_volume", coordinates="raw", value=-same["log_volume"] - same["value"])


def _local(scale: str, study: str) -> Iterator[pd.DataFrame]:
    """Yield −ln γ in the base landscape and own norms, at the width at which most minima have a value below 0."""
    frame = tables.local_volumes(scale, study)
    if frame is None:
        return
    frame = frame[(frame["landscape"] == 0) & (frame["norms"] == "own") & (frame["status"] == "ok")]
    for width in widths_by_values(frame)[:1]:
        here = frame[frame["sigma"] == width]
        yield here.assign(measure="log_gamma", coordinates="filter", value=-here["log_gamma"])


def concordances(scale: str, study: str) -> pd.DataFrame:
    """Return the concordance of every measure with the test loss.

    Columns: measure, coordinates, pairing ("across" levels or "same" level), concordance, chance, pairs.
    """
    found, rows = measures(scale, study), []
    # Levels that are seeds share their data.
    seeds = tables.settings(scale, study).level_means == "model_seed"
    pairings = (("same", "repeat"),) if seeds else (("across", "repeat"), ("same", "level"))
    for (measure, coordinates), frame in found.groupby(["measure", "coordinates"]):
        frame = frame[np.isfinite(frame["test_loss"].astype(float))]
        value, loss = (frame[name].to_numpy(dtype=np.float64) for name in ("value", "test_loss"))
        for pairing, by in pairings:
            one, chance, pairs = concordance(value, loss, frame[by].to_numpy(dtype=np.int64))
            if pairs >= FEWEST_PAIRS:
                rows.append((measure, coordinates, pairing, one, chance, pairs))
    return pd.DataFrame(rows, columns=["measure", "coordinates", "pairing", "concordance", "chance", "pairs"])


def sharpness_table(scale: str = "paper") -> str:
    """Return Markdown tables of concordances ± chance: one for each pairing, with a column for each study."""
    known = [study for study in tables.studies(scale) if tables.sharpness(scale, study) is not None]
    frames = {study: concordances(scale, study) for study in known}
    parts = [_pairing_table(title, pairing, frames) for pairing, title in PAIRINGS.items()]
    return "\n\n".join(parts) if known else MISSING


def _pairing_table(title: str, pairing: str, frames: dict[str, pd.DataFrame]) -> str:
    """Return the table of one pairing; the number of pairs is in the header."""
    chosen = {study: frame[frame["pairing"] == pairing] for study, frame in frames.items()}
    chosen = {study: frame.set_index(["measure", "coordinates"]) for study, frame in chosen.items() if len(frame)}
    header = [title, *(f"`{study}`, {int(frame['pairs'].max())} pairs" for study, frame in chosen.items())]
    lines = []
    for key, name in NAMES.items():
        rows = [frame.loc[[key]].iloc[0] if key in frame.index else None for frame in chosen.values()]
        cells = ["—" if row is None else with_error(row["concordance"], row["chance"]) for row in rows]
        if any(cell != "—" for cell in cells):
            lines.append((name, *cells))
    return table(header, lines)
