"""Areas under the metrics over the levels of a kind of corruption (AUILC)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from elision.corruption.kind import Kind
from elision.report.results import Results
from elision.report.table import KindTable
from elision.report.words import about, label, unit

if TYPE_CHECKING:
    import pandas as pd


class Area(KindTable):
    """One row per method: the area under each metric over the levels, with its bootstrap interval."""

    levels, sets = True, False
    part = "area"
    number = 2

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.caption = about(kind, f"Area under the metric over the {kind.condition}s (AUILC)")
        self.empty = f"Fewer than two {kind.condition}s were evaluated."

    @classmethod
    def each(cls) -> list[Self]:
        """Make one for each kind that is summarised so."""
        return [table for table in super().each() if "area" in table.kind.summaries]

    def frame(self, results: Results, methods: Sequence[str]) -> "pd.DataFrame":
        """See ``certainty.wide``; the columns ``first`` and ``last`` are the levels between which the area lies."""
        from elision.report import certainty, wide

        rows = certainty.summaries(results, methods)
        areas = [label(name, "area") for name in self.kind.corruptions]
        frame = certainty.wide(rows[rows["condition"].isin(areas)], [])
        single = wide.of(results.intervals, self.kind.corruptions)
        levels = single.groupby("dataset")["level"].agg(["min", "max"]).reindex(frame["dataset"])
        return frame.assign(first=levels["min"].to_numpy(), last=levels["max"].to_numpy())

    def notes(self, frame: "pd.DataFrame", *, second: str = "underlined") -> list[str]:
        """Say how sure the areas are, and what an area of a perfect metric is."""
        from elision.report import certainty

        row = frame.iloc[0]
        levels = f"{unit(self.kind)}s {row['first']:g} to {row['last']:g}"
        remark = f"Area by trapezoids over the {levels}, divided by the range. A metric of 100 % at each of them gives "
        return certainty.notes(frame, f"{remark}100.", second=second)
