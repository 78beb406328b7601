"""The method is as large as the released one."""

from collections.abc import Iterator

from elision.methods import official
from elision.methods.checks._check import Check, Finding
from elision.methods.checks._subject import Subject


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
            found = sum(p.numel() for p in official(subject.name, corpus).parameters())
            if found != expected:
                yield Finding(corpus, f"On {corpus}, the method has {found:,} parameters instead of {expected:,}.")
