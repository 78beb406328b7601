"""A method says whether its predictions are told which modalities are absent."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from elision.methods.checks._check import Check, Finding, same_bits
from elision.methods.checks._subject import Subject

_RATES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 1.0))


class Told(Check):
    """Say of modalities that they are absent, and change nothing else.

    Under noise, nothing but these flags says which modalities are noisy. A method that reads them has an easier task,
    and tables of noise name it.
    """

    name, place = "told", 35
    holds = "Predictions depend on the flags of absent modalities only if told_absent says so."

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """Compare the bits of predictions from equal data."""
        batch = subject.batch(lost=0.0)

        def output(rates: tuple[float, ...]) -> torch.Tensor:
            return subject.ready.predict(replace(batch, rate=torch.tensor(rates).expand(len(batch.label), 3))).output

        with torch.no_grad():
            seen = output((0.0, 0.0, 0.0))
            reads = not all(same_bits(output(rates), seen) for rates in _RATES)
        if reads and not subject.cls.told_absent:
            yield Finding("told_absent", "The output changes with batch.rate alone; write told_absent = True.")
        if subject.cls.told_absent and not reads:
            yield Finding("told_absent", "The output does not change with batch.rate; remove told_absent = True.")
