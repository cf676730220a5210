"""Random directions that are the same numbers on every device, in every process and in every order of work."""

from collections.abc import Sequence
from hashlib import blake2b

import torch
from torch import Tensor


def generator(*key: int | str) -> torch.Generator:
    """A CPU generator whose state depends on nothing but the key."""
    digest = blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    # manual_seed takes a signed 64-bit integer.
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def draw_directions(seed: int, indices: Sequence[int], n_params: int) -> Tensor:
    """Standard Gaussian directions (len(indices), n_params), float32 on the CPU; row i depends on (seed, indices[i])."""
    block = torch.empty(len(indices), n_params, dtype=torch.float32)
    for row, index in zip(block, indices, strict=True):
        torch.randn(n_params, generator=generator("direction", seed, index), dtype=torch.float32, out=row)
    return block


def direction_norms(block: Tensor) -> Tensor:
    """Euclidean norm ‖g‖ of each direction, accumulated in float64."""
    return torch.linalg.vector_norm(block, dim=1, dtype=torch.float64)
