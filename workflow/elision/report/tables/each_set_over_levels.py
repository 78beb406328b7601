"""Every set of modalities of a kind of corruption that has levels, too: the mean over its levels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from elision.corruption.kind import Kind, kinds
from elision.report.results import Results
from elision.report.table import KindTable
from elision.report.words import SETS, named, sign

if TYPE_CHECKING:
    import pandas as pd

    from elision.report.text import Block


class EachSetOverLevels(KindTable):
    """One row per method, corruption and set, with "none": complete data, where they were tested, and "mean".

    A mean over sets hides that one modality can decide it. Kinds of a single corruption have these numbers in their
    main table.
    """

    levels, sets = True, True
    part = "per_set"
    number = 1

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.caption = f"{kind.caption}, set by set: mean over the levels {sign(kind)}"
        self.means = kind.sets

    @classmethod
    def each(cls) -> list[Self]:
        """Make one for each kind with several corruptions."""
        return [table for table in super().each() if len(table.kind.corruptions) > 1]

    def frame(self, results: Results, methods: Sequence[str]) -> "pd.DataFrame":
        """See ``wide.wide``, with F1 and the metric beside it; columns for the corruption, the set and ``told``.

        ``told`` is what a method is told of the modalities that lose something: see ``told.column``.
        """
        import pandas as pd

        from elision.report import told, wide

        kind = self.kind
        rows = wide.of(results.metrics, kind.corruptions)
        clean = results.metrics[(results.metrics["level"] == 0) & (results.metrics["modalities"] == "")]
        rank = clean["corruption"].map({name: k.rank for k in kinds().values() for name in k.corruptions})
        clean = clean[rank == rank.groupby(clean["dataset"]).transform("min")]  # the same data under each kind
        # Under each corruption that the dataset was tested under, the same numbers of complete data stand first.
        clean = clean.drop(columns="corruption").merge(rows[["dataset", "corruption"]].drop_duplicates(), on="dataset")
        rows = pd.concat([clean, rows], ignore_index=True)
        rows = wide.with_means(rows.assign(**{kind.name: rows["corruption"]}), kind.sets)
        by = [kind.name, kind.sets]
        frame = wide.wide(rows, methods, by=by, chosen=lambda family: (family.f1, family.second))
        return told.column(frame, results, kind)

    def blocks(self, frame: "pd.DataFrame") -> "list[Block]":
        """Make a block per corruption and metric, with sets as columns."""
        from elision.report import wide

        kind, found = self.kind, []
        for corruption in kind.corruptions:
            rows = frame[frame[kind.name] == corruption]
            parts = {_heading(kind, name): rows[rows[kind.sets] == name] for name in ("none", *SETS, "mean")}
            shown = {name: part for name, part in parts.items() if len(part)}
            found += wide.per_metric(rows, shown, f"{named(corruption)}: ") if len(rows) else []
        return found

    def remarks(self, rows: "pd.DataFrame") -> list[str]:
        """Say who is told what is lost."""
        from elision.report import told

        return told.sentences(rows, self.kind)


def _heading(kind: Kind, name: str) -> str:
    return {"none": f"nothing {kind.sets}", "mean": "mean over the sets"}.get(name, name.replace("+", " and "))
