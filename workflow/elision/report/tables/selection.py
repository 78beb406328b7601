"""What choosing checkpoints on the test set adds, in trainings whose checkpoints were chosen so."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from elision.corruption.kind import Kind
from elision.report.results import Results
from elision.report.table import KindTable

if TYPE_CHECKING:
    import pandas as pd

    from elision.report.text import Block

_CHOSEN = ("validation", "TEST", "difference")


class Selection(KindTable):
    """One row per method and how its checkpoints were chosen: on validation, on TEST, and the difference.

    The difference is TEST minus validation, in each run and under each condition; both are checkpoints of one training.
    """

    levels, sets = True, False
    part = "selection"
    number = 0
    empty = "No checkpoint was chosen on the test set."

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.caption = f"{kind.caption}: effect of choosing checkpoints on the test set"
        self.section, self.place = "Effect of selection on the test set", (1030, kind.rank)

    def frame(self, results: Results, methods: Sequence[str]) -> "pd.DataFrame":
        """See ``wide.wide``; the column ``chosen`` is "validation", "TEST" or "difference"."""
        import pandas as pd

        from elision.evaluation.aggregate import POOLED, VALID, averaged
        from elision.report import wide

        rows = averaged(wide.of(results.metrics[results.metrics["fold"] != POOLED], self.kind.corruptions))
        on_test = rows["checkpoint"] != VALID
        keys = [column for column in rows if column not in ("checkpoint", "value")]
        pairs = rows[on_test].merge(rows[~on_test], on=keys, suffixes=("", "_on_validation"))
        before = pairs["value_on_validation"]
        values = dict(zip(_CHOSEN, (before, pairs["value"], pairs["value"] - before), strict=True))
        rows = pd.concat([pairs.assign(chosen=name, value=value) for name, value in values.items()], ignore_index=True)
        frame = wide.wide(rows.assign(chosen=pd.Categorical(rows["chosen"], _CHOSEN)), methods, by=["chosen"])
        return frame.assign(checkpoints=frame["checkpoints"].where(frame["chosen"] != "validation", "valid"))

    def blocks(self, frame: "pd.DataFrame") -> "list[Block]":
        """Make a block per metric; a difference is no result to be ranked."""
        from dataclasses import replace

        from elision.report import wide

        made = wide.per_metric(frame, {name: frame[frame["chosen"] == name] for name in frame["chosen"].unique()})
        return [replace(b, rows=[(m, [*cells[:-1], replace(cells[-1], rank=0)]) for m, cells in b.rows]) for b in made]
