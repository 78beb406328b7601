"""A frozen text encoder stays as it is."""

from collections.abc import Iterator

import torch

from elision.methods.checks._check import Check, Finding
from elision.methods.checks._small import learn
from elision.methods.checks._subject import Subject


class FrozenEncoder(Check):
    """Train with ``finetune_text_encoder: false``."""

    name, place = "frozen_encoder", 90
    holds = "With finetune_text_encoder: false, the text encoder is not trained and has no dropout."
    needs_training = True

    def not_for(self, subject: Subject) -> str:
        """A method without a text encoder has none to freeze."""
        return "" if subject.cls.reads_text == "tokens" else "The method has no text encoder."

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """Name the weights that change, or get a gradient."""
        method = subject.make(finetune_text_encoder=False).train()
        before = {name: value.clone() for name, value in method.encoder.state_dict().items()}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            learn(method, [subject.batch()] * 2, method.optimizers(), epoch=2)
        if method.encoder.training:
            yield Finding("dropout", "The frozen text encoder is in training mode: it has dropout.")
        for name, parameter in method.encoder.named_parameters():
            if parameter.grad is not None:
                yield Finding(name, f"encoder.{name} gets a gradient although the text encoder is frozen.")
        for name, value in method.encoder.state_dict().items():
            if not torch.equal(value, before[name]):
                yield Finding(name, f"encoder.{name} changes although the text encoder is frozen.")
