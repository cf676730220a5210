"""Unpickle the batches of CIFAR-10 without running what a pickle may ask for."""

import io
import pickle
from typing import Any

import numpy as np
from numpy._core.multiarray import _reconstruct

# What an array is made of, by the names that pickles of old and of new NumPy use.
ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct, ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype,
}  # fmt: skip


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler of arrays, lists, dictionaries, texts and numbers, which runs nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of ADMITTED."""
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(
                f"expected arrays, lists, dictionaries, texts and numbers, got {module}.{name}"
            )
        return ADMITTED[module, name]


def unpickled_batch(content: bytes) -> dict[str, Any]:
    """Return the dictionary of a batch of CIFAR-10.

    Args:
        content: The bytes whose checksum was verified.

    Raises:
        UnpicklingError: The bytes hold something else than arrays, lists, dictionaries, texts and numbers.
    """
    batch: dict[str, Any] = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    return batch
