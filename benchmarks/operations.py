"""Operations that PyTorch dispatches in a training step: a small model on a GPU is bound by their number."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules import rnn
from torch.utils._python_dispatch import TorchDispatchMode


class Operations(TorchDispatchMode):
    """Count the operations of a block of code, backward passes included.

    A pass through a recurrent layer counts as one operation, and its backward pass as another: a GPU has one kernel
    for each, where a CPU has many per time step.

    Attributes
    ----------
    counts : Counter of str
        By name of the operation, as in ``aten.addmm``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self._paused = False

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Count an operation and run it."""
        if not self._paused:
            self.counts[str(function.overloadpacket)] += 1
        return function(*args, **(kwargs or {}))

    def __enter__(self) -> "Operations":
        self._original = rnn._VF
        rnn._VF = _Recurrent(self)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        rnn._VF = self._original
        super().__exit__(*error)

    @contextmanager
    def as_one(self, name: str) -> Iterator[None]:
        """Count what is done inside as one operation."""
        self.counts[name] += 1
        self._paused = True
        try:
            yield
        finally:
            self._paused = False


class _Recurrent:
    """The recurrent functions of PyTorch, each as one operation."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._operations._original, name)

        def run(*arguments: Any) -> tuple[Tensor, ...]:
            flat, rebuild = _flatten(arguments)
            return _AsOne.apply(self._operations, name, function, rebuild, *flat)

        return run


class _AsOne(torch.autograd.Function):
    """A function whose forward and backward pass count as one operation each."""

    @staticmethod
    def forward(ctx, operations, name, function, rebuild, *tensors):
        """Run the function, keeping its graph aside."""
        ctx.operations, ctx.name = operations, name
        with operations.as_one(name), torch.enable_grad():
            ctx.inputs = [t.detach().requires_grad_(t.requires_grad) for t in tensors]
            ctx.outputs = function(*rebuild(ctx.inputs))
            return tuple(out.detach() for out in ctx.outputs)

    @staticmethod
    def backward(ctx, *gradients):
        """Follow the graph that was kept."""
        wanted = [t for t in ctx.inputs if t.requires_grad]
        with ctx.operations.as_one(f"{ctx.name}_backward"):
            found = iter(torch.autograd.grad(ctx.outputs, wanted, gradients, allow_unused=True))
            return None, None, None, None, *(next(found) if t.requires_grad else None for t in ctx.inputs)


def _flatten(arguments: tuple) -> tuple[list[Tensor], Any]:
    """Return the tensors among arguments and in lists of them, and what puts others in their places."""
    leaves, tree = torch.utils._pytree.tree_flatten(list(arguments))
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]

    def rebuild(tensors: list[Tensor]) -> list:
        filled = dict(zip(places, tensors, strict=True))
        return torch.utils._pytree.tree_unflatten([filled.get(i, leaf) for i, leaf in enumerate(leaves)], tree)

    return [leaves[place] for place in places], rebuild
