"""Every set of modalities of a kind of corruption that has no levels, as in LNLN's Tables 11 to 14."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from elision.corruption.kind import Kind
from elision.report.results import Results
from elision.report.table import KindTable
from elision.report.words import SETS, of_set, present

if TYPE_CHECKING:
    import pandas as pd

    from elision.report.text import Block


class EachSet(KindTable):
    """One row per method and set; "none", and "mean": the mean over the sets (none is not one of them)."""

    levels, sets = False, True
    number = 0

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.caption, self.means = kind.caption, kind.sets

    def frame(self, results: Results, methods: Sequence[str]) -> "pd.DataFrame":
        """See ``wide.wide`` and ``wide.from_best``; the set has a column of the kind's word, as in ``absent``."""
        import pandas as pd

        from elision.report import wide

        column, names = self.kind.sets, list(self.kind.corruptions)
        single = wide.of(results.comparisons, names)
        means = wide.of(results.comparisons, [f"mean_{name}" for name in names])
        tests = pd.concat(
            [single.assign(**{column: single["modalities"].replace("", "none")}), means.assign(**{column: "mean"})]
        )
        frame = wide.wide(wide.with_means(wide.of(results.metrics, names), column), methods, by=[column])
        return wide.from_best(frame, tests, [column])

    def blocks(self, frame: "pd.DataFrame") -> "list[Block]":
        """Make a block per set."""
        from elision.report import wide

        column = self.kind.sets
        of = partial(of_set, self.kind, present=present(frame[column].unique()))
        titles = {name: partial(of, name) for name in ("none", *SETS, "mean")}
        return wide.per_condition(frame, column, titles, frame[frame[column] == "none"])
