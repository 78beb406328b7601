"""Every loss that is computed is minimised."""

from collections.abc import Iterator

from elision.methods.checks._check import Check, Finding
from elision.methods.checks._subject import Subject
from elision.methods.checks._training import epoch


class LossTerms(Check):
    """Train for an epoch and look which single numbers never become part of the loss."""

    name, place = "loss_terms", 50
    holds = "Every loss that is computed with gradients is part of the loss that is minimised."
    of_runs = every_task = needs_training = True

    def not_for(self, subject: Subject) -> str:
        """A method may be solved for."""
        return "No gradient trains the method." if subject.cls.own_epochs else ""

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """Name the terms, and the lines of code."""
        seen = epoch(subject)
        for name, how in seen.terms.items():
            if name in subject.cls.counts:
                continue  # which only tells something
            if how == "constant":
                yield Finding(name, f"The term {name!r} depends on no trainable parameter: nothing learns from it.")
            else:
                yield Finding(name, f"The term {name!r} is computed, but is not added to the loss.")
        for line, where in seen.loose.items():
            yield Finding(line, f"{where} computes a number that is not added to the loss: {line}")
