"""Operations that PyTorch dispatches in a training step: a small model on a GPU is bound by their number.

Prints them per method: forward pass, backward pass and optimizer, with a text encoder of one layer and without dropout.
Sizes are those of CMU-MOSI, or of the first corpus whose parameters the method's authors tell. Blocks of LNLN and ALMT
share operations as on a GPU.

Run: python benchmarks/operations.py [METHOD ...] [--most 10] [--dropout]
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules import rnn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import BertConfig, BertModel

from elision.methods import build, load, method_names, resolve
from elision.methods.base import Method
from elision.methods.layers import transformer
from elision.methods.layers.retrieval import Database
from elision.methods.layers.text_encoder import TextEncoder
from elision.task import MODALITIES, OFFICIAL_SPECS, DataSpec, TaskKind
from elision.training.loop import fused_optimizers
from training import synthetic_batch

# What gives a tensor another shape or type of use, and launches nothing.
VIEWS = (
    *("view", "_unsafe_view", "t", "transpose", "permute", "expand", "slice", "select", "split", "split_with_sizes"),
    *("unbind", "unsqueeze", "squeeze", "detach", "alias", "unfold", "as_strided"),
)


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
        if not self._paused and function.namespace != "profiler":
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


def sizes(name: str) -> tuple[str, DataSpec]:
    """Return the first corpus whose parameters a method's authors tell, else CMU-MOSI, and the method's sizes there."""
    method = load(name)
    corpus = next(iter(method.official_counts), "mosi")
    spec = OFFICIAL_SPECS[corpus]
    if method.reads_text != "vectors":
        spec = replace(spec, text=0)
    if resolve(name, corpus)[0].alignment != "none":
        spec = replace(spec, length=dict.fromkeys(MODALITIES, spec.length["text"]))
    return corpus, spec


def started(name: str, corpus: str, spec: DataSpec) -> Method:
    """Return a method with random weights that has begun to train, its teachers and its database random, too."""
    torch.manual_seed(0)
    kind = load(name)
    teachers = {need: started(need, corpus, spec).eval().requires_grad_(False) for need in kind.needs}
    database = None
    if kind.retrieves:
        with torch.no_grad():
            vectors = teachers[kind.retrieves].hidden(synthetic_batch(spec, 64, torch.Generator().manual_seed(2)))
        database = Database(vectors, rows=torch.arange(64), labelled=torch.ones(64, dtype=torch.bool))
    encoder = TextEncoder(BertModel(BertConfig(num_hidden_layers=1)), pooler=kind.uses_pooler)
    method = build(name, resolve(name, corpus, {"accumulate": 1})[0], spec, encoder)
    method.start(teachers, database)
    dtype = torch.int64 if spec.task is TaskKind.CLASSIFICATION else torch.float32
    method.begin_training(torch.zeros(spec.samples, dtype=dtype))
    return method.train()


def count(name: str, *, dropout: bool = False, size: int = 8) -> Counter[str]:
    """Return how often each operation runs in a training step of a method on a batch of some utterances.

    The text of half of the utterances is absent, and nothing else: what a method does with missing data is counted.
    """
    transformer.shares = lambda _: True
    corpus, spec = sizes(name)
    method, batch = started(name, corpus, spec), synthetic_batch(spec, size, torch.Generator().manual_seed(1))
    absent = torch.arange(size) % 2 == 0
    text = batch.text
    values = text.values.masked_fill(absent.view(-1, *[1] * (text.values.ndim - 1)), 0)
    batch.text = replace(text, values=values, observed=text.observed & ~absent[:, None])
    batch.rate[absent, 0] = 1
    for module in method.modules():
        if isinstance(module, torch.nn.Dropout) and not dropout:
            module.p = 0.0
    optimizers = fused_optimizers(method)
    method.on_epoch_start(2)
    method.on_pass_start(0)
    method.update(batch, optimizers, 0)  # the first step makes the state of the optimizers
    with Operations() as operations:
        method.update(batch, optimizers, 1)
    return operations.counts


def main() -> None:
    """Print a line per method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=method_names())
    parser.add_argument("--most", type=int, default=0, help="list so many of the most frequent operations, too")
    parser.add_argument("--dropout", action="store_true", help="with dropout, which a CPU does in several operations")
    arguments = parser.parse_args()
    for name in arguments.methods:
        if not resolve(name, sizes(name)[0])[0].epochs:
            continue
        counts = count(name, dropout=arguments.dropout)
        frequent = ", ".join(f"{operation} {number}" for operation, number in counts.most_common(arguments.most))
        launched = counts.total() - sum(counts[f"aten.{view}"] for view in VIEWS)
        print(
            f"{name}: {counts.total()}, of which {launched} are no views" + (f" ({frequent})" if frequent else ""),
            flush=True,
        )


if __name__ == "__main__":
    main()
