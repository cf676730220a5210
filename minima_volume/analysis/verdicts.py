"""The rules that turn numbers into a verdict on a claim. They know no table and no study.

From repeats to an *outcome*, for each estimator of a check:

1. The effect is the mean over repeats of the change between the two ends or, where minima are compared level by level,
   of the mean difference. Its error² is that of the mean over repeats plus that of the estimator, which does not average
   out: all repeats share their directions.
2. The effect is *significant* if it exceeds its 95 % limit: that of Student's t for the part of the error from the
   spread, that of a normal distribution for the estimator's, joined in quadrature. A single repeat has the error of the
   estimator.
3. A step from level to level goes the wrong way *for certain* if it does so in every repeat by more than two errors, by
   more than three if there is a single repeat. If there is no such step, but every repeat has one of its own that goes
   the wrong way by more than three errors, that counts as one.
4. `agrees`: the effect is significant and has the claimed sign, and no step goes the wrong way for certain. `agrees in
   part`: some step does. `disagrees`: the effect is significant and has the other sign, or is not significant while some
   step goes the wrong way for certain. `undecided`: everything else.

From outcomes to the verdict on one check. Only estimators whose numbers all converged count. So a ray
volume whose own verdict is max-dominated never counts, neither for nor against. An estimator of the *volume* (samplers,
or ray volumes that converged) outranks one of *typical directions* (n·E[ln r], ln γ from rays): the second kind counts
only if there is none of the first.

5. `holds`: all volumes agree, from at least two repeats, no typical direction disagrees, and no compared minimum has a
   loss above half the threshold. `holds weakly`: some agree, at least in part, none disagrees, but one of these
   conditions is not met. `fails`: one disagrees and none agrees. `cannot be told`: no estimator converged, none is
   decided, or they contradict each other.

From checks to the verdict on a claim:

6. A claim about most studies is decided if at least half of its checks are; otherwise it `cannot be told`. It `holds` if
   every check holds, `holds weakly` if more checks hold, at least weakly, than fail, and `fails` if more fail. If as many
   hold as fail, it `cannot be told`. A claim about every study `fails` if one check fails. A claim that something exists
   has the best verdict of its checks.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from minima_volume.analysis.student import NORMAL_95, join_errors

Outcome = Literal["agrees", "agrees in part", "disagrees", "undecided"]
Word = Literal["holds", "holds weakly", "fails", "cannot be told"]
Quantifier = Literal["most", "every", "some"]
Kind = Literal["volume", "typical direction", "outcome"]
AGREES: Outcome = "agrees"
IN_PART: Outcome = "agrees in part"
DISAGREES: Outcome = "disagrees"
UNDECIDED: Outcome = "undecided"
# From the worst to the best, for claims with two parts.
OUTCOMES: tuple[Outcome, ...] = (DISAGREES, UNDECIDED, IN_PART, AGREES)
HOLDS: Word = "holds"
WEAKLY: Word = "holds weakly"
FAILS: Word = "fails"
CANNOT: Word = "cannot be told"
WORDS: tuple[Word, ...] = (HOLDS, WEAKLY, FAILS, CANNOT)
OWN_STEP = "another step in each repeat"


@dataclass(frozen=True)
class Finding:
    """What one estimator says about one check.

    Attributes:
        estimator: Name of the estimator, a key of `estimates.NAMES`.
        kind: What it estimates: the volume, typical directions, or an outcome of training such as a loss.
        outcome: Whether it agrees with the claim.
        converged: Whether all its numbers can be used with their errors.
        effect: Size of the effect, positive if the claim says so, in `unit`.
        error: Its standard error, in `unit`; NaN if there is none.
        repeats: Number of repeats behind it.
        unit: `nats` and the like.
        wrong: Steps that go the wrong way for certain, in words.
    """

    estimator: str
    kind: Kind
    outcome: Outcome
    converged: bool
    effect: float
    error: float
    repeats: int
    unit: str = "nats"
    wrong: tuple[str, ...] = ()


def mean_effect(effects: ArrayLike, errors: ArrayLike) -> tuple[float, float, float]:
    """Return the mean effect over repeats, its error, and the limit that it must exceed, in errors (rules 1 and 2).

    Args:
        effects: An effect per repeat.
        errors: The estimator's error of each; NaN if it has none.

    Returns:
        Mean, error and limit. The error is NaN, and so nothing is significant, for a single repeat without an error.

    Example:
        >>> mean, error, limit = mean_effect([3.0, 5.0], [0.1, 0.1])
        >>> mean, round(error, 3), round(limit, 1)
        (4.0, 1.005, 12.6)
    """
    values, own = np.asarray(effects, dtype=float), np.asarray(errors, dtype=float)
    estimator = float(np.nan_to_num(own).mean()) if np.isfinite(own).any() else math.nan
    if len(values) == 1:
        return float(values[0]), estimator, NORMAL_95
    spread = float(values.std(ddof=1) / math.sqrt(len(values)))
    return float(values.mean()), *join_errors(spread, len(values) - 1, float(np.nan_to_num(estimator)))


def wrong_steps(steps: Mapping[str, tuple[Mapping[int, float], Mapping[int, float]]]) -> tuple[str, ...]:
    """Return the steps that go the wrong way for certain (rule 3).

    Args:
        steps: Change and error in each repeat that has both, by the name of the step. A change is positive if the claim
            says so.

    Returns:
        Names of steps, or one sentence if every repeat has another.

    Example:
        >>> rising = {0: -5.0, 1: -3.0}, {0: 1.0, 1: 1.0}
        >>> wrong_steps({"10 → 20": rising, "20 → 30": ({0: 9.0, 1: 9.0}, {0: 1.0, 1: 1.0})})
        ('10 → 20',)
    """
    found = []
    for name, (changes, errors) in steps.items():
        limit = 2 if len(changes) > 1 else 3
        if changes and all(change < -limit * errors[repeat] for repeat, change in changes.items()):
            found.append(name)
    repeats = {repeat for changes, _ in steps.values() for repeat in changes}
    some = {
        repeat
        for changes, errors in steps.values()
        for repeat, change in changes.items()
        if change < -3 * errors[repeat]
    }
    if not found and len(repeats) > 1 and some == repeats:
        return (OWN_STEP,)
    return tuple(found)


def outcome_of(effect: float, error: float, limit: float, *, wrong: bool) -> Outcome:
    """Return the outcome of an effect (rule 4).

    Args:
        effect: The effect, positive if the claim says so.
        error: Its standard error; NaN if it has none.
        limit: What the effect must exceed, in errors.
        wrong: Whether some step goes the wrong way for certain.
    """
    if effect > limit * error:
        return IN_PART if wrong else AGREES
    return DISAGREES if wrong or effect < -limit * error else UNDECIDED


def check_verdict(findings: Iterable[Finding], *, near: bool = False) -> Word:
    """Return the verdict on one check (rule 5).

    Args:
        findings: What the estimators say.
        near: Whether some compared minimum has a loss above half the threshold.
    """
    counted = [finding for finding in findings if finding.converged]
    volumes = [finding for finding in counted if finding.kind != "typical direction"]
    outcomes = {finding.outcome for finding in volumes or counted}
    supported = bool(outcomes & {AGREES, IN_PART})
    if DISAGREES in outcomes:
        return CANNOT if supported else FAILS
    if not supported:
        return CANNOT
    contradicted = any(finding.outcome == DISAGREES for finding in counted)
    repeated = all(finding.repeats > 1 for finding in volumes)
    return HOLDS if volumes and outcomes == {AGREES} and repeated and not near and not contradicted else WEAKLY


def claim_verdict(words: Sequence[Word], quantifier: Quantifier = "most") -> Word:
    """Return the verdict on a claim from those on its checks (rule 6).

    Args:
        words: The verdicts on the checks.
        quantifier: Whether the claim is about most studies, about every study, or says that some study exists.

    Example:
        >>> claim_verdict(["holds weakly", "holds weakly", "fails"])
        'holds weakly'
        >>> claim_verdict(["holds weakly", "holds weakly", "fails"], "every")
        'fails'
    """
    if quantifier == "some":
        return next((word for word in (HOLDS, WEAKLY, CANNOT) if word in words), FAILS if words else CANNOT)
    held, failed = sum(word in (HOLDS, WEAKLY) for word in words), words.count(FAILS)
    if quantifier == "every" and failed:
        return FAILS
    if held == failed or 2 * (held + failed) < len(words):
        return CANNOT
    if failed > held:
        return FAILS
    return HOLDS if words.count(HOLDS) == len(words) else WEAKLY
