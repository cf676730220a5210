"""What is known of `nn.Sequential` stacks: which layers have fast code, their memory layout and tile sizes."""

import torch
from torch import Tensor, nn


def is_dense(model: nn.Module, input_dims: int) -> bool:
    """Whether `model` is a stack of linear layers with biases and ReLU between, flattened first or not at all."""
    if not isinstance(model, nn.Sequential) or not is_stack(model, input_dims):
        return False
    layers = list(model)[1:] if isinstance(model[0], nn.Flatten) else list(model)
    dense = all(isinstance(layer, nn.Linear) and layer.bias is not None for layer in layers[::2])
    return dense and len(layers) % 2 == 1 and all(type(layer) is nn.ReLU for layer in layers[1::2])


# Activations of one tile stay in a core's cache on a CPU; a GPU wants enough work per launch instead.
TILE_ELEMENTS = {"cpu": 2**18, "cuda": 2**26, "mps": 2**24}


def to_channels_last(images: Tensor) -> Tensor:
    """Images (…, channels, rows, columns) in the order of memory that convolutions on a CPU are fastest with.

    `contiguous(memory_format=…)` leaves images of one channel as they are, which convolutions take for channels first.
    """
    if images.device.type != "cpu":
        return images
    last = torch.empty_like(images.movedim(-3, -1), memory_format=torch.contiguous_format).movedim(-1, -3)
    return last.copy_(images)


POINTWISE = (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.ELU, nn.Identity)
POOLING = (nn.MaxPool2d, nn.AvgPool2d)
# A product with so few columns runs twice as fast with the samples along its rows, and faster in whole registers.
THIN, REGISTER = 16, 4
IMAGES = 4  # axes of images (samples, channels, rows, columns)


def _plain_linear(layer: nn.Module, dims: int) -> bool:
    """A linear layer on vectors, or an ungrouped convolution on zero-padded images."""
    if type(layer) is nn.Conv2d:
        return dims == IMAGES and layer.groups == 1 and layer.padding_mode == "zeros"
    return type(layer) is nn.Linear and dims == 2


def is_stack(model: nn.Module, input_dims: int) -> bool:
    """Whether the fast path knows every layer, met by activations of `input_dims` axes, and no parameter is shared.

    It computes what the layers' classes say, so what is hooked onto a module or a weight is for the other path.
    """
    if not isinstance(model, nn.Sequential) or type(model).forward is not nn.Sequential.forward:
        return False
    if any(part._forward_hooks or part._forward_pre_hooks for part in model.modules()):
        return False
    dims, linear, names = input_dims, 0, [id(p) for layer in model for p in layer.parameters()]
    for layer in model:
        if not {name for name, _ in layer.named_parameters()} <= {"weight", "bias"}:
            return False
        if type(layer) is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1):
            dims = 2
        elif _plain_linear(layer, dims):
            linear += 1
        elif not (type(layer) in POINTWISE or (type(layer) in POOLING and dims == IMAGES)):
            return False
    return linear > 0 and len(names) == len(set(names))
