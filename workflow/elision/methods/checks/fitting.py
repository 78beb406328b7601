"""A method can learn what only all modalities tell."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from elision.methods.checks._check import Check, Finding
from elision.methods.checks._small import learn
from elision.methods.checks._subject import Subject

_EPOCHS = 200
_LEAST_RATE = 3e-3  # learning rate, so that few epochs suffice


class Fitting(Check):
    """Learn sixteen samples by heart."""

    name, place = "fitting", 110
    holds = "The method learns 16 samples by heart whose labels follow from all modalities."
    needs_training = True

    def not_for(self, subject: Subject) -> str:
        """A method that predicts from one modality cannot."""
        return "" if subject.cls.combines else "The method does not predict from the modalities together."

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """Train until the error is small."""
        spec = subject.spec
        batch = subject.batch(16, lost=0.0, lengths=spec.length)
        shown = torch.tensor([[a, b, c] for a in (-1.0, 1.0) for b in (-1.0, 1.0) for c in (-1.0, 1.0)] * 2)
        if spec.text:
            batch.text.values[:, :, 0] = shown[:, 0:1]
        else:
            batch.text.values[:, 1] = torch.where(shown[:, 0] > 0, 20, 21)
        batch.audio.values[:, :, 0] = shown[:, 1:2]
        batch.vision.values[:, :, 0] = shown[:, 2:3]
        label = shown.sum(1) * 2 / 3
        if not subject.regression:
            label = torch.bucketize(label, torch.linspace(-2, 2, 3)[1:2]) % len(spec.classes)  # most are positive
        batch = replace(batch, label=label, index=torch.arange(16), clean=None)
        batch = replace(batch, clean=batch)
        method = subject.make().train()
        method.begin_training(batch.label)
        optimizers = method.optimizers()
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = max(group["lr"], _LEAST_RATE)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            # How many epochs it takes, the rounding of the processor has a say in.
            for epoch in range(1, _EPOCHS + 1):
                learn(method.train(), [batch], optimizers, epoch=epoch)
                output = method.eval().predict(batch).output.detach()
                if subject.regression:
                    error = (output - batch.label).abs().mean()
                    small = error < 0.25  # the best constant has 1.0, the best two modalities 0.67
                else:
                    error = (output.argmax(1) != batch.label).float().mean()
                    small = error < 0.1  # the best two modalities have 0.25
                if small:
                    return
        what = "mean absolute error" if subject.regression else "share of wrong classes"
        yield Finding("error", f"After {_EPOCHS} epochs, the {what} is {float(error):.2f}: the method does not learn.")
