"""Every level of a kind of corruption that takes from all modalities alike."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from elision.corruption.kind import Kind
from elision.report.results import Results
from elision.report.table import KindTable
from elision.report.words import sign, unit

if TYPE_CHECKING:
    import pandas as pd

    from elision.report.text import Block


class EachLevel(KindTable):
    """One row per method and level."""

    levels, sets = True, False
    part = "per_level"
    number = 2
    folded = True

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.caption = f"{kind.caption}, {unit(kind)} by {unit(kind)}"

    def frame(self, results: Results, methods: Sequence[str]) -> "pd.DataFrame":
        """See ``wide.wide``; the level has a column."""
        from elision.report import wide

        rows = wide.of(results.metrics, self.kind.corruptions)
        return wide.wide(rows.assign(**{self.kind.column: rows["level"]}), methods, by=[self.kind.column])

    def blocks(self, frame: "pd.DataFrame") -> "list[Block]":
        """Make a block per metric, with levels as columns."""
        from elision.report import wide

        return wide.per_level(frame, self.kind.column, sign(self.kind))
