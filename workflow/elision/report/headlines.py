"""The ranking of the methods of each dataset."""

import numpy as np
import pandas as pd

from elision.corruption.kind import kind_of
from elision.errors import plural
from elision.evaluation.aggregate import FLOOR, averaged, first_rows
from elision.evaluation.metrics import family as family_of
from elision.report import empty
from elision.report.marks import Marks, marked, signs, unsigned
from elision.report.marks import notes as marks_of
from elision.report.text import NAN, estimate, heading, padded
from elision.report.wide import wide
from elision.report.words import corruptions, counted, sign, unit


def headlines(metrics: pd.DataFrame) -> pd.DataFrame:
    """Rank the methods of each dataset by their mean F1 over ``aggregate.headline_rows``, and compare with the floor.

    Returns
    -------
    headlines : pd.DataFrame
        Best first, the floor last: columns ``dataset``, ``family``, ``method``, ``checkpoints``, ``runs``, ``seeds``,
        ``folds``, ``conditions``, ``corruption`` (what the ranking is over), ``f1``, ``f1_std``, ``second``,
        ``second_std`` (of the family's second metric), ``over_floor`` (difference of F1 to the floor; nan without one)
        and ``falls_at`` (lowest level at which mean F1 is not above the floor's; nan when it is above at all, and where
        the ranking is over sets of modalities).
    """
    methods = sorted(metrics["method"].unique())
    every = first_rows(metrics)
    chosen = averaged(every)
    alike = corruptions(levels=True, sets=False)
    means = wide(chosen, methods)
    rates = wide(every[every["corruption"].isin(alike)], methods, by=["level"])
    datasets, ranked_by = [], chosen.groupby("dataset")["corruption"].first()
    for dataset, rows in means.groupby("dataset"):
        family = family_of(rows["family"].iloc[0])
        f1, second = family.f1, family.second
        by_rate = pd.DataFrame(columns=rows["method"])
        if ranked_by[dataset] in alike:
            by_rate = rates[rates["dataset"] == dataset].pivot(index="level", columns="method", values=f"{f1}_mean")
        falls = by_rate.le(by_rate[FLOOR], axis=0) if FLOOR in by_rate else by_rate.isna() & False
        ranked = rows.assign(
            f1=rows[f"{f1}_mean"],
            f1_std=rows[f"{f1}_std"],
            second=rows[f"{second}_mean"],
            second_std=rows[f"{second}_std"],
            corruption=ranked_by[dataset],
            over_floor=rows[f"{f1}_mean"] - rows.loc[rows["method"] == FLOOR, f"{f1}_mean"].mean(),
            falls_at=[by_rate.index[falls[method].astype(bool)].min() for method in rows["method"]],
            last=rows["method"] == FLOOR,
        )
        datasets.append(ranked.sort_values(["last", "f1"], ascending=[True, False], kind="stable"))
    columns = ["dataset", "family", "method", "checkpoints", "runs", "seeds", "folds", "conditions", "corruption"]
    columns += ["f1", "f1_std", "second", "second_std", "over_floor", "falls_at"]
    return pd.concat(datasets, ignore_index=True)[columns] if datasets else pd.DataFrame(columns=columns)


def headline(metrics: pd.DataFrame, marks: Marks | None = None) -> str:
    """Write the ranking of each dataset as plain text for a terminal.

    Parameters
    ----------
    metrics : pd.DataFrame
        Of ``aggregate``.
    marks : mapping, optional
        Of ``marks.marks``.
    """
    ranked = marked(headlines(metrics), marks or {})
    if ranked.empty:
        return "No method was evaluated with incomplete data."
    sections = []
    for dataset, rows in ranked.groupby("dataset"):
        family = family_of(rows["family"].iloc[0])
        f1, second, marks_at = family.f1, family.second, signs(rows)
        corruption = rows["corruption"].iloc[0]
        kind = kind_of(corruption)
        nowhere = f"no {'rate' if kind.sets else unit(kind)}"
        body = [["method", heading(f1), heading(second), f"over {FLOOR}", f"down to {FLOOR} at"]]
        for row in rows.itertuples(index=False):
            means = estimate(row.f1, row.f1_std, f1), estimate(row.second, row.second_std, second)
            over = f"{100 * row.over_floor:+.2f}" if row.method != FLOOR and not np.isnan(row.over_floor) else NAN
            at = NAN if over == NAN else nowhere if np.isnan(row.falls_at) else f"{sign(kind)} = {row.falls_at:g}"
            body.append([row.method + marks_at.get(row.method, ""), *means, over, at])
        title = f"{dataset}: mean over {counted(corruption, int(rows['conditions'].max()))}, "
        folds, seeds = int(rows["folds"].max()), int(rows["seeds"].max())
        title += f"{plural(seeds, 'seed')} with {plural(folds, 'fold')}" if folds > 1 else plural(seeds, "run")
        told = [*(f"  {'  '.join(line).rstrip()}" for line in padded(body))]
        title += "".join(f" ({text})" for text in unsigned(rows))
        told += [f"  {note}" for note in marks_of(rows, signed=True)]
        told += [f"  {note}" for note in empty.sentences(metrics[metrics["dataset"] == dataset], kind)]
        sections.append("\n".join([title, *told]))
    return "\n\n".join(sections)
