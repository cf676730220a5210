"""What comes of a case: the error in nats against the plain solver, or the sentence of the refusal."""

import math
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from minima_volume import measure_volume
from minima_volume.errors import UserError
from tests.measure import zoo
from tests.measure.zoo import Case, plain_height, plain_radii


@dataclass(frozen=True)
class Outcome:
    """What `measure_volume` makes of a case.

    Attributes:
        error: Largest |Δ n·ln r| over the rays in nats; NaN for a refusal.
        sentence: The refusal; "" for a measurement.
        crash: Any other exception; "" if there is none.
        notes: Notes of the measurement.
        crossed: Number of rays that cross the threshold.
    """

    error: float = math.nan
    sentence: str = ""
    crash: str = ""
    notes: str = ""
    crossed: int = 0


def moving(only: Any) -> Callable[[str], bool]:
    """Return which names move."""
    if only is None:
        return lambda name: True
    if callable(only):
        return only
    return (lambda name: only in name) if isinstance(only, str) else (lambda name: name in only)


def measured(case: Case) -> Any:
    """Return what `measure_volume` returns."""
    model, loss_fn, data, options = case.build()
    return measure_volume(model, loss_fn, data, **{"n_directions": zoo.RAYS, "progress": False, **options})


def outcome(case: Case) -> Outcome:
    """Measure a case and compare it with the plain solver."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, loss_fn, data, options = case.build()
        mode = options.pop("within", nullcontext)
        try:
            with mode():
                found = measure_volume(model, loss_fn, data, **{"n_directions": zoo.RAYS, "progress": False, **options})
        except UserError as error:
            return Outcome(sentence=str(error))
        except Exception as error:
            return Outcome(crash=f"{type(error).__name__}: {error}")
        if case.refusal:
            return Outcome(crash=f"measured, though it had to be refused: {found.log_volume}")
        if not case.compared:
            return Outcome(0.0, crossed=int((~found.censored).sum()))
        height = case.height or plain_height(loss_fn, data)
        n, wanted = plain_radii(
            getattr(model, "_orig_mod", model),
            height,
            options["threshold"],
            moves=moving(options.get("only")),
            normalise=options.get("normalise", True),
        )
    if n != found.n_params:
        return Outcome(crash=f"{found.n_params} parameters for {n}")
    gaps = n * np.abs(found.log_radii - np.array(wanted))
    return Outcome(float(gaps.max()), notes=" ".join(found.notes), crossed=int((~found.censored).sum()))
