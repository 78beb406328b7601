"""A method says whether it learns from complete data."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from elision.methods.checks._check import Check, Finding, same_bits
from elision.methods.checks._small import learn
from elision.methods.checks._subject import Subject


class Complete(Check):
    """Train with the samples as they were before the corruption, and without them."""

    name, place = "complete", 75
    holds = "needs_complete says whether the method learns from the samples as they were before the corruption."
    needs_training = True

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """Compare the weights; a method that needs complete data may also end in an error without them."""
        needs = subject.cls.needs_complete
        complete = _learnt(subject, hidden=False)
        try:
            hidden = _learnt(subject, hidden=True)
        except AttributeError:
            if not needs:
                told = "The method reads batch.clean; write needs_complete = True."
                yield Finding("needs_complete", told)
            return
        same = all(same_bits(value, hidden[name]) for name, value in complete.items())
        if same and needs:
            told = "needs_complete is true, but the method learns the same without complete data."
            yield Finding("needs_complete", told)
        if not same and not needs:
            told = "The method learns something else without complete data; write needs_complete = True."
            yield Finding("needs_complete", told)


def _learnt(subject: Subject, *, hidden: bool) -> dict[str, torch.Tensor]:
    batch = subject.batch()
    method = subject.make().train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        learn(method, [replace(batch, clean=None) if hidden else batch] * 2, method.optimizers(), epoch=2)
    return method.state_dict()
