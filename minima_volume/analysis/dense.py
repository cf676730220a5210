"""Stored fully connected networks in NumPy, for figures, which do not import torch."""

from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minima_volume.errors import ResultsError
from minima_volume.storage import archives, layout

Floats = NDArray[np.float64]
Layers = list[tuple[Floats, Floats]]


def read_layers(path: Path) -> Layers:
    """Read weight (out, in) and bias (out,) of each linear layer of a stored minimum, input first.

    Args:
        path: The file of the minimum; its checksum is verified.

    Raises:
        ResultsError: The file is missing or damaged, or does not hold finite weights of a stack of linear layers.
    """
    _, arrays = archives.read_tensors_as_arrays(path)
    named = layout.network_in(arrays)
    numbers = sorted({int(name.split(".")[0]) for name in named if name.endswith(".weight")})
    try:
        layers = [
            tuple(named[f"{number}.{kind}"].astype(np.float64) for kind in ("weight", "bias")) for number in numbers
        ]
        fits = all(inner[0].shape[0] == outer[0].shape[1] for inner, outer in pairwise(layers))
    except (KeyError, IndexError):
        layers, fits = [], False
    if not layers or not fits or not all(np.isfinite(array).all() for layer in layers for array in layer):
        raise ResultsError(
            f"Expected finite weights of a stack of linear layers in {path}, got others. "
            "Delete the file and run the same make target."
        )
    return [(weight, bias) for weight, bias in layers]


def outputs(layers: Layers, inputs: Floats) -> Floats:
    """Return the outputs (N, out) of a fully connected network with ReLU between its layers.

    Args:
        layers: Weight and bias of each layer, as from `read_layers`.
        inputs: Inputs, shape (N, in).
    """
    activity = inputs
    for weight, bias in layers[:-1]:
        activity = np.maximum(activity @ weight.T + bias, 0)
    weight, bias = layers[-1]
    return np.asarray(activity @ weight.T + bias)
