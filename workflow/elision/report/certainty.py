"""Tables of intervals, of differences from the best method, and of ranks; from ``evaluation.significance``."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from elision.evaluation.aggregate import CONDITION, FLOOR
from elision.evaluation.metrics import family as family_of
from elision.evaluation.metrics import metric
from elision.evaluation.significance import SUMMARIES
from elision.evaluation.significance import ranks as rank
from elision.report import Results

# Values of the column ``condition``, as in the tables of means, and of ``area``.
_NAMES = dict(zip(SUMMARIES, ("random", "mean", "area"), strict=True))
_MADE = ["checkpoints", "seeds", "cluster", "clusters", "resamples", "confidence"]


def _order(methods: Sequence[str]) -> list[str]:
    return [*(method for method in methods if method != FLOOR), FLOOR]


def _summaries(results: Results, methods: Sequence[str]) -> pd.DataFrame:
    """Rows of the summaries, with their ``condition`` and ``conditions``: how many they are made of."""
    rows = results.intervals[results.intervals["method"].isin(_order(methods))]
    single = rows[rows["level"].notna() & ~((rows["corruption"] == "absent") & (rows["modalities"] == ""))]
    counts = single.drop_duplicates(["dataset", *CONDITION]).groupby(["dataset", "corruption"]).size()
    chosen = rows[rows["corruption"].isin(SUMMARIES)]
    kinds = chosen["corruption"].str.partition("_")[2] if len(chosen) else chosen["corruption"]
    keys = pd.MultiIndex.from_arrays([chosen["dataset"], kinds])
    return chosen.assign(
        method=pd.Categorical(chosen["method"], _order(methods)),
        condition=pd.Categorical(chosen["corruption"].map(_NAMES), list(_NAMES.values())),
        conditions=counts.reindex(keys).to_numpy(),
        checkpoints=np.where(chosen["on_test"].astype(bool), "TEST", "valid"),
    )


def _wide(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """One row per method; of each metric the value and the ends of its interval."""
    keys = ["dataset", "family", "method", *by]
    groups = rows.groupby(keys, observed=True)
    table = groups[[*_MADE, "conditions"]].max()
    table["checkpoints"] = np.where(groups["on_test"].any().astype(bool), "TEST", "valid")
    for name in dict.fromkeys(
        name for family in sorted(rows["family"].unique()) for name in family_of(family).reported
    ):
        values = rows[rows["metric"] == name].set_index(keys)
        if metric(name).better and len(values):
            table[f"{name}_mean"], table[f"{name}_low"] = values["value"], values["low"]
            table[f"{name}_high"] = values["high"]
    return table.reset_index().astype({"method": str, **dict.fromkeys(by, str)})


def intervals(results: Results, methods: Sequence[str]) -> pd.DataFrame:
    """One row per method and summary: means over conditions, with bootstrap intervals.

    Returns
    -------
    table : pd.DataFrame
        Columns ``dataset``, ``family``, ``method``, ``condition`` ("random": mean over the missing rates; "mean": over
        the sets of absent modalities), ``checkpoints``, ``seeds``, ``cluster``, ``clusters``, ``resamples``,
        ``confidence``, ``conditions``, and per metric with a direction ``{metric}_mean``, ``{metric}_low`` and
        ``{metric}_high``.
    """
    rows = _summaries(results, methods)
    return _wide(rows[rows["condition"] != "area"], ["condition"])


def area(results: Results, methods: Sequence[str]) -> pd.DataFrame:
    """One row per method: the area under each metric over the missing rates (AUILC), as in ``intervals``.

    The columns ``first`` and ``last`` are the rates between which it lies.
    """
    rows = _summaries(results, methods)
    table = _wide(rows[rows["condition"] == "area"], [])
    random = results.intervals[results.intervals["corruption"] == "random"]
    rates = random.groupby("dataset")["level"].agg(["min", "max"]).reindex(table["dataset"])
    return table.assign(first=rates["min"].to_numpy(), last=rates["max"].to_numpy())


def comparisons(results: Results, methods: Sequence[str]) -> pd.DataFrame:
    """One row per summary, metric and method: its difference from the best method, the floor being none.

    Returns
    -------
    table : pd.DataFrame
        Columns ``dataset``, ``family``, ``method``, ``condition`` ("random", "mean" or "area"), ``metric``, ``best``,
        ``value`` (of the best), ``difference`` (the method minus the best), ``low``, ``high``, ``p``, ``p_holm``,
        ``pairs`` (over which p is corrected), ``conditions``, ``checkpoints``, ``cluster``, ``clusters``, ``resamples``
        and ``confidence``. The best itself has a row without numbers; metrics that no method has are left out.
    """
    found = results.comparisons[results.comparisons["corruption"].isin(SUMMARIES)]
    mirrored = found.rename(columns={"method": "other", "other": "method", "low": "high", "high": "low"})
    mirrored[["difference", "low", "high"]] *= -1
    keys = ["dataset", "corruption", "metric"]
    pairs = found[found["p"].notna()].groupby(keys).size().rename("pairs")
    both = pd.concat([found, mirrored], ignore_index=True).set_index([*keys, "method", "other"])
    rows = []
    groups = _summaries(results, methods).groupby(["dataset", "family", "condition"], observed=True)
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
                numbers = dict.fromkeys(("difference", "low", "high", "p", "p_holm"), np.nan)
                if row["method"] != best:
                    numbers = both.loc[(dataset, corruption, name, row["method"], best), list(numbers)].to_dict()
                rows.append({**row, **numbers, **shared})
    columns = ["dataset", "family", "method", "condition", "metric", "best", "value", "difference", "low", "high", "p"]
    columns += ["p_holm", "pairs", "conditions", *_MADE]
    return pd.DataFrame(rows, columns=columns)


def ranks(results: Results, methods: Sequence[str]) -> pd.DataFrame:
    """One row per metric and method: the average rank over all conditions (complete data counted once).

    Returns
    -------
    table : pd.DataFrame
        Columns ``dataset``, ``family``, ``method``, ``metric`` (F1, and that beside it), ``rank`` (1 is best),
        ``critical_difference`` (Nemenyi), ``p`` (Friedman), ``conditions``, ``confidence`` and ``checkpoints``.
    """
    rows = results.intervals[results.intervals["level"].notna() & results.intervals["method"].isin(_order(methods))]
    tables = []
    for (dataset, family), of_dataset in rows.groupby(["dataset", "family"]):
        complete = (of_dataset["corruption"] == "absent") & (of_dataset["modalities"] == "")
        if ((of_dataset["corruption"] == "random") & (of_dataset["level"] == 0)).any():
            of_dataset = of_dataset[~complete]
        for name in (family_of(family).f1, family_of(family).second):
            chosen = of_dataset[of_dataset["metric"] == name]
            values = chosen.pivot(index=CONDITION, columns="method", values="value")
            values = values[[method for method in _order(methods) if method in values]].dropna()
            confidence = chosen["confidence"].iloc[0]
            average, critical, p = rank(values.to_numpy(), better=metric(name).better, confidence=confidence)
            on_test = chosen.groupby("method")["on_test"].any()[values.columns]
            table = pd.DataFrame({"dataset": dataset, "family": family, "method": values.columns, "metric": name})
            table = table.assign(rank=average, critical_difference=critical, p=p, conditions=len(values))
            table = table.assign(confidence=confidence, checkpoints=np.where(on_test, "TEST", "valid"))
            tables.append(table)
    columns = ["dataset", "family", "method", "metric", "rank", "critical_difference", "p", "conditions", "confidence"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*columns, "checkpoints"])
