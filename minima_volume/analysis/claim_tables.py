"""The claims as text: a short table, a table of checks for each claim, and the sentences that follow."""

import math
from collections import Counter
from collections.abc import Iterable

from minima_volume.analysis import claims, verdicts
from minima_volume.analysis.checks import Check
from minima_volume.analysis.claims import Judgement
from minima_volume.analysis.estimates import NAMES
from minima_volume.analysis.markdown import BLANK, MISSING, duration, signed, table, thousands, with_error
from minima_volume.analysis.remarks import REMARKS
from minima_volume.analysis.verdicts import CANNOT, FAILS, HOLDS, WEAKLY, Finding, Word

# How a reader sees an outcome at a glance; parentheses mark numbers that did not converge.
SIGNS = {"agrees": "✓", "agrees in part": "✓ in part", "disagrees": "✗", "undecided": "?"}
ESTIMATORS = NAMES | {"loss": "losses"}


def verdict_table(judged: list[Judgement], *, links: str) -> str:
    """Return a row for each claim: verdict, in how many studies, and the page that shows it.

    Args:
        judged: The claims with their evidence.
        links: Path of the claims page as seen from the page of the table; empty on that page itself.
    """
    rows = [
        (
            f"[{each.claim.number}]({links}#{anchor(each)})",
            each.claim.statement,
            each.verdict,
            counts(one.verdict for one in each.evidence),
        )
        for each in judged
        if each.evidence
    ]
    return table(("", "claim", "verdict", "checks"), rows) if rows else MISSING


def heading(each: Judgement) -> str:
    """Return the title of a claim's section."""
    return f"{each.claim.number} {each.claim.name}"


def anchor(each: Judgement) -> str:
    """Return the name of a claim's section in links, as GitHub and Sphinx write it."""
    kept = (letter for letter in heading(each).lower() if letter.isalnum() or letter in " -")
    return "".join(kept).replace(" ", "-")


def counts(words: Iterable[Word]) -> str:
    """Return how many verdicts of each kind there are: `4 hold weakly, 2 fail`."""
    spelt: dict[Word, tuple[str, str]] = {
        HOLDS: ("holds", "hold"), WEAKLY: ("holds weakly", "hold weakly"), FAILS: ("fails", "fail"),
        CANNOT: ("cannot be told", "cannot be told"),
    }  # fmt: skip
    found = Counter(words)
    return ", ".join(f"{found[word]}{BLANK}{spelt[word][found[word] > 1]}" for word in verdicts.WORDS if found[word])


def sections(judged: list[Judgement], scale: str, pictures: str) -> str:
    """Return a section for each claim: what is claimed, what was measured, what follows.

    Args:
        judged: The claims with their evidence.
        scale: `quick` or `paper`.
        pictures: Path of the folder of pictures as seen from the page.
    """
    parts = [_section(each, scale, pictures) for each in judged if each.evidence]
    return "\n\n".join(parts) or MISSING


def _section(each: Judgement, scale: str, pictures: str) -> str:
    """One claim."""
    claim, remark = each.claim, REMARKS[each.claim.number]
    run = ", ".join(f"`{command}`" for command in claims.commands(claim, scale))
    lines = [
        f"### {heading(each)}",
        f"**{each.verdict.capitalize()}.** {remark.sentence}",
        f"- *Claim:* {claim.statement} Source: {claim.source}.",
        f"- *Test:* {claim.test}",
        f"- *Against the paper:* {remark.disagreement}",
        f"- *What would change the verdict:* {remark.next}",
        f"- *Picture:* [{claim.figure}]({pictures}/{claim.figure}.png). *Commands:* {run}; "
        f"{duration(claims.seconds(claim, scale))} in all on the machines of the committed runs.",
        "",
        evidence_table(each),
    ]
    return "\n".join([lines[0], "", lines[1], "", *lines[2:]])


def evidence_table(each: Judgement) -> str:
    """Return a row for each check of a claim: outcome and effect ± error of each estimator, and the verdict."""
    present = [
        name for name in ESTIMATORS if any(found.estimator == name for one in each.evidence for found in one.findings)
    ]
    rows = []
    for one in each.evidence:
        by_name = {found.estimator: found for found in one.findings}
        cells = [cell(by_name[name]) if name in by_name else "" for name in present]
        verdict = f"{one.verdict}{', near the threshold' if one.near else ''}"
        repeats = max(found.repeats for found in one.findings)
        rows.append((title(one.check), verdict, str(repeats) if one.check.study else f"{repeats} studies", *cells))
    return table(("check", "verdict", "repeats", *(ESTIMATORS[name] for name in present)), rows)


def title(check: Check) -> str:
    """Return a check in a few words."""
    if not check.study:
        return "all studies"
    over = {"larger": " over ", "unbeaten": " against "}.get(check.kind, " and ")
    partner = f"{over}`{check.partner}`" if check.partner else ""
    return f"`{check.study}`{partner}, {check.metric} {check.threshold:g}"


def cell(found: Finding) -> str:
    """Return outcome and effect of one estimator: `✓ 255k ± 4k`, in parentheses if it has not converged."""
    text = f"{SIGNS[found.outcome]} {effect(found)}".replace(" ", BLANK)
    wrong = f"; against: {', '.join(found.wrong)}" if found.wrong else ""
    return f"{text}{wrong}" if found.converged else f"({text}{wrong})"


def effect(found: Finding) -> str:
    """Return the effect and its error; volumes of thousands of nats are written as 255k ± 4k."""
    if found.unit.startswith("share"):
        return f"{100 * found.effect:.0f} % of {found.unit.rpartition(' ')[2]}"
    if found.unit == "nats" and abs(found.effect) >= 10_000:
        return f"{thousands(found.effect)} ± {thousands(found.error, int(found.error < 1000))}"
    if math.isnan(found.error) or found.error == 0:
        return signed(found.effect, 2)
    return with_error(found.effect, found.error)


def rules() -> str:
    """Return the rules of the verdicts, as the module that applies them states them."""
    return (verdicts.__doc__ or "").partition("\n\n")[2].strip()


def artifact_table(judged: list[Judgement]) -> str:
    """Return a row for each claim: commands, files, time and disk space of the committed runs."""
    rows = [
        (
            f"[{each.claim.number} {each.claim.name}](claims.md#{anchor(each)})",
            "<br>".join(f"`{command}`" for command in claims.commands(each.claim, "paper")),
            f"`volumes.csv` and `cutoffs.csv` of the studies; `figs/paper/{each.claim.figure}.png`",
            duration(claims.seconds(each.claim, "paper")),
            f"{claims.disk(each.claim, 'paper'):,.0f} MiB",
        )
        for each in judged
        if each.evidence
    ]
    return table(("claim", "commands", "files", "time", "disk"), rows) if rows else MISSING
