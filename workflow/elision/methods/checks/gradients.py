"""Every trainable parameter learns."""

from collections.abc import Iterator

from elision.methods.checks._check import Check, Finding
from elision.methods.checks._subject import Subject
from elision.methods.checks._training import epoch


class Gradients(Check):
    """Train for an epoch and look at the gradient of every parameter."""

    name, place = "gradients", 40
    holds = "In an epoch, every trainable parameter gets a gradient that is not zero throughout."
    of_runs = every_task = needs_training = True

    def not_for(self, subject: Subject) -> str:
        """A method may be solved for."""
        return "No gradient trains the method." if subject.cls.own_epochs else ""

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """Name the parameters without a gradient, and those whose gradient stays zero."""
        seen = epoch(subject)
        for names, what in ((seen.without, "gets no gradient"), (seen.zero, "has a gradient of zero throughout")):
            for name in names:
                # A softmax does not see the same number added to all its scores: the gradient of the bias of a key is
                # zero but for rounding.
                if not name.endswith("key.bias"):
                    yield Finding(name, f"{name} {what}: the parameter never learns.")
