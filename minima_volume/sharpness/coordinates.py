"""The coordinates u, θ = θ* + s∘u, of a sharpness measure: their scales s say which steps count as equally long."""

from dataclasses import replace
from typing import Literal, get_args

from minima_volume.networks.minimum import Minimum
from minima_volume.networks.parameters import filter_scales

# "raw" has s = 1, "filter" the norm of a weight's filter, as rays have (Li et al. 2018), and "elementwise" has |θ*| (Kwon et
# al. 2021).
Coordinates = Literal["raw", "filter", "elementwise"]
COORDINATES: tuple[Coordinates, ...] = get_args(Coordinates)


def in_coordinates(minimum: Minimum, coordinates: Coordinates) -> Minimum:
    """Return a minimum with the scales of some coordinates.

    Args:
        minimum: Trained parameters θ*; its own scales are not used.
        coordinates: "raw" for s = 1, "filter" for the norms of filters, "elementwise" for |θ*|.

    Returns:
        The same parameters with scales s (n,).

    Example:
        >>> import torch
        >>> from minima_volume.networks.parameters import layout_of
        >>> parameters = {"weight": torch.tensor([[3.0, -4.0]])}
        >>> minimum = Minimum.of(parameters, layout_of(parameters))
        >>> [in_coordinates(minimum, name).scales.tolist() for name in COORDINATES]
        [[1.0, 1.0], [5.0, 5.0], [3.0, 4.0]]
    """
    layout, parameters = minimum.layout, minimum.parameters
    if coordinates == "elementwise":
        return replace(minimum, scales=layout.flatten(parameters).abs())
    return replace(minimum, scales=filter_scales(parameters, layout, normalise=coordinates == "filter"))
