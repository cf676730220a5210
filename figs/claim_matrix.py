"""Every claim against every estimator: a dot for each check, filled if the numbers behind it have converged."""

from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from minima_volume.analysis import claim_tables, claims, verdicts
from minima_volume.analysis.claims import Judgement
from minima_volume.drawing import marks, output, style

COLORS = {"agrees": style.BLUE, "agrees in part": style.SKY, "undecided": style.GREY, "disagrees": style.VERMILION}
ACROSS = 5  # dots beside each other before a cell starts a new line of dots
STEP = 0.16  # between dots, in columns
LINE = 0.18  # inches between lines of dots


def draw(scale: str) -> list[Path]:
    """Draw a row for each claim with evidence, and its verdict at the right."""
    judged = [each for each in claims.judge_all(scale) if each.evidence]
    if not judged:
        return []
    style.use()
    heights = [max(2, *(-(-len(found) // ACROSS) for found in cells(each).values())) for each in judged]
    figure, axes = plt.subplots(figsize=(style.DOUBLE_COLUMN, 1.9 + LINE * sum(heights)))
    top = 0
    for each, height in zip(judged, heights, strict=True):
        _row(axes, each, top, height)
        top += height
    axes.set_xlim(-0.5, len(claim_tables.ESTIMATORS) - 0.5)
    axes.set_ylim(top, 0)
    axes.set_xticks(range(len(claim_tables.ESTIMATORS)), list(claim_tables.ESTIMATORS.values()), rotation=50,
                    ha="left", rotation_mode="anchor")  # fmt: skip
    axes.xaxis.tick_top()
    middles = [sum(heights[:i]) + height / 2 for i, height in enumerate(heights)]
    axes.set_yticks(middles, [f"{each.claim.number}  {each.claim.name}" for each in judged])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    handles = [Line2D([], [], marker="o", lw=0, color=color, label=word) for word, color in COLORS.items()]
    handles.append(
        Line2D([], [], marker="o", lw=0, color=style.GREY, mfc="white", label="not converged, does not count")
    )
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    marks.title(figure, f"{len(judged)} claims: {claim_tables.counts(each.verdict for each in judged)}")
    empty = [
        f"claim {each.claim.number} holds without a number that converged"
        for each in judged
        if each.verdict in (verdicts.HOLDS, verdicts.WEAKLY)
        and not any(c for row in cells(each).values() for _, c in row)
    ]
    return marks.close(figure, output.figure_path(scale, "claim_matrix"), quick=scale == "quick", warnings=empty)


def cells(each: Judgement) -> dict[str, list[tuple[str, bool]]]:
    """Return outcome and convergence of every check of a claim, by the estimator."""
    found: dict[str, list[tuple[str, bool]]] = {name: [] for name in claim_tables.ESTIMATORS}
    for one in each.evidence:
        for finding in one.findings:
            found[finding.estimator].append((finding.outcome, finding.converged))
    return found


def _row(axes: Axes, each: Judgement, top: float, height: int) -> None:
    """Draw the dots of one claim, five in a line, and its verdict."""
    axes.axhline(top, color=style.PALE, lw=0.6)
    for column, dots in enumerate(cells(each).values()):
        lines = -(-len(dots) // ACROSS)
        for number, (outcome, converged) in enumerate(dots):
            line, place = divmod(number, ACROSS)
            here = min(ACROSS, len(dots) - line * ACROSS)
            x = column + STEP * (place - (here - 1) / 2)
            y = top + height / 2 + (line - (lines - 1) / 2)
            color = COLORS[outcome]
            axes.plot(x, y, "o", ms=4, color=color, mfc=color if converged else "white", mew=0.9)
    axes.annotate(each.verdict, (1, top + height / 2), xycoords=("axes fraction", "data"), xytext=(6, 0),
                  textcoords="offset points", va="center", weight="bold", size=7)  # fmt: skip
