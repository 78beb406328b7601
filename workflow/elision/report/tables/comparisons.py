"""Differences from the best method."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from elision.report.results import Results
from elision.report.table import Table
from elision.report.words import title

if TYPE_CHECKING:
    import pandas as pd

    from elision.report.text import Block


class Comparisons(Table):
    """One row per summary, metric and method: its difference from the best method, the floor being none."""

    name = "comparisons"
    caption = "Differences from the best method"
    section, place = "Differences between methods", (15, 1)
    folded = True
    empty = "Fewer than two methods were evaluated."

    def frame(self, results: Results, methods: Sequence[str]) -> "pd.DataFrame":
        """Look up the differences.

        Returns
        -------
        frame : pd.DataFrame
            Columns ``dataset``, ``family``, ``method``, ``condition`` (see ``certainty.summaries``), ``metric``,
            ``best``, ``value`` (of the best), ``difference`` (the method minus the best), ``low``, ``high``, ``p``,
            ``low_holm``, ``high_holm``, ``p_holm``, ``pairs`` (over which p is corrected), ``conditions`` and
            ``certainty.MADE``. The best itself has a row without numbers; metrics that no method has are left out.
        """
        import numpy as np
        import pandas as pd

        from elision.evaluation.aggregate import FLOOR
        from elision.evaluation.metrics import family as family_of
        from elision.evaluation.metrics import metric
        from elision.report import certainty

        found = results.comparisons[results.comparisons["corruption"].isin(list(certainty.SUMMARIES))]
        turned = {"method": "other", "low": "high", "low_holm": "high_holm"}
        mirrored = found.rename(columns=turned | {new: old for old, new in turned.items()})
        mirrored[["difference", "low", "high", "low_holm", "high_holm"]] *= -1
        keys, tested = ["dataset", "corruption", "metric"], ["low", "high", "p", "low_holm", "high_holm", "p_holm"]
        tested = ["difference", *tested]
        pairs = found[found["p"].notna()].groupby(keys).size().rename("pairs")
        both = pd.concat([found, mirrored], ignore_index=True).set_index([*keys, "method", "other"])
        rows = []
        groups = certainty.summaries(results, methods).groupby(["dataset", "family", "condition"], observed=True)
        for (dataset, family, _), summary in groups:
            corruption = summary["corruption"].iloc[0]
            for name in (family_of(family).f1, family_of(family).second, "corr"):
                values = summary[summary["metric"] == name].sort_values("method")
                ranked = values[(values["method"] != FLOOR) & values["value"].notna()].set_index("method")["value"]
                if ranked.empty or (dataset, corruption, name) not in pairs.index:
                    continue
                best = ranked.idxmin() if metric(name).better == "lower" else ranked.idxmax()
                shared = {"best": best, "value": ranked[best], "pairs": pairs[dataset, corruption, name]}
                for row in values.to_dict("records"):
                    numbers = dict.fromkeys(tested, np.nan)
                    if row["method"] != best:
                        numbers = both.loc[(dataset, corruption, name, row["method"], best), tested].to_dict()
                    rows.append({**row, **numbers, **shared})
        columns = ["dataset", "family", "method", "condition", "metric", "best", "value", *tested]
        columns += ["pairs", "conditions", *certainty.MADE]
        return pd.DataFrame(rows, columns=columns)

    def blocks(self, frame: "pd.DataFrame") -> "list[Block]":
        """Make a block per summary."""
        import numpy as np

        from elision.report.text import NAN, Block, Cell, heading, number, p_value, signed

        methods, found, nothing = list(frame["method"].unique()), [], Cell(np.nan, NAN, 0)

        def cell(row: dict, name: str) -> Cell:
            if row["method"] == row["best"]:
                return Cell(row["value"], f"best: {number(row['value'], name)}", 1)
            ends = ", ".join(signed(row[end], name) for end in ("low_holm", "high_holm"))
            text = f"{signed(row['difference'], name)} [{ends}], {p_value(row['p_holm'])}"
            return nothing if np.isnan(row["p_holm"]) else Cell(row["difference"], text, 0)

        for condition, rows in frame.groupby("condition", observed=True, sort=False):
            columns = {
                name: {row["method"]: cell(row, name) for row in part.to_dict("records")}
                for name, part in rows.groupby("metric", sort=False)
            }
            lines = [(method, [cells.get(method, nothing) for cells in columns.values()]) for method in methods]
            text = title(condition, int(rows["conditions"].max()))
            found.append(Block(text, [heading(name) for name in columns], lines))
        return found

    def notes(self, frame: "pd.DataFrame", *, second: str = "underlined") -> list[str]:
        """Say how the differences were tested."""
        from elision.report import certainty, marks, wide

        row = frame.iloc[0]
        return [
            *marks.notes(frame),
            *certainty.made(frame),
            "Each cell is the method minus the best method. p: two-sided t test of the paired difference, with the "
            f"bootstrap standard error and {row['freedom']:.3g} degrees of freedom. "
            f"p and [ ] are corrected for the {wide.counts(frame['pairs'], 'pair')} of methods in each metric and "
            "block (Holm), but not for the number of metrics and blocks. [ ] leaves 0 out exactly where p is below "
            f"{1 - row['confidence']:.3g}.",
            "The same numbers chose the best method, so the best method may look slightly better than it is.",
            *certainty.undefined(frame.loc[frame["method"] != frame["best"], "p_holm"].isna().any()),
            *wide.floor(frame),
        ]
