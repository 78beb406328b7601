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


EMPTY = "samples with nothing left"


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
        """See ``wide.wide`` and ``wide.from_best``; columns for the level, and ``empty``: a share of samples."""
        from elision.report import empty, wide

        column = self.kind.column
        rows, tests = (
            table.assign(**{column: table["level"].round(6)})
            for table in (wide.of(each, self.kind.corruptions) for each in (results.metrics, results.comparisons))
        )
        frame = wide.from_best(wide.wide(rows, methods, by=[column]), tests, [column])
        shares = {name: empty.shares(of, self.kind) for name, of in rows.groupby("dataset")}
        if not any(share.any() for share in shares.values()):
            return frame
        places = zip(frame["dataset"], frame[column], strict=True)
        return frame.assign(empty=[shares[dataset][level] for dataset, level in places])

    def blocks(self, frame: "pd.DataFrame") -> "list[Block]":
        """Make a block per metric, with levels as columns; under them stands the share of empty samples, if any is."""
        from elision.report import empty, wide
        from elision.report.text import Block, Cell

        found = wide.per_level(frame, self.kind.column, sign(self.kind))
        if "empty" not in frame or not frame["empty"].any():
            return found
        shares = frame.groupby(self.kind.column)["empty"].first()
        last = (EMPTY, [Cell(share, empty.percent(shares[[level]]), 0) for level, share in shares.items()])
        return [Block(block.title, block.columns, [*block.rows, last]) for block in found]

    def remarks(self, rows: "pd.DataFrame") -> list[str]:
        """Say what an empty sample is."""
        if "empty" not in rows or not rows["empty"].any():
            return []
        what = "samples of which no frame, vector or token is left, in any modality"
        return [f"{EMPTY[0].upper()}{EMPTY[1:]}: {what}. Their predictions are constants."]
