"""A step on the GPU is a step on the CPU."""

import copy
from collections.abc import Iterator

import torch

from elision.methods.checks._check import Check, Finding
from elision.methods.checks._small import learn, tiny_encoder
from elision.methods.checks._subject import Subject


class Gpu(Check):
    """Compare losses and gradients of a training step."""

    name, place = "gpu", 150
    holds = "A training step on the GPU equals one on the CPU, but for rounding."
    needs_training = True

    def not_for(self, subject: Subject) -> str:
        """Not every machine has one."""
        return "" if torch.cuda.is_available() else "This machine has no GPU."

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """Name the terms and the gradients that differ."""
        method = subject.make(encoder=tiny_encoder(dropout=0.0, pooler=subject.cls.uses_pooler)).train()
        steps = {}
        for device in ("cpu", "cuda"):
            moved, batch = copy.deepcopy(method).to(device), subject.batch().to(device)
            for module in moved.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.0
            torch.manual_seed(0)  # what a method draws on the CPU is then the same
            terms = learn(moved, [batch], moved.optimizers(), epoch=2)
            gradients = {key: p.grad for key, p in moved.named_parameters() if p.grad is not None}
            steps[device] = {key: value.cpu() for key, value in {**terms, **gradients}.items()}
        # Gradients, not weights: Adam turns the rounding of a gradient near zero into a whole step.
        for key, value in steps["cpu"].items():
            if not torch.allclose(value, steps["cuda"][key], rtol=1e-3, atol=1e-5):
                yield Finding(key, f"{key} is another one on the GPU.")
