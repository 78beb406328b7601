"""A prediction follows from its utterance alone, or from its dialogue."""

from collections.abc import Iterator

import torch

from elision.methods.base import Prediction
from elision.methods.checks._check import Check, Finding, differs
from elision.methods.checks._small import chosen, units
from elision.methods.checks._subject import Subject


class Alone(Check):
    """Predict utterances, or dialogues, together, one by one, among others and in another order."""

    name, place = "alone", 10
    holds = "A prediction is the same alone, in another batch and in another order."
    of_runs = every_task = True

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """Compare outputs and representations; rounding does not count."""
        method, batch = subject.ready, subject.batch(12)
        if not method.one_by_one:
            yield Finding("one_by_one", "With these hyperparameters, a prediction depends on the rest of the batch.")
            return
        wholes = units(batch)
        count = len(wholes)
        with torch.no_grad():
            together = method.predict(batch)
            each = [method.predict(chosen(batch, [whole])) for whole in wholes]
            alone = Prediction(*(torch.cat([getattr(p, part) for p in each]) for part in _PARTS))
            yield from _compared("alone", alone, together)
            turned = torch.arange(count).roll(3).flip(0).tolist()
            few = [count - 1, 1, count - 1]  # twice the same companion
            for how, order in (("in another order", turned), ("in another batch", few)):
                some = [wholes[i] for i in order]
                yield from _compared(how, method.predict(chosen(batch, some)), _some(together, torch.cat(some)))


_PARTS = ("output", "representation")


def _some(prediction: Prediction, index: torch.Tensor) -> Prediction:
    return Prediction(*(getattr(prediction, part)[index] for part in _PARTS))


def _compared(how: str, found: Prediction, expected: Prediction) -> Iterator[Finding]:
    for part in _PARTS:
        if told := differs(getattr(found, part), getattr(expected, part)):
            yield Finding(part, f"The {part} of an utterance is another one {how}: {told}.")
