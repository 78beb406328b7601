"""Single classes, each against the rest."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from elision.report.results import Results
from elision.report.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from elision.report.text import Block


class PerClass(Table):
    """One row per method and condition (see ``words.conditions``), with the metrics of single classes."""

    name = "per_class"
    caption = "Metrics of single classes, each against the rest"
    section, place = "Class by class", (1000, 0)
    folded = True
    empty = "No dataset has classes."
    means = "condition"

    def frame(self, results: Results, methods: Sequence[str]) -> "pd.DataFrame":
        """See ``wide.wide``."""
        from elision.report import wide

        rows = wide.by_condition(results.metrics)
        return wide.wide(rows, methods, by=["condition"], chosen=lambda family: family.per_class)

    def blocks(self, frame: "pd.DataFrame") -> "list[Block]":
        """Make a block per condition."""
        from elision.report import wide

        return wide.by_title(frame)
