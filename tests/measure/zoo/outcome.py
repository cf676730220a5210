"""What comes of a case: the error in nats against the plain solver, or the sentence of the refusal."""

import math
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

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
        doubt: Whether the verdict says that the number may be too high.
        changed: What of the caller's model, modes or random state is different afterwards; "" if nothing is.
    """

    error: float = math.nan
    sentence: str = ""
    crash: str = ""
    notes: str = ""
    crossed: int = 0
    doubt: bool = False
    changed: str = ""


def moving(only: Any) -> Callable[[str], bool]:
    """Return which names move."""
    if only is None:
        return lambda name: True
    if callable(only):
        return only
    return (lambda name: only in name) if isinstance(only, str) else (lambda name: name in only)


def state_of(model: Any) -> dict[str, Any]:
    """Return what a measurement has to leave as it is: tensors, gradients, modes and torch's random numbers."""
    state: dict[str, Any] = {"random state": torch.get_rng_state(), "gradients enabled": torch.is_grad_enabled()}
    state |= {"default type": torch.get_default_dtype(), "threads": torch.get_num_threads()}
    state |= {"fused attention": torch.backends.mha.get_fastpath_enabled()}
    state |= {"flash attention": torch.backends.cuda.flash_sdp_enabled()}
    if isinstance(model, nn.Module):
        every = [*model.named_parameters(), *model.named_buffers()]
        tensors = [(name, value) for name, value in every if not isinstance(value, UninitializedParameter)]
        state |= {f"number {i}: {name}": value.detach().clone() for i, (name, value) in enumerate(tensors)}
        state |= {f"gradient of {name}": value.grad for name, value in model.named_parameters()}
        state |= {f"requires_grad of {name}": value.requires_grad for name, value in model.named_parameters()}
        state |= {f"mode of {name}": part.training for name, part in model.named_modules()}
    return state


def difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Return the names of what differs."""

    def same(one: Any, other: Any) -> bool:
        if isinstance(one, Tensor) and isinstance(other, Tensor):
            if one.layout != torch.strided or one.shape != other.shape or one.dtype != other.dtype:
                return one.layout == other.layout != torch.strided
            return torch.equal(one.nan_to_num(), other.nan_to_num())
        return one is other or (not isinstance(one, Tensor) and bool(one == other))

    if before.keys() != after.keys():
        return "names of tensors"
    return ", ".join(name for name in before if not same(before[name], after[name]))


def measured(case: Case) -> Any:
    """Return what `measure_volume` returns."""
    model, loss_fn, data, options = case.build()
    with options.pop("within", nullcontext)():
        return measure_volume(model, loss_fn, data, **{"n_directions": zoo.RAYS, "progress": False, **options})


def outcome(case: Case) -> Outcome:
    """Measure a case and compare it with the plain solver."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, loss_fn, data, options = case.build()
        mode, before, changed = options.pop("within", nullcontext), state_of(model), ""
        try:
            with mode():
                found = measure_volume(model, loss_fn, data, **{"n_directions": zoo.RAYS, "progress": False, **options})
        except UserError as error:
            return Outcome(sentence=str(error), changed=difference(before, state_of(model)))
        except Exception as error:
            return Outcome(crash=f"{type(error).__name__}: {error}")
        changed = difference(before, state_of(model))
        if case.refusal:
            return Outcome(crash=f"measured, though it had to be refused: {found.log_volume}")
        if not case.compared:
            return Outcome(0.0, crossed=int((~found.censored).sum()), changed=changed)
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
    doubt = "may be too high" in found.verdict.sentence
    return Outcome(
        float(gaps.max()), "", "", " ".join(found.notes), int((~found.censored).sum()), doubt=doubt, changed=changed
    )
