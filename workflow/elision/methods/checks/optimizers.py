"""Every trainable parameter is trained, once, with a learning rate that follows the schedule."""

from collections.abc import Iterator

from elision.methods.checks._check import Check, Finding
from elision.methods.checks._subject import Subject


class Optimizers(Check):
    """Look into the groups of the optimizers and at the schedule."""

    name, place = "optimizers", 80
    holds = "Every trainable parameter is in one group of an optimizer. Factors of learning rates are from 0 to 1."
    needs_training = True

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """Name the parameters that are in no group, or in two."""
        method = subject.make()
        names = {id(p): name for name, p in method.named_parameters()}
        held = [id(p) for o in method.optimizers() for group in o.param_groups for p in group["params"]]
        for parameter in method.parameters():
            name, count = names[id(parameter)], held.count(id(parameter))
            if parameter.requires_grad and count != 1:
                where = "in no group" if not count else f"in {count} groups"
                yield Finding(name, f"{name} is {where} of the optimizers.")
            if not parameter.requires_grad and count:
                yield Finding(name, f"{name} is not trainable, but is in a group of the optimizers.")
        foreign = sum(each not in names for each in held)
        if foreign:
            yield Finding("others", f"The optimizers hold {foreign} parameters that are no part of the method.")
        factors = [method.learning_rate_factor(epoch) for epoch in range(1, method.hyperparameters.epochs + 1)]
        if not all(0 <= factor <= 1 for factor in factors) or max(factors) != 1:
            told = f"from {min(factors):g} to {max(factors):g}"
            yield Finding("learning_rate_factor", f"learning_rate_factor goes {told}; the largest must be 1.")
