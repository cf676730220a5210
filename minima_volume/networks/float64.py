"""Evaluation of somebody's code in float64: a mode that widens float32 constants, casts and new tensors as they appear."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# The device on which the caller's code makes tensors that name none.
CALLERS_DEVICE: ContextVar[torch.device | None] = ContextVar("CALLERS_DEVICE", default=None)
# Functions whose float32 results are constants of the caller's code.
_FACTORIES = {
    torch.zeros, torch.ones, torch.empty, torch.full, torch.eye, torch.arange, torch.linspace, torch.logspace,
    torch.tensor, torch.as_tensor, torch.scalar_tensor, torch.from_numpy, torch.rand, torch.randn, torch.normal,
}  # fmt: skip


class Float64Mode(TorchFunctionMode):
    """Run code that was written for float32 in float64.

    Inside the mode, casts to float32 become casts to float64, new float32 tensors become float64, and where a function
    gets tensors of both precisions the float32 ones are widened. Constants keep the values that float32 gave them.

    Example:
        >>> import torch
        >>> with Float64Mode():
        ...     out = torch.nn.functional.linear(torch.ones(1, 2, dtype=torch.float64), torch.full((3, 2), 0.5))
        >>> out.dtype
        torch.float64
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a torch function with widened arguments."""
        kwargs = kwargs or {}
        if func is torch.Tensor.float:
            func = torch.Tensor.double
        if _holds_float64(args) or _holds_float64(kwargs.values()):
            args, kwargs = tuple(map(_widen, args)), {name: _widen(value) for name, value in kwargs.items()}
        out = func(*map(_widen_dtype, args), **{name: _widen_dtype(value) for name, value in kwargs.items()})
        if func in _FACTORIES and isinstance(out, Tensor) and out.dtype == torch.float32:
            return out.double()
        return out


def _holds_float64(values: Any) -> bool:
    """Return whether a tensor of float64 is among arguments or in lists of them."""
    return any(
        value.dtype == torch.float64
        if isinstance(value, Tensor)
        else isinstance(value, list | tuple) and _holds_float64(value)
        for value in values
    )


def _widen(value: Any) -> Any:
    """Return float32 tensors as float64, in lists too."""
    if isinstance(value, Tensor):
        return value.double() if value.dtype == torch.float32 else value
    if type(value) in (list, tuple):
        return type(value)(map(_widen, value))
    return value


def _widen_dtype(value: Any) -> Any:
    """Return float64 for float32."""
    return torch.float64 if value is torch.float32 else value


@contextmanager
def evaluation(dtype: torch.dtype, *, grad: bool = False) -> Iterator[None]:
    """Evaluate somebody's code in one precision.

    Args:
        dtype: Precision. In float64 constants are widened; see `Float64Mode`.
        grad: Whether gradients are enabled, for models that differentiate inside.
    """
    device = CALLERS_DEVICE.get()
    with ExitStack() as stack:
        stack.enter_context(torch.set_grad_enabled(grad))
        if device is not None and device.type != "cpu":
            stack.enter_context(device)
        if dtype == torch.float64:
            stack.enter_context(Float64Mode())
        yield
