"""What is computed in float32 whatever ``train.precision`` is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

Function = TypeVar("Function", bound=Callable[..., Any])


@contextmanager
def bfloat16_where_it_can(device: torch.device) -> Iterator[None]:
    """Compute in bfloat16 inside the block, with PyTorch's own LSTMs where those of its library are not for this CPU.

    Casts of weights are not kept: weights may change inside the block, and be read again.
    """
    library = torch.backends.mkldnn
    before = library.enabled
    library.enabled = before and (device.type != "cpu" or _reads_bfloat16())
    try:
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            yield
    finally:
        library.enabled = before


@cache
def _reads_bfloat16() -> bool:
    """Tell whether oneDNN has LSTMs in bfloat16 for this CPU; without AVX-512 it has none."""
    with torch.random.fork_rng(devices=[]), torch.inference_mode(mode=False), torch.autocast("cpu", torch.bfloat16):
        try:
            torch.nn.LSTM(1, 1)(torch.zeros(1, 1, 1))
        except RuntimeError:
            return False
    return True


def in_float32(on: Tensor) -> torch.autocast:
    """Make a block in which nothing is computed in less than float32; ``on`` is a tensor of the device."""
    return torch.autocast(on.device.type, enabled=False)


def raised(x: Tensor) -> Tensor:
    """Return a tensor in float32 if it has less; float64 and integers stay."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def float32(function: Function) -> Function:
    """Compute a function of tensors, such as a loss, in float32 at least: so its tensors are `raised`.

    Examples
    --------
    >>> @float32
    ... def distance(x, y):
    ...     return (x - y).square().sum()
    >>> distance(torch.ones(2, dtype=torch.bfloat16), torch.zeros(2)).dtype
    torch.float32
    """

    @wraps(function)
    def run(*arguments: Any, **options: Any) -> Any:
        with in_float32(next(a for a in arguments if isinstance(a, Tensor))):
            return function(*(raised(a) if isinstance(a, Tensor) else a for a in arguments), **options)

    return run  # type: ignore[return-value]
