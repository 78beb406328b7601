"""The method is as large as the released one."""

from collections.abc import Iterator

import torch

from elision.methods import build, resolve
from elision.methods.checks._check import Check, Finding
from elision.methods.checks._subject import Subject
from elision.methods.layers.text_encoder import StubEncoder
from elision.task import OFFICIAL_SPECS


class Counts(Check):
    """Count the parameters at the sizes of a corpus, without a text encoder."""

    name, place = "counts", 140
    holds = "The method has as many parameters as official_counts says."

    def not_for(self, subject: Subject) -> str:
        """A method without released code has no official counts."""
        return "" if subject.cls.official_counts else "The class has no official_counts."

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """Compare the number of parameters on each corpus."""
        for corpus, expected in subject.cls.official_counts.items():
            with torch.device("meta"):
                method = build(subject.name, resolve(subject.name, corpus)[0], OFFICIAL_SPECS[corpus], StubEncoder(768))
            found = sum(p.numel() for p in method.parameters())
            if found != expected:
                yield Finding(corpus, f"On {corpus}, the method has {found:,} parameters instead of {expected:,}.")
