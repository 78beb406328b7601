"""Every set of rates of a kind of corruption in which each modality has a rate of its own (imbalanced missingness)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from elision.corruption.kind import Kind
from elision.report.results import Results
from elision.report.table import KindTable

if TYPE_CHECKING:
    import pandas as pd

    from elision.report.text import Block


class EachRates(KindTable):
    """One row per method and set of rates, such as "text 0.8+audio 0.2"; modalities that are not named are complete."""

    levels, sets = False, False
    number = 0

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.caption = kind.caption

    def frame(self, results: Results, methods: Sequence[str]) -> "pd.DataFrame":
        """See ``wide.wide``; the column ``rates`` has the rates."""
        from elision.report import wide

        rows = wide.of(results.metrics, self.kind.corruptions)
        return wide.wide(rows.assign(rates=rows["modalities"]), methods, by=["rates"])

    def blocks(self, frame: "pd.DataFrame") -> "list[Block]":
        """Make a block per set of rates."""
        from elision.report import wide

        named = {rates: frame[frame["rates"] == rates] for rates in sorted(frame["rates"].unique())}
        return [wide.block(rates.replace("+", ", "), frame, rows) for rates, rows in named.items()]
