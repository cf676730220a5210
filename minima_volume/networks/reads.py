"""Which tensors a computation reads: modes that see the memory of every argument of every operation."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def storage_of(tensor: Tensor) -> int:
    """Return a number that identifies the memory of a tensor, the same for all views of it."""
    return int(tensor.untyped_storage()._cdata)


# Methods that hand numbers to Python or NumPy without an operation that a dispatch mode sees.
_READ_DATA: Any = Tensor.data
_EXPORTS = {Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__, Tensor.data_ptr, _READ_DATA.__get__}


class ReadRecorder(TorchDispatchMode):
    """Record which memory is read while code runs.

    Attributes:
        storages: Numbers of the memory that was read; see `storage_of`.
        trainable: Shapes of the parameters with gradients that were read, by the numbers of their memory.
        widest: Numbers in the largest result, or in the columns that a convolution unfolds its input into.

    Example:
        >>> import torch
        >>> a, b = torch.ones(2), torch.ones(2)
        >>> with ReadRecorder() as reads:
        ...     _ = a.detach() * 2
        >>> reads.saw(a), reads.saw(b)
        (True, False)
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not type its modes
        self.storages: set[int] = set()
        self.trainable: dict[int, tuple[int, ...]] = {}
        self.widest = 1
        self._exports = _ExportRecorder(self.record)

    def __enter__(self) -> Self:
        """Start to record."""
        self._exports.__enter__()  # type: ignore[no-untyped-call]  # torch does not type its modes
        super().__enter__()  # type: ignore[no-untyped-call]  # the same
        return self

    def __exit__(self, *error: Any) -> None:
        """Stop."""
        super().__exit__(*error)  # type: ignore[no-untyped-call]  # torch does not type its modes
        self._exports.__exit__(*error)  # type: ignore[no-untyped-call]  # the same

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: torch would import its compiler, which takes seconds, to keep away from this mode."""
        return False

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation and record its arguments."""
        kwargs = kwargs or {}
        self.record((args, kwargs))
        out = func(*args, **kwargs)
        sizes = [leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        if func is torch.ops.aten.convolution.default:
            sizes.append(sizes[0] // out.shape[1] * args[1][0].numel())
        self.widest = max([self.widest, *sizes])
        return out

    def record(self, arguments: Any) -> None:
        """Record the tensors in arguments."""
        for leaf in tree_leaves(arguments):
            if _has_storage(leaf):
                self.storages.add(storage_of(leaf))
                if isinstance(leaf, nn.Parameter) and leaf.requires_grad:
                    self.trainable[storage_of(leaf)] = tuple(leaf.shape)

    def saw(self, tensor: Tensor) -> bool:
        """Return whether the memory of a tensor was read."""
        return storage_of(tensor) in self.storages

    def unread(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Return the names of tensors whose memory was not read."""
        return [name for name, tensor in tensors.items() if not self.saw(tensor)]


class _ExportRecorder(TorchFunctionMode):
    """Record the tensors whose numbers leave torch."""

    def __init__(self, record: Callable[[Any], None]) -> None:
        super().__init__()
        self.record = record

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run a function and record its arguments if they leave torch."""
        if func in _EXPORTS:
            self.record(args)
        return func(*args, **(kwargs or {}))


def _has_storage(value: object) -> bool:
    """Return whether a value is a tensor in memory: sparse ones have several, and none of their own."""
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_nested


def loose_tensors(model: nn.Module) -> list[Tensor]:
    """Return the tensors in attributes of a model, and of layers in its attributes, that it does not register."""
    known = {storage_of(tensor) for tensor in (*model.parameters(), *model.buffers()) if _has_storage(tensor)}
    own = {"_parameters", "_buffers", "_modules"}
    left = tree_leaves([[vars(part)[name] for name in vars(part) if name not in own] for part in model.modules()])
    layers = [leaf for leaf in left if isinstance(leaf, nn.Module)]
    tensors = [*left, *(tensor for layer in layers for tensor in (*layer.parameters(), *layer.buffers()))]
    return [tensor for tensor in tensors if _has_storage(tensor) and storage_of(tensor) not in known]


def shared_memory(parameters: Mapping[str, Tensor]) -> tuple[str, str] | None:
    """Return the names of two different parameters whose memory overlaps, or None."""
    spans: list[tuple[int, int, int, str]] = []
    for name, tensor in parameters.items():
        if tensor.numel() and _has_storage(tensor) and tensor.device.type != "meta":
            last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
            start = int(tensor.storage_offset())
            spans.append((storage_of(tensor), start, start + int(last), name))
            if any(size > 1 and not stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)):
                return name, name  # an expanded tensor, whose numbers are one
    spans.sort()
    for (one, _, end, first), (other, start, _, second) in pairwise(spans):
        if one == other and start <= end:
            return first, second
    return None
