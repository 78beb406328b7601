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
        """See ``wide.wide`` and ``wide.from_best``.

        The column ``left_out`` has the levels that are not in the mean (see ``aggregate.averaged``), where some are.
        """
        from elision.evaluation.aggregate import averaged
        from elision.report import empty, wide

        rows = wide.of(results.metrics, self.kind.corruptions)
        means = [f"mean_{name}" for name in self.kind.corruptions] if len(self.kind.corruptions) == 1 else []
        frame = wide.from_best(wide.wide(averaged(rows), methods), wide.of(results.comparisons, means))
        out = {name: empty.left_out(of, self.kind).index for name, of in rows.groupby("dataset")}
        texts = {name: " ".join(f"{level:g}" for level in levels) for name, levels in out.items()}
        return frame.assign(left_out=frame["dataset"].map(texts)) if any(texts.values()) else frame

    def remarks(self, rows: "pd.DataFrame") -> list[str]:
        """Say which levels are not in the mean."""
        from elision.evaluation.aggregate import MOST_EMPTY
        from elision.report.words import sign

        levels = rows["left_out"].iloc[0].split() if "left_out" in rows else []
        share = f"more than {100 * MOST_EMPTY:g} % of the samples have nothing left"
        return [f"Not in the mean: {sign(self.kind)} = {', '.join(levels)}, because {share}."] if levels else []
