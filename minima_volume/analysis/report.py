"""Every claim on one web page that needs no other file: verdicts, evidence, pictures, tables, method and limits.

`make report` writes it to docs/_build/report/<scale>.html. Pictures and tables are inside the page, so that it can be sent
as it is.
"""

import argparse
import base64
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from minima_volume.analysis import claim_tables, claims, tables
from minima_volume.analysis.claims import Judgement
from minima_volume.analysis.markdown import duration
from minima_volume.analysis.remarks import REMARKS
from minima_volume.errors import ResultsError, UserError
from minima_volume.estimators.diagnostics import CONVERGED
from minima_volume.storage import archives, atomic, layout
from minima_volume.text import prepare_streams

FOLDER = Path("docs/_build/report")
TOYS = {
    "limit_points": "Along rays, the volume of a basin is found from the radii at which the loss reaches the threshold.",
    "l_shaped_basin": "A basin that no straight line from the minimum covers: rays do not see its far part.",
    "grid_rounding": "The published rule rounds every radius up to the next of a hundred coefficients.",
    "scale_invariance": "Rescaling a layer changes raw distances and leaves filter-normalised ones as they are.",
    "volume_vs_data": "What the paper's claim says: each minimum shrinks with data and ends at its cutoff.",
    "volume_hypotheses": "Two readings of the volume hypothesis, strong and weak.",
}
LARGEST_FILM = 2**21  # bytes: drafts are smaller, and a page of finished films would not open on a phone
# Figures of all claims, with the sentence below each.
OVERVIEWS = {
    "claim_matrix": "A dot for each check of a claim by each estimator; only filled dots count.",
    "reranking": "The largest minimum at each data size (ring), and where smaller ones leave the threshold (dotted).",
    "beyond": "Each minimum between and beyond the training sets: which is the largest, and which leaves the threshold.",
    "forest_slopes": "Base slopes, ours and published, with 95 % intervals.",
    "forest_volumes": "Volumes by the published rule, ours minus published.",
}


def report(scale: str, root: Path = Path()) -> str:
    """Return the page.

    Args:
        scale: `quick` or `paper`.
        root: The repository, for figures and documentation; results are those of `layout.ROOT`.

    Raises:
        ResultsError: No study of this scale was run, or a table is damaged.
    """
    if not tables.studies(scale):
        again = "make report SCALE=quick" if scale == "quick" else "make mnist_poison"
        raise ResultsError(f"Expected {scale} results of at least one study, got none: run `{again}`.")
    page = Environment(
        loader=PackageLoader("minima_volume", "analysis"),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    ).get_template("report.html.j2")  # fmt: skip
    figures, judged = root / "figs" / scale, claims.judge_all(scale)
    return page.render(
        scale=scale,
        claims=[_claim(each, scale, figures) for each in judged if each.evidence],
        untested=[each.claim.name for each in judged if not each.evidence],
        overviews=[(name, said, picture(figures / f"{name}.png")) for name, said in OVERVIEWS.items()],
        films=[
            (path.stem, _data("video/mp4", atomic.read_bytes(path)))
            for path in sorted((root / "videos" / scale).glob("*.mp4"))
            if path.stat().st_size <= LARGEST_FILM
        ],
        rules=html(claim_tables.rules()),
        studies=[_study(scale, study) for study in tables.studies(scale)],
        method=html(_section(root / "README.md", "What is measured")),
        toys=[(name, said, picture(root / "toy_models" / "out" / f"{name}.png")) for name, said in TOYS.items()],
        limits=html(_body(root / "docs" / "limits.md")),
        glossary=html(_body(root / "docs" / "glossary.md")),
    )


def html(text: str) -> Markup:
    """Return Markdown as HTML. Links to other files become plain text, because the page stands alone.

    Example:
        >>> print(html("One *word*, see [limits](limits.md)."), end="")
        <p>One <em>word</em>, see limits.</p>
    """
    alone = re.sub(
        r"(?<!!)\[([^\]]+)\]\((?!https?://)[^)]*\)", r"\1", re.sub(r"!\[[^\]]*\]\([^)]*\)|<!--.*?-->", "", text)
    )
    return Markup(MarkdownIt("commonmark", {"html": False}).enable("table").render(alone))


def picture(path: Path) -> str:
    """Return a PNG file as an address that holds its bytes, or an empty text if there is no such file."""
    return _data("image/png", atomic.read_bytes(path)) if path.exists() else ""


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _claim(each: Judgement, scale: str, figures: Path) -> dict[str, object]:
    """What the template shows of one claim."""
    claim, remark = each.claim, REMARKS[each.claim.number]
    return {
        "number": claim.number, "name": claim.name, "statement": claim.statement, "source": claim.source,
        "test": claim.test, "verdict": each.verdict, "counts": claim_tables.counts(one.verdict for one in each.evidence),
        # A sentence for paper-scale numbers says nothing about quick ones.
        "sentence": remark.sentence if scale == "paper" else "",
        "disagreement": remark.disagreement if scale == "paper" else "", "next": remark.next if scale == "paper" else "",
        "evidence": html(claim_tables.evidence_table(each)), "figure": claim.figure,
        "picture": picture(figures / f"{claim.figure}.png"), "commands": claims.commands(claim, scale),
        "took": duration(claims.seconds(claim, scale)), "not_run": ", ".join(each.not_run),
    }  # fmt: skip


def _study(scale: str, study: str) -> dict[str, object]:
    """A row of the table of studies."""
    folder = layout.study_folder(scale, study)
    frame, settings = tables.volumes(scale, study), tables.settings(scale, study)
    record = archives.read_json(folder / layout.RUN_RECORD)
    known = frame.dropna(subset=["log_volume"])
    seconds = sum(record.get("task_seconds", {}).values())
    files = sorted([*folder.glob("*.csv"), *folder.glob("*.json")])
    return {
        "name": study, "title": settings.title, "n_params": int(frame["n_params"].iloc[0]),
        "levels": frame["level"].nunique(), "repeats": frame["repeat"].nunique(),
        "directions": int(frame["n_directions"].max()), "volumes": len(known),
        "converged": int(known["verdict"].isin(CONVERGED).sum()),
        "seconds": seconds, "took": duration(seconds),
        "commit": _commit(record), "device": record.get("device", ""), "written": str(record.get("written", ""))[:10],
        "seeds": _seeds(record), "versions": ", ".join(f"{k} {v}" for k, v in record.get("versions", {}).items()),
        "command": record.get("command", ""),
        "files": [(path.name, _data("text/csv" if path.suffix == ".csv" else "application/json", atomic.read_bytes(path)))
                  for path in files],
    }  # fmt: skip


def _commit(record: Mapping[str, Any]) -> str:
    """The commit of a record in twelve digits, marked if the code had been changed."""
    git = record.get("git") or {}
    return f"{str(git.get('commit', 'unknown'))[:12]}{' + changes' if git.get('dirty') else ''}"


def _seeds(record: Mapping[str, Any]) -> str:
    """The seeds of models and data of all repeats: `model 0, 1, 2; data 10, 11, 12`."""
    seeds = record.get("seeds", {})
    return "; ".join(
        f"{kind} {', '.join(str(each[kind]) for each in seeds.values())}" for kind in ("model", "data") if seeds
    )


def _section(path: Path, title: str) -> str:
    """The text below one heading of a page, without pictures and lines that hold links alone."""
    text = atomic.read_bytes(path).decode().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return re.sub(r"<img [^>]*>|^\[[^\]]*\]\([^)]*\)( · \[[^\]]*\]\([^)]*\))*$", "", text, flags=re.MULTILINE)


def _body(path: Path) -> str:
    """The text of a page without its title, with headings one level lower."""
    text = atomic.read_bytes(path).decode().partition("\n")[2]
    return re.sub(r"^#", "##", text, flags=re.MULTILINE)


def main(scale: str) -> Path:
    """Write the page; return its path."""
    path = FOLDER / f"{scale}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path, report(scale))
    return path


if __name__ == "__main__":
    prepare_streams()
    parser = argparse.ArgumentParser(prog="python -m minima_volume.analysis.report", description=__doc__)
    parser.add_argument("--scale", default="paper", choices=("quick", "paper"))
    try:
        print(f"Open {layout.display_path(main(parser.parse_args().scale))}")
    except UserError as error:
        sys.exit(f"error: {error}")
