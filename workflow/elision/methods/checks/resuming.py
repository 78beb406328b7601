"""Training is the same to the bit, twice and after an interruption."""

import io
from collections.abc import Iterator

import torch

from elision.methods.base import Method
from elision.methods.checks._check import Check, Finding
from elision.methods.checks._small import learn
from elision.methods.checks._subject import Subject


class Resuming(Check):
    """Train twice; and train on from a saved state."""

    name, place = "resuming", 120
    holds = "Two equal trainings give equal bits, and so does a training that goes on from a saved state."
    needs_training = True

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """Compare all weights and buffers."""
        first, second = (_trained(subject, steps=3)[0] for _ in range(2))
        yield from _compared(first, second, "A second, equal training ends with another")

        method, optimizers = _trained(subject, steps=2)
        other = subject.make(seed=7).train()
        others = other.optimizers()
        file = io.BytesIO()
        torch.save([each.state_dict() for each in (method, *optimizers)], file)
        file.seek(0)
        for each, state in zip((other, *others), torch.load(file), strict=True):
            each.load_state_dict(state)
        for each, its in ((method, optimizers), (other, others)):
            _learn(each, its, subject, steps=2, epoch=3, seed=1)
        yield from _compared(method, other, "A training that goes on from a saved state ends with another")


def _trained(subject: Subject, *, steps: int) -> tuple[Method, list[torch.optim.Optimizer]]:
    method = subject.make().train()
    optimizers = method.optimizers()
    _learn(method, optimizers, subject, steps=steps, epoch=2, seed=0)
    return method, optimizers


def _learn(
    method: Method, optimizers: list[torch.optim.Optimizer], subject: Subject, *, steps: int, epoch: int, seed: int
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        learn(method, [subject.batch(seed=seed)] * steps, optimizers, epoch=epoch)


def _compared(method: Method, other: Method, what: str) -> Iterator[Finding]:
    state = other.state_dict()
    for name, value in method.state_dict().items():
        if not torch.equal(value, state[name]):
            yield Finding(name, f"{what} {name}.")
