"""Every level of a kind of corruption that takes from all modalities alike."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from elision.corruption.kind import Kind
from elision.report.results import Results
from elision.report.table import KindTable
from elision.report.words import is_first, sign, unit

if TYPE_CHECKING:
    import pandas as pd

    from elision.report.text import Block


class EachLevel(KindTable):
    """One row per method and level, as in the main tables of papers; of the first kind of its shape it is open."""

    levels, sets = True, False
    part = "per_level"
    number = 1

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.caption = f"{kind.caption}, {unit(kind)} by {unit(kind)}"
        self.folded = not is_first(kind)

    def frame(self, results: Results, methods: Sequence[str]) -> "pd.DataFrame":
        """See ``wide.wide`` and ``wide.from_best``; the level has a column."""
        from elision.report import wide

        column = self.kind.column
        rows, tests = (
            table.assign(**{column: table["level"].round(6)})
            for table in (wide.of(each, self.kind.corruptions) for each in (results.metrics, results.comparisons))
        )
        return wide.from_best(wide.wide(rows, methods, by=[column]), tests, [column])

    def blocks(self, frame: "pd.DataFrame") -> "list[Block]":
        """Make a block per metric, with levels as columns."""
        from elision.report import wide

        return wide.per_level(frame, self.kind.column, sign(self.kind))
