"""Two evaluations are equal."""

from collections.abc import Iterator

import torch

from elision.methods.checks._check import Check, Finding, differs, same_bits
from elision.methods.checks._subject import Subject


class Repeatable(Check):
    """Predict the same batch twice, with other random numbers."""

    name, place = "repeatable", 20
    holds = "Two evaluations of the same weights are equal, and predicting changes no weights."
    of_runs = every_task = True

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """Compare bits."""
        method, batch = subject.ready, subject.batch()
        before = {name: value.clone() for name, value in method.state_dict().items()}
        predictions = []
        with torch.no_grad(), torch.random.fork_rng():
            for seed in (0, 1):
                torch.manual_seed(seed)
                predictions.append(method.predict(batch))
        first, second = predictions
        for part in ("output", "representation"):
            one, other = getattr(first, part), getattr(second, part)
            if one.shape != other.shape or not same_bits(one, other):
                told = differs(other, one) or "the last bits differ"
                yield Finding(part, f"The {part} of a second evaluation is another one: {told}.")
        for name, value in method.state_dict().items():
            if not same_bits(value, before[name]):
                yield Finding(name, f"A prediction changes {name}, which is stored with the weights.")
