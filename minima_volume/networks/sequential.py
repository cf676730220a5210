"""Properties of `nn.Sequential` stacks: which layers have fast code, their memory layout, and tile sizes."""

import torch
from torch import Tensor, nn


def is_dense(model: nn.Module, input_dims: int) -> bool:
    """Return whether a model consists of linear layers with biases and ReLU in between, after an optional Flatten.

    Args:
        model: Any module.
        input_dims: Number of axes of its inputs, including the sample axis.
    """
    if not isinstance(model, nn.Sequential) or not is_stack(model, input_dims):
        return False
    layers = list(model)[1:] if isinstance(model[0], nn.Flatten) else list(model)
    dense = all(isinstance(layer, nn.Linear) and layer.bias is not None for layer in layers[::2])
    return dense and len(layers) % 2 == 1 and all(type(layer) is nn.ReLU for layer in layers[1::2])


# Activations of one tile by device. On a CPU they stay in a core's cache; on a GPU each launch needs enough work.
# Tests patch this dictionary, so every module must use this object.
TILE_ELEMENTS = {"cpu": 2**18, "cuda": 2**26, "mps": 2**24}


def to_channels_last(images: Tensor) -> Tensor:
    """Return images with channels last in memory if they are on the CPU, where convolutions are then fastest.

    `contiguous(memory_format=…)` does not change images with one channel, and convolutions treat those as channels first.

    Args:
        images: Images (…, channels, rows, columns).
    """
    if images.device.type != "cpu":
        return images
    last = torch.empty_like(images.movedim(-3, -1), memory_format=torch.contiguous_format).movedim(-1, -3)
    return last.copy_(images)


POINTWISE = (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.ELU, nn.Identity)
POOLING = (nn.MaxPool2d, nn.AvgPool2d)
# A product X·Wᵀ with at most this many columns is twice as fast if computed as (W·Xᵀ)ᵀ,
THIN = 16
# and faster again if the number of rows of W is padded to a multiple of this.
ROW_MULTIPLE = 4
IMAGES = 4  # axes of images (samples, channels, rows, columns)


def _plain_linear(layer: nn.Module, dims: int) -> bool:
    """Return whether a layer is linear on vectors, or a convolution without groups on zero-padded images."""
    if type(layer) is nn.Conv2d:
        return dims == IMAGES and layer.groups == 1 and layer.padding_mode == "zeros"
    return type(layer) is nn.Linear and dims == 2


def is_stack(model: nn.Module, input_dims: int) -> bool:
    """Return whether the fast path can evaluate a model.

    It can if every layer is of a known class and no parameter is shared. The fast path ignores hooks and
    parametrisations, so models that have any take the general path.

    Args:
        model: Any module.
        input_dims: Number of axes of its inputs, including the sample axis.
    """
    if not isinstance(model, nn.Sequential) or type(model).forward is not nn.Sequential.forward:
        return False
    if any(part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part) for part in model.modules()):
        return False
    dims, linear, names = input_dims, 0, [id(p) for layer in model for p in layer.parameters()]
    for layer in model:
        if not {name for name, _ in layer.named_parameters()} <= {"weight", "bias"} or any(layer.named_buffers()):
            return False
        if type(layer) is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1):
            dims = 2
        elif _plain_linear(layer, dims):
            linear += 1
        elif not (type(layer) in POINTWISE or (type(layer) in POOLING and dims == IMAGES)):
            return False
    return linear > 0 and len(names) == len(set(names))
