"""Every set of modalities and every level of a kind of corruption that has both."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from elision.corruption.kind import Kind
from elision.report.results import Results
from elision.report.table import KindTable
from elision.report.words import SETS, named, of_set, present, sign

if TYPE_CHECKING:
    import pandas as pd

    from elision.report.text import Block


class EachSetAndLevel(KindTable):
    """One row per method, set and level, and "mean": the mean over the sets that were evaluated.

    Where the kind has several corruptions, text shows the means alone.
    """

    levels, sets = True, True
    number = 0

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.several = len(kind.corruptions) > 1
        self.caption, self.means = kind.caption, kind.sets
        if self.several:
            self.caption += f": mean over the sets of {kind.sets} modalities"
        self.folded = not self.several

    def frame(self, results: Results, methods: Sequence[str]) -> "pd.DataFrame":
        """See ``wide.wide``; columns of the kind's words: its corruption where it has several, its level and set."""
        from elision.report import told, wide

        kind = self.kind
        rows = wide.of(results.metrics, kind.corruptions)
        rows = rows.assign(**{kind.column: rows["level"]})
        by = [kind.sets, kind.column]
        if self.several:
            rows, by = rows.assign(**{kind.name: rows["corruption"]}), [kind.name, kind.column, kind.sets]
        return told.column(wide.wide(wide.with_means(rows, kind.sets), methods, by=by), results, kind)

    def blocks(self, frame: "pd.DataFrame") -> "list[Block]":
        """Make a block per set, or per corruption, and metric, with levels as columns."""
        from elision.report import wide

        kind, found = self.kind, []
        if self.several:
            means = frame[frame[kind.sets] == "mean"]
            parts = {named(name): means[means[kind.name] == name] for name in kind.corruptions}
        else:
            sets = {name: frame[frame[kind.sets] == name] for name in (*SETS, "mean")}
            there = present(frame[kind.sets].unique())
            parts = {of_set(kind, name, _most(rows), present=there): rows for name, rows in sets.items()}
        for title, rows in parts.items():
            if len(rows):
                found += wide.per_level(frame, kind.column, sign(kind), f"{title}: ", rows)
        return found

    def remarks(self, rows: "pd.DataFrame") -> list[str]:
        """Say over how many sets the means are, and who is told what is lost."""
        from elision.report import told, wide

        if not self.several:
            return told.sentences(rows, self.kind)
        sets = rows.groupby([self.kind.name, self.kind.column])[self.kind.sets].nunique()
        over = f"{wide.counts(sets, 'set')} of {self.kind.sets} modalities"
        return [f"Mean over {over}. The csv file has every set.", *told.sentences(rows, self.kind)]


def _most(rows: "pd.DataFrame") -> int:
    return int(rows["conditions"].max()) if len(rows) else 0
