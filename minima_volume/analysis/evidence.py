"""The evidence of one check: its findings, what limits them, and the verdict that follows."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from minima_volume.analysis import verdicts
from minima_volume.analysis.changes import ends_of
from minima_volume.analysis.checks import FUNCTIONS, Check, rows_at
from minima_volume.analysis.verdicts import Finding, Outcome

# Every test set that a check reads holds at least so many samples.
TEST_SAMPLES = 1000
# Kinds that compare volumes of minima, for which it matters how far their losses lie below the threshold.
_COMPARE = {"falls", "ends", "larger", "unbeaten", "leads", "overtakes", "gains", "predicts"}


@dataclass(frozen=True)
class Evidence:
    """The findings of one check.

    Attributes:
        check: The check.
        findings: One for each estimator that has numbers.
        near: Whether some compared minimum has a loss above half the threshold.
        verdict: The verdict of `verdicts.check_verdict`.
    """

    check: Check
    findings: tuple[Finding, ...]
    near: bool

    @property
    def verdict(self) -> verdicts.Word:
        """Return the verdict on the check."""
        return verdicts.check_verdict(self.findings, near=self.near)


def gather(scale: str, check: Check) -> Evidence:
    """Return the evidence of one check.

    Args:
        scale: `quick` or `paper`.
        check: The check; its study has a table of volumes.

    Raises:
        ResultsError: A table is missing or damaged.
    """
    findings = list(FUNCTIONS[check.kind](scale, check))
    if check.accuracy:
        other = _accuracy(scale, check)
        findings = [
            replace(found, outcome=min(found.outcome, other, key=verdicts.OUTCOMES.index)) for found in findings
        ]
    return Evidence(check, tuple(findings), _is_near(scale, check))


def _accuracy(scale: str, check: Check) -> Outcome:
    """Whether test accuracy rises or falls from the first to the last level, as the check says."""
    rows = rows_at(scale, check.study, check.threshold).drop_duplicates(["repeat", "level"])
    share = rows["test_accuracy"].clip(0.5 / TEST_SAMPLES, 1 - 0.5 / TEST_SAMPLES)
    error = np.sqrt(share * (1 - share) / TEST_SAMPLES)
    falls, errors = ends_of(rows.assign(value=rows["test_accuracy"], error=error))
    sign = 1 if check.accuracy == "falls" else -1
    effect, joint, limit = verdicts.mean_effect([sign * fall for fall in falls], errors)
    return verdicts.outcome_of(effect, joint, limit, wrong=False)


def _is_near(scale: str, check: Check) -> bool:
    """Whether some minimum that a check compares has a loss above half the threshold, though below it."""
    if check.kind not in _COMPARE or check.metric != "loss":
        return False
    rows = pd.concat([rows_at(scale, study, check.threshold) for study in filter(None, (check.study, check.partner))])
    if check.kind in ("falls", "ends", "larger", "predicts"):
        rows = rows[rows["landscape"] == 0]
    return bool((rows["log_volume"].notna() & (rows["loss_at_zero"] > check.threshold / 2)).any())
