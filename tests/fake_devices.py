"""Fake accelerators: tensors with CPU arithmetic that report another device and follow the rules of a real one.

As on a real device, operations that mix them with CPU tensors raise, and a fake Apple GPU has no float64. Code that passes
keeps its tensors on one device and uses only precisions that the device has. Rounding of real devices is not imitated.
"""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

ATEN = torch.ops.aten
# Operations that real devices allow with CPU tensors: copies between devices, and indices on the CPU.
BETWEEN = {
    ATEN._to_copy.default, ATEN.copy_.default, ATEN.index.Tensor, ATEN.index_put.default, ATEN.index_put_.default,
}  # fmt: skip
# The device that PyTorch sees: the only one that needs neither a driver nor a stream.
ELSEWHERE = torch.device("meta")


class Elsewhere(Tensor):
    """A tensor on the fake device `claimed`, with its numbers `inner` on the CPU."""

    inner: Tensor
    claimed: torch.device
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor, claimed: torch.device) -> "Elsewhere":
        """Create a tensor without data in the shape of the numbers."""
        wrapper: Elsewhere = Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=ELSEWHERE,
        )  # fmt: skip
        wrapper.inner, wrapper.claimed = inner, claimed
        return wrapper

    @property
    def device(self) -> torch.device:
        """The fake device."""
        return self.claimed

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Raise an error. Within `Pretended` this is never called, because the mode comes first."""
        raise RuntimeError(
            f"Expected tensors of {cls.__name__} inside `with Pretended(…)`, got one outside, in {func}."
        )


class Renamed(TorchFunctionMode):
    """Replaces the name of the fake device in calls by a device that PyTorch knows."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function with the other name; `tolist`, which wrappers do not support, gets the inner numbers."""
        if func is Tensor.tolist and isinstance(args[0], Elsewhere):
            return args[0].inner.tolist()

        def known(value: Any) -> Any:
            return ELSEWHERE if isinstance(value, torch.device | str) and str(value) == self.name else value

        if func is torch.device:
            return func(*args, **kwargs or {})
        return func(*tree_map(known, args), **tree_map(known, kwargs or {}))


class Pretended(TorchDispatchMode):
    """A context in which this machine has a device called `name`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.claimed, self.renamed = torch.device(name), Renamed(name)

    def __enter__(self) -> "Pretended":
        # The data of a wrapper cannot be exchanged within an existing parameter.
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        self.renamed.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.renamed.__exit__(*error)
        torch.__future__.set_overwrite_module_params_on_conversion(False)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation on the inner numbers, or raise as a real device would."""
        leaves = tree_leaves((args, kwargs))
        wrappers = [leaf for leaf in leaves if isinstance(leaf, Elsewhere)]
        here = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.ndim and not isinstance(leaf, Elsewhere)]
        if wrappers and here and func not in BETWEEN:
            raise RuntimeError(f"Expected all tensors on {self.claimed}, got one on the CPU, in {func}.")
        away, kwargs = bool(wrappers), dict(kwargs or {})
        if kwargs.get("device") is not None:
            away, kwargs["device"] = kwargs["device"] == ELSEWHERE, torch.device("cpu")
        elif func is ATEN.copy_.default:
            away = isinstance(args[0], Elsewhere)
        if away and isinstance(kwargs.get("generator"), torch.Generator):
            raise RuntimeError(f"Expected a generator on {self.claimed}, got one on the CPU, in {func}.")
        bare = [tree_map(lambda leaf: leaf.inner if isinstance(leaf, Elsewhere) else leaf, x) for x in (args, kwargs)]
        made = func(*bare[0], **bare[1])
        return tree_map(lambda leaf: self._wrap(leaf, wrappers, func), made) if away else made

    def _wrap(self, leaf: Any, wrappers: list[Elsewhere], func: Any) -> Any:
        """Wrap a result, or return the existing wrapper if the operation worked in place."""
        if not isinstance(leaf, Tensor):
            return leaf
        if self.claimed.type == "mps" and leaf.dtype == torch.float64:
            raise TypeError(f"Expected no float64 on {self.claimed}, which has none, got it from {func}.")
        own = [wrapper for wrapper in wrappers if wrapper.inner is leaf]
        return own[0] if own else Elsewhere(leaf, self.claimed)
