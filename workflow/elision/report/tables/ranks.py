"""Average ranks over all conditions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from elision.report.results import Results
from elision.report.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from elision.report.text import Block


class Ranks(Table):
    """One row per metric and method: the average rank over all conditions (complete data counted once)."""

    name = "ranks"
    caption = "Average ranks over conditions"
    section, place = "Differences between methods", (15, 0)

    def frame(self, results: Results, methods: Sequence[str]) -> "pd.DataFrame":
        """See ``certainty.ranks``."""
        from elision.report import certainty

        return certainty.ranks(results, methods)

    def blocks(self, frame: "pd.DataFrame") -> "list[Block]":
        """Print average ranks, a column per metric."""
        import numpy as np

        from elision.evaluation.aggregate import FLOOR
        from elision.evaluation.metrics import metric
        from elision.report.text import NAN, Block, Cell

        values = frame.pivot(index="method", columns="metric", values="rank")
        metrics, methods = list(frame["metric"].unique()), list(frame["method"].unique())
        columns = []
        for name in metrics:
            shown = {method: round(values.loc[method, name], 2) for method in methods if method != FLOOR}
            best = sorted(set(shown.values()))[:2] if len(set(shown.values())) > 1 else []
            places = {method: 1 + best.index(value) for method, value in shown.items() if value in best}
            numbers = [(values.loc[method, name], places.get(method, 0)) for method in methods]
            columns.append([Cell(value, NAN if np.isnan(value) else f"{value:.2f}", place) for value, place in numbers])
        lines = [(method, list(cells)) for method, *cells in zip(methods, *columns, strict=True)]
        return [Block("", [metric(name).name for name in metrics], lines)]

    def notes(self, frame: "pd.DataFrame", *, second: str = "underlined") -> list[str]:
        """Give the critical differences, and say what they take for granted."""
        import numpy as np

        from elision.errors import plural
        from elision.evaluation.metrics import metric
        from elision.report import marks, wide
        from elision.report.text import p_value

        methods = plural(frame["method"].nunique(), "method")
        sentences = [*marks.notes(frame), f"Rank 1 is the best of {methods}. Equal methods share the mean rank."]
        for name, rows in frame.groupby("metric", sort=False):
            row = rows.iloc[0]
            text = f"{metric(name).name}: {plural(int(row['conditions']), 'condition')}"
            if row["conditions"]:
                critical = f"critical difference {row['critical_difference']:.2f}"
                text += f", {critical} (Nemenyi, {100 * row['confidence']:g} %)"
            sentences.append(text + ("." if np.isnan(row["p"]) else f", Friedman's {p_value(row['p'])}."))
        return [
            *sentences,
            "Both tests assume independent conditions. The conditions of one test set are not independent, so the "
            "critical difference and p are too small. The table of differences from the best method does not need this "
            "assumption.",
            wide.ranked(second),
        ]
