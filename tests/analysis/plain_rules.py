"""The rules of verdicts in plain loops that share nothing with the package."""

import math
from itertools import pairwise

import numpy as np
from scipy.stats import t

from tests.analysis.plain_estimates import hypot

NORMAL = 1.96


def t95(freedom):
    return float(t.ppf(0.975, freedom))


def joint(spread, freedom, shared):
    """Error and 95 % limit of an effect that scatters between repeats and has an error that all of them share."""
    error = (spread**2 + shared**2) ** 0.5
    if not error:
        return 0.0, t95(freedom)
    return error, ((t95(freedom) * spread) ** 2 + (NORMAL * shared) ** 2) ** 0.5 / error


def judged(effects, errors, steps):
    """Outcome of effects by repeat, and of steps {name: {repeat: (change, error)}}."""
    repeats = len(effects)
    mean = float(np.mean(effects))
    own = float(np.mean(errors))
    error, limit = (
        (own, NORMAL) if repeats == 1 else joint(np.std(effects, ddof=1) / math.sqrt(repeats), repeats - 1, own)
    )
    wrong = [
        name
        for name, here in steps.items()
        if here and all(change < -(2 if len(here) > 1 else 3) * error_ for change, error_ in here.values())
    ]
    if not wrong:
        everyone = {repeat for here in steps.values() for repeat in here}
        bad = {repeat for here in steps.values() for repeat, (change, error_) in here.items() if change < -3 * error_}
        if len(everyone) > 1 and everyone == bad:
            wrong.append("some")
    if mean > limit * error:
        return "agrees in part" if wrong else "agrees"
    return "disagrees" if wrong or mean < -limit * error else "undecided"


def along(values):
    """Falls from end to end by repeat, and falls at each step."""
    repeats = sorted({repeat for repeat, _ in values})
    levels = sorted({level for _, level in values})
    effects, errors, steps = [], [], {}
    for repeat in repeats:
        have = [level for level in levels if (repeat, level) in values]
        if len(have) > 1:
            (a, x), (b, y) = values[repeat, have[0]], values[repeat, have[-1]]
            effects.append(a - b)
            errors.append(hypot(x, y))
    for low, high in pairwise(levels):
        steps[low] = {
            r: (values[r, low][0] - values[r, high][0], hypot(values[r, low][1], values[r, high][1]))
            for r in repeats if (r, low) in values and (r, high) in values
        }  # fmt: skip
    return effects, errors, steps


def of_margins(margins):
    """Outcome of {level: {repeat: (margin, error)}}; the effect of a repeat is its mean over levels."""
    repeats = sorted({repeat for here in margins.values() for repeat in here})
    mine = [[here[repeat] for here in margins.values() if repeat in here] for repeat in repeats]
    return judged(
        [np.mean([m for m, _ in pairs]) for pairs in mine], [np.mean([e for _, e in pairs]) for pairs in mine], margins
    )


def any_wrong(margins):
    """Whether there is a step that goes the wrong way: then an overwhelming effect agrees only in part."""
    huge = [1e300] * len({repeat for here in margins.values() for repeat in here})
    return judged(huge, [0.0] * len(huge), margins) == "agrees in part"


def overall(words, quantifier):
    good = sum(word.startswith("holds") for word in words)
    bad = words.count("fails")
    if quantifier == "some":
        return next((w for w in ("holds", "holds weakly", "cannot be told") if w in words), "fails")
    if quantifier == "every" and bad:
        return "fails"
    if good == bad or good + bad < len(words) / 2:
        return "cannot be told"
    return "fails" if bad > good else "holds" if all(word == "holds" for word in words) else "holds weakly"
