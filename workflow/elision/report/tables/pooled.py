"""Predictions of all folds of a seed, pooled."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from elision.report.results import Results
from elision.report.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from elision.report.text import Block


class Pooled(Table):
    """One row per method and condition (see ``words.conditions``)."""

    name = "pooled"
    caption = "Metrics of the pooled predictions of all folds"
    section, place = "Folds pooled", (1010, 0)
    folded = True
    empty = "No dataset has folds."
    means = "condition"

    def frame(self, results: Results, methods: Sequence[str]) -> "pd.DataFrame":
        """See ``wide.wide``."""
        from elision.evaluation.aggregate import POOLED
        from elision.report import wide

        rows = results.metrics[results.metrics["fold"] == POOLED]
        return wide.wide(wide.by_condition(rows.assign(fold="")), methods, by=["condition"])

    def blocks(self, frame: "pd.DataFrame") -> "list[Block]":
        """Make a block per condition."""
        from elision.report import wide

        return wide.by_title(frame)
