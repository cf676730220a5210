"""The loss of a study's minimum at radii along the study's own directions, where its volumes are measured."""

from collections.abc import Sequence

from torch import Tensor

from minima_volume.landscapes.landscape import Landscape
from minima_volume.landscapes.node_losses import Floats
from minima_volume.landscapes.subspace import Subspace
from minima_volume.landscapes.survey import survey
from minima_volume.networks import directions
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.surroundings import plain_surroundings
from minima_volume.pipeline.repeat import Repeat
from minima_volume.planes.networks import torch_threads, with_parameters


def unit_directions(repeat: Repeat, n_params: int, count: int) -> Tensor:
    """Return the study's first directions g/‖g‖ (count, n) in float64."""
    block = directions.draw_directions(repeat.study.direction_seed, range(count), n_params)
    return block.double() / directions.direction_norms(block).unsqueeze(1)


def losses_at(repeat: Repeat, minimum: Minimum, samples: Samples, radii: Floats, sizes: Sequence[int]) -> Floats:
    """Return the mean loss at θ* + s∘(Σᵢ rᵢ·gᵢ/‖gᵢ‖), with s the filter norms of the minimum.

    Args:
        repeat: The repeat, with its network, directions and number of threads.
        minimum: θ* and s.
        samples: The samples whose losses are averaged.
        radii: r (points, directions), one column for each of the study's first directions.
        sizes: Numbers of samples, ascending, the last of all samples.

    Returns:
        Mean losses over the first samples, (points, sizes).
    """
    units = unit_directions(repeat, minimum.layout.n_params, radii.shape[1])
    model = with_parameters(repeat.model, minimum.parameters)
    with plain_surroundings(model), torch_threads(repeat.settings.workers):
        landscape = Landscape(model, samples.criterion, (samples.inputs, samples.targets))
        scaled = units.to(minimum.scales.device) * minimum.scales.double()
        subspace = Subspace(landscape.minimum.parameters, landscape.minimum.layout, scaled)
        return survey(landscape, subspace, radii, landscape.as_sizes(sizes)).means.loss
