"""A sweep over somebody's model as bytes that reach every worker of a cluster once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

from minima_volume.crossings.model_problem import ModelProblem
from minima_volume.crossings.scan import Target
from minima_volume.errors import UserError, is_memory_error
from minima_volume.networks.minimum import Minimum
from minima_volume.networks.user_model import UserModel
from minima_volume.rays.preconditioner import Preconditioner

# Sweeps that a worker keeps: of the model that is measured and of one of its layers.
KEPT = 2
_opening = Lock()


@dataclass(frozen=True)
class Packed:
    """A model with its loss, its data and where its rays start, for other processes.

    Attributes:
        content: Everything, by cloudpickle, which also takes functions and classes of a script or a notebook.
    """

    content: bytes

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
            return cls(cloudpickle.dumps((user, minimum, tuple(targets), memory, shape)))
        except Exception as error:  # whatever somebody's class raises when it is pickled
            if is_memory_error(error):
                raise
            text = " ".join(str(error).split())
            raise UserError(
                "Expected a model, a loss and data that can be sent to workers, got "
                f"'{type(error).__name__}: {text[:120]}': remove what cannot be pickled, or leave the client out."
            ) from error

    def unpack(self) -> tuple[ModelProblem, Preconditioner | None]:
        """Return the sweep in this process, made once, and the preconditioner.

        Raises:
            UserError: This process lacks a module that the model or the loss is defined in, or has another version of it.
        """
        with _opening:
            return _unpack(self)

    def __hash__(self) -> int:
        return hash(self.content)


@lru_cache(maxsize=KEPT)
def _unpack(packed: Packed) -> tuple[ModelProblem, Preconditioner | None]:
    """Return a sweep and its preconditioner."""
    import cloudpickle

    try:
        user, minimum, targets, memory, shape = cloudpickle.loads(packed.content)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"Expected workers that can import what the model and the loss are made of, got '{error}': install it there, "
            "or call cloudpickle.register_pickle_by_value(module) before the measurement."
        ) from error
    return ModelProblem(user, minimum, targets, memory), shape
