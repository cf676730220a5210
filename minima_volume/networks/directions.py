"""Random directions that do not depend on the device, the process or the order of work."""

from collections.abc import Sequence
from hashlib import blake2b

import torch
from torch import Tensor

# Numbers of a direction that are converted to float64 at a time; more than any network of the paper has.
PART = 2**22


def generator(*key: int | str) -> torch.Generator:
    """Return a CPU generator whose state depends only on the key."""
    digest = blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    # manual_seed takes a signed 64-bit integer.
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def draw_directions(seed: int, indices: Sequence[int], n_params: int) -> Tensor:
    """Draw standard Gaussian directions.

    Row i depends only on `seed` and `indices[i]`, so directions can be drawn in blocks of any size.

    Args:
        seed: Seed of all directions.
        indices: Numbers of the directions to draw.
        n_params: Number n of coordinates.

    Returns:
        Directions g (len(indices), n), float32 on the CPU.

    Example:
        >>> import torch
        >>> block = draw_directions(0, range(4), 3)
        >>> block.shape
        torch.Size([4, 3])
        >>> torch.equal(draw_directions(0, [2], 3)[0], block[2])
        True
    """
    block = torch.empty(len(indices), n_params, dtype=torch.float32)
    for row, index in zip(block, indices, strict=True):
        torch.randn(n_params, generator=generator("direction", seed, index), dtype=torch.float32, out=row)
    return block


def direction_norms(block: Tensor) -> Tensor:
    """Return the Euclidean norm ‖g‖ of every direction.

    Args:
        block: Directions (rays, n).

    Returns:
        Norms (rays,), summed in float64.
    """
    if block.shape[1] <= PART:
        return torch.linalg.vector_norm(block, dim=1, dtype=torch.float64)
    # A long row in float64 would take the memory of two.
    parts = [torch.linalg.vector_norm(part, dim=1, dtype=torch.float64) for part in block.split(PART, dim=1)]
    return torch.linalg.vector_norm(torch.stack(parts), dim=0)
