"""Gradients of accumulated batches are summed."""

from collections.abc import Iterator
from unittest.mock import patch

import torch

from elision.methods.checks._check import Check, Finding, differs
from elision.methods.checks._subject import Subject


class Accumulation(Check):
    """Train with ``accumulate: 2``."""

    name, place = "accumulation", 130
    holds = "Gradients of accumulated batches are summed, and an incomplete group of batches is dropped."
    needs_training = True

    def not_for(self, subject: Subject) -> str:
        """A method may do something else with its batches."""
        return "" if subject.cls.sums_gradients else "The method has its own rules for accumulated batches."

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """Compare gradients after one batch, after the first batch of a new group, and after a whole group."""
        untouched = {clip: lambda *_, **__: None for clip in ("clip_grad_norm_", "clip_grad_value_")}
        with patch.multiple(torch.nn.utils, **untouched):
            method = subject.make(accumulate=2, finetune_text_encoder=False).eval()  # no dropout
            batch, optimizers = subject.batch(), method.optimizers()
            parameters = dict(method.named_parameters())
            start = {name: p.detach().clone() for name, p in parameters.items()}
            method.update(batch, optimizers, 0)
            once = {name: p.grad.clone() for name, p in parameters.items() if p.grad is not None}
            for name, p in parameters.items():
                if not torch.equal(p, start[name]):
                    yield Finding(name, f"{name} changes before the group of batches is complete.")
            method.update(batch, optimizers, 0)  # the first batch of the next epoch
            for name, gradient in once.items():
                if not torch.equal(parameters[name].grad, gradient):
                    yield Finding(name, f"The gradient of {name} keeps an incomplete group of the epoch before.")
            method.update(batch, optimizers, 1)
            for name, gradient in once.items():
                if told := differs(parameters[name].grad, 2 * gradient):
                    yield Finding(name, f"The gradient of {name} is not the sum of two batches: {told}.")
            if all(torch.equal(p, start[name]) for name, p in parameters.items()):
                yield Finding("step", "A complete group of batches changes no parameter.")
