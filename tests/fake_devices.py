"""Pretended accelerators: CPU arithmetic on tensors that say they live elsewhere, under the rules of a real device.

Mixing them with the CPU's tensors raises, as it does there, and a pretended Apple GPU has no float64. Code that passes keeps
its tensors together and asks for no precision that the device lacks; how a device rounds is not pretended.
"""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

ATEN = torch.ops.aten
# What real devices accept beside their own tensors: copies from one to another, and indices on the CPU.
BETWEEN = {
    ATEN._to_copy.default, ATEN.copy_.default, ATEN.index.Tensor, ATEN.index_put.default, ATEN.index_put_.default,
}  # fmt: skip
# What PyTorch itself is told: the one device for which it asks neither for a driver nor for a stream.
ELSEWHERE = torch.device("meta")


class Elsewhere(Tensor):
    """A tensor on the pretended device, its numbers `inner` on the CPU."""

    inner: Tensor
    claimed: torch.device
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor, claimed: torch.device) -> "Elsewhere":
        """A shell with the shape of the numbers."""
        shell: Elsewhere = Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=ELSEWHERE,
        )  # fmt: skip
        shell.inner, shell.claimed = inner, claimed
        return shell

    @property
    def device(self) -> torch.device:
        """Where the tensor says that it lives."""
        return self.claimed

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Raise: `Pretended` answers first wherever it is at work."""
        raise RuntimeError(
            f"Expected tensors of {cls.__name__} inside `with Pretended(…)`, got one outside, in {func}."
        )


class Renamed(TorchFunctionMode):
    """Calls that name the pretended device, told the name that PyTorch knows."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The call under the other name; `tolist`, which shells refuse, on the numbers themselves."""
        if func is Tensor.tolist and isinstance(args[0], Elsewhere):
            return args[0].inner.tolist()

        def known(value: Any) -> Any:
            return ELSEWHERE if isinstance(value, torch.device | str) and str(value) == self.name else value

        if func is torch.device:
            return func(*args, **kwargs or {})
        return func(*tree_map(known, args), **tree_map(known, kwargs or {}))


class Pretended(TorchDispatchMode):
    """While entered, `name` is a device of this machine."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.claimed, self.renamed = torch.device(name), Renamed(name)

    def __enter__(self) -> "Pretended":
        # Numbers of a shell cannot be swapped inside an existing parameter.
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        self.renamed.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.renamed.__exit__(*error)
        torch.__future__.set_overwrite_module_params_on_conversion(False)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The operation on the CPU's numbers, if a real device would have done it."""
        leaves = tree_leaves((args, kwargs))
        shells = [leaf for leaf in leaves if isinstance(leaf, Elsewhere)]
        here = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.ndim and not isinstance(leaf, Elsewhere)]
        if shells and here and func not in BETWEEN:
            raise RuntimeError(f"Expected all tensors on {self.claimed}, got one on the CPU, in {func}.")
        away, kwargs = bool(shells), dict(kwargs or {})
        if kwargs.get("device") is not None:
            away, kwargs["device"] = kwargs["device"] == ELSEWHERE, torch.device("cpu")
        elif func is ATEN.copy_.default:
            away = isinstance(args[0], Elsewhere)
        if away and isinstance(kwargs.get("generator"), torch.Generator):
            raise RuntimeError(f"Expected a generator on {self.claimed}, got one on the CPU, in {func}.")
        bare = [tree_map(lambda leaf: leaf.inner if isinstance(leaf, Elsewhere) else leaf, x) for x in (args, kwargs)]
        made = func(*bare[0], **bare[1])
        return tree_map(lambda leaf: self._sent(leaf, shells, func), made) if away else made

    def _sent(self, leaf: Any, shells: list[Elsewhere], func: Any) -> Any:
        """A result in its shell; the old one where the operation wrote in place."""
        if not isinstance(leaf, Tensor):
            return leaf
        if self.claimed.type == "mps" and leaf.dtype == torch.float64:
            raise TypeError(f"Expected no float64 on {self.claimed}, which has none, got it from {func}.")
        own = [shell for shell in shells if shell.inner is leaf]
        return own[0] if own else Elsewhere(leaf, self.claimed)
