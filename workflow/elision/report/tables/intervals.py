"""How sure the means are."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from elision.corruption.kind import Kind, kinds
from elision.report.results import Results
from elision.report.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from elision.report.text import Block

_KINDS = [kind for kind in kinds().values() if "mean" in kind.summaries]


def _over(kind: Kind) -> str:
    return f"over {kind.condition}s" if kind.level else f"over sets of {kind.sets} modalities"


class Intervals(Table):
    """One row per method and mean over conditions, with bootstrap intervals."""

    name = "intervals"
    caption = f"Confidence intervals of the means: {', and '.join(dict.fromkeys(map(_over, _KINDS)))}"
    section, place = "Differences between methods", (15, 2)
    folded = True

    def frame(self, results: Results, methods: Sequence[str]) -> "pd.DataFrame":
        """See ``certainty.wide``; the column ``condition`` is that of the tables of means."""
        from elision.report import certainty

        rows = certainty.summaries(results, methods)
        return certainty.wide(rows[rows["summary"] == "mean"], ["condition"])

    def blocks(self, frame: "pd.DataFrame") -> "list[Block]":
        """Make a block per mean."""
        from elision.report import wide

        return wide.by_title(frame)

    def notes(self, frame: "pd.DataFrame", *, second: str = "underlined") -> list[str]:
        """Say how the intervals were made."""
        from elision.report import certainty

        return certainty.notes(frame, second=second)
