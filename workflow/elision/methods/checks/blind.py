"""A prediction sees neither labels nor the complete input."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from elision.methods.checks._check import Check, Finding, differs, same_bits
from elision.methods.checks._subject import Subject


class Blind(Check):
    """Take away one after the other what a prediction must not see."""

    name, place = "blind", 30
    holds = "Labels and the complete input never reach a prediction."
    of_runs = every_task = True

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """Compare bits with those of a batch in which labels, or the complete input, are other ones, or missing."""
        method, batch = subject.ready, subject.batch()
        wrong = torch.full_like(batch.label, torch.nan) if subject.regression else (batch.label + 1) % 2
        other = subject.batch(seed=9).clean
        with torch.no_grad():
            seen = method.predict(batch)
            for about, blind in {
                "label": replace(batch, label=wrong),
                "clean": replace(batch, clean=other),
                "clean and label": replace(batch, label=wrong, clean=None),
            }.items():
                found = method.predict(blind)
                for part in ("output", "representation"):
                    one, expected = getattr(found, part), getattr(seen, part)
                    if not same_bits(one, expected):
                        told = differs(one, expected) or "the last bits differ"
                        yield Finding(about, f"The {part} changes with {_NAMES[about]}: {told}.")


_NAMES = {
    "label": "the labels",
    "clean": "the complete input",
    "clean and label": "labels and complete input taken away together",
}
