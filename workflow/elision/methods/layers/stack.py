"""Weights of equal modules, stacked: one operation then computes what took one per module."""

import torch
from torch import Tensor


class _Stack(torch.autograd.Function):
    """``torch.stack``, whose backward pass takes two operations, not one per tensor."""

    @staticmethod
    def forward(ctx, *tensors: Tensor) -> Tensor:  # noqa: ANN001
        """Stack tensors of one shape."""
        return torch.stack(tensors)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN001
        """Part the gradient, in the layout of the tensors."""
        return gradient.contiguous().unbind()


def stack(tensors: list[Tensor]) -> Tensor:
    """Stack tensors of one shape [n, ...]; a single one is not copied."""
    return _Stack.apply(*tensors) if len(tensors) > 1 else tensors[0][None]


def shares(x: Tensor) -> bool:
    """Say whether equal modules share operations on the device of a tensor, at the price of copies of their weights.

    A GPU waits for every operation that is launched. A processor waits for every copy.
    """
    return x.device.type != "cpu"
