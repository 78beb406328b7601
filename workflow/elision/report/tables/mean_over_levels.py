"""Means over the levels of a kind of corruption that takes from all modalities alike: the main table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from elision.corruption.kind import Kind
from elision.report.results import Results
from elision.report.table import KindTable

if TYPE_CHECKING:
    import pandas as pd


class MeanOverLevels(KindTable):
    """One row per method: mean over the levels of each run, over folds, then mean and deviation over seeds."""

    levels, sets = True, False
    number = 0

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.caption = f"{kind.caption}: mean over the {kind.condition}s"

    def frame(self, results: Results, methods: Sequence[str]) -> "pd.DataFrame":
        """See ``wide.wide`` and ``wide.from_best``."""
        from elision.report import wide

        frame = wide.wide(wide.of(results.metrics, self.kind.corruptions), methods)
        means = [f"mean_{name}" for name in self.kind.corruptions] if len(self.kind.corruptions) == 1 else []
        return wide.from_best(frame, wide.of(results.comparisons, means))
