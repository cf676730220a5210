"""A sweep over somebody's model as bytes that reach every worker of a cluster once."""

import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from threading import RLock

import torch

from minima_volume.crossings.model_problem import ModelProblem
from minima_volume.crossings.scan import Target
from minima_volume.errors import DataError, UserError, is_memory_error
from minima_volume.networks.minimum import Minimum
from minima_volume.networks.probes import Probe, probe
from minima_volume.networks.surroundings import plain_surroundings
from minima_volume.networks.user_model import UserModel
from minima_volume.rays.preconditioner import Preconditioner

# Sweeps that a worker keeps: of the model that is measured and of one of its layers.
KEPT = 2
# The precision by default belongs to the whole process, so its threads compute one after another.
_LOCK = RLock()


@dataclass(frozen=True)
class Packed:
    """A model with its loss, its data and where its rays start, for other processes.

    Attributes:
        content: Everything, by cloudpickle, which also takes functions and classes of a script or a notebook.
        here: What the loss on its data is like in this process.
    """

    content: bytes
    here: Probe | None = None

    @classmethod
    def of(
        cls,
        user: UserModel,
        minimum: Minimum,
        targets: Sequence[Target],
        memory: int,
        shape: Preconditioner | None = None,
    ) -> "Packed":
        """Pack a sweep; the arguments are those of `ModelProblem`, and the preconditioner of its directions.

        Raises:
            UserError: Something cannot be sent to another process.
        """
        import cloudpickle

        try:
            content = cloudpickle.dumps((user, minimum, tuple(targets), memory, shape, torch.get_default_dtype()))
        except Exception as error:  # somebody's class may raise anything: its words become part of the sentence
            if is_memory_error(error):
                raise
            text = " ".join(str(error).split())
            raise UserError(
                "Expected a model, a loss and data that can be sent to workers, got "
                f"'{type(error).__name__}: {text[:120]}': remove what cannot be pickled, or leave the client out."
            ) from error
        return cls(content, probe(user, minimum, targets[0].metric))

    @contextmanager
    def unpack(self) -> Iterator[tuple[ModelProblem, Preconditioner | None]]:
        """Yield the sweep in this process, made once and without failures, and the preconditioner, in plain surroundings.

        Errors of the model become sentences.

        Raises:
            UserError: This process lacks something that the model needs, or the model is another function here.
        """
        before = torch.get_default_dtype()
        try:
            with _LOCK:
                problem, shape, dtype = _unpack(self)
                torch.set_default_dtype(dtype)
                problem.failures.clear()
                with plain_surroundings(problem.user.model):
                    yield problem, shape
        except DataError as error:  # a study's workers would be sent away for it
            raise UserError(f"{error} (on a worker)") from error
        except UserError:
            raise
        except Exception as error:  # somebody's code may raise anything here: its words become part of the sentence
            if is_memory_error(error):
                raise
            text = " ".join(str(error).split())
            raise UserError(
                f"Expected a model, a loss and data that run on the workers as they do here, got '{type(error).__name__}: "
                f"{text[:200]}' on {platform.node()}: correct that, or leave the client out."
            ) from error
        finally:
            torch.set_default_dtype(before)

    def __hash__(self) -> int:
        return hash(self.content)


@lru_cache(maxsize=KEPT)
def _unpack(packed: Packed) -> tuple[ModelProblem, Preconditioner | None, torch.dtype]:
    """Return a sweep that was checked at its minimum, its preconditioner, and the default precision of the caller."""
    import cloudpickle

    try:
        user, minimum, targets, memory, shape, dtype = cloudpickle.loads(packed.content)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"Expected workers that can import what the model and the loss are made of, got '{error}': install it there, "
            "or call cloudpickle.register_pickle_by_value(module) before the measurement."
        ) from error
    torch.set_default_dtype(dtype)
    with plain_surroundings(user.model):
        problem = ModelProblem(user, minimum, targets, memory)
        there = probe(user, minimum, targets[0].metric)
    if packed.here is not None and not there.agrees(packed.here):
        raise UserError(
            f"Expected the same function of the same data on the workers, got means ({there}) instead of ({packed.here}) on "
            f"{platform.node()}: give workers the same data, modules and settings."
        )
    return problem, shape, dtype
